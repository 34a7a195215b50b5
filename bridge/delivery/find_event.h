/* SPDX-License-Identifier: MIT */
/* Where an event can stand, and whether a record is that event. One thread. */
#pragma once
#include "bridge/config/config.h"
#include "bridge/event/record.h"

enum { FIND_EVENT_SCAN = 1000000 }; /* newest records of a topic that are looked at */

bool find_event_is(const struct record *r, struct str id);
/* For the text behind "no event with this id": that a whole id is wanted, if it is shorter than a UUID; else "". */
const char *find_event_hint(struct str id);
/* Is it one of the bridge's own topics? */
bool find_event_is_own(const struct config *c, const char *topic);
/* Calls each() once with every topic that the configuration names, until it returns false. Of the bridge's own none. */
bool find_event_topics(const struct config *c, bool (*each)(void *ctx, const char *topic), void *ctx);
/* The one of these topics that is written nearly so, but not so; NULL: none. */
const char *find_event_nearest(const struct config *c, const char *topic);
