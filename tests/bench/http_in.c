/* SPDX-License-Identifier: MIT */
/* Posts in over keep-alive connections, each answered 202 or 200 before the next one is sent.
 *
 *   bench.http_in raw    [connections] [seconds] [bytes]       the limit: epoll, recv, a fixed answer; nothing is parsed
 *   bench.http_in server [connections] [seconds] [bytes]       the HTTP server alone, with the same answer
 *   bench.http_in source [connections] [seconds] [bytes]       the source `http` alone: every event is settled as stored at once
 *   bench.http_in daemon [connections] [seconds] [bytes] PORT PATH TOKEN PID      a running aqueduct; its CPU from /proc
 *
 * Prints one JSON object. CPU is the server's process only. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "bridge/lib/log.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "bridge/net/http/http.h"
#include "posters.h"
#include "tests/support/connector.h"
#include "tests/support/loopback.h"

enum { READ_BYTES = 1 << 16, ROOM = 256 };

extern const struct source_ops http_source;

static long rss_kb(int pid)
{
    char path[64], line[256];
    long kb = 0;
    snprintf(path, sizeof path, "/proc/%d/status", pid ? pid : getpid());
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %ld", &kb) == 1)
            break;
    if (f)
        fclose(f);
    return kb;
}

/* ---- raw ---- */

static int raw_ep, raw_listener, raw_request;

static int raw_open(void)
{
    int port;
    raw_listener = loopback_listen(&port);
    raw_ep = epoll_create1(0);
    epoll_ctl(raw_ep, EPOLL_CTL_ADD, raw_listener, &(struct epoll_event){ .events = EPOLLIN, .data.fd = raw_listener });
    return port;
}

/* A request comes in one piece, so its bytes need not be looked at. */
static void raw_turn(void)
{
    static const char
        answer[] = "HTTP/1.1 202 Accepted\r\nDate: Fri, 20 Nov 2026 20:41:09 GMT\r\nContent-Type: application/json\r\n"
                   "Content-Length: 25\r\n\r\n{\"id\":\"0000000000000000\"}";
    static char in[READ_BYTES];
    struct epoll_event events[256];
    int k = epoll_wait(raw_ep, events, 256, 10);
    for (int i = 0; i < k; i++) {
        int fd = events[i].data.fd;
        if (fd == raw_listener) {
            fd = accept(fd, NULL, NULL);
            epoll_ctl(raw_ep, EPOLL_CTL_ADD, fd, &(struct epoll_event){ .events = EPOLLIN, .data.fd = fd });
        } else if (recv(fd, in, sizeof in, MSG_DONTWAIT) > raw_request) {
            send(fd, answer, sizeof answer - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
    }
}

/* ---- the server ---- */

static struct http_server *server;

static void server_answer(void *ctx, const struct http_request *r)
{
    (void)ctx;
    const struct header type = { STR("Content-Type"), STR("application/json") };
    http_server_reply(server, r->id, 202, &type, 1, STR("{\"id\":\"0000000000000000\"}"));
}

static int server_open(void)
{
    char any_port[] = "127.0.0.1:0";
    struct err e;
    server = http_server_new(&(struct http_server_options){ .listen = any_port },
                             &(struct http_events){ .request = server_answer }, &e);
    CHECK(server);
    return http_server_port(server);
}

/* ---- the source ---- */

static struct source *source_new(int port)
{
    char yaml[512];
    snprintf(
        yaml, sizeof yaml,
        "listen: 127.0.0.1:%d\npaths: [{path: /in, verify: {scheme: bearer, secrets: [a-token-of-some-length-0123]}}]",
        port);
    return source_opened(&http_source, "bench", yaml);
}

static void source_turn(struct source *s, int wake_fd)
{
    struct emission out[ROOM];
    struct err e;
    int n = s->ops->read(s, wake_fd, out, ROOM, &e);
    for (int i = 0; i < n; i++) {
        s->ops->settle(s, out[i].tag, OUTCOME_STORED, NULL);
        event_unref(out[i].event);
    }
}

/* ---- measuring ---- */

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    bool is_raw = strcmp(mode, "raw") == 0, is_source = strcmp(mode, "source") == 0,
         is_daemon = strcmp(mode, "daemon") == 0 && argc == 9;
    bool is_server = strcmp(mode, "server") == 0;
    if (!is_raw && !is_server && !is_source && !is_daemon) {
        fprintf(stderr, "usage: bench.http_in raw|server|source [connections] [seconds] [bytes]\n"
                        "       bench.http_in daemon connections seconds bytes port path token pid\n");
        return 2;
    }
    int connections = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 64,
        bytes = argc > 4 ? (int)strtol(argv[4], NULL, 10) : 256;
    double seconds = argc > 3 ? strtod(argv[3], NULL) : 5;
    int pid = is_daemon ? (int)strtol(argv[8], NULL, 10) : 0;
    log_setup(LOG_ERROR, LOG_LOGFMT);
    raw_request = bytes;
    int port = is_raw      ? raw_open()
               : is_server ? server_open()
               : is_source ? loopback_free_port()
                           : (int)strtol(argv[5], NULL, 10);
    struct source *s = is_source ? source_new(port) : NULL;
    struct posters *posters = posters_start(connections, port, is_daemon ? argv[6] : "/in",
                                            is_daemon ? argv[7] : "a-token-of-some-length-0123", bytes);
    if (!posters)
        return 1;
    int64_t start = clock_mono_us(), end = start + (int64_t)(seconds * 1e6);
    double cpu = meter_cpu_s(pid);
    int wake_fd = wake_new();
    while (clock_mono_us() < end) {
        if (is_raw)
            raw_turn();
        else if (is_server)
            http_server_run(server, wake_fd, 10);
        else if (is_source)
            source_turn(s, wake_fd);
        else
            usleep(10000);
    }
    cpu = meter_cpu_s(pid) - cpu;
    double wall = (double)(clock_mono_us() - start) / 1e6;
    uint64_t answered = atomic_load(&posters->answered);
    child_stop(&posters->child);
    printf(
        "{\"bench\":\"http_in\",\"mode\":\"%s\",\"connections\":%d,\"bytes\":%d,\"answered\":%llu,\"refused\":%llu,\"seconds\":%.2f,"
        "\"requests_per_s\":%.0f,\"cpu_us_per_request\":%.2f,\"cpu_share\":%.2f,\"posters_cpu_share\":%.2f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"rss_kb\":%ld}\n",
        mode, connections, bytes, (unsigned long long)answered, (unsigned long long)atomic_load(&posters->refused),
        wall, (double)answered / wall, answered ? cpu / (double)answered * 1e6 : 0, cpu / wall,
        posters->child.cpu_s / wall, delays_ms(&posters->delays, 0.5), delays_ms(&posters->delays, 0.99), rss_kb(pid));
    source_end(s);
    http_server_free(server);
    close(wake_fd);
    return 0;
}
