/* SPDX-License-Identifier: MIT */
/* The life of a record at a sink, played on the in-memory broker with a fake clock. */
#include "tests/support/event.h"
#include "tests/support/flow.h"
#include "tests/support/script.h"
#include "tests/support/stderr.h"
#include <stdio.h>
#include <stdlib.h>
#include "bridge/delivery/delivery.h"
#include "bridge/delivery/ladder.h"
#include "bridge/delivery/waiter.h"
#include "bridge/lib/clock.h"
#include "bridge/event/trail.h"

static struct flow flow;
static struct script_sink sink;
static struct sink_config config;
static struct delivery *d;
static struct waiter *waiter;
static struct duration waits[8];
static char *topic_names[] = { "in" };
static char id[32];
static struct record *found[5], *letters[5];

static void start(void)
{
    struct err e = { "" };
    config.sink = &sink.base;
    assert_true(delivery_topics(&config, &flow.names, flow_make_topic, &flow, &e));
    assert_true(ladder_topics(&flow.names, flow_make_topic, &flow, &e));
    d = delivery_new(&config, &flow.names, &flow.broker, &e);
    if (!d)
        fail_msg("%s", e.text);
    waiter = waiter_new(&flow.names, &flow.broker);
    if (delivery_waits(&config))
        waiter_serve(waiter, &config, d);
    if (!waiter_open(waiter, &e))
        fail_msg("%s", e.text);
}

/* In the supervisor's order: the sink is stopped and closed, then the waiter hears of it and ends. */
static void end(void)
{
    if (!waiter)
        return;
    waiter_stop(waiter);
    if (flow.weather == CLEAR)
        while (waiter_step(waiter, (struct duration){ 0 }))
            broker_flush(flow.inner, (struct duration){ 10000 });
    waiter_close(waiter);
    delivery_free(d);
    waiter_free(waiter);
    waiter = NULL;
    d = NULL;
}

/* Ends the delivery as a stop does and begins another one of the same group. */
static void restart(void)
{
    end();
    script_sink_init(&sink, id);
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
    static int number; /* counters live as long as the process, so each test has its own sink name */
    (void)state;
    clock_fake(1000000, 1700000000000);
    flow_open(&flow);
    flow_topic(&flow, "in", 1);
    flow_topic(&flow, "aq.dead-letter", 1);
    snprintf(id, sizeof id, "s%d", number++);
    sink.base.ops = NULL;
    script_sink_init(&sink, id);
    config = (struct sink_config){ .topics = { topic_names, 1 },
                                   .retry_memory = { 30000 },
                                   .window = 256,
                                   .order = ORDER_NONE,
                                   .start = START_EARLIEST };
    retry_list(2, (const int64_t[]){ 1000, 5000 });
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    end();
    flow_close(&flow);
    return 0;
}

static void turn(int times)
{
    for (int i = 0; i < times; i++) {
        assert_true(waiter_step(waiter, (struct duration){ 0 }));
        assert_true(delivery_step(d, (struct duration){ 0 }));
        broker_flush(flow.inner, (struct duration){ 10000 });
    }
}

static int64_t count(const char *what)
{
    char name[64];
    snprintf(name, sizeof name, "aqueduct_sink_%s_total", what);
    return flow_count(name, id);
}

static void reconciles(void)
{
    int64_t pending = flow_count("aqueduct_sink_pending", id);
    assert_int_equal(count("consumed"), count("delivered") + count("dead") + count("filtered") + count("moved")
                                            + count("released") + pending);
}

static enum verdict always_503(const struct sent *sent, struct result *r)
{
    (void)sent;
    *r = (struct result){ .status = 503, .reason = REASON_REFUSED, .why = "503 Service Unavailable" };
    return VERDICT_RETRY;
}

static enum verdict silent(const struct sent *sent, struct result *r)
{
    (void)sent;
    (void)r;
    return 0;
}

static enum verdict rejected(const struct sent *sent, struct result *r)
{
    (void)sent;
    *r = (struct result){ .status = 410, .reason = REASON_REFUSED, .why = "410 Gone" };
    return VERDICT_REJECT;
}

static enum verdict patient_at_first(const struct sent *sent, struct result *r)
{
    if (sent->attempt > 1)
        return VERDICT_DELIVERED;
    *r = (struct result){ .status = 429, .retry_after = { 20000 }, .why = "429" };
    return VERDICT_RETRY;
}

