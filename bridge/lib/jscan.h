/* SPDX-License-Identifier: MIT */
/* A strict one-pass JSON scanner (RFC 8259) for the hot path: it validates and yields spans; it allocates nothing.
 *
 * The text is checked whole: UTF-8, escapes, numbers, depth (JSCAN_DEPTH), no trailing bytes, no BOM. Spans point
 * into the text. Elsewhere (configuration, admin) jansson is used; its names are why these begin with jscan. */
#pragma once
#include "bridge/lib/buf.h"
#include "bridge/lib/err.h"
#include "bridge/lib/str.h"

enum { JSCAN_DEPTH = 256 };
enum jscan_type {
    JSCAN_NONE,
    JSCAN_NULL,
    JSCAN_FALSE,
    JSCAN_TRUE,
    JSCAN_NUMBER,
    JSCAN_STRING,
    JSCAN_ARRAY,
    JSCAN_OBJECT
};

struct jscan_value {
    enum jscan_type type; /* JSCAN_NONE: absent */
    struct str raw;       /* the value's own bytes, a string with its quotes */
};

struct jscan_member {
    struct str name; /* raw, without quotes, escapes as written */
    struct jscan_value value;
};

/* Without the UTF-8 byte order mark that some senders put before the text (RFC 8259 section 8.1: it may be ignored). */
struct str jscan_skip_mark(struct str json);
/* Is `text` one JSON value? On false, *e names the byte offset and the cause. */
bool jscan_check(struct str text, struct jscan_value *out, struct err *e);
/* Checks the whole text, which must be an object, and writes its first `room` members in order; returns how many
 * members it has (may be more than room), or -1 with *e set. */
int jscan_object(struct str text, struct jscan_member *out, size_t room, struct err *e);
/* Walks the elements of an array that was checked before: *at starts as array.raw.at; false at the end. */
bool jscan_next(struct jscan_value array, const char **at, struct jscan_value *element);
/* The same for the members of an object: *at starts as object.raw.at. */
bool jscan_next_member(struct jscan_value object, const char **at, struct jscan_member *member);
/* Appends the unescaped content of a checked string value (with quotes). */
void jscan_unescape(struct buf *out, struct str quoted);
/* Appends `s` as a JSON string with quotes. s must be UTF-8; bytes that are not become U+FFFD. */
void jscan_add_string(struct buf *out, struct str s);
/* The same without the quotes. */
void jscan_add_escaped(struct buf *out, struct str s);

/* ---- a walk of one's own through a text, while it is checked (jpointer.c) ----
 *
 *   p = jscan_begin(&s, text, e)      the first byte of the value, or NULL with *e
 *   at = p;                           in an object (or array):
 *   while (jscan_to_member(&s, &at, &name) == JSCAN_ITEM
 *          && jscan_past(&s, &at, jscan_any(&s, at, depth), '}') == JSCAN_ITEM)
 *   jscan_finish(&s, end, e)          only blanks may follow the value, which ended at `end`; NULL: it was broken
 */
struct jscan {
    const char *start, *end;
    const char *bad, *why; /* where and why it failed */
};
enum jscan_step { JSCAN_ITEM = 1, JSCAN_END, JSCAN_BAD };

const char *jscan_begin(struct jscan *s, struct str text, struct err *e);
bool jscan_finish(struct jscan *s, const char *end, struct err *e);
/* Checks the value at p, in which `depth` arrays and objects may still be opened; what follows it, or NULL. */
const char *jscan_any(struct jscan *s, const char *p, int depth);
/* *at stands at the opening bracket or where jscan_past left it; it is moved to the next value, or at the end behind the
 * closing bracket. The name is raw, without its quotes. */
enum jscan_step jscan_to_member(struct jscan *s, const char **at, struct str *name);
enum jscan_step jscan_to_element(const struct jscan *s, const char **at);
/* Moves *at past the value that ended at `end` (NULL: it was broken), to the comma or the bracket `close`. */
enum jscan_step jscan_past(struct jscan *s, const char **at, const char *end, char close);
/* Of a value that was checked. */
struct jscan_value jscan_value_of(const char *at, const char *end);
