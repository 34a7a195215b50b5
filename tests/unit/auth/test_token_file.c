/* SPDX-License-Identifier: MIT */
/* The file of tokens: which lines are good, whose a token is, and that the file is followed. */
#include "bridge/auth/token_file.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "bridge/lib/clock.h"
#include "tests/support/folder.h"
#include "tests/support/test.h"

#define FIRST  "Zm9yLWEtdmlld2Vy4"
#define SECOND "b2YtYW4tb3BlcmF0b3I"

static char folder[FOLDER_BYTES], path[FOLDER_BYTES + 16];

static void put(const char *text, mode_t mode)
{
    FILE *f = fopen(path, "we");
    assert_int_equal(fputs(text, f) >= 0 ? 0 : -1, 0);
    assert_int_equal(fchmod(fileno(f), mode), 0);
    assert_int_equal(fclose(f), 0);
}

static int begin(void **state)
{
    (void)state;
    folder_make(folder);
    snprintf(path, sizeof path, "%s/tokens", folder);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    clock_real();
    folder_remove(folder);
    return 0;
}

static void refused(const char *text, const char *why)
{
    struct err e = { "" };
    put(text, 0600);
    struct token_file *f = token_file_open(path, &e);
    assert_null(f);
    assert_says(e.text, path);
    assert_says(e.text, why);
    if (strstr(e.text, FIRST))
        fail_msg("the error has the token: %s", e.text);
}

TEST(whose_a_token_is)
{
    struct err e = { "" };
    put("# role name token\r\n\n  viewer board@wall " FIRST "  \r\noperator\tanna\t" SECOND, 0600);
    struct token_file *f = token_file_open(path, &e);
    assert_non_null(f);
    const struct token_owner *owner = token_file_match(f, STR(FIRST));
    assert_int_equal(owner->role, ROLE_VIEWER);
    assert_string_equal(owner->name, "board@wall");
    owner = token_file_match(f, STR(SECOND));
    assert_int_equal(owner->role, ROLE_OPERATOR);
    assert_string_equal(owner->name, "anna");
    assert_null(token_file_match(f, STR(FIRST "x")));
    assert_null(token_file_match(f, STR("")));
    token_file_close(f);
}

TEST(lines_that_are_none)
{
    refused("viewer board\n", ":1: is not of the form: role name token");
    refused("# a\nviewer board " FIRST " more\n", ":2: is not of the form");
    refused("admin board " FIRST "\n", "viewer or operator");
    refused("viewer a/b " FIRST "\n", "has a name");
    refused("viewer board short\n", ":1: the token");
    refused("viewer a " FIRST "\noperator b " FIRST "\n", ":2: has the token of an earlier line");
    refused("# nobody\n", "no token stands in it");
}

TEST(others_may_not_read_it)
{
    struct err e = { "" };
    put("viewer board " FIRST "\n", 0644);
    assert_null(token_file_open(path, &e));
    assert_says(e.text, "chmod");
}

TEST(a_file_that_is_not_there)
{
    struct err e = { "" };
    assert_null(token_file_open(path, &e));
    assert_says(e.text, "No such file");
}

/* Looks as long as a file that is being written may rest. */
static bool turns(struct token_file *f)
{
    bool news = false;
    for (int i = 0; i < 3; i++) {
        clock_fake_advance(1001);
        news = token_file_turn(f) || news;
    }
    return news;
}

TEST(the_file_is_followed)
{
    struct err e = { "" };
    clock_fake(1000, 1000);
    put("viewer board " FIRST "\n", 0600);
    struct token_file *f = token_file_open(path, &e);
    const struct token_owner board = *token_file_match(f, STR(FIRST));
    assert_false(turns(f));
    put("operator anna " SECOND "\nnonsense\n", 0600); /* what is wrong changes nothing */
    assert_false(turns(f));
    assert_true(token_file_has(f, &board));
    put("operator anna " SECOND "\n", 0600);
    assert_true(turns(f));
    assert_false(token_file_has(f, &board));
    assert_null(token_file_match(f, STR(FIRST)));
    assert_non_null(token_file_match(f, STR(SECOND)));
    token_file_close(f);
}

#define FILE_TEST(test) cmocka_unit_test_setup_teardown(test, begin, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILE_TEST(whose_a_token_is),         FILE_TEST(lines_that_are_none),  FILE_TEST(others_may_not_read_it),
        FILE_TEST(a_file_that_is_not_there), FILE_TEST(the_file_is_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
