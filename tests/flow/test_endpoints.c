/* SPDX-License-Identifier: MIT */
/* A sink with several endpoints: one reading of its topics, and for each its own filter, retries and share. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/delivery/account.h"
#include "bridge/event/trail.h"
#include "bridge/lib/thread.h"
#include "tests/support/event.h"
#include "tests/support/many.h"
#include "tests/support/metric.h"

static struct record *found[4];

TEST(each_endpoint_gets_what_its_filter_takes)
{
    config.filter = filter_of("{\"not\":{\"exact\":{\"type\":\"chat.secret\"}}}");
    endpoint(0, "{\"exact\":{\"type\":\"chat.created\"}}");
    endpoint(1, "{\"prefix\":{\"type\":\"chat.\"}}");
    endpoint(2, "{\"any\":[{\"exact\":{\"type\":\"chat.created\"}},{\"prefix\":{\"type\":\"chat\"}}]}");
    endpoint(3, "{\"suffix\":{\"type\":\".ended\"}}");
    endpoint(4, "{\"prefix\":{\"type\":\"chat.\"},\"exact\":{\"id\":\"b\"}}");
    store("a", "chat.created");
    store("b", "chat.ended");
    store("c", "user.ended");
    store("d", "user.created");
    store("e", "chat.secret");
    start();
    turn(3);
    assert_int_equal(sink.count, 1 + 2 + 2 + 2 + 1);
    assert_int_equal(times_sent("e0", "a"), 1);
    assert_int_equal(times_sent("e1", "a") + times_sent("e1", "b"), 2);
    assert_int_equal(times_sent("e2", "a") + times_sent("e2", "b"), 2); /* once each, although both of its types fit */
    assert_int_equal(times_sent("e3", "b") + times_sent("e3", "c"), 2);
    assert_int_equal(times_sent("e4", "b"), 1);
    assert_int_equal(count("delivered_total", "e1"), 2);
    assert_int_equal(count("filtered_total", NULL), 2);
    reconciles();
    crash();
    turn(2);
    assert_int_equal(sink.count, 0);
}

TEST(a_record_is_finished_when_all_endpoints_have_it)
{
    endpoint(0, NULL);
    endpoint(1, NULL);
    hanging = "e1";
    sink.verdict = one_hangs;
    store("a", "t.happened");
    start();
    turn(3);
    assert_int_equal(count("delivered_total", "e0"), 1);
    assert_int_equal(count("pending", "e1"), 1);
    crash(); /* its position is the record's: those that had it get it once more, with the same id */
    turn(3);
    assert_int_equal(times_sent("e0", "a"), 1);
    assert_int_equal(times_sent("e1", "a"), 1);
    crash();
    turn(3);
    assert_int_equal(sink.count, 0);
    reconciles();
}

TEST(after_a_stop_nobody_gets_again_what_he_has)
{
    endpoint(0, NULL);
    endpoint(1, NULL);
    hanging = "e1";
    sink.verdict = one_fails;
    store("a", "t.happened");
    start();
    turn(3);
    assert_int_equal(times_sent("e1", "a"), 1);
    stop();
    start();
    turn(3);
    assert_int_equal(sink.count, 0);
    clock_fake_advance(30000);
    turn(3);
    assert_int_equal(sink.count, 1);
    assert_int_equal(times_sent("e1", "a"), 1);
    assert_int_equal(sink.sent[0].attempt, 2);
    reconciles();
}

