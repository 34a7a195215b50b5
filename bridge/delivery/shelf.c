/* SPDX-License-Identifier: MIT */
/* Entries and partitions of the waiter. */
#include "bridge/delivery/shelf.h"
#include <stdlib.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/crash.h"
#include "bridge/lib/mem.h"

enum {
    PARKED_MOST = 64,
    PARKED_BYTES = 1 << 20, /* of a partition, in memory */
    TICKS = 65536,
};

/* ---- partitions ---- */

struct shelf_partition *shelf_partition(struct shelf *s, const struct record *r)
{
    struct shelf_partition *p = s->partitions;
    while (p && (p->where.partition != r->partition || !str_eq(str_of(p->where.topic), r->topic)))
        p = p->next;
    if (p)
        return p;
    p = mem_alloc(sizeof *p);
    p->where = (struct topic_partition){ str_dup(r->topic), r->partition };
    p->newest = -1;
    p->next = s->partitions;
    return s->partitions = p;
}

static void shelf_partition_free(struct shelf *s, struct shelf_partition *gone)
{
    struct shelf_partition **at = &s->partitions;
    while (*at != gone)
        at = &(*at)->next;
    *at = gone->next;
    watermark_free(&gone->done);
    free((char *)(uintptr_t)gone->where.topic);
    free(gone);
}

void shelf_hold(struct shelf *s)
{
    for (struct shelf_partition *p = s->partitions; p; p = p->next) {
        bool hold = p->parked >= PARKED_MOST || p->parked_bytes >= PARKED_BYTES;
        if (hold != p->held)
            consumer_hold(s->consumer, p->where, hold);
        p->held = hold;
    }
}

int64_t shelf_commit_due(const struct shelf *s)
{
    return s->changed ? s->committed_ms + watermark_pause_ms(s->finished) : INT64_MAX;
}

void shelf_commit(struct shelf *s, bool all)
{
    int64_t now = clock_mono_ms();
    if (!s->changed || (!all && shelf_commit_due(s) > now))
        return;
    for (struct shelf_partition *p = s->partitions; p; p = p->next) {
        if (!p->changed)
            continue;
        crash_point("waiter-before-commit");
        struct ranges beyond = watermark_beyond(&p->done);
        consumer_commit(s->consumer, p->where, watermark_position(&p->done), &beyond);
        p->changed = false;
        ranges_free(&beyond);
    }
    s->changed = false;
    s->finished = 0;
    s->committed_ms = now;
}

/* ---- entries ---- */

static void shelf_grow(struct shelf *s)
{
    size_t cap = s->entry_cap ? s->entry_cap * 2 : 64;
    s->entries = mem_grow(s->entries, cap, sizeof *s->entries);
    s->free = mem_grow(s->free, cap, sizeof *s->free);
    for (size_t i = cap; i-- > s->entry_cap;) {
        s->entries[i] = mem_alloc(sizeof **s->entries);
        s->entries[i]->index = (uint32_t)i;
        s->free[s->free_count++] = (uint32_t)i;
    }
    s->entry_cap = cap;
}

static size_t shelf_bytes(const struct record *r)
{
    size_t n = r->key.n + r->value.n;
    for (size_t i = 0; i < r->header_count; i++)
        n += r->headers[i].name.n + r->headers[i].value.n;
    return n;
}

struct shelved *shelf_add(struct shelf *s, struct record *r, struct shelf_partition *p)
{
    if (s->free_count == 0)
        shelf_grow(s);
    struct shelved *en = s->entries[s->free[--s->free_count]];
    *en = (struct shelved){ .index = en->index,
                            .generation = en->generation + 1,
                            .record = r,
                            .offset = r->offset,
                            .bytes = shelf_bytes(r),
                            .partition = p };
    s->used++;
    return en;
}

uint64_t shelf_tag(const struct shelved *en)
{
    return (uint64_t)en->generation << 32 | en->index;
}

struct shelved *shelf_find(struct shelf *s, uint64_t tag)
{
    uint32_t index = (uint32_t)tag;
    CHECK(index < s->entry_cap);
    struct shelved *en = s->entries[index];
    return en->state != SHELF_FREE && en->generation == tag >> 32 ? en : NULL;
}

