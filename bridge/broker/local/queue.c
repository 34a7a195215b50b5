/* SPDX-License-Identifier: MIT */
/* The queue between those who publish and the writer: put in, taken out by groups, waited for. */
#include <stdlib.h>
#include "bridge/broker/local/private.h"
#include "bridge/lib/thread.h"

enum {
    QUEUE_PUBLICATIONS = 65536,
    QUEUE_BYTES = 32 << 20,
    GROUP_RECORDS = 1024,
    GROUP_BYTES = 4 << 20, /* most of one commit */
    SLEEP_MS = 1000,       /* longest sleep when something is due at some time */
};

/* Wakes the writer if it sleeps; queue_lock is held. */
static void queue_wake(struct local *b)
{
    if (b->sleeping) {
        b->sleeping = false;
        pthread_cond_signal(&b->work);
    }
}

/* ---- who publishes ---- */

bool local_queue_put(struct local *b, struct local_publication *p)
{
    pthread_mutex_lock(&b->queue_lock);
    bool room = b->queued == 0 || (b->queued < QUEUE_PUBLICATIONS && b->queued_bytes + p->bytes <= QUEUE_BYTES);
    if (room) {
        p->next = NULL;
        *b->last = p;
        b->last = &p->next;
        b->queued++;
        b->queued_bytes += p->bytes;
        b->open++;
        queue_wake(b);
    }
    pthread_mutex_unlock(&b->queue_lock);
    return room;
}

bool local_queue_ask(struct local *b, struct topic_request *r)
{
    pthread_mutex_lock(&b->queue_lock);
    while (b->request) /* another thread's */
        pthread_cond_wait(&b->changed, &b->queue_lock);
    b->request = r;
    queue_wake(b);
    while (!r->answered)
        pthread_cond_wait(&b->changed, &b->queue_lock);
    pthread_mutex_unlock(&b->queue_lock);
    return r->ok;
}

void local_queue_positions(struct local *b, int64_t due_ms)
{
    pthread_mutex_lock(&b->queue_lock);
    if (atomic_load(&b->positions_due) == INT64_MAX)
        atomic_store(&b->positions_due, due_ms);
    queue_wake(b);
    pthread_mutex_unlock(&b->queue_lock);
}

void local_queue_retain(struct local *b)
{
    pthread_mutex_lock(&b->queue_lock);
    atomic_store(&b->retaining, true);
    queue_wake(b);
    pthread_mutex_unlock(&b->queue_lock);
}

void local_queue_close(struct local *b)
{
    pthread_mutex_lock(&b->queue_lock);
    b->closing = true;
    queue_wake(b);
    pthread_mutex_unlock(&b->queue_lock);
}

bool local_queue_flush(struct local *b, struct duration limit)
{
    struct timespec until = thread_until(limit);
    pthread_mutex_lock(&b->queue_lock);
    b->waiters++;
    while (b->open > 0 && thread_wait(&b->changed, &b->queue_lock, until))
        continue;
    b->waiters--;
    bool all = b->open == 0;
    pthread_mutex_unlock(&b->queue_lock);
    return all;
}

static bool queue_positions_open(const struct local_consumer *c)
{
    for (size_t i = 0; i < c->assigned_count; i++)
        if (atomic_load(&c->assigned[i]->asked) > atomic_load(&c->assigned[i]->durable))
            return true;
    return false;
}

void local_queue_wait_positions(struct local_consumer *c, struct duration limit)
{
    struct local *b = c->b;
    struct timespec until = thread_until(limit);
    bool in_time = true;
    pthread_mutex_lock(&b->queue_lock);
    b->waiters++;
    while (queue_positions_open(c) && atomic_load(&b->status) != LOCAL_FAILED && in_time) {
        if (atomic_load(&b->status) == LOCAL_READY)
            atomic_store(&b->positions_due, INT64_MIN);
        queue_wake(b);
        in_time = thread_wait(&b->changed, &b->queue_lock, until);
    }
    b->waiters--;
    pthread_mutex_unlock(&b->queue_lock);
}

/* ---- the writer ---- */

/* When the writer has something to do even if nobody asks. */
static int64_t queue_due(struct local *b)
{
    if (atomic_load(&b->status) != LOCAL_READY)
        return b->probe_due;
    int64_t positions = atomic_load(&b->positions_due), retention = local_retention_due(b);
    return retention < positions ? retention : positions;
}

/* With queue_lock held: sleeps until somebody wakes it or `due`, on the real clock even when tests fake ours. */
static void queue_sleep(struct local *b, int64_t due, int64_t now)
{
    b->sleeping = true;
    if (due == INT64_MAX) {
        pthread_cond_wait(&b->work, &b->queue_lock);
    } else {
        struct duration wait = { due - now < SLEEP_MS ? due - now : SLEEP_MS };
        thread_wait(&b->work, &b->queue_lock, thread_until(wait));
    }
    b->sleeping = false;
}

struct local_group local_queue_take(struct local *b)
{
    struct local_group g = { .first = NULL };
    pthread_mutex_lock(&b->queue_lock);
    for (;;) {
        int64_t due = queue_due(b), now = clock_mono_ms();
        if (b->first || b->request || b->closing || due <= now)
            break;
        queue_sleep(b, due, now);
    }
    struct local_publication **end = &b->first;
    size_t records = 0, bytes = 0;
    g.first = b->first;
    while (
        *end
        && (g.count == 0 || (records + (*end)->item_count <= GROUP_RECORDS && bytes + (*end)->bytes <= GROUP_BYTES))) {
        records += (*end)->item_count;
        bytes += (*end)->bytes;
        g.count++;
        end = &(*end)->next;
    }
    b->first = *end;
    *end = NULL;
    if (!b->first)
        b->last = &b->first;
    if (g.count == 0)
        g.first = NULL;
    b->queued -= g.count;
    b->queued_bytes -= bytes;
    g.request = b->request;
    b->request = NULL;
    g.idle = !b->first;
    g.last = b->closing && !b->first;
    pthread_mutex_unlock(&b->queue_lock);
    return g;
}

void local_queue_settled(struct local *b, size_t count)
{
    pthread_mutex_lock(&b->queue_lock);
    b->open -= count;
    if (b->waiters)
        pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->queue_lock);
}

void local_queue_answered(struct local *b, struct topic_request *r, bool ok)
{
    pthread_mutex_lock(&b->queue_lock);
    r->ok = ok;
    r->answered = true;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->queue_lock);
}
