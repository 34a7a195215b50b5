/* SPDX-License-Identifier: MIT */
/* Texts and moments as JSON. */
#include <stdlib.h>
#include "bridge/lib/json.h"
#include "tests/support/test.h"

static void is(json_t *j, const char *text)
{
    char *got = json_dumps(j, JSON_ENCODE_ANY | JSON_COMPACT);
    assert_string_equal(got, text);
    free(got);
    json_decref(j);
}

TEST(values)
{
    is(json_of_text(STR("a\"b")), "\"a\\\"b\"");
    is(json_of_text(STR("")), "\"\"");
    is(json_of_text(STR_ABSENT), "null");
    is(json_of_text(STR("\xff")), "\"?\"");
    is(json_of_moment(1700000000000), "\"2023-11-14T22:13:20.000Z\"");
    is(json_of_moment(0), "null");
}

TEST(numbers_are_short_and_exact)
{
    static const char *const numbers[][2] = {
        { "[0.201]", "[0.201]" },
        { "[0.1,-1.5,2.0]", "[0.1,-1.5,2.0]" },
        { "[1e300]", "[1e+300]" },
        { "[0.30000000000000004]", "[0.30000000000000004]" },
        { "{\"a 0.20100000000000001\":0.201}", "{\"a 0.20100000000000001\":0.201}" },
        { "[\"\\\"0.20100000000000001\",0.7]", "[\"\\\"0.20100000000000001\",0.7]" },
        { "[9007199254740993,0,-3]", "[9007199254740993,0,-3]" },
        { "[0.000001,123456.789]", "[1e-06,123456.789]" },
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        json_t *j = json_loads(numbers[i][0], 0, NULL);
        char *text = json_short(j, JSON_COMPACT);
        assert_string_equal(text, numbers[i][1]);
        free(text);
        json_decref(j);
    }
}

TEST(members)
{
    struct buf out = buf_new(1000);
    buf_add_c(&out, "{");
    json_add_text(&out, "a", STR("x{"));
    json_add_text(&out, "b", STR_ABSENT);
    json_add_moment(&out, "c", 1700000000000);
    json_add_moment(&out, "d", 0);
    assert_string_equal(buf_c(&out), "{\"a\":\"x{\",\"b\":null,\"c\":\"2023-11-14T22:13:20.000Z\",\"d\":null");
    buf_free(&out);
}

TEST(text_of_a_member)
{
    json_t *j = json_pack("{s:s, s:i}", "a", "x", "b", 1);
    assert_string_equal(json_text(j, "a"), "x");
    assert_string_equal(json_text(j, "b"), "");
    assert_string_equal(json_text(j, "c"), "");
    assert_string_equal(json_text(NULL, "a"), "");
    json_decref(j);
}

TEST(a_text_is_in_a_list_once)
{
    json_t *list = json_pack("[i, s]", 1, "x");
    assert_true(json_has(list, "x"));
    assert_false(json_has(list, "y") || json_has(NULL, "x"));
    json_add_once(list, "x");
    json_add_once(list, "y");
    json_add_once(list, "y");
    assert_int_equal(json_array_size(list), 3);
    assert_true(json_has(list, "y"));
    json_decref(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(values), cmocka_unit_test(members),
                                        cmocka_unit_test(numbers_are_short_and_exact),
                                        cmocka_unit_test(text_of_a_member),
                                        cmocka_unit_test(a_text_is_in_a_list_once) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
