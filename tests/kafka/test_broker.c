/* SPDX-License-Identifier: MIT */
/* What only a real Kafka can show: properties, topics, brokers that stop, stall and come back, intents that outlive a
 * crash. Run through tests/kafka/rig. */
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/delivery/bookmarks.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "tests/support/cluster.h"

/* ---- what a sink remembers ---- */

static struct bookmark_done remembered(struct bookmarks *m, const char *before, const char *value)
{
    struct bookmark_done done;
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    m->ops->remember(m, str_of("dash"), str_of(before), str_of(value), 1);
    while (m->ops->done(m, &done, 1) == 0) {
        poll(NULL, 0, 5);
        assert_true(clock_mono_ms() < until);
    }
    return done;
}

static void expect_recalled(struct bookmarks *m, const char *value)
{
    struct str found;
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (!m->ops->recall(m, str_of("dash"), &found)) {
        poll(NULL, 0, 5);
        assert_true(clock_mono_ms() < until);
    }
    assert_true(str_eq(found, str_of(value)));
}

TEST(what_a_sink_remembers_is_found_by_its_other_daemon)
{
    struct broker *first = cluster_open(), *second = cluster_open();
    unsigned char secrets[2][BOOKMARKS_SECRET];
    int wake_fd = wake_new();
    struct bookmarks *a = bookmarks_new(first, "live", true, wake_fd);
    assert_int_equal(remembered(a, NULL, "one").outcome, BOOKMARK_STORED);
    while (!a->ops->secret(a, secrets[0]))
        poll(NULL, 0, 5);
    struct bookmarks *b = bookmarks_new(second, "live", true, wake_fd);
    expect_recalled(b, "one");
    while (!b->ops->secret(b, secrets[1]))
        poll(NULL, 0, 5);
    assert_memory_equal(secrets[0], secrets[1], BOOKMARKS_SECRET);
    assert_int_equal(remembered(b, NULL, "two").outcome, BOOKMARK_CHANGED);
    assert_int_equal(remembered(b, "one", "two").outcome, BOOKMARK_STORED);
    bookmarks_free(a);
    a = bookmarks_new(first, "live", true, wake_fd);
    expect_recalled(a, "two");
    bookmarks_free(a);
    bookmarks_free(b);
    close(wake_fd);
    broker_close(first);
    broker_close(second);
}

/* ---- properties ---- */

static void expect_refused(const char *key, const char *value, const char *reason)
{
    struct err e = { "" };
    cluster_config.properties.count = 0;
    cluster_property(key, value);
    assert_null(broker_open(&cluster_config, &e));
    assert_says(e.text, key);
    assert_says(e.text, reason);
    cluster_config.properties.count = 0;
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
    expect_refused("transactional.id", "t", "exactly_once");
    expect_refused("no.such.property", "1", "no such property");
    expect_refused("linger.ms", "soon", "linger.ms");
    expect_refused("fetch.wait.max.ms", "never", "fetch.wait.max.ms"); /* a consumer's, checked at once too */
}

TEST(harmless_properties_are_taken_for_both_kinds)
{
    cluster_property("acks", "-1");
    cluster_property("linger.ms", "1");
    cluster_property("fetch.wait.max.ms", "50");
    cluster_property("sasl.password", "hidden");
    struct broker *b = cluster_open();
    struct member *m = member_join(b, cluster_fresh(1), cluster_topic(b, 1), true);
    cluster_forget();
    cluster_publish(b, cluster_names[0], 0);
    member_read_until(m, 1);
    member_leave(m);
    broker_close(b);
}

static void expect_prefetch(int64_t readers, int64_t partitions, const char *kbytes, const char *records,
                            const char *fetched)
{
    struct err e = { "" };
    static const char *const keys[] = { "queued.max.messages.kbytes", "queued.min.messages",
                                        "max.partition.fetch.bytes" };
    const char *const wanted[] = { kbytes, records, fetched };
    cluster_config.readers = readers;
    rd_kafka_conf_t *conf = kafka_conf(&cluster_config, KAFKA_MEMBER, "g", &e);
    assert_true(conf && kafka_conf_prefetch(conf, &cluster_config, partitions, &e));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char value[32];
        size_t room = sizeof value;
        assert_int_equal(rd_kafka_conf_get(conf, keys[i], value, &room), RD_KAFKA_CONF_OK);
        assert_string_equal(value, wanted[i]);
    }
    rd_kafka_conf_destroy(conf);
}

