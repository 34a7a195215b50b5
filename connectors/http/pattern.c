/* SPDX-License-Identifier: MIT */
/* Paths with parameters, segment by segment. */
#include "connectors/http/pattern.h"

struct str pattern_name(struct str segment)
{
    bool is = segment.n > 2 && segment.at[0] == '{' && segment.at[segment.n - 1] == '}';
    return is ? (struct str){ segment.at + 1, segment.n - 2 } : STR_ABSENT;
}

bool pattern_is(const char *path)
{
    return path && strpbrk(path, "{}");
}

static bool pattern_check_name(struct str name, struct err *e)
{
    size_t n = 0;
    while (
        n < name.n
        && ((name.at[n] >= 'a' && name.at[n] <= 'z') || (name.at[n] >= '0' && name.at[n] <= '9') || name.at[n] == '_'))
        n++;
    return (n == name.n && n <= PATTERN_NAME)
           || err_set(e, "path: a parameter has 1 to %d small letters, digits and _: {event}", PATTERN_NAME);
}

bool pattern_check(const char *path, struct err *e)
{
    struct str rest = str_of(path), segment, names[PATTERN_MOST];
    size_t count = 0;
    while (str_cut(&rest, '/', &segment)) {
        struct str name = pattern_name(segment);
        if (!name.at && segment.n && (memchr(segment.at, '{', segment.n) || memchr(segment.at, '}', segment.n)))
            return err_set(e, "path: a parameter is a whole segment, such as /v1/{event}");
        if (!name.at)
            continue;
        if (!pattern_check_name(name, e))
            return false;
        if (count == PATTERN_MOST)
            return err_set(e, "path: has more than %d parameters", PATTERN_MOST);
        for (size_t i = 0; i < count; i++)
            if (str_eq(names[i], name))
                return err_set(e, "path: the parameter {%.*s} is there twice", STR_ARG(name));
        names[count++] = name;
    }
    return true;
}

bool pattern_is_mistaken(const char *path, struct err *e)
{
    struct str rest = str_of(path), segment;
    while (str_cut(&rest, '/', &segment)) {
        bool colon = segment.n > 1 && segment.at[0] == ':', angle = segment.n > 2 && segment.at[0] == '<';
        if (!colon && !angle)
            continue;
        struct str name = { segment.at + 1, segment.n - 1 - (angle && segment.at[segment.n - 1] == '>') };
        err_set(e, "path: \"%.*s\" stands for itself here; a parameter is written {%.*s}", STR_ARG(segment),
                STR_ARG(name));
        return true;
    }
    return false;
}

static int pattern_hex(char c)
{
    char lower = (char)(c | 0x20);
    return c >= '0' && c <= '9' ? c - '0' : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* The segment as a parameter's value, or absent. */
static struct str pattern_decode(struct str segment, char out[PATTERN_VALUE])
{
    size_t n = 0;
    for (size_t i = 0; i < segment.n; i++) {
        int c = (unsigned char)segment.at[i];
        if (c == '%' && segment.n - i > 2) {
            int high = pattern_hex(segment.at[i + 1]), low = pattern_hex(segment.at[i + 2]);
            c = high < 0 || low < 0 ? -1 : high << 4 | low;
            i += 2;
        }
        bool sane = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_'
                    || c == '-';
        if (!sane || n == PATTERN_VALUE)
            return STR_ABSENT;
        out[n++] = (char)c;
    }
    struct str value = { out, n };
    return n == 0 || str_eq(value, STR(".")) || str_eq(value, STR("..")) ? STR_ABSENT : value;
}

bool pattern_matches(struct str pattern, struct str path)
{
    struct str want, have;
    char value[PATTERN_VALUE];
    while (str_cut(&pattern, '/', &want)) {
        if (!str_cut(&path, '/', &have))
            return false;
        if (pattern_name(want).at ? !pattern_decode(have, value).at : !str_eq(want, have))
            return false;
    }
    return !path.at;
}

bool pattern_overlaps(const char *a, const char *b)
{
    struct str one = str_of(a), other = str_of(b), x, y;
    while (str_cut(&one, '/', &x)) {
        if (!str_cut(&other, '/', &y))
            return false;
        if (!pattern_name(x).at && !pattern_name(y).at && !str_eq(x, y))
            return false;
    }
    return !other.at;
}

bool pattern_has(const char *pattern, const char *name)
{
    struct str rest = str_of(pattern), segment;
    while (str_cut(&rest, '/', &segment)) {
        struct str found = pattern_name(segment);
        if (found.at && str_eq(found, str_of(name)))
            return true;
    }
    return false;
}

struct str pattern_value(struct str pattern, struct str path, const char *name, char out[PATTERN_VALUE])
{
    struct str want, have;
    while (str_cut(&pattern, '/', &want) && str_cut(&path, '/', &have)) {
        struct str found = pattern_name(want);
        if (found.at && str_eq(found, str_of(name)))
            return pattern_decode(have, out);
    }
    return STR_ABSENT;
}
