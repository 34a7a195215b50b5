/* SPDX-License-Identifier: MIT */
/* Routing: a pure function from an event to the topics that take it, and the key and encoding it gets there.
 *
 * First match wins, unless the route says `also: true`. Immutable after router_new; any thread. */
#pragma once
#include "bridge/config/config.h"

struct target {
    const char *topic;
    struct str key;  /* points into the event; absent: no key */
    bool structured; /* JSON envelope instead of ce_ headers */
};

struct router;
struct router *router_new(const struct config *c); /* borrows c */
void router_free(struct router *r);
/* Writes the targets of ev to out; returns how many, 0: no route takes it. */
size_t router_targets(const struct router *r, const struct event *ev, struct target out[ROUTE_TARGETS]);
