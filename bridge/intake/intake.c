/* SPDX-License-Identifier: MIT */
/* Runs one source: read, route, publish, settle. */
#include "bridge/intake/intake.h"
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/lib/crash.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "bridge/intake/seen.h"
#include "bridge/event/trail.h"

METRIC_COUNTER(aqueduct_source_received_total, "Events read from a source.", "source");
METRIC_COUNTER(aqueduct_source_stored_total, "Events acknowledged: the broker has them.", "source");
METRIC_COUNTER(aqueduct_source_repeats_total, "Stored events that were stored before: not published again.", "source");
METRIC_COUNTER(aqueduct_source_retries_total, "Batches published again because the broker did not take them.",
               "source");
METRIC_GAUGE(aqueduct_source_pending, "Events read and not settled yet.", "source");
METRIC_COUNTER(aqueduct_source_refused_total, "Events not stored, by reason.", "source", "reason");

enum {
    ROUND = 256,   /* emissions taken in one turn */
    BATCH_TAG = 0, /* an ordered source has one publication at a time */
    BACKOFF_FIRST_MS = 100,
    BACKOFF_MOST_MS = 5000,
    DEAD_HEADERS = EVENT_HEADERS + 6, /* and so room for TRAIL_FROM */
};

struct slot { /* an emission between read() and settle() */
    uint64_t tag;
    int32_t next;    /* free list, or the next repeat that waits for the same event */
    bool remembered; /* it is pending in the memory */
    bool conflicts;  /* it waits for another event under the same id */
};

struct counters {
    struct metric *received, *stored, *repeats, *invalid, *conflict, *unavailable, *unrouted, *dropped, *retries,
        *pending;
};

struct intake {
    struct source *s;
    struct broker *broker;
    const struct router *router;
    struct seen *seen; /* NULL: no dedupe */
    bool unscoped;     /* it knows records without a scope */
    char *dead_letter_topic;
    bool drop_unrouted;
    int wake_fd;
    struct mailbox done; /* notices of the broker */
    atomic_bool stopping, abandoned;
    bool open;

    struct slot *slots; /* unordered: in_flight of them */
    int32_t free;
    size_t used, room;

    struct batch *batch; /* ordered: the batch on its way */
    int64_t backoff_ms;  /* 0: the last read or publish went well */
    int64_t not_before_ms;
    struct counters count;
};

/* What an ordered source emitted in one read, kept until the broker has all of it. */
struct batch {
    struct emission emissions[ROUND];
    enum fate { FATE_STORED, FATE_UNROUTED, FATE_TOO_LARGE } fate[ROUND];
    size_t count;
    size_t from, to; /* what is published together: all of it, or one by one when something in it is too large */
    bool published;
    char why[WHY_BYTES]; /* FATE_TOO_LARGE: what the broker said */
};

/* ---- start and end ---- */

static void count_open(struct intake *in)
{
    const char *const *id = LABELS(in->s->id);
    struct counters *c = &in->count;
    c->received = metric_get(&aqueduct_source_received_total, id);
    c->stored = metric_get(&aqueduct_source_stored_total, id);
    c->repeats = metric_get(&aqueduct_source_repeats_total, id);
    c->retries = metric_get(&aqueduct_source_retries_total, id);
    c->pending = metric_get(&aqueduct_source_pending, id);
    c->invalid = metric_get(&aqueduct_source_refused_total, LABELS(in->s->id, "invalid"));
    c->conflict = metric_get(&aqueduct_source_refused_total, LABELS(in->s->id, "conflict"));
    c->unavailable = metric_get(&aqueduct_source_refused_total, LABELS(in->s->id, "unavailable"));
    c->unrouted = metric_get(&aqueduct_source_refused_total, LABELS(in->s->id, "unrouted"));
    c->dropped = metric_get(&aqueduct_source_refused_total, LABELS(in->s->id, "dropped"));
}

