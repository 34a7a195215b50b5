/* SPDX-License-Identifier: MIT */
/* The core's half of a sink: poll, window, attempts, retry, dead letter, watermark, commit.
 *
 *   topic --poll--> [ready] --send--> [in flight] --delivered--> done
 *                      ^                   | retry                    rejected, or attempts used up
 *                      |<--- [waiting] <---+------> [storing] ------> dead-letter topic ------> done
 *                      |      (memory)     |           `------------> retry topic ------------> done
 *                      `---- [parked] <--- retry topic                (the record lives on there)
 *
 * A record is done when it was delivered, filtered out, or its successor (the retry record, the dead letter) is stored.
 * Per partition a position and the set done beyond it are committed, every 200 ms and at the end: what waits holds
 * nobody up and costs no repeats. A crash repeats what was in flight or done since the last commit, and skips nothing; a
 * stop repeats nothing that was done.
 *
 * `order: key` sends records of one key one after the other: the next waits until the one before is done, through all
 * of its attempts, which then all happen in memory. Keyless records are not ordered.
 *
 * A parked record came from a retry topic before its time: it waits outside the window and its partition is held, so
 * that a due retry does not wait behind one that is not due, and the sink's other topics go on.
 *
 * Counters: consumed = delivered + dead + filtered + moved (to a retry topic) + released (to another member or the next
 * start) + pending.
 *
 * Threads: delivery_new, delivery_close and delivery_free on the main thread, the steps on the sink's own;
 * delivery_stop, delivery_abandon anywhere. */
#pragma once
#include "bridge/broker/broker.h"
#include "bridge/config/config.h"

struct delivery;

/* Opens the sink and its consumer. Everything is borrowed and outlives the delivery. The sink's own topics (see
 * delivery_topics) exist by then. */
struct delivery *delivery_new(const struct sink_config *sink, const struct broker_config *names, struct broker *broker,
                              struct err *e);
/* One turn; waits at most `wait` when there is nothing to do. False when stopped and drained, or abandoned. */
bool delivery_step(struct delivery *d, struct duration wait);
/* No new polls; what is in flight is finished, what waits for a later attempt is left to the next start. */
void delivery_stop(struct delivery *d);
void delivery_abandon(struct delivery *d);
/* After the last step, on the sink's thread: a broadcast sink takes leave of its listeners. */
void delivery_drain(struct delivery *d, struct duration limit);
/* After the last step: commits, closes consumer and sink. Accepts NULL. */
void delivery_close(struct delivery *d);
/* Closes it if need be; accepts NULL. Not before the broker is closed when publications were abandoned: it still
 * reports them. */
void delivery_free(struct delivery *d);

/* Calls each() with every topic of its own that this sink needs (retry and redrive topics) and the group that reads
 * them. Retry topics of an earlier schedule are read as well, by delivery_new, as long as they exist. */
bool delivery_topics(const struct sink_config *sink, const struct broker_config *names,
                     bool (*each)(void *ctx, const char *topic, const char *group, struct err *e), void *ctx,
                     struct err *e);
