/* SPDX-License-Identifier: MIT */
/* Secrets: what is evidently not one, and what key a good one makes. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bridge/auth/secret_files.h"
#include "tests/support/folder.h"
#include "tests/support/metric.h"
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
        { "secret: " BASE64, "a name and a = or :" },
        { "./secrets/crm-secret-file.txt", "is the path of a file" },
        { "../secrets/github", "is the path of a file" },
        { "/run/secrets/crm-webhook", "is the path of a file" },
        { "/run/secrets/github-webhook-secret", "${file:...}" },
        { "file:/run/secrets/github", "${file:...}" },
        { "`cat /run/secrets/crm-secret`", "in backticks" },
        { "$(cat /run/secrets/crm-secret)", "a command, $(...)" },
        { "$SECRET_OF_THE_GITHUB_HOOK", "a variable that was not replaced" },
        { "before${WEBHOOK_SECRET}behind", "a variable that was not replaced" },
        { "${A:-b}", "not replaced" },
        { "op://vault/item/crm-secret-field", "is a URL" },
        { "https://example.com/abcdefghijk", "is a URL" },
        { "postgres://u:p@h/db-name-here", "is a URL" },
        { "-----BEGIN PRIVATE KEY-----abcdef", "(-----BEGIN)" },
        { "!vault |abcdefghijklmnopqrstuvwxyz", "Ansible Vault" },
        { "whsec_whsec_" BASE64, "whsec_ twice" },
        { "__CRM_WEBHOOK_SECRET__HERE__", "a placeholder, __" },
        { "<your-secret-goes-here-please>", "a placeholder, <" },
        { "{{SECRET_TOKEN_FROM_TEMPLATE}}", "a placeholder, {{" },
        { "%SECRET_TOKEN_VALUE_HERE%", "a placeholder, %" },
        { "TODO: put the secret in here", "a placeholder" },
        { "insert-your-secret-here-now", "a placeholder" },
        { "your_secret_goes_here_1234", "a placeholder" },
        { "changeme-or-else-123456", "a placeholder" },
        { "REPLACE_ME_WITH_A_REAL_SECRET", "a placeholder" },
        { "undefinedundefinedundefined", "a word again and again" },
        { "CRM_SECRET_CRM_SECRET_CRM", "a word again and again" },
        { "None-None-None-None-None-None", "a word again and again" },
        { "test-test-secret-1234567", "a word again and again" },
        { "abcdefghijklmnopqrstuvwxyz", "an alphabet" },
        { "0123456789012345678901234567", "again and again" },
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
    struct err e = { "" };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (!secret_check(str_of(cases[i]), SECRET_LEAST, &e))
            fail_msg("%s: %s", cases[i], e.text);
}

/* Characters drawn at random, from several alphabets, are a secret: a rule that refuses one in a while is a bad rule. */
TEST(random_ones_are_good)
{
    static const char *const alphabets[] = {
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
        "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
        "0123456789abcdef",
        "0123456789ABCDEF",
        "abcdefghijklmnopqrstuvwxyz234567",
        "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~",
    };
    uint64_t random = 88172645463325252u;
    for (int i = 0; i < 200000; i++) {
        const char *letters = alphabets[i % (int)(sizeof alphabets / sizeof *alphabets)];
        char text[64];
        size_t n = 24 + (size_t)i / 7 % 41, kinds = strlen(letters);
        for (size_t k = 0; k < n; k++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            text[k] = letters[(random >> 11) % kinds];
        }
        struct err e = { "" };
        if (!secret_check((struct str){ text, n }, SECRET_LEAST, &e))
            fail_msg("%.*s: %s", (int)n, text, e.text);
    }
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
        long_one[i] = (char)('!' + (i * i + i / 7) % 90);
    assert_null(secret_hmac((struct str){ long_one, SECRET_KEY_MOST + 1 }, NULL));
    struct hmac *h = secret_hmac((struct str){ long_one, SECRET_KEY_MOST }, NULL);
    assert_non_null(h);
    hmac_free(h);
}

