/* SPDX-License-Identifier: MIT */
/* The WebSocket sink through its socket: who may listen, what listeners get byte for byte, and what slow ones do to
 * others. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "bridge/connector.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mailbox.h"
#include "bridge/net/ws.h"
#include "connectors/websocket/access.h"
#include "tests/support/client.h"
#include "tests/support/connector.h"
#include "tests/support/event.h"
#include "tests/support/metric.h"
#include "tests/support/test.h"

extern const struct sink_ops websocket_sink;

/* ---- a sink, and a core that is just this test ---- */

static struct sink *sink;
static const char *socket_path;
static int wake_fd; /* always readable: work() never waits */
static char *topic_names[] = { (char[]){ "ai.chats" }, (char[]){ "ai.events" } };
static struct strings topics = { topic_names, 2 };
static int64_t offset;

static void sink_open(const char *more)
{
    char yaml[2048];
    socket_path = client_path();
    snprintf(yaml, sizeof yaml, "listen: unix:%s\n%s", socket_path, more);
    sink = sink_filled(&websocket_sink, "live", yaml);
    sink->topics = &topics;
    sink_start(sink);
    wake_fd = wake_new();
    wake_up(wake_fd);
}

static int sink_close(void **state)
{
    (void)state;
    sink_end(sink);
    sink = NULL;
    close(wake_fd);
    client_forget_path();
    clock_real();
    return 0;
}

static void turn(void)
{
    assert_int_equal(websocket_sink.work(sink, wake_fd, (struct duration){ 50 }, NULL, 0), 0);
}

static void send_event(const char *topic, const char *id, const char *type, const char *subject, const char *data)
{
    const struct event *ev = event_born(&(struct event){ .id = str_of(id),
                                                         .source = STR("/s"),
                                                         .type = str_of(type),
                                                         .subject = str_of(subject),
                                                         .data = str_of(data) });
    struct record r = { .topic = str_of(topic), .partition = 3, .offset = offset++ };
    websocket_sink.send(sink, &(struct message){ .event = ev, .record = &r, .attempt = 1 });
    event_unref(ev);
}

/* ---- listeners ---- */

#define UPGRADE                                                                                                        \
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define EVENTS "Accept: text/event-stream\r\n"

static struct client request(const char *target, const char *headers)
{
    struct buf b = buf_new(1 << 16);
    struct client c = client_connect(socket_path);
    buf_printf(&b, "GET %s HTTP/1.1\r\nHost: here:1\r\n%s\r\n", target, headers);
    client_write(&c, buf_str(&b));
    buf_free(&b);
    return c;
}

/* Takes the head of the answer away and returns it, free() it. */
static char *head(struct client *c)
{
    const char *end = NULL;
    for (int i = 0; i < 10000 && !end; i++) {
        turn();
        client_read(c);
        end = memmem(buf_str(&c->in).at, c->in.n, "\r\n\r\n", 4);
    }
    assert_non_null(end);
    char *text = str_dup((struct str){ c->in.at, (size_t)(end - c->in.at) + 2 });
    buf_drop(&c->in, strlen(text) + 2);
    return text;
}

static struct client listener(const char *target, const char *headers, int status)
{
    struct client c = request(target, headers);
    char *text = head(&c);
    if (strtol(text + 9, NULL, 10) != status)
        print_error("%s: %s%.*s\n", target, text, STR_ARG(buf_str(&c.in)));
    assert_int_equal(strtol(text + 9, NULL, 10), status);
    free(text);
    return c;
}

static void refused(const char *target, const char *headers, int status, const char *detail)
{
    struct client c = request(target, headers);
    struct answer a = { 0 };
    for (int i = 0; i < 10000 && !client_answer(&c, &a); i++) {
        turn();
        client_read(&c);
    }
    assert_true(client_answer(&c, &a));
    if (a.status != status || !memmem(a.body.at, a.body.n, detail, strlen(detail)))
        print_error("%s: %d %.*s, not %d %s\n", target, a.status, STR_ARG(a.body), status, detail);
    assert_int_equal(a.status, status);
    assert_non_null(memmem(a.body.at, a.body.n, detail, strlen(detail)));
    client_close(&c);
}

