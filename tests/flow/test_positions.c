/* SPDX-License-Identifier: MIT */
/* What comes again when one event waits, many others are delivered, and the daemon ends: on the in-memory broker with a
 * fake clock. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/delivery/delivery.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/mem.h"
#include "tests/support/flow.h"

enum { OTHERS = 30000, BATCH = 1000, ID = 16, WINDOW = 256 };

/* A sink that delivers all but the event "0", and counts how often each came. */
struct counting_sink {
    struct sink base;
    unsigned times[OTHERS + 1];
    size_t total;
    struct result answers[WINDOW];
    size_t answer_count;
};

static struct flow flow;
static struct counting_sink sink;
static struct sink_config config;
static struct delivery *d;
static char *topic_names[] = { "in" };
static struct duration waits[] = { { 3600000 } };

static bool counting_open(struct sink *s, struct err *e)
{
    (void)s;
    (void)e;
    return true;
}

static void counting_send(struct sink *base, const struct message *m)
{
    struct counting_sink *s = (struct counting_sink *)base;
    uint64_t number;
    assert_true(str_to_u64(m->event->id, &number) && number <= OTHERS);
    s->times[number]++;
    s->total++;
    s->answers[s->answer_count++] = (struct result){ .tag = m->tag,
                                                     .verdict = number ? VERDICT_DELIVERED : VERDICT_RETRY,
                                                     .status = 503 };
}

static size_t counting_work(struct sink *base, int wake_fd, struct duration wait, struct result *out, size_t room)
{
    struct counting_sink *s = (struct counting_sink *)base;
    (void)wake_fd;
    (void)wait;
    size_t n = s->answer_count;
    assert_true(n <= room);
    memcpy(out, s->answers, n * sizeof *out);
    s->answer_count = 0;
    return n;
}

static void counting_close(struct sink *s)
{
    (void)s;
}

static const struct sink_ops counting_ops = { .type = "counting",
                                              .doc = "test",
                                              .size = sizeof(struct counting_sink),
                                              .open = counting_open,
                                              .send = counting_send,
                                              .work = counting_work,
                                              .close = counting_close };

static void keep_outcome(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    (void)tag;
    (void)why;
    *(enum outcome *)ctx = o;
}

/* The events with the ids from, from + 1 ... in one publication. */
static void put_events(int from, int count)
{
    static char ids[BATCH][ID];
    static struct header headers[BATCH][4];
    static struct record records[BATCH];
    enum outcome outcome = 0;
    for (int i = 0; i < count; i++) {
        snprintf(ids[i], ID, "%d", from + i);
        headers[i][0] = (struct header){ STR("ce_specversion"), STR("1.0") };
        headers[i][1] = (struct header){ STR("ce_id"), str_of(ids[i]) };
        headers[i][2] = (struct header){ STR("ce_source"), STR("/s") };
        headers[i][3] = (struct header){ STR("ce_type"), STR("t.happened") };
        records[i] = (struct record){ .topic = STR("in"), .headers = headers[i], .header_count = 4 };
    }
    broker_publish(flow.inner,
                   &(struct publication){
                       .records = records, .record_count = (size_t)count, .done = keep_outcome, .ctx = &outcome });
    broker_flush(flow.inner, (struct duration){ 10000 });
    assert_int_equal(outcome, OUTCOME_STORED);
}

static void start(void)
{
    struct err e = { "" };
    memset(&sink, 0, sizeof sink);
    sink.base = (struct sink){ .ops = &counting_ops, .id = "positions" };
    config.sink = &sink.base;
    d = delivery_new(&config, &flow.names, &flow.broker, &e);
    if (!d)
        fail_msg("%s", e.text);
}

static void end(void)
{
    delivery_free(d);
    d = NULL;
}

/* Runs until that many were sent, 10 ms a turn, and a little longer. */
static void run_until(size_t total)
{
    for (int i = 0; sink.total < total || i % 8; i++) {
        assert_in_range(i, 0, OTHERS);
        assert_true(delivery_step(d, (struct duration){ 0 }));
        clock_fake_advance(10);
    }
}

static int setup(void **state)
{
    (void)state;
    clock_fake(1000000, 1700000000000);
    flow_open(&flow);
    flow_topic(&flow, "in", 1);
    flow_topic(&flow, "aq.dead-letter", 1);
    flow_topic(&flow, "aq.redrive.positions", 1);
    config = (struct sink_config){ .topics = { topic_names, 1 },
                                   .retry = { waits, 1 },
                                   .retry_memory = { 7200000 },
                                   .window = WINDOW,
                                   .order = ORDER_NONE,
                                   .start = START_EARLIEST };
    put_events(0, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    end();
    flow_close(&flow);
    return 0;
}

TEST(after_a_stop_nothing_finished_comes_again)
{
    for (int i = 0; i < OTHERS; i += BATCH)
        put_events(1 + i, BATCH);
    start();
    run_until(1 + OTHERS);
    end();
    start();
    run_until(1);
    assert_int_equal(sink.total, 1);
    assert_int_equal(sink.times[0], 1);
    end(); /* what was restored is stored again, however little happened in between */
    start();
    run_until(1);
    assert_int_equal(sink.total, 1);
}

TEST(after_a_crash_only_what_was_finished_since_the_last_commit_comes_again)
{
    for (int i = 0; i < OTHERS; i += BATCH)
        put_events(1 + i, BATCH);
    start();
    run_until(1 + OTHERS);
    for (int i = 0; i < 50; i++) { /* quiet: all of that is committed */
        assert_true(delivery_step(d, (struct duration){ 0 }));
        clock_fake_advance(10);
    }
    assert_true(delivery_step(d, (struct duration){ 0 }));
    flow.crashed = true;
    end();
    flow.crashed = false;
    start();
    run_until(1);
    assert_int_equal(sink.total, 1);
    assert_int_equal(sink.times[0], 1);
}

/* Not an interval, of which more passes the faster the receiver is: a window in flight, and what a turn or two finish. */
TEST(a_crash_in_full_flow_repeats_a_few_hundred)
{
    enum { TURNS = 3 };
    for (int i = 0; i < OTHERS; i += BATCH)
        put_events(1 + i, BATCH);
    start();
    run_until(OTHERS / 2);
    size_t sent = sink.total;
    assert_in_range(sent, OTHERS / 2, OTHERS - 1);
    flow.crashed = true;
    end();
    flow.crashed = false;
    start();
    while (sink.times[OTHERS] == 0)
        run_until(sink.total + 1);
    assert_in_range(sent + sink.total, OTHERS + 2, OTHERS + 2 + TURNS * WINDOW);
    for (size_t i = 0; i <= OTHERS; i++) /* nothing is missing, and nothing comes twice to one daemon */
        assert_in_range(sink.times[i], i == 0 || i >= sent ? 1 : 0, 1);
}

#define flow_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        flow_test(after_a_stop_nothing_finished_comes_again),
        flow_test(after_a_crash_only_what_was_finished_since_the_last_commit_comes_again),
        flow_test(a_crash_in_full_flow_repeats_a_few_hundred),
    };
    return cmocka_run_group_tests_name("positions", tests, NULL, NULL);
}
