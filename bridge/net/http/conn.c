/* SPDX-License-Identifier: MIT */
/* One connection of the HTTP server: reading requests, answering them, ending. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "bridge/lib/mem.h"
#include "bridge/net/http/private.h"

static struct http_work *work_of(struct http_conn *c)
{
    if (c->work)
        return c->work;
    c->work = mem_alloc(sizeof *c->work);
    /* What is kept of the input is bounded by one read on top of one head. */
    c->work->in = buf_new((size_t)c->s->o.max_head.n + 2 * HTTP_INPUT);
    c->work->out = buf_new(HTTP_OUTPUT_MAX);
    return c->work;
}

void http_work_free(struct http_conn *c)
{
    if (!c->work)
        return;
    c->s->held -= c->work->held;
    buf_free(&c->work->in);
    buf_free(&c->work->head);
    buf_free(&c->work->body);
    buf_free(&c->work->out);
    free(c->work);
    c->work = NULL;
}

/* An idle connection keeps no buffers. */
static void tidy(struct http_conn *c)
{
    if (c->work && c->state != HTTP_BODY && c->work->in.n == 0 && c->work->out.n == 0)
        http_work_free(c);
}

void http_set_state(struct http_conn *c, enum http_state state)
{
    c->s->waiting += (size_t)(state == HTTP_WAITING) - (size_t)(c->state == HTTP_WAITING);
    c->state = (uint8_t)state;
}

/* ---- sending ---- */

void http_conn_kill(struct http_conn *c)
{
    if (c->state == HTTP_DEAD)
        return;
    http_stream_end(c);
    http_set_state(c, HTTP_DEAD);
    c->id = 0;
    conn_close(&c->io, c->s->loop);
    http_forget(c);
}

static bool has_out(const struct http_conn *c)
{
    return (c->work && c->work->out.n) || conn_pending(&c->io);
}

void http_conn_put(struct http_conn *c, struct str bytes)
{
    if (c->state == HTTP_DEAD)
        return;
    long n = 0;
    if (!has_out(c))
        n = conn_write(&c->io, bytes.at, bytes.n);
    if (n < 0) {
        http_conn_kill(c);
        return;
    }
    if ((size_t)n < bytes.n)
        buf_add(&work_of(c)->out, bytes.at + n, bytes.n - (size_t)n);
}

bool http_conn_flush(struct http_conn *c)
{
    if (!has_out(c))
        return true;
    struct str out = c->work ? buf_str(&c->work->out) : STR("");
    long n = conn_write(&c->io, out.at, out.n);
    if (n < 0) {
        http_conn_kill(c);
        return false;
    }
    if (n > 0)
        buf_drop(&c->work->out, (size_t)n);
    return !has_out(c);
}

/* All is said: shut our side and wait until the peer has read it and shuts its own. Closing at once would reset the
 * connection when there is input that nobody read, and the reset may overtake the answer. */
static void linger(struct http_conn *c)
{
    conn_end_write(&c->io);
    http_set_state(c, HTTP_LINGER);
    http_set_due(c, DUE_LINGER);
    if (c->s->feeding == c)
        return; /* which still reads what is kept, and goes on reading by itself */
    http_work_free(c);
    if (c->readable)
        http_later(c);
}

void http_conn_finish(struct http_conn *c)
{
    if (c->state == HTTP_DEAD || c->state == HTTP_LINGER)
        return;
    c->keep_alive = false;
    http_stream_end(c);
    if (has_out(c)) {
        http_set_state(c, HTTP_ANSWER);
        http_set_due(c, DUE_ANSWER);
    } else {
        linger(c);
    }
}

/* The answer is with the kernel. */
static void answered(struct http_conn *c)
{
    if (!c->keep_alive) {
        linger(c);
        return;
    }
    http_set_state(c, HTTP_HEAD);
    http_set_due(c, DUE_IDLE);
    c->head_only = false;
    if (c->s->feeding == c)
        return;
    tidy(c);
    c->unread = c->work != NULL;
    if (c->readable || c->unread)
        http_later(c);
}

/* ---- answers ---- */

static void answer(struct http_conn *c, int status, const struct header *headers, size_t count, struct str body)
{
    struct http_server *s = c->s;
    struct buf *out = http_answer_begin(s, status, headers, count);
    if (status >= 200 && status != 204 && status != 304)
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
    http_conn_put(c, buf_str(out));
    if (out->cap > 2 * HTTP_INPUT)
        buf_free(out);
    if (c->state == HTTP_DEAD)
        return;
    if (!has_out(c)) {
        answered(c);
        return;
    }
    http_set_state(c, HTTP_ANSWER);
    http_set_due(c, DUE_ANSWER);
}

