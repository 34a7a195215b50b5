/* SPDX-License-Identifier: MIT */
/* Hands an errand over, and waits for it. */
#include "bridge/lib/errand.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/thread.h"

struct errand {
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t done;
    bool (*what)(void *ctx, struct err *e); /* NULL: nothing is to be done, or it is done */
    void *ctx;
    bool ok;
    struct err e;
    int wake_fd;
    atomic_bool asked;
};

struct errand *errand_new(int wake_fd)
{
    struct errand *r = mem_alloc(sizeof *r);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->done, NULL);
    r->wake_fd = wake_fd;
    return r;
}

void errand_free(struct errand *r)
{
    if (!r)
        return;
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->done);
    free(r);
}

void errand_answer(struct errand *r)
{
    if (!atomic_load_explicit(&r->asked, memory_order_relaxed))
        return;
    pthread_mutex_lock(&r->lock);
    if (r->what)
        r->ok = r->what(r->ctx, &r->e);
    r->what = NULL;
    atomic_store(&r->asked, false);
    pthread_cond_signal(&r->done);
    pthread_mutex_unlock(&r->lock);
}

bool errand_run(struct errand *r, bool (*what)(void *ctx, struct err *e), void *ctx, struct timespec until,
                struct err *e)
{
    pthread_mutex_lock(&r->lock);
    r->what = what;
    r->ctx = ctx;
    r->e = (struct err){ "" };
    atomic_store(&r->asked, true);
    wake_up(r->wake_fd);
    while (r->what && thread_wait(&r->done, &r->lock, until))
        continue;
    bool done = !r->what, ok = done && r->ok;
    if (!done)
        err_set(&r->e, "its thread has no time for it; nothing was changed");
    r->what = NULL;
    if (!ok)
        *e = r->e;
    pthread_mutex_unlock(&r->lock);
    return ok;
}
