/* SPDX-License-Identifier: MIT */
/* Room for a new connection: whether there is some, and who gives way if not.
 *
 * In this order: the connection that has been idle longest; the head or TLS handshake that has been incomplete longest;
 * the oldest connection of the address that has most. Streams and requests that wait for their answer never give way. */
#include <errno.h>
#include <sys/socket.h>
#include "bridge/lib/descriptors.h"
#include "bridge/lib/log.h"
#include "bridge/net/http/private.h"

enum {
    ROOM_LOOKS = 256,         /* at connections, until it counts as if none gave way */
    ROOM_HEAD_MS = 1000,      /* a head that is younger does not give way */
    ROOM_WARN_MS = 60 * 1000, /* between warnings */
};

size_t http_room_limit(const struct http_server *s)
{
    int64_t share = s->o.reserved ? s->o.max_connections : descriptors_share();
    return (size_t)(share < s->o.max_connections ? share : s->o.max_connections);
}

/* At most once a minute. */
static void room_warn(struct http_server *s, const char *what, struct str network, size_t of_it)
{
    if (s->warned_ms && s->now_ms - s->warned_ms < ROOM_WARN_MS)
        return;
    s->warned_ms = s->now_ms;
    LOG(WARN, what, LOG_C("listen", s->o.listen), LOG_INT("connections", http_holders_others(s)),
        LOG_INT("limit", http_room_limit(s)), LOG_STR("from", network), LOG_INT("of_it", of_it));
}

static void room_evict(struct http_conn *c, enum http_evicted why)
{
    metric_add(c->s->evicted[why], 1);
    if (why == EVICTED_IDLE && c->protocol->leave)
        c->protocol->leave(c);
    http_wire_kill(c);
}

/* Nothing is under way, not even in the kernel. */
static bool room_is_idle(const struct http_conn *c)
{
    char byte;
    return c->state == HTTP_OPEN && c->due == DUE_IDLE && !c->work && !c->readable && !c->is_later
           && recv(c->io.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

static struct http_conn *room_oldest_idle(struct http_server *s)
{
    struct http_conn *c = s->queues[DUE_IDLE].first;
    for (int i = 0; c && i < ROOM_LOOKS; i++, c = c->after)
        if (room_is_idle(c))
            return c;
    return NULL;
}

static struct http_conn *room_idle_of(const struct http_holder *h)
{
    struct http_conn *c = h->oldest;
    for (int i = 0; c && i < ROOM_LOOKS; i++, c = c->newer)
        if (room_is_idle(c))
            return c;
    return NULL;
}

static struct http_conn *room_slow_head(const struct http_server *s)
{
    struct http_conn *c = s->queues[DUE_HEAD].first;
    return c && s->now_ms - (c->due_ms - s->lasts[DUE_HEAD]) >= ROOM_HEAD_MS ? c : NULL;
}

static bool room_gives_way(const struct http_conn *c)
{
    return c->state != HTTP_OPEN || c->protocol->gives_way(c);
}

/* Whoever has fewest gets on: one of the largest holder goes if the newcomer's has fewer even then. */
static struct http_conn *room_of_largest(struct http_server *s, struct str newcomer)
{
    const struct http_holder *h = http_holders_largest(s, false);
    if (!h || http_holders_of(s, str_of(h->network)) <= 1 + http_holders_others_of(s, newcomer))
        return NULL;
    struct http_conn *c = h->oldest;
    for (int i = 0; c && i < ROOM_LOOKS; i++, c = c->newer)
        if (room_gives_way(c))
            return c;
    return NULL;
}

bool http_room_give_way(struct http_server *s, struct str network)
{
    struct http_conn *c;
    if ((c = room_oldest_idle(s)))
        room_evict(c, EVICTED_IDLE);
    else if ((c = room_slow_head(s)))
        room_evict(c, EVICTED_HEAD);
    else if ((c = room_of_largest(s, network))) {
        room_warn(s, "connections are short: the address with most gives way", str_of(c->holder->network),
                  http_holders_of(s, str_of(c->holder->network)));
        room_evict(c, EVICTED_LARGEST);
    }
    return c != NULL;
}

/* False: its address has as many as one may have, and none of them is idle. */
bool http_room_of_address(struct http_server *s, struct str network, bool last)
{
    const struct http_holder *h = http_holders_find(s, network);
    if (s->o.max_per_address == 0 || http_holders_are_unlimited(s, network)
        || http_holders_others_of(s, network) < (size_t)s->o.max_per_address)
        return true;
    struct http_conn *idle = h ? room_idle_of(h) : NULL;
    if (idle)
        room_evict(idle, EVICTED_IDLE);
    else if (last)
        room_warn(s, "an address has all the connections it may have: more are refused", network,
                  http_holders_others_of(s, network));
    return idle != NULL;
}

int http_room_make(struct http_server *s, struct str network, bool last)
{
    if (!http_room_of_address(s, network, last))
        return 429;
    if (http_holders_others(s) < http_room_limit(s) || http_room_give_way(s, network))
        return 0;
    if (last)
        room_warn(s, "there are no connections left: more are refused", network, http_holders_others_of(s, network));
    return 503;
}
