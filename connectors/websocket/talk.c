/* SPDX-License-Identifier: MIT */
/* What listeners say, and what they are answered. */
#include <stdlib.h>
#include "bridge/lib/crypto.h"
#include "bridge/lib/mem.h"
#include "connectors/websocket/private.h"

enum {
    TALK_TEXT = 16 * 1024,
    RECONNECT_LEAST_MS = 500, /* so that not all come back at once */
    RECONNECT_MOST_MS = 5000,
    SUBSCRIBE_RATE = 50, /* of one user */
    SUBSCRIBE_BURST = 500,
};

/* ---- answers ---- */

/* One who does not read its answers may not say more. */
static void talk_send(struct listener *l, struct str text)
{
    if (!http_stream_send(l->stream, text))
        http_stream_close(l->stream, 1008, "answers are not read");
}

static void talk_tell(struct listener *l, const struct publish_answer *a)
{
    struct buf out = buf_new(TALK_TEXT);
    if (a->code)
        protocol_refused(&out, a->asked, a->event_id, a->code, a->why);
    else
        protocol_stored(&out, a->asked, a->event_id, a->why);
    if (!out.failed)
        talk_send(l, buf_str(&out));
    buf_free(&out);
}

static int talk_status(enum code code)
{
    switch (code) {
    case CODE_UNKNOWN_OP:
    case CODE_BAD_FILTER:
    case CODE_MALFORMED: return 400;
    case CODE_UNVERIFIED: return 401;
    case CODE_FORBIDDEN: return 403;
    case CODE_UNKNOWN: return 404;
    case CODE_CONFLICT: return 409;
    case CODE_TOO_LONG: return 413;
    case CODE_INVALID: return 422;
    case CODE_TOO_MANY: return 429;
    case CODE_UNAVAILABLE: return 503;
    }
    return 503;
}

static void talk_reply(struct websocket_sink *s, const struct publish_answer *a)
{
    struct buf out = buf_new(TALK_TEXT);
    struct header headers[2] = { { STR("Content-Type"), STR("application/json") }, { STR("Retry-After"), STR("1") } };
    if (a->code)
        protocol_refused(&out, a->asked, a->event_id, a->code, a->why);
    else
        protocol_stored(&out, a->asked, a->event_id, a->why);
    http_server_reply(s->server, a->request, a->code ? talk_status(a->code) : 202, headers,
                      a->code && code_is_temporary(a->code) ? 2 : 1, buf_str(&out));
    buf_free(&out);
}

static void talk_answer(void *ctx, const struct publish_answer *a)
{
    if (a->request)
        talk_reply(ctx, a);
    else if (a->listener)
        talk_tell(a->listener, a);
}

static void talk_say(struct listener *l, struct buf *out)
{
    if (!out->failed)
        talk_send(l, buf_str(out));
    buf_free(out);
}

static void talk_ok(struct listener *l, const struct asked *a, const char *sub)
{
    struct buf out = buf_new(TALK_TEXT);
    protocol_ok(&out, a, sub);
    talk_say(l, &out);
}

static void talk_refuse(struct listener *l, const struct asked *a, enum code code, const char *why)
{
    talk_tell(l, &(struct publish_answer){ .asked = a, .event_id = STR_ABSENT, .code = code, .why = why });
}

static void talk_welcome(struct websocket_sink *s, struct listener *l, const struct asked *a)
{
    struct buf out = buf_new(TALK_TEXT);
    protocol_welcome(&out, a, s->server_options.ping.ms, s->server_options.max_message.n,
                     s->max_subscriptions_per_listener);
    talk_say(l, &out);
}

static void talk_ended(struct talk *t, const struct sub *s)
{
    talk_ok(t->listener, &s->asked, s->name);
}

void talk_answers(struct websocket_sink *s)
{
    publish_answers(&s->publisher, talk_answer, s);
}

/* ---- aqueduct.v1 ---- */

void talk_writable(struct listener *l)
{
    listener_writable(l);
    if (l->talk)
        subs_turn(l->talk, talk_ended);
}

void talk_begin(struct websocket_sink *s, struct listener *l)
{
    struct talk *t = mem_alloc(sizeof *t);
    *t = (struct talk){ .next = s->talks, .listener = l };
    if (t->next)
        t->next->before = t;
    s->talks = l->talk = t;
    talk_welcome(s, l, &(struct asked){ .op = true });
}

