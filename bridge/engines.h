/* SPDX-License-Identifier: MIT */
/* The engines of a running bridge, by name: one for each sink, one for each thread of a source, and the waiter, each on its
 * worker's thread.
 *
 *   engines_open -> engines_start -> ... -> engines_stop -> engines_close -> engines_free
 *
 * While they run, single sources and sinks come and go:
 *
 *   engines_open_sink, engines_open_source -> engines_start -> ... -> engines_stop_some -> engines_end
 *
 * Stopping one finishes what it has begun, and what misses the deadline is abandoned: nothing unsettled was acknowledged
 * and nothing unfinished was committed. Main thread only; everything is borrowed. */
#pragma once
#include "bridge/config/config.h"
#include "bridge/delivery/delivery.h"
#include "bridge/delivery/roster.h"
#include "bridge/intake/route.h"
#include "bridge/worker.h"

struct engines { /* zeroed but for the first two, and the last: none */
    struct broker *broker;
    const struct broker_config *names;
    struct workers workers;
    struct waiter *waiter;
    struct roster *roster; /* of endpoints that are made at run time; NULL: there are none */
    bool run;              /* since engines_start */
};

/* Opens every sink, the waiter of those whose events can wait, and every source; no thread runs yet. */
bool engines_open(struct engines *en, const struct config *c, struct routing *routing, struct err *e);
bool engines_start(struct engines *en, struct err *e); /* all that do not run yet; false: some may */
/* Sources, then sinks, then the waiter, until end_ms (clock_mono_ms). */
void engines_stop(struct engines *en, int64_t end_ms);
void engines_close(struct engines *en); /* none runs */
void engines_free(struct engines *en);  /* after the broker is closed, or when no thread ever ran: zeroed again */

/* One more, without starting it; on false nothing of it is there. A source has read all that it needs by then, so that what
 * fails is known. */
bool engines_open_sink(struct engines *en, const struct sink_config *c, struct err *e);
bool engines_open_source(struct engines *en, const struct source_config *c, struct routing *routing, struct err *e);
bool engines_have(const struct engines *en, const struct engine_ops *ops, const char *id);
/* Nothing that waits is handed to those sinks for which is() says yes, until engines_serve_again or they are opened anew. False
 * with *e: some are held. */
bool engines_hold_some(struct engines *en, bool (*is)(void *ctx, const char *id), void *ctx, struct err *e);
/* Stops those of one kind for which is() says yes, all at once, until end_ms; sinks are held by then. */
void engines_stop_some(struct engines *en, const struct engine_ops *ops, bool (*is)(void *ctx, const char *id),
                       void *ctx, int64_t end_ms);
void engines_end(struct engines *en, const struct engine_ops *ops,
                 const char *id); /* stopped, or never started: gone */
void engines_serve_again(struct engines *en, const struct sink_config *c);
/* What waits for the sink, which is gone, is an orphan's from now on. */
void engines_dismiss(struct engines *en, const char *sink);
/* It says from now on what nobody reads of this configuration. */
void engines_look_around(struct engines *en, const struct config *c);
int64_t engines_descriptors(const struct config *c);                           /* that its engines need, about */
struct delivery *engines_delivery(const struct engines *en, const char *sink); /* NULL: it is not there */
