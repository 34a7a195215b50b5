/* SPDX-License-Identifier: MIT */
/* The sink `websocket` on two threads: what it limits it limits for both together. */
#include <stdlib.h>
#include "bridge/lib/log.h"
#include "tests/support/live.h"
#include "tests/support/metric.h"

static void threads_turn(void)
{
    for (int i = 0; i < 20; i++)
        live_turn();
}

static int64_t threads_listeners(const char *kind)
{
    return metric_value(metric_named("aqueduct_listeners", LABELS("live", kind)));
}

static int64_t threads_closed_for(const char *reason)
{
    return metric_value(metric_named("aqueduct_listeners_closed_total", LABELS("live", reason)));
}

TEST(each_listener_hears_all)
{
    live_open_tcp_twice("open: true");
    struct client c[4];
    for (int i = 0; i < 4; i++)
        c[i] = live_listener("/", i % 2 ? EVENTS : UPGRADE, i % 2 ? 200 : 101);
    assert_int_equal(threads_listeners("websocket"), 2);
    assert_int_equal(threads_listeners("sse"), 2);
    live_send("ai.chats", "1", "t", NULL, "1");
    live_expect(&c[0], JSON("1", "t", ",\"data\":1"));
    live_expect(&c[2], JSON("1", "t", ",\"data\":1"));
    for (int i = 0; i < 4; i++)
        client_close(&c[i]);
    threads_turn();
    assert_int_equal(threads_listeners("websocket"), 0);
    assert_int_equal(threads_listeners("sse"), 0);
}

TEST(limits_of_listeners_and_subscriptions)
{
    live_open_tcp_twice("max_listeners_per_ip: 2\nmax_subscriptions: 1\nopen: true");
    struct client a = live_listener("/", UPGRADE, 101);
    live_refused("/?type=x", UPGRADE, 503, "max_subscriptions"); /* the other thread has none yet */
    threads_turn();
    struct client b = live_listener("/?type=*", UPGRADE, 101); /* the same subscription, on the other thread */
    live_refused("/", UPGRADE, 429, "max_listeners_per_ip");
    client_close(&a); /* one of two who have it */
    threads_turn();
    live_refused("/?type=x", UPGRADE, 503, "max_subscriptions");
    client_close(&b);
}

TEST(limits_of_a_user)
{
    live_open_tcp_twice(
        "max_subscriptions_per_user: 1\nmax_listeners_per_user: 2\n"
        "tokens: [{name: anna, secret: the-token-of-anna-x}, {name: bob, secret: the-token-of-bob-xx}]");
#define ANNA UPGRADE "Authorization: Bearer the-token-of-anna-x\r\n"
#define BOB  UPGRADE "Authorization: Bearer the-token-of-bob-xx\r\n"
    struct client a = live_listener("/?type=a", ANNA, 101);
    live_refused("/?type=b", ANNA, 429, "max_subscriptions_per_user");
    threads_turn();
    struct client b = live_listener("/?type=a", ANNA, 101);
    live_refused("/?type=a", ANNA, 429, "max_listeners_per_user");
    threads_turn();
    struct client c = live_listener("/?type=b", BOB, 101);
    client_close(&a);
    client_close(&b);
    client_close(&c);
}

#define EVENT(id) "{\"specversion\":\"1.0\",\"id\":\"" id "\",\"source\":\"/x\",\"type\":\"chat.say\"}"

/* The next frame is a refusal for that reason. */
static void threads_refused(struct client *c, const char *why)
{
    int opcode;
    char *text = live_next(c, &opcode);
    assert_non_null(strstr(text, "\"code\":4429"));
    assert_non_null(strstr(text, why));
    free(text);
}

TEST(limits_of_what_is_published)
{
    live_open_tcp_twice("publish: {types: [chat.say], in_flight: 1, burst: 3, per_second: 0.001}\nopen: true");
    struct client a = live_listener("/?type=none", UPGRADE, 101), b = live_listener("/?type=none", UPGRADE, 101);
    int opcode;
    live_say(&a, EVENT("1"));
    threads_turn();
    live_say(&b, EVENT("2")); /* of the same address, on the other thread */
    threads_refused(&b, "1 events of yours are not acknowledged yet");
    live_settle(1, OUTCOME_STORED, NULL);
    char *text = live_next(&a, &opcode); /* where it came from */
    assert_non_null(strstr(text, "\"event\":\"1\""));
    free(text);
    live_say(&b, EVENT("3"));
    live_settle(1, OUTCOME_STORED, NULL);
    text = live_next(&b, &opcode);
    assert_non_null(strstr(text, "\"event\":\"3\""));
    free(text);
    live_say(&a, EVENT("4"));
    threads_refused(&a, "too many messages a second");
    client_close(&a);
    client_close(&b);
}

/* Each thread holds less than max_buffered, but both together more. */
TEST(laggards_of_both_share_a_bound)
{
    enum { EVENTS_SENT = 1000, BYTES = 900 };
    live_open_twice("buffer: 1MiB\nmax_buffered: 1MiB");
    int64_t slow_before = threads_closed_for("slow");
    struct client laggards[2] = { live_listener("/", UPGRADE, 101), live_listener("/", UPGRADE, 101) };
    char data[BYTES + 1];
    memset(data, 'x', BYTES);
    data[0] = data[BYTES - 1] = '"';
    data[BYTES] = '\0';
    for (int i = 0; i < EVENTS_SENT; i++) {
        live_send("ai.chats", "id", "t", NULL, data);
        live_turn();
    }
    assert_in_range(threads_closed_for("slow") - slow_before, 1, 2);
    client_close(&laggards[0]);
    client_close(&laggards[1]);
}

int main(void)
{
    log_setup(LOG_ERROR, LOG_LOGFMT);
    const struct CMUnitTest tests[] = {
        LIVE(each_listener_hears_all),     LIVE(limits_of_listeners_and_subscriptions), LIVE(limits_of_a_user),
        LIVE(limits_of_what_is_published), LIVE(laggards_of_both_share_a_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
