/* SPDX-License-Identifier: MIT */
/* The receivers that a sink serves: what each was configured to be, what is counted of it, and which events it gets. */
#include "bridge/delivery/private.h"
#include <stdlib.h>
#include "bridge/lib/mem.h"

METRIC_COUNTER(
    aqueduct_sink_consumed_total,
    "Records taken from the sink's topics: once for each endpoint that gets them, and without an endpoint those that none gets.",
    "sink", "endpoint");
METRIC_COUNTER(aqueduct_sink_delivered_total, "Events the receiver acknowledged (broadcast: handed to the listeners).",
               "sink", "endpoint");
METRIC_COUNTER(aqueduct_sink_dead_total, "Events given up: their dead letter is stored.", "sink", "endpoint");
METRIC_COUNTER(aqueduct_sink_filtered_total, "Events the sink's filter left out.", "sink", "endpoint");
METRIC_COUNTER(
    aqueduct_sink_moved_total,
    "Events moved to a waiting topic or a blocked log, from which they are consumed again when they are due.", "sink",
    "endpoint");
METRIC_COUNTER(aqueduct_sink_released_total, "Records left to another member of the group, or to the next start.",
               "sink", "endpoint");
METRIC_COUNTER(aqueduct_sink_attempts_total, "Attempts to deliver that ended.", "sink", "endpoint");
METRIC_COUNTER(aqueduct_sink_retries_total, "Attempts that failed and are repeated.", "sink", "endpoint");
METRIC_COUNTER(
    aqueduct_sink_untried_total,
    "Events that could not even be tried for lack of something on this machine (descriptors, memory, ports); they "
    "are sent again.",
    "sink", "endpoint");
METRIC_GAUGE(aqueduct_sink_paused, "Is it paused? 1: it gets nothing, and what is for it waits.", "sink", "endpoint");
METRIC_GAUGE(aqueduct_sink_circuit_open,
             "Is the circuit open? 1: the receiver gets a probe now and then, nothing else.", "sink", "endpoint");
METRIC_COUNTER(aqueduct_sink_throttled_total, "Times that the next event had to wait for the rate.", "sink",
               "endpoint");
METRIC_GAUGE(aqueduct_sink_pending, "Records consumed and not finished.", "sink", "endpoint");
METRIC_GAUGE(aqueduct_sink_waiting,
             "Events of the sink in the waiting topics; of several daemons of a group, the sum of theirs counts.",
             "sink");

static void destination_count(struct destination *to, const char *sink)
{
    const char *const *labels = LABELS(sink, to->name);
    to->count = (struct delivery_counters){
        .consumed = metric_get(&aqueduct_sink_consumed_total, labels),
        .delivered = metric_get(&aqueduct_sink_delivered_total, labels),
        .dead = metric_get(&aqueduct_sink_dead_total, labels),
        .filtered = metric_get(&aqueduct_sink_filtered_total, labels),
        .moved = metric_get(&aqueduct_sink_moved_total, labels),
        .released = metric_get(&aqueduct_sink_released_total, labels),
        .attempts = metric_get(&aqueduct_sink_attempts_total, labels),
        .retries = metric_get(&aqueduct_sink_retries_total, labels),
        .untried = metric_get(&aqueduct_sink_untried_total, labels),
        .pending = metric_get(&aqueduct_sink_pending, labels),
        .waiting = metric_get(&aqueduct_sink_waiting, LABELS(sink)),
        .paused = metric_get(&aqueduct_sink_paused, labels),
        .throttled = metric_get(&aqueduct_sink_throttled_total, labels),
    };
    metric_set(to->count.paused, to->paused);
    if (!circuit_is_used(&to->circuit))
        return;
    to->count.circuit_open = metric_get(&aqueduct_sink_circuit_open, labels);
    metric_set(to->count.circuit_open, 0);
}

