/* SPDX-License-Identifier: MIT */
/* Long text in lines of at most 100 columns. */
#include "bridge/lib/wrap.h"
#include <string.h>
#include "tests/support/test.h"

static char printed[4096];

static FILE *begin(void)
{
    memset(printed, 0, sizeof printed);
    return fmemopen(printed, sizeof printed, "w");
}

#define TEN   "123456789 "
#define FIFTY TEN TEN TEN TEN TEN

TEST(lines_are_broken_at_blanks)
{
    FILE *out = begin();
    wrap_print(FIFTY FIFTY "end", 6, out);
    wrap_print("", 6, out);
    fclose(out);
    assert_string_equal(printed, "      " FIFTY TEN TEN TEN "123456789\n      " TEN "end\n      \n");
}

TEST(the_first_line_has_room_behind_what_stands_there)
{
    FILE *out = begin();
    wrap_print_behind(FIFTY "end", fprintf(out, "%-50s", "name"), 4, out);
    wrap_print_behind("short", 200, 4, out);
    fclose(out);
    char want[256];
    snprintf(want, sizeof want, "%-50s%s\n    end\nshort\n", "name", TEN TEN TEN TEN "123456789");
    assert_string_equal(printed, want);
}

TEST(a_long_word_stays_whole)
{
    char word[121];
    memset(word, 'x', 120);
    word[120] = '\0';
    FILE *out = begin();
    fprintf(out, "%s", "a ");
    wrap_print_behind(word, 2, 0, out);
    wrap_print("b", 0, out);
    fclose(out);
    assert_int_equal(strcspn(printed, "\n"), 122);
    assert_string_equal(printed + 122, "\nb\n");
}

TEST(a_page_keeps_what_fits)
{
    static const char
        page[] = "A paragraph\nof two lines.\n\nExamples:\n  aqueduct run    runs\n  aqueduct check  checks\n";
    FILE *out = begin();
    wrap_print_page(page, out);
    fclose(out);
    assert_string_equal(printed, page);
}

TEST(a_page_breaks_what_is_too_long)
{
    FILE *out = begin();
    wrap_print_page("Words\n" FIFTY FIFTY "x\nmore\n  name      " FIFTY FIFTY "y\n  " FIFTY FIFTY "z", out);
    fclose(out);
    assert_string_equal(printed, "Words " FIFTY TEN TEN TEN "123456789\n" TEN "x more\n"
                                 "  name      " FIFTY TEN TEN "123456789\n            " TEN TEN "y\n"
                                 "  " FIFTY TEN TEN TEN "123456789\n    " TEN "z\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_broken_at_blanks),
        cmocka_unit_test(the_first_line_has_room_behind_what_stands_there),
        cmocka_unit_test(a_long_word_stays_whole),
        cmocka_unit_test(a_page_keeps_what_fits),
        cmocka_unit_test(a_page_breaks_what_is_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
