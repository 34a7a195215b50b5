/* SPDX-License-Identifier: MIT */
/* The query of a URL, as forms write it: name=value&name=value. */
#pragma once
#include "bridge/lib/buf.h"

/* Percent-decoding as in application/x-www-form-urlencoded: + is a space. False: that is no text (UTF-8, without NUL). Replaces
 * what is in out. */
bool query_decode(struct str s, struct buf *out);
bool path_decode(struct str s, struct buf *out);           /* the same of a part of a path, where + is itself */
void query_add_escaped(struct buf *url, struct str value); /* as a value, or a part of a path */
/* Appends name=value in that form, behind ? if it is the first of a URL, else behind &; nothing if the value is absent. */
void query_add(struct buf *url, const char *name, struct str value);
/* The decoded value of a parameter, by its name as it is written. False: it is not there, or no text. Of several of one name
 * it is the first's; *count, if not NULL, says how many there are. */
bool query_value(struct str query, struct str name, struct buf *out, size_t *count);
