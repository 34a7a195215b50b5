/* SPDX-License-Identifier: MIT */
/* Counts the events of sinks that are not configured; the notes that finish them. */
#include "bridge/delivery/orphans.h"
#include <inttypes.h>
#include <stdio.h>
#include "bridge/event/trail.h"
#include "bridge/lib/mem.h"
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

void orphans_settle(struct orphans *o, struct str sink, int64_t count)
{
    if (count > 0)
        metric_add(orphans_sink(o, sink), -count);
}

void orphans_forget(struct orphans *o)
{
    for (size_t i = 0; i < o->count; i++)
        metric_set(o->sinks[i].count, 0);
}

/* ---- notes ---- */

#define ORPHANS_SETTLED_STATE STR("settled")

void orphans_note(struct orphans_note *n, const char *topic, struct str sink, const struct ranges *settled)
{
    size_t needed, count;
    int64_t base = settled->at[0].from;
    snprintf(n->base, sizeof n->base, "%" PRId64, base);
    count = ranges_encode(settled, base, n->bytes, sizeof n->bytes, &needed);
    CHECK(count == needed);
    n->headers[0] = (struct header){ STR(TRAIL_SINK), sink };
    n->headers[1] = (struct header){ STR(TRAIL_STATE), ORPHANS_SETTLED_STATE };
    n->headers[2] = (struct header){ STR(TRAIL_NOTE), str_of(n->base) };
    n->record = (struct record){ .topic = str_of(topic),
                                 .partition = -1,
                                 .value = { (const char *)n->bytes, count },
                                 .headers = n->headers,
                                 .header_count = 3 };
}

bool orphans_read_note(const struct record *r, struct ranges *settled)
{
    int64_t base;
    *settled = (struct ranges){ 0 };
    if (!str_eq(record_header(r, TRAIL_STATE), ORPHANS_SETTLED_STATE))
        return false;
    if (r->value.at && str_to_i64(record_header(r, TRAIL_NOTE), &base) && base >= 0)
        ranges_decode(settled, base, r->value);
    return true;
}

void orphans_gather_note(const struct record *r, struct ranges *settled)
{
    struct ranges more;
    if (r->partition != 0 || !orphans_read_note(r, &more))
        return;
    struct ranges all = ranges_union(settled, &more);
    ranges_free(&more);
    ranges_free(settled);
    *settled = all;
}
