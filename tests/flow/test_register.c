/* SPDX-License-Identifier: MIT */
/* What a start says of records that nobody reads any more. */
#include <stdlib.h>
#include <unistd.h>
#include "bridge/delivery/register.h"
#include "bridge/delivery/waiter.h"
#include "bridge/lib/mailbox.h"
#include "tests/support/flow.h"
#include "tests/support/metric.h"
#include "tests/support/script.h"

static struct flow flow;
static struct config config;
static struct script_sink sink;
static struct sink_config sinks[1];
static struct register_of_groups *groups;
static char *topics[] = { "in" }, *former[] = { "former" };

static int setup(void **state)
{
    (void)state;
    clock_fake(1000000, 1700000000000);
    flow_open(&flow);
    flow_topic(&flow, "in", 1);
    flow_topic(&flow, "other", 1);
    for (int i = 0; i < 5; i++) {
        flow_event(&flow, "in", "a", NULL);
        flow_event(&flow, "other", "a", NULL);
    }
    script_sink_init(&sink, "served");
    sinks[0] = (struct sink_config){ .sink = &sink.base, .topics = { topics, 1 }, .formerly = { former, 1 } };
    config = (struct config){ .broker = flow.names, .sinks = sinks, .sink_count = 1 };
    groups = register_new(&config);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    register_free(groups);
    flow_close(&flow);
    return 0;
}

/* A sink of that name was there and finished so many of the topic. */
static void was_there(const char *name, const char *topic, int64_t finished)
{
    struct err e = { "" };
    char group[64];
    snprintf(group, sizeof group, "%s%s", flow.names.group_prefix, name);
    int wake = wake_new();
    struct consumer *c = consumer_open(flow.inner,
                                       &(struct consumer_options){ .group = group,
                                                                   .topics = &topic,
                                                                   .topic_count = 1,
                                                                   .from_start = true,
                                                                   .wake_fd = wake },
                                       &e);
    assert_non_null(c);
    consumer_commit(c, (struct topic_partition){ topic, 0 }, finished, NULL);
    consumer_close(c);
    close(wake);
}

static int64_t unserved(const char *name, const char *topic)
{
    return metric_value(metric_named("aqueduct_unserved_records", LABELS(name, topic)));
}

TEST(a_sink_that_is_gone_left_records)
{
    was_there("gone", "in", 2);
    was_there("gone", "other", 5);
    register_look(groups, &flow.broker);
    assert_int_equal(unserved("gone", "in"), 3);
    assert_int_equal(unserved("gone", "other"), 0);
    flow_event(&flow, "in", "a", NULL);
    assert_true(register_due(groups) > clock_mono_ms());
    register_look(groups, &flow.broker);
    assert_int_equal(unserved("gone", "in"), 4);
    was_there("gone", "in", 6);
    register_look(groups, &flow.broker);
    assert_int_equal(unserved("gone", "in"), 0);
}

TEST(a_topic_that_a_sink_no_longer_has)
{
    was_there("served", "in", 1);
    was_there("served", "other", 1);
    register_look(groups, &flow.broker);
    assert_int_equal(unserved("served", "in"), 0);
    assert_int_equal(unserved("served", "other"), 4);
}

TEST(a_former_name_is_served)
{
    was_there("former", "in", 1);
    flow_topic(&flow, "aq.blocked.former.in", 1);
    flow_event(&flow, "aq.blocked.former.in", "a", NULL);
    was_there("former", "aq.blocked.former.in", 0);
    register_look(groups, &flow.broker);
    assert_int_equal(unserved("former", "in"), 0);
    assert_int_equal(unserved("former", "aq.blocked.former.in"), 0); /* it is emptied */
}

/* A sink has a log of that name, as its group's position says. */
static void has_log(const char *name, const char *log)
{
    flow_topic(&flow, log, 1);
    flow_event(&flow, log, "a", NULL);
    was_there(name, log, 0);
}

TEST(a_blocked_log_is_read_while_its_topic_is)
{
    has_log("served", "aq.blocked.served.in");
    has_log("served", "aq.blocked.served.other");
    has_log("former", "aq.blocked.former.other");
    register_look(groups, &flow.broker);
    assert_int_equal(unserved("served", "aq.blocked.served.in"), 0);
    assert_int_equal(unserved("served", "aq.blocked.served.other"), 1);
    assert_int_equal(unserved("former", "aq.blocked.former.other"), 1);
    sinks[0].order = ORDER_KEY;
    register_look(groups, &flow.broker);
    assert_int_equal(unserved("served", "aq.blocked.served.in"), 0);
    assert_int_equal(unserved("served", "aq.blocked.served.other"), 1);
    assert_int_equal(unserved("former", "aq.blocked.former.other"), 1);
}

TEST(a_sink_of_another_type_reads_with_no_group)
{
    struct sink_ops broadcast = *sink.base.ops;
    broadcast.broadcast = true;
    sink.base.ops = &broadcast;
    has_log("served", "aq.blocked.served.in");
    was_there("served", "in", 1);
    register_look(groups, &flow.broker);
    assert_int_equal(unserved("served", "aq.blocked.served.in"), 1);
    assert_int_equal(unserved("served", "in"), 4);
}

TEST(the_waiters_own_group_is_no_sink)
{
    was_there("bridge.waiter", "in", 1);
    register_look(groups, &flow.broker);
    assert_int_equal(unserved("bridge.waiter", "in"), 0);
}

/* The daemon has no sink whose events can wait: what others left is said all the same. */
TEST(a_waiter_that_serves_nobody_looks_around)
{
    config.sink_count = 0;
    was_there("gone", "in", 2);
    struct waiter *waiter = waiter_new(&flow.names, &flow.broker);
    waiter_look_around(waiter, &config);
    assert_true(waiter_step(waiter, (struct duration){ 0 }));
    assert_int_equal(unserved("gone", "in"), 3);
    waiter_stop(waiter);
    assert_false(waiter_step(waiter, (struct duration){ 0 }));
    waiter_free(waiter);
}

#define flow_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        flow_test(a_sink_that_is_gone_left_records),
        flow_test(a_topic_that_a_sink_no_longer_has),
        flow_test(a_former_name_is_served),
        flow_test(a_blocked_log_is_read_while_its_topic_is),
        flow_test(a_sink_of_another_type_reads_with_no_group),
        flow_test(a_waiter_that_serves_nobody_looks_around),
        flow_test(the_waiters_own_group_is_no_sink),
    };
    return cmocka_run_group_tests_name("register", tests, NULL, NULL);
}
