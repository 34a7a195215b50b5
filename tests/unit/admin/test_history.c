/* SPDX-License-Identifier: MIT */
/* The last hour in numbers: rates, gaps, quantiles, the bound. */
#include <stdlib.h>
#include "bridge/admin/figures.h"
#include "bridge/admin/history.h"
#include "bridge/lib/metrics.h"
#include "tests/support/test.h"

METRIC_HISTOGRAM(try_seconds, "h", "sink");

enum { WALL = 1700000000 };

static struct history *h;
static int64_t now;

static int begin(void **state)
{
    (void)state;
    h = history_new();
    now = 5000;
    return 0;
}

static int end(void **state)
{
    (void)state;
    history_free(h);
    return 0;
}

/* A step of so many seconds, at whose end the account says this. */
static void step(int64_t seconds, const char *account)
{
    json_t *j = json_loads(account, 0, NULL);
    assert_non_null(j);
    now += seconds * 1000;
    assert_true(history_due(h, now));
    history_take(h, j, now, (int64_t)WALL * 1000 + now);
    json_decref(j);
}

static json_t *series(json_t *whole, const char *name, const char *label, const char *of)
{
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(whole, "series"), i, one)
    {
        const char *is = json_string_value(json_object_get(json_object_get(one, "labels"), label));
        if (is && strcmp(is, of) == 0 && strcmp(json_string_value(json_object_get(one, "name")), name) == 0)
            return json_object_get(one, "points");
    }
    return NULL;
}

static json_t *written(void)
{
    struct buf out = buf_new(1 << 24);
    history_write(h, &out);
    json_t *j = json_loadb(out.at, out.n, 0, NULL);
    assert_non_null(j);
    buf_free(&out);
    return j;
}

/* The point so many steps ago; -1: there is none. */
static double ago(const char *name, const char *label, const char *of, size_t steps)
{
    json_t *whole = written(), *points = series(whole, name, label, of);
    double value = -1;
    if (points) {
        assert_int_equal(json_array_size(points), HISTORY_POINTS);
        const json_t *point = json_array_get(points, HISTORY_POINTS - 1 - steps);
        value = json_is_null(point) ? -1 : json_number_value(point);
    }
    json_decref(whole);
    return value;
}

#define SINK(delivered, dead, pending, waiting)                                                                        \
    "{\"sources\":[{\"source\":\"app\",\"stored\":" delivered                                                          \
    "}],\"sinks\":[{\"sink\":\"crm\",\"live\":false,\"waiting\":7,"                                                    \
    "\"blocked\":null,\"topics\":[{\"topic\":\"t\",\"end\":" delivered ",\"pending\":5},{\"topic\":\"t\",\"end\":1,"   \
    "\"pending\":null}],\"destinations\":[{\"endpoint\":null,\"delivered\":" delivered ",\"retries\":0,\"dead\":" dead \
    ",\"pending\":" pending ",\"waiting\":" waiting                                                                    \
    ",\"oldest\":null},{\"endpoint\":\"b\",\"delivered\":0,\"retries\":0,"                                             \
    "\"dead\":0,\"pending\":1,\"waiting\":1,\"oldest\":\"2023-11-14T22:13:25.000Z\"}]}]}"

TEST(rates_and_levels_come_of_the_account)
{
    step(0, SINK("100", "3", "9", "2"));
    assert_true(ago("delivered_rate", "sink", "crm", 0) < 0); /* of a first look nobody knows */
    step(10, SINK("150", "4", "9", "2"));
    assert_true(ago("delivered_rate", "sink", "crm", 0) == 5);
    assert_true(ago("stored_rate", "source", "app", 0) == 5);
    assert_true(ago("topic_rate", "topic", "t", 0) == 5);
    assert_true(ago("dead", "sink", "crm", 1) == 3 && ago("dead", "sink", "crm", 0) == 4);
    assert_true(ago("pending", "sink", "crm", 0) == 10);
    assert_true(ago("waiting", "sink", "crm", 0) == 10); /* in memory, and in the waiting topics */
    assert_true(ago("lag", "sink", "crm", 0) == 5);
    assert_true(ago("oldest_s", "sink", "crm", 0) == 10);
    assert_true(ago("retried_rate", "sink", "crm", 0) == 0);
    assert_false(history_due(h, now + HISTORY_STEP_MS - 1));
}

TEST(missed_steps_are_gaps_and_an_hour_is_all)
{
    step(0, SINK("100", "0", "0", "0"));
    step(40, SINK("140", "0", "0", "0"));
    assert_true(ago("pending", "sink", "crm", 4) == 1 && ago("pending", "sink", "crm", 0) == 1);
    assert_true(ago("pending", "sink", "crm", 1) < 0 && ago("pending", "sink", "crm", 3) < 0);
    assert_true(ago("stored_rate", "source", "app", 0) == 1);
    step(7200, SINK("140", "0", "0", "0"));
    for (size_t i = 1; i < HISTORY_POINTS; i++)
        assert_true(ago("pending", "sink", "crm", i) < 0);
    step(10, "{\"sources\":[],\"sinks\":[]}"); /* a sink that is busy gives no account */
    assert_true(ago("pending", "sink", "crm", 0) < 0 && ago("pending", "sink", "crm", 1) == 1);
}

