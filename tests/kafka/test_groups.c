/* SPDX-License-Identifier: MIT */
/* Groups on a real Kafka: rebalances, members that die, positions that are gone. Run through tests/kafka/rig. */
#include <dlfcn.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bridge/broker/kafka/consumer.h"
#include "bridge/event/cursor.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "tests/support/cluster.h"

/* ---- groups ---- */

TEST(a_rebalance_drains_and_commits_first)
{
    enum { COUNT = 3000 };
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, 6), *group = cluster_fresh(1);
    struct member *one = member_join(b, group, topic, false); /* commits only when it must */
    cluster_forget();
    for (int i = 0; i < COUNT; i++)
        cluster_publish(b, topic, i);
    cluster_await(COUNT);
    member_read_until(one, COUNT / 2);
    struct member *two = member_join(b, group, topic, false);
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    int count = COUNT;
    while ((two->total == 0 || one->different + two->different < count) && clock_mono_ms() < until) {
        member_turn(one, 10);
        member_turn(two, 10);
        if (two->total == 0 && count < MOST) /* until the second has a share of what is new */
            cluster_publish(b, topic, count++);
    }
    for (int i = 0; i < count; i++)
        assert_true(one->seen[i] + two->seen[i] > 0);
    assert_true(two->total > 0);
    assert_true(one->revocations > 0);
    assert_int_equal(one->total + two->total, count); /* everything was committed before it moved: no repeats */
    member_leave(two);
    member_leave(one);
    broker_close(b);
}

/* Starts this program again as a member that says so on a pipe when it has partitions, and then lives until it is
 * killed. */
static pid_t start_member(const char *group, const char *topic)
{
    int fds[2];
    char letter;
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(fds[1], STDOUT_FILENO);
        execl(cluster_self, cluster_self, "member", cluster_prefix, group, topic, (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], &letter, 1), 1);
    close(fds[0]);
    return pid;
}

static int run_member(char **argv)
{
    snprintf(cluster_prefix, sizeof cluster_prefix, "%s", argv[2]);
    cluster_defaults();
    struct broker *b = cluster_open();
    struct member *m = member_join(b, argv[3], argv[4], true);
    while (m->total == 0)
        member_turn(m, 100);
    if (write(STDOUT_FILENO, "+", 1) != 1)
        return 1;
    for (;;)
        member_turn(m, 100);
}

TEST(a_killed_member_is_replaced)
{
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, 4), *group = cluster_fresh(1);
    cluster_forget();
    for (int i = 0; i < 100; i++)
        cluster_publish(b, topic, i);
    cluster_await(100);
    pid_t pid = start_member(group, topic);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    struct member *m = member_join(b, group, topic, true);
    for (int i = 100; i < 200; i++)
        cluster_publish(b, topic, i);
    cluster_await(200);
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    for (int missing = 1; missing && clock_mono_ms() < until;) {
        member_turn(m, 100);
        missing = 0;
        for (int i = 100; i < 200; i++)
            missing += !m->seen[i];
    }
    for (int i = 100; i < 200; i++)
        assert_int_equal(m->seen[i], 1);
    member_leave(m);
    broker_close(b);
}

TEST(a_static_member_takes_up_where_it_stood)
{
    cluster_config.instance = "node-1";
    cluster_config.session_timeout.ms = 60000;
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, 4), *group = cluster_fresh(1);
    cluster_forget();
    for (int i = 0; i < 50; i++)
        cluster_publish(b, topic, i);
    struct member *m = member_join(b, group, topic, true);
    member_read_until(m, 50);
    member_leave(m); /* does not leave the group: its session goes on for a minute */
    broker_close(b);
    b = cluster_open();
    for (int i = 50; i < 100; i++)
        cluster_publish(b, topic, i);
    m = member_join(b, group, topic, true);
    member_read_until(m, 50);
    for (int i = 0; i < 100; i++)
        assert_int_equal(m->seen[i], i >= 50);
    member_leave(m);
    broker_close(b);
}

/* Reads with both until all of these came to one or the other. */
static void read_with_both(struct member *one, struct member *two, int count)
{
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    for (int i = 0; i < count;) {
        member_turn(one, 20);
        member_turn(two, 20);
        while (i < count && one->seen[i] + two->seen[i] > 0)
            i++;
        assert_true(clock_mono_ms() < until);
    }
}

