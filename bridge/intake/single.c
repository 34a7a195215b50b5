/* SPDX-License-Identifier: MIT */
/* Unordered sources: each emission is a publication of its own, many are on their way, each is settled when it ends. */
#include "bridge/intake/private.h"
#include <stdlib.h>
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

/* ---- slots ---- */

void single_open(struct intake *in, size_t count, size_t most_bytes)
{
    in->most_bytes = most_bytes;
    in->slots = mem_alloc(count * sizeof *in->slots);
    in->room = count;
    for (size_t i = 0; i < count; i++)
        in->slots[i].next = i + 1 < count ? (int32_t)(i + 1) : -1;
}

void single_close(struct intake *in)
{
    for (size_t i = 0; i < in->room; i++)
        event_unref(in->slots[i].event); /* of what was abandoned */
    free(in->slots);
}

size_t single_room(const struct intake *in)
{
    size_t room = in->room - in->used;
    if (in->bytes >= in->most_bytes)
        return 0;
    return in->exactly_once ? in->most : room < in->most ? room : in->most;
}

/* Takes a free slot for an emission. */
static int32_t single_slot(struct intake *in, const struct emission *em)
{
    int32_t i = in->free;
    CHECK(i >= 0);
    in->free = in->slots[i].next;
    in->slots[i] = (struct slot){ .tag = em->tag, .next = -1, .bytes = (uint32_t)event_bytes(em->event) };
    in->bytes += in->slots[i].bytes;
    if (log_shows(LOG_DEBUG) || span_on())
        in->slots[i].event = event_ref(em->event);
    if (span_on())
        in->slots[i].began_us = clock_wall_us();
    in->used++;
    return i;
}

/* Gives a slot back; its event is the caller's. */
static void single_give(struct intake *in, int32_t i)
{
    in->bytes -= in->slots[i].bytes;
    in->slots[i].event = NULL;
    in->slots[i].next = in->free;
    in->free = i;
    in->used--;
}

/* ---- the end of a publication ---- */

static const char single_repeat[] = "stored before";
static const char single_conflict[] = "another event with this id was stored before; an id is used once";

/* Ends what is in that slot: a publication, or a repeat that waited for one. */
static void single_end(struct intake *in, int32_t i, bool waited, enum outcome o, const char *why)
{
    struct slot slot = in->slots[i];
    single_give(in, i);
    if (slot.conflicts && o == OUTCOME_STORED)
        settle_event(in, slot.tag, slot.event, OUTCOME_CONFLICT, single_conflict);
    else if (slot.conflicts) /* nobody has the id, after all */
        settle_event(in, slot.tag, slot.event, OUTCOME_UNAVAILABLE, "its id was in use for a moment");
    else {
        bool repeat = waited && o == OUTCOME_STORED;
        metric_add(in->count.repeats, repeat);
        if (slot.event && !repeat && span_on())
            settle_trace(in, slot.event, slot.began_us, o, why);
        settle_event(in, slot.tag, slot.event, o, repeat ? single_repeat : why);
    }
    event_unref(slot.event);
}

/* The memory learns how the publication in that slot ended; returns the first of the repeats that wait for it. Nobody finds it
 * any more, so that from now on they are this intake's to tell. */
static int32_t single_remember_end(struct intake *in, int32_t i, enum outcome o)
{
    if (!in->slots[i].remembered)
        return -1;
    pthread_mutex_lock(&in->shared->lock);
    seen_end(in->shared->seen, (uint32_t)shared_number(in, i), o == OUTCOME_STORED);
    int32_t waiting = in->slots[i].next;
    settle_forgotten(in);
    pthread_mutex_unlock(&in->shared->lock);
    return waiting;
}

void single_done(struct intake *in, uint64_t tag, enum outcome o, const char *why)
{
    int32_t first;
    if (shared_is_told(tag, &first)) {
        single_end(in, first, true, o, why);
        return;
    }
    int32_t waiting = single_remember_end(in, first, o);
    single_end(in, first, false, o, why);
    for (int32_t next; waiting >= 0; waiting = next) {
        const struct slot *slot = shared_slot(in, waiting);
        next = slot->next;
        if (slot >= in->slots && slot < in->slots + in->room)
            single_end(in, (int32_t)(slot - in->slots), true, o, why);
        else
            shared_tell(in, waiting, o, why);
    }
}

/* ---- emissions ---- */

/* What the memory knows of an event. */
enum single_known {
    SINGLE_NEW,      /* nothing, or that it lacks in some topics */
    SINGLE_STORED,   /* it is a repeat */
    SINGLE_CONFLICT, /* another event was stored under its id */
    SINGLE_WAITS,    /* one under its id is on its way: it waits for that one's outcome */
};

static bool single_is_known_in(const struct intake *in, const struct emission *em, struct str scope,
                               struct fingerprint *f)
{
    bool same = false;
    seen_rescope(in->shared->seen, f, scope, em->event);
    return seen_find(in->shared->seen, f, &same) == SEEN_STORED && (same || em->named);
}

/* Was the same event stored by a version that wrote no scope, or another one? Then *f becomes its fingerprint. */
static bool single_is_known_from_before(const struct intake *in, const struct emission *em, struct fingerprint *f)
{
    if (em->scope.n == 0)
        return false;
    bool known = in->shared->unscoped && single_is_known_in(in, em, STR_ABSENT, f);
    for (size_t i = 0; i < EMISSION_FORMERS && !known; i++)
        known = em->former_scopes[i].n > 0 && single_is_known_in(in, em, em->former_scopes[i], f);
    if (!known)
        seen_rescope(in->shared->seen, f, em->scope, em->event);
    return known;
}

