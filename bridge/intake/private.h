/* SPDX-License-Identifier: MIT */
/* What the files of intake/ share; nobody else includes it.
 *
 *   intake.c    a source's life and turn
 *   shared.c    what the copies of a source have in common
 *   single.c    unordered sources: each emission is a publication of its own
 *   batch.c     ordered sources: one batch at a time, again until it is stored
 *   routed.c    from an emission to the records that are published
 *   settle.c    what the source is told and how it is counted; how long it waits after a failure
 *
 * Each calls only files below it, and seen.h and route.h. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include "bridge/event/span.h"
#include "bridge/event/trail.h"
#include "bridge/intake/intake.h"
#include "bridge/intake/seen.h"
#include "bridge/lib/mailbox.h"

enum {
    INTAKE_MOST = 256,                  /* emissions taken in one turn, but for those of a transaction */
    ROUTED_HEADERS = EVENT_HEADERS + 6, /* room for the trail of a dead letter, and so for TRAIL_FROM */
};

struct slot { /* an emission between read() and settle() */
    uint64_t tag;
    uint32_t bytes;  /* of its event */
    int32_t next;    /* free list; or, by shared_number, the next repeat that waits for the same event */
    bool remembered; /* it is pending in the memory: `next` is the first repeat that waits for it, and shared */
    bool conflicts;  /* it waits for another event under the same id */
    const struct event *event; /* kept for the debug log and for traces alone; else NULL */
    int64_t began_us;          /* for traces */
};

struct intake_counters {
    struct metric *received, *stored, *repeats, *invalid, *conflict, *unavailable, *unrouted, *dropped, *retries,
        *pending, *forgotten;
};

struct intake {
    struct source *s;
    struct broker *broker;
    struct routing *routing;
    struct router *router; /* the one that held when this turn began, or when it had read */
    struct shared *shared;
    size_t number;      /* among those that share it */
    struct source *own; /* s, if it was made for this intake */
    bool restored;      /* the source has its state */
    atomic_bool failed;
    struct err failure; /* why; set before `failed` */
    atomic_bool lost;   /* another daemon has the source */
    struct err loss;    /* the same in words; set before `lost` */
    char *dead_letter_topic;
    int wake_fd;
    struct mailbox done; /* notices of the broker */
    atomic_bool stopping, abandoned;
    bool open;

    struct slot *slots; /* unordered: in_flight of them */
    int32_t free;
    size_t used, room;
    size_t bytes, most_bytes; /* of the events in slots */

    struct batch *batch;        /* ordered: the batch on its way */
    bool exactly_once;          /* ordered: each batch is a transaction */
    size_t most;                /* emissions taken in one turn */
    struct emission *emissions; /* room for them */
    int64_t backoff_ms;         /* 0: the last read or publish went well */
    int64_t not_before_ms;
    bool unreadable; /* the last attempt to read failed, and that was said */
    struct intake_counters count;
};

/* What the copies of a source have in common. */
struct shared {
    const struct source_config *source;
    void *fresh;             /* the source's struct before it was opened; NULL: there are no copies */
    size_t count, left;      /* intakes that there were, and that are there; main thread */
    struct intake **intakes; /* source->threads of them; set before the first step */
    atomic_bool filled;      /* the memory knows what was stored before */
    /* ... and in which of the topics that these routes name; NULL: it is not filled, or none */
    struct router *filled_by;
    pthread_mutex_t lock; /* once it is filled, guards what follows, and the `next` of slots that are in use */
    struct seen *seen;    /* NULL: no dedupe */
    bool unscoped;        /* it knows records without a scope; does not change once it is filled */
    bool crowded;         /* that its size and window do not go together was said */
};

/* What an ordered source emitted in one read, kept until the broker has all of it. */
struct batch {
    struct emission *emissions; /* `count` of them, and fates */
    enum fate { FATE_STORED, FATE_UNROUTED, FATE_REFUSED, FATE_TOO_LARGE } * fate;
    size_t count;
    size_t from, to; /* what is published together: all of it, or one by one when something in it is too large */
    bool published;
    int64_t began_us;    /* for traces */
    char why[WHY_BYTES]; /* FATE_REFUSED, FATE_TOO_LARGE: what the broker said */
};

