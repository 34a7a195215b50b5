/* SPDX-License-Identifier: MIT */
/* Exactly once into a real Kafka: transactions that hold events and state, seen whole or not at all, by our consumers and by
 * another program's; whoever claims a source last has it; what dies or breaks in the middle leaves nothing twice. Run through
 * tests/kafka/rig. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/mem.h"
#include "tests/support/cluster.h"
#include "tests/support/metric.h"

enum { BATCH = 10 };

/* ---- words for what the tests do ---- */

static void claim(struct broker *b, const char *source)
{
    struct err e = { "" };
    if (!broker_claim(b, source, &e))
        fail_msg("broker_claim: %s", e.text);
}

/* The events first .. first + count - 1, and that the source has read so far, as one transaction. */
static void publish_batch(struct broker *b, const char *topic, const char *source, int first, int count)
{
    struct record *records = mem_alloc((size_t)count * sizeof *records);
    char(*values)[16] = mem_alloc((size_t)count * sizeof *values), far[16];
    for (int i = 0; i < count; i++) {
        snprintf(values[i], sizeof values[i], "%d", first + i);
        records[i] = (struct record){
            .topic = str_of(topic), .partition = -1, .key = str_of(values[i]), .value = str_of(values[i])
        };
    }
    snprintf(far, sizeof far, "%d", first + count);
    struct change change = { STR("far"), str_of(far), true };
    broker_publish(b, &(struct publication){ .records = records,
                                             .record_count = (size_t)count,
                                             .state_of = source,
                                             .changes = &change,
                                             .change_count = 1,
                                             .exactly_once = true,
                                             .done = cluster_done,
                                             .tag = (uint64_t)first });
    free(values);
    free(records);
}

static enum outcome outcome_of(struct broker *b, const char *topic, const char *source, int first, int count)
{
    cluster_forget();
    publish_batch(b, topic, source, first, count);
    cluster_await(1);
    return (enum outcome)cluster_outcomes[first];
}

static bool take_far(void *ctx, struct str key, struct str value, bool ahead, struct err *e)
{
    (void)e;
    assert_true(str_eq(key, STR("far")));
    assert_false(ahead); /* nothing is ever in doubt */
    int64_t far = 0;
    assert_true(str_to_i64(value, &far));
    *(int *)ctx = (int)far;
    return true;
}

/* How far the source has read, as its state says. */
static int far_of(struct broker *b, const char *source)
{
    int far = 0;
    struct err e = { "" };
    if (!broker_state(b, source, take_far, &far, &e))
        fail_msg("broker_state: %s", e.text);
    return far;
}

/* Another program's view of the topic: how often each number is there for one who reads what is committed. */
static int count_by_kcat(const char *topic, bool committed, int seen[], int room)
{
    char command[512], line[64];
    int total = 0;
    snprintf(command, sizeof command, "kcat -b %s -C -t %s -o beginning -e -q -X isolation.level=read_%scommitted",
             getenv("AQUEDUCT_TEST_KAFKA"), topic, committed ? "" : "un");
    memset(seen, 0, (size_t)room * sizeof *seen);
    FILE *f = popen(command, "r"); /* NOLINT(cert-env33-c): a test's own words */
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        long n = strtol(line, NULL, 10);
        assert_in_range(n, 0, room - 1);
        seen[n]++;
        total++;
    }
    assert_int_equal(pclose(f), 0);
    return total;
}

static void expect_each_once(const char *topic, int count)
{
    int *seen = mem_alloc((size_t)(count + BATCH) * sizeof *seen);
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    /* An acknowledged transaction counts at once and is seen a moment later. */
    while (count_by_kcat(topic, true, seen, count + BATCH) < count && clock_mono_ms() < until)
        continue;
    for (int i = 0; i < count; i++)
        if (seen[i] != 1)
            fail_msg("%d is there %d times", i, seen[i]);
    free(seen);
}

