/* SPDX-License-Identifier: MIT */
/* Keeps connections, sends requests on them and reads answers. */
#include "connectors/webhook/direct.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include "bridge/lib/mem.h"

enum {
    DIRECT_READ = 16 * 1024,
    DIRECT_LIFE_US = 600 * 1000 * 1000, /* a connection is not used for longer: its name is resolved again */
};

struct direct_conn {
    struct direct_conn *next, *prev;             /* among the idle or the busy ones of all */
    struct direct_conn *owner_next, *owner_prev; /* among the idle ones of its owner */
    struct direct *p;
    struct direct_owner *owner;
    struct channel channel;
    bool kept; /* it has served a request */
    int64_t opened_us;
    struct direct_request *request; /* NULL: idle */
    struct reply reply;
    bool heard;    /* a byte of the answer has come */
    bool ending;   /* nothing comes behind what can be read: its end was told, and is not told again */
    bool broken;   /* it takes nothing more */
    bool answered; /* before the whole request was sent: the rest of it is still to be sent */
};

static void direct_link(struct direct *p, struct direct_conn *c)
{
    struct direct_conn **list = c->request ? &p->busy : &p->idle;
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

static void direct_unlink(struct direct *p, struct direct_conn *c)
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

static void direct_drop(struct direct_conn *c)
{
    struct direct *p = c->p;
    direct_unlink(p, c);
    multi_unwatch(p->m, c->channel.fd);
    channel_close(&c->channel, p->m);
    reply_free(&c->reply);
    p->count--;
    free(c);
}

/* The request has ended; its connection serves another one, or not. */
static void direct_finish(struct direct_conn *c, enum direct_end end, bool keep)
{
    struct direct *p = c->p;
    struct direct_request *r = c->request;
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
        direct_drop(c);
        return;
    }
    direct_unlink(p, c);
    c->request = NULL;
    c->kept = true;
    direct_link(p, c);
}

static void direct_lose(struct direct_conn *c)
{
    bool stale = c->kept && !c->heard;
    c->request->os_errno = c->channel.os_errno;
    c->request->tls_error = c->channel.tls_error;
    direct_finish(c, stale ? DIRECT_STALE : DIRECT_LOST, false);
}

static bool direct_all_sent(const struct direct_request *r)
{
    return r->sent == r->head.n + r->body.n;
}

