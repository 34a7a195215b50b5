/* SPDX-License-Identifier: MIT */
/* The source `http`: webhooks and CloudEvents come in by POST; 2xx means that the event is stored.
 *
 *   request --verify--> events --queue--> read() hands them to the core --> settle() --> 202, 422 or 503
 *                                \-- not settled within `wait`: 503, "send it again"; the id makes the repeat harmless */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/connector.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/watch.h"
#include "bridge/net/listen.h"
#include "connectors/http/called.h"
#include "connectors/http/path_check.h"
#include "connectors/http/reply.h"
#include "connectors/http/source.h"
#include "connectors/http/unpack.h"

enum { BATCH_MOST = 10000 };

struct http_source {
    struct source base;
    struct http_server_options server_options;
    struct duration wait;
    int64_t max_pending;
    struct bytes max_pending_bytes;
    int64_t max_batch, max_attributes;
    enum requests requests;
    struct request_log_options request_log;
    struct limits_options limits;
    struct list path_options; /* of struct path_options */
    /* from here on: not options */
    struct http_server *server;
    bool follows; /* some of its secrets come from files */
    int64_t refresh_ms;
    struct sandbox sandbox; /* if some path reads bodies */
    struct path *paths;
    size_t path_count;
    struct exchanges exchanges;
    struct limits *limiter;
    struct replies replies;
    const struct event **events; /* of the request at hand: max_batch of them */
    struct buf origins;          /* of those */
    struct buf form;             /* the body of the request at hand, if it was a form */
    struct unpacker *unpacker;
    uint64_t verified; /* the request that was let in last; 0: none */
    struct str key;    /* whose that is */
    bool stopping;
};

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

/* ---- requests ---- */

static struct path *http_path_of(struct http_source *s, struct str name)
{
    for (int pattern = 0; pattern <= 1; pattern++)
        for (size_t i = 0; i < s->path_count; i++)
            if (s->paths[i].pattern == pattern && path_takes(&s->paths[i], name))
                return &s->paths[i];
    return NULL;
}

static int http_number(const struct http_source *s, const struct path *p)
{
    return p ? (int)(p - s->paths) : LIMITS_NO_PATH;
}

/* True if the limit is kept; otherwise answers 429. */
static bool http_keeps(struct http_source *s, struct path *p, const struct http_request *r, struct limited_by by)
{
    if (by.what != LIMITED_NOT)
        reply_limited(&s->replies, r, p, by);
    return by.what == LIMITED_NOT;
}

/* It is from who it claims to be; `key`: whose it is (struct verified). */
static void http_is_verified(struct http_source *s, const struct path *p, struct str key)
{
    s->replies.verification = verify_asks(&p->o->verify) == ASKS_NOTHING ? "none" : "verified";
    s->replies.key = key;
}

/* True if the request is from who it claims to be, as far as that can be told; otherwise answers it. */
static bool http_verify(struct http_source *s, struct path *p, const struct http_request *r, bool head)
{
    struct verified v = head ? verifier_check_head(p->verifier, r) : verifier_check(p->verifier, r);
    s->verified = v.no ? 0 : r->id;
    s->key = v.key;
    if (v.no == REFUSAL_NONE) {
        http_is_verified(s, p, v.key);
        return true;
    }
    s->replies.verification = refusal_text(v.no);
    metric_add(p->refused[v.no], 1);
    if (v.no == REFUSAL_AWAITED)
        reply_awaited(&s->replies, r, p, &v);
    else if (http_keeps(s, p, r, limits_failed(s->limiter, http_number(s, p), r->network)))
        reply_unverified(&s->replies, r, p, &v);
    return false;
}

/* The same of a whole request. What the head has said is not asked again, when nothing came between. */
static bool http_verify_whole(struct http_source *s, struct path *p, const struct http_request *r)
{
    if (verifier_by_head(p->verifier) && s->verified == r->id) {
        http_is_verified(s, p, s->key);
    } else if (!http_verify(s, p, r, false)) {
        limits_spend(s->limiter, http_number(s, p), r->network, r->body.n);
        return false;
    }
    return http_keeps(s, p, r, limits_verified(s->limiter, http_number(s, p), r->network, s->replies.key, r->body.n));
}

