/* SPDX-License-Identifier: MIT */
/* The mailbox and its wake-up call. */
#include "bridge/lib/mailbox.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "bridge/lib/mem.h"

enum { FIRST_NOTES = 16 };

void mailbox_open(struct mailbox *m, int wake_fd)
{
    *m = (struct mailbox){ .wake_fd = wake_fd };
    pthread_mutex_init(&m->lock, NULL);
}

void mailbox_close(struct mailbox *m)
{
    pthread_mutex_destroy(&m->lock);
    free(m->notes);
    m->notes = NULL;
    m->count = 0;
}

/* Room for one more note behind the last. The taken ones in front are reused once they are half of the memory. */
static void make_room(struct mailbox *m)
{
    if (m->head + m->count < m->cap)
        return;
    if (m->cap == 0 || m->head < m->cap / 2) {
        m->cap = m->cap > 0 ? m->cap * 2 : FIRST_NOTES;
        m->notes = mem_grow(m->notes, m->cap, sizeof *m->notes);
        return;
    }
    memmove(m->notes, m->notes + m->head, m->count * sizeof *m->notes);
    m->head = 0;
}

void mailbox_put(struct mailbox *m, uint64_t tag, int32_t code, const char *why)
{
    pthread_mutex_lock(&m->lock);
    make_room(m);
    struct note *note = &m->notes[m->head + m->count];
    note->tag = tag;
    note->code = code;
    size_t n = why ? strnlen(why, sizeof note->why - 1) : 0;
    if (n > 0)
        memcpy(note->why, why, n);
    note->why[n] = '\0';
    bool was_empty = m->count++ == 0;
    pthread_mutex_unlock(&m->lock);
    if (was_empty)
        wake_up(m->wake_fd);
}

size_t mailbox_take(struct mailbox *m, struct note *out, size_t room)
{
    pthread_mutex_lock(&m->lock);
    size_t n = m->count < room ? m->count : room;
    if (n > 0)
        memcpy(out, m->notes + m->head, n * sizeof *out);
    m->count -= n;
    m->head = m->count > 0 ? m->head + n : 0;
    bool left = m->count > 0;
    pthread_mutex_unlock(&m->lock);
    if (left)
        wake_up(m->wake_fd);
    return n;
}

int wake_new(void)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    CHECK(fd >= 0);
    return fd;
}

void wake_up(int wake_fd)
{
    int saved = errno; /* we may be in a signal handler */
    uint64_t one = 1;
    ssize_t written = write(wake_fd, &one, sizeof one);
    (void)written; /* only fails when the counter is full: then it is awake already */
    errno = saved;
}

void wake_clear(int wake_fd)
{
    uint64_t count;
    ssize_t n = read(wake_fd, &count, sizeof count);
    (void)n; /* fails when nothing was there, which is as good */
}