TEST(what_is_read_ahead_is_divided_among_consumers_and_partitions)
{
    cluster_config.prefetch.n = 64 << 20;
    expect_prefetch(1, 1, "16384", "20971", "1048576");
    expect_prefetch(2, 2, "8192", "10485", "1048576");
    expect_prefetch(4, 64, "128", "163", "16384");
    expect_prefetch(8, 64, "32", "40", "16384"); /* so that a batch of 16 KiB comes together with others */
    expect_prefetch(11, 33, "52", "67", "16384");
    expect_prefetch(100, 100, "8", "10", "4096"); /* the least that is worth a fetch */
    cluster_property("queued.min.messages", "7");
    cluster_property("max.partition.fetch.bytes", "70000");
    expect_prefetch(11, 33, "52", "7", "70000"); /* the user's own win */
}

enum { PACKED_PARTITIONS = 16, PACKED_EACH = 6000 };

/* Each partition gets records of 1 KiB that a codec makes about eight times smaller, in batches of 100. */
static void produce_packed(const char *topic)
{
    char text[512], value[1024];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    const char *const set[][2] = { { "bootstrap.servers", cluster_config.servers },
                                   { "compression.codec", "gzip" },
                                   { "batch.num.messages", "100" },
                                   { "linger.ms", "50" },
                                   { "queue.buffering.max.messages", "1000000" } };
    for (size_t i = 0; i < sizeof set / sizeof *set; i++)
        assert_int_equal(rd_kafka_conf_set(conf, set[i][0], set[i][1], text, sizeof text), RD_KAFKA_CONF_OK);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    assert_non_null(rk);
    memset(value, 'x', sizeof value);
    for (int i = 0; i < PACKED_EACH; i++)
        for (int32_t p = 0; p < PACKED_PARTITIONS; p++) {
            for (size_t at = 0; at < 128; at++)
                value[at] = (char)('a' + random() % 26);
            rd_kafka_resp_err_t failed = rd_kafka_producev(rk, RD_KAFKA_VTYPE_TOPIC, topic, RD_KAFKA_VTYPE_PARTITION, p,
                                                           RD_KAFKA_VTYPE_VALUE, value, sizeof value,
                                                           RD_KAFKA_VTYPE_MSGFLAGS, RD_KAFKA_MSG_F_COPY,
                                                           RD_KAFKA_VTYPE_END);
            assert_int_equal(failed, RD_KAFKA_RESP_ERR_NO_ERROR);
        }
    assert_int_equal(rd_kafka_flush(rk, PATIENCE_MS), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_destroy(rk);
}

static int run_produce(char **argv)
{
    cluster_defaults();
    produce_packed(argv[2]);
    return 0;
}

static int64_t resident_bytes(void)
{
    long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%*d %lld", &pages), 1);
    fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

/* Until it has not grown for two seconds. */
static int64_t resident_at_rest(void)
{
    int64_t most = 0;
    for (int still = 0; still < 20; still++) {
        int64_t now = resident_bytes();
        still = now > most + (64 << 10) ? 0 : still;
        most = now > most ? now : most;
        poll(NULL, 0, 100);
    }
    return most;
}

TEST(what_is_read_ahead_stays_in_its_bounds_once_it_is_unpacked)
{
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    enum { PREFETCH = 16 << 20, MOST_BYTES = 4 * PREFETCH }; /* with what they keep of each byte themselves */
#else
    enum { PREFETCH = 16 << 20, MOST_BYTES = 2 * PREFETCH };
#endif
    struct err e = { "" };
    struct record *first = NULL;
    int n = 0;
    cluster_config.prefetch.n = PREFETCH;
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, PACKED_PARTITIONS);
    pid_t pid = fork(); /* what it takes itself is not to count */
    if (pid == 0) {
        execl(cluster_self, cluster_self, "produce", topic, (char *)NULL);
        _exit(127);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    int64_t before = resident_at_rest();
    struct member *m = member_join(b, cluster_fresh(1), topic, false);
    for (int64_t until = clock_mono_ms() + PATIENCE_MS; n == 0; n = consumer_poll(m->c, &first, 1, &e)) {
        poll(&(struct pollfd){ .fd = m->wake_fd, .events = POLLIN }, 1, 500);
        wake_clear(m->wake_fd);
        assert_true(clock_mono_ms() < until);
    }
    int64_t more = resident_at_rest() - before;
    if (more > MOST_BYTES)
        fail_msg("%lld bytes are read ahead, of %d allowed", (long long)more, MOST_BYTES);
    record_free(first);
    member_leave(m);
    broker_close(b);
}

/* A state of many small records is read at the speed at which it comes: its queue is bounded by bytes alone. */
TEST(a_reader_does_not_wait_for_its_own_queue)
{
    struct err e = { "" };
    char value[32];
    size_t room = sizeof value;
    rd_kafka_conf_t *conf = kafka_conf(&cluster_config, KAFKA_READER, "g", &e);
    assert_int_equal(rd_kafka_conf_get(conf, "queued.min.messages", value, &room), RD_KAFKA_CONF_OK);
    assert_string_equal(value, "100000");
    room = sizeof value;
    assert_int_equal(rd_kafka_conf_get(conf, "queued.max.messages.kbytes", value, &room), RD_KAFKA_CONF_OK);
    assert_string_equal(value, "1024");
    rd_kafka_conf_destroy(conf);
}

TEST(servers_are_needed)
{
    struct err e = { "" };
    cluster_config.servers = "";
    assert_null(broker_open(&cluster_config, &e));
    assert_says(e.text, "broker.servers");
}

/* ---- topics ---- */

TEST(a_cluster_that_does_not_answer_is_said_clearly)
{
    struct err e = { "" };
    cluster_config.servers = "127.0.0.1:9";
    cluster_property("message.timeout.ms", "1000");
    struct broker *b = cluster_open();
    assert_false(broker_topic(b, &(struct topic_config){ .name = "t", .partitions = 1 }, &e));
    assert_says(e.text, "topic t");
    assert_says(e.text, "connection refused, nothing listens on 127.0.0.1:9");
    assert_false(broker_ready(b, &e));
    assert_says(e.text, "127.0.0.1:9");
    cluster_forget();
    cluster_publish(b, "t", 0);
    cluster_await(1);
    assert_int_equal(cluster_outcomes[0], OUTCOME_UNAVAILABLE);
    broker_close(b);
}

TEST(topics_are_not_made_when_that_is_off)
{
    struct err e = { "" };
    cluster_config.create_topics = false;
    cluster_property("message.timeout.ms", "3000");
    cluster_property("topic.metadata.propagation.max.ms", "1000");
    struct broker *b = cluster_open();
    assert_false(
        broker_topic(b, &(struct topic_config){ .name = cluster_names[0], .partitions = 1 }, (cluster_fresh(0), &e)));
    assert_says(e.text, "create_topics is off");
    cluster_forget();
    cluster_publish(b, cluster_names[0], 0);
    cluster_await(1);
    assert_int_equal(cluster_outcomes[0], OUTCOME_UNAVAILABLE);
    assert_says(cluster_why, cluster_names[0]);
    assert_false(broker_ready(b, &e));
    broker_close(b);
}

/* What went wrong is said first, so that it is still there when the topic's name takes all the room. */
TEST(the_cause_stands_before_a_long_topic_name)
{
    char topic[250];
    cluster_config.create_topics = false;
    cluster_property("message.timeout.ms", "3000");
    cluster_property("topic.metadata.propagation.max.ms", "1000");
    struct broker *b = cluster_open();
    memset(topic, 'x', sizeof topic - 1);
    topic[sizeof topic - 1] = '\0';
    memcpy(topic, cluster_prefix, strlen(cluster_prefix));
    cluster_forget();
    cluster_publish(b, topic, 0);
    cluster_await(1);
    assert_int_equal(cluster_outcomes[0], OUTCOME_UNAVAILABLE);
    assert_says(cluster_why, "nknown topic");
    assert_says(cluster_why, "(topic ");
    assert_true(strstr(cluster_why, "nknown topic") < strstr(cluster_why, "(topic "));
    assert_int_equal(strlen(cluster_why), WHY_BYTES - 1);
    broker_close(b);
}

static void set_topic(struct broker *b, const char *topic, const char *key, const char *value)
{
    struct kafka_client *client = kafka_client_take((struct kafka *)b);
    rd_kafka_ConfigResource_t *r = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
    rd_kafka_ConfigResource_set_config(r, key, value);
    rd_kafka_queue_t *q = rd_kafka_queue_new(client->rk);
    rd_kafka_AlterConfigs(client->rk, &r, 1, NULL, q);
    cluster_admin_done(q);
    rd_kafka_ConfigResource_destroy(r);
    kafka_client_give(client);
}

static enum outcome publish_bytes(struct broker *b, const char *topic, const char *bytes, size_t n)
{
    struct record r = { .topic = str_of(topic), .partition = 0, .value = { bytes, n } };
    cluster_forget();
    broker_publish(b, &(struct publication){ .records = &r, .record_count = 1, .done = cluster_done });
    cluster_await(1);
    return (enum outcome)atomic_load(&cluster_outcomes[0]);
}

/* Bytes that no compression makes fewer; free() them. */
static char *noise(size_t n)
{
    char *bytes = mem_alloc(n);
    uint32_t x = 2463534242;
    for (size_t i = 0; i < n; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        bytes[i] = (char)(x >> 24);
    }
    return bytes;
}

TEST(a_record_that_is_too_large_is_given_up)
{
    struct broker *b = cluster_open();
    char *big = noise(2 << 20);
    const char *topic = cluster_topic(b, 1);
    assert_int_equal(publish_bytes(b, topic, big, 2 << 20), OUTCOME_INVALID); /* librdkafka's limit */
    assert_says(cluster_why, "too large");
    set_topic(b, topic, "max.message.bytes", "4096");
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (publish_bytes(b, topic, big, 512 << 10) == OUTCOME_STORED && clock_mono_ms() < until)
        poll(NULL, 0, 20); /* the cluster's, as soon as it knows of it */
    assert_int_equal(cluster_outcomes[0], OUTCOME_INVALID);
    assert_says(cluster_why, "too large");
    assert_int_equal(publish_bytes(b, topic, big, 8 << 10), OUTCOME_INVALID);
    assert_int_equal(publish_bytes(b, topic, big, 1 << 10), OUTCOME_STORED);
    free(big);
    broker_close(b);
}

/* One burst, of which the topic refuses one record: that one is INVALID, all others are stored, whatever batch they shared. */
static void burst_with_one_that_is_refused(struct broker *b, const char *topic, struct str value, bool keyless)
{
    enum { COUNT = 300, ODD = 150 };
    cluster_forget();
    for (int i = 0; i < COUNT; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        struct record r = { .topic = str_of(topic), .partition = 0, .key = str_of(key), .value = str_of(key) };
        if (i == ODD)
            r.value = value;
        if (i == ODD && keyless)
            r.key = STR_ABSENT;
        broker_publish(b, &(struct publication){
                              .records = &r, .record_count = 1, .done = cluster_done, .tag = (uint64_t)i });
    }
    cluster_await(COUNT);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(cluster_outcomes[i], i == ODD ? OUTCOME_INVALID : OUTCOME_STORED);
}

TEST(a_record_that_is_too_large_for_its_topic_is_refused_alone)
{
    struct broker *b = cluster_open();
    char *big = noise(64 << 10);
    const char *topic = cluster_topic(b, 1);
    set_topic(b, topic, "max.message.bytes", "20000");
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (publish_bytes(b, topic, big, 32 << 10) == OUTCOME_STORED && clock_mono_ms() < until)
        poll(NULL, 0, 20); /* the cluster, as soon as it knows of it */
    burst_with_one_that_is_refused(b, topic, (struct str){ big, 32 << 10 }, false);
    assert_says(cluster_why, "too large (max.message.bytes) (topic ");
    free(big);
    broker_close(b);
}

TEST(a_record_without_a_key_is_refused_alone_by_a_compacted_topic)
{
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, 1);
    set_topic(b, topic, "cleanup.policy", "compact");
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (publish_bytes(b, topic, "x", 1) == OUTCOME_STORED && clock_mono_ms() < until)
        poll(NULL, 0, 20);
    burst_with_one_that_is_refused(b, topic, STR("x"), true);
    assert_says(cluster_why, "a compacted topic takes none without a key");
    broker_close(b);
}

/* Bursts at topics that nobody made before: the partitions' leaders may not know yet that they are. */
TEST(fresh_topics_lose_nothing)
{
    struct broker *b = cluster_open();
    for (int round = 0; round < 12; round++) {
        cluster_fresh(0);
        cluster_forget();
        for (int i = 0; i < 200; i++)
            cluster_publish(b, cluster_names[0], i);
        cluster_await(200);
        cluster_nothing_is_missing(b, cluster_names[0], 200);
    }
    broker_close(b);
}

/* ---- what topics are made with ---- */

/* A setting of the topic, in text; "": the cluster's default. */
static void get_topic(struct broker *b, const char *topic, const char *key, char *out, size_t room)
{
    size_t n = 0, entries = 0;
    struct kafka_client *client = kafka_client_take((struct kafka *)b);
    rd_kafka_ConfigResource_t *r = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
    rd_kafka_queue_t *q = rd_kafka_queue_new(client->rk);
    rd_kafka_DescribeConfigs(client->rk, &r, 1, NULL, q);
    rd_kafka_event_t *ev = rd_kafka_queue_poll(q, PATIENCE_MS);
    assert_non_null(ev);
    const rd_kafka_ConfigResource_t *
        *found = rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(ev), &n);
    assert_int_equal(n, 1);
    const rd_kafka_ConfigEntry_t **entry = rd_kafka_ConfigResource_configs(found[0], &entries);
    out[0] = '\0';
    for (size_t i = 0; i < entries; i++)
        if (strcmp(rd_kafka_ConfigEntry_name(entry[i]), key) == 0
            && rd_kafka_ConfigEntry_source(entry[i]) == RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG)
            snprintf(out, room, "%s", rd_kafka_ConfigEntry_value(entry[i]));
    rd_kafka_event_destroy(ev);
    rd_kafka_queue_destroy(q);
    rd_kafka_ConfigResource_destroy(r);
    kafka_client_give(client);
}

