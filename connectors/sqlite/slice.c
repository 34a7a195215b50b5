/* SPDX-License-Identifier: MIT */
/* A slice: when it is full, and what a statement that failed means for it. */
#include "connectors/sqlite/sqlite.h"

enum { SLICE_LOOK_US = 50 }; /* so often it looks whether the application writes */

void slice_begin(struct sqlite_source *s, size_t room)
{
    s->slice = (struct slice){ .room = room };
}

/* In rollback mode the application cannot commit while a read lasts. It says so before: by a lock that leaves readers
 * alone. One that was there when the slice began has been waited for long enough. */
static bool slice_is_in_the_way(struct sqlite_source *s, int64_t now_us)
{
    if (now_us - s->slice.looked_us < SLICE_LOOK_US)
        return false;
    bool first = !s->slice.looked_us, written = database_is_written(s);
    s->slice.looked_us = now_us;
    s->slice.stubborn = first ? written : s->slice.stubborn;
    return written && !s->slice.stubborn;
}

bool slice_is_over(struct sqlite_source *s)
{
    int64_t now_us = clock_mono_us();
    s->slice.over = s->slice.over || now_us - s->read_began_us > s->hold.ms * 1000 || slice_is_in_the_way(s, now_us);
    return s->slice.over;
}

bool slice_full(struct sqlite_source *s)
{
    const struct found *f = &s->found;
    return s->slice.rows > 0
           && (f->event_count >= s->slice.room || f->bytes >= FOUND_BYTES || f->change_count >= FOUND_CHANGES
               || slice_is_over(s));
}

enum step slice_failed(struct sqlite_source *s, struct rule *r, int rc, struct err *e)
{
    switch (rc & 0xff) {
    case SQLITE_INTERRUPT:
        rule_warn(s, r, "a read took too long and was stopped; does the key have an index?");
        return STEP_FAILED;
    case SQLITE_ERROR:
    case SQLITE_SCHEMA:
    case SQLITE_TOOBIG:
    case SQLITE_MISMATCH:
    case SQLITE_RANGE:
    case SQLITE_CONSTRAINT: rule_warn(s, r, sqlite3_errmsg(s->db)); return STEP_FAILED;
    }
    return database_state(s, rc, e) == DB_BUSY ? STEP_BUSY : STEP_GONE;
}
