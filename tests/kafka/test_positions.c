/* SPDX-License-Identifier: MIT */
/* Positions that could not be committed. Run through tests/kafka/rig. */
#include <poll.h>
#include <stdio.h>
#include "bridge/lib/clock.h"
#include "tests/support/cluster.h"

/* A cluster that stands still for longer than a session puts its members out of their groups; what they finish then is known to
 * them alone. */
TEST(what_was_finished_while_the_cluster_stood_still_does_not_come_again_to_who_finished_it)
{
    enum { COUNT = 200 };
    cluster_config.session_timeout.ms = 2000;
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, 3), *group = cluster_fresh(1);
    struct member *m = member_join(b, group, topic, false); /* commits only when it must */
    cluster_forget();
    for (int i = 0; i < COUNT; i++)
        cluster_publish(b, topic, i);
    cluster_await(COUNT);
    member_read_until(m, COUNT);
    cluster_rig("pause");
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (m->revocations == 0) {
        member_turn(m, 100);
        assert_true(clock_mono_ms() < until);
    }
    cluster_rig("resume");
    for (int i = COUNT; i < COUNT + 30; i++)
        cluster_publish(b, topic, i);
    member_read_until(m, COUNT + 30);
    assert_int_equal(m->total, COUNT + 30);
    member_leave(m);
    m = member_join(b, group, topic, true); /* and the group knows it by now */
    cluster_publish(b, topic, COUNT + 30);
    member_read_until(m, 1);
    assert_int_equal(m->total, 1);
    member_leave(m);
    broker_close(b);
}

/* ---- compaction ---- */

enum { OF_ONE_KEY = 100 };

static void publish_of_key(struct broker *b, const char *topic, const char *key, int tag)
{
    char value[16];
    size_t n = (size_t)snprintf(value, sizeof value, "%d", tag);
    struct record r = { .topic = str_of(topic), .partition = 0, .key = str_of(key), .value = { value, n } };
    broker_publish(b, &(struct publication){
                          .records = &r, .record_count = 1, .done = cluster_done, .tag = (uint64_t)tag });
}

static bool count_one(void *ctx, const struct record *r)
{
    (void)r;
    ++*(int *)ctx;
    return true;
}

static int stored_now(const char *topic)
{
    struct err e = { "" };
    int count = 0;
    assert_true(look_once(&cluster_config, &(struct look_options){ .topic = topic }, count_one, &count, &e));
    return count;
}

static void set_compacted(struct broker *b, const char *topic)
{
    const char *const settings[][2] = { { "cleanup.policy", "compact" },
                                        { "segment.ms", "100" },
                                        { "min.cleanable.dirty.ratio", "0.01" } };
    struct kafka_client *client = kafka_client_take((struct kafka *)b);
    rd_kafka_ConfigResource_t *r = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        rd_kafka_ConfigResource_set_config(r, settings[i][0], settings[i][1]);
    rd_kafka_queue_t *q = rd_kafka_queue_new(client->rk);
    rd_kafka_AlterConfigs(client->rk, &r, 1, NULL, q);
    cluster_admin_done(q);
    rd_kafka_ConfigResource_destroy(r);
    kafka_client_give(client);
}

/* The log is rolled by a record of another key, again and again, until the cleaner has been there. */
static int compacted(struct broker *b, const char *topic, int tag)
{
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    for (int count = OF_ONE_KEY; count >= OF_ONE_KEY; count = stored_now(topic)) {
        publish_of_key(b, topic, "other", tag++);
        cluster_await(tag);
        poll(NULL, 0, 300);
        assert_true(clock_mono_ms() < until);
    }
    return tag;
}

TEST(what_compaction_took_from_a_slow_group_is_counted)
{
    char ours[] = "own.";
    cluster_config.prefix = ours; /* the topic is not one of the bridge's, whose settings it knows */
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, 1), *group = cluster_fresh(1);
    set_compacted(b, topic);
    struct member *m = member_join(b, group, topic, true);
    cluster_forget();
    publish_of_key(b, topic, "one", 0);
    cluster_await(1);
    member_read_until(m, 1);
    member_leave(m);
    for (int i = 1; i < OF_ONE_KEY; i++)
        publish_of_key(b, topic, "one", i);
    cluster_await(OF_ONE_KEY);
    int end = compacted(b, topic, OF_ONE_KEY);
    broker_close(b); /* another daemon, which asks anew what the topic keeps */
    b = cluster_open();
    int64_t lost = cluster_metric("aqueduct_records_lost_total");
    m = member_join(b, group, topic, true);
    cluster_forget();
    publish_of_key(b, topic, "last", end);
    while (m->seen[end] == 0)
        member_turn(m, 100);
    assert_int_equal(cluster_metric("aqueduct_records_lost_total") - lost, end - m->total);
    assert_true(m->total < end);
    member_leave(m);
    broker_close(b);
}

int main(int argc, char **argv)
{
    cluster_self = argv[0];
    if (!cluster_ready(argc, argv))
        return 1;
    const struct CMUnitTest tests[] = {
        CLUSTER_TEST(what_compaction_took_from_a_slow_group_is_counted),
        CLUSTER_TEST(what_was_finished_while_the_cluster_stood_still_does_not_come_again_to_who_finished_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
