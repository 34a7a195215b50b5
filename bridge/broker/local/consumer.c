/* SPDX-License-Identifier: MIT */
/* The embedded log's readers: a consumer follows the partitions of its topics, each from its own offset, in turn.
 *
 * What one has read serves all that come to the same place (shelf.c). Nothing new costs no query: the writer publishes every partition's end, and wakes a consumer only when it said
 * that it waits. */
#include <stdlib.h>
#include "bridge/broker/local/private.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"

enum { FETCH_RECORDS = 256, FETCH_BYTES = 1 << 20, ERROR_MS = 1000, POSITION_MS = 50, WAIT_MS = 5000 };

/* ---- the partitions that a consumer follows ---- */

/* What the bytes say is finished beyond the position. What cannot be so is not believed: it comes again. */
static struct ranges consumer_beyond(const struct local_consumer *c, const struct partition *p, int64_t next,
                                     struct str bytes)
{
    struct ranges out;
    if (ranges_decode(&out, next, bytes) && (!out.count || out.at[out.count - 1].to <= atomic_load(&p->end)))
        return out;
    LOG(WARN, "what was finished beyond a position cannot be read and comes again", LOG_C("topic", p->topic->name),
        LOG_INT("partition", p->number), LOG_C("group", c->group), LOG_INT("position", next));
    ranges_free(&out);
    return out;
}

/* The stored position of a group, -1 when there is none, and what is finished beyond it (NULL: nobody asks; else
 * free it); false with *e. */
static bool consumer_position_of(struct local_consumer *c, const char *group, const struct partition *p, int64_t *next,
                                 struct ranges *beyond, struct err *e)
{
    *next = -1;
    local_link_lock(&c->link);
    sqlite3_bind_text(c->position, 1, group, -1, SQLITE_STATIC);
    sqlite3_bind_int64(c->position, 2, p->id);
    int rc = sqlite3_step(c->position);
    if (rc == SQLITE_ROW)
        *next = sqlite3_column_int64(c->position, 0);
    const char *bytes = rc == SQLITE_ROW && beyond ? sqlite3_column_blob(c->position, 1) : NULL;
    if (bytes)
        *beyond = consumer_beyond(c, p, *next, (struct str){ bytes, (size_t)sqlite3_column_bytes(c->position, 1) });
    rc = sqlite3_reset(c->position);
    local_link_unlock(&c->link);
    if (rc != SQLITE_OK)
        return err_set(e, "%s/%d: reading the position of group %s: %s", p->topic->name, (int)p->number, group,
                       sqlite3_errstr(rc));
    int64_t end = atomic_load(&p->end);
    if (*next > end)
        return err_set(e, "%s/%d: the position of group %s is %lld, but the log ends at %lld: the file is damaged",
                       p->topic->name, (int)p->number, group, (long long)*next, (long long)end);
    return true;
}

/* The position of its group, or of its earlier names: *adopted. */
static bool consumer_position(struct local_consumer *c, const struct partition *p, int64_t *next, struct ranges *beyond,
                              bool *adopted, struct err *e)
{
    *next = -1;
    *adopted = false;
    if (c->group && !consumer_position_of(c, c->group, p, next, beyond, e))
        return false;
    for (size_t i = 0; i < c->formerly_count && *next < 0; i++) {
        if (!consumer_position_of(c, c->formerly[i], p, next, beyond, e))
            return false;
        *adopted = *next >= 0;
    }
    return true;
}

/* Passes over what the group has finished. */
static void consumer_skip(struct local_assigned *at)
{
    at->next = ranges_skip(&at->restored, at->next);
}

