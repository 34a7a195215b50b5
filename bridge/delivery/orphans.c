/* SPDX-License-Identifier: MIT */
/* Counts the events of sinks that are not configured. */
#include "bridge/delivery/orphans.h"
#include <stdio.h>
#include "bridge/lib/log.h"

METRIC_GAUGE(aqueduct_waiting_orphans,
             "Waiting events of a sink that is not configured here; they are kept until it is.", "sink");

static struct metric *orphans_sink(struct orphans *o, struct str sink)
{
    bool named = sink.n > 0 && sink.n < ORPHAN_NAME;
    struct str name = named ? sink : STR("(others)");
    for (size_t i = 0; i < o->count; i++)
        if (str_eq(str_of(o->sinks[i].name), name))
            return o->sinks[i].count;
    if (o->count >= ORPHAN_NAMES - 1) {
        name = STR("(others)");
        if (o->count == ORPHAN_NAMES)
            return o->sinks[ORPHAN_NAMES - 1].count;
    }
    size_t i = o->count++;
    snprintf(o->sinks[i].name, sizeof o->sinks[i].name, "%.*s", STR_ARG(name));
    o->sinks[i].count = metric_get(&aqueduct_waiting_orphans, LABELS(o->sinks[i].name));
    LOG(WARN, "events wait for a sink that is not configured; they are kept until it is",
        LOG_C("sink", o->sinks[i].name));
    return o->sinks[i].count;
}

void orphans_add(struct orphans *o, struct str sink)
{
    metric_add(orphans_sink(o, sink), 1);
}

void orphans_forget(struct orphans *o)
{
    for (size_t i = 0; i < o->count; i++)
        metric_set(o->sinks[i].count, 0);
}
