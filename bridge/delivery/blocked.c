/* SPDX-License-Identifier: MIT */
/* `order: key`: a key whose event has to wait long steps aside, so that the window and the position go on.
 *
 *   topic ---- its key is blocked, or it has to wait long ----> blocked log ---- its turn and its time ----> the window
 *
 * Each partition of a topic has a log of its own, the same partition of <prefix>blocked.<sink>.<topic>: who reads one
 * reads the other (range assignment), so one member of a group has all of a key. The log holds the events of blocked keys
 * in order. Here stand only their offsets, by key; an event is read again when it is the first of its key and due, with a
 * few behind it. When it has to wait long again, a note is put into the log: how often it was tried, when it is due.
 * The last of a key that is done unblocks the key.
 *
 * In a full window, what is above an endpoint's share steps aside as well. Where the first of a key is in flight, the log gets
 * a copy of it first, and as soon as that is read back the one in flight is the log's: so the log is whole and in order at
 * any moment.
 *
 * Before anything of a partition is sent, its log must have been read up to its present end, or a new event could pass
 * older ones of its key. The end is found by a mark that is put there and read back:
 *
 *   BLOCKED_UNREAD ---- the first record of either ----> BLOCKED_MARKING ---- the mark is read ----> BLOCKED_READ
 *
 * A log of an earlier configuration is old: of an earlier name of the sink, or of a sink without an order by now. It is
 * emptied as a retry topic is; where a key has an order, all of it goes into the log of today, and gets a mark as well.
 *
 * Until the marks are read the entries of the partition are held. Where there is no log (BLOCKED_ABSENT: the topic got more partitions
 * than the log, which is not let grow), keys wait in memory. */
#include <stdlib.h>
#include "bridge/delivery/private.h"
#include "bridge/lib/mem.h"

bool blocked_holds(struct delivery *d, struct entry *en)
{
    struct partition *p = en->of->partition;
    struct blocked *b = p && en->to->chains && en->of->record->key.at ? blocked_of(d, p) : NULL;
    if (!b || b->read == p || b->state == BLOCKED_ABSENT || (b->state == BLOCKED_READ && !blocked_waits_for_old(b, p)))
        return false;
    blocked_hold(d, b, en);
    return true;
}

bool blocked_passes(struct delivery *d, struct entry *en)
{
    struct partition *p = en->of->partition;
    struct blocked *b = p && en->chained ? blocked_of(d, p) : NULL;
    if (!b || b->read == p || b->state == BLOCKED_ABSENT || en->copied)
        return true;
    if (b->state == BLOCKED_READ && !keys_find(b, en->key_hash, en->to))
        return true;
    if (b->state == BLOCKED_READ)
        blocked_put(d, b, en, 0);
    else
        blocked_hold(d, b, en);
    return false;
}

bool blocked_wait(struct delivery *d, struct entry *en, int64_t wait_ms)
{
    struct partition *p = en->of->partition;
    struct blocked *b = p && en->chained ? blocked_of(d, p) : NULL;
    if (!b || b->state != BLOCKED_READ || (en->copied && b->read != p))
        return false;
    if (b->read == p)
        moves_block(d, en, &b->where, en->of->record->offset, clock_wall_ms() + wait_ms);
    else
        blocked_put(d, b, en, clock_wall_ms() + wait_ms);
    return true;
}

/* May it go into the log now, in the order of its key? One of a key at a time, so that none overtakes another there. */
static struct blocked *blocked_that_takes(struct delivery *d, const struct entry *en)
{
    struct partition *p = en->of->partition;
    bool idle = en->state == ENTRY_READY || en->state == ENTRY_BEHIND || en->state == ENTRY_WAITING;
    struct blocked *b = p && idle ? blocked_of(d, p) : NULL;
    if (!b || b->state != BLOCKED_READ || b->read == p || en->copied || blocked_is_behind(b, en))
        return NULL;
    return b;
}

/* Is it of no use to look at its keys at once? Not where a rate or a circuit holds it up: some of them are wanted as soon as
 * that lets one through. */
static bool blocked_rests(const struct delivery *d, const struct destination *to)
{
    bool held_up = to->rate.interval_us || gates_due(to) > clock_mono_ms();
    return to->paused || (!held_up && moves_is_stuck(d, to));
}

