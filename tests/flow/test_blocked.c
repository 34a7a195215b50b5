/* SPDX-License-Identifier: MIT */
/* `order: key`: keys that step aside, on the in-memory broker with a fake clock. Events are named "<key><number>". */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/delivery/delivery.h"
#include "bridge/event/trail.h"
#include "bridge/lib/clock.h"
#include "tests/support/flow.h"
#include "tests/support/script.h"

enum { MINUTE = 60000, HOUR = 60 * MINUTE };

static struct flow flow;
static struct script_sink sink;
static struct sink_config config;
static struct delivery *d;
static struct duration waits[8];
static char *topic_names[] = { "in" };
static char id[32], log_topic[64];
static bool failing[128], with_log; /* by the key's letter */

static bool make_log(void *ctx, const char *topic, const char *like, const char *group, struct err *e)
{
    assert_string_equal(topic, log_topic);
    assert_string_equal(like, "in");
    return !with_log || flow_make_topic(ctx, topic, group, e);
}

static enum verdict by_key(const struct sent *sent, struct result *r)
{
    if (!failing[sent->key[0] & 127])
        return VERDICT_DELIVERED;
    *r = (struct result){ .status = 503, .reason = REASON_REFUSED, .why = "503 Service Unavailable" };
    return VERDICT_RETRY;
}

static void start(void)
{
    struct err e = { "" };
    script_sink_init(&sink, id);
    sink.verdict = by_key;
    config.sink = &sink.base;
    assert_true(delivery_topics(&config, &flow.names, flow_make_topic, &flow, &e));
    assert_true(blocked_topics(&config, &flow.names, make_log, &flow, &e));
    d = delivery_new(&config, &flow.names, &flow.broker, &e);
    if (!d)
        fail_msg("%s", e.text);
}

static void restart(void)
{
    delivery_free(d);
    start();
}

static void crash(void)
{
    flow.crashed = true;
    delivery_free(d);
    flow.crashed = false;
    start();
}

static void retry_list(size_t n, const int64_t *ms)
{
    for (size_t i = 0; i < n; i++)
        waits[i].ms = ms[i];
    config.retry = (struct durations){ waits, n };
}

static int setup(void **state)
{
    static int number;
    (void)state;
    clock_fake(1000000, 1700000000000);
    flow_open(&flow);
    flow_topic(&flow, "in", 1);
    flow_topic(&flow, "aq.dead-letter", 1);
    snprintf(id, sizeof id, "b%d", number++);
    snprintf(log_topic, sizeof log_topic, "aq.blocked.%s.in", id);
    sink.base.ops = NULL;
    memset(failing, 0, sizeof failing);
    with_log = true;
    config = (struct sink_config){ .topics = { topic_names, 1 },
                                   .retry_memory = { 30000 },
                                   .window = 64,
                                   .order = ORDER_KEY,
                                   .start = START_EARLIEST,
                                   .attempts = ATTEMPTS_FAILURES };
    retry_list(3, (const int64_t[]){ MINUTE, 5 * MINUTE, HOUR });
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    delivery_free(d);
    d = NULL;
    flow_close(&flow);
    return 0;
}

/* Turns until nothing happens any more. */
static void settle(void)
{
    for (int quiet = 0; quiet < 200; quiet++) {
        size_t before = sink.count;
        int64_t moved = flow_count("aqueduct_sink_moved_total", id), dead = flow_count("aqueduct_sink_dead_total", id);
        assert_true(delivery_step(d, (struct duration){ 0 }));
        broker_flush(flow.inner, (struct duration){ 10000 });
        clock_fake_advance(1);
        if (sink.count != before || moved != flow_count("aqueduct_sink_moved_total", id)
            || dead != flow_count("aqueduct_sink_dead_total", id))
            quiet = -1;
    }
}

static void wait_ms(int64_t ms)
{
    clock_fake_advance(ms);
    settle();
}

static void put(char key, int from, int count)
{
    for (int i = 0; i < count; i++) {
        char name[16], text[2] = { key, '\0' };
        snprintf(name, sizeof name, "%c%d", key, from + i);
        flow_event(&flow, "in", name, text);
    }
}