TEST(delivers_once_and_goes_on_after_a_restart)
{
    flow_event(&flow, "in", "a", "k");
    flow_event(&flow, "in", "b", "k");
    start();
    turn(3);
    assert_int_equal(sink.count, 2);
    assert_string_equal(sink.sent[0].id, "a");
    assert_string_equal(sink.sent[1].id, "b");
    assert_int_equal(sink.sent[0].attempt, 1);
    flow_event(&flow, "in", "c", "k");
    restart();
    turn(3);
    assert_int_equal(sink.count, 1);
    assert_string_equal(sink.sent[0].id, "c");
    reconciles();
}

TEST(retries_by_the_schedule_then_makes_a_dead_letter)
{
    sink.verdict = always_503;
    flow_event(&flow, "in", "a", "k1");
    start();
    turn(2);
    assert_int_equal(sink.count, 1);
    clock_fake_advance(999);
    turn(2);
    assert_int_equal(sink.count, 1);
    clock_fake_advance(1);
    turn(2);
    assert_int_equal(sink.count, 2);
    assert_int_equal(sink.sent[1].attempt, 2);
    clock_fake_advance(5000);
    turn(3);
    assert_int_equal(sink.count, 3);

    assert_int_equal(flow_read(&flow, "aq.dead-letter", found, 2), 1);
    flow_expect_header(found[0], TRAIL_SINK, id);
    flow_expect_header(found[0], TRAIL_ATTEMPTS, "3");
    flow_expect_header(found[0], TRAIL_FIRST, "2023-11-14T22:13:20.000Z");
    flow_expect_header(found[0], TRAIL_LAST, "2023-11-14T22:13:26.000Z");
    flow_expect_header(found[0], TRAIL_STATUS, "503");
    flow_expect_header(found[0], TRAIL_CLASS, "refused");
    flow_expect_header(found[0], TRAIL_REASON, "503 Service Unavailable");
    flow_expect_header(found[0], TRAIL_TOPIC, "in");
    flow_expect_header(found[0], TRAIL_OFFSET, "0");
    flow_expect_header(found[0], "ce_id", "a");
    assert_true(str_eq(found[0]->key, STR("k1")));
    assert_true(str_eq(found[0]->value, STR("{\"n\":1}")));
    record_free(found[0]);
    assert_int_equal(count("dead"), 1);
    assert_int_equal(count("retries"), 2); /* the third attempt was the last */
    reconciles();
    restart();
    turn(3);
    assert_int_equal(sink.count, 0);
}

TEST(without_a_schedule_nothing_counts_as_a_retry)
{
    sink.verdict = always_503;
    retry_list(0, NULL);
    for (int i = 0; i < 5; i++)
        flow_event(&flow, "in", (const char *const[]){ "a", "b", "c", "d", "e" }[i], NULL);
    start();
    turn(3);
    assert_int_equal(count("attempts"), 5);
    assert_int_equal(count("dead"), 5);
    assert_int_equal(count("retries"), 0);
    reconciles();
}

TEST(a_rejected_event_is_dead_at_once)
{
    sink.verdict = rejected;
    flow_event(&flow, "in", "a", NULL);
    start();
    turn(3);
    assert_int_equal(flow_read(&flow, "aq.dead-letter", found, 2), 1);
    flow_expect_header(found[0], TRAIL_ATTEMPTS, "1");
    assert_null(found[0]->key.at);
    record_free(found[0]);
    reconciles();
}

TEST(a_dead_letter_that_cannot_be_stored_is_never_dropped)
{
    sink.verdict = rejected;
    flow_event(&flow, "in", "a", NULL);
    start();
    flow.weather = REFUSE;
    stderr_catch();
    turn(4);
    const char *said = stderr_caught();
    assert_non_null(strstr(said, "msg=\"cannot store a dead letter or what is to wait; trying until it is stored\""));
    assert_non_null(strstr(said, " event=a "));
    assert_int_equal(flow_read(&flow, "aq.dead-letter", found, 2), 0);
    assert_int_equal(count("dead"), 0);
    assert_int_equal(flow_count("aqueduct_sink_unstored", id), 1);
    reconciles();
    clock_fake_advance(1000);
    turn(2);
    assert_int_equal(flow_read(&flow, "aq.dead-letter", found, 2), 0);
    flow.weather = CLEAR;
    clock_fake_advance(1000);
    turn(3);
    assert_int_equal(flow_read(&flow, "aq.dead-letter", found, 2), 1);
    record_free(found[0]);
    assert_int_equal(count("dead"), 1);
    assert_int_equal(flow_count("aqueduct_sink_unstored", id), 0);
    reconciles();
}

