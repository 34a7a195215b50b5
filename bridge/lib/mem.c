/* SPDX-License-Identifier: MIT */
/* Allocation that cannot fail, and the end of the process when an assumption is wrong. */
#include "bridge/lib/mem.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/crash.h"

static _Noreturn void mem_out_of_memory(void)
{
    fputs("aqueduct: out of memory\n", stderr);
    abort();
}

void *mem_alloc(size_t n)
{
    crash_point("allocation"); /* any of them may end the process */
    void *p = calloc(1, n > 0 ? n : 1);
    if (!p)
        mem_out_of_memory();
    return p;
}

void *mem_grow(void *p, size_t count, size_t size)
{
    if (size > 0 && count > SIZE_MAX / size)
        mem_out_of_memory();
    crash_point("allocation");
    size_t n = count * size;
    void *grown = realloc(p, n > 0 ? n : 1);
    if (!grown)
        mem_out_of_memory();
    return grown;
}

void mem_check_failed(const char *what, const char *file, int line)
{
    fprintf(stderr, "aqueduct: %s:%d: this must hold: %s\n", file, line, what);
    abort();
}
