/* SPDX-License-Identifier: MIT */
/* Where an append or open_row rule stands, by the row at its cursor; and whether that is still the row that it was. */
#pragma once
#include "connectors/sqlite/sqlite.h"

#define POSITION_LEAST STR("i-9223372036854775808") /* typed: before all values but NULL */
bool position_bind(const struct rule *r, sqlite3_stmt *stmt);
struct birth position_birth(const struct rule *r, sqlite3_stmt *row);
void position_move_to(struct rule *r, sqlite3_stmt *row); /* the cursor stands on this row now */
int position_move_to_end(struct sqlite_source *s, struct rule *r);
int position_top(struct rule *r, int64_t *top); /* the largest id there has been, by AUTOINCREMENT's counter, or is */
void position_begin_epoch(struct sqlite_source *s, struct rule *r); /* ids start again; stored before its events */
/* Finds its place again after a start, or when ids have started again: then a new epoch begins. */
int position_check(struct sqlite_source *s, struct rule *r);
