/* SPDX-License-Identifier: MIT */
/* Allocation that ends the process with a message when memory is out, and checks of our own assumptions.
 *
 * Sizes that come from outside are bounded before they get here. CHECK stays on in release; it guards against our own
 * mistakes, never against input. */
#pragma once
#include <stddef.h>

void *mem_alloc(size_t n);                          /* zeroed; free() it */
void *mem_grow(void *p, size_t count, size_t size); /* realloc to count * size bytes, overflow checked */
_Noreturn void mem_check_failed(const char *what, const char *file, int line);

#define CHECK(x) ((x) ? (void)0 : mem_check_failed(#x, __FILE__, __LINE__))
