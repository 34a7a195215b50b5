/* SPDX-License-Identifier: MIT */
/* Where in a column of times those from a moment on stand, be they numbers or text, so that an index finds them. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TIMES_RANGES = 9, TIMES_BYTES = 32 };

struct times { /* typed values (value.h): low <= value < high, as SQLite compares them */
    char low[TIMES_BYTES], high[TIMES_BYTES];
};
/* A value of another day, unit or form may lie there too: its time is to be looked at. zoned: text may say that it is
 * behind UTC. Returns how many they are. */
size_t times_since(int64_t ms, bool zoned, struct times out[TIMES_RANGES]);
