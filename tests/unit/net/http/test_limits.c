/* SPDX-License-Identifier: MIT */
/* The HTTP server: what is too long, too slow or too much. */
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>
#include "tests/support/dialogue.h"
#include "tests/support/metric.h"

TEST(bodies_are_limited)
{
    START(.max_body = { 1000 });
    struct client c = client_new();
    SAY(&c, POST("1001") "\r\n");
    expect_end(&c);
    assert_true(said(&c, "413 Content Too Large"));
    client_close(&c);

    c = client_new();
    SAY(&c, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n");
    expect_end(&c);
    assert_true(said(&c, "413 Content Too Large"));
    client_close(&c);

    user.max_body = 10; /* head() lowers it */
    c = client_new();
    SAY(&c, POST("10") "\r\n0123456789" POST("11") "\r\n01234567890");
    expect_end(&c);
    assert_true(said(&c, "0123456789") && said(&c, "413 Content Too Large"));
    client_close(&c);

    user.max_body = 1 << 20; /* but never raises it */
    c = client_new();
    SAY(&c, POST("1001") "\r\n");
    expect_end(&c);
    assert_true(said(&c, "413 Content Too Large"));
    client_close(&c);
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
    client_close(&slow[2]);

    struct client c = client_new(); /* what comes whole needs no room */
    SAY(&c, POST("5") "\r\nhello");
    expect(&c, "hello");
    client_close(&c);

    client_close(&slow[1]);
    UNTIL(&nobody, http_server_connections(server) == 1);
    say(&slow[0], bytes); /* the one that goes on is served */
    expect(&slow[0], "200 OK");
    client_close(&slow[0]);
    c = client_new(); /* and its room is free again */
    SAY(&c, POST("4000") "\r\n");
    say(&c, bytes);
    say(&c, bytes);
    expect(&c, "200 OK");
    client_close(&c);
}

TEST(slow_heads_are_refused)
{
    START(.head_timeout = { 10000 }, .idle_timeout = { 60000 });
    struct client c = client_new();
    SAY(&c, "GET / HT");
    clock_fake_advance(9000);
    SAY(&c, "TP/1.1\r\n");
    rounds(3);
    client_read(&c);
    assert_false(c.ended);
    clock_fake_advance(1001); /* counted from the first byte, however often another one comes */
    expect_end(&c);
    assert_true(said(&c, "408 Request Timeout"));
    client_close(&c);
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
    client_close(&c);
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
    client_read(&c);
    assert_false(c.ended);
    clock_fake_advance(30000);
    expect_end(&c);
    client_close(&c);
    client_close(&silent);
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
    client_close(&c);
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
    client_close(&c);

    c = client_new(); /* one that reads gets it all */
    SAY(&c, GET("/"));
    UNTIL(&c, got_body(&c, &body));
    forget(&c);
    user.body = STR("small");
    SAY(&c, GET("/"));
    expect(&c, "small");
    buf_free(&body);
    client_close(&c);
}

TEST(too_many_connections)
{
    START(.max_connections = 2);
    struct client a = client_new(), b = client_new();
    SAY(&a, POST("5") "\r\nhel");
    SAY(&b, POST("5") "\r\nhel");
    struct client c = client_new();
    SAY(&c, GET("/"));
    expect_end(&c);
    assert_true(said(&c, "503 Service Unavailable") && said(&c, "Retry-After: 1\r\n"));
    client_close(&c);
    client_close(&a);
    UNTIL(&b, http_server_connections(server) == 1);
    c = client_new();
    SAY(&c, GET("/"));
    expect(&c, "200 OK");
    client_close(&c);
    client_close(&b);
}

static int64_t refused_connections(void)
{
    return metric_value(metric_named("aqueduct_net_refused_total", LABELS("connections")));
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
    client_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DIALOGUE(bodies_are_limited),          DIALOGUE(incomplete_requests_are_limited_together),
        DIALOGUE(slow_heads_are_refused),      DIALOGUE(slow_bodies_are_refused),
        DIALOGUE(idle_connections_end),        DIALOGUE(waiting_has_no_deadline),
        DIALOGUE(a_client_that_does_not_read), DIALOGUE(too_many_connections),
        DIALOGUE(out_of_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
