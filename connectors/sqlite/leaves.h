/* SPDX-License-Identifier: MIT */
/* The leaves of a table, and what is known of them: how each looked when all of its rows were last compared.
 *
 * A pass walks them in the order of the rowid, each row once. A leaf that looks as it did holds the rows that it held, and
 * they were compared in the pass before this one: they need not be read again. So that this is so, a leaf is known only
 *
 *   - if all of its rows were compared in one transaction, in that in which it was read; and not before, in this pass, on
 *     another leaf (rows move between leaves);
 *   - if nothing of its rows stands elsewhere (overflow pages can change while the leaf does not);
 *   - for rowids that were its own then: it may stand for more now, as where its neighbour is gone with all of its rows;
 *   - until the end of the next pass, unless that met it too.
 *
 * Where the WAL or the journals tell which pages changed, a leaf that did not is not even read; and if no page of the tree
 * did, nothing is. Journals do not tell of a leaf that left the tree and came back: but only with a page above leaves that
 * changed, and then nothing is known.
 *
 * Whatever is not understood (a damaged tree, another format) ends the walk, and nothing is known. */
#pragma once
#include "connectors/sqlite/pages.h"

enum { LEAVES_DEPTH = 20, LEAVES_BATCH = 64 };

struct leaf {
    uint64_t hash;
    int64_t from, to;    /* its rowids lie there, and no other leaf's */
    uint32_t page;       /* 0: a free slot */
    uint32_t pass;       /* the last one that met it */
    uint32_t generation; /* of the pages; another one: it may have changed */
    bool inner;          /* not a leaf but a page above leaves */
};

struct leaves {
    struct leaf *slots;
    size_t count, cap; /* cap: 0 or a power of two */
    int64_t schema;
    uint32_t root, pass, generation;
    int64_t start;  /* of the pass: the least rowid that matters */
    bool walking;   /* a pass has begun and not ended */
    bool unsure;    /* it met a leaf that cannot be known */
    bool touched;   /* a page of the tree may have changed since the pass began */
    bool clean;     /* nothing has since the last one */
    bool whole;     /* the tree is being learnt */
    uint32_t chain; /* pages read outside of it */
    bool skipped;   /* this pass left rows out */
    struct leaves_level {
        uint8_t *page;
        uint32_t at, cells; /* the child whose turn it is; one more than cells */
        int64_t above;      /* the largest rowid below it */
    } levels[LEAVES_DEPTH];
    size_t depth;  /* of levels in use */
    bool at_root;  /* the walk begins there */
    uint8_t *page; /* read last */
    uint32_t page_size;
    /* The leaves to be read next, one behind the other: rows from..to, so many. */
    struct leaf batch[LEAVES_BATCH];
    size_t batch_count, batch_rows;
    int64_t from, to;
};

struct leaves_of { /* a pass over a table */
    uint32_t root;
    int64_t schema; /* its version */
    int64_t start;  /* the least rowid that matters; it only grows */
    uint32_t pass;
};
/* A pass begins. What is known stays known only if the last pass ended. */
void leaves_begin(struct leaves *l, const struct pages *p, const struct leaves_of *of);
enum leaves_step {
    LEAVES_READ, /* the batch is to be read */
    LEAVES_FULL, /* `stop` said so; the rows up to l->to need not be read */
    LEAVES_END,  /* the rows behind `from` need not be read */
    LEAVES_LOST  /* not understood */
};
typedef bool leaves_stop_fn(void *ctx);
/* Goes on at that rowid, in a transaction in which the pages are good. */
enum leaves_step leaves_next(struct leaves *l, struct pages *p, int64_t from, size_t rows, leaves_stop_fn *stop,
                             void *ctx);
void leaves_read(struct leaves *l,
                 int64_t to); /* the rows of the batch up to that one were compared, in this transaction */
/* Only whether any page of the table has changed is of interest: the tree is learnt as it stands in this transaction, with what
 * stands outside it of long rows. Then the pass may read rows as it likes. */
void leaves_learn(struct leaves *l, struct pages *p);
bool leaves_are_clean(struct leaves *l, const struct pages *p,
                      const struct leaves_of *of); /* no page has changed since */
void leaves_pass_by(struct leaves *l);             /* rows were compared without it */
void leaves_end(struct leaves *l);                 /* the pass has come to its end */
/* That page may have changed. By a journal: then leaves below it may have, too. */
void leaves_touch(struct leaves *l, uint32_t page, bool by_journal);
void leaves_forget(struct leaves *l);
void leaves_free(struct leaves *l);
