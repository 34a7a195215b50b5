/* SPDX-License-Identifier: MIT */
/* Metrics and their page. */
#include <pthread.h>
#include "bridge/lib/metrics.h"
#include "tests/support/test.h"

static const char *page(struct buf *out)
{
    metrics_write(out);
    return buf_c(out);
}

TEST(the_same_again)
{
    struct metric *a = metric_counter("same_total", "h", LABELS("sink", "crm", "reason", "timeout"));
    assert_ptr_equal(a, metric_counter("same_total", "h", LABELS("sink", "crm", "reason", "timeout")));
    assert_ptr_not_equal(a, metric_counter("same_total", "h", LABELS("sink", "crm", "reason", "status")));
    assert_ptr_not_equal(a, metric_counter("same_total", "h", LABELS("sink", "crm")));
    assert_ptr_not_equal(a, metric_counter("same_total", "h", NULL));
    metric_add(a, 2);
    metric_add(a, 3);
    assert_true(metric_value(a) == 5);
    struct metric *g = metric_gauge("same_gauge", "h", NULL);
    metric_set(g, 9);
    metric_add(g, -10);
    assert_true(metric_value(g) == -1);
}

TEST(the_page)
{
    metric_add(metric_counter("b_total", "Things that happened.", LABELS("sink", "a\"b\\c\nd")), 1);
    metric_add(metric_counter("b_total", "Things that happened.", NULL), 7);
    metric_set(metric_gauge("a_open", "Things that are open.", LABELS("x", "y")), -2);
    struct buf out = buf_new(1 << 20);
    const char *text = page(&out);
    const char *gauge = strstr(text, "# HELP a_open Things that are open.\n# TYPE a_open gauge\na_open{x=\"y\"} -2\n");
    const char *counter = strstr(
        text,
        "# HELP b_total Things that happened.\n# TYPE b_total counter\nb_total 7\nb_total{sink=\"a\\\"b\\\\c\\nd\"} 1\n");
    assert_non_null(gauge);
    assert_non_null(counter);
    assert_true(gauge < counter); /* sorted */
    buf_free(&out);
}

TEST(a_histogram)
{
    static const int64_t seen_us[] = { -5, 0, 100, 101, 250, 1000000, 100000000, 100000001 };
    struct metric *h = metric_histogram("h_seconds", "h", LABELS("sink", "crm"));
    for (size_t i = 0; i < sizeof seen_us / sizeof *seen_us; i++)
        metric_observe_us(h, seen_us[i]);
    struct buf out = buf_new(1 << 20);
    const char *text = page(&out);
    static const char *const lines[] = {
        "# TYPE h_seconds histogram\nh_seconds_bucket{sink=\"crm\",le=\"0.0001\"} 3\nh_seconds_bucket{sink=\"crm\",le=\"0.00025\"} 5\n",
        "\nh_seconds_bucket{sink=\"crm\",le=\"0.5\"} 5\nh_seconds_bucket{sink=\"crm\",le=\"1\"} 6\nh_seconds_bucket{sink=\"crm\",le=\"2.5\"} 6\n",
        "\nh_seconds_bucket{sink=\"crm\",le=\"100\"} 7\nh_seconds_bucket{sink=\"crm\",le=\"+Inf\"} 8\nh_seconds_sum{sink=\"crm\"} 201.000452\nh_seconds_count{sink=\"crm\"} 8\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (!strstr(text, lines[i]))
            fail_msg("%s is not in %s", lines[i], text);
    buf_reset(&out);
    metric_histogram("plain_seconds", "h", NULL);
    text = page(&out);
    assert_non_null(strstr(text, "plain_seconds_bucket{le=\"0.0001\"} 0\n"));
    assert_non_null(strstr(text, "plain_seconds_sum 0\nplain_seconds_count 0\n"));
    buf_free(&out);
}

static void *add_many(void *arg)
{
    for (int i = 0; i < 10000; i++) {
        metric_add(arg, 1);
        metric_observe_us(metric_histogram("threads_seconds", "h", NULL), i);
    }
    return NULL;
}

TEST(many_threads)
{
    pthread_t threads[4];
    struct metric *m = metric_counter("threads_total", "h", NULL);
    struct buf out = buf_new(1 << 20);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, m), 0);
    metrics_write(&out);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_true(metric_value(m) == 40000);
    buf_reset(&out);
    assert_non_null(strstr(page(&out), "threads_seconds_count 40000\n"));
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(the_same_again), cmocka_unit_test(the_page),
                                        cmocka_unit_test(a_histogram), cmocka_unit_test(many_threads) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