static int64_t ended(const char *source, const char *end)
{
    return metric_value(metric_named("aqueduct_transactions_total", LABELS(source, end)));
}

/* A producer of somebody else's. */
static rd_kafka_t *stranger(const char *id)
{
    char text[KAFKA_ERRSTR];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", getenv("AQUEDUCT_TEST_KAFKA"), NULL, 0);
    rd_kafka_conf_set(conf, "transactional.id", id, NULL, 0);
    rd_kafka_conf_set_log_cb(conf, NULL);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    assert_non_null(rk);
    assert_null(rd_kafka_init_transactions(rk, PATIENCE_MS));
    return rk;
}

static void stranger_begins(rd_kafka_t *rk, const char *topic, const char *value)
{
    assert_null(rd_kafka_begin_transaction(rk));
    assert_int_equal(rd_kafka_producev(rk, RD_KAFKA_VTYPE_TOPIC, topic, RD_KAFKA_VTYPE_PARTITION, (int32_t)0,
                                       RD_KAFKA_VTYPE_MSGFLAGS, RD_KAFKA_MSG_F_COPY, RD_KAFKA_VTYPE_KEY, value,
                                       strlen(value), RD_KAFKA_VTYPE_VALUE, value, strlen(value), RD_KAFKA_VTYPE_END),
                     0);
    assert_int_equal(rd_kafka_flush(rk, PATIENCE_MS), 0);
}

static void *stranger_aborts_later(void *rk)
{
    poll(NULL, 0, 1000);
    rd_kafka_error_destroy(rd_kafka_abort_transaction(rk, PATIENCE_MS));
    return NULL;
}

/* Until what the group has not finished is `pending`; it stays so for a moment. */
static void expect_pending_of(void *ctx, const struct standing *s)
{
    *(int64_t *)ctx += standing_pending(s);
}

static void expect_pending(struct member *m, int64_t pending)
{
    int64_t until = clock_mono_ms() + PATIENCE_MS, found = -1, is_so_since = 0;
    while (!is_so_since || clock_mono_ms() - is_so_since < 300) {
        member_turn(m, 50);
        found = 0;
        consumer_standing(m->c, expect_pending_of, &found);
        is_so_since = found != pending ? 0 : is_so_since ? is_so_since : clock_mono_ms();
        if (clock_mono_ms() > until)
            fail_msg("pending is %lld instead of %lld", (long long)found, (long long)pending);
    }
}

static void add_unread(void *ctx, const char *group, bool idle, const char *topic, int64_t unread)
{
    (void)group;
    (void)idle;
    (void)topic;
    *(int64_t *)ctx += unread;
}

/* ---- what is asked of librdkafka ---- */

TEST(consumers_read_what_is_committed)
{
    struct err e = { "" };
    char value[32];
    static const enum kafka_role roles[] = { KAFKA_MEMBER, KAFKA_READER };
    for (size_t i = 0; i < 2; i++) {
        size_t room = sizeof value;
        rd_kafka_conf_t *conf = kafka_conf(&cluster_config, roles[i], "g", &e);
        assert_non_null(conf);
        assert_int_equal(rd_kafka_conf_get(conf, "isolation.level", value, &room), RD_KAFKA_CONF_OK);
        assert_string_equal(value, "read_committed");
        rd_kafka_conf_destroy(conf);
    }
    size_t room = sizeof value; /* and so do other programs on librdkafka that say nothing, kcat for one */
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    assert_int_equal(rd_kafka_conf_get(conf, "isolation.level", value, &room), RD_KAFKA_CONF_OK);
    assert_string_equal(value, "read_committed");
    rd_kafka_conf_destroy(conf);
}

/* ---- events and state ---- */