/* How many of this key were delivered, by what was sent so far; they must be first, first + 1 ... in order. */
static int delivered(char key, int first)
{
    int n = 0;
    for (size_t i = 0; i < sink.count; i++)
        if (sink.sent[i].id[0] == key && (int)strtol(sink.sent[i].id + 1, NULL, 10) == first + n)
            n++;
        else if (sink.sent[i].id[0] == key) /* an attempt before that one failed */
            assert_in_range(strtol(sink.sent[i].id + 1, NULL, 10), first, first + n);
    return n;
}

static int64_t blocked_keys(void)
{
    return flow_count("aqueduct_sink_blocked_keys", id);
}

static int64_t blocked(void)
{
    return flow_count("aqueduct_sink_blocked", id);
}

static void reconciles(void)
{
    static const char *const parts[] = { "delivered", "dead", "filtered", "moved", "released" };
    int64_t sum = flow_count("aqueduct_sink_pending", id);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char name[64];
        snprintf(name, sizeof name, "aqueduct_sink_%s_total", parts[i]);
        sum += flow_count(name, id);
    }
    assert_int_equal(flow_count("aqueduct_sink_consumed_total", id), sum);
}

TEST(other_keys_do_not_notice)
{
    failing['a'] = true;
    for (int i = 0; i < 50; i++) {
        put('a', i * 6, 6);
        put((char)('b' + i % 20), i / 20, 1);
    }
    start();
    settle();
    size_t others = 0;
    for (size_t i = 0; i < sink.count; i++)
        others += sink.sent[i].id[0] != 'a';
    assert_int_equal(others, 50);
    assert_int_equal(sink.count, 51); /* the first of a once, the others of a not at all */
    assert_int_equal(blocked_keys(), 1);
    assert_int_equal(blocked(), 300);
    reconciles();

    failing['a'] = false;
    wait_ms(MINUTE);
    assert_int_equal(sink.count, 51 + 300);
    sink.count = 0; /* once more, from the second attempt of the first on */
    assert_int_equal(blocked_keys(), 0);
    assert_int_equal(blocked(), 0);
    put('a', 300, 1); /* it goes straight on */
    settle();
    assert_int_equal(sink.count, 1);
    assert_string_equal(sink.sent[0].id, "a300");
    reconciles();
    restart();
    settle();
    assert_int_equal(sink.count, 0);
    reconciles();
}

TEST(a_key_keeps_its_order)
{
    failing['a'] = true;
    put('a', 0, 100);
    start();
    settle();
    failing['a'] = false;
    sink.count = 0;
    put('a', 100, 20); /* comes while the others still wait */
    wait_ms(MINUTE);
    put('a', 120, 20);
    settle();
    assert_int_equal(delivered('a', 0), 140);
    assert_int_equal(sink.count, 140);
    assert_int_equal(sink.sent[0].attempt, 2);
    assert_int_equal(sink.sent[1].attempt, 1);
    reconciles();
}

TEST(each_key_goes_from_its_own_head)
{
    retry_list(2, (const int64_t[]){ MINUTE, HOUR });
    failing['a'] = failing['c'] = true;
    for (int i = 0; i < 100; i++) { /* c stands behind a, event by event */
        put('a', i, 1);
        put('c', i, 1);
    }
    start();
    settle();
    failing['c'] = false;
    sink.count = 0;
    wait_ms(MINUTE); /* a fails once more and waits for an hour */
    assert_int_equal(delivered('c', 0), 100);
    assert_int_equal(blocked_keys(), 1);
    assert_int_equal(blocked(), 100);
    reconciles();
    failing['a'] = false;
    sink.count = 0;
    wait_ms(HOUR);
    assert_int_equal(delivered('a', 0), 100);
    assert_int_equal(sink.sent[0].attempt, 3);
    assert_int_equal(blocked_keys(), 0);
    reconciles();
}

