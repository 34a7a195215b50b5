/* SPDX-License-Identifier: MIT */
/* Verdicts: what becomes of an entry after an attempt, and when the broker has stored what it was moved to. */
#include "bridge/delivery/private.h"
#include "bridge/lib/crash.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

enum {
    VERDICTS_MOST = 256, /* results taken in one turn */
    REFILE_FIRST_MS = 1000,
    REFILE_MOST_MS = 30000, /* a dead-letter sink's waits between attempts */
    UNTRIED_MS = 250,       /* until what could not even be tried is sent again */
    LACK_SAID_MS = 60000,
};

/* Logs when deliveries begin to fail, and when they succeed again. */
static void verdicts_log_health(const struct delivery *d, const struct entry *en, const struct result *r)
{
    bool failing = r->verdict != VERDICT_DELIVERED;
    if (failing && !en->to->failing)
        LOG(WARN, "deliveries fail", LOG_C("sink", d->s->id), LOG_SOME("endpoint", en->to->name),
            LOG_STR("event", en->of->event ? en->of->event->id : STR("?")), LOG_INT("attempt", en->attempts),
            LOG_INT("status", r->status), LOG_C("reason", r->why));
    if (!failing && en->to->failing)
        LOG(INFO, "deliveries succeed again", LOG_C("sink", d->s->id), LOG_SOME("endpoint", en->to->name));
    if (failing && !en->to->failing)
        en->to->failing_ms = clock_wall_ms();
    if (failing)
        en->to->failure = *r;
    en->to->failing = failing;
}

/* Tells the debug log and the delivery log how an attempt ended and what comes of it. */
static void verdicts_tell(const struct delivery *d, const struct entry *en, const struct result *r,
                          enum attempt_end end)
{
    way_ended(d, en, r, end);
    if (!d->attempts || !en->of->event || r->verdict == VERDICT_UNTRIED)
        return;
    attempts_add(d->attempts, &(struct attempt){ .sink = d->s->id,
                                                 .endpoint = en->to->name,
                                                 .event = en->of->event,
                                                 .record = en->of->record,
                                                 .number = en->attempts,
                                                 .result = r,
                                                 .class = moves_class(r->reason),
                                                 .end = end,
                                                 .ended_ms = en->last_ms,
                                                 .next_ms = en->next_ms });
}

static int64_t verdicts_refile_wait(const struct entry *en)
{
    int64_t wait = REFILE_FIRST_MS * (int64_t)en->attempts;
    return wait < REFILE_MOST_MS ? wait : REFILE_MOST_MS;
}

/* May one more wait in memory? What waits never takes more than half of the window, so that others pass. */
static bool verdicts_has_room(const struct delivery *d, const struct destination *to, int64_t wait_ms)
{
    if (d->s->ops->dead_letters)
        return true;
    return wait_ms <= to->retry_memory.ms && to->waiting < (size_t)d->config->window / 2;
}

/* Lets it wait in memory. */
static void verdicts_wait(struct delivery *d, struct entry *en, int64_t wait_ms)
{
    en->state = ENTRY_WAITING;
    en->to->waiting++;
    en->wake_ms = clock_mono_ms() + wait_ms;
    timers_add(&d->timers, en->wake_ms, window_tag(en));
}

/* Gives it up. */
static void verdicts_give_up(struct delivery *d, struct entry *en, const struct result *r)
{
    verdicts_tell(d, en, r, ATTEMPT_DEAD);
    moves_dead_letter(d, en, moves_class(r->reason));
}

/* How long it waits for its next attempt; -1: there is none. */
static int64_t verdicts_next(const struct delivery *d, const struct entry *en, const struct result *r, bool spared)
{
    const struct destination *to = en->to;
    int64_t wait = 0;
    uint32_t random;
    if (d->s->ops->dead_letters)
        return verdicts_refile_wait(en);
    if (!spared && en->attempts > to->retry->count)
        return -1;
    if (!spared)
        wait = to->retry->at[en->attempts - 1].ms;
    if (r->retry_after.ms > wait)
        wait = r->retry_after.ms;
    if (to->retry_jitter) {
        crypto_random(&random, sizeof random);
        wait += wait * to->retry_jitter / 100 * (random % 1001) / 1000;
    }
    bool late = to->retry_for.ms && clock_wall_ms() + wait > en->first_ms + to->retry_for.ms;
    return late ? -1 : wait;
}

