/* SPDX-License-Identifier: MIT */
/* Metrics and their page. */
#include <pthread.h>
#include "bridge/lib/metrics.h"
#include "tests/support/test.h"

METRIC_COUNTER(same_total, "h", "sink", "reason");
METRIC_GAUGE(same_gauge, "h", NULL);
METRIC_COUNTER(b_total, "Things that happened.", "sink");
METRIC_GAUGE(a_open, "Things that are open.", "x");
METRIC_HISTOGRAM(h_seconds, "h", "sink");
METRIC_HISTOGRAM(plain_seconds, "h", NULL);
METRIC_COUNTER(ends_total, "h", "sink", "endpoint");
METRIC_COUNTER(threads_total, "h", NULL);
METRIC_HISTOGRAM(threads_seconds, "h", NULL);

static const char *page(struct buf *out)
{
    metrics_write(out);
    return buf_c(out);
}

TEST(the_same_again)
{
    struct metric *a = metric_get(&same_total, LABELS("crm", "timeout"));
    assert_ptr_equal(a, metric_get(&same_total, LABELS("crm", "timeout")));
    assert_ptr_not_equal(a, metric_get(&same_total, LABELS("crm", "status")));
    assert_ptr_not_equal(a, metric_get(&same_total, LABELS("hr", "timeout")));
    assert_ptr_not_equal(a, metric_get(&same_total, LABELS("crm", "")));
    metric_add(a, 2);
    metric_add(a, 3);
    assert_true(metric_value(a) == 5);
    assert_ptr_equal(metric_get(&same_total, LABELS("crm")), metric_get(&same_total, LABELS("crm", NULL)));
    struct metric *g = metric_get(&same_gauge, NULL);
    metric_set(g, 9);
    metric_add(g, -10);
    assert_true(metric_value(g) == -1);
}

/* In any order of making, the page is sorted, and a label without a value is left out. */
TEST(labels_may_be_left_out)
{
    static const char *const ends[] = { "m", "z", "a", "n", "b" };
    for (size_t i = 0; i < 5; i++)
        metric_add(metric_get(&ends_total, LABELS("crm", ends[i])), 1);
    metric_add(metric_get(&ends_total, LABELS("crm")), 2);
    struct buf out = buf_new(1 << 20);
    assert_non_null(strstr(page(&out), "ends_total{sink=\"crm\"} 2\nends_total{sink=\"crm\",endpoint=\"a\"} 1\n"
                                       "ends_total{sink=\"crm\",endpoint=\"b\"} 1\n"
                                       "ends_total{sink=\"crm\",endpoint=\"m\"} 1\n"
                                       "ends_total{sink=\"crm\",endpoint=\"n\"} 1\n"
                                       "ends_total{sink=\"crm\",endpoint=\"z\"} 1\n"));
    buf_free(&out);
}

TEST(the_page)
{
    metric_add(metric_get(&b_total, LABELS("a\"b\\c\nd")), 1);
    metric_add(metric_get(&b_total, LABELS("a")), 7);
    metric_set(metric_get(&a_open, LABELS("y")), -2);
    struct buf out = buf_new(1 << 20);
    const char *text = page(&out);
    const char *gauge = strstr(text, "# HELP a_open Things that are open.\n# TYPE a_open gauge\na_open{x=\"y\"} -2\n");
    const char *counter = strstr(
        text,
        "# HELP b_total Things that happened.\n# TYPE b_total counter\nb_total{sink=\"a\"} 7\nb_total{sink=\"a\\\"b\\\\c\\nd\"} 1\n");
    assert_non_null(gauge);
    assert_non_null(counter);
    assert_true(gauge < counter); /* sorted */
    buf_free(&out);
}

