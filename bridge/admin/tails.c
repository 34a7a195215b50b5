/* SPDX-License-Identifier: MIT */
/* Looks at topics for tails, and writes what it finds to their streams. */
#include "bridge/admin/tails.h"
#include <stdlib.h>
#include <unistd.h>
#include "bridge/admin/event_view.h"
#include "bridge/admin/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/json.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/thread.h"

METRIC_GAUGE(aqueduct_api_tails, "Live tails that are open.", NULL);

enum {
    TAILS_LOOK_MS = 250,
    TAILS_AGAIN_MS = 5000,   /* before a topic that could not be read is looked at again */
    TAILS_COMMENT_MS = 5000, /* between two signs of life */
    TAILS_QUEUE = 1 << 20,   /* bytes that wait for a client */
    TAILS_EXCERPT = 4096,    /* of an event's data */
};

struct tail_topic { /* tails' thread only */
    char *name;
    struct look *look; /* NULL: it could not be opened yet */
    bool begun;
    int64_t again_ms;
};

struct tail {
    struct tails *of;
    struct tail *next; /* under of->lock */
    struct who who;
    struct filter *filter;
    int64_t since_ms;
    struct tail_topic *topics;
    size_t topic_count;
    struct buf queue;           /* under of->lock: whole blocks */
    int64_t missed;             /* the same */
    bool closed;                /* the same: the thread frees it */
    struct http_stream *stream; /* main thread only, as is what follows */
    struct buf sending;
    int64_t said_ms;
};

struct tails {
    const struct broker_config *broker;
    pthread_t thread;
    bool runs;            /* main thread only */
    pthread_mutex_t lock; /* guards first, stop, and what tails say */
    pthread_cond_t changed;
    struct tail *first;
    size_t count;
    bool stop;
    int wake_fd;
};

/* ---- the thread: from the log to queues ---- */

static void tail_free(struct tail *t)
{
    for (size_t i = 0; i < t->topic_count; i++) {
        look_close(t->topics[i].look);
        free(t->topics[i].name);
    }
    free(t->topics);
    filter_free(t->filter);
    buf_free(&t->queue);
    buf_free(&t->sending);
    free(t);
}

static void tail_block(struct buf *out, const struct record *r)
{
    char stored[CLOCK_TEXT];
    json_t *j = event_view_json(r, TAILS_EXCERPT);
    char *text = json_short(j, JSON_COMPACT);
    clock_text(r->stored_ms, stored);
    buf_printf(out, "id: %s\nevent: event\ndata: ", stored);
    buf_add_c(out, text);
    buf_add_c(out, "\n\n");
    free(text);
    json_decref(j);
}

static bool tail_wants(const struct tail *t, const struct record *r)
{
    const struct event *ev = t->filter ? event_from_record(r, NULL) : NULL;
    bool wants = !t->filter || (ev && filter_match(t->filter, ev));
    event_unref(ev);
    return wants;
}

static bool tail_record(void *ctx, const struct record *r)
{
    struct tail *t = ctx;
    if (!tail_wants(t, r))
        return true;
    struct buf block = buf_new(TAILS_QUEUE);
    tail_block(&block, r);
    pthread_mutex_lock(&t->of->lock);
    bool room = !block.failed && t->queue.n + block.n <= TAILS_QUEUE / 2;
    if (room)
        buf_add_str(&t->queue, buf_str(&block));
    t->missed += !room;
    bool goes_on = !t->closed && !t->of->stop;
    pthread_mutex_unlock(&t->of->lock);
    buf_free(&block);
    return goes_on;
}

static int64_t tail_begin(void *ctx, const struct topic_partition *p, int64_t start, int64_t end)
{
    const struct tail *t = ctx;
    (void)p;
    return t->since_ms ? start : end; /* the look leaves out what is older */
}

static void tail_look(struct tail *t, struct tail_topic *topic)
{
    struct err e = { "" };
    if (!topic->look && clock_mono_ms() >= topic->again_ms)
        topic->look = look_open(t->of->broker,
                                &(struct look_options){ .topic = topic->name,
                                                        .since_ms = t->since_ms,
                                                        .may_lack = true,
                                                        .begin = tail_begin,
                                                        .ctx = t },
                                &e);
    if (topic->look && look_on(topic->look, tail_record, t, &e))
        return;
    look_close(topic->look);
    topic->look = NULL;
    if (clock_mono_ms() >= topic->again_ms && e.text[0]) {
        LOG(WARN, "a topic cannot be read for a live tail", LOG_C("topic", topic->name), LOG_C("reason", e.text));
        topic->again_ms = clock_mono_ms() + TAILS_AGAIN_MS;
    }
}

/* Frees tails that were closed; the first that is left. */
static struct tail *tails_sweep(struct tails *ts)
{
    for (struct tail **at = &ts->first, *t; (t = *at);) {
        if (!t->closed) {
            at = &t->next;
            continue;
        }
        *at = t->next;
        ts->count--;
        tail_free(t);
    }
    return ts->first;
}

static void *tails_main(void *ctx)
{
    struct tails *ts = ctx;
    pthread_mutex_lock(&ts->lock);
    while (!ts->stop) {
        struct tail *t = tails_sweep(ts);
        if (!t) {
            pthread_cond_wait(&ts->changed, &ts->lock);
            continue;
        }
        for (; t && !ts->stop; t = t->next) { /* nobody else takes one out */
            pthread_mutex_unlock(&ts->lock);
            for (size_t i = 0; i < t->topic_count; i++)
                tail_look(t, &t->topics[i]);
            pthread_mutex_lock(&ts->lock);
        }
        wake_up(ts->wake_fd);
        if (!ts->stop)
            thread_wait(&ts->changed, &ts->lock, thread_until((struct duration){ TAILS_LOOK_MS }));
    }
    pthread_mutex_unlock(&ts->lock);
    return NULL;
}

