/* SPDX-License-Identifier: MIT */
/* The partitions that a sink reads: how far each is finished, and what happens when one is taken away. */
#include <stdlib.h>
#include "bridge/delivery/private.h"
#include "bridge/lib/crash.h"
#include "bridge/lib/mem.h"

enum {
    CROWDED = 75, /* per cent */
};

struct partition *partition_find(struct delivery *d, struct str topic, int32_t partition)
{
    struct partition *p = d->last_partition;
    if (p && p->where.partition == partition && str_eq(p->topic, topic))
        return p;
    for (p = d->partitions; p; p = p->next)
        if (p->where.partition == partition && str_eq(p->topic, topic))
            break;
    d->last_partition = p ? p : d->last_partition;
    return p;
}

struct partition *partition_of(struct delivery *d, const struct record *r)
{
    struct partition *p = partition_find(d, r->topic, r->partition);
    if (p)
        return p;
    p = mem_alloc(sizeof *p);
    p->where.topic = str_dup(r->topic);
    p->where.partition = r->partition;
    p->topic = str_of(p->where.topic);
    p->newest = -1;
    p->next = d->partitions;
    d->partitions = p;
    return d->last_partition = p;
}

void partition_free(struct delivery *d, struct partition *gone)
{
    struct partition **at = &d->partitions;
    while (*at != gone)
        at = &(*at)->next;
    *at = gone->next;
    if (d->last_partition == gone)
        d->last_partition = NULL;
    watermark_free(&gone->done);
    free((char *)(uintptr_t)gone->where.topic);
    free(gone);
}

int64_t partitions_commit_due(const struct delivery *d)
{
    return d->changed ? d->committed_ms + watermark_pause_ms(d->finished) : INT64_MAX;
}

void partitions_commit(struct delivery *d, bool all)
{
    int64_t now = clock_mono_ms();
    if (!d->changed || (!all && partitions_commit_due(d) > now))
        return;
    for (struct partition *p = d->partitions; p; p = p->next) {
        if (!p->changed)
            continue;
        crash_point("delivery-before-commit");
        struct ranges beyond = watermark_beyond(&p->done);
        p->full = consumer_commit(d->consumer, p->where, watermark_position(&p->done), &beyond);
        p->changed = false;
        ranges_free(&beyond);
    }
    d->changed = false;
    d->finished = 0;
    d->committed_ms = now;
}

struct partition *partitions_crowded(const struct delivery *d)
{
    struct partition *p = d->partitions;
    while (p && p->full < CROWDED)
        p = p->next;
    return p;
}

/* Forgets a partition and what is open of it: whoever reads it next gets that again. */
void partition_release(struct delivery *d, struct partition *p)
{
    for (size_t i = 0; i < d->entry_cap; i++) {
        struct entry *en = d->entries[i];
        if (en->state == ENTRY_FREE || en->of->partition != p)
            continue;
        if (en->state == ENTRY_FLYING || en->state == ENTRY_STORING)
            continue; /* they end on their own */
        if (en->state == ENTRY_READY)
            window_unready(en);
        window_finish(d, en, en->to->count.released);
    }
    for (size_t i = 0; i < d->entry_cap; i++) /* ... without a say in the watermark */
        if (d->entries[i]->state != ENTRY_FREE && d->entries[i]->of->partition == p)
            d->entries[i]->of->partition = NULL;
    partition_free(d, p);
}

bool partitions_busy(const struct delivery *d, struct partition *const *partitions, size_t count)
{
    for (size_t i = 0; i < d->entry_cap; i++)
        for (size_t k = 0; k < count; k++) {
            const struct entry *en = d->entries[i];
            if (partitions[k] && (en->state == ENTRY_FLYING || en->state == ENTRY_STORING)
                && en->of->partition == partitions[k])
                return true;
        }
    return false;
}