static bool restore_one(void *ctx, struct str key, struct str value, bool ahead, struct err *e)
{
    struct source *s = ctx;
    return s->ops->restore(s, key, value, ahead, e);
}

/* Is it a scope of this source, or none at all? */
static bool is_own_scope(const struct intake *in, struct str scope)
{
    struct str id = str_of(in->s->id);
    return scope.n == 0 || (str_starts(scope, id) && (scope.n == id.n || scope.at[id.n] == '/'));
}

/* Remembers a stored event, unless other sources alone could repeat it. */
static void remember_one(void *ctx, const struct record *r)
{
    struct intake *in = ctx;
    struct str scope = record_header(r, TRAIL_FROM);
    const struct event *ev = is_own_scope(in, scope) ? event_from_record(r, NULL) : NULL;
    if (!ev)
        return;
    struct fingerprint f = seen_fingerprint(in->seen, scope, ev);
    seen_add(in->seen, &f);
    in->unscoped |= scope.n == 0;
    event_unref(ev);
}

static bool remember_tails(struct intake *in, const struct config *config, int64_t most, struct err *e)
{
    const struct route_config *routes = config->routes.at;
    for (size_t i = 0; i < config->routes.count; i++) {
        bool seen = false;
        for (size_t k = 0; k < i; k++)
            seen |= strcmp(routes[k].topic, routes[i].topic) == 0;
        if (!seen && !broker_tail(in->broker, routes[i].topic, most, remember_one, in, e))
            return false;
    }
    return true;
}

static void slots_new(struct intake *in, size_t count)
{
    in->slots = mem_alloc(count * sizeof *in->slots);
    in->room = count;
    for (size_t i = 0; i < count; i++)
        in->slots[i].next = i + 1 < count ? (int32_t)(i + 1) : -1;
}

struct intake *intake_new(const struct source_config *source, const struct config *config, struct broker *broker,
                          const struct router *router, struct err *e)
{
    struct intake *in = mem_alloc(sizeof *in);
    in->s = source->source;
    in->broker = broker;
    in->router = router;
    in->drop_unrouted = config->unrouted == UNROUTED_DROP;
    in->dead_letter_topic = topic_name(config->broker.prefix, TOPIC_DEAD_LETTER, NULL);
    in->wake_fd = wake_new();
    mailbox_open(&in->done, in->wake_fd);
    slots_new(in, (size_t)source->in_flight);
    count_open(in);

    const struct source_ops *ops = in->s->ops;
    if (ops->restore && !broker_state(broker, in->s->id, restore_one, in->s, e))
        goto fail;
    if (ops->dedupe && source->dedupe_size > 0) {
        in->seen = seen_new((size_t)source->dedupe_size);
        if (!remember_tails(in, config, source->dedupe_size, e))
            goto fail;
    }
    in->open = ops->open(in->s, e);
    if (in->open)
        return in;
fail:
    err_prefix(e, "sources.%s", in->s->id);
    intake_free(in);
    return NULL;
}

static void batch_free(struct batch *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < b->count; i++)
        event_unref(b->emissions[i].event);
    free(b);
}

void intake_close(struct intake *in)
{
    if (in && in->open)
        in->s->ops->close(in->s);
    if (in)
        in->open = false;
}

void intake_free(struct intake *in)
{
    if (!in)
        return;
    intake_close(in);
    batch_free(in->batch);
    mailbox_close(&in->done);
    close(in->wake_fd);
    seen_free(in->seen);
    free(in->slots);
    free(in->dead_letter_topic);
    free(in);
}

void intake_stop(struct intake *in)
{
    atomic_store(&in->stopping, true);
    wake_up(in->wake_fd);
}

void intake_abandon(struct intake *in)
{
    atomic_store(&in->abandoned, true);
    wake_up(in->wake_fd);
}

/* The broker's thread, or inside broker_publish. */
static void on_done(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    struct intake *in = ctx;
    mailbox_put(&in->done, tag, (int32_t)o, why);
}

