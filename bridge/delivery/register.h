/* SPDX-License-Identifier: MIT */
/* The register: what the broker still keeps for sinks that the configuration does not have, or no longer gives to those
 * that it has. Records that a group has not finished and nobody reads any more are said in the log once, with what can be
 * done, and stand in a gauge. (Waiting events of such sinks: orphans.h.)
 *
 * A sink that was removed or renamed leaves its group behind, a topic taken out of a sink's `topics` its position there.
 * Nothing is changed. It is looked at again now and then: on Kafka a group is somebody's until its last session ended.
 * One thread at a time. */
#pragma once
#include "bridge/broker/broker.h"
#include "bridge/config/config.h"
#include "bridge/lib/buf.h"

/* Has the sink that name, now or formerly: *formerly? */
bool register_is(const struct sink_config *s, struct str name, bool *formerly);
/* The configured sink of that name, now or formerly: *formerly. NULL: none. */
const struct sink_config *register_sink(const struct config *c, struct str name, bool *formerly);
/* The present name of the sink of that name, now or formerly; without one, the same text. */
struct str register_present(const struct config *c, struct str name);
/* Does somebody read the topic with the group of that name (behind the prefix)? `idle`: nobody consumes with it now. *known:
 * the configuration has the sink. */
bool register_serves(const struct config *c, const char *name, bool idle, const char *topic, bool *known);

struct register_of_groups;

struct register_of_groups *register_new(const struct config *config);    /* borrowed */
void register_look(struct register_of_groups *r, struct broker *broker); /* may wait for a cluster some seconds */
int64_t register_due(const struct register_of_groups *r);                /* clock_mono_ms of the next look */
void register_free(struct register_of_groups *r);                        /* accepts NULL */
/* What nobody serves, as the gauges of this process say: [{"sink", "topic" (null: it waits), "records"}]. Any thread. */
void register_write(struct buf *out);
