/* SPDX-License-Identifier: MIT */
/* The HTTP server itself: options, listener, rounds. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "bridge/lib/descriptors.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/watch.h"
#include "bridge/net/http/private.h"
#include "bridge/net/sends.h"
#include "bridge/net/ws.h"
#include "bridge/net/listen.h"

METRIC_GAUGE(aqueduct_net_connections, "Open connections of the HTTP and WebSocket listeners.", NULL);
METRIC_COUNTER(aqueduct_net_refused_total, "Requests, messages and connections refused by the listeners.", "reason");

METRIC_COUNTER(aqueduct_net_evicted_total, "Connections closed so that others get on, by reason.", "reason");

enum {
    ACCEPTS = 64, /* in a row */
    ACCEPT_PAUSE_MS = 100,
    REFUSED_ROOM = 64, /* so many beyond max_connections are told why */
    LINGER_MS = 2000,  /* how long a refused client may take to read why */
    CLOSING_MS = 5000, /* a WebSocket closing handshake */
};

/* ---- accepting ---- */

/* Out of descriptors or memory: the kernel's backlog holds the others until there may be some again. */
static void server_pause_accepting(struct http_server *s, int why)
{
    metric_add(s->refused[REFUSED_CONNECTION], 1);
    if (s->accept_again_ms == 0 && why != EMFILE && why != ENFILE) /* those were told of */
        LOG(WARN, "cannot accept connections for now", LOG_C("listen", s->o.listen), LOG_C("why", strerror(why)));
    s->accept_again_ms = s->now_ms + ACCEPT_PAUSE_MS;
    loop_change(s->loop, s->listen_fd, 0, &s->listener);
}

static void server_resume_accepting(struct http_server *s)
{
    if (s->accept_again_ms == 0 || s->now_ms < s->accept_again_ms || s->listen_fd < 0)
        return;
    s->accept_again_ms = 0;
    loop_change(s->loop, s->listen_fd, EPOLLIN, &s->listener);
}

/* No connection came. May the next one? */
static bool server_accept_failed(struct http_server *s, int why)
{
    if (why == ECONNABORTED || why == EINTR)
        return true;
    /* The kernel wants a descriptor even to find that nobody waits. */
    if ((why == EMFILE || why == ENFILE) && poll(&(struct pollfd){ .fd = s->listen_fd, .events = POLLIN }, 1, 0) <= 0)
        return false;
    bool out = descriptors_out(why);
    if (out && http_room_give_way(s, STR("")))
        return true;
    if (out || why == ENOBUFS || why == ENOMEM)
        server_pause_accepting(s, why);
    return false;
}

/* It gets a place here if there is room, else at a twin if there is one that was not asked yet. */
static void server_enter(struct http_server *s, struct http_newcomer *n)
{
    struct str network = str_of(n->network);
    int status = http_room_make(s, network, http_twins_is_last(s, n));
    if (status && http_twins_pass(s, n))
        return;
    if (status)
        metric_add(s->refused[status == 429 ? REFUSED_ADDRESS : REFUSED_CONNECTION], 1);
    if (http_holders_others(s) < http_room_limit(s) + REFUSED_ROOM) {
        http_conn_new(s, n->fd, n->peer, network, status);
        return;
    }
    close(n->fd);
    http_twins_leave(s, network);
}

static void server_accept(struct loop_handler *h, uint32_t events)
{
    struct http_server *s = (struct http_server *)(void *)h;
    (void)events;
    s->now_ms = clock_mono_ms();
    for (int i = 0; i < ACCEPTS; i++) {
        struct http_newcomer n = { .fd = -1 };
        n.fd = listen_accept(s->listen_fd, n.peer, n.network);
        if (n.fd < 0 && server_accept_failed(s, errno))
            continue;
        if (n.fd < 0)
            return;
        bool proxy = http_client_is_proxy(s, n.peer, n.network);
        http_twins_enter(s, str_of(n.network), proxy || strcmp(n.network, "unix") == 0);
        if (!http_twins_place(s, &n))
            server_enter(s, &n);
    }
}

/* Connections that a twin has accepted, or had no room for. */
static void server_take_handed(struct loop_handler *h, uint32_t events)
{
    struct http_server *s = (struct http_server *)(void *)((char *)h - offsetof(struct http_server, handed));
    struct http_newcomer *next;
    (void)events;
    s->now_ms = clock_mono_ms();
    for (struct http_newcomer *n = http_twins_take(s); n; n = next) {
        next = n->next;
        server_enter(s, n);
        free(n);
    }
}

/* ---- life ---- */

