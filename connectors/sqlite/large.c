/* SPDX-License-Identifier: MIT */
/* A row with a value that is too large to be read: it is read again without such values, each of them found by asking
 * for it alone. SQLite fails by a value's length, before it takes memory for it. */
#include "connectors/sqlite/value.h"

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

static void large_refuse(struct sqlite_source *s, struct rule *r, const char *why)
{
    metric_add(s->refused, 1);
    rule_warn(s, r, why);
}

sqlite3_stmt *large_row(struct sqlite_source *s, struct rule *r, struct str key, sqlite3_stmt *place, int *rc)
{
    bool large[LARGE_COLUMNS] = { 0 };
    *rc = SQLITE_OK;
    if (r->o->where && large_is(compile_cell(s, r, 0, NULL, true), key, place)) {
        *rc = SQLITE_TOOBIG;
        large_refuse(s, r, "rows are refused: `where` reads a value that is too large");
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
        large_refuse(s, r, "rows are refused: a value of theirs is too large, and they cannot be read without it");
    large_end(r, row);
    return NULL;
}

void large_end(struct rule *r, sqlite3_stmt *row)
{
    sqlite3_finalize(row);
    for (int i = 0; i < r->field_count; i++)
        r->fields[i].large = false;
}