static enum reason rejected_because;

static enum verdict rejected_for(const struct sent *sent, struct result *r)
{
    (void)sent;
    *r = (struct result){ .reason = rejected_because, .why = "because" };
    return VERDICT_REJECT;
}

/* Of each class that a connector can say, with the record as it stood in its topic. */
TEST(a_dead_letter_says_why_and_holds_the_record_untouched)
{
    static const char *const classes[] = { [REASON_REFUSED] = "refused",
                                           [REASON_UNAVAILABLE] = "unavailable",
                                           [REASON_CONFIGURATION] = "configuration",
                                           [REASON_POISON] = "poison",
                                           [REASON_BLOCKED] = "blocked" };
    sink.verdict = rejected_for;
    start();
    for (enum reason because = REASON_REFUSED; because <= REASON_BLOCKED; because++) {
        rejected_because = because;
        flow_event(&flow, "in", classes[because], "the key");
        turn(3);
    }
    assert_int_equal(flow_read(&flow, "in", found, 5), 5);
    assert_int_equal(flow_read(&flow, "aq.dead-letter", letters, 5), 5);
    for (size_t i = 0; i < 5; i++) {
        flow_expect_header(letters[i], TRAIL_CLASS, classes[REASON_REFUSED + i]);
        flow_expect_header(letters[i], TRAIL_REASON, "because");
        flow_expect_header(letters[i], "ce_id", classes[REASON_REFUSED + i]);
        assert_true(str_eq(letters[i]->key, found[i]->key) && str_eq(letters[i]->value, found[i]->value));
        assert_int_equal(letters[i]->timestamp_ms, found[i]->timestamp_ms);
        for (size_t k = 0; k < found[i]->header_count; k++) /* in their order, before the trail */
            assert_true(str_eq(letters[i]->headers[k].name, found[i]->headers[k].name)
                        && str_eq(letters[i]->headers[k].value, found[i]->headers[k].value));
        record_free(letters[i]);
        record_free(found[i]);
    }
    reconciles();
}

TEST(a_dead_letter_that_is_too_large_goes_without_its_data)
{
    static const char
        text[] = "a text that is so long that with the trail it is larger than the limit, though not alone "
                 "......................................................................................"
                 "......................................";
    flow_store(&flow, "in", NULL,
               event_like((struct event){ .id = STR("big"), .datacontenttype = STR("text/plain"), .data = STR(text) }));
    flow.largest = 250;
    sink.verdict = rejected;
    start();
    turn(4);
    assert_int_equal(flow_read(&flow, "aq.dead-letter", found, 2), 1);
    flow_expect_header(found[0], "ce_id", "big");
    flow_expect_header(found[0], TRAIL_CLASS, "refused");
    flow_expect_header(found[0], TRAIL_TOPIC, "in");
    assert_null(found[0]->value.at);
    record_free(found[0]);
    assert_int_equal(count("dead"), 1);
    reconciles();
}

TEST(a_foreign_record_with_too_much_in_its_headers_holds_up_nobody)
{
    char much[400];
    memset(much, 'x', sizeof much);
    const struct header header = { STR("much"), { much, sizeof much } };
    flow_raw(&flow, &(struct record){ .topic = STR("in"),
                                      .partition = -1,
                                      .key = STR("k"),
                                      .value = STR("no event"),
                                      .headers = &header,
                                      .header_count = 1 });
    flow.largest = 350;
    start();
    turn(6);
    assert_int_equal(flow_read(&flow, "aq.dead-letter", found, 2), 1);
    flow_expect_header(found[0], TRAIL_CLASS, "poison");
    flow_expect_header(found[0], TRAIL_TOPIC, "in");
    flow_expect_header(found[0], TRAIL_OFFSET, "0");
    record_free(found[0]);
    assert_int_equal(count("dead"), 1);
    reconciles();
}

