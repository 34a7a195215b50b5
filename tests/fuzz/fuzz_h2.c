/* SPDX-License-Identifier: MIT */
/* One connection of HTTP/2 from its first byte to its end: the user sees whole requests within their limits, each at most once;
 * what the server says are whole frames; and nothing is left when the client is gone or silent.
 *
 * Input: one byte of ways (1: the preface and empty SETTINGS are sent first; 2: 3 s pass between pieces; 4: the server stops
 * in the middle; 8: the client reads only at the end; 16: it falls silent instead of leaving), one byte that says how the
 * bytes are cut, then what the client sends. What the user does with a request is said by the first letter of its path. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "bridge/net/http/private.h"
#include "tests/fuzz/address.h"

enum { MOST = 64 << 20, BIG = 300000, MAX_BODY = 4096, LOWERED = 16, IDS = 4096, ROUNDS = 4, LIMIT_MS = 400 * 1000 };
enum { PREFACE = 1, SLOW = 2, STOPS = 4, DEAF = 8, SILENT = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct play {
    struct http_server *server;
    int fd; /* the client's; -1: it is gone */
    uint8_t ways;
    struct buf said; /* by the server */
    uint64_t ids[IDS], last_head;
    size_t asked, answered;
} play;

/* ---- the server's user ---- */

static char big[BIG];

static void user_reply(uint64_t id, struct str body)
{
    const struct header h = { STR("X-Cause"), body };
    http_server_reply(play.server, id, 200, &h, body.n < 1000, body);
}

static bool user_on_head(void *ctx, const struct http_request *r, int64_t *max_body)
{
    (void)ctx;
    CHECK(!r->body.at && r->path.n && r->id > play.last_head);
    play.last_head = r->id;
    char first = r->path.n > 1 ? r->path.at[1] : 0;
    *max_body = first == 'm' ? LOWERED : MAX_BODY;
    if (first != 'n')
        return true;
    http_server_reply(play.server, r->id, 403, NULL, 0, STR("no\n"));
    return false;
}

static void user_on_request(void *ctx, const struct http_request *r)
{
    (void)ctx;
    char first = r->path.n > 1 ? r->path.at[1] : 0;
    CHECK(r->body.at && r->body.n <= (first == 'm' ? LOWERED : MAX_BODY) && first != 'n');
    CHECK(r->path.at[0] == '/' && (http_header(r, "host", NULL).n || !(play.ways & PREFACE))); /* HTTP/1.0 has none */
    for (size_t i = 0; i < r->header_count; i++)
        CHECK(r->headers[i].name.n && !memchr(r->headers[i].name.at, '\n', r->headers[i].name.n)
              && (!r->headers[i].value.n || !memchr(r->headers[i].value.at, '\r', r->headers[i].value.n)));
    if (first == 'l') { /* later */
        CHECK(play.asked < IDS);
        play.ids[play.asked++] = r->id;
    } else if (first == 'b') { /* more than the kernel takes */
        user_reply(r->id, (struct str){ big, BIG });
    } else {
        user_reply(r->id, r->body);
        user_reply(r->id, STR("twice"));
    }
}

/* ---- the client ---- */

static void client_read(void)
{
    static char bytes[64 << 10];
    ssize_t n;
    while (play.fd >= 0 && (n = recv(play.fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
        buf_add(&play.said, bytes, (size_t)n);
}

static void run(void)
{
    for (int i = 0; i < ROUNDS; i++) {
        http_server_run(play.server, -1, 0);
        if (!(play.ways & DEAF))
            client_read();
    }
}

static void client_send(struct str bytes, size_t piece)
{
    for (size_t sent = 0; bytes.n && play.fd >= 0; sent++) {
        size_t n = bytes.n < piece ? bytes.n : piece;
        ssize_t k = send(play.fd, bytes.at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (k <= 0)
            return;
        bytes = str_from(bytes, (size_t)k);
        if (play.ways & SLOW)
            clock_fake_advance(3000);
        if (play.ways & STOPS && sent == 2)
            http_server_stop_accepting(play.server);
        run();
    }
}

static void client_leave(void)
{
    if (play.fd >= 0)
        close(play.fd);
    play.fd = -1;
    run();
}

/* ---- the play ---- */

static void play_begin(uint8_t ways)
{
    static const struct http_events events = { .head = user_on_head, .request = user_on_request };
    struct http_server_options o = { .listen = address(),
                                     .http2_streams = 8,
                                     .max_head = { 4096 },
                                     .max_body = { MAX_BODY },
                                     .max_held = { 32 << 10 },
                                     .min_body_rate = { 10 },
                                     .reserved = true };
    int ends[2], small = 4096, large = 1 << 20;
    clock_fake(1000000, 1700000000000);
    play = (struct play){ .ways = ways, .said = buf_new(MOST) };
    play.server = http_server_new(&o, &events, NULL);
    CHECK(play.server && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &large, sizeof large);
    play.fd = ends[1];
    http_conn_new(play.server, ends[0], "127.0.0.1:5000", STR("127.0.0.1"), 0);
}

static void play_answer(void)
{
    while (play.answered < play.asked)
        user_reply(play.ids[play.answered++], STR("later"));
    run();
}

/* Whoever says nothing more is not kept. */
static void play_silence(void)
{
    for (int64_t ms = 0; ms < LIMIT_MS && http_server_connections(play.server); ms += 10000) {
        clock_fake_advance(10000);
        run();
    }
}

static void play_end(void)
{
    play_answer();
    if (play.ways & SILENT)
        play_silence();
    else
        client_leave();
    CHECK(http_server_connections(play.server) == 0 && play.server->held == 0);
    run();
    CHECK(!play.server->later_first && http_schedule_next_ms(play.server) == INT64_MAX);
    client_read();
    client_leave();
    http_server_free(play.server);
}

/* The first frame is SETTINGS; each one has the length it says, and it is one that a client takes. */
static void play_check_frames(void)
{
    struct str said = buf_str(&play.said);
    for (bool first = true; said.n >= 9; first = false) {
        const unsigned char *head = (const unsigned char *)said.at;
        size_t length = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
        CHECK(length <= 16384 && (!first || head[3] == 4));
        if (said.n < 9 + length)
            return;
        said = str_from(said, 9 + length);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char begin[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    log_setup(LOG_ERROR, LOG_LOGFMT);
    if (size < 3 || size > 64 << 10)
        return 0;
    struct str in = { (const char *)data + 2, size - 2 };
    size_t least = in.n / 128 + 1, piece = (size_t)data[1] * 8;
    play_begin(data[0]);
    if (data[0] & PREFACE)
        client_send((struct str){ begin, sizeof begin - 1 }, sizeof begin);
    client_send(in, piece > least ? piece : least);
    play_end();
    if (data[0] & PREFACE)
        play_check_frames();
    buf_free(&play.said);
    return 0;
}
