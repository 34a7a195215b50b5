/* SPDX-License-Identifier: MIT */
/* Live tails: events as they are stored, to browsers and programs, as an event stream (text/event-stream).
 *
 *   tails_open -> [tails' own thread: looks at the topics, now and then] -> queue -> main thread: stream -> tails_closed
 *
 *   id: 2026-11-20T10:00:00.123Z        when it was stored: a client that comes back goes on there (Last-Event-ID)
 *   event: event
 *   data: {"id":...,"data":...}         as event_view.h shows it, its data cut
 *
 * A client that reads too slowly misses events and is told how many (event: missed). What no topic has is waited for. So many
 * tails may be open at a time, and so many of one who asks. The thread begins with the first tail. */
#pragma once
#include "bridge/admin/api.h"
#include "bridge/event/filter.h"

enum { TAILS_MOST = 16, TAILS_OF_ONE = 8 };

struct tails_options {
    char **topics; /* owned by the tail from tails_open on, as is the filter */
    size_t topic_count;
    struct filter *filter; /* NULL: every event */
    int64_t since_ms;      /* also what was stored since then; 0: only what comes */
};

struct tails;
struct tails *tails_new(const struct broker_config *broker);
void tails_stop(struct tails *t);    /* its thread ends; streams stay open, and get nothing more */
void tails_free(struct tails *t);    /* accepts NULL; after the servers, which close the streams */
int tails_fd(const struct tails *t); /* readable: tails_turn has something to do */
void tails_turn(struct tails *t);
/* Answers the call with a stream, or 429 when there are too many. From within the request alone. */
void tails_open(struct tails *t, struct api_call *call, struct tails_options *o);
void tails_writable(struct http_stream *st);
void tails_closed(struct http_stream *st);
