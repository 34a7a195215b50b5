/* SPDX-License-Identifier: MIT */
/* Ordered sources: one batch at a time, published again until it is stored. */
#include "bridge/intake/private.h"
#include <stdlib.h>
#include "bridge/lib/crash.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

enum { BATCH_TAG = 0 }; /* there is one publication at a time */

void batch_free(struct batch *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < b->count; i++)
        event_unref(b->emissions[i].event);
    free(b->emissions);
    free(b->fate);
    free(b);
}

/* The broker said so. */
static bool batch_is_invalid(const struct batch *b, size_t i)
{
    return b->fate[i] == FATE_REFUSED || b->fate[i] == FATE_TOO_LARGE;
}

/* Turns one emission into its records; what no topic takes, and what is too large for one, into a dead letter. */
static size_t batch_route(struct intake *in, size_t i, struct routed *out, char when[CLOCK_TEXT])
{
    struct batch *b = in->batch;
    const struct event *ev = b->emissions[i].event;
    if (!ev)
        return 0;
    if (!b->emissions[i].refused)
        b->emissions[i].refused = event_is_reserved(ev);
    bool invalid = batch_is_invalid(b, i);
    if (invalid || b->emissions[i].refused) {
        routed_dead_letter(in, ev, when, "invalid", invalid ? b->why : b->emissions[i].refused, out);
        if (b->fate[i] == FATE_TOO_LARGE)
            out->records[0].value = STR_ABSENT;
        return 1;
    }
    routed_make(in, &b->emissions[i], out);
    if (out->count == 0) {
        b->fate[i] = FATE_UNROUTED;
        if (!router_drops(in->router))
            routed_dead_letter(in, ev, when, "unrouted", "no route takes this event", out);
    }
    return out->count;
}

/* Publishes the emissions from..to of the batch with their changes, as one unit. */
void batch_publish(struct intake *in)
{
    struct batch *b = in->batch;
    size_t count = b->to - b->from, change_count = 0, record_count = 0;
    struct routed *routed = mem_alloc((count + 1) * sizeof *routed);
    struct record *records = mem_alloc((count + 1) * ROUTE_TARGETS * sizeof *records);
    char(*when)[CLOCK_TEXT] = mem_alloc((count + 1) * sizeof *when);
    for (size_t i = 0; i < count; i++) {
        size_t n = batch_route(in, b->from + i, &routed[i], when[i]);
        if (n)
            routed_log(in, b->emissions[b->from + i].event, &routed[i]);
        memcpy(records + record_count, routed[i].records, n * sizeof *records);
        record_count += n;
        change_count += b->emissions[b->from + i].change_count;
    }
    struct change *changes = mem_alloc((change_count + 1) * sizeof *changes), *end = changes;
    for (size_t i = b->from; i < b->to; i++) { /* borrowed until the next read(), which waits for this batch */
        for (size_t k = 0; k < b->emissions[i].change_count; k++)
            *end++ = b->emissions[i].changes[k];
    }
    b->published = true;
    routed_publish(in,
                   (struct publication){ .records = records,
                                         .record_count = record_count,
                                         .changes = changes,
                                         .change_count = change_count,
                                         .exactly_once = in->exactly_once },
                   BATCH_TAG);
    for (size_t i = 0; i < count; i++)
        routed_free(&routed[i]);
    free(changes);
    free(when);
    free(records);
    free(routed);
}

void batch_take(struct intake *in, const struct emission *emissions, size_t count)
{
    struct batch *b = mem_alloc(sizeof *b);
    b->emissions = memcpy(mem_alloc(count * sizeof *emissions), emissions, count * sizeof *emissions);
    b->fate = mem_alloc(count * sizeof *b->fate);
    b->count = b->to = count;
    in->batch = b;
    if (span_on())
        b->began_us = clock_wall_us();
    batch_publish(in);
}

/* The batch stays; it is published again after a wait. */
static void batch_again(struct intake *in, const char *why)
{
    if (in->backoff_ms == 0)
        LOG(WARN, "the broker did not take a batch; it is published again until it does", LOG_C("source", in->s->id),
            LOG_C("reason", why));
    metric_add(in->count.retries, 1);
    settle_back_off(in);
}

/* Something in from..to can never be stored: then one by one, and the one that it is becomes a dead letter; without its
 * data when no dead letter can hold that either. */
static void batch_narrow(struct intake *in, const char *why)
{
    struct batch *b = in->batch;
    if (b->to - b->from > 1)
        b->to = b->from + 1;
    else if (b->fate[b->from] == FATE_TOO_LARGE || !b->emissions[b->from].event)
        batch_again(in, why);
    else {
        const struct event *ev = b->emissions[b->from].event;
        bool first = b->fate[b->from] != FATE_REFUSED;
        LOG(ERROR,
            first ? "an event can never be stored; it becomes a dead letter"
                  : "an event can never be stored; its dead letter is stored without its data",
            LOG_C("source", in->s->id), LOG_STR("event", ev->id), LOG_STR("type", ev->type), LOG_C("reason", why));
        b->fate[b->from] = first ? FATE_REFUSED : FATE_TOO_LARGE;
        if (first)
            why_copy(b->why, why);
    }
}

/* Settles from..to; the rest of the batch, if any, goes on one by one. */
static void batch_settle(struct intake *in)
{
    struct batch *b = in->batch;
    for (size_t i = b->from; i < b->to; i++) {
        const struct emission *em = &b->emissions[i];
        if (!em->event)
            in->s->ops->settle(in->s, em->tag, OUTCOME_STORED, "");
        else if (b->fate[i] == FATE_UNROUTED)
            settle_unrouted(in, em->tag, em->event);
        else {
            enum outcome o = em->refused || batch_is_invalid(b, i) ? OUTCOME_INVALID : OUTCOME_STORED;
            if (span_on())
                settle_trace(in, em->event, b->began_us, o, "");
            settle_event(in, em->tag, em->event, o, "");
        }
    }
    b->from = b->to;
    b->to = b->from + 1; /* only ever used after batch_narrow */
    if (b->from < b->count)
        return;
    in->batch = NULL;
    batch_free(b);
}

/* Not now; or never here, where somebody else publishes for the source: what it read is told there. */
static void batch_unstored(struct intake *in, const char *why)
{
    struct err lost;
    if (!in->exactly_once || broker_claimed(in->broker, in->s->id, &lost)) {
        batch_again(in, why);
        return;
    }
    for (size_t i = in->batch->from; i < in->batch->count; i++)
        metric_add(in->count.pending, in->batch->emissions[i].event ? -1 : 0);
    batch_free(in->batch);
    in->batch = NULL;
    intake_lose(in, &lost);
}

void batch_done(struct intake *in, enum outcome o, const char *why)
{
    in->batch->published = false;
    switch (o) {
    case OUTCOME_STORED:
        in->backoff_ms = 0;
        crash_point("intake-before-settle");
        batch_settle(in);
        return;
    case OUTCOME_INVALID:
    case OUTCOME_CONFLICT: /* no broker says so */ batch_narrow(in, why); return;
    case OUTCOME_UNAVAILABLE: batch_unstored(in, why); return;
    }
}
