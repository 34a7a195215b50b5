/* SPDX-License-Identifier: MIT */
/* What listeners are told besides events: how their stream goes on where they left it, and what it left out.
 *
 * In an event stream it is an event `resume`; of a WebSocket a CloudEvent of the type aqueduct.resume, or an op `state` of
 * aqueduct.v1, and only if something was left out. One thread. */
#pragma once
#include "bridge/event/cursor.h"
#include "connectors/websocket/places.h"
#include "connectors/websocket/subscription.h"

enum resume {
    RESUME_EXACT = CURSOR_EXACT, /* with what follows the position */
    RESUME_NEW = CURSOR_NEW,     /* there was no position */
    RESUME_GAP = CURSOR_GAP,     /* some of that is gone from the log: `lost` records of each partition */
    RESUME_RESET = CURSOR_RESET, /* the topic, or the log, is another one: from about that time on */
    RESUME_SKIPPED,              /* records were left out because the listener is slow and asked for the latest */
};

struct told {
    enum resume resume;
    const struct places *places;
    const int64_t *lost; /* of each place, so many as there are; NULL: of none */
};

enum { TOLD_BYTES = 64 * 1024 };

const char *resume_text(enum resume r); /* "exact" */
/* Adds the frame that says so, or nothing. */
void told_add(struct buf *out, const struct subscription *s, const struct told *n);
