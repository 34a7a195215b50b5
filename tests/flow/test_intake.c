/* SPDX-License-Identifier: MIT */
/* The way of an event from a source to the broker and back as a settlement, played on the in-memory broker. */
#include "tests/support/flow.h"
#include "tests/support/script.h"
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/intake/intake.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/log.h"
#include "tests/support/metric.h"
#include "bridge/event/trail.h"
#include "tests/support/event.h"
#include "tests/support/stderr.h"

static struct flow flow;
static struct script_source source;
static struct source_config config;
static struct config bridge;
static struct route_config routes[3];
static struct routing *routing;
static struct intake *in, *copy; /* copy: NULL, unless start_copies made one */
static char id[32];
static struct record *found[8];

static void start(const struct source_ops *ops)
{
    struct err e = { "" };
    script_source_init(&source, id, ops);
    config.source = &source.base;
    routing = routing_new(&bridge);
    in = intake_new(&config, &flow.names, &flow.broker, routing, false, &e);
    if (!in)
        fail_msg("%s", e.text);
}

/* Two intakes of one source; that of the second is script_second. */
static void start_copies(void)
{
    struct err e = { "" };
    config.threads = 2;
    start(&script_source_unordered);
    copy = intake_copy(in, &e);
    assert_non_null(copy);
}

static void end(void)
{
    intake_close(copy);
    intake_free(in);
    intake_free(copy);
    routing_free(routing);
    in = copy = NULL;
    routing = NULL;
}

static int setup(void **state)
{
    static int number;
    (void)state;
    clock_fake(1000000, 1700000000000);
    flow_open(&flow);
    flow_topic(&flow, "out", 1);
    flow_topic(&flow, "all", 1);
    flow_topic(&flow, "aq.dead-letter", 1);
    snprintf(id, sizeof id, "i%d", number++);
    struct err e = { "" };
    json_t *j = json_pack("{s:{s:s}}", "prefix", "type", "t.");
    routes[0] = (struct route_config){
        .filter = filter_new(j, &e), .topic = "out", .encoding = ENCODING_BINARY, .also = true
    };
    routes[1] = (struct route_config){ .filter = filter_new(j, &e), .topic = "all", .encoding = ENCODING_STRUCTURED };
    json_decref(j);
    bridge = (struct config){ .broker = flow.names, .routes = { routes, 2 }, .unrouted = UNROUTED_ERROR };
    config = (struct source_config){ .in_flight = 8, .dedupe_size = 4 };
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    end();
    filter_free(routes[0].filter);
    filter_free(routes[1].filter);
    flow_close(&flow);
    return 0;
}

static void turn(int times)
{
    for (int i = 0; i < times; i++) {
        assert_true(intake_step(in));
        if (copy)
            assert_true(intake_step(copy));
        broker_flush(flow.inner, (struct duration){ 10000 });
    }
}

static int64_t count(const char *what)
{
    char name[64];
    snprintf(name, sizeof name, "aqueduct_source_%s_total", what);
    return flow_count(name, id);
}

static int64_t refused(const char *reason)
{
    return metric_value(metric_named("aqueduct_source_refused_total", LABELS(id, reason)));
}

static void reconciles(void)
{
    int64_t pending = flow_count("aqueduct_source_pending", id);
    assert_int_equal(count("received"), count("stored") + refused("invalid") + refused("conflict")
                                            + refused("unavailable") + refused("unrouted") + refused("dropped")
                                            + pending);
}

TEST(an_event_reaches_every_topic_that_takes_it)
{
    start(&script_source_unordered);
    script_emit(&source, "a", "t.one", 7);
    turn(2);
    assert_int_equal(source.settled_count, 1);
    assert_int_equal(source.settled[0].tag, 7);
    assert_int_equal(source.settled[0].outcome, OUTCOME_STORED);
    assert_int_equal(flow_read(&flow, "out", found, 8), 1);
    flow_expect_header(found[0], "ce_id", "a");
    assert_true(str_eq(found[0]->key, STR("thing/1")));
    record_free(found[0]);
    assert_int_equal(flow_read(&flow, "all", found, 8), 1);
    flow_expect_header(found[0], "content-type", "application/cloudevents+json; charset=UTF-8");
    const struct event *ev = event_from_record(found[0], NULL);
    assert_non_null(ev);
    assert_true(str_eq(ev->id, STR("a")));
    event_unref(ev);
    record_free(found[0]);
    reconciles();
}

TEST(nothing_is_settled_before_the_broker_says_so)
{
    start(&script_source_unordered);
    flow.weather = HOLD;
    script_emit(&source, "a", "t.one", 1);
    turn(3);
    assert_int_equal(source.settled_count, 0);
    reconciles();
    flow_release(&flow);
    turn(1);
    assert_int_equal(source.settled_count, 1);
    reconciles();
}

TEST(a_refusal_reaches_an_unordered_source)
{
    start(&script_source_unordered);
    flow.weather = REFUSE;
    script_emit(&source, "a", "t.one", 1);
    turn(2);
    assert_int_equal(source.settled[0].outcome, OUTCOME_UNAVAILABLE);
    assert_string_equal(source.settled[0].why, "refused by the test");
    flow.weather = CLEAR; /* it was not remembered as stored */
    script_emit(&source, "a", "t.one", 2);
    turn(2);
    assert_int_equal(source.settled[1].outcome, OUTCOME_STORED);
    assert_int_equal(count("repeats"), 0);
    assert_int_equal(flow_read(&flow, "out", found, 8), 1);
    record_free(found[0]);
    reconciles();
}

