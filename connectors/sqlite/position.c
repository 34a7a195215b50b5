/* SPDX-License-Identifier: MIT */
/* Where an append or open_row rule stands: on a row, known by its cursor, its tie and its key.
 *
 * SQLite hands out rowids inside its one write lock, so they appear in commit order; for those that the application
 * chooses see census.c. What can break such a cursor is
 * rowids that start again; the key of the row at the cursor and AUTOINCREMENT's own counter tell. Where the key is that
 * rowid, the content of the last rows tells it: a row that looks different was changed, or is another. */
#include "bridge/lib/log.h"
#include "connectors/sqlite/large.h"
#include "connectors/sqlite/position.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { POSITION_ROWS = 4096 }; /* among so many that begin as a cut value does its row is looked for */

/* ---- on a row ---- */

/* Is the key an id that may come again, as another row's? Only a row's content tells then. (That of an open row changes,
 * and that of a select with what it joins.) */
static bool position_has_digest(const struct rule *r)
{
    return r->by_rowid && r->key_is_rowid && r->has_rowid && r->o->kind == KIND_APPEND;
}

/* Of a row's content; 0: not all of it has been read. */
static uint64_t position_digest(const struct rule *r, sqlite3_stmt *row)
{
    int first = HEAD + (int)r->o->watch.count;
    uint64_t digest = 1;
    if (sqlite3_column_count(row) != first + r->field_count)
        return 0;
    for (int i = 0; i < r->field_count; i++) {
        if (r->fields[i].large)
            return 0;
        digest = digest * 0x9e3779b97f4a7c15u + value_hash(row, first + i);
    }
    return digest ? digest : 1;
}

static void position_set(char **to, sqlite3_stmt *row, int col)
{
    free(*to);
    *to = value_exact(row, col);
}

/* A key as it is remembered: keys are by the dozen, so a long one is hashed. NULL: it is none. */
static char *position_key(sqlite3_stmt *row, int col)
{
    if (sqlite3_column_type(row, col) == SQLITE_NULL)
        return NULL;
    char *key = value_exact(row, col);
    if (strlen(key) <= EXACT_BYTES)
        return key;
    char *hashed = value_hashed(key);
    free(key);
    return hashed;
}

/* As it is remembered of a row before the cursor: of other columns it is another. */
static uint64_t position_digest_then(const struct rule *r, uint64_t digest)
{
    return digest ? digest ^ (r->names * 0x9e3779b97f4a7c15u) : 0;
}

/* The cursor stands on no row any more. */
static void position_clear(struct rule *r)
{
    free(r->cursor);
    free(r->tie);
    free(r->cursor_key);
    r->cursor = r->tie = r->cursor_key = NULL;
    r->digest = r->look = 0;
    r->moved = true;
}

/* Is the cursor a whole number? */
static bool position_number(const struct rule *r, int64_t *out)
{
    return r->cursor[0] == 'i' && str_to_i64(value_key_plain(str_of(r->cursor)), out);
}

/* The row at the cursor is left behind; it is remembered where rowids may be numbered anew, or come again. */
static void position_pass(struct rule *r)
{
    int64_t rowid = INT64_MAX;
    if (!r->cursor_key || !r->by_rowid)
        return;
    uint64_t digest = r->look == r->names ? position_digest_then(r, r->digest) : 0;
    if (!r->key_is_rowid && position_number(r, &rowid))
        digest = (uint64_t)rowid;
    r->whole = r->whole && r->passed.count < PASSED_MOST;
    passed_add(&r->passed, r->cursor_key, digest);
    r->cursor_key = NULL;
}

void position_move_to(struct rule *r, sqlite3_stmt *row)
{
    position_pass(r);
    position_set(&r->cursor, row, HEAD_CURSOR);
    free(r->cursor_key);
    r->cursor_key = position_key(row, HEAD_KEY);
    if (r->then)
        position_set(&r->tie, row, HEAD_TIE);
    r->digest = position_has_digest(r) ? position_digest(r, row) : 0;
    r->look = r->digest ? r->names : 0;
    r->moved = true;
}