/* Restarts more often than the schedule is long: it ends all the same. */
static void play_attempts(void (*again)(void))
{
    struct record *found[4];
    failing['a'] = true;
    put('a', 0, 2);
    start();
    settle();
    for (int attempt = 2; attempt <= 4; attempt++) {
        again();
        settle();
        assert_int_equal(sink.count, 0);
        clock_fake_advance(waits[attempt - 2].ms - 1000);
        again();
        settle();
        assert_int_equal(sink.count, 0); /* never early */
        wait_ms(1000);
        assert_in_range(sink.count, 1, 2);
        assert_string_equal(sink.sent[0].id, "a0");
        assert_int_equal(sink.sent[0].attempt, attempt);
    }
    settle();
    assert_int_equal(flow_read(&flow, "aq.dead-letter", found, 4), 1);
    flow_expect_header(found[0], "ce_id", "a0");
    flow_expect_header(found[0], TRAIL_ATTEMPTS, "4");
    flow_expect_header(found[0], TRAIL_STATUS, "503");
    flow_expect_header(found[0], TRAIL_TOPIC, "in");
    record_free(found[0]);
    assert_string_equal(sink.sent[sink.count - 1].id, "a1"); /* now the next one, from its first attempt on */
    assert_int_equal(sink.sent[sink.count - 1].attempt, 1);
    assert_int_equal(blocked(), 1);
    reconciles();
}

TEST(attempts_outlive_restarts)
{
    play_attempts(restart);
}

TEST(attempts_outlive_crashes)
{
    play_attempts(crash);
}

TEST(a_new_event_does_not_pass_older_ones_after_a_restart)
{
    failing['a'] = true;
    put('a', 0, 50);
    put('b', 0, 1);
    start();
    settle();
    delivery_free(d);
    d = NULL;
    failing['a'] = false;
    put('a', 50, 5);
    put('b', 1, 1);
    start();
    settle();
    assert_int_equal(delivered('b', 1), 1);
    assert_int_equal(sink.count, 1);
    wait_ms(MINUTE);
    assert_int_equal(delivered('a', 0), 55);
    assert_int_equal(sink.count, 56);
    reconciles();
}

TEST(a_log_much_longer_than_the_window_is_drained)
{
    config.window = 4;
    failing['a'] = failing['b'] = failing['c'] = true;
    for (int i = 0; i < 100; i++)
        for (char key = 'a'; key <= 'c'; key++)
            put(key, i, 1);
    start();
    settle();
    assert_int_equal(blocked(), 300);
    assert_int_equal(blocked_keys(), 3);
    restart();
    memset(failing, 0, sizeof failing);
    wait_ms(MINUTE);
    for (char key = 'a'; key <= 'c'; key++)
        assert_int_equal(delivered(key, 0), 100);
    assert_int_equal(sink.count, 300);
    assert_int_equal(blocked(), 0);
    reconciles();
}

TEST(a_crash_in_the_middle_of_it_loses_nothing)
{
    bool seen[100] = { false };
    failing['a'] = true;
    put('a', 0, 100);
    start();
    for (int i = 0; i < 9; i++) { /* some stepped aside, some did not */
        delivery_step(d, (struct duration){ 0 });
        broker_flush(flow.inner, (struct duration){ 10000 });
    }
    crash();
    settle();
    failing['a'] = false;
    clock_fake_advance(MINUTE);
    for (int i = 0; i < 20; i++) {
        delivery_step(d, (struct duration){ 0 });
        broker_flush(flow.inner, (struct duration){ 10000 });
    }
    for (size_t i = 0; i < sink.count; i++)
        seen[strtol(sink.sent[i].id + 1, NULL, 10)] = true;
    crash();
    settle();
    for (size_t i = 0; i < sink.count; i++)
        seen[strtol(sink.sent[i].id + 1, NULL, 10)] = true;
    for (int i = 0; i < 100; i++)
        assert_true(seen[i]);
    assert_int_equal(blocked(), 0);
    reconciles();
}

TEST(nothing_is_sent_before_the_log_is_read)
{
    put('b', 0, 3);
    start();
    flow.weather = REFUSE; /* the mark cannot be stored */
    for (int i = 0; i < 10; i++)
        delivery_step(d, (struct duration){ 0 });
    assert_int_equal(sink.count, 0);
    flow.weather = CLEAR;
    wait_ms(1000);
    assert_int_equal(delivered('b', 0), 3);
    reconciles();
}

