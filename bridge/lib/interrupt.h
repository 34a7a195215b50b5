/* SPDX-License-Identifier: MIT */
/* Ctrl-C while a command does long work: the first one asks it to end where that leaves nothing half done, a second one ends
 * the process. Main thread. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

void interrupt_watch(void); /* of SIGINT and SIGTERM, from now on */
bool interrupt_asked(void);
bool interrupt_wait(int64_t ms); /* false: it was asked meanwhile, or before */
