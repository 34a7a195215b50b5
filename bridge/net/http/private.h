/* SPDX-License-Identifier: MIT */
/* What the files of the HTTP server share. Calls go from left to right and down only:
 *
 *   room.c         who gives way when connections are short
 *   client.c       who the client is behind trusted proxies
 *     ^
 *   server.c ----> conn.c ----> request.c ---> answer.c       the text of an answer's head
 *   listener,      reads, and     HTTP/1 \      view.c         a request as its user sees it
 *   rounds         drives the       ^     +--> h2.c           HTTP/2 (h2_private.h)
 *                  protocol         |      \     |
 *                              stream.c ---+--> wire.c        bytes out, the end of a connection
 *                              WebSocket, SSE     |
 *                                                 v
 *                                               schedule.c    deadlines, what the end of a round is for
 *                                               holders.c     what each address holds
 *                                               twins.c       of several servers at one address: what goes between them
 *
 * conn.c knows bytes and sockets; what they mean is its protocol's (struct http_protocol). A connection begins with
 * HTTP/1 (request.c). When its first bytes are the preface of HTTP/2, over TLS or not, h2.c puts its own table in that
 * place, and when the user takes the connection over, stream.c does.
 *
 * A connection that does nothing is one struct http_conn; what a request needs while it is incomplete is in struct
 * http_work. Nothing is freed while a callback may still be above it on the stack: a connection that ends is only
 * marked and put on the server's `later` list; at the end of the round its protocol is told, and it is freed when it is
 * dead. The same list brings back connections that have input left over.
 *
 *   HTTP_OPEN --http_wire_finish--> HTTP_ENDING --flushed--> HTTP_LINGER --peer's end, deadline--> HTTP_DEAD
 *       '----------------------------- http_wire_kill, from every state ------------------------------^ */
#pragma once
#include "bridge/lib/buf.h"
#include "bridge/lib/log.h"
#include "bridge/lib/metrics.h"
#include "bridge/net/conn.h"
#include "bridge/net/http/http.h"
#include "bridge/net/listen.h"

enum {
    HTTP_INPUT = 64 * 1024,    /* the read buffer that all connections share */
    HTTP_OUTPUT_MAX = 1 << 30, /* an answer with its head */
    HTTP_SLOT_BITS = 20,       /* of a request's id; the rest counts requests */
    HTTP_HOLDER_BUCKETS = 1024,
    HTTP_DIGITS = 20,
    HTTP_RATE_MS = 10000,   /* about how often the rate of a body is looked at */
    HTTP_STREAMS_MS = 1000, /* how often the deadlines of HTTP/2's streams are */
};

enum http_state {
    HTTP_OPEN,   /* its protocol has it */
    HTTP_ENDING, /* all is said, but the kernel has not taken it all */
    HTTP_LINGER, /* our side is shut; what still comes is thrown away */
    HTTP_DEAD,   /* closed, freed at the end of the round */
};

/* Of HTTP/1, while the connection is open. */
enum http_request_state {
    REQUEST_HEAD, /* waits for a request or has a part of its head */
    REQUEST_BODY,
    REQUEST_WAITING, /* the user has it and will answer */
    REQUEST_ANSWER,  /* the kernel did not take the whole answer yet */
};

/* Each kind has one duration, so that a plain queue per kind is sorted by due time. */
enum http_due {
    DUE_IDLE,
    DUE_HEAD,
    DUE_BODY,
    DUE_ANSWER,
    DUE_STREAMS, /* HTTP/2: its streams' own deadlines are looked at */
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
    REFUSED_ADDRESS,
    REFUSED_FLOOD,
    REFUSED_TLS,
    REFUSED_PROXY,
    REFUSED_KINDS
};

/* Why a connection had to give way. */
enum http_evicted { EVICTED_IDLE, EVICTED_HEAD, EVICTED_LARGEST, EVICTED_MEMORY, EVICTED_KINDS };

struct http_conn;
struct http1_head;

/* One address, or /64 of IPv6, and what it holds. */
struct http_holder {
    struct http_holder *next;
    struct http_conn *oldest, *newest;
    bool unlimited;           /* unix sockets, and proxies, behind whom there are many */
    size_t connections, held; /* held: bytes of incomplete requests, and of HTTP/2's answers that are not taken */
    char network[];
};

