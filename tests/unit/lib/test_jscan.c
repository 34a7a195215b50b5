/* SPDX-License-Identifier: MIT */
/* What is JSON and what is not, and the ways into it. */
#include <stdlib.h>
#include "bridge/lib/jscan.h"
#include "bridge/lib/mem.h"
#include "tests/support/test.h"

/* In a block of exactly its size, so that a sanitizer sees a read past the end. */
static bool check(struct str text, struct err *e)
{
    char *exact = mem_alloc(text.n);
    struct jscan_value value;
    if (text.n > 0)
        memcpy(exact, text.at, text.n);
    bool ok = jscan_check((struct str){ exact, text.n }, &value, e);
    free(exact);
    return ok;
}

TEST(json)
{
    const struct str cases[] = {
        STR("null"),
        STR("true"),
        STR("false"),
        STR("0"),
        STR("-0"),
        STR("-1"),
        STR("10"),
        STR("1.5"),
        STR("0.25e-10"),
        STR("1E+2"),
        STR("1e400"),
        STR("18446744073709551616"),
        STR("\"\""),
        STR("\"a\""),
        STR("[]"),
        STR("{}"),
        STR("[1]"),
        STR("[1,2,[3]]"),
        STR("{\"a\":1}"),
        STR("{\"a\":{\"b\":[{}]},\"a\":2}"),
        STR(" \t\r\n{ \"a\" : [ 1 , 2 ] } \n"),
        STR("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\""),
        STR("\"\\u0000\""),
        STR("\"\\ud83d\\ude00\""),
        STR("\"\\uD83D\\uDE00\""),
        STR("\"\x7f\""),
        STR("\"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\""),
        STR("\"\xef\xbf\xbf\""),
        STR("\"\xed\x9f\xbf\xee\x80\x80\""),
        STR("\"\xf4\x8f\xbf\xbf\""),
        STR("\"\xc2\x80\""),
        STR("\"a long string of plain bytes, longer than sixteen, with an end\""),
        STR("{\"\":0}"),
        STR("[\"\xef\xbb\xbf\"]"),
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = { "" };
        if (!check(cases[i], &e))
            fail_msg("%.*s: %s", STR_ARG(cases[i]), e.text);
    }
}

TEST(not_json)
{
    const struct str cases[] = {
        STR(""),
        STR(" "),
        STR("nul"),
        STR("nulll"),
        STR("True"),
        STR("NaN"),
        STR("Infinity"),
        STR("-Infinity"),
        STR("undefined"),
        STR("'a'"),
        STR("[1,]"),
        STR("[,1]"),
        STR("[,]"),
        STR("[1,,2]"),
        STR("{\"a\":1,}"),
        STR("{,}"),
        STR("[1 2]"),
        STR("{\"a\" 1}"),
        STR("{\"a\":}"),
        STR("{\"a\"}"),
        STR("{a:1}"),
        STR("{1:1}"),
        STR("{'a':1}"),
        STR("{\"a\":1 \"b\":2}"),
        STR("// c\n1"),
        STR("/* c */1"),
        STR("1//"),
        STR("{\"a\":/*c*/1}"),
        STR("1 2"),
        STR("{}{}"),
        STR("[]]"),
        STR("{}}"),
        STR("]"),
        STR("}"),
        STR("[}"),
        STR("{]"),
        STR("["),
        STR("{"),
        STR("[1"),
        STR("{\"a\""),
        STR("{\"a\":"),
        STR("{\"a\":1"),
        STR("{\"a\":1,"),
        STR("\""),
        STR("\"a"),
        STR("\"\\"),
        STR("\"\\\""),
        STR("\"\\u12"),
        STR("1."),
        STR(".5"),
        STR("-"),
        STR("+1"),
        STR("01"),
        STR("-01"),
        STR("00"),
        STR("1e"),
        STR("1e+"),
        STR("1.e1"),
        STR("0x10"),
        STR("1_000"),
        STR("--1"),
        STR("\"a\nb\""),
        STR("\"a\tb\""),
        STR("\"a\0b\""),
        STR("\"\x1f\""),
        STR("\"\\x41\""),
        STR("\"\\'\""),
        STR("\"\\u12g4\""),
        STR("\"\\U0041\""),
        STR("\"\\ud800\""),
        STR("\"\\udc00\""),
        STR("\"\\ud800\\u0041\""),
        STR("\"\\ud800\\ud800\""),
        STR("\"\\udc00\\ud800\""),
        STR("\"\\ud800a\""),
        STR("\"\\0\""),
        STR("\"\xff\""),
        STR("\"\x80\""),
        STR("\"\xc3\""),
        STR("\"\xc3\x28\""),
        STR("\"\xc0\xaf\""),
        STR("\"\xc1\xbf\""),
        STR("\"\xe0\x80\xaf\""),
        STR("\"\xe0\x9f\xbf\""),
        STR("\"\xf0\x8f\xbf\xbf\""),
        STR("\"\xed\xa0\x80\""),
        STR("\"\xed\xbf\xbf\""),
        STR("\"\xf4\x90\x80\x80\""),
        STR("\"\xf5\x80\x80\x80\""),
        STR("\"\xe2\x82\""),
        STR("\"\xf0\x9f\x98\""),
        STR("\"\xf8\x88\x80\x80\x80\""),
        STR("\"\xe2\x82"),
        STR("\xef\xbb\xbf{}"),
        STR("1\0"),
        STR("\0"),
        STR("[1]\0"),
        STR("{\"a\":1}x"),
        STR("\x0b[]"),
        STR("\x0c[]"),
        STR("\xc2\xa0[]"),
        STR("\xff\xfe[\0]\0"),
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = { "" };
        if (check(cases[i], &e))
            fail_msg("case %zu was taken: %.*s", i, STR_ARG(cases[i]));
        assert_string_not_equal(e.text, "");
    }
    assert_false(check(STR_ABSENT, NULL));
}

