/* SPDX-License-Identifier: MIT */
/* Rows with values that are too large to be read: such a row without them, and where the next one stands. */
#pragma once
#include "connectors/sqlite/compile.h"

/* The row of that key (typed; or key absent: the one `place` stands on) without what is too large in it; the caller
 * finalizes it with large_end. NULL: it is not there, does not meet the condition, or *rc says what went wrong: of
 * SQLITE_TOOBIG it has warned, and counted the row as refused. */
sqlite3_stmt *large_row(struct sqlite_source *s, struct rule *r, struct str key, sqlite3_stmt *place, int *rc);
void large_end(struct rule *r, sqlite3_stmt *row);
/* The row, named by `key` (typed) or by its head in `row`, is refused. */
void large_refuse(struct sqlite_source *s, struct rule *r, struct str key, sqlite3_stmt *place, const char *why);
typedef bool large_bind_fn(const struct rule *r, sqlite3_stmt *stmt); /* binds ?1 and ?3 */
/* Where the next row stands whose cursor can be read; those that cannot are refused. *keyless: that row's key cannot be
 * read, and it was refused too. NULL with SQLITE_OK: there is none; or r->stage is STAGE_BEGIN again, as rows are left out
 * of its statements from now on. NULL with SQLITE_TOOBIG: it stands still. The caller finalizes it. */
sqlite3_stmt *large_place(struct sqlite_source *s, struct rule *r, enum place_from from, int64_t offset,
                          large_bind_fn *bind, bool *keyless, int *rc);
