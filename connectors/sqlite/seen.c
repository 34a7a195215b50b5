/* SPDX-License-Identifier: MIT */
/* A row as it is now, compared with what is remembered of it. */
#include "connectors/sqlite/render.h"
#include "connectors/sqlite/seen.h"

/* ---- the row ---- */

/* Of all kept columns. `whole`: the row has the other data as well. */
static uint64_t seen_hash_kept(const struct rule *r, sqlite3_stmt *row, bool whole)
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

bool seen_is_scan(const struct rule *r, sqlite3_stmt *row)
{
    return row == r->first || row == r->next || row == r->range;
}

void seen_read(struct seen *now, const struct rule *r, sqlite3_stmt *row)
{
    struct buf key = { .at = now->text, .cap = sizeof now->text, .max = sizeof now->text };
    value_key(&key, row, HEAD_KEY);
    now->key = buf_str(&key);
    now->scan = row;
    now->count = now->watched = r->o->watch.count;
    for (size_t i = 0; i < now->watched; i++)
        now->hashes[i] = r->lacks[i] ? 0 : value_hash(row, HEAD + (int)i);
    if (r->o->keep.count)
        now->hashes[now->count++] = seen_hash_kept(r, row, !seen_is_scan(r, row));
}

bool seen_is_silent(const struct sqlite_source *s, const struct rule *r)
{
    return !r->ready && s->start != START_SNAPSHOT;
}

void seen_remember(struct sqlite_source *s, struct rule *r, const struct seen *now, uint64_t version, bool ahead,
                   const struct doubt *d)
{
    struct buf kept = buf_new(16 << 10);
    if (r->o->keep.count && now->all)
        render_kept(s, r, now->all, &kept);
    struct row *row = row_new(now->key, version, now->hashes, now->count, buf_str(&kept));
    row->pass = s->pass.number;
    row = rows_put(&r->rows, row);
    state_store_row(s, r, row, ahead, d);
    buf_free(&kept);
}

/* ---- what happened ---- */

/* Two entries of `types` for watched column i: the one for the value it has, and the one for any change of it. */
struct seen_entries {
    const struct map_entry *by_value, *by_name;
};

static struct seen_entries seen_entries(struct sqlite_source *s, const struct rule *r, const struct seen *now, size_t i)
{
    struct seen_entries found = { 0 };
    buf_reset(&s->scratch);
    if (!r->lacks[i])
        value_plain(&s->scratch, now->scan, HEAD + (int)i);
    for (size_t k = 0; k < r->o->types.count; k++) {
        const struct map_entry *entry = &r->o->types.at[k];
        struct str value = str_of(entry->key), column;
        str_cut(&value, '=', &column);
        if (!str_eq_nocase(column, str_of(r->o->watch.at[i])))
            continue;
        if (!value.at)
            found.by_name = entry;
        else if (!found.by_value && str_eq(value, buf_str(&s->scratch)))
            found.by_value = entry;
    }
    return found;
}

/* What a change of watched column i falls under: its new value, its name, or `update`. */
static const struct map_entry *seen_operation(struct sqlite_source *s, const struct rule *r, const struct seen *now,
                                              size_t i)
{
    struct seen_entries found = seen_entries(s, r, now, i);
    for (size_t k = 0; !found.by_value && !found.by_name && k < r->o->types.count; k++)
        if (strcmp(r->o->types.at[k].key, "update") == 0)
            return &r->o->types.at[k];
    return found.by_value ? found.by_value : found.by_name;
}

/* Is the value of watched column i one that a new row does not have by itself? (It is in s->scratch then.) */
static bool seen_is_unusual(struct sqlite_source *s, const struct rule *r, const struct seen *now, size_t i)
{
    buf_reset(&s->scratch);
    if (r->lacks[i] || sqlite3_column_type(now->scan, HEAD + (int)i) == SQLITE_NULL)
        return false;
    value_plain(&s->scratch, now->scan, HEAD + (int)i);
    return !r->usual[i] || !str_eq(buf_str(&s->scratch), str_of(r->usual[i]));
}

/* What the value of watched column i says of a row that is seen for the first time, NULL: nothing. A value that a new
 * row has by itself is no event. By the column's name it is one only if nothing else tells the row: in what `insert`
 * tells, the value stands. */
