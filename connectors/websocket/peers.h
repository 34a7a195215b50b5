/* SPDX-License-Identifier: MIT */
/* How many listeners each address has, so that one host cannot take all places. One thread. */
#pragma once
#include "bridge/lib/str.h"

struct peer { /* one address */
    struct peer *next;
    uint32_t listeners;
    struct str address;
};

struct peers { /* zeroed to start; empty again when everybody has left */
    struct peer *buckets[1024];
};

/* Counts one more listener of that address or network; NULL when it has `most` already. "unix" has no limit. */
struct peer *peers_enter(struct peers *p, struct str address, int64_t most);
void peers_leave(struct peers *p, struct peer *one);
