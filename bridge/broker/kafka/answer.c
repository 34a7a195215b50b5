/* SPDX-License-Identifier: MIT */
/* What a replay (answer.h) asks the cluster, and what it hears: all of it on the replay's own thread. */
#include "bridge/broker/kafka/answer.h"
#include <stdlib.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"

enum {
    ANSWER_RECORDS = 512,
    ANSWER_BYTES = 1 << 20,
    ANSWER_AHEAD = 4, /* chunks that nobody took yet */
    TAKEN_MS = 1000,  /* who does not take a chunk for so long has gone */
    IDLE_MS = 10000,  /* then the client ends */
    ASK_MS = 1000,    /* for an answer of the cluster */
    SLICE_MS = 50,
    FETCH_MS = 3000, /* for the first record of a chunk */
    AGAIN_MS = 500,  /* after a failure */
};

void kafka_answer_anew(struct answers *r, struct answer_part *p)
{
    p->epoch++;
    r->renew = true;
    p->known = p->live_is_old = false;
    chunks_forget(r->chunks, p);
}

/* ---- its client ---- */

static void answer_leave(struct answer_part *p)
{
    if (p->queue)
        rd_kafka_queue_destroy(p->queue);
    p->queue = NULL;
    p->at = -1;
}

static void answer_client_end(struct answers *r)
{
    if (!r->rk)
        return;
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < r->part_count; i++)
        answer_leave(r->parts[i]);
    pthread_mutex_unlock(&r->lock);
    r->broken = false;
    kafka_client_reader_end(r->rk, r->b);
    r->rk = NULL;
}

static bool answer_client(struct answers *r)
{
    struct err e = { "" };
    pthread_mutex_lock(&r->lock);
    size_t count = r->part_count;
    bool renew = r->renew;
    r->renew = false;
    pthread_mutex_unlock(&r->lock);
    if (renew || (r->rk && kafka_follow_is_old(r->b, r->rk, &r->login)))
        answer_client_end(r);
    if (r->rk)
        return true;
    r->login = kafka_follow_version(r->b);
    r->rk = kafka_client_reader_of(r->b->config, r->b, 2 * (int64_t)count + 2, &e);
    if (!r->rk)
        LOG(ERROR, "the log cannot be read back", LOG_C("reason", e.text));
    return r->rk != NULL;
}

/* Goes there; false: not now. */
static bool answer_go(struct answers *r, struct answer_part *p, int64_t offset)
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
        answer_leave(p);
    p->at = fine ? offset : -1;
    rd_kafka_topic_partition_list_destroy(list);
    return fine;
}

/* ---- bounds ---- */

/* What the cluster says of the partition's first and last offset. */
static bool answer_bounds_of(struct answers *r, struct answer_part *p, struct log_bounds *out)
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
    p->bounds_ms = clock_mono_ms();
    pthread_mutex_unlock(&r->lock);
    return true;
}

static bool answer_bounds_serve(struct answers *r, struct answer_part *p)
{
    struct log_bounds bounds;
    if (!answer_bounds_of(r, p, &bounds))
        return false;
    pthread_mutex_lock(&r->lock);
    p->asked = p->handed = false;
    pthread_mutex_unlock(&r->lock);
    return true;
}

/* ---- records ---- */

struct answer_stretch {
    struct record *records[ANSWER_RECORDS];
    size_t count, room, bytes;
    int64_t from, to;
};

enum fetched { FETCH_DONE = 1, FETCH_MORE, FETCH_AGAIN, FETCH_FAILED };

/* Nothing came: is there nothing, is it gone, or is the topic another one? */
static enum fetched answer_lack(struct answers *r, struct answer_part *p, const struct answer_stretch *s)
{
    struct log_bounds bounds;
    if (!answer_bounds_of(r, p, &bounds))
        return FETCH_AGAIN;
    if (s->from >= bounds.start && s->from < bounds.end)
        return FETCH_MORE;
    r->broken = s->from != bounds.end; /* it has no place there, and a seek does not give it one */
    if (s->from > bounds.end) {
        pthread_mutex_lock(&r->lock);
        kafka_answer_anew(r, p);
        pthread_mutex_unlock(&r->lock);
    }
    return FETCH_DONE;
}

static enum fetched answer_error(struct answers *r, struct answer_part *p, struct answer_stretch *s,
                                 const rd_kafka_message_t *m, struct err *e)
{
    if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        s->to = m->offset > s->to ? m->offset : s->to;
        p->at = m->offset; /* behind the marks of transactions; it does not say so again */
        return s->to > s->from ? FETCH_DONE : answer_lack(r, p, s);
    }
    if (m->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET) {
        enum fetched lack = answer_lack(r, p, s);
        r->broken = true;
        return lack == FETCH_MORE ? FETCH_AGAIN : lack;
    }
    if (kafka_is_passing(m->err))
        return FETCH_MORE;
    if (kafka_access_is_denial(m->err))
        kafka_access_fail(r->b, m->err, p->topic, NULL, e);
    else
        err_set(e, "%s/%d@%lld: %s", p->topic, (int)p->number, (long long)s->from, rd_kafka_message_errstr(m));
    r->broken = true;
    return FETCH_FAILED;
}

static enum fetched answer_message(struct answers *r, struct answer_part *p, struct answer_stretch *s,
                                   rd_kafka_message_t *m, struct err *e)
{
    if (m->err)
        return answer_error(r, p, s, m, e);
    if (m->offset < s->to)
        return FETCH_MORE;
    struct record *record = kafka_record(m);
    s->records[s->count++] = record;
    s->bytes += record_weight(record);
    s->to = p->at = m->offset + 1;
    return s->count < s->room && s->bytes < ANSWER_BYTES ? FETCH_MORE : FETCH_DONE;
}

