/* SPDX-License-Identifier: MIT */
/* A diff whose key is the rowid (r->range) reads only what looks different since the last pass. */
#pragma once
#include "connectors/sqlite/sqlite.h"

bool spans_are_clean(struct sqlite_source *s,
                     struct rule *r); /* no page of the table has changed since the last pass */
void spans_begin(struct sqlite_source *s, struct rule *r, int64_t start);
/* The rows to be read next. False: none any more, unless *more says that the slice is over. */
bool spans_next(struct sqlite_source *s, struct rule *r, struct span *out, bool *more);
void spans_read(struct rule *r, struct span span);  /* so many of them were compared */
void spans_meet(struct rule *r, sqlite3_stmt *row); /* a row, or its place: it may be remembered */
void spans_leave(struct rule *r);                   /* the rest of the pass is read otherwise */
void spans_end(struct rule *r);
bool spans_are_whole(const struct rule *r); /* the pass left no row out */
bool spans_have(const struct rule *r, int64_t rowid);
bool spans_are_few(const struct rule *r);              /* in comparison with the remembered rows */
bool spans_next_rowid(struct rule *r, int64_t *rowid); /* of those that were read, one after the other */
