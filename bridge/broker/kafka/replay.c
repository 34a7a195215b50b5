/* SPDX-License-Identifier: MIT */
/* The log as a sink reads it from any position (event/log.h). The sink's thread asks and takes; one thread of its own asks
 * the cluster, one thing after the other, and wakes the sink with each answer.
 *
 *   sink: read()   what is in the chunks, else an ask ──> asks ──> thread: seek, fetch a stretch ──> chunks ──> wake_fd
 *
 * One client, without a group, serves all readers of the sink: readers at the same place share an ask and its chunk, those
 * elsewhere take turns. What was fetched and not taken yet is bounded (REPLAY_AHEAD), what was taken stays for others as long
 * as there is room. When nobody asks for a while the client ends, so that it fetches nothing beside the live one.
 *
 * A topic's identity is the cluster's id and its name: librdkafka 2.0 does not tell the topic's own id. One that was made anew
 * is known by a position beyond its end, or by the time of the record before the position (event/cursor.h). The live consumer
 * finds out by itself, some time later, and begins at its start; from the moment that the end is seen before it until then
 * nobody can say where it stands. What was read of the old one is forgotten then. */
#include <stdlib.h>
#include <string.h>
#include "bridge/broker/chunks.h"
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"

enum {
    REPLAY_RECORDS = 512,
    REPLAY_BYTES = 1 << 20,
    REPLAY_KEPT = 8 << 20,
    REPLAY_AHEAD = 4,   /* chunks that nobody took yet */
    REPLAY_ASKS = 1024, /* of a partition; who asks for more asks again later */
    REPLAY_TIMES = 64,  /* answers of a partition that nobody took yet */
    TAKEN_MS = 1000,    /* who does not take a chunk for so long has gone */
    IDLE_MS = 10000,    /* then the client ends */
    ASK_MS = 1000,      /* for an answer of the cluster */
    SLICE_MS = 50,
    FETCH_MS = 3000, /* for the first record of a chunk */
    FRESH_MS = 1000, /* bounds are as good as new */
    AGAIN_MS = 500,  /* after a failure */
};

enum ask { ASK_BOUNDS = 1, ASK_TIME, ASK_CHUNK };

struct replay_ask {
    struct replay_ask *next;
    struct replay_part *part;
    enum ask kind;
    int64_t value; /* ms, or the offset */
};

struct replay_time {
    int64_t ms, offset; /* offset -1: not answered yet */
};

struct replay_part {
    char *topic;
    int32_t number;
    /* Under the lock: */
    unsigned asks, epoch; /* chunks that are asked for; how often the topic was made anew */
    struct log_bounds bounds;
    bool known, handed, asked; /* bounds: ever, since the last answer; and asked for */
    int64_t bounds_ms;
    int64_t live;     /* where the live consumer stood when last asked */
    bool live_is_old; /* the cluster said later that this is beyond the end: it is a place in a topic that is gone */
    struct replay_time times[REPLAY_TIMES];
    size_t time_count;
    int64_t failed_at, retry_ms; /* the record there could not be read, for that reason */
    bool failed, told;
    struct err why;
    /* The thread's: */
    rd_kafka_queue_t *queue; /* NULL: not assigned */
    int64_t at;              /* where the client stands; -1: it has no place */
};

struct kafka_replay {
    struct broker_log base;
    struct kafka *b;
    pthread_t thread;
    atomic_bool stop;
    pthread_mutex_t lock; /* guards what follows, up to renew; with work */
    pthread_cond_t work;
    struct replay_part **parts;
    size_t part_count;
    struct replay_ask *first;
    struct chunks *chunks;
    int64_t put_ms;
    bool renew;     /* a topic was made anew: the client may hold on to the old one */
    rd_kafka_t *rk; /* the thread's; NULL: none now */
    unsigned login; /* the thread's: the version of its login (follow.c) */
    bool broken;    /* the thread's: another client is needed */
};

struct kafka_replay_reader {
    struct log_reader base;
    struct replay_part *part;
    unsigned epoch;
};

/* With the lock held: what is known of the topic is of an older one. */
static void replay_anew(struct kafka_replay *r, struct replay_part *p)
{
    p->epoch++;
    r->renew = true;
    p->known = p->live_is_old = false;
    chunks_forget(r->chunks, p);
}