TEST(a_second_daemon_on_the_machine_goes_without_the_name)
{
    cluster_config.instance = (char *)(uintptr_t)cluster_fresh(2);
    struct broker *first = cluster_open(), *second = cluster_open();
    assert_string_equal(kafka_instance((struct kafka *)first), cluster_names[2]);
    assert_null(kafka_instance((struct kafka *)second));
    int64_t fenced = cluster_metric("aqueduct_kafka_fenced_total");
    const char *topic = cluster_topic(first, 4), *group = cluster_fresh(1);
    struct member *one = member_join(first, group, topic, true), *two = member_join(second, group, topic, true);
    cluster_forget();
    for (int i = 0; i < 100; i++)
        cluster_publish(first, topic, i);
    cluster_await(100);
    read_with_both(one, two, 100);
    assert_int_equal(cluster_metric("aqueduct_kafka_fenced_total"), fenced);
    member_leave(two);
    member_leave(one);
    broker_close(second);
    broker_close(first);
    first = cluster_open(); /* the name is free again */
    assert_non_null(kafka_instance((struct kafka *)first));
    broker_close(first);
}

TEST(a_daemon_that_is_fenced_goes_on_without_the_name)
{
    cluster_config.instance = (char *)(uintptr_t)cluster_fresh(2);
    struct broker *first = cluster_open();
    const char *topic = cluster_topic(first, 4), *group = cluster_fresh(1);
    int64_t fenced = cluster_metric("aqueduct_kafka_fenced_total");
    struct member *one = member_join(first, group, topic, true);
    cluster_forget();
    for (int i = 0; i < 50; i++)
        cluster_publish(first, topic, i);
    member_read_until(one, 50);
    cluster_config.group_prefix = (char *)(uintptr_t) "elsewhere."; /* so that it looks like another machine */
    struct broker *second = cluster_open();
    assert_non_null(kafka_instance((struct kafka *)second));
    struct member *two = member_join(second, group, topic, true);
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (cluster_metric("aqueduct_kafka_fenced_total") == fenced && clock_mono_ms() < until) {
        member_turn(one, 20);
        member_turn(two, 20);
    }
    for (int i = 50; i < 150; i++)
        cluster_publish(first, topic, i);
    cluster_await(150);
    read_with_both(one, two, 150);
    assert_int_equal(cluster_metric("aqueduct_kafka_fenced_total"), fenced + 1);
    assert_true(((struct kafka_consumer *)one->c)->nameless);
    assert_false(((struct kafka_consumer *)two->c)->nameless);
    member_leave(two);
    member_leave(one);
    broker_close(second);
    broker_close(first);
}

/* ---- positions ---- */

static void delete_before(struct broker *b, const char *topic, int64_t offset)
{
    struct kafka_client *client = kafka_client_take((struct kafka *)b);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, 0)->offset = offset;
    rd_kafka_DeleteRecords_t *d = rd_kafka_DeleteRecords_new(list);
    rd_kafka_queue_t *q = rd_kafka_queue_new(client->rk);
    rd_kafka_DeleteRecords(client->rk, &d, 1, NULL, q);
    cluster_admin_done(q);
    rd_kafka_DeleteRecords_destroy(d);
    rd_kafka_topic_partition_list_destroy(list);
    kafka_client_give(client);
}

static int64_t oldest(struct broker *b, const char *topic)
{
    int64_t low = -1, high = -1;
    struct kafka_client *client = kafka_client_take((struct kafka *)b);
    rd_kafka_query_watermark_offsets(client->rk, topic, 0, &low, &high, 5000);
    kafka_client_give(client);
    return low;
}

/* A topic between the bridge and itself stays as small as what waits in it. */
TEST(what_its_only_group_has_finished_is_deleted)
{
    struct err e = { "" };
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, 1), *group = cluster_fresh(1);
    char name[96], only[96];
    snprintf(name, sizeof name, "%s", topic);
    snprintf(only, sizeof only, "%s", group);
    assert_true(broker_topic(b, &(struct topic_config){ .name = name, .partitions = 1, .consumed_by = only }, &e));
    cluster_forget();
    for (int i = 0; i < 50; i++)
        cluster_publish(b, name, i);
    cluster_await(50);
    struct member *other = member_join(b, cluster_fresh(1), name, true);
    member_read_until(other, 50);
    member_leave(other); /* committed, but of another group */
    assert_int_equal(oldest(b, name), 0);
    struct member *m = member_join(b, only, name, true);
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    member_read_until(m, 50);
    while (oldest(b, name) == 0 && clock_mono_ms() < until)
        member_turn(m, 100);
    assert_in_range(oldest(b, name), 1, 50);
    member_leave(m);
    broker_close(b);
}

