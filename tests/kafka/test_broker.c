/* SPDX-License-Identifier: MIT */
/* What only a real Kafka can show: brokers that stop, stall and come back, members that die, positions that are gone,
 * intents that outlive a crash. Run through tests/kafka/rig, whose commands these tests use to maltreat the broker. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "tests/support/metric.h"
#include "tests/support/test.h"

enum { PATIENCE_MS = 90000, MOST = 20000 };

static const char *self; /* this program, for members that are killed */
static char prefix[64];
static struct map_entry properties[4];
static struct broker_config config;
static char names[4][96];

/* ---- helpers ---- */

static void defaults(void)
{
    config = (struct broker_config){ .type = BROKER_KAFKA,
                                     .servers = getenv("AQUEDUCT_TEST_KAFKA"),
                                     .create_topics = true,
                                     .replication = -1,
                                     .prefix = prefix,
                                     .group_prefix = prefix,
                                     .instance = "",
                                     .session_timeout = { 2000 },
                                     .properties = { properties, 0 } };
}

static void property(const char *key, const char *value)
{
    properties[config.properties.count++] = (struct map_entry){ (char *)(uintptr_t)key, (char *)(uintptr_t)value };
}

static struct broker *open_broker(void)
{
    struct err e = { "" };
    struct broker *b = broker_open(&config, &e);
    if (!b)
        fail_msg("broker_open: %s", e.text);
    return b;
}

static const char *fresh(size_t i)
{
    static int count;
    snprintf(names[i], sizeof names[i], "%s%d", prefix, ++count);
    return names[i];
}

static const char *new_topic(struct broker *b, int64_t partitions)
{
    struct err e = { "" };
    struct topic_config t = { .name = names[0], .partitions = partitions };
    fresh(0);
    if (!broker_topic(b, &t, &e))
        fail_msg("broker_topic: %s", e.text);
    return names[0];
}

static void rig(const char *verb)
{
    char command[1024];
    snprintf(command, sizeof command, "%s %s %s >/dev/null", getenv("AQUEDUCT_TEST_KAFKA_RIG"), verb,
             getenv("AQUEDUCT_TEST_KAFKA_DIR"));
    if (system(command) != 0)
        fail_msg("failed: %s", command);
}

static int64_t metric_of(const char *name)
{
    return metric_value(metric_named(name, NULL));
}

/* Outcomes by tag: 0 none yet, else enum outcome; written on the broker's thread. */
static _Atomic int outcomes[MOST];
static _Atomic int settled;
static pthread_mutex_t why_lock = PTHREAD_MUTEX_INITIALIZER; /* guards last_why */
static char last_why[WHY_BYTES];

static void on_done(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    (void)ctx;
    pthread_mutex_lock(&why_lock);
    if (o != OUTCOME_STORED)
        snprintf(last_why, sizeof last_why, "%s", why);
    pthread_mutex_unlock(&why_lock);
    assert_int_equal(atomic_exchange(&outcomes[tag], (int)o), 0);
    atomic_fetch_add(&settled, 1);
}

static void forget_outcomes(void)
{
    for (int i = 0; i < MOST; i++)
        atomic_store(&outcomes[i], 0);
    atomic_store(&settled, 0);
}

static void publish(struct broker *b, const char *topic, int tag)
{
    char value[16];
    snprintf(value, sizeof value, "%d", tag);
    struct record r = { .topic = str_of(topic), .partition = -1, .value = str_of(value), .key = str_of(value) };
    broker_publish(b, &(struct publication){ .records = &r, .record_count = 1, .done = on_done, .tag = (uint64_t)tag });
}

static void await_settled(int count)
{
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (atomic_load(&settled) < count) {
        if (clock_mono_ms() > until)
            fail_msg("only %d of %d publications have an outcome", atomic_load(&settled), count);
        poll(NULL, 0, 5);
    }
}

static void publish_changes(struct broker *b, const char *topic, const char *source, const struct change *changes,
                            size_t count)
{
    struct record r = { .topic = str_of(topic), .partition = -1, .value = STR("event") };
    forget_outcomes();
    broker_publish(b, &(struct publication){ .records = &r,
                                             .record_count = topic ? 1 : 0,
                                             .state_of = source,
                                             .changes = changes,
                                             .change_count = count,
                                             .done = on_done });
    await_settled(1);
    assert_int_equal(outcomes[0], OUTCOME_STORED);
}