/* Makes its chains, if it is ordered; `most`: entries that it has at the same time. */
static void destination_order(struct destination *to, enum sink_order order, size_t most)
{
    if (order != ORDER_KEY)
        return;
    to->chain_mask = 1;
    while (to->chain_mask < most * 4)
        to->chain_mask = to->chain_mask * 2 + 1;
    to->chains = mem_alloc((to->chain_mask + 1) * sizeof *to->chains);
}

/* Takes over what the endpoint is configured to be; its circuit is closed. */
static void destination_fit(struct delivery *d, struct destination *to, const struct endpoint_config *c)
{
    to->filter = c->filter;
    to->retry = &c->retry;
    to->retry_jitter = c->retry_jitter;
    to->retry_for = c->retry_for;
    to->retry_memory = c->retry_memory;
    to->share = (size_t)c->window;
    to->circuit = (struct circuit){ .config = &c->circuit };
    gates_set_rate(to, c->rate);
    to->held_ms = to->again_ms = 0;
    if (to->count.circuit_open)
        metric_set(to->count.circuit_open, 0);
    destination_count(to, d->s->id);
    gates_pause(d, to, c->paused || (to->outlet && !to->outlet->endpoint));
}

static void destination_add(struct delivery *d, const struct endpoint_config *c, struct outlet *outlet)
{
    struct destination *to = mem_alloc(sizeof *to);
    to->number = d->destination_count;
    to->outlet = outlet;
    to->name = str_dup(str_of(c->endpoint->name));
    destination_fit(d, to, c);
    destination_order(to, c->order, (size_t)d->config->window);
    d->destinations = mem_grow(d->destinations, d->destination_count + 1, sizeof *d->destinations);
    d->destinations[d->destination_count++] = to;
    filter_index_add(d->index, c->filter);
}

static void destination_free(struct destination *to)
{
    free(to->chains);
    free(to->name);
    free(to);
}

/* ---- start and end ---- */

void destinations_make(struct delivery *d)
{
    const struct sink_config *c = d->config;
    d->ready_tail = &d->ready;
    d->rest_ms = d->hold_ms = INT64_MAX;
    d->many = c->many;
    d->self = (struct destination){ .filter = c->filter,
                                    .retry = &c->retry,
                                    .retry_jitter = c->retry_jitter,
                                    .retry_for = c->retry_for,
                                    .retry_memory = c->retry_memory };
    if (!d->many)
        d->self.circuit.config = &c->circuit;
    destination_count(&d->self, d->s->id);
    gates_pause(d, &d->self, c->paused);
    if (!d->many) {
        d->self.outlet = outlet_new(d, d->s->endpoint, NULL);
        gates_set_rate(&d->self, c->rate);
        destination_order(&d->self, c->order, (size_t)c->window);
        return;
    }
    rate_set(&d->self.rate, c->rate);
    d->index = filter_index_new();
    for (size_t i = 0; i < c->endpoint_count; i++)
        destination_add(d, &c->endpoints[i], outlet_new(d, c->endpoints[i].endpoint, NULL));
}

bool destinations_open(struct delivery *d, struct err *e)
{
    if (!d->many)
        return outlet_open(d, d->self.outlet, e);
    for (size_t i = 0; i < d->destination_count; i++)
        if (!outlet_open(d, d->destinations[i]->outlet, e))
            return err_prefix(e, "endpoints.%s", d->destinations[i]->name);
    return true;
}

void destinations_free(struct delivery *d)
{
    outlets_free(d);
    for (size_t i = 0; i < d->destination_count; i++)
        destination_free(d->destinations[i]);
    for (struct destination *to = d->gone, *next; to; to = next) {
        next = to->after;
        destination_free(to);
    }
    free(d->self.chains);
    free(d->destinations);
    filter_index_free(d->index);
}

/* ---- while it runs ---- */

static void destinations_index(struct delivery *d)
{
    filter_index_free(d->index);
    d->index = filter_index_new();
    for (size_t i = 0; i < d->destination_count; i++) {
        d->destinations[i]->number = i;
        filter_index_add(d->index, d->destinations[i]->filter);
    }
}

