/* SPDX-License-Identifier: MIT */
/* `batch` of webhooks: what goes in one request and when, what one answer means for all, and how those that a receiver refuses
 * are found; with a real receiver and a fake clock. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/delivery/delivery.h"
#include "bridge/delivery/ladder.h"
#include "bridge/event/trail.h"
#include "bridge/lib/clock.h"
#include "connectors/webhook/endpoint.h"
#include "tests/support/connector.h"
#include "tests/support/event.h"
#include "tests/support/flow.h"
#include "tests/support/metric.h"
#include "tests/support/receiver.h"

extern const struct sink_ops webhook_sink;

#define TEN_MINUTES 600000

static struct flow flow;
static struct sink *sink;
static struct sink_config config;
static char *topics[] = { "in" };
static struct duration soon[] = { { 1000 }, { 1000 } };
static struct delivery *d;
static char id[32];

static int setup(void **state)
{
    static int number; /* counters live as long as the process */
    (void)state;
    clock_fake(1000000, 1700000000000);
    flow_open(&flow);
    flow_topic(&flow, "in", 1);
    flow_topic(&flow, "aq.dead-letter", 1);
    receiver_forget(&receiver);
    snprintf(id, sizeof id, "batch%d", number++);
    config = (struct sink_config){
        .topics = { topics, 1 }, .retry = { soon, 2 }, .retry_memory = { 30000 }, .window = 256
    };
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    delivery_free(d);
    d = NULL;
    if (sink)
        sink_free(sink);
    sink = NULL;
    flow_close(&flow);
    return 0;
}