struct member {
    struct consumer *c;
    int wake_fd;
    int seen[MOST]; /* how often each tag came */
    int total, different, revocations;
    bool commit; /* as soon as it is read; else only when partitions are taken */
    int64_t next[16];
    const char *topic;
};

static void commit_all(struct member *m)
{
    for (int32_t p = 0; p < 16; p++)
        if (m->next[p] > 0)
            consumer_commit(m->c, (struct topic_partition){ m->topic, p }, m->next[p]);
}

static void on_revoked(void *ctx, const struct topic_partition *partitions, size_t count)
{
    struct member *m = ctx;
    assert_true(count > 0);
    assert_non_null(partitions);
    m->revocations++;
    commit_all(m);
    memset(m->next, 0, sizeof m->next);
}

static struct member *join(struct broker *b, const char *group, const char *topic, bool commit)
{
    struct err e = { "" };
    struct member *m = mem_alloc(sizeof *m);
    m->wake_fd = wake_new();
    m->commit = commit;
    m->topic = topic;
    m->c = consumer_open(b,
                         &(struct consumer_options){ .group = group,
                                                     .topics = &topic,
                                                     .topic_count = 1,
                                                     .from_start = true,
                                                     .wake_fd = m->wake_fd,
                                                     .revoked = on_revoked,
                                                     .ctx = m },
                         &e);
    if (!m->c)
        fail_msg("consumer_open: %s", e.text);
    return m;
}

static void leave(struct member *m)
{
    consumer_close(m->c);
    close(m->wake_fd);
    free(m);
}

static void count_record(struct member *m, struct record *r)
{
    char text[16] = "";
    assert_true(r->value.n < sizeof text);
    memcpy(text, r->value.at, r->value.n);
    int tag = (int)strtol(text, NULL, 10);
    m->different += m->seen[tag]++ == 0;
    m->total++;
    m->next[r->partition] = r->offset + 1;
    if (m->commit)
        consumer_commit(m->c, (struct topic_partition){ m->topic, r->partition }, r->offset + 1);
    record_free(r);
}

/* One round; an error of the moment is not the end (a broker is away in these tests). */
static int turn(struct member *m, int wait_ms)
{
    struct err e = { "" };
    struct record *out[64];
    int n = consumer_poll(m->c, out, 64, &e);
    for (int i = 0; i < n; i++)
        count_record(m, out[i]);
    if (n <= 0 && wait_ms) {
        poll(&(struct pollfd){ .fd = m->wake_fd, .events = POLLIN }, 1, wait_ms);
        wake_clear(m->wake_fd);
    }
    return n;
}

static void read_until(struct member *m, int different)
{
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (m->different < different) {
        turn(m, 500);
        if (clock_mono_ms() > until)
            fail_msg("only %d of %d records came", m->different, different);
    }
}

/* Everything acknowledged is in the log. */
static void assert_nothing_missing(struct broker *b, const char *topic, int count)
{
    int stored = 0;
    struct member *m = join(b, fresh(3), topic, false);
    for (int i = 0; i < count; i++)
        stored += outcomes[i] == OUTCOME_STORED;
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    for (bool all = false; !all;) {
        turn(m, 200);
        all = true;
        for (int i = 0; i < count && all; i++)
            all = outcomes[i] != OUTCOME_STORED || m->seen[i] > 0;
        if (!all && clock_mono_ms() > until)
            fail_msg("%d were acknowledged, but not all of them came back (%d did)", stored, m->different);
    }
    leave(m);
}

/* ---- properties ---- */

static void expect_refused(const char *key, const char *value, const char *reason)
{
    struct err e = { "" };
    config.properties.count = 0;
    property(key, value);
    assert_null(broker_open(&config, &e));
    assert_says(e.text, key);
    assert_says(e.text, reason);
    config.properties.count = 0;
}

TEST(properties_that_break_the_promise_are_refused)
{
    expect_refused("enable.idempotence", "false", "reorder or repeat");
    expect_refused("acks", "1", "replicas in sync");
    expect_refused("request.required.acks", "0", "replicas in sync");
    expect_refused("enable.auto.commit", "true", "position");
    expect_refused("group.id", "mine", "group_prefix");
    expect_refused("bootstrap.servers", "elsewhere:1", "broker.servers");
    expect_refused("partition.assignment.strategy", "cooperative-sticky", "loses commits");
    expect_refused("transactional.id", "t", "transactions");
    expect_refused("no.such.property", "1", "no such property");
    expect_refused("linger.ms", "soon", "linger.ms");
    expect_refused("fetch.wait.max.ms", "never", "fetch.wait.max.ms"); /* a consumer's, checked at once too */
}

