/* SPDX-License-Identifier: MIT */
/* Kinds append and open_row: the rows behind a cursor, and the unfinished ones until they are done.
 *
 *   open_row:  (insert) --done--> done                a row that is finished at once is only reported so
 *                 |--not done--> started --done--> done
 *                                   |--abort_after, or deleted--> aborted --done--> done (late, but not lost)
 *
 * SQLite hands out rowids inside its one write lock, so they appear in commit order. What can break such a cursor is
 * rowids that start again; the key of the row at the cursor and AUTOINCREMENT's own counter tell. Any other column may
 * grow or not: its rows are ordered by (cursor, rowid or key), and those that come behind it are counted. */
#include "bridge/lib/crypto.h"
#include "bridge/lib/log.h"
#include "connectors/sqlite/value.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { APPEND_LATE = 48 }; /* an aborted row is watched so many times abort_after */

#define APPEND_LEAST STR("i-9223372036854775808") /* typed: before all values but NULL */

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

/* As a C string: a text with a NUL in it is kept in hex. */
static char *append_dup(struct str key)
{
    if (!memchr(key.at, '\0', key.n))
        return str_dup(key);
    struct buf text = buf_new(2 * KEY_BYTES + 8);
    buf_add_char(&text, 'T');
    hex_add(&text, value_key_plain(key));
    char *copy = str_dup(buf_str(&text));
    buf_free(&text);
    return copy;
}

static void append_set(char **to, sqlite3_stmt *row, int col)
{
    struct typed value;
    append_key(&value, row, col);
    free(*to);
    *to = append_dup(value.key);
}

/* The cursor stands on no row any more. */
static void append_clear(struct rule *r)
{
    free(r->cursor);
    free(r->tie);
    free(r->cursor_key);
    r->cursor = r->tie = r->cursor_key = NULL;
    r->moved = true;
}

/* The row at the cursor is left behind; its key is remembered where rowids may be numbered anew. */
static void append_pass(struct rule *r)
{
    if (!r->cursor_key || !r->by_rowid || r->key_is_rowid)
        return;
    char **slot = &r->passed[r->passed_count++ % RULE_PASSED];
    free(*slot);
    *slot = r->cursor_key;
    r->cursor_key = NULL;
}

