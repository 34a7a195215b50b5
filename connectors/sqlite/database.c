/* SPDX-License-Identifier: MIT */
/* The application's database file: one read-only connection, and what can be wrong with the file, in words that
 * help.
 *
 * The file is never opened but by SQLite: closing any other descriptor of it would drop all of SQLite's locks in
 * this process. */
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/progress.h"
#include "connectors/sqlite/compile.h"
#include "connectors/sqlite/project.h"
#include "connectors/sqlite/wait.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    DATABASE_READ_US = 500 * 1000, /* a statement that runs this long has no index: it is stopped */
    DATABASE_WAIT_US = 100,
    DATABASE_WAITS = 4,
    DATABASE_SNAPSHOTS = 3,     /* tried again so often, as the WAL moved */
    DATABASE_LENGTH = 16 << 20, /* and twice max_event: no longer value is read into memory */
};

static bool database_id(const char *path, struct file_id *out, bool *mount)
{
    struct statx st;
    if (statx(AT_FDCWD, path, 0, STATX_TYPE | STATX_INO, &st) != 0)
        return false;
    *out = (struct file_id){ (uint64_t)st.stx_dev_major << 32 | st.stx_dev_minor, st.stx_ino };
    if (!S_ISREG(st.stx_mode)) {
        errno = S_ISDIR(st.stx_mode) ? EISDIR : EINVAL;
        return false;
    }
    if (mount)
        *mount = (st.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) && (st.stx_attributes & STATX_ATTR_MOUNT_ROOT);
    return true;
}

static bool database_check_file(struct sqlite_source *s, struct err *e)
{
    bool mount = false;
    if (!database_id(s->path, &s->file, &mount)) {
        if (errno == ENOENT || errno == ENOTDIR)
            return err_set(e, "%s: not there (yet); waiting for it", s->path);
        if (errno == EISDIR || errno == EINVAL)
            return err_set(e, "%s: is %s; name the database file itself", s->path,
                           errno == EISDIR ? "a folder" : "no ordinary file");
        return err_set(e, "%s: %s (running as uid %u)", s->path, strerror(errno), (unsigned)geteuid());
    }
    if (mount)
        return err_set(
            e,
            "%s: only this file is mounted, so its -wal and -journal cannot be seen and commits would be missed; "
            "mount its folder",
            s->path);
    if (access(s->path, R_OK) != 0)
        return err_set(e, "%s: no permission to read it as uid %u; run as the user of the application", s->path,
                       (unsigned)geteuid());
    return true;
}

/* SQLite would make a missing -shm with our uid, and the application could then not write it. */
static void database_warn_of_owner(const struct sqlite_source *s)
{
    struct stat st;
    if (geteuid() != 0 && stat(s->path, &st) == 0 && st.st_uid != geteuid())
        LOG(WARN, "the database belongs to another user; in WAL mode run as that user, or start after the application",
            LOG_C("source", s->base.id), LOG_C("path", s->path), LOG_INT("owner", st.st_uid),
            LOG_INT("uid", geteuid()));
}

/* file:<path>?mode=ro with the path percent-encoded; a source at work never adds immutable, which would ignore WAL and
 * journal. */
static char *database_uri(const char *path, const char *mode)
{
    struct buf uri = buf_new(64 << 10);
    char *real = beside_path(path, "");
    buf_add_c(&uri, "file:");
    for (const char *c = real; *c; c++)
        if (strchr("?#%", *c))
            buf_printf(&uri, "%%%02X", (unsigned char)*c);
        else
            buf_add_char(&uri, *c);
    buf_add_c(&uri, mode);
    char *text = str_dup(buf_str(&uri));
    buf_free(&uri);
    free(real);
    return text;
}

static int database_read_is_too_long(void *arg)
{
    const struct sqlite_source *s = arg;
    progress_step("the database is read", s->base.id);
    return clock_mono_us() - s->read_began_us > DATABASE_READ_US;
}

/* A commit lets go of its lock a moment after it can be seen; that moment is waited for, no longer. */
static int database_wait_a_moment(void *arg, int count)
{
    (void)arg;
    if (count >= DATABASE_WAITS)
        return 0;
    usleep(DATABASE_WAIT_US);
    return 1;
}

static int database_number(sqlite3_stmt *stmt, int64_t *out)
{
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        *out = sqlite3_column_int64(stmt, 0);
    int end = sqlite3_reset(stmt);
    return rc == SQLITE_ROW ? SQLITE_OK : end == SQLITE_OK ? SQLITE_ERROR : end;
}