/* Adds a partition at the position of its group, or where `from_end` says. */
static bool consumer_follow(struct local_consumer *c, struct partition *p, bool from_end, struct err *e)
{
    int64_t position;
    bool adopted;
    struct ranges beyond = { 0 };
    if (!consumer_position(c, p, &position, &beyond, &adopted, e)) {
        ranges_free(&beyond);
        return false;
    }
    struct local_assigned *at = mem_alloc(sizeof *at);
    at->partition = p;
    at->retry_at = INT64_MIN;
    at->restored = beyond;
    at->next = position >= 0 ? position : from_end ? atomic_load(&p->end) : atomic_load(&p->start);
    /* From its start a group has a position: it begins there again after a crash before its first commit, and
     * retention waits for it. */
    bool begins = position < 0 && c->group;
    at->wanted = begins ? at->next : adopted ? -1 : position;
    atomic_store(&at->asked, begins ? 1 : 0);
    consumer_skip(at);
    pthread_mutex_lock(&c->b->consumers_lock);
    if (c->group)
        local_partition_add_reader(p, c->group, false);
    for (size_t i = 0; i < c->formerly_count; i++)
        local_partition_add_reader(p, c->formerly[i], true);
    c->assigned = mem_grow(c->assigned, c->assigned_count + 1, sizeof(struct local_assigned *));
    c->assigned[c->assigned_count++] = at;
    pthread_mutex_unlock(&c->b->consumers_lock);
    local_shelf_join(&p->shelf, &at->reader, at->next);
    if (position < 0 && c->group)
        local_queue_positions(c->b, clock_mono_ms() + POSITION_MS);
    if (adopted)
        local_commit(&c->base, (struct topic_partition){ p->topic->name, p->number }, position, &(struct ranges){ 0 });
    return true;
}

static bool consumer_follows(const struct local_consumer *c, const struct partition *p)
{
    for (size_t i = 0; i < c->assigned_count; i++)
        if (c->assigned[i]->partition == p)
            return true;
    return false;
}

/* Copies the topic's partitions, so that the lock is not held while positions are read. */
static int32_t consumer_partitions(struct local *b, const char *name, struct partition ***out)
{
    pthread_mutex_lock(&b->topics_lock);
    struct topic *t = local_topic_find(b, str_of(name));
    int32_t count = t ? t->partition_count : 0;
    *out = mem_grow(NULL, (size_t)count + 1, sizeof(struct partition *));
    if (t)
        memcpy(*out, t->partitions, (size_t)count * sizeof(struct partition *));
    pthread_mutex_unlock(&b->topics_lock);
    return count;
}

/* Has the group a position in one of them? Then those without one were added since. */
static bool consumer_has_begun(struct local_consumer *c, struct partition *const *partitions, int32_t count, bool *out,
                               struct err *e)
{
    int64_t position;
    bool adopted;
    *out = false;
    for (int32_t k = 0; k < count && !*out; k++) {
        if (!consumer_position(c, partitions[k], &position, NULL, &adopted, e))
            return false;
        *out = position >= 0;
    }
    return true;
}

/* Looks for partitions of its topics that it does not follow yet. Those that appear after the group began are read
 * from their start, whether it is open just then or not, even by who wanted only what comes from now on. */
static bool consumer_refresh(struct local_consumer *c, bool from_end, struct err *e)
{
    unsigned generation = atomic_load(&c->b->generation);
    bool ok = true;
    for (size_t i = 0; i < c->topic_count && ok; i++) {
        struct partition **partitions;
        int32_t count = consumer_partitions(c->b, c->topics[i], &partitions);
        bool added = false;
        ok = !from_end || consumer_has_begun(c, partitions, count, &added, e);
        for (int32_t k = 0; k < count && ok; k++)
            if (!consumer_follows(c, partitions[k]))
                ok = consumer_follow(c, partitions[k], from_end && !added, e);
        free(partitions);
    }
    if (ok)
        atomic_store(&c->generation, generation);
    return ok;
}

static struct local_assigned *consumer_find(struct local_consumer *c, struct topic_partition p)
{
    for (size_t i = 0; i < c->assigned_count; i++)
        if (c->assigned[i]->partition->number == p.partition
            && strcmp(c->assigned[i]->partition->topic->name, p.topic) == 0)
            return c->assigned[i];
    return NULL;
}

/* ---- open and close ---- */

/* Enters the broker's list; a group has one consumer in a process. */
static bool consumer_join(struct local_consumer *c, struct err *e)
{
    struct local *b = c->b;
    bool taken = false;
    pthread_mutex_lock(&b->consumers_lock);
    for (struct local_consumer *other = b->consumers; other; other = other->next)
        taken = taken || (c->group && other->group && strcmp(c->group, other->group) == 0);
    if (!taken) {
        c->next = b->consumers;
        b->consumers = c;
    }
    pthread_mutex_unlock(&b->consumers_lock);
    return !taken || err_set(e, "group %s already has a consumer in this process", c->group);
}

