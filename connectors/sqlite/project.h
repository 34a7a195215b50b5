/* SPDX-License-Identifier: MIT */
/* A row through the SQL of a rule's `map`: one statement per entry and view, prepared when it is first needed, run once
 * for a row that changed, by its key, in the read transaction that found it.
 *
 *   live     FROM <table> r <join> WHERE r.<key> = ?1 AND <when>
 *   gone     the same over (SELECT ?1 AS <key>, :kept->>'$.column' AS column, ...) r
 *   before   that without <when>: what the kept columns make of the row as it was
 *
 * An expression that does not fit the schema, or fails for a row, is left out and told; the others go on. */
#pragma once
#include "connectors/sqlite/projection.h"
#include "connectors/sqlite/render.h"

enum { PLACE_TEXT = 160 };

struct projecting { /* begins zeroed but for the first three */
    struct rule *r;
    struct projection *p;
    const struct happening *h;
    enum view view;
    sqlite3_stmt *row;
    size_t rows;
    bool apart; /* the statement is one without what failed */
};

/* Of a compiled rule: what of its `map` does not fit the schema is told, once for a schema. */
void project_check(struct sqlite_source *s, struct rule *r);
/* Does that happening concern the entry? `columns`: the changed watched columns that do, a bit each. */
bool project_fits(struct sqlite_source *s, const struct rule *r, const struct projection *p, const struct happening *h,
                  uint32_t *columns);
/* Where in the rule the SQL of a path stands: data.run.id, or map[1].data.run.id; of one that has none the entry. */
void project_name(const struct rule *r, const struct projection *p, const char *path, char place[PLACE_TEXT]);
void project_begin(struct sqlite_source *s, struct projecting *at);
bool project_next(struct sqlite_source *s, struct projecting *at); /* false: there is none more */
void project_end(struct projecting *at);
/* The row of kept columns (JSON) as VIEW_BEFORE shows it; NULL: it cannot. Reset it. */
sqlite3_stmt *project_kept(struct sqlite_source *s, struct rule *r, struct projection *p, struct str key,
                           const char *kept);
/* Finds which watched columns each binding reads. */
void project_learn_reads(struct sqlite_source *s, struct rule *r, struct projection *p);
/* SQLite's authorizer of the connection: `never` is not read, `mask` reads as NULL. */
int project_authorize(void *source, int code, const char *table, const char *column, const char *database,
                      const char *inner);
