/* SPDX-License-Identifier: MIT */
/* A real Kafka under test, run through tests/kafka/rig, whose commands maltreat it; publications and their outcomes;
 * members of a group.
 *
 *     struct broker *b = cluster_open();
 *     const char *topic = cluster_topic(b, 4);
 *     cluster_publish(b, topic, 7);
 *     cluster_await(1);
 *     struct member *m = member_join(b, cluster_fresh(1), topic, true);
 *     member_read_until(m, 1); */
#pragma once
#include "bridge/broker/kafka/private.h"
#include "tests/support/test.h"

enum { PATIENCE_MS = 90000, MOST = 20000 };

extern const char *cluster_self; /* this program, for parts of it that are killed */
extern char cluster_prefix[64];  /* of all names of this run */
extern struct broker_config cluster_config;
extern char cluster_names[4][96]; /* made by cluster_fresh and cluster_topic */

/* May main() run its tests? They have names and a filter then; false: it was not run through the rig. */
bool cluster_ready(int argc, char **argv);
int cluster_begin(void **state);
#define CLUSTER_TEST(f) cmocka_unit_test_setup(f, cluster_begin)

void cluster_defaults(void); /* a configuration without properties */
void cluster_property(const char *key, const char *value);
struct broker *cluster_open(void);
const char *cluster_fresh(size_t i);                             /* a name that nothing used before */
const char *cluster_topic(struct broker *b, int64_t partitions); /* a new one, in cluster_names[0] */
void cluster_rig(const char *verb);                              /* pause resume kill restart ... */
int64_t cluster_metric(const char *name);
/* Waits for the answer to an admin request on the queue; it must be good. Frees both. */
void cluster_admin_done(rd_kafka_queue_t *q);

/* ---- publishing ---- */

/* By tag: 0 none yet, else enum outcome; written on the broker's thread. How many have one. */
extern _Atomic int cluster_outcomes[MOST], cluster_settled;
extern char cluster_why[WHY_BYTES]; /* of the last that was not stored */

void cluster_done(void *ctx, uint64_t tag, enum outcome o, const char *why); /* a publication's done() */
void cluster_forget(void);                                                   /* all outcomes */
void cluster_publish(struct broker *b, const char *topic, int tag);          /* the tag is value and key */
void cluster_await(int count);                                               /* until so many have an outcome */
/* Publishes changes of a source's state, with a record when there is a topic, and waits. */
void cluster_publish_changes(struct broker *b, const char *topic, const char *source, const struct change *changes,
                             size_t count);
/* Everything acknowledged among the first `count` tags is in the log. */
void cluster_nothing_is_missing(struct broker *b, const char *topic, int count);

/* ---- members of a group ---- */

struct member {
    struct consumer *c;
    int wake_fd;
    int seen[MOST]; /* how often each tag came */
    int total, different, revocations;
    bool commit; /* as soon as it is read; else only when partitions are taken */
    int64_t next[16];
    const char *topic;
};

struct member *member_join(struct broker *b, const char *group, const char *topic, bool commit);
void member_leave(struct member *m);
/* One round; an error of the moment is not the end (a broker is away in these tests). */
int member_turn(struct member *m, int wait_ms);
void member_read_until(struct member *m, int different);
