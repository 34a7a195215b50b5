/* SPDX-License-Identifier: MIT */
/* Writes the answers of the HTTP source. */
#include "connectors/http/reply.h"
#include <stdio.h>
#include "bridge/lib/jscan.h"

METRIC_COUNTER(aqueduct_http_requests_total, "Requests answered.", "source", "path", "status");

enum { BODY_BYTES = 32 * 1024 };
enum { RETRY_SOON = 1, RETRY_LATER = 5 }; /* seconds, for Retry-After */

void replies_open(struct replies *a, const char *source_id, enum request_log log)
{
    a->log = log;
    a->source_id = source_id;
    a->body = buf_new(BODY_BYTES);
}

void replies_close(struct replies *a)
{
    buf_free(&a->body);
}

/* One log line per request that was refused, up to the limit of lines per second. */
static void reply_log_refused(struct replies *a, const struct path *p, struct str peer, int status, const char *why)
{
    int64_t left_out;
    if (a->log == REQUESTS_NONE)
        return;
    if (!log_limit_pass(&a->log_limit, &left_out))
        return;
    if (left_out)
        LOG(INFO, "more requests refused", LOG_C("source", a->source_id), LOG_INT("lines_left_out", left_out));
    LOG(INFO, "request refused", LOG_C("source", a->source_id), LOG_C("path", p ? p->label : ""), LOG_STR("peer", peer),
        LOG_INT("status", status), LOG_C("why", why));
}

/* One log line per request that was accepted, if the user wants that. */
static void reply_log_accepted(struct replies *a, const struct exchange *x)
{
    if (a->log != REQUESTS_ALL)
        return;
    LOG(INFO, "request accepted", LOG_C("source", a->source_id), LOG_C("path", x->path->label), LOG_C("peer", x->peer),
        LOG_INT("status", 202), LOG_STR("event", x->event ? x->event->id : STR("-")), LOG_INT("events", x->count),
        LOG_INT("bytes", x->bytes), LOG_INT("us", clock_mono_us() - x->began_us));
}

/* Looks the counter up by its labels: cheap enough for refusals. The counter of successes is kept in the path. */
struct metric *reply_counter(const struct replies *a, const struct path *p, int status)
{
    char text[12];
    snprintf(text, sizeof text, "%d", status);
    return metric_get(&aqueduct_http_requests_total, LABELS(a->source_id, p ? p->label : "", text));
}

/* Counts an answered request. */
static void reply_count(struct replies *a, const struct path *p, int status)
{
    metric_add(status == 202 && p ? p->accepted : reply_counter(a, p, status), 1);
}

/* Sends a->body. retry_after: seconds, 0: none. */
static void reply_send(struct replies *a, uint64_t request, const struct path *p, int status, const char *content_type,
                       int retry_after)
{
    struct header headers[4];
    size_t n = 0;
    headers[n++] = (struct header){ STR("Content-Type"), str_of(content_type) };
    char seconds[12];
    if (retry_after) {
        snprintf(seconds, sizeof seconds, "%d", retry_after);
        headers[n++] = (struct header){ STR("Retry-After"), str_of(seconds) };
    }
    if (status == 405)
        headers[n++] = (struct header){ STR("Allow"), STR("POST, OPTIONS") };
    if (status == 401)
        headers[n++] = (struct header){ STR("WWW-Authenticate"), STR("Bearer") };
    if (status == 415)
        headers[n++] = (struct header){ STR("Accept-Encoding"), STR("identity") };
    http_server_reply(a->server, request, status, headers, n, buf_str(&a->body));
    reply_count(a, p, status);
}

/* Begins an RFC 9457 object in a->body. The caller may add members, and closes it. */
static void reply_begin_problem(struct replies *a, int status, const char *detail)
{
    buf_reset(&a->body);
    buf_printf(&a->body, "{\"title\":\"%s\",\"status\":%d,\"detail\":", http_status_text(status), status);
    jscan_add_string(&a->body, str_of(detail));
}