/* A mark is on its way when the sink ends: it is waited for, as a dead letter is. */
TEST(a_stop_waits_for_the_mark)
{
    put('b', 0, 1);
    start();
    flow.weather = HOLD;
    for (int i = 0; i < 3; i++) {
        assert_true(delivery_step(d, (struct duration){ 0 }));
        broker_flush(flow.inner, (struct duration){ 10000 });
    }
    delivery_stop(d);
    assert_true(delivery_step(d, (struct duration){ 0 }));
    flow_release(&flow);
    while (delivery_step(d, (struct duration){ 0 }))
        continue;
    size_t before = sink.count;
    restart();
    settle();
    assert_int_equal(before + sink.count, 1);
    reconciles();
}

/* Its topic has no log: what has to wait long waits among what other sinks have there. */
TEST(redriven_events_that_wait_long_hold_up_nobody)
{
    char topic[64];
    flow_topic(&flow, "aq.waiting.1h", 1);
    snprintf(topic, sizeof topic, "aq.redrive.%s", id);
    retry_list(1, (const int64_t[]){ HOUR });
    failing['a'] = true;
    start();
    for (int i = 0; i < 100; i++) {
        char name[16], key[8];
        snprintf(name, sizeof name, "a%d", i);
        snprintf(key, sizeof key, "a%d", i % 40);
        flow_event(&flow, topic, name, key);
    }
    settle();
    assert_int_equal(sink.count, 100);
    put('b', 0, 100);
    settle();
    assert_int_equal(delivered('b', 0), 100);
    assert_int_equal(flow_count("aqueduct_sink_waiting", id), 100);
    reconciles();
}

TEST(without_a_log_keys_wait_in_memory)
{
    with_log = false;
    failing['a'] = true;
    put('a', 0, 3);
    put('b', 0, 1);
    start();
    settle();
    assert_int_equal(sink.count, 2);
    failing['a'] = false;
    wait_ms(MINUTE);
    assert_int_equal(sink.count, 5);
    assert_int_equal(flow_count("aqueduct_sink_moved_total", id), 0);
    reconciles();
}

/* The topic got more partitions than its log has. */
TEST(a_log_grows_with_its_topic)
{
    flow_topic(&flow, "in", 4);
    start();
    assert_int_equal(broker_partitions(flow.inner, log_topic), 1);
    for (char key = 'a'; key <= 'h'; key++) {
        failing[(int)key] = key < 'e';
        put(key, 0, 3);
    }
    settle();
    assert_int_equal(broker_partitions(flow.inner, log_topic), 4);
    assert_int_equal(blocked_keys(), 4);
    assert_int_equal(blocked(), 12);
    memset(failing, 0, sizeof failing);
    wait_ms(MINUTE);
    for (char key = 'a'; key <= 'h'; key++)
        assert_int_equal(delivered(key, 0), 3);
    assert_int_equal(blocked(), 0);
    reconciles();
}

TEST(keyless_events_are_not_ordered_and_wait_with_all_others)
{
    failing[0] = true;
    flow_event(&flow, "in", "n1", NULL);
    flow_event(&flow, "in", "n2", NULL);
    start();
    settle();
    assert_int_equal(sink.count, 2);
    assert_int_equal(blocked(), 0);
    assert_int_equal(flow_count("aqueduct_sink_moved_total", id), 2);
    reconciles();
}

/* The next start is without an order, which the configuration of the last one had. */
static void without_order(void)
{
    delivery_free(d);
    d = NULL;
    config.order = ORDER_NONE;
}

static char former[32], *formers[] = { former };

/* The next start is under another name. */
static void renamed(void)
{
    delivery_free(d);
    d = NULL;
    memcpy(former, id, sizeof former);
    snprintf(id, sizeof id, "%.20sx", former);
    snprintf(log_topic, sizeof log_topic, "aq.blocked.%s.in", id);
    config.formerly = (struct strings){ formers, 1 };
}

