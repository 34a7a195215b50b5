/* SPDX-License-Identifier: MIT */
/* A connection of HTTP/2: bytes to and from nghttp2, what a client may cost, deadlines, the end. */
#include <stdlib.h>
#include "bridge/lib/mem.h"
#include "bridge/net/http/h2_private.h"

enum {
    STREAM_WINDOW = 256 << 10, /* bytes of a request, and of a connection, that may be on their way */
    CONNECTION_WINDOW = 1 << 20,
    BOMB = 8,             /* a head so many times too long is not read to its end */
    PATIENCE = 1000,      /* most of it */
    PATIENCE_SECOND = 50, /* what a second gives back */
    COST_FRAME = 1,       /* of a frame that brings no request */
    COST_RESET = 5,       /* of a stream that its client gave up, or that was malformed */
    COST_CONTINUATION = 20,
    GAIN_ANSWER = 10, /* what an answer that was sent gives back */
};

/* ---- patience ---- */

/* Pays for what a client does. 0, or what ends the input. */
static int h2_pay(struct http_conn *c, int cost)
{
    struct http2 *h = c->two;
    int64_t now = c->s->now_ms;
    h->patience += (now - h->patience_ms) * PATIENCE_SECOND / 1000;
    if (now - h->patience_ms >= 1000 / PATIENCE_SECOND)
        h->patience_ms = now;
    if (h->patience > PATIENCE)
        h->patience = PATIENCE;
    h->patience -= cost;
    return h->patience < 0 ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

/* ---- callbacks of nghttp2 ---- */

static int h2_on_frame_begins(nghttp2_session *session, const nghttp2_frame_hd *hd, void *ctx)
{
    (void)session;
    switch (hd->type) {
    case NGHTTP2_DATA:
    case NGHTTP2_HEADERS: return 0;
    case NGHTTP2_RST_STREAM: return h2_pay(ctx, COST_RESET);
    case NGHTTP2_CONTINUATION: return h2_pay(ctx, COST_CONTINUATION);
    default: return h2_pay(ctx, COST_FRAME);
    }
}

static struct http2_stream *h2_stream_of(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

static int h2_on_head_begins(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, h2_stream_new(ctx, frame->hd.stream_id));
    return 0;
}

static int h2_on_field(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name, nghttp2_rcbuf *value,
                       uint8_t flags, void *ctx)
{
    struct http_conn *c = ctx;
    struct http2_stream *st = h2_stream_of(session, frame->hd.stream_id);
    size_t max_head = (size_t)c->s->o.max_head.n;
    (void)flags;
    if (!st)
        return 0;
    if (st->state == H2_HEAD) {
        h2_head_add(&st->head, name, value, max_head);
        h2_stream_count(c, st);
    } else { /* trailers are of no use */
        st->head.size += nghttp2_rcbuf_get_buf(name).len + nghttp2_rcbuf_get_buf(value).len;
    }
    return st->head.size > BOMB * max_head ? h2_pay(c, 2 * PATIENCE) : 0;
}

/* nghttp2 would leave the field out and go on. */
static int h2_on_bad_field(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_n,
                           const uint8_t *value, size_t value_n, uint8_t flags, void *ctx)
{
    (void)session;
    (void)frame;
    (void)name;
    (void)name_n;
    (void)value;
    (void)value_n;
    (void)flags;
    (void)ctx;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int h2_on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *at, size_t n, void *ctx)
{
    struct http2_stream *st = h2_stream_of(session, id);
    (void)flags;
    if (st)
        h2_stream_data(ctx, st, (struct str){ (const char *)at, n });
    return 0;
}

static int h2_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
    struct http2_stream *st = frame->hd.stream_id ? h2_stream_of(session, frame->hd.stream_id) : NULL;
    bool ends = frame->hd.flags & NGHTTP2_FLAG_END_STREAM, is_data = frame->hd.type == NGHTTP2_DATA;
    if (is_data && !ends && frame->hd.length <= frame->data.padlen)
        return h2_pay(ctx, COST_FRAME);
    if (!st || (!is_data && frame->hd.type != NGHTTP2_HEADERS))
        return 0;
    st->ended |= ends;
    if (st->state == H2_HEAD)
        h2_stream_ask(ctx, st);
    if (ends)
        h2_stream_whole(ctx, st);
    return 0;
}

