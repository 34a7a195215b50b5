/* SPDX-License-Identifier: MIT */
/* Unordered sources: each emission is a publication of its own, many are on their way, each is settled when it ends. */
#include "bridge/intake/private.h"
#include <stdlib.h>
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

/* ---- slots ---- */

void single_open(struct intake *in, size_t count, size_t most_bytes)
{
    in->most_bytes = most_bytes ? most_bytes : SIZE_MAX;
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
    return room < INTAKE_MOST ? room : INTAKE_MOST;
}

/* Takes a free slot for an emission. */
static int32_t single_slot(struct intake *in, const struct emission *em)
{
    int32_t i = in->free;
    CHECK(i >= 0);
    in->free = in->slots[i].next;
    in->slots[i] = (struct slot){ .tag = em->tag, .next = -1, .bytes = (uint32_t)event_bytes(em->event) };
    in->bytes += in->slots[i].bytes;
    if (log_shows(LOG_DEBUG))
        in->slots[i].event = event_ref(em->event);
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

/* Settles its emission and those that waited for it. */
void single_done(struct intake *in, uint64_t tag, enum outcome o, const char *why)
{
    int32_t first = (int32_t)tag;
    if (in->slots[first].remembered) {
        seen_end(in->seen, (uint32_t)first, o == OUTCOME_STORED);
        settle_forgotten(in);
    }
    for (int32_t i = first, next; i >= 0; i = next) {
        struct slot slot = in->slots[i];
        next = slot.next;
        single_give(in, i);
        if (slot.conflicts && o == OUTCOME_STORED)
            settle_event(in, slot.tag, slot.event, OUTCOME_CONFLICT, single_conflict);
        else if (slot.conflicts) /* nobody has the id, after all */
            settle_event(in, slot.tag, slot.event, OUTCOME_UNAVAILABLE, "its id was in use for a moment");
        else {
            bool repeat = i != first && o == OUTCOME_STORED;
            metric_add(in->count.repeats, repeat);
            settle_event(in, slot.tag, slot.event, o, repeat ? single_repeat : why);
        }
        event_unref(slot.event);
    }
}

/* ---- emissions ---- */

/* An event that is stored already: a repeat, or another one under its id. */
static void single_settle_known(struct intake *in, const struct emission *em, bool same)
{
    metric_add(in->count.repeats, same);
    settle_event(in, em->tag, em->event, same ? OUTCOME_STORED : OUTCOME_CONFLICT,
                 same ? single_repeat : single_conflict);
}

static bool single_is_known_in(const struct intake *in, const struct emission *em, struct str scope,
                               struct fingerprint *f)
{
    bool same = false;
    seen_rescope(in->seen, f, scope, em->event);
    return seen_find(in->seen, f, &same) == SEEN_STORED && (same || em->named);
}

/* Was the same event stored by a version that wrote no scope, or another one? Then *f becomes its fingerprint. */
static bool single_is_known_from_before(const struct intake *in, const struct emission *em, struct fingerprint *f)
{
    if (em->scope.n == 0)
        return false;
    bool known = in->unscoped && single_is_known_in(in, em, STR_ABSENT, f);
    for (size_t i = 0; i < EMISSION_FORMERS && !known; i++)
        known = em->former_scopes[i].n > 0 && single_is_known_in(in, em, em->former_scopes[i], f);
    if (!known)
        seen_rescope(in->seen, f, em->scope, em->event);
    return known;
}

/* In which of its topics a stored event is not, as bits. */
static uint32_t single_lacks(const struct intake *in, const struct event *ev, const struct fingerprint *f)
{
    struct target targets[ROUTE_TARGETS];
    uint32_t has = seen_places(in->seen, f);
    if (has == SEEN_EVERYWHERE)
        return 0;
    return ((1u << router_targets(in->router, ev, targets)) - 1) & ~has;
}

/* Is the event, or another one under its id, known? Then it is settled, or waits for the first one. False: it is to be
 * published, to all of its topics, or to those in *lacks if that is not 0. */
static bool single_is_known(struct intake *in, const struct emission *em, struct fingerprint f, uint32_t *lacks)
{
    bool same = false;
    int64_t known = seen_find(in->seen, &f, &same);
    same |= known != SEEN_UNKNOWN && em->named;
    if (known == SEEN_UNKNOWN && !(same = single_is_known_from_before(in, em, &f)))
        return false;
    if (known < 0 && same && (*lacks = single_lacks(in, em->event, &f))) {
        seen_drop(in->seen, &f);
        return false;
    }
    if (known < 0) {
        single_settle_known(in, em, same);
        return true;
    }
    int32_t waiting = single_slot(in, em);
    in->slots[waiting].conflicts = !same;
    in->slots[waiting].next = in->slots[known].next;
    in->slots[known].next = waiting;
    return true;
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

/* Publishes an emission, unless its event is known or no route takes it. */
static void single_publish(struct intake *in, const struct emission *em)
{
    struct routed r;
    struct fingerprint f = { 0 };
    bool remembers = in->seen && !em->unique;
    if (remembers)
        f = seen_fingerprint(in->seen, em->scope, em->event);
    uint32_t lacks = 0;
    if (remembers && single_is_known(in, em, f, &lacks))
        return;
    routed_make(in, em, &r);
    if (lacks)
        single_leave(in, em->event, &r, lacks);
    if (r.count == 0) {
        settle_unrouted(in, em->tag, em->event);
        return;
    }
    int32_t slot = single_slot(in, em);
    if (remembers) {
        seen_begin(in->seen, &f, (uint32_t)slot);
        in->slots[slot].remembered = true;
    }
    routed_publish(in,
                   (struct publication){ .records = r.records,
                                         .record_count = r.count,
                                         .changes = em->changes,
                                         .change_count = em->change_count },
                   (uint64_t)slot);
    routed_free(&r);
}

void single_take(struct intake *in, const struct emission *emissions, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        CHECK(emissions[i].event && !emissions[i].refused); /* only what is ordered has a state to keep */
        single_publish(in, &emissions[i]);
        event_unref(emissions[i].event);
    }
}