struct http_conn *http_conn_of(const struct http_server *s, uint64_t id)
{
    size_t slot = id & ((1u << HTTP_SLOT_BITS) - 1);
    struct http_conn *c = slot < s->slots ? s->conns[slot] : NULL;
    return c && id && c->id == id ? c : NULL;
}

void http_server_reply(struct http_server *s, uint64_t id, int status, const struct header *headers, size_t count,
                       struct str body)
{
    struct http_conn *c = http_conn_of(s, id);
    if (!c || c->state != HTTP_WAITING)
        return;
    if (s->stopping)
        c->keep_alive = false;
    answer(c, status, headers, count, body);
}

/* Our own answer to what we do not take; the connection ends with it. */
void http_refuse(struct http_conn *c, int status, const struct header *headers, size_t count)
{
    char text[64];
    snprintf(text, sizeof text, "%s\n", http_status_text(status));
    c->keep_alive = false;
    answer(c, status, headers, count, str_of(text));
}

static void refuse(struct http_conn *c, int status)
{
    enum http_refused why = status == 408                                     ? REFUSED_TIMEOUT
                            : status == 413 || status == 414 || status == 431 ? REFUSED_SIZE
                            : status == 503                                   ? REFUSED_MEMORY
                                                                              : REFUSED_REQUEST;
    const struct header later = { STR("Retry-After"), STR("1") };
    metric_add(c->s->refused[why], 1);
    http_refuse(c, status, &later, status == 503);
}

/* ---- requests ---- */

static void fill_request(const struct http_conn *c, const struct http1_head *head, struct http_request *r)
{
    *r = (struct http_request){
        .id = c->id,
        .method = head->method,
        .target = head->target,
        .headers = head->headers,
        .header_count = head->header_count,
        .peer = str_of(c->peer),
    };
    struct str path = head->target;
    if (path.at[0] != '/' && path.at[0] != '*') {
        /* The absolute form: the path begins behind the authority, whose Host was checked. */
        const char *authority = memchr(path.at, '/', path.n);
        path.n -= (size_t)(authority + 2 - path.at);
        path.at = authority + 2;
        while (path.n && path.at[0] != '/' && path.at[0] != '?') {
            path.at++;
            path.n--;
        }
    }
    const char *question = path.n ? memchr(path.at, '?', path.n) : NULL;
    if (question)
        r->query = (struct str){ question + 1, (size_t)(path.at + path.n - question - 1) };
    r->path = (struct str){ path.at, question ? (size_t)(question - path.at) : path.n };
    if (r->path.n == 0)
        r->path = STR("/");
}

static void whole(struct http_conn *c, const struct http_request *r)
{
    http_set_state(c, HTTP_WAITING);
    http_set_due(c, DUE_NEVER);
    c->s->events.request(c->s->events.ctx, r);
}

static void start_body(struct http_conn *c, const struct http1_head *head, struct str bytes, int64_t max_body)
{
    struct http_work *w = work_of(c);
    w->head = buf_new(bytes.n);
    buf_add_str(&w->head, bytes);
    w->body = buf_new((size_t)max_body);
    w->max_body = max_body;
    w->chunked = head->chunked;
    w->chunks = (struct http1_chunks){ 0 };
    w->left = head->content_length;
    http_set_state(c, HTTP_BODY);
    http_set_due(c, DUE_BODY);
}

static void skip(struct str *in, size_t n)
{
    in->at += n;
    in->n -= n;
}

/* Asks the user about the head. False: the request is answered or will be, and its body is not wanted. */
static bool welcome(struct http_conn *c, const struct http_request *r, int64_t *max_body)
{
    struct http_server *s = c->s;
    if (!s->events.head)
        return true;
    int64_t limit = *max_body;
    bool yes = s->events.head(s->events.ctx, r, &limit);
    if (limit < *max_body)
        *max_body = limit < 0 ? 0 : limit;
    return yes && c->id == r->id;
}

static void begin_request(struct http_conn *c, const struct http1_head *head, struct str bytes, struct str *in)
{
    struct http_server *s = c->s;
    struct http_request r;
    c->id = ++s->serial << HTTP_SLOT_BITS | c->slot;
    c->old = head->minor == 0;
    c->head_only = str_eq(head->method, STR("HEAD"));
    fill_request(c, head, &r);
    /* Until the body is wanted: the connection can go on only if what it would have to skip is here. */
    bool body_here = !head->chunked && (uint64_t)head->content_length <= in->n;
    c->keep_alive = head->keep_alive && body_here && !s->stopping;
    http_set_state(c, HTTP_WAITING);
    http_set_due(c, DUE_NEVER);
    int64_t max_body = s->o.max_body.n;
    if (!welcome(c, &r, &max_body)) {
        if (body_here)
            skip(in, (size_t)head->content_length);
        return;
    }
    if (!head->chunked && head->content_length > max_body) {
        refuse(c, 413);
        return;
    }
    c->keep_alive = head->keep_alive && !s->stopping;
    if (body_here) {
        r.body = (struct str){ in->at, (size_t)head->content_length };
        skip(in, r.body.n);
        whole(c, &r);
        return;
    }
    start_body(c, head, bytes, max_body);
    if (head->expect_continue && in->n == 0)
        http_conn_put(c, STR("HTTP/1.1 100 Continue\r\n\r\n"));
}

