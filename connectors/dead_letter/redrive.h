/* SPDX-License-Identifier: MIT */
/* Redriving: dead letters are given again to the sinks that gave them up.
 *
 * Each letter is two records, one after the other: the event on the sink's redrive topic, then on the dead-letter topic
 * the news that it was redriven, for whoever files letters. As soon as the event is stored, the file that was read says
 * so, too: a second call, with or without a daemon, does not redrive it again. A crash in between redrives it once more,
 * under the same id. */
#pragma once
#include "bridge/command.h"
#include "connectors/dead_letter/letters.h"

struct redrive {
    const struct command_call *call;
    bool again;   /* also what was redriven before */
    bool dry_run; /* only say what would be done */
    int64_t total, sent, refused;
    int failures; /* to publish, in a row */
    int unmarked; /* redriven, but the file could not say so */
    struct letters *letters;
};

/* Redrives the selected letters, the oldest first, at most `most`; says each on stdout. One that cannot be
 * published is refused, and the next one's turn comes; false with *e when several in a row cannot, or the news of one
 * cannot. */
bool redrive_letters(struct redrive *d, struct letters *st, const struct selection *sel, int64_t most, struct err *e);
/* Says which letters of the selection are left out because they were redriven before, the newest first, and how many
 * there are; false with *e. */
bool redrive_say_skipped(struct letters *st, const struct selection *sel, int64_t *count, struct err *e);
