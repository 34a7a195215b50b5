/* SPDX-License-Identifier: MIT */
/* Runs one source: its life and its turn. */
#include "bridge/intake/private.h"
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

METRIC_COUNTER(aqueduct_source_received_total, "Events read from a source.", "source");
METRIC_COUNTER(aqueduct_source_stored_total, "Events acknowledged: the broker has them.", "source");
METRIC_COUNTER(aqueduct_source_repeats_total, "Stored events that were stored before: not published again.", "source");
METRIC_COUNTER(aqueduct_source_retries_total, "Batches published again because the broker did not take them.",
               "source");
METRIC_GAUGE(aqueduct_source_pending, "Events read and not settled yet.", "source");
METRIC_COUNTER(aqueduct_source_ids_forgotten_total,
               "Ids forgotten before dedupe_window was over, because dedupe_size was full.", "source");
METRIC_COUNTER(aqueduct_source_refused_total, "Events not stored, by reason.", "source", "reason");

/* ---- start and end ---- */

static void intake_count(struct intake *in)
{
    const char *const *id = LABELS(in->s->id);
    struct intake_counters *c = &in->count;
    c->received = metric_get(&aqueduct_source_received_total, id);
    c->stored = metric_get(&aqueduct_source_stored_total, id);
    c->repeats = metric_get(&aqueduct_source_repeats_total, id);
    c->retries = metric_get(&aqueduct_source_retries_total, id);
    c->pending = metric_get(&aqueduct_source_pending, id);
    c->forgotten = metric_get(&aqueduct_source_ids_forgotten_total, id);
    c->invalid = metric_get(&aqueduct_source_refused_total, LABELS(in->s->id, "invalid"));
    c->conflict = metric_get(&aqueduct_source_refused_total, LABELS(in->s->id, "conflict"));
    c->unavailable = metric_get(&aqueduct_source_refused_total, LABELS(in->s->id, "unavailable"));
    c->unrouted = metric_get(&aqueduct_source_refused_total, LABELS(in->s->id, "unrouted"));
    c->dropped = metric_get(&aqueduct_source_refused_total, LABELS(in->s->id, "dropped"));
}

static bool intake_restore(void *ctx, struct str key, struct str value, bool ahead, struct err *e)
{
    const struct intake *in = ctx;
    if (atomic_load(&in->stopping))
        return err_set(e, "stopped while its state was restored");
    return in->s->ops->restore(in->s, key, value, ahead, e);
}

static bool intake_restore_all(struct intake *in, struct err *e)
{
    in->restored = true;
    return !in->s->ops->restore || broker_state(in->broker, in->s->id, intake_restore, in, e);
}

/* Is it a scope of this source, or none at all? */
static bool intake_owns_scope(const struct intake *in, struct str scope)
{
    struct str id = str_of(in->s->id);
    return scope.n == 0 || (str_starts(scope, id) && (scope.n == id.n || scope.at[id.n] == '/'));
}

/* Which of the topics that an event has today this one is, as a bit; 0: it is none of them. */
static uint16_t intake_place(const struct intake *in, const struct event *ev, struct str topic)
{
    struct target targets[ROUTE_TARGETS];
    size_t n = router_targets(in->router, ev, targets);
    for (size_t i = 0; i < n; i++)
        if (str_eq(topic, str_of(targets[i].topic)))
            return (uint16_t)(1u << i);
    return 0;
}

/* Remembers a stored event and where it is, unless other sources alone could repeat it. */
static void intake_remember(void *ctx, const struct record *r)
{
    struct intake *in = ctx;
    if (atomic_load(&in->stopping)) /* then nothing more is read from the source */
        return;
    struct str scope = record_header(r, TRAIL_FROM);
    const struct event *ev = intake_owns_scope(in, scope) ? event_from_record(r, NULL) : NULL;
    if (!ev)
        return;
    int64_t now = clock_wall_ms();
    struct seen *seen = in->shared->seen;
    struct fingerprint f = seen_fingerprint(seen, scope, ev, !router_has_tombstones(in->router, ev->type));
    seen_add(seen, &f, intake_place(in, ev, r->topic),
             r->timestamp_ms > 0 && r->timestamp_ms < now ? r->timestamp_ms : now);
    in->shared->unscoped |= scope.n == 0;
    event_unref(ev);
}

