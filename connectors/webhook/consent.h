/* SPDX-License-Identifier: MIT */
/* Does a receiver want our events? It is asked before it gets any (CloudEvents HTTP webhooks 1.0.2, section 4, abuse
 * protection), and once a day:
 *
 *     OPTIONS /hooks                          200
 *     WebHook-Request-Origin: our.host        WebHook-Allowed-Origin: our.host, or *
 *     WebHook-Request-Rate: 600               WebHook-Allowed-Rate: 120, or *            requests in a minute
 *
 *   consent_ask: GIVEN     the event may go
 *                ASK       nobody has asked: this attempt's transfer does, and goes on when consent_heard has said how it ended
 *                COMING    another one is asking
 *                NONE      `why`, and not before consent_patience: nothing goes, and no attempt counts
 *
 * Whoever gave its consent and cannot be reached when it is asked again has not taken it back. One thread. */
#pragma once
#include "connectors/webhook/transfer.h"

enum consent_state {
    CONSENT_GIVEN = 1,
    CONSENT_ASK,
    CONSENT_COMING,
    CONSENT_NONE,
};

struct consent { /* zeroed: not needed */
    const char *origin;
    double most;    /* attempts in a second that we make at most; 0: no limit */
    double allowed; /* that the receiver takes; 0: no limit */
    bool given, asking;
    int64_t again_ms, pause_ms; /* clock_mono_ms: when it is asked again; how long after the last no */
    char why[WHY_BYTES];        /* it is not given; "": not asked yet */
    struct transfer_target target;
};

bool consent_check(const char *origin, struct err *e); /* fit for a header? NULL is fine */
/* The target is the receiver's, which stays its owner. */
void consent_open(struct consent *c, const char *origin, double most, const struct transfer_target *receiver);
void consent_close(struct consent *c);

enum consent_state consent_ask(struct consent *c, int64_t now_ms);
/* Sends the question; ended by transfer_end as any other. */
void consent_start(struct consent *c, struct transfer *t);
void consent_heard(struct consent *c, const struct transfer *t, int64_t now_ms);
/* What an attempt that is NONE, or that waited for a consent with a rate, ends with. */
void consent_fail(const struct consent *c, int64_t now_ms, struct result *out);

/* What the headers of an answer say. False with *e, which shows nothing of what is hidden: no consent. */
bool consent_read(const char *origin, struct str allowed_origin, struct str allowed_rate, const struct hidden *hidden,
                  double *rate, struct err *e);