TEST(the_offset_waits_for_the_dead_letter)
{
    sink.verdict = rejected;
    flow_event(&flow, "in", "a", NULL);
    start();
    flow.weather = REFUSE;
    turn(4);
    restart(); /* nothing was stored, so it must come again */
    flow.weather = CLEAR;
    turn(3);
    assert_int_equal(sink.count, 1);
    assert_string_equal(sink.sent[0].id, "a");
}

TEST(a_long_wait_goes_through_a_waiting_topic)
{
    retry_list(2, (const int64_t[]){ 120000, 3600000 });
    sink.verdict = always_503;
    flow_event(&flow, "in", "a", "k");
    start();
    turn(4);
    assert_int_equal(sink.count, 1);
    assert_int_equal(count("moved"), 1);
    assert_int_equal(flow_read(&flow, "aq.waiting.2m", found, 2), 1);
    flow_expect_header(found[0], TRAIL_SINK, id);
    flow_expect_header(found[0], TRAIL_ATTEMPTS, "1");
    flow_expect_header(found[0], TRAIL_DUE, "1700000120000");
    flow_expect_header(found[0], TRAIL_UNTIL, "1700000120000");
    flow_expect_header(found[0], TRAIL_TOPIC, "in");
    record_free(found[0]);

    sink.verdict = NULL;
    flow_event(&flow, "in", "b", "k"); /* others go on meanwhile */
    turn(3);
    assert_int_equal(sink.count, 2);
    assert_string_equal(sink.sent[1].id, "b");

    restart(); /* a restart forgets nothing */
    sink.verdict = always_503;
    turn(4);
    assert_int_equal(sink.count, 0);
    clock_fake_advance(119999);
    turn(3);
    assert_int_equal(sink.count, 0);
    clock_fake_advance(1);
    turn(4);
    assert_int_equal(sink.count, 1);
    assert_string_equal(sink.sent[0].id, "a");
    assert_int_equal(sink.sent[0].attempt, 2);

    sink.verdict = NULL;
    clock_fake_advance(3600000);
    turn(6);
    assert_int_equal(sink.count, 2);
    assert_int_equal(sink.sent[1].attempt, 3);
    assert_int_equal(count("delivered"), 2);
    reconciles();
}

/* A record as the version before the waiting topics left it. */
static void old_retry(const char *wait, const char *event, const char *due)
{
    char topic[64];
    const struct header headers[] = {
        { STR("ce_specversion"), STR("1.0") }, { STR("ce_id"), str_of(event) },
        { STR("ce_source"), STR("/s") },       { STR("ce_type"), STR("t.happened") },
        { STR(TRAIL_TOPIC), STR("in") },       { STR(TRAIL_PARTITION), STR("0") },
        { STR(TRAIL_OFFSET), STR("7") },       { STR(TRAIL_TIMESTAMP), STR("1699999000000") },
        { STR(TRAIL_ATTEMPTS), STR("2") },     { STR(TRAIL_FIRST), STR("2023-11-14T22:00:00.000Z") },
        { STR(TRAIL_DUE), str_of(due) }
    };
    snprintf(topic, sizeof topic, "aq.retry.%s.%s", id, wait);
    flow_topic(&flow, topic, 1);
    flow_raw(&flow, &(struct record){ .topic = str_of(topic),
                                      .partition = -1,
                                      .key = STR("k"),
                                      .headers = headers,
                                      .header_count = sizeof headers / sizeof *headers });
}

TEST(retry_topics_of_an_earlier_version_are_emptied_and_no_longer_filled)
{
    char topic[64];
    retry_list(2, (const int64_t[]){ 120000, 3600000 });
    old_retry("2m", "due", "1699999999000");
    old_retry("1h", "later", "1700003600000");
    sink.verdict = always_503;
    start();
    turn(4);
    assert_int_equal(sink.count, 1);
    assert_string_equal(sink.sent[0].id, "due");
    assert_int_equal(sink.sent[0].attempt, 3);
    assert_int_equal(flow_read(&flow, "aq.dead-letter", found, 2), 1);
    flow_expect_header(found[0], TRAIL_FIRST, "2023-11-14T22:00:00.000Z");
    flow_expect_header(found[0], TRAIL_OFFSET, "7");
    record_free(found[0]);
    sink.verdict = NULL;
    restart();
    clock_fake_advance(3599999);
    turn(4);
    assert_int_equal(sink.count, 0);
    clock_fake_advance(1);
    turn(4);
    assert_int_equal(sink.count, 1);
    assert_string_equal(sink.sent[0].id, "later");
    assert_int_equal(sink.sent[0].attempt, 3);
    snprintf(topic, sizeof topic, "aq.retry.%s.1h", id);
    assert_int_equal(flow_read(&flow, topic, found, 4), 1);
    record_free(found[0]);
    reconciles();
}

