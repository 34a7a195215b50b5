/* SPDX-License-Identifier: MIT */
/* Routing: which topics an event goes to, with which key and encoding. */
#include "bridge/intake/route.h"
#include <stdlib.h>
#include "bridge/lib/mem.h"

struct router {
    const struct route_config *routes;
    size_t count;
};

struct router *router_new(const struct config *c)
{
    struct router *r = mem_alloc(sizeof *r);
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
        if (!route_has_topic(out, count, route->topic))
            out[count++] = (struct target){ route->topic, route_key(route, ev),
                                            route->encoding == ENCODING_STRUCTURED };
        if (!route->also)
            break;
    }
    return count;
}
