/* SPDX-License-Identifier: MIT */
/* What became of publications: counts the calls of their done() on the broker's thread, and lets the test wait. */
#pragma once
#include <pthread.h>
#include "bridge/broker/broker.h"

enum { OUTCOMES_MOST = 4096 }; /* tags are below */

struct outcomes {
    pthread_mutex_t lock; /* guards all that follows */
    pthread_cond_t changed;
    int stored, refused;
    int calls[OUTCOMES_MOST]; /* per tag */
    char why[WHY_BYTES];      /* of the last that was not stored */
};

struct outcomes *outcomes_new(void);
void outcomes_free(struct outcomes *o);
/* The done() of a publication whose ctx is the outcomes. */
void outcomes_count(void *ctx, uint64_t tag, enum outcome outcome, const char *why);
/* Until `count` publications have an outcome; fails the test after a minute. */
void outcomes_wait(struct outcomes *o, int count);
/* Publishes `p`, whose done and ctx are not looked at, and waits: was it stored? Why not goes to `why` (WHY_BYTES)
 * unless that is NULL. */
bool outcomes_publish(struct broker *b, struct publication p, char *why);
