/* SPDX-License-Identifier: MIT */
/* The Kafka of the rig as tests use it. */
#include "tests/support/cluster.h"
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "tests/support/metric.h"

const char *cluster_self;
char cluster_prefix[64];
struct broker_config cluster_config;
char cluster_names[4][96];

static struct map_entry cluster_properties[4];

void cluster_defaults(void)
{
    cluster_config = (struct broker_config){ .type = BROKER_KAFKA,
                                             .servers = getenv("AQUEDUCT_TEST_KAFKA"),
                                             .create_topics = true,
                                             .replication = -1,
                                             .prefix = cluster_prefix,
                                             .group_prefix = cluster_prefix,
                                             .instance = "",
                                             .session_timeout = { 2000 },
                                             .properties = { cluster_properties, 0 } };
}

void cluster_property(const char *key, const char *value)
{
    cluster_properties[cluster_config.properties.count++] = (struct map_entry){ .key = (char *)(uintptr_t)key,
                                                                                .value = (char *)(uintptr_t)value };
}

struct broker *cluster_open(void)
{
    struct err e = { "" };
    struct broker *b = broker_open(&cluster_config, &e);
    if (!b)
        fail_msg("broker_open: %s", e.text);
    return b;
}

const char *cluster_fresh(size_t i)
{
    static int count;
    snprintf(cluster_names[i], sizeof cluster_names[i], "%s%d", cluster_prefix, ++count);
    return cluster_names[i];
}

const char *cluster_topic(struct broker *b, int64_t partitions)
{
    struct err e = { "" };
    struct topic_config t = { .name = cluster_names[0], .partitions = partitions };
    cluster_fresh(0);
    if (!broker_topic(b, &t, &e))
        fail_msg("broker_topic: %s", e.text);
    return cluster_names[0];
}

void cluster_rig(const char *verb)
{
    char command[1024];
    snprintf(command, sizeof command, "%s %s %s >/dev/null", getenv("AQUEDUCT_TEST_KAFKA_RIG"), verb,
             getenv("AQUEDUCT_TEST_KAFKA_DIR"));
    if (system(command) != 0)
        fail_msg("failed: %s", command);
}

int64_t cluster_metric(const char *name)
{
    return metric_value(metric_named(name, NULL));
}

void cluster_admin_done(rd_kafka_queue_t *q)
{
    rd_kafka_event_t *ev = rd_kafka_queue_poll(q, PATIENCE_MS);
    assert_non_null(ev);
    assert_int_equal(rd_kafka_event_error(ev), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_event_destroy(ev);
    rd_kafka_queue_destroy(q);
}

_Atomic int cluster_outcomes[MOST], cluster_settled;
char cluster_why[WHY_BYTES];

static pthread_mutex_t cluster_why_lock = PTHREAD_MUTEX_INITIALIZER; /* guards cluster_why */

void cluster_done(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    (void)ctx;
    pthread_mutex_lock(&cluster_why_lock);
    if (o != OUTCOME_STORED)
        snprintf(cluster_why, sizeof cluster_why, "%s", why);
    pthread_mutex_unlock(&cluster_why_lock);
    assert_int_equal(atomic_exchange(&cluster_outcomes[tag], (int)o), 0);
    atomic_fetch_add(&cluster_settled, 1);
}

void cluster_forget(void)
{
    for (int i = 0; i < MOST; i++)
        atomic_store(&cluster_outcomes[i], 0);
    atomic_store(&cluster_settled, 0);
}

void cluster_publish(struct broker *b, const char *topic, int tag)
{
    char value[16];
    snprintf(value, sizeof value, "%d", tag);
    struct record r = { .topic = str_of(topic), .partition = -1, .value = str_of(value), .key = str_of(value) };
    broker_publish(b, &(struct publication){
                          .records = &r, .record_count = 1, .done = cluster_done, .tag = (uint64_t)tag });
}

void cluster_await(int count)
{
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (atomic_load(&cluster_settled) < count) {
        if (clock_mono_ms() > until)
            fail_msg("only %d of %d publications have an outcome", atomic_load(&cluster_settled), count);
        poll(NULL, 0, 5);
    }
}

void cluster_publish_changes(struct broker *b, const char *topic, const char *source, const struct change *changes,
                             size_t count)
{
    struct record r = { .topic = str_of(topic), .partition = -1, .value = STR("event") };
    cluster_forget();
    broker_publish(b, &(struct publication){ .records = &r,
                                             .record_count = topic ? 1 : 0,
                                             .state_of = source,
                                             .changes = changes,
                                             .change_count = count,
                                             .done = cluster_done });
    cluster_await(1);
    assert_int_equal(cluster_outcomes[0], OUTCOME_STORED);
}

static void member_commit(struct member *m)
{
    for (int32_t p = 0; p < 16; p++)
        if (m->next[p] > 0)
            consumer_commit(m->c, (struct topic_partition){ m->topic, p }, m->next[p], NULL);
}

static void member_on_revoked(void *ctx, const struct topic_partition *partitions, size_t count)
{
    struct member *m = ctx;
    assert_true(count > 0);
    assert_non_null(partitions);
    m->revocations++;
    member_commit(m);
    memset(m->next, 0, sizeof m->next);
}

struct member *member_join(struct broker *b, const char *group, const char *topic, bool commit)
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
                                                     .revoked = member_on_revoked,
                                                     .ctx = m },
                         &e);
    if (!m->c)
        fail_msg("consumer_open: %s", e.text);
    return m;
}

