/* SPDX-License-Identifier: MIT */
/* Redriving: dead letters are given again to the sinks that gave them up.
 *
 * Each letter is two records, one after the other: the event on the sink's redrive topic, then on the dead-letter topic
 * the news that it was redriven. The daemon files that; so a letter counts as redriven only once both are stored, and
 * a crash in between redrives it once more, under the same id. */
#pragma once
#include "bridge/command.h"
#include "connectors/dead_letter/letters.h"

struct redrive {
    const struct command_call *call;
    bool again;   /* also what was redriven before */
    bool dry_run; /* only say what would be done */
    int64_t total, sent, refused;
    int failures; /* to publish, in a row */
};

/* Redrives the selected letters, the oldest first, at most `most`; says each on stdout. One that cannot be
 * published is refused, and the next one's turn comes; false with *e when several in a row cannot, or the news of one
 * cannot. */
bool redrive_letters(struct redrive *d, struct letters *st, const struct selection *sel, int64_t most, struct err *e);