static int database_set_up(struct sqlite_source *s)
{
    sqlite3_extended_result_codes(s->db, 1);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DQS_DML, 0, NULL); /* "name" is a column or an error, never a string */
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL); /* it would lock out the application */
    sqlite3_limit(s->db, SQLITE_LIMIT_LENGTH, DATABASE_LENGTH + (int)s->max_event.n * 2);
    sqlite3_busy_handler(s->db, database_wait_a_moment, NULL);
    sqlite3_set_authorizer(s->db, project_authorize,
                           s); /* once: to set it anew has SQLite prepare all statements again */
    sqlite3_progress_handler(s->db, 20000, database_read_is_too_long, s);
    s->read_began_us = clock_mono_us();
    int rc = sqlite3_exec(s->db, "PRAGMA query_only = 1", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v3(s->db, "PRAGMA data_version", -1, SQLITE_PREPARE_PERSISTENT, &s->data_version, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v3(s->db, "PRAGMA schema_version", -1, SQLITE_PREPARE_PERSISTENT, &s->schema_version,
                                NULL);
    if (rc == SQLITE_OK)
        rc = database_number(s->schema_version, &s->schema); /* the first real look at the file */
    return rc;
}

/* It is another file. */
static void database_forget_leaves(struct sqlite_source *s)
{
    pages_forget(&s->pages);
    for (size_t i = 0; i < s->rule_count; i++)
        leaves_forget(&s->rules[i]->by_range.leaves);
}

static enum db database_open_as(struct sqlite_source *s, const char *mode, struct err *e)
{
    struct file_id before = s->file;
    if (!database_check_file(s, e))
        return DB_GONE;
    if (s->file.dev != before.dev || s->file.ino != before.ino)
        database_forget_leaves(s);
    char *uri = database_uri(s->path, mode);
    int rc = sqlite3_open_v2(uri, &s->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL);
    free(uri);
    if (rc == SQLITE_OK)
        rc = database_set_up(s);
    else if (s->db)
        rc = sqlite3_extended_errcode(s->db);
    if (rc == SQLITE_OK && database_replaced(s))
        rc = SQLITE_BUSY; /* exchanged while it was being opened */
    enum db state = database_state(s, rc, e);
    if (state != DB_OK)
        database_close(s);
    s->seen_version = -1;
    s->schema = -1;
    return state;
}

enum db database_open(struct sqlite_source *s, struct err *e)
{
    enum db state = database_open_as(s, "?mode=ro", e);
    if (state == DB_OK)
        database_warn_of_owner(s);
    return state;
}

enum db database_open_to_look(struct sqlite_source *s, bool alone, struct err *e)
{
    return database_open_as(s, alone ? "?mode=ro&immutable=1" : "?mode=ro", e);
}

void database_close(struct sqlite_source *s)
{
    for (size_t i = 0; i < s->rule_count; i++)
        rule_drop(s->rules[i]);
    sqlite3_finalize(s->data_version);
    sqlite3_finalize(s->schema_version);
    s->data_version = s->schema_version = NULL;
    pages_close(&s->pages);
    sqlite3_close(s->db);
    s->db = NULL;
    s->pass.running = false;
}

int database_fail(struct sqlite_source *s, const struct err *why, struct err *e)
{
    if (s->db)
        database_close(s);
    s->failure = *why;
    s->sight = SIGHT_LOST;
    s->next_failure.text[0] = '\0';
    err_set(e, "%s", s->failure.text);
    return -1;
}

void database_note_replaced(struct sqlite_source *s)
{
    LOG(WARN, "the database file was replaced or is gone; opening it anew", LOG_C("source", s->base.id),
        LOG_C("path", s->path));
    metric_add(s->reopened, 1);
}

bool database_replaced(const struct sqlite_source *s)
{
    struct file_id now;
    return !database_id(s->path, &now, NULL) || now.dev != s->file.dev || now.ino != s->file.ino;
}

static const char *database_advice(int rc)
{
    switch (rc) {
    case SQLITE_READONLY_ROLLBACK:
        return "the application ended in the middle of a write; it must open the database once before it can be read";
    case SQLITE_READONLY_RECOVERY:
        return "the write-ahead log needs recovery; the application must open the database once";
    case SQLITE_READONLY_CANTINIT:
    case SQLITE_READONLY_DIRECTORY:
        return "it is in WAL mode and its -shm file is missing; start the application first, or mount the folder "
               "writable";
    case SQLITE_CANTOPEN_SYMLINK: return "a symbolic link in its path is not followed";
    }
    switch (rc & 0xff) {
    case SQLITE_CANTOPEN:
        return "cannot be opened: in WAL mode the -wal and -shm beside it are needed, so mount the whole folder, and "
               "start the application first";
    case SQLITE_NOTADB: return "is no SQLite database, or it is encrypted";
    case SQLITE_CORRUPT: return "is damaged; check it with the application, or restore a backup";
    case SQLITE_PERM:
    case SQLITE_AUTH: return "no permission; run as the user of the application";
    case SQLITE_IOERR: return "a read failed (disk, network file system?)";
    case SQLITE_NOMEM: return "SQLite is out of memory";
    }
    return "cannot be read";
}

enum db database_state(struct sqlite_source *s, int rc, struct err *e)
{
    int kind = rc & 0xff;
    if (rc == SQLITE_OK)
        return DB_OK;
    if (kind == SQLITE_BUSY || kind == SQLITE_LOCKED) {
        metric_add(s->busy, 1);
        return DB_BUSY;
    }
    err_set(e, "%s: %s (SQLite: %s)", s->path, database_advice(rc), s->db ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc));
    return DB_GONE;
}

