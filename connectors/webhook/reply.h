/* SPDX-License-Identifier: MIT */
/* The answer to a POST as it comes in over HTTP/1.1: framing, status, and the two headers that matter. Sans I/O; what does
 * not matter is passed over. As strict as needed to know where an answer ends. */
#pragma once
#include "bridge/lib/buf.h"

enum {
    REPLY_LINE = 100 * 1024, /* longest line of a head */
    REPLY_HEAD = 300 * 1024, /* most bytes of all heads of an answer, interim ones too; and of all lines about chunks */
    REPLY_VALUE = 128,
};

enum reply_result {
    REPLY_MORE = 1,
    REPLY_WHOLE,
    REPLY_GARBAGE,      /* no HTTP */
    REPLY_LONG_HEADER,  /* one is longer than REPLY_LINE */
    REPLY_LONG_HEADERS, /* all are longer than REPLY_HEAD */
    REPLY_BROKEN,       /* the body's framing */
    REPLY_ENOUGH,       /* the body's taker wants no more */
};

/* Takes a piece of the body; false: enough. */
typedef bool reply_body_fn(void *ctx, const char *bytes, size_t n);

struct reply {
    reply_body_fn *body;
    void *ctx;
    enum reply_state {
        REPLY_STATUS = 1,
        REPLY_HEADER,
        REPLY_SIZED,      /* `left` bytes of the body */
        REPLY_CHUNK_SIZE, /* a line */
        REPLY_CHUNK,      /* `left` bytes of it */
        REPLY_CHUNK_END,  /* the line behind it */
        REPLY_TRAILER,
        REPLY_TO_END, /* of the connection */
    } state;
    struct buf line; /* the beginning of a line whose end has not come */
    size_t head_n;   /* bytes of all heads */
    size_t chunk_n;  /* of all lines about chunks: small ones, with extensions, would hardly end */
    int status;      /* of the answer, 0 before it is known; interim ones are not */
    bool final;      /* that is not an interim one */
    bool keep_open;  /* the connection can serve another request */
    bool chunked, sized;
    uint64_t left;
    char retry_after[REPLY_VALUE], delivery[REPLY_VALUE]; /* "": there is none */
};

/* Begins with the next answer; keeps the memory of w->line. */
void reply_begin(struct reply *w, reply_body_fn *body, void *ctx);
/* *taken: how many bytes belong to the answer; fewer than n only at its end. */
enum reply_result reply_feed(struct reply *w, const char *bytes, size_t n, size_t *taken);
/* The connection has ended: is the answer whole? */
bool reply_ends_whole(const struct reply *w);
void reply_free(struct reply *w);
