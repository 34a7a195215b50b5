/* SPDX-License-Identifier: MIT */
/* Remembered rows by typed key: linear probing, at most 3/4 full, deletion by shifting back. */
#include "connectors/sqlite/rows.h"
#include "bridge/lib/mem.h"
#include <stdlib.h>

enum { ROWS_UNIT = 8, ROWS_LEAST = 1 << 10, ROWS_MOST = 1 << 18 }; /* bytes of a block: each twice the one before */

struct rows_block {
    struct rows_block *next;
    size_t size;
    uint64_t space[];
};

struct rows_hole {
    struct rows_hole *next;
};

/* ---- a row ---- */

struct row *row_new(struct str key, uint64_t version, const uint64_t *hashes, size_t count, struct str kept)
{
    CHECK(key.n <= UINT16_MAX && count <= UINT8_MAX);
    struct row *row = mem_alloc(sizeof *row + count * sizeof row->hashes[0] + key.n + (kept.n ? kept.n + 1 : 0));
    row->version = version;
    row->count = (uint8_t)count;
    row->key_n = (uint16_t)key.n;
    row->has_kept = kept.n > 0;
    if (count)
        memcpy(row->hashes, hashes, count * sizeof row->hashes[0]);
    char *text = (char *)(row->hashes + count);
    memcpy(text, key.at, key.n);
    if (kept.n)
        memcpy(text + key.n, kept.at, kept.n);
    return row;
}

void row_free(struct row *row)
{
    if (!row)
        return;
    row_free(row->ahead);
    free(row);
}

static size_t row_size(const struct row *row)
{
    const char *kept = row_kept(row);
    return sizeof *row + row->count * sizeof row->hashes[0] + row->key_n + (kept ? strlen(kept) + 1 : 0);
}

/* ---- where rows stand ---- */

static size_t rows_class(const struct row *row)
{
    return (row_size(row) + ROWS_UNIT - 1) / ROWS_UNIT;
}

static void rows_add_block(struct rows *rows)
{
    size_t size = rows->blocks ? rows->blocks->size * 2 : ROWS_LEAST;
    size = size > ROWS_MOST ? ROWS_MOST : size;
    struct rows_block *block = mem_alloc(sizeof *block + size);
    block->next = rows->blocks;
    block->size = rows->left = size;
    rows->blocks = block;
}

/* A row of any size moves into a block, if it is not too large for one. */
static struct row *rows_settle(struct rows *rows, struct row *row)
{
    size_t class = rows_class(row), bytes = class * ROWS_UNIT;
    if (class >= ROWS_CLASSES)
        return row;
    void *place = rows->holes[class];
    if (place) {
        rows->holes[class] = rows->holes[class]->next;
    } else {
        if (rows->left < bytes)
            rows_add_block(rows);
        rows->left -= bytes;
        place = (char *)rows->blocks->space + rows->left;
    }
    memcpy(place, row, row_size(row));
    free(row);
    row = place;
    row->in_block = true;
    return row;
}

static void rows_give_back(struct rows *rows, struct row *row)
{
    if (!row->in_block) {
        row_free(row);
        return;
    }
    size_t class = rows_class(row);
    row_free(row->ahead);
    struct rows_hole *hole = (struct rows_hole *)(void *)row;
    hole->next = rows->holes[class];
    rows->holes[class] = hole;
}

/* ---- the table ---- */

/* The slot of that key, or the free one where it would go. cap > 0. */
static size_t rows_slot(const struct rows *rows, struct str key)
{
    size_t i = str_hash(key) & (rows->cap - 1);
    while (rows->slots[i] && !str_eq(row_key(rows->slots[i]), key))
        i = (i + 1) & (rows->cap - 1);
    return i;
}

struct row *rows_find(const struct rows *rows, struct str key)
{
    return rows->cap ? rows->slots[rows_slot(rows, key)] : NULL;
}

/* Twice the slots. */
static void rows_grow(struct rows *rows)
{
    struct rows wider = { .cap = rows->cap ? rows->cap * 2 : 64 };
    wider.slots = mem_alloc(wider.cap * sizeof *wider.slots);
    for (size_t i = 0; i < rows->cap; i++)
        if (rows->slots[i])
            wider.slots[rows_slot(&wider, row_key(rows->slots[i]))] = rows->slots[i];
    free(rows->slots);
    rows->slots = wider.slots;
    rows->cap = wider.cap;
}

struct row *rows_put(struct rows *rows, struct row *row)
{
    if ((rows->count + 1) * 4 > rows->cap * 3)
        rows_grow(rows);
    size_t i = rows_slot(rows, row_key(row));
    if (rows->slots[i])
        rows_give_back(rows, rows->slots[i]);
    else
        rows->count++;
    rows->slots[i] = rows_settle(rows, row);
    return rows->slots[i];
}

void rows_drop(struct rows *rows, size_t slot)
{
    rows_give_back(rows, rows->slots[slot]);
    rows->slots[slot] = NULL;
    rows->count--;
    size_t mask = rows->cap - 1, hole = slot;
    for (size_t i = (slot + 1) & mask; rows->slots[i]; i = (i + 1) & mask) {
        size_t home = str_hash(row_key(rows->slots[i])) & mask;
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
    size_t i = rows_slot(rows, key);
    if (rows->slots[i])
        rows_drop(rows, i);
}

size_t rows_bytes(const struct rows *rows)
{
    size_t bytes = rows->cap * sizeof *rows->slots;
    for (const struct rows_block *block = rows->blocks; block; block = block->next)
        bytes += sizeof *block + block->size;
    return bytes;
}

void rows_free(struct rows *rows)
{
    for (size_t i = 0; i < rows->cap; i++)
        if (rows->slots[i])
            rows_give_back(rows, rows->slots[i]);
    free(rows->slots);
    while (rows->blocks) {
        struct rows_block *block = rows->blocks;
        rows->blocks = block->next;
        free(block);
    }
    *rows = (struct rows){ 0 };
}