/* Remembers the newest events of every topic that routes name, as far as the window goes back. */
static bool intake_remember_tails(struct intake *in, struct err *e)
{
    const struct source_config *c = in->shared->source;
    const struct list *list = &router_config(in->router)->routes;
    const struct route_config *routes = list->at;
    int64_t since = c->dedupe_window.ms ? clock_wall_ms() - c->dedupe_window.ms : 0;
    const struct tail_options tail = { .most = c->dedupe_size, .since_ms = since > 0 ? since : 0 };
    for (size_t i = 0; i < list->count; i++) {
        bool seen = false;
        for (size_t k = 0; k < i; k++)
            seen |= strcmp(routes[k].topic, routes[i].topic) == 0;
        if (!seen && !broker_tail(in->broker, routes[i].topic, &tail, intake_remember, in, e))
            return false;
    }
    seen_settle(in->shared->seen);
    settle_forgotten(in);
    in->shared->filled_by = in->router;
    in->router = routing_take(in->routing); /* it has the other one for as long as it lives */
    shared_begin(in->shared);
    return true;
}

void intake_lose(struct intake *in, const struct err *why)
{
    in->loss = *why;
    LOG(ERROR, "a source is stopped: another daemon has it", LOG_C("source", in->s->id), LOG_C("reason", why->text));
    atomic_store(&in->lost, true);
}

/* On the source's own thread: a start does not wait for a large state or a long log, only the first read does. */
static bool intake_begin(struct intake *in)
{
    if ((in->restored || intake_restore_all(in, &in->failure))
        && (atomic_load(&in->shared->filled) || intake_remember_tails(in, &in->failure)))
        return true;
    if (atomic_load(&in->stopping))
        return false;
    err_prefix(&in->failure, "%s.%s", in->s->sink ? "sinks" : "sources", in->s->id);
    atomic_store(&in->failed, true);
    return false;
}

bool intake_failed(struct intake *in, struct err *why)
{
    if (!atomic_load(&in->failed))
        return false;
    *why = in->failure;
    return true;
}

/* All but the source. */
static struct intake *intake_make(struct source *s, struct shared *sh, struct broker *broker, const char *prefix,
                                  struct routing *routing)
{
    struct intake *in = mem_alloc(sizeof *in);
    in->s = s;
    shared_join(sh, in);
    in->broker = broker;
    in->routing = routing;
    in->router = routing_take(routing);
    in->dead_letter_topic = topic_name(prefix, TOPIC_DEAD_LETTER, NULL);
    in->exactly_once = s->ops->ordered && sh->source->delivery == EXACTLY_ONCE;
    in->most = in->exactly_once ? (size_t)sh->source->transaction : INTAKE_MOST;
    in->emissions = mem_alloc(in->most * sizeof *in->emissions);
    in->wake_fd = wake_new();
    mailbox_open(&in->done, in->wake_fd);
    int64_t bytes = sh->source->in_flight_bytes.n;
    single_open(in, (size_t)shared_part(in, sh->source->in_flight), bytes ? (size_t)shared_part(in, bytes) : SIZE_MAX);
    intake_count(in);
    return in;
}

static struct intake *intake_refuse(struct intake *in, struct err *e)
{
    err_prefix(e, "%s.%s", in->s->sink ? "sinks" : "sources", in->s->id);
    intake_free(in);
    return NULL;
}

struct intake *intake_new(const struct source_config *source, const struct broker_config *names, struct broker *broker,
                          struct routing *routing, bool whole, struct err *e)
{
    struct intake *in = intake_make(source->source, shared_new(source), broker, names->prefix, routing);
    const struct source_ops *ops = in->s->ops;
    if (!in->shared->seen)
        shared_begin(in->shared);
    else if (whole && !intake_remember_tails(in, e))
        return intake_refuse(in, e);
    in->open = ops->open(in->s, e);
    return in->open && (!whole || intake_restore_all(in, e)) ? in : intake_refuse(in, e);
}

struct intake *intake_copy(struct intake *of, struct err *e)
{
    const struct source_ops *ops = of->s->ops;
    struct source *s = memcpy(mem_alloc(ops->size), of->shared->fresh, ops->size);
    struct intake *in = intake_make(s, of->shared, of->broker, "", of->routing);
    free(in->dead_letter_topic);
    in->dead_letter_topic = str_dup(str_of(of->dead_letter_topic));
    in->own = s;
    in->restored = true; /* there is no state */
    in->open = ops->open(s, e);
    return in->open ? in : intake_refuse(in, e);
}

bool intake_ready(const struct intake *in, struct err *why)
{
    bool lost = atomic_load(&in->lost);
    if (lost)
        *why = in->loss;
    bool ready = !lost && (!in->s->ops->ready || in->s->ops->ready(in->s, why));
    return ready || err_prefix(why, "source %s", in->s->id);
}

void intake_close(struct intake *in)
{
    if (!in)
        return;
    if (in->open)
        in->s->ops->close(in->s);
    in->open = false;
    if (in->exactly_once)
        broker_release(in->broker, in->s->id);
    in->exactly_once = false;
}

