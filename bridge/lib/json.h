/* SPDX-License-Identifier: MIT */
/* Texts and moments in the JSON that the bridge writes: an absent text and an unknown moment are null, a moment is
 * RFC 3339. As jansson's values, or as members that are appended to a buffer; and a text of such JSON. Any thread. */
#pragma once
#include <jansson.h>
#include "bridge/lib/buf.h"
#include "bridge/lib/str.h"

/* As json_dumps, a number that is no whole one in as few digits as say it exactly (0.201, not 0.20100000000000001); NULL: it
 * cannot be said in JSON. The caller frees it. */
char *json_short(const json_t *json, size_t flags);
const char *json_text(const json_t *of, const char *name); /* of that member, borrowed; "": it has none */
bool json_has(const json_t *list, const char *text);       /* is it among the list's texts? */
void json_add_once(json_t *list, const char *text);        /* appended, unless it is there */
json_t *json_of_text(struct str s);                        /* "?": no UTF-8. The caller's reference. */
json_t *json_of_moment(int64_t wall_ms);                   /* 0: null. The caller's reference. */
/* Appends a member to an object that was begun, behind a comma unless it is the first. Bytes that are no UTF-8 become
 * U+FFFD. */
void json_add_text(struct buf *out, const char *name, struct str text);
void json_add_moment(struct buf *out, const char *name, int64_t wall_ms);
