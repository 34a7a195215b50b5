/* SPDX-License-Identifier: MIT */
/* Reads an event stream (server-sent events, as the HTML standard has them), however its bytes are cut.
 *
 *   event_stream_new -> event_stream_feed ... -> event_stream_free        one thread
 *
 * Lines end with CR, LF or both; a byte order mark at the beginning is passed over, and so are comments and unknown fields. What
 * a block is longer than the limit is a failure: nothing is cut. */
#pragma once
#include "bridge/lib/buf.h"
#include "bridge/lib/err.h"

struct event_stream_block { /* borrowed for the call */
    struct str id;          /* the last one that was said, also by an earlier block */
    struct str type;        /* absent: "message" */
    struct str data;        /* absent: a block with an id alone, which a browser's script does not see */
};

struct event_stream {
    size_t most; /* bytes of a line, and of a block's data */
    struct buf line, data, id, type;
    bool begun, after_cr, has_data, has_id;
    int64_t retry_ms; /* as the server said it last; -1: it did not */
};

struct event_stream event_stream_new(size_t most);
void event_stream_free(struct event_stream *s);
/* A connection ends, and another begins: what was not whole is forgotten, the last id is not. */
void event_stream_restart(struct event_stream *s);
/* Hands out each block that is whole by now. False: each() returned false, after which nothing more of the bytes is looked at; or
 * with *e (else left alone) a line or block is too long. */
bool event_stream_feed(struct event_stream *s, struct str bytes,
                       bool (*each)(void *ctx, const struct event_stream_block *b), void *ctx, struct err *e);
