/* SPDX-License-Identifier: MIT */
/* What of a case is not as it was expected: kept with its place, and said at the end. */
#include <stdlib.h>
#include "bridge/cli/match.h"
#include "bridge/cli/test_private.h"
#include "bridge/lib/json.h"

void test_fail(struct test *t, const char *part, const json_t *wanted, const json_t *got, const char *why)
{
    char path[TEST_PATH + 32];
    int line, column;
    snprintf(path, sizeof path, "cases[%zu]%s%s", t->index, *part ? "." : "", part);
    sheet_place(t->sheet, path, &line, &column);
    t->here++;
    json_array_append_new(t->failures, json_pack("{s:s, s:i, s:i, s:s, s:s, s:O*, s:O*, s:s?}", "file", t->file, "line",
                                                 line, "column", column, "case", t->at->name, "what", part, "expected",
                                                 wanted, "got", got, "why", why));
}

static void test_differs(void *ctx, const char *path, const json_t *wanted, const json_t *got)
{
    test_fail(ctx, path, wanted, got, got ? NULL : "is not there");
}

void test_match(struct test *t, const char *part, const json_t *wanted, const json_t *got)
{
    struct buf path = buf_new(MATCH_PATH);
    buf_add_c(&path, part);
    match_json(wanted, got, &path, test_differs, t);
    buf_free(&path);
}

bool test_says(const struct test *t, const char *part)
{
    char path[TEST_PATH];
    snprintf(path, sizeof path, "cases[%zu].%s", t->index, part);
    return sheet_have(t->sheet, path);
}

static void test_say_value(const char *sign, const json_t *failure, const char *member)
{
    const json_t *value = json_object_get(failure, member);
    char *text = value ? json_short(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    if (text) {
        str_make_shown(text);
        printf("  %s %s\n", sign, text);
    }
    free(text);
}

static void test_say(const json_t *failure)
{
    char name[256], why[512];
    snprintf(name, sizeof name, "%s", json_text(failure, "case"));
    snprintf(why, sizeof why, "%s", json_text(failure, "why"));
    str_make_shown(name);
    str_make_shown(why);
    printf("%s:%" JSON_INTEGER_FORMAT ":%" JSON_INTEGER_FORMAT ": %s: %s%s%s\n", json_text(failure, "file"),
           json_integer_value(json_object_get(failure, "line")), json_integer_value(json_object_get(failure, "column")),
           name, json_text(failure, "what"), *why ? ": " : "", why);
    test_say_value("- expected", failure, "expected");
    test_say_value("+ got     ", failure, "got");
}

void test_say_all(const struct test *t, const struct problems *problems, bool good, bool as_json)
{
    size_t i;
    const json_t *one;
    if (as_json) {
        json_t *more = json_pack("{s:b, s:I, s:I, s:O}", "ok", (int)good, "cases", (json_int_t)t->cases, "failed",
                                 (json_int_t)t->failed, "failures", t->failures);
        problems_print_json(problems, more, stdout);
        json_decref(more);
        return;
    }
    problems_print(problems, stderr);
    json_array_foreach(t->failures, i, one) test_say(one);
    printf("%zu case%s, %zu failed\n", t->cases, t->cases == 1 ? "" : "s", t->failed);
}
