/* SPDX-License-Identifier: MIT */
/* When a circuit opens and closes. */
#include "bridge/delivery/circuit.h"

enum {
    PATIENCE_MS = 600000, /* longest wait for a probe that the receiver can ask for */
    ROOM_FIRST = 2,       /* attempts at the same time after an outage */
    ROOM_MOST = 1024,     /* from here on it is over */
};

bool circuit_is_used(const struct circuit *c)
{
    return c->config && (c->config->failures || c->config->share);
}

int64_t circuit_due(const struct circuit *c)
{
    if (c->probing)
        return INT64_MAX;
    return c->open ? c->probe_ms : 0;
}

bool circuit_has_room(const struct circuit *c, size_t flying)
{
    return !c->room || flying < c->room;
}

bool circuit_sent(struct circuit *c)
{
    c->probing = c->open;
    return c->probing;
}

/* No probe before that time from now on. One event's patience is no other's for long. */
static void circuit_rest(struct circuit *c, struct duration patience)
{
    int64_t probe = c->config->probe.ms, most = probe > PATIENCE_MS ? probe : PATIENCE_MS;
    int64_t wait = patience.ms > probe ? patience.ms : probe;
    c->probe_ms = clock_mono_ms() + (wait < most ? wait : most);
}

void circuit_unsent(struct circuit *c, bool probe)
{
    if (probe) {
        c->probing = false;
        circuit_rest(c, (struct duration){ 0 });
    }
}

static bool circuit_is_too_much(const struct circuit *c)
{
    if (c->config->failures && c->row >= c->config->failures)
        return true;
    int64_t failed = __builtin_popcountll(c->history);
    return c->config->share && c->seen == CIRCUIT_HISTORY && failed * 100 >= c->config->share * CIRCUIT_HISTORY;
}

static void circuit_remember(struct circuit *c, bool failed)
{
    c->row = failed ? c->row + 1 : 0;
    c->history = c->history << 1 | failed;
    c->seen += c->seen < CIRCUIT_HISTORY;
}

static enum circuit_change circuit_probed(struct circuit *c, bool failed, struct duration patience)
{
    c->probing = false;
    if (failed) {
        circuit_rest(c, patience);
        return CIRCUIT_SAME;
    }
    c->open = false;
    c->row = 0;
    c->history = 0;
    c->seen = 0;
    c->room = ROOM_FIRST;
    return CIRCUIT_CLOSED;
}

/* Twice as many with each round of answers that are good, half as many with one that is not. */
static void circuit_set_room(struct circuit *c, bool failed)
{
    if (c->room && failed)
        c->room = c->room > 1 ? c->room / 2 : 1;
    else if (c->room && ++c->room > ROOM_MOST)
        c->room = 0;
}

enum circuit_change circuit_heard(struct circuit *c, bool probe, bool failed, struct duration patience)
{
    if (!circuit_is_used(c))
        return CIRCUIT_SAME;
    if (probe)
        return circuit_probed(c, failed, patience);
    if (c->open)
        return CIRCUIT_SAME;
    circuit_remember(c, failed);
    circuit_set_room(c, failed);
    if (!failed || !circuit_is_too_much(c))
        return CIRCUIT_SAME;
    c->open = true;
    c->room = 0;
    c->since_ms = clock_wall_ms();
    circuit_rest(c, patience);
    return CIRCUIT_OPENED;
}
