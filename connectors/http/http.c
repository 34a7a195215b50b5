/* SPDX-License-Identifier: MIT */
/* The source `http`: webhooks and CloudEvents come in by POST; 2xx means that the event is stored.
 *
 *   request --verify--> events --queue--> read() hands them to the core --> settle() --> 202, 422 or 503
 *                                \-- not settled within `wait`: 503, "send it again"; the id makes the repeat harmless */
#include <stdlib.h>
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/watch.h"
#include "connectors/http/path_check.h"
#include "connectors/http/private.h"
#include "connectors/http/rehearse.h"
#include "connectors/http/source.h"
#include "connectors/http/unpack.h"

enum { BATCH_MOST = 10000 };

static const struct option http_options[] = {
    HTTP_ROW_LISTEN(struct http_source, "8080"),
    HTTP_ROWS_TLS(struct http_source, "HTTPS"),
    HTTP_ROWS_PROXIES(struct http_source),
    HTTP_ROW_OF(struct http_source, "max_body", max_body, .fallback = HTTP_DEFAULT_TEXT(max_body), .min = 1,
                .max = EVENT_DATA_BYTES, .doc = "Longest body; beyond: 413."),
    HTTP_ROW(struct http_source, max_head),
    HTTP_ROW(struct http_source, max_connections),
    HTTP_ROW_AS(struct http_source, "max_connections_per_ip", max_per_address, HTTP_DEFAULT_TEXT(max_per_address)),
    HTTP_ROW(struct http_source, http2_streams),
    HTTP_ROW(struct http_source, head_timeout),
    HTTP_ROW(struct http_source, body_timeout),
    HTTP_ROW(struct http_source, min_body_rate),
    HTTP_ROW(struct http_source, idle_timeout),
    OPTION(struct http_source, wait, .fallback = "10s", .min = 1, .max = 3600000,
           .doc = "Longest time a sender waits until its event is stored; then 503 and it sends again."),
    OPTION(struct http_source, max_pending, .fallback = "10000", .min = 1, .max = 1000000,
           .doc = "Most events that are taken and not stored yet; beyond: 503 at once."),
    OPTION(
        struct http_source, max_pending_bytes, .fallback = "32MiB", .min = 1024, .max = (int64_t)1 << 34,
        .doc =
            "Most memory of such events, attributes and all, and also of requests that are not complete yet; beyond: 503."),
    OPTION(struct http_source, max_batch, .fallback = "1000", .min = 1, .max = BATCH_MOST,
           .doc = "Most events of one application/cloudevents-batch+json; beyond: 400."),
    OPTION(
        struct http_source, max_attributes, .fallback = "64", .min = 0, .max = EVENT_ATTRIBUTES,
        .doc =
            "Most extension attributes of one CloudEvent; beyond: 400. Its JSON has at most 80 members, those that are null included."),
    OPTION(
        struct http_source, requests, .fallback = "refused", .values = request_log_requests,
        .doc =
            "Which requests have a line in the log, at info: all, refused (at most 20 a second) or none; all of them are counted."),
    OPTION_GROUP(struct http_source, request_log, request_log_rows,
                 .doc = "Requests as events of their own, " REQUEST_LOG_TYPE
                        ", which are stored and delivered like others."),
    OPTION_GROUP(struct http_source, limits, limits_rows,
                 .doc = "How much may come; what is beyond gets 429 and Retry-After."),
    { .key = "paths",
      .type = OPT_LIST,
      .offset = offsetof(struct http_source, path_options),
      .required = true,
      .of = path_rows,
      .of_size = sizeof(struct path_options),
      .min = 1,
      .max = 1000,
      .doc = "The paths that senders may post to." },
    { 0 },
};

/* ---- outcomes ---- */

static void http_settle(struct source *base, uint64_t tag, enum outcome o, const char *why)
{
    struct http_source *s = (struct http_source *)base;
    if (request_log_settled(&s->replies.log, tag, o, why))
        return;
    struct exchange *x = exchanges_settle(&s->exchanges, tag, o, why);
    if (!x)
        return;
    if (!x->answered) {
        if (x->unavailable)
            reply_unavailable(&s->replies, x, "the event could not be stored now; send it again");
        else if (x->refused)
            reply_invalid(&s->replies, x, why);
        else
            reply_stored(&s->replies, x);
    }
    exchanges_end(&s->exchanges, x);
}

