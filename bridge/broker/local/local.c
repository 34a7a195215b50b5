/* SPDX-License-Identifier: MIT */
/* The embedded broker's face: open and close, the lock on its folder, publish, state. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bridge/broker/local/private.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/thread.h"

enum { QUEUE_PUBLICATIONS = 65536, QUEUE_BYTES = 32 << 20 };

/* ---- the folder ---- */

static bool sync_parent(const char *folder, struct err *e)
{
    char *parent = sqlite3_mprintf("%s/..", folder);
    CHECK(parent);
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (!ok)
        err_set(e, "broker.path: \"%s\" cannot be made durable: %s", folder, strerror(errno));
    if (fd >= 0)
        close(fd);
    sqlite3_free(parent);
    return ok;
}

static bool make_folder(const char *folder, struct err *e)
{
    struct stat st;
    if (mkdir(folder, 0700) == 0)
        return sync_parent(folder, e);
    if (errno == ENOENT)
        return err_set(e, "broker.path: \"%s\" cannot be created, the folder above it does not exist", folder);
    if (errno != EEXIST)
        return err_set(e, "broker.path: \"%s\" cannot be created: %s", folder, strerror(errno));
    if (stat(folder, &st) != 0 || !S_ISDIR(st.st_mode))
        return err_set(e, "broker.path: \"%s\" is not a folder", folder);
    return true;
}

static bool in_use(const char *folder, int fd, struct err *e)
{
    char pid[24] = "";
    ssize_t n = pread(fd, pid, sizeof pid - 1, 0);
    pid[n > 0 ? strspn(pid, "0123456789") : 0] = '\0';
    return err_set(e, "broker.path: \"%s\" is in use by process %s: stop it, or give this one a folder of its own",
                   folder, pid[0] ? pid : "(unknown)");
}

