/* SPDX-License-Identifier: MIT */
/* Ranges of values that may be times from a moment on. The bounds between units are those of value_time(). */
#include "connectors/sqlite/times.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "bridge/lib/clock.h"

enum {
    TIMES_ZONE_MS = 14 * 3600 * 1000, /* how far the text of a time may be behind UTC */
    TIMES_DAY_MS = 24 * 3600 * 1000,
};

static void times_real(char out[TIMES_BYTES], double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    snprintf(out, TIMES_BYTES, "r%016" PRIx64, bits);
}

static void times_add_numbers(struct times *out, double low, double high)
{
    times_real(out->low, low);
    times_real(out->high, high);
}

static double times_larger(double a, double b)
{
    return a > b ? a : b;
}

/* Text of the day that begins so, from that time of day on: separated from the date by that character. */
static void times_add_day(struct times *out, const char *text, char separator)
{
    snprintf(out->low, TIMES_BYTES, "t%.10s%c%.8s", text, separator, text + 11);
    snprintf(out->high, TIMES_BYTES, "t%.10s%c", text, separator + 1);
}

size_t times_since(int64_t ms, bool zoned, struct times out[TIMES_RANGES])
{
    char text[CLOCK_TEXT], next[CLOCK_TEXT];
    double at = (double)ms;
    size_t n = 0;
    times_add_numbers(&out[n++], at / 1000, 1e11);
    times_add_numbers(&out[n++], at / (double)TIMES_DAY_MS + 2440587.5, 5373484.5); /* Julian days */
    times_add_numbers(&out[n++], times_larger(at, 1e11), 1e14);
    times_add_numbers(&out[n++], times_larger(at * 1e3, 1e14), 1e17);
    times_add_numbers(&out[n++], times_larger(at * 1e6, 1e17), 9.3e18);
    /* digits: of any unit, as what begins alike is the same second */
    snprintf(out[n].low, TIMES_BYTES, "t%" PRId64, ms / 1000 - 1);
    snprintf(out[n++].high, TIMES_BYTES, ms < 1990000000000 ? "t2" : "t:");
    int64_t day = ms - 1000 - (zoned ? TIMES_ZONE_MS : 0);
    clock_text(day, text);
    clock_text(day + TIMES_DAY_MS, next);
    times_add_day(&out[n++], text, ' ');
    times_add_day(&out[n++], text, 'T');
    snprintf(out[n].low, TIMES_BYTES, "t%.10s", next);
    snprintf(out[n++].high, TIMES_BYTES, "t:");
    return n;
}
