/* SPDX-License-Identifier: MIT */
/* Kind diff: every key and its watched columns, compared with the rows remembered; a row that the scan does not meet is
 * gone. Where the key is the rowid, leaves that look as before are not read (spans.c). */
#include <stdio.h>
#include "bridge/lib/mem.h"
#include "connectors/sqlite/large.h"
#include "connectors/sqlite/render.h"
#include "connectors/sqlite/seen.h"
#include "connectors/sqlite/spans.h"

#define DIFF_STILL                                                                                                     \
    "the rule stands still: no index orders its rows, and a key is too large to be sorted; give it an index, or "      \
    "another `key`"

enum { DIFF_LOOKS = 1024 }; /* remembered rows looked at between two looks at the clock */

/* The whole row, for its data. Reset r->get afterwards. */
static int diff_fetch(struct rule *r, struct seen *now)
{
    int rc = sqlite3_bind_value(r->get, 1, sqlite3_column_value(now->scan, HEAD_KEY));
    if (rc == SQLITE_OK)
        rc = sqlite3_step(r->get);
    if (rc == SQLITE_ROW)
        now->all = r->get;
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* ---- state ---- */

static void diff_forget(struct sqlite_source *s, struct rule *r, const struct row *row, bool ahead)
{
    state_forget_row(s, r, row_key(row), ahead);
    rows_remove(&r->rows, row_key(row));
}

/* ---- what happened ---- */

static void diff_report_delete(struct sqlite_source *s, struct rule *r, const struct row *row)
{
    const struct row *last = row->ahead ? row->ahead : row;
    const char *type = rule_type(r, STR("delete"));
    if (type)
        mapped_tell(s, r,
                    &(struct happening){ .op = "delete",
                                         .type = type,
                                         .key = row_key(row),
                                         .version = last->version,
                                         .kept = row_kept(last) });
    if (type && row->ahead) /* what that may have told is what is gone */
        state_store_row(s, r, row->ahead, true, &(struct doubt){ .gone = true });
    diff_forget(s, r, row, type && !row->ahead);
}

/* ---- the scan ---- */

static int diff_take_row(struct sqlite_source *s, struct rule *r, sqlite3_stmt *stmt)
{
    struct seen now = { 0 };
    seen_read(&now, r, stmt);
    s->slice.rows++;
    spans_meet(r, stmt);
    struct row *row = rows_find(&r->rows, now.key);
    if (seen_is_known(row, &now)) {
        row->pass = s->pass.number;
        return SQLITE_OK;
    }
    int rc = SQLITE_OK;
    if (!seen_is_scan(r, stmt))
        now.all = stmt; /* read already, without what is too large */
    else if (!seen_is_silent(s, r) || r->o->keep.count)
        rc = diff_fetch(r, &now);
    if (rc == SQLITE_OK)
        seen_tell(s, r, row, &now);
    sqlite3_reset(r->get);
    return rc;
}

/* ---- the pass ---- */

/* The window of `last` keys begins behind this one. */
static int64_t diff_floor(const struct rule *r)
{
    return r->top > INT64_MIN + r->o->last ? r->top - r->o->last : INT64_MIN;
}

/* The window of `last` keys ends at the largest key ever seen. */
static int diff_begin(struct sqlite_source *s, struct rule *r)
{
    sqlite3_value_free(r->at);
    r->at = NULL;
    r->slot = r->met = 0;
    r->single = false;
    int rc = fit_count_unkeyed(s, r);
    if (rc != SQLITE_OK || !r->o->last)
        return rc;
    int64_t top = r->top;
    if (sqlite3_step(r->max) == SQLITE_ROW && sqlite3_column_int64(r->max, 0) > top)
        top = sqlite3_column_int64(r->max, 0);
    rc = sqlite3_reset(r->max);
    if (rc == SQLITE_TOOBIG) /* it is no number */
        return SQLITE_OK;
    if (rc == SQLITE_OK && top != r->top) {
        r->top = top;
        state_store_top(s, r);
    }
    return rc;
}

/* The rows behind the last key scanned. */
static bool diff_bind(const struct rule *r, sqlite3_stmt *stmt)
{
    if (r->at)
        return sqlite3_bind_value(stmt, 1, r->at) == SQLITE_OK;
    return !r->o->last || sqlite3_bind_int64(stmt, 1, diff_floor(r)) == SQLITE_OK;
}

/* That key has been scanned. */
static void diff_move_to(struct rule *r, sqlite3_stmt *row)
{
    sqlite3_value_free(r->at);
    r->at = sqlite3_value_dup(sqlite3_column_value(row, HEAD_KEY));
    CHECK(r->at);
}

/* A row that is refused is not gone. */
static void diff_pass_over(struct sqlite_source *s, struct rule *r, sqlite3_stmt *place)
{
    struct seen now = { 0 };
    struct buf key = { .at = now.text, .cap = sizeof now.text, .max = sizeof now.text };
    value_key(&key, place, HEAD_KEY);
    spans_meet(r, place);
    struct row *row = rows_find(&r->rows, buf_str(&key));
    if (row)
        row->pass = s->pass.number;
}

/* The next row is too large to be read: it is compared without what is, or passed over. */
static int diff_take_large(struct sqlite_source *s, struct rule *r, bool *more)
{
    enum place_from from = r->at || r->o->last ? PLACE_BEHIND : PLACE_FIRST;
    int rc;
    bool keyless;
    sqlite3_stmt *place = large_place(s, r, from, 0, diff_bind, &keyless, &rc);
    *more = place || r->stage == STAGE_BEGIN;
    rule_stand_still(s, r, rc == SQLITE_TOOBIG, DIFF_STILL);
    if (!place)
        return rc;
    sqlite3_stmt *row = large_row(s, r, STR_ABSENT, place, &rc);
    if (row)
        rc = diff_take_row(s, r, row);
    else if (rc == SQLITE_TOOBIG)
        diff_pass_over(s, r, place);
    if (row)
        large_end(r, row);
    s->slice.rows++;
    diff_move_to(r, place);
    sqlite3_finalize(place);
    return rc == SQLITE_TOOBIG ? SQLITE_OK : rc;
}

/* Some row of the batch is too large to be read: up to it, row by row; then it. */
static int diff_scan_large(struct sqlite_source *s, struct rule *r, bool *more)
{
    bool found = r->single;
    *more = true;
    r->single = !found;
    return found ? diff_take_large(s, r, more) : SQLITE_OK;
}

/* One LIMIT batch; *more = there may be others behind it. */
static int diff_scan(struct sqlite_source *s, struct rule *r, bool *more)
{
    sqlite3_stmt *stmt = r->at ? r->next : r->first;
    int64_t rows = 0, batch = r->single ? 1 : s->batch;
    bool full = false;
    int rc = SQLITE_OK;
    if (!diff_bind(r, stmt) || sqlite3_bind_int64(stmt, 2, batch) != SQLITE_OK)
        return SQLITE_ERROR;
    while (!full && rc == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW) {
        rc = diff_take_row(s, r, stmt);
        full = slice_full(s);
        if (rc == SQLITE_OK && (++rows == batch || full))
            diff_move_to(r, stmt);
    }
    metric_add(s->rows_read, rows);
    *more = full || rows == batch;
    int end = sqlite3_reset(stmt);
    rc = rc != SQLITE_OK ? rc : end;
    if (rc == SQLITE_TOOBIG)
        return diff_scan_large(s, r, more);
    rule_stand_still(s, r, false, "");
    return rc;
}

/* Some row there is too large to be read: the rest of the pass is read by key. */
static int diff_leave_spans(struct sqlite_source *s, struct rule *r)
{
    sqlite3_stmt *stmt = NULL;
    int64_t from = r->by_range.from;
    spans_leave(r);
    if (from == INT64_MIN)
        return SQLITE_OK;
    int rc = sqlite3_prepare_v2(s->db, "SELECT ?1", -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(stmt, 1, from - 1);
    if (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        r->at = sqlite3_value_dup(sqlite3_column_value(stmt, 0));
        CHECK(r->at);
        rc = SQLITE_OK;
    }
    sqlite3_finalize(stmt);
    return rc;
}

/* The rows of leaves that look different, a batch of them; *more = there may be others behind it. */
static int diff_scan_spans(struct sqlite_source *s, struct rule *r, bool *more)
{
    struct span span;
    int64_t rows = 0, last = 0, limit;
    bool full = false;
    int rc = SQLITE_OK;
    if (!spans_next(s, r, &span, more))
        return SQLITE_OK;
    limit = r->by_range.walks ? -1 : s->batch; /* a batch of leaves has its bounds */
    if (sqlite3_bind_int64(r->range, 1, span.from) != SQLITE_OK || sqlite3_bind_int64(r->range, 2, limit) != SQLITE_OK
        || sqlite3_bind_int64(r->range, 3, span.to) != SQLITE_OK)
        return SQLITE_ERROR;
    while (!full && rc == SQLITE_OK && sqlite3_step(r->range) == SQLITE_ROW) {
        last = sqlite3_column_int64(r->range, HEAD_KEY);
        rc = diff_take_row(s, r, r->range);
        rows++;
        full = slice_full(s) || rows == limit;
    }
    metric_add(s->rows_read, rows);
    int end = sqlite3_reset(r->range);
    rc = rc != SQLITE_OK ? rc : end;
    *more = true;
    if (rc == SQLITE_TOOBIG)
        return diff_leave_spans(s, r);
    if (rc != SQLITE_OK)
        return rc;
    span.to = full ? last : span.to;
    spans_read(r, span);
    *more = span.to < INT64_MAX;
    return SQLITE_OK;
}

/* ---- rows that the scan did not meet ---- */

static bool diff_is_below_window(const struct rule *r, struct str key)
{
    int64_t number;
    return r->o->last && key.at[0] == 'i' && str_to_i64(value_key_plain(key), &number) && number <= diff_floor(r);
}

/* Was there a look at where the row stood? */
static bool diff_was_looked_for(const struct rule *r, struct str key)
{
    int64_t number;
    return spans_are_whole(r)
           || (key.at[0] == 'i' && str_to_i64(value_key_plain(key), &number) && spans_have(r, number));
}

static void diff_miss(struct sqlite_source *s, struct rule *r, const struct row *row)
{
    bool below = diff_is_below_window(r, row_key(row));
    r->census.passed += below;
    if (seen_is_silent(s, r) || below)
        diff_forget(s, r, row, false);
    else
        diff_report_delete(s, r, row);
    s->slice.rows++;
}

/* Remembered rows of the few that were read. Returns whether the slice is full before the last of them. */
static bool diff_revisit_few(struct sqlite_source *s, struct rule *r)
{
    char text[32];
    int64_t rowid;
    for (size_t looks = 1;; looks++) {
        if (looks % DIFF_LOOKS == 0 && slice_is_over(s))
            return true;
        if (slice_full(s))
            return true;
        if (!spans_next_rowid(r, &rowid))
            return false;
        int n = snprintf(text, sizeof text, "i%lld", (long long)rowid);
        const struct row *row = rows_find(&r->rows, (struct str){ text, (size_t)n });
        if (row && row->pass != s->pass.number)
            diff_miss(s, r, row);
    }
}

/* All remembered rows. Returns the same. */
static bool diff_revisit(struct sqlite_source *s, struct rule *r)
{
    if (!spans_are_whole(r) && spans_are_few(r))
        return diff_revisit_few(s, r);
    for (size_t looks = 1; r->slot < r->rows.cap; looks++) {
        if (looks % DIFF_LOOKS == 0 && slice_is_over(s))
            return true;
        const struct row *row = r->rows.slots[r->slot];
        if (!row || row->pass == s->pass.number || !diff_was_looked_for(r, row_key(row))) {
            r->slot++;
            continue;
        }
        if (slice_full(s))
            return true;
        diff_miss(s, r, row); /* another may stand in its slot now */
    }
    return false;
}

/* Where a pass begins to read. */
static int64_t diff_start(const struct rule *r)
{
    int64_t floor = r->o->last ? diff_floor(r) : INT64_MIN;
    return floor == INT64_MIN ? floor : floor + 1;
}

enum step diff_step(struct sqlite_source *s, struct rule *r, struct err *e)
{
    if (r->stage == STAGE_BEGIN && spans_are_clean(s, r))
        return STEP_DONE;
    if (r->stage == STAGE_BEGIN) {
        int rc = diff_begin(s, r);
        if (rc != SQLITE_OK)
            return slice_failed(s, r, rc, e);
        spans_begin(s, r, diff_start(r));
        r->stage = STAGE_SCAN;
    }
    while (r->stage == STAGE_SCAN) {
        bool more;
        int rc = r->range && !r->by_range.off ? diff_scan_spans(s, r, &more) : diff_scan(s, r, &more);
        if (rc != SQLITE_OK)
            return slice_failed(s, r, rc, e);
        if ((more && slice_full(s)) || r->stage == STAGE_BEGIN)
            return STEP_FULL;
        if (!more) {
            r->stage = STAGE_REVISIT;
            r->known = r->met;
        }
    }
    if (diff_revisit(s, r))
        return STEP_FULL;
    spans_end(r);
    int counted = r->o->last ? census_count_below(s, r, diff_floor(r)) : SQLITE_OK;
    if (counted != SQLITE_OK)
        return slice_failed(s, r, counted, e);
    if (!r->ready || r->signature != rule_signature(r))
        state_store_ready(s, r);
    return STEP_DONE;
}
