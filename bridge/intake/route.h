/* SPDX-License-Identifier: MIT */
/* Routing: a pure function from an event to the topics that take it, and the key and encoding it gets there.
 *
 * First match wins, unless the route says `also: true`. A router is immutable; any thread.
 *
 * The routes can change while sources run: `struct routing` is which router holds now. Who routes takes it, looks between
 * two things that it does whether another one holds, and gives the old one back; the main thread frees what nobody has. */
#pragma once
#include "bridge/config/config.h"

struct target {
    const char *topic;
    struct str key; /* points into the event; absent: no key */
    const struct route_config *route;
    bool tombstone; /* the record has no value: its topic is to forget the key */
};

/* The schema of the records that the route makes. */
enum record_schema route_schema(const struct route_config *route);

struct router;
struct router *router_new(const struct config *c); /* borrows c */
void router_free(struct router *r);
/* Writes the targets of ev to out; returns how many, 0: no route takes it. */
size_t router_targets(const struct router *r, const struct event *ev, struct target out[ROUTE_TARGETS]);
/* Does a route make a tombstone of events of that type, so that a topic may have them without their data? */
bool router_has_tombstones(const struct router *r, struct str type);
const struct config *router_config(const struct router *r); /* whose routes these are */
bool router_drops(const struct router *r);                  /* what no route takes: is it dropped, and no error? */

struct routing;
struct routing *routing_new(const struct config *c); /* borrows c */
void routing_free(struct routing *r);                /* accepts NULL; nobody has one of its routers */
/* Any thread. The router that holds now, until routing_give. */
struct router *routing_take(struct routing *r);
void routing_give(struct router *router);
bool routing_is_old(const struct routing *r, const struct router *router); /* does another one hold now? */
/* Main thread: from now on those of `c`, which is borrowed until routing_uses says no. */
void routing_change(struct routing *r, const struct config *c);
bool routing_uses(struct routing *r, const struct config *c); /* does it hold, or has anybody a router of it? */
