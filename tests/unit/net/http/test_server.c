/* SPDX-License-Identifier: MIT */
/* The HTTP server with real sockets: each test reads as a dialogue between a client and the server in one thread. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "bridge/lib/mem.h"
#include "bridge/lib/metrics.h"
#include "bridge/net/http/http.h"
#include "bridge/net/ws.h"
#include "tests/support/test.h"

enum { START_MS = 1000000, MOST = 64 << 20, PATIENCE_S = 20 };

/* What the server's user saw and does. */
struct user {
    bool later; /* keep requests, answer by answer_next() */
    uint64_t ids[64];
    size_t asked, answered, heads;
    int refuse;       /* status that head() answers */
    int64_t max_body; /* what head() lowers the limit to; 0: not */
    struct str body;  /* what to answer; absent: the request's body */
    struct buf paths;
    bool upgrade, endless; /* take every connection over */
    struct http_stream *stream;
    struct buf messages;
    int writable, closed;
};

static struct http_server *server;
static struct user user;
static char dir[64];

static bool on_head(void *ctx, const struct http_request *r, int64_t *max_body)
{
    (void)ctx;
    user.heads++;
    assert_null(r->body.at);
    if (user.max_body)
        *max_body = user.max_body;
    if (!user.refuse)
        return true;
    http_server_reply(server, r->id, user.refuse, NULL, 0, STR("no\n"));
    return false;
}

static void on_request(void *ctx, const struct http_request *r)
{
    (void)ctx;
    buf_add_str(&user.paths, r->path);
    buf_add_char(&user.paths, ' ');
    if (user.upgrade) {
        user.stream = http_server_upgrade(server, r, STR_ABSENT, &user);
    } else if (user.endless) {
        const struct header type = { STR("Content-Type"), STR("text/event-stream") };
        user.stream = http_server_stream(server, r, 200, &type, 1, &user);
    } else if (user.later) {
        user.ids[user.asked] = r->id;
    } else {
        http_server_reply(server, r->id, 200, NULL, 0, user.body.at ? user.body : r->body);
    }
    user.asked++;
}

static void answer_next(struct str body)
{
    http_server_reply(server, user.ids[user.answered++], 202, NULL, 0, body);
}

static void on_message(void *ctx, struct http_stream *st, bool text, struct str payload)
{
    (void)ctx;
    assert_ptr_equal(st, user.stream);
    buf_printf(&user.messages, "%s:%.*s|", text ? "text" : "binary", STR_ARG(payload));
}

static void on_writable(void *ctx, struct http_stream *st)
{
    (void)ctx;
    (void)st;
    user.writable++;
}

static void on_closed(void *ctx, struct http_stream *st)
{
    (void)ctx;
    assert_ptr_equal(http_stream_user(st), &user);
    user.stream = NULL;
    user.closed++;
}

static void start(struct http_server_options o)
{
    struct http_events events = {
        .head = on_head, .request = on_request, .message = on_message, .writable = on_writable, .closed = on_closed
    };
    struct err e = { "" };
    char any_port[] = "127.0.0.1:0";
    if (!o.listen)
        o.listen = any_port;
    server = http_server_new(&o, &events, &e);
    if (!server)
        fail_msg("%s", e.text);
}

#define START(...) start((struct http_server_options){ .tls_key = NULL, __VA_ARGS__ })

