/* SPDX-License-Identifier: MIT */
/* Moves records on to the waiting and dead-letter topics; the entry ends only when its copy is stored. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/delivery/private.h"
#include "bridge/lib/crash.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "bridge/event/trail.h"

enum {
    STORE_AGAIN_MS = 1000,
    TIDY_MS = 5000,
    STUCK_MS = 1000, /* without a delivery */
};

METRIC_GAUGE(
    aqueduct_sink_unstored,
    "Events whose dead letter, or what is to wait, the broker does not take: they are held, and tried until it does.",
    "sink");

bool delivery_waits(const struct sink_config *sink)
{
    return !sink->sink->ops->broadcast && !sink->sink->ops->dead_letters;
}

const char *moves_name(const struct sink_config *sink, size_t i)
{
    return i == 0 ? sink->sink->id : sink->formerly.at[i - 1];
}

bool delivery_topics(const struct sink_config *sink, const struct broker_config *names,
                     bool (*each)(void *ctx, const char *topic, const char *group, struct err *e), void *ctx,
                     struct err *e)
{
    if (!delivery_waits(sink))
        return true;
    char *group = str_join(names->group_prefix, sink->sink->id, "");
    bool ok = true;
    for (size_t i = 0; i <= sink->formerly.count && ok; i++) {
        char *redrive = topic_name(names->prefix, TOPIC_REDRIVE, moves_name(sink, i));
        ok = each(ctx, redrive, group, e);
        free(redrive);
    }
    free(group);
    return ok;
}

/* A retry topic of an earlier version that exists: its records are ours to finish. */
static void moves_adopt(void *ctx, const char *topic)
{
    struct delivery *d = ctx;
    d->retry_names = mem_grow(d->retry_names, d->retry_name_count + 1, sizeof *d->retry_names);
    d->retry_names[d->retry_name_count++] = str_dup(str_of(topic));
}

/* Finds the retry topics of one of its names. */
static bool moves_find_retries(struct delivery *d, const char *prefix, const char *name, struct err *e)
{
    char *id = str_join(name, ".", ""), *begin = topic_name(prefix, TOPIC_RETRY, id);
    bool ok = broker_topics(d->broker, begin, moves_adopt, d, e);
    free(begin);
    free(id);
    return ok;
}

bool moves_open(struct delivery *d, const struct broker_config *names, struct err *e)
{
    const struct sink_config *c = d->config;
    bool ok = true;
    d->group = str_join(names->group_prefix, d->s->id, "");
    d->dead_letter_topic = topic_name(names->prefix, TOPIC_DEAD_LETTER, NULL);
    d->unstored = metric_get(&aqueduct_sink_unstored, LABELS(d->s->id));
    ladder_open(&d->ladder, names->prefix);
    d->formerly = mem_alloc((c->formerly.count + 1) * sizeof *d->formerly);
    d->redrive_topics = mem_alloc((c->formerly.count + 1) * sizeof *d->redrive_topics);
    for (size_t i = 0; i <= c->formerly.count; i++) {
        d->redrive_topics[i] = topic_name(names->prefix, TOPIC_REDRIVE, moves_name(c, i));
        if (i > 0)
            d->formerly[i - 1] = str_join(names->group_prefix, moves_name(c, i), "");
        ok = ok && (!delivery_waits(c) || moves_find_retries(d, names->prefix, moves_name(c, i), e));
    }
    return ok;
}

void moves_close(struct delivery *d)
{
    if (d->unstored)
        metric_set(d->unstored, 0);
    for (size_t i = 0; i < d->retry_name_count; i++)
        free(d->retry_names[i]);
    free(d->retry_names);
    ladder_close(&d->ladder);
    for (size_t i = 0; d->redrive_topics && i <= d->config->formerly.count; i++) {
        free(d->redrive_topics[i]);
        free(i > 0 ? d->formerly[i - 1] : NULL);
    }
    free(d->redrive_topics);
    free(d->formerly);
    free(d->group);
    free(d->dead_letter_topic);
}