static int h2_on_bad_frame(nghttp2_session *session, const nghttp2_frame *frame, int why, void *ctx)
{
    struct http_conn *c = ctx;
    (void)session;
    (void)frame;
    (void)why;
    metric_add(c->s->refused[REFUSED_REQUEST], 1);
    return h2_pay(c, COST_RESET);
}

static int h2_on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
    bool ends = (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS)
                && frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    struct http2_stream *st = ends ? h2_stream_of(session, frame->hd.stream_id) : NULL;
    struct http_conn *c = ctx;
    c->two->patience += ends ? GAIN_ANSWER : 0;
    if (st && !st->ended)
        h2_stream_linger(c, st);
    return 0;
}

static int h2_on_closed(nghttp2_session *session, int32_t id, uint32_t why, void *ctx)
{
    struct http2_stream *st = h2_stream_of(session, id);
    (void)why;
    if (st)
        h2_stream_free(ctx, st);
    return 0;
}

/* ---- output ---- */

/* Gives the kernel what there is to send. No input meanwhile when it does not take all. */
static void h2_flush(struct http_conn *c)
{
    nghttp2_session *session = c->two->session;
    struct buf *out = &c->s->output;
    while (c->state == HTTP_OPEN && !http_wire_waits(c)) {
        const uint8_t *bytes;
        ssize_t n = 0;
        buf_reset(out);
        while (out->n < HTTP_INPUT && (n = nghttp2_session_mem_send(session, &bytes)) > 0)
            buf_add(out, bytes, (size_t)n);
        if (n < 0)
            http_wire_kill(c);
        if (n < 0 || out->n == 0)
            break;
        http_wire_put(c, buf_str(out));
    }
    if (c->state != HTTP_OPEN)
        return;
    c->paused = http_wire_waits(c);
    if (!c->paused && !nghttp2_session_want_read(session) && !nghttp2_session_want_write(session))
        http_wire_finish(c);
}

/* Says why and ends; requests that wait for their answers get none. */
static void h2_end(struct http_conn *c, uint32_t why)
{
    nghttp2_session_terminate_session(c->two->session, why);
    h2_flush(c);
    http_wire_finish(c);
}

/* The one deadline of the connection. PING does not make it younger. */
static void h2_set_due(struct http_conn *c)
{
    enum http_due kind = c->two->oldest ? DUE_STREAMS : http_wire_waits(c) ? DUE_ANSWER : DUE_IDLE;
    if (c->state == HTTP_OPEN && c->due != kind)
        http_schedule_due(c, kind);
}

/* After whatever happened. */
static void h2_settle(struct http_conn *c)
{
    const struct http_protocol *p = c->protocol;
    h2_flush(c);
    if (c->state == HTTP_OPEN && !http_holders_grow(c, c->two->held))
        p->give_up(c);
    h2_set_due(c);
}

/* Many answers of a round go together. */
static void h2_flush_later(struct http_conn *c)
{
    c->unread = true;
    http_schedule_later(c);
}

/* ---- the protocol ---- */

static void h2_input(struct http_conn *c, struct str in)
{
    c->feeding = true;
    ssize_t n = in.n ? nghttp2_session_mem_recv(c->two->session, (const uint8_t *)in.at, in.n) : 0;
    c->feeding = false;
    if (n >= 0) {
        h2_settle(c);
        return;
    }
    /* There is no patience left, ours or that of nghttp2; what breaks the protocol ends in a GOAWAY of its own. */
    metric_add(c->s->refused[REFUSED_FLOOD], 1);
    if (c->state == HTTP_OPEN)
        h2_end(c, NGHTTP2_ENHANCE_YOUR_CALM);
}

static void h2_reply(struct http_conn *c, uint64_t id, int status, const struct header *headers, size_t count,
                     struct str body)
{
    struct http2_stream *st = c->two->oldest;
    while (st && (st->request != id || st->state != H2_WAITING))
        st = st->after;
    if (!st)
        return;
    h2_stream_answer(c, st, status, headers, count, body);
    if (c->feeding)
        return;
    if (c->s->stopping) /* there may be no later */
        h2_settle(c);
    else
        h2_flush_later(c);
}

