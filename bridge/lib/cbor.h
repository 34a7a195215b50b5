/* SPDX-License-Identifier: MIT */
/* JSON and CBOR (RFC 8949), each made of the other, for a protocol that is spoken in both.
 *
 *   object, array, true, false, null   the same, with their lengths before them (definite), members in the order of the JSON
 *   "text"                             text
 *   1, -1                              an integer in its shortest form, up to 64 bits
 *   1.5                                a float of 64 bits
 *   any number that is neither         embedded JSON: tag 262 of its text as bytes
 *
 * The other way, what a client may say: all of that, floats of 16 and 32 bits, null for undefined. Bytes become text in
 * base64. Embedded JSON (tag 262 of bytes or text) is put in as it is. The tags 0 (a moment as text), 32 (a URI) and 55799
 * (this is CBOR) say nothing more than what they stand before. All else is an error: lengths that are not said before, other
 * tags, members whose names are no text, text that is no UTF-8, more than JSCAN_DEPTH values within each other, bytes
 * behind the end. That a name is there twice is not seen here. */
#pragma once
#include "bridge/lib/buf.h"
#include "bridge/lib/err.h"

enum cbor_major { /* what an item is */
                  CBOR_UNSIGNED = 0,
                  CBOR_NEGATIVE,
                  CBOR_BYTES,
                  CBOR_TEXT,
                  CBOR_ARRAY,
                  CBOR_MAP,
                  CBOR_TAG,
                  CBOR_SIMPLE,
};
enum { CBOR_EMBEDDED_JSON = 262 };

/* The head of an item in its shortest form; n: its value, length in bytes, count of elements or of members, or number. */
void cbor_add_head(struct buf *out, enum cbor_major major, uint64_t n);
void cbor_add_text(struct buf *out, struct str text); /* UTF-8 */
void cbor_add_embedded(struct buf *out, struct str json);
/* Appends a JSON value that was checked (jscan). */
void cbor_add_json(struct buf *out, struct str json);

/* Appends the item as JSON; at most out->max. False with *e, which names the byte. */
bool cbor_to_json(struct str cbor, struct buf *out, struct err *e);
