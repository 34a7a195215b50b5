/* SPDX-License-Identifier: MIT */
/* What the source is told and how it is counted; how long it waits after a failure. */
#include "bridge/intake/private.h"
#include "bridge/lib/log.h"

enum { BACKOFF_FIRST_MS = 100, BACKOFF_MOST_MS = 5000 };

/* A line of the way of one event, in the debug log: what became of it. */
static void settle_log(const struct intake *in, const struct event *ev, const char *what, const char *why)
{
    if (ev && log_shows(LOG_DEBUG))
        LOG(DEBUG, what, LOG_C("source", in->s->id), LOG_STR("event", ev->id), LOG_STR("event_source", ev->source),
            LOG_SOME("why", why && *why ? why : NULL));
}

void settle_event(struct intake *in, uint64_t tag, const struct event *ev, enum outcome o, const char *why)
{
    settle_log(in, ev, o == OUTCOME_STORED ? "stored" : "not stored", why);
    metric_add(in->count.pending, -1);
    switch (o) {
    case OUTCOME_STORED: metric_add(in->count.stored, 1); break;
    case OUTCOME_INVALID: metric_add(in->count.invalid, 1); break;
    case OUTCOME_CONFLICT: metric_add(in->count.conflict, 1); break;
    case OUTCOME_UNAVAILABLE: metric_add(in->count.unavailable, 1); break;
    }
    in->s->ops->settle(in->s, tag, o, why);
}

void settle_trace(const struct intake *in, const struct event *ev, int64_t began_us, enum outcome o, const char *why)
{
    struct span_root root;
    if (!span_root_of(ev, &root))
        return;
    struct span span = { .name = in->s->ops->ordered ? "capture" : "receive",
                         .kind = in->s->ops->ordered ? SPAN_CONSUMER : SPAN_SERVER,
                         .id = root.received,
                         .parent = root.parent,
                         .began_us = began_us,
                         .ended_us = clock_wall_us(),
                         .failed = o == OUTCOME_STORED ? NULL
                                   : why && *why       ? why
                                                       : "it can never be stored as it is",
                         .attributes = { { .name = "aqueduct.source", .text = str_of(in->s->id) } } };
    span_add(&root, &span);
    if (o != OUTCOME_STORED)
        return;
    span.name = "publish";
    span.kind = SPAN_PRODUCER;
    span.parent = span.id;
    span.id = root.published;
    span_add(&root, &span);
}

void settle_unrouted(struct intake *in, uint64_t tag, const struct event *ev)
{
    settle_log(in, ev, router_drops(in->router) ? "dropped" : "not stored", "no route takes this event");
    metric_add(in->count.pending, -1);
    metric_add(router_drops(in->router) ? in->count.dropped : in->count.unrouted, 1);
    in->s->ops->settle(in->s, tag, router_drops(in->router) ? OUTCOME_STORED : OUTCOME_INVALID,
                       "no route takes this event");
}

void settle_forgotten(struct intake *in)
{
    int64_t needed;
    uint64_t forgotten = seen_crowded(in->shared->seen, &needed);
    if (forgotten == 0)
        return;
    metric_add(in->count.forgotten, (int64_t)forgotten);
    const struct source_config *c = in->shared->source;
    if (!in->shared->crowded)
        LOG(WARN,
            "dedupe_size is too small for dedupe_window: ids are forgotten early, and an event that is sent again after "
            "that is stored again",
            LOG_C("source", in->s->id), LOG_INT("dedupe_size", c->dedupe_size), LOG_INT("needed_at_this_rate", needed),
            LOG_INT("dedupe_window_s", c->dedupe_window.ms / 1000));
    in->shared->crowded = true;
}

void settle_back_off(struct intake *in)
{
    in->backoff_ms = in->backoff_ms ? in->backoff_ms * 2 : BACKOFF_FIRST_MS;
    if (in->backoff_ms > BACKOFF_MOST_MS)
        in->backoff_ms = BACKOFF_MOST_MS;
    in->not_before_ms = clock_mono_ms() + in->backoff_ms;
}
