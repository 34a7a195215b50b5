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

enum { LATE = 48 }; /* an aborted row is watched so many times abort_after */

struct typed {
    char text[KEY_BYTES + 8];
    struct str key;
};

static void key_of(struct typed *out, sqlite3_stmt *row, int col)
{
    struct buf buf = { .at = out->text, .cap = sizeof out->text, .max = sizeof out->text };
    value_key(&buf, row, col);
    out->key = buf_str(&buf);
}

static uint64_t guard_of(const struct rule *r, sqlite3_stmt *row)
{
    uint64_t guard = value_hash(row, HEAD_KEY) ^ (r->o->time ? value_hash(row, HEAD_TIME) * 31 : 0);
    return guard ? guard : 1;
}

/* The cursor stands on this row now. */
static void move_to(struct rule *r, sqlite3_stmt *row)
{
    struct typed cursor;
    key_of(&cursor, row, HEAD_CURSOR);
    free(r->cursor);
    r->cursor = str_dup(cursor.key);
    r->guard = guard_of(r, row);
    r->moved = true;
}

static void store_cursor(struct sqlite_source *s, struct rule *r)
{
    char text[KEY_BYTES + 32];
    if (r->moved && r->cursor)
        snprintf(text, sizeof text, "%016" PRIx64 " %s", r->guard, r->cursor);
    if (r->moved)
        batch_change(s, r, "cursor", STR(""), r->cursor ? str_of(text) : STR_ABSENT, false);
    r->moved = false;
}

static void store_epoch(struct sqlite_source *s, struct rule *r)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, ++r->epoch);
    batch_change(s, r, "epoch", STR(""), str_of(text), false);
    s->found.alone = true;
    metric_add(s->restarts, 1);
}

/* ---- open rows ---- */

static void store_open(struct sqlite_source *s, struct rule *r, struct str key, uint64_t since, bool aborted)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRIu64 " %d", since, aborted);
    batch_change(s, r, "open/", key, str_of(text), false);
}

/* When the row began: its own time, unless that lies in the future. */
static uint64_t since_of(sqlite3_stmt *row)
{
    int64_t now = clock_wall_ms(), ms;
    return (uint64_t)(value_time(row, HEAD_TIME, &ms) && ms >= 0 && ms <= now ? ms : now);
}

static void open_put(struct sqlite_source *s, struct rule *r, struct str key, uint64_t since)
{
    struct row *row = row_new(key, since, NULL, 0, STR_ABSENT);
    row->pass = s->pass;
    rows_put(&r->rows, row);
    store_open(s, r, key, since, false);
}

static void happened(struct sqlite_source *s, struct rule *r, const char *op, struct str key, sqlite3_stmt *row,
                     bool timed)
{
    const char *type = rule_type(r, str_of(op));
    if (type)
        batch_event(s, r, &(struct happening){ .op = op, .type = type, .key = key, .row = row, .timed = timed });
}

/* ---- the first pass, and ids that start again ---- */

