/* SPDX-License-Identifier: MIT */
/* One connection of the HTTP server: it reads, hands the bytes to its protocol, and ends. */
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "bridge/lib/mem.h"
#include "bridge/net/http/private.h"

enum {
    READS = 4,               /* of one connection in a row, so that others get their turn */
    LINGER_BYTES = 64 << 20, /* what a refused client may still send */
};

/* ---- input ---- */

static bool conn_wants_bytes(const struct http_conn *c)
{
    return c->state == HTTP_LINGER || (c->state == HTTP_OPEN && !c->paused);
}

/* Throws away what comes while the connection lingers. */
static void conn_drain(struct http_conn *c, size_t n)
{
    c->drained += (uint32_t)n;
    if (c->drained > LINGER_BYTES)
        http_wire_kill(c);
}

/* A sender whose certificate is not taken hears little of it: its administrator must be able to ask ours. */
static void conn_say_no_handshake(struct http_conn *c)
{
    int64_t left_out;
    const char *why = conn_handshake_error(&c->io);
    if (!why) /* it went, as whoever looks whether the port is open does */
        return;
    metric_add(c->s->refused[REFUSED_TLS], 1);
    if (log_limit_pass(&c->s->log_limit, &left_out))
        LOG(INFO, "no TLS handshake", LOG_C("listen", c->s->o.listen), LOG_C("peer", c->peer), LOG_C("why", why),
            LOG_INT("lines_left_out", left_out));
}

/* Before it has said anything. */
static void conn_refuse(struct http_conn *c, int status)
{
    if (c->io.ssl)
        http_wire_kill(c);
    else
        http_request_refuse(c, status, (const struct header[]){ { STR("Retry-After"), STR("1") } }, 1);
}

/* True: what a proxy says of the connection was read, and the client may go on. */
static bool conn_take_client(struct http_conn *c)
{
    int status = 0;
    if (!http_client_take(c, &status))
        return false;
    if (status)
        conn_refuse(c, status);
    return status == 0;
}

/* Reads until the kernel has no more, nobody wants more, or it is the others' turn. */
static void conn_read_on(struct http_conn *c)
{
    struct http_server *s = c->s;
    if (c->proxying && c->readable && c->state == HTTP_OPEN && !conn_take_client(c))
        return;
    for (int i = 0; c->readable && conn_wants_bytes(c); i++) {
        if (i == READS) {
            http_schedule_later(c);
            return;
        }
        bool ready = conn_is_ready(&c->io);
        long n = conn_read(&c->io, s->input, sizeof s->input);
        if (n == CONN_AGAIN) {
            c->readable = false;
            return;
        }
        if (n == CONN_FAILED && !ready)
            conn_say_no_handshake(c);
        if (n <= 0) {
            http_wire_kill(c);
            return;
        }
        /* A short read has emptied the socket, and what comes later gives a new event; unless the peer's end is
         * behind it. */
        if (!c->io.ssl && (size_t)n < sizeof s->input && !c->ended)
            c->readable = false;
        if (c->state == HTTP_LINGER)
            conn_drain(c, (size_t)n);
        else
            c->protocol->input(c, (struct str){ s->input, (size_t)n });
    }
}

/* Looks at input that was kept, then at new one. */
static void conn_continue(struct http_conn *c)
{
    bool unread = c->unread && c->state == HTTP_OPEN && !c->paused;
    c->unread = false;
    if (unread)
        c->protocol->input(c, STR(""));
    conn_read_on(c);
}

/* The loop's handler. */
static void conn_on_events(struct loop_handler *h, uint32_t events)
{
    struct http_conn *c = (struct http_conn *)(void *)h;
    c->s->now_ms = clock_mono_ms();
    /* Who hung up reads no answer any more; but what it sent before is still read. */
    bool gone = events & EPOLLERR || (events & EPOLLHUP && !conn_wants_bytes(c));
    if (gone) {
        http_wire_kill(c);
        return;
    }
    c->ended |= (events & (EPOLLRDHUP | EPOLLHUP)) != 0;
    c->readable |= (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) != 0;
    if (events & EPOLLOUT && http_wire_flush(c) && c->state == HTTP_OPEN)
        c->protocol->writable(c);
    conn_continue(c);
}

/* ---- answers ---- */

void http_server_reply(struct http_server *s, uint64_t id, int status, const struct header *headers, size_t count,
                       struct str body)
{
    size_t slot = id & ((1u << HTTP_SLOT_BITS) - 1);
    struct http_conn *c = slot < s->slots ? s->conns[slot] : NULL;
    if (c && c->state == HTTP_OPEN && c->protocol->reply)
        c->protocol->reply(c, id, status, headers, count, body);
}

/* ---- begin and end ---- */

/* A free slot of the server's table, which grows. */
static uint32_t conn_new_slot(struct http_server *s)
{
    if (s->free_count == 0) {
        size_t slots = s->slots ? s->slots + s->slots / 2 : 64;
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

void http_conn_new(struct http_server *s, int fd, const char *peer, struct str network, int status)
{
    char own[LISTEN_NETWORK] = "";
    size_t peer_n = strlen(peer) + 1;
    struct http_conn *c = mem_alloc(offsetof(struct http_conn, peer) + (s->o.proxy_protocol ? LISTEN_PEER : peer_n));
    memcpy(c->peer, peer, peer_n);
    c->from_proxy = http_client_is_proxy(s, peer, own);
    c->proxying = c->from_proxy && s->o.proxy_protocol;
    c->s = s;
    c->io.handler.ready = conn_on_events;
    c->protocol = &http_requests;
    c->due = DUE_NEVER;
    c->keep_alive = true;
    if (!conn_open(&c->io, fd, s->tls ? tls_context(s->tls) : NULL, s->loop)) {
        http_twins_leave(s, network);
        free(c);
        return;
    }
    c->slot = conn_new_slot(s);
    s->conns[c->slot] = c;
    http_holders_enter(c, network);
    http_schedule_due(c, s->tls || c->proxying ? DUE_HEAD : DUE_IDLE);
    if (status)
        conn_refuse(c, status);
}

static void conn_free(struct http_conn *c)
{
    struct http_server *s = c->s;
    s->conns[c->slot] = NULL;
    s->free_slots[s->free_count++] = c->slot;
    free(c);
}

void http_conn_later(struct http_conn *c)
{
    const struct http_protocol *protocol = c->protocol;
    c->is_later = false;
    if (c->state != HTTP_OPEN && protocol) {
        c->protocol = NULL;
        protocol->end(c);
    }
    if (c->state == HTTP_DEAD)
        conn_free(c);
    else
        conn_continue(c);
}

void http_conn_timeout(struct http_conn *c, enum http_due kind)
{
    if (c->state == HTTP_OPEN) {
        c->protocol->timeout(c, kind);
        return;
    }
    if (c->state == HTTP_ENDING)
        metric_add(c->s->refused[REFUSED_TIMEOUT], 1);
    http_wire_kill(c);
}

void http_conn_stop(struct http_conn *c)
{
    if (c->state == HTTP_OPEN)
        c->protocol->stop(c);
}
