/* SPDX-License-Identifier: MIT */
/* The HTTP server when connections, bytes or descriptors are short: who gives way, and that newcomers get on. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include "bridge/lib/descriptors.h"
#include "bridge/net/listen.h"
#include "tests/support/dialogue.h"
#include "tests/support/metric.h"

static int64_t evicted(const char *why)
{
    return metric_value(metric_named("aqueduct_net_evicted_total", LABELS(why)));
}

static void is_served(struct client c)
{
    SAY(&c, GET("/"));
    expect(&c, "200 OK");
    client_close(&c);
}

static void is_refused(struct client c, const char *status)
{
    SAY(&c, GET("/"));
    expect_end(&c);
    assert_true(said(&c, status) && said(&c, "Retry-After: 1\r\n"));
    client_close(&c);
}

TEST(the_longest_idle_connection_gives_way)
{
    START(.max_connections = 2);
    int64_t before = evicted("idle");
    struct client silent = client_new(), used = client_new();
    SAY(&used, GET("/"));
    expect(&used, "200 OK");
    is_served(client_new());
    expect_end(&silent);
    assert_int_equal(evicted("idle"), before + 1);
    client_read(&used);
    assert_false(used.ended);
    client_close(&silent);
    client_close(&used);
}

/* A request that came while nobody had looked at the connection yet is answered all the same. */
TEST(a_connection_whose_request_waits_in_the_kernel_is_not_idle)
{
    START(.max_connections = 2);
    struct client a = client_new(), b = client_new();
    UNTIL(&nobody, http_server_connections(server) == 2);
    struct client newcomer = client_new(); /* comes first to the listener, then the request */
    client_write(&a, STR(GET("/")));
    expect(&a, "200 OK");
    SAY(&newcomer, GET("/"));
    expect(&newcomer, "200 OK");
    expect_end(&b);
    client_close(&a);
    client_close(&b);
    client_close(&newcomer);
}

TEST(requests_that_wait_for_their_answer_stay)
{
    START(.max_connections = 2);
    user.later = true;
    struct client a = client_new(), b = client_new();
    SAY(&a, GET("/"));
    SAY(&b, GET("/"));
    UNTIL(&b, user.asked == 2);
    clock_fake_advance(5000);
    is_refused(client_from("127.0.0.2"), "503 Service Unavailable");
    answer_next(STR("one"));
    answer_next(STR("two"));
    expect(&a, "one");
    expect(&b, "two");
    client_close(&a);
    client_close(&b);
}

TEST(a_head_that_lasts_gives_way)
{
    START(.max_connections = 2);
    struct client a = client_new(), b = client_new();
    SAY(&a, "GET / HT");
    SAY(&b, "GET / HT");
    is_refused(client_new(), "503 Service Unavailable"); /* too young */
    clock_fake_advance(3000);
    rounds(3);
    int64_t before = evicted("head");
    is_served(client_new());
    expect_end(&a);
    assert_int_equal(evicted("head"), before + 1);
    client_close(&a);
    client_close(&b);
}

enum { ALL = 8 };

/* One address takes all connections, each busy with a body that never ends. */
TEST(the_address_with_most_gives_way)
{
    START(.max_connections = ALL);
    struct client greedy[ALL];
    for (int i = 0; i < ALL; i++) {
        greedy[i] = client_new();
        SAY(&greedy[i], POST("100") "\r\nhalf");
    }
    is_refused(client_new(), "503 Service Unavailable"); /* of the same address: it would gain nothing */
    clock_fake_advance(2001);
    UNTIL(&nobody, http_server_connections(server) == ALL);
    int64_t before = evicted("largest");
    struct client other = client_from("127.0.0.2");
    SAY(&other, GET("/"));
    expect(&other, "200 OK");
    assert_int_equal(evicted("largest"), before + 1);
    expect_end(&greedy[0]);
    for (int i = 1; i < ALL; i++) {
        client_read(&greedy[i]);
        assert_false(greedy[i].ended);
    }
    for (int i = 0; i < ALL; i++)
        client_close(&greedy[i]);
    client_close(&other);
}

TEST(connections_of_one_address_are_limited)
{
    START(.max_per_address = 2);
    struct client a = client_new(), b = client_new();
    SAY(&a, POST("100") "\r\nhalf");
    SAY(&b, POST("100") "\r\nhalf");
    is_refused(client_new(), "429 Too Many Requests");
    is_served(client_from("127.0.0.2"));
    client_close(&a);
    UNTIL(&b, http_server_connections(server) == 1);
    struct client idle = client_new();
    SAY(&idle, GET("/"));
    expect(&idle, "200 OK");
    is_served(client_new()); /* its own idle one gives way */
    expect_end(&idle);
    client_close(&idle);
    client_close(&b);
}

