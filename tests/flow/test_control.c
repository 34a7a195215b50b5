/* SPDX-License-Identifier: MIT */
/* A sink is changed while it runs: its endpoints come, change, pause and go, and nothing is lost, sent twice, or sent to one
 * that is gone. */
#include "bridge/delivery/control.h"
#include <stdatomic.h>
#include <stdio.h>
#include "bridge/event/trail.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/thread.h"
#include "tests/support/event.h"
#include "tests/support/many.h"

enum what { ADD = 1, CHANGE, REMOVE, PAUSE, RESUME };

struct asked { /* by a thread of its own, as the control plane does */
    enum what what;
    const char *name;
    struct endpoint_order order;
    int limit_ms;
    bool ok;
    struct err e;
    atomic_bool done;
};

static atomic_int released;
static struct err said; /* why the last one was refused */

static void on_release(void *ctx)
{
    (void)ctx;
    atomic_fetch_add(&released, 1);
}

static void *ask_on_thread(void *arg)
{
    struct asked *a = arg;
    struct timespec until = thread_until((struct duration){ a->limit_ms });
    struct str name = a->name ? str_of(a->name) : STR_ABSENT;
    switch (a->what) {
    case ADD: a->ok = delivery_add_endpoint(d, &a->order, until, &a->e); break;
    case CHANGE: a->ok = delivery_change_endpoint(d, &a->order, until, &a->e); break;
    case REMOVE: a->ok = delivery_remove_endpoint(d, name, until, &a->e); break;
    case PAUSE: a->ok = delivery_pause(d, name, until, &a->e); break;
    case RESUME: a->ok = delivery_resume(d, name, until, &a->e); break;
    }
    atomic_store(&a->done, true);
    return NULL;
}

static bool ask(struct asked *a)
{
    pthread_t thread;
    a->limit_ms = 600000;
    assert_int_equal(pthread_create(&thread, NULL, ask_on_thread, a), 0);
    while (!atomic_load(&a->done))
        turn(1);
    pthread_join(thread, NULL);
    said = a->e;
    return a->ok;
}

static bool by_name(enum what what, const char *name)
{
    struct asked a = { .what = what, .name = name };
    return ask(&a);
}

static bool with(enum what what, const struct endpoint_config *c)
{
    struct asked a = { .what = what, .order = { .config = c, .release = on_release } };
    return ask(&a);
}

/* The i-th endpoint, which the sink does not have yet. */
static struct endpoint_config *other(size_t i, const char *filter)
{
    size_t before = config.endpoint_count;
    endpoint(i, filter);
    config.endpoint_count = before;
    return &endpoints[i];
}

static int setup(void **state)
{
    many_setup(state);
    atomic_store(&released, 0);
    return 0;
}

static size_t letters_of(const char *endpoint_name)
{
    static struct record *all[2048];
    size_t n = flow_read(&flow, "aq.dead-letter", all, 2048), found = 0;
    for (size_t i = 0; i < n; i++) {
        bool its = str_eq(record_header(all[i], TRAIL_ENDPOINT), str_of(endpoint_name));
        found += its && str_eq(record_header(all[i], TRAIL_CLASS), STR("orphaned"));
        record_free(all[i]);
    }
    return found;
}

static void sums(const char *name)
{
    assert_int_equal(count("consumed_total", name), count("delivered_total", name) + count("dead_total", name)
                                                        + count("filtered_total", name) + count("moved_total", name)
                                                        + count("released_total", name) + count("pending", name));
}

TEST(an_added_one_gets_what_comes_from_then_on)
{
    endpoint(0, NULL);
    start();
    store("a", "t.happened");
    turn(3);
    assert_true(with(ADD, other(1, "{\"exact\":{\"type\":\"t.happened\"}}")));
    store("b", "t.happened");
    store("c", "u.happened");
    turn(3);
    assert_int_equal(times_sent("e1", NULL), 1);
    assert_int_equal(times_sent("e1", "b"), 1);
    assert_int_equal(times_sent("e0", NULL), 3);
    assert_int_equal(sink.endpoints_open, 2);
    sums("e1");
    end();
    assert_int_equal(released, 1);
    filter_free(endpoints[1].filter);
}

