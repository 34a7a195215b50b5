/* SPDX-License-Identifier: MIT */
/* The broker contract (bridge/broker/broker.h): records, order, topics, state, tail and flush; groups are in test_groups.c. */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/mem.h"
#include "tests/support/broker.h"

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
    assert_text(got->topic, t);
    assert_int_equal(got->partition, 0);
    assert_int_equal(got->offset, 0);
    assert_int_equal(got->timestamp_ms, 1700000000123);
    assert_text(got->key, "k\xc3\xa9y");
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
        assert_text(in->got[i]->key, want[i][0]);
        assert_text(in->got[i]->value, want[i][1]);
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
    assert_text(in->got[0]->topic, names[number_of(in->got[0]) - 1]);
    assert_text(in->got[1]->topic, names[number_of(in->got[1]) - 1]);
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
    assert_true(broker_tail(broker, t, &(struct tail_options){ .most = 8 }, note_tail, &p, &e));
    assert_int_equal(p.count, 5);
    int next[2] = { 7, 50 };
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(strtol(p.at[i].value, NULL, 10), next[p.at[i].key[0] - '0']++);
    p.count = 0;
    assert_true(broker_tail(broker, t, &(struct tail_options){ 0 }, note_tail, &p, &e));
    assert_int_equal(p.count, 0);
    /* unknown: nothing, whether or not that is an error */
    broker_tail(broker, fresh(1), &(struct tail_options){ .most = 3 }, note_tail, &p, &e);
    assert_int_equal(p.count, 0);
}

static void wait_until(int64_t wall_ms)
{
    while (clock_wall_ms() < wall_ms)
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

TEST(tail_goes_back_to_a_moment)
{
    struct err e = { "" };
    const char *t = topic(0, 3);
    put_numbers(t, 0, 0, 5);
    put_numbers(t, 1, 50, 5); /* nothing else comes there */
    int64_t since = clock_wall_ms() + 200;
    wait_until(since + 200);
    put_numbers(t, 0, 5, 3);
    put_numbers(t, 2, 80, 2);
    struct pairs p = { .count = 0 };
    assert_true(broker_tail(broker, t, &(struct tail_options){ .most = 30, .since_ms = since }, note_tail, &p, &e));
    assert_int_equal(p.count, 5);
    int next[3] = { 5, 0, 80 };
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(strtol(p.at[i].value, NULL, 10), next[p.at[i].key[0] - '0']++);
    p.count = 0;
    assert_true(broker_tail(broker, t, &(struct tail_options){ .most = 6, .since_ms = since }, note_tail, &p, &e));
    assert_int_equal(p.count, 4); /* two of each */
    p.count = 0;
    int64_t later = clock_wall_ms() + 1000;
    assert_true(broker_tail(broker, t, &(struct tail_options){ .most = 6, .since_ms = later }, note_tail, &p, &e));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        BROKER_TEST(a_record_comes_back_as_it_went),
        BROKER_TEST(absent_and_empty_stay_different),
        BROKER_TEST(large_values_pass),
        BROKER_TEST(a_partition_keeps_the_order),
        BROKER_TEST(a_key_stays_on_its_partition),
        BROKER_TEST(records_without_a_key_all_arrive),
        BROKER_TEST(threads_publish_side_by_side),
        BROKER_TEST(a_publication_spans_topics),
        BROKER_TEST(an_empty_publication_is_stored),
        BROKER_TEST(publishing_makes_an_unknown_topic),
        BROKER_TEST(a_consumer_may_be_there_before_its_topic),
        BROKER_TEST(partitions_are_added_and_never_taken_away),
        BROKER_TEST(a_partition_that_is_not_there_is_refused),
        BROKER_TEST(state_is_kept_with_and_without_records),
        BROKER_TEST(the_last_of_two_changes_counts),
        BROKER_TEST(tail_shares_evenly_what_it_gives),
        BROKER_TEST(tail_goes_back_to_a_moment),
        BROKER_TEST(flush_waits_for_all),
        BROKER_TEST(a_healthy_broker_says_so),
    };
    return broker_play(tests, sizeof tests / sizeof *tests);
}