/* Its rowid tells a row from one before of the same key, where the key is another column. */
struct birth position_birth(const struct rule *r, sqlite3_stmt *row)
{
    bool by_tie = r->then && strcmp(r->then, "rowid") == 0;
    struct birth birth = { .epoch = r->epoch };
    if (r->has_rowid && !r->key_is_rowid && (r->by_rowid || by_tie))
        birth.rowid = sqlite3_column_int64(row, by_tie ? HEAD_TIE : HEAD_CURSOR);
    return birth;
}

bool position_bind(const struct rule *r, sqlite3_stmt *stmt)
{
    int count = sqlite3_bind_parameter_count(stmt);
    if (!r->cursor || count < 1)
        return true;
    if (!value_bind(stmt, 1, str_of(r->cursor)))
        return false;
    if (count < 3 || !r->then)
        return true; /* NULL compares with nothing, and sorts before all */
    return value_bind(stmt, 3, !r->tie || strcmp(r->tie, "n") == 0 ? POSITION_LEAST : str_of(r->tie));
}

/* ---- the newest row ---- */

/* The newest row has a value that is too large to be read: only its place is. */
static int position_move_to_large_end(struct sqlite_source *s, struct rule *r, bool *any)
{
    bool keyless;
    size_t left_out;
    sqlite3_stmt *place;
    int rc;
    do {
        left_out = r->skip_count;
        place = large_place(s, r, PLACE_NEWEST, 0, position_bind, &keyless, &rc);
    } while (!place && rc == SQLITE_OK && r->usable && r->skip_count != left_out);
    *any = place != NULL;
    if (place)
        position_move_to(r, place);
    sqlite3_finalize(place);
    return rc;
}

int position_move_to_end(struct sqlite_source *s, struct rule *r)
{
    bool any = sqlite3_step(r->recent) == SQLITE_ROW;
    if (any)
        position_move_to(r, r->recent);
    int rc = sqlite3_reset(r->recent);
    if (rc == SQLITE_TOOBIG)
        rc = position_move_to_large_end(s, r, &any);
    if (!any && r->cursor && rc == SQLITE_OK)
        position_clear(r);
    return rc;
}

/* ---- ids that start again ---- */

void position_begin_epoch(struct sqlite_source *s, struct rule *r)
{
    r->epoch++;
    state_store_epoch(s, r);
    s->found.barrier = true;
    metric_add(s->restarts, 1);
}

int position_top(struct rule *r, int64_t *top)
{
    if (r->sequence) {
        bool found = sqlite3_step(r->sequence) == SQLITE_ROW;
        if (found)
            *top = sqlite3_column_int64(r->sequence, 0);
        int rc = sqlite3_reset(r->sequence);
        if (rc != SQLITE_OK || found)
            return rc;
    }
    *top = 0;
    if (sqlite3_step(r->max) == SQLITE_ROW)
        *top = sqlite3_column_int64(r->max, 0);
    return sqlite3_reset(r->max);
}

/* A value that cannot be read, or not in time, tells nothing. */
static int position_forgive(int rc)
{
    return rc == SQLITE_TOOBIG || rc == SQLITE_INTERRUPT ? SQLITE_OK : rc;
}

/* Has the row at the cursor another key than it had? *key: the new one; the caller frees it. */
static int position_is_reused(struct rule *r, bool *out, char **key)
{
    *out = false;
    *key = NULL;
    if (!r->cursor_key || !value_bind(r->at_cursor, 1, str_of(r->cursor)))
        return SQLITE_OK;
    if (sqlite3_step(r->at_cursor) == SQLITE_ROW && !value_is(r->at_cursor, 0, r->cursor_key)) {
        *out = true;
        *key = position_key(r->at_cursor, 0);
    }
    return position_forgive(sqlite3_reset(r->at_cursor));
}

