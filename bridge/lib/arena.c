/* SPDX-License-Identifier: MIT */
/* Memory that is freed all at once. */
#include "bridge/lib/arena.h"
#include <stdalign.h>
#include <stdlib.h>
#include "bridge/lib/mem.h"

struct arena_block {
    struct arena_block *next;
    size_t n;
    void *what; /* kept for somebody else */
    void (*release)(void *);
    alignas(max_align_t) unsigned char bytes[];
};

static struct arena_block *arena_add_block(struct arena *a, size_t n)
{
    CHECK(n < SIZE_MAX / 2);
    struct arena_block *b = mem_alloc(sizeof *b + n);
    b->n = n;
    b->next = a->blocks;
    a->blocks = b;
    return b;
}

void *arena_alloc(struct arena *a, size_t n)
{
    return arena_add_block(a, n)->bytes;
}

char *arena_text(struct arena *a, struct str s)
{
    char *copy = arena_alloc(a, s.n + 1);
    if (s.n)
        memcpy(copy, s.at, s.n);
    return copy;
}

void arena_keep(struct arena *a, void *what, void (*release)(void *))
{
    struct arena_block *b = arena_add_block(a, 0);
    b->what = what;
    b->release = release;
}

void arena_free(struct arena *a)
{
    while (a->blocks) {
        struct arena_block *b = a->blocks;
        a->blocks = b->next;
        if (b->release)
            b->release(b->what);
        explicit_bzero(b->bytes, b->n);
        free(b);
    }
}
