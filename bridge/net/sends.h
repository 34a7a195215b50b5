/* SPDX-License-Identifier: MIT */
/* Many sends in one system call, by Linux's io_uring.
 *
 * A system call for each receiver is most of what it costs to hand one small frame to a thousand of them. Sends that are added
 * here are done by the kernel in one go when they are finished. None of them waits: a socket that takes nothing now says so,
 * as with MSG_DONTWAIT. Where the kernel has no io_uring (before 6.1), or a container's rules forbid it, there is no struct
 * sends, and its user sends by hand.
 *
 * One thread, the one that adds first. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct sends;

enum { SENDS_MOST = 128 };

struct sends *sends_new(void); /* NULL: there is no io_uring here */
void sends_free(struct sends *s);
size_t sends_room(const struct sends *s); /* how many may be added before sends_finish; SENDS_MOST right after it */
/* Adds one; there is room. fd and bytes stay until that; *taken is set there: how many bytes the
 * kernel took, or -errno. */
void sends_add(struct sends *s, int fd, const char *bytes, size_t n, long *taken);
/* Does them all. */
void sends_finish(struct sends *s);
