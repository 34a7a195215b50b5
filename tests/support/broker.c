/* SPDX-License-Identifier: MIT */
/* The broker under test. */
#include "tests/support/broker.h"
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/broker/copy.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "tests/support/folder.h"

struct broker *broker;
bool survives;
char names[8][96];

static struct broker_config config;

static void broker_start(void)
{
    struct err e = { "" };
    broker = broker_open(&config, &e);
    if (!broker)
        fail_msg("broker_open: %s", e.text);
}

void restart(void)
{
    broker_close(broker);
    broker_start();
}

const char *fresh(size_t i)
{
    static int count;
    snprintf(names[i], sizeof names[i], "contract.%d.%lld.%d", (int)getpid(), (long long)clock_wall_ms(), ++count);
    return names[i];
}

const char *topic(size_t i, int64_t partitions)
{
    struct err e = { "" };
    struct topic_config t = { .name = names[i], .partitions = partitions };
    fresh(i);
    if (!broker_topic(broker, &t, &e))
        fail_msg("broker_topic: %s", e.text);
    return names[i];
}

bool groups_outside(const char *prefix, const struct group_seen *seen, struct err *e)
{
    return broker_groups_outside(&config, prefix, seen, e);
}

struct look *look_at(const struct look_options *o, struct err *e)
{
    return look_open(&config, o, e);
}

/* ---- publishing ---- */

bool publish(struct publication p)
{
    return outcomes_publish(broker, p, NULL);
}

struct record record_of(const char *t, int32_t partition, const char *key, const char *value)
{
    return (struct record){ .topic = str_of(t), .partition = partition, .key = str_of(key), .value = str_of(value) };
}

void put(const char *t, int32_t partition, const char *key, const char *value)
{
    struct record r = record_of(t, partition, key, value);
    assert_true(publish((struct publication){ .records = &r, .record_count = 1 }));
}

void put_numbers(const char *t, int32_t partition, int from, int count)
{
    struct outcomes *o = outcomes_new();
    assert_true(count <= MOST);
    for (int i = 0; i < count; i++) {
        char value[16];
        snprintf(value, sizeof value, "%d", from + i);
        struct record r = record_of(t, partition, NULL, value);
        broker_publish(broker,
                       &(struct publication){
                           .records = &r, .record_count = 1, .done = outcomes_count, .ctx = o, .tag = (uint64_t)i });
    }
    outcomes_wait(o, count);
    assert_int_equal(o->stored, count);
    outcomes_free(o);
}

struct start_of { /* a partition */
    int32_t partition;
    int64_t *out;
};

static void note_start(void *ctx, const struct standing *s)
{
    const struct start_of *at = ctx;
    if (s->partition == at->partition)
        *at->out = s->start;
}

/* Kafka is asked to; of the local log goes what the group has finished that the topic is for. */
void remove_before(const char *t, int32_t partition, int64_t offset)
{
    struct err e = { "" };
    const struct topic_partition p = { t, partition };
    const struct copy_ops *ops = broker_copy_ops(&config);
    struct copy *c = ops ? ops->open(&config, &e) : NULL;
    if (ops && (!c || !ops->cut(c, p, offset, &e)))
        fail_msg("%s", e.text);
    if (ops) {
        ops->close(c);
        return;
    }
    int64_t start = 0;
    const char *group = fresh(7);
    struct topic_config consumed = { .name = (char *)(uintptr_t)t, .consumed_by = group };
    struct reader *in = read_all(group, t);
    reader_wait(in, 1);
    consumer_commit(in->c, p, offset, NULL);
    assert_true(broker_topic(broker, &consumed, &e));
    broker_retain(broker);
    for (int tries = 0; start < offset && tries < PATIENCE_MS / 10; tries++) {
        poll(NULL, 0, 10);
        assert_true(broker_standing(&config, group, t, note_start, &(struct start_of){ partition, &start }, &e));
    }
    assert_int_equal(start, offset);
    reader_close(in);
}

/* ---- consuming ---- */

static struct reader *reader_open_with(struct consumer_options o)
{
    struct reader *r = mem_alloc(sizeof *r);
    struct err e = { "" };
    o.wake_fd = r->wake_fd = wake_new();
    r->c = consumer_open(broker, &o, &e);
    if (!r->c)
        fail_msg("consumer_open: %s", e.text);
    return r;
}

struct reader *reader_open(const char *group, const char *const *topics, size_t topic_count, bool from_start)
{
    return reader_open_with((struct consumer_options){
        .group = group, .topics = topics, .topic_count = topic_count, .from_start = from_start });
}

