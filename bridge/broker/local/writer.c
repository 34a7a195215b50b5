/* SPDX-License-Identifier: MIT */
/* The embedded log's one writer: takes what is queued, commits it as a group, tells everybody; retention, checkpoints,
 * failures.
 *
 *              disk full, log too large                     write possible again (probe, once a second)
 *   READY  ------------------------------> BLOCKED  ------------------------------------------------> READY
 *     \______________ write or fsync failed, file damaged or gone ______________> FAILED (until restart)
 *
 * A publication gets its outcome only after the COMMIT that holds it returned, or was rolled back. After a failed
 * fsync nobody knows what the disk holds, so nothing is written any more. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "bridge/broker/local/private.h"
#include "bridge/lib/crash.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/thread.h"

enum {
    GROUP_RECORDS = 1024,
    GROUP_BYTES = 4 << 20, /* most of one commit */
    SLEEP_MS = 1000,       /* longest sleep when something is due at some time */
    PROBE_MS = 1000,
    PROBE_BYTES = 65536,
    CHECKPOINT_PAGES = 1000,
    CHECKPOINT_LATE = 2000, /* when there is time; even when there is none */
};

struct batch {
    struct pub *first;
    size_t count;
    struct topic_request *request;
    bool idle, last; /* nothing is queued behind it; the broker closes */
};

/* ---- the queue ---- */

void local_wake_writer(struct local *b)
{
    if (b->sleeping) {
        b->sleeping = false;
        pthread_cond_signal(&b->work);
    }
}

/* When the writer has something to do even if nobody asks. */
static int64_t due_of(struct local *b)
{
    if (atomic_load(&b->status) != LOCAL_READY)
        return b->probe_due;
    int64_t due = atomic_load(&b->positions_due);
    return b->retains && b->retention_due < due ? b->retention_due : due;
}

/* With queue_lock held: sleeps until somebody wakes it or `due`, on the real clock even when tests fake ours. */
static void sleep_until(struct local *b, int64_t due, int64_t now)
{
    b->sleeping = true;
    if (due == INT64_MAX) {
        pthread_cond_wait(&b->work, &b->queue_lock);
    } else {
        struct duration wait = { due - now < SLEEP_MS ? due - now : SLEEP_MS };
        thread_wait(&b->work, &b->queue_lock, thread_until(wait));
    }
    b->sleeping = false;
}

/* Waits for work and takes at most one group's worth. */
static struct batch take(struct local *b)
{
    struct batch g = { .first = NULL };
    pthread_mutex_lock(&b->queue_lock);
    for (;;) {
        int64_t due = due_of(b), now = clock_mono_ms();
        if (b->first || b->request || b->closing || due <= now)
            break;
        sleep_until(b, due, now);
    }
    struct pub **end = &b->first;
    size_t records = 0, bytes = 0;
    g.first = b->first;
    while (
        *end
        && (g.count == 0 || (records + (*end)->item_count <= GROUP_RECORDS && bytes + (*end)->bytes <= GROUP_BYTES))) {
        records += (*end)->item_count;
        bytes += (*end)->bytes;
        g.count++;
        end = &(*end)->next;
    }
    b->first = *end;
    *end = NULL;
    if (!b->first)
        b->last = &b->first;
    if (g.count == 0)
        g.first = NULL;
    b->queued -= g.count;
    b->queued_bytes -= bytes;
    g.request = b->request;
    b->request = NULL;
    g.idle = !b->first;
    g.last = b->closing && !b->first;
    pthread_mutex_unlock(&b->queue_lock);
    return g;
}

/* `count` publications have their outcome. */
static void settled(struct local *b, size_t count)
{
    pthread_mutex_lock(&b->queue_lock);
    b->open -= count;
    if (b->waiters)
        pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->queue_lock);
}

static void refuse(struct local *b, struct pub *p, const char *why)
{
    metric_add(p->refusal                                ? b->refused_invalid
               : atomic_load(&b->status) == LOCAL_FAILED ? b->refused_failed
                                                         : b->refused_full,
               1);
    p->done(p->ctx, p->tag, p->refusal ? OUTCOME_INVALID : OUTCOME_UNAVAILABLE, p->refusal ? p->refusal : why);
    free(p->refusal);
    free(p);
}

