/* SPDX-License-Identifier: MIT */
/* Secrets: what is evidently not one, and what key a good one makes. */
#include "bridge/auth/secret.h"
#include "tests/support/test.h"

#define BASE64 "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" /* 24 bytes */

TEST(slips_are_refused_with_the_fix)
{
    static const char *const cases[][2] = {
        { "", "is empty" },
        { "v1,whsec_" BASE64, "leave that away" },
        { "V1,Whsec_" BASE64, "leave that away" },
        { "v1," BASE64, "is a signature (v1" },
        { "v1a," BASE64, "is a signature (v1a" },
        { "sha256=757107ea0eb2509fc211221cce984b8a37570b6d", "is a signature (sha256" },
        { "\"whsec_" BASE64 "\"", "in quotes" },
        { "'whsec_" BASE64 "'", "in quotes" },
        { "\"\"", "in quotes" },
        { "Whsec_" BASE64, "in lower case" },
        { "WHSEC_" BASE64, "in lower case" },
        { "whsk_" BASE64, "v1a (whsk_)" },
        { "whpk_" BASE64, "v1a (whpk_)" },
        { " whsec_" BASE64, "a blank or a line break" },
        { "whsec_" BASE64 "\n", "a blank or a line break" },
        { "\twhsec_" BASE64, "a blank or a line break" },
        { "${WEBHOOK_SECRET_OF_MINE}", "not replaced" },
        { "Bearer a-token-of-some-length", "begins with the word Bearer" },
        { "fifteen letters", "has 15 characters, the least is 16" },
        { "whsec-" BASE64, "something like whsec_: write whsec_" },
        { "wh_sec_" BASE64, "something like whsec_: write whsec_" },
        { "WH-SEC_" BASE64, "something like whsec_: write whsec_" },
        { "whsec:" BASE64, "something like whsec_: write whsec_" },
        { "TOKEN=" BASE64, "a name and a =" },
        { "GITHUB_SECRET=" BASE64, "a name and a =" },
        { "api_key=" BASE64, "a name and a =" },
        { "export A=" BASE64, "begins with export" },
        { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "fewer than 5 different characters" },
        { "0000000000000000000000000000000000000000000000000000000000000000", "fewer than 5 different characters" },
        { "abcdabcdabcdabcdabcdabcdabcd", "fewer than 5 different characters" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = { "" };
        assert_false(secret_check(str_of(cases[i][0]), SECRET_LEAST, &e));
        if (!strstr(e.text, cases[i][1]))
            fail_msg("%s: %s", cases[i][0], e.text);
        assert_null(strstr(e.text, BASE64));
        assert_null(secret_hmac(str_of(cases[i][0]), &e)); /* as a key, too */
    }
}

TEST(good_ones)
{
    static const char *const cases[] = { "sixteen letters.",     "It's a Secret to Everybody",
                                         "\"half quoted secret", "blanks in the middle of it",
                                         ("whsec_" BASE64),      "AB=" BASE64,
                                         (BASE64 "="),           "SOMETHINGTHATLOOKSLIKEBASE64====",
                                         "whsecret-of-mine-000", "abc=def=ghi=jkl=mno" };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_true(secret_check(str_of(cases[i]), SECRET_LEAST, NULL));
}

static void signs_like(const char *secret, const char *key)
{
    unsigned char mine[SHA256_BYTES], wanted[SHA256_BYTES];
    struct err e = { "" };
    struct hmac *h = secret_hmac(str_of(secret), &e);
    if (!h)
        fail_msg("%s", e.text);
    hmac_sign(h, &STR("text"), 1, mine);
    hmac_free(h);
    h = hmac_new(str_of(key));
    hmac_sign(h, &STR("text"), 1, wanted);
    hmac_free(h);
    assert_memory_equal(mine, wanted, SHA256_BYTES);
}

TEST(keys)
{
    signs_like("whsec_YSBrZXkgb2YgZW5vdWdoIGJ5dGVzLi4u", "a key of enough bytes...");
    signs_like("whsec_YSBrZXkgb2YgZW5vdWdoIGJ5dGVzLi4uLg", "a key of enough bytes...."); /* unpadded */
    signs_like("a raw key of 24 letters.", "a raw key of 24 letters.");
    static const char *const bad[][2] = {
        { "whsec_", "makes a key of 0 bytes" },
        { "whsec_not base64!", "something else than base64" },
        { "whsec_YWJjZGVmZ2hpamtsbW5vcA==", "makes a key of 16 bytes" },
        { "whsec_-_KQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "something else than base64" },
        { "a raw key of 23 letters", "makes a key of 23 bytes" },
        { "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "fewer than 5 different" },
        { "whsec_AAECAwABAgMAAQIDAAECAwABAgMAAQID", "fewer than 5 different bytes" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = { "" };
        assert_null(secret_hmac(str_of(bad[i][0]), &e));
        if (!strstr(e.text, bad[i][1]))
            fail_msg("%s: %s", bad[i][0], e.text);
    }
    char long_one[SECRET_KEY_MOST + 2];
    for (size_t i = 0; i < sizeof long_one; i++)
        long_one[i] = (char)('a' + i % 26);
    assert_null(secret_hmac((struct str){ long_one, SECRET_KEY_MOST + 1 }, NULL));
    struct hmac *h = secret_hmac((struct str){ long_one, SECRET_KEY_MOST }, NULL);
    assert_non_null(h);
    hmac_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slips_are_refused_with_the_fix),
        cmocka_unit_test(good_ones),
        cmocka_unit_test(keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
