/* SPDX-License-Identifier: MIT */
/* Remembered rows by typed key: an open-addressing table that owns its rows. There may be millions: a row takes 24 bytes, 8 for
 * each hash, its key and what is kept of it, and they stand in blocks, without the allocator's bytes in between. */
#pragma once
#include "bridge/lib/str.h"

struct row {
    uint64_t version;
    struct row *ahead; /* written ahead of a publish that may or may not have happened; owned */
    union {
        uint32_t pass; /* the last pass that saw it */
        uint32_t told; /* of an `ahead`: doubt.told */
    };
    uint16_t key_n;
    uint8_t count;       /* hashes */
    bool fresh : 1;      /* its insert was written ahead: only `ahead` is real */
    bool maybe_gone : 1; /* its delete was written ahead */
    bool aborted : 1;
    bool has_kept : 1;
    bool in_block : 1;
    uint64_t hashes[]; /* then the key's bytes, then what is kept, with a zero behind */
};

/* What an event that is written ahead says of the row beside its state, when another one was in doubt already: nobody knows whether
 * that was sent, and it is replaced. */
struct doubt {
    uint32_t told; /* bits: the watched columns that it tells; 0: those that differ */
    bool first;    /* it tells the row as a new one */
    bool gone;     /* it tells that the row, which was so, is gone */
};

enum { ROWS_CLASSES = 32 }; /* of sizes of rows: so many times 8 bytes; larger ones stand alone */

struct rows {
    struct row **slots;
    size_t count, cap; /* cap: 0 or a power of two */
    struct rows_block *blocks;
    size_t left; /* bytes not used yet of the first one */
    struct rows_hole *holes[ROWS_CLASSES];
};

struct row *row_new(struct str key, uint64_t version, const uint64_t *hashes, size_t count, struct str kept);
void row_free(struct row *row); /* of one that no table has; accepts NULL */
static inline struct str row_key(const struct row *row)
{
    return (struct str){ (const char *)(row->hashes + row->count), row->key_n };
}
/* JSON of the kept columns, or NULL. */
static inline const char *row_kept(const struct row *row)
{
    return row->has_kept ? (const char *)(row->hashes + row->count) + row->key_n : NULL;
}
struct row *rows_find(const struct rows *rows, struct str key);
/* Takes it, and returns it where it stands now; replaces and frees the one of that key. */
struct row *rows_put(struct rows *rows, struct row *row);
/* Frees the row at a slot. Another may move there, so look at the slot again. */
void rows_drop(struct rows *rows, size_t slot);
void rows_remove(struct rows *rows, struct str key);
size_t rows_bytes(const struct rows *rows); /* of memory that it takes, without rows that stand alone */
void rows_free(struct rows *rows);