/* ---- routing ---- */

/* The records that an event becomes; each record's key and headers point into ev and into `structured`. */
struct routed {
    struct record records[ROUTE_TARGETS];
    size_t count;
    struct header headers[DEAD_HEADERS];
    struct header json_headers[2];
    struct buf structured;
};

static void route(const struct intake *in, const struct emission *em, struct routed *out)
{
    const struct event *ev = em->event;
    const struct header from = { STR(TRAIL_FROM), em->scope };
    struct target targets[ROUTE_TARGETS];
    out->count = router_targets(in->router, ev, targets);
    out->structured = buf_new(8u * EVENT_DATA_BYTES);
    size_t headers = event_to_headers(ev, out->headers);
    if (em->scope.n)
        out->headers[headers++] = from;
    for (size_t i = 0; i < out->count; i++) {
        out->records[i] = (struct record){ .topic = str_of(targets[i].topic),
                                           .partition = -1,
                                           .key = targets[i].key,
                                           .value = ev->data,
                                           .headers = out->headers,
                                           .header_count = headers };
        if (!targets[i].structured)
            continue;
        if (out->structured.n == 0)
            event_to_json(ev, &out->structured);
        out->json_headers[0] = (struct header){ STR("content-type"),
                                                STR("application/cloudevents+json; charset=UTF-8") };
        out->json_headers[1] = from;
        out->records[i].value = buf_str(&out->structured);
        out->records[i].headers = out->json_headers;
        out->records[i].header_count = em->scope.n ? 2 : 1;
    }
}

/* Makes the one record of an ordered source's event that no topic takes: a dead letter, so that nothing vanishes. */
static void route_to_dead_letter(const struct intake *in, const struct event *ev, char when[CLOCK_TEXT],
                                 const char *why_class, const char *why, struct routed *out)
{
    out->structured = buf_new(0);
    clock_text(clock_wall_ms(), when);
    size_t n = event_to_headers(ev, out->headers);
    const struct header trail[] = {
        { STR(TRAIL_SOURCE), str_of(in->s->id) }, { STR(TRAIL_ATTEMPTS), STR("0") },
        { STR(TRAIL_FIRST), str_of(when) },       { STR(TRAIL_LAST), str_of(when) },
        { STR(TRAIL_CLASS), str_of(why_class) },  { STR(TRAIL_REASON), str_of(why) },
    };
    for (size_t i = 0; i < sizeof trail / sizeof *trail; i++)
        out->headers[n++] = trail[i];
    out->records[0] = (struct record){ .topic = str_of(in->dead_letter_topic),
                                       .partition = -1,
                                       .key = ev->subject,
                                       .value = ev->data,
                                       .headers = out->headers,
                                       .header_count = n };
    out->count = 1;
}

/* ---- settling ---- */

static void settle(struct intake *in, uint64_t tag, enum outcome o, const char *why)
{
    metric_add(in->count.pending, -1);
    switch (o) {
    case OUTCOME_STORED: metric_add(in->count.stored, 1); break;
    case OUTCOME_INVALID: metric_add(in->count.invalid, 1); break;
    case OUTCOME_CONFLICT: metric_add(in->count.conflict, 1); break;
    case OUTCOME_UNAVAILABLE: metric_add(in->count.unavailable, 1); break;
    }
    in->s->ops->settle(in->s, tag, o, why);
}

/* No route takes it: an error, unless the configuration says that such events may be dropped (then the sender is
 * content). */
static void settle_unrouted(struct intake *in, uint64_t tag)
{
    metric_add(in->count.pending, -1);
    metric_add(in->drop_unrouted ? in->count.dropped : in->count.unrouted, 1);
    in->s->ops->settle(in->s, tag, in->drop_unrouted ? OUTCOME_STORED : OUTCOME_INVALID, "no route takes this event");
}

