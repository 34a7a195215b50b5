/* SPDX-License-Identifier: MIT */
/* Which columns of the tables that are there now a rule reads, and by which of them it orders the rows. */
#include "bridge/lib/mem.h"
#include "connectors/sqlite/columns.h"
#include <stdio.h>

/* Does the select or the table have that column? */
static bool columns_has(sqlite3_stmt *probe, const char *name)
{
    for (int i = 0; i < sqlite3_column_count(probe); i++)
        if (str_eq_nocase(str_of(sqlite3_column_name(probe, i)), str_of(name)))
            return true;
    return false;
}

static bool columns_has_or_rowid(const struct rule_options *o, sqlite3_stmt *probe, const char *name)
{
    return columns_has(probe, name) || (!o->select && str_eq_nocase(str_of(name), STR("rowid")));
}

static void columns_add_field(struct rule *r, const char *name, enum form form)
{
    r->fields = mem_grow(r->fields, (size_t)r->field_count + 1, sizeof *r->fields);
    r->names = (r->field_count ? r->names : 1) * 31 + str_hash(str_of(name));
    r->fields[r->field_count++] = (struct field){ .name = str_dup(str_of(name)),
                                                  .form = form,
                                                  .keep = rule_keeps(r->o, str_of(name)) };
}

/* Of a rule with `map` the look at the table reads what is kept, and what `raw` tells; an append rule all, as by that it
 * knows its rows again. */
static bool columns_reads(const struct sqlite_source *s, const struct rule *r, const char *name)
{
    const struct rule_options *o = r->o;
    return !o->map.count || s->raw == RAW_ROW || o->kind == KIND_APPEND || rule_keeps(o, str_of(name));
}

static void columns_hide_content(const struct sqlite_source *s, struct rule *r)
{
    for (int i = 0; s->telling.content != TELL_FULL && i < r->field_count; i++)
        r->fields[i].hidden = rule_lists(&r->o->content_columns, str_of(r->fields[i].name));
}

static void columns_add_missing(struct buf *missing, const char *name)
{
    buf_printf(missing, "%s%s", missing->n ? ", " : "", name);
}

/* The columns that are named: those that are there, and in `missing` those that are not. */
static void columns_named_fields(const struct sqlite_source *s, struct rule *r, sqlite3_stmt *probe,
                                 struct buf *missing)
{
    const struct rule_options *o = r->o;
    for (size_t i = 0; i < o->columns.count; i++) {
        enum form form = FORM_VALUE;
        rule_form(o->columns.at[i].value, &form);
        if (!columns_reads(s, r, o->columns.at[i].key))
            continue;
        if (columns_has(probe, o->columns.at[i].key))
            columns_add_field(r, o->columns.at[i].key, form);
        else
            columns_add_missing(missing, o->columns.at[i].key);
    }
}

/* Of the columns that an outbox has besides those of the application's table. */
static bool columns_is_ours(const char *name)
{
    return str_starts(str_of(name), STR("aqueduct_")) || str_eq_nocase(str_of(name), STR("rowid"));
}

/* The data columns that are there; those that are not are named in `missing`. */
static void columns_fields(const struct sqlite_source *s, struct rule *r, sqlite3_stmt *probe, struct buf *missing)
{
    const struct rule_options *o = r->o;
    columns_named_fields(s, r, probe, missing);
    for (int i = 0; o->columns.count == 0 && i < sqlite3_column_count(probe); i++) {
        const char *name = sqlite3_column_name(probe, i);
        if (!rule_lists(&o->never, str_of(name)) && columns_reads(s, r, name) && !(r->outbox && columns_is_ours(name)))
            columns_add_field(r, name, FORM_VALUE);
    }
    for (size_t i = 0; i < o->keep.count; i++)
        if (!columns_has(probe, o->keep.at[i]) && !rule_has_entry(&o->columns, o->keep.at[i]))
            columns_add_missing(missing, o->keep.at[i]);
    for (size_t i = 0; i < o->watch.count; i++) {
        r->lacks[i] = !columns_has(probe, o->watch.at[i]);
        if (r->lacks[i])
            columns_add_missing(missing, o->watch.at[i]);
    }
}

/* A name in `never` that is no column would have one published that was meant. */
static bool columns_check_never(const struct sqlite_source *s, const struct rule_options *o, sqlite3_stmt *probe,
                                char why[WHY_BYTES])
{
    if (o->kind == KIND_OUTBOX) /* whose plan was checked */
        return true;
    if (o->map.count && s->raw == RAW_NONE)
        return true; /* nothing is told but what its SQL names */
    for (size_t i = 0; o->columns.count == 0 && i < o->never.count; i++) {
        const char *name = o->never.at[i], *nearest;
        if (columns_has(probe, name))
            continue;
        nearest = rule_nearest(probe, str_of(name));
        snprintf(why, WHY_BYTES,
                 "never: there is no column %.60s in %.60s%s%.60s%s; nothing is captured until it is corrected", name,
                 o->table ? o->table : "the select", nearest ? " (did you mean " : "", nearest ? nearest : "",
                 nearest ? "?)" : "");
        return false;
    }
    return true;
}