void shelf_set(struct shelf *s, struct shelved *en, enum shelf_state state)
{
    if (en->state == SHELF_PARKED) {
        en->partition->parked--;
        en->partition->parked_bytes -= en->bytes;
    }
    s->handed -= en->state == SHELF_HANDED;
    s->storing -= en->state == SHELF_STORING;
    en->state = state;
    s->handed += state == SHELF_HANDED;
    s->storing += state == SHELF_STORING;
    if (state == SHELF_PARKED) {
        en->partition->parked++;
        en->partition->parked_bytes += en->bytes;
    }
}

void shelf_park(struct shelf *s, struct shelved *en, int64_t until_ms)
{
    shelf_set(s, en, SHELF_PARKED);
    timers_add(&s->timers, until_ms * TICKS + s->sets++, shelf_tag(en));
}

struct shelved *shelf_due(struct shelf *s, int64_t now_ms)
{
    for (uint64_t tag; timers_pop(&s->timers, now_ms * TICKS + TICKS - 1, &tag);) {
        struct shelved *en = shelf_find(s, tag);
        if (en && en->state == SHELF_PARKED)
            return en;
    }
    return NULL;
}

int64_t shelf_next(const struct shelf *s)
{
    int64_t next = timers_next(&s->timers);
    return next == INT64_MAX ? next : next / TICKS;
}

bool shelf_has_room(const struct shelf_partition *p)
{
    return p->parked < PARKED_MOST / 2 && p->parked_bytes < PARKED_BYTES / 2;
}

void shelf_leave(struct shelf *s, struct shelved *en)
{
    shelf_set(s, en, SHELF_FREE);
    record_free(en->record);
    en->record = NULL;
    s->free[s->free_count++] = en->index;
    s->used--;
}

void shelf_finish(struct shelf *s, struct shelved *en)
{
    watermark_finish(&en->partition->done, en->offset);
    en->partition->changed = s->changed = true;
    s->finished++;
    shelf_leave(s, en);
}

bool shelf_has(const struct shelf *s, const struct shelf_partition *p, int64_t offset)
{
    for (size_t i = 0; i < s->entry_cap; i++) {
        const struct shelved *en = s->entries[i];
        if (en->state != SHELF_FREE && en->partition == p && en->offset == offset)
            return true;
    }
    return false;
}

int64_t shelf_settle(struct shelf *s, struct shelf_partition *p, const struct ranges *offsets)
{
    int64_t count = 0, low = watermark_position(&p->done), end = p->newest + 1;
    for (size_t i = 0; i < offsets->count; i++) {
        int64_t from = offsets->at[i].from > low ? offsets->at[i].from : low;
        for (int64_t n = from; n < offsets->at[i].to && n < end; n++) {
            if (!watermark_is_open(&p->done, n) || (s->used > 0 && shelf_has(s, p, n)))
                continue;
            watermark_finish(&p->done, n);
            count++;
        }
    }
    p->changed = p->changed || count > 0;
    s->changed = s->changed || count > 0;
    return count;
}

bool shelf_is_among(const struct shelf_partition *p, const struct topic_partition *partitions, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (partitions[i].partition == p->where.partition && strcmp(partitions[i].topic, p->where.topic) == 0)
            return true;
    return false;
}

void shelf_forget(struct shelf *s, struct shelf_partition *p, void (*lost)(struct shelved *en))
{
    for (size_t i = 0; i < s->entry_cap; i++) {
        struct shelved *en = s->entries[i];
        if (en->state == SHELF_FREE || en->partition != p)
            continue;
        lost(en);
        shelf_leave(s, en);
    }
    shelf_partition_free(s, p);
}

void shelf_close(struct shelf *s)
{
    for (size_t i = 0; i < s->entry_cap; i++) {
        record_free(s->entries[i]->record);
        free(s->entries[i]);
    }
    free(s->entries);
    free(s->free);
    while (s->partitions)
        shelf_partition_free(s, s->partitions);
    timers_free(&s->timers);
    *s = (struct shelf){ 0 };
}
