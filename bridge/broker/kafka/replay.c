/* SPDX-License-Identifier: MIT */
/* The replay (answer.h) as the sink's thread asks and takes. */
#include "bridge/broker/kafka/answer.h"
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/mem.h"

enum {
    REPLAY_KEPT = 8 << 20,
    REPLAY_ASKS = 1024, /* of a partition; who asks for more asks again later */
    FRESH_MS = 1000,    /* bounds are as good as new */
};

struct kafka_replay_reader {
    struct log_reader base;
    struct answer_part *part;
    unsigned epoch;
};

/* ---- the sink's thread, with the lock held ---- */

static struct answer_part *replay_part(struct answers *r, struct topic_partition p)
{
    for (size_t i = 0; i < r->part_count; i++)
        if (r->parts[i]->number == p.partition && strcmp(r->parts[i]->topic, p.topic) == 0)
            return r->parts[i];
    struct answer_part *fresh = mem_alloc(sizeof *fresh);
    *fresh = (struct answer_part){ .topic = str_dup(str_of(p.topic)), .number = p.partition, .at = -1 };
    r->parts = mem_grow(r->parts, r->part_count + 1, sizeof(struct answer_part *));
    r->parts[r->part_count++] = fresh;
    return fresh;
}

/* Records wait behind what is quick, but for the ask that is being served. */
static void replay_ask(struct answers *r, struct answer_part *p, enum ask kind, int64_t value)
{
    struct answer_ask **place = &r->first, *ask = mem_alloc(sizeof *ask);
    *ask = (struct answer_ask){ .part = p, .kind = kind, .value = value };
    if (*place)
        place = &(*place)->next;
    while (*place && (kind == ASK_CHUNK || (*place)->kind != ASK_CHUNK))
        place = &(*place)->next;
    ask->next = *place;
    *place = ask;
    pthread_cond_signal(&r->work);
}

static void replay_ask_chunk(struct answers *r, struct answer_part *p, int64_t offset)
{
    bool there = p->asks >= REPLAY_ASKS;
    for (const struct answer_ask *a = p->asks ? r->first : NULL; a && !there; a = a->next)
        there = a->part == p && a->kind == ASK_CHUNK && a->value == offset;
    if (there)
        return;
    p->asks++;
    replay_ask(r, p, ASK_CHUNK, offset);
}

/* ---- the table ---- */

static int32_t replay_partitions(struct log *base, const char *topic)
{
    struct kafka *b = ((struct answers *)base)->b;
    int32_t count = kafka_topic_partitions(b, topic);
    if (count == 0)
        kafka_topic_want(b, str_of(topic), false);
    return count;
}

bool kafka_identity(rd_kafka_t *rk, const char *topic, int wait_ms, uint64_t *out)
{
    unsigned char digest[SHA256_BYTES];
    char *cluster = rd_kafka_clusterid(rk, wait_ms);
    if (!cluster)
        return false;
    char *named = str_join(cluster, "/", topic);
    sha256_of(str_of(named), digest);
    memcpy(out, digest, sizeof *out);
    free(named);
    rd_kafka_mem_free(NULL, cluster);
    return true;
}

static bool replay_identity(struct log *base, const char *topic, uint64_t *out)
{
    struct answers *r = (struct answers *)base;
    struct kafka_client *client = kafka_client_take(r->b);
    bool known = kafka_identity(client->rk, topic, 0, out);
    kafka_client_give(client);
    return known;
}

/* Where the live consumer stands; false also while it does not know yet that the topic was made anew. */
static bool replay_live(struct log *base, struct topic_partition which, int64_t *out)
{
    struct answers *r = (struct answers *)base;
    if (!broker_log_live(base, which, out))
        return false;
    pthread_mutex_lock(&r->lock);
    struct answer_part *p = replay_part(r, which);
    if (*out < p->live)
        kafka_answer_anew(r, p);
    else if (*out > p->live)
        p->live_is_old = false;
    p->live = *out;
    bool old = p->live_is_old;
    if (old && !p->asked && clock_mono_ms() - p->bounds_ms >= FRESH_MS) { /* perhaps a new leader lagged behind */
        p->asked = true;
        replay_ask(r, p, ASK_BOUNDS, 0);
    }
    pthread_mutex_unlock(&r->lock);
    return !old;
}

static bool replay_bounds(struct log *base, struct topic_partition which, struct log_bounds *out)
{
    struct answers *r = (struct answers *)base;
    pthread_mutex_lock(&r->lock);
    struct answer_part *p = replay_part(r, which);
    bool good = p->known && (!p->handed || clock_mono_ms() - p->bounds_ms < FRESH_MS);
    if (good)
        p->handed = true;
    else if (!p->asked)
        replay_ask(r, p, ASK_BOUNDS, 0);
    p->asked = p->asked || !good;
    *out = p->bounds;
    pthread_mutex_unlock(&r->lock);
    return good;
}