void member_leave(struct member *m)
{
    consumer_close(m->c);
    close(m->wake_fd);
    free(m);
}

static void member_count(struct member *m, struct record *r)
{
    char text[16] = "";
    assert_true(r->value.n < sizeof text);
    memcpy(text, r->value.at, r->value.n);
    int tag = (int)strtol(text, NULL, 10);
    m->different += m->seen[tag]++ == 0;
    m->total++;
    m->next[r->partition] = r->offset + 1;
    if (m->commit)
        consumer_commit(m->c, (struct topic_partition){ m->topic, r->partition }, r->offset + 1, NULL);
    record_free(r);
}

int member_turn(struct member *m, int wait_ms)
{
    struct err e = { "" };
    struct record *out[64];
    int n = consumer_poll(m->c, out, 64, &e);
    for (int i = 0; i < n; i++)
        member_count(m, out[i]);
    if (n <= 0 && wait_ms) {
        poll(&(struct pollfd){ .fd = m->wake_fd, .events = POLLIN }, 1, wait_ms);
        wake_clear(m->wake_fd);
    }
    return n;
}

void member_read_until(struct member *m, int different)
{
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (m->different < different) {
        member_turn(m, 500);
        if (clock_mono_ms() > until)
            fail_msg("only %d of %d records came", m->different, different);
    }
}

void cluster_nothing_is_missing(struct broker *b, const char *topic, int count)
{
    int stored = 0;
    struct member *m = member_join(b, cluster_fresh(3), topic, false);
    for (int i = 0; i < count; i++)
        stored += cluster_outcomes[i] == OUTCOME_STORED;
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    for (bool all = false; !all;) {
        member_turn(m, 200);
        all = true;
        for (int i = 0; i < count && all; i++)
            all = cluster_outcomes[i] != OUTCOME_STORED || m->seen[i] > 0;
        if (!all && clock_mono_ms() > until)
            fail_msg("%d were acknowledged, but not all of them came back (%d did)", stored, m->different);
    }
    member_leave(m);
}

/* ---- running ---- */

int cluster_begin(void **state)
{
    (void)state;
    cluster_defaults();
    return 0;
}

bool cluster_ready(int argc, char **argv)
{
    if (!getenv("AQUEDUCT_TEST_KAFKA_DIR")) {
        printf("run me through the rig: tests/kafka/rig run -- %s\n", argv[0]);
        return false;
    }
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    snprintf(cluster_prefix, sizeof cluster_prefix, "k%d.%lld.", (int)getpid(), (long long)clock_wall_ms());
    return true;
}
