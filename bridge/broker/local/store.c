/* SPDX-License-Identifier: MIT */
/* The embedded log's SQLite file: made, checked, opened, its topics loaded; connections and statements. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bridge/broker/local/private.h"
#include "bridge/lib/file.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

enum { BUSY_MS = 5000, WRITER_CACHE_KIB = 4096, READER_CACHE_KIB = 512 };

/* ---- connections and statements ---- */

void local_link_lock(struct link *l)
{
    if (l->lock)
        pthread_mutex_lock(l->lock);
}

void local_link_unlock(struct link *l)
{
    if (l->lock)
        pthread_mutex_unlock(l->lock);
}

static int store_sql(sqlite3 *db, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int store_sql(sqlite3 *db, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *sql = sqlite3_vmprintf(format, args);
    va_end(args);
    int rc = sql ? sqlite3_exec(db, sql, NULL, NULL, NULL) : SQLITE_NOMEM;
    sqlite3_free(sql);
    return rc;
}

bool local_store_prepare(struct link *l, sqlite3_stmt **out, struct err *e, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *sql = sqlite3_vmprintf(format, args);
    va_end(args);
    int rc = sql ? sqlite3_prepare_v3(l->db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL) : SQLITE_NOMEM;
    sqlite3_free(sql);
    return rc == SQLITE_OK || err_set(e, "%s", sqlite3_errmsg(l->db));
}

int local_store_run(sqlite3_stmt *s)
{
    int rc = sqlite3_step(s);
    int reset = sqlite3_reset(s);
    return rc == SQLITE_DONE ? SQLITE_OK : reset ? reset : rc;
}

bool local_link_open(struct local *b, struct link *out, struct err *e)
{
    if (!b->file) {
        *out = b->link;
        return true;
    }
    *out = (struct link){ NULL, NULL };
    if (sqlite3_open_v2(b->file, &out->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK) {
        sqlite3_busy_timeout(out->db, BUSY_MS);
        if (store_sql(out->db, "PRAGMA cache_size=-%d", READER_CACHE_KIB) == SQLITE_OK)
            return true;
    }
    err_set(e, "%s: %s", b->file, out->db ? sqlite3_errmsg(out->db) : "out of memory");
    local_link_close(out);
    return false;
}

void local_link_close(struct link *l)
{
    if (!l->lock)
        sqlite3_close_v2(l->db);
    l->db = NULL;
}

bool local_store_number(sqlite3 *db, int64_t *out, const char *sql)
{
    sqlite3_stmt *s = NULL;
    bool ok = sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW;
    if (ok)
        *out = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return ok;
}

/* ---- a new file ---- */

static const char schema[] =
    "CREATE TABLE topic(name TEXT PRIMARY KEY, retention INTEGER NOT NULL, retention_bytes INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE partition(id INTEGER PRIMARY KEY, topic TEXT NOT NULL, number INTEGER NOT NULL,"
    " base INTEGER NOT NULL DEFAULT 0, base_bytes INTEGER NOT NULL DEFAULT 0, UNIQUE(topic, number));"
    "CREATE TABLE position(grp TEXT, part INTEGER, next INTEGER NOT NULL, beyond BLOB, PRIMARY KEY(grp, part)) WITHOUT ROWID;"
    "CREATE TABLE state(source TEXT, key BLOB, value BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY(source, key)) WITHOUT ROWID;"
    "CREATE TABLE probe(filler BLOB);";

static int store_schema(sqlite3 *db)
{
    int rc = store_sql(db, "PRAGMA page_size=%d", LOCAL_PAGE);
    if (rc == SQLITE_OK)
        rc = store_sql(db, "PRAGMA synchronous=FULL");
    if (rc == SQLITE_OK)
        rc = store_sql(db, "BEGIN; %s PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT", schema,
                       LOCAL_APPLICATION, LOCAL_VERSION);
    return rc;
}

/* Built aside and renamed, so that a crash in the middle leaves nothing that looks like a damaged log. */
static bool store_create(struct local *b, struct err *e)
{
    char *aside = sqlite3_mprintf("%s.new", b->file), *journal = sqlite3_mprintf("%s.new-journal", b->file);
    sqlite3 *db = NULL;
    CHECK(aside && journal);
    unlink(aside);
    unlink(journal);
    if (!file_make_own(aside, e)) {
        sqlite3_free(aside);
        sqlite3_free(journal);
        return err_prefix(e, "broker.path");
    }
    int rc = sqlite3_open_v2(aside, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK)
        rc = store_schema(db);
    bool ok = rc == SQLITE_OK || err_set(e, "broker.path: cannot make \"%s\": %s", b->file, sqlite3_errmsg(db));
    sqlite3_close(db);
    if (ok && rename(aside, b->file) != 0)
        ok = err_set(e, "broker.path: cannot make \"%s\": %s", b->file, strerror(errno));
    sqlite3_free(aside);
    sqlite3_free(journal);
    if (ok)
        LOG(INFO, "there was no log: databases are read from their start option, and nothing that came before is known",
            LOG_C("file", b->file));
    return ok && local_folder_sync(b->folder, e);
}

/* ---- checks of a file that is there ---- */

/* The log and what SQLite keeps beside it. */
static bool store_take_over(struct local *b, struct err *e)
{
    static const char *const suffixes[] = { "", "-wal", "-shm" };
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof suffixes / sizeof *suffixes; i++) {
        char *file = str_join(b->file, suffixes[i], "");
        ok = file_take_over(file, e);
        free(file);
    }
    return ok;
}

/* Makes the file if there is none; refuses what cannot be the log. Never opens it raw: that would drop SQLite's locks. */
static bool store_check_file(struct local *b, struct err *e)
{
    struct stat st;
    if (lstat(b->file, &st) != 0) {
        if (errno != ENOENT)
            return err_set(e, "broker.path: \"%s\": %s", b->file, strerror(errno));
        char *wal = sqlite3_mprintf("%s-wal", b->file);
        CHECK(wal);
        bool orphan = stat(wal, &st) == 0 && st.st_size > 0;
        sqlite3_free(wal);
        if (orphan)
            return err_set(
                e,
                "broker.path: \"%s\" is missing, but its write-ahead log \"%s-wal\" is there and holds events: "
                "put the file back, or move the -wal away to begin with an empty log",
                b->file, b->file);
        return store_create(b, e);
    }
    if (!store_take_over(b, e))
        return err_prefix(e, "broker.path");
    if (st.st_size == 0)
        return err_set(e,
                       "broker.path: \"%s\" is empty (cut to 0 bytes), so its events are gone: "
                       "restore it from a backup, or move it and its -wal away to begin with an empty log",
                       b->file);
    return local_wal_check(b->file, e);
}

bool local_store_damaged(const char *file, const char *how, struct err *e)
{
    return err_set(e,
                   "broker.path: \"%s\" is damaged (%s): restore it from a backup, save what can be read with "
                   "`sqlite3 FILE .recover`, or move it away to begin with an empty log",
                   file, how);
}

static bool store_refuse(struct local *b, struct err *e)
{
    int rc = sqlite3_errcode(b->link.db) & 0xff;
    if (rc == SQLITE_NOTADB)
        return err_set(
            e,
            "broker.path: \"%s\" is not a log of Aqueduct (not a SQLite database): move it away, or choose another folder",
            b->file);
    if (rc == SQLITE_CORRUPT)
        return local_store_damaged(b->file, sqlite3_errmsg(b->link.db), e);
    return err_set(e, "broker.path: \"%s\": %s", b->file ? b->file : ":memory:", sqlite3_errmsg(b->link.db));
}

bool local_store_is_known(const char *file, int64_t application, int64_t version, struct err *e)
{
    if (application != LOCAL_APPLICATION)
        return err_set(
            e,
            "broker.path: \"%s\" is a SQLite database of another program (application_id %lld): choose another folder",
            file, (long long)application);
    if (version < 1 || version > LOCAL_VERSION)
        return err_set(
            e,
            "broker.path: \"%s\" has format %lld, this Aqueduct knows formats 1 to %d: use the version that wrote it",
            file, (long long)version, LOCAL_VERSION);
    return true;
}

static bool store_check_identity(struct local *b, struct err *e)
{
    int64_t application, version;
    if (!local_store_number(b->link.db, &application, "PRAGMA application_id")
        || !local_store_number(b->link.db, &version, "PRAGMA user_version"))
        return store_refuse(b, e);
    return local_store_is_known(b->file, application, version, e);
}

/* Brings a file of an earlier format to this one, in one transaction. */
static bool store_upgrade(struct local *b, struct err *e)
{
    int64_t version = LOCAL_VERSION;
    if (!local_store_number(b->link.db, &version, "PRAGMA user_version"))
        return store_refuse(b, e);
    if (version == LOCAL_VERSION
        || store_sql(b->link.db,
                     "BEGIN IMMEDIATE; ALTER TABLE position ADD COLUMN beyond BLOB; PRAGMA user_version=%d; COMMIT",
                     LOCAL_VERSION)
               == SQLITE_OK)
        return true;
    store_refuse(b, e);
    return err_prefix(e, "taking over a file of format %lld", (long long)version);
}

/* The small tables, whole; logs and state are checked row by row as they are read. */
static bool store_check_tables(struct local *b, struct err *e)
{
    static const char *const tables[] = { "topic", "partition", "position" };
    char how[WHY_BYTES];
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        sqlite3_stmt *s = NULL;
        if (!local_store_prepare(&b->link, &s, e, "PRAGMA quick_check('%s')", tables[i]))
            return store_refuse(b, e);
        bool ok = sqlite3_step(s) == SQLITE_ROW;
        const char *said = ok ? (const char *)sqlite3_column_text(s, 0) : sqlite3_errmsg(b->link.db);
        ok = ok && strcmp(said, "ok") == 0;
        if (!ok) {
            snprintf(how, sizeof how, "table %s: %s", tables[i], said);
            local_store_damaged(b->file, how, e);
        }
        sqlite3_finalize(s);
        if (!ok)
            return false;
    }
    return true;
}

