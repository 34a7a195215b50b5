/* SPDX-License-Identifier: MIT */
/* Events in HTTP messages: percent-encoding, binary and structured mode. */
#include <stdio.h>
#include <stdlib.h>
#include "tests/support/event.h"
#include "tests/support/test.h"

TEST(encoding)
{
    static const char *const cases[][2] = { { "Euro \xe2\x82\xac \xf0\x9f\x98\x80", "Euro%20%E2%82%AC%20%F0%9F%98%80" },
                                            { "", "" },
                                            { "100%", "100%25" },
                                            { "a\"b", "a%22b" },
                                            { "!#$&'()*+,-./:;<=>?@[\\]^_`{|}~", "!#$&'()*+,-./:;<=>?@[\\]^_`{|}~" },
                                            { "\x7f", "%7F" },
                                            { "\xc3\xa9", "%C3%A9" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = buf_new(100);
        event_http_encode(&out, str_of(cases[i][0]));
        assert_string_equal(buf_c(&out), cases[i][1]);
        buf_free(&out);
    }
}

static const struct event *with_subject(struct str value, struct err *e)
{
    const struct header headers[] = { { STR("ce-specversion"), STR("1.0") },
                                      { STR("ce-id"), STR("1") },
                                      { STR("ce-source"), STR("/s") },
                                      { STR("ce-type"), STR("t") },
                                      { STR("ce-subject"), value } };
    return event_from_http(headers, 5, STR_ABSENT, e);
}

TEST(decoding)
{
    static const char *const cases[][2] = { { "Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro \xe2\x82\xac \xf0\x9f\x98\x80" },
                                            { "%65%78", "ex" },
                                            { "%2520", "%20" },
                                            { "%e2%82%ac", "\xe2\x82\xac" },
                                            { "\"a b\"", "a b" },
                                            { "\"a\\\"b\\\\c\"", "a\"b\\c" },
                                            { "\"%20x\"", " x" },
                                            { "\"\\%20\"", " " },
                                            { "100% sure", "100% sure" },
                                            { "50%", "50%" },
                                            { "%4", "%4" },
                                            { "%zz", "%zz" },
                                            { "\"open", "\"open" },
                                            { "open\"", "open\"" },
                                            { "  trimmed\t", "trimmed" },
                                            { "\"", "\"" },
                                            { "Euro \xe2\x82\xac raw", "Euro \xe2\x82\xac raw" },
                                            { "%22q%22", "\"q\"" },
                                            { "\"a\\\"", "a\\" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = { "" };
        const struct event *ev = with_subject(str_of(cases[i][0]), &e);
        assert_string_equal(e.text, "");
        assert_str(ev->subject, cases[i][1]);
        event_unref(ev);
    }
    static const char *const bad[] = { "%C0%A0", "%ED%A0%80", "%FF",  "a%00b", "%0A",
                                       "%7F",    "%EF%BF%BF", "\xff", "\"\"",  "" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_null(with_subject(str_of(bad[i]), NULL));
}

TEST(there_and_back)
{
    struct header kafka[EVENT_HEADERS], http[EVENT_HEADERS];
    char names[EVENT_HEADERS][32];
    struct buf values[EVENT_HEADERS];
    const struct event *ev = event_born(&event_full);
    size_t n = event_to_headers(ev, kafka);
    for (size_t i = 0; i < n; i++) {
        bool attribute = str_starts(kafka[i].name, STR("ce_"));
        snprintf(names[i], sizeof names[i], "%s%.*s", attribute ? "Ce-" : "",
                 STR_ARG(str_from(kafka[i].name, attribute ? 3 : 0)));
        values[i] = buf_new(1000);
        event_http_encode(&values[i], kafka[i].value);
        http[i] = (struct header){ str_of(names[i]), attribute ? buf_str(&values[i]) : kafka[i].value };
    }
    const struct event *back = event_from_http(http, n, ev->data, NULL);
    assert_events_equal(back, ev);
    event_unref(back);
    event_unref(ev);
    for (size_t i = 0; i < n; i++)
        buf_free(&values[i]);
}

/* After the conformance suite's http-protocol-binding.feature. */
TEST(binary)
{
    const struct header headers[] = { { STR("Host"), STR("localhost") },
                                      { STR("Content-Type"), STR("application/json; charset=utf-8") },
                                      { STR("CE-SpecVersion"), STR("1.0") },
                                      { STR("ce-type"), STR("com.example.someevent") },
                                      { STR("ce-time"), STR("2018-04-05T03:56:24Z") },
                                      { STR("ce-id"), STR("1234-1234-1234") },
                                      { STR("ce-source"), STR("/mycontext/subcontext") },
                                      { STR("Ce-ComExampleExtension10"), STR("v") },
                                      { STR("traceparent"), STR("hop") },
                                      { STR("cex"), STR("x") } };
    enum { COUNT = sizeof headers / sizeof *headers };
    struct err e = { "" };
    const struct event *ev = event_from_http(headers, COUNT - 3, STR("{\"message\": \"Hello World!\"}"), &e);
    assert_string_equal(e.text, "");
    assert_str(ev->type, "com.example.someevent");
    assert_str(ev->time, "2018-04-05T03:56:24Z");
    assert_str(ev->id, "1234-1234-1234");
    assert_str(ev->source, "/mycontext/subcontext");
    assert_str(ev->datacontenttype, "application/json; charset=utf-8");
    assert_str(ev->data, "{\"message\": \"Hello World!\"}");
    event_unref(ev);
    ev = event_from_http(headers, COUNT - 2, STR(""), &e); /* more than 20 characters: only SHOULD NOT */
    assert_non_null(ev);
    assert_str(event_attribute(ev, STR("comexampleextension10")), "v");
    event_unref(ev);
    char name[3 + EVENT_NAME_BYTES + 2];
    memset(name, 'N', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    memcpy(name, "ce-", 3);
    struct header too_long[COUNT];
    memcpy(too_long, headers, sizeof headers);
    too_long[7].name = str_of(name);
    assert_null(event_from_http(too_long, COUNT, STR(""), &e));
    assert_non_null(strstr(e.text, "a name has 1 to 128 characters a to z and 0 to 9"));
}

TEST(extensions_and_no_body)
{
    const struct header headers[] = { { STR("ce-specversion"), STR("1.0") }, { STR("ce-id"), STR("1") },
                                      { STR("ce-source"), STR("/s") },       { STR("ce-type"), STR("t") },
                                      { STR("Ce-MyExt"), STR("a%20b") },     { STR("ce-empty"), STR("") },
                                      { STR("traceparent"), STR("hop") },    { STR("ce-traceparent"), STR("start") } };
    const struct event *ev = event_from_http(headers, 8, STR(""), NULL);
    assert_non_null(ev);
    assert_null(ev->data.at);
    assert_null(ev->datacontenttype.at);
    assert_int_equal(ev->extension_count, 3);
    assert_str(event_attribute(ev, STR("myext")), "a b");
    assert_str(event_attribute(ev, STR("empty")), "");
    assert_str(event_attribute(ev, STR("traceparent")), "start");
    event_unref(ev);
}

TEST(structured)
{
    const struct header headers[] = { { STR("CONTENT-TYPE"), STR(" Application/CloudEvents+json; charset=utf-8") },
                                      { STR("ce-id"), STR("ignored") } };
    struct err e = { "" };
    const struct event *
        ev = event_from_http(headers, 2,
                             STR("{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\",\"data\":[]}"),
                             &e);
    assert_string_equal(e.text, "");
    assert_str(ev->id, "1");
    assert_str(ev->data, "[]");
    event_unref(ev);
}

TEST(refused)
{
    const struct header good[] = { { STR("ce-specversion"), STR("1.0") },
                                   { STR("ce-id"), STR("1") },
                                   { STR("ce-source"), STR("/s") },
                                   { STR("ce-type"), STR("t") } };
    const struct {
        struct header header;
        const char *why;
    } cases[] = {
        { { STR("content-type"), STR("application/cloudevents-batch+json") },
          "event: content type \"application/cloudevents-batch+json\" is not one event in JSON" },
        { { STR("content-type"), STR("application/cloudevents+json") }, "event: not JSON: byte 0: there is nothing" },
        { { STR("ce-id"), STR("1") }, "event attribute id stands twice" },
        { { STR("Ce-ID"), STR("1") }, "event attribute id stands twice" },
        { { STR("ce-"), STR("1") }, "event attribute \"\": a name has 1 to 128 characters a to z and 0 to 9" },
        { { STR("ce-a_b"), STR("1") }, "event attribute \"a_b\": a name has 1 to 128 characters a to z and 0 to 9" },
        { { STR("ce-data"), STR("1") }, "event attribute \"data\": a name has 1 to 128 characters a to z and 0 to 9" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct header headers[5] = { good[0], good[1], good[2], good[3], cases[i].header };
        struct err e = { "" };
        assert_null(event_from_http(headers, 5, STR(""), &e));
        assert_string_equal(e.text, cases[i].why);
    }
    for (size_t missing = 0; missing < 4; missing++) {
        struct header headers[3];
        for (size_t i = 0, n = 0; i < 4; i++)
            if (i != missing)
                headers[n++] = good[i];
        assert_null(event_from_http(headers, 3, STR(""), NULL));
    }
    assert_null(event_from_http(NULL, 0, STR("{}"), NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(encoding),
                                        cmocka_unit_test(decoding),
                                        cmocka_unit_test(there_and_back),
                                        cmocka_unit_test(binary),
                                        cmocka_unit_test(extensions_and_no_body),
                                        cmocka_unit_test(structured),
                                        cmocka_unit_test(refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
