/* SPDX-License-Identifier: MIT */
/* The mailbox and its wake-up call. */
#include "bridge/lib/mailbox.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "bridge/lib/mem.h"
#include "bridge/lib/str.h"

enum { FIRST_NOTICES = 16 };

struct kept_notice {
    uint64_t tag;
    int32_t code;
    char *why; /* NULL: nothing to say */
};

void mailbox_open(struct mailbox *m, int wake_fd)
{
    *m = (struct mailbox){ .wake_fd = wake_fd };
    pthread_mutex_init(&m->lock, NULL);
}

void mailbox_close(struct mailbox *m)
{
    for (size_t i = 0; i < m->count; i++)
        free(m->notices[m->head + i].why);
    pthread_mutex_destroy(&m->lock);
    free(m->notices);
    m->notices = NULL;
    m->count = 0;
}

/* Makes room for one more notice behind the last. The taken ones in front are reused once they are half of the
 * memory. */
static void mailbox_make_room(struct mailbox *m)
{
    if (m->head + m->count < m->cap)
        return;
    if (m->cap == 0 || m->head < m->cap / 2) {
        m->cap = m->cap > 0 ? m->cap * 2 : FIRST_NOTICES;
        m->notices = mem_grow(m->notices, m->cap, sizeof *m->notices);
        return;
    }
    memmove(m->notices, m->notices + m->head, m->count * sizeof *m->notices);
    m->head = 0;
}

void mailbox_put(struct mailbox *m, uint64_t tag, int32_t code, const char *why)
{
    char *copy = why && *why ? str_dup((struct str){ why, strnlen(why, WHY_BYTES - 1) }) : NULL;
    pthread_mutex_lock(&m->lock);
    mailbox_make_room(m);
    m->notices[m->head + m->count] = (struct kept_notice){ .tag = tag, .code = code, .why = copy };
    if (m->count++ == 0) /* under the lock: whoever has taken the last notice may close mailbox and eventfd */
        wake_up(m->wake_fd);
    pthread_mutex_unlock(&m->lock);
}

void mailbox_put_many(struct mailbox *m, const uint64_t *tags, size_t count, int32_t code)
{
    pthread_mutex_lock(&m->lock);
    bool news = m->count == 0 && count > 0;
    for (size_t i = 0; i < count; i++) {
        mailbox_make_room(m);
        m->notices[m->head + m->count++] = (struct kept_notice){ .tag = tags[i], .code = code };
    }
    if (news)
        wake_up(m->wake_fd);
    pthread_mutex_unlock(&m->lock);
}

size_t mailbox_take(struct mailbox *m, struct notice *out, size_t room)
{
    pthread_mutex_lock(&m->lock);
    size_t n = m->count < room ? m->count : room;
    for (size_t i = 0; i < n; i++) {
        const struct kept_notice *kept = &m->notices[m->head + i];
        out[i].tag = kept->tag;
        out[i].code = kept->code;
        why_copy(out[i].why, kept->why);
        free(kept->why);
    }
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
    int saved = errno; /* this may run in a signal handler */
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
