/* SPDX-License-Identifier: MIT */
/* Runs one sink: polls, sends, verdicts, watermark. The window is in delivery_window.c, what moves to other topics
 * in delivery_move.c. */
#include "bridge/delivery/private.h"
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/lib/crash.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "bridge/event/trail.h"

METRIC_COUNTER(aqueduct_sink_consumed_total, "Records taken from the sink's topics.", "sink");
METRIC_COUNTER(aqueduct_sink_delivered_total, "Events the receiver acknowledged (broadcast: handed to the listeners).",
               "sink");
METRIC_COUNTER(aqueduct_sink_dead_total, "Events given up: their dead letter is stored.", "sink");
METRIC_COUNTER(aqueduct_sink_filtered_total, "Events the sink's filter left out.", "sink");
METRIC_COUNTER(aqueduct_sink_moved_total, "Events moved to a retry topic, from which they are consumed again.", "sink");
METRIC_COUNTER(aqueduct_sink_released_total, "Records left to another member of the group, or to the next start.",
               "sink");
METRIC_COUNTER(aqueduct_sink_attempts_total, "Attempts to deliver that ended.", "sink");
METRIC_COUNTER(aqueduct_sink_retries_total, "Attempts that failed and may be repeated.", "sink");
METRIC_COUNTER(
    aqueduct_sink_untried_total,
    "Events that could not even be tried for lack of something on this machine (descriptors, memory, ports); they "
    "are sent again.",
    "sink");
METRIC_GAUGE(aqueduct_sink_pending, "Records consumed and not finished.", "sink");

enum {
    ROUND = 256,            /* records polled and results taken in one turn */
    ASLEEP_MS = 1000,       /* longest wait: the consumer wants to be asked now and then */
    REVOKE_LIMIT_MS = 2000, /* how long a partition's hand-over may wait for what is in flight */
    REFILE_FIRST_MS = 1000,
    REFILE_MOST_MS = 30000, /* a dead-letter sink's waits between attempts */
    UNTRIED_MS = 250,       /* until what could not even be tried is sent again */
    LACK_SAID_MS = 60000,
};

/* ---- partitions ---- */

static struct part *part_find(struct delivery *d, struct str topic, int32_t partition)
{
    struct part *p = d->last_part;
    if (p && p->place.partition == partition && str_eq(p->topic, topic))
        return p;
    for (p = d->parts; p; p = p->next)
        if (p->place.partition == partition && str_eq(p->topic, topic))
            break;
    d->last_part = p ? p : d->last_part;
    return p;
}

static struct part *part_of(struct delivery *d, const struct record *r)
{
    struct part *p = part_find(d, r->topic, r->partition);
    if (p)
        return p;
    p = mem_alloc(sizeof *p);
    p->place.topic = str_dup(r->topic);
    p->place.partition = r->partition;
    p->topic = str_of(p->place.topic);
    p->own = str_starts(r->topic, str_of(d->retry_prefix)) || str_eq(r->topic, str_of(d->redrive_topic));
    p->committed = p->newest = -1;
    p->next = d->parts;
    d->parts = p;
    return d->last_part = p;
}

static void part_free(struct delivery *d, struct part *gone)
{
    struct part **at = &d->parts;
    while (*at != gone)
        at = &(*at)->next;
    *at = gone->next;
    if (d->last_part == gone)
        d->last_part = NULL;
    watermark_free(&gone->done);
    free((char *)(uintptr_t)gone->place.topic);
    free(gone);
}

static void commit(struct delivery *d)
{
    for (struct part *p = d->parts; p; p = p->next) {
        int64_t position = watermark_position(&p->done);
        if (position <= p->committed)
            continue;
        crash_point("delivery-before-commit");
        consumer_commit(d->consumer, p->place, position);
        p->committed = position;
    }
}

/* ---- verdicts ---- */

static void note_health(struct delivery *d, const struct entry *en, const struct result *r)
{
    bool failing = r->verdict != VERDICT_DELIVERED;
    if (failing && !d->failing)
        LOG(WARN, "deliveries fail", LOG_C("sink", d->s->id), LOG_STR("event", en->event ? en->event->id : STR("?")),
            LOG_INT("attempt", en->attempts), LOG_INT("status", r->status), LOG_C("reason", r->why));
    if (!failing && d->failing)
        LOG(INFO, "deliveries succeed again", LOG_C("sink", d->s->id));
    d->failing = failing;
}

