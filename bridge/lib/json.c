/* SPDX-License-Identifier: MIT */
/* Texts and moments as JSON. */
#include "bridge/lib/json.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/jscan.h"

const char *json_text(const json_t *of, const char *name)
{
    const char *text = json_string_value(json_object_get(of, name));
    return text ? text : "";
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
