/* SPDX-License-Identifier: MIT */
/* The growing buffer. */
#include "bridge/lib/buf.h"
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/mem.h"

enum { SMALLEST = 64 };

/* Room for n more bytes and the NUL of buf_c. */
static bool buf_reserve(struct buf *b, size_t n)
{
    if (b->failed || n > b->max - b->n) {
        b->failed = true;
        return false;
    }
    size_t need = b->n + n + 1;
    if (need <= b->cap)
        return true;
    size_t cap = b->cap < SMALLEST ? SMALLEST : b->cap * 2;
    b->cap = cap < need ? need : cap;
    b->at = mem_grow(b->at, b->cap, 1);
    return true;
}

void buf_add(struct buf *b, const void *bytes, size_t n)
{
    if (n == 0 || !buf_reserve(b, n))
        return;
    memcpy(b->at + b->n, bytes, n);
    b->n += n;
}

void buf_add_str(struct buf *b, struct str s)
{
    buf_add(b, s.at, s.n);
}

void buf_add_c(struct buf *b, const char *c_string)
{
    buf_add(b, c_string, strlen(c_string));
}

void buf_add_char(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    CHECK(n >= 0);
    if (!buf_reserve(b, (size_t)n))
        return;
    va_start(args, fmt);
    vsnprintf(b->at + b->n, (size_t)n + 1, fmt, args);
    va_end(args);
    b->n += (size_t)n;
}

char *buf_room(struct buf *b, size_t n)
{
    return buf_reserve(b, n) ? b->at + b->n : NULL;
}

void buf_drop(struct buf *b, size_t n)
{
    CHECK(n <= b->n);
    b->n -= n;
    if (n > 0 && b->n > 0)
        memmove(b->at, b->at + n, b->n);
}

void buf_reset(struct buf *b)
{
    b->n = 0;
    b->failed = false;
}

void buf_free(struct buf *b)
{
    free(b->at);
    *b = buf_new(b->max);
}

const char *buf_c(struct buf *b)
{
    if (!buf_reserve(b, 0))
        return NULL;
    b->at[b->n] = '\0';
    return b->at;
}