/* Its endpoint, open unless it cannot be; NULL with *e. */
static struct outlet *destinations_outlet(struct delivery *d, const struct endpoint_order *o, struct err *e)
{
    struct outlet *outlet = outlet_new(d, o->held ? NULL : o->config->endpoint, o);
    if (outlet_open(d, outlet, e))
        return outlet;
    outlet->release = NULL; /* it stays the caller's */
    outlet_forget(d, outlet);
    return NULL;
}

bool destinations_add(struct delivery *d, const struct endpoint_order *o, struct err *e)
{
    if (o->config->order == ORDER_KEY && d->log_count == 0)
        return err_set(e, "order: key needs the blocked logs that a sink has which began with such an endpoint");
    if (d->destination_count >= DESTINATIONS_MOST)
        return err_set(e, "the sink has %d endpoints, which is the most", DESTINATIONS_MOST);
    struct outlet *outlet = destinations_outlet(d, o, e);
    if (outlet)
        destination_add(d, o->config, outlet);
    return outlet != NULL;
}

bool destinations_change(struct delivery *d, struct destination *to, const struct endpoint_order *o, struct err *e)
{
    if ((o->config->order == ORDER_KEY) != (to->chains != NULL))
        return err_set(e, "order cannot change while it runs: remove the endpoint and add it again");
    struct outlet *outlet = destinations_outlet(d, o, e);
    if (!outlet)
        return false;
    outlet_leave(d, to->outlet);
    to->outlet = outlet;
    destination_fit(d, to, o->config);
    destinations_index(d);
    window_look_again(d);
    return true;
}

/* Nothing holds it up any more. */
static void destination_let_go(struct delivery *d, struct destination *to)
{
    gates_pause(d, to, false);
    if (to->count.circuit_open)
        metric_set(to->count.circuit_open, 0);
    to->count.circuit_open = NULL;
    to->circuit = (struct circuit){ 0 };
    gates_set_rate(to, 0);
    to->held_ms = to->again_ms = 0;
    window_look_again(d);
}

void destinations_remove(struct delivery *d, struct destination *to)
{
    for (size_t i = to->number; i + 1 < d->destination_count; i++)
        d->destinations[i] = d->destinations[i + 1];
    d->destination_count--;
    destinations_index(d);
    to->gone = true;
    to->after = d->gone;
    d->gone = to;
    outlet_leave(d, to->outlet);
    to->outlet = NULL;
    destination_let_go(d, to);
    for (size_t i = 0; i < d->entry_cap; i++) {
        struct entry *en = d->entries[i];
        if (en->state != ENTRY_WAITING || en->to != to)
            continue;
        to->waiting--;
        window_renew(en);
        window_ready(d, en);
    }
}

void destinations_bury(struct delivery *d)
{
    outlets_close(d, false);
    for (struct destination **at = &d->gone, *to; (to = *at);) {
        if (to->open == 0 && to->keys == 0 && !to->listed) {
            *at = to->after;
            account_keep(to); /* the page goes on to show its last numbers */
            destination_free(to);
        } else
            at = &to->after;
    }
}

/* ---- which one ---- */

struct destination *destinations_find(struct delivery *d, struct str name)
{
    if (!name.at)
        return d->many ? NULL : &d->self;
    for (size_t i = 0; i < d->destination_count; i++)
        if (str_eq(name, str_of(d->destinations[i]->name)))
            return d->destinations[i];
    return NULL;
}

struct destinations_found { /* while an event looks for its destinations */
    struct delivery *d;
    void (*each)(struct delivery *d, struct destination *to, void *ctx);
    void *ctx;
};

static void destinations_take(void *ctx, size_t i)
{
    struct destinations_found *f = ctx;
    f->each(f->d, f->d->destinations[i], f->ctx);
}

void destinations_match(struct delivery *d, const struct event *ev,
                        void (*each)(struct delivery *d, struct destination *to, void *ctx), void *ctx)
{
    if (!filter_match(d->self.filter, ev))
        return;
    if (!d->many) {
        each(d, &d->self, ctx);
        return;
    }
    filter_index_find(d->index, ev, destinations_take, &(struct destinations_found){ d, each, ctx });
}
