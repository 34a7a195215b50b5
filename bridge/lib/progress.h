/* SPDX-License-Identifier: MIT */
/* How far long work of a command is: a line on stderr about every second, if that is a terminal. Said by the thread that called
 * progress_watch alone: a daemon says nothing, nor what works beside a command. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

void progress_watch(void);
/* One more of what is counted was looked at: "ai.events: 200000 records read". Another `what` begins anew. */
void progress_count(const char *what, const char *unit);
/* Something is being done: "a rule is tried: chats". */
void progress_step(const char *what, const char *which);
