/* SPDX-License-Identifier: MIT */
/* The broker contract: what every broker promises (bridge/broker/broker.h), played through on `local` in memory and in a
 * file, and on the Kafka that AQUEDUCT_TEST_KAFKA=host:port names. */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/broker/broker.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "tests/support/folder.h"
#include "tests/support/outcomes.h"
#include "tests/support/test.h"

enum { PATIENCE_MS = 60000, MOST = OUTCOMES_MOST };

/* ---- the broker under test ---- */

static struct broker_config config;
static bool survives; /* its records are still there after broker_close */
static struct broker *broker;
static char names[8][96]; /* topics and groups of the running test, new for every test */

static void start(void)
{
    struct err e = { "" };
    broker = broker_open(&config, &e);
    if (!broker)
        fail_msg("broker_open: %s", e.text);
}

static void restart(void)
{
    broker_close(broker);
    start();
}

/* A name that no other test and no other run used. */
static const char *fresh(size_t i)
{
    static int count;
    snprintf(names[i], sizeof names[i], "contract.%d.%lld.%d", (int)getpid(), (long long)clock_wall_ms(), ++count);
    return names[i];
}

static const char *topic(size_t i, int64_t partitions)
{
    struct err e = { "" };
    struct topic_config t = { .name = names[i], .partitions = partitions };
    fresh(i);
    if (!broker_topic(broker, &t, &e))
        fail_msg("broker_topic: %s", e.text);
    return names[i];
}

/* ---- publishing ---- */

/* Publishes and waits; returns whether it was stored. */
static bool publish(struct publication p)
{
    return outcomes_publish(broker, p, NULL);
}

static struct record record_of(const char *t, int32_t partition, const char *key, const char *value)
{
    return (struct record){ .topic = str_of(t), .partition = partition, .key = str_of(key), .value = str_of(value) };
}

static void put(const char *t, int32_t partition, const char *key, const char *value)
{
    struct record r = record_of(t, partition, key, value);
    assert_true(publish((struct publication){ .records = &r, .record_count = 1 }));
}

/* Publishes `count` records with the values from, from + 1 ... in order, without waiting for one before the next. */
static void put_numbers(const char *t, int32_t partition, int from, int count)
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

/* ---- consuming ---- */

struct reader {
    struct consumer *c;
    int wake_fd;
    struct record *got[MOST];
    size_t count;
};

static struct reader *reader_open(const char *group, const char *const *topics, size_t topic_count, bool from_start)
{
    struct reader *r = mem_alloc(sizeof *r);
    struct err e = { "" };
    r->wake_fd = wake_new();
    struct consumer_options o = {
        .group = group, .topics = topics, .topic_count = topic_count, .from_start = from_start, .wake_fd = r->wake_fd
    };
    r->c = consumer_open(broker, &o, &e);
    if (!r->c)
        fail_msg("consumer_open: %s", e.text);
    return r;
}

static struct reader *read_all(const char *group, const char *t)
{
    return reader_open(group, &t, 1, true);
}

static void reader_forget(struct reader *r)
{
    for (size_t i = 0; i < r->count; i++)
        record_free(r->got[i]);
    r->count = 0;
}

static void reader_close(struct reader *r)
{
    reader_forget(r);
    consumer_close(r->c);
    close(r->wake_fd);
    free(r);
}

static size_t reader_poll(struct reader *r, size_t room)
{
    struct err e = { "" };
    int n = consumer_poll(r->c, r->got + r->count, room, &e);
    if (n < 0)
        fail_msg("consumer_poll: %s", e.text);
    assert_true((size_t)n <= room);
    r->count += (size_t)n;
    return (size_t)n;
}

/* Polls until `count` records are there (more may come with them), as the delivery does: sleep on the wake fd. */
static void reader_wait(struct reader *r, size_t count)
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

/* Polls a while to see that nothing comes. A record that comes later than this is missed: the check can only be too
 * kind. */
