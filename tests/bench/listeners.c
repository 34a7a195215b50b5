/* SPDX-License-Identifier: MIT */
/* The benchmark's listeners. */
#include "listeners.h"
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "bridge/lib/clock.h"
#include "tests/support/loopback.h"

enum {
    READ_BYTES = 1 << 20, /* of those that only count */
    BUFFER = 256 * 1024,  /* of those that read */
    KEPT = 128,           /* of a sampled frame: its head and the event's id */
    WINDOW = 1 << 16,     /* frames that one listener may be ahead of another */
};

struct one {
    int fd;
    bool open; /* the answer to the upgrade is read */
    bool sampled;
    int skip; /* frames to come that are no events */
    uint64_t bytes, frames;
    uint64_t left; /* of the payload of the frame that is being read */
    uint8_t head_n;
    unsigned char head[4];
    size_t kept_n;
    char kept[KEPT];
};

static struct listeners *l;
static char buffer[BUFFER];
static uint32_t level[WINDOW]; /* how many listeners have that many frames, modulo WINDOW */

static void die(const char *what)
{
    perror(what);
    _exit(1);
}

static void connect_one(struct one *o, int number)
{
    char text[LISTENERS_TARGET + 256], target[LISTENERS_TARGET + 16];
    o->fd = loopback_connect(l->o.port);
    o->open = !l->o.upgrade;
    if (o->open)
        return;
    const char *mark = strstr(l->o.target, "%d");
    int before = mark ? (int)(mark - l->o.target) : (int)strlen(l->o.target);
    if (mark)
        snprintf(target, sizeof target, "%.*s%04d%s", before, l->o.target, number % l->o.subjects, mark + 2);
    else
        snprintf(target, sizeof target, "%s", l->o.target);
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

/* ---- progress ---- */

static void note_delay(uint64_t event)
{
    int64_t sent = atomic_load_explicit(&l->sent_us[event % LISTENERS_TIMES], memory_order_relaxed);
    delays_add(&l->delays, clock_mono_us() - sent);
}

/* The listener has so many frames more. */
static void advance(struct one *o, uint64_t frames)
{
    uint64_t least = atomic_load_explicit(&l->slowest, memory_order_relaxed), before = least;
    atomic_fetch_add_explicit(&l->total, frames, memory_order_relaxed);
    level[o->frames % WINDOW]--;
    o->frames += frames;
    level[o->frames % WINDOW]++;
    if (l->o.subjects)
        return;
    while (level[least % WINDOW] == 0)
        least++;
    if (least == before)
        return;
    atomic_store(&l->slowest, least);
    eventfd_write(l->progress_fd, 1);
}

/* A sampled listener looks for the event's number, which is its id. */
static void note_frame(const struct one *o)
{
    const char *id = memmem(o->kept, o->kept_n, "\"id\":\"", 6);
    if (!id || id + 6 + 20 > o->kept + o->kept_n) {
        fprintf(stderr, "a frame without an id: %.*s\n", (int)o->kept_n, o->kept);
        _exit(1);
    }
    note_delay(strtoull(id + 6, NULL, 10));
}

/* One more byte of a frame's head, which ends with how long the payload is. */
static void take_head_byte(struct one *o, unsigned char byte)
{
    o->head[o->head_n++] = byte;
    if (o->head_n < 2)
        return;
    if (o->head[0] == 0x89 && o->head[1] == 0) { /* a ping */
        send(o->fd, "\x8a\x80\0\0\0\0", 6, MSG_NOSIGNAL);
        o->head_n = 0;
        return;
    }
    if (o->head[0] != 0x81 || (o->head[1] & 0x7f) > 126) {
        fprintf(stderr, "a frame that begins with %02x %02x\n", o->head[0], o->head[1]);
        _exit(1);
    }
    if (o->head[1] == 126 && o->head_n < 4)
        return;
    o->left = o->head[1] == 126 ? (uint64_t)(o->head[2] << 8 | o->head[3]) : o->head[1];
    o->head_n = 0;
    o->kept_n = 0;
}

/* A frame, or a line of one, has ended. Returns how many events that are. */
static uint64_t end_event(struct one *o)
{
    if (o->skip) {
        if (--o->skip == 0)
            atomic_fetch_add(&l->connected, 1);
        o->kept_n = 0;
        return 0;
    }
    if (o->sampled)
        note_frame(o);
    o->kept_n = 0;
    return 1;
}

/* Goes over the bytes from frame to frame. Returns how many events ended. */
static uint64_t take_frames(struct one *o, const char *at, size_t n)
{
    uint64_t frames = 0;
    while (n) {
        if (o->left == 0) {
            take_head_byte(o, (unsigned char)*at++);
            n--;
            continue;
        }
        size_t part = o->left < n ? (size_t)o->left : n;
        const char *line = l->o.lines ? memchr(at, '\n', part) : NULL;
        part = line ? (size_t)(line + 1 - at) : part;
        size_t keep = KEPT - o->kept_n < part ? KEPT - o->kept_n : part;
        if (o->sampled) {
            memcpy(o->kept + o->kept_n, at, keep);
            o->kept_n += keep;
        }
        at += part;
        n -= part;
        o->left -= part;
        if (o->left == 0 || line)
            frames += end_event(o);
    }
    return frames;
}

/* By their length. */
static uint64_t count_frames(struct one *o, size_t n)
{
    o->bytes += n;
    uint64_t frames = o->bytes / l->o.frame_bytes - o->frames;
    for (uint64_t i = 0; o->sampled && i < frames; i++)
        note_delay(o->frames + i);
    return frames;
}

static void receive(struct one *o)
{
    if (!o->open && read_head(o)) {
        if (o->skip == 0)
            atomic_fetch_add(&l->connected, 1);
        return;
    }
    long n = l->o.reads ? recv(o->fd, buffer, sizeof buffer, MSG_DONTWAIT)
                        : recv(o->fd, NULL, READ_BYTES, MSG_TRUNC | MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        atomic_fetch_add(&l->gone, 1);
        close(o->fd);
        o->open = false;
    }
    if (n <= 0)
        return;
    uint64_t frames = l->o.reads ? take_frames(o, buffer, (size_t)n) : count_frames(o, (size_t)n);
    if (frames)
        advance(o, frames);
}

/* What came to a sampled listener, and in how many pieces. */
static void note_segments(const struct one *o)
{
    struct tcp_info info = { 0 };
    socklen_t n = sizeof info;
    if (!o->sampled || getsockopt(o->fd, IPPROTO_TCP, TCP_INFO, &info, &n) != 0)
        return;
    l->frames += o->frames;
    l->segments += info.tcpi_data_segs_in - l->o.upgrade; /* not the answer to the upgrade */
}

static void run(void *shared)
{
    l = shared;
    int count = l->o.count;
    struct one *all = calloc((size_t)count, sizeof *all);
    struct epoll_event events[1024];
    int ep = epoll_create1(EPOLL_CLOEXEC), sampled = count / LISTENERS_SAMPLED + 1;
    level[0] = (uint32_t)count;
    for (int i = 0; i < count; i++) {
        connect_one(&all[i], i);
        all[i].sampled = i % sampled == 0;
        all[i].skip = l->o.skip;
        epoll_ctl(ep, EPOLL_CTL_ADD, all[i].fd, &(struct epoll_event){ .events = EPOLLIN, .data.u32 = (uint32_t)i });
        if (!l->o.upgrade)
            atomic_fetch_add(&l->connected, 1);
    }
    while (!atomic_load(&l->child.stop)) {
        int k = epoll_wait(ep, events, 1024, 100);
        for (int i = 0; i < k; i++)
            receive(&all[events[i].data.u32]);
    }
    for (int i = 0; i < count; i++)
        note_segments(&all[i]);
    free(all);
}

struct listeners *listeners_start(const struct listeners_options *o)
{
    struct listeners *shared = child_memory(sizeof *shared);
    shared->o = *o;
    shared->progress_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return child_start(&shared->child, run) ? shared : NULL;
}
