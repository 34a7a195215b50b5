/* SPDX-License-Identifier: MIT */
/* The requests of an HTTP source that wait for the log: a fixed table, in order of arrival, and the queue of events not
 * handed over.
 *
 * A request is begun with its events, which queue here until the core has room (pending_take). Each event comes back
 * once (pending_settle); with the last one the request is over. `answered` can come earlier: its sender waited too
 * long. Bounded by the number of events and by the bytes of their bodies. One thread. */
#pragma once
#include "bridge/connector.h"

struct path;

struct pending {      /* one request */
    uint64_t request; /* the server's name for it */
    struct path *path;
    const struct event *event; /* of a request with one event: its id is the answer */
    int64_t began_us;
    size_t bytes;
    uint32_t count, left; /* events in all, not settled yet */
    uint32_t refused;     /* settled as invalid */
    bool batch, unavailable, answered;
    uint32_t before, after; /* neighbours in the order of arrival; `after` also links free ones */
    struct buf details;     /* of refused events, as the inside of a JSON array */
};

struct waiting { /* an event that the core did not take yet */
    const struct event *event;
    uint64_t tag;
};

struct pendings {
    struct pending *at;    /* [0] is the end of both lists */
    struct waiting *queue; /* ring of `most` */
    size_t most, most_bytes;
    size_t open, bytes; /* events begun and not settled; body bytes of their requests */
    size_t queue_head, queued;
    uint32_t free;
};

void pendings_open(struct pendings *p, size_t most, size_t most_bytes);
void pendings_close(struct pendings *p); /* drops what is still there */
bool pendings_fit(const struct pendings *p, size_t events, size_t bytes);
/* Takes over the events (1 to UINT16_MAX of them, which must fit). */
struct pending *pendings_begin(struct pendings *p, uint64_t request, const struct event *const *events, size_t count,
                               bool batch);
/* The next events for the core; those of requests that were answered meanwhile are dropped, for their senders come
 * again. */
size_t pendings_take(struct pendings *p, struct emission *out, size_t room);
/* Notes what became of an event; the request when that was its last one, to be answered and ended, else NULL. */
struct pending *pendings_settle(struct pendings *p, uint64_t tag, enum outcome o, const char *why);
void pendings_end(struct pendings *p, struct pending *x);
/* The request that waits longest for its answer, or NULL. */
struct pending *pendings_oldest(const struct pendings *p);
void pendings_answered(struct pendings *p, struct pending *x);
