/* SPDX-License-Identifier: MIT */
/* The shelf: what the waiter has read of the waiting topics and not finished, and how far each partition is finished.
 *
 *   read --> [parked] --its time--> [handed] ----- the sink is done with it ----------> finished
 *              ^   `--------------> [storing] ---- its copy is stored further up ------> finished
 *              `------- a copy could not be stored
 *
 * A partition's position moves past a record only when it is finished. Parked ones are bounded: a partition with too
 * many is held, and what is behind them waits at least as long. One thread. */
#pragma once
#include "bridge/broker/broker.h"
#include "bridge/lib/timers.h"
#include "bridge/lib/watermark.h"

struct shelf_partition {
    struct shelf_partition *next;
    struct topic_partition where; /* owns the topic's name */
    bool orphaned;                /* of the topic of orphans */
    struct watermark done;
    int64_t newest; /* -1: none yet */
    int64_t again;  /* before this offset it is read for the second time */
    bool changed;   /* something finished that was not committed yet */
    size_t parked, parked_bytes;
    bool held;
};

enum shelf_state {
    SHELF_FREE,
    SHELF_PARKED,  /* waits for its time; a timer is set */
    SHELF_HANDED,  /* its sink has it */
    SHELF_STORING, /* a copy is being published to the next topic */
};

struct shelved { /* a record */
    uint32_t index, generation;
    enum shelf_state state;
    struct record *record;
    int64_t offset;
    size_t bytes;
    struct shelf_partition *partition;
    struct waiter_sink *sink; /* NULL: not configured */
    int64_t due_ms,
        until_ms;    /* clock_elapsed_ms of what its trail says: whoever sets the wall clock moves them by nothing */
    int64_t room_ms; /* 0: else it is due, and waits for its sink's room, until then in this place */
    bool stuck;      /* no topic takes its copy: it waits here until it is due */
};

struct shelf {
    struct consumer *consumer; /* whose partitions are held and committed; not owned */
    struct shelf_partition *partitions;
    struct shelved **entries;
    size_t entry_cap, used;
    uint32_t *free;
    size_t free_count;
    size_t handed, storing;
    bool changed;         /* some partition is */
    size_t finished;      /* records since the last commit, */
    int64_t committed_ms; /* which was then (clock_mono_ms) */
    struct timers timers; /* by clock_elapsed_ms, in 1/65536 ms: those of one time go in the order they were set */
    uint16_t sets;
};

/* The partition of a record, made if need be. */
struct shelf_partition *shelf_partition(struct shelf *s, const struct record *r);
/* Takes a record over, as SHELF_FREE: the caller sets a state at once. */
struct shelved *shelf_add(struct shelf *s, struct record *r, struct shelf_partition *p);
uint64_t shelf_tag(const struct shelved *en);
struct shelved *shelf_find(struct shelf *s, uint64_t tag); /* NULL: forgotten */
void shelf_set(struct shelf *s, struct shelved *en, enum shelf_state state);
void shelf_park(struct shelf *s, struct shelved *en, int64_t until_ms); /* until shelf_due gives it back */
struct shelved *shelf_due(struct shelf *s, int64_t now_ms);             /* a parked one whose time has come, or NULL */
int64_t shelf_next(const struct shelf *s);                              /* when the next one's does; INT64_MAX: none */
bool shelf_has_room(
    const struct shelf_partition *p); /* may one more be parked for a while, without holding others up? */
void shelf_finish(struct shelf *s, struct shelved *en); /* the position may pass it */
/* Is the record here, so that something becomes of it? */
bool shelf_has(const struct shelf *s, const struct shelf_partition *p, int64_t offset);
/* Finishes those of the offsets that were read and left (shelf_leave): how many. */
int64_t shelf_settle(struct shelf *s, struct shelf_partition *p, const struct ranges *offsets);
void shelf_leave(struct shelf *s, struct shelved *en); /* not finished: the position stays before it */
/* Holds what has enough in memory, lets go on what has not. */
void shelf_hold(struct shelf *s);
/* Commits how far each partition is finished and what is finished beyond, when the last time is an interval ago; `all`:
 * now. */
void shelf_commit(struct shelf *s, bool all);
int64_t shelf_commit_due(const struct shelf *s); /* clock_mono_ms; INT64_MAX: nothing to commit */
bool shelf_is_among(const struct shelf_partition *p, const struct topic_partition *partitions, size_t count);
/* Forgets the partition and its entries, after `lost` was called for each. */
void shelf_forget(struct shelf *s, struct shelf_partition *p, void (*lost)(struct shelved *en));
void shelf_close(struct shelf *s);
