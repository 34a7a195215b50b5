/* SPDX-License-Identifier: MIT */
/* Opens, starts and ends engines. */
#include "bridge/engines.h"
#include "bridge/delivery/roster.h"
#include "bridge/delivery/waiter.h"
#include "bridge/intake/intake.h"

static bool engines_open_sink(struct engines *en, const struct sink_config *c, struct err *e)
{
    struct delivery *d = delivery_new(c, en->names, en->broker, e);
    if (!d)
        return false;
    worker_add(&en->workers, &engine_delivery, d, c->sink->id);
    if (delivery_waits(c))
        waiter_serve(en->waiter, c, d);
    for (int64_t n = 1; n < c->threads; n++) {
        struct delivery *copy = delivery_copy(d, en->names, e);
        if (!copy)
            return false;
        worker_add(&en->workers, &engine_delivery, copy, c->sink->id);
    }
    return !en->roster || !c->many || roster_begin(en->roster, c, d, e);
}

static bool engines_open_source(struct engines *en, const struct source_config *c, const struct config *config,
                                const struct router *router, struct err *e)
{
    struct intake *in = intake_new(c, config, en->broker, router, e);
    for (int64_t n = 1; in; n++) {
        worker_add(&en->workers, &engine_intake, in, c->source->id);
        if (n >= c->threads)
            return true;
        in = intake_copy(in, e);
    }
    return false;
}

bool engines_open(struct engines *en, const struct config *c, const struct router *router, struct err *e)
{
    en->waiter = waiter_new(en->names, en->broker);
    worker_add(&en->workers, &engine_waiter, en->waiter, "waiter");
    waiter_look_around(en->waiter, c); /* without any sink that is all it does */
    for (size_t i = 0; i < c->sink_count; i++)
        if (!engines_open_sink(en, &c->sinks[i], e))
            return false;
    if (waiter_serves(en->waiter) > 0 && !waiter_open(en->waiter, e))
        return false;
    for (size_t i = 0; i < c->source_count; i++)
        if (!engines_open_source(en, &c->sources[i], c, router, e))
            return false;
    return true;
}

bool engines_start(struct engines *en, struct err *e)
{
    if (!workers_start(&en->workers, NULL, NULL, e))
        return false;
    if (en->roster)
        roster_start(en->roster);
    return true;
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
}
