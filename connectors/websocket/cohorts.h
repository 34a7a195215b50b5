/* SPDX-License-Identifier: MIT */
/* All cohorts of one thread of a sink: found by subscription, flushed together, and kept within one bound of memory. One
 * thread; those of several threads share the bounds (cohorts_join). */
#pragma once
#include <stdatomic.h>
#include "bridge/connector.h"
#include "bridge/event/filter_index.h"
#include "connectors/websocket/cohort.h"
#include "connectors/websocket/pace.h"
#include "connectors/websocket/peers.h"

struct cohorts {                  /* begins with cohorts_open */
    size_t ring_bytes, most_held; /* of each cohort's ring; bytes in all rings together */
    struct want_most most;        /* different subscriptions */
    struct peers *peers;
    const struct fallback *fallback; /* NULL: there is no log to fall back to */
    struct cohort *first;
    struct cohort *dirty;       /* those with news */
    struct filter_index *index; /* of their filters */
    struct cohort **numbered;   /* by the numbers of these */
    size_t numbered_count;
    size_t count;
    size_t held;              /* bytes in the rings */
    _Atomic size_t *all_held; /* in those of all threads, */
    size_t told, threads;     /* to which these have told so many; how many threads there are */
    struct tally tally;
    struct metric *delay; /* from storing to writing */
    struct pace pace;
    int64_t heartbeat_ms;
};

struct cohorts_bounds {
    size_t ring_bytes, most_held, threads;
    struct want_most most;
    struct peers *peers;      /* of the sink */
    _Atomic size_t *all_held; /* as is this */
};
void cohorts_open(struct cohorts *all, const struct cohorts_bounds *b);
void cohorts_close(struct cohorts *all); /* without listeners; zeroed is fine */
/* The cohort of that subscription, a new one if need be, which takes it over and counts as the listener's (NULL: nobody's).
 * NULL with *e: there are too many. */
struct cohort *cohorts_get(struct cohorts *all, struct subscription *wanted, const struct listener *l, struct err *e);
/* Frees those without listeners; now and then, and by itself when there are too many. */
void cohorts_free_empty(struct cohorts *all);
/* Calls each() with every cohort that wants the event. */
void cohorts_find(struct cohorts *all, const struct message *m, void (*each)(void *ctx, struct cohort *c), void *ctx);

/* Serves everybody when it is time (pace.h); `now`: in any case. Returns how many ms until it will be time, -1: nothing
 * waits. */
int64_t cohorts_flush(struct cohorts *all, bool now);
/* Keeps all rings together within their bound: first everybody gets what can be sent and memory that nobody waits for
 * goes back; if that is not enough, those who lag behind in the subscription that lags most have to go. Of several threads
 * those give back that hold more than their part. After each event, and now and then. */
void cohorts_relieve(struct cohorts *all);
/* Quiet event streams and subscriptions of aqueduct.v1 get their position, or a comment, so that proxies keep them and they need not look again at what was not
 * for them; those whose events have none get it soon after these. Outside of send(). */
void cohorts_heartbeat(struct cohorts *all, struct places *p);