/* Every place of the special byte within and around a block of sixteen. */
TEST(blocks)
{
    for (size_t n = 0; n < 70; n++) {
        char text[80] = { '"' };
        memset(text + 1, 'x', n);
        text[n + 1] = '"';
        assert_true(check((struct str){ text, n + 2 }, NULL));
        assert_false(check((struct str){ text, n + 1 }, NULL));
        for (size_t i = 1; i <= n; i++) {
            text[i] = '\x01';
            assert_false(check((struct str){ text, n + 2 }, NULL));
            text[i] = '\xff';
            assert_false(check((struct str){ text, n + 2 }, NULL));
            text[i] = '"';
            assert_int_equal(check((struct str){ text, n + 2 }, NULL), false);
            text[i] = 'x';
        }
    }
}

TEST(depth)
{
    char text[2 * (JSCAN_DEPTH + 1)];
    memset(text, '[', JSCAN_DEPTH + 1);
    memset(text + JSCAN_DEPTH + 1, ']', JSCAN_DEPTH + 1);
    struct err e = { "" };
    assert_true(check((struct str){ text + 1, sizeof text - 2 }, &e));
    assert_false(check((struct str){ text, sizeof text }, &e));
    assert_string_equal(e.text, "not JSON: byte 256: nested too deep");
}

