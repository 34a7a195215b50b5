/* SPDX-License-Identifier: MIT */
/* Runs one sink: its life and its turn. */
#include "bridge/delivery/private.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "bridge/lib/mem.h"

enum {
    ASLEEP_MS = 1000,       /* longest wait: the consumer wants to be asked now and then */
    REVOKE_LIMIT_MS = 2000, /* how long a partition's hand-over may wait for what is in flight */
    REVOKE_WAIT_MS = 50,
};

/* ---- sending ---- */

/* Gives an entry to the sink. */
static void delivery_send(struct delivery *d, struct entry *en)
{
    en->state = ENTRY_FLYING;
    en->attempts++;
    if (en->first_ms == 0)
        en->first_ms = clock_wall_ms();
    d->flying++;
    en->to->flying++;
    en->via = en->to->outlet;
    en->via->flying++;
    gates_sent(d, en);
    en->span = span_on() ? span_new() : 0;
    d->s->ops->send(d->s, &(struct message){ .event = en->of->event,
                                             .record = en->of->record,
                                             .endpoint = en->via->endpoint,
                                             .attempt = en->attempts,
                                             .span = en->span,
                                             .awaited = en->probe || window_is_awaited(en),
                                             .tag = window_tag(en) });
}

static void delivery_send_ready(struct delivery *d)
{
    int64_t now = clock_mono_ms();
    for (struct entry *en; (en = window_next(d, now));)
        if (en->to->gone)
            moves_orphan(d, en, str_of(en->to->name));
        else if (blocked_passes(d, en))
            delivery_send(d, en);
}

/* An entry's wait is over. */
static void delivery_timer(struct delivery *d, uint64_t tag)
{
    struct entry *en = window_find(d, tag);
    if (!en)
        return;
    switch (en->state) {
    case ENTRY_WAITING:
        en->to->waiting--;
        window_ready(d, en);
        return;
    case ENTRY_STORING: moves_again(d, en); return;
    case ENTRY_FREE:
    case ENTRY_READY:
    case ENTRY_BEHIND:
    case ENTRY_HELD:
    case ENTRY_FLYING: return;
    }
}

/* ---- start, turn, end ---- */

/* Partitions are taken away: gives what is in flight a moment to end, commits, and forgets the rest. */
static void delivery_revoked(void *ctx, const struct topic_partition *partitions, size_t count)
{
    struct delivery *d = ctx;
    struct partition **gone = mem_alloc((count + 1) * sizeof *gone);
    for (size_t i = 0; i < count; i++)
        gone[i] = partition_find(d, str_of(partitions[i].topic), partitions[i].partition);
    int64_t limit = clock_mono_ms() + REVOKE_LIMIT_MS;
    d->s->draining = true;
    while (partitions_busy(d, gone, count) && clock_mono_ms() < limit && !atomic_load(&d->abandoned)) {
        wake_clear(d->wake_fd);
        verdicts_take_stored(d);
        verdicts_take(d, REVOKE_WAIT_MS);
    }
    d->s->draining = d->stopped;
    partitions_commit(d, true);
    for (size_t i = 0; i < count; i++)
        if (gone[i]) {
            blocked_forget(d, gone[i]);
            partition_release(d, gone[i]);
        }
    free(gone);
}

/* Opens the consumer of all topics that this sink reads. */
static bool delivery_consume(struct delivery *d, struct err *e)
{
    size_t count = 0;
    const char **topics = mem_alloc(
        (d->config->topics.count + d->retry_name_count + d->log_count + d->old_count + d->config->formerly.count + 2)
        * sizeof *topics);
    if (d->s->ops->dead_letters)
        topics[count++] = d->dead_letter_topic;
    for (size_t i = 0; !d->s->ops->dead_letters && i < d->config->topics.count; i++)
        topics[count++] = d->config->topics.at[i];
    if (!d->s->ops->dead_letters && !d->s->ops->broadcast) {
        for (size_t i = 0; i < d->retry_name_count; i++)
            topics[count++] = d->retry_names[i];
        for (size_t i = 0; i < d->log_count; i++)
            topics[count++] = d->logs[i].topic;
        for (size_t i = 0; i < d->old_count; i++)
            topics[count++] = d->old[i].topic;
        for (size_t i = 0; i <= d->config->formerly.count; i++)
            topics[count++] = d->redrive_topics[i];
    }
    d->consumer = consumer_open(d->broker,
                                &(struct consumer_options){ .group = d->s->ops->broadcast ? NULL : d->group,
                                                            .topics = topics,
                                                            .topic_count = count,
                                                            .formerly = (const char *const *)d->formerly,
                                                            .formerly_count = d->config->formerly.count,
                                                            .from_start = d->config->start == START_EARLIEST,
                                                            .beside = true,
                                                            .wake_fd = d->wake_fd,
                                                            .revoked = delivery_revoked,
                                                            .ctx = d },
                                e);
    free(topics);
    return d->consumer != NULL;
}

