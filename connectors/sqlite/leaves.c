/* SPDX-License-Identifier: MIT */
/* A table's leaves: which of them have to be read again. The format: sqlite.org/fileformat2.html, "B-tree Pages". */
#include "connectors/sqlite/leaves.h"
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/mem.h"

enum { TREE_INNER = 5, TREE_LEAF = 13, INNER_HEADER = 12, LEAF_HEADER = 8, LEAVES_LOOKS = 16 };

/* ---- what is known ---- */

static struct leaf *leaves_slot(const struct leaves *l, uint32_t page)
{
    size_t i = (page * 0x9e3779b1u) & (l->cap - 1);
    while (l->slots[i].page && l->slots[i].page != page)
        i = (i + 1) & (l->cap - 1);
    return &l->slots[i];
}

static struct leaf *leaves_find(const struct leaves *l, uint32_t page)
{
    struct leaf *leaf = l->cap ? leaves_slot(l, page) : NULL;
    return leaf && leaf->page ? leaf : NULL;
}

/* All that this pass has met, or (`all`) everything, in a table of that size. */
static void leaves_resize(struct leaves *l, size_t cap, bool all)
{
    struct leaves next = { .cap = cap };
    next.slots = mem_alloc(cap * sizeof *next.slots);
    for (size_t i = 0; i < l->cap; i++)
        if (l->slots[i].page && (all || l->slots[i].pass == l->pass)) {
            *leaves_slot(&next, l->slots[i].page) = l->slots[i];
            next.count++;
        }
    free(l->slots);
    l->slots = next.slots;
    l->cap = cap;
    l->count = next.count;
}

static void leaves_put(struct leaves *l, const struct leaf *leaf)
{
    if ((l->count + 1) * 4 > l->cap * 3)
        leaves_resize(l, l->cap ? l->cap * 2 : 64, true);
    struct leaf *slot = leaves_slot(l, leaf->page);
    l->count += !slot->page;
    *slot = *leaf;
}

void leaves_forget(struct leaves *l)
{
    free(l->slots);
    l->slots = NULL;
    l->count = l->cap = 0;
    l->walking = l->clean = false;
}

void leaves_free(struct leaves *l)
{
    leaves_forget(l);
    for (size_t i = 0; i < LEAVES_DEPTH; i++)
        free(l->levels[i].page);
    free(l->page);
    *l = (struct leaves){ 0 };
}

void leaves_touch(struct leaves *l, uint32_t page, bool by_journal)
{
    struct leaf *leaf = leaves_find(l, page);
    if (!leaf)
        return;
    if (by_journal && leaf->inner && leaf->generation)
        for (size_t i = 0; i < l->cap; i++)
            l->slots[i].generation = 0;
    leaf->generation = 0;
    l->touched = true;
    l->clean = false;
}

/* Pages of another generation may all have changed. */
static void leaves_follow(struct leaves *l, const struct pages *p)
{
    if (l->generation == p->generation)
        return;
    l->generation = p->generation;
    l->touched = true;
    l->clean = false;
}

/* ---- pages as they are written ---- */

static uint32_t leaves_u16(const uint8_t *at)
{
    return (uint32_t)at[0] << 8 | at[1];
}

static uint32_t leaves_u32(const uint8_t *at)
{
    return leaves_u16(at) << 16 | leaves_u16(at + 2);
}

/* At most 9 bytes; NULL: it does not end before `end`. */
static const uint8_t *leaves_varint(const uint8_t *at, const uint8_t *end, uint64_t *out)
{
    *out = 0;
    for (int i = 0; i < 9 && at < end; i++, at++) {
        if (i == 8) {
            *out = *out << 8 | *at;
            return at + 1;
        }
        *out = *out << 7 | (*at & 0x7f);
        if (!(*at & 0x80))
            return at + 1;
    }
    return NULL;
}

/* The cell of that number, behind a header of so many bytes; NULL: it is not on the page. */
static const uint8_t *leaves_cell(const uint8_t *page, uint32_t usable, uint32_t header, uint32_t i)
{
    if (header + 2 * i + 2 > usable)
        return NULL;
    uint32_t at = leaves_u16(page + header + (size_t)2 * i);
    return at >= header && at < usable ? page + at : NULL;
}

/* The child of that number of a page above leaves, and the largest rowid below it. */
static bool leaves_child(const struct leaves_level *level, uint32_t usable, uint32_t i, uint32_t *page, int64_t *to)
{
    if (i == level->cells) {
        *page = leaves_u32(level->page + 8);
        *to = level->above;
        return true;
    }
    uint64_t rowid;
    const uint8_t *cell = leaves_cell(level->page, usable, INNER_HEADER, i);
    if (!cell || cell + 4 > level->page + usable || !leaves_varint(cell + 4, level->page + usable, &rowid))
        return false;
    *page = leaves_u32(cell);
    *to = (int64_t)rowid;
    return *to <= level->above;
}