TEST(errors_say_where)
{
    static const char *const cases[][2] = {
        { "[1,]", "not JSON: byte 3: a value was expected" },
        { "{\"a\":1,}", "not JSON: byte 7: a member's name in quotes was expected" },
        { "{} x", "not JSON: byte 3: something follows the value" },
        { "  ", "not JSON: byte 2: there is nothing" },
        { "[1", "not JSON: byte 2: a comma or ] was expected" },
        { "{\"a\":1.}", "not JSON: byte 7: a digit was expected" },
        { "\xef\xbb\xbf{}", "not JSON: byte 0: a byte order mark is not allowed" },
        { "\"ab", "not JSON: byte 3: a string without an end" },
        { "\"\\ud800\"", "not JSON: byte 1: a \\u escape that is not a character" },
        { "\"\xff\"", "not JSON: byte 1: bytes that are not UTF-8" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = { "" };
        assert_false(check(str_of(cases[i][0]), &e));
        assert_string_equal(e.text, cases[i][1]);
    }
}

static bool is(struct str s, const char *text)
{
    return str_eq(s, str_of(text));
}

TEST(members_of_an_object)
{
    struct jscan_member m[3];
    struct err e;
    assert_int_equal(jscan_object(STR(" { \"a\" : 1 , \"b\\\"\":[ 2 ] ,\"\":{\"x\":null}, \"a\":\"s\"} "), m, 3, &e),
                     4);
    assert_true(is(m[0].name, "a") && m[0].value.type == JSCAN_NUMBER && is(m[0].value.raw, "1"));
    assert_true(is(m[1].name, "b\\\"") && m[1].value.type == JSCAN_ARRAY && is(m[1].value.raw, "[ 2 ]"));
    assert_true(is(m[2].name, "") && m[2].value.type == JSCAN_OBJECT && is(m[2].value.raw, "{\"x\":null}"));
    assert_int_equal(jscan_object(STR("{}"), m, 3, &e), 0);
    assert_int_equal(jscan_object(STR("{\"a\":true}"), NULL, 0, &e), 1);
    assert_int_equal(jscan_object(STR("[1]"), m, 3, &e), -1);
    assert_string_equal(e.text, "JSON, but not an object");
    assert_int_equal(jscan_object(STR("[1"), m, 3, &e), -1);
    assert_string_equal(e.text, "not JSON: byte 2: a comma or ] was expected");
    assert_int_equal(jscan_object(STR("{\"a\":1}{}"), m, 3, &e), -1);
    assert_int_equal(jscan_object(STR("{\"a\":1"), m, 3, &e), -1);
    assert_int_equal(jscan_object(STR(""), m, 3, &e), -1);
}

static struct jscan_value checked(const char *text)
{
    struct jscan_value value;
    struct err e;
    if (!jscan_check(str_of(text), &value, &e))
        fail_msg("%s: %s", text, e.text);
    return value;
}

TEST(elements_of_an_array)
{
    struct jscan_value array = checked(" [ 1 ,\"a]\",[ [] ],{\"b\":[]} , null] "), element;
    static const char *const raw[] = { "1", "\"a]\"", "[ [] ]", "{\"b\":[]}", "null" };
    const char *at = array.raw.at;
    for (size_t i = 0; i < 5; i++) {
        assert_true(jscan_next(array, &at, &element));
        assert_true(is(element.raw, raw[i]));
    }
    assert_int_equal(element.type, JSCAN_NULL);
    assert_false(jscan_next(array, &at, &element));
    array = checked("[ ]");
    at = array.raw.at;
    assert_false(jscan_next(array, &at, &element));
    array = checked("7");
    at = array.raw.at;
    assert_false(jscan_next(array, &at, &element));
}

TEST(unescaping)
{
    struct buf out = buf_new(1000);
    jscan_unescape(&out,
                   checked("\"a\\\"\\\\\\/\\b\\f\\n\\r\\tz\\u0041\\u00e9\\u20AC\\ud83d\\ude00\\u0000-\xc3\xa9\"").raw);
    assert_true(str_eq(buf_str(&out), STR("a\"\\/\b\f\n\r\tzA\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\0-\xc3\xa9")));
    buf_reset(&out);
    jscan_unescape(&out, STR("\"\""));
    assert_int_equal(out.n, 0);
    jscan_unescape(&out, STR("\"\\udbff\\udfff\\ud800\\udc00\\ud7ff\\ue000\\uffff\\u007f\\u0080\\u07ff\\u0800\""));
    assert_true(str_eq(
        buf_str(&out),
        STR("\xf4\x8f\xbf\xbf\xf0\x90\x80\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80")));
    buf_free(&out);
}

TEST(adding_strings)
{
    const struct {
        struct str in;
        const char *out;
    } cases[] = {
        { STR(""), "\"\"" },
        { STR("plain, and longer than sixteen bytes"), "\"plain, and longer than sixteen bytes\"" },
        { STR("\"\\/\b\f\n\r\t\x01\x1f\0"), "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\\u0000\"" },
        { STR("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"), "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"" },
        { STR("a\xff\xc3z\xe2\x82"), "\"a\xef\xbf\xbd\xef\xbf\xbdz\xef\xbf\xbd\xef\xbf\xbd\"" },
        { STR("\xc2\x9b\xc2\xa0"), "\"\\u009b\xc2\xa0\"" },
        { STR("\xe2\x80\xae\xe2\x81\xa9\xd8\x9c\xe2\x80\xa8\xe2\x80\x8d"),
          "\"\\u202e\\u2069\\u061c\\u2028\xe2\x80\x8d\"" },
        { STR_ABSENT, "\"\"" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = buf_new(1000);
        jscan_add_string(&out, cases[i].in);
        assert_string_equal(buf_c(&out), cases[i].out);
        assert_true(check(buf_str(&out), NULL));
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json),
        cmocka_unit_test(not_json),
        cmocka_unit_test(blocks),
        cmocka_unit_test(depth),
        cmocka_unit_test(errors_say_where),
        cmocka_unit_test(members_of_an_object),
        cmocka_unit_test(elements_of_an_array),
        cmocka_unit_test(unescaping),
        cmocka_unit_test(adding_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
