/* SPDX-License-Identifier: MIT */
/* What listeners of the sink `websocket` get, byte for byte, and how they leave. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/log.h"
#include "bridge/net/ws_deflate.h"
#include "tests/support/live.h"
#include "tests/support/metric.h"

TEST(events_as_frames)
{
    live_open("");
    live_send("ai.chats", "0", "t", NULL, "0"); /* nobody listens */
    struct client a = live_request("/", UPGRADE);
    char *text = live_head(&a);
    assert_non_null(strstr(text, "101"));
    assert_non_null(strstr(text, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert_null(strstr(text, "Sec-WebSocket-Protocol"));
    free(text);
    struct client b = live_listener("/?topics=ai.events", UPGRADE, 101);
    live_send("ai.chats", "1", "chat.made", "s/1", "{\"x\":1}");
    live_send("ai.events", "2", "t", NULL, "2");
    live_expect(&a, JSON("1", "chat.made", ",\"subject\":\"s/1\",\"data\":{\"x\":1}"));
    live_expect(&a, JSON("2", "t", ",\"data\":2"));
    live_expect(&b, JSON("2", "t", ",\"data\":2"));
    live_silent(&b);
    client_close(&a);
    live_send("ai.events", "3", "t", NULL, "3");
    live_expect(&b, JSON("3", "t", ",\"data\":3"));
    client_close(&b);
}

#define OFFER(parameters) "Sec-WebSocket-Extensions: permessage-deflate" parameters "\r\n"
#define LONG              "\"to be or not to be, to be or not to be, to be or not to be\""
#define LONG_EVENT(id)    JSON(id, "t", ",\"data\":" LONG)

/* The next frame is deflated, and this text is in it. Returns its length on the wire. */
static size_t expect_deflated(struct client *c, const char *json)
{
    struct ws_inflater *z = ws_inflater_new();
    struct str payload, text;
    int opcode;
    size_t n = 0;
    for (int i = 0; i < 10000 && !n; i++) {
        live_turn();
        client_read(c);
        n = live_frame(buf_str(&c->in), &opcode, &payload);
    }
    assert_true(n > 0);
    assert_int_equal(opcode, 0xc1);
    assert_int_equal(ws_inflate(z, payload, 10000, &text), 0);
    assert_true(str_eq(text, str_of(json)));
    buf_drop(&c->in, n);
    ws_inflater_free(z);
    return n;
}

/* Those who offer it get deflated frames, others of the same subscription plain ones. */
TEST(deflated_frames)
{
    live_open("");
    struct client a = live_request("/", UPGRADE OFFER("; client_max_window_bits"));
    char *text = live_head(&a);
    assert_non_null(strstr(text, OFFER("; server_no_context_takeover; client_no_context_takeover")));
    free(text);
    struct client b = live_listener("/", UPGRADE OFFER("; server_max_window_bits=10"), 101);
    struct client c = live_listener("/", UPGRADE, 101);
    struct client d = live_listener("/?topics=ai.chats", UPGRADE OFFER(""), 101);
    struct client e = live_listener("/", EVENTS OFFER(""), 200);
    for (int i = 0; i < 2; i++) {
        live_send("ai.events", "1", "t", NULL, LONG);
        assert_in_range(expect_deflated(&a, LONG_EVENT("1")), 1, 2 + strlen(LONG_EVENT("1")) * 7 / 8);
        expect_deflated(&b, LONG_EVENT("1"));
        live_expect(&c, LONG_EVENT("1"));
        live_silent(&d);
    }
    live_send("ai.chats", "2", "t", NULL, LONG);
    expect_deflated(&d, LONG_EVENT("2"));
    client_close(&a);
    client_close(&b);
    client_close(&c);
    client_close(&d);
    client_close(&e);
}

/* So are those of aqueduct.v1. */
TEST(deflated_ops)
{
    static const char event[] = "{\"op\":\"ev\",\"sub\":\"a\",\"d\":[" LONG_EVENT("1") "]}";
    int opcode;
    live_open("");
    struct client c = live_listener("/", UPGRADE OFFER("") "Sec-WebSocket-Protocol: aqueduct.v1+json\r\n", 101);
    struct client d = live_listener("/", UPGRADE "Sec-WebSocket-Protocol: aqueduct.v1+json\r\n", 101);
    for (int i = 0; i < 2; i++) {
        struct client *one = i ? &d : &c;
        free(live_next(one, &opcode));
        live_say(one, "{\"op\":\"sub\",\"sub\":\"a\"}");
        live_expect(one, "{\"op\":\"ok\",\"sub\":\"a\"}");
    }
    live_send("ai.events", "1", "t", NULL, LONG);
    assert_in_range(expect_deflated(&c, event), 1, 2 + strlen(event) * 7 / 8);
    live_expect(&d, event);
    client_close(&c);
    client_close(&d);
}

TEST(nothing_is_deflated)
{
    live_open("deflate: false");
    struct client c = live_request("/", UPGRADE OFFER(""));
    char *text = live_head(&c);
    assert_null(strstr(text, "Extensions"));
    free(text);
    live_send("ai.events", "1", "t", NULL, LONG);
    live_expect(&c, LONG_EVENT("1"));
    client_close(&c);
}

/* Fewer bytes of memory than that for each that is quiet, with its connection; 28 more in tables that grow by half now and then,
 * which the least of several batches leaves out. (Where a sanitizer counts memory, it tells nothing.) */
TEST(a_quiet_listener_is_small)
{
    enum { BATCH = 16, BATCHES = 12, MOST = 356 };
    static struct client all[BATCH * BATCHES];
    size_t least = SIZE_MAX;
    live_open("");
    for (int b = 0; b < BATCHES; b++) {
        size_t before = mallinfo2().uordblks;
        for (int i = 0; i < BATCH; i++) {
            all[b * BATCH + i] = live_listener("/", UPGRADE OFFER(""), 101);
            buf_free(&all[b * BATCH + i].in);
        }
        live_turn();
        size_t each = (mallinfo2().uordblks - before) / BATCH;
        least = each < least ? each : least;
    }
    assert_in_range(least, 0, MOST);
    live_send("ai.events", "1", "t", NULL, LONG);
    for (int i = 0; i < BATCH * BATCHES; i++) {
        expect_deflated(&all[i], LONG_EVENT("1"));
        client_close(&all[i]);
    }
}

TEST(subprotocol)
{
    live_open("");
    struct client c = live_request("/", UPGRADE "Sec-WebSocket-Protocol: chat, aqueduct.v1+json\r\n");
    char *text = live_head(&c);
    assert_non_null(strstr(text, "Sec-WebSocket-Protocol: aqueduct.v1+json\r\n"));
    free(text);
    client_close(&c);
    static const char *const cases[][2] = {
        { "cloudevents.json", "cloudevents.json" },
        { "cloudevents.avro, cloudevents.json", "cloudevents.json" },
        { "aqueduct.v1+json, cloudevents.json", "aqueduct.v1+json" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char headers[512], wanted[128];
        snprintf(headers, sizeof headers, UPGRADE "Sec-WebSocket-Protocol: %s\r\n", cases[i][0]);
        snprintf(wanted, sizeof wanted, "Sec-WebSocket-Protocol: %s\r\n", cases[i][1]);
        c = live_request("/", headers);
        text = live_head(&c);
        assert_non_null(strstr(text, wanted));
        free(text);
        client_close(&c);
    }
    c = live_request("/", UPGRADE "Sec-WebSocket-Protocol: cloudevents.avro\r\n");
    text = live_head(&c);
    assert_null(strstr(text, "Sec-WebSocket-Protocol"));
    free(text);
    client_close(&c);
}

static const struct {
    const char *query;
    const char *ids;
} filter_cases[] = {
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
    { "/?filter=%7B%22data%22:%7B%22/collection/key%22:%22hr%22%7D%7D", "24" },
    { "/?type=chat.*&filter=%7B%22not%22:%7B%22data%22:%7B%22/collection/key%22:%22hr%22%7D%7D%7D", "1" },
    { "/?filter=%7B%22exact%22:%7B%22data%22:%7B%22/n%22:1,%22/ok%22:true%7D%7D%7D", "4" },
    { "/?filter=%7B%22any%22:%5B%7B%22exact%22:%7B%22type%22:%22chat.a%22%7D%7D,%7B%22prefix%22:%7B%22subject%22:%22s/%22%7D%7D%5D%7D",
      "123" }, /* both hold of the first, which comes once */
    { "/?", "1234" },
};

TEST(filters)
{
    enum { COUNT = sizeof filter_cases / sizeof *filter_cases };
    struct client c[COUNT];
    live_open("");
    for (size_t i = 0; i < COUNT; i++)
        c[i] = live_listener(filter_cases[i].query, UPGRADE, 101);
    live_send("ai.chats", "1", "chat.a", "s/1", "1");
    live_send("ai.chats", "2", "chat.b", "s/2", "{\"collection\":{\"key\":\"hr\"}}");
    live_send("ai.events", "3", "doc.c", "s/1", "{\"collection\":{\"key\":\"it\"},\"n\":1}");
    live_send("ai.events", "4", "doc.d", NULL, "{\"ok\":true,\"collection\":{\"key\":\"hr\"},\"n\":1}");
    for (int i = 0; i < 50; i++)
        live_turn();
    for (size_t i = 0; i < COUNT; i++) {
        char ids[8] = "";
        int opcode;
        struct str payload;
        client_read(&c[i]);
        for (size_t n; (n = live_frame(buf_str(&c[i].in), &opcode, &payload)); buf_drop(&c[i].in, n))
            ids[strlen(ids)] = *((const char *)memmem(payload.at, payload.n, "\"id\":\"", 6) + 6);
        if (strcmp(ids, filter_cases[i].ids) != 0)
            print_error("%s\n", filter_cases[i].query);
        assert_string_equal(ids, filter_cases[i].ids);
        client_close(&c[i]);
    }
}

/* Where there is room for one subscription, the next one takes the place of the one before. */
TEST(subscriptions_come_and_go)
{
    live_open("max_subscriptions: 1");
    for (int i = 0; i < 3; i++) {
        struct client a = live_listener("/?type=chat.a", UPGRADE, 101);
        live_refused("/?type=chat.b", UPGRADE, 503, "max_subscriptions");
        live_send("ai.chats", "1", "chat.b", NULL, "1");
        live_send("ai.chats", "2", "chat.a", NULL, "1"); /* on its way when the listener goes */
        client_close(&a);
        for (int k = 0; k < 20; k++)
            live_turn();
        struct client b = live_listener("/?type=chat.b", UPGRADE, 101);
        live_send("ai.chats", "3", "chat.a", NULL, "1");
        live_send("ai.chats", "4", "chat.b", NULL, "1");
        live_expect(&b, JSON("4", "chat.b", ",\"data\":1"));
        client_close(&b);
        for (int k = 0; k < 20; k++)
            live_turn();
    }
}

TEST(event_stream)
{
    live_open("origins: [\"https://app.example.com\"]");
    struct client c = live_request("/?topics=ai.chats", EVENTS "Origin: https://app.example.com\r\n");
    char *text = live_head(&c);
    assert_non_null(strstr(text, "HTTP/1.1 200 "));
    assert_non_null(strstr(text, "Content-Type: text/event-stream\r\n"));
    assert_non_null(strstr(text, "Cache-Control: no-store\r\n"));
    assert_non_null(strstr(text, "X-Accel-Buffering: no\r\n"));
    assert_non_null(strstr(text, "Access-Control-Allow-Origin: https://app.example.com\r\n"));
    free(text);
    live_offset = 7;
    live_send("ai.chats", "1", "chat.made", NULL, "{\"a\":\r\n 1,\n\"b\":2}");
    live_send("ai.chats", "2", "t", NULL, "2");
    for (int i = 0; i < 50; i++)
        live_turn();
    client_read(&c);
    int retry = (int)strtol(buf_c(&c.in) + 7, NULL, 10);
    assert_in_range(retry, 3000, 7999);
    char expected[512];
    snprintf(expected, sizeof expected,
             "retry: %d\n\n"
             "data: {\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"chat.made\",\"data\":{\"a\":\n"
             "data:  1,\ndata: \"b\":2}}\n\n"
             "data: " JSON("2", "t", ",\"data\":2") "\n\n",
             retry);
    assert_string_equal(buf_c(&c.in), expected);
    client_close(&c);
}

/* What a page with an EventSource sees, by the HTML Standard (9.2.6): for each event "name:id of the CloudEvent|". */
static void browser_dispatch(struct buf *seen, const char *name, struct buf *data)
{
    static const char id[] = "\"id\":\"";
    if (data->n == 0)
        return;
    const char *at = strstr(buf_c(data), id);
    assert_non_null(at);
    buf_printf(seen, "%s:%c|", *name ? name : "message", at[sizeof id - 1]);
    buf_reset(data);
}

static void browser_read(struct str stream, struct buf *seen)
{
    struct buf data = buf_new(4096);
    char name[64] = "";
    struct str line;
    while (str_cut(&stream, '\n', &line)) {
        struct str field;
        if (line.n == 0) {
            browser_dispatch(seen, name, &data);
            name[0] = 0;
            continue;
        }
        str_cut(&line, ':', &field);
        if (line.n && line.at[0] == ' ')
            line = str_from(line, 1);
        if (str_eq(field, STR("data")))
            buf_printf(&data, "%.*s\n", STR_ARG(line));
        else if (str_eq(field, STR("event")))
            snprintf(name, sizeof name, "%.*s", STR_ARG(line));
    }
    buf_free(&data);
}

static void browser_sees(const char *target, const char *expected)
{
    struct buf seen = buf_new(4096);
    live_open("");
    struct client c = live_listener(target, EVENTS, 200);
    live_send("ai.chats", "1", "chat.made", NULL, "1");
    live_send("ai.chats", "2", "error", NULL, "2");
    live_send("ai.chats", "3", "open", NULL, "3");
    live_send("ai.chats", "4", "message", NULL, "4");
    for (int i = 0; i < 50; i++)
        live_turn();
    client_read(&c);
    browser_read(buf_str(&c.in), &seen);
    assert_string_equal(buf_c(&seen), expected);
    buf_free(&seen);
    client_close(&c);
}

TEST(browsers_get_messages)
{
    browser_sees("/", "message:1|message:2|message:3|message:4|");
}

/* A sender's type must not pass for a broken connection. */
TEST(browsers_get_named_events)
{
    browser_sees("/?event=type", "chat.made:1|message:2|message:3|message:4|");
    live_refused("/?event=id", EVENTS, 400, "event=type");
    live_refused("/?event=type", UPGRADE, 400, "only server-sent events");
}

TEST(head_of_a_stream)
{
    live_open("");
    struct client c = live_client();
    client_write(&c, STR("HEAD / HTTP/1.1\r\nHost: here:1\r\n" EVENTS "\r\n"
                         "HEAD /?x=1 HTTP/1.1\r\nHost: here:1\r\n" EVENTS "\r\n"));
    char *text = live_head(&c);
    assert_non_null(strstr(text, "HTTP/1.1 200 "));
    assert_non_null(strstr(text, "Content-Type: text/event-stream\r\n"));
    assert_null(strstr(text, "Content-Length"));
    free(text);
    text = live_head(&c);
    assert_non_null(strstr(text, "HTTP/1.1 400 "));
    free(text);
    client_close(&c);
    assert_int_equal(metric_value(metric_named("aqueduct_listeners", LABELS("live", "sse"))), 0);
}

TEST(heartbeats)
{
    clock_fake(100000, 1600000000000);
    live_open("");
    struct client c = live_listener("/", EVENTS, 200), w = live_listener("/", UPGRADE, 101);
    for (int i = 0; i < 20; i++)
        live_turn();
    client_read(&c);
    buf_reset(&c.in); /* retry */
    clock_fake_advance(19000);
    live_silent(&c);
    clock_fake_advance(1000);
    for (int i = 0; i < 20; i++)
        live_turn();
    clock_fake_advance(10); /* the next tick */
    for (int i = 0; i < 20; i++)
        live_turn();
    client_read(&c);
    assert_string_equal(buf_c(&c.in), ":\n\n");
    live_silent(&w);
    client_close(&c);
    client_close(&w);
}

TEST(ping_and_idle)
{
    int opcode;
    clock_fake(100000, 1600000000000);
    live_open("ping: 30s\nidle: 70s");
    struct client c = live_listener("/", UPGRADE, 101);
    clock_fake_advance(29000);
    live_silent(&c);
    clock_fake_advance(1000);
    free(live_next(&c, &opcode));
    assert_int_equal(opcode, 0x89);
    client_write(&c, STR("\x8a\x80\0\0\0\0")); /* a masked pong */
    for (int i = 0; i < 20; i++)
        live_turn();
    clock_fake_advance(30000);
    free(live_next(&c, &opcode));
    assert_int_equal(opcode, 0x89);
    clock_fake_advance(40000);
    char *text = live_next(&c, &opcode);
    assert_int_equal(opcode, 0x88);
    assert_int_equal((unsigned char)text[0] << 8 | (unsigned char)text[1], 1001);
    free(text);
    client_close(&c);
}

TEST(messages_are_answered)
{
    int opcode;
    live_open("max_message: 200");
    struct client c = live_listener("/", UPGRADE, 101);
    live_say(&c, "hi");
    live_expect(
        &c, "{\"type\":\"status\",\"status\":\"refused\",\"code\":4403,\"why\":\"nothing is published here; see option "
            "publish\",\"temp\":false}");
    live_send("ai.chats", "1", "t", NULL, "1");
    live_expect(&c, JSON("1", "t", ",\"data\":1"));
    char big[8 + 300];
    memset(big, 'x', sizeof big);
    memcpy(big, "\x81\xfe\x01\x2c\0\0\0\0", 8);
    client_write(&c, (struct str){ big, sizeof big });
    char *text = live_next(&c, &opcode);
    assert_int_equal(opcode, 0x88);
    assert_int_equal((unsigned char)text[0] << 8 | (unsigned char)text[1], 1009);
    free(text);
    client_close(&c);
}

TEST(drain)
{
    int opcode;
    live_open("");
    struct client w = live_listener("/", UPGRADE, 101), s = live_listener("/", EVENTS, 200);
    live_send("ai.chats", "1", "t", NULL, "1");
    int64_t start = clock_mono_ms();
    websocket_sink.drain(live_sink, (struct duration){ 200 }); /* w does not answer the close: the limit ends it */
    assert_true(clock_mono_ms() - start < 5000);
    client_read(&w);
    char *text = live_next(&w, &opcode);
    assert_string_equal(text, JSON("1", "t", ",\"data\":1"));
    free(text);
    text = live_next(&w, &opcode);
    assert_int_equal(opcode, 0x88);
    assert_int_equal((unsigned char)text[0] << 8 | (unsigned char)text[1], 1012);
    free(text);
    client_read(&s);
    assert_non_null(memmem(s.in.at, s.in.n, "data: {", 7));
    assert_true(s.ended);
    client_close(&w);
    client_close(&s);
}

TEST(gauges)
{
    live_open("");
    struct metric *count = metric_named("aqueduct_listeners", LABELS("live", "websocket"));
    struct metric *events = metric_named("aqueduct_listener_events_total", LABELS("live"));
    int64_t before = metric_value(events);
    struct client a = live_listener("/", UPGRADE, 101), b = live_listener("/", UPGRADE, 101);
    assert_int_equal(metric_value(count), 2);
    for (int i = 0; i < 5; i++)
        live_send("ai.chats", "1", "t", NULL, "1");
    for (int i = 0; i < 5; i++) {
        live_expect(&a, JSON("1", "t", ",\"data\":1"));
        live_expect(&b, JSON("1", "t", ",\"data\":1"));
    }
    assert_int_equal(metric_value(events), before + 10);
    client_close(&a);
    client_close(&b);
    for (int i = 0; i < 20; i++)
        live_turn();
    assert_int_equal(metric_value(count), 0);
}

TEST(a_page_for_browsers_if_it_is_wanted)
{
    live_open("");
    live_refused("/", "Accept: text/html\r\n", 426, "connect by WebSocket");
    live_refused("/page.js", "", 404, "nothing at this path");
    live_close(NULL);
    live_open("path: /live&x\npage: true\ntokens: [a-token-of-some-length]");
    struct client c = live_request("/live&x", "Accept: text/html,*/*;q=0.8\r\n");
    struct answer a;
    free(live_head(&c));
    assert_non_null(memmem(c.in.at, c.in.n, STR("<script type=\"module\" src=\"/live&#38;x/page.js\"").at, 47));
    client_close(&c);
    c = live_request("/live&x/aqueduct.js", "");
    for (int i = 0; i < 50 && !client_answer(&c, &a); i++) {
        live_turn();
        client_read(&c);
    }
    assert_true(client_answer(&c, &a));
    assert_int_equal(a.status, 200);
    assert_true(
        str_starts(answer_header(&a, "Content-Security-Policy"), STR("default-src 'none'; script-src 'self'; ")));
    assert_true(str_eq(answer_header(&a, "Content-Type"), STR("text/javascript; charset=utf-8")));
    client_close(&c);
    live_refused("/live&x", "Accept: application/json\r\n", 401, "a valid token is needed");
    live_refused("/live&x/page.html", "", 404, "nothing at this path");
}

int main(void)
{
    log_setup(LOG_ERROR, LOG_LOGFMT);
    const struct CMUnitTest tests[] = {
        LIVE(events_as_frames),
        LIVE(deflated_frames),
        LIVE(deflated_ops),
        LIVE(nothing_is_deflated),
        LIVE(a_quiet_listener_is_small),
        LIVE(subprotocol),
        LIVE(browsers_get_messages),
        LIVE(browsers_get_named_events),
        LIVE(head_of_a_stream),
        LIVE(filters),
        LIVE(subscriptions_come_and_go),
        LIVE(event_stream),
        LIVE(heartbeats),
        LIVE(ping_and_idle),
        LIVE(messages_are_answered),
        LIVE(drain),
        LIVE(gauges),
        LIVE(a_page_for_browsers_if_it_is_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
