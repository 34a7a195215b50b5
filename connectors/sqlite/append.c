/* SPDX-License-Identifier: MIT */
/* Kinds append and open_row: the rows behind a cursor, and the unfinished ones until they are done.
 *
 *   open_row:  (insert) --done--> done                a row that is finished at once is only reported so
 *                 |--not done--> started --done--> done
 *                                   |--abort_after, or deleted--> aborted --done--> done (late, but not lost)
 *
 * SQLite hands out ids inside its one write lock, so ids appear in commit order. What can break a cursor is ids that
 * start again; the guard (a hash of the row at the cursor) and AUTOINCREMENT's own counter tell. */
#include "bridge/lib/log.h"
#include "connectors/sqlite/value.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { APPEND_LATE = 48 }; /* an aborted row is watched so many times abort_after */

struct typed { /* a key with its text */
    char text[KEY_BYTES + 8];
    struct str key;
};

static void append_key(struct typed *out, sqlite3_stmt *row, int col)
{
    struct buf buf = { .at = out->text, .cap = sizeof out->text, .max = sizeof out->text };
    value_key(&buf, row, col);
    out->key = buf_str(&buf);
}

static uint64_t append_guard(const struct rule *r, sqlite3_stmt *row)
{
    uint64_t guard = value_hash(row, HEAD_KEY) ^ (r->o->time ? value_hash(row, HEAD_TIME) * 31 : 0);
    return guard ? guard : 1;
}

/* The cursor stands on this row now. */
static void append_move_to(struct rule *r, sqlite3_stmt *row)
{
    struct typed cursor;
    append_key(&cursor, row, HEAD_CURSOR);
    free(r->cursor);
    r->cursor = str_dup(cursor.key);
    r->guard = append_guard(r, row);
    r->moved = true;
}

/* Ids start again: the events of the new epoch get other ids, but not before it is stored. */
static void append_begin_epoch(struct sqlite_source *s, struct rule *r)
{
    r->epoch++;
    state_store_epoch(s, r);
    s->found.barrier = true;
    metric_add(s->restarts, 1);
}

/* ---- open rows ---- */

/* When the row began: its own time, unless that lies in the future. */
static uint64_t append_since(sqlite3_stmt *row)
{
    int64_t now = clock_wall_ms(), ms;
    return (uint64_t)(value_time(row, HEAD_TIME, &ms) && ms >= 0 && ms <= now ? ms : now);
}

/* Remembers an unfinished row. */
static void append_add_open(struct sqlite_source *s, struct rule *r, struct str key, uint64_t since)
{
    struct row *row = row_new(key, since, NULL, 0, STR_ABSENT);
    row->pass = s->pass.number;
    rows_put(&r->rows, row);
    state_store_open(s, r, row);
}

static void append_report(struct sqlite_source *s, struct rule *r, const char *op, struct str key, sqlite3_stmt *row,
                          bool timed)
{
    const char *type = rule_type(r, str_of(op));
    if (type)
        found_event(s, r, &(struct happening){ .op = op, .type = type, .key = key, .row = row, .timed = timed });
}

/* ---- the first pass, and ids that start again ---- */

/* To the newest row. At the very first start an open_row rule also takes in what is unfinished and young. */
static int append_move_to_end(struct sqlite_source *s, struct rule *r, bool first)
{
    bool any = false;
    while (sqlite3_step(r->recent) == SQLITE_ROW) {
        if (!any)
            append_move_to(r, r->recent);
        any = true;
        if (!first || r->o->kind != KIND_OPEN_ROW)
            break;
        struct typed key;
        append_key(&key, r->recent, HEAD_KEY);
        uint64_t since = append_since(r->recent);
        if (!sqlite3_column_int(r->recent, HEAD_DONE) && clock_wall_ms() - (int64_t)since < r->o->abort_after.ms)
            append_add_open(s, r, key.key, since);
    }
    int end = sqlite3_reset(r->recent);
    if (!any && r->cursor && end == SQLITE_OK) {
        free(r->cursor);
        r->cursor = NULL;
        r->moved = true;
    }
    return end;
}

