/* SPDX-License-Identifier: MIT */
/* The epoll loop: a table from fd to handler, with a serial so that an event of a closed fd never reaches its
 * successor. */
#include "bridge/net/loop.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "bridge/lib/mem.h"

enum { LOOP_EVENTS = 256 };
#define WAKE_TAG UINT64_MAX

struct loop_slot {
    struct loop_handler *handler;
    uint32_t serial;
};

struct loop {
    int epoll_fd, wake_fd;
    struct loop_slot *slots; /* indexed by fd */
    size_t slot_count;
    uint32_t serial;
};

struct loop *loop_new(void)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0)
        return NULL;
    struct loop *l = mem_alloc(sizeof *l);
    *l = (struct loop){ .epoll_fd = fd, .wake_fd = -1 };
    return l;
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    close(l->epoll_fd);
    free(l->slots);
    free(l);
}

/* The slot of that fd; the table grows. */
static struct loop_slot *loop_slot_of(struct loop *l, int fd)
{
    size_t i = (size_t)fd;
    if (i >= l->slot_count) {
        size_t count = l->slot_count ? l->slot_count : 64;
        while (count <= i)
            count += count / 2; /* thousands of connections should not keep room for twice as many */
        l->slots = mem_grow(l->slots, count, sizeof *l->slots);
        memset(l->slots + l->slot_count, 0, (count - l->slot_count) * sizeof *l->slots);
        l->slot_count = count;
    }
    return &l->slots[i];
}

static uint64_t loop_tag_of(int fd, uint32_t serial)
{
    return (uint64_t)serial << 32 | (uint32_t)fd;
}

bool loop_add(struct loop *l, int fd, uint32_t events, struct loop_handler *h)
{
    struct loop_slot *slot = loop_slot_of(l, fd);
    uint32_t serial = ++l->serial & INT32_MAX; /* never all ones, so no tag equals WAKE_TAG */
    struct epoll_event ev = { .events = events, .data.u64 = loop_tag_of(fd, serial) };
    if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0)
        return false;
    *slot = (struct loop_slot){ .handler = h, .serial = serial };
    return true;
}

void loop_change(struct loop *l, int fd, uint32_t events, struct loop_handler *h)
{
    struct loop_slot *slot = loop_slot_of(l, fd);
    slot->handler = h;
    struct epoll_event ev = { .events = events, .data.u64 = loop_tag_of(fd, slot->serial) };
    CHECK(epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, fd, &ev) == 0);
}

void loop_remove(struct loop *l, int fd)
{
    loop_slot_of(l, fd)->handler = NULL;
    epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

/* The wake fd stays registered from one run to the next, since it is nearly always the same. */
static void loop_watch_wake(struct loop *l, int wake_fd)
{
    if (wake_fd == l->wake_fd)
        return;
    if (l->wake_fd >= 0)
        epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, l->wake_fd, NULL);
    l->wake_fd = wake_fd;
    struct epoll_event ev = { .events = EPOLLIN, .data.u64 = WAKE_TAG };
    if (wake_fd >= 0)
        epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, wake_fd, &ev);
}

void loop_run(struct loop *l, int wake_fd, int wait_ms)
{
    struct epoll_event events[LOOP_EVENTS];
    loop_watch_wake(l, wake_fd);
    int n = epoll_wait(l->epoll_fd, events, LOOP_EVENTS, wait_ms);
    CHECK(n >= 0 || errno == EINTR);
    for (int i = 0; i < n; i++) {
        if (events[i].data.u64 == WAKE_TAG)
            continue;
        struct loop_slot *slot = &l->slots[(uint32_t)events[i].data.u64];
        if (slot->handler && slot->serial == events[i].data.u64 >> 32)
            slot->handler->ready(slot->handler, events[i].events);
    }
}

int loop_fd(const struct loop *l)
{
    return l->epoll_fd;
}
