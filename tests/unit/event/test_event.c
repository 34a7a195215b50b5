/* SPDX-License-Identifier: MIT */
/* Birth and death of an event, and its two forms as a record. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/event/event.h"
#include "bridge/event/trail.h"
#include "bridge/lib/mem.h"
#include "tests/support/event.h"
#include "tests/support/test.h"

TEST(born_and_gone)
{
    char id[] = "1", data[] = "{}";
    const struct header extensions[] = { { STR("traceparent"),
                                           STR("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01") },
                                         { STR("empty"), STR("") } };
    struct event f = { .id = str_of(id),
                       .source = STR("/s"),
                       .type = STR("t"),
                       .data = str_of(data),
                       .extensions = extensions,
                       .extension_count = 2 };
    const struct event *ev = event_born(&f);
    id[0] = data[0] = 'x'; /* everything was copied */
    assert_str(ev->id, "1");
    assert_str(ev->source, "/s");
    assert_str(ev->type, "t");
    assert_str(ev->data, "{}");
    assert_null(ev->subject.at);
    assert_str(event_attribute(ev, STR("type")), "t");
    assert_str(event_attribute(ev, STR("specversion")), "1.0");
    assert_str(event_attribute(ev, STR("traceparent")), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    assert_str(event_attribute(ev, STR("empty")), "");
    assert_null(event_attribute(ev, STR("subject")).at);
    assert_null(event_attribute(ev, STR("nix")).at);
    assert_null(event_attribute(ev, STR("data")).at);
    assert_ptr_equal(event_ref(ev), ev);
    event_unref(ev);
    assert_str(ev->id, "1");
    event_unref(ev);
    event_unref(NULL);
}

TEST(absent_and_empty_data)
{
    struct event f = { .id = STR("1"), .source = STR("/s"), .type = STR("t") };
    const struct event *ev = event_born(&f);
    assert_null(ev->data.at);
    event_unref(ev);
    f.data = STR("");
    ev = event_born(&f);
    assert_non_null(ev->data.at);
    assert_int_equal(ev->data.n, 0);
    event_unref(ev);
}

static void refused(struct event f, const char *why)
{
    struct err e = { "" };
    assert_null(event_new(&f, &e));
    assert_string_equal(e.text, why);
}

TEST(attributes_that_are_refused)
{
    const struct event good = { .id = STR("1"), .source = STR("/s"), .type = STR("t") };
    const char *const text = "a control character, a noncharacter or bytes that are not UTF-8";
    struct event f = good;
    f.id = STR_ABSENT;
    refused(f, "event attribute id is missing");
    f.id = STR("");
    refused(f, "event attribute id is empty");
    f = good, f.source = STR_ABSENT;
    refused(f, "event attribute source is missing");
    f = good, f.type = STR_ABSENT;
    refused(f, "event attribute type is missing");
    f = good, f.subject = STR("");
    refused(f, "event attribute subject is empty");
    f = good, f.time = STR("yesterday");
    refused(f, "event attribute time: \"yesterday\" is not an RFC 3339 date and time");
    f = good, f.datacontenttype = STR("text/pl\xc3\xa4in");
    refused(f, "event attribute datacontenttype: not a media type");
    const struct str bad[] = { STR("a\n"),
                               STR("\0"),
                               STR("\x1f"),
                               STR("\x7f"),
                               STR("\xc2\x80"),
                               STR("\xc2\x9f"),
                               STR("\xef\xb7\x90"),
                               STR("\xef\xb7\xaf"),
                               STR("\xef\xbf\xbe"),
                               STR("\xef\xbf\xbf"),
                               STR("\xf0\x9f\xbf\xbe"),
                               STR("\xf4\x8f\xbf\xbf"),
                               STR("\xed\xa0\x80"),
                               STR("\xc0\xa0"),
                               STR("\xff"),
                               STR("\xe2\x82") };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e;
        f = good, f.subject = bad[i];
        assert_null(event_new(&f, &e));
        assert_non_null(strstr(e.text, text));
    }
    const struct str fine[] = { STR(" "),
                                STR("~"),
                                STR("\xc2\xa0"),
                                STR("\xef\xb7\x8f"),
                                STR("\xef\xb7\xb0"),
                                STR("\xef\xbf\xbd"),
                                STR("\xf0\x9f\xbf\xbd"),
                                STR("\xf0\x9f\x98\x80"),
                                STR("\xed\x9f\xbf"),
                                STR("\xee\x80\x80") };
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        f = good, f.subject = fine[i];
        event_unref(event_born(&f));
    }
}

