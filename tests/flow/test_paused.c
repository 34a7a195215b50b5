/* SPDX-License-Identifier: MIT */
/* `paused:` of a sink and of an endpoint, and receivers that are to get nothing yet (VERDICT_UNTRIED, away): nothing is sent, nothing is lost, no attempt is counted, and nobody else waits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/clock.h"
#include "tests/support/many.h"

enum { HOUR = 3600000 };

static void for_a_while(int64_t ms, int64_t step)
{
    for (int64_t i = 0; i < ms; i += step) {
        turn(2);
        clock_fake_advance(step);
    }
    turn(3);
}

static void start_again(void)
{
    stop();
    start();
}

static enum verdict all_fail(const struct sent *sent, struct result *r)
{
    (void)sent;
    *r = (struct result){ .status = 500, .why = "500" };
    return VERDICT_RETRY;
}

TEST(a_paused_sink_reads_nothing_and_goes_on_where_it_stood)
{
    store_many(0, 10);
    start();
    turn(2);
    assert_int_equal(sink.count, 10);
    config.paused = true;
    start_again();
    store_many(10, 500);
    for_a_while(2 * (int64_t)HOUR, 30000);
    assert_int_equal(sink.count, 0);
    assert_int_equal(count("consumed_total", NULL), 10);
    assert_int_equal(count("paused", NULL), 1);
    crash();
    for_a_while(60000, 30000);
    assert_int_equal(sink.count, 0);
    config.paused = false;
    start_again();
    turn(5);
    assert_int_equal(sink.count, 490);
    assert_int_equal(count("paused", NULL), 0);
    reconciles();
}

/* What waits for its second attempt as well. */
TEST(what_is_due_waits_for_the_sink_without_an_attempt)
{
    sink.verdict = all_fail;
    config.retry = (struct durations){ long_wait, 1 };
    store_many(0, 600);
    start();
    for_a_while(10000, 1000);
    assert_int_equal(count("moved_total", NULL), 600);
    config.paused = true;
    start_again();
    for_a_while(12 * (int64_t)HOUR, 60000);
    assert_int_equal(sink.count, 0);
    assert_int_equal(count("dead_total", NULL), 0);
    reconciles();
    config.paused = false;
    start_again();
    for_a_while(2 * (int64_t)HOUR, 10000);
    assert_int_equal(count("delivered_total", NULL), 600);
    assert_int_equal(count("dead_total", NULL), 0);
    reconciles();
}

TEST(a_paused_endpoint_holds_up_no_other_and_loses_nothing)
{
    config.window = 64;
    for (size_t i = 0; i < 3; i++)
        endpoint(i, NULL);
    endpoints[1].paused = true;
    store_many(0, 500);
    start();
    for_a_while(20000, 1000);
    assert_int_equal(times_sent("e0", NULL), 500);
    assert_int_equal(times_sent("e2", NULL), 500);
    assert_int_equal(count("paused", "e1"), 1);
    for_a_while(6 * (int64_t)HOUR, 10000);
    assert_int_equal(times_sent("e1", NULL), 0);
    assert_int_equal(count("attempts_total", "e1"), 0);
    assert_true(count("pending", "e1") <= 64);
    assert_true(count("moved_total", "e1") < 500 * (5 + 6 * 6 + 2));
    crash();
    for_a_while(60000, 10000);
    assert_int_equal(times_sent("e1", NULL), 0);
    endpoints[1].paused = false;
    start_again();
    for_a_while(1200000, 1000);
    assert_true(times_sent("e1", NULL) >= 500);
    assert_int_equal(count("delivered_total", "e1"), times_sent("e1", NULL));
    for (size_t i = 0; i < sink.count; i++)
        assert_int_equal(sink.sent[i].attempt, 1);
    assert_int_equal(count("dead_total", "e1"), 0);
    reconciles();
}