TEST(no_route_is_invalid_or_dropped_as_configured)
{
    start(&script_source_unordered);
    script_emit(&source, "a", "other", 1);
    turn(1);
    assert_int_equal(source.settled[0].outcome, OUTCOME_INVALID);
    assert_int_equal(refused("unrouted"), 1);
    reconciles();
    end();
    bridge.unrouted = UNROUTED_DROP;
    start(&script_source_unordered);
    script_emit(&source, "b", "other", 1);
    turn(1);
    assert_int_equal(source.settled[0].outcome, OUTCOME_STORED);
    assert_int_equal(refused("dropped"), 1);
    assert_int_equal(count("stored"), 0);
    reconciles();
}

/* Listeners would take these for what the bridge itself says. */
TEST(what_is_reserved_comes_in_by_no_source)
{
    start(&script_source_unordered);
    script_emit(&source, "a", "aqueduct.resume", 1);
    script_emit(&source, "b", "t.one", 2);
    struct event f = *source.emissions[1].event;
    f.extensions = &(struct header){ STR("aqueductcursor"), STR("x") };
    f.extension_count = 1;
    struct err e;
    const struct event *with = event_new(&f, &e);
    event_unref(source.emissions[1].event);
    source.emissions[1].event = with;
    turn(2);
    assert_int_equal(source.settled[0].outcome, OUTCOME_INVALID);
    assert_non_null(strstr(source.settled[0].why, "is the bridge's own"));
    assert_int_equal(source.settled[1].outcome, OUTCOME_INVALID);
    assert_non_null(strstr(source.settled[1].why, "aqueductcursor: "));
    assert_int_equal(refused("invalid"), 2);
    assert_int_equal(flow_read(&flow, "out", found, 8), 0);
    reconciles();
    end();
    start(&script_source_ordered);
    script_emit(&source, "a", "aqueduct.resume", 1);
    turn(2);
    assert_int_equal(source.settled[0].outcome, OUTCOME_INVALID);
    assert_int_equal(flow_read(&flow, "aq.dead-letter", found, 8), 1);
    flow_expect_header(found[0], TRAIL_CLASS, "invalid");
    record_free(found[0]);
    reconciles();
}

TEST(an_ordered_event_without_a_route_becomes_a_dead_letter)
{
    start(&script_source_ordered);
    script_emit(&source, "a", "other", 1);
    script_emit(&source, "b", "t.one", 2);
    turn(2);
    assert_int_equal(source.settled_count, 2);
    assert_int_equal(source.settled[0].outcome, OUTCOME_INVALID);
    assert_int_equal(source.settled[1].outcome, OUTCOME_STORED);
    assert_int_equal(flow_read(&flow, "aq.dead-letter", found, 8), 1);
    flow_expect_header(found[0], TRAIL_SOURCE, id);
    flow_expect_header(found[0], TRAIL_CLASS, "unrouted");
    flow_expect_header(found[0], "ce_id", "a");
    record_free(found[0]);
    reconciles();
}

/* What its source says is none for a topic is a dead letter with its reason, whichever route would take it; the state that
 * travels with it is stored with it, and not while it is not. */
TEST(what_a_source_refused_becomes_a_dead_letter)
{
    const struct change change = { .key = STR("cursor"), .value = STR("3") };
    start(&script_source_ordered);
    script_emit(&source, "a", "t.one", 1);
    source.emissions[0].refused = "its key is too large";
    source.emissions[0].changes = &change;
    source.emissions[0].change_count = 1;
    script_emit(&source, "b", "t.one", 2);
    flow.weather = REFUSE;
    turn(2);
    assert_int_equal(source.settled_count, 0);
    flow.weather = CLEAR;
    clock_fake_advance(10000);
    turn(2);
    assert_int_equal(source.settled_count, 2);
    assert_int_equal(source.settled[0].outcome, OUTCOME_INVALID);
    assert_int_equal(source.settled[1].outcome, OUTCOME_STORED);
    assert_int_equal(refused("invalid"), 1);
    assert_int_equal(flow_read(&flow, "out", found, 8), 1);
    record_free(found[0]);
    assert_int_equal(flow_read(&flow, "aq.dead-letter", found, 8), 1);
    flow_expect_header(found[0], TRAIL_SOURCE, id);
    flow_expect_header(found[0], TRAIL_CLASS, "invalid");
    flow_expect_header(found[0], TRAIL_REASON, "its key is too large");
    flow_expect_header(found[0], "ce_id", "a");
    record_free(found[0]);
    reconciles();
    end();
    start(&script_source_ordered);
    turn(1);
    assert_string_equal(source.state[0].value, "3");
}

TEST(an_ordered_batch_is_published_until_it_is_stored)
{
    const struct change change = { .key = STR("cursor"), .value = STR("5") };
    start(&script_source_ordered);
    flow.weather = REFUSE;
    script_emit(&source, "a", "t.one", 1);
    source.emissions[0].changes = &change;
    source.emissions[0].change_count = 1;
    script_emit(&source, "b", "t.one", 2);
    turn(1);
    for (int i = 0; i < 5; i++) {
        clock_fake_advance(5000);
        turn(1);
    }
    assert_int_equal(source.settled_count, 0);
    assert_true(count("retries") >= 3);
    end();
    start(&script_source_ordered); /* as after a crash: the state did not move */
    assert_int_equal(source.state_count, 0);
    flow.weather = REFUSE;
    script_emit(&source, "a", "t.one", 1);
    source.emissions[0].changes = &change;
    source.emissions[0].change_count = 1;
    turn(1);
    flow.weather = CLEAR;
    clock_fake_advance(5000);
    turn(2);
    assert_int_equal(source.settled_count, 1);
    end();
    start(&script_source_ordered);
    assert_int_equal(source.state_count, 0); /* a start does not wait for it */
    turn(1);
    assert_int_equal(source.state_count, 1);
    assert_string_equal(source.state[0].key, "cursor");
    assert_string_equal(source.state[0].value, "5");
    end();
    start(&script_source_ordered);
    intake_stop(in); /* nor does a stop */
    assert_false(intake_step(in));
    assert_int_equal(source.state_count, 0);
    struct err why;
    assert_false(intake_failed(in, &why));
}

