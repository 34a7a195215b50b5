/* SPDX-License-Identifier: MIT */
/* HTTP/1 on a connection: requests come in, one at a time; their answers go out.
 *
 *   REQUEST_HEAD --head--> REQUEST_BODY --body--> REQUEST_WAITING --reply--> REQUEST_ANSWER --with the kernel--> REQUEST_HEAD
 *
 * What is here already is not waited for: most requests go from HEAD to WAITING, and most answers back to HEAD at once. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/mem.h"
#include "bridge/net/http/h1.h"
#include "bridge/net/http/private.h"

enum { REFUSAL_HEADERS = 4 }; /* most headers of our own answer to what is not taken */

/* Kept of a request that is incomplete, and of what was sent ahead of its turn. */
struct http_work {
    struct buf in;         /* received, not looked at yet */
    struct buf head, body; /* of the request whose body is incomplete */
    struct http1_chunks chunks;
    int64_t max_body, left; /* left: of a body with Content-Length */
    size_t seen;            /* bytes of the body when its rate was last looked at */
    int parts;              /* of body_timeout that are left, this one included */
    bool chunked;
};

static struct http_work *request_work(struct http_conn *c)
{
    if (c->work)
        return c->work;
    c->work = mem_alloc(sizeof *c->work);
    /* What is kept of the input is bounded by one read on top of one head. */
    c->work->in = buf_new((size_t)c->s->o.max_head.n + 2 * HTTP_INPUT);
    return c->work;
}

/* The connection has it no more; it is the caller's. NULL: there was none. */
static struct http_work *request_take_work(struct http_conn *c)
{
    struct http_work *w = c->work;
    c->work = NULL;
    if (w)
        http_holders_hold(c, 0);
    return w;
}

static void request_work_free(struct http_work *w)
{
    if (!w)
        return;
    buf_free(&w->in);
    buf_free(&w->head);
    buf_free(&w->body);
    free(w);
}

static void request_free_work(struct http_conn *c)
{
    request_work_free(request_take_work(c));
}

/* An idle connection keeps no buffers. */
static void request_tidy(struct http_conn *c)
{
    if (c->work && c->request != REQUEST_BODY && c->work->in.n == 0)
        request_free_work(c);
}

static void request_set_state(struct http_conn *c, enum http_request_state state)
{
    c->request = state & 3u;
    c->paused = state == REQUEST_WAITING || state == REQUEST_ANSWER;
}

/* ---- answers ---- */

/* The answer is with the kernel: on to the next request, or the end. */
static void request_answered(struct http_conn *c)
{
    if (!c->keep_alive) {
        http_wire_finish(c);
        return;
    }
    request_set_state(c, REQUEST_HEAD);
    http_schedule_due(c, DUE_IDLE);
    c->head_only = false;
    if (c->feeding)
        return;
    request_tidy(c);
    c->unread = c->work != NULL;
    if (c->readable || c->unread)
        http_schedule_later(c);
}

static void request_answer(struct http_conn *c, int status, const struct header *headers, size_t count, struct str body)
{
    struct http_server *s = c->s;
    struct buf *out = http_answer_begin(s, status, headers, count);
    /* The length of what HEAD asks about is left out when the user does not say it. */
    if (status >= 200 && status != 204 && status != 304 && (!c->head_only || body.n))
        http_answer_length(out, body.n);
    else
        body.n = 0;
    if (!c->keep_alive)
        buf_add_str(out, STR("Connection: close\r\n"));
    else if (c->old)
        buf_add_str(out, STR("Connection: keep-alive\r\n"));
    buf_add_str(out, STR("\r\n"));
    if (!c->head_only)
        buf_add_str(out, body);
    CHECK(!out->failed);
    c->id = 0;
    http_wire_put(c, buf_str(out));
    if (out->cap > 2 * HTTP_INPUT)
        buf_free(out);
    if (c->state == HTTP_DEAD)
        return;
    if (!http_wire_waits(c)) {
        request_answered(c);
        return;
    }
    request_set_state(c, REQUEST_ANSWER);
    http_schedule_due(c, DUE_ANSWER);
}

