/* SPDX-License-Identifier: MIT */
/* What happened to a row, as an event of the rule's columns; and the parts of an event that those of a `map` have as
 * well. */
#pragma once
#include "connectors/sqlite/sqlite.h"

struct happening {
    const char *op;   /* of the id: insert, done, pinned=1 ... */
    const char *type; /* template */
    struct str key;   /* typed */
    uint64_t version; /* 0: none; then the birth counts */
    struct birth birth;
    sqlite3_stmt *row;   /* NULL: it is gone */
    const char *kept;    /* JSON for a row that is gone, or of an update, as it was; NULL: just the key */
    const char *changed; /* names of changed columns, or NULL */
    const bool *columns; /* of a `map`: which watched ones changed, or NULL */
    bool first;          /* the row is new, and they are those whose value it does not have by itself */
    int64_t at_ms;       /* when it happened, if no time column says it; 0: now */
    bool timed;          /* the time column is when it happened; otherwise it is now */
};
void render_open(struct sqlite_source *s);
void render_close(struct sqlite_source *s);
const struct event *render_event(struct sqlite_source *s, struct rule *r,
                                 const struct happening *h);                                   /* NULL: refused */
void render_kept(struct sqlite_source *s, struct rule *r, sqlite3_stmt *row, struct buf *out); /* JSON of `keep` */
/* The parts of an event, for those of a `map`. The row as a JSON object of at most `max` bytes (in s->cells
 * meanwhile); the names of columns that had to be left out go to `left_out`. */
void render_row(struct sqlite_source *s, struct rule *r, sqlite3_stmt *row, bool keep, size_t max, struct buf *out,
                struct buf *left_out);
void render_id(const struct sqlite_source *s, const struct rule *r, const struct happening *h, struct str op,
               char id[UUID_TEXT]);
void render_time(const struct rule *r, const struct happening *h, char text[CLOCK_TEXT]);
/* What was added to `out` behind `begin` becomes fit for an attribute; nothing, or too much: the default. */
void render_end_subject(struct buf *out, size_t begin, const struct rule *r, const struct happening *h);
/* No event of that type could be made of it. */
void render_refused(struct sqlite_source *s, struct rule *r, const struct happening *h, const char *type,
                    const struct err *why);
void render_report_truncated(struct sqlite_source *s, const struct rule *r, const struct happening *h,
                             const struct buf *left_out);

/* mapped.c: the events that a happening becomes, by the rule's `map` or of its columns, are found */
void mapped_tell(struct sqlite_source *s, struct rule *r, const struct happening *h);
