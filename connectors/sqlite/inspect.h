/* SPDX-License-Identifier: MIT */
/* What `aqueduct sqlite inspect` finds in a database file, and the configuration that it proposes for it.
 *
 *   struct inspection in;
 *   if (inspect_open(&in, path, &e)) { propose(&in, ...); ... }      looked at and closed again: no lock is kept
 *   inspect_free(&in);
 *
 * Each read lasts a few milliseconds, and all of them together a few seconds at most: of a large table the rows are counted
 * as far as that goes. */
#pragma once
#include "connectors/sqlite/sqlite.h"

enum {
    INSPECT_TABLES = 400,  /* most tables looked at */
    INSPECT_COLUMNS = 200, /* most columns of one */
};

struct column {
    char *name;
    bool blob;
};

struct table {
    char *name;
    int64_t rows;
    bool exact;     /* false: at least so many */
    bool keeps_ids; /* AUTOINCREMENT */
    bool has_rowid;
    char *key; /* its only primary key; NULL: none, or several columns */
    struct column *columns;
    size_t column_count;
};

struct inspection {
    struct sqlite_source *s;
    const struct known_app *app; /* NULL: it is not known */
    char journal[16];
    int64_t page_size, bytes, wal_bytes;
    struct table *tables;
    size_t table_count;
    bool more; /* tables than these */
};

bool inspect_open(struct inspection *in, const char *path, struct err *e);
void inspect_free(struct inspection *in);

extern const char propose_advice[]; /* to who uses a configuration without a preset */
/* Appends a configuration for it: with the preset of the application, or with a rule for each table. False: there is no
 * table that could have one. */
bool propose(const struct inspection *in, bool preset, struct buf *out);
