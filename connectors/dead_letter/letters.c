/* SPDX-License-Identifier: MIT */
/* The file of dead letters, on SQLite: how it is opened and written. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>
#include "bridge/lib/buf.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/file.h"
#include "connectors/dead_letter/private.h"

enum {
    FILE_KIND = 0x41514c44, /* application_id: "AQLD" */
    FILE_VERSION = 1,
    BUSY_MS = 2000, /* patience with the other process */
};

static const char *const texts[STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [REMOVE] = ("DELETE FROM letters WHERE owner = ?1 AND of_source = ?2 AND identity IN (?3, ?4)"
                " AND (identity = ?3 OR (topic IS ?5 AND partition = ?6 AND offset = ?7 AND type IS ?8"
                " AND " OF_FROM " IS ?9)) RETURNING redrives"),
    [INSERT] =
        "INSERT INTO letters (of_source, owner, identity, id, source, type, time, first, last, attempts, status, class,"
        " reason, topic, partition, offset, stored, redrives, key, value)"
        " VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20)",
    [INSERT_HEADER] = "INSERT INTO headers (letter, position, name, value) VALUES (?1, ?2, ?3, ?4)",
    [REDRIVEN] = "UPDATE letters SET state = 'redriven', redrives = redrives + 1"
                 " WHERE owner = ?1 AND of_source = 0 AND topic = ?2 AND partition = ?3 AND offset = ?4 AND last = ?5"
                 " AND state <> 'redriven' AND coalesce(?6, '') =" OF_ENDPOINT,
    [DISCARDED] = "UPDATE letters SET state = 'discarded'"
                  " WHERE owner = ?1 AND of_source = ?2 AND identity = ?3 AND last = ?4 AND state = 'dead'",
    [MARK] = "UPDATE letters SET state = ?2, redrives = redrives + (?2 = 'redriven') WHERE seq = ?1 AND state = ?3",
    [UNCHANGED] = "SELECT count(*) FROM letters WHERE seq = ?1 AND state = ?2",
    [COUNT] = "SELECT count(*) FROM letters",
    [COUNT_DISCARDED] = "SELECT count(*) FROM letters WHERE state = 'discarded'",
    [OLDEST] = "DELETE FROM letters WHERE seq IN (SELECT seq FROM letters ORDER BY seq LIMIT ?1)",
    [AGED] = "DELETE FROM letters WHERE last < ?1",
    [LOAD] = ("SELECT of_source, owner, id, source, type, time, first, last, attempts, status, class, reason, topic,"
              " partition, offset, stored, state, redrives, key, value, nullif(" OF_ENDPOINT
              ", ''), identity FROM letters WHERE seq = ?1"),
    [LOAD_HEADERS] = "SELECT name, value FROM headers WHERE letter = ?1 ORDER BY position",
};

#define DISCARDS "CREATE INDEX IF NOT EXISTS letters_discarded ON letters (seq) WHERE state = 'discarded';"

static const char schema[] =
    "BEGIN;"
    "CREATE TABLE letters ("
    " seq INTEGER PRIMARY KEY AUTOINCREMENT,"
    " of_source INTEGER NOT NULL, owner TEXT NOT NULL,"
    " identity TEXT NOT NULL," /* letters_identity; of earlier versions: letters_identity_before */
    " id TEXT, source TEXT, type TEXT, time TEXT,"
    " first INTEGER NOT NULL, last INTEGER NOT NULL," /* milliseconds since 1970 */
    " attempts INTEGER NOT NULL, status INTEGER NOT NULL, class TEXT, reason TEXT,"
    " topic TEXT, partition INTEGER, offset INTEGER, stored INTEGER NOT NULL,"
    " state TEXT NOT NULL DEFAULT 'dead', redrives INTEGER NOT NULL,"
    " key BLOB, value BLOB,"
    " UNIQUE (owner, of_source, identity));"
    "CREATE INDEX letters_origin ON letters (owner, topic, partition, offset);"
    "CREATE INDEX letters_last ON letters (last);"
    "CREATE TABLE headers (letter INTEGER NOT NULL REFERENCES letters ON DELETE CASCADE, position INTEGER NOT NULL,"
    " name BLOB NOT NULL, value BLOB, PRIMARY KEY (letter, position)) WITHOUT ROWID;" DISCARDS
    "PRAGMA application_id = 1095846980;"
    "PRAGMA user_version = 1;"
    "COMMIT;";