/* Puts it into the log if it may go there; `later`: where its key waits for a while. */
static void blocked_aside(struct delivery *d, struct entry *en, bool later)
{
    struct blocked *b = blocked_that_takes(d, en);
    if (!b)
        return;
    bool first = !keys_find(b, en->key_hash, en->to);
    int64_t left = en->state == ENTRY_WAITING ? en->wake_ms - clock_mono_ms() : 0,
            least = later && first && blocked_rests(d, en->to) ? gates_aside_ms(en->to) : 0;
    if (en->state == ENTRY_READY)
        window_unready(en);
    en->to->waiting -= en->state == ENTRY_WAITING;
    en->state = ENTRY_BEHIND; /* neither any more, also if the log has it already */
    window_renew(en);
    blocked_put(d, b, en, clock_wall_ms() + (left > least ? left : least));
}

/* The first of a key may be in flight for long. Its log gets a copy of it, before those that are behind it; as soon as that
 * is read, the one in flight is the log's, and ends as such (blocked_adopt). */
static void blocked_copy(struct delivery *d, const struct entry *behind)
{
    struct entry *en = behind->to->chains[behind->key_hash & behind->to->chain_mask];
    while (en->key_hash != behind->key_hash)
        en = en->chain;
    struct partition *p = en->of->partition;
    struct blocked *b = p && !p->old && en->state == ENTRY_FLYING && !en->copied ? blocked_of(d, p) : NULL;
    if (!b || b->state != BLOCKED_READ || b->read == p || keys_find(b, en->key_hash, en->to))
        return;
    en->copied = true;
    struct entry *copy = window_add(d, en->of, en->to);
    copy->copy = true;
    copy->key_hash = en->key_hash;
    copy->attempts = en->attempts - 1;
    copy->first_ms = copy->attempts ? en->first_ms : 0;
    copy->last_ms = en->last_ms;
    keys_make(d, b, en->key_hash, en->to)->copied = en->of->record->offset;
    blocked_put(d, b, copy, 0);
}

void blocked_make_room(struct delivery *d, size_t part)
{
    for (size_t i = 0; i < d->entry_cap; i++) {
        struct entry *en = d->entries[i];
        if (en->state == ENTRY_FREE || !en->chained || !moves_has_too_much(en->to, part))
            continue;
        if (en->state == ENTRY_BEHIND)
            blocked_copy(d, en);
        blocked_aside(d, en, true);
    }
}

/* What follows it in its key, which is blocked now, has to go there as well: at once, whatever the gates say. */
static void blocked_follow(struct delivery *d, const struct blocked *b, uint64_t hash, const struct destination *to)
{
    struct entry *en = !d->stopped && keys_find(b, hash, to) ? to->chains[hash & to->chain_mask] : NULL;
    while (en && (en->key_hash != hash || en->of->partition == b->read || en->in_log || moves_has_no_log(en)))
        en = en->chain;
    if (en)
        blocked_aside(d, en, false);
}

/* Would what it has in memory stay there for long, where it keeps the position from going on? */
static bool blocked_lingers(const struct destination *to)
{
    if (gates_stay_closed(to))
        return to->paused || to->open - to->storing > 1;
    return gates_take_long(to);
}

void blocked_tidy(struct delivery *d)
{
    for (size_t i = 0; i < d->entry_cap; i++) {
        struct entry *en = d->entries[i];
        if (en->state != ENTRY_FREE && en->chained && blocked_lingers(en->to))
            blocked_aside(d, en, true);
    }
}

/* Is one of its key, itself or behind it, finished at another endpoint? */
static bool blocked_is_shared(const struct entry *en)
{
    const struct entry *at = en->to->chains[en->key_hash & en->to->chain_mask];
    while (at && (at->key_hash != en->key_hash || !at->of->partly))
        at = at->chain;
    return at != NULL;
}

void blocked_leave(struct delivery *d)
{
    for (struct blocked *b = d->blocked; d->many && b; b = b->next)
        if (b->held.first)
            blocked_ready(d, b); /* nothing is sent any more: whatever the log holds, this comes after it */
    for (size_t i = 0; d->many && i < d->entry_cap; i++) {
        struct entry *en = d->entries[i];
        if (en->state == ENTRY_FREE || !en->chained)
            continue;
        struct blocked *b = en->of->partition ? blocked_of(d, en->of->partition) : NULL;
        if (b && b->read == en->of->partition && en->state == ENTRY_WAITING)
            blocked_note(d, b, en); /* its attempts are remembered */
        else if (blocked_is_shared(en))
            blocked_aside(d, en, false);
    }
}

/* Gives back to the log what the window has of a key. */
static void blocked_unload(struct delivery *d, struct blocked *b, struct blocked_key *key, struct entry *first)
{
    for (size_t i = 0; i < d->entry_cap; i++) {
        struct entry *en = d->entries[i];
        if (en == first || en->state != ENTRY_BEHIND || en->of->partition != b->read || en->key_hash != key->hash
            || en->to != key->to)
            continue;
        en->of->stays = true;
        window_finish(d, en, en->to->count.moved);
    }
    first->of->stays = true;
    window_finish(d, first, first->to->count.moved);
    d->blocked_loaded -= key->loaded;
    key->loaded = 0;
}