/* Sends what the kernel takes; false: the connection is lost, and so is the request. */
static bool direct_write(struct direct_conn *c)
{
    struct direct_request *r = c->request;
    while (!direct_all_sent(r)) {
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
static bool direct_sends_on(const struct direct_conn *c, enum reply_result w)
{
    return w == REPLY_WHOLE && c->reply.status < 400 && !c->broken;
}

/* Judges what was fed; true: there is no more to read. */
static bool direct_judge(struct direct_conn *c, enum reply_result w, bool nothing_behind)
{
    struct direct_request *r = c->request;
    bool all_sent = direct_all_sent(r);
    if (w == REPLY_MORE)
        return false;
    r->reply = w;
    c->answered = !all_sent && direct_sends_on(c, w);
    if (c->answered)
        return true;
    bool fresh = clock_mono_us() - c->opened_us < DIRECT_LIFE_US;
    direct_finish(c, w == REPLY_WHOLE ? DIRECT_WHOLE : DIRECT_BAD,
                  w == REPLY_WHOLE && c->reply.keep_open && nothing_behind && all_sent && fresh && !c->ending);
    return true;
}

/* Reads until the answer is whole or there is no more. */
static void direct_read(struct direct_conn *c)
{
    char bytes[DIRECT_READ];
    for (;;) {
        size_t taken;
        ssize_t n = channel_recv(&c->channel, bytes, sizeof bytes);
        if (n == CHANNEL_AGAIN)
            return;
        if (n == 0 && c->heard && reply_ends_whole(&c->reply)) {
            direct_finish(c, DIRECT_WHOLE, false);
            return;
        }
        if (n <= 0) {
            direct_lose(c);
            return;
        }
        c->heard = true;
        enum reply_result w = reply_feed(&c->reply, bytes, (size_t)n, &taken);
        if (direct_judge(c, w, taken == (size_t)n && (size_t)n < sizeof bytes))
            return;
    }
}

static void direct_on_ready(void *ctx, uint32_t events)
{
    struct direct_conn *c = ctx;
    const struct direct_request *r = c->request;
    bool ending = events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP), comes = events & EPOLLIN;
    if (!r) {
        if (ending || (comes && !channel_is_quiet(&c->channel)))
            direct_drop(c);
        return;
    }
    bool tls = c->channel.ssl; /* which may have to read in order to write, and the other way round */
    c->ending = c->ending || ending;
    c->broken = c->broken || (events & (EPOLLERR | EPOLLHUP));
    bool writes = ((events & EPOLLOUT) || tls) && !direct_all_sent(r);
    if (writes && !direct_write(c)) {
        c->broken = true;
        if (!c->answered && !comes) { /* an answer may have come before the end */
            direct_lose(c);
            return;
        }
    }
    if (c->answered) {
        if (c->broken || direct_all_sent(r))
            direct_finish(c, DIRECT_WHOLE, false);
        return;
    }
    if (comes || ending || tls)
        direct_read(c);
}

void direct_open(struct direct *p, struct multi *m)
{
    *p = (struct direct){ .m = m, .look_us = INT64_MAX, .most = 1 };
    p->ended_tail = &p->ended;
}

void direct_close(struct direct *p)
{
    for (struct direct_conn *c = p->idle, *next; c; c = next) {
        next = c->next;
        direct_drop(c);
    }
}

bool direct_adopt(struct direct *p, struct direct_owner *owner, struct channel channel)
{
    struct direct_conn *c = mem_alloc(sizeof *c);
    for (struct direct_conn *oldest = p->idle_last, *newer; oldest && p->count >= p->most; oldest = newer) {
        newer = oldest->prev;
        direct_drop(oldest);
    }
    *c = (struct direct_conn){ .p = p, .owner = owner, .channel = channel, .opened_us = clock_mono_us() };
    p->count++;
    direct_link(p, c);
    if (multi_watch(p->m, channel.fd, direct_on_ready, c))
        return true;
    int error = errno;
    direct_drop(c);
    errno = error;
    return false;
}

bool direct_has(struct direct_owner *owner)
{
    for (struct direct_conn *c = owner->idle, *next; c; c = next) {
        next = c->owner_next;
        if (!c->kept /* the answer may be faster than the request */ || channel_is_quiet(&c->channel))
            return true;
        direct_drop(c);
    }
    return false;
}

void direct_send(struct direct *p, struct direct_owner *owner, struct direct_request *r)
{
    struct direct_conn *c = owner->idle;
    direct_unlink(p, c);
    c->request = r;
    c->heard = false;
    direct_link(p, c);
    reply_begin(&c->reply, r->take, r->ctx);
    r->conn = c;
    r->sent = 0;
    r->os_errno = 0;
    r->tls_error = 0;
    r->reply = REPLY_MORE;
    if (r->due_us < p->look_us)
        p->look_us = r->due_us;
    if (!direct_write(c))
        direct_lose(c);
}

void direct_stop(struct direct *p, struct direct_request *r)
{
    if (r->conn) {
        direct_drop(r->conn);
        r->conn = NULL;
        return;
    }
    for (struct direct_request **at = &p->ended; *at; at = &(*at)->next)
        if (*at == r) {
            *at = r->next;
            p->m->ready--;
            break;
        }
    p->ended_tail = &p->ended;
    while (*p->ended_tail)
        p->ended_tail = &(*p->ended_tail)->next;
}

void direct_forget(struct direct_owner *owner)
{
    for (struct direct_conn *c = owner->idle, *next; c; c = next) {
        next = c->owner_next;
        direct_drop(c);
    }
}

struct direct_request *direct_done(struct direct *p)
{
    struct direct_request *r = p->ended;
    if (!r)
        return NULL;
    p->ended = r->next;
    if (!p->ended)
        p->ended_tail = &p->ended;
    p->m->ready--;
    return r;
}

int64_t direct_expire(struct direct *p, int64_t now_us)
{
    if (now_us < p->look_us)
        return p->look_us;
    p->look_us = INT64_MAX;
    for (struct direct_conn *c = p->busy, *next; c; c = next) {
        next = c->next;
        if (c->request->due_us <= now_us)
            direct_finish(c, DIRECT_TIMED_OUT, false);
        else if (c->request->due_us < p->look_us)
            p->look_us = c->request->due_us;
    }
    return p->look_us;
}
