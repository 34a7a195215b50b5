/* SPDX-License-Identifier: MIT */
/* Hash tables of addresses, users and subscriptions, with what they have. */
#include "connectors/websocket/peers.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/mem.h"

enum { PEERS_BUCKETS = 1024 };

struct want {
    struct want *next;
    uint32_t threads;       /* that have it */
    struct peer *owners[2]; /* address and user because of whom it is there */
    char key[];
};

struct peers {
    pthread_mutex_t lock; /* guards what follows */
    struct peer *buckets[PEER_KINDS][PEERS_BUCKETS];
    struct want *wants[PEERS_BUCKETS];
    size_t want_count;
    size_t bytes; /* of events on their way */
};

struct peers *peers_new(void)
{
    struct peers *p = mem_alloc(sizeof *p);
    pthread_mutex_init(&p->lock, NULL);
    return p;
}

/* ---- the table; the lock is held ---- */

static struct peer **peers_bucket(struct peers *p, enum peer_kind kind, struct str name)
{
    return &p->buckets[kind][str_hash(name) % PEERS_BUCKETS];
}

/* A new one if need be. */
static struct peer *peers_get(struct peers *p, enum peer_kind kind, struct str name)
{
    struct peer **first = peers_bucket(p, kind, name), *one = *first;
    while (one && !str_eq(one->name, name))
        one = one->next;
    if (one)
        return one;
    one = mem_alloc(sizeof *one);
    *one = (struct peer){ .of = p, .next = *first, .name = { str_dup(name), name.n } };
    return *first = one;
}

static void peers_drop(struct peer **at)
{
    struct peer *one = *at;
    *at = one->next;
    free((void *)(uintptr_t)one->name.at);
    free(one);
}

static bool peers_is_idle(const struct peer *one, int64_t now_us)
{
    bool full = true;
    for (int i = 0; i < PEER_RATES; i++)
        full = full && one->full_us[i] <= now_us;
    return full && !one->listeners && !one->held && !one->publishing && !one->wants;
}

void peers_sweep(struct peers *p, int64_t now_us)
{
    pthread_mutex_lock(&p->lock);
    for (int kind = 0; kind < PEER_KINDS; kind++)
        for (size_t i = 0; i < PEERS_BUCKETS; i++)
            for (struct peer **at = &p->buckets[kind][i]; *at;)
                if (peers_is_idle(*at, now_us))
                    peers_drop(at);
                else
                    at = &(*at)->next;
    pthread_mutex_unlock(&p->lock);
}

