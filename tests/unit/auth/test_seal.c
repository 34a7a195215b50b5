/* SPDX-License-Identifier: MIT */
/* Sealed texts: they open with their key, for what they are about, unaltered; and by no other way. */
#include "bridge/auth/seal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/support/folder.h"
#include "tests/support/test.h"

#define FIRST  "q0sVw2y7Tn8Jb4LxUe6Zr1Kc9Hd3Pf5MaGiStO0uYkE="
#define SECOND "Zr1Kc9Hd3Pf5MaGiStO0uYkEq0sVw2y7Tn8Jb4LxUe6="

static char folder[FOLDER_BYTES], path[FOLDER_BYTES + 8];

static int setup(void **state)
{
    (void)state;
    folder_make(folder);
    snprintf(path, sizeof path, "%s/key", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

static struct seal_keys *keys(const char *text, struct err *e)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(path, 0600), 0);
    return seal_read(path, e);
}

static char *sealed(const struct seal_keys *k, const char *text, const char *about)
{
    struct buf out = buf_new(4096);
    seal_add(k, str_of(text), str_of(about), &out);
    char *copy = str_dup(buf_str(&out));
    buf_free(&out);
    return copy;
}

/* What comes of it; NULL with *e. */
static char *opened(const struct seal_keys *k, const char *text, const char *about, struct err *e)
{
    struct buf out = buf_new(4096);
    char *copy = seal_open(k, str_of(text), str_of(about), &out, e) ? str_dup(buf_str(&out)) : NULL;
    assert_true(copy || out.n == 0);
    buf_free(&out);
    return copy;
}

static void opens(const struct seal_keys *k, const char *text, const char *want)
{
    struct err e;
    char *got = opened(k, text, "crm/a/1", &e);
    assert_non_null(got);
    assert_string_equal(got, want);
    free(got);
}

TEST(it_opens_with_its_key_and_is_another_one_each_time)
{
    struct err e;
    struct seal_keys *k = keys("# made in spring\r\n\n" FIRST "\n", &e);
    assert_non_null(k);
    char *one = sealed(k, "whsec_abc", "crm/a/1"), *two = sealed(k, "whsec_abc", "crm/a/1"),
         *none = sealed(k, "", "crm/a/1");
    assert_string_not_equal(one, two);
    assert_null(strstr(one, "whsec"));
    opens(k, one, "whsec_abc");
    opens(k, two, "whsec_abc");
    opens(k, none, "");
    free(one), free(two), free(none);
    seal_free(k);
}

TEST(an_older_key_opens_and_the_first_one_seals)
{
    struct err e;
    struct seal_keys *old = keys(FIRST "\n", &e), *both = keys(SECOND "\n" FIRST "\n", &e);
    char *text = sealed(old, "a", "crm/a/1"), *fresh = sealed(both, "b", "crm/a/1");
    opens(both, text, "a");
    opens(both, fresh, "b");
    assert_null(opened(old, fresh, "crm/a/1", &e));
    assert_says(e.text, path);
    assert_says(e.text, seal_id(both));
    assert_says(e.text, "put that key into it again");
    free(text), free(fresh);
    seal_free(old), seal_free(both);
}

TEST(what_was_altered_or_moved_does_not_open)
{
    struct err e;
    struct seal_keys *k = keys(FIRST, &e);
    char *text = sealed(k, "whsec_abc", "crm/a/1");
    assert_null(opened(k, text, "crm/b/1", &e));
    assert_says(e.text, "another one's");
    for (size_t i = 12; text[i + 2]; i++) { /* behind the key's id */
        char was = text[i];
        text[i] = was == 'A' ? 'B' : 'A';
        assert_null(opened(k, text, "crm/a/1", &e));
        text[i] = was;
    }
    assert_null(opened(k, "", "crm/a/1", &e));
    assert_null(opened(k, "no base64", "crm/a/1", &e));
    text[20] = '\0';
    assert_null(opened(k, text, "crm/a/1", &e));
    free(text);
    seal_free(k);
}

TEST(a_file_that_is_no_key_is_refused_with_words)
{
    struct err e;
    assert_null(keys("", &e));
    assert_says(e.text, "has no key: make one with `openssl rand -base64 32`");
    assert_null(keys("# nothing\n", &e));
    assert_null(keys("short\n", &e));
    assert_says(e.text, "key 1");
    assert_null(keys(FIRST "\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n", &e));
    assert_says(e.text, "key 2");
    assert_null(strstr(e.text, "aaaa"));
    assert_null(seal_read("/nowhere/key", &e));
    assert_says(e.text, "/nowhere/key");
    struct seal_keys *k = keys(FIRST, &e);
    assert_non_null(k);
    seal_free(k);
    assert_int_equal(chmod(path, 0644), 0);
    assert_null(seal_read(path, &e));
    assert_says(e.text, path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_opens_with_its_key_and_is_another_one_each_time),
        cmocka_unit_test(an_older_key_opens_and_the_first_one_seals),
        cmocka_unit_test(what_was_altered_or_moved_does_not_open),
        cmocka_unit_test(a_file_that_is_no_key_is_refused_with_words),
    };
    return cmocka_run_group_tests_name("auth.seal", tests, setup, teardown);
}
