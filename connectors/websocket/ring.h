/* SPDX-License-Identifier: MIT */
/* A ring of bytes that is mapped twice in a row, so that any stretch of it is contiguous: one pointer, one send().
 *
 * Positions only grow; a reader is a position between head - size and head. When every reader has come to the head,
 * ring_rewind starts over at the front: a ring that nobody lags behind stays in the processor's cache and gives its
 * memory back. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "bridge/lib/err.h"
#include "bridge/lib/str.h"

struct ring {
    char *at;              /* `size` bytes, followed by the same bytes again */
    size_t size;           /* a power of two, whole pages */
    uint64_t origin, head; /* what lies at at[0]; where the next byte goes */
    size_t touched;        /* bytes from the front that were written since memory was given back */
    size_t *held;          /* touched bytes of all rings that share a bound */
};

bool ring_open(struct ring *r, size_t least_size, size_t *held, struct err *e);
void ring_close(struct ring *r);
void ring_add(struct ring *r, struct str bytes); /* at most `size`; the oldest bytes are overwritten */
void ring_rewind(struct ring *r);
void ring_give_back(struct ring *r);          /* rewinds, and keeps no memory at all */
void ring_trim(struct ring *r, uint64_t low); /* keeps memory only for the bytes from position low on */

static inline const char *ring_bytes(const struct ring *r, uint64_t position)
{
    return r->at + ((position - r->origin) & (r->size - 1));
}