void intake_free(struct intake *in)
{
    if (!in)
        return;
    intake_close(in);
    batch_free(in->batch);
    mailbox_close(&in->done);
    close(in->wake_fd);
    single_close(in);
    routing_give(in->router);
    shared_leave(in);
    free(in->dead_letter_topic);
    free(in->emissions);
    free(in->own);
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

/* ---- the turn ---- */

/* From here on by the routes that hold now. Between two things that it publishes: they borrow the names of topics. */
static void intake_renew_routes(struct intake *in)
{
    if (!routing_is_old(in->routing, in->router))
        return;
    routing_give(in->router);
    in->router = routing_take(in->routing);
}

/* Ends the publications that the broker has reported. */
static void intake_take_done(struct intake *in)
{
    struct notice notices[64];
    wake_clear(in->wake_fd);
    for (size_t n; (n = mailbox_take(&in->done, notices, sizeof notices / sizeof *notices)) > 0;)
        for (size_t i = 0; i < n; i++) {
            if (in->batch)
                batch_done(in, (enum outcome)notices[i].code, notices[i].why);
            else
                single_done(in, notices[i].tag, (enum outcome)notices[i].code, notices[i].why);
        }
}

/* Waits for news alone: an ordered source has nothing to do while its batch is on its way, nobody before a wait is
 * over. */
static void intake_wait(struct intake *in)
{
    int64_t wait = in->not_before_ms - clock_mono_ms();
    bool on_its_way = in->batch && in->batch->published;
    int limit = on_its_way ? -1 : wait < 0 ? 0 : (int)wait;
    struct pollfd p = { .fd = in->wake_fd, .events = POLLIN };
    poll(&p, 1, limit);
}

/* The first line of the way of each event, in the debug log. */
static void intake_log_received(const struct intake *in, const struct emission *emissions, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct event *ev = emissions[i].event;
        if (ev)
            LOG(DEBUG, "received", LOG_C("source", in->s->id), LOG_STR("event", ev->id),
                LOG_STR("event_source", ev->source), LOG_STR("type", ev->type), LOG_INT("bytes", ev->data.n));
    }
}

/* Did a read that did not fail see anything? Without room nothing is read, and one that was woken may not have looked. */
static bool intake_has_seen(const struct intake *in, int n, size_t room)
{
    struct err why;
    return n > 0 || (room > 0 && (!in->s->ops->ready || in->s->ops->ready(in->s, &why)));
}

/* Reads from the source and publishes what came; while stopping it only serves what it has begun. */
static void intake_read(struct intake *in, bool stopping)
{
    struct emission *emissions = in->emissions;
    struct err e = { "" };
    in->s->draining = stopping;
    size_t room = stopping ? 0 : single_room(in);
    in->s->room_bytes = room ? in->most_bytes - in->bytes : 0;
    int n = in->s->ops->read(in->s, in->wake_fd, emissions, room, &e);
    if (n < 0) {
        if (!in->unreadable)
            LOG(WARN, "reading failed; trying again", LOG_C("source", in->s->id), LOG_C("reason", e.text));
        in->unreadable = true;
        settle_back_off(in);
        return;
    }
    if (in->unreadable && intake_has_seen(in, n, room)) {
        LOG(INFO, "reading works again", LOG_C("source", in->s->id));
        in->unreadable = false;
    }
    in->backoff_ms = 0;
    if (n == 0)
        return;
    intake_renew_routes(in); /* it may have waited for long */
    int64_t events = 0;
    for (int i = 0; i < n; i++)
        events += emissions[i].event != NULL;
    if (log_shows(LOG_DEBUG))
        intake_log_received(in, emissions, (size_t)n);
    metric_add(in->count.received, events);
    metric_add(in->count.pending, events);
    if (in->s->ops->ordered)
        batch_take(in, emissions, (size_t)n);
    else
        single_take(in, emissions, (size_t)n);
}

/* Waits until the first of them has filled the memory. */
static bool intake_await_memory(struct intake *in)
{
    if (atomic_load(&in->abandoned) || atomic_load(&in->stopping))
        return false;
    poll(&(struct pollfd){ .fd = in->wake_fd, .events = POLLIN }, 1, -1);
    wake_clear(in->wake_fd);
    return true;
}

bool intake_step(struct intake *in)
{
    intake_renew_routes(in);
    bool filled = atomic_load(&in->shared->filled);
    if (!filled && in->number > 0)
        return intake_await_memory(in);
    if ((!in->restored || !filled) && !intake_begin(in))
        return false;
    bool stopping = atomic_load(&in->stopping);
    if (atomic_load(&in->abandoned) || atomic_load(&in->lost) || (stopping && in->used == 0 && !in->batch))
        return false;
    bool waiting = in->backoff_ms > 0 && clock_mono_ms() < in->not_before_ms;
    if (in->batch && !in->batch->published && !waiting)
        batch_publish(in);
    else if (in->batch || waiting)
        intake_wait(in);
    else
        intake_read(in, stopping);
    intake_take_done(in);
    return true;
}
