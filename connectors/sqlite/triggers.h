/* SPDX-License-Identifier: MIT */
/* What of an outbox rule stands in the application's database, as `aqueduct sqlite setup` makes it:
 *
 *   "aqueduct_outbox.<source>.<rule>"           a table: seq, op (insert, update, delete), at (ms), mark (random),
 *                                               "row_<column>": the row as it is, or as it was before its delete,
 *                                               "old_<column>": of an update, as watched and kept columns were
 *   "aqueduct_outbox.<source>.<rule>.<op>"      up to three triggers, which write a row of it for each change, and take
 *                                               away two of the oldest that are past `retain` and `retain_rows`
 *
 * The columns have no type, so a value stands there as it is in the application's row, whatever it is; and the triggers use
 * only what every SQLite has, as it is the application's library that runs them. `never` is not written, `mask` as "***".
 * Two of the watched columns' values differ if SQLite compares them as different byte for byte.
 *
 * A plan is what should be there, by the rule and the table of now; what is there is compared with it by its text. Any
 * thread; the plan owns what it points to. */
#pragma once
#include "connectors/sqlite/sqlite.h"

#define TRIGGERS_PREFIX "aqueduct_outbox."

enum trigger_op { TRIGGER_INSERT, TRIGGER_UPDATE, TRIGGER_DELETE, TRIGGER_OPS };

struct trigger_column {
    char *name;
    bool masked;
    bool lost; /* masked, and the rule has `map`, where it is NULL: not written */
    bool old;  /* what it was stands there, too */
};

struct trigger_plan {
    char *table;              /* of the changes */
    char *names[TRIGGER_OPS]; /* of the triggers */
    char *sql[TRIGGER_OPS];   /* that makes them; NULL: the rule needs none */
    char *create;             /* that makes the table */
    struct trigger_column *columns;
    size_t count;
};

/* Of that source's rule. `present`: only of columns that the table of changes has. False: the application's table lacks
 * something, *e says what. */
bool triggers_plan(sqlite3 *db, const char *source, const struct rule_options *o, bool present,
                   struct trigger_plan *out, struct err *e);
void triggers_free(struct trigger_plan *p); /* accepts one of zeroes */

enum trigger_state { TRIGGER_GOOD, TRIGGER_MISSING, TRIGGER_DIFFERS }; /* differs: also one that is of no use */
enum trigger_state triggers_state(sqlite3 *db, const struct trigger_plan *p, enum trigger_op op);
const char *triggers_op(enum trigger_op op); /* "insert" */
/* Does the table of changes have that column ("row_id"; NULL: is it there)? */
bool triggers_has(sqlite3 *db, const struct trigger_plan *p, const char *prefix, const char *column);

/* A SELECT in parentheses that gives the changes as rows of the application's table, with aqueduct_seq, aqueduct_op,
 * aqueduct_at and aqueduct_mark: as they are, or for `old` as they were. Free with sqlite3_free(). */
char *triggers_source(sqlite3 *db, const struct trigger_plan *p, const struct rule_options *o, bool old);
/* The same of the application's own rows, for a rule whose table of changes is not there. */
char *triggers_stand_in(const struct trigger_plan *p, const struct rule_options *o);

/* For compile_rule(): r->outbox, r->source, r->source_old, r->triggers. False: as triggers_plan(). */
bool triggers_look(struct sqlite_source *s, struct rule *r, char why[WHY_BYTES]);
/* Says what of them is not as it should be, when that has changed. */
void triggers_tell(struct sqlite_source *s, struct rule *r);