bool database_is_written(const struct sqlite_source *s)
{
    sqlite3_file *file = NULL;
    int reserved = 0;
    return sqlite3_file_control(s->db, "main", SQLITE_FCNTL_FILE_POINTER, &file) == SQLITE_OK && file && file->pMethods
           && file->pMethods->xCheckReservedLock(file, &reserved) == SQLITE_OK && reserved;
}

/* Is the application about to commit? Then it goes first, but not for longer than the waits for a lock take. */
static bool database_gives_way(const struct sqlite_source *s)
{
    return !wait_is_over_for_lock(s) && database_is_written(s);
}

enum db database_version(struct sqlite_source *s, int64_t *version, struct err *e)
{
    s->read_began_us = clock_mono_us();
    if (database_gives_way(s))
        return database_state(s, SQLITE_BUSY, e);
    return database_state(s, database_number(s->data_version, version), e);
}

/* The schema is another one: so are the rules. */
static void database_compile_rules(struct sqlite_source *s)
{
    int64_t unusable = 0, untriggered = 0;
    /* preparing alone would trust the old schema */
    sqlite3_exec(s->db, "SELECT 1 FROM sqlite_schema LIMIT 1", NULL, NULL, NULL);
    tables_find(s);
    for (size_t i = 0; i < s->rule_count; i++) {
        s->rules[i]->skip_count = 0;
        compile_rule(s, s->rules[i]);
        unusable += !s->rules[i]->usable && !s->rules[i]->o->tables;
        untriggered += s->rules[i]->triggers >= TRIGGERS_DIFFER;
    }
    metric_set(s->unusable, unusable);
    metric_set(s->untriggered_rules, untriggered);
    s->untriggered = (int)untriggered;
    s->pass.rule = 0; /* the pass begins again: rules have forgotten where they were, and what they met */
    s->pass.number += s->pass.busy_us > 0;
}

static void database_note_change(void *ctx, uint32_t page)
{
    struct sqlite_source *s = ctx;
    for (size_t i = 0; i < s->rule_count; i++)
        leaves_touch(&s->rules[i]->by_range.leaves, page, s->pages.by_journal);
}

static bool database_needs_pages(const struct sqlite_source *s)
{
    bool needs = false;
    for (size_t i = 0; i < s->rule_count; i++)
        needs = needs || s->rules[i]->root;
    return needs;
}

/* A snapshot for which the rules are compiled. */
static int database_take(struct sqlite_source *s)
{
    int64_t schema = s->schema;
    int rc = sqlite3_exec(s->db, "BEGIN", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = database_number(s->schema_version, &schema); /* takes the lock, so that nothing later is busy */
    s->read_began_us = clock_mono_us();
    if (rc == SQLITE_OK && schema != s->schema) {
        s->schema = schema;
        database_compile_rules(s);
    }
    return rc;
}

enum db database_begin(struct sqlite_source *s, struct err *e)
{
    s->read_began_us = clock_mono_us();
    if (database_gives_way(s))
        return database_state(s, SQLITE_BUSY, e);
    for (int tries = 0;; tries++) {
        pages_before(&s->pages);
        int rc = database_take(s);
        if (rc != SQLITE_OK) {
            enum db state = database_state(s, rc, e);
            database_end(s);
            return state;
        }
        if (!database_needs_pages(s))
            return DB_OK;
        if (!s->pages.index)
            wait_note(s); /* rollback mode: all that led to this snapshot */
        /* of a snapshot that the WAL has left behind already, the pages are not known */
        if (pages_begin(&s->pages, s->db, database_note_change, s) || tries == DATABASE_SNAPSHOTS)
            return DB_OK;
        sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL);
    }
}

void database_end(struct sqlite_source *s)
{
    if (sqlite3_get_autocommit(s->db))
        return;
    sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL);
    metric_observe_us(s->held, clock_mono_us() - s->read_began_us);
}
