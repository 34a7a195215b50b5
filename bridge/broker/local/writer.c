/* SPDX-License-Identifier: MIT */
/* The embedded log's one writer: takes what is queued, commits it as a group, tells everybody; checkpoints; looks
 * whether a full disk has room again.
 *
 * A publication gets its outcome only after the COMMIT that holds it returned, or was rolled back. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/broker/local/private.h"
#include "bridge/lib/crash.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"

enum {
    PROBE_BYTES = 65536,
    CHECKPOINT_PAGES = 1000,
    CHECKPOINT_LATE = 2000, /* when there is time; even when there is none */
};

/* ---- outcomes ---- */

/* Tells one publication that it is not stored, and frees it. */
static void writer_refuse(struct local *b, struct local_publication *p, const char *why)
{
    metric_add(p->refusal                                ? b->refused_invalid
               : atomic_load(&b->status) == LOCAL_FAILED ? b->refused_failed
                                                         : b->refused_full,
               1);
    p->done(p->ctx, p->tag, p->refusal ? OUTCOME_INVALID : OUTCOME_UNAVAILABLE, p->refusal ? p->refusal : why);
    free(p->refusal);
    free(p);
}

/* Tells every publication of the group its outcome. */
static void writer_end_group(struct local *b, struct local_group *g, bool stored, const char *why)
{
    struct local_publication *next;
    for (struct local_publication *p = g->first; p; p = next) {
        next = p->next;
        if (!stored || p->refusal) {
            writer_refuse(b, p, why);
            continue;
        }
        p->done(p->ctx, p->tag, OUTCOME_STORED, NULL);
        free(p);
    }
    local_queue_settled(b, g->count);
}

/* ---- topics of a group ---- */

/* Refuses one publication; the rest of its group is stored. */
static void writer_refuse_one(struct local_publication *p, struct str topic, const char *cause)
{
    p->refusal = mem_alloc(WHY_BYTES);
    int n = (int)(topic.n < TOPIC_NAME_MAX ? topic.n : TOPIC_NAME_MAX);
    snprintf(p->refusal, WHY_BYTES, "%s (topic \"%.*s\")", cause, n, topic.at ? topic.at : "");
}

/* The topic of that name, made when there is none; NULL: refused, or the store failed (*rc). */
static struct topic *writer_topic(struct local *b, struct local_publication *p, struct str name, int *rc)
{
    char text[TOPIC_NAME_MAX + 1];
    struct topic *t = local_topic_find(b, name);
    if (t)
        return t;
    if (!topic_name_ok(name))
        writer_refuse_one(p, name, "not a name for a topic (1 to 249 of a-z A-Z 0-9 . _ -)");
    else if (b->partition_count >= PARTITIONS_MAX)
        writer_refuse_one(p, name, "cannot be created, there are too many topics");
    if (p->refusal)
        return NULL;
    memcpy(text, name.at, name.n);
    text[name.n] = '\0';
    *rc = local_store_topic(b, text, 1, NULL);
    return *rc == SQLITE_OK ? local_topic_find(b, name) : NULL;
}

static struct partition *writer_partition(struct topic *t, const struct item *i)
{
    if (i->partition >= 0)
        return i->partition < t->partition_count ? t->partitions[i->partition] : NULL;
    uint64_t n = i->keyed ? i->hash : t->spread++;
    return t->partitions[n % (uint64_t)t->partition_count];
}

/* Chooses the partition of every record, before the transaction: a topic that must be made has one of its own. */
static int writer_resolve(struct local *b, struct local_group *g)
{
    struct topic *t = NULL;
    int rc = SQLITE_OK;
    for (struct local_publication *p = g->first; p; p = p->next)
        for (size_t i = 0; i < p->item_count && !p->refusal; i++) {
            struct item *item = &p->items[i];
            if (!t || !str_eq(str_of(t->name), item->topic))
                t = writer_topic(b, p, item->topic, &rc);
            if (rc != SQLITE_OK)
                return rc;
            if (t && !(item->to = writer_partition(t, item)))
                writer_refuse_one(p, item->topic, "has no such partition");
        }
    return SQLITE_OK;
}

