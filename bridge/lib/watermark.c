/* SPDX-License-Identifier: MIT */
/* The contiguous finished prefix, as a ring of what is open. */
#include "bridge/lib/watermark.h"
#include <stdlib.h>
#include "bridge/lib/mem.h"

enum { FIRST_CAP = 64 }; /* a power of two, as all that follow */

static size_t place(const struct watermark *w, size_t i)
{
    return (w->head + i) & (w->cap - 1);
}

static void grow(struct watermark *w)
{
    size_t cap = w->cap > 0 ? w->cap * 2 : FIRST_CAP;
    int64_t *offsets = mem_grow(NULL, cap, sizeof *offsets);
    bool *finished = mem_grow(NULL, cap, sizeof *finished);
    for (size_t i = 0; i < w->count; i++) {
        offsets[i] = w->offsets[place(w, i)];
        finished[i] = w->finished[place(w, i)];
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
    CHECK(w->count == 0 || offset > w->offsets[place(w, w->count - 1)]);
    if (w->count == w->cap)
        grow(w);
    size_t i = place(w, w->count++);
    w->offsets[i] = offset;
    w->finished[i] = false;
}

/* Where the offset stands among the open ones: at once when there is no gap, else by halving. */
static size_t find(const struct watermark *w, int64_t offset)
{
    CHECK(w->count > 0 && offset >= w->offsets[w->head]);
    uint64_t guess = (uint64_t)(offset - w->offsets[w->head]);
    if (guess < w->count && w->offsets[place(w, (size_t)guess)] == offset)
        return (size_t)guess;
    size_t low = 0, high = w->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (w->offsets[place(w, middle)] < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void watermark_finish(struct watermark *w, int64_t offset)
{
    size_t i = find(w, offset);
    CHECK(i < w->count && w->offsets[place(w, i)] == offset && !w->finished[place(w, i)]);
    w->finished[place(w, i)] = true;
    while (w->count > 0 && w->finished[w->head]) {
        w->after = w->offsets[w->head] + 2;
        w->head = place(w, 1);
        w->count--;
    }
}

void watermark_free(struct watermark *w)
{
    free(w->offsets);
    free(w->finished);
    *w = (struct watermark){ 0 };
}