/* ---- topics ---- */

/* Where the log of this partition begins and ends; both must agree with its base. */
static bool store_load_ends(struct local *b, struct partition *p, int64_t base, int64_t base_bytes, int64_t *newest,
                            struct err *e)
{
    sqlite3_stmt *s = NULL;
    if (!local_store_prepare(
            &b->link, &s, e,
            "SELECT (SELECT min(offset) FROM log_%lld), offset, bytes, stored FROM log_%lld ORDER BY offset DESC LIMIT 1",
            (long long)p->id, (long long)p->id))
        return store_refuse(b, e);
    int rc = sqlite3_step(s);
    int64_t first = base;
    if (rc == SQLITE_ROW) {
        first = sqlite3_column_int64(s, 0);
        *newest = sqlite3_column_int64(s, 3) > *newest ? sqlite3_column_int64(s, 3) : *newest;
        local_partition_set(p, first, sqlite3_column_int64(s, 1) + 1, sqlite3_column_int64(s, 2));
    } else if (rc == SQLITE_DONE) {
        local_partition_set(p, base, base, base_bytes);
    }
    if (sqlite3_finalize(s) != SQLITE_OK)
        return store_refuse(b, e);
    if (first != base)
        return err_set(
            e, "broker.path: \"%s\" is damaged: %s/%d begins at offset %lld instead of %lld: restore it from a backup",
            b->file, p->topic->name, (int)p->number, (long long)first, (long long)base);
    return true;
}

