/* SPDX-License-Identifier: MIT */
/* Opens, starts and ends engines. */
#include "bridge/engines.h"
#include "bridge/delivery/roster.h"
#include "bridge/delivery/waiter.h"
#include "bridge/intake/intake.h"
#include "bridge/lib/log.h"
#include "bridge/lib/thread.h"

enum {
    ENGINES_PATIENCE_MS = 10000, /* for a turn of the waiter's thread, which may ask a cluster or count what waits */
    ENGINES_DESCRIPTORS = 16, /* files and wake-ups of one source or sink, or of the waiter; connections come on top */
};

static struct timespec engines_until(void)
{
    return thread_until((struct duration){ ENGINES_PATIENCE_MS });
}

static bool engines_serve(struct engines *en, const struct sink_config *c, struct delivery *d, struct err *e)
{
    if (!delivery_waits(c))
        return true;
    if (en->run)
        return waiter_serve_now(en->waiter, c, d, engines_until(), e);
    waiter_serve(en->waiter, c, d);
    return true;
}

/* Its further threads. */
static bool engines_copy(struct engines *en, const struct sink_config *c, struct delivery *of, struct err *e)
{
    for (int64_t n = 1; n < c->threads; n++) {
        struct delivery *d = delivery_copy(of, en->names, e);
        if (!d)
            return false;
        worker_add(&en->workers, &engine_delivery, d, c->sink->id);
    }
    return true;
}

bool engines_open_sink(struct engines *en, const struct sink_config *c, struct err *e)
{
    struct delivery *d = delivery_new(c, en->names, en->broker, e);
    if (!d)
        return false;
    worker_add(&en->workers, &engine_delivery, d, c->sink->id);
    bool begun = engines_copy(en, c, d, e) && engines_serve(en, c, d, e)
                 && (!en->roster || !c->many || roster_begin(en->roster, c, d, e));
    if (!begun)
        engines_end(en, &engine_delivery, c->sink->id);
    return begun;
}

static bool engines_claim(struct engines *en, const struct source_config *c, struct err *e)
{
    return c->delivery != EXACTLY_ONCE || broker_claim(en->broker, c->source->id, e);
}

bool engines_open_source(struct engines *en, const struct source_config *c, struct routing *routing, struct err *e)
{
    if (en->run && !engines_claim(en, c, e))
        return false;
    /* A broker that may be away: all that the source has is read while the start can be tried again. */
    bool whole = en->run || broker_facts(en->names).may_be_away;
    struct intake *in = intake_new(c, en->names, en->broker, routing, whole, e);
    for (int64_t n = 1; in; n++) {
        worker_add(&en->workers, &engine_intake, in, c->source->id);
        if (n >= c->threads)
            return true;
        in = intake_copy(in, e);
    }
    engines_end(en, &engine_intake, c->source->id);
    return false;
}

bool engines_open(struct engines *en, const struct config *c, struct routing *routing, struct err *e)
{
    /* First: what a daemon that died left open of one keeps everybody from what was stored behind it. */
    for (size_t i = 0; i < c->source_count; i++)
        if (!engines_claim(en, &c->sources[i], e))
            return false;
    en->waiter = waiter_new(en->names, en->broker);
    worker_add(&en->workers, &engine_waiter, en->waiter, "waiter");
    waiter_look_around(en->waiter, c); /* without any sink that is all it does */
    for (size_t i = 0; i < c->sink_count; i++)
        if (!engines_open_sink(en, &c->sinks[i], e))
            return false;
    if (waiter_serves(en->waiter) > 0 && !waiter_open(en->waiter, e))
        return false;
    for (size_t i = 0; i < c->source_count; i++)
        if (!engines_open_source(en, &c->sources[i], routing, e))
            return false;
    return true;
}

bool engines_start(struct engines *en, struct err *e)
{
    bool started = workers_start(&en->workers, NULL, NULL, e);
    en->run = en->run || started;
    if (started && en->roster)
        roster_start(en->roster);
    return started;
}

void engines_stop(struct engines *en, int64_t end_ms)
{
    roster_stop(en->roster);
    workers_stop(&en->workers, &engine_intake, NULL, end_ms);
    workers_stop(&en->workers, &engine_delivery, NULL, end_ms);
    workers_stop(&en->workers, &engine_waiter, NULL, end_ms);
}