TEST(a_rate_of_now_is_over_some_seconds)
{
    assert_true(history_rate(h, HISTORY_DELIVERED, "crm", 10, now) < 0);
    step(0, SINK("100", "0", "0", "0"));
    assert_true(history_rate(h, HISTORY_DELIVERED, "crm", 104, now + 2000) == 2);
    step(10, SINK("110", "0", "0", "0"));
    assert_true(history_rate(h, HISTORY_DELIVERED, "crm", 124, now + 2000) == 2); /* 24 in 12 s, not 14 in 2 */
    assert_true(history_rate(h, HISTORY_DELIVERED, "crm", 170, now + 6000) == 10);
    assert_true(history_rate(h, HISTORY_DELIVERED, "hr", 170, now) < 0);
    assert_true(history_rate(h, HISTORY_STORED, "app", 90, now + 6000) < 0); /* a counter that went back */
}

TEST(latencies_are_those_of_the_step)
{
    struct metric *m = metric_get(&try_seconds, LABELS("crm"));
    for (int i = 0; i < 100; i++)
        metric_observe_us(m, 80);
    step(0, "{}");
    for (int i = 0; i < 98; i++)
        metric_observe_us(m, 2000); /* above 1 ms, to 2.5 ms */
    metric_observe_us(m, 90000);
    metric_observe_us(m, 90000);
    step(10, "{}");
    double p50 = ago("latency_p50_ms", "sink", "crm", 0), p99 = ago("latency_p99_ms", "sink", "crm", 0);
    assert_true(p50 > 1 && p50 < 2.5);
    assert_true(p99 > 50 && p99 <= 100);
    step(10, "{}");
    assert_true(ago("latency_p50_ms", "sink", "crm", 0) < 0);
}

TEST(it_is_bounded)
{
    json_t *sources = json_array();
    for (int i = 0; i < HISTORY_SERIES + 5; i++) {
        char name[32];
        snprintf(name, sizeof name, "s%d", i);
        json_array_append_new(sources, json_pack("{s:s,s:i}", "source", name, "stored", 1));
    }
    json_t *account = json_pack("{s:o}", "sources", sources);
    char *text = json_dumps(account, 0);
    step(0, text);
    step(10, text);
    free(text);
    json_decref(account);
    json_t *whole = written();
    assert_int_equal(json_array_size(json_object_get(whole, "series")), HISTORY_SERIES);
    assert_int_equal(json_integer_value(json_object_get(whole, "left_out")), 5);
    json_decref(whole);
}

TEST(the_worst_of_its_destinations_is_a_sinks_state)
{
    static const struct {
        const char *destinations, *state, *detail;
    } cases[] = {
        { "[{\"endpoint\":null,\"paused\":false,\"failing\":null,\"circuit\":{\"state\":\"closed\"}}]", "active",
          NULL },
        { "[{\"paused\":true}]", "paused", NULL },
        { "[{\"held\":{\"reason\":\"no consent yet\"}},{\"paused\":true}]", "held", "no consent yet" },
        { "[{\"endpoint\":null},{\"endpoint\":\"b\",\"failing\":{\"reason\":\"503\"}}]", "failing", "b: 503" },
        { "[{\"endpoint\":\"b\",\"failing\":{\"reason\":\"503\"},\"circuit\":{\"state\":\"half_open\"}}]", "open",
          "b: 503" },
        { "[{\"endpoint\":\"b\",\"removed\":true,\"failing\":{\"reason\":\"503\"}}]", "active", NULL },
        { "[]", "active", NULL },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *detail;
        json_t *sink = json_pack("{s:o}", "destinations", json_loads(cases[i].destinations, 0, NULL));
        assert_string_equal(figures_state_text(figures_state(sink, &detail)), cases[i].state);
        if (cases[i].detail)
            assert_string_equal(detail, cases[i].detail);
        else
            assert_null(detail);
        free(detail);
        json_decref(sink);
    }
}

TEST(what_waits_on_the_broker_is_as_old_as_the_failure)
{
    static const char
        text[] = "{\"waiting\":%d,\"destinations\":[{\"pending\":1,\"oldest\":\"2023-11-14T22:13:30.000Z\","
                 "\"failing\":{\"since\":\"2023-11-14T22:13:25.000Z\"}}]}";
    char one[sizeof text + 16];
    for (int waiting = 0; waiting < 2; waiting++) {
        snprintf(one, sizeof one, text, waiting);
        json_t *sink = json_loads(one, 0, NULL);
        assert_int_equal(figures_of(sink).oldest_ms, ((int64_t)WALL + (waiting ? 5 : 10)) * 1000);
        json_decref(sink);
    }
}

TEST(a_sink_that_owes_nothing_has_no_backlog)
{
    json_t *sink = json_loads(
        "{\"live\":true,\"topics\":[{\"pending\":4}],\"destinations\":[{\"delivered\":3,\"pending\":1}]}", 0, NULL);
    struct figures f = figures_of(sink);
    assert_true(f.delivered == 3 && f.pending == -1 && f.lag == -1 && f.waiting == -1);
    json_decref(sink);
}

#define HISTORY(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HISTORY(rates_and_levels_come_of_the_account),
        HISTORY(missed_steps_are_gaps_and_an_hour_is_all),
        HISTORY(a_rate_of_now_is_over_some_seconds),
        HISTORY(latencies_are_those_of_the_step),
        HISTORY(it_is_bounded),
        HISTORY(the_worst_of_its_destinations_is_a_sinks_state),
        HISTORY(what_waits_on_the_broker_is_as_old_as_the_failure),
        HISTORY(a_sink_that_owes_nothing_has_no_backlog),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
