/* SPDX-License-Identifier: MIT */
/* `circuit:`: a receiver that is down gets a probe now and then, what is due waits without its attempts, and nobody else
 * waits for it. */
#include <jansson.h>
#include <stdio.h>
#include "bridge/event/trail.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/metrics.h"
#include "tests/support/event.h"
#include "tests/support/many.h"

enum { HOUR = 3600000 };

static bool down;   /* the receiver (of `hanging`, where there are several) does not answer */
static int refuses; /* ... it answers 500 to this event: n<refuses>; -1: to none */
static struct duration five[5] = { { 1000 }, { 5000 }, { 30000 }, { 120000 }, { 600000 } };

static enum verdict weather(const struct sent *sent, struct result *r)
{
    char name[16];
    snprintf(name, sizeof name, "n%d", refuses);
    if (strcmp(sent->id, name) == 0) {
        *r = (struct result){ .status = 500, .reason = REASON_REFUSED, .why = "500" };
        return VERDICT_RETRY;
    }
    if (!down || (hanging && strcmp(sent->endpoint, hanging) != 0))
        return VERDICT_DELIVERED;
    *r = (struct result){ .reason = REASON_UNAVAILABLE, .away = true, .why = "no connection" };
    return VERDICT_RETRY;
}

static int setup(void **state)
{
    many_setup(state);
    down = false;
    refuses = -1;
    sink.verdict = weather;
    config.retry = (struct durations){ five, 5 };
    config.circuit = (struct circuit_config){ .failures = 10, .probe = { 30000 } };
    return 0;
}

/* Turns for so long, in steps. */
static void for_a_while(int64_t ms, int64_t step)
{
    for (int64_t i = 0; i < ms; i += step) {
        turn(2);
        clock_fake_advance(step);
    }
    turn(3);
}

static size_t letters(void)
{
    struct record *all[256];
    size_t n = flow_read(&flow, "aq.dead-letter", all, 256);
    for (size_t i = 0; i < n; i++)
        record_free(all[i]);
    return n;
}

/* The schedule of an event takes 12 minutes: without a circuit all of these would be dead letters. */
TEST(an_outage_of_six_hours_costs_no_event_its_life)
{
    down = true;
    store_many(0, 100);
    start();
    for_a_while(6 * HOUR, 10000);
    assert_int_equal(letters(), 0);
    assert_in_range(sink.count, 10 + 700, 100 + 730); /* what was sent before it opened, and a probe each half minute */
    assert_int_equal(count("circuit_open", NULL), 1);
    assert_int_equal(count("delivered_total", NULL), 0);
    reconciles();
    down = false;
    for_a_while(HOUR, 10000);
    assert_int_equal(count("delivered_total", NULL), 100);
    assert_int_equal(count("circuit_open", NULL), 0);
    assert_int_equal(letters(), 0);
    reconciles();
}

/* But where the owner says how long an event is worth sending, it ends there. */
TEST(an_outage_ends_what_has_a_time_of_its_own)
{
    down = true;
    config.retry_for = (struct duration){ HOUR };
    store_many(0, 12);
    start();
    for_a_while(HOUR / 2, 10000);
    assert_int_equal(letters(), 0);
    for_a_while(HOUR, 10000);
    assert_int_equal(letters(), 12);
    assert_int_equal(count("circuit_open", NULL), 1);
    reconciles();
}

TEST(with_order_by_key_the_order_outlives_an_outage)
{
    down = true;
    config.order = ORDER_KEY;
    config.circuit.failures = 2;
    store_many(0, 50);
    start();
    for_a_while(6 * HOUR, 15000);
    down = false;
    size_t before = sink.count;
    for_a_while(HOUR, 5000);
    assert_int_equal(count("delivered_total", NULL), 50);
    char name[8];
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof name, "n%d", i);
        assert_string_equal(sink.sent[before + (size_t)i].id, name);
    }
    assert_int_equal(letters(), 0);
}

TEST(nothing_but_probes_while_it_is_open)
{
    sink.verdict = nobody_answers;
    store_many(0, 30);
    start();
    turn(1);
    assert_int_equal(sink.count, 30);
    for (size_t i = 0; i < 30; i++)
        script_answer(&sink, i, VERDICT_RETRY);
    for_a_while(29000, 1000);
    assert_int_equal(sink.count, 30);
    for_a_while(2000, 1000);
    assert_int_equal(sink.count, 31); /* one that is not answered yet */
    for_a_while(HOUR, 10000);
    assert_int_equal(sink.count, 31);
    script_answer(&sink, 30, VERDICT_DELIVERED);
    turn(3);
    assert_int_equal(sink.count, 30 + 1 + 2);
    for (size_t i = 31; i < 60; i++) {
        script_answer(&sink, i, VERDICT_DELIVERED);
        turn(3);
    }
    assert_int_equal(sink.count, 30 + 1 + 29); /* all that are due */
}

/* Answers all that is in flight; what is then? */
static size_t answered(enum verdict v)
{
    for (size_t i = 0; i < sink.count; i++)
        if (sink.sent[i].open)
            script_answer(&sink, i, v);
    turn(3);
    return sink.flying;
}