TEST(an_event_that_is_too_large_stops_nobody)
{
    static const char big[] =
        "an-id-that-is-so-long-that-its-record-is-larger-than-the-limit-................................................................................";
    flow.largest = 190;
    start(&script_source_unordered);
    script_emit(&source, big, "t.one", 1);
    turn(2);
    assert_int_equal(source.settled[0].outcome, OUTCOME_INVALID);
    assert_int_equal(refused("invalid"), 1);
    reconciles();
    end();
    flow.largest = 290; /* its dead letter, without the data, fits */
    bridge.routes.count = 1;
    static char data[400];
    memset(data, 'x', sizeof data);
    const struct change change = { .key = STR("cursor"), .value = STR("9") };
    start(&script_source_ordered);
    script_emit(&source, "a", "t.one", 1);
    struct err e = { "" };
    source.emissions[source.count++] = (struct emission){
        .tag = 2,
        .changes = &change,
        .change_count = 1,
        .event = event_new(&(struct event){ .id = STR("b"),
                                            .source = STR("/s"),
                                            .type = STR("t.one"),
                                            .datacontenttype = STR("text/plain"),
                                            .data = { data, sizeof data } },
                           &e)
    };
    script_emit(&source, "c", "t.one", 3);
    turn(12); /* the batch, each alone, the dead letter with its data, without */
    assert_int_equal(source.settled_count, 3);
    assert_int_equal(source.settled[0].outcome, OUTCOME_STORED);
    assert_int_equal(source.settled[1].outcome, OUTCOME_INVALID);
    assert_int_equal(source.settled[2].outcome, OUTCOME_STORED);
    assert_int_equal(flow_read(&flow, "out", found, 8), 2);
    record_free(found[0]);
    record_free(found[1]);
    assert_int_equal(flow_read(&flow, "aq.dead-letter", found, 8), 1);
    flow_expect_header(found[0], TRAIL_CLASS, "invalid");
    flow_expect_header(found[0], TRAIL_REASON, "too large");
    flow_expect_header(found[0], "ce_id", "b");
    assert_null(found[0]->value.at);
    record_free(found[0]);
    reconciles();
    end();
    start(&script_source_ordered);
    turn(1);
    assert_int_equal(source.state_count, 1); /* and its place in the source is behind us */
    assert_string_equal(source.state[0].value, "9");
}

TEST(an_event_that_its_topic_refuses_is_dead_with_its_data)
{
    flow.refuses = "out";
    start(&script_source_ordered);
    script_emit(&source, "a", "t.one", 1);
    turn(4);
    assert_int_equal(source.settled_count, 1);
    assert_int_equal(source.settled[0].outcome, OUTCOME_INVALID);
    assert_int_equal(flow_read(&flow, "aq.dead-letter", found, 8), 1);
    flow_expect_header(found[0], TRAIL_CLASS, "invalid");
    flow_expect_header(found[0], TRAIL_REASON, "not taken by this topic");
    assert_true(found[0]->value.n > 0);
    record_free(found[0]);
    reconciles();
}

TEST(an_ordered_source_has_one_batch_on_its_way)
{
    start(&script_source_ordered);
    flow.weather = HOLD;
    script_emit(&source, "a", "t.one", 1);
    turn(1);
    script_emit(&source, "b", "t.one", 2);
    flow.weather = CLEAR;
    assert_int_equal(source.taken, 1);
    broker_flush(flow.inner, (struct duration){ 10000 });
    assert_int_equal(source.taken, 1);
    flow_release(&flow);
    turn(3);
    assert_int_equal(source.settled_count, 2);
    assert_int_equal(source.settled[0].tag, 1);
    assert_int_equal(source.settled[1].tag, 2);
}

TEST(a_repeat_is_settled_and_not_published_twice)
{
    start(&script_source_unordered);
    script_emit(&source, "a", "t.one", 1);
    turn(2);
    script_emit(&source, "a", "t.one", 2);
    turn(2);
    assert_int_equal(source.settled_count, 2);
    assert_int_equal(source.settled[1].outcome, OUTCOME_STORED);
    assert_int_equal(count("repeats"), 1);
    assert_int_equal(flow_read(&flow, "out", found, 8), 1);
    record_free(found[0]);
    end();
    start(&script_source_unordered); /* the memory comes back from the log */
    script_emit(&source, "a", "t.one", 3);
    turn(2);
    assert_int_equal(source.settled[0].outcome, OUTCOME_STORED);
    assert_int_equal(flow_read(&flow, "out", found, 8), 1);
    record_free(found[0]);
    reconciles();
}