void talk_end(struct websocket_sink *s, struct listener *l)
{
    struct talk *t = l->talk;
    if (!t)
        return;
    if (t->before)
        t->before->next = t->next;
    else
        s->talks = t->next;
    if (t->next)
        t->next->before = t->before;
    subs_close(t);
    free(t);
    l->talk = NULL;
}

void talk_drain(struct websocket_sink *s)
{
    for (struct talk *t = s->talks, *next; t; t = next) {
        struct buf out = buf_new(TALK_TEXT);
        uint32_t random;
        next = t->next;
        crypto_random(&random, sizeof random);
        protocol_drain(&out, RECONNECT_LEAST_MS + random % (RECONNECT_MOST_MS - RECONNECT_LEAST_MS));
        talk_say(t->listener, &out);
        listener_close(t->listener, 1012, "restarting");
        metric_add(s->drained, 1);
    }
}

/* ---- messages ---- */

static void talk_publish(struct websocket_sink *s, struct publish_call *c)
{
    struct err e = { "" };
    enum code code = publish_message(&s->publisher, s->base.id, c, &e);
    if (code)
        talk_answer(s, &(struct publish_answer){ .listener = c->listener,
                                                 .request = c->request,
                                                 .asked = &c->asked,
                                                 .event_id = STR_ABSENT,
                                                 .code = code,
                                                 .why = e.text });
}

/* Whose it is; absent: nobody's in particular. */
static struct str talk_name(const struct listener *l)
{
    return l->user == l->peer ? STR_ABSENT : l->user->name;
}

/* Subscriptions cost more than other messages: so many in a second. */
static enum code talk_may_subscribe(const struct listener *l, struct err *e)
{
    static const struct bucket_size size = { SUBSCRIBE_RATE, SUBSCRIBE_BURST };
    int64_t now = clock_mono_us(), wait = bucket_wait(l->user->subscribe_full_us, &size, 1, now);
    if (wait > 0) {
        err_set(e, "too many subscriptions a second; the next one is taken in %lld ms", (long long)(wait + 999) / 1000);
        return CODE_TOO_MANY;
    }
    l->user->subscribe_full_us = bucket_take(l->user->subscribe_full_us, &size, 1, now);
    return 0;
}

static enum code talk_do(struct websocket_sink *s, struct listener *l, const struct op *o, struct err *e)
{
    const struct jscan_value *event = op_member(o, "event");
    enum code code = 0;
    switch (o->kind) {
    case OP_HELLO: talk_welcome(s, l, &o->asked); return 0;
    case OP_PING: talk_ok(l, &o->asked, ""); return 0;
    case OP_SUB:
        code = talk_may_subscribe(l, e);
        if (!code)
            code = subs_add(l->talk, &s->cohorts, o, s->base.topics, s->max_subscriptions_per_listener, e);
        if (!code)
            talk_ok(l, &o->asked, l->talk->subs->name);
        return code;
    case OP_UNSUB:
        code = subs_drop(l->talk, o, e);
        subs_turn(l->talk, talk_ended);
        return code;
    case OP_PUB:
        if (!event)
            err_set(e, "event: is missing");
        else
            talk_publish(s, &(struct publish_call){ .json = event->raw,
                                                    .listener = l,
                                                    .user = l->user,
                                                    .name = talk_name(l),
                                                    .asked = o->asked });
        return event ? 0 : CODE_MALFORMED;
    }
    return CODE_UNKNOWN_OP;
}

static void talk_op(struct websocket_sink *s, struct listener *l, struct str payload)
{
    struct op o;
    struct err e = { "" };
    enum code code = op_parse(payload, &o, &e);
    if (!code)
        code = talk_do(s, l, &o, &e);
    if (code)
        talk_refuse(l, &o.asked, code, e.text);
}

void talk_message(struct websocket_sink *s, struct listener *l, bool text, struct str payload)
{
    struct asked asked = { .op = l->talk };
    if (!text)
        talk_refuse(l, &asked, CODE_MALFORMED, "a message is text, and this one is binary");
    else if (l->talk)
        talk_op(s, l, payload);
    else
        talk_publish(s, &(struct publish_call){
                            .json = payload, .listener = l, .user = l->user, .name = talk_name(l), .asked = asked });
}

void talk_post(struct websocket_sink *s, const struct http_request *r, struct str key)
{
    struct publish_call c = { .json = r->body, .request = r->id, .name = key };
    c.user = key.at ? peers_get(&s->users, key) : peers_get(&s->peers, r->network);
    talk_publish(s, &c);
}
