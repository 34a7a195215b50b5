/* SPDX-License-Identifier: MIT */
/* One connection of the HTTP server from its first byte to its end: what its user sees does not depend on how the bytes
 * were cut, and nothing is left when the client is gone.
 *
 * Input: one byte that says how the second play cuts the bytes; then what the client sends. In it 0xff begins a command:
 * a: the user answers its oldest request, t, T, M: 1 s, 10 s, 60 s pass, e: the client shuts its side, x: it is gone,
 * b, r: it stops reading, reads again, w, c: the user writes to its stream, closes it, s: the server takes nobody new,
 * 0xff: that byte itself. What the user does with a request is said by the first letter of its path (connection_do). */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "bridge/net/http/private.h"
#include "bridge/net/ws.h"
#include "tests/fuzz/address.h"

enum { MOST = 16 << 20, BIG = 300000, MAX_BODY = 4096, LOWERED = 16, IDS = 4096, ROUNDS = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct play {
    struct http_server *server;
    int fd; /* the client's; -1: it is gone */
    bool reads;
    struct buf seen, said; /* by the user; by the server */
    uint64_t ids[IDS];
    size_t asked, answered;
    struct str expected; /* path of the last head(): request() must follow with it or not at all */
    int64_t max_body;
    struct http_stream *stream;
    size_t taken, closed;
    bool refused; /* a head: the connection goes on only if the body was there already */
} play;

/* ---- the server's user ---- */

static char big[BIG];

static void user_reply(uint64_t id, struct str body)
{
    http_server_reply(play.server, id, 200, NULL, 0, body);
}

static bool user_on_head(void *ctx, const struct http_request *r, int64_t *max_body)
{
    (void)ctx;
    CHECK(!r->body.at && r->path.n && !play.stream);
    buf_printf(&play.seen, "head %.*s %.*s\n", STR_ARG(r->method), STR_ARG(r->target));
    char first = r->path.n > 1 ? r->path.at[1] : 0;
    play.max_body = first == 'm' ? LOWERED : MAX_BODY;
    *max_body = play.max_body;
    if (first != 'n')
        return true;
    play.refused = true;
    http_server_reply(play.server, r->id, 403, NULL, 0, STR("no\n"));
    return false;
}

static void connection_do(const struct http_request *r)
{
    switch (r->path.n > 1 ? r->path.at[1] : 0) {
    case 'l': /* later */
        CHECK(play.asked < IDS);
        play.ids[play.asked++] = r->id;
        break;
    case 'u': /* upgrade */
        play.stream = http_server_upgrade(play.server, r, STR_ABSENT, http_request_deflate(r), &play);
        break;
    case 'e': /* an answer without end */ play.stream = http_server_stream(play.server, r, 200, NULL, 0, &play); break;
    case 'b': /* more than the kernel takes */ user_reply(r->id, (struct str){ big, BIG }); break;
    case 't': /* twice */
        user_reply(r->id, STR("once"));
        user_reply(r->id, STR("twice"));
        break;
    default: user_reply(r->id, r->body);
    }
    play.taken += play.stream != NULL;
}

static void user_on_request(void *ctx, const struct http_request *r)
{
    (void)ctx;
    CHECK(r->body.at && (int64_t)r->body.n <= play.max_body && !play.stream);
    CHECK(r->path.n == 0 || r->path.at[0] == '/' || r->path.at[0] == '*');
    CHECK(!(r->path.n > 1 && r->path.at[1] == 'n'));
    buf_printf(&play.seen, "request %.*s %.*s %zu ", STR_ARG(r->method), STR_ARG(r->target), r->header_count);
    buf_add_str(&play.seen, r->body);
    buf_add_char(&play.seen, '\n');
    connection_do(r);
}

static void stream_write(struct http_stream *st)
{
    if (http_stream_is_websocket(st))
        http_stream_write(st, "\x81\x02hi", 4, true);
    else
        http_stream_write(st, "data: hi\n\n", 10, true);
}

static void user_on_message(void *ctx, struct http_stream *st, bool text, struct str payload)
{
    (void)ctx;
    CHECK(st == play.stream && http_stream_is_websocket(st) && (!text || str_is_utf8(payload)));
    buf_printf(&play.seen, "message %d ", text);
    buf_add_str(&play.seen, payload);
    buf_add_char(&play.seen, '\n');
    if (str_eq(payload, STR("close")))
        http_stream_close(st, 1000, "bye");
    else
        stream_write(st);
}

static void user_on_writable(void *ctx, struct http_stream *st)
{
    (void)ctx;
    CHECK(st == play.stream);
}

static void user_on_closed(void *ctx, struct http_stream *st)
{
    (void)ctx;
    CHECK(st == play.stream && http_stream_user(st) == &play);
    play.stream = NULL;
    play.closed++;
}

/* ---- the client ---- */

static void client_read(void)
{
    static char bytes[64 << 10];
    ssize_t n;
    while (play.fd >= 0 && play.reads && (n = recv(play.fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
        buf_add(&play.said, bytes, (size_t)n);
}

/* Until nothing happens any more, so that a long answer is through however the bytes before it were cut. */
static void run(void)
{
    for (int quiet = 0; quiet < ROUNDS;) {
        size_t before = play.seen.n + play.said.n;
        http_server_run(play.server, -1, 0);
        client_read();
        quiet = play.seen.n + play.said.n == before ? quiet + 1 : 0;
    }
}

static void client_leave(void)
{
    if (play.fd >= 0)
        close(play.fd);
    play.fd = -1;
    run();
}

static void client_send(struct str bytes, size_t piece)
{
    while (bytes.n && play.fd >= 0) {
        size_t n = bytes.n < piece ? bytes.n : piece;
        ssize_t sent = send(play.fd, bytes.at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent <= 0)
            return;
        bytes.at += sent;
        bytes.n -= (size_t)sent;
        run();
    }
}

/* ---- the play ---- */

static void play_answer(void)
{
    if (play.answered < play.asked)
        user_reply(play.ids[play.answered++], STR("later"));
}

static void play_command(char command)
{
    switch (command) {
    case 'a': play_answer(); break;
    case 't': clock_fake_advance(1000); break;
    case 'T': clock_fake_advance(10000); break;
    case 'M': clock_fake_advance(60000); break;
    case 'e':
        if (play.fd >= 0)
            shutdown(play.fd, SHUT_WR);
        break;
    case 'x': client_leave(); break;
    case 'b': play.reads = false; break;
    case 'r': play.reads = true; break;
    case 'w':
        if (play.stream)
            stream_write(play.stream);
        break;
    case 'c':
        if (play.stream)
            http_stream_close(play.stream, 1001, "enough");
        break;
    case 's': http_server_stop_accepting(play.server); break;
    }
    run();
}

static void play_input(struct str in, size_t piece)
{
    while (in.n) {
        const char *mark = memchr(in.at, '\xff', in.n);
        size_t n = mark ? (size_t)(mark - in.at) : in.n;
        bool itself = mark && n + 1 < in.n && mark[1] == '\xff';
        client_send((struct str){ in.at, n + itself }, piece);
        in = (struct str){ in.at + n, in.n - n };
        if (mark && in.n > 1 && !itself)
            play_command(in.at[1]);
        in = str_from(in, in.n < 2 ? in.n : 2);
    }
}

static void play_begin(void)
{
    static const struct http_events events = { .head = user_on_head,
                                               .request = user_on_request,
                                               .message = user_on_message,
                                               .writable = user_on_writable,
                                               .closed = user_on_closed };
    struct http_server_options o = { .listen = address(),
                                     .max_head = { 4096 },
                                     .max_body = { MAX_BODY },
                                     .max_message = { 1024 },
                                     .min_body_rate = { 10 },
                                     .ping = { 20000 },
                                     .stream_idle = { 60000 } };
    int ends[2], small = 4096, large = 1 << 20;
    clock_fake(1000000, 1700000000000);
    play = (struct play){ .reads = true, .seen = buf_new(MOST), .said = buf_new(MOST) };
    play.server = http_server_new(&o, &events, NULL);
    CHECK(play.server && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &large, sizeof large);
    play.fd = ends[1];
    http_conn_new(play.server, ends[0], "127.0.0.1:5000", STR("127.0.0.1"), 0);
}

/* All that was said is well formed at its beginning; the client leaves, and nothing stays behind. */
static struct buf play_end(void)
{
    struct str said = buf_str(&play.said);
    CHECK(said.n < 9 || str_starts(said, STR("HTTP/1.1 ")));
    client_leave();
    CHECK(http_server_connections(play.server) == 0 && play.server->held == 0 && !play.server->later_first);
    CHECK(http_schedule_next_ms(play.server) == INT64_MAX);
    CHECK(!play.stream && play.taken == play.closed);
    while (play.answered < play.asked)
        play_answer(); /* of a client that is gone: ignored */
    http_server_free(play.server);
    buf_free(&play.said);
    return play.seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    log_setup(LOG_ERROR, LOG_LOGFMT);
    if (size < 2 || size > 32 << 10)
        return 0;
    struct str in = { (const char *)data + 1, size - 1 };
    size_t least = in.n / 128 + 1;
    play_begin();
    play_input(in, in.n);
    struct buf whole = play_end();
    play_begin();
    play_input(in, data[0] > least ? data[0] : least);
    struct buf parts = play_end();
    struct str more = buf_str(&whole), less = buf_str(&parts);
    CHECK(play.refused ? str_starts(more, less) : str_eq(more, less));
    buf_free(&whole);
    buf_free(&parts);
    return 0;
}
