/* SPDX-License-Identifier: MIT */
/* Rollback journals: opened while they are there, read when they are gone. */
#include "connectors/sqlite/journals.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bridge/lib/mem.h"

enum {
    JOURNAL_HEADER = 28,    /* bytes, in a sector of its own: magic, records, checksum's seed, pages, sector, page */
    JOURNAL_RECORD = 8,     /* and a page: before it its number, behind it a checksum */
    JOURNAL_LEAST = 512,    /* bytes of a sector, and of a page */
    JOURNAL_MOST = 65536,   /* the same */
    JOURNALS_PAGES = 8192,  /* of the journals between two looks; of more the pages themselves tell sooner */
    JOURNALS_COUNTER = 24,  /* where in the first page it is, */
    JOURNALS_VERSIONS = 18, /* and what is 1 twice without a WAL */
};
static const uint8_t journals_magic[8] = { 0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7 };

static uint32_t journals_number(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* ---- the journal that is open ---- */

static void journals_close(struct journals *j)
{
    if (j->fd)
        close(j->fd - 1);
    j->fd = 0;
}

static bool journals_get(const struct journals *j, void *out, size_t n, int64_t at)
{
    return pread(j->fd - 1, out, n, at) == (ssize_t)n;
}

static bool journals_is_gone(const struct journals *j)
{
    struct stat st;
    return fstat(j->fd - 1, &st) == 0 && st.st_nlink == 0;
}

static bool journals_size_fits(uint32_t size)
{
    return size >= JOURNAL_LEAST && size <= JOURNAL_MOST && !(size & (size - 1));
}

struct journal { /* being read */
    int64_t size, at;
    uint32_t sector, page;
    uint8_t *first; /* the first page as it was; NULL: not met */
};

static bool journals_add(struct journals *j, uint32_t page)
{
    if (page == 0 || j->count == JOURNALS_PAGES)
        return false;
    if (j->count == j->cap)
        j->pages = mem_grow(j->pages, j->cap = j->cap ? j->cap * 2 : 64, sizeof *j->pages);
    j->pages[j->count++] = page;
    return true;
}

/* The records behind a header. */
static bool journals_read_records(struct journals *j, struct journal *now, uint32_t records)
{
    int64_t each = JOURNAL_RECORD + (int64_t)now->page, left = now->size > now->at ? (now->size - now->at) / each : 0;
    if (records == UINT32_MAX || records == 0) /* it was never synced: up to its end */
        records = left > JOURNALS_PAGES ? UINT32_MAX : (uint32_t)left;
    if (records > left)
        return false;
    for (; records > 0; records--, now->at += each) {
        uint8_t number[4];
        if (!journals_get(j, number, sizeof number, now->at) || !journals_add(j, journals_number(number)))
            return false;
        if (journals_number(number) != 1)
            continue;
        now->first = now->first ? now->first : mem_alloc(now->page);
        if (!journals_get(j, now->first, now->page, now->at + 4))
            return false;
    }
    return true;
}

/* All of it, as SQLite would to roll it back. Before it is synced it has no magic, and the database is not written. */
static bool journals_read(struct journals *j, struct journal *now)
{
    uint8_t head[JOURNAL_HEADER];
    struct stat st;
    if (fstat(j->fd - 1, &st) != 0)
        return false;
    now->size = st.st_size;
    while (journals_get(j, head, sizeof head, now->at) && memcmp(head, journals_magic, sizeof journals_magic) == 0) {
        if (now->at == 0) {
            now->sector = journals_number(head + 20);
            now->page = journals_number(head + 24);
            if (!journals_size_fits(now->sector) || !journals_size_fits(now->page))
                return false;
        }
        now->at += now->sector;
        if (!journals_read_records(j, now, journals_number(head + 8)))
            return false;
        now->at = (now->at + now->sector - 1) / now->sector * now->sector;
    }
    return true;
}

/* A transaction that had this first page before it joins the chain. One that wrote and was rolled back does so as well, but
 * the counter did not move, so that the chain leads to another one than there is. */
static bool journals_link(struct journals *j, const uint8_t *first, uint32_t size)
{
    uint32_t counter = journals_number(first + JOURNALS_COUNTER);
    if (size != j->size || first[JOURNALS_VERSIONS] != 1 || first[JOURNALS_VERSIONS + 1] != 1)
        return false;
    if (j->links == 0) {
        j->from = counter;
        memcpy(j->before, first, size);
    } else if (counter != j->to)
        return false;
    j->to = counter + 1;
    j->links++;
    return true;
}

/* The open journal is gone from the folder: what it has is final. */
static void journals_take(struct journals *j)
{
    struct journal now = { 0 };
    size_t count = j->count;
    bool good = !j->lost && j->known && journals_read(j, &now);
    if (good && j->written)
        good = now.first && journals_link(j, now.first, now.page);
    else
        j->count = count; /* rolled back */
    free(now.first);
    journals_close(j);
    if (!good)
        journals_lose(j);
}

/* ---- notices ---- */

void journals_lose(struct journals *j)
{
    j->lost = true;
    j->count = 0;
}

void journals_made(struct journals *j, const char *path)
{
    struct stat st;
    if (j->fd) { /* that it is gone was not told */
        journals_lose(j);
        journals_close(j);
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    j->fd = fd + 1;
    j->written = false;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        return;
    journals_close(j);
    journals_lose(j);
}

void journals_gone(struct journals *j)
{
    if (j->fd && journals_is_gone(j))
        journals_take(j);
    else
        journals_lose(j); /* of one that was not opened */
}

void journals_written(struct journals *j)
{
    j->written = true;
    if (!j->fd)
        journals_lose(j);
}

/* ---- a look ---- */

static bool journals_lead_to(const struct journals *j, uint32_t counter, const uint8_t *first)
{
    if (j->links == 0)
        return counter == j->change && memcmp(first, j->first, j->size) == 0;
    return j->from == j->change && memcmp(j->before, j->first, j->size) == 0 && counter == j->to;
}

bool journals_follow(struct journals *j, const uint8_t *first, uint32_t size, journals_page_fn *each, void *ctx)
{
    uint32_t counter = journals_number(first + JOURNALS_COUNTER);
    if (j->fd) /* at work, or one that stays */
        journals_lose(j);
    bool good = j->watched && j->known && !j->lost && size == j->size && journals_lead_to(j, counter, first);
    for (size_t i = 0; good && i < j->count; i++)
        each(ctx, j->pages[i]);
    j->known = true;
    if (j->size != size) {
        free(j->first);
        free(j->before);
        j->first = mem_alloc(size);
        j->before = mem_alloc(size);
    }
    j->size = size;
    j->change = counter;
    memcpy(j->first, first, size);
    j->lost = false;
    j->links = j->count = 0;
    return good;
}

void journals_forget(struct journals *j)
{
    j->known = j->lost = false;
    j->links = j->count = 0;
}

void journals_free(struct journals *j)
{
    journals_close(j);
    free(j->first);
    free(j->before);
    free(j->pages);
    *j = (struct journals){ 0 };
}