TEST(a_concurrent_repeat_waits_for_the_first_outcome)
{
    start(&script_source_unordered);
    flow.weather = HOLD;
    script_emit(&source, "a", "t.one", 1);
    script_emit(&source, "a", "t.one", 2);
    script_emit(&source, "a", "t.one", 3);
    turn(2);
    assert_int_equal(source.settled_count, 0);
    flow_release(&flow);
    turn(2);
    assert_int_equal(source.settled_count, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(source.settled[i].outcome, OUTCOME_STORED);
    assert_int_equal(flow_read(&flow, "out", found, 8), 1);
    record_free(found[0]);
    reconciles();
}

/* ---- copies of one source ---- */

/* The same id comes to both at the same moment: one is published, the other is answered by what becomes of that. */
TEST(a_repeat_waits_for_what_another_copy_has_on_its_way)
{
    start_copies();
    flow.weather = HOLD;
    script_emit(&source, "a", "t.one", 1);
    script_emit(script_second, "a", "t.one", 2);
    script_emit(script_second, "a", "t.one", 3);
    turn(3);
    assert_int_equal(source.settled_count + script_second->settled_count, 0);
    reconciles();
    flow_release(&flow);
    turn(2);
    assert_int_equal(source.settled_count, 1);
    assert_int_equal(source.settled[0].outcome, OUTCOME_STORED);
    assert_string_equal(source.settled[0].why, "");
    assert_int_equal(script_second->settled_count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(script_second->settled[i].outcome, OUTCOME_STORED);
        assert_string_equal(script_second->settled[i].why, "stored before");
    }
    flow.weather = CLEAR;
    script_emit(&source, "b", "t.one", 4); /* and of what the other one has stored */
    turn(2);
    script_emit(script_second, "b", "t.one", 5);
    turn(2);
    assert_string_equal(script_second->settled[2].why, "stored before");
    assert_int_equal(count("repeats"), 3);
    assert_int_equal(flow_read(&flow, "out", found, 8), 2);
    record_free(found[0]);
    record_free(found[1]);
    reconciles();
}

TEST(what_another_copy_could_not_store_may_come_again)
{
    start_copies();
    flow.weather = HOLD;
    script_emit(script_second, "a", "t.one", 1);
    turn(1);
    script_emit(&source, "a", "t.one", 2);
    turn(1);
    intake_stop(in);
    assert_true(intake_step(in)); /* it is not done before the other one has told it */
    flow_refuse_held(&flow);
    assert_true(intake_step(copy));
    assert_true(intake_step(in));
    assert_int_equal(source.settled[0].outcome, OUTCOME_UNAVAILABLE);
    assert_int_equal(script_second->settled[0].outcome, OUTCOME_UNAVAILABLE);
    assert_false(intake_step(in));
    flow.weather = CLEAR;
    script_emit(script_second, "a", "t.one", 3);
    assert_true(intake_step(copy));
    broker_flush(flow.inner, (struct duration){ 10000 });
    assert_true(intake_step(copy));
    assert_int_equal(script_second->settled[1].outcome, OUTCOME_STORED);
    assert_string_equal(script_second->settled[1].why, "");
    reconciles();
}

TEST(an_id_that_another_copy_has_on_its_way_is_used_once)
{
    start_copies();
    flow.weather = HOLD;
    script_emit(&source, "a", "t.one", 1);
    turn(1);
    script_emit(script_second, "a", "t.two", 2);
    turn(1);
    flow_release(&flow);
    turn(2);
    assert_int_equal(source.settled[0].outcome, OUTCOME_STORED);
    assert_int_equal(script_second->settled[0].outcome, OUTCOME_CONFLICT);
    reconciles();
}

TEST(copies_divide_what_may_be_in_flight)
{
    config.in_flight = 3;
    start_copies();
    turn(1);
    assert_int_equal(source.last_room, 2);
    assert_int_equal(script_second->last_room, 1);
    assert_int_equal(script_second->base.copies, 2);
    assert_ptr_equal(script_second->base.first, &source.base);
}

/* Before that it could take for new what was stored. */
TEST(a_copy_reads_nothing_before_the_memory_is_filled)
{
    start(&script_source_unordered);
    script_emit(&source, "a", "t.one", 1);
    turn(2);
    end();
    start_copies();
    script_emit(script_second, "a", "t.one", 2);
    assert_true(intake_step(in));
    assert_true(intake_step(copy)); /* was woken */
    turn(1);
    assert_string_equal(script_second->settled[0].why, "stored before");
    end();
    start_copies();
    intake_stop(copy);
    assert_false(intake_step(copy)); /* nor does a stop wait for that */
}

/* An emission of source /s with the word of `scope` (behind the source's own name) for its id. */
static void emit_in(const char *scope, const char *event_id, const char *data, uint64_t tag)
{
    static char scopes[16][64];
    static size_t next;
    char *text = scopes[next++ % 16];
    snprintf(text, 64, "%s%s", id, scope);
    const struct event *ev = event_like((struct event){ .id = str_of(event_id),
                                                        .source = STR("/s"),
                                                        .type = STR("t.one"),
                                                        .datacontenttype = STR("application/json"),
                                                        .data = str_of(data) });
    source.emissions[source.count++] = (struct emission){ .event = ev, .tag = tag, .scope = str_of(text) };
}

static void settled_as(size_t index, enum outcome o)
{
    assert_true(index < source.settled_count);
    assert_int_equal(source.settled[index].outcome, o);
}

/* How many records a topic has. */
static size_t published(const char *topic)
{
    size_t n = flow_read(&flow, topic, found, 8);
    for (size_t i = 0; i < n; i++)
        record_free(found[i]);
    return n;
}

TEST(an_id_of_one_scope_says_nothing_of_another)
{
    start(&script_source_unordered);
    emit_in("/open", "msg_77", "1", 1);
    turn(2);
    emit_in("/std", "msg_77", "2", 2); /* the same source and id, by another sender */
    turn(2);
    settled_as(0, OUTCOME_STORED);
    settled_as(1, OUTCOME_STORED);
    assert_int_equal(count("repeats"), 0);
    assert_int_equal(published("out"), 2);
    reconciles();
    end();
    start(&script_source_unordered); /* and so after a restart, in both encodings */
    emit_in("/std", "msg_77", " 2\n", 1);
    emit_in("/open", "msg_77", "2", 2);
    emit_in("/other", "msg_77", "2", 3);
    turn(3);
    settled_as(0, OUTCOME_STORED);
    settled_as(1, OUTCOME_CONFLICT);
    settled_as(2, OUTCOME_STORED);
    assert_int_equal(count("repeats"), 1);
    assert_int_equal(published("out"), 3);
    reconciles();
}

/* A broker that stores each record on its own was left between the two: the repeat is not answered for both. */
TEST(a_repeat_goes_where_its_event_is_not)
{
    for (int first = 0; first < 2; first++) {
        const char *has = first ? "all" : "out", *lacks = first ? "out" : "all";
        size_t there = published(has), missing = published(lacks);
        char event_id[8], scope[64];
        snprintf(event_id, sizeof event_id, "a%d", first);
        snprintf(scope, sizeof scope, "%s/p", id);
        emit_in("/p", event_id, "1", 1);
        const struct event *ev = source.emissions[--source.count].event;
        struct header headers[EVENT_HEADERS + 1];
        size_t n = event_to_headers(ev, headers);
        headers[n++] = (struct header){ STR(TRAIL_FROM), str_of(scope) };
        flow_raw(&flow,
                 &(struct record){
                     .topic = str_of(has), .partition = -1, .value = ev->data, .headers = headers, .header_count = n });
        event_unref(ev);
        start(&script_source_unordered);
        emit_in("/p", event_id, "2", 1); /* the id is used, wherever it is */
        turn(2);
        settled_as(0, OUTCOME_CONFLICT);
        flow.weather = HOLD;
        emit_in("/p", event_id, "1", 2);
        emit_in("/p", event_id, "1", 3);
        turn(2);
        assert_int_equal(source.settled_count, 1); /* not before it is there */
        flow_release(&flow);
        flow.weather = CLEAR;
        turn(2);
        settled_as(1, OUTCOME_STORED);
        settled_as(2, OUTCOME_STORED);
        emit_in("/p", event_id, "1", 4);
        turn(2);
        settled_as(3, OUTCOME_STORED);
        assert_int_equal(count("repeats"), 2);
        assert_int_equal(published(has), there + 1);
        assert_int_equal(published(lacks), missing + 1);
        reconciles();
        end();
        snprintf(id + strlen(id), sizeof id - strlen(id), "x");
    }
    start(&script_source_unordered);
}

TEST(another_event_under_a_known_id_is_a_conflict)
{
    for (int structured = 0; structured < 2; structured++) {
        routes[0].encoding = structured ? ENCODING_STRUCTURED : ENCODING_BINARY;
        start(&script_source_unordered);
        emit_in("/p", "a", "{\"amount\": 1}", 1);
        turn(2);
        emit_in("/p", "a", "{\"amount\": 2}", 2);
        emit_in("/p", "a", "{\"amount\": 1}", 3);
        turn(2);
        settled_as(1, OUTCOME_CONFLICT);
        assert_non_null(strstr(source.settled[1].why, "another event with this id"));
        settled_as(2, OUTCOME_STORED);
        reconciles();
        end();
        start(&script_source_unordered);
        emit_in("/p", "a", "{\"amount\": 2}", 1);
        emit_in("/p", "a", "{\"amount\": 1}", 2);
        turn(2);
        settled_as(0, OUTCOME_CONFLICT);
        settled_as(1, OUTCOME_STORED);
        end();
        snprintf(id + strlen(id), sizeof id - strlen(id), "s");
    }
    assert_int_equal(published("out"), 2);
    start(&script_source_unordered);
}

/* Of an id that is the sender's name of the thing: what has it is a repeat, whatever else is in it, also while the first one is
 * on its way and after a restart. */
TEST(a_named_event_with_other_content_is_a_repeat)
{
    start(&script_source_unordered);
    flow.weather = HOLD;
    for (uint64_t tag = 1; tag <= 2; tag++) {
        emit_in("/p", "a", tag == 1 ? "1" : "2", tag);
        source.emissions[source.count - 1].named = true;
    }
    turn(2);
    assert_int_equal(source.settled_count, 0);
    flow_release(&flow);
    turn(2);
    settled_as(0, OUTCOME_STORED);
    settled_as(1, OUTCOME_STORED);
    end();
    start(&script_source_unordered);
    emit_in("/p", "a", "3", 1);
    source.emissions[0].named = true;
    turn(1);
    settled_as(0, OUTCOME_STORED);
    assert_int_equal(refused("conflict"), 0);
    assert_int_equal(published("out"), 1);
    reconciles();
}

TEST(a_concurrent_conflict_waits_for_the_first_outcome)
{
    start(&script_source_unordered);
    flow.weather = HOLD;
    emit_in("/p", "a", "1", 1);
    emit_in("/p", "a", "2", 2);
    emit_in("/p", "a", "1", 3);
    turn(2);
    assert_int_equal(source.settled_count, 0);
    flow_release(&flow);
    turn(2);
    assert_int_equal(source.settled_count, 3);
    for (size_t i = 0; i < 3; i++)
        settled_as(i, source.settled[i].tag == 2 ? OUTCOME_CONFLICT : OUTCOME_STORED);
    assert_int_equal(refused("conflict"), 1);
    assert_int_equal(published("out"), 1);
    reconciles();
}

TEST(a_conflict_with_what_is_not_stored_may_come_again)
{
    start(&script_source_unordered);
    flow.weather = REFUSE;
    emit_in("/p", "a", "1", 1);
    emit_in("/p", "a", "2", 2);
    turn(2);
    settled_as(0, OUTCOME_UNAVAILABLE);
    settled_as(1, OUTCOME_UNAVAILABLE);
    flow.weather = CLEAR;
    emit_in("/p", "a", "2", 3);
    turn(2);
    settled_as(2, OUTCOME_STORED);
    reconciles();
}

/* Records of a version that wrote no scope: a repeat is known by its content, and nobody can hide an event with them. */
TEST(records_without_a_scope)
{
    start(&script_source_unordered);
    script_emit(&source, "a", "t.one", 1);
    turn(2);
    assert_int_equal(published("out"), 1);
    end();
    start(&script_source_unordered);
    emit_in("/p", "a", "[]", 1);
    turn(2);
    settled_as(0, OUTCOME_STORED);
    assert_int_equal(count("repeats"), 0);
    assert_int_equal(published("out"), 2);
    end();
    start(&script_source_unordered);
    script_emit(&source, "a", "t.one", 1);
    struct emission *em = &source.emissions[0];
    char scope[64];
    snprintf(scope, sizeof scope, "%s/q", id);
    em->scope = str_of(scope);
    turn(2);
    settled_as(0, OUTCOME_STORED);
    assert_int_equal(count("repeats"), 1);
    assert_int_equal(published("out"), 2);
    reconciles();
}

/* The way of one event, for whoever looks for it: from here to the log, and why it went no further. */
TEST(a_debug_log_shows_the_way_of_an_event)
{
    log_setup(LOG_DEBUG, LOG_LOGFMT);
    start(&script_source_unordered);
    stderr_catch();
    script_emit(&source, "a", "t.one", 1);
    script_emit(&source, "b", "other", 2);
    turn(2);
    script_emit(&source, "a", "t.two", 3);
    turn(1);
    const char *text = stderr_caught();
    log_setup(LOG_INFO, LOG_LOGFMT);
    char line[128];
    snprintf(line, sizeof line, "msg=received source=%s event=a event_source=/s type=t.one bytes=2\n", id);
    assert_non_null(strstr(text, line));
    snprintf(line, sizeof line, "msg=stored source=%s event=a event_source=/s", id);
    assert_non_null(strstr(text, line));
    snprintf(line, sizeof line, "msg=\"not stored\" source=%s event=b event_source=/s why=\"no route", id);
    assert_non_null(strstr(text, line));
    snprintf(line, sizeof line, "msg=\"not stored\" source=%s event=a event_source=/s why=\"another event with", id);
    assert_non_null(strstr(text, line));
    flow.weather = HOLD; /* and what is abandoned leaks nothing */
    log_setup(LOG_DEBUG, LOG_LOGFMT);
    stderr_catch();
    script_emit(&source, "c", "t.one", 4);
    turn(1);
    stderr_caught();
    log_setup(LOG_INFO, LOG_LOGFMT);
}

TEST(what_is_stored_is_read_in_the_first_turn)
{
    struct err why = { "" };
    flow.tail_fails = "out/0@3: the record cannot be read";
    start(&script_source_unordered);
    assert_false(intake_failed(in, &why));
    assert_false(intake_step(in)); /* nothing is read from a source whose repeats would not be known */
    assert_true(intake_failed(in, &why));
    assert_non_null(strstr(why.text, id));
    assert_non_null(strstr(why.text, "out/0@3: "));
    flow.tail_fails = NULL;
}

TEST(the_memory_forgets_the_oldest)
{
    start(&script_source_unordered); /* remembers four */
    script_emit(&source, "a", "t.one", 1);
    script_emit(&source, "b", "t.one", 2);
    script_emit(&source, "c", "t.one", 3);
    script_emit(&source, "d", "t.one", 4);
    script_emit(&source, "e", "t.one", 5);
    turn(3);
    script_emit(&source, "a", "t.one", 6);
    script_emit(&source, "e", "t.one", 7);
    turn(3);
    assert_int_equal(source.settled_count, 7);
    assert_int_equal(count("repeats"), 1);
    assert_int_equal(flow_read(&flow, "out", found, 8), 6);
    for (int i = 0; i < 6; i++)
        record_free(found[i]);
}

/* What only its source can make takes no place in the memory, so it drives out nothing that may come again. */
TEST(what_nobody_sends_again_is_not_remembered)
{
    start(&script_source_unordered); /* remembers four */
    emit_in("/p", "a", "1", 1);
    turn(2);
    for (int i = 0; i < 8; i++) {
        emit_in("?log", "a", "1", 2);
        source.emissions[source.count - 1].unique = true;
    }
    turn(2);
    assert_int_equal(source.settled_count, 9);
    assert_int_equal(count("repeats"), 0);
    end();
    for (int started_again = 0; started_again < 2; started_again++) {
        config.dedupe_size = 20;
        start(&script_source_unordered);
        emit_in("/p", "a", "1", 3);
        turn(2);
        assert_int_equal(count("repeats"), started_again + 1);
        end();
    }
    start(&script_source_unordered);
}

/* An id is new again when the window is over, and not before, whether or not the process is the same. */
TEST(an_id_is_remembered_by_time)
{
    config.dedupe_size = 100;
    config.dedupe_window = (struct duration){ 7 * 86400000 };
    start(&script_source_unordered);
    emit_in("/p", "a", "1", 1);
    turn(2);
    clock_fake_advance(3 * 86400000);
    emit_in("/p", "b", "1", 2);
    turn(2);
    clock_fake_advance(4 * 86400000);
    for (int started_again = 0; started_again < 2; started_again++) {
        emit_in("/p", "a", "1", 3);
        emit_in("/p", "b", "1", 4);
        turn(2);
        assert_int_equal(published("out"), 2);
        end();
        start(&script_source_unordered);
    }
    clock_fake_advance(1000);
    emit_in("/p", "a", "2", 5); /* the id is free, also for another event */
    emit_in("/p", "b", "1", 6);
    turn(2);
    settled_as(0, OUTCOME_STORED);
    settled_as(1, OUTCOME_STORED);
    assert_int_equal(published("out"), 3);
    end();
    start(&script_source_unordered);
    clock_fake_advance(3 * 86400000);
    emit_in("/p", "a", "2", 7);
    emit_in("/p", "b", "1", 8);
    turn(2);
    assert_int_equal(published("out"), 4);
    assert_int_equal(count("ids_forgotten"), 0);
    reconciles();
}

/* What the size takes from the window is told: each time in the metric, once in the log, with the size that there should be. */
TEST(a_size_that_is_too_small_for_the_window_is_told)
{
    config.dedupe_window = (struct duration){ 7 * 86400000 };
    start(&script_source_unordered); /* remembers four */
    stderr_catch();
    char name[8];
    for (int i = 0; i < 6; i++) {
        snprintf(name, sizeof name, "%d", i);
        emit_in("/p", name, "1", (uint64_t)i);
        turn(2);
        clock_fake_advance(86400000);
    }
    char line[256];
    snprintf(line, sizeof line, "source=%s dedupe_size=4 needed_at_this_rate=8 dedupe_window_s=604800", id);
    const char *text = stderr_caught(), *said = strstr(text, line);
    assert_non_null(said);
    assert_null(strstr(said + 1, line));
    assert_int_equal(count("ids_forgotten"), 2);
    clock_fake_advance(7 * 86400000);
    for (int i = 0; i < 4; i++) { /* all of those were old */
        snprintf(name, sizeof name, "x%d", i);
        emit_in("/p", name, "1", (uint64_t)i);
        turn(2);
    }
    assert_int_equal(count("ids_forgotten"), 2);
}

TEST(in_flight_is_bounded)
{
    char name[16];
    start(&script_source_unordered); /* eight in flight */
    flow.weather = HOLD;
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "%d", i);
        script_emit(&source, name, "t.one", (uint64_t)i);
    }
    turn(4);
    assert_int_equal(source.taken, 8);
    assert_int_equal(source.last_room, 0);
    flow_release(&flow);
    turn(8);
    assert_int_equal(source.settled_count, 20);
    reconciles();
}

