/* SPDX-License-Identifier: MIT */
/* Reads a topic of a log that it does not open as its owner, who may be writing to it. */
#include <stdlib.h>
#include <string.h>
#include "bridge/broker/local/private.h"
#include "bridge/lib/mem.h"

enum { LOOK_WAIT_MS = 5000, LOOK_BATCH = 256 };

struct local_seen { /* a partition, and the first offset that was not handed out */
    int64_t id, next;
    int32_t number;
    bool begun;
    int64_t end;            /* when it was begun */
    struct ranges finished; /* by the group, beyond where it stood */
};

struct local_look {
    struct look base;
    char *folder, *topic, *group; /* group NULL: everything is handed out */
    int64_t since_ms, most;
    bool may_lack, enough;
    int64_t (*begin)(void *ctx, const struct topic_partition *p, int64_t start, int64_t end); /* NULL: see most */
    void *ctx;
    struct local_seen *seen;
    size_t seen_count;
};

struct look *local_look(const struct broker_config *config, const struct look_options *o, struct err *e)
{
    if (!local_backlog_readable(config, e))
        return NULL;
    struct local_look *l = mem_alloc(sizeof *l);
    *l = (struct local_look){ .base.ops = &broker_local,
                              .folder = str_dup(str_of(config->path)),
                              .topic = str_dup(str_of(o->topic)),
                              .group = o->group ? str_dup(str_of(o->group)) : NULL,
                              .since_ms = o->since_ms,
                              .most = o->most,
                              .may_lack = o->may_lack,
                              .begin = o->begin,
                              .ctx = o->ctx };
    return &l->base;
}

/* ---- where it begins ---- */

static void look_seen(struct local_look *l, int64_t id, int32_t number)
{
    for (size_t i = 0; i < l->seen_count; i++)
        if (l->seen[i].id == id)
            return;
    l->seen = mem_grow(l->seen, l->seen_count + 1, sizeof *l->seen);
    l->seen[l->seen_count++] = (struct local_seen){ .id = id, .number = number };
}

