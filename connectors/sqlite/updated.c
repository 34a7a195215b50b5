/* SPDX-License-Identifier: MIT */
/* Kind updated: rows whose column of changes (`cursor`) says that they were written lately. A pass goes in laps:
 *
 *   measure   the first one only: the newest time there is, and the largest rowid
 *   new       rows behind the largest rowid: told as inserted, whatever their time says
 *   recent    rows with a time from `since` on: compared with what is remembered of them
 *
 * `since` lies an overlap before the newest time, as a row is committed later than its time says, and several share a
 * second. That is the newest one known when the last pass began to compare: a pass may take long, and what it has behind it
 * may be written again before it ends. Rows from `floor` on are remembered with their hashes, so that none is told twice;
 * older ones are forgotten, and told when they are written again. `since` is never later than now, so that a row from the
 * future hides nothing. When the clock was set back, it goes back with it: rows that lie in the future then were told before.
 *
 * Times are compared as they stand, text without an offset as if it were UTC, whatever its zone: so nothing moves when
 * the zone is changed. Where the zone's clock shows an hour twice, `since` stays at that hour's beginning until it lies
 * behind its end: what is written in the second one is compared with all of the first. */
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "connectors/sqlite/large.h"
#include "connectors/sqlite/position.h"
#include "connectors/sqlite/render.h"
#include "connectors/sqlite/seen.h"

enum {
    UPDATED_KEEP_MS = 10 * 60000,       /* so long before `since` rows are remembered, for a clock that is set back */
    UPDATED_AHEAD_MS = 14 * 3600 * 1000 /* a time further in the future is none; nearer, it may be a local time */
};

#define UPDATED_STILL "the rule stands still: a key, or a time, is too large to be read"

/* ---- where it reads ---- */

static bool updated_is_whole(const struct rule *r)
{
    const struct updated *u = &r->updated;
    return u->lap != LAP_RECENT || !u->indexed || u->since == INT64_MIN;
}

static void updated_move_to(struct rule *r, sqlite3_stmt *row)
{
    rule_rewind(r);
    r->at = sqlite3_value_dup(sqlite3_column_value(row, HEAD_CURSOR));
    r->updated.tie = sqlite3_value_dup(sqlite3_column_value(row, HEAD_TIE));
    CHECK(r->at && r->updated.tie);
}

static bool updated_bind(struct sqlite_source *s, const struct rule *r, sqlite3_stmt *stmt)
{
    const struct updated *u = &r->updated;
    bool whole = updated_is_whole(r), good = sqlite3_bind_int64(stmt, 2, s->batch) == SQLITE_OK;
    if (whole && !r->at && u->lap == LAP_NEW && r->has_rowid)
        return good && sqlite3_bind_int64(stmt, 1, r->top) == SQLITE_OK;
    if (whole)
        return good && (r->at ? sqlite3_bind_value(stmt, 1, r->at) == SQLITE_OK : value_bind(stmt, 1, POSITION_LEAST));
    const struct times *range = &u->ranges[u->range];
    good = good && value_bind(stmt, 4, str_of(range->high));
    return good
           && (r->at
                   ? sqlite3_bind_value(stmt, 1, r->at) == SQLITE_OK && sqlite3_bind_value(stmt, 3, u->tie) == SQLITE_OK
                   : value_bind(stmt, 1, str_of(range->low)) && value_bind(stmt, 3, POSITION_LEAST));
}

/* A lap that finds nothing, or that this pass does without, is passed over. */
static bool updated_wants(const struct sqlite_source *s, const struct rule *r, enum lap lap)
{
    const struct updated *u = &r->updated;
    switch (lap) {
    case LAP_MEASURE: return !u->known;
    case LAP_NEW: return !seen_is_silent(s, r) && (r->has_rowid || !u->known);
    case LAP_RECENT:
    case LAP_END: break;
    }
    return true;
}

