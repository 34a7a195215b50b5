/* SPDX-License-Identifier: MIT */
/* A hash table of names with what they have. */
#include "connectors/websocket/peers.h"
#include <stdlib.h>
#include "bridge/lib/mem.h"

enum { PEERS_BUCKETS = sizeof((struct peers *)0)->buckets / sizeof *((struct peers *)0)->buckets };

struct peer *peers_get(struct peers *p, struct str name)
{
    struct peer **first = &p->buckets[str_hash(name) % PEERS_BUCKETS], *one = *first;
    while (one && !str_eq(one->name, name))
        one = one->next;
    if (one)
        return one;
    one = mem_alloc(sizeof *one);
    *one = (struct peer){ .next = *first, .name = { str_dup(name), name.n } };
    return *first = one;
}

struct peer *peers_enter(struct peers *p, struct str address, int64_t most)
{
    struct peer *one = peers_get(p, address);
    if (one->listeners >= most && !str_eq(address, STR("unix")))
        return NULL;
    one->listeners++;
    return one;
}

static void peers_free(struct peer **at)
{
    struct peer *one = *at;
    *at = one->next;
    free((void *)(uintptr_t)one->name.at);
    free(one);
}

static bool peers_is_idle(const struct peer *one, int64_t now_us)
{
    return !one->listeners && !one->publishing && !one->cohorts && one->full_us <= now_us
           && one->subscribe_full_us <= now_us && one->connect_full_us <= now_us;
}

static void peers_sweep_bucket(struct peer **at, int64_t now_us)
{
    while (*at)
        if (peers_is_idle(*at, now_us))
            peers_free(at);
        else
            at = &(*at)->next;
}

void peers_leave(struct peers *p, struct peer *one, int64_t now_us)
{
    if (--one->listeners == 0)
        peers_sweep_bucket(&p->buckets[str_hash(one->name) % PEERS_BUCKETS], now_us);
}

void peers_sweep(struct peers *p, int64_t now_us)
{
    for (size_t i = 0; i < PEERS_BUCKETS; i++)
        peers_sweep_bucket(&p->buckets[i], now_us);
}

void peers_close(struct peers *p)
{
    for (size_t i = 0; i < PEERS_BUCKETS; i++)
        while (p->buckets[i])
            peers_free(&p->buckets[i]);
}
