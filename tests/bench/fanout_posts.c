/* SPDX-License-Identifier: MIT */
/* Posts the fan-out benchmark's events. */
#include "fanout_posts.h"
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "bridge/lib/mem.h"
#include "tests/support/event.h"
#include "tests/support/loopback.h"

enum { DATA_BYTES = 285, FRAME_ROOM = 1024 };

const struct event *posts_event(uint64_t number, int subjects)
{
    char id[32], subject[32], data[DATA_BYTES + 1];
    snprintf(id, sizeof id, "%020llu", (unsigned long long)number);
    snprintf(subject, sizeof subject, "u/%04d", subjects ? (int)(number % (uint64_t)subjects) : 0);
    memset(data, 'x', DATA_BYTES);
    data[0] = data[DATA_BYTES - 1] = '"';
    return event_born(&(struct event){ .id = str_of(id),
                                       .source = STR("/bench"),
                                       .type = STR("bench.event"),
                                       .subject = subjects ? str_of(subject) : STR_ABSENT,
                                       .time = STR("2026-11-20T10:00:00.123Z"),
                                       .datacontenttype = STR("application/json"),
                                       .data = { data, DATA_BYTES } });
}

size_t posts_frame_bytes(int subjects)
{
    struct buf b = buf_new(FRAME_ROOM);
    const struct event *ev = posts_event(0, subjects);
    event_to_json(ev, &b);
    event_unref(ev);
    size_t n = b.n + (b.n < 126 ? 2 : 4);
    buf_free(&b);
    return n;
}

void posts_open(struct posts *p, int port)
{
    for (int i = 0; i < p->count; i++)
        p->fds[i] = loopback_connect(port);
}

static void posts_add_text(struct buf *out, const char *text, const char *otherwise)
{
    buf_add_str(out, str_of(text ? text : otherwise));
}

/* One event, or a batch of them, in what else the server wants. */
static void posts_add_body(const struct posts *p, struct buf *out, uint64_t first, int n, int subjects)
{
    posts_add_text(out, p->before, n > 1 ? "[" : "");
    for (int i = 0; i < n; i++) {
        const struct event *ev = posts_event(first + (uint64_t)i, subjects);
        posts_add_text(out, i ? "," : NULL, "");
        posts_add_text(out, p->each_before, "");
        event_to_json(ev, out);
        posts_add_text(out, p->each_after, "");
        event_unref(ev);
    }
    posts_add_text(out, p->after, n > 1 ? "]" : "");
}

bool posts_send(struct posts *p, uint64_t first, int n, int subjects)
{
    int i = 0;
    while (i < p->count && p->busy[i])
        i++;
    if (i == p->count)
        return false;
    struct buf body = buf_new(POSTS_MOST * FRAME_ROOM), request = buf_new(POSTS_MOST * FRAME_ROOM);
    posts_add_body(p, &body, first, n, subjects);
    buf_printf(&request,
               "POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/cloudevents%s+json\r\n"
               "Authorization: Bearer %s\r\nContent-Length: %zu\r\n\r\n",
               p->path, n > 1 ? "-batch" : "", p->token, body.n);
    buf_add_str(&request, buf_str(&body));
    CHECK(!request.failed);
    for (size_t done = 0; done < request.n;) {
        long k = send(p->fds[i], request.at + done, request.n - done, MSG_NOSIGNAL);
        CHECK(k > 0);
        done += (size_t)k;
    }
    buf_free(&body);
    buf_free(&request);
    return p->busy[i] = true;
}

/* The answer is small: it comes in one piece. */
static void posts_take_answer(struct posts *p, int i)
{
    char answer[4096];
    long k = recv(p->fds[i], answer, sizeof answer, 0);
    p->busy[i] = false;
    if (k > 12 && memcmp(answer, "HTTP/1.1 20", 11) == 0 && answer[11] <= '2')
        return;
    fprintf(stderr, "a post was refused: %.*s\n", k > 0 ? (int)k : 0, answer);
    exit(1);
}

void posts_wait(struct posts *p, int also_fd, int64_t us)
{
    struct pollfd at[POSTS_CONNECTIONS + 1] = { { .fd = also_fd, .events = POLLIN } };
    for (int i = 0; i < p->count; i++)
        at[1 + i] = (struct pollfd){ .fd = p->fds[i], .events = POLLIN };
    struct timespec limit = { us / 1000000, us % 1000000 * 1000 };
    if (ppoll(at, (nfds_t)p->count + 1, &limit, NULL) <= 0)
        return;
    uint64_t news;
    if (at[0].revents)
        CHECK(read(also_fd, &news, sizeof news) > 0);
    for (int i = 0; i < p->count; i++)
        if (at[1 + i].revents)
            posts_take_answer(p, i);
}

bool posts_are_answered(const struct posts *p)
{
    for (int i = 0; i < p->count; i++)
        if (p->busy[i])
            return false;
    return true;
}
