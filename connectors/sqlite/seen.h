/* SPDX-License-Identifier: MIT */
/* A row as it is now, compared with what its rule remembers of it, and told: for kinds that remember rows. */
#pragma once
#include "connectors/sqlite/sqlite.h"

struct seen {
    char text[KEY_BYTES + 8];
    struct str key;
    uint64_t hashes[RULE_HASHES];
    size_t count, watched; /* hashes; of watched columns, the other is of what is kept, or its time */
    sqlite3_stmt *scan;    /* key, watched and kept columns */
    sqlite3_stmt *all;     /* the data as well; NULL: not fetched */
    int64_t at_ms;         /* when it was last written; 0: not known */
    bool touched;          /* it is not remembered, but no new row */
    struct birth birth;    /* instead of a version: of an outbox, which change it is */
};

/* The row as the scan shows it, or as it was read without what is too large. */
void seen_read(struct seen *now, const struct rule *r, sqlite3_stmt *row);
bool seen_is_scan(const struct rule *r, sqlite3_stmt *row); /* else it was read whole, without what is too large */
bool seen_is_silent(const struct sqlite_source *s, const struct rule *r); /* the first pass only remembers */
/* Is it known exactly so? Then there is nothing to tell, nor to remember. */
bool seen_is_known(const struct row *row, const struct seen *now);
/* `ahead`: an event with this version is on its way; `d`: while an earlier one is in doubt, else NULL. */
void seen_remember(struct sqlite_source *s, struct rule *r, const struct seen *now, uint64_t version, bool ahead,
                   const struct doubt *d);
/* What the row tells as a new one, by the states that it is in, too; as one that changed (`kept`: of it as it was). Nothing
 * is remembered. Return whether there may be any event. */
bool seen_report_new(struct sqlite_source *s, struct rule *r, struct seen *now, uint64_t version);
bool seen_report_update(struct sqlite_source *s, struct rule *r, const char *kept, const struct seen *now,
                        const bool *changed, uint64_t version);
/* Tells what is new of it, its data fetched, and remembers it. row: what is remembered; NULL: nothing. */
void seen_tell(struct sqlite_source *s, struct rule *r, const struct row *row, struct seen *now);