static void take_head(struct http_conn *c, struct str *in)
{
    struct http1_head head;
    long n = http1_head(*in, (size_t)c->s->o.max_head.n, &head);
    if (n < 0) {
        refuse(c, (int)-n);
    } else if (n > 0) {
        struct str bytes = { in->at, (size_t)n };
        skip(in, (size_t)n);
        begin_request(c, &head, bytes, in);
    } else if (c->due != DUE_HEAD) {
        http_set_due(c, DUE_HEAD);
    }
}

/* 1: the body is whole; 0: not yet; < 0: minus the status. */
static int body_bytes(struct http_work *w, struct str *in)
{
    if (w->chunked)
        return http1_chunks(&w->chunks, in, &w->body, w->max_body);
    size_t n = in->n < (uint64_t)w->left ? in->n : (size_t)w->left;
    buf_add(&w->body, in->at, n);
    skip(in, n);
    w->left -= (int64_t)n;
    return w->left == 0;
}

static void take_body(struct http_conn *c, struct str *in)
{
    struct http_work *w = c->work;
    int done = body_bytes(w, in);
    if (done < 0)
        refuse(c, -done);
    if (done <= 0)
        return;
    /* The head is parsed once more: cheaper than keeping a hundred header slots for every request that waits for its
     * body. */
    struct http1_head head;
    struct buf head_bytes = w->head, body = w->body;
    w->head = w->body = (struct buf){ 0 };
    CHECK(http1_head(buf_str(&head_bytes), head_bytes.n + 1, &head) > 0);
    struct http_request r;
    fill_request(c, &head, &r);
    r.body = buf_str(&body);
    whole(c, &r);
    buf_free(&head_bytes);
    buf_free(&body);
}

/* ---- input ---- */

static void keep(struct http_conn *c, struct str rest, bool from_kept)
{
    bool last = !c->keep_alive && (c->state == HTTP_WAITING || c->state == HTTP_ANSWER);
    if (last || c->state == HTTP_DEAD || c->state == HTTP_LINGER) {
        if (c->work)
            buf_reset(&c->work->in);
        return;
    }
    if (from_kept)
        buf_drop(&c->work->in, c->work->in.n - rest.n);
    else if (rest.n)
        buf_add_str(&work_of(c)->in, rest);
}

/* Many who send slowly must not take all memory: whoever asks for more than there is for all of them has to come
 * again. */
static void count_held(struct http_conn *c)
{
    struct http_work *w = c->work;
    if (!w)
        return;
    size_t held = w->in.n + w->head.n + w->body.n;
    bool grew = held > w->held;
    c->s->held += held - w->held;
    w->held = held;
    if (!grew || c->s->held <= (size_t)c->s->o.max_held.n)
        return;
    if (c->state == HTTP_HEAD || c->state == HTTP_BODY) {
        refuse(c, 503);
    } else if (c->state == HTTP_WAITING || c->state == HTTP_ANSWER) {
        c->keep_alive = false; /* what was sent ahead of its turn is not answered */
        c->s->held -= held;
        w->held = 0;
        buf_free(&w->in);
    }
}

static void feed(struct http_conn *c, struct str in)
{
    bool from_kept = c->work && c->work->in.n;
    if (from_kept && in.n) {
        /* A head is complete only with a line's end, so an attacker's single bytes cost no parsing each. */
        struct buf *kept = &c->work->in;
        bool parse = c->state != HTTP_HEAD || memchr(in.at, '\n', in.n) || kept->n + in.n >= (size_t)c->s->o.max_head.n;
        buf_add_str(kept, in);
        CHECK(!kept->failed);
        if (!parse) {
            count_held(c);
            return;
        }
    }
    if (from_kept)
        in = buf_str(&c->work->in);
    c->s->feeding = c;
    for (size_t before = in.n + 1; in.n && in.n < before && (c->state == HTTP_HEAD || c->state == HTTP_BODY);) {
        before = in.n;
        if (c->state == HTTP_HEAD)
            take_head(c, &in);
        else
            take_body(c, &in);
    }
    if (c->state == HTTP_STREAM) {
        http_stream_input(c, in);
        in.n = 0;
    }
    c->s->feeding = NULL;
    keep(c, in, from_kept);
    count_held(c);
}

static void drain(struct http_conn *c, size_t n)
{
    c->drained += (uint32_t)n;
    if (c->drained > HTTP_LINGER_BYTES)
        http_conn_kill(c);
}

