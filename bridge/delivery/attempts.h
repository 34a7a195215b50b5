/* SPDX-License-Identifier: MIT */
/* The delivery log: attempts as events on the topic <prefix>attempts.
 *
 * A sink's thread adds each attempt as it ends; those that the sink's option `attempts` asks for are kept in a small buffer
 * and published in batches, which nobody waits for. The log never holds up a delivery: what finds the buffer full, or is
 * not stored, is left out and counted (aqueduct_attempts_omitted_total). Attempts to deliver the log's own events are
 * never added, so a sink may read its topic.
 *
 * Threads: the sink's, and attempts_free the main thread after it; the broker's only counts. */
#pragma once
#include "bridge/broker/broker.h"
#include "bridge/config/config.h"

#define ATTEMPT_TYPE "aqueduct.attempt." /* begins the types of the log's events: failed, delivered */
enum { ATTEMPT_RESPONSE = 512 };         /* most bytes of a receiver's answer that are kept */

enum attempt_end {
    ATTEMPT_DELIVERED = 1,
    ATTEMPT_RETRY,    /* there will be another one */
    ATTEMPT_SPARED,   /* ... with the same number, for the circuit is open and the receiver away */
    ATTEMPT_DEAD,     /* the event becomes a dead letter */
    ATTEMPT_RELEASED, /* its partition went to another member of the group, who delivers it */
};

struct attempt {                 /* everything is borrowed */
    const char *sink, *endpoint; /* endpoint: NULL when the sink has none */
    const struct event *event;
    const struct record *record;
    unsigned number; /* 1 for the first */
    const struct result *result;
    const char *class; /* of the reason, as in dead letters */
    enum attempt_end end;
    int64_t ended_ms, next_ms; /* wall clock; next: ATTEMPT_RETRY only */
};

/* The attempt as an event with one reference; NULL when it is too large. Its id follows from the sink, the endpoint, the
 * record and the number; of one that is spared from the time as well. */
const struct event *attempt_event(const struct attempt *a);

struct attempts;

/* Makes the topic if one of the sinks writes to it. */
bool attempts_topic(const struct config *config, struct broker *b, struct err *e);
struct attempts *attempts_new(const struct sink_config *sink, const char *prefix,
                              struct broker *b); /* NULL: none is logged */
/* Before anything else is done with a delivered event. `a` NULL: nothing to do, here and below. */
void attempts_add(struct attempts *a, const struct attempt *attempt);
void attempts_publish(struct attempts *a, bool all); /* what has waited long enough; `all`: at the end of the thread */
int64_t attempts_due(const struct attempts *a);      /* clock_mono_ms of the next attempts_publish; INT64_MAX: none */
void attempts_free(struct attempts *a);              /* what is on its way to the broker frees itself */
