/* SPDX-License-Identifier: MIT */
/* An event as the bytes that listeners get: a WebSocket frame, of text or in CBOR, deflated or not, or a block of an event
 * stream. One thread.
 *
 * frames_begin takes an event, frames_wire gives it in the format of a subscription: what all of that format share is made
 * once, what a position adds is put before it or into a frame of its own. */
#pragma once
#include "bridge/connector.h"
#include "bridge/net/ws_deflate.h"
#include "connectors/websocket/subscription.h"

struct frames {                  /* of one event at a time */
    const struct event *event;   /* borrowed until the next */
    struct buf frame, blocks[2]; /* [1]: with a name */
    struct buf placed;           /* with a position */
    struct str json;             /* in `frame`; absent: not made yet, or too long */
    struct str plain;            /* the text frame with it */
    bool made, block_made[2], deflated_made[2];
    struct buf deflated[2], placed_deflated; /* [1]: with a small window */
    struct str deflated_frame[2];
    struct buf op, op_deflated; /* of aqueduct.v1 */
    struct buf cbor;            /* the event in it */
    bool cbor_made;
    struct ws_deflater *deflaters[2];
};

struct wire { /* what goes out, one after the other; each may be empty */
    struct str head, body;
};

void frames_open(struct frames *f, size_t longest);
void frames_close(struct frames *f);
/* Borrows the event until the next call. */
void frames_begin(struct frames *f, const struct event *ev);
/* Its bytes for that subscription, with `cursor` for the position after it (absent: without), until the next call. False:
 * longer than `longest`. */
bool frames_wire(struct frames *f, const struct subscription *s, struct str cursor, struct wire *out);
size_t frames_bytes(const struct frames *f); /* about so many has the event */
/* Adds a frame with such a text, an op of aqueduct.v1 that is no event, in the form of the subscription. */
void frames_add_op(struct buf *out, const struct subscription *s, struct str json);
