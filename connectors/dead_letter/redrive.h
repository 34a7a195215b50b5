/* SPDX-License-Identifier: MIT */
/* Redriving: dead letters are given again to the sinks that gave them up, or to another. Discarding: they are given up for
 * good.
 *
 * They go in batches, in three steps: the events on the redrive topic of the sink (none of discarded ones), then into the
 * file that was read what became of the letters, so that a second call, with or without a daemon, does not take them again,
 * then the news of it on the dead-letter topic, for whoever files letters. A crash in between redrives a batch once more,
 * under the same ids. Asked to end, it does so between two batches. */
#pragma once
#include "bridge/command.h"
#include "connectors/dead_letter/letters.h"

enum { REDRIVE_BATCH = 256 };

struct redrive {
    const struct command_call *call;
    enum letter_state becomes; /* LETTER_REDRIVEN or LETTER_DISCARDED */
    struct command_place to;   /* sink NULL: each goes where it came from */
    bool dry_run;              /* only say what would be done */
    bool again;                /* also what was redriven before */
    int64_t rate;              /* letters a second; 0: as fast as it goes */
    int64_t total;             /* that are to be done; for the progress */
    /* Is told how far it is, and says whether to go on. */
    bool (*goes_on)(void *ctx, int64_t done, int64_t of);
    void *ctx;
    /* What became of a letter: redriven, discarded, would, refused or skipped; `why` NULL: nothing to say. */
    void (*said)(void *said_to, const char *verb, const char *why, const struct letter *l);
    void *said_to;
    /* What became of all of them: */
    int64_t done, refused, skipped;
    int64_t last; /* the number of the last letter that was looked at */
    bool interrupted;
    struct err unmarked; /* why the file could not say so, at last; "": it could */

    struct letters *letters;
    struct letter batch[REDRIVE_BATCH]; /* owned */
    size_t count, bytes;
    int64_t began_ms;
    int failures; /* to publish, in a row */
};

/* Redrives or discards the selected letters, the oldest first, at most `most`; says each. One that cannot be
 * published is refused, and the next one's turn comes; false with *e when several in a row cannot, or the news of a batch
 * cannot. */
bool redrive_letters(struct redrive *d, struct letters *st, const struct selection *sel, int64_t most, struct err *e);
/* Leaves out of the selection what was redriven again and again; with `say`, says of that, and of what counts as redriven, that
 * it is left out (of the newest), and counts it. False with *e. */
bool redrive_leave_out(struct redrive *d, struct letters *st, struct selection *sel, bool say, struct err *e);
