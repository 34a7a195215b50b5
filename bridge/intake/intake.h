/* SPDX-License-Identifier: MIT */
/* The core's half of a source: read, route, publish, settle.
 *
 *                     route finds no topic ----> INVALID (or a dead letter, if the source is ordered)
 *   read() --> routed --> published --done()--> STORED: settle, changes are durable
 *                 |            `--------------> UNAVAILABLE: settle; an ordered batch is published again until it is stored
 *                 |            `--------------> INVALID (too large): settle; an ordered source's becomes a dead letter without data
 *                 |--> a repeat: waits for the first one's outcome, or is settled as STORED at once
 *                 `--> another event under a known id: CONFLICT
 *
 * Nothing is settled as stored before the broker said so. An unordered source has up to `in_flight` emissions and
 * `in_flight_bytes` on their way; an ordered one has one batch, whose changes are stored with it, so its state only ever moves past what is
 * stored.
 *
 * With delivery: exactly_once each batch is one transaction of the broker, for which the source is claimed
 * (broker_claim) before its state is read. Who claims it later, in another daemon, has it: then this one ends, and is not ready.
 *
 * The memory of events (for sources with `dedupe`, seen.h) holds digests of the events that were stored within
 * `dedupe_window`, of the newest ones of each sender if they are more than `dedupe_size`; it is
 * filled from the topics' tails before the source is first read (a broker that may be away: before it is opened), so what it knows was stored, whatever happened to the process; an event that is
 * in some of its topics only (kafka: the process ended in between) is known as such, and its repeat is published to the
 * others. The scope of an
 * emission is in its records as the header TRAIL_FROM. A record without it (an emission without scope, or a version that
 * wrote none), or one in a former scope of the emission, makes an emission with a scope a repeat only if the content is the same.
 *
 * A source with `threads` has as many intakes. Each reads a copy of the source of its own and knows what it has on its way; the
 * memory of events is one (shared.c). A repeat of what another one has on its way waits for that one's outcome, which
 * comes into its mailbox.
 *
 * Counters: received = stored + refused{reason} + pending; repeats are among the stored.
 *
 * Threads: intake_new, intake_close and intake_free on the main thread, the steps on the source's own; intake_stop
 * and intake_abandon anywhere. */
#pragma once
#include "bridge/broker/broker.h"
#include "bridge/config/config.h"
#include "bridge/intake/route.h"

/* Events of a source: by source, and by source and reason. */
extern struct metric_family aqueduct_source_stored_total, aqueduct_source_repeats_total, aqueduct_source_refused_total;

struct intake;

/* Opens the source, which is claimed (broker_claim) if its delivery is exactly_once. Its state and the memory of ids are restored in the first step, which may take long, or with `whole`
 * here, so that what fails is known at once. Everything is borrowed and outlives the intake. */
struct intake *intake_new(const struct source_config *source, const struct broker_config *names, struct broker *broker,
                          struct routing *routing, bool whole, struct err *e);
/* One more of a source that may have several (`threads`), with a struct of its own: shares the memory of ids with the
 * others. All of them are made before the first step of any; `of`: one that there is. */
struct intake *intake_copy(struct intake *of, struct err *e);
/* Does the source see what it is to watch, and is it still ours? Main thread, between intake_new and intake_close. */
bool intake_ready(const struct intake *in, struct err *why);
/* One turn: waits for input or news, moves things on. False when there is nothing left to do: stopped and drained,
 * abandoned, or failed. */
bool intake_step(struct intake *in);
/* Could it not begin, because its state or what the topics hold cannot be read? Any thread. */
bool intake_failed(struct intake *in, struct err *why);
/* From now on no new events are read; what is on its way is finished. */
void intake_stop(struct intake *in);
/* Leave as soon as possible; what is on its way stays unsettled. */
void intake_abandon(struct intake *in);
/* After the last step: closes the source, and releases it. Accepts NULL. */
void intake_close(struct intake *in);
/* Closes it if need be; accepts NULL. Not before the broker is closed when publications were abandoned: it still
 * reports them. */
void intake_free(struct intake *in);
