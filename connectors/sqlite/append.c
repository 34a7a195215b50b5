/* SPDX-License-Identifier: MIT */
/* Kinds append and open_row: the rows behind a cursor, and the unfinished ones until they are done.
 *
 * The cursor is a rowid or any other column that grows, or not: rows are ordered by (cursor, rowid or key), and those
 * that come behind it are counted. */
#include "connectors/sqlite/large.h"
#include "connectors/sqlite/open.h"
#include "connectors/sqlite/position.h"
#include "connectors/sqlite/render.h"

/* ---- rows that are not captured ---- */

static int append_number(sqlite3_stmt *stmt, int64_t *out)
{
    *out = sqlite3_step(stmt) == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
    return sqlite3_reset(stmt);
}

/* The cursor stands behind all rows there are: everything up to the largest rowid has been looked at. */
static int append_raise_top(struct sqlite_source *s, struct rule *r)
{
    int64_t top;
    int rc = r->max_rowid ? append_number(r->max_rowid, &top) : SQLITE_OK;
    if (!r->max_rowid || rc != SQLITE_OK || (r->top_known && top == r->top && !r->above))
        return rc;
    r->top = top;
    r->top_known = true;
    r->moved = r->moved || r->above;
    r->above = 0;
    state_store_top(s, r);
    return rc;
}

/* After a scan to the end: are there new rows that it did not meet? */
static int append_count_behind(struct sqlite_source *s, struct rule *r)
{
    int64_t behind = 0;
    if (r->count)
        return census_count(s, r);
    if (r->behind && r->top_known) {
        sqlite3_clear_bindings(r->behind);
        if (!position_bind(r, r->behind))
            return SQLITE_OK;
        sqlite3_bind_int64(r->behind, 4, r->top);
        int rc = append_number(r->behind, &behind);
        if (rc != SQLITE_OK && rc != SQLITE_TOOBIG) /* a cursor that cannot be read: these are not counted */
            return rc;
    }
    if (behind > r->above) {
        metric_add(s->behind, behind - r->above);
        rule_warn(
            s, r,
            "new rows came with a cursor of before, or NULL, and are not captured (counted as behind): the cursor "
            "does not grow with the rows; use `cursor: rowid`, or `kind: diff`");
    }
    return append_raise_top(s, r);
}

/* Where the pass begins: at the cursor; at the very first start at the end, or with a snapshot at the first row. */
static int append_begin(struct sqlite_source *s, struct rule *r)
{
    if (r->cursor)
        return position_check(s, r);
    if (r->ready || s->start == START_SNAPSHOT) {
        r->top_known = true; /* 0: nothing has been looked at */
        r->whole = true;
        return SQLITE_OK;
    }
    int rc = position_move_to_end(s, r);
    if (rc == SQLITE_OK && r->o->kind == KIND_OPEN_ROW)
        rc = open_take_young(s, r);
    if (rc == SQLITE_OK)
        rc = append_raise_top(s, r);
    if (rc == SQLITE_OK)
        state_store_ready(s, r);
    return rc;
}

/* ---- new rows ---- */

/* An append rule's row: its type by the value of type_column, or insert, or *. */
static void append_report_new(struct sqlite_source *s, struct rule *r, sqlite3_stmt *row, struct str key)
{
    const char *type = NULL;
    for (int i = 0; r->o->type_column && i < r->field_count; i++)
        if (str_eq_nocase(str_of(r->fields[i].name), str_of(r->o->type_column)) && !r->fields[i].large) {
            buf_reset(&s->scratch);
            value_plain(&s->scratch, row, HEAD + i);
            type = rule_type(r, buf_str(&s->scratch));
        }
    if (!type && !r->o->type_column)
        type = rule_type(r, STR("insert"));
    if (!type)
        type = rule_type(r, STR("*"));
    if (type)
        mapped_tell(s, r,
                    &(struct happening){ .op = "insert",
                                         .type = type,
                                         .key = key,
                                         .birth = position_birth(r, row),
                                         .row = row,
                                         .timed = true });
}

/* That row, or its place, is done with. */
static void append_move_past(struct sqlite_source *s, struct rule *r, sqlite3_stmt *row)
{
    position_move_to(r, row);
    r->known = r->known > r->met ? r->known - r->met : 0;
    r->met = 0;
    r->census.passed++;
    r->above += r->behind && sqlite3_column_int64(row, HEAD_TIE) > r->top;
    s->slice.rows++;
}

static void append_take_row(struct sqlite_source *s, struct rule *r, sqlite3_stmt *row)
{
    struct buf key = buf_new(KEY_BYTES + 8);
    value_key(&key, row, HEAD_KEY);
    if (sqlite3_column_type(row, HEAD_KEY) == SQLITE_NULL) {
        metric_add(s->unkeyed, 1);
        rule_warn_of_unkeyed(s, r);
    } else if (r->o->kind == KIND_APPEND) {
        append_report_new(s, r, row, buf_str(&key));
    } else if (sqlite3_column_int(row, HEAD_DONE)) {
        open_report(s, r, "done", buf_str(&key), position_birth(r, row), row, NULL, true);
    } else if (open_can_be_kept(s, r, row)) {
        open_report(s, r, "started", buf_str(&key), position_birth(r, row), row, NULL, true);
        open_add(s, r, buf_str(&key), row);
    }
    append_move_past(s, r, row);
    buf_free(&key);
}

