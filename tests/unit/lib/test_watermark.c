/* SPDX-License-Identifier: MIT */
/* Positions with what is finished beyond them, and deadlines, each against a plain model. */
#include "bridge/lib/timers.h"
#include "bridge/lib/watermark.h"
#include "tests/support/test.h"

/* What is finished beyond the position is these pairs, from and to. */
static void expect_beyond(const struct watermark *w, size_t count, const int64_t (*pairs)[2])
{
    struct ranges r = watermark_beyond(w);
    assert_int_equal(r.count, count);
    for (size_t i = 0; i < count; i++)
        assert_true(r.at[i].from == pairs[i][0] && r.at[i].to == pairs[i][1]);
    ranges_free(&r);
}

TEST(in_order)
{
    struct watermark w = { 0 };
    assert_true(watermark_position(&w) == -1);
    watermark_begin(&w, 0);
    assert_true(watermark_position(&w) == -1 && w.open == 1);
    watermark_finish(&w, 0);
    assert_true(watermark_position(&w) == 1 && w.open == 0);
    expect_beyond(&w, 0, NULL);
    watermark_free(&w);
    assert_true(watermark_position(&w) == -1);
    watermark_begin(&w, 100);
    watermark_finish(&w, 100);
    assert_true(watermark_position(&w) == 101);
    watermark_free(&w);
}

TEST(out_of_order_with_gaps)
{
    struct watermark w = { 0 };
    static const int64_t offsets[] = { 5, 6, 9, 20, 21 };
    for (size_t i = 0; i < 5; i++)
        watermark_begin(&w, offsets[i]);
    assert_true(watermark_position(&w) == -1);
    watermark_finish(&w, 20);
    assert_true(watermark_position(&w) == 5);
    expect_beyond(&w, 2, (const int64_t[][2]){ { 7, 9 }, { 10, 21 } }); /* what was never begun is not there */
    watermark_finish(&w, 6);
    assert_true(watermark_position(&w) == 5 && w.open == 3);
    expect_beyond(&w, 2, (const int64_t[][2]){ { 6, 9 }, { 10, 21 } });
    watermark_finish(&w, 5);
    assert_true(watermark_position(&w) == 9 && w.open == 2);
    expect_beyond(&w, 1, (const int64_t[][2]){ { 10, 21 } });
    watermark_finish(&w, 9);
    assert_true(watermark_position(&w) == 21 && w.open == 1);
    expect_beyond(&w, 0, NULL);
    watermark_finish(&w, 21);
    assert_true(watermark_position(&w) == 22 && w.open == 0);
    watermark_free(&w);
}

TEST(memory_behind_a_waiter_is_bounded)
{
    struct watermark w = { 0 };
    watermark_begin(&w, 7);
    for (int64_t n = 8; n < 1000008; n++) {
        watermark_begin(&w, n);
        if (n % 1000 != 0)
            watermark_finish(&w, n);
        if (n % 1000 == 1 && n > 2000)
            watermark_finish(&w, n - 1001);
    }
    assert_true(watermark_position(&w) == 7);
    assert_in_range(w.cap, 1, 64);
    struct ranges r = watermark_beyond(&w);
    assert_in_range(r.count, 1, w.open);
    assert_int_equal(ranges_within(&r, 0, INT64_MAX), 1000000 - (int64_t)(w.open - 1));
    ranges_free(&r);
    watermark_free(&w);
}

/* A fixed sequence that looks random, so that a failure comes again. */
static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* Open are `low` and what is not finished behind it, up to `begun`. */
static void expect_model(const struct watermark *w, const int64_t *offsets, const bool *finished, size_t low,
                         size_t begun)
{
    size_t open = 0, any = low;
    struct ranges r = watermark_beyond(w);
    for (size_t i = low; i < begun; i++) {
        open += !finished[i];
        any += finished[i];
        assert_int_equal(ranges_skip(&r, offsets[i]) != offsets[i], finished[i]);
    }
    int64_t position = low < begun ? offsets[low] : begun ? offsets[begun - 1] + 1 : 0;
    assert_true(watermark_position(w) == (any ? position : -1));
    assert_int_equal(w->open, open);
    ranges_free(&r);
}

TEST(against_a_model)
{
    enum { COUNT = 5000 };
    static int64_t offsets[COUNT];
    static bool finished[COUNT];
    struct watermark w = { 0 };
    uint32_t seed = 42;
    size_t begun = 0, low = 0, most = 0;
    int64_t offset = 0;
    while (low < COUNT) {
        if (begun < COUNT && next(&seed) % 3 != 0) {
            offset += 1 + (next(&seed) % 10 == 0 ? next(&seed) % 100 : 0);
            offsets[begun++] = offset;
            watermark_begin(&w, offset);
        } else if (begun > low) {
            size_t i = low + next(&seed) % (begun - low < 200 ? begun - low : 200);
            if (finished[i])
                continue;
            finished[i] = true;
            watermark_finish(&w, offsets[i]);
        }
        while (low < begun && finished[low])
            low++;
        expect_model(&w, offsets, finished, low, begun);
        most = w.open > most ? w.open : most;
        assert_in_range(w.cap, 0, 4 * most + 64);
    }
    watermark_free(&w);
}

TEST(deadlines)
{
    struct timers t = { 0 };
    uint64_t tag;
    assert_true(timers_next(&t) == INT64_MAX);
    assert_false(timers_pop(&t, INT64_MAX, &tag));
    timers_add(&t, 30, 3);
    timers_add(&t, 10, 1);
    timers_add(&t, 20, 2);
    assert_true(timers_next(&t) == 10);
    assert_false(timers_pop(&t, 9, &tag));
    assert_true(timers_pop(&t, 10, &tag) && tag == 1);
    assert_true(timers_pop(&t, 25, &tag) && tag == 2);
    assert_false(timers_pop(&t, 25, &tag));
    timers_add(&t, -5, 4);
    assert_true(timers_pop(&t, 25, &tag) && tag == 4);
    timers_free(&t);
    assert_true(timers_next(&t) == INT64_MAX);
}

TEST(many_deadlines)
{
    enum { COUNT = 3000 };
    struct timers t = { 0 };
    uint32_t seed = 7;
    uint64_t tag = 0, sum = 0;
    int64_t last = -1;
    for (uint64_t i = 0; i < COUNT; i++)
        timers_add(&t, next(&seed) % 1000, i);
    for (size_t i = 0; i < COUNT; i++) {
        int64_t due = timers_next(&t);
        assert_true(due >= last);
        assert_false(timers_pop(&t, due - 1, &tag));
        assert_true(timers_pop(&t, due, &tag));
        last = due;
        sum += tag;
    }
    assert_true(sum == (uint64_t)COUNT * (COUNT - 1) / 2);
    assert_int_equal(t.count, 0);
    timers_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(in_order),
                                        cmocka_unit_test(out_of_order_with_gaps),
                                        cmocka_unit_test(memory_behind_a_waiter_is_bounded),
                                        cmocka_unit_test(against_a_model),
                                        cmocka_unit_test(deadlines),
                                        cmocka_unit_test(many_deadlines) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