/* Large events fill memory long before there are many: whole ones count, and one may go beyond. */
TEST(bytes_in_flight_are_bounded)
{
    char name[16];
    config.in_flight_bytes.n = 2500;
    start(&script_source_unordered); /* eight in flight */
    flow.weather = HOLD;
    char large[2000];
    memset(large, '1', sizeof large);
    large[sizeof large - 1] = '\0';
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "%d", i);
        emit_in("/p", name, large, (uint64_t)i);
        if (i == 0)
            emit_in("/p", name, large, 9); /* a repeat waits for it, and counts */
    }
    turn(4);
    assert_int_equal(source.taken, 2);
    assert_int_equal(source.last_room, 0);
    flow_release(&flow);
    flow.weather = HOLD;
    turn(4);
    assert_int_equal(source.taken, 4);
    assert_int_equal(source.settled_count, 2);
    flow_release(&flow);
    turn(8);
    assert_int_equal(source.settled_count, 6);
    reconciles();
    config.in_flight_bytes.n = 0;
}

/* An earlier version gave the id another scope: a repeat is known by its content, and another event is none. */
TEST(records_of_a_former_scope)
{
    char scope[64];
    snprintf(scope, sizeof scope, "%s/p", id);
    start(&script_source_unordered);
    emit_in("/p", "a", "1", 1);
    turn(2);
    end();
    start(&script_source_unordered);
    emit_in("/p?x", "a", "1", 1);
    source.emissions[0].former_scopes[1] = str_of(scope);
    emit_in("/p?y", "a", "2", 2);
    source.emissions[1].former_scopes[0] = str_of(scope);
    turn(3);
    settled_as(0, OUTCOME_STORED);
    settled_as(1, OUTCOME_STORED);
    assert_int_equal(count("repeats"), 1);
    assert_int_equal(published("out"), 2);
    reconciles();
}

