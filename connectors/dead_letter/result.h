/* SPDX-License-Identifier: MIT */
/* What redrive and discard say of each letter on stdout: a line of text, or of JSON; and how many they were. */
#pragma once
#include "bridge/command.h"
#include "connectors/dead_letter/letters.h"

struct results {
    enum letter_state becomes; /* LETTER_REDRIVEN or LETTER_DISCARDED */
    struct command_place to;   /* sink NULL: each goes where it came from */
    bool dry_run;              /* only say what would be done */
    bool json;
    /* Hears it instead of stdout; NULL: stdout. */
    void (*said)(void *ctx, const char *verb, const char *why, const struct letter *l);
    void *ctx;
    int64_t done, refused, skipped;
    bool interrupted;
};

void results_say(const struct results *r, const char *verb, const char *why, const struct letter *l);
void results_say_total(const struct results *r, int64_t of); /* the last line */
