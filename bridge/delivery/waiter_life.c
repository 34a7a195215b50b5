/* SPDX-License-Identifier: MIT */
/* The waiter's life and its turn. */
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "bridge/delivery/waiter_private.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

METRIC_COUNTER(aqueduct_waiting_moves_total,
               "Waiting events that went on to another waiting topic: not due yet, or their sink had no room.", NULL);

enum {
    WAITER_POLL = 64,     /* records of one turn */
    WAITER_STORING = 256, /* most copies on their way */
    WAITER_ASLEEP_MS = 2000,
    WAITER_STOCK = 256,    /* records: a sink that has so many is busy for a while, */
    WAITER_REST_US = 1000, /* for this one; a turn behind each that it finishes would cost more than the record */
};

struct waiter *waiter_new(const struct broker_config *names, struct broker *broker)
{
    struct waiter *w = mem_alloc(sizeof *w);
    w->broker = broker;
    w->names = names;
    w->wake_fd = wake_new();
    w->began_ms = clock_wall_ms();
    w->moves = metric_get(&aqueduct_waiting_moves_total, NULL);
    w->group = ladder_group(names);
    ladder_open(&w->ladder, names->prefix);
    mailbox_open(&w->stored, w->wake_fd);
    mailbox_open(&w->reports, w->wake_fd);
    w->errand = errand_new(w->wake_fd);
    return w;
}

/* ---- the turn ---- */

/* Polls; true when there may be more at once. */
static bool waiter_poll(struct waiter *w)
{
    struct err e = { "" };
    struct record *records[WAITER_POLL];
    if (!w->consumer)
        return false;
    size_t room = w->shelf.storing < WAITER_STORING && !atomic_load(&w->stopping) ? WAITER_POLL : 0;
    int n = consumer_poll(w->consumer, records, room, &e);
    if (n < 0 && !w->poll_failed)
        LOG(ERROR, "reading the waiting topics failed; trying again", LOG_C("reason", e.text));
    if (n > 0 && w->poll_failed)
        LOG(INFO, "reading the waiting topics works again", LOG_C("group", w->group));
    w->poll_failed = n < 0 || (n == 0 && w->poll_failed);
    if (n > 0 && w->survey == SURVEY_DUE)
        waiter_survey(w);
    for (int i = 0; i < n; i++)
        waiter_take(w, records[i]);
    shelf_hold(&w->shelf);
    return n > 0;
}

static int64_t waiter_wait(const struct waiter *w, struct duration most)
{
    int64_t next = shelf_next(&w->shelf), due = shelf_commit_due(&w->shelf);
    int64_t wait = most.ms < WAITER_ASLEEP_MS ? most.ms : WAITER_ASLEEP_MS;
    if (next != INT64_MAX && next - clock_elapsed_ms() < wait)
        wait = next - clock_elapsed_ms();
    if (due != INT64_MAX && due - clock_mono_ms() < wait)
        wait = due - clock_mono_ms();
    return wait > 0 ? wait : 0;
}

/* Does a sink work on so much that its reports are better taken many at a time? */
static bool waiter_has_stocked(const struct waiter *w)
{
    for (size_t i = 0; i < w->sink_count; i++)
        if (w->sinks[i]->out >= WAITER_STOCK)
            return true;
    return false;
}

/* Until there is news, or the time of something has come. */
static void waiter_sleep(const struct waiter *w, struct duration most)
{
    int64_t wait = waiter_wait(w, most);
    if (wait > 0 && waiter_has_stocked(w))
        nanosleep(&(struct timespec){ .tv_nsec = WAITER_REST_US * 1000L }, NULL);
    poll(&(struct pollfd){ .fd = w->wake_fd, .events = POLLIN }, 1, (int)wait);
}

bool waiter_step(struct waiter *w, struct duration wait)
{
    wake_clear(w->wake_fd); /* before anything is looked at, so that no news is slept over */
    bool stopped = atomic_load(&w->stopping);
    if (atomic_load(&w->abandoned))
        return false;
    if (w->groups && !stopped && register_due(w->groups) <= clock_mono_ms())
        register_look(w->groups, w->broker);
    errand_answer(w->errand);
    if (w->again)
        waiter_count_again(w);
    waiter_take_stored(w);
    waiter_take_reports(w);
    for (struct shelved *en; !stopped && (en = shelf_due(&w->shelf, clock_elapsed_ms()));)
        waiter_look(w, en);
    if (!stopped)
        waiter_offer(w);
    bool more = waiter_poll(w);
    shelf_commit(&w->shelf, false);
    if (stopped && w->shelf.storing == 0)
        return false;
    if (!more)
        waiter_sleep(w, wait);
    return true;
}

void waiter_stop(struct waiter *w)
{
    atomic_store(&w->stopping, true);
    wake_up(w->wake_fd);
}

void waiter_abandon(struct waiter *w)
{
    atomic_store(&w->abandoned, true);
    wake_up(w->wake_fd);
}

void waiter_close(struct waiter *w)
{
    if (!w || !w->consumer)
        return;
    w->closing = true;
    orphans_forget(&w->orphans);
    shelf_commit(&w->shelf, true);
    consumer_close(w->consumer);
    w->consumer = NULL;
}

void waiter_free(struct waiter *w)
{
    if (!w)
        return;
    waiter_close(w);
    shelf_close(&w->shelf);
    mailbox_close(&w->stored);
    mailbox_close(&w->reports);
    ladder_close(&w->ladder);
    ranges_free(&w->settled);
    replaced_free(&w->replaced);
    register_free(w->groups);
    errand_free(w->errand);
    for (size_t i = 0; i < w->sink_count; i++)
        free(w->sinks[i]);
    free(w->sinks);
    free(w->group);
    close(w->wake_fd);
    free(w);
}
