/* SPDX-License-Identifier: MIT */
/* Fan-out to many listeners: through a running aqueduct, through the websocket sink alone, and its raw limit: send() of
 * one shared buffer to the same number of sockets, or the same sends handed to io_uring in batches.
 *
 *   bench.fanout raw|uring|sink|daemon|idle [name=value]...       the names are in `numbers` and `texts` below
 *
 * A closed loop (rate=0) keeps at most `ahead` events ahead of the slowest listener. `daemon` posts up to `post` events at
 * a time over `connections` keep-alive connections. `idle` publishes nothing. reads=0: the listeners only count bytes.
 *
 * Prints one JSON object. CPU is the publisher's own process only, or the daemon's. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bridge/lib/log.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "bridge/net/sends.h"
#include "fanout_posts.h"
#include "listeners.h"
#include "tests/support/connector.h"
#include "tests/support/loopback.h"

enum { MOST_AHEAD = 1024, WAIT_US = 1000, AWAIT_US = 60000000 };

extern const struct sink_ops websocket_sink;

static int count = 1000, ahead = 256, reads = 1, post = 1, connections = 1, subjects, pid, port, listen_port, skip,
           lines;
static double seconds = 5, rate;
static const char *path = "/", *token = "", *target = "/", *before, *after, *each_before, *each_after;
static const struct {
    const char *name;
    int *at;
} numbers[] = { { "listeners", &count },         { "ahead", &ahead },       { "reads", &reads }, { "post", &post },
                { "connections", &connections }, { "subjects", &subjects }, { "pid", &pid },     { "port", &port },
                { "listen_port", &listen_port }, { "skip", &skip },         { "lines", &lines } };
static const struct {
    const char *name, **at;
} texts[] = { { "path", &path },
              { "token", &token },
              { "target", &target },
              { "before", &before },
              { "after", &after },
              { "each_before", &each_before },
              { "each_after", &each_after } };

static struct listeners *listeners;
static uint64_t published;

/* When event n of a steady rate is due. */
static int64_t due_us(int64_t start_us, uint64_t n)
{
    return start_us + (int64_t)((double)n / rate * 1e6);
}

/* How many events may be published now. */
static int allowed(int64_t start_us)
{
    if (rate > 0) {
        int n = 0;
        for (int64_t now = clock_mono_us(); n < ahead && due_us(start_us, published + (uint64_t)n) <= now; n++)
            ;
        return n;
    }
    uint64_t slowest = atomic_load(&listeners->slowest);
    uint64_t most = (slowest < published ? slowest : published) + (uint64_t)ahead;
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
    char *buffer; /* MOST_AHEAD frames twice, so that any stretch is contiguous */
    struct sends *sends;
    long *taken;
};

static void raw_took(struct raw *r, int i)
{
    if (r->taken[i] > 0)
        r->sent[i] += (uint64_t)r->taken[i];
    r->taken[i] = 0;
}

/* The same in batches. */
static void raw_round_together(struct raw *r)
{
    uint64_t head = published * r->frame, size = MOST_AHEAD * r->frame;
    for (int i = 0; i < count; i++)
        if (r->sent[i] < head) {
            if (sends_room(r->sends) == 0)
                sends_finish(r->sends);
            sends_add(r->sends, r->fds[i], r->buffer + r->sent[i] % size, (size_t)(head - r->sent[i]), &r->taken[i]);
        }
    sends_finish(r->sends);
    for (int i = 0; i < count; i++)
        raw_took(r, i);
}

static void raw_round(struct raw *r)
{
    uint64_t head = published * r->frame, size = MOST_AHEAD * r->frame;
    if (r->sends) {
        raw_round_together(r);
        return;
    }
    for (int i = 0; i < count; i++)
        if (r->sent[i] < head) {
            r->taken[i] = send(r->fds[i], r->buffer + r->sent[i] % size, (size_t)(head - r->sent[i]),
                               MSG_DONTWAIT | MSG_NOSIGNAL);
            raw_took(r, i);
        }
}

static void raw_open(struct raw *r, int *server, bool uring)
{
    *server = loopback_listen(&listen_port);
    r->fds = mem_alloc((size_t)count * sizeof *r->fds);
    r->sent = mem_alloc((size_t)count * sizeof *r->sent);
    r->taken = mem_alloc((size_t)count * sizeof *r->taken);
    CHECK(!uring || (r->sends = sends_new()));
}