static void consumer_unjoin(struct local_consumer *c)
{
    pthread_mutex_lock(&c->b->consumers_lock);
    for (struct local_consumer **p = &c->b->consumers; *p; p = &(*p)->next)
        if (*p == c) {
            *p = c->next;
            break;
        }
    pthread_mutex_unlock(&c->b->consumers_lock);
}

/* Its groups have one consumer fewer in this partition. */
static void consumer_drop_reader(const struct local_consumer *c, struct partition *p)
{
    if (c->group)
        local_partition_drop_reader(p, c->group, false);
    for (size_t i = 0; i < c->formerly_count; i++)
        local_partition_drop_reader(p, c->formerly[i], true);
}

static void consumer_free(struct local_consumer *c)
{
    consumer_unjoin(c);
    if (c->link.db) {
        local_link_lock(&c->link);
        for (size_t i = 0; i < c->assigned_count; i++)
            sqlite3_finalize(c->assigned[i]->select);
        sqlite3_finalize(c->position);
        local_link_unlock(&c->link);
        local_link_close(&c->link);
    }
    for (size_t i = 0; i < c->assigned_count; i++) {
        consumer_drop_reader(c, c->assigned[i]->partition);
        ranges_free(&c->assigned[i]->restored);
        free(c->assigned[i]->beyond);
        local_shelf_part(c->b, &c->assigned[i]->partition->shelf, &c->assigned[i]->reader);
        free(c->assigned[i]);
    }
    for (size_t i = 0; i < c->topic_count; i++)
        free(c->topics[i]);
    for (size_t i = 0; i < c->formerly_count; i++)
        free(c->formerly[i]);
    free(c->formerly);
    free(c->topics);
    free(c->assigned);
    free(c->group);
    free(c);
}

static bool consumer_prepare(struct local_consumer *c, struct err *e)
{
    local_link_lock(&c->link);
    bool ok = local_store_prepare(&c->link, &c->position, e,
                                  "SELECT next, beyond FROM position WHERE grp=?1 AND part=?2");
    local_link_unlock(&c->link);
    return ok;
}

struct consumer *local_consume(struct broker *base, const struct consumer_options *o, struct err *e)
{
    struct local_consumer *c = mem_alloc(sizeof *c);
    c->base.ops = base->ops;
    c->b = (struct local *)base;
    c->group = o->group ? str_dup(str_of(o->group)) : NULL;
    c->wake_fd = o->wake_fd;
    c->topics = mem_grow(NULL, o->topic_count + 1, sizeof(char *));
    for (size_t i = 0; i < o->topic_count; i++)
        c->topics[c->topic_count++] = str_dup(str_of(o->topics[i]));
    c->formerly = mem_grow(NULL, o->formerly_count + 1, sizeof(char *));
    for (size_t i = 0; i < o->formerly_count; i++)
        c->formerly[c->formerly_count++] = str_dup(str_of(o->formerly[i]));
    if (local_link_open(c->b, &c->link, e) && consumer_prepare(c, e) && consumer_join(c, e)
        && consumer_refresh(c, !o->group || !o->from_start, e)) {
        if (!o->from_start) /* who begins at the start finds it again even without a position */
            local_queue_wait_positions(c, (struct duration){ WAIT_MS });
        return &c->base;
    }
    consumer_free(c);
    return NULL;
}

void local_leave(struct consumer *base)
{
    struct local_consumer *c = (struct local_consumer *)base;
    local_queue_wait_positions(c, (struct duration){ WAIT_MS });
    consumer_free(c);
}

/* ---- reading ---- */

static bool consumer_broken(const struct local_assigned *at, struct err *e, const char *what)
{
    return err_set(e, "%s/%d@%lld: the record cannot be read: %s", at->partition->topic->name,
                   (int)at->partition->number, (long long)at->next, what);
}

/* The log goes on at `found` (or nowhere: -1). Skips what retention removed before it was read; any other gap is
 * damage. */