static int64_t refile_wait(const struct entry *en)
{
    int64_t wait = REFILE_FIRST_MS * (int64_t)en->attempts;
    return wait < REFILE_MOST_MS ? wait : REFILE_MOST_MS;
}

static void retry(struct delivery *d, struct entry *en, const struct result *r)
{
    metric_add(d->count.retries, 1);
    int64_t wait;
    if (d->s->ops->dead_letters)
        wait = refile_wait(en);
    else if (en->attempts > d->config->retry.count) {
        moves_dead_letter(d, en, reason_text(r->reason));
        return;
    } else
        wait = d->config->retry.at[en->attempts - 1].ms;
    if (r->retry_after.ms > wait)
        wait = r->retry_after.ms;
    if (wait > d->config->retry_memory.ms && !d->chains && !d->s->ops->dead_letters) {
        moves_retry(d, en, wait);
        return;
    }
    en->state = ENTRY_WAITING;
    timers_add(&d->timers, clock_mono_ms() + wait, entry_tag(en));
}

/* Takes back an attempt that was none: the receiver saw nothing of it, and only our own machine is to blame. */
static void untried(struct delivery *d, struct entry *en, const struct result *r)
{
    int64_t now = clock_mono_ms();
    if (d->lack_said_ms == 0 || now - d->lack_said_ms >= LACK_SAID_MS) {
        LOG(WARN, "cannot send for lack of something on this machine; trying until it is there",
            LOG_C("sink", d->s->id), LOG_C("reason", r->why));
        d->lack_said_ms = now;
    }
    metric_add(d->count.untried, 1);
    if (--en->attempts == 0)
        en->first_ms = 0;
    en->state = ENTRY_WAITING;
    timers_add(&d->timers, now + UNTRIED_MS, entry_tag(en));
}

static void take_result(struct delivery *d, const struct result *r)
{
    struct entry *en = entry_of(d, r->tag);
    CHECK(en && en->state == ENTRY_FLYING);
    d->flying--;
    if (r->verdict != VERDICT_UNTRIED) {
        metric_add(d->count.attempts, 1);
        en->last = *r;
        en->last_ms = clock_wall_ms();
        note_health(d, en, r);
    }
    if (!en->part && r->verdict != VERDICT_DELIVERED) { /* its partition went to somebody else, who delivers it */
        entry_finish(d, en, d->count.released);
        return;
    }
    switch (r->verdict) {
    case VERDICT_DELIVERED:
        crash_point("delivery-after-send");
        entry_finish(d, en, d->count.delivered);
        return;
    case VERDICT_RETRY: retry(d, en, r); return;
    case VERDICT_REJECT:
        if (d->s->ops->dead_letters)
            retry(d, en, r);
        else
            moves_dead_letter(d, en, reason_text(r->reason));
        return;
    case VERDICT_UNTRIED: untried(d, en, r); return;
    }
    CHECK(r->verdict == VERDICT_DELIVERED); /* a sink returned a result without a verdict */
}

/* ---- sending ---- */

static void send_one(struct delivery *d, struct entry *en)
{
    en->state = ENTRY_FLYING;
    en->attempts++;
    if (en->first_ms == 0)
        en->first_ms = clock_wall_ms();
    d->flying++;
    d->s->ops->send(d->s,
                    &(struct message){
                        .event = en->event, .record = en->record, .attempt = en->attempts, .tag = entry_tag(en) });
}

static void send_ready(struct delivery *d)
{
    for (struct entry *en; (en = queue_take(&d->ready));)
        send_one(d, en);
}

/* Makes an entry ready, or puts it behind an earlier one of its key. */
static void entry_enter(struct delivery *d, struct entry *en)
{
    en->state = chain_enter(d, en) ? ENTRY_READY : ENTRY_BEHIND;
    if (en->state == ENTRY_READY)
        queue_add(&d->ready, en);
}