/* Answers the requests that waited too long; returns how many ms remain until the next one has. */
static int64_t http_expire(struct http_source *s)
{
    struct exchange *x;
    int64_t now = clock_mono_us();
    while ((x = exchanges_oldest(&s->exchanges))) {
        int64_t left_ms = s->wait.ms - (now - x->began_us) / 1000;
        if (left_ms > 0)
            return left_ms;
        reply_unavailable(&s->replies, x, "not stored in time, it may still be; send it again with the same id");
        exchanges_answered(&s->exchanges, x);
    }
    return INT32_MAX;
}

/* Stops accepting, and answers the requests whose events the core has not taken: it takes no more. */
static void http_stop(struct http_source *s)
{
    struct emission left[16];
    size_t n;
    s->stopping = true;
    http_server_stop_accepting(s->server);
    while ((n = exchanges_take(&s->exchanges, left, 16, 0)))
        for (size_t i = 0; i < n; i++) {
            event_unref(left[i].event);
            http_settle(&s->base, left[i].tag, OUTCOME_UNAVAILABLE, NULL);
        }
    request_log_stop(&s->replies.log);
}

/* ---- the source ---- */

/* Takes over the secrets that files say by now, once a second. */
static void http_refresh(struct http_source *s)
{
    int64_t now = clock_mono_ms();
    if (!s->follows || now < s->refresh_ms)
        return;
    s->refresh_ms = now + WATCH_LOOK_MS;
    for (size_t i = 0; i < s->path_count; i++) {
        if (!verifier_follows(s->paths[i].verifier))
            continue;
        char *of = str_join(s->base.id, " ", s->paths[i].label);
        verifier_refresh(s->paths[i].verifier, of);
        free(of);
    }
}

static int http_read(struct source *base, int wake_fd, struct emission *out, size_t room, struct err *e)
{
    struct http_source *s = (struct http_source *)base;
    (void)e;
    if (base->draining && !s->stopping)
        http_stop(s);
    int64_t wait = http_expire(s);
    if ((s->exchanges.queued && room) || request_log_is_ready(&s->replies.log, room))
        wait = 0;
    if (s->follows && wait > WATCH_LOOK_MS)
        wait = WATCH_LOOK_MS;
    http_refresh(s);
    http_server_run(s->server, wake_fd, (int)wait);
    size_t n = exchanges_take(&s->exchanges, out, room, base->room_bytes);
    return (int)(n + request_log_take(&s->replies.log, out + n, room - n));
}

struct http_opened { /* a path that runs now */
    const struct http_source *s;
    const struct path *p;
};

static void http_log_doubt(void *ctx, const char *text)
{
    const struct http_opened *o = ctx;
    LOG(WARN, "verification is doubtful", LOG_C("source", o->s->base.id), LOG_C("path", o->p->label),
        LOG_C("reason", text));
}

static bool http_open_paths(struct http_source *s, struct err *e)
{
    const struct path_options *options = s->path_options.at;
    bool asked = false;
    for (size_t i = 0; i < s->path_options.count; i++)
        asked = asked || mapping_is_asked(&options[i].mapping);
    if (asked)
        sandbox_open(&s->sandbox, (size_t)s->server_options.max_body.n);
    s->paths = mem_alloc(s->path_options.count * sizeof *s->paths);
    for (size_t i = 0; i < s->path_options.count; i++) {
        struct path *p = &s->paths[s->path_count++];
        if (!path_open(p, &options[i], &s->sandbox, s->base.id, e))
            return err_prefix(e, "paths: %.100s", options[i].path);
        s->follows = s->follows || verifier_follows(p->verifier);
        p->accepted = reply_counter(&s->replies, p, path_status(p));
        if (s->base.first)
            continue; /* said and counted once */
        limits_add_path(s->limiter, &options[i].limits, p->label);
        verify_doubts(&options[i].verify, clock_wall_ms(), http_log_doubt, &(struct http_opened){ s, p });
    }
    for (size_t i = 0; i < s->path_count; i++)
        for (size_t k = 0; k < s->path_count; k++)
            owner_leave_to(&s->paths[i].owner, &s->paths[k].owner);
    return true;
}

static void http_types(const struct source *base, void (*each)(void *ctx, const char *type), void *ctx)
{
    const struct http_source *s = (const struct http_source *)base;
    for (size_t i = 0; i < s->path_options.count; i++)
        path_types((const struct path_options *)s->path_options.at + i, each, ctx);
    if (s->request_log.requests != REQUESTS_NONE)
        each(ctx, REQUEST_LOG_TYPE);
}

static void http_content(const struct source *base, void (*each)(void *ctx, const char *type, const char *why),
                         void *ctx)
{
    const struct http_source *s = (const struct http_source *)base;
    for (size_t i = 0; i < s->path_options.count; i++)
        path_content((const struct path_options *)s->path_options.at + i, tell_content,
                     &(struct tell_caller){ each, ctx });
    if (s->request_log.requests != REQUESTS_NONE && s->request_log.body.n > 0)
        each(ctx, REQUEST_LOG_TYPE, "request_log.body; without it no body is told");
}

