/* SPDX-License-Identifier: MIT */
/* Remembered rows by typed key: an open-addressing table that owns its rows. */
#pragma once
#include "bridge/lib/str.h"

struct row {
    uint64_t key_hash;
    uint64_t version;
    struct row *ahead; /* written ahead of a publish that may or may not have happened; owned */
    char *kept;        /* JSON of the kept columns, or NULL; owned */
    uint32_t pass;     /* the last pass that saw it */
    uint16_t count;    /* hashes */
    uint16_t key_n;
    bool fresh;      /* only `ahead` is real: its insert was written ahead */
    bool maybe_gone; /* its delete was written ahead */
    bool aborted;
    uint64_t hashes[]; /* then the key's bytes */
};

struct rows {
    struct row **slots;
    size_t count, cap; /* cap: 0 or a power of two */
};

struct row *row_new(struct str key, uint64_t version, const uint64_t *hashes, size_t count, struct str kept);
void row_free(struct row *row); /* accepts NULL */
static inline struct str row_key(const struct row *row)
{
    return (struct str){ (const char *)(row->hashes + row->count), row->key_n };
}
struct row *rows_find(const struct rows *rows, struct str key);
void rows_put(struct rows *rows, struct row *row); /* takes it; replaces and frees the one of that key */
/* Frees the row at a slot. Another may move there, so look at the slot again. */
void rows_drop(struct rows *rows, size_t slot);
void rows_remove(struct rows *rows, struct str key);
void rows_free(struct rows *rows);