static void expect_topic(struct broker *b, const char *topic, const char *key, const char *value)
{
    char text[64];
    get_topic(b, topic, key, text, sizeof text);
    assert_string_equal(text, value);
}

static void make_topic(struct broker *b, const struct topic_config *t)
{
    struct err e = { "" };
    if (!broker_topic(b, t, &e))
        fail_msg("%s", e.text);
}

TEST(topics_have_the_settings_that_were_said_and_the_bridges_own_what_they_need)
{
    struct broker *b = cluster_open();
    char own[128], theirs[128], listed[128], used[128];
    snprintf(own, sizeof own, "%sdead-letter", cluster_prefix);
    snprintf(theirs, sizeof theirs, "x%s", cluster_fresh(0));
    snprintf(listed, sizeof listed, "x%s", cluster_fresh(0));
    snprintf(used, sizeof used, "x%s", cluster_fresh(0));
    make_topic(b, &(struct topic_config){ .name = own });
    make_topic(b, &(struct topic_config){ .name = theirs, .retention = { RETENTION_UNSAID } });
    make_topic(b, &(struct topic_config){
                      .name = listed, .partitions = 3, .retention = { 60000 }, .retention_bytes = { 4096 } });
    cluster_forget();
    cluster_publish(b, used, 0);
    cluster_await(1);
    expect_topic(b, own, "retention.ms", "-1");
    expect_topic(b, own, "retention.bytes", "-1");
    expect_topic(b, own, "cleanup.policy", "delete");
    expect_topic(b, theirs, "retention.ms", "");
    expect_topic(b, theirs, "retention.bytes", "");
    expect_topic(b, listed, "retention.ms", "60000");
    expect_topic(b, listed, "retention.bytes", "4096");
    assert_int_equal(kafka_topic_partitions((struct kafka *)b, listed), 3);
    expect_topic(b, used, "retention.ms", "");
    broker_close(b);
}