/* A connection that was accepted and has no place yet. */
struct http_newcomer {
    struct http_newcomer *next;
    int fd;
    size_t asked; /* so many servers had no room for it */
    char peer[LISTEN_PEER], network[LISTEN_NETWORK];
};

/* What the bytes of an open connection mean. Every function may end the connection (http_wire_finish, http_wire_kill). */
struct http_protocol {
    void (*input)(struct http_conn *c, struct str in); /* takes all of it; "" when c->unread was set */
    /* To request `id`, if it waits for its answer. NULL: there are no requests. */
    void (*reply)(struct http_conn *c, uint64_t id, int status, const struct header *headers, size_t count,
                  struct str body);
    void (*writable)(struct http_conn *c); /* the kernel takes bytes again and nothing is kept for it */
    void (*timeout)(struct http_conn *c, enum http_due kind); /* the deadline that was set has passed */
    void (*stop)(struct http_conn *c);            /* nobody new is accepted: end it if nothing is under way */
    bool (*gives_way)(const struct http_conn *c); /* may it be killed so that others get on? */
    void (*leave)(struct http_conn *c);           /* it is idle and killed now: a last word; NULL: none is needed */
    void (*give_up)(struct http_conn *c);         /* holds no bytes (http_holders_hold) any more; NULL: never does */
    /* The connection is not open any more: called once, at the end of the round, to free what is the protocol's. */
    void (*end)(struct http_conn *c);
};

/* Thousands of them idle: their size with a peer's name of 16 bytes is that of one of malloc's chunks. */
struct http_conn {
    struct conn io; /* first: the loop's handler is its first member */
    struct http_server *s;
    const struct http_protocol *protocol; /* NULL after its end() */
    struct buf *out;                      /* wire.c: waits for the kernel; NULL: nothing does */
    struct http_work *work;               /* request.c: of an incomplete request; NULL when there is nothing to keep */
    union {
        struct http_stream *stream; /* stream.c */
        struct http2 *two;          /* h2.c */
    };
    uint64_t id;                      /* of the request that waits for an answer; 0: none */
    struct http_conn *before, *after; /* in the queue of its deadline */
    struct http_conn *next_later;
    struct http_holder *holder;      /* NULL: dead */
    struct http_conn *older, *newer; /* of the holder */
    int64_t due_ms;
    uint32_t slot;
    uint32_t held; /* bytes of incomplete requests, as counted in the holder's and the server's */
    union {
        uint32_t since_s; /* of a stream: wall clock; stream.c has the rest */
        uint32_t drained; /* HTTP_LINGER: what was thrown away */
    };
    unsigned state : 2, due : 4, request : 2;    /* enum http_state, enum http_due, enum http_request_state */
    bool is_later : 1;                           /* on the server's `later` list */
    bool readable : 1;                           /* the kernel may have more for us */
    bool ended : 1;                              /* the peer shut its side: read until 0 */
    bool paused : 1;                             /* the protocol takes no input for now */
    bool unread : 1;                             /* what the protocol kept of the input may hold a whole request */
    bool proxying : 1;                           /* a trusted proxy still has to say whose it is (PROXY protocol) */
    bool from_proxy : 1;                         /* the peer is a trusted proxy */
    bool feeding : 1;                            /* its protocol looks at input right now */
    bool asked : 1;                              /* a request of HTTP/1 came: HTTP/2 cannot begin any more */
    bool keep_alive : 1, old : 1, head_only : 1; /* of the current request; old: HTTP/1.0 */
    char peer[];
};

struct http_queue {
    struct http_conn *first, *last;
};