static bool consumer_gap(struct local_consumer *c, struct local_assigned *at, int64_t found, struct err *e)
{
    int64_t start = atomic_load(&at->partition->start), to = found >= 0 ? found : start;
    if (start < to || to <= at->next)
        return consumer_broken(at, e, "it is missing from the file");
    int64_t lost = to - at->next - ranges_within(&at->restored, at->next, to);
    LOG(WARN, "records removed by retention before they were read", LOG_C("topic", at->partition->topic->name),
        LOG_INT("partition", at->partition->number), LOG_C("group", c->group ? c->group : "(broadcast)"),
        LOG_INT("from", at->next), LOG_INT("lost", lost));
    metric_add(c->b->lost, lost);
    at->next = to;
    consumer_skip(at);
    return true;
}

static struct record *consumer_decode(struct local_consumer *c, struct local_assigned *at, struct err *e)
{
    struct err why = { "" };
    int64_t offset = sqlite3_column_int64(at->select, 0);
    if (offset != at->next && !consumer_gap(c, at, offset, e))
        return NULL;
    const char *blob = sqlite3_column_blob(at->select, 2);
    struct str bytes = { blob, (size_t)sqlite3_column_bytes(at->select, 2) };
    struct record *r = blob ? local_record_decode(bytes, str_of(at->partition->topic->name), at->partition->number,
                                                  offset, sqlite3_column_int64(at->select, 1), &why)
                            : NULL;
    if (!r)
        consumer_broken(at, e, blob ? why.text : "it is empty");
    return r;
}

/* Reads the next records before `until` with the connection locked. */
static int consumer_read_rows(struct local_consumer *c, struct local_assigned *at, int64_t until, struct record **out,
                              int room, struct err *e)
{
    int n = 0, rc = SQLITE_OK;
    size_t bytes = 0;
    if (!at->select
        && !local_store_prepare(
            &c->link, &at->select, e,
            "SELECT offset, stored, record FROM log_%lld WHERE offset >= ?1 AND offset < ?3 ORDER BY offset LIMIT ?2",
            (long long)at->partition->id)) {
        err_prefix(e, "%s/%d", at->partition->topic->name, (int)at->partition->number);
        return -1;
    }
    sqlite3_bind_int64(at->select, 1, at->next);
    sqlite3_bind_int(at->select, 2, room);
    sqlite3_bind_int64(at->select, 3, until);
    while (n < room && bytes < FETCH_BYTES && (rc = sqlite3_step(at->select)) == SQLITE_ROW) {
        out[n] = consumer_decode(c, at, e);
        if (!out[n])
            break;
        bytes += (size_t)sqlite3_column_bytes(at->select, 2);
        at->next = out[n++]->offset + 1;
    }
    bool damaged = rc == SQLITE_ROW && n < room && bytes < FETCH_BYTES;
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        damaged = !consumer_broken(at, e, sqlite3_errmsg(c->link.db));
    sqlite3_reset(at->select);
    if (rc == SQLITE_DONE && n == 0 && at->next < atomic_load(&at->partition->end))
        damaged = !consumer_gap(c, at, -1, e);
    consumer_skip(at);
    return n == 0 && damaged ? -1 : n;
}

static int consumer_read(struct local_consumer *c, struct local_assigned *at, int64_t until, struct record **out,
                         size_t room, struct err *e)
{
    local_link_lock(&c->link);
    int n = consumer_read_rows(c, at, until, out, room < FETCH_RECORDS ? (int)room : FETCH_RECORDS, e);
    local_link_unlock(&c->link);
    return n;
}

/* Reads on for all readers of the partition, before `end`, and takes its own share of it, before `until`. */
static int consumer_read_on(struct local_consumer *c, struct local_assigned *at, int64_t end, int64_t until,
                            struct record **out, size_t room, struct err *e)
{
    struct record *read[FETCH_RECORDS];
    int64_t from = at->next;
    int count = consumer_read(c, at, end, read, FETCH_RECORDS, e), n = 0;
    for (; n < count && (size_t)n < room && read[n]->offset < until; n++)
        out[n] = record_ref(read[n]);
    if (count > 0)
        at->next = n > 0 ? out[n - 1]->offset + 1 : read[0]->offset;
    consumer_skip(at);
    local_shelf_put(c->b, &at->partition->shelf, &at->reader, from, at->next, read, count > 0 ? (size_t)count : 0);
    return count < 0 ? -1 : n;
}