TEST(harmless_properties_are_taken_for_both_kinds)
{
    property("acks", "-1");
    property("linger.ms", "1");
    property("fetch.wait.max.ms", "50");
    property("sasl.password", "hidden");
    struct broker *b = open_broker();
    struct member *m = join(b, fresh(1), new_topic(b, 1), true);
    forget_outcomes();
    publish(b, names[0], 0);
    read_until(m, 1);
    leave(m);
    broker_close(b);
}

TEST(servers_are_needed)
{
    struct err e = { "" };
    config.servers = "";
    assert_null(broker_open(&config, &e));
    assert_says(e.text, "broker.servers");
}

/* ---- topics ---- */

TEST(a_cluster_that_does_not_answer_is_said_clearly)
{
    struct err e = { "" };
    config.servers = "127.0.0.1:9";
    property("message.timeout.ms", "1000");
    struct broker *b = open_broker();
    assert_false(broker_topic(b, &(struct topic_config){ .name = "t", .partitions = 1 }, &e));
    assert_says(e.text, "topic t");
    assert_says(e.text, "127.0.0.1:9 does not answer");
    assert_false(broker_ready(b, &e));
    assert_says(e.text, "127.0.0.1:9");
    forget_outcomes();
    publish(b, "t", 0);
    await_settled(1);
    assert_int_equal(outcomes[0], OUTCOME_UNAVAILABLE);
    broker_close(b);
}

TEST(topics_are_not_made_when_that_is_off)
{
    struct err e = { "" };
    config.create_topics = false;
    property("message.timeout.ms", "3000");
    property("topic.metadata.propagation.max.ms", "1000");
    struct broker *b = open_broker();
    assert_false(broker_topic(b, &(struct topic_config){ .name = names[0], .partitions = 1 }, (fresh(0), &e)));
    assert_says(e.text, "create_topics is off");
    forget_outcomes();
    publish(b, names[0], 0);
    await_settled(1);
    assert_int_equal(outcomes[0], OUTCOME_UNAVAILABLE);
    assert_says(last_why, names[0]);
    assert_false(broker_ready(b, &e));
    broker_close(b);
}

/* What went wrong is said first, so that it is still there when the topic's name takes all the room. */
TEST(the_cause_stands_before_a_long_topic_name)
{
    char topic[250];
    config.create_topics = false;
    property("message.timeout.ms", "3000");
    property("topic.metadata.propagation.max.ms", "1000");
    struct broker *b = open_broker();
    memset(topic, 'x', sizeof topic - 1);
    topic[sizeof topic - 1] = '\0';
    memcpy(topic, prefix, strlen(prefix));
    forget_outcomes();
    publish(b, topic, 0);
    await_settled(1);
    assert_int_equal(outcomes[0], OUTCOME_UNAVAILABLE);
    assert_says(last_why, "nknown topic");
    assert_says(last_why, "(topic ");
    assert_true(strstr(last_why, "nknown topic") < strstr(last_why, "(topic "));
    assert_int_equal(strlen(last_why), WHY_BYTES - 1);
    broker_close(b);
}

