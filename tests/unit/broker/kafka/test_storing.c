/* SPDX-License-Identifier: MIT */
/* A cluster that answers and stores nothing: librdkafka's mock, whose topics say that they want more replicas in sync. (A real
 * one does so only with several nodes: tests/ledger/run --broker cluster --only insync.) */
#include <poll.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "tests/support/test.h"

enum { PRODUCE = 0, ERRORS = 1000, LONG_MS = 60000 };

static rd_kafka_t *host;
static rd_kafka_mock_cluster_t *mock;
static struct broker_config config;
static _Atomic int settled;
static _Atomic enum outcome last;

static void on_done(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    (void)ctx;
    (void)tag;
    (void)why;
    atomic_store(&last, o);
    atomic_fetch_add(&settled, 1);
}

static int begin_nodes(int count)
{
    host = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), NULL, 0);
    mock = rd_kafka_mock_cluster_new(host, count);
    rd_kafka_mock_topic_create(mock, "orders", 1, count);
    config = (struct broker_config){ .type = BROKER_KAFKA,
                                     .servers = (char *)(uintptr_t)rd_kafka_mock_cluster_bootstraps(mock),
                                     .prefix = "t.",
                                     .group_prefix = "t.",
                                     .instance = "" };
    atomic_store(&settled, 0);
    return 0;
}

static int begin(void **state)
{
    (void)state;
    return begin_nodes(3);
}

/* Who asks has no other node to ask. */
static int begin_alone(void **state)
{
    (void)state;
    return begin_nodes(1);
}

static int end(void **state)
{
    (void)state;
    rd_kafka_mock_cluster_destroy(mock);
    rd_kafka_destroy(host);
    return 0;
}

static void publish(struct broker *b)
{
    struct record r = { .topic = STR("orders"), .partition = -1, .value = STR("1") };
    broker_publish(b, &(struct publication){ .records = &r, .record_count = 1, .done = on_done });
}

static void await(int count, enum outcome o)
{
    int64_t until = clock_mono_ms() + LONG_MS;
    while (atomic_load(&settled) < count) {
        assert_true(clock_mono_ms() < until);
        poll(NULL, 0, 10);
    }
    assert_int_equal(atomic_load(&last), o);
}

static struct err await_ready(struct broker *b, bool ready)
{
    struct err why = { "" };
    int64_t until = clock_mono_ms() + LONG_MS;
    while (broker_ready(b, &why) != ready) {
        assert_true(clock_mono_ms() < until);
        poll(NULL, 0, 10);
    }
    return why;
}

static void refuse_all(void)
{
    rd_kafka_resp_err_t errors[ERRORS];
    for (int i = 0; i < ERRORS; i++)
        errors[i] = RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS;
    rd_kafka_mock_push_request_errors_array(mock, PRODUCE, ERRORS, errors);
}

TEST(a_cluster_that_answers_and_stores_nothing_is_not_ready_and_says_which_topic_and_why)
{
    struct err e = { "" };
    struct broker *b = broker_open(&config, &e);
    assert_non_null(b);
    publish(b);
    await(1, OUTCOME_STORED);
    await_ready(b, true);
    refuse_all();
    publish(b);
    struct err why = await_ready(b, false);
    assert_says(why.text, "has not stored a record of topic orders for ");
    for (int64_t until = clock_mono_ms() + LONG_MS; !strstr(why.text, "partition 0 has "); poll(NULL, 0, 10)) {
        assert_true(clock_mono_ms() < until);
        why = await_ready(b, false); /* the cluster may take its time to say so */
    }
    assert_says(why.text, "replicas in sync, and the topic may want more (min.insync.replicas)");
    assert_int_equal(atomic_load(&settled), 1);
    rd_kafka_mock_clear_request_errors(mock, PRODUCE);
    await(2, OUTCOME_STORED);
    await_ready(b, true);
    broker_close(b);
}

TEST(a_topic_that_gave_up_a_record_is_not_trusted_until_it_stores_one)
{
    struct err e = { "" };
    struct map_entry soon = { .key = (char[]){ "message.timeout.ms" }, .value = (char[]){ "1000" } };
    config.properties = (struct map){ .at = &soon, .count = 1 };
    struct broker *b = broker_open(&config, &e);
    assert_non_null(b);
    publish(b);
    await(1, OUTCOME_STORED);
    await_ready(b, true);
    refuse_all();
    publish(b);
    await(2, OUTCOME_UNAVAILABLE);
    struct err why = await_ready(b, false);
    assert_says(why.text, "did not store a record of topic orders in time");
    rd_kafka_mock_clear_request_errors(mock, PRODUCE);
    publish(b);
    await(3, OUTCOME_STORED);
    assert_true(broker_ready(b, &why));
    broker_close(b);
}

/* As one does while a replica that died counts as in sync. */
TEST(a_cluster_that_takes_long_over_a_record_is_not_said_to_be_away)
{
    enum { HELD_MS = 12000 }; /* longer than from one look at the cluster to the next */
    struct err e = { "" }, why;
    struct broker *b = broker_open(&config, &e);
    assert_non_null(b);
    publish(b);
    await(1, OUTCOME_STORED);
    await_ready(b, true);
    rd_kafka_mock_broker_push_request_error_rtts(mock, 1, PRODUCE, 1, RD_KAFKA_RESP_ERR_NO_ERROR, HELD_MS);
    publish(b);
    int64_t until = clock_mono_ms() + LONG_MS;
    for (; atomic_load(&settled) < 2; poll(NULL, 0, 10)) {
        if (!broker_ready(b, &why))
            assert_says(why.text, "Kafka answers, but has not stored a record of topic orders for ");
        assert_true(clock_mono_ms() < until);
    }
    await(2, OUTCOME_STORED);
    broker_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_cluster_that_answers_and_stores_nothing_is_not_ready_and_says_which_topic_and_why, begin, end),
        cmocka_unit_test_setup_teardown(a_cluster_that_takes_long_over_a_record_is_not_said_to_be_away, begin_alone,
                                        end),
        cmocka_unit_test_setup_teardown(a_topic_that_gave_up_a_record_is_not_trusted_until_it_stores_one, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
