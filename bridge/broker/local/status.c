/* SPDX-License-Identifier: MIT */
/* Whether the embedded log can store right now, and why not.
 *
 *              disk full, log too large                     write possible again (probe, once a second)
 *   READY  ------------------------------> BLOCKED  ------------------------------------------------> READY
 *     \______________ write or fsync failed, file damaged or gone ______________> FAILED (until restart)
 *
 * After a failed fsync nobody knows what the disk holds, so nothing is written any more. Set by the writer alone. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include "bridge/broker/local/private.h"
#include "bridge/lib/log.h"

/* Changes the status; the reason says what, the cause and the file. */
static void status_set(struct local *b, enum local_status status, const char *what, const char *cause)
{
    pthread_mutex_lock(&b->status_lock);
    snprintf(b->why, sizeof b->why, "%s%s%s (%s)", what, cause[0] ? ": " : "", cause, b->file ? b->file : ":memory:");
    pthread_mutex_unlock(&b->status_lock);
    atomic_store(&b->status, status);
    b->probe_due = status == LOCAL_BLOCKED ? clock_mono_ms() + LOCAL_PROBE_MS : INT64_MAX;
}

/* What the system said to the last failed call on the write-ahead log; sqlite3_system_errno forgets it when a COMMIT
 * fails. */
static int status_errno(sqlite3 *db)
{
    sqlite3_file *wal = NULL;
    int cause = 0;
    sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal);
    if (wal && wal->pMethods)
        wal->pMethods->xFileControl(wal, SQLITE_FCNTL_LAST_ERRNO, &cause);
    if (!cause)
        sqlite3_file_control(db, "main", SQLITE_FCNTL_LAST_ERRNO, &cause);
    return cause;
}

/* A full disk or quota, a lock held by a foreign program: it may pass. */
static bool status_may_pass(sqlite3 *db, int rc)
{
    int cause = status_errno(db);
    if ((rc & 0xff) == SQLITE_IOERR)
        return sqlite3_extended_errcode(db) == SQLITE_IOERR_WRITE
               && (cause == ENOSPC || cause == EDQUOT || cause == EFBIG);
    return rc == SQLITE_FULL || rc == SQLITE_BUSY || rc == SQLITE_LOCKED || rc == SQLITE_NOMEM;
}

/* SQLite's words, which do not tell a full disk from a full log: how large the log is, and for whom retention waits. */
static void status_cause(struct local *b, int rc, char *out, size_t room)
{
    int64_t pages = 0;
    int n = snprintf(out, room, "%.200s", sqlite3_errmsg(b->link.db));
    if (rc != SQLITE_FULL)
        return;
    if (b->max_size > 0 && local_store_number(b->link.db, &pages, "PRAGMA page_count"))
        n += snprintf(out + n, room - (size_t)n, ", the log has %" PRId64 " of %" PRId64 " bytes (broker.max_size)",
                      pages * LOCAL_PAGE, b->max_size);
    if (b->held_by[0])
        snprintf(out + n, room - (size_t)n, "; %s", b->held_by);
}

void local_status_fail(struct local *b, int rc, const char *doing)
{
    sqlite3 *db = b->link.db;
    const char *where = b->file ? b->file : ":memory:";
    char what[64], cause[3 * WHY_BYTES];
    if (status_may_pass(db, rc)) {
        status_cause(b, rc, cause, sizeof cause);
        snprintf(what, sizeof what,
                 rc == SQLITE_BUSY || rc == SQLITE_LOCKED ? "locked by another program, cannot %s" : "no room to %s",
                 doing);
        if (atomic_load(&b->status) == LOCAL_READY)
            LOG(ERROR, "broker takes no events", LOG_C("file", where), LOG_C("doing", doing), LOG_C("cause", cause));
        status_set(b, LOCAL_BLOCKED, what, cause);
        return;
    }
    snprintf(what, sizeof what, "cannot %s", doing);
    LOG(ERROR, "broker failed", LOG_C("file", where), LOG_C("doing", doing), LOG_C("cause", sqlite3_errmsg(db)),
        LOG_INT("code", sqlite3_extended_errcode(db)), LOG_INT("errno", status_errno(db)));
    status_set(b, LOCAL_FAILED, what, sqlite3_errmsg(db));
}

bool local_status_files_are_there(struct local *b)
{
    int moved = 0;
    if (!b->file)
        return true;
    sqlite3_file_control(b->link.db, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    if (!moved)
        return true;
    LOG(ERROR, "broker failed: its file was deleted or replaced while in use", LOG_C("file", b->file));
    status_set(b, LOCAL_FAILED, "deleted or replaced while in use", "");
    return false;
}

void local_status_mend(struct local *b)
{
    if (atomic_load(&b->status) != LOCAL_BLOCKED)
        return;
    LOG(INFO, "broker takes events again", LOG_C("file", b->file ? b->file : ":memory:"));
    status_set(b, LOCAL_READY, "", "");
}

void local_status_why(struct local *b, char out[WHY_BYTES])
{
    pthread_mutex_lock(&b->status_lock);
    why_copy(out, b->why);
    pthread_mutex_unlock(&b->status_lock);
}
