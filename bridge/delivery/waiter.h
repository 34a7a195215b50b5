/* SPDX-License-Identifier: MIT */
/* The waiter: the one reader of the waiting topics, for all sinks of the daemon.
 *
 *   waiting topics --poll--> [parked until its time] --not due yet----------------> the next topic of the ladder
 *                                                    --due, its sink has room-----> the sink's delivery
 *                                                    --due, its sink has no room--> a waiting topic again
 *                                                    --no such sink here----------> <prefix>waiting.orphaned
 *
 * It reads each topic in order and waits for the oldest record: the others are not looked at before. It sends nothing
 * itself. A sink has at most half of its window in records from here; what exceeds that waits in memory as long as the
 * sink gets on, for a second at most, else goes back into a topic, where it
 * stands in nobody's way for longer than that topic's delay: 30 s, or up to 10 min when very many do. What is due and
 * stands at the head of any topic goes as soon as its sink has room, whatever that delay. The position moves past a
 * record when its sink is done with it, or its copy is stored further on, so kill -9 costs at most a repeat; a record
 * whose copy was stored before a crash, and its position not, is known by the copy (replaced.h).
 *
 * Nothing is dropped: a record of a sink that the configuration does not have is kept among the orphans, where it is
 * pending, counted and said once in the log, and goes on when the sink is there again, after a start or a reload. That holds for each member
 * of a group by its own configuration. `aqueduct orphans` ends such records by notes in the topic of orphans (orphans.h).
 *
 * Only the heads of the topics are in memory. What waits is counted all the same: before its first record, and when its
 * partitions change, the waiter surveys the topics from outside for what was put there before; what is put there later
 * says since when it waits, and was counted by the delivery that put it there.
 *
 * Threads: waiter_new, waiter_serve, waiter_open, waiter_close and waiter_free on the main thread, the steps on the
 * waiter's own; waiter_stop and waiter_abandon anywhere. */
#pragma once
#include <time.h>
#include "bridge/delivery/delivery.h"

struct waiter;

struct waiter *waiter_new(const struct broker_config *names, struct broker *broker);
/* Before the first step: this is one of the deliveries that it hands to. */
void waiter_serve(struct waiter *w, const struct sink_config *sink, struct delivery *d);
size_t waiter_serves(const struct waiter *w); /* how many sinks */
/* Before the first step: it also looks now and then what the broker keeps that nobody reads any more (register.h), since
 * that may take a while. A waiter that serves nobody does only that and is not opened: the waiting topics are another
 * daemon's, or nobody's. */
void waiter_look_around(struct waiter *w, const struct config *config);
bool waiter_open(struct waiter *w, struct err *e);

/* While it runs its own thread does these between two turns; false with *e: it had no time until then, and nothing was
 * changed.
 *   hold      nothing more is handed to this sink: before its delivery stops. What it had comes back at the latest when it is
 *             freed, and waits here.
 *   serve     from now on it hands to this delivery: of a sink that is held, or of a new one, whose orphans go on now.
 *   dismiss   a sink that is held is gone, and its delivery freed: what waits for it is an orphan from now on, or that of
 *             another sink, which formerly had the name. */
bool waiter_hold(struct waiter *w, const char *sink, struct timespec until, struct err *e);
bool waiter_serve_now(struct waiter *w, const struct sink_config *sink, struct delivery *d, struct timespec until,
                      struct err *e);
bool waiter_dismiss(struct waiter *w, const char *sink, struct timespec until, struct err *e);
bool waiter_look_around_now(struct waiter *w, const struct config *config, struct timespec until, struct err *e);

/* One turn; waits at most `wait` when there is nothing to do. False when stopped and drained, or abandoned. */
bool waiter_step(struct waiter *w, struct duration wait);
/* After the deliveries stopped: takes their last reports and commits. */
void waiter_stop(struct waiter *w);
void waiter_abandon(struct waiter *w);
void waiter_close(struct waiter *w); /* after the last step: closes the consumer; accepts NULL */
/* After the deliveries are freed, which report to it until then, and after the broker is closed when it was abandoned;
 * accepts NULL. */
void waiter_free(struct waiter *w);
