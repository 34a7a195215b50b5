/* SPDX-License-Identifier: MIT */
/* Which filters an event may meet, found by its type. */
#include "bridge/delivery/index.h"
#include <stdlib.h>
#include "bridge/lib/mem.h"

/* A type, or the beginning of one, and the filters that ask for it. */
struct index_type {
    struct index_type *next; /* in its bucket */
    uint64_t hash;
    bool prefix;
    char *text;
    size_t n;
    size_t *numbers, count;
};

struct filter_index {
    struct index_type **buckets;
    size_t mask, count; /* count: types; never more than buckets */
    size_t *lengths;    /* of the prefixes there are, rising */
    size_t length_count;
    size_t *others, other_count;  /* filters that may match any type */
    size_t number;                /* of the filter that is being added */
    struct filter_group *filters; /* all of them */
};

enum { INDEX_FIRST = 64 }; /* buckets at first, a power of two */

struct filter_index *index_new(void)
{
    struct filter_index *x = mem_alloc(sizeof *x);
    x->mask = INDEX_FIRST - 1;
    x->buckets = mem_alloc(INDEX_FIRST * sizeof(struct index_type *));
    x->filters = filter_group_new();
    return x;
}

static uint64_t index_hash(bool prefix, struct str text)
{
    return str_hash(text) ^ (prefix ? UINT64_C(0x9e3779b97f4a7c15) : 0);
}

static struct index_type *index_look(const struct filter_index *x, bool prefix, struct str text)
{
    uint64_t hash = index_hash(prefix, text);
    for (struct index_type *t = x->buckets[hash & x->mask]; t; t = t->next)
        if (t->hash == hash && t->prefix == prefix && str_eq(text, (struct str){ t->text, t->n }))
            return t;
    return NULL;
}

static void index_grow(struct filter_index *x)
{
    size_t mask = x->mask * 2 + 1;
    struct index_type **buckets = mem_alloc((mask + 1) * sizeof(struct index_type *));
    for (size_t i = 0; i <= x->mask; i++)
        for (struct index_type *t = x->buckets[i], *next; t; t = next) {
            next = t->next;
            t->next = buckets[t->hash & mask];
            buckets[t->hash & mask] = t;
        }
    free(x->buckets);
    x->buckets = buckets;
    x->mask = mask;
}

static void index_add_length(struct filter_index *x, size_t n)
{
    size_t i = 0;
    while (i < x->length_count && x->lengths[i] < n)
        i++;
    if (i < x->length_count && x->lengths[i] == n)
        return;
    x->lengths = mem_grow(x->lengths, x->length_count + 1, sizeof(size_t));
    memmove(x->lengths + i + 1, x->lengths + i, (x->length_count - i) * sizeof(size_t));
    x->lengths[i] = n;
    x->length_count++;
}

static struct index_type *index_type_of(struct filter_index *x, bool prefix, struct str text)
{
    struct index_type *t = index_look(x, prefix, text);
    if (t)
        return t;
    if (x->count++ > x->mask)
        index_grow(x);
    t = mem_alloc(sizeof *t);
    *t = (struct index_type){ .hash = index_hash(prefix, text), .prefix = prefix, .text = str_dup(text), .n = text.n };
    t->next = x->buckets[t->hash & x->mask];
    x->buckets[t->hash & x->mask] = t;
    if (prefix)
        index_add_length(x, text.n);
    return t;
}

static void index_add_type(void *ctx, bool prefix, struct str text)
{
    struct filter_index *x = ctx;
    struct index_type *t = index_type_of(x, prefix, text);
    t->numbers = mem_grow(t->numbers, t->count + 1, sizeof(size_t));
    t->numbers[t->count++] = x->number;
}

void index_add(struct filter_index *x, const struct filter *f)
{
    x->number = filter_group_add(x->filters, f);
    if (filter_types(f, index_add_type, x))
        return;
    x->others = mem_grow(x->others, x->other_count + 1, sizeof(size_t));
    x->others[x->other_count++] = x->number;
}

static void index_each(const struct index_type *t, void (*each)(void *ctx, size_t number), void *ctx)
{
    for (size_t i = 0; t && i < t->count; i++)
        each(ctx, t->numbers[i]);
}

void index_find(struct filter_index *x, const struct event *ev, void (*each)(void *ctx, size_t number), void *ctx)
{
    struct str type = ev->type;
    filter_group_see(x->filters, ev);
    index_each(index_look(x, false, type), each, ctx);
    for (size_t i = 0; i < x->length_count && x->lengths[i] <= type.n; i++)
        index_each(index_look(x, true, (struct str){ type.at, x->lengths[i] }), each, ctx);
    for (size_t i = 0; i < x->other_count; i++)
        each(ctx, x->others[i]);
}

bool index_match(struct filter_index *x, size_t number)
{
    return filter_group_match(x->filters, number);
}

void index_free(struct filter_index *x)
{
    for (size_t i = 0; x && i <= x->mask; i++)
        for (struct index_type *t = x->buckets[i], *next; t; t = next) {
            next = t->next;
            free(t->numbers);
            free(t->text);
            free(t);
        }
    if (!x)
        return;
    filter_group_free(x->filters);
    free(x->buckets);
    free(x->lengths);
    free(x->others);
    free(x);
}