struct reader *read_renamed(const char *group, const char *formerly, const char *t, bool from_start)
{
    return reader_open_with((struct consumer_options){ .group = group,
                                                       .topics = &t,
                                                       .topic_count = 1,
                                                       .formerly = &formerly,
                                                       .formerly_count = 1,
                                                       .from_start = from_start });
}

struct reader *read_all(const char *group, const char *t)
{
    return reader_open(group, &t, 1, true);
}

void reader_forget(struct reader *r)
{
    for (size_t i = 0; i < r->count; i++)
        record_free(r->got[i]);
    r->count = 0;
}

void reader_close(struct reader *r)
{
    reader_forget(r);
    consumer_close(r->c);
    close(r->wake_fd);
    free(r);
}

size_t reader_poll(struct reader *r, size_t room)
{
    struct err e = { "" };
    int n = consumer_poll(r->c, r->got + r->count, room, &e);
    if (n < 0)
        fail_msg("consumer_poll: %s", e.text);
    assert_true((size_t)n <= room);
    r->count += (size_t)n;
    return (size_t)n;
}

void reader_wait(struct reader *r, size_t count)
{
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (r->count < count) {
        if (reader_poll(r, MOST - r->count < 64 ? MOST - r->count : 64))
            continue;
        if (clock_mono_ms() > until)
            fail_msg("only %zu of %zu records came", r->count, count);
        struct pollfd p = { .fd = r->wake_fd, .events = POLLIN };
        poll(&p, 1, 1000);
        wake_clear(r->wake_fd);
    }
}

void reader_expect_silence(struct reader *r)
{
    size_t before = r->count;
    for (int i = 0; i < 10; i++) {
        struct pollfd p = { .fd = r->wake_fd, .events = POLLIN };
        poll(&p, 1, 20);
        wake_clear(r->wake_fd);
        reader_poll(r, 16);
    }
    assert_int_equal(r->count, before);
}

int number_of(const struct record *r)
{
    char text[16] = "";
    assert_true(r->value.n < sizeof text);
    memcpy(text, r->value.at, r->value.n);
    return (int)strtol(text, NULL, 10);
}

void assert_text(struct str got, const char *want)
{
    if (!want) {
        assert_null(got.at);
        return;
    }
    assert_non_null(got.at);
    assert_int_equal(got.n, strlen(want));
    assert_memory_equal(got.at, want, got.n);
}

void assert_offsets_rise(const struct reader *r)
{
    int64_t last[16];
    memset(last, 0xff, sizeof last);
    for (size_t i = 0; i < r->count; i++) {
        int32_t p = r->got[i]->partition;
        assert_in_range(p, 0, 15);
        assert_true(r->got[i]->offset > last[p]);
        last[p] = r->got[i]->offset;
    }
}

/* ---- which brokers ---- */

int broker_begin(void **state)
{
    (void)state;
    broker_start();
    return 0;
}

int broker_end(void **state)
{
    (void)state;
    broker_close(broker);
    broker = NULL;
    return 0;
}

static int broker_play_local(const struct CMUnitTest *tests, size_t count)
{
    char folder[FOLDER_BYTES];
    config.type = BROKER_LOCAL;
    config.path = ":memory:";
    int failed = _cmocka_run_group_tests("broker local in memory", tests, count, NULL, NULL);
    folder_make(folder);
    config.path = folder;
    survives = true;
    failed += _cmocka_run_group_tests("broker local in a file", tests, count, NULL, NULL);
    folder_remove(folder);
    return failed;
}

static int broker_play_kafka(const struct CMUnitTest *tests, size_t count)
{
    char prefix[64];
    config.servers = getenv("AQUEDUCT_TEST_KAFKA");
    if (!config.servers) {
        printf("skipped: broker kafka (set AQUEDUCT_TEST_KAFKA=host:port)\n");
        return 0;
    }
    snprintf(prefix, sizeof prefix, "contract.%d.%lld.", (int)getpid(), (long long)clock_wall_ms());
    config.type = BROKER_KAFKA;
    config.prefix = config.group_prefix = prefix;
    survives = true;
    return _cmocka_run_group_tests("broker kafka", tests, count, NULL, NULL);
}

int broker_play(const struct CMUnitTest *tests, size_t count)
{
    config = (struct broker_config){ .create_topics = true,
                                     .replication = -1,
                                     .prefix = "aqueduct.",
                                     .group_prefix = "aqueduct.",
                                     .instance = "",
                                     .session_timeout = { 6000 } };
    const char *only = getenv("AQUEDUCT_TEST_BROKER"); /* local | kafka; unset: both */
    int failed = 0;
    if (!only || strcmp(only, "local") == 0)
        failed += broker_play_local(tests, count);
    if (!only || strcmp(only, "kafka") == 0)
        failed += broker_play_kafka(tests, count);
    return failed != 0;
}