static void h2_writable(struct http_conn *c)
{
    h2_settle(c);
}

static void h2_timeout(struct http_conn *c, enum http_due kind)
{
    struct http2_stream *next;
    if (kind == DUE_IDLE) {
        h2_end(c, NGHTTP2_NO_ERROR);
        return;
    }
    if (kind == DUE_ANSWER) {
        metric_add(c->s->refused[REFUSED_TIMEOUT], 1);
        http_wire_kill(c);
        return;
    }
    for (struct http2_stream *st = c->two->oldest; st; st = next) {
        next = st->after;
        if (st->due_ms > c->s->now_ms || h2_stream_late(c, st))
            continue;
        if (http_wire_waits(c))
            http_wire_kill(c);
        else
            h2_end(c, NGHTTP2_NO_ERROR);
        return;
    }
    h2_settle(c);
}

/* The client learns which requests are still answered; the connection ends with the last of them. */
static void h2_stop(struct http_conn *c)
{
    nghttp2_session *session = c->two->session;
    nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session),
                          NGHTTP2_NO_ERROR, NULL, 0);
    h2_settle(c);
}

/* A request that crosses it on the way was not processed, as the client learns. */
static void h2_leave(struct http_conn *c)
{
    nghttp2_session_terminate_session(c->two->session, NGHTTP2_NO_ERROR);
    h2_flush(c);
}

static bool h2_gives_way(const struct http_conn *c)
{
    for (const struct http2_stream *st = c->two->oldest; st; st = st->after)
        if (st->state == H2_WAITING)
            return false;
    return true;
}

/* Refuses all that is incomplete, and resets whose answer is not taken. */
static void h2_give_up(struct http_conn *c)
{
    for (struct http2_stream *st = c->two->oldest; st; st = st->after)
        h2_stream_give_up(c, st);
    CHECK(c->two->held == 0);
    http_holders_hold(c, 0);
    h2_flush_later(c);
}

static void h2_free(struct http_conn *c)
{
    struct http2 *h = c->two;
    while (h->oldest)
        h2_stream_free(c, h->oldest);
    nghttp2_session_del(h->session);
    free(h);
    c->two = NULL;
    http_holders_hold(c, 0);
}

const struct http_protocol http2_requests = {
    .input = h2_input,
    .reply = h2_reply,
    .writable = h2_writable,
    .timeout = h2_timeout,
    .stop = h2_stop,
    .gives_way = h2_gives_way,
    .leave = h2_leave,
    .give_up = h2_give_up,
    .end = h2_free,
};

/* ---- the beginning ---- */

static nghttp2_session *h2_new_session(struct http_conn *c)
{
    nghttp2_session *session;
    nghttp2_session_callbacks *on;
    nghttp2_option *option;
    CHECK(nghttp2_session_callbacks_new(&on) == 0 && nghttp2_option_new(&option) == 0);
    nghttp2_session_callbacks_set_on_begin_frame_callback(on, h2_on_frame_begins);
    nghttp2_session_callbacks_set_on_begin_headers_callback(on, h2_on_head_begins);
    nghttp2_session_callbacks_set_on_header_callback2(on, h2_on_field);
    nghttp2_session_callbacks_set_on_invalid_header_callback(on, h2_on_bad_field);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(on, h2_on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(on, h2_on_frame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(on, h2_on_bad_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(on, h2_on_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(on, h2_on_closed);
    nghttp2_option_set_no_closed_streams(option, 1);
    CHECK(nghttp2_session_server_new2(&session, on, c, option) == 0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(on);
    return session;
}

void http2_begin(struct http_conn *c)
{
    const struct http_server_options *o = &c->s->o;
    const nghttp2_settings_entry ours[] = {
        { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, (uint32_t)o->http2_streams },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)o->max_head.n },
        { NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1 },
    };
    struct http2 *h = mem_alloc(sizeof *h);
    h->session = h2_new_session(c);
    h->patience = PATIENCE;
    h->patience_ms = c->s->now_ms;
    c->two = h;
    c->protocol = &http2_requests;
    CHECK(nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, ours, sizeof ours / sizeof *ours) == 0);
    CHECK(nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW) == 0);
}
