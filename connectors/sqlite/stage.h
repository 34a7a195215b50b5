/* SPDX-License-Identifier: MIT */
/* For `aqueduct test`: a database of its own, in a folder of its own that goes with it, in which an application's rows change
 * as a case says (struct staged).
 *
 *   stage_new      the folder, and an empty file on which the source can be opened
 *   stage_fill     the tables, by the schema or as the rows and the source's rules name them, the rows of before, and what
 *                  rules of kind outbox need
 *   stage_change   they become the rows of after, in one transaction: rows that are gone are deleted, others are found by
 *                  the key of the rule that reads their table (`id` where none does) and updated, or inserted
 *
 * Main thread. What is wrong is told with its place. */
#pragma once
#include "connectors/sqlite/sqlite.h"

struct staging;
struct staging *stage_new(const struct staged *of, fault_fn *wrong, void *ctx); /* NULL: that was told */
/* The source is open on it and has not read yet; it is borrowed. */
bool stage_fill(struct staging *st, struct sqlite_source *s);
bool stage_change(struct staging *st);
const char *stage_path(const struct staging *st);
void stage_free(struct staging *st); /* accepts NULL */