/* A name in `mask` may be a member's, in JSON; but one that looks like that of a column may be meant for it. */
static void columns_warn_mask(struct sqlite_source *s, struct rule *r, sqlite3_stmt *probe)
{
    for (size_t i = 0; i < r->o->mask.count; i++) {
        const char *name = r->o->mask.at[i],
                   *nearest = columns_has(probe, name) ? NULL : rule_nearest(probe, str_of(name));
        if (!nearest || rule_lists(&r->o->mask, str_of(nearest)))
            continue;
        char text[WHY_BYTES];
        snprintf(text, sizeof text,
                 "mask: there is no column %.60s (did you mean %.60s?); members of JSON of that name are masked", name,
                 nearest);
        rule_warn(s, r, text);
    }
}

/* A column that the rule cannot do without and that is not there, or NULL. */
static const char *columns_lacking(const struct rule_options *o, sqlite3_stmt *probe)
{
    const char *needed[] = { o->key, o->cursor ? o->cursor : o->key, o->time ? o->time : o->key,
                             o->type_column ? o->type_column : o->key };
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!columns_has_or_rowid(o, probe, needed[i]))
            return needed[i];
    return NULL;
}

static void columns_warn_missing(struct sqlite_source *s, struct rule *r, struct buf *missing)
{
    char text[320];
    snprintf(text, sizeof text, "left out, as this version of the database does not have them: %s",
             buf_c(missing) ? buf_c(missing) : "many columns");
    rule_warn(s, r, text);
}

bool columns_choose(struct sqlite_source *s, struct rule *r, sqlite3_stmt *probe, char why[WHY_BYTES])
{
    const char *lacking = columns_lacking(r->o, probe);
    struct buf missing = buf_new(256);
    bool good = !lacking && columns_check_never(s, r->o, probe, why);
    if (good) {
        columns_fields(s, r, probe, &missing);
        columns_hide_content(s, r);
        columns_warn_mask(s, r, probe);
    } else if (lacking)
        snprintf(why, WHY_BYTES, "there is no column %s in %s", lacking,
                 r->outbox     ? "what its triggers write"
                 : r->o->table ? r->o->table
                               : "the select");
    if (missing.n && (!r->outbox || r->triggers == TRIGGERS_GOOD || r->triggers == TRIGGERS_NONE))
        columns_warn_missing(s, r, &missing);
    buf_free(&missing);
    return good;
}

/* ---- which of them order the rows ---- */

/* Does that query about the rule's table (?1) and a column (?2) give a row? */
static bool columns_asks(struct sqlite_source *s, const char *sql, const char *table, const char *column)
{
    sqlite3_stmt *stmt = NULL;
    bool yes = false;
    if (sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL) == SQLITE_OK) {
        sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC);
        sqlite3_bind_text(stmt, 2, column, -1, SQLITE_STATIC);
        yes = sqlite3_step(stmt) == SQLITE_ROW;
    }
    sqlite3_finalize(stmt);
    return yes;
}

static bool columns_has_rowid(struct sqlite_source *s, const char *table)
{
    static const char is_table[] = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE";
    if (!table || !columns_asks(s, is_table, table, NULL))
        return false;
    sqlite3_str *sql = sqlite3_str_new(s->db);
    sqlite3_str_appendf(sql, "SELECT rowid FROM \"%w\"", table);
    char *text = sqlite3_str_finish(sql);
    sqlite3_stmt *stmt = NULL;
    bool has = sqlite3_prepare_v2(s->db, text, -1, &stmt, NULL) == SQLITE_OK;
    sqlite3_finalize(stmt);
    sqlite3_free(text);
    return has;
}

/* Is the column the table's rowid by its own name, an INTEGER PRIMARY KEY? (That one needs no index.) */
static bool columns_is_rowid(struct sqlite_source *s, const char *table, const char *column)
{
    static const char alias[] = "SELECT 1 FROM pragma_table_info(?1) WHERE pk = 1 AND name = ?2 COLLATE NOCASE AND"
                                " NOT EXISTS (SELECT 1 FROM pragma_index_list(?1) WHERE origin = 'pk')";
    return str_eq_nocase(str_of(column), STR("rowid")) || columns_asks(s, alias, table, column);
}

void columns_order(struct sqlite_source *s, struct rule *r)
{
    static const char counts[] = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE AND"
                                 " sql LIKE '%AUTOINCREMENT%'";
    const struct rule_options *o = r->o;
    bool rowid = columns_has_rowid(s, o->table);
    if (r->outbox) {
        r->by = "aqueduct_seq";
        r->by_rowid = r->rowid_is_kept = true;
        r->has_rowid = r->key_is_rowid = false;
        r->then = NULL;
        return;
    }
    r->has_rowid = rowid && !o->select;
    r->key_is_rowid = rowid && columns_is_rowid(s, o->table, o->key);
    bool by_rowid = r->has_rowid && !r->key_is_rowid && o->kind != KIND_DIFF;
    r->by = o->cursor && o->kind != KIND_UPDATED ? o->cursor : by_rowid ? "rowid" : o->key;
    r->by_rowid = rowid && columns_is_rowid(s, o->table, r->by);
    r->rowid_is_kept = o->table && columns_asks(s, counts, o->table, NULL);
    r->then = r->by_rowid || o->kind == KIND_DIFF || o->kind == KIND_UPDATED ? NULL : r->has_rowid ? "rowid" : o->key;
    if (r->then && str_eq_nocase(str_of(r->then), str_of(r->by)))
        r->then = NULL;
}
