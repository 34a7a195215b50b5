/* SPDX-License-Identifier: MIT */
/* How many file descriptors there are, who may have them, and what is said when they are out. */
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/descriptors.h"
#include "tests/support/metric.h"
#include "tests/support/stderr.h"
#include "tests/support/test.h"

static struct rlimit before;

static void soft_limit(rlim_t n)
{
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ n, before.rlim_max }), 0);
}

static int teardown(void **state)
{
    (void)state;
    clock_real();
    return setrlimit(RLIMIT_NOFILE, &before);
}

TEST(the_soft_limit_is_raised_to_the_hard_one)
{
    soft_limit(256);
    assert_int_equal(descriptors_limit(), 256);
    descriptors_raise();
    struct rlimit now;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &now), 0);
    rlim_t most = before.rlim_max < DESCRIPTORS_MAX ? before.rlim_max : DESCRIPTORS_MAX;
    assert_int_equal(now.rlim_cur, most);
    assert_int_equal(now.rlim_max, before.rlim_max);
    assert_int_equal(descriptors_limit(), most);
    assert_int_equal(metric_value(metric_named("aqueduct_descriptors_limit", NULL)), most);
}

TEST(listeners_share_what_the_reserve_leaves)
{
    soft_limit(1024);
    assert_int_equal(descriptors_share(), 1024 - 64);
    descriptors_reserve(160);
    assert_int_equal(descriptors_share(), 800);
    descriptors_listen(2);
    assert_int_equal(descriptors_share(), 400);
    descriptors_listen(-1);
    assert_int_equal(descriptors_share(), 800);
    descriptors_reserve(100000); /* more than there are: a quarter is left to listeners */
    assert_int_equal(descriptors_share(), 256);
    descriptors_reserve(-100160);
    descriptors_listen(-1);
    assert_int_equal(descriptors_share(), 1024 - 64);
    soft_limit(3);
    descriptors_listen(8);
    assert_int_equal(descriptors_share(), 1);
    descriptors_listen(-8);
}

TEST(what_is_open_is_counted)
{
    struct metric *open_now = metric_named("aqueduct_descriptors_open", NULL);
    descriptors_measure();
    int64_t n = metric_value(open_now);
    int more[3] = { dup(0), dup(0), dup(0) };
    descriptors_measure();
    assert_int_equal(metric_value(open_now), n + 3);
    for (int i = 0; i < 3; i++)
        close(more[i]);
}

TEST(being_out_is_told_until_it_is_over)
{
    struct err why = { "" };
    clock_fake(1000, 1795168800123);
    assert_true(descriptors_ready(&why));
    int next = dup(0);
    close(next);
    soft_limit((rlim_t)next);
    assert_false(descriptors_ready(&why));
    assert_says(why.text, "out of file descriptors");
    assert_says(why.text, "raise the limit");
    soft_limit(before.rlim_cur);
    clock_fake_advance(4999);
    assert_false(descriptors_ready(&why));
    clock_fake_advance(1);
    assert_true(descriptors_ready(&why));
    assert_true(descriptors_out(ENFILE));
    assert_false(descriptors_ready(&why));
    assert_says(why.text, "fs.file-max");
}

TEST(only_what_means_descriptors_counts)
{
    struct metric *count = metric_named("aqueduct_descriptors_out_total", NULL);
    int64_t was = metric_value(count);
    assert_false(descriptors_out(0));
    assert_false(descriptors_out(ENOMEM));
    assert_false(descriptors_out(ECONNREFUSED));
    assert_int_equal(metric_value(count), was);
    assert_true(descriptors_out(EMFILE));
    assert_int_equal(metric_value(count), was + 1);
}

TEST(a_warning_a_minute_is_enough)
{
    clock_fake(clock_mono_ms() + 3600000, 1795168800123); /* long after what other tests warned of by the real clock */
    stderr_catch();
    for (int i = 0; i < 100; i++)
        descriptors_out(EMFILE);
    clock_fake_advance(59999);
    descriptors_out(EMFILE);
    const char *first = strstr(stderr_caught(), "no file descriptor to be had");
    assert_non_null(first);
    assert_null(strstr(first + 1, "no file descriptor to be had"));
    clock_fake_advance(1);
    stderr_catch();
    descriptors_out(EMFILE);
    assert_says(stderr_caught(), "level=warn");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(the_soft_limit_is_raised_to_the_hard_one, teardown),
        cmocka_unit_test_teardown(listeners_share_what_the_reserve_leaves, teardown),
        cmocka_unit_test_teardown(what_is_open_is_counted, teardown),
        cmocka_unit_test_teardown(being_out_is_told_until_it_is_over, teardown),
        cmocka_unit_test_teardown(only_what_means_descriptors_counts, teardown),
        cmocka_unit_test_teardown(a_warning_a_minute_is_enough, teardown),
    };
    getrlimit(RLIMIT_NOFILE, &before);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