/* The content of the row of that key, 0: unknown; *found = false: it is gone. */
static int position_digest_of(struct rule *r, const char *key, bool *found, uint64_t *digest)
{
    *found = false;
    *digest = 0;
    if (!value_bind(r->get, 1, str_of(key)))
        return SQLITE_OK;
    if (sqlite3_step(r->get) == SQLITE_ROW) {
        *found = true;
        *digest = position_digest(r, r->get);
    }
    return position_forgive(sqlite3_reset(r->get));
}

/* Goes where the row of that key is now; *found = false: nowhere. */
static int position_move_to_key(struct sqlite_source *s, struct rule *r, const char *key, bool *found)
{
    sqlite3_stmt *place = compile_place(s, r, &(struct place){ PLACE_OF_KEY, PLACE_WHOLE, 0, 1 });
    *found = false;
    if (place && value_bind(place, 1, str_of(key)))
        *found = sqlite3_step(place) == SQLITE_ROW && sqlite3_column_type(place, HEAD_CURSOR) != SQLITE_NULL;
    if (*found)
        position_move_to(r, place);
    return position_forgive(sqlite3_finalize(place));
}

/* Goes where the row of the cursor is now, or else the last one before it that is still there, and still the same. */
static int position_move_to_remembered(struct sqlite_source *s, struct rule *r, bool *found)
{
    const struct passed_row *row;
    int rc = SQLITE_OK;
    size_t back;
    *found = false;
    position_pass(r);
    for (back = 0; rc == SQLITE_OK && !*found && (row = passed_row(&r->passed, back)); back++) {
        uint64_t now = 0;
        bool same = !r->key_is_rowid;
        if (!same)
            rc = position_digest_of(r, row->key, &same, &now);
        if (rc == SQLITE_OK && same && (!r->key_is_rowid || (now && position_digest_then(r, now) == row->digest))) {
            rc = position_move_to_key(s, r, row->key, found);
            r->digest = *found ? now : 0;
            r->look = r->digest ? r->names : 0;
        }
    }
    if (*found) /* those behind it would crowd out those before it */
        passed_forget(&r->passed, back);
    return rc;
}

/* A cleared cursor stands on that number, be there a row or not. */
static void position_set_number(struct rule *r, int64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "i%" PRId64, number);
    r->cursor = str_dup(str_of(text));
}

/* The rows before the cursor that look different too, back to one that does not. */
static int position_count_changed(struct rule *r, int64_t *changed)
{
    struct passed_row *row;
    int rc = SQLITE_OK;
    for (size_t back = 0; rc == SQLITE_OK && (row = passed_row(&r->passed, back)); back++) {
        uint64_t now;
        bool found;
        rc = position_digest_of(r, row->key, &found, &now);
        now = position_digest_then(r, now);
        if (rc != SQLITE_OK || !now || !row->digest || now == row->digest)
            break;
        row->digest = now;
        ++*changed;
    }
    return rc;
}

/* The row at the cursor has the id it had; is it the same? */
static int position_check_content(struct sqlite_source *s, struct rule *r)
{
    uint64_t now;
    bool found;
    if (!position_has_digest(r) || !r->cursor_key)
        return SQLITE_OK;
    int rc = position_digest_of(r, r->cursor_key, &found, &now);
    if (rc != SQLITE_OK || !now || (now == r->digest && r->look == r->names))
        return rc;
    if (r->digest && r->look == r->names && !r->rowid_is_kept) {
        int64_t changed = 1;
        rc = position_count_changed(r, &changed);
        metric_add(s->changed, changed);
        rule_warn(
            s, r,
            "the newest row was changed, or deleted and replaced by another of the same id, after it was told; an "
            "append rule tells neither (counted as changed), `kind: diff` does; with AUTOINCREMENT no id comes again");
    }
    r->digest = now;
    r->look = r->names;
    r->moved = true;
    return rc;
}