TEST(a_sink_without_an_order_any_more_empties_its_log)
{
    failing['a'] = true;
    put('a', 0, 10);
    start();
    settle();
    without_order();
    put('b', 0, 1);
    failing['a'] = false;
    start();
    settle();
    assert_int_equal(sink.count, 10); /* a0 goes to those that wait, as it is not due */
    for (size_t i = 0; i < sink.count; i++)
        assert_string_not_equal(sink.sent[i].id, "a0");
    reconciles();
    restart();
    settle();
    assert_int_equal(sink.count, 0);

    config.order = ORDER_KEY; /* and has nothing left when the order is back */
    restart();
    wait_ms(HOUR);
    assert_int_equal(sink.count, 0);
    assert_int_equal(blocked(), 0);
    reconciles();
}

TEST(what_is_due_in_such_a_log_goes_on_with_its_attempts)
{
    failing['a'] = true;
    put('a', 0, 10);
    start();
    settle();
    without_order();
    failing['a'] = false;
    clock_fake_advance(MINUTE);
    start();
    settle();
    assert_int_equal(delivered('a', 0), 10);
    assert_int_equal(sink.sent[0].attempt, 2);
    assert_int_equal(sink.sent[1].attempt, 1);
    reconciles();
}

TEST(a_renamed_sink_takes_over_the_log_in_its_order)
{
    failing['a'] = true;
    put('a', 0, 10);
    start();
    settle();
    renamed();
    start();
    put('b', 0, 1);
    settle();
    assert_int_equal(delivered('b', 0), 1);
    assert_int_equal(sink.count, 1); /* never early */
    assert_int_equal(blocked(), 10);
    put('a', 10, 2);
    wait_ms(MINUTE);
    assert_int_equal(sink.count, 2);
    assert_int_equal(sink.sent[1].attempt, 2);
    restart();
    failing['a'] = false;
    wait_ms(5 * MINUTE);
    assert_int_equal(delivered('a', 0), 12);
    assert_int_equal(sink.count, 12);
    assert_int_equal(sink.sent[0].attempt, 3);
    assert_int_equal(blocked(), 0);
    reconciles();
}

/* However long the old log is: nothing of the topic is sent before it is read. */
TEST(a_new_event_does_not_pass_older_ones_in_a_log_of_an_earlier_name)
{
    failing['a'] = true;
    put('a', 0, 300);
    start();
    settle();
    renamed();
    config.window = 4;
    put('a', 300, 20);
    put('b', 0, 20);
    failing['a'] = false;
    clock_fake_advance(MINUTE);
    start();
    settle();
    assert_int_equal(delivered('a', 0), 320);
    assert_int_equal(delivered('b', 0), 20);
    assert_int_equal(sink.count, 340);
    assert_int_equal(blocked(), 0);
    reconciles();
}

static enum verdict a_hangs(const struct sent *sent, struct result *r)
{
    return sent->key[0] == 'a' ? 0 : by_key(sent, r);
}

TEST(a_log_of_an_earlier_name_is_taken_over_whatever_its_receiver_does)
{
    failing['a'] = true;
    put('a', 0, 300);
    start();
    settle();
    renamed();
    config.window = 4;
    put('b', 0, 20);
    clock_fake_advance(MINUTE);
    start();
    sink.verdict = a_hangs;
    settle();
    assert_int_equal(delivered('b', 0), 20);
    assert_int_equal(sink.count, 21);
    assert_int_equal(blocked(), 300);
    reconciles();
}

TEST(the_topic_waits_until_the_end_of_such_a_log_is_marked)
{
    char old_log[64];
    failing['a'] = true;
    put('a', 0, 10);
    start();
    settle();
    snprintf(old_log, sizeof old_log, "%s", log_topic);
    renamed();
    put('a', 10, 1);
    put('b', 0, 1);
    failing['a'] = false;
    clock_fake_advance(MINUTE);
    flow.refuses = old_log;
    start();
    settle();
    assert_int_equal(delivered('a', 0), 10);
    assert_int_equal(sink.count, 10);
    restart(); /* meanwhile */
    settle();
    assert_int_equal(sink.count, 0);
    flow.refuses = NULL;
    wait_ms(1000);
    assert_int_equal(delivered('a', 10), 1);
    assert_int_equal(delivered('b', 0), 1);
    reconciles();
}

