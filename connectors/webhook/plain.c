/* SPDX-License-Identifier: MIT */
/* Keeps connections, sends requests on them and reads answers. */
#include "connectors/webhook/plain.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include "bridge/lib/mem.h"

enum {
    PLAIN_READ = 16 * 1024,
    PLAIN_LIFE_US = 600 * 1000 * 1000, /* a connection is not used for longer: its name is resolved again */
};

struct plain_conn {
    struct plain_conn *next, *prev;             /* among the idle or the busy ones of all */
    struct plain_conn *owner_next, *owner_prev; /* among the idle ones of its owner */
    struct plain *p;
    struct plain_owner *owner;
    struct channel channel;
    bool kept; /* it has served a request */
    int64_t opened_us;
    struct plain_request *request; /* NULL: idle */
    struct reply reply;
    bool heard;    /* a byte of the answer has come */
    bool ending;   /* nothing comes behind what can be read: its end was told, and is not told again */
    bool broken;   /* it takes nothing more */
    bool answered; /* before the whole request was sent: the rest of it is still to be sent */
};

static void plain_link(struct plain *p, struct plain_conn *c)
{
    struct plain_conn **list = c->request ? &p->busy : &p->idle;
    c->prev = NULL;
    c->next = *list;
    if (c->next)
        c->next->prev = c;
    else if (!c->request)
        p->idle_last = c;
    *list = c;
    if (c->request)
        return;
    c->owner_prev = NULL;
    c->owner_next = c->owner->idle;
    if (c->owner_next)
        c->owner_next->owner_prev = c;
    c->owner->idle = c;
}

static void plain_unlink(struct plain *p, struct plain_conn *c)
{
    *(c->prev ? &c->prev->next : c->request ? &p->busy : &p->idle) = c->next;
    if (c->next)
        c->next->prev = c->prev;
    else if (!c->request)
        p->idle_last = c->prev;
    if (c->request)
        return;
    *(c->owner_prev ? &c->owner_prev->owner_next : &c->owner->idle) = c->owner_next;
    if (c->owner_next)
        c->owner_next->owner_prev = c->owner_prev;
}

static void plain_drop(struct plain_conn *c)
{
    struct plain *p = c->p;
    plain_unlink(p, c);
    multi_unwatch(p->m, c->channel.fd);
    channel_close(&c->channel, p->m);
    reply_free(&c->reply);
    p->count--;
    free(c);
}

/* The request has ended; its connection serves another one, or not. */
static void plain_finish(struct plain_conn *c, enum plain_end end, bool keep)
{
    struct plain *p = c->p;
    struct plain_request *r = c->request;
    r->end = end;
    r->status = c->reply.status;
    memcpy(r->retry_after, c->reply.retry_after, sizeof r->retry_after);
    memcpy(r->delivery, c->reply.delivery, sizeof r->delivery);
    r->conn = NULL;
    r->next = NULL;
    *p->ended_tail = r;
    p->ended_tail = &r->next;
    p->m->ready++;
    if (!keep) {
        plain_drop(c);
        return;
    }
    plain_unlink(p, c);
    c->request = NULL;
    c->kept = true;
    plain_link(p, c);
}

static void plain_lose(struct plain_conn *c)
{
    bool stale = c->kept && !c->heard;
    c->request->os_errno = c->channel.os_errno;
    c->request->tls_error = c->channel.tls_error;
    plain_finish(c, stale ? PLAIN_STALE : PLAIN_LOST, false);
}

static bool plain_all_sent(const struct plain_request *r)
{
    return r->sent == r->head.n + r->body.n;
}

/* Sends what the kernel takes; false: the connection is lost, and so is the request. */
static bool plain_write(struct plain_conn *c)
{
    struct plain_request *r = c->request;
    while (!plain_all_sent(r)) {
        ssize_t n = channel_send(&c->channel, r->head, r->body, r->sent);
        if (n == CHANNEL_AGAIN)
            return true; /* epoll says when it takes more */
        if (n <= 0)
            return false;
        r->sent += (size_t)n;
    }
    return true;
}

/* A receiver may answer first and read then: what it says is delivered has to arrive. One that refuses reads no further. */
static bool plain_sends_on(const struct plain_conn *c, enum reply_result w)
{
    return w == REPLY_WHOLE && c->reply.status < 400 && !c->broken;
}

/* Judges what was fed; true: there is no more to read. */
static bool plain_judge(struct plain_conn *c, enum reply_result w, bool nothing_behind)
{
    struct plain_request *r = c->request;
    bool all_sent = plain_all_sent(r);
    if (w == REPLY_MORE)
        return false;
    r->reply = w;
    c->answered = !all_sent && plain_sends_on(c, w);
    if (c->answered)
        return true;
    bool fresh = clock_mono_us() - c->opened_us < PLAIN_LIFE_US;
    plain_finish(c, w == REPLY_WHOLE ? PLAIN_WHOLE : PLAIN_BAD,
                 w == REPLY_WHOLE && c->reply.keep_open && nothing_behind && all_sent && fresh && !c->ending);
    return true;
}

