/* SPDX-License-Identifier: MIT */
/* The window: records between poll and done, an entry for each destination of each, queues of ready ones, and chains of
 * those with one key. */
#include <stdlib.h>
#include "bridge/delivery/private.h"
#include "bridge/lib/mem.h"

/* ---- what was taken ---- */

struct taken *window_take(struct delivery *d, struct record *r, const struct event *ev, struct partition *p)
{
    struct taken *t = mem_alloc(sizeof *t);
    *t = (struct taken){ .record = r, .event = ev, .partition = p, .open = 1 };
    d->window_used++;
    return t;
}

/* Nobody has its record any more. */
static void window_drop(struct taken *t)
{
    event_unref(t->event);
    record_free(t->record);
    free(t);
}

void window_tell(struct delivery *d)
{
    if (d->lent_finished_count > 0)
        mailbox_put_many(d->lender, d->lent_finished, d->lent_finished_count, HANDED_FINISHED);
    d->lent_finished_count = 0;
}

/* One of the waiter's is done with, or goes back to it. */
static void window_give_back(struct delivery *d, const struct taken *t)
{
    if (!t->partition) {
        mailbox_put(t->lender, t->lent_tag, HANDED_BACK, NULL);
        return;
    }
    if (d->lent_finished_count == LENT_FINISHED)
        window_tell(d);
    d->lender = t->lender;
    d->lent_finished[d->lent_finished_count++] = t->lent_tag;
}

void window_release(struct delivery *d, struct taken *t)
{
    if (--t->open > 0)
        return;
    if (t->lender)
        window_give_back(d, t);
    else if (t->partition && !t->stays) {
        watermark_finish(&t->partition->done, t->record->offset);
        t->partition->changed = d->changed = true;
        d->finished++;
    }
    d->window_used--;
    if (t->kept == 0)
        window_drop(t);
}

void window_pass_on(struct delivery *d, struct entry *en, struct taken *t)
{
    struct taken *before = en->of;
    if (en->state == ENTRY_FLYING) { /* the sink has borrowed the record */
        en->before = before;
        before->kept++;
    }
    en->of = t;
    t->open++;
    before->partly = true;
    window_release(d, before);
}

void window_landed(struct entry *en)
{
    struct taken *t = en->before;
    en->before = NULL;
    if (t && --t->kept == 0 && t->open == 0)
        window_drop(t);
}

/* ---- entries ---- */

struct entry *window_add(struct delivery *d, struct taken *t, struct destination *to)
{
    if (d->free_count == 0) {
        size_t cap = d->entry_cap ? d->entry_cap * 2 : 64;
        d->entries = mem_grow(d->entries, cap, sizeof *d->entries);
        d->free = mem_grow(d->free, cap, sizeof *d->free);
        for (size_t i = cap; i-- > d->entry_cap;) {
            d->entries[i] = mem_alloc(sizeof **d->entries);
            d->entries[i]->index = (uint32_t)i;
            d->free[d->free_count++] = (uint32_t)i;
        }
        d->entry_cap = cap;
    }
    struct entry *en = d->entries[d->free[--d->free_count]];
    *en = (struct entry){ .index = en->index, .generation = en->generation + 1, .of = t, .to = to };
    t->open++;
    if (to->open++ == 0 && to->name)
        to->busy_ms = clock_mono_ms();
    metric_add(to->count.consumed, 1);
    metric_add(to->count.pending, 1);
    return en;
}

uint64_t window_tag(const struct entry *en)
{
    return (uint64_t)en->generation << 32 | en->index;
}

struct entry *window_find(struct delivery *d, uint64_t tag)
{
    uint32_t index = (uint32_t)tag;
    CHECK(index < d->entry_cap);
    struct entry *en = d->entries[index];
    return en->state != ENTRY_FREE && en->generation == tag >> 32 ? en : NULL;
}

void window_renew(struct entry *en)
{
    en->generation++;
}

/* ---- ready ones ---- */

static void window_list(struct delivery *d, struct destination *to)
{
    if (to->listed)
        return;
    to->listed = true;
    to->next = NULL;
    *d->ready_tail = to;
    d->ready_tail = &to->next;
    d->ready_count++;
}

/* Takes the first one out. */
static struct destination *window_unlist(struct delivery *d)
{
    struct destination *to = d->ready;
    CHECK(to); /* ready_count says so */
    d->ready = to->next;
    if (!d->ready)
        d->ready_tail = &d->ready;
    d->ready_count--;
    to->listed = false;
    return to;
}

void window_ready(struct delivery *d, struct entry *en)
{
    struct window_queue *q = &en->to->ready;
    en->state = ENTRY_READY;
    en->next = NULL;
    if (q->last)
        q->last->next = en;
    else
        q->first = en;
    q->last = en;
    window_list(d, en->to);
}

static struct entry *window_take_ready(struct destination *to)
{
    struct entry *en = to->ready.first;
    to->ready.first = en->next;
    if (!en->next)
        to->ready.last = NULL;
    return en;
}

