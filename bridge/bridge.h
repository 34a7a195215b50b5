/* SPDX-License-Identifier: MIT */
/* The supervisor: builds everything from the configuration, owns the threads and the only order of start and stop.
 *
 * Threads: main (signals, admin and control listeners), one worker per source (intake_step; `threads` of them), per sink (delivery_step) and
 * for the waiter (waiter_step; worker.h), and the broker's own. Shared between them: events (immutable), mailboxes, the
 * broker's interface, metrics (atomics), the log. Where cores are short, sinks and the waiter give way a little (nice,
 * engine.h): a sender waits for its answer and may give up, while what is stored comes late at worst.
 *
 * Start: broker, topics, sinks, sources, admin; a Kafka that does not answer yet is waited for, while /readyz says so.
 * Stop (SIGTERM, SIGINT), one deadline, downstream last:
 *   1. sources: no new events; what is on its way is settled; joined
 *   2. sinks: no new polls; what is in flight gets its verdict, dead letters are stored, positions committed; joined;
 *      then the waiter: what they finished of what it handed them is committed
 *   3. broker flushed; connectors, broker closed
 * What misses the deadline is abandoned: nothing unsettled was acknowledged and nothing unfinished was committed, so
 * it is delivered after the next start. A second signal leaves at once, for the same reason without loss. */
#pragma once
#include "bridge/reload.h"

/* Runs the bridge until a signal ends it; SIGHUP and the control socket reload it from `files` (reload.h). Returns the exit code: 0 stopped, 1 could not start, or the broker failed
 * for good. */
int bridge_main(const struct config *config, const struct bridge_files *files);
/* The same without broker, sinks and admin: events are printed instead of published (dry.h). */
int bridge_dry_run(const struct config *config);
