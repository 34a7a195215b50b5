/* SPDX-License-Identifier: MIT */
/* An errand: what one thread has another one do between two of its turns, and waits for.
 *
 * The doer looks for one in each of its turns (errand_answer), and is woken for it. One errand at a time; who waits
 * is one thread. */
#pragma once
#include <stdbool.h>
#include <time.h>
#include "bridge/lib/err.h"

struct errand;

struct errand *errand_new(int wake_fd); /* the doer's; borrowed */
void errand_free(struct errand *r);     /* accepts NULL; no thread uses it */
/* Has `what` done by the doer, and waits for it until then: what it returned, with its *e. False with *e also when the
 * doer had no time: then it is not done, and will not be. */
bool errand_run(struct errand *r, bool (*what)(void *ctx, struct err *e), void *ctx, struct timespec until,
                struct err *e);
void errand_answer(struct errand *r); /* the doer */
