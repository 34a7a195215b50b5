/* SPDX-License-Identifier: MIT */
/* What the files behind letters.h share; nobody else includes it.
 *
 *   selection.c   letters are selected and read
 *   letters.c     the file: opened, written; its statements
 *
 * Each calls only files below it. */
#pragma once
#include <sqlite3.h>
#include "bridge/event/trail.h"
#include "connectors/dead_letter/letters.h"

enum statement {
    BEGIN,
    COMMIT,
    ROLLBACK,
    REMOVE,
    INSERT,
    INSERT_HEADER,
    REDRIVEN,
    DISCARDED,
    MARK,
    UNCHANGED,
    COUNT,
    COUNT_DISCARDED,
    OLDEST,
    AGED,
    LOAD,
    LOAD_HEADERS,
    STATEMENTS
};

#define OF_HEADER(header) "(SELECT value FROM headers WHERE letter = seq AND CAST(name AS TEXT) = '" header "')"
#define OF_FROM           OF_HEADER(TRAIL_FROM)
#define OF_TRAIL          "CAST(" OF_HEADER(TRAIL_ENDPOINT) " AS TEXT)"
#define OF_REASON                                                                                                      \
    "CASE WHEN class = 'orphaned' AND reason GLOB 'the sink has no endpoint ?*'"                                       \
    " THEN replace(substr(reason, 26), ' any more', '') END"
/* The endpoint of a letter, which its headers tell, or, of one that an earlier version filed when its endpoint was gone, the
 * reason; '' when it has none. */
#define OF_ENDPOINT " coalesce(" OF_TRAIL ", " OF_REASON ", '')"

struct letters {
    sqlite3 *db;
    char *path;
    sqlite3_stmt *statements[STATEMENTS]; /* prepared when first used */
    int64_t count;                        /* letters, as of the last trim; -1: not counted yet */
    int claim_fd;                         /* its folder, for letters_claim; -1: not opened */
};

bool letters_failed(const struct letters *st, struct err *e); /* false, with what SQLite says */
sqlite3_stmt *letters_statement(struct letters *st, enum statement which, struct err *e); /* prepared; NULL with *e */
/* Steps a statement that gives at most one row; `row` gets its first column when there is one. */
bool letters_step(struct letters *st, sqlite3_stmt *s, int64_t *row, struct err *e);
void letters_bind_text(sqlite3_stmt *s, int at, struct str text);
