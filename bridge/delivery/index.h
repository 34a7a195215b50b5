/* SPDX-License-Identifier: MIT */
/* Filters by the types that they can match, so that an event costs what may match it, not what exists.
 *
 * Exact types and beginnings of types are looked up; filters without a condition on the type stand in a list. Whoever is
 * found still asks its filter. One thread. */
#pragma once
#include "bridge/event/filter.h"

struct filter_index;

struct filter_index *index_new(void);
void index_free(struct filter_index *x); /* accepts NULL */
/* Adds a filter (NULL: it matches everything) under a number. */
void index_add(struct filter_index *x, const struct filter *f, size_t number);
/* Calls each() with the number of every filter that an event of this type may match; some may come twice. */
void index_find(const struct filter_index *x, struct str type, void (*each)(void *ctx, size_t number), void *ctx);