/* ---- one transaction ---- */

/* Appends one record; SQLite's code. */
static int writer_insert(struct local *b, struct item *i, int64_t now)
{
    struct partition *p = i->to;
    if (!p->insert
        && !local_store_prepare(&b->link, &p->insert, NULL, "INSERT INTO log_%lld VALUES(?1, ?2, ?3, ?4)",
                                (long long)p->id))
        return sqlite3_errcode(b->link.db);
    local_record_seal(i->blob, i->size, i->crc, p->next, now);
    sqlite3_bind_int64(p->insert, 1, p->next);
    sqlite3_bind_int64(p->insert, 2, now);
    sqlite3_bind_int64(p->insert, 3, p->bytes + (int64_t)i->size);
    sqlite3_bind_blob(p->insert, 4, i->blob, (int)i->size, SQLITE_STATIC);
    int rc = local_store_run(p->insert);
    if (rc != SQLITE_OK)
        return rc;
    local_topics_touch(b, p);
    p->next++;
    p->bytes += (int64_t)i->size;
    return SQLITE_OK;
}

/* Sets or forgets one key of a source's state; SQLite's code. */
static int writer_change(struct local *b, struct str source, const struct change *c)
{
    sqlite3_stmt *s = c->value.at ? b->set_state : b->forget_state;
    sqlite3_bind_text(s, 1, source.at, (int)source.n, SQLITE_STATIC);
    sqlite3_bind_blob(s, 2, c->key.at, (int)c->key.n, SQLITE_STATIC);
    if (c->value.at) {
        sqlite3_bind_blob(s, 3, c->value.at, (int)c->value.n, SQLITE_STATIC);
        sqlite3_bind_int64(s, 4, local_state_crc(source, c->key, c->value));
    }
    return local_store_run(s);
}

static int writer_insert_all(struct local *b, struct local_group *g)
{
    int64_t now = local_age_now(&b->age);
    int rc = SQLITE_OK;
    for (struct local_publication *p = g->first; p && rc == SQLITE_OK; p = p->next) {
        if (p->refusal)
            continue;
        for (size_t i = 0; i < p->item_count && rc == SQLITE_OK; i++)
            rc = writer_insert(b, &p->items[i], now);
        for (size_t i = 0; i < p->change_count && rc == SQLITE_OK; i++)
            rc = writer_change(b, p->state_of, &p->changes[i]);
    }
    return rc;
}

static int writer_save_position(struct local *b, const struct local_consumer *c, struct local_assigned *at)
{
    at->writing = atomic_load(&at->asked);
    if (at->writing <= atomic_load(&at->durable))
        return SQLITE_OK;
    sqlite3_bind_text(b->set_position, 1, c->group, -1, SQLITE_STATIC);
    sqlite3_bind_int64(b->set_position, 2, at->partition->id);
    sqlite3_bind_int64(b->set_position, 3, at->wanted);
    sqlite3_bind_blob(b->set_position, 4, at->beyond, (int)at->beyond_n, SQLITE_STATIC); /* NULL when there is none */
    return local_store_run(b->set_position);
}

/* Writes every position that was asked for and is not durable yet. */
static int writer_save_positions(struct local *b)
{
    int rc = SQLITE_OK;
    pthread_mutex_lock(&b->consumers_lock);
    for (struct local_consumer *c = b->consumers; c && rc == SQLITE_OK; c = c->next)
        for (size_t i = 0; i < c->assigned_count && c->group && rc == SQLITE_OK; i++)
            rc = writer_save_position(b, c, c->assigned[i]);
    pthread_mutex_unlock(&b->consumers_lock);
    return rc;
}

