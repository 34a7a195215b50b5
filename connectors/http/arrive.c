/* SPDX-License-Identifier: MIT */
/* What becomes of a request: it is verified, within its limits, made events, and queued for the core; or it is answered. */
#include "connectors/http/private.h"
#include "connectors/http/unpack.h"
#include "connectors/http/wrapped.h"

static struct path *arrive_path_of(struct http_source *s, struct str name)
{
    for (int pattern = 0; pattern <= 1; pattern++)
        for (size_t i = 0; i < s->path_count; i++)
            if (s->paths[i].pattern == pattern && path_takes(&s->paths[i], name))
                return &s->paths[i];
    return NULL;
}

static int arrive_number(const struct http_source *s, const struct path *p)
{
    return p ? (int)(p - s->paths) : LIMITS_NO_PATH;
}

/* True if the limit is kept; otherwise answers 429. */
static bool arrive_keeps(struct http_source *s, struct path *p, const struct http_request *r, struct limited_by by)
{
    if (by.what != LIMITED_NOT)
        reply_limited(&s->replies, r, p, by);
    return by.what == LIMITED_NOT;
}

/* It is from who it claims to be; `key`: whose it is (struct verified). */
static void arrive_is_verified(struct http_source *s, const struct path *p, struct str key)
{
    s->replies.verification = verify_asks(&p->o->verify) == ASKS_NOTHING ? "none" : "verified";
    s->replies.key = key;
}

/* True if the request is from who it claims to be, as far as that can be told; otherwise answers it. */
static bool arrive_verify(struct http_source *s, struct path *p, const struct http_request *r, bool head)
{
    struct verified v = head ? verifier_check_head(p->verifier, r) : verifier_check(p->verifier, r);
    s->verified = v.no ? 0 : r->id;
    s->key = v.key;
    if (v.no == REFUSAL_NONE) {
        arrive_is_verified(s, p, v.key);
        return true;
    }
    s->replies.verification = refusal_text(v.no);
    metric_add(p->refused[v.no], 1);
    if (v.no == REFUSAL_AWAITED) {
        reply_awaited(&s->replies, r, p, &v);
        return false;
    }
    struct limited_by by = limits_failed(s->limiter, arrive_number(s, p), r->network);
    if (by.what == LIMITED_NOT)
        reply_unverified(&s->replies, r, p, &v);
    else
        reply_failed(&s->replies, r, p, by, &v);
    return false;
}

/* The same of a whole request. What the head has said is not asked again, when nothing came between. */
static bool arrive_verify_whole(struct http_source *s, struct path *p, const struct http_request *r)
{
    if (verifier_by_head(p->verifier) && s->verified == r->id) {
        arrive_is_verified(s, p, s->key);
    } else if (!arrive_verify(s, p, r, false)) {
        limits_spend(s->limiter, arrive_number(s, p), r->network, r->body.n);
        return false;
    }
    return arrive_keeps(s, p, r,
                        limits_verified(s->limiter, arrive_number(s, p), r->network, s->replies.key, r->body.n));
}

/* True if more can be taken; otherwise answers 503. */
static bool arrive_has_room(struct http_source *s, struct path *p, const struct http_request *r, bool fits)
{
    if (s->stopping)
        reply_refused(&s->replies, r, p, 503, "shutting down; send it again later");
    else if (!fits)
        reply_refused(&s->replies, r, p, 503, "too much is waiting to be stored; send it again later");
    return !s->stopping && fits;
}

/* The handshake of the CloudEvents webhook specification (section 4): a sender asks before it begins to send. */
static void arrive_answer_options(struct http_source *s, struct path *p, const struct http_request *r)
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

bool arrive_head(void *ctx, const struct http_request *r, int64_t *max_body)
{
    struct http_source *s = ctx;
    (void)max_body;
    struct path *p = arrive_path_of(s, r->path);
    replies_begin(&s->replies);
    if (!arrive_keeps(s, p, r, limits_arrive(s->limiter, arrive_number(s, p), r->network)))
        return false;
    if (!p)
        reply_refused(&s->replies, r, NULL, 404, "there is nothing at this path");
    else if (str_eq(r->method, STR("OPTIONS")))
        arrive_answer_options(s, p, r);
    else if (!str_eq(r->method, STR("POST")))
        reply_refused(&s->replies, r, p, 405, "events are sent by POST");
    else
        return arrive_verify(s, p, r, true) && arrive_has_room(s, p, r, exchanges_fit(&s->exchanges, 1, 0));
    return false;
}

/* Takes over the events and queues them for the core. */
static void arrive_take(struct http_source *s, struct path *p, const struct http_request *r, int n)
{
    struct exchange *x = exchanges_begin(&s->exchanges, r->id, s->events, (size_t)n, n > 1 || path_is_batch(p, r));
    x->path = p;
    x->scope = p->scope;
    if (s->origins.n)
        exchange_set_scopes(x, p->scope, buf_str(&s->origins), PATH_ORIGIN);
    x->refused = s->bad.count;
    buf_add_str(&x->details, buf_str(&s->bad.list));
    x->keyed = wrapped_is_keyed(p, r);
    x->named = !x->keyed && wrapped_is_named(p, r);
    reply_keep(&s->replies, r, &s->exchanges, x);
}

static size_t arrive_bytes(const struct http_source *s, int n)
{
    size_t bytes = 0;
    for (int i = 0; i < n; i++)
        bytes += s->events[i] ? event_bytes(s->events[i]) : 0;
    return bytes;
}

void arrive_request(void *ctx, const struct http_request *r)
{
    struct http_source *s = ctx;
    struct path *p = arrive_path_of(s, r->path);
    const struct path_limits most = { .events = (size_t)s->max_batch,
                                      .attributes = (size_t)s->max_attributes,
                                      .body = (size_t)s->server_options.max_body.n,
                                      .unpacker = s->unpacker,
                                      .form = &s->form,
                                      .bad = &s->bad };
    struct err e;
    int status = 0;
    replies_begin(&s->replies);
    if (!arrive_verify_whole(s, p, r))
        return;
    if (path_answers(p, r, &s->replies.body)) {
        reply_answer(&s->replies, r, p);
        return;
    }
    s->bad.count = 0;
    buf_reset(&s->bad.list);
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
    size_t bytes = arrive_bytes(s, n), good = (size_t)n - s->bad.count;
    bool too_many = good > (size_t)s->max_pending;
    if (too_many)
        reply_refused(&s->replies, r, p, 413, "the batch has more events than max_pending allows; send smaller ones");
    if (!too_many && arrive_has_room(s, p, r, !s->stopping && exchanges_reserve(&s->exchanges, good, bytes))) {
        arrive_take(s, p, r, n);
        return;
    }
    for (int i = 0; i < n; i++)
        event_unref(s->events[i]);
}
