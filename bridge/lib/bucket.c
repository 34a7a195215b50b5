/* SPDX-License-Identifier: MIT */
/* The token bucket, reckoned by the time it takes to fill. */
#include "bridge/lib/bucket.h"

enum { SECOND_US = 1000000 };
#define LONGEST_US (INT64_C(365) * 86400 * SECOND_US)

/* How long it takes until so much has come; rounded up, so that it is there then. */
static int64_t bucket_us(const struct bucket_size *size, double amount)
{
    double us = amount / size->rate * (double)SECOND_US;
    if (us >= (double)LONGEST_US)
        return LONGEST_US;
    int64_t whole = (int64_t)us;
    return whole + ((double)whole < us);
}

int64_t bucket_wait(int64_t full_us, const struct bucket_size *size, double cost, int64_t now_us)
{
    if (size->rate <= 0 || full_us <= now_us)
        return 0;
    int64_t spare = cost < size->burst ? bucket_us(size, size->burst - cost) : 0;
    return full_us - now_us > spare ? full_us - now_us - spare : 0;
}

int64_t bucket_take(int64_t full_us, const struct bucket_size *size, double cost, int64_t now_us)
{
    if (size->rate <= 0)
        return full_us;
    int64_t from = full_us > now_us ? full_us : now_us, us = bucket_us(size, cost);
    return from - now_us > LONGEST_US - us ? now_us + LONGEST_US : from + us;
}