/* Waits for the answer to an admin request on the queue; it must be good. Frees both. */
static void await_admin(rd_kafka_queue_t *q)
{
    rd_kafka_event_t *ev = rd_kafka_queue_poll(q, PATIENCE_MS);
    assert_non_null(ev);
    assert_int_equal(rd_kafka_event_error(ev), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_event_destroy(ev);
    rd_kafka_queue_destroy(q);
}

static void set_topic_limit(struct broker *b, const char *topic, const char *bytes)
{
    struct kafka_client *client = kafka_client_take((struct kafka *)b);
    rd_kafka_ConfigResource_t *r = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
    rd_kafka_ConfigResource_set_config(r, "max.message.bytes", bytes);
    rd_kafka_queue_t *q = rd_kafka_queue_new(client->rk);
    rd_kafka_AlterConfigs(client->rk, &r, 1, NULL, q);
    await_admin(q);
    rd_kafka_ConfigResource_destroy(r);
    kafka_client_give(client);
}

static enum outcome publish_bytes(struct broker *b, const char *topic, const char *bytes, size_t n)
{
    struct record r = { .topic = str_of(topic), .partition = 0, .value = { bytes, n } };
    forget_outcomes();
    broker_publish(b, &(struct publication){ .records = &r, .record_count = 1, .done = on_done });
    await_settled(1);
    return (enum outcome)atomic_load(&outcomes[0]);
}

TEST(a_record_that_is_too_large_is_given_up)
{
    struct broker *b = open_broker();
    char *big = mem_alloc(2 << 20);
    const char *topic = new_topic(b, 1);
    assert_int_equal(publish_bytes(b, topic, big, 2 << 20), OUTCOME_INVALID); /* librdkafka's limit */
    assert_says(last_why, "too large");
    set_topic_limit(b, topic, "4096");
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (publish_bytes(b, topic, big, 512 << 10) == OUTCOME_STORED && clock_mono_ms() < until)
        poll(NULL, 0, 20); /* the cluster's, as soon as it knows of it */
    assert_int_equal(outcomes[0], OUTCOME_INVALID);
    assert_says(last_why, "too large");
    assert_int_equal(publish_bytes(b, topic, big, 8 << 10), OUTCOME_UNAVAILABLE); /* perhaps only its batch was */
    assert_int_equal(publish_bytes(b, topic, big, 1 << 10), OUTCOME_STORED);
    free(big);
    broker_close(b);
}

/* Bursts at topics that nobody made before: the partitions' leaders may not know yet that they are. */
TEST(fresh_topics_lose_nothing)
{
    struct broker *b = open_broker();
    for (int round = 0; round < 12; round++) {
        fresh(0);
        forget_outcomes();
        for (int i = 0; i < 200; i++)
            publish(b, names[0], i);
        await_settled(200);
        assert_nothing_missing(b, names[0], 200);
    }
    broker_close(b);
}

/* ---- a broker that stalls or dies ---- */

TEST(a_stalled_broker_ends_publications_in_time)
{
    property("message.timeout.ms", "1500");
    struct broker *b = open_broker();
    new_topic(b, 2);
    forget_outcomes();
    for (int i = 0; i < 50; i++)
        publish(b, names[0], i);
    rig("pause");
    for (int i = 50; i < 150; i++)
        publish(b, names[0], i);
    await_settled(150);
    rig("resume");
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    for (int i = 150; i < 400; i++) { /* it works again, with a new producer if need be */
        publish(b, names[0], i);
        await_settled(i + 1);
        if (outcomes[i] == OUTCOME_STORED && i > 160)
            break;
        assert_true(clock_mono_ms() < until);
    }
    assert_true(atomic_load(&settled) < 400);
    assert_nothing_missing(b, names[0], 400);
    broker_close(b);
}

TEST(closing_does_not_hang_on_a_stalled_broker)
{
    struct broker *b = open_broker();
    struct member *m = join(b, fresh(1), new_topic(b, 2), true);
    forget_outcomes();
    publish(b, names[0], 0);
    read_until(m, 1);
    rig("pause");
    publish(b, names[0], 1);
    assert_false(broker_flush(b, (struct duration){ 100 }));
    leave(m);
    broker_close(b);
    rig("resume");
    assert_int_equal(atomic_load(&settled), 2);
    assert_int_equal(outcomes[1], OUTCOME_UNAVAILABLE);
    assert_says(last_why, names[0]);
}

TEST(a_killed_broker_loses_nothing_acknowledged)
{
    enum { COUNT = 6000, AHEAD = 64 };
    struct broker *b = open_broker();
    struct member *m = join(b, fresh(1), new_topic(b, 3), true);
    forget_outcomes();
    for (int i = 0; i < COUNT; i++) {
        publish(b, names[0], i);
        if (i % 16 == 0)
            turn(m, 0);
        if (i == COUNT / 3 || i == COUNT * 2 / 3)
            rig("restart");
        await_settled(i - AHEAD);
    }
    await_settled(COUNT);
    int stored = 0;
    for (int i = 0; i < COUNT; i++)
        stored += outcomes[i] == OUTCOME_STORED;
    assert_true(stored > 0);
    read_until(m, stored); /* the consumer went on by itself */
    leave(m);
    assert_nothing_missing(b, names[0], COUNT);
    broker_close(b);
}

TEST(a_fatal_error_gets_a_new_producer)
{
    enum { COUNT = 2000 };
    struct broker *b = open_broker();
    int64_t before = metric_of("aqueduct_kafka_producer_restarts_total");
    new_topic(b, 2);
    forget_outcomes();
    for (int i = 0; i < COUNT; i++) {
        publish(b, names[0], i);
        if (i == COUNT / 2) {
            struct kafka_client *client = kafka_client_take((struct kafka *)b);
            rd_kafka_test_fatal_error(client->rk, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "on purpose");
            kafka_client_give(client);
        }
        if (i % 100 == 0)
            poll(NULL, 0, 1);
    }
    await_settled(COUNT);
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (metric_of("aqueduct_kafka_producer_restarts_total") == before && clock_mono_ms() < until)
        poll(NULL, 0, 5);
    assert_int_equal(metric_of("aqueduct_kafka_producer_restarts_total"), before + 1);
    publish(b, names[0], COUNT);
    await_settled(COUNT + 1);
    assert_int_equal(outcomes[COUNT], OUTCOME_STORED);
    assert_false(broker_failed(b));
    assert_nothing_missing(b, names[0], COUNT + 1);
    broker_close(b);
}

/* ---- groups ---- */

TEST(a_rebalance_drains_and_commits_first)
{
    enum { COUNT = 3000 };
    struct broker *b = open_broker();
    const char *topic = new_topic(b, 6), *group = fresh(1);
    struct member *one = join(b, group, topic, false); /* commits only when it must */
    forget_outcomes();
    for (int i = 0; i < COUNT; i++)
        publish(b, topic, i);
    await_settled(COUNT);
    read_until(one, COUNT / 2);
    struct member *two = join(b, group, topic, false);
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    int count = COUNT;
    while ((two->total == 0 || one->different + two->different < count) && clock_mono_ms() < until) {
        turn(one, 10);
        turn(two, 10);
        if (two->total == 0 && count < MOST) /* until the second has a share of what is new */
            publish(b, topic, count++);
    }
    for (int i = 0; i < count; i++)
        assert_true(one->seen[i] + two->seen[i] > 0);
    assert_true(two->total > 0);
    assert_true(one->revocations > 0);
    assert_int_equal(one->total + two->total, count); /* everything was committed before it moved: no repeats */
    leave(two);
    leave(one);
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
        execl(self, self, "member", prefix, group, topic, (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], &letter, 1), 1);
    close(fds[0]);
    return pid;
}