static bool wants_bytes(const struct http_conn *c)
{
    return c->state == HTTP_HEAD || c->state == HTTP_BODY || c->state == HTTP_STREAM || c->state == HTTP_LINGER;
}

static void read_on(struct http_conn *c)
{
    struct http_server *s = c->s;
    for (int i = 0; c->readable && wants_bytes(c); i++) {
        if (i == HTTP_READS) {
            http_later(c);
            return;
        }
        long n = conn_read(&c->io, s->input, sizeof s->input);
        if (n == CONN_AGAIN) {
            c->readable = false;
            return;
        }
        if (n <= 0) {
            http_conn_kill(c);
            return;
        }
        /* A short read has emptied the socket, and what comes later gives a new event; unless the peer's end is
         * behind it. */
        if (!c->io.ssl && (size_t)n < sizeof s->input && !c->ended)
            c->readable = false;
        if (c->state == HTTP_LINGER)
            drain(c, (size_t)n);
        else
            feed(c, (struct str){ s->input, (size_t)n });
    }
}

void http_conn_continue(struct http_conn *c)
{
    if (c->unread && c->state == HTTP_HEAD)
        feed(c, STR(""));
    c->unread = false;
    read_on(c);
    if (c->state != HTTP_DEAD)
        tidy(c);
}

static void writable(struct http_conn *c)
{
    if (c->state == HTTP_STREAM) {
        if (http_conn_flush(c))
            http_stream_ready(c);
    } else if (http_conn_flush(c) && c->state == HTTP_ANSWER) {
        answered(c);
    }
}

static void ready(struct loop_handler *h, uint32_t events)
{
    struct http_conn *c = (struct http_conn *)(void *)h;
    c->s->now_ms = clock_mono_ms();
    bool gone = events & EPOLLERR || (events & EPOLLHUP && c->state == HTTP_WAITING);
    if (gone) {
        http_conn_kill(c);
        return;
    }
    c->ended |= (events & (EPOLLRDHUP | EPOLLHUP)) != 0;
    c->readable |= (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) != 0;
    if (events & EPOLLOUT)
        writable(c);
    http_conn_continue(c);
}

/* ---- begin and end ---- */

static uint32_t new_slot(struct http_server *s)
{
    if (s->free_count == 0) {
        size_t slots = s->slots ? 2 * s->slots : 64;
        s->conns = mem_grow(s->conns, slots, sizeof(struct http_conn *));
        s->free_slots = mem_grow(s->free_slots, slots, sizeof *s->free_slots);
        for (size_t i = slots; i-- > s->slots;) {
            s->conns[i] = NULL;
            s->free_slots[s->free_count++] = (uint32_t)i;
        }
        s->slots = slots;
    }
    return s->free_slots[--s->free_count];
}

void http_conn_new(struct http_server *s, int fd, const char *peer, bool is_welcome)
{
    size_t peer_n = strlen(peer) + 1;
    struct http_conn *c = mem_alloc(sizeof *c + peer_n);
    memcpy(c->peer, peer, peer_n);
    c->s = s;
    c->io.handler.ready = ready;
    c->due = DUE_NEVER;
    c->keep_alive = true;
    if (!conn_open(&c->io, fd, s->tls, s->loop)) {
        free(c);
        return;
    }
    c->slot = new_slot(s);
    s->conns[c->slot] = c;
    s->count++;
    metric_add(s->connections, 1);
    http_set_due(c, s->tls ? DUE_HEAD : DUE_IDLE);
    if (!is_welcome && s->tls)
        http_conn_kill(c);
    else if (!is_welcome)
        http_refuse(c, 503, (const struct header[]){ { STR("Retry-After"), STR("1") } }, 1);
}

void http_conn_timeout(struct http_conn *c, enum http_due kind)
{
    if (c->state == HTTP_STREAM) {
        http_stream_timeout(c, kind);
        return;
    }
    /* Silence between requests is no fault. */
    if (kind == DUE_IDLE || kind == DUE_LINGER) {
        http_conn_kill(c);
        return;
    }
    /* A handshake that hangs, or an answer that is not taken, has nobody to tell. */
    if (kind != DUE_ANSWER && conn_is_ready(&c->io)) {
        refuse(c, 408);
        return;
    }
    metric_add(c->s->refused[REFUSED_TIMEOUT], 1);
    http_conn_kill(c);
}

struct str http_header(const struct http_request *r, const char *name, size_t *count)
{
    struct str wanted = str_of(name), value = STR_ABSENT;
    size_t n = 0;
    for (size_t i = 0; i < r->header_count; i++)
        if (str_eq_nocase(r->headers[i].name, wanted) && n++ == 0)
            value = r->headers[i].value;
    if (count)
        *count = n;
    return value;
}
