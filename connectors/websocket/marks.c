/* SPDX-License-Identifier: MIT */
/* A queue of frames. */
#include "connectors/websocket/marks.h"
#include <stdlib.h>
#include "bridge/lib/mem.h"

/* Doubles the room, and begins at its front. */
static void marks_grow(struct marks *m)
{
    size_t cap = m->cap ? 2 * m->cap : 16;
    struct mark *at = mem_grow(NULL, cap, sizeof *at);
    for (size_t i = 0; i < m->count; i++)
        at[i] = m->at[(m->first + i) & (m->cap - 1)];
    free(m->at);
    m->at = at;
    m->cap = cap;
    m->first = 0;
}

void marks_add(struct marks *m, struct mark one)
{
    if (m->count == m->cap)
        marks_grow(m);
    m->at[(m->first + m->count++) & (m->cap - 1)] = one;
    m->end += one.bytes;
}

void marks_drop(struct marks *m, uint64_t before)
{
    while (m->count && m->begin < before) {
        m->begin += m->at[m->first].bytes;
        m->first = (m->first + 1) & (m->cap - 1);
        m->count--;
    }
    if (m->count)
        return;
    free(m->at);
    *m = (struct marks){ .begin = m->end, .end = m->end };
}

void marks_free(struct marks *m)
{
    free(m->at);
    *m = (struct marks){ 0 };
}

uint64_t marks_back(const struct marks *m, uint64_t position, int64_t *next)
{
    uint64_t end = m->end;
    for (size_t i = m->count; i-- > 0;) {
        const struct mark *one = &m->at[(m->first + i) & (m->cap - 1)];
        if (end - one->bytes < position)
            break;
        end -= one->bytes;
        if (next && one->place < UINT32_MAX)
            next[one->place] = one->offset;
    }
    return end;
}

size_t marks_after(const struct marks *m, uint64_t position)
{
    uint64_t end = m->end;
    size_t n = 0;
    for (size_t i = m->count; i-- > 0;) {
        const struct mark *one = &m->at[(m->first + i) & (m->cap - 1)];
        end -= one->bytes;
        if (end < position)
            break;
        n += one->place < UINT32_MAX;
    }
    return n;
}

uint64_t marks_limit(const struct marks *m, uint64_t position, size_t count)
{
    uint64_t at = m->begin;
    for (size_t i = 0; i < m->count; i++) {
        const struct mark *one = &m->at[(m->first + i) & (m->cap - 1)];
        if (at >= position && one->place < UINT32_MAX && count-- == 0)
            return at;
        at += one->bytes;
    }
    return at;
}
