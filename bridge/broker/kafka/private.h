/* SPDX-License-Identifier: MIT */
/* What the files of the kafka broker share; nobody else includes this (but its own tests).
 *
 *   broker_kafka.c            open, ready, close; the table of the broker
 *   broker_kafka_conf.c       properties: defaults, the user's, what is refused; librdkafka's log
 *   broker_kafka_producer.c   publications: notes, records, changes, outcome; a new producer after a fatal error
 *   broker_kafka_topics.c     the keeper: makes topics, knows their partitions, notices whether the cluster answers
 *   broker_kafka_consumer.c   consumers: groups and broadcast
 *   broker_kafka_places.c     where a consumer's partition begins, and what to do when that place is gone
 *   broker_kafka_read.c       reading back: a source's state, the tail of a topic
 *
 * Threads of one broker: the poller (delivery reports, the producer's end and rebirth), the keeper (everything that
 * asks the cluster and waits), librdkafka's own. */
#pragma once
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>
#include "bridge/broker/broker.h"
#include "bridge/event/trail.h"
#include "bridge/lib/metrics.h"
#include "bridge/lib/thread.h"

enum { KAFKA_ERRSTR = 512 };

/* ---- broker_kafka_conf.c ---- */

enum kafka_role {
    KAFKA_PRODUCER = 1,
    KAFKA_MEMBER = 2, /* a consumer, in a group or broadcast */
    KAFKA_READER = 4, /* reads a stretch and ends */
};

/* A configuration for a client of that role: our defaults, then the user's properties, then what must be so. `group`
 * is NULL for producers. NULL with *e naming the property. */
rd_kafka_conf_t *kafka_conf(const struct broker_config *config, enum kafka_role role, const char *group, struct err *e);
/* One line of librdkafka's (or about it) to our log, at most a few in a second. */
void kafka_log(int syslog_level, const char *kind, const char *text);

/* ---- broker_kafka_producer.c ---- */

struct kafka_topic { /* librdkafka's handle of a topic, by name */
    char *name;
    uint64_t hash;
    rd_kafka_topic_t *rkt;
};

/* One librdkafka producer. After a fatal error the broker gets another; the old one lives until its last user let go. */
struct kafka_handle {
    rd_kafka_t *rk;
    atomic_int users;
    atomic_bool fatal;
    pthread_mutex_t lock; /* guards topics, topic_count */
    struct kafka_topic *topics;
    size_t topic_count;
};

/* ---- broker_kafka_topics.c ---- */

enum topic_state { TOPIC_WANTED, TOPIC_THERE, TOPIC_FAILED };

struct topic_note {
    char *name;
    struct topic_config config; /* partitions 0: nobody said how many */
    bool compact;               /* the state topic */
    enum topic_state state;
    int32_t partitions; /* as last heard; 0: unknown */
    int64_t retry_ms;   /* TOPIC_FAILED: try again then (clock_mono_ms) */
    unsigned tries;
    char why[WHY_BYTES];
};

struct kafka {
    struct broker base;
    const struct broker_config *config;
    pthread_t poller, keeper;
    bool keeper_runs;
    atomic_bool stop;
    atomic_bool down; /* no answer lately */

    pthread_mutex_t lock; /* guards handle */
    struct kafka_handle *handle;

    pthread_mutex_t idle_lock; /* with idle: open fell to 0 */
    pthread_cond_t idle;
    atomic_long open; /* publications without an outcome */

    pthread_mutex_t wave_lock; /* guards wave, wave_end; with wave_there */
    pthread_cond_t wave_there;
    struct pending *wave, **wave_end; /* published, not sent yet */

    pthread_mutex_t topics_lock; /* guards notes, note_count; with topics_changed */
    pthread_cond_t topics_changed;
    struct topic_note *notes;
    size_t note_count;

    struct metric *stored, *took, *reborn, *lost;
};

char *kafka_state_topic(const struct kafka *b); /* <prefix>state; free() it */

bool kafka_producer_start(struct kafka *b, struct err *e);
void kafka_producer_stop(struct kafka *b);        /* every open publication has its outcome afterwards */
struct kafka_handle *kafka_take(struct kafka *b); /* the producer of now; give it back soon */
void kafka_give(struct kafka_handle *h);
rd_kafka_topic_t *kafka_handle_topic(struct kafka_handle *h, struct str name, bool *created);
void kafka_publish(struct broker *base, const struct publication *p);
bool kafka_flush(struct broker *base, struct duration limit);

