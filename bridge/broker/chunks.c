/* SPDX-License-Identifier: MIT */
/* Stretches of logs, most recently used first. */
#include "bridge/broker/chunks.h"
#include <stdlib.h>
#include "bridge/lib/mem.h"

enum { CHUNKS_MOST = 256 };

struct chunk {
    struct chunk *next;
    const void *of;
    int64_t from, to;
    size_t bytes, count;
    bool taken;
    struct record *at[];
};

struct chunks {
    struct chunk *first;
    size_t count, untaken, bytes, most_bytes;
};

struct chunks *chunks_new(size_t most_bytes)
{
    struct chunks *c = mem_alloc(sizeof *c);
    c->most_bytes = most_bytes;
    return c;
}

static void chunks_drop(struct chunks *c, struct chunk **place)
{
    struct chunk *gone = *place;
    *place = gone->next;
    c->count--;
    c->untaken -= !gone->taken;
    c->bytes -= gone->bytes;
    for (size_t i = 0; i < gone->count; i++)
        record_free(gone->at[i]);
    free(gone);
}

void chunks_free(struct chunks *c)
{
    while (c->first)
        chunks_drop(c, &c->first);
    free(c);
}

size_t chunks_untaken(const struct chunks *c)
{
    return c->untaken;
}

void chunks_forget(struct chunks *c, const void *of)
{
    for (struct chunk **place = &c->first; *place;)
        if ((*place)->of == of)
            chunks_drop(c, place);
        else
            place = &(*place)->next;
}

size_t record_weight(const struct record *r)
{
    return sizeof *r + r->key.n + r->value.n + r->header_count * (2 * sizeof *r->headers);
}

/* The chunk that has the offset, now the first; NULL: none has. */
static struct chunk *chunks_find(struct chunks *c, const void *of, int64_t offset)
{
    for (struct chunk **place = &c->first; *place; place = &(*place)->next) {
        struct chunk *found = *place;
        if (found->of != of || offset < found->from || offset >= found->to)
            continue;
        c->untaken -= !found->taken;
        found->taken = true;
        *place = found->next;
        found->next = c->first;
        c->first = found;
        return found;
    }
    return NULL;
}

/* The first record at that offset or later. */
static size_t chunks_index(const struct chunk *c, int64_t offset)
{
    size_t low = 0, high = c->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (c->at[middle]->offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t chunks_take(struct chunks *c, const void *of, int64_t *next, int64_t until, struct record **out, size_t room,
                   size_t bytes)
{
    size_t n = 0, weight = 0;
    for (struct chunk *from; *next < until && (from = chunks_find(c, of, *next));) {
        for (size_t i = chunks_index(from, *next); i < from->count && from->at[i]->offset < until; i++) {
            if (n == room || (n > 0 && weight + record_weight(from->at[i]) > bytes))
                return n;
            weight += record_weight(from->at[i]);
            *next = from->at[i]->offset + 1;
            out[n++] = record_ref(from->at[i]);
        }
        *next = from->to < until ? from->to : until;
    }
    return n;
}

bool chunks_look(struct chunks *c, const void *of, int64_t offset, const struct record **out)
{
    const struct chunk *found = chunks_find(c, of, offset);
    size_t i = found ? chunks_index(found, offset) : 0;
    *out = found && i < found->count ? found->at[i] : NULL;
    return found != NULL;
}

void chunks_put(struct chunks *c, const void *of, int64_t from, int64_t to, struct record *const *records, size_t count)
{
    struct chunk *fresh = mem_alloc(sizeof *fresh + count * sizeof(struct record *));
    *fresh = (struct chunk){
        .next = c->first, .of = of, .from = from, .to = to, .bytes = sizeof *fresh, .count = count
    };
    for (size_t i = 0; i < count; i++) {
        fresh->at[i] = records[i];
        fresh->bytes += record_weight(records[i]);
    }
    c->first = fresh;
    c->count++;
    c->untaken++;
    c->bytes += fresh->bytes;
    while (c->first->next && (c->bytes > c->most_bytes || c->count > CHUNKS_MOST)) {
        struct chunk **last = &c->first;
        while ((*last)->next)
            last = &(*last)->next;
        chunks_drop(c, last);
    }
}