static void reply_problem(struct replies *a, uint64_t request, const struct path *p, int status, const char *detail,
                          int retry_after)
{
    reply_begin_problem(a, status, detail);
    buf_add_char(&a->body, '}');
    reply_send(a, request, p, status, "application/problem+json", retry_after);
}

void reply_refused(struct replies *a, const struct http_request *r, const struct path *p, int status,
                   const char *detail)
{
    reply_log_refused(a, p, r->peer, status, detail);
    reply_problem(a, r->id, p, status, detail, status == 503 ? RETRY_SOON : 0);
}

void reply_foreign(struct replies *a, const struct http_request *r, const struct path *p, const char *detail)
{
    reply_log_refused(a, p, r->peer, 403, "a CloudEvent names a source that is not this path's");
    reply_problem(a, r->id, p, 403, detail, 0);
}

void reply_unverified(struct replies *a, const struct http_request *r, const struct path *p, enum refusal why)
{
    metric_add(p->refused[why], 1);
    reply_log_refused(a, p, r->peer, 401, refusal_text(why));
    reply_problem(a, r->id, p, 401, "the request could not be verified", 0);
}

/* A batch, all of it. */
static void reply_send_count(struct replies *a, uint64_t request, const struct path *p, unsigned count)
{
    buf_reset(&a->body);
    buf_printf(&a->body, "{\"accepted\":%u}", count);
    reply_send(a, request, p, 202, "application/json", 0);
}

void reply_empty_batch(struct replies *a, const struct http_request *r, const struct path *p)
{
    if (a->log == REQUESTS_ALL)
        LOG(INFO, "request accepted", LOG_C("source", a->source_id), LOG_C("path", p->label), LOG_STR("peer", r->peer),
            LOG_INT("status", 202), LOG_INT("events", 0));
    reply_send_count(a, r->id, p, 0);
}

void reply_options(struct replies *a, const struct http_request *r, const struct path *p, struct str origin)
{
    struct header headers[4];
    size_t n = 0;
    headers[n++] = (struct header){ STR("Allow"), STR("POST, OPTIONS") };
    if (origin.n) {
        headers[n++] = (struct header){ STR("WebHook-Allowed-Origin"), origin };
        headers[n++] = (struct header){ STR("WebHook-Allowed-Rate"), STR("*") };
    }
    http_server_reply(a->server, r->id, 200, headers, n, STR(""));
    reply_count(a, p, 200);
}

void reply_stored(struct replies *a, const struct exchange *x)
{
    reply_log_accepted(a, x);
    if (x->batch) {
        reply_send_count(a, x->request, x->path, x->count);
        return;
    }
    buf_reset(&a->body);
    buf_add_c(&a->body, "{\"id\":");
    jscan_add_string(&a->body, x->event->id);
    buf_add_char(&a->body, '}');
    reply_send(a, x->request, x->path, 202, "application/json", 0);
}

void reply_invalid(struct replies *a, const struct exchange *x, const char *why)
{
    char detail[WHY_BYTES];
    snprintf(detail, sizeof detail, "%s", why && *why ? why : "the event is invalid");
    if (x->batch)
        snprintf(detail, sizeof detail, "%u of %u events cannot be taken, the others are stored", x->refused, x->count);
    int status = x->conflict && !x->batch && !x->keyed ? 409 : 422;
    reply_log_refused(a, x->path, str_of(x->peer), status, detail);
    reply_begin_problem(a, status, detail);
    if (x->batch)
        buf_printf(&a->body, ",\"accepted\":%u,\"invalid\":[%.*s]", x->count - x->refused,
                   STR_ARG(buf_str(&x->details)));
    buf_add_char(&a->body, '}');
    reply_send(a, x->request, x->path, status, "application/problem+json", 0);
}

void reply_unavailable(struct replies *a, const struct exchange *x, const char *detail)
{
    reply_log_refused(a, x->path, str_of(x->peer), 503, detail);
    reply_problem(a, x->request, x->path, 503, detail, RETRY_LATER);
}

void reply_closing(struct replies *a, const struct exchange *x)
{
    reply_problem(a, x->request, x->path, 503, "shutting down; send it again", RETRY_LATER);
}