static const struct map_entry *seen_state(struct sqlite_source *s, const struct rule *r, const struct seen *now,
                                          size_t i)
{
    struct seen_entries found = seen_entries(s, r, now, i);
    if (!seen_is_unusual(s, r, now, i))
        return NULL;
    return found.by_value || !r->usual[i] || rule_type(r, STR("insert")) ? found.by_value : found.by_name;
}

/* The names of the columns that fall under this type; they are done then. */
static void seen_take_columns(const struct rule *r, const struct map_entry **ops, size_t count, const char *type,
                              struct buf *names)
{
    for (size_t i = 0; i < count; i++)
        if (ops[i] && strcmp(ops[i]->value, type) == 0) {
            buf_printf(names, "%s%s", names->n ? "," : "", r->o->watch.at[i]);
            ops[i] = NULL;
        }
}

/* One event for each type that the columns' entries amount to. Returns whether there was any. */
static bool seen_report_columns(struct sqlite_source *s, struct rule *r, const struct seen *now,
                                const struct map_entry *ops[RULE_WATCH], uint64_t version, bool changed)
{
    bool any = false;
    for (size_t i = 0; i < now->watched; i++) {
        const struct map_entry *op = ops[i];
        if (!op)
            continue;
        struct buf names = buf_new(EVENT_ATTRIBUTE_BYTES);
        seen_take_columns(r, ops, now->watched, op->value, &names);
        mapped_tell(s, r,
                    &(struct happening){ .op = op->key,
                                         .type = op->value,
                                         .key = now->key,
                                         .version = version,
                                         .birth = now->birth,
                                         .row = now->all,
                                         .at_ms = now->at_ms,
                                         .changed = changed ? buf_c(&names) : NULL });
        buf_free(&names);
        any = true;
    }
    return any;
}

/* The events of the rule's `map`. `kept`: of the row as it was; `first`: the columns are those whose value is none that a
 * new row has by itself. Returns whether there may be any. */
static bool seen_report_mapped(struct sqlite_source *s, struct rule *r, const struct seen *now, const bool *columns,
                               uint64_t version, const char *kept, bool first)
{
    bool any = false;
    for (size_t i = 0; i < now->watched; i++)
        any = any || columns[i];
    if (any)
        mapped_tell(s, r,
                    &(struct happening){ .op = first ? "state" : "update",
                                         .key = now->key,
                                         .version = version,
                                         .birth = now->birth,
                                         .row = now->all,
                                         .at_ms = now->at_ms,
                                         .kept = kept,
                                         .columns = columns,
                                         .first = first });
    return any;
}

bool seen_report_update(struct sqlite_source *s, struct rule *r, const char *kept, const struct seen *now,
                        const bool *changed, uint64_t version)
{
    if (r->projections)
        return seen_report_mapped(s, r, now, changed, version, kept, false);
    const struct map_entry *ops[RULE_WATCH] = { 0 };
    for (size_t i = 0; i < now->watched; i++)
        if (changed[i])
            ops[i] = seen_operation(s, r, now, i);
    return seen_report_columns(s, r, now, ops, version, true);
}

/* The states of a `map` that a new row is in already. */
static bool seen_report_unusual(struct sqlite_source *s, struct rule *r, const struct seen *now, uint64_t version)
{
    bool columns[RULE_WATCH] = { 0 };
    for (size_t i = 0; i < now->watched; i++)
        columns[i] = seen_is_unusual(s, r, now, i);
    return seen_report_mapped(s, r, now, columns, version, NULL, true);
}

bool seen_report_new(struct sqlite_source *s, struct rule *r, struct seen *now, uint64_t version)
{
    const char *op = now->touched ? "update" : "insert", *type = rule_type(r, str_of(op));
    const struct map_entry *states[RULE_WATCH] = { 0 };
    if (type)
        mapped_tell(s, r,
                    &(struct happening){ .op = op,
                                         .type = type,
                                         .key = now->key,
                                         .version = version,
                                         .birth = now->birth,
                                         .row = now->all,
                                         .timed = !now->touched,
                                         .at_ms = now->at_ms });
    bool any = r->projections && !now->touched && seen_report_unusual(s, r, now, version);
    for (size_t i = 0; i < now->watched && !r->projections && !now->touched; i++)
        states[i] = seen_state(s, r, now, i);
    return seen_report_columns(s, r, now, states, version, false) || any || type;
}

