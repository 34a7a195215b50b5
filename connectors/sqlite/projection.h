/* SPDX-License-Identifier: MIT */
/* An entry of a rule's `map` at work on a database: its outline (bridge/map/map.h), and what of it fits the tables there.
 *
 * Its statements are prepared when they are first needed (project.h) and end with the database. Source's own thread, but
 * for the check. */
#pragma once
#include "bridge/map/data.h"
#include "connectors/sqlite/rules.h"

/* What a projection reads: the row as it is; a row that is gone, by its kept columns; kept columns for `before`. */
enum view { VIEW_LIVE, VIEW_GONE, VIEW_BEFORE, VIEWS };

struct fit {           /* of a binding */
    bool lacks[VIEWS]; /* its expression does not fit this view of this schema */
    uint32_t reads;    /* the watched columns that it reads, a bit each */
    bool failed, huge; /* of the row at work: its expression did; by its length */
    bool differs;      /* of an update at work: its value is another than before */
};

struct projection {
    struct outline of;
    struct fit *fits; /* one per binding, like the cells: of the row at work */
    struct cell *cells, *before;
    bool probed[VIEWS], lost[VIEWS]; /* tried against this schema; of no use with it */
    bool no_join[VIEWS], no_subject[VIEWS], no_key[VIEWS];
    bool reads_known;
    sqlite3_stmt *stmt[VIEWS];
};

/* Of rules that were checked; as many as entries. */
struct projection *projection_new(const struct rule_options *o);
/* The database is closed: no statement is left. `schema`: it may also be another one, so nothing is known of it. */
void projection_drop(struct projection *p, size_t count, bool schema);
void projection_free(struct projection *p, size_t count);