/* Fetches what comes next; at its end, or when it takes too long, nothing. */
static enum fetched answer_fetch(struct answers *r, struct answer_part *p, struct answer_stretch *s, struct err *e)
{
    int64_t until = clock_mono_ms() + FETCH_MS;
    bool looked = false;
    enum fetched state = FETCH_MORE;
    if (!answer_go(r, p, s->from))
        return FETCH_AGAIN;
    while (state == FETCH_MORE) {
        rd_kafka_message_t *m = rd_kafka_consume_queue(p->queue, s->count ? 0 : SLICE_MS);
        if (m) {
            state = answer_message(r, p, s, m, e);
            rd_kafka_message_destroy(m);
        } else if (s->count) {
            state = FETCH_DONE;
        } else if (atomic_load(&r->stop) || clock_mono_ms() > until) {
            state = FETCH_AGAIN;
            r->broken = true; /* there is something, and it does not get it: another client may */
        } else if (!looked) { /* it said before that this is the end, and does not say so again */
            looked = true;
            state = answer_lack(r, p, s);
        }
    }
    if (r->broken)
        answer_client_end(r);
    return state;
}

static bool answer_chunk_serve(struct answers *r, struct answer_part *p, int64_t offset)
{
    struct answer_stretch s = { .room = ANSWER_RECORDS, .from = offset, .to = offset };
    struct err e = { "" };
    enum fetched state = answer_fetch(r, p, &s, &e);
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

/* ---- times ---- */

struct answer_look {
    struct answers *r;
    struct answer_part *p;
};

/* The first record at that offset or behind it (kafka_look_fn). */
static bool answer_look_at(void *ctx, int64_t offset, int64_t *found, int64_t *stored_ms)
{
    const struct answer_look *l = ctx;
    struct answer_stretch s = { .room = 1, .from = offset, .to = offset };
    struct err e = { "" };
    if (!l->r->rk || answer_fetch(l->r, l->p, &s, &e) != FETCH_DONE)
        return false;
    *found = s.count ? s.records[0]->offset : INT64_MAX;
    *stored_ms = s.count ? s.records[0]->stored_ms : 0;
    if (s.count)
        record_free(s.records[0]);
    return true;
}

/* By their timestamps all before what the cluster says are older, but those that have the time of their event may have been
 * stored since. */
static bool answer_time_serve(struct answers *r, struct answer_part *p, int64_t ms)
{
    struct log_bounds bounds;
    int64_t offset;
    bool fine = answer_bounds_of(r, p, &bounds) && !kafka_ask_time(r->b, p->topic, p->number, ms, &offset, ASK_MS);
    offset = fine && offset >= 0 ? offset : bounds.end;
    struct answer_look look = { r, p };
    fine = fine && kafka_time_search(bounds.start, offset, ms, answer_look_at, &look, &offset);
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; fine && i < p->time_count; i++)
        if (p->times[i].ms == ms)
            p->times[i].offset = offset;
    pthread_mutex_unlock(&r->lock);
    return fine;
}

/* ---- its turn ---- */

static bool answer_serve(struct answers *r, const struct answer_ask *ask)
{
    int64_t now = clock_mono_ms();
    if (ask->kind == ASK_BOUNDS) {
        if (r->rk && now - r->needed_ms > IDLE_MS)
            answer_client_end(r);
        return answer_bounds_serve(r, ask->part);
    }
    r->needed_ms = now;
    if (!answer_client(r))
        return false;
    for (rd_kafka_message_t *m; (m = rd_kafka_consumer_poll(r->rk, 0)); rd_kafka_message_destroy(m))
        kafka_log(6, rd_kafka_err2name(m->err), rd_kafka_message_errstr(m));
    return ask->kind == ASK_TIME ? answer_time_serve(r, ask->part, ask->value)
                                 : answer_chunk_serve(r, ask->part, ask->value);
}

/* With the lock held: may the first ask be served now? Else when, in ms. */
static int64_t answer_pause(const struct answers *r)
{
    if (!r->first)
        return IDLE_MS;
    if (r->first->kind != ASK_CHUNK || chunks_untaken(r->chunks) < ANSWER_AHEAD)
        return 0;
    return r->put_ms + TAKEN_MS - clock_mono_ms();
}

/* Waits for an ask; NULL: there is none for now, or the end. It stays in the list while it is served. */
static struct answer_ask *answer_next(struct answers *r)
{
    struct answer_ask *ask = NULL;
    int64_t pause;
    pthread_mutex_lock(&r->lock);
    struct timespec idle = thread_until((struct duration){ IDLE_MS });
    bool in_time = true;
    while (!atomic_load(&r->stop) && in_time && (pause = answer_pause(r)) > 0)
        in_time = thread_wait(&r->work, &r->lock, r->first ? thread_until((struct duration){ pause }) : idle)
                  || r->first;
    if (!atomic_load(&r->stop))
        ask = r->first;
    pthread_mutex_unlock(&r->lock);
    return ask;
}

/* It is answered, or goes to the end of the list. */
static void answer_done(struct answers *r, struct answer_ask *ask, bool served)
{
    pthread_mutex_lock(&r->lock);
    struct answer_ask **place = &r->first;
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

void *kafka_answer_run(void *arg)
{
    struct answers *r = arg;
    while (!atomic_load(&r->stop)) {
        struct answer_ask *ask = answer_next(r);
        if (ask) {
            answer_done(r, ask, answer_serve(r, ask));
            wake_up(r->base.options.wake_fd);
        } else {
            answer_client_end(r);
        }
    }
    answer_client_end(r);
    return NULL;
}
