/* SPDX-License-Identifier: MIT */
/* What benchmarks measure: CPU time, and how long things took. */
#pragma once
#include <stdint.h>

double meter_cpu_s(int pid); /* of all its threads; 0: this process */

enum { DELAYS_STEP_US = 5, DELAYS_STEPS = 1 << 17 }; /* beyond 655 ms all are the same */

struct delays { /* a histogram; zeroed: empty */
    uint64_t steps[DELAYS_STEPS];
};

void delays_add(struct delays *d, int64_t us);
double delays_ms(const struct delays *d, double quantile); /* 0 when there are none */
