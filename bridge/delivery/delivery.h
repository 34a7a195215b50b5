/* SPDX-License-Identifier: MIT */
/* The core's half of a sink: poll, window, attempts, retry, dead letter, watermark, commit.
 *
 *   topic --poll--> [ready] --send--> [in flight] --delivered--> done
 *                      ^                   | retry                    rejected, or attempts used up
 *                      |<--- [waiting] <---+------> [storing] ------> dead-letter topic ------> done
 *                      |      (memory)                  `-----------> waiting topic ----------> done
 *                      `---- waiter <------------------------------- (the record lives on there)
 *
 * A sink may have several destinations (`endpoints:`). What was taken from a topic is one thing, what is to be done with it
 * at one destination (an entry: attempts, state, the last result) another; each destination has its own filter, schedule,
 * order, counters and ready queue, and the sink is fed from those queues in turns, within the limits that it and its
 * endpoints state. A record is done when all of its entries are. When the window is full of what some destinations
 * cannot take while others have nothing, what is above a fair share of it moves to the waiting topics; and at the end so
 * does what waits for one destination while another one has it. A record of a waiting or redrive topic is for one
 * destination, which its trail names.
 *
 * A destination gets an attempt when its gates are open: it is not paused, its circuit (circuit.h) and its rate (rate.h)
 * allow it. Until then what is for it is ready and waits, as with one that hangs; the destination rests, no event has a timer
 * of its own. Endpoints are added, changed, paused and removed while the sink runs (control.h).
 *
 * An entry is done when it was delivered, filtered out, or its successor (the waiting record, the dead letter) is stored.
 * Per partition a position and the set done beyond it are committed, every 200 ms and at the end: what waits holds
 * nobody up and costs no repeats. A crash repeats what was in flight or done since the last commit, and skips nothing; a
 * stop repeats nothing that was done.
 *
 * Short waits happen in memory, in at most half of the window; every other wait happens in the waiting topics (ladder.h),
 * whose one reader (waiter.h) hands the record over again when it is due, and moves its own position past it only when
 * it is done here.
 *
 * `order: key` sends records of one key one after the other: the next waits until the one before is done, through all
 * of its attempts. A key that has to wait long steps aside, into a blocked log, and all that follows of it (blocked.c).
 * Keyless records are not ordered.
 *
 * Counters: consumed = delivered + dead + filtered + moved (to a waiting topic) + released (to another member or the
 * next start) + pending. What was moved counts as consumed again when it is handed over; between the two it is in no
 * counter of these but in the gauge `waiting`.
 *
 * A broadcast sink with `threads` has as many deliveries, each with a copy of the sink's struct, a consumer and a log of its
 * own, so that what a listener misses and what it gets stay a matter of one thread, and nothing stands between two. That a
 * record is read and parsed once for each costs 0.5 us a thread (local broker: what was just read is shared; on Kafka it is
 * also sent once for each), beside 15 us for its way into the log and 0.3 us for each listener. What is remembered by name they
 * share; counters of records and the account are the first one's.
 *
 * Threads: delivery_new, delivery_copy, delivery_close and delivery_free on the main thread, the steps on the sink's own;
 * delivery_stop, delivery_abandon, delivery_hand, delivery_recall anywhere. */
#pragma once
#include "bridge/broker/broker.h"
#include "bridge/config/config.h"
#include "bridge/lib/mailbox.h"

struct delivery;

/* What a delivery reports of a record that was handed over: the notice's code. */
enum handed_end {
    HANDED_FINISHED = 1, /* delivered, or its successor is stored */
    HANDED_BACK,         /* not finished, and no longer here: recalled, or the sink ends */
};

/* Opens the sink and its consumer. Everything is borrowed and outlives the delivery. The sink's own topics (see
 * delivery_topics) exist by then. */
struct delivery *delivery_new(const struct sink_config *sink, const struct broker_config *names, struct broker *broker,
                              struct err *e);
/* One more of a sink that may have several (`threads`), right after delivery_new; closed before that one. */
struct delivery *delivery_copy(struct delivery *of, const struct broker_config *names, struct err *e);
/* Can it serve its receivers? Else *why. Any thread, between new and close. */
bool delivery_ready(const struct delivery *d, struct err *why);
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

/* Do its events go to the waiting topics? Not those of a broadcast sink, nor dead letters. */
bool delivery_waits(const struct sink_config *sink);
/* Hands over a record of a waiting topic that is due; it takes the record over. Its end is put into `reports` under this
 * tag, once, at the latest in delivery_free. The caller bounds how many are out. */
void delivery_hand(struct delivery *d, struct record *r, struct mailbox *reports, uint64_t tag);
/* Asks for what was handed over and is not in flight: it comes back as HANDED_BACK within one turn. */
void delivery_recall(struct delivery *d);

/* Calls each() with every blocked log of the sink, the topic whose partitions it must have, and the group that reads it.
 * Only with `order: key`. */
bool blocked_topics(const struct sink_config *sink, const struct broker_config *names,
                    bool (*each)(void *ctx, const char *topic, const char *like, const char *group, struct err *e),
                    void *ctx, struct err *e);
/* The same with the logs that an earlier configuration may have left it: of its earlier names, and of its own when it has
 * no order now. Those that exist are emptied. */
bool blocked_old_topics(const struct sink_config *sink, const struct broker_config *names,
                        bool (*each)(void *ctx, const char *topic, const char *like, const char *group, struct err *e),
                        void *ctx, struct err *e);
/* Calls each() with every topic of its own that this sink needs (its redrive topic) and the group that reads it. Retry
 * topics of an earlier version are emptied as well, as long as they exist. */
bool delivery_topics(const struct sink_config *sink, const struct broker_config *names,
                     bool (*each)(void *ctx, const char *topic, const char *group, struct err *e), void *ctx,
                     struct err *e);
