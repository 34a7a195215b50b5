/* SPDX-License-Identifier: MIT */
/* Records come in: polls, and what each record becomes at first. */
#include "bridge/delivery/private.h"
#include <stdlib.h>
#include "bridge/event/trail.h"
#include "bridge/lib/log.h"

enum {
    POLL_MOST = 256, /* records of one turn */
    POLL_BUSY_MS = 1000,
};

/* Makes an entry ready, or puts it behind an earlier one of its key. */
static void poll_enter(struct delivery *d, struct entry *en)
{
    if (blocked_holds(d, en))
        return;
    en->state = ENTRY_BEHIND;
    bool first = window_chain_enter(en);
    if (!blocked_take_over(d, en) && first)
        window_ready(d, en);
}

static void poll_match(struct delivery *d, struct destination *to, void *ctx)
{
    struct taken *t = ctx;
    way_taken(d, t->event, t->record, to->name);
    poll_enter(d, window_add(d, t, to));
}

/* A new record: an entry for each destination that it is for. */
static void poll_begin(struct delivery *d, struct taken *t)
{
    size_t before = t->open;
    destinations_match(d, t->event, poll_match, t);
    if (t->open == before) {
        way_passed(d, t->event, t->record);
        metric_add(d->self.count.consumed, 1);
        metric_add(d->self.count.filtered, 1);
    }
}

static struct partition *poll_partition_of(struct delivery *d, const struct record *r)
{
    struct partition *p = partition_of(d, r);
    if (p->newest < 0) {
        p->old = blocked_is_old(d, r->topic);
        p->own = p->old || moves_owns(d, r->topic);
    }
    return p;
}

/* The partition of a record; one of a topic that was made anew begins again. */
static struct partition *poll_partition(struct delivery *d, const struct record *r)
{
    struct partition *p = poll_partition_of(d, r);
    if (!blocked_is_anew(d, p, r->offset))
        return p;
    LOG(WARN, "a topic begins anew", LOG_C("sink", d->s->id), LOG_STR("topic", r->topic),
        LOG_INT("partition", r->partition), LOG_INT("offset", r->offset));
    blocked_forget(d, p);
    partition_release(d, p);
    return poll_partition_of(d, r);
}

/* Would more for it only wait? Who had nothing until now gets a moment to deliver the first of many that come at once. */
static bool poll_is_stuck(const struct delivery *d, const struct destination *to)
{
    int64_t now = clock_mono_ms();
    return moves_is_stuck(d, to) && (gates_due(to) > now || now - to->busy_ms > POLL_BUSY_MS);
}

/* A record of a retry or redrive topic, or of the waiter, goes on where its trail says. What an earlier version left in a
 * retry topic before its time waits with all others. One without an endpoint
 * is of a time when the sink had none: it goes where a new one would. */
static void poll_resume(struct delivery *d, struct taken *t)
{
    struct trail trail = trail_read(t->record);
    struct destination *to = destinations_find(d, trail.endpoint);
    if (!trail.endpoint.at && d->many) {
        poll_begin(d, t);
        return;
    }
    struct entry *en = window_add(d, t, to ? to : &d->self);
    int64_t now = clock_wall_ms();
    way_taken(d, t->event, t->record, en->to->name);
    en->attempts = trail.attempts;
    en->first_ms = trail.first_ms;
    en->last_ms = trail.last_ms;
    if (!to)
        moves_orphan(d, en, trail.endpoint);
    else if (t->partition->old && to->chains && t->record->key.at) {
        en->due_ms = trail.due_ms;
        poll_enter(d, en);
    } else if (trail.due_ms > now
               && !t->lender) /* the waiter hands over what is due, whatever the clock was set to since */
        moves_wait(d, en, trail.due_ms - now);
    else if (poll_is_stuck(d, to))
        moves_aside(d, en, gates_aside_ms(to));
    else
        poll_enter(d, en);
}

/* A record that is no event. */
static void poll_refuse(struct delivery *d, struct taken *t, const char *why)
{
    struct entry *en = window_add(d, t, &d->self);
    why_copy(en->last.why, why);
    moves_dead_letter(d, en, moves_class(REASON_POISON));
}

/* Takes a record and sends it on its way; `h`: what the waiter says of it, or NULL. */
static void poll_take(struct delivery *d, struct record *r, struct partition *p, const struct handed *h)
{
    struct err e = { "" };
    struct taken *t = window_take(d, r, event_of_record(r, &e), p);
    t->lender = h ? h->reports : NULL;
    t->lent_tag = h ? h->tag : 0;
    if (d->s->ops->dead_letters) /* takes every record: what is no event is filed by its origin */
        poll_enter(d, window_add(d, t, &d->self));
    else if (!t->event)
        poll_refuse(d, t, e.text);
    else if (p->own)
        poll_resume(d, t);
    else
        poll_begin(d, t);
    window_release(d, t);
}

