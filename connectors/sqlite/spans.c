/* SPDX-License-Identifier: MIT */
/* Which rows a diff whose key is the rowid has to read: those of leaves that look different; and which of the remembered
 * ones it has to miss, as it read where they stood. */
#include "bridge/lib/mem.h"
#include "connectors/sqlite/spans.h"

enum { SPANS_FEW = 8 }; /* one rowid in so many remembered rows: each is looked up */

static struct leaves_of spans_of(const struct sqlite_source *s, const struct rule *r, int64_t start)
{
    return (struct leaves_of){ r->root, s->schema, start, s->pass.number };
}

bool spans_are_clean(struct sqlite_source *s, struct rule *r)
{
    struct leaves_of of = spans_of(s, r, 0);
    return r->root && leaves_are_clean(&r->by_range.leaves, &s->pages, &of);
}

void spans_begin(struct sqlite_source *s, struct rule *r, int64_t start)
{
    struct by_range *by = &r->by_range;
    struct leaves_of of = spans_of(s, r, start);
    by->off = by->lost = false;
    by->from = start;
    by->count = by->span = 0;
    if (!r->root)
        return;
    leaves_begin(&by->leaves, &s->pages, &of);
    if (r->range)
        return;
    if (s->pages.good && s->pages.index) /* in WAL mode a read keeps nobody from writing */
        leaves_learn(&by->leaves, &s->pages);
    else
        leaves_pass_by(&by->leaves);
}

static bool spans_stop(void *s)
{
    return slice_is_over(s);
}

bool spans_next(struct sqlite_source *s, struct rule *r, struct span *out, bool *more)
{
    struct by_range *by = &r->by_range;
    struct leaves *l = &by->leaves;
    *more = false;
    *out = (struct span){ by->from, INT64_MAX };
    by->walks = s->pages.good && !by->lost;
    enum leaves_step step = by->walks ? leaves_next(l, &s->pages, by->from, (size_t)s->batch, spans_stop, s)
                                      : LEAVES_LOST;
    switch (step) {
    case LEAVES_READ: *out = (struct span){ l->from, l->to }; return true;
    case LEAVES_FULL:
        by->from = l->to + 1;
        s->slice.rows++;
        *more = true;
        return false;
    case LEAVES_END: return false;
    case LEAVES_LOST: break;
    }
    by->lost = by->lost || by->walks;
    by->walks = false;
    leaves_pass_by(l);
    return true;
}

/* What was scanned, joined to what was before. */
static void spans_add(struct by_range *by, struct span span)
{
    struct span *last = by->count ? &by->spans[by->count - 1] : NULL;
    if (last && last->to >= span.from - 1) {
        last->to = span.to;
        return;
    }
    if (!by->spans || by->count == by->cap) {
        by->cap = by->cap ? by->cap * 2 : 16;
        by->spans = mem_grow(by->spans, by->cap, sizeof *by->spans);
    }
    by->spans[by->count++] = span;
}

void spans_read(struct rule *r, struct span span)
{
    struct by_range *by = &r->by_range;
    spans_add(by, span);
    if (by->walks)
        leaves_read(&by->leaves, span.to);
    if (span.to < INT64_MAX)
        by->from = span.to + 1;
}

void spans_meet(struct rule *r, sqlite3_stmt *row)
{
    int64_t rowid = r->range ? sqlite3_column_int64(row, HEAD_KEY) : 0;
    if (rowid > r->by_range.most)
        r->by_range.most = rowid;
}

void spans_leave(struct rule *r)
{
    struct by_range *by = &r->by_range;
    by->off = true;
    spans_add(by, (struct span){ by->from, INT64_MAX });
    leaves_pass_by(&by->leaves);
}

void spans_end(struct rule *r)
{
    if (r->root)
        leaves_end(&r->by_range.leaves);
}

bool spans_are_whole(const struct rule *r)
{
    return !r->range || !r->by_range.leaves.skipped;
}

bool spans_have(const struct rule *r, int64_t rowid)
{
    const struct by_range *by = &r->by_range;
    size_t low = 0, high = by->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (by->spans[middle].to < rowid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < by->count && by->spans[low].from <= rowid;
}

bool spans_are_few(const struct rule *r)
{
    const struct by_range *by = &r->by_range;
    uint64_t left = r->rows.count / SPANS_FEW;
    for (size_t i = 0; i < by->count && by->spans[i].from <= by->most; i++) {
        int64_t to = by->spans[i].to < by->most ? by->spans[i].to : by->most;
        uint64_t span = (uint64_t)to - (uint64_t)by->spans[i].from;
        if (span >= left)
            return false;
        left -= span + 1;
    }
    return true;
}

bool spans_next_rowid(struct rule *r, int64_t *rowid)
{
    struct by_range *by = &r->by_range;
    while (by->span < by->count) {
        const struct span *span = &by->spans[by->span];
        int64_t to = span->to < by->most ? span->to : by->most;
        by->next = by->within ? by->next : span->from;
        by->within = by->next <= to;
        if (by->within) {
            *rowid = by->next;
            by->within = by->next < to;
            by->span += !by->within;
            by->next += by->within;
            return true;
        }
        by->span++;
    }
    return false;
}
