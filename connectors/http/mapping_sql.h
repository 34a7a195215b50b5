/* SPDX-License-Identifier: MIT */
/* The SQL of a map, prepared. A statement is the caller's; NULL with *e: it does not prepare. One thread a sandbox. */
#pragma once
#include "connectors/http/mapping_options.h"
#include "connectors/http/sandbox.h"

/* Columns of mapping_prepare_choose; from CHOOSE_WHEN on, whether each entry fits. */
enum { CHOOSE_ID, CHOOSE_TIME, CHOOSE_PART, CHOOSE_KEY, CHOOSE_VALUE, CHOOSE_TYPE, CHOOSE_WHEN };

void mapping_add_column(sqlite3_str *sql, const char *expression);
/* One row for the body, or for each element; with its id where `id`. */
sqlite3_stmt *mapping_prepare_choose(struct sandbox *b, const struct mapping_rules *r, bool id, struct err *e);
/* The event of one such row. */
sqlite3_stmt *mapping_prepare_entry(struct sandbox *b, const struct mapping_rules *r, const struct outline *of,
                                    struct err *e);
/* One expression alone; with `row`, where it may read the element `r`. */
sqlite3_stmt *mapping_prepare_alone(struct sandbox *b, const struct mapping_rules *r, const char *expression, bool row,
                                    struct err *e);
bool mapping_reads_headers(sqlite3_stmt *stmt); /* NULL: it does not */
/* Does SQL that was checked read the element? */
bool mapping_is_of_part(struct sandbox *b, const struct mapping_rules *r, const char *expression);