struct http_server {
    struct loop_handler listener; /* first */
    struct loop_handler handed;   /* others have handed connections over */
    struct http_twins *twins;     /* NULL: it is alone */
    size_t twin;                  /* its number among them */
    struct http_server_options o; /* strings copied */
    struct http_events events;
    struct loop *loop;
    struct tls *tls;                                               /* NULL: plain */
    struct networks proxies;                                       /* trusted */
    char client_peer[LISTEN_PEER], client_network[LISTEN_NETWORK]; /* of the request at hand, as its proxy says */
    int listen_fd, port;                                           /* -1: stopped */
    int64_t accept_again_ms;                                       /* out of descriptors until then; 0: accepting */
    bool stopping;
    struct http_conn **conns; /* by slot; NULL: free */
    uint32_t *free_slots;
    size_t slots, free_count;
    size_t count;
    size_t held;     /* bytes that are kept of incomplete requests */
    size_t unsent;   /* bytes that wait for clients to take them */
    uint64_t serial; /* of requests */
    int64_t now_ms;
    int64_t lasts[DUE_KINDS]; /* ms */
    int body_parts;           /* of body_timeout: at the end of each the rate is looked at */
    struct http_queue queues[DUE_KINDS];
    struct http_conn *later_first, *later_last;
    struct buf output; /* the answer that is being built */
    int64_t date_second;
    char date[30];
    struct http_holder *holders[HTTP_HOLDER_BUCKETS];
    struct ws_parser *parser;     /* stream.c: for all that are between two messages; NULL: one of them has it */
    struct ws_inflater *inflater; /* NULL: nobody sends deflated messages */
    struct sends *sends;          /* stream.c: of many frames at once; NULL: not yet, or by hand */
    bool sends_by_hand;           /* the kernel cannot */
    struct log_limit log_limit;
    int64_t warned_ms; /* that connections are short; 0: never */
    struct metric *connections, *refused[REFUSED_KINDS], *evicted[EVICTED_KINDS], *garbled;
    char input[HTTP_INPUT];
};

/* client.c */
void http_client_open(struct http_server *s);
/* Is the peer a trusted proxy? Then `network`, whose limits others have, becomes its own address. */
bool http_client_is_proxy(const struct http_server *s, const char *peer, char network[LISTEN_NETWORK]);
/* Takes the PROXY header from the beginning of the connection; *status: 0, or what the client is refused with. False: it is
 * not there yet, or the connection was killed. */
bool http_client_take(struct http_conn *c, int *status);
/* Sets what the request says of its client; its headers are there. */
void http_client_fill(const struct http_conn *c, struct http_request *r);

/* conn.c */
/* status: 0, or what it is refused with. */
void http_conn_new(struct http_server *s, int fd, const char *peer, struct str network, int status);
void http_conn_later(struct http_conn *c); /* its turn on the later list: ends, is freed, or reads on */
void http_conn_timeout(struct http_conn *c, enum http_due kind); /* its deadline has passed */
void http_conn_stop(struct http_conn *c);                        /* nobody new is accepted */

/* request.c */
extern const struct http_protocol http_requests;
struct http_conn *http_request_conn(const struct http_server *s, uint64_t id); /* who waits for its answer, or NULL */
/* Our own answer to what is not taken; the connection ends with it. */
void http_request_refuse(struct http_conn *c, int status, const struct header *headers, size_t count);

/* h2.c */
extern const struct http_protocol http2_requests;
void http2_begin(struct http_conn *c); /* the connection is one of HTTP/2 from now on */

/* view.c */
void http_view_fill(const struct http_conn *c, uint64_t id, const struct http1_head *head, struct http_request *r);
bool http_view_is_for_server(const struct http_request *r); /* OPTIONS *: nothing of the user's */
/* Asks the user about the head. False: the request is answered or will be, and its body is not wanted. */
bool http_view_ask(struct http_server *s, const struct http_request *r, int64_t *max_body);

/* answer.c: builds an answer in s->output */
enum { HTTP_PROBLEM = 256 };
void http_answer_problem(int status, char out[HTTP_PROBLEM]); /* our own body of a refusal: application/problem+json */
struct buf *http_answer_begin(struct http_server *s, int status, const struct header *headers, size_t count);
void http_answer_length(struct buf *out, size_t n);
struct str http_answer_digits(uint64_t n, char room[HTTP_DIGITS]);
const char *http_answer_date(struct http_server *s);         /* "Sun, 06 Nov 1994 08:49:37 GMT" */
bool http_answer_takes(const struct header *h);              /* it does not break lines */
void http_answer_refused(struct http_server *s, int status); /* counts what we refuse with that status */

