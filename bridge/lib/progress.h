/* SPDX-License-Identifier: MIT */
/* How far long work of a command is: a line on stderr about every second, if that is a terminal. In a daemon, and before
 * progress_watch, nothing is said. Main thread. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

void progress_watch(void);
/* One more of what is counted was looked at: "ai.events: 200000 records read". Another `what` begins anew. */
void progress_count(const char *what, const char *unit);
/* Work begins that may take its time; `of` 0: how much there is is not known. */
void progress_step(const char *what, int64_t number, int64_t of);