TEST(topics_that_are_declared_are_made_together)
{
    enum { COUNT = 40 };
    struct broker *b = cluster_open();
    char names[COUNT][96];
    for (size_t i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], "%s", cluster_fresh(0));
        broker_declare(b, &(struct topic_config){ .name = names[i], .partitions = i + 1 == COUNT ? 2 : 1 });
    }
    struct topic_config bad = { .name = (char *)(uintptr_t) "no topic name", .partitions = 1 };
    broker_declare(b, &bad); /* stops none of the others */
    for (size_t i = 0; i < COUNT; i++)
        make_topic(b, &(struct topic_config){ .name = names[i], .partitions = i + 1 == COUNT ? 2 : 1 });
    struct kafka *k = (struct kafka *)b;
    pthread_mutex_lock(&k->topics_lock);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(k->topics[i].tries, 1);
    pthread_mutex_unlock(&k->topics_lock);
    assert_int_equal(kafka_topic_partitions(k, names[COUNT - 1]), 2);
    struct err e = { "" };
    assert_false(broker_topic(b, &bad, &e));
    assert_says(e.text, "no topic name");
    broker_close(b);
}

/* ---- a broker that stalls or dies ---- */

TEST(a_stalled_broker_ends_publications_in_time)
{
    cluster_property("message.timeout.ms", "1500");
    struct broker *b = cluster_open();
    cluster_topic(b, 2);
    cluster_forget();
    for (int i = 0; i < 50; i++)
        cluster_publish(b, cluster_names[0], i);
    cluster_rig("pause");
    for (int i = 50; i < 150; i++)
        cluster_publish(b, cluster_names[0], i);
    cluster_await(150);
    cluster_rig("resume");
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    for (int i = 150; i < 400; i++) { /* it works again, with a new producer if need be */
        cluster_publish(b, cluster_names[0], i);
        cluster_await(i + 1);
        if (cluster_outcomes[i] == OUTCOME_STORED && i > 160)
            break;
        assert_true(clock_mono_ms() < until);
    }
    assert_true(atomic_load(&cluster_settled) < 400);
    cluster_nothing_is_missing(b, cluster_names[0], 400);
    broker_close(b);
}