/* The smallest rowid among the rows remembered, INT64_MAX: none. */
static int64_t position_least(struct rule *r)
{
    const struct passed_row *row;
    int64_t least = INT64_MAX;
    for (size_t back = 0; (row = passed_row(&r->passed, back)); back++) {
        int64_t id = (int64_t)row->digest;
        bool read = !r->key_is_rowid || (row->key[0] == 'i' && str_to_i64(value_key_plain(str_of(row->key)), &id));
        if (read && id < least)
            least = id;
    }
    return least;
}

/* Other rows took the place of all that are remembered, and of the one at the cursor: they are new. */
static void position_step_back(struct rule *r)
{
    int64_t cursor, least = position_least(r);
    if (!position_number(r, &cursor) || cursor == INT64_MIN)
        return;
    position_clear(r);
    passed_forget_all(&r->passed);
    position_set_number(r, (least > INT64_MIN && least < cursor ? least : cursor) - 1);
}

/* Are the rows remembered all that there were? */
static bool position_is_whole(const struct rule *r)
{
    return r->whole && r->passed.count > 0;
}

/* Ids went back and no row remembered is as it was told: what is new begins with the least of them; if they were all there
 * were, with the first row. What lies before the least, or of which nothing is remembered, cannot be told apart. */
static int position_move_to_new(struct sqlite_source *s, struct rule *r, int64_t top, const char **how)
{
    int64_t least = position_least(r);
    bool tells = r->key_is_rowid ? position_has_digest(r) : r->cursor_key || r->passed.count;
    bool whole = tells && position_is_whole(r);
    if (!whole && (!tells || least > top)) {
        *how = "going on from the newest row: if rows came in the same look as the old ones went, they are not told";
        return position_move_to_end(s, r);
    }
    *how = whole ? "none of the old ones is left: going on from the first row"
                 : "going on with the first one that is new";
    position_clear(r);
    if (!whole)
        position_set_number(r, least - 1);
    passed_forget_all(&r->passed);
    return SQLITE_OK;
}

/* Ids went back (the largest is `top` now), or the row at the cursor has another key. */
static int position_start_again(struct sqlite_source *s, struct rule *r, bool back, int64_t top)
{
    bool found = false, row_by_key = r->cursor_key && !r->key_is_rowid; /* VACUUM may number such rows anew */
    char *before = str_dup(str_of(r->cursor)), *key = str_dup(str_of(row_by_key ? r->cursor_key : ""));
    const char *how = "going on behind the last row that is as it was told";
    census_forget(r);
    int rc = position_move_to_remembered(s, r, &found);
    back = back || (row_by_key && !found && position_is_whole(r)); /* other rows took the place of all */
    /* the newest row itself is there: nothing was deleted (a damaged file may say that there is none so large); its key
     * alone was changed: nor that */
    bool same = found
                && (strcmp(r->cursor, before) == 0
                    || (row_by_key && (!back || (r->cursor_key && strcmp(r->cursor_key, key) == 0))));
    if (rc == SQLITE_OK && !same) {
        if (!found && back)
            rc = position_move_to_new(s, r, top, &how);
        else if (!found)
            position_step_back(r);
        LOG(WARN,
            found || back
                ? "ids start again (rows deleted, or a restored file)"
                : "the newest row has another key: it was changed, or its rowid was used again for another row; "
                  "it is told as a new one",
            LOG_C("source", s->base.id), LOG_C("rule", r->name), LOG_C("was", before),
            LOG_C("cursor", r->cursor ? r->cursor : "none"),
            LOG_C("how", found || back ? how : "going on with that row"));
        if (rc == SQLITE_OK && (found || back))
            position_begin_epoch(s, r);
    }
    free(before);
    free(key);
    return rc;
}

/* ---- after a start ---- */

static int position_give_up(struct sqlite_source *s, struct rule *r)
{
    census_forget(r);
    LOG(WARN, "the row at which this rule stood is gone: going on from the newest row", LOG_C("source", s->base.id),
        LOG_C("rule", r->name), LOG_C("key", r->cursor_key ? r->cursor_key : r->cursor));
    return position_move_to_end(s, r);
}