TEST(what_waits_is_read_before_the_cluster_lists_its_topic)
{
    retry_list(1, (const int64_t[]){ 120000 });
    sink.verdict = always_503;
    flow_event(&flow, "in", "a", "k");
    flow.unlisted = true;
    start();
    turn(4);
    clock_fake_advance(120000);
    turn(4);
    assert_int_equal(sink.count, 2);
    reconciles();
}

TEST(a_due_retry_does_not_wait_for_one_that_is_not)
{
    retry_list(2, (const int64_t[]){ 60000, 120000 });
    config.window = 2;
    sink.verdict = always_503;
    for (int i = 0; i < 6; i++) /* six that wait, in a window of two */
        flow_event(&flow, "in", &"abcdef"[i], NULL);
    start();
    turn(20);
    assert_int_equal(sink.count, 6);
    sink.verdict = NULL;
    flow_event(&flow, "in", "fresh", NULL);
    turn(4);
    assert_int_equal(sink.count, 7);
    clock_fake_advance(59999);
    turn(4);
    assert_int_equal(sink.count, 7);
    for (int i = 0; i < 20; i++) {
        clock_fake_advance(100);
        turn(4);
    }
    assert_int_equal(sink.count, 13);
    reconciles();
}

TEST(retry_after_is_respected)
{
    sink.verdict = patient_at_first;
    flow_event(&flow, "in", "a", NULL);
    start();
    turn(2);
    clock_fake_advance(19999);
    turn(2);
    assert_int_equal(sink.count, 1);
    clock_fake_advance(1);
    turn(2);
    assert_int_equal(sink.count, 2);
}

/* Twenty that fail at the same moment do not come back at the same moment. */
TEST(a_wait_is_longer_by_a_random_part_and_never_shorter)
{
    char name[8];
    sink.verdict = always_503;
    config.retry_jitter = 50;
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "n%d", i);
        flow_event(&flow, "in", name, NULL);
    }
    start();
    turn(3);
    assert_int_equal(sink.count, 20);
    clock_fake_advance(999);
    turn(3);
    assert_int_equal(sink.count, 20);
    bool apart = false;
    for (int ms = 999; ms < 1500; ms += 3) {
        clock_fake_advance(3);
        turn(2);
        apart = apart || (sink.count > 20 && sink.count < 40);
    }
    assert_int_equal(sink.count, 40);
    assert_true(apart);
    reconciles();
}

TEST(what_would_be_tried_again_too_late_is_dead_at_once)
{
    sink.verdict = always_503;
    config.retry_for = (struct duration){ 5999 };
    flow_event(&flow, "in", "a", NULL);
    start();
    turn(2);
    clock_fake_advance(1000);
    turn(3);
    assert_int_equal(sink.count, 2); /* the third would be at 6000 */
    assert_int_equal(count("dead"), 1);
    sink.verdict = patient_at_first;
    flow_event(&flow, "in", "b", NULL); /* it is told to wait for twenty seconds */
    turn(3);
    assert_int_equal(sink.count, 3);
    assert_int_equal(count("dead"), 2);
    assert_int_equal(flow_read(&flow, "aq.dead-letter", found, 2), 2);
    flow_expect_header(found[0], TRAIL_ATTEMPTS, "2");
    flow_expect_header(found[1], TRAIL_REASON, "429");
    record_free(found[0]);
    record_free(found[1]);
    reconciles();
}

TEST(what_is_finished_beyond_an_open_one_does_not_come_again)
{
    sink.verdict = silent;
    flow_event(&flow, "in", "a", NULL);
    flow_event(&flow, "in", "b", NULL);
    flow_event(&flow, "in", "c", NULL);
    start();
    turn(2);
    script_answer(&sink, 1, VERDICT_DELIVERED);
    script_answer(&sink, 2, VERDICT_DELIVERED);
    turn(2);
    restart();
    sink.verdict = NULL;
    turn(2);
    assert_int_equal(sink.count, 1);
    assert_string_equal(sink.sent[0].id, "a");
    assert_int_equal(count("consumed"), 4); /* what was passed over was not read */
    reconciles();
    restart();
    turn(2);
    assert_int_equal(sink.count, 0);
}

