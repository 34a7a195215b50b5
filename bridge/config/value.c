/* SPDX-License-Identifier: MIT */
/* Durations, sizes, ranges and names: from text to values and back. */
#include <inttypes.h>
#include <stdio.h>
#include "bridge/config/private.h"
#include "bridge/lib/mem.h"

struct unit {
    const char *name;
    int64_t n;
};

static const struct unit durations[] = { { "d", 86400000 }, { "h", 3600000 }, { "m", 60000 },
                                         { "s", 1000 },     { "ms", 1 },      { 0 } };
static const struct unit sizes[] = { { "TiB", INT64_C(1) << 40 }, { "GiB", 1 << 30 }, { "MiB", 1 << 20 },
                                     { "KiB", 1 << 10 },          { "B", 1 },         { 0 } };

static bool value_parse(struct str text, const struct unit *units, int64_t *out)
{
    size_t digits = 0;
    while (digits < text.n && text.at[digits] >= '0' && text.at[digits] <= '9')
        digits++;
    int64_t number;
    if (!str_to_i64((struct str){ text.at, digits }, &number))
        return false;
    struct str name = { text.at + digits, text.n - digits };
    for (const struct unit *u = units; u->name; u++)
        if (str_eq(name, str_of(u->name)))
            return !__builtin_mul_overflow(number, u->n, out);
    return false;
}

static const char *value_format(int64_t n, const struct unit *units, char out[VALUE_TEXT])
{
    for (const struct unit *u = units; u->name; u++)
        if (n % u->n == 0) {
            snprintf(out, VALUE_TEXT, "%" PRId64 "%s", n / u->n, u->name);
            break;
        }
    return out;
}

static bool value_plain_number(struct str text, int64_t *out)
{
    uint64_t n;
    if (!str_to_u64(text, &n) || n > INT64_MAX)
        return false;
    *out = (int64_t)n;
    return true;
}

bool value_duration(struct str text, int64_t *ms)
{
    if (str_eq(text, STR("0"))) {
        *ms = 0;
        return true;
    }
    return value_parse(text, durations, ms);
}

bool value_bytes(struct str text, int64_t *n)
{
    return value_plain_number(text, n) || value_parse(text, sizes, n);
}

static const char *value_duration_text(int64_t ms, char out[VALUE_TEXT])
{
    return ms == 0 ? "0" : value_format(ms, durations, out);
}

static const char *value_bytes_text(int64_t n, char out[VALUE_TEXT])
{
    return n == 0 ? "0" : value_format(n, sizes, out);
}

bool value_open_range(const struct option *row)
{
    return row->max <= row->min;
}

static void value_limit_text(const struct option *row, int64_t limit, char out[VALUE_TEXT])
{
    char text[VALUE_TEXT];
    if (row->type == OPT_DURATION)
        snprintf(out, VALUE_TEXT, "%s", value_duration_text(limit, text));
    else if (row->type == OPT_BYTES)
        snprintf(out, VALUE_TEXT, "%s", value_bytes_text(limit, text));
    else
        snprintf(out, VALUE_TEXT, "%" PRId64, limit);
}

const char *value_range(const struct option *row, char out[RANGE_TEXT])
{
    char least[VALUE_TEXT], most[VALUE_TEXT];
    value_limit_text(row, row->min, least);
    value_limit_text(row, row->max, most);
    if (value_open_range(row))
        snprintf(out, RANGE_TEXT, "at least %s", least);
    else
        snprintf(out, RANGE_TEXT, "from %s to %s", least, most);
    return out;
}
