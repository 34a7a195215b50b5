/* SPDX-License-Identifier: MIT */
/* The account of a sink: how far its topics are finished, what is pending and in flight, what fails and why, the totals.
 *
 * It is one snapshot: the sink's own thread makes it between two turns when somebody asks, and pays nothing otherwise; so
 * its counters reconcile: consumed = delivered + dead + filtered + moved + released + pending. Its text is a JSON object
 * (`aqueduct help status` lists the keys):
 *
 *   {"sink": "crm", "type": "webhook", "group": "aqueduct.crm", "live": false, "no_account": null, "waiting": 0,
 *    "topics": [{"topic", "partition", "position", "start", "end", "finished_beyond", "pending"}],
 *    "destinations": [{"endpoint", "paused", "held": {"since", "reason", "next"}, "removed", "pending", "in_flight", "waiting", "oldest", "next_due", "failing": {"since", "status",
 *                      "reason"}, "circuit": {"state", "since", "next_probe"}, "consumed", "delivered", ...}],
 *    "listeners": [..] (struct sink_ops), if they were asked for,
 *    "events": [{"id", "topic", "partition", "offset", "endpoint", "state", "attempts", "first", "due", "status", "reason"}]}
 *
 * The first destination stands for the sink as a whole (endpoint null): its only receiver, or of a sink with endpoints what
 * concerns none in particular. An endpoint that was added again under its old name is one row with what is left of the
 * earlier one, for they have the same counters. What is not known, or does not apply, is null. Threads: account_ask and account_take on one other thread than the
 * sink's. */
#pragma once
#include <stdbool.h>
#include <time.h>
#include "bridge/connector.h"

struct broker_config;
struct delivery;
struct sink_config;

enum { ACCOUNT_EVENTS = 1000, ACCOUNT_LISTENERS = 1000 }; /* most of them in one account */

struct account_question {
    bool counters; /* no account: only the metrics that add up are kept for the page, as they stand (metric_keep) */
    size_t events; /* most of those in memory that are listed, oldest first; 0: none */
    struct str id; /* only those with this event's id; absent: all */
    struct listener_question listeners; /* most 0: none are listed */
};

/* Asks for an account; the next turn makes it. The question is copied. */
void account_ask(struct delivery *d, const struct account_question *q);
/* The account that was asked for last (for counters an empty text), free() it; waits for it until then (thread_until). NULL: the sink's thread is
 * busy. */
char *account_take(struct delivery *d, struct timespec until);
/* The account of a sink that cannot give one, with what its configuration says; all else is null. `why`: for a person. free()
 * it. Any thread. */
char *account_unknown(const struct sink_config *sink, const struct broker_config *names, const char *why);