/* Opens it around a sink's struct, whose first one that of `first` is (NULL: this). */
static struct delivery *delivery_open(struct sink *s, const struct sink_config *sink, struct delivery *first,
                                      const struct broker_config *names, struct broker *broker, struct err *e)
{
    struct delivery *d = mem_alloc(sizeof *d);
    d->s = s;
    d->config = sink;
    d->broker = broker;
    d->first = first;
    d->own = first ? s : NULL;
    if (!first && sink->threads > 1)
        d->fresh = memcpy(mem_alloc(s->ops->size), s, s->ops->size);
    d->s->topics = &sink->topics;
    d->s->copies = (size_t)sink->threads;
    d->s->first = first ? first->s : NULL;
    d->wake_fd = wake_new();
    d->account = account_new();
    d->control = control_new();
    mailbox_open(&d->stored, d->wake_fd);
    d->attempts = attempts_new(sink, names->prefix, broker);
    destinations_make(d);
    inbox_open(d);
    blocked_open(d, names);
    d->open = moves_open(d, names, e) && blocked_find_old(d, names, e)
              && (!d->s->ops->broadcast || live_open(d, names, e)) && d->s->ops->open(d->s, e);
    if (d->open && destinations_open(d, e) && delivery_consume(d, e))
        return d;
    err_prefix(e, "sinks.%s", d->s->id);
    delivery_free(d);
    return NULL;
}

struct delivery *delivery_new(const struct sink_config *sink, const struct broker_config *names, struct broker *broker,
                              struct err *e)
{
    return delivery_open(sink->sink, sink, NULL, names, broker, e);
}

struct delivery *delivery_copy(struct delivery *of, const struct broker_config *names, struct err *e)
{
    const struct sink_ops *ops = of->s->ops;
    CHECK(ops->copies && ops->broadcast && of->fresh);
    struct sink *s = memcpy(mem_alloc(ops->size), of->fresh, ops->size);
    struct delivery *d = delivery_open(s, of->config, of, names, of->broker, e);
    if (!d)
        return NULL;
    d->copies = of->copies;
    return of->copies = d;
}

bool delivery_ready(const struct delivery *d, struct err *why)
{
    return !d->s->ops->ready || d->s->ops->ready(d->s, why) || err_prefix(why, "sink %s", d->s->id);
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

static int64_t delivery_wait(const struct delivery *d, struct duration most)
{
    int64_t next = timers_next(&d->timers), now = clock_mono_ms(), commit = partitions_commit_due(d),
            attempts = attempts_due(d->attempts);
    int64_t wait = most.ms < ASLEEP_MS ? most.ms : ASLEEP_MS;
    if (commit < next)
        next = commit;
    if (attempts < next)
        next = attempts;
    if (blocked_next(d) < next)
        next = blocked_next(d);
    if (!d->stopped && window_rest(d) < next)
        next = window_rest(d);
    if (next <= now)
        return 0;
    return next - now < wait ? next - now : wait;
}

bool delivery_step(struct delivery *d, struct duration wait)
{
    bool more = false;
    wake_clear(d->wake_fd); /* before anything is looked at, so that no news is slept over */
    d->s->draining = d->stopped = atomic_load(&d->stopping);
    if (d->stopped) {
        moves_leave(d);
        blocked_leave(d);
    }
    if (atomic_load(&d->abandoned) || (d->stopped && d->flying == 0 && d->storing == 0)) {
        attempts_publish(d->attempts, true);
        window_tell(d);
        return false;
    }
    account_answer(d);
    control_answer(d);
    destinations_bury(d);
    if (d->s->ops->broadcast) {
        more = poll_broadcast(d);
        verdicts_take(d, more ? 0 : delivery_wait(d, wait));
        return true;
    }
    verdicts_take_stored(d);
    inbox_answer_recall(d);
    for (uint64_t tag; timers_pop(&d->timers, clock_mono_ms(), &tag);)
        delivery_timer(d, tag);
    if (!d->stopped)
        blocked_turn(d);
    more = poll_records(d);
    if (!d->stopped)
        delivery_send_ready(d);
    window_tell(d);
    verdicts_take(d, more ? 0 : delivery_wait(d, wait));
    window_tell(d);
    attempts_publish(d->attempts, false);
    partitions_commit(d, false);
    moves_relieve(d);
    if (!d->stopped && moves_tidy(d))
        blocked_tidy(d);
    return true;
}

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
        partitions_commit(d, true);
        consumer_close(d->consumer);
        d->consumer = NULL;
    }
    if (d->open) {
        outlets_close(d, true);
        d->s->ops->close(d->s);
    }
    d->open = false;
    live_close(d);
}

void delivery_free(struct delivery *d)
{
    if (!d)
        return;
    delivery_close(d);
    window_close(d);
    blocked_close(d);
    inbox_close(d);
    destinations_free(d);
    while (d->partitions)
        partition_free(d, d->partitions);
    timers_free(&d->timers);
    mailbox_close(&d->stored);
    attempts_free(d->attempts);
    account_free(d->account);
    control_free(d->control);
    live_free(d);
    close(d->wake_fd);
    moves_close(d);
    free(d->fresh);
    free(d->own);
    free(d);
}
