/* SPDX-License-Identifier: MIT */
/* Filters by the types that they can match, so that an event costs what may match it, not what exists.
 *
 * Exact types and beginnings of types are looked up; filters without a condition on the type stand in a list. Whoever is
 * found asks its filter; what filters want to know of the data is read once for all of them. One thread. */
#pragma once
#include "bridge/event/filter.h"

struct filter_index;

struct filter_index *index_new(void);
void index_free(struct filter_index *x); /* accepts NULL */
/* Adds a filter (NULL: it matches everything), which is borrowed. They are numbered as they come: 0, 1, ... */
void index_add(struct filter_index *x, const struct filter *f);
/* Calls each() with the number of every filter that an event of this type may match; some may come twice. */
void index_find(struct filter_index *x, const struct event *ev, void (*each)(void *ctx, size_t number), void *ctx);
/* Inside each(): does the filter match the event? */
bool index_match(struct filter_index *x, size_t number);
