/* SPDX-License-Identifier: MIT */
/* Events for tests: one with everything in it, one from a few fields, and comparing two. */
#pragma once
#include "bridge/event/event.h"
#include "tests/support/test.h"

#define assert_str(s, text) assert_true(str_eq(s, str_of(text)) && (s).at)

/* Every attribute, two extensions, data; no event of its own: fields for event_born(). */
extern const struct event event_full;

/* The event of these fields, which must be good. */
const struct event *event_born(const struct event *fields);
/* The same; id, source and type have defaults: 1, /test, test.happened. */
const struct event *event_like(struct event fields);
void assert_events_equal(const struct event *a, const struct event *b);