static void end_batch(struct local *b, struct batch *g, bool stored, const char *why)
{
    struct pub *next;
    for (struct pub *p = g->first; p; p = next) {
        next = p->next;
        if (!stored || p->refusal) {
            refuse(b, p, why);
            continue;
        }
        p->done(p->ctx, p->tag, OUTCOME_STORED, NULL);
        free(p);
    }
    settled(b, g->count);
}

/* ---- failures ---- */

static void set_status(struct local *b, enum local_status status, const char *what, const char *cause)
{
    pthread_mutex_lock(&b->status_lock);
    snprintf(b->why, sizeof b->why, "%s%s%s (%s)", what, cause[0] ? ": " : "", cause, b->file ? b->file : ":memory:");
    pthread_mutex_unlock(&b->status_lock);
    atomic_store(&b->status, status);
    b->probe_due = status == LOCAL_BLOCKED ? clock_mono_ms() + PROBE_MS : INT64_MAX;
}

/* What the system said to the last failed call on the write-ahead log; sqlite3_system_errno forgets it when a COMMIT
 * fails. */
static int last_errno(sqlite3 *db)
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
static bool may_pass(sqlite3 *db, int rc)
{
    int cause = last_errno(db);
    if ((rc & 0xff) == SQLITE_IOERR)
        return sqlite3_extended_errcode(db) == SQLITE_IOERR_WRITE
               && (cause == ENOSPC || cause == EDQUOT || cause == EFBIG);
    return rc == SQLITE_FULL || rc == SQLITE_BUSY || rc == SQLITE_LOCKED || rc == SQLITE_NOMEM;
}

static void failed(struct local *b, int rc, const char *doing)
{
    sqlite3 *db = b->link.db;
    const char *where = b->file ? b->file : ":memory:";
    char what[64];
    if (may_pass(db, rc)) {
        snprintf(what, sizeof what,
                 rc == SQLITE_BUSY || rc == SQLITE_LOCKED ? "locked by another program, cannot %s" : "no room to %s",
                 doing);
        if (atomic_load(&b->status) == LOCAL_READY)
            LOG(ERROR, "broker takes no events", LOG_C("file", where), LOG_C("doing", doing),
                LOG_C("cause", sqlite3_errmsg(db)));
        set_status(b, LOCAL_BLOCKED, what, sqlite3_errmsg(db));
        return;
    }
    snprintf(what, sizeof what, "cannot %s", doing);
    LOG(ERROR, "broker failed", LOG_C("file", where), LOG_C("doing", doing), LOG_C("cause", sqlite3_errmsg(db)),
        LOG_INT("code", sqlite3_extended_errcode(db)), LOG_INT("errno", last_errno(db)));
    set_status(b, LOCAL_FAILED, what, sqlite3_errmsg(db));
}

