/* SPDX-License-Identifier: MIT */
/* What senders are answered: JSON for what is stored, RFC 9457 problems for what is not; each reply is counted, and is a
 * line in the log if the user wants it. One thread. */
#pragma once
#include "bridge/lib/log.h"
#include "connectors/http/exchange.h"
#include "connectors/http/path.h"

/* Which requests have a line in the log. */
enum request_log {
    REQUESTS_REFUSED = 1,
    REQUESTS_ALL,
    REQUESTS_NONE,
};

struct replies {
    const char *source_id;
    enum request_log log;
    struct http_server *server; /* borrowed, set when there is one */
    struct buf body;            /* of the reply at hand */
    struct log_limit log_limit;
};

void replies_open(struct replies *a, const char *source_id, enum request_log log);
void replies_close(struct replies *a);

/* The counter of replies with that status; p NULL: of no path. */
struct metric *reply_counter(const struct replies *a, const struct path *p, int status);

/* At once: what is wrong with the request. p NULL: it is for no path. */
void reply_refused(struct replies *a, const struct http_request *r, const struct path *p, int status,
                   const char *detail);
/* A CloudEvent names a source that is not the path's. The detail shows the path, so the log gets another text. */
void reply_foreign(struct replies *a, const struct http_request *r, const struct path *p, const char *detail);
/* The sender gets one text for every cause; the log and the metric name it. */
void reply_unverified(struct replies *a, const struct http_request *r, const struct path *p, enum refusal why);
void reply_empty_batch(struct replies *a, const struct http_request *r, const struct path *p);
/* To OPTIONS: what the path takes, and whether the origin that asks may send events (absent: nobody asks). */
void reply_options(struct replies *a, const struct http_request *r, const struct path *p, struct str origin);

/* When the events of a request are settled, or it has waited too long. */
void reply_stored(struct replies *a, const struct exchange *x);
void reply_invalid(struct replies *a, const struct exchange *x, const char *why);
void reply_unavailable(struct replies *a, const struct exchange *x, const char *detail);
void reply_closing(struct replies *a, const struct exchange *x);
