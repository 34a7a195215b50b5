/* SPDX-License-Identifier: MIT */
/* Looks into a log that it does not open as its owner: what a group without a position would begin with; is it damaged? */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/broker/local/private.h"
#include "bridge/lib/buf.h"
#include "bridge/lib/intact.h"
#include "bridge/lib/mem.h"

enum { BACKLOG_WAIT_MS = 200 };

/* The number that a statement with these texts gives; 0 when it gives none. */
static int64_t backlog_number(sqlite3 *db, const char *sql, const char *first, const char *second)
{
    int64_t n = 0;
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_bind_text(s, 1, first, -1, NULL) == SQLITE_OK
        && (!second || sqlite3_bind_text(s, 2, second, -1, NULL) == SQLITE_OK) && sqlite3_step(s) == SQLITE_ROW)
        n = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return n;
}

/* Records in all partitions of the topic. */
static int64_t backlog_records(sqlite3 *db, const char *topic)
{
    int64_t records = 0;
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(db, "SELECT id, base FROM partition WHERE topic=?", -1, &s, NULL) == SQLITE_OK
        && sqlite3_bind_text(s, 1, topic, -1, NULL) == SQLITE_OK)
        while (sqlite3_step(s) == SQLITE_ROW) {
            char *sql = sqlite3_mprintf("SELECT max(0, max(offset)+1-%lld) FROM log_%lld WHERE ?<>''",
                                        sqlite3_column_int64(s, 1), sqlite3_column_int64(s, 0));
            CHECK(sql);
            records += backlog_number(db, sql, topic, NULL);
            sqlite3_free(sql);
        }
    sqlite3_finalize(s);
    return records;
}

/* Without a write-ahead log beside it, SQLite is told that nothing changes it, so that looking makes no files. */
sqlite3 *local_backlog_open(const char *folder)
{
    sqlite3 *db = NULL;
    char *file = sqlite3_mprintf("%s/aqueduct.db", folder), *wal = sqlite3_mprintf("%s-wal", file);
    struct buf uri = buf_new(16384);
    CHECK(file && wal);
    buf_add_c(&uri, "file:");
    for (const unsigned char *c = (const unsigned char *)file; *c; c++)
        buf_printf(&uri, *c <= ' ' || *c == '%' || *c == '?' || *c == '#' || *c > 126 ? "%%%02x" : "%c", *c);
    if (access(wal, F_OK) != 0)
        buf_add_c(&uri, "?immutable=1");
    if (access(file, R_OK) == 0)
        sqlite3_open_v2(buf_c(&uri), &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL);
    buf_free(&uri);
    sqlite3_free(wal);
    sqlite3_free(file);
    return db;
}

/* What looks at a log reads the newest format alone; what cannot be opened, or not yet read, is told by who reads. */
static bool backlog_is_known(const char *folder, const char *file, struct err *e)
{
    int64_t application, version;
    sqlite3 *db = local_backlog_open(folder);
    bool known = true;
    if (db && local_store_number(db, &application, "PRAGMA application_id")
        && local_store_number(db, &version, "PRAGMA user_version") && (application || version))
        known = local_store_is_known(file, application, version, e)
                && (version == LOCAL_VERSION
                    || err_set(e, "%s: has format %lld: the next start of the daemon brings it to format %d", file,
                               (long long)version, LOCAL_VERSION));
    sqlite3_close(db);
    return known;
}

bool local_backlog_readable(const struct broker_config *config, struct err *e)
{
    if (!config->path || strcmp(config->path, ":memory:") == 0)
        return err_set(e, "broker.path is :memory:, which nobody but the daemon can read");
    char *file = str_join(config->path, "/aqueduct.db", "");
    bool readable = access(file, R_OK) == 0
                    || err_set(e, "%s: %s", file, errno == ENOENT ? "there is no log yet" : strerror(errno));
    readable = readable && backlog_is_known(config->path, file, e);
    free(file);
    return readable;
}

bool local_stayed(const struct broker_config *config, struct err *e)
{
    sqlite3 *db = config->path ? local_backlog_open(config->path) : NULL;
    sqlite3_stmt *s = NULL;
    bool stayed = true;
    if (!db)
        return true;
    char *file = str_join(config->path, "/aqueduct.db", "");
    sqlite3_busy_timeout(db, BACKLOG_WAIT_MS);
    static const char sql[] = "SELECT value FROM state WHERE source='" STATE_MOVE "' AND key=CAST('" STATE_MOVED_TO
                              "' AS BLOB)";
    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW) {
        const char *to = sqlite3_column_blob(s, 0);
        stayed = local_say_moved(file, (struct str){ to ? to : "", (size_t)sqlite3_column_bytes(s, 0) }, e);
    }
    sqlite3_finalize(s);
    sqlite3_close(db);
    free(file);
    return stayed;
}

int64_t local_backlog(const struct broker_config *config, const char *group, const char *topic)
{
    sqlite3 *db = config->path ? local_backlog_open(config->path) : NULL;
    if (!db)
        return 0;
    sqlite3_busy_timeout(db, BACKLOG_WAIT_MS);
    bool begun = backlog_number(db, "SELECT count(*) FROM position JOIN partition ON id=part WHERE grp=? AND topic=?",
                                group, topic)
                 > 0;
    int64_t records = begun ? 0 : backlog_records(db, topic);
    sqlite3_close(db);
    return records;
}

bool local_backlog_is_whole(const struct broker_config *config, struct duration limit, struct err *how)
{
    struct err e;
    sqlite3 *db = local_backlog_readable(config, &e) ? local_backlog_open(config->path) : NULL;
    if (!db)
        return true;
    sqlite3_busy_timeout(db, BACKLOG_WAIT_MS);
    enum intact found = intact_look(db, limit, &e);
    sqlite3_close(db);
    if (found != INTACT_DAMAGED) {
        err_set(how, "%s", intact_says(found));
        return true;
    }
    char *file = str_join(config->path, "/aqueduct.db", "");
    local_store_damaged(file, e.text, how);
    free(file);
    return false;
}
