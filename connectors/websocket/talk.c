/* SPDX-License-Identifier: MIT */
/* What listeners say, and what they are answered. */
#include <stdlib.h>
#include "bridge/lib/cbor.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/mem.h"
#include "connectors/websocket/access.h"
#include "connectors/websocket/private.h"

enum {
    TALK_TEXT = 16 * 1024,
    TALK_PLACES = 32 * 1024, /* of all subscriptions, of a connection that ends */
    SUBSCRIBE_RATE = 50,     /* of one user */
    SUBSCRIBE_BURST = 500,
    HELLO_MS = 5000,
    TALK_TOKEN = 16 * 1024,
    TALK_JSON_TIMES = 8, /* as long is JSON as the same in CBOR, at most: 5.9604644775390625e-08 */
};

/* ---- answers ---- */

/* One who does not read its answers may not say more. */
static void talk_send(struct listener *l, struct str json)
{
    bool cbor = l->talk && l->talk->cbor;
    struct buf bytes = buf_new(SIZE_MAX / 2);
    if (cbor)
        cbor_add_json(&bytes, json);
    if (!http_stream_send(l->stream, !cbor, cbor ? buf_str(&bytes) : json))
        http_stream_close(l->stream, 1008, "answers are not read");
    buf_free(&bytes);
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
    case CODE_BAD_POSITION:
    case CODE_MALFORMED: return 400;
    case CODE_NO_HELLO:
    case CODE_EXPIRED:
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
    protocol_ok(&out, a, sub, STR(""));
    talk_say(l, &out);
}

