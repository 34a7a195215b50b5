/* SPDX-License-Identifier: MIT */
/* What became of one event at every destination, from a log that can be read from here and, when one runs, from the
 * daemon's memory.
 *
 *   {"event": "the id", "stored": [{"topic", "partition", "offset", "time", "type", "source", "destinations": [{"sink",
 *    "endpoint", "state", "attempts", "due", "last", "status", "class", "reason", "resent", "to"}]}], "refused":
 *    [{"source", "class", "reason", "last", "discarded"}]}
 *
 * state: finished, filtered, pending, ready, paused, behind, in_flight, storing, waiting, dead, redriven, resent (pending, as
 * redriven is), redirected (dead, and redriven to another place, `to`), discarded, live, unserved (kept, but nobody reads it
 * any more). What was finished and left no dead letter was delivered, but the log keeps no word of that, so
 * it is not called so. */
#pragma once
#include <jansson.h>
#include "bridge/config/config.h"

/* `account`: the daemon's, with its events of that id; NULL: none runs. `made`: its endpoints
 * (made_names.h); NULL: none are known. Records stored before since_ms are not looked at.
 * NULL with *e. */
json_t *status_event(const struct config *config, const json_t *account, const json_t *made, struct str id,
                     int64_t since_ms, struct err *e);