/* A row of which nothing is remembered, and the states that it is in already. */
static void seen_report_first(struct sqlite_source *s, struct rule *r, struct seen *now, uint64_t version,
                              const struct doubt *d)
{
    bool any = seen_report_new(s, r, now, version);
    seen_remember(s, r, now, version, any, any ? d : NULL);
}

/* ---- comparing ---- */

static bool seen_is_same(const struct row *row, const struct seen *now)
{
    return row->count == now->count && memcmp(row->hashes, now->hashes, now->count * sizeof now->hashes[0]) == 0;
}

/* The hash of what is kept may lack: of an earlier version, or nothing was kept. */
static bool seen_is_comparable(const struct row *row, const struct seen *now)
{
    return row->count == now->watched || row->count == now->watched + 1;
}

/* Does it look the same in all watched columns? */
static bool seen_is_watched_same(const struct row *row, const struct seen *now)
{
    return seen_is_comparable(row, now) && memcmp(row->hashes, now->hashes, now->watched * sizeof now->hashes[0]) == 0;
}

/* Marks the watched columns that differ; a column that was or is not there tells nothing (hash 0). */
static bool seen_mark_columns(const struct row *row, const struct seen *now, bool *changed)
{
    bool any = false;
    for (size_t i = 0; i < now->watched && seen_is_comparable(row, now); i++)
        if (row->hashes[i] != now->hashes[i] && row->hashes[i] && now->hashes[i])
            any = changed[i] = true;
    return any;
}

static uint64_t seen_new_version(struct sqlite_source *s)
{
    return ++s->versions;
}

/* Adds those that an event written ahead tells; returns all of them as bits. */
static uint32_t seen_mark_told(const struct row *ahead, const struct seen *now, bool *changed)
{
    uint32_t all = 0;
    for (size_t i = 0; i < now->watched; i++) {
        changed[i] = changed[i] || (ahead->told >> i & 1);
        all |= (uint32_t)changed[i] << i;
    }
    return all;
}

/* A row whose last event was written ahead: sent or not, nobody knows. The same state gets the same id, another one
 * a new id, and tells all that the two may have told: who crashes once more knows only of it. */
static void seen_tell_ahead(struct sqlite_source *s, struct rule *r, const struct row *row, struct seen *now)
{
    bool changed[RULE_WATCH] = { 0 }, as_written = seen_is_watched_same(row->ahead, now);
    uint64_t version = as_written ? row->ahead->version : seen_new_version(s);
    if (row->fresh) {
        seen_report_first(s, r, now, version, &(struct doubt){ .first = true });
        return;
    }
    seen_mark_columns(row, now, changed);
    if (!as_written)
        seen_mark_columns(row->ahead, now, changed);
    bool doubtful = !as_written || row->ahead->told;
    struct doubt d = { .told = seen_mark_told(row->ahead, now, changed) };
    bool any = seen_report_update(s, r, row_kept(row), now, changed, version);
    seen_remember(s, r, now, version, any, any && doubtful ? &d : NULL);
}

/* A row that is remembered and looks different, or may. */
static void seen_tell_change(struct sqlite_source *s, struct rule *r, const struct row *row, struct seen *now)
{
    bool changed[RULE_WATCH] = { 0 };
    if (row->maybe_gone) { /* its delete may have been sent */
        seen_report_first(s, r, now, seen_new_version(s), &(struct doubt){ .first = true });
    } else if (row->ahead) {
        seen_tell_ahead(s, r, row, now);
    } else if (seen_is_silent(s, r) || (r->ready && r->signature != rule_signature(r))
               || !seen_mark_columns(row, now, changed)) {
        seen_remember(s, r, now, row->version, false, NULL);
    } else {
        uint64_t version = seen_new_version(s);
        bool any = seen_report_update(s, r, row_kept(row), now, changed, version);
        seen_remember(s, r, now, version, any, NULL);
    }
}

bool seen_is_known(const struct row *row, const struct seen *now)
{
    return row && !row->ahead && !row->maybe_gone && seen_is_same(row, now);
}

void seen_tell(struct sqlite_source *s, struct rule *r, const struct row *row, struct seen *now)
{
    if (row)
        seen_tell_change(s, r, row, now);
    else if (seen_is_silent(s, r))
        seen_remember(s, r, now, 0, false, NULL);
    else
        seen_report_first(s, r, now, seen_new_version(s), NULL);
}