static int32_t slot_take(struct intake *in, uint64_t tag)
{
    int32_t i = in->free;
    CHECK(i >= 0);
    in->free = in->slots[i].next;
    in->slots[i] = (struct slot){ .tag = tag, .next = -1 };
    in->used++;
    return i;
}

static void slot_give(struct intake *in, int32_t i)
{
    in->slots[i].next = in->free;
    in->free = i;
    in->used--;
}

static const char conflict_why[] = "another event with this id was stored before; an id is used once";

/* A publication of an unordered source ended: settles its emission and those that waited for it. */
static void finish_slot(struct intake *in, int32_t first, enum outcome o, const char *why)
{
    if (in->slots[first].remembered)
        seen_end(in->seen, (uint32_t)first, o == OUTCOME_STORED);
    for (int32_t i = first, next; i >= 0; i = next) {
        struct slot slot = in->slots[i];
        next = slot.next;
        slot_give(in, i);
        if (slot.conflicts && o == OUTCOME_STORED)
            settle(in, slot.tag, OUTCOME_CONFLICT, conflict_why);
        else if (slot.conflicts) /* nobody has the id, after all */
            settle(in, slot.tag, OUTCOME_UNAVAILABLE, "its id was in use for a moment");
        else {
            metric_add(in->count.repeats, i != first && o == OUTCOME_STORED);
            settle(in, slot.tag, o, why);
        }
    }
}

/* ---- unordered: each emission is its own publication ---- */

/* An event that is stored already: a repeat, or another one under its id. */
static void settle_known(struct intake *in, uint64_t tag, bool same)
{
    metric_add(in->count.repeats, same);
    settle(in, tag, same ? OUTCOME_STORED : OUTCOME_CONFLICT, same ? "stored before" : conflict_why);
}

/* Was a record without a scope made of the same event? */
static bool is_known_without_scope(const struct intake *in, const struct emission *em, struct fingerprint f)
{
    bool same = false;
    if (!in->unscoped || em->scope.n == 0)
        return false;
    seen_rescope(in->seen, &f, STR_ABSENT, em->event);
    return seen_find(in->seen, &f, &same) == SEEN_STORED && same;
}

/* Is the event, or another one under its id, known? Then it is settled, or waits for the first one. */
static bool is_known(struct intake *in, const struct emission *em, const struct fingerprint *f)
{
    bool same = false;
    int64_t known = seen_find(in->seen, f, &same);
    if (known == SEEN_UNKNOWN && !is_known_without_scope(in, em, *f))
        return false;
    if (known < 0) {
        settle_known(in, em->tag, known == SEEN_UNKNOWN || same);
        return true;
    }
    int32_t waiting = slot_take(in, em->tag);
    in->slots[waiting].conflicts = !same;
    in->slots[waiting].next = in->slots[known].next;
    in->slots[known].next = waiting;
    return true;
}

static void publish_one(struct intake *in, const struct emission *em)
{
    struct routed r;
    struct fingerprint f = { 0 };
    if (in->seen)
        f = seen_fingerprint(in->seen, em->scope, em->event);
    if (in->seen && is_known(in, em, &f))
        return;
    route(in, em, &r);
    if (r.count == 0) {
        settle_unrouted(in, em->tag);
        return;
    }
    int32_t slot = slot_take(in, em->tag);
    if (in->seen) {
        seen_begin(in->seen, &f, (uint32_t)slot);
        in->slots[slot].remembered = true;
    }
    broker_publish(in->broker, &(struct publication){ .records = r.records,
                                                      .record_count = r.count,
                                                      .state_of = in->s->id,
                                                      .changes = em->changes,
                                                      .change_count = em->change_count,
                                                      .done = on_done,
                                                      .ctx = in,
                                                      .tag = (uint64_t)slot });
    buf_free(&r.structured);
}