void peers_free(struct peers *p)
{
    if (!p)
        return;
    CHECK(p->want_count == 0);
    for (int kind = 0; kind < PEER_KINDS; kind++)
        for (size_t i = 0; i < PEERS_BUCKETS; i++)
            while (p->buckets[kind][i])
                peers_drop(&p->buckets[kind][i]);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

/* ---- coming and going ---- */

struct peer *peers_enter(struct peers *p, enum peer_kind kind, struct str name, int64_t most)
{
    pthread_mutex_lock(&p->lock);
    struct peer *one = peers_get(p, kind, name);
    bool enters = one->listeners < most || str_eq(name, STR("unix"));
    one->listeners += enters;
    pthread_mutex_unlock(&p->lock);
    return enters ? one : NULL;
}

struct peer *peers_hold(struct peers *p, enum peer_kind kind, struct str name)
{
    pthread_mutex_lock(&p->lock);
    struct peer *one = peers_get(p, kind, name);
    one->held++;
    pthread_mutex_unlock(&p->lock);
    return one;
}

/* Takes one off a count of it, and forgets it when that was all. */
static void peers_count_down(struct peer *one, uint32_t *count, int64_t now_us)
{
    struct peers *p = one->of;
    pthread_mutex_lock(&p->lock);
    --*count;
    for (int kind = 0; kind < PEER_KINDS && peers_is_idle(one, now_us); kind++)
        for (struct peer **at = peers_bucket(p, (enum peer_kind)kind, one->name); *at; at = &(*at)->next)
            if (*at == one) {
                peers_drop(at);
                pthread_mutex_unlock(&p->lock);
                return;
            }
    pthread_mutex_unlock(&p->lock);
}

void peer_leave(struct peer *one, int64_t now_us)
{
    peers_count_down(one, &one->listeners, now_us);
}

void peer_release(struct peer *one, int64_t now_us)
{
    peers_count_down(one, &one->held, now_us);
}

int64_t peer_take(struct peer *one, enum peer_rate rate, const struct bucket_size *size, int64_t now_us)
{
    pthread_mutex_lock(&one->of->lock);
    int64_t *full_us = &one->full_us[rate], wait = bucket_wait(*full_us, size, 1, now_us);
    if (wait <= 0)
        *full_us = bucket_take(*full_us, size, 1, now_us);
    pthread_mutex_unlock(&one->of->lock);
    return wait > 0 ? wait : 0;
}

uint32_t peers_nameless(struct peers *p, struct str address)
{
    pthread_mutex_lock(&p->lock);
    uint32_t n = peers_get(p, PEER_ADDRESS, address)->nameless;
    pthread_mutex_unlock(&p->lock);
    return n;
}

void peer_add_nameless(struct peer *one, bool more)
{
    pthread_mutex_lock(&one->of->lock);
    one->nameless += more ? 1 : UINT32_MAX; /* one less */
    pthread_mutex_unlock(&one->of->lock);
}

/* ---- events on their way ---- */

enum peer_room peer_publish(struct peer *one, const struct peer_publishing *most, size_t bytes, uint32_t *now)
{
    struct peers *p = one->of;
    enum peer_room room = PEER_HAS_ROOM;
    pthread_mutex_lock(&p->lock);
    *now = one->publishing;
    if (one->publishing >= most->in_flight || (one->bytes && one->bytes + bytes > most->bytes))
        room = PEER_IS_FULL;
    else if (p->bytes >= most->all_bytes)
        room = PEERS_ARE_FULL;
    if (room == PEER_HAS_ROOM) {
        one->publishing++;
        one->bytes += bytes;
        p->bytes += bytes;
    }
    pthread_mutex_unlock(&p->lock);
    return room;
}

void peer_resize(struct peer *one, size_t before, size_t after)
{
    pthread_mutex_lock(&one->of->lock);
    one->bytes = one->bytes - before + after;
    one->of->bytes = one->of->bytes - before + after;
    pthread_mutex_unlock(&one->of->lock);
}

void peer_published(struct peer *one, size_t bytes)
{
    pthread_mutex_lock(&one->of->lock);
    one->publishing--;
    one->bytes -= bytes;
    one->of->bytes -= bytes;
    pthread_mutex_unlock(&one->of->lock);
}

/* ---- subscriptions ---- */

/* May there be one more because of these? */
static bool peers_may_want(const struct peers *p, const struct want_most *most, const struct peer *address,
                           const struct peer *user, struct err *e)
{
    if (p->want_count >= most->all)
        return err_set(e, "too many different subscriptions; see option max_subscriptions");
    bool limited = address && most->per_ip && !str_eq(address->name, STR("unix"));
    if (limited && address->wants >= most->per_ip)
        return err_set(e, "too many different subscriptions of your address; see option max_subscriptions_per_ip");
    if (user && most->per_user && user->wants >= most->per_user)
        return err_set(e, "too many different subscriptions of yours; see option max_subscriptions_per_user");
    return true;
}

static struct want *peers_add_want(struct peers *p, struct want **first, const char *key, struct peer *address,
                                   struct peer *user)
{
    size_t n = strlen(key) + 1;
    struct want *w = mem_alloc(sizeof *w + n);
    *w = (struct want){ .next = *first, .owners = { address, user } };
    memcpy(w->key, key, n);
    for (size_t i = 0; i < 2; i++)
        if (w->owners[i])
            w->owners[i]->wants++;
    p->want_count++;
    return *first = w;
}

struct want *peers_want(struct peers *p, const char *key, const struct want_most *most, struct peer *address,
                        struct peer *user, struct err *e)
{
    struct want **first = &p->wants[str_hash(str_of(key)) % PEERS_BUCKETS];
    pthread_mutex_lock(&p->lock);
    struct want *w = *first;
    while (w && strcmp(w->key, key) != 0)
        w = w->next;
    if (!w && peers_may_want(p, most, address, user, e))
        w = peers_add_want(p, first, key, address, user);
    if (w)
        w->threads++;
    pthread_mutex_unlock(&p->lock);
    return w;
}

void peers_want_no_more(struct peers *p, struct want *w)
{
    pthread_mutex_lock(&p->lock);
    if (--w->threads == 0) {
        struct want **at = &p->wants[str_hash(str_of(w->key)) % PEERS_BUCKETS];
        while (*at != w)
            at = &(*at)->next;
        *at = w->next;
        for (size_t i = 0; i < 2; i++)
            if (w->owners[i])
                w->owners[i]->wants--;
        p->want_count--;
        free(w);
    }
    pthread_mutex_unlock(&p->lock);
}

size_t peers_wants(struct peers *p)
{
    pthread_mutex_lock(&p->lock);
    size_t n = p->want_count;
    pthread_mutex_unlock(&p->lock);
    return n;
}
