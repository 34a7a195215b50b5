/* SPDX-License-Identifier: MIT */
/* Moves records on to the retry and dead-letter topics; the entry ends only when its copy is stored. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/delivery/private.h"
#include "bridge/lib/crash.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "bridge/event/trail.h"

enum { STORE_AGAIN_MS = 1000 };

/* 90000 -> "90s": the largest unit without a remainder. */
static void moves_wait_text(int64_t ms, char out[24])
{
    static const struct {
        int64_t ms;
        const char *unit;
    } units[] = { { 86400000, "d" }, { 3600000, "h" }, { 60000, "m" }, { 1000, "s" }, { 1, "ms" } };
    size_t i = 0;
    while (ms % units[i].ms != 0)
        i++;
    snprintf(out, 24, "%" PRId64 "%s", ms / units[i].ms, units[i].unit);
}

static int moves_by_wait(const void *a, const void *b)
{
    const struct retry_topic *x = a, *y = b;
    return (x->wait_ms > y->wait_ms) - (x->wait_ms < y->wait_ms);
}

/* One retry topic per distinct wait that is too long for memory. */
static size_t moves_retry_topics(const struct sink_config *sink, const char *prefix, struct retry_topic *out)
{
    size_t count = 0;
    if (sink->sink->ops->broadcast || sink->sink->ops->dead_letters || sink->order == ORDER_KEY)
        return 0;
    for (size_t i = 0; i < sink->retry.count; i++) {
        int64_t wait = sink->retry.at[i].ms;
        bool known = wait <= sink->retry_memory.ms;
        for (size_t k = 0; k < count; k++)
            known |= out[k].wait_ms == wait;
        if (known)
            continue;
        char text[24];
        moves_wait_text(wait, text);
        char *id = str_join(sink->sink->id, ".", text);
        out[count++] = (struct retry_topic){ .wait_ms = wait, .topic = topic_name(prefix, TOPIC_RETRY, id) };
        free(id);
    }
    qsort(out, count, sizeof *out, moves_by_wait);
    return count;
}

bool delivery_topics(const struct sink_config *sink, const struct broker_config *names,
                     bool (*each)(void *ctx, const char *topic, const char *group, struct err *e), void *ctx,
                     struct err *e)
{
    if (sink->sink->ops->broadcast || sink->sink->ops->dead_letters)
        return true;
    struct retry_topic *topics = mem_alloc((sink->retry.count + 1) * sizeof *topics);
    size_t count = moves_retry_topics(sink, names->prefix, topics);
    char *redrive = topic_name(names->prefix, TOPIC_REDRIVE, sink->sink->id);
    char *group = str_join(names->group_prefix, sink->sink->id, "");
    bool ok = each(ctx, redrive, group, e);
    for (size_t i = 0; i < count; i++) {
        ok = ok && each(ctx, topics[i].topic, group, e);
        free(topics[i].topic);
    }
    free(group);
    free(redrive);
    free(topics);
    return ok;
}

/* A retry topic that exists: its records are ours to finish, also those of an earlier schedule. */
static void moves_adopt(void *ctx, const char *topic)
{
    struct delivery *d = ctx;
    for (size_t i = 0; i < d->retry_name_count; i++)
        if (strcmp(d->retry_names[i], topic) == 0)
            return;
    d->retry_names = mem_grow(d->retry_names, d->retry_name_count + 1, sizeof *d->retry_names);
    d->retry_names[d->retry_name_count++] = str_dup(str_of(topic));
}

bool moves_open(struct delivery *d, const struct broker_config *names, struct err *e)
{
    char *id = str_join(d->s->id, ".", "");
    d->retry_prefix = topic_name(names->prefix, TOPIC_RETRY, id);
    free(id);
    d->group = str_join(names->group_prefix, d->s->id, "");
    d->dead_letter_topic = topic_name(names->prefix, TOPIC_DEAD_LETTER, NULL);
    d->redrive_topic = topic_name(names->prefix, TOPIC_REDRIVE, d->s->id);
    d->retries = mem_alloc((d->config->retry.count + 1) * sizeof *d->retries);
    d->retry_count = moves_retry_topics(d->config, names->prefix, d->retries);
    for (size_t i = 0; i < d->retry_count; i++) /* known, even if a node of the cluster does not list it yet */
        moves_adopt(d, d->retries[i].topic);
    return d->s->ops->broadcast || d->s->ops->dead_letters
           || broker_topics(d->broker, d->retry_prefix, moves_adopt, d, e);
}

void moves_close(struct delivery *d)
{
    for (size_t i = 0; i < d->retry_count; i++)
        free(d->retries[i].topic);
    for (size_t i = 0; i < d->retry_name_count; i++)
        free(d->retry_names[i]);
    free(d->retry_names);
    free(d->retry_prefix);
    free(d->retries);
    free(d->group);
    free(d->dead_letter_topic);
    free(d->redrive_topic);
}

const char *moves_class(enum reason r)
{
    switch (r) {
    case REASON_NONE:
    case REASON_REFUSED: return "refused";
    case REASON_UNAVAILABLE: return "unavailable";
    case REASON_CONFIGURATION: return "configuration";
    case REASON_POISON: return "poison";
    case REASON_BLOCKED: return "blocked";
    }
    return "refused";
}

static void moves_on_stored(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    struct delivery *d = ctx;
    mailbox_put(&d->stored, tag, (int32_t)o, why);
}

