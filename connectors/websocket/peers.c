/* SPDX-License-Identifier: MIT */
/* A hash table of addresses with their counts. */
#include "connectors/websocket/peers.h"
#include <stdlib.h>
#include "bridge/lib/mem.h"

static struct peer **peers_bucket(struct peers *p, struct str address)
{
    return &p->buckets[str_hash(address) % (sizeof p->buckets / sizeof *p->buckets)];
}

struct peer *peers_enter(struct peers *p, struct str address, int64_t most)
{
    struct peer **first = peers_bucket(p, address), *one = *first;
    while (one && !str_eq(one->address, address))
        one = one->next;
    if (one && one->listeners >= most && !str_eq(address, STR("unix")))
        return NULL;
    if (!one) {
        one = mem_alloc(sizeof *one);
        one->address = (struct str){ str_dup(address), address.n };
        one->next = *first;
        *first = one;
    }
    one->listeners++;
    return one;
}

void peers_leave(struct peers *p, struct peer *one)
{
    if (--one->listeners)
        return;
    struct peer **at = peers_bucket(p, one->address);
    while (*at != one)
        at = &(*at)->next;
    *at = one->next;
    free((void *)(uintptr_t)one->address.at);
    free(one);
}
