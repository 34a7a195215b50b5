/* SPDX-License-Identifier: MIT */
/* The process and the other users of its machine. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* What it makes is its user's alone (umask 0077), and its memory, which holds secrets, reaches nobody: no core dump, no
 * debugger of the same user, no /proc/PID/mem. Where the build looks for leaks or races by itself, memory stays open to
 * that. What is printed goes nowhere else where stdout or stderr was closed. Main thread, first of all. */
void process_protect(void);

/* Takes a name that only one process of this machine (network namespace) has at a time, until it closes the descriptor
 * or ends, however it ends. -1: another has it. */
int process_claim(const char *name);
/* This machine's name when it lasts beyond a restart; false for one that a container or a pod of a Deployment was given
 * for its lifetime. */
bool process_host(char *out, size_t room);
/* The same of a name; `pods`: Kubernetes gave it. */
bool process_host_lasts(const char *name, bool pods);
