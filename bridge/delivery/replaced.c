/* SPDX-License-Identifier: MIT */
/* Remembers which unfinished records were replaced, per partition and sorted by offset. */
#include "bridge/delivery/replaced.h"
#include <stdlib.h>
#include "bridge/event/trail.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/siphash.h"

struct replaced_one {
    int64_t offset;
    struct digest sum;
};

struct replaced_place {
    char *topic;
    int32_t partition;
    int64_t position;
    struct ranges finished; /* beyond the position */
    struct replaced_one *at;
    size_t count, cap;
};

static void replaced_add_place(void *ctx, const struct standing *s)
{
    static const struct ranges nothing;
    struct replaced *r = ctx;
    r->places = mem_grow(r->places, r->place_count + 1, sizeof *r->places);
    r->places[r->place_count++] = (struct replaced_place){ .topic = str_dup(str_of(s->topic)),
                                                           .partition = s->partition,
                                                           .position = s->position,
                                                           .finished = ranges_union(s->beyond, &nothing) };
}

void replaced_begin(struct replaced *r, struct consumer *c)
{
    replaced_free(r);
    consumer_standing(c, replaced_add_place, r);
}

static struct replaced_place *replaced_place(const struct replaced *r, struct str topic, int64_t partition)
{
    for (size_t i = 0; i < r->place_count; i++)
        if (r->places[i].partition == partition && str_eq(str_of(r->places[i].topic), topic))
            return &r->places[i];
    return NULL;
}

/* What a record and the copy that stands for all of it have in common, and no other. */
static struct digest replaced_sum(const struct record *r)
{
    static const char *const names[] = { TRAIL_SINK,      TRAIL_ENDPOINT, TRAIL_TOPIC,
                                         TRAIL_PARTITION, TRAIL_OFFSET,   TRAIL_TIMESTAMP };
    static const struct siphash_key key;
    struct siphash h = siphash_begin(&key);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        siphash_add(&h, record_header(r, names[i]));
    siphash_add(&h, r->key);
    siphash_add(&h, r->value);
    return siphash_end(&h);
}

void replaced_note(struct replaced *r, const struct record *copy)
{
    struct str topic, partition, offset = record_header(copy, TRAIL_REPLACES);
    int64_t number, n;
    if (!str_cut(&offset, '/', &topic) || !str_cut(&offset, '/', &partition) || !str_to_i64(partition, &number)
        || !str_to_i64(offset, &n) || n < 0)
        return;
    struct replaced_place *p = replaced_place(r, topic, number);
    if (!p || r->count == REPLACED_MOST || n < p->position || ranges_skip(&p->finished, n) != n)
        return;
    if (p->count == p->cap)
        p->at = mem_grow(p->at, p->cap = p->cap ? p->cap * 2 : 64, sizeof *p->at);
    p->at[p->count++] = (struct replaced_one){ n, replaced_sum(copy) };
    r->count++;
}

static int replaced_compare(const void *a, const void *b)
{
    const struct replaced_one *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

void replaced_end(struct replaced *r)
{
    for (size_t i = 0; i < r->place_count; i++)
        if (r->places[i].count > 0)
            qsort(r->places[i].at, r->places[i].count, sizeof *r->places[i].at, replaced_compare);
}

bool replaced_has(const struct replaced *r, const struct record *record)
{
    const struct replaced_place *p = r->count ? replaced_place(r, record->topic, record->partition) : NULL;
    if (!p || p->count == 0)
        return false;
    const struct replaced_one wanted = { record->offset, replaced_sum(record) };
    const struct replaced_one *one = bsearch(&wanted, p->at, p->count, sizeof *p->at, replaced_compare);
    while (one && one > p->at && one[-1].offset == record->offset) /* several copies may name it */
        one--;
    for (; one && one < p->at + p->count && one->offset == record->offset; one++)
        if (one->sum.d[0] == wanted.sum.d[0] && one->sum.d[1] == wanted.sum.d[1])
            return true;
    return false;
}

void replaced_free(struct replaced *r)
{
    for (size_t i = 0; i < r->place_count; i++) {
        free(r->places[i].topic);
        ranges_free(&r->places[i].finished);
        free(r->places[i].at);
    }
    free(r->places);
    *r = (struct replaced){ 0 };
}
