/* SPDX-License-Identifier: MIT */
/* Requests over kept connections of plain HTTP/1.1, within TLS or not, without libcurl, which takes four fifths of such a
 * delivery's CPU.
 *
 * libcurl still resolves names and opens connections, and verifies who is there; then they are ours (channel.h):
 *
 *   plain_has: false, there is no idle connection -> ... opened -> plain_adopt
 *   plain_send, on one of these
 *   plain_done: a request that has ended; what it came to stands in it
 *
 * It is registered with epoll once, edge-triggered: a request costs one write and two reads, and a wait is shared by all.
 * The first read is a look before it is sent: what came behind the last answer is the answer to nothing, so such a
 * connection serves no more.
 * An answer below 400 that comes before the whole request is sent counts when the rest is sent, too, or the connection has ended.
 * Idle connections are their owner's. One that turns readable has ended, or is of no use. The oldest idle ones give way when there would be more
 * than `most` connections. One thread. */
#pragma once
#include "connectors/webhook/channel.h"
#include "connectors/webhook/reply.h"

enum { PLAIN_VALUE = REPLY_VALUE };

enum plain_end {
    PLAIN_WHOLE = 1, /* an answer */
    PLAIN_LOST,      /* the connection; `os_errno` and `tls_error` 0: it was closed */
    PLAIN_TIMED_OUT,
    PLAIN_BAD,   /* `reply` says how */
    PLAIN_STALE, /* a kept connection turned out to be gone before a byte of the answer: send it again on another */
};

struct plain_conn;

struct plain_owner { /* zeroed: none */
    struct plain_conn *idle;
};

struct plain_request {
    struct plain_request *next; /* among those that have ended */
    struct plain_conn *conn;    /* NULL: not in flight */
    struct str head, body;      /* of the caller, until it has ended */
    size_t sent;
    int64_t due_us;      /* when its time is over */
    reply_body_fn *take; /* the answer's body */
    void *ctx;
    enum plain_end end;
    enum reply_result reply;
    int os_errno, status;
    unsigned long tls_error; /* OpenSSL's */
    char retry_after[REPLY_VALUE], delivery[REPLY_VALUE];
};

struct plain {
    struct multi *m;
    size_t count, most;
    struct plain_conn *idle, *idle_last; /* the one that was used last first */
    struct plain_conn *busy;
    int64_t look_us; /* no request's time is over before */
    struct plain_request *ended, **ended_tail;
};

void plain_open(struct plain *p, struct multi *m);
void plain_close(struct plain *p); /* nothing is in flight */
/* Takes an open connection over, for requests to `owner`; false with errno: it cannot, and has closed it. */
bool plain_adopt(struct plain *p, struct plain_owner *owner, struct channel channel);
/* Has the owner an idle connection of use? Closes those of none that it comes across. */
bool plain_has(struct plain_owner *owner);
/* Sends on an idle connection of the owner, which has one. */
void plain_send(struct plain *p, struct plain_owner *owner, struct plain_request *r);
void plain_stop(struct plain *p, struct plain_request *r); /* breaks it off: plain_done does not return it */
void plain_forget(struct plain_owner *owner);              /* closes its connections; nothing of it is in flight */
struct plain_request *plain_done(struct plain *p);         /* NULL: none */
/* Ends requests whose time is over; returns when to call again at the latest (clock_mono_us). */
int64_t plain_expire(struct plain *p, int64_t now_us);
