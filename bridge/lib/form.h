/* SPDX-License-Identifier: MIT */
/* application/x-www-form-urlencoded, as browsers write it (URL Standard, section 5): "a=1&b=%C3%BC+x". Any thread. */
#pragma once
#include "bridge/lib/buf.h"
#include "bridge/lib/err.h"

enum { FORM_FIELDS = 1000 };

bool form_is(struct str content_type);
/* Appends the field or value decoded; a % that is none stays. */
void form_decode(struct buf *out, struct str text);
/* Appends the first value of that name, decoded. False: there is none. */
bool form_find(struct buf *out, struct str form, const char *name);
/* Appends an object of the fields in their order, all texts; one that is there several times is an array. False with *e:
 * too many, or no room. */
bool form_to_json(struct buf *out, struct str form, struct err *e);
