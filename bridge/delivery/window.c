/* SPDX-License-Identifier: MIT */
/* The window: the entries of records between poll and done, the queue of ready ones, the chains of those with one key. */
#include <stdlib.h>
#include "bridge/delivery/private.h"
#include "bridge/lib/mem.h"

/* ---- entries ---- */

struct entry *window_add(struct delivery *d)
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
    *en = (struct entry){ .index = en->index, .generation = en->generation + 1 };
    d->window_used++;
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

void window_queue_add(struct window_queue *q, struct entry *en)
{
    en->next = NULL;
    if (q->last)
        q->last->next = en;
    else
        q->first = en;
    q->last = en;
}

struct entry *window_queue_take(struct window_queue *q)
{
    struct entry *en = q->first;
    if (!en)
        return NULL;
    q->first = en->next;
    if (!q->first)
        q->last = NULL;
    return en;
}

void window_queue_remove(struct window_queue *q, struct entry *en)
{
    struct entry *before = NULL, *at = q->first;
    for (; at && at != en; at = at->next)
        before = at;
    if (!at)
        return;
    if (before)
        before->next = en->next;
    else
        q->first = en->next;
    if (q->last == en)
        q->last = before;
}

/* ---- order: key ---- */

static struct entry **window_chain_of(struct delivery *d, const struct entry *en)
{
    return &d->chains[en->key_hash & d->chain_mask];
}

bool window_chain_enter(struct delivery *d, struct entry *en)
{
    if (!d->chains || !en->record->key.at)
        return true;
    en->key_hash = str_hash(en->record->key);
    en->chained = true;
    bool alone = true;
    struct entry **at = window_chain_of(d, en);
    for (; *at; at = &(*at)->chain)
        alone &= (*at)->key_hash != en->key_hash;
    *at = en;
    return alone;
}

/* Takes it out of its chain; the next one of its key becomes ready if it waited for that. */
static void window_chain_leave(struct delivery *d, struct entry *en)
{
    if (!en->chained)
        return;
    struct entry **at = window_chain_of(d, en);
    while (*at != en)
        at = &(*at)->chain;
    *at = en->chain;
    struct entry *next = *window_chain_of(d, en);
    while (next && next->key_hash != en->key_hash)
        next = next->chain;
    if (next && next->state == ENTRY_BEHIND) {
        next->state = ENTRY_READY;
        window_queue_add(&d->ready, next);
    }
}

/* ---- the end of an entry ---- */

static void window_drop(struct delivery *d, struct entry *en)
{
    if (en->state == ENTRY_PARKED)
        d->parked--;
    else
        d->window_used--;
    window_chain_leave(d, en);
    event_unref(en->event);
    record_free(en->record);
    metric_add(d->count.pending, -1);
    en->state = ENTRY_FREE;
    en->record = NULL;
    en->event = NULL;
    d->free[d->free_count++] = en->index;
}

void window_finish(struct delivery *d, struct entry *en, struct metric *counter)
{
    metric_add(en->partition ? counter : d->count.released, 1);
    if (en->partition)
        watermark_finish(&en->partition->done, en->record->offset);
    window_drop(d, en);
}

/* ---- start and end ---- */

void window_open(struct delivery *d)
{
    if (d->config->order != ORDER_KEY)
        return;
    d->chain_mask = 1;
    while (d->chain_mask < (size_t)d->config->window * 4)
        d->chain_mask = d->chain_mask * 2 + 1;
    d->chains = mem_alloc((d->chain_mask + 1) * sizeof *d->chains);
}

void window_close(struct delivery *d)
{
    for (size_t i = 0; i < d->entry_cap; i++)
        if (d->entries[i]->state != ENTRY_FREE) {
            metric_add(d->count.released, 1);
            window_drop(d, d->entries[i]);
        }
    for (size_t i = 0; i < d->entry_cap; i++) /* not before: dropping one still links the next of its key */
        free(d->entries[i]);
    free(d->entries);
    free(d->free);
    free(d->chains);
}
