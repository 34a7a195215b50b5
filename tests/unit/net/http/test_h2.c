/* SPDX-License-Identifier: MIT */
/* HTTP/2: requests and answers as over HTTP/1, what is refused, what a client may cost, how a connection ends. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/mem.h"
#include "tests/support/h2_client.h"
#include "tests/support/metric.h"

/* GET / and POST / of the authority "a", as HPACK without its dynamic table. */
#define GET_HEAD                                                                                                       \
    "\x82\x86\x84\x01\x01"                                                                                             \
    "a"
#define POST_HEAD                                                                                                      \
    "\x83\x86\x84\x01\x01"                                                                                             \
    "a"
#define START2(...) START(.http2_streams = 100, __VA_ARGS__)
enum { ENDS = NGHTTP2_FLAG_END_STREAM, HEAD_ENDS = NGHTTP2_FLAG_END_HEADERS };

static int64_t refused(const char *why)
{
    return metric_value(metric_named("aqueduct_net_refused_total", LABELS(why)));
}

static bool answered(const struct h2c_stream *st, int status)
{
    return st->answered && st->status == status && st->why == NGHTTP2_NO_ERROR;
}

static bool body_is(const struct h2c_stream *st, const char *text)
{
    return str_eq(buf_str(&st->body), str_of(text));
}

/* ---- requests and answers ---- */

TEST(many_requests_of_one_connection_are_answered_in_any_order)
{
    START2(.max_body = { 1 << 20 });
    user.later = true;
    struct h2c *t = h2c_new();
    struct h2c_stream *st[3] = { h2c_post(t, "/1", STR("one")) };
    H2C_UNTIL(t, user.asked == 1);
    st[1] = h2c_post(t, "/2?q", STR("two"));
    H2C_UNTIL(t, user.asked == 2);
    st[2] = h2c_ask(t, "GET", "/3", STR(""), false, NULL);
    H2C_UNTIL(t, user.asked == 3);
    assert_true(str_eq(buf_str(&user.paths), STR("/1 /2 /3 ")));
    assert_int_equal(user.heads, 3);
    http_server_reply(server, user.ids[2], 202, NULL, 0, STR("third"));
    http_server_reply(server, user.ids[2], 202, NULL, 0, STR("again"));
    H2C_UNTIL(t, answered(st[2], 202));
    http_server_reply(server, user.ids[0], 204, NULL, 0, STR("nobody sees this"));
    http_server_reply(server, user.ids[1], 500, NULL, 0, STR("second"));
    H2C_UNTIL(t, answered(st[0], 204) && answered(st[1], 500));
    assert_true(body_is(st[2], "third") && body_is(st[0], "") && body_is(st[1], "second"));
    h2c_close(t);
}

TEST(long_bodies_go_both_ways)
{
    START2(.max_body = { 4 << 20 });
    struct h2c *t = h2c_new();
    struct buf body = big_body(3 << 20);
    struct h2c_stream *st = h2c_post(t, "/", buf_str(&body)), *other = h2c_post(t, "/", STR("short"));
    H2C_UNTIL(t, answered(st, 200) && answered(other, 200));
    assert_true(str_eq(buf_str(&st->body), buf_str(&body)));
    buf_free(&body);
    h2c_close(t);
}

TEST(head_and_options_are_as_in_http1)
{
    START2(.max_body = { 1000 });
    struct h2c *t = h2c_new();
    user.body = STR("content");
    struct h2c_stream *head = h2c_ask(t, "HEAD", "/", STR(""), false, NULL),
                      *options = h2c_ask(t, "OPTIONS", "*", STR(""), false, NULL);
    H2C_UNTIL(t, answered(head, 200) && answered(options, 204));
    assert_int_equal(head->body.n, 0);
    assert_int_equal(user.asked, 1);
    h2c_close(t);
}

TEST(who_waits_for_100_gets_it)
{
    START2(.max_body = { 1000 });
    struct h2c *t = h2c_new();
    const char *const expects[] = { "expect: 100-continue", NULL }, *const odd[] = { "expect: tea", NULL };
    struct h2c_stream *st = h2c_ask(t, "POST", "/", STR(""), true, expects),
                      *other = h2c_ask(t, "POST", "/", STR(""), true, odd);
    H2C_UNTIL(t, st->status == 100 && answered(other, 417));
    h2c_send(t, st, STR("body"), false);
    H2C_UNTIL(t, answered(st, 200));
    assert_true(body_is(st, "body") && st->informed == 1);
    h2c_close(t);
}

