/* SPDX-License-Identifier: MIT */
/* The SQLite source from inside: it captures what changes in another application's database, and only reads it.
 *
 * rules.h has a rule; a file that few others use has a header of its own. From the ground up, above bridge/map/; each file
 * calls only those above it in this list:
 *
 *   beside     where the files of a database lie
 *   rows       the rows a rule remembers, by key
 *   times      where in a column of times the recent ones stand
 *   journals   which pages changed in rollback mode
 *   pages      the database's pages as they are written, and which of them changed
 *   leaves     which parts of a table look as they did at the last pass
 *   instance   a rule with `tables`, for one of them
 *   rule       a capture rule at work
 *   rule_check its options: do they go together?
 *   found      what one slice found: events and changes of state, until read() hands them out
 *   refuse     a row of which no event can be made becomes a dead letter
 *   privacy    do the options of privacy fit each rule?
 *   projection an entry of a rule's `map`, and what of it fits the tables that are there
 *   triggers   of an outbox rule: the table of changes and the triggers that fill it, as they should be and as they are
 *   render     a row as an event
 *   project    a row through the SQL of a rule's `map`
 *   columns    which columns a rule reads of the tables that are there, and by which it orders the rows
 *   compile    its SQL, prepared against the tables that are there
 *   fit        is the rule's cursor and key what it needs, in that schema and those rows?
 *   mapped     a row as the events of its rule's `map`
 *   state      what is stored, written and restored
 *   tables     of a rule with `tables`: those that are there
 *   database   the one read-only connection; is the file still the same, did anything change (data_version)
 *   large      a row with a value that is too large to be read, without that value; where the next one stands
 *   slice      when a slice is full; what a failed statement means
 *   census     rows that came behind a rowid cursor, or went below a diff's window, by their number
 *   position   where an append or open_row rule stands: the first pass, ids that start again, values that are cut
 *   spans      which rows of a diff have to be read again
 *   open       open rows, read again until they are done
 *   append     kinds append and open_row: rows behind a cursor
 *   seen       a row as it is now, compared with what is remembered of it
 *   updated    kind updated: rows whose time of change is recent
 *   diff       kind diff: all keys and hashes of watched columns against the rows remembered
 *   outbox     kind outbox: the changes that triggers wrote down
 *   wait       notices of the folder (inotify), polling, how the files look, waiting for a lock
 *   pass       rules one after the other, slice by slice; when to let go of the database
 *   trial      for `aqueduct check --database`: what a rule costs there, and the events of its newest row
 *   review     for `aqueduct check`: what of the rules does not fit the database that is there
 *   source     options, open, read, settle, close
 *   stage      for `aqueduct test`: a database of its own, in which a case's rows change
 *   rehearse   the source at work on it
 *   setup      `aqueduct sqlite setup | verify | teardown`: the one part that writes to the database, with a connection of its own
 *
 * A *pass* runs every rule once, after data_version has moved or a database that was let go was opened again. It is read in *slices*: one short read transaction each,
 * over when enough was found or `hold` has passed, because a held read blocks the writers of a rollback-journal
 * application. data_version is taken before the pass, so a commit in between causes the next pass. BUSY means later:
 * nothing moves.
 *
 * State (a row's key is typed: i17, tabc, xff00, r<bits>; a long one is hashed):
 *   identity               random, at first start: part of every event id, so that a moved file goes on under the
 *                          same ids
 *   versions               the last row version given out; versions never repeat, so A -> B -> A gives three ids
 *   <rule>/ready           the first pass is complete; its value names the watched columns
 *   <rule>/cursor          append, open_row: "+<n>,<m>,<above>,<digest>,<look>[,<rows>,<of>] " and the row's cursor (n
 *                          bytes), tie (m bytes), key, each exact or, if long, its beginning; rows: up to the cursor,
 *                          of that table and `where` (a hash); earlier versions' forms are "<hash> <cursor>", one
 *                          without rows, and one without digest and look whose long values are hashed
 *   <rule>/passed          append, open_row by rowid: of the last rows before that, the oldest first, "<n>,<digest> " and
 *                          the key (n bytes)
 *                          outbox: of the last changes told, "i<seq>" and its mark
 *   <rule>/epoch           moves when ids start again
 *   <rule>/open/<key>      "<since ms> <0|1 aborted>,<epoch>,<rowid>", and of a key that is hashed " <exact key>", else
 *                          if any are kept " <JSON of the kept columns>"; earlier versions' forms are without these, and
 *                          without epoch and rowid
 *   <rule>/row/<key>       diff: "<version> <hash,hash,...> <JSON of the kept columns>"; the last hash is of the kept
 *                          columns (earlier versions: not there)
 *   <rule>/since           updated: "<newest time> <rows from then on are remembered>", in ms; its rows have the time as their
 *                          last hash
 *   <rule>/top             diff with `last`: the largest key seen; append, open_row: the largest rowid looked at;
 *                          outbox: the last change told
 *
 * Ids: append and open_row: identity, rule, epoch, rowid unless it is the key, key, operation. Diff and updated: identity,
 * rule, key, operation, version (a new row that an updated rule does not remember: as append); the version is written ahead
 * (struct change.ahead), so an event that is sent again after a crash has the id it had. Outbox: identity, rule, key,
 * operation, and the change's number and its mark, a random number that the trigger gave it: when a backup is put back, changes that
 * are told again have the ids they had, and new ones with the numbers of lost ones have others. All changes of a slice travel on
 * its last emission. The identity and a new epoch are stored alone before an event uses them.
 *
 * Rows are ordered by a column that grows: a rowid if there is one. A cursor of another column is told apart by the
 * rowid, else by the key, and rows that come to stand behind it are counted (behind).
 *
 * What it cannot see: states between two passes of a diff; a row of an `append` table that was deleted and came again
 * under the same id between two passes (the key is the rowid, no AUTOINCREMENT): a row that was changed looks the same,
 * so both are counted (changed). Keys that are NULL are counted (unkeyed). Copies look new (AnythingLLM's forked threads).
 *
 * No value beyond DATABASE_LENGTH is ever held: SQLite looks at its length first and fails with TOOBIG. The row is then
 * read once more without its large values (large.c), which its event names in `truncated`. A row whose key or cursor is
 * that large is refused alone: an OFFSET passes over it without reading it; where the rows are sorted, its rowid is left
 * out. A position is exact in memory; stored, a long value is cut, and its row is looked for among those that begin so.
 *
 * Threads: all of it runs on the source's own thread, but open, check, ready and close on the main one (and restore, when
 * the broker may be away). The source owns everything here; a rule's options belong to the configuration. */
