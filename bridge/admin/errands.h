/* SPDX-License-Identifier: MIT */
/* What a request asks for and takes its time, or waits for a sink or a broker: done on a thread of its own, answered on the main
 * one.
 *
 *   errands_new -> errands_run ... errands_serve -> errands_free
 *
 * Main thread, but for what work() does. */
#pragma once
#include <stdbool.h>

enum { ERRANDS_MOST = 16 }; /* at the same time */

struct errands;

struct errands *errands_new(void);
/* Calls work(ctx) on another thread, and when that is through done(ctx) in errands_serve. False: as many as may be are
 * under way; nothing was called. */
bool errands_run(struct errands *e, void (*work)(void *ctx), void (*done)(void *ctx), void *ctx);
int errands_fd(const struct errands *e); /* readable when one is through */
void errands_serve(struct errands *e);
bool errands_any(const struct errands *e);
void errands_finish(struct errands *e); /* waits for all of them, and calls their done() */
void errands_free(struct errands *e);   /* accepts NULL; errands_finish first */