/* A cursor that was stored when another column was the rule's, or without what tells its rows apart: it goes on behind
 * the same row; when that is not known, with the first row of the same value (again, under the same ids). */
static int position_take_over(struct sqlite_source *s, struct rule *r)
{
    bool found = false;
    census_forget(r);
    r->whole = false;
    if (!r->by_rowid && !r->cursor_key) {
        r->tie = str_dup(POSITION_LEAST);
        return SQLITE_OK;
    }
    char *key = str_dup(str_of(r->cursor_key ? r->cursor_key : r->cursor));
    int rc = position_move_to_key(s, r, key, &found);
    free(key);
    return rc != SQLITE_OK || found ? rc : position_give_up(s, r);
}

static bool position_is_hashed(const char *kept)
{
    return kept && kept[0] == 'h';
}

/* Does the row's column begin with, or be, what was stored? */
static bool position_fits(sqlite3_stmt *row, int col, const char *kept)
{
    if (!value_is_cut(kept))
        return value_is(row, col, kept);
    char *exact = value_exact(row, col);
    bool fits = value_begins_with(exact, kept);
    free(exact);
    return fits;
}

/* Looks for the row of a position that was cut (among those that begin so) or hashed (among all). */
static int position_search(struct sqlite_source *s, struct rule *r, bool hashed, bool *found)
{
    struct place p = { PLACE_FIRST, PLACE_WHOLE, 0, hashed ? -1 : POSITION_ROWS };
    if (!hashed)
        p.from = value_is_cut(r->cursor) ? PLACE_BEHIND : PLACE_SAME;
    sqlite3_stmt *stmt = compile_place(s, r, &p);
    bool near = stmt && (hashed || position_bind(r, stmt));
    *found = false;
    while (near && !*found && sqlite3_step(stmt) == SQLITE_ROW) {
        bool fits = position_fits(stmt, HEAD_CURSOR, r->cursor) && (!r->then || position_fits(stmt, HEAD_TIE, r->tie));
        *found = fits && r->cursor_key && value_is(stmt, HEAD_KEY, r->cursor_key);
        near = fits || hashed;
    }
    if (*found)
        position_move_to(r, stmt);
    return position_forgive(sqlite3_finalize(stmt));
}

/* When it is gone, what shares the cut is read again, under the same ids; a hash is lost. */
static int position_find(struct sqlite_source *s, struct rule *r)
{
    bool found, hashed = position_is_hashed(r->cursor) || position_is_hashed(r->tie);
    int rc = position_search(s, r, hashed, &found);
    return rc == SQLITE_OK && !found && hashed ? position_give_up(s, r) : rc;
}

int position_check(struct sqlite_source *s, struct rule *r)
{
    int64_t top = 0, cursor = 0;
    bool reused = false, number = position_number(r, &cursor);
    bool other_column = r->key_is_rowid && r->by_rowid && r->cursor_key && strcmp(r->cursor, r->cursor_key) != 0;
    if (other_column || (r->by_rowid ? !number : r->then && !r->tie))
        return position_take_over(s, r);
    if (value_is_cut(r->cursor) || value_is_cut(r->tie) || position_is_hashed(r->cursor) || position_is_hashed(r->tie))
        return position_find(s, r);
    if (!r->by_rowid)
        return SQLITE_OK; /* the values are the application's: they tell nothing of ids */
    char *key;
    int rc = position_is_reused(r, &reused, &key);
    if (rc == SQLITE_OK)
        rc = position_top(r, &top);
    bool back = top < cursor;
    if (rc == SQLITE_OK && !back && reused && r->rowid_is_kept) { /* the same row: its key was changed */
        free(r->cursor_key);
        r->cursor_key = key;
        r->moved = true;
        return SQLITE_OK;
    }
    free(key);
    if (rc != SQLITE_OK)
        return rc;
    return back || reused ? position_start_again(s, r, back, top) : position_check_content(s, r);
}