/* One that begins live is told where that is; as soon as that is known, if it is not. */
static void talk_ok_sub(struct websocket_sink *s, struct listener *l, const struct asked *a, const struct sub *sub)
{
    struct cohort *c = sub->seat.cohort;
    struct buf out = buf_new(CURSOR_TEXT_MAX + TALK_TEXT), cursor = buf_new(CURSOR_TEXT_MAX);
    if (sub->seat.index != SEAT_BEHIND
        && !position_add(&c->position, &s->places, &c->subscription, NULL, 0, 0, &cursor))
        c->unplaced += s->places.log != NULL;
    protocol_ok(&out, a, sub->name, buf_str(&cursor));
    talk_say(l, &out);
    buf_free(&cursor);
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

static void talk_end_expired(struct listener *l)
{
    listener_close(l, CODE_EXPIRED, "the token has expired");
}

void talk_writable(struct listener *l)
{
    if (l->ticket && l->ticket->paused) { /* until it is refreshed it gets the end of a frame at most */
        if (listener_finish(l) && !l->talk)
            talk_end_expired(l);
        return;
    }
    listener_writable(l);
    if (l->talk)
        subs_turn(l->talk, talk_ended);
}

/* Counts who has shown nothing. */
static void talk_set_nameless(struct websocket_sink *s, struct listener *l, bool nameless)
{
    struct talk *t = l->talk;
    if (nameless == (t->hello_by_ms != 0))
        return;
    t->hello_by_ms = nameless ? clock_mono_ms() + HELLO_MS : 0;
    atomic_fetch_add(&s->sum->nameless, nameless ? 1 : -1);
    peer_add_nameless(l->peer, nameless);
}

void talk_begin(struct websocket_sink *s, struct listener *l, const struct talk_form *form)
{
    struct talk *t = mem_alloc(sizeof *t);
    *t = (struct talk){
        .next = s->talks, .listener = l, .address = str_dup(form->address), .cbor = form->cbor, .deflate = form->deflate
    };
    if (t->next)
        t->next->before = t;
    s->talks = l->talk = t;
    talk_set_nameless(s, l, form->nameless);
    if (!form->nameless)
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
    talk_set_nameless(s, l, false);
    subs_close(t);
    free(t->address);
    free(t);
    l->talk = NULL;
}

/* Subscriptions and tokens cost more than other messages: so many in a second. */
static enum code talk_may_subscribe(const struct listener *l, struct err *e)
{
    static const struct bucket_size size = { SUBSCRIBE_RATE, SUBSCRIBE_BURST };
    int64_t wait = peer_take(l->user, PEER_SUBSCRIBES, &size, clock_mono_us());
    if (wait > 0) {
        err_set(e, "too many subscriptions and tokens a second; the next one is taken in %lld ms",
                (long long)(wait + 999) / 1000);
        return CODE_TOO_MANY;
    }
    return 0;
}

/* ---- tokens ---- */

static void talk_expired(struct listener *l)
{
    talk_refuse(l, &(struct asked){ .op = true }, CODE_EXPIRED,
                "the token has expired; op refresh within 30 seconds goes on");
}

void talk_turn(struct websocket_sink *s)
{
    int64_t now = clock_mono_ms();
    tickets_turn(s->tickets, clock_wall_ms(), talk_expired, talk_end_expired);
    for (struct talk *t = s->talks, *next; t; t = next) {
        next = t->next;
        if (t->hello_by_ms && now >= t->hello_by_ms && !t->listener->sent_away)
            listener_close(t->listener, CODE_NO_HELLO, "no hello with a token came");
    }
}

/* Whose token is it, and what does it allow? */
static enum code talk_verify(struct websocket_sink *s, struct listener *l, struct str token, struct str *key,
                             struct rights *rights, struct err *e)
{
    const struct http_request r = { .method = STR("GET"),
                                    .target = str_of(s->path),
                                    .path = str_of(s->path),
                                    .peer = str_of(l->talk->address),
                                    .network = l->peer->name };
    struct verified is = { .no = REFUSAL_NONE };
    if (s->verifier)
        is = access_check_token(s->verifier, &r, token);
    *key = is.key;
    if (is.no == REFUSAL_AWAITED) {
        err_set(e, "the keys that tokens are verified with are not there yet");
        return CODE_UNAVAILABLE;
    }
    if (is.no) {
        refuse_unverified(s, l->peer->name, &is, CODE_UNVERIFIED);
        err_set(e, "a valid token is needed");
        return CODE_UNVERIFIED;
    }
    if (!rights_take(rights, *key, &s->claims, s->verifier, e))
        return CODE_FORBIDDEN;
    if (!rights_are_over(rights, clock_wall_ms()))
        return 0;
    err_set(e, "the token has expired");
    return CODE_EXPIRED;
}

/* The first token of a connection that had shown nothing. */
static enum code talk_enter(struct websocket_sink *s, struct listener *l, struct str key, struct rights *rights,
                            struct err *e)
{
    int64_t most = s->max_listeners_per_user ? s->max_listeners_per_user : INT64_MAX;
    struct peer *user = key.at ? peers_enter(s->sum->peers, PEER_USER, key, most) : l->peer;
    if (!user) {
        err_set(e, "too many listeners of this user; see option max_listeners_per_user");
        return CODE_TOO_MANY;
    }
    l->user = user;
    talk_set_nameless(s, l, false);
    ticket_give(&s->tickets, l, rights);
    refuse_audit(s, l, "listener has shown who it is", "");
    return 0;
}

/* Another token of the same user, with the same rights. */
static enum code talk_refresh(struct websocket_sink *s, struct listener *l, struct str key, struct rights *rights,
                              struct err *e)
{
    static const struct rights all;
    bool same = key.at ? l->user != l->peer && str_eq(key, l->user->name) : l->user == l->peer;
    if (!same || !rights_are_same(rights, l->ticket ? &l->ticket->rights : &all)) {
        err_set(e, "the token is of another user, or allows something else; connect anew with it");
        return CODE_FORBIDDEN;
    }
    ticket_give(&s->tickets, l, rights);
    return 0;
}

static enum code talk_take_token(struct websocket_sink *s, struct listener *l, const struct op *o, struct err *e)
{
    struct buf token = buf_new(TALK_TOKEN);
    struct rights rights = { 0 };
    struct str key;
    enum code code = op_text(o, "token", TALK_TOKEN - 1, &token, e) ? 0 : CODE_MALFORMED;
    if (!code)
        code = talk_may_subscribe(l, e);
    if (!code)
        code = talk_verify(s, l, buf_str(&token), &key, &rights, e);
    if (!code)
        code = l->talk->hello_by_ms ? talk_enter(s, l, key, &rights, e) : talk_refresh(s, l, key, &rights, e);
    rights_free(&rights);
    crypto_wipe_buf(&token);
    return code;
}

/* Where its subscriptions stand: what each got, once what is on its way has gone out. */
static void talk_add_places(struct websocket_sink *s, const struct talk *t, struct buf *out)
{
    struct buf cursor = buf_new(CURSOR_TEXT_MAX);
    bool any = false;
    for (struct sub *sub = t->subs; sub; sub = sub->next) {
        struct cohort *c = sub->seat.cohort;
        struct spot *spot = c ? replay_where(&s->replay, &sub->seat) : NULL;
        buf_reset(&cursor);
        if (spot && !sub->ending
            && position_add(&c->position, &s->places, &c->subscription, spot->next, spot->count, 0, &cursor)
            && out->n + cursor.n < TALK_PLACES) {
            protocol_drain_place(out, !any, sub->name, buf_str(&cursor));
            any = true;
        }
        spot_unref(spot);
    }
    protocol_drain_end(out, any);
    buf_free(&cursor);
}

void talk_drain(struct websocket_sink *s)
{
    int64_t listeners = s->listeners[0] + s->listeners[1];
    places_look(&s->places);
    for (struct talk *t = s->talks, *next; t; t = next) {
        struct buf out = buf_new(TALK_PLACES + TALK_TEXT);
        next = t->next;
        protocol_drain(&out, farewell_time(listeners));
        talk_add_places(s, t, &out);
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

static struct subs_house talk_house(struct websocket_sink *s)
{
    return (struct subs_house){ .cohorts = &s->cohorts,
                                .replay = &s->replay,
                                .places = &s->places,
                                .names = &s->names,
                                .topics = s->base.topics,
                                .most = s->max_subscriptions_per_listener };
}

static void talk_subscribed(struct websocket_sink *s, struct listener *l, const struct asked *a, const struct sub *sub)
{
    talk_ok_sub(s, l, a, sub);
    refuse_audit(s, l, "listener subscribed", sub->seat.cohort->subscription.key);
}

static void talk_acknowledged(void *ctx, const struct asked *asked, enum code code, const char *why)
{
    const struct sub *sub = ctx;
    if (code)
        talk_refuse(sub->seat.listener, asked, code, why);
    else
        talk_ok(sub->seat.listener, asked, sub->name);
}

void talk_names(struct websocket_sink *s)
{
    struct subs_house house = talk_house(s);
    for (struct named *n = s->names.first, *next; n; n = next) {
        struct sub *sub = n->owner;
        struct listener *l = sub->seat.listener;
        struct asked asked = sub->asked;
        struct err e = { "" };
        enum code code;
        next = n->next;
        if (!sub->arriving) {
            named_turn(n, &s->names, talk_acknowledged, sub);
            continue;
        }
        enum grant is = subs_arrive(l->talk, &house, sub, &code, &e);
        if (is == GRANT_YES)
            talk_subscribed(s, l, &asked, sub);
        else if (is == GRANT_NO)
            talk_refuse(l, &asked, code, e.text);
    }
}

/* Whose it is; absent: nobody's in particular. */
static struct str talk_name(const struct listener *l)
{
    return l->user == l->peer ? STR_ABSENT : l->user->name;
}

/* Who has shown nothing, or whose token has expired, may do little. */
static enum code talk_may(const struct listener *l, const struct op *o, struct err *e)
{
    if (l->talk->hello_by_ms && o->kind != OP_HELLO) {
        err_set(e, "first comes a hello with a token");
        return CODE_UNVERIFIED;
    }
    if (l->ticket && l->ticket->paused && (o->kind == OP_SUB || o->kind == OP_PUB)) {
        err_set(e, "the token has expired");
        return CODE_EXPIRED;
    }
    return 0;
}

static enum code talk_hello(struct websocket_sink *s, struct listener *l, const struct op *o, struct err *e)
{
    enum code code = l->talk->hello_by_ms || op_member(o, "token") ? talk_take_token(s, l, o, e) : 0;
    if (!code)
        talk_welcome(s, l, &o->asked);
    return code;
}

static enum code talk_do(struct websocket_sink *s, struct listener *l, const struct op *o, struct err *e)
{
    const struct jscan_value *event = op_member(o, "event");
    const struct subs_house house = talk_house(s);
    enum code code = talk_may(l, o, e);
    if (code)
        return code;
    switch (o->kind) {
    case OP_HELLO: return talk_hello(s, l, o, e);
    case OP_PING: talk_ok(l, &o->asked, ""); return 0;
    case OP_REFRESH:
        code = talk_take_token(s, l, o, e);
        if (!code)
            talk_ok(l, &o->asked, "");
        return code;
    case OP_SUB:
        code = talk_may_subscribe(l, e);
        if (!code)
            code = subs_add(l->talk, &house, o, e);
        if (!code && !l->talk->subs->arriving)
            talk_subscribed(s, l, &o->asked, l->talk->subs);
        return code;
    case OP_ACK: return subs_acknowledge(l->talk, &house, o, e);
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
                                                    .rights = ticket_rights(l),
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
    if ((code == CODE_UNVERIFIED || code == CODE_EXPIRED) && o.kind == OP_HELLO)
        listener_close(l, (int)code, code == CODE_EXPIRED ? "the token has expired" : "a valid token is needed");
}

static void talk_cbor(struct websocket_sink *s, struct listener *l, struct str payload)
{
    struct buf json = buf_new(TALK_JSON_TIMES * payload.n + TALK_TEXT);
    struct err e = { "" };
    if (cbor_to_json(payload, &json, &e))
        talk_op(s, l, buf_str(&json));
    else
        talk_refuse(l, &(struct asked){ .op = true }, CODE_MALFORMED, e.text);
    buf_free(&json);
}

void talk_message(struct websocket_sink *s, struct listener *l, bool text, struct str payload)
{
    struct asked asked = { .op = l->talk };
    bool cbor = l->talk && l->talk->cbor;
    if (text == cbor)
        talk_refuse(l, &asked, CODE_MALFORMED,
                    cbor ? "a message is CBOR, and so binary, and this one is text"
                         : "a message is text, and this one is binary");
    else if (cbor)
        talk_cbor(s, l, payload);
    else if (l->talk)
        talk_op(s, l, payload);
    else
        talk_publish(s, &(struct publish_call){ .json = payload,
                                                .listener = l,
                                                .user = l->user,
                                                .name = talk_name(l),
                                                .rights = ticket_rights(l),
                                                .asked = asked });
}

void talk_post(struct websocket_sink *s, const struct http_request *r, struct str key, const struct rights *rights)
{
    struct publish_call c = { .json = r->body, .request = r->id, .name = key, .rights = rights };
    c.user = peers_hold(s->sum->peers, key.at ? PEER_USER : PEER_ADDRESS, key.at ? key : r->network);
    talk_publish(s, &c);
    peer_release(c.user, clock_mono_us());
}
