/* SPDX-License-Identifier: MIT */
/* A record as JSON and back: nothing changes on the way, and what is no record is refused. */
#include <stdlib.h>
#include "bridge/admin/wire.h"
#include "tests/support/test.h"

TEST(a_record_comes_back_as_it_was)
{
    const struct header headers[] = { { STR("ce_id"), STR("e-1") },
                                      { STR("raw"), STR("\0\xff") },
                                      { STR("no"), { 0 } } };
    const struct record r = { .topic = STR("ai.chats"),
                              .timestamp_ms = 1700000000123,
                              .key = STR(""),
                              .value = STR("{\"n\":\"\xc3\xa9\"}"),
                              .headers = headers,
                              .header_count = 3 };
    struct wire_record w;
    char *text = wire_write(&r);
    assert_true(wire_read(str_of(text), &w));
    assert_true(str_eq(w.record.topic, r.topic));
    assert_int_equal(w.record.timestamp_ms, r.timestamp_ms);
    assert_int_equal(w.record.partition, -1);
    assert_true(w.record.key.at && w.record.key.n == 0);
    assert_true(str_eq(w.record.value, r.value));
    assert_int_equal(w.record.header_count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_true(str_eq(w.record.headers[i].name, headers[i].name));
        assert_true(str_eq(w.record.headers[i].value, headers[i].value));
    }
    assert_null(w.record.headers[2].value.at);
    wire_free(&w);
    free(text);
}

TEST(an_absent_value_stays_absent)
{
    struct wire_record w;
    char *text = wire_write(&(struct record){ .topic = STR("t") });
    assert_true(wire_read(str_of(text), &w));
    assert_null(w.record.key.at);
    assert_null(w.record.value.at);
    assert_int_equal(w.record.header_count, 0);
    wire_free(&w);
    free(text);
}

TEST(what_is_no_record_is_refused)
{
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "{}",
        "{\"topic\": 3, \"key\": null, \"value\": null, \"headers\": []}",
        "{\"topic\": \"t\", \"value\": null, \"headers\": []}",
        "{\"topic\": \"t\", \"key\": \"not base64!\", \"value\": null, \"headers\": []}",
        "{\"topic\": \"t\", \"key\": null, \"value\": 7, \"headers\": []}",
        "{\"topic\": \"t\", \"key\": null, \"value\": null, \"headers\": [\"x\"]}",
        "{\"topic\": \"t\", \"key\": null, \"value\": null, \"headers\": [[\"eA==\"]]}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct wire_record w;
        if (wire_read(str_of(texts[i]), &w))
            fail_msg("taken: %s", texts[i]);
        wire_free(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_comes_back_as_it_was),
        cmocka_unit_test(an_absent_value_stays_absent),
        cmocka_unit_test(what_is_no_record_is_refused),
    };
    return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
