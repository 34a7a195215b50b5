/* SPDX-License-Identifier: MIT */
/* Tokens: which match, which do not, and where they stand in a header. */
#include "bridge/auth/token.h"
#include "tests/support/test.h"

static struct tokens *set_of(const char *const *valid)
{
    struct tokens *t = tokens_new();
    for (size_t i = 0; valid[i]; i++)
        tokens_add(t, str_of(valid[i]), i + 10);
    return t;
}

TEST(every_valid_token_matches)
{
    static const char *const valid[] = { "one", "two", "a longer one, with spaces and \xc3\xa4", NULL };
    struct tokens *t = set_of(valid);
    size_t id = 0;
    for (size_t i = 0; valid[i]; i++) {
        assert_true(tokens_match(t, str_of(valid[i]), &id));
        assert_int_equal(id, i + 10);
    }
    assert_true(tokens_match(t, str_of(valid[0]), NULL)); /* again: matching changes nothing */
    assert_false(tokens_match(t, STR("three"), &id));
    assert_int_equal(id, 12);
    tokens_free(t);
}

TEST(nothing_else_matches)
{
    static const char *const valid[] = { "one", "two", NULL };
    static const char *const others[] = { "on", "onee", "ONE", "onetwo", " one", "three", "\xff\xfe" };
    struct tokens *t = set_of(valid);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(tokens_match(t, str_of(others[i]), NULL));
    assert_false(tokens_match(t, ((struct str){ "one\0", 4 }), NULL)); /* bytes, not C strings */
    tokens_free(t);
}

TEST(very_long_tokens_match)
{
    static char token[100000];
    memset(token, 'x', sizeof token);
    struct tokens *t = tokens_new();
    tokens_add(t, (struct str){ token, sizeof token }, 0);
    assert_true(tokens_match(t, (struct str){ token, sizeof token }, NULL));
    assert_false(tokens_match(t, (struct str){ token, sizeof token - 1 }, NULL));
    token[sizeof token - 1] = 'y';
    assert_false(tokens_match(t, (struct str){ token, sizeof token }, NULL));
    tokens_free(t);
}

TEST(an_empty_token_matches_nothing)
{
    struct tokens *t = tokens_new();
    assert_false(tokens_match(t, STR("one"), NULL)); /* an empty set */
    assert_false(tokens_match(t, STR(""), NULL));
    tokens_add(t, STR(""), 0);
    tokens_add(t, STR_ABSENT, 0);
    assert_false(tokens_match(t, STR(""), NULL));
    assert_false(tokens_match(t, STR_ABSENT, NULL));
    tokens_free(t);
    tokens_free(NULL);
}

TEST(the_token_of_an_authorization_header)
{
    static const struct {
        const char *header, *token;
        bool basic;
    } cases[] = {
        { "Bearer one", "one", false },
        { "bearer one", "one", false },
        { "BEARER \t one \t", "one", false },
        { "Bearer a b", "a b", false },
        { "Bearer ", "", false },
        { "Bearer", NULL, false },
        { "Bearerone", NULL, false },
        { " Bearer one", NULL, false },
        { "Basic b25lOm9uZQ==", NULL, false },
        { "one", NULL, false },
        { "", NULL, false },
        { NULL, NULL, false },
        { "basic b25lOm9uZQ==", "b25lOm9uZQ==", true },
        { "Bearer one", NULL, true },
        { "Basic", NULL, true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct str token = token_of_authorization(str_of(cases[i].header), cases[i].basic ? "Basic" : "Bearer");
        assert_int_equal(token.at != NULL, cases[i].token != NULL);
        assert_true(str_eq(token, str_of(cases[i].token)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_valid_token_matches),
        cmocka_unit_test(nothing_else_matches),
        cmocka_unit_test(very_long_tokens_match),
        cmocka_unit_test(an_empty_token_matches_nothing),
        cmocka_unit_test(the_token_of_an_authorization_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