/* The frames all carry the number 0, so their delays mean nothing. */
static void raw_accept(struct raw *r, int server)
{
    struct buf one = buf_new(MOST_AHEAD);
    const struct event *ev = posts_event(0, subjects);
    buf_add(&one, "\x81\x7e\0\0", 4);
    event_to_json(ev, &one);
    event_unref(ev);
    one.at[2] = (char)((one.n - 4) >> 8);
    one.at[3] = (char)((one.n - 4) & 0xff);
    for (int i = 0; i < count; i++)
        r->fds[i] = accept(server, NULL, NULL);
    r->frame = one.n;
    r->buffer = mem_alloc(2 * MOST_AHEAD * one.n);
    for (int i = 0; i < 2 * MOST_AHEAD; i++)
        memcpy(r->buffer + (size_t)i * one.n, one.at, one.n);
    buf_free(&one);
}

/* ---- the sink ---- */

static struct sink *sink_new(void)
{
    char yaml[512];
    listen_port = loopback_free_port();
    snprintf(
        yaml, sizeof yaml,
        "listen: 127.0.0.1:%d\nmax_listeners: 100000\nmax_listeners_per_ip: 100000\nmax_subscriptions: 10000\nmax_subscriptions_per_ip: 10000",
        listen_port);
    return sink_opened(&websocket_sink, "bench", yaml);
}

static void sink_publish(struct sink *s)
{
    const struct event *ev = posts_event(published, subjects);
    struct record r = { .topic = STR("bench"), .offset = (int64_t)published };
    note_sent();
    s->ops->send(s, &(struct message){ .event = ev, .record = &r, .attempt = 1 });
    event_unref(ev);
}

/* ---- measuring ---- */