/* One frame as it lies in `in`: its opcode, payload and length on the wire; 0: not whole. */
static size_t frame(struct str in, int *opcode, struct str *payload)
{
    const unsigned char *p = (const unsigned char *)in.at;
    if (in.n < 2)
        return 0;
    size_t at = 2;
    uint64_t n = p[1];
    size_t more = n == 127 ? 8 : n == 126 ? 2 : 0;
    if (in.n < at + more)
        return 0;
    for (n = more ? 0 : n; more; more--)
        n = n << 8 | p[at++];
    if (in.n < at + n)
        return 0;
    *opcode = p[0];
    *payload = (struct str){ in.at + at, n };
    return at + (size_t)n;
}

/* Waits for the next frame; its payload with a NUL behind it, free() it. */
static char *next(struct client *c, int *opcode)
{
    struct str payload;
    size_t n = 0;
    for (int i = 0; i < 10000 && !n; i++) {
        turn();
        client_read(c);
        n = frame(buf_str(&c->in), opcode, &payload);
    }
    assert_true(n > 0);
    char *text = str_dup(payload);
    buf_drop(&c->in, n);
    return text;
}

static void expect_json(struct client *c, const char *json)
{
    int opcode;
    char *text = next(c, &opcode);
    assert_int_equal(opcode, 0x81);
    assert_string_equal(text, json);
    free(text);
}

static void nothing(struct client *c)
{
    for (int i = 0; i < 20; i++)
        turn();
    client_read(c);
    assert_int_equal(c->in.n, 0);
    assert_false(c->ended);
}

static int64_t closed_for(const char *reason)
{
    return metric_value(metric_named("aqueduct_listeners_closed_total", LABELS("live", reason)));
}

#define JSON(id, type, rest)                                                                                           \
    "{\"specversion\":\"1.0\",\"id\":\"" id "\",\"source\":\"/s\",\"type\":\"" type "\"" rest "}"

/* ---- what listeners get ---- */

