/* SPDX-License-Identifier: MIT */
/* The SQLite source from inside: it captures what changes in another application's database, and only reads it.
 *
 *   database.c   one kept read-only connection; is the file still the same, did anything change (data_version)
 *   rule.c       a capture rule: options -> checked -> SQL prepared against the tables that are there
 *   append.c     kinds append and open_row: rows behind a cursor; open rows are read again until they are done
 *   diff.c       kind diff: all keys and hashes of watched columns against the rows we remember
 *   batch.c      what one slice found: events and changes of state, handed out by read()
 *   value.c      SQLite values as typed keys, hashes, JSON, times;  rows.c  the remembered rows
 *   source.c     the vtable: waiting, passes, slices
 *
 * A *pass* runs every rule once, after data_version has moved. It is read in *slices*: one short read transaction each,
 * over when the batch is full or `hold` has passed, because a held read blocks the writers of a rollback-journal
 * application. data_version is taken before the pass, so a commit in between causes the next pass. BUSY means later:
 * nothing moves.
 *
 * State, all under the rule's name (a row's key is typed: i17, tabc, xff00, r<bits>; a long one is hashed):
 *   identity               random, at first start: part of every event id, so that a moved file goes on under the same ids
 *   versions               the last row version given out; versions never repeat, so A -> B -> A gives three ids
 *   <rule>/ready           the first pass is complete; its value names the watched columns
 *   <rule>/cursor, /epoch  append, open_row: "<guard> <key>"; the epoch moves when ids start again, and is part of the
 *   ids
 *   <rule>/open/<key>      "<since ms> <0|1 aborted>"
 *   <rule>/row/<key>       diff: "<version> <hash,hash,...> <JSON of the kept columns>"
 *   <rule>/top             diff with `last`: the largest key seen
 *
 * Ids: append and open_row: identity, rule, epoch, key, operation. Diff: identity, rule, key, operation, version; the
 * version is noted ahead (struct change.ahead), so an event that is sent again after a crash has the id it had. All
 * changes of a batch travel on its last emission. The identity and a new epoch are stored alone before an event uses
 * them.
 *
 * What it cannot see: states between two passes of a diff; rows that an `append` table lost and re-used between two
 * passes when the file tells nothing (no AUTOINCREMENT); keys that are NULL. Copies look new (AnythingLLM's forked
 * threads). */
#pragma once
#include <sqlite3.h>
#include "bridge/connector.h"
#include "bridge/lib/buf.h"
#include "connectors/sqlite/rows.h"

enum {
    RULES = 64,            /* most rules of a source */
    RULE_WATCH = 32,       /* most watched columns of a rule */
    BATCH_BYTES = 4 << 20, /* a batch is full with this much data */
    BATCH_CHANGES = 1024,  /* or this many changes */
    RECENT_ROWS = 256,     /* open_row at start: now looks for unfinished rows among the newest so many */
};

/* ---- a rule as written ---- */

enum kind { KIND_APPEND, KIND_OPEN_ROW, KIND_DIFF };

struct rule_options {
    enum kind kind;
    char *name, *table, *select, *where, *key, *cursor, *time, *done, *type_column, *subject;
    struct map types, columns;
    struct strings never, watch, keep, mask;
    struct duration abort_after;
    int64_t last;
};
extern const struct option rule_rows[];

/* ---- a rule at work ---- */

enum form { FORM_VALUE, FORM_JSON, FORM_BOOL, FORM_TIME };
enum {
    HEAD_KEY,
    HEAD_CURSOR,
    HEAD_TIME,
    HEAD_DONE,
    HEAD
}; /* first result columns of every statement; then watch, then data */

struct field { /* a column of the event's data */
    char *name;
    enum form form;
    bool keep;
    size_t at, n; /* its JSON, while a row is rendered */
};

enum phase {
    PHASE_BEGIN,
    PHASE_SCAN,
    PHASE_AGAIN
}; /* AGAIN: open rows are read again; a diff looks for what is gone */

struct rule {
    char *name;
    const struct rule_options *o; /* NULL: has only been restored so far */
    /* state */
    bool ready;
    uint64_t signature; /* of the watched columns when it became ready */
    char *cursor;       /* typed; NULL: before the first row */
    uint64_t guard;     /* hash of the row at the cursor; 0: unknown */
    int64_t epoch, top;
    struct rows rows; /* diff: every row; open_row: the open ones (version = since) */
    /* prepared for this schema */
    bool usable, no_table;
    bool failed;            /* in the last pass */
    bool lacks[RULE_WATCH]; /* watched columns that the table does not have */
    struct field *fields;
    int field_count;
    sqlite3_stmt *first, *next, *get, *recent, *at_cursor, *max, *sequence;
    char trouble[256]; /* the last thing reported about this rule */
    /* this pass */
    enum phase phase;
    sqlite3_value *at; /* diff: last key scanned; NULL: none yet */
    size_t index;      /* AGAIN: slot */
    bool moved;        /* the cursor did, in this slice */
};

/* ---- what a slice found ---- */

