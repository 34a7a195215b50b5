/* SPDX-License-Identifier: MIT */
/* A look at a topic from outside (bridge/broker/broker.h: look_open): where it goes on, what it leaves out, how partitions are
 * merged, what retention takes meanwhile. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/broker/copy.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/mem.h"
#include "tests/support/broker.h"

static bool see(void *ctx, const struct record *r)
{
    int *seen = ctx;
    assert_int_equal(number_of(r), *seen);
    ++*seen;
    return *seen % 100 != 99;
}

TEST(a_look_from_outside_goes_on_where_it_was)
{
    const char *t = topic(0, 1);
    struct err e = { "" };
    int seen = 0;
    put_numbers(t, 0, 0, 300);
    struct look *l = look_at(&(struct look_options){ .topic = t }, &e);
    if (!survives) {
        assert_null(l);
        assert_non_null(strstr(e.text, ":memory:"));
        return;
    }
    for (int until = 99; until < 300; until += 100) { /* it is told to stop now and then */
        if (!l || !look_on(l, see, &seen, &e))
            fail_msg("%s", e.text);
        assert_int_equal(seen, until);
    }
    assert_true(look_on(l, see, &seen, &e));
    assert_int_equal(seen, 300);
    put_numbers(t, 0, 300, 7);
    assert_true(look_on(l, see, &seen, &e));
    assert_true(look_on(l, see, &seen, &e));
    assert_int_equal(seen, 307);
    look_close(l);
}

struct looked {
    int numbers[64];
    size_t count;
};

static bool note_number(void *ctx, const struct record *r)
{
    struct looked *l = ctx;
    assert_true(l->count < 64);
    l->numbers[l->count++] = number_of(r);
    return true;
}