static void park(struct delivery *d, struct entry *en, int64_t wait_ms)
{
    en->state = ENTRY_PARKED;
    d->window_used--;
    d->parked++;
    if (en->part->parked++ == 0)
        consumer_hold(d->consumer, en->part->place, true);
    timers_add(&d->timers, clock_mono_ms() + wait_ms, entry_tag(en));
}

static void unpark(struct delivery *d, struct entry *en)
{
    d->parked--;
    d->window_used++;
    if (--en->part->parked == 0)
        consumer_hold(d->consumer, en->part->place, false);
    entry_enter(d, en);
}

static void on_timer(struct delivery *d, uint64_t tag)
{
    struct entry *en = entry_of(d, tag);
    if (!en)
        return;
    switch (en->state) {
    case ENTRY_WAITING:
        en->state = ENTRY_READY;
        queue_add(&d->ready, en);
        return;
    case ENTRY_PARKED: unpark(d, en); return;
    case ENTRY_STORING: moves_again(d, en); return;
    case ENTRY_FREE:
    case ENTRY_READY:
    case ENTRY_BEHIND:
    case ENTRY_FLYING: return;
    }
}

/* ---- a partition goes ---- */

/* Forgets a partition and what is open of it: whoever reads it next gets that again. */
static void release(struct delivery *d, struct part *part)
{
    for (size_t i = 0; i < d->entry_cap; i++) {
        struct entry *en = d->entries[i];
        if (en->state == ENTRY_FREE || en->part != part)
            continue;
        en->part = NULL; /* flying and storing ones end on their own, without a say in the watermark */
        if (en->state == ENTRY_FLYING || en->state == ENTRY_STORING)
            continue;
        if (en->state == ENTRY_READY)
            queue_remove(&d->ready, en);
        entry_finish(d, en, d->count.released);
    }
    part_free(d, part);
}

/* ---- records come in ---- */

static void take_record(struct delivery *d, struct record *r)
{
    struct err e = { "" };
    struct part *part = part_of(d, r);
    if (r->offset <= part->newest) {
        LOG(WARN, "a topic begins anew", LOG_C("sink", d->s->id), LOG_STR("topic", r->topic),
            LOG_INT("partition", r->partition), LOG_INT("offset", r->offset));
        release(d, part);
        part = part_of(d, r);
    }
    part->newest = r->offset;
    watermark_begin(&part->done, r->offset);
    metric_add(d->count.consumed, 1);
    metric_add(d->count.pending, 1);
    struct entry *en = entry_new(d);
    d->window_used++;
    en->record = r;
    en->part = part;
    en->event = event_from_record(r, &e);
    if (d->s->ops->dead_letters) { /* takes every record: what is no event is filed by its place */
        entry_enter(d, en);
        return;
    }
    if (!en->event) {
        why_copy(en->last.why, e.text);
        moves_dead_letter(d, en, reason_text(REASON_POISON));
        return;
    }
    if (!part->own) {
        if (filter_match(d->config->filter, en->event))
            entry_enter(d, en);
        else
            entry_finish(d, en, d->count.filtered);
        return;
    }
    struct trail trail = trail_read(r);
    en->attempts = trail.attempts;
    en->first_ms = trail.first_ms;
    int64_t now = clock_wall_ms();
    if (trail.due_ms > now)
        park(d, en, trail.due_ms - now);
    else
        entry_enter(d, en);
}

/* At most `room` new records; 0 as well when the consumer is in trouble, which is told once. It lets a place in
 * trouble rest by itself, so the others go on. */
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

/* Polls; true when there may be more at once. */
static bool poll_records(struct delivery *d)
{
    struct record *records[ROUND];
    size_t room = d->window_used < (size_t)d->config->window ? (size_t)d->config->window - d->window_used : 0;
    if (room > ROUND)
        room = ROUND;
    size_t n = poll_consumer(d, records, room);
    for (size_t i = 0; i < n; i++)
        take_record(d, records[i]);
    return room > 0 && n == room;
}

