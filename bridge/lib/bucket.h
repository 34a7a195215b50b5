/* SPDX-License-Identifier: MIT */
/* A token bucket: so many in a second, and at most `burst` at once.
 *
 * It is kept as one number, the moment at which it is full again; a full one is like one that was never used, so nobody has
 * to keep it. What costs more than the burst is there when the bucket is full. Times are those of clock_mono_us. */
#pragma once
#include <stdint.h>

struct bucket_size {
    double rate, burst; /* rate 0: no limit */
};

/* In how many microseconds `cost` is there; 0: now. */
int64_t bucket_wait(int64_t full_us, const struct bucket_size *size, double cost, int64_t now_us);
/* Takes it, whether or not it is there: what is not makes the next ones wait longer. Returns when it is full again. */
int64_t bucket_take(int64_t full_us, const struct bucket_size *size, double cost, int64_t now_us);