static enum verdict every_other_503(const struct sent *sent, struct result *r)
{
    return sent->attempt == 1 && (sent->id[0] - 'a') % 2 == 0 ? always_503(sent, r) : VERDICT_DELIVERED;
}

/* What waits in memory goes to the broker when its partition's position has no room for more that is finished beyond. */
TEST(a_crowded_position_moves_on_what_waits)
{
    retry_list(1, (const int64_t[]){ 20000 });
    sink.verdict = every_other_503;
    for (int i = 0; i < 8; i++)
        flow_event(&flow, "in", (const char[]){ (char)('a' + i), '\0' }, NULL);
    start();
    turn(3);
    assert_int_equal(count("delivered"), 4);
    assert_int_equal(count("moved"), 0);
    flow.full = 80;
    flow_event(&flow, "in", "z", NULL); /* 'z' - 'a' is odd: delivered */
    clock_fake_advance(200);
    turn(4);
    assert_int_equal(count("delivered"), 5);
    assert_int_equal(count("moved"), 4);
    flow.full = 0;
    restart();
    turn(4);
    assert_int_equal(sink.count, 0); /* the position is past all of them */
    clock_fake_advance(20000);
    turn(6);
    assert_int_equal(sink.count, 4);
    assert_int_equal(sink.sent[0].attempt, 2);
    reconciles();
}

TEST(the_window_bounds_what_is_in_flight)
{
    char name[16];
    config.window = 4;
    sink.verdict = silent;
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "e%d", i);
        flow_event(&flow, "in", name, NULL);
    }
    start();
    turn(5);
    assert_int_equal(sink.count, 4);
    for (size_t i = 0; i < 20; i++) {
        script_answer(&sink, i, VERDICT_DELIVERED);
        turn(2);
    }
    assert_int_equal(sink.count, 20);
    assert_int_equal(sink.most_flying, 4);
    reconciles();
}

static enum verdict out_of_descriptors;

static enum verdict descriptors_come_back(const struct sent *sent, struct result *r)
{
    (void)sent;
    *r = (struct result){ .why = "Too many open files" };
    if (out_of_descriptors == VERDICT_RETRY)
        *r = (struct result){ .status = 503, .reason = REASON_REFUSED, .why = "503 Service Unavailable" };
    return out_of_descriptors;
}

/* What our own machine lacks costs no attempt, however long it lasts, and no time of the schedule. */
TEST(what_could_not_be_tried_is_no_attempt)
{
    struct record *out[4];
    sink.verdict = descriptors_come_back;
    out_of_descriptors = VERDICT_UNTRIED;
    retry_list(1, (const int64_t[]){ 1000 });
    flow_event(&flow, "in", "a", "k");
    start();
    turn(2);
    for (int i = 0; i < 100; i++) {
        clock_fake_advance(250);
        turn(2);
    }
    assert_int_equal(sink.count, 101);
    assert_int_equal(sink.sent[100].attempt, 1);
    assert_int_equal(count("untried"), 101);
    assert_int_equal(count("attempts"), 0);
    assert_int_equal(count("retries"), 0);
    out_of_descriptors = VERDICT_RETRY; /* the whole schedule is still there */
    clock_fake_advance(250);
    turn(2);
    clock_fake_advance(999);
    turn(2);
    assert_int_equal(sink.count, 102);
    clock_fake_advance(1);
    turn(4);
    assert_int_equal(sink.count, 103);
    assert_int_equal(sink.sent[102].attempt, 2);
    assert_int_equal(count("attempts"), 2);
    assert_int_equal(count("dead"), 1);
    assert_int_equal(flow_read(&flow, "aq.dead-letter", out, 4), 1);
    flow_expect_header(out[0], TRAIL_ATTEMPTS, "2");
    flow_expect_header(out[0], TRAIL_REASON, "503 Service Unavailable");
    record_free(out[0]);
    reconciles();
}