/* True if that many more events can be taken; otherwise answers 503. */
static bool http_has_room(struct http_source *s, struct path *p, const struct http_request *r, size_t events,
                          size_t bytes)
{
    if (s->stopping) {
        reply_refused(&s->replies, r, p, 503, "shutting down; send it again later");
        return false;
    }
    if (!exchanges_fit(&s->exchanges, events, bytes)) {
        reply_refused(&s->replies, r, p, 503, "too much is waiting to be stored; send it again later");
        return false;
    }
    return true;
}

/* The handshake of the CloudEvents webhook specification (section 4): a sender asks before it begins to send. */
static void http_answer_options(struct http_source *s, struct path *p, const struct http_request *r)
{
    size_t count = 0;
    struct str origin = http_header(r, "WebHook-Request-Origin", &count);
    if (count > 1)
        reply_refused(&s->replies, r, p, 400, "there is more than one WebHook-Request-Origin");
    else if (origin.n && !path_allows_origin(p, origin))
        reply_refused(&s->replies, r, p, 403, "this origin is not among the allowed ones");
    else
        reply_options(&s->replies, r, p, origin);
}

static bool http_head(void *ctx, const struct http_request *r, int64_t *max_body)
{
    struct http_source *s = ctx;
    (void)max_body;
    struct path *p = http_path_of(s, r->path);
    replies_begin(&s->replies);
    if (!http_keeps(s, p, r, limits_arrive(s->limiter, http_number(s, p), r->network)))
        return false;
    if (!p)
        reply_refused(&s->replies, r, NULL, 404, "there is nothing at this path");
    else if (str_eq(r->method, STR("OPTIONS")))
        http_answer_options(s, p, r);
    else if (!str_eq(r->method, STR("POST")))
        reply_refused(&s->replies, r, p, 405, "events are sent by POST");
    else
        return http_verify(s, p, r, true) && http_has_room(s, p, r, 1, 0);
    return false;
}

/* Takes over the events and queues them for the core. */
static void http_take(struct http_source *s, struct path *p, const struct http_request *r, int n)
{
    struct exchange *x = exchanges_begin(&s->exchanges, r->id, s->events, (size_t)n, n > 1 || path_is_batch(p, r));
    x->path = p;
    x->scope = p->scope;
    if (s->origins.n)
        exchange_set_scopes(x, p->scope, buf_str(&s->origins), PATH_ORIGIN);
    x->keyed = path_is_keyed(p, r);
    x->named = !x->keyed && path_is_named(p, r);
    reply_keep(&s->replies, r, &s->exchanges, x);
}

static void http_request(void *ctx, const struct http_request *r)
{
    struct http_source *s = ctx;
    struct path *p = http_path_of(s, r->path);
    const struct path_limits most = { .events = (size_t)s->max_batch,
                                      .attributes = (size_t)s->max_attributes,
                                      .body = (size_t)s->server_options.max_body.n,
                                      .unpacker = s->unpacker,
                                      .form = &s->form };
    struct err e;
    int status = 0;
    replies_begin(&s->replies);
    if (!http_verify_whole(s, p, r))
        return;
    if (path_answers(p, r, &s->replies.body)) {
        reply_answer(&s->replies, r, p);
        return;
    }
    int n = path_events(p, r, &most, s->events, &s->origins, &status, &e);
    if (n < 0) {
        if (status == 403)
            reply_foreign(&s->replies, r, p, e.text);
        else
            reply_refused(&s->replies, r, p, status, e.text);
        return;
    }
    if (n == 0) {
        reply_empty_batch(&s->replies, r, p);
        return;
    }
    size_t bytes = 0;
    for (int i = 0; i < n; i++)
        bytes += event_bytes(s->events[i]);
    bool too_many = n > s->max_pending;
    if (too_many)
        reply_refused(&s->replies, r, p, 413, "the batch has more events than max_pending allows; send smaller ones");
    if (!too_many && http_has_room(s, p, r, (size_t)n, bytes)) {
        http_take(s, p, r, n);
        return;
    }
    for (int i = 0; i < n; i++)
        event_unref(s->events[i]);
}

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

