/* SPDX-License-Identifier: MIT */
/* A slice: when it is full, and what a statement that failed means for it. */
#include "connectors/sqlite/sqlite.h"

bool slice_full(const struct sqlite_source *s)
{
    const struct found *f = &s->found;
    return s->slice.rows > 0
           && (f->event_count >= s->slice.room || f->bytes >= FOUND_BYTES || f->change_count >= FOUND_CHANGES
               || clock_mono_us() - s->read_began_us > s->hold.ms * 1000);
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
