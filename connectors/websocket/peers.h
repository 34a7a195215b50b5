/* SPDX-License-Identifier: MIT */
/* What each address, or user, has of this sink: listeners, and events on their way, so that none can take all places. One
 * thread.
 *
 * Who has left is forgotten once what he may publish is there again in full: coming back does not make it so. */
#pragma once
#include "bridge/lib/bucket.h"
#include "bridge/lib/str.h"

struct peer { /* one address, or user */
    struct peer *next;
    struct str name;
    uint32_t listeners, publishing; /* publishing: events that are not answered */
    uint32_t nameless;              /* of its listeners: have shown nothing yet */
    uint32_t cohorts;               /* that are there because of it */
    size_t bytes;                   /* of what it publishes */
    /* When it may do a whole burst again (bridge/lib/bucket.h): publish; subscribe;
     * connect. */
    int64_t full_us, subscribe_full_us, connect_full_us;
};

struct peers { /* zeroed to start; empty again when everybody has left */
    struct peer *buckets[1024];
};

/* The peer of that name, a new one if need be; kept at least until the next sweep. */
struct peer *peers_get(struct peers *p, struct str name);
/* Counts one more listener of that address or network; NULL when it has `most` already. "unix" has no limit. */
struct peer *peers_enter(struct peers *p, struct str address, int64_t most);
void peers_leave(struct peers *p, struct peer *one, int64_t now_us);
/* Forgets who has left; now and then. */
void peers_sweep(struct peers *p, int64_t now_us);
void peers_close(struct peers *p); /* all of them */
