/* SPDX-License-Identifier: MIT */
/* Questions to a cluster a node of which is down: librdkafka's mock. (A real one: tests/ledger/run --broker cluster.) */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include "bridge/broker/kafka/private.h"
#include "tests/support/test.h"

enum { LEADER = 2, SHORT_MS = 200, LONG_MS = 30000 };

TEST(a_question_about_a_partition_whose_leader_is_down_ends)
{
    rd_kafka_t *host = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), NULL, 0);
    rd_kafka_mock_cluster_t *mock = rd_kafka_mock_cluster_new(host, 3);
    rd_kafka_mock_topic_create(mock, "orders", 1, 1);
    rd_kafka_mock_partition_set_leader(mock, "orders", 0, LEADER);
    struct broker_config config = { .type = BROKER_KAFKA,
                                    .servers = (char *)(uintptr_t)rd_kafka_mock_cluster_bootstraps(mock),
                                    .group_prefix = "t." };
    struct kafka *b = kafka_peek_open(&config);
    struct err e;
    rd_kafka_t *rk = kafka_client_reader(&config, b, &e);
    assert_non_null(rk);
    int64_t low = -7, high = -7;
    assert_int_equal(kafka_watermarks(rk, "orders", 0, &low, &high, LONG_MS), RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_int_equal(low, 0);
    assert_int_equal(high, 0);
    assert_int_equal(kafka_watermarks(rk, "orders", 1, &low, &high, LONG_MS), RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION);
    rd_kafka_mock_broker_set_down(mock, LEADER);
    assert_int_not_equal(kafka_watermarks(rk, "orders", 0, &low, &high, SHORT_MS), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_mock_broker_set_up(mock, LEADER);
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;
    for (int i = 0; i < LONG_MS / SHORT_MS && code; i++)
        code = kafka_watermarks(rk, "orders", 0, &low, &high, SHORT_MS);
    assert_int_equal(code, RD_KAFKA_RESP_ERR_NO_ERROR);
    kafka_peek_close(b, rk);
    rd_kafka_mock_cluster_destroy(mock);
    rd_kafka_destroy(host);
}

static void expect_protocol(const struct broker_tls *tls, const char *want)
{
    struct err e = { "" };
    char got[64];
    size_t room = sizeof got;
    struct broker_config config = { .type = BROKER_KAFKA, .servers = (char[]){ "k:1" }, .tls = *tls };
    rd_kafka_conf_t *conf = kafka_conf(&config, KAFKA_PRODUCER, NULL, &e);
    assert_non_null(conf);
    assert_int_equal(rd_kafka_conf_get(conf, "security.protocol", got, &room), RD_KAFKA_CONF_OK);
    assert_string_equal(got, want);
    rd_kafka_conf_destroy(conf);
}

TEST(tls_that_is_off_stays_off)
{
    char ca[] = "ca.pem";
    expect_protocol(&(struct broker_tls){ 0 }, "plaintext");
    expect_protocol(&(struct broker_tls){ .enabled = BROKER_TLS_ON }, "ssl");
    expect_protocol(&(struct broker_tls){ .ca_file = ca }, "ssl");
    expect_protocol(&(struct broker_tls){ .enabled = BROKER_TLS_OFF, .ca_file = ca }, "plaintext");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_question_about_a_partition_whose_leader_is_down_ends),
                                        cmocka_unit_test(tls_that_is_off_stays_off) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
