/* SPDX-License-Identifier: MIT */
/* Counting what became of publications. */
#include "tests/support/outcomes.h"
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/mem.h"
#include "bridge/lib/thread.h"
#include "tests/support/test.h"

enum { PATIENCE_MS = 60000 };

struct outcomes *outcomes_new(void)
{
    struct outcomes *o = mem_alloc(sizeof *o);
    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->changed, NULL);
    return o;
}

void outcomes_free(struct outcomes *o)
{
    pthread_mutex_destroy(&o->lock);
    pthread_cond_destroy(&o->changed);
    free(o);
}

void outcomes_count(void *ctx, uint64_t tag, enum outcome outcome, const char *why)
{
    struct outcomes *o = ctx;
    CHECK(tag < OUTCOMES_MOST);
    pthread_mutex_lock(&o->lock);
    o->calls[tag]++;
    *(outcome == OUTCOME_STORED ? &o->stored : &o->refused) += 1;
    if (outcome != OUTCOME_STORED)
        snprintf(o->why, sizeof o->why, "%s", why ? why : "");
    pthread_cond_broadcast(&o->changed);
    pthread_mutex_unlock(&o->lock);
}

void outcomes_wait(struct outcomes *o, int count)
{
    struct timespec until = thread_until((struct duration){ PATIENCE_MS });
    pthread_mutex_lock(&o->lock);
    bool in_time = true;
    while (in_time && o->stored + o->refused < count)
        in_time = thread_wait(&o->changed, &o->lock, until);
    int have = o->stored + o->refused;
    pthread_mutex_unlock(&o->lock);
    if (have < count)
        fail_msg("only %d of %d publications have an outcome", have, count);
}

bool outcomes_publish(struct broker *b, struct publication p, char *why)
{
    struct outcomes *o = outcomes_new();
    p.done = outcomes_count;
    p.ctx = o;
    broker_publish(b, &p);
    outcomes_wait(o, 1);
    assert_int_equal(o->calls[p.tag], 1);
    bool stored = o->stored == 1;
    if (!stored)
        assert_true(o->why[0]);
    if (why)
        snprintf(why, WHY_BYTES, "%s", o->why);
    outcomes_free(o);
    return stored;
}
