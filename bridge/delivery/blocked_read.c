/* SPDX-License-Identifier: MIT */
/* Reads a blocked log: which events of which keys stand where in it, and, as soon as its turn and its time have come, each
 * event once more, into the window. */
#include <stdio.h>
#include "bridge/delivery/private.h"
#include "bridge/event/trail.h"

enum {
    AHEAD = 8,  /* most events of one key in the window */
    NEAR = 256, /* reading so many records is less than going to another place */
};

/* ---- records come in ---- */

static void blocked_finish(struct delivery *d, struct blocked *b, int64_t offset)
{
    watermark_finish(&b->read->done, offset);
    b->read->changed = d->changed = true;
}

/* A note says how often the first event of its key was tried. It stays as long as that event does. */
static void blocked_read_note(struct delivery *d, struct blocked *b, struct destination *to, const struct record *r)
{
    int64_t of = -1;
    struct blocked_key *key = r->key.at ? keys_find(b, str_hash(r->key), to) : NULL;
    if (!str_to_i64(record_header(r, TRAIL_NOTE), &of) || !key || !key->count || keys_offset(key, 0) != of) {
        blocked_finish(d, b, r->offset);
        return;
    }
    if (key->note >= 0)
        blocked_finish(d, b, key->note);
    key->note = r->offset;
    if (b->state == BLOCKED_READ) /* we wrote it */
        return;
    struct trail trail = trail_read(r);
    key->attempts = trail.attempts;
    key->first_ms = trail.first_ms;
    key->last_ms = trail.last_ms;
    key->due_ms = trail.due_ms;
}

/* Takes an event into the window. */
static void blocked_load(struct delivery *d, struct blocked *b, struct blocked_key *key, struct record *r)
{
    struct err e = { "" };
    struct taken *t = window_take(d, r, event_of_record(r, &e), b->read);
    struct entry *en = window_add(d, t, key->to);
    if (key->loaded++ == 0) {
        en->attempts = key->attempts;
        en->first_ms = key->first_ms;
        en->last_ms = key->last_ms;
    }
    d->blocked_loaded++;
    en->state = ENTRY_BEHIND;
    bool first = window_chain_enter(en);
    if (!t->event) {
        why_copy(en->last.why, e.text);
        moves_dead_letter(d, en, moves_class(REASON_POISON));
    } else if (first)
        window_ready(d, en);
    window_release(d, t);
}

void blocked_note(struct delivery *d, struct blocked *b, struct entry *en)
{
    en->to->waiting--;
    window_renew(en);
    moves_block(d, en, &b->where, en->of->record->offset, clock_wall_ms() + en->wake_ms - clock_mono_ms());
}

/* What was in flight when its copy went into the log goes on as the log's, or has ended since. */
static void blocked_adopt(struct delivery *d, struct blocked *b, struct blocked_key *key, struct record *r)
{
    struct entry *en = key->to->chains[key->hash & key->to->chain_mask];
    while (en && (en->key_hash != key->hash || !en->copied || !en->of->partition || en->of->partition == b->read))
        en = en->chain;
    key->copied = -1;
    keys_wake(b, key);
    if (!en) {
        blocked_finish(d, b, r->offset);
        key->loaded++; /* blocked_pass drops it */
        d->blocked_loaded++;
        record_free(r);
        return;
    }
    struct taken *t = window_take(d, r, event_of_record(r, NULL), b->read);
    window_pass_on(d, en, t);
    window_release(d, t);
    key->loaded++;
    d->blocked_loaded++;
    if (en->state == ENTRY_WAITING)
        blocked_note(d, b, en);
}

static bool blocked_has_room(const struct delivery *d)
{
    return d->blocked_loaded < ((size_t)d->config->window + 1) / 2;
}

/* Has an endpoint that may get nothing just now, or takes nothing, enough in memory? A paused one needs nothing. Nobody
 * waits for it. */
static bool blocked_has_enough(const struct delivery *d, const struct destination *to)
{
    bool held_up = to->open >= AHEAD && gates_due(to) > clock_mono_ms();
    return to->name && (to->paused || held_up || gates_take_long(to) || moves_is_stuck(d, to));
}

