/* SPDX-License-Identifier: MIT */
/* Evenly spaced attempts: the generic cell rate algorithm. */
#include "bridge/delivery/rate.h"
#include "bridge/lib/clock.h"

enum { BURST_US = 100000, SECOND_US = 1000000 };
#define LONGEST_US INT64_C(86400000000)

void rate_set(struct rate *r, double in_a_second)
{
    double interval = in_a_second > 0 ? SECOND_US / in_a_second : 0;
    r->interval_us = interval > (double)LONGEST_US ? LONGEST_US : (int64_t)interval;
    if (in_a_second > 0 && r->interval_us == 0)
        r->interval_us = 1;
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

int64_t rate_slot(struct rate *r, size_t ahead)
{
    int64_t now = clock_mono_us(), first = (r->next_us > now ? r->next_us : now) + (int64_t)ahead * r->interval_us;
    r->slot_us = (r->slot_us > first ? r->slot_us : first) + r->interval_us;
    return (r->slot_us - now) / 1000;
}
