/* SPDX-License-Identifier: MIT */
/* Connections that were taken over: WebSocket handshake, messages, control frames, closing; and responses without end. */
#include <stdlib.h>
#include "bridge/lib/crypto.h"
#include "bridge/lib/mem.h"
#include "bridge/net/http/private.h"
#include "bridge/net/ws.h"

enum { CONTROL_FRAME = 2 + 125, CONTROL_HELD = 1024, NO_CODE = 1005 };

struct http_stream {
    struct http_conn *c;
    void *user;
    struct ws_parser *parser;  /* NULL: not a WebSocket */
    struct ws_walk walk;       /* where in the frames the next byte goes */
    struct buf control;        /* frames that wait for a boundary */
    bool blocked;              /* writable() is owed */
    bool closing, peer_closed; /* we sent (or hold) a close frame; nothing more is expected from the peer */
};

/* closed() is owed: nothing is written or handed to the user any more. */
static bool stream_is_over(const struct http_stream *st)
{
    return st->c->state != HTTP_OPEN;
}

static bool stream_is_open(const struct http_stream *st)
{
    return !stream_is_over(st) && !st->closing;
}

/* ---- control frames and the end ---- */

/* The closing handshake is done on both sides and nothing waits any more. */
static void stream_finish_if_done(struct http_stream *st)
{
    if (stream_is_over(st) || !st->closing || !st->peer_closed || st->control.n)
        return;
    http_wire_finish(st->c);
}

/* Sends a control frame, or keeps it until the frame that is on its way has ended. */
static void stream_send_control(struct http_stream *st, int opcode, struct str payload)
{
    unsigned char frame[CONTROL_FRAME];
    if (payload.n > CONTROL_FRAME - 2)
        payload.n = CONTROL_FRAME - 2;
    size_t n = ws_head(frame, opcode, payload.n);
    memcpy(frame + n, payload.at, payload.n);
    struct str bytes = { (const char *)frame, n + payload.n };
    /* A peer that pings without reading gets as many pongs as fit; there is always room for a close frame. */
    size_t held = st->control.n + http_wire_kept(st->c);
    if (opcode != WS_CLOSE && held + 2 * CONTROL_FRAME > CONTROL_HELD)
        return;
    if (ws_at_boundary(&st->walk) && st->control.n == 0)
        http_wire_put(st->c, bytes);
    else
        buf_add_str(&st->control, bytes);
}

/* Begins the closing handshake, or answers the peer's. */
static void stream_send_close(struct http_stream *st, int code, struct str why)
{
    char payload[CONTROL_FRAME - 2];
    if (st->closing)
        return;
    st->closing = true;
    http_schedule_due(st->c, DUE_CLOSING);
    if (why.n > sizeof payload - 2)
        why.n = sizeof payload - 2;
    while (why.n && !str_is_utf8(why))
        why.n--;
    payload[0] = (char)(code >> 8);
    payload[1] = (char)(code & 0xff);
    if (why.n)
        memcpy(payload + 2, why.at, why.n);
    stream_send_control(st, WS_CLOSE, (struct str){ payload, code == NO_CODE ? 0 : 2 + why.n });
}

/* ---- input ---- */

/* The first deadline after the peer was heard. */
static void stream_heard(struct http_stream *st)
{
    const struct http_server_options *o = &st->c->s->o;
    if (st->closing || !st->parser)
        return;
    bool ping = o->ping.ms > 0 && (o->stream_idle.ms <= 0 || o->ping.ms < o->stream_idle.ms);
    http_schedule_due(st->c, ping ? DUE_PING : o->stream_idle.ms > 0 ? DUE_PONG : DUE_NEVER);
}

static void stream_timeout(struct http_conn *c, enum http_due kind)
{
    struct http_stream *st = c->stream;
    if (kind == DUE_PING) {
        http_schedule_due(c, c->s->o.stream_idle.ms > 0 ? DUE_PONG : DUE_PING);
        stream_send_control(st, WS_PING, STR(""));
        return;
    }
    metric_add(c->s->refused[REFUSED_TIMEOUT], 1);
    if (kind == DUE_PONG)
        stream_send_close(st, 1001, STR("nothing was heard for too long"));
    else
        http_wire_kill(c);
}

