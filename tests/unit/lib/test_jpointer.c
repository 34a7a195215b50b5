/* SPDX-License-Identifier: MIT */
/* JSON pointers: what they lead to, what is refused, and that one pass is as strict as the scanner. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/jpointer.h"
#include "bridge/lib/mem.h"
#include "tests/support/test.h"

enum { PLACES = 600 };

/* What the pointer leads to in the text, as written; "" when that is nothing. In a block of exactly its size, so that a
 * sanitizer sees a read past the end. */
static char *found(const char *pointer, const char *text)
{
    struct err e = { "" };
    struct jscan_value values[PLACES];
    struct jpointers *ps = jpointers_new();
    int number = jpointers_add(ps, str_of(pointer), &e);
    if (number < 0)
        fail_msg("%s: %s", pointer, e.text);
    struct str exact = { mem_alloc(strlen(text) + 1), strlen(text) };
    memcpy((char *)exact.at, text, exact.n);
    assert_true(jpointers_count(ps) <= PLACES);
    if (!jpointers_find(ps, exact, values, &e))
        fail_msg("%s: %s", text, e.text);
    char *out = str_dup(values[number].type == JSCAN_NONE ? STR("") : values[number].raw);
    free((char *)exact.at);
    jpointers_free(ps);
    return out;
}

TEST(where_a_pointer_leads)
{
    static const char rfc[] = "{\"foo\":[\"bar\",\"baz\"],\"\":0,\"a/b\":1,\"c%d\":2,\"e^f\":3,\"g|h\":4,\"i\\\\j\":5,"
                              "\"k\\\"l\":6,\" \":7,\"m~n\":8}"; /* RFC 6901 section 5 */
    static const char *const cases[][3] = {
        { "/foo", rfc, "[\"bar\",\"baz\"]" },
        { "/foo/0", rfc, "\"bar\"" },
        { "/", rfc, "0" },
        { "/a~1b", rfc, "1" },
        { "/c%d", rfc, "2" },
        { "/e^f", rfc, "3" },
        { "/g|h", rfc, "4" },
        { "/i\\j", rfc, "5" },
        { "/k\"l", rfc, "6" },
        { "/ ", rfc, "7" },
        { "/m~0n", rfc, "8" },
        { "", " [1 ] ", "[1 ]" },
        { "", "7", "7" },
        { "/a", "7", "" },
        { "/a/b", "{\"a\":{\"b\":null}}", "null" },
        { "/a/b", "{\"a\":\"b\"}", "" },
        { "/~01", "{\"~1\":1,\"/\":2}", "1" },
        { "/~10", "{\"/0\":1,\"~1\":2}", "1" },
        { "//", "{\"\":{\"\":[1]}}", "[1]" },
        { "/1", "[10,20,30]", "20" },
        { "/3", "[10,20,30]", "" },
        { "/-", "[10,20,30]", "" },
        { "/01", "[10,20,30]", "" },
        { "/00", "[10]", "" },
        { "/+1", "[10,20]", "" },
        { "/1e0", "[10,20]", "" },
        { "/99999999999999999999", "[10]", "" },
        { "/-", "{\"-\":1}", "1" },
        { "/01", "{\"01\":1,\"1\":2}", "1" },
        { "/10", "[0,1,2,3,4,5,6,7,8,9,[10]]", "[10]" },
        { "/2/x/0", "[0,1,{\"x\":[true]}]", "true" },
        { "/a", "{\"\\u0061\":1}", "1" },
        { "/\xc3\xa9", "{\"\\u00E9\":1}", "1" },
        { "/\xf0\x9f\x98\x80", "{\"\\ud83d\\ude00\":\"x\"}", "\"x\"" },
        { "/a~1b", "{\"a\\/b\":1}", "1" },
        { "/\n", "{\"\\n\":1}", "1" },
        { "/\\n", "{\"\\n\":1,\"\\\\n\":2}", "2" },
        { "/a", "{\"a\":1,\"a\":2}", "2" },
        { "/a/b", "{\"a\":{\"b\":1},\"a\":{\"c\":2}}", "" },
        { "/a/b", "{\"a\":{\"b\":1},\"\\u0061\":5}", "" },
        { "/a/b/c", "{\"a\":{\"b\":{\"c\":1},\"b\":{\"c\":2},\"b\":{\"c\":3}}}", "3" },
        { "/a", "{\"A\":1}", "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *got = found(cases[i][0], cases[i][1]);
        if (strcmp(got, cases[i][2]) != 0)
            fail_msg("%s in %s: %s, not %s", cases[i][0], cases[i][1], got, cases[i][2]);
        free(got);
    }
}

TEST(many_in_one_pass)
{
    static const char *const pointers[] = { "/b/1/x", "/b", "/a", "", "/b/0", "/b/1", "/c", "/b/1/x" };
    static const char *const want[] = { "3", "[1,{\"x\":3},4]", "{\"a\":0}", NULL, "1", "{\"x\":3}", NULL, "3" };
    static const char text[] = "{\"a\":{\"a\":0},\"b\":[1,{\"x\":3},4],\"d\":{\"c\":1}}";
    struct jpointers *ps = jpointers_new();
    struct jscan_value values[PLACES];
    int numbers[8];
    for (size_t i = 0; i < 8; i++)
        numbers[i] = jpointers_add(ps, str_of(pointers[i]), NULL);
    assert_int_equal(numbers[0], numbers[7]);
    assert_true(jpointers_find(ps, STR(text), values, NULL));
    for (size_t i = 0; i < 8; i++) {
        struct str raw = values[numbers[i]].raw;
        if (i == 3)
            assert_true(str_eq(raw, STR(text)));
        else
            assert_true(want[i] ? str_eq(raw, str_of(want[i])) : values[numbers[i]].type == JSCAN_NONE);
    }
    jpointers_free(ps);
    jpointers_free(NULL);
}

TEST(as_strict_as_the_scanner_and_then_nothing_is_found)
{
    static const char *const broken[] = { "",
                                          "{\"a\":1",
                                          "{\"a\":1}x",
                                          "{\"a\":1,}",
                                          "{\"a\":1,\"b\":[1 2]}",
                                          "{\"a\":1,\"b\":\"\\x\"}",
                                          "{\"a\":1,b:2}",
                                          "{\"a\":01}",
                                          "\xef\xbb\xbf{\"a\":1}",
                                          "{\"a\":1,\"b\":\"\xff\"}",
                                          "{\"a\":[1,]}" };
    struct jpointers *ps = jpointers_new();
    struct jscan_value values[PLACES], whole;
    int a = jpointers_add(ps, STR("/a"), NULL), first = jpointers_add(ps, STR("/a/0"), NULL);
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        struct err ours = { "" }, scanner = { "" };
        assert_false(jpointers_find(ps, str_of(broken[i]), values, &ours));
        assert_false(jscan_check(str_of(broken[i]), &whole, &scanner));
        assert_string_equal(ours.text, scanner.text);
        assert_true(values[a].type == JSCAN_NONE && values[first].type == JSCAN_NONE);
    }
    jpointers_free(ps);
}