/* ---- the thread: its client ---- */

static void replay_leave(struct replay_part *p)
{
    if (p->queue)
        rd_kafka_queue_destroy(p->queue);
    p->queue = NULL;
    p->at = -1;
}

static void replay_client_end(struct kafka_replay *r)
{
    if (!r->rk)
        return;
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < r->part_count; i++)
        replay_leave(r->parts[i]);
    pthread_mutex_unlock(&r->lock);
    r->broken = false;
    kafka_client_reader_end(r->rk, r->b);
    r->rk = NULL;
}

static bool replay_client(struct kafka_replay *r)
{
    struct err e = { "" };
    pthread_mutex_lock(&r->lock);
    size_t count = r->part_count;
    bool renew = r->renew;
    r->renew = false;
    pthread_mutex_unlock(&r->lock);
    if (renew || (r->rk && kafka_follow_is_old(r->b, r->rk, &r->login)))
        replay_client_end(r);
    if (r->rk)
        return true;
    r->login = kafka_follow_version(r->b);
    r->rk = kafka_client_reader_of(r->b->config, r->b, 2 * (int64_t)count + 2, &e);
    if (!r->rk)
        LOG(ERROR, "the log cannot be read back", LOG_C("reason", e.text));
    return r->rk != NULL;
}

/* Goes there; false: not now. */
static bool replay_go(struct kafka_replay *r, struct replay_part *p, int64_t offset)
{
    if (p->queue && p->at == offset)
        return true;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, p->topic, p->number)->offset = offset;
    bool begins = !p->queue, fine;
    if (!begins) {
        fine = kafka_client_seek(r->rk, list, ASK_MS);
    } else {
        p->queue = kafka_queue_own(r->rk, p->topic, p->number);
        rd_kafka_error_t *error = rd_kafka_incremental_assign(r->rk, list);
        fine = !error;
        rd_kafka_error_destroy(error);
    }
    fine = fine && !list->elems[0].err;
    if (!fine && begins)
        replay_leave(p);
    p->at = fine ? offset : -1;
    rd_kafka_topic_partition_list_destroy(list);
    return fine;
}

/* ---- the thread: bounds ---- */

/* What the cluster says of the partition's first and last offset. */
static bool replay_bounds_of(struct kafka_replay *r, struct replay_part *p, struct log_bounds *out)
{
    pthread_mutex_lock(&r->lock);
    int64_t live = p->live;
    pthread_mutex_unlock(&r->lock);
    if (kafka_ask_ends(r->b, p->topic, p->number, &out->start, &out->end, ASK_MS))
        return false;
    pthread_mutex_lock(&r->lock);
    p->bounds = *out;
    p->live_is_old = live > out->end && live == p->live;
    p->known = true;
    p->handed = false;
    p->bounds_ms = clock_mono_ms();
    pthread_mutex_unlock(&r->lock);
    return true;
}

static bool replay_bounds_serve(struct kafka_replay *r, struct replay_part *p)
{
    struct log_bounds bounds;
    if (!replay_bounds_of(r, p, &bounds))
        return false;
    pthread_mutex_lock(&r->lock);
    p->asked = false;
    pthread_mutex_unlock(&r->lock);
    return true;
}

/* ---- the thread: records ---- */

struct replay_stretch {
    struct record *records[REPLAY_RECORDS];
    size_t count, room, bytes;
    int64_t from, to;
};

enum fetched { FETCH_DONE = 1, FETCH_MORE, FETCH_AGAIN, FETCH_FAILED };

/* Nothing came: is there nothing, is it gone, or is the topic another one? */
static enum fetched replay_lack(struct kafka_replay *r, struct replay_part *p, const struct replay_stretch *s)
{
    struct log_bounds bounds;
    if (!replay_bounds_of(r, p, &bounds))
        return FETCH_AGAIN;
    if (s->from >= bounds.start && s->from < bounds.end)
        return FETCH_MORE;
    r->broken = s->from != bounds.end; /* it has no place there, and a seek does not give it one */
    if (s->from > bounds.end) {
        pthread_mutex_lock(&r->lock);
        replay_anew(r, p);
        pthread_mutex_unlock(&r->lock);
    }
    return FETCH_DONE;
}