TEST(unix_sockets_have_no_limit_per_address)
{
    char path[FOLDER_BYTES + 16];
    snprintf(path, sizeof path, "unix:%s/s", dialogue_folder);
    START(.listen = path, .max_per_address = 1, .max_body = { 1000 }, .max_held = { 3000 },
          .max_held_per_address = { 100 });
    struct client a = client_connect(path + 5), b = client_connect(path + 5);
    struct buf body = big_body(200);
    SAY(&a, POST("400") "\r\n");
    SAY(&b, POST("400") "\r\n");
    say(&a, buf_str(&body));
    say(&b, buf_str(&body));
    say(&a, buf_str(&body));
    say(&b, buf_str(&body));
    expect(&a, "200 OK");
    expect(&b, "200 OK");
    buf_free(&body);
    client_close(&a);
    client_close(&b);
}

enum { MANY = 1200, PIECE = 8 << 10 };

TEST(many_half_sent_bodies_do_not_lock_out_a_newcomer)
{
    START(.max_body = { 2 * PIECE }, .max_held = { (MANY / 4) * PIECE });
    descriptors_raise();
    struct client *half = calloc(MANY, sizeof *half);
    struct buf piece = big_body(PIECE);
    for (int i = 0; i < MANY; i++) {
        half[i] = client_new();
        client_write(&half[i], STR(POST("16384") "\r\n"));
        client_write(&half[i], buf_str(&piece));
        rounds(2);
    }
    struct client c = client_from("127.0.0.2");
    SAY(&c, POST("16384") "\r\n");
    say(&c, buf_str(&piece));
    rounds(3);
    say(&c, buf_str(&piece));
    UNTIL(&c, said(&c, "200 OK") && c.in.n > 2 * PIECE);
    client_close(&c);
    for (int i = 0; i < MANY; i++)
        client_close(&half[i]);
    free(half);
    buf_free(&piece);
}

/* Neither has more than one address may, but together they have all there is. */
TEST(whoever_keeps_most_bytes_loses_its_oldest_request)
{
    START(.max_body = { 4000 }, .max_held = { 10000 }, .max_held_per_address = { 8000 });
    struct buf body = big_body(3000);
    struct client most[2] = { client_new(), client_new() }, second = client_from("127.0.0.2"),
                  c = client_from("127.0.0.3");
    for (int i = 0; i < 2; i++) {
        SAY(&most[i], POST("4000") "\r\n");
        say(&most[i], buf_str(&body));
    }
    SAY(&second, POST("4000") "\r\n");
    say(&second, buf_str(&body));
    int64_t before = evicted("memory");
    SAY(&c, POST("4000") "\r\n");
    say(&c, buf_str(&body));
    expect_end(&most[0]);
    assert_true(said(&most[0], "503 Service Unavailable"));
    assert_int_equal(evicted("memory"), before + 1);
    body.n = 1000;
    struct client *rest[] = { &most[1], &second, &c };
    for (int i = 0; i < 3; i++) {
        say(rest[i], buf_str(&body));
        expect(rest[i], "200 OK");
        client_close(rest[i]);
    }
    client_close(&most[0]);
    buf_free(&body);
}

TEST(a_body_slower_than_the_least_rate_is_refused)
{
    START(.body_timeout = { 30000 }, .min_body_rate = { 100 });
    struct buf piece = big_body(1000);
    struct client slow = client_new(), fast = client_new();
    SAY(&slow, POST("3000") "\r\n");
    SAY(&fast, POST("3000") "\r\n");
    say(&slow, (struct str){ piece.at, 999 });
    say(&fast, buf_str(&piece));
    clock_fake_advance(10001);
    expect_end(&slow);
    assert_true(said(&slow, "408 Request Timeout"));
    say(&fast, buf_str(&piece));
    clock_fake_advance(10001);
    rounds(3);
    say(&fast, buf_str(&piece));
    expect(&fast, "200 OK");
    client_close(&slow);
    client_close(&fast);

    fast = client_new(); /* fast enough, but not at an end in time */
    SAY(&fast, POST("9000") "\r\n");
    for (int i = 0; i < 3; i++) {
        say(&fast, buf_str(&piece));
        assert_false(fast.ended);
        clock_fake_advance(10001);
        rounds(3);
    }
    expect_end(&fast);
    assert_true(said(&fast, "408 Request Timeout"));
    client_close(&fast);
    buf_free(&piece);
}