/* wire.c */
/* Gives bytes to the kernel: how many it took; -1: the connection was killed. Nothing may be kept for it. */
long http_wire_write(struct http_conn *c, const char *bytes, size_t n);
/* The same of a send by other means that gave `taken`: bytes, or -errno. */
long http_wire_wrote(struct http_conn *c, long taken);
void http_wire_put(struct http_conn *c, struct str bytes); /* sends or keeps; may kill the connection */
bool http_wire_flush(struct http_conn *c);                 /* true: nothing waits for the kernel any more */
bool http_wire_waits(const struct http_conn *c);           /* for the kernel to take bytes again */
size_t http_wire_kept(const struct http_conn *c);          /* bytes */
void http_wire_finish(struct http_conn *c);                /* sends what is kept, shuts down, lingers */
void http_wire_kill(struct http_conn *c);                  /* closes at once */

/* room.c */
size_t http_room_limit(const struct http_server *s); /* of connections, now */
/* For one more from there, which the twins count already: 0, or 429 or 503; last: then it is refused. */
int http_room_make(struct http_server *s, struct str network, bool last);
bool http_room_of_address(struct http_server *s, struct str network, bool last); /* may it have one more? Else 429 */
bool http_room_give_way(struct http_server *s, struct str network);              /* one connection for one from there */

/* holders.c: counts connections and bytes, of the server and of each address */
struct http_holder *http_holders_find(struct http_server *s, struct str network); /* NULL: it has nothing */
void http_holders_enter(struct http_conn *c, struct str network);
void http_holders_leave(struct http_conn *c);             /* twice is harmless */
void http_holders_hold(struct http_conn *c, size_t held); /* bytes, instead of those before */
/* The same, and if it is more than before: is there room for it, if need be after others gave up what they hold? */
bool http_holders_grow(struct http_conn *c, size_t held);
struct http_holder *http_holders_largest(struct http_server *s, bool by_bytes); /* else by connections */
bool http_holder_is_limited(const struct http_holder *h);                       /* NULL: no */

bool http_holders_are_unlimited(struct http_server *s, struct str network); /* or there is none */
size_t http_holders_others(const struct http_server *s); /* connections but for a newcomer, of the twins as well */
size_t http_holders_of(struct http_server *s, struct str network);        /* connections of one address */
size_t http_holders_others_of(struct http_server *s, struct str network); /* but for a newcomer */

/* twins.c: any thread; without twins nothing happens */
enum { HTTP_TWINS = 64 };
void http_twins_join(struct http_server *s, struct http_server *first);
int http_twins_fd(const struct http_server *s); /* readable: http_twins_take has something */
/* Counts a connection, from when it was accepted. */
void http_twins_enter(struct http_server *s, struct str network, bool unlimited);
void http_twins_leave(struct http_server *s, struct str network);
size_t http_twins_others(const struct http_server *s); /* but for a newcomer */
size_t http_twins_of(const struct http_server *s, struct str network);
bool http_twins_are_unlimited(const struct http_server *s, struct str network);
/* True: another one has fewer connections, and gets it. */
bool http_twins_place(struct http_server *s, const struct http_newcomer *n);
/* There is no room here. True: another one is asked. */
bool http_twins_pass(struct http_server *s, struct http_newcomer *n);
bool http_twins_is_last(const struct http_server *s, const struct http_newcomer *n); /* nobody else would be asked */
struct http_newcomer *http_twins_take(struct http_server *s); /* those for it: a list of blocks of free() */
void http_twins_end(struct http_server *s);                   /* it takes no more */
void http_twins_free(struct http_server *s);

/* schedule.c */
void http_schedule_due(struct http_conn *c, enum http_due kind); /* counted from now; replaces the one it had */
struct http_conn *http_schedule_expired(struct http_server *s, enum http_due *kind); /* takes one out; NULL: none is */
int64_t http_schedule_next_ms(const struct http_server *s);  /* when the next deadline passes; INT64_MAX: none */
void http_schedule_later(struct http_conn *c);               /* to the end of the round */
struct http_conn *http_schedule_take(struct http_server *s); /* the whole later list, linked by next_later */
