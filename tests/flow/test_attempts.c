/* SPDX-License-Identifier: MIT */
/* The delivery log: what an attempt becomes as an event, and which attempts are written when. */
#include "tests/support/event.h"
#include "tests/support/flow.h"
#include "tests/support/script.h"
#include <stdio.h>
#include <stdlib.h>
#include "bridge/delivery/attempts.h"
#include "bridge/delivery/delivery.h"
#include "bridge/event/trail.h"
#include "bridge/lib/clock.h"

enum { FOUND = 12000, WAIT_MS = 100 };

static struct flow flow;
static struct script_sink sink;
static struct sink_config config;
static struct delivery *d;
static struct duration waits[] = { { 1000 }, { 5000 } };
static char *topic_names[] = { "in" };
static char id[32];
static struct record *found[FOUND];
static size_t found_count;

static int setup(void **state)
{
    static int number;
    (void)state;
    clock_fake(1000000, 1700000000000);
    flow_open(&flow);
    flow_topic(&flow, "in", 1);
    flow_topic(&flow, "aq.dead-letter", 1);
    snprintf(id, sizeof id, "a%d", number++);
    sink.base.ops = NULL;
    script_sink_init(&sink, id);
    config = (struct sink_config){ .sink = &sink.base,
                                   .topics = { topic_names, 1 },
                                   .retry = { waits, 2 },
                                   .retry_memory = { 30000 },
                                   .window = 256,
                                   .attempts = ATTEMPTS_FAILURES };
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    flow_release(&flow);
    delivery_free(d);
    d = NULL;
    for (size_t i = 0; i < found_count; i++)
        record_free(found[i]);
    found_count = 0;
    flow_close(&flow);
    return 0;
}

static void start(void)
{
    struct err e = { "" };
    struct config whole = { .broker = flow.names, .sinks = &config, .sink_count = 1 };
    assert_true(attempts_topic(&whole, flow.inner, &e));
    assert_true(delivery_topics(&config, &flow.names, flow_make_topic, &flow, &e));
    d = delivery_new(&config, &flow.names, &flow.broker, &e);
    if (!d)
        fail_msg("%s", e.text);
}

static void turn(int times)
{
    for (int i = 0; i < times; i++) {
        assert_true(delivery_step(d, (struct duration){ 0 }));
        broker_flush(flow.inner, (struct duration){ 10000 });
    }
}

/* Plays `ms`, and what is logged by then is stored. */
static void pass(int64_t ms)
{
    clock_fake_advance(ms);
    turn(3);
    clock_fake_advance(WAIT_MS);
    turn(1);
}

static size_t logged(void)
{
    for (size_t i = 0; i < found_count; i++)
        record_free(found[i]);
    found_count = flow_read(&flow, "aq.attempts", found, FOUND);
    return found_count;
}

static void expect_data(size_t i, const char *part)
{
    const struct record *r = found[i];
    char *text = str_dup(r->value);
    if (!strstr(text, part))
        fail_msg("%s is not in %s", part, text);
    free(text);
}

static int64_t omitted(void)
{
    return flow_count("aqueduct_attempts_omitted_total", id);
}

static enum verdict always_503(const struct sent *sent, struct result *r)
{
    (void)sent;
    *r = (struct result){ .status = 503,
                          .reason = REASON_REFUSED,
                          .why = "503 Service Unavailable: busy",
                          .took = { 12 },
                          .answer = STR("busy\n") };
    return VERDICT_RETRY;
}

static enum verdict second_time(const struct sent *sent, struct result *r)
{
    return sent->attempt > 1 ? VERDICT_DELIVERED : always_503(sent, r);
}

static enum verdict gone(const struct sent *sent, struct result *r)
{
    (void)sent;
    *r = (struct result){ .status = 410, .reason = REASON_REFUSED, .why = "410 Gone" };
    return VERDICT_REJECT;
}

static enum verdict lacking(const struct sent *sent, struct result *r)
{
    if (sent->attempt > 1 || sink.count > 1)
        return VERDICT_DELIVERED;
    *r = (struct result){ .why = "no descriptors" };
    return VERDICT_UNTRIED;
}

/* ---- the event ---- */

