/* SPDX-License-Identifier: MIT */
/* What waits is counted, also what others put there. */
#include <stdlib.h>
#include <string.h>
#include "bridge/delivery/waiter_private.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

struct waiter_sink *waiter_sink(const struct waiter *w, struct str name)
{
    bool formerly;
    for (size_t i = 0; i < w->sink_count; i++)
        if (register_is(w->sinks[i]->config, name, &formerly))
            return w->sinks[i];
    return NULL;
}

static bool waiter_survey_note(void *ctx, const struct record *r)
{
    struct waiter *w = ctx;
    orphans_gather_note(r, &w->settled);
    return !atomic_load(&w->stopping);
}

static bool waiter_survey_record(void *ctx, const struct record *r)
{
    struct waiter *w = ctx;
    struct waiter_sink *s = waiter_sink(w, record_header(r, TRAIL_SINK));
    replaced_note(&w->replaced, r);
    bool settled = str_eq(r->topic, str_of(w->ladder.orphaned)) && r->partition == 0
                   && ranges_skip(&w->settled, r->offset) != r->offset;
    bool note = record_header(r, TRAIL_STATE).at != NULL;
    if (s && !settled && !note && trail_read(r).put_ms < w->began_ms)
        metric_add(s->waiting, 1);
    return !atomic_load(&w->stopping);
}

static bool waiter_survey_topic(struct waiter *w, const char *topic, bool (*each)(void *, const struct record *),
                                struct err *e)
{
    const struct look_options o = { .topic = topic, .group = w->group, .may_lack = true };
    return look_once(w->names, &o, each, w, e);
}

/* Before the first record is taken: counts what waits, since only the heads of the topics come into memory, and reads the
 * notes and what copies replace, since what they name stands before them. */
void waiter_survey(struct waiter *w)
{
    struct err e = { "" };
    replaced_begin(&w->replaced, w->consumer);
    bool ok = waiter_survey_topic(w, w->ladder.orphaned, waiter_survey_note, &e);
    for (size_t i = 0; ok && i <= LADDER_STEPS; i++)
        ok = waiter_survey_topic(w, i < LADDER_STEPS ? w->ladder.topics[i] : w->ladder.orphaned, waiter_survey_record,
                                 &e);
    replaced_end(&w->replaced);
    w->survey = ok ? SURVEY_MADE : SURVEY_FAILED;
    for (size_t i = 0; ok && i < w->shelf.entry_cap; i++) /* what a sink has waits no more */
        if (w->shelf.entries[i]->state == SHELF_HANDED)
            metric_add(w->shelf.entries[i]->sink->waiting, -1);
    if (ok
        || (!broker_facts(w->names).own_folder && !broker_facts(w->names).is_shared)) /* in memory nothing was left */
        return;
    LOG(WARN, "cannot count what waits; aqueduct_sink_waiting counts it as it is met", LOG_C("reason", e.text));
    for (size_t i = 0; i < w->sink_count; i++)
        metric_set(w->sinks[i]->waiting, 0);
}

/* Partitions are somebody else's now, or a topic was made anew. */
void waiter_survey_again(struct waiter *w)
{
    w->survey = SURVEY_DUE;
    w->began_ms = clock_wall_ms();
    ranges_free(&w->settled);
    replaced_free(&w->replaced);
    for (size_t i = 0; i < w->sink_count; i++)
        metric_set(w->sinks[i]->waiting, 0);
}

void waiter_count_again(struct waiter *w)
{
    w->again = false;
    if (w->survey != SURVEY_MADE) /* it will be, before the first record */
        return;
    shelf_commit(&w->shelf, true);
    waiter_survey_again(w);
    waiter_survey(w);
}
