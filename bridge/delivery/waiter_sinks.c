/* SPDX-License-Identifier: MIT */
/* The waiter begins, and the sinks that it serves come and go, while it runs as errands from other threads. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include "bridge/delivery/waiter_private.h"
#include "bridge/lib/mem.h"

extern struct metric_family aqueduct_sink_waiting;

enum {
    WAITER_REVOKE_MS = 2000, /* how long a partition's hand-over may wait for the sinks */
    WAITER_REVOKE_TURN_MS = 20,
};

static struct waiter_sink *waiter_sink_named(const struct waiter *w, const char *name)
{
    for (size_t i = 0; i < w->sink_count; i++)
        if (strcmp(w->sinks[i]->config->sink->id, name) == 0)
            return w->sinks[i];
    return NULL;
}

void waiter_serve(struct waiter *w, const struct sink_config *sink, struct delivery *d)
{
    struct waiter_sink *s = waiter_sink_named(w, sink->sink->id);
    if (!s) {
        s = mem_alloc(sizeof *s);
        s->waiting = metric_get(&aqueduct_sink_waiting, LABELS(sink->sink->id));
        metric_set(s->waiting, 0);
        w->sinks = mem_grow(w->sinks, w->sink_count + 1, sizeof(struct waiter_sink *));
        w->sinks[w->sink_count++] = s;
    }
    s->config = sink;
    s->delivery = d;
    s->room = sink->window > 1 ? (size_t)sink->window / 2 : 1;
    w->offers = true;
}

void waiter_look_around(struct waiter *w, const struct config *config)
{
    register_free(w->groups);
    w->groups = register_new(config);
}

size_t waiter_serves(const struct waiter *w)
{
    return w->sink_count;
}

/* ---- it begins ---- */

/* Waits a moment until the sinks gave back what they do not send just now, and finished the rest. */
static void waiter_recall(struct waiter *w)
{
    int64_t limit = clock_mono_ms() + WAITER_REVOKE_MS;
    w->recalling = true;
    while (!w->closing && w->shelf.handed + w->shelf.storing > 0 && clock_mono_ms() < limit
           && !atomic_load(&w->abandoned)) {
        for (size_t i = 0; i < w->sink_count; i++)
            if (w->sinks[i]->delivery)
                delivery_recall(w->sinks[i]->delivery);
        wake_clear(w->wake_fd);
        waiter_take_stored(w);
        waiter_take_reports(w);
        poll(&(struct pollfd){ .fd = w->wake_fd, .events = POLLIN }, 1, WAITER_REVOKE_TURN_MS);
    }
    w->recalling = false;
}

/* Partitions are taken away. When it is not all of them, their topic is gone: nothing can be finished there any more, and
 * what the sinks have of the others stays with them. */
static void waiter_revoked(void *ctx, const struct topic_partition *partitions, size_t count)
{
    struct waiter *w = ctx;
    bool all = true;
    for (const struct shelf_partition *p = w->shelf.partitions; p; p = p->next)
        all = all && shelf_is_among(p, partitions, count);
    if (all)
        waiter_recall(w);
    shelf_commit(&w->shelf, true);
    for (struct shelf_partition *p = w->shelf.partitions, *next; p; p = next) {
        next = p->next;
        if (!shelf_is_among(p, partitions, count))
            continue;
        if (p->orphaned)
            orphans_forget(&w->orphans);
        shelf_forget(&w->shelf, p, waiter_lost);
    }
    waiter_survey_again(w);
}

bool waiter_open(struct waiter *w, struct err *e)
{
    const char *topics[LADDER_STEPS + 1] = { w->ladder.orphaned };
    for (size_t i = 0; i < LADDER_STEPS; i++)
        topics[i + 1] = w->ladder.topics[i];
    w->consumer = consumer_open(w->broker,
                                &(struct consumer_options){ .group = w->group,
                                                            .topics = topics,
                                                            .topic_count = LADDER_STEPS + 1,
                                                            .from_start = true,
                                                            .wake_fd = w->wake_fd,
                                                            .revoked = waiter_revoked,
                                                            .ctx = w },
                                e);
    w->shelf.consumer = w->consumer;
    return w->consumer || err_prefix(e, "the waiting topics");
}

/* ---- while it runs ---- */