#pragma once
#include "bridge/lib/crypto.h"
#include "connectors/sqlite/rules.h"

enum {
    RULES = 64,            /* most rules of a source */
    FOUND_BYTES = 4 << 20, /* a slice is full with this much data */
    FOUND_CHANGES = 1024,  /* or this many changes */
};

/* ---- what a slice found ---- */

struct found {
    struct found_event {
        const struct event *event;
        size_t entry; /* of its rule's `map` */
        size_t why;   /* in `text`, if it is */
        bool refused;
    } * events;
    size_t event_count, event_cap, bytes, given;
    struct found_change {
        size_t key, key_n, value, value_n; /* in `text` */
        bool forget, ahead;
    } * changes;
    size_t change_count, change_cap;
    struct buf text;
    struct change *out; /* the changes as the contract wants them */
    size_t out_cap;
    bool barrier; /* nothing is read before this is stored */
};

/* ---- the source ---- */

enum start { START_NOW, START_SNAPSHOT };
enum raw { RAW_NONE, RAW_ROW };

struct file_id {
    uint64_t dev, ino;
};

enum { WAIT_QUIET_MS = 100 }; /* nothing has changed for so long: let go of the database */

/* How the database and its -wal and -journal look from outside. */
enum { MARK_FILE, MARK_WAL, MARK_JOURNAL, MARKS };
struct file_mark {
    struct {
        uint64_t ino;
        int64_t size, modified_ns; /* not ctime: SQLite sets the owner of a -wal that it opens */
    } of[MARKS];
};