struct leaves_look { /* of one leaf */
    int64_t first, last;
    uint32_t rows;
    bool whole; /* nothing of its rows stands elsewhere */
};

/* Its rows grow, and lie below `to`. */
static bool leaves_look(const uint8_t *page, uint32_t usable, int64_t to, struct leaves_look *out)
{
    *out = (struct leaves_look){ .rows = leaves_u16(page + 3), .whole = true };
    if (page[0] != TREE_LEAF)
        return false;
    for (uint32_t i = 0; i < out->rows; i++) {
        uint64_t payload, rowid;
        const uint8_t *cell = leaves_cell(page, usable, LEAF_HEADER, i), *end = page + usable;
        const uint8_t *behind = cell ? leaves_varint(cell, end, &payload) : NULL;
        if (!behind || !leaves_varint(behind, end, &rowid))
            return false;
        if (i && (int64_t)rowid <= out->last)
            return false;
        out->last = (int64_t)rowid;
        out->first = i ? out->first : out->last;
        out->whole = out->whole && payload <= usable - 35;
    }
    return out->rows == 0 || out->last <= to;
}

/* The pages of a row outside the tree, from that one on; so many at most. */
static bool leaves_learn_chain(struct leaves *l, struct pages *p, uint32_t page, uint64_t count, uint8_t *space)
{
    for (; count > 0 && page; count--) {
        if (l->chain++ > p->count || !pages_read(p, page, space))
            return false;
        leaves_put(l, &(struct leaf){ .page = page, .pass = l->pass, .generation = p->generation, .inner = true });
        page = leaves_u32(space);
    }
    return count == 0;
}

/* The bytes of a row that stand on its leaf. */
static uint64_t leaves_local(uint32_t usable, uint64_t payload)
{
    uint64_t least = ((uint64_t)usable - 12) * 32 / 255 - 23, most = usable - 35;
    uint64_t local = least + (payload - least) % (usable - 4);
    return local <= most ? local : least;
}

/* What stands outside the tree of the rows of the leaf that was read last. */
static bool leaves_learn_chains(struct leaves *l, struct pages *p, uint32_t rows)
{
    const uint8_t *end = l->page + p->usable;
    uint8_t *space = mem_alloc(p->size);
    bool good = true;
    for (uint32_t i = 0; good && i < rows; i++) {
        uint64_t payload = 0, rowid;
        const uint8_t *cell = leaves_cell(l->page, p->usable, LEAF_HEADER, i);
        cell = cell ? leaves_varint(cell, end, &payload) : NULL;
        cell = cell ? leaves_varint(cell, end, &rowid) : NULL;
        if (!cell || payload <= p->usable - 35)
            continue;
        uint64_t local = leaves_local(p->usable, payload), outside = p->usable - 4;
        good = local + 4 <= (uint64_t)(end - cell)
               && leaves_learn_chain(l, p, leaves_u32(cell + local), (payload - local + outside - 1) / outside, space);
    }
    free(space);
    return good;
}

/* ---- the walk ---- */

bool leaves_are_clean(struct leaves *l, const struct pages *p, const struct leaves_of *of)
{
    if (!p->good || l->root != of->root || l->schema != of->schema)
        return false;
    leaves_follow(l, p);
    return l->clean;
}

void leaves_begin(struct leaves *l, const struct pages *p, const struct leaves_of *of)
{
    if (l->walking || l->root != of->root || l->schema != of->schema)
        leaves_forget(l);
    if (p->good)
        leaves_follow(l, p);
    l->root = of->root;
    l->schema = of->schema;
    l->start = of->start;
    l->pass = of->pass;
    l->walking = true;
    l->unsure = l->touched = l->skipped = l->clean = l->whole = false;
}

static void leaves_fit_pages(struct leaves *l, const struct pages *p)
{
    if (l->page_size == p->size)
        return;
    l->page_size = p->size;
    free(l->page);
    l->page = mem_alloc(p->size);
    for (size_t i = 0; i < LEAVES_DEPTH; i++) {
        free(l->levels[i].page);
        l->levels[i].page = NULL;
    }
}

/* The page that was read last stands above leaves: its children are next. */
static bool leaves_descend(struct leaves *l, const struct pages *p, uint32_t page, int64_t above)
{
    if (l->depth == LEAVES_DEPTH || l->page[0] != TREE_INNER)
        return false;
    struct leaves_level *level = &l->levels[l->depth++];
    uint8_t *free_page = level->page ? level->page : mem_alloc(p->size);
    *level = (struct leaves_level){ .page = l->page, .cells = leaves_u16(l->page + 3), .above = above };
    l->page = free_page;
    leaves_put(l, &(struct leaf){ .page = page, .pass = l->pass, .generation = p->generation, .inner = true });
    return true;
}

struct leaves_place {
    uint32_t page; /* 0: the walk is at its end */
    int64_t to;    /* the largest rowid below it */
    bool read;
};