/* User memory of the process at work. */
static long memory_kb(void)
{
    char name[64], line[256];
    long kb = 0;
    snprintf(name, sizeof name, "/proc/%d/status", pid ? pid : (int)getpid());
    FILE *f = fopen(name, "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "RssAnon:", 8) == 0)
            kb = strtol(line + 8, NULL, 10);
    if (f)
        fclose(f);
    return kb;
}

static void report(const char *mode, double cpu, double wall, uint64_t delivered, long kb)
{
    double million = delivered ? (double)delivered / 1e6 : 1;
    printf(
        "{\"bench\":\"fanout\",\"mode\":\"%s\",\"listeners\":%d,\"frame_bytes\":%zu,\"events\":%llu,\"delivered\":%llu,\"seconds\":%.2f,"
        "\"deliveries_per_s\":%.0f,\"deliveries_per_core_s\":%.0f,\"cpu_s\":%.4f,\"cpu_s_per_million\":%.3f,\"cpu_share\":%.2f,"
        "\"listeners_cpu_share\":%.2f,\"p50_ms\":%.2f,\"p99_ms\":%.2f,\"kb_per_listener\":%.3f,\"frames_per_send\":%.1f,\"gone\":%llu}\n",
        mode, count, posts_frame_bytes(subjects), (unsigned long long)published, (unsigned long long)delivered, wall,
        (double)delivered / wall, cpu > 0 ? million * 1e6 / cpu : 0, cpu, cpu / million, cpu / wall,
        listeners->child.cpu_s / wall, delays_ms(&listeners->delays, 0.5), delays_ms(&listeners->delays, 0.99),
        (double)kb / count, listeners->segments ? (double)listeners->frames / (double)listeners->segments : 0,
        (unsigned long long)atomic_load(&listeners->gone));
}

/* How long the publisher may sleep: until the next event is due, or the listeners have got on. */
static int64_t rest_us(int64_t start_us)
{
    int64_t left = rate > 0 ? due_us(start_us, published) - clock_mono_us() : WAIT_US;
    return left < 0 ? 0 : left < WAIT_US ? left : WAIT_US;
}

static void turn_daemon(struct posts *p, int64_t start_us)
{
    for (int n = allowed(start_us); n > 0; n = allowed(start_us)) {
        if (n > post)
            n = post;
        if (!posts_send(p, published, n, subjects))
            break;
        while (n--)
            note_sent();
    }
    posts_wait(p, listeners->progress_fd, posts_are_answered(p) ? rest_us(start_us) : WAIT_US);
}

static void turn(struct raw *raw, struct sink *s, int idle, int64_t start_us)
{
    int n = allowed(start_us);
    for (int i = 0; i < n; i++) {
        if (raw)
            note_sent();
        else
            sink_publish(s);
    }
    if (raw)
        raw_round(raw);
    else
        s->ops->work(s, idle, (struct duration){ n ? 0 : 1 }, NULL, 0);
    struct pollfd news = { .fd = listeners->progress_fd, .events = POLLIN };
    uint64_t taken;
    if (!n && poll(&news, 1, raw ? 1 : 0) > 0)
        CHECK(read(listeners->progress_fd, &taken, sizeof taken) > 0);
}

static bool is_all_there(void)
{
    return subjects ? atomic_load(&listeners->total) >= published : atomic_load(&listeners->slowest) == published;
}

static void await_all(struct posts *p)
{
    for (int64_t until = clock_mono_us() + AWAIT_US; !is_all_there() || !posts_are_answered(p);) {
        if (clock_mono_us() > until) {
            fprintf(stderr, "%llu events published, but the slowest listener has %llu\n", (unsigned long long)published,
                    (unsigned long long)atomic_load(&listeners->slowest));
            exit(1);
        }
        posts_wait(p, listeners->progress_fd, WAIT_US);
    }
}

static void run(const char *mode, struct raw *raw, struct sink *s, struct posts *posts, long kb)
{
    int idle = wake_new();
    int64_t start = clock_mono_us(), end = start + (int64_t)(seconds * 1e6);
    double cpu = meter_cpu_s(pid);
    while (clock_mono_us() < end) {
        if (posts)
            turn_daemon(posts, start);
        else if (raw || s)
            turn(raw, s, idle, start);
        else
            poll(NULL, 0, 10);
    }
    if (posts)
        await_all(posts);
    cpu = meter_cpu_s(pid) - cpu;
    double wall = (double)(clock_mono_us() - start) / 1e6;
    uint64_t delivered = atomic_load(&listeners->total);
    kb = memory_kb() - kb;
    child_stop(&listeners->child);
    report(mode, cpu, wall, delivered, kb);
    close(idle);
}

static bool take_word(const char *word)
{
    const char *value = strchr(word, '=');
    size_t n = value ? (size_t)(value++ - word) : 0;
    for (size_t i = 0; n && i < sizeof numbers / sizeof *numbers; i++)
        if (str_eq(str_of(numbers[i].name), (struct str){ word, n })) {
            *numbers[i].at = (int)strtol(value, NULL, 10);
            return true;
        }
    for (size_t i = 0; n && i < sizeof texts / sizeof *texts; i++)
        if (str_eq(str_of(texts[i].name), (struct str){ word, n })) {
            *texts[i].at = value;
            return true;
        }
    if (strncmp(word, "seconds=", 8) == 0)
        return (seconds = strtod(value, NULL)) > 0;
    return strncmp(word, "rate=", 5) == 0 && (rate = strtod(value, NULL)) >= 0;
}

/* Starts the listeners and waits until all are there. */
static void connect_all(struct raw *raw, struct sink *s, int server)
{
    listeners = listeners_start(&(struct listeners_options){ .count = count,
                                                             .port = listen_port,
                                                             .upgrade = !raw,
                                                             .target = target,
                                                             .subjects = subjects,
                                                             .frame_bytes = posts_frame_bytes(subjects),
                                                             .reads = reads,
                                                             .skip = skip,
                                                             .lines = lines });
    CHECK(listeners);
    if (raw)
        raw_accept(raw, server);
    int idle = wake_new();
    for (int64_t until = clock_mono_us() + AWAIT_US; atomic_load(&listeners->connected) < (uint64_t)count;) {
        if (waitpid(listeners->child.pid, NULL, WNOHANG) != 0)
            exit(1); /* it has said why */
        if (clock_mono_us() > until || atomic_load(&listeners->gone)) {
            fprintf(stderr, "of %d listeners %llu are there and %llu gone again\n", count,
                    (unsigned long long)atomic_load(&listeners->connected),
                    (unsigned long long)atomic_load(&listeners->gone));
            exit(1);
        }
        if (s)
            s->ops->work(s, idle, (struct duration){ 10 }, NULL, 0);
        else
            poll(NULL, 0, 1);
    }
    close(idle);
}

int main(int argc, char **argv)
{
    static const char *const modes[] = { "raw", "uring", "sink", "daemon", "idle" };
    int mode = 0, server = -1;
    while (mode < 5 && (argc < 2 || strcmp(argv[1], modes[mode]) != 0))
        mode++;
    bool good = mode < 5;
    for (int i = 2; i < argc; i++)
        good = take_word(argv[i]) && good;
    if (!good || ahead > MOST_AHEAD || post > POSTS_MOST || connections > POSTS_CONNECTIONS) {
        fprintf(stderr, "usage: bench.fanout raw|uring|sink|daemon|idle [name=value]...\n");
        return 2;
    }
    log_setup(LOG_ERROR, LOG_LOGFMT);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 1 << 16, 1 << 16 });
    struct raw raw = { 0 };
    struct posts posts = { .count = connections,
                           .most = post,
                           .path = path,
                           .token = token,
                           .before = before,
                           .after = after,
                           .each_before = each_before,
                           .each_after = each_after };
    struct sink *s = mode == 2 ? sink_new() : NULL;
    if (mode < 2)
        raw_open(&raw, &server, mode == 1);
    long kb = memory_kb();
    connect_all(mode < 2 ? &raw : NULL, s, server);
    if (mode == 3)
        posts_open(&posts, port);
    run(modes[mode], mode < 2 ? &raw : NULL, s, mode == 3 ? &posts : NULL, kb);
    sink_end(s);
    return 0;
}
