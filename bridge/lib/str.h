/* SPDX-License-Identifier: MIT */
/* Borrowed bytes: (pointer, length), never assumed to end with NUL.
 *
 * A `struct str` owns nothing; the header that hands one out says how long it lives.
 * Absent and empty are different: absent has at == NULL. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *at;
    size_t n;
};

#define STR(literal) ((struct str){ (literal), sizeof(literal) - 1 }) /* of a string literal */
#define STR_ABSENT   ((struct str){ NULL, 0 })
#define STR_ARG(s)   (int)(s).n, (s).at ? (s).at : "" /* for "%.*s"; callers bound n first */

/* A C string as a str; NULL gives the absent one. */
static inline struct str str_of(const char *c)
{
    return (struct str){ c, c ? strlen(c) : 0 };
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.at, b.at, a.n) == 0);
}

/* Less than, equal to or greater than 0, byte by byte: the beginning of a text comes before it. */
static inline int str_order(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n ? memcmp(a.at, b.at, n) : 0;
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

static inline bool str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.at, prefix.at, prefix.n) == 0);
}

static inline bool str_ends(struct str s, struct str suffix)
{
    return s.n >= suffix.n && (suffix.n == 0 || memcmp(s.at + s.n - suffix.n, suffix.at, suffix.n) == 0);
}

/* s without its first n bytes; n <= s.n. */
static inline struct str str_from(struct str s, size_t n)
{
    return (struct str){ s.at + n, s.n - n };
}

bool str_eq_nocase(struct str a, struct str b); /* ASCII letters only */
bool str_starts_nocase(struct str s, struct str prefix);
struct str str_trim(struct str s); /* without leading and trailing space and tab */
/* Cuts `*rest` at the first `sep`: returns what stands before it and moves *rest behind it. False when *rest is absent;
 * the last piece leaves *rest absent. */
bool str_cut(struct str *rest, char sep, struct str *piece);
/* Decimal digits only, no sign, no space, no overflow, at least one digit. */
bool str_to_u64(struct str s, uint64_t *out);
bool str_to_i64(struct str s, int64_t *out); /* an optional leading '-' */
bool str_is_utf8(struct str s);              /* well-formed UTF-8 (RFC 3629), NUL allowed */
/* Bytes of the well-formed UTF-8 character that s begins with; 0 when there is none. */
size_t str_utf8_length(struct str s);
/* Is the one character that s holds fit to be shown on a terminal or in a log? Not a control of ASCII or ISO 6429 (C1),
 * nor one that turns the direction of text or breaks lines beyond ASCII: with those, text says something else than it
 * shows. Not what is no UTF-8, either. */
bool str_is_shown(struct str character);
/* Puts a blank in the place of each control of ASCII and a ? in that of everything else that is not fit to be shown. */
void str_make_shown(char *text);
char *str_join(const char *a, const char *b, const char *c); /* the three in a row; free() it */
char *str_dup(struct str s); /* NUL-terminated copy, free() it; aborts when memory is out */
/* The name nearest to `word` among `names` (NULL-terminated), or NULL when none is near: for "did you mean". */
const char *str_nearest(struct str word, const char *const *names);
uint64_t str_hash(struct str s); /* 64-bit, not keyed, stable across runs */
/* By which Kafka's clients put a key into a partition (as Java does: murmur2, without its sign): this % partitions. */
uint32_t str_kafka_hash(struct str s);