static void put_in_order(struct broker *b, const char *topic, int from, int to)
{
    for (int i = from; i < to; i++) {
        cluster_publish(b, topic, i);
        cluster_await(i + 1);
    }
}

/* Of ten records a group has read three; then those before that offset are removed. */
static void retention_passes(struct broker *b, const char *topic, const char *group, int64_t before)
{
    cluster_forget();
    put_in_order(b, topic, 0, 3);
    struct member *m = member_join(b, group, topic, true);
    member_read_until(m, 3);
    member_leave(m);
    put_in_order(b, topic, 3, 10);
    delete_before(b, topic, before);
}

TEST(a_position_that_is_gone_is_counted_and_passed)
{
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, 1), *group = cluster_fresh(1);
    retention_passes(b, topic, group, 7);
    int64_t lost = cluster_metric("aqueduct_records_lost_total");
    struct member *m = member_join(b, group, topic, true);
    member_read_until(m, 3);
    for (int i = 0; i < 10; i++)
        assert_int_equal(m->seen[i], i >= 7);
    assert_int_equal(cluster_metric("aqueduct_records_lost_total"), lost + 4);
    put_in_order(b, topic, 10, 12);
    member_read_until(m, 5);
    assert_int_equal(m->total, 5);
    member_leave(m);
    broker_close(b);
}

TEST(what_retention_took_is_counted_once_also_when_nothing_came_since)
{
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, 1), *group = cluster_fresh(1);
    retention_passes(b, topic, group, 10);
    int64_t lost = cluster_metric("aqueduct_records_lost_total"), until = clock_mono_ms() + PATIENCE_MS;
    struct member *m = member_join(b, group, topic, true);
    while (cluster_metric("aqueduct_records_lost_total") < lost + 7 && clock_mono_ms() < until)
        member_turn(m, 20);
    member_leave(m);
    put_in_order(b, topic, 10, 11);
    m = member_join(b, group, topic, true);
    member_read_until(m, 1);
    assert_int_equal(cluster_metric("aqueduct_records_lost_total"), lost + 7);
    member_leave(m);
    broker_close(b);
}

/* It was there when they came, and took none of them: a sink that is paused from its first day on. */
TEST(what_retention_took_from_a_group_that_had_read_nothing_is_counted)
{
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, 1), *group = cluster_fresh(1);
    int64_t lost = cluster_metric("aqueduct_records_lost_total"), until = clock_mono_ms() + PATIENCE_MS;
    struct member *m = member_join(b, group, topic, false);
    while (!((struct kafka_consumer *)m->c)->assigned_count && clock_mono_ms() < until)
        member_turn(m, 20);
    member_leave(m);
    cluster_forget();
    put_in_order(b, topic, 0, 5);
    delete_before(b, topic, 5);
    m = member_join(b, group, topic, false);
    while (cluster_metric("aqueduct_records_lost_total") < lost + 5 && clock_mono_ms() < until)
        member_turn(m, 20);
    assert_int_equal(cluster_metric("aqueduct_records_lost_total"), lost + 5);
    member_leave(m);
    broker_close(b);
}

TEST(a_position_beyond_the_end_begins_again)
{
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, 1), *group = cluster_fresh(1);
    cluster_forget();
    put_in_order(b, topic, 0, 3);
    struct member *m = member_join(b, group, topic, false);
    member_read_until(m, 3);
    consumer_commit(m->c, (struct topic_partition){ topic, 0 }, 1000, NULL);
    memset(m->next, 0, sizeof m->next);
    member_leave(m);
    m = member_join(b, group, topic, true);
    member_read_until(m, 3);
    member_leave(m);
    broker_close(b);
}

/* Whoever gets a partition gets what is finished beyond its position as well, from a member that leaves and from one
 * that shares. */
