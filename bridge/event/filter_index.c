/* SPDX-License-Identifier: MIT */
/* A hash table of the conditions that filters stand below. */
#include "bridge/event/filter_index.h"
#include <stdlib.h>
#include "bridge/lib/mem.h"

/* A condition, and the filters below it. */
struct index_key {
    struct index_key *next; /* in its bucket */
    uint64_t hash;
    size_t attribute;
    bool prefix;
    char *text;
    size_t n;
    size_t *numbers, count, room;
};

struct index_length { /* of prefixes */
    size_t n, keys;
};

struct index_attribute {
    char *name; /* NULL: free */
    size_t keys;
    struct index_length *lengths; /* rising */
    size_t length_count;
};

struct index_filter {
    bool used;
    struct index_key **keys; /* that it stands below; none: it is among the others */
    size_t key_count;
    size_t other;   /* where among these */
    uint64_t asked; /* for which event */
};

struct filter_index {
    struct index_key **buckets;
    size_t mask, key_count; /* never more keys than buckets */
    struct index_attribute *attributes;
    size_t attribute_count;
    struct index_filter *filters;
    size_t filter_count;
    size_t *others, other_count; /* filters that are asked about every event */
    struct filter_group *group;  /* all of them, by the same numbers */
    size_t adding;
    uint64_t events;
};

struct index_search {
    struct filter_index *x;
    void (*each)(void *ctx, size_t number);
    void *ctx;
    size_t asked;
};

enum { INDEX_FIRST = 64 }; /* buckets at first, a power of two */

struct filter_index *filter_index_new(void)
{
    struct filter_index *x = mem_alloc(sizeof *x);
    x->mask = INDEX_FIRST - 1;
    x->buckets = mem_alloc(INDEX_FIRST * sizeof(struct index_key *));
    x->group = filter_group_new();
    return x;
}

/* ---- conditions ---- */

/* A hash that grows byte by byte, so that those of all beginnings of a text are found on one way through it. */
static uint64_t index_hash_more(uint64_t h, char c)
{
    return (h ^ (unsigned char)c) * 0x100000001b3u;
}

static uint64_t index_hash_begin(size_t attribute)
{
    return 0xcbf29ce484222325u ^ (attribute + 1) * 0x9e3779b97f4a7c15u;
}

static uint64_t index_hash_end(uint64_t h, bool prefix)
{
    h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdu;
    h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53u;
    return (h ^ (h >> 33)) + prefix;
}

static uint64_t index_hash(size_t attribute, bool prefix, struct str text)
{
    uint64_t h = index_hash_begin(attribute);
    for (size_t i = 0; i < text.n; i++)
        h = index_hash_more(h, text.at[i]);
    return index_hash_end(h, prefix);
}

static struct index_key *index_look(const struct filter_index *x, uint64_t hash, size_t attribute, bool prefix,
                                    struct str text)
{
    for (struct index_key *k = x->buckets[hash & x->mask]; k; k = k->next)
        if (k->hash == hash && k->attribute == attribute && k->prefix == prefix
            && str_eq(text, (struct str){ k->text, k->n }))
            return k;
    return NULL;
}

static void index_grow(struct filter_index *x)
{
    size_t mask = x->mask * 2 + 1;
    struct index_key **buckets = mem_alloc((mask + 1) * sizeof(struct index_key *));
    for (size_t i = 0; i <= x->mask; i++)
        for (struct index_key *k = x->buckets[i], *next; k; k = next) {
            next = k->next;
            k->next = buckets[k->hash & mask];
            buckets[k->hash & mask] = k;
        }
    free(x->buckets);
    x->buckets = buckets;
    x->mask = mask;
}

/* The attribute's number; that of none: attribute_count. */
static size_t index_find_attribute(const struct filter_index *x, struct str name)
{
    size_t i = 0;
    while (i < x->attribute_count && (!x->attributes[i].name || !str_eq(str_of(x->attributes[i].name), name)))
        i++;
    return i;
}

