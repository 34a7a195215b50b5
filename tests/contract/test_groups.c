/* SPDX-License-Identifier: MIT */
/* The broker contract (bridge/broker/broker.h): groups and their positions. */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
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

/* ---- the log from any position (event/log.h) ---- */

enum { UNTIL_END = 1 << 30 };

static struct {
    struct reader *in; /* without a group */
    size_t sent;       /* of what it got */
    struct log *log;
} live;

static bool live_next(void *ctx, struct topic_partition p, int64_t *out)
{
    (void)ctx;
    for (size_t i = live.sent; i < live.in->count; i++)
        if (live.in->got[i]->partition == p.partition && str_eq(live.in->got[i]->topic, str_of(p.topic))) {
            *out = live.in->got[i]->offset;
            return true;
        }
    return consumer_next(live.in->c, p, out);
}

static void live_open(const char *const *topics, size_t count)
{
    struct err e = { "" };
    live.sent = 0;
    live.in = reader_open(NULL, topics, count, false);
    live.log = broker_log(broker, &(struct log_options){ .wake_fd = live.in->wake_fd, .live = live_next }, &e);
    if (!live.log)
        fail_msg("broker_log: %s", e.text);
}

static void live_close(void)
{
    broker_log_close(broker, live.log);
    reader_close(live.in);
}

/* What is not known yet is waited for as a sink does: on the wake fd, while its consumer is polled. */
static void live_wait(void)
{
    struct pollfd p = { .fd = live.in->wake_fd, .events = POLLIN };
    poll(&p, 1, 1000);
    wake_clear(live.in->wake_fd);
    reader_poll(live.in, MOST - live.in->count < 16 ? MOST - live.in->count : 16);
}

