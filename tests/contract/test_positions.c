/* SPDX-License-Identifier: MIT */
/* The broker contract (bridge/broker/broker.h): what a group has finished beyond its position. */
#include "bridge/lib/clock.h"
#include "tests/support/broker.h"

/* The set of these pairs, from and to. */
static struct ranges set_of(size_t count, const int64_t (*pairs)[2])
{
    struct ranges r = { 0 };
    for (size_t i = 0; i < count; i++)
        ranges_add(&r, pairs[i][0], pairs[i][1]);
    return r;
}

static unsigned commit(struct reader *in, const char *t, int64_t next, size_t count, const int64_t (*pairs)[2])
{
    struct ranges r = set_of(count, pairs);
    unsigned full = consumer_commit(in->c, (struct topic_partition){ t, 0 }, next, &r);
    ranges_free(&r);
    return full;
}

/* Exactly these numbers come. */
static void expect(struct reader *in, size_t count, const int *numbers)
{
    reader_wait(in, count);
    reader_expect_silence(in);
    assert_int_equal(in->count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(number_of(in->got[i]), numbers[i]);
}

TEST(what_is_finished_beyond_does_not_come_again)
{
    const char *t = topic(0, 1), *group = fresh(1);
    put_numbers(t, 0, 0, 20);
    struct reader *in = read_all(group, t);
    reader_wait(in, 20);
    assert_in_range(commit(in, t, 3, 2, (const int64_t[][2]){ { 5, 9 }, { 12, 20 } }), 0, 1);
    reader_close(in);
    put_numbers(t, 0, 20, 2);
    in = read_all(group, t);
    expect(in, 7, (const int[]){ 3, 4, 9, 10, 11, 20, 21 });
    assert_offsets_rise(in);
    reader_close(in);
}

/* Who reads on knows nothing of what it was spared: the consumer keeps it until the position has passed it. */
TEST(what_is_finished_beyond_is_kept_until_it_is_passed)
{
    const char *t = topic(0, 1), *group = fresh(1);
    put_numbers(t, 0, 0, 20);
    struct reader *in = read_all(group, t);
    reader_wait(in, 20);
    commit(in, t, 3, 2, (const int64_t[][2]){ { 5, 9 }, { 12, 20 } });
    reader_close(in);
    in = read_all(group, t);
    expect(in, 5, (const int[]){ 3, 4, 9, 10, 11 });
    commit(in, t, 4, 1, (const int64_t[][2]){ { 10, 11 } });
    reader_close(in);
    in = read_all(group, t);
    expect(in, 3, (const int[]){ 4, 9, 11 });
    commit(in, t, 5, 0, NULL); /* 5 to 8 are done, 10 as well */
    reader_close(in);
    in = read_all(group, t);
    expect(in, 2, (const int[]){ 9, 11 });
    commit(in, t, 12, 0, NULL); /* and with it all of them */
    reader_close(in);
    put_numbers(t, 0, 20, 1);
    in = read_all(group, t);
    expect(in, 1, (const int[]){ 20 });
    reader_close(in);
}

TEST(a_group_that_finished_all_but_one_reads_one)
{
    const char *t = topic(0, 1), *group = fresh(1);
    put_numbers(t, 0, 0, 4000);
    struct reader *in = read_all(group, t);
    reader_wait(in, 1);
    commit(in, t, 0, 1, (const int64_t[][2]){ { 1, 4000 } });
    reader_close(in);
    in = read_all(group, t);
    expect(in, 1, (const int[]){ 0 });
    put_numbers(t, 0, 4000, 1);
    reader_wait(in, 2);
    assert_int_equal(number_of(in->got[1]), 4000);
    reader_close(in);
}

/* Renaming a sink sends no history again, and forgets nothing. */
TEST(a_group_with_a_new_name_goes_on_where_it_stood)
{
    const char *t = topic(0, 1), *old = fresh(1), *group = fresh(2);
    put_numbers(t, 0, 0, 10);
    struct reader *in = read_all(old, t);
    reader_wait(in, 10);
    commit(in, t, 3, 1, (const int64_t[][2]){ { 5, 9 } });
    reader_close(in);
    put_numbers(t, 0, 10, 1);
    in = read_renamed(group, old, t, false);
    expect(in, 4, (const int[]){ 3, 4, 9, 10 });
    commit(in, t, 4, 1, (const int64_t[][2]){ { 10, 11 } });
    reader_close(in);
    in = read_all(old, t); /* the old group still stands where it stood */
    expect(in, 4, (const int[]){ 3, 4, 9, 10 });
    commit(in, t, 11, 0, NULL);
    reader_close(in);
    in = read_renamed(group, old, t, true); /* what was taken over once is its own */
    expect(in, 2, (const int[]){ 4, 9 });
    reader_close(in);
}

TEST(a_taken_over_position_is_kept_even_if_nothing_was_read)
{
    const char *t = topic(0, 1), *old = fresh(1), *group = fresh(2);
    put_numbers(t, 0, 0, 5);
    struct reader *in = read_all(old, t);
    reader_wait(in, 5);
    commit(in, t, 2, 1, (const int64_t[][2]){ { 3, 4 } });
    reader_close(in);
    in = read_renamed(group, old, t, true);
    reader_wait(in, 1);
    reader_close(in);
    in = read_all(group, t);
    expect(in, 2, (const int[]){ 2, 4 });
    reader_close(in);
}

TEST(the_set_outlives_the_broker)
{
    if (!survives)
        skip();
    const char *t = topic(0, 1), *group = fresh(1);
    put_numbers(t, 0, 0, 10);
    struct reader *in = read_all(group, t);
    reader_wait(in, 10);
    commit(in, t, 2, 1, (const int64_t[][2]){ { 3, 10 } });
    reader_close(in);
    restart();
    in = read_all(group, t);
    expect(in, 1, (const int[]){ 2 });
    reader_close(in);
}

/* What does not fit is the farthest, and it comes again: what is not finished always comes. */
TEST(a_set_that_is_too_large_loses_nothing)
{
    enum { COUNT = 4000 };
    const char *t = topic(0, 1), *group = fresh(1);
    struct ranges odd = { 0 };
    put_numbers(t, 0, 0, COUNT);
    struct reader *in = read_all(group, t);
    reader_wait(in, 1);
    for (int64_t n = 1; n < COUNT; n += 2)
        ranges_add(&odd, n, n + 1);
    unsigned full = consumer_commit(in->c, (struct topic_partition){ t, 0 }, 0, &odd);
    ranges_free(&odd);
    reader_close(in);
    in = read_all(group, t);
    reader_wait(in, COUNT / 2);
    if (full > 100)
        reader_wait(in, (size_t)COUNT / 2 + 1);
    for (int last = 0; last < COUNT - 2;) { /* until the last even one is there */
        last = number_of(in->got[in->count - 1]);
        if (last < COUNT - 2)
            reader_wait(in, in->count + 1);
    }
    int want = 0;
    for (size_t i = 0; i < in->count; i++) {
        int n = number_of(in->got[i]);
        assert_true(n == want || (n == want - 1 && n % 2 && full > 100)); /* an odd one came again */
        want = n % 2 ? n + 1 : n + 2;
        assert_true(n % 2 == 0 || n > COUNT / 2);
    }
    assert_true(want >= COUNT);
    reader_close(in);
}

struct seen {
    const char *group, *topic;
    int64_t unread;
    bool idle;
    int count;
};

static void note_group(void *ctx, const char *group, bool idle, const char *t, int64_t unread)
{
    struct seen *s = ctx;
    if (strcmp(group, s->group) != 0)
        return;
    assert_string_equal(t, s->topic);
    s->unread = unread;
    s->idle = idle;
    s->count++;
}

static struct seen look(const char *group, const char *t)
{
    struct err e = { "" };
    struct seen s = { .group = group, .topic = t };
    if (!broker_groups(broker, group, &(struct group_seen){ .each = note_group, .ctx = &s }, &e))
        fail_msg("%s", e.text);
    struct seen outside = { .group = group, .topic = t };
    if (survives && !groups_outside(group, &(struct group_seen){ .each = note_group, .ctx = &outside }, &e))
        fail_msg("%s", e.text);
    if (survives && outside.count == s.count) /* else the group did something in between */
        assert_int_equal(outside.unread, s.unread);
    return s;
}

TEST(what_a_group_has_not_finished_can_be_asked)
{
    const char *t = topic(0, 2), *group = fresh(1);
    assert_int_equal(look(group, t).count, 0);
    put_numbers(t, 0, 0, 20);
    struct reader *in = read_all(group, t);
    reader_wait(in, 20);
    commit(in, t, 3, 2, (const int64_t[][2]){ { 5, 9 }, { 12, 14 } });
    reader_close(in);
    struct seen s = look(group, t);
    for (int64_t until = clock_mono_ms() + 20000; !s.idle && clock_mono_ms() < until;)
        s = look(group, t);
    assert_int_equal(s.count, 1);
    assert_true(s.idle);
    assert_int_equal(s.unread, 20 - 3 - 4 - 2);
    in = read_all(group, t);
    reader_wait(in, 1);
    assert_false(look(group, t).idle);
    reader_close(in);
}

TEST(what_a_group_is_owed_can_be_forgotten)
{
    const char *t = topic(0, 2), *other = topic(1, 1), *group = fresh(2);
    struct err e = { "" };
    put_numbers(t, 0, 0, 5);
    put_numbers(t, 1, 5, 5);
    put_numbers(other, 0, 0, 3);
    const char *both[] = { t, other };
    struct reader *in = reader_open(group, both, 2, true);
    reader_wait(in, 13);
    commit(in, t, 2, 0, NULL);
    consumer_commit(in->c, (struct topic_partition){ other, 0 }, 1, NULL);
    reader_close(in);
    in = read_all(group, t);
    reader_wait(in, 8);
    if (broker_forget(broker, group, t, &e))
        fail_msg("forgotten while it is consumed");
    assert_non_null(strstr(e.text, t));
    reader_close(in);
    for (int64_t until = clock_mono_ms() + PATIENCE_MS; !broker_forget(broker, group, t, &e);)
        if (clock_mono_ms() > until) /* kafka: until the member has left */
            fail_msg("%s", e.text);
    struct seen s = look(group, other); /* the only one that is left */
    assert_int_equal(s.count, 1);
    assert_int_equal(s.unread, 2);
    assert_true(broker_forget(broker, group, t, &e)); /* it was not there any more */
    in = read_all(group, t);
    reader_wait(in, 10); /* as if it were new */
    reader_close(in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BROKER_TEST(what_is_finished_beyond_does_not_come_again),
        BROKER_TEST(what_is_finished_beyond_is_kept_until_it_is_passed),
        BROKER_TEST(a_group_that_finished_all_but_one_reads_one),
        BROKER_TEST(a_group_with_a_new_name_goes_on_where_it_stood),
        BROKER_TEST(a_taken_over_position_is_kept_even_if_nothing_was_read),
        BROKER_TEST(what_a_group_has_not_finished_can_be_asked),
        BROKER_TEST(what_a_group_is_owed_can_be_forgotten),
        BROKER_TEST(the_set_outlives_the_broker),
        BROKER_TEST(a_set_that_is_too_large_loses_nothing),
    };
    return broker_play(tests, sizeof tests / sizeof *tests);
}