/* By the fake clock, until e0, which takes an event at a time, has as many. */
static int64_t until_e0_has(size_t many)
{
    int64_t begin = clock_mono_ms();
    while (times_sent("e0", NULL) < many && clock_mono_ms() - begin < HOUR)
        for_a_while(100, 10);
    assert_int_equal(times_sent("e0", NULL), many);
    return clock_mono_ms() - begin;
}

/* What a paused neighbour has waiting, in memory and in topics, gives way, also where the sink's window is one event. */
TEST(one_at_a_time_is_not_held_up_by_a_paused_neighbour)
{
    static const int64_t windows[] = { 64, 2, 1 };
    for (size_t w = 0; w < sizeof windows / sizeof windows[0]; w++) {
        int64_t first[2], then[2];
        for (int paused = 0; paused < 2; paused++) {
            config.window = windows[w];
            endpoint(0, NULL);
            endpoint(1, NULL);
            endpoints[0].window = 1;
            endpoints[1].paused = paused;
            store_many(0, 500);
            start();
            first[paused] = until_e0_has(500);
            for_a_while(120000, 1000);
            store_many(500, 600);
            then[paused] = until_e0_has(600);
            reconciles();
            many_teardown(NULL);
            many_setup(NULL);
        }
        assert_true(first[1] <= 2 * first[0] + 200 && then[1] <= 3 * then[0] + 200);
    }
}

/* Else a long pause would keep the position, and on the local log all that comes after it. */
TEST(what_a_paused_endpoint_has_in_memory_goes_to_the_broker)
{
    endpoint(0, NULL);
    endpoint(1, NULL);
    endpoints[1].paused = true;
    store_many(0, 10);
    start();
    for_a_while(20000, 1000);
    assert_int_equal(count("pending", "e1"), 10);
    for_a_while(20000, 1000);
    assert_int_equal(count("pending", "e1"), 0);
    assert_int_equal(count("moved_total", "e1"), 10);
    json_t *j = many_account(&(struct account_question){ 0 });
    assert_int_equal(json_integer_value(json_object_get(json_array_get(json_object_get(j, "topics"), 0), "position")),
                     10);
    json_decref(j);
    crash();
    for_a_while(5000, 1000);
    assert_int_equal(sink.count, 0);
    reconciles();
}

/* What it has in memory stands before what the others have finished: it makes room when a commit can hold no more. */
TEST(what_a_paused_endpoint_has_in_memory_moves_when_commits_are_full)
{
    endpoint(0, NULL);
    endpoint(1, "{\"prefix\":{\"type\":\"t.\"}}");
    endpoints[1].paused = true;
    store_many(0, 10);
    start();
    for_a_while(2000, 500);
    assert_int_equal(count("moved_total", "e1"), 0);
    flow.full = 80;
    store("others", "u.happened");
    for_a_while(2000, 500);
    assert_int_equal(count("moved_total", "e1"), 10);
    assert_int_equal(count("moved_total", "e0"), 0);
    reconciles();
}

/* With order: key as well, where the events of a key step aside together. */
TEST(a_paused_endpoint_with_an_order_holds_up_no_other)
{
    config.window = 64;
    for (size_t i = 0; i < 3; i++) {
        endpoint(i, NULL);
        endpoints[i].order = i == 0 ? ORDER_NONE : ORDER_KEY;
        endpoints[i].window = 8;
    }
    endpoints[1].paused = true;
    start();
    for (int i = 0; i < 300; i++) {
        char name[16], key[8];
        snprintf(name, sizeof name, "n%d", i);
        snprintf(key, sizeof key, "k%d", i % 5 == 0 ? 0 : i % 17);
        flow_event(&flow, "in", name, key);
    }
    for_a_while(300000, 1000);
    assert_int_equal(times_sent("e0", NULL), 300);
    assert_int_equal(times_sent("e2", NULL), 300);
    for_a_while(2 * (int64_t)HOUR, 10000);
    assert_int_equal(times_sent("e1", NULL), 0);
    assert_int_equal(count("pending", "e1"), 0);
    store_many(300, 310);
    for_a_while(30000, 1000);
    assert_int_equal(times_sent("e2", NULL), 310);
    stop();
    endpoints[1].paused = false;
    start();
    for_a_while(1200000, 1000);
    assert_int_equal(times_sent("e1", NULL), 310);
    assert_int_equal(times_sent("e0", NULL) + times_sent("e2", NULL), 0);
    int last[32] = { 0 };
    for (size_t i = 0; i < sink.count; i++) {
        int of = sink.sent[i].key[1] ? (int)strtol(sink.sent[i].key + 1, NULL, 10) : 31,
            n = (int)strtol(sink.sent[i].id + 1, NULL, 10) + 1;
        assert_true(n > last[of]);
        last[of] = n;
    }
    assert_int_equal(flow_count("aqueduct_sink_blocked", id), 0);
    reconciles();
}