bool letters_failed(const struct letters *st, struct err *e)
{
    if (sqlite3_errcode(st->db) == SQLITE_NOTADB)
        return err_set(
            e, "%s: is not a file of dead letters, nor any SQLite database; it is left alone, name another path",
            st->path);
    return err_set(e, "%s: %s", st->path, sqlite3_errmsg(st->db));
}

sqlite3_stmt *letters_statement(struct letters *st, enum statement which, struct err *e)
{
    sqlite3_stmt **s = &st->statements[which];
    if (!*s && sqlite3_prepare_v3(st->db, texts[which], -1, SQLITE_PREPARE_PERSISTENT, s, NULL) != SQLITE_OK)
        letters_failed(st, e);
    return *s;
}

bool letters_step(struct letters *st, sqlite3_stmt *s, int64_t *row, struct err *e)
{
    int rc = sqlite3_step(s);
    if (rc == SQLITE_ROW) {
        if (row)
            *row = sqlite3_column_int64(s, 0);
        rc = sqlite3_step(s);
    }
    if (rc != SQLITE_DONE)
        letters_failed(st, e);
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return rc == SQLITE_DONE;
}

static bool letters_run(struct letters *st, enum statement which, struct err *e)
{
    sqlite3_stmt *s = letters_statement(st, which, e);
    return s && letters_step(st, s, NULL, e);
}

static bool letters_number(struct letters *st, const char *text, int64_t *out, struct err *e)
{
    sqlite3_stmt *s = NULL;
    *out = 0;
    bool ok = sqlite3_prepare_v2(st->db, text, -1, &s, NULL) == SQLITE_OK ? letters_step(st, s, out, e)
                                                                          : letters_failed(st, e);
    sqlite3_finalize(s);
    return ok;
}

/* Is it ours, or *empty? */
static bool letters_judge(struct letters *st, bool *empty, struct err *e)
{
    int64_t kind, version, objects;
    if (!letters_number(st, "PRAGMA application_id", &kind, e)
        || !letters_number(st, "PRAGMA user_version", &version, e)
        || !letters_number(st, "SELECT count(*) FROM sqlite_schema", &objects, e))
        return false;
    *empty = kind == 0 && version == 0 && objects == 0;
    if (*empty)
        return true;
    if (kind != FILE_KIND)
        return err_set(e, "%s: is a database, but not a file of dead letters", st->path);
    if (version != FILE_VERSION)
        return err_set(e,
                       "%s: was written by another version of aqueduct (file version %" PRId64 ", this one knows %d)",
                       st->path, version, FILE_VERSION);
    return true;
}

/* An empty file becomes ours when we may write. */
static bool letters_check_file(struct letters *st, bool write, struct err *e)
{
    bool empty;
    if (!letters_judge(st, &empty, e))
        return false;
    if (!empty) /* earlier versions did not know the index; they write it all the same */
        return !write || sqlite3_exec(st->db, DISCARDS, NULL, NULL, NULL) == SQLITE_OK || letters_failed(st, e);
    if (!write)
        return err_set(e, "%s: holds no dead letters yet", st->path);
    return sqlite3_exec(st->db, schema, NULL, NULL, NULL) == SQLITE_OK || letters_failed(st, e);
}

static bool letters_set_up(struct letters *st, bool write, struct err *e)
{
    static const char writer[] = "PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON";
    sqlite3_busy_timeout(st->db, BUSY_MS);
    if (sqlite3_exec(st->db, write ? writer : "PRAGMA query_only = ON", NULL, NULL, NULL) != SQLITE_OK)
        return letters_failed(st, e);
    return letters_check_file(st, write, e);
}

/* The folder is told as well: the configuration may be read from another one than that in which the daemon runs. */
static char *letters_full_path(const char *path)
{
    char here[PATH_MAX];
    while (path[0] == '.' && path[1] == '/')
        path += 2;
    return path[0] != '/' && getcwd(here, sizeof here) ? str_join(here, "/", path) : str_dup(str_of(path));
}

static void letters_not_opened(const struct letters *st, bool write, bool relative, struct err *e)
{
    int why = st->db ? sqlite3_system_errno(st->db) : ENOMEM;
    const char *hint = "the daemon creates it when it starts";
    if (why == EACCES || why == EPERM)
        hint = "run this as the user that runs aqueduct, or as one who may write there";
    else if (write)
        hint = "its folder must exist and be writable";
    else if (relative)
        hint = "path is relative: a daemon that starts in this folder creates it; run this where the daemon runs";
    err_set(e, "%s: cannot be opened: %s; %s", st->path, why ? strerror(why) : sqlite3_errmsg(st->db), hint);
}

