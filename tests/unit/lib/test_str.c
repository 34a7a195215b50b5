/* SPDX-License-Identifier: MIT */
/* Borrowed strings. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/str.h"
#include "tests/support/test.h"

TEST(comparing)
{
    assert_true(str_eq(STR("a"), STR("a")) && str_eq(STR(""), STR_ABSENT));
    assert_false(str_eq(STR("a"), STR("A")) || str_eq(STR("a"), STR("ab")));
    assert_true(str_starts(STR("abc"), STR("ab")) && str_starts(STR("abc"), STR(""))
                && str_starts(STR_ABSENT, STR_ABSENT));
    assert_false(str_starts(STR("ab"), STR("abc")) || str_starts(STR("abc"), STR("b")));
    assert_true(str_ends(STR("abc"), STR("bc")) && str_ends(STR("abc"), STR("")));
    assert_false(str_ends(STR("bc"), STR("abc")) || str_ends(STR("abc"), STR("b")));
    assert_true(str_eq_nocase(STR("Content-TYPE"), STR("content-type")));
    assert_false(str_eq_nocase(STR("[a"), STR("{a")) || str_eq_nocase(STR("\xc3\x89"), STR("\xc3\xa9"))
                 || str_eq_nocase(STR("a"), STR("ab")));
    assert_true(str_starts_nocase(STR("CE-id"), STR("ce-")));
    assert_false(str_starts_nocase(STR("ce"), STR("ce-")));
    assert_null(str_of(NULL).at);
    assert_int_equal(str_of("abc").n, 3);
}

TEST(trimming)
{
    assert_true(str_eq(str_trim(STR(" \t a b \t")), STR("a b")));
    assert_true(str_eq(str_trim(STR("  ")), STR("")));
    assert_true(str_eq(str_trim(STR("\na\r")), STR("\na\r")));
    assert_int_equal(str_trim(STR_ABSENT).n, 0);
}

TEST(cutting)
{
    struct str piece, rest = STR("a,,b,");
    static const char *const pieces[] = { "a", "", "b", "" };
    for (size_t i = 0; i < 4; i++) {
        assert_true(str_cut(&rest, ',', &piece));
        assert_true(str_eq(piece, str_of(pieces[i])));
    }
    assert_false(str_cut(&rest, ',', &piece));
    rest = STR("");
    assert_true(str_cut(&rest, ',', &piece));
    assert_int_equal(piece.n, 0);
    assert_false(str_cut(&rest, ',', &piece));
}

TEST(numbers)
{
    static const char *const not_unsigned[] = {
        "", "-1", "+1", " 1", "1 ", "1a", "0x1", "18446744073709551616", "99999999999999999999"
    };
    static const char *const not_signed[] = {
        "", "-", "--1", "+1", "9223372036854775808", "-9223372036854775809", "1.0"
    };
    uint64_t u = 7;
    int64_t i = 7;
    assert_true(str_to_u64(STR("0"), &u) && u == 0);
    assert_true(str_to_u64(STR("007"), &u) && u == 7);
    assert_true(str_to_u64(STR("18446744073709551615"), &u) && u == UINT64_MAX);
    assert_true(str_to_i64(STR("9223372036854775807"), &i) && i == INT64_MAX);
    assert_true(str_to_i64(STR("-9223372036854775808"), &i) && i == INT64_MIN);
    assert_true(str_to_i64(STR("-0"), &i) && i == 0);
    u = 5, i = 5;
    for (size_t k = 0; k < sizeof not_unsigned / sizeof *not_unsigned; k++)
        assert_false(str_to_u64(str_of(not_unsigned[k]), &u));
    for (size_t k = 0; k < sizeof not_signed / sizeof *not_signed; k++)
        assert_false(str_to_i64(str_of(not_signed[k]), &i));
    assert_true(u == 5 && i == 5);
}

TEST(utf8)
{
    const struct str good[] = { STR(""),
                                STR("plain ascii, longer than eight"),
                                STR("\0"),
                                STR("\xc2\x80"),
                                STR("\xdf\xbf"),
                                STR("\xe0\xa0\x80"),
                                STR("\xed\x9f\xbf"),
                                STR("\xee\x80\x80"),
                                STR("\xef\xbf\xbf"),
                                STR("\xf0\x90\x80\x80"),
                                STR("\xf4\x8f\xbf\xbf"),
                                STR("1234567\xc3\xa9 12345678\xf0\x9f\x98\x80") };
    const struct str bad[] = { STR("\x80"),
                               STR("\xbf"),
                               STR("\xc0\x80"),
                               STR("\xc1\xbf"),
                               STR("\xc2"),
                               STR("\xc2\x41"),
                               STR("\xe0\x9f\xbf"),
                               STR("\xe1\x80"),
                               STR("\xed\xa0\x80"),
                               STR("\xf0\x8f\xbf\xbf"),
                               STR("\xf4\x90\x80\x80"),
                               STR("\xf5\x80\x80\x80"),
                               STR("\xff"),
                               STR("\xfe"),
                               STR("1234567\xc3"),
                               STR("12345678\xff"),
                               STR("\xe2\x82\x41"),
                               STR("\xf0\x9f\x98\x41") };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(str_is_utf8(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(str_is_utf8(bad[i]));
    assert_int_equal(str_utf8_length(STR("a\xff")), 1);
    assert_int_equal(str_utf8_length(STR("\xe2\x82\xac")), 3);
    assert_int_equal(str_utf8_length(STR("\xe2\x82")), 0);
    assert_int_equal(str_utf8_length(STR("")), 0);
}

TEST(copying)
{
    char *copy = str_dup((struct str){ "abcdef", 3 });
    assert_string_equal(copy, "abc");
    free(copy);
    copy = str_dup(STR_ABSENT);
    assert_string_equal(copy, "");
    free(copy);
}

TEST(nearest)
{
    static const char *const names[] = { "type", "topic", "topics", "timeout", "filter", "url", NULL };
    static const char *const cases[][2] = { { "tpye", "type" },        { "topik", "topic" },   { "TIMEOUT", "timeout" },
                                            { "time_out", "timeout" }, { "fliter", "filter" }, { "filters", "filter" },
                                            { "topicss", "topics" },   { "ulr", "url" },       { "topics", "topics" } };
    static const char *const far[] = {
        "",    "x",        "ab",
        "sql", "password", "completely different from all of them, and longer than any name should ever be"
    };
    static const char *const none[] = { NULL };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(str_nearest(str_of(cases[i][0]), names), cases[i][1]);
    for (size_t i = 0; i < sizeof far / sizeof *far; i++)
        assert_null(str_nearest(str_of(far[i]), names));
    assert_null(str_nearest(STR("type"), none));
    static const char *const long_names[] = { "document.removed", NULL };
    assert_null(
        str_nearest(STR("document.ready"), long_names)); /* what is the same does not make up for what differs */
    assert_string_equal(str_nearest(STR("document.remvd"), long_names), "document.removed");
}