enum sight { SIGHT_NONE, SIGHT_GOOD, SIGHT_LOST }; /* none: it has not looked yet */

struct sqlite_source {
    struct source base;
    /* options */
    char *path, *source, *time_zone;
    struct preset preset; /* of struct preset_file */
    enum start start;
    struct list capture; /* of struct rule_options */
    struct duration poll, hold;
    int64_t batch;
    struct bytes max_event;
    struct telling telling;
    enum raw raw;
    /* set up by open() */
    const char *app_name; /* of the events' data: `app`, or the preset's */
    struct hmac *hmac;    /* of content_key, or NULL */
    char *origin;         /* CloudEvents source */
    char identity[40];    /* made, or restored */
    uint64_t versions;
    struct rule **rules;
    size_t rule_count;
    bool identity_given; /* it is stored, or on its way */
    bool restoring;      /* there is some state, and the first read() is still to come */
    /* the file */
    sqlite3 *db; /* NULL: not open */
    /* During `aqueduct check` and `aqueduct test`: takes what is otherwise logged about a rule (NULL: about none). */
    void (*told)(void *ctx, const struct rule *r, const char *why);
    void *told_ctx;
    bool rehearsed; /* by `aqueduct test`: what a rule costs is of no interest, and an unfinished row is one of now */
    sqlite3_stmt *data_version, *schema_version;
    struct file_id file;
    int64_t seen_version;    /* data_version of the last complete pass; -1: none yet */
    int64_t schema;          /* schema_version that the rules are compiled for; -1: none yet */
    int64_t read_began_us;   /* the statement or slice at work */
    struct err failure;      /* what read() failed with last; "": it works */
    struct err next_failure; /* what it fails with once all that was found is handed out */
    /* Closed while nothing happens, so that the application's own last close ends its WAL, and that it can leave WAL
     * mode: it is opened again once the files look different. */
    struct idle {
        bool let_go;
        bool resumed;          /* opened again after that */
        bool second;           /* looked once more, whatever the files said */
        struct file_mark mark; /* the files at the last look */
        int64_t quiet_ms;      /* since when nothing has changed */
        int64_t again_ms;      /* when to look once more; 0: not */
        int64_t due_ms;        /* wall clock: when an open row is next aborted */
    } idle;
    _Atomic int sight;       /* enum sight; the main thread reads it */
    _Atomic int untriggered; /* outbox rules whose changes may not be written down; the same */
    struct wait {
        int inotify;           /* -1: none */
        char *place;           /* the file itself, where `path` leads to */
        const char *name;      /* its name in its folder */
        char *journal;         /* the path of its rollback journal */
        bool commit;           /* the last notices told of a commit, not only of writing */
        bool noted;            /* some were taken that nobody waited for */
        bool heard;            /* a notice told of the last change that was found while it was let go */
        int64_t lock_ms;       /* how long to wait for a lock; 0: it is not locked */
        int64_t poll_at_ms;    /* when to look without a notice */
        int64_t poll_after_ms; /* the wait that led there */
        int64_t rest_until_ms; /* no read before: the application's turn */
        int64_t owed_us;       /* of it, for what was held, when the last pass ended: */
        int64_t rested_us;
        int streak; /* passes close behind each other */
    } wait;
    struct pass {
        bool running;
        uint32_t number;
        size_t rule; /* whose turn it is */
        int64_t version, began_us, busy_us;
        int64_t said_ms; /* when the log was last told how far the first pass is; it begins with the pass */
    } pass;
    struct pages pages;
    struct slice {
        size_t rows, room; /* rows read; events wanted */
        int64_t looked_us; /* when it looked whether the application writes; 0: not yet */
        bool stubborn;     /* it did all along, and does not count */
        bool over;
    } slice;
    struct found found;
    size_t entry;                    /* of the `map` that is at work */
    struct buf cells, data, scratch; /* while rendering */
    /* While SQL of a `map` is prepared: its rule, and how often each watched column is read; else NULL. */
    const struct rule *projecting;
    unsigned reads[RULE_WATCH];
    const char *alone; /* while a statement is prepared: does it read anything but the rows of this table? */
    bool beyond;       /* it does */
    uint64_t tag, settled;
    struct metric *rows_read, *busy, *held, *ack, *events, *refused, *truncated, *incomplete, *repaired, *restarts,
        *unusable, *reopened, *behind, *unkeyed, *changed, *last_look, *last_change, *lost, *untriggered_rules;
};

