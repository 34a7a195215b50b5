/* SPDX-License-Identifier: MIT */
/* The benchmark's listeners. */
#include "listeners.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "bridge/lib/clock.h"
#include "tests/support/loopback.h"

enum { READ_BYTES = 1 << 20 };

struct one {
    int fd;
    bool open; /* the answer to the upgrade is read */
    uint64_t bytes, frames;
};

static void die(const char *what)
{
    perror(what);
    _exit(1);
}

static void connect_one(struct one *o, int port, bool upgrade, const char *target)
{
    o->fd = loopback_connect(port);
    if (!upgrade) {
        o->open = true;
        return;
    }
    char text[512];
    int n = snprintf(text, sizeof text,
                     "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                     "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                     target);
    if (write(o->fd, text, (size_t)n) != n)
        die("write");
}

/* The answer's head; what follows it stays for later. */
static bool read_head(struct one *o)
{
    char text[1024];
    long n = recv(o->fd, text, sizeof text - 1, MSG_PEEK | MSG_DONTWAIT);
    if (n <= 0)
        return false;
    text[n] = '\0';
    char *end = strstr(text, "\r\n\r\n");
    if (!end)
        return false;
    if (strncmp(text, "HTTP/1.1 101", 12) != 0) {
        fprintf(stderr, "not upgraded: %s\n", text);
        _exit(1);
    }
    o->open = recv(o->fd, text, (size_t)(end + 4 - text), 0) > 0;
    return true;
}

static void note_delays(struct listeners *l, uint64_t from, uint64_t to)
{
    int64_t now = clock_mono_us();
    for (uint64_t i = from; i < to; i++)
        delays_add(&l->delays, now - atomic_load_explicit(&l->sent_us[i % LISTENERS_TIMES], memory_order_relaxed));
}

static void receive(struct listeners *l, struct one *o, bool sampled)
{
    if (!o->open && read_head(o)) {
        atomic_fetch_add(&l->connected, 1);
        return;
    }
    long n = recv(o->fd, NULL, READ_BYTES, MSG_TRUNC | MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        atomic_fetch_add(&l->gone, 1);
        close(o->fd);
        o->open = false;
    }
    if (n <= 0)
        return;
    o->bytes += (uint64_t)n;
    uint64_t frames = o->bytes / atomic_load_explicit(&l->frame_bytes, memory_order_relaxed);
    if (sampled)
        note_delays(l, o->frames, frames);
    atomic_fetch_add_explicit(&l->total, frames - o->frames, memory_order_relaxed);
    o->frames = frames;
}

static void note_slowest(struct listeners *l, const struct one *all)
{
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < l->count; i++)
        if (all[i].frames < least)
            least = all[i].frames;
    atomic_store(&l->slowest, least);
}

static void run(void *shared)
{
    struct listeners *l = shared;
    struct one *all = calloc((size_t)l->count, sizeof *all);
    struct epoll_event events[1024];
    int ep = epoll_create1(EPOLL_CLOEXEC);
    uint32_t sampled = (uint32_t)(l->count / LISTENERS_SAMPLED + 1);
    for (int i = 0; i < l->count; i++) {
        connect_one(&all[i], l->port, l->upgrade, l->target);
        epoll_ctl(ep, EPOLL_CTL_ADD, all[i].fd, &(struct epoll_event){ .events = EPOLLIN, .data.u32 = (uint32_t)i });
        if (!l->upgrade)
            atomic_fetch_add(&l->connected, 1);
    }
    while (!atomic_load(&l->child.stop)) {
        int k = epoll_wait(ep, events, 1024, 100);
        for (int i = 0; i < k; i++)
            receive(l, &all[events[i].data.u32], events[i].data.u32 % sampled == 0);
        note_slowest(l, all);
    }
}

struct listeners *listeners_start(int n, int port, bool upgrade, const char *target)
{
    struct listeners *l = child_memory(sizeof *l);
    l->count = n;
    l->port = port;
    l->upgrade = upgrade;
    snprintf(l->target, sizeof l->target, "%s", target);
    atomic_store(&l->frame_bytes, 1);
    return child_start(&l->child, run) ? l : NULL;
}
