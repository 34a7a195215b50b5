/* SPDX-License-Identifier: MIT */
/* The JSON scanner against jansson: they agree on what is JSON, and every way into it stays within the text. */
#include <jansson.h>
#include <stdlib.h>
#include "bridge/lib/jscan.h"
#include "bridge/lib/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_inside(struct str inner, struct str outer)
{
    return inner.at >= outer.at && inner.at + inner.n <= outer.at + outer.n;
}

/* jansson refuses numbers that no double or 64-bit integer holds and names with NUL, and takes a NUL behind the
 * value for the end of the text; we refuse what is nested deeper than 256. */
static void compare_with_jansson(struct str text, bool ours, const struct err *why)
{
    json_error_t e;
    json_t *json = json_loadb(text.at, text.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
    if (json && !ours)
        CHECK(strstr(why->text, "too deep") || memchr(text.at, '\0', text.n));
    if (!json && ours)
        CHECK(strstr(e.text, "overflow") || strstr(e.text, "too big") || strstr(e.text, "NUL byte in object key"));
    json_decref(json);
}

static void check_string(struct jscan_value value)
{
    struct buf plain = buf_new(value.raw.n), again = buf_new(6 * value.raw.n + 2), back = buf_new(value.raw.n);
    struct jscan_value other;
    jscan_unescape(&plain, value.raw);
    CHECK(!plain.failed && str_is_utf8(buf_str(&plain)));
    jscan_add_string(&again, buf_str(&plain));
    CHECK(jscan_check(buf_str(&again), &other, NULL) && other.type == JSCAN_STRING);
    jscan_unescape(&back, buf_str(&again));
    CHECK(str_eq(buf_str(&back), buf_str(&plain)));
    buf_free(&plain);
    buf_free(&again);
    buf_free(&back);
}

static void walk(struct jscan_value value, struct str text, int left)
{
    CHECK(value.type != JSCAN_NONE && value.raw.n > 0 && is_inside(value.raw, text));
    if (value.type == JSCAN_STRING)
        check_string(value);
    if (left == 0)
        return;
    struct jscan_value element;
    const char *at = value.raw.at;
    while (value.type == JSCAN_ARRAY && jscan_next(value, &at, &element))
        walk(element, value.raw, left - 1);
    if (value.type != JSCAN_OBJECT)
        return;
    struct jscan_member members[4];
    int count = jscan_object(value.raw, members, 4, NULL);
    CHECK(count >= 0);
    for (int i = 0; i < count && i < 4; i++) {
        struct buf name = buf_new(members[i].name.n);
        jscan_unescape(&name, (struct str){ members[i].name.at - 1, members[i].name.n + 2 });
        CHECK(!name.failed);
        walk(members[i].value, value.raw, left - 1);
        buf_free(&name);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = { (const char *)data, size };
    struct jscan_value value;
    struct err e = { "" };
    bool ok = jscan_check(text, &value, &e);
    compare_with_jansson(text, ok, &e);
    if (ok)
        walk(value, text, 3);
    struct buf any = buf_new(6 * size + 2);
    jscan_add_string(&any, text);
    CHECK(!any.failed && jscan_check(buf_str(&any), &value, &e));
    buf_free(&any);
    return 0;
}