static bool poll_broadcast(struct delivery *d)
{
    struct record *records[ROUND];
    size_t n = poll_consumer(d, records, ROUND);
    for (size_t i = 0; i < n; i++) {
        const struct event *ev = event_from_record(records[i], NULL);
        metric_add(d->count.consumed, 1);
        bool wanted = ev && filter_match(d->config->filter, ev);
        metric_add(wanted ? d->count.delivered : d->count.filtered, 1);
        if (wanted)
            d->s->ops->send(d->s, &(struct message){ .event = ev, .record = records[i], .attempt = 1 });
        event_unref(ev);
        record_free(records[i]);
    }
    return n == ROUND;
}

/* ---- news ---- */

static void take_notes(struct delivery *d)
{
    struct notice notices[64];
    for (size_t n; (n = mailbox_take(&d->stored, notices, sizeof notices / sizeof *notices)) > 0;)
        for (size_t i = 0; i < n; i++) {
            struct entry *en = entry_of(d, notices[i].tag);
            CHECK(en && en->state == ENTRY_STORING);
            moves_done(d, en, (enum outcome)notices[i].code, notices[i].why);
        }
}

static void take_results(struct delivery *d, int64_t wait_ms)
{
    struct result results[ROUND];
    size_t n = d->s->ops->work(d->s, d->wake_fd, (struct duration){ wait_ms }, results, ROUND);
    for (size_t i = 0; i < n; i++)
        take_result(d, &results[i]);
}

/* ---- partitions are taken away ---- */

static bool busy_with(const struct delivery *d, struct part *const *parts, size_t count)
{
    for (size_t i = 0; i < d->entry_cap; i++)
        for (size_t k = 0; k < count; k++) {
            const struct entry *en = d->entries[i];
            if (parts[k] && en->part == parts[k] && (en->state == ENTRY_FLYING || en->state == ENTRY_STORING))
                return true;
        }
    return false;
}

static void on_revoked(void *ctx, const struct topic_partition *partitions, size_t count)
{
    struct delivery *d = ctx;
    struct part **parts = mem_alloc((count + 1) * sizeof *parts);
    for (size_t i = 0; i < count; i++)
        parts[i] = part_find(d, str_of(partitions[i].topic), partitions[i].partition);
    int64_t limit = clock_mono_ms() + REVOKE_LIMIT_MS;
    while (busy_with(d, parts, count) && clock_mono_ms() < limit && !atomic_load(&d->abandoned)) {
        wake_clear(d->wake_fd);
        take_notes(d);
        take_results(d, 50);
    }
    commit(d);
    for (size_t i = 0; i < count; i++)
        if (parts[i])
            release(d, parts[i]);
    free(parts);
}

/* ---- start, turn, end ---- */

static void count_open(struct delivery *d)
{
    const char *const *id = LABELS(d->s->id);
    d->count = (struct delivery_counters){
        .consumed = metric_get(&aqueduct_sink_consumed_total, id),
        .delivered = metric_get(&aqueduct_sink_delivered_total, id),
        .dead = metric_get(&aqueduct_sink_dead_total, id),
        .filtered = metric_get(&aqueduct_sink_filtered_total, id),
        .moved = metric_get(&aqueduct_sink_moved_total, id),
        .released = metric_get(&aqueduct_sink_released_total, id),
        .attempts = metric_get(&aqueduct_sink_attempts_total, id),
        .retries = metric_get(&aqueduct_sink_retries_total, id),
        .untried = metric_get(&aqueduct_sink_untried_total, id),
        .pending = metric_get(&aqueduct_sink_pending, id),
    };
}

static bool consumer_start(struct delivery *d, struct err *e)
{
    size_t count = 0;
    const char **topics = mem_alloc((d->config->topics.count + d->retry_name_count + 2) * sizeof *topics);
    if (d->s->ops->dead_letters)
        topics[count++] = d->dead_letter_topic;
    for (size_t i = 0; !d->s->ops->dead_letters && i < d->config->topics.count; i++)
        topics[count++] = d->config->topics.at[i];
    if (!d->s->ops->dead_letters && !d->s->ops->broadcast) {
        for (size_t i = 0; i < d->retry_name_count; i++)
            topics[count++] = d->retry_names[i];
        topics[count++] = d->redrive_topic;
    }
    d->consumer = consumer_open(d->broker,
                                &(struct consumer_options){ .group = d->s->ops->broadcast ? NULL : d->group,
                                                            .topics = topics,
                                                            .topic_count = count,
                                                            .from_start = d->config->start == START_EARLIEST,
                                                            .wake_fd = d->wake_fd,
                                                            .revoked = on_revoked,
                                                            .ctx = d },
                                e);
    free(topics);
    return d->consumer != NULL;
}