TEST(closing_does_not_hang_on_a_stalled_broker)
{
    struct broker *b = cluster_open();
    struct member *m = member_join(b, cluster_fresh(1), cluster_topic(b, 2), true);
    cluster_forget();
    cluster_publish(b, cluster_names[0], 0);
    member_read_until(m, 1);
    cluster_rig("pause");
    cluster_publish(b, cluster_names[0], 1);
    assert_false(broker_flush(b, (struct duration){ 100 }));
    member_leave(m);
    broker_close(b);
    cluster_rig("resume");
    assert_int_equal(atomic_load(&cluster_settled), 2);
    assert_int_equal(cluster_outcomes[1], OUTCOME_UNAVAILABLE);
    assert_says(cluster_why, cluster_names[0]);
}

TEST(a_killed_broker_loses_nothing_acknowledged)
{
    enum { COUNT = 6000, AHEAD = 64 };
    struct broker *b = cluster_open();
    struct member *m = member_join(b, cluster_fresh(1), cluster_topic(b, 3), true);
    cluster_forget();
    for (int i = 0; i < COUNT; i++) {
        cluster_publish(b, cluster_names[0], i);
        if (i % 16 == 0)
            member_turn(m, 0);
        if (i == COUNT / 3 || i == COUNT * 2 / 3)
            cluster_rig("restart");
        cluster_await(i - AHEAD);
    }
    cluster_await(COUNT);
    int stored = 0;
    for (int i = 0; i < COUNT; i++)
        stored += cluster_outcomes[i] == OUTCOME_STORED;
    assert_true(stored > 0);
    member_read_until(m, stored); /* the consumer went on by itself */
    member_leave(m);
    cluster_nothing_is_missing(b, cluster_names[0], COUNT);
    broker_close(b);
}

