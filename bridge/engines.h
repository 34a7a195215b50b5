/* SPDX-License-Identifier: MIT */
/* The engines of a running bridge, by name: one for each sink, one for each thread of a source, and the waiter, each on its
 * worker's thread.
 *
 *   engines_open -> engines_start -> ... -> engines_stop -> engines_close -> engines_free
 *
 * Stopping one finishes what it has begun, and what misses the deadline is abandoned: nothing unsettled was acknowledged
 * and nothing unfinished was committed. Main thread only; everything is borrowed. */
#pragma once
#include "bridge/config/config.h"
#include "bridge/intake/route.h"
#include "bridge/worker.h"

struct roster;

struct engines { /* zeroed but for the first two, and the last: none */
    struct broker *broker;
    const struct broker_config *names;
    struct workers workers;
    struct waiter *waiter;
    struct roster *roster; /* of endpoints that are made at run time; NULL: there are none */
};

/* Opens every sink, the waiter of those whose events can wait, and every source; no thread runs yet. */
bool engines_open(struct engines *en, const struct config *c, const struct router *router, struct err *e);
bool engines_start(struct engines *en, struct err *e); /* all that do not run yet; false: some may */
/* Sources, then sinks, then the waiter, until end_ms (clock_mono_ms). */
void engines_stop(struct engines *en, int64_t end_ms);
void engines_close(struct engines *en); /* none runs */
void engines_free(struct engines *en);  /* after the broker is closed, or when no thread ever ran: zeroed again */
