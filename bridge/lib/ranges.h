/* SPDX-License-Identifier: MIT */
/* A set of numbers as sorted ranges that neither touch nor overlap: what is finished beyond a position.
 *
 * {0} is the empty set. One thread. Memory is 16 bytes a range; what is decoded is bounded by its bytes. */
#pragma once
#include "bridge/lib/str.h"

struct range {
    int64_t from, to; /* from <= n < to */
};
struct ranges {
    struct range *at;
    size_t count, cap;
};

void ranges_add(struct ranges *r, int64_t from, int64_t to); /* nothing when from >= to; quick at the end */
void ranges_free(struct ranges *r);                          /* {0} and ready for use again */
struct ranges ranges_union(const struct ranges *a, const struct ranges *b); /* free it */
/* The first range that ends behind n (n is in it when it begins at or before n), NULL when there is none. */
const struct range *ranges_behind(const struct ranges *r, int64_t n);
int64_t ranges_skip(const struct ranges *r, int64_t n); /* the first number from n on that is not in the set */
int64_t ranges_within(const struct ranges *r, int64_t from, int64_t to); /* how many of these are in the set */
void ranges_cut(struct ranges *r, int64_t before);                       /* forgets all numbers before that one */

/* The set as bytes, with the position that it stands beyond and a checksum: it means nothing beside another position.
 * Numbers before the base must have been cut. Writes as many of the nearest ranges as there is room for and returns
 * the bytes written (0: there is room for none); *needed: bytes that all of it takes. */
size_t ranges_encode(const struct ranges *r, int64_t base, unsigned char *out, size_t room, size_t *needed);
/* False: foreign, damaged, or of another base; *out is empty then. Any bytes. */
bool ranges_decode(struct ranges *out, int64_t base, struct str bytes);
