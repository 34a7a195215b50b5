/* SPDX-License-Identifier: MIT */
/* Servers that listen together: connections that go from the one that accepts to the others, and what all of them have. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "bridge/net/http/private.h"

struct twin_address {
    struct twin_address *next;
    size_t connections;
    bool unlimited;
    char network[];
};

struct twin {
    int wake_fd;
    bool ended;         /* takes no newcomers any more */
    size_t connections; /* those on their way to it among them */
    struct http_newcomer *first, *last;
};

struct http_twins {
    pthread_mutex_t lock; /* guards what follows */
    size_t count, left;   /* servers that ever were, that are still there */
    size_t connections;
    struct twin at[HTTP_TWINS];
    struct twin_address *addresses[HTTP_HOLDER_BUCKETS];
};

/* ---- counts; the lock is held ---- */

static struct twin_address **twins_address(struct http_twins *t, struct str network)
{
    struct twin_address **at = &t->addresses[str_hash(network) % HTTP_HOLDER_BUCKETS];
    while (*at && !str_eq(str_of((*at)->network), network))
        at = &(*at)->next;
    return at;
}

static void twins_add_address(struct http_twins *t, struct str network, bool unlimited)
{
    struct twin_address **at = twins_address(t, network);
    if (!*at) {
        *at = mem_alloc(sizeof **at + network.n + 1);
        memcpy((*at)->network, network.at, network.n);
        (*at)->unlimited = unlimited;
    }
    (*at)->connections++;
}

static void twins_remove_address(struct http_twins *t, struct str network)
{
    struct twin_address **at = twins_address(t, network), *a = *at;
    CHECK(a);
    if (--a->connections)
        return;
    *at = a->next;
    free(a);
}

/* ---- connections ---- */

void http_twins_enter(struct http_server *s, struct str network, bool unlimited)
{
    struct http_twins *t = s->twins;
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    twins_add_address(t, network, unlimited);
    t->connections++;
    t->at[s->twin].connections++;
    pthread_mutex_unlock(&t->lock);
}

void http_twins_leave(struct http_server *s, struct str network)
{
    struct http_twins *t = s->twins;
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    twins_remove_address(t, network);
    t->connections--;
    t->at[s->twin].connections--;
    pthread_mutex_unlock(&t->lock);
}

size_t http_twins_others(const struct http_server *s)
{
    struct http_twins *t = s->twins;
    pthread_mutex_lock(&t->lock);
    size_t n = t->connections - 1;
    pthread_mutex_unlock(&t->lock);
    return n;
}

size_t http_twins_of(const struct http_server *s, struct str network)
{
    struct http_twins *t = s->twins;
    pthread_mutex_lock(&t->lock);
    const struct twin_address *a = *twins_address(t, network);
    size_t n = a ? a->connections : 0;
    pthread_mutex_unlock(&t->lock);
    return n;
}

bool http_twins_are_unlimited(const struct http_server *s, struct str network)
{
    struct http_twins *t = s->twins;
    pthread_mutex_lock(&t->lock);
    const struct twin_address *a = *twins_address(t, network);
    bool unlimited = a && a->unlimited;
    pthread_mutex_unlock(&t->lock);
    return unlimited;
}

/* ---- newcomers ---- */

/* Hands it from one to the other; the lock is held. */
static void twins_hand(struct http_twins *t, size_t from, size_t to, const struct http_newcomer *n)
{
    struct twin *w = &t->at[to];
    struct http_newcomer *copy = mem_alloc(sizeof *copy);
    *copy = *n;
    copy->next = NULL;
    t->at[from].connections--;
    w->connections++;
    if (w->last)
        w->last->next = copy;
    else
        w->first = copy;
    w->last = copy;
    wake_up(w->wake_fd);
}

bool http_twins_place(struct http_server *s, const struct http_newcomer *n)
{
    struct http_twins *t = s->twins;
    size_t least = s->twin;
    if (!t)
        return false;
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < t->count; i++) /* the newcomer is among those of its own */
        if (!t->at[i].ended && t->at[i].connections + (i != s->twin) < t->at[least].connections + (least != s->twin))
            least = i;
    if (least != s->twin)
        twins_hand(t, s->twin, least, n);
    pthread_mutex_unlock(&t->lock);
    return least != s->twin;
}

bool http_twins_pass(struct http_server *s, struct http_newcomer *n)
{
    struct http_twins *t = s->twins;
    bool passed = false;
    if (!t)
        return false;
    pthread_mutex_lock(&t->lock);
    for (size_t i = s->twin; !passed && ++n->asked < t->count;) {
        i = (i + 1) % t->count;
        passed = !t->at[i].ended;
        if (passed)
            twins_hand(t, s->twin, i, n);
    }
    pthread_mutex_unlock(&t->lock);
    return passed;
}

bool http_twins_is_last(const struct http_server *s, const struct http_newcomer *n)
{
    return !s->twins || n->asked + 1 >= s->twins->count;
}

struct http_newcomer *http_twins_take(struct http_server *s)
{
    struct http_twins *t = s->twins;
    struct twin *w = &t->at[s->twin];
    wake_clear(w->wake_fd);
    pthread_mutex_lock(&t->lock);
    struct http_newcomer *first = w->first;
    w->first = w->last = NULL;
    pthread_mutex_unlock(&t->lock);
    return first;
}

/* ---- life ---- */

static void twins_add(struct http_twins *t, struct http_server *s)
{
    CHECK(t->count < HTTP_TWINS);
    s->twins = t;
    s->twin = t->count++;
    t->left++;
    t->at[s->twin].wake_fd = wake_new();
}

void http_twins_join(struct http_server *s, struct http_server *first)
{
    if (!first->twins) {
        struct http_twins *t = mem_alloc(sizeof *t);
        pthread_mutex_init(&t->lock, NULL);
        twins_add(t, first);
    }
    twins_add(first->twins, s);
}

int http_twins_fd(const struct http_server *s)
{
    return s->twins->at[s->twin].wake_fd;
}

void http_twins_end(struct http_server *s)
{
    if (!s->twins)
        return;
    pthread_mutex_lock(&s->twins->lock);
    s->twins->at[s->twin].ended = true;
    pthread_mutex_unlock(&s->twins->lock);
    for (struct http_newcomer *n = http_twins_take(s), *next; n; n = next) {
        next = n->next;
        http_twins_leave(s, str_of(n->network));
        close(n->fd);
        free(n);
    }
}

void http_twins_free(struct http_server *s)
{
    struct http_twins *t = s->twins;
    if (!t)
        return;
    close(t->at[s->twin].wake_fd);
    s->twins = NULL;
    if (--t->left)
        return;
    pthread_mutex_destroy(&t->lock);
    free(t);
}
