/* SPDX-License-Identifier: MIT */
/* The HTTP server: requests come in whole, in order and once; their answers go out. */
#include <stdio.h>
#include <sys/socket.h>
#include "tests/support/dialogue.h"
#include "tests/support/metric.h"

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
    client_close(&c);
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
        client_close(&c);
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
    client_read(&c);
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
    client_close(&c);
}

TEST(many_pipelined_posts)
{
    START();
    struct client c = client_new();
    struct buf all = buf_new(1 << 20);
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
    client_close(&c);
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
    client_close(&c);
}

TEST(a_large_chunked_body)
{
    START();
    struct client c = client_new();
    struct buf body = big_body(300000), wire = buf_new(1 << 20);
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
    client_close(&c);
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
    client_close(&c);
}

TEST(old_clients)
{
    START();
    struct client c = client_new();
    SAY(&c, "GET / HTTP/1.0\r\n\r\n");
    expect_end(&c);
    assert_true(said(&c, "200 OK") && said(&c, "Connection: close\r\n"));
    client_close(&c);

    c = client_new();
    SAY(&c, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    expect(&c, "Connection: keep-alive\r\n");
    SAY(&c, "GET / HTTP/1.0\r\n\r\n");
    expect_end(&c);
    assert_int_equal(times(&c, "200 OK"), 2);
    client_close(&c);

    c = client_new();
    SAY(&c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" GET("/never"));
    expect_end(&c);
    assert_int_equal(times(&c, "200 OK"), 1);
    client_close(&c);
}

TEST(head_has_no_body)
{
    START();
    user.body = STR("body");
    struct client c = client_new();
    SAY(&c, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" GET("/"));
    UNTIL(&c, times(&c, "200 OK") == 2 && said(&c, "body"));
    assert_true(said(&c, "Content-Length: 4\r\n\r\nHTTP/1.1"));
    client_close(&c);
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
    client_close(&c);
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
    client_close(&c);
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
    client_close(&c);
    UNTIL(&other, http_server_connections(server) == 1);
    assert_int_equal(metric_value(metric_named("aqueduct_net_connections", NULL)), 1);
    SAY(&other, GET("/2"));
    UNTIL(&other, user.asked == 2);
    answer_next(STR("nobody"));
    answer_next(STR("somebody"));
    expect(&other, "somebody");
    assert_false(said(&other, "nobody"));
    client_close(&other);
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
    client_close(&c);
}

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
        client_close(&c);
    }
    assert_null(strstr(buf_c(&user.paths), "smuggled"));
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
    client_close(&c);
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
    client_close(&c);
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
    client_close(&c);
}

/* RFC 9110 9.3.7: about the server as a whole, so it is no matter of paths. */
TEST(options_of_the_server)
{
    START();
    user.refuse = 404;
    struct client c = client_new();
    SAY(&c, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    expect(&c, "HTTP/1.1 204 No Content\r\n");
    forget(&c);
    SAY(&c, "OPTIONS * HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab");
    SAY(&c, "cd" GET("/"));
    expect(&c, "HTTP/1.1 204 No Content\r\n");
    expect(&c, "404 Not Found");
    assert_int_equal(user.asked, 0);
    client_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DIALOGUE(a_request_is_answered),
        DIALOGUE(the_parts_of_a_target),
        DIALOGUE(pipelined_requests_wait_for_their_turn),
        DIALOGUE(many_pipelined_posts),
        DIALOGUE(a_large_body_in_pieces),
        DIALOGUE(a_large_chunked_body),
        DIALOGUE(byte_by_byte),
        DIALOGUE(old_clients),
        DIALOGUE(head_has_no_body),
        DIALOGUE(an_answer_cannot_break_its_head),
        DIALOGUE(an_answer_is_given_once),
        DIALOGUE(the_client_has_gone),
        DIALOGUE(a_half_closed_client_gets_its_answer),
        DIALOGUE(bad_requests_end_the_connection),
        DIALOGUE(continue_is_sent_when_the_head_is_welcome),
        DIALOGUE(a_refused_body_is_not_read),
        DIALOGUE(a_refused_body_that_is_here_is_skipped),
        DIALOGUE(options_of_the_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