/* The largest id there has been: AUTOINCREMENT's counter, else the largest there is. */
static int append_top(struct rule *r, int64_t *top)
{
    if (r->sequence) {
        bool found = sqlite3_step(r->sequence) == SQLITE_ROW;
        if (found)
            *top = sqlite3_column_int64(r->sequence, 0);
        int rc = sqlite3_reset(r->sequence);
        if (rc != SQLITE_OK || found)
            return rc;
    }
    *top = 0;
    if (sqlite3_step(r->max) == SQLITE_ROW)
        *top = sqlite3_column_int64(r->max, 0);
    return sqlite3_reset(r->max);
}

/* Is the cursor a whole number? */
static bool append_cursor_number(const struct rule *r, int64_t *out)
{
    return r->cursor[0] == 'i' && str_to_i64(value_key_plain(str_of(r->cursor)), out);
}

/* Is the row at the cursor another one than it was? */
static int append_is_reused(struct rule *r, bool *out)
{
    *out = false;
    if (!r->guard || !value_bind(r->at_cursor, 1, str_of(r->cursor)))
        return SQLITE_OK;
    if (sqlite3_step(r->at_cursor) == SQLITE_ROW)
        *out = append_guard(r, r->at_cursor) != r->guard;
    return sqlite3_reset(r->at_cursor);
}

/* Steps back by one: the row at the cursor is new as well. */
static void append_step_back(struct rule *r)
{
    char text[24];
    int64_t cursor;
    r->guard = 0;
    r->moved = true;
    if (!append_cursor_number(r, &cursor) || cursor == INT64_MIN)
        return;
    snprintf(text, sizeof text, "i%" PRId64, cursor - 1);
    free(r->cursor);
    r->cursor = str_dup(str_of(text));
}

/* Have ids started again? Then the cursor goes where the new rows begin, and a new epoch begins. */
static int append_check_ids(struct sqlite_source *s, struct rule *r)
{
    int64_t top = 0, cursor = 0;
    bool reused, number = append_cursor_number(r, &cursor);
    int rc = append_is_reused(r, &reused);
    if (rc == SQLITE_OK && number)
        rc = append_top(r, &top);
    if (rc != SQLITE_OK)
        return rc;
    bool back = number && top < cursor;
    if (!back && !reused)
        return SQLITE_OK;
    LOG(WARN,
        back ? "ids start again (rows deleted, or a restored file): going on from the newest row"
             : "ids were used again: going on from there",
        LOG_C("source", s->base.id), LOG_C("rule", r->name), LOG_C("cursor", r->cursor));
    if (!back)
        append_step_back(r);
    else if ((rc = append_move_to_end(s, r, false)) != SQLITE_OK)
        return rc;
    append_begin_epoch(s, r);
    return SQLITE_OK;
}

/* Where the pass begins: at the cursor; at the very first start at the end, or with a snapshot at the first row. */
static int append_begin(struct sqlite_source *s, struct rule *r)
{
    if (r->cursor)
        return append_check_ids(s, r);
    if (r->ready || s->start == START_SNAPSHOT)
        return SQLITE_OK;
    int rc = append_move_to_end(s, r, true);
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
        if (str_eq_nocase(str_of(r->fields[i].name), str_of(r->o->type_column))) {
            buf_reset(&s->scratch);
            value_plain(&s->scratch, row, HEAD + i);
            type = rule_type(r, buf_str(&s->scratch));
        }
    if (!type && !r->o->type_column)
        type = rule_type(r, STR("insert"));
    if (!type)
        type = rule_type(r, STR("*"));
    if (type)
        found_event(s, r, &(struct happening){ .op = "insert", .type = type, .key = key, .row = row, .timed = true });
}

static void append_take_row(struct sqlite_source *s, struct rule *r, sqlite3_stmt *row)
{
    struct typed key;
    append_key(&key, row, HEAD_KEY);
    if (r->o->kind == KIND_APPEND) {
        append_report_new(s, r, row, key.key);
    } else if (sqlite3_column_int(row, HEAD_DONE)) {
        append_report(s, r, "done", key.key, row, true);
    } else {
        append_report(s, r, "started", key.key, row, true);
        append_add_open(s, r, key.key, append_since(row));
    }
    append_move_to(r, row);
    s->slice.rows++;
}