TEST(a_histogram)
{
    static const int64_t seen_us[] = { -5, 0, 100, 101, 250, 1000000, 100000000, 100000001 };
    struct metric *h = metric_get(&h_seconds, LABELS("crm"));
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
    metric_get(&plain_seconds, NULL);
    text = page(&out);
    assert_non_null(strstr(text, "plain_seconds_bucket{le=\"0.0001\"} 0\n"));
    assert_non_null(strstr(text, "plain_seconds_sum 0\nplain_seconds_count 0\n"));
    buf_free(&out);
}

static void see(void *ctx, const char *const *values, int64_t value)
{
    struct buf *out = ctx;
    for (; *values; values++)
        buf_printf(out, "[%s]", *values);
    buf_printf(out, "=%d;", (int)value);
}

METRIC_GAUGE(seen_gauge, "Seen by a program.", "a", "b");

TEST(the_values_of_labels_are_handed_out_as_they_were_given)
{
    struct buf out = buf_new(1000);
    metric_each(&seen_gauge, see, &out);
    assert_string_equal(buf_c(&out), "");
    metric_set(metric_get(&seen_gauge, LABELS("1", "a,b=\"c\"")), 7);
    metric_set(metric_get(&seen_gauge, LABELS("2", "n\\n\n")), 8);
    metric_set(metric_get(&seen_gauge, LABELS("3")), 9);
    metric_each(&seen_gauge, see, &out);
    assert_string_equal(buf_c(&out), "[1][a,b=\"c\"]=7;[2][n\\n\n]=8;[3]=9;");
    buf_free(&out);
}

TEST(the_registry)
{
    static const char *const names[] = { "a_open",     "b_total",    "ends_total", "h_seconds",       "plain_seconds",
                                         "same_gauge", "same_total", "seen_gauge", "threads_seconds", "threads_total" };
    size_t n = 0;
    for (const struct metric_family *f = metric_families(); f; f = f->next, n++)
        assert_string_equal(f->name, names[n]);
    assert_int_equal(n, sizeof names / sizeof *names);
    assert_string_equal(same_total.labels[1], "reason");
    assert_null(same_total.labels[2]);
    assert_null(same_gauge.labels[0]);
    assert_string_equal(metric_kind_name(same_gauge.kind), "gauge");
}

TEST(a_family_without_metrics_is_not_shown)
{
    struct buf out = buf_new(1 << 20);
    assert_null(strstr(page(&out), "same_total"));
    buf_free(&out);
}

static void *add_many(void *arg)
{
    for (int i = 0; i < 10000; i++) {
        metric_add(arg, 1);
        metric_observe_us(metric_get(&threads_seconds, NULL), i);
    }
    return NULL;
}

TEST(many_threads)
{
    pthread_t threads[4];
    struct metric *m = metric_get(&threads_total, NULL);
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

TEST(what_is_kept_is_shown_until_it_is_kept_again)
{
    struct buf page = buf_new(1 << 20);
    struct metric *m = metric_get(&b_total, LABELS("kept"));
    metric_add(m, 3);
    metrics_write(&page);
    assert_non_null(strstr(buf_c(&page), "b_total{sink=\"kept\"} 3\n"));
    metric_keep(m);
    metric_add(m, 4);
    page.n = 0;
    metrics_write(&page);
    assert_non_null(strstr(buf_c(&page), "b_total{sink=\"kept\"} 3\n"));
    assert_int_equal(metric_value(m), 7);
    metric_keep(m);
    page.n = 0;
    metrics_write(&page);
    assert_non_null(strstr(buf_c(&page), "b_total{sink=\"kept\"} 7\n"));
    buf_free(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_family_without_metrics_is_not_shown),
                                        cmocka_unit_test(the_registry),
                                        cmocka_unit_test(the_same_again),
                                        cmocka_unit_test(labels_may_be_left_out),
                                        cmocka_unit_test(the_page),
                                        cmocka_unit_test(a_histogram),
                                        cmocka_unit_test(what_is_kept_is_shown_until_it_is_kept_again),
                                        cmocka_unit_test(many_threads),
                                        cmocka_unit_test(the_values_of_labels_are_handed_out_as_they_were_given) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