static bool is_said(const char *text, const char *words)
{
    return strstr(text, words) != NULL;
}

/* What was never read does not work again: not by a stop, nor after a broker that did not take a batch. */
TEST(reading_works_again_only_when_it_does)
{
    start(&script_source_ordered);
    source.failing = "no such file";
    stderr_catch();
    turn(1);
    clock_fake_advance(60000);
    turn(1);
    const char *text = stderr_caught();
    assert_true(is_said(text, "msg=\"reading failed; trying again\"") && is_said(text, "reason=\"no such file\""));
    assert_false(is_said(strstr(text, "reading failed") + 1, "reading failed"));
    source.failing = NULL;
    clock_fake_advance(60000);
    stderr_catch();
    turn(1);
    assert_true(is_said(stderr_caught(), "reading works again"));
    flow.weather = REFUSE;
    script_emit(&source, "a", "t.one", 1);
    stderr_catch();
    turn(2);
    flow.weather = CLEAR;
    clock_fake_advance(60000);
    turn(3);
    text = stderr_caught();
    assert_true(is_said(text, "did not take a batch"));
    assert_false(is_said(text, "reading works again"));
    source.failing = "gone";
    clock_fake_advance(60000);
    turn(1);
    source.failing = NULL;
    source.blind = true; /* woken in the middle of its wait, it comes back without having seen anything */
    clock_fake_advance(60000);
    stderr_catch();
    turn(1);
    assert_false(is_said(stderr_caught(), "reading works again"));
    source.failing = "gone";
    stderr_catch();
    intake_stop(in);
    clock_fake_advance(60000);
    while (intake_step(in))
        continue;
    assert_false(is_said(stderr_caught(), "reading works again"));
}