void window_unready(struct entry *en)
{
    struct window_queue *q = &en->to->ready;
    struct entry *before = NULL, *at = q->first;
    for (; at != en; at = at->next)
        before = at;
    if (before)
        before->next = en->next;
    else
        q->first = en->next;
    if (q->last == en)
        q->last = before;
}

/* Lets it rest, now that it stands in no list. */
static void window_lay_down(struct delivery *d, struct destination *to, int64_t until_ms)
{
    to->listed = true;
    to->next = d->resting;
    d->resting = to;
    d->rest_ms = until_ms < d->rest_ms ? until_ms : d->rest_ms;
}

/* Those whose time has come stand among the ready ones again. */
static void window_wake(struct delivery *d, int64_t now_ms)
{
    struct destination *all = d->resting;
    d->resting = NULL;
    d->rest_ms = INT64_MAX;
    for (struct destination *to = all, *next; to; to = next) {
        int64_t due = gates_due(to);
        next = to->next;
        to->listed = false;
        if (due > now_ms)
            window_lay_down(d, to, due);
        else
            window_list(d, to);
    }
}

void window_look_again(struct delivery *d)
{
    d->rest_ms = d->resting ? 0 : INT64_MAX;
}

int64_t window_rest(const struct delivery *d)
{
    return d->rest_ms < d->hold_ms ? d->rest_ms : d->hold_ms;
}

static bool window_has_room(const struct destination *to)
{
    const struct endpoint *ep = to->outlet ? to->outlet->endpoint : NULL;
    return (!ep || !ep->limit || to->flying < ep->limit) && circuit_has_room(&to->circuit, to->flying);
}

struct entry *window_next(struct delivery *d, int64_t now_ms)
{
    int64_t sink = d->many ? gates_due(&d->self) : 0;
    if (d->rest_ms <= now_ms)
        window_wake(d, now_ms);
    d->hold_ms = sink > now_ms && d->ready_count ? sink : INT64_MAX;
    if (sink > now_ms || (d->s->limit && d->flying >= d->s->limit))
        return NULL;
    for (size_t turns = d->ready_count; turns-- > 0;) {
        struct destination *to = window_unlist(d);
        int64_t due = gates_due(to);
        if (due > now_ms && to->ready.first) {
            metric_add(to->count.throttled, rate_due(&to->rate) > now_ms);
            window_lay_down(d, to, due);
            continue;
        }
        struct entry *en = to->ready.first && window_has_room(to) ? window_take_ready(to) : NULL;
        if (to->ready.first)
            window_list(d, to);
        if (en)
            return en;
    }
    return NULL;
}

/* ---- order: key ---- */

static struct entry **window_chain_of(const struct entry *en)
{
    return &en->to->chains[en->key_hash & en->to->chain_mask];
}

bool window_chain_enter(struct entry *en)
{
    if (!en->to->chains || !en->of->record->key.at)
        return true;
    en->key_hash = str_hash(en->of->record->key);
    en->chained = true;
    bool alone = true;
    struct entry **at = window_chain_of(en);
    for (; *at; at = &(*at)->chain)
        alone &= (*at)->key_hash != en->key_hash;
    *at = en;
    return alone;
}

bool window_is_awaited(const struct entry *en)
{
    const struct entry *next = en->chained ? en->chain : NULL;
    while (next && next->key_hash != en->key_hash)
        next = next->chain;
    return next;
}

/* Takes it out of its chain; the next one of its key becomes ready if it waited for that. */
static void window_chain_leave(struct delivery *d, struct entry *en)
{
    if (!en->chained)
        return;
    struct entry **at = window_chain_of(en);
    while (*at != en)
        at = &(*at)->chain;
    *at = en->chain;
    struct entry *next = *window_chain_of(en);
    while (next && next->key_hash != en->key_hash)
        next = next->chain;
    if (next && next->state == ENTRY_BEHIND)
        window_ready(d, next);
}

/* ---- the end of an entry ---- */

void window_finish(struct delivery *d, struct entry *en, struct metric *counter)
{
    struct taken *t = en->of;
    window_landed(en);
    const struct delivery_counters *count = &en->to->count;
    metric_add(t->partition ? counter : count->released, 1);
    metric_add(count->pending, -1);
    d->held -= en->state == ENTRY_HELD;
    window_chain_leave(d, en);
    en->to->waiting -= en->state == ENTRY_WAITING;
    en->to->open--;
    en->state = ENTRY_FREE;
    en->of = NULL;
    d->free[d->free_count++] = en->index;
    t->partly = true;
    window_release(d, t);
}

void window_close(struct delivery *d)
{
    for (size_t i = 0; i < d->entry_cap; i++)
        if (d->entries[i]->state != ENTRY_FREE) {
            d->entries[i]->of->partition = NULL;
            window_finish(d, d->entries[i], NULL);
        }
    for (size_t i = 0; i < d->entry_cap; i++) /* not before: the end of one still links the next of its key */
        free(d->entries[i]);
    free(d->entries);
    free(d->free);
}