static size_t index_attribute(struct filter_index *x, struct str name)
{
    size_t i = index_find_attribute(x, name);
    if (i < x->attribute_count)
        return i;
    i = 0;
    while (i < x->attribute_count && x->attributes[i].name)
        i++;
    if (i == x->attribute_count)
        x->attributes = mem_grow(x->attributes, ++x->attribute_count, sizeof *x->attributes);
    x->attributes[i] = (struct index_attribute){ .name = str_dup(name) };
    return i;
}

/* One key more (1) or fewer (-1) has a prefix of that length. */
static void index_count_length(struct index_attribute *a, size_t n, int more)
{
    size_t i = 0;
    while (i < a->length_count && a->lengths[i].n < n)
        i++;
    if (i == a->length_count || a->lengths[i].n != n) {
        a->lengths = mem_grow(a->lengths, a->length_count + 1, sizeof *a->lengths);
        memmove(a->lengths + i + 1, a->lengths + i, (a->length_count - i) * sizeof *a->lengths);
        a->lengths[i] = (struct index_length){ .n = n };
        a->length_count++;
    }
    a->lengths[i].keys += (size_t)more;
    if (a->lengths[i].keys)
        return;
    a->length_count--;
    memmove(a->lengths + i, a->lengths + i + 1, (a->length_count - i) * sizeof *a->lengths);
}

static struct index_key *index_key(struct filter_index *x, const struct filter_condition *c)
{
    size_t attribute = index_attribute(x, c->attribute);
    uint64_t hash = index_hash(attribute, c->prefix, c->value);
    struct index_key *k = index_look(x, hash, attribute, c->prefix, c->value);
    if (k)
        return k;
    if (x->key_count++ > x->mask)
        index_grow(x);
    k = mem_alloc(sizeof *k);
    *k = (struct index_key){ .next = x->buckets[hash & x->mask],
                             .hash = hash,
                             .attribute = attribute,
                             .prefix = c->prefix,
                             .text = str_dup(c->value),
                             .n = c->value.n };
    x->buckets[hash & x->mask] = k;
    x->attributes[attribute].keys++;
    if (c->prefix)
        index_count_length(&x->attributes[attribute], c->value.n, 1);
    return k;
}

static void index_free_key(struct index_key *k)
{
    free(k->numbers);
    free(k->text);
    free(k);
}

static void index_free_attribute(struct index_attribute *a)
{
    free(a->name);
    free(a->lengths);
    *a = (struct index_attribute){ 0 };
}

/* Nobody stands below it any more. */
static void index_drop_key(struct filter_index *x, struct index_key *k)
{
    struct index_attribute *a = &x->attributes[k->attribute];
    struct index_key **at = &x->buckets[k->hash & x->mask];
    while (*at != k)
        at = &(*at)->next;
    *at = k->next;
    x->key_count--;
    if (k->prefix)
        index_count_length(a, k->n, -1);
    if (--a->keys == 0)
        index_free_attribute(a);
    index_free_key(k);
}

/* ---- filters come and go ---- */

/* What it would cost to stand below that condition: how many others do, who are asked with it, and only then how many
 * conditions there are, of which a beginning holds more often than a whole value. */
static size_t index_cost(void *ctx, const struct filter_condition *c)
{
    const struct filter_index *x = ctx;
    size_t attribute = index_find_attribute(x, c->attribute), once = c->prefix ? 2 : 1;
    if (attribute == x->attribute_count)
        return once;
    uint64_t hash = index_hash(attribute, c->prefix, c->value);
    const struct index_key *k = index_look(x, hash, attribute, c->prefix, c->value);
    return once + (k ? k->count * 2 * FILTER_NODES : 0);
}

static void index_add_key(void *ctx, const struct filter_condition *c)
{
    struct filter_index *x = ctx;
    struct index_filter *f = &x->filters[x->adding];
    struct index_key *k = index_key(x, c);
    if (k->count && k->numbers[k->count - 1] == x->adding)
        return; /* the same condition stands in the filter twice */
    if (k->count == k->room) {
        k->room = k->room ? 2 * k->room : 1;
        k->numbers = mem_grow(k->numbers, k->room, sizeof *k->numbers);
    }
    k->numbers[k->count++] = x->adding;
    f->keys = mem_grow(f->keys, f->key_count + 1, sizeof *f->keys);
    f->keys[f->key_count++] = k;
}