enum { CROWD = 90, DESCRIPTORS = 200 };

/* The process keeps descriptors for its own work, however many connections the option allows. */
TEST(connections_end_where_the_share_of_descriptors_does)
{
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ DESCRIPTORS, before.rlim_max }), 0);
    int64_t alone = descriptors_share();
    START();
    assert_true(descriptors_share() < alone);
    assert_true(descriptors_share() < CROWD);
    struct client crowd[CROWD];
    for (int i = 0; i < CROWD; i++) {
        crowd[i] = client_new();
        rounds(2);
        assert_true(http_server_connections(server) <= (size_t)descriptors_share());
    }
    SAY(&crowd[CROWD - 1], GET("/"));
    expect(&crowd[CROWD - 1], "200 OK");
    for (int i = 0; i < CROWD; i++)
        client_close(&crowd[i]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

/* Somebody else in the process took the last descriptor. */
TEST(an_idle_connection_gives_its_descriptor)
{
    START();
    struct client idle = client_new(), c;
    UNTIL(&nobody, http_server_connections(server) == 1);
    c = client_new();
    struct rlimit before;
    int next = dup(0);
    close(next);
    struct metric *out = metric_named("aqueduct_descriptors_out_total", NULL);
    int64_t times_out = metric_value(out), gone = evicted("idle");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ (rlim_t)next, before.rlim_max }), 0);
    SAY(&c, GET("/"));
    expect(&c, "200 OK");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(evicted("idle"), gone + 1);
    assert_int_equal(metric_value(out), times_out + 1);
    expect_end(&idle);
    client_close(&idle);
    client_close(&c);
}

