/* SPDX-License-Identifier: MIT */
/* Fan-out to many listeners: the websocket sink, and its raw limit: send() of one shared buffer to the same number of
 * sockets.
 *
 *   bench.fanout raw|sink [listeners] [seconds] [events a second, 0: as many as the listeners take, at most 256 ahead]
 *   bench.fanout daemon listeners seconds rate PORT PATH TOKEN LISTEN_PORT PID     posts batches to a running aqueduct whose sink listens
 *
 * Prints one JSON object. CPU is the publisher's own process only, or the daemon's. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include "bridge/lib/log.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "listeners.h"
#include "tests/support/connector.h"
#include "tests/support/event.h"
#include "tests/support/loopback.h"

enum { AHEAD = 256, DATA_BYTES = 160, FRAME_ROOM = 1024 };

extern const struct sink_ops websocket_sink;

static int count;
static double seconds, rate;
static struct listeners *listeners;
static uint64_t published;

static int daemon_pid;

/* How many events may be published now. */
static int allowed(int64_t start_us)
{
    uint64_t slowest = atomic_load(&listeners->slowest);
    uint64_t most = (slowest < published ? slowest : published) + AHEAD;
    if (rate > 0) {
        uint64_t due = (uint64_t)((double)(clock_mono_us() - start_us) / 1e6 * rate);
        most = due < most ? due : most;
    }
    return most > published ? (int)(most - published) : 0;
}

static void note_sent(void)
{
    atomic_store_explicit(&listeners->sent_us[published++ % LISTENERS_TIMES], clock_mono_us(), memory_order_relaxed);
}

/* ---- raw ---- */

struct raw {
    int *fds;
    uint64_t *sent; /* bytes */
    size_t frame;
    char *buffer; /* AHEAD frames twice, so that any stretch is contiguous */
};

static void raw_round(struct raw *r)
{
    uint64_t head = published * r->frame, size = AHEAD * r->frame;
    for (int i = 0; i < count; i++) {
        if (r->sent[i] == head)
            continue;
        long n = send(r->fds[i], r->buffer + r->sent[i] % size, (size_t)(head - r->sent[i]),
                      MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0)
            r->sent[i] += (uint64_t)n;
    }
}

static void raw_open(struct raw *r, int *server, int *port)
{
    *server = loopback_listen(port);
    r->fds = mem_alloc((size_t)count * sizeof *r->fds);
    r->sent = mem_alloc((size_t)count * sizeof *r->sent);
}

static void raw_accept(struct raw *r, int server, size_t frame)
{
    for (int i = 0; i < count; i++)
        r->fds[i] = accept(server, NULL, NULL);
    r->frame = frame;
    r->buffer = mem_alloc(2 * AHEAD * frame);
}

/* ---- the sink ---- */

static struct sink *sink_new(int port)
{
    char yaml[512];
    snprintf(yaml, sizeof yaml, "listen: 127.0.0.1:%d\nmax_listeners: 100000\nmax_listeners_per_ip: 100000", port);
    return sink_opened(&websocket_sink, "bench", yaml);
}

/* Events of one length: only the digits of the id differ, and a daemon has nothing to add to them. */
static const struct event *event_of(uint64_t n)
{
    char id[32], data[DATA_BYTES + 1];
    snprintf(id, sizeof id, "%020llu", (unsigned long long)n);
    memset(data, 'x', DATA_BYTES);
    data[0] = data[DATA_BYTES - 1] = '"';
    return event_born(&(struct event){ .id = str_of(id),
                                       .source = STR("/bench"),
                                       .type = STR("bench.event"),
                                       .time = STR("2026-11-20T10:00:00.123Z"),
                                       .datacontenttype = STR("application/json"),
                                       .data = { data, DATA_BYTES } });
}

static void sink_publish(struct sink *s)
{
    const struct event *ev = event_of(published);
    struct record r = { .topic = STR("bench"), .offset = (int64_t)published };
    note_sent();
    s->ops->send(s, &(struct message){ .event = ev, .record = &r, .attempt = 1 });
    event_unref(ev);
}

static size_t frame_bytes(void)
{
    struct buf b = buf_new(FRAME_ROOM);
    const struct event *ev = event_of(0);
    event_to_json(ev, &b);
    event_unref(ev);
    size_t n = b.n + (b.n < 126 ? 2 : 4);
    buf_free(&b);
    return n;
}

/* ---- a daemon ---- */

struct poster {
    int fd;
    const char *path, *token;
};

/* One batch; returns when all of it is stored. */
static void post_batch(struct poster *p, int n)
{
    struct buf body = buf_new(AHEAD * FRAME_ROOM);
    char head[512], answer[4096];
    for (int i = 0; i < n; i++) {
        const struct event *ev = event_of(published);
        buf_add_char(&body, i ? ',' : '[');
        event_to_json(ev, &body);
        event_unref(ev);
        note_sent();
    }
    buf_add_char(&body, ']');
    int size = snprintf(head, sizeof head,
                        "POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/cloudevents-batch+json\r\n"
                        "Authorization: Bearer %s\r\nContent-Length: %zu\r\n\r\n",
                        p->path, p->token, body.n);
    CHECK(send(p->fd, head, (size_t)size, MSG_NOSIGNAL | MSG_MORE) == size);
    for (size_t done = 0; done < body.n;) {
        long k = send(p->fd, body.at + done, body.n - done, MSG_NOSIGNAL);
        CHECK(k > 0);
        done += (size_t)k;
    }
    buf_free(&body);
    long k = recv(p->fd, answer, sizeof answer, 0); /* small: it comes in one piece */
    if (k > 12 && memcmp(answer, "HTTP/1.1 202", 12) == 0)
        return;
    fprintf(stderr, "a batch was refused: %.*s\n", k > 0 ? (int)k : 0, answer);
    exit(1);
}

