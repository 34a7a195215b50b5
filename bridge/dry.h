/* SPDX-License-Identifier: MIT */
/* A broker that stores nothing, for `aqueduct run --dry-run`: every event that would be published is printed on standard
 * output, one structured CloudEvent a line, and at the end the log says how many would have gone to each topic.
 *
 * An ordered source hears that its events are stored, so that it goes on: its position lives in this process alone. Any
 * other one hears that they are not, as somebody waits for that answer. An event of several topics is printed once.
 *
 * Threads: as any broker. */
#pragma once
#include "bridge/config/config.h"

/* The configuration of such a run: sources and routes as they are, neither sinks nor admin nor a folder of its own. Borrows
 * all of `c`. */
struct config dry_config(const struct config *c);
struct broker *dry_open(const struct config *c); /* borrows c; broker_close ends it */
