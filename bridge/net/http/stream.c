/* SPDX-License-Identifier: MIT */
/* Connections that were taken over: WebSocket handshake, messages, control frames, closing; and responses without end. */
#include <stdlib.h>
#include "bridge/lib/crypto.h"
#include "bridge/lib/mem.h"
#include "bridge/net/http/private.h"
#include "bridge/net/sends.h"
#include "bridge/net/ws.h"

enum {
    CONTROL_FRAME = 2 + 125,
    CONTROL_HELD = 1024,
    NO_CODE = 1005,
    SENDS_FEWEST = 8, /* for which one system call is worth its preparation */
};

/* Of a WebSocket whose output stands in the middle of a frame. */
struct stream_cut {
    struct ws_walk walk; /* where in the frames the next byte goes */
    struct buf control;  /* frames that wait for a boundary: the user's messages as well */
};

/* One that is quiet is no more than this: there may be very many. */
struct http_stream {
    struct http_conn *c;
    void *user;
    struct ws_parser *parser; /* of a message that has begun; NULL: the server's parser serves it */
    struct stream_cut *cut;   /* NULL: at a boundary, and no control frame waits */
    uint32_t number;          /* of the process */
    unsigned since_ms : 10;   /* after c->since_s */
    bool websocket : 1;
    bool deflate : 1;     /* messages may come deflated */
    bool blocked : 1;     /* writable() is owed */
    bool closing : 1;     /* we sent (or hold) a close frame */
    bool peer_closed : 1; /* nothing more is expected from the peer */
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

/* ---- where the output stands ---- */

static bool stream_at_boundary(const struct http_stream *st)
{
    return !st->cut || ws_at_boundary(&st->cut->walk);
}

static size_t stream_control_held(const struct http_stream *st)
{
    return st->cut ? st->cut->control.n : 0;
}

static struct stream_cut *stream_cut(struct http_stream *st)
{
    if (!st->cut) {
        st->cut = mem_alloc(sizeof *st->cut);
        st->cut->control = buf_new(HTTP_STREAM_HELD + CONTROL_HELD);
    }
    return st->cut;
}

static void stream_free_cut(struct http_stream *st)
{
    if (st->cut)
        buf_free(&st->cut->control);
    free(st->cut);
    st->cut = NULL;
}

/* These bytes went out. */
static void stream_walk(struct http_stream *st, const char *bytes, size_t n)
{
    ws_walk(&stream_cut(st)->walk, bytes, n, false);
    if (stream_at_boundary(st) && stream_control_held(st) == 0)
        stream_free_cut(st);
}

/* ---- control frames and the end ---- */

/* The closing handshake is done on both sides and nothing waits any more. */
static void stream_finish_if_done(struct http_stream *st)
{
    if (stream_is_over(st) || !st->closing || !st->peer_closed || stream_control_held(st))
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
    size_t held = stream_control_held(st) + http_wire_kept(st->c);
    if (opcode != WS_CLOSE && held + 2 * CONTROL_FRAME > CONTROL_HELD)
        return;
    if (stream_at_boundary(st) && stream_control_held(st) == 0)
        http_wire_put(st->c, bytes);
    else
        buf_add_str(&stream_cut(st)->control, bytes);
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
    if (st->closing || !st->websocket)
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

/* Takes the server's parser, unless it has one of its own since a message began. */
static void stream_take_parser(struct http_stream *st)
{
    struct http_server *s = st->c->s;
    if (st->parser)
        return;
    st->parser = s->parser ? s->parser : ws_parser_new((size_t)s->o.max_message.n);
    s->parser = NULL;
    ws_parser_begin(st->parser, st->deflate ? s->inflater : NULL);
}

/* Between two messages it gives it back. */
static void stream_rest_parser(struct http_stream *st)
{
    struct http_server *s = st->c->s;
    if (!ws_parser_rest(st->parser))
        return;
    ws_parser_free(s->parser);
    s->parser = st->parser;
    st->parser = NULL;
}

static void stream_input(struct http_conn *c, struct str in)
{
    struct http_stream *st = c->stream;
    if (!st->websocket || in.n == 0)
        return;
    stream_heard(st);
    stream_take_parser(st);
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
    stream_rest_parser(st);
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
    struct stream_cut *cut = st->cut;
    CHECK(cut);
    st->cut = NULL;
    http_wire_put(st->c, buf_str(&cut->control));
    buf_free(&cut->control);
    free(cut);
    stream_finish_if_done(st);
}

/* A control frame waits: bytes up to the end of the current frame go first, then it, then the rest. */
static long stream_write_around_control(struct http_stream *st, const char *bytes, size_t n, bool boundary)
{
    struct ws_walk ahead = st->cut->walk;
    size_t part = ws_at_boundary(&ahead) ? 0 : ws_walk(&ahead, bytes, n, true);
    long k = part ? http_wire_write(st->c, bytes, part) : 0;
    if (k < 0)
        return -1;
    stream_walk(st, bytes, (size_t)k);
    if ((size_t)k < part)
        st->blocked = true;
    if ((size_t)k < part || !stream_at_boundary(st))
        return k;
    stream_send_held(st);
    if (!stream_is_open(st) || (size_t)k == n)
        return k;
    long rest = http_stream_write(st, bytes + k, n - (size_t)k, boundary);
    return rest < 0 ? rest : k + rest;
}

/* The kernel took k of these bytes, or the stream is gone. */
static long stream_wrote(struct http_stream *st, struct str bytes, long k, bool boundary)
{
    if (k < 0)
        return -1;
    if ((size_t)k == bytes.n && boundary)
        stream_free_cut(st);
    else if (st->websocket)
        stream_walk(st, bytes.at, (size_t)k);
    st->blocked = (size_t)k < bytes.n;
    return k;
}

long http_stream_write(struct http_stream *st, const char *bytes, size_t n, bool boundary)
{
    if (stream_is_over(st) || (st->closing && stream_control_held(st) == 0))
        return -1;
    if (!http_wire_flush(st->c)) {
        st->blocked = true;
        return stream_is_over(st) ? -1 : 0;
    }
    if (stream_control_held(st))
        return stream_write_around_control(st, bytes, n, boundary);
    return stream_wrote(st, (struct str){ bytes, n }, http_wire_write(st->c, bytes, n), boundary);
}

/* Nothing of its own goes before the next bytes, and they are the kernel's as they are. */
static bool stream_is_clear(const struct http_stream *st)
{
    return stream_is_open(st) && !st->cut && !st->c->io.ssl && !http_wire_waits(st->c);
}

/* Up to SENDS_MOST: those that are clear in one go. */
static void stream_write_together(struct sends *sends, struct http_write *writes, size_t count)
{
    bool added[SENDS_MOST];
    for (size_t i = 0; i < count; i++) {
        struct http_write *w = &writes[i];
        added[i] = stream_is_clear(w->stream);
        if (added[i])
            sends_add(sends, w->stream->c->io.fd, w->bytes.at, w->bytes.n, &w->taken);
        else
            w->taken = http_stream_write(w->stream, w->bytes.at, w->bytes.n, true);
    }
    sends_finish(sends);
    for (size_t i = 0; i < count; i++) {
        struct http_write *w = &writes[i];
        if (added[i])
            w->taken = stream_wrote(w->stream, w->bytes, http_wire_wrote(w->stream->c, w->taken), true);
    }
}

void http_stream_write_all(struct http_write *writes, size_t count)
{
    struct http_server *s = count ? writes[0].stream->c->s : NULL;
    bool together = count >= SENDS_FEWEST && !s->sends_by_hand;
    if (together && !s->sends)
        together = !(s->sends_by_hand = !(s->sends = sends_new()));
    for (size_t at = 0, n; at < count; at += n) {
        n = !together ? 1 : count - at < SENDS_MOST ? count - at : SENDS_MOST;
        struct http_write *w = &writes[at];
        if (together)
            stream_write_together(s->sends, w, n);
        else
            w->taken = http_stream_write(w->stream, w->bytes.at, w->bytes.n, true);
    }
}

bool http_stream_send(struct http_stream *st, bool text, struct str payload)
{
    unsigned char head[WS_HEAD];
    CHECK(st->websocket);
    size_t n = ws_head(head, text ? WS_TEXT : WS_BINARY, payload.n);
    if (!stream_is_open(st) || stream_control_held(st) + http_wire_kept(st->c) + n + payload.n > HTTP_STREAM_HELD)
        return false;
    bool now = stream_at_boundary(st) && stream_control_held(st) == 0;
    struct buf frame = buf_new(n + payload.n), *out = now ? &frame : &stream_cut(st)->control;
    buf_add(out, head, n);
    buf_add_str(out, payload);
    if (now)
        http_wire_put(st->c, buf_str(&frame));
    buf_free(&frame);
    return true;
}

void http_stream_close(struct http_stream *st, int code, const char *why)
{
    if (!stream_is_open(st))
        return;
    if (!st->websocket)
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
    stream_free_cut(st);
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
    static _Atomic uint32_t streams;
    uint64_t now = (uint64_t)clock_wall_ms();
    struct http_stream *st = mem_alloc(sizeof *st);
    buf_add_str(answer, STR("\r\n"));
    CHECK(!answer->failed);
    *st = (struct http_stream){
        .c = c, .user = user, .number = atomic_fetch_add(&streams, 1) + 1, .since_ms = now % 1000 & 1023u
    };
    c->since_s = (uint32_t)(now / 1000);
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

/* The offers may stand in several headers. False: one of them cannot be read. */
static bool stream_choose_window(const struct http_request *r, enum ws_window *out)
{
    *out = WS_WINDOW_NONE;
    for (size_t i = 0; i < r->header_count; i++) {
        enum ws_window one = WS_WINDOW_NONE;
        if (!str_eq_nocase(r->headers[i].name, STR("sec-websocket-extensions")))
            continue;
        if (!ws_deflate_choose(r->headers[i].value, &one))
            return false;
        if (!*out)
            *out = one;
    }
    return true;
}

enum ws_window http_request_deflate(const struct http_request *r)
{
    enum ws_window window;
    return stream_choose_window(r, &window) ? window : WS_WINDOW_NONE;
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
    enum ws_window ignored;
    bool good = str_eq(r->method, STR("GET")) && !c->old && r->body.n == 0 && keys == 1 && stream_key_is_good(key)
                && stream_choose_window(r, &ignored);
    return good ? 101 : 400;
}

struct http_stream *http_server_upgrade(struct http_server *s, const struct http_request *r, struct str subprotocol,
                                        enum ws_window deflate, void *user)
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
    struct header headers[5] = {
        { STR("Upgrade"), STR("websocket") },
        { STR("Connection"), STR("Upgrade") },
        { STR("Sec-WebSocket-Accept"), str_of(accept) },
    };
    size_t n = 3;
    if (subprotocol.n)
        headers[n++] = (struct header){ STR("Sec-WebSocket-Protocol"), subprotocol };
    if (deflate)
        headers[n++] = (struct header){ STR("Sec-WebSocket-Extensions"), ws_deflate_answer(deflate) };
    struct http_stream *st = stream_take_over(c, user, http_answer_begin(s, 101, headers, n));
    st->websocket = true;
    st->deflate = deflate;
    if (deflate && !s->inflater)
        s->inflater = ws_inflater_new();
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

uint32_t http_stream_number(const struct http_stream *st)
{
    return st->number;
}

int64_t http_stream_since(const struct http_stream *st)
{
    return (int64_t)st->c->since_s * 1000 + st->since_ms;
}

bool http_stream_is_websocket(const struct http_stream *st)
{
    return st->websocket;
}
