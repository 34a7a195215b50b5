/* SPDX-License-Identifier: MIT */
/* When a destination may get an attempt: as fast as its rate says. */
#include "bridge/delivery/private.h"

enum { ASIDE_MS = 30000 };

int64_t gates_due(const struct destination *to)
{
    return rate_due(&to->rate);
}

void gates_sent(struct delivery *d, struct destination *to)
{
    rate_take(&to->rate);
    if (d->many)
        rate_take(&d->self.rate);
}

int64_t gates_aside_ms(struct destination *to)
{
    return to->rate.interval_us ? rate_slot(&to->rate, to->open) : ASIDE_MS;
}
