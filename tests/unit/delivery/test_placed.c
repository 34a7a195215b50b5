/* SPDX-License-Identifier: MIT */
/* An endpoint of the state goes into text and comes back, sealed or not; what is no such text is refused. */
#include "bridge/delivery/placed.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "bridge/lib/json.h"
#include "tests/support/folder.h"
#include "tests/support/test.h"

static char folder[FOLDER_BYTES];

static struct seal_keys *keys(const char *name, const char *text)
{
    char path[FOLDER_BYTES + 16];
    struct err e;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(path, 0600), 0);
    struct seal_keys *k = seal_read(path, &e);
    assert_non_null(k);
    return k;
}

static int setup(void **state)
{
    (void)state;
    folder_make(folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

static struct placed sample(void)
{
    return (struct placed){ .version = 7,
                            .made_ms = 1,
                            .changed_ms = 2,
                            .paused = true,
                            .core = json_pack("{s:s}", "retry", "standard"),
                            .own = json_pack("{s:s,s:[s]}", "url", "https://a/hook", "secrets", "whsec_0123456789") };
}

static struct buf written(const struct placed *p, const struct seal_keys *k)
{
    struct buf text = buf_new(PLACED_BYTES);
    placed_write(p, "crm/a", k, &text);
    assert_false(text.failed);
    return text;
}

TEST(it_comes_back_as_it_was)
{
    struct err e;
    struct placed p = sample(), back;
    struct buf text = written(&p, NULL);
    assert_true(placed_read(buf_str(&text), &back, &e));
    assert_int_equal(back.version, 7);
    assert_int_equal(back.made_ms, 1);
    assert_int_equal(back.changed_ms, 2);
    assert_true(back.paused && !back.removed && !back.sealed);
    assert_true(json_equal(back.core, p.core) && json_equal(back.own, p.own));
    assert_true(placed_open(&back, "crm/a", NULL, &e));
    placed_free(&back);
    placed_free(&p);
    buf_free(&text);
}

TEST(what_is_sealed_opens_for_itself_alone)
{
    struct err e;
    struct seal_keys *k = keys("k", "q0sVw2y7Tn8Jb4LxUe6Zr1Kc9Hd3Pf5MaGiStO0uYkE="),
                     *other = keys("o", "Zr1Kc9Hd3Pf5MaGiStO0uYkEq0sVw2y7Tn8Jb4LxUe6=");
    struct placed p = sample(), back;
    struct buf text = written(&p, k);
    assert_null(memmem(text.at, text.n, "whsec", 5));
    assert_null(memmem(text.at, text.n, "https", 5));
    assert_true(placed_read(buf_str(&text), &back, &e));
    assert_null(back.own);
    assert_string_equal(json_text(back.core, "retry"), "standard");
    assert_false(placed_open(&back, "crm/a", NULL, &e));
    assert_says(e.text, "admin.key_file");
    assert_false(placed_open(&back, "crm/a", other, &e));
    assert_false(placed_open(&back, "crm/b", k, &e));
    struct buf again = written(&back, k); /* not opened: it stays sealed as it is */
    assert_true(str_eq(buf_str(&again), buf_str(&text)));
    assert_true(placed_open(&back, "crm/a", k, &e));
    assert_true(json_equal(back.own, p.own));
    placed_free(&back);
    placed_free(&p);
    buf_free(&text), buf_free(&again);
    seal_free(k), seal_free(other);
}

TEST(what_is_gone_says_so)
{
    struct err e;
    struct placed p = { .version = 8, .changed_ms = 3, .removed = true }, back;
    struct buf text = written(&p, NULL);
    assert_true(placed_read(buf_str(&text), &back, &e));
    assert_true(back.removed && back.version == 8 && back.changed_ms == 3 && !back.core);
    placed_free(&back);
    buf_free(&text);
}

TEST(nothing_else_is_taken)
{
    static const char *const bad[][2] = {
        { "", "no JSON" },
        { "[]", "no version" },
        { "{\"version\":1}", "no version" },
        { "{\"v\":1,\"version\":0,\"removed\":true}", "no version" },
        { "{\"v\":2,\"version\":1}", "later version" },
        { "{\"v\":1,\"version\":1}", "options are missing" },
        { "{\"v\":1,\"version\":1,\"core\":{}}", "options are missing" },
        { "{\"v\":1,\"version\":1,\"core\":{},\"own\":[]}", "options are missing" },
        { "{\"v\":1,\"version\":1,\"core\":{},\"own\":{},\"sealed\":\"x\"}", "options are missing" },
        { "{\"v\":1,\"v\":1,\"version\":1,\"removed\":true}", "no JSON" },
    };
    struct err e;
    struct placed p;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(placed_read(str_of(bad[i][0]), &p, &e));
        assert_says(e.text, bad[i][1]);
        assert_null(p.core);
    }
    char deep[200];
    memset(deep, '[', sizeof deep);
    assert_false(placed_read((struct str){ deep, sizeof deep }, &p, &e));
    assert_says(e.text, "too large");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_comes_back_as_it_was),
        cmocka_unit_test(what_is_sealed_opens_for_itself_alone),
        cmocka_unit_test(what_is_gone_says_so),
        cmocka_unit_test(nothing_else_is_taken),
    };
    return cmocka_run_group_tests_name("delivery.placed", tests, setup, teardown);
}