TEST(order_by_key_sends_one_of_a_key_at_a_time)
{
    config.order = ORDER_KEY;
    sink.verdict = silent;
    flow_event(&flow, "in", "a1", "a");
    flow_event(&flow, "in", "a2", "a");
    flow_event(&flow, "in", "b1", "b");
    flow_event(&flow, "in", "n1", NULL);
    flow_event(&flow, "in", "a3", "a");
    flow_event(&flow, "in", "n2", NULL);
    start();
    turn(3);
    assert_int_equal(sink.count, 4);
    assert_string_equal(sink.sent[0].id, "a1");
    assert_string_equal(sink.sent[1].id, "b1");
    assert_string_equal(sink.sent[2].id, "n1");
    assert_string_equal(sink.sent[3].id, "n2");
    script_answer(&sink, 0, VERDICT_RETRY); /* a failing key waits, through all of its attempts */
    turn(2);
    assert_int_equal(sink.count, 4);
    clock_fake_advance(1000);
    turn(2);
    assert_int_equal(sink.count, 5);
    assert_string_equal(sink.sent[4].id, "a1");
    script_answer(&sink, 4, VERDICT_DELIVERED);
    turn(2);
    assert_int_equal(sink.count, 6);
    assert_string_equal(sink.sent[5].id, "a2");
    script_answer(&sink, 5, VERDICT_REJECT);
    turn(4);
    assert_int_equal(sink.count, 7);
    assert_string_equal(sink.sent[6].id, "a3");
    reconciles();
}

TEST(an_end_releases_those_that_wait_behind_others)
{
    config.order = ORDER_KEY;
    sink.verdict = silent;
    flow_event(&flow, "in", "a1", "a");
    flow_event(&flow, "in", "a2", "a");
    flow_event(&flow, "in", "b1", "b");
    flow_event(&flow, "in", "b2", "b");
    start();
    turn(2);
    assert_int_equal(sink.count, 2);
    restart();
    turn(2);
    assert_int_equal(count("released"), 4);
    assert_int_equal(sink.count, 4);
    reconciles();
}

static void leaves_out(json_t *filter)
{
    struct err e = { "" };
    config.filter = filter_new(filter, &e);
    assert_non_null(config.filter);
    flow_event(&flow, "in", "a", NULL);
    start();
    turn(3);
    assert_int_equal(sink.count, 0);
    assert_int_equal(count("filtered"), 1);
    reconciles();
    restart();
    turn(2);
    assert_int_equal(count("consumed"), 1); /* committed: not read again */
    filter_free(config.filter);
    json_decref(filter);
}

TEST(the_filter_leaves_out_and_counts)
{
    leaves_out(json_pack("{s:{s:s}}", "exact", "type", "something.else"));
}

TEST(a_filter_that_looks_into_the_data_leaves_out_and_counts)
{
    leaves_out(json_pack("{s:{s:i}}", "data", "/n", 2));
}

TEST(a_filter_that_looks_into_the_data_lets_through)
{
    json_t *j = json_pack("{s:{s:i}}", "data", "/n", 1);
    config.filter = filter_new(j, NULL);
    assert_non_null(config.filter);
    flow_event(&flow, "in", "a", NULL);
    start();
    turn(3);
    assert_int_equal(sink.count, 1);
    assert_int_equal(count("delivered"), 1);
    filter_free(config.filter);
    json_decref(j);
}

TEST(a_record_that_is_no_event_becomes_a_dead_letter)
{
    const struct header h = { STR("x"), STR("y") };
    flow_raw(&flow, &(struct record){ .topic = STR("in"),
                                      .partition = -1,
                                      .key = STR("k"),
                                      .value = STR("hello"),
                                      .headers = &h,
                                      .header_count = 1 });
    flow_event(&flow, "in", "b", NULL);
    start();
    turn(3);
    assert_int_equal(sink.count, 1);
    assert_int_equal(flow_read(&flow, "aq.dead-letter", found, 2), 1);
    flow_expect_header(found[0], TRAIL_CLASS, "poison");
    flow_expect_header(found[0], "x", "y");
    assert_true(str_eq(found[0]->value, STR("hello")));
    record_free(found[0]);
    reconciles();
}

