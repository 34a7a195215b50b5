/* SPDX-License-Identifier: MIT */
/* The pages of a database as a read transaction shows them: from the file or the WAL. */
#include "connectors/sqlite/pages.h"
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/mem.h"

/* The index of the WAL: its header twice, then what is checkpointed; words in the machine's order. */
enum {
    INDEX_VERSION = 3007000,
    INDEX_BLOCK = 32768,   /* bytes that are mapped at a time */
    INDEX_FIRST = 4062,    /* frames in the first block */
    INDEX_FRAMES = 4096,   /* and in each one behind it */
    INDEX_FIRST_WORD = 34, /* where those of the first block begin */
    WORD_VERSION = 0,
    WORD_FLAGS = 3, /* bytes: is it complete, order of checksums; two of the page size */
    WORD_FRAMES = 4,
    WORD_PAGES = 5,
    WORD_CHECKSUM = 6,
    WORD_SALT = 8,
    WORD_BACKFILL = 24, /* behind both headers */
};
enum {
    FILE_HEADER = 100,
    WAL_HEADER = 32,
    WAL_FRAME = 24,
    PAGES_FRAMES = 1 << 18 /* of a WAL, more is not understood */
};

struct pages_slot {
    uint32_t page, frame; /* page 0: free */
};

static uint32_t pages_number(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static bool pages_get(sqlite3_file *file, void *out, size_t n, int64_t at)
{
    return file && file->pMethods && file->pMethods->xRead(file, out, (int)n, at) == SQLITE_OK;
}

/* ---- the WAL's index ---- */

/* The header, if both copies of it agree and it is complete. */
static bool pages_header(const volatile uint32_t *index, uint32_t out[PAGES_HEADER])
{
    uint32_t second[PAGES_HEADER];
    for (int i = 0; i < PAGES_HEADER; i++)
        out[i] = __atomic_load_n(&index[i], __ATOMIC_ACQUIRE); /* the second copy is read after the first */
    for (int i = 0; i < PAGES_HEADER; i++)
        second[i] = index[PAGES_HEADER + i];
    return memcmp(out, second, sizeof second) == 0 && out[WORD_VERSION] == INDEX_VERSION
           && ((const uint8_t *)&out[WORD_FLAGS])[0] == 1;
}

static const volatile uint32_t *pages_map(const struct pages *p, int block)
{
    void volatile *at = NULL;
    const struct sqlite3_io_methods *io = p->file->pMethods;
    if (io->iVersion < 2 || !io->xShmMap)
        return NULL;
    int rc = io->xShmMap(p->file, block, INDEX_BLOCK, 0, &at);
    return (rc & 0xff) == SQLITE_OK || (rc & 0xff) == SQLITE_READONLY ? at : NULL;
}

/* The page of a frame; 0: unknown. */
static uint32_t pages_of_frame(const struct pages *p, uint32_t frame)
{
    if (frame <= INDEX_FIRST)
        return p->index[INDEX_FIRST_WORD + frame - 1];
    uint32_t behind = frame - INDEX_FIRST - 1;
    const volatile uint32_t *block = pages_map(p, 1 + (int)(behind / INDEX_FRAMES));
    return block ? block[behind % INDEX_FRAMES] : 0;
}

/* ---- where pages stand in the WAL ---- */

static struct pages_slot *pages_slot(const struct pages *p, uint32_t page)
{
    size_t i = (page * 0x9e3779b1u) & (p->slot_cap - 1);
    while (p->slots[i].page && p->slots[i].page != page)
        i = (i + 1) & (p->slot_cap - 1);
    return &p->slots[i];
}

static void pages_grow(struct pages *p)
{
    struct pages wider = { .slot_cap = p->slot_cap ? p->slot_cap * 2 : 256 };
    wider.slots = mem_alloc(wider.slot_cap * sizeof *wider.slots);
    for (size_t i = 0; i < p->slot_cap; i++)
        if (p->slots[i].page)
            *pages_slot(&wider, p->slots[i].page) = p->slots[i];
    free(p->slots);
    p->slots = wider.slots;
    p->slot_cap = wider.slot_cap;
}

static void pages_put(struct pages *p, uint32_t page, uint32_t frame)
{
    if ((p->slot_count + 1) * 2 > p->slot_cap)
        pages_grow(p);
    struct pages_slot *slot = pages_slot(p, page);
    p->slot_count += !slot->page;
    *slot = (struct pages_slot){ page, frame };
}

static bool pages_get_frame(const struct pages *p, uint32_t frame, uint8_t head[WAL_FRAME])
{
    return pages_get(p->wal, head, WAL_FRAME, WAL_HEADER + (int64_t)(frame - 1) * (WAL_FRAME + p->size))
           && memcmp(head + 8, p->salt, sizeof p->salt) == 0;
}

/* Is it the WAL whose frames were looked at, and has it only grown? The checksum of a frame is over all before it. */
static bool pages_is_continued(const struct pages *p, const uint32_t now[PAGES_HEADER])
{
    uint8_t head[WAL_FRAME];
    if (memcmp(p->salt, &now[WORD_SALT], sizeof p->salt) != 0 || now[WORD_FRAMES] < p->frames)
        return false;
    if (now[WORD_FRAMES] == p->frames)
        return memcmp(p->checksum, &now[WORD_CHECKSUM], sizeof p->checksum) == 0;
    return p->frames == 0
           || (pages_get_frame(p, p->frames, head) && pages_number(head + 16) == p->checksum[0]
               && pages_number(head + 20) == p->checksum[1]);
}

/* The frames that were not looked at yet. */
static bool pages_take_frames(struct pages *p, uint32_t frames, pages_changed_fn *changed, void *ctx)
{
    for (uint32_t frame = p->frames + 1; frame <= frames; frame++) {
        uint32_t page = pages_of_frame(p, frame);
        if (!page)
            return false;
        pages_put(p, page, frame);
        changed(ctx, page);
        p->frames = frame;
    }
    return true;
}

/* Nothing is known of what changed. */
static void pages_lose(struct pages *p)
{
    p->generation += p->generation == UINT32_MAX ? 2 : 1; /* never 0 again */
    p->known = false;
    p->frames = 0;
    p->slot_count = 0;
    if (p->slot_cap)
        memset(p->slots, 0, p->slot_cap * sizeof *p->slots);
}

void pages_forget(struct pages *p)
{
    pages_lose(p);
    journals_forget(&p->journals);
}

/* ---- a transaction ---- */

void pages_before(struct pages *p)
{
    p->good = false;
    if (!p->index || !pages_header(p->index, p->before))
        p->before[WORD_VERSION] = 0;
}

static bool pages_size_fits(uint32_t size)
{
    return size >= 512 && size <= 65536 && !(size & (size - 1));
}

/* The file itself is what the lock of the transaction keeps as it is. */
static bool pages_begin_file(struct pages *p, const uint8_t *head, pages_changed_fn *changed, void *ctx)
{
    p->index = NULL;
    p->wal = NULL;
    p->by_journal = true;
    p->count = pages_number(head + 28);
    p->good = p->count > 0 && memcmp(head + 24, head + 92, 4) == 0; /* else the count is not to be trusted */
    if (p->first_size != p->size) {
        free(p->first);
        p->first = mem_alloc(p->size);
        p->first_size = p->size;
    }
    if (!p->good || !pages_get(p->file, p->first, p->size, 0))
        pages_forget(p);
    else if (!journals_follow(&p->journals, p->first, p->size, changed, ctx))
        pages_lose(p);
    return true;
}

/* A header that was the same before the transaction and is so now is that of its snapshot. */
static bool pages_begin_wal(struct pages *p, pages_changed_fn *changed, void *ctx)
{
    uint32_t now[PAGES_HEADER], again[PAGES_HEADER];
    bool first = !p->index;
    p->by_journal = false;
    journals_forget(&p->journals);
    p->index = pages_map(p, 0);
    if (first || !p->index || !pages_header(p->index, now))
        return !p->index; /* next time it is known what there was before */
    uint32_t backfill = p->index[WORD_BACKFILL], frames = now[WORD_FRAMES];
    if (memcmp(now, p->before, sizeof now) != 0 || !pages_header(p->index, again)
        || memcmp(now, again, sizeof now) != 0)
        return false;
    if (!p->known || frames > PAGES_FRAMES || !pages_is_continued(p, now))
        pages_lose(p);
    memcpy(p->salt, &now[WORD_SALT], sizeof p->salt);
    p->count = now[WORD_PAGES];
    if (frames > PAGES_FRAMES || !pages_take_frames(p, frames, changed, ctx)) {
        pages_lose(p);
        return true;
    }
    memcpy(p->checksum, &now[WORD_CHECKSUM], sizeof p->checksum);
    p->known = true;
    if (backfill >= frames)
        p->wal = NULL; /* all of it stands in the file, and the WAL may be begun anew at any time */
    p->good = p->count > 0;
    return true;
}

/* Is this connection in WAL mode? */
static bool pages_is_wal(sqlite3 *db)
{
    sqlite3_stmt *stmt = NULL;
    bool wal = sqlite3_prepare_v2(db, "PRAGMA journal_mode", -1, &stmt, NULL) == SQLITE_OK
               && sqlite3_step(stmt) == SQLITE_ROW
               && sqlite3_stricmp((const char *)sqlite3_column_text(stmt, 0), "wal") == 0;
    sqlite3_finalize(stmt);
    return wal;
}

bool pages_begin(struct pages *p, sqlite3 *db, pages_changed_fn *changed, void *ctx)
{
    uint8_t head[FILE_HEADER];
    p->file = p->wal = NULL;
    if (sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &p->file) != SQLITE_OK || !p->file
        || !p->file->pMethods || !pages_get(p->file, head, sizeof head, 0))
        return true;
    p->size = (uint32_t)head[16] << 8 | head[17];
    p->size = p->size == 1 ? 65536 : p->size;
    p->usable = p->size - head[20];
    if (!pages_size_fits(p->size) || p->usable < 480)
        return true;
    if (!pages_is_wal(db))
        return pages_begin_file(p, head, changed, ctx);
    if (sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &p->wal) != SQLITE_OK)
        return true;
    return pages_begin_wal(p, changed, ctx);
}

