/* SPDX-License-Identifier: MIT */
/* The circuit: when it opens, what gets through meanwhile, and when it closes. */
#include "bridge/delivery/circuit.h"
#include "tests/support/test.h"

static struct circuit_config config;
static struct circuit c;
static const struct duration none = { 0 };

static int setup(void **state)
{
    (void)state;
    clock_fake(5000000, 1700000000000);
    config = (struct circuit_config){ .failures = 3, .probe = { 1000 } };
    c = (struct circuit){ .config = &config };
    return 0;
}

/* An attempt of the usual kind. */
static enum circuit_change attempt(bool failed)
{
    bool probe = circuit_sent(&c);
    return circuit_heard(&c, probe, failed, none);
}

TEST(so_many_failures_in_a_row_open_it)
{
    for (int i = 0; i < 100; i++)
        assert_int_equal(attempt(i % 3 != 2), CIRCUIT_SAME);
    assert_int_equal(attempt(true), CIRCUIT_SAME);
    assert_int_equal(circuit_due(&c), 0);
    assert_int_equal(attempt(true), CIRCUIT_OPENED);
    assert_true(c.open);
    assert_int_equal(c.since_ms, 1700000000000);
    assert_int_equal(circuit_due(&c), clock_mono_ms() + 1000);
}

static void open_it(void)
{
    for (int i = 0; i < 3; i++)
        attempt(true);
    assert_true(c.open);
}

TEST(a_probe_at_a_time)
{
    open_it();
    clock_fake_advance(1000);
    assert_true(circuit_due(&c) <= clock_mono_ms());
    assert_true(circuit_sent(&c));
    assert_int_equal(circuit_due(&c), INT64_MAX);
    clock_fake_advance(5000);
    assert_int_equal(circuit_heard(&c, true, true, none), CIRCUIT_SAME);
    assert_int_equal(circuit_due(&c), clock_mono_ms() + 1000);
    clock_fake_advance(1000);
    assert_true(circuit_sent(&c));
    assert_int_equal(circuit_heard(&c, true, false, none), CIRCUIT_CLOSED);
    assert_int_equal(circuit_due(&c), 0);
    assert_false(circuit_sent(&c));
    assert_int_equal(circuit_heard(&c, false, true, none), CIRCUIT_SAME); /* counted anew */
}

TEST(what_was_in_flight_neither_closes_nor_delays_it)
{
    open_it();
    int64_t due = circuit_due(&c);
    clock_fake_advance(10);
    assert_int_equal(circuit_heard(&c, false, false, none), CIRCUIT_SAME);
    assert_int_equal(circuit_heard(&c, false, true, none), CIRCUIT_SAME);
    assert_int_equal(circuit_due(&c), due);
}

TEST(the_receivers_patience_is_respected)
{
    const struct duration minutes = { 300000 };
    attempt(true);
    attempt(true);
    assert_int_equal(circuit_heard(&c, circuit_sent(&c), true, minutes), CIRCUIT_OPENED);
    assert_int_equal(circuit_due(&c), clock_mono_ms() + 300000);
}

/* One answer keeps it open for ten minutes at most, or as long as the probes are apart. */
TEST(patience_has_an_end)
{
    const struct duration day = { 86400000 };
    open_it();
    clock_fake_advance(1000);
    assert_int_equal(circuit_heard(&c, circuit_sent(&c), true, day), CIRCUIT_SAME);
    assert_int_equal(circuit_due(&c), clock_mono_ms() + 600000);
    clock_fake_advance(600000);
    config.probe.ms = 3600000;
    assert_int_equal(circuit_heard(&c, circuit_sent(&c), true, day), CIRCUIT_SAME);
    assert_int_equal(circuit_due(&c), clock_mono_ms() + 3600000);
}

TEST(a_probe_that_was_not_sent_says_nothing)
{
    open_it();
    clock_fake_advance(1000);
    circuit_unsent(&c, circuit_sent(&c));
    assert_true(c.open);
    assert_int_equal(circuit_due(&c), clock_mono_ms() + 1000);
    circuit_unsent(&c, false);
    assert_int_equal(circuit_due(&c), clock_mono_ms() + 1000);
}

TEST(a_share_of_the_last_attempts_opens_it)
{
    config = (struct circuit_config){ .share = 50, .probe = { 1000 } };
    for (int i = 0; i < 63; i++)
        assert_int_equal(attempt(true), CIRCUIT_SAME); /* too few to say */
    assert_int_equal(attempt(false), CIRCUIT_SAME);
    assert_int_equal(attempt(false), CIRCUIT_SAME);
    for (int i = 0; i < 64; i++)
        assert_int_equal(attempt(false), CIRCUIT_SAME);
    for (int i = 0; i < 62; i++)
        assert_int_equal(attempt(i % 2 == 0), CIRCUIT_SAME); /* 31 of 64 */
    assert_int_equal(attempt(false), CIRCUIT_SAME);
    assert_int_equal(attempt(true), CIRCUIT_OPENED);
}

TEST(without_a_measure_it_never_opens)
{
    config = (struct circuit_config){ .probe = { 1000 } };
    assert_false(circuit_is_used(&c));
    for (int i = 0; i < 1000; i++)
        assert_int_equal(attempt(true), CIRCUIT_SAME);
    c.config = NULL;
    assert_int_equal(attempt(true), CIRCUIT_SAME);
    assert_int_equal(circuit_due(&c), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(so_many_failures_in_a_row_open_it, setup),
        cmocka_unit_test_setup(a_probe_at_a_time, setup),
        cmocka_unit_test_setup(what_was_in_flight_neither_closes_nor_delays_it, setup),
        cmocka_unit_test_setup(the_receivers_patience_is_respected, setup),
        cmocka_unit_test_setup(patience_has_an_end, setup),
        cmocka_unit_test_setup(a_probe_that_was_not_sent_says_nothing, setup),
        cmocka_unit_test_setup(a_share_of_the_last_attempts_opens_it, setup),
        cmocka_unit_test_setup(without_a_measure_it_never_opens, setup),
    };
    return cmocka_run_group_tests_name("circuit", tests, NULL, NULL);
}
