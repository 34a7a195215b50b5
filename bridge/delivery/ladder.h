/* SPDX-License-Identifier: MIT */
/* The ladder: topics of constant delays, common to all sinks, in which events wait for their next attempt.
 *
 *   <prefix>waiting.30s  .2m  .10m  .1h  .6h  .1d
 *
 * An event with any due time is put into the topic with the largest delay that does not overshoot it, and is looked at
 * again when that delay is over (waiter.h): it is due then, or goes on to the next topic. All records of a topic wait
 * equally long, so the first in is the first out and the oldest says how long nothing is to be done. What is due
 * sooner than the shortest delay goes into its topic as well and says itself when it is to be looked at.
 *
 * Events of a sink that the configuration does not have are kept in <prefix>waiting.orphaned.
 *
 * Nothing here has a thread: publish from any. */
#pragma once
#include "bridge/broker/broker.h"
#include "bridge/event/trail.h"

enum { LADDER_STEPS = 6 };

struct ladder {
    char *topics[LADDER_STEPS];
    char *orphaned;
};

struct ladder_stay { /* a record that is to wait, and what its trail says */
    const struct record *record;
    struct str sink, endpoint; /* endpoint absent: all of them */
    unsigned attempts;
    int64_t first_ms, last_ms;
    int64_t due_ms;   /* wall clock: the next attempt */
    int64_t again_ms; /* wall clock: not looked at before; due_ms, or later when the sink has no room then */
    int64_t put_ms;   /* wall clock: since when it waits; 0: unknown */
};

void ladder_open(struct ladder *l, const char *prefix); /* the names; makes no topic */
void ladder_close(struct ladder *l);                    /* accepts {0} */
/* The index of the longest delay that is no longer than `wait_ms`; 0 when all are longer. */
size_t ladder_step(int64_t wait_ms);
int64_t ladder_ms(size_t step); /* its delay */
/* Publishes a copy of the record to the topic where it waits next, or to the orphaned ones; `how` says done, ctx and
 * tag. */
void ladder_publish(const struct ladder *l, struct broker *b, const struct ladder_stay *stay,
                    const struct publication *how);
void ladder_publish_orphan(const struct ladder *l, struct broker *b, const struct ladder_stay *stay,
                           const struct publication *how);
/* Calls each() with every topic of the ladder and the group that reads them. */
bool ladder_topics(const struct broker_config *names,
                   bool (*each)(void *ctx, const char *topic, const char *group, struct err *e), void *ctx,
                   struct err *e);
/* <group_prefix>bridge.waiter, which is no sink's: their names have no dot; free() it. */
char *ladder_group(const struct broker_config *names);
