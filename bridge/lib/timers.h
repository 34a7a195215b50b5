/* SPDX-License-Identifier: MIT */
/* Many deadlines, cheaply: a binary heap of (due, tag). One thread. Cancelling is the user's business: it ignores a
 * tag that no longer means anything. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timer {
    int64_t due_ms; /* clock_mono_ms() scale */
    uint64_t tag;
};

struct timers {
    struct timer *heap;
    size_t count, cap;
};

void timers_add(struct timers *t, int64_t due_ms, uint64_t tag);
bool timers_pop(struct timers *t, int64_t now_ms, uint64_t *tag); /* the earliest that is due, or false */
int64_t timers_next(const struct timers *t);                      /* earliest due time, or INT64_MAX */
void timers_free(struct timers *t);
