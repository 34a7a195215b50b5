/* SPDX-License-Identifier: MIT */
/* The books: what was acknowledged, what arrived, what the log says of the rest. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "bridge/broker/broker.h"
#include "bridge/cli/prove_private.h"
#include "bridge/delivery/ladder.h"
#include "bridge/event/event.h"
#include "bridge/event/trail.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "bridge/net/http/http.h"

enum { BOOKS_MOODY_TIMES = 2, BOOKS_BODY = 64 };

/* ---- the receiver ---- */

/* The event's number; -1: it is none of ours. With the lock. */
static int64_t books_number(const struct prove_books *b, struct str id)
{
    uint64_t n;
    return str_to_u64(id, &n) && n < b->count ? (int64_t)n : -1;
}

/* Takes it, unless it is one that is refused, or asked for later at first; the status. */
static int books_arrived(struct prove_books *b, struct str id, struct str body)
{
    char expected[BOOKS_BODY];
    pthread_mutex_lock(&b->lock);
    int64_t n = books_number(b, id);
    struct prove_event *ev = n < 0 ? NULL : &b->at[n];
    int status = !ev || prove_books_doomed(n) ? 422 : n % PROVE_MOODY == 0 && ev->tries < BOOKS_MOODY_TIMES ? 503 : 204;
    if (status == 503)
        ev->tries++;
    if (status == 204) {
        snprintf(expected, sizeof expected, "{\"n\":%lld}", (long long)n);
        ev->changed = ev->changed || !str_eq(body, str_of(expected));
        ev->arrived++;
        b->arrivals++;
    }
    pthread_mutex_unlock(&b->lock);
    return status;
}

static void books_request(void *ctx, const struct http_request *r)
{
    struct prove_books *b = ctx;
    http_server_reply(b->server, r->id, books_arrived(b, http_header(r, "ce-id", NULL), r->body), NULL, 0, STR(""));
}

static void *books_run(void *arg)
{
    struct prove_books *b = arg;
    while (!atomic_load(&b->stop))
        http_server_run(b->server, b->wake_fd, -1);
    return NULL;
}

bool prove_books_open(struct prove_books *b, struct err *e)
{
    struct http_server_options o = { .listen = (char[]){ "127.0.0.1:0" } };
    const struct http_events events = { .request = books_request, .ctx = b };
    unsigned char random[16];
    struct buf hex = buf_new(sizeof b->token - 1);
    pthread_mutex_init(&b->lock, NULL);
    b->wake_fd = wake_new();
    crypto_random(random, sizeof random);
    hex_add(&hex, (struct str){ (const char *)random, sizeof random });
    snprintf(b->token, sizeof b->token, "%.*s", STR_ARG(buf_str(&hex)));
    buf_free(&hex);
    b->server = http_server_new(&o, &events, e);
    if (!b->server)
        return false;
    b->port = http_server_port(b->server);
    b->running = pthread_create(&b->thread, NULL, books_run, b) == 0;
    return b->running || err_set(e, "no thread for the receiver");
}

void prove_books_close(struct prove_books *b)
{
    atomic_store(&b->stop, true);
    wake_up(b->wake_fd);
    if (b->running)
        pthread_join(b->thread, NULL);
    if (b->server)
        http_server_free(b->server);
    close(b->wake_fd);
    pthread_mutex_destroy(&b->lock);
    free(b->at);
    free(b->socket);
}

/* ---- the senders' side ---- */

int64_t prove_books_next(struct prove_books *b)
{
    int64_t n = -1;
    pthread_mutex_lock(&b->lock);
    if (b->count < PROVE_EVENTS) {
        if (b->count == b->cap) {
            b->cap = b->cap ? 2 * b->cap : 4096;
            b->at = mem_grow(b->at, b->cap, sizeof *b->at);
        }
        n = (int64_t)b->count++;
        b->at[n] = (struct prove_event){ 0 };
    }
    pthread_mutex_unlock(&b->lock);
    return n;
}

void prove_books_acknowledged(struct prove_books *b, int64_t n)
{
    pthread_mutex_lock(&b->lock);
    b->at[n].acknowledged = true;
    b->acked_ms = clock_mono_ms();
    pthread_mutex_unlock(&b->lock);
}

int64_t prove_books_acked_ms(struct prove_books *b)
{
    pthread_mutex_lock(&b->lock);
    int64_t ms = b->acked_ms;
    pthread_mutex_unlock(&b->lock);
    return ms;
}

bool prove_books_doomed(int64_t n)
{
    return n % PROVE_DOOMED == PROVE_DOOMED - 1;
}

/* ---- what the log says ---- */

struct books_look {
    struct prove_books *books;
    const struct config *config;
    char *group; /* of the sink */
    bool dead;
};

static bool books_record(void *ctx, const struct record *r)
{
    struct books_look *l = ctx;
    const struct event *ev = event_from_record(r, NULL);
    pthread_mutex_lock(&l->books->lock);
    int64_t n = ev ? books_number(l->books, ev->id) : -1;
    if (n >= 0 && l->dead)
        l->books->at[n].dead = true;
    else if (n >= 0)
        l->books->at[n].pending = true;
    pthread_mutex_unlock(&l->books->lock);
    event_unref(ev);
    return true;
}

static bool books_topic(void *ctx, const char *topic, const char *group, struct err *e)
{
    const struct books_look *l = ctx;
    const struct look_options o = { .topic = topic, .group = group, .may_lack = true };
    return look_once(&l->config->broker, &o, books_record, ctx, e);
}

bool prove_books_look(struct prove_books *b, const struct config *c, struct err *e)
{
    struct books_look l = { .books = b, .config = c, .dead = true };
    char *dead = topic_name(c->broker.prefix, TOPIC_DEAD_LETTER, NULL);
    const struct topic_config *topic = c->topics.at;
    pthread_mutex_lock(&b->lock);
    for (size_t i = 0; i < b->count; i++)
        b->at[i].pending = false;
    pthread_mutex_unlock(&b->lock);
    bool ok = books_topic(&l, dead, NULL, e);
    l.dead = false;
    l.group = str_join(c->broker.group_prefix, "receiver", "");
    ok = ok && books_topic(&l, topic->name, l.group, e) && ladder_topics(&c->broker, books_topic, &l, e);
    free(l.group);
    free(dead);
    return ok;
}

struct prove_totals prove_books_total(struct prove_books *b)
{
    struct prove_totals t = { 0 };
    pthread_mutex_lock(&b->lock);
    t.sent = (int64_t)b->count;
    for (size_t i = 0; i < b->count; i++) {
        const struct prove_event *ev = &b->at[i];
        t.repeats += ev->arrived > 1 ? ev->arrived - 1 : 0;
        t.changed += ev->changed;
        if (!ev->acknowledged)
            continue;
        t.acknowledged++;
        if (ev->arrived)
            t.delivered++;
        else if (ev->dead)
            t.dead++;
        else if (ev->pending)
            t.pending++;
        else
            t.lost++;
    }
    pthread_mutex_unlock(&b->lock);
    return t;
}
