/* SPDX-License-Identifier: MIT */
/* Listeners publish: a message becomes an event, takes the way of any source's (inward.h), and is answered when the broker has
 * it, or with the reason why not.
 *
 * Bounded for each user (whose token it is, else the address): events on their way, their bytes, and how many in a second;
 * and the bytes of all together, on all threads of the sink. One thread. */
#pragma once
#include "bridge/lib/metrics.h"
#include "bridge/lib/option.h"
#include "connectors/websocket/inward.h"
#include "connectors/websocket/peers.h"
#include "connectors/websocket/protocol.h"
#include "connectors/websocket/rights.h"

struct publish_options {
    struct strings types, subjects;
    char *source;
    double per_second;
    int64_t burst, in_flight;
};
extern const struct option publish_rows[];

bool publish_is_set(const struct publish_options *o);
bool publish_check(const struct publish_options *o, struct err *e);

struct listener;
struct publishing { /* an event from its message to its answer */
    struct published base;
    struct publishing *next, *before;
    struct listener *listener; /* NULL: it has gone, or it is a request */
    uint64_t request;          /* of HTTP; 0: none */
    struct peer *user;
    size_t bytes; /* that it counts for */
    struct asked asked;
};

struct publisher {
    struct publish_options o;
    struct inward *inward; /* NULL: nothing is published */
    char *source;
    int wake_fd;
    struct mailbox answers;
    struct publishing *first;
    struct metric *stored, *refused;
};

void publish_open(struct publisher *p, const struct sink *s); /* wake_fd is to be watched */
void publish_close(struct publisher *p);                      /* no answers follow */

struct publish_call {
    struct str json;
    struct listener *listener; /* or */
    uint64_t request;
    struct peer *user;           /* entered or held */
    struct str name;             /* the user's; absent: nobody in particular */
    const struct rights *rights; /* NULL: all */
    struct asked asked;
};
/* 0: it is on its way, and its answer will come. Else why not, with *e. */
enum code publish_message(struct publisher *p, const char *sink_id, const struct publish_call *c, struct err *e);
/* The listener goes: nobody hears its answers. */
void publish_forget(struct publisher *p, const struct listener *l);

struct publish_answer {
    struct listener *listener; /* whom it is for; NULL: see request; both absent: nobody */
    uint64_t request;
    const struct asked *asked;
    struct str event_id;
    enum code code; /* 0: stored */
    const char *why;
};
/* Gives `tell` what has been answered since. */
void publish_answers(struct publisher *p, void (*tell)(void *ctx, const struct publish_answer *a), void *ctx);
