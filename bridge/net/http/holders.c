/* SPDX-License-Identifier: MIT */
/* What each address holds of the server: connections, and bytes of requests that are not whole. */
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/mem.h"
#include "bridge/net/http/private.h"

static struct http_holder **holders_bucket(struct http_server *s, struct str network)
{
    return &s->holders[str_hash(network) % HTTP_HOLDER_BUCKETS];
}

struct http_holder *http_holders_find(struct http_server *s, struct str network)
{
    struct http_holder *h = *holders_bucket(s, network);
    while (h && !str_eq(str_of(h->network), network))
        h = h->next;
    return h;
}

void http_holders_enter(struct http_conn *c, struct str network)
{
    struct http_server *s = c->s;
    struct http_holder *h = http_holders_find(s, network);
    if (!h) {
        struct http_holder **bucket = holders_bucket(s, network);
        h = mem_alloc(sizeof *h + network.n + 1);
        memcpy(h->network, network.at, network.n);
        h->unlimited = c->from_proxy || str_eq(network, STR("unix"));
        h->next = *bucket;
        *bucket = h;
    }
    c->holder = h;
    c->older = h->newest;
    c->newer = NULL;
    *(h->newest ? &h->newest->newer : &h->oldest) = c;
    h->newest = c;
    h->connections++;
    s->count++;
    metric_add(s->connections, 1);
}

void http_holders_leave(struct http_conn *c)
{
    struct http_holder *h = c->holder;
    if (!h)
        return;
    c->holder = NULL;
    *(c->older ? &c->older->newer : &h->oldest) = c->newer;
    *(c->newer ? &c->newer->older : &h->newest) = c->older;
    h->held -= c->held;
    c->s->held -= c->held;
    c->held = 0;
    c->s->count--;
    http_twins_leave(c->s, str_of(h->network));
    metric_add(c->s->connections, -1);
    if (--h->connections)
        return;
    struct http_holder **at = holders_bucket(c->s, str_of(h->network));
    while (*at != h)
        at = &(*at)->next;
    *at = h->next;
    free(h);
}

void http_holders_hold(struct http_conn *c, size_t held)
{
    if (!c->holder)
        return;
    held = held < UINT32_MAX ? held : UINT32_MAX; /* far beyond what is allowed */
    c->s->held += held - c->held;
    c->holder->held += held - c->held;
    c->held = (uint32_t)held;
}

struct http_holder *http_holders_largest(struct http_server *s, bool by_bytes)
{
    struct http_holder *largest = NULL;
    for (size_t i = 0; i < HTTP_HOLDER_BUCKETS; i++)
        for (struct http_holder *h = s->holders[i]; h; h = h->next)
            if (!largest || (by_bytes ? h->held > largest->held : h->connections > largest->connections))
                largest = h;
    return largest;
}

/* The address that keeps most of us busy loses its oldest incomplete request. False: that is c's own address. */
static bool holders_evict_for(const struct http_conn *c)
{
    const struct http_holder *h = http_holders_largest(c->s, true);
    struct http_conn *oldest = h->oldest;
    if (h == c->holder)
        return false;
    while (oldest->held == 0)
        oldest = oldest->newer;
    metric_add(c->s->evicted[EVICTED_MEMORY], 1);
    oldest->protocol->give_up(oldest);
    return true;
}

bool http_holders_grow(struct http_conn *c, size_t held)
{
    const struct http_server_options *o = &c->s->o;
    bool grew = held > c->held;
    http_holders_hold(c, held);
    if (!grew || c->state != HTTP_OPEN)
        return true;
    if (http_holder_is_limited(c->holder) && c->holder->held > (size_t)o->max_held_per_address.n)
        return false;
    while (c->s->held > (size_t)o->max_held.n)
        if (!holders_evict_for(c))
            return false;
    return true;
}

bool http_holder_is_limited(const struct http_holder *h)
{
    return h && !h->unlimited;
}

bool http_holders_are_unlimited(struct http_server *s, struct str network)
{
    const struct http_holder *h = http_holders_find(s, network);
    return h ? h->unlimited : s->twins && http_twins_are_unlimited(s, network);
}

size_t http_holders_others(const struct http_server *s)
{
    return s->twins ? http_twins_others(s) : s->count;
}

size_t http_holders_of(struct http_server *s, struct str network)
{
    const struct http_holder *h = s->twins ? NULL : http_holders_find(s, network);
    return s->twins ? http_twins_of(s, network) : h ? h->connections : 0;
}

size_t http_holders_others_of(struct http_server *s, struct str network)
{
    size_t n = http_holders_of(s, network);
    return n && s->twins ? n - 1 : n;
}