struct letters *letters_open(const char *path, bool write, struct err *e)
{
    struct letters *st = mem_alloc(sizeof *st);
    st->path = letters_full_path(path);
    st->count = st->claim_fd = -1;
    /* A reader opens for writing too (and is then forbidden to): a journal that a killed daemon left must be rolled
     * back. */
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (write ? SQLITE_OPEN_CREATE : 0);
    bool ours = !write || file_make_own(path, e),
         good = ours && sqlite3_open_v2(path, &st->db, flags, NULL) == SQLITE_OK;
    if (ours && !good)
        letters_not_opened(st, write, path[0] != '/', e);
    if (good && letters_set_up(st, write, e))
        return st;
    letters_close(st);
    return NULL;
}

/* file:<path>?immutable=1: SQLite takes no locks and makes no files beside it. */
static char *letters_uri(const char *path)
{
    struct buf uri = buf_new(64 << 10);
    buf_add_c(&uri, "file:");
    for (const char *c = path; *c; c++)
        buf_printf(&uri, strchr("?#%", *c) ? "%%%02X" : "%c", (unsigned char)*c);
    buf_add_c(&uri, "?immutable=1");
    char *text = str_dup(buf_str(&uri));
    buf_free(&uri);
    return text;
}

bool letters_check(const char *path, struct err *e)
{
    bool empty, good = true;
    struct letters *st = mem_alloc(sizeof *st);
    char *uri = letters_uri(path);
    st->path = str_dup(str_of(path));
    st->claim_fd = -1;
    if (access(path, R_OK) == 0
        && sqlite3_open_v2(uri, &st->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL)
               == SQLITE_OK)
        good = letters_judge(st, &empty, e);
    free(uri);
    letters_close(st);
    return good;
}

