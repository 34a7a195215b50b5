/* SPDX-License-Identifier: MIT */
/* The other side of a benchmark: a child process, so that its CPU is not counted, and memory that both can see. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct child { /* the first member of what a child shares */
    pid_t pid;
    _Atomic bool stop; /* asked to end */
    double cpu_s;      /* what it used; read after its end */
};

/* Zeroed memory of both processes, which stays until the program ends. */
void *child_memory(size_t bytes);
/* Starts run(shared) in a child; it ends with its parent, or when run() returns. */
bool child_start(struct child *shared, void (*run)(void *shared));
/* Asks it to end and waits; what it shared stays readable. */
void child_stop(struct child *shared);
