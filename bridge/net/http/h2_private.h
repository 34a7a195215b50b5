/* SPDX-License-Identifier: MIT */
/* HTTP/2 (RFC 9113) on a connection, by libnghttp2: what its files share.
 *
 *   request.c --preface--> h2.c --bytes--> nghttp2 --callbacks--> h2.c --> h2_stream.c --> the user
 *                                                                              |
 *                                        h2_head.c: fields as a head of HTTP/1 <'   h1.c judges it
 *
 * A stream is a request like one of HTTP/1: the same head(), request() and http_server_reply. Only the user's answers go by
 * their request's id in any order. Nothing is sent from within a callback of nghttp2, nor by a reply: what is to be sent goes
 * at the end of the input, or of the round, so that many answers make one write. While the kernel takes nothing, nothing more
 * is read.
 *
 *   H2_HEAD --fields--> H2_BODY --body--> H2_WAITING --reply--> H2_ANSWER --sent, reset--> freed
 *                          '------------- refused -----------------^
 *
 * What it holds for its client is counted and bounded: bytes of requests that are not whole, and of answers that are not taken.
 *
 * What costs us something and brings no request (resets, PING, SETTINGS, empty DATA ...) is paid from h->patience, which time
 * and answered requests fill again; at its end the connection ends with ENHANCE_YOUR_CALM. */
#pragma once
#include <nghttp2/nghttp2.h>
#include "bridge/net/http/h1.h"
#include "bridge/net/http/private.h"

/* The head of a request while its fields come in. */
struct h2_head {
    struct buf text;                            /* as HTTP/1 writes it */
    nghttp2_rcbuf *method, *target, *authority; /* until the text begins; NULL: not there */
    size_t size;                                /* as SETTINGS_MAX_HEADER_LIST_SIZE counts it */
    size_t fields;                              /* lines of the text behind the first */
    int status;                                 /* what it is refused with; 0: it is not */
    bool begun;                                 /* the text */
};

enum h2_state {
    H2_HEAD,
    H2_BODY,
    H2_WAITING, /* the user has it and will answer */
    H2_ANSWER,
    H2_RESET, /* by us; nothing more is its */
};

struct http2_stream {
    struct http2_stream *before, *after; /* of the connection, by age */
    int32_t id;
    uint64_t request; /* its id for the user; 0: the user was not asked yet */
    struct h2_head head;
    struct buf body; /* of the request, then of the answer */
    size_t sent;     /* of the answer */
    int64_t max_body;
    size_t counted; /* what it adds to the connection's `held` */
    size_t seen;    /* bytes of the body when its rate was last looked at; thrown away when it is refused */
    int parts;      /* of body_timeout that are left, this one included */
    int64_t due_ms; /* INT64_MAX: never */
    uint8_t state;  /* enum h2_state */
    bool head_only; /* HEAD */
    bool ended;     /* the client has sent all of the request */
    bool lingers;   /* the answer is sent, and what still comes of the request is thrown away */
};

struct http2 {
    nghttp2_session *session;
    struct http2_stream *oldest, *newest;
    size_t held; /* bytes of incomplete requests, and of answers that are not taken */
    int64_t patience, patience_ms;
};

/* h2_head.c */
void h2_head_add(struct h2_head *h, nghttp2_rcbuf *name, nghttp2_rcbuf *value, size_t max_head);
/* All fields are there: parses the text. 0, or the status to refuse it with. */
int h2_head_end(struct h2_head *h, struct http1_head *out);
void h2_head_free(struct h2_head *h);

/* h2_stream.c */
struct http2_stream *h2_stream_new(struct http_conn *c, int32_t id);
void h2_stream_free(struct http_conn *c, struct http2_stream *st);
void h2_stream_count(struct http_conn *c, struct http2_stream *st); /* what it holds now */
void h2_stream_ask(struct http_conn *c, struct http2_stream *st);   /* the head is whole */
void h2_stream_data(struct http_conn *c, struct http2_stream *st, struct str data);
void h2_stream_whole(struct http_conn *c, struct http2_stream *st); /* the client has sent all */
void h2_stream_fail(struct http_conn *c, struct http2_stream *st, int status);
void h2_stream_give_up(struct http_conn *c, struct http2_stream *st); /* there is no room for what it holds */
void h2_stream_linger(struct http_conn *c, struct http2_stream *st); /* it is answered before the client has sent all */
/* Its deadline has passed. False: the connection must end for it. */
bool h2_stream_late(struct http_conn *c, struct http2_stream *st);
void h2_stream_answer(struct http_conn *c, struct http2_stream *st, int status, const struct header *headers,
                      size_t count, struct str body);