static bool store_load_partitions(struct local *b, sqlite3_stmt *s, struct err *e)
{
    int rc;
    int64_t newest = -1;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        struct str name = { (const char *)sqlite3_column_text(s, 1), (size_t)sqlite3_column_bytes(s, 1) };
        struct topic *t = name.at ? local_topic_find(b, name) : NULL;
        if (!t || sqlite3_column_int64(s, 2) != t->partition_count)
            return err_set(e,
                           "broker.path: \"%s\" is damaged: its list of partitions has holes: restore it from a backup",
                           b->file);
        struct partition *p = local_topic_add_partition(b, t, sqlite3_column_int64(s, 0));
        if (!store_load_ends(b, p, sqlite3_column_int64(s, 3), sqlite3_column_int64(s, 4), &newest, e))
            return false;
    }
    local_age_begin(&b->age, newest);
    return rc == SQLITE_DONE || store_refuse(b, e);
}

static bool store_load_topic_rows(struct local *b, sqlite3_stmt *s, struct err *e)
{
    int rc;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        struct str name = { (const char *)sqlite3_column_text(s, 0), (size_t)sqlite3_column_bytes(s, 0) };
        if (!name.at || !topic_name_ok(name))
            return err_set(
                e, "broker.path: \"%s\" is damaged: it lists a topic with an impossible name: restore it from a backup",
                b->file);
        struct topic *t = local_topic_add(b, name);
        local_topic_set_limits(b, t, (struct duration){ sqlite3_column_int64(s, 1) },
                               (struct bytes){ sqlite3_column_int64(s, 2) });
    }
    return rc == SQLITE_DONE || store_refuse(b, e);
}

