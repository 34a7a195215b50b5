/* SPDX-License-Identifier: MIT */
/* Which of the causes that librdkafka tells is said when the cluster does not answer. */
#include <librdkafka/rdkafka.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "tests/support/test.h"

#define PROTOCOL                                                                                                       \
    "n1:9092/3: Disconnected: verify that security.protocol is correctly configured, broker might require SASL "       \
    "authentication (after 3ms in state APIVERSION_QUERY)"
#define REFUSED "n1:9092/3: Connect to ipv4#10.0.0.1:9092 failed: Connection refused (after 0ms in state CONNECT)"

static struct broker_config config = { .type = BROKER_KAFKA, .servers = (char *)(uintptr_t) "n1:9092,n2:9092" };
static struct kafka b;

static int begin(void **state)
{
    (void)state;
    clock_fake(1000, 1000);
    b = (struct kafka){ .config = &config, .outside = true, .down = true };
    kafka_access_open(&b);
    return 0;
}

static int end(void **state)
{
    (void)state;
    kafka_access_close(&b);
    return 0;
}

static void hear(const char *text)
{
    kafka_access_error(&b, RD_KAFKA_RESP_ERR__TRANSPORT, text);
}

static struct err why(void)
{
    struct err e = { "" };
    assert_false(kafka_access_down(&b, &e));
    return e;
}

TEST(a_cluster_that_never_answered_and_ends_connections_may_want_another_protocol)
{
    hear(PROTOCOL);
    hear(REFUSED); /* says less */
    assert_says(why().text, "ends every connection");
    assert_says(why().text, "say sasl");
    assert_true(kafka_access_is_refused(&b));
}

/* It died while we connected to it. */
TEST(a_node_of_a_cluster_that_answered_is_not_taken_for_one_of_another_protocol)
{
    kafka_access_up(&b);
    hear(PROTOCOL);
    assert_string_equal(why().text, "Kafka at n1:9092,n2:9092 does not answer (Disconnected)");
    assert_false(kafka_access_is_refused(&b));
    hear(REFUSED);
    assert_says(why().text, "nothing listens on 10.0.0.1:9092");
}

TEST(a_cluster_that_answered_long_ago_may_want_another_protocol_by_now)
{
    kafka_access_up(&b);
    clock_fake_advance(50000);
    kafka_access_up(&b); /* each answer counts, not only one after trouble */
    clock_fake_advance(50000);
    hear(PROTOCOL);
    assert_says(why().text, "does not answer");
    clock_fake_advance(11000);
    hear(PROTOCOL);
    assert_says(why().text, "ends every connection");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_cluster_that_never_answered_and_ends_connections_may_want_another_protocol,
                                        begin, end),
        cmocka_unit_test_setup_teardown(a_node_of_a_cluster_that_answered_is_not_taken_for_one_of_another_protocol,
                                        begin, end),
        cmocka_unit_test_setup_teardown(a_cluster_that_answered_long_ago_may_want_another_protocol_by_now, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