struct batch {
    const struct event **events;
    size_t event_count, event_cap, bytes, given;
    struct batch_change {
        size_t key, key_n, value, value_n;
        bool forget, ahead;
    } * changes;
    size_t change_count, change_cap;
    struct buf text;    /* of the changes */
    struct change *out; /* the same as the contract wants it */
    size_t out_cap;
    bool alone; /* nothing more before this is stored */
};

struct file_id {
    uint64_t dev, ino;
};

enum start { START_NOW, START_SNAPSHOT };

struct sqlite_source {
    struct source base;
    char *path, *source;
    enum start start;
    struct preset preset; /* of struct preset_file */
    struct list capture;  /* of struct rule_options */
    struct duration poll, hold;
    int64_t batch;
    struct bytes max_event;
    /* set up by open() */
    char *origin;      /* CloudEvents source */
    char identity[40]; /* "" until restored or made */
    uint64_t versions;
    struct rule **rules;
    size_t rule_count;
    bool introduced; /* the identity is stored, or on its way */
    /* the file */
    sqlite3 *db;
    sqlite3_stmt *data_version, *schema_version;
    struct file_id file;
    int64_t seen_version, pass_version, schema;
    int inotify;                    /* -1: none */
    bool committed;                 /* the last notices told of a commit, not only of writing */
    char *name;                     /* the file's name in its folder */
    struct err trouble, failed;     /* what read() failed with last, what it will fail with next; "": nothing */
    int64_t wait_ms;                /* busy: before trying again */
    int64_t next_poll_ms, again_ms; /* when to look without a notice; the wait that led there */
    /* the pass */
    bool passing;
    size_t at;     /* its rule */
    uint32_t pass; /* its number */
    int64_t slice_start_us, busy_us, rest_until_ms;
    size_t handled, room; /* rows of this slice; events wanted */
    struct batch found;
    struct buf cells, data, small; /* scratch */
    uint64_t tag, settled;
    int64_t begun_us;
    struct metric *rows_read, *busy, *ack, *events, *refused, *truncated, *repaired, *restarts, *unusable, *reopened;
};

/* database.c */
enum db { DB_OK, DB_LATER, DB_GONE }; /* later: busy; gone: closed, *e says why */
bool database_open(struct sqlite_source *s, struct err *e);
void database_close(struct sqlite_source *s);
bool database_replaced(const struct sqlite_source *s);
enum db database_changed(struct sqlite_source *s, bool *changed, struct err *e);
enum db database_begin(struct sqlite_source *s,
                       struct err *e); /* a read transaction with the lock taken; sets s->schema, recompiles */
void database_end(struct sqlite_source *s);
enum db database_verdict(struct sqlite_source *s, int rc, struct err *e);

/* rule.c */
bool rule_check(const struct rule_options *o, struct err *e);
struct rule *rule_new(struct str name);
void rule_attach(struct rule *r, const struct rule_options *o);
void rule_compile(struct sqlite_source *s, struct rule *r);
void rule_finalize(struct rule *r);
void rule_free(struct rule *r);
void rule_trouble(struct sqlite_source *s, struct rule *r, const char *text); /* logs it, once */
const char *rule_type(const struct rule *r, struct str op); /* the type template of an operation, or NULL */
uint64_t rule_signature(const struct rule *r);
bool rule_restore(struct rule *r, struct str what, struct str value, bool ahead);

/* append.c, diff.c: one piece of the rule's part of a pass */
enum step { STEP_DONE, STEP_FULL, STEP_LATER, STEP_FAILED, STEP_GONE };
enum step append_step(struct sqlite_source *s, struct rule *r, struct err *e);
enum step diff_step(struct sqlite_source *s, struct rule *r, struct err *e);
enum step step_failed(struct sqlite_source *s, struct rule *r, int rc, struct err *e);
bool slice_full(const struct sqlite_source *s); /* enough read for this time */
int64_t append_due(const struct rule *r);       /* wall ms when an open row is next aborted; INT64_MAX */

/* batch.c */
struct happening {
    const char *op;      /* of the id: insert, done, pinned=1 ... */
    const char *type;    /* template */
    struct str key;      /* typed */
    uint64_t version;    /* 0: none; then the epoch counts */
    sqlite3_stmt *row;   /* NULL: it is gone */
    const char *kept;    /* JSON for a row that is gone; NULL: just the key */
    const char *changed; /* names of changed columns, or NULL */
    bool timed;          /* the time column is when it happened; otherwise it is now */
};
void batch_reset(struct sqlite_source *s);
void batch_free(struct sqlite_source *s);
void batch_event(struct sqlite_source *s, struct rule *r, const struct happening *h);
/* value absent: forget. `r` NULL: of the source itself. */
void batch_change(struct sqlite_source *s, const struct rule *r, const char *what, struct str key, struct str value,
                  bool ahead);
void batch_ready(struct sqlite_source *s, struct rule *r); /* its first pass is complete */
void batch_kept(struct sqlite_source *s, struct rule *r, sqlite3_stmt *row,
                struct buf *out); /* JSON of the kept columns */
int batch_take(struct sqlite_source *s, struct emission *out, size_t room);