/* Both have keys in the same log. */
TEST(blocked_keys_of_a_paused_endpoint_hold_up_those_of_no_other)
{
    config.window = 16;
    for (size_t i = 0; i < 2; i++) {
        endpoint(i, NULL);
        endpoints[i].order = ORDER_KEY;
        endpoints[i].retry = (struct durations){ long_wait, 1 };
    }
    endpoints[0].paused = true;
    hanging = "e1";
    sink.verdict = one_fails;
    store_many(0, 60);
    start();
    for_a_while(100000, 1000);
    store_many(60, 120);
    for_a_while(10000, 1000);
    assert_int_equal(times_sent("e1", NULL), 1);
    assert_int_equal(flow_count("aqueduct_sink_blocked_keys", id), 2);
    hanging = "";
    for_a_while(300000, 1000);
    assert_int_equal(count("delivered_total", "e1"), 120);
    assert_int_equal(times_sent("e0", NULL), 0);
    store_many(120, 130);
    for_a_while(60000, 1000);
    assert_int_equal(count("delivered_total", "e1"), 130);
    assert_int_equal(flow_count("aqueduct_sink_blocked_keys", id), 1);
    stop();
    endpoints[0].paused = false;
    start();
    for_a_while(700000, 1000);
    assert_int_equal(sink.count, 130);
    for (int i = 0; i < 130; i++)
        assert_int_equal(strtol(sink.sent[i].id + 1, NULL, 10), i);
    assert_int_equal(flow_count("aqueduct_sink_blocked", id), 0);
    reconciles();
}

/* The sink's pause is everybody's, whatever the endpoint says. */
TEST(a_paused_sink_pauses_all_its_endpoints)
{
    config.paused = true;
    endpoint(0, NULL);
    endpoint(1, NULL);
    store_many(0, 10);
    start();
    for_a_while(HOUR, 30000);
    assert_int_equal(sink.count, 0);
    assert_int_equal(count("consumed_total", "e0"), 0);
    json_t *j = many_account(&(struct account_question){ 0 });
    const json_t *all = json_object_get(j, "destinations");
    assert_true(json_is_true(json_object_get(json_array_get(all, 0), "paused")));
    assert_true(json_is_false(json_object_get(json_array_get(all, 1), "paused")));
    json_decref(j);
    config.paused = false;
    start_again();
    turn(4);
    assert_int_equal(sink.count, 20);
}

static const char *agrees; /* "": nobody; NULL: all */

static enum verdict until_it_agrees(const struct sent *sent, struct result *r)
{
    if (!agrees || !sent->endpoint || strcmp(sent->endpoint, "e1") != 0)
        return VERDICT_DELIVERED;
    *r = (struct result){ .away = true, .reason = REASON_REFUSED, .retry_after = { HOUR }, .why = "no consent" };
    return VERDICT_UNTRIED;
}

