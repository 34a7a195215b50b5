/* SPDX-License-Identifier: MIT */
/* The keys of a blocked log: where the events of each stand there, and when it may go on. */
#include <stdlib.h>
#include "bridge/delivery/private.h"
#include "bridge/event/trail.h"
#include "bridge/lib/mem.h"

enum { FIRST_BUCKETS = 16 };

static struct blocked_key **keys_bucket(const struct blocked *b, uint64_t hash, const struct destination *to)
{
    struct blocked_key **at = &b->keys[hash & b->key_mask];
    while (*at && ((*at)->hash != hash || (*at)->to != to))
        at = &(*at)->next;
    return at;
}

struct blocked_key *keys_find(const struct blocked *b, uint64_t hash, const struct destination *to)
{
    return b->keys ? *keys_bucket(b, hash, to) : NULL;
}

static void keys_grow(struct blocked *b)
{
    size_t cap = b->keys ? (b->key_mask + 1) * 2 : FIRST_BUCKETS, before = b->keys ? b->key_mask + 1 : 0;
    struct blocked_key **old = b->keys;
    b->keys = mem_alloc(cap * sizeof(struct blocked_key *));
    b->key_mask = cap - 1;
    for (size_t i = 0; i < before; i++)
        for (struct blocked_key *key = old[i], *next; key; key = next) {
            struct blocked_key **at = keys_bucket(b, key->hash, key->to);
            next = key->next;
            key->next = *at;
            *at = key;
        }
    free(old);
}

struct blocked_key *keys_make(struct delivery *d, struct blocked *b, uint64_t hash, struct destination *to)
{
    struct blocked_key *key = keys_find(b, hash, to);
    if (key)
        return key;
    if (!b->keys || b->key_count > b->key_mask)
        keys_grow(b);
    struct blocked_key **at = keys_bucket(b, hash, to);
    key = mem_alloc(sizeof *key);
    *key = (struct blocked_key){ .hash = hash, .to = to, .note = -1, .copied = -1 };
    *at = key;
    b->key_count++;
    to->keys++;
    metric_add(d->blocked_keys, 1);
    return key;
}

void keys_free(struct delivery *d, struct blocked *b, struct blocked_key *key)
{
    *keys_bucket(b, key->hash, key->to) = key->next;
    b->key_count--;
    key->to->keys--;
    metric_add(d->blocked_keys, -1);
    metric_add(d->blocked_events, -(int64_t)key->count);
    d->blocked_loaded -= key->loaded;
    free(key->places);
    free(key);
}

void keys_push(struct delivery *d, struct blocked_key *key, struct blocked_place place)
{
    if (key->head + key->count == key->cap) {
        if (key->head < key->cap / 2 || key->cap == 0) {
            key->cap = key->cap ? key->cap * 2 : 4;
            key->places = mem_grow(key->places, key->cap, sizeof *key->places);
        }
        memmove(key->places, key->places + key->head, key->count * sizeof *key->places);
        key->head = 0;
    }
    key->places[key->head + key->count++] = place;
    metric_add(d->blocked_events, 1);
}

int64_t keys_offset(const struct blocked_key *key, size_t i)
{
    return key->places[key->head + i].offset;
}

bool keys_has(const struct blocked_key *key, const struct taken *t)
{
    const struct record *r = t->record;
    int64_t offset = r->offset, ms = r->timestamp_ms;
    if (t->partition && t->partition->old) {
        str_to_i64(record_header(r, TRAIL_OFFSET), &offset);
        str_to_i64(record_header(r, TRAIL_TIMESTAMP), &ms);
    }
    size_t low = key->head, end = key->head + key->count, high = end;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (key->places[middle].origin_offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low < end && key->places[low].origin_offset == offset && key->places[low].origin_ms == ms;
}

void keys_wake(struct blocked *b, struct blocked_key *key)
{
    if (key->active)
        return;
    key->active = true;
    key->next_active = b->active;
    b->active = key;
}

void keys_wake_all(struct blocked *b, const struct destination *to)
{
    struct timers due = b->due;
    b->due = (struct timers){ 0 };
    for (size_t i = 0; i < due.count; i++) { /* a timer must not outlive its key */
        struct blocked_key *key = (struct blocked_key *)(uintptr_t)due.heap[i].tag;
        if (key->to == to)
            keys_wake(b, key);
        else
            timers_add(&b->due, due.heap[i].due_ms, due.heap[i].tag);
    }
    timers_free(&due);
    for (size_t i = 0; b->keys && i <= b->key_mask; i++)
        for (struct blocked_key *key = b->keys[i]; key; key = key->next)
            key->due_ms = key->to == to ? 0 : key->due_ms;
}

void keys_rest(struct blocked *b, struct blocked_key *key)
{
    int64_t wait = key->due_ms - clock_wall_ms();
    if (wait > 0)
        timers_add(&b->due, clock_mono_ms() + wait, (uint64_t)(uintptr_t)key);
    else
        keys_wake(b, key);
}
