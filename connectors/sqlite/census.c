/* SPDX-License-Identifier: MIT */
/* Rows that a rule does not look at, of which nothing but their number tells: those that come behind a rowid cursor, as
 * where the application chooses its ids itself, and those that go below the window of a diff (`last`). All rows up to
 * there are counted, a piece at each look, and compared with the count before and the rows that were passed since. A row
 * deleted meanwhile hides one that came, and the other way round, so it counts too few rather than too many. */
#include "connectors/sqlite/sqlite.h"

METRIC_GAUGE(aqueduct_sqlite_rule_rows_below_last,
             "Rows that a rule with `last` does not look at, counted since the start, 8192 at each look.", "source",
             "rule");
METRIC_COUNTER(
    aqueduct_sqlite_rule_unseen_deletes_total,
    "Rows that a rule with `last` does not look at and that were deleted, or do not meet `where` any more; not told.",
    "source", "rule");

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

/* Those below a diff's window. */
static void census_compare_below(struct sqlite_source *s, struct rule *r, int64_t expected, int64_t found)
{
    if (found >= expected)
        return;
    metric_add(r->counts.unseen_deletes, expected - found);
    rule_warn(
        s, r,
        "rows that are older than `last` reaches were deleted, which is not told (counted as unseen_deletes); leave "
        "`last` out to see all");
}

/* The count has come to the cursor. */
static void census_compare(struct sqlite_source *s, struct rule *r)
{
    int64_t expected = census_rows(r), found = r->census.sum;
    if (r->o->kind == KIND_DIFF) {
        census_compare_below(s, r, expected, found);
        r->census = (struct census){ .of = r->census.of, .known = true, .rows = found };
        return;
    }
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

int census_count_below(struct sqlite_source *s, struct rule *r, int64_t floor)
{
    if (!r->count)
        return SQLITE_OK;
    if (!r->counts.below) {
        r->counts.below = metric_get(&aqueduct_sqlite_rule_rows_below_last, LABELS(s->base.id, r->name));
        r->counts.unseen_deletes = metric_get(&aqueduct_sqlite_rule_unseen_deletes_total, LABELS(s->base.id, r->name));
    }
    sqlite3_bind_int64(r->count, 3, floor);
    int rc = census_count(s, r);
    metric_set(r->counts.below, census_rows(r) >= 0 ? census_rows(r) : r->census.sum);
    return rc;
}