TEST(it_begins_by_the_preface_however_that_is_cut)
{
    START2(.max_body = { 1000 });
    struct client c = client_new();
    const char preface[] = H2C_PREFACE;
    for (size_t i = 0; i + 1 < sizeof preface; i++)
        say(&c, (struct str){ preface + i, 1 });
    const char settings[] = "\0\0\0\4\0\0\0\0\0", get[] = "\0\0\6\1\5\0\0\0\1" GET_HEAD;
    for (size_t i = 0; i + 1 < sizeof settings; i++)
        say(&c, (struct str){ settings + i, 1 });
    for (size_t i = 0; i + 1 < sizeof get; i++)
        say(&c, (struct str){ get + i, 1 });
    UNTIL(&c, user.asked == 1);
    client_close(&c);
}

TEST(it_begins_only_where_it_may)
{
    START2(.max_body = { 1000 });
    struct client c = client_new();
    SAY(&c, GET("/") H2C_PREFACE); /* behind a request */
    expect_end(&c);
    assert_true(said(&c, "200 OK") && said(&c, "505 HTTP Version Not Supported"));
    client_close(&c);
    c = client_new();
    SAY(&c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\rX");
    expect_end(&c);
    assert_true(said(&c, "505 HTTP Version Not Supported"));
    client_close(&c);
    c = client_new(); /* the preface and no more is as good as a head that hangs */
    SAY(&c, "PRI * HTTP/2.0\r\n");
    clock_fake_advance(11000);
    expect_end(&c);
    assert_true(said(&c, "408 Request Timeout"));
    client_close(&c);
}

TEST(without_the_option_there_is_none)
{
    START(.max_body = { 1000 });
    struct client c = client_new();
    SAY(&c, H2C_PREFACE);
    expect_end(&c);
    assert_true(said(&c, "505 HTTP Version Not Supported"));
    client_close(&c);
}

/* ---- what is refused ---- */

TEST(bodies_are_limited)
{
    START2(.max_body = { 1000 });
    int64_t before = refused("too_large");
    struct h2c *t = h2c_new();
    const char *const long_one[] = { "content-length: 1001", NULL };
    struct buf body = big_body(1001);
    struct h2c_stream *announced = h2c_ask(t, "POST", "/", STR(""), true, long_one),
                      *sent = h2c_ask(t, "POST", "/", buf_str(&body), true, NULL),
                      *fits = h2c_post(t, "/", (struct str){ body.at, 1000 });
    H2C_UNTIL(t, answered(announced, 413) && answered(sent, 413) && answered(fits, 200));
    user.max_body = 10; /* head() lowers it */
    struct h2c_stream *lowered = h2c_post(t, "/", STR("01234567890"));
    H2C_UNTIL(t, answered(lowered, 413));
    assert_int_equal(user.asked, 1);
    assert_int_equal(refused("too_large"), before + 3);
    buf_free(&body);
    h2c_close(t);
}

/* It may, since a client that is reset while it sends may overlook the answer; but not without end. */
TEST(who_is_refused_by_the_head_need_not_send_the_body)
{
    START2(.max_body = { 1000 });
    struct h2c *t = h2c_new();
    user.refuse = 403;
    struct buf body = big_body(3 << 20);
    struct h2c_stream *ends = h2c_ask(t, "POST", "/", STR("part"), true, NULL),
                      *hangs = h2c_ask(t, "POST", "/", STR("part"), true, NULL),
                      *goes_on = h2c_ask(t, "POST", "/", STR("part"), true, NULL);
    H2C_UNTIL(t, answered(ends, 403) && answered(hangs, 403) && answered(goes_on, 403));
    h2c_send(t, ends, STR("rest"), false);
    h2c_send(t, goes_on, buf_str(&body), true);
    H2C_UNTIL(t, ends->closed && goes_on->closed);
    assert_true(goes_on->why == NGHTTP2_NO_ERROR && goes_on->sends.n);
    assert_false(hangs->closed);
    clock_fake_advance(3000);
    H2C_UNTIL(t, hangs->closed);
    assert_int_equal(hangs->why, NGHTTP2_NO_ERROR);
    user.refuse = 0;
    struct h2c_stream *next = h2c_post(t, "/", STR("next"));
    H2C_UNTIL(t, answered(next, 200));
    assert_int_equal(user.asked, 1);
    buf_free(&body);
    h2c_close(t);
}

TEST(long_heads_get_431_and_endless_ones_end_it)
{
    START2(.max_head = { 2048 });
    struct h2c *t = h2c_new();
    char field[2100] = "x: ";
    memset(field + 3, 'y', 2048);
    const char *const extra[] = { field, NULL };
    struct h2c_stream *st = h2c_ask(t, "GET", "/", STR(""), false, extra);
    H2C_UNTIL(t, answered(st, 431));
    field[1700] = '\0';
    st = h2c_ask(t, "GET", "/", STR(""), false, extra);
    H2C_UNTIL(t, answered(st, 200));
    h2c_close(t);

    /* One field of the dynamic table, named again and again by one byte each. */
    int64_t before = refused("flood");
    struct client c = h2c_raw();
    struct buf head = buf_new(1 << 16);
    buf_add_str(&head, STR(GET_HEAD "\x40\x01x\x7f\x79"));
    for (int i = 0; i < 248; i++)
        buf_add_char(&head, 'z');
    for (int i = 0; i < 2000; i++)
        buf_add_char(&head, '\xbe');
    h2c_frame(&c, NGHTTP2_HEADERS, ENDS | HEAD_ENDS, 1, buf_str(&head));
    expect_end(&c);
    assert_true(h2c_got(&c, NGHTTP2_GOAWAY, 0, NGHTTP2_ENHANCE_YOUR_CALM));
    assert_int_equal(refused("flood"), before + 1);
    assert_int_equal(user.asked, 1);
    buf_free(&head);
    client_close(&c);
}

TEST(continuations_without_end_end_it)
{
    START2(.max_head = { 2048 });
    struct client c = h2c_raw();
    h2c_frame(&c, NGHTTP2_HEADERS, 0, 1, STR(GET_HEAD));
    struct buf many = buf_new(1 << 20);
    for (int i = 0; i < 100; i++)
        h2c_add_frame(&many, NGHTTP2_CONTINUATION, 0, 1, STR(""));
    say(&c, buf_str(&many));
    buf_free(&many);
    expect_end(&c);
    assert_true(h2c_got(&c, NGHTTP2_GOAWAY, 0, NGHTTP2_ENHANCE_YOUR_CALM));
    client_close(&c);
}

static void ask_raw(const char *const *fields, size_t n, int status, uint32_t why)
{
    struct h2c *t = h2c_new();
    nghttp2_nv nv[8];
    for (size_t i = 0; i < n; i++)
        nv[i] = (nghttp2_nv){ (uint8_t *)(uintptr_t)fields[2 * i], (uint8_t *)(uintptr_t)fields[2 * i + 1],
                              strlen(fields[2 * i]), strlen(fields[2 * i + 1]), 0 };
    int32_t id = nghttp2_submit_request(t->session, NULL, nv, n, NULL, NULL);
    assert_true(id > 0);
    H2C_UNTIL(t, t->streams[id / 2].closed);
    if (t->streams[id / 2].status != status || t->streams[id / 2].why != why)
        fail_msg("%s %s: %d, %u", fields[2 * n - 2], fields[2 * n - 1], t->streams[id / 2].status,
                 t->streams[id / 2].why);
    h2c_close(t);
}

/* What nghttp2 calls malformed is reset; what it lets pass and HTTP/1 would refuse gets the same status as there. */
TEST(heads_are_judged_as_strictly_as_in_http1)
{
    START2(.max_body = { 1000 });
#define HEAD_OF(...) ((const char *const[]){ ":method", "GET", ":scheme", "http", __VA_ARGS__ })
    ask_raw(HEAD_OF(":authority", "a", ":path", "/x"), 4, 200, NGHTTP2_NO_ERROR);
    ask_raw(HEAD_OF(":path", "/x", "host", "a"), 4, 200, NGHTTP2_NO_ERROR);
    ask_raw(HEAD_OF(":authority", "a", ":path", "/", "host", "A"), 5, 200, NGHTTP2_NO_ERROR);
    ask_raw(HEAD_OF(":authority", "a", ":path", "/", "host", "b"), 5, 400, NGHTTP2_NO_ERROR);
    ask_raw(HEAD_OF(":path", "/", ":authority", "a,b"), 4, 400, NGHTTP2_NO_ERROR);
    ask_raw(HEAD_OF(":authority", "a", ":path", "/\\x"), 4, 400, NGHTTP2_NO_ERROR);
    ask_raw(HEAD_OF(":authority", "a", ":path", "*"), 4, 0, NGHTTP2_PROTOCOL_ERROR);
    ask_raw(HEAD_OF(":authority", "a", ":path", "http://a/"), 4, 0, NGHTTP2_PROTOCOL_ERROR);
    ask_raw(HEAD_OF(":authority", "a", ":path", "/a b"), 4, 0, NGHTTP2_PROTOCOL_ERROR);
    ask_raw(HEAD_OF(":authority", "a", ":path", "/", "x", "a\nb: c"), 5, 0, NGHTTP2_PROTOCOL_ERROR);
    ask_raw(HEAD_OF(":authority", "a", ":path", "/", "x", "a\rb"), 5, 0, NGHTTP2_PROTOCOL_ERROR);
    ask_raw(HEAD_OF(":authority", "a", ":path", "/", "x y", "a"), 5, 0, NGHTTP2_PROTOCOL_ERROR);
    ask_raw(HEAD_OF(":authority", "a", ":path", "/", "connection", "close"), 5, 0, NGHTTP2_PROTOCOL_ERROR);
    ask_raw(HEAD_OF(":authority", "a", ":path", "/", "transfer-encoding", "chunked"), 5, 0, NGHTTP2_PROTOCOL_ERROR);
    ask_raw(HEAD_OF(":authority", "a", ":path", "/", "content-length", "5"), 5, 0, NGHTTP2_PROTOCOL_ERROR);
    ask_raw(HEAD_OF(":authority", "a", ":path", "/", "content-length", "+0"), 5, 0, NGHTTP2_PROTOCOL_ERROR);
    ask_raw(HEAD_OF(":path", "/"), 3, 0, NGHTTP2_PROTOCOL_ERROR);
    ask_raw((const char *const[]){ ":method", "GET", ":scheme", "ftp", ":authority", "a", ":path", "/" }, 4, 400,
            NGHTTP2_NO_ERROR);
    ask_raw((const char *const[]){ ":method", "CONNECT", ":authority", "a:1" }, 2, 501, NGHTTP2_NO_ERROR);
    ask_raw((const char *const[]){ ":method", "G T", ":scheme", "http", ":authority", "a", ":path", "/" }, 4, 0,
            NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(user.asked, 3);
}

TEST(streams_beyond_the_limit_are_to_be_sent_again)
{
    START(.http2_streams = 2, .max_body = { 1000 });
    user.later = true;
    struct client c = h2c_raw();
    for (uint32_t i = 0; i < 3; i++)
        h2c_frame(&c, NGHTTP2_HEADERS, ENDS | HEAD_ENDS, 2 * i + 1, STR(GET_HEAD));
    UNTIL(&c, h2c_got(&c, NGHTTP2_RST_STREAM, 5, NGHTTP2_REFUSED_STREAM));
    assert_int_equal(user.asked, 2);
    client_close(&c);
}

/* ---- floods ---- */

/* Requests without their bodies' end that the client resets at once. */
static void say_resets(struct client *c, uint32_t first, uint32_t end)
{
    struct buf bytes = buf_new(1 << 20);
    for (uint32_t i = first; i < end; i++) {
        h2c_add_frame(&bytes, NGHTTP2_HEADERS, HEAD_ENDS, 2 * i + 1, STR(POST_HEAD));
        h2c_add_frame(&bytes, NGHTTP2_RST_STREAM, 0, 2 * i + 1, STR("\0\0\0\x08"));
    }
    say(c, buf_str(&bytes));
    buf_free(&bytes);
}

TEST(streams_that_are_reset_again_and_again_end_it)
{
    START2(.max_body = { 1000 });
    struct client c = h2c_raw();
    say_resets(&c, 0, 30); /* as a client may that lost its patience */
    UNTIL(&c, user.heads == 30);
    assert_false(c.ended);
    say_resets(&c, 30, 300);
    expect_end(&c);
    assert_true(h2c_got(&c, NGHTTP2_GOAWAY, 0, NGHTTP2_ENHANCE_YOUR_CALM));
    assert_in_range(user.heads, 100, 250);
    client_close(&c);
}

TEST(frames_that_bring_no_request_end_it_when_there_are_too_many)
{
    static const struct {
        int type, flags;
        uint32_t id;
        struct str payload;
    } floods[] = {
        { NGHTTP2_PING, 0, 0, { "12345678", 8 } },
        { NGHTTP2_SETTINGS, 0, 0, { "", 0 } },
        { NGHTTP2_PRIORITY, 0, 9, { "\0\0\0\0\1", 5 } },
        { NGHTTP2_WINDOW_UPDATE, 0, 0, { "\0\0\0\1", 4 } },
        { NGHTTP2_DATA, 0, 1, { "", 0 } },
        { NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, 1, { "\2\0\0", 3 } },
    };
    START2(.max_body = { 1000 });
    for (size_t i = 0; i < sizeof floods / sizeof *floods; i++) {
        int64_t before = refused("flood");
        struct client c = h2c_raw();
        h2c_frame(&c, NGHTTP2_HEADERS, HEAD_ENDS, 1, STR(POST_HEAD));
        struct buf many = buf_new(1 << 20);
        for (int k = 0; k < 1100; k++)
            h2c_add_frame(&many, floods[i].type, floods[i].flags, floods[i].id, floods[i].payload);
        say(&c, (struct str){ many.at, many.n / 11 }); /* a hundred are none */
        rounds(2);
        client_read(&c);
        assert_false(c.ended);
        say(&c, (struct str){ many.at + many.n / 11, many.n - many.n / 11 });
        expect_end(&c);
        if (!h2c_got(&c, NGHTTP2_GOAWAY, 0, NGHTTP2_ENHANCE_YOUR_CALM) || refused("flood") != before + 1)
            fail_msg("flood %zu", i);
        buf_free(&many);
        client_close(&c);
    }
}

TEST(time_and_answers_give_patience_back)
{
    START2(.max_body = { 1000 }, .idle_timeout = { 3600000 });
    struct client c = h2c_raw();
    struct buf pings = buf_new(1 << 20);
    for (int k = 0; k < 100; k++)
        h2c_add_frame(&pings, NGHTTP2_PING, 0, 0, STR("12345678"));
    for (int i = 0; i < 20; i++) {
        forget(&c);
        say(&c, buf_str(&pings));
        UNTIL(&c, c.in.n >= 100 * 17); /* all were answered */
        clock_fake_advance(2000);
    }
    buf_free(&pings);
    assert_false(c.ended);
    client_close(&c);
    struct h2c *t = h2c_new();
    for (int i = 0; i < 100; i++) {
        for (int k = 0; k < 5; k++)
            nghttp2_submit_ping(t->session, NGHTTP2_FLAG_NONE, NULL);
        for (int k = 0; k < 2; k++)
            h2c_post(t, "/", STR("x"));
        H2C_UNTIL(t, user.asked == (size_t)(i + 1) * 2);
    }
    H2C_UNTIL(t, answered(&t->streams[199], 200));
    assert_false(t->goaway);
    h2c_close(t);
}

/* ---- deadlines and room ---- */

TEST(slow_bodies_are_refused_each_by_itself)
{
    START2(.max_body = { 1 << 20 }, .body_timeout = { 30000 }, .min_body_rate = { 100 });
    struct h2c *t = h2c_new();
    struct h2c_stream *slow = h2c_ask(t, "POST", "/", STR("some"), true, NULL);
    H2C_UNTIL(t, user.heads == 1);
    clock_fake_advance(5000);
    struct h2c_stream *other = h2c_ask(t, "POST", "/", STR("some"), true, NULL);
    H2C_UNTIL(t, user.heads == 2);
    clock_fake_advance(6000);
    H2C_UNTIL(t, answered(slow, 408));
    h2c_send(t, other, STR(" more"), false);
    H2C_UNTIL(t, answered(other, 200));
    assert_false(t->goaway);
    h2c_close(t);
}

TEST(a_head_that_hangs_ends_it)
{
    START2(.head_timeout = { 10000 }, .idle_timeout = { 60000 });
    int64_t before = refused("timeout");
    struct client c = h2c_raw();
    h2c_frame(&c, NGHTTP2_HEADERS, 0, 1, STR(GET_HEAD));
    clock_fake_advance(5000);
    h2c_frame(&c, NGHTTP2_CONTINUATION, 0, 1, STR(""));
    clock_fake_advance(6000);
    expect_end(&c);
    assert_true(h2c_got(&c, NGHTTP2_GOAWAY, 0, NGHTTP2_NO_ERROR));
    assert_int_equal(refused("timeout"), before + 1);
    client_close(&c);
}

TEST(an_idle_connection_ends_though_it_pings)
{
    START2(.idle_timeout = { 60000 });
    int64_t before = refused("timeout");
    struct client c = h2c_raw();
    clock_fake_advance(40000);
    h2c_frame(&c, NGHTTP2_PING, 0, 0, STR("12345678"));
    clock_fake_advance(21000);
    expect_end(&c);
    assert_true(h2c_got(&c, NGHTTP2_GOAWAY, 0, NGHTTP2_NO_ERROR));
    assert_int_equal(refused("timeout"), before);
    client_close(&c);

    user.later = true;
    struct h2c *t = h2c_new();
    struct h2c_stream *st = h2c_post(t, "/", STR("x"));
    H2C_UNTIL(t, user.asked == 1);
    clock_fake_advance(100000); /* who waits for the answer is not idle */
    rounds(2);
    answer_next(STR("late"));
    H2C_UNTIL(t, answered(st, 202));
    h2c_close(t);
}

TEST(an_answer_that_is_not_taken_ends)
{
    START2(.body_timeout = { 30000 });
    struct buf big = big_body(200000);
    user.body = buf_str(&big);
    int64_t before = refused("timeout");
    struct h2c *t = h2c_new();
    nghttp2_session_set_local_window_size(t->session, NGHTTP2_FLAG_NONE, 0, 65535);
    nghttp2_submit_window_update(t->session, NGHTTP2_FLAG_NONE, 0, 0);
    t->deaf = true; /* gives no window back */
    h2c_post(t, "/", STR("x"));
    H2C_UNTIL(t, user.asked == 1);
    rounds(5);
    clock_fake_advance(31000);
    rounds(3);
    t->deaf = false;
    H2C_UNTIL(t, t->streams[0].closed);
    assert_int_equal(t->streams[0].why, NGHTTP2_CANCEL);
    assert_int_equal(refused("timeout"), before + 1);
    h2c_close(t);
    buf_free(&big);
}

/* A client that reads nothing is read no more, so that what waits for it is bounded, and ends in time. */
TEST(who_reads_nothing_is_not_read_either)
{
    START2(.body_timeout = { 30000 });
    struct buf big = big_body(1 << 20);
    user.body = buf_str(&big);
    struct client c = h2c_raw();
    h2c_frame(&c, NGHTTP2_SETTINGS, 0, 0, STR("\0\4\x7f\xff\xff\xff"));
    h2c_frame(&c, NGHTTP2_WINDOW_UPDATE, 0, 0, STR("\x7f\xff\0\0"));
    for (uint32_t i = 0; i < 40; i++) /* more than the kernel takes for it */
        h2c_frame(&c, NGHTTP2_HEADERS, ENDS | HEAD_ENDS, 2 * i + 1, STR(GET_HEAD));
    UNTIL(&nobody, user.asked > 0);
    rounds(10);
    size_t asked = user.asked;
    h2c_frame(&c, NGHTTP2_HEADERS, ENDS | HEAD_ENDS, 81, STR(GET_HEAD));
    rounds(10);
    assert_in_range(asked, 1, 40);
    assert_int_equal(user.asked, asked);
    clock_fake_advance(31000);
    UNTIL(&nobody, http_server_connections(server) == 0);
    client_close(&c);
    buf_free(&big);
}

TEST(incomplete_requests_share_the_same_room_as_in_http1)
{
    START2(.max_body = { 4000 }, .max_held = { 12000 });
    struct buf half = big_body(3000);
    struct h2c *t = h2c_new();
    struct h2c_stream *st[3];
    for (int i = 0; i < 3; i++)
        st[i] = h2c_ask(t, "POST", "/", buf_str(&half), true, NULL);
    H2C_UNTIL(t, answered(st[0], 503) && answered(st[1], 503) && answered(st[2], 503));
    struct h2c_stream *whole = h2c_post(t, "/", buf_str(&half)); /* its room is free again */
    H2C_UNTIL(t, answered(whole, 200));

    struct h2c_stream *one = h2c_ask(t, "POST", "/", buf_str(&half), true, NULL);
    H2C_UNTIL(t, user.heads == 5 && one->sends.n == 0);
    struct h2c_stream *two = h2c_ask(t, "POST", "/", buf_str(&half), true, NULL);
    H2C_UNTIL(t, user.heads == 6 && two->sends.n == 0);
    struct client other = client_from("127.0.0.2"); /* another address needs room: the one that holds most gives it */
    SAY(&other, POST("4000") "\r\n");
    say(&other, buf_str(&half));
    say(&other, (struct str){ half.at, 900 });
    H2C_UNTIL(t, answered(one, 503) && answered(two, 503));
    say(&other, (struct str){ half.at, 100 });
    expect(&other, "200 OK");
    client_close(&other);
    h2c_close(t);
    buf_free(&half);
}

/* A client that gives no window to answers cannot make us keep as many as it likes. */
TEST(answers_that_are_not_taken_share_the_room)
{
    START2(.max_body = { 4000 }, .max_held = { 12000 });
    struct buf big = big_body(3000);
    user.body = buf_str(&big);
    struct h2c *t = h2c_new();
    nghttp2_settings_entry none = { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0 };
    nghttp2_submit_settings(t->session, NGHTTP2_FLAG_NONE, &none, 1);
    struct h2c_stream *st[4];
    for (int i = 0; i < 4; i++)
        st[i] = h2c_ask(t, "GET", "/", STR(""), false, NULL);
    H2C_UNTIL(t, st[0]->closed && st[1]->closed && st[2]->closed); /* the last one may have come behind that */
    assert_int_equal(st[2]->why, NGHTTP2_CANCEL);
    none.value = 65535;
    nghttp2_submit_settings(t->session, NGHTTP2_FLAG_NONE, &none, 1);
    struct h2c_stream *next = h2c_ask(t, "GET", "/", STR(""), false, NULL);
    H2C_UNTIL(t, answered(next, 200));
    assert_true(str_eq(buf_str(&next->body), buf_str(&big)));
    h2c_close(t);
    buf_free(&big);
}

TEST(connections_give_way_as_in_http1)
{
    START2(.max_connections = 1);
    struct h2c *t = h2c_new();
    struct h2c_stream *st = h2c_post(t, "/", STR("x"));
    H2C_UNTIL(t, answered(st, 200));
    struct client c = client_from("127.0.0.2");
    SAY(&c, GET("/"));
    expect(&c, "200 OK");                  /* it was idle */
    H2C_UNTIL(t, t->goaway && t->c.ended); /* and heard that a request that crossed this was not processed */
    assert_int_equal(t->why, NGHTTP2_NO_ERROR);
    assert_int_equal(t->last, 1);
    client_close(&c);
    h2c_close(t);
}

/* ---- the end ---- */

TEST(stop_lets_streams_finish)
{
    START2(.max_body = { 1000 });
    user.later = true;
    struct h2c *t = h2c_new(), *idle = h2c_new();
    struct h2c_stream *st = h2c_post(t, "/", STR("x"));
    H2C_UNTIL(t, user.asked == 1);
    http_server_stop_accepting(server);
    H2C_UNTIL(idle, idle->goaway && idle->c.ended);
    H2C_UNTIL(t, t->goaway);
    assert_int_equal(t->why, NGHTTP2_NO_ERROR);
    assert_int_equal(t->last, 1);
    answer_next(STR("done"));
    H2C_UNTIL(t, answered(st, 202) && t->c.ended);
    client_close(&idle->c);
    client_close(&t->c);
    UNTIL(&nobody, http_server_connections(server) == 0);
    h2c_close(idle);
    h2c_close(t);
}

TEST(an_answer_right_before_the_end_of_the_server_arrives)
{
    START2(.max_body = { 1000 });
    user.later = true;
    struct h2c *t = h2c_new();
    struct h2c_stream *st = h2c_post(t, "/", STR("x"));
    H2C_UNTIL(t, user.asked == 1);
    http_server_stop_accepting(server);
    answer_next(STR("done"));
    http_server_free(server);
    client_read(&t->c);
    server = NULL;
    assert_int_equal(nghttp2_session_mem_recv(t->session, (const uint8_t *)t->c.in.at, t->c.in.n), t->c.in.n);
    assert_true(answered(st, 202) && body_is(st, "done"));
    h2c_close(t);
}

static size_t descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    size_t n = 0;
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* Connections of either protocol that end anywhere in a request leave nothing behind: no descriptor, no bytes; the sanitizer
 * sees the rest. */
TEST(aborted_connections_leave_nothing)
{
    START2(.max_body = { 1000 });
    static const char two[] = H2C_PREFACE "\0\0\0\4\0\0\0\0\0"
                                          "\0\0\6\1\4\0\0\0\1" POST_HEAD "\0\0\4\0\0\0\0\0\1"
                                          "body"
                                          "\0\0\6\1\5\0\0\0\3" GET_HEAD "\0\0\4\0\1\0\0\0\1"
                                          "more";
    static const char one[] = POST("4") "\r\nbody" GET(
        "/") "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
             "4\r\nmore\r\n0\r\n\r\n";
    const struct str all[] = { { two, sizeof two - 1 }, { one, sizeof one - 1 } };
    size_t before = descriptors();
    for (int i = 0; i < 2; i++)
        for (size_t n = 0; n <= all[i].n; n++) {
            struct client c = client_new();
            user.later = i == 0; /* one that waits is not read with HTTP/1 */
            say(&c, (struct str){ all[i].at, n });
            user.asked = user.asked > 50 ? 1 : user.asked;
            client_close(&c);
        }
    UNTIL(&nobody, http_server_connections(server) == 0);
    assert_int_equal(descriptors(), before);
    assert_true(user.asked > 0);
    answer_next(STR("of a client that is gone"));
    rounds(2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DIALOGUE(many_requests_of_one_connection_are_answered_in_any_order),
        DIALOGUE(long_bodies_go_both_ways),
        DIALOGUE(head_and_options_are_as_in_http1),
        DIALOGUE(who_waits_for_100_gets_it),
        DIALOGUE(it_begins_by_the_preface_however_that_is_cut),
        DIALOGUE(it_begins_only_where_it_may),
        DIALOGUE(without_the_option_there_is_none),
        DIALOGUE(bodies_are_limited),
        DIALOGUE(who_is_refused_by_the_head_need_not_send_the_body),
        DIALOGUE(long_heads_get_431_and_endless_ones_end_it),
        DIALOGUE(continuations_without_end_end_it),
        DIALOGUE(heads_are_judged_as_strictly_as_in_http1),
        DIALOGUE(streams_beyond_the_limit_are_to_be_sent_again),
        DIALOGUE(streams_that_are_reset_again_and_again_end_it),
        DIALOGUE(frames_that_bring_no_request_end_it_when_there_are_too_many),
        DIALOGUE(time_and_answers_give_patience_back),
        DIALOGUE(slow_bodies_are_refused_each_by_itself),
        DIALOGUE(a_head_that_hangs_ends_it),
        DIALOGUE(an_idle_connection_ends_though_it_pings),
        DIALOGUE(an_answer_that_is_not_taken_ends),
        DIALOGUE(who_reads_nothing_is_not_read_either),
        DIALOGUE(incomplete_requests_share_the_same_room_as_in_http1),
        DIALOGUE(answers_that_are_not_taken_share_the_room),
        DIALOGUE(connections_give_way_as_in_http1),
        DIALOGUE(stop_lets_streams_finish),
        DIALOGUE(an_answer_right_before_the_end_of_the_server_arrives),
        DIALOGUE(aborted_connections_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