struct http_conn *http_request_conn(const struct http_server *s, uint64_t id)
{
    size_t slot = id & ((1u << HTTP_SLOT_BITS) - 1);
    struct http_conn *c = slot < s->slots ? s->conns[slot] : NULL;
    return c && id && c->id == id && c->request == REQUEST_WAITING ? c : NULL;
}

static void request_reply(struct http_conn *c, uint64_t id, int status, const struct header *headers, size_t count,
                          struct str body)
{
    if (c->id != id || c->request != REQUEST_WAITING)
        return;
    if (c->s->stopping)
        c->keep_alive = false;
    request_answer(c, status, headers, count, body);
}

void http_request_refuse(struct http_conn *c, int status, const struct header *headers, size_t count)
{
    char text[HTTP_PROBLEM];
    struct header all[REFUSAL_HEADERS] = { { STR("Content-Type"), STR("application/problem+json") } };
    CHECK(count < REFUSAL_HEADERS);
    for (size_t i = 0; i < count; i++)
        all[i + 1] = headers[i];
    http_answer_problem(status, text);
    c->keep_alive = false;
    request_answer(c, status, all, count + 1, str_of(text));
}

/* Refuses what the client sent, and counts it. */
static void request_fail(struct http_conn *c, int status)
{
    const struct header later = { STR("Retry-After"), STR("1") };
    http_answer_refused(c->s, status);
    http_request_refuse(c, status, &later, status == 503);
}

/* ---- head and body ---- */

/* The request is whole: it is the user's. */
static void request_hand_over(struct http_conn *c, const struct http_request *r)
{
    request_set_state(c, REQUEST_WAITING);
    http_schedule_due(c, DUE_NEVER);
    if (http_view_is_for_server(r)) {
        request_answer(c, 204, NULL, 0, STR(""));
        return;
    }
    c->s->events.request(c->s->events.ctx, r);
}

static void request_skip(struct str *in, size_t n)
{
    in->at += n;
    in->n -= n;
}

/* Keeps the head and waits for the body. */
static void request_start_body(struct http_conn *c, const struct http1_head *head, struct str bytes, int64_t max_body)
{
    struct http_work *w = request_work(c);
    w->head = buf_new(bytes.n);
    buf_add_str(&w->head, bytes);
    w->body = buf_new((size_t)max_body);
    w->max_body = max_body;
    w->chunked = head->chunked;
    w->chunks = (struct http1_chunks){ 0 };
    w->left = head->content_length;
    w->seen = 0;
    w->parts = c->s->body_parts;
    request_set_state(c, REQUEST_BODY);
    http_schedule_due(c, DUE_BODY);
}

/* The head is whole; *in is what follows it. */
static void request_begin(struct http_conn *c, const struct http1_head *head, struct str bytes, struct str *in)
{
    struct http_server *s = c->s;
    struct http_request r;
    c->id = ++s->serial << HTTP_SLOT_BITS | c->slot;
    c->asked = true;
    c->old = head->minor == 0;
    c->head_only = str_eq(head->method, STR("HEAD"));
    http_view_fill(c, c->id, head, &r);
    /* Until the body is wanted: the connection can go on only if what it would have to skip is here. */
    bool body_here = !head->chunked && (uint64_t)head->content_length <= in->n;
    c->keep_alive = head->keep_alive && body_here && !s->stopping;
    request_set_state(c, REQUEST_WAITING);
    http_schedule_due(c, DUE_NEVER);
    int64_t max_body = s->o.max_body.n;
    if (!http_view_ask(s, &r, &max_body) || c->id != r.id) {
        if (body_here)
            request_skip(in, (size_t)head->content_length);
        return;
    }
    if (!head->chunked && head->content_length > max_body) {
        request_fail(c, 413);
        return;
    }
    c->keep_alive = head->keep_alive && !s->stopping;
    if (body_here) {
        r.body = (struct str){ in->at, (size_t)head->content_length };
        request_skip(in, r.body.n);
        request_hand_over(c, &r);
        return;
    }
    request_start_body(c, head, bytes, max_body);
    if (head->expect_continue && in->n == 0)
        http_wire_put(c, STR("HTTP/1.1 100 Continue\r\n\r\n"));
}