/* A hash of the schema that the rules are compiled for, and of the file that has it. */
static inline uint64_t sqlite_schema_of(const struct sqlite_source *s)
{
    return ((uint64_t)s->schema * 31 + s->file.ino) * 31 + s->file.dev + 1;
}

/* beside.c: where SQLite has the file of that ending ("-wal"; "": the database itself) of a database whose path may be a
 * symbolic link: beside what it leads to. Freed by the caller. */
char *beside_path(const char *path, const char *ending);

/* tables.c: a rule for each table that is there and has none yet. Those that come later than the first look are all new. */
void tables_find(struct sqlite_source *s);

/* privacy.c */
bool privacy_check(const struct sqlite_source *s, struct err *e);
bool privacy_check_rule(const struct sqlite_source *s, const struct rule_options *o, struct err *e);
void privacy_open(struct sqlite_source *s);
void privacy_close(struct sqlite_source *s);

/* found.c */
void found_reset(struct sqlite_source *s);
void found_free(struct sqlite_source *s);
/* Takes over the event; refused: it is to become a dead letter, for that reason. NULL: an event like any other. */
void found_add(struct sqlite_source *s, const struct event *ev, const char *refused);
/* value absent: forget. `r` NULL: of the source itself. */
void found_change(struct sqlite_source *s, const struct rule *r, const char *what, struct str key, struct str value,
                  bool ahead);
int found_take(struct sqlite_source *s, struct emission *out, size_t room);

/* refuse.c */
#define REFUSED_TYPE "aqueduct.row.refused"
struct refusal {
    const char *id;        /* NULL: by the row's name */
    const char *row;       /* what it is called: "id 17", "rowid 17" */
    const char *op, *type; /* of the event that it would have been; NULL: unknown */
    const char *why;
    struct str data; /* JSON of what can be told of it; absent: nothing */
};
void refuse_tell(struct sqlite_source *s, const struct rule *r, const struct refusal *f);
/* That row alone is not captured; or only if none of that name was told. */
void refuse_row(struct sqlite_source *s, const struct rule *r, const char *row, const char *why);
void refuse_row_once(struct sqlite_source *s, struct rule *r, const char *row, const char *why);

/* fit.c */
/* Of a compiled rule; warns. False: it would lose rows, *why says what to do. */
bool fit_check(struct sqlite_source *s, struct rule *r, char why[WHY_BYTES]);
int fit_count_unkeyed(struct sqlite_source *s, struct rule *r); /* rows that a look does not meet: their key is NULL */

/* state.c: each stores what the rule (or the source) knows now */
void state_store_identity(struct sqlite_source *s);
void state_store_versions(struct sqlite_source *s);
void state_store_ready(struct sqlite_source *s, struct rule *r); /* its first pass is complete */
void state_store_cursor(struct sqlite_source *s, struct rule *r);
void state_store_passed(struct sqlite_source *s, struct rule *r);
void state_store_epoch(struct sqlite_source *s, struct rule *r);
void state_store_top(struct sqlite_source *s, struct rule *r);
void state_store_since(struct sqlite_source *s, struct rule *r);
void state_store_open(struct sqlite_source *s, struct rule *r, const struct row *row);
void state_forget_open(struct sqlite_source *s, struct rule *r, struct str key);
/* `d`: NULL when no earlier event of the row is in doubt. */
void state_store_row(struct sqlite_source *s, struct rule *r, const struct row *row, bool ahead, const struct doubt *d);
void state_forget_row(struct sqlite_source *s, struct rule *r, struct str key, bool ahead);
bool state_restore(struct sqlite_source *s, struct str key, struct str value, bool ahead); /* false: it is damaged */