TEST(a_renamed_sink_without_an_order_empties_the_log)
{
    failing['a'] = true;
    put('a', 0, 10);
    start();
    settle();
    renamed();
    config.order = ORDER_NONE;
    failing['a'] = false;
    clock_fake_advance(MINUTE);
    start();
    settle();
    assert_int_equal(delivered('a', 0), 10);
    reconciles();
}

TEST(a_crash_while_the_log_is_taken_over_loses_nothing)
{
    bool seen[100] = { false };
    failing['a'] = true;
    put('a', 0, 100);
    start();
    settle();
    renamed();
    failing['a'] = false;
    clock_fake_advance(MINUTE);
    start();
    for (int i = 0; i < 12; i++) {
        delivery_step(d, (struct duration){ 0 });
        broker_flush(flow.inner, (struct duration){ 10000 });
        for (size_t k = 0; k < sink.count; k++)
            seen[strtol(sink.sent[k].id + 1, NULL, 10)] = true;
    }
    crash();
    settle();
    for (size_t i = 0; i < sink.count; i++)
        seen[strtol(sink.sent[i].id + 1, NULL, 10)] = true;
    for (int i = 0; i < 100; i++)
        assert_true(seen[i]);
    assert_int_equal(blocked(), 0);
    reconciles();
}

static void put_into_log(const char *of, const char *event)
{
    const struct header headers[] = { { STR("ce_specversion"), STR("1.0") },
                                      { STR("ce_id"), str_of(event) },
                                      { STR("ce_source"), STR("/t") },
                                      { STR("ce_type"), STR("t") },
                                      { STR(TRAIL_SINK), str_of(of) } };
    flow_raw(&flow, &(struct record){ .topic = str_of(log_topic),
                                      .key = STR("t"),
                                      .value = STR("{}"),
                                      .headers = headers,
                                      .header_count = sizeof headers / sizeof *headers });
}

/* The log of "x" and its topic "y.in" is named as that of "x.y" and its topic "in". */
TEST(what_another_sink_put_into_a_log_of_that_name_is_not_ours)
{
    config.order = ORDER_NONE;
    flow_topic(&flow, log_topic, 1);
    put_into_log("another", "t0");
    put_into_log(id, "t1");
    start();
    settle();
    assert_int_equal(delivered('t', 1), 1);
    assert_int_equal(sink.count, 1);
    reconciles();
}

#define flow_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        flow_test(other_keys_do_not_notice),
        flow_test(a_key_keeps_its_order),
        flow_test(each_key_goes_from_its_own_head),
        flow_test(attempts_outlive_restarts),
        flow_test(attempts_outlive_crashes),
        flow_test(a_new_event_does_not_pass_older_ones_after_a_restart),
        flow_test(a_log_much_longer_than_the_window_is_drained),
        flow_test(a_crash_in_the_middle_of_it_loses_nothing),
        flow_test(nothing_is_sent_before_the_log_is_read),
        flow_test(a_stop_waits_for_the_mark),
        flow_test(redriven_events_that_wait_long_hold_up_nobody),
        flow_test(without_a_log_keys_wait_in_memory),
        flow_test(a_log_grows_with_its_topic),
        flow_test(keyless_events_are_not_ordered_and_wait_with_all_others),
        flow_test(a_sink_without_an_order_any_more_empties_its_log),
        flow_test(what_is_due_in_such_a_log_goes_on_with_its_attempts),
        flow_test(a_renamed_sink_takes_over_the_log_in_its_order),
        flow_test(a_new_event_does_not_pass_older_ones_in_a_log_of_an_earlier_name),
        flow_test(a_log_of_an_earlier_name_is_taken_over_whatever_its_receiver_does),
        flow_test(the_topic_waits_until_the_end_of_such_a_log_is_marked),
        flow_test(a_renamed_sink_without_an_order_empties_the_log),
        flow_test(a_crash_while_the_log_is_taken_over_loses_nothing),
        flow_test(what_another_sink_put_into_a_log_of_that_name_is_not_ours),
    };
    return cmocka_run_group_tests_name("blocked", tests, NULL, NULL);
}
