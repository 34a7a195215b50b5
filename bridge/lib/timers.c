/* SPDX-License-Identifier: MIT */
/* A binary heap of deadlines. */
#include "bridge/lib/timers.h"
#include <stdlib.h>
#include "bridge/lib/mem.h"

enum { FIRST_CAP = 64 };

void timers_add(struct timers *t, int64_t due_ms, uint64_t tag)
{
    if (t->count == t->cap) {
        t->cap = t->cap > 0 ? t->cap * 2 : FIRST_CAP;
        t->heap = mem_grow(t->heap, t->cap, sizeof *t->heap);
    }
    size_t i = t->count++;
    for (; i > 0 && t->heap[(i - 1) / 2].due_ms > due_ms; i = (i - 1) / 2)
        t->heap[i] = t->heap[(i - 1) / 2];
    t->heap[i] = (struct timer){ due_ms, tag };
}

bool timers_pop(struct timers *t, int64_t now_ms, uint64_t *tag)
{
    if (t->count == 0 || t->heap[0].due_ms > now_ms)
        return false;
    *tag = t->heap[0].tag;
    struct timer last = t->heap[--t->count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < t->count && t->heap[child + 1].due_ms < t->heap[child].due_ms)
            child++;
        if (child >= t->count || t->heap[child].due_ms >= last.due_ms)
            break;
        t->heap[i] = t->heap[child];
        i = child;
    }
    t->heap[i] = last;
    return true;
}

int64_t timers_next(const struct timers *t)
{
    return t->count > 0 ? t->heap[0].due_ms : INT64_MAX;
}

void timers_free(struct timers *t)
{
    free(t->heap);
    *t = (struct timers){ 0 };
}
