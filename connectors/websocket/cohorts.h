/* SPDX-License-Identifier: MIT */
/* All cohorts of a sink: found by subscription, flushed together, and kept within one bound of memory. One thread. */
#pragma once
#include "connectors/websocket/cohort.h"
#include "connectors/websocket/pace.h"

struct cohorts {
    size_t ring_bytes, most, most_held; /* of each cohort's ring; cohorts; bytes in all rings together */
    struct cohort *first;
    size_t count;
    size_t held; /* bytes in the rings */
    struct tally tally;
    struct pace pace;
    int64_t heartbeat_ms;
};

/* The cohort of that subscription, a new one if need be, which takes it over. NULL with *e: there are too many. */
struct cohort *cohorts_get(struct cohorts *all, struct subscription *wanted, struct err *e);
void cohorts_free_empty(struct cohorts *all);

/* Serves everybody when it is time (pace.h); `now`: in any case. Returns how many ms until it will be time, -1: nothing
 * waits. */
int64_t cohorts_flush(struct cohorts *all, bool now);
/* Keeps all rings together within their bound: first everybody gets what can be sent and memory that nobody waits for
 * goes back; if that is not enough, those who lag behind in the subscription that lags most have to go. */
void cohorts_relieve(struct cohorts *all);
/* Quiet event streams get a comment, so that proxies keep them. */
void cohorts_heartbeat(struct cohorts *all);
