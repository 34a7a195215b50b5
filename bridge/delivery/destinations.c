/* SPDX-License-Identifier: MIT */
/* The receivers that a sink serves: what each was configured to be, and what is counted of it. */
#include "bridge/delivery/private.h"
#include <stdlib.h>
#include "bridge/lib/mem.h"

METRIC_COUNTER(aqueduct_sink_consumed_total, "Records taken from the sink's topics.", "sink");
METRIC_COUNTER(aqueduct_sink_delivered_total, "Events the receiver acknowledged (broadcast: handed to the listeners).",
               "sink");
METRIC_COUNTER(aqueduct_sink_dead_total, "Events given up: their dead letter is stored.", "sink");
METRIC_COUNTER(aqueduct_sink_filtered_total, "Events the sink's filter left out.", "sink");
METRIC_COUNTER(aqueduct_sink_moved_total,
               "Events moved to a waiting topic, from which they are consumed again when they are due.", "sink");
METRIC_COUNTER(aqueduct_sink_released_total, "Records left to another member of the group, or to the next start.",
               "sink");
METRIC_COUNTER(aqueduct_sink_attempts_total, "Attempts to deliver that ended.", "sink");
METRIC_COUNTER(aqueduct_sink_retries_total, "Attempts that failed and are repeated.", "sink");
METRIC_COUNTER(
    aqueduct_sink_untried_total,
    "Events that could not even be tried for lack of something on this machine (descriptors, memory, ports); they "
    "are sent again.",
    "sink");
METRIC_GAUGE(aqueduct_sink_pending, "Records consumed and not finished.", "sink");
METRIC_GAUGE(aqueduct_sink_waiting,
             "Events of the sink in the waiting topics, as far as this daemon has put or read them there.", "sink");

static void destination_count(struct destination *to, const char *const *labels)
{
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
        .waiting = metric_get(&aqueduct_sink_waiting, labels),
    };
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

void destinations_open(struct delivery *d)
{
    const struct sink_config *c = d->config;
    d->self = (struct destination){ .filter = c->filter, .retry = &c->retry, .retry_memory = c->retry_memory };
    destination_count(&d->self, LABELS(d->s->id));
    destination_order(&d->self, c->order, (size_t)c->window);
}

void destinations_close(struct delivery *d)
{
    free(d->self.chains);
}
