/* SPDX-License-Identifier: MIT */
/* Lanes of jobs. */
#include "bridge/admin/jobs.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"

struct jobs_list {
    struct job *first, *last;
    size_t count;
};

struct jobs_lane {
    struct jobs *of;
    pthread_t thread;
    bool runs;            /* main thread only */
    pthread_mutex_t lock; /* guards waiting, stop */
    pthread_cond_t changed;
    struct jobs_list waiting;
    bool stop;
};

struct jobs {
    struct jobs_lane lanes[LANES];
    pthread_mutex_t lock; /* guards done */
    struct jobs_list done;
    atomic_bool stopping;
    int wake_fd;
    size_t open; /* not ended; main thread */
};

static void jobs_put(struct jobs_list *list, struct job *j)
{
    j->next = NULL;
    if (list->last)
        list->last->next = j;
    else
        list->first = j;
    list->last = j;
    list->count++;
}

static struct job *jobs_take(struct jobs_list *list)
{
    struct job *j = list->first;
    if (!j)
        return NULL;
    list->first = j->next;
    list->last = list->first ? list->last : NULL;
    list->count--;
    return j;
}

/* The lane's next job; NULL: it is to end. */
static struct job *jobs_next(struct jobs_lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    while (!lane->waiting.first && !lane->stop)
        pthread_cond_wait(&lane->changed, &lane->lock);
    struct job *j = jobs_take(&lane->waiting);
    pthread_mutex_unlock(&lane->lock);
    return j;
}

static void *jobs_main(void *ctx)
{
    struct jobs_lane *lane = ctx;
    for (struct job *j; (j = jobs_next(lane));) {
        if (!atomic_load(&lane->of->stopping) && j->work)
            j->work(j);
        pthread_mutex_lock(&lane->of->lock);
        jobs_put(&lane->of->done, j);
        pthread_mutex_unlock(&lane->of->lock);
        wake_up(lane->of->wake_fd);
    }
    return NULL;
}

struct jobs *jobs_new(void)
{
    struct jobs *jobs = mem_alloc(sizeof *jobs);
    jobs->wake_fd = wake_new();
    pthread_mutex_init(&jobs->lock, NULL);
    for (size_t i = 0; i < LANES; i++) {
        jobs->lanes[i].of = jobs;
        pthread_mutex_init(&jobs->lanes[i].lock, NULL);
        pthread_cond_init(&jobs->lanes[i].changed, NULL);
    }
    return jobs;
}

static void jobs_stop_lane(struct jobs_lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    lane->stop = true;
    pthread_cond_signal(&lane->changed);
    pthread_mutex_unlock(&lane->lock);
    if (lane->runs)
        pthread_join(lane->thread, NULL);
    pthread_mutex_destroy(&lane->lock);
    pthread_cond_destroy(&lane->changed);
}

void jobs_free(struct jobs *jobs)
{
    if (!jobs)
        return;
    atomic_store(&jobs->stopping, true);
    for (size_t i = 0; i < LANES; i++)
        jobs_stop_lane(&jobs->lanes[i]);
    jobs_turn(jobs);
    pthread_mutex_destroy(&jobs->lock);
    close(jobs->wake_fd);
    free(jobs);
}

int jobs_fd(const struct jobs *jobs)
{
    return jobs->wake_fd;
}

void jobs_turn(struct jobs *jobs)
{
    struct job *j;
    wake_clear(jobs->wake_fd);
    do {
        pthread_mutex_lock(&jobs->lock);
        j = jobs_take(&jobs->done);
        pthread_mutex_unlock(&jobs->lock);
        jobs->open -= j != NULL;
        if (j)
            j->end(j);
    } while (j);
}

bool jobs_any(const struct jobs *jobs)
{
    return jobs->open > 0;
}

bool jobs_add(struct jobs *jobs, enum lane which, struct job *j)
{
    struct jobs_lane *lane = &jobs->lanes[which];
    if (!lane->runs && pthread_create(&lane->thread, NULL, jobs_main, lane) != 0)
        return false;
    lane->runs = true;
    pthread_mutex_lock(&lane->lock);
    bool room = lane->waiting.count < JOBS_WAITING;
    if (room)
        jobs_put(&lane->waiting, j);
    pthread_cond_signal(&lane->changed);
    pthread_mutex_unlock(&lane->lock);
    jobs->open += room;
    return room;
}

bool jobs_stopping(const struct jobs *jobs)
{
    return atomic_load(&jobs->stopping);
}
