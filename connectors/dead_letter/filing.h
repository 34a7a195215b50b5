/* SPDX-License-Identifier: MIT */
/* The file of dead letters as `aqueduct dead` reaches it: the running daemon is asked, by its API; when none answers, the file
 * is read and written here, by the functions that the API calls (struct filed_ops). What is said and what comes back is the
 * same JSON in either case. One thread. */
#pragma once
#include <jansson.h>
#include "bridge/command.h"
#include "bridge/connector.h"
#include "connectors/dead_letter/letters.h"

enum { FILING_PAGE = 1000 }; /* letters of a list's page */

struct filing {
    const struct command_call *call;
    const struct sink *sink; /* whose file it is */
    bool directly;           /* no daemon answered */
};

/* A page of the letters that `which` selects, the newest first; NULL with *e. The caller's reference, as of all that follow. */
json_t *filing_list(struct filing *f, const json_t *which, struct err *e);
/* One letter, with its data in *data. NULL with *e, which is empty when it is gone. */
json_t *filing_show(struct filing *f, const char *number, struct buf *data, struct err *e);
/* Redrives or discards a page of letters (struct filed_work): what came of it; NULL with *e. */
json_t *filing_end(struct filing *f, const json_t *which, bool discard, struct err *e);
/* Has a letter these, whatever its state? What cannot be read counts as one: reading it for good says why. */
bool filing_has(struct filing *f, struct str sink, struct str endpoint);

/* ---- letters out of that JSON ---- */

struct filing_letter {
    struct letter letter; /* borrows from the JSON; of its record's data only the size is known */
    struct header *headers;
};

void filing_read(struct filing_letter *l, const json_t *json);
void filing_free(struct filing_letter *l);
