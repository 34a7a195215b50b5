/* SPDX-License-Identifier: MIT */
/* The log as a sink reads it from any position (event/log.h). The sink's thread asks and takes; one thread of its own asks
 * the cluster, one thing after the other, and wakes the sink with each answer.
 *
 *   sink: read()   what is in the chunks, else an ask ──> asks ──> thread: seek, fetch a stretch ──> chunks ──> wake_fd
 *
 * One client, without a group, serves all readers of the sink: readers at the same place share an ask and its chunk, those
 * elsewhere take turns. What was fetched and not taken yet is bounded (ANSWER_AHEAD), what was taken stays for others as long
 * as there is room. When nobody asks for a while the client ends, so that it fetches nothing beside the live one.
 *
 * A topic's identity is the cluster's id and its name: librdkafka 2.0 does not tell the topic's own id. One that was made anew
 * is known by a position beyond its end, or by the time of the record before the position (event/cursor.h). The live consumer
 * finds out by itself, some time later, and begins at its start; from the moment that the end is seen before it until then
 * nobody can say where it stands. What was read of the old one is forgotten then. */
#pragma once
#include "bridge/broker/chunks.h"
#include "bridge/broker/kafka/private.h"

enum { REPLAY_TIMES = 64 }; /* answers of a partition that nobody took yet */

enum ask { ASK_BOUNDS = 1, ASK_TIME, ASK_CHUNK };

struct answer_ask {
    struct answer_ask *next;
    struct answer_part *part;
    enum ask kind;
    int64_t value; /* ms, or the offset */
};

struct answer_time {
    int64_t ms, offset; /* offset -1: not answered yet */
};

struct answer_part {
    char *topic;
    int32_t number;
    /* Under the lock: */
    unsigned asks, epoch; /* chunks that are asked for; how often the topic was made anew */
    struct log_bounds bounds;
    bool known, handed, asked; /* bounds: ever, since the last answer; and asked for */
    int64_t bounds_ms;
    int64_t live;     /* where the live consumer stood when last asked */
    bool live_is_old; /* the cluster said later that this is beyond the end: it is a place in a topic that is gone */
    struct answer_time times[REPLAY_TIMES];
    size_t time_count;
    int64_t failed_at, retry_ms; /* the record there could not be read, for that reason */
    bool failed, told;
    struct err why;
    /* The thread's: */
    rd_kafka_queue_t *queue; /* NULL: not assigned */
    int64_t at;              /* where the client stands; -1: it has no place */
};

struct answers {
    struct broker_log base;
    struct kafka *b;
    pthread_t thread;
    atomic_bool stop;
    pthread_mutex_t lock; /* guards what follows, up to renew; with work */
    pthread_cond_t work;
    struct answer_part **parts;
    size_t part_count;
    struct answer_ask *first;
    struct chunks *chunks;
    int64_t put_ms;
    bool renew;        /* a topic was made anew: the client may hold on to the old one */
    rd_kafka_t *rk;    /* the thread's; NULL: none now */
    int64_t needed_ms; /* the thread's: when it was last */
    unsigned login;    /* the thread's: the version of its login (follow.c) */
    bool broken;       /* the thread's: another client is needed */
};

/* With the lock held: what is known of the topic is of an older one. */
void kafka_answer_anew(struct answers *r, struct answer_part *p);

void *kafka_answer_run(void *arg); /* the thread of a struct answers */
