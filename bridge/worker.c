/* SPDX-License-Identifier: MIT */
/* Threads around engines. */
#include "bridge/worker.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/thread.h"

enum {
    WORKER_ABANDON_MS = 5000, /* an engine that is abandoned ends within this */
    WORKER_IDLE_MS = 100,     /* between two calls of idle() */
};

struct worker {
    struct worker *next;
    const struct engine_ops *ops;
    void *engine;
    const char *id;
    pthread_t thread;
    bool running, abandoned;
    _Atomic int64_t end_ms; /* of the stop; set before the engine is told */
};

/* Lets the threads of others go before this one. The kernel counts niceness by thread; getting nicer needs no right. */
static void worker_give_way(const struct worker *w)
{
    errno = 0;
    int now = getpriority(PRIO_PROCESS, 0);
    if (w->ops->nice == 0 || (now == -1 && errno != 0))
        return;
    if (setpriority(PRIO_PROCESS, 0, now + w->ops->nice) != 0)
        LOG(WARN, "a thread keeps its priority", LOG_C(w->ops->kind, w->id), LOG_C("reason", strerror(errno)));
}

static void *worker_thread(void *ctx)
{
    struct worker *w = ctx;
    worker_give_way(w);
    while (w->ops->step(w->engine))
        continue;
    int64_t left = atomic_load(&w->end_ms) - clock_mono_ms();
    if (w->ops->leave)
        w->ops->leave(w->engine, (struct duration){ left > 0 ? left : 0 });
    return NULL;
}

/* Puts it behind those of its rank. */
static void worker_link(struct worker **list, struct worker *w)
{
    while (*list && (*list)->ops->rank <= w->ops->rank)
        list = &(*list)->next;
    w->next = *list;
    *list = w;
}

static void worker_free(struct worker *w)
{
    w->ops->free(w->engine);
    free(w);
}

static bool worker_is(const struct worker *w, const struct engine_ops *ops, const char *id)
{
    return (!ops || w->ops == ops) && (!id || strcmp(w->id, id) == 0);
}

void worker_add(struct workers *ws, const struct engine_ops *ops, void *engine, const char *id)
{
    struct worker *w = mem_alloc(sizeof *w);
    w->ops = ops;
    w->engine = engine;
    w->id = id;
    worker_link(&ws->first, w);
}

static bool worker_start(struct worker *w, struct err *e)
{
    int code = pthread_create(&w->thread, NULL, worker_thread, w);
    w->running = code == 0;
    return w->running || err_set(e, "cannot start a thread: %s", strerror(code));
}

/* Tells the engine to stop; worker_join waits for it. */
static void worker_stop(struct worker *w, int64_t end_ms)
{
    atomic_store(&w->end_ms, end_ms);
    if (w->running)
        w->ops->stop(w->engine);
}

/* Has the thread ended by then? */
static bool worker_wait(const struct workers *ws, struct worker *w, int64_t end_ms)
{
    for (;;) {
        int64_t left = end_ms - clock_mono_ms();
        bool last = left <= WORKER_IDLE_MS;
        if (thread_join(w->thread, (struct duration){ last ? left : WORKER_IDLE_MS }))
            return true;
        if (last)
            return false;
        if (ws->idle)
            ws->idle(ws->ctx);
    }
}

/* Waits until the thread ends; past end_ms its engine is abandoned. A thread that does not end even then is in a library
 * that hangs: the process leaves, which loses nothing. */
static void worker_join(const struct workers *ws, struct worker *w, int64_t end_ms)
{
    if (!w->running)
        return;
    if (!worker_wait(ws, w, end_ms)) {
        LOG(WARN, "the drain deadline passed; what is left is delivered after the next start",
            LOG_C(w->ops->kind, w->id));
        w->abandoned = true;
        w->ops->abandon(w->engine);
        if (!thread_join(w->thread, (struct duration){ WORKER_ABANDON_MS })) {
            LOG(ERROR, "a thread does not end; leaving", LOG_C(w->ops->kind, w->id));
            _exit(1);
        }
    }
    w->running = false;
}

const char *workers_next(const struct workers *ws, const struct engine_ops *ops, const char *id)
{
    bool behind = !id;
    for (const struct worker *w = ws->first; w; w = w->next) {
        if (behind && w->ops == ops && (!id || strcmp(w->id, id) != 0))
            return w->id;
        behind = behind || (w->ops == ops && strcmp(w->id, id) == 0);
    }
    return NULL;
}

bool workers_start(struct workers *ws, const struct engine_ops *ops, const char *id, struct err *e)
{
    for (struct worker *w = ws->first; w; w = w->next)
        if (worker_is(w, ops, id) && !w->running && !worker_start(w, e))
            return false;
    return true;
}

void workers_each(const struct workers *ws, const struct engine_ops *ops, const char *id,
                  void (*each)(void *ctx, void *engine), void *ctx)
{
    for (const struct worker *w = ws->first; w; w = w->next)
        if (worker_is(w, ops, id))
            each(ctx, w->engine);
}

void workers_tell(struct workers *ws, const struct engine_ops *ops, const char *id, int64_t end_ms)
{
    for (struct worker *w = ws->first; w; w = w->next)
        if (worker_is(w, ops, id))
            worker_stop(w, end_ms);
}

void workers_stop(struct workers *ws, const struct engine_ops *ops, const char *id, int64_t end_ms)
{
    workers_tell(ws, ops, id, end_ms);
    for (struct worker *w = ws->first; w; w = w->next)
        if (worker_is(w, ops, id))
            worker_join(ws, w, end_ms);
}

static void worker_close_from(struct worker *w, const struct engine_ops *ops, const char *id)
{
    if (!w)
        return;
    worker_close_from(w->next, ops, id);
    if (worker_is(w, ops, id))
        w->ops->close(w->engine);
}

void workers_close(struct workers *ws, const struct engine_ops *ops, const char *id)
{
    worker_close_from(ws->first, ops, id);
}

void workers_drop(struct workers *ws, const struct engine_ops *ops, const char *id)
{
    for (struct worker **at = &ws->first, *w; (w = *at);) {
        if (!worker_is(w, ops, id)) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        if (w->abandoned)
            worker_link(&ws->abandoned, w);
        else
            worker_free(w);
    }
}

bool workers_run(const struct workers *ws)
{
    for (const struct worker *w = ws->first; w; w = w->next)
        if (w->running)
            return true;
    return false;
}

bool workers_failed(const struct workers *ws, struct err *why)
{
    for (const struct worker *w = ws->first; w; w = w->next)
        if (w->ops->failed && w->ops->failed(w->engine, why))
            return true;
    return false;
}

void workers_free(struct workers *ws)
{
    for (struct worker *w = ws->abandoned, *next; w; w = next) {
        next = w->next;
        worker_link(&ws->first, w);
    }
    for (struct worker *w = ws->first, *next; w; w = next) {
        next = w->next;
        worker_free(w);
    }
    *ws = (struct workers){ .idle = ws->idle, .ctx = ws->ctx };
}
