/* SPDX-License-Identifier: MIT */
/* The JSON event format, one event and batches. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/jscan.h"
#include "tests/support/event.h"
#include "tests/support/test.h"

#define REQUIRED "\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\""

static const struct event *must_read(const char *json)
{
    struct err e = { "" };
    const struct event *ev = event_from_json(str_of(json), &e);
    if (!ev)
        fail_msg("%s: %s", json, e.text);
    return ev;
}

static void writes(struct event f, const char *json)
{
    struct buf out = buf_new(1 << 20);
    struct jscan_value value;
    struct err e = { "" };
    const struct event *ev = event_born(&f);
    event_to_json(ev, &out);
    assert_string_equal(buf_c(&out), json);
    assert_true(jscan_check(buf_str(&out), &value, &e));
    const struct event *back = must_read(out.at);
    assert_events_equal(back, ev);
    event_unref(back);
    event_unref(ev);
    buf_free(&out);
}

TEST(to_json_and_back)
{
    writes(
        event_full,
        "{\"specversion\":\"1.0\",\"id\":\"A234-1234-1234\",\"source\":\"/mycontext/subcontext\",\"type\":\"com.example.someevent\","
        "\"subject\":\"Euro \xe2\x82\xac \xf0\x9f\x98\x80\",\"time\":\"2018-04-05T17:31:00Z\",\"datacontenttype\":\"application/json; charset=utf-8\","
        "\"dataschema\":\"https://example.com/s\",\"partitionkey\":\"k1\","
        "\"traceparent\":\"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\",\"data\":{\"much\": [\"wow\", 1.50]}}");
}

TEST(data_by_its_type)
{
    const struct {
        const char *type;
        struct str data;
        const char *json;
    } cases[] = {
        { NULL, STR_ABSENT, "" },
        { NULL, STR("[1.0]"), ",\"data\":[1.0]" },
        { NULL, STR("null"), ",\"data\":null" },
        { NULL, STR("\"a\""), ",\"data\":\"a\"" },
        { NULL, STR(""), ",\"data_base64\":\"\"" },
        { NULL, STR("not json"), ",\"data_base64\":\"bm90IGpzb24=\"" },
        { "application/json", STR("{\"a\":1,}"),
          ",\"datacontenttype\":\"application/json\",\"data_base64\":\"eyJhIjoxLH0=\"" },
        { "a/b+json", STR("12345678901234567890"), ",\"datacontenttype\":\"a/b+json\",\"data\":12345678901234567890" },
        { "text/plain", STR("a\"b\n\0"), ",\"datacontenttype\":\"text/plain\",\"data\":\"a\\\"b\\n\\u0000\"" },
        { "TEXT/xml; charset=utf-8", STR("<\xc3\xa9/>"),
          ",\"datacontenttype\":\"TEXT/xml; charset=utf-8\",\"data\":\"<\xc3\xa9/>\"" },
        { "text/plain", STR("\xff"), ",\"datacontenttype\":\"text/plain\",\"data_base64\":\"/w==\"" },
        { "text/json", STR("\"x\""), ",\"datacontenttype\":\"text/json\",\"data\":\"x\"" },
        { "text/json", STR("x"), ",\"datacontenttype\":\"text/json\",\"data_base64\":\"eA==\"" },
        { "application/octet-stream", STR("abc"),
          ",\"datacontenttype\":\"application/octet-stream\",\"data_base64\":\"YWJj\"" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[300];
        snprintf(json, sizeof json, "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\"%s}",
                 cases[i].json);
        writes((struct event){ .id = STR("1"),
                               .source = STR("/s"),
                               .type = STR("t"),
                               .datacontenttype = str_of(cases[i].type),
                               .data = cases[i].data },
               json);
    }
}

TEST(too_small_a_buffer)
{
    const struct event *ev = event_born(&event_full);
    struct buf out = buf_new(100);
    event_to_json(ev, &out);
    assert_true(out.failed);
    buf_free(&out);
    event_unref(ev);
}

TEST(what_may_stand_there)
{
    const struct event *ev = must_read(
        " {\"data\" : { \"a\" : 1.0 } , \"subject\":null, \"flag\":true,\"off\":false,\"count\":-42,\"zero\":-0,\"max\":2147483647,"
        "\"min\":-2147483648,\"null\":null,\"esc\":\"\\u0041\\\"\\ud83d\\ude00\",\"\\u0069d\":\"a\\/b\", \"time\":\"2020-01-01T00:00:00+01:00\","
        "\"specversion\":\"1.0\",\"source\":\"/s\",\"type\":\"t\"} ");
    assert_str(ev->id, "a/b");
    assert_null(ev->subject.at);
    assert_str(ev->data, "{ \"a\" : 1.0 }");
    assert_int_equal(ev->extension_count, 7);
    static const char *const extensions[][2] = { { "flag", "true" },
                                                 { "off", "false" },
                                                 { "count", "-42" },
                                                 { "zero", "0" },
                                                 { "max", "2147483647" },
                                                 { "min", "-2147483648" },
                                                 { "esc", "A\"\xf0\x9f\x98\x80" } };
    for (size_t i = 0; i < 7; i++)
        assert_str(event_attribute(ev, str_of(extensions[i][0])), extensions[i][1]);
    assert_int_equal(ev->booleans, 0x3);
    assert_int_equal(ev->integers, 0x3c);
    struct buf out = buf_new(1000); /* and they keep their types */
    event_to_json(ev, &out);
    assert_non_null(strstr(buf_c(&out), ",\"flag\":true,\"off\":false,\"count\":-42,\"zero\":0,\"max\":2147483647,"
                                        "\"min\":-2147483648,\"esc\":\"A"));
    buf_free(&out);
    event_unref(ev);
}