static void updated_enter(struct sqlite_source *s, struct rule *r, enum lap lap)
{
    struct updated *u = &r->updated;
    while (!updated_wants(s, r, lap))
        lap++;
    rule_rewind(r);
    u->lap = lap;
    u->range = 0;
    if (lap == LAP_RECENT) {
        u->reaching = u->high;
        u->begun_ms = clock_mono_ms();
    }
    if (lap == LAP_MEASURE || u->since_known)
        return;
    if (!u->known && !u->reached && u->high) {
        u->reached = u->high; /* as measured; the first pass may take several lives of the daemon */
        state_store_since(s, r);
    }
    int64_t gap = u->looked_ms ? clock_mono_ms() - u->looked_ms : 0;
    int64_t from = u->reached > u->now ? u->now - gap : u->reached;
    u->since = u->reached == INT64_MIN ? INT64_MIN : from - r->o->overlap.ms;
    if (u->since != INT64_MIN)
        zone_again(r->zone, u->since, &u->since);
    u->since_known = true;
    if (u->known && u->since < u->floor)
        LOG(WARN, "the clock was set back: rows since then are read again", LOG_C("source", s->base.id),
            LOG_C("rule", r->name), LOG_INT("ms", u->floor - u->since));
    if (u->since != INT64_MIN)
        u->range_count = times_since(u->since, u->zoned, u->ranges);
}

/* Behind the last row of a lap, or of one of its ranges. */
static void updated_go_on(struct sqlite_source *s, struct rule *r)
{
    struct updated *u = &r->updated;
    if (!updated_is_whole(r) && u->range + 1 < u->range_count) {
        rule_rewind(r);
        u->range++;
    } else {
        updated_enter(s, r, u->lap + 1);
    }
}

/* ---- a row ---- */

/* The whole of the row scanned, to be let go of; NULL: it cannot be read, which was told. */
static sqlite3_stmt *updated_fetch(struct sqlite_source *s, struct rule *r, sqlite3_stmt *scan, int *rc)
{
    *rc = sqlite3_bind_value(r->get, 1, sqlite3_column_value(scan, HEAD_KEY));
    if (*rc == SQLITE_OK)
        *rc = sqlite3_step(r->get);
    if (*rc == SQLITE_ROW) {
        *rc = SQLITE_OK;
        return r->get;
    }
    sqlite3_reset(r->get);
    sqlite3_stmt *row = *rc == SQLITE_TOOBIG ? large_row(s, r, STR_ABSENT, scan, rc) : NULL;
    if (*rc == SQLITE_DONE || *rc == SQLITE_TOOBIG)
        *rc = SQLITE_OK;
    return row;
}

static void updated_let_go(struct rule *r, sqlite3_stmt *row)
{
    if (row == r->get)
        sqlite3_reset(row);
    else
        large_end(r, row);
}

/* The newest time there is; one far in the future is a mistake. */
static void updated_raise(struct rule *r, int64_t ms)
{
    struct updated *u = &r->updated;
    if (ms > u->high && ms <= u->now + UPDATED_AHEAD_MS)
        u->high = ms;
}

/* Text that says that it is behind UTC: ...-05:00 */
static void updated_look_at_zone(struct rule *r, sqlite3_stmt *scan)
{
    if (r->updated.zoned || sqlite3_column_type(scan, HEAD_DONE) != SQLITE_TEXT)
        return;
    const char *text = (const char *)sqlite3_column_text(scan, HEAD_DONE);
    r->updated.zoned = text && strlen(text) > 11 && strchr(text + 11, '-');
}

/* The row with all that is to be known of it. False: it cannot be read, or *rc says what went wrong. */
static bool updated_see(struct sqlite_source *s, struct rule *r, sqlite3_stmt *scan, int64_t ms, struct seen *now,
                        int *rc)
{
    now->all = updated_fetch(s, r, scan, rc);
    if (!now->all)
        return false;
    seen_read(now, r, now->all);
    value_time_in(scan, HEAD_DONE, r->zone, &now->at_ms); /* as it is told; as it stands it is: */
    now->hashes[now->count++] = (uint64_t)ms;
    return true;
}

