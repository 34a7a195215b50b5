/* SPDX-License-Identifier: MIT */
/* What the log itself says, beside a daemon or without one: for brokers that can be read from here (broker_standing). */
#pragma once
#include <jansson.h>
#include "bridge/config/config.h"

/* Which group says how far the sink is in the topic: its own, or, as long as that stands nowhere there, that of an earlier name
 * (`formerly`), whose position it takes over. free() it; NULL with *e. */
char *status_group(const struct config *config, const struct sink_config *sink, const char *topic, struct err *e);
/* The account that the log gives, in the form of delivery/account.h; NULL with *e. */
json_t *status_of_log(const struct config *config, struct err *e);
/* Counts what waits for each sink in the waiting topics, and what its daemon has not read of its blocked logs, and sets
 * what the account says of it; adds of each sink at most so many events of each of the waiting topics, those put there first, to
 * the account's events. False with *e. */
bool status_add_waiting(const struct config *config, json_t *account, size_t events, struct err *e);