/* ---- measuring ---- */

static void report(const char *mode, double cpu, double wall, uint64_t delivered)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    printf(
        "{\"bench\":\"fanout\",\"mode\":\"%s\",\"listeners\":%d,\"frame_bytes\":%zu,\"events\":%llu,\"delivered\":%llu,\"seconds\":%.2f,"
        "\"deliveries_per_s\":%.0f,\"deliveries_per_core_s\":%.0f,\"cpu_s_per_million\":%.3f,\"cpu_share\":%.2f,\"listeners_cpu_share\":%.2f,"
        "\"p50_ms\":%.2f,\"p99_ms\":%.2f,\"rss_kb\":%ld,\"gone\":%llu}\n",
        mode, count, frame_bytes(), (unsigned long long)published, (unsigned long long)delivered, wall,
        (double)delivered / wall, (double)delivered / cpu, cpu / (double)delivered * 1e6, cpu / wall,
        listeners->child.cpu_s / wall, delays_ms(&listeners->delays, 0.5), delays_ms(&listeners->delays, 0.99),
        u.ru_maxrss, (unsigned long long)atomic_load(&listeners->gone));
}

static void turn(struct raw *raw, struct sink *s, struct poster *poster, int idle, int n)
{
    if (poster && n)
        post_batch(poster, n);
    for (int i = 0; i < n && !poster; i++) {
        if (raw)
            note_sent();
        else
            sink_publish(s);
    }
    if (raw)
        raw_round(raw);
    else if (s)
        s->ops->work(s, idle, (struct duration){ n ? 0 : 1 }, NULL, 0);
    if (!s && !n)
        poll(NULL, 0, 1);
}

/* A daemon's frames are counted by their length, so it has to be the one that is expected. */
static void await_all(void)
{
    for (int64_t until = clock_mono_us() + 10000000; atomic_load(&listeners->slowest) != published;) {
        if (clock_mono_us() > until) {
            fprintf(stderr, "%llu events published, but the slowest listener counts %llu\n",
                    (unsigned long long)published, (unsigned long long)atomic_load(&listeners->slowest));
            exit(1);
        }
        poll(NULL, 0, 1);
    }
}

static void run(const char *mode, struct raw *raw, struct sink *s, struct poster *poster)
{
    int idle = wake_new();
    int64_t start = clock_mono_us(), end = start + (int64_t)(seconds * 1e6);
    double cpu = meter_cpu_s(daemon_pid);
    while (clock_mono_us() < end)
        turn(raw, s, poster, idle, allowed(start));
    if (poster)
        await_all();
    cpu = meter_cpu_s(daemon_pid) - cpu;
    double wall = (double)(clock_mono_us() - start) / 1e6;
    uint64_t delivered = atomic_load(&listeners->total);
    child_stop(&listeners->child);
    report(mode, cpu, wall, delivered);
    close(idle);
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    bool is_raw = strcmp(mode, "raw") == 0, is_sink = strcmp(mode, "sink") == 0,
         is_daemon = strcmp(mode, "daemon") == 0 && argc == 10;
    if (!is_raw && !is_sink && !is_daemon) {
        fprintf(stderr, "usage: bench.fanout raw|sink [listeners] [seconds] [events a second]\n"
                        "       bench.fanout daemon listeners seconds rate port path token listen_port pid\n");
        return 2;
    }
    count = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 1000;
    seconds = argc > 3 ? strtod(argv[3], NULL) : 5;
    rate = argc > 4 ? strtod(argv[4], NULL) : 0;
    log_setup(LOG_ERROR, LOG_LOGFMT);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 1 << 16, 1 << 16 });
    struct raw raw = { 0 };
    struct poster poster = { 0 };
    struct sink *s = NULL;
    int server = -1, port = loopback_free_port();
    if (is_raw)
        raw_open(&raw, &server, &port);
    else if (is_sink)
        s = sink_new(port);
    else
        port = (int)strtol(argv[8], NULL, 10);
    listeners = listeners_start(count, port, !is_raw, "/");
    if (!listeners)
        return 1;
    atomic_store(&listeners->frame_bytes, frame_bytes());
    if (is_raw)
        raw_accept(&raw, server, frame_bytes());
    int idle = wake_new();
    while (atomic_load(&listeners->connected) < (uint64_t)count) {
        if (s)
            s->ops->work(s, idle, (struct duration){ 10 }, NULL, 0);
        else
            poll(NULL, 0, 1);
    }
    close(idle);
    if (is_daemon) {
        daemon_pid = (int)strtol(argv[9], NULL, 10);
        poster.path = argv[6];
        poster.token = argv[7];
        poster.fd = loopback_connect((int)strtol(argv[5], NULL, 10));
    }
    run(mode, is_raw ? &raw : NULL, s, is_daemon ? &poster : NULL);
    sink_end(s);
    return 0;
}