struct delivery *delivery_new(const struct sink_config *sink, const struct broker_config *names, struct broker *broker,
                              struct err *e)
{
    struct delivery *d = mem_alloc(sizeof *d);
    d->s = sink->sink;
    d->config = sink;
    d->broker = broker;
    d->s->topics = &sink->topics;
    d->wake_fd = wake_new();
    mailbox_open(&d->stored, d->wake_fd);
    count_open(d);
    if (sink->order == ORDER_KEY) {
        d->chain_mask = 1;
        while (d->chain_mask < (size_t)sink->window * 4)
            d->chain_mask = d->chain_mask * 2 + 1;
        d->chains = mem_alloc((d->chain_mask + 1) * sizeof *d->chains);
    }
    d->s->topics = &d->config->topics;
    d->open = moves_open(d, names, e) && d->s->ops->open(d->s, e);
    if (d->open && consumer_start(d, e))
        return d;
    err_prefix(e, "sinks.%s", d->s->id);
    delivery_free(d);
    return NULL;
}

void delivery_stop(struct delivery *d)
{
    atomic_store(&d->stopping, true);
    wake_up(d->wake_fd);
}

void delivery_abandon(struct delivery *d)
{
    atomic_store(&d->abandoned, true);
    wake_up(d->wake_fd);
}

static int64_t wait_for(const struct delivery *d, struct duration most)
{
    int64_t next = timers_next(&d->timers), now = clock_mono_ms();
    int64_t wait = most.ms < ASLEEP_MS ? most.ms : ASLEEP_MS;
    if (next <= now)
        return 0;
    return next - now < wait ? next - now : wait;
}

bool delivery_step(struct delivery *d, struct duration wait)
{
    bool more = false;
    wake_clear(d->wake_fd); /* before anything is looked at, so that no news is slept over */
    d->stopped = atomic_load(&d->stopping);
    if (atomic_load(&d->abandoned) || (d->stopped && d->flying == 0 && d->storing == 0))
        return false;
    if (d->s->ops->broadcast) {
        more = poll_broadcast(d);
        take_results(d, more ? 0 : wait_for(d, wait));
        return true;
    }
    take_notes(d);
    for (uint64_t tag; timers_pop(&d->timers, clock_mono_ms(), &tag);)
        on_timer(d, tag);
    more = poll_records(d);
    if (!d->stopped)
        send_ready(d);
    take_results(d, more ? 0 : wait_for(d, wait));
    commit(d);
    return true;
}

/* A broadcast sink says good-bye to its listeners on its own thread, when everything that was read is with them. */
void delivery_drain(struct delivery *d, struct duration limit)
{
    if (d->s->ops->drain)
        d->s->ops->drain(d->s, limit);
}

void delivery_close(struct delivery *d)
{
    if (!d)
        return;
    if (d->consumer) {
        commit(d);
        consumer_close(d->consumer);
        d->consumer = NULL;
    }
    if (d->open)
        d->s->ops->close(d->s);
    d->open = false;
}

void delivery_free(struct delivery *d)
{
    if (!d)
        return;
    delivery_close(d);
    for (size_t i = 0; i < d->entry_cap; i++)
        if (d->entries[i]->state != ENTRY_FREE) {
            metric_add(d->count.released, 1);
            entry_drop(d, d->entries[i]);
        }
    for (size_t i = 0; i < d->entry_cap; i++) /* not before: dropping one still links the next of its key */
        free(d->entries[i]);
    while (d->parts)
        part_free(d, d->parts);
    free(d->entries);
    free(d->free);
    free(d->chains);
    timers_free(&d->timers);
    mailbox_close(&d->stored);
    close(d->wake_fd);
    moves_close(d);
    free(d);
}