/* ---- intake.c ---- */

/* Another daemon has the source: that was its last turn. */
void intake_lose(struct intake *in, const struct err *why);

/* ---- shared.c ---- */

struct shared *shared_new(const struct source_config *source);
/* One more intake: sets its number. */
void shared_join(struct shared *sh, struct intake *in);
void shared_leave(struct intake *in); /* the last one frees it */
/* What an intake has of something that is divided among them. */
int64_t shared_part(const struct intake *in, int64_t whole);
/* A slot as all of them name it, and back. */
int32_t shared_number(const struct intake *in, int32_t slot);
struct slot *shared_slot(const struct intake *in, int32_t number);
/* The memory is filled: all may begin. */
void shared_begin(struct shared *sh);
/* Tells the intake that a repeat in that slot of its own waits for: it ended so. */
void shared_tell(const struct intake *in, int32_t number, enum outcome o, const char *why);
bool shared_is_told(uint64_t tag, int32_t *slot); /* is that notice of one like that? */

/* ---- settle.c ---- */

/* Tells the source what became of its emission. The event is for the debug log, NULL where there is none. */
void settle_event(struct intake *in, uint64_t tag, const struct event *ev, enum outcome o, const char *why);
/* The same for the trace of an event that came at `began_us`: it was received and, if that went well, published. */
void settle_trace(const struct intake *in, const struct event *ev, int64_t began_us, enum outcome o, const char *why);
/* No route takes it: an error, unless the configuration says that such events may be dropped; then it counts as stored
 * for the sender. */
void settle_unrouted(struct intake *in, uint64_t tag, const struct event *ev);
/* Counts the ids that were forgotten before their time, and says so once. The lock is held. */
void settle_forgotten(struct intake *in);
/* Reading or publishing failed: waits before the next attempt, longer each time. */
void settle_back_off(struct intake *in);

/* ---- routed.c ---- */

/* All of an event in the value of a record, behind a head (record.h). */
struct routed_form {
    struct header headers[2]; /* the type of the content, TRAIL_FROM */
    struct buf value;         /* empty: no record has had it yet */
};

/* The records that an event becomes; each record's key, value and headers point into ev and into the rest of this. */
struct routed {
    struct record records[ROUTE_TARGETS];
    size_t count;
    struct header headers[ROUTED_HEADERS]; /* in binary mode */
    struct routed_form json, avro, columns;
};

/* Makes the records of an emission, for the topics that its routes name; count 0: no route takes it. */
void routed_make(const struct intake *in, const struct emission *em, struct routed *out);
/* Makes the one record of an ordered source's event that no topic takes: a dead letter, so that nothing vanishes. */
void routed_dead_letter(const struct intake *in, const struct event *ev, char when[CLOCK_TEXT], const char *why_class,
                        const char *why, struct routed *out);
void routed_free(struct routed *r);
/* Publishes records and changes as one unit; a notice with `tag` in in->done says how that ended. */
/* To where an event goes, in the debug log. */
void routed_log(const struct intake *in, const struct event *ev, const struct routed *r);
void routed_publish(struct intake *in, struct publication what, uint64_t tag);

/* ---- single.c ---- */

void single_open(struct intake *in, size_t count, size_t most_bytes); /* 0: no limit of bytes */
/* How many emissions it takes now. */
size_t single_room(const struct intake *in);
void single_close(struct intake *in);
void single_take(struct intake *in, const struct emission *emissions, size_t count); /* takes over the events */
void single_done(struct intake *in, uint64_t tag, enum outcome o,
                 const char *why); /* a publication ended, or that of which it is a repeat */

/* ---- batch.c ---- */

void batch_take(struct intake *in, const struct emission *emissions, size_t count); /* takes over the events */
void batch_publish(struct intake *in);                                              /* again */
void batch_done(struct intake *in, enum outcome o, const char *why);
void batch_free(struct batch *b); /* accepts NULL */