TEST(events_and_state_are_one_transaction)
{
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, 3), *source = cluster_fresh(1);
    claim(b, source);
    for (int i = 0; i < 5; i++)
        assert_int_equal(outcome_of(b, topic, source, i * BATCH, BATCH), OUTCOME_STORED);
    assert_int_equal(ended(source, "committed"), 6); /* with the claim */
    assert_int_equal(ended(source, "aborted"), 0);
    expect_each_once(topic, 5 * BATCH);
    broker_release(b, source);
    claim(b, source);
    assert_int_equal(far_of(b, source), 5 * BATCH);
    broker_close(b);
}

/* A source that was read otherwise before goes on where it stood, and back. */
TEST(a_source_may_change_to_exactly_once_and_back)
{
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, 1), *source = cluster_fresh(1);
    struct change before = { STR("far"), STR("3"), true }, after = { STR("far"), STR("30"), true };
    cluster_publish_changes(b, topic, source, &before, 1);
    claim(b, source);
    assert_int_equal(far_of(b, source), 3);
    assert_int_equal(outcome_of(b, topic, source, 3, BATCH), OUTCOME_STORED);
    broker_release(b, source);
    cluster_publish_changes(b, topic, source, &after, 1);
    assert_int_equal(far_of(b, source), 30);
    broker_close(b);
}

/* One that can never be stored takes none of the others with it, and what was undone is nobody's. */
TEST(what_was_undone_is_neither_seen_nor_pending_nor_lost)
{
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, 1), *source = cluster_fresh(1);
    char *large = mem_alloc(2 << 20);
    struct record record = { .topic = str_of(topic), .partition = 0, .value = { large, 2 << 20 } };
    struct record both[2] = { { .topic = str_of(topic), .partition = 0, .value = STR("7") }, record };
    memset(large, 'x', 2 << 20);
    struct member *m = member_join(b, cluster_fresh(2), topic, true);
    claim(b, source);
    assert_int_equal(outcome_of(b, topic, source, 0, 1), OUTCOME_STORED);
    cluster_forget();
    broker_publish(b, &(struct publication){ .records = both,
                                             .record_count = 2,
                                             .state_of = source,
                                             .exactly_once = true,
                                             .done = cluster_done });
    cluster_await(1);
    assert_int_equal(cluster_outcomes[0], OUTCOME_INVALID);
    assert_int_equal(ended(source, "aborted"), 1);
    assert_int_equal(outcome_of(b, topic, source, 1, 1), OUTCOME_STORED);
    expect_each_once(topic, 2);
    member_read_until(m, 2);
    expect_pending(m, 0);
    assert_int_equal(m->total, 2);
    assert_int_equal(cluster_metric("aqueduct_records_lost_total"), 0);
    member_leave(m);
    int64_t unread = 0;
    struct err e = { "" };
    assert_true(broker_groups(b, cluster_names[2], &(struct group_seen){ add_unread, &unread }, &e));
    assert_int_equal(unread, 0);
    free(large);
    broker_close(b);
}

/* A reader that was away goes on behind the marks, also when retention has taken all that was before them. */
TEST(marks_of_transactions_are_not_records_that_were_lost)
{
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, 1), *source = cluster_fresh(1), *group = cluster_fresh(2);
    claim(b, source);
    assert_int_equal(outcome_of(b, topic, source, 0, BATCH), OUTCOME_STORED);
    struct member *m = member_join(b, group, topic, true);
    member_read_until(m, BATCH);
    expect_pending(m, 0);
    member_leave(m);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, 0)->offset = RD_KAFKA_OFFSET_END;
    struct kafka_client *client = kafka_client_take((struct kafka *)b);
    rd_kafka_queue_t *q = rd_kafka_queue_new(client->rk);
    rd_kafka_DeleteRecords_t *request = rd_kafka_DeleteRecords_new(list);
    rd_kafka_DeleteRecords(client->rk, &request, 1, NULL, q);
    cluster_admin_done(q);
    rd_kafka_DeleteRecords_destroy(request);
    kafka_client_give(client);
    rd_kafka_topic_partition_list_destroy(list);
    assert_int_equal(outcome_of(b, topic, source, BATCH, 1), OUTCOME_STORED);
    m = member_join(b, group, topic, true);
    member_read_until(m, 1);
    assert_int_equal(m->seen[BATCH], 1);
    assert_int_equal(m->total, 1);
    assert_int_equal(cluster_metric("aqueduct_records_lost_total"), 0);
    member_leave(m);
    broker_close(b);
}

