/* SPDX-License-Identifier: MIT */
/* The signals that stop the bridge, SIGTERM and SIGINT: the first one asks for an orderly stop, a second one leaves at
 * once; and SIGHUP, which asks it to read its files again (bridge/lib/watch.h). Main thread. */
#pragma once
#include <pthread.h>
#include <stdbool.h>

/* Blocks them, for all threads that start later, and ignores SIGPIPE. Returns a signalfd, readable when one is pending. */
int signals_open(void);
int signals_take(void); /* a pending one; 0 when there is none */
/* From now on one more that stops ends the process, until signals_unwatch. False: cannot watch. */
bool signals_watch(int signal_fd, pthread_t *thread);
void signals_unwatch(pthread_t thread);
