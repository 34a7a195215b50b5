/* SPDX-License-Identifier: MIT */
/* Compares JSON with what was expected. */
#include "bridge/cli/match.h"
#include <string.h>

static bool match_mapping(const json_t *wanted, const json_t *got, struct buf *path, match_fn *differs, void *ctx)
{
    bool same = true;
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)wanted, name, value)
    {
        size_t before = path->n;
        buf_printf(path, ".%s", name);
        same = match_json(value, json_object_get(got, name), path, differs, ctx) && same;
        path->n = before;
    }
    return same;
}

static bool match_list(const json_t *wanted, const json_t *got, struct buf *path, match_fn *differs, void *ctx)
{
    bool same = true;
    size_t n = json_array_size(wanted), m = json_array_size(got);
    for (size_t i = 0; i < n || i < m; i++) {
        size_t before = path->n;
        buf_printf(path, "[%zu]", i);
        if (i < n)
            same = match_json(json_array_get(wanted, i), json_array_get(got, i), path, differs, ctx) && same;
        else {
            differs(ctx, buf_c(path), NULL, json_array_get(got, i));
            same = false;
        }
        path->n = before;
    }
    return same;
}

static bool match_is_any(const json_t *wanted)
{
    return json_is_string(wanted) && strcmp(json_string_value(wanted), "*") == 0;
}

static bool match_is_scalar(const json_t *wanted, const json_t *got)
{
    if (json_is_null(wanted))
        return !got || json_is_null(got);
    if (json_is_number(wanted) && json_is_number(got))
        return json_is_integer(wanted) && json_is_integer(got)
                   ? json_integer_value(wanted) == json_integer_value(got)
                   : !(json_number_value(wanted) < json_number_value(got))
                         && !(json_number_value(wanted) > json_number_value(got));
    return got && json_equal(wanted, got);
}

bool match_json(const json_t *wanted, const json_t *got, struct buf *path, match_fn *differs, void *ctx)
{
    if (match_is_any(wanted) && got)
        return true;
    if (json_is_object(wanted) && json_is_object(got))
        return match_mapping(wanted, got, path, differs, ctx);
    if (json_is_array(wanted) && json_is_array(got))
        return match_list(wanted, got, path, differs, ctx);
    if (match_is_scalar(wanted, got))
        return true;
    differs(ctx, buf_c(path), wanted, got);
    return false;
}
