/* SPDX-License-Identifier: MIT */
/* What is said to a listener beside events: the codes of errors, and the frames of answers.
 *
 *                  stored                                          refused
 *   plain          {"type":"status","status":"stored","event":..}  {"type":"status","status":"refused","code":..,"why":..}
 *   aqueduct.v1    {"op":"ok","id":..,"event":..}                  {"op":"err","id":..,"code":..,"msg":..,"temp":..}
 *
 * A code says what to do, like the status of HTTP that it ends with: below 4500, do not send it again unchanged, except 4429. */
#pragma once
#include "bridge/lib/buf.h"
#include "bridge/lib/str.h"

enum code {
    CODE_UNKNOWN_OP = 4004,
    CODE_MALFORMED = 4400,
    CODE_UNVERIFIED = 4401,
    CODE_FORBIDDEN = 4403,
    CODE_UNKNOWN = 4404, /* a topic or subscription of that name */
    CODE_NO_HELLO = 4408,
    CODE_CONFLICT = 4409, /* of ids of events, or names of subscriptions */
    CODE_EXPIRED = 4410,  /* the token */
    CODE_BAD_FILTER = 4412,
    CODE_BAD_POSITION = 4416,
    CODE_TOO_LONG = 4413,
    CODE_INVALID = 4422, /* it is an event, and none that can be stored */
    CODE_TOO_MANY = 4429,
    CODE_UNAVAILABLE = 4503,
};
bool code_is_temporary(enum code code);

enum { ASKED_ID = 64 };
struct asked {         /* by whom, and as what, an answer is known */
    bool op;           /* in aqueduct.v1; else plain */
    char id[ASKED_ID]; /* JSON as the client wrote it; "": it gave none */
};

/* A connection begins; limits of its messages, and of its subscriptions. */
void protocol_welcome(struct buf *out, const struct asked *a, int64_t ping_ms, int64_t max_message, int64_t subs);
/* It will end, and may come back after that time; then where each of its subscriptions stands, and the end of the frame. */
void protocol_drain(struct buf *out, uint32_t reconnect_ms);
void protocol_drain_place(struct buf *out, bool first, const char *sub, struct str position);
void protocol_drain_end(struct buf *out, bool any);
/* Where a subscription stands without an event, in an op "live" (it has caught up with the log) or "hb" (it goes on).
 * position: "" when it is not known. */
void protocol_place(struct buf *out, const char *op, const char *sub, struct str position);

/* Appends the frame's text. note: "" or absent, or a sentence ("stored before"). */
void protocol_stored(struct buf *out, const struct asked *a, struct str event_id, const char *note);
/* Of an op that is done; sub: the subscription's name in JSON, or ""; position: where that begins, or "". */
void protocol_ok(struct buf *out, const struct asked *a, const char *sub, struct str position);
/* event_id absent: it is not known. */
void protocol_refused(struct buf *out, const struct asked *a, struct str event_id, enum code code, const char *why);