/* Publishes a copy of the entry's record with a new trail; moves_done says how that ended. */
static void moves_publish(struct delivery *d, struct entry *en, const char *topic, const char *const *trail)
{
    struct moved m;
    struct record r = *en->of->record;
    if (en->bare > 0)
        r.value = STR_ABSENT;
    if (en->bare > 1) {
        r.key = STR_ABSENT;
        r.header_count = 0;
    }
    trail_move(&m, &r, topic, trail);
    broker_publish(d->broker, &(struct publication){ .records = &m.record,
                                                     .record_count = 1,
                                                     .done = moves_on_stored,
                                                     .ctx = d,
                                                     .tag = window_tag(en) });
    trail_free(&m);
}

static void moves_publish_dead_letter(struct delivery *d, struct entry *en)
{
    char attempts[16], status[16] = "", first[CLOCK_TEXT], last[CLOCK_TEXT];
    int64_t now = clock_wall_ms();
    snprintf(attempts, sizeof attempts, "%u", en->attempts);
    if (en->last.status)
        snprintf(status, sizeof status, "%d", en->last.status);
    clock_text(en->first_ms ? en->first_ms : now, first);
    clock_text(en->last_ms ? en->last_ms : now, last);
    moves_publish(d, en, d->dead_letter_topic,
                  (const char *const[]){ TRAIL_SINK, d->s->id, TRAIL_ATTEMPTS, attempts, TRAIL_FIRST, first, TRAIL_LAST,
                                         last, TRAIL_STATUS, status, TRAIL_CLASS, en->dead_class, TRAIL_REASON,
                                         en->last.why, NULL });
}

/* The retry topic whose wait is at least as long as asked, or the longest there is; NULL: there is none. */
static const struct retry_topic *moves_topic_for(const struct delivery *d, int64_t wait_ms)
{
    for (size_t i = 0; i < d->retry_count; i++)
        if (d->retries[i].wait_ms >= wait_ms)
            return &d->retries[i];
    return d->retry_count ? &d->retries[d->retry_count - 1] : NULL;
}

static void moves_publish_retry(struct delivery *d, struct entry *en)
{
    char attempts[16], due[24], first[CLOCK_TEXT];
    const struct retry_topic *to = moves_topic_for(d, en->retry_wait_ms);
    snprintf(attempts, sizeof attempts, "%u", en->attempts);
    snprintf(due, sizeof due, "%" PRId64, clock_wall_ms() + to->wait_ms);
    clock_text(en->first_ms, first);
    moves_publish(d, en, to->topic,
                  (const char *const[]){ TRAIL_ATTEMPTS, attempts, TRAIL_FIRST, first, TRAIL_DUE, due, NULL });
}

void moves_again(struct delivery *d, struct entry *en)
{
    if (en->dead_class)
        moves_publish_dead_letter(d, en);
    else
        moves_publish_retry(d, en);
}

/* Begins to move the entry, to wherever its dead_class says. */
static void moves_start(struct delivery *d, struct entry *en)
{
    en->state = ENTRY_STORING;
    en->store_attempts = 0;
    d->storing++;
    moves_again(d, en);
}

void moves_dead_letter(struct delivery *d, struct entry *en, const char *dead_class)
{
    en->dead_class = dead_class;
    moves_start(d, en);
}

void moves_retry(struct delivery *d, struct entry *en, int64_t wait_ms)
{
    if (d->retry_count == 0) { /* the receiver asked for a long wait, but the schedule has only short ones */
        en->state = ENTRY_WAITING;
        timers_add(&d->timers, clock_mono_ms() + wait_ms, window_tag(en));
        return;
    }
    en->dead_class = NULL;
    en->retry_wait_ms = wait_ms;
    moves_start(d, en);
}

/* With its trail the record is larger than the broker takes. A retry becomes a dead letter; that one goes without
 * its data, which still stands at its origin; if need be (a foreign record), it only tells where that is. */
static void moves_shrink(struct delivery *d, struct entry *en, const char *why)
{
    LOG(ERROR, "too large to move on; its dead letter is stored without its data", LOG_C("sink", d->s->id),
        LOG_STR("event", en->of->event ? en->of->event->id : STR("?")), LOG_C("reason", why));
    if (!en->dead_class)
        en->dead_class = moves_class(en->last.reason);
    en->bare++;
    moves_publish_dead_letter(d, en);
}

void moves_done(struct delivery *d, struct entry *en, enum outcome o, const char *why)
{
    if (o == OUTCOME_INVALID && en->bare < 2) {
        moves_shrink(d, en, why);
        return;
    }
    if (o != OUTCOME_STORED) { /* never dropped: again until it is stored; meanwhile the watermark stays */
        if (en->store_attempts++ == 0)
            LOG(ERROR, "cannot store a dead letter or retry; trying until it is stored", LOG_C("sink", d->s->id),
                LOG_STR("event", en->of->event ? en->of->event->id : STR("?")), LOG_C("reason", why));
        timers_add(&d->timers, clock_mono_ms() + STORE_AGAIN_MS, window_tag(en));
        return;
    }
    d->storing--;
    if (!en->dead_class) {
        crash_point("delivery-after-retry");
        window_finish(d, en, en->to->count.moved);
        return;
    }
    crash_point("delivery-after-dead-letter");
    LOG(WARN, "dead letter", LOG_C("sink", d->s->id), LOG_STR("event", en->of->event ? en->of->event->id : STR("?")),
        LOG_INT("attempts", en->attempts), LOG_INT("status", en->last.status), LOG_C("class", en->dead_class),
        LOG_C("reason", en->last.why));
    window_finish(d, en, en->to->count.dead);
}