/* What is no event of an old blocked log. */
static void poll_skip(struct delivery *d, struct record *r, struct partition *p)
{
    blocked_take_old_mark(d, p, r);
    watermark_finish(&p->done, r->offset);
    p->changed = d->changed = true;
    record_free(r);
}

/* Takes what the waiter handed over, before new records: it is older. */
static void poll_handed(struct delivery *d)
{
    struct handed *h;
    while (!d->stopped && !d->self.paused && d->window_used < (size_t)d->config->window && (h = inbox_take(d))) {
        poll_take(d, h->record, &d->lent, h);
        free(h);
    }
}

/* At most `room` new records; 0 as well when the consumer is in trouble, which is logged once. It lets a partition
 * in trouble rest by itself, so the others go on. */
static size_t poll_consumer(struct delivery *d, struct record **out, size_t room)
{
    struct err e = { "" };
    int n = consumer_poll(d->consumer, out, d->stopped ? 0 : room, &e);
    if (n < 0) {
        if (!d->poll_failed)
            LOG(ERROR, "reading topics failed; trying again", LOG_C("sink", d->s->id), LOG_C("reason", e.text));
        d->poll_failed = true;
        return 0;
    }
    if (d->poll_failed && n > 0) {
        LOG(INFO, "reading topics works again", LOG_C("sink", d->s->id));
        d->poll_failed = false;
    }
    return (size_t)n;
}

/* How many records may be taken now: by the window, and by the entries that they can become. */
static size_t poll_room(const struct delivery *d)
{
    if (d->self.paused)
        return 0;
    size_t window = (size_t)d->config->window, used = d->window_used > d->held ? d->window_used - d->held : 0;
    size_t room = used < window ? window - used : 0;
    if (d->destination_count) { /* as many may want each */
        size_t entries = d->entry_cap - d->free_count;
        size_t most = entries < WINDOW_ENTRIES ? (WINDOW_ENTRIES - entries) / d->destination_count : 0;
        room = room < most ? room : most;
    }
    return room < POLL_MOST ? room : POLL_MOST;
}

/* What endpoints that do not get on hold up goes to the broker. */
static void poll_make_room(struct delivery *d)
{
    size_t part = moves_fair_part(d);
    if (part == 0)
        return;
    moves_make_room(d, part);
    blocked_make_room(d, part);
}

/* Polls; true when there may be more at once. */
bool poll_records(struct delivery *d)
{
    struct record *records[POLL_MOST];
    poll_handed(d);
    size_t room = poll_room(d);
    if (room == 0 && d->many && !d->self.paused)
        poll_make_room(d);
    size_t n = poll_consumer(d, records, room);
    for (size_t i = 0; i < n; i++) {
        struct partition *p = poll_partition(d, records[i]);
        if (blocked_take(d, p, records[i]))
            continue;
        p->newest = records[i]->offset;
        watermark_begin(&p->done, records[i]->offset);
        if (p->old && blocked_is_none(d, records[i]))
            poll_skip(d, records[i], p);
        else
            poll_take(d, records[i], p, NULL);
    }
    return room > 0 && n == room;
}

/* A record that is shown to listeners, or not for them. */
static void poll_count_shown(struct delivery *d, const struct event *ev, const struct record *r, bool wanted)
{
    metric_add(d->self.count.consumed, 1);
    metric_add(wanted ? d->self.count.delivered : d->self.count.filtered, 1);
    if (wanted)
        way_taken(d, ev, r, NULL);
    else
        way_passed(d, ev, r);
}

bool poll_broadcast(struct delivery *d)
{
    struct record *records[POLL_MOST];
    size_t n = poll_consumer(d, records, POLL_MOST);
    for (size_t i = 0; i < n; i++) {
        const struct event *ev = event_of_record(records[i], NULL);
        bool wanted = ev && filter_match(d->self.filter, ev);
        if (!d->first) /* each counts once, however many threads there are */
            poll_count_shown(d, ev, records[i], wanted);
        d->coming = records + i + 1;
        d->coming_count = n - i - 1;
        int64_t began_us = wanted && span_on() ? clock_wall_us() : 0;
        if (wanted)
            d->s->ops->send(d->s, &(struct message){ .event = ev, .record = records[i], .attempt = 1 });
        if (began_us)
            traced_fan_out(d, ev, records[i], began_us);
        event_unref(ev);
        record_free(records[i]);
    }
    return n == POLL_MOST;
}
