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

static const char answer_text[] = "HTTP/1.1 204 No Content\r\n\r\n";
static char bytes[1 << 18];
static struct {
    size_t left;
    SSL *ssl;
} conns[DESCRIPTORS]; /* of the body that is being read */

/* How many requests have their end in bytes; a head that is split between two reads does not happen here. */
static unsigned requests_in(int fd, size_t n)
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
    if (ssl ? SSL_write(ssl, answer_text, sizeof answer_text - 1) > 0
            : send(fd, answer_text, sizeof answer_text - 1, MSG_NOSIGNAL) > 0)
        atomic_fetch_add_explicit(&a->answered, 1, memory_order_relaxed);
}

static struct {
    int fd;
    int64_t due_ms;
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
        later[at].due_ms = clock_mono_ms() + a->delay_ms;
    }
}

/* Sends the answers that are due; returns how long until the next one. */
static int answer_later(struct answerer *a)
{
    for (int64_t now = clock_mono_ms(); later_count && later[later_first].due_ms <= now; later_count--) {
        answer_once(a, later[later_first].fd);
        later_first = (later_first + 1) % DESCRIPTORS;
    }
    return later_count ? (
               int)(later[later_first].due_ms - clock_mono_ms() > 0 ? later[later_first].due_ms - clock_mono_ms() : 0)
                       : 100;
}

static void answerer_read(struct answerer *a, int fd)
{
    SSL *ssl = conns[fd].ssl;
    ssize_t got = ssl ? SSL_read(ssl, bytes, sizeof bytes) : recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got > 0) {
        do
            answer(a, fd, requests_in(fd, (size_t)got));
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
        int n = epoll_wait(ep, events, EVENTS, answer_later(a));
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == a->listener)
                answerer_accept(a, ep);
            else
                answerer_read(a, fd);
        }
    }
}

struct answerer *answerer_start(int delay_ms, SSL_CTX *tls)
{
    struct answerer *a = child_memory(sizeof *a);
    a->delay_ms = delay_ms;
    a->tls = tls;
    a->listener = loopback_listen(&a->port);
    bool started = child_start(&a->child, serve);
    close(a->listener);
    return started ? a : NULL;
}