TEST(what_is_finished_beyond_moves_with_the_partition)
{
    enum { COUNT = 400, PARTITIONS = 4 };
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, PARTITIONS), *group = cluster_fresh(1);
    int64_t ends[PARTITIONS] = { 0 };
    cluster_forget();
    for (int i = 0; i < COUNT; i++)
        cluster_publish(b, topic, i);
    cluster_await(COUNT);
    struct member *one = member_join(b, group, topic, false);
    member_read_until(one, COUNT);
    for (int32_t p = 0; p < PARTITIONS; p++) { /* all but the first of each */
        struct ranges beyond = { 0 };
        ends[p] = one->next[p];
        assert_true(ends[p] > 1);
        ranges_add(&beyond, 1, ends[p]);
        assert_int_equal(consumer_commit(one->c, (struct topic_partition){ topic, p }, 0, &beyond), 0);
        ranges_free(&beyond);
    }
    memset(one->next, 0, sizeof one->next);
    struct member *two = member_join(b, group, topic, false);
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while ((two->different == 0 || one->total - COUNT + two->total < PARTITIONS) && clock_mono_ms() < until) {
        member_turn(one, 10);
        member_turn(two, 10);
    }
    assert_true(one->revocations > 0 && two->total > 0);
    assert_int_equal(one->total - COUNT + two->total, PARTITIONS); /* those first ones, and no other */
    memset(one->next, 0, sizeof one->next);
    memset(two->next, 0, sizeof two->next);
    member_leave(two);
    member_leave(one);
    struct member *three = member_join(b, group, topic, false);
    member_read_until(three, PARTITIONS);
    for (int i = 0; i < 20; i++)
        member_turn(three, 50);
    assert_int_equal(three->total, PARTITIONS);
    member_leave(three);
    broker_close(b);
}

/* Another program commits for the group, with a note of its own. */
static void commit_with(const char *group, const char *topic, int64_t offset, const char *note, size_t n)
{
    struct err e = { "" };
    char text[KAFKA_ERRSTR];
    rd_kafka_conf_t *conf = kafka_conf(&cluster_config, KAFKA_READER, group, &e);
    assert_non_null(conf);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    assert_non_null(rk);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *p = rd_kafka_topic_partition_list_add(list, topic, 0);
    p->offset = offset;
    p->metadata = memcpy(mem_alloc(n + 1), note, n);
    p->metadata_size = n;
    assert_int_equal(rd_kafka_commit(rk, list, 0), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
}

TEST(metadata_of_somebody_else_is_ignored)
{
    static const char *const notes[] = { "host-17 2026-01-01", "aq1:",         "aq1:AAAA",
                                         "aq1:AQAAAAAA",       "aq1:\xff\xfe", "aq1:=" };
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, 1);
    char large[4096];
    memset(large, 'A', sizeof large);
    memcpy(large, "aq1:", 4);
    cluster_forget();
    put_in_order(b, topic, 0, 10);
    for (size_t i = 0; i <= sizeof notes / sizeof *notes; i++) {
        bool last = i == sizeof notes / sizeof *notes;
        const char *group = cluster_fresh(1);
        commit_with(group, topic, 4, last ? large : notes[i], last ? sizeof large : strlen(notes[i]));
        struct member *m = member_join(b, group, topic, true);
        member_read_until(m, 6);
        for (int k = 0; k < 10; k++)
            assert_int_equal(m->seen[k], k >= 4);
        member_leave(m);
    }
    broker_close(b);
}

/* What earlier versions committed has no metadata; and a set that was right may be followed by an offset of another
 * program, which it says nothing about. */
TEST(a_position_that_another_program_moved_has_no_set)
{
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, 1), *group = cluster_fresh(1);
    cluster_forget();
    put_in_order(b, topic, 0, 10);
    struct member *m = member_join(b, group, topic, false);
    member_read_until(m, 10);
    struct ranges beyond = { 0 };
    ranges_add(&beyond, 3, 10);
    consumer_commit(m->c, (struct topic_partition){ topic, 0 }, 2, &beyond);
    ranges_free(&beyond);
    memset(m->next, 0, sizeof m->next);
    member_leave(m);
    commit_with(group, topic, 5, "", 0);
    m = member_join(b, group, topic, true);
    member_read_until(m, 5);
    for (int k = 0; k < 10; k++)
        assert_int_equal(m->seen[k], k >= 5);
    member_leave(m);
    broker_close(b);
}

