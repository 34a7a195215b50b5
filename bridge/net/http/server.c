/* SPDX-License-Identifier: MIT */
/* The HTTP server itself: options, listener, rounds, deadlines, what is done later. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "bridge/net/http/private.h"

enum { ACCEPTS = 64, ACCEPT_PAUSE_MS = 100, REFUSED_ROOM = 64 };

/* ---- deadlines and the later list ---- */

static void leave_queue(struct http_conn *c)
{
    if (c->due == DUE_NEVER)
        return;
    struct http_queue *q = &c->s->queues[c->due];
    *(c->before ? &c->before->after : &q->first) = c->after;
    *(c->after ? &c->after->before : &q->last) = c->before;
    c->due = DUE_NEVER;
}

void http_set_due(struct http_conn *c, enum http_due kind)
{
    leave_queue(c);
    if (kind == DUE_NEVER)
        return;
    struct http_queue *q = &c->s->queues[kind];
    c->due = (uint8_t)kind;
    c->due_ms = c->s->now_ms + c->s->lasts[kind];
    c->before = q->last;
    c->after = NULL;
    *(q->last ? &q->last->after : &q->first) = c;
    q->last = c;
}

void http_later(struct http_conn *c)
{
    struct http_server *s = c->s;
    if (c->is_later)
        return;
    c->is_later = true;
    c->next_later = NULL;
    *(s->later_last ? &s->later_last->next_later : &s->later_first) = c;
    s->later_last = c;
}

void http_forget(struct http_conn *c)
{
    http_set_due(c, DUE_NEVER);
    http_later(c);
}

static void expire(struct http_server *s)
{
    for (enum http_due kind = 0; kind < DUE_KINDS; kind++) {
        struct http_conn *c;
        while ((c = s->queues[kind].first) && c->due_ms <= s->now_ms) {
            leave_queue(c);
            http_conn_timeout(c, kind);
        }
    }
}

static void reap(struct http_conn *c)
{
    struct http_server *s = c->s;
    http_work_free(c);
    s->conns[c->slot] = NULL;
    s->free_slots[s->free_count++] = c->slot;
    s->count--;
    metric_add(s->connections, -1);
    free(c);
}

static void do_later(struct http_server *s)
{
    struct http_conn *c = s->later_first;
    s->later_first = s->later_last = NULL;
    while (c) {
        struct http_conn *next = c->next_later;
        c->is_later = false;
        http_stream_reap(c);
        if (c->state == HTTP_DEAD)
            reap(c);
        else
            http_conn_continue(c);
        c = next;
    }
}

/* ---- accepting ---- */

/* Out of descriptors or memory: the kernel's backlog holds the others until there may be some again. */
static void pause_accepting(struct http_server *s, int why)
{
    metric_add(s->refused[REFUSED_CONNECTION], 1);
    if (s->accept_again_ms == 0)
        LOG(WARN, "cannot accept connections for now", LOG_C("listen", s->o.listen), LOG_C("why", strerror(why)));
    s->accept_again_ms = s->now_ms + ACCEPT_PAUSE_MS;
    loop_change(s->loop, s->listen_fd, 0, &s->listener);
}

static void resume_accepting(struct http_server *s)
{
    if (s->accept_again_ms == 0 || s->now_ms < s->accept_again_ms || s->listen_fd < 0)
        return;
    s->accept_again_ms = 0;
    loop_change(s->loop, s->listen_fd, EPOLLIN, &s->listener);
}

static void accept_ready(struct loop_handler *h, uint32_t events)
{
    struct http_server *s = (struct http_server *)(void *)h;
    (void)events;
    s->now_ms = clock_mono_ms();
    for (int i = 0; i < ACCEPTS; i++) {
        char peer[CONN_PEER];
        int fd = listen_accept(s->listen_fd, peer);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM))
            pause_accepting(s, errno);
        if (fd < 0 && errno != ECONNABORTED && errno != EINTR)
            return;
        if (fd < 0)
            continue;
        bool welcome = s->count < (size_t)s->o.max_connections;
        if (!welcome)
            metric_add(s->refused[REFUSED_CONNECTION], 1);
        if (s->count < (size_t)s->o.max_connections + REFUSED_ROOM)
            http_conn_new(s, fd, peer, welcome);
        else
            close(fd);
    }
}

/* ---- life ---- */

/* Rows forbid 0 for these, so 0 says that the caller did not care. */
static void fill_options(struct http_server_options *o)
{
    const struct {
        int64_t *at, otherwise;
    } limits[] = {
        { &o->max_head.n, HTTP_DEFAULT(max_head) },          { &o->max_body.n, HTTP_DEFAULT(max_body) },
        { &o->max_message.n, HTTP_DEFAULT(max_message) },    { &o->max_connections, HTTP_DEFAULT(max_connections) },
        { &o->head_timeout.ms, HTTP_DEFAULT(head_timeout) }, { &o->body_timeout.ms, HTTP_DEFAULT(body_timeout) },
        { &o->idle_timeout.ms, HTTP_DEFAULT(idle_timeout) },
    };
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        if (*limits[i].at <= 0)
            *limits[i].at = limits[i].otherwise;
    if (o->max_held.n <= 0)
        o->max_held.n = (32 << 20) + o->max_body.n;
    o->listen = str_dup(str_of(o->listen));
    o->tls_certificate = o->tls_key = NULL; /* not needed after http_server_new */
}

