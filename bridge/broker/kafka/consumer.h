/* SPDX-License-Identifier: MIT */
/* A consumer: of a group, or broadcast, which reads all partitions, joins no group and commits nothing.
 *
 *   open, maybe on a thread of its own: topics are there -> client -> where it begins -> subscribed, or all assigned
 *   kafka_poll: another login? rebalances -> doubts -> mend what is lost -> go where the reader wants -> positions -> records
 *   kafka_leave: revoked, positions committed, the client ends, beside if it takes long
 *
 * It belongs to the thread that polls it, once it is open; rebalances come within a poll. librdkafka's threads only wake it, and
 * note what they hear of (doubt_lock). Each partition has a queue of its own, so that one that is held is fetched no further than
 * its share. What may happen to one:
 *
 *   sought    whoever reads wants to be elsewhere                      a seek
 *   doubted   librdkafka lost its broker, so its topic may be another  read again from the last record, which tells
 *   vanished  and there is no such topic                               it keeps its place until there is one
 *   anew      it is another topic of that name                         from its start: its positions mean nothing
 *   adrift    its position is gone (retention)                         from the first record that there is; the lost are counted
 *   damaged   the record at `next` cannot be read                      tried again, never passed over */
#pragma once
#include "bridge/broker/kafka/private.h"

/* ---- assignment.c ---- */

struct kafka_last { /* the record that was handed out last, as far as it tells one from another */
    int64_t offset; /* -1: none yet */
    int64_t ms;
    size_t key_n, value_n;
};

/* Offsets without a record between two that came, of which it is not known yet whether compaction took them (holes.c). */
struct kafka_hole {
    int64_t from, to;    /* the first and the last of them */
    int64_t behind;      /* how many the group stands behind, as far as the cluster has said; */
    struct ranges ahead; /* the others */
    int64_t since_ms;    /* when the first of them was met */
};

struct kafka_assigned { /* a partition that is ours now */
    struct topic_partition which;
    rd_kafka_queue_t *queue; /* its own queue, not forwarded: what is not polled is not fetched beyond the prefetch */
    bool held;
    bool sought;                /* `next` was set by who reads, and librdkafka has not gone there yet */
    int64_t seek_ms;            /* not before (clock_mono_ms) */
    bool adrift;                /* librdkafka has no position to go on at */
    bool damaged;               /* the record at `next` cannot be read */
    bool doubted;               /* to be fetched again from its last record */
    bool vanished;              /* and its topic was not there */
    bool anew;                  /* another topic of the same name: positions in it mean nothing */
    int64_t retry_ms;           /* any of them: not before (clock_mono_ms), */
    int ask_ms;                 /* and how long the answer is waited for */
    int64_t next;               /* the offset after the last one handed out; -1: none yet */
    int64_t void_from, void_to; /* a stretch without records before `next`: marks of transactions, or what they undid */
    struct kafka_last last, past; /* past: as it was when the partition was taken from us before */
    struct ranges restored; /* finished beyond the position that the group had, as far as that has not passed it */
    bool asked;             /* a position is to be committed: */
    int64_t wanted;
    struct ranges beyond;
    int64_t owed; /* what is before it was there before the group was */
    struct kafka_hole hole;
    int64_t gap_ms;     /* when it was logged last that records are gone */
    int64_t taken;      /* the position that the cluster has, as far as we know */
    bool has_committed; /* the cluster had a position of the group */
};

struct kafka_past { /* what is remembered of a partition that was ours */
    struct topic_partition which;
    struct kafka_last last;
    bool has_committed;
    int64_t wanted, taken; /* all before `wanted` is finished; -1: nothing is */
    struct ranges beyond;
};

struct kafka_doubt {
    struct topic_partition which;
    bool vanished; /* there was no such topic */
};