static void remove_topic(struct broker *b, const char *topic)
{
    struct kafka_client *client = kafka_client_take((struct kafka *)b);
    rd_kafka_DeleteTopic_t *d = rd_kafka_DeleteTopic_new(topic);
    rd_kafka_queue_t *q = rd_kafka_queue_new(client->rk);
    rd_kafka_DeleteTopics(client->rk, &d, 1, NULL, q);
    cluster_admin_done(q);
    rd_kafka_DeleteTopic_destroy(d);
    kafka_client_give(client);
}

static void make_topic(struct broker *b, const char *topic)
{
    char text[256];
    struct kafka_client *client = kafka_client_take((struct kafka *)b);
    rd_kafka_NewTopic_t *t = rd_kafka_NewTopic_new(topic, 1, 1, text, sizeof text);
    rd_kafka_queue_t *q = rd_kafka_queue_new(client->rk);
    rd_kafka_CreateTopics(client->rk, &t, 1, NULL, q);
    cluster_admin_done(q);
    rd_kafka_NewTopic_destroy(t);
    kafka_client_give(client);
}

static void put(struct broker *b, const char *topic, int from, int to)
{
    for (int i = from; i < to; i++)
        cluster_publish(b, topic, i);
    cluster_await(to);
}

/* Reads what was stored of these; none may come twice. (While a topic is fresh the producer may not know it yet.) */
static void read_each_once(struct member *m, int from, int to)
{
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    for (int i = from; i < to;) {
        if (cluster_outcomes[i] != OUTCOME_STORED || m->seen[i] > 0)
            i++;
        else
            member_turn(m, 100);
        if (clock_mono_ms() > until)
            fail_msg("%d was stored and did not come, %d did", i, m->different);
    }
    for (int i = from; i < to; i++)
        assert_true(m->seen[i] <= 1);
}

/* Another member of the group in the place of this one, which leaves. */
static struct member *follow(struct broker *b, struct member *m, const char *group, const char *topic)
{
    member_leave(m);
    return member_join(b, group, topic, true);
}

/* Until the member knows the record before its position. */
static void until_known(struct member *m)
{
    struct kafka_consumer *c = (struct kafka_consumer *)m->c;
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (c->assigned_count == 0 || c->assigned[0].last.offset < 0) {
        assert_int_equal(member_turn(m, 20) > 0, 0);
        assert_true(clock_mono_ms() < until);
    }
}

/* Until the cluster has said of all partitions that it has the position. */
static void until_stored(struct member *m)
{
    struct kafka_consumer *c = (struct kafka_consumer *)m->c;
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    for (bool all = false; !all;) {
        member_turn(m, 20);
        all = c->assigned_count > 0 && !c->committing;
        for (size_t i = 0; i < c->assigned_count; i++)
            all = all && !c->assigned[i].asked && c->assigned[i].has_committed;
        assert_true(clock_mono_ms() < until);
    }
}

enum anew_gap { GAP_OF_A_FETCH, GAP_UNTIL_REVOKED };

/* The topic is away for as long as the gap says. */
static void until_noticed(struct member *m, enum anew_gap gap)
{
    struct kafka_consumer *c = (struct kafka_consumer *)m->c;
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (gap == GAP_OF_A_FETCH ? !atomic_load(&c->doubt) : m->revocations == 0) {
        if (gap == GAP_UNTIL_REVOKED)
            member_turn(m, 100);
        else
            poll(NULL, 0, 5);
        assert_true(clock_mono_ms() < until);
    }
}

/* A group that could never store a position goes on where it had finished, and nobody says that its topic was deleted. */
TEST(a_position_that_was_never_stored_tells_nothing_of_the_topic)
{
    cluster_config.session_timeout.ms = 2000;
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, 1), *group = cluster_fresh(1);
    int64_t anew = cluster_metric("aqueduct_kafka_topics_anew_total");
    cluster_forget();
    put(b, topic, 0, 100);
    struct member *m = member_join(b, group, topic, false);
    member_read_until(m, 100);
    cluster_rig("kill");
    m->commit = true;
    until_noticed(m, GAP_UNTIL_REVOKED);
    cluster_rig("restart");
    put(b, topic, 100, 110);
    member_read_until(m, 110);
    assert_int_equal(m->total, 110);
    until_stored(m);
    assert_int_equal(cluster_metric("aqueduct_kafka_topics_anew_total"), anew);
    member_leave(m);
    broker_close(b);
}

/* Reads a topic of 100 records, which is deleted and made anew with `count`; `again`: read by a member that began at its
 * end. All of the new one must come, once. */
