/* SPDX-License-Identifier: MIT */
/* The pages of a database, as the read transaction at work shows them, and which of them have changed.
 *
 * They are read through the files that SQLite itself has open, never by another descriptor. Where a page is now comes
 * from SQLite's own index of the WAL (shared memory); formats: sqlite.org/fileformat2.html and /walformat.html. The WAL
 * also tells which pages changed since it was last looked at; where that is not known (a WAL that was
 * begun anew, a file that was opened again) the generation moves, and any page may have. In rollback mode the journals
 * tell the same, if all of them were seen (journals.h). Whatever is not understood makes the pages unreadable (good = false) until the next transaction.
 *
 * Used between pages_begin() and the end of the transaction, on the source's thread. */
#pragma once
#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "connectors/sqlite/journals.h"

enum { PAGES_HEADER = 12 }; /* words of the WAL's index header */

struct pages {
    bool good;       /* they can be read in this transaction */
    uint32_t size;   /* bytes of a page */
    uint32_t usable; /* of them for content */
    uint32_t count;  /* pages of the database */
    uint32_t generation;
    bool by_journal; /* what changed is told by journals: of pages that were free, not all */
    /* inside */
    sqlite3_file *file, *wal;       /* SQLite's; wal NULL: all pages are in the file */
    const volatile uint32_t *index; /* the WAL's index; NULL: not mapped (yet), or no WAL */
    uint32_t before[PAGES_HEADER];  /* its header before the transaction */
    bool known;                     /* the WAL, up to a frame: */
    uint32_t frames, salt[2], checksum[2];
    struct pages_slot *slots;    /* where each page last stands in it, by page */
    size_t slot_count, slot_cap; /* cap: 0 or a power of two */
    struct journals journals;
    uint8_t *first; /* rollback mode: the first page */
    uint32_t first_size;
};

typedef void pages_changed_fn(void *ctx, uint32_t page);

/* Before the transaction begins. */
void pages_before(struct pages *p);
/* In a transaction whose snapshot is taken. Calls `changed` for each page that may have changed since the last call, unless
 * the generation moves. False: begin the transaction anew, if you like; the WAL moved meanwhile. */
bool pages_begin(struct pages *p, sqlite3 *db, pages_changed_fn *changed, void *ctx);
bool pages_read(struct pages *p, uint32_t page, uint8_t *out); /* p->size bytes; false: cannot be read */
void pages_forget(struct pages *p);                            /* it is another file: the generation moves */
void pages_close(struct pages *p);                             /* the connection is closed; what is known stays */
void pages_free(struct pages *p);

uint64_t pages_hash(const uint8_t *page, size_t size); /* size: a multiple of 32 */
