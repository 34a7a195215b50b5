/* SPDX-License-Identifier: MIT */
/* The way of one event through a sink, in the debug log. */
#include "bridge/delivery/private.h"
#include "bridge/lib/log.h"

/* A line of the event, with where its record stands. */
static void way_log(const struct delivery *d, const struct event *ev, const struct record *r, const char *what,
                    const char *endpoint)
{
    LOG(DEBUG, what, LOG_C("sink", d->s->id), LOG_SOME("endpoint", endpoint), LOG_STR("event", ev->id),
        LOG_STR("event_source", ev->source), LOG_STR("topic", r->topic), LOG_INT("partition", r->partition),
        LOG_INT("offset", r->offset));
}

void way_taken(const struct delivery *d, const struct event *ev, const struct record *r, const char *endpoint)
{
    if (log_shows(LOG_DEBUG) && ev)
        way_log(d, ev, r, "taken", endpoint);
}

void way_passed(const struct delivery *d, const struct event *ev, const struct record *r)
{
    if (log_shows(LOG_DEBUG) && ev)
        way_log(d, ev, r, "passed by: no filter wants it", NULL);
}

void way_ended(const struct delivery *d, const struct entry *en, const struct result *r, enum attempt_end end)
{
    static const char *const ends[] = { [ATTEMPT_DELIVERED] = "delivered",
                                        [ATTEMPT_RETRY] = "again",
                                        [ATTEMPT_SPARED] = "again, not counted",
                                        [ATTEMPT_DEAD] = "dead letter",
                                        [ATTEMPT_RELEASED] = "released" };
    const struct event *ev = en->of->event;
    if (!log_shows(LOG_DEBUG) || !ev)
        return;
    int64_t wait = en->next_ms ? en->next_ms - clock_wall_ms() : 0;
    LOG(DEBUG, "verdict", LOG_C("sink", d->s->id), LOG_SOME("endpoint", en->to->name), LOG_STR("event", ev->id),
        LOG_STR("event_source", ev->source), LOG_INT("attempt", en->attempts), LOG_C("verdict", ends[end]),
        LOG_INT("status", r->status), LOG_INT("wait_ms", wait > 0 ? wait : 0), LOG_C("reason", r->why));
}

void way_moved(const struct delivery *d, const struct entry *en)
{
    const struct event *ev = en->of->event;
    if (!log_shows(LOG_DEBUG) || !ev || en->copy)
        return;
    LOG(DEBUG, en->dead_class ? "stored as a dead letter" : "stored to wait", LOG_C("sink", d->s->id),
        LOG_SOME("endpoint", en->to->name), LOG_STR("event", ev->id), LOG_STR("event_source", ev->source),
        LOG_SOME("class", en->dead_class), LOG_C("reason", en->last.why));
}
