/* SPDX-License-Identifier: MIT */
/* The memory of ids: a chained hash table whose stored entries are also in a queue by age. */
#include "bridge/intake/seen.h"
#include <stdlib.h>
#include "bridge/lib/mem.h"

struct pair {
    struct pair *next;    /* in its bucket */
    struct pair *younger; /* in the queue of stored pairs */
    uint64_t hash;
    int64_t slot; /* or MEMORY_STORED */
    size_t source_length, length;
    char text[]; /* source, then id */
};

struct memory {
    struct pair **buckets;
    size_t mask;
    struct pair *oldest, *youngest;
    size_t stored, most;
    struct pair **pending; /* by slot */
    size_t slots;
};

struct memory *memory_new(size_t most)
{
    struct memory *m = mem_alloc(sizeof *m);
    size_t buckets = 1024;
    while (buckets < most)
        buckets *= 2;
    m->buckets = mem_alloc(buckets * sizeof *m->buckets);
    m->mask = buckets - 1;
    m->most = most;
    return m;
}

void memory_free(struct memory *m)
{
    if (!m)
        return;
    for (size_t i = 0; i <= m->mask; i++)
        for (struct pair *p = m->buckets[i], *next; p; p = next) {
            next = p->next;
            free(p);
        }
    free(m->buckets);
    free(m->pending);
    free(m);
}

static uint64_t hash_of(struct str source, struct str id)
{
    uint64_t h = str_hash(source) * 0x9E3779B97F4A7C15u;
    h = (h ^ (h >> 29) ^ str_hash(id)) * 0xBF58476D1CE4E5B9u;
    return h ^ (h >> 32);
}

static bool same(const struct pair *p, uint64_t hash, struct str source, struct str id)
{
    return p->hash == hash && p->source_length == source.n && p->length == source.n + id.n
           && (source.n == 0 || memcmp(p->text, source.at, source.n) == 0)
           && (id.n == 0 || memcmp(p->text + source.n, id.at, id.n) == 0);
}

static struct pair *find(const struct memory *m, uint64_t hash, struct str source, struct str id)
{
    struct pair *p = m->buckets[hash & m->mask];
    while (p && !same(p, hash, source, id))
        p = p->next;
    return p;
}

static struct pair *add(struct memory *m, uint64_t hash, struct str source, struct str id, int64_t slot)
{
    struct pair *p = mem_alloc(sizeof *p + source.n + id.n);
    p->hash = hash;
    p->slot = slot;
    p->source_length = source.n;
    p->length = source.n + id.n;
    if (source.n)
        memcpy(p->text, source.at, source.n);
    if (id.n)
        memcpy(p->text + source.n, id.at, id.n);
    p->next = m->buckets[hash & m->mask];
    m->buckets[hash & m->mask] = p;
    return p;
}

static void forget(struct memory *m, struct pair *gone)
{
    struct pair **at = &m->buckets[gone->hash & m->mask];
    while (*at != gone)
        at = &(*at)->next;
    *at = gone->next;
    free(gone);
}

static void keep(struct memory *m, struct pair *p)
{
    p->slot = MEMORY_STORED;
    p->younger = NULL;
    if (m->youngest)
        m->youngest->younger = p;
    else
        m->oldest = p;
    m->youngest = p;
    if (++m->stored <= m->most)
        return;
    struct pair *gone = m->oldest;
    m->oldest = gone->younger;
    if (!m->oldest)
        m->youngest = NULL;
    m->stored--;
    forget(m, gone);
}

int64_t memory_find(const struct memory *m, struct str source, struct str id)
{
    const struct pair *p = find(m, hash_of(source, id), source, id);
    return p ? p->slot : MEMORY_UNKNOWN;
}

void memory_begin(struct memory *m, struct str source, struct str id, uint32_t slot)
{
    if (slot >= m->slots) {
        size_t slots = (size_t)slot + 64;
        m->pending = mem_grow(m->pending, slots, sizeof *m->pending);
        memset(m->pending + m->slots, 0, (slots - m->slots) * sizeof *m->pending);
        m->slots = slots;
    }
    CHECK(!m->pending[slot]);
    m->pending[slot] = add(m, hash_of(source, id), source, id, slot);
}

void memory_end(struct memory *m, uint32_t slot, bool stored)
{
    CHECK(slot < m->slots && m->pending[slot]);
    struct pair *p = m->pending[slot];
    m->pending[slot] = NULL;
    if (stored)
        keep(m, p);
    else
        forget(m, p);
}

void memory_add(struct memory *m, struct str source, struct str id)
{
    uint64_t hash = hash_of(source, id);
    if (!find(m, hash, source, id))
        keep(m, add(m, hash, source, id, MEMORY_STORED));
}
