/* SPDX-License-Identifier: MIT */
/* Sends that are handed to the kernel in batches (io_uring, by its system calls), for the fan-out benchmark's raw limit.
 * One thread. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct uring;
struct uring *uring_new(void); /* ends the program where the kernel has none */
/* Begins a send; what the kernel takes is added to *sent by uring_finish at the latest. */
void uring_send(struct uring *u, int fd, const char *bytes, size_t n, uint64_t *sent);
void uring_finish(struct uring *u); /* hands over what waits; returns when all of it is done */
