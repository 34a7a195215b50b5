/* SPDX-License-Identifier: MIT */
/* The rig around the sink `websocket`. */
#include "tests/support/live.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/lib/crypto.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "tests/support/connector.h"
#include "tests/support/event.h"
#include "tests/support/loopback.h"

struct sink *live_sink, *live_second;
struct source *live_source;
struct emission live_emitted[16];
int64_t live_offset;
struct log *live_log;
struct bookmarks *live_bookmarks;

static const char *live_path; /* NULL: TCP, on live_port */
static int live_port;
static int live_wake_fd = -1; /* always readable: work() never waits */
static char *live_topic_names[] = { (char[]){ "ai.chats" }, (char[]){ "ai.events" } };
static struct strings live_topics = { live_topic_names, 2 };

/* ---- the sink ---- */

static struct sink *live_filled(const char *more, size_t copies)
{
    char listen[128], yaml[2048];
    if (live_path)
        snprintf(listen, sizeof listen, "unix:%s", live_path);
    else
        snprintf(listen, sizeof listen, "127.0.0.1:%d", live_port);
    snprintf(yaml, sizeof yaml, "listen: %s\n%s", listen, more);
    struct sink *s = sink_filled(&websocket_sink, "live", yaml);
    s->topics = &live_topics;
    s->copies = copies;
    s->log = live_log;
    s->bookmarks = live_bookmarks;
    return s;
}

static void live_open_copies(const char *more, size_t copies)
{
    live_sink = live_filled(more, copies);
    if (websocket_sink.brings(live_sink)) {
        live_source = live_sink->inward = mem_alloc(websocket_sink.inward->size);
        *live_source = (struct source){ .ops = websocket_sink.inward, .id = "live", .sink = live_sink };
    }
    sink_start(live_sink);
    if (copies > 1) {
        live_second = live_filled(more, copies);
        live_second->inward = live_source;
        live_second->first = live_sink;
        sink_start(live_second);
    }
    live_wake_fd = wake_new();
    wake_up(live_wake_fd);
    if (live_source)
        source_start(live_source);
}

void live_open(const char *more)
{
    live_path = client_path();
    live_open_copies(more, 1);
}

void live_open_tcp(const char *more)
{
    live_path = NULL;
    live_port = loopback_free_port();
    live_open_copies(more, 1);
}

void live_open_twice(const char *more)
{
    live_path = client_path();
    live_open_copies(more, 2);
}

void live_open_tcp_twice(const char *more)
{
    live_path = NULL;
    live_port = loopback_free_port();
    live_open_copies(more, 2);
}

static void live_forget(void)
{
    for (size_t i = 0; i < sizeof live_emitted / sizeof *live_emitted; i++)
        event_unref(live_emitted[i].event);
    memset(live_emitted, 0, sizeof live_emitted);
}

int live_close(void **state)
{
    (void)state;
    live_forget();
    if (live_source)
        live_source->ops->close(live_source);
    free(live_source);
    live_source = NULL;
    sink_end(live_second);
    sink_end(live_sink);
    live_sink = live_second = NULL;
    close(live_wake_fd);
    live_wake_fd = -1;
    if (live_path)
        client_forget_path();
    clock_real();
    return 0;
}

void live_turn(void)
{
    assert_int_equal(websocket_sink.work(live_sink, live_wake_fd, (struct duration){ 50 }, NULL, 0), 0);
    if (live_second)
        assert_int_equal(websocket_sink.work(live_second, live_wake_fd, (struct duration){ 50 }, NULL, 0), 0);
}

void live_settle(size_t count, enum outcome o, const char *why)
{
    struct err e;
    size_t n = 0;
    live_forget();
    for (int i = 0; i < 10000 && n < count; i++) {
        live_turn();
        n += (size_t)live_source->ops->read(live_source, live_wake_fd, live_emitted + n, count - n, &e);
    }
    assert_int_equal(n, count);
    for (size_t i = 0; i < n; i++)
        live_source->ops->settle(live_source, live_emitted[i].tag, o, why);
}

void live_send(const char *topic, const char *id, const char *type, const char *subject, const char *data)
{
    const struct event *ev = event_born(&(struct event){ .id = str_of(id),
                                                         .source = STR("/s"),
                                                         .type = str_of(type),
                                                         .subject = str_of(subject),
                                                         .data = str_of(data) });
    struct record r = { .topic = str_of(topic), .partition = 3, .offset = live_offset++ };
    websocket_sink.send(live_sink, &(struct message){ .event = ev, .record = &r, .attempt = 1 });
    if (live_second)
        websocket_sink.send(live_second, &(struct message){ .event = ev, .record = &r, .attempt = 1 });
    event_unref(ev);
}

