/* SPDX-License-Identifier: MIT */
/* Writes the answers of the HTTP source. */
#include "connectors/http/reply.h"
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/jscan.h"
#include "connectors/http/called.h"

METRIC_COUNTER(aqueduct_http_requests_total, "Requests answered.", "source", "path", "status");

enum { BODY_BYTES = 32 * 1024, TARGET_BYTES = 256 }; /* of a body, beside the list of a batch */
enum { RETRY_SOON = 1, RETRY_LATER = 5 };            /* seconds, for Retry-After */

void replies_open(struct replies *a, const char *source_id, enum requests lines, const struct request_log_options *log,
                  struct replies_shared *shared, size_t most_events)
{
    a->log_limit = &shared->log_limit;
    a->lines = lines;
    a->source_id = source_id;
    a->body = buf_new(BODY_BYTES + exchange_list_room(most_events));
    request_log_open(&a->log, log, source_id, &shared->log_full_us);
}

void replies_close(struct replies *a)
{
    buf_free(&a->body);
    request_log_close(&a->log);
}

void replies_begin(struct replies *a)
{
    a->began_us = clock_mono_us();
    a->verification = NULL;
    a->key = STR_ABSENT;
}

void reply_keep(struct replies *a, const struct http_request *r, struct exchanges *xs, struct exchange *x)
{
    x->began_us = a->began_us;
    memcpy(x->peer, r->peer.at, r->peer.n < sizeof x->peer ? r->peer.n : sizeof x->peer - 1); /* the rest is zeros */
    if (!request_log_wants(&a->log, 0))
        return;
    struct request_kept *kept = request_log_keep(&a->log, r, a->verification, a->key);
    exchange_keep(xs, x, kept, sizeof *kept + kept->n);
}

/* ---- lines, counters, times, events ---- */

/* May a refused request have a line, within the limit of lines per second? */
static bool reply_may_log(struct replies *a)
{
    int64_t left_out;
    if (a->lines == REQUESTS_NONE || !log_shows(LOG_INFO) || !log_limit_pass(a->log_limit, &left_out))
        return false;
    if (left_out)
        LOG(INFO, "more requests refused", LOG_C("source", a->source_id), LOG_INT("lines_left_out", left_out));
    return true;
}

static void reply_log_line(struct replies *a, struct str path, struct str peer, int status, const char *why,
                           const char *hint)
{
    LOG(INFO, "request refused", LOG_C("source", a->source_id), LOG_STR("path", path), LOG_STR("peer", peer),
        LOG_INT("status", status), LOG_C("why", why), LOG_SOME("hint", hint));
}

/* One log line per request that was refused. */
static void reply_log_refused(struct replies *a, struct str path, struct str peer, int status, const char *why)
{
    if (reply_may_log(a))
        reply_log_line(a, path, peer, status, why, NULL);
}

/* Of one that is for no path: what was asked for, as far as a path can be shown. */
static void reply_log_nowhere(struct replies *a, const struct http_request *r, int status, const char *why)
{
    struct buf path = buf_new(2 * TARGET_BYTES);
    called_add_text((struct str){ r->path.at, r->path.n < TARGET_BYTES ? r->path.n : TARGET_BYTES }, &path);
    reply_log_refused(a, buf_str(&path), r->peer, status, why);
    buf_free(&path);
}

/* One log line per request that was accepted, if the user wants that. */
static void reply_log_accepted(struct replies *a, const struct exchange *x)
{
    if (a->lines != REQUESTS_ALL)
        return;
    LOG(INFO, "request accepted", LOG_C("source", a->source_id), LOG_C("path", x->path->label), LOG_C("peer", x->peer),
        LOG_INT("status", path_status(x->path)), LOG_STR("event", x->event ? x->event->id : STR("-")),
        LOG_INT("events", x->count), LOG_INT("bytes", x->bytes), LOG_INT("us", clock_mono_us() - x->began_us));
}

/* Looks the counter up by its labels: cheap enough for refusals. The counter of successes is kept in the path. */
struct metric *reply_counter(const struct replies *a, const struct path *p, int status)
{
    char text[12];
    snprintf(text, sizeof text, "%d", status);
    return metric_get(&aqueduct_http_requests_total, LABELS(a->source_id, p ? p->label : "", text));
}

