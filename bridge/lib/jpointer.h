/* SPDX-License-Identifier: MIT */
/* JSON pointers (RFC 6901): compiled once, and found in a text by one pass of the strict scanner, however many they are.
 *
 *   struct jpointers *ps = jpointers_new();
 *   int key = jpointers_add(ps, STR("/collection/key"), &e);
 *   struct jscan_value values[jpointers_count(ps)];      or room for the most there may be
 *   if (jpointers_find(ps, text, values, &e) && values[key].type == JSCAN_STRING) ... values[key].raw ...
 *
 * A pointer is "", the whole text, or tokens of which each begins with '/'; in a token ~1 is '/' and ~0 is '~'. A token leads
 * to the member of an object that has that name, whatever escapes the text spells it with, and to the element of an array
 * when it is a decimal number without leading zeros. "-" (behind an array's last) leads to nothing. Of several members of
 * one name the last counts, as it does for nearly all parsers: what is found is what a receiver reads.
 *
 * The whole text is checked as jscan_check does it; apart from that, what no pointer asks for is not looked at. No tree is
 * built, and nothing is allocated but for names with escapes. Once all are added, any thread may search. */
#pragma once
#include "bridge/lib/jscan.h"

enum { JPOINTER_BYTES = 1024, JPOINTER_TOKENS = 64 }; /* of one pointer */

struct jpointers;

struct jpointers *jpointers_new(void);
void jpointers_free(struct jpointers *ps); /* accepts NULL */
/* The pointer's number among the values; equal pointers have the same. -1 with *e when it is none, or too long. */
int jpointers_add(struct jpointers *ps, struct str pointer, struct err *e);
/* How many values jpointers_find writes: one for each place on the way of a pointer, so more than there are pointers. */
size_t jpointers_count(const struct jpointers *ps);
/* Writes what stands at each place, JSCAN_NONE where nothing does. False with *e, and nothing found, when the text is not
 * JSON. The values point into the text. */
bool jpointers_find(const struct jpointers *ps, struct str text, struct jscan_value *values, struct err *e);
