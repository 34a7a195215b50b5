/* SPDX-License-Identifier: MIT */
/* One request of HTTP/2, from its head to its answer. */
#include <stdlib.h>
#include "bridge/lib/mem.h"
#include "bridge/net/http/h2_private.h"

enum {
    STREAM_COST = 1024, /* of one that holds something, beside its bytes */
    STREAM_FIELDS = 64, /* of an answer */
    STREAM_HEAD = 512,  /* bytes of most heads */
    LINGER_BYTES = 1 << 20,
};

/* ---- life ---- */

struct http2_stream *h2_stream_new(struct http_conn *c, int32_t id)
{
    struct http2 *h = c->two;
    struct http2_stream *st = mem_alloc(sizeof *st);
    st->id = id;
    st->state = H2_HEAD;
    st->head.text = buf_new((size_t)c->s->o.max_head.n + 64); /* a field's cost is more than what its line adds */
    buf_room(&st->head.text, STREAM_HEAD);
    st->due_ms = c->s->now_ms + c->s->o.head_timeout.ms;
    st->before = h->newest;
    *(h->newest ? &h->newest->after : &h->oldest) = st;
    h->newest = st;
    h2_stream_count(c, st);
    return st;
}

void h2_stream_free(struct http_conn *c, struct http2_stream *st)
{
    struct http2 *h = c->two;
    *(st->before ? &st->before->after : &h->oldest) = st->after;
    *(st->after ? &st->after->before : &h->newest) = st->before;
    h->held -= st->counted;
    h2_head_free(&st->head);
    buf_free(&st->body);
    free(st);
}

void h2_stream_count(struct http_conn *c, struct http2_stream *st)
{
    bool holds = st->state == H2_BODY || (st->state == H2_HEAD && st->head.status == 0)
                 || (st->state == H2_ANSWER && st->sent < st->body.n);
    size_t held = holds ? STREAM_COST + st->head.text.n + st->body.n : 0;
    c->two->held += held - st->counted;
    st->counted = held;
}

/* Forgets what was kept of the request. */
static void stream_set_state(struct http_conn *c, struct http2_stream *st, enum h2_state state)
{
    st->state = (uint8_t)state;
    if (state == H2_WAITING || state == H2_ANSWER)
        st->due_ms = INT64_MAX;
    h2_stream_count(c, st);
}

/* ---- answers ---- */

/* nghttp2 takes bytes of the answer's body. */
static ssize_t stream_give(nghttp2_session *session, int32_t id, uint8_t *out, size_t room, uint32_t *flags,
                           nghttp2_data_source *source, void *ctx)
{
    struct http2_stream *st = source->ptr;
    size_t left = st->body.n - st->sent, n = left < room ? left : room;
    (void)session;
    (void)id;
    if (n)
        memcpy(out, st->body.at + st->sent, n);
    st->sent += n;
    if (st->sent == st->body.n) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        h2_stream_count(ctx, st);
    }
    return (ssize_t)n;
}

static nghttp2_nv stream_field(struct str name, struct str value)
{
    return (nghttp2_nv){ .name = (uint8_t *)(uintptr_t)name.at,
                         .value = (uint8_t *)(uintptr_t)value.at,
                         .namelen = name.n,
                         .valuelen = value.n };
}

void h2_stream_answer(struct http_conn *c, struct http2_stream *st, int status, const struct header *headers,
                      size_t count, struct str body)
{
    char code[HTTP_DIGITS], length[HTTP_DIGITS];
    nghttp2_nv fields[STREAM_FIELDS];
    size_t n = 0;
    CHECK(count + 3 <= STREAM_FIELDS);
    fields[n++] = stream_field(STR(":status"), http_answer_digits((uint64_t)status, code));
    fields[n++] = stream_field(STR("date"), str_of(http_answer_date(c->s)));
    for (size_t i = 0; i < count; i++)
        if (http_answer_takes(&headers[i]))
            fields[n++] = stream_field(headers[i].name, headers[i].value);
    bool has_body = status != 204 && status != 304 && (!st->head_only || body.n);
    if (has_body)
        fields[n++] = stream_field(STR("content-length"), http_answer_digits(body.n, length));
    if (!has_body || st->head_only)
        body.n = 0;
    buf_free(&st->body);
    st->body = buf_new(HTTP_OUTPUT_MAX);
    buf_add_str(&st->body, body);
    stream_set_state(c, st, H2_ANSWER);
    st->due_ms = c->s->now_ms + c->s->lasts[DUE_ANSWER];
    const nghttp2_data_provider data = { .source.ptr = st, .read_callback = stream_give };
    if (nghttp2_submit_response(c->two->session, st->id, fields, n, body.n ? &data : NULL) != 0)
        http_wire_kill(c);
}

void h2_stream_fail(struct http_conn *c, struct http2_stream *st, int status)
{
    char text[HTTP_PROBLEM];
    const struct header headers[] = { { STR("Content-Type"), STR("application/problem+json") },
                                      { STR("Retry-After"), STR("1") } };
    h2_head_free(&st->head);
    http_answer_problem(status, text);
    http_answer_refused(c->s, status);
    h2_stream_answer(c, st, status, headers, status == 503 ? 2 : 1, str_of(text));
}

static void stream_reset(struct http_conn *c, struct http2_stream *st, uint32_t why)
{
    buf_free(&st->body);
    st->sent = 0;
    stream_set_state(c, st, H2_RESET);
    st->due_ms = INT64_MAX;
    nghttp2_submit_rst_stream(c->two->session, NGHTTP2_FLAG_NONE, st->id, why);
}