TEST(depth)
{
    char text[2 * JSCAN_DEPTH + 16], pointer[2 * JPOINTER_TOKENS + 1] = "";
    struct err e = { "" };
    struct jscan_value values[PLACES];
    for (int i = 0; i < JPOINTER_TOKENS; i++)
        memcpy(pointer + 2 * i, "/0", 3);
    for (int deep = JSCAN_DEPTH; deep <= JSCAN_DEPTH + 1; deep++) {
        memset(text, '[', (size_t)deep);
        memset(text + deep, ']', (size_t)deep);
        struct jpointers *ps = jpointers_new();
        int last = jpointers_add(ps, str_of(pointer), &e);
        bool good = jpointers_find(ps, (struct str){ text, 2 * (size_t)deep }, values, &e);
        assert_int_equal(good, deep == JSCAN_DEPTH);
        assert_int_equal(values[last].type, good ? JSCAN_ARRAY : JSCAN_NONE);
        jpointers_free(ps);
    }
    assert_non_null(strstr(e.text, "nested too deep"));
}

TEST(refused)
{
    char steps[2 * (JPOINTER_TOKENS + 1) + 1] = "", bytes[JPOINTER_BYTES + 2] = "/";
    for (int i = 0; i <= JPOINTER_TOKENS; i++)
        memcpy(steps + 2 * i, "/0", 3);
    memset(bytes + 1, 'a', JPOINTER_BYTES);
    const char *const cases[][2] = {
        { "a", "a JSON pointer begins with /" },
        { "#/a", "a JSON pointer begins with /" },
        { "/a~", "in a JSON pointer only ~0 (for ~) and ~1 (for /) follow a ~" },
        { "/a~2", "in a JSON pointer only ~0 (for ~) and ~1 (for /) follow a ~" },
        { "/~/a", "in a JSON pointer only ~0 (for ~) and ~1 (for /) follow a ~" },
        { "/\xff", "a JSON pointer that is not UTF-8" },
        { steps, "a JSON pointer of more than 64 steps" },
        { bytes, "a JSON pointer of more than 1024 bytes" },
    };
    struct jpointers *ps = jpointers_new();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = { "" };
        assert_int_equal(jpointers_add(ps, str_of(cases[i][0]), &e), -1);
        assert_string_equal(e.text, cases[i][1]);
    }
    assert_int_equal(jpointers_count(ps), 1); /* the whole text alone */
    bytes[JPOINTER_BYTES] = '\0';
    assert_int_equal(jpointers_add(ps, str_of(bytes), NULL), 1);
    jpointers_free(ps);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(where_a_pointer_leads), cmocka_unit_test(many_in_one_pass),
                                        cmocka_unit_test(as_strict_as_the_scanner_and_then_nothing_is_found),
                                        cmocka_unit_test(depth), cmocka_unit_test(refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
