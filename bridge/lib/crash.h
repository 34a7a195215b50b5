/* SPDX-License-Identifier: MIT */
/* Named crash points at each durable step, and at each allocation (mem.h), for the ledger test. Compiled to nothing unless
 * AQUEDUCT_HOOKS.
 *
 * AQUEDUCT_CRASH_AT=name[:count] ends the process as SIGKILL would when the point is passed for the count-th time. Points
 * of commands, not of the daemon, are called command-... */
#pragma once
#ifdef AQUEDUCT_HOOKS
void crash_point(const char *name);
#else
#define crash_point(name) ((void)0)
#endif
