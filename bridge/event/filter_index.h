/* SPDX-License-Identifier: MIT */
/* Many filters that are asked about the same events, so that an event costs what takes it, not what exists.
 *
 *   {exact: {subject: u/7}, prefix: {type: chat.}}     found below  subject = u/7
 *   {any: [{exact: {type: a}}, {prefix: {type: b.}}]}            below  type = a  and  type = b.*
 *   {suffix: {type: .x}}, {not: ...}, {data: ...}, none         in a list that is asked each time
 *
 * A filter stands below conditions without one of which it matches nothing (filter_cover); where there is a choice, those
 * that the fewest filters share. An event looks its attributes up, exact values and beginnings; whoever stands there is
 * asked. What filters want to know of the data is read once for all of them. One thread. */
#pragma once
#include "bridge/event/filter.h"

struct filter_index;

struct filter_index *filter_index_new(void);
void filter_index_free(struct filter_index *x); /* accepts NULL */
/* Adds a filter (NULL: it matches everything), which is borrowed. Returns its number: the lowest that is free. */
size_t filter_index_add(struct filter_index *x, const struct filter *f);
void filter_index_remove(struct filter_index *x, size_t number);
/* Calls each(), which leaves the index as it is, once with the number of every filter that matches. Returns how many were
 * asked. */
size_t filter_index_find(struct filter_index *x, const struct event *ev, void (*each)(void *ctx, size_t number),
                         void *ctx);
