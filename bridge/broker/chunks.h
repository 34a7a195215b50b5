/* SPDX-License-Identifier: MIT */
/* What was just read of logs for readers at any position, so that one reading serves all that come to the same place.
 *
 * A chunk is a stretch of a partition, from..to, with the records that are there. The least recently used ones go when
 * all together are too large. One thread, or under one lock. */
#pragma once
#include <stdint.h>
#include "bridge/event/record.h"

struct chunks;

struct chunks *chunks_new(size_t most_bytes);
void chunks_free(struct chunks *c);
/* References to records of `of` (any name of a partition) from *next on and before `until`, as far as they are here: at
 * most `room`, and about `bytes` of them. *next moves past them, and past what is known not to be there. */
size_t chunks_take(struct chunks *c, const void *of, int64_t *next, int64_t until, struct record **out, size_t room,
                   size_t bytes);
/* The record at that offset or the first one behind it in the chunk that has it: true; NULL: there is none. */
bool chunks_look(struct chunks *c, const void *of, int64_t offset, const struct record **out);
/* Takes over the records, which are all there are in from..to; count may be 0. */
void chunks_put(struct chunks *c, const void *of, int64_t from, int64_t to, struct record *const *records,
                size_t count);
size_t chunks_untaken(const struct chunks *c); /* chunks that nobody came to yet */
void chunks_forget(struct chunks *c, const void *of);
size_t record_weight(const struct record *r); /* about how many bytes it takes */
