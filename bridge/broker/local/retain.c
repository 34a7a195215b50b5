/* SPDX-License-Identifier: MIT */
/* Retention of the embedded log: rows past their age or size, or finished by the one group they are for, leave from
 * the front, a bounded step with each group of publications.
 *
 * What a group of this process has not finished stays, however old it is, unless the topic is strict. Which groups
 * count is known when all of the configuration have their consumer (broker_retain); nothing goes before. */
#include <inttypes.h>
#include <stdio.h>
#include "bridge/broker/local/private.h"
#include "bridge/lib/log.h"

METRIC_GAUGE(aqueduct_retention_held_records,
             "local: records of a topic that a sink has not finished, while retention waits for it.", "topic");

enum {
    RETENTION_MS = 1000,   /* how often */
    RETENTION_ROWS = 1024, /* most rows per commit */
    SAY_AGAIN_MS = 60 * 60 * 1000,
};

/* ---- how far groups are ---- */

/* The stored position of the group; -1: none. */
static int64_t retain_position(struct local *b, const char *group, const struct partition *p)
{
    int64_t next = -1;
    sqlite3_bind_text(b->get_position, 1, group, -1, SQLITE_STATIC);
    sqlite3_bind_int64(b->get_position, 2, p->id);
    if (sqlite3_step(b->get_position) == SQLITE_ROW)
        next = sqlite3_column_int64(b->get_position, 0);
    sqlite3_reset(b->get_position);
    return next;
}

/* The group that reads the partition and is the farthest behind, and where it is; NULL: nobody reads it. */
static const char *retain_slowest(struct local *b, struct partition *p, int64_t *at)
{
    const char *slowest = NULL;
    for (const struct reader_group *g = atomic_load(&p->readers); g; g = g->next) {
        if (g->former || !atomic_load(&g->served))
            continue;
        int64_t position = retain_position(b, g->name, p);
        if (slowest && position >= *at)
            continue;
        slowest = g->name;
        *at = position;
    }
    if (slowest && *at < atomic_load(&p->start))
        *at = atomic_load(&p->start);
    return slowest;
}

/* ---- one partition ---- */

struct front {           /* of a partition: what may go of it, and what holds the rest */
    bool looked;         /* for the slowest group: only when something is past its time */
    const char *slowest; /* NULL: nobody */
    int64_t slowest_at;
    int64_t oldest, least; /* rows stored before, rows that end before (in bytes), are past their time */
    int64_t done;          /* the one group that the topic is for has finished everything before */
    int count;             /* rows that may go */
    int64_t bytes;         /* of the last of them */
    bool held;             /* the next row is past its time, but not finished */
};

static struct front retain_look(struct local *b, const struct partition *p)
{
    const struct topic *t = p->topic;
    return (struct front){
        .oldest = t->retention.ms > 0 ? local_age_now(&b->age) - t->retention.ms : INT64_MIN,
        .least = t->retention_bytes.n > 0 ? p->bytes - t->retention_bytes.n : INT64_MIN,
        .done = t->consumed_by ? retain_position(b, t->consumed_by, p) : -1,
    };
}

static bool retain_is_due(const struct front *f, int64_t offset, int64_t stored, int64_t bytes)
{
    return offset < f->done || stored < f->oldest || bytes <= f->least;
}

/* Is nothing to be done, as far as is known without a query? An idle daemon looks once a second. */
static bool retain_is_quiet(const struct partition *p, const struct front *f)
{
    int64_t start = atomic_load(&p->start);
    return start == p->next
           || (p->front == start && p->front_bytes > 0 && !retain_is_due(f, start, p->front_stored, p->front_bytes));
}

/* May the row that the statement stands on go? */
static bool retain_may_go(struct local *b, struct partition *p, struct front *f, sqlite3_stmt *row)
{
    int64_t stored = sqlite3_column_int64(row, 0), bytes = sqlite3_column_int64(row, 1),
            offset = sqlite3_column_int64(row, 2);
    if (f->count == 0) {
        p->front = offset;
        p->front_stored = stored;
        p->front_bytes = bytes;
    }
    if (offset < f->done || !retain_is_due(f, offset, stored, bytes))
        return offset < f->done;
    if (!f->looked)
        f->slowest = retain_slowest(b, p, &f->slowest_at);
    f->looked = true;
    f->held = !p->topic->retention_strict && f->slowest && offset >= f->slowest_at;
    return !f->held;
}

/* Counts the rows at the front that may go, at most `room` of them; SQLite's code. */
static int retain_count(struct local *b, struct partition *p, struct front *f, int room)
{
    sqlite3_stmt *s = NULL;
    if (!local_store_prepare(&b->link, &s, NULL, "SELECT stored, bytes, offset FROM log_%lld ORDER BY offset LIMIT %d",
                             (long long)p->id, room))
        return sqlite3_errcode(b->link.db);
    while (sqlite3_step(s) == SQLITE_ROW && retain_may_go(b, p, f, s)) {
        f->bytes = sqlite3_column_int64(s, 1);
        f->count++;
    }
    return sqlite3_finalize(s);
}

static int retain_remove(struct local *b, struct partition *p, const struct front *f)
{
    /* Readers must know the new start before rows vanish, or they would take the gap for damage. */
    int64_t start = atomic_load(&p->start) + f->count;
    atomic_store(&p->start, start);
    local_topics_touch(b, p);
    sqlite3_stmt *s = NULL;
    if (!local_store_prepare(&b->link, &s, NULL, "DELETE FROM log_%lld WHERE offset < %lld", (long long)p->id,
                             (long long)start))
        return sqlite3_errcode(b->link.db);
    int rc = local_store_run(s);
    sqlite3_finalize(s);
    sqlite3_bind_int64(b->set_base, 1, p->id);
    sqlite3_bind_int64(b->set_base, 2, start);
    sqlite3_bind_int64(b->set_base, 3, f->bytes);
    return rc == SQLITE_OK ? local_store_run(b->set_base) : rc;
}