static enum fetched replay_error(struct kafka_replay *r, struct replay_part *p, struct replay_stretch *s,
                                 const rd_kafka_message_t *m, struct err *e)
{
    if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        s->to = m->offset > s->to ? m->offset : s->to;
        p->at = m->offset; /* behind the marks of transactions; it does not say so again */
        return s->to > s->from ? FETCH_DONE : replay_lack(r, p, s);
    }
    if (m->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET) {
        enum fetched lack = replay_lack(r, p, s);
        r->broken = true;
        return lack == FETCH_MORE ? FETCH_AGAIN : lack;
    }
    if (kafka_is_passing(m->err))
        return FETCH_MORE;
    if (kafka_access_is_denial(m->err))
        kafka_access_fail(r->b, m->err, p->topic, NULL, e);
    else
        err_set(e, "topic %s, partition %d, offset %lld: %s", p->topic, (int)p->number, (long long)s->from,
                rd_kafka_message_errstr(m));
    r->broken = true;
    return FETCH_FAILED;
}

static enum fetched replay_message(struct kafka_replay *r, struct replay_part *p, struct replay_stretch *s,
                                   rd_kafka_message_t *m, struct err *e)
{
    if (m->err)
        return replay_error(r, p, s, m, e);
    if (m->offset < s->to)
        return FETCH_MORE;
    struct record *record = kafka_record(m);
    s->records[s->count++] = record;
    s->bytes += record_weight(record);
    s->to = p->at = m->offset + 1;
    return s->count < s->room && s->bytes < REPLAY_BYTES ? FETCH_MORE : FETCH_DONE;
}

/* Fetches what comes next; at its end, or when it takes too long, nothing. */
static enum fetched replay_fetch(struct kafka_replay *r, struct replay_part *p, struct replay_stretch *s, struct err *e)
{
    int64_t until = clock_mono_ms() + FETCH_MS;
    bool looked = false;
    enum fetched state = FETCH_MORE;
    if (!replay_go(r, p, s->from))
        return FETCH_AGAIN;
    while (state == FETCH_MORE) {
        rd_kafka_message_t *m = rd_kafka_consume_queue(p->queue, s->count ? 0 : SLICE_MS);
        if (m) {
            state = replay_message(r, p, s, m, e);
            rd_kafka_message_destroy(m);
        } else if (s->count) {
            state = FETCH_DONE;
        } else if (atomic_load(&r->stop) || clock_mono_ms() > until) {
            state = FETCH_AGAIN;
            r->broken = true; /* there is something, and it does not get it: another client may */
        } else if (!looked) { /* it said before that this is the end, and does not say so again */
            looked = true;
            state = replay_lack(r, p, s);
        }
    }
    if (r->broken)
        replay_client_end(r);
    return state;
}

static bool replay_chunk_serve(struct kafka_replay *r, struct replay_part *p, int64_t offset)
{
    struct replay_stretch s = { .room = REPLAY_RECORDS, .from = offset, .to = offset };
    struct err e = { "" };
    enum fetched state = replay_fetch(r, p, &s, &e);
    pthread_mutex_lock(&r->lock);
    if (s.to > s.from) {
        chunks_put(r->chunks, p, s.from, s.to, s.records, s.count);
        r->put_ms = clock_mono_ms();
    }
    p->failed = state == FETCH_FAILED;
    p->failed_at = offset;
    p->retry_ms = clock_mono_ms() + ASK_MS;
    p->told = false;
    p->why = e;
    pthread_mutex_unlock(&r->lock);
    return state != FETCH_AGAIN;
}

/* ---- the thread: times ---- */

struct replay_look {
    struct kafka_replay *r;
    struct replay_part *p;
};

/* The first record at that offset or behind it (kafka_look_fn). */
static bool replay_look_at(void *ctx, int64_t offset, int64_t *found, int64_t *stored_ms)
{
    const struct replay_look *l = ctx;
    struct replay_stretch s = { .room = 1, .from = offset, .to = offset };
    struct err e = { "" };
    if (!l->r->rk || replay_fetch(l->r, l->p, &s, &e) != FETCH_DONE)
        return false;
    *found = s.count ? s.records[0]->offset : INT64_MAX;
    *stored_ms = s.count ? s.records[0]->stored_ms : 0;
    if (s.count)
        record_free(s.records[0]);
    return true;
}

