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
    struct wire_records w;
    char *text = wire_write(&r, 1);
    assert_true(wire_read(str_of(text), &w));
    assert_true(str_eq(w.at[0].topic, r.topic));
    assert_int_equal(w.at[0].timestamp_ms, r.timestamp_ms);
    assert_int_equal(w.at[0].partition, -1);
    assert_true(w.at[0].key.at && w.at[0].key.n == 0);
    assert_true(str_eq(w.at[0].value, r.value));
    assert_int_equal(w.at[0].header_count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_true(str_eq(w.at[0].headers[i].name, headers[i].name));
        assert_true(str_eq(w.at[0].headers[i].value, headers[i].value));
    }
    assert_null(w.at[0].headers[2].value.at);
    wire_free(&w);
    free(text);
}

TEST(an_absent_value_stays_absent)
{
    struct wire_records w;
    char *text = wire_write(&(struct record){ .topic = STR("t") }, 1);
    assert_true(wire_read(str_of(text), &w));
    assert_null(w.at[0].key.at);
    assert_null(w.at[0].value.at);
    assert_int_equal(w.at[0].header_count, 0);
    wire_free(&w);
    free(text);
}

TEST(several_come_back_in_their_order)
{
    const struct header header = { STR("h"), STR("v") };
    const struct record records[] = { { .topic = STR("a"), .headers = &header, .header_count = 1 },
                                      { .topic = STR("b"), .value = STR("x"), .headers = &header, .header_count = 1 } };
    struct wire_records w;
    char *text = wire_write(records, 2);
    assert_true(wire_read(str_of(text), &w));
    assert_int_equal(w.count, 2);
    assert_true(str_eq(w.at[0].topic, STR("a")) && str_eq(w.at[1].topic, STR("b")));
    assert_true(str_eq(w.at[1].headers[0].value, STR("v")) && str_eq(w.at[1].value, STR("x")));
    wire_free(&w);
    free(text);
}

TEST(one_in_no_list_is_a_record)
{
    struct wire_records w;
    assert_true(wire_read(STR("{\"topic\": \"t\", \"key\": null, \"value\": null, \"headers\": []}"), &w));
    assert_int_equal(w.count, 1);
    wire_free(&w);
}

TEST(what_a_group_is_owed)
{
    struct wire_owed w;
    char *text = wire_write_owed("g.old", "ai.\"x\"");
    assert_true(wire_read_owed(str_of(text), &w));
    assert_string_equal(w.group, "g.old");
    assert_string_equal(w.topic, "ai.\"x\"");
    wire_free_owed(&w);
    free(text);
    static const char *const texts[] = { "", "[]", "{\"group\": \"g\"}", "{\"group\": 1, \"topic\": \"t\"}" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_false(wire_read_owed(str_of(texts[i]), &w));
        wire_free_owed(&w);
    }
}

TEST(what_is_no_record_is_refused)
{
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "[7]",
        "[{\"topic\": \"t\", \"key\": null, \"value\": null, \"headers\": []}, {}]",
        "{}",
        "{\"topic\": 3, \"key\": null, \"value\": null, \"headers\": []}",
        "{\"topic\": \"t\", \"value\": null, \"headers\": []}",
        "{\"topic\": \"t\", \"key\": \"not base64!\", \"value\": null, \"headers\": []}",
        "{\"topic\": \"t\", \"key\": null, \"value\": 7, \"headers\": []}",
        "{\"topic\": \"t\", \"key\": null, \"value\": null, \"headers\": [\"x\"]}",
        "{\"topic\": \"t\", \"key\": null, \"value\": null, \"headers\": [[\"eA==\"]]}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct wire_records w;
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
        cmocka_unit_test(several_come_back_in_their_order),
        cmocka_unit_test(one_in_no_list_is_a_record),
        cmocka_unit_test(what_a_group_is_owed),
        cmocka_unit_test(what_is_no_record_is_refused),
    };
    return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