/* Stores a group, and positions and retention if they are due, in one transaction; SQLite's code. */
static int writer_transaction(struct local *b, struct local_group *g, bool positions, bool retention)
{
    local_link_lock(&b->link);
    int rc = local_store_run(b->begin);
    if (rc == SQLITE_OK)
        rc = writer_insert_all(b, g);
    if (rc == SQLITE_OK && positions)
        rc = writer_save_positions(b);
    if (rc == SQLITE_OK && retention)
        rc = local_retain(b);
    crash_point("local-before-commit");
    if (rc == SQLITE_OK)
        rc = local_store_run(b->commit);
    if (rc != SQLITE_OK) {
        local_status_fail(b, rc, "write");
        if (!sqlite3_get_autocommit(b->link.db))
            local_store_run(b->rollback);
    }
    local_topics_finish(b, rc == SQLITE_OK);
    local_link_unlock(&b->link);
    return rc;
}

/* ---- after the commit ---- */

/* What was written of the positions is durable. */
static void writer_positions_saved(struct local *b)
{
    pthread_mutex_lock(&b->consumers_lock);
    for (struct local_consumer *c = b->consumers; c; c = c->next)
        for (size_t i = 0; i < c->assigned_count; i++)
            if (c->assigned[i]->writing > atomic_load(&c->assigned[i]->durable))
                atomic_store(&c->assigned[i]->durable, c->assigned[i]->writing);
    pthread_mutex_unlock(&b->consumers_lock);
}

static bool writer_concerns(const struct local_consumer *c, unsigned generation)
{
    if (atomic_load(&c->generation) != generation)
        return true;
    for (size_t i = 0; i < c->assigned_count; i++)
        if (c->assigned[i]->partition->touched)
            return true;
    return false;
}

/* Wakes the consumers that wait and for which the transaction has something. */
static void writer_wake_consumers(struct local *b)
{
    unsigned generation = atomic_load(&b->generation);
    pthread_mutex_lock(&b->consumers_lock);
    for (struct local_consumer *c = b->consumers; c; c = c->next)
        if (atomic_load(&c->waiting) && writer_concerns(c, generation) && atomic_exchange(&c->waiting, false))
            wake_up(c->wake_fd);
    pthread_mutex_unlock(&b->consumers_lock);
    local_topics_untouch(b);
}