/* Finds the topic's partitions. */
static bool look_partitions(struct local_look *l, sqlite3 *db, struct err *e)
{
    sqlite3_stmt *s = NULL;
    static const char sql[] = "SELECT id, number FROM partition WHERE topic=? ORDER BY number";
    int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(s, 1, l->topic, -1, SQLITE_STATIC);
    while (rc == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
        look_seen(l, sqlite3_column_int64(s, 0), sqlite3_column_int(s, 1));
    int end = sqlite3_finalize(s);
    rc = rc == SQLITE_OK ? end : rc;
    return rc == SQLITE_OK || err_set(e, "%s: %s", l->folder, sqlite3_errmsg(db));
}

static int64_t look_between(int64_t n, int64_t least, int64_t most)
{
    return n < least ? least : n > most ? most : n;
}

/* Where the group stands, or the newest records begin. */
static void look_begin(void *ctx, const struct standing *s)
{
    static const struct ranges nothing;
    struct local_look *l = ctx;
    for (size_t i = 0; i < l->seen_count; i++) {
        struct local_seen *seen = &l->seen[i];
        if (seen->number != s->partition || seen->begun)
            continue;
        int64_t share = l->most ? l->most / (int64_t)l->seen_count + 1 : INT64_MAX;
        seen->begun = true;
        seen->end = s->end;
        seen->next = s->end - s->start > share ? s->end - share : s->start;
        if (l->begin)
            seen->next = look_between(l->begin(l->ctx, &(struct topic_partition){ s->topic, s->partition }, s->start,
                                               s->end),
                                      s->start, s->end);
        seen->next = s->position > seen->next ? s->position : seen->next;
        seen->finished = ranges_union(s->beyond, &nothing);
    }
}

/* When the first record from that offset on was stored; INT64_MAX: there is none. */
static int64_t look_stored(sqlite3 *db, int64_t id, int64_t offset)
{
    int64_t stored = INT64_MAX;
    sqlite3_stmt *s = NULL;
    char *sql = sqlite3_mprintf("SELECT stored FROM log_%lld WHERE offset>=%lld ORDER BY offset LIMIT 1", (long long)id,
                                (long long)offset);
    CHECK(sql);
    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
        stored = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    sqlite3_free(sql);
    return stored;
}

/* The log's own time never goes back. */
int64_t local_look_since(sqlite3 *db, int64_t id, int64_t low, int64_t high, int64_t since_ms)
{
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (look_stored(db, id, middle) < since_ms)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Leaves out what was stored too early. */
static void look_skip(const struct local_look *l, sqlite3 *db, struct local_seen *seen)
{
    if (l->since_ms)
        seen->next = local_look_since(db, seen->id, seen->next, seen->end, l->since_ms);
    seen->end = seen->next; /* it is there */
}

static bool look_plan(struct local_look *l, sqlite3 *db, struct err *e)
{
    if (!look_partitions(l, db, e))
        return false;
    if (l->seen_count == 0)
        return l->may_lack || err_set(e, "there is no topic %s yet", l->topic);
    if (local_standing_rows(db, l->group, l->topic, look_begin, l) != SQLITE_OK)
        return err_set(e, "%s: %s", l->folder, sqlite3_errmsg(db));
    for (size_t i = 0; i < l->seen_count; i++)
        look_skip(l, db, &l->seen[i]);
    return true;
}

/* ---- records ---- */

int local_look_rows(sqlite3 *db, const struct local_rows *w, struct record **out, struct err *e)
{
    struct err why = { "" };
    sqlite3_stmt *s = NULL;
    char *
        sql = sqlite3_mprintf("SELECT offset, stored, record FROM log_%lld WHERE offset>=%lld ORDER BY offset LIMIT %d",
                              (long long)w->id, (long long)w->from, w->most);
    CHECK(sql);
    size_t bytes = 0;
    int n = 0, rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
    sqlite3_free(sql);
    while (n < w->most && bytes < w->bytes && rc == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW) {
        struct str blob = { sqlite3_column_blob(s, 2), (size_t)sqlite3_column_bytes(s, 2) };
        int64_t offset = sqlite3_column_int64(s, 0);
        out[n] = local_record_decode(blob, str_of(w->topic), w->number, offset, sqlite3_column_int64(s, 1), &why);
        if (!out[n])
            break;
        bytes += blob.n;
        n++;
    }
    int end = sqlite3_finalize(s);
    if (why.text[0] && n == 0)
        err_set(e, "%s/%d: a record behind offset %lld cannot be read: %s", w->topic, (int)w->number,
                (long long)w->from - 1, why.text);
    else if (rc != SQLITE_OK || end != SQLITE_OK)
        err_set(e, "%s/%d: %s", w->topic, (int)w->number, sqlite3_errmsg(db));
    else
        return n;
    while (n > 0)
        record_free(out[--n]);
    return -1;
}

/* Reads the next records, at most LOOK_BATCH; how many, or -1 with *e. */
static int look_batch(const struct local_look *l, sqlite3 *db, const struct local_seen *seen, struct record **out,
                      struct err *e)
{
    return local_look_rows(db,
                           &(struct local_rows){ .topic = l->topic,
                                                 .number = seen->number,
                                                 .id = seen->id,
                                                 .from = seen->next,
                                                 .most = LOOK_BATCH,
                                                 .bytes = SIZE_MAX },
                           out, e);
}

/* No statement is open while records are handed out, however long that takes: the owner's write-ahead log would grow. */
static bool look_partition(struct local_look *l, sqlite3 *db, struct local_seen *seen,
                           bool (*each)(void *, const struct record *), void *ctx, struct err *e)
{
    struct record *records[LOOK_BATCH];
    int n = 0;
    while (!l->enough && (n = look_batch(l, db, seen, records, e)) > 0)
        for (int i = 0; i < n; i++) {
            int64_t offset = records[i]->offset;
            seen->next = l->enough ? seen->next : offset + 1;
            if (!l->enough && ranges_skip(&seen->finished, offset) == offset)
                l->enough = !each(ctx, records[i]);
            record_free(records[i]);
        }
    return n >= 0;
}

bool local_look_on(struct look *base, bool (*each)(void *, const struct record *), void *ctx, struct err *e)
{
    struct local_look *l = (struct local_look *)base;
    sqlite3 *db = local_backlog_open(l->folder); /* anew each time: the owner may have come or gone */
    if (!db)
        return err_set(e, "%s: the log cannot be read", l->folder);
    sqlite3_busy_timeout(db, LOOK_WAIT_MS);
    l->enough = false;
    bool ok = look_plan(l, db, e);
    for (size_t i = 0; i < l->seen_count && ok; i++)
        ok = look_partition(l, db, &l->seen[i], each, ctx, e);
    sqlite3_close(db);
    return ok;
}

void local_look_close(struct look *base)
{
    struct local_look *l = (struct local_look *)base;
    for (size_t i = 0; i < l->seen_count; i++)
        ranges_free(&l->seen[i].finished);
    free(l->seen);
    free(l->topic);
    free(l->group);
    free(l->folder);
    free(l);
}