/* In which of its topics a stored event is not, as bits. */
static uint32_t single_lacks(const struct intake *in, const struct event *ev, const struct fingerprint *f)
{
    struct target targets[ROUTE_TARGETS];
    uint32_t has = seen_places(in->shared->seen, f);
    if (has == SEEN_EVERYWHERE)
        return 0;
    uint32_t lacks = ((1u << router_targets(in->shared->filled_by, ev, targets)) - 1) & ~has;
    bool same = router_config(in->shared->filled_by) == router_config(in->router);
    return same || lacks == 0 ? lacks
                              : (1u << router_targets(in->router, ev, targets)) - 1; /* the bits say nothing now */
}

/* Asks the memory. SINGLE_NEW: it is to be published, to all of its topics, or to those in *lacks if that is not 0. */
static enum single_known single_ask(struct intake *in, const struct emission *em, struct fingerprint f, uint32_t *lacks)
{
    bool same = false;
    int64_t known = seen_find(in->shared->seen, &f, &same);
    same |= known != SEEN_UNKNOWN && em->named;
    if (known == SEEN_UNKNOWN && !(same = single_is_known_from_before(in, em, &f)))
        return SINGLE_NEW;
    if (known < 0 && same && (*lacks = single_lacks(in, em->event, &f))) {
        seen_drop(in->shared->seen, &f);
        return SINGLE_NEW;
    }
    if (known < 0)
        return same ? SINGLE_STORED : SINGLE_CONFLICT;
    struct slot *first = shared_slot(in, (int32_t)known);
    int32_t waiting = single_slot(in, em);
    in->slots[waiting].conflicts = !same;
    in->slots[waiting].next = first->next;
    first->next = shared_number(in, waiting);
    return SINGLE_WAITS;
}

/* Asks the memory, and tells it at the same moment that a new one is on its way, in *slot, if it has topics. */
static enum single_known single_begin(struct intake *in, const struct emission *em, size_t topics, uint32_t *lacks,
                                      int32_t *slot)
{
    struct shared *sh = in->shared;
    struct fingerprint f = seen_fingerprint(sh->seen, em->scope, em->event,
                                            !router_has_tombstones(in->router, em->event->type));
    pthread_mutex_lock(&sh->lock);
    enum single_known known = single_ask(in, em, f, lacks);
    if (known == SINGLE_NEW && topics > 0) {
        *slot = single_slot(in, em);
        in->slots[*slot].remembered = true;
        seen_begin(sh->seen, &f, (uint32_t)shared_number(in, *slot));
    }
    pthread_mutex_unlock(&sh->lock);
    return known;
}

/* Leaves of the records those for the topics in `lacks`. */
static void single_leave(const struct intake *in, const struct event *ev, struct routed *r, uint32_t lacks)
{
    size_t n = 0;
    for (size_t i = 0; i < r->count; i++)
        if (lacks & 1u << i)
            r->records[n++] = r->records[i];
    LOG(INFO, "an event that was stored in some of its topics only is repeated; the others get it now",
        LOG_C("source", in->s->id), LOG_STR("event", ev->id), LOG_INT("topics", r->count), LOG_INT("lacking", n));
    r->count = n;
}

/* A new event: publishes it to all of its topics, or to those in `lacks` if that is not 0. */
static void single_publish(struct intake *in, const struct emission *em, struct routed *r, uint32_t lacks, int32_t slot)
{
    if (lacks)
        single_leave(in, em->event, r, lacks);
    routed_log(in, em->event, r);
    routed_publish(in,
                   (struct publication){ .records = r->records,
                                         .record_count = r->count,
                                         .changes = em->changes,
                                         .change_count = em->change_count },
                   (uint64_t)slot);
}

/* Publishes an emission, unless its event is known or no route takes it. */
static void single_take_one(struct intake *in, const struct emission *em)
{
    struct routed r;
    uint32_t lacks = 0;
    int32_t slot = -1;
    enum single_known known = SINGLE_NEW;
    const char *reserved = event_is_reserved(em->event);
    if (reserved) {
        settle_event(in, em->tag, em->event, OUTCOME_INVALID, reserved);
        return;
    }
    routed_make(in, em, &r);
    if (in->shared->seen && !em->unique)
        known = single_begin(in, em, r.count, &lacks, &slot);
    else if (r.count > 0)
        slot = single_slot(in, em);
    switch (known) {
    case SINGLE_NEW:
        if (slot >= 0)
            single_publish(in, em, &r, lacks, slot);
        else
            settle_unrouted(in, em->tag, em->event);
        break;
    case SINGLE_STORED:
        metric_add(in->count.repeats, 1);
        settle_event(in, em->tag, em->event, OUTCOME_STORED, single_repeat);
        break;
    case SINGLE_CONFLICT: settle_event(in, em->tag, em->event, OUTCOME_CONFLICT, single_conflict); break;
    case SINGLE_WAITS: break;
    }
    routed_free(&r);
}

void single_take(struct intake *in, const struct emission *emissions, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        CHECK(emissions[i].event && !emissions[i].refused); /* only what is ordered has a state to keep */
        single_take_one(in, &emissions[i]);
        event_unref(emissions[i].event);
    }
}
