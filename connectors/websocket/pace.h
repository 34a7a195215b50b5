/* SPDX-License-Identifier: MIT */
/* When listeners are served: at once after silence; while much comes, not before it has been gathered for a while.
 *
 *   event            event event event            to serve a thousand listeners takes as long with one frame as with ten,
 *   |=== served ===|       |--gather--|== served ==|    so an event that was one of several waits for those behind it
 *
 * It waits for a quarter of the time that serving takes, between PACE_US and PACE_MOST_US. Nobody is served more often than
 * every PACE_US. Times are of clock_mono_us(). One thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PACE_US = 1000,
    PACE_MOST_US = 10000,
    PACE_BYTES = 64 * 1024, /* that wait are enough, whatever else comes */
};

struct pace {                   /* zeroed to start */
    int64_t begun_us, ended_us; /* when listeners were last served */
    int64_t first_us;           /* when the first of those came that wait */
    size_t events, bytes;       /* that wait */
    bool several;               /* they were served several events at once */
};

void pace_add(struct pace *p, int64_t now_us, size_t bytes); /* an event is there to be sent */
/* For how long those that wait shall wait on; <= 0: serve. */
int64_t pace_left_us(const struct pace *p, int64_t now_us);
void pace_begin(struct pace *p, int64_t now_us); /* the listeners are served with all that waits */
void pace_end(struct pace *p, int64_t now_us);
