/* SPDX-License-Identifier: MIT */
/* What each address and each user has of a sink, on all of its threads: listeners, subscriptions, and events on their way,
 * so that none can take all places; and which different subscriptions there are.
 *
 * Who has left is forgotten once what he may do is there again in full: coming back does not make it so. A peer that
 * somebody entered or holds stays until he leaves it. Any thread: one lock, held for a few lines at a time. */
#pragma once
#include "bridge/lib/bucket.h"
#include "bridge/lib/err.h"
#include "bridge/lib/str.h"

enum peer_kind { PEER_ADDRESS, PEER_USER };
enum { PEER_KINDS = PEER_USER + 1 };

enum peer_rate { PEER_CONNECTS, PEER_SUBSCRIBES, PEER_PUBLISHES };
enum { PEER_RATES = PEER_PUBLISHES + 1 };

struct peers;
struct peer { /* one address, or user */
    struct peers *of;
    struct str name; /* as `of`, it never changes; what follows is guarded by the lock */
    struct peer *next;
    uint32_t listeners, held;
    uint32_t nameless;           /* of its listeners: have shown nothing yet */
    uint32_t wants;              /* different subscriptions that are there because of it */
    uint32_t publishing;         /* events that are not answered */
    size_t bytes;                /* of these */
    int64_t full_us[PEER_RATES]; /* when it may do a whole burst again (bridge/lib/bucket.h) */
};

struct peers *peers_new(void);
void peers_free(struct peers *p);                  /* with all of them; accepts NULL */
void peers_sweep(struct peers *p, int64_t now_us); /* forgets who has left; now and then */

/* Counts one more listener of it; NULL when it has `most` already. "unix" has no limit. */
struct peer *peers_enter(struct peers *p, enum peer_kind kind, struct str name, int64_t most);
void peer_leave(struct peer *one, int64_t now_us);
/* The same of one who is no listener. */
struct peer *peers_hold(struct peers *p, enum peer_kind kind, struct str name);
void peer_release(struct peer *one, int64_t now_us);

/* Takes one of what it may do in a second. Returns in how many us there is one; 0: taken. */
int64_t peer_take(struct peer *one, enum peer_rate rate, const struct bucket_size *size, int64_t now_us);

/* Of listeners that have shown nothing: how many that address has; one more, or one less. */
uint32_t peers_nameless(struct peers *p, struct str address);
void peer_add_nameless(struct peer *one, bool more);

/* ---- events on their way ---- */

struct peer_publishing { /* most at a time */
    int64_t in_flight;
    size_t bytes, all_bytes; /* of one, but at least one event; of all together, which one may exceed */
};
enum peer_room { PEER_HAS_ROOM, PEER_IS_FULL, PEERS_ARE_FULL };

/* Counts one more event of that peer if there is room; *now: how many it has. */
enum peer_room peer_publish(struct peer *one, const struct peer_publishing *most, size_t bytes, uint32_t *now);
void peer_resize(struct peer *one, size_t before, size_t after); /* of one event */
void peer_published(struct peer *one, size_t bytes);             /* it is answered */

/* ---- subscriptions ---- */

struct want; /* one that is different from all others, on however many threads */

struct want_most {
    size_t all;
    int64_t per_ip, per_user; /* 0: no limit */
};

/* One more thread has that subscription. When it is new it counts as that of the address and the user (NULL: nobody's);
 * NULL with *e: there are too many. */
struct want *peers_want(struct peers *p, const char *key, const struct want_most *most, struct peer *address,
                        struct peer *user, struct err *e);
void peers_want_no_more(struct peers *p, struct want *w);
size_t peers_wants(struct peers *p); /* how many there are */
