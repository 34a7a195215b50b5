/* SPDX-License-Identifier: MIT */
/* Kind diff: every key and the hashes of its watched columns, compared with the rows remembered; a row that the scan
 * does not meet is gone. */
#include "bridge/lib/mem.h"
#include "connectors/sqlite/value.h"

#define DIFF_STILL                                                                                                     \
    "the rule stands still: no index orders its rows, and a key is too large to be sorted; give it an index, or "      \
    "another `key`"

enum { DIFF_LOOKS = 1024 }; /* remembered rows looked at between two looks at the clock */

struct seen { /* a row as it is now */
    char text[KEY_BYTES + 8];
    struct str key;
    uint64_t hashes[RULE_HASHES];
    size_t count, watched; /* hashes; of watched columns, the other is of what is kept */
    sqlite3_stmt *scan;    /* key, watched and kept columns */
    sqlite3_stmt *all;     /* the data as well; NULL: not fetched */
};

/* The first pass, with start: now, only remembers. */
static bool diff_is_silent(const struct sqlite_source *s, const struct rule *r)
{
    return !r->ready && s->start != START_SNAPSHOT;
}

/* Of all kept columns. `whole`: the row has the other data as well. */
static uint64_t diff_hash_kept(const struct rule *r, sqlite3_stmt *row, bool whole)
{
    uint64_t hash = 1;
    int col = HEAD + (int)r->o->watch.count;
    for (int i = 0; i < r->field_count; i++) {
        const struct field *f = &r->fields[i];
        if (f->keep)
            hash = hash * 0x9e3779b97f4a7c15u + (f->large ? 0 : value_hash(row, col));
        col += whole || f->keep;
    }
    return hash;
}

/* The row as the scan shows it, or as it was read without what is too large. */
static void diff_see(struct seen *now, const struct rule *r, sqlite3_stmt *row)
{
    struct buf key = { .at = now->text, .cap = sizeof now->text, .max = sizeof now->text };
    value_key(&key, row, HEAD_KEY);
    now->key = buf_str(&key);
    now->scan = row;
    now->count = now->watched = r->o->watch.count;
    for (size_t i = 0; i < now->watched; i++)
        now->hashes[i] = r->lacks[i] ? 0 : value_hash(row, HEAD + (int)i);
    if (r->o->keep.count)
        now->hashes[now->count++] = diff_hash_kept(r, row, row != r->first && row != r->next);
}

