/* SPDX-License-Identifier: MIT */
/* A capture rule of the SQLite source: as it is written (struct rule_options), and at work.
 *
 * What of a rule at work is state is stored and restored (state.c; sqlite.h says in which form). What is compiled
 * (compile.c) holds for the schema of now, until the database is closed. The rest is of the pass at work, through
 * which a rule goes in stages. Its options belong to the configuration. The source's thread, but for the checks. */
#pragma once
#include <sqlite3.h>
#include "bridge/connector.h"
#include "bridge/lib/buf.h"
#include "bridge/map/tell.h"
#include "bridge/map/value.h"
#include "connectors/sqlite/leaves.h"
#include "connectors/sqlite/passed.h"
#include "connectors/sqlite/rows.h"
#include "connectors/sqlite/times.h"

struct sqlite_source;

enum {
    RULE_WATCH = 32,              /* most watched columns of a rule */
    RULE_HASHES = RULE_WATCH + 1, /* of a row that a diff remembers */
    RULE_WARNINGS = 16,           /* of a rule that are not repeated */
    RULE_REFUSED = 256,           /* rows of a rule whose refusal is not repeated */
    RULE_SKIPPED = 64,            /* rows of a rule that a sort must leave out */
    RULE_STORED = 32,             /* rows before the cursor whose keys are stored */
    OPEN_BIRTH = 2,               /* numbers kept of an open row (struct row's hashes): its epoch and rowid */
    RECENT_ROWS = 256,            /* open_row at start: now looks for unfinished rows among the newest so many */
};

/* ---- a rule as written ---- */

enum kind { KIND_APPEND, KIND_OPEN_ROW, KIND_UPDATED, KIND_DIFF, KIND_OUTBOX };

struct rule_options {
    enum kind kind;
    char *name, *table, *select, *where, *key, *cursor, *time, *done, *type_column, *subject, *join, *part, *tables,
        *time_zone;
    struct map types, columns, data;
    struct list map; /* of struct map_options */
    struct strings never, watch, keep, mask, content_columns;
    struct duration abort_after, overlap, retain;
    int64_t last, retain_rows;
};
extern const struct option rule_rows[];

/* ---- a rule at work ---- */

struct projection; /* projection.h */

/* First result columns of every statement; then the watched ones, then the data. */
enum { HEAD_KEY, HEAD_CURSOR, HEAD_TIE, HEAD_TIME, HEAD_DONE, HEAD };

struct field { /* a column of the event's data */
    char *name;
    enum form form;
    bool keep;
    bool hidden;  /* content that the source does not tell */
    size_t at, n; /* its JSON, while a row is rendered; n 0: left out */
    bool large;   /* of the row at work: it is too large to be read */
};

/* How many rows a rowid rule has up to its cursor, or below the window of a diff. */
struct census {
    uint64_t of;     /* of this table and `where`; 0: not known yet */
    bool known;      /* rows is known */
    int64_t rows;    /* at the last count */
    int64_t passed;  /* by the cursor, or the window, since then */
    bool begun;      /* a count is under way: */
    int64_t at, sum; /* where it goes on, and its rows so far */
};

enum stage { STAGE_BEGIN, STAGE_SCAN, STAGE_REVISIT }; /* revisit: open rows again; rows that a diff did not meet */

/* What stands in the database for an outbox rule. Older: it lacks columns that the table got later. */
enum triggers { TRIGGERS_GOOD = 1, TRIGGERS_OLDER, TRIGGERS_DIFFER, TRIGGERS_MISSING, TRIGGERS_NONE };

enum lap { LAP_MEASURE, LAP_NEW, LAP_RECENT, LAP_END };

/* Where a rule of kind updated stands; times in ms, INT64_MIN: none. */
struct updated {
    bool known;          /* a pass has been completed: */
    int64_t high, floor; /* the newest time; rows from there on are remembered */
    int64_t reached;     /* the newest time that the last pass had seen when it began to compare */
    bool indexed;        /* an index orders the rows by their time */
    bool zoned;          /* some text says that it is behind UTC */
    int64_t looked_ms;   /* when it began that, by the monotonic clock; 0: none yet */
    /* this pass */
    enum lap lap;
    int64_t now, since;         /* rows from `since` on are read */
    int64_t reaching, begun_ms; /* become `reached` and `looked_ms` at its end */
    bool since_known;
    struct times ranges[TIMES_RANGES];
    size_t range, range_count;
    sqlite3_value *tie; /* with `at` of the rule: the last row scanned */
};

