/* SPDX-License-Identifier: MIT */
/* A bounded table of token buckets by name. */
#include "connectors/http/limit_table.h"
#include <stdlib.h>
#include "bridge/lib/mem.h"

enum { TABLE_LOOKS = 32 }; /* at places, until none of them is free */

void limit_table_open(struct limit_table *t, size_t most, struct metric *shares)
{
    t->most = most;
    t->shares = shares;
}

void limit_table_close(struct limit_table *t)
{
    free(t->at);
    t->at = NULL;
}

static uint32_t *limit_table_bucket(struct limit_table *t, const struct digest *name)
{
    return &t->buckets[name->d[0] % LIMIT_TABLE_BUCKETS];
}

static struct limit_place *limit_table_find(struct limit_table *t, const struct digest *name)
{
    uint32_t i = *limit_table_bucket(t, name);
    while (i && memcmp(&t->at[i].name, name, sizeof *name) != 0)
        i = t->at[i].next;
    return i ? &t->at[i] : NULL;
}

/* Are its buckets full? Then it is like one that is not there. */
static bool limit_table_is_idle(const struct limit_place *p, int64_t now_us)
{
    for (size_t i = 0; i < LIMIT_COUNTS; i++)
        if (p->full_us[i] > now_us)
            return false;
    return true;
}

static uint32_t limit_table_recycle(struct limit_table *t, int64_t now_us)
{
    for (size_t looks = 0; looks < TABLE_LOOKS && looks < t->most; looks++) {
        t->hand = t->hand < t->most ? t->hand + 1 : 1;
        struct limit_place *p = &t->at[t->hand];
        if (!limit_table_is_idle(p, now_us))
            continue;
        uint32_t *at = limit_table_bucket(t, &p->name);
        while (*at != t->hand)
            at = &t->at[*at].next;
        *at = p->next;
        return (uint32_t)t->hand;
    }
    return 0;
}

static uint32_t limit_table_unused(struct limit_table *t, int64_t now_us)
{
    if (t->count >= t->most)
        return limit_table_recycle(t, now_us);
    if (t->count + 1 >= t->cap)
        t->at = mem_grow(t->at, t->cap = t->cap ? 2 * t->cap : 64, sizeof *t->at);
    return (uint32_t)++t->count;
}

struct limit_place *limit_table_place(struct limit_table *t, const struct digest *name, int64_t now_us)
{
    struct limit_place *p = limit_table_find(t, name);
    if (p)
        return p;
    uint32_t i = limit_table_unused(t, now_us);
    if (i == 0) {
        metric_add(t->shares, 1);
        return &t->shared[name->d[1] % LIMIT_TABLE_SHARED];
    }
    uint32_t *bucket = limit_table_bucket(t, name);
    t->at[i] = (struct limit_place){ .name = *name, .next = *bucket };
    *bucket = i;
    return &t->at[i];
}
