/* SPDX-License-Identifier: MIT */
/* Making and comparing the tests' events. */
#include "tests/support/event.h"
#include <stdlib.h>

static const struct header event_full_extensions[] = {
    { { "partitionkey", 12 }, { "k1", 2 } },
    { { "traceparent", 11 }, { "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", 55 } },
};

const struct event event_full = {
    .id = { "A234-1234-1234", 14 },
    .source = { "/mycontext/subcontext", 21 },
    .type = { "com.example.someevent", 21 },
    .subject = { "Euro \xe2\x82\xac \xf0\x9f\x98\x80", 13 },
    .time = { "2018-04-05T17:31:00Z", 20 },
    .datacontenttype = { "application/json; charset=utf-8", 31 },
    .dataschema = { "https://example.com/s", 21 },
    .extensions = event_full_extensions,
    .extension_count = 2,
    .data = { "{\"much\": [\"wow\", 1.50]}", 23 },
};

const struct event *event_born(const struct event *fields)
{
    struct err e = { "" };
    const struct event *ev = event_new(fields, &e);
    if (!ev)
        fail_msg("%s", e.text);
    return ev;
}

const struct event *event_like(struct event fields)
{
    if (!fields.id.at)
        fields.id = STR("1");
    if (!fields.source.at)
        fields.source = STR("/test");
    if (!fields.type.at)
        fields.type = STR("test.happened");
    return event_born(&fields);
}

void assert_events_equal(const struct event *a, const struct event *b)
{
    assert_non_null(a);
    assert_non_null(b);
    const struct str pairs[][2] = { { a->id, b->id },
                                    { a->source, b->source },
                                    { a->type, b->type },
                                    { a->subject, b->subject },
                                    { a->time, b->time },
                                    { a->datacontenttype, b->datacontenttype },
                                    { a->dataschema, b->dataschema },
                                    { a->data, b->data } };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        assert_true(!pairs[i][0].at == !pairs[i][1].at);
        assert_true(str_eq(pairs[i][0], pairs[i][1]));
    }
    assert_int_equal(a->extension_count, b->extension_count);
    assert_int_equal(a->integers, b->integers);
    assert_int_equal(a->booleans, b->booleans);
    for (size_t i = 0; i < a->extension_count; i++)
        assert_true(str_eq(event_attribute(b, a->extensions[i].name), a->extensions[i].value));
}