TEST(names_of_secrets)
{
    static const char *const yes[] = { "password",     "Password_Hash", "apiKey",        "x-api-key",
                                       "clientSecret", "accessToken",   "refresh_token", "mfaRecoveryCodes",
                                       "private_key",  "token" };
    static const char *const no[] = {
        "id", "input_tokens", "token_count", "keyboard", "key", "passenger", "author", ""
    };
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        if (!secret_is_name(str_of(yes[i])))
            fail_msg("%s", yes[i]);
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        if (secret_is_name(str_of(no[i])))
            fail_msg("%s", no[i]);
}

/* ---- secrets that come from files ---- */

static char folder[FOLDER_BYTES], path[FOLDER_BYTES + 16];

static void write_secret(const char *text, mode_t mode)
{
    char fresh[sizeof path + 8];
    snprintf(fresh, sizeof fresh, "%s.new", path);
    FILE *f = fopen(fresh, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(fresh, mode), 0);
    assert_int_equal(rename(fresh, path), 0);
}

struct taker {
    char texts[256]; /* of all secrets, each with a blank behind it */
    int times;
    bool refuses;
};

static bool take(void *ctx, const struct secrets *now, struct err *e)
{
    struct taker *t = ctx;
    t->times++;
    if (t->refuses)
        return err_set(e, "secrets[0]: is not good");
    t->texts[0] = '\0';
    for (size_t i = 0; i < now->count; i++)
        snprintf(t->texts + strlen(t->texts), sizeof t->texts - strlen(t->texts), "%s ", now->at[i].text);
    return true;
}

/* Two looks: it must have stayed as it is. */
static void look(struct secret_files *f, struct taker *t)
{
    for (int i = 0; i < 2; i++) {
        clock_fake_advance(WATCH_LOOK_MS + 1);
        secret_files_turn(f, take, t, "test");
    }
}

static int64_t reloads(const char *result)
{
    return metric_value(metric_named("aqueduct_reloads_total", LABELS("secrets", "test", result)));
}

TEST(secrets_follow_their_files)
{
    char written[sizeof path + 16];
    clock_fake(1000, 1700000000000);
    folder_make(folder);
    snprintf(path, sizeof path, "%s/secret", folder);
    snprintf(written, sizeof written, "a-${file:%s}", path);
    write_secret("first\n", 0600);
    struct secret list[] = { { .text = (char[]){ "a-first" }, .written = written }, { .text = (char[]){ "fixed" } } };
    const struct secrets secrets = { list, 2 };
    struct secret_files f;
    struct taker t = { .times = 0 };
    secret_files_open(&f, &secrets);
    assert_true(secret_files_any(&f));
    look(&f, &t);
    assert_int_equal(t.times, 0); /* nothing changed */
    write_secret("second\n", 0600);
    clock_fake_advance(WATCH_LOOK_MS + 1);
    secret_files_turn(&f, take, &t, "test");
    assert_int_equal(t.times, 0); /* it may be half written */
    look(&f, &t);
    assert_string_equal(t.texts, "a-second fixed ");
    assert_int_equal(reloads("taken"), 1);
    write_secret("for-all", 0644); /* all users of this machine can read it */
    look(&f, &t);
    unlink(path);
    look(&f, &t);
    look(&f, &t);
    assert_int_equal(reloads("refused"), 2); /* each once */
    assert_string_equal(t.texts, "a-second fixed ");
    t.refuses = true;
    write_secret("third", 0600);
    look(&f, &t);
    assert_int_equal(reloads("refused"), 3);
    t.refuses = false;
    watch_ask(); /* SIGHUP */
    secret_files_turn(&f, take, &t, "test");
    assert_string_equal(t.texts, "a-third fixed ");
    secret_files_close(&f);
    folder_remove(folder);
    clock_real();
}

TEST(secrets_without_files_have_no_news)
{
    struct secret list[] = { { .text = (char[]){ "fixed" } } };
    struct secret_files f;
    struct taker t = { .times = 0 };
    secret_files_open(&f, &(struct secrets){ list, 1 });
    assert_false(secret_files_any(&f));
    watch_ask();
    secret_files_turn(&f, take, &t, "test");
    assert_int_equal(t.times, 0);
    secret_files_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slips_are_refused_with_the_fix),
        cmocka_unit_test(good_ones),
        cmocka_unit_test(random_ones_are_good),
        cmocka_unit_test(keys),
        cmocka_unit_test(names_of_secrets),
        cmocka_unit_test(secrets_follow_their_files),
        cmocka_unit_test(secrets_without_files_have_no_news),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
