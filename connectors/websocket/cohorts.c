/* SPDX-License-Identifier: MIT */
/* The list of cohorts. */
#include "connectors/websocket/cohorts.h"
#include <string.h>

enum {
    HEARTBEAT_MS = 20 * 1000, /* of silence */
    HEARTBEAT_CHECK_MS = 1000,
};

struct cohort *cohorts_get(struct cohorts *all, struct subscription *wanted, struct err *e)
{
    for (struct cohort *c = all->first; c; c = c->next)
        if (strcmp(c->subscription.key, wanted->key) == 0)
            return c;
    if (all->count >= all->most) {
        err_set(e, "too many different subscriptions; see option max_subscriptions");
        return NULL;
    }
    struct cohort *c = cohort_new(wanted, all->ring_bytes, &all->held, &all->tally, e);
    if (!c)
        return NULL;
    c->next = all->first;
    all->first = c;
    all->count++;
    return c;
}

void cohorts_free_empty(struct cohorts *all)
{
    for (struct cohort **at = &all->first; *at;) {
        struct cohort *c = *at;
        if (c->count) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        all->count--;
        cohort_free(c);
    }
}

int64_t cohorts_flush(struct cohorts *all, bool now)
{
    bool dirty = false;
    for (struct cohort *c = all->first; c && !dirty; c = c->next)
        dirty = c->dirty;
    if (!dirty)
        return -1;
    int64_t us = clock_mono_us(), left = pace_left_us(&all->pace, us);
    if (left > 0 && !now)
        return (left + 999) / 1000;
    pace_begin(&all->pace, us);
    for (struct cohort *c = all->first; c; c = c->next)
        if (c->dirty)
            cohort_flush(c);
    pace_end(&all->pace, clock_mono_us());
    return -1;
}

void cohorts_relieve(struct cohorts *all)
{
    while (all->held > all->most_held) {
        struct cohort *last = all->first;
        size_t most = 0;
        for (struct cohort *c = all->first; c; c = c->next) {
            size_t lag = cohort_trim(c);
            last = lag > most ? c : last;
            most = lag > most ? lag : most;
        }
        if (all->held > all->most_held)
            cohort_relieve(last);
    }
}

void cohorts_heartbeat(struct cohorts *all)
{
    int64_t now = clock_mono_ms();
    if (now - all->heartbeat_ms < HEARTBEAT_CHECK_MS)
        return;
    all->heartbeat_ms = now;
    for (struct cohort *c = all->first; c; c = c->next)
        if (c->subscription.sse && now - c->added_ms >= HEARTBEAT_MS)
            cohort_comment(c, STR(":\n\n"));
}