/* ---- the main thread: from queues to streams ---- */

/* Takes what waits, with a word about what was missed, or a sign of life. */
static void tail_take(struct tail *t)
{
    if (t->sending.n)
        return;
    buf_reset(&t->sending);
    pthread_mutex_lock(&t->of->lock);
    struct buf queue = t->queue;
    t->queue = t->sending;
    t->sending = queue;
    if (t->missed)
        buf_printf(&t->sending, "event: missed\ndata: {\"events\":%lld}\n\n", (long long)t->missed);
    t->missed = 0;
    pthread_mutex_unlock(&t->of->lock);
    if (t->sending.n == 0 && clock_mono_ms() - t->said_ms >= TAILS_COMMENT_MS)
        buf_add_c(&t->sending, ":\n\n");
    if (t->sending.n)
        t->said_ms = clock_mono_ms();
}

static void tail_write(struct tail *t)
{
    while (t->sending.n) {
        long n = http_stream_write(t->stream, t->sending.at, t->sending.n, true);
        if (n <= 0)
            return;
        buf_drop(&t->sending, (size_t)n);
    }
}

void tails_turn(struct tails *ts)
{
    struct tail *open[TAILS_MOST];
    size_t count = 0;
    wake_clear(ts->wake_fd);
    pthread_mutex_lock(&ts->lock);
    for (struct tail *t = ts->first; t && count < TAILS_MOST; t = t->next)
        if (!t->closed)
            open[count++] = t;
    pthread_mutex_unlock(&ts->lock);
    for (size_t i = 0; i < count; i++) {
        tail_take(open[i]);
        tail_write(open[i]);
    }
    metric_set(metric_get(&aqueduct_api_tails, NULL), (int64_t)count);
}

void tails_writable(struct http_stream *st)
{
    struct tail *t = http_stream_user(st);
    tail_write(t);
}

void tails_closed(struct http_stream *st)
{
    struct tail *t = http_stream_user(st);
    struct tails *ts = t->of;
    pthread_mutex_lock(&ts->lock);
    t->closed = true;
    t->stream = NULL;
    pthread_cond_signal(&ts->changed);
    pthread_mutex_unlock(&ts->lock);
}

/* ---- life ---- */

struct tails *tails_new(const struct broker_config *broker)
{
    struct tails *ts = mem_alloc(sizeof *ts);
    ts->broker = broker;
    ts->wake_fd = wake_new();
    pthread_mutex_init(&ts->lock, NULL);
    pthread_cond_init(&ts->changed, NULL);
    return ts;
}

void tails_stop(struct tails *ts)
{
    pthread_mutex_lock(&ts->lock);
    ts->stop = true;
    pthread_cond_signal(&ts->changed);
    pthread_mutex_unlock(&ts->lock);
    if (ts->runs)
        pthread_join(ts->thread, NULL);
    ts->runs = false;
}

void tails_free(struct tails *ts)
{
    if (!ts)
        return;
    tails_stop(ts);
    for (struct tail *t = ts->first, *next; t; t = next) {
        next = t->next;
        tail_free(t);
    }
    pthread_mutex_destroy(&ts->lock);
    pthread_cond_destroy(&ts->changed);
    close(ts->wake_fd);
    free(ts);
}

int tails_fd(const struct tails *ts)
{
    return ts->wake_fd;
}

/* May who asks open one more? */
static bool tails_has_room(struct tails *ts, const struct who *who)
{
    size_t all = 0, own = 0;
    pthread_mutex_lock(&ts->lock);
    for (const struct tail *t = ts->first; t; t = t->next) {
        all += !t->closed;
        own += !t->closed && t->who.via == who->via && strcmp(t->who.is.name, who->is.name) == 0;
    }
    pthread_mutex_unlock(&ts->lock);
    return all < TAILS_MOST && own < TAILS_OF_ONE && !ts->stop;
}

static struct tail *tail_new(struct tails *ts, const struct api_call *call, const struct tails_options *o)
{
    struct tail *t = mem_alloc(sizeof *t);
    *t = (struct tail){ .of = ts,
                        .who = call->ticket.who,
                        .filter = o->filter,
                        .since_ms = o->since_ms,
                        .topics = mem_alloc((o->topic_count + 1) * sizeof *t->topics),
                        .topic_count = o->topic_count,
                        .queue = buf_new(TAILS_QUEUE),
                        .sending = buf_new(TAILS_QUEUE),
                        .said_ms = clock_mono_ms() };
    for (size_t i = 0; i < o->topic_count; i++)
        t->topics[i].name = o->topics[i];
    free(o->topics);
    buf_add_c(&t->sending, ":\n\n"); /* the client sees at once that it is connected */
    return t;
}

static bool tails_begin(struct tails *ts)
{
    ts->runs = ts->runs || pthread_create(&ts->thread, NULL, tails_main, ts) == 0;
    return ts->runs;
}

void tails_open(struct tails *ts, struct api_call *call, struct tails_options *o)
{
    struct tail *t = tail_new(ts, call, o);
    if (!tails_has_room(ts, &t->who) || !tails_begin(ts)) {
        api_busy(&call->ticket);
        tail_free(t);
        return;
    }
    t->stream = api_stream(&call->ticket, call->request, "text/event-stream", t);
    if (!t->stream) {
        tail_free(t);
        return;
    }
    tail_write(t);
    pthread_mutex_lock(&ts->lock);
    t->next = ts->first;
    ts->first = t;
    ts->count++;
    pthread_cond_signal(&ts->changed);
    pthread_mutex_unlock(&ts->lock);
}
