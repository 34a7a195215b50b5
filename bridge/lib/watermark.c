/* SPDX-License-Identifier: MIT */
/* Position and finished set, as a ring of what is open. */
#include "bridge/lib/watermark.h"
#include <stdlib.h>
#include "bridge/lib/mem.h"

enum {
    FIRST_CAP = 64,      /* a power of two, as all that follow */
    PAUSE_MS = 200,      /* between two times that a position is stored, ... */
    PAUSE_RECORDS = 256, /* ... but with as many finished */
    PAUSE_LEAST_MS = 5,  /* this, about what a broker takes for one */
};

static size_t watermark_index(const struct watermark *w, size_t i)
{
    return (w->head + i) & (w->cap - 1);
}

/* Drops what is finished; doubles the ring when that makes little room. */
static void watermark_grow(struct watermark *w)
{
    size_t cap = w->cap == 0 ? FIRST_CAP : w->open > w->cap / 2 ? w->cap * 2 : w->cap;
    int64_t *offsets = mem_grow(NULL, cap, sizeof *offsets);
    bool *finished = mem_alloc(cap * sizeof *finished);
    size_t n = 0;
    for (size_t i = 0; i < w->count; i++)
        if (!w->finished[watermark_index(w, i)])
            offsets[n++] = w->offsets[watermark_index(w, i)];
    free(w->offsets);
    free(w->finished);
    w->offsets = offsets;
    w->finished = finished;
    w->cap = cap;
    w->head = 0;
    w->count = n;
}

void watermark_begin(struct watermark *w, int64_t offset)
{
    CHECK(offset >= w->end);
    if (w->count == w->cap)
        watermark_grow(w);
    size_t i = watermark_index(w, w->count++);
    w->offsets[i] = offset;
    w->finished[i] = false;
    w->open++;
    w->end = offset + 1;
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
    w->open--;
    w->started = true;
    while (w->count > 0 && w->finished[w->head]) {
        w->head = watermark_index(w, 1);
        w->count--;
    }
}

bool watermark_is_open(const struct watermark *w, int64_t offset)
{
    if (w->count == 0 || offset < w->offsets[w->head] || offset >= w->end)
        return false;
    size_t i = watermark_find(w, offset);
    return i < w->count && w->offsets[watermark_index(w, i)] == offset && !w->finished[watermark_index(w, i)];
}

int64_t watermark_pause_ms(size_t finished)
{
    return finished < PAUSE_RECORDS ? PAUSE_MS : PAUSE_LEAST_MS;
}

int64_t watermark_first_open(const struct watermark *w)
{
    return w->count > 0 ? w->offsets[w->head] : -1;
}

int64_t watermark_position(const struct watermark *w)
{
    if (!w->started)
        return -1;
    return w->count > 0 ? w->offsets[w->head] : w->end;
}

struct ranges watermark_beyond(const struct watermark *w)
{
    struct ranges out = { 0 };
    int64_t from = w->end;
    for (size_t i = 0; i < w->count; i++) {
        size_t k = watermark_index(w, i);
        if (w->finished[k])
            continue;
        ranges_add(&out, from, w->offsets[k]);
        from = w->offsets[k] + 1;
    }
    ranges_add(&out, from, w->end);
    return out;
}

void watermark_free(struct watermark *w)
{
    free(w->offsets);
    free(w->finished);
    *w = (struct watermark){ 0 };
}
