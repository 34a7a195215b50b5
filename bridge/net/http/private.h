/* SPDX-License-Identifier: MIT */
/* What the files of the HTTP server share: its structs and the calls between http_server.c (listener, rounds,
 * deadlines), http_conn.c (requests and answers), http_answer.c (their text) and http_stream.c (connections that were
 * taken over). Nobody else includes this.
 *
 * A connection that does nothing is one struct http_conn; what a request needs while it is incomplete is in struct
 * http_work. Nothing is freed while a callback may still be above it on the stack: a connection that dies is only
 * marked, put on the server's `later` list, and freed at the end of the round. The same list brings back connections
 * that have input left over. */
#pragma once
#include "bridge/lib/metrics.h"
#include "bridge/net/conn.h"
#include "bridge/net/http/h1.h"
#include "bridge/net/http/server.h"
#include "bridge/net/ws.h"

enum {
    HTTP_INPUT = 64 * 1024,    /* the read buffer that all connections share */
    HTTP_OUTPUT_MAX = 1 << 30, /* an answer with its head */
    HTTP_READS = 4,            /* of one connection in a row, so that others get their turn */
    HTTP_LINGER_MS = 2000,
    HTTP_LINGER_BYTES = 64 << 20, /* how long a refused client may take to read why */
    HTTP_CLOSING_MS = 5000,       /* a WebSocket closing handshake */
    HTTP_SLOT_BITS = 20,          /* of a request's id; the rest counts requests */
};

enum http_state {
    HTTP_HEAD, /* waits for a request or has a part of its head */
    HTTP_BODY,
    HTTP_WAITING, /* the user has it and will answer */
    HTTP_ANSWER,  /* the kernel did not take the whole answer yet */
    HTTP_STREAM,
    HTTP_LINGER, /* all said and our side shut; what still comes is thrown away */
    HTTP_DEAD,
};

/* Each kind has one duration, so that a plain queue per kind is sorted by due time. */
enum http_due {
    DUE_IDLE,
    DUE_HEAD,
    DUE_BODY,
    DUE_ANSWER,
    DUE_LINGER,
    DUE_PING,
    DUE_PONG,
    DUE_CLOSING,
    DUE_KINDS,
    DUE_NEVER = DUE_KINDS
};

enum http_refused {
    REFUSED_REQUEST,
    REFUSED_SIZE,
    REFUSED_CONNECTION,
    REFUSED_TIMEOUT,
    REFUSED_MESSAGE,
    REFUSED_MEMORY,
    REFUSED_KINDS
};

struct http_work {
    struct buf in;         /* received, not looked at yet */
    struct buf head, body; /* of the request whose body is incomplete */
    struct buf out;        /* for the kernel when it takes bytes again */
    struct http1_chunks chunks;
    int64_t max_body, left; /* left: of a body with Content-Length */
    size_t held;            /* bytes of in, head and body, as counted in the server's */
    bool chunked;
};

struct http_conn {
    struct conn io; /* first: the loop's handler is its first member */
    struct http_server *s;
    struct http_work *work; /* NULL when there is nothing to keep */
    struct http_stream *stream;
    uint64_t id;                      /* of the request that waits for an answer; 0: none */
    struct http_conn *before, *after; /* in the queue of its deadline */
    struct http_conn *next_later;
    int64_t due_ms;
    uint32_t slot, drained;
    uint8_t state, due;
    bool is_later;
    bool readable;                   /* the kernel may have more for us */
    bool unread;                     /* what is kept of the input may hold a whole request */
    bool ended;                      /* the peer shut its side: read until 0 */
    bool keep_alive, old, head_only; /* of the current request; old: HTTP/1.0 */
    char peer[];
};

/* Where in the frames that were sent the next byte goes: at a boundary iff both are 0. */
struct http_walk {
    uint64_t left; /* payload bytes of the current frame */
    uint8_t head_n;
    unsigned char head[WS_HEAD]; /* of a frame whose head was cut */
};

struct http_stream {
    struct http_conn *c;
    void *user;
    struct ws_parser *parser; /* NULL: not a WebSocket */
    struct http_walk walk;
    struct buf control;        /* frames that wait for a boundary */
    bool blocked;              /* writable() is owed */
    bool closing, peer_closed; /* we sent (or hold) a close frame; nothing more is expected from the peer */
    bool over;                 /* closed() is owed */
};

struct http_queue {
    struct http_conn *first, *last;
};

struct http_server {
    struct loop_handler listener; /* first */
    struct http_server_options o; /* strings copied */
    struct http_events events;
    struct loop *loop;
    struct ssl_ctx_st *tls;
    int listen_fd, port;     /* -1: stopped */
    int64_t accept_again_ms; /* out of descriptors until then; 0: accepting */
    bool stopping;
    struct http_conn **conns; /* by slot; NULL: free */
    uint32_t *free_slots;
    size_t slots, free_count;
    size_t count, waiting;
    size_t held; /* bytes that are kept of incomplete requests */
    uint64_t serial;
    int64_t now_ms;
    int64_t lasts[DUE_KINDS]; /* ms */
    struct http_queue queues[DUE_KINDS];
    struct http_conn *later_first, *later_last;
    struct http_conn *feeding; /* whose input is being looked at right now */
    struct buf output;
    int64_t date_second;
    char date[30];
    struct metric *connections, *refused[REFUSED_KINDS];
    char input[HTTP_INPUT];
};

/* http_server.c */
void http_set_due(struct http_conn *c, enum http_due kind); /* counted from now; replaces the one it had */
void http_later(struct http_conn *c);
void http_forget(struct http_conn *c); /* its fd is closed, it is freed at the end of the round */

/* http_answer.c: builds an answer in s->output */
struct buf *http_answer_begin(struct http_server *s, int status, const struct header *headers, size_t count);
void http_answer_length(struct buf *out, size_t n);

/* http_conn.c */
void http_conn_new(struct http_server *s, int fd, const char *peer, bool welcome);
void http_conn_continue(struct http_conn *c);                    /* looks at input that is left and reads on */
void http_conn_timeout(struct http_conn *c, enum http_due kind); /* its deadline has passed */
void http_conn_put(struct http_conn *c, struct str bytes);       /* sends or keeps; may kill the connection */
bool http_conn_flush(struct http_conn *c);                       /* true: nothing waits for the kernel any more */
void http_conn_finish(struct http_conn *c);                      /* sends what is kept, shuts down, lingers */
void http_conn_kill(struct http_conn *c);
struct http_conn *http_conn_of(const struct http_server *s, uint64_t id);
void http_set_state(struct http_conn *c, enum http_state state);
void http_work_free(struct http_conn *c);
void http_refuse(struct http_conn *c, int status, const struct header *headers, size_t count);

/* http_stream.c */
void http_stream_input(struct http_conn *c, struct str in);
void http_stream_ready(struct http_conn *c); /* all kept bytes are with the kernel and it takes more */
void http_stream_timeout(struct http_conn *c, enum http_due kind);
void http_stream_end(struct http_conn *c);  /* the connection is going: closed() will be called */
void http_stream_reap(struct http_conn *c); /* calls closed() if it is owed */