/* Has somebody deleted or replaced the files under us? Then what we commit is lost with them. */
static bool files_are_there(struct local *b)
{
    int moved = 0;
    if (!b->file)
        return true;
    sqlite3_file_control(b->link.db, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    if (!moved)
        return true;
    LOG(ERROR, "broker failed: its file was deleted or replaced while in use", LOG_C("file", b->file));
    set_status(b, LOCAL_FAILED, "deleted or replaced while in use", "");
    return false;
}

/* ---- topics of a group ---- */

/* Refuses one publication; the rest of its group is stored. */
static void pub_refuse(struct pub *p, struct str topic, const char *cause)
{
    p->refusal = mem_alloc(WHY_BYTES);
    int n = (int)(topic.n < TOPIC_NAME_MAX ? topic.n : TOPIC_NAME_MAX);
    snprintf(p->refusal, WHY_BYTES, "%s (topic \"%.*s\")", cause, n, topic.at ? topic.at : "");
}

/* The topic of that name, made when there is none; NULL: refused, or the store failed (*rc). */
static struct topic *topic_for(struct local *b, struct pub *p, struct str name, int *rc)
{
    char text[TOPIC_NAME_MAX + 1];
    struct topic *t = topic_find(b, name);
    if (t)
        return t;
    if (!topic_name_ok(name))
        pub_refuse(p, name, "not a name for a topic (1 to 249 of a-z A-Z 0-9 . _ -)");
    else if (b->partition_count >= PARTITIONS_MAX)
        pub_refuse(p, name, "cannot be created, there are too many topics");
    if (p->refusal)
        return NULL;
    memcpy(text, name.at, name.n);
    text[name.n] = '\0';
    *rc = store_topic(b, text, 1, NULL);
    if (*rc != SQLITE_OK)
        failed(b, *rc, "create a topic");
    return *rc == SQLITE_OK ? topic_find(b, name) : NULL;
}

static struct partition *partition_for(struct topic *t, const struct item *i)
{
    if (i->partition >= 0)
        return i->partition < t->part_count ? t->parts[i->partition] : NULL;
    uint64_t n = i->keyed ? i->hash : t->spread++;
    return t->parts[n % (uint64_t)t->part_count];
}

/* Chooses the partition of every record, before the transaction: a topic that must be made has one of its own. */
static int resolve(struct local *b, struct batch *g)
{
    struct topic *t = NULL;
    int rc = SQLITE_OK;
    for (struct pub *p = g->first; p; p = p->next)
        for (size_t i = 0; i < p->item_count && !p->refusal; i++) {
            struct item *item = &p->items[i];
            if (!t || !str_eq(str_of(t->name), item->topic))
                t = topic_for(b, p, item->topic, &rc);
            if (rc != SQLITE_OK)
                return rc;
            if (t && !(item->to = partition_for(t, item)))
                pub_refuse(p, item->topic, "has no such partition");
        }
    return SQLITE_OK;
}

/* ---- one transaction ---- */

void local_touch(struct local *b, struct partition *p)
{
    if (p->touched)
        return;
    p->touched = true;
    p->next_touched = b->touched;
    b->touched = p;
}

static void untouch_all(struct local *b)
{
    for (struct partition *p = b->touched; p; p = p->next_touched)
        p->touched = false;
    b->touched = NULL;
}

static int insert_record(struct local *b, struct item *i, int64_t now)
{
    struct partition *p = i->to;
    if (!p->insert
        && !store_prepare(&b->link, &p->insert, NULL, "INSERT INTO log_%lld VALUES(?1, ?2, ?3, ?4)", (long long)p->id))
        return sqlite3_errcode(b->link.db);
    record_seal(i->blob, i->size, i->crc, p->next, now);
    sqlite3_bind_int64(p->insert, 1, p->next);
    sqlite3_bind_int64(p->insert, 2, now);
    sqlite3_bind_int64(p->insert, 3, p->bytes + (int64_t)i->size);
    sqlite3_bind_blob(p->insert, 4, i->blob, (int)i->size, SQLITE_STATIC);
    int rc = store_run(p->insert);
    if (rc != SQLITE_OK)
        return rc;
    local_touch(b, p);
    p->next++;
    p->bytes += (int64_t)i->size;
    return SQLITE_OK;
}

static int store_change(struct local *b, struct str source, const struct change *c)
{
    sqlite3_stmt *s = c->value.at ? b->set_state : b->forget_state;
    sqlite3_bind_text(s, 1, source.at, (int)source.n, SQLITE_STATIC);
    sqlite3_bind_blob(s, 2, c->key.at, (int)c->key.n, SQLITE_STATIC);
    if (c->value.at) {
        sqlite3_bind_blob(s, 3, c->value.at, (int)c->value.n, SQLITE_STATIC);
        sqlite3_bind_int64(s, 4, state_crc(source, c->key, c->value));
    }
    return store_run(s);
}

static int insert_all(struct local *b, struct batch *g)
{
    int64_t now = clock_wall_ms();
    int rc = SQLITE_OK;
    for (struct pub *p = g->first; p && rc == SQLITE_OK; p = p->next) {
        if (p->refusal)
            continue;
        for (size_t i = 0; i < p->item_count && rc == SQLITE_OK; i++)
            rc = insert_record(b, &p->items[i], now);
        for (size_t i = 0; i < p->change_count && rc == SQLITE_OK; i++)
            rc = store_change(b, p->state_of, &p->changes[i]);
    }
    return rc;
}

static int save_position(struct local *b, const struct local_consumer *c, struct place_state *at)
{
    at->writing = atomic_load(&at->wanted);
    if (at->writing <= atomic_load(&at->committed))
        return SQLITE_OK;
    sqlite3_bind_text(b->set_position, 1, c->group, -1, SQLITE_STATIC);
    sqlite3_bind_int64(b->set_position, 2, at->part->id);
    sqlite3_bind_int64(b->set_position, 3, at->writing);
    return store_run(b->set_position);
}

static int save_positions(struct local *b)
{
    int rc = SQLITE_OK;
    pthread_mutex_lock(&b->consumers_lock);
    for (struct local_consumer *c = b->consumers; c && rc == SQLITE_OK; c = c->next)
        for (size_t i = 0; i < c->place_count && c->group && rc == SQLITE_OK; i++)
            rc = save_position(b, c, c->places[i]);
    pthread_mutex_unlock(&b->consumers_lock);
    return rc;
}

/* What the transaction touched becomes visible, or goes back to what it was. */
static void finish_partitions(struct local *b, bool committed)
{
    for (struct partition *p = b->touched; p; p = p->next_touched) {
        if (committed) {
            p->start_before = atomic_load(&p->start);
            p->end_bytes = p->bytes;
            atomic_store(&p->end, p->next);
        } else {
            atomic_store(&p->start, p->start_before);
            p->bytes = p->end_bytes;
            p->next = atomic_load(&p->end);
        }
    }
    if (!committed)
        untouch_all(b);
}

static int transaction(struct local *b, struct batch *g, bool positions, bool retention)
{
    link_lock(&b->link);
    int rc = store_run(b->begin);
    if (rc == SQLITE_OK)
        rc = insert_all(b, g);
    if (rc == SQLITE_OK && positions)
        rc = save_positions(b);
    if (rc == SQLITE_OK && retention)
        rc = local_retain(b);
    crash_point("local-before-commit");
    if (rc == SQLITE_OK)
        rc = store_run(b->commit);
    if (rc != SQLITE_OK) {
        failed(b, rc, "write");
        if (!sqlite3_get_autocommit(b->link.db))
            store_run(b->rollback);
    }
    finish_partitions(b, rc == SQLITE_OK);
    link_unlock(&b->link);
    return rc;
}

/* ---- after the commit ---- */

static void positions_saved(struct local *b)
{
    pthread_mutex_lock(&b->consumers_lock);
    for (struct local_consumer *c = b->consumers; c; c = c->next)
        for (size_t i = 0; i < c->place_count; i++)
            if (c->places[i]->writing > atomic_load(&c->places[i]->committed))
                atomic_store(&c->places[i]->committed, c->places[i]->writing);
    pthread_mutex_unlock(&b->consumers_lock);
}

static bool concerns(const struct local_consumer *c, unsigned generation)
{
    if (atomic_load(&c->generation) != generation)
        return true;
    for (size_t i = 0; i < c->place_count; i++)
        if (c->places[i]->part->touched)
            return true;
    return false;
}

static void wake_consumers(struct local *b)
{
    unsigned generation = atomic_load(&b->generation);
    pthread_mutex_lock(&b->consumers_lock);
    for (struct local_consumer *c = b->consumers; c; c = c->next)
        if (atomic_load(&c->waiting) && concerns(c, generation) && atomic_exchange(&c->waiting, false))
            wake_up(c->wake_fd);
    pthread_mutex_unlock(&b->consumers_lock);
    untouch_all(b);
}

static void checkpoint(struct local *b, bool idle)
{
    if (!b->file || b->wal_pages < b->checkpoint_at
        || (!idle && b->wal_pages < b->checkpoint_at + CHECKPOINT_LATE - CHECKPOINT_PAGES))
        return;
    int64_t began = clock_mono_us();
    crash_point("local-checkpoint");
    int rc = sqlite3_wal_checkpoint_v2(b->link.db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    if (rc != SQLITE_OK && rc != SQLITE_BUSY)
        failed(b, rc, "checkpoint");
    b->checkpoint_at = b->wal_pages + CHECKPOINT_PAGES;
    metric_observe_us(b->checkpoint_time, clock_mono_us() - began);
}

static int note_wal(void *ctx, sqlite3 *db, const char *name, int pages)
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

static size_t records_of(const struct batch *g)
{
    size_t n = 0;
    for (const struct pub *p = g->first; p; p = p->next)
        n += p->refusal ? 0 : p->item_count;
    return n;
}

static void reason(struct local *b, char *why, size_t size)
{
    pthread_mutex_lock(&b->status_lock);
    snprintf(why, size, "%s", b->why);
    pthread_mutex_unlock(&b->status_lock);
}

static void refuse_batch(struct local *b, struct batch *g)
{
    char why[sizeof b->why];
    reason(b, why, sizeof why);
    end_batch(b, g, false, why);
}

static void write_batch(struct local *b, struct batch *g)
{
    int64_t now = clock_mono_ms(), began = clock_mono_us(), due = atomic_load(&b->positions_due);
    bool positions = due <= now, retention = b->retention_due <= now && b->retains;
    if (resolve(b, g) != SQLITE_OK) {
        refuse_batch(b, g);
        return;
    }
    if (!g->first && !positions && !retention) {
        end_batch(b, g, true, NULL);
        return;
    }
    if (positions)
        atomic_store(&b->positions_due, INT64_MAX); /* before wanted is read: see local_commit */
    int rc = transaction(b, g, positions, retention);
    if (rc == SQLITE_OK && !files_are_there(b))
        rc = SQLITE_IOERR;
    if (rc != SQLITE_OK) {
        if (positions)
            atomic_store(&b->positions_due, now + PROBE_MS);
        refuse_batch(b, g);
        return;
    }
    crash_point("local-after-commit");
    metric_add(b->commits, 1);
    metric_observe_us(b->commit_time, clock_mono_us() - began);
    metric_add(b->stored, (int64_t)records_of(g));
    if (positions)
        positions_saved(b);
    end_batch(b, g, true, NULL);
    wake_consumers(b);
    checkpoint(b, g->idle);
}

/* Is there room again? Stores positions and frees what retention allows, then writes and removes a filler. */
static void probe(struct local *b)
{
    struct batch nothing = { .first = NULL };
    b->probe_due = clock_mono_ms() + PROBE_MS;
    if (transaction(b, &nothing, true, b->retains) == SQLITE_OK) {
        positions_saved(b);
        settled(b, 0);
        wake_consumers(b);
    }
    link_lock(&b->link);
    char sql[96];
    snprintf(sql, sizeof sql, "INSERT INTO probe VALUES(zeroblob(%d))", PROBE_BYTES);
    int rc = sqlite3_exec(b->link.db, sql, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(b->link.db, "DELETE FROM probe", NULL, NULL, NULL);
    link_unlock(&b->link);
    if (rc != SQLITE_OK) {
        failed(b, rc, "write");
        return;
    }
    if (atomic_load(&b->status) == LOCAL_BLOCKED) {
        LOG(INFO, "broker takes events again", LOG_C("file", b->file ? b->file : ":memory:"));
        set_status(b, LOCAL_READY, "", "");
    }
}

static void answer(struct local *b, struct topic_request *r)
{
    if (!r)
        return;
    int rc = SQLITE_OK;
    if (atomic_load(&b->status) == LOCAL_READY
        && (rc = store_topic(b, r->topic->name, r->topic->partitions, r->topic)) != SQLITE_OK)
        failed(b, rc, "create a topic");
    r->ok = atomic_load(&b->status) == LOCAL_READY;
    if (!r->ok) {
        char why[sizeof b->why];
        reason(b, why, sizeof why);
        err_set(r->e, "topics.%s: %s", r->topic->name, why);
    }
    wake_consumers(b);
    pthread_mutex_lock(&b->queue_lock);
    r->answered = true;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->queue_lock);
}

void *local_writer(void *arg)
{
    struct local *b = arg;
    sqlite3_wal_hook(b->link.db, note_wal, b);
    b->checkpoint_at = CHECKPOINT_PAGES;
    b->retention_due = clock_mono_ms();
    b->probe_due = INT64_MAX;
    for (bool last = false; !last;) {
        struct batch g = take(b);
        last = g.last;
        answer(b, g.request);
        if (atomic_load(&b->status) == LOCAL_BLOCKED && b->probe_due <= clock_mono_ms())
            probe(b);
        if (atomic_load(&b->status) == LOCAL_READY)
            write_batch(b, &g);
        else
            refuse_batch(b, &g);
    }
    return NULL;
}
