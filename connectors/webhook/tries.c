/* SPDX-License-Identifier: MIT */
/* An attempt to deliver, but for what its transfer does: it waits for consent and token, is built and sent, and ends. */
#include "connectors/webhook/tries.h"
#include "bridge/lib/log.h"

METRIC_COUNTER(aqueduct_webhook_tokens_total,
               "Fetches of access tokens (oauth, login) by their outcome: fetched, failed.", "sink", "outcome");

enum {
    SHOWN_BODY = 4096,  /* bytes of a body that a person sees */
    KEYLESS_MS = 30000, /* until an event is looked at again for which no key signs any more */
};

void tries_open(struct tries *y, const struct webhook_base *sink)
{
    *y = (struct tries){
        .sink = sink,
        .ended_tail = &y->ended,
        .tokens_fetched = metric_get(&aqueduct_webhook_tokens_total, LABELS(sink->base.id, "fetched")),
        .tokens_failed = metric_get(&aqueduct_webhook_tokens_total, LABELS(sink->base.id, "failed")),
    };
}

static struct str tries_event_id(const struct transfer *t)
{
    return t->message.event->id;
}

void tries_end(struct tries *y, struct transfer *t)
{
    static const char *const verdicts[] = { [VERDICT_DELIVERED] = "delivered",
                                            [VERDICT_RETRY] = "retry",
                                            [VERDICT_REJECT] = "reject",
                                            [VERDICT_UNTRIED] = "untried" };
    if (log_shows(LOG_DEBUG))
        LOG(DEBUG, "answered", LOG_C("sink", y->sink->base.id),
            LOG_SOME("endpoint", endpoint_of(y->sink, &t->message)->base.name), LOG_STR("event", tries_event_id(t)),
            LOG_STR("event_source", t->message.event->source), LOG_INT("attempt", t->message.attempt),
            LOG_C("verdict", verdicts[t->result.verdict]), LOG_INT("status", t->result.status),
            LOG_INT("ms", t->us / 1000), LOG_C("reason", t->result.why));
    t->next = NULL;
    *y->ended_tail = t;
    y->ended_tail = &t->next;
}

static void tries_log_sent(const struct tries *y, const struct transfer *t)
{
    char room[REQUEST_ID + 1];
    if (!log_shows(LOG_DEBUG))
        return;
    LOG(DEBUG, "sent", LOG_C("sink", y->sink->base.id),
        LOG_SOME("endpoint", endpoint_of(y->sink, &t->message)->base.name), LOG_STR("event", tries_event_id(t)),
        LOG_STR("event_source", t->message.event->source), LOG_INT("attempt", t->message.attempt),
        LOG_STR("webhook_id", t->batch ? parcel_id(t->batch, room) : request_id(&t->message, room)),
        LOG_INT("events", t->batch ? t->batch->last - t->batch->first : 1), LOG_INT("bytes", t->request.body.n));
}

/* Shows a person what is about to be sent. */
static void tries_show(const struct transfer *t, const struct hidden *hidden)
{
    struct buf *out = t->message.sent;
    size_t before = out->n, body = t->request.body.n < SHOWN_BODY ? t->request.body.n : SHOWN_BODY;
    for (size_t i = 0; i < t->request.line_count; i++)
        if (!str_ends(str_of(t->request.lines[i].data), STR(":"))) /* with nothing behind it: it is left out */
            buf_printf(out, "%s\n", t->request.lines[i].data);
    if (t->authorization.n)
        buf_add_c(out, "Authorization: ***\n");
    buf_add_char(out, '\n');
    buf_add(out, t->request.body.at, body);
    hide_in(hidden, out->at + before, out->n - before);
}

/* Ends an attempt of which nothing was sent. */
static void tries_refuse(struct tries *y, struct transfer *t, enum verdict verdict, const struct err *e)
{
    t->result.verdict = verdict;
    t->result.reason = REASON_CONFIGURATION;
    why_copy(t->result.why, e->text);
    tries_end(y, t);
}

static bool tries_build(struct transfer *t, const struct request_template *template, int64_t wall_ms, struct err *e)
{
    char id[REQUEST_ID + 1];
    struct parcel *b = t->batch;
    if (!b)
        return request_build(&t->request, template, &t->message, wall_ms, e);
    if (b->why)
        return err_set(e, "%s", b->why);
    return request_build_batch(&t->request, template, &t->message, parcel_id(b, id), parcel_body(b), wall_ms, e);
}

/* Sends the request; one that cannot be built ends at once. */
static void tries_send(struct tries *y, struct transfer *t)
{
    struct err e;
    struct webhook_endpoint *to = endpoint_of(y->sink, &t->message);
    int64_t now = clock_wall_ms();
    if (!endpoint_may_sign(&y->sink->base, to, now, &e)) {
        t->result.retry_after.ms = KEYLESS_MS;
        tries_refuse(y, t, VERDICT_UNTRIED, &e);
        return;
    }
    if (!tries_build(t, &to->template, now, &e)) {
        tries_refuse(y, t, VERDICT_REJECT, &e);
        return;
    }
    tries_log_sent(y, t);
    if (t->message.sent)
        tries_show(t, &to->target.hidden);
    if (t->batch)
        endpoint_count_batch(to, t->batch->last - t->batch->first);
    t->number = endpoint_began(to);
    transfer_start(t, &to->target);
}