/* The receiver was away shortly: it is not to get at once all that has come meanwhile. */
TEST(after_an_outage_what_is_in_flight_grows_from_little)
{
    sink.verdict = nobody_answers;
    config.window = 1000;
    store_many(0, 500);
    start();
    turn(5);
    assert_int_equal(sink.flying, 500);
    assert_int_equal(answered(VERDICT_RETRY), 0);
    clock_fake_advance(30000);
    turn(3);
    assert_int_equal(sink.flying, 1); /* the probe */
    for (size_t room = 2; room <= 128; room *= 2)
        assert_int_equal(answered(VERDICT_DELIVERED), room);
    assert_int_equal(answered(VERDICT_RETRY), 0); /* too much: the circuit is open again */
    clock_fake_advance(30000);
    turn(3);
    assert_int_equal(sink.flying, 1);
    assert_int_equal(answered(VERDICT_DELIVERED), 2);
    for_a_while(60000, 1000);
    while (sink.flying)
        answered(VERDICT_DELIVERED);
    assert_int_equal(count("delivered_total", NULL), 500);
    reconciles();
}

TEST(of_an_endpoint_that_is_down_one_event_stays_for_the_probe)
{
    for (size_t i = 0; i < 2; i++) {
        endpoint(i, NULL);
        endpoints[i].retry = config.retry;
        endpoints[i].circuit = (struct circuit_config){ .failures = 1, .probe = { 30000 } };
    }
    down = true;
    hanging = "e1";
    store_many(0, 20);
    start();
    for_a_while(HOUR, 1000);
    assert_in_range(count("pending", "e1"), 1, 20);
    size_t sent = times_sent("e1", NULL);
    for_a_while(HOUR, 1000);
    assert_in_range(times_sent("e1", NULL) - sent, 115, 121);
    assert_int_equal(letters(), 0);
    down = false;
    for_a_while(700000, 1000);
    assert_int_equal(count("delivered_total", "e1"), 20);
    reconciles();
}

/* With an order, the others' position does not wait for it either: a crash repeats little. */
TEST(an_ordered_endpoint_that_is_down_keeps_little_in_memory)
{
    config.window = 1024;
    for (size_t i = 0; i < 2; i++) {
        endpoint(i, NULL);
        endpoints[i].retry = config.retry;
    }
    endpoints[1].order = ORDER_KEY;
    endpoints[1].circuit = (struct circuit_config){ .failures = 1, .probe = { 30000 } };
    down = true;
    hanging = "e1";
    keys = 10;
    store_keys(0, 300);
    start();
    for_a_while(120000, 100);
    assert_int_equal(times_sent("e0", NULL), 300);
    size_t sent = times_sent("e1", NULL);
    for_a_while(HOUR, 1000);
    assert_in_range(times_sent("e1", NULL) - sent, 115, 121);
    crash();
    sink.verdict = weather;
    for_a_while(60000, 100);
    assert_in_range(times_sent("e0", NULL), 0, 16);
    down = false;
    for_a_while(60000, 100);
    assert_int_equal(count("delivered_total", "e1"), 300);
    assert_int_equal(flow_count("aqueduct_sink_blocked_keys", id), 0);
    assert_int_equal(letters(), 0);
    reconciles();
}

/* The receiver is well, and refuses one event: that one ends by its own schedule, whatever the circuit does. */
TEST(an_event_that_is_at_fault_itself_ends_by_its_schedule)
{
    refuses = 0;
    config.circuit.failures = 1;
    store("n0", "t.happened");
    start();
    for_a_while(HOUR, 5000);
    assert_int_equal(letters(), 1);
    assert_int_equal(sink.count, 6);
    assert_int_equal(count("circuit_open", NULL), 1);
    store("n1", "t.happened");
    for_a_while(60000, 5000);
    assert_int_equal(count("delivered_total", NULL), 1);
    assert_int_equal(count("circuit_open", NULL), 0);
}

TEST(probes_take_turns_so_that_one_event_blocks_no_other)
{
    refuses = 0;
    config.circuit.failures = 2;
    store_many(0, 2);
    sink.verdict = nobody_answers;
    start();
    turn(1);
    script_answer(&sink, 0, VERDICT_RETRY);
    script_answer(&sink, 1, VERDICT_RETRY);
    sink.verdict = weather;
    for_a_while(70000, 1000);
    assert_int_equal(count("delivered_total", NULL), 1);
    assert_int_equal(count("circuit_open", NULL), 0);
}

TEST(a_sink_reads_no_further_than_its_window_meanwhile)
{
    down = true;
    config.window = 16;
    store_many(0, 100);
    start();
    for_a_while(HOUR, 10000);
    assert_true(count("pending", NULL) <= 16);
    assert_true(count("consumed_total", NULL) <= 40);
    assert_true(count("moved_total", NULL) <= 20);
    crash();
    sink.verdict = weather;
    down = false;
    for_a_while(HOUR, 10000);
    assert_int_equal(letters(), 0);
    assert_true(sink.count >= 84);
    reconciles();
}