/* The note of its first event is stored: the key rests. */
static void blocked_noted(struct delivery *d, struct blocked *b, struct entry *en)
{
    struct blocked_key *key = keys_find(b, en->key_hash, en->to);
    CHECK(key && key->active && key->loaded);
    key->attempts = en->attempts;
    key->first_ms = en->first_ms;
    key->last_ms = en->last_ms;
    key->due_ms = en->to->gone ? 0 : en->due_ms;
    blocked_unload(d, b, key, en);
    struct blocked_key **at = &b->active;
    while (*at != key)
        at = &(*at)->next_active;
    *at = key->next_active;
    key->active = false;
    keys_rest(b, key);
}

/* The copy is stored: what follows may follow it. */
static void blocked_copied(const struct entry *copy)
{
    struct entry *en = copy->to->chains[copy->key_hash & copy->to->chain_mask];
    while (en && (en->of != copy->of || en->key_hash != copy->key_hash))
        en = en->chain;
    if (en)
        en->in_log = true;
}

void blocked_stored(struct delivery *d, struct entry *en)
{
    struct partition *p = en->of->partition;
    struct blocked *b = p ? blocked_of(d, p) : NULL;
    d->storing--;
    en->to->storing--;
    if (en->copy)
        blocked_copied(en);
    if (b && en->note_of >= 0) {
        blocked_noted(d, b, en);
        return;
    }
    uint64_t hash = en->key_hash;
    struct destination *to = en->to;
    window_finish(d, en, to->count.moved);
    if (b)
        blocked_follow(d, b, hash, to);
}

bool blocked_refused(struct delivery *d, struct entry *en)
{
    struct partition *p = en->of->partition;
    struct blocked *b = p ? blocked_of(d, p) : NULL;
    struct blocked_key *key = b ? keys_find(b, en->key_hash, en->to) : NULL;
    en->log = NULL;
    if (key && en->note_of < 0 && key->coming > 0) {
        key->copied = en->copy ? -1 : key->copied;
        if (--key->coming == 0 && key->count == 0 && !key->active)
            keys_free(d, b, key);
    }
    if (!en->copy)
        return true;
    d->storing--;
    en->to->storing--;
    window_finish(d, en, en->to->count.moved);
    return false;
}

void blocked_orphan_all(struct delivery *d, const struct destination *to)
{
    for (struct blocked *b = d->blocked; b; b = b->next)
        keys_wake_all(b, to);
}

/* ---- the end ---- */

static void blocked_forget_keys(struct delivery *d, struct blocked *b)
{
    for (size_t i = 0; b->keys && i <= b->key_mask; i++)
        while (b->keys[i])
            keys_free(d, b, b->keys[i]);
    free(b->keys);
    timers_free(&b->due);
    b->keys = NULL;
    b->active = NULL;
    b->cursor = 0;
    b->waits = false;
    b->state = BLOCKED_UNREAD;
    b->olds = 0;
}

static void blocked_drop_held(struct blocked *b, const struct partition *p)
{
    struct entry **at = &b->held.first;
    b->held.last = NULL;
    while (*at)
        if ((*at)->of->partition == p)
            *at = (*at)->next;
        else {
            b->held.last = *at;
            at = &(*at)->next;
        }
}

void blocked_forget(struct delivery *d, struct partition *p)
{
    struct blocked *b = p->blocked;
    if (!b)
        return;
    if (p == b->read) {
        blocked_forget_keys(d, b);
        b->read = NULL;
    } else {
        for (size_t i = 0; !p->old && b->keys && i <= b->key_mask; i++)
            for (struct blocked_key *key = b->keys[i]; key; key = key->next)
                key->copied = -1; /* what is in the window ends without a say */
        blocked_drop_held(b, p);
        if (!b->read) { /* its mark may have gone to another member */
            b->state = BLOCKED_UNREAD;
            b->olds = 0;
        }
        if (p->old) /* so may that of the old log */
            b->mark_again_ms = 0;
    }
}

void blocked_close(struct delivery *d)
{
    for (struct blocked *b = d->blocked, *next; b; b = next) {
        next = b->next;
        blocked_forget_keys(d, b);
        free(b);
    }
    for (size_t i = 0; i < d->log_count; i++)
        free(d->logs[i].topic);
    for (size_t i = 0; i < d->old_count; i++)
        free(d->old[i].topic);
    free(d->old);
    free(d->logs);
    mailbox_close(&d->marks);
}
