/* SPDX-License-Identifier: MIT */
/* Time zones: what time it was by a wall clock's text.
 *
 * By name, from the system's time zone database (the folder TZDIR, else /usr/share/zoneinfo and its like), or a fixed
 * distance from UTC. The process's own zone (TZ, localtime) does not matter. A wall clock's time is written in
 * milliseconds, as if its text were UTC.
 *
 *   a time that comes twice     is the first of the two, as the clock was still ahead
 *   a time that never comes     is read as if the clock had not been put forward: 02:30 is what 03:30 is then called
 *
 * A zone never changes; any thread. */
#pragma once
#include "bridge/lib/err.h"
#include "bridge/lib/str.h"

struct zone;
/* "Europe/Berlin", "UTC", "+02:00". NULL with *e, which says where zones come from, or which name is near. */
struct zone *zone_new(const char *name, struct err *e);
void zone_free(struct zone *z); /* accepts NULL */

/* Both accept NULL, which is UTC; times of the years 1 to 9999. */
int64_t zone_utc(const struct zone *z, int64_t wall_ms);
/* How much later it comes once more; 0: it comes once, or never. *begin: the first time of those that come twice. */
int64_t zone_again(const struct zone *z, int64_t wall_ms, int64_t *begin_ms);
