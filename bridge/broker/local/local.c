/* SPDX-License-Identifier: MIT */
/* The embedded broker's face: open and close, publish, state, and the table of the broker. */
#include <stdlib.h>
#include <unistd.h>
#include "bridge/broker/local/private.h"
#include "bridge/lib/mem.h"

METRIC_COUNTER(aqueduct_broker_commits_total, "local: groups of publications committed.", NULL);
METRIC_HISTOGRAM(aqueduct_broker_checkpoint_seconds, "local: moving the write-ahead log into the file.", NULL);

enum { RETENTION_DEFAULT_MS = 7 * 24 * 60 * 60 * 1000 };

/* ---- open ---- */

static void local_metrics(struct local *b)
{
    b->stored = metric_get(&aqueduct_broker_stored_total, NULL);
    b->commits = metric_get(&aqueduct_broker_commits_total, NULL);
    b->commit_time = metric_get(&aqueduct_broker_commit_seconds, NULL);
    b->checkpoint_time = metric_get(&aqueduct_broker_checkpoint_seconds, NULL);
    b->cut = metric_get(&aqueduct_broker_positions_cut_total, NULL);
    b->lost = metric_get(&aqueduct_records_lost_total, NULL);
    b->refused_full = metric_get(&aqueduct_broker_refused_total, LABELS("full"));
    b->refused_failed = metric_get(&aqueduct_broker_refused_total, LABELS("failed"));
    b->refused_queue = metric_get(&aqueduct_broker_refused_total, LABELS("queue"));
    b->refused_invalid = metric_get(&aqueduct_broker_refused_total, LABELS("invalid"));
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
    local_metrics(b);
    return b;
}

static void local_free(struct local *b)
{
    local_store_close(b);
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
    free(b->identity);
    free(b);
}

static bool local_in_memory(const struct broker_config *config)
{
    return config->path && strcmp(config->path, ":memory:") == 0;
}

static struct broker_facts local_facts(const struct broker_config *config)
{
    return (struct broker_facts){ .own_folder = local_in_memory(config) ? NULL : config->path };
}

static bool local_check(const struct broker_config *config, struct err *e)
{
    return local_in_memory(config) || local_folder_check(config->path ? config->path : "", e);
}

static struct broker *local_open(const struct broker_config *config, struct err *e)
{
    struct local *b = local_new(config);
    if ((local_in_memory(config) || local_folder_open(b, config->path, e)) && local_store_open(b, e)
        && local_identify(b, e) && local_check_moved(b, e)) {
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
    local_queue_close(b);
    pthread_join(b->writer, NULL);
    local_free(b);
}

/* ---- publish ---- */

static bool local_too_large(const struct publication *p, struct err *e)
{
    for (size_t i = 0; i < p->record_count; i++) {
        size_t n = local_record_size(&p->records[i]);
        if (n > RECORD_MAX)
            return !err_set(e, "a record of %zu bytes is more than the log takes (%d)", n, RECORD_MAX);
    }
    return false;
}

static bool local_ready(struct broker *base, struct err *why)
{
    struct local *b = (struct local *)base;
    if (atomic_load(&b->status) == LOCAL_READY)
        return true;
    char text[WHY_BYTES];
    local_status_why(b, text);
    return err_set(why, "%s", text);
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

static int32_t local_partitions(struct broker *base, const char *topic)
{
    struct local *b = (struct local *)base;
    pthread_mutex_lock(&b->topics_lock);
    struct topic *t = local_topic_find(b, str_of(topic));
    int32_t count = t ? t->partition_count : 0;
    pthread_mutex_unlock(&b->topics_lock);
    return count;
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
    if (local_too_large(p, &why)) {
        metric_add(b->refused_invalid, 1);
        p->done(p->ctx, p->tag, OUTCOME_INVALID, why.text);
        return;
    }
    struct local_publication *kept = local_publication_new(p, b->keys_as_kafka);
    if (local_queue_put(b, kept))
        return;
    free(kept);
    metric_add(b->refused_queue, 1);
    p->done(p->ctx, p->tag, OUTCOME_UNAVAILABLE, "the broker's queue is full");
}

static void local_begin_retention(struct broker *base)
{
    local_topics_serve((struct local *)base);
    local_queue_retain((struct local *)base);
}

static bool local_flush(struct broker *base, struct duration limit)
{
    return local_queue_flush((struct local *)base, limit);
}

static bool local_topic(struct broker *base, const struct topic_config *topic, struct err *e)
{
    struct local *b = (struct local *)base;
    struct topic_config said = *topic;
    struct topic_request r = { .topic = &said, .e = e };
    if (said.retention.ms == RETENTION_UNSAID)
        said.retention.ms = RETENTION_DEFAULT_MS;
    if (said.partitions == 0)
        said.partitions = 1;
    if (!topic_name_ok(str_of(topic->name)))
        return err_set(e, "topics: \"%s\" is not a name for a topic (1 to %d of a-z A-Z 0-9 . _ -)", topic->name,
                       TOPIC_NAME_MAX);
    if (said.partitions < 1 || said.partitions > 1024)
        return err_set(e, "topics.%s.partitions: %lld is not within 1 to 1024", topic->name,
                       (long long)topic->partitions);
    return local_queue_ask(b, &r);
}

const struct broker_ops broker_local = {
    .type = "local",
    .doc = "An embedded durable log in one SQLite file; needs nothing else.",
    .facts = local_facts,
    .check = local_check,
    .stayed = local_stayed,
    .backlog = local_backlog,
    .is_whole = local_backlog_is_whole,
    .look = local_look,
    .look_on = local_look_on,
    .look_close = local_look_close,
    .standing = local_standing,
    .open = local_open,
    .topic = local_topic,
    .topics = local_topics,
    .groups = local_groups,
    .groups_outside = local_groups_outside,
    .forget = local_forget,
    .retain = local_begin_retention,
    .partitions = local_partitions,
    .publish = local_publish,
    .flush = local_flush,
    .ready = local_ready,
    .failed = local_failed,
    .state = local_state,
    .scopes = local_scopes,
    .tail = local_tail,
    .close = local_close,
    .consume = local_consume,
    .poll = local_poll,
    .hold = local_hold,
    .seek = local_seek,
    .next = local_next,
    .log = local_replay,
    .log_close = local_replay_close,
    .commit = local_commit,
    .stands = local_stands,
    .leave = local_leave,
};