/* Their ids would be taken for ids of one sender. */
static bool http_are_called_alike(const struct path_options *a, const struct path_options *b)
{
    struct buf one = buf_new(2 * EVENT_ATTRIBUTE_BYTES), other = buf_new(2 * EVENT_ATTRIBUTE_BYTES);
    called_add(a, &one);
    called_add(b, &other);
    bool alike = str_eq(buf_str(&one), buf_str(&other));
    buf_free(&one);
    buf_free(&other);
    return alike;
}

/* The path's own source as it is compared. */
static void http_own_source(const struct http_source *s, const struct path_options *o, struct owner *out)
{
    struct buf source = buf_new(2 * EVENT_ATTRIBUTE_BYTES);
    called_add_source(o, s->base.id, &source);
    owner_open(out, buf_str(&source));
    buf_free(&source);
}

/* Each could pass for the other. */
static bool http_check_sources(const struct http_source *s, const struct path_options *a, const struct path_options *b,
                               struct err *e)
{
    struct owner one, other;
    http_own_source(s, a, &one);
    http_own_source(s, b, &other);
    if (strcmp(one.own, other.own) == 0)
        err_set(e, "source: %.100s and %.100s have the same source %.100s%s: each could pass for the other", a->path,
                b->path, one.own,
                !a->source || !*a->source   ? " (the first one's default)"
                : !b->source || !*b->source ? " (the second one's default)"
                                            : "");
    bool ok = strcmp(one.own, other.own) != 0;
    owner_close(&one);
    owner_close(&other);
    return ok;
}

/* Do two paths go together? */
static bool http_check_pair(const struct http_source *s, const struct path_options *a, const struct path_options *b,
                            struct err *e)
{
    if (!path_check_pair(a, b, e))
        return false;
    if (http_are_called_alike(a, b))
        return err_set(e, "name: another path is called like the name %.100s, and their ids would mix",
                       b->name ? b->name : a->name);
    return http_check_sources(s, a, b, e);
}

/* Is none of the headers that the request log tells one that a path is verified by? */
static bool http_check_told(const struct http_source *s, const struct path_options *o, struct err *e)
{
    for (size_t i = 0; i < s->request_log.headers.count; i++)
        if (verify_reads_header(&o->verify, str_of(s->request_log.headers.at[i])))
            return request_log_refuse(s->request_log.headers.at[i], e);
    return true;
}

/* Is the i-th path right, also beside those before it? */
static bool http_check_path(const struct http_source *s, const struct path_options *paths, size_t i, struct err *e)
{
    const struct tls_options tls = http_tls_options(&s->server_options);
    if (!path_check(&paths[i], e) || !verify_fits_tls(&paths[i].verify, &tls, e) || !http_check_told(s, &paths[i], e))
        return false;
    for (size_t k = 0; k < i; k++)
        if (!http_check_pair(s, &paths[k], &paths[i], e))
            return false;
    return true;
}

static bool http_check_whole(const struct http_source *s, struct err *e)
{
    if (s->max_pending_bytes.n < s->server_options.max_body.n)
        return err_set(e, "max_pending_bytes: is less than max_body, so that a long body could never be taken");
    if (!http_server_check(&s->server_options, e) || !limits_check(&s->limits, e)
        || !request_log_check(&s->request_log, e))
        return false;
    return s->path_options.count || err_set(e, "paths: there is none, so nothing could come in");
}

static bool http_check(const struct source *base, struct err *e)
{
    const struct http_source *s = (const struct http_source *)base;
    const struct path_options *paths = s->path_options.at;
    if (!http_check_whole(s, e))
        return false;
    for (size_t i = 0; i < s->path_options.count; i++)
        if (!http_check_path(s, paths, i, e))
            return err_prefix(e, "paths: %.100s", paths[i].path ? paths[i].path : "");
    return true;
}

static void http_faults(const struct source *base, fault_fn *each, void *ctx)
{
    const struct http_source *s = (const struct http_source *)base;
    struct err e;
    if (!http_check_whole(s, &e))
        each(ctx, "", e.text);
    for (size_t i = 0; i < s->path_options.count; i++) {
        char place[64];
        int n = snprintf(place, sizeof place, "paths[%zu]", i);
        if (http_check_path(s, s->path_options.at, i, &e))
            continue;
        const char *why = strncmp(e.text, "map[", 4) == 0 ? strstr(e.text, ": ") : NULL; /* an entry of `map` */
        if (why)
            snprintf(place + n, sizeof place - (size_t)n, ".%.*s", (int)(why - e.text), e.text);
        each(ctx, place, why ? why + 2 : e.text);
    }
}

