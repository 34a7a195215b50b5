/* SPDX-License-Identifier: MIT */
/* A rate: never more than it says, nothing lost below it, and bounded bursts. */
#include "bridge/delivery/rate.h"
#include "bridge/lib/clock.h"
#include "tests/support/test.h"

static struct rate r;

static int setup(void **state)
{
    (void)state;
    clock_fake(5000000, 1700000000000);
    r = (struct rate){ 0 };
    return 0;
}

/* How many go within so many milliseconds, when as many as possible do. */
static int go(int ms)
{
    int n = 0;
    for (int i = 0; i < ms; i++) {
        for (; rate_due(&r) <= clock_mono_ms(); n++)
            rate_take(&r);
        clock_fake_advance(1);
    }
    return n;
}

TEST(without_a_limit_all_go_at_once)
{
    rate_set(&r, 0);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(rate_due(&r), 0);
        rate_take(&r);
    }
}

TEST(as_many_as_it_says_and_a_tenth_of_a_second_at_once)
{
    static const double rates[] = { 1, 2, 10, 100, 1000, 5000, 40 };
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        r = (struct rate){ 0 };
        rate_set(&r, rates[i]);
        int burst = go(1), first = (int)(rates[i] / 10);
        assert_in_range(burst, 1, first > 1 ? first + 1 : 1);
        int rest = go(9999);
        assert_in_range(burst + rest, (int)(rates[i] * 9.9), (int)(rates[i] * 10.1) + 1);
    }
}

TEST(what_was_not_used_is_not_saved)
{
    rate_set(&r, 100);
    clock_fake_advance(3600000);
    assert_int_equal(go(1), 10);
}

TEST(less_than_one_in_a_second)
{
    rate_set(&r, 0.5);
    assert_int_equal(go(1), 1);
    assert_int_equal(rate_due(&r), clock_mono_ms() + 1999);
    rate_set(&r, 1e-300);
    rate_take(&r);
    clock_fake_advance(2 * 86400000);
    assert_int_equal(go(1), 1);
}

TEST(slots_come_as_fast_as_it_says_behind_what_is_there)
{
    rate_set(&r, 10);
    assert_int_equal(rate_slot(&r, 64), 6500);
    assert_int_equal(rate_slot(&r, 64), 6600);
    assert_int_equal(rate_slot(&r, 3), 6700);
    clock_fake_advance(60000);
    assert_int_equal(rate_slot(&r, 3), 400);
}

TEST(slots_are_given_away_for_half_a_minute)
{
    rate_set(&r, 2);
    for (int i = 1; i <= 60; i++)
        assert_int_equal(rate_slot(&r, 0), i * 500);
    for (int i = 1; i <= 1000; i++)
        assert_int_equal(rate_slot(&r, 0), 30000);
    clock_fake_advance(30000);
    for (int i = 1; i <= 60; i++)
        assert_int_equal(rate_slot(&r, 0), i * 500);
    assert_int_equal(rate_slot(&r, 0), 30000);
    rate_set(&r, 1e-300);
    assert_int_equal(rate_slot(&r, 64), 30000);
}

/* However many they are, 200 in a second ask again, or five times the rate: enough until the next step's do. */
TEST(many_ask_again_later)
{
    static const struct {
        double rate;
        int looks[3];
    } of[] = { { 1, { 6000, 24000, 120000 } }, { 100, { 15000, 60000, 300000 } } };
    static const int64_t after[] = { 30000, 120000, 600000 };
    for (size_t k = 0; k < sizeof of / sizeof *of; k++) {
        rate_set(&r, of[k].rate);
        for (int i = 0; i < (int)(30 * of[k].rate); i++)
            assert_true(rate_slot(&r, 0) <= 30000);
        for (size_t step = 0; step < 3; step++)
            for (int i = 0; i < of[k].looks[step]; i++)
                assert_int_equal(rate_slot(&r, 0), after[step]);
        assert_int_equal(rate_slot(&r, 0), 3600000);
        assert_int_equal(rate_slot(&r, 0), 3600000);
    }
}

TEST(another_rate_keeps_what_was_used)
{
    rate_set(&r, 1);
    rate_take(&r);
    rate_set(&r, 100);
    assert_int_equal(go(1), 9);
    assert_int_equal(go(1), 0);
    clock_fake_advance(1000);
    assert_int_equal(go(1), 10);
    rate_set(&r, 1);
    assert_int_equal(go(99), 0);
    assert_int_equal(go(1), 1);
}

TEST(a_raised_rate_forgets_the_slots_of_the_old_one)
{
    rate_set(&r, 0.00002);
    rate_take(&r);
    assert_int_equal(rate_slot(&r, 3), 30000);
    rate_set(&r, 1000);
    assert_int_equal(rate_slot(&r, 3), 5);
    clock_fake_advance(1);
    assert_true(rate_due(&r) <= clock_mono_ms());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(without_a_limit_all_go_at_once, setup),
        cmocka_unit_test_setup(as_many_as_it_says_and_a_tenth_of_a_second_at_once, setup),
        cmocka_unit_test_setup(what_was_not_used_is_not_saved, setup),
        cmocka_unit_test_setup(less_than_one_in_a_second, setup),
        cmocka_unit_test_setup(slots_come_as_fast_as_it_says_behind_what_is_there, setup),
        cmocka_unit_test_setup(slots_are_given_away_for_half_a_minute, setup),
        cmocka_unit_test_setup(many_ask_again_later, setup),
        cmocka_unit_test_setup(a_raised_rate_forgets_the_slots_of_the_old_one, setup),
        cmocka_unit_test_setup(another_rate_keeps_what_was_used, setup),
    };
    return cmocka_run_group_tests_name("rate", tests, NULL, NULL);
}
