/* SPDX-License-Identifier: MIT */
/* The process and the other users of its machine. */
#pragma once

/* What it makes is its user's alone (umask 0077), and its memory, which holds secrets, reaches nobody: no core dump, no
 * debugger of the same user, no /proc/PID/mem. Where the build looks for leaks or races by itself, memory stays open to
 * that. Main thread, first of all. */
void process_protect(void);