TEST(a_stop_settles_what_is_on_its_way_and_reads_no_more)
{
    start(&script_source_unordered);
    flow.weather = HOLD;
    script_emit(&source, "a", "t.one", 1);
    turn(1);
    script_emit(&source, "b", "t.one", 2);
    intake_stop(in);
    turn(1);
    assert_true(source.base.draining);
    flow_release(&flow);
    while (intake_step(in))
        continue;
    assert_int_equal(source.settled_count, 1);
    assert_int_equal(source.taken, 1);
    event_unref(source.emissions[1].event);
}

static void *release_later(void *ctx)
{
    broker_flush(flow.inner, (struct duration){ 10000 });
    poll(NULL, 0, 20); /* time enough for who does not wait */
    atomic_store((atomic_bool *)ctx, true);
    flow_release(&flow);
    return NULL;
}

/* Whoever looped instead would burn a core for as long as the broker takes. */
TEST(a_batch_that_is_published_again_is_waited_for)
{
    atomic_bool released = false;
    pthread_t thread;
    start(&script_source_ordered);
    flow.weather = REFUSE;
    script_emit(&source, "a", "t.one", 1);
    turn(1);
    clock_fake_advance(10000);
    flow.weather = HOLD;
    turn(1);
    assert_int_equal(pthread_create(&thread, NULL, release_later, &released), 0);
    assert_true(intake_step(in));
    assert_true(atomic_load(&released));
    pthread_join(thread, NULL);
    turn(1);
    assert_int_equal(source.settled_count, 1);
}