/* Some senders put one before their JSON. */
TEST(a_byte_order_mark_is_skipped)
{
    const struct event *batch[2];
    event_unref(must_read("\xef\xbb\xbf{" REQUIRED "}"));
    assert_int_equal(event_from_json_batch(STR("\xef\xbb\xbf[{" REQUIRED "}]"), batch, 2, NULL), 1);
    event_unref(batch[0]);
    assert_null(event_from_json(STR("\xef\xbb\xbf\xef\xbb\xbf{" REQUIRED "}"), NULL));
    assert_null(event_from_json(STR("\xff\xfe{" REQUIRED "}"), NULL));
}

/* A trace that no attribute can hold costs no event. */
TEST(a_broken_trace_is_left_out)
{
    const struct event *ev = must_read("{" REQUIRED
                                       ",\"tracestate\":\"foo=1\\t,bar=2\",\"traceparent\":\"\\u0085\",\"x\":\"1\"}");
    assert_int_equal(ev->extension_count, 1);
    event_unref(ev);
    assert_null(event_from_json(STR("{" REQUIRED ",\"x\":\"foo=1\\t,bar=2\"}"), NULL));
}

TEST(data_forms)
{
    static const struct {
        const char *json, *data;
    } cases[] = {
        { "\"data\":\"a\\n\"", "\"a\\n\"" }, /* JSON by default: a JSON string stays one */
        { "\"data\":null", "null" },
        { "\"data\":null,\"data_base64\":null,\"datacontenttype\":\"text/plain\"", NULL },
        { "\"datacontenttype\":\"text/plain\",\"data\":\"a\\n\\u00e9\"", "a\n\xc3\xa9" },
        { "\"data\":\"<a/>\",\"datacontenttype\":\"application/xml\"", "<a/>" },
        { "\"data_base64\":\"AAEC\"", "\0\1\2" },
        { "\"data_base64\":\"YQ\"", "a" },
        { "\"data_base64\":\"\\u0059Q==\"", "a" },
        { "\"data_base64\":\"\"", "" },
        { "\"datacontenttype\":\"text/plain\",\"data\":\"\"", "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[300];
        snprintf(json, sizeof json, "{" REQUIRED ",%s}", cases[i].json);
        const struct event *ev = must_read(json);
        if (i == 5)
            assert_true(str_eq(ev->data, STR("\0\1\2")));
        else
            assert_true(str_eq(ev->data, str_of(cases[i].data)) && !ev->data.at == !cases[i].data);
        event_unref(ev);
    }
}

TEST(what_is_refused)
{
    static const char *const cases[][2] = {
        { "", "event: not JSON: byte 0: there is nothing" },
        { "[]", "event: JSON, but not an object" },
        { "{}", "event attribute specversion is missing" },
        { "{\"specversion\":1.0," REQUIRED "}", "event attribute specversion: a number that is not a 32-bit integer" },
        { "{\"specversion\":\"0.3\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\"}",
          "event attribute specversion is not 1.0" },
        { "{\"specversion\":\"1.0\",\"source\":\"/s\",\"type\":\"t\"}", "event attribute id is missing" },
        { "{\"specversion\":\"1.0\",\"id\":null,\"source\":\"/s\",\"type\":\"t\"}", "event attribute id is missing" },
        { "{\"specversion\":\"1.0\",\"id\":7,\"source\":\"/s\",\"type\":\"t\"}", "event attribute id: not a string" },
        { "{" REQUIRED ",\"id\":\"2\"}", "event attribute id stands twice" },
        { "{" REQUIRED ",\"\\u0069d\":\"2\"}", "event attribute id stands twice" },
        { "{" REQUIRED ",\"x\":1,\"x\":2}", "event attribute x stands twice" },
        { "{" REQUIRED ",\"data\":1,\"data\":1}", "event: data stands twice" },
        { "{" REQUIRED ",\"data\":1,\"data_base64\":\"\"}", "event: both data and data_base64" },
        { "{" REQUIRED ",\"data_base64\":7}", "event: data_base64 is not a string" },
        { "{" REQUIRED ",\"data_base64\":\"a b\"}", "event: data_base64 is not base64" },
        { "{" REQUIRED ",\"datacontenttype\":\"text/plain\",\"data\":{}}",
          "event: data is not a string although datacontenttype is not JSON" },
        { "{" REQUIRED ",\"x\":1.5}", "event attribute x: a number that is not a 32-bit integer" },
        { "{" REQUIRED ",\"x\":2147483648}", "event attribute x: a number that is not a 32-bit integer" },
        { "{" REQUIRED ",\"x\":1e2}", "event attribute x: a number that is not a 32-bit integer" },
        { "{" REQUIRED ",\"x\":{}}", "event attribute x: neither a string, an integer nor a boolean" },
        { "{" REQUIRED ",\"x\":[]}", "event attribute x: neither a string, an integer nor a boolean" },
        { "{" REQUIRED ",\"a_b\":\"x\"}", "event attribute \"a_b\": a name has 1 to 128 characters a to z and 0 to 9" },
        { "{" REQUIRED ",\"x\":\"\\u0007\"}",
          "event attribute x: a control character, a noncharacter or bytes that are not UTF-8" },
        { "{" REQUIRED ",\"x\":\"\\uffff\"}",
          "event attribute x: a control character, a noncharacter or bytes that are not UTF-8" },
        { "{" REQUIRED ",\"x\":\"\\ud800\"}", "event: not JSON: byte 60: a \\u escape that is not a character" },
        { "{" REQUIRED ",\"time\":\"2020-01-01\"}",
          "event attribute time: \"2020-01-01\" is not an RFC 3339 date and time" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = { "" };
        assert_null(event_from_json(str_of(cases[i][0]), &e));
        assert_string_equal(e.text, cases[i][1]);
    }
}

TEST(too_many_members)
{
    struct buf json = buf_new(10000);
    struct err e;
    buf_add_c(&json, "{" REQUIRED);
    for (int i = 0; i < EVENT_ATTRIBUTES; i++)
        buf_printf(&json, ",\"x%d\":\"v\"", i);
    buf_add_char(&json, '}');
    event_unref(must_read(buf_c(&json)));
    json.n--;
    buf_add_c(&json, ",\"x64\":\"v\"}");
    assert_null(event_from_json(buf_str(&json), &e));
    assert_string_equal(e.text, "event: more than 64 extension attributes");
    json.n--;
    for (int i = 65; i < 100; i++)
        buf_printf(&json, ",\"x%d\":\"v\"", i);
    buf_add_char(&json, '}');
    assert_null(event_from_json(buf_str(&json), &e));
    assert_string_equal(e.text, "event: 104 members, the most is 80");
    buf_free(&json);
}

static void say_bad(void *ctx, size_t index, const char *why)
{
    buf_printf(ctx, "%zu: %s\n", index, why);
}

TEST(batches)
{
    const struct event *out[3];
    struct err e = { "" };
    assert_int_equal(event_from_json_batch(STR("[]"), out, 3, &e), 0);
    assert_int_equal(event_from_json_batch(STR(" [{" REQUIRED "} , {" REQUIRED ",\"x\":\"2\"}]"), out, 2, &e), 2);
    assert_str(event_attribute(out[1], STR("x")), "2");
    event_unref(out[0]);
    event_unref(out[1]);
    assert_int_equal(event_from_json_batch(STR("[{" REQUIRED "},{" REQUIRED "},{" REQUIRED "}]"), out, 2, &e), -1);
    assert_string_equal(e.text, "event batch: more than 2 events");
    assert_int_equal(event_from_json_batch(STR("[{" REQUIRED "},{}]"), out, 2, &e), -1);
    assert_string_equal(e.text, "event batch[1]: event attribute specversion is missing");
    assert_int_equal(event_from_json_batch(STR("{" REQUIRED "}"), out, 2, &e), -1);
    assert_string_equal(e.text, "event batch: not an array");
    assert_int_equal(event_from_json_batch(STR("[{" REQUIRED "},]"), out, 2, &e), -1);
    assert_int_equal(event_from_json_batch(STR("[7]"), out, 2, &e), -1);
    struct buf said = buf_new(500);
    assert_int_equal(event_from_json_each(STR("[7,{" REQUIRED "},{}]"), out, 3, say_bad, &said, &e), 3);
    assert_null(out[0]);
    assert_null(out[2]);
    event_unref(out[1]);
    assert_says(buf_c(&said), "0: ");
    assert_says(buf_c(&said), "2: event attribute specversion is missing\n");
    assert_int_equal(event_from_json_each(STR("[7,7]"), out, 1, say_bad, &said, &e), -1);
    assert_int_equal(event_from_json_each(STR("[{" REQUIRED "},"), out, 3, say_bad, &said, &e), -1);
    buf_free(&said);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(to_json_and_back),
                                        cmocka_unit_test(data_by_its_type),
                                        cmocka_unit_test(too_small_a_buffer),
                                        cmocka_unit_test(what_may_stand_there),
                                        cmocka_unit_test(a_byte_order_mark_is_skipped),
                                        cmocka_unit_test(a_broken_trace_is_left_out),
                                        cmocka_unit_test(data_forms),
                                        cmocka_unit_test(what_is_refused),
                                        cmocka_unit_test(too_many_members),
                                        cmocka_unit_test(batches) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