struct kafka_consumer {
    struct consumer base;
    struct kafka *b;
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;   /* rebalances, errors */
    char *group;               /* NULL: broadcast */
    char **topics, **formerly; /* formerly: earlier names of the group */
    size_t topic_count, formerly_count;
    bool from_start, closing;
    bool adopted;      /* their positions are ours, where we had none */
    bool nameless;     /* it was fenced: another member had its name */
    int64_t fenced_ms; /* when it was last; 0: never */
    unsigned login;    /* the version of its client's (follow.c) */
    bool leaked;       /* an earlier client of it did not end, and may still log */
    bool pinned; /* every partition there was at the start has a committed position (broadcast: an assigned one) */
    int wake_fd;
    void (*revoked)(void *ctx, const struct topic_partition *partitions, size_t count);
    void *ctx;
    pthread_t opener; /* while opening, everything here is its */
    bool opening;
    atomic_bool opened;
    struct err open_error;
    struct kafka_assigned *assigned;
    size_t assigned_count, turn;
    int64_t look_ms;             /* broadcast: next look for new partitions */
    rd_kafka_queue_t *positions; /* answers to commits; NULL: broadcast */
    unsigned committing;         /* commits under way */
    bool overtaken;              /* the answer that came last was not that of the last commit */
    int64_t committing_ms, commit_again_ms;
    size_t metadata_max;                   /* bytes that the cluster takes with a position */
    rd_kafka_topic_partition_list_t *last; /* what the end still has to commit */
    struct kafka_past *past;               /* of partitions that were ours */
    size_t past_count;
    atomic_bool debug;          /* the user asks for librdkafka's debug lines */
    atomic_bool doubt;          /* there are doubts */
    pthread_mutex_t doubt_lock; /* guards doubts, doubt_count */
    struct kafka_doubt *doubts;
    size_t doubt_count;
    int64_t delete_ms;         /* consumed.c: not before */
    rd_kafka_queue_t *deletes; /* its answer comes there; NULL: none is under way */
};

void kafka_queue_wake(rd_kafka_queue_t *q, int wake_fd); /* news in the queue wakes this; -1: nothing any more */
struct kafka_assigned *kafka_assigned_find(struct kafka_consumer *c, struct topic_partition p); /* NULL: not ours */
struct kafka_assigned *kafka_assigned_add(struct kafka_consumer *c, const char *topic, int32_t partition);
void kafka_assigned_drop(struct kafka_consumer *c); /* all of them */
/* Records of it came by the common queue: it gets a queue of its own again, and is read from its `next`. */
void kafka_assigned_stray(struct kafka_consumer *c, struct kafka_assigned *assigned);
/* The record by which its topic is known, or its `next` when there is none before that; -1: neither. */
int64_t kafka_assigned_known(const struct kafka_assigned *assigned);
/* Every partition of the consumer's topics, as far as known; free it. */
rd_kafka_topic_partition_list_t *kafka_assignment_all(struct kafka_consumer *c);
/* Commits these positions, and waits for the answer. */
bool kafka_assignment_commit(struct kafka_consumer *c, rd_kafka_topic_partition_list_t *list, struct err *e);
/* A group that begins at the end: commits the present end of every partition without a committed position (or its
 * start, in a topic where the group has begun before). True when done. */
bool kafka_assignment_pin(struct kafka_consumer *c, struct err *e);
/* Broadcast: assigns every partition that is not assigned yet (from its end; partitions found later from their start). */
void kafka_assignment_look(struct kafka_consumer *c);
/* A rebalance gave us these: fills in where each begins, as far as the cluster answers now. */
void kafka_assignment_begin(struct kafka_consumer *c, rd_kafka_topic_partition_list_t *list);
/* Fetches these and nothing else, once what is fetched now was told to stop: another assignment that came before that would
 * stop it again, and librdkafka asserts that nothing is stopped twice. */
void kafka_assignment_set(struct kafka_consumer *c, const rd_kafka_topic_partition_list_t *list);
/* Goes to the last record of every partition, or to its `next`; what was read ahead is dropped. (A seek does nothing for a partition that is adrift.) */
void kafka_assignment_resume(struct kafka_consumer *c);
/* Another client takes over all that is assigned, where that stands: before the old one ends, and when the new one is there. */
void kafka_assignment_pause(struct kafka_consumer *c);
void kafka_assignment_again(struct kafka_consumer *c);
/* Finds the `next` of a partition that is adrift, damaged or made anew (whoever works on it is told that it is gone). False with
 * *e, "" when it was not waited for long: it is the next time. */
bool kafka_assignment_locate(struct kafka_consumer *c, struct kafka_assigned *assigned, struct err *e);

/* ---- doubt.c ---- */