TEST(what_cannot_be_is_said_and_changes_nothing)
{
    char text[160];
    endpoint(0, NULL);
    start();
    assert_false(with(ADD, other(0, NULL)));
    snprintf(text, sizeof text, "sinks.%s: endpoints.e0: the sink has an endpoint of that name", id);
    assert_string_equal(said.text, text);
    script_refused = "e1";
    assert_false(with(ADD, other(1, NULL)));
    snprintf(text, sizeof text, "sinks.%s: endpoints.e1: refused by the test", id);
    assert_string_equal(said.text, text);
    assert_false(with(CHANGE, &endpoints[1]));
    snprintf(text, sizeof text, "sinks.%s: endpoints.e1: the sink has no such endpoint", id);
    assert_string_equal(said.text, text);
    assert_false(by_name(REMOVE, "e1"));
    assert_false(by_name(PAUSE, "e1"));
    assert_false(by_name(REMOVE, NULL));
    script_refused = NULL;
    endpoints[1].order = ORDER_KEY;
    assert_false(with(ADD, &endpoints[1]));
    assert_non_null(strstr(said.text, "order: key needs the blocked logs"));
    struct endpoint_config ordered = endpoints[0];
    ordered.order = ORDER_KEY;
    assert_false(with(CHANGE, &ordered));
    assert_non_null(strstr(said.text, "order cannot change"));
    assert_int_equal(released, 0); /* they are still the caller's */
    assert_int_equal(sink.endpoints_open, 1);
    store("a", "t.happened");
    turn(3);
    assert_int_equal(sink.count, 1);
}

TEST(without_a_turn_nothing_is_changed)
{
    endpoint(0, NULL);
    start();
    struct asked a = { .what = REMOVE, .name = "e0" };
    ask_on_thread(&a); /* no limit at all */
    assert_false(a.ok);
    assert_non_null(strstr(a.e.text, "no time for it; nothing was changed"));
    store("a", "t.happened");
    turn(3);
    assert_int_equal(times_sent("e0", "a"), 1);
}

/* What is in flight ends where it was sent; what waits goes to the new address. */
TEST(a_changed_one_goes_on_as_it_is_now)
{
    struct endpoint there = { .name = "e0" };
    endpoint(0, NULL);
    endpoint(1, NULL);
    hanging = "e0";
    sink.verdict = one_fails;
    start();
    store("a", "t.happened");
    turn(2);
    sink.verdict = one_hangs;
    store("b", "t.happened");
    turn(2);
    struct endpoint_config changed = endpoints[0];
    changed.endpoint = &there;
    changed.filter = filter_of("{\"exact\":{\"type\":\"wanted\"}}");
    assert_true(with(CHANGE, &changed));
    assert_int_equal(sink.endpoints_open, 3);
    sink.verdict = NULL;
    clock_fake_advance(1000);
    store("c", "unwanted");
    store("d", "wanted");
    turn(3);
    assert_int_equal(times_sent("e0", "a"), 2);
    assert_int_equal(times_sent("e0", "c"), 0);
    assert_int_equal(times_sent("e0", "d"), 1);
    for (size_t i = 0; i < sink.count; i++)
        if (sink.sent[i].open)
            script_answer(&sink, i, VERDICT_DELIVERED);
    turn(3);
    assert_int_equal(sink.endpoints_open, 2);
    assert_int_equal(count("delivered_total", "e0"), 3);
    assert_int_equal(released, 0);
    changed.endpoint = &receivers[0];
    assert_true(with(CHANGE, &changed)); /* and back, with nothing in flight */
    turn(1);
    assert_int_equal(released, 1);
    reconciles();
    end();
    assert_int_equal(released, 2);
    filter_free(changed.filter);
}

TEST(a_raised_rate_counts_at_once)
{
    endpoint(0, NULL);
    endpoints[0].rate = 0.001;
    start();
    store_many(0, 20);
    turn(3);
    assert_int_equal(times_sent("e0", NULL), 1);
    struct endpoint_config changed = endpoints[0];
    changed.rate = 1000;
    assert_true(with(CHANGE, &changed));
    clock_fake_advance(1);
    turn(2);
    assert_int_equal(times_sent("e0", NULL), 20);
    reconciles();
}