/* A stop whose deadline passed: the broker still knows of a publication when the source is closed. */
TEST(the_broker_may_report_after_the_source_is_closed)
{
    start(&script_source_unordered);
    flow.weather = HOLD;
    script_emit(&source, "a", "t.one", 1);
    turn(1);
    intake_abandon(in);
    assert_false(intake_step(in));
    intake_close(in);
    flow_release(&flow);
    assert_int_equal(source.settled_count, 0);
}

#define flow_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        flow_test(an_event_reaches_every_topic_that_takes_it),
        flow_test(nothing_is_settled_before_the_broker_says_so),
        flow_test(a_refusal_reaches_an_unordered_source),
        flow_test(no_route_is_invalid_or_dropped_as_configured),
        flow_test(what_is_reserved_comes_in_by_no_source),
        flow_test(an_ordered_event_without_a_route_becomes_a_dead_letter),
        flow_test(what_a_source_refused_becomes_a_dead_letter),
        flow_test(an_ordered_batch_is_published_until_it_is_stored),
        flow_test(an_event_that_is_too_large_stops_nobody),
        flow_test(an_event_that_its_topic_refuses_is_dead_with_its_data),
        flow_test(an_ordered_source_has_one_batch_on_its_way),
        flow_test(a_repeat_is_settled_and_not_published_twice),
        flow_test(a_concurrent_repeat_waits_for_the_first_outcome),
        flow_test(a_repeat_waits_for_what_another_copy_has_on_its_way),
        flow_test(what_another_copy_could_not_store_may_come_again),
        flow_test(an_id_that_another_copy_has_on_its_way_is_used_once),
        flow_test(copies_divide_what_may_be_in_flight),
        flow_test(a_copy_reads_nothing_before_the_memory_is_filled),
        flow_test(an_id_of_one_scope_says_nothing_of_another),
        flow_test(a_repeat_goes_where_its_event_is_not),
        flow_test(another_event_under_a_known_id_is_a_conflict),
        flow_test(a_named_event_with_other_content_is_a_repeat),
        flow_test(a_concurrent_conflict_waits_for_the_first_outcome),
        flow_test(a_conflict_with_what_is_not_stored_may_come_again),
        flow_test(records_without_a_scope),
        flow_test(records_of_a_former_scope),
        flow_test(a_debug_log_shows_the_way_of_an_event),
        flow_test(what_is_stored_is_read_in_the_first_turn),
        flow_test(the_memory_forgets_the_oldest),
        flow_test(what_nobody_sends_again_is_not_remembered),
        flow_test(an_id_is_remembered_by_time),
        flow_test(a_size_that_is_too_small_for_the_window_is_told),
        flow_test(in_flight_is_bounded),
        flow_test(bytes_in_flight_are_bounded),
        flow_test(reading_works_again_only_when_it_does),
        flow_test(a_stop_settles_what_is_on_its_way_and_reads_no_more),
        flow_test(a_batch_that_is_published_again_is_waited_for),
        flow_test(the_broker_may_report_after_the_source_is_closed),
    };
    return cmocka_run_group_tests_name("intake", tests, NULL, NULL);
}