static void look_sees(struct look_options o, size_t count, const int *numbers)
{
    struct err e = { "" };
    struct looked seen = { .count = 0 };
    struct look *l = look_at(&o, &e);
    if (!survives)
        return;
    if (!l || !look_on(l, note_number, &seen, &e))
        fail_msg("%s", e.text);
    assert_int_equal(seen.count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(seen.numbers[i], numbers[i]);
    look_close(l);
}

TEST(a_look_at_what_a_group_has_not_finished)
{
    const char *t = topic(0, 1), *group = fresh(1);
    struct ranges beyond = { 0 };
    put_numbers(t, 0, 0, 12);
    look_sees((struct look_options){ .topic = t, .group = group, .most = 2 }, 3, (const int[]){ 9, 10, 11 });
    struct reader *in = read_all(group, t);
    reader_wait(in, 12);
    ranges_add(&beyond, 8, 11);
    consumer_commit(in->c, (struct topic_partition){ t, 0 }, 7, &beyond);
    ranges_free(&beyond);
    reader_close(in);
    look_sees((struct look_options){ .topic = t, .group = group }, 2, (const int[]){ 7, 11 });
    look_sees((struct look_options){ .topic = t, .group = group, .most = 2 }, 1, (const int[]){ 11 });
    look_sees((struct look_options){ .topic = fresh(2), .group = group, .may_lack = true }, 0, NULL);
}

TEST(a_look_at_what_was_stored_since)
{
    const char *t = topic(0, 1);
    put_numbers(t, 0, 0, 5);
    int64_t since = clock_wall_ms();
    while (clock_wall_ms() < since + 300) /* as exact as the log's clock */
        poll(NULL, 0, 10);
    since = clock_wall_ms() - 100;
    put_numbers(t, 0, 5, 2);
    look_sees((struct look_options){ .topic = t, .since_ms = since }, 2, (const int[]){ 5, 6 });
    look_sees((struct look_options){ .topic = t, .since_ms = clock_wall_ms() + 3600000 }, 0, NULL);
}

TEST(a_look_makes_no_topic)
{
    struct err e = { "" };
    int seen = 0;
    const char *t = fresh(0);
    for (int i = 0; i < 2; i++) {
        struct look *l = look_at(&(struct look_options){ .topic = t }, &e);
        assert_false(l && look_on(l, see, &seen, &e));
        assert_non_null(strstr(e.text, survives ? t : ":memory:"));
        look_close(l);
    }
}

/* ---- merged by time ---- */

struct merged { /* what came, and what did not */
    int numbers[2000];
    int count, stop; /* it is told to stop after each so many; 0: never */
    int64_t gone[3], from[3], to[3];
};

static bool note_merged(void *ctx, const struct record *r)
{
    struct merged *m = ctx;
    assert_true(m->count < 2000);
    m->numbers[m->count++] = r->value.n < 16 ? number_of(r) : -1;
    return !m->stop || m->count % m->stop;
}

static void note_gone(void *ctx, const struct topic_partition *p, int64_t from, int64_t to)
{
    struct merged *m = ctx;
    m->gone[p->partition]++;
    m->from[p->partition] = from;
    m->to[p->partition] = to;
}

static void put_at(const char *t, int n, int32_t where)
{
    char value[16];
    snprintf(value, sizeof value, "%d", n);
    struct record r = record_of(t, where, NULL, value);
    r.timestamp_ms = clock_wall_ms();
    assert_true(publish((struct publication){ .records = &r, .record_count = 1 }));
}

/* In stretches of 1, 2, 3 ... records, each in another partition and later than the one before. */
static void put_in_stretches(const char *t, int count)
{
    for (int n = 0, stretch = 1; n < count; stretch++) {
        for (int i = 0; i < stretch && n < count; i++)
            put_at(t, n++, stretch % 3);
        for (int64_t now = clock_wall_ms(); clock_wall_ms() <= now + 2;)
            poll(NULL, 0, 1);
    }
}

static void look_merges(struct look *l, struct merged *m, int count)
{
    struct err e = { "" };
    for (int calls = 0; m->count < count && calls < 1000; calls++)
        if (!look_on(l, note_merged, m, &e))
            fail_msg("%s", e.text);
    assert_int_equal(m->count, count);
}

TEST(partitions_are_merged_by_time)
{
    const char *t = topic(0, 3);
    struct err e = { "" };
    struct merged m = { .stop = 7 };
    put_in_stretches(t, 300);
    struct look *l = look_at(&(struct look_options){ .topic = t, .by_time = true }, &e);
    if (!survives)
        return;
    assert_non_null(l);
    look_merges(l, &m, 300);
    for (int n = 0; n < 300; n++)
        assert_int_equal(m.numbers[n], n);
    put_at(t, 300, 2); /* it goes on with what came since */
    put_at(t, 301, 2);
    look_merges(l, &m, 302);
    assert_int_equal(m.numbers[301], 301);
    look_close(l);
}

/* ---- what is gone ---- */

/* So large, and not to be compressed, that no client reads all of them ahead. */
static void put_large(const char *t, int32_t partition, int count)
{
    enum { LARGE = 100 << 10 };
    char *value = mem_alloc(LARGE);
    crypto_random(value, LARGE);
    for (int n = 0; n < count; n++) {
        struct record r = record_of(t, partition, NULL, NULL);
        r.value = (struct str){ value, LARGE };
        assert_true(publish((struct publication){ .records = &r, .record_count = 1 }));
    }
    free(value);
}

TEST(what_is_removed_meanwhile_is_told)
{
    enum { EACH = 300, REMOVED = 270 };
    const char *t = topic(0, 3);
    struct err e = { "" };
    struct merged m = { .stop = 10 };
    if (!survives)
        return;
    put_numbers(t, 0, 0, EACH);
    put_large(t, 1, EACH);
    put_numbers(t, 2, 0, EACH);
    struct look *l = look_at(&(struct look_options){ .topic = t, .by_time = true, .gone = note_gone, .ctx = &m }, &e);
    assert_non_null(l);
    assert_true(look_on(l, note_merged, &m, &e));
    assert_int_equal(m.count, 10);
    remove_before(t, 1, REMOVED);
    m.stop = 0;
    if (!look_on(l, note_merged, &m, &e))
        fail_msg("%s", e.text);
    assert_int_equal(m.gone[0] + m.gone[2], 0);
    assert_int_equal(m.gone[1], 1);
    assert_int_equal(m.to[1], REMOVED);
    assert_in_range(m.from[1], 0, REMOVED - 1);
    assert_int_equal(m.count, 3 * EACH - (REMOVED - m.from[1])); /* each came, or is among those */
    look_close(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BROKER_TEST(a_look_from_outside_goes_on_where_it_was),
        BROKER_TEST(a_look_at_what_a_group_has_not_finished),
        BROKER_TEST(a_look_at_what_was_stored_since),
        BROKER_TEST(a_look_makes_no_topic),
        BROKER_TEST(partitions_are_merged_by_time),
        BROKER_TEST(what_is_removed_meanwhile_is_told),
    };
    return broker_play(tests, sizeof tests / sizeof *tests);
}