TEST(one_endpoint_that_is_down_holds_up_no_other)
{
    config.window = 64;
    for (size_t i = 0; i < 3; i++) {
        endpoint(i, NULL);
        endpoints[i].retry = config.retry;
        endpoints[i].circuit = config.circuit;
    }
    down = true;
    hanging = "e1";
    store_many(0, 500);
    start();
    for_a_while(60000, 1000);
    assert_int_equal(times_sent("e0", NULL), 500);
    assert_int_equal(times_sent("e2", NULL), 500);
    assert_int_equal(count("circuit_open", "e1"), 1);
    assert_int_equal(count("circuit_open", "e0"), 0);
    assert_true(count("pending", "e1") <= 64);
    for_a_while(6 * HOUR, 10000);
    assert_int_equal(letters(), 0);
    assert_true(times_sent("e1", NULL) <= 64 + 730);
    /* each is looked at every ten minutes, no sooner */
    assert_true(count("moved_total", "e1") < 500 * (5 + 6 * 6 + 2));
    down = false;
    for_a_while(1200000, 1000);
    assert_int_equal(count("delivered_total", "e1"), 500);
    assert_int_equal(times_sent("e0", NULL), 500);
    assert_int_equal(letters(), 0);
    reconciles();
}

TEST(the_delivery_log_tells_what_did_not_count)
{
    struct record *all[8];
    flow_topic(&flow, "aq.attempts", 1);
    config.attempts = ATTEMPTS_FAILURES;
    config.circuit.failures = 1;
    down = true;
    store("n0", "t.happened");
    start();
    for_a_while(70000, 1000);
    stop();
    assert_int_equal(flow_read(&flow, "aq.attempts", all, 8), 3);
    static const char *const ends[] = { "\"attempt\":1,",     "\"end\":\"retry\"", "\"attempt\":2,",
                                        "\"end\":\"spared\"", "\"attempt\":2,",    "\"end\":\"spared\"" };
    for (size_t i = 0; i < 6; i++)
        if (!memmem(all[i / 2]->value.at, all[i / 2]->value.n, ends[i], strlen(ends[i])))
            fail_msg("%.*s lacks %s", STR_ARG(all[i / 2]->value), ends[i]);
    assert_false(str_eq(record_header(all[1], "ce_id"), record_header(all[2], "ce_id")));
    for (size_t i = 0; i < 3; i++)
        record_free(all[i]);
}

static json_t *circuit_of(size_t number)
{
    json_t *j = many_account(&(struct account_question){ 0 });
    json_t *c = json_incref(json_object_get(json_array_get(json_object_get(j, "destinations"), number), "circuit"));
    json_decref(j);
    return c;
}

static void expect_circuit(const char *state, const char *since, const char *next)
{
    json_t *j = circuit_of(0);
    assert_string_equal(json_string_value(json_object_get(j, "state")), state);
    const char *s = json_string_value(json_object_get(j, "since")),
               *n = json_string_value(json_object_get(j, "next_probe"));
    assert_string_equal(s ? s : "null", since);
    assert_string_equal(n ? n : "null", next);
    json_decref(j);
}

TEST(the_account_shows_it)
{
    config.circuit.failures = 1;
    down = true;
    start();
    expect_circuit("closed", "null", "null");
    store("a", "t.happened");
    turn(2);
    expect_circuit("open", "2023-11-14T22:13:20.000Z", "2023-11-14T22:13:50.000Z");
    sink.verdict = nobody_answers;
    for_a_while(31000, 1000);
    expect_circuit("half_open", "2023-11-14T22:13:20.000Z", "null");
    end();
    config.circuit = (struct circuit_config){ .probe = { 1000 } };
    script_sink_init(&sink, id);
    start();
    json_t *none = circuit_of(0);
    assert_true(json_is_null(none));
    json_decref(none);
}

#define CIRCUIT(f) cmocka_unit_test_setup_teardown(f, setup, many_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CIRCUIT(an_outage_of_six_hours_costs_no_event_its_life),
        CIRCUIT(an_outage_ends_what_has_a_time_of_its_own),
        CIRCUIT(with_order_by_key_the_order_outlives_an_outage),
        CIRCUIT(nothing_but_probes_while_it_is_open),
        CIRCUIT(after_an_outage_what_is_in_flight_grows_from_little),
        CIRCUIT(of_an_endpoint_that_is_down_one_event_stays_for_the_probe),
        CIRCUIT(an_ordered_endpoint_that_is_down_keeps_little_in_memory),
        CIRCUIT(an_event_that_is_at_fault_itself_ends_by_its_schedule),
        CIRCUIT(probes_take_turns_so_that_one_event_blocks_no_other),
        CIRCUIT(a_sink_reads_no_further_than_its_window_meanwhile),
        CIRCUIT(one_endpoint_that_is_down_holds_up_no_other),
        CIRCUIT(the_delivery_log_tells_what_did_not_count),
        CIRCUIT(the_account_shows_it),
    };
    return cmocka_run_group_tests_name("circuit", tests, NULL, NULL);
}
