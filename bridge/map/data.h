/* SPDX-License-Identifier: MIT */
/* The data of an event by its outline and cells, nested by path; and the attributes that follow from it. */
#pragma once
#include "bridge/map/shape.h"

/* Result columns that a statement of a map begins with; then one for each binding. */
enum { DATA_PART, DATA_SUBJECT, DATA_KEY, DATA_HEAD };

/* Of an object of which nothing is known but constants, nothing is told. */
void data_drop_constants(const struct outline *o, struct cell *cells);
/* Appends the members of all cells, with nested objects; `out` ends inside an object. json: the buffer of the cells. */
void data_add(struct buf *out, const struct outline *o, const struct cell *cells, const struct buf *json);
/* The largest one that can be left out; NULL: there is none. */
struct cell *data_largest(struct cell *cells, size_t count);
void data_leave_out(struct cell *c);

/* What the type must have, and no cell has (vocabulary_lack); NULL: nothing. Such an event is not of its schema. */
const char *data_lack(const struct outline *o, const struct cell *cells);

/* The row's own subject, or that of its type's ids; nothing when none can stand in an attribute. */
void data_subject(struct buf *out, const struct outline *o, sqlite3_stmt *row);
/* Absent: what it should be is not known, or cannot stand in an attribute. */
struct str data_partitionkey(const struct outline *o, sqlite3_stmt *row);