TEST(a_fatal_error_gets_a_new_producer)
{
    enum { COUNT = 2000 };
    struct broker *b = cluster_open();
    int64_t before = cluster_metric("aqueduct_kafka_producer_restarts_total");
    cluster_topic(b, 2);
    cluster_forget();
    for (int i = 0; i < COUNT; i++) {
        cluster_publish(b, cluster_names[0], i);
        if (i == COUNT / 2) {
            struct kafka_client *client = kafka_client_take((struct kafka *)b);
            rd_kafka_test_fatal_error(client->rk, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "on purpose");
            kafka_client_give(client);
        }
        if (i % 100 == 0)
            poll(NULL, 0, 1);
    }
    cluster_await(COUNT);
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (cluster_metric("aqueduct_kafka_producer_restarts_total") == before && clock_mono_ms() < until)
        poll(NULL, 0, 5);
    assert_int_equal(cluster_metric("aqueduct_kafka_producer_restarts_total"), before + 1);
    cluster_publish(b, cluster_names[0], COUNT);
    cluster_await(COUNT + 1);
    assert_int_equal(cluster_outcomes[COUNT], OUTCOME_STORED);
    assert_false(broker_failed(b));
    cluster_nothing_is_missing(b, cluster_names[0], COUNT + 1);
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
        execl(cluster_self, cluster_self, "crash", cluster_prefix, topic, source, value, (char *)NULL);
        _exit(127);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static int run_crash(char **argv)
{
    snprintf(cluster_prefix, sizeof cluster_prefix, "%s", argv[2]);
    cluster_defaults();
    struct change c = { STR("k"), strcmp(argv[5], "-") == 0 ? STR_ABSENT : str_of(argv[5]), true };
    cluster_publish_changes(cluster_open(), argv[3], argv[4], &c, 1);
    return 1;
}

TEST(intents_outlive_a_crash)
{
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, 1), *source = cluster_fresh(1);
    char longer[128];
    snprintf(longer, sizeof longer, "%s-b", source);
    struct change one = { STR("k"), STR("1"), true }, other = { STR("x"), STR("y"), true },
                  gone = { STR("k"), STR_ABSENT, true };
    assert_state(b, source, "");
    cluster_publish_changes(b, topic, source, &one, 1);
    cluster_publish_changes(b, topic, longer, &other, 1); /* a source whose name only begins alike */
    assert_state(b, source, "k=1 ");
    crash_at("kafka-after-report", topic, source, "2"); /* events stored, the change not */
    assert_state(b, source, "k=1 k~2 ");
    assert_state(b, longer, "x=y ");
    one.value = STR("3");
    cluster_publish_changes(b, topic, source, &one, 1);
    assert_state(b, source, "k=3 ");                   /* the old intent is outdated */
    crash_at("kafka-after-state", topic, source, "4"); /* all is stored, nobody heard of it */
    assert_state(b, source, "k=4 ");
    crash_at("kafka-after-report", topic, source, "-");
    assert_state(b, source, "k=4 k~gone ");
    cluster_publish_changes(b, NULL, source, &gone, 1);
    assert_state(b, source, "");
    broker_close(b);
}