/* Is this offset the next of its key that the window should have? */
static bool blocked_wants(const struct delivery *d, const struct blocked_key *key, int64_t offset)
{
    return key->active && key->loaded < key->count && key->loaded < AHEAD && blocked_has_room(d)
           && !blocked_has_enough(d, key->to) && keys_offset(key, key->loaded) == offset;
}

static void blocked_read_event(struct delivery *d, struct blocked *b, struct destination *to, struct record *r,
                               bool again)
{
    uint64_t hash = str_hash(r->key);
    bool copy = false;
    struct blocked_key *key = again ? keys_find(b, hash, to) : keys_make(d, b, hash, to);
    if (!again) {
        struct blocked_place place = { .offset = r->offset };
        str_to_i64(record_header(r, TRAIL_OFFSET), &place.origin_offset);
        str_to_i64(record_header(r, TRAIL_TIMESTAMP), &place.origin_ms);
        keys_push(d, key, place);
        copy = key->copied >= 0 && key->copied == place.origin_offset;
        if (key->coming && b->state == BLOCKED_READ)
            key->coming--;
        if (key->count == 1) {
            struct trail trail = trail_read(r);
            key->attempts = trail.attempts;
            key->first_ms = trail.first_ms;
            key->last_ms = trail.last_ms;
            key->due_ms = trail.due_ms;
            if (b->state == BLOCKED_READ && !key->active && !copy)
                keys_rest(b, key);
        }
    }
    if (copy)
        blocked_adopt(d, b, key, r);
    else if (key && blocked_wants(d, key, r->offset))
        blocked_load(d, b, key, r);
    else
        record_free(r);
}

/* An event of an endpoint that is not configured any more. */
static void blocked_orphan(struct delivery *d, struct blocked *b, struct record *r, struct str endpoint)
{
    struct taken *t = window_take(d, r, event_of_record(r, NULL), b->read);
    struct entry *en = window_add(d, t, &d->self);
    struct trail trail = trail_read(r);
    en->attempts = trail.attempts;
    en->first_ms = trail.first_ms;
    en->last_ms = trail.last_ms;
    if (endpoint.at)
        moves_orphan(d, en, endpoint);
    else {
        why_copy(en->last.why, "it waited for the sink as a whole, which has endpoints now");
        moves_dead_letter(d, en, "orphaned");
    }
    window_release(d, t);
}

/* The destination that has this record among its blocked ones, or put it there, if that is gone; else the one of the
 * name. */
static struct destination *blocked_whose(struct delivery *d, const struct blocked *b, struct str endpoint,
                                         const struct record *r, bool again)
{
    for (struct destination *to = r->key.at ? d->gone : NULL; to; to = to->after) {
        const struct blocked_key *key = str_eq(endpoint, str_of(to->name)) ? keys_find(b, str_hash(r->key), to) : NULL;
        if (key && (again ? blocked_wants(d, key, r->offset) : key->coming > 0))
            return to;
    }
    return destinations_find(d, endpoint);
}

/* A record of the log; `again`: it was read before. */
static void blocked_read(struct delivery *d, struct blocked *b, struct record *r, bool again)
{
    struct str state = record_header(r, TRAIL_STATE);
    struct str endpoint = record_header(r, TRAIL_ENDPOINT);
    struct destination *to = blocked_whose(d, b, endpoint, r, again);
    b->cursor = r->offset + 1;
    if (!state.at && r->key.at && (to || !again)) {
        if (to)
            blocked_read_event(d, b, to, r, again);
        else
            blocked_orphan(d, b, r, endpoint);
        return;
    }
    if (!again && str_eq(state, STR("note")))
        blocked_read_note(d, b, to, r);
    else if (!again) {
        bool ours = b->state == BLOCKED_MARKING && str_eq(record_header(r, TRAIL_REASON), str_of(b->mark));
        blocked_finish(d, b, r->offset);
        if (ours)
            blocked_ready(d, b);
    }
    record_free(r);
}