/* A sink whose receiver answers as `path` says. */
static void start(const char *path, const char *options)
{
    char yaml[512];
    struct err e = { "" };
    snprintf(yaml, sizeof yaml, "url: http://127.0.0.1:%d%s\nunsigned: true\n%s", receiver.port, path, options);
    config.sink = sink = sink_filled(&webhook_sink, id, yaml);
    assert_true(delivery_topics(&config, &flow.names, flow_make_topic, &flow, &e));
    assert_true(ladder_topics(&flow.names, flow_make_topic, &flow, &e));
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

static int64_t count(const char *what)
{
    return metric_value(metric_named(what, LABELS(id, NULL)));
}

static void until(const char *what, int64_t n)
{
    while (count(what) < n) {
        turn(1);
        usleep(100);
    }
    assert_int_equal(count(what), n);
}

#define DELIVERED "aqueduct_sink_delivered_total"
#define DEAD      "aqueduct_sink_dead_total"
#define RETRIES   "aqueduct_sink_retries_total"
#define SPLITS    "aqueduct_webhook_batch_splits_total"

static void store_event(const char *event_id, const char *key, const char *type, const char *data)
{
    flow_store(&flow, "in", key,
               event_like(
                   (struct event){ .id = str_of(event_id), .datacontenttype = str_of(type), .data = str_of(data) }));
}

/* n<from> and so on, without a key. */
static void store(int from, int to)
{
    for (int i = from; i < to; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        store_event(name, NULL, "application/json", "{\"a\":1}");
    }
}

/* Appends the ids of one request's events. */
static void add_ids(char *out, size_t room, const char *body)
{
    json_t *batch = json_loads(body, 0, NULL), *ev;
    size_t i, n = strlen(out);
    if (!json_is_array(batch))
        fail_msg("no JSON array: %s", body);
    json_array_foreach(batch, i, ev)
        n += (size_t)snprintf(out + n, room - n, "%s%s", i ? " " : "", json_string_value(json_object_get(ev, "id")));
    snprintf(out + n, room - n, "\n");
    json_decref(batch);
}

/* The receiver got these requests, a line each, with the events of these ids. */
static void expect_requests(const char *ids)
{
    char got[4096] = "";
    char *bodies = receiver_bodies(&receiver), *at = bodies;
    for (char *end; (end = strchr(at, '\n')); at = end + 1) {
        *end = '\0';
        add_ids(got, sizeof got, at);
    }
    free(bodies);
    assert_string_equal(got, ids);
}

static void expect_letters(const char *const *ids, const char *why)
{
    struct record *all[16];
    size_t n = flow_read(&flow, "aq.dead-letter", all, 16), i = 0;
    for (; ids[i]; i++) {
        assert_in_range(n, i + 1, 16);
        flow_expect_header(all[i], "ce_id", ids[i]);
        struct str reason = record_header(all[i], TRAIL_REASON);
        assert_true(reason.n && memmem(reason.at, reason.n, why, strlen(why)));
    }
    assert_int_equal(n, i);
    while (n > 0)
        record_free(all[--n]);
}

/* ---- what goes together ---- */

TEST(it_goes_when_it_is_full_or_old_enough)
{
    start("/status/204", "batch: {count: 3, age: 1m}\n");
    store(0, 7);
    until(DELIVERED, 6);
    turn(20);
    expect_requests("n0 n1 n2\nn3 n4 n5\n");
    clock_fake_advance(59999);
    turn(20);
    assert_int_equal(count(DELIVERED), 6);
    clock_fake_advance(1);
    until(DELIVERED, 7);
    expect_requests("n0 n1 n2\nn3 n4 n5\nn6\n");
    assert_int_equal(count("aqueduct_webhook_batches_total"), 3);
    assert_int_equal(count("aqueduct_webhook_batch_events_total"), 7);
    assert_int_equal(count("aqueduct_sink_attempts_total"), 7);
    assert_int_equal(count(SPLITS), 0);
}

TEST(its_bytes_are_bounded_and_a_large_event_goes_alone)
{
    char data[2000];
    snprintf(data, sizeof data, "{\"text\":\"%1500s\"}", "");
    start("/above/1024/500", "batch: {count: 1000, bytes: 1KiB, age: 1m}\nsuccess: [204, 500]\n");
    store(0, 20);
    store_event("large", NULL, "application/json", data);
    store(20, 21);
    until(DELIVERED, 21);
    turn(20);
    char *bodies = receiver_bodies(&receiver), *at = bodies;
    size_t largest = 0, alone = 0;
    for (char *end; (end = strchr(at, '\n')); at = end + 1) {
        size_t n = (size_t)(end - at);
        if (n > 1024)
            alone++;
        else
            largest = n > largest ? n : largest;
    }
    free(bodies);
    assert_int_equal(alone, 1);
    assert_in_range(largest, 900, 1024); /* as many as there is room for */
    clock_fake_advance(60000);
    until(DELIVERED, 22);
}

TEST(it_goes_at_the_end)
{
    start("/status/204", "batch: {count: 100, age: 1m}\n");
    store(0, 2);
    turn(20);
    assert_int_equal(atomic_load(&receiver.requests), 0);
    delivery_stop(d);
    while (delivery_step(d, (struct duration){ 0 }))
        broker_flush(flow.inner, (struct duration){ 10000 });
    expect_requests("n0 n1\n");
    assert_int_equal(count(DELIVERED), 2);
}

TEST(partitions_that_are_taken_away_are_not_waited_for)
{
    start("/status/204", "batch: {count: 100, age: 1m}\n");
    store(0, 2);
    turn(20);
    flow.last.revoked(flow.last.ctx, &(struct topic_partition){ "in", 0 }, 1);
    expect_requests("n0 n1\n");
    assert_int_equal(count(DELIVERED), 2);
}

/* While one of a key is on its way, no other of it is; what the key waits for does not wait for others. */
TEST(events_of_one_key_stay_in_order)
{
    static const char *const keys[] = { "a", "a", "b", "a", "c" };
    config.order = ORDER_KEY;
    start("/status/204", "batch: {count: 100, age: 1m}\n");
    for (int i = 0; i < 5; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        store_event(name, keys[i], "application/json", "{}");
    }
    until(DELIVERED, 4);
    turn(20);
    expect_requests("n0 n2 n4\nn1\n"); /* nobody waits for n3 */
    clock_fake_advance(60000);
    until(DELIVERED, 5);
    expect_requests("n0 n2 n4\nn1\nn3\n");
}

TEST(what_is_no_json_is_refused_alone)
{
    start("/status/204", "batch: {count: 2, age: 1m}\nbody: data\n");
    store_event("n0", NULL, "application/json", "{\"id\":\"n0\"}");
    store_event("text", NULL, "text/plain", "hello");
    store_event("broken", NULL, "application/json", "{\"id\":");
    store_event("n1", NULL, "application/json", "{\"id\":\"n1\"}");
    until(DELIVERED, 2);
    until(DEAD, 2);
    expect_requests("n0 n1\n");
    expect_letters((const char *const[]){ "text", "broken", NULL }, "the event's data is no JSON");
}

static void expect_form(const char *options, const char *type, const char *body)
{
    char yaml[512];
    int64_t before = count(DELIVERED);
    snprintf(yaml, sizeof yaml, "batch: {count: 2}\n%s", options);
    start("/status/204?q=1", yaml);
    store_event("n0", NULL, "application/json", " {\"a\": \"x\"} ");
    store_event("n1", NULL, "application/json", "[1]");
    until(DELIVERED, before + 2);
    char *header = receiver_header(&receiver, "content-type"), *got = receiver_body(&receiver, NULL);
    assert_string_equal(header, type);
    assert_string_equal(got, body);
    free(header);
    free(got);
    delivery_free(d);
    sink_free(sink);
    d = NULL;
    sink = NULL;
}

TEST(each_body_becomes_an_array)
{
    expect_form("body: data\n", "application/json", "[{\"a\": \"x\"},[1]]");
    expect_form("body: {id: \"{{id}}\", a: \"{{data.a | omit}}\"}\npath: /status/204\nquery: {tenant: a b}\n",
                "application/json", "[{\"id\":\"n0\",\"a\":\"x\"},{\"id\":\"n1\"}]");
    expect_form("body: \"{{data.a | omit}}\"\n", "application/json", "[\"x\",null]");
    expect_form("body: structured\n", "application/cloudevents-batch+json",
                "[{\"specversion\":\"1.0\",\"id\":\"n0\",\"source\":\"/test\",\"type\":\"test.happened\","
                "\"datacontenttype\":\"application/json\",\"data\":{\"a\": \"x\"}},"
                "{\"specversion\":\"1.0\",\"id\":\"n1\",\"source\":\"/test\",\"type\":\"test.happened\","
                "\"datacontenttype\":\"application/json\",\"data\":[1]}]");
    expect_form("body: data\ncontent_type: application/x+json\nheaders: {X-Tenant: a}\n", "application/x+json",
                "[{\"a\": \"x\"},[1]]");
}

TEST(what_cannot_work_is_refused)
{
    static const struct {
        const char *options, *why;
    } cases[] = {
        { "body: binary\n", "batch: with body: binary the headers are one event's" },
        { "path: /x/{{subject}}\n", "batch: path has {{expressions}}" },
        { "query: {a: \"{{subject}}\"}\n", "batch: query: a has {{expressions}}" },
        { "headers: {X-Subject: \"{{subject}}\"}\n", "batch: headers: X-Subject has {{expressions}}" },
        { "content_type: \"{{datacontenttype}}\"\n", "batch: content_type has {{expressions}}" },
        { "body: \"{{subject}} has come\"\ncontent_type: text/plain\n", "batch: content_type: text/plain is no JSON" },
        { "body: \"{{subject}} has come\"\n", "batch: body is a text, and a batch is a JSON array" },
        { "for: flowise\n", "batch: for: flowise takes one message a request" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char yaml[512];
        snprintf(yaml, sizeof yaml, "url: http://127.0.0.1/\nunsigned: true\nbatch: {count: 2}\n%s", cases[i].options);
        struct err e = sink_refused(&webhook_sink, yaml);
        if (!strstr(e.text, cases[i].why))
            fail_msg("%s: %s", cases[i].options, e.text);
        snprintf(yaml, sizeof yaml, "url: http://127.0.0.1/\nunsigned: true\nbatch: {count: 1}\n%s", cases[i].options);
        sink_end(sink_opened(&webhook_sink, "single", yaml));
    }
}

/* ---- one answer for all ---- */

TEST(a_receiver_that_is_away_makes_all_wait_and_a_repeat_has_the_same_id)
{
    atomic_store(&receiver.told, 503);
    start("/told", "batch: {count: 3, age: 1m}\n");
    store(0, 3);
    until(RETRIES, 3);
    char *first = receiver_header(&receiver, "webhook-id");
    atomic_store(&receiver.told, 204);
    clock_fake_advance(1000);
    until(DELIVERED, 3);
    char *second = receiver_header(&receiver, "webhook-id");
    store(0, 2);
    store(3, 4);
    until(DELIVERED, 6);
    char *other = receiver_header(&receiver, "webhook-id");
    assert_int_equal(atomic_load(&receiver.requests), 3);
    assert_int_equal(count("aqueduct_webhook_batch_events_total"), 9);
    assert_int_equal(count("aqueduct_sink_attempts_total"), 9);
    assert_string_equal(first, second);
    assert_string_not_equal(first, other);
    free(first);
    free(second);
    free(other);
}

TEST(those_that_are_refused_are_found_by_halves)
{
    start("/on/n3/422", "batch: {count: 8, age: 1m}\n");
    store(0, 8);
    until(DELIVERED, 7);
    until(DEAD, 1);
    expect_requests("n0 n1 n2 n3 n4 n5 n6 n7\nn0 n1 n2 n3\nn0 n1\nn2 n3\nn2\nn3\nn4 n5 n6 n7\n");
    expect_letters((const char *const[]){ "n3", NULL }, "422");
    assert_int_equal(count(SPLITS), 3);
    assert_int_equal(count("aqueduct_sink_attempts_total"), 8);
    assert_int_equal(count(RETRIES), 0);
}

TEST(all_are_dead_letters_when_all_are_refused)
{
    start("/status/422", "batch: {count: 3, age: 1m}\n");
    store(0, 3);
    until(DEAD, 3);
    expect_requests("n0 n1 n2\nn0\nn1 n2\nn1\nn2\n");
    expect_letters((const char *const[]){ "n0", "n1", "n2", NULL }, "422");
}

TEST(what_is_too_large_is_halved_even_if_that_would_be_tried_again)
{
    start("/above/600/413", "batch: {count: 8, age: 1m}\nreject: []\n");
    store(0, 8);
    until(DELIVERED, 8);
    assert_in_range(count(SPLITS), 1, 7);
    assert_int_equal(count(RETRIES), 0);
    assert_int_equal(count("aqueduct_sink_attempts_total"), 8);
}

TEST(a_receiver_that_is_gone_says_so_of_all)
{
    start("/gone", "batch: {count: 4, age: 1m}\n");
    store(0, 4);
    until(DEAD, 4);
    expect_requests("n0 n1 n2 n3\n");
    assert_int_equal(count(SPLITS), 0);
}

/* An event that the receiver stumbles over must not take the others with it. */
TEST(one_that_fails_again_is_told_from_the_others)
{
    start("/on/n2/500", "batch: {count: 4, age: 1m}\n");
    store(0, 4);
    until(RETRIES, 4);
    expect_requests("n0 n1 n2 n3\n");
    clock_fake_advance(1000);
    until(DELIVERED, 3);
    until(RETRIES, 5);
    assert_in_range(count(SPLITS), 1, 3); /* those that wait until the same moment come in no order */
    clock_fake_advance(1000);
    turn(5);
    clock_fake_advance(60000); /* it waits for company */
    until(DEAD, 1);
    expect_letters((const char *const[]){ "n2", NULL }, "500");
}

TEST(a_batch_counts_once_for_the_circuit)
{
    config.circuit = (struct circuit_config){ .failures = 2, .probe = { TEN_MINUTES } };
    start("/status/503", "batch: {count: 5, age: 1m}\n");
    store(0, 5);
    until(RETRIES, 5);
    assert_int_equal(count("aqueduct_sink_circuit_open"), 0);
    store(5, 10);
    until(RETRIES, 10);
    assert_int_equal(count("aqueduct_sink_circuit_open"), 1);
    expect_requests("n0 n1 n2 n3 n4\nn5 n6 n7 n8 n9\n");
    clock_fake_advance(TEN_MINUTES);
    until("aqueduct_sink_attempts_total", 11); /* the probe is alone, and waits for nobody */
    assert_int_equal(atomic_load(&receiver.requests), 3);
}

/* Of requests, not of events: two that hang hold four. */
TEST(concurrency_counts_requests)
{
    start("/hang", "batch: {count: 2, age: 1m}\nconcurrency: 2\n");
    store(0, 40);
    while (atomic_load(&receiver.requests) < 2) {
        turn(1);
        usleep(100);
    }
    turn(50);
    assert_int_equal(atomic_load(&receiver.requests), 2);
    expect_requests("n0 n1\nn2 n3\n");
}

TEST(concurrency_bounds_the_connections)
{
    int before = atomic_load(&receiver.connections);
    start("/status/204", "batch: {count: 2, age: 1m}\nconcurrency: 2\n");
    store(0, 40);
    until(DELIVERED, 40);
    assert_int_equal(atomic_load(&receiver.requests), 20);
    assert_in_range(atomic_load(&receiver.connections) - before, 1, 2);
}

/* Ten in a second, five of which are a request: it waits for its last event, not for its age. */
TEST(a_rate_counts_events)
{
    config.rate = 10;
    start("/status/204", "batch: {count: 5, age: 1m}\n");
    store(0, 20);
    for (int ms = 0; ms < 1000; ms += 20) {
        turn(2);
        clock_fake_advance(20);
    }
    until(DELIVERED, 10);
    turn(20);
    assert_int_equal(count(DELIVERED), 10);
    assert_int_equal(atomic_load(&receiver.requests), 2);
    for (int ms = 0; ms < 1000; ms += 20) {
        turn(2);
        clock_fake_advance(20);
    }
    until(DELIVERED, 20);
    assert_int_equal(atomic_load(&receiver.requests), 4); /* two at a time, which may pass each other */
}

/* ---- parts ---- */

static struct parcel *parcel_of(size_t n)
{
    struct parcel *p = parcel_new();
    for (size_t i = 0; i < n; i++) {
        buf_add_char(&p->json, (char)('0' + i));
        parcel_push(p, &(struct message){ .attempt = 1, .tag = i });
    }
    return p;
}

static void expect_body(struct parcel *p, const char *body)
{
    assert_str(parcel_body(p), body);
}

/* The results of its present part, in pages of `room`: as many, with tags from `tag` on, of so many in the request. */
static void expect_results(struct parcel *p, const struct result *r, size_t room, size_t count, uint64_t tag,
                           unsigned batch)
{
    struct result out[16];
    size_t n = 0;
    do
        n += parcel_results(p, r, out + n, room);
    while (!parcel_is_told(p));
    assert_int_equal(n, count);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(out[i].tag, tag + i);
        assert_int_equal(out[i].verdict, r->verdict);
        assert_int_equal(out[i].batch, batch);
        assert_int_equal(out[i].same_request, i > 0);
    }
}

TEST(when_the_receiver_goes_away_what_is_left_of_a_batch_waits)
{
    static const struct result refused = { .verdict = VERDICT_REJECT, .status = 422 },
                               delivered = { .verdict = VERDICT_DELIVERED, .status = 204 },
                               away = { .verdict = VERDICT_RETRY, .status = 503, .away = true };
    struct parcel *p = parcel_of(8);
    expect_body(p, "[0,1,2,3,4,5,6,7]");
    assert_true(parcel_split(p, &refused, false));
    expect_body(p, "[0,1,2,3]");
    assert_true(parcel_split(p, &refused, false));
    expect_body(p, "[0,1]");
    assert_false(parcel_split(p, &delivered, false));
    expect_results(p, &delivered, 1, 2, 0, 2);
    assert_true(parcel_goes_on(p));
    expect_body(p, "[2,3]");
    assert_false(parcel_split(p, &away, false));
    expect_results(p, &away, 2, 6, 2, 2);
    assert_false(parcel_goes_on(p));
    parcel_free(p);
}

TEST(a_verdict_that_is_not_about_events_splits_nothing)
{
    static const struct result results[] = {
        { .verdict = VERDICT_DELIVERED, .status = 200 },           { .verdict = VERDICT_RETRY, .status = 500 },
        { .verdict = VERDICT_RETRY, .status = 429, .away = true }, { .verdict = VERDICT_RETRY, .away = true },
        { .verdict = VERDICT_REJECT, .reason = REASON_BLOCKED },   { .verdict = VERDICT_UNTRIED },
    };
    for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
        struct parcel *p = parcel_of(3);
        assert_false(parcel_split(p, &results[i], false));
        expect_results(p, &results[i], 2, 3, 0, 3);
        assert_false(parcel_goes_on(p));
        parcel_free(p);
    }
}

