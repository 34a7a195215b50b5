/* SPDX-License-Identifier: MIT */
/* The contiguous finished prefix, as a ring of what is open. */
#include "bridge/lib/watermark.h"
#include <stdlib.h>
#include "bridge/lib/mem.h"

enum { FIRST_CAP = 64 }; /* a power of two, as all that follow */

static size_t watermark_index(const struct watermark *w, size_t i)
{
    return (w->head + i) & (w->cap - 1);
}

static void watermark_grow(struct watermark *w)
{
    size_t cap = w->cap > 0 ? w->cap * 2 : FIRST_CAP;
    int64_t *offsets = mem_grow(NULL, cap, sizeof *offsets);
    bool *finished = mem_grow(NULL, cap, sizeof *finished);
    for (size_t i = 0; i < w->count; i++) {
        offsets[i] = w->offsets[watermark_index(w, i)];
        finished[i] = w->finished[watermark_index(w, i)];
    }
    free(w->offsets);
    free(w->finished);
    w->offsets = offsets;
    w->finished = finished;
    w->cap = cap;
    w->head = 0;
}

void watermark_begin(struct watermark *w, int64_t offset)
{
    CHECK(offset >= 0 && offset >= w->after - 1);
    CHECK(w->count == 0 || offset > w->offsets[watermark_index(w, w->count - 1)]);
    if (w->count == w->cap)
        watermark_grow(w);
    size_t i = watermark_index(w, w->count++);
    w->offsets[i] = offset;
    w->finished[i] = false;
}

/* Where the offset stands among the open ones: at once when there is no gap, else by halving. */
static size_t watermark_find(const struct watermark *w, int64_t offset)
{
    CHECK(w->count > 0 && offset >= w->offsets[w->head]);
    uint64_t guess = (uint64_t)(offset - w->offsets[w->head]);
    if (guess < w->count && w->offsets[watermark_index(w, (size_t)guess)] == offset)
        return (size_t)guess;
    size_t low = 0, high = w->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (w->offsets[watermark_index(w, middle)] < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void watermark_finish(struct watermark *w, int64_t offset)
{
    size_t i = watermark_find(w, offset);
    CHECK(i < w->count && w->offsets[watermark_index(w, i)] == offset && !w->finished[watermark_index(w, i)]);
    w->finished[watermark_index(w, i)] = true;
    while (w->count > 0 && w->finished[w->head]) {
        w->after = w->offsets[w->head] + 2;
        w->head = watermark_index(w, 1);
        w->count--;
    }
}

void watermark_free(struct watermark *w)
{
    free(w->offsets);
    free(w->finished);
    *w = (struct watermark){ 0 };
}
