/* SPDX-License-Identifier: MIT */
/* Rows that come behind a rowid cursor, as where the application chooses its ids itself: nothing but their number tells
 * of them. All rows up to the cursor are counted, a piece at each look, and compared with the count before and the rows
 * that the cursor has passed since. A row deleted meanwhile hides one, so it counts too few rather than too many. */
#include "connectors/sqlite/sqlite.h"

enum { CENSUS_ROWS = 8192 }; /* a piece: well under a millisecond or two, so that no writer waits for it */

void census_forget(struct rule *r)
{
    r->census = (struct census){ .of = r->census.of };
}

void census_begin(struct rule *r)
{
    const struct rule_options *o = r->o;
    uint64_t of = str_hash(str_of(o->table ? o->table : "")) * 31 + str_hash(str_of(o->where ? o->where : ""));
    of = of ? of : 1;
    if (of == r->census.of)
        return;
    r->census.of = of;
    census_forget(r);
}

int64_t census_rows(const struct rule *r)
{
    return r->census.known ? r->census.rows + r->census.passed : -1;
}

/* The count has come to the cursor. */
static void census_compare(struct sqlite_source *s, struct rule *r)
{
    int64_t expected = census_rows(r), found = r->census.sum;
    if (expected >= 0 && found > expected) {
        metric_add(s->behind, found - expected);
        rule_warn(s, r,
                  "rows came with an id smaller than the largest (the application chooses its ids), or came to meet "
                  "`where` later, and are not captured (counted as behind); use `kind: diff`");
    }
    r->moved = r->moved || (r->cursor && found != expected);
    r->census = (struct census){ .of = r->census.of, .known = true, .rows = found };
}

int census_count(struct sqlite_source *s, struct rule *r)
{
    if (!r->count)
        return SQLITE_OK;
    sqlite3_bind_int64(r->count, 1, r->census.begun ? r->census.at : INT64_MIN);
    sqlite3_bind_int64(r->count, 2, CENSUS_ROWS);
    int64_t rows = 0, last = INT64_MAX;
    if (sqlite3_step(r->count) == SQLITE_ROW) {
        rows = sqlite3_column_int64(r->count, 0);
        r->census.sum += sqlite3_column_int64(r->count, 1);
        last = sqlite3_column_int64(r->count, 2);
    }
    int rc = sqlite3_reset(r->count);
    if (rc == SQLITE_TOOBIG || rc == SQLITE_INTERRUPT) { /* what `where` reads is too large, or takes too long */
        census_forget(r);
        return SQLITE_OK;
    }
    r->census.begun = rc == SQLITE_OK && rows == CENSUS_ROWS && last < INT64_MAX;
    r->census.at = r->census.begun ? last + 1 : INT64_MIN;
    if (rc == SQLITE_OK && !r->census.begun)
        census_compare(s, r);
    return rc;
}
