/* SPDX-License-Identifier: MIT */
/* Places for those whose requests are counted, by the digest of a name: a hash table that never has more than `most` of them.
 *
 * A place whose buckets are full again is like one that was never used, so it is given to the next who needs one. When none is,
 * a place that several share is given instead: nobody loses his. One thread. */
#pragma once
#include "bridge/lib/metrics.h"
#include "bridge/lib/siphash.h"

enum limit_count { LIMIT_REQUESTS, LIMIT_BYTES, LIMIT_FAILED, LIMIT_COUNTS };

enum {
    LIMIT_TABLE_BUCKETS = 4096,
    LIMIT_TABLE_SHARED = 256, /* places of those that have none of their own */
};

struct limit_place {
    struct digest name;
    int64_t full_us[LIMIT_COUNTS]; /* when each bucket is full again (bridge/lib/bucket.h) */
    uint32_t next;                 /* in its bucket of the hash table */
};

struct limit_table {
    struct limit_place *at; /* [0] is nobody, so that 0 ends every list */
    size_t count, cap, most;
    size_t hand; /* where to look next for one that is free */
    uint32_t buckets[LIMIT_TABLE_BUCKETS];
    struct limit_place shared[LIMIT_TABLE_SHARED];
    struct metric *shares; /* how often one of these was given */
};

void limit_table_open(struct limit_table *t, size_t most, struct metric *shares); /* *t was zeroed */
void limit_table_close(struct limit_table *t);
/* Its place, a new one if need be, or one that is shared. Valid until the next call. */
struct limit_place *limit_table_place(struct limit_table *t, const struct digest *name, int64_t now_us);
