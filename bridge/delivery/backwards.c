/* SPDX-License-Identifier: MIT */
/* Pages of a topic, read in windows from its end. */
#include "bridge/delivery/backwards.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/mem.h"

enum {
    BACKWARDS_WINDOW = 2000, /* records of a partition in the first window */
    BACKWARDS_LARGEST = 50000,
    BACKWARDS_SCAN = 200000, /* records that one page looks at */
    BACKWARDS_PARTITIONS = 1024,
    BACKWARDS_NEXT = 32 * BACKWARDS_PARTITIONS,
};

struct backwards_part {
    int32_t partition;
    int64_t start, from, until; /* what is kept; this window: from `from` to before `until` */
    bool known;                 /* start and from are of now */
};

struct backwards_entry {
    json_t *json;
    int32_t partition;
    int64_t offset, stored_ms;
};

struct backwards_page {
    const struct backwards *b;
    struct backwards_part *parts;
    size_t part_count;
    struct backwards_entry *entries; /* of this window */
    size_t entry_count, entry_cap;
    int64_t window, scanned;
    bool ended; /* go_on() said so */
};

static struct backwards_part *backwards_part(struct backwards_page *p, int32_t partition)
{
    for (size_t i = 0; i < p->part_count; i++)
        if (p->parts[i].partition == partition)
            return &p->parts[i];
    p->parts = mem_grow(p->parts, p->part_count + 1, sizeof *p->parts);
    p->parts[p->part_count] = (struct backwards_part){ .partition = partition, .until = -1 };
    return &p->parts[p->part_count++];
}

/* "0:1234,3:88" */
static bool backwards_read_after(struct backwards_page *p, const char *after, struct err *e)
{
    struct str rest = str_of(after), one, number;
    while (str_cut(&rest, ',', &one)) {
        uint64_t partition, offset;
        struct str value = one;
        if (!str_cut(&value, ':', &number) || !str_to_u64(number, &partition) || partition >= BACKWARDS_PARTITIONS
            || !value.at || !str_to_u64(value, &offset) || offset > INT64_MAX)
            return err_set(e, "after: is nothing that `next` said");
        backwards_part(p, (int32_t)partition)->until = (int64_t)offset;
    }
    return true;
}

static int64_t backwards_begin(void *ctx, const struct topic_partition *at, int64_t start, int64_t end)
{
    struct backwards_page *p = ctx;
    struct backwards_part *part = backwards_part(p, at->partition);
    part->start = start;
    if (part->until < 0 || part->until > end)
        part->until = end;
    part->from = part->until - start > p->window ? part->until - p->window : start;
    if (part->from > part->until)
        part->from = part->until;
    part->known = true;
    return part->from;
}

static bool backwards_record(void *ctx, const struct record *r)
{
    struct backwards_page *p = ctx;
    const struct backwards_part *part = backwards_part(p, r->partition);
    if (r->offset < part->until) {
        p->scanned++;
        json_t *json = p->b->take(p->b->ctx, r);
        if (json) {
            if (p->entry_count == p->entry_cap) {
                p->entry_cap = p->entry_cap ? 2 * p->entry_cap : 64;
                p->entries = mem_grow(p->entries, p->entry_cap, sizeof *p->entries);
            }
            p->entries[p->entry_count++] = (struct backwards_entry){ json, r->partition, r->offset, r->timestamp_ms };
        }
    }
    p->ended = !p->b->go_on(p->b->ctx);
    return !p->ended && !(p->part_count == 1 && r->offset + 1 >= part->until);
}

static int backwards_newest_first(const void *a, const void *b)
{
    const struct backwards_entry *x = a, *y = b;
    if (x->stored_ms != y->stored_ms)
        return x->stored_ms > y->stored_ms ? -1 : 1;
    if (x->partition != y->partition)
        return x->partition < y->partition ? -1 : 1;
    return (y->offset > x->offset) - (y->offset < x->offset);
}

/* Moves what the window found to the items, as far as there is room; then the page goes on before that. */
static void backwards_take(struct backwards_page *p, json_t *items)
{
    bool full = false;
    if (p->entry_count)
        qsort(p->entries, p->entry_count, sizeof *p->entries, backwards_newest_first);
    for (size_t i = 0; i < p->entry_count; i++) {
        struct backwards_entry *en = &p->entries[i];
        struct backwards_part *part = backwards_part(p, en->partition);
        full = full || json_array_size(items) >= p->b->limit;
        if (full) {
            json_decref(en->json);
            continue;
        }
        json_array_append_new(items, en->json);
        if (en->offset < part->until)
            part->until = en->offset;
    }
    p->entry_count = 0;
    if (full || p->ended) /* of a window that was not read whole nothing is passed over */
        return;
    for (size_t i = 0; i < p->part_count; i++)
        if (p->parts[i].known)
            p->parts[i].until = p->parts[i].from;
}

/* Is something left before what was read? */
static bool backwards_has_more(const struct backwards_page *p)
{
    for (size_t i = 0; i < p->part_count; i++)
        if (p->parts[i].known && p->parts[i].until > p->parts[i].start)
            return true;
    return false;
}

static bool backwards_window(struct backwards_page *p, json_t *items, struct err *e)
{
    const struct look_options o = {
        .topic = p->b->topic, .since_ms = p->b->since_ms, .may_lack = true, .begin = backwards_begin, .ctx = p
    };
    if (!look_once(p->b->broker, &o, backwards_record, p, e))
        return false;
    backwards_take(p, items);
    p->window = p->window * 4 < BACKWARDS_LARGEST ? p->window * 4 : BACKWARDS_LARGEST;
    return true;
}

static json_t *backwards_next(const struct backwards_page *p)
{
    struct buf text = buf_new(BACKWARDS_NEXT);
    for (size_t i = 0; i < p->part_count; i++)
        if (p->parts[i].known)
            buf_printf(&text, "%s%" PRId32 ":%" PRId64, text.n ? "," : "", p->parts[i].partition, p->parts[i].until);
    json_t *next = json_stringn(text.at, text.n);
    buf_free(&text);
    return next;
}

json_t *backwards_page(const struct backwards *b, struct err *e)
{
    struct backwards_page p = { .b = b, .window = BACKWARDS_WINDOW };
    json_t *items = json_array();
    bool good = !b->after || backwards_read_after(&p, b->after, e);
    if (good)
        do
            good = backwards_window(&p, items, e);
        while (good && !p.ended && backwards_has_more(&p) && json_array_size(items) < b->limit
               && p.scanned < BACKWARDS_SCAN);
    json_t *page = good ? json_pack("{s:O,s:o}", "items", items, "next",
                                    backwards_has_more(&p) ? backwards_next(&p) : json_null())
                        : NULL;
    for (size_t i = 0; i < p.entry_count; i++)
        json_decref(p.entries[i].json);
    free(p.entries);
    free(p.parts);
    json_decref(items);
    return page;
}