static int run_member(char **argv)
{
    snprintf(prefix, sizeof prefix, "%s", argv[2]);
    defaults();
    struct broker *b = open_broker();
    struct member *m = join(b, argv[3], argv[4], true);
    while (m->total == 0)
        turn(m, 100);
    if (write(STDOUT_FILENO, "+", 1) != 1)
        return 1;
    for (;;)
        turn(m, 100);
}

TEST(a_killed_member_is_replaced)
{
    struct broker *b = open_broker();
    const char *topic = new_topic(b, 4), *group = fresh(1);
    forget_outcomes();
    for (int i = 0; i < 100; i++)
        publish(b, topic, i);
    await_settled(100);
    pid_t pid = start_member(group, topic);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    struct member *m = join(b, group, topic, true);
    for (int i = 100; i < 200; i++)
        publish(b, topic, i);
    await_settled(200);
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    for (int missing = 1; missing && clock_mono_ms() < until;) {
        turn(m, 100);
        missing = 0;
        for (int i = 100; i < 200; i++)
            missing += !m->seen[i];
    }
    for (int i = 100; i < 200; i++)
        assert_int_equal(m->seen[i], 1);
    leave(m);
    broker_close(b);
}

TEST(a_static_member_takes_up_where_it_stood)
{
    config.instance = "node-1";
    config.session_timeout.ms = 60000;
    struct broker *b = open_broker();
    const char *topic = new_topic(b, 4), *group = fresh(1);
    forget_outcomes();
    for (int i = 0; i < 50; i++)
        publish(b, topic, i);
    struct member *m = join(b, group, topic, true);
    read_until(m, 50);
    leave(m); /* does not leave the group: its session goes on for a minute */
    broker_close(b);
    b = open_broker();
    for (int i = 50; i < 100; i++)
        publish(b, topic, i);
    m = join(b, group, topic, true);
    read_until(m, 50);
    for (int i = 0; i < 100; i++)
        assert_int_equal(m->seen[i], i >= 50);
    leave(m);
    broker_close(b);
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
    await_admin(q);
    rd_kafka_DeleteRecords_destroy(d);
    rd_kafka_topic_partition_list_destroy(list);
    kafka_client_give(client);
}