/* Takes at most `room` records of one partition, up to what the group has finished already; -1 with *e when the next one cannot be read. */
static int consumer_fetch(struct local_consumer *c, struct local_assigned *at, struct record **out, size_t room,
                          struct err *e)
{
    bool reads_on;
    const struct range *finished = ranges_behind(&at->restored, at->next);
    int64_t end, until = finished ? finished->from : INT64_MAX;
    size_t n = local_shelf_take(c->b, &at->partition->shelf, &at->reader, at->next, until, out, room, &end, &reads_on);
    if (n == 0)
        return reads_on ? consumer_read_on(c, at, end, until, out, room, e)
                        : consumer_read(c, at, end < until ? end : until, out, room, e);
    at->next = out[n - 1]->offset + 1;
    consumer_skip(at);
    return (int)n;
}

static bool consumer_has_news(const struct local_assigned *at, int64_t now)
{
    return !at->hold && at->next < atomic_load(&at->partition->end) && at->retry_at <= now;
}

static size_t consumer_news(const struct local_consumer *c, int64_t now)
{
    size_t n = 0;
    for (size_t i = 0; i < c->assigned_count; i++)
        n += consumer_has_news(c->assigned[i], now);
    return n;
}

/* Reads one round over the partitions, each with its share of the room. -1: the next in turn is in trouble, and
 * nothing was read. */
static int consumer_round(struct local_consumer *c, struct record **out, size_t room, struct err *e)
{
    int64_t now = clock_mono_ms();
    size_t ready = consumer_news(c, now), n = 0, share = ready ? (room + ready - 1) / ready : 0;
    for (size_t i = 0; i < c->assigned_count && ready && n < room; i++, c->turn++) {
        struct local_assigned *at = c->assigned[c->turn % c->assigned_count];
        if (!consumer_has_news(at, now))
            continue;
        int got = consumer_fetch(c, at, out + n, room - n < share ? room - n : share, e);
        if (got < 0)
            return n ? (int)n : -1;
        n += (size_t)got;
    }
    return (int)n;
}

/* Reports a partition in trouble when it is its turn and nothing else was read; then it rests, so that it holds up
 * no other. */
static int consumer_trouble(struct local_consumer *c, size_t n)
{
    atomic_store(&c->waiting, true);
    if (n)
        return (int)n;
    c->assigned[c->turn++ % c->assigned_count]->retry_at = clock_mono_ms() + ERROR_MS;
    return -1;
}

int local_poll(struct consumer *base, struct record **out, size_t room, struct err *e)
{
    struct local_consumer *c = (struct local_consumer *)base;
    size_t n = 0;
    for (;;) {
        if (atomic_load(&c->generation) != atomic_load(&c->b->generation) && !consumer_refresh(c, false, e))
            return n ? (int)n : -1;
        int got = n < room ? consumer_round(c, out + n, room - n, e) : 0;
        if (got < 0)
            return consumer_trouble(c, n);
        n += (size_t)got;
        if (n == room)
            return (int)n;
        if (got > 0)
            continue;
        /* Say that we wait, then look once more: the writer looks after it published. */
        atomic_store(&c->waiting, true);
        if (!consumer_news(c, clock_mono_ms()) && atomic_load(&c->generation) == atomic_load(&c->b->generation))
            return (int)n;
        atomic_store(&c->waiting, false);
    }
}

void local_hold(struct consumer *base, struct topic_partition p, bool hold)
{
    struct local_assigned *at = consumer_find((struct local_consumer *)base, p);
    if (at)
        at->hold = hold;
}

void local_seek(struct consumer *base, struct topic_partition p, int64_t offset)
{
    struct local_assigned *at = consumer_find((struct local_consumer *)base, p);
    if (!at)
        return;
    at->next = offset;
    consumer_skip(at);
}

