/* SPDX-License-Identifier: MIT */
/* Evenly spaced attempts: the generic cell rate algorithm. */
#include "bridge/delivery/rate.h"
#include <string.h>
#include "bridge/lib/clock.h"

enum {
    BURST_US = 100000,
    SECOND_US = 1000000,
    LOOK_EACH_US = SECOND_US / 200, /* so many ask again in a second at most: what waits long costs little */
    LOOK_SHARE = 5,                 /* or so many times as many as the rate lets through */
};

/* After how long one asks again: as long as the steps of the ladder, in each of which one comes as the first that went.
 * Slots are given away for the first of them, so none is behind one that comes later. At five times the rate, there
 * is enough to send until the next step's come. */
static const int64_t rate_looks_us[RATE_LOOKS] = { 30 * INT64_C(1000000), 120 * INT64_C(1000000),
                                                   600 * INT64_C(1000000), 3600 * INT64_C(1000000) };
#define LONGEST_US INT64_C(86400000000)

void rate_set(struct rate *r, double in_a_second)
{
    double interval = in_a_second > 0 ? (double)SECOND_US / in_a_second : 0;
    int64_t before = r->interval_us, now = clock_mono_us();
    r->interval_us = interval > (double)LONGEST_US ? LONGEST_US : (int64_t)interval;
    if (in_a_second > 0 && r->interval_us == 0)
        r->interval_us = 1;
    if (r->interval_us < before && r->next_us > now)
        r->next_us = now + (int64_t)((double)(r->next_us - now) / (double)before * (double)r->interval_us);
    r->slot_us = 0;
    memset(r->look_us, 0, sizeof r->look_us);
}

int64_t rate_due(const struct rate *r)
{
    int64_t early = r->interval_us < BURST_US ? BURST_US - r->interval_us : 0;
    return r->interval_us && r->next_us > early ? (r->next_us - early + 999) / 1000 : 0;
}

void rate_take(struct rate *r)
{
    int64_t now = r->interval_us ? clock_mono_us() : 0;
    r->next_us = (r->next_us > now ? r->next_us : now) + r->interval_us;
}

size_t rate_within(const struct rate *r, int64_t ms)
{
    return (size_t)(ms * 1000 / r->interval_us);
}

/* One has no slot: the first step that has room for it. */
static int64_t rate_look(struct rate *r, int64_t now)
{
    int64_t share = r->interval_us / LOOK_SHARE, each = share < LOOK_EACH_US ? share : LOOK_EACH_US;
    size_t i = 0;
    while (i + 1 < RATE_LOOKS && r->look_us[i] + each > now + rate_looks_us[i])
        i++;
    r->look_us[i] = (r->look_us[i] > now ? r->look_us[i] : now) + each;
    return rate_looks_us[i] / 1000;
}

int64_t rate_slot(struct rate *r, size_t ahead)
{
    int64_t now = clock_mono_us(), first = (r->next_us > now ? r->next_us : now) + (int64_t)ahead * r->interval_us;
    int64_t slot = (r->slot_us > first ? r->slot_us : first) + r->interval_us;
    if (slot - now > rate_looks_us[0])
        return rate_look(r, now);
    r->slot_us = slot;
    return (slot - now) / 1000;
}