/* Of a daemon that died: what others stored behind it is not overlooked. */
TEST(state_behind_an_open_transaction_is_waited_for)
{
    struct broker *b = cluster_open();
    const char *other = cluster_fresh(1), *id = cluster_fresh(2);
    struct change change = { STR("far"), STR("41"), false };
    cluster_publish_changes(b, NULL, other, &change, 1);
    rd_kafka_t *rk = stranger(id);
    stranger_begins(rk, ((struct kafka *)b)->state_topic, "open");
    change.value = STR("42");
    cluster_publish_changes(b, NULL, other, &change, 1);
    pthread_t later;
    assert_int_equal(pthread_create(&later, NULL, stranger_aborts_later, rk), 0);
    assert_int_equal(far_of(b, other), 42);
    pthread_join(later, NULL);
    rd_kafka_destroy(rk);
    broker_close(b);
}

/* ---- whose it is ---- */

TEST(who_claims_a_source_last_has_it)
{
    struct broker *first = cluster_open(), *second = cluster_open();
    struct err why = { "" };
    const char *topic = cluster_topic(first, 1), *source = cluster_fresh(1);
    claim(first, source);
    assert_int_equal(outcome_of(first, topic, source, 0, BATCH), OUTCOME_STORED);
    claim(second, source);
    assert_int_equal(far_of(second, source), BATCH);
    assert_true(broker_claimed(first, source, &why)); /* it has not noticed yet */
    assert_int_equal(outcome_of(first, topic, source, BATCH, 1), OUTCOME_UNAVAILABLE);
    assert_false(broker_claimed(first, source, &why));
    assert_says(why.text, "another daemon publishes for it now");
    assert_says(why.text, source);
    assert_says(cluster_why, "another daemon");
    assert_int_equal(ended(source, "fenced"), 1);
    /* Nor does it try again: the second one is not disturbed. */
    assert_int_equal(outcome_of(first, topic, source, BATCH, 1), OUTCOME_UNAVAILABLE);
    assert_int_equal(outcome_of(second, topic, source, BATCH, BATCH), OUTCOME_STORED);
    assert_true(broker_claimed(second, source, &why));
    assert_int_equal(ended(source, "fenced"), 1);
    expect_each_once(topic, 2 * BATCH);
    broker_close(first);
    broker_close(second);
}

/* librdkafka calls it fenced as well when the cluster undid a transaction that took too long. Nobody has claimed the source,
 * so it goes on. */
TEST(a_claim_that_nobody_took_goes_on)
{
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, 1), *source = cluster_fresh(1);
    struct err why = { "" };
    char id[200];
    claim(b, source);
    assert_int_equal(outcome_of(b, topic, source, 0, BATCH), OUTCOME_STORED);
    snprintf(id, sizeof id, "%ssource.%s", cluster_config.prefix, source);
    rd_kafka_destroy(stranger(id)); /* takes the id, but says nothing of the source */
    assert_int_equal(outcome_of(b, topic, source, BATCH, BATCH), OUTCOME_UNAVAILABLE);
    assert_true(broker_claimed(b, source, &why));
    assert_int_equal(outcome_of(b, topic, source, BATCH, BATCH), OUTCOME_STORED);
    assert_int_equal(ended(source, "fenced"), 0);
    expect_each_once(topic, 2 * BATCH);
    broker_close(b);
}

/* ---- what dies ---- */