static void expect_all_of_a_new_topic(int count, enum anew_gap gap, bool again)
{
    enum { OLD = 100 };
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, 1), *group = cluster_fresh(1);
    int64_t anew = cluster_metric("aqueduct_kafka_topics_anew_total");
    cluster_forget();
    put(b, topic, 0, OLD);
    struct member *m = member_join(b, group, topic, true);
    member_read_until(m, OLD);
    until_stored(m);
    if (again) {
        m = follow(b, m, group, topic);
        until_known(m);
    }
    remove_topic(b, topic);
    until_noticed(m, gap);
    make_topic(b, topic);
    put(b, topic, OLD, OLD + count);
    read_each_once(m, OLD, OLD + count);
    assert_int_equal(cluster_metric("aqueduct_kafka_topics_anew_total"), anew + 1);
    m = follow(b, m, group, topic);
    put(b, topic, OLD + count, OLD + count + 1);
    read_each_once(m, OLD + count, OLD + count + 1);
    assert_int_equal(m->total, 1);
    member_leave(m);
    assert_false(atomic_load(&((struct kafka *)b)->outlived)); /* its clients have ended */
    broker_close(b);
}

TEST(a_topic_made_anew_and_longer_than_the_position_is_read_from_its_start)
{
    expect_all_of_a_new_topic(150, GAP_OF_A_FETCH, false);
}

TEST(a_topic_made_anew_and_shorter_than_the_position_is_read_from_its_start)
{
    expect_all_of_a_new_topic(50, GAP_OF_A_FETCH, false);
}

TEST(a_topic_that_was_away_is_read_from_its_start)
{
    expect_all_of_a_new_topic(150, GAP_UNTIL_REVOKED, false);
}

TEST(a_topic_made_anew_before_anything_came_is_read_from_its_start)
{
    expect_all_of_a_new_topic(150, GAP_OF_A_FETCH, true);
}

/* ---- records by the common queue ---- */

static bool queue_forgotten; /* the next partition has no queue of its own, as after librdkafka made it a second time */

/* Instead of librdkafka's. */
void rd_kafka_queue_forward(rd_kafka_queue_t *from, rd_kafka_queue_t *to)
{
    bool forgotten = queue_forgotten && !to;
    queue_forgotten = queue_forgotten && !forgotten;
    if (!forgotten)
        ((void (*)(rd_kafka_queue_t *, rd_kafka_queue_t *))(uintptr_t)dlsym(RTLD_NEXT, "rd_kafka_queue_forward"))(from,
                                                                                                                  to);
}

TEST(records_that_come_by_the_common_queue_are_read_all_the_same)
{
    enum { COUNT = 200 };
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, 3), *group = cluster_fresh(1);
    cluster_forget();
    for (int i = 0; i < COUNT; i++)
        cluster_publish(b, topic, i);
    cluster_await(COUNT);
    queue_forgotten = true;
    struct member *m = member_join(b, group, topic, true);
    member_read_until(m, COUNT);
    assert_false(queue_forgotten);
    assert_int_equal(m->total, COUNT);
    member_leave(m);
    broker_close(b);
}

/* ---- the log from any position ---- */

/* Reads until something came, or the reader knows that something is wrong. */
static int log_read(struct log *l, struct log_reader *r, int wake_fd, struct record **out, size_t room)
{
    struct err e = { "" };
    int n = 0;
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (n == 0 && !r->anew && clock_mono_ms() < until) {
        struct pollfd p = { .fd = wake_fd, .events = POLLIN };
        wake_clear(wake_fd);
        n = l->ops->read(l, r, 100, out, room, 1 << 20, &e);
        if (n == 0 && !r->anew)
            poll(&p, 1, 1000);
    }
    return n;
}

