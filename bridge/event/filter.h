/* SPDX-License-Identifier: MIT */
/* CloudEvents Subscriptions filters: exact, prefix, suffix, all, any, not; compiled once, used by routes, sinks and listeners.
 *
 * A filter is immutable once compiled, so any thread may match with it.
 *
 *   exact: {type: chat.response.generated}      every attribute named must be equal
 *   prefix: {type: chat.}    suffix: {...}
 *   all: [f, f]    any: [f, f]    not: f        a mapping with several dialects means all of them
 *   data: {/collection/key: hr}                 what a JSON pointer finds in the data is equal
 *   prefix: {data: {/document/name: "2026-"}}   ... begins with (suffix, exact alike)
 *
 * In the data a string, a number or a boolean is compared by its text: a string without its escapes, the others as they are
 * written. null is as good as absent, and an exact null wants that; every other condition on what is absent, an object or a
 * list does not hold, as with attributes. Data that is not JSON, by its type or in fact, has nothing in it. The data is
 * looked at when the first condition on it is reached, once for all of them (jpointer.h), and not without one.
 */
#pragma once
#include <jansson.h>
#include "bridge/event/event.h"

enum {
    FILTER_NODES = 1000,
    FILTER_DEPTH = 16,
    FILTER_PLACES = 256, /* in the data, counting those on the way */
};

struct filter;
struct filter_group;

/* From the JSON form ({"exact":{"type":"x"}} or an array of such, which means all). `json` is borrowed. NULL with *e
 * that says where in the filter (`any[1].prefix.type`) and what. Limits: FILTER_NODES, FILTER_DEPTH, FILTER_PLACES. */
struct filter *filter_new(const json_t *json, struct err *e);
void filter_free(struct filter *f);                                /* accepts NULL */
bool filter_match(const struct filter *f, const struct event *ev); /* NULL matches everything */

/* Of a filter that does not match: adds the condition because of which, for a person: type "user.login" does not begin with
 * "chat."; of several that could have held, the first few. */
void filter_add_reason(const struct filter *f, const struct event *ev, struct buf *out);

/* Filters that are asked about the same events: the data of an event is read once for all of them. They are borrowed. One
 * thread. */
struct filter_group *filter_group_new(void);
void filter_group_free(struct filter_group *g);                          /* accepts NULL */
size_t filter_group_add(struct filter_group *g, const struct filter *f); /* its number: the lowest that is free */
void filter_group_remove(struct filter_group *g, size_t member);
void filter_group_see(struct filter_group *g, const struct event *ev); /* the event that is asked about; borrowed */
bool filter_group_match(struct filter_group *g, size_t member);

/* What becomes of an event of which nothing but the type is known. */
enum filter_answer { FILTER_NO = 1, FILTER_PERHAPS, FILTER_YES };
enum filter_answer filter_match_type(const struct filter *f, struct str type); /* NULL: yes */
/* A condition on an attribute: it has this value, or begins with it. */
struct filter_condition {
    struct str attribute, value;
    bool prefix;
};
/* Tells each() conditions without one of which the filter matches nothing; one event may fulfil several of them, and one may
 * be told twice. Where there is a choice, those that cost() least together. False, without a call of each(): there are
 * none. For an index of filters. */
bool filter_cover(const struct filter *f, size_t (*cost)(void *ctx, const struct filter_condition *c),
                  void (*each)(void *ctx, const struct filter_condition *c), void *ctx);
/* Equal filters have equal texts: a canonical form for grouping listeners; free() it. */
char *filter_text(const struct filter *f);
