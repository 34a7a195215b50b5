/* SPDX-License-Identifier: MIT */
/* The end of all listeners, by appointment: each has its own time to come back, and its position. */
#include <stdio.h>
#include "bridge/lib/crypto.h"
#include "connectors/websocket/private.h"

enum { FIRST_MS = 500, EACH_MS = 3, WINDOW_LEAST_MS = 1000, WINDOW_MOST_MS = 30000, REASON_TEXT = 64 };

uint32_t farewell_time(int64_t listeners)
{
    uint32_t random;
    int64_t window = listeners * EACH_MS;
    crypto_random(&random, sizeof random);
    if (window < WINDOW_LEAST_MS)
        window = WINDOW_LEAST_MS;
    if (window > WINDOW_MOST_MS)
        window = WINDOW_MOST_MS;
    return FIRST_MS + random % (uint32_t)window;
}

/* An event stream has no reason at its end: time and position come as its last block, if it takes one now. */
static void farewell_stream(struct websocket_sink *s, struct seat *t, uint32_t ms)
{
    struct listener *l = t->listener;
    struct buf out = buf_new(CURSOR_TEXT_MAX + REASON_TEXT), cursor = buf_new(CURSOR_TEXT_MAX);
    struct spot *spot = replay_where(&s->replay, t);
    buf_printf(&out, "retry: %u\n", ms);
    if (spot
        && position_add(&t->cohort->position, &s->places, &t->cohort->subscription, spot->next, spot->count, 0,
                        &cursor))
        buf_printf(&out, "id: %.*s\n", STR_ARG(buf_str(&cursor)));
    buf_add_char(&out, '\n');
    if (!l->blocked && !l->unfinished)
        http_stream_write(l->stream, out.at, out.n, true);
    spot_unref(spot);
    buf_free(&cursor);
    buf_free(&out);
}

static void farewell_one(struct websocket_sink *s, struct seat *t, int64_t listeners)
{
    char reason[REASON_TEXT];
    uint32_t ms = farewell_time(listeners);
    if (t->cohort->subscription.sse)
        farewell_stream(s, t, ms);
    snprintf(reason, sizeof reason, "restarting; come back in %u ms", ms);
    listener_close(t->listener, 1012, reason);
    metric_add(s->drained, 1);
}

void farewell_all(struct websocket_sink *s)
{
    int64_t listeners = (s->listeners[0] + s->listeners[1]) * s->threads; /* which the server has shared out evenly */
    places_look(&s->places);
    for (struct cohort *c = s->cohorts.first; c; c = c->next)
        while (c->count)
            farewell_one(s, c->seats[c->count - 1], listeners);
    for (struct seat *t; (t = replay_any(&s->replay));)
        farewell_one(s, t, listeners);
}
