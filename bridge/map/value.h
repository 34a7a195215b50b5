/* SPDX-License-Identifier: MIT */
/* One value of a result row, as whatever we need of it. */
#pragma once
#include <sqlite3.h>
#include "bridge/lib/buf.h"
#include "bridge/lib/option.h"
#include "bridge/lib/zone.h"

enum form { FORM_VALUE, FORM_JSON, FORM_BOOL, FORM_TIME };

enum {
    KEY_BYTES = 400,         /* longer keys are hashed */
    EXACT_BYTES = 16 * 1024, /* of an exact value that are stored */
};

void value_key(struct buf *out, sqlite3_stmt *row, int col); /* typed: i17 tabc xff00 r<bits> n, h<hash> when long */
/* Typed and never hashed, as a C string: text with a NUL in it is T<hex>. The caller frees it. */
char *value_exact(sqlite3_stmt *row, int col);
/* What of an exact value is stored: the whole, or its beginning (c T's C, X), which sorts before it. The caller frees it. */
char *value_cut(const char *exact);
char *value_hashed(const char *exact); /* of a long text or BLOB; the caller frees it */
bool value_is_cut(const char *kept);   /* accepts NULL */
bool value_begins_with(const char *exact, const char *cut);
bool value_is(sqlite3_stmt *row, int col, const char *kept); /* that exact, or hashed, value? */
bool value_bind(sqlite3_stmt *stmt, int at, struct str key); /* false: a hashed key cannot be bound */
struct str value_key_plain(struct str key);                  /* 17, abc */
void value_key_json(struct buf *out, struct str key);        /* 17, "abc"; as value_json() shows it, but a hashed one */
uint64_t value_hash(sqlite3_stmt *row, int col);             /* of type and content; never 0 */
struct str value_text(sqlite3_stmt *row, int col);           /* "" of NULL; valid until the next step */
struct str value_blob(sqlite3_stmt *row, int col);
/* Text or bytes that hold a JSON object or array: the same with the members that `mask` names masked (in `out`); else as
 * they are. */
struct str value_mask_inside(struct buf *out, struct str text, const struct strings *mask);
void value_json_real(struct buf *out, double d); /* the shortest that reads back the same; NaN, infinity: null */
void value_plain(struct buf *out, sqlite3_stmt *row, int col); /* for templates and maps: text, digits, "null" */
/* The value as JSON. Members that `mask` names become "***", also within text and bytes that hold JSON. BLOB: base64; infinity becomes null, and bytes that are no UTF-8 U+FFFD (*repaired = true). `zone`: as of value_time_in(). */
void value_json(struct buf *out, sqlite3_stmt *row, int col, enum form form, const struct strings *mask,
                const struct zone *zone, bool *repaired);
/* Milliseconds since 1970 of an INTEGER or REAL (s, ms, us, ns by magnitude; a Julian day) or TEXT (ISO, UTC unless
 * it says otherwise); false when it is none of these. Columns may mix them. */
bool value_time(sqlite3_stmt *row, int col, int64_t *ms);
/* Of a text, which may also be the digits of such a number. */
bool value_time_of(struct str text, int64_t *ms);
/* The same as value_time where texts that do not say their offset are of that zone; NULL: UTC. */
bool value_time_in(sqlite3_stmt *row, int col, const struct zone *zone, int64_t *ms);
/* Of a time that the zone's clock shows twice, the second one, unless that is still to come at `now`. */
bool value_time_until(sqlite3_stmt *row, int col, const struct zone *zone, int64_t now, int64_t *ms);