/* Where the next row stands: behind those of the same cursor, or of the next one. */
static sqlite3_stmt *append_place(struct sqlite_source *s, struct rule *r, bool *keyless, int *rc)
{
    sqlite3_stmt *place = NULL;
    *rc = SQLITE_OK;
    if (!r->cursor)
        return large_place(s, r, PLACE_FIRST, 0, position_bind, keyless, rc);
    if (r->then)
        place = large_place(s, r, PLACE_SAME, 0, position_bind, keyless, rc);
    return place || *rc != SQLITE_OK || r->stage == STAGE_BEGIN
               ? place
               : large_place(s, r, PLACE_BEHIND, 0, position_bind, keyless, rc);
}

/* Some row has a value that is too large to be read: the next one is taken without what is, or passed over. */
static int append_take_large(struct sqlite_source *s, struct rule *r, bool *more)
{
    bool keyless;
    int rc;
    sqlite3_stmt *place = append_place(s, r, &keyless, &rc);
    *more = place || r->stage == STAGE_BEGIN;
    rule_stand_still(s, r, rc == SQLITE_TOOBIG,
                     "the rule stands still: no index orders its rows, and a cursor is too "
                     "large to be sorted; give it an index, or another `cursor`");
    if (!place)
        return rc;
    sqlite3_stmt *row = keyless ? NULL : large_row(s, r, STR_ABSENT, place, &rc);
    if (row) {
        append_take_row(s, r, row);
        large_end(r, row);
    } else if (rc == SQLITE_OK || rc == SQLITE_TOOBIG) { /* refused, or not the rule's */
        append_move_past(s, r, place);
        rc = SQLITE_OK;
    }
    sqlite3_finalize(place);
    return rc;
}

/* One LIMIT batch; *more = there may be others behind it. */
static int append_scan(struct sqlite_source *s, struct rule *r, bool *more)
{
    sqlite3_stmt *stmt = r->cursor ? r->next : r->first;
    int64_t rows = 0;
    bool full = false;
    if (!position_bind(r, stmt) || sqlite3_bind_int64(stmt, 2, s->batch) != SQLITE_OK)
        return SQLITE_ERROR;
    while (!full && sqlite3_step(stmt) == SQLITE_ROW) {
        append_take_row(s, r, stmt);
        rows++;
        full = slice_full(s);
    }
    metric_add(s->rows_read, rows);
    *more = full || rows == s->batch;
    int rc = sqlite3_reset(stmt);
    if (rc == SQLITE_TOOBIG)
        return append_take_large(s, r, more);
    rule_stand_still(s, r, false, "");
    return rc;
}

/* ---- the rule's part of a pass ---- */

static enum step append_read(struct sqlite_source *s, struct rule *r, struct err *e)
{
    bool more = false;
    int rc;
    if (r->stage == STAGE_BEGIN) {
        r->met = 0;
        if ((rc = fit_count_unkeyed(s, r)) != SQLITE_OK)
            return slice_failed(s, r, rc, e);
    }
    if (r->stage != STAGE_REVISIT) { /* between two slices of a scan, too, rowids may have come again */
        if ((rc = append_begin(s, r)) != SQLITE_OK)
            return slice_failed(s, r, rc, e);
        if (s->found.barrier)
            return STEP_FULL; /* a new epoch is stored before its events */
        r->stage = STAGE_SCAN;
    }
    while (r->stage == STAGE_SCAN) {
        if ((rc = append_scan(s, r, &more)) != SQLITE_OK)
            return slice_failed(s, r, rc, e);
        if ((more && slice_full(s)) || r->stage == STAGE_BEGIN)
            return STEP_FULL;
        if (!more) {
            r->known = r->met;
            if ((rc = append_count_behind(s, r)) != SQLITE_OK)
                return slice_failed(s, r, rc, e);
            r->stage = STAGE_REVISIT;
            r->slot = 0;
        }
    }
    if (r->o->kind == KIND_OPEN_ROW && (rc = open_revisit(s, r, &more)) != SQLITE_OK)
        return slice_failed(s, r, rc, e);
    if (more)
        return STEP_FULL;
    if (!r->ready)
        state_store_ready(s, r);
    return STEP_DONE;
}

enum step append_step(struct sqlite_source *s, struct rule *r, struct err *e)
{
    enum step step = append_read(s, r, e);
    if (r->moved) {
        state_store_cursor(s, r);
        if (r->by_rowid)
            state_store_passed(s, r);
    }
    r->moved = false;
    return step;
}
