/* SPDX-License-Identifier: MIT */
/* The unfinished rows of kind open_row, read again until they are done.
 *
 *   (insert) --done--> done                a row that is finished at once is only reported so
 *      |--not done--> started --done--> done
 *                        |--abort_after, or deleted--> aborted --done--> done (late, but not lost) */
#include "connectors/sqlite/large.h"
#include "connectors/sqlite/open.h"
#include "connectors/sqlite/position.h"
#include "connectors/sqlite/render.h"
#include <stdlib.h>

enum { OPEN_LATE = 48 }; /* an aborted row is watched so many times abort_after */

uint64_t open_since(const struct sqlite_source *s, const struct rule *r, sqlite3_stmt *row)
{
    int64_t now = clock_wall_ms(), ms;
    if (s->rehearsed)
        return (uint64_t)now;
    return (uint64_t)(value_time_until(row, HEAD_TIME, r->zone, now, &ms) && ms >= 0 && ms <= now ? ms : now);
}

bool open_can_be_kept(struct sqlite_source *s, struct rule *r, sqlite3_stmt *row)
{
    char *exact = value_exact(row, HEAD_KEY);
    bool can = strlen(exact) <= EXACT_BYTES;
    free(exact);
    if (!can)
        large_refuse(s, r, STR_ABSENT, row,
                     "it is unfinished, and its key is too long to look for it again; it is told once it is finished "
                     "when it is first read");
    return can;
}

/* What is kept with an open row: the exact key of one that is hashed, else the JSON of `keep`; NULL: nothing. */
static char *open_kept(struct sqlite_source *s, struct rule *r, struct str key, sqlite3_stmt *from)
{
    if (key.at[0] == 'h')
        return value_exact(from, HEAD_KEY);
    if (!r->o->keep.count || sqlite3_column_count(from) != HEAD + r->field_count)
        return NULL;
    struct buf json = buf_new(EXACT_BYTES);
    render_kept(s, r, from, &json);
    char *kept = json.failed ? NULL : str_dup(buf_str(&json));
    buf_free(&json);
    return kept;
}

static const char *open_json(const struct row *row)
{
    const char *kept = row_kept(row);
    return kept && kept[0] == '{' ? kept : NULL;
}

void open_add(struct sqlite_source *s, struct rule *r, struct str key, sqlite3_stmt *from)
{
    char *with = open_kept(s, r, key, from);
    struct birth birth = position_birth(r, from);
    uint64_t kept[OPEN_BIRTH] = { (uint64_t)birth.epoch, (uint64_t)birth.rowid };
    struct row *row = row_new(key, open_since(s, r, from), kept, OPEN_BIRTH, str_of(with));
    row->pass = s->pass.number;
    row = rows_put(&r->rows, row);
    state_store_open(s, r, row);
    free(with);
}

/* Of a row that an earlier version kept it is not known: as of one of now, as that version had it. */
static struct birth open_birth(const struct rule *r, const struct row *row)
{
    if (row->count != OPEN_BIRTH)
        return (struct birth){ .epoch = r->epoch };
    return (struct birth){ (int64_t)row->hashes[0], (int64_t)row->hashes[1] };
}

void open_report(struct sqlite_source *s, struct rule *r, const char *op, struct str key, struct birth birth,
                 sqlite3_stmt *row, const char *kept, bool timed)
{
    const char *type = rule_type(r, str_of(op));
    if (type)
        mapped_tell(s, r,
                    &(struct happening){
                        .op = op, .type = type, .key = key, .birth = birth, .row = row, .kept = kept, .timed = timed });
}

/* ---- at the first start ---- */

static void open_take_if_young(struct sqlite_source *s, struct rule *r, sqlite3_stmt *row)
{
    struct buf key = buf_new(KEY_BYTES + 8);
    value_key(&key, row, HEAD_KEY);
    if (!sqlite3_column_int(row, HEAD_DONE) && sqlite3_column_type(row, HEAD_KEY) != SQLITE_NULL
        && clock_wall_ms() - (int64_t)open_since(s, r, row) < r->o->abort_after.ms && open_can_be_kept(s, r, row))
        open_add(s, r, buf_str(&key), row);
    buf_free(&key);
}