TEST(a_reader_of_the_log_is_told_what_is_gone_and_that_the_topic_is_another_one)
{
    struct err e = { "" };
    struct record *got[64];
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, 1);
    struct topic_partition p = { topic, 0 };
    uint64_t identity = 0;
    cluster_forget();
    put(b, topic, 0, 40);
    delete_before(b, topic, 25);
    int wake_fd = wake_new();
    struct log *l = broker_log(b, &(struct log_options){ .wake_fd = wake_fd }, &e);
    assert_true(l->ops->identity(l, topic, &identity));
    struct log_reader *gone = l->ops->open(l, p, identity, 10), *kept = l->ops->open(l, p, identity, 25);
    int n = log_read(l, gone, wake_fd, got, 64);
    assert_true(n > 0);
    assert_int_equal(got[0]->offset, 25);
    assert_int_equal(gone->lost, 15);
    while (n > 0)
        record_free(got[--n]);
    assert_int_equal(log_read(l, kept, wake_fd, got, 5), 5);
    assert_int_equal(kept->lost, 0);
    for (int i = 0; i < 5; i++)
        record_free(got[i]);
    remove_topic(b, topic);
    make_topic(b, topic);
    struct log_reader *beyond = l->ops->open(l, p, identity, 50);
    assert_int_equal(log_read(l, beyond, wake_fd, got, 64), 0);
    assert_true(beyond->anew);
    assert_int_equal(log_read(l, kept, wake_fd, got, 64), 0);
    assert_true(kept->anew);
    l->ops->close(l, gone);
    l->ops->close(l, kept);
    l->ops->close(l, beyond);
    broker_log_close(b, l);
    close(wake_fd);
    broker_close(b);
}

static bool live_at(void *ctx, struct topic_partition p, int64_t *out)
{
    (void)p;
    *out = *(const int64_t *)ctx;
    return true;
}

static void place(struct cursor *c, struct log *l, int wake_fd, enum cursor_from from)
{
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (!cursor_place(c, l, (struct cursor_start){ from, 0 })) {
        struct pollfd p = { .fd = wake_fd, .events = POLLIN };
        poll(&p, 1, 1000);
        wake_clear(wake_fd);
        if (clock_mono_ms() > until)
            fail_msg("the cursor finds no place");
    }
}

/* At least so many records, stored that much later than now. (A fresh topic may not take what comes first.) */
static void put_later(struct broker *b, const char *topic, int count, int64_t later_ms)
{
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    cluster_forget();
    for (int tag = 0, stored = 0; stored < count; tag++) {
        struct record r = {
            .topic = str_of(topic), .partition = 0, .timestamp_ms = clock_wall_ms() + later_ms, .value = str_of("x")
        };
        broker_publish(b, &(struct publication){
                              .records = &r, .record_count = 1, .done = cluster_done, .tag = (uint64_t)tag });
        cluster_await(tag + 1);
        stored += cluster_outcomes[tag] == OUTCOME_STORED;
        assert_true(clock_mono_ms() < until && tag < MOST - 1);
    }
}

TEST(a_cursor_knows_a_topic_that_was_made_anew_and_is_longer_than_its_position)
{
    struct err e = { "" };
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, 1);
    int64_t live = 40;
    int wake_fd = wake_new();
    struct hmac *key = hmac_new(str_of("k"));
    struct buf text = buf_new(CURSOR_TEXT_MAX);
    cluster_forget();
    put(b, topic, 0, 40);
    struct log *l = broker_log(b, &(struct log_options){ .wake_fd = wake_fd, .live = live_at, .ctx = &live }, &e);
    struct cursor *c = cursor_new(&topic, 1);
    place(c, l, wake_fd, CURSOR_LATEST);
    cursor_write(c, key, &text);
    for (int anew = 0; anew < 2; anew++) {
        if (anew) {
            broker_log_close(b, l);
            remove_topic(b, topic);
            make_topic(b, topic);
            put_later(b, topic, 60, 2 * CURSOR_SKEW_MS);
            live = 60;
            l = broker_log(b, &(struct log_options){ .wake_fd = wake_fd, .live = live_at, .ctx = &live }, &e);
        }
        assert_true(cursor_read(c, key, buf_str(&text), &e));
        place(c, l, wake_fd, CURSOR_RESUME);
        assert_string_equal(cursor_verdict_text(c->verdict), anew ? "reset" : "exact");
        assert_int_equal(c->topics[0].parts[0].next, anew ? 0 : 40);
    }
    cursor_free(c);
    buf_free(&text);
    hmac_free(key);
    broker_log_close(b, l);
    close(wake_fd);
    broker_close(b);
}

/* A broker that is no longer the coordinator, or not yet, says so: the question is asked again; librdkafka goes to the client's
 * group then, so it must have one. */
