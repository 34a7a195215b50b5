/* SPDX-License-Identifier: MIT */
/* A rule's SQL, prepared against the tables that are there now: that of its passes, which ends with the database
 * (rule_drop), and that about single rows, which ends with its use. */
#pragma once
#include "connectors/sqlite/sqlite.h"

/* Anew, for the schema of now: r->usable says whether all of it could be prepared, and else it has warned why. */
void compile_rule(struct sqlite_source *s, struct rule *r);

enum { LARGE_TIME, LARGE_DONE, LARGE_WATCH, LARGE_COLUMNS = LARGE_WATCH + RULE_WATCH };
/* Statements about one row by its key (?1), without the columns that are `large` (those of r->fields know it
 * themselves); NULL when SQLite does not take it; the caller finalizes it. */
sqlite3_stmt *compile_row(struct sqlite_source *s, struct rule *r, const bool large[LARGE_COLUMNS]);
/* One column of that row; `where`: instead, whether the rule's condition holds. */
sqlite3_stmt *compile_cell(struct sqlite_source *s, struct rule *r, int column, const struct field *f, bool where);
/* Where a row stands: key, cursor and tie of one row of all, whatever the rule's condition; HEAD_TIME is false when the
 * row does not lie there (a damaged index). ?1: cursor, ?3: tie. */
enum place_from { PLACE_FIRST, PLACE_SAME, PLACE_BEHIND, PLACE_NEWEST, PLACE_OF_KEY, PLACE_OF_ROWID };
enum place_of { PLACE_WHOLE, PLACE_KEYLESS, PLACE_BLIND }; /* blind: no value but, in HEAD_TIE, the table's rowid */
struct place {
    enum place_from from;
    enum place_of of;
    int64_t offset, limit;
};
sqlite3_stmt *compile_place(struct sqlite_source *s, struct rule *r, const struct place *p);
