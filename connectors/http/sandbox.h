/* SPDX-License-Identifier: MIT */
/* SQL over what was posted: one SQLite connection without a table or a file, for all paths of a source. A statement may
 * call functions and json_each() and json_tree(), and read what is bound to it; nothing else prepares: no table, no pragma, no
 * ATTACH, no write, no extension, no recursion, and no random(). (That a date is that of 'now' is not seen: an `id` of it is
 * another each time.)
 * The length of every value, and of every request the steps and the bytes of JSON that are read again for each element, are
 * bounded. One thread. */
#pragma once
#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>
#include "bridge/lib/err.h"

struct sandbox {
    sqlite3 *db;
    int steps;     /* that a request still has, in thousands */
    int64_t bytes; /* the same */
};

/* `length`: of the longest body. */
void sandbox_open(struct sandbox *b, size_t length);
void sandbox_close(struct sandbox *b); /* every statement is finalized; accepts one that was not opened */
/* Takes `sql`, which must yield `columns`; NULL with *e. */
sqlite3_stmt *sandbox_prepare(struct sandbox *b, sqlite3_str *sql, int columns, struct err *e);
void sandbox_begin(struct sandbox *b); /* a request */
/* A statement is about to read so many bytes, which steps do not count. */
bool sandbox_may_read(struct sandbox *b, size_t bytes, struct err *e);
