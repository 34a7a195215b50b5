/* SPDX-License-Identifier: MIT */
/* The benchmark's senders. */
#include "posters.h"
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

static void receive(struct posters_shared *s, struct one *o)
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
    int64_t step = (clock_mono_us() - o->sent_us) / POSTERS_STEP_US;
    s->delays[step < POSTERS_DELAYS ? step : POSTERS_DELAYS - 1]++;
    bool good = memcmp(o->answer, "HTTP/1.1 202", 12) == 0;
    atomic_fetch_add_explicit(good ? &s->answered : &s->refused, 1, memory_order_relaxed);
    post(o);
}

static void child(struct posters_shared *s, int n, int port)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct one *all = calloc((size_t)n, sizeof *all);
    struct epoll_event events[256];
    int ep = epoll_create1(EPOLL_CLOEXEC);
    next_id = (uint64_t)clock_wall_ms() << 20; /* other ids in each run */
    for (int i = 0; i < n; i++) {
        all[i].fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(all[i].fd, (struct sockaddr *)&a, sizeof a))
            die("connect");
        epoll_ctl(ep, EPOLL_CTL_ADD, all[i].fd, &(struct epoll_event){ .events = EPOLLIN, .data.ptr = &all[i] });
        post(&all[i]);
    }
    while (!atomic_load_explicit(&s->stop, memory_order_relaxed)) {
        int k = epoll_wait(ep, events, 256, 100);
        for (int i = 0; i < k; i++)
            receive(s, events[i].data.ptr);
    }
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    s->cpu_s = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec)
               + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
    _exit(0);
}

bool posters_start(struct posters *p, int n, int port, const char *path, const char *token, int bytes)
{
    make_request(path, token, bytes);
    p->shared = mmap(NULL, sizeof *p->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p->shared == MAP_FAILED)
        return false;
    p->pid = fork();
    if (p->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        child(p->shared, n, port);
    }
    return p->pid > 0;
}

void posters_stop(struct posters *p)
{
    atomic_store(&p->shared->stop, true);
    waitpid(p->pid, NULL, 0);
}

double posters_delay_ms(const struct posters *p, double quantile)
{
    uint64_t total = 0, seen = 0;
    for (int i = 0; i < POSTERS_DELAYS; i++)
        total += p->shared->delays[i];
    for (int i = 0; i < POSTERS_DELAYS; i++) {
        seen += p->shared->delays[i];
        if ((double)seen >= quantile * (double)total)
            return (i + 1) * POSTERS_STEP_US / 1000.0;
    }
    return 0;
}