struct waiter_errand {
    struct waiter *w;
    const struct sink_config *sink;
    struct delivery *d;
    const char *name;
    const struct config *config;
};

static bool waiter_do_hold(void *ctx, struct err *e)
{
    const struct waiter_errand *o = ctx;
    struct waiter_sink *s = waiter_sink_named(o->w, o->name);
    (void)e;
    if (s && s->delivery) {
        s->held = s->delivery;
        s->delivery = NULL;
    }
    return true;
}

/* Reads the orphans once more, from the first that was left. */
static void waiter_reread_orphans(struct waiter *w)
{
    for (struct shelf_partition *p = w->shelf.partitions; p; p = p->next) {
        int64_t first = p->orphaned ? watermark_first_open(&p->done) : -1;
        if (first < 0)
            continue;
        p->again = p->newest + 1;
        consumer_seek(w->consumer, p->where, first);
    }
}

/* A sink that is held has nothing more: what an abandoned delivery did not give back is here as well. */
static void waiter_reclaim(struct waiter *w, struct waiter_sink *s)
{
    waiter_take_reports(w);
    for (size_t i = 0; i < w->shelf.entry_cap; i++) {
        struct shelved *en = w->shelf.entries[i];
        if (en->state == SHELF_HANDED && en->sink == s)
            waiter_back(w, en);
    }
    s->out = 0;
}

static bool waiter_do_serve(void *ctx, struct err *e)
{
    const struct waiter_errand *o = ctx;
    struct waiter_sink *known = waiter_sink_named(o->w, o->sink->sink->id);
    if (!o->w->consumer && !waiter_open(o->w, e))
        return false;
    if (known && !known->delivery && known->held != o->d)
        waiter_reclaim(o->w, known);
    waiter_serve(o->w, o->sink, o->d);
    if (known)
        return true;
    waiter_reread_orphans(o->w);
    o->w->again = true;
    return true;
}

/* What it has of the sink in memory is an orphan, or that of another one, which took the sink's name over. */
static bool waiter_do_dismiss(void *ctx, struct err *e)
{
    const struct waiter_errand *o = ctx;
    struct waiter *w = o->w;
    struct waiter_sink *s = waiter_sink_named(w, o->name);
    (void)e;
    if (!s)
        return true;
    waiter_reclaim(w, s);
    metric_set(s->waiting, 0);
    size_t i = 0;
    while (w->sinks[i] != s)
        i++;
    w->sinks[i] = w->sinks[--w->sink_count];
    for (size_t k = 0; k < w->shelf.entry_cap; k++) {
        struct shelved *en = w->shelf.entries[k];
        if (en->state == SHELF_FREE || en->sink != s)
            continue;
        en->sink = waiter_sink(w, record_header(en->record, TRAIL_SINK));
        if (en->sink)
            metric_add(en->sink->waiting, 1);
        if (en->state == SHELF_PARKED)
            waiter_look(w, en);
    }
    free(s);
    return true;
}

static bool waiter_do_look_around(void *ctx, struct err *e)
{
    const struct waiter_errand *o = ctx;
    (void)e;
    waiter_look_around(o->w, o->config);
    return true;
}

bool waiter_hold(struct waiter *w, const char *sink, struct timespec until, struct err *e)
{
    return errand_run(w->errand, waiter_do_hold, &(struct waiter_errand){ .w = w, .name = sink }, until, e)
           || err_prefix(e, "the waiting topics");
}

bool waiter_serve_now(struct waiter *w, const struct sink_config *sink, struct delivery *d, struct timespec until,
                      struct err *e)
{
    return errand_run(w->errand, waiter_do_serve, &(struct waiter_errand){ .w = w, .sink = sink, .d = d }, until, e)
           || err_prefix(e, "the waiting topics");
}

bool waiter_dismiss(struct waiter *w, const char *sink, struct timespec until, struct err *e)
{
    return errand_run(w->errand, waiter_do_dismiss, &(struct waiter_errand){ .w = w, .name = sink }, until, e)
           || err_prefix(e, "the waiting topics");
}

bool waiter_look_around_now(struct waiter *w, const struct config *config, struct timespec until, struct err *e)
{
    return errand_run(w->errand, waiter_do_look_around, &(struct waiter_errand){ .w = w, .config = config }, until, e)
           || err_prefix(e, "the waiting topics");
}