TEST(paused_and_resumed)
{
    config.window = 32;
    endpoint(0, NULL);
    endpoint(1, NULL);
    start();
    assert_true(by_name(PAUSE, "e0"));
    assert_true(by_name(PAUSE, "e0"));
    store_many(0, 200);
    turn(100);
    assert_int_equal(times_sent("e0", NULL), 0);
    assert_int_equal(times_sent("e1", NULL), 200);
    assert_int_equal(count("paused", "e0"), 1);
    assert_true(by_name(RESUME, "e0"));
    turn(3);
    assert_true(times_sent("e0", NULL) > 0);
    for (int i = 0; i < 200; i++) {
        turn(2);
        clock_fake_advance(500);
    }
    assert_int_equal(times_sent("e0", NULL), 200);
    assert_int_equal(times_sent("e1", NULL), 200);
    assert_int_equal(count("paused", "e0"), 0);
    assert_true(by_name(PAUSE, NULL));
    store_many(200, 210);
    turn(5);
    assert_int_equal(sink.count, 400);
    assert_true(by_name(RESUME, NULL));
    turn(5);
    assert_int_equal(sink.count, 420);
    reconciles();
}

static enum verdict four_fates(const struct sent *sent, struct result *r)
{
    if (strcmp(sent->endpoint, "e0") != 0)
        return VERDICT_DELIVERED;
    *r = (struct result){ .status = 503, .why = "503" };
    if (sent->id[0] == 'l')
        r->retry_after.ms = 3600000;
    return sent->id[0] == 'h' ? 0 : VERDICT_RETRY;
}

static size_t destinations(void)
{
    json_t *j = many_account(&(struct account_question){ 0 });
    size_t n = json_array_size(json_object_get(j, "destinations"));
    json_decref(j);
    return n;
}

/* e0 has four events: h1 and h2 in flight, m waits in memory, l on the broker. */
static void four_events(void)
{
    endpoint(0, NULL);
    endpoint(1, NULL);
    sink.verdict = four_fates;
    start();
    store("h1", "t.happened");
    store("h2", "t.happened");
    store("m", "t.happened");
    store("l", "t.happened");
    turn(4);
    assert_int_equal(count("moved_total", "e0"), 1);
    assert_true(by_name(REMOVE, "e0"));
    turn(3);
}

TEST(of_a_removed_one_each_event_comes_to_an_end)
{
    four_events();
    assert_int_equal(letters_of("e0"), 1);    /* m */
    assert_int_equal(sink.endpoints_open, 2); /* as long as something is in flight */
    script_answer(&sink, 0, VERDICT_DELIVERED);
    for (size_t i = 1; i < sink.count; i++)
        if (sink.sent[i].open)
            script_answer(&sink, i, VERDICT_RETRY);
    turn(3);
    assert_int_equal(letters_of("e0"), 2); /* and h2 */
    assert_int_equal(sink.endpoints_open, 1);
    assert_int_equal(count("delivered_total", "e0"), 1);
    assert_int_equal(count("pending", "e0"), 0);
    size_t sent = times_sent("e0", NULL);
    store("n", "t.happened");
    for (int i = 0; i < 62; i++) {
        clock_fake_advance(60000);
        turn(4);
    }
    assert_int_equal(letters_of("e0"), 3); /* and l, when it was due */
    assert_int_equal(times_sent("e0", NULL), sent);
    assert_int_equal(times_sent("e1", "n"), 1);
    sums("e0");
    sums("e1");
    assert_int_equal(destinations(), 2);
}

TEST(the_account_shows_a_removed_one_while_something_of_it_is_left)
{
    four_events();
    json_t *j = many_account(&(struct account_question){ 0 });
    const json_t *left = json_array_get(json_object_get(j, "destinations"), 2);
    assert_string_equal(json_string_value(json_object_get(left, "endpoint")), "e0");
    assert_true(json_is_true(json_object_get(left, "removed")));
    assert_int_equal(json_integer_value(json_object_get(left, "in_flight")), 2);
    json_decref(j);
}

TEST(blocked_keys_of_a_removed_one_are_freed_at_once)
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
    assert_int_equal(flow_count("aqueduct_sink_blocked", id), 20);
    assert_true(by_name(REMOVE, "e0"));
    turn(60);
    assert_int_equal(letters_of("e0"), 20);
    assert_int_equal(flow_count("aqueduct_sink_blocked", id), 0);
    assert_int_equal(flow_count("aqueduct_sink_blocked_keys", id), 0);
    assert_int_equal(times_sent("e0", NULL), 1);
    clock_fake_advance(600000); /* the timer of its key means nothing any more */
    store_many(20, 22);
    turn(10);
    assert_int_equal(times_sent("e1", NULL), 22);
    assert_int_equal(destinations(), 2);
    sums("e0");
    crash();
    turn(10);
    assert_int_equal(times_sent("e1", NULL), 0);
}

