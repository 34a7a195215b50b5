/* SPDX-License-Identifier: MIT */
/* The figures of a sink: its account (delivery/account.h) in a few numbers, all destinations together. Any thread. */
#pragma once
#include <jansson.h>
#include <stdint.h>

struct figures {                      /* -1: not known, or does not apply */
    int64_t delivered, retries, dead; /* since the daemon's start */
    int64_t pending;                  /* events in the daemon's memory that are not finished */
    int64_t waiting; /* of those, and of those on the broker: that wait for an attempt, or for their turn behind one */
    int64_t lag;     /* records of its topics that it has not finished */
    /* Wall clock: when the oldest of the events in memory was stored; of those that wait on the broker no more is known than
     * since when their destination fails, which counts as well. */
    int64_t oldest_ms;
};
struct figures figures_of(const json_t *sink);

enum sink_state { SINK_ACTIVE = 1, SINK_PAUSED, SINK_HELD, SINK_FAILING, SINK_OPEN, SINK_UNKNOWN };
/* The worst that is to be said of its destinations, or that it gives no account; *detail is the reason ("billing: 503 Service
 * Unavailable"), free() it; NULL: there is none. */
enum sink_state figures_state(const json_t *sink, char **detail);
const char *figures_state_text(enum sink_state state); /* "active", "open" ... */
