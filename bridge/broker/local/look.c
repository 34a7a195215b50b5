/* SPDX-License-Identifier: MIT */
/* Reads a topic of a log that it does not open as its owner, who may be writing to it. */
#include <stdlib.h>
#include <string.h>
#include "bridge/broker/local/private.h"
#include "bridge/lib/mem.h"

enum { LOOK_WAIT_MS = 5000, LOOK_BATCH = 256, LOOK_BYTES = 8 << 20 /* of a batch, more than one record */ };

struct local_seen { /* a partition, and the first offset that was not handed out */
    int64_t id, next;
    int32_t number;
    bool begun, read;       /* read: to its end, for now */
    int64_t end, last;      /* one past the last record: when it was begun, and as of this call */
    struct ranges finished; /* by the group, beyond where it stood */
    struct record **held;   /* read, and not handed out, from `at` on; room for a share of LOOK_BATCH */
    int at, count;
};

struct local_look {
    struct look base;
    char *folder, *topic, *group; /* group NULL: everything is handed out */
    int64_t since_ms, most;
    bool may_lack, by_time, enough;
    int64_t (*begin)(void *ctx, const struct topic_partition *p, int64_t start, int64_t end); /* NULL: see most */
    void (*gone)(void *ctx, const struct topic_partition *p, int64_t from, int64_t to);       /* NULL: never mind */
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
                              .by_time = o->by_time,
                              .begin = o->begin,
                              .gone = o->gone,
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

/* Retention has removed what is before. */
static void look_pass(const struct local_look *l, struct local_seen *seen, int64_t start)
{
    if (start <= seen->next)
        return;
    if (l->gone)
        l->gone(l->ctx, &(struct topic_partition){ l->topic, seen->number }, seen->next, start);
    seen->next = start;
}

/* Where the group stands, or the newest records begin. */
static void look_begin(struct local_look *l, struct local_seen *seen, const struct standing *s)
{
    static const struct ranges nothing;
    int64_t share = l->most ? l->most / (int64_t)l->seen_count + 1 : INT64_MAX;
    seen->begun = true;
    seen->end = s->end;
    seen->next = s->end - s->start > share ? s->end - share : s->start;
    if (l->begin)
        seen->next = l->begin(l->ctx, &(struct topic_partition){ s->topic, s->partition }, s->start, s->end);
    seen->next = seen->next < s->end ? seen->next : s->end;
    seen->next = s->position > seen->next ? s->position : seen->next;
    seen->finished = ranges_union(s->beyond, &nothing);
}

static void look_stands(void *ctx, const struct standing *s)
{
    struct local_look *l = ctx;
    for (size_t i = 0; i < l->seen_count; i++) {
        struct local_seen *seen = &l->seen[i];
        if (seen->number != s->partition)
            continue;
        if (!seen->begun)
            look_begin(l, seen, s);
        look_pass(l, seen, s->start);
        seen->last = s->end;
        seen->read = false;
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
    if (local_standing_rows(db, l->group, l->topic, look_stands, l) != SQLITE_OK)
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
        err_set(e, "%s/%d@%lld: a record behind it cannot be read: %s", w->topic, (int)w->number,
                (long long)w->from - 1, why.text);
    else if (rc != SQLITE_OK || end != SQLITE_OK)
        err_set(e, "%s/%d: %s", w->topic, (int)w->number, sqlite3_errmsg(db));
    else
        return n;
    while (n > 0)
        record_free(out[--n]);
    return -1;
}

/* How many records of a partition are read at once: all have a share when they are merged. */
static int look_share(const struct local_look *l)
{
    int share = l->by_time ? LOOK_BATCH / (int)l->seen_count : LOOK_BATCH;
    return share > 0 ? share : 1;
}

/* Has it a record to hand out? Reads the next ones when none is left. No statement is open while they are handed out, however
 * long that takes: the owner's write-ahead log would grow. False with *e. */
static bool look_fill(const struct local_look *l, sqlite3 *db, struct local_seen *seen, struct err *e)
{
    int share = look_share(l);
    if (seen->read || seen->at < seen->count)
        return true;
    seen->held = seen->held ? seen->held : mem_alloc((size_t)share * sizeof *seen->held);
    seen->at = 0;
    seen->count = local_look_rows(db,
                                  &(struct local_rows){ .topic = l->topic,
                                                        .number = seen->number,
                                                        .id = seen->id,
                                                        .from = seen->next,
                                                        .most = share,
                                                        .bytes = (size_t)(LOOK_BYTES / LOOK_BATCH * share) },
                                  seen->held, e);
    if (seen->count > 0)
        look_pass(l, seen, seen->held[0]->offset); /* removed since its start was asked for */
    else if (seen->count == 0)
        look_pass(l, seen, seen->last);
    seen->read = seen->count <= 0;
    return seen->count >= 0;
}

/* Whose record is next; NULL: there is none, or with *ok false and *e it cannot be read. */
static struct local_seen *look_next(const struct local_look *l, sqlite3 *db, bool *ok, struct err *e)
{
    struct local_seen *next = NULL;
    for (size_t i = 0; i < l->seen_count && *ok && (l->by_time || !next); i++) {
        struct local_seen *seen = &l->seen[i];
        *ok = look_fill(l, db, seen, e);
        if (*ok && !seen->read && (!next || seen->held[seen->at]->stored_ms < next->held[next->at]->stored_ms))
            next = seen;
    }
    return *ok ? next : NULL;
}

static void look_drop(const struct local_look *l)
{
    for (size_t i = 0; i < l->seen_count; i++) {
        struct local_seen *seen = &l->seen[i];
        while (seen->at < seen->count)
            record_free(seen->held[seen->at++]);
        free(seen->held);
        seen->held = NULL;
        seen->at = seen->count = 0;
    }
}

static bool look_read(struct local_look *l, sqlite3 *db, bool (*each)(void *, const struct record *), void *ctx,
                      struct err *e)
{
    bool ok = true;
    for (struct local_seen *seen; !l->enough && (seen = look_next(l, db, &ok, e));) {
        struct record *r = seen->held[seen->at++];
        seen->next = r->offset + 1;
        if (ranges_skip(&seen->finished, r->offset) == r->offset)
            l->enough = !each(ctx, r);
        record_free(r);
    }
    look_drop(l);
    return ok;
}

bool local_look_on(struct look *base, bool (*each)(void *, const struct record *), void *ctx, struct err *e)
{
    struct local_look *l = (struct local_look *)base;
    sqlite3 *db = local_backlog_open(l->folder); /* anew each time: the owner may have come or gone */
    if (!db)
        return err_set(e, "%s: the log cannot be read", l->folder);
    sqlite3_busy_timeout(db, LOOK_WAIT_MS);
    l->enough = false;
    bool ok = look_plan(l, db, e) && look_read(l, db, each, ctx, e);
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
