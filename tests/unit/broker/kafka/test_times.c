/* SPDX-License-Identifier: MIT */
/* Where what was stored at a time begins, found by looks at records. */
#include "bridge/broker/kafka/private.h"
#include "tests/support/test.h"

enum { MOST = 300 };

struct log_of_times { /* stored[i]: of the record at offset i; 0: compaction or a transaction left a gap */
    int64_t stored[MOST], high;
    unsigned looks;
    bool away;
};

static bool look(void *ctx, int64_t offset, int64_t *found, int64_t *stored_ms)
{
    struct log_of_times *l = ctx;
    l->looks++;
    while (offset < MOST && l->stored[offset] == 0)
        offset++;
    *found = offset < MOST ? offset : INT64_MAX;
    *stored_ms = offset < MOST ? l->stored[offset] : 0;
    return !l->away;
}

TEST(every_time_is_found)
{
    for (int step = 1; step < 12; step++) {
        struct log_of_times l = { .away = false };
        for (int i = 0; i < MOST; i++)
            l.stored[i] = i % step == step / 2 && step > 1 ? 0 : 1000 + i / step * 10;
        for (int64_t high = 7; high <= MOST; high += 29)
            for (int64_t ms = 990; ms < 1000 + MOST * 10; ms += 5) {
                int64_t want = 5, got = -1;
                while (want < high && (l.stored[want] == 0 || l.stored[want] < ms))
                    want++;
                l.looks = 0;
                assert_true(kafka_time_search(5, high, ms, look, &l, &got));
                int64_t first = got; /* a gap before it is as good */
                while (first < high && l.stored[first] == 0)
                    first++;
                assert_int_equal(first, want);
                assert_true(got >= 5 && l.looks <= 20);
            }
    }
}

/* Mostly what the cluster said is right, for records have the time at which they were stored. */
TEST(one_look_is_enough_where_nothing_is_hidden)
{
    struct log_of_times l = { .away = false };
    int64_t got;
    for (int i = 0; i < MOST; i++)
        l.stored[i] = i + 1;
    assert_true(kafka_time_search(0, 200, 201, look, &l, &got));
    assert_int_equal(got, 200);
    assert_int_equal(l.looks, 1);
    assert_true(kafka_time_search(9, 9, 1, look, &l, &got));
    assert_int_equal(got, 9);
    l.away = true;
    assert_false(kafka_time_search(0, 200, 201, look, &l, &got));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_time_is_found),
        cmocka_unit_test(one_look_is_enough_where_nothing_is_hidden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
