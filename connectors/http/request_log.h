/* SPDX-License-Identifier: MIT */
/* The request log as events: what came of a request is itself an event (http.request.logged), stored like any other.
 *
 *   request_log_keep   of a request that is answered later: what its event is to show of it
 *   request_log_add    it is answered: the event is made and queued
 *   request_log_take   what the core gets, after the events of requests and in half of the room that these leave
 *   request_log_settled
 *
 * It never costs a real event anything: the queue is bounded, at most `rate` events a second are made, few are on their
 * way at the same time, and what has no place is counted and left out. The next event says how many were.
 *
 * Nothing that is secret is told: no query, no header but those that the user lists (and no secret one among these), a path
 * by its label, and of a body the values of members with names of secrets are ***. One thread. */
#pragma once
#include <stdatomic.h>
#include "bridge/connector.h"
#include "bridge/lib/bucket.h"
#include "bridge/net/http/http.h"

#define REQUEST_LOG_TYPE "http.request.logged"

/* Which requests are told of. */
enum requests {
    REQUESTS_REFUSED = 1,
    REQUESTS_ALL,
    REQUESTS_NONE,
};
extern const struct option_value request_log_requests[];

struct request_log_options {
    enum requests requests;
    int64_t rate;
    struct strings headers;
    struct bytes body;
    struct strings mask;
};
extern const struct option request_log_rows[];

enum { REQUEST_LOG_QUEUE = 256 };

struct request_log {
    const struct request_log_options *o;
    struct bucket_size size;
    atomic_int_least64_t *full_us; /* of all copies of the source */
    struct buf source, scope;
    const struct event *queue[REQUEST_LOG_QUEUE];
    size_t first, queued, on_their_way;
    int64_t left_out; /* since the last event */
    bool unstored;    /* that some were not stored was said */
    const char *source_id;
    struct buf data, kept;
    struct metric *logged, *over_rate, *over_queue, *not_stored;
};

struct request_kept { /* of a request, for its event; one block of free() */
    /* "verified", "none" (everybody may send), why it was not, or NULL: it did not come to that */
    const char *verification;
    size_t body_bytes;
    size_t key_n, n;
    char bytes[]; /* whose it is; then the chosen headers and the beginning of the body */
};

struct request_told {  /* an answered request */
    const char *path;  /* label; NULL: it is for none of the source's */
    struct str target; /* then what was asked for, without the query */
    struct str method, peer;
    int status;
    const char *outcome;
    const char *why;  /* NULL: it was not refused */
    int64_t us;       /* from the request to its answer */
    size_t events;    /* that were made of it */
    struct str event; /* id of the one; absent: there were several, or none */
    const struct request_kept *kept;
};

/* False: a header that may hold a secret is among those that are to be told. */
bool request_log_refuse(const char *header, struct err *e); /* the error; false */
bool request_log_check(const struct request_log_options *o, struct err *e);
/* full_us: its bucket, which several logs may share; 0 at first. */
void request_log_open(struct request_log *l, const struct request_log_options *o, const char *source_id,
                      atomic_int_least64_t *full_us);
void request_log_close(struct request_log *l);
/* Is a request with that status told of? 0: may it be? */
bool request_log_wants(const struct request_log *l, int status);
/* What its event is to tell of it, with the chosen headers and the beginning of the body. key: whose it is, absent: nobody's in
 * particular. */
struct request_kept *request_log_keep(struct request_log *l, const struct http_request *r, const char *verification,
                                      struct str key);
void request_log_add(struct request_log *l, const struct request_told *t);
/* Would request_log_take give something? */
bool request_log_is_ready(const struct request_log *l, size_t room);
size_t request_log_take(struct request_log *l, struct emission *out, size_t room);
/* True: the tag was of an emission of this log. */
bool request_log_settled(struct request_log *l, uint64_t tag, enum outcome o, const char *why);
/* Nothing more is taken: what is queued is left out. */
void request_log_stop(struct request_log *l);