/* Are there the keys of all paths? */
static bool http_ready(const struct source *base, struct err *why)
{
    const struct http_source *s = (const struct http_source *)base;
    for (size_t i = 0; i < s->path_count; i++)
        if (!verifier_ready(s->paths[i].verifier, why))
            return err_prefix(why, "sources.%.64s: path %.100s", base->id, s->paths[i].label);
    return true;
}

static void http_close(struct source *base)
{
    struct http_source *s = (struct http_source *)base;
    if (s->server) {
        for (struct exchange *x; (x = exchanges_oldest(&s->exchanges)); exchanges_answered(&s->exchanges, x))
            reply_closing(&s->replies, x);
        http_server_run(s->server, -1, 0);
    }
    http_server_free(s->server);
    s->server = NULL;
    exchanges_close(&s->exchanges);
    for (size_t i = 0; i < s->path_count; i++)
        path_close(&s->paths[i]);
    sandbox_close(&s->sandbox);
    free(s->paths);
    free(s->events);
    buf_free(&s->origins);
    buf_free(&s->form);
    buf_free(&s->bad.list);
    unpacker_free(s->unpacker);
    replies_close(&s->replies);
    if (s->shared && !base->first) {
        limits_free(s->shared->limiter);
        free(s->shared);
    }
    s->shared = NULL;
}

/* What it shares with its copies: the first one's. */
static void http_share(struct http_source *s)
{
    const struct http_source *first = (const struct http_source *)s->base.first;
    struct http_server_options *o = &s->server_options;
    int64_t copies = s->base.copies > 1 ? (int64_t)s->base.copies : 1;
    if (first) {
        s->shared = first->shared;
        o->first = first->server;
    } else {
        s->shared = mem_alloc(sizeof *s->shared);
        s->shared->limiter = limits_new(&s->limits, s->base.id);
    }
    s->limiter = s->shared->limiter;
    /* Of incomplete requests each has its own part, and room for one at least. */
    o->max_held.n = (s->max_pending_bytes.n + o->max_head.n) / copies;
    if (o->max_held.n < o->max_body.n + o->max_head.n)
        o->max_held.n = o->max_body.n + o->max_head.n;
}

static bool http_open(struct source *base, struct err *e)
{
    struct http_source *s = (struct http_source *)base;
    if (!source_check(base, e))
        return false;
    http_share(s);
    replies_open(&s->replies, base->id, s->requests, &s->request_log, &s->shared->replies, (size_t)s->max_batch);
    s->events = mem_alloc((size_t)s->max_batch * sizeof *s->events);
    s->origins = buf_new((size_t)(s->max_batch + 1) * PATH_ORIGIN);
    s->bad.list = buf_new(exchange_list_room((size_t)s->max_batch));
    s->unpacker = unpacker_new();
    exchanges_open(&s->exchanges, &s->shared->held, (size_t)s->max_pending, (size_t)s->max_pending_bytes.n);
    struct http_events events = { .head = arrive_head, .request = arrive_request, .ctx = s };
    if (http_open_paths(s, e))
        s->server = s->replies.server = http_server_new(&s->server_options, &events, e);
    if (!s->server) {
        http_close(base);
        return false;
    }
    if (base->first)
        return true;
    LOG(INFO, "listening", LOG_C("source", base->id), LOG_C("address", s->server_options.listen),
        LOG_INT("port", http_server_port(s->server)));
    return true;
}

const struct path_options *http_source_paths(const struct source *base, size_t *count)
{
    const struct http_source *s = (const struct http_source *)base;
    *count = s->path_options.count;
    return s->path_options.at;
}

const struct http_server_options *http_source_server(const struct source *base)
{
    return &((const struct http_source *)base)->server_options;
}

const struct source_ops http_source = {
    .type = "http",
    .doc = "Takes webhooks and CloudEvents by HTTP POST and answers 2xx when they are stored.",
    .size = sizeof(struct http_source),
    .options = http_options,
    .copies = true,
    .dedupe = true,
    .check = source_check,
    .faults = source_faults,
    .review = source_review,
    .types = http_types,
    .own_type = REQUEST_LOG_TYPE,
    .content = http_content,
    .beside = source_beside,
    .account = source_account,
    .rehearse = rehearse_request,
    .open = http_open,
    .ready = http_ready,
    .read = http_read,
    .settle = http_settle,
    .close = http_close,
};
