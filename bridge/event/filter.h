/* SPDX-License-Identifier: MIT */
/* CloudEvents Subscriptions filters: exact, prefix, suffix, all, any, not; compiled once, used by routes, sinks and listeners.
 *
 * A filter is immutable once compiled, so any thread may match with it. It looks at attributes only, never at the data.
 *
 *   exact: {type: chat.response.generated}      every attribute named must be equal
 *   prefix: {type: chat.}    suffix: {...}
 *   all: [f, f]    any: [f, f]    not: f        a mapping with several dialects means all of them
 */
#pragma once
#include <jansson.h>
#include "bridge/event/event.h"

enum { FILTER_NODES = 1000, FILTER_DEPTH = 16 };

struct filter;

/* From the JSON form ({"exact":{"type":"x"}} or an array of such, which means all). `json` is borrowed. NULL with *e
 * that says where in the filter (`any[1].prefix.type`) and what. Limits: FILTER_NODES, FILTER_DEPTH. */
struct filter *filter_new(const json_t *json, struct err *e);
void filter_free(struct filter *f);                                /* accepts NULL */
bool filter_match(const struct filter *f, const struct event *ev); /* NULL matches everything */
/* What becomes of an event of which nothing but the type is known. */
enum filter_answer { FILTER_NO = 1, FILTER_PERHAPS, FILTER_YES };
enum filter_answer filter_match_type(const struct filter *f, struct str type); /* NULL: yes */
/* Tells each type, or with `prefix` each beginning of a type, without which the filter matches nothing; one event may have
 * several of them. False, without a call: it may match any type. For an index of filters. */
bool filter_types(const struct filter *f, void (*each)(void *ctx, bool prefix, struct str type), void *ctx);
/* Equal filters have equal texts: a canonical form for grouping listeners; free() it. */
char *filter_text(const struct filter *f);
