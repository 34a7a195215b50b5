/* SPDX-License-Identifier: MIT */
/* The rows (of an outbox: the changes) just before a rule's cursor, each with what tells it from another in its place, so
 * that a cursor whose own row is gone finds the last one that is still as it was. The newest are kept. Of the source's
 * thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PASSED_MOST = 1024 };

struct passed_row {
    char *key;
    uint64_t digest; /* where the key is another column: its rowid; of a change its mark */
};

struct passed { /* all zero: empty */
    struct passed_row at[PASSED_MOST];
    size_t count;
};

void passed_add(struct passed *p, char *key,
                uint64_t digest); /* takes the key; the oldest goes if there are too many */
/* The row so many before the newest, 0: that; NULL: it is not remembered, nor is one before it. */
struct passed_row *passed_row(struct passed *p, size_t back);
void passed_forget(struct passed *p, size_t count); /* the newest of them: the cursor goes back before them */
void passed_forget_all(struct passed *p);
