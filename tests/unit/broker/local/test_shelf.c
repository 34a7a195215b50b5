/* SPDX-License-Identifier: MIT */
/* One reading of the embedded log for all consumers at the same place. */
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/broker/local/private.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "tests/support/local.h"

static void give_back(struct record **records, int count)
{
    for (int i = 0; i < count; i++)
        record_free(records[i]);
}

static size_t shelved(void)
{
    return atomic_load(&((struct local *)local_broker)->shelved);
}

/* Exactly `count` records, which the caller gives back. */
static void take(struct consumer *c, struct record **out, int count)
{
    struct err e = { "" };
    int n = consumer_poll(c, out, (size_t)count, &e);
    if (n != count)
        fail_msg("%d of %d records: %s", n, count, e.text);
}

TEST(readers_at_one_place_share_one_reading)
{
    struct record *a[64], *b[64];
    local_open();
    local_topic("t", 1, FOREVER, UNBOUNDED);
    local_put_numbers("t", 0, 0, 300);
    struct consumer *one = local_reader("one", "t"), *two = local_reader("two", "t");
    take(one, a, 40);
    take(two, b, 20);
    take(two, b + 20, 20);
    for (int i = 0; i < 40; i++) {
        assert_ptr_equal(a[i], b[i]);
        assert_int_equal(a[i]->offset, i);
    }
    give_back(a, 40);
    assert_true(str_eq(b[39]->value, STR("number-39;")));
    give_back(b, 40);
    local_expect(one, 40, 260);
    assert_true(shelved() > 0);
    local_expect(two, 40, 260);
    assert_int_equal(shelved(), 0); /* all have passed it */
    consumer_close(one);
    consumer_close(two);
}

TEST(who_lags_reads_for_itself_and_joins)
{
    enum { HELD = 32, ALL = HELD + 64 * 46 }; /* local_expect takes 64 at a time */
    struct record *a[HELD], *b[HELD];
    local_open();
    local_topic("t", 1, FOREVER, UNBOUNDED);
    struct consumer *one = local_reader("one", "t"), *two = local_reader("two", "t");
    local_put_numbers("t", 0, 0, ALL);
    local_expect(one, 0, ALL - HELD);
    take(one, a, HELD);
    local_expect(two, 0, ALL - HELD);
    take(two, b, HELD);
    for (int i = 0; i < HELD; i++)
        assert_ptr_equal(a[i], b[i]);
    give_back(a, HELD);
    give_back(b, HELD);
    consumer_close(one);
    consumer_close(two);
}

TEST(who_stands_still_costs_a_bounded_memory)
{
    enum { VALUE = 16 << 10, COUNT = 2000 };
    char *value = mem_alloc(VALUE);
    struct record *out[64];
    local_open();
    local_topic("t", 1, FOREVER, UNBOUNDED);
    struct consumer *one = local_reader("one", "t"), *still = local_reader("still", "t");
    for (int i = 0; i < COUNT; i++)
        assert_true(local_put("t", 0, (struct str){ value, VALUE }, NULL));
    for (int i = 0; i < COUNT; i += 50) {
        take(one, out, 50);
        give_back(out, 50);
        assert_in_range(shelved(), 1, 17 << 20);
    }
    consumer_close(still);
    assert_int_equal(shelved(), 0);
    consumer_close(one);
    free(value);
}

TEST(what_a_group_has_finished_is_left_on_the_shelf)
{
    struct ranges beyond = { 0 };
    local_open();
    local_topic("t", 1, FOREVER, UNBOUNDED);
    local_put_numbers("t", 0, 0, 100);
    struct consumer *one = local_reader("one", "t"), *two = local_reader("two", "t");
    ranges_add(&beyond, 10, 40);
    consumer_commit(one, (struct topic_partition){ "t", 0 }, 5, &beyond);
    ranges_free(&beyond);
    consumer_close(one);
    local_expect(two, 0, 64);
    one = local_reader("one", "t");
    struct record *out[65];
    take(one, out, 65);
    for (int i = 0; i < 65; i++)
        assert_int_equal(out[i]->offset, i < 5 ? 5 + i : 35 + i);
    give_back(out, 65);
    local_expect(two, 64, 36);
    consumer_close(one);
    consumer_close(two);
}

TEST(a_bad_record_stops_each_reader_at_its_place)
{
    struct err e;
    local_open();
    local_topic("t", 1, FOREVER, UNBOUNDED);
    local_put_numbers("t", 0, 0, 100);
    local_close();
    local_flip("aqueduct.db", local_find("aqueduct.db", "number-60;"));
    local_open();
    struct consumer *one = local_reader("one", "t"), *two = local_reader("two", "t");
    assert_int_equal(local_until_error(one, &e), 60);
    assert_int_equal(local_until_error(two, &e), 60);
    assert_non_null(strstr(e.text, "t/0@60: "));
    consumer_close(one);
    consumer_close(two);
}

/* ---- many at once ---- */

enum { READERS = 8, NUMBERS = 4000 };

struct racer {
    pthread_t thread;
    struct consumer *c;
    int wake_fd, seen;
    size_t room;
    bool in_order;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    struct record *out[64];
    struct err e;
    while (r->seen < NUMBERS && r->in_order) {
        wake_clear(r->wake_fd);
        int n = consumer_poll(r->c, out, r->room, &e);
        for (int i = 0; i < n; i++)
            r->in_order = r->in_order && out[i]->offset == r->seen++;
        give_back(out, n);
        if (n < 0)
            r->in_order = false;
        if (n == 0)
            poll(&(struct pollfd){ .fd = r->wake_fd, .events = POLLIN }, 1, 20);
    }
    return NULL;
}

TEST(many_readers_race)
{
    static const char *const groups[READERS] = { "0", "1", "2", "3", "4", "5", "6", "7" };
    struct racer racers[READERS];
    const char *t = "t";
    struct err e = { "" };
    local_open();
    local_topic("t", 1, FOREVER, UNBOUNDED);
    local_put_numbers("t", 0, 0, NUMBERS / 2);
    for (size_t i = 0; i < READERS; i++) {
        racers[i] = (struct racer){ .wake_fd = wake_new(), .room = 1 + i * 9, .in_order = true };
        racers[i].c = consumer_open(local_broker,
                                    &(struct consumer_options){ .group = groups[i],
                                                                .topics = &t,
                                                                .topic_count = 1,
                                                                .from_start = true,
                                                                .wake_fd = racers[i].wake_fd },
                                    &e);
        assert_non_null(racers[i].c);
        assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    }
    local_put_numbers("t", 0, NUMBERS / 2, NUMBERS / 2);
    for (size_t i = 0; i < READERS; i++) {
        pthread_join(racers[i].thread, NULL);
        assert_true(racers[i].in_order);
        assert_int_equal(racers[i].seen, NUMBERS);
        consumer_close(racers[i].c);
        close(racers[i].wake_fd);
    }
    assert_int_equal(shelved(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOCAL_TEST(readers_at_one_place_share_one_reading),
        LOCAL_TEST(who_lags_reads_for_itself_and_joins),
        LOCAL_TEST(who_stands_still_costs_a_bounded_memory),
        LOCAL_TEST(what_a_group_has_finished_is_left_on_the_shelf),
        LOCAL_TEST(a_bad_record_stops_each_reader_at_its_place),
        LOCAL_TEST(many_readers_race),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
