/* SPDX-License-Identifier: MIT */
/* The HTTP/1.1 message syntax (RFC 9112), sans-I/O and strict: what could be read in two ways is refused.
 *
 * Refused with 400: bare CR or LF, NUL, obs-fold, space before the colon, bad names or targets, missing, repeated or
 * bad Host, Content-Length that is repeated, a list, signed or beside Transfer-Encoding, any Transfer-Encoding but
 * exactly chunked, any in HTTP/1.0, bad chunk sizes, bad or long chunk extensions. 413: body too long. 414: target too
 * long. 417: an Expect but 100-continue. 431: head too long. 501: CONNECT, or a method of no sense. 505: not
 * HTTP/1.x. */
#pragma once
#include "bridge/lib/buf.h"
#include "bridge/lib/header.h"

enum { HTTP1_HEADERS = 100, HTTP1_CHUNK_LINE = 256 };

struct http1_head {
    struct str method, target;
    int minor; /* 0 or 1 */
    struct header headers[HTTP1_HEADERS];
    size_t header_count;
    bool chunked, keep_alive, expect_continue, upgrade;
    int64_t content_length; /* 0 when there is no body */
};

/* Parses a request head at the start of `in`. > 0: its length; 0: not complete yet; < 0: minus the status to answer. */
long http1_head(struct str in, size_t max_head, struct http1_head *out);

struct http1_chunks {
    int state;
    uint64_t left;
    uint64_t total;
    size_t line;
}; /* zeroed to start */
/* Decodes chunked bytes: reads from *in (moves forward), appends content to out. 1: the body is complete; 0: more is
 * needed; < 0: minus the status (400, 413 when total passes max_body). */
int http1_chunks(struct http1_chunks *c, struct str *in, struct buf *out, int64_t max_body);