TEST(a_redriven_event_comes_back_to_this_sink)
{
    char topic[64];
    snprintf(topic, sizeof topic, "aq.redrive.%s", id);
    start();
    flow_event(&flow, topic, "a", "k");
    turn(3);
    assert_int_equal(sink.count, 1);
    assert_string_equal(sink.sent[0].id, "a");
    assert_int_equal(sink.sent[0].attempt, 1);
}

TEST(a_stop_finishes_what_is_in_flight_and_sends_no_more)
{
    config.window = 1;
    sink.verdict = silent;
    flow_event(&flow, "in", "a", NULL);
    flow_event(&flow, "in", "b", NULL);
    start();
    turn(2);
    delivery_stop(d);
    turn(2);
    script_answer(&sink, 0, VERDICT_DELIVERED);
    while (delivery_step(d, (struct duration){ 0 }))
        continue;
    assert_int_equal(sink.count, 1);
    config.window = 256;
    restart();
    turn(2);
    assert_int_equal(sink.count, 1);
    assert_string_equal(sink.sent[0].id, "b");
}

/* A stop whose deadline passed: the broker still knows of a dead letter when the sink is closed. */
TEST(the_broker_may_report_after_the_sink_is_closed)
{
    retry_list(0, NULL);
    sink.verdict = always_503;
    flow_event(&flow, "in", "a", "k");
    start();
    flow.weather = HOLD;
    turn(3);
    delivery_abandon(d);
    assert_false(delivery_step(d, (struct duration){ 0 }));
    delivery_close(d);
    flow_release(&flow);
    end();
    assert_int_equal(count("dead"), 0);
    assert_int_equal(count("released"), 1);
}

TEST(a_broadcast_sink_gets_what_comes_from_now_on)
{
    flow_event(&flow, "in", "before", NULL);
    sink.base.ops = &script_broadcast_ops;
    start();
    flow_event(&flow, "in", "a", NULL);
    flow_event(&flow, "in", "b", NULL);
    turn(3);
    assert_int_equal(sink.count, 2);
    assert_string_equal(sink.sent[0].id, "a");
    assert_string_equal(sink.sent[1].id, "b");
}

#define flow_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        flow_test(delivers_once_and_goes_on_after_a_restart),
        flow_test(retries_by_the_schedule_then_makes_a_dead_letter),
        flow_test(without_a_schedule_nothing_counts_as_a_retry),
        flow_test(a_rejected_event_is_dead_at_once),
        flow_test(a_dead_letter_that_cannot_be_stored_is_never_dropped),
        flow_test(a_dead_letter_says_why_and_holds_the_record_untouched),
        flow_test(a_dead_letter_that_is_too_large_goes_without_its_data),
        flow_test(a_foreign_record_with_too_much_in_its_headers_holds_up_nobody),
        flow_test(the_offset_waits_for_the_dead_letter),
        flow_test(a_long_wait_goes_through_a_waiting_topic),
        flow_test(retry_topics_of_an_earlier_version_are_emptied_and_no_longer_filled),
        flow_test(what_waits_is_read_before_the_cluster_lists_its_topic),
        flow_test(a_due_retry_does_not_wait_for_one_that_is_not),
        flow_test(retry_after_is_respected),
        flow_test(a_wait_is_longer_by_a_random_part_and_never_shorter),
        flow_test(what_would_be_tried_again_too_late_is_dead_at_once),
        flow_test(what_is_finished_beyond_an_open_one_does_not_come_again),
        flow_test(a_crowded_position_moves_on_what_waits),
        flow_test(the_window_bounds_what_is_in_flight),
        flow_test(what_could_not_be_tried_is_no_attempt),
        flow_test(order_by_key_sends_one_of_a_key_at_a_time),
        flow_test(an_end_releases_those_that_wait_behind_others),
        flow_test(the_filter_leaves_out_and_counts),
        flow_test(a_filter_that_looks_into_the_data_leaves_out_and_counts),
        flow_test(a_filter_that_looks_into_the_data_lets_through),
        flow_test(a_record_that_is_no_event_becomes_a_dead_letter),
        flow_test(a_redriven_event_comes_back_to_this_sink),
        flow_test(a_stop_finishes_what_is_in_flight_and_sends_no_more),
        flow_test(the_broker_may_report_after_the_sink_is_closed),
        flow_test(a_broadcast_sink_gets_what_comes_from_now_on),
    };
    return cmocka_run_group_tests_name("delivery", tests, NULL, NULL);
}