/* Moves the write-ahead log into the file when it is long, preferably while nothing is queued. */
static void writer_checkpoint(struct local *b, bool idle)
{
    if (!b->file || b->wal_pages < b->checkpoint_at
        || (!idle && b->wal_pages < b->checkpoint_at + CHECKPOINT_LATE - CHECKPOINT_PAGES))
        return;
    int64_t began = clock_mono_us();
    crash_point("local-checkpoint");
    int rc = sqlite3_wal_checkpoint_v2(b->link.db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    if (rc != SQLITE_OK && rc != SQLITE_BUSY)
        local_status_fail(b, rc, "checkpoint");
    b->checkpoint_at = b->wal_pages + CHECKPOINT_PAGES;
    metric_observe_us(b->checkpoint_time, clock_mono_us() - began);
}

/* SQLite's hook behind each commit: keeps the length of the write-ahead log. */
static int writer_on_commit(void *ctx, sqlite3 *db, const char *name, int pages)
{
    struct local *b = ctx;
    (void)db;
    (void)name;
    if (pages < b->wal_pages) /* it began anew after a complete checkpoint */
        b->checkpoint_at = CHECKPOINT_PAGES;
    b->wal_pages = pages;
    return SQLITE_OK;
}

/* ---- the loop ---- */

static size_t writer_records(const struct local_group *g)
{
    size_t n = 0;
    for (const struct local_publication *p = g->first; p; p = p->next)
        n += p->refusal ? 0 : p->item_count;
    return n;
}

static void writer_refuse_group(struct local *b, struct local_group *g)
{
    char why[WHY_BYTES];
    local_status_why(b, why);
    writer_end_group(b, g, false, why);
}

static void writer_commit_group(struct local *b, struct local_group *g)
{
    int64_t now = clock_mono_ms(), began = clock_mono_us(), due = atomic_load(&b->positions_due);
    bool positions = due <= now, retention = local_retention_due(b) <= now;
    if (writer_resolve(b, g) != SQLITE_OK) {
        writer_refuse_group(b, g);
        return;
    }
    if (!g->first && !positions && !retention) {
        writer_end_group(b, g, true, NULL);
        return;
    }
    if (positions)
        atomic_store(&b->positions_due, INT64_MAX); /* before they are read: see local_commit */
    int rc = writer_transaction(b, g, positions, retention);
    if (rc == SQLITE_OK && !local_status_files_are_there(b))
        rc = SQLITE_IOERR;
    if (rc != SQLITE_OK) {
        if (positions)
            atomic_store(&b->positions_due, now + LOCAL_PROBE_MS);
        writer_refuse_group(b, g);
        return;
    }
    crash_point("local-after-commit");
    metric_add(b->commits, 1);
    metric_observe_us(b->commit_time, clock_mono_us() - began);
    metric_add(b->stored, (int64_t)writer_records(g));
    if (positions)
        writer_positions_saved(b);
    writer_end_group(b, g, true, NULL);
    writer_wake_consumers(b);
    writer_checkpoint(b, g->idle);
}

/* Is there room again? Stores positions and frees what retention allows, then writes and removes a filler. */
static void writer_probe(struct local *b)
{
    struct local_group nothing = { .first = NULL };
    b->probe_due = clock_mono_ms() + LOCAL_PROBE_MS;
    if (writer_transaction(b, &nothing, true, local_retention_due(b) != INT64_MAX) == SQLITE_OK) {
        writer_positions_saved(b);
        local_queue_settled(b, 0);
        writer_wake_consumers(b);
    }
    local_link_lock(&b->link);
    char sql[96];
    snprintf(sql, sizeof sql, "INSERT INTO probe VALUES(zeroblob(%d))", PROBE_BYTES);
    int rc = sqlite3_exec(b->link.db, sql, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(b->link.db, "DELETE FROM probe", NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        local_status_fail(b, rc, "write");
    local_link_unlock(&b->link);
    if (rc == SQLITE_OK)
        local_status_mend(b);
}

/* Does what the main thread asked for: makes the topic, or forgets a group's positions there. */
static void writer_answer(struct local *b, struct topic_request *r)
{
    if (!r)
        return;
    bool ok = atomic_load(&b->status) == LOCAL_READY
              && (r->forget ? local_store_forget(b, r->forget, r->topic->name)
                            : local_store_topic(b, r->topic->name, r->topic->partitions, r->topic))
                     == SQLITE_OK;
    if (!ok) {
        char why[WHY_BYTES];
        local_status_why(b, why);
        err_set(r->e, "topics.%s: %s", r->topic->name, why);
    }
    writer_wake_consumers(b);
    local_queue_answered(b, r, ok);
}

void *local_writer(void *arg)
{
    struct local *b = arg;
    sqlite3_wal_hook(b->link.db, writer_on_commit, b);
    b->checkpoint_at = CHECKPOINT_PAGES;
    b->retention_due = clock_mono_ms();
    b->probe_due = INT64_MAX;
    for (bool last = false; !last;) {
        struct local_group g = local_queue_take(b);
        last = g.last;
        writer_answer(b, g.request);
        if (atomic_load(&b->status) == LOCAL_BLOCKED && b->probe_due <= clock_mono_ms())
            writer_probe(b);
        if (atomic_load(&b->status) == LOCAL_READY)
            writer_commit_group(b, &g);
        else
            writer_refuse_group(b, &g);
    }
    return NULL;
}