TEST(after_a_stop_that_holds_where_another_endpoint_keeps_order_too)
{
    endpoint(0, NULL);
    endpoint(1, NULL);
    endpoints[1].order = ORDER_KEY;
    hanging = "e1";
    sink.verdict = one_fails;
    start();
    turn(3);
    store_many(0, 3);
    turn(10);
    assert_int_equal(times_sent("e0", NULL), 3);
    assert_int_equal(times_sent("e1", NULL), 1);
    stop();
    start();
    turn(20);
    assert_int_equal(sink.count, 0);
    hanging = "";
    sink.verdict = one_fails;
    clock_fake_advance(1000);
    turn(40);
    assert_int_equal(times_sent("e0", NULL), 0);
    assert_int_equal(sink.count, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(strtol(sink.sent[i].id + 1, NULL, 10), i);
    assert_int_equal(sink.sent[0].attempt, 2);
    reconciles();
}

TEST(after_a_stop_that_holds_before_the_blocked_log_was_read)
{
    endpoint(0, NULL);
    endpoint(1, NULL);
    endpoints[1].order = ORDER_KEY;
    hanging = "";
    sink.verdict = one_fails;
    store_many(0, 3);
    start();
    for (int i = 0; i < 10 && times_sent("e0", NULL) < 3; i++)
        assert_true(delivery_step(d, (struct duration){ 0 })); /* nothing is flushed: no mark comes back */
    assert_int_equal(times_sent("e0", NULL), 3);
    assert_int_equal(times_sent("e1", NULL), 0);
    stop();
    start();
    turn(40);
    assert_int_equal(times_sent("e0", NULL), 0);
    assert_int_equal(sink.count, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(strtol(sink.sent[i].id + 1, NULL, 10), i);
    reconciles();
}

TEST(an_endpoint_that_hangs_takes_only_its_share)
{
    config.window = 16;
    for (size_t i = 0; i < 10; i++)
        endpoint(i, NULL);
    receivers[3].limit = 2;
    endpoints[3].window = 4;
    hanging = "e3";
    sink.verdict = one_hangs;
    store_many(0, 100);
    start();
    turn(200);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(times_sent(endpoint_names[i], NULL), i == 3 ? 2 : 100);
    assert_true(count("moved_total", "e3") >= 100 - 16);
    assert_true(count("pending", "e3") <= 16);
    reconciles();
    /* it answers again, and gets all of the others, once; nobody else gets anything twice */
    sink.verdict = NULL;
    for (size_t i = 0; i < sink.count; i++)
        if (sink.sent[i].open)
            script_answer(&sink, i, VERDICT_DELIVERED);
    for (int i = 0; i < 200; i++) {
        turn(4);
        clock_fake_advance(500);
    }
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(times_sent(endpoint_names[i], NULL), 100);
    assert_int_equal(count("delivered_total", "e3"), 100);
    reconciles();
}

/* Did the endpoint get 300 of them, once each, and those of each key in order? */
static void all_in_order(const char *endpoint)
{
    long next[400];
    assert_int_equal(times_sent(endpoint, NULL), 300);
    for (int i = 0; i < keys; i++)
        next[i] = i;
    for (size_t i = 0; i < sink.count; i++) {
        long n = strtol(sink.sent[i].id + 1, NULL, 10);
        if (strcmp(sink.sent[i].endpoint, endpoint) != 0)
            continue;
        assert_int_equal(n, next[n % keys]);
        next[n % keys] += keys;
    }
}

static void start_with_an_ordered_one(int key_count, size_t limit)
{
    keys = key_count;
    config.window = 16;
    for (size_t i = 0; i < 4; i++)
        endpoint(i, NULL);
    endpoints[2].order = endpoints[3].order = ORDER_KEY;
    endpoints[2].window = endpoints[3].window = 4;
    receivers[3].limit = limit;
    hanging = "e3";
    sink.verdict = one_hangs;
    start();
    turn(3);
}

static void start_with_an_ordered_one_that_hangs(int key_count, size_t limit)
{
    start_with_an_ordered_one(key_count, limit);
    store_keys(0, 300);
    turn(1000);
}

TEST(an_ordered_endpoint_that_hangs_takes_only_its_share)
{
    start_with_an_ordered_one_that_hangs(100, 8);
    all_in_order("e0");
    all_in_order("e1");
    all_in_order("e2");
    assert_int_equal(times_sent("e3", NULL), 8);
    assert_true(count("pending", "e3") <= 16);
    assert_true(flow_count("aqueduct_sink_blocked", id) >= 300 - 16);
    reconciles();
    /* what stepped aside is due, and still holds up nobody */
    clock_fake_advance(60000);
    turn(100);
    store_keys(300, 400);
    turn(1000);
    assert_int_equal(times_sent("e0", NULL), 400);
    assert_int_equal(times_sent("e2", NULL), 400);
    assert_int_equal(times_sent("e3", NULL), 8);
    reconciles();
}

TEST(keyless_events_of_an_ordered_endpoint_that_hangs_wait_with_all_others)
{
    start_with_an_ordered_one(1, 8);
    for (int i = 0; i < 300; i++)
        flow_event(&flow, "in", "x", NULL);
    turn(1000);
    assert_int_equal(times_sent("e0", NULL), 300);
    assert_int_equal(times_sent("e2", NULL), 300);
    assert_int_equal(times_sent("e3", NULL), 8);
    assert_true(count("moved_total", "e3") >= 300 - 16);
    reconciles();
}

TEST(what_stepped_aside_from_an_ordered_endpoint_comes_in_order)
{
    start_with_an_ordered_one_that_hangs(100, 2);
    sink.verdict = NULL;
    for (size_t i = 0; i < sink.count; i++)
        if (sink.sent[i].open)
            script_answer(&sink, i, VERDICT_DELIVERED);
    for (int i = 0; i < 200; i++) {
        turn(8);
        clock_fake_advance(500);
    }
    all_in_order("e3");
    all_in_order("e0");
    assert_int_equal(flow_count("aqueduct_sink_blocked_keys", id), 0);
    reconciles();
}

TEST(a_stop_while_an_ordered_endpoint_hangs_repeats_nothing_for_the_others)
{
    start_with_an_ordered_one_that_hangs(100, 2);
    sink.verdict = one_fails;
    for (size_t i = 0; i < sink.count; i++)
        if (sink.sent[i].open)
            script_answer(&sink, i, VERDICT_RETRY);
    stop();
    hanging = "";
    start();
    for (int i = 0; i < 200; i++) {
        turn(8);
        clock_fake_advance(500);
    }
    assert_int_equal(times_sent("e0", NULL) + times_sent("e1", NULL) + times_sent("e2", NULL), 0);
    all_in_order("e3");
    size_t second_attempts = 0;
    for (size_t i = 0; i < sink.count; i++)
        second_attempts += sink.sent[i].attempt == 2;
    assert_int_equal(second_attempts, 2);
    reconciles();
}

/* Nearly all of its events are of few keys, and follow those in flight. */
TEST(what_follows_an_attempt_that_hangs_steps_aside_too)
{
    start_with_an_ordered_one_that_hangs(3, 8);
    all_in_order("e0");
    all_in_order("e2");
    assert_int_equal(times_sent("e3", NULL), 3);
    reconciles();
    crash(); /* those in flight come once more, before all others of their key */
    sink.verdict = one_hangs;
    turn(50);
    assert_int_equal(times_sent("e3", NULL), 3);
    assert_true(times_sent("e0", NULL) <= 16); /* what the window still had */
    for (size_t i = 0; i < sink.count; i++)
        if (strcmp(sink.sent[i].endpoint, "e3") == 0) {
            assert_in_range(strtol(sink.sent[i].id + 1, NULL, 10), 0, 2);
            script_answer(&sink, i, VERDICT_DELIVERED);
        }
    sink.verdict = NULL;
    for (int i = 0; i < 200; i++) {
        turn(8);
        clock_fake_advance(500);
    }
    all_in_order("e3");
    assert_int_equal(flow_count("aqueduct_sink_blocked_keys", id), 0);
    reconciles();
}

/* The one in flight ends while its copy is on its way into the log. */
static void ends_before_its_copy_is_read(enum verdict v)
{
    config.window = 16;
    for (size_t i = 0; i < 2; i++)
        endpoint(i, NULL);
    endpoints[1].order = ORDER_KEY;
    endpoints[1].window = 4;
    hanging = "e1";
    sink.verdict = one_hangs;
    keys = 1;
    store_keys(0, 1);
    start();
    turn(20); /* its blocked log was read */
    store_keys(1, 300);
    int64_t consumed = 0;
    for (int i = 0; i < 100 && (consumed < 17 || count("moved_total", "e1") > 0); i++) {
        assert_true(delivery_step(d, (struct duration){ 0 })); /* nothing is flushed, so the copy does not come back */
        consumed = count("consumed_total", "e1");
    }
    assert_int_equal(consumed, 17); /* a window full, and the copy */
    assert_int_equal(flow_count("aqueduct_sink_blocked", id), 0);
    for (size_t i = 0; i < sink.count; i++)
        if (sink.sent[i].open)
            script_answer(&sink, i, v);
    assert_true(delivery_step(d, (struct duration){ 0 }));
    sink.verdict = NULL;
    for (int i = 0; i < 200; i++) {
        turn(8);
        clock_fake_advance(500);
    }
    assert_int_equal(times_sent("e0", NULL), 300);
    assert_int_equal(flow_count("aqueduct_sink_blocked_keys", id), 0);
    reconciles();
}

TEST(one_that_is_delivered_before_its_copy_is_read_is_not_repeated)
{
    ends_before_its_copy_is_read(VERDICT_DELIVERED);
    all_in_order("e1");
}

TEST(one_that_fails_before_its_copy_is_read_is_still_the_first)
{
    ends_before_its_copy_is_read(VERDICT_RETRY);
    int next = 0;
    for (size_t i = 0; i < sink.count; i++) {
        long n = strtol(sink.sent[i].id + 1, NULL, 10);
        if (strcmp(sink.sent[i].endpoint, "e1") != 0)
            continue;
        assert_int_equal(n, sink.sent[i].attempt == 2 ? 0 : next++);
    }
    assert_int_equal(times_sent("e1", NULL), 301);
    assert_int_equal(times_sent("e1", "s0"), 2);
}

/* Another member of the group gets the partition; what is in flight here ends too late for that. */
static void go_on_as_another_member(void)
{
    revoke();
    flow.crashed = true; /* no commit of this member counts any more */
    flow.weather = CLEAR;
    flow_release(&flow);
    for (size_t i = 0; i < sink.count; i++)
        if (sink.sent[i].open)
            script_answer(&sink, i, VERDICT_DELIVERED);
    assert_int_equal(times_sent("e3", NULL), 3);
    stop();
    reconciles();
    flow.crashed = false;
    start();
    for (int i = 0; i < 200; i++) {
        turn(8);
        clock_fake_advance(500);
    }
    all_in_order("e3");
    assert_int_equal(flow_count("aqueduct_sink_blocked_keys", id), 0);
    reconciles();
}

TEST(a_partition_that_goes_to_another_member_takes_what_is_in_flight_with_it)
{
    start_with_an_ordered_one_that_hangs(3, 8);
    go_on_as_another_member();
    assert_true(times_sent("e0", NULL) <= 16); /* what the window still had */
}

TEST(a_partition_that_goes_to_another_member_before_the_copies_are_read)
{
    start_with_an_ordered_one(3, 8);
    store_keys(0, 1);
    turn(20); /* its blocked log was read */
    flow.weather = HOLD;
    store_keys(1, 300);
    turn(100);
    assert_in_range(flow.held, 3, 16);
    assert_int_equal(times_sent("e0", NULL), 16);
    assert_int_equal(flow_count("aqueduct_sink_blocked", id), 0);
    go_on_as_another_member();
    assert_int_equal(times_sent("e0", NULL), 300); /* it had sixteen of them before, but those were not finished */
}

TEST(one_of_a_thousand_hangs)
{
    for (size_t i = 0; i < MANY; i++)
        endpoint(i, NULL);
    hanging = "e500";
    sink.verdict = one_hangs;
    store_many(0, 3);
    start();
    turn(20);
    assert_int_equal(sink.count, 3 * MANY);
    int64_t delivered = 0;
    for (size_t i = 0; i < MANY; i++)
        delivered += count("delivered_total", endpoint_names[i]);
    assert_int_equal(delivered, 3 * (MANY - 1));
    reconciles();
}

/* A record for a thousand is a thousand things to do: memory bounds those, not the records. */
TEST(what_is_to_be_done_is_bounded)
{
    config.window = 65536;
    for (size_t i = 0; i < MANY; i++) {
        endpoint(i, NULL);
        receivers[i].limit = 1;
        endpoints[i].window = 65536;
    }
    sink.verdict = nobody_answers;
    store_many(0, 200);
    start();
    turn(10);
    int64_t pending = 0;
    for (size_t i = 0; i < MANY; i++)
        pending += count("pending", endpoint_names[i]);
    assert_in_range(pending, MANY, 66 * MANY);
    assert_int_equal(sink.count, MANY);
    reconciles();
}

TEST(a_busy_endpoint_alone_is_no_reason_to_move_its_events)
{
    config.window = 8;
    endpoint(0, NULL);
    receivers[0].limit = 2;
    sink.verdict = one_hangs;
    hanging = "e0";
    store_many(0, 50);
    start();
    turn(20);
    assert_int_equal(sink.count, 2);
    assert_int_equal(count("moved_total", "e0"), 0);
    assert_int_equal(count("pending", "e0"), 8);
}

TEST(dead_letters_name_the_endpoint)
{
    endpoint(0, NULL);
    endpoint(1, NULL);
    hanging = "e1";
    sink.verdict = one_fails;
    store("a", "t.happened");
    start();
    turn(3);
    clock_fake_advance(1000);
    turn(3);
    assert_int_equal(flow_read(&flow, "aq.dead-letter", found, 2), 1);
    flow_expect_header(found[0], TRAIL_SINK, id);
    flow_expect_header(found[0], TRAIL_ENDPOINT, "e1");
    flow_expect_header(found[0], TRAIL_ATTEMPTS, "2");
    record_free(found[0]);
    assert_int_equal(count("dead_total", "e1"), 1);
    assert_int_equal(count("dead_total", "e0"), 0);
    reconciles();
}

TEST(a_long_wait_is_one_endpoints_alone)
{
    endpoint(0, NULL);
    endpoint(1, NULL);
    endpoints[1].retry = (struct durations){ long_wait, 1 };
    hanging = "e1";
    sink.verdict = one_fails;
    store("a", "t.happened");
    start();
    turn(4);
    assert_int_equal(count("moved_total", "e1"), 1);
    crash();
    turn(3);
    assert_int_equal(sink.count, 0);
    clock_fake_advance(120000);
    turn(3);
    assert_int_equal(sink.count, 1);
    assert_int_equal(times_sent("e1", "a"), 1);
    assert_int_equal(sink.sent[0].attempt, 2);
    reconciles();
}

static void redrive(const char *event_id, const char *endpoint, const char *key)
{
    char topic[64];
    snprintf(topic, sizeof topic, "aq.redrive.%s", id);
    const struct event *ev = event_like((struct event){ .id = str_of(event_id), .data = STR("{}") });
    struct header headers[EVENT_HEADERS + 1];
    size_t n = event_to_headers(ev, headers);
    if (endpoint)
        headers[n++] = (struct header){ STR(TRAIL_ENDPOINT), str_of(endpoint) };
    flow_raw(&flow, &(struct record){ .topic = str_of(topic),
                                      .partition = -1,
                                      .key = key ? str_of(key) : STR_ABSENT,
                                      .value = ev->data,
                                      .headers = headers,
                                      .header_count = n });
    event_unref(ev);
}

TEST(a_redriven_event_goes_to_its_endpoint_alone)
{
    endpoint(0, NULL);
    endpoint(1, NULL);
    start();
    redrive("a", "e1", NULL);
    turn(3);
    assert_int_equal(sink.count, 1);
    assert_int_equal(times_sent("e1", "a"), 1);
    redrive("b", NULL, NULL); /* of a time when the sink had no endpoints */
    turn(3);
    assert_int_equal(times_sent("e0", "b") + times_sent("e1", "b"), 2);
    reconciles();
}

TEST(many_redriven_at_once_do_not_wait_at_an_endpoint_that_had_nothing)
{
    endpoint(0, NULL);
    endpoint(1, NULL);
    start();
    clock_fake_advance(5000);
    for (int i = 0; i < 120; i++) {
        char name[16];
        snprintf(name, sizeof name, "r%d", i);
        redrive(name, "e1", NULL);
    }
    turn(40);
    assert_int_equal(times_sent("e1", NULL), 120);
    assert_int_equal(count("moved_total", "e1"), 0);
    reconciles();
}

static void redrive_keys(int from, int to)
{
    for (int i = from; i < to; i++) {
        char name[16], key[16];
        snprintf(name, sizeof name, "r%d", i);
        snprintf(key, sizeof key, "k%d", i % 7);
        redrive(name, "e3", key);
    }
}

TEST(redriven_events_of_an_ordered_endpoint_that_hangs_hold_up_nobody)
{
    start_with_an_ordered_one(3, 8);
    sink.verdict = NULL;
    store_keys(0, 3);
    turn(20);
    sink.verdict = one_hangs;
    redrive_keys(0, 60);
    turn(20);
    assert_int_equal(times_sent("e3", NULL), 3 + 7); /* the first of each key */
    clock_fake_advance(2000);
    redrive_keys(60, 120);
    turn(100);
    assert_true(count("pending", "e3") <= 16);
    store_keys(3, 300);
    turn(1000);
    all_in_order("e0");
    all_in_order("e2");
    assert_int_equal(times_sent("e3", NULL), 3 + 7); /* all others follow those */
    reconciles();
    sink.verdict = NULL;
    for (size_t i = 0; i < sink.count; i++)
        if (sink.sent[i].open)
            script_answer(&sink, i, VERDICT_DELIVERED);
    for (int i = 0; i < 400; i++) {
        turn(8);
        clock_fake_advance(500);
    }
    size_t redriven = 0, next[3] = { 0, 1, 2 };
    for (size_t i = 0; i < sink.count; i++) {
        size_t n = (size_t)strtol(sink.sent[i].id + 1, NULL, 10);
        if (strcmp(sink.sent[i].endpoint, "e3") != 0)
            continue;
        redriven += sink.sent[i].id[0] == 'r';
        assert_true(sink.sent[i].id[0] == 'r' || n == next[n % 3]);
        next[n % 3] += sink.sent[i].id[0] == 'r' ? 0 : 3;
    }
    assert_int_equal(redriven, 120);
    assert_int_equal(count("delivered_total", "e3"), 420);
    reconciles();
}

TEST(what_waits_for_an_endpoint_that_is_gone_becomes_a_dead_letter)
{
    endpoint(0, NULL);
    start();
    redrive("a", "was-here", NULL);
    turn(4);
    assert_int_equal(sink.count, 0);
    assert_int_equal(flow_read(&flow, "aq.dead-letter", found, 2), 1);
    flow_expect_header(found[0], TRAIL_CLASS, "orphaned");
    flow_expect_header(found[0], TRAIL_REASON, "the sink has no endpoint was-here any more");
    flow_expect_header(found[0], TRAIL_ENDPOINT, "was-here");
    record_free(found[0]);
    assert_int_equal(count("dead_total", NULL), 1);
    reconciles();
}

TEST(limits_are_kept_and_the_endpoints_take_turns)
{
    sink.base.limit = 4;
    for (size_t i = 0; i < 3; i++)
        endpoint(i, NULL);
    hanging = "";
    receivers[0].limit = 1;
    sink.verdict = one_hangs;
    hanging = "e0";
    store_many(0, 9);
    start();
    turn(1);
    assert_true(sink.most_flying <= 4);
    assert_int_equal(times_sent("e0", NULL), 1);
    assert_true(times_sent("e1", NULL) >= 1 && times_sent("e2", NULL) >= 1);
    turn(20);
    assert_int_equal(times_sent("e0", NULL), 1);
    assert_int_equal(times_sent("e1", NULL) + times_sent("e2", NULL), 18);
}

TEST(order_by_key_is_each_endpoints_own)
{
    endpoint(0, NULL);
    endpoint(1, NULL);
    endpoints[1].order = ORDER_KEY;
    sink.verdict = nobody_answers;
    store("a", "t.happened");
    store("b", "t.happened");
    start();
    turn(3);
    assert_int_equal(times_sent("e0", NULL), 2);
    assert_int_equal(times_sent("e1", NULL), 1);
    for (size_t i = 0; i < sink.count; i++)
        if (strcmp(sink.sent[i].endpoint, "e1") == 0)
            script_answer(&sink, i, VERDICT_DELIVERED);
    turn(2);
    assert_int_equal(times_sent("e1", "b"), 1);
}

static void two_ordered_endpoints(void)
{
    for (size_t i = 0; i < 2; i++) {
        endpoint(i, NULL);
        endpoints[i].order = ORDER_KEY;
        endpoints[i].retry = (struct durations){ long_wait, 1 };
    }
    hanging = "e0";
    sink.verdict = one_fails;
    store_many(0, 20);
    start();
    turn(60);
    assert_int_equal(times_sent("e1", NULL), 20);
    assert_int_equal(times_sent("e0", NULL), 1);
    assert_int_equal(flow_count("aqueduct_sink_blocked", id), 20);
    reconciles();
}

TEST(a_key_steps_aside_at_one_endpoint_alone)
{
    two_ordered_endpoints();
    crash();
    hanging = "";
    sink.verdict = one_fails;
    store_many(20, 22);
    turn(20);
    assert_int_equal(times_sent("e1", "n20") + times_sent("e1", "n21"), 2);
    assert_int_equal(times_sent("e0", NULL), 0);
    clock_fake_advance(120000);
    turn(80);
    assert_int_equal(times_sent("e0", NULL), 22);
    int next = 0;
    for (size_t i = 0; i < sink.count; i++)
        if (strcmp(sink.sent[i].endpoint, "e0") == 0)
            assert_int_equal(strtol(sink.sent[i].id + 1, NULL, 10), next++);
    assert_int_equal(flow_count("aqueduct_sink_blocked_keys", id), 0);
    reconciles();
}

TEST(what_is_blocked_for_an_endpoint_that_is_gone_becomes_dead_letters)
{
    struct record *letters[32];
    two_ordered_endpoints();
    stop();
    endpoint(0, NULL);
    endpoint_names[0][0] = 'x'; /* another one in its place */
    endpoints[0].order = ORDER_KEY;
    start();
    turn(60);
    assert_int_equal(times_sent("x0", NULL), 0);
    assert_int_equal(flow_read(&flow, "aq.dead-letter", letters, 32), 20);
    for (size_t i = 0; i < 20; i++) {
        flow_expect_header(letters[i], TRAIL_CLASS, "orphaned");
        flow_expect_header(letters[i], TRAIL_REASON, "the sink has no endpoint e0 any more");
        flow_expect_header(letters[i], TRAIL_ENDPOINT, "e0");
        record_free(letters[i]);
    }
    assert_int_equal(flow_count("aqueduct_sink_blocked", id), 0);
}

TEST(an_endpoint_that_cannot_be_opened_is_named)
{
    struct err e = { "" };
    endpoint(0, NULL);
    endpoint(1, NULL);
    script_refused = "e1";
    assert_null(try_start(&e));
    char text[128];
    snprintf(text, sizeof text, "sinks.%s: endpoints.e1: refused by the test", id);
    assert_string_equal(e.text, text);
    assert_int_equal(sink.endpoints_open, 0);
}

/* ---- the account ---- */

static json_int_t number(const json_t *j, const char *key)
{
    const json_t *n = json_object_get(j, key);
    if (!json_is_integer(n))
        fail_msg("%s is no number", key);
    return json_integer_value(n);
}

static void says(const json_t *j, const char *key, const char *text)
{
    assert_string_equal(json_string_value(json_object_get(j, key)), text);
}

TEST(the_account_says_what_is_pending_and_what_fails)
{
    endpoint(0, NULL);
    endpoint(1, NULL);
    hanging = "e1";
    sink.verdict = one_fails;
    store("a", "t.happened");
    store("b", "t.happened");
    start();
    turn(3);
    clock_fake_advance(300);
    turn(1); /* commits */
    json_t *j = many_account(&(struct account_question){ .events = 10 });
    says(j, "sink", id);
    const json_t *in = json_array_get(json_object_get(j, "topics"), 0);
    says(in, "topic", "in");
    assert_int_equal(number(in, "position"), 0);
    assert_int_equal(number(in, "end"), 2);
    assert_int_equal(number(in, "pending"), 2);
    const json_t *all = json_object_get(j, "destinations");
    assert_int_equal(json_array_size(all), 3);
    for (size_t i = 0; i < 3; i++) {
        const json_t *one = json_array_get(all, i);
        assert_int_equal(number(one, "consumed"), number(one, "delivered") + number(one, "dead")
                                                      + number(one, "filtered") + number(one, "moved")
                                                      + number(one, "released") + number(one, "pending"));
    }
    const json_t *good = json_array_get(all, 1), *bad = json_array_get(all, 2);
    says(good, "endpoint", "e0");
    assert_int_equal(number(good, "delivered"), 2);
    assert_true(json_is_null(json_object_get(good, "failing")));
    assert_true(json_is_null(json_object_get(good, "oldest")));
    says(bad, "endpoint", "e1");
    assert_int_equal(number(bad, "pending"), 2);
    assert_int_equal(number(bad, "waiting"), 2);
    says(bad, "next_due", "2023-11-14T22:13:21.000Z"); /* a second after the first attempt */
    says(json_object_get(bad, "failing"), "since", "2023-11-14T22:13:20.000Z");
    says(json_object_get(bad, "failing"), "reason", "503 Service Unavailable");
    assert_int_equal(number(json_object_get(bad, "failing"), "status"), 503);
    const json_t *events = json_object_get(j, "events"), *first = json_array_get(events, 0);
    assert_int_equal(json_array_size(events), 2);
    says(first, "id", "a");
    says(first, "endpoint", "e1");
    says(first, "state", "waiting");
    assert_int_equal(number(first, "attempts"), 1);
    json_decref(j);
}

TEST(the_account_of_one_event_and_of_what_is_finished)
{
    endpoint(0, NULL);
    endpoint(1, NULL);
    hanging = "e1";
    sink.verdict = one_hangs;
    store("a", "t.happened");
    store("b", "t.happened");
    start();
    turn(3);
    json_t *j = many_account(&(struct account_question){ .events = 10, .id = STR("b") });
    const json_t *events = json_object_get(j, "events");
    assert_int_equal(json_array_size(events), 1);
    says(json_array_get(events, 0), "id", "b");
    says(json_array_get(events, 0), "state", "in_flight");
    json_decref(j);
    for (size_t i = 0; i < sink.count; i++)
        if (strcmp(sink.sent[i].endpoint, "e1") == 0)
            script_answer(&sink, i, VERDICT_DELIVERED);
    turn(2);
    clock_fake_advance(300);
    turn(2);
    j = many_account(&(struct account_question){ 0 });
    assert_int_equal(number(json_array_get(json_object_get(j, "topics"), 0), "pending"), 0);
    assert_int_equal(number(json_array_get(json_object_get(j, "topics"), 0), "position"), 2);
    assert_true(json_is_null(json_object_get(j, "events")));
    json_decref(j);
}

/* Who asks is not held up by a thread that has no time. */
TEST(no_account_without_a_turn)
{
    endpoint(0, NULL);
    start();
    account_ask(d, &(struct account_question){ 0 });
    assert_null(account_take(d, thread_until((struct duration){ 0 })));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FLOW(each_endpoint_gets_what_its_filter_takes),
        FLOW(a_record_is_finished_when_all_endpoints_have_it),
        FLOW(after_a_stop_nobody_gets_again_what_he_has),
        FLOW(after_a_stop_that_holds_where_another_endpoint_keeps_order_too),
        FLOW(after_a_stop_that_holds_before_the_blocked_log_was_read),
        FLOW(an_endpoint_that_hangs_takes_only_its_share),
        FLOW(an_ordered_endpoint_that_hangs_takes_only_its_share),
        FLOW(keyless_events_of_an_ordered_endpoint_that_hangs_wait_with_all_others),
        FLOW(what_stepped_aside_from_an_ordered_endpoint_comes_in_order),
        FLOW(a_stop_while_an_ordered_endpoint_hangs_repeats_nothing_for_the_others),
        FLOW(what_follows_an_attempt_that_hangs_steps_aside_too),
        FLOW(one_that_is_delivered_before_its_copy_is_read_is_not_repeated),
        FLOW(one_that_fails_before_its_copy_is_read_is_still_the_first),
        FLOW(a_partition_that_goes_to_another_member_takes_what_is_in_flight_with_it),
        FLOW(a_partition_that_goes_to_another_member_before_the_copies_are_read),
        FLOW(one_of_a_thousand_hangs),
        FLOW(what_is_to_be_done_is_bounded),
        FLOW(a_busy_endpoint_alone_is_no_reason_to_move_its_events),
        FLOW(dead_letters_name_the_endpoint),
        FLOW(a_long_wait_is_one_endpoints_alone),
        FLOW(a_redriven_event_goes_to_its_endpoint_alone),
        FLOW(many_redriven_at_once_do_not_wait_at_an_endpoint_that_had_nothing),
        FLOW(redriven_events_of_an_ordered_endpoint_that_hangs_hold_up_nobody),
        FLOW(what_waits_for_an_endpoint_that_is_gone_becomes_a_dead_letter),
        FLOW(limits_are_kept_and_the_endpoints_take_turns),
        FLOW(order_by_key_is_each_endpoints_own),
        FLOW(a_key_steps_aside_at_one_endpoint_alone),
        FLOW(what_is_blocked_for_an_endpoint_that_is_gone_becomes_dead_letters),
        FLOW(an_endpoint_that_cannot_be_opened_is_named),
        FLOW(the_account_says_what_is_pending_and_what_fails),
        FLOW(the_account_of_one_event_and_of_what_is_finished),
        FLOW(no_account_without_a_turn),
    };
    return cmocka_run_group_tests_name("endpoints", tests, NULL, NULL);
}