TEST(one_that_comes_back_gets_what_still_waits_for_it)
{
    endpoint(0, NULL);
    endpoint(1, NULL);
    sink.verdict = four_fates;
    start();
    store("l", "t.happened");
    turn(4);
    assert_true(by_name(REMOVE, "e0"));
    turn(2);
    sink.verdict = NULL;
    assert_true(with(ADD, &endpoints[0]));
    for (int i = 0; i < 62; i++) {
        clock_fake_advance(60000);
        turn(4);
    }
    assert_int_equal(times_sent("e0", "l"), 2);
    assert_int_equal(times_sent("e1", "l"), 1);
    assert_int_equal(letters_of("e0"), 0);
    sums("e0");
}

TEST(the_last_one_may_go_and_another_come)
{
    endpoint(0, NULL);
    start();
    assert_true(by_name(REMOVE, "e0"));
    store("a", "t.happened");
    turn(3);
    assert_int_equal(sink.count, 0);
    assert_int_equal(count("filtered_total", NULL), 1);
    assert_true(with(ADD, other(1, NULL)));
    store("b", "t.happened");
    turn(3);
    assert_int_equal(sink.count, 1);
    assert_int_equal(times_sent("e1", "b"), 1);
}

TEST(a_sink_that_is_its_only_receiver_can_be_paused)
{
    start();
    assert_false(with(ADD, other(0, NULL)));
    assert_non_null(strstr(said.text, "it is its only receiver itself"));
    assert_true(by_name(PAUSE, NULL));
    store("a", "t.happened");
    turn(3);
    assert_int_equal(sink.count, 0);
    assert_true(by_name(RESUME, NULL));
    turn(3);
    assert_int_equal(sink.count, 1);
}

/* ---- at random ---- */

enum { NAMES = 6 };
static bool there[NAMES];
static uint32_t dice = 7;

static uint32_t roll(uint32_t sides)
{
    dice = dice * 1664525 + 1013904223;
    return (dice >> 8) % sides;
}

static enum verdict as_it_falls(const struct sent *sent, struct result *r)
{
    size_t i = (size_t)(sent->endpoint[1] - '0');
    assert_true(there[i]); /* nothing is sent to one that is gone */
    uint32_t fate = roll(10);
    *r = (struct result){ .status = 503, .why = "503", .away = fate == 0 };
    r->retry_after.ms = fate == 1 ? 120000 : 0;
    return fate < 4 ? VERDICT_RETRY : fate == 4 ? 0 : VERDICT_DELIVERED;
}

static void answer_some(void)
{
    for (size_t i = 0; i < sink.count; i++)
        if (sink.sent[i].open && roll(3) == 0)
            script_answer(&sink, i, roll(2) ? VERDICT_DELIVERED : VERDICT_RETRY);
    if (sink.count < SENT_MOST / 2 || sink.flying > 0)
        return;
    sink.count = 0;
}

static void change_something(void)
{
    size_t i = roll(NAMES);
    const char *name = endpoint_names[i];
    switch (roll(5)) {
    case 0:
        if (there[i])
            return;
        there[i] = true;
        assert_true(with(ADD, &endpoints[i]));
        return;
    case 1: assert_int_equal(with(CHANGE, &endpoints[i]), there[i]); return;
    case 2:
        assert_int_equal(by_name(REMOVE, name), there[i]);
        there[i] = false;
        return;
    case 3: assert_int_equal(by_name(PAUSE, name), there[i]); return;
    default: assert_int_equal(by_name(RESUME, name), there[i]); return;
    }
}