/* The whole row, for its data. Reset r->get afterwards. */
static int diff_fetch(struct rule *r, struct seen *now)
{
    int rc = sqlite3_bind_value(r->get, 1, sqlite3_column_value(now->scan, HEAD_KEY));
    if (rc == SQLITE_OK)
        rc = sqlite3_step(r->get);
    if (rc == SQLITE_ROW)
        now->all = r->get;
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* ---- state ---- */

/* Forgets the row whose turn it is. */
static void diff_forget(struct sqlite_source *s, struct rule *r, bool ahead)
{
    state_forget_row(s, r, row_key(r->rows.slots[r->slot]), ahead);
    rows_drop(&r->rows, r->slot);
}

/* Remembers the row as it is now; `ahead`: an event with this version is on its way. */
static void diff_remember(struct sqlite_source *s, struct rule *r, struct seen *now, uint64_t version, bool ahead)
{
    struct buf kept = buf_new(16 << 10);
    if (r->o->keep.count && now->all)
        render_kept(s, r, now->all, &kept);
    struct row *row = row_new(now->key, version, now->hashes, now->count, buf_str(&kept));
    row->pass = s->pass.number;
    rows_put(&r->rows, row);
    state_store_row(s, r, row, ahead);
    buf_free(&kept);
}

/* ---- what happened ---- */

static void diff_report_insert(struct sqlite_source *s, struct rule *r, struct seen *now, uint64_t version)
{
    const char *type = rule_type(r, STR("insert"));
    if (type)
        found_event(s, r,
                    &(struct happening){ .op = "insert",
                                         .type = type,
                                         .key = now->key,
                                         .version = version,
                                         .row = now->all,
                                         .timed = true });
    diff_remember(s, r, now, version, type != NULL);
}

/* The entry of `types` that a change of watched column i falls under: by its new value, by its name, or `update`. */
static const struct map_entry *diff_operation(struct sqlite_source *s, const struct rule *r, const struct seen *now,
                                              size_t i)
{
    const struct map *types = &r->o->types;
    const struct map_entry *by_name = NULL, *update = NULL;
    struct str name = str_of(r->o->watch.at[i]);
    buf_reset(&s->scratch);
    if (!r->lacks[i])
        value_plain(&s->scratch, now->scan, HEAD + (int)i);
    for (size_t k = 0; k < types->count; k++) {
        struct str value = str_of(types->at[k].key), column;
        if (str_eq(value, STR("update")))
            update = &types->at[k];
        str_cut(&value, '=', &column);
        if (!str_eq_nocase(column, name))
            continue;
        if (!value.at)
            by_name = &types->at[k];
        else if (str_eq(value, buf_str(&s->scratch)))
            return &types->at[k];
    }
    return by_name ? by_name : update;
}

/* The names of the columns whose change has this type; they are done then. */
static void diff_take_columns(const struct rule *r, const struct map_entry **ops, size_t count, const char *type,
                              struct buf *names)
{
    for (size_t i = 0; i < count; i++)
        if (ops[i] && strcmp(ops[i]->value, type) == 0) {
            buf_printf(names, "%s%s", names->n ? "," : "", r->o->watch.at[i]);
            ops[i] = NULL;
        }
}

/* One event for each type that the changed columns amount to. Returns whether there was any. */
static bool diff_report_update(struct sqlite_source *s, struct rule *r, struct seen *now, const bool *changed,
                               uint64_t version)
{
    const struct map_entry *ops[RULE_WATCH] = { 0 };
    bool any = false;
    for (size_t i = 0; i < now->watched; i++)
        if (changed[i])
            ops[i] = diff_operation(s, r, now, i);
    for (size_t i = 0; i < now->watched; i++) {
        const struct map_entry *op = ops[i];
        if (!op)
            continue;
        struct buf names = buf_new(EVENT_ATTRIBUTE_BYTES);
        diff_take_columns(r, ops, now->watched, op->value, &names);
        found_event(s, r,
                    &(struct happening){ .op = op->key,
                                         .type = op->value,
                                         .key = now->key,
                                         .version = version,
                                         .row = now->all,
                                         .changed = buf_c(&names) });
        buf_free(&names);
        any = true;
    }
    return any;
}

static void diff_report_delete(struct sqlite_source *s, struct rule *r)
{
    const struct row *row = r->rows.slots[r->slot], *last = row->ahead ? row->ahead : row;
    const char *type = rule_type(r, STR("delete"));
    if (type)
        found_event(s, r,
                    &(struct happening){ .op = "delete",
                                         .type = type,
                                         .key = row_key(row),
                                         .version = last->version,
                                         .kept = last->kept });
    diff_forget(s, r, type != NULL);
}

/* ---- comparing ---- */

static bool diff_is_same(const struct row *row, const struct seen *now)
{
    return row->count == now->count && memcmp(row->hashes, now->hashes, now->count * sizeof now->hashes[0]) == 0;
}

/* The hash of what is kept may lack: of an earlier version, or nothing was kept. */
static bool diff_is_comparable(const struct row *row, const struct seen *now)
{
    return row->count == now->watched || row->count == now->watched + 1;
}

/* Does it look the same in all watched columns? */
static bool diff_is_watched_same(const struct row *row, const struct seen *now)
{
    return diff_is_comparable(row, now) && memcmp(row->hashes, now->hashes, now->watched * sizeof now->hashes[0]) == 0;
}

/* Marks the watched columns that differ; a column that was or is not there tells nothing (hash 0). */
static bool diff_mark_columns(const struct row *row, const struct seen *now, bool *changed)
{
    bool any = false;
    for (size_t i = 0; i < now->watched && diff_is_comparable(row, now); i++)
        if (row->hashes[i] != now->hashes[i] && row->hashes[i] && now->hashes[i])
            any = changed[i] = true;
    return any;
}

static uint64_t diff_new_version(struct sqlite_source *s)
{
    return ++s->versions;
}

/* A row whose last event was written ahead: sent or not, nobody knows. The same state gets the same id, another one
 * a new id. */
static void diff_compare_ahead(struct sqlite_source *s, struct rule *r, const struct row *row, struct seen *now)
{
    bool changed[RULE_WATCH] = { 0 }, as_written = diff_is_watched_same(row->ahead, now);
    uint64_t version = as_written ? row->ahead->version : diff_new_version(s);
    if (row->fresh) {
        diff_report_insert(s, r, now, version);
        return;
    }
    diff_mark_columns(row, now, changed);
    if (!as_written)
        diff_mark_columns(row->ahead, now, changed);
    bool any = diff_report_update(s, r, now, changed, version);
    diff_remember(s, r, now, version, any);
}

/* A row that is remembered and looks different, or may. */
static void diff_compare(struct sqlite_source *s, struct rule *r, struct row *row, struct seen *now)
{
    bool changed[RULE_WATCH] = { 0 };
    if (row->ahead) {
        diff_compare_ahead(s, r, row, now);
    } else if (row->maybe_gone) {
        diff_report_insert(s, r, now, diff_new_version(s)); /* its delete may have been sent */
    } else if (diff_is_silent(s, r) || (r->ready && r->signature != rule_signature(r))
               || !diff_mark_columns(row, now, changed)) {
        diff_remember(s, r, now, row->version, false);
    } else {
        uint64_t version = diff_new_version(s);
        bool any = diff_report_update(s, r, now, changed, version);
        diff_remember(s, r, now, version, any);
    }
}

static int diff_take_row(struct sqlite_source *s, struct rule *r, sqlite3_stmt *stmt)
{
    struct seen now = { 0 };
    diff_see(&now, r, stmt);
    s->slice.rows++;
    struct row *row = rows_find(&r->rows, now.key);
    if (row && !row->ahead && !row->maybe_gone && diff_is_same(row, &now)) {
        row->pass = s->pass.number;
        return SQLITE_OK;
    }
    int rc = SQLITE_OK;
    if (stmt != r->first && stmt != r->next)
        now.all = stmt; /* read already, without what is too large */
    else if (!diff_is_silent(s, r) || r->o->keep.count)
        rc = diff_fetch(r, &now);
    if (rc == SQLITE_OK && row)
        diff_compare(s, r, row, &now);
    else if (rc == SQLITE_OK && diff_is_silent(s, r))
        diff_remember(s, r, &now, 0, false);
    else if (rc == SQLITE_OK)
        diff_report_insert(s, r, &now, diff_new_version(s));
    sqlite3_reset(r->get);
    return rc;
}

/* ---- the pass ---- */

/* The window of `last` keys begins behind this one. */
static int64_t diff_floor(const struct rule *r)
{
    return r->top > INT64_MIN + r->o->last ? r->top - r->o->last : INT64_MIN;
}

/* The window of `last` keys ends at the largest key ever seen. */
static int diff_begin(struct sqlite_source *s, struct rule *r)
{
    sqlite3_value_free(r->at);
    r->at = NULL;
    r->slot = r->met = 0;
    r->single = false;
    int rc = fit_count_unkeyed(s, r);
    if (rc != SQLITE_OK || !r->o->last)
        return rc;
    int64_t top = r->top;
    if (sqlite3_step(r->max) == SQLITE_ROW && sqlite3_column_int64(r->max, 0) > top)
        top = sqlite3_column_int64(r->max, 0);
    rc = sqlite3_reset(r->max);
    if (rc == SQLITE_TOOBIG) /* it is no number */
        return SQLITE_OK;
    if (rc == SQLITE_OK && top != r->top) {
        r->top = top;
        state_store_top(s, r);
    }
    return rc;
}

/* The rows behind the last key scanned. */
static bool diff_bind(const struct rule *r, sqlite3_stmt *stmt)
{
    if (r->at)
        return sqlite3_bind_value(stmt, 1, r->at) == SQLITE_OK;
    return !r->o->last || sqlite3_bind_int64(stmt, 1, diff_floor(r)) == SQLITE_OK;
}

/* That key has been scanned. */
static void diff_move_to(struct rule *r, sqlite3_stmt *row)
{
    sqlite3_value_free(r->at);
    r->at = sqlite3_value_dup(sqlite3_column_value(row, HEAD_KEY));
    CHECK(r->at);
}

/* A row that is refused is not gone. */
static void diff_pass_over(struct sqlite_source *s, struct rule *r, sqlite3_stmt *place)
{
    struct seen now = { 0 };
    struct buf key = { .at = now.text, .cap = sizeof now.text, .max = sizeof now.text };
    value_key(&key, place, HEAD_KEY);
    struct row *row = rows_find(&r->rows, buf_str(&key));
    if (row)
        row->pass = s->pass.number;
}

/* The next row is too large to be read: it is compared without what is, or passed over. */
static int diff_take_large(struct sqlite_source *s, struct rule *r, bool *more)
{
    enum place_from from = r->at || r->o->last ? PLACE_BEHIND : PLACE_FIRST;
    int rc;
    bool keyless;
    sqlite3_stmt *place = large_place(s, r, from, 0, diff_bind, &keyless, &rc);
    *more = place || r->stage == STAGE_BEGIN;
    rule_stand_still(s, r, rc == SQLITE_TOOBIG, DIFF_STILL);
    if (!place)
        return rc;
    sqlite3_stmt *row = large_row(s, r, STR_ABSENT, place, &rc);
    if (row)
        rc = diff_take_row(s, r, row);
    else if (rc == SQLITE_TOOBIG)
        diff_pass_over(s, r, place);
    if (row)
        large_end(r, row);
    s->slice.rows++;
    diff_move_to(r, place);
    sqlite3_finalize(place);
    return rc == SQLITE_TOOBIG ? SQLITE_OK : rc;
}

/* Some row of the batch is too large to be read: up to it, row by row; then it. */
static int diff_scan_large(struct sqlite_source *s, struct rule *r, bool *more)
{
    bool found = r->single;
    *more = true;
    r->single = !found;
    return found ? diff_take_large(s, r, more) : SQLITE_OK;
}

/* One LIMIT batch; *more = there may be others behind it. */
static int diff_scan(struct sqlite_source *s, struct rule *r, bool *more)
{
    sqlite3_stmt *stmt = r->at ? r->next : r->first;
    int64_t rows = 0, batch = r->single ? 1 : s->batch;
    bool full = false;
    int rc = SQLITE_OK;
    if (!diff_bind(r, stmt) || sqlite3_bind_int64(stmt, 2, batch) != SQLITE_OK)
        return SQLITE_ERROR;
    while (!full && rc == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW) {
        rc = diff_take_row(s, r, stmt);
        full = slice_full(s);
        if (rc == SQLITE_OK && (++rows == batch || full))
            diff_move_to(r, stmt);
    }
    metric_add(s->rows_read, rows);
    *more = full || rows == batch;
    int end = sqlite3_reset(stmt);
    rc = rc != SQLITE_OK ? rc : end;
    if (rc == SQLITE_TOOBIG)
        return diff_scan_large(s, r, more);
    rule_stand_still(s, r, false, "");
    return rc;
}

static bool diff_is_below_window(const struct rule *r, struct str key)
{
    int64_t number;
    return r->o->last && key.at[0] == 'i' && str_to_i64(value_key_plain(key), &number) && number <= diff_floor(r);
}

/* Remembered rows that the scan did not meet. Returns whether the slice is full before the last of them. */
static bool diff_revisit(struct sqlite_source *s, struct rule *r)
{
    for (size_t looks = 1; r->slot < r->rows.cap; looks++) {
        if (looks % DIFF_LOOKS == 0 && slice_is_over(s))
            return true;
        struct row *row = r->rows.slots[r->slot];
        if (!row || row->pass == s->pass.number) {
            r->slot++;
            continue;
        }
        if (slice_full(s))
            return true;
        if (diff_is_silent(s, r) || diff_is_below_window(r, row_key(row)))
            diff_forget(s, r, false);
        else
            diff_report_delete(s, r);
        s->slice.rows++;
    }
    return false;
}

enum step diff_step(struct sqlite_source *s, struct rule *r, struct err *e)
{
    if (r->stage == STAGE_BEGIN) {
        int rc = diff_begin(s, r);
        if (rc != SQLITE_OK)
            return slice_failed(s, r, rc, e);
        r->stage = STAGE_SCAN;
    }
    while (r->stage == STAGE_SCAN) {
        bool more;
        int rc = diff_scan(s, r, &more);
        if (rc != SQLITE_OK)
            return slice_failed(s, r, rc, e);
        if ((more && slice_full(s)) || r->stage == STAGE_BEGIN)
            return STEP_FULL;
        if (!more) {
            r->stage = STAGE_REVISIT;
            r->known = r->met;
        }
    }
    if (diff_revisit(s, r))
        return STEP_FULL;
    if (!r->ready || r->signature != rule_signature(r))
        state_store_ready(s, r);
    return STEP_DONE;
}
