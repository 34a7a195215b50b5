/* SPDX-License-Identifier: MIT */
/* Positions that could not be committed. Run through tests/kafka/rig. */
#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include "bridge/lib/clock.h"
#include "tests/support/cluster.h"

/* ---- a commit that is tried again ---- */

static struct {
    bool next; /* the next commit is answered with "not the coordinator" and tried again: it arrives later */
    pthread_t thread;
    rd_kafka_t *rk;
    rd_kafka_topic_partition_list_t *list;
    rd_kafka_queue_t *queue;
} late;

typedef rd_kafka_resp_err_t commit_queue(rd_kafka_t *, const rd_kafka_topic_partition_list_t *, rd_kafka_queue_t *,
                                         void (*)(rd_kafka_t *, rd_kafka_resp_err_t, rd_kafka_topic_partition_list_t *,
                                                  void *),
                                         void *);

static commit_queue *late_real(void)
{
    return (commit_queue *)(uintptr_t)dlsym(RTLD_NEXT, "rd_kafka_commit_queue");
}

static void *late_arrives(void *arg)
{
    (void)arg;
    poll(NULL, 0, 500);
    late_real()(late.rk, late.list, late.queue, NULL, NULL);
    rd_kafka_topic_partition_list_destroy(late.list);
    return NULL;
}

/* Instead of librdkafka's. */
rd_kafka_resp_err_t rd_kafka_commit_queue(
    rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *list, rd_kafka_queue_t *queue,
    void (*cb)(rd_kafka_t *, rd_kafka_resp_err_t, rd_kafka_topic_partition_list_t *, void *), void *opaque)
{
    if (!late.next)
        return late_real()(rk, list, queue, cb, opaque);
    late.next = false;
    late.rk = rk;
    late.list = rd_kafka_topic_partition_list_copy(list);
    late.queue = queue;
    assert_int_equal(pthread_create(&late.thread, NULL, late_arrives, NULL), 0);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

TEST(a_commit_that_is_tried_again_does_not_set_back_who_leaves)
{
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, 1), *group = cluster_fresh(1);
    struct member *m = member_join(b, group, topic, true);
    cluster_forget();
    cluster_publish(b, topic, 0);
    cluster_await(1);
    late.next = true;
    member_read_until(m, 1);
    while (late.next)
        member_turn(m, 10);
    cluster_publish(b, topic, 1);
    cluster_await(2);
    member_read_until(m, 2);
    member_leave(m);
    assert_int_equal(pthread_join(late.thread, NULL), 0);
    m = member_join(b, group, topic, true);
    cluster_publish(b, topic, 2);
    member_read_until(m, 1);
    assert_int_equal(m->total, 1);
    assert_int_equal(m->seen[2], 1);
    member_leave(m);
    broker_close(b);
}

/* ---- a cluster that stands still ---- */

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