/* A message is the user's, control frames are ours. */
static void stream_handle(struct http_stream *st, const struct ws_event *ev)
{
    const struct http_events *events = &st->c->s->events;
    switch (ev->opcode) {
    case WS_TEXT:
    case WS_BINARY:
        if (stream_is_open(st) && events->message)
            events->message(events->ctx, st, ev->opcode == WS_TEXT, ev->payload);
        return;
    case WS_PING:
        if (stream_is_open(st))
            stream_send_control(st, WS_PONG, ev->payload);
        return;
    case WS_CLOSE:
        st->peer_closed = true;
        stream_send_close(st, ev->close_code, STR(""));
        return;
    }
}

static void stream_input(struct http_conn *c, struct str in)
{
    struct http_stream *st = c->stream;
    if (!st->parser || in.n == 0)
        return;
    stream_heard(st);
    while (!stream_is_over(st) && !st->peer_closed) {
        struct ws_event ev;
        int code;
        int n = ws_parse(st->parser, &in, &ev, &code);
        if (n == 0)
            break;
        if (n > 0) {
            stream_handle(st, &ev);
            continue;
        }
        metric_add(c->s->refused[REFUSED_MESSAGE], 1);
        st->peer_closed = true; /* nothing that it sends can be understood any more */
        stream_send_close(st, code, STR(""));
    }
    stream_finish_if_done(st);
}

/* ---- output ---- */

static void stream_writable(struct http_conn *c)
{
    struct http_stream *st = c->stream;
    stream_finish_if_done(st);
    if (stream_is_over(st) || !st->blocked)
        return;
    st->blocked = false;
    if (c->s->events.writable)
        c->s->events.writable(c->s->events.ctx, st);
}

/* At a boundary: the control frames that waited. */
static void stream_send_held(struct http_stream *st)
{
    struct buf held = st->control;
    st->control = buf_new(CONTROL_HELD);
    http_wire_put(st->c, buf_str(&held));
    buf_free(&held);
    stream_finish_if_done(st);
}

/* A control frame waits: bytes up to the end of the current frame go first, then it, then the rest. */
static long stream_write_around_control(struct http_stream *st, const char *bytes, size_t n, bool boundary)
{
    struct ws_walk ahead = st->walk;
    size_t part = ws_at_boundary(&ahead) ? 0 : ws_walk(&ahead, bytes, n, true);
    long k = part ? http_wire_write(st->c, bytes, part) : 0;
    if (k < 0)
        return -1;
    ws_walk(&st->walk, bytes, (size_t)k, false);
    if ((size_t)k < part)
        st->blocked = true;
    if ((size_t)k < part || !ws_at_boundary(&st->walk))
        return k;
    stream_send_held(st);
    if (!stream_is_open(st) || (size_t)k == n)
        return k;
    long rest = http_stream_write(st, bytes + k, n - (size_t)k, boundary);
    return rest < 0 ? rest : k + rest;
}

long http_stream_write(struct http_stream *st, const char *bytes, size_t n, bool boundary)
{
    if (stream_is_over(st) || (st->closing && st->control.n == 0))
        return -1;
    if (!http_wire_flush(st->c)) {
        st->blocked = true;
        return stream_is_over(st) ? -1 : 0;
    }
    if (st->control.n)
        return stream_write_around_control(st, bytes, n, boundary);
    long k = http_wire_write(st->c, bytes, n);
    if (k < 0)
        return -1;
    if ((size_t)k == n && boundary)
        st->walk = (struct ws_walk){ 0 };
    else if (st->parser)
        ws_walk(&st->walk, bytes, (size_t)k, false);
    st->blocked = (size_t)k < n;
    return k;
}

void http_stream_close(struct http_stream *st, int code, const char *why)
{
    if (!stream_is_open(st))
        return;
    if (!st->parser)
        http_wire_finish(st->c);
    else
        stream_send_close(st, code, why ? str_of(why) : STR(""));
}

/* ---- taking over ---- */

/* It is the user's to end it. */
static void stream_stop(struct http_conn *c)
{
    (void)c;
}

static bool stream_gives_way(const struct http_conn *c)
{
    (void)c;
    return false;
}

static void stream_end(struct http_conn *c)
{
    struct http_stream *st = c->stream;
    if (c->s->events.closed)
        c->s->events.closed(c->s->events.ctx, st);
    c->stream = NULL;
    ws_parser_free(st->parser);
    buf_free(&st->control);
    free(st);
}

