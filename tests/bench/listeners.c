/* SPDX-License-Identifier: MIT */
/* The benchmark's listeners. */
#include "listeners.h"
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bridge/lib/clock.h"

enum { READ_BYTES = 1 << 20, STEP_US = 50 };

struct one {
    int fd;
    bool open; /* the answer to the upgrade is read */
    uint64_t bytes, frames;
};

static struct sockaddr_in local(int port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

int listeners_free_port(void)
{
    struct sockaddr_in a = local(0);
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool good = fd >= 0 && bind(fd, (struct sockaddr *)&a, n) == 0 && getsockname(fd, (struct sockaddr *)&a, &n) == 0;
    close(fd);
    return good ? ntohs(a.sin_port) : -1;
}

static void die(const char *what)
{
    perror(what);
    _exit(1);
}

static void connect_one(struct one *o, int port, bool upgrade, const char *target)
{
    struct sockaddr_in a = local(port);
    o->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (o->fd < 0 || connect(o->fd, (struct sockaddr *)&a, sizeof a))
        die("connect");
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

static void note_delays(struct listeners_shared *s, uint64_t from, uint64_t to)
{
    int64_t now = clock_mono_us();
    for (uint64_t i = from; i < to; i++) {
        int64_t step = (now - atomic_load_explicit(&s->sent_us[i % LISTENERS_TIMES], memory_order_relaxed)) / STEP_US;
        s->delays[step < 0 ? 0 : step < LISTENERS_DELAYS ? step : LISTENERS_DELAYS - 1]++;
    }
}

static void receive(struct listeners_shared *s, struct one *o, bool sampled)
{
    if (!o->open && read_head(o)) {
        atomic_fetch_add(&s->connected, 1);
        return;
    }
    long n = recv(o->fd, NULL, READ_BYTES, MSG_TRUNC | MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        atomic_fetch_add(&s->gone, 1);
        close(o->fd);
        o->open = false;
    }
    if (n <= 0)
        return;
    o->bytes += (uint64_t)n;
    uint64_t frames = o->bytes / atomic_load_explicit(&s->frame_bytes, memory_order_relaxed);
    if (sampled)
        note_delays(s, o->frames, frames);
    atomic_fetch_add_explicit(&s->total, frames - o->frames, memory_order_relaxed);
    o->frames = frames;
}

static void note_slowest(struct listeners_shared *s, const struct one *all, int n)
{
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < n; i++)
        if (all[i].frames < least)
            least = all[i].frames;
    atomic_store(&s->slowest, least);
}

static void child(struct listeners_shared *s, int n, int port, bool upgrade, const char *target)
{
    struct one *all = calloc((size_t)n, sizeof *all);
    struct epoll_event events[1024];
    int ep = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < n; i++) {
        connect_one(&all[i], port, upgrade, target);
        epoll_ctl(ep, EPOLL_CTL_ADD, all[i].fd, &(struct epoll_event){ .events = EPOLLIN, .data.u32 = (uint32_t)i });
        if (!upgrade)
            atomic_fetch_add(&s->connected, 1);
    }
    while (!atomic_load(&s->stop)) {
        int k = epoll_wait(ep, events, 1024, 100);
        for (int i = 0; i < k; i++)
            receive(s, &all[events[i].data.u32], events[i].data.u32 % (uint32_t)(n / LISTENERS_SAMPLED + 1) == 0);
        note_slowest(s, all, n);
    }
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    s->cpu_s = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec)
               + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
    _exit(0);
}

bool listeners_start(struct listeners *l, int n, int port, bool upgrade, const char *target)
{
    l->shared = mmap(NULL, sizeof *l->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (l->shared == MAP_FAILED)
        return false;
    atomic_store(&l->shared->frame_bytes, 1);
    l->pid = fork();
    if (l->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        child(l->shared, n, port, upgrade, target);
    }
    return l->pid > 0;
}

void listeners_stop(struct listeners *l)
{
    atomic_store(&l->shared->stop, true);
    waitpid(l->pid, NULL, 0);
}

double listeners_delay_ms(const struct listeners *l, double quantile)
{
    uint64_t total = 0, seen = 0;
    for (int i = 0; i < LISTENERS_DELAYS; i++)
        total += l->shared->delays[i];
    for (int i = 0; i < LISTENERS_DELAYS; i++) {
        seen += l->shared->delays[i];
        if ((double)seen >= quantile * (double)total)
            return (i + 1) * STEP_US / 1000.0;
    }
    return 0;
}