/* The cursor stands on this row now. */
static void append_move_to(struct rule *r, sqlite3_stmt *row)
{
    append_pass(r);
    append_set(&r->cursor, row, HEAD_CURSOR);
    append_set(&r->cursor_key, row, HEAD_KEY);
    if (r->then)
        append_set(&r->tie, row, HEAD_TIE);
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
    if (!any && r->cursor && end == SQLITE_OK)
        append_clear(r);
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

/* Has the row at the cursor another key than it had? */
static int append_is_reused(struct rule *r, bool *out)
{
    *out = false;
    if (!r->cursor_key || !value_bind(r->at_cursor, 1, str_of(r->cursor)))
        return SQLITE_OK;
    if (sqlite3_step(r->at_cursor) == SQLITE_ROW) {
        struct typed key;
        append_key(&key, r->at_cursor, 0);
        char *now = append_dup(key.key);
        *out = strcmp(now, r->cursor_key) != 0;
        free(now);
    }
    return sqlite3_reset(r->at_cursor);
}

/* Goes where the row of that key is now; *found = false: nowhere. */
static int append_move_to_key(struct rule *r, const char *key, bool *found)
{
    *found = false;
    if (!value_bind(r->get, 1, str_of(key)))
        return SQLITE_OK;
    int rc = sqlite3_step(r->get);
    *found = rc == SQLITE_ROW && sqlite3_column_type(r->get, HEAD_CURSOR) != SQLITE_NULL;
    if (*found)
        append_move_to(r, r->get);
    int end = sqlite3_reset(r->get);
    return end == SQLITE_TOOBIG ? SQLITE_OK : end;
}

/* Goes where the row of the cursor is now, or else the last one before it that is still there. */
static int append_move_to_remembered(struct rule *r, bool *found)
{
    int rc = SQLITE_OK;
    *found = false;
    if (!r->cursor_key)
        return rc;
    append_pass(r);
    for (size_t i = 0; rc == SQLITE_OK && !*found && i < RULE_PASSED && i < r->passed_count; i++)
        rc = append_move_to_key(r, r->passed[(r->passed_count - 1 - i) % RULE_PASSED], found);
    return rc;
}

/* Steps back by one: the row at the cursor is new as well. */
static void append_step_back(struct rule *r)
{
    char text[24];
    int64_t cursor;
    if (!append_cursor_number(r, &cursor) || cursor == INT64_MIN)
        return;
    append_clear(r);
    snprintf(text, sizeof text, "i%" PRId64, cursor - 1);
    r->cursor = str_dup(str_of(text));
}

/* A cursor that was stored when another column was the rule's, or without what tells its rows apart: it goes on behind
 * the same row; when that is not known, with the first row of the same value (again, under the same ids). */
static int append_take_over(struct sqlite_source *s, struct rule *r)
{
    bool found = false;
    if (!r->by_rowid && !r->cursor_key) {
        r->tie = str_dup(APPEND_LEAST);
        return SQLITE_OK;
    }
    char *key = str_dup(str_of(r->cursor_key ? r->cursor_key : r->cursor));
    int rc = append_move_to_key(r, key, &found);
    if (rc == SQLITE_OK && !found) {
        LOG(WARN,
            "the row at which this rule stood is gone, and its cursor is another column now: going on from the "
            "newest row",
            LOG_C("source", s->base.id), LOG_C("rule", r->name), LOG_C("key", key));
        rc = append_move_to_end(s, r, false);
    }
    free(key);
    return rc;
}

/* Have ids started again? Then the cursor goes where the new rows begin, and a new epoch begins. */
static int append_check_ids(struct sqlite_source *s, struct rule *r)
{
    int64_t top = 0, cursor = 0;
    bool reused = false, found = false, number = append_cursor_number(r, &cursor);
    bool other_column = r->key_is_rowid && r->by_rowid && r->cursor_key && strcmp(r->cursor, r->cursor_key) != 0;
    if (other_column || (r->by_rowid ? !number : r->then && !r->tie))
        return append_take_over(s, r);
    if (!r->by_rowid)
        return SQLITE_OK; /* the values are the application's: they tell nothing of ids */
    int rc = append_is_reused(r, &reused);
    if (rc == SQLITE_OK)
        rc = append_top(r, &top);
    bool back = top < cursor;
    if (rc != SQLITE_OK || (!back && !reused))
        return rc;
    if (!r->key_is_rowid && r->cursor_key) { /* VACUUM may number the rows of such a table anew */
        rc = append_move_to_remembered(r, &found);
        if (rc != SQLITE_OK || found)
            return rc;
    }
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
    if (r->behind && r->top_known) {
        sqlite3_clear_bindings(r->behind);
        if (r->cursor
            && (!value_bind(r->behind, 1, str_of(r->cursor)) || !r->tie || !value_bind(r->behind, 3, str_of(r->tie))))
            return SQLITE_OK;
        sqlite3_bind_int64(r->behind, 4, r->top);
        int rc = append_number(r->behind, &behind);
        if (rc != SQLITE_OK)
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
        return append_check_ids(s, r);
    if (r->ready || s->start == START_SNAPSHOT) {
        r->top_known = true; /* 0: nothing has been looked at */
        return SQLITE_OK;
    }
    int rc = append_move_to_end(s, r, true);
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
    if (sqlite3_column_type(row, HEAD_KEY) == SQLITE_NULL) {
        metric_add(s->unkeyed, 1);
        rule_warn_of_unkeyed(s, r);
    } else if (r->o->kind == KIND_APPEND) {
        append_report_new(s, r, row, key.key);
    } else if (sqlite3_column_int(row, HEAD_DONE)) {
        append_report(s, r, "done", key.key, row, true);
    } else {
        append_report(s, r, "started", key.key, row, true);
        append_add_open(s, r, key.key, append_since(row));
    }
    append_move_to(r, row);
    r->above += r->behind && sqlite3_column_int64(row, HEAD_TIE) > r->top;
    s->slice.rows++;
}

/* The rule stands still from here on: a hashed cursor or tie cannot be compared with. */
static int append_refuse_cursor(struct sqlite_source *s, struct rule *r, bool *more)
{
    char why[WHY_BYTES];
    *more = false;
    if (!r->blocked)
        metric_add(s->unusable, 1); /* until the rules are compiled again */
    r->blocked = true;
    snprintf(why, sizeof why,
             "the rule stands still: the cursor of a row, or the key that tells it apart, is longer than %d bytes (a "
             "BLOB: %d), and nothing can be read from there on; use `%skind: diff`",
             KEY_BYTES, KEY_BYTES / 2, r->has_rowid ? "cursor: rowid`, or `" : "");
    rule_warn(s, r, why);
    return SQLITE_OK;
}

/* The rows behind the cursor, at most so many. */
static bool append_bind(const struct rule *r, sqlite3_stmt *stmt, int64_t rows)
{
    if (r->cursor && !value_bind(stmt, 1, str_of(r->cursor)))
        return false;
    if (r->cursor && r->then && !value_bind(stmt, 3, strcmp(r->tie, "n") == 0 ? APPEND_LEAST : str_of(r->tie)))
        return false; /* NULL compares with nothing, and sorts before all */
    return sqlite3_bind_int64(stmt, 2, rows) == SQLITE_OK;
}

/* The next row is too large to be read: it is taken without what is, or the cursor moves past it. */
static int append_take_large(struct sqlite_source *s, struct rule *r, bool *more)
{
    sqlite3_stmt *place = compile_place(s, r, r->cursor != NULL);
    int rc = place && append_bind(r, place, 1) ? sqlite3_step(place) : SQLITE_TOOBIG;
    *more = rc == SQLITE_ROW;
    if (rc == SQLITE_ROW) {
        sqlite3_stmt *row = large_row(s, r, STR_ABSENT, place, &rc);
        if (row) {
            append_take_row(s, r, row);
            large_end(r, row);
        } else if (rc == SQLITE_OK || rc == SQLITE_TOOBIG) { /* refused, or not the rule's */
            append_move_to(r, place);
            r->above += r->behind && sqlite3_column_int64(place, HEAD_TIE) > r->top;
            s->slice.rows++;
            rc = SQLITE_OK;
        }
    }
    sqlite3_finalize(place);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* One LIMIT batch; *more = there may be others behind it. */
static int append_scan(struct sqlite_source *s, struct rule *r, bool *more)
{
    sqlite3_stmt *stmt = r->cursor ? r->next : r->first;
    int64_t rows = 0;
    bool full = false;
    if (!append_bind(r, stmt, s->batch))
        return append_refuse_cursor(s, r, more);
    while (!full && sqlite3_step(stmt) == SQLITE_ROW) {
        append_take_row(s, r, stmt);
        rows++;
        full = slice_full(s);
    }
    metric_add(s->rows_read, rows);
    *more = full || rows == s->batch;
    int rc = sqlite3_reset(stmt);
    return rc == SQLITE_TOOBIG ? append_take_large(s, r, more) : rc;
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

/* The open row whose turn it is has a value that is too large to be read. */
static int append_revisit_large(struct sqlite_source *s, struct rule *r)
{
    int rc;
    sqlite3_stmt *now = large_row(s, r, row_key(r->rows.slots[r->slot]), NULL, &rc);
    if (rc != SQLITE_OK && rc != SQLITE_TOOBIG)
        return rc;
    append_revisit_row(s, r, now); /* NULL: as good as gone */
    if (now)
        large_end(r, now);
    return SQLITE_OK;
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
        if (rc == SQLITE_TOOBIG) {
            sqlite3_reset(r->get);
            rc = append_revisit_large(s, r);
        } else if (rc == SQLITE_ROW || rc == SQLITE_DONE) {
            append_revisit_row(s, r, rc == SQLITE_ROW ? r->get : NULL);
            rc = sqlite3_reset(r->get);
        }
        if (rc != SQLITE_OK) {
            sqlite3_reset(r->get);
            return rc;
        }
        s->slice.rows++;
        metric_add(s->rows_read, 1);
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
        if ((rc = fit_count_unkeyed(s, r)) != SQLITE_OK || (rc = append_begin(s, r)) != SQLITE_OK)
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
            if ((rc = append_count_behind(s, r)) != SQLITE_OK)
                return slice_failed(s, r, rc, e);
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
