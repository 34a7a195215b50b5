/* SPDX-License-Identifier: MIT */
/* Prints what would be published. */
#include "bridge/dry.h"
#include <pthread.h>
#include <stdlib.h>
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

enum { DRY_LINE = 2 * EVENT_DATA_BYTES };

struct dry_topic {
    char *name;
    int64_t events;
};

struct dry {
    struct broker base;
    const struct config *config;
    pthread_mutex_t lock; /* of all that follows, and of standard output */
    struct dry_topic *topics;
    size_t topic_count;
    bool broken; /* standard output takes no more */
};

static void dry_count(struct dry *d, struct str topic)
{
    for (size_t i = 0; i < d->topic_count; i++)
        if (str_eq(str_of(d->topics[i].name), topic)) {
            d->topics[i].events++;
            return;
        }
    d->topics = mem_grow(d->topics, d->topic_count + 1, sizeof *d->topics);
    d->topics[d->topic_count++] = (struct dry_topic){ str_dup(topic), 1 };
}

/* On one line: a line break in JSON is never part of a text. */
static void dry_print(struct dry *d, const struct event *ev)
{
    struct buf line = buf_new(DRY_LINE);
    event_to_json(ev, &line);
    for (size_t i = 0; i < line.n; i++)
        if (line.at[i] == '\n' || line.at[i] == '\r')
            line.at[i] = ' ';
    buf_add_char(&line, '\n');
    d->broken = d->broken || fwrite(line.at, 1, line.n, stdout) != line.n || fflush(stdout) != 0;
    buf_free(&line);
}

/* Prints the event of a record, unless `last` is the same one for another topic; returns it, to be given back. */
static const struct event *dry_take(struct dry *d, const struct record *r, const struct event *last)
{
    struct err e;
    const struct event *ev = event_from_record(r, &e);
    dry_count(d, r->topic);
    if (ev && !(last && str_eq(ev->id, last->id) && str_eq(ev->source, last->source)))
        dry_print(d, ev);
    event_unref(last);
    return ev;
}

static bool dry_is_ordered(const struct config *c, const char *source)
{
    for (size_t i = 0; i < c->source_count; i++)
        if (source && strcmp(c->sources[i].source->id, source) == 0)
            return c->sources[i].source->ops->ordered;
    return false;
}

static void dry_publish(struct broker *base, const struct publication *p)
{
    struct dry *d = (struct dry *)base;
    const struct event *last = NULL;
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < p->record_count; i++)
        last = dry_take(d, &p->records[i], last);
    bool stored = dry_is_ordered(d->config, p->state_of) && !d->broken;
    pthread_mutex_unlock(&d->lock);
    event_unref(last);
    p->done(p->ctx, p->tag, stored ? OUTCOME_STORED : OUTCOME_UNAVAILABLE, stored ? "" : "a dry run stores nothing");
}

static bool dry_failed(struct broker *base)
{
    struct dry *d = (struct dry *)base;
    pthread_mutex_lock(&d->lock);
    bool broken = d->broken;
    pthread_mutex_unlock(&d->lock);
    return broken;
}

static bool dry_ready(struct broker *base, struct err *why)
{
    return !dry_failed(base) || err_set(why, "standard output takes no more");
}

static void dry_close(struct broker *base)
{
    struct dry *d = (struct dry *)base;
    for (size_t i = 0; i < d->topic_count; i++) {
        LOG(INFO, "a dry run: so many events would have been published", LOG_C("topic", d->topics[i].name),
            LOG_INT("events", d->topics[i].events));
        free(d->topics[i].name);
    }
    if (!d->topic_count)
        LOG(INFO, "a dry run: no event would have been published", LOG_INT("sources", d->config->source_count));
    free(d->topics);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

/* ---- what needs nothing ---- */

static bool dry_topic(struct broker *b, const struct topic_config *topic, struct err *e)
{
    (void)b, (void)topic, (void)e;
    return true;
}

static int32_t dry_partitions(struct broker *b, const char *topic)
{
    (void)b, (void)topic;
    return 1;
}

static bool dry_flush(struct broker *b, struct duration limit)
{
    (void)b, (void)limit;
    return true;
}

static bool dry_state(struct broker *b, const char *source,
                      bool (*each)(void *, struct str, struct str, bool, struct err *), void *ctx, struct err *e)
{
    (void)b, (void)source, (void)each, (void)ctx, (void)e;
    return true;
}

static bool dry_tail(struct broker *b, const char *topic, const struct tail_options *o,
                     void (*each)(void *, const struct record *), void *ctx, struct err *e)
{
    (void)b, (void)topic, (void)o, (void)each, (void)ctx, (void)e;
    return true;
}

static const struct broker_ops dry_ops = { .type = "dry",
                                           .doc = "Prints events instead of storing them.",
                                           .topic = dry_topic,
                                           .partitions = dry_partitions,
                                           .publish = dry_publish,
                                           .flush = dry_flush,
                                           .ready = dry_ready,
                                           .failed = dry_failed,
                                           .state = dry_state,
                                           .tail = dry_tail,
                                           .close = dry_close };

struct broker *dry_open(const struct config *c)
{
    struct dry *d = mem_alloc(sizeof *d);
    d->base.ops = &dry_ops;
    d->config = c;
    pthread_mutex_init(&d->lock, NULL);
    return &d->base;
}

struct config dry_config(const struct config *c)
{
    static char nothing[] = "", memory[] = ":memory:";
    struct config dry = *c;
    dry.sink_count = 0;
    while (dry.source_count && dry.sources[dry.source_count - 1].source->sink) /* they stand behind the others */
        dry.source_count--;
    dry.admin.listen = nothing;
    dry.broker.type = BROKER_LOCAL; /* what it is taken for: one that has no folder and is never away */
    dry.broker.path = memory;
    return dry;
}
