/* SPDX-License-Identifier: MIT */
/* Changes a sink while it runs: its endpoints are added, changed, paused, resumed and removed, and so is the sink paused.
 *
 * The sink's own thread does it between two turns; the caller waits for that, at most until `until`. True: it is done.
 * False with *e: nothing was changed, also when the thread had no time. Nothing is kept here for the next start: who made
 * endpoints has to begin them (delivery_begin_endpoint), or what waits for them becomes dead letters.
 *
 *   added     gets every record that the sink takes from its topics from then on, and none that it took before. What still
 *             waits on the broker under that name is its own.
 *   changed   What is in flight ends as it was sent; everything else, also what waits, goes by the new configuration from then
 *             on. The new filter is asked of records that are taken from then on. The circuit is closed, `paused` as the
 *             new configuration says. `order` stays as it is.
 *   paused    What is in flight ends. Nothing more is sent; what is due, and what comes, waits as with `paused: true`: for
 *             half a minute in memory, then on the broker, without an attempt. Of the sink as a whole: nothing
 *             is read either, and the position stays.
 *   resumed   What is in memory goes on at once; what waits on the broker is looked at again after as long as the pause has
 *             taken, at least half a minute, at most ten.
 *   removed   What is in flight ends: it was delivered, or else becomes a dead letter. Nothing more is sent. What waits for it
 *             becomes dead letters of class `orphaned`: what is in memory, or stepped aside with its key, at once; what is on a
 *             waiting topic when it is due; what is redriven to it at once. None of it goes to another endpoint, but to one that is
 *             added later under the same name what is still on a waiting topic then.
 *
 * kill -9 at any point costs what it always does. What a removed endpoint had in memory, and was not stored as a dead letter
 * by then, is not remembered: at the next start its records are those of the endpoints that there are.
 *
 * Threads: any but the sink's. */
#pragma once
#include <time.h>
#include "bridge/config/config.h"

struct delivery;

/* An endpoint for a running sink. When the call is true, the engine has taken it over; it calls release(ctx), if that is
 * there, when it uses nothing of it any more: on the sink's thread, or in delivery_free. */
struct endpoint_order {
    const struct endpoint_config *config; /* checked and filled, its endpoint not open */
    void (*release)(void *ctx);
    void *ctx;
    /* It cannot be opened (its secrets cannot be read): the endpoint, of which only the name is set, gets nothing and is
     * paused until it is changed; what is for it waits. */
    bool held;
};

/* Can it have endpoints with `order: key`? Only where one had it at its start, or it is their default. */
bool delivery_takes_order(const struct sink_config *sink);
/* There is none of that name yet. With `order: key` only where the sink had such an endpoint at its start: it has the topics
 * for it. */
bool delivery_add_endpoint(struct delivery *d, const struct endpoint_order *o, struct timespec until, struct err *e);
/* The same before the sink's thread runs: on the thread of delivery_new. What waits for it is its own, as if it were of the
 * configuration. `order` must fit. */
bool delivery_begin_endpoint(struct delivery *d, const struct endpoint_order *o, struct err *e);
bool delivery_change_endpoint(struct delivery *d, const struct endpoint_order *o, struct timespec until, struct err *e);
bool delivery_remove_endpoint(struct delivery *d, struct str name, struct timespec until, struct err *e);
/* Name absent: the sink as a whole. Also when it is so already. */
bool delivery_pause(struct delivery *d, struct str name, struct timespec until, struct err *e);
bool delivery_resume(struct delivery *d, struct str name, struct timespec until, struct err *e);