/* True if *in is the beginning of the preface that HTTP/2 begins with; all of it: HTTP/2 takes over. */
static bool request_may_be_two(struct http_conn *c, struct str in)
{
    struct str preface = STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    if (c->asked || c->s->o.http2_streams <= 0
        || !(in.n < preface.n ? str_starts(preface, in) : str_starts(in, preface)))
        return false;
    if (in.n >= preface.n)
        http2_begin(c);
    return true;
}

static void request_take_head(struct http_conn *c, struct str *in)
{
    struct http1_head head;
    long n = http1_head(*in, (size_t)c->s->o.max_head.n, &head);
    if (n == -505 && request_may_be_two(c, *in))
        n = 0;
    if (c->protocol != &http_requests)
        return;
    if (n < 0) {
        request_fail(c, (int)-n);
    } else if (n > 0) {
        struct str bytes = { in->at, (size_t)n };
        request_skip(in, (size_t)n);
        request_begin(c, &head, bytes, in);
    } else if (c->due != DUE_HEAD) {
        http_schedule_due(c, DUE_HEAD);
    }
}

/* 1: the body is whole; 0: not yet; < 0: minus the status. */
static int request_body_bytes(struct http_work *w, struct str *in)
{
    if (w->chunked)
        return http1_chunks(&w->chunks, in, &w->body, w->max_body);
    size_t n = in->n < (uint64_t)w->left ? in->n : (size_t)w->left;
    buf_add(&w->body, in->at, n);
    request_skip(in, n);
    w->left -= (int64_t)n;
    return w->left == 0;
}

static void request_take_body(struct http_conn *c, struct str *in)
{
    struct http_work *w = c->work;
    CHECK(w);
    int done = request_body_bytes(w, in);
    if (done < 0)
        request_fail(c, -done);
    if (done <= 0)
        return;
    /* The head is parsed once more: cheaper than keeping a hundred header slots for every request that waits for its
     * body. */
    struct http1_head head;
    struct buf head_bytes = w->head, body = w->body;
    w->head = w->body = (struct buf){ 0 };
    CHECK(http1_head(buf_str(&head_bytes), head_bytes.n + 1, &head) > 0);
    struct http_request r;
    http_view_fill(c, c->id, &head, &r);
    r.body = buf_str(&body);
    request_hand_over(c, &r);
    buf_free(&head_bytes);
    buf_free(&body);
}

/* ---- input ---- */

/* Keeps what was not looked at for later, unless the connection ends with this request. */
static void request_keep(struct http_conn *c, struct str rest, bool from_kept)
{
    if (c->state != HTTP_OPEN || (c->paused && !c->keep_alive)) {
        if (c->work)
            buf_reset(&c->work->in);
        return;
    }
    if (from_kept)
        buf_drop(&c->work->in, c->work->in.n - rest.n);
    else if (rest.n)
        buf_add_str(&request_work(c)->in, rest);
}

/* Refuses what is kept of an incomplete request, or of requests ahead of their turn. */
static void request_give_up(struct http_conn *c)
{
    if (!c->paused) {
        request_fail(c, 503);
        return;
    }
    c->keep_alive = false; /* what was sent ahead of its turn is not answered */
    http_holders_hold(c, 0);
    buf_free(&c->work->in);
}

/* Many who send slowly must not take all memory: whoever asks for more than there is for its address, or for all of
 * them, has to come again. */
static void request_count_held(struct http_conn *c)
{
    const struct http_work *w = c->work;
    if (w && !http_holders_grow(c, w->in.n + w->head.n + w->body.n) && c->state == HTTP_OPEN)
        request_give_up(c);
}