/* Changes come after all records of their publication, the refused one too. */
TEST(a_batch_with_a_refused_record_moves_no_state)
{
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, 1), *source = cluster_fresh(1);
    set_topic(b, topic, "cleanup.policy", "compact");
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (publish_bytes(b, topic, "x", 1) == OUTCOME_STORED && clock_mono_ms() < until)
        poll(NULL, 0, 20);
    struct record records[3] = { { .topic = str_of(topic), .partition = 0, .key = STR("a"), .value = STR("1") },
                                 { .topic = str_of(topic), .partition = 0, .value = STR("2") },
                                 { .topic = str_of(topic), .partition = 0, .key = STR("c"), .value = STR("3") } };
    struct change change = { STR("k"), STR("1"), false };
    cluster_forget();
    broker_publish(b, &(struct publication){ .records = records,
                                             .record_count = 3,
                                             .state_of = source,
                                             .changes = &change,
                                             .change_count = 1,
                                             .done = cluster_done });
    cluster_await(1);
    assert_int_equal(cluster_outcomes[0], OUTCOME_INVALID);
    assert_state(b, source, "");
    broker_close(b);
}

/* Two daemons see that somebody gave the topic more partitions. */
TEST(a_topic_that_is_like_another_grows_with_it)
{
    char topic[96], log[96];
    struct broker *daemons[] = { cluster_open(), cluster_open() }, *other = cluster_open();
    snprintf(topic, sizeof topic, "%s", cluster_fresh(0));
    snprintf(log, sizeof log, "%s", cluster_fresh(0));
    for (size_t i = 0; i < 2; i++) {
        make_topic(daemons[i], &(struct topic_config){ .name = topic, .partitions = 2 });
        make_topic(daemons[i], &(struct topic_config){ .name = log, .partitions = 2, .like = topic });
    }
    make_topic(other, &(struct topic_config){ .name = topic, .partitions = 5 });
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    for (size_t i = 0; i < 2; i++)
        while (broker_partitions(daemons[i], log) != 5 && clock_mono_ms() < until)
            poll(NULL, 0, 20);
    struct err e = { "" };
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(broker_partitions(daemons[i], log), 5);
        assert_true(broker_ready(daemons[i], &e));
        broker_close(daemons[i]);
    }
    assert_int_equal(broker_partitions(other, log), 5);
    broker_close(other);
}

/* As a cluster makes it that makes topics by itself. */
TEST(a_state_topic_that_forgets_is_refused_until_it_is_mended)
{
    char name[128], prefix[96];
    snprintf(prefix, sizeof prefix, "f%s", cluster_prefix);
    snprintf(name, sizeof name, "%sstate", prefix);
    cluster_config.prefix = (char *)(uintptr_t) "other.";
    struct broker *other = cluster_open();
    make_topic(other, &(struct topic_config){ .name = name, .partitions = 1 });
    set_topic(other, name, "cleanup.policy", "delete");
    cluster_config.prefix = prefix;
    struct broker *b = cluster_open();
    struct seen_state s = { "" };
    struct err e = { "" };
    assert_false(broker_state(b, "source", add_state, &s, &e));
    assert_says(e.text, "its cleanup.policy is delete");
    assert_says(e.text, "--add-config cleanup.policy=compact");
    assert_false(broker_ready(b, &e));
    assert_says(e.text, "its cleanup.policy is delete");
    set_topic(other, name, "cleanup.policy", "compact");
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (!broker_state(b, "source", add_state, &s, &e) && clock_mono_ms() < until)
        poll(NULL, 0, 50);
    assert_true(broker_ready(b, &e));
    broker_close(b);
    broker_close(other);
}

TEST(much_state_keeps_the_last_values)
{
    enum { KEYS = 300, ROUNDS = 10 };
    struct broker *b = cluster_open();
    const char *source = cluster_fresh(1);
    cluster_forget();
    for (int round = 0; round < ROUNDS; round++)
        for (int k = 0; k < KEYS; k++) {
            char key[16], value[16];
            snprintf(key, sizeof key, "%d", k);
            snprintf(value, sizeof value, "%d", round);
            struct change c = { str_of(key), k % 2 && round == ROUNDS - 1 ? STR_ABSENT : str_of(value), false };
            broker_publish(b, &(struct publication){ .state_of = source,
                                                     .changes = &c,
                                                     .change_count = 1,
                                                     .done = cluster_done,
                                                     .tag = (uint64_t)(round * KEYS + k) });
        }
    cluster_await(KEYS * ROUNDS);
    struct seen_state s = { "" };
    struct err e = { "" };
    assert_true(broker_state(b, source, add_state, &s, &e));
    assert_int_equal(strncmp(s.text, "0=9 2=9 4=9 6=9 8=9 10=9 ", 25), 0); /* as they were stored */
    broker_close(b);
}

