/* SPDX-License-Identifier: MIT */
/* The contiguous prefix and the deadlines, each against a plain model. */
#include "bridge/lib/timers.h"
#include "bridge/lib/watermark.h"
#include "tests/support/test.h"

TEST(in_order)
{
    struct watermark w = { 0 };
    assert_true(watermark_position(&w) == -1);
    watermark_begin(&w, 0);
    assert_true(watermark_position(&w) == -1 && w.count == 1);
    watermark_finish(&w, 0);
    assert_true(watermark_position(&w) == 1 && w.count == 0);
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
    watermark_finish(&w, 20);
    watermark_finish(&w, 6);
    assert_true(watermark_position(&w) == -1 && w.count == 5);
    watermark_finish(&w, 5);
    assert_true(watermark_position(&w) == 7 && w.count == 3);
    watermark_finish(&w, 9);
    assert_true(watermark_position(&w) == 21 && w.count == 1);
    watermark_finish(&w, 21);
    assert_true(watermark_position(&w) == 22 && w.count == 0);
    watermark_free(&w);
}

/* A fixed sequence that looks random, so that a failure comes again. */
static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

TEST(against_a_model)
{
    enum { COUNT = 5000 };
    static int64_t offsets[COUNT];
    static bool finished[COUNT];
    struct watermark w = { 0 };
    uint32_t seed = 42;
    size_t begun = 0, low = 0;
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
        assert_true(watermark_position(&w) == (low > 0 ? offsets[low - 1] + 1 : -1));
        assert_int_equal(w.count, begun - low);
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
    const struct CMUnitTest tests[] = { cmocka_unit_test(in_order), cmocka_unit_test(out_of_order_with_gaps),
                                        cmocka_unit_test(against_a_model), cmocka_unit_test(deadlines),
                                        cmocka_unit_test(many_deadlines) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
