/* SPDX-License-Identifier: MIT */
/* What delivery.c (polls and verdicts), delivery_window.c and delivery_move.c (dead letters, retry topics) share.
 * Nobody else includes it. */
#pragma once
#include <stdatomic.h>
#include "bridge/delivery/delivery.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/timers.h"
#include "bridge/lib/watermark.h"

struct part { /* a partition we read */
    struct part *next;
    struct topic_partition place; /* owns the topic's name */
    struct str topic;
    bool own; /* a retry or redrive topic: its records passed the filter before */
    struct watermark done;
    int64_t committed, newest; /* -1: none yet */
    size_t parked;
};

enum entry_state {
    ENTRY_FREE,
    ENTRY_READY,   /* in the ready queue */
    ENTRY_BEHIND,  /* order: key; waits for an earlier one of its key */
    ENTRY_FLYING,  /* the sink has it */
    ENTRY_WAITING, /* for its next attempt; a timer is set */
    ENTRY_PARKED,  /* came from a retry topic too early; outside the window; a timer is set */
    ENTRY_STORING, /* its dead letter or retry record is being published (or will be again: a timer) */
};

struct entry { /* a record between poll and done */
    uint32_t index, generation;
    enum entry_state state;
    struct entry *next;  /* in a queue */
    struct entry *chain; /* in its bucket of keys */
    uint64_t key_hash;
    bool chained;
    struct record *record;
    const struct event *event; /* NULL: the record is no event */
    struct part *part;         /* NULL: its partition was taken away */
    unsigned attempts;
    int64_t first_ms, last_ms; /* wall clock */
    struct result last;
    const char *dead_class; /* ENTRY_STORING: becomes a dead letter of this class; NULL: goes to a retry topic */
    int64_t retry_wait_ms;
    unsigned store_attempts;
    unsigned bare; /* what is too large for a dead letter is left out: 1 the data, 2 key and headers as well */
};

struct queue {
    struct entry *first, *last;
};

struct retry_topic {
    int64_t wait_ms;
    char *topic;
};

struct delivery_counters {
    struct metric *consumed, *delivered, *dead, *filtered, *moved, *released, *attempts, *retries, *untried, *pending;
};

struct delivery {
    struct sink *s;
    const struct sink_config *config;
    struct broker *broker;
    struct consumer *consumer;
    int wake_fd;
    struct mailbox stored; /* notices of the broker about what we publish */
    atomic_bool stopping, abandoned;
    bool stopped; /* stopping, as this turn sees it */
    bool open;

    struct part *parts, *last_part;
    struct entry **entries;
    size_t entry_cap;
    uint32_t *free;
    size_t free_count;
    struct queue ready;
    size_t window_used, parked, flying, storing;
    struct entry **chains; /* order: key; NULL otherwise */
    size_t chain_mask;
    struct timers timers;
    bool failing, poll_failed;
    int64_t lack_said_ms; /* when the log last heard that our own machine lacks something; 0: never */

    char *group, *dead_letter_topic, *redrive_topic;
    struct retry_topic *retries; /* by rising wait */
    size_t retry_count;
    char **retry_names, *retry_prefix; /* the retry topics that exist, and how their names begin */
    size_t retry_name_count;
    struct delivery_counters count;
};

/* delivery_window.c */
struct entry *entry_new(struct delivery *d);
uint64_t entry_tag(const struct entry *en);
struct entry *entry_of(struct delivery *d, uint64_t tag); /* what a tag means, or NULL when that one ended long ago */
void queue_add(struct queue *q, struct entry *en);
struct entry *queue_take(struct queue *q); /* NULL: empty */
void queue_remove(struct queue *q, struct entry *en);
bool chain_enter(struct delivery *d, struct entry *en); /* behind the others of its key; true when it may go at once */
/* The entry is done for: counts it, moves its partition's watermark, gives everything back. */
void entry_finish(struct delivery *d, struct entry *en, struct metric *counter);
void entry_drop(struct delivery *d, struct entry *en); /* gives everything back, nothing else */

/* delivery_move.c */
bool moves_open(struct delivery *d, const struct broker_config *names, struct err *e);
void moves_close(struct delivery *d);
/* Starts moving the entry; its end comes through moves_done. */
void moves_dead_letter(struct delivery *d, struct entry *en, const char *dead_class);
void moves_retry(struct delivery *d, struct entry *en, int64_t wait_ms);
void moves_again(struct delivery *d, struct entry *en); /* its publication failed a while ago */
void moves_done(struct delivery *d, struct entry *en, enum outcome o, const char *why);
const char *reason_text(enum reason r);