/* By their timestamps all before what the cluster says are older, but those that have the time of their event may have been
 * stored since. */
static bool replay_time_serve(struct kafka_replay *r, struct replay_part *p, int64_t ms)
{
    struct log_bounds bounds;
    int64_t offset;
    bool fine = replay_bounds_of(r, p, &bounds) && !kafka_ask_time(r->b, p->topic, p->number, ms, &offset, ASK_MS);
    offset = fine && offset >= 0 ? offset : bounds.end;
    struct replay_look look = { r, p };
    fine = fine && kafka_time_search(bounds.start, offset, ms, replay_look_at, &look, &offset);
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; fine && i < p->time_count; i++)
        if (p->times[i].ms == ms)
            p->times[i].offset = offset;
    pthread_mutex_unlock(&r->lock);
    return fine;
}

/* ---- the thread: its turn ---- */

static bool replay_serve(struct kafka_replay *r, const struct replay_ask *ask)
{
    if (!replay_client(r))
        return false;
    for (rd_kafka_message_t *m; (m = rd_kafka_consumer_poll(r->rk, 0)); rd_kafka_message_destroy(m))
        kafka_log(6, rd_kafka_err2name(m->err), rd_kafka_message_errstr(m));
    switch (ask->kind) {
    case ASK_BOUNDS: return replay_bounds_serve(r, ask->part);
    case ASK_TIME: return replay_time_serve(r, ask->part, ask->value);
    case ASK_CHUNK: return replay_chunk_serve(r, ask->part, ask->value);
    }
    return false;
}

/* With the lock held: may the first ask be served now? Else when, in ms. */
static int64_t replay_pause(const struct kafka_replay *r)
{
    if (!r->first)
        return IDLE_MS;
    if (r->first->kind != ASK_CHUNK || chunks_untaken(r->chunks) < REPLAY_AHEAD)
        return 0;
    return r->put_ms + TAKEN_MS - clock_mono_ms();
}

/* Waits for an ask; NULL: there is none for now, or the end. It stays in the list while it is served. */
static struct replay_ask *replay_next(struct kafka_replay *r)
{
    struct replay_ask *ask = NULL;
    int64_t pause;
    pthread_mutex_lock(&r->lock);
    struct timespec idle = thread_until((struct duration){ IDLE_MS });
    bool in_time = true;
    while (!atomic_load(&r->stop) && in_time && (pause = replay_pause(r)) > 0)
        in_time = thread_wait(&r->work, &r->lock, r->first ? thread_until((struct duration){ pause }) : idle)
                  || r->first;
    if (!atomic_load(&r->stop))
        ask = r->first;
    pthread_mutex_unlock(&r->lock);
    return ask;
}

/* It is answered, or goes to the end of the list. */
static void replay_done(struct kafka_replay *r, struct replay_ask *ask, bool served)
{
    pthread_mutex_lock(&r->lock);
    struct replay_ask **place = &r->first;
    while (*place != ask)
        place = &(*place)->next;
    *place = ask->next;
    ask->next = NULL;
    if (served) {
        ask->part->asks -= ask->kind == ASK_CHUNK;
        free(ask);
    } else {
        while (*place)
            place = &(*place)->next;
        *place = ask;
        if (!atomic_load(&r->stop))
            thread_wait(&r->work, &r->lock, thread_until((struct duration){ AGAIN_MS }));
    }
    pthread_mutex_unlock(&r->lock);
}

static void *replay_run(void *arg)
{
    struct kafka_replay *r = arg;
    while (!atomic_load(&r->stop)) {
        struct replay_ask *ask = replay_next(r);
        if (ask) {
            replay_done(r, ask, replay_serve(r, ask));
            wake_up(r->base.options.wake_fd);
        } else {
            replay_client_end(r);
        }
    }
    replay_client_end(r);
    return NULL;
}

/* ---- the sink's thread, with the lock held ---- */

static struct replay_part *replay_part(struct kafka_replay *r, struct topic_partition p)
{
    for (size_t i = 0; i < r->part_count; i++)
        if (r->parts[i]->number == p.partition && strcmp(r->parts[i]->topic, p.topic) == 0)
            return r->parts[i];
    struct replay_part *fresh = mem_alloc(sizeof *fresh);
    *fresh = (struct replay_part){ .topic = str_dup(str_of(p.topic)), .number = p.partition, .at = -1 };
    r->parts = mem_grow(r->parts, r->part_count + 1, sizeof(struct replay_part *));
    r->parts[r->part_count++] = fresh;
    return fresh;
}

