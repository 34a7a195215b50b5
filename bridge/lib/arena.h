/* SPDX-License-Identifier: MIT */
/* Memory that is freed all at once. Wiped when freed, since configuration holds secrets. One thread at a time. */
#pragma once
#include "bridge/lib/str.h"

struct arena_block;
struct arena { /* zeroed to start */
    struct arena_block *blocks;
};

void *arena_alloc(struct arena *a, size_t n);                          /* zeroed; aligned for anything */
char *arena_text(struct arena *a, struct str s);                       /* NUL-terminated copy */
void arena_keep(struct arena *a, void *what, void (*release)(void *)); /* calls release(what) in arena_free */
void arena_free(struct arena *a);                                      /* newest first; ready for use again */
