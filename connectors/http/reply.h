/* SPDX-License-Identifier: MIT */
/* What senders are answered: JSON for what is stored, RFC 9457 problems for what is not; each reply is counted and timed,
 * and is a line in the log, or an event (request_log.h), if the user wants it. One thread. */
#pragma once
#include "bridge/lib/log.h"
#include "connectors/http/exchange.h"
#include "connectors/http/limits.h"
#include "connectors/http/path.h"
#include "connectors/http/request_log.h"

extern struct metric_family aqueduct_http_requests_total;

struct replies {
    const char *source_id;
    enum requests lines;         /* which requests have a line in the log */
    struct http_server *server;  /* borrowed, set when there is one */
    struct buf body;             /* of the reply at hand */
    struct header accept;        /* of it: what the sender's next body may be like; absent: says nothing */
    struct log_limit *log_limit; /* shared with the copies of the source */
    struct request_log log;
    /* Of the request at hand, set by replies_begin: */
    int64_t began_us;
    const char *verification;
    struct str key;
    struct str challenge; /* of a 401 */
};

/* What the copies of a source share of it. */
struct replies_shared {
    struct log_limit log_limit;
    atomic_int_least64_t log_full_us;
};

void replies_open(struct replies *a, const char *source_id, enum requests lines, const struct request_log_options *log,
                  struct replies_shared *shared, size_t most_events);
void replies_close(struct replies *a);

/* The counter of replies with that status; p NULL: of no path. */
struct metric *reply_counter(const struct replies *a, const struct path *p, int status);

/* A request is at hand, or the head of one: nothing is known of who sent it. */
void replies_begin(struct replies *a);
/* It was taken as x, to be answered later. */
void reply_keep(struct replies *a, const struct http_request *r, struct exchanges *xs, struct exchange *x);

/* At once: what is wrong with the request. p NULL: it is for no path. */
void reply_refused(struct replies *a, const struct http_request *r, struct path *p, int status, const char *detail);
/* A CloudEvent names a source that is not the path's. The detail shows the path, so the log gets another text. */
void reply_foreign(struct replies *a, const struct http_request *r, struct path *p, const char *detail);
/* The sender gets one text for every cause; the log and the metric name it. */
void reply_unverified(struct replies *a, const struct http_request *r, struct path *p, const struct verified *v);
/* 503: what it is verified with is on its way. */
void reply_awaited(struct replies *a, const struct http_request *r, struct path *p, const struct verified *v);
/* 429, and when to come again. */
void reply_limited(struct replies *a, const struct http_request *r, struct path *p, struct limited_by by);
/* The same of one that could not be verified, where a 401 is one too many. */
void reply_failed(struct replies *a, const struct http_request *r, struct path *p, struct limited_by by,
                  const struct verified *v);
void reply_empty_batch(struct replies *a, const struct http_request *r, struct path *p);
/* What is in a->body, to a question that is no event. */
void reply_answer(struct replies *a, const struct http_request *r, struct path *p);
/* To OPTIONS: what the path takes, and whether the origin that asks may send events (absent: nobody asks). */
void reply_options(struct replies *a, const struct http_request *r, struct path *p, struct str origin);

/* When the events of a request are settled, or it has waited too long. */
void reply_stored(struct replies *a, const struct exchange *x);
void reply_invalid(struct replies *a, const struct exchange *x, const char *why);
void reply_unavailable(struct replies *a, const struct exchange *x, const char *detail);
void reply_closing(struct replies *a, const struct exchange *x);
