/* SPDX-License-Identifier: MIT */
/* A thread for each errand. */
#include "bridge/admin/errands.h"
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"

struct errand {
    struct errands *of;
    void (*work)(void *ctx);
    void (*done)(void *ctx);
    void *ctx;
    pthread_t thread;
};

struct errands {
    struct mailbox through; /* tags: addresses of errands */
    int wake_fd;
    size_t count;
};

struct errands *errands_new(void)
{
    struct errands *e = mem_alloc(sizeof *e);
    e->wake_fd = wake_new();
    mailbox_open(&e->through, e->wake_fd);
    return e;
}

static void *errands_work(void *arg)
{
    struct errand *one = arg;
    one->work(one->ctx);
    mailbox_put(&one->of->through, (uint64_t)(uintptr_t)one, 0, NULL);
    return NULL;
}

bool errands_run(struct errands *e, void (*work)(void *ctx), void (*done)(void *ctx), void *ctx)
{
    struct errand *one = e->count < ERRANDS_MOST ? mem_alloc(sizeof *one) : NULL;
    if (!one)
        return false;
    *one = (struct errand){ .of = e, .work = work, .done = done, .ctx = ctx };
    if (pthread_create(&one->thread, NULL, errands_work, one) != 0) {
        free(one);
        return false;
    }
    e->count++;
    return true;
}

int errands_fd(const struct errands *e)
{
    return e->wake_fd;
}

void errands_serve(struct errands *e)
{
    struct notice notices[ERRANDS_MOST];
    wake_clear(e->wake_fd);
    size_t n = mailbox_take(&e->through, notices, ERRANDS_MOST);
    for (size_t i = 0; i < n; i++) {
        struct errand *one = (struct errand *)(uintptr_t)notices[i].tag; /* NOLINT(performance-no-int-to-ptr) */
        pthread_join(one->thread, NULL);
        one->done(one->ctx);
        free(one);
        e->count--;
    }
}

bool errands_any(const struct errands *e)
{
    return e->count > 0;
}

void errands_finish(struct errands *e)
{
    while (e->count) {
        errands_serve(e);
        if (e->count)
            usleep(1000);
    }
}

void errands_free(struct errands *e)
{
    if (!e)
        return;
    errands_finish(e);
    mailbox_close(&e->through);
    close(e->wake_fd);
    free(e);
}
