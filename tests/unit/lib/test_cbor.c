/* SPDX-License-Identifier: MIT */
/* CBOR of JSON and back: bytes as RFC 8949 says them, and what is refused. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/cbor.h"
#include "bridge/lib/mem.h"
#include "tests/support/test.h"

static const struct {
    const char *json, *hex;
} equal[] = {
    { "0", "00" },
    { "23", "17" },
    { "24", "1818" },
    { "1000", "1903e8" },
    { "1000000", "1a000f4240" },
    { "18446744073709551615", "1bffffffffffffffff" },
    { "-1", "20" },
    { "-1000", "3903e7" },
    { "-18446744073709551615", "3bfffffffffffffffe" },
    { "1.5", "fb3ff8000000000000" },
    { "-4.1", "fbc010666666666666" },
    { "1e+300", "fb7e37e43c8800759c" },
    { "true", "f5" },
    { "false", "f4" },
    { "null", "f6" },
    { "\"\"", "60" },
    { "\"a\"", "6161" },
    { "\"\\\"\\\\\"", "62225c" },
    { "\"\xc3\xbc\"", "62c3bc" },
    { "[]", "80" },
    { "[1,[2,3],[4,5]]", "8301820203820405" },
    { "{}", "a0" },
    { "{\"a\":1,\"b\":[2,3]}", "a26161016162820203" },
    /* numbers that are no 64 bits: as they are */
    { "18446744073709551616", "d9010654"
                              "3138343436373434303733373039353531363136" },
    { "1e999", "d9010645"
               "3165393939" },
};

static void hex_of(struct str bytes, char *out)
{
    for (size_t i = 0; i < bytes.n; i++)
        snprintf(out + 2 * i, 3, "%02x", (unsigned char)bytes.at[i]);
    out[2 * bytes.n] = '\0';
}

/* The bytes in a block of exactly their size, so that a sanitizer sees a read past the end. */
static struct str bytes_of(const char *hex)
{
    size_t n = strlen(hex) / 2;
    char *at = mem_alloc(n + 1), two[3] = "";
    at = mem_grow(at, n ? n : 1, 1);
    for (size_t i = 0; i < n; i++) {
        memcpy(two, hex + 2 * i, 2);
        at[i] = (char)strtol(two, NULL, 16);
    }
    return (struct str){ at, n };
}

static void expect_json(const char *hex, const char *json)
{
    struct buf out = buf_new(4096);
    struct err e = { "" };
    struct str bytes = bytes_of(hex);
    if (!cbor_to_json(bytes, &out, &e))
        fail_msg("%s: %s", hex, e.text);
    assert_string_equal(buf_c(&out), json);
    buf_free(&out);
    free((char *)bytes.at);
}

TEST(json_and_cbor_say_the_same)
{
    for (size_t i = 0; i < sizeof equal / sizeof *equal; i++) {
        struct buf out = buf_new(4096);
        char hex[256];
        cbor_add_json(&out, str_of(equal[i].json));
        assert_false(out.failed);
        hex_of(buf_str(&out), hex);
        assert_string_equal(hex, equal[i].hex);
        expect_json(hex, equal[i].json);
        buf_free(&out);
    }
}

TEST(what_else_is_understood)
{
    expect_json("1800", "0"); /* not the shortest */
    expect_json("f93e00", "1.5");
    expect_json("f90001", "5.9604644775390625e-08");
    expect_json("fa47c35000", "100000");
    expect_json("3bffffffffffffffff", "-18446744073709551616");
    expect_json("f7", "null");
    expect_json("4401020304", "\"AQIDBA==\"");
    expect_json("d9010643"
                "5b315d",
                "[1]");
    expect_json("d9010667"
                "7b2261223a317d",
                "{\"a\":1}");
    expect_json("c074"
                "323031332d30332d32315432303a30343a30305a",
                "\"2013-03-21T20:04:00Z\"");
    expect_json("d9d9f7a0", "{}");
    expect_json("a2616101616102", "{\"a\":1,\"a\":2}");
    expect_json("6100", "\"\\u0000\"");
}

TEST(what_is_refused_is_named)
{
    static const char *const cases[][2] = {
        { "", "byte 0: it ends in the middle" },
        { "18", "byte 0: it ends in the middle" },
        { "1c", "no head of an item" },
        { "5f41014102ff", "indefinite" },
        { "9fff", "indefinite" },
        { "6261", "shorter than it says" },
        { "7bffffffffffffffff61", "shorter than it says" },
        { "9bffffffffffffffff", "ends in the middle" },
        { "62c328", "no UTF-8" },
        { "a10102", "name is no text" },
        { "a161", "shorter than it says" },
        { "a16161", "ends in the middle" },
        { "f97c00", "infinite" },
        { "fb7ff8000000000000", "infinite" },
        { "f820", "simple value" },
        { "e0", "simple value" },
        { "c11a514b67b0", "tag before it is not known" },
        { "d9010601", "stands before bytes" },
        { "d90106417b", "embedded JSON before it is none" },
        { "0000", "something follows" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = buf_new(4096);
        struct err e = { "" };
        struct str bytes = bytes_of(cases[i][0]);
        assert_false(cbor_to_json(bytes, &out, &e));
        if (!strstr(e.text, cases[i][1]))
            fail_msg("%s: %s", cases[i][0], e.text);
        buf_free(&out);
        free((char *)bytes.at);
    }
}

TEST(depth_and_length_are_bounded)
{
    struct buf deep = buf_new(4096), out = buf_new(4096);
    struct err e = { "" };
    for (int i = 0; i < 300; i++)
        buf_add_char(&deep, (char)0x81);
    buf_add_char(&deep, 0);
    assert_false(cbor_to_json(buf_str(&deep), &out, &e));
    assert_non_null(strstr(e.text, "within each other"));
    buf_free(&out);
    out = buf_new(8);
    assert_false(cbor_to_json((struct str){ "\x69"
                                            "123456789",
                                            10 },
                              &out, &e));
    assert_non_null(strstr(e.text, "longer than 8 bytes"));
    buf_free(&deep);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_and_cbor_say_the_same),
        cmocka_unit_test(what_else_is_understood),
        cmocka_unit_test(what_is_refused_is_named),
        cmocka_unit_test(depth_and_length_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
