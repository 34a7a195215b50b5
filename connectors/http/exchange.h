/* SPDX-License-Identifier: MIT */
/* The requests of an HTTP source that are not answered yet: a fixed table, in order of arrival, and the queue of their
 * events to the core.
 *
 *   exchanges_begin -> exchanges_take (events to the core) -> exchanges_settle per event -> exchanges_end
 *                  \-> exchanges_answered when the sender waited too long
 *
 * Bounded by the number of events and by the memory that they take, of all copies of the source together; a single request
 * always fits. One thread, but for these counts. */
#pragma once
#include <stdatomic.h>
#include "bridge/connector.h"

struct path;
struct request_kept;

enum { EXCHANGE_PEER = 56 }; /* "[" an IPv6 address "]:" a port */

struct exchange {     /* one request and its answer to come */
    uint64_t request; /* the server's name for it */
    struct path *path;
    struct str scope;          /* of its events' ids, when they share one; else what theirs begin with */
    struct buf scopes;         /* else those of its events, one after the other, equally long, and `formers` more */
    const struct event *event; /* of a request with one event: its id is the answer */
    int64_t began_us;
    char peer[EXCHANGE_PEER];
    size_t bytes;
    struct request_kept *kept; /* for the request log; NULL: nothing */
    uint32_t count, left;      /* events in all, not settled yet */
    uint32_t formers;          /* 1: there is one more scope, which its event had in an earlier version */
    uint32_t refused;          /* settled as invalid, or as a conflict */
    uint32_t repeats;          /* settled as stored before */
    bool batch, unavailable, conflict, answered;
    bool keyed;             /* its id came as an Idempotency-Key */
    bool named;             /* it is the sender's name of the thing: what has it is a repeat, whatever else is in it */
    uint32_t before, after; /* neighbours in the order of arrival; `after` also links free ones */
    struct buf details;     /* of refused events, as the inside of a JSON array */
};

struct queued_event { /* an event that the core did not take yet */
    const struct event *event;
    uint64_t tag;
};

struct exchanges_held { /* events begun and not settled; what the events of their requests take in memory */
    atomic_size_t open, bytes;
};

struct exchanges {
    struct exchanges_held *held; /* shared */
    struct exchange *at;         /* [0] is the end of both lists */
    struct queued_event *queue;  /* ring of `most` */
    size_t most, most_bytes;
    size_t queue_head, queued;
    uint32_t free;
};

void exchanges_open(struct exchanges *xs, struct exchanges_held *held, size_t most, size_t most_bytes);
void exchanges_close(struct exchanges *xs); /* drops what is still there */
bool exchanges_fit(const struct exchanges *xs, size_t events, size_t bytes);
/* Takes room for them, for exchanges_begin. False: they do not fit. */
bool exchanges_reserve(struct exchanges *xs, size_t events, size_t bytes);
/* Adds one event to a list of such that cannot be taken, as the inside of a JSON array: with its cause, or, when the list is
 * long, its index alone. */
void exchange_list_refused(struct buf *list, uint32_t *count, size_t index, const char *why);
size_t exchange_list_room(size_t events); /* bytes that such a list takes at most */
/* Takes over the events (1 to UINT16_MAX places, NULL where one cannot be taken), for which and for whose event_bytes there
 * is room. */
struct exchange *exchanges_begin(struct exchanges *xs, uint64_t request, const struct event *const *events,
                                 size_t count, bool batch);
/* Gives each event of it a scope of its own: "<scope>?" and `size` bytes of `origins`; what is behind those is of the
 * scope that its event had in an earlier version. */
void exchange_set_scopes(struct exchange *x, struct str scope, struct str origins, size_t size);
/* Takes over what the request log is to tell of it (a block of free()), which takes so much memory. */
void exchange_keep(struct exchanges *xs, struct exchange *x, struct request_kept *kept, size_t bytes);
/* The next events for the core, the last one being that which brings them to `room_bytes` (0: no limit). Those of requests that were answered meanwhile are dropped: their senders send again. */
size_t exchanges_take(struct exchanges *xs, struct emission *out, size_t room, size_t room_bytes);
/* Records the outcome of an event. Returns the request, to be answered and ended, if that was its last event; else NULL. */
struct exchange *exchanges_settle(struct exchanges *xs, uint64_t tag, enum outcome o, const char *why);
void exchanges_end(struct exchanges *xs, struct exchange *x); /* every event of it is settled */
/* The request that waits longest for its answer, or NULL. */
struct exchange *exchanges_oldest(const struct exchanges *xs);
/* Its answer is sent; takes it off the list of exchanges_oldest. Twice is harmless. */
void exchanges_answered(struct exchanges *xs, struct exchange *x);