bool blocked_take(struct delivery *d, struct partition *p, struct record *r)
{
    struct blocked *b = blocked_of(d, p);
    if (!b || b->read != p)
        return false;
    bool again = r->offset <= p->newest;
    if (!again) {
        p->newest = r->offset;
        watermark_begin(&p->done, r->offset);
    }
    if (b->state == BLOCKED_UNREAD)
        blocked_begin(d, b);
    blocked_read(d, b, r, again);
    return true;
}

bool blocked_is_anew(struct delivery *d, struct partition *p, int64_t offset)
{
    struct blocked *b = blocked_of(d, p);
    return b && b->read == p ? offset < b->cursor : offset <= p->newest;
}

/* ---- each turn ---- */

/* Drops from the front of a key what is done. */
static void blocked_pass(struct delivery *d, struct blocked *b, struct blocked_key *key)
{
    while (key->count && key->loaded && !watermark_is_open(&b->read->done, keys_offset(key, 0))) {
        key->head++;
        key->count--;
        key->loaded--;
        d->blocked_loaded--;
        metric_add(d->blocked_events, -1);
        if (key->note >= 0)
            blocked_finish(d, b, key->note);
        key->note = -1;
        key->attempts = 0;
        key->first_ms = key->last_ms = key->due_ms = 0;
    }
}

/* The place in the log where something is that the window should have; INT64_MAX: nowhere. *more: there will be one, as
 * soon as the window has done something. */
static int64_t blocked_sought(struct delivery *d, struct blocked *b, bool *more)
{
    int64_t sought = INT64_MAX;
    bool room = blocked_has_room(d);
    *more = false;
    for (struct blocked_key **at = &b->active, *key; (key = *at);) {
        blocked_pass(d, b, key);
        if (key->count == 0) { /* the key is free, unless more of it is on its way into the log */
            *at = key->next_active;
            key->active = false;
            if (key->coming == 0)
                keys_free(d, b, key);
            continue;
        }
        at = &key->next_active;
        if (key->loaded == key->count || blocked_has_enough(d, key->to))
            continue;
        if (!room || key->loaded == AHEAD)
            *more = true;
        else if (keys_offset(key, key->loaded) < sought)
            sought = keys_offset(key, key->loaded);
    }
    return sought;
}

/* Decides where the log is read on. */
static void blocked_steer(struct delivery *d, struct blocked *b)
{
    bool more;
    int64_t sought = blocked_sought(d, b, &more), end = b->read->newest + 1;
    bool waits = more && sought == INT64_MAX && b->cursor < end;
    if (waits != b->waits)
        consumer_hold(d->consumer, b->where, waits);
    b->waits = waits;
    if (waits)
        return;
    if (sought > end)
        sought = end;
    if (sought < b->cursor || sought > b->cursor + NEAR || (sought == end && b->cursor < end)) {
        consumer_seek(d->consumer, b->where, sought);
        b->cursor = sought;
    }
}

void blocked_turn(struct delivery *d)
{
    int64_t now = clock_mono_ms();
    for (struct blocked *b = d->blocked; b; b = b->next) {
        if (b->state == BLOCKED_UNREAD && b->held.first)
            blocked_begin(d, b);
        if ((b->state == BLOCKED_MARKING || b->olds) && b->mark_again_ms <= now)
            blocked_publish_mark(d, b);
        for (uint64_t tag; timers_pop(&b->due, now, &tag);)
            keys_wake(b, (struct blocked_key *)(uintptr_t)tag);
        if (b->state == BLOCKED_READ && (b->active || b->waits || b->cursor <= b->read->newest))
            blocked_steer(d, b);
    }
}

int64_t blocked_next(const struct delivery *d)
{
    int64_t next = INT64_MAX;
    for (const struct blocked *b = d->blocked; b; b = b->next) {
        int64_t due = timers_next(&b->due);
        if ((b->state == BLOCKED_MARKING || b->olds) && b->mark_again_ms < due)
            due = b->mark_again_ms;
        next = due < next ? due : next;
    }
    return next;
}
