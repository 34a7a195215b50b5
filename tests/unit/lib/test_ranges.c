/* SPDX-License-Identifier: MIT */
/* Sets of numbers as ranges, against a plain model; their bytes, whole, cut short and changed. */
#include "bridge/lib/ranges.h"
#include "bridge/lib/mem.h"
#include "tests/support/test.h"

enum { UNIVERSE = 400 };

/* A fixed sequence that looks random, so that a failure comes again. */
static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static void expect(const struct ranges *r, const bool model[UNIVERSE])
{
    for (int64_t n = 0; n < UNIVERSE; n++)
        assert_int_equal(ranges_skip(r, n) != n, model[n]);
    for (size_t i = 0; i < r->count; i++) {
        assert_true(r->at[i].from < r->at[i].to);
        assert_true(i == 0 || r->at[i - 1].to < r->at[i].from); /* they do not even touch */
    }
}

static void model_add(bool model[UNIVERSE], int64_t from, int64_t to)
{
    for (int64_t n = from; n < to; n++)
        model[n] = true;
}

TEST(against_a_model)
{
    uint32_t seed = 42;
    for (int round = 0; round < 200; round++) {
        bool model[UNIVERSE] = { 0 }, other_model[UNIVERSE] = { 0 }, both[UNIVERSE];
        struct ranges r = { 0 }, other = { 0 };
        for (int i = 0; i < 40; i++) {
            int64_t from = next(&seed) % (UNIVERSE - 20), to = from + next(&seed) % 20;
            bool second = next(&seed) % 3 == 0;
            ranges_add(second ? &other : &r, from, to);
            model_add(second ? other_model : model, from, to);
        }
        expect(&r, model);
        struct ranges all = ranges_union(&r, &other);
        for (int n = 0; n < UNIVERSE; n++)
            both[n] = model[n] || other_model[n];
        expect(&all, both);
        int64_t from = next(&seed) % UNIVERSE, to = from + next(&seed) % 100, within = 0;
        for (int64_t n = from; n < to && n < UNIVERSE; n++)
            within += both[n];
        assert_int_equal(ranges_within(&all, from, to), within);
        ranges_cut(&all, from);
        memset(both, 0, (size_t)from * sizeof *both);
        expect(&all, both);
        ranges_free(&r);
        ranges_free(&other);
        ranges_free(&all);
    }
}

TEST(what_lies_behind_a_number)
{
    struct ranges r = { 0 };
    assert_null(ranges_behind(&r, 0));
    assert_int_equal(ranges_skip(&r, 7), 7);
    ranges_add(&r, 10, 20);
    ranges_add(&r, 30, 31);
    assert_int_equal(ranges_behind(&r, 0)->from, 10);
    assert_int_equal(ranges_behind(&r, 19)->from, 10);
    assert_int_equal(ranges_behind(&r, 20)->from, 30);
    assert_null(ranges_behind(&r, 31));
    assert_int_equal(ranges_skip(&r, 9), 9);
    assert_int_equal(ranges_skip(&r, 10), 20);
    assert_int_equal(ranges_skip(&r, 20), 20);
    ranges_add(&r, 20, 30); /* closes the gap */
    assert_int_equal(r.count, 1);
    assert_int_equal(ranges_skip(&r, 10), 31);
    ranges_add(&r, 5, 5); /* nothing */
    assert_int_equal(r.count, 1);
    ranges_free(&r);
}

/* ---- bytes ---- */

static struct ranges some_ranges(int64_t base, int64_t count)
{
    struct ranges r = { 0 };
    for (int64_t i = 0; i < count; i++)
        ranges_add(&r, base + 1 + i * 1000, base + 1 + i * 1000 + i + 1);
    return r;
}

static void expect_same(const struct ranges *a, const struct ranges *b, size_t count)
{
    assert_int_equal(b->count, count);
    assert_true(count == 0 || memcmp(a->at, b->at, count * sizeof *a->at) == 0);
}

TEST(bytes_give_the_same_set)
{
    static const int64_t bases[] = { 0, 1, 127, 128, 123456789012, INT64_MAX - 2000000 };
    unsigned char out[8192];
    for (size_t i = 0; i < sizeof bases / sizeof *bases; i++)
        for (int64_t count = 0; count < 900; count += 100) {
            size_t needed;
            struct ranges r = some_ranges(bases[i], count), back;
            size_t n = ranges_encode(&r, bases[i], out, sizeof out, &needed);
            assert_int_equal(n, needed);
            assert_true(ranges_decode(&back, bases[i], (struct str){ (char *)out, n }));
            expect_same(&r, &back, (size_t)count);
            ranges_free(&r);
            assert_false(ranges_decode(&r, bases[i] + 1, (struct str){ (char *)out, n }) || r.count);
            ranges_free(&back);
        }
}

TEST(thirty_thousand_behind_one_are_a_few_bytes)
{
    unsigned char out[64];
    size_t needed;
    struct ranges r = { 0 };
    for (int64_t n = 1; n <= 30000; n++)
        ranges_add(&r, n, n + 1);
    assert_int_equal(r.count, 1);
    assert_in_range(ranges_encode(&r, 0, out, sizeof out, &needed), 1, 12);
    ranges_free(&r);
}

/* What does not fit is the farthest: never a number that is not in the set. */
TEST(little_room_keeps_the_nearest)
{
    unsigned char out[4096];
    size_t needed, before = 0;
    struct ranges r = some_ranges(50, 500), back;
    for (size_t room = 0; room < sizeof out; room++) {
        size_t n = ranges_encode(&r, 50, out, room, &needed);
        assert_true(n <= room && (n == needed) == (needed <= room));
        if (n == 0) {
            assert_in_range(room, 0, 5);
            continue;
        }
        assert_true(ranges_decode(&back, 50, (struct str){ (char *)out, n }));
        expect_same(&r, &back, back.count);
        assert_true(back.count >= before);
        before = back.count;
        ranges_free(&back);
    }
    assert_int_equal(before, 500);
    ranges_free(&r);
}

TEST(changed_bytes_are_refused)
{
    unsigned char out[512];
    size_t needed;
    struct ranges r = some_ranges(1000, 40), back;
    size_t n = ranges_encode(&r, 1000, out, sizeof out, &needed);
    for (size_t i = 0; i < n * 8; i++) {
        out[i / 8] ^= (unsigned char)(1 << i % 8);
        assert_false(ranges_decode(&back, 1000, (struct str){ (char *)out, n }) || back.count);
        out[i / 8] ^= (unsigned char)(1 << i % 8);
    }
    for (size_t i = 0; i < n; i++)
        assert_false(ranges_decode(&back, 1000, (struct str){ (char *)out, i }) || back.count);
    ranges_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_a_model),
        cmocka_unit_test(what_lies_behind_a_number),
        cmocka_unit_test(bytes_give_the_same_set),
        cmocka_unit_test(thirty_thousand_behind_one_are_a_few_bytes),
        cmocka_unit_test(little_room_keeps_the_nearest),
        cmocka_unit_test(changed_bytes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
