/* SPDX-License-Identifier: MIT */
/* The circuit of a destination: while the receiver is evidently down, it gets one attempt now and then, a probe, instead of
 * all that is due.
 *
 *   closed ---- so many failures in a row, or that share of the last 64 ----> open ---- `probe` is over ----> half open
 *      ^                                                                        ^                                |
 *      |                                                                        '---------- it fails ------------|
 *      '--------------------------------------- it does not -----------------------------------------------------'
 *
 * Once it has closed the receiver gets two attempts at the same time, and one more with each that does not fail: it may be
 * up again and not yet ready for all that has come meanwhile.
 *
 * What was in flight when it opened says nothing more about it. A probe is a real attempt of an event that is due. One
 * thread. */
#pragma once
#include "bridge/config/config.h"

enum { CIRCUIT_HISTORY = 64 }; /* attempts that a share is reckoned of */

enum circuit_change {
    CIRCUIT_SAME = 1,
    CIRCUIT_OPENED,
    CIRCUIT_CLOSED,
};

struct circuit {                         /* closed */
    const struct circuit_config *config; /* NULL, or neither failures nor share: it never opens */
    bool open, probing;                  /* probing: half open, the probe is in flight */
    int64_t row;                         /* failures since the last success */
    uint64_t history;                    /* a bit for each of the last attempts: did it fail? */
    unsigned seen;                       /* how many of these there are */
    size_t room;                         /* after an outage: attempts at the same time; 0: as many as there may be */
    int64_t probe_ms;                    /* clock_mono_ms: no probe before */
    int64_t since_ms;                    /* wall clock: open since */
};

bool circuit_is_used(const struct circuit *c); /* can it open? */
int64_t circuit_due(
    const struct circuit *c); /* clock_mono_ms: no attempt before; 0: now; INT64_MAX: a probe is in flight */
bool circuit_has_room(const struct circuit *c, size_t flying); /* for one more beside these? */
bool circuit_sent(struct circuit *c);                          /* an attempt begins; true: it is the probe */
void circuit_unsent(struct circuit *c, bool probe);            /* ... and never reached the receiver */
/* How an attempt ended; patience: the receiver wants to be left alone for so long. It is, for 10 min at most: one answer
 * shall not end delivery for a day. The event that was answered waits as long as was asked for. */
enum circuit_change circuit_heard(struct circuit *c, bool probe, bool failed, struct duration patience);