TEST(events_as_frames)
{
    sink_open("");
    send_event("ai.chats", "0", "t", NULL, "0"); /* nobody listens */
    struct client a = request("/", UPGRADE);
    char *text = head(&a);
    assert_non_null(strstr(text, "101"));
    assert_non_null(strstr(text, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert_null(strstr(text, "Sec-WebSocket-Protocol"));
    free(text);
    struct client b = listener("/?topics=ai.events", UPGRADE, 101);
    send_event("ai.chats", "1", "chat.made", "s/1", "{\"x\":1}");
    send_event("ai.events", "2", "t", NULL, "2");
    expect_json(&a, JSON("1", "chat.made", ",\"subject\":\"s/1\",\"data\":{\"x\":1}"));
    expect_json(&a, JSON("2", "t", ",\"data\":2"));
    expect_json(&b, JSON("2", "t", ",\"data\":2"));
    nothing(&b);
    client_close(&a);
    send_event("ai.events", "3", "t", NULL, "3");
    expect_json(&b, JSON("3", "t", ",\"data\":3"));
    client_close(&b);
}

TEST(subprotocol)
{
    sink_open("");
    struct client c = request("/", UPGRADE "Sec-WebSocket-Protocol: chat, aqueduct.v1+json\r\n");
    char *text = head(&c);
    assert_non_null(strstr(text, "Sec-WebSocket-Protocol: aqueduct.v1+json\r\n"));
    free(text);
    client_close(&c);
}

TEST(filters)
{
    static const struct {
        const char *query;
        const char *ids;
    } cases[] = {
        { "/?type=chat.*", "12" },
        { "/?type=chat.b", "2" },
        { "/?subject=s%2F1", "13" },
        { "/?type=chat.*&subject=s/1", "1" },
        { "/?source=/s", "1234" },
        { "/?type=*", "1234" },
        { "/?type=none", "" },
        { "/?filter=%7B%22any%22%3A%5B%7B%22exact%22%3A%7B%22type%22%3A%22chat.a%22%7D%7D%2C%7B%22suffix%22%3A%7B%22type%22%3A%22.d%22%7D%7D%5D%7D",
          "14" },
        { "/?filter=%5B%7B%22prefix%22:%7B%22type%22:%22chat.%22%7D%7D%5D&topics=ai.events,ai.chats", "12" },
        { "/?topics=ai.events&&type=*", "34" },
        { "/?", "1234" },
    };
    enum { COUNT = sizeof cases / sizeof *cases };
    struct client c[COUNT];
    sink_open("");
    for (size_t i = 0; i < COUNT; i++)
        c[i] = listener(cases[i].query, UPGRADE, 101);
    send_event("ai.chats", "1", "chat.a", "s/1", "1");
    send_event("ai.chats", "2", "chat.b", "s/2", "1");
    send_event("ai.events", "3", "doc.c", "s/1", "1");
    send_event("ai.events", "4", "doc.d", NULL, "1");
    for (int i = 0; i < 50; i++)
        turn();
    for (size_t i = 0; i < COUNT; i++) {
        char ids[8] = "";
        int opcode;
        struct str payload;
        client_read(&c[i]);
        for (size_t n; (n = frame(buf_str(&c[i].in), &opcode, &payload)); buf_drop(&c[i].in, n))
            ids[strlen(ids)] = *((const char *)memmem(payload.at, payload.n, "\"id\":\"", 6) + 6);
        if (strcmp(ids, cases[i].ids) != 0)
            print_error("%s\n", cases[i].query);
        assert_string_equal(ids, cases[i].ids);
        client_close(&c[i]);
    }
}

TEST(event_stream)
{
    sink_open("origins: [\"https://app.example.com\"]");
    struct client c = request("/?topics=ai.chats", EVENTS "Origin: https://app.example.com\r\n");
    char *text = head(&c);
    assert_non_null(strstr(text, "HTTP/1.1 200 "));
    assert_non_null(strstr(text, "Content-Type: text/event-stream\r\n"));
    assert_non_null(strstr(text, "Cache-Control: no-store\r\n"));
    assert_non_null(strstr(text, "X-Accel-Buffering: no\r\n"));
    assert_non_null(strstr(text, "Access-Control-Allow-Origin: https://app.example.com\r\n"));
    free(text);
    offset = 7;
    send_event("ai.chats", "1", "chat.made", NULL, "{\"a\":\r\n 1,\n\"b\":2}");
    send_event("ai.chats", "2", "t", NULL, "2");
    for (int i = 0; i < 50; i++)
        turn();
    client_read(&c);
    int retry = (int)strtol(buf_c(&c.in) + 7, NULL, 10);
    assert_in_range(retry, 3000, 7999);
    char expected[512];
    snprintf(
        expected, sizeof expected,
        "retry: %d\n\n"
        "id: ai.chats/3@7\nevent: chat.made\ndata: {\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"chat.made\",\"data\":{\"a\":\n"
        "data:  1,\ndata: \"b\":2}}\n\n"
        "id: ai.chats/3@8\nevent: t\ndata: " JSON("2", "t", ",\"data\":2") "\n\n",
        retry);
    assert_string_equal(buf_c(&c.in), expected);
    client_close(&c);
}

TEST(heartbeats)
{
    clock_fake(100000, 1600000000000);
    sink_open("");
    struct client c = listener("/", EVENTS, 200), w = listener("/", UPGRADE, 101);
    for (int i = 0; i < 20; i++)
        turn();
    client_read(&c);
    buf_reset(&c.in); /* retry */
    clock_fake_advance(19000);
    nothing(&c);
    clock_fake_advance(1000);
    for (int i = 0; i < 20; i++)
        turn();
    clock_fake_advance(10); /* the next tick */
    for (int i = 0; i < 20; i++)
        turn();
    client_read(&c);
    assert_string_equal(buf_c(&c.in), ":\n\n");
    nothing(&w);
    client_close(&c);
    client_close(&w);
}

TEST(ping_and_idle)
{
    int opcode;
    clock_fake(100000, 1600000000000);
    sink_open("ping: 30s\nidle: 70s");
    struct client c = listener("/", UPGRADE, 101);
    clock_fake_advance(29000);
    nothing(&c);
    clock_fake_advance(1000);
    free(next(&c, &opcode));
    assert_int_equal(opcode, 0x89);
    client_write(&c, STR("\x8a\x80\0\0\0\0")); /* a masked pong */
    for (int i = 0; i < 20; i++)
        turn();
    clock_fake_advance(30000);
    free(next(&c, &opcode));
    assert_int_equal(opcode, 0x89);
    clock_fake_advance(40000);
    char *text = next(&c, &opcode);
    assert_int_equal(opcode, 0x88);
    assert_int_equal((unsigned char)text[0] << 8 | (unsigned char)text[1], 1001);
    free(text);
    client_close(&c);
}

TEST(messages_are_ignored)
{
    int opcode;
    sink_open("max_message: 200");
    struct client c = listener("/", UPGRADE, 101);
    client_write(&c, STR("\x81\x82\0\0\0\0hi"));
    send_event("ai.chats", "1", "t", NULL, "1");
    expect_json(&c, JSON("1", "t", ",\"data\":1"));
    char big[8 + 300];
    memset(big, 'x', sizeof big);
    memcpy(big, "\x81\xfe\x01\x2c\0\0\0\0", 8);
    client_write(&c, (struct str){ big, sizeof big });
    char *text = next(&c, &opcode);
    assert_int_equal(opcode, 0x88);
    assert_int_equal((unsigned char)text[0] << 8 | (unsigned char)text[1], 1009);
    free(text);
    client_close(&c);
}

/* ---- the ring ---- */

/* Many sizes through a small ring, read in odd pieces: every byte must be the one that was sent. */
TEST(wrap_around)
{
    enum { EVENTS_SENT = 3000 };
    sink_open("buffer: 4KiB");
    struct client fast = listener("/", UPGRADE, 101);
    struct client filtered = listener("/?type=a", UPGRADE, 101);
    struct buf expected = buf_new(64 << 20), expected_a = buf_new(64 << 20);
    char data[3003];
    for (int i = 0; i < EVENTS_SENT; i++) {
        char id[16];
        size_t n = (size_t)(i * 7919) % 3000 + 3;
        snprintf(id, sizeof id, "%d", i);
        memset(data, 'a' + i % 26, n);
        data[0] = data[n - 1] = '"';
        data[n] = '\0';
        send_event("ai.chats", id, i % 3 ? "t" : "a", NULL, data);
        struct buf json = buf_new(8192);
        buf_printf(&json, "{\"specversion\":\"1.0\",\"id\":\"%s\",\"source\":\"/s\",\"type\":\"%s\",\"data\":%s}", id,
                   i % 3 ? "t" : "a", data);
        unsigned char h[WS_HEAD];
        size_t length = ws_head(h, WS_TEXT, json.n);
        buf_add(&expected, h, length);
        buf_add_str(&expected, buf_str(&json));
        if (i % 3 == 0) {
            buf_add(&expected_a, h, length);
            buf_add_str(&expected_a, buf_str(&json));
        }
        buf_free(&json);
        if (i % 5 == 0)
            turn();
        if (i % 7 == 0) {
            client_read(&fast);
            client_read(&filtered);
        }
    }
    for (int i = 0; i < 10000 && (fast.in.n < expected.n || filtered.in.n < expected_a.n); i++) {
        turn();
        client_read(&fast);
        client_read(&filtered);
    }
    assert_int_equal(fast.in.n, expected.n);
    assert_memory_equal(fast.in.at, expected.at, expected.n);
    assert_int_equal(filtered.in.n, expected_a.n);
    assert_memory_equal(filtered.in.at, expected_a.at, expected_a.n);
    client_close(&fast);
    client_close(&filtered);
    buf_free(&expected);
    buf_free(&expected_a);
}

/* One listener never reads: it is closed, what it got until then has no hole, and the other one misses nothing. */
TEST(slow_listener)
{
    enum { EVENTS_SENT = 4000 };
    sink_open("buffer: 64KiB");
    int64_t slow_before = closed_for("slow");
    struct client slow = listener("/", UPGRADE, 101), fast = listener("/", UPGRADE, 101);
    int small = 4096;
    setsockopt(slow.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    char data[502];
    memset(data, 'x', 500);
    data[0] = data[499] = '"';
    data[500] = '\0';
    size_t seen = 0;
    int opcode;
    struct str payload;
    for (int i = 0; i < EVENTS_SENT; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", i);
        send_event("ai.chats", id, "t", NULL, data);
        if (i % 20 == 19)
            turn();
        client_read(&fast);
    }
    for (int i = 0; i < 10000 && seen < EVENTS_SENT; i++) {
        turn();
        client_read(&fast);
        size_t at = 0, n;
        while ((n = frame((struct str){ fast.in.at + at, fast.in.n - at }, &opcode, &payload))) {
            char expected[32];
            snprintf(expected, sizeof expected, "\"id\":\"%zu\"", seen++);
            assert_non_null(memmem(payload.at, payload.n, expected, strlen(expected)));
            at += n;
        }
        buf_drop(&fast.in, at);
    }
    assert_int_equal(seen, EVENTS_SENT);
    for (int i = 0; i < 10000 && closed_for("slow") == slow_before; i++) {
        turn();
        client_read(&slow); /* now it reads: at the latest here it learns that it was closed */
    }
    assert_int_equal(closed_for("slow"), slow_before + 1);
    client_read(&slow);
    size_t at = 0, n, whole = 0;
    while ((n = frame((struct str){ slow.in.at + at, slow.in.n - at }, &opcode, &payload)) && opcode == 0x81) {
        char expected[32];
        snprintf(expected, sizeof expected, "\"id\":\"%zu\"", whole++);
        assert_non_null(memmem(payload.at, payload.n, expected, strlen(expected)));
        at += n;
    }
    assert_true(whole < EVENTS_SENT);
    client_close(&slow);
    client_close(&fast);
}

/* Each lags less than a whole buffer, but all together more than max_buffered: who lags is closed, who reads misses
 * nothing. */
TEST(laggards_share_a_bound)
{
    enum { LAGGARDS = 4, EVENTS_SENT = 1000 };
    sink_open("buffer: 1MiB\nmax_buffered: 1MiB");
    int64_t slow_before = closed_for("slow");
    struct client fast = listener("/", UPGRADE, 101), laggards[LAGGARDS];
    for (int i = 0; i < LAGGARDS; i++) {
        char target[64];
        snprintf(target, sizeof target, "/?filter={%%22not%%22:{%%22exact%%22:{%%22type%%22:%%22x%d%%22}}}", i);
        laggards[i] = listener(target, UPGRADE, 101);
    }
    char data[902];
    memset(data, 'x', 900);
    data[0] = data[899] = '"';
    data[900] = '\0';
    size_t seen = 0, n;
    int opcode;
    struct str payload;
    for (int i = 0; i < 20000 && seen < EVENTS_SENT; i++) {
        if (i < EVENTS_SENT)
            send_event("ai.chats", "id", "t", NULL, data);
        turn();
        client_read(&fast);
        while ((n = frame(buf_str(&fast.in), &opcode, &payload))) {
            seen++;
            buf_drop(&fast.in, n);
        }
    }
    int64_t closed = closed_for("slow") - slow_before;
    assert_in_range(closed, 1, LAGGARDS);
    assert_int_equal(seen, EVENTS_SENT);
    client_close(&fast);
    for (int i = 0; i < LAGGARDS; i++)
        client_close(&laggards[i]);
}

/* A listener that stops for a while and comes back within the buffer gets everything, with pings in between frames
 * only. */
TEST(pause_within_the_buffer)
{
    enum { EVENTS_SENT = 1500 };
    sink_open("buffer: 2MiB");
    struct client c = listener("/", UPGRADE, 101);
    char data[1002];
    memset(data, 'x', 1000);
    data[0] = data[999] = '"';
    data[1000] = '\0';
    for (int i = 0; i < EVENTS_SENT; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", i);
        send_event("ai.chats", id, "t", NULL, data);
        if (i % 10 == 0)
            turn();
        if (i == 700)
            client_write(&c, STR("\x89\x82\0\0\0\0hi")); /* a ping that must be answered at a boundary */
    }
    size_t seen = 0, pongs = 0;
    for (int i = 0; i < 10000 && seen < EVENTS_SENT; i++) {
        size_t at = 0, n;
        int opcode;
        struct str payload;
        turn();
        client_read(&c);
        while ((n = frame((struct str){ c.in.at + at, c.in.n - at }, &opcode, &payload))) {
            char expected[32];
            snprintf(expected, sizeof expected, "\"id\":\"%zu\"", seen);
            at += n;
            if (opcode == 0x8a) {
                pongs++;
                continue;
            }
            assert_int_equal(opcode, 0x81);
            assert_non_null(memmem(payload.at, payload.n, expected, strlen(expected)));
            seen++;
        }
        buf_drop(&c.in, at);
    }
    assert_int_equal(seen, EVENTS_SENT);
    assert_int_equal(pongs, 1);
    client_close(&c);
}

TEST(event_longer_than_the_buffer)
{
    sink_open("buffer: 4KiB");
    struct client c = listener("/", UPGRADE, 101);
    char data[5000];
    memset(data, '1', sizeof data - 1);
    data[sizeof data - 1] = '\0';
    int64_t before = metric_value(metric_named("aqueduct_listener_events_too_long_total", LABELS("live")));
    send_event("ai.chats", "1", "t", NULL, data);
    send_event("ai.chats", "2", "t", NULL, "2");
    expect_json(&c, JSON("2", "t", ",\"data\":2"));
    assert_int_equal(metric_value(metric_named("aqueduct_listener_events_too_long_total", LABELS("live"))), before + 1);
    client_close(&c);
}

/* ---- who may listen ---- */

TEST(bad_requests)
{
    sink_open("path: /live");
    refused("/", UPGRADE, 404, "nothing at this path");
    refused("/live", "", 426, "text/event-stream");
    refused("/live?topics=ai.chat", UPGRADE, 400, "\\\"ai.chat\\\" is not served here");
    refused("/live?topics=ai.chats,ai.chats", UPGRADE, 400, "twice");
    refused("/live?topics=ai.chats,", UPGRADE, 400, "empty name");
    refused("/live?topics=", UPGRADE, 400, "no value");
    refused("/live?typ=x", EVENTS, 400, "parameter \\\"typ\\\" is unknown, meant is perhaps type");
    refused("/live?type=a&type=b", UPGRADE, 400, "twice");
    refused("/live?type=%zz", UPGRADE, 400, "not percent-encoded");
    refused("/live?type=%c3%28", UPGRADE, 400, "not percent-encoded UTF-8");
    refused("/live?type=a%00b", UPGRADE, 400, "not percent-encoded");
    refused("/live?filter=%7B", UPGRADE, 400, "filter: not JSON at character");
    refused("/live?filter=%7B%22exakt%22:%7B%22type%22:%22x%22%7D%7D", UPGRADE, 400, "exakt");
    refused("/live?filter=%7B%22exact%22:1%7D", UPGRADE, 400, "filter");
    refused("/live?token=x", UPGRADE, 400, "unknown");
    refused(
        "/live",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 12\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        426, "");
    refused("/live", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n", 400, "");
    struct client c = client_connect(socket_path);
    client_write(&c, STR("POST /live HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"));
    char *text = head(&c);
    assert_non_null(strstr(text, "405"));
    assert_non_null(strstr(text, "Allow: GET\r\n"));
    free(text);
    client_close(&c);
}

TEST(tokens)
{
    sink_open("tokens: [one, \"t/w?o\"]");
    refused("/", UPGRADE, 401, "a valid token is needed");
    refused("/", UPGRADE "Authorization: Bearer on\r\n", 401, "token");
    refused("/", UPGRADE "Authorization: Bearer one\r\nAuthorization: Bearer one\r\n", 401, "token");
    refused("/", UPGRADE "Authorization: Basic b25l\r\n", 401, "token");
    refused("/?token=one", UPGRADE, 401, "token");
    refused("/", UPGRADE "Sec-WebSocket-Protocol: aqueduct.v1+json, base64url.bearer.aqueduct.b24\r\n", 401, "token");
    refused("/", EVENTS, 401, "token");
    struct client c = listener("/", UPGRADE "Authorization: bearer one\r\n", 101);
    client_close(&c);
    c = listener("/", EVENTS "Authorization: Bearer t/w?o\r\n", 200);
    client_close(&c);
    c = listener("/", UPGRADE "Sec-WebSocket-Protocol: base64url.bearer.aqueduct.dC93P28, aqueduct.v1+json\r\n", 101);
    client_close(&c);
}

TEST(token_in_query)
{
    sink_open("tokens: [\"t/w?o\"]\ntoken_in_query: true");
    refused("/?token=x", UPGRADE, 401, "token");
    struct client c = listener("/?token=t%2Fw%3Fo&topics=ai.chats", UPGRADE, 101);
    client_close(&c);
}

/* A site whose name was made to point here (DNS rebinding) is not the listener's own. */
TEST(host_names)
{
    char *sites[] = { (char[]){ "https://app.example.com:8443" } };
    struct strings origins = { .at = sites, .count = 1 }, none = { 0 };
    static const struct {
        const char *host;
        bool ok;
    } cases[] = {
        { "127.0.0.1:8081", true },
        { "127.0.0.1", true },
        { "[::1]:8081", true },
        { "LOCALHOST:8081", true },
        { "app.example.com", true },
        { "APP.example.com:1", true },
        { "evil.example.com:8081", false },
        { "127.0.0.1.evil.com", false },
        { "localhost.evil.com:8081", false },
        { "app.example.com.evil.com", false },
        { "127.0.0.1.a-name-that-is-longer-than-any-address.com", false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct header host = { STR("Host"), str_of(cases[i].host) };
        struct http_request r = { .headers = &host, .header_count = 1 };
        if (access_host_ok(&r, &origins) != cases[i].ok)
            fail_msg("%s", cases[i].host);
    }
    struct header host = { STR("Host"), STR("app.example.com") };
    assert_false(access_host_ok(&(struct http_request){ .headers = &host, .header_count = 1 }, &none));
}

TEST(origins)
{
    sink_open("origins: [\"https://app.example.com\"]");
    refused("/", UPGRADE "Origin: https://evil.example.com\r\n", 403, "origin");
    refused("/", UPGRADE "Origin: https://app.example.com.evil.com\r\n", 403, "origin");
    refused("/", UPGRADE "Origin: null\r\n", 403, "origin");
    refused("/", EVENTS "Origin: http://here:2\r\n", 403, "origin");
    static const char *const good[] = { "Origin: https://app.example.com\r\n", "Origin: http://here:1\r\n", "" };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        char headers[512];
        snprintf(headers, sizeof headers, "%s%s", UPGRADE, good[i]);
        struct client c = listener("/", headers, 101);
        client_close(&c);
    }
}

TEST(limits)
{
    sink_open("max_listeners_per_ip: 2\nmax_subscriptions: 1");
    struct client a = listener("/", UPGRADE, 101);
    refused("/?type=x", UPGRADE, 503, "max_subscriptions");
    struct client b = listener("/?type=*", UPGRADE, 101); /* the same subscription */
    refused("/", UPGRADE, 429, "max_listeners_per_ip");
    client_close(&b);
    for (int i = 0; i < 20; i++)
        turn();
    b = listener("/", UPGRADE, 101);
    client_close(&a);
    client_close(&b);
    for (int i = 0; i < 20; i++)
        turn();
    a = listener("/?type=x", UPGRADE, 101); /* the old subscription is gone with its last listener */
    client_close(&a);
}

TEST(bad_options)
{
    static const struct {
        const char *yaml, *expected;
    } cases[] = {
        { "listen: 0.0.0.0:0", "can be reached by others" },
        { "listen: \"[::]:0\"", "can be reached by others" },
        { "listen: 127.0.0.1:0\npath: x", "path must begin with /" },
        { "listen: 127.0.0.1:0\ntokens: [a]\nopen: true", "contradict" },
        { "listen: nowhere\nopen: true", "nowhere" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_says(sink_refused(&websocket_sink, cases[i].yaml).text, cases[i].expected);
    }
    socket_path = client_path(); /* for the teardown */
    wake_fd = wake_new();
}

/* ---- the end ---- */

TEST(drain)
{
    int opcode;
    sink_open("");
    struct client w = listener("/", UPGRADE, 101), s = listener("/", EVENTS, 200);
    send_event("ai.chats", "1", "t", NULL, "1");
    int64_t start = clock_mono_ms();
    websocket_sink.drain(sink, (struct duration){ 200 }); /* w does not answer the close: the limit ends it */
    assert_true(clock_mono_ms() - start < 5000);
    client_read(&w);
    char *text = next(&w, &opcode);
    assert_string_equal(text, JSON("1", "t", ",\"data\":1"));
    free(text);
    text = next(&w, &opcode);
    assert_int_equal(opcode, 0x88);
    assert_int_equal((unsigned char)text[0] << 8 | (unsigned char)text[1], 1012);
    free(text);
    client_read(&s);
    assert_non_null(memmem(s.in.at, s.in.n, "event: t\n", 9));
    assert_true(s.ended);
    client_close(&w);
    client_close(&s);
}

TEST(gauges)
{
    sink_open("");
    struct metric *count = metric_named("aqueduct_listeners", LABELS("live", "websocket"));
    struct metric *events = metric_named("aqueduct_listener_events_total", LABELS("live"));
    int64_t before = metric_value(events);
    struct client a = listener("/", UPGRADE, 101), b = listener("/", UPGRADE, 101);
    assert_int_equal(metric_value(count), 2);
    for (int i = 0; i < 5; i++)
        send_event("ai.chats", "1", "t", NULL, "1");
    for (int i = 0; i < 5; i++) {
        expect_json(&a, JSON("1", "t", ",\"data\":1"));
        expect_json(&b, JSON("1", "t", ",\"data\":1"));
    }
    assert_int_equal(metric_value(events), before + 10);
    client_close(&a);
    client_close(&b);
    for (int i = 0; i < 20; i++)
        turn();
    assert_int_equal(metric_value(count), 0);
}

#define CLEANED(name) cmocka_unit_test_teardown(name, sink_close)

int main(void)
{
    log_setup(LOG_ERROR, LOG_LOGFMT);
    const struct CMUnitTest tests[] = {
        CLEANED(events_as_frames),
        CLEANED(subprotocol),
        CLEANED(filters),
        CLEANED(event_stream),
        CLEANED(heartbeats),
        CLEANED(ping_and_idle),
        CLEANED(messages_are_ignored),
        CLEANED(wrap_around),
        CLEANED(slow_listener),
        CLEANED(laggards_share_a_bound),
        CLEANED(pause_within_the_buffer),
        CLEANED(event_longer_than_the_buffer),
        CLEANED(bad_requests),
        CLEANED(tokens),
        CLEANED(token_in_query),
        CLEANED(host_names),
        CLEANED(origins),
        CLEANED(limits),
        CLEANED(bad_options),
        CLEANED(drain),
        CLEANED(gauges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
