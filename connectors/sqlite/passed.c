/* SPDX-License-Identifier: MIT */
/* A ring; what was forgotten of it has no key. */
#include "connectors/sqlite/passed.h"
#include <stdlib.h>

void passed_add(struct passed *p, char *key, uint64_t digest)
{
    struct passed_row *row = &p->at[p->count++ % PASSED_MOST];
    free(row->key);
    *row = (struct passed_row){ key, digest };
}

struct passed_row *passed_row(struct passed *p, size_t back)
{
    if (back >= PASSED_MOST || back >= p->count)
        return NULL;
    struct passed_row *row = &p->at[(p->count - 1 - back) % PASSED_MOST];
    return row->key ? row : NULL;
}

void passed_forget(struct passed *p, size_t count)
{
    for (; count > 0; count--) {
        struct passed_row *row = &p->at[--p->count % PASSED_MOST];
        free(row->key);
        row->key = NULL;
    }
}

void passed_forget_all(struct passed *p)
{
    for (size_t i = 0; i < PASSED_MOST; i++)
        free(p->at[i].key);
    *p = (struct passed){ .count = 0 };
}