struct http_doubt { /* of one path */
    fault_fn *doubtful;
    void *ctx;
    char place[32];
};

static void http_say_doubt(void *ctx, const char *text)
{
    const struct http_doubt *d = ctx;
    d->doubtful(d->ctx, d->place, text);
}

static void http_review(const struct source *base, fault_fn *wrong, fault_fn *doubtful, void *ctx)
{
    const struct http_source *s = (const struct http_source *)base;
    const struct path_options *paths = s->path_options.at;
    struct http_doubt d = { doubtful, ctx, "" };
    const struct tls_options tls = http_tls_options(&s->server_options);
    bool reached = !listen_is_private(s->server_options.listen) && !tls_demands(&tls);
    struct err e;
    (void)wrong;
    for (size_t i = 0; i < s->path_options.count; i++) {
        snprintf(d.place, sizeof d.place, "paths[%zu]", i);
        verify_doubts(&paths[i].verify, clock_wall_ms(), http_say_doubt, &d);
        if (verify_asks(&paths[i].verify) != ASKS_NOTHING || !reached)
            continue;
        err_set(&e, "verify.scheme: none on %.100s, which others reach: whoever connects can send events",
                s->server_options.listen);
        doubtful(ctx, d.place, e.text);
    }
}

/* No path of another source has the source of one of ours, or each could pass for the other. */
static void http_beside(const struct source *base, const struct source *before, fault_fn *each, void *ctx)
{
    const struct http_source *s = (const struct http_source *)base, *t = (const struct http_source *)before;
    const struct path_options *ours = s->path_options.at, *theirs = t->path_options.at;
    for (size_t i = 0; i < s->path_options.count; i++)
        for (size_t k = 0; k < t->path_options.count; k++) {
            char place[32];
            struct owner one, other;
            struct err e;
            http_own_source(s, &ours[i], &one);
            http_own_source(t, &theirs[k], &other);
            snprintf(place, sizeof place, "paths[%zu]", i);
            err_set(&e, "source: %.100s is the source of path %.100s of sources.%s, too: each could pass for the other",
                    one.own, theirs[k].path ? theirs[k].path : "", before->id);
            if (strcmp(one.own, other.own) == 0)
                each(ctx, place, e.text);
            owner_close(&one);
            owner_close(&other);
        }
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

static void http_content(const struct source *base, void (*each)(void *ctx, const char *type), void *ctx)
{
    const struct http_source *s = (const struct http_source *)base;
    for (size_t i = 0; i < s->path_options.count; i++)
        path_content((const struct path_options *)s->path_options.at + i, each, ctx);
    if (s->request_log.requests != REQUESTS_NONE && s->request_log.body.n > 0)
        each(ctx, REQUEST_LOG_TYPE);
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
    unpacker_free(s->unpacker);
    replies_close(&s->replies);
    limits_free(s->limiter);
    s->limiter = NULL;
}

static bool http_open(struct source *base, struct err *e)
{
    struct http_source *s = (struct http_source *)base;
    if (!http_check(base, e))
        return false;
    replies_open(&s->replies, base->id, s->requests, &s->request_log);
    s->limiter = limits_new(&s->limits, base->id);
    s->events = mem_alloc((size_t)s->max_batch * sizeof *s->events);
    s->origins = buf_new((size_t)(s->max_batch + 1) * PATH_ORIGIN);
    s->unpacker = unpacker_new();
    exchanges_open(&s->exchanges, (size_t)s->max_pending, (size_t)s->max_pending_bytes.n);
    s->server_options.max_held.n = s->max_pending_bytes.n + s->server_options.max_head.n;
    struct http_events events = { .head = http_head, .request = http_request, .ctx = s };
    if (http_open_paths(s, e))
        s->server = s->replies.server = http_server_new(&s->server_options, &events, e);
    if (!s->server) {
        http_close(base);
        return false;
    }
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
    .dedupe = true,
    .check = http_check,
    .faults = http_faults,
    .review = http_review,
    .types = http_types,
    .content = http_content,
    .beside = http_beside,
    .open = http_open,
    .ready = http_ready,
    .read = http_read,
    .settle = http_settle,
    .close = http_close,
};
