/* SPDX-License-Identifier: MIT */
/* permessage-deflate (RFC 7692), sans-I/O: what a client offers, messages inflated, payloads deflated.
 *
 * No connection has a context: both sides always begin each message with an empty window (server_no_context_takeover,
 * client_no_context_takeover). So a connection costs no memory, one inflater serves a whole server, and one deflated
 * payload serves every client with the same window. One thread each. */
#pragma once
#include "bridge/lib/buf.h"
#include "bridge/lib/str.h"

/* What a server's messages may be deflated with, as bits of a window: all clients get one of these two. */
enum ws_window { WS_WINDOW_NONE = 0, WS_WINDOW_SMALL = 9, WS_WINDOW_FULL = 15 };

/* Reads the value of a header Sec-WebSocket-Extensions; *out: what the first offer that can be taken allows, left alone
 * when none can. False: it is no list of extensions (RFC 6455 9.1). */
bool ws_deflate_choose(struct str offers, enum ws_window *out);
struct str ws_deflate_answer(enum ws_window window); /* the value of that header in the answer */

/* How long a message of at most `max` bytes may be when it comes deflated. */
size_t ws_deflate_most(size_t max);

struct ws_inflater;
struct ws_inflater *ws_inflater_new(void);
void ws_inflater_free(struct ws_inflater *z);
/* Inflates a whole message; *out lives until the next call. 0, or the code to close with: 1007 it is not deflated, 1009
 * it is longer than `max`, or longer than 64 KiB and than a hundred times what came. */
int ws_inflate(struct ws_inflater *z, struct str in, size_t max, struct str *out);

struct ws_deflater;
struct ws_deflater *ws_deflater_new(enum ws_window window);
void ws_deflater_free(struct ws_deflater *z);
/* The payload of a message's only frame, whose head says WS_DEFLATED; lives until the next call. Absent when it would be
 * no shorter than `in`. */
struct str ws_deflate(struct ws_deflater *z, struct str in);