static void reader_expect_silence(struct reader *r)
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

static int number_of(const struct record *r)
{
    char text[16] = "";
    assert_true(r->value.n < sizeof text);
    memcpy(text, r->value.at, r->value.n);
    return (int)strtol(text, NULL, 10);
}

static void assert_str(struct str got, const char *want)
{
    if (!want) {
        assert_null(got.at);
        return;
    }
    assert_non_null(got.at);
    assert_int_equal(got.n, strlen(want));
    assert_memory_equal(got.at, want, got.n);
}

/* Every record of a partition: its offsets rise. */
static void assert_offsets_rise(const struct reader *r)
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

/* ---- records ---- */

TEST(a_record_comes_back_as_it_went)
{
    const char *t = topic(0, 1);
    struct header headers[] = {
        { STR("ce_id"), STR("1") }, { STR("twice"), STR("a") },          { STR("twice"), STR("b") },
        { STR("empty"), STR("") },  { STR("bytes"), STR("\x00\xff\n") },
    };
    struct record r = record_of(t, 0, "k\xc3\xa9y", "v\0lue");
    r.value = STR("v\0lue\xfe");
    r.headers = headers;
    r.header_count = 5;
    r.timestamp_ms = 1700000000123;
    assert_true(publish((struct publication){ .records = &r, .record_count = 1 }));
    struct reader *in = read_all(fresh(1), t);
    reader_wait(in, 1);
    const struct record *got = in->got[0];
    assert_str(got->topic, t);
    assert_int_equal(got->partition, 0);
    assert_int_equal(got->offset, 0);
    assert_int_equal(got->timestamp_ms, 1700000000123);
    assert_str(got->key, "k\xc3\xa9y");
    assert_true(str_eq(got->value, r.value));
    assert_int_equal(got->header_count, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_true(str_eq(got->headers[i].name, headers[i].name));
        assert_non_null(got->headers[i].value.at);
        assert_true(str_eq(got->headers[i].value, headers[i].value));
    }
    reader_close(in);
}

TEST(absent_and_empty_stay_different)
{
    const char *t = topic(0, 1);
    int64_t before = clock_wall_ms();
    put(t, 0, NULL, "no key");
    put(t, 0, "", "empty key");
    put(t, 0, "tombstone", NULL);
    put(t, 0, "empty value", "");
    struct reader *in = read_all(fresh(1), t);
    reader_wait(in, 4);
    const char *want[4][2] = { { NULL, "no key" }, { "", "empty key" }, { "tombstone", NULL }, { "empty value", "" } };
    for (size_t i = 0; i < 4; i++) {
        assert_str(in->got[i]->key, want[i][0]);
        assert_str(in->got[i]->value, want[i][1]);
        assert_int_equal(in->got[i]->header_count, 0);
        assert_in_range(in->got[i]->timestamp_ms, before, clock_wall_ms());
    }
    reader_close(in);
}

TEST(large_values_pass)
{
    const char *t = topic(0, 1);
    size_t n = 900 * 1024;
    char *big = mem_alloc(n);
    for (size_t i = 0; i < n; i++)
        big[i] = (char)(i * 31 >> 3);
    struct record r = record_of(t, 0, "big", NULL);
    r.value = (struct str){ big, n };
    for (int i = 0; i < 3; i++)
        assert_true(publish((struct publication){ .records = &r, .record_count = 1 }));
    struct reader *in = read_all(fresh(1), t);
    reader_wait(in, 3);
    for (size_t i = 0; i < 3; i++)
        assert_true(str_eq(in->got[i]->value, r.value));
    reader_close(in);
    free(big);
}

/* ---- order and partitions ---- */