/* Puts new input behind what is kept. False: there is nothing to look at yet. */
static bool request_append(struct http_conn *c, struct str in)
{
    struct buf *kept = &c->work->in;
    /* A head is complete only with a line's end, so an attacker's single bytes cost no parsing each. */
    bool parse = c->request != REQUEST_HEAD || memchr(in.at, '\n', in.n)
                 || kept->n + in.n >= (size_t)c->s->o.max_head.n;
    buf_add_str(kept, in);
    CHECK(!kept->failed);
    return parse;
}

/* Takes heads and bodies from *in as long as that leads on. */
static void request_take(struct http_conn *c, struct str *in)
{
    c->feeding = true;
    for (size_t before = in->n + 1;
         in->n && in->n < before && c->state == HTTP_OPEN && !c->paused && c->protocol == &http_requests;) {
        before = in->n;
        if (c->request == REQUEST_HEAD)
            request_take_head(c, in);
        else
            request_take_body(c, in);
    }
    c->feeding = false;
}

/* The connection was taken over, by the user or by HTTP/2: the rest of the input is another protocol's. */
static void request_hand_on(struct http_conn *c, struct str in)
{
    struct http_work *w = request_take_work(c);
    if (c->state == HTTP_OPEN)
        c->protocol->input(c, in);
    request_work_free(w);
}

static void request_input(struct http_conn *c, struct str in)
{
    bool from_kept = c->work && c->work->in.n;
    if (from_kept && in.n && !request_append(c, in)) {
        request_count_held(c);
        return;
    }
    if (from_kept)
        in = buf_str(&c->work->in);
    request_take(c, &in);
    if (c->protocol != &http_requests) {
        request_hand_on(c, in);
        return;
    }
    request_keep(c, in, from_kept);
    request_count_held(c);
    request_tidy(c);
}

/* ---- the rest of the protocol ---- */

static void request_writable(struct http_conn *c)
{
    if (c->request == REQUEST_ANSWER)
        request_answered(c);
}

/* A part of the time for the body is over: there may be more of it, and what came was fast enough. */
static bool request_body_goes_on(struct http_conn *c)
{
    struct http_work *w = c->work;
    size_t came = w->body.n - w->seen;
    if (--w->parts == 0 || (int64_t)came * 1000 < c->s->o.min_body_rate.n * c->s->lasts[DUE_BODY])
        return false;
    w->seen = w->body.n;
    http_schedule_due(c, DUE_BODY);
    return true;
}

static void request_timeout(struct http_conn *c, enum http_due kind)
{
    if (kind == DUE_BODY && request_body_goes_on(c))
        return;
    /* Silence between requests is no fault. */
    if (kind == DUE_IDLE) {
        http_wire_kill(c);
        return;
    }
    /* A handshake or PROXY header that hangs, or an answer that is not taken, has nobody to tell. */
    if (kind != DUE_ANSWER && conn_is_ready(&c->io) && !c->proxying) {
        request_fail(c, 408);
        return;
    }
    metric_add(c->s->refused[REFUSED_TIMEOUT], 1);
    http_wire_kill(c);
}

static void request_stop(struct http_conn *c)
{
    if (c->request == REQUEST_HEAD && !c->work && !c->readable)
        http_wire_finish(c);
}

static bool request_gives_way(const struct http_conn *c)
{
    return c->request != REQUEST_WAITING;
}

/* Others need what it holds. */
static void request_give_way(struct http_conn *c)
{
    if (c->state == HTTP_OPEN)
        request_give_up(c);
    if (!c->paused || c->state != HTTP_OPEN)
        request_free_work(c);
}

const struct http_protocol http_requests = {
    .input = request_input,
    .reply = request_reply,
    .writable = request_writable,
    .timeout = request_timeout,
    .stop = request_stop,
    .gives_way = request_gives_way,
    .give_up = request_give_way,
    .end = request_free_work,
};
