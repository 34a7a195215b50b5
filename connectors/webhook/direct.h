/* SPDX-License-Identifier: MIT */
/* Requests over kept connections of HTTP/1.1, within TLS or not, without libcurl, which takes four fifths of such a
 * delivery's CPU.
 *
 * libcurl still resolves names and opens connections, and verifies who is there; then they are ours (channel.h):
 *
 *   direct_has: false, there is no idle connection -> ... opened -> direct_adopt
 *   direct_send, on one of these
 *   direct_done: a request that has ended; what it came to stands in it
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

enum { DIRECT_VALUE = REPLY_VALUE };

enum direct_end {
    DIRECT_WHOLE = 1, /* an answer */
    DIRECT_LOST,      /* the connection; `os_errno` and `tls_error` 0: it was closed */
    DIRECT_TIMED_OUT,
    DIRECT_BAD,   /* `reply` says how */
    DIRECT_STALE, /* a kept connection turned out to be gone before a byte of the answer: send it again on another */
};

struct direct_conn;

struct direct_owner { /* zeroed: none */
    struct direct_conn *idle;
};

struct direct_request {
    struct direct_request *next; /* among those that have ended */
    struct direct_conn *conn;    /* NULL: not in flight */
    struct str head, body;       /* of the caller, until it has ended */
    size_t sent;
    int64_t due_us;      /* when its time is over */
    reply_body_fn *take; /* the answer's body */
    void *ctx;
    enum direct_end end;
    enum reply_result reply;
    int os_errno, status;
    unsigned long tls_error; /* OpenSSL's */
    char retry_after[REPLY_VALUE], delivery[REPLY_VALUE];
};

struct direct {
    struct multi *m;
    size_t count, most;
    struct direct_conn *idle, *idle_last; /* the one that was used last first */
    struct direct_conn *busy;
    int64_t look_us; /* no request's time is over before */
    struct direct_request *ended, **ended_tail;
};

void direct_open(struct direct *p, struct multi *m);
void direct_close(struct direct *p); /* nothing is in flight */
/* Takes an open connection over, for requests to `owner`; false with errno: it cannot, and has closed it. */
bool direct_adopt(struct direct *p, struct direct_owner *owner, struct channel channel);
/* Has the owner an idle connection of use? Closes those of none that it comes across. */
bool direct_has(struct direct_owner *owner);
/* Sends on an idle connection of the owner, which has one. */
void direct_send(struct direct *p, struct direct_owner *owner, struct direct_request *r);
void direct_stop(struct direct *p, struct direct_request *r); /* breaks it off: direct_done does not return it */
void direct_forget(struct direct_owner *owner);               /* closes its connections; nothing of it is in flight */
struct direct_request *direct_done(struct direct *p);         /* NULL: none */
/* Ends requests whose time is over; returns when to call again at the latest (clock_mono_us). */
int64_t direct_expire(struct direct *p, int64_t now_us);