/* A row behind the largest rowid, or one of a table of which nothing was known. */
static int updated_take_new(struct sqlite_source *s, struct rule *r, sqlite3_stmt *scan, bool recent, int64_t ms)
{
    struct seen now = { 0 };
    int rc;
    if (!updated_see(s, r, scan, ms, &now, &rc))
        return rc;
    const struct row *row = rows_find(&r->rows, now.key);
    const char *type = rule_type(r, STR("insert"));
    if (recent)
        seen_tell(s, r, row && row->fresh ? row : NULL, &now);
    else if (type) /* not remembered, so its id is that of one row of its key and rowid */
        mapped_tell(s, r,
                    &(struct happening){ .op = "insert",
                                         .type = type,
                                         .key = now.key,
                                         .birth = position_birth(r, scan),
                                         .row = now.all,
                                         .timed = true,
                                         .at_ms = now.at_ms });
    updated_let_go(r, now.all);
    return SQLITE_OK;
}

/* A row that was written lately, or just is in the same range. */
static int updated_compare(struct sqlite_source *s, struct rule *r, sqlite3_stmt *scan, int64_t ms)
{
    const struct updated *u = &r->updated;
    struct seen now = { 0 };
    int64_t made;
    int rc;
    if (!updated_see(s, r, scan, ms, &now, &rc))
        return rc;
    now.touched = !value_time(scan, HEAD_TIME, &made) || made < u->since;
    const struct row *row = rows_find(&r->rows, now.key);
    if (!row && ms < u->floor && ms > u->now + r->o->overlap.ms)
        seen_remember(s, r, &now, 0, false, NULL); /* the clock was set back: it was told before that */
    else if (!seen_is_known(row, &now))
        seen_tell(s, r, row, &now);
    updated_let_go(r, now.all);
    return SQLITE_OK;
}

static int updated_take_row(struct sqlite_source *s, struct rule *r, sqlite3_stmt *scan)
{
    struct updated *u = &r->updated;
    int64_t ms = 0, rowid = sqlite3_column_int64(scan, updated_is_whole(r) ? HEAD_CURSOR : HEAD_TIE);
    bool timed = value_time(scan, HEAD_DONE, &ms), keyed = sqlite3_column_type(scan, HEAD_KEY) != SQLITE_NULL,
         recent = timed && ms >= u->since, behind = r->has_rowid && rowid > r->top;
    s->slice.rows++;
    updated_look_at_zone(r, scan);
    if (timed)
        updated_raise(r, ms);
    if (behind && (u->lap == LAP_NEW || seen_is_silent(s, r)) && u->lap != LAP_RECENT) {
        r->top = rowid;
        r->moved = true;
    }
    if (u->lap == LAP_NEW && !keyed) {
        metric_add(s->unkeyed, 1);
        rule_warn_of_unkeyed(s, r);
    }
    if (!keyed || u->lap == LAP_MEASURE)
        return SQLITE_OK;
    if (u->lap == LAP_NEW)
        return updated_take_new(s, r, scan, recent, ms);
    return recent && !behind ? updated_compare(s, r, scan, ms) : SQLITE_OK; /* behind: new, for the next pass */
}

/* ---- the pass ---- */

/* Rowids start again: the events of new rows get other ids, once that is stored. */
static int updated_check_top(struct sqlite_source *s, struct rule *r)
{
    if (r->has_rowid && !r->top_known) {
        r->top = INT64_MIN;
        r->top_known = r->moved = true;
    }
    if (!r->has_rowid || r->top == INT64_MIN)
        return SQLITE_OK;
    int64_t top;
    int rc = position_top(r, &top);
    if (rc != SQLITE_OK || top >= r->top)
        return rc;
    r->top = top;
    r->moved = true;
    position_begin_epoch(s, r);
    return SQLITE_OK;
}