TEST(hosts_have_a_whole_64_of_ipv6)
{
    static const char *const cases[][2] = {
        { "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64" },
        { "2001:db8:1:2::7", "2001:db8:1:2::/64" },
        { "::ffff:192.0.2.1", "192.0.2.1" }, /* IPv4 on a socket for both */
        { "::1", "::/64" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned char address[16];
        char network[LISTEN_NETWORK];
        assert_int_equal(inet_pton(AF_INET6, cases[i][0], address), 1);
        listen_network_v6(address, network);
        assert_string_equal(network, cases[i][1]);
    }
}

/* ---- several servers at one address ---- */

static size_t connections_of_both(void)
{
    return http_server_connections(server) + http_server_connections(twin);
}

static void twins(const char *listen, int64_t most, int64_t per_address)
{
    char address[200];
    snprintf(address, sizeof address, "%s", listen);
    START(.listen = address, .max_connections = most, .max_per_address = per_address);
    START_TWIN(.listen = address, .max_connections = most, .max_per_address = per_address);
}

/* A request that waits for its answer. */
static struct client busy(const char *from)
{
    size_t asked = user.asked;
    user.later = true;
    struct client c = client_from(from);
    SAY(&c, GET("/"));
    UNTIL(&c, user.asked == asked + 1);
    user.later = false;
    return c;
}

TEST(connections_go_to_the_twin_with_fewest)
{
    struct client c[4];
    twins("127.0.0.1:0", 100, 0);
    assert_int_equal(http_server_port(twin), http_server_port(server));
    for (int i = 0; i < 4; i++)
        c[i] = client_new();
    UNTIL(&nobody, connections_of_both() == 4);
    assert_int_equal(http_server_connections(twin), 2);
    for (int i = 0; i < 4; i++)
        is_served(c[i]);
    UNTIL(&nobody, connections_of_both() == 0);
}

TEST(twins_listen_at_a_unix_socket)
{
    char path[256];
    snprintf(path, sizeof path, "unix:%s/listen", dialogue_folder);
    twins(path, 100, 1);
    struct client a = client_connect(path + 5), b = client_connect(path + 5);
    UNTIL(&nobody, connections_of_both() == 2);
    assert_int_equal(http_server_connections(twin), 1);
    is_served(a);
    is_served(b);
}

/* The limit is of both together, and whoever is idle gives way, wherever it is. */
TEST(twins_have_one_limit_of_connections)
{
    struct client c[4];
    twins("127.0.0.1:0", 4, 0);
    c[0] = busy("127.0.0.1");
    struct client idle = client_new(); /* at the twin */
    UNTIL(&nobody, connections_of_both() == 2);
    c[1] = busy("127.0.0.1");
    c[2] = busy("127.0.0.1");
    assert_int_equal(http_server_connections(server), 2);
    c[3] = busy("127.0.0.1"); /* comes to the first one, which has nobody idle */
    expect_end(&idle);
    assert_int_equal(http_server_connections(server), 2);
    assert_int_equal(http_server_connections(twin), 2);
    is_refused(client_new(), "503 Service Unavailable");
    for (int i = 0; i < 4; i++)
        answer_next(STR("done"));
    for (int i = 0; i < 4; i++) {
        expect(&c[i], "done");
        client_close(&c[i]);
    }
    client_close(&idle);
    UNTIL(&nobody, connections_of_both() == 0);
    is_served(client_new());
}

TEST(twins_have_one_limit_for_an_address)
{
    twins("127.0.0.1:0", 100, 2);
    struct client a = busy("127.0.0.1"), idle = client_new();
    UNTIL(&nobody, connections_of_both() == 2);
    int64_t before = evicted("idle");
    struct client b = busy("127.0.0.1"); /* comes to the first one; its idle one is at the twin */
    expect_end(&idle);
    assert_int_equal(evicted("idle"), before + 1);
    is_refused(client_new(), "429 Too Many Requests");
    is_served(client_from("127.0.0.2"));
    client_close(&a), client_close(&b), client_close(&idle);
}

/* Of whom a connection is, a twin hears from the proxy only: what that client has at both counts. */
TEST(twins_have_one_limit_for_a_client_behind_a_proxy)
{
    char *proxies[] = { (char[]){ "127.0.0.1" } };
    const struct http_server_options o = { .trusted_proxies = { proxies, 1 },
                                           .proxy_protocol = true,
                                           .max_per_address = 2 };
    struct client c[4];
    dialogue_start(o);
    dialogue_start_twin(o);
    user.later = true;
    for (size_t i = 0; i < 4; i++) {
        c[i] = client_new();
        SAY(&c[i], "PROXY TCP4 192.0.2.1 192.0.2.9 5000 80\r\n" GET("/"));
        if (i < 2)
            UNTIL(&c[i], user.asked == i + 1);
        else
            expect(&c[i], "429 Too Many Requests");
    }
    assert_ptr_not_equal(user.at[0], user.at[1]);
    answer_next(STR("one"));
    answer_next(STR("two"));
    for (size_t i = 0; i < 4; i++)
        client_close(&c[i]);
    UNTIL(&nobody, connections_of_both() == 0);
    user.later = false;
    c[0] = client_new();
    SAY(&c[0], "PROXY TCP4 192.0.2.1 192.0.2.9 5000 80\r\n" GET("/"));
    expect(&c[0], "200 OK");
    client_close(&c[0]);
}

/* Whoever was handed over and not taken up when it stops is closed, as what waits in the kernel is. */
TEST(twins_stop)
{
    twins("127.0.0.1:0", 100, 0);
    struct client a = client_new(), b = client_new();
    patience_begin();
    while (http_server_connections(server) == 0 && patience_left())
        http_server_run(server, -1, 1); /* the twin has no turn */
    http_server_stop_accepting(twin);
    http_server_stop_accepting(server);
    expect_end(&a);
    expect_end(&b);
    client_close(&a);
    client_close(&b);
    UNTIL(&nobody, connections_of_both() == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DIALOGUE(the_longest_idle_connection_gives_way),
        DIALOGUE(a_connection_whose_request_waits_in_the_kernel_is_not_idle),
        DIALOGUE(requests_that_wait_for_their_answer_stay),
        DIALOGUE(a_head_that_lasts_gives_way),
        DIALOGUE(the_address_with_most_gives_way),
        DIALOGUE(connections_of_one_address_are_limited),
        DIALOGUE(unix_sockets_have_no_limit_per_address),
        DIALOGUE(many_half_sent_bodies_do_not_lock_out_a_newcomer),
        DIALOGUE(whoever_keeps_most_bytes_loses_its_oldest_request),
        DIALOGUE(a_body_slower_than_the_least_rate_is_refused),
        DIALOGUE(an_idle_connection_gives_its_descriptor),
        DIALOGUE(connections_end_where_the_share_of_descriptors_does),
        DIALOGUE(connections_go_to_the_twin_with_fewest),
        DIALOGUE(twins_listen_at_a_unix_socket),
        DIALOGUE(twins_have_one_limit_of_connections),
        DIALOGUE(twins_have_one_limit_for_an_address),
        DIALOGUE(twins_have_one_limit_for_a_client_behind_a_proxy),
        DIALOGUE(twins_stop),
        cmocka_unit_test(hosts_have_a_whole_64_of_ipv6),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
