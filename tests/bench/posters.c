/* SPDX-License-Identifier: MIT */
/* The benchmark's senders. */
#include "posters.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "bridge/lib/clock.h"
#include "tests/support/loopback.h"

enum { ANSWER_BYTES = 2048, ID_DIGITS = 16 };

struct one {
    int fd;
    int64_t sent_us;
    size_t n; /* of the answer so far */
    char answer[ANSWER_BYTES];
};

static char *request, *id_at;
static size_t request_bytes;
static uint64_t next_id;

static void die(const char *what)
{
    perror(what);
    _exit(1);
}

static void make_request(const char *path, const char *token, int bytes)
{
    size_t room = (size_t)bytes + 1024;
    request = malloc(room);
    int n = snprintf(request, room,
                     "POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nAuthorization: Bearer %s\r\n"
                     "Content-Length: %d\r\nIdempotency-Key: ",
                     path, token, bytes);
    id_at = request + n;
    n += snprintf(id_at, room - (size_t)n, "%0*d\r\n\r\n", ID_DIGITS, 0);
    memset(request + n, 'x', (size_t)bytes);
    request[n] = request[n + bytes - 1] = '"';
    request_bytes = (size_t)(n + bytes);
}

static void post(struct one *o)
{
    uint64_t id = next_id++;
    for (int i = ID_DIGITS - 1; i >= 0; i--, id /= 16)
        id_at[i] = "0123456789abcdef"[id % 16];
    o->sent_us = clock_mono_us();
    o->n = 0;
    if (send(o->fd, request, request_bytes, MSG_NOSIGNAL) != (long)request_bytes)
        die("send");
}

/* Is the answer whole? */
static bool is_whole(const struct one *o)
{
    const char *end = memmem(o->answer, o->n, "\r\n\r\n", 4);
    const char *length = end ? memmem(o->answer, o->n, "Content-Length: ", 16) : NULL;
    return length && o->n >= (size_t)(end + 4 - o->answer) + (size_t)strtol(length + 16, NULL, 10);
}

static void receive(struct posters *p, struct one *o)
{
    long n = recv(o->fd, o->answer + o->n, sizeof o->answer - 1 - o->n, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        die("connection");
    o->n += (size_t)n;
    o->answer[o->n] = '\0';
    if (!is_whole(o))
        return;
    delays_add(&p->delays, clock_mono_us() - o->sent_us);
    bool good = memcmp(o->answer, "HTTP/1.1 202", 12) == 0 || memcmp(o->answer, "HTTP/1.1 200", 12) == 0;
    atomic_fetch_add_explicit(good ? &p->answered : &p->refused, 1, memory_order_relaxed);
    post(o);
}

static void run(void *shared)
{
    struct posters *p = shared;
    struct one *all = calloc((size_t)p->count, sizeof *all);
    struct epoll_event events[256];
    int ep = epoll_create1(EPOLL_CLOEXEC);
    next_id = (uint64_t)clock_wall_ms() << 20; /* other ids in each run */
    for (int i = 0; i < p->count; i++) {
        all[i].fd = loopback_connect(p->port);
        epoll_ctl(ep, EPOLL_CTL_ADD, all[i].fd, &(struct epoll_event){ .events = EPOLLIN, .data.ptr = &all[i] });
        post(&all[i]);
    }
    while (!atomic_load_explicit(&p->child.stop, memory_order_relaxed)) {
        int k = epoll_wait(ep, events, 256, 100);
        for (int i = 0; i < k; i++)
            receive(p, events[i].data.ptr);
    }
}

struct posters *posters_start(int n, int port, const char *path, const char *token, int bytes)
{
    make_request(path, token, bytes);
    struct posters *p = child_memory(sizeof *p);
    p->count = n;
    p->port = port;
    return child_start(&p->child, run) ? p : NULL;
}
