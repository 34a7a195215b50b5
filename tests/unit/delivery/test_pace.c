/* SPDX-License-Identifier: MIT */
/* When events come again whose sink had no room. */
#include "bridge/delivery/pace.h"
#include "bridge/lib/clock.h"
#include "tests/support/test.h"

enum { START = 1000000 };

static int64_t now;

static void pass(int64_t ms)
{
    now += ms;
    clock_fake(now, now);
}

/* A sink that finishes one event in a second, while a thousand want to go to it; the last one's slot. */
static int64_t crowd(struct pace *p)
{
    now = START;
    clock_fake(now, now);
    pace_slot(p, now);
    pace_finished(p);
    pass(1000);
    int64_t slot = 0;
    for (int i = 0; i < 1000; i++)
        slot = pace_slot(p, now);
    return slot;
}

TEST(slots_are_spread_as_the_sink_finishes)
{
    struct pace p = { 0 };
    int64_t last = crowd(&p) - now;
    assert_true(last > 90000 && last < 110000);
}

TEST(a_sink_that_got_faster_is_not_kept_waiting)
{
    struct pace p = { 0 };
    crowd(&p);
    for (int i = 0; i < 1000; i++)
        pace_finished(&p);
    pass(1000);
    assert_true(pace_slot(&p, now) - now < 1000);
}

TEST(what_was_long_ago_keeps_nobody_waiting)
{
    struct pace p = { 0 };
    crowd(&p);
    pass(30000);
    assert_true(pace_slot(&p, now) - now < 1000);
}

TEST(a_sink_that_got_slower_is_left_alone)
{
    struct pace p = { 0 };
    now = START;
    clock_fake(now, now);
    int64_t slot = 0;
    for (int i = 0; i < 500; i++)
        slot = pace_slot(&p, now); /* half a second's, as it is not known yet */
    pass(1000);
    for (int i = 0; i < 10; i++)
        slot = pace_slot(&p, now);
    assert_true(slot - now >= 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_are_spread_as_the_sink_finishes),
        cmocka_unit_test(a_sink_that_got_faster_is_not_kept_waiting),
        cmocka_unit_test(what_was_long_ago_keeps_nobody_waiting),
        cmocka_unit_test(a_sink_that_got_slower_is_left_alone),
    };
    return cmocka_run_group_tests_name("pace", tests, NULL, NULL);
}
