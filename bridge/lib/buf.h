/* SPDX-License-Identifier: MIT */
/* A growing byte buffer with a mandatory maximum and a sticky failure.
 *
 * An add that would pass the maximum adds nothing and sets `failed`; later adds do nothing, so a builder checks
 * once, at the end. Owned by whoever declared it; buf_free when done. Not for two threads at once. */
#pragma once
#include <stdarg.h>
#include "bridge/lib/str.h"

struct buf {
    char *at;
    size_t n, cap, max;
    bool failed;
};

static inline struct buf buf_new(size_t max)
{
    return (struct buf){ .max = max };
}
static inline struct str buf_str(const struct buf *b)
{
    return (struct str){ b->at ? b->at : "", b->n };
}

void buf_add(struct buf *b, const void *bytes, size_t n);
void buf_add_str(struct buf *b, struct str s);
void buf_add_c(struct buf *b, const char *c_string);
void buf_add_char(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Room for n more bytes behind the end, or NULL (failed); the caller writes there and then adds to b->n. */
char *buf_room(struct buf *b, size_t n);
/* Drops the first n bytes and moves the rest to the front. */
void buf_drop(struct buf *b, size_t n);
/* Forgets content and failure, keeps the memory. */
void buf_reset(struct buf *b);
void buf_free(struct buf *b); /* also fit for a zeroed struct */
/* Ends the content with a NUL that is not counted; returns the C string, or NULL if failed. */
const char *buf_c(struct buf *b);