bool moves_owns(const struct delivery *d, struct str topic)
{
    for (size_t i = 0; i < d->retry_name_count; i++)
        if (str_eq(topic, str_of(d->retry_names[i])))
            return true;
    for (size_t i = 0; i <= d->config->formerly.count; i++)
        if (str_eq(topic, str_of(d->redrive_topics[i])))
            return true;
    return false;
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

/* Publishes the copy, and frees it. */
static void moves_store(struct delivery *d, struct entry *en, struct moved *m)
{
    broker_publish(d->broker, &(struct publication){ .records = &m->record,
                                                     .record_count = 1,
                                                     .done = moves_on_stored,
                                                     .ctx = d,
                                                     .tag = window_tag(en) });
    trail_free(m);
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
    moves_store(d, en, &m);
}

/* The endpoint that a dead letter names: of an orphan the one that is gone, which its trail tells. free() it. */
static char *moves_endpoint(const struct entry *en)
{
    struct str gone = record_header(en->of->record, TRAIL_ENDPOINT);
    bool orphan = strcmp(en->dead_class, "orphaned") == 0 && topic_name_ok(gone); /* a foreign one is no name */
    return en->to->name ? str_dup(str_of(en->to->name)) : orphan ? str_dup(gone) : NULL;
}

/* The host of the receiver's address; NULL: it has none, or is gone. */
static const char *moves_host(const struct entry *en)
{
    const struct outlet *outlet = en->to->outlet;
    return outlet && outlet->endpoint ? outlet->endpoint->host : NULL;
}

static void moves_publish_dead_letter(struct delivery *d, struct entry *en)
{
    char attempts[16], status[16] = "", first[CLOCK_TEXT], last[CLOCK_TEXT];
    char *endpoint = moves_endpoint(en);
    int64_t now = clock_wall_ms();
    snprintf(attempts, sizeof attempts, "%u", en->attempts);
    if (en->last.status)
        snprintf(status, sizeof status, "%d", en->last.status);
    clock_text(en->first_ms ? en->first_ms : now, first);
    clock_text(en->last_ms ? en->last_ms : now, last);
    moves_publish(d, en, d->dead_letter_topic,
                  (const char *const[]){ TRAIL_SINK, d->s->id, TRAIL_ENDPOINT, endpoint, TRAIL_HOST, moves_host(en),
                                         TRAIL_ATTEMPTS, attempts, TRAIL_FIRST, first, TRAIL_LAST, last, TRAIL_STATUS,
                                         status, TRAIL_CLASS, en->dead_class, TRAIL_REASON, en->last.why, NULL });
    free(endpoint);
}

static void moves_publish_waiting(struct delivery *d, struct entry *en)
{
    ladder_publish(&d->ladder, d->broker,
                   &(struct ladder_stay){ .record = en->of->record,
                                          .sink = str_of(d->s->id),
                                          .endpoint = str_of(en->to->name),
                                          .attempts = en->attempts,
                                          .first_ms = en->first_ms,
                                          .last_ms = en->last_ms,
                                          .due_ms = en->due_ms,
                                          .again_ms = en->due_ms,
                                          .put_ms = clock_wall_ms() },
                   &(struct publication){ .done = moves_on_stored, .ctx = d, .tag = window_tag(en) });
}

static void moves_publish_blocked(struct delivery *d, struct entry *en)
{
    char attempts[16], due[24], of[24] = "", first[CLOCK_TEXT] = "", last[CLOCK_TEXT] = "";
    bool note = en->note_of >= 0;
    struct moved m;
    struct record r = *en->of->record;
    snprintf(attempts, sizeof attempts, "%u", en->attempts);
    snprintf(due, sizeof due, "%" PRId64, en->due_ms);
    if (en->first_ms)
        clock_text(en->first_ms, first);
    if (en->last_ms)
        clock_text(en->last_ms, last);
    if (note) {
        snprintf(of, sizeof of, "%" PRId64, en->note_of);
        r.value = STR_ABSENT;
        r.header_count = 0;
    }
    trail_move(&m, &r, en->log->topic,
               (const char *const[]){ TRAIL_SINK, d->s->id, TRAIL_ENDPOINT, en->to->name, TRAIL_STATE,
                                      note ? "note" : NULL, TRAIL_NOTE, of, TRAIL_ATTEMPTS, attempts, TRAIL_FIRST,
                                      first, TRAIL_LAST, last, TRAIL_DUE, due, NULL });
    m.record.partition = en->log->partition;
    moves_store(d, en, &m);
}

void moves_again(struct delivery *d, struct entry *en)
{
    if (en->dead_class)
        moves_publish_dead_letter(d, en);
    else if (en->log)
        moves_publish_blocked(d, en);
    else
        moves_publish_waiting(d, en);
}

void moves_count_stored(struct delivery *d, struct entry *en)
{
    if (en->store_attempts)
        metric_add(d->unstored, -1);
    en->store_attempts = 0;
}

/* Begins to move the entry, to wherever its dead_class says. */
static void moves_start(struct delivery *d, struct entry *en)
{
    en->state = ENTRY_STORING;
    moves_count_stored(d, en);
    d->storing++;
    en->to->storing++;
    moves_again(d, en);
}

void moves_dead_letter(struct delivery *d, struct entry *en, const char *dead_class)
{
    en->dead_class = dead_class;
    moves_start(d, en);
}

void moves_orphan(struct delivery *d, struct entry *en, struct str endpoint)
{
    snprintf(en->last.why, sizeof en->last.why, "the sink has no endpoint %.*s any more", (int)endpoint.n, endpoint.at);
    moves_dead_letter(d, en, "orphaned");
}

void moves_wait(struct delivery *d, struct entry *en, int64_t wait_ms)
{
    en->dead_class = NULL;
    en->due_ms = clock_wall_ms() + wait_ms;
    moves_start(d, en);
}

void moves_block(struct delivery *d, struct entry *en, const struct topic_partition *log, int64_t note_of,
                 int64_t due_ms)
{
    en->dead_class = NULL;
    en->log = log;
    en->note_of = note_of;
    en->due_ms = due_ms;
    moves_start(d, en);
}

size_t moves_fair_part(const struct delivery *d)
{
    size_t busy = 0;
    if (d->storing > 0 || d->stopped)
        return 0;
    for (size_t i = 0; i < d->destination_count; i++)
        busy += d->destinations[i]->open > 0;
    size_t part = (size_t)d->config->window / (busy + 1);
    return busy == d->destination_count ? 0 : part ? part : 1;
}

bool moves_has_too_much(const struct destination *to, size_t part)
{
    size_t most = to->share < part ? to->share : part;
    return to->name && to->open - to->storing > (to->paused && part != SIZE_MAX ? 0 : most);
}

bool moves_is_stuck(const struct delivery *d, const struct destination *to)
{
    size_t most = (size_t)d->config->window / 4;
    int64_t now = clock_mono_ms();
    return to->name && to->open > (to->share < most ? to->share : most)
           && (gates_due(to) > now || now - to->delivered_ms > STUCK_MS);
}

bool moves_has_no_log(const struct entry *en)
{
    const struct partition *p = en->of->partition;
    return !en->chained || (p && p->own && !p->old);
}

/* Does it wait for its turn or its next attempt, and could as well wait on the broker? */
static bool moves_may_go(const struct entry *en)
{
    bool idle = en->state == ENTRY_READY || en->state == ENTRY_BEHIND || en->state == ENTRY_WAITING;
    return idle && en->to->name && moves_has_no_log(en);
}

void moves_aside(struct delivery *d, struct entry *en, int64_t least_ms)
{
    int64_t left = en->state == ENTRY_WAITING ? en->wake_ms - clock_mono_ms() : 0;
    if (en->state == ENTRY_READY)
        window_unready(en);
    en->to->waiting -= en->state == ENTRY_WAITING;
    window_renew(en);
    moves_wait(d, en, left > least_ms ? left : least_ms);
}

void moves_relieve(struct delivery *d)
{
    struct partition *p = d->s->ops->dead_letters ? NULL : partitions_crowded(d);
    int64_t now = p ? clock_mono_ms() : 0;
    for (size_t i = 0; p && i < d->entry_cap; i++) {
        struct entry *en = d->entries[i];
        if (en->state == ENTRY_FREE || en->of->partition != p || !moves_has_no_log(en))
            continue;
        if (en->state == ENTRY_WAITING)
            moves_aside(d, en, 0);
        else if (moves_may_go(en) && gates_due(en->to) > now)
            moves_aside(d, en, gates_aside_behind_ms(en->to, 0));
    }
    if (p)
        p->full = 0; /* until the next commit says how it is then */
}

bool moves_tidy(struct delivery *d)
{
    int64_t now = clock_mono_ms();
    if (!d->many || !d->resting || d->storing > 0 || now - d->tidied_ms < TIDY_MS)
        return false;
    d->tidied_ms = now;
    for (size_t i = 0; i < d->entry_cap; i++) {
        struct entry *en = d->entries[i];
        if (en->state == ENTRY_WAITING || !moves_may_go(en))
            continue;
        if (gates_stay_closed(en->to) ? en->to->paused || en != en->to->ready.last : gates_take_long(en->to))
            moves_aside(d, en, gates_aside_ms(en->to));
    }
    return true;
}

void moves_make_room(struct delivery *d, size_t part)
{
    for (size_t i = 0; i < d->entry_cap; i++) {
        struct entry *en = d->entries[i];
        if (moves_may_go(en) && moves_has_too_much(en->to, part))
            moves_aside(d, en, gates_aside_behind_ms(en->to, part < en->to->share ? part : en->to->share));
    }
}

void moves_leave(struct delivery *d)
{
    for (size_t i = 0; d->many && i < d->entry_cap; i++)
        if (moves_may_go(d->entries[i]) && d->entries[i]->of->partly)
            moves_aside(d, d->entries[i], 0);
}

/* With its trail the record is larger than the broker takes. What was to wait becomes a dead letter; that one goes without
 * its data, which still stands at its origin; if need be (a foreign record), it only tells where that is. */
static void moves_shrink(struct delivery *d, struct entry *en, const char *why)
{
    LOG(ERROR, "too large to move on; its dead letter is stored without its data", LOG_C("sink", d->s->id),
        LOG_SOME("endpoint", en->to->name), LOG_STR("event", en->of->event ? en->of->event->id : STR("?")),
        LOG_C("reason", why));
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
        if (en->store_attempts++ == 0) {
            metric_add(d->unstored, 1);
            LOG(ERROR, "cannot store a dead letter or what is to wait; trying until it is stored",
                LOG_C("sink", d->s->id), LOG_SOME("endpoint", en->to->name),
                LOG_STR("event", en->of->event ? en->of->event->id : STR("?")), LOG_C("reason", why));
        }
        timers_add(&d->timers, clock_mono_ms() + STORE_AGAIN_MS, window_tag(en));
        return;
    }
    d->storing--;
    en->to->storing--;
    if (!en->dead_class) {
        crash_point("delivery-after-retry");
        metric_add(en->to->count.waiting, 1);
        window_finish(d, en, en->to->count.moved);
        return;
    }
    crash_point("delivery-after-dead-letter");
    if (span_on())
        traced_dead_letter(d, en);
    LOG(WARN, "dead letter", LOG_C("sink", d->s->id), LOG_SOME("endpoint", en->to->name),
        LOG_STR("event", en->of->event ? en->of->event->id : STR("?")), LOG_INT("attempts", en->attempts),
        LOG_INT("status", en->last.status), LOG_C("class", en->dead_class), LOG_C("reason", en->last.why));
    window_finish(d, en, en->to->count.dead);
}