static void take_unordered(struct intake *in, struct emission *emissions, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        CHECK(emissions[i].event); /* only what is ordered has a state to keep */
        publish_one(in, &emissions[i]);
        event_unref(emissions[i].event);
    }
}

/* ---- ordered: one batch at a time, again until it is stored ---- */

/* Turns one emission into its records; what no topic takes, and what is too large for one, into a dead letter. */
static size_t batch_route(struct intake *in, size_t i, struct routed *out, char when[CLOCK_TEXT])
{
    struct batch *b = in->batch;
    const struct event *ev = b->emissions[i].event;
    if (!ev)
        return 0;
    if (b->fate[i] == FATE_TOO_LARGE) {
        route_to_dead_letter(in, ev, when, "invalid", b->why, out);
        out->records[0].value = STR_ABSENT;
        return 1;
    }
    route(in, &b->emissions[i], out);
    if (out->count == 0) {
        b->fate[i] = FATE_UNROUTED;
        if (!in->drop_unrouted)
            route_to_dead_letter(in, ev, when, "unrouted", "no route takes this event", out);
    }
    return out->count;
}

/* Publishes the emissions from..to of the batch with their changes, as one unit. */
static void batch_publish(struct intake *in)
{
    struct batch *b = in->batch;
    size_t count = b->to - b->from, change_count = 0, record_count = 0;
    struct routed *routed = mem_alloc((count + 1) * sizeof *routed);
    struct record *records = mem_alloc((count + 1) * ROUTE_TARGETS * sizeof *records);
    char(*when)[CLOCK_TEXT] = mem_alloc((count + 1) * sizeof *when);
    for (size_t i = 0; i < count; i++) {
        size_t n = batch_route(in, b->from + i, &routed[i], when[i]);
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
    broker_publish(in->broker, &(struct publication){ .records = records,
                                                      .record_count = record_count,
                                                      .state_of = in->s->id,
                                                      .changes = changes,
                                                      .change_count = change_count,
                                                      .done = on_done,
                                                      .ctx = in,
                                                      .tag = BATCH_TAG });
    for (size_t i = 0; i < count; i++)
        buf_free(&routed[i].structured);
    free(changes);
    free(when);
    free(records);
    free(routed);
}

static void take_ordered(struct intake *in, const struct emission *emissions, size_t count)
{
    struct batch *b = mem_alloc(sizeof *b);
    memcpy(b->emissions, emissions, count * sizeof *emissions);
    b->count = b->to = count;
    in->batch = b;
    batch_publish(in);
}

static void back_off(struct intake *in)
{
    in->backoff_ms = in->backoff_ms ? in->backoff_ms * 2 : BACKOFF_FIRST_MS;
    if (in->backoff_ms > BACKOFF_MOST_MS)
        in->backoff_ms = BACKOFF_MOST_MS;
    in->not_before_ms = clock_mono_ms() + in->backoff_ms;
}

static void batch_again(struct intake *in, const char *why)
{
    if (in->backoff_ms == 0)
        LOG(WARN, "the broker did not take a batch; it is published again until it does", LOG_C("source", in->s->id),
            LOG_C("reason", why));
    metric_add(in->count.retries, 1);
    back_off(in);
}

/* Something in from..to can never be stored: then one by one, and the one that it is becomes a dead letter without
 * its data. */
static void batch_narrow(struct intake *in, const char *why)
{
    struct batch *b = in->batch;
    if (b->to - b->from > 1)
        b->to = b->from + 1;
    else if (b->fate[b->from] == FATE_TOO_LARGE || !b->emissions[b->from].event)
        batch_again(in, why);
    else {
        const struct event *ev = b->emissions[b->from].event;
        LOG(ERROR, "an event can never be stored; its dead letter is stored without its data",
            LOG_C("source", in->s->id), LOG_STR("event", ev->id), LOG_STR("type", ev->type), LOG_C("reason", why));
        b->fate[b->from] = FATE_TOO_LARGE;
        why_copy(b->why, why);
    }
}

static void settle_batch(struct intake *in)
{
    struct batch *b = in->batch;
    for (size_t i = b->from; i < b->to; i++) {
        const struct emission *em = &b->emissions[i];
        if (!em->event)
            in->s->ops->settle(in->s, em->tag, OUTCOME_STORED, "");
        else if (b->fate[i] == FATE_UNROUTED)
            settle_unrouted(in, em->tag);
        else
            settle(in, em->tag, b->fate[i] == FATE_TOO_LARGE ? OUTCOME_INVALID : OUTCOME_STORED, "");
    }
    b->from = b->to;
    b->to = b->from + 1; /* only ever used after batch_narrow */
    if (b->from < b->count)
        return;
    in->batch = NULL;
    batch_free(b);
}

static void finish_batch(struct intake *in, enum outcome o, const char *why)
{
    in->batch->published = false;
    switch (o) {
    case OUTCOME_STORED:
        in->backoff_ms = 0;
        crash_point("intake-before-settle");
        settle_batch(in);
        return;
    case OUTCOME_INVALID:
    case OUTCOME_CONFLICT: /* no broker says so */ batch_narrow(in, why); return;
    case OUTCOME_UNAVAILABLE: batch_again(in, why); return;
    }
}

/* ---- the turn ---- */

static void take_news(struct intake *in)
{
    struct notice notices[64];
    wake_clear(in->wake_fd);
    for (size_t n; (n = mailbox_take(&in->done, notices, sizeof notices / sizeof *notices)) > 0;)
        for (size_t i = 0; i < n; i++) {
            if (in->batch)
                finish_batch(in, (enum outcome)notices[i].code, notices[i].why);
            else
                finish_slot(in, (int32_t)notices[i].tag, (enum outcome)notices[i].code, notices[i].why);
        }
}

/* Waits for news alone: an ordered source has nothing to do while its batch is on its way, nobody before a wait is
 * over. */
static void wait_for_news(struct intake *in)
{
    int64_t wait = in->not_before_ms - clock_mono_ms();
    bool on_its_way = in->batch && in->batch->published;
    int limit = on_its_way ? -1 : wait < 0 ? 0 : (int)wait;
    struct pollfd p = { .fd = in->wake_fd, .events = POLLIN };
    poll(&p, 1, limit);
}

static void read_some(struct intake *in, bool stopping)
{
    struct emission emissions[ROUND];
    struct err e = { "" };
    in->s->draining = stopping;
    size_t room = stopping ? 0 : in->room - in->used;
    int n = in->s->ops->read(in->s, in->wake_fd, emissions, room < ROUND ? room : ROUND, &e);
    if (n < 0) {
        if (in->backoff_ms == 0)
            LOG(WARN, "reading failed; trying again", LOG_C("source", in->s->id), LOG_C("reason", e.text));
        back_off(in);
        return;
    }
    if (in->backoff_ms)
        LOG(INFO, "reading works again", LOG_C("source", in->s->id));
    in->backoff_ms = 0;
    if (n == 0)
        return;
    int64_t events = 0;
    for (int i = 0; i < n; i++)
        events += emissions[i].event != NULL;
    metric_add(in->count.received, events);
    metric_add(in->count.pending, events);
    if (in->s->ops->ordered)
        take_ordered(in, emissions, (size_t)n);
    else
        take_unordered(in, emissions, (size_t)n);
}

bool intake_step(struct intake *in)
{
    bool stopping = atomic_load(&in->stopping);
    if (atomic_load(&in->abandoned) || (stopping && in->used == 0 && !in->batch))
        return false;
    bool waiting = in->backoff_ms > 0 && clock_mono_ms() < in->not_before_ms;
    if (in->batch && !in->batch->published && !waiting)
        batch_publish(in);
    else if (in->batch || waiting)
        wait_for_news(in);
    else
        read_some(in, stopping);
    take_news(in);
    return true;
}