static bool store_load_topics(struct local *b, struct err *e)
{
    sqlite3_stmt *topics = NULL, *partitions = NULL;
    bool
        ok = (local_store_prepare(&b->link, &topics, e, "SELECT name, retention, retention_bytes FROM topic")
              || store_refuse(b, e))
             && store_load_topic_rows(b, topics, e)
             && (local_store_prepare(&b->link, &partitions, e,
                                     "SELECT id, topic, number, base, base_bytes FROM partition ORDER BY topic, number")
                 || store_refuse(b, e))
             && store_load_partitions(b, partitions, e);
    sqlite3_finalize(topics);
    sqlite3_finalize(partitions);
    return ok;
}

/* Creates what is missing of a topic; SQLite's code. Inside a transaction. The name was checked: it needs no quoting. */
static int store_write_topic(struct local *b, const char *name, int32_t have, int64_t want,
                             const struct topic_config *settings)
{
    sqlite3 *db = b->link.db;
    int rc = store_sql(db, "INSERT OR IGNORE INTO topic VALUES('%s', 0, 0)", name);
    if (rc == SQLITE_OK && settings)
        rc = store_sql(db, "UPDATE topic SET retention=%lld, retention_bytes=%lld WHERE name='%s'",
                       (long long)settings->retention.ms, (long long)settings->retention_bytes.n, name);
    for (int64_t n = have; n < want && rc == SQLITE_OK; n++) {
        rc = store_sql(db, "INSERT INTO partition(topic, number) VALUES('%s', %lld)", name, (long long)n);
        if (rc == SQLITE_OK)
            rc = store_sql(
                db,
                "CREATE TABLE log_%lld(offset INTEGER PRIMARY KEY, stored INTEGER NOT NULL, bytes INTEGER NOT NULL, record BLOB NOT NULL)",
                (long long)sqlite3_last_insert_rowid(db));
    }
    return rc;
}

/* The ids of the partitions that were just made are the last ones of the topic. */
static int store_add_partitions(struct local *b, struct topic *t)
{
    sqlite3_stmt *s = NULL;
    if (!local_store_prepare(&b->link, &s, NULL,
                             "SELECT id FROM partition WHERE topic='%s' AND number>=%d ORDER BY number", t->name,
                             (int)t->partition_count))
        return sqlite3_errcode(b->link.db);
    while (sqlite3_step(s) == SQLITE_ROW)
        local_partition_set(local_topic_add_partition(b, t, sqlite3_column_int64(s, 0)), 0, 0, 0);
    return sqlite3_finalize(s);
}

int local_store_topic(struct local *b, const char *name, int64_t partitions, const struct topic_config *settings)
{
    struct topic *t = local_topic_find(b, str_of(name));
    int32_t have = t ? t->partition_count : 0;
    if (t && settings)
        local_topic_set_use(b, t, settings);
    if (t && partitions <= have
        && (!settings
            || (settings->retention.ms == t->retention.ms && settings->retention_bytes.n == t->retention_bytes.n)))
        return SQLITE_OK;
    local_link_lock(&b->link);
    int rc = store_sql(b->link.db, "BEGIN IMMEDIATE");
    if (rc == SQLITE_OK)
        rc = store_write_topic(b, name, have, partitions, settings);
    if (rc == SQLITE_OK)
        rc = store_sql(b->link.db, "COMMIT");
    if (rc == SQLITE_OK) {
        t = t ? t : local_topic_add(b, str_of(name));
        if (settings) {
            local_topic_set_limits(b, t, settings->retention, settings->retention_bytes);
            local_topic_set_use(b, t, settings);
        }
        rc = store_add_partitions(b, t);
        atomic_fetch_add(&b->generation, 1);
    }
    if (rc != SQLITE_OK) {
        local_status_fail(b, rc, "create a topic"); /* the rollback replaces the cause */
        if (!sqlite3_get_autocommit(b->link.db))
            store_sql(b->link.db, "ROLLBACK");
    }
    local_link_unlock(&b->link);
    return rc;
}