/* database.c */
enum db { DB_OK, DB_BUSY, DB_GONE }; /* busy: later; gone: *e says why */
enum db database_open(struct sqlite_source *s, struct err *e);
/* For a look at the tables only. `alone`: nobody else has it open, and no file may be made beside it. */
enum db database_open_to_look(struct sqlite_source *s, bool alone, struct err *e);
void database_close(struct sqlite_source *s);
int database_fail(struct sqlite_source *s, const struct err *why, struct err *e); /* closes it; -1, as read() returns */
bool database_replaced(const struct sqlite_source *s);
void database_note_replaced(struct sqlite_source *s);
/* Does some connection hold the lock that comes before a commit (RESERVED, rollback mode only)? */
bool database_is_written(const struct sqlite_source *s);
enum db database_version(struct sqlite_source *s, int64_t *version, struct err *e); /* data_version: moves by commits */
/* A read transaction with the lock taken. Compiles the rules when the schema has changed. */
enum db database_begin(struct sqlite_source *s, struct err *e);
void database_end(struct sqlite_source *s);
enum db database_state(struct sqlite_source *s, int rc, struct err *e); /* what SQLite's result means */

/* slice.c */
enum step { STEP_DONE, STEP_FULL, STEP_BUSY, STEP_FAILED, STEP_GONE }; /* how one step of a rule's pass ended */
void slice_begin(struct sqlite_source *s, size_t room);
bool slice_is_over(struct sqlite_source *s); /* `hold` has passed, or the application wants to write */
bool slice_full(struct sqlite_source *s);    /* enough read for this time */
enum step slice_failed(struct sqlite_source *s, struct rule *r, int rc, struct err *e);

/* census.c */
void census_begin(struct rule *r);         /* of a compiled rule: a count of another table or `where` tells nothing */
void census_forget(struct rule *r);        /* the cursor moved otherwise than past rows */
int64_t census_rows(const struct rule *r); /* there should be up to the cursor; -1: unknown */
int census_count(struct sqlite_source *s,
                 struct rule *r); /* a piece, after a scan to the end; of what came behind it warns */
/* The same of a diff with `last`, after a pass: rows up to `floor`, and of what went warns. */
int census_count_below(struct sqlite_source *s, struct rule *r, int64_t floor);

/* append.c, updated.c, diff.c, outbox.c: one step of the rule's part of a pass */
enum step append_step(struct sqlite_source *s, struct rule *r, struct err *e);
enum step updated_step(struct sqlite_source *s, struct rule *r, struct err *e);
enum step diff_step(struct sqlite_source *s, struct rule *r, struct err *e);
enum step outbox_step(struct sqlite_source *s, struct rule *r, struct err *e);

/* pass.c */
enum step pass_step(struct sqlite_source *s, struct rule *r, struct err *e); /* one step of a rule's part of a pass */
/* Both return what read() returns */
int pass_begin(struct sqlite_source *s, int wake_fd, struct err *e); /* once anything has changed */
int pass_slice(struct sqlite_source *s, struct emission *out, size_t room, struct err *e);

/* source.c: for a look from outside, on a copy (or a zeroed one with a path and limits): what rendering and reading need */
void source_begin_look(struct sqlite_source *s);
void source_end_look(struct sqlite_source *s);
const char *source_app(const struct sqlite_source *s); /* what events call the application; NULL: nobody says it */
/* The i-th rule as written, those of the preset first; NULL: there are no more. */
const struct rule_options *source_rule(const struct sqlite_source *s, size_t i);

/* rehearse.c: source_ops.rehearse_rows */
size_t rehearse_staged(const struct source *base, const struct staged *of, const struct event **out, size_t room,
                       fault_fn *wrong, fault_fn *doubtful, void *ctx);

/* ---- whose database is it? (apps.c) ---- */

extern const struct known_app apps_known[];
/* That which has all of its tables; NULL: none. */
const struct known_app *apps_find(bool (*has)(void *ctx, const char *table), void *ctx);
const struct known_app *apps_recognise(const char *path, struct err *e); /* source_ops.recognise */

void probe_source(const struct source *base, struct duration limit, finding_fn *each, void *ctx); /* source_ops.probe */
