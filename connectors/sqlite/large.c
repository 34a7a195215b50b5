/* SPDX-License-Identifier: MIT */
/* A row with a value that is too large to be read: it is read again without such values, each of them found by asking
 * for it alone. SQLite fails by a value's length, before it takes memory for it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "connectors/sqlite/large.h"

enum { LARGE_NAME = 160 };

/* One row by key: a typed one, or that of a row at hand. */
static bool large_bind(sqlite3_stmt *stmt, struct str key, sqlite3_stmt *place)
{
    return key.at ? value_bind(stmt, 1, key)
                  : sqlite3_bind_value(stmt, 1, sqlite3_column_value(place, HEAD_KEY)) == SQLITE_OK;
}

/* Is that one value too large? Takes stmt. */
static bool large_is(sqlite3_stmt *stmt, struct str key, sqlite3_stmt *place)
{
    bool large = stmt && large_bind(stmt, key, place) && sqlite3_step(stmt) == SQLITE_TOOBIG;
    sqlite3_finalize(stmt);
    return large;
}

/* Finds the columns that are. */
static void large_find(struct sqlite_source *s, struct rule *r, struct str key, sqlite3_stmt *place,
                       bool large[LARGE_COLUMNS])
{
    const struct rule_options *o = r->o;
    large[LARGE_TIME] = o->time && large_is(compile_cell(s, r, LARGE_TIME, NULL, false), key, place);
    large[LARGE_DONE] = o->done && large_is(compile_cell(s, r, LARGE_DONE, NULL, false), key, place);
    for (int i = 0; i < (int)o->watch.count; i++)
        large[LARGE_WATCH + i] = !r->lacks[i] && large_is(compile_cell(s, r, LARGE_WATCH + i, NULL, false), key, place);
    for (int i = 0; i < r->field_count; i++)
        r->fields[i].large = large_is(compile_cell(s, r, 0, &r->fields[i], false), key, place);
}

/* What a refused row is called: its rowid, else the beginning of its key or cursor. */
static void large_name(char name[LARGE_NAME], const struct rule *r, sqlite3_stmt *place)
{
    int rowid = r->by_rowid ? HEAD_CURSOR : HEAD_TIE,
        col = sqlite3_column_type(place, HEAD_KEY) == SQLITE_NULL ? HEAD_CURSOR : HEAD_KEY;
    if (r->has_rowid && sqlite3_column_type(place, rowid) == SQLITE_INTEGER) {
        snprintf(name, LARGE_NAME, "rowid %lld", sqlite3_column_int64(place, rowid));
        return;
    }
    char *exact = value_exact(place, col);
    snprintf(name, LARGE_NAME, "%.60s %.60s", col == HEAD_KEY ? r->o->key : r->by, exact + 1);
    if (strlen(exact) > 61) /* others may begin so */
        snprintf(name + strlen(name), LARGE_NAME - strlen(name), "... (%zu bytes, %08" PRIx32 ")", strlen(exact + 1),
                 (uint32_t)str_hash(str_of(exact)));
    free(exact);
}

void large_refuse(struct sqlite_source *s, struct rule *r, struct str key, sqlite3_stmt *place, const char *why)
{
    char name[LARGE_NAME];
    if (place)
        large_name(name, r, place);
    else
        snprintf(name, sizeof name, "%.60s %.*s", r->o->key, key.n > 60 ? 60 : (int)key.n, value_key_plain(key).at);
    refuse_row_once(s, r, name, why);
}

sqlite3_stmt *large_row(struct sqlite_source *s, struct rule *r, struct str key, sqlite3_stmt *place, int *rc)
{
    bool large[LARGE_COLUMNS] = { 0 };
    *rc = SQLITE_OK;
    if (r->o->where && large_is(compile_cell(s, r, 0, NULL, true), key, place)) {
        *rc = SQLITE_TOOBIG;
        large_refuse(s, r, key, place, "`where` reads a value of it that is too large");
        return NULL;
    }
    large_find(s, r, key, place, large);
    sqlite3_stmt *row = compile_row(s, r, large);
    *rc = row && large_bind(row, key, place) ? sqlite3_step(row) : SQLITE_TOOBIG;
    if (*rc == SQLITE_ROW) {
        *rc = SQLITE_OK;
        return row;
    }
    if (*rc == SQLITE_DONE)
        *rc = SQLITE_OK;
    else if (*rc == SQLITE_TOOBIG)
        large_refuse(s, r, key, place, "a value of it is too large, and it cannot be read without that");
    large_end(r, row);
    return NULL;
}

void large_end(struct rule *r, sqlite3_stmt *row)
{
    sqlite3_finalize(row);
    for (int i = 0; i < r->field_count; i++)
        r->fields[i].large = false;
}

/* ---- where the next row stands ---- */

/* The statement on its row, or NULL and *rc. */
static sqlite3_stmt *large_step(struct sqlite_source *s, struct rule *r, const struct place *p, large_bind_fn *bind,
                                int *rc)
{
    sqlite3_stmt *stmt = compile_place(s, r, p);
    *rc = stmt && bind(r, stmt) ? sqlite3_step(stmt) : SQLITE_ERROR;
    if (*rc == SQLITE_ROW && sqlite3_column_int(stmt, HEAD_TIME))
        return stmt;
    if (*rc == SQLITE_ROW)
        *rc = SQLITE_DONE; /* a damaged index */
    sqlite3_finalize(stmt);
    return NULL;
}

/* That row again, with its key; NULL and SQLITE_TOOBIG: it cannot be read. (Where rows are sorted, the key that cannot
 * be read may be another row's.) Takes place. */