static enum path_end reply_end(int status, bool repeat, bool conflict)
{
    if (conflict)
        return PATH_CONFLICT;
    if (status < 300)
        return repeat ? PATH_REPEAT : PATH_STORED;
    switch (status) {
    case 401: return PATH_UNVERIFIED;
    case 429: return PATH_LIMITED;
    case 503: return PATH_UNAVAILABLE;
    default: return PATH_REFUSED;
    }
}

/* Counts and times an answered request. */
static void reply_count(struct replies *a, struct path *p, int status, enum path_end end, int64_t us)
{
    metric_add(p && status == path_status(p) ? p->accepted : reply_counter(a, p, status), 1);
    if (p)
        metric_observe_us(path_seconds(p, end, a->source_id), us);
}

/* It was answered at once. */
static void reply_ended(struct replies *a, const struct http_request *r, struct path *p, int status, const char *why)
{
    enum path_end end = reply_end(status, false, false);
    int64_t us = clock_mono_us() - a->began_us;
    reply_count(a, p, status, end, us);
    if (!request_log_wants(&a->log, status))
        return;
    struct request_kept *kept = request_log_keep(&a->log, r, a->verification, a->key);
    request_log_add(&a->log, &(struct request_told){ .path = p ? p->label : NULL,
                                                     .target = r->path,
                                                     .method = r->method,
                                                     .peer = r->peer,
                                                     .status = status,
                                                     .outcome = path_end_name(end),
                                                     .why = why,
                                                     .us = us,
                                                     .kept = kept });
    free(kept);
}

/* It was taken before, and is answered now. */
static void reply_ended_later(struct replies *a, const struct exchange *x, int status, const char *why)
{
    enum path_end end = reply_end(status, x->repeats == x->count, x->conflict && !x->batch);
    int64_t us = clock_mono_us() - x->began_us;
    reply_count(a, x->path, status, end, us);
    if (!x->kept || !request_log_wants(&a->log, status))
        return;
    request_log_add(&a->log, &(struct request_told){ .path = x->path->label,
                                                     .method = STR("POST"),
                                                     .peer = str_of(x->peer),
                                                     .status = status,
                                                     .outcome = path_end_name(end),
                                                     .why = why,
                                                     .us = us,
                                                     .events = x->count,
                                                     .event = x->event && status < 400 ? x->event->id : STR_ABSENT,
                                                     .kept = x->kept });
}

/* ---- answers ---- */

/* Sends a->body. retry_after: seconds, 0: none. */
static void reply_send(struct replies *a, uint64_t request, int status, const char *content_type, int64_t retry_after)
{
    struct header headers[4];
    size_t n = 0;
    if (status != 204)
        headers[n++] = (struct header){ STR("Content-Type"), str_of(content_type) };
    char seconds[24];
    if (retry_after) {
        snprintf(seconds, sizeof seconds, "%lld", (long long)retry_after);
        headers[n++] = (struct header){ STR("Retry-After"), str_of(seconds) };
    }
    if (status == 405)
        headers[n++] = (struct header){ STR("Allow"), STR("POST, OPTIONS") };
    if (status == 401)
        headers[n++] = (struct header){ STR("WWW-Authenticate"), a->challenge };
    if (a->accept.name.at)
        headers[n++] = a->accept;
    a->accept = (struct header){ STR_ABSENT, STR_ABSENT };
    http_server_reply(a->server, request, status, headers, n, buf_str(&a->body));
}

/* Begins an RFC 9457 object in a->body. The caller may add members, and closes it. */
static void reply_begin_problem(struct replies *a, int status, const char *detail)
{
    buf_reset(&a->body);
    buf_printf(&a->body, "{\"title\":\"%s\",\"status\":%d,\"detail\":", http_status_text(status), status);
    jscan_add_string(&a->body, str_of(detail));
}

static void reply_problem(struct replies *a, uint64_t request, int status, const char *detail, int64_t retry_after)
{
    reply_begin_problem(a, status, detail);
    buf_add_char(&a->body, '}');
    reply_send(a, request, status, "application/problem+json", retry_after);
}