/* One owner at a time; the lock ends with the process, however it ends. */
static bool lock_folder(struct local *b, struct err *e)
{
    char *file = sqlite3_mprintf("%s/lock", b->folder), pid[24];
    CHECK(file);
    b->lock_fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    sqlite3_free(file);
    if (b->lock_fd < 0)
        return err_set(e, "broker.path: \"%s\" cannot be written: %s", b->folder, strerror(errno));
    if (flock(b->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? in_use(b->folder, b->lock_fd, e)
                                    : err_set(e, "broker.path: \"%s/lock\": %s", b->folder, strerror(errno));
    int n = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    if (ftruncate(b->lock_fd, 0) != 0 || pwrite(b->lock_fd, pid, (size_t)n, 0) != n)
        return err_set(e, "broker.path: \"%s/lock\" cannot be written: %s", b->folder, strerror(errno));
    return true;
}

/* ---- open ---- */

static void make_metrics(struct local *b)
{
    static const char *refused = "aqueduct_broker_refused_total", *help = "Publications that the broker did not take.";
    b->stored = metric_counter("aqueduct_broker_stored_total", "Records stored for good.", NULL);
    b->commits = metric_counter("aqueduct_broker_commits_total", "Groups of publications committed.", NULL);
    b->commit_time = metric_histogram("aqueduct_broker_commit_seconds", "From taking a group to its commit.", NULL);
    b->checkpoint_time = metric_histogram("aqueduct_broker_checkpoint_seconds",
                                          "Moving the write-ahead log into the file.", NULL);
    b->lost = metric_counter("aqueduct_records_lost_total",
                             "Records that retention removed before a sink had read them.", NULL);
    b->refused_full = metric_counter(refused, help, LABELS("reason", "full"));
    b->refused_failed = metric_counter(refused, help, LABELS("reason", "failed"));
    b->refused_queue = metric_counter(refused, help, LABELS("reason", "queue"));
    b->refused_invalid = metric_counter(refused, help, LABELS("reason", "invalid"));
}

static struct local *local_new(const struct broker_config *config)
{
    struct local *b = mem_alloc(sizeof *b);
    b->base.ops = &broker_local;
    b->lock_fd = -1;
    b->max_size = config->max_size.n;
    b->last = &b->first;
    atomic_store(&b->positions_due, INT64_MAX);
    pthread_mutex_init(&b->memory_lock, NULL);
    pthread_mutex_init(&b->topics_lock, NULL);
    pthread_mutex_init(&b->consumers_lock, NULL);
    pthread_mutex_init(&b->status_lock, NULL);
    pthread_mutex_init(&b->queue_lock, NULL);
    pthread_cond_init(&b->work, NULL);
    pthread_cond_init(&b->changed, NULL);
    make_metrics(b);
    return b;
}

static void local_free(struct local *b)
{
    store_close(b);
    if (b->lock_fd >= 0)
        close(b->lock_fd);
    pthread_cond_destroy(&b->work);
    pthread_cond_destroy(&b->changed);
    pthread_mutex_destroy(&b->memory_lock);
    pthread_mutex_destroy(&b->topics_lock);
    pthread_mutex_destroy(&b->consumers_lock);
    pthread_mutex_destroy(&b->status_lock);
    pthread_mutex_destroy(&b->queue_lock);
    free(b->folder);
    free(b->file);
    free(b);
}

static bool open_folder(struct local *b, const char *path, struct err *e)
{
    size_t n = strlen(path);
    if (n == 0)
        return err_set(e, "broker.path: is empty");
    b->folder = str_dup(str_of(path));
    b->file = mem_alloc(n + sizeof "/aqueduct.db");
    snprintf(b->file, n + sizeof "/aqueduct.db", "%s/aqueduct.db", path);
    return make_folder(b->folder, e) && lock_folder(b, e);
}

static bool local_in_memory(const struct broker_config *config)
{
    return strcmp(config->path, ":memory:") == 0;
}

static struct broker_facts local_facts(const struct broker_config *config)
{
    return (struct broker_facts){ .own_folder = local_in_memory(config) ? NULL : config->path };
}

static struct broker *local_open(const struct broker_config *config, struct err *e)
{
    struct local *b = local_new(config);
    if ((local_in_memory(config) || open_folder(b, config->path, e)) && store_open(b, e)) {
        int rc = pthread_create(&b->writer, NULL, local_writer, b);
        if (rc == 0)
            return &b->base;
        err_set(e, "broker: cannot start a thread: %s", strerror(rc));
    }
    local_free(b);
    return NULL;
}

static void local_close(struct broker *base)
{
    struct local *b = (struct local *)base;
    CHECK(!b->consumers);
    pthread_mutex_lock(&b->queue_lock);
    b->closing = true;
    local_wake_writer(b);
    pthread_mutex_unlock(&b->queue_lock);
    pthread_join(b->writer, NULL);
    local_free(b);
}

/* ---- publish ---- */

/* Where the queued copy's parts lie: the struct, items, changes, then all bytes. */
static size_t bytes_of(const struct publication *p)
{
    size_t n = p->state_of ? strlen(p->state_of) : 0;
    for (size_t i = 0; i < p->record_count; i++)
        n += p->records[i].topic.n + record_size(&p->records[i]);
    for (size_t i = 0; i < p->change_count; i++)
        n += p->changes[i].key.n + p->changes[i].value.n;
    return n;
}

static struct str keep(unsigned char **at, struct str s)
{
    if (!s.at)
        return s;
    struct str copy = { (const char *)*at, s.n };
    memcpy(*at, s.at, s.n);
    *at += s.n;
    return copy;
}

static void keep_record(struct item *to, const struct record *r, unsigned char **at)
{
    to->topic = keep(at, r->topic);
    to->partition = r->partition;
    to->keyed = r->key.at != NULL;
    to->hash = to->keyed ? str_hash(r->key) : 0;
    to->size = record_size(r);
    to->blob = *at;
    to->crc = record_encode(r, to->blob);
    *at += to->size;
}

static struct pub *pub_new(const struct publication *p)
{
    size_t bytes = bytes_of(p);
    struct pub *q = malloc(sizeof *q + p->record_count * sizeof *q->items + p->change_count * sizeof *q->changes
                           + bytes);
    CHECK(q);
    *q = (struct pub){ .done = p->done,
                       .ctx = p->ctx,
                       .tag = p->tag,
                       .bytes = bytes,
                       .item_count = p->record_count,
                       .change_count = p->change_count };
    q->items = (struct item *)(q + 1);
    q->changes = (struct change *)(q->items + p->record_count);
    unsigned char *at = (unsigned char *)(q->changes + p->change_count);
    for (size_t i = 0; i < p->record_count; i++)
        keep_record(&q->items[i], &p->records[i], &at);
    q->state_of = keep(&at, str_of(p->state_of));
    for (size_t i = 0; i < p->change_count; i++) {
        q->changes[i] = (struct change){ .key = keep(&at, p->changes[i].key) };
        q->changes[i].value = keep(&at, p->changes[i].value);
    }
    return q;
}

static bool enqueue(struct local *b, struct pub *q)
{
    pthread_mutex_lock(&b->queue_lock);
    bool room = b->queued == 0 || (b->queued < QUEUE_PUBLICATIONS && b->queued_bytes + q->bytes <= QUEUE_BYTES);
    if (room) {
        q->next = NULL;
        *b->last = q;
        b->last = &q->next;
        b->queued++;
        b->queued_bytes += q->bytes;
        b->open++;
        local_wake_writer(b);
    }
    pthread_mutex_unlock(&b->queue_lock);
    return room;
}

static bool too_large(const struct publication *p, char *why, size_t size)
{
    for (size_t i = 0; i < p->record_count; i++) {
        size_t n = record_size(&p->records[i]);
        if (n > RECORD_MAX)
            return snprintf(why, size, "a record of %zu bytes is more than the log takes (%d)", n, RECORD_MAX) > 0;
    }
    return false;
}

static bool local_ready(struct broker *base, struct err *why)
{
    struct local *b = (struct local *)base;
    if (atomic_load(&b->status) == LOCAL_READY)
        return true;
    pthread_mutex_lock(&b->status_lock);
    err_set(why, "%s", b->why);
    pthread_mutex_unlock(&b->status_lock);
    return false;
}

static bool local_topics(struct broker *base, const char *prefix, void (*each)(void *, const char *), void *ctx,
                         struct err *e)
{
    struct local *b = (struct local *)base;
    (void)e;
    pthread_mutex_lock(&b->topics_lock);
    for (size_t i = 0; i < b->topic_count; i++)
        if (str_starts(str_of(b->topics[i]->name), str_of(prefix)))
            each(ctx, b->topics[i]->name);
    pthread_mutex_unlock(&b->topics_lock);
    return true;
}

static bool local_failed(struct broker *base)
{
    return atomic_load(&((struct local *)base)->status) == LOCAL_FAILED;
}

static void local_publish(struct broker *base, const struct publication *p)
{
    struct local *b = (struct local *)base;
    struct err why = { "" };
    if (!local_ready(base, &why)) {
        metric_add(local_failed(base) ? b->refused_failed : b->refused_full, 1);
        p->done(p->ctx, p->tag, OUTCOME_UNAVAILABLE, why.text);
        return;
    }
    if (too_large(p, why.text, sizeof why.text)) {
        metric_add(b->refused_invalid, 1);
        p->done(p->ctx, p->tag, OUTCOME_INVALID, why.text);
        return;
    }
    struct pub *q = pub_new(p);
    if (enqueue(b, q))
        return;
    free(q);
    metric_add(b->refused_queue, 1);
    p->done(p->ctx, p->tag, OUTCOME_UNAVAILABLE, "the broker's queue is full");
}

/* ---- waiting for the writer ---- */

static bool local_flush(struct broker *base, struct duration limit)
{
    struct local *b = (struct local *)base;
    struct timespec until = thread_until(limit);
    pthread_mutex_lock(&b->queue_lock);
    b->waiters++;
    while (b->open > 0 && thread_wait(&b->changed, &b->queue_lock, until))
        continue;
    b->waiters--;
    bool all = b->open == 0;
    pthread_mutex_unlock(&b->queue_lock);
    return all;
}

static bool positions_open(const struct local_consumer *c)
{
    for (size_t i = 0; i < c->place_count; i++)
        if (atomic_load(&c->places[i]->wanted) > atomic_load(&c->places[i]->committed))
            return true;
    return false;
}

void local_wait_positions(struct local_consumer *c, struct duration limit)
{
    struct local *b = c->b;
    struct timespec until = thread_until(limit);
    bool in_time = true;
    pthread_mutex_lock(&b->queue_lock);
    b->waiters++;
    while (positions_open(c) && !local_failed(&b->base) && in_time) {
        if (atomic_load(&b->status) == LOCAL_READY)
            atomic_store(&b->positions_due, INT64_MIN);
        local_wake_writer(b);
        in_time = thread_wait(&b->changed, &b->queue_lock, until);
    }
    b->waiters--;
    pthread_mutex_unlock(&b->queue_lock);
}

static bool local_topic(struct broker *base, const struct topic_config *topic, struct err *e)
{
    struct local *b = (struct local *)base;
    struct topic_request r = { .topic = topic, .e = e };
    if (!topic_name_ok(str_of(topic->name)))
        return err_set(e, "topics: \"%s\" is not a name for a topic (1 to %d of a-z A-Z 0-9 . _ -)", topic->name,
                       TOPIC_NAME_MAX);
    if (topic->partitions < 1 || topic->partitions > 1024)
        return err_set(e, "topics.%s.partitions: %lld is not within 1 to 1024", topic->name,
                       (long long)topic->partitions);
    pthread_mutex_lock(&b->queue_lock);
    b->request = &r;
    local_wake_writer(b);
    while (!r.answered)
        pthread_cond_wait(&b->changed, &b->queue_lock);
    pthread_mutex_unlock(&b->queue_lock);
    return r.ok;
}

/* ---- state ---- */

static struct str column(sqlite3_stmt *s, int i)
{
    const char *at = sqlite3_column_blob(s, i);
    return (struct str){ at ? at : "", (size_t)sqlite3_column_bytes(s, i) };
}

static bool state_rows(sqlite3_stmt *s, const char *source,
                       bool (*each)(void *, struct str, struct str, bool, struct err *), void *ctx, struct err *e)
{
    int rc;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        struct str key = column(s, 0), value = column(s, 1);
        if (sqlite3_column_int64(s, 2) != (int64_t)state_crc(str_of(source), key, value))
            return err_set(e, "broker.path: the state of source \"%s\" is damaged (checksum of key \"%.*s\")", source,
                           (int)(key.n < 64 ? key.n : 64), key.at);
        if (!each(ctx, key, value, false, e))
            return false;
    }
    return rc == SQLITE_DONE
           || err_set(e, "broker.path: reading the state of source \"%s\": %s", source, sqlite3_errstr(rc));
}

static bool local_state(struct broker *base, const char *source,
                        bool (*each)(void *, struct str, struct str, bool, struct err *), void *ctx, struct err *e)
{
    struct local *b = (struct local *)base;
    struct link l;
    sqlite3_stmt *s = NULL;
    if (!link_open(b, &l, e))
        return false;
    link_lock(&l);
    bool ok = store_prepare(&l, &s, e, "SELECT key, value, crc FROM state WHERE source=?1");
    if (ok) {
        sqlite3_bind_text(s, 1, source, -1, SQLITE_STATIC);
        ok = state_rows(s, source, each, ctx, e);
    }
    sqlite3_finalize(s);
    link_unlock(&l);
    link_close(&l);
    return ok;
}

const struct broker_ops broker_local = {
    .type = "local",
    .doc = "An embedded durable log in one SQLite file; needs nothing else.",
    .facts = local_facts,
    .open = local_open,
    .topic = local_topic,
    .topics = local_topics,
    .publish = local_publish,
    .flush = local_flush,
    .ready = local_ready,
    .failed = local_failed,
    .state = local_state,
    .tail = local_tail,
    .close = local_close,
    .consume = local_consume,
    .poll = local_poll,
    .hold = local_hold,
    .commit = local_commit,
    .leave = local_leave,
};