void kafka_keeper_start(struct kafka *b);
void kafka_keeper_stop(struct kafka *b);
bool kafka_topic(struct broker *base, const struct topic_config *topic, struct err *e);
bool kafka_topics(struct broker *base, const char *prefix, void (*each)(void *ctx, const char *topic), void *ctx,
                  struct err *e);
/* Notes that the topic is used, so that the keeper makes it or finds it; does not wait. Any thread. */
void kafka_topic_want(struct kafka *b, struct str name, bool again);
/* Waits until the topic is there; its number of partitions, or 0 with *e. */
int32_t kafka_topic_wait(struct kafka *b, const char *name, struct duration limit, struct err *e);
/* Its number of partitions as last heard, 0 when unknown; does not wait. */
int32_t kafka_topic_partitions(struct kafka *b, const char *name);
/* The first topic that could not be made: true with its name and reason in *why. */
bool kafka_topic_failed(struct kafka *b, struct err *why);

/* ---- broker_kafka_consumer.c, broker_kafka_places.c ---- */

struct kafka_part { /* a partition that is ours now */
    struct topic_partition place;
    rd_kafka_queue_t *queue; /* its own queue, not forwarded: what is not polled is not fetched beyond the prefetch */
    bool held;
    bool adrift;      /* librdkafka has no place to go on at */
    bool damaged;     /* the record at `next` cannot be read */
    int64_t retry_ms; /* adrift, damaged: not before (clock_mono_ms) */
    int64_t next;     /* the offset after the last one handed out; -1: none yet */
};

struct kafka_consumer {
    struct consumer base;
    struct kafka *b;
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue; /* rebalances, errors */
    char *group;             /* NULL: broadcast */
    char **topics;
    size_t topic_count;
    bool from_start, closing;
    bool pinned; /* every partition there was at the start has a committed place (broadcast: an assigned one) */
    int wake_fd;
    void (*revoked)(void *ctx, const struct topic_partition *partitions, size_t count);
    void *ctx;
    struct kafka_part *parts;
    size_t part_count, turn;
    int64_t look_ms; /* broadcast: next look for new partitions */
};

struct consumer *kafka_consume(struct broker *base, const struct consumer_options *o, struct err *e);
int kafka_poll(struct consumer *base, struct record **out, size_t room, struct err *e);
void kafka_hold(struct consumer *base, struct topic_partition p, bool hold);
void kafka_commit(struct consumer *base, struct topic_partition p, int64_t next);
void kafka_leave(struct consumer *base);
struct kafka_part *kafka_part_add(struct kafka_consumer *c, const char *topic, int32_t partition);
/* A record of our own: one allocation that holds everything, so it does not pin librdkafka's fetch buffers. */
struct record *kafka_record(rd_kafka_message_t *m);

/* A group that begins at the end: commits the present end of every partition without a committed place (or its
 * start, in a topic where the group has begun before). True when done. */
bool kafka_places_pin(struct kafka_consumer *c, struct err *e);
/* Broadcast: assigns every partition that is not assigned yet (from its end; partitions found later from their start). */
void kafka_places_look(struct kafka_consumer *c);
/* A rebalance gave us these: fills in where each begins, as far as the cluster answers now. */
void kafka_places_begin(struct kafka_consumer *c, rd_kafka_topic_partition_list_t *list);
/* Goes to every part's `next`; what was read ahead is dropped. (A seek does nothing for a partition that is adrift.) */
void kafka_places_go(struct kafka_consumer *c);
/* Finds the `next` of a part that is adrift or damaged. */
bool kafka_places_find(struct kafka_consumer *c, struct kafka_part *part, struct err *e);

/* ---- broker_kafka_read.c ---- */

bool kafka_state(struct broker *base, const char *source,
                 bool (*each)(void *, struct str, struct str, bool, struct err *), void *ctx, struct err *e);
bool kafka_tail(struct broker *base, const char *topic, int64_t most, void (*each)(void *, const struct record *),
                void *ctx, struct err *e);

/* Keys of the state topic: the source's id, a NUL, then what it is, then the change's key. */
enum { STATE_PAIR = '=', STATE_NOTE = '~' }; /* a pair of the state; a note of a change that is about to come */
enum { NOTE_SET = '+', NOTE_FORGET = '-' };  /* first byte of a note's value */