/* Records wait behind what is quick, but for the ask that is being served. */
static void replay_ask(struct kafka_replay *r, struct replay_part *p, enum ask kind, int64_t value)
{
    struct replay_ask **place = &r->first, *ask = mem_alloc(sizeof *ask);
    *ask = (struct replay_ask){ .part = p, .kind = kind, .value = value };
    if (*place)
        place = &(*place)->next;
    while (*place && (kind == ASK_CHUNK || (*place)->kind != ASK_CHUNK))
        place = &(*place)->next;
    ask->next = *place;
    *place = ask;
    pthread_cond_signal(&r->work);
}

static void replay_ask_chunk(struct kafka_replay *r, struct replay_part *p, int64_t offset)
{
    bool there = p->asks >= REPLAY_ASKS;
    for (const struct replay_ask *a = p->asks ? r->first : NULL; a && !there; a = a->next)
        there = a->part == p && a->kind == ASK_CHUNK && a->value == offset;
    if (there)
        return;
    p->asks++;
    replay_ask(r, p, ASK_CHUNK, offset);
}

/* ---- the table ---- */

static int32_t replay_partitions(struct log *base, const char *topic)
{
    struct kafka *b = ((struct kafka_replay *)base)->b;
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
    struct kafka_replay *r = (struct kafka_replay *)base;
    struct kafka_client *client = kafka_client_take(r->b);
    bool known = kafka_identity(client->rk, topic, 0, out);
    kafka_client_give(client);
    return known;
}

/* Where the live consumer stands; false also while it does not know yet that the topic was made anew. */
static bool replay_live(struct log *base, struct topic_partition which, int64_t *out)
{
    struct kafka_replay *r = (struct kafka_replay *)base;
    if (!broker_log_live(base, which, out))
        return false;
    pthread_mutex_lock(&r->lock);
    struct replay_part *p = replay_part(r, which);
    if (*out < p->live)
        replay_anew(r, p);
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
    struct kafka_replay *r = (struct kafka_replay *)base;
    pthread_mutex_lock(&r->lock);
    struct replay_part *p = replay_part(r, which);
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
    struct kafka_replay *r = (struct kafka_replay *)base;
    pthread_mutex_lock(&r->lock);
    struct replay_part *p = replay_part(r, which);
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
        p->times[p->time_count++] = (struct replay_time){ ms, -1 };
        replay_ask(r, p, ASK_TIME, ms);
    }
    pthread_mutex_unlock(&r->lock);
    return known;
}

static struct log_reader *replay_open(struct log *base, struct topic_partition which, uint64_t identity, int64_t offset)
{
    struct kafka_replay *r = (struct kafka_replay *)base;
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
static bool replay_want(struct kafka_replay *r, struct replay_part *p, int64_t next, struct err *e)
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
    struct kafka_replay *r = (struct kafka_replay *)base;
    const struct record *found = NULL;
    pthread_mutex_lock(&r->lock);
    struct replay_part *p = replay_part(r, which);
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
    struct kafka_replay *r = (struct kafka_replay *)base;
    struct kafka_replay_reader *reader = (struct kafka_replay_reader *)out_reader;
    struct log_reader *at = &reader->base;
    struct replay_part *p = reader->part;
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
    struct kafka_replay *r = mem_alloc(sizeof *r);
    *r = (struct kafka_replay){ .base = { .base.ops = &replay_ops, .options = *o }, .b = (struct kafka *)base };
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->work, NULL);
    r->chunks = chunks_new(REPLAY_KEPT);
    int rc = pthread_create(&r->thread, NULL, replay_run, r);
    if (rc == 0)
        return &r->base.base;
    err_set(e, "the log cannot be read back: no thread: %s", strerror(rc));
    chunks_free(r->chunks);
    free(r);
    return NULL;
}

void kafka_replay_close(struct log *base)
{
    struct kafka_replay *r = (struct kafka_replay *)base;
    pthread_mutex_lock(&r->lock);
    atomic_store(&r->stop, true);
    pthread_cond_signal(&r->work);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    for (struct replay_ask *next; r->first; r->first = next) {
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
