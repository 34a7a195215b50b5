/* SPDX-License-Identifier: MIT */
/* The end of letters by `aqueduct dead`: redriven or discarded page by page, the oldest first, each told on stdout as text or a
 * line of JSON, and how many they were in the last line. A rate, the progress on stderr, and Ctrl-C, which ends it between two
 * pages, are here: whoever does a page knows nothing of the others. Main thread. */
#pragma once
#include "connectors/dead_letter/filing.h"

struct ending {
    struct filing *filing;
    json_t *which; /* letters, and what is asked for (struct filed_work); its limit and after are set here */
    bool discard, dry_run, json;
    const char *to;     /* where they go; NULL: where they came from */
    int64_t most, rate; /* 0: not given */
    /* Private: */
    bool begun, interrupted;
    int64_t done, refused, skipped, total;
    int64_t began_ms, said_ms;
    char after[32];
    bool unmarked; /* it was said that the file could not be told */
};

/* Sets the exit code. False with *e: it failed. */
bool ending_run(struct ending *en, int *code, struct err *e);
