/* SPDX-License-Identifier: MIT */
/* CPU time and delays. */
#include "meter.h"
#include <time.h>

double meter_cpu_s(int pid)
{
    clockid_t clock = CLOCK_PROCESS_CPUTIME_ID;
    struct timespec t = { 0 };
    if (pid && clock_getcpuclockid(pid, &clock) != 0)
        return 0;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void delays_add(struct delays *d, int64_t us)
{
    int64_t step = us < 0 ? 0 : us / DELAYS_STEP_US;
    d->steps[step < DELAYS_STEPS ? step : DELAYS_STEPS - 1]++;
}

double delays_ms(const struct delays *d, double quantile)
{
    uint64_t total = 0, seen = 0;
    for (int i = 0; i < DELAYS_STEPS; i++)
        total += d->steps[i];
    for (int i = 0; total && i < DELAYS_STEPS; i++) {
        seen += d->steps[i];
        if ((double)seen >= quantile * (double)total)
            return (i + 1) * DELAYS_STEP_US / 1000.0;
    }
    return 0;
}
