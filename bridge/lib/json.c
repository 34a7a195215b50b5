/* SPDX-License-Identifier: MIT */
/* Texts and moments as JSON. */
#include "bridge/lib/json.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/jscan.h"

const char *json_text(const json_t *of, const char *name)
{
    const char *text = json_string_value(json_object_get(of, name));
    return text ? text : "";
}

bool json_has(const json_t *list, const char *text)
{
    size_t i;
    const json_t *one;
    json_array_foreach(list, i, one)
    {
        if (json_is_string(one) && strcmp(json_string_value(one), text) == 0)
            return true;
    }
    return false;
}

void json_add_once(json_t *list, const char *text)
{
    if (!json_has(list, text))
        json_array_append_new(list, json_string(text));
}

json_t *json_of_text(struct str s)
{
    json_t *j = s.at ? json_stringn(s.at, s.n) : json_null();
    return j ? j : json_string("?");
}

json_t *json_of_moment(int64_t wall_ms)
{
    char text[CLOCK_TEXT];
    if (wall_ms == 0)
        return json_null();
    clock_text(wall_ms, text);
    return json_string(text);
}

void json_add_text(struct buf *out, const char *name, struct str text)
{
    buf_printf(out, "%s\"%s\":", out->n > 1 && out->at[out->n - 1] != '{' ? "," : "", name);
    if (text.at)
        jscan_add_string(out, text);
    else
        buf_add_c(out, "null");
}

void json_add_moment(struct buf *out, const char *name, int64_t wall_ms)
{
    char text[CLOCK_TEXT];
    clock_text(wall_ms, text);
    json_add_text(out, name, wall_ms ? str_of(text) : STR_ABSENT);
}

/* Behind the JSON number at `at`, the same one in as few digits as say it goes to `to`, which may be `at`. */
static const char *json_number(const char *at, char **to)
{
    size_t n = strspn(at, "0123456789+-.eE");
    char text[40];
    int length = 0;
    if (memchr(at, '.', n)) {
        double d = strtod(at, NULL);
        for (int digits = 15; digits <= 17 && (length == 0 || strtod(text, NULL) < d || strtod(text, NULL) > d);
             digits++)
            length = snprintf(text, sizeof text, "%.*g", digits, d);
    }
    bool is_short = length > 0 && (size_t)length < n && strpbrk(text, ".e");
    memmove(*to, is_short ? text : at, is_short ? (size_t)length : n);
    *to += is_short ? (size_t)length : n;
    return at + n;
}

char *json_short(const json_t *json, size_t flags)
{
    char *text = json_dumps(json, flags), *to = text;
    bool quoted = false;
    for (const char *at = text; at && *at;) {
        if (!quoted && strchr("0123456789-", *at)) {
            at = json_number(at, &to);
            continue;
        }
        quoted = quoted != (*at == '"');
        if (*at == '\\')
            *to++ = *at++;
        *to++ = *at++;
    }
    if (to)
        *to = '\0';
    return text;
}
