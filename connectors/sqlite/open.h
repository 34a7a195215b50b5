/* SPDX-License-Identifier: MIT */
/* The open rows of an open_row rule: remembered, and read again until they are done, or aborted. */
#pragma once
#include "connectors/sqlite/sqlite.h"

/* When the row began: its own time, unless that lies in the future. */
uint64_t open_since(const struct sqlite_source *s, const struct rule *r, sqlite3_stmt *row);
bool open_can_be_kept(struct sqlite_source *s, struct rule *r, sqlite3_stmt *row); /* else it is refused */
void open_add(struct sqlite_source *s, struct rule *r, struct str key, sqlite3_stmt *from);
void open_report(struct sqlite_source *s, struct rule *r, const char *op, struct str key, struct birth birth,
                 sqlite3_stmt *row, const char *kept, bool timed);
/* What is unfinished and young among the newest rows, at the first start. */
int open_take_young(struct sqlite_source *s, struct rule *r);
/* Open rows that this pass has not seen; *more = the slice is full before the last of them. */
int open_revisit(struct sqlite_source *s, struct rule *r, bool *more);
int64_t open_due_ms(const struct rule *r); /* when an open row is next aborted; INT64_MAX: never */
