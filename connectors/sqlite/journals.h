/* SPDX-License-Identifier: MIT */
/* Which pages transactions change in a database with a rollback journal, as their journals tell: SQLite writes there how a
 * page was before it writes the page. Format: sqlite.org/fileformat2.html, "The Rollback Journal".
 *
 *   a journal is made -- opened --.                        ,-- the database was written: a link of the chain
 *   the database is written       |-- a journal is gone --<
 *                                 '   (its file is still   '-- it was not: the transaction was rolled back
 *                                      open, and whole)
 *
 * The first page, which every commit changes, has a counter: the pages of the journals are all that changed only if the
 * journals lead, without a gap, from the page as it was at the last look to the one that is there now. Where anything else
 * is seen (a journal that came and went unopened, one that is not removed but cut, a write without a journal, one that was
 * rolled back, a WAL) nothing is known. A page that was free before a transaction is not in its journal; nor is one that only
 * becomes free. Both change the page that points to it, which is.
 *
 * Journals are no part of a database to SQLite's locks, so they may be opened and closed. One is open at a time. Used on the
 * source's thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct journals {
    int fd;          /* of the journal at work, plus 1; 0: none */
    bool watched;    /* notices come */
    bool lost;       /* something changed that no journal tells */
    bool written;    /* the database was, since that journal was made */
    bool known;      /* at the last look: */
    uint32_t size;   /* of a page */
    uint32_t change; /* the counter */
    uint8_t *first;  /* the first page */
    /* since then: */
    size_t links;
    uint32_t from, to; /* counters before the first and behind the last */
    uint8_t *before;   /* the first page before the first */
    uint32_t *pages;
    size_t count, cap;
};

/* What notices of the folder tell, in their order. */
void journals_made(struct journals *j, const char *path);
void journals_gone(struct journals *j);
void journals_written(struct journals *j);
void journals_lose(struct journals *j); /* something else happened */

typedef void journals_page_fn(void *ctx, uint32_t page);
/* In a read transaction whose first page is given, when all notices so far have been told: tells each page that may have
 * changed since the last call. False: nothing is known of them. */
bool journals_follow(struct journals *j, const uint8_t *first, uint32_t size, journals_page_fn *each, void *ctx);
void journals_forget(struct journals *j); /* the next look knows nothing of the last one */
void journals_free(struct journals *j);