static sqlite3_stmt *large_with_key(struct sqlite_source *s, struct rule *r, sqlite3_stmt **place, int *rc)
{
    sqlite3_stmt *stmt = compile_place(s, r, &(struct place){ PLACE_OF_ROWID, PLACE_WHOLE, 0, 1 });
    int col = r->then ? HEAD_TIE : HEAD_CURSOR;
    *rc = stmt ? sqlite3_bind_value(stmt, 1, sqlite3_column_value(*place, col)) : SQLITE_ERROR;
    if (*rc == SQLITE_OK)
        *rc = sqlite3_step(stmt);
    if (*rc == SQLITE_ROW) {
        sqlite3_finalize(*place);
        *place = NULL;
        return stmt;
    }
    sqlite3_finalize(stmt);
    return NULL;
}

static bool large_skip(struct rule *r, int64_t rowid)
{
    if (r->skip_count == RULE_SKIPPED)
        return false;
    r->skip[r->skip_count++] = rowid;
    return true;
}

/* The rowid behind that one, be it what it may; false: there is none. */
static bool large_next_rowid(struct sqlite_source *s, const struct rule *r, int64_t *rowid)
{
    sqlite3_stmt *stmt = NULL;
    char *sql = sqlite3_mprintf("SELECT min(rowid) FROM \"%w\" WHERE rowid > %lld", r->o->table, (long long)*rowid);
    bool found = sql && sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW
                 && sqlite3_column_type(stmt, 0) == SQLITE_INTEGER;
    if (found)
        *rowid = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_free(sql);
    return found;
}

/* Reads the cursor of each row behind that rowid, up to one that cannot be read. */
static int large_walk(struct sqlite_source *s, const struct rule *r, int64_t *rowid)
{
    sqlite3_stmt *stmt = NULL;
    char *sql = sqlite3_mprintf("SELECT rowid, \"%w\" FROM \"%w\" WHERE rowid > %lld ORDER BY rowid", r->by,
                                r->o->table, (long long)*rowid);
    int rc = sql ? sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL) : SQLITE_NOMEM;
    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        *rowid = sqlite3_column_int64(stmt, 0);
        rc = SQLITE_OK;
    }
    sqlite3_finalize(stmt);
    sqlite3_free(sql);
    return rc;
}

/* The rows are sorted, as no index orders them: those that cannot be are left out from now on. SQLITE_TOOBIG: they
 * cannot be found. */
static int large_leave_out(struct sqlite_source *s, struct rule *r)
{
    int64_t rowid = INT64_MIN;
    size_t before = r->skip_count;
    int rc = r->has_rowid ? SQLITE_TOOBIG : SQLITE_DONE;
    while (rc == SQLITE_TOOBIG && (rc = large_walk(s, r, &rowid)) == SQLITE_TOOBIG) {
        char name[LARGE_NAME];
        if (!large_next_rowid(s, r, &rowid) || !large_skip(r, rowid))
            return SQLITE_TOOBIG;
        snprintf(name, sizeof name, "rowid %lld", (long long)rowid);
        refuse_row_once(s, r, name, "its cursor or key is too large to be read");
    }
    if (rc != SQLITE_DONE || r->skip_count == before)
        return rc == SQLITE_DONE ? SQLITE_TOOBIG : rc;
    compile_rule(s, r);
    return SQLITE_OK;
}

/* Without a rowid such a row has no name but its place, which is another when rows come before it: so they are counted
 * from the position on. */
static void large_refuse_place(struct sqlite_source *s, struct rule *r, sqlite3_stmt *place, const struct place *p)
{
    static const char why[] = "its cursor or key is too large to be read";
    char name[LARGE_NAME];
    if (p->from == PLACE_NEWEST)
        return; /* it is not new */
    if (r->has_rowid) {
        large_name(name, r, place);
        refuse_row_once(s, r, name, why);
    } else if (r->met++ >= r->known) {
        char *behind = value_cut(r->cursor ? r->cursor : "");
        snprintf(name, sizeof name, "%lld behind %.60s \"%.60s\"", (long long)p->offset + 1, r->by,
                 *behind ? behind + 1 : "");
        refuse_row(s, r, name, why);
        free(behind);
    }
}

sqlite3_stmt *large_place(struct sqlite_source *s, struct rule *r, enum place_from from, int64_t offset,
                          large_bind_fn *bind, bool *keyless, int *rc)
{
    struct place p = { .from = from, .limit = 1, .offset = offset };
    for (*keyless = false;; p.offset++) {
        p.of = PLACE_WHOLE;
        sqlite3_stmt *place = large_step(s, r, &p, bind, rc), *keyed;
        if (*rc != SQLITE_TOOBIG) {
            *rc = *rc == SQLITE_ROW || *rc == SQLITE_DONE ? SQLITE_OK : *rc;
            return place;
        }
        p.of = PLACE_KEYLESS;
        if ((place = large_step(s, r, &p, bind, rc))) {
            keyed = large_with_key(s, r, &place, rc);
            *keyless = !keyed;
            if (!keyed && from != PLACE_NEWEST)
                large_refuse(s, r, STR_ABSENT, place, "its key is too large to be read");
            *rc = SQLITE_OK;
            return keyed ? keyed : place;
        }
        p.of = PLACE_BLIND;
        if (*rc == SQLITE_TOOBIG && !(place = large_step(s, r, &p, bind, rc)) && *rc == SQLITE_TOOBIG)
            *rc = large_leave_out(s, r);
        if (!place) {
            *rc = *rc == SQLITE_DONE ? SQLITE_OK : *rc;
            return NULL;
        }
        large_refuse_place(s, r, place, &p);
        sqlite3_finalize(place);
    }
}
