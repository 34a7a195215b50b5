/* SPDX-License-Identifier: MIT */
/* Retention of the embedded log: rows past their age or size, or finished by the one group they are for, leave from
 * the front, a bounded step with each group of publications. */
#include "bridge/broker/local/private.h"

enum { RETENTION_MS = 1000, RETENTION_ROWS = 1024 }; /* how often; most rows per commit */

/* Everything before this offset was finished by the group that the topic is for; 0: nothing, or there is no such
 * group. */
static int64_t retain_consumed(struct local *b, const struct partition *p)
{
    sqlite3_stmt *s = NULL;
    int64_t next = 0;
    if (!p->topic->consumed_by
        || !local_store_prepare(&b->link, &s, NULL, "SELECT next FROM position WHERE grp=?1 AND part=%lld",
                                (long long)p->id))
        return 0;
    sqlite3_bind_text(s, 1, p->topic->consumed_by, -1, SQLITE_STATIC);
    if (sqlite3_step(s) == SQLITE_ROW)
        next = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return next;
}

/* Looks at the front of a log: which rows may go? At most `room` of them; returns how many. */
static int retain_expired(struct local *b, struct partition *p, int room, int64_t *bytes, int *rc)
{
    struct topic *t = p->topic;
    sqlite3_stmt *s = NULL;
    int count = 0;
    int64_t oldest = t->retention.ms > 0 ? clock_wall_ms() - t->retention.ms : INT64_MIN;
    int64_t least = t->retention_bytes.n > 0 ? p->bytes - t->retention_bytes.n : INT64_MIN;
    int64_t done = retain_consumed(b, p);
    if (!local_store_prepare(&b->link, &s, NULL, "SELECT stored, bytes, offset FROM log_%lld ORDER BY offset LIMIT %d",
                             (long long)p->id, room)) {
        *rc = sqlite3_errcode(b->link.db);
        return 0;
    }
    while (sqlite3_step(s) == SQLITE_ROW
           && (sqlite3_column_int64(s, 0) < oldest || sqlite3_column_int64(s, 1) <= least
               || sqlite3_column_int64(s, 2) < done)) {
        *bytes = sqlite3_column_int64(s, 1);
        count++;
    }
    *rc = sqlite3_finalize(s);
    return count;
}

static int retain_partition(struct local *b, struct partition *p, int *room)
{
    int64_t bytes = 0;
    int rc = SQLITE_OK, count = retain_expired(b, p, *room, &bytes, &rc);
    if (rc != SQLITE_OK || count == 0)
        return rc;
    *room -= count;
    /* Readers must know the new start before rows vanish, or they would take the gap for damage. */
    int64_t start = atomic_load(&p->start) + count;
    atomic_store(&p->start, start);
    local_topics_touch(b, p);
    sqlite3_stmt *s = NULL;
    if (!local_store_prepare(&b->link, &s, NULL, "DELETE FROM log_%lld WHERE offset < %lld", (long long)p->id,
                             (long long)start))
        return sqlite3_errcode(b->link.db);
    rc = local_store_run(s);
    sqlite3_finalize(s);
    sqlite3_bind_int64(b->set_base, 1, p->id);
    sqlite3_bind_int64(b->set_base, 2, start);
    sqlite3_bind_int64(b->set_base, 3, bytes);
    return rc == SQLITE_OK ? local_store_run(b->set_base) : rc;
}

int local_retain(struct local *b)
{
    int room = RETENTION_ROWS, rc = SQLITE_OK;
    for (size_t i = 0; i < b->topic_count && room > 0 && rc == SQLITE_OK; i++) {
        struct topic *t = b->topics[(b->retention_turn + i) % b->topic_count];
        if (t->retention.ms <= 0 && t->retention_bytes.n <= 0 && !t->consumed_by)
            continue;
        for (int32_t k = 0; k < t->partition_count && room > 0 && rc == SQLITE_OK; k++)
            rc = retain_partition(b, t->partitions[k], &room);
    }
    b->retention_turn++;
    b->retention_due = clock_mono_ms() + (room > 0 ? RETENTION_MS : 0);
    return rc;
}
