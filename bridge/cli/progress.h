/* SPDX-License-Identifier: MIT */
/* How far long work is, on stderr: on a terminal one line that changes, else a line now and then; with how long it will take,
 * as far as that can be told by what was done. Main thread. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct progress { /* private */
    bool terminal, shown;
    int64_t began_ms, said_ms, at_first;
    int width;
};

void progress_begin(struct progress *p, int64_t done); /* so much was done before */
/* Says, if it is time: "WHAT, N records left, about 1m20s". `done` and `left` in the same units. */
void progress_say(struct progress *p, int64_t done, int64_t left, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void progress_clear(struct progress *p); /* before something else is said, and at the end */