TEST(an_attempt_as_an_event)
{
    const struct event *ev = event_like((struct event){ .id = STR("e-1"), .source = STR("/s"), .type = STR("t.x") });
    struct record r = { .topic = STR("in"), .partition = 2, .offset = 7 };
    struct result result = { .verdict = VERDICT_RETRY,
                             .status = 503,
                             .why = "503 Service Unavailable",
                             .took = { 12 },
                             .answer = STR("b\x01usy \"\xff") };
    struct attempt a = { .sink = "crm",
                         .endpoint = "east",
                         .event = ev,
                         .record = &r,
                         .number = 3,
                         .result = &result,
                         .class = "refused",
                         .end = ATTEMPT_RETRY,
                         .ended_ms = 1700000000000,
                         .next_ms = 1700000030000 };
    const struct event *got = attempt_event(&a), *again = attempt_event(&a);
    assert_str(got->type, "aqueduct.attempt.failed");
    assert_str(got->source, "/aqueduct/crm");
    assert_str(got->subject, "e-1");
    assert_str(got->time, "2023-11-14T22:13:20.000Z");
    assert_str(
        got->data,
        "{\"time\":\"2023-11-14T22:13:20.000Z\",\"sink\":\"crm\",\"endpoint\":\"east\","
        "\"event\":{\"id\":\"e-1\",\"source\":\"/s\",\"type\":\"t.x\",\"subject\":null},"
        "\"record\":{\"topic\":\"in\",\"partition\":2,\"offset\":7},\"attempt\":3,\"verdict\":\"retry\","
        "\"class\":\"refused\",\"reason\":\"503 Service Unavailable\",\"status\":503,\"duration_ms\":12,"
        "\"end\":\"retry\",\"next\":\"2023-11-14T22:13:50.000Z\",\"response\":\"b\\u0001usy \\\"\xef\xbf\xbd\"}");
    assert_true(str_eq(got->id, again->id));
    a.number = 4;
    const struct event *other = attempt_event(&a);
    assert_false(str_eq(got->id, other->id));
    event_unref(other);
    event_unref(again);
    event_unref(got);
    event_unref(ev);
}

TEST(a_long_answer_is_cut_between_two_characters)
{
    char answer[ATTEMPT_RESPONSE + 2] = "";
    memset(answer, 'a', ATTEMPT_RESPONSE - 1);
    memcpy(answer + ATTEMPT_RESPONSE - 1, "\xc3\xa9", 2);
    const struct event *ev = event_like((struct event){ .id = STR("e-1") });
    struct record r = { .topic = STR("in") };
    struct result result = { .verdict = VERDICT_RETRY, .answer = { answer, ATTEMPT_RESPONSE + 1 } };
    const struct event *got = attempt_event(&(struct attempt){ .sink = "crm",
                                                               .event = ev,
                                                               .record = &r,
                                                               .number = 1,
                                                               .result = &result,
                                                               .class = "refused",
                                                               .end = ATTEMPT_DEAD,
                                                               .ended_ms = 1 });
    assert_true(str_ends(got->data, STR("aaa\"}")));
    event_unref(got);
    event_unref(ev);
}

/* ---- which, and when ---- */

TEST(failures_are_logged_with_what_comes_next)
{
    sink.verdict = always_503;
    flow_event(&flow, "in", "x", "k");
    start();
    pass(0);
    assert_int_equal(logged(), 1);
    flow_expect_header(found[0], "ce_type", "aqueduct.attempt.failed");
    flow_expect_header(found[0], "ce_subject", "x");
    assert_str(found[0]->key, "x");
    expect_data(
        0, "\"attempt\":1,\"verdict\":\"retry\",\"class\":\"refused\",\"reason\":\"503 Service Unavailable: busy\","
           "\"status\":503,\"duration_ms\":12,\"end\":\"retry\",\"next\":\"2023-11-14T22:13:21.000Z\","
           "\"response\":\"busy\\n\"");
    expect_data(0, "\"record\":{\"topic\":\"in\",\"partition\":0,\"offset\":0}");
    pass(1000);
    pass(5000);
    assert_int_equal(logged(), 3);
    expect_data(1, "\"attempt\":2");
    expect_data(2, "\"attempt\":3");
    expect_data(2, "\"end\":\"dead\",\"next\":null");
    assert_int_equal(omitted(), 0);
}

TEST(what_the_receiver_wants_no_more_of_is_logged_as_dead)
{
    sink.verdict = gone;
    flow_event(&flow, "in", "x", "k");
    start();
    pass(0);
    assert_int_equal(logged(), 1);
    expect_data(0, "\"verdict\":\"reject\"");
    expect_data(0, "\"end\":\"dead\"");
}

TEST(successes_are_logged_with_all)
{
    config.attempts = ATTEMPTS_ALL;
    sink.verdict = second_time;
    flow_event(&flow, "in", "x", "k");
    start();
    pass(0);
    pass(1000);
    assert_int_equal(logged(), 2);
    flow_expect_header(found[1], "ce_type", "aqueduct.attempt.delivered");
    expect_data(1, "\"attempt\":2,\"verdict\":\"delivered\",\"class\":null,\"reason\":null");
    expect_data(1, "\"end\":\"delivered\",\"next\":null");
}

TEST(one_success_in_a_hundred_is_the_sample)
{
    config.attempts = ATTEMPTS_SAMPLE;
    for (int i = 0; i < 250; i++) {
        char event[16];
        snprintf(event, sizeof event, "e%d", i);
        flow_event(&flow, "in", event, NULL);
    }
    start();
    pass(0);
    assert_int_equal(flow_count("aqueduct_sink_delivered_total", id), 250);
    assert_int_equal(logged(), 3);
}

