/* SPDX-License-Identifier: MIT */
/* The growing buffer, and error texts. */
#include "bridge/lib/buf.h"
#include "bridge/lib/err.h"
#include "tests/support/test.h"

TEST(growing)
{
    struct buf b = buf_new(10000);
    for (int i = 0; i < 1000; i++)
        buf_printf(&b, "%03d,", i);
    assert_int_equal(b.n, 4000);
    assert_memory_equal(b.at + 3996, "999,", 4);
    buf_add(&b, NULL, 0);
    buf_add_c(&b, "");
    buf_add_str(&b, STR_ABSENT);
    assert_int_equal(b.n, 4000);
    assert_false(b.failed);
    buf_free(&b);
    assert_null(b.at);
    buf_add_char(&b, 'x'); /* usable again, with the same maximum */
    assert_string_equal(buf_c(&b), "x");
    buf_free(&b);
}

TEST(the_maximum_is_sticky)
{
    struct buf b = buf_new(4);
    buf_add_c(&b, "abcd");
    assert_false(b.failed);
    assert_string_equal(buf_c(&b), "abcd");
    buf_add_char(&b, 'e');
    assert_true(b.failed);
    assert_int_equal(b.n, 4);
    assert_null(buf_c(&b));
    assert_null(buf_room(&b, 0));
    buf_reset(&b);
    buf_add_c(&b, "abcde"); /* adds nothing rather than a part */
    assert_int_equal(b.n, 0);
    buf_add_c(&b, "a"); /* and stays failed */
    assert_int_equal(b.n, 0);
    buf_reset(&b);
    buf_printf(&b, "%s", "wxyz");
    assert_string_equal(buf_c(&b), "wxyz");
    buf_printf(&b, "%d", 1);
    assert_true(b.failed);
    buf_free(&b);
}

TEST(room_for_the_caller)
{
    struct buf b = buf_new(8);
    assert_null(buf_room(&b, 9));
    buf_reset(&b);
    assert_null(buf_room(&b, SIZE_MAX));
    buf_reset(&b);
    char *room = buf_room(&b, 8);
    memcpy(room, "12345678", 8);
    b.n += 8;
    assert_string_equal(buf_c(&b), "12345678");
    buf_free(&b);
}

TEST(dropping)
{
    struct buf b = buf_new(10);
    buf_drop(&b, 0);
    buf_add_c(&b, "abcdef");
    buf_drop(&b, 2);
    assert_string_equal(buf_c(&b), "cdef");
    buf_drop(&b, 4);
    assert_string_equal(buf_c(&b), "");
    assert_true(str_eq(buf_str(&b), STR("")));
    buf_free(&b);
}

TEST(a_zeroed_buffer)
{
    struct buf b = { 0 };
    assert_non_null(buf_str(&b).at);
    buf_add_char(&b, 'x');
    assert_true(b.failed);
    buf_free(&b);
}

TEST(error_texts)
{
    struct err e;
    assert_false(err_set(&e, "%s: \"%d parsecs\"", "timeout", 5));
    assert_string_equal(e.text, "timeout: \"5 parsecs\"");
    assert_false(err_prefix(&e, "sinks.%s", "crm"));
    assert_string_equal(e.text, "sinks.crm: timeout: \"5 parsecs\"");
    assert_false(err_set(&e, "again: %s", e.text)); /* its own text as an argument */
    assert_string_equal(e.text, "again: sinks.crm: timeout: \"5 parsecs\"");
    assert_false(err_set(NULL, "x") || err_prefix(NULL, "x"));
    char big[2000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    err_set(&e, "%s", big);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    err_prefix(&e, "p");
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    assert_memory_equal(e.text, "p: xxx", 6);
    err_prefix(&e, "%s", big);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(growing),  cmocka_unit_test(the_maximum_is_sticky), cmocka_unit_test(room_for_the_caller),
        cmocka_unit_test(dropping), cmocka_unit_test(a_zeroed_buffer),       cmocka_unit_test(error_texts)
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