TEST(a_partition_keeps_the_order)
{
    const char *t = topic(0, 3);
    for (int32_t p = 0; p < 3; p++)
        put_numbers(t, p, 0, 400);
    struct reader *in = read_all(fresh(1), t);
    reader_wait(in, 1200);
    int next[3] = { 0 };
    for (size_t i = 0; i < in->count; i++)
        assert_int_equal(number_of(in->got[i]), next[in->got[i]->partition]++);
    assert_int_equal(in->count, 1200);
    assert_offsets_rise(in);
    reader_expect_silence(in);
    reader_close(in);
}

TEST(a_key_stays_on_its_partition)
{
    const char *t = topic(0, 6);
    char key[16], value[16];
    for (int round = 0; round < 3; round++)
        for (int k = 0; k < 40; k++) {
            snprintf(key, sizeof key, "key-%d", k);
            snprintf(value, sizeof value, "%d", k);
            put(t, -1, key, value);
        }
    struct reader *in = read_all(fresh(1), t);
    reader_wait(in, 120);
    int32_t home[40];
    memset(home, 0xff, sizeof home);
    unsigned used = 0;
    for (size_t i = 0; i < in->count; i++) {
        int k = number_of(in->got[i]);
        if (home[k] == -1)
            home[k] = in->got[i]->partition;
        assert_int_equal(in->got[i]->partition, home[k]);
        used |= 1u << home[k];
    }
    assert_true(__builtin_popcount(used) >= 3);
    reader_close(in);
}

TEST(records_without_a_key_all_arrive)
{
    const char *t = topic(0, 3);
    put_numbers(t, -1, 0, 300);
    struct reader *in = read_all(fresh(1), t);
    reader_wait(in, 300);
    bool seen[300] = { false };
    for (size_t i = 0; i < in->count; i++) {
        assert_in_range(in->got[i]->partition, 0, 2);
        assert_false(seen[number_of(in->got[i])]);
        seen[number_of(in->got[i])] = true;
    }
    reader_close(in);
}

struct publisher {
    pthread_t thread;
    const char *topic;
    int from;
    struct outcomes *outcomes;
};

static void *publish_numbers(void *arg)
{
    struct publisher *p = arg;
    for (int i = p->from; i < p->from + 500; i++) {
        char value[16];
        snprintf(value, sizeof value, "%d", i);
        struct record r = record_of(p->topic, 0, NULL, value);
        broker_publish(broker, &(struct publication){ .records = &r,
                                                      .record_count = 1,
                                                      .done = outcomes_count,
                                                      .ctx = p->outcomes,
                                                      .tag = (uint64_t)i });
    }
    return NULL;
}