/* To the newest row. At the very first start an open_row rule also takes in what is unfinished and young. */
static int stand_at_end(struct sqlite_source *s, struct rule *r, bool first)
{
    int rc;
    bool any = false;
    while ((rc = sqlite3_step(r->recent)) == SQLITE_ROW) {
        if (!any)
            move_to(r, r->recent);
        any = true;
        if (!first || r->o->kind != KIND_OPEN_ROW)
            break;
        struct typed key;
        key_of(&key, r->recent, HEAD_KEY);
        uint64_t since = since_of(r->recent);
        if (!sqlite3_column_int(r->recent, HEAD_DONE) && clock_wall_ms() - (int64_t)since < r->o->abort_after.ms)
            open_put(s, r, key.key, since);
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
static int top_of(struct rule *r, int64_t *top)
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

/* Is the row at the cursor another one than it was? */
static int reused(struct rule *r, bool *out)
{
    *out = false;
    if (!r->guard || !value_bind(r->at_cursor, 1, str_of(r->cursor)))
        return SQLITE_OK;
    if (sqlite3_step(r->at_cursor) == SQLITE_ROW)
        *out = guard_of(r, r->at_cursor) != r->guard;
    return sqlite3_reset(r->at_cursor);
}

static int check_guards(struct sqlite_source *s, struct rule *r)
{
    int64_t top, cursor;
    bool other;
    int rc = reused(r, &other);
    bool number = str_to_i64(value_key_plain(str_of(r->cursor)), &cursor) && r->cursor[0] == 'i';
    if (rc == SQLITE_OK && number)
        rc = top_of(r, &top);
    if (rc != SQLITE_OK)
        return rc;
    bool back = number && top < cursor;
    if (!back && !other)
        return SQLITE_OK;
    LOG(WARN,
        back ? "ids start again (rows deleted, or a restored file): going on from the newest row"
             : "ids were used again: going on from there",
        LOG_C("source", s->base.id), LOG_C("rule", r->name), LOG_C("cursor", r->cursor));
    if (back) {
        rc = stand_at_end(s, r, false);
        if (rc != SQLITE_OK)
            return rc;
    } else {
        r->guard = 0;
        r->moved = true;
        if (number && cursor > INT64_MIN) { /* the row at the cursor is new as well */
            char text[24];
            snprintf(text, sizeof text, "i%" PRId64, cursor - 1);
            free(r->cursor);
            r->cursor = str_dup(str_of(text));
        }
    }
    store_epoch(s, r);
    return SQLITE_OK;
}

static int begin(struct sqlite_source *s, struct rule *r)
{
    if (r->cursor)
        return check_guards(s, r);
    if (r->ready || s->start == START_SNAPSHOT)
        return SQLITE_OK;
    int rc = stand_at_end(s, r, true);
    if (rc == SQLITE_OK)
        batch_ready(s, r);
    return rc;
}

/* ---- new rows ---- */

static void take_append(struct sqlite_source *s, struct rule *r, sqlite3_stmt *row, struct str key)
{
    const char *type = NULL;
    for (int i = 0; r->o->type_column && i < r->field_count; i++)
        if (str_eq_nocase(str_of(r->fields[i].name), str_of(r->o->type_column))) {
            buf_reset(&s->small);
            value_plain(&s->small, row, HEAD + i);
            type = rule_type(r, buf_str(&s->small));
        }
    if (!type && !r->o->type_column)
        type = rule_type(r, STR("insert"));
    if (!type)
        type = rule_type(r, STR("*"));
    if (type)
        batch_event(s, r, &(struct happening){ .op = "insert", .type = type, .key = key, .row = row, .timed = true });
}

static void take_row(struct sqlite_source *s, struct rule *r, sqlite3_stmt *row)
{
    struct typed key;
    key_of(&key, row, HEAD_KEY);
    if (r->o->kind == KIND_APPEND) {
        take_append(s, r, row, key.key);
    } else if (sqlite3_column_int(row, HEAD_DONE)) {
        happened(s, r, "done", key.key, row, true);
    } else {
        happened(s, r, "started", key.key, row, true);
        open_put(s, r, key.key, since_of(row));
    }
    move_to(r, row);
    s->handled++;
}

/* One LIMIT batch; *more = there may be others behind it. */
static int scan(struct sqlite_source *s, struct rule *r, bool *more)
{
    sqlite3_stmt *stmt = r->cursor ? r->next : r->first;
    int64_t rows = 0;
    bool full = false;
    if (r->cursor && !value_bind(stmt, 1, str_of(r->cursor)))
        return SQLITE_TOOBIG;
    sqlite3_bind_int64(stmt, 2, s->batch);
    while (!full && sqlite3_step(stmt) == SQLITE_ROW) {
        take_row(s, r, stmt);
        rows++;
        full = slice_full(s);
    }
    metric_add(s->rows_read, rows);
    *more = full || rows == s->batch;
    return sqlite3_reset(stmt);
}

/* ---- open rows, again ---- */

static void forget(struct sqlite_source *s, struct rule *r)
{
    batch_change(s, r, "open/", row_key(r->rows.slots[r->index]), STR_ABSENT, false);
    rows_drop(&r->rows, r->index);
}

/* The open row at r->index, with what it looks like now (NULL: deleted). */
static void judge(struct sqlite_source *s, struct rule *r, sqlite3_stmt *now)
{
    struct row *row = r->rows.slots[r->index];
    int64_t age = clock_wall_ms() - (int64_t)row->version;
    row->pass = s->pass;
    if (now && sqlite3_column_int(now, HEAD_DONE)) {
        happened(s, r, "done", row_key(row), now, false);
        forget(s, r);
        return;
    }
    if (!row->aborted && (!now || age >= r->o->abort_after.ms)) {
        happened(s, r, "aborted", row_key(row), now, false);
        row->aborted = true;
        if (now)
            store_open(s, r, row_key(row), row->version, true);
    }
    if (!now || age / LATE >= r->o->abort_after.ms)
        forget(s, r);
    else
        r->index++;
}

static int again(struct sqlite_source *s, struct rule *r, bool *more)
{
    while (r->index < r->rows.cap) {
        struct row *row = r->rows.slots[r->index];
        if (!row || row->pass == s->pass) {
            r->index++;
            continue;
        }
        *more = slice_full(s);
        if (*more)
            return SQLITE_OK;
        int rc = value_bind(r->get, 1, row_key(row)) ? sqlite3_step(r->get) : SQLITE_DONE;
        if (rc != SQLITE_ROW && rc != SQLITE_DONE)
            return sqlite3_reset(r->get);
        judge(s, r, rc == SQLITE_ROW ? r->get : NULL);
        s->handled++;
        metric_add(s->rows_read, 1);
        sqlite3_reset(r->get);
    }
    *more = false;
    return SQLITE_OK;
}

/* ---- */

static enum step stop(struct sqlite_source *s, struct rule *r, enum step step)
{
    store_cursor(s, r);
    return step;
}

enum step append_step(struct sqlite_source *s, struct rule *r, struct err *e)
{
    bool more;
    int rc;
    if (r->phase == PHASE_BEGIN) {
        rc = begin(s, r);
        if (rc != SQLITE_OK)
            return stop(s, r, step_failed(s, r, rc, e));
        if (s->found.alone)
            return stop(s, r, STEP_FULL); /* a new epoch is stored before its events */
        r->phase = PHASE_SCAN;
    }
    while (r->phase == PHASE_SCAN) {
        rc = scan(s, r, &more);
        if (rc != SQLITE_OK)
            return stop(s, r, step_failed(s, r, rc, e));
        if (more && slice_full(s))
            return stop(s, r, STEP_FULL);
        if (!more) {
            r->phase = PHASE_AGAIN;
            r->index = 0;
        }
    }
    rc = r->o->kind == KIND_OPEN_ROW ? again(s, r, &more) : SQLITE_OK;
    if (rc != SQLITE_OK)
        return stop(s, r, step_failed(s, r, rc, e));
    if (r->o->kind == KIND_OPEN_ROW && more)
        return stop(s, r, STEP_FULL);
    if (!r->ready)
        batch_ready(s, r);
    return stop(s, r, STEP_DONE);
}

int64_t append_due(const struct rule *r)
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
