/* SPDX-License-Identifier: MIT */
/* When an event comes again whose sink had no room: each a little later than the one before, spread as fast as the sink
 * finished the last ones, so that it is kept busy and few come in vain. One thread. */
#pragma once
#include <stdint.h>

struct pace {                   /* zeroed: nothing is known of the sink */
    int64_t slot_us;            /* wall clock: the last slot given away */
    int64_t rate;               /* slots in a second; 0: not measured */
    int64_t since_ms, finished; /* measured since (monotonic); and what was finished since */
};

void pace_finished(struct pace *p);
int64_t pace_slot(struct pace *p, int64_t now_ms); /* wall clock in ms; after now */