struct rule {
    char *name;
    const struct rule_options *o; /* NULL: has only been restored so far */
    struct zone *zone;            /* of texts that do not say their offset; NULL: UTC, or it was not compiled yet */
    struct instance *instance;    /* of a rule with `tables`, for one of them; owned. NULL: as written */
    /* state */
    bool ready;
    uint64_t signature;    /* of the watched columns when it became ready */
    char *cursor;          /* exact, or as it was stored; NULL: before the first row */
    char *tie;             /* the same: which of the rows with that cursor; NULL: the cursor tells them apart */
    char *cursor_key;      /* the same: the key of that row; NULL: unknown */
    uint64_t digest, look; /* of that row, and of the names of its columns; 0: unknown */
    struct passed passed;  /* the rows before it; of the last some are stored */
    bool whole;            /* that ring, until it is full, and the cursor are all rows that there were */
    int64_t epoch, top;
    int64_t above;  /* append: rows read whose rowid is above top */
    bool top_known; /* top was set */
    struct census census;
    struct updated updated;
    struct rows rows; /* diff: every row; updated: the recent ones; open_row: the open ones (version = since) */
    struct {
        struct metric *rows_read, *events, *open, *last_change, *ack; /* NULL: not counted yet */
        struct metric *below, *unseen_deletes;                        /* of a diff with `last` */
        bool awaited; /* events of its last slice are not all acknowledged */
    } counts;
    struct projection *projections; /* as many as o->map has entries; NULL: it has none, or was not compiled yet */
    uint64_t projected;             /* the schema and file that is known of them (a hash) */
    /* compiled for the schema of now */
    bool usable, no_table;
    bool failed;            /* in the last pass */
    bool blocked;           /* it cannot go on from where it is, and counts as unusable */
    bool lacks[RULE_WATCH]; /* watched columns that the table does not have */
    char *
        usual[RULE_WATCH]; /* what a new row has in them by itself, as text; NULL: nothing, each row says what it has */
    struct field *fields;
    int field_count;
    uint64_t names;             /* a hash of the fields' names */
    const char *by, *then;      /* columns that order the rows; then NULL: `by` alone does */
    bool by_rowid;              /* SQLite itself hands out the values of `by` */
    bool key_is_rowid;          /* and the key is one of them */
    bool has_rowid;             /* the table itself is read, and has one */
    bool rowid_is_kept;         /* AUTOINCREMENT: a rowid never comes again */
    int64_t skip[RULE_SKIPPED]; /* rowids of rows that cannot be sorted */
    size_t skip_count;
    sqlite3_stmt *first, *next, *get, *recent, *at_cursor, *max, *sequence, *behind, *max_rowid, *unkeyed, *count;
    enum triggers triggers, triggers_told; /* outbox: what is there; what was last said of it (0: nothing) */
    uint64_t triggers_of;                  /* the schema and file that this is known of (a hash) */
    char *outbox;                          /* its table of changes; NULL: another kind */
    char *source, *source_old;      /* SQL that gives these as rows of the application's table, and as those were */
    sqlite3_stmt *range;            /* diff of a table whose key is its rowid: the rows ?1..?3 */
    uint32_t root;                  /* diff of rows that nothing but a table's pages decides: the first; else 0 */
    bool single;                    /* diff: row by row, up to one that is too large to be read */
    int64_t unkeyed_rows;           /* rows without a key at the last look */
    uint64_t warned[RULE_WARNINGS]; /* hashes of the last warnings about this rule */
    size_t warned_count;
    uint64_t refused[RULE_REFUSED]; /* hashes of the last rows refused */
    size_t refused_count;
    size_t met, known; /* rows without a rowid whose key cannot be read: met behind the position; those met before */
    /* this pass */
    enum stage stage;
    sqlite3_value *at; /* diff: last key scanned; NULL: none yet */
    struct by_range {  /* diff, with `range`: */
        bool off;      /* not for the rest of the pass */
        bool lost;     /* not the leaves */
        int64_t from;  /* the next rowid */
        int64_t most;  /* no remembered row has a larger one */
        struct span {
            int64_t from, to;
        } * spans; /* scanned */
        size_t count, cap;
        size_t span;  /* STAGE_REVISIT: in which the rowid is whose turn it is, */
        int64_t next; /* and it, if */
        bool within;  /* it has begun */
        bool walks;   /* the leaves told what is being read */
        struct leaves leaves;
    } by_range;
    size_t slot; /* STAGE_REVISIT: the row whose turn it is */
    bool moved;  /* the cursor did, in this slice */
};

/* Which of the rows that have had its key a row is; part of the ids of an append or open_row rule. */
struct birth {
    int64_t epoch;
    int64_t rowid; /* 0: the key is the rowid, or there is none */
};

/* rule_check.c: do the options go together? */
bool rule_check(const struct rule_options *o, struct err *e);
bool rule_check_zone(const char *name, struct err *e); /* accepts NULL */

/* rule.c */
bool rule_form(const char *text, enum form *out); /* false: there is no such form */
bool rule_lists(const struct strings *list, struct str name);
bool rule_has_entry(const struct map *map, const char *name);
struct rule *rule_of(struct sqlite_source *s, struct str name); /* makes it if need be */
void rule_rewind(struct rule *r);                               /* its scan begins anew */
void rule_drop(struct rule *r);                                 /* what was compiled; the rule begins its pass anew */
void rule_forget_outbox(struct rule *r);                        /* what is known of its triggers */
void rule_free(struct rule *r);
void rule_warn(struct sqlite_source *s, struct rule *r, const char *why); /* once for the same reason */
void rule_warn_of_cost(struct sqlite_source *s, struct rule *r, const char *why);
/* Is it new in that ring of hashes? It is added then. */
bool rule_is_new(uint64_t *ring, size_t size, size_t *count, uint64_t hash);
void rule_stand_still(struct sqlite_source *s, struct rule *r, bool still, const char *why); /* it counts as unusable */
void rule_warn_of_unkeyed(struct sqlite_source *s, struct rule *r);
const char *rule_type(const struct rule *r,
                      struct str op); /* the type template of an operation, or NULL; some type of `map` */
const char *rule_nearest(sqlite3_stmt *probe, struct str name); /* of its columns, or NULL */
/* What SQLite said of an expression, in `why`, names what the bridge wrote behind it, where its own end is missing. */
void rule_find_cut(sqlite3 *db, const char *expression, struct err *why);
uint64_t rule_signature(const struct rule *r);                  /* of its watched columns */
bool rule_keeps(const struct rule_options *o, struct str name); /* is known of a row as it was */

/* instance.c */
bool instance_fits(const struct rule_options *o, struct str table);
bool instance_is_of(const struct rule_options *o,
                    struct str name); /* is that the name of a rule for one of its tables? */
/* Makes the rule, which has such a name, that of its table. */
void instance_make(struct rule *r, const struct rule_options *o);
void instance_free(struct instance *i); /* accepts NULL */