#define KNOWN(call)                                                                                                    \
    do {                                                                                                               \
        int64_t known_until = clock_mono_ms() + PATIENCE_MS;                                                           \
        while (!(call) && clock_mono_ms() < known_until)                                                               \
            live_wait();                                                                                               \
        if (clock_mono_ms() >= known_until)                                                                            \
            fail_msg("not known in time: %s", #call);                                                                  \
    } while (0)

static uint64_t log_identity(const char *t)
{
    uint64_t identity = 0;
    KNOWN(live.log->ops->identity(live.log, t, &identity));
    return identity;
}

static struct log_reader *log_from(const char *t, int32_t p, int64_t offset)
{
    return live.log->ops->open(live.log, (struct topic_partition){ t, p }, log_identity(t), offset);
}

/* Reads until it stands at `until`, or `count` records came; the numbers are first, first + 1 ... */
static void log_expect(struct log_reader *r, int64_t until, int first, int count)
{
    struct err e = { "" };
    struct record *got[16];
    int next = first;
    int64_t patience = clock_mono_ms() + PATIENCE_MS;
    while ((next < first + count || (until < UNTIL_END && r->next < until)) && clock_mono_ms() < patience) {
        int n = live.log->ops->read(live.log, r, until, got, 16, 1 << 20, &e);
        if (n < 0)
            fail_msg("read: %s", e.text);
        for (int i = 0; i < n; i++) {
            assert_int_equal(number_of(got[i]), next++);
            assert_true(got[i]->timestamp_ms > 0 && got[i]->offset < until);
            record_free(got[i]);
        }
        if (n == 0)
            live_wait();
    }
    assert_int_equal(next, first + count);
}

TEST(a_log_is_read_from_any_position)
{
    const char *t = topic(0, 2);
    put_numbers(t, 1, 0, 100);
    live_open(&t, 1);
    struct log_bounds bounds;
    KNOWN(live.log->ops->bounds(live.log, (struct topic_partition){ t, 1 }, &bounds));
    assert_int_equal(bounds.start, 0);
    assert_int_equal(bounds.end, 100);
    int32_t partitions;
    KNOWN((partitions = live.log->ops->partitions(live.log, t)));
    assert_int_equal(partitions, 2);
    struct log_reader *all = log_from(t, 1, 0), *middle = log_from(t, 1, 57), *end = log_from(t, 1, 100);
    log_expect(all, 40, 0, 40);
    log_expect(middle, UNTIL_END, 57, 43);
    log_expect(all, 100, 40, 60);
    put_numbers(t, 1, 100, 5);
    log_expect(end, UNTIL_END, 100, 5);
    log_expect(middle, UNTIL_END, 100, 5);
    assert_int_equal(all->lost + middle->lost + end->lost, 0);
    live.log->ops->close(live.log, all);
    live.log->ops->close(live.log, middle);
    live.log->ops->close(live.log, end);
    live_close();
}

TEST(a_log_is_read_from_a_time)
{
    const char *t = topic(0, 1);
    put_numbers(t, 0, 0, 3);
    live_open(&t, 1);
    struct topic_partition p = { t, 0 };
    struct log_reader *r = log_from(t, 0, 2);
    struct record *last;
    struct err e = { "" };
    int64_t offset = -1;
    KNOWN(live.log->ops->read(live.log, r, UNTIL_END, &last, 1, 1, &e));
    KNOWN(live.log->ops->offset_at(live.log, p, last->stored_ms, &offset));
    assert_true(offset <= 2); /* by its own time it is found, whatever the wall's is */
    int64_t after = last->stored_ms + 300;
    record_free(last);
    KNOWN(live.log->ops->offset_at(live.log, p, 1, &offset));
    assert_int_equal(offset, 0);
    KNOWN(live.log->ops->offset_at(live.log, p, after + 3600000, &offset));
    assert_int_equal(offset, 3);
    int number = 3;
    for (int64_t patience = clock_mono_ms() + PATIENCE_MS; clock_mono_ms() < patience;) {
        put_numbers(t, 0, number++, 1);
        KNOWN(live.log->ops->offset_at(live.log, p, after, &offset));
        if (offset == number - 1)
            break; /* the one that was put just now; none before it is so late */
        assert_int_equal(offset, number);
        live_wait();
    }
    assert_true(offset >= 3 && offset == number - 1);
    live.log->ops->close(live.log, r);
    live_close();
}

struct writer {
    const char *topic;
    int next, last;
    struct outcomes *outcomes;
};

/* Publishes numbers without waiting, but for the room in the tests' arrays: many at a time, then the other threads' turn. */
static void *writer_run(void *arg)
{
    struct writer *w = arg;
    for (int i = w->next; i < w->last; i++) {
        char value[16];
        snprintf(value, sizeof value, "%d", i);
        struct record r = record_of(w->topic, 0, NULL, value);
        broker_publish(broker, &(struct publication){ .records = &r,
                                                      .record_count = 1,
                                                      .done = outcomes_count,
                                                      .ctx = w->outcomes,
                                                      .tag = (uint64_t)(i - w->next) });
        if (i % 7 == 0)
            poll(NULL, 0, 1);
    }
    return NULL;
}

/* A quiet partition, one that is written to all the time, and a reader that begins at the start of it: it ends exactly where
 * the live stream goes on. */
TEST(a_log_meets_the_live_stream_without_a_gap_or_a_repeat)
{
    const char *t = topic(0, 2);
    put_numbers(t, 0, 0, 50);
    live_open(&t, 1);
    struct topic_partition p = { t, 0 }, quiet = { t, 1 };
    int64_t at = -1;
    KNOWN(live.log->ops->live(live.log, quiet, &at));
    assert_int_equal(at, 0);
    KNOWN(live.log->ops->live(live.log, p, &at));
    assert_int_equal(at, 50);
    struct log_reader *r = log_from(t, 0, 0);
    enum { NUMBERS = 1500 };
    struct writer w = { t, 50, NUMBERS, outcomes_new() };
    pthread_t writer;
    int next = 0, turns = 0;
    struct err e = { "" };
    assert_int_equal(pthread_create(&writer, NULL, writer_run, &w), 0);
    int64_t patience = clock_mono_ms() + PATIENCE_MS;
    for (bool joined = false; !joined && clock_mono_ms() < patience;) {
        struct record *got[7];
        reader_poll(live.in, 2);
        size_t sent = live.in->count - (live.in->count > 0 && turns++ % 2);
        live.sent = sent > live.sent ? sent : live.sent; /* it never goes back, but where a topic is made anew */
        assert_true(live.log->ops->live(live.log, p, &at));
        int n = live.log->ops->read(live.log, r, at, got, 7, 1 << 20, &e);
        assert_true(n >= 0);
        for (int i = 0; i < n; i++) {
            assert_int_equal(number_of(got[i]), next++);
            record_free(got[i]);
        }
        joined = r->next == at;
        if (n == 0 && !joined)
            live_wait();
    }
    assert_int_equal(r->next, at);
    assert_int_equal(next, at);
    live.log->ops->close(live.log, r);
    pthread_join(writer, NULL);
    outcomes_wait(w.outcomes, NUMBERS - 50);
    assert_int_equal(w.outcomes->stored, NUMBERS - 50);
    outcomes_free(w.outcomes);
    reader_wait(live.in, NUMBERS - 50);
    for (size_t i = 0; i < live.in->count; i++)
        if (live.in->got[i]->offset >= at)
            assert_int_equal(number_of(live.in->got[i]), next++);
    assert_int_equal(next, NUMBERS);
    live_close();
}

TEST(a_partition_that_is_added_is_live_from_its_start)
{
    const char *t = topic(0, 1);
    put_numbers(t, 0, 0, 3);
    live_open(&t, 1);
    int64_t at = -1;
    KNOWN(live.log->ops->live(live.log, (struct topic_partition){ t, 0 }, &at));
    struct err e = { "" };
    uint64_t before = log_identity(t);
    assert_true(broker_topic(broker, &(struct topic_config){ .name = names[0], .partitions = 2 }, &e));
    put_numbers(t, 1, 7, 2);
    KNOWN(live.log->ops->live(live.log, (struct topic_partition){ t, 1 }, &at));
    assert_true(at >= 0 && at <= 2);
    reader_wait(live.in, 2);
    assert_int_equal(live.in->got[0]->offset, 0);
    assert_true(log_identity(t) == before);
    struct log_reader *r = log_from(t, 1, 0);
    log_expect(r, 2, 7, 2);
    live.log->ops->close(live.log, r);
    live_close();
}

TEST(the_identity_of_a_topic_outlives_the_broker)
{
    if (!survives)
        return;
    const char *t = topic(0, 1), *other = topic(1, 1);
    live_open(&t, 1);
    uint64_t identity = log_identity(t);
    assert_true(log_identity(other) != identity);
    live_close();
    restart();
    live_open(&t, 1);
    assert_true(log_identity(t) == identity);
    struct log_reader *r = live.log->ops->open(live.log, (struct topic_partition){ t, 0 }, identity + 1, 0);
    assert_true(r->anew);
    live.log->ops->close(live.log, r);
    live_close();
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
        BROKER_TEST(a_log_is_read_from_any_position),
        BROKER_TEST(a_log_is_read_from_a_time),
        BROKER_TEST(a_log_meets_the_live_stream_without_a_gap_or_a_repeat),
        BROKER_TEST(a_partition_that_is_added_is_live_from_its_start),
        BROKER_TEST(the_identity_of_a_topic_outlives_the_broker),
        BROKER_TEST(a_small_room_is_respected),
    };
    return broker_play(tests, sizeof tests / sizeof *tests);
}
