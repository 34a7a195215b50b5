/* SPDX-License-Identifier: MIT */
/* `rate:`: a receiver gets no more than that, what exceeds it is delivered later, and nobody else waits for it. */
#include <stdio.h>
#include "bridge/lib/clock.h"
#include "tests/support/many.h"

/* Turns for so long; no step of the fake clock is longer than 20 ms. */
static void for_a_while(int ms)
{
    for (int i = 0; i < ms; i += 20) {
        turn(2);
        clock_fake_advance(20);
    }
}

TEST(a_sink_sends_as_fast_as_its_rate)
{
    config.rate = 10;
    store_many(0, 100);
    start();
    for_a_while(1000);
    assert_in_range(sink.count, 10, 11);
    for_a_while(9100);
    assert_int_equal(sink.count, 100);
    assert_true(count("throttled_total", NULL) >= 90);
    assert_int_equal(count("moved_total", NULL), 0);
    reconciles();
}

TEST(retries_count_as_well)
{
    config.rate = 10;
    sink.verdict = nobody_answers;
    store("a", "t.happened");
    start();
    turn(1);
    script_answer(&sink, 0, VERDICT_RETRY);
    store_many(0, 100);
    for_a_while(1100); /* its second attempt is due after a second */
    assert_in_range(sink.count, 11, 12);
    for_a_while(200);
    for_a_while(12000);
    size_t second_attempts = 0;
    for (size_t i = 0; i < sink.count; i++)
        second_attempts += sink.sent[i].attempt == 2;
    assert_int_equal(second_attempts, 1);
    assert_int_equal(sink.count, 102);
}

/* The slow one has 990 events that it may not have yet: they wait on the broker, each until about its turn. */
TEST(what_exceeds_the_rate_of_one_endpoint_holds_up_no_other)
{
    config.window = 64;
    for (size_t i = 0; i < 3; i++)
        endpoint(i, NULL);
    endpoints[1].rate = 20;
    endpoints[1].window = 8;
    store_many(0, 1000);
    start();
    for_a_while(1000);
    assert_int_equal(times_sent("e0", NULL), 1000);
    assert_int_equal(times_sent("e2", NULL), 1000);
    assert_in_range(times_sent("e1", NULL), 19, 22);
    assert_true(count("moved_total", "e1") >= 900);
    assert_true(count("pending", "e1") <= 64);
    reconciles();
    int64_t moved = count("moved_total", "e1");
    for_a_while(54000);
    assert_int_equal(times_sent("e1", NULL), 1000);
    assert_int_equal(count("delivered_total", "e1"), 1000);
    assert_true(count("moved_total", "e1") - moved < 1000); /* they do not go to and fro */
    assert_int_equal(times_sent("e0", NULL) + times_sent("e2", NULL), 2000);
    reconciles();
}

TEST(the_rate_of_the_sink_is_that_of_all_its_endpoints)
{
    config.rate = 50;
    for (size_t i = 0; i < 4; i++)
        endpoint(i, NULL);
    store_many(0, 100);
    start();
    for_a_while(2000);
    assert_in_range(sink.count, 98, 106);
    for (size_t i = 0; i < 4; i++)
        assert_in_range(times_sent(endpoint_names[i], NULL), 20, 30);
    for_a_while(6200);
    assert_int_equal(sink.count, 400);
    reconciles();
}

TEST(with_order_by_key_the_order_stays)
{
    config.rate = 100;
    config.order = ORDER_KEY;
    store_many(0, 60);
    start();
    for_a_while(1000);
    assert_int_equal(sink.count, 60);
    char name[8];
    for (int i = 0; i < 60; i++) {
        snprintf(name, sizeof name, "n%d", i);
        assert_string_equal(sink.sent[i].id, name);
    }
}

/* A turn says how long nothing is to be done: until the next attempt may go, no longer and no less. */
TEST(nothing_turns_in_vain)
{
    config.rate = 0.5;
    store_many(0, 3);
    start();
    turn(2);
    assert_int_equal(sink.count, 1);
    sink.sleepless = true;
    clock_fake_advance(1500);
    assert_true(delivery_step(d, (struct duration){ 10000 }));
    assert_int_equal(sink.wait_ms, 500);
    clock_fake_advance(500);
    turn(1);
    assert_int_equal(sink.count, 2);
}

/* The rate allows more, but the receiver has as much as it may have at the same time. */
TEST(it_sleeps_when_only_an_answer_can_make_room)
{
    config.rate = 10;
    for (size_t i = 0; i < 2; i++) {
        endpoint(i, NULL);
        endpoints[i].rate = 5;
        receivers[i].limit = 1;
    }
    sink.verdict = nobody_answers;
    store_many(0, 5);
    start();
    for_a_while(5000);
    assert_int_equal(sink.count, 2);
    sink.sleepless = true;
    for (size_t limit = 0; limit <= 2; limit += 2) {
        sink.base.limit = limit; /* of all of them together */
        clock_fake_advance(5000);
        assert_true(delivery_step(d, (struct duration){ 10000 }));
        assert_true(delivery_step(d, (struct duration){ 10000 }));
        assert_int_equal(sink.wait_ms, 1000);
    }
}