/* Sets the time of the next attempt; after the last one the entry becomes a dead letter. */
static void verdicts_retry(struct delivery *d, struct entry *en, const struct result *r, bool spared)
{
    int64_t wait = verdicts_next(d, en, r, spared);
    if (en->to->gone) {
        verdicts_tell(d, en, r, ATTEMPT_DEAD);
        moves_orphan(d, en, str_of(en->to->name));
        return;
    }
    if (wait < 0) {
        verdicts_give_up(d, en, r);
        return;
    }
    metric_add(en->to->count.retries, 1);
    en->next_ms = wait ? clock_wall_ms() + wait : 0;
    verdicts_tell(d, en, r, spared ? ATTEMPT_SPARED : ATTEMPT_RETRY); /* before it is moved, which may end it */
    en->attempts -= spared;
    if (wait == 0 && spared)
        window_ready(d, en);
    else if (verdicts_has_room(d, en->to, wait))
        verdicts_wait(d, en, wait);
    else if (moves_has_no_log(en))
        moves_wait(d, en, wait);
    else if (!blocked_wait(d, en, wait)) /* its key has nowhere to step aside to: others wait for it */
        verdicts_wait(d, en, wait);
}

/* Takes back an attempt that was none: the receiver saw nothing of it, for our own machine is to blame, or it is to get
 * nothing yet. */
static void verdicts_untried(struct delivery *d, struct entry *en, const struct result *r)
{
    int64_t now = clock_mono_ms();
    bool held = r->away;
    if (held)
        gates_hold(d, en->to, r);
    else if (en->to->lack_said_ms == 0 || now - en->to->lack_said_ms >= LACK_SAID_MS) {
        LOG(WARN, "cannot send for lack of something on this machine; trying until it is there",
            LOG_C("sink", d->s->id), LOG_SOME("endpoint", en->to->name), LOG_C("reason", r->why));
        en->to->lack_said_ms = now;
    }
    metric_add(en->to->count.untried, 1);
    if (--en->attempts == 0)
        en->first_ms = 0;
    if (held)
        window_ready(d, en);
    else
        verdicts_wait(d, en, r->retry_after.ms > UNTRIED_MS ? r->retry_after.ms : UNTRIED_MS);
}

/* Ends an attempt as its result says. */
static void verdicts_take_one(struct delivery *d, const struct result *r)
{
    struct entry *en = window_find(d, r->tag);
    CHECK(en && en->state == ENTRY_FLYING);
    d->flying--;
    en->to->flying--;
    en->via->flying--;
    window_landed(en);
    bool spared = en->via == en->to->outlet && gates_heard(d, en, r);
    if (r->verdict != VERDICT_UNTRIED) {
        if (en->span)
            traced_attempt(d, en, r);
        metric_add(en->to->count.attempts, 1);
        en->last = *r;
        en->last.answer = STR_ABSENT; /* that was borrowed */
        en->last_ms = clock_wall_ms();
        verdicts_log_health(d, en, r);
    }
    if (!en->of->partition
        && r->verdict != VERDICT_DELIVERED) { /* its partition went to somebody else, who delivers it */
        verdicts_tell(d, en, r, ATTEMPT_RELEASED);
        window_finish(d, en, en->to->count.released);
        return;
    }
    CHECK(r->verdict >= VERDICT_DELIVERED && r->verdict <= VERDICT_UNTRIED);
    switch (r->verdict) {
    case VERDICT_DELIVERED:
        crash_point("delivery-after-send");
        verdicts_tell(d, en, r, ATTEMPT_DELIVERED);
        en->to->delivered_ms = clock_mono_ms();
        window_finish(d, en, en->to->count.delivered);
        return;
    case VERDICT_RETRY: verdicts_retry(d, en, r, spared); return;
    case VERDICT_REJECT:
        if (d->s->ops->dead_letters)
            verdicts_retry(d, en, r, false);
        else
            verdicts_give_up(d, en, r);
        return;
    case VERDICT_UNTRIED: verdicts_untried(d, en, r); return;
    }
}

static void verdicts_take_outcome(struct delivery *d, struct entry *en, enum outcome o, const char *why)
{
    if (o == OUTCOME_STORED) {
        way_moved(d, en);
        moves_count_stored(d, en);
    }
    if (en->log && o == OUTCOME_STORED) {
        crash_point("delivery-after-retry");
        blocked_stored(d, en);
        return;
    }
    if (en->log && o == OUTCOME_INVALID && !blocked_refused(d, en))
        return;
    moves_done(d, en, o, why);
}

void verdicts_take_stored(struct delivery *d)
{
    struct notice notices[64];
    blocked_take_marked(d);
    for (size_t n; (n = mailbox_take(&d->stored, notices, sizeof notices / sizeof *notices)) > 0;)
        for (size_t i = 0; i < n; i++) {
            struct entry *en = window_find(d, notices[i].tag);
            CHECK(en && en->state == ENTRY_STORING);
            verdicts_take_outcome(d, en, (enum outcome)notices[i].code, notices[i].why);
        }
}

void verdicts_take(struct delivery *d, int64_t wait_ms)
{
    struct result results[VERDICTS_MOST];
    size_t n = d->s->ops->work(d->s, d->wake_fd, (struct duration){ wait_ms }, results, VERDICTS_MOST);
    for (size_t i = 0; i < n; i++)
        verdicts_take_one(d, &results[i]);
}