TEST(successes_are_not_logged_with_failures_and_nothing_with_none)
{
    flow_event(&flow, "in", "x", "k");
    start();
    pass(0);
    assert_int_equal(logged(), 0);
    delivery_free(d);
    script_sink_init(&sink, id);
    config.attempts = ATTEMPTS_NONE;
    sink.verdict = always_503;
    flow_event(&flow, "in", "y", "k");
    start();
    pass(0);
    assert_int_equal(sink.count, 1);
    assert_int_equal(logged(), 0);
}

TEST(what_could_not_be_tried_is_no_attempt)
{
    config.attempts = ATTEMPTS_ALL;
    sink.verdict = lacking;
    flow_event(&flow, "in", "x", "k");
    start();
    pass(0);
    pass(1000);
    assert_int_equal(logged(), 1);
    expect_data(0, "\"attempt\":1,\"verdict\":\"delivered\"");
}

TEST(attempts_to_deliver_the_log_are_not_logged)
{
    sink.verdict = always_503;
    flow_event(&flow, "in", "x", "k");
    start();
    pass(0);
    assert_int_equal(logged(), 1);
    delivery_free(d);
    script_sink_init(&sink, id);
    sink.verdict = always_503;
    static char *log_topic[] = { "aq.attempts" };
    config.topics = (struct strings){ log_topic, 1 };
    config.attempts = ATTEMPTS_ALL;
    start();
    pass(0);
    pass(1000);
    pass(5000);
    assert_int_equal(sink.count, 3);
    assert_int_equal(flow_count("aqueduct_sink_dead_total", id), 1);
    assert_int_equal(logged(), 1);
}

TEST(the_last_ones_are_stored_at_a_stop)
{
    sink.verdict = always_503;
    flow_event(&flow, "in", "x", "k");
    start();
    turn(2);
    delivery_stop(d);
    assert_false(delivery_step(d, (struct duration){ 0 }));
    broker_flush(flow.inner, (struct duration){ 10000 });
    assert_int_equal(logged(), 1);
}

/* ---- a broker that is slow or refuses ---- */

static void add(struct attempts *a, size_t count)
{
    const struct event *ev = event_like((struct event){ .id = STR("e-1") });
    struct record r = { .topic = STR("in") };
    struct result result = { .verdict = VERDICT_RETRY };
    for (size_t i = 0; i < count; i++) {
        r.offset++;
        attempts_add(a, &(struct attempt){ .sink = id,
                                           .event = ev,
                                           .record = &r,
                                           .number = 1,
                                           .result = &result,
                                           .class = "refused",
                                           .end = ATTEMPT_RETRY,
                                           .ended_ms = clock_wall_ms() });
        attempts_publish(a, false);
    }
    event_unref(ev);
}

TEST(a_broker_that_is_slow_costs_a_bounded_number_and_the_rest_is_counted)
{
    flow_topic(&flow, "aq.attempts", 1);
    flow.weather = HOLD;
    struct attempts *a = attempts_new(&config, "aq.", &flow.broker);
    add(a, 12000);
    int64_t left_out = omitted();
    assert_true(left_out > 0);
    flow_release(&flow);
    clock_fake_advance(WAIT_MS);
    attempts_publish(a, false);
    broker_flush(flow.inner, (struct duration){ 10000 });
    assert_int_equal((int64_t)logged() + left_out, 12000);
    assert_int_equal(omitted(), left_out);
    attempts_free(a);
}

TEST(what_the_broker_refuses_is_counted)
{
    flow_topic(&flow, "aq.attempts", 1);
    flow.weather = REFUSE;
    struct attempts *a = attempts_new(&config, "aq.", &flow.broker);
    add(a, 100);
    attempts_publish(a, true);
    assert_int_equal(omitted(), 100);
    attempts_free(a);
}

TEST(deliveries_go_on_while_the_log_cannot_be_stored)
{
    config.attempts = ATTEMPTS_ALL;
    flow_event(&flow, "in", "x", "k");
    flow_event(&flow, "in", "y", "k");
    start();
    flow.weather = REFUSE;
    pass(0);
    assert_int_equal(flow_count("aqueduct_sink_delivered_total", id), 2);
    assert_int_equal(omitted(), 2);
}

int main(void)
{
#define FLOW_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_attempt_as_an_event),
        cmocka_unit_test(a_long_answer_is_cut_between_two_characters),
        FLOW_TEST(failures_are_logged_with_what_comes_next),
        FLOW_TEST(what_the_receiver_wants_no_more_of_is_logged_as_dead),
        FLOW_TEST(successes_are_logged_with_all),
        FLOW_TEST(one_success_in_a_hundred_is_the_sample),
        FLOW_TEST(successes_are_not_logged_with_failures_and_nothing_with_none),
        FLOW_TEST(what_could_not_be_tried_is_no_attempt),
        FLOW_TEST(attempts_to_deliver_the_log_are_not_logged),
        FLOW_TEST(the_last_ones_are_stored_at_a_stop),
        FLOW_TEST(a_broker_that_is_slow_costs_a_bounded_number_and_the_rest_is_counted),
        FLOW_TEST(what_the_broker_refuses_is_counted),
        FLOW_TEST(deliveries_go_on_while_the_log_cannot_be_stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