/* Rows forbid 0 for these, so 0 says that the caller did not care. */
static void server_fill_options(struct http_server_options *o)
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
    if (o->max_held_per_address.n <= 0)
        o->max_held_per_address.n = o->max_held.n / 2 + o->max_body.n;
    o->listen = str_dup(str_of(o->listen));
    o->tls_certificate = o->tls_key = o->tls_client_ca = o->tls_client_crl =
        NULL; /* not needed after http_server_new */
    o->trusted_proxies = (struct strings){ 0 };
}

static int64_t server_least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void server_fill_durations(struct http_server *s)
{
    const struct http_server_options *o = &s->o;
    s->lasts[DUE_IDLE] = o->idle_timeout.ms;
    s->lasts[DUE_HEAD] = o->head_timeout.ms;
    s->lasts[DUE_ANSWER] = o->body_timeout.ms;
    /* Equal parts, so that the last one ends when the time for a body does. */
    s->body_parts = o->min_body_rate.n > 0 ? (int)((o->body_timeout.ms + HTTP_RATE_MS - 1) / HTTP_RATE_MS) : 1;
    s->lasts[DUE_BODY] = o->body_timeout.ms / s->body_parts;
    s->lasts[DUE_STREAMS] = server_least(HTTP_STREAMS_MS, server_least(o->head_timeout.ms, o->body_timeout.ms));
    s->lasts[DUE_LINGER] = LINGER_MS;
    s->lasts[DUE_PING] = o->ping.ms;
    s->lasts[DUE_PONG] = o->ping.ms < o->stream_idle.ms ? o->stream_idle.ms - o->ping.ms : o->stream_idle.ms;
    s->lasts[DUE_CLOSING] = CLOSING_MS;
}

static void server_fill_metrics(struct http_server *s)
{
    static const char *const reasons[REFUSED_KINDS] = { "bad_request", "too_large", "connections", "timeout", "message",
                                                        "memory",      "address",   "flood",       "tls",     "proxy" };
    static const char *const evicted[EVICTED_KINDS] = { "idle", "head", "largest", "memory" };
    s->connections = metric_get(&aqueduct_net_connections, NULL);
    http_client_open(s);
    for (int i = 0; i < REFUSED_KINDS; i++)
        s->refused[i] = metric_get(&aqueduct_net_refused_total, LABELS(reasons[i]));
    for (int i = 0; i < EVICTED_KINDS; i++)
        s->evicted[i] = metric_get(&aqueduct_net_evicted_total, LABELS(evicted[i]));
}

/* Begins (1) or ends (-1) to share in the process's descriptors. */
static void server_share_descriptors(const struct http_server *s, int n)
{
    if (s->o.reserved)
        return;
    descriptors_listen(n);
    descriptors_reserve((int64_t)n * REFUSED_ROOM);
}

const struct option_value http_tls_clients[] = {
    { TLS_CLIENT_NONE, "none" },
    { TLS_CLIENT_OPTIONAL, "optional" },
    { TLS_CLIENT_REQUIRED, "required" },
    { 0 },
};

struct tls_options http_tls_options(const struct http_server_options *o)
{
    return (struct tls_options){ .certificate = o->tls_certificate,
                                 .key = o->tls_key,
                                 .client_ca = o->tls_client_ca,
                                 .client_crl = o->tls_client_crl,
                                 .client = o->tls_client,
                                 .http2 = o->http2_streams > 0 };
}

const struct option_value http_proxy_headers[] = {
    { PROXY_HEADER_X_FORWARDED_FOR, "x-forwarded-for" },
    { PROXY_HEADER_FORWARDED, "forwarded" },
    { PROXY_HEADER_NONE, "none" },
    { 0 },
};

bool http_server_check(const struct http_server_options *o, struct err *e)
{
    const struct tls_options tls = http_tls_options(o);
    struct networks proxies;
    if (!networks_open(&proxies, &o->trusted_proxies, e))
        return err_prefix(e, "trusted_proxies");
    networks_close(&proxies);
    if (o->proxy_protocol && o->trusted_proxies.count == 0)
        return err_set(e, "proxy_protocol: needs trusted_proxies: anybody else could say to be anybody");
    return tls_fits(&tls, e);
}

/* Watches for what twins hand over. */
static void server_watch_handed(struct http_server *s)
{
    s->handed.ready = server_take_handed;
    CHECK(loop_add(s->loop, http_twins_fd(s), EPOLLIN, &s->handed));
}

/* The first one listens for both. */
static void server_join(struct http_server *s, struct http_server *first)
{
    bool alone = !first->twins;
    http_twins_join(s, first);
    s->port = first->port;
    server_watch_handed(s);
    if (alone)
        server_watch_handed(first);
}

