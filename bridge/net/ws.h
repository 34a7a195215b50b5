/* SPDX-License-Identifier: MIT */
/* The WebSocket framing layer (RFC 6455 section 5), sans-I/O: bytes in, messages and control frames out; frames built
 * for sending.
 *
 * A server's side: client frames must be masked, and of extensions there is permessage-deflate alone, for whom it was
 * negotiated with (ws_deflate.h); other reserved bits fail with 1002. One thread. */
#pragma once
#include "bridge/lib/buf.h"
#include "bridge/lib/str.h"
#include "bridge/net/ws_deflate.h"

enum { WS_CONTINUATION = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };
enum { WS_DEFLATED = 0x40 }; /* with WS_TEXT or WS_BINARY in ws_head */
enum { WS_HEAD = 10 };       /* longest head of a server frame */

/* Writes the head of an unmasked final frame; returns its length (2, 4 or 10). */
size_t ws_head(unsigned char out[WS_HEAD], int opcode, uint64_t payload);
/* The value of Sec-WebSocket-Accept for a key (RFC 6455 4.2.2). */
void ws_accept(struct str key, char out[29]);

/* Where in a row of server frames the next byte goes, for whoever sends it in pieces: at a boundary iff both are 0. */
struct ws_walk {
    uint64_t left; /* payload bytes of the current frame */
    uint8_t head_n;
    unsigned char head[WS_HEAD]; /* of a frame whose head was cut */
};
bool ws_at_boundary(const struct ws_walk *w);
/* Walks over n bytes of frames, or to the first boundary behind the start if `stop`. Returns how far it came. */
size_t ws_walk(struct ws_walk *w, const char *bytes, size_t n, bool stop);

struct ws_parser;
struct ws_event {
    int opcode;         /* WS_TEXT, WS_BINARY (whole messages), WS_PING, WS_PONG, WS_CLOSE */
    struct str payload; /* valid until the next call */
    int close_code;     /* of WS_CLOSE: the peer's code, 1005 when it gave none */
};
/* A parser at rest may go on with another connection, so that those that say nothing need none. */
struct ws_parser *ws_parser_new(size_t max_message);
void ws_parser_free(struct ws_parser *p);
/* At rest: of whose connection the next bytes are. Deflated messages are taken if there is an inflater. */
void ws_parser_begin(struct ws_parser *p, struct ws_inflater *inflater);
bool ws_parser_rest(struct ws_parser *p); /* lets go of the last event; is nothing begun? */
/* Takes bytes from *in (which moves forward) until one event is complete: 1 and *ev; 0: all taken, more is needed;
 * -1: a protocol error, *code is the close code to send (1002, 1007, 1009). Never wants bytes again after -1. */
int ws_parse(struct ws_parser *p, struct str *in, struct ws_event *ev, int *code);