TEST(a_group_can_be_asked_for_while_its_coordinator_moves)
{
    enum { OFFSET_FETCH = 9 };
    struct err e = { "" };
    rd_kafka_t *host = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), NULL, 0);
    rd_kafka_mock_cluster_t *mock = rd_kafka_mock_cluster_new(host, 1);
    rd_kafka_mock_push_request_errors(mock, OFFSET_FETCH, 4, RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
                                      RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
                                      RD_KAFKA_RESP_ERR_NOT_COORDINATOR);
    cluster_config.servers = (char *)(uintptr_t)rd_kafka_mock_cluster_bootstraps(mock);
    struct kafka outside = { .config = &cluster_config, .outside = true };
    kafka_access_open(&outside);
    rd_kafka_t *reader = kafka_client_reader(&cluster_config, &outside, &e);
    assert_non_null(reader);
    const rd_kafka_topic_partition_list_t *positions;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, "topic", 0);
    rd_kafka_event_t *ev = kafka_group_positions(&outside, reader, "group", list, PATIENCE_MS, &positions, &e);
    assert_true(ev && positions->cnt == 1);
    rd_kafka_event_destroy(ev);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(reader);
    kafka_access_close(&outside);
    rd_kafka_mock_cluster_destroy(mock);
    rd_kafka_destroy(host);
}

/* From the end, across a time without the consumer: nothing published after the first opening is missed. */
TEST(a_group_from_the_end_misses_nothing_after_its_start)
{
    struct err e = { "" };
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, 2), *group = cluster_fresh(1);
    cluster_forget();
    put_in_order(b, topic, 0, 10);
    int wake_fd = wake_new();
    struct consumer_options o = { .group = group, .topics = &topic, .topic_count = 1, .wake_fd = wake_fd };
    struct consumer *c = consumer_open(b, &o, &e);
    assert_non_null(c);
    consumer_close(c); /* never even polled, nothing committed by us */
    close(wake_fd);
    put_in_order(b, topic, 10, 30);
    struct member *m = member_join(b, group, topic, true);
    member_read_until(m, 20);
    for (int i = 0; i < 30; i++)
        assert_int_equal(m->seen[i], i >= 10);
    member_leave(m);
    broker_close(b);
}

int main(int argc, char **argv)
{
    cluster_self = argv[0];
    if (argc == 5 && strcmp(argv[1], "member") == 0)
        return run_member(argv);
    if (!cluster_ready(argc, argv))
        return 1;
    const struct CMUnitTest tests[] = {
        CLUSTER_TEST(a_rebalance_drains_and_commits_first),
        CLUSTER_TEST(a_killed_member_is_replaced),
        CLUSTER_TEST(a_static_member_takes_up_where_it_stood),
        CLUSTER_TEST(what_its_only_group_has_finished_is_deleted),
        CLUSTER_TEST(a_second_daemon_on_the_machine_goes_without_the_name),
        CLUSTER_TEST(a_daemon_that_is_fenced_goes_on_without_the_name),
        CLUSTER_TEST(a_position_that_is_gone_is_counted_and_passed),
        CLUSTER_TEST(what_retention_took_is_counted_once_also_when_nothing_came_since),
        CLUSTER_TEST(what_retention_took_from_a_group_that_had_read_nothing_is_counted),
        CLUSTER_TEST(a_position_beyond_the_end_begins_again),
        CLUSTER_TEST(what_is_finished_beyond_moves_with_the_partition),
        CLUSTER_TEST(metadata_of_somebody_else_is_ignored),
        CLUSTER_TEST(a_position_that_another_program_moved_has_no_set),
        CLUSTER_TEST(a_position_that_was_never_stored_tells_nothing_of_the_topic),
        CLUSTER_TEST(a_topic_made_anew_and_longer_than_the_position_is_read_from_its_start),
        CLUSTER_TEST(a_topic_made_anew_and_shorter_than_the_position_is_read_from_its_start),
        CLUSTER_TEST(a_topic_that_was_away_is_read_from_its_start),
        CLUSTER_TEST(a_topic_made_anew_before_anything_came_is_read_from_its_start),
        CLUSTER_TEST(a_cursor_knows_a_topic_that_was_made_anew_and_is_longer_than_its_position),
        CLUSTER_TEST(a_reader_of_the_log_is_told_what_is_gone_and_that_the_topic_is_another_one),
        CLUSTER_TEST(records_that_come_by_the_common_queue_are_read_all_the_same),
        CLUSTER_TEST(a_group_can_be_asked_for_while_its_coordinator_moves),
        CLUSTER_TEST(a_group_from_the_end_misses_nothing_after_its_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
