/* SPDX-License-Identifier: MIT */
/* Ctrl-C while a command does long work: the first one asks it to end where that leaves nothing half done, a second one ends
 * the process. Main thread. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* Of SIGINT and SIGTERM, from now on; and of SIGHUP, a terminal that is gone, unless that was ignored (nohup). */
void interrupt_watch(void);
bool interrupt_asked(void);
bool interrupt_wait(int64_t ms); /* false: it was asked meanwhile, or before */