bool local_next(struct consumer *base, struct topic_partition p, int64_t *out)
{
    const struct local_assigned *at = consumer_find((struct local_consumer *)base, p);
    if (at)
        *out = at->next;
    return at != NULL;
}

/* Asks the writer to store this position with these bytes, which it takes over. */
static void consumer_ask(struct local_consumer *c, struct local_assigned *at, int64_t next, unsigned char *beyond,
                         size_t n)
{
    pthread_mutex_lock(&c->b->consumers_lock);
    unsigned char *before = at->beyond;
    at->wanted = next;
    at->beyond = beyond;
    at->beyond_n = n;
    atomic_fetch_add(&at->asked, 1);
    pthread_mutex_unlock(&c->b->consumers_lock);
    free(before);
    if (atomic_load(&c->b->positions_due) == INT64_MAX)
        local_queue_positions(c->b, clock_mono_ms() + POSITION_MS);
}

unsigned local_commit(struct consumer *base, struct topic_partition p, int64_t next, const struct ranges *beyond)
{
    struct local_consumer *c = (struct local_consumer *)base;
    struct local_assigned *at = consumer_find(c, p);
    if (!at || !c->group || next < at->wanted)
        return 0;
    struct ranges all = ranges_union(beyond, &at->restored);
    next = ranges_skip(&all, next);
    CHECK(next <= atomic_load(&at->partition->end));
    ranges_cut(&all, next);
    ranges_cut(&at->restored, next);
    unsigned char *bytes = all.count ? mem_alloc(BEYOND_MAX) : NULL;
    size_t needed = 0, n = bytes ? ranges_encode(&all, next, bytes, BEYOND_MAX, &needed) : 0;
    ranges_free(&all);
    metric_add(c->b->cut, needed > n);
    consumer_ask(c, at, next, bytes ? mem_grow(bytes, n, 1) : NULL, n);
    return (unsigned)(needed * 100 / BEYOND_MAX);
}

/* ---- tail ---- */

static bool consumer_tail(struct link *l, const struct partition *p, int64_t most, int64_t since_ms,
                          void (*each)(void *, const struct record *), void *ctx, struct err *e)
{
    sqlite3_stmt *s = NULL;
    struct err why = { "" };
    int64_t end = atomic_load(&p->end), from = end > most ? end - most : 0;
    if (since_ms)
        from = local_look_since(l->db, p->id, from, end, since_ms);
    if (!local_store_prepare(l, &s, e,
                             "SELECT offset, stored, record FROM log_%lld WHERE offset >= %lld ORDER BY offset",
                             (long long)p->id, (long long)from))
        return false;
    bool ok = true;
    while (ok && sqlite3_step(s) == SQLITE_ROW) {
        int64_t offset = sqlite3_column_int64(s, 0);
        const char *blob = sqlite3_column_blob(s, 2);
        struct record *r = local_record_decode((struct str){ blob, (size_t)sqlite3_column_bytes(s, 2) },
                                               str_of(p->topic->name), p->number, offset, sqlite3_column_int64(s, 1),
                                               &why);
        if (r)
            each(ctx, r);
        else
            ok = err_set(e, "%s/%d@%lld: the record cannot be read: %s", p->topic->name, (int)p->number,
                         (long long)offset, why.text);
        record_free(r);
    }
    int rc = sqlite3_finalize(s);
    return ok && (rc == SQLITE_OK || err_set(e, "%s/%d: %s", p->topic->name, (int)p->number, sqlite3_errstr(rc)));
}

bool local_tail(struct broker *base, const char *topic, const struct tail_options *o,
                void (*each)(void *, const struct record *), void *ctx, struct err *e)
{
    struct local *b = (struct local *)base;
    struct partition **partitions;
    struct link l;
    if (!local_link_open(b, &l, e))
        return false;
    int32_t count = consumer_partitions(b, topic, &partitions);
    int64_t share = count ? o->most / count + (o->most % count != 0) : 0;
    bool ok = true;
    local_link_lock(&l);
    for (int32_t i = 0; i < count && ok; i++)
        ok = consumer_tail(&l, partitions[i], share, o->since_ms, each, ctx, e);
    local_link_unlock(&l);
    local_link_close(&l);
    free(partitions);
    return ok;
}