/* ---- what is said ---- */

/* Retention waits for a group, or passes it: that is said at once and then once an hour. */
static void retain_say(struct partition *p, const struct front *f, const char *what, int64_t records)
{
    int64_t now = clock_mono_ms();
    if (p->said_ms && now - p->said_ms < SAY_AGAIN_MS)
        return;
    p->said_ms = now;
    LOG(WARN, what, LOG_C("topic", p->topic->name), LOG_INT("partition", p->number), LOG_C("group", f->slowest),
        LOG_INT("from", f->slowest_at), LOG_INT("records", records));
}

/* Keeps for the status who makes the log grow most. */
static void retain_hold(struct local *b, const struct partition *p, const struct front *f, int64_t records)
{
    if (records <= b->held_most)
        return;
    b->held_most = records;
    snprintf(b->held_by, sizeof b->held_by, "retention waits for group %.80s, which is at %.80s/%d@%" PRId64,
             f->slowest, p->topic->name, (int)p->number, f->slowest_at);
}

static void retain_account(struct local *b, struct partition *p, const struct front *f, int64_t *held)
{
    int64_t start = atomic_load(&p->start);
    if (f->held) {
        int64_t records = p->next - f->slowest_at;
        *held += records;
        retain_say(p, f, "retention waits for a group that has not finished what is past its time", records);
        retain_hold(b, p, f, records);
    } else if (f->slowest && start > f->slowest_at) {
        retain_say(p, f, "retention is strict: what a group has not finished was removed", start - f->slowest_at);
    } else if (f->count < RETENTION_ROWS && !p->topic->retention_strict) {
        p->said_ms = 0;
    }
}

/* ---- all of them ---- */

static int retain_partition(struct local *b, struct partition *p, int *room, int64_t *held)
{
    struct front f = retain_look(b, p);
    if (retain_is_quiet(p, &f)) {
        p->said_ms = p->topic->retention_strict ? p->said_ms : 0;
        return SQLITE_OK;
    }
    int rc = retain_count(b, p, &f, *room);
    if (rc == SQLITE_OK && f.count > 0)
        rc = retain_remove(b, p, &f);
    *room -= f.count;
    retain_account(b, p, &f, held);
    return rc;
}

static int retain_topic(struct local *b, struct topic *t, int *room)
{
    int64_t held = 0;
    int rc = SQLITE_OK;
    for (int32_t k = 0; k<t->partition_count && * room> 0 && rc == SQLITE_OK; k++)
        rc = retain_partition(b, t->partitions[k], room, &held);
    if (held || t->held)
        metric_set(t->held ? t->held : (t->held = metric_get(&aqueduct_retention_held_records, LABELS(t->name))), held);
    return rc;
}

/* Does this process serve the group, or another that was it, in this topic? */
static bool retain_is_served(const struct topic *t, const char *group)
{
    for (int32_t k = 0; k < t->partition_count; k++)
        for (const struct reader_group *g = atomic_load(&t->partitions[k]->readers); g; g = g->next)
            if (strcmp(g->name, group) == 0 && atomic_load(&g->served))
                return true;
    return false;
}

/* How many records are kept that the group has not finished. */
static int64_t retain_unread(struct local *b, const struct topic *t, const char *group)
{
    int64_t unread = 0;
    for (int32_t k = 0; k < t->partition_count; k++) {
        const struct partition *p = t->partitions[k];
        int64_t position = retain_position(b, group, p), start = atomic_load(&p->start);
        if (position >= 0)
            unread += atomic_load(&p->end) - (position > start ? position : start);
    }
    return unread;
}

/* Groups that have not finished a topic, and that nobody serves there any more: said once, since retention does not wait for
 * them. */
static void retain_say_unserved(struct local *b)
{
    sqlite3_stmt *s = NULL;
    if (local_store_prepare(&b->link, &s, NULL,
                            "SELECT grp, topic, min(next) FROM position JOIN partition ON id=part GROUP BY grp, topic"))
        while (sqlite3_step(s) == SQLITE_ROW) {
            const char *group = (const char *)sqlite3_column_text(s, 0);
            struct str topic = { (const char *)sqlite3_column_text(s, 1), (size_t)sqlite3_column_bytes(s, 1) };
            const struct topic *t = topic.at ? local_topic_find(b, topic) : NULL;
            if (group && t && !retain_is_served(t, group) && retain_unread(b, t, group) > 0)
                LOG(WARN, "no sink reads this topic for the group any more: retention does not wait for it",
                    LOG_C("group", group), LOG_STR("topic", topic), LOG_INT("position", sqlite3_column_int64(s, 2)));
        }
    sqlite3_finalize(s);
}

int local_retain(struct local *b)
{
    int room = RETENTION_ROWS, rc = SQLITE_OK;
    if (!b->unserved_said)
        retain_say_unserved(b);
    b->unserved_said = true;
    b->held_most = 0;
    b->held_by[0] = '\0';
    for (size_t i = 0; i < b->topic_count && room > 0 && rc == SQLITE_OK; i++) {
        struct topic *t = b->topics[(b->retention_turn + i) % b->topic_count];
        if (t->retention.ms > 0 || t->retention_bytes.n > 0 || t->consumed_by)
            rc = retain_topic(b, t, &room);
    }
    b->retention_turn++;
    b->retention_due = clock_mono_ms() + (room > 0 ? RETENTION_MS : 0);
    return rc;
}