TEST(a_stop_waits_for_no_slot_and_loses_nothing)
{
    config.rate = 1;
    endpoint(0, NULL);
    endpoint(1, NULL);
    endpoints[1].rate = 1;
    store_many(0, 5);
    start();
    turn(2);
    stop();
    assert_int_equal(count("pending", "e0") + count("pending", "e1"), 0);
    reconciles();
    start();
    for_a_while(60000);
    assert_int_equal(count("delivered_total", "e0"), 5);
    assert_int_equal(count("delivered_total", "e1"), 5);
}

/* What exceeds its share goes to the broker, and comes back when what is left has just been sent. */
TEST(an_endpoint_with_a_rate_is_never_idle)
{
    config.window = 1024;
    endpoint(0, NULL);
    endpoint(1, NULL);
    endpoints[1].rate = 20;
    endpoints[1].window = 64;
    start();
    for (size_t seconds = 5; seconds <= 100; seconds += 5) {
        if (seconds <= 50)
            store_many((int)seconds * 40 - 200, (int)seconds * 40);
        for_a_while(5000);
        assert_in_range(times_sent("e1", NULL), seconds * 20 - 2, seconds * 20 + 3);
    }
    for_a_while(5000);
    assert_int_equal(count("delivered_total", "e1"), 2000);
    reconciles();
}

/* What stands on the broker is looked at again soon, however long it takes at the rate of the time when it went there. */
TEST(a_raised_rate_counts_within_a_minute_after_a_start)
{
    config.window = 64;
    endpoint(0, NULL);
    endpoint(1, NULL);
    endpoints[1].rate = 0.001;
    store_many(0, 1000);
    start();
    for_a_while(100000);
    assert_int_equal(times_sent("e0", NULL), 1000);
    assert_int_equal(times_sent("e1", NULL), 1);
    stop();
    endpoints[1].rate = 1000;
    start();
    for_a_while(60000);
    assert_int_equal(count("delivered_total", "e1"), 1000);
    reconciles();
}

/* Whatever would be in memory for long stands on the broker, so that a crash repeats little of what others got. */
TEST(a_crash_repeats_no_more_than_the_share_of_the_slow_one)
{
    config.window = 1024;
    endpoint(0, NULL);
    endpoint(1, NULL);
    endpoints[1].rate = 1;
    endpoints[1].window = 64;
    store_many(0, 900);
    start();
    sink.sleepless = true;
    for (int i = 0; i < 400; i++) { /* each turn ends when the next one may go */
        turn(1);
        assert_true(delivery_step(d, (struct duration){ 1000 }));
        clock_fake_advance(sink.wait_ms);
    }
    assert_int_equal(times_sent("e0", NULL), 900);
    crash();
    for_a_while(2000);
    assert_in_range(times_sent("e0", NULL), 0, 64);
    reconciles();
}

/* The same with an order: what would be in memory for long stands in the blocked log, and comes from there as fast. */
static void crash_with_a_slow_ordered_one(int key_count)
{
    config.window = 1024;
    endpoint(0, NULL);
    endpoint(1, NULL);
    endpoints[1].rate = 1;
    endpoints[1].window = 64;
    endpoints[1].order = ORDER_KEY;
    keys = key_count;
    store_keys(0, 900);
    start();
    for_a_while(100000);
    assert_int_equal(times_sent("e0", NULL), 900);
    assert_in_range(times_sent("e1", NULL), 90, 102);
    crash();
    for_a_while(100000);
    assert_in_range(times_sent("e0", NULL), 0, 64);
    assert_in_range(times_sent("e1", NULL), 98, 102);
    reconciles();
}

TEST(a_crash_repeats_as_little_where_the_slow_one_has_one_key)
{
    crash_with_a_slow_ordered_one(1);
}

TEST(a_crash_repeats_as_little_where_the_slow_one_has_an_order)
{
    crash_with_a_slow_ordered_one(90);
}

TEST(what_is_sent_within_a_moment_is_not_moved)
{
    config.window = 512;
    endpoint(0, NULL);
    endpoint(1, NULL);
    endpoints[1].rate = 100;
    endpoints[1].window = 8;
    store_many(0, 400);
    start();
    for_a_while(6000);
    assert_int_equal(count("delivered_total", "e1"), 400);
    assert_int_equal(count("moved_total", "e1"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FLOW(a_sink_sends_as_fast_as_its_rate),
        FLOW(retries_count_as_well),
        FLOW(what_exceeds_the_rate_of_one_endpoint_holds_up_no_other),
        FLOW(an_endpoint_with_a_rate_is_never_idle),
        FLOW(a_raised_rate_counts_within_a_minute_after_a_start),
        FLOW(a_crash_repeats_no_more_than_the_share_of_the_slow_one),
        FLOW(a_crash_repeats_as_little_where_the_slow_one_has_one_key),
        FLOW(a_crash_repeats_as_little_where_the_slow_one_has_an_order),
        FLOW(what_is_sent_within_a_moment_is_not_moved),
        FLOW(the_rate_of_the_sink_is_that_of_all_its_endpoints),
        FLOW(with_order_by_key_the_order_stays),
        FLOW(nothing_turns_in_vain),
        FLOW(it_sleeps_when_only_an_answer_can_make_room),
        FLOW(a_stop_waits_for_no_slot_and_loses_nothing),
    };
    return cmocka_run_group_tests_name("rate", tests, NULL, NULL);
}