#define BATCH(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BATCH(it_goes_when_it_is_full_or_old_enough),
        BATCH(its_bytes_are_bounded_and_a_large_event_goes_alone),
        BATCH(it_goes_at_the_end),
        BATCH(partitions_that_are_taken_away_are_not_waited_for),
        BATCH(events_of_one_key_stay_in_order),
        BATCH(what_is_no_json_is_refused_alone),
        BATCH(each_body_becomes_an_array),
        BATCH(what_cannot_work_is_refused),
        BATCH(a_receiver_that_is_away_makes_all_wait_and_a_repeat_has_the_same_id),
        BATCH(those_that_are_refused_are_found_by_halves),
        BATCH(all_are_dead_letters_when_all_are_refused),
        BATCH(what_is_too_large_is_halved_even_if_that_would_be_tried_again),
        BATCH(a_receiver_that_is_gone_says_so_of_all),
        BATCH(one_that_fails_again_is_told_from_the_others),
        BATCH(a_batch_counts_once_for_the_circuit),
        BATCH(concurrency_counts_requests),
        BATCH(concurrency_bounds_the_connections),
        BATCH(a_rate_counts_events),
        cmocka_unit_test(when_the_receiver_goes_away_what_is_left_of_a_batch_waits),
        cmocka_unit_test(a_verdict_that_is_not_about_events_splits_nothing),
    };
    return cmocka_run_group_tests(tests, receiver_begin, receiver_end);
}
