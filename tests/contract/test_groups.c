/* SPDX-License-Identifier: MIT */
/* The broker contract (bridge/broker/broker.h): groups and their positions. */
#include <poll.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/mailbox.h"
#include "tests/support/broker.h"

/* ---- groups and positions ---- */

TEST(groups_go_at_their_own_pace)
{
    const char *t = topic(0, 1);
    put_numbers(t, 0, 0, 20);
    struct reader *a = read_all(fresh(1), t), *b = read_all(fresh(2), t);
    reader_wait(a, 20);
    reader_wait(b, 20);
    consumer_commit(a->c, (struct topic_partition){ t, 0 }, a->got[19]->offset + 1, NULL);
    consumer_commit(b->c, (struct topic_partition){ t, 0 }, b->got[4]->offset + 1, NULL);
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
    consumer_commit(in->c, (struct topic_partition){ t, 0 }, in->got[2]->offset + 1, NULL);
    consumer_commit(in->c, (struct topic_partition){ t, 0 }, in->got[6]->offset + 1, NULL);
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
    consumer_commit(in->c, (struct topic_partition){ t, 0 }, 10, NULL);
    consumer_commit(in->c, (struct topic_partition){ t, 1 }, 7, NULL);
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

TEST(a_partition_is_read_again_from_where_it_was_sought)
{
    const char *t = topic(0, 2), *group = fresh(1);
    struct topic_partition first = { t, 0 };
    assert_int_equal(broker_partitions(broker, t), 2);
    put_numbers(t, 0, 0, 50);
    put_numbers(t, 1, 100, 5);
    struct reader *in = read_all(group, t);
    reader_wait(in, 55);
    reader_forget(in);
    consumer_seek(in->c, first, 20);
    reader_wait(in, 30);
    reader_expect_silence(in);
    for (int i = 0; i < 30; i++)
        assert_int_equal(number_of(in->got[i]), 20 + i); /* and nothing of the other partition */
    reader_forget(in);
    consumer_seek(in->c, first, 0); /* the last counts */
    consumer_seek(in->c, first, 45);
    reader_wait(in, 5);
    put_numbers(t, 0, 50, 1);
    put_numbers(t, 1, 105, 1);
    reader_wait(in, 7);
    reader_expect_silence(in);
    for (size_t i = 0; i < 7; i++)
        assert_true(number_of(in->got[i]) == 105 || (number_of(in->got[i]) >= 45 && number_of(in->got[i]) <= 50));
    consumer_commit(in->c, first, 40, &(struct ranges){ .at = &(struct range){ 45, 51 }, .count = 1 });
    reader_close(in);
    in = read_all(group, t);
    reader_wait(in, 5 + 6); /* what is finished does not come, however it is sought */
    reader_forget(in);
    consumer_seek(in->c, first, 42);
    put_numbers(t, 0, 51, 1);
    reader_wait(in, 4);
    reader_expect_silence(in);
    for (int i = 0; i < 4; i++)
        assert_int_equal(number_of(in->got[i]), i < 3 ? 42 + i : 51);
    reader_close(in);
}

/* Also back and forth in the middle of it, when more was read ahead than was taken. */
TEST(what_was_read_ahead_does_not_come_after_a_seek)
{
    const char *t = topic(0, 1), *group = fresh(1);
    put_numbers(t, 0, 0, 500);
    struct reader *in = read_all(group, t);
    reader_wait(in, 1);
    for (int round = 0; round < 20; round++) {
        int to = round % 2 ? 450 - round : round * 3;
        consumer_seek(in->c, (struct topic_partition){ t, 0 }, to);
        reader_forget(in);
        int64_t until = clock_mono_ms() + PATIENCE_MS;
        while (in->count < 10 && clock_mono_ms() < until)
            if (!reader_poll(in, 5)) {
                struct pollfd p = { .fd = in->wake_fd, .events = POLLIN };
                poll(&p, 1, 1000);
                wake_clear(in->wake_fd);
            }
        assert_in_range(in->count, 10, 14);
        for (size_t i = 0; i < in->count; i++)
            assert_int_equal(number_of(in->got[i]), to + (int)i);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        BROKER_TEST(groups_go_at_their_own_pace),
        BROKER_TEST(what_was_not_committed_comes_again),
        BROKER_TEST(a_group_may_begin_at_the_end),
        BROKER_TEST(a_group_that_began_at_the_end_reads_added_partitions_whole),
        BROKER_TEST(positions_outlive_the_broker),
        BROKER_TEST(a_held_partition_stands_still),
        BROKER_TEST(a_partition_is_read_again_from_where_it_was_sought),
        BROKER_TEST(what_was_read_ahead_does_not_come_after_a_seek),
        BROKER_TEST(broadcast_sees_what_comes_from_now_on),
        BROKER_TEST(a_small_room_is_respected),
    };
    return broker_play(tests, sizeof tests / sizeof *tests);
}
