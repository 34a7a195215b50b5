/* SPDX-License-Identifier: MIT */
/* Which columns of the tables that are there now a rule reads, and by which of them it orders the rows: an
 * application of another version may have others. Source's own thread, but for the check. */
#pragma once
#include "connectors/sqlite/sqlite.h"

/* Fills r->fields and r->lacks, by the columns of the prepared `probe`, which reads all that the rule's table (or
 * select, or outbox) has; warns of those that are not there. False: the rule cannot do without one, *why says so. */
bool columns_choose(struct sqlite_source *s, struct rule *r, sqlite3_stmt *probe, char why[WHY_BYTES]);
/* Fills r->by, r->then, and what is known of rowids. */
void columns_order(struct sqlite_source *s, struct rule *r);
