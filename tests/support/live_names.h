/* SPDX-License-Identifier: MIT */
/* Bookmarks in memory for the sink of live.h, over the log of live_log.h. */
#pragma once
#include "bridge/connector.h"

enum { NAMES = 8 };

extern bool names_held;                         /* outcomes are kept back */
extern enum bookmark_outcome names_outcome_now; /* of what is remembered */
extern int names_stored;                        /* how often something was */

void names_open(const char *more); /* log_open() and live_open() */
int names_close(void **state);
void names_set(struct str name, struct str value); /* what is remembered; value absent: nothing */
