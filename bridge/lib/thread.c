/* SPDX-License-Identifier: MIT */
/* Waits with a limit: for a condition, for a thread's end, for work on a thread of its own. */
#include "bridge/lib/thread.h"
#include <stdlib.h>
#include "bridge/lib/mem.h"

struct timespec thread_until(struct duration from_now)
{
    int64_t ms = from_now.ms > 0 ? from_now.ms : 0;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += (time_t)(ms / 1000);
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

bool thread_wait(pthread_cond_t *changed, pthread_mutex_t *lock, struct timespec until)
{
    return pthread_cond_clockwait(changed, lock, CLOCK_MONOTONIC, &until) == 0;
}

#ifdef __SANITIZE_THREAD__
/* GCC's ThreadSanitizer does not know pthread_clockjoin_np, and would take what the thread did for a race. */
bool thread_join(pthread_t thread, struct duration limit)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (time_t)(limit.ms / 1000) + 1;
    return pthread_timedjoin_np(thread, NULL, &until) == 0;
}
#else
bool thread_join(pthread_t thread, struct duration limit)
{
    struct timespec until = thread_until(limit);
    return pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &until) == 0;
}
#endif

/* ---- work on a thread of its own ---- */

struct run { /* shared by the two threads; who comes last frees it */
    void *(*work)(void *);
    void *arg;
    pthread_mutex_t lock; /* guards ended, left */
    pthread_cond_t changed;
    bool ended, left; /* the work has; the waiting thread has */
};

static void thread_run_free(struct run *r)
{
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->changed);
    free(r);
}

static void *thread_run_main(void *arg)
{
    struct run *r = arg;
    r->work(r->arg);
    pthread_mutex_lock(&r->lock);
    r->ended = true;
    bool left = r->left;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
    if (left)
        thread_run_free(r);
    return NULL;
}

bool thread_run(void *(*work)(void *arg), void *arg, struct duration limit)
{
    struct run *r = mem_alloc(sizeof *r);
    *r = (struct run){ .work = work, .arg = arg };
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    pthread_t thread;
    if (pthread_create(&thread, NULL, thread_run_main, r) != 0) {
        thread_run_free(r);
        return false;
    }
    pthread_detach(thread);
    struct timespec until = thread_until(limit);
    pthread_mutex_lock(&r->lock);
    while (!r->ended && thread_wait(&r->changed, &r->lock, until))
        continue;
    bool ended = r->ended;
    r->left = !ended;
    pthread_mutex_unlock(&r->lock);
    if (ended)
        thread_run_free(r);
    return ended;
}
