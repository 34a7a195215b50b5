/* SPDX-License-Identifier: MIT */
/* A value as members of the event's JSON: in the form that the vocabulary gives its path, and only as far as the source's
 * `content` and `personal` tell it. What is NULL or "" has no member. */
#pragma once
#include "connectors/sqlite/map.h"

/* The members to the end of s->cells, where `out` says they stand. Returns what is wrong with the value, which then has no
 * member ("is no integer"), or NULL. */
const char *shape_value(struct sqlite_source *s, const struct rule *r, const struct binding *b, sqlite3_stmt *row,
                        int col, struct cell *out);
/* Does the source tell what stands there? (Any JSON of the application may hold all.) */
bool shape_is_told(const struct sqlite_source *s, const struct vocabulary_path *path);