/* Reads until the answer is whole or there is no more. */
static void plain_read(struct plain_conn *c)
{
    char bytes[PLAIN_READ];
    for (;;) {
        size_t taken;
        ssize_t n = channel_recv(&c->channel, bytes, sizeof bytes);
        if (n == CHANNEL_AGAIN)
            return;
        if (n == 0 && c->heard && reply_ends_whole(&c->reply)) {
            plain_finish(c, PLAIN_WHOLE, false);
            return;
        }
        if (n <= 0) {
            plain_lose(c);
            return;
        }
        c->heard = true;
        enum reply_result w = reply_feed(&c->reply, bytes, (size_t)n, &taken);
        if (plain_judge(c, w, taken == (size_t)n && (size_t)n < sizeof bytes))
            return;
    }
}

static void plain_on_ready(void *ctx, uint32_t events)
{
    struct plain_conn *c = ctx;
    const struct plain_request *r = c->request;
    bool ending = events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP), comes = events & EPOLLIN;
    if (!r) {
        if (ending || (comes && !channel_is_quiet(&c->channel)))
            plain_drop(c);
        return;
    }
    bool tls = c->channel.ssl; /* which may have to read in order to write, and the other way round */
    c->ending = c->ending || ending;
    c->broken = c->broken || (events & (EPOLLERR | EPOLLHUP));
    bool writes = ((events & EPOLLOUT) || tls) && !plain_all_sent(r);
    if (writes && !plain_write(c)) {
        c->broken = true;
        if (!c->answered && !comes) { /* an answer may have come before the end */
            plain_lose(c);
            return;
        }
    }
    if (c->answered) {
        if (c->broken || plain_all_sent(r))
            plain_finish(c, PLAIN_WHOLE, false);
        return;
    }
    if (comes || ending || tls)
        plain_read(c);
}

void plain_open(struct plain *p, struct multi *m)
{
    *p = (struct plain){ .m = m, .look_us = INT64_MAX, .most = 1 };
    p->ended_tail = &p->ended;
}

void plain_close(struct plain *p)
{
    for (struct plain_conn *c = p->idle, *next; c; c = next) {
        next = c->next;
        plain_drop(c);
    }
}

bool plain_adopt(struct plain *p, struct plain_owner *owner, struct channel channel)
{
    struct plain_conn *c = mem_alloc(sizeof *c);
    for (struct plain_conn *oldest = p->idle_last, *newer; oldest && p->count >= p->most; oldest = newer) {
        newer = oldest->prev;
        plain_drop(oldest);
    }
    *c = (struct plain_conn){ .p = p, .owner = owner, .channel = channel, .opened_us = clock_mono_us() };
    p->count++;
    plain_link(p, c);
    if (multi_watch(p->m, channel.fd, plain_on_ready, c))
        return true;
    int error = errno;
    plain_drop(c);
    errno = error;
    return false;
}

bool plain_has(struct plain_owner *owner)
{
    for (struct plain_conn *c = owner->idle, *next; c; c = next) {
        next = c->owner_next;
        if (!c->kept /* the answer may be faster than the request */ || channel_is_quiet(&c->channel))
            return true;
        plain_drop(c);
    }
    return false;
}

void plain_send(struct plain *p, struct plain_owner *owner, struct plain_request *r)
{
    struct plain_conn *c = owner->idle;
    plain_unlink(p, c);
    c->request = r;
    c->heard = false;
    plain_link(p, c);
    reply_begin(&c->reply, r->take, r->ctx);
    r->conn = c;
    r->sent = 0;
    r->os_errno = 0;
    r->tls_error = 0;
    r->reply = REPLY_MORE;
    if (r->due_us < p->look_us)
        p->look_us = r->due_us;
    if (!plain_write(c))
        plain_lose(c);
}

void plain_stop(struct plain *p, struct plain_request *r)
{
    if (r->conn) {
        plain_drop(r->conn);
        r->conn = NULL;
        return;
    }
    for (struct plain_request **at = &p->ended; *at; at = &(*at)->next)
        if (*at == r) {
            *at = r->next;
            p->m->ready--;
            break;
        }
    p->ended_tail = &p->ended;
    while (*p->ended_tail)
        p->ended_tail = &(*p->ended_tail)->next;
}

void plain_forget(struct plain_owner *owner)
{
    for (struct plain_conn *c = owner->idle, *next; c; c = next) {
        next = c->owner_next;
        plain_drop(c);
    }
}

struct plain_request *plain_done(struct plain *p)
{
    struct plain_request *r = p->ended;
    if (!r)
        return NULL;
    p->ended = r->next;
    if (!p->ended)
        p->ended_tail = &p->ended;
    p->m->ready--;
    return r;
}

int64_t plain_expire(struct plain *p, int64_t now_us)
{
    if (now_us < p->look_us)
        return p->look_us;
    p->look_us = INT64_MAX;
    for (struct plain_conn *c = p->busy, *next; c; c = next) {
        next = c->next;
        if (c->request->due_us <= now_us)
            plain_finish(c, PLAIN_TIMED_OUT, false);
        else if (c->request->due_us < p->look_us)
            p->look_us = c->request->due_us;
    }
    return p->look_us;
}