/* TLS and the listening socket. */
static bool server_listen(struct http_server *s, const struct http_server_options *o, struct err *e)
{
    s->loop = loop_new();
    if (!s->loop)
        return err_set(e, "cannot listen on %s: %s", o->listen, strerror(errno));
    struct tls_options tls = http_tls_options(o);
    tls.like = o->first ? o->first->tls : NULL;
    if (!http_server_check(o, e) || !networks_open(&s->proxies, &o->trusted_proxies, e))
        return false;
    if (!tls_open(&tls, o->listen, &s->tls, e))
        return false;
    if (o->first) {
        server_join(s, o->first);
        return true;
    }
    s->listen_fd = listen_open(o->listen, &s->port, e);
    if (s->listen_fd < 0)
        return false;
    CHECK(loop_add(s->loop, s->listen_fd, EPOLLIN, &s->listener));
    server_share_descriptors(s, 1);
    return true;
}

struct http_server *http_server_new(const struct http_server_options *o, const struct http_events *events,
                                    struct err *e)
{
    if (!o->listen) {
        err_set(e, "listen is missing");
        return NULL;
    }
    struct http_server *s = mem_alloc(sizeof *s);
    s->listener.ready = server_accept;
    s->o = *o;
    server_fill_options(&s->o);
    s->events = *events;
    s->output = buf_new(HTTP_OUTPUT_MAX);
    s->now_ms = clock_mono_ms();
    s->date_second = -1;
    server_fill_durations(s);
    server_fill_metrics(s);
    s->listen_fd = -1;
    if (server_listen(s, o, e))
        return s;
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

/* Tells every connection whose deadline has passed. */
static void server_expire(struct http_server *s)
{
    enum http_due kind;
    struct http_conn *c;
    while ((c = http_schedule_expired(s, &kind)))
        http_conn_timeout(c, kind);
}

/* What comes to the list meanwhile waits for the next round. */
static void server_do_later(struct http_server *s)
{
    struct http_conn *next;
    for (struct http_conn *c = http_schedule_take(s); c; c = next) {
        next = c->next_later;
        http_conn_later(c);
    }
}

/* How long this round may wait. */
static int server_round_wait(const struct http_server *s, int wait_ms)
{
    if (s->later_first)
        return 0;
    int64_t next = http_schedule_next_ms(s);
    if (s->tls && (wait_ms < 0 || wait_ms > WATCH_LOOK_MS))
        wait_ms = WATCH_LOOK_MS;
    if (s->accept_again_ms && s->listen_fd >= 0 && s->accept_again_ms < next)
        next = s->accept_again_ms;
    if (next == INT64_MAX)
        return wait_ms;
    int64_t left = next - clock_mono_ms();
    if (left < 0)
        left = 0;
    return wait_ms >= 0 && wait_ms < left ? wait_ms : (int)left;
}

void http_server_run(struct http_server *s, int wake_fd, int wait_ms)
{
    loop_run(s->loop, wake_fd, server_round_wait(s, wait_ms));
    s->now_ms = clock_mono_ms();
    server_expire(s);
    server_do_later(s);
    server_resume_accepting(s);
    if (s->tls)
        tls_context(s->tls); /* new files are not first looked at when somebody comes */
}

/* What is watched only ends a round. */
static void server_watched(struct loop_handler *h, uint32_t events)
{
    (void)h;
    (void)events;
}

void http_server_watch(struct http_server *s, int fd)
{
    static struct loop_handler watched = { .ready = server_watched };
    CHECK(loop_add(s->loop, fd, EPOLLIN, &watched));
}

void http_server_stop_accepting(struct http_server *s)
{
    if (s->stopping)
        return;
    s->stopping = true;
    if (s->listen_fd >= 0) {
        loop_remove(s->loop, s->listen_fd);
        listen_close(s->listen_fd, s->o.listen);
        server_share_descriptors(s, -1);
        s->listen_fd = -1;
    }
    http_twins_end(s);
    for (size_t i = 0; i < s->slots; i++)
        if (s->conns[i])
            http_conn_stop(s->conns[i]);
}

void http_server_free(struct http_server *s)
{
    if (!s)
        return;
    http_server_stop_accepting(s);
    for (size_t i = 0; i < s->slots; i++)
        if (s->conns[i])
            http_wire_kill(s->conns[i]);
    server_do_later(s);
    http_twins_free(s);
    tls_close(s->tls);
    networks_close(&s->proxies);
    loop_free(s->loop);
    buf_free(&s->output);
    ws_parser_free(s->parser);
    ws_inflater_free(s->inflater);
    sends_free(s->sends);
    free(s->conns);
    free(s->free_slots);
    free(s->o.listen);
    free(s);
}

size_t http_server_connections(const struct http_server *s)
{
    return s->count;
}

size_t http_server_unsent(const struct http_server *s)
{
    return s->unsent;
}