static void put_in_order(struct broker *b, const char *topic, int from, int to)
{
    for (int i = from; i < to; i++) {
        publish(b, topic, i);
        await_settled(i + 1);
    }
}

TEST(a_position_that_is_gone_is_counted_and_passed)
{
    struct broker *b = open_broker();
    const char *topic = new_topic(b, 1), *group = fresh(1);
    forget_outcomes();
    put_in_order(b, topic, 0, 3);
    struct member *m = join(b, group, topic, true);
    read_until(m, 3);
    leave(m);
    put_in_order(b, topic, 3, 10);
    delete_before(b, topic, 7);
    int64_t lost = metric_of("aqueduct_records_lost_total");
    m = join(b, group, topic, true);
    read_until(m, 3);
    for (int i = 0; i < 10; i++)
        assert_int_equal(m->seen[i], i >= 7);
    assert_int_equal(metric_of("aqueduct_records_lost_total"), lost + 4);
    put_in_order(b, topic, 10, 12);
    read_until(m, 5);
    assert_int_equal(m->total, 5);
    leave(m);
    broker_close(b);
}

TEST(a_position_beyond_the_end_begins_again)
{
    struct broker *b = open_broker();
    const char *topic = new_topic(b, 1), *group = fresh(1);
    forget_outcomes();
    put_in_order(b, topic, 0, 3);
    struct member *m = join(b, group, topic, false);
    read_until(m, 3);
    consumer_commit(m->c, (struct topic_partition){ topic, 0 }, 1000);
    memset(m->next, 0, sizeof m->next);
    leave(m);
    m = join(b, group, topic, true);
    read_until(m, 3);
    leave(m);
    broker_close(b);
}

/* From the end, across a time without the consumer: nothing published after the first opening is missed. */
TEST(a_group_from_the_end_misses_nothing_after_its_start)
{
    struct err e = { "" };
    struct broker *b = open_broker();
    const char *topic = new_topic(b, 2), *group = fresh(1);
    forget_outcomes();
    put_in_order(b, topic, 0, 10);
    int wake_fd = wake_new();
    struct consumer_options o = { .group = group, .topics = &topic, .topic_count = 1, .wake_fd = wake_fd };
    struct consumer *c = consumer_open(b, &o, &e);
    assert_non_null(c);
    consumer_close(c); /* never even polled, nothing committed by us */
    close(wake_fd);
    put_in_order(b, topic, 10, 30);
    struct member *m = join(b, group, topic, true);
    read_until(m, 20);
    for (int i = 0; i < 30; i++)
        assert_int_equal(m->seen[i], i >= 10);
    leave(m);
    broker_close(b);
}

/* ---- state ---- */

struct seen_state {
    char text[256]; /* "key=value " in the order told; an intent is "key~value " */
};

static bool add_state(void *ctx, struct str key, struct str value, bool ahead, struct err *e)
{
    struct seen_state *s = ctx;
    size_t n = strlen(s->text);
    (void)e;
    snprintf(s->text + n, sizeof s->text - n, "%.*s%c%.*s ", STR_ARG(key), ahead ? '~' : '=',
             value.at ? (int)value.n : 4, value.at ? value.at : "gone");
    return true;
}

static void assert_state(struct broker *b, const char *source, const char *want)
{
    struct err e = { "" };
    struct seen_state s = { "" };
    if (!broker_state(b, source, add_state, &s, &e))
        fail_msg("broker_state: %s", e.text);
    assert_string_equal(s.text, want);
}

/* Runs this program again: it publishes a change with an intent and ends at the named crash point. */
static void crash_at(const char *point, const char *topic, const char *source, const char *value)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setenv("AQUEDUCT_CRASH_AT", point, 1);
        execl(self, self, "crash", prefix, topic, source, value, (char *)NULL);
        _exit(127);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static int run_crash(char **argv)
{
    snprintf(prefix, sizeof prefix, "%s", argv[2]);
    defaults();
    struct change c = { STR("k"), strcmp(argv[5], "-") == 0 ? STR_ABSENT : str_of(argv[5]), true };
    publish_changes(open_broker(), argv[3], argv[4], &c, 1);
    return 1;
}