int local_store_forget(struct local *b, const char *group, const char *topic)
{
    sqlite3_stmt *s = NULL;
    local_link_lock(&b->link);
    bool made = local_store_prepare(&b->link, &s, NULL,
                                    "DELETE FROM position WHERE grp=?1 AND part IN"
                                    " (SELECT id FROM partition WHERE topic=?2)");
    int rc = made ? SQLITE_OK : sqlite3_errcode(b->link.db);
    if (made) {
        sqlite3_bind_text(s, 1, group, -1, SQLITE_STATIC);
        sqlite3_bind_text(s, 2, topic, -1, SQLITE_STATIC);
        rc = local_store_run(s);
    }
    if (rc != SQLITE_OK)
        local_status_fail(b, rc, "forget a position");
    sqlite3_finalize(s);
    local_link_unlock(&b->link);
    return rc;
}

/* ---- open and close ---- */

static bool store_open_writer(struct local *b, struct err *e)
{
    int64_t pages = b->max_size / LOCAL_PAGE;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (b->file ? 0 : SQLITE_OPEN_CREATE);
    if (sqlite3_open_v2(b->file ? b->file : ":memory:", &b->link.db, flags, NULL) != SQLITE_OK)
        return store_refuse(b, e);
    sqlite3 *db = b->link.db;
    sqlite3_busy_timeout(db, BUSY_MS);
    if (b->file && sqlite3_db_readonly(db, "main") == 1)
        return err_set(e, "broker.path: \"%s\" cannot be written: give this user the right to write it", b->file);
    if (b->file ? !store_check_identity(b, e) : store_schema(db) != SQLITE_OK)
        return b->file ? false : store_refuse(b, e);
    if (store_sql(
            db,
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; PRAGMA journal_size_limit=%d;"
            "PRAGMA cache_size=-%d; PRAGMA temp_store=MEMORY; PRAGMA max_page_count=%lld",
            64 << 20, WRITER_CACHE_KIB, pages > 0 ? (long long)pages : 4294967294LL)
        != SQLITE_OK)
        return store_refuse(b, e);
    int64_t wal = 0, busy = 0;
    if (b->file && (!local_store_number(db, &wal, "SELECT journal_mode='wal' FROM pragma_journal_mode") || !wal))
        return err_set(
            e,
            "broker.path: \"%s\" cannot be used with a write-ahead log: its file system does not share memory between processes",
            b->file);
    if (b->file && !store_upgrade(b, e))
        return false;
    /* Each start begins with an empty write-ahead log: local_wal_check counts on it. */
    if (b->file && !local_store_number(db, &busy, "PRAGMA wal_checkpoint(TRUNCATE)"))
        return store_refuse(b, e);
    return !busy || err_set(e, "broker.path: \"%s\" is being used by another program", b->file);
}

static bool store_prepare_all(struct local *b, struct err *e)
{
    struct link *l = &b->link;
    return local_store_prepare(l, &b->begin, e, "BEGIN IMMEDIATE") && local_store_prepare(l, &b->commit, e, "COMMIT")
           && local_store_prepare(l, &b->rollback, e, "ROLLBACK")
           && local_store_prepare(l, &b->set_state, e, "INSERT OR REPLACE INTO state VALUES(?1, ?2, ?3, ?4)")
           && local_store_prepare(l, &b->forget_state, e, "DELETE FROM state WHERE source=?1 AND key=?2")
           && local_store_prepare(l, &b->set_position, e,
                                  "INSERT OR REPLACE INTO position(grp, part, next, beyond) VALUES(?1, ?2, ?3, ?4)")
           && local_store_prepare(l, &b->get_position, e, "SELECT next FROM position WHERE grp=?1 AND part=?2")
           && local_store_prepare(l, &b->set_base, e, "UPDATE partition SET base=?2, base_bytes=?3 WHERE id=?1");
}

bool local_store_open(struct local *b, struct err *e)
{
    if (!b->file)
        b->link.lock = &b->memory_lock;
    if ((b->file && !store_check_file(b, e)) || !store_open_writer(b, e) || !store_check_tables(b, e))
        return false;
    return (store_prepare_all(b, e) || store_refuse(b, e)) && store_load_topics(b, e);
}

void local_store_close(struct local *b)
{
    sqlite3_stmt *all[] = { b->begin,        b->commit,       b->rollback,     b->set_state,
                            b->forget_state, b->set_position, b->get_position, b->set_base };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        sqlite3_finalize(all[i]);
    local_topics_free(b);
    if (!b->link.db)
        return;
    /* After a failed write nothing more is written; the next start recovers from the write-ahead log. */
    if (atomic_load(&b->status) == LOCAL_FAILED)
        sqlite3_db_config(b->link.db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_close(b->link.db);
}
