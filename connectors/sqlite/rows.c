/* SPDX-License-Identifier: MIT */
/* Remembered rows by typed key: linear probing, at most 3/4 full, deletion by shifting back. */
#include "connectors/sqlite/rows.h"
#include "bridge/lib/mem.h"
#include <stdlib.h>

struct row *row_new(struct str key, uint64_t version, const uint64_t *hashes, size_t count, struct str kept)
{
    CHECK(key.n <= UINT16_MAX && count <= UINT16_MAX);
    struct row *row = mem_alloc(sizeof *row + count * sizeof row->hashes[0] + key.n);
    row->key_hash = str_hash(key);
    row->version = version;
    row->count = (uint16_t)count;
    row->key_n = (uint16_t)key.n;
    row->kept = kept.n ? str_dup(kept) : NULL;
    if (count)
        memcpy(row->hashes, hashes, count * sizeof row->hashes[0]);
    memcpy(row->hashes + count, key.at, key.n);
    return row;
}

void row_free(struct row *row)
{
    if (!row)
        return;
    row_free(row->ahead);
    free(row->kept);
    free(row);
}

/* The slot of that key, or the free one where it would go. cap > 0. */
static size_t rows_slot(const struct rows *rows, struct str key, uint64_t hash)
{
    size_t i = hash & (rows->cap - 1);
    while (rows->slots[i] && !(rows->slots[i]->key_hash == hash && str_eq(row_key(rows->slots[i]), key)))
        i = (i + 1) & (rows->cap - 1);
    return i;
}

struct row *rows_find(const struct rows *rows, struct str key)
{
    return rows->cap ? rows->slots[rows_slot(rows, key, str_hash(key))] : NULL;
}

/* Twice the slots. */
static void rows_grow(struct rows *rows)
{
    struct rows wider = { .cap = rows->cap ? rows->cap * 2 : 64, .count = rows->count };
    wider.slots = mem_alloc(wider.cap * sizeof *wider.slots);
    for (size_t i = 0; i < rows->cap; i++)
        if (rows->slots[i])
            wider.slots[rows_slot(&wider, row_key(rows->slots[i]), rows->slots[i]->key_hash)] = rows->slots[i];
    free(rows->slots);
    *rows = wider;
}

void rows_put(struct rows *rows, struct row *row)
{
    if ((rows->count + 1) * 4 > rows->cap * 3)
        rows_grow(rows);
    size_t i = rows_slot(rows, row_key(row), row->key_hash);
    if (rows->slots[i])
        row_free(rows->slots[i]);
    else
        rows->count++;
    rows->slots[i] = row;
}

void rows_drop(struct rows *rows, size_t slot)
{
    row_free(rows->slots[slot]);
    rows->slots[slot] = NULL;
    rows->count--;
    size_t mask = rows->cap - 1, hole = slot;
    for (size_t i = (slot + 1) & mask; rows->slots[i]; i = (i + 1) & mask) {
        size_t home = rows->slots[i]->key_hash & mask;
        if (((i - home) & mask) < ((i - hole) & mask))
            continue; /* it would stand before its home */
        rows->slots[hole] = rows->slots[i];
        rows->slots[i] = NULL;
        hole = i;
    }
}

void rows_remove(struct rows *rows, struct str key)
{
    if (!rows->cap)
        return;
    size_t i = rows_slot(rows, key, str_hash(key));
    if (rows->slots[i])
        rows_drop(rows, i);
}

void rows_free(struct rows *rows)
{
    for (size_t i = 0; i < rows->cap; i++)
        row_free(rows->slots[i]);
    free(rows->slots);
    *rows = (struct rows){ 0 };
}