TEST(threads_publish_side_by_side)
{
    struct outcomes *o = outcomes_new();
    struct publisher p[4];
    const char *t = topic(0, 1);
    for (int i = 0; i < 4; i++) {
        p[i] = (struct publisher){ .topic = t, .from = i * 1000, .outcomes = o };
        assert_int_equal(pthread_create(&p[i].thread, NULL, publish_numbers, &p[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(p[i].thread, NULL);
    outcomes_wait(o, 2000);
    assert_int_equal(o->stored, 2000);
    struct reader *in = read_all(fresh(1), t);
    reader_wait(in, 2000);
    int next[4] = { 0, 1000, 2000, 3000 };
    for (size_t i = 0; i < in->count; i++) {
        int n = number_of(in->got[i]);
        assert_int_equal(n, next[n / 1000]++);
        assert_int_equal(o->calls[n], 1);
    }
    reader_close(in);
    outcomes_free(o);
}

TEST(a_publication_spans_topics)
{
    topic(0, 1);
    topic(1, 1);
    struct record both[2] = { record_of(names[0], -1, NULL, "1"), record_of(names[1], -1, NULL, "2") };
    assert_true(publish((struct publication){ .records = both, .record_count = 2 }));
    const char *topics[] = { names[0], names[1] };
    struct reader *in = reader_open(fresh(2), topics, 2, true);
    reader_wait(in, 2);
    assert_int_equal(number_of(in->got[0]) + number_of(in->got[1]), 3);
    assert_str(in->got[0]->topic, names[number_of(in->got[0]) - 1]);
    assert_str(in->got[1]->topic, names[number_of(in->got[1]) - 1]);
    reader_close(in);
}

TEST(an_empty_publication_is_stored)
{
    assert_true(publish((struct publication){ .record_count = 0 }));
}

/* ---- topics ---- */

TEST(publishing_makes_an_unknown_topic)
{
    put(fresh(0), -1, "k", "7");
    struct reader *in = read_all(fresh(1), names[0]);
    reader_wait(in, 1);
    assert_int_equal(number_of(in->got[0]), 7);
    reader_close(in);
}

TEST(a_consumer_may_be_there_before_its_topic)
{
    struct reader *in = read_all(fresh(1), fresh(0));
    assert_int_equal(reader_poll(in, 0), 0);
    put(names[0], -1, "k", "8");
    reader_wait(in, 1);
    assert_int_equal(number_of(in->got[0]), 8);
    reader_close(in);
}

TEST(partitions_are_added_and_never_taken_away)
{
    struct err e = { "" };
    topic(0, 2);
    put(names[0], 1, NULL, "1");
    assert_true(broker_topic(broker, &(struct topic_config){ .name = names[0], .partitions = 4 }, &e));
    put(names[0], 3, NULL, "3");
    assert_true(broker_topic(broker, &(struct topic_config){ .name = names[0], .partitions = 1 }, &e));
    put(names[0], 2, NULL, "2");
    struct reader *in = read_all(fresh(1), names[0]);
    reader_wait(in, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(number_of(in->got[i]), in->got[i]->partition);
    reader_close(in);
}

TEST(a_partition_that_is_not_there_is_refused)
{
    struct record r = record_of(topic(0, 2), 99, NULL, "1");
    assert_false(publish((struct publication){ .records = &r, .record_count = 1 }));
}

/* ---- groups and positions ---- */

TEST(groups_go_at_their_own_pace)
{
    const char *t = topic(0, 1);
    put_numbers(t, 0, 0, 20);
    struct reader *a = read_all(fresh(1), t), *b = read_all(fresh(2), t);
    reader_wait(a, 20);
    reader_wait(b, 20);
    consumer_commit(a->c, (struct topic_partition){ t, 0 }, a->got[19]->offset + 1);
    consumer_commit(b->c, (struct topic_partition){ t, 0 }, b->got[4]->offset + 1);
    reader_close(a);
    reader_close(b);
    put_numbers(t, 0, 20, 1);
    a = read_all(names[1], t);
    b = read_all(names[2], t);
    reader_wait(a, 1);
    assert_int_equal(number_of(a->got[0]), 20);
    reader_wait(b, 16);
    assert_int_equal(number_of(b->got[0]), 5);
    assert_int_equal(number_of(b->got[15]), 20);
    reader_close(a);
    reader_close(b);
}

TEST(what_was_not_committed_comes_again)
{
    const char *t = topic(0, 1);
    put_numbers(t, 0, 0, 10);
    struct reader *in = read_all(fresh(1), t);
    reader_wait(in, 10);
    reader_close(in);
    in = read_all(names[1], t);
    reader_wait(in, 10);
    assert_int_equal(number_of(in->got[0]), 0);
    consumer_commit(in->c, (struct topic_partition){ t, 0 }, in->got[2]->offset + 1);
    consumer_commit(in->c, (struct topic_partition){ t, 0 }, in->got[6]->offset + 1);
    reader_close(in);
    in = read_all(names[1], t);
    reader_wait(in, 3);
    assert_int_equal(number_of(in->got[0]), 7);
    reader_close(in);
}

/* A reader that begins at the end, and has: a broker may need a while to find it, so 100 is published until some of
 * it came. */
static struct reader *read_from_end(const char *group, const char *t)
{
    struct reader *in = reader_open(group, &t, 1, false);
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (in->count == 0 && clock_mono_ms() < until) {
        put(t, 0, NULL, "100");
        struct pollfd p = { .fd = in->wake_fd, .events = POLLIN };
        poll(&p, 1, 20);
        wake_clear(in->wake_fd);
        reader_poll(in, 16);
    }
    assert_true(in->count > 0);
    return in;
}

TEST(a_group_may_begin_at_the_end)
{
    const char *t = topic(0, 1);
    put_numbers(t, 0, 1, 5);
    struct reader *in = read_from_end(fresh(1), t);
    for (size_t i = 0; i < in->count; i++)
        assert_int_equal(number_of(in->got[i]), 100);
    reader_close(in);
}

/* Whoever was away while a partition was added has not seen the end of that one. */
TEST(a_group_that_began_at_the_end_reads_added_partitions_whole)
{
    const char *t = topic(0, 1), *group = fresh(1);
    struct err e = { "" };
    put_numbers(t, 0, 1, 5);
    reader_close(read_from_end(group, t));
    assert_true(broker_topic(broker, &(struct topic_config){ .name = names[0], .partitions = 2 }, &e));
    put_numbers(t, 1, 200, 1);
    struct reader *in = reader_open(group, &t, 1, false);
    bool seen = false;
    for (size_t i = 0; !seen; i++) {
        reader_wait(in, i + 1);
        assert_true(number_of(in->got[i]) >= 100);
        seen = number_of(in->got[i]) == 200;
    }
    reader_close(in);
}

TEST(positions_outlive_the_broker)
{
    if (!survives)
        skip();
    const char *t = topic(0, 2);
    put_numbers(t, 0, 0, 10);
    put_numbers(t, 1, 100, 10);
    struct reader *in = read_all(fresh(1), t);
    reader_wait(in, 20);
    consumer_commit(in->c, (struct topic_partition){ t, 0 }, 10);
    consumer_commit(in->c, (struct topic_partition){ t, 1 }, 7);
    reader_close(in);
    restart();
    in = read_all(names[1], t);
    reader_wait(in, 3);
    assert_int_equal(in->count, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(number_of(in->got[i]), 107 + i);
    put_numbers(t, 0, 10, 1);
    reader_wait(in, 4);
    assert_int_equal(number_of(in->got[3]), 10);
    assert_int_equal(in->got[3]->offset, 10);
    reader_close(in);
}

TEST(a_held_partition_stands_still)
{
    const char *t = topic(0, 2);
    put_numbers(t, 0, 0, 1);
    put_numbers(t, 1, 0, 1);
    struct reader *in = read_all(fresh(1), t);
    reader_wait(in, 2);
    reader_forget(in);
    consumer_hold(in->c, (struct topic_partition){ t, 0 }, true);
    put_numbers(t, 0, 1, 5);
    put_numbers(t, 1, 1, 5);
    reader_wait(in, 5);
    reader_expect_silence(in);
    for (size_t i = 0; i < in->count; i++)
        assert_int_equal(in->got[i]->partition, 1);
    reader_forget(in);
    consumer_hold(in->c, (struct topic_partition){ t, 0 }, false);
    reader_wait(in, 5);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(in->got[i]->partition, 0);
        assert_int_equal(number_of(in->got[i]), i + 1);
    }
    reader_close(in);
}

TEST(broadcast_sees_what_comes_from_now_on)
{
    const char *t = topic(0, 2);
    put_numbers(t, 0, 0, 3);
    put_numbers(t, 1, 0, 3);
    struct reader *a = reader_open(NULL, &t, 1, false), *b = reader_open(NULL, &t, 1, false);
    put_numbers(t, 0, 10, 3);
    put_numbers(t, 1, 20, 3);
    struct reader *each[2] = { a, b };
    for (int i = 0; i < 2; i++) {
        reader_wait(each[i], 6);
        int next[2] = { 10, 20 };
        for (size_t k = 0; k < 6; k++)
            assert_int_equal(number_of(each[i]->got[k]), next[each[i]->got[k]->partition]++);
        reader_expect_silence(each[i]);
    }
    reader_close(a);
    reader_close(b);
}

TEST(a_small_room_is_respected)
{
    const char *t = topic(0, 3);
    for (int32_t p = 0; p < 3; p++)
        put_numbers(t, p, 0, 10);
    struct reader *in = read_all(fresh(1), t);
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (in->count < 30 && clock_mono_ms() < until) {
        if (reader_poll(in, 1))
            continue;
        struct pollfd p = { .fd = in->wake_fd, .events = POLLIN };
        poll(&p, 1, 1000);
        wake_clear(in->wake_fd);
    }
    assert_int_equal(in->count, 30);
    assert_offsets_rise(in);
    assert_int_equal(reader_poll(in, 0), 0);
    reader_close(in);
}

/* ---- state ---- */

struct pairs {
    char text[1024]; /* "key=value " in key order */
    struct {
        char key[32], value[32];
    } at[16];
    size_t count;
};

static bool note_pair(void *ctx, struct str key, struct str value, bool ahead, struct err *e)
{
    struct pairs *p = ctx;
    (void)e;
    assert_false(ahead); /* every change of these tests was confirmed */
    assert_true(p->count < 16 && key.n < 32 && value.n < 32);
    memcpy(p->at[p->count].key, key.at, key.n);
    memcpy(p->at[p->count++].value, value.at, value.n);
    return true;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void assert_state(const char *source, const char *want)
{
    struct err e = { "" };
    struct pairs p = { .count = 0 };
    if (!broker_state(broker, source, note_pair, &p, &e))
        fail_msg("broker_state: %s", e.text);
    qsort(p.at, p.count, sizeof p.at[0], by_key);
    size_t n = 0;
    for (size_t i = 0; i < p.count; i++)
        n += (size_t)snprintf(p.text + n, sizeof p.text - n, "%s=%s ", p.at[i].key, p.at[i].value);
    assert_string_equal(p.text, want);
}

TEST(state_is_kept_with_and_without_records)
{
    const char *t = topic(0, 1), *s = fresh(1), *other = fresh(2);
    struct record r = record_of(t, 0, NULL, "1");
    struct change first[] = { { STR("a"), STR("1"), false }, { STR("b"), STR("2"), true } };
    assert_state(s, "");
    assert_true(publish(
        (struct publication){ .records = &r, .record_count = 1, .state_of = s, .changes = first, .change_count = 2 }));
    assert_true(publish((struct publication){ .state_of = other, .changes = first, .change_count = 1 }));
    assert_state(s, "a=1 b=2 ");
    struct change second[] = { { STR("a"), STR("3"), false },
                               { STR("b"), STR_ABSENT, false },
                               { STR("c"), STR(""), false },
                               { STR("never"), STR_ABSENT, false } };
    assert_true(publish((struct publication){ .state_of = s, .changes = second, .change_count = 4 }));
    assert_state(s, "a=3 c= ");
    assert_state(other, "a=1 ");
    if (!survives)
        return;
    restart();
    assert_state(s, "a=3 c= ");
    assert_state(other, "a=1 ");
    struct reader *in = read_all(fresh(3), t);
    reader_wait(in, 1);
    reader_close(in);
}

TEST(the_last_of_two_changes_counts)
{
    const char *s = fresh(1);
    struct change c[] = { { STR("k"), STR("1"), false }, { STR("k"), STR("2"), false } };
    assert_true(publish((struct publication){ .state_of = s, .changes = c, .change_count = 2 }));
    assert_state(s, "k=2 ");
}

/* ---- tail and flush ---- */

static void note_tail(void *ctx, const struct record *r)
{
    struct pairs *p = ctx;
    assert_true(p->count < 16);
    p->at[p->count].key[0] = (char)('0' + r->partition);
    snprintf(p->at[p->count++].value, 32, "%.*s", STR_ARG(r->value));
}

TEST(tail_shares_evenly_what_it_gives)
{
    struct err e = { "" };
    const char *t = topic(0, 3);
    put_numbers(t, 0, 0, 10);
    put_numbers(t, 1, 50, 2);
    struct pairs p = { .count = 0 };
    assert_true(broker_tail(broker, t, 8, note_tail, &p, &e));
    assert_int_equal(p.count, 5);
    int next[2] = { 7, 50 };
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(strtol(p.at[i].value, NULL, 10), next[p.at[i].key[0] - '0']++);
    p.count = 0;
    assert_true(broker_tail(broker, t, 0, note_tail, &p, &e));
    assert_int_equal(p.count, 0);
    broker_tail(broker, fresh(1), 3, note_tail, &p, &e); /* unknown: nothing, whether or not that is an error */
    assert_int_equal(p.count, 0);
}

TEST(flush_waits_for_all)
{
    struct outcomes *o = outcomes_new();
    const char *t = topic(0, 1);
    for (int i = 0; i < 1000; i++) {
        struct record r = record_of(t, 0, NULL, "x");
        broker_publish(broker,
                       &(struct publication){
                           .records = &r, .record_count = 1, .done = outcomes_count, .ctx = o, .tag = (uint64_t)i });
    }
    assert_true(broker_flush(broker, (struct duration){ PATIENCE_MS }));
    assert_int_equal(o->stored, 1000);
    assert_true(broker_flush(broker, (struct duration){ 0 }));
    outcomes_free(o);
}

TEST(a_healthy_broker_says_so)
{
    struct err why = { "" };
    put(topic(0, 1), 0, NULL, "1");
    assert_true(broker_ready(broker, &why));
    assert_false(broker_failed(broker));
}

/* ---- which brokers ---- */

static int set_up(void **state)
{
    (void)state;
    start();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    broker_close(broker);
    broker = NULL;
    return 0;
}

#define PART(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

static int play(const char *name)
{
    const struct CMUnitTest tests[] = {
        PART(a_record_comes_back_as_it_went),
        PART(absent_and_empty_stay_different),
        PART(large_values_pass),
        PART(a_partition_keeps_the_order),
        PART(a_key_stays_on_its_partition),
        PART(records_without_a_key_all_arrive),
        PART(threads_publish_side_by_side),
        PART(a_publication_spans_topics),
        PART(an_empty_publication_is_stored),
        PART(publishing_makes_an_unknown_topic),
        PART(a_consumer_may_be_there_before_its_topic),
        PART(partitions_are_added_and_never_taken_away),
        PART(a_partition_that_is_not_there_is_refused),
        PART(groups_go_at_their_own_pace),
        PART(what_was_not_committed_comes_again),
        PART(a_group_may_begin_at_the_end),
        PART(a_group_that_began_at_the_end_reads_added_partitions_whole),
        PART(positions_outlive_the_broker),
        PART(a_held_partition_stands_still),
        PART(broadcast_sees_what_comes_from_now_on),
        PART(a_small_room_is_respected),
        PART(state_is_kept_with_and_without_records),
        PART(the_last_of_two_changes_counts),
        PART(tail_shares_evenly_what_it_gives),
        PART(flush_waits_for_all),
        PART(a_healthy_broker_says_so),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

static int play_local(void)
{
    char folder[FOLDER_BYTES];
    config.type = BROKER_LOCAL;
    config.path = ":memory:";
    int failed = play("broker local in memory");
    folder_make(folder);
    config.path = folder;
    survives = true;
    failed += play("broker local in a file");
    folder_remove(folder);
    return failed;
}

static int play_kafka(void)
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
    return play("broker kafka");
}

int main(void)
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
        failed += play_local();
    if (!only || strcmp(only, "kafka") == 0)
        failed += play_kafka();
    return failed != 0;
}
