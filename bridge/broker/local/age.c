/* SPDX-License-Identifier: MIT */
/* How old records are, whatever somebody does to the machine's clock.
 *
 * The log has a time of its own: it goes on by what elapsed, so a jump of the wall clock moves it by nothing, and it is
 * drawn towards the wall clock by at most a tenth of what elapsed. Records are stamped with it and their age is
 * measured by it, so retention is off by a tenth at most while a jump is made good, and a false one deletes nothing.
 *
 * What a stop of the daemon took cannot be told from a jump: a start believes the wall clock up to AWAY_MS beyond the
 * newest record. A wall clock that says more, or that is behind the newest record, is not believed. */
#include "bridge/broker/local/private.h"
#include "bridge/lib/log.h"

#define AWAY_MS (INT64_C(31) * 24 * 60 * 60 * 1000)
enum { STEP_MS = 100, DRAWN = 10, SAID_MS = 60 * 1000 };

/* Says it once that the clock cannot be believed. */
static void age_say(struct age *a, int64_t ahead)
{
    bool far = ahead > SAID_MS || ahead < -SAID_MS;
    if (far && !a->said)
        LOG(WARN, "the clock jumped, or the log is from another time: records age by what elapses",
            LOG_INT("ahead_s", ahead / 1000));
    a->said = far;
}

void local_age_begin(struct age *a, int64_t newest_ms)
{
    int64_t wall = clock_wall_ms();
    a->measured_ms = clock_elapsed_ms();
    a->now_ms = newest_ms < 0 || (newest_ms <= wall && wall - newest_ms <= AWAY_MS) ? wall : newest_ms;
    age_say(a, wall - a->now_ms);
}

int64_t local_age_now(struct age *a)
{
    int64_t measured = clock_elapsed_ms(), passed = measured - a->measured_ms;
    if (passed < STEP_MS)
        return a->now_ms + (passed > 0 ? passed : 0);
    int64_t ahead = clock_wall_ms() - (a->now_ms + passed), most = passed / DRAWN;
    age_say(a, ahead);
    a->now_ms += passed + (ahead > most ? most : ahead < -most ? -most : ahead);
    a->measured_ms = measured;
    return a->now_ms;
}