/* One LIMIT batch; *more = there may be others behind it. */
static int append_scan(struct sqlite_source *s, struct rule *r, bool *more)
{
    sqlite3_stmt *stmt = r->cursor ? r->next : r->first;
    int64_t rows = 0;
    bool full = false;
    if (r->cursor && !value_bind(stmt, 1, str_of(r->cursor)))
        return SQLITE_TOOBIG;
    sqlite3_bind_int64(stmt, 2, s->batch);
    while (!full && sqlite3_step(stmt) == SQLITE_ROW) {
        append_take_row(s, r, stmt);
        rows++;
        full = slice_full(s);
    }
    metric_add(s->rows_read, rows);
    *more = full || rows == s->batch;
    return sqlite3_reset(stmt);
}

/* ---- open rows, again ---- */

/* Forgets the row whose turn it is. */
static void append_forget_open(struct sqlite_source *s, struct rule *r)
{
    state_forget_open(s, r, row_key(r->rows.slots[r->slot]));
    rows_drop(&r->rows, r->slot);
}

/* The open row at r->slot, with what it looks like now (NULL: deleted). */
static void append_revisit_row(struct sqlite_source *s, struct rule *r, sqlite3_stmt *now)
{
    struct row *row = r->rows.slots[r->slot];
    int64_t age = clock_wall_ms() - (int64_t)row->version;
    row->pass = s->pass.number;
    if (now && sqlite3_column_int(now, HEAD_DONE)) {
        append_report(s, r, "done", row_key(row), now, false);
        append_forget_open(s, r);
        return;
    }
    if (!row->aborted && (!now || age >= r->o->abort_after.ms)) {
        append_report(s, r, "aborted", row_key(row), now, false);
        row->aborted = true;
        if (now)
            state_store_open(s, r, row);
    }
    if (!now || age / APPEND_LATE >= r->o->abort_after.ms)
        append_forget_open(s, r);
    else
        r->slot++;
}

/* Open rows that this pass has not seen; *more = the slice is full before the last of them. */
static int append_revisit(struct sqlite_source *s, struct rule *r, bool *more)
{
    while (r->slot < r->rows.cap) {
        struct row *row = r->rows.slots[r->slot];
        if (!row || row->pass == s->pass.number) {
            r->slot++;
            continue;
        }
        *more = slice_full(s);
        if (*more)
            return SQLITE_OK;
        int rc = value_bind(r->get, 1, row_key(row)) ? sqlite3_step(r->get) : SQLITE_DONE;
        if (rc != SQLITE_ROW && rc != SQLITE_DONE)
            return sqlite3_reset(r->get);
        append_revisit_row(s, r, rc == SQLITE_ROW ? r->get : NULL);
        s->slice.rows++;
        metric_add(s->rows_read, 1);
        sqlite3_reset(r->get);
    }
    *more = false;
    return SQLITE_OK;
}

/* ---- the rule's part of a pass ---- */

static enum step append_read(struct sqlite_source *s, struct rule *r, struct err *e)
{
    bool more = false;
    int rc;
    if (r->stage == STAGE_BEGIN) {
        if ((rc = append_begin(s, r)) != SQLITE_OK)
            return slice_failed(s, r, rc, e);
        if (s->found.barrier)
            return STEP_FULL; /* a new epoch is stored before its events */
        r->stage = STAGE_SCAN;
    }
    while (r->stage == STAGE_SCAN) {
        if ((rc = append_scan(s, r, &more)) != SQLITE_OK)
            return slice_failed(s, r, rc, e);
        if (more && slice_full(s))
            return STEP_FULL;
        if (!more) {
            r->stage = STAGE_REVISIT;
            r->slot = 0;
        }
    }
    if (r->o->kind == KIND_OPEN_ROW && (rc = append_revisit(s, r, &more)) != SQLITE_OK)
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
    if (r->moved)
        state_store_cursor(s, r);
    r->moved = false;
    return step;
}

int64_t append_due_ms(const struct rule *r)
{
    int64_t due = INT64_MAX;
    bool able = r->o->kind == KIND_OPEN_ROW && r->usable && !r->failed; /* else it waits for a change that mends it */
    for (size_t i = 0; able && i < r->rows.cap; i++) {
        const struct row *row = r->rows.slots[i];
        if (row && !row->aborted && (int64_t)row->version + r->o->abort_after.ms < due)
            due = (int64_t)row->version + r->o->abort_after.ms;
    }
    return due;
}