/* Some row among them is too large to be read: one by one, without what is. */
static int open_take_young_large(struct sqlite_source *s, struct rule *r)
{
    int rc = SQLITE_OK;
    for (int64_t i = 0; rc == SQLITE_OK && i < RECENT_ROWS; i++) {
        bool keyless;
        sqlite3_stmt *place = large_place(s, r, PLACE_NEWEST, i, position_bind, &keyless, &rc);
        if (!place)
            return rc;
        sqlite3_stmt *row = keyless ? NULL : large_row(s, r, STR_ABSENT, place, &rc);
        if (row) {
            open_take_if_young(s, r, row);
            large_end(r, row);
        }
        sqlite3_finalize(place);
        rc = rc == SQLITE_TOOBIG ? SQLITE_OK : rc; /* refused */
    }
    return rc;
}

int open_take_young(struct sqlite_source *s, struct rule *r)
{
    while (sqlite3_step(r->recent) == SQLITE_ROW)
        open_take_if_young(s, r, r->recent);
    int rc = sqlite3_reset(r->recent);
    return rc == SQLITE_TOOBIG ? open_take_young_large(s, r) : rc;
}

/* ---- again ---- */

/* The key as it can be looked for. */
static struct str open_key(const struct row *row)
{
    return row_kept(row) && !open_json(row) ? str_of(row_kept(row)) : row_key(row);
}

/* Forgets the row whose turn it is. */
static void open_forget(struct sqlite_source *s, struct rule *r)
{
    state_forget_open(s, r, row_key(r->rows.slots[r->slot]));
    rows_drop(&r->rows, r->slot);
}

/* The open row at r->slot, with what it looks like now (NULL: deleted). */
static void open_revisit_row(struct sqlite_source *s, struct rule *r, sqlite3_stmt *now)
{
    struct row *row = r->rows.slots[r->slot];
    int64_t age = clock_wall_ms() - (int64_t)row->version;
    row->pass = s->pass.number;
    if (now && sqlite3_column_int(now, HEAD_DONE)) {
        open_report(s, r, "done", row_key(row), open_birth(r, row), now, open_json(row), false);
        open_forget(s, r);
        return;
    }
    if (!row->aborted && (!now || age >= r->o->abort_after.ms)) {
        open_report(s, r, "aborted", row_key(row), open_birth(r, row), now, open_json(row), false);
        row->aborted = true;
        if (now)
            state_store_open(s, r, row);
    }
    if (!now || age / OPEN_LATE >= r->o->abort_after.ms)
        open_forget(s, r);
    else
        r->slot++;
}

/* The open row whose turn it is has a value that is too large to be read. */
static int open_revisit_large(struct sqlite_source *s, struct rule *r)
{
    int rc;
    sqlite3_stmt *now = large_row(s, r, open_key(r->rows.slots[r->slot]), NULL, &rc);
    if (rc != SQLITE_OK && rc != SQLITE_TOOBIG)
        return rc;
    open_revisit_row(s, r, now); /* NULL: as good as gone */
    if (now)
        large_end(r, now);
    return SQLITE_OK;
}

int open_revisit(struct sqlite_source *s, struct rule *r, bool *more)
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
        int rc = value_bind(r->get, 1, open_key(row)) ? sqlite3_step(r->get) : SQLITE_DONE;
        if (rc == SQLITE_TOOBIG) {
            sqlite3_reset(r->get);
            rc = open_revisit_large(s, r);
        } else if (rc == SQLITE_ROW || rc == SQLITE_DONE) {
            open_revisit_row(s, r, rc == SQLITE_ROW ? r->get : NULL);
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

int64_t open_due_ms(const struct rule *r)
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
