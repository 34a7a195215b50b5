/* SPDX-License-Identifier: MIT */
/* Which (source, id) pairs were seen: exact, bounded, the oldest forgotten first. One thread.
 *
 * A pair is `pending` while its event is on its way, with a slot number of the user's to attach repeats to; then it
 * is kept as stored or forgotten. */
#pragma once
#include "bridge/lib/str.h"

struct memory;
enum { MEMORY_STORED = -1, MEMORY_UNKNOWN = -2 };

struct memory *memory_new(size_t most); /* pending pairs come on top of `most` */
void memory_free(struct memory *m);
/* The slot of a pending pair (>= 0), MEMORY_STORED, or MEMORY_UNKNOWN. */
int64_t memory_find(const struct memory *m, struct str source, struct str id);
void memory_begin(struct memory *m, struct str source, struct str id, uint32_t slot); /* was unknown */
/* The pair that is pending with this slot is now stored, or forgotten. */
void memory_end(struct memory *m, uint32_t slot, bool stored);
void memory_add(struct memory *m, struct str source, struct str id); /* stored long ago; a known pair stays as it is */