/* Which of two the sender of a body that is not taken should change (RFC 9110 15.5.16). */
static void reply_set_accept(struct replies *a, const struct http_request *r, const struct path *p)
{
    struct str coding = http_header(r, "content-encoding", NULL);
    if (coding.n && !str_eq_nocase(coding, STR("identity")))
        a->accept = (struct header){ STR("Accept-Encoding"), STR("gzip, deflate, identity") };
    else if (p && p->reader.content_type.n)
        a->accept = (struct header){ STR("Accept"), p->reader.content_type };
}

/* why: for whoever looks at the logs. */
static void reply_refuse(struct replies *a, const struct http_request *r, struct path *p, int status,
                         const char *detail, const char *why, int64_t retry_after)
{
    if (status == 415)
        reply_set_accept(a, r, p);
    if (p)
        reply_log_refused(a, str_of(p->label), r->peer, status, why);
    else
        reply_log_nowhere(a, r, status, why);
    reply_problem(a, r->id, status, detail, retry_after);
    reply_ended(a, r, p, status, why);
}

void reply_refused(struct replies *a, const struct http_request *r, struct path *p, int status, const char *detail)
{
    reply_refuse(a, r, p, status, detail, detail, status == 503 ? RETRY_SOON : 0);
}

void reply_foreign(struct replies *a, const struct http_request *r, struct path *p, const char *detail)
{
    reply_refuse(a, r, p, 403, detail, "a CloudEvent names a source that is not this path's", 0);
}

/* The reason with its sentence, and which of several schemes says so. */
static void reply_why(const struct verified *v, char out[WHY_BYTES])
{
    snprintf(out, WHY_BYTES, "%s%s%s%s%s%s", refusal_text(v->no), v->scheme ? " (" : "", v->scheme ? v->scheme : "",
             v->scheme ? ")" : "", v->why ? ": " : "", v->why ? v->why : "");
}

void reply_unverified(struct replies *a, const struct http_request *r, struct path *p, const struct verified *v)
{
    char why[WHY_BYTES];
    reply_why(v, why);
    a->challenge = verifier_challenge_of(p->verifier, v->no);
    if (reply_may_log(a)) {
        struct err hint;
        bool known = verifier_explain(p->verifier, r, &hint);
        reply_log_line(a, str_of(p->label), r->peer, 401, why, known ? hint.text : NULL);
    }
    reply_problem(a, r->id, 401, "the request could not be verified", 0);
    reply_ended(a, r, p, 401, why);
}

void reply_awaited(struct replies *a, const struct http_request *r, struct path *p, const struct verified *v)
{
    char why[WHY_BYTES];
    reply_why(v, why);
    reply_refuse(a, r, p, 503, "the keys that requests are verified with are not there yet; send it again", why,
                 RETRY_SOON);
}

static void reply_limit(struct replies *a, const struct http_request *r, struct path *p, struct limited_by by,
                        const char *why)
{
    enum { SECOND_US = 1000000 };
    reply_refuse(a, r, p, 429, limited_text(by.what), why, (by.wait_us + SECOND_US - 1) / SECOND_US);
}

void reply_limited(struct replies *a, const struct http_request *r, struct path *p, struct limited_by by)
{
    reply_limit(a, r, p, by, limited_text(by.what));
}

void reply_failed(struct replies *a, const struct http_request *r, struct path *p, struct limited_by by,
                  const struct verified *v)
{
    char reason[WHY_BYTES], why[WHY_BYTES];
    reply_why(v, reason);
    snprintf(why, sizeof why, "%.170s; more failures of this address than limits.failures allows", reason);
    reply_limit(a, r, p, by, why);
}

/* To what is stored: the path's own answer, or what stands in a->body. */
static void reply_send_good(struct replies *a, uint64_t request, const struct path *p)
{
    const struct answer_options *own = &p->o->answer;
    const char *type = "application/json";
    if (own->body && *own->body) {
        buf_reset(&a->body);
        buf_add_c(&a->body, own->body);
        if (!jscan_check(buf_str(&a->body), &(struct jscan_value){ 0 }, NULL))
            type = "text/plain; charset=utf-8";
    }
    if (own->content_type && *own->content_type)
        type = own->content_type;
    if (path_status(p) == 204)
        buf_reset(&a->body);
    reply_send(a, request, path_status(p), type, 0);
}