/* Endpoints come and go at random while events fail, wait and step aside; in the end every event has come to its own. */
TEST(whatever_is_changed_the_counters_reconcile_and_nothing_is_left)
{
    config.window = 24;
    for (size_t i = 0; i < NAMES; i++) {
        endpoint(i, NULL);
        there[i] = true;
        endpoints[i].window = 4;
        endpoints[i].order = i % 2 ? ORDER_KEY : ORDER_NONE;
        endpoints[i].rate = i % 3 == 0 ? 50 : 0;
        endpoints[i].circuit = (struct circuit_config){ .failures = i < 3 ? 5 : 0, .probe = { 1000 } };
    }
    sink.verdict = as_it_falls;
    start();
    int stored = 0;
    for (int round = 0; round < 250; round++) {
        store_many(stored, stored + 2);
        stored += 2;
        change_something();
        answer_some();
        turn((int)roll(4));
        clock_fake_advance(roll(3000));
    }
    sink.verdict = NULL;
    for (size_t i = 0; i < NAMES; i++)
        if (there[i])
            assert_true(by_name(RESUME, endpoint_names[i]));
    for (int i = 0; i < 1500; i++) {
        for (size_t k = 0; k < sink.count; k++)
            if (sink.sent[k].open)
                script_answer(&sink, k, VERDICT_DELIVERED);
        if (sink.flying == 0)
            sink.count = 0;
        turn(3);
        clock_fake_advance(1000);
    }
    for (size_t i = 0; i < NAMES; i++) {
        sums(endpoint_names[i]);
        assert_int_equal(count("pending", endpoint_names[i]), 0);
    }
    assert_int_equal(flow_count("aqueduct_sink_blocked", id), 0);
    assert_int_equal(flow_count("aqueduct_sink_blocked_keys", id), 0);
    assert_int_equal(flow_count("aqueduct_sink_waiting", id), 0);
}

/* The rows of that endpoint in the account, and what they say is in flight. */
static size_t rows(const char *name, json_int_t *flying)
{
    json_t *account = many_account(&(struct account_question){ 0 }), *row;
    size_t i, found = 0;
    *flying = 0;
    json_array_foreach(json_object_get(account, "destinations"), i, row)
    {
        const char *own = json_string_value(json_object_get(row, "endpoint"));
        if (!own || strcmp(own, name) != 0)
            continue;
        found++;
        *flying += json_integer_value(json_object_get(row, "in_flight"));
        assert_int_equal(json_integer_value(json_object_get(row, "pending")), count("pending", name));
    }
    json_decref(account);
    return found;
}

TEST(an_endpoint_has_one_row_of_counters_though_what_is_left_of_earlier_ones_of_its_name_is_in_flight)
{
    json_int_t flying;
    endpoint(0, NULL);
    endpoint(1, NULL);
    hanging = "e0";
    sink.verdict = one_hangs;
    start();
    for (int i = 0; i < 3; i++) {
        store_many(5 * i, 5 * i + 5);
        turn(3);
        assert_int_equal(rows("e0", &flying), 1);
        assert_int_equal(flying, 5 * (i + 1));
        assert_true(by_name(REMOVE, "e0"));
        turn(2);
        assert_int_equal(rows("e0", &flying), 1);
        assert_int_equal(flying, 5 * (i + 1));
        if (i < 2)
            assert_true(with(ADD, &endpoints[0]));
    }
    sums("e0");
    for (size_t i = 0; i < sink.count; i++)
        if (sink.sent[i].open)
            script_answer(&sink, i, VERDICT_DELIVERED);
    turn(3);
    assert_int_equal(rows("e0", &flying), 0);
    reconciles();
}

#define CONTROL(f) cmocka_unit_test_setup_teardown(f, setup, many_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONTROL(an_endpoint_has_one_row_of_counters_though_what_is_left_of_earlier_ones_of_its_name_is_in_flight),
        CONTROL(an_added_one_gets_what_comes_from_then_on),
        CONTROL(what_cannot_be_is_said_and_changes_nothing),
        CONTROL(without_a_turn_nothing_is_changed),
        CONTROL(a_changed_one_goes_on_as_it_is_now),
        CONTROL(a_raised_rate_counts_at_once),
        CONTROL(paused_and_resumed),
        CONTROL(of_a_removed_one_each_event_comes_to_an_end),
        CONTROL(the_account_shows_a_removed_one_while_something_of_it_is_left),
        CONTROL(blocked_keys_of_a_removed_one_are_freed_at_once),
        CONTROL(one_that_comes_back_gets_what_still_waits_for_it),
        CONTROL(the_last_one_may_go_and_another_come),
        CONTROL(a_sink_that_is_its_only_receiver_can_be_paused),
        CONTROL(whatever_is_changed_the_counters_reconcile_and_nothing_is_left),
    };
    return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
