/* SPDX-License-Identifier: MIT */
/* What listeners say, and what they are answered. */
#include "connectors/websocket/private.h"

enum { TALK_TEXT = 16 * 1024, TALK_PLACE = 256 };

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
    case CODE_MALFORMED: return 400;
    case CODE_FORBIDDEN: return 403;
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

void talk_answers(struct websocket_sink *s)
{
    publish_answers(&s->publisher, talk_answer, s);
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

void talk_message(struct websocket_sink *s, struct listener *l, bool text, struct str payload)
{
    struct publish_call c = { .json = payload, .listener = l, .user = l->user };
    c.name = l->user == l->peer ? STR_ABSENT : l->user->name;
    if (text)
        talk_publish(s, &c);
    else
        talk_tell(l, &(struct publish_answer){ .asked = &c.asked,
                                               .code = CODE_MALFORMED,
                                               .why = "a message is text, and this one is binary" });
}

void talk_post(struct websocket_sink *s, const struct http_request *r, struct str key)
{
    struct publish_call c = { .json = r->body, .request = r->id, .name = key };
    c.user = key.at ? peers_get(&s->users, key) : peers_get(&s->peers, r->network);
    talk_publish(s, &c);
}