void engines_close(struct engines *en)
{
    workers_close(&en->workers, NULL, NULL);
}

void engines_free(struct engines *en)
{
    if (en->roster)
        roster_forget(en->roster);
    workers_free(&en->workers);
    en->waiter = NULL;
    en->run = false;
}

int64_t engines_descriptors(const struct config *c)
{
    int64_t threads = 1;
    for (size_t i = 0; i < c->sink_count; i++)
        threads += c->sinks[i].threads;
    for (size_t i = 0; i < c->source_count; i++)
        threads += c->sources[i].threads;
    return threads * ENGINES_DESCRIPTORS;
}

/* ---- one by one ---- */

static void engines_count(void *ctx, void *engine)
{
    (void)engine;
    ++*(size_t *)ctx;
}

bool engines_have(const struct engines *en, const struct engine_ops *ops, const char *id)
{
    size_t count = 0;
    workers_each(&en->workers, ops, id, engines_count, &count);
    return count > 0;
}

static void engines_take_delivery(void *ctx, void *engine)
{
    *(struct delivery **)ctx = engine;
}

struct delivery *engines_delivery(const struct engines *en, const char *sink)
{
    struct delivery *d = NULL;
    workers_each(&en->workers, &engine_delivery, sink, engines_take_delivery, &d);
    return d;
}

/* Endpoints that were made at run time do not come to the sink any more. */
static void engines_leave(struct engines *en, const char *sink)
{
    struct delivery *d = engines_delivery(en, sink);
    if (en->roster && d)
        roster_leave(en->roster, d);
}

bool engines_hold_some(struct engines *en, bool (*is)(void *ctx, const char *id), void *ctx, struct err *e)
{
    const struct engine_ops *ops = &engine_delivery;
    for (const char *id = workers_next(&en->workers, ops, NULL); id; id = workers_next(&en->workers, ops, id))
        if (is(ctx, id) && !waiter_hold(en->waiter, id, engines_until(), e))
            return false;
    return true;
}

void engines_stop_some(struct engines *en, const struct engine_ops *ops, bool (*is)(void *ctx, const char *id),
                       void *ctx, int64_t end_ms)
{
    for (const char *id = workers_next(&en->workers, ops, NULL); id; id = workers_next(&en->workers, ops, id))
        if (ops == &engine_delivery && is(ctx, id))
            engines_leave(en, id);
    for (const char *id = workers_next(&en->workers, ops, NULL); id; id = workers_next(&en->workers, ops, id))
        if (is(ctx, id))
            workers_tell(&en->workers, ops, id, end_ms);
    for (const char *id = workers_next(&en->workers, ops, NULL); id; id = workers_next(&en->workers, ops, id))
        if (is(ctx, id))
            workers_stop(&en->workers, ops, id, end_ms);
}

/* There is no way back: until the waiter has done it. */
static void engines_insist(bool done, const char *what, const struct err *e)
{
    if (!done)
        LOG(WARN, "the waiter is busy; trying again", LOG_C("for", what), LOG_C("reason", e->text));
}

void engines_end(struct engines *en, const struct engine_ops *ops, const char *id)
{
    struct err e = { "" };
    for (bool done = ops != &engine_delivery || !en->run; !done; engines_insist(done, id, &e))
        done = waiter_hold(en->waiter, id, engines_until(), &e);
    if (ops == &engine_delivery)
        engines_leave(en, id);
    workers_close(&en->workers, ops, id);
    workers_drop(&en->workers, ops, id);
}

void engines_dismiss(struct engines *en, const char *sink)
{
    struct err e = { "" };
    for (bool done = false; !done; engines_insist(done, sink, &e))
        done = waiter_dismiss(en->waiter, sink, engines_until(), &e);
}

void engines_serve_again(struct engines *en, const struct sink_config *c)
{
    struct err e = { "" };
    struct delivery *d = engines_delivery(en, c->sink->id);
    for (bool done = !d; !done; engines_insist(done, c->sink->id, &e))
        done = engines_serve(en, c, d, &e);
}

void engines_look_around(struct engines *en, const struct config *c)
{
    struct err e = { "" };
    for (bool done = false; !done; engines_insist(done, "what nobody reads", &e))
        done = waiter_look_around_now(en->waiter, c, engines_until(), &e);
}
