/* SPDX-License-Identifier: MIT */
/* Routing: which topics an event goes to, with which key and encoding. */
#include "bridge/intake/route.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "bridge/lib/mem.h"

enum record_schema route_schema(const struct route_config *route)
{
    switch (route->encoding) {
    case ENCODING_AVRO: return SCHEMA_AVRO;
    case ENCODING_AVRO_COLUMNS: return SCHEMA_COLUMNS;
    case ENCODING_JSON_SCHEMA: return SCHEMA_JSON;
    case ENCODING_BINARY:
    case ENCODING_STRUCTURED: break;
    }
    return SCHEMA_NONE;
}

struct router {
    const struct config *config;
    const struct route_config *routes;
    size_t count;
    struct router *next; /* those of a routing: the older ones */
    atomic_size_t taken; /* how many have it */
};

struct router *router_new(const struct config *c)
{
    struct router *r = mem_alloc(sizeof *r);
    r->config = c;
    r->routes = c->routes.at;
    r->count = c->routes.count;
    return r;
}

void router_free(struct router *r)
{
    free(r);
}

static struct str route_key(const struct route_config *route, const struct event *ev)
{
    if (route->key)
        return event_attribute(ev, str_of(route->key));
    struct str key = event_attribute(ev, STR("partitionkey"));
    return key.at ? key : ev->subject;
}

static bool route_is_tombstone(const struct route_config *route, struct str type)
{
    for (size_t i = 0; i < route->tombstones.count; i++)
        if (str_eq(type, str_of(route->tombstones.at[i])))
            return true;
    return false;
}

static bool route_has_topic(const struct target *targets, size_t count, const char *topic)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(targets[i].topic, topic) == 0)
            return true;
    return false;
}

size_t router_targets(const struct router *r, const struct event *ev, struct target out[ROUTE_TARGETS])
{
    size_t count = 0;
    for (size_t i = 0; i < r->count && count < ROUTE_TARGETS; i++) {
        const struct route_config *route = &r->routes[i];
        if (!filter_match(route->filter, ev))
            continue;
        /* Two `also` routes to one topic are no reason to store an event twice. */
        if (!route_has_topic(out, count, route->topic)) {
            struct target *to = &out[count++];
            *to = (struct target){ .topic = route->topic, .key = route_key(route, ev), .route = route };
            to->tombstone = to->key.n > 0 && route_is_tombstone(route, ev->type);
        }
        if (!route->also)
            break;
    }
    return count;
}

bool router_has_tombstones(const struct router *r, struct str type)
{
    for (size_t i = 0; i < r->count; i++)
        if (route_is_tombstone(&r->routes[i], type))
            return true;
    return false;
}

const struct config *router_config(const struct router *r)
{
    return r->config;
}

bool router_drops(const struct router *r)
{
    return r->config->unrouted == UNROUTED_DROP;
}

/* ---- which one holds ---- */

struct routing {
    pthread_mutex_t lock;         /* so that none is taken that is just being replaced */
    _Atomic(struct router *) now; /* written under the lock */
};

struct routing *routing_new(const struct config *c)
{
    struct routing *r = mem_alloc(sizeof *r);
    pthread_mutex_init(&r->lock, NULL);
    atomic_store(&r->now, router_new(c));
    return r;
}

void routing_free(struct routing *r)
{
    if (!r)
        return;
    for (struct router *one = atomic_load(&r->now), *next; one; one = next) {
        next = one->next;
        router_free(one);
    }
    pthread_mutex_destroy(&r->lock);
    free(r);
}

struct router *routing_take(struct routing *r)
{
    pthread_mutex_lock(&r->lock);
    struct router *now = atomic_load(&r->now);
    atomic_fetch_add(&now->taken, 1);
    pthread_mutex_unlock(&r->lock);
    return now;
}

void routing_give(struct router *router)
{
    atomic_fetch_sub(&router->taken, 1);
}

bool routing_is_old(const struct routing *r, const struct router *router)
{
    return atomic_load(&r->now) != router;
}

void routing_change(struct routing *r, const struct config *c)
{
    struct router *one = router_new(c);
    pthread_mutex_lock(&r->lock);
    one->next = atomic_load(&r->now);
    atomic_store(&r->now, one);
    pthread_mutex_unlock(&r->lock);
}

bool routing_uses(struct routing *r, const struct config *c)
{
    struct router *now = atomic_load(&r->now);
    bool uses = now->config == c;
    for (struct router **at = &now->next, *one; (one = *at);) {
        if (atomic_load(&one->taken) > 0) {
            uses = uses || one->config == c;
            at = &one->next;
            continue;
        }
        *at = one->next;
        router_free(one);
    }
    return uses;
}