static void tries_wait(struct tries *y, struct transfer *t)
{
    t->next = y->waiting;
    y->waiting = t;
}

/* May the receiver get an event? If not, the attempt waits, asks or ends. */
static bool tries_has_consent(struct tries *y, struct transfer *t)
{
    struct consent *c = &endpoint_of(y->sink, &t->message)->consent;
    int64_t now = clock_mono_ms();
    switch (consent_ask(c, now)) {
    case CONSENT_GIVEN: return true;
    case CONSENT_ASK:
        t->asks = true;
        consent_start(c, t);
        return false;
    case CONSENT_COMING: tries_wait(y, t); return false;
    case CONSENT_NONE: break;
    }
    consent_fail(c, now, &t->result);
    tries_end(y, t);
    return false;
}

/* Begins an attempt as soon as its receiver's consent and token are there; it ends at once when there will be none. */
static void tries_go_on(struct tries *y, struct transfer *t)
{
    struct token *k = endpoint_of(y->sink, &t->message)->token;
    t->result = (struct result){ .tag = t->message.tag };
    transfer_authorize(t, NULL, 0);
    if (!tries_has_consent(y, t))
        return;
    switch (k ? token_ask(k, clock_mono_ms()) : TOKEN_READY) {
    case TOKEN_READY:
        if (k)
            transfer_authorize(t, k->line, k->generation);
        tries_send(y, t);
        return;
    case TOKEN_COMING: tries_wait(y, t); return;
    case TOKEN_FAILED:
        t->result = k->failure;
        t->result.tag = t->message.tag;
        tries_end(y, t);
    }
}

void tries_begin(struct tries *y, struct transfer *t, const struct message *m)
{
    t->message = *m;
    t->renewed = false;
    tries_go_on(y, t);
}

/* What they waited for has come, or will not; who waits for something else waits again. */
static void tries_wake(struct tries *y)
{
    struct transfer *oldest = NULL;
    for (struct transfer *t; (t = y->waiting);) {
        y->waiting = t->next;
        t->next = oldest;
        oldest = t;
    }
    for (struct transfer *t; (t = oldest);) {
        oldest = t->next;
        tries_go_on(y, t);
    }
}

static void tries_take_token(struct tries *y, struct token *k)
{
    token_took(k, clock_mono_ms());
    metric_add(k->failure.why[0] ? y->tokens_failed : y->tokens_fetched, 1);
    tries_wake(y);
}

/* The receiver has answered whether it wants our events. Where it wants few, the core sends what waited, at that rate. */
static void tries_take_consent(struct tries *y, struct transfer *t)
{
    struct webhook_endpoint *to = endpoint_of(y->sink, &t->message);
    t->asks = false;
    consent_heard(&to->consent, t, clock_mono_ms());
    transfer_forget(t); /* its handle has asked, and does nothing else */
    to->base.rate = to->consent.allowed;
    tries_wait(y, t);
    for (struct transfer **at = &y->waiting, *one; to->base.rate > 0 && (one = *at);)
        if (endpoint_of(y->sink, &one->message) == to) {
            *at = one->next;
            one->result = (struct result){ .tag = one->message.tag };
            consent_fail(&to->consent, clock_mono_ms(), &one->result);
            tries_end(y, one);
        } else
            at = &one->next;
    tries_wake(y);
}

/* The receiver does not take the token: the same attempt goes on with another one, once. */
static bool tries_renews(struct tries *y, struct transfer *t)
{
    struct webhook_endpoint *to = endpoint_of(y->sink, &t->message);
    if (t->result.status != 401 || !to->token || t->renewed || !token_refuse(to->token, t->generation, clock_mono_ms()))
        return false;
    endpoint_ended(to, t->number, &(struct result){ .verdict = VERDICT_UNTRIED }, 0);
    t->renewed = true;
    tries_go_on(y, t);
    return true;
}

bool tries_judge(struct tries *y, struct transfer *t, CURLcode code)
{
    if (!transfer_end(t, code))
        return false;
    if (t->fetches) {
        tries_take_token(y, t->fetches);
        return false;
    }
    if (t->asks) {
        tries_take_consent(y, t);
        return false;
    }
    return !tries_renews(y, t);
}

/* Moves what is for the receiver out of the list to the end of another one; returns that one's new end. */
static struct transfer **tries_move(struct tries *y, struct transfer **list, const struct webhook_endpoint *to,
                                    struct transfer **out)
{
    for (struct transfer *t; (t = *list);)
        if (endpoint_of(y->sink, &t->message) == to) { /* it may have ended before it had a target */
            *list = t->next;
            *out = t;
            out = &t->next;
        } else
            list = &t->next;
    *out = NULL;
    return out;
}

struct transfer *tries_forget(struct tries *y, const struct webhook_endpoint *gone)
{
    struct transfer *out = NULL;
    tries_move(y, &y->waiting, gone, tries_move(y, &y->ended, gone, &out));
    for (y->ended_tail = &y->ended; *y->ended_tail;)
        y->ended_tail = &(*y->ended_tail)->next;
    return out;
}
