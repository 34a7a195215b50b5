/* SPDX-License-Identifier: MIT */
/* Spans of traces: their ids, their JSON by the rules of OTLP, and the bound of what waits. */
#include <jansson.h>
#include "bridge/event/span.h"
#include "bridge/lib/err.h"
#include "tests/support/metric.h"
#include "tests/support/test.h"

#define TRACE  "4bf92f3577b34da6a3ce929d0e0e4736"
#define CLIENT "00f067aa0ba902b7"

static const struct event *made(const char *id, const char *parent)
{
    struct err e;
    struct header ext[] = { { STR("traceparent"), str_of(parent ? parent : "") } };
    struct event fields = { .id = str_of(id),
                            .source = STR("/tests"),
                            .type = STR("thing.happened"),
                            .extensions = ext,
                            .extension_count = parent ? 1 : 0 };
    const struct event *ev = event_new(&fields, &e);
    assert_non_null(ev);
    return ev;
}

TEST(the_clients_trace_goes_on)
{
    const struct event *ev = made("1", "00-" TRACE "-" CLIENT "-01"),
                       *not_sampled = made("1", "00-" TRACE "-" CLIENT "-00");
    struct span_root root, again;
    char text[SPAN_PARENT_TEXT];
    span_collect(0);
    assert_true(span_root_of(ev, &root));
    assert_false(span_root_of(not_sampled, &again));
    assert_true(root.parent == 0x00f067aa0ba902b7);
    assert_true(span_root_of(ev, &again) && again.received == root.received && again.published == root.published);
    assert_true(root.received && root.published && root.received != root.published);
    span_parent_text(&root, 0xab, text);
    assert_string_equal(text, "00-" TRACE "-00000000000000ab-01");
    span_collect_end();
    event_unref(ev);
    event_unref(not_sampled);
}

/* Of two daemons each chooses the same, and about the share that is said. */
TEST(a_share_of_the_traces)
{
    int sampled = 0;
    for (int i = 0; i < 4000; i++) {
        char id[16];
        struct span_root root, again;
        snprintf(id, sizeof id, "e%d", i);
        const struct event *ev = made(id, NULL);
        span_collect(0.25);
        bool is = span_root_of(ev, &root);
        span_collect_end();
        span_collect(1);
        assert_true(span_root_of(ev, &again));
        assert_memory_equal(root.trace, again.trace, SPAN_TRACE_BYTES);
        assert_true(again.parent == 0);
        span_collect_end();
        sampled += is;
        event_unref(ev);
    }
    assert_in_range(sampled, 850, 1150);
}

static const char *text_of(json_t *span, const char *name)
{
    return json_string_value(json_object_get(span, name));
}

TEST(json_of_otlp)
{
    const struct event *ev = made("a \"quoted\" id", "00-" TRACE "-" CLIENT "-01");
    struct span_root root;
    span_collect(1);
    assert_true(span_root_of(ev, &root));
    struct span s = { .name = "deliver",
                      .kind = SPAN_CLIENT,
                      .id = 0x1234,
                      .parent = root.published,
                      .began_us = 1600000000000001,
                      .ended_us = 1600000000000000, /* a clock that was set back */
                      .failed = "503 \"busy\"",
                      .attributes = { { "aqueduct.sink", STR("crm"), 0 }, { "aqueduct.attempt", STR_ABSENT, 3 } } };
    span_add(&root, &s);
    span_add(&root, &s);
    struct buf out, again;
    assert_int_equal(span_take(&out), 2);
    struct buf list = buf_new(SIZE_MAX / 2);
    buf_printf(&list, "[%.*s]", STR_ARG(buf_str(&out)));
    json_t *spans = json_loadb(list.at, list.n, 0, NULL), *one = json_array_get(spans, 1);
    assert_int_equal(json_array_size(spans), 2);
    assert_string_equal(text_of(one, "traceId"), TRACE);
    assert_string_equal(text_of(one, "spanId"), "0000000000001234");
    assert_int_equal(strlen(text_of(one, "parentSpanId")), 16);
    assert_string_equal(text_of(one, "startTimeUnixNano"), "1600000000000001000");
    assert_string_equal(text_of(one, "endTimeUnixNano"), "1600000000000001000");
    assert_int_equal(json_integer_value(json_object_get(one, "kind")), 3);
    json_t *attributes = json_object_get(one, "attributes"), *value;
    assert_string_equal(text_of(json_object_get(json_array_get(attributes, 0), "value"), "stringValue"),
                        "a \"quoted\" id");
    value = json_object_get(json_array_get(attributes, 4), "value");
    assert_string_equal(text_of(value, "intValue"), "3");
    assert_string_equal(text_of(json_object_get(one, "status"), "message"), "503 \"busy\"");
    assert_int_equal(span_take(&again), 0);
    json_decref(spans);
    buf_free(&again);
    buf_free(&list);
    buf_free(&out);
    span_collect_end();
    event_unref(ev);
}

TEST(what_nobody_takes_is_bounded_and_counted)
{
    const struct event *ev = made("1", NULL);
    struct span_root root;
    struct buf out;
    span_collect(1);
    assert_true(span_root_of(ev, &root));
    int64_t made_before = metric_value(metric_named("aqueduct_spans_total", NULL));
    for (int i = 0; i < 40000; i++)
        span_add(&root, &(struct span){ .name = "deliver", .kind = SPAN_CLIENT, .id = 1 });
    size_t taken = span_take(&out);
    assert_in_range(out.n, 1 << 20, 8 << 20);
    assert_int_equal((int64_t)taken + metric_value(metric_named("aqueduct_spans_dropped_total", NULL)), 40000);
    assert_int_equal(metric_value(metric_named("aqueduct_spans_total", NULL)) - made_before, 40000);
    buf_free(&out);
    span_collect_end();
    event_unref(ev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_clients_trace_goes_on),
        cmocka_unit_test(a_share_of_the_traces),
        cmocka_unit_test(json_of_otlp),
        cmocka_unit_test(what_nobody_takes_is_bounded_and_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
