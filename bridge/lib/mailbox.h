/* SPDX-License-Identifier: MIT */
/* Many threads put small notes in, one thread takes them out and is woken by an eventfd.
 *
 * The one way in which the core's threads talk to each other. Bounded by its users (who bound what is in flight).
 * The lock is held only to copy a note; the eventfd is written only when the box was empty, so a batch costs one
 * wake. */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct note {
    uint64_t tag;  /* whatever the taker needs to know it by */
    int32_t code;  /* e.g. an outcome */
    char why[116]; /* NUL-terminated, "" when there is nothing to say */
};

struct mailbox {
    pthread_mutex_t lock; /* guards notes, head, count, cap */
    struct note *notes;
    size_t head, count, cap;
    int wake_fd; /* eventfd; not owned */
};

void mailbox_open(struct mailbox *m, int wake_fd);
void mailbox_close(struct mailbox *m);
void mailbox_put(struct mailbox *m, uint64_t tag, int32_t code, const char *why); /* any thread; why may be NULL */
size_t mailbox_take(struct mailbox *m, struct note *out,
                    size_t room); /* the taker; oldest first; wakes itself again if some are left */

int wake_new(void);           /* an eventfd, non-blocking, close-on-exec; aborts when there is none to be had */
void wake_up(int wake_fd);    /* any thread, and signal handlers */
void wake_clear(int wake_fd); /* the taker, before it looks for news */