static void fill_durations(struct http_server *s)
{
    const struct http_server_options *o = &s->o;
    s->lasts[DUE_IDLE] = o->idle_timeout.ms;
    s->lasts[DUE_HEAD] = o->head_timeout.ms;
    s->lasts[DUE_BODY] = s->lasts[DUE_ANSWER] = o->body_timeout.ms;
    s->lasts[DUE_LINGER] = HTTP_LINGER_MS;
    s->lasts[DUE_PING] = o->ping.ms;
    s->lasts[DUE_PONG] = o->ping.ms < o->stream_idle.ms ? o->stream_idle.ms - o->ping.ms : o->stream_idle.ms;
    s->lasts[DUE_CLOSING] = HTTP_CLOSING_MS;
}

static void fill_metrics(struct http_server *s)
{
    static const char *const reasons[REFUSED_KINDS] = { "bad_request", "too_large", "connections",
                                                        "timeout",     "message",   "memory" };
    s->connections = metric_gauge("aqueduct_net_connections", "Open connections of the HTTP and WebSocket listeners.",
                                  NULL);
    for (int i = 0; i < REFUSED_KINDS; i++)
        s->refused[i] = metric_counter("aqueduct_net_refused_total",
                                       "Requests, messages and connections refused by the listeners.",
                                       LABELS("reason", reasons[i]));
}

struct http_server *http_server_new(const struct http_server_options *o, const struct http_events *events,
                                    struct err *e)
{
    if (!o->tls_certificate != !o->tls_key) {
        err_set(e, "tls_certificate and tls_key belong together: set both or none");
        return NULL;
    }
    if (!o->listen) {
        err_set(e, "listen is missing");
        return NULL;
    }
    struct http_server *s = mem_alloc(sizeof *s);
    s->listener.ready = accept_ready;
    s->o = *o;
    fill_options(&s->o);
    s->events = *events;
    s->output = buf_new(HTTP_OUTPUT_MAX);
    s->now_ms = clock_mono_ms();
    s->date_second = -1;
    fill_durations(s);
    fill_metrics(s);
    s->listen_fd = -1;
    s->loop = loop_new();
    if (!s->loop) {
        err_set(e, "cannot listen on %s: %s", o->listen, strerror(errno));
        goto fail;
    }
    if (o->tls_certificate && !(s->tls = conn_tls(o->tls_certificate, o->tls_key, e)))
        goto fail;
    s->listen_fd = listen_open(o->listen, &s->port, e);
    if (s->listen_fd < 0)
        goto fail;
    CHECK(loop_add(s->loop, s->listen_fd, EPOLLIN, &s->listener));
    return s;
fail:
    http_server_free(s);
    return NULL;
}

int http_server_port(const struct http_server *s)
{
    return s->port;
}

int http_server_fd(const struct http_server *s)
{
    return loop_fd(s->loop);
}

static int round_wait(const struct http_server *s, int wait_ms)
{
    if (s->later_first)
        return 0;
    int64_t next = s->accept_again_ms && s->listen_fd >= 0 ? s->accept_again_ms : INT64_MAX;
    for (int kind = 0; kind < DUE_KINDS; kind++)
        if (s->queues[kind].first && s->queues[kind].first->due_ms < next)
            next = s->queues[kind].first->due_ms;
    if (next == INT64_MAX)
        return wait_ms;
    int64_t left = next - clock_mono_ms();
    if (left < 0)
        left = 0;
    return wait_ms >= 0 && wait_ms < left ? wait_ms : (int)left;
}

void http_server_run(struct http_server *s, int wake_fd, int wait_ms)
{
    loop_run(s->loop, wake_fd, round_wait(s, wait_ms));
    s->now_ms = clock_mono_ms();
    expire(s);
    do_later(s);
    resume_accepting(s);
}

void http_server_stop_accepting(struct http_server *s)
{
    if (s->listen_fd < 0)
        return;
    loop_remove(s->loop, s->listen_fd);
    listen_close(s->listen_fd, s->o.listen);
    s->listen_fd = -1;
    s->stopping = true;
    for (size_t i = 0; i < s->slots; i++) {
        struct http_conn *c = s->conns[i];
        if (c && c->state == HTTP_HEAD && !c->work && !c->readable)
            http_conn_finish(c);
    }
}

void http_server_free(struct http_server *s)
{
    if (!s)
        return;
    if (s->listen_fd >= 0)
        http_server_stop_accepting(s);
    for (size_t i = 0; i < s->slots; i++)
        if (s->conns[i])
            http_conn_kill(s->conns[i]);
    do_later(s);
    conn_tls_free(s->tls);
    loop_free(s->loop);
    buf_free(&s->output);
    free(s->conns);
    free(s->free_slots);
    free(s->o.listen);
    free(s);
}

size_t http_server_connections(const struct http_server *s)
{
    return s->count;
}

size_t http_server_waiting(const struct http_server *s)
{
    return s->waiting;
}
