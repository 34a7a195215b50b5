/* SPDX-License-Identifier: MIT */
/* Many threads put notices in, one thread takes them out and is woken by an eventfd.
 *
 * The one way in which the core's threads talk to each other. Bounded by its users (who bound what is in flight).
 * The lock is held only to copy a notice and, when the box was empty, to write the eventfd: many notices cost one wake,
 * and whoever has taken the last one may close the box. A notice that waits takes 24 bytes; its reason, which few have,
 * is kept apart. */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "bridge/lib/err.h"

struct notice {
    uint64_t tag;        /* whatever the taker needs to know it by */
    int32_t code;        /* e.g. an outcome */
    char why[WHY_BYTES]; /* "": nothing to say */
};

struct mailbox {
    pthread_mutex_t lock; /* guards notices, head, count, cap */
    struct kept_notice *notices;
    size_t head, count, cap;
    int wake_fd; /* eventfd; not owned */
};

void mailbox_open(struct mailbox *m, int wake_fd);
void mailbox_close(struct mailbox *m);
/* Any thread; why may be NULL. */
void mailbox_put(struct mailbox *m, uint64_t tag, int32_t code, const char *why);
/* The same for several at once that have nothing to say: one lock, one wake. */
void mailbox_put_many(struct mailbox *m, const uint64_t *tags, size_t count, int32_t code);
/* The taker; oldest first; wakes itself again if some are left. */
size_t mailbox_take(struct mailbox *m, struct notice *out, size_t room);

int wake_new(void);           /* an eventfd, non-blocking, close-on-exec; aborts when there is none to be had */
void wake_up(int wake_fd);    /* any thread, and signal handlers */
void wake_clear(int wake_fd); /* the taker, before it looks for news */