static int updated_begin(struct sqlite_source *s, struct rule *r)
{
    struct updated *u = &r->updated;
    int rc = fit_count_unkeyed(s, r);
    if (rc == SQLITE_OK)
        rc = updated_check_top(s, r);
    u->now = clock_wall_ms();
    u->since_known = false;
    r->slot = 0;
    updated_enter(s, r, LAP_MEASURE);
    return rc;
}

/* One LIMIT batch. */
static int updated_scan(struct sqlite_source *s, struct rule *r)
{
    sqlite3_stmt *stmt = updated_is_whole(r) ? r->first : r->next;
    int64_t rows = 0;
    bool full = false;
    int rc = SQLITE_OK;
    if (!updated_bind(s, r, stmt))
        return SQLITE_ERROR;
    while (!full && rc == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW) {
        rc = updated_take_row(s, r, stmt);
        full = slice_full(s);
        if (rc == SQLITE_OK && (++rows == s->batch || full))
            updated_move_to(r, stmt);
    }
    metric_add(s->rows_read, rows);
    int end = sqlite3_reset(stmt);
    rc = rc != SQLITE_OK ? rc : end;
    rule_stand_still(s, r, rc == SQLITE_TOOBIG, UPDATED_STILL);
    if (rc == SQLITE_OK && !full && rows < s->batch)
        updated_go_on(s, r);
    return rc;
}

/* Rows that lie too far back to be read again are forgotten. Returns whether the slice is full before the last of them. */
static bool updated_forget(struct sqlite_source *s, struct rule *r)
{
    while (r->slot < r->rows.cap) {
        const struct row *row = r->rows.slots[r->slot];
        if (!row || (row->count && (int64_t)row->hashes[row->count - 1] >= r->updated.floor)) {
            r->slot++;
            continue;
        }
        if (slice_full(s))
            return true;
        state_forget_row(s, r, row_key(row), false);
        rows_drop(&r->rows, r->slot);
        s->slice.rows++;
    }
    return false;
}

/* All rows from `since` on are known now. */
static void updated_end(struct sqlite_source *s, struct rule *r)
{
    struct updated *u = &r->updated;
    int64_t floor = u->since == INT64_MIN ? INT64_MIN : u->since - UPDATED_KEEP_MS;
    if (!u->known || u->since < u->floor)
        u->floor = u->since;
    else if (floor > u->floor)
        u->floor = floor;
    u->known = true;
    u->reached = u->reaching;
    u->looked_ms = u->begun_ms;
    state_store_since(s, r);
    if (!r->ready || r->signature != rule_signature(r))
        state_store_ready(s, r);
    r->stage = STAGE_REVISIT;
}

static enum step updated_read(struct sqlite_source *s, struct rule *r, struct err *e)
{
    int rc;
    if (r->stage == STAGE_BEGIN) {
        if ((rc = updated_begin(s, r)) != SQLITE_OK)
            return slice_failed(s, r, rc, e);
        if (s->found.barrier)
            return STEP_FULL; /* a new epoch is stored before its events */
        r->stage = STAGE_SCAN;
    }
    while (r->stage == STAGE_SCAN && r->updated.lap != LAP_END) {
        if ((rc = updated_scan(s, r)) != SQLITE_OK)
            return slice_failed(s, r, rc, e);
        if (r->updated.lap != LAP_END && slice_full(s))
            return STEP_FULL;
    }
    if (r->stage == STAGE_SCAN)
        updated_end(s, r);
    return updated_forget(s, r) ? STEP_FULL : STEP_DONE;
}

enum step updated_step(struct sqlite_source *s, struct rule *r, struct err *e)
{
    enum step step = updated_read(s, r, e);
    if (r->moved)
        state_store_top(s, r);
    r->moved = false;
    return step;
}