/* Each answer is given once. */
static bool replay_offset_at(struct log *base, struct topic_partition which, int64_t ms, int64_t *out)
{
    struct answers *r = (struct answers *)base;
    pthread_mutex_lock(&r->lock);
    struct answer_part *p = replay_part(r, which);
    size_t i = 0;
    while (i < p->time_count && p->times[i].ms != ms)
        i++;
    bool known = i < p->time_count && p->times[i].offset >= 0;
    if (known) {
        *out = p->times[i].offset;
        p->times[i] = p->times[--p->time_count];
    } else if (i == p->time_count) {
        if (i == REPLAY_TIMES) /* the oldest one: who asked for it asks again */
            memmove(p->times, p->times + 1, --p->time_count * sizeof *p->times);
        p->times[p->time_count++] = (struct answer_time){ ms, -1 };
        replay_ask(r, p, ASK_TIME, ms);
    }
    pthread_mutex_unlock(&r->lock);
    return known;
}

static struct log_reader *replay_open(struct log *base, struct topic_partition which, uint64_t identity, int64_t offset)
{
    struct answers *r = (struct answers *)base;
    struct kafka_replay_reader *reader = mem_alloc(sizeof *reader);
    uint64_t now = 0;
    reader->base.next = offset;
    reader->base.anew = replay_identity(base, which.topic, &now) && now != identity;
    pthread_mutex_lock(&r->lock);
    reader->part = replay_part(r, which);
    reader->epoch = reader->part->epoch;
    pthread_mutex_unlock(&r->lock);
    return &reader->base;
}

static void replay_close(struct log *base, struct log_reader *reader)
{
    (void)base;
    free(reader);
}

/* Nothing is here: asks for it, or says why it cannot be had. */
static bool replay_want(struct answers *r, struct answer_part *p, int64_t next, struct err *e)
{
    bool failed = p->failed && p->failed_at == next;
    if (failed && !p->told) {
        p->told = true;
        return err_set(e, "%s", p->why.text);
    }
    if (!failed || clock_mono_ms() >= p->retry_ms)
        replay_ask_chunk(r, p, next);
    return true;
}

/* Fetches what is there, which is what a reader fetches next. */
static bool replay_time_of(struct log *base, struct topic_partition which, int64_t offset, int64_t *out)
{
    struct answers *r = (struct answers *)base;
    const struct record *found = NULL;
    pthread_mutex_lock(&r->lock);
    struct answer_part *p = replay_part(r, which);
    bool gone = p->known && (offset < p->bounds.start || offset >= p->bounds.end);
    bool known = chunks_look(r->chunks, p, offset, &found) || gone || (p->failed && p->failed_at == offset);
    if (!known)
        replay_ask_chunk(r, p, offset);
    *out = found ? found->stored_ms : -1;
    pthread_cond_signal(&r->work);
    pthread_mutex_unlock(&r->lock);
    return known;
}

static int replay_read(struct log *base, struct log_reader *out_reader, int64_t until, struct record **out, size_t room,
                       size_t bytes, struct err *e)
{
    struct answers *r = (struct answers *)base;
    struct kafka_replay_reader *reader = (struct kafka_replay_reader *)out_reader;
    struct log_reader *at = &reader->base;
    struct answer_part *p = reader->part;
    size_t n = 0;
    bool fine = true;
    pthread_mutex_lock(&r->lock);
    at->anew = at->anew || reader->epoch != p->epoch;
    if (!at->anew && room > 0) {
        n = chunks_take(r->chunks, p, &at->next, until, out, room, bytes);
        if (n == 0 && p->known && at->next < p->bounds.start) {
            at->lost += p->bounds.start - at->next;
            at->next = p->bounds.start;
            n = chunks_take(r->chunks, p, &at->next, until, out, room, bytes);
        }
        if (n == 0 && at->next < until)
            fine = replay_want(r, p, at->next, e);
        pthread_cond_signal(&r->work); /* there is room for more */
    }
    pthread_mutex_unlock(&r->lock);
    return fine ? (int)n : -1;
}

static const struct log_ops replay_ops = {
    .partitions = replay_partitions,
    .identity = replay_identity,
    .bounds = replay_bounds,
    .offset_at = replay_offset_at,
    .time_of = replay_time_of,
    .live = replay_live,
    .wanted = broker_log_wanted,
    .open = replay_open,
    .read = replay_read,
    .close = replay_close,
};

struct log *kafka_replay(struct broker *base, const struct log_options *o, struct err *e)
{
    struct answers *r = mem_alloc(sizeof *r);
    *r = (struct answers){ .base = { .base.ops = &replay_ops, .options = *o }, .b = (struct kafka *)base };
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->work, NULL);
    r->chunks = chunks_new(REPLAY_KEPT);
    int rc = pthread_create(&r->thread, NULL, kafka_answer_run, r);
    if (rc == 0)
        return &r->base.base;
    err_set(e, "the log cannot be read back: no thread: %s", strerror(rc));
    chunks_free(r->chunks);
    free(r);
    return NULL;
}

void kafka_replay_close(struct log *base)
{
    struct answers *r = (struct answers *)base;
    pthread_mutex_lock(&r->lock);
    atomic_store(&r->stop, true);
    pthread_cond_signal(&r->work);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    for (struct answer_ask *next; r->first; r->first = next) {
        next = r->first->next;
        free(r->first);
    }
    for (size_t i = 0; i < r->part_count; i++) {
        free(r->parts[i]->topic);
        free(r->parts[i]);
    }
    free(r->parts);
    chunks_free(r->chunks);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->work);
    free(r);
}