static int begin(void **state)
{
    (void)state;
    clock_fake(START_MS, 1700000000000);
    user = (struct user){ .paths = buf_new(1 << 20), .messages = buf_new(1 << 20) };
    snprintf(dir, sizeof dir, "/tmp/aqueduct-net-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    http_server_free(server);
    server = NULL;
    buf_free(&user.paths);
    buf_free(&user.messages);
    clock_real();
    char path[128];
    const char *names[] = { "socket", "key.pem", "cert.pem" };
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    return rmdir(dir);
}

/* ---- the client ---- */

struct client {
    int fd;
    bool ended;
    struct buf in; /* what the server said */
};

static struct client nobody = { .fd = -1 }; /* to wait for what no client sees */

static struct client client_on(int family, const struct sockaddr *a, socklen_t n)
{
    struct client c = { .fd = socket(family, SOCK_STREAM, 0), .in = buf_new(MOST) };
    assert_int_equal(connect(c.fd, a, n), 0);
    fcntl(c.fd, F_SETFL, O_NONBLOCK);
    return c;
}

static struct client client_new(void)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons((uint16_t)http_server_port(server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    return client_on(AF_INET, (struct sockaddr *)&a, sizeof a);
}

static void client_free(struct client *c)
{
    close(c->fd);
    buf_free(&c->in);
}

static void receive(struct client *c)
{
    char bytes[65536];
    ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
    if (n > 0)
        buf_add(&c->in, bytes, (size_t)n);
    c->ended |= n == 0 || (n < 0 && errno != EAGAIN);
}

static void rounds(int count)
{
    for (int i = 0; i < count; i++)
        http_server_run(server, -1, 1);
}

/* Sends all, letting the server work. */
static void say(struct client *c, struct str text)
{
    while (text.n) {
        ssize_t n = send(c->fd, text.at, text.n, MSG_NOSIGNAL);
        if (n > 0) {
            text.at += n;
            text.n -= (size_t)n;
        } else if (errno != EAGAIN) {
            return;
        }
        http_server_run(server, -1, 1);
    }
    rounds(2);
}

#define SAY(c, text) say(c, STR(text))

static struct timespec started;
static bool patient(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec - started.tv_sec < PATIENCE_S;
}

#define UNTIL(c, condition)                                                                                            \
    do {                                                                                                               \
        clock_gettime(CLOCK_MONOTONIC, &started);                                                                      \
        while (!(condition) && patient()) {                                                                            \
            rounds(1);                                                                                                 \
            receive(c);                                                                                                \
        }                                                                                                              \
        if (!(condition))                                                                                              \
            fail_msg("%s: got \"%.*s\"", #condition, (int)((c)->in.n < 500 ? (c)->in.n : 500),                         \
                     (c)->in.at ? (c)->in.at : "");                                                                    \
    } while (0)

static bool said(const struct client *c, const char *text)
{
    return c->in.n && memmem(c->in.at, c->in.n, text, strlen(text));
}

static size_t times(const struct client *c, const char *text)
{
    size_t n = 0;
    const char *at = c->in.at, *stop = c->in.at + c->in.n;
    while (at && (at = memmem(at, (size_t)(stop - at), text, strlen(text)))) {
        n++;
        at++;
    }
    return n;
}

static void expect(struct client *c, const char *text)
{
    UNTIL(c, said(c, text));
}

static void expect_end(struct client *c)
{
    UNTIL(c, c->ended);
}

static void forget(struct client *c)
{
    buf_reset(&c->in);
}

#define GET(path)    "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST(length) "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " length "\r\n"

/* ---- requests and answers ---- */

TEST(a_request_is_answered)
{
    START();
    struct client c = client_new();
    SAY(&c, POST("5") "\r\nhello");
    expect(&c, "hello");
    assert_true(said(&c, "HTTP/1.1 200 OK\r\n"));
    assert_true(said(&c, "Date: Tue, 14 Nov 2023 22:13:20 GMT\r\n"));
    assert_true(said(&c, "Content-Length: 5\r\n\r\nhello"));
    assert_false(said(&c, "Connection"));
    assert_int_equal(user.heads, 1);
    for (int i = 0; i < 3; i++) {
        forget(&c);
        SAY(&c, POST("5") "\r\nagain");
        expect(&c, "again");
    }
    assert_int_equal(http_server_connections(server), 1);
    client_free(&c);
    clock_fake_advance(1000);
    UNTIL(&c, http_server_connections(server) == 0);
}

TEST(the_parts_of_a_target)
{
    static const struct {
        const char *target, *path;
    } cases[] = {
        { "/a/b?c=d?e", "/a/b " }, { "/", "/ " },        { "/?", "/ " },
        { "http://a/x?y", "/x " }, { "http://a", "/ " }, { "http://a?q", "/ " },
    };
    START();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client c = client_new();
        char text[200];
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", cases[i].target);
        buf_reset(&user.paths);
        say(&c, str_of(text));
        expect(&c, "200 OK");
        assert_string_equal(buf_c(&user.paths), cases[i].path);
        client_free(&c);
    }
}

TEST(pipelined_requests_wait_for_their_turn)
{
    START();
    user.later = true;
    struct client c = client_new();
    SAY(&c, GET("/1") GET("/2") GET("/3"));
    UNTIL(&c, user.asked == 1);
    rounds(5);
    assert_int_equal(user.asked, 1);
    receive(&c);
    assert_int_equal(c.in.n, 0); /* nobody was answered out of turn */
    answer_next(STR("one"));
    UNTIL(&c, user.asked == 2);
    answer_next(STR("two"));
    UNTIL(&c, user.asked == 3);
    answer_next(STR("three"));
    expect(&c, "three");
    assert_true(strstr(buf_c(&c.in), "one") < strstr(c.in.at, "two")
                && strstr(c.in.at, "two") < strstr(c.in.at, "three"));
    assert_string_equal(buf_c(&user.paths), "/1 /2 /3 ");
    assert_int_equal(times(&c, "202 Accepted"), 3);
    client_free(&c);
}

TEST(many_pipelined_posts)
{
    START();
    struct client c = client_new();
    struct buf all = buf_new(MOST);
    for (int i = 0; i < 2000; i++)
        buf_printf(&all, POST("6") "\r\n%06d", i);
    say(&c, buf_str(&all));
    UNTIL(&c, times(&c, "HTTP/1.1 200 OK") == 2000 && said(&c, "\r\n\r\n001999"));
    const char *at = buf_c(&c.in);
    for (int i = 0; i < 2000; i++) {
        char body[16];
        snprintf(body, sizeof body, "\r\n\r\n%06d", i);
        at = strstr(at, body);
        assert_non_null(at);
    }
    buf_free(&all);
    client_free(&c);
}

static struct buf big_body(size_t n)
{
    struct buf b = buf_new(MOST);
    char *at = buf_room(&b, n);
    for (size_t i = 0; i < n; i++)
        at[i] = (char)('a' + i * i % 26);
    b.n = n;
    return b;
}

static bool got_body(struct client *c, const struct buf *body)
{
    return c->in.n > body->n && memcmp(c->in.at + c->in.n - body->n, body->at, body->n) == 0;
}

TEST(a_large_body_in_pieces)
{
    START();
    struct client c = client_new();
    struct buf body = big_body(300000);
    SAY(&c, POST("300000") "\r\n");
    for (size_t at = 0; at < body.n; at += 7001)
        say(&c, (struct str){ body.at + at, body.n - at < 7001 ? body.n - at : 7001 });
    UNTIL(&c, got_body(&c, &body));
    buf_free(&body);
    client_free(&c);
}

TEST(a_large_chunked_body)
{
    START();
    struct client c = client_new();
    struct buf body = big_body(300000), wire = buf_new(MOST);
    buf_add_c(&wire, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (size_t at = 0, n; at < body.n; at += n) {
        n = body.n - at < 9999 ? body.n - at : 9999;
        buf_printf(&wire, "%zx;x=y\r\n", n);
        buf_add(&wire, body.at + at, n);
        buf_add_c(&wire, "\r\n");
    }
    buf_add_c(&wire, "0\r\nTrailer: x\r\n\r\n" GET("/next"));
    say(&c, buf_str(&wire));
    UNTIL(&c, user.asked == 2 && times(&c, "200 OK") == 2);
    assert_non_null(memmem(c.in.at, c.in.n, body.at, body.n));
    buf_free(&body);
    buf_free(&wire);
    client_free(&c);
}

TEST(byte_by_byte)
{
    START();
    struct client c = client_new();
    struct str text = STR(POST("3") "\r\nabc" GET("/2"));
    for (size_t i = 0; i < text.n; i++)
        say(&c, (struct str){ text.at + i, 1 });
    UNTIL(&c, times(&c, "200 OK") == 2);
    assert_true(said(&c, "\r\n\r\nabcHTTP/1.1 200 OK"));
    client_free(&c);
}

TEST(old_clients)
{
    START();
    struct client c = client_new();
    SAY(&c, "GET / HTTP/1.0\r\n\r\n");
    expect_end(&c);
    assert_true(said(&c, "200 OK") && said(&c, "Connection: close\r\n"));
    client_free(&c);

    c = client_new();
    SAY(&c, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    expect(&c, "Connection: keep-alive\r\n");
    SAY(&c, "GET / HTTP/1.0\r\n\r\n");
    expect_end(&c);
    assert_int_equal(times(&c, "200 OK"), 2);
    client_free(&c);

    c = client_new();
    SAY(&c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" GET("/never"));
    expect_end(&c);
    assert_int_equal(times(&c, "200 OK"), 1);
    client_free(&c);
}

TEST(head_has_no_body)
{
    START();
    user.body = STR("body");
    struct client c = client_new();
    SAY(&c, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" GET("/"));
    UNTIL(&c, times(&c, "200 OK") == 2 && said(&c, "body"));
    assert_true(said(&c, "Content-Length: 4\r\n\r\nHTTP/1.1"));
    client_free(&c);
}

TEST(an_answer_cannot_break_its_head)
{
    START();
    user.later = true;
    struct client c = client_new();
    SAY(&c, GET("/"));
    UNTIL(&c, user.asked == 1);
    const struct header bad[] = { { STR("A"), STR("b\r\nX: y") }, { STR("C"), STR("d\n") }, { STR("E"), STR("f") } };
    http_server_reply(server, user.ids[0], 204, bad, 3, STR("no body"));
    expect(&c, "\r\n\r\n");
    assert_true(said(&c, "204 No Content") && said(&c, "E: f\r\n"));
    assert_false(said(&c, "X: y") || said(&c, "C:") || said(&c, "Content-Length") || said(&c, "no body"));
    client_free(&c);
}

TEST(an_answer_is_given_once)
{
    START();
    user.later = true;
    struct client c = client_new();
    SAY(&c, GET("/1") GET("/2"));
    UNTIL(&c, user.asked == 1);
    answer_next(STR("one"));
    http_server_reply(server, user.ids[0], 500, NULL, 0, STR("again"));
    http_server_reply(server, 0, 500, NULL, 0, STR("zero"));
    http_server_reply(server, UINT64_MAX, 500, NULL, 0, STR("all"));
    UNTIL(&c, user.asked == 2);
    http_server_reply(server, user.ids[0], 500, NULL, 0, STR("again"));
    answer_next(STR("two"));
    expect(&c, "two");
    assert_int_equal(times(&c, "202 Accepted"), 2);
    assert_false(said(&c, "500"));
    client_free(&c);
}

TEST(the_client_has_gone)
{
    START();
    user.later = true;
    struct client c = client_new(), other = client_new();
    SAY(&c, GET("/1"));
    UNTIL(&c, user.asked == 1);
    struct linger reset = { .l_onoff = 1 };
    setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    client_free(&c);
    UNTIL(&other, http_server_connections(server) == 1);
    assert_int_equal(metric_value(metric_gauge("aqueduct_net_connections", "", NULL)), 1);
    SAY(&other, GET("/2"));
    UNTIL(&other, user.asked == 2);
    answer_next(STR("nobody"));
    answer_next(STR("somebody"));
    expect(&other, "somebody");
    assert_false(said(&other, "nobody"));
    client_free(&other);
}

TEST(a_half_closed_client_gets_its_answer)
{
    START();
    user.later = true;
    struct client c = client_new();
    SAY(&c, GET("/1"));
    shutdown(c.fd, SHUT_WR);
    UNTIL(&c, user.asked == 1);
    rounds(5);
    answer_next(STR("still here"));
    expect_end(&c);
    assert_true(said(&c, "still here"));
    client_free(&c);
}

/* ---- refusing ---- */

TEST(bad_requests_end_the_connection)
{
    static const struct {
        const char *text, *status;
    } cases[] = {
        { "GET / HTTP/1.1\r\n\r\n", "400 Bad Request" },
        { "GET / HTTP/1.1\nHost: a\n\n", "400 Bad Request" },
        { "GET / HTTP/3.0\r\n\r\n", "505 HTTP Version Not Supported" },
        { POST("5") "Content-Length: 5\r\n\r\nhello", "400 Bad Request" },
        { "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "400 Bad Request" },
        { POST("1") "Expect: nothing\r\n\r\na", "417 Expectation Failed" },
    };
    START();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client c = client_new();
        say(&c, str_of(cases[i].text));
        SAY(&c, GET("/smuggled"));
        expect_end(&c);
        assert_true(said(&c, cases[i].status) && said(&c, "Connection: close\r\n"));
        assert_int_equal(times(&c, "HTTP/1.1 "), 1);
        client_free(&c);
    }
    assert_null(strstr(buf_c(&user.paths), "smuggled"));
}

TEST(bodies_are_limited)
{
    START(.max_body = { 1000 });
    struct client c = client_new();
    SAY(&c, POST("1001") "\r\n");
    expect_end(&c);
    assert_true(said(&c, "413 Content Too Large"));
    client_free(&c);

    c = client_new();
    SAY(&c, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n");
    expect_end(&c);
    assert_true(said(&c, "413 Content Too Large"));
    client_free(&c);

    user.max_body = 10; /* head() lowers it */
    c = client_new();
    SAY(&c, POST("10") "\r\n0123456789" POST("11") "\r\n01234567890");
    expect_end(&c);
    assert_true(said(&c, "0123456789") && said(&c, "413 Content Too Large"));
    client_free(&c);

    user.max_body = 1 << 20; /* but never raises it */
    c = client_new();
    SAY(&c, POST("1001") "\r\n");
    expect_end(&c);
    assert_true(said(&c, "413 Content Too Large"));
    client_free(&c);
}

/* Senders that never finish share a bound; who passes it is sent away, and the others get on. */
TEST(incomplete_requests_are_limited_together)
{
    START(.max_body = { 4000 }, .max_held = { 6000 });
    char half[2000];
    memset(half, 'x', sizeof half);
    struct str bytes = { half, sizeof half };
    struct client slow[3];
    for (int i = 0; i < 3; i++) {
        slow[i] = client_new();
        SAY(&slow[i], POST("4000") "\r\n");
        say(&slow[i], bytes);
    }
    expect_end(&slow[2]);
    assert_true(said(&slow[2], "503 Service Unavailable") && said(&slow[2], "Retry-After: 1\r\n"));
    client_free(&slow[2]);

    struct client c = client_new(); /* what comes whole needs no room */
    SAY(&c, POST("5") "\r\nhello");
    expect(&c, "hello");
    client_free(&c);

    client_free(&slow[1]);
    UNTIL(&nobody, http_server_connections(server) == 1);
    say(&slow[0], bytes); /* the one that goes on is served */
    expect(&slow[0], "200 OK");
    client_free(&slow[0]);
    c = client_new(); /* and its room is free again */
    SAY(&c, POST("4000") "\r\n");
    say(&c, bytes);
    say(&c, bytes);
    expect(&c, "200 OK");
    client_free(&c);
}

TEST(continue_is_sent_when_the_head_is_welcome)
{
    START();
    struct client c = client_new();
    SAY(&c, POST("5") "Expect: 100-continue\r\n\r\n");
    expect(&c, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_int_equal(user.asked, 0);
    SAY(&c, "hello");
    expect(&c, "hello");

    forget(&c);
    SAY(&c, POST("5") "Expect: 100-continue\r\n\r\nready");
    expect(&c, "ready");
    assert_false(said(&c, "100 Continue"));

    forget(&c);
    user.refuse = 401;
    SAY(&c, POST("5") "Expect: 100-continue\r\n\r\n");
    expect_end(&c);
    assert_true(said(&c, "401 Unauthorized") && said(&c, "Connection: close"));
    assert_false(said(&c, "100 Continue"));
    client_free(&c);
}

TEST(a_refused_body_is_not_read)
{
    START();
    user.refuse = 403;
    struct client c = client_new();
    SAY(&c, POST("500000") "\r\n");
    struct buf body = big_body(500000);
    say(&c, buf_str(&body)); /* the client goes on for a while, as many do; it still gets the answer */
    expect_end(&c);
    assert_true(said(&c, "403 Forbidden") && said(&c, "Connection: close"));
    assert_int_equal(user.asked, 0);
    buf_free(&body);
    client_free(&c);
}

TEST(a_refused_body_that_is_here_is_skipped)
{
    START();
    user.refuse = 403;
    struct client c = client_new();
    SAY(&c, POST("5") "\r\nhello" POST("5") "\r\nworld" GET("/"));
    UNTIL(&c, times(&c, "403 Forbidden") == 3);
    assert_false(said(&c, "Connection: close"));
    assert_false(c.ended);
    client_free(&c);
}

/* ---- time and numbers ---- */

TEST(slow_heads_are_refused)
{
    START(.head_timeout = { 10000 }, .idle_timeout = { 60000 });
    struct client c = client_new();
    SAY(&c, "GET / HT");
    clock_fake_advance(9000);
    SAY(&c, "TP/1.1\r\n");
    rounds(3);
    receive(&c);
    assert_false(c.ended);
    clock_fake_advance(1001); /* counted from the first byte, however often another one comes */
    expect_end(&c);
    assert_true(said(&c, "408 Request Timeout"));
    client_free(&c);
}

TEST(slow_bodies_are_refused)
{
    START(.head_timeout = { 10000 }, .body_timeout = { 30000 });
    struct client c = client_new();
    SAY(&c, POST("5") "\r\nhel");
    clock_fake_advance(29999);
    SAY(&c, "l");
    assert_int_equal(c.in.n, 0);
    clock_fake_advance(2);
    expect_end(&c);
    assert_true(said(&c, "408 Request Timeout"));
    assert_int_equal(user.asked, 0);
    client_free(&c);
}

TEST(idle_connections_end)
{
    START(.idle_timeout = { 60000 });
    struct client silent = client_new(), c = client_new();
    SAY(&c, GET("/"));
    expect(&c, "200 OK");
    clock_fake_advance(30000);
    SAY(&c, GET("/"));
    UNTIL(&c, times(&c, "200 OK") == 2);
    clock_fake_advance(30001);
    expect_end(&silent);
    assert_int_equal(silent.in.n, 0);
    receive(&c);
    assert_false(c.ended);
    clock_fake_advance(30000);
    expect_end(&c);
    client_free(&c);
    client_free(&silent);
}

/* The user may take its time; that is not the client's fault. */
TEST(waiting_has_no_deadline)
{
    START();
    user.later = true;
    struct client c = client_new();
    SAY(&c, GET("/"));
    UNTIL(&c, user.asked == 1);
    clock_fake_advance(10 * 60 * 1000);
    rounds(3);
    answer_next(STR("at last"));
    expect(&c, "at last");
    client_free(&c);
}

TEST(a_client_that_does_not_read)
{
    START(.body_timeout = { 30000 });
    struct buf body = big_body(32 << 20);
    user.body = buf_str(&body);
    struct client c = client_new();
    SAY(&c, GET("/"));
    rounds(5);
    assert_int_equal(http_server_connections(server), 1);
    clock_fake_advance(30001);
    UNTIL(&nobody, http_server_connections(server) == 0);
    client_free(&c);

    c = client_new(); /* one that reads gets it all */
    SAY(&c, GET("/"));
    UNTIL(&c, got_body(&c, &body));
    forget(&c);
    user.body = STR("small");
    SAY(&c, GET("/"));
    expect(&c, "small");
    buf_free(&body);
    client_free(&c);
}

TEST(too_many_connections)
{
    START(.max_connections = 2);
    struct client a = client_new(), b = client_new();
    SAY(&a, GET("/"));
    expect(&a, "200 OK");
    SAY(&b, GET("/"));
    expect(&b, "200 OK");
    struct client c = client_new();
    SAY(&c, GET("/"));
    expect_end(&c);
    assert_true(said(&c, "503 Service Unavailable") && said(&c, "Retry-After: 1\r\n"));
    client_free(&c);
    client_free(&a);
    UNTIL(&b, http_server_connections(server) == 1);
    c = client_new();
    SAY(&c, GET("/"));
    expect(&c, "200 OK");
    client_free(&c);
    client_free(&b);
}

static int64_t refused_connections(void)
{
    return metric_value(metric_counter("aqueduct_net_refused_total", "", LABELS("reason", "connections")));
}

/* Without descriptors new clients wait in the kernel, and the server does not spin over them. */
TEST(out_of_descriptors)
{
    START();
    struct client c = client_new();
    struct rlimit before, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int next = dup(0);
    close(next);
    none = (struct rlimit){ (rlim_t)next, before.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int64_t refused = refused_connections();
    SAY(&c, GET("/"));
    rounds(20);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(refused_connections(), refused + 1);
    rounds(5);
    assert_int_equal(http_server_connections(server), 0);
    clock_fake_advance(101);
    expect(&c, "200 OK");
    client_free(&c);
}

TEST(stopping_answers_what_waits)
{
    START();
    user.later = true;
    struct client idle = client_new(), c = client_new();
    SAY(&idle, GET("/"));
    UNTIL(&idle, user.asked == 1);
    answer_next(STR("first"));
    expect(&idle, "first");
    SAY(&c, GET("/"));
    UNTIL(&c, user.asked == 2);
    http_server_stop_accepting(server);
    expect_end(&idle);
    answer_next(STR("second"));
    expect_end(&c);
    assert_true(said(&c, "second") && said(&c, "Connection: close"));
    client_free(&c);
    client_free(&idle);
    UNTIL(&nobody, http_server_connections(server) == 0);
}

TEST(waking_ends_the_wait)
{
    START();
    clock_real();
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    http_server_run(server, ends[0], -1); /* returns, or the test's own timeout strikes */
    char byte;
    assert_int_equal(read(ends[0], &byte, 1), 1);
    close(ends[0]);
    close(ends[1]);
}

/* ---- WebSocket ---- */

#define HANDSHAKE                                                                                                      \
    "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"                         \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"

static struct client websocket(void)
{
    user.upgrade = true;
    struct client c = client_new();
    SAY(&c, HANDSHAKE "\r\n");
    expect(&c, "\r\n\r\n");
    assert_true(said(&c, "101 Switching Protocols\r\n")
                && said(&c, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert_non_null(user.stream);
    assert_true(http_stream_is_websocket(user.stream));
    forget(&c);
    return c;
}

/* A masked frame of at most 125 bytes; the mask is zero, so the bytes stay readable. */
static void say_frame(struct client *c, int first, struct str payload)
{
    char frame[6 + 125] = { (char)first, (char)(0x80 | payload.n) };
    memcpy(frame + 6, payload.at, payload.n);
    say(c, (struct str){ frame, 6 + payload.n });
}

TEST(messages_come_and_go)
{
    START();
    struct client c = websocket();
    say_frame(&c, 0x81, STR("hello"));
    say_frame(&c, 0x02, STR("a"));
    say_frame(&c, 0x89, STR("ping"));
    say_frame(&c, 0x80, STR("b"));
    expect(&c, "\x8a\x04ping");
    assert_string_equal(buf_c(&user.messages), "text:hello|binary:ab|");
    assert_int_equal(http_stream_write(user.stream, "\x81\x02hi", 4, true), 4);
    expect(&c, "\x81\x02hi");
    say_frame(&c, 0x88,
              STR("\x03\xe8"
                  "bye"));
    expect_end(&c);
    assert_true(said(&c, "\x88\x02\x03\xe8"));
    UNTIL(&c, user.closed == 1);
    client_free(&c);
}

TEST(frames_behind_the_handshake_are_not_lost)
{
    START();
    user.upgrade = true;
    struct client c = client_new();
    say(&c, STR(HANDSHAKE "\r\n\x81\x82\0\0\0\0ab"));
    UNTIL(&c, user.messages.n);
    assert_string_equal(buf_c(&user.messages), "text:ab|");
    client_free(&c);
    UNTIL(&nobody, user.closed == 1);
}

TEST(bad_handshakes)
{
    static const struct {
        const char *text, *status;
    } cases[] = {
        { GET("/ws"), "426 Upgrade Required" },
        { "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n"
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
          "Sec-WebSocket-Version: 13" },
        { "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
          "426 Upgrade Required" },
        { "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
          "426 Upgrade Required" },
        { "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n",
          "400 Bad Request" },
        { "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
          "Sec-WebSocket-Key: short\r\n\r\n",
          "400 Bad Request" },
        { "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j????\r\n\r\n",
          "400 Bad Request" },
        { "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
          "400 Bad Request" },
        { "POST / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
          "400 Bad Request" },
        { "GET / HTTP/1.0\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
          "400 Bad Request" },
    };
    START();
    user.upgrade = true;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client c = client_new();
        say(&c, str_of(cases[i].text));
        expect_end(&c);
        if (!said(&c, cases[i].status) || user.stream)
            fail_msg("case %zu: %s", i, buf_c(&c.in));
        client_free(&c);
    }
    assert_int_equal(user.closed, 0);
}

TEST(protocol_errors_close_with_their_code)
{
    START(.max_message = { 100 });
    static const struct {
        int first;
        const char *payload;
        const char *close;
    } cases[] = {
        { 0xc1, "rsv", "\x88\x02\x03\xea" },
        { 0x83, "opcode", "\x88\x02\x03\xea" },
        { 0x81, "\xff", "\x88\x02\x03\xef" },
        { 0x82, "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789+",
          "\x88\x02\x03\xf1" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client c = websocket();
        say_frame(&c, cases[i].first, str_of(cases[i].payload));
        expect_end(&c);
        assert_true(said(&c, cases[i].close));
        client_free(&c);
        UNTIL(&nobody, user.closed == (int)i + 1);
    }
    assert_int_equal(user.messages.n, 0);
}

TEST(we_close)
{
    START();
    struct client c = websocket();
    http_stream_close(user.stream, 1012, "restart");
    assert_int_equal(http_stream_write(user.stream, "\x81\x00", 2, true), -1);
    expect(&c, "\x88\x09\x03\xf4restart");
    assert_false(c.ended); /* the client's own close frame is waited for */
    say_frame(&c, 0x81, STR("late"));
    say_frame(&c, 0x88, STR("\x03\xf4"));
    expect_end(&c);
    UNTIL(&c, user.closed == 1);
    assert_int_equal(user.messages.n, 0);
    client_free(&c);

    c = websocket(); /* but not for ever */
    http_stream_close(user.stream, 1001, NULL);
    expect(&c, "\x88\x02\x03\xe9");
    clock_fake_advance(5001);
    expect_end(&c);
    assert_int_equal(user.closed, 2);
    client_free(&c);
}

TEST(silence_is_met_with_pings)
{
    START(.ping = { 30000 }, .stream_idle = { 90000 });
    struct client c = websocket();
    clock_fake_advance(30001);
    expect(&c, "\x89\x00");
    say_frame(&c, 0x8a, STR(""));
    forget(&c);
    clock_fake_advance(60000);
    expect(&c, "\x89\x00");
    clock_fake_advance(59000);
    rounds(3);
    assert_int_equal(user.closed, 0);
    clock_fake_advance(1001);
    expect(&c, "\x03\xe9");
    client_free(&c);
}

/* Fills the kernel's buffers with one endless frame; returns how much went. */
static size_t stuff(struct http_stream *st, const char *frame, size_t n)
{
    size_t done = 0;
    long k;
    while (done < n && (k = http_stream_write(st, frame + done, n - done, true)) > 0)
        done += (size_t)k;
    return done;
}

/* The same, when writable() said that there is room again. */
static size_t stuff_again(struct http_stream *st, const char *frame, size_t n)
{
    if (!user.writable || !st)
        return 0;
    user.writable = 0;
    return stuff(st, frame, n);
}

TEST(control_frames_wait_for_a_boundary)
{
    START();
    enum { N = 64 << 20 };
    struct client c = websocket();
    c.in.max = 2 * (size_t)N;
    char *frames = malloc(WS_HEAD + N + 4);
    size_t head = ws_head((unsigned char *)frames, WS_BINARY, N), total = head + N + 4;
    memset(frames + head, 'x', N);
    memcpy(frames + head + N, "\x81\x02hi", 4);
    size_t done = stuff(user.stream, frames, total);
    assert_true(done > head && done < total);
    say_frame(&c, 0x89, STR("ping"));
    UNTIL(&c, (done += stuff_again(user.stream, frames + done, total - done)) == total && c.in.n == total + 6);
    /* The pong is between the two frames though both were given in one piece. */
    assert_memory_equal(c.in.at + head + N, "\x8a\x04ping\x81\x02hi", 10);
    free(frames);
    client_free(&c);
}

/* Pongs are not kept without limit for a client that reads none of them. */
TEST(a_flood_of_pings)
{
    START();
    struct client c = websocket();
    char ping[6 + 125] = { (char)0x89, (char)(0x80 | 125) };
    size_t pings = 0;
    for (int full = 0; full < 200 && pings < 400000;) {
        ssize_t n = send(c.fd, ping, sizeof ping, MSG_NOSIGNAL);
        full += n < 0;
        pings += n > 0;
        if (n > 0 && (size_t)n < sizeof ping)
            say(&c, (struct str){ ping + n, sizeof ping - (size_t)n });
        if (pings % 100 == 0 || n < 0)
            rounds(1);
    }
    assert_int_equal(pings, 400000); /* all were read, so that nothing stands still */
    rounds(20);
    buf_reset(&c.in);
    say_frame(&c, 0x88, STR("\x03\xe8"));
    UNTIL(&c, c.ended);
    size_t pongs = times(&c, "\x8a\x7d");
    assert_true(pongs > 1000 && pongs < pings);
    assert_memory_equal(c.in.at + c.in.n - 4, "\x88\x02\x03\xe8", 4);
    client_free(&c);
}

TEST(closing_in_the_middle_of_a_frame)
{
    START();
    enum { N = 64 << 20 };
    struct client c = websocket();
    c.in.max = 2 * (size_t)N;
    char *frames = malloc(WS_HEAD + N);
    size_t head = ws_head((unsigned char *)frames, WS_BINARY, N), total = head + N;
    memset(frames + head, 'x', N);
    size_t done = stuff(user.stream, frames, total);
    assert_true(done < total);
    http_stream_close(user.stream, 1013, "slow");
    /* The frame may still be ended, so that the close frame gets its place. */
    UNTIL(&c, (done += stuff_again(user.stream, frames + done, total - done)) == total && c.in.n == total + 8);
    assert_memory_equal(c.in.at + total, "\x88\x06\x03\xf5slow", 8);
    assert_int_equal(http_stream_write(user.stream, "\x81\x00", 2, true), -1);
    free(frames);
    client_free(&c);
}

TEST(an_endless_answer)
{
    START();
    user.endless = true;
    struct client c = client_new();
    SAY(&c, GET("/events"));
    expect(&c, "\r\n\r\n");
    assert_true(said(&c, "200 OK") && said(&c, "text/event-stream") && said(&c, "Connection: close"));
    assert_false(said(&c, "Content-Length"));
    assert_false(http_stream_is_websocket(user.stream));
    clock_fake_advance(3600 * 1000);
    rounds(3);
    assert_int_equal(http_stream_write(user.stream, "data: 1\n\n", 9, true), 9);
    expect(&c, "data: 1\n\n");
    http_stream_close(user.stream, 0, NULL);
    expect_end(&c);
    UNTIL(&c, user.closed == 1);
    client_free(&c);

    c = client_new();
    SAY(&c, GET("/events"));
    expect(&c, "\r\n\r\n");
    client_free(&c);
    UNTIL(&nobody, user.closed == 2);
}

TEST(freeing_closes_streams)
{
    START();
    struct client c = websocket();
    http_server_free(server);
    server = NULL;
    assert_int_equal(user.closed, 1);
    client_free(&c);
}

/* ---- listening ---- */

static void expect_refusal(const char *listen, const char *why)
{
    struct err e = { "" };
    struct http_server_options o = { .listen = (char *)(uintptr_t)listen };
    assert_null(http_server_new(&o, &(struct http_events){ 0 }, &e));
    if (!strstr(e.text, why))
        fail_msg("%s: \"%s\" does not say \"%s\"", listen, e.text, why);
}

TEST(addresses_are_checked)
{
    expect_refusal("", "\"\" is not an address");
    expect_refusal("8080", "\"8080\" is not an address");
    expect_refusal(":8080", "\":8080\" is not an address");
    expect_refusal("0.0.0.0:99999", "\"0.0.0.0:99999\" is not an address: the port must be 0 to 65535");
    expect_refusal("127.0.0.1:", "the port must be");
    expect_refusal("127.0.0.1:-1", "the port must be");
    expect_refusal("127.0.0.1:80x", "the port must be");
    expect_refusal("1.2.3:80", "is not an address");
    expect_refusal("example.com:80", "is not an address");
    expect_refusal("::1:80", "is not an address");
    expect_refusal("[::1:80", "is not an address");
    expect_refusal("unix:", "is not an address");
    expect_refusal("192.0.2.1:1", "cannot listen on 192.0.2.1:1: ");
    expect_refusal("unix:/nowhere/at/all", "cannot listen on unix:/nowhere/at/all: No such file");
    expect_refusal(NULL, "listen is missing");
    START();
    char taken[64];
    snprintf(taken, sizeof taken, "127.0.0.1:%d", http_server_port(server));
    expect_refusal(taken, "Address already in use");
}

static struct client local_client(const char *path)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    memcpy(a.sun_path, path, strlen(path) + 1);
    return client_on(AF_UNIX, (struct sockaddr *)&a, sizeof a);
}

TEST(a_unix_socket)
{
    char listen[128], *path = listen + 5;
    snprintf(listen, sizeof listen, "unix:%s/socket", dir);
    START(.listen = listen);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(http_server_port(server), 0);
    struct client c = local_client(path);
    SAY(&c, POST("5") "\r\nhello");
    expect(&c, "hello");
    expect_refusal(listen, "Address already in use");
    assert_int_equal(stat(path, &st), 0);
    client_free(&c);
    http_server_free(server);
    assert_int_not_equal(stat(path, &st), 0);

    /* A file that a dead process left behind is replaced. */
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    memcpy(a.sun_path, path, strlen(path) + 1);
    int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(dead, (struct sockaddr *)&a, sizeof a), 0);
    close(dead);
    assert_int_equal(stat(path, &st), 0);
    START(.listen = listen);
    c = local_client(path);
    SAY(&c, GET("/"));
    expect(&c, "200 OK");
    client_free(&c);
}

TEST(ipv6)
{
    struct err e;
    struct http_server_options o = { .listen = (char[]){ "[::1]:0" } };
    server = http_server_new(&o, &(struct http_events){ .request = on_request }, &e);
    if (!server)
        skip(); /* a machine without IPv6 */
    struct sockaddr_in6 a = { .sin6_family = AF_INET6,
                              .sin6_port = htons((uint16_t)http_server_port(server)),
                              .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    struct client c = client_on(AF_INET6, (struct sockaddr *)&a, sizeof a);
    SAY(&c, GET("/"));
    expect(&c, "200 OK");
    client_free(&c);
}

#define CLEANED(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLEANED(a_request_is_answered),
        CLEANED(the_parts_of_a_target),
        CLEANED(pipelined_requests_wait_for_their_turn),
        CLEANED(many_pipelined_posts),
        CLEANED(a_large_body_in_pieces),
        CLEANED(a_large_chunked_body),
        CLEANED(byte_by_byte),
        CLEANED(old_clients),
        CLEANED(head_has_no_body),
        CLEANED(an_answer_cannot_break_its_head),
        CLEANED(an_answer_is_given_once),
        CLEANED(the_client_has_gone),
        CLEANED(a_half_closed_client_gets_its_answer),
        CLEANED(bad_requests_end_the_connection),
        CLEANED(bodies_are_limited),
        CLEANED(incomplete_requests_are_limited_together),
        CLEANED(continue_is_sent_when_the_head_is_welcome),
        CLEANED(a_refused_body_is_not_read),
        CLEANED(a_refused_body_that_is_here_is_skipped),
        CLEANED(slow_heads_are_refused),
        CLEANED(slow_bodies_are_refused),
        CLEANED(idle_connections_end),
        CLEANED(waiting_has_no_deadline),
        CLEANED(a_client_that_does_not_read),
        CLEANED(too_many_connections),
        CLEANED(out_of_descriptors),
        CLEANED(stopping_answers_what_waits),
        CLEANED(waking_ends_the_wait),
        CLEANED(messages_come_and_go),
        CLEANED(frames_behind_the_handshake_are_not_lost),
        CLEANED(bad_handshakes),
        CLEANED(protocol_errors_close_with_their_code),
        CLEANED(we_close),
        CLEANED(silence_is_met_with_pings),
        CLEANED(control_frames_wait_for_a_boundary),
        CLEANED(a_flood_of_pings),
        CLEANED(closing_in_the_middle_of_a_frame),
        CLEANED(an_endless_answer),
        CLEANED(freeing_closes_streams),
        CLEANED(addresses_are_checked),
        CLEANED(a_unix_socket),
        CLEANED(ipv6),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