/* ---- what an idle client costs ---- */

static int64_t number_in(const char *path)
{
    char text[32] = "";
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f)
        fclose(f);
    return n ? strtoll(text, NULL, 10) : -1;
}

/* librdkafka's main threads of this process, and how many of them may be woken late. */
static void count_main_threads(size_t *all, size_t *late)
{
    DIR *folder = opendir("/proc/self/task");
    *all = *late = 0;
    for (struct dirent *d; folder && (d = readdir(folder));) {
        char path[300], name[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", d->d_name);
        FILE *f = fopen(path, "r");
        bool is_main = f && fgets(name, sizeof name, f) && strcmp(name, "rdk:main\n") == 0;
        if (f)
            fclose(f);
        if (!is_main)
            continue;
        snprintf(path, sizeof path, "/proc/%s/timerslack_ns", d->d_name);
        *all += 1;
        *late += number_in(path) >= 1000000;
    }
    closedir(folder);
}

/* Before 2.4 the main thread of a client spins through the last millisecond before each of its timers. */
TEST(threads_of_idle_clients_are_woken_when_their_timers_are_due_and_ours_at_once)
{
    int64_t ours = number_in("/proc/self/timerslack_ns");
    struct broker *b = cluster_open();
    struct member *m = member_join(b, cluster_fresh(1), cluster_topic(b, 1), true);
    size_t all, late;
    count_main_threads(&all, &late);
    assert_in_range(all, 2, 10);
    assert_int_equal(late, all);
    assert_int_equal(number_in("/proc/self/timerslack_ns"), ours);
    member_leave(m);
    broker_close(b);
}

int main(int argc, char **argv)
{
    cluster_self = argv[0];
    if (argc == 6 && strcmp(argv[1], "crash") == 0)
        return run_crash(argv);
    if (argc == 3 && strcmp(argv[1], "produce") == 0)
        return run_produce(argv);
    if (!cluster_ready(argc, argv))
        return 1;
    const struct CMUnitTest tests[] = {
        CLUSTER_TEST(properties_that_break_the_promise_are_refused),
        CLUSTER_TEST(harmless_properties_are_taken_for_both_kinds),
        CLUSTER_TEST(what_is_read_ahead_is_divided_among_consumers_and_partitions),
        CLUSTER_TEST(what_is_read_ahead_stays_in_its_bounds_once_it_is_unpacked),
        CLUSTER_TEST(a_reader_does_not_wait_for_its_own_queue),
        CLUSTER_TEST(servers_are_needed),
        CLUSTER_TEST(a_cluster_that_does_not_answer_is_said_clearly),
        CLUSTER_TEST(topics_are_not_made_when_that_is_off),
        CLUSTER_TEST(the_cause_stands_before_a_long_topic_name),
        CLUSTER_TEST(a_record_that_is_too_large_is_given_up),
        CLUSTER_TEST(a_record_that_is_too_large_for_its_topic_is_refused_alone),
        CLUSTER_TEST(a_record_without_a_key_is_refused_alone_by_a_compacted_topic),
        CLUSTER_TEST(a_batch_with_a_refused_record_moves_no_state),
        CLUSTER_TEST(topics_have_the_settings_that_were_said_and_the_bridges_own_what_they_need),
        CLUSTER_TEST(topics_that_are_declared_are_made_together),
        CLUSTER_TEST(a_topic_that_is_like_another_grows_with_it),
        CLUSTER_TEST(a_state_topic_that_forgets_is_refused_until_it_is_mended),
        CLUSTER_TEST(fresh_topics_lose_nothing),
        CLUSTER_TEST(a_fatal_error_gets_a_new_producer),
        CLUSTER_TEST(intents_outlive_a_crash),
        CLUSTER_TEST(what_a_sink_remembers_is_found_by_its_other_daemon),
        CLUSTER_TEST(much_state_keeps_the_last_values),
        CLUSTER_TEST(a_stalled_broker_ends_publications_in_time),
        CLUSTER_TEST(closing_does_not_hang_on_a_stalled_broker),
        CLUSTER_TEST(threads_of_idle_clients_are_woken_when_their_timers_are_due_and_ours_at_once),
        CLUSTER_TEST(a_killed_broker_loses_nothing_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
