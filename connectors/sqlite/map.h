/* SPDX-License-Identifier: MIT */
/* A rule's `map`: which event of the vocabulary (bridge/event/vocabulary.h) a change becomes, and what SQL gives each path
 * of its data.
 *
 * As written it is options; at work an entry is a *projection*: its type, and one *binding* per path, the rule's own `data`
 * and the entry's together, in the order in which data is written. Its statements are prepared when they are first needed
 * (project.h) and end with the database. Source's own thread, but for the check. */
#pragma once
#include "bridge/event/vocabulary.h"
#include "connectors/sqlite/sqlite.h"

enum { MAP_ENTRIES = 32 };

struct map_options {
    char *type, *when, *subject, *partitionkey;
    struct strings op;
    struct map data;
};
extern const struct option map_rows[];

/* What a projection reads: the row as it is; a row that is gone, by its kept columns; kept columns for `before`. */
enum view { VIEW_LIVE, VIEW_GONE, VIEW_BEFORE, VIEWS };

struct cell {               /* what a binding became, in a buffer of JSON */
    size_t at, n;           /* its member, "text":"..."; n 0: none */
    size_t more_at, more_n; /* members that the bridge makes of it ("chars":5) */
    bool large;             /* it would be too large */
    bool cut;               /* its text was cut */
};

struct binding {
    const struct vocabulary_path *path;
    const char *name;               /* the last word of the path */
    const char *sql;                /* NULL: app.name, which the source knows */
    bool constant;                  /* a literal, and no id: it alone makes no object */
    bool own;                       /* of the entry, not of the rule */
    bool counted, digested, marked; /* beside it the vocabulary has .chars, .digest, .truncated */
    bool lacks[VIEWS];              /* its expression does not fit this view of this schema */
    uint32_t reads;                 /* the watched columns that it reads, a bit each */
    bool failed, huge;              /* of the row at work: its expression did; by its length */
    bool differs;                   /* of an update at work: its value is another than before */
    struct cell cell, before;
};

struct projection {
    const struct map_options *o;
    const struct vocabulary_type *type;
    size_t twin; /* how many entries before it have the same type */
    struct binding *bindings;
    size_t count;
    bool probed[VIEWS], lost[VIEWS]; /* tried against this schema; of no use with it */
    bool no_join[VIEWS], no_subject[VIEWS], no_key[VIEWS];
    bool reads_known;
    sqlite3_stmt *stmt[VIEWS];
};

/* `place` of what is wrong leads *e: "map[1].data: ...". What an op may be the rule knows. */
bool map_check(const struct rule_options *o, struct err *e);
/* Has the data of its events anything that people wrote? */
bool map_tells_content(const struct rule_options *o, const struct map_options *m);
struct projection *map_bind(const struct rule_options *o); /* of rules that were checked; as many as entries */
/* The database is closed: no statement is left. `schema`: it may also be another one, so nothing is known of it. */
void map_drop(struct projection *p, size_t count, bool schema);
void map_free(struct projection *p, size_t count);