/* Publishes on from where its state says, until all is done or it is killed. */
static int run_child(char **argv)
{
    snprintf(cluster_prefix, sizeof cluster_prefix, "%s", argv[2]);
    cluster_defaults();
    struct broker *b = cluster_open();
    int end = (int)strtol(argv[5], NULL, 10);
    claim(b, argv[4]);
    for (int at = far_of(b, argv[4]); at < end; at += BATCH)
        if (outcome_of(b, argv[3], argv[4], at, BATCH) != OUTCOME_STORED)
            return 1;
    broker_close(b);
    return 0;
}

/* How it ended. */
static int child(const char *crash_at, const char *topic, const char *source, int end)
{
    char text[16];
    int status = 0;
    snprintf(text, sizeof text, "%d", end);
    pid_t pid = fork();
    if (pid == 0) {
        if (crash_at)
            setenv("AQUEDUCT_CRASH_AT", crash_at, 1);
        execl(cluster_self, cluster_self, "child", cluster_prefix, topic, source, text, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, &status, 0);
    return status;
}

TEST(a_daemon_that_is_killed_in_a_transaction_leaves_nothing_twice)
{
    static const char *const points[] = { "kafka-in-transaction:1",    "kafka-in-transaction:3",
                                          "kafka-after-transaction:3", "kafka-after-state:2",
                                          "kafka-in-transaction:4",    "kafka-after-transaction:2" };
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, 3), *source = cluster_fresh(1);
    int end = 20 * BATCH;
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        int status = child(points[i], topic, source, end);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    }
    int status = child(NULL, topic, source, end);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    expect_each_once(topic, end);
    int *seen = mem_alloc((size_t)(end + BATCH) * sizeof *seen);
    assert_true(count_by_kcat(topic, false, seen, end + BATCH)
                > end); /* some was undone, and was seen by who asks for it */
    free(seen);
    struct member *m = member_join(b, cluster_fresh(2), topic, true);
    member_read_until(m, end);
    expect_pending(m, 0);
    assert_int_equal(m->total, end);
    member_leave(m);
    broker_close(b);
}

TEST(a_broker_that_dies_in_between_leaves_nothing_twice)
{
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, 3), *source = cluster_fresh(1);
    int at = 0;
    claim(b, source);
    cluster_forget();
    publish_batch(b, topic, source, at, BATCH);
    cluster_rig("restart"); /* kill -9 */
    cluster_await(1);
    at += cluster_outcomes[at] == OUTCOME_STORED ? BATCH : 0;
    for (int i = 0; i < 3; i++)
        at += outcome_of(b, topic, source, at, BATCH) == OUTCOME_STORED ? BATCH : 0;
    assert_true(at >= 2 * BATCH);
    expect_each_once(topic, at);
    assert_int_equal(far_of(b, source), at);
    broker_close(b);
}

int main(int argc, char **argv)
{
    cluster_self = argv[0];
    if (argc == 6 && strcmp(argv[1], "child") == 0)
        return run_child(argv);
    if (!cluster_ready(argc, argv))
        return 1;
    const struct CMUnitTest tests[] = {
        CLUSTER_TEST(consumers_read_what_is_committed),
        CLUSTER_TEST(events_and_state_are_one_transaction),
        CLUSTER_TEST(a_source_may_change_to_exactly_once_and_back),
        CLUSTER_TEST(what_was_undone_is_neither_seen_nor_pending_nor_lost),
        CLUSTER_TEST(marks_of_transactions_are_not_records_that_were_lost),
        CLUSTER_TEST(state_behind_an_open_transaction_is_waited_for),
        CLUSTER_TEST(who_claims_a_source_last_has_it),
        CLUSTER_TEST(a_claim_that_nobody_took_goes_on),
        CLUSTER_TEST(a_daemon_that_is_killed_in_a_transaction_leaves_nothing_twice),
        CLUSTER_TEST(a_broker_that_dies_in_between_leaves_nothing_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