/* The next page below those of the levels, with rowids of `from` or behind. */
static bool leaves_next_page(struct leaves *l, const struct pages *p, int64_t from, struct leaves_place *out)
{
    *out = (struct leaves_place){ .page = l->at_root ? l->root : 0, .to = INT64_MAX };
    l->at_root = false;
    while (!out->page && l->depth > 0) {
        struct leaves_level *level = &l->levels[l->depth - 1];
        if (level->at > level->cells) {
            l->depth--;
            continue;
        }
        if (!leaves_child(level, p->usable, level->at++, &out->page, &out->to) || !out->page)
            return false;
        if (out->to < from)
            out->page = 0;
    }
    return true;
}

/* Was the leaf known for these rowids? */
static bool leaves_covers(const struct leaf *known, int64_t from, int64_t to)
{
    return known && !known->inner && known->from <= from && to <= known->to;
}

/* The next leaf with rowids of `from` or behind. One that did not change is not read. */
static bool leaves_next_leaf(struct leaves *l, struct pages *p, int64_t from, struct leaves_place *out)
{
    for (;;) {
        if (!leaves_next_page(l, p, from, out))
            return false;
        const struct leaf *known = leaves_find(l, out->page);
        if (!out->page || (leaves_covers(known, from, out->to) && known->generation == p->generation))
            return true;
        if (!pages_read(p, out->page, l->page))
            return false;
        out->read = l->page[0] == TREE_LEAF;
        if (out->read)
            return true;
        if (!leaves_descend(l, p, out->page, out->to))
            return false;
    }
}

/* Is the leaf as it was when its rows were compared? Else it joins the batch. */
static bool leaves_judge(struct leaves *l, struct pages *p, const struct leaves_place *place, int64_t from, bool *same)
{
    struct leaf *known = leaves_find(l, place->page), now = { .from = from, .to = place->to };
    struct leaves_look look = { 0 };
    *same = !place->read;
    if (place->read) {
        if (!leaves_look(l->page, p->usable, place->to, &look))
            return false;
        bool whole = look.whole || (l->whole && leaves_learn_chains(l, p, look.rows));
        bool here = whole && (look.rows == 0 || look.first >= from || from == l->start);
        now.hash = pages_hash(l->page, p->size);
        *same = here && leaves_covers(known, from, place->to) && known->hash == now.hash;
        now.page = here ? place->page : 0;
    }
    now.pass = l->pass;
    now.generation = p->generation;
    if (*same) {
        now.hash = known->hash;
        now.page = place->page;
        *known = now;
        return true;
    }
    l->batch[l->batch_count++] = now;
    l->batch_rows += look.rows;
    l->to = place->to;
    return true;
}

enum leaves_step leaves_next(struct leaves *l, struct pages *p, int64_t from, size_t rows, leaves_stop_fn *stop,
                             void *ctx)
{
    leaves_follow(l, p);
    leaves_fit_pages(l, p);
    l->at_root = true;
    l->depth = l->batch_count = l->batch_rows = 0;
    for (int looks = 1;; looks++) {
        struct leaves_place place;
        bool same = false;
        l->from = l->batch_count ? l->from : from;
        if (!leaves_next_leaf(l, p, from, &place) || (place.page && !leaves_judge(l, p, &place, from, &same)))
            return LEAVES_LOST;
        if (l->batch_count && (!place.page || same))
            return LEAVES_READ;
        if (!place.page)
            return LEAVES_END;
        l->skipped = l->skipped || same;
        if (!same && (l->batch_count == LEAVES_BATCH || l->batch_rows >= rows || place.to == INT64_MAX))
            return LEAVES_READ;
        if (place.to == INT64_MAX)
            return LEAVES_END;
        from = place.to + 1;
        l->to = place.to;
        if (same && looks % LEAVES_LOOKS == 0 && stop(ctx))
            return LEAVES_FULL;
    }
}

void leaves_read(struct leaves *l, int64_t to)
{
    for (size_t i = 0; i < l->batch_count; i++)
        if (l->batch[i].page && l->batch[i].to <= to)
            leaves_put(l, &l->batch[i]);
        else
            l->unsure = true;
}

static bool leaves_never_stop(void *ctx)
{
    (void)ctx;
    return false;
}

void leaves_learn(struct leaves *l, struct pages *p)
{
    leaves_forget(l);
    l->walking = l->whole = true;
    l->chain = 0;
    enum leaves_step step;
    for (int64_t from = INT64_MIN;; from = l->to + 1) {
        step = leaves_next(l, p, from, SIZE_MAX, leaves_never_stop, NULL);
        if (step != LEAVES_READ)
            break;
        leaves_read(l, l->to);
        if (l->to == INT64_MAX)
            return;
    }
    l->unsure = l->unsure || step == LEAVES_LOST;
}

void leaves_pass_by(struct leaves *l)
{
    l->unsure = true;
}

void leaves_end(struct leaves *l)
{
    if (l->cap)
        leaves_resize(l, l->cap, false);
    l->walking = false;
    l->clean = !l->unsure && !l->touched && l->count > 0;
}
