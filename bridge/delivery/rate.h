/* SPDX-License-Identifier: MIT */
/* How fast attempts may follow one another: so many in a second, evenly, at most a tenth of a second's at once.
 *
 * Nothing is queued here: who wants to send asks when the next one may go. What has no room until then waits elsewhere for
 * its slot, which is reckoned at the same rate, behind the slots given away before. Slots are given away for the next half
 * minute only, so that another rate soon counts: the rest asks again then, or later when it is many thousands. One thread. */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum { RATE_LOOKS = 4 };

struct rate {                    /* zeroed: no limit */
    int64_t interval_us;         /* 0: no limit */
    int64_t next_us;             /* clock_mono_us: when the next one would go if they went evenly */
    int64_t slot_us;             /* the last slot given away */
    int64_t look_us[RATE_LOOKS]; /* how much of each step is taken by those that ask again */
};

/* 0: no limit; at least one a day. When it is raised, what went before holds up the next as if it had gone at this one. */
void rate_set(struct rate *r, double in_a_second);
int64_t rate_due(const struct rate *r); /* clock_mono_ms: when the next one may go; 0: there is no limit */
void rate_take(struct rate *r);         /* one goes */
size_t rate_within(const struct rate *r, int64_t ms); /* how many go in that time; with a limit */
/* With a limit: in how many ms one comes that has so many before it, or asks again. */
int64_t rate_slot(struct rate *r, size_t ahead);