size_t filter_index_add(struct filter_index *x, const struct filter *f)
{
    size_t i = x->adding = filter_group_add(x->group, f);
    if (i == x->filter_count)
        x->filters = mem_grow(x->filters, ++x->filter_count, sizeof *x->filters);
    x->filters[i] = (struct index_filter){ .used = true };
    if (filter_cover(f, index_cost, index_add_key, x))
        return i;
    x->others = mem_grow(x->others, x->other_count + 1, sizeof *x->others);
    x->filters[i].other = x->other_count;
    x->others[x->other_count++] = i;
    return i;
}

static void index_leave_key(struct filter_index *x, struct index_key *k, size_t number)
{
    size_t i = 0;
    while (k->numbers[i] != number)
        i++;
    k->numbers[i] = k->numbers[--k->count];
    if (k->count == 0)
        index_drop_key(x, k);
}

void filter_index_remove(struct filter_index *x, size_t number)
{
    struct index_filter *f = &x->filters[number];
    CHECK(number < x->filter_count && f->used);
    for (size_t i = 0; i < f->key_count; i++)
        index_leave_key(x, f->keys[i], number);
    if (f->key_count == 0) {
        size_t last = x->others[--x->other_count];
        x->others[f->other] = last;
        x->filters[last].other = f->other;
    }
    free(f->keys);
    *f = (struct index_filter){ 0 };
    filter_group_remove(x->group, number);
}

void filter_index_free(struct filter_index *x)
{
    for (size_t i = 0; x && i <= x->mask; i++)
        for (struct index_key *k = x->buckets[i], *next; k; k = next) {
            next = k->next;
            index_free_key(k);
        }
    if (!x)
        return;
    for (size_t i = 0; i < x->attribute_count; i++)
        index_free_attribute(&x->attributes[i]);
    for (size_t i = 0; i < x->filter_count; i++)
        free(x->filters[i].keys);
    filter_group_free(x->group);
    free(x->attributes);
    free(x->filters);
    free(x->buckets);
    free(x->others);
    free(x);
}

/* ---- an event ---- */

static void index_ask(struct index_search *s, size_t number)
{
    struct index_filter *f = &s->x->filters[number];
    if (f->asked == s->x->events)
        return;
    f->asked = s->x->events;
    s->asked++;
    if (filter_group_match(s->x->group, number))
        s->each(s->ctx, number);
}

static void index_ask_below(struct index_search *s, uint64_t hash, size_t attribute, bool prefix, struct str text)
{
    const struct index_key *k = index_look(s->x, hash, attribute, prefix, text);
    for (size_t i = 0; k && i < k->count; i++)
        index_ask(s, k->numbers[i]);
}

/* The whole value, and those of its beginnings that have the length of some prefix. */
static void index_ask_attribute(struct index_search *s, size_t attribute, struct str value)
{
    const struct index_attribute *a = &s->x->attributes[attribute];
    uint64_t h = index_hash_begin(attribute);
    size_t n = 0;
    for (size_t i = 0; i < a->length_count && a->lengths[i].n <= value.n; i++) {
        while (n < a->lengths[i].n)
            h = index_hash_more(h, value.at[n++]);
        index_ask_below(s, index_hash_end(h, true), attribute, true, (struct str){ value.at, n });
    }
    while (n < value.n)
        h = index_hash_more(h, value.at[n++]);
    index_ask_below(s, index_hash_end(h, false), attribute, false, value);
}

size_t filter_index_find(struct filter_index *x, const struct event *ev, void (*each)(void *ctx, size_t number),
                         void *ctx)
{
    struct index_search s = { .x = x, .each = each, .ctx = ctx };
    x->events++;
    filter_group_see(x->group, ev);
    for (size_t i = 0; i < x->attribute_count; i++) {
        struct str value = x->attributes[i].name ? event_attribute(ev, str_of(x->attributes[i].name)) : STR_ABSENT;
        if (value.at)
            index_ask_attribute(&s, i, value);
    }
    for (size_t i = 0; i < x->other_count; i++)
        index_ask(&s, x->others[i]);
    return s.asked;
}
