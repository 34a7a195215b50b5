/* SPDX-License-Identifier: MIT */
/* For `aqueduct check --database`: what a rule costs there, and the events of its newest row. */
#pragma once
#include "connectors/sqlite/sqlite.h"

/* Of a compiled rule and the database that is open: warns of what makes it costly or gives events twice, and hands out the
 * events that the newest row would give now. Leaves the rule without its statements. */
void trial_rule(struct sqlite_source *s, struct rule *r, const struct trial *t);
/* Rows of a table, looked at for `budget_ms` at most, in reads of a few milliseconds; *exact false: there are more. */
int64_t trial_count(struct sqlite_source *s, const char *table, int64_t budget_ms, bool *exact);