/* 503 without a body, which its client might not take. */
static void stream_send_away(struct http_conn *c, struct http2_stream *st)
{
    const struct header later = { STR("Retry-After"), STR("1") };
    h2_head_free(&st->head);
    http_answer_refused(c->s, 503);
    h2_stream_answer(c, st, 503, &later, 1, STR(""));
}

void h2_stream_give_up(struct http_conn *c, struct http2_stream *st)
{
    if (st->counted == 0)
        return;
    if (st->state == H2_BODY) {
        stream_send_away(c, st);
    } else if (st->state == H2_ANSWER) {
        stream_reset(c, st, NGHTTP2_CANCEL);
    } else {
        st->head.status = 503; /* once its head is here */
        buf_free(&st->head.text);
        h2_stream_count(c, st);
    }
}

/* ---- requests ---- */

/* The body is wanted. */
static void stream_begin_body(struct http_conn *c, struct http2_stream *st, bool asked_whether)
{
    st->body = buf_new((size_t)st->max_body);
    st->parts = c->s->body_parts;
    st->due_ms = c->s->now_ms + c->s->lasts[DUE_BODY];
    stream_set_state(c, st, H2_BODY);
    const nghttp2_nv go_on = stream_field(STR(":status"), STR("100"));
    if (asked_whether && !st->ended)
        nghttp2_submit_headers(c->two->session, NGHTTP2_FLAG_NONE, st->id, NULL, &go_on, 1, NULL);
}

void h2_stream_ask(struct http_conn *c, struct http2_stream *st)
{
    struct http_server *s = c->s;
    struct http1_head head;
    struct http_request r;
    int status = h2_head_end(&st->head, &head);
    if (status) {
        h2_stream_fail(c, st, status);
        return;
    }
    st->request = ++s->serial << HTTP_SLOT_BITS | c->slot;
    st->head_only = str_eq(head.method, STR("HEAD"));
    st->max_body = s->o.max_body.n;
    http_view_fill(c, st->request, &head, &r);
    stream_set_state(c, st, H2_WAITING);
    if (!http_view_ask(s, &r, &st->max_body) || st->state != H2_WAITING) {
        h2_head_free(&st->head);
        return;
    }
    if (head.content_length > st->max_body)
        h2_stream_fail(c, st, 413);
    else
        stream_begin_body(c, st, head.expect_continue);
}

/* A client that is reset while it sends may overlook its answer. */
void h2_stream_linger(struct http_conn *c, struct http2_stream *st)
{
    st->lingers = true;
    st->due_ms = c->s->now_ms + c->s->lasts[DUE_LINGER];
}

static void stream_throw_away(struct http_conn *c, struct http2_stream *st, size_t n)
{
    st->seen += n;
    if (st->state == H2_ANSWER && st->lingers && st->seen > LINGER_BYTES)
        stream_reset(c, st, NGHTTP2_NO_ERROR); /* nobody listens (RFC 9113 8.1) */
}

void h2_stream_data(struct http_conn *c, struct http2_stream *st, struct str data)
{
    if (st->state != H2_BODY) {
        stream_throw_away(c, st, data.n);
        return;
    }
    if (data.n > (uint64_t)st->max_body - st->body.n) {
        h2_stream_fail(c, st, 413);
        return;
    }
    buf_add_str(&st->body, data);
    h2_stream_count(c, st);
}

void h2_stream_whole(struct http_conn *c, struct http2_stream *st)
{
    struct http_server *s = c->s;
    struct http1_head head;
    struct http_request r;
    st->ended = true;
    if (st->state != H2_BODY)
        return;
    struct buf text = st->head.text, body = st->body;
    st->head.text = st->body = (struct buf){ 0 };
    CHECK(http1_head(buf_str(&text), text.n + 1, &head) > 0);
    http_view_fill(c, st->request, &head, &r);
    r.body = buf_str(&body);
    stream_set_state(c, st, H2_WAITING);
    if (http_view_is_for_server(&r))
        h2_stream_answer(c, st, 204, NULL, 0, STR(""));
    else
        s->events.request(s->events.ctx, &r);
    buf_free(&text);
    buf_free(&body);
}

/* ---- deadlines ---- */

/* A part of the time for the body is over: there may be more of it, and what came was fast enough. */
static bool stream_body_goes_on(const struct http_conn *c, struct http2_stream *st)
{
    int64_t came = (int64_t)(st->body.n - st->seen), part_ms = c->s->lasts[DUE_BODY];
    if (--st->parts == 0 || came * 1000 < c->s->o.min_body_rate.n * part_ms)
        return false;
    st->seen = st->body.n;
    st->due_ms = c->s->now_ms + part_ms;
    return true;
}

bool h2_stream_late(struct http_conn *c, struct http2_stream *st)
{
    if (st->state == H2_BODY && stream_body_goes_on(c, st))
        return true;
    if (st->state == H2_BODY) {
        h2_stream_fail(c, st, 408);
        return true;
    }
    if (st->lingers) {
        stream_reset(c, st, NGHTTP2_NO_ERROR);
        return true;
    }
    metric_add(c->s->refused[REFUSED_TIMEOUT], 1);
    if (st->state == H2_HEAD || http_wire_waits(c)) /* nothing else comes, or goes, before it */
        return false;
    stream_reset(c, st, NGHTTP2_CANCEL); /* its answer is not taken */
    return true;
}
