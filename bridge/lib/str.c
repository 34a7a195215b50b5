/* SPDX-License-Identifier: MIT */
/* Comparing, cutting, reading and hashing borrowed bytes. */
#include "bridge/lib/str.h"
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/mem.h"

static unsigned char str_lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

static bool str_same_nocase(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_lower(a[i]) != str_lower(b[i]))
            return false;
    return true;
}

bool str_eq_nocase(struct str a, struct str b)
{
    return a.n == b.n && str_same_nocase(a.at, b.at, a.n);
}

bool str_starts_nocase(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_same_nocase(s.at, prefix.at, prefix.n);
}

static bool str_is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct str str_trim(struct str s)
{
    while (s.n > 0 && str_is_blank(s.at[0])) {
        s.at++;
        s.n--;
    }
    while (s.n > 0 && str_is_blank(s.at[s.n - 1]))
        s.n--;
    return s;
}

bool str_cut(struct str *rest, char sep, struct str *piece)
{
    if (!rest->at)
        return false;
    const char *end = rest->n > 0 ? memchr(rest->at, sep, rest->n) : NULL;
    if (!end) {
        *piece = *rest;
        *rest = STR_ABSENT;
        return true;
    }
    *piece = (struct str){ rest->at, (size_t)(end - rest->at) };
    *rest = (struct str){ end + 1, rest->n - piece->n - 1 };
    return true;
}

bool str_to_u64(struct str s, uint64_t *out)
{
    uint64_t value = 0;
    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.at[i] < '0' || s.at[i] > '9')
            return false;
        uint64_t digit = (uint64_t)(s.at[i] - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

bool str_to_i64(struct str s, int64_t *out)
{
    bool minus = s.n > 0 && s.at[0] == '-';
    uint64_t value;
    if (!str_to_u64(minus ? (struct str){ s.at + 1, s.n - 1 } : s, &value))
        return false;
    if (value > (uint64_t)INT64_MAX + minus)
        return false;
    *out = minus ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

/* The length of the well-formed sequence that begins with a byte >= 0x80, or 0 (RFC 3629 section 4, "Syntax of
 * UTF-8"). */
static size_t str_sequence(const unsigned char *p, size_t n)
{
    unsigned char low = 0x80,
                  high = 0xbf; /* bounds of the second byte: no overlong form, no surrogate, at most U+10FFFF */
    size_t length = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || length > n)
        return 0;
    if (p[0] == 0xe0)
        low = 0xa0;
    if (p[0] == 0xed)
        high = 0x9f;
    if (p[0] == 0xf0)
        low = 0x90;
    if (p[0] == 0xf4)
        high = 0x8f;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    return length;
}

size_t str_utf8_length(struct str s)
{
    const unsigned char *p = (const unsigned char *)s.at;
    if (s.n == 0)
        return 0;
    return p[0] < 0x80 ? 1 : str_sequence(p, s.n);
}

bool str_is_utf8(struct str s)
{
    while (s.n > 0) {
        uint64_t eight;
        if (s.n >= sizeof eight) {
            memcpy(&eight, s.at, sizeof eight);
            if (!(eight & 0x8080808080808080u)) {
                s = str_from(s, sizeof eight);
                continue;
            }
        }
        size_t length = str_utf8_length(s);
        if (length == 0)
            return false;
        s = str_from(s, length);
    }
    return true;
}

/* U+061C, U+200E, U+200F, U+2028 to U+202E, U+2066 to U+2069. */
static bool str_turns_text(const unsigned char *p, size_t length)
{
    if (length == 2)
        return p[0] == 0xd8 && p[1] == 0x9c;
    if (length != 3 || p[0] != 0xe2)
        return false;
    return p[1] == 0x80 ? p[2] == 0x8e || p[2] == 0x8f || (p[2] >= 0xa8 && p[2] <= 0xae)
                        : p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9;
}

bool str_is_shown(struct str character)
{
    const unsigned char *p = (const unsigned char *)character.at;
    size_t length = str_utf8_length(character);
    if (length == 0 || length != character.n)
        return false;
    if (length == 1)
        return p[0] >= ' ' && p[0] != 0x7f;
    return !(p[0] == 0xc2 && p[1] < 0xa0) && !str_turns_text(p, length);
}

void str_make_shown(char *text)
{
    char *to = text;
    for (struct str rest = str_of(text); rest.n > 0;) {
        size_t length = str_utf8_length(rest);
        struct str one = { rest.at, length ? length : 1 };
        if (str_is_shown(one)) {
            memmove(to, one.at, one.n);
            to += one.n;
        } else {
            *to++ = (unsigned char)one.at[0] < 0x80 ? ' ' : '?';
        }
        rest = str_from(rest, one.n);
    }
    *to = '\0';
}

char *str_join(const char *a, const char *b, const char *c)
{
    size_t n = strlen(a) + strlen(b) + strlen(c) + 1;
    char *text = mem_alloc(n);
    snprintf(text, n, "%s%s%s", a, b, c);
    return text;
}

char *str_dup(struct str s)
{
    char *copy = mem_alloc(s.n + 1);
    if (s.n > 0)
        memcpy(copy, s.at, s.n);
    return copy;
}

enum { NEAREST_LONGEST = 64, NEAREST_EDITS = 3 };

/* Edits (insert, delete, replace, swap of neighbours) from a to b, both at most NEAREST_LONGEST bytes, in any case. */
static size_t str_edits(struct str a, struct str b)
{
    size_t rows[3][NEAREST_LONGEST + 1];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= b.n; j++)
        last[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        now[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            bool same = str_lower(a.at[i - 1]) == str_lower(b.at[j - 1]);
            size_t best = last[j - 1] + !same;
            if (last[j] + 1 < best)
                best = last[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && str_lower(a.at[i - 1]) == str_lower(b.at[j - 2])
                && str_lower(a.at[i - 2]) == str_lower(b.at[j - 1]) && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
        size_t *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[b.n];
}

const char *str_nearest(struct str word, const char *const *names)
{
    const char *nearest = NULL;
    size_t limit = (word.n + 1) / 3; /* edits that a person may have made */
    if (limit > NEAREST_EDITS)
        limit = NEAREST_EDITS;
    if (word.n > NEAREST_LONGEST)
        return NULL;
    for (; *names; names++) {
        struct str name = str_of(*names);
        if (name.n > NEAREST_LONGEST)
            continue;
        size_t distance = str_edits(word, name);
        if (distance > limit || (nearest && distance == limit))
            continue;
        limit = distance;
        nearest = *names;
    }
    return nearest;
}

/* FNV-1a, then mixed so that the low bits (a partition number) depend on all of them. */
uint64_t str_hash(struct str s)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.at[i]) * 0x100000001b3u;
    h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdu;
    h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53u;
    return h ^ (h >> 33);
}

uint32_t str_kafka_hash(struct str s)
{
    const uint32_t m = 0x5bd1e995;
    const unsigned char *at = (const unsigned char *)s.at;
    uint32_t h = 0x9747b28c ^ (uint32_t)s.n;
    size_t left = s.n;
    for (; left >= 4; left -= 4, at += 4) {
        uint32_t k = (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
        k *= m;
        k = (k ^ k >> 24) * m;
        h = h * m ^ k;
    }
    for (size_t i = left; i-- > 0;)
        h ^= (uint32_t)at[i] << 8 * i;
    if (left)
        h *= m;
    h = (h ^ h >> 13) * m;
    return (h ^ h >> 15) & 0x7fffffff;
}