TEST(an_endpoint_that_is_to_get_nothing_yet_holds_up_no_other_and_says_why)
{
    agrees = "";
    sink.verdict = until_it_agrees;
    config.window = 64;
    config.retry = (struct durations){ NULL, 0 };
    for (size_t i = 0; i < 3; i++)
        endpoint(i, NULL);
    store_many(0, 500);
    start();
    for_a_while(60000, 1000);
    assert_int_equal(times_sent("e0", NULL), 500);
    assert_int_equal(times_sent("e2", NULL), 500);
    assert_in_range(times_sent("e1", NULL), 1, 64); /* what came at once, before it said so */
    assert_int_equal(count("attempts_total", "e1"), 0);
    json_t *account = many_account(&(struct account_question){ 0 });
    const json_t *held = json_object_get(json_array_get(json_object_get(account, "destinations"), 2), "held");
    assert_string_equal(json_string_value(json_object_get(held, "reason")), "no consent");
    assert_true(json_is_string(json_object_get(held, "since")) && json_is_string(json_object_get(held, "next")));
    json_decref(account);
    for_a_while(12 * (int64_t)HOUR, 10000);
    assert_in_range(times_sent("e1", NULL), 12, 14 * 64); /* once an hour, what is in memory */
    assert_int_equal(count("dead_total", NULL), 0);
    reconciles();
    agrees = NULL;
    for_a_while(2 * (int64_t)HOUR, 1000);
    assert_int_equal(count("delivered_total", "e1"), 500);
    assert_int_equal(count("dead_total", "e1"), 0);
    account = many_account(&(struct account_question){ 0 });
    held = json_object_get(json_array_get(json_object_get(account, "destinations"), 2), "held");
    assert_true(json_is_null(held));
    json_decref(account);
    reconciles();
}

/* It allows one in two seconds when it first answers; the configuration says ten a second. */
static enum verdict allows_few(const struct sent *sent, struct result *r)
{
    if (receivers[1].rate == 0.5 || strcmp(sent->endpoint, "e1") != 0)
        return VERDICT_DELIVERED;
    receivers[1].rate = 0.5;
    *r = (struct result){ .away = true };
    return VERDICT_UNTRIED;
}

TEST(what_a_receiver_allows_bounds_its_rate)
{
    sink.verdict = allows_few;
    for (size_t i = 0; i < 2; i++)
        endpoint(i, NULL);
    endpoints[1].rate = receivers[1].rate = 10;
    store_many(0, 20);
    start();
    for_a_while(1000, 50);
    size_t first = times_sent("e1", NULL);
    assert_in_range(first, 1, 2); /* that to which it said so, and one more */
    for_a_while(20000, 50);
    assert_in_range(times_sent("e1", NULL) - first, 9, 11);
    assert_int_equal(times_sent("e0", NULL), 20);
    for_a_while(30000, 50);
    assert_int_equal(count("delivered_total", "e1"), 20);
    reconciles();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FLOW(a_paused_sink_reads_nothing_and_goes_on_where_it_stood),
        FLOW(what_is_due_waits_for_the_sink_without_an_attempt),
        FLOW(a_paused_endpoint_holds_up_no_other_and_loses_nothing),
        FLOW(one_at_a_time_is_not_held_up_by_a_paused_neighbour),
        FLOW(what_a_paused_endpoint_has_in_memory_goes_to_the_broker),
        FLOW(what_a_paused_endpoint_has_in_memory_moves_when_commits_are_full),
        FLOW(a_paused_endpoint_with_an_order_holds_up_no_other),
        FLOW(blocked_keys_of_a_paused_endpoint_hold_up_those_of_no_other),
        FLOW(a_paused_sink_pauses_all_its_endpoints),
        FLOW(an_endpoint_that_is_to_get_nothing_yet_holds_up_no_other_and_says_why),
        FLOW(what_a_receiver_allows_bounds_its_rate),
    };
    return cmocka_run_group_tests_name("paused", tests, NULL, NULL);
}