/* From now on what is older than `lag` ms is. */
static void set_compacted(struct broker *b, const char *topic, const char *lag)
{
    const char *const settings[][2] = { { "cleanup.policy", "compact" },
                                        { "segment.ms", "100" },
                                        { "min.cleanable.dirty.ratio", "0.01" },
                                        { "min.compaction.lag.ms", lag } };
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

static atomic_bool silent; /* nobody is told which settings topics have, as long as this is so */

/* Instead of librdkafka's. */
void rd_kafka_DescribeConfigs(rd_kafka_t *rk, rd_kafka_ConfigResource_t **configs, size_t count,
                              const rd_kafka_AdminOptions_t *options, rd_kafka_queue_t *queue)
{
    typedef void describe(rd_kafka_t *, rd_kafka_ConfigResource_t **, size_t, const rd_kafka_AdminOptions_t *,
                          rd_kafka_queue_t *);
    describe *real = (describe *)(uintptr_t)dlsym(RTLD_NEXT, "rd_kafka_DescribeConfigs");
    while (atomic_load(&silent))
        poll(NULL, 0, 5);
    real(rk, configs, count, options, queue);
}

/* How a partition goes to another member of its group, or comes back, after the first one met what compaction took. */
struct handover {
    struct broker *b;
    char group[96];
    bool told;   /* by the first one; else it is not known by then that the topic is compacted */
    bool stands; /* the group stands behind it by then */
    bool joins;  /* another member comes, and the first one stays; else that leaves */
    bool ends;   /* and its daemon ends */
};

/* Knows the topic before it is compacted. */
static void handover_begin(struct handover *h, const char *topic)
{
    h->b = cluster_open();
    snprintf(h->group, sizeof h->group, "%s", cluster_fresh(1));
    struct member *m = member_join(h->b, h->group, topic, true);
    member_read_until(m, 1);
    member_leave(m);
}

static int64_t told(void)
{
    return cluster_metric("aqueduct_records_lost_total");
}

/* Until one of them (NULL: there is none) has seen the record, and so many were told. */
static void handover_await(struct member *a, struct member *b, int tag, int64_t count)
{
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    for (bool seen = false; !seen || told() < count;) {
        if (a)
            member_turn(a, 50);
        if (b)
            member_turn(b, 50);
        seen = (a && a->seen[tag]) || (b && b->seen[tag]);
        if (clock_mono_ms() > until)
            fail_msg("%s: %lld were told", seen ? "seen" : "not seen", (long long)told());
    }
}

/* The record `last` stands behind what is gone, and another one is published behind that. */
static void hand_over(struct handover *h, const char *topic, int last, int tag)
{
    int64_t before = told();
    atomic_store(&silent, !h->told);
    struct member *m = member_join(h->b, h->group, topic, h->stands), *other = NULL;
    handover_await(m, NULL, last, before + h->told);
    int64_t gone = tag - 1 - m->total;
    assert_true(gone > 0);
    assert_int_equal(told() - before, h->told ? gone : 0);
    if (!h->stands)
        memset(m->next, 0, sizeof m->next);
    if (h->joins) {
        other = member_join(h->b, h->group, topic, true);
        while (m->revocations == 0) {
            member_turn(m, 50);
            member_turn(other, 50);
        }
    } else {
        member_leave(m);
        m = NULL;
    }
    atomic_store(&silent, false);
    if (h->ends) {
        broker_close(h->b);
        assert_int_equal(told() - before, gone);
        h->b = cluster_open();
    }
    other = other ? other : member_join(h->b, h->group, topic, true);
    cluster_publish(h->b, topic, tag);
    handover_await(m, other, tag, before + gone);
    if (m)
        member_leave(m);
    member_leave(other);
    broker_close(h->b);
    assert_int_equal(told() - before, gone);
}

/* Also when the daemon knew the topic before it was compacted. */
TEST(what_compaction_took_from_a_slow_group_is_told_once_whoever_has_the_partition)
{
    enum { HANDOVERS = 5 };
    struct handover handovers[HANDOVERS] = {
        { .told = true },
        { .stands = false },
        { .stands = true },
        { .stands = true, .joins = true },
        { .stands = true, .ends = true },
    };
    char ours[] = "own.";
    cluster_config.prefix = ours; /* the topic is not one of the bridge's, whose settings it knows */
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, 1);
    cluster_forget();
    publish_of_key(b, topic, "one", 0);
    cluster_await(1);
    for (int i = 0; i < HANDOVERS; i++)
        handover_begin(&handovers[i], topic);
    for (int i = 1; i < OF_ONE_KEY; i++)
        publish_of_key(b, topic, "one", i);
    cluster_await(OF_ONE_KEY);
    atomic_store(&silent, true);
    set_compacted(b, topic, "0");
    int end = compacted(b, topic, OF_ONE_KEY);
    set_compacted(b, topic, "3600000"); /* nothing more */
    publish_of_key(b, topic, "last", end);
    cluster_await(end + 1);
    broker_close(b);
    for (int i = 0; i < HANDOVERS; i++)
        hand_over(&handovers[i], topic, end + i, end + i + 1);
}

int main(int argc, char **argv)
{
    cluster_self = argv[0];
    if (!cluster_ready(argc, argv))
        return 1;
    const struct CMUnitTest tests[] = {
        CLUSTER_TEST(a_commit_that_is_tried_again_does_not_set_back_who_leaves),
        CLUSTER_TEST(what_compaction_took_from_a_slow_group_is_told_once_whoever_has_the_partition),
        CLUSTER_TEST(what_was_finished_while_the_cluster_stood_still_does_not_come_again_to_who_finished_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
