/* SPDX-License-Identifier: MIT */
/* Measures a sink's rate and gives slots away. */
#include "bridge/delivery/pace.h"
#include "bridge/lib/clock.h"

enum {
    RATE_FIRST = 1000, /* in a second, as long as nothing is known */
    RATE_LEAST = 10,
    RATE_MOST = 100000,
    MEASURE_MS = 1000,
    FORGET_MS = 10000, /* what was measured over a longer time says nothing of now */
};

/* Twice what was finished: a sink that could do more is found out. Slots that were given away count at
 * the new rate when that is higher: their events need that much less time. */
static void pace_measure(struct pace *p, int64_t now_us)
{
    int64_t now = clock_mono_ms(), took = now - p->since_ms, before = p->rate;
    if (took < MEASURE_MS)
        return;
    int64_t rate = took > FORGET_MS ? RATE_FIRST : p->finished * 2 * 1000 / took;
    p->rate = rate < RATE_LEAST ? RATE_LEAST : rate > RATE_MOST ? RATE_MOST : rate;
    if (p->slot_us > now_us && p->rate > before)
        p->slot_us = now_us + (p->slot_us - now_us) / p->rate * before;
    p->since_ms = now;
    p->finished = 0;
}

void pace_finished(struct pace *p)
{
    p->finished++;
}

int64_t pace_slot(struct pace *p, int64_t now_ms)
{
    pace_measure(p, now_ms * 1000);
    if (p->slot_us < now_ms * 1000)
        p->slot_us = now_ms * 1000;
    p->slot_us += 1000000 / (p->rate ? p->rate : RATE_FIRST);
    return p->slot_us / 1000 + 1;
}