bool pages_read(struct pages *p, uint32_t page, uint8_t *out)
{
    uint32_t frame = p->wal && p->slot_cap ? pages_slot(p, page)->frame : 0;
    uint8_t head[WAL_FRAME];
    if (!p->good || page < 1 || page > p->count)
        return false;
    if (!frame)
        return pages_get(p->file, out, p->size, (int64_t)(page - 1) * p->size);
    return pages_get_frame(p, frame, head) && pages_number(head) == page
           && pages_get(p->wal, out, p->size, WAL_HEADER + (int64_t)(frame - 1) * (WAL_FRAME + p->size) + WAL_FRAME);
}

void pages_close(struct pages *p)
{
    p->good = false;
    p->index = NULL;
    p->file = p->wal = NULL;
}

void pages_free(struct pages *p)
{
    free(p->slots);
    free(p->first);
    journals_free(&p->journals);
    *p = (struct pages){ 0 };
}

static uint64_t pages_mix(uint64_t h, uint64_t word)
{
    h = (h ^ word) * 0x9fb21c651e98df25u;
    return h << 29 | h >> 35;
}

/* Four lanes, so that the machine does them at once. */
uint64_t pages_hash(const uint8_t *page, size_t size)
{
    uint64_t h[4] = { 0x243f6a8885a308d3u, 0x13198a2e03707344u, 0xa4093822299f31d0u, 0x082efa98ec4e6c89u }, word[4];
    for (size_t i = 0; i + sizeof word <= size; i += sizeof word) {
        memcpy(word, page + i, sizeof word);
        for (int k = 0; k < 4; k++)
            h[k] = pages_mix(h[k], word[k]);
    }
    uint64_t all = 0;
    for (int k = 0; k < 4; k++) {
        h[k] ^= h[k] >> 32;
        all = pages_mix(all, h[k]);
        all ^= all >> 31;
    }
    return all;
}
