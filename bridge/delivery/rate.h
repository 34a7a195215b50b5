/* SPDX-License-Identifier: MIT */
/* How fast attempts may follow one another: so many in a second, evenly, at most a tenth of a second's at once.
 *
 * Nothing is queued here: who wants to send asks when the next one may go. What has no room until then waits elsewhere for
 * its slot, which is reckoned at the same rate, behind the slots given away before. One thread. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct rate {            /* zeroed: no limit */
    int64_t interval_us; /* 0: no limit */
    int64_t next_us;     /* clock_mono_us: when the next one would go if they went evenly */
    int64_t slot_us;     /* the last slot given away */
};

void rate_set(struct rate *r, double in_a_second); /* 0: no limit; at least one a day */
int64_t rate_due(const struct rate *r);            /* clock_mono_ms: when the next one may go; 0: there is no limit */
void rate_take(struct rate *r);                    /* one goes */
int64_t rate_slot(struct rate *r, size_t ahead); /* in how many ms one comes that has so many before it; with a limit */
