/* SPDX-License-Identifier: MIT */
/* The log written by a process that is not the daemon (`aqueduct dead redrive`, `aqueduct replay`, `aqueduct orphans`).
 *
 * With the local broker the running daemon does it, which owns the log; when no daemon runs, the log itself is opened, and
 * no daemon can start until it is closed again. With Kafka the cluster is asked directly. One thread. */
#pragma once
#include "bridge/config/config.h"

struct publisher;

struct publisher *publisher_new(const struct config *config); /* borrowed; opens nothing yet */
/* Publishes the records durably, as one publication: waits until they are stored, or says in *e why not. */
enum outcome publisher_put(struct publisher *p, const struct record *records, size_t count, struct err *e);
/* Makes sure that there is such a topic, where the broker does not make it with its first record. */
bool publisher_topic(struct publisher *p, const struct topic_config *topic, struct err *e);
/* Leaves the log, if it is of this machine alone, until the next publication: a daemon can start meanwhile. */
void publisher_rest(struct publisher *p);
bool publisher_forget(struct publisher *p, const char *group, const char *topic, struct err *e); /* broker_forget */
void publisher_free(struct publisher *p);
