/* SPDX-License-Identifier: MIT */
/* The receiver of the webhook benchmark. */
#include "answerer.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "bridge/lib/clock.h"
#include "tests/support/loopback.h"

enum { DESCRIPTORS = 8192, EVENTS = 256 };

static const char takes[] = "HTTP/1.1 204 No Content\r\n\r\n",
                  refuses[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
static char bytes[1 << 18];
static struct {
    size_t left;
    SSL *ssl;
} conns[DESCRIPTORS]; /* of the body that is being read */

/* ---- what came ---- */

enum { IDS = 1 << 23 };

static uint64_t ids[IDS]; /* open addressing; of their hashes, which are no 0 */

/* Takes note of the age of what is in a body, or in as much of it as came with the head. */
static void know_age(struct answerer *a, const char *body, size_t n)
{
    const char *at = memmem(body, n, "\"at\":", 5);
    if (at)
        delays_add(&a->age, clock_mono_us() - strtoll(at + 5, NULL, 10));
}

/* Takes note of the id in a head. */
static void know_id(struct answerer *a, const char *head, size_t n)
{
    const char *at = memmem(head, n, "webhook-id: ", 12);
    at = at ? at : memmem(head, n, "Webhook-Id: ", 12); /* as Go spells every header */
    const char *end = at ? memchr(at, '\r', n - (size_t)(at - head)) : NULL;
    if (!end)
        return;
    uint64_t hash = str_hash((struct str){ at + 12, (size_t)(end - at - 12) }) | 1;
    size_t slot = hash / 2 % IDS;
    while (ids[slot] && ids[slot] != hash)
        slot = (slot + 1) % IDS;
    if (ids[slot]) {
        atomic_fetch_add(&a->again, 1);
        return;
    }
    ids[slot] = hash;
    if (atomic_load(&a->first_new_us) == 0)
        atomic_store(&a->first_new_us, clock_mono_us());
}

/* ---- requests and answers ---- */

/* How many requests have their end in bytes; a head that is split between two reads does not happen here. */
static unsigned requests_in(struct answerer *a, int fd, size_t n)
{
    unsigned count = 0;
    for (const char *at = bytes; n > 0;) {
        if (conns[fd].left == 0) {
            const char *end = memmem(at, n, "\r\n\r\n", 4),
                       *length = end ? memmem(at, (size_t)(end - at), "Content-Length: ", 16) : NULL;
            if (!length) {
                fprintf(stderr, "answerer: this is no POST that it understands\n");
                abort();
            }
            if (a->knows) {
                know_id(a, at, (size_t)(end + 2 - at));
                know_age(a, end, n - (size_t)(end - at));
            }
            conns[fd].left = strtoul(length + 16, NULL, 10) + (size_t)(end + 4 - at);
        }
        size_t part = n < conns[fd].left ? n : conns[fd].left;
        conns[fd].left -= part;
        at += part;
        n -= part;
        count += conns[fd].left == 0;
    }
    return count;
}

static void answer_once(struct answerer *a, int fd)
{
    SSL *ssl = conns[fd].ssl;
    bool no = atomic_load_explicit(&a->refuses, memory_order_relaxed);
    const char *text = no ? refuses : takes;
    size_t n = no ? sizeof refuses - 1 : sizeof takes - 1;
    if (ssl ? SSL_write(ssl, text, (int)n) > 0 : send(fd, text, n, MSG_NOSIGNAL) > 0)
        atomic_fetch_add_explicit(&a->answered, 1, memory_order_relaxed);
}

static struct {
    int fd;
    int64_t due_us;
} later[DESCRIPTORS]; /* ring: answers that wait; a client sends its next request only after its answer */
static size_t later_first, later_count;

static void answer(struct answerer *a, int fd, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (a->delay_ms == 0) {
            answer_once(a, fd);
            continue;
        }
        size_t at = (later_first + later_count++) % DESCRIPTORS;
        later[at].fd = fd;
        later[at].due_us = clock_mono_us() + a->delay_ms * INT64_C(1000);
    }
}

/* Sends the answers that are due; returns how long until the next one, not rounded: of 20 ms one more would be a twentieth. */
static struct timespec answer_later(struct answerer *a)
{
    int64_t now = clock_mono_us(), wait = 100000;
    for (; later_count && later[later_first].due_us <= now; later_count--) {
        answer_once(a, later[later_first].fd);
        later_first = (later_first + 1) % DESCRIPTORS;
    }
    if (later_count)
        wait = later[later_first].due_us - now;
    return (struct timespec){ .tv_nsec = wait * 1000 };
}

static void answerer_read(struct answerer *a, int fd)
{
    SSL *ssl = conns[fd].ssl;
    ssize_t got = ssl ? SSL_read(ssl, bytes, sizeof bytes) : recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got > 0) {
        do
            answer(a, fd, requests_in(a, fd, (size_t)got));
        while (ssl && (got = SSL_read(ssl, bytes, sizeof bytes)) > 0);
        return;
    }
    if (ssl && SSL_get_error(ssl, (int)got) == SSL_ERROR_WANT_READ)
        return;
    SSL_free(ssl);
    close(fd);
}

static void answerer_accept(struct answerer *a, int ep)
{
    int one = 1, fd = accept4(a->listener, NULL, NULL, a->tls ? SOCK_NONBLOCK : 0);
    if (fd < 0 || fd >= DESCRIPTORS)
        abort();
    conns[fd].left = 0;
    conns[fd].ssl = a->tls ? SSL_new(a->tls) : NULL;
    if (conns[fd].ssl) {
        SSL_set_fd(conns[fd].ssl, fd);
        SSL_set_accept_state(conns[fd].ssl);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct epoll_event ev = { .events = EPOLLIN, .data.fd = fd };
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
}

static void serve(void *shared)
{
    struct answerer *a = shared;
    int ep = epoll_create1(0);
    struct epoll_event events[EVENTS], ev = { .events = EPOLLIN, .data.fd = a->listener };
    epoll_ctl(ep, EPOLL_CTL_ADD, a->listener, &ev);
    while (!atomic_load(&a->child.stop)) {
        struct timespec wait = answer_later(a);
        int n = epoll_pwait2(ep, events, EVENTS, &wait, NULL);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == a->listener)
                answerer_accept(a, ep);
            else
                answerer_read(a, fd);
            answer_later(a); /* on time, however many came at once */
        }
    }
}

struct answerer *answerer_start(int delay_ms, bool knows, SSL_CTX *tls)
{
    struct answerer *a = child_memory(sizeof *a);
    a->delay_ms = delay_ms;
    a->knows = knows;
    a->tls = tls;
    a->listener = loopback_listen(&a->port);
    bool started = child_start(&a->child, serve);
    close(a->listener);
    return started ? a : NULL;
}
