/* SPDX-License-Identifier: MIT */
/* The contiguous finished prefix of things that were begun in order and end in any order.
 *
 * Used per partition: begin(offset) as records are read, finish(offset) as they end; position() is the offset that
 * may be committed: one past the last record such that it and all begun before it are finished. Offsets rise but may
 * have gaps. Amortised O(1) per record; memory is the number of open records between the oldest unfinished one and
 * the newest. One thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct watermark {
    int64_t *offsets; /* ring */
    bool *finished;
    size_t cap, head, count; /* count: how many were begun and are not behind the position */
    int64_t after;           /* position + 1, so that {0} means "nothing finished yet" */
};

void watermark_begin(struct watermark *w, int64_t offset);  /* offset > every offset begun before (CHECKed) */
void watermark_finish(struct watermark *w, int64_t offset); /* begun and not yet finished (CHECKed) */
/* -1 until something finished. */
static inline int64_t watermark_position(const struct watermark *w)
{
    return w->after - 1;
}
void watermark_free(struct watermark *w); /* {0} and ready for use again */