static const struct http_protocol stream_protocol = {
    .input = stream_input,
    .writable = stream_writable,
    .timeout = stream_timeout,
    .stop = stream_stop,
    .gives_way = stream_gives_way,
    .end = stream_end,
};

/* Makes the connection a stream and sends the head of the answer. */

static struct http_stream *stream_take_over(struct http_conn *c, void *user, struct buf *answer)
{
    struct http_stream *st = mem_alloc(sizeof *st);
    buf_add_str(answer, STR("\r\n"));
    CHECK(!answer->failed);
    *st = (struct http_stream){ .c = c, .user = user, .control = buf_new(CONTROL_HELD) };
    c->id = 0;
    c->stream = st;
    c->protocol = &stream_protocol;
    c->paused = false;
    http_schedule_due(c, DUE_NEVER);
    http_wire_put(c, buf_str(answer));
    return st;
}

/* Is the token in the comma-separated list of that header? */
static bool stream_has_token(const struct http_request *r, const char *name, struct str token)
{
    for (size_t i = 0; i < r->header_count; i++) {
        struct str rest = r->headers[i].value, piece;
        if (!str_eq_nocase(r->headers[i].name, str_of(name)))
            continue;
        while (str_cut(&rest, ',', &piece))
            if (str_eq_nocase(str_trim(piece), token))
                return true;
    }
    return false;
}

/* 16 bytes in base64. */
static bool stream_key_is_good(struct str key)
{
    struct buf decoded = buf_new(32);
    bool good = key.n == 24 && base64_decode(&decoded, key) && decoded.n == 16;
    buf_free(&decoded);
    return good;
}

/* RFC 6455 4.2.1: 101, or the status that tells the client what is wrong. */
static int stream_check_handshake(const struct http_conn *c, const struct http_request *r)
{
    size_t keys, versions;
    struct str key = http_header(r, "sec-websocket-key", &keys),
               version = http_header(r, "sec-websocket-version", &versions);
    bool asks = stream_has_token(r, "upgrade", STR("websocket")) && stream_has_token(r, "connection", STR("upgrade"));
    if (!asks || versions != 1 || !str_eq(version, STR("13")))
        return 426;
    bool good = str_eq(r->method, STR("GET")) && !c->old && r->body.n == 0 && keys == 1 && stream_key_is_good(key);
    return good ? 101 : 400;
}

struct http_stream *http_server_upgrade(struct http_server *s, const struct http_request *r, struct str subprotocol,
                                        void *user)
{
    struct http_conn *c = http_request_conn(s, r->id);
    CHECK(c);
    int status = stream_check_handshake(c, r);
    if (status != 101) {
        const struct header wanted[] = { { STR("Upgrade"), STR("websocket") },
                                         { STR("Connection"), STR("Upgrade") },
                                         { STR("Sec-WebSocket-Version"), STR("13") } };
        http_request_refuse(c, status, wanted, status == 426 ? 3 : 0);
        return NULL;
    }
    char accept[29];
    ws_accept(http_header(r, "sec-websocket-key", NULL), accept);
    struct header headers[4] = {
        { STR("Upgrade"), STR("websocket") },
        { STR("Connection"), STR("Upgrade") },
        { STR("Sec-WebSocket-Accept"), str_of(accept) },
        { STR("Sec-WebSocket-Protocol"), subprotocol },
    };
    struct http_stream *st = stream_take_over(c, user, http_answer_begin(s, 101, headers, subprotocol.n ? 4 : 3));
    st->parser = ws_parser_new((size_t)s->o.max_message.n);
    if (!stream_is_over(st))
        stream_heard(st);
    return st;
}

struct http_stream *http_server_stream(struct http_server *s, const struct http_request *r, int status,
                                       const struct header *headers, size_t count, void *user)
{
    struct http_conn *c = http_request_conn(s, r->id);
    CHECK(c);
    struct buf *answer = http_answer_begin(s, status, headers, count);
    buf_add_str(answer, STR("Connection: close\r\n"));
    return stream_take_over(c, user, answer);
}

void *http_stream_user(const struct http_stream *st)
{
    return st->user;
}

bool http_stream_is_websocket(const struct http_stream *st)
{
    return st->parser != NULL;
}
