/* SPDX-License-Identifier: MIT */
/* Time: monotonic for intervals, wall for what is shown, signed or stored; and a fake for tests.
 *
 * All code asks here, so a test that sets the fake clock decides what time it is. Any thread. */
#pragma once
#include "bridge/lib/str.h"

struct duration {
    int64_t ms;
};

int64_t clock_mono_us(void); /* microseconds from an arbitrary start, never goes back */
int64_t clock_mono_ms(void);
int64_t clock_elapsed_ms(void); /* goes on while the machine is suspended, never goes back */
int64_t clock_wall_us(void);    /* microseconds since 1970-01-01T00:00:00Z */
int64_t clock_wall_ms(void);    /* milliseconds since 1970-01-01T00:00:00Z */

/* RFC 3339 in UTC with milliseconds, "2026-11-20T10:00:00.123Z"; out has room for CLOCK_TEXT bytes. Years 0000 to
 * 9999. */
enum { CLOCK_TEXT = 32 };
void clock_text(int64_t wall_ms, char out[CLOCK_TEXT]);
/* RFC 3339 date-time to milliseconds since 1970; any offset, T and Z in either case, fraction cut to milliseconds, a
 * leap second (23:59:60 UTC) counts as 23:59:59.999. False when it is not one. */
bool clock_parse(struct str text, int64_t *wall_ms);
/* The same, or so long ago: 90s 30m 2h 7d. */
bool clock_since(struct str text, int64_t *wall_ms);

int64_t clock_days_of(int year, int month, int day); /* since 1970, in the Gregorian calendar */
int clock_days_in(int year, int month);              /* how many days that month has */

/* Tests only: from now on both clocks stand still at these values until moved; clock_real ends it. */
void clock_fake(int64_t mono_ms, int64_t wall_ms);
void clock_fake_advance(int64_t ms);
void clock_real(void);
