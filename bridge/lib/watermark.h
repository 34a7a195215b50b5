/* SPDX-License-Identifier: MIT */
/* How far things are finished that were begun in order and end in any order: a position, and what is finished beyond.
 *
 * Used per partition: begin(offset) as records are read, finish(offset) as they end. Offsets rise but may have gaps: what
 * was never begun between two that were does not exist, so it counts as finished. Amortised O(1) per record; memory is
 * that of the open records, however many are finished between them. One thread. */
#pragma once
#include "bridge/lib/ranges.h"

struct watermark {
    int64_t *offsets; /* ring: the open ones, and finished ones that were not dropped yet; the first is open */
    bool *finished;
    size_t cap, head, count, open;
    int64_t end;  /* one past the newest begun */
    bool started; /* something finished */
};

void watermark_begin(struct watermark *w, int64_t offset);         /* > every offset begun before (CHECKed) */
void watermark_finish(struct watermark *w, int64_t offset);        /* begun and not yet finished (CHECKed) */
bool watermark_is_open(const struct watermark *w, int64_t offset); /* begun and not finished */
int64_t watermark_first_open(const struct watermark *w);           /* -1: none is */
/* Everything before it is finished; -1 until something finished. */
int64_t watermark_position(const struct watermark *w);
/* What is finished beyond the position; free it. */
struct ranges watermark_beyond(const struct watermark *w);
/* How long a position is kept back from the last time it was stored, when so many records have finished meanwhile: those a
 * crash repeats. */
int64_t watermark_pause_ms(size_t finished);
void watermark_free(struct watermark *w); /* {0} and ready for use again */