void letters_close(struct letters *st)
{
    if (!st)
        return;
    for (size_t i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(st->statements[i]);
    sqlite3_close(st->db);
    if (st->claim_fd >= 0)
        close(st->claim_fd);
    free(st->path);
    free(st);
}

bool letters_begin(struct letters *st, struct err *e)
{
    return letters_run(st, BEGIN, e);
}

bool letters_commit(struct letters *st, struct err *e)
{
    return letters_run(st, COMMIT, e);
}

void letters_rollback(struct letters *st)
{
    if (!sqlite3_get_autocommit(st->db))
        letters_run(st, ROLLBACK, NULL);
    st->count = -1;
}

void letters_bind_text(sqlite3_stmt *s, int at, struct str text)
{
    if (text.at)
        sqlite3_bind_text64(s, at, text.at, text.n, SQLITE_STATIC, SQLITE_UTF8);
}

static void letters_bind_bytes(sqlite3_stmt *s, int at, struct str bytes)
{
    if (bytes.at)
        sqlite3_bind_blob64(s, at, bytes.at, bytes.n, SQLITE_STATIC);
}

/* What is no event is known by its place, as earlier versions did. */
static void letters_identity_of_place(const struct letter *l, struct buf *out)
{
    if (l->topic.at) {
        buf_add_str(out, l->topic);
        buf_printf(out, "/%" PRId64 "/%" PRId64, l->partition, l->offset);
    } else {
        buf_add_str(out, l->record.topic);
        buf_printf(out, "/%" PRId32 "/%" PRId64, l->record.partition, l->record.offset);
    }
    if (l->endpoint.at) {
        buf_add_char(out, '/');
        buf_add_str(out, l->endpoint);
    }
}

/* The same letter again has the same identity: that of its event (its id alone may be chosen by several senders), at its
 * origin (where another event may stand when the topic was made anew), and of the endpoint. */
static void letters_identity(const struct letter *l, struct buf *out)
{
    char uuid[UUID_TEXT], place[64];
    if (!l->id.at) {
        letters_identity_of_place(l, out);
        return;
    }
    snprintf(place, sizeof place, "%" PRId64 "/%" PRId64, l->partition, l->offset);
    struct str from = record_header(&l->record, TRAIL_FROM);
    uuid_of((const struct str[]){ l->topic, l->topic.at ? str_of(place) : STR(""), from, l->source, l->id, l->type,
                                  l->endpoint },
            7, uuid);
    buf_add_c(out, uuid);
}

/* The identity that earlier versions gave an event's letter, which more than one letter could have. */
static void letters_identity_before(const struct letter *l, char out[UUID_TEXT])
{
    uuid_of((const struct str[]){ l->source, l->id, l->endpoint }, l->endpoint.at ? 3 : 2, out);
}

/* Takes out what was filed of the same letter, by this version or an earlier one; its count of redrives goes on. */
static bool letters_remove_earlier(struct letters *st, const struct letter *l, struct str identity, int64_t *redrives,
                                   struct err *e)
{
    char before[UUID_TEXT] = "";
    sqlite3_stmt *s = letters_statement(st, REMOVE, e);
    if (!s)
        return false;
    if (l->id.at)
        letters_identity_before(l, before);
    letters_bind_text(s, 1, l->owner);
    sqlite3_bind_int(s, 2, l->of_source);
    letters_bind_text(s, 3, identity);
    letters_bind_text(s, 4, str_of(before));
    letters_bind_text(s, 5, l->topic);
    sqlite3_bind_int64(s, 6, l->partition);
    sqlite3_bind_int64(s, 7, l->offset);
    letters_bind_text(s, 8, l->type);
    letters_bind_bytes(s, 9, record_header(&l->record, TRAIL_FROM));
    return letters_step(st, s, redrives, e);
}

static bool letters_insert(struct letters *st, const struct letter *l, struct str identity, int64_t redrives,
                           struct err *e)
{
    sqlite3_stmt *s = letters_statement(st, INSERT, e);
    if (!s)
        return false;
    sqlite3_bind_int(s, 1, l->of_source);
    letters_bind_text(s, 2, l->owner);
    letters_bind_text(s, 3, identity);
    letters_bind_text(s, 4, l->id);
    letters_bind_text(s, 5, l->source);
    letters_bind_text(s, 6, l->type);
    letters_bind_text(s, 7, l->time);
    sqlite3_bind_int64(s, 8, l->first_ms);
    sqlite3_bind_int64(s, 9, l->last_ms);
    sqlite3_bind_int64(s, 10, l->attempts);
    sqlite3_bind_int64(s, 11, l->status);
    letters_bind_text(s, 12, l->class);
    letters_bind_text(s, 13, l->reason);
    letters_bind_text(s, 14, l->topic);
    sqlite3_bind_int64(s, 15, l->partition);
    sqlite3_bind_int64(s, 16, l->offset);
    sqlite3_bind_int64(s, 17, l->record.timestamp_ms);
    sqlite3_bind_int64(s, 18, redrives);
    letters_bind_bytes(s, 19, l->record.key);
    letters_bind_bytes(s, 20, l->record.value);
    return letters_step(st, s, NULL, e);
}

/* The headers of the letter just inserted. */
static bool letters_insert_headers(struct letters *st, const struct record *r, struct err *e)
{
    int64_t letter = sqlite3_last_insert_rowid(st->db);
    sqlite3_stmt *s = letters_statement(st, INSERT_HEADER, e);
    bool ok = s != NULL;
    for (size_t i = 0; ok && i < r->header_count; i++) {
        sqlite3_bind_int64(s, 1, letter);
        sqlite3_bind_int64(s, 2, (int64_t)i);
        letters_bind_bytes(s, 3, r->headers[i].name);
        letters_bind_bytes(s, 4, r->headers[i].value);
        ok = letters_step(st, s, NULL, e);
    }
    return ok;
}

bool letters_file(struct letters *st, const struct letter *l, struct err *e)
{
    struct buf identity = buf_new(1024);
    letters_identity(l, &identity);
    int64_t redrives = -1;
    bool ok = letters_remove_earlier(st, l, buf_str(&identity), &redrives, e)
              && letters_insert(st, l, buf_str(&identity), redrives < 0 ? 0 : redrives, e)
              && letters_insert_headers(st, &l->record, e);
    if (ok && redrives < 0 && st->count >= 0)
        st->count++;
    buf_free(&identity);
    return ok;
}

bool letters_redriven(struct letters *st, const struct letter *l, struct err *e)
{
    sqlite3_stmt *s = letters_statement(st, REDRIVEN, e);
    if (!s)
        return false;
    letters_bind_text(s, 1, l->owner);
    letters_bind_text(s, 2, l->topic);
    sqlite3_bind_int64(s, 3, l->partition);
    sqlite3_bind_int64(s, 4, l->offset);
    sqlite3_bind_int64(s, 5, l->last_ms);
    letters_bind_text(s, 6, l->endpoint);
    return letters_step(st, s, NULL, e);
}

bool letters_discarded(struct letters *st, const struct letter *l, struct err *e)
{
    sqlite3_stmt *s = letters_statement(st, DISCARDED, e);
    if (!s)
        return false;
    letters_bind_text(s, 1, l->owner);
    sqlite3_bind_int(s, 2, l->of_source);
    letters_bind_text(s, 3, l->identity);
    sqlite3_bind_int64(s, 4, l->last_ms);
    return letters_step(st, s, NULL, e);
}

const char *letter_state(enum letter_state state)
{
    switch (state) {
    case LETTER_DEAD: return "dead";
    case LETTER_REDRIVEN: return "redriven";
    case LETTER_DISCARDED: return "discarded";
    }
    return "dead";
}

static bool letters_mark_all(struct letters *st, const struct letter *letters, size_t count, enum letter_state now,
                             struct err *e)
{
    sqlite3_stmt *s = letters_statement(st, MARK, e);
    bool ok = s && letters_begin(st, e);
    for (size_t i = 0; ok && i < count; i++) {
        sqlite3_bind_int64(s, 1, letters[i].seq);
        letters_bind_text(s, 2, str_of(letter_state(now)));
        letters_bind_text(s, 3, str_of(letter_state(letters[i].state)));
        ok = letters_step(st, s, NULL, e);
    }
    ok = ok && letters_commit(st, e);
    if (!ok)
        letters_rollback(st);
    return ok;
}

bool letters_mark(struct letters *st, const struct letter *letters, size_t count, enum letter_state now, struct err *e)
{
    if (sqlite3_exec(st->db, "PRAGMA query_only = OFF", NULL, NULL, NULL) != SQLITE_OK)
        return letters_failed(st, e);
    bool ok = letters_mark_all(st, letters, count, now, e);
    return sqlite3_exec(st->db, "PRAGMA query_only = ON", NULL, NULL, NULL) == SQLITE_OK && ok;
}

/* The claim is a lock on the folder, for a descriptor of the file itself would, when it is closed, let go of SQLite's locks of
 * the whole process: the daemon's as well. */
void letters_claim(struct letters *st)
{
    const char *slash = strrchr(st->path, '/');
    char *folder = slash ? str_dup((struct str){ st->path, slash > st->path ? (size_t)(slash - st->path) : 1 })
                         : str_dup(STR("."));
    if (st->claim_fd < 0)
        st->claim_fd = open(folder, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    free(folder);
    while (st->claim_fd >= 0 && flock(st->claim_fd, LOCK_EX) != 0 && errno == EINTR)
        continue;
}

void letters_unclaim(struct letters *st)
{
    if (st->claim_fd >= 0)
        flock(st->claim_fd, LOCK_UN);
}

bool letters_is_unchanged(struct letters *st, const struct letter *l)
{
    int64_t count = 0;
    sqlite3_stmt *s = letters_statement(st, UNCHANGED, NULL);
    if (!s)
        return true;
    sqlite3_bind_int64(s, 1, l->seq);
    letters_bind_text(s, 2, str_of(letter_state(l->state)));
    return !letters_step(st, s, &count, NULL) || count;
}

int64_t letters_count(struct letters *st)
{
    sqlite3_stmt *s = st->count < 0 ? letters_statement(st, COUNT, NULL) : NULL;
    int64_t count = 0;
    if (s && letters_step(st, s, &count, NULL))
        st->count = count;
    return st->count < 0 ? 0 : st->count;
}

int64_t letters_count_discarded(struct letters *st)
{
    int64_t count = 0;
    sqlite3_stmt *s = letters_statement(st, COUNT_DISCARDED, NULL);
    return s && letters_step(st, s, &count, NULL) ? count : 0;
}

/* Runs one of the deleting statements; returns how many letters went, or -1. */
static int64_t letters_drop(struct letters *st, enum statement which, int64_t number, struct err *e)
{
    sqlite3_stmt *s = letters_statement(st, which, e);
    if (!s)
        return -1;
    sqlite3_bind_int64(s, 1, number);
    return letters_step(st, s, NULL, e) ? sqlite3_changes64(st->db) : -1;
}

int64_t letters_trim(struct letters *st, int64_t keep, int64_t before_ms, struct err *e)
{
    int64_t aged = letters_drop(st, AGED, before_ms, e);
    if (aged < 0)
        return -1;
    int64_t over = letters_count(st) - aged - keep;
    int64_t oldest = over > 0 ? letters_drop(st, OLDEST, over, e) : 0;
    if (oldest < 0)
        return -1;
    st->count -= aged + oldest;
    return aged + oldest;
}
