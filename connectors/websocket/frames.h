/* SPDX-License-Identifier: MIT */
/* An event as the bytes that listeners get: a WebSocket text frame, deflated or not, or a block of an event stream. One
 * thread. */
#pragma once
#include "bridge/connector.h"
#include "bridge/net/ws_deflate.h"

struct frames {                  /* of one event at a time */
    struct buf frame, blocks[2]; /* [1]: with a name */
    struct str plain, json;      /* in the frame */
    struct buf deflated[2];      /* [1]: with a small window */
    struct buf op;               /* of aqueduct.v1 */
    struct ws_deflater *deflaters[2];
};

void frames_open(struct frames *f, size_t longest);
void frames_close(struct frames *f);
/* A text frame with the event's JSON; absent when it is longer than `longest`. Lives until the next call. */
struct str frames_websocket(struct frames *f, const struct event *ev);
/* The event that frames_websocket was called for last, deflated; as it is when that is no shorter. */
struct str frames_deflated(struct frames *f, enum ws_window window);
/* The same event with its position as `id:`; named: and with its type as `event:`,
 * but for names that a browser's EventSource uses itself. */
struct str frames_sse(struct frames *f, const struct message *m, bool named);
/* The same event as `{"op":"ev","sub":..,"d":[..]}`. Lives until the next call. */
struct str frames_op(struct frames *f, const char *sub);