TEST(extensions_that_are_refused)
{
    struct header x[EVENT_ATTRIBUTES + 1];
    char names[EVENT_ATTRIBUTES + 1][8];
    struct event f = { .id = STR("1"), .source = STR("/s"), .type = STR("t"), .extensions = x, .extension_count = 1 };
    char too_long[EVENT_NAME_BYTES + 1];
    memset(too_long, 'n', sizeof too_long);
    const struct str bad[] = { STR(""),         STR("a_b"),
                               STR("A"),        STR("a-b"),
                               STR("\xc3\xa9"), { too_long, EVENT_NAME_BYTES + 1 },
                               STR("data"),     STR("specversion"),
                               STR("id"),       STR("datacontenttype") };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        x[0] = (struct header){ bad[i], STR("v") };
        assert_null(event_new(&f, NULL));
    }
    x[0] = (struct header){ { too_long, EVENT_NAME_BYTES }, STR("v") };
    event_unref(event_born(&f));
    x[0] = (struct header){ STR("abcdefghijklmnopqrst"), STR("v") };
    event_unref(event_born(&f));
    x[1] = x[0];
    f.extension_count = 2;
    refused(f, "event attribute abcdefghijklmnopqrst stands twice");
    for (size_t i = 0; i <= EVENT_ATTRIBUTES; i++) {
        snprintf(names[i], sizeof names[i], "x%zu", i);
        x[i] = (struct header){ str_of(names[i]), STR("v") };
    }
    f.extension_count = EVENT_ATTRIBUTES;
    event_unref(event_born(&f));
    f.extension_count = EVENT_ATTRIBUTES + 1;
    refused(f, "event: 65 extension attributes, the most is 64");
}

/* Types that only JSON has survive the record of an event in binary mode. */
TEST(types_of_extensions)
{
    struct header x[] = { { STR("flag"), STR("true") }, { STR("text"), STR("17") }, { STR("count"), STR("-42") } };
    struct event f = { .id = STR("1"), .source = STR("/s"), .type = STR("t"), .extensions = x, .extension_count = 3 };
    struct header headers[EVENT_HEADERS];
    f.datacontenttype = STR("application/json");
    f.integers = 1 << 2;
    f.booleans = 1 << 0;
    const struct event *ev = event_born(&f);
    struct record r = { .headers = headers, .header_count = event_to_headers(ev, headers) };
    assert_str(record_header(&r, "aqueduct-types"), "flag=boolean,count=integer");
    assert_str(record_header(&r, "ce_count"), "-42");
    struct moved m;
    trail_move(&m, &r, "retry", (const char *const[]){ NULL }); /* and its way through other topics */
    const struct event *back = event_from_record(&m.record, NULL);
    assert_events_equal(back, ev);
    assert_int_equal(back->integers, 1 << 2);
    assert_int_equal(back->booleans, 1 << 0);
    trail_free(&m);
    event_unref(back);
    event_unref(ev);
    f.integers = f.booleans = 0;
    ev = event_born(&f);
    r.header_count = event_to_headers(ev, headers);
    assert_null(record_header(&r, "aqueduct-types").at);
    event_unref(ev);
}