TEST(intents_outlive_a_crash)
{
    struct broker *b = open_broker();
    const char *topic = new_topic(b, 1), *source = fresh(1);
    char longer[128];
    snprintf(longer, sizeof longer, "%s-b", source);
    struct change one = { STR("k"), STR("1"), true }, other = { STR("x"), STR("y"), true },
                  gone = { STR("k"), STR_ABSENT, true };
    assert_state(b, source, "");
    publish_changes(b, topic, source, &one, 1);
    publish_changes(b, topic, longer, &other, 1); /* a source whose name only begins alike */
    assert_state(b, source, "k=1 ");
    crash_at("kafka-after-report", topic, source, "2"); /* events stored, the change not */
    assert_state(b, source, "k=1 k~2 ");
    assert_state(b, longer, "x=y ");
    one.value = STR("3");
    publish_changes(b, topic, source, &one, 1);
    assert_state(b, source, "k=3 ");                   /* the old intent is outdated */
    crash_at("kafka-after-state", topic, source, "4"); /* all is stored, nobody heard of it */
    assert_state(b, source, "k=4 ");
    crash_at("kafka-after-report", topic, source, "-");
    assert_state(b, source, "k=4 k~gone ");
    publish_changes(b, NULL, source, &gone, 1);
    assert_state(b, source, "");
    broker_close(b);
}

TEST(much_state_keeps_the_last_values)
{
    enum { KEYS = 300, ROUNDS = 10 };
    struct broker *b = open_broker();
    const char *source = fresh(1);
    forget_outcomes();
    for (int round = 0; round < ROUNDS; round++)
        for (int k = 0; k < KEYS; k++) {
            char key[16], value[16];
            snprintf(key, sizeof key, "%d", k);
            snprintf(value, sizeof value, "%d", round);
            struct change c = { str_of(key), k % 2 && round == ROUNDS - 1 ? STR_ABSENT : str_of(value), false };
            broker_publish(b, &(struct publication){ .state_of = source,
                                                     .changes = &c,
                                                     .change_count = 1,
                                                     .done = on_done,
                                                     .tag = (uint64_t)(round * KEYS + k) });
        }
    await_settled(KEYS * ROUNDS);
    struct seen_state s = { "" };
    struct err e = { "" };
    assert_true(broker_state(b, source, add_state, &s, &e));
    assert_int_equal(strncmp(s.text, "0=9 10=9 100=9 102=9 ", 21), 0);
    broker_close(b);
}

/* ---- running ---- */

static int set_up(void **state)
{
    (void)state;
    defaults();
    return 0;
}

#define PART(f) cmocka_unit_test_setup(f, set_up)

int main(int argc, char **argv)
{
    self = argv[0];
    if (argc == 5 && strcmp(argv[1], "member") == 0)
        return run_member(argv);
    if (argc == 6 && strcmp(argv[1], "crash") == 0)
        return run_crash(argv);
    if (!getenv("AQUEDUCT_TEST_KAFKA_DIR")) {
        printf("run me through the rig: tests/kafka/rig run -- %s\n", argv[0]);
        return 1;
    }
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    snprintf(prefix, sizeof prefix, "k%d.%lld.", (int)getpid(), (long long)clock_wall_ms());
    const struct CMUnitTest tests[] = {
        PART(properties_that_break_the_promise_are_refused),
        PART(harmless_properties_are_taken_for_both_kinds),
        PART(servers_are_needed),
        PART(a_cluster_that_does_not_answer_is_said_clearly),
        PART(topics_are_not_made_when_that_is_off),
        PART(the_cause_stands_before_a_long_topic_name),
        PART(a_record_that_is_too_large_is_given_up),
        PART(fresh_topics_lose_nothing),
        PART(a_fatal_error_gets_a_new_producer),
        PART(a_rebalance_drains_and_commits_first),
        PART(a_killed_member_is_replaced),
        PART(a_static_member_takes_up_where_it_stood),
        PART(a_position_that_is_gone_is_counted_and_passed),
        PART(a_position_beyond_the_end_begins_again),
        PART(a_group_from_the_end_misses_nothing_after_its_start),
        PART(intents_outlive_a_crash),
        PART(much_state_keeps_the_last_values),
        PART(a_stalled_broker_ends_publications_in_time),
        PART(closing_does_not_hang_on_a_stalled_broker),
        PART(a_killed_broker_loses_nothing_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
