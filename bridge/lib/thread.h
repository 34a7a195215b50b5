/* SPDX-License-Identifier: MIT */
/* Waiting for another thread, never longer than a limit.
 *
 * Limits are measured by the system's monotonic clock, also while a test fakes ours: nobody advances the fake clock
 * while its own thread waits. Any thread. */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <time.h>
#include "bridge/lib/clock.h"

/* The moment `from_now` from now; what is below 0 counts as 0. */
struct timespec thread_until(struct duration from_now);
/* As pthread_cond_wait, at most until then; false when the time is up. Wakes for no reason at times, so call it in a
 * loop. */
bool thread_wait(pthread_cond_t *changed, pthread_mutex_t *lock, struct timespec until);
/* True: the thread has ended and is gone. False: it has not ended within the limit and can be joined later. */
bool thread_join(pthread_t thread, struct duration limit);
/* Runs work(arg) on a thread of its own; false when it has not ended within the limit. Then it goes on, so `arg` is
 * its own to free. */
bool thread_run(void *(*work)(void *arg), void *arg, struct duration limit);
