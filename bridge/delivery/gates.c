/* SPDX-License-Identifier: MIT */
/* When a destination may get an attempt: not while it is paused or held, while its circuit is open only a probe, and as fast as its
 * rate says. */
#include <string.h>
#include "bridge/delivery/private.h"
#include "bridge/lib/log.h"

enum {
    ASIDE_MS = 30000,
    ASIDE_MOST_MS = 600000,
    SOON_MS = 5000,
};

int64_t gates_due(const struct destination *to)
{
    if (to->paused)
        return INT64_MAX;
    int64_t rate = rate_due(&to->rate), circuit = circuit_due(&to->circuit), due = rate > circuit ? rate : circuit;
    return due > to->again_ms ? due : to->again_ms;
}

/* The lower one of what the configuration and the receiver say. */
void gates_set_rate(struct destination *to, double in_a_second)
{
    const struct endpoint *ep = to->outlet ? to->outlet->endpoint : NULL;
    to->said = in_a_second;
    to->allowed = ep ? ep->rate : 0;
    rate_set(&to->rate, to->allowed > 0 && (to->said <= 0 || to->allowed < to->said) ? to->allowed : to->said);
}

void gates_hold(struct delivery *d, struct destination *to, const struct result *r)
{
    if (!r->why[0])
        return;
    if (to->held_ms == 0) {
        to->held_ms = clock_wall_ms();
        LOG(WARN, "it gets nothing yet: what comes for it waits", LOG_C("sink", d->s->id),
            LOG_SOME("endpoint", to->name), LOG_C("reason", r->why));
    }
    to->again_ms = clock_mono_ms() + r->retry_after.ms;
    memcpy(to->held_why, r->why, sizeof to->held_why);
}

/* It has got something. */
static void gates_let_go(struct delivery *d, struct destination *to)
{
    if (to->held_ms == 0)
        return;
    to->held_ms = to->again_ms = 0;
    window_look_again(d);
    LOG(INFO, "it gets what is for it", LOG_C("sink", d->s->id), LOG_SOME("endpoint", to->name));
}

void gates_sent(struct delivery *d, struct entry *en)
{
    en->probe = circuit_sent(&en->to->circuit);
    rate_take(&en->to->rate);
    if (d->many)
        rate_take(&d->self.rate);
}

static void gates_say(const struct delivery *d, const struct entry *en, const struct result *r, enum circuit_change c)
{
    if (c == CIRCUIT_OPENED)
        LOG(WARN, "the circuit is open: attempts are made now and then", LOG_C("sink", d->s->id),
            LOG_SOME("endpoint", en->to->name), LOG_INT("failures", en->to->circuit.row), LOG_INT("status", r->status),
            LOG_C("reason", r->why));
    if (c == CIRCUIT_CLOSED)
        LOG(INFO, "the circuit is closed: attempts are made as they are due", LOG_C("sink", d->s->id),
            LOG_SOME("endpoint", en->to->name));
}

bool gates_heard(struct delivery *d, struct entry *en, const struct result *r)
{
    struct circuit *circuit = &en->to->circuit;
    bool was_open = circuit->open, probe = en->probe, failed = r->verdict == VERDICT_RETRY;
    en->probe = false;
    if (en->via->endpoint && en->via->endpoint->rate != en->to->allowed)
        gates_set_rate(en->to, en->to->said);
    if (r->verdict != VERDICT_UNTRIED)
        gates_let_go(d, en->to);
    if (r->same_request && !probe)
        return en->to->spared;
    en->to->spared = false;
    if (r->verdict == VERDICT_UNTRIED || (r->verdict == VERDICT_REJECT && r->status == 0)) {
        circuit_unsent(circuit, probe);
        return false;
    }
    enum circuit_change change = circuit_heard(circuit, probe, failed, r->retry_after);
    if (en->to->count.circuit_open)
        metric_set(en->to->count.circuit_open, circuit->open);
    gates_say(d, en, r, change);
    if (probe)
        window_look_again(d);
    en->to->spared = failed && was_open && r->away;
    return en->to->spared;
}

void gates_pause(struct delivery *d, struct destination *to, bool paused)
{
    if (to->paused == paused)
        return;
    to->paused = paused;
    to->paused_ms = clock_wall_ms();
    metric_set(to->count.paused, paused);
    window_look_again(d);
    LOG(INFO, paused ? "paused: what comes for it waits" : "it goes on", LOG_C("sink", d->s->id),
        LOG_SOME("endpoint", to->name));
}

/* As long as it is closed already, within limits: so they come back soon after a short time, and one that takes long costs
 * little. */
static int64_t gates_patience(int64_t since_ms)
{
    int64_t wait = clock_wall_ms() - since_ms;
    return wait < ASIDE_MS ? ASIDE_MS : wait < ASIDE_MOST_MS ? wait : ASIDE_MOST_MS;
}

bool gates_stay_closed(const struct destination *to)
{
    int64_t since = to->paused         ? to->paused_ms
                    : to->held_ms      ? to->held_ms
                    : to->circuit.open ? to->circuit.since_ms
                                       : INT64_MAX;
    return clock_wall_ms() >= since && clock_wall_ms() - since >= ASIDE_MS;
}

bool gates_take_long(const struct destination *to)
{
    return to->rate.interval_us && moves_has_too_much(to, SIZE_MAX)
           && to->open - to->storing > rate_within(&to->rate, SOON_MS);
}

int64_t gates_aside_behind_ms(struct destination *to, size_t most)
{
    if (to->paused)
        return gates_patience(to->paused_ms);
    if (to->held_ms)
        return gates_patience(to->held_ms);
    if (to->circuit.open)
        return gates_patience(to->circuit.since_ms);
    size_t stay = to->open - to->storing;
    return to->rate.interval_us ? rate_slot(&to->rate, stay < most ? stay : most) : ASIDE_MS;
}

int64_t gates_aside_ms(struct destination *to)
{
    return gates_aside_behind_ms(to, to->share);
}