void kafka_doubt_open(struct kafka_consumer *c);
void kafka_doubt_close(struct kafka_consumer *c);
void kafka_doubt_hear(struct kafka_consumer *c, const char *text); /* a line of librdkafka's log; any thread */
struct kafka_past *kafka_past_find(struct kafka_consumer *c, struct topic_partition p); /* NULL: it was never ours */
/* A partition is taken from us; it is ours again. */
void kafka_doubt_remember(struct kafka_consumer *c, const struct kafka_assigned *assigned);
void kafka_doubt_recall(struct kafka_consumer *c, struct kafka_assigned *assigned);
/* Marks the partitions in doubt as such. While there is a doubt (c->doubt), nothing that was fetched may be handed out. */
void kafka_doubt_serve(struct kafka_consumer *c);
/* Is it a record that was not handed out before? Then it is from now on the last one. Else it may show that the partition
 * is another one: assigned->anew. */
bool kafka_doubt_is_new(struct kafka_assigned *assigned, const rd_kafka_message_t *m);

/* ---- consumed.c ---- */

/* Positions were committed: deletes what is before them where the topic is for this group alone, now and then. */
void kafka_consumed(struct kafka_consumer *c, const rd_kafka_topic_partition_list_t *committed);
void kafka_consumed_serve(struct kafka_consumer *c); /* takes the answer, if it is there */
void kafka_consumed_end(struct kafka_consumer *c);   /* before its client ends */

/* ---- positions.c ---- */

/* Where the group stands, -1: nowhere yet: by a committed position and its metadata, and by what we finished ourselves when we had
 * the partition before and could not commit. */
int64_t kafka_position_restore(struct kafka_consumer *c, struct kafka_assigned *assigned,
                               const rd_kafka_topic_partition_t *committed);
unsigned kafka_commit(struct consumer *base, struct topic_partition p, int64_t next, const struct ranges *beyond);
/* The partition ends there for now, or begins: what lies between the last record that was read and that is nobody's to finish. */
void kafka_position_end(struct kafka_consumer *c, struct kafka_assigned *assigned, int64_t end);
/* There are no records: they are finished, for who has the partition next as well. */
void kafka_position_finish(struct kafka_assigned *assigned, const struct ranges *none);
void kafka_stands(struct consumer *base, void (*each)(void *, const struct standing *), void *ctx);
void kafka_positions_serve(struct kafka_consumer *c); /* commits what was asked for, takes answers; does not wait */
void kafka_positions_keep(struct kafka_consumer *c);  /* for a flush when no partition is assigned any more */
void kafka_positions_flush(struct kafka_consumer *c); /* commits what was asked for, waits for the answers (bounded) */

/* ---- holes.c ---- */

/* Between `next` and the record at `offset`, which came, there is none. */
void kafka_hole_meet(struct kafka_consumer *c, struct kafka_assigned *assigned, int64_t next, int64_t offset);
/* Tells what was met before, if it can be judged now. */
void kafka_hole_judge(struct kafka_consumer *c, struct kafka_assigned *assigned);
void kafka_hole_pass(struct kafka_assigned *assigned, int64_t position);          /* the group stands there */
void kafka_hole_forget(struct kafka_assigned *assigned);                          /* it is another topic */
void kafka_hole_leave(struct kafka_consumer *c, struct kafka_assigned *assigned); /* the partition goes */

/* ---- adoption.c ---- */

/* Takes over the positions of the group's earlier names where it has none itself, once. True when done. */
bool kafka_adopt(struct kafka_consumer *c, struct err *e);

/* ---- consumer.c ---- */

void kafka_gather(struct broker *base);
struct consumer *kafka_consume(struct broker *base, const struct consumer_options *o, struct err *e);
/* Takes it back from its opener; false while that is at work, and with *e when it failed. */
bool kafka_consumer_is_open(struct kafka_consumer *c, struct err *e);
/* Its client gets a successor, since its login is over: what is under way is finished and committed, as when a partition goes to
 * another member. False with *e: there is none. */
bool kafka_consumer_follow(struct kafka_consumer *c, struct err *e);
/* The same, since another member has our name and the cluster has put us out of the group: joins again. The other may be we
 * ourselves: after the coordinator's death librdkafka may send for its old session what comes when the new one has begun. So it
 * keeps its name the first time, and goes without when that is taken from it again at once. What is under way goes to whoever has
 * the partitions now. */
bool kafka_consumer_join_again(struct kafka_consumer *c, const char *why, struct err *e);
void kafka_leave(struct consumer *base);

/* ---- poll.c ---- */

int kafka_poll(struct consumer *base, struct record **out, size_t room, struct err *e);
void kafka_hold(struct consumer *base, struct topic_partition p, bool hold);
void kafka_seek(struct consumer *base, struct topic_partition p, int64_t offset);
bool kafka_next(struct consumer *base, struct topic_partition p, int64_t *out);