/* ---- listeners ---- */

char *live_token(const char *claims)
{
    unsigned char mac[SHA256_BYTES];
    struct buf b = buf_new(8192);
    struct hmac *h = hmac_new(STR(LIVE_SECRET));
    base64url_add(&b, STR("{\"alg\":\"HS256\"}"));
    buf_add_char(&b, '.');
    base64url_add(&b, str_of(claims));
    const struct str all = buf_str(&b);
    hmac_sign(h, &all, 1, mac);
    hmac_free(h);
    buf_add_char(&b, '.');
    base64url_add(&b, (struct str){ (const char *)mac, sizeof mac });
    char *text = str_dup(buf_str(&b));
    buf_free(&b);
    return text;
}

struct client live_client(void)
{
    return live_path ? client_connect(live_path) : client_on(loopback_connect(live_port));
}

struct client live_request(const char *target, const char *headers)
{
    struct buf b = buf_new(1 << 16);
    struct client c = live_client();
    buf_printf(&b, "GET %s HTTP/1.1\r\nHost: here:1\r\n%s\r\n", target, headers);
    client_write(&c, buf_str(&b));
    buf_free(&b);
    return c;
}

char *live_head(struct client *c)
{
    const char *end = NULL;
    for (int i = 0; i < 10000 && !end; i++) {
        live_turn();
        client_read(c);
        end = memmem(buf_str(&c->in).at, c->in.n, "\r\n\r\n", 4);
    }
    assert_non_null(end);
    char *text = str_dup((struct str){ c->in.at, (size_t)(end - c->in.at) + 2 });
    buf_drop(&c->in, strlen(text) + 2);
    return text;
}

struct client live_listener(const char *target, const char *headers, int status)
{
    struct client c = live_request(target, headers);
    char *text = live_head(&c);
    if (strtol(text + 9, NULL, 10) != status)
        print_error("%s: %s%.*s\n", target, text, STR_ARG(buf_str(&c.in)));
    assert_int_equal(strtol(text + 9, NULL, 10), status);
    free(text);
    return c;
}

void live_refused(const char *target, const char *headers, int status, const char *detail)
{
    struct client c = live_request(target, headers);
    struct answer a = { 0 };
    for (int i = 0; i < 10000 && !client_answer(&c, &a); i++) {
        live_turn();
        client_read(&c);
    }
    assert_true(client_answer(&c, &a));
    if (a.status != status || !memmem(a.body.at, a.body.n, detail, strlen(detail)))
        print_error("%s: %d %.*s, not %d %s\n", target, a.status, STR_ARG(a.body), status, detail);
    assert_int_equal(a.status, status);
    assert_non_null(memmem(a.body.at, a.body.n, detail, strlen(detail)));
    client_close(&c);
}

size_t live_frame(struct str in, int *opcode, struct str *payload)
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

char *live_next(struct client *c, int *opcode)
{
    struct str payload;
    size_t n = 0;
    for (int i = 0; i < 10000 && !n; i++) {
        live_turn();
        client_read(c);
        n = live_frame(buf_str(&c->in), opcode, &payload);
    }
    assert_true(n > 0);
    char *text = str_dup(payload);
    buf_drop(&c->in, n);
    return text;
}

void live_say(struct client *c, const char *text)
{
    struct buf b = buf_new(1 << 20);
    size_t n = strlen(text);
    buf_add_char(&b, (char)0x81);
    buf_add_char(&b, (char)(0x80 | (n < 126 ? n : n < 65536 ? 126 : 127)));
    for (int shift = n < 126 ? 0 : n < 65536 ? 16 : 64; shift; shift -= 8)
        buf_add_char(&b, (char)(n >> (shift - 8)));
    buf_add(&b, "\0\0\0\0", 4); /* the mask */
    buf_add(&b, text, n);
    client_write(c, buf_str(&b));
    buf_free(&b);
}

void live_expect(struct client *c, const char *json)
{
    int opcode;
    char *text = live_next(c, &opcode);
    assert_int_equal(opcode, 0x81);
    assert_string_equal(text, json);
    free(text);
}

void live_silent(struct client *c)
{
    for (int i = 0; i < 20; i++)
        live_turn();
    client_read(c);
    assert_int_equal(c->in.n, 0);
    assert_false(c->ended);
}
