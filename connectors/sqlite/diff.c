/* SPDX-License-Identifier: MIT */
/* Kind diff: every key and the hashes of its watched columns, compared with the rows we remember; what was not met
 * is gone. */
#include "bridge/lib/mem.h"
#include "connectors/sqlite/value.h"
#include <inttypes.h>
#include <stdio.h>

struct seen { /* a row as it is now */
    char text[KEY_BYTES + 8];
    struct str key;
    uint64_t hashes[RULE_WATCH];
    size_t count;
    sqlite3_stmt *scan; /* key and watched columns */
    sqlite3_stmt *all;  /* the data as well; NULL: not fetched */
};

static bool silent(const struct sqlite_source *s, const struct rule *r)
{
    return !r->ready && s->start != START_SNAPSHOT;
}

static void see(struct seen *now, const struct rule *r, sqlite3_stmt *row)
{
    struct buf key = { .at = now->text, .cap = sizeof now->text, .max = sizeof now->text };
    value_key(&key, row, HEAD_KEY);
    now->key = buf_str(&key);
    now->scan = row;
    now->count = r->o->watch.count;
    for (size_t i = 0; i < now->count; i++)
        now->hashes[i] = r->lacks[i] ? 0 : value_hash(row, HEAD + (int)i);
}

/* The whole row, for its data. Reset r->get afterwards. */
static int fetch(struct rule *r, struct seen *now)
{
    int rc = sqlite3_bind_value(r->get, 1, sqlite3_column_value(now->scan, HEAD_KEY));
    if (rc == SQLITE_OK)
        rc = sqlite3_step(r->get);
    if (rc == SQLITE_ROW)
        now->all = r->get;
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* ---- state ---- */

static void forget(struct sqlite_source *s, struct rule *r, bool ahead)
{
    batch_change(s, r, "row/", row_key(r->rows.slots[r->index]), STR_ABSENT, ahead);
    rows_drop(&r->rows, r->index);
}

static void remember(struct sqlite_source *s, struct rule *r, struct seen *now, uint64_t version, bool ahead)
{
    struct buf kept = buf_new(16 << 10), value = buf_new(64 << 10);
    if (r->o->keep.count && now->all)
        batch_kept(s, r, now->all, &kept);
    struct row *row = row_new(now->key, version, now->hashes, now->count, buf_str(&kept));
    row->pass = s->pass;
    rows_put(&r->rows, row);
    buf_printf(&value, "%" PRIu64 " ", version);
    for (size_t i = 0; i < now->count; i++)
        buf_printf(&value, "%s%" PRIx64, i ? "," : "", now->hashes[i]);
    buf_add_char(&value, ' ');
    buf_add_str(&value, buf_str(&kept));
    CHECK(!value.failed);
    batch_change(s, r, "row/", now->key, buf_str(&value), ahead);
    buf_free(&kept);
    buf_free(&value);
}

/* ---- what happened ---- */

static void inserted(struct sqlite_source *s, struct rule *r, struct seen *now, uint64_t version)
{
    const char *type = rule_type(r, STR("insert"));
    if (type)
        batch_event(s, r,
                    &(struct happening){ .op = "insert",
                                         .type = type,
                                         .key = now->key,
                                         .version = version,
                                         .row = now->all,
                                         .timed = true });
    remember(s, r, now, version, type != NULL);
}

/* The entry of `types` that a change of watched column i falls under: by its new value, by its name, or `update`. */
static const struct map_entry *op_of(struct sqlite_source *s, const struct rule *r, const struct seen *now, size_t i)
{
    const struct map *types = &r->o->types;
    const struct map_entry *by_name = NULL, *update = NULL;
    struct str name = str_of(r->o->watch.at[i]);
    buf_reset(&s->small);
    if (!r->lacks[i])
        value_plain(&s->small, now->scan, HEAD + (int)i);
    for (size_t k = 0; k < types->count; k++) {
        struct str value = str_of(types->at[k].key), column;
        if (str_eq(value, STR("update")))
            update = &types->at[k];
        str_cut(&value, '=', &column);
        if (!str_eq_nocase(column, name))
            continue;
        if (!value.at)
            by_name = &types->at[k];
        else if (str_eq(value, buf_str(&s->small)))
            return &types->at[k];
    }
    return by_name ? by_name : update;
}

/* One event for each type that the changed columns amount to. Returns whether there was any. */
static bool updated(struct sqlite_source *s, struct rule *r, struct seen *now, const bool *changed, uint64_t version)
{
    const struct map_entry *ops[RULE_WATCH] = { 0 };
    bool any = false;
    for (size_t i = 0; i < now->count; i++)
        if (changed[i])
            ops[i] = op_of(s, r, now, i);
    for (size_t i = 0; i < now->count; i++) {
        const struct map_entry *op = ops[i];
        if (!op)
            continue;
        struct buf names = buf_new(EVENT_ATTRIBUTE_BYTES);
        for (size_t k = i; k < now->count; k++)
            if (ops[k] && strcmp(ops[k]->value, op->value) == 0) {
                buf_printf(&names, "%s%s", names.n ? "," : "", r->o->watch.at[k]);
                ops[k] = NULL;
            }
        batch_event(s, r,
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

static void deleted(struct sqlite_source *s, struct rule *r)
{
    const struct row *row = r->rows.slots[r->index], *last = row->noted ? row->noted : row;
    const char *type = rule_type(r, STR("delete"));
    if (type)
        batch_event(s, r,
                    &(struct happening){ .op = "delete",
                                         .type = type,
                                         .key = row_key(row),
                                         .version = last->version,
                                         .kept = last->kept });
    forget(s, r, type != NULL);
}

/* ---- comparing ---- */

static bool same(const struct row *row, const struct seen *now)
{
    return row->count == now->count && memcmp(row->hashes, now->hashes, now->count * sizeof now->hashes[0]) == 0;
}

/* Marks the columns that differ; a column that was or is not there tells nothing (hash 0). */
static bool differ(const struct row *row, const struct seen *now, bool *changed)
{
    bool any = false;
    for (size_t i = 0; i < now->count && row->count == now->count; i++)
        if (row->hashes[i] != now->hashes[i] && row->hashes[i] && now->hashes[i])
            any = changed[i] = true;
    return any;
}

static uint64_t new_version(struct sqlite_source *s)
{
    return ++s->versions;
}

/* A row whose last event was written ahead: sent or not, nobody knows. The same state gets the same id, another one
 * a new id. */
static void compare_noted(struct sqlite_source *s, struct rule *r, const struct row *row, struct seen *now)
{
    bool changed[RULE_WATCH] = { 0 }, as_noted = same(row->noted, now);
    uint64_t version = as_noted ? row->noted->version : new_version(s);
    if (row->fresh) {
        inserted(s, r, now, version);
        return;
    }
    differ(row, now, changed);
    if (!as_noted)
        differ(row->noted, now, changed);
    bool any = updated(s, r, now, changed, version);
    remember(s, r, now, version, any);
}

static void compare(struct sqlite_source *s, struct rule *r, struct row *row, struct seen *now)
{
    bool changed[RULE_WATCH] = { 0 };
    if (row->noted) {
        compare_noted(s, r, row, now);
    } else if (row->maybe_gone) {
        inserted(s, r, now, new_version(s)); /* its delete may have been sent */
    } else if (silent(s, r) || (r->ready && r->signature != rule_signature(r)) || !differ(row, now, changed)) {
        remember(s, r, now, row->version, false);
    } else {
        uint64_t version = new_version(s);
        bool any = updated(s, r, now, changed, version);
        remember(s, r, now, version, any);
    }
}

static int take_row(struct sqlite_source *s, struct rule *r, sqlite3_stmt *stmt)
{
    struct seen now = { 0 };
    see(&now, r, stmt);
    s->handled++;
    struct row *row = rows_find(&r->rows, now.key);
    if (row && !row->noted && !row->maybe_gone && same(row, &now)) {
        row->pass = s->pass;
        return SQLITE_OK;
    }
    int rc = !silent(s, r) || r->o->keep.count ? fetch(r, &now) : SQLITE_OK;
    if (rc == SQLITE_OK && row)
        compare(s, r, row, &now);
    else if (rc == SQLITE_OK && silent(s, r))
        remember(s, r, &now, 0, false);
    else if (rc == SQLITE_OK)
        inserted(s, r, &now, new_version(s));
    sqlite3_reset(r->get);
    return rc;
}

/* ---- the pass ---- */

static int64_t floor_of(const struct rule *r)
{
    return r->top > INT64_MIN + r->o->last ? r->top - r->o->last : INT64_MIN;
}

/* The window of `last` keys ends at the largest key ever seen. */
static int begin(struct sqlite_source *s, struct rule *r)
{
    sqlite3_value_free(r->at);
    r->at = NULL;
    r->index = 0;
    if (!r->o->last)
        return SQLITE_OK;
    int64_t top = r->top;
    if (sqlite3_step(r->max) == SQLITE_ROW && sqlite3_column_int64(r->max, 0) > top)
        top = sqlite3_column_int64(r->max, 0);
    int rc = sqlite3_reset(r->max);
    if (rc == SQLITE_OK && top != r->top) {
        char text[24];
        snprintf(text, sizeof text, "%" PRId64, r->top = top);
        batch_change(s, r, "top", STR(""), str_of(text), false);
    }
    return rc;
}

static int scan(struct sqlite_source *s, struct rule *r, bool *more)
{
    sqlite3_stmt *stmt = r->at ? r->next : r->first;
    int64_t rows = 0;
    bool full = false;
    int rc = SQLITE_OK;
    if (r->at)
        sqlite3_bind_value(stmt, 1, r->at);
    else if (r->o->last)
        sqlite3_bind_int64(stmt, 1, floor_of(r));
    sqlite3_bind_int64(stmt, 2, s->batch);
    while (!full && rc == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW) {
        rc = take_row(s, r, stmt);
        full = slice_full(s);
        if (++rows == s->batch || full) {
            sqlite3_value_free(r->at);
            r->at = sqlite3_value_dup(sqlite3_column_value(stmt, HEAD_KEY));
            CHECK(r->at);
        }
    }
    metric_add(s->rows_read, rows);
    *more = full || rows == s->batch;
    int end = sqlite3_reset(stmt);
    return rc != SQLITE_OK ? rc : end;
}

static bool below_window(const struct rule *r, struct str key)
{
    int64_t number;
    return r->o->last && key.at[0] == 'i' && str_to_i64(value_key_plain(key), &number) && number <= floor_of(r);
}

/* Remembered rows that the scan did not meet. */
static bool sweep(struct sqlite_source *s, struct rule *r)
{
    while (r->index < r->rows.cap) {
        struct row *row = r->rows.slots[r->index];
        if (!row || row->pass == s->pass) {
            r->index++;
            continue;
        }
        if (slice_full(s))
            return true;
        if (silent(s, r) || below_window(r, row_key(row)))
            forget(s, r, false);
        else
            deleted(s, r);
        s->handled++;
    }
    return false;
}

enum step diff_step(struct sqlite_source *s, struct rule *r, struct err *e)
{
    if (r->phase == PHASE_BEGIN) {
        int rc = begin(s, r);
        if (rc != SQLITE_OK)
            return step_failed(s, r, rc, e);
        r->phase = PHASE_SCAN;
    }
    while (r->phase == PHASE_SCAN) {
        bool more;
        int rc = scan(s, r, &more);
        if (rc != SQLITE_OK)
            return step_failed(s, r, rc, e);
        if (more && slice_full(s))
            return STEP_FULL;
        if (!more)
            r->phase = PHASE_AGAIN;
    }
    if (sweep(s, r))
        return STEP_FULL;
    if (!r->ready || r->signature != rule_signature(r))
        batch_ready(s, r);
    return STEP_DONE;
}
