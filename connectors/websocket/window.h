/* SPDX-License-Identifier: MIT */
/* The events that went out to a subscription with a name and are not acknowledged yet: at most so many of them. What comes then
 * waits in the log. One thread. */
#pragma once
#include "bridge/event/cursor.h"
#include "connectors/websocket/marks.h"
#include "connectors/websocket/places.h"

enum { WINDOW_MOST = 1000, WINDOW = 500 };

struct window {
    struct sent {
        uint32_t place;
        int64_t offset;
    } * at;
    uint32_t count, most;
};

void window_free(struct window *w); /* also fit for a zeroed one */
uint32_t window_room(const struct window *w);
/* What lies in those bytes goes out now: the frames that begin at `from` or later, and before `to`. */
void window_note(struct window *w, const struct marks *m, uint64_t from, uint64_t to);
/* Whoever stands at the cursor has done what lies before it. */
void window_acknowledge(struct window *w, const struct places *p, const struct cursor *c);