/* A batch, all of it. */
static void reply_send_count(struct replies *a, uint64_t request, const struct path *p, unsigned count)
{
    buf_reset(&a->body);
    buf_printf(&a->body, "{\"accepted\":%u}", count);
    reply_send_good(a, request, p);
}

void reply_empty_batch(struct replies *a, const struct http_request *r, struct path *p)
{
    if (a->lines == REQUESTS_ALL)
        LOG(INFO, "request accepted", LOG_C("source", a->source_id), LOG_C("path", p->label), LOG_STR("peer", r->peer),
            LOG_INT("status", path_status(p)), LOG_INT("events", 0));
    reply_send_count(a, r->id, p, 0);
    reply_ended(a, r, p, path_status(p), NULL);
}

void reply_answer(struct replies *a, const struct http_request *r, struct path *p)
{
    if (a->lines == REQUESTS_ALL)
        LOG(INFO, "question answered", LOG_C("source", a->source_id), LOG_C("path", p->label),
            LOG_STR("peer", r->peer));
    reply_send(a, r->id, 200, "application/json", 0);
    metric_add(reply_counter(a, p, 200), 1); /* as with OPTIONS */
}

void reply_options(struct replies *a, const struct http_request *r, struct path *p, struct str origin)
{
    struct header headers[4];
    size_t n = 0;
    headers[n++] = (struct header){ STR("Allow"), STR("POST, OPTIONS") };
    if (origin.n) {
        headers[n++] = (struct header){ STR("WebHook-Allowed-Origin"), origin };
        headers[n++] = (struct header){ STR("WebHook-Allowed-Rate"), STR("*") };
    }
    http_server_reply(a->server, r->id, 200, headers, n, STR(""));
    metric_add(reply_counter(a, p, 200), 1); /* nothing that is an event: no time, no event of the request log */
}

void reply_stored(struct replies *a, const struct exchange *x)
{
    reply_log_accepted(a, x);
    if (x->batch) {
        reply_send_count(a, x->request, x->path, x->count);
    } else {
        buf_reset(&a->body);
        buf_add_c(&a->body, "{\"id\":");
        jscan_add_string(&a->body, x->event->id);
        buf_add_c(&a->body, x->repeats == x->count ? ",\"repeat\":true}" : "}");
        reply_send_good(a, x->request, x->path);
    }
    reply_ended_later(a, x, path_status(x->path), NULL);
}

void reply_invalid(struct replies *a, const struct exchange *x, const char *why)
{
    char detail[WHY_BYTES];
    snprintf(detail, sizeof detail, "%s", why && *why ? why : "the event is invalid");
    if (x->batch)
        snprintf(detail, sizeof detail, "%u of %u events cannot be taken, the others are stored", x->refused, x->count);
    int status = x->conflict && !x->batch && !x->keyed ? 409 : 422;
    reply_log_refused(a, str_of(x->path->label), str_of(x->peer), status, detail);
    reply_begin_problem(a, status, detail);
    if (x->batch)
        buf_printf(&a->body, ",\"accepted\":%u,\"invalid\":[%.*s]", x->count - x->refused,
                   STR_ARG(buf_str(&x->details)));
    buf_add_char(&a->body, '}');
    reply_send(a, x->request, status, "application/problem+json", 0);
    reply_ended_later(a, x, status, detail);
}

void reply_unavailable(struct replies *a, const struct exchange *x, const char *detail)
{
    reply_log_refused(a, str_of(x->path->label), str_of(x->peer), 503, detail);
    reply_problem(a, x->request, 503, detail, RETRY_LATER);
    reply_ended_later(a, x, 503, detail);
}

void reply_closing(struct replies *a, const struct exchange *x)
{
    reply_problem(a, x->request, 503, "shutting down; send it again", RETRY_LATER);
    metric_add(reply_counter(a, x->path, 503), 1); /* no event could be stored any more */
}
