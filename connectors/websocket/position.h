/* SPDX-License-Identifier: MIT */
/* Spots as cursors (bridge/event/cursor.h): the text by which a client names its position. One thread. */
#pragma once
#include "bridge/event/cursor.h"
#include "connectors/websocket/places.h"
#include "connectors/websocket/subscription.h"

enum { POSITION_PLACES = 16 };

struct position { /* zeroed to start: of the topics of one subscription */
    struct cursor *cursor;
    bool placed;
};

void position_close(struct position *t);
/* Do its listeners get positions, and each with every event? With more partitions than POSITION_PLACES, an event stream gets
 * them now and then. */
bool position_goes_out(const struct places *p, const struct subscription *s);
bool position_on_each(const struct places *p, const struct subscription *s);
/* Is it known by now what a cursor needs besides offsets? True also when none goes out. */
bool position_ready(struct position *t, struct places *p, const struct subscription *s);
/* Adds the cursor of next[0..count), or of where send() stands (NULL); the newest record before it was stored at `ms` (0:
 * none). False, and nothing is added: it
 * cannot be said now. */
bool position_add(struct position *t, struct places *p, const struct subscription *s, const int64_t *next,
                  uint32_t count, int64_t ms, struct buf *out);

/* A cursor of the subscription's topics, to be placed; cursor_free() it. */
struct cursor *position_new(const struct places *p, const struct subscription *s);
/* Where it is placed. */
struct spot *position_spot(struct places *p, const struct cursor *c);