/* A header that lies about types makes no JSON that is none. */
TEST(types_that_are_not_true)
{
    static const char *const values[] = { "x", "01", "-01", "1.0", "2147483648", "TRUE", "", "1e1", "\"1\"" };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        const struct header headers[] = {
            { STR("ce_specversion"), STR("1.0") },
            { STR("ce_id"), STR("1") },
            { STR("ce_source"), STR("/s") },
            { STR("ce_type"), STR("t") },
            { STR("ce_x"), str_of(values[i]) },
            { STR("aqueduct-types"), STR("x=integer,x=boolean,nix=integer,x,=,,id=integer") }
        };
        struct record r = { .headers = headers, .header_count = 6 };
        const struct event *ev = event_from_record(&r, NULL);
        assert_non_null(ev);
        assert_int_equal(ev->integers | ev->booleans, 0);
        event_unref(ev);
    }
}

TEST(uris)
{
    static const struct {
        const char *source, *schema, *why;
    } cases[] = {
        { "/s", NULL, "" },
        { "https://example.com/a?b#c", "https://example.com/s", "" },
        { "my app", NULL, "event attribute source: \"my app\" is not a URI reference (RFC 3986)" },
        { "/s", "s.json", "event attribute dataschema: \"s.json\" is not a URI (RFC 3986)" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = { "" };
        const struct event *ev = event_like(
            (struct event){ .source = str_of(cases[i].source), .dataschema = str_of(cases[i].schema) });
        assert_int_equal(event_check_uris(ev, &e), !*cases[i].why);
        assert_string_equal(e.text, cases[i].why);
        event_unref(ev);
    }
}

/* RFC 3339 has a year 0, and a leap second at the end of a day of UTC. */
TEST(unusual_times)
{
    static const struct {
        const char *time;
        bool good;
    } cases[] = {
        { "0000-01-01T00:00:00Z", true },       { "0000-02-29T23:59:59Z", true },
        { "2016-12-31T23:59:60Z", true },       { "1998-12-31T15:59:60.123-08:00", true },
        { "2017-01-01t08:59:60+09:00", true },  { "1998-12-31T23:59:61Z", false },
        { "1998-12-31T23:58:60Z", false },      { "1998-12-31T22:59:60Z", false },
        { "1998-12-31T23:59:60-08:00", false }, { "10000-01-01T00:00:00Z", false },
        { "-001-01-01T00:00:00Z", false },      { "2020-02-30T00:00:00Z", false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct event f = { .id = STR("1"), .source = STR("/s"), .type = STR("t"), .time = str_of(cases[i].time) };
        const struct event *ev = event_new(&f, NULL);
        if (!ev != !cases[i].good)
            fail_msg("%s", cases[i].time);
        event_unref(ev);
    }
}

TEST(sizes)
{
    char *big = mem_alloc(EVENT_DATA_BYTES + 1);
    memset(big, 'x', EVENT_DATA_BYTES + 1);
    struct event f = {
        .id = { big, EVENT_ATTRIBUTE_BYTES }, .source = STR("/s"), .type = STR("t"), .data = { big, EVENT_DATA_BYTES }
    };
    event_unref(event_born(&f));
    f.data.n++;
    refused(f, "event data: 67108865 bytes, the most is 67108864");
    f.data.n = 1;
    f.id.n++;
    refused(f, "event attribute id: 8193 bytes, the most is 8192");
    free(big);
}

TEST(which_types_are_json)
{
    static const char *const yes[] = { "application/json",       "text/json",   "APPLICATION/JSON; charset=utf-8",
                                       "application/vnd.x+json", "a/b+JSON ;x", "image/json" };
    static const char *const no[] = { "",     "text/plain",      "application/jsonl",
                                      "json", "application/xml", "text/plain; a=application/json" };
    assert_true(event_type_is_json(STR_ABSENT));
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        assert_true(event_type_is_json(str_of(yes[i])));
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        assert_false(event_type_is_json(str_of(no[i])));
}

static struct record record_of(const struct header *headers, size_t count, struct str value)
{
    return (struct record){ .value = value, .headers = headers, .header_count = count };
}

TEST(to_a_record_and_back)
{
    struct header headers[EVENT_HEADERS];
    const struct event *ev = event_born(&event_full);
    size_t n = event_to_headers(ev, headers);
    assert_int_equal(n, 10);
    assert_str(headers[0].name, "ce_specversion");
    assert_str(headers[0].value, "1.0");
    struct record r = record_of(headers, n, ev->data);
    assert_str(record_header(&r, "ce_id"), "A234-1234-1234");
    assert_str(record_header(&r, "ce_partitionkey"), "k1");
    assert_str(record_header(&r, "ce_subject"), "Euro \xe2\x82\xac \xf0\x9f\x98\x80"); /* as it is: no percent here */
    assert_str(record_header(&r, "content-type"), "application/json; charset=utf-8");
    assert_null(record_header(&r, "ce_datacontenttype").at);
    assert_null(record_header(&r, "CE_ID").at);
    struct err e = { "" };
    const struct event *back = event_from_record(&r, &e);
    assert_string_equal(e.text, "");
    assert_events_equal(back, ev);
    event_unref(back);
    event_unref(ev);
}

TEST(data_of_no_said_type)
{
    const struct {
        struct str data;
        const char *type;
    } cases[] = { { STR_ABSENT, "application/json" },
                  { STR(""), "application/json" },
                  { STR("{\"n\": 1}"), "application/json" },
                  { STR("hello"), "application/octet-stream" },
                  { STR("\xff"), "application/octet-stream" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct event f = { .id = STR("1"), .source = STR("/s"), .type = STR("t"), .data = cases[i].data };
        struct header headers[EVENT_HEADERS];
        const struct event *ev = event_born(&f);
        struct record r = record_of(headers, event_to_headers(ev, headers), ev->data);
        assert_str(record_header(&r, "content-type"), cases[i].type);
        const struct event *back = event_from_record(&r, NULL);
        assert_str(back->datacontenttype, cases[i].type);
        assert_true(str_eq(back->data, ev->data) && !back->data.at == !ev->data.at);
        event_unref(back);
        event_unref(ev);
    }
}

TEST(most_headers)
{
    struct header x[EVENT_ATTRIBUTES], headers[EVENT_HEADERS];
    char names[EVENT_ATTRIBUTES][8];
    struct event f = event_full;
    f.dataschema = STR("https://example.com/schema");
    for (size_t i = 0; i < EVENT_ATTRIBUTES; i++) {
        snprintf(names[i], sizeof names[i], "x%zu", i);
        x[i] = (struct header){ str_of(names[i]), STR("v") };
    }
    f.extensions = x;
    f.extension_count = EVENT_ATTRIBUTES;
    const struct event *ev = event_born(&f);
    size_t n = event_to_headers(ev, headers);
    assert_true(n <= EVENT_HEADERS);
    struct record r = record_of(headers, n, ev->data);
    const struct event *back = event_from_record(&r, NULL);
    assert_events_equal(back, ev);
    event_unref(back);
    event_unref(ev);
}

/* A record as a broker hands it out. */
struct came {
    struct record r;
    struct record_share share;
    bool gone;
};

static void came_release(struct record *r)
{
    ((struct came *)(void *)r)->gone = true;
}

static struct came came_in(const struct header *headers, size_t count, struct str value)
{
    struct came c = { .r = record_of(headers, count, value) };
    c.r.release = came_release;
    return c;
}

TEST(readers_of_a_record_share_its_event)
{
    struct header headers[EVENT_HEADERS];
    struct event f = event_full;
    f.extensions = &(struct header){ STR("count"), STR("5") };
    f.extension_count = 1;
    f.integers = 1;
    const struct event *ev = event_born(&f);
    struct came c = came_in(headers, event_to_headers(ev, headers), ev->data);
    c.r.share = &c.share;
    const struct event *one = event_of_record(&c.r, NULL), *two = event_of_record(record_ref(&c.r), NULL);
    assert_ptr_equal(one, two);
    assert_events_equal(one, ev);
    assert_ptr_equal(one->data.at, c.r.value.at); /* it borrows */
    assert_in_range(event_bytes(one), ev->data.n, event_bytes(ev));
    record_free(&c.r);
    record_free(&c.r);
    event_unref(one);
    assert_false(c.gone); /* the event keeps its record */
    assert_events_equal(two, ev);
    struct header again[EVENT_HEADERS];
    assert_int_equal(event_to_headers(two, again), event_to_headers(ev, headers));
    event_unref(two);
    assert_true(c.gone);
    event_unref(ev);
}

TEST(a_record_that_holds_json_keeps_its_event)
{
    const struct header headers[] = { { STR("content-type"), STR("application/cloudevents+json") } };
    struct came c = came_in(headers, 1,
                            STR("{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/a\",\"type\":\"t\",\"data\":7}"));
    c.r.share = &c.share;
    const struct event *one = event_of_record(&c.r, NULL), *two = event_of_record(&c.r, NULL);
    assert_ptr_equal(one, two);
    assert_str(one->data, "7");
    record_free(&c.r);
    assert_true(c.gone);
    event_unref(one);
    event_unref(two);
    struct err e = { "" };
    c = came_in(headers, 1, STR("{}"));
    c.r.share = &c.share;
    assert_null(event_of_record(&c.r, &e));
    assert_null(event_of_record(&c.r, &e)); /* each is told why */
    assert_non_null(strstr(e.text, "specversion"));
    record_free(&c.r);
    assert_true(c.gone);
}

/* After the conformance suite's kafka-protocol-binding.feature. */
TEST(kafka_binary)
{
    const struct header headers[] = { { STR("ce_specversion"), STR("1.0") },
                                      { STR("ce_type"), STR("com.example.someevent") },
                                      { STR("ce_time"), STR("2018-04-05T03:56:24Z") },
                                      { STR("ce_id"), STR("1234-1234-1234") },
                                      { STR("ce_source"), STR("/mycontext/subcontext") },
                                      { STR("ce_null"), STR_ABSENT },
                                      { STR("aqueduct-sink"), STR("crm") },
                                      { STR("other"), STR("\xff") },
                                      { STR("content-type"), STR("application/avro") },
                                      { STR("content-type"), STR("application/json; charset=utf-8") } };
    struct record r = record_of(headers, sizeof headers / sizeof *headers, STR("{\"message\": \"Hello World!\"}"));
    const struct event *ev = event_from_record(&r, NULL);
    assert_non_null(ev);
    assert_str(ev->type, "com.example.someevent");
    assert_str(ev->time, "2018-04-05T03:56:24Z");
    assert_str(ev->id, "1234-1234-1234");
    assert_str(ev->source, "/mycontext/subcontext");
    assert_str(ev->datacontenttype, "application/json; charset=utf-8");
    assert_str(ev->data, "{\"message\": \"Hello World!\"}");
    assert_int_equal(ev->extension_count, 0);
    event_unref(ev);
    r.value = STR_ABSENT;
    ev = event_from_record(&r, NULL);
    assert_null(ev->data.at);
    event_unref(ev);
}

TEST(kafka_structured)
{
    const struct str types[] = { STR("application/cloudevents+json"),
                                 STR("application/cloudevents+json; charset=UTF-8"),
                                 STR("Application/CloudEvents+JSON"), STR("application/cloudevents") };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const struct header headers[] = { { STR("content-type"), types[i] } };
        struct record r = record_of(
            headers, 1,
            STR("{\"specversion\":\"1.0\",\"type\":\"t\",\"id\":\"i\",\"source\":\"/s\",\"data\":{\"a\":[1]}}"));
        const struct event *ev = event_from_record(&r, NULL);
        assert_non_null(ev);
        assert_str(ev->data, "{\"a\":[1]}");
        event_unref(ev);
    }
}

TEST(records_refused)
{
    const struct header ok[] = { { STR("ce_specversion"), STR("1.0") },
                                 { STR("ce_id"), STR("1") },
                                 { STR("ce_source"), STR("/s") },
                                 { STR("ce_type"), STR("t") } };
    const struct {
        struct header header;
        const char *why;
    } cases[] = {
        { { STR("ce_id"), STR("2") }, "event attribute id stands twice" },
        { { STR("ce_specversion"), STR("1.0") }, "event attribute specversion stands twice" },
        { { STR("ce_specversion"), STR("0.3") }, "event attribute specversion is not 1.0" },
        { { STR("ce_Bad"), STR("x") }, "event attribute \"Bad\": a name has 1 to 128 characters a to z and 0 to 9" },
        { { STR("ce_data"), STR("x") }, "event attribute \"data\": a name has 1 to 128 characters a to z and 0 to 9" },
        { { STR("ce_time"), STR("x") }, "event attribute time: \"x\" is not an RFC 3339 date and time" },
    };
    struct header headers[5];
    memcpy(headers, ok, sizeof ok);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = { "" };
        headers[4] = cases[i].header;
        struct record r = record_of(headers, 5, STR_ABSENT);
        assert_null(event_from_record(&r, &e));
        assert_string_equal(e.text, cases[i].why);
    }
}

TEST(foreign_records)
{
    const struct {
        struct header header;
        const char *why;
    } cases[] = {
        { { STR("ce_id"), STR("1") }, "not a CloudEvent" },
        { { STR("content-type"), STR("application/json") }, "not a CloudEvent" },
        { { STR("Content-Type"), STR("application/cloudevents+json") }, "not a CloudEvent" },
        { { STR("content-type"), STR("application/cloudevents-batch+json") }, "is not one event in JSON" },
        { { STR("content-type"), STR("application/cloudevents+xml") }, "is not one event in JSON" },
        { { STR("content-type"), STR("application/cloudevents+avro") }, "event: not an event in Avro" },
        { { STR("content-type"), STR("application/vnd.aqueduct.event+avro") }, "by the schema of its columns" },
        { { STR("content-type"), STR("application/cloudevents+json") }, "event: not JSON: byte 0: there is nothing" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = { "" };
        struct record r = record_of(&cases[i].header, 1, STR_ABSENT);
        assert_null(event_from_record(&r, &e));
        if (!strstr(e.text, cases[i].why))
            fail_msg("%zu: %s", i, e.text);
    }
    struct record none = { .value = STR("{}") };
    assert_null(event_from_record(&none, NULL));
    struct err e = { "" };
    none.value = STR("\0\0\0\0\7x");
    assert_null(event_from_record(&none, &e));
    assert_says(e.text, "begins as those of a schema registry do, but the header content-type is missing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(born_and_gone),
        cmocka_unit_test(absent_and_empty_data),
        cmocka_unit_test(attributes_that_are_refused),
        cmocka_unit_test(extensions_that_are_refused),
        cmocka_unit_test(types_of_extensions),
        cmocka_unit_test(data_of_no_said_type),
        cmocka_unit_test(types_that_are_not_true),
        cmocka_unit_test(uris),
        cmocka_unit_test(unusual_times),
        cmocka_unit_test(sizes),
        cmocka_unit_test(which_types_are_json),
        cmocka_unit_test(to_a_record_and_back),
        cmocka_unit_test(most_headers),
        cmocka_unit_test(readers_of_a_record_share_its_event),
        cmocka_unit_test(a_record_that_holds_json_keeps_its_event),
        cmocka_unit_test(kafka_binary),
        cmocka_unit_test(kafka_structured),
        cmocka_unit_test(records_refused),
        cmocka_unit_test(foreign_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