/* What turns text around or breaks its lines is not fit to be shown; what joins letters is. */
TEST(what_may_be_shown)
{
    static const char *const shown[] = { " ",
                                         "~",
                                         "\xc2\xa0",
                                         "\xc3\xa9",
                                         "\xd8\xa7",
                                         "\xd8\x9d",
                                         "\xe2\x80\x8d",
                                         "\xe2\x80\x90",
                                         "\xe2\x80\xaf",
                                         "\xe2\x81\xa0",
                                         "\xe2\x81\xaa",
                                         "\xe2\x82\xac",
                                         "\xf0\x9f\x98\x80" },
                             *const hidden[] = { "",
                                                 "\n",
                                                 "\x1f",
                                                 "\x7f",
                                                 "\x80",
                                                 "\xc2\x80",
                                                 "\xc2\x9f",
                                                 "\xd8\x9c",
                                                 "\xe2\x80\x8e",
                                                 "\xe2\x80\x8f",
                                                 "\xe2\x80\xa8",
                                                 "\xe2\x80\xa9",
                                                 "\xe2\x80\xaa",
                                                 "\xe2\x80\xae",
                                                 "\xe2\x81\xa6",
                                                 "\xe2\x81\xa9",
                                                 "\xe2\x80",
                                                 "ab" };
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
        assert_true(str_is_shown(str_of(shown[i])));
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        assert_false(str_is_shown(str_of(hidden[i])));
    char text[] = "a\nb \xe2\x80\xae\xd8\x9c|\xff|\xc2\x9b|\xe2\x82\xac\x1b[0m";
    str_make_shown(text);
    assert_string_equal(text, "a b ??|?|?|\xe2\x82\xac [0m");
}

TEST(hashing)
{
    size_t buckets[8] = { 0 };
    assert_true(str_hash(STR("a")) == str_hash((struct str){ "ab", 1 }));
    assert_true(str_hash(STR("a")) != str_hash(STR("b")) && str_hash(STR("")) != str_hash(STR("\0")));
    assert_true(str_hash(STR("workspace_chats/17"))
                == UINT64_C(0xcd3b9935959d10b2)); /* stable across runs and versions */
    for (int i = 0; i < 8000; i++) {
        char text[16];
        snprintf(text, sizeof text, "key-%d", i);
        buckets[str_hash(str_of(text)) % 8]++;
    }
    for (size_t i = 0; i < 8; i++)
        assert_in_range(buckets[i], 800, 1200);
}

/* What Kafka's own clients make of them (UtilsTest.testMurmur2), without the sign. */
TEST(keys_hash_as_on_kafka)
{
    const struct {
        const char *key;
        int32_t hash;
    } known[] = {
        { "21", -973932308 },
        { "foobar", -790332482 },
        { "a-little-bit-long-string", -985981536 },
        { "a-little-bit-longer-string", -1486304829 },
        { "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971 },
        { "abc", 479470107 },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_int_equal(str_kafka_hash(str_of(known[i].key)), (uint32_t)known[i].hash & 0x7fffffff);
    assert_true(str_kafka_hash(STR("")) <= INT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(keys_hash_as_on_kafka),
                                        cmocka_unit_test(comparing),
                                        cmocka_unit_test(trimming),
                                        cmocka_unit_test(cutting),
                                        cmocka_unit_test(numbers),
                                        cmocka_unit_test(utf8),
                                        cmocka_unit_test(copying),
                                        cmocka_unit_test(nearest),
                                        cmocka_unit_test(what_may_be_shown),
                                        cmocka_unit_test(hashing) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
