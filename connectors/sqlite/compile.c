/* SPDX-License-Identifier: MIT */
/* A rule's SQL, prepared against the tables that are there now. */
#include "bridge/lib/mem.h"
#include "connectors/sqlite/project.h"
#include "connectors/sqlite/triggers.h"
#include <stdio.h>
#include <stdlib.h>

static void compile_add_source(sqlite3_str *sql, const struct rule *r)
{
    if (r->source)
        sqlite3_str_appendall(sql, r->source);
    else if (r->o->select)
        sqlite3_str_appendf(sql, "(%s\n)", r->o->select);
    else
        sqlite3_str_appendf(sql, "\"%w\"", r->o->table);
}

static void compile_add_column(sqlite3_str *sql, const char *name, const char *otherwise)
{
    if (name)
        sqlite3_str_appendf(sql, "\"%w\",", name);
    else
        sqlite3_str_appendf(sql, "%s,", otherwise);
}

/* Rows that cannot be sorted stay out; CASE: nothing of theirs is looked at. */
static void compile_add_skip(sqlite3_str *sql, const struct rule *r)
{
    for (size_t i = 0; i < r->skip_count; i++)
        sqlite3_str_appendf(sql, "%s%lld", i ? "," : " AND CASE WHEN rowid IN (", (long long)r->skip[i]);
    if (r->skip_count)
        sqlite3_str_appendall(sql, ") THEN 0 ELSE 1 END");
}

static void compile_add_watched(sqlite3_str *sql, const struct rule *r, const bool *large)
{
    for (size_t i = 0; i < r->o->watch.count; i++)
        sqlite3_str_appendf(sql,
                            r->lacks[i]              ? ",NULL"
                            : large[LARGE_WATCH + i] ? ",typeof(\"%w\")"
                                                     : ",\"%w\"",
                            r->o->watch.at[i]);
}

/* SELECT <head, watch, data> FROM <source> WHERE 1; of what is `large` no value, of a watched column its type. Without
 * `data` a diff reads of the data only what it keeps. An outbox rule has the change's mark as tie and its operation as
 * `done`, and behind all when it was written down, and whether `where` holds. */
static void compile_add_select(sqlite3_str *sql, const struct rule *r, bool data, const bool *large)
{
    const struct rule_options *o = r->o;
    static const bool none[LARGE_COLUMNS];
    bool outbox = o->kind == KIND_OUTBOX;
    large = large ? large : none;
    sqlite3_str_appendall(sql, "SELECT ");
    compile_add_column(sql, o->key, NULL);
    compile_add_column(sql, r->by, NULL);
    compile_add_column(sql, r->then, outbox ? "aqueduct_mark" : "NULL");
    compile_add_column(sql, large[LARGE_TIME] ? NULL : o->time, "NULL");
    sqlite3_str_appendf(sql, "(%s\n)", large[LARGE_DONE] ? "0" : o->done ? o->done : outbox ? "aqueduct_op" : "1");
    compile_add_watched(sql, r, large);
    for (int i = 0; i < r->field_count; i++)
        if (data || (o->kind != KIND_APPEND && r->fields[i].keep))
            sqlite3_str_appendf(sql, r->fields[i].large ? ",NULL" : ",\"%w\"", r->fields[i].name);
    if (outbox)
        sqlite3_str_appendf(sql, ",aqueduct_at,(%s\n) IS TRUE", o->where ? o->where : "1");
    sqlite3_str_appendall(sql, " FROM ");
    compile_add_source(sql, r);
    sqlite3_str_appendall(sql, " WHERE 1");
    compile_add_skip(sql, r);
}

static void compile_add_where(sqlite3_str *sql, const struct rule *r)
{
    if (r->o->where)
        sqlite3_str_appendf(sql, " AND (%s\n)", r->o->where);
}

/* Takes sql. False: *why says what SQLite thinks of it. */
static bool compile_prepare(struct sqlite_source *s, sqlite3_str *sql, sqlite3_stmt **out, char why[WHY_BYTES])
{
    char *text = sqlite3_str_finish(sql);
    CHECK(text);
    const char *tail = "";
    int rc = sqlite3_prepare_v3(s->db, text, -1, SQLITE_PREPARE_PERSISTENT, out, &tail);
    bool one = rc == SQLITE_OK && *out && !tail[strspn(tail, " \t\r\n;")];
    if (!one)
        snprintf(why, WHY_BYTES, "%s",
                 rc != SQLITE_OK ? sqlite3_errmsg(s->db) : "one SELECT is wanted, without a semicolon");
    sqlite3_free(text);
    return one;
}

/* Does the select or the table have that column? */
static bool compile_has(sqlite3_stmt *probe, const char *name)
{
    for (int i = 0; i < sqlite3_column_count(probe); i++)
        if (str_eq_nocase(str_of(sqlite3_column_name(probe, i)), str_of(name)))
            return true;
    return false;
}

static bool compile_has_or_rowid(const struct rule_options *o, sqlite3_stmt *probe, const char *name)
{
    return compile_has(probe, name) || (!o->select && str_eq_nocase(str_of(name), STR("rowid")));
}

static void compile_add_field(struct rule *r, const char *name, enum form form)
{
    r->fields = mem_grow(r->fields, (size_t)r->field_count + 1, sizeof *r->fields);
    r->names = (r->field_count ? r->names : 1) * 31 + str_hash(str_of(name));
    r->fields[r->field_count++] = (struct field){ .name = str_dup(str_of(name)),
                                                  .form = form,
                                                  .keep = rule_keeps(r->o, str_of(name)) };
}

/* Of a rule with `map` the look at the table reads what is kept, and what `raw` tells; an append rule all, as by that it
 * knows its rows again. */
static bool compile_reads(const struct sqlite_source *s, const struct rule *r, const char *name)
{
    const struct rule_options *o = r->o;
    return !o->map.count || s->raw == RAW_ROW || o->kind == KIND_APPEND || rule_keeps(o, str_of(name));
}

static void compile_hide_content(const struct sqlite_source *s, struct rule *r)
{
    for (int i = 0; s->telling.content != TELL_FULL && i < r->field_count; i++)
        r->fields[i].hidden = rule_lists(&r->o->content_columns, str_of(r->fields[i].name));
}

static void compile_add_missing(struct buf *missing, const char *name)
{
    buf_printf(missing, "%s%s", missing->n ? ", " : "", name);
}

/* The columns that are named: those that are there, and in `missing` those that are not. */
static void compile_named_fields(const struct sqlite_source *s, struct rule *r, sqlite3_stmt *probe,
                                 struct buf *missing)
{
    const struct rule_options *o = r->o;
    for (size_t i = 0; i < o->columns.count; i++) {
        enum form form = FORM_VALUE;
        rule_form(o->columns.at[i].value, &form);
        if (!compile_reads(s, r, o->columns.at[i].key))
            continue;
        if (compile_has(probe, o->columns.at[i].key))
            compile_add_field(r, o->columns.at[i].key, form);
        else
            compile_add_missing(missing, o->columns.at[i].key);
    }
}

/* Of the columns that an outbox has besides those of the application's table. */
static bool compile_is_ours(const char *name)
{
    return str_starts(str_of(name), STR("aqueduct_")) || str_eq_nocase(str_of(name), STR("rowid"));
}

/* The data columns that are there; those that are not are named in `missing`. */
static void compile_fields(const struct sqlite_source *s, struct rule *r, sqlite3_stmt *probe, struct buf *missing)
{
    const struct rule_options *o = r->o;
    compile_named_fields(s, r, probe, missing);
    for (int i = 0; o->columns.count == 0 && i < sqlite3_column_count(probe); i++) {
        const char *name = sqlite3_column_name(probe, i);
        if (!rule_lists(&o->never, str_of(name)) && compile_reads(s, r, name) && !(r->outbox && compile_is_ours(name)))
            compile_add_field(r, name, FORM_VALUE);
    }
    for (size_t i = 0; i < o->keep.count; i++)
        if (!compile_has(probe, o->keep.at[i]) && !rule_has_entry(&o->columns, o->keep.at[i]))
            compile_add_missing(missing, o->keep.at[i]);
    for (size_t i = 0; i < o->watch.count; i++) {
        r->lacks[i] = !compile_has(probe, o->watch.at[i]);
        if (r->lacks[i])
            compile_add_missing(missing, o->watch.at[i]);
    }
}

/* A name in `never` that is no column would have one published that was meant. */
static bool compile_check_never(const struct sqlite_source *s, const struct rule_options *o, sqlite3_stmt *probe,
                                char why[WHY_BYTES])
{
    if (o->kind == KIND_OUTBOX) /* whose plan was checked */
        return true;
    if (o->map.count && s->raw == RAW_NONE)
        return true; /* nothing is told but what its SQL names */
    for (size_t i = 0; o->columns.count == 0 && i < o->never.count; i++) {
        const char *name = o->never.at[i], *nearest;
        if (compile_has(probe, name))
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
static void compile_warn_mask(struct sqlite_source *s, struct rule *r, sqlite3_stmt *probe)
{
    for (size_t i = 0; i < r->o->mask.count; i++) {
        const char *name = r->o->mask.at[i],
                   *nearest = compile_has(probe, name) ? NULL : rule_nearest(probe, str_of(name));
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
static const char *compile_lacking(const struct rule_options *o, sqlite3_stmt *probe)
{
    const char *needed[] = { o->key, o->cursor ? o->cursor : o->key, o->time ? o->time : o->key,
                             o->type_column ? o->type_column : o->key };
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!compile_has_or_rowid(o, probe, needed[i]))
            return needed[i];
    return NULL;
}

static void compile_warn_missing(struct sqlite_source *s, struct rule *r, struct buf *missing)
{
    char text[320];
    snprintf(text, sizeof text, "left out, as this version of the database does not have them: %s",
             buf_c(missing) ? buf_c(missing) : "many columns");
    rule_warn(s, r, text);
}

/* Chooses the fields among the columns that the table (or the select) has today. */
static bool compile_columns(struct sqlite_source *s, struct rule *r, char why[WHY_BYTES])
{
    sqlite3_stmt *probe = NULL;
    sqlite3_str *sql = sqlite3_str_new(s->db);
    sqlite3_str_appendall(sql, "SELECT * FROM ");
    compile_add_source(sql, r);
    if (!compile_prepare(s, sql, &probe, why)) {
        sqlite3_finalize(probe);
        return false;
    }
    const char *lacking = compile_lacking(r->o, probe);
    struct buf missing = buf_new(256);
    bool good = !lacking && compile_check_never(s, r->o, probe, why);
    if (good) {
        compile_fields(s, r, probe, &missing);
        compile_hide_content(s, r);
        compile_warn_mask(s, r, probe);
    } else if (lacking)
        snprintf(why, WHY_BYTES, "there is no column %s in %s", lacking,
                 r->outbox     ? "what its triggers write"
                 : r->o->table ? r->o->table
                               : "the select");
    if (missing.n && (!r->outbox || r->triggers == TRIGGERS_GOOD || r->triggers == TRIGGERS_NONE))
        compile_warn_missing(s, r, &missing);
    buf_free(&missing);
    sqlite3_finalize(probe);
    return good;
}

/* Does that query about the rule's table (?1) and a column (?2) give a row? */
static bool compile_asks(struct sqlite_source *s, const char *sql, const char *table, const char *column)
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

static bool compile_has_rowid(struct sqlite_source *s, const char *table)
{
    static const char is_table[] = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE";
    if (!table || !compile_asks(s, is_table, table, NULL))
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
static bool compile_is_rowid(struct sqlite_source *s, const char *table, const char *column)
{
    static const char alias[] = "SELECT 1 FROM pragma_table_info(?1) WHERE pk = 1 AND name = ?2 COLLATE NOCASE AND"
                                " NOT EXISTS (SELECT 1 FROM pragma_index_list(?1) WHERE origin = 'pk')";
    return str_eq_nocase(str_of(column), STR("rowid")) || compile_asks(s, alias, table, column);
}

/* Chooses the columns that order the rows. */
static void compile_order(struct sqlite_source *s, struct rule *r)
{
    static const char counts[] = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE AND"
                                 " sql LIKE '%AUTOINCREMENT%'";
    const struct rule_options *o = r->o;
    bool rowid = compile_has_rowid(s, o->table);
    if (r->outbox) {
        r->by = "aqueduct_seq";
        r->by_rowid = r->rowid_is_kept = true;
        r->has_rowid = r->key_is_rowid = false;
        r->then = NULL;
        return;
    }
    r->has_rowid = rowid && !o->select;
    r->key_is_rowid = rowid && compile_is_rowid(s, o->table, o->key);
    bool by_rowid = r->has_rowid && !r->key_is_rowid && o->kind != KIND_DIFF;
    r->by = o->cursor && o->kind != KIND_UPDATED ? o->cursor : by_rowid ? "rowid" : o->key;
    r->by_rowid = rowid && compile_is_rowid(s, o->table, r->by);
    r->rowid_is_kept = o->table && compile_asks(s, counts, o->table, NULL);
    r->then = r->by_rowid || o->kind == KIND_DIFF || o->kind == KIND_UPDATED ? NULL : r->has_rowid ? "rowid" : o->key;
    if (r->then && str_eq_nocase(str_of(r->then), str_of(r->by)))
        r->then = NULL;
}

/* The counter of AUTOINCREMENT; NULL: the table sqlite_sequence is only there when some table uses it. */
static sqlite3_stmt *compile_sequence(struct sqlite_source *s, const char *table)
{
    static const char sql[] = "SELECT seq FROM sqlite_sequence WHERE name = ?1 COLLATE NOCASE";
    sqlite3_stmt *stmt = NULL;
    if (table && sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL) == SQLITE_OK)
        sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC);
    return stmt;
}

/* The row a cursor or a guard looks at, without the rule's condition. */
static bool compile_guards(struct sqlite_source *s, struct rule *r, char why[WHY_BYTES])
{
    sqlite3_str *max = sqlite3_str_new(s->db);
    sqlite3_str_appendf(max, "SELECT max(\"%w\") FROM ", r->by);
    compile_add_source(max, r);
    if (!compile_prepare(s, max, &r->max, why))
        return false;
    if (r->o->kind == KIND_DIFF)
        return true;
    sqlite3_str *at = sqlite3_str_new(s->db);
    sqlite3_str_appendf(at, "SELECT \"%w\" FROM ", r->o->key);
    compile_add_source(at, r);
    sqlite3_str_appendf(at, " WHERE \"%w\" = ?1", r->by);
    if (!compile_prepare(s, at, &r->at_cursor, why))
        return false;
    r->sequence = compile_sequence(s, r->o->table);
    return true;
}

/* What counts a piece of the rows up to a rowid cursor, or of a diff those up to ?3: from ?1 on, at most ?2, whatever
 * meets the condition. */
static bool compile_census(struct sqlite_source *s, struct rule *r, char why[WHY_BYTES])
{
    sqlite3_str *count = sqlite3_str_new(s->db);
    sqlite3_str_appendf(count,
                        "SELECT count(*), sum(m), max(i) FROM (SELECT rowid AS i, (%s\n) IS TRUE AS m FROM \"%w\"",
                        r->o->where ? r->o->where : "1", r->o->table);
    sqlite3_str_appendf(count, " WHERE rowid >= ?1%s ORDER BY rowid LIMIT ?2)",
                        r->o->kind == KIND_DIFF ? " AND rowid <= ?3" : "");
    census_begin(r);
    return compile_prepare(s, count, &r->count, why);
}

/* What counts the rows that will not be captured: behind the cursor, or without a key. */
static bool compile_counts(struct sqlite_source *s, struct rule *r, char why[WHY_BYTES])
{
    if (!r->key_is_rowid && (r->o->kind == KIND_DIFF || strcmp(r->by, r->o->key) == 0)) {
        sqlite3_str *unkeyed = sqlite3_str_new(s->db);
        sqlite3_str_appendall(unkeyed, "SELECT count(*) FROM ");
        compile_add_source(unkeyed, r);
        sqlite3_str_appendf(unkeyed, " WHERE \"%w\" IS NULL", r->o->key);
        compile_add_where(unkeyed, r);
        if (!compile_prepare(s, unkeyed, &r->unkeyed, why))
            return false;
    }
    bool below = r->o->kind == KIND_DIFF && r->o->last && r->key_is_rowid;
    if (!r->has_rowid || (r->o->kind == KIND_DIFF && !below) || r->o->kind == KIND_UPDATED)
        return true;
    if (r->by_rowid)
        return compile_census(s, r, why);
    sqlite3_str *top = sqlite3_str_new(s->db), *behind = sqlite3_str_new(s->db);
    sqlite3_str_appendf(top, "SELECT max(rowid) FROM \"%w\"", r->o->table);
    sqlite3_str_appendf(behind, /* + : found by rowid, not by an index */
                        "SELECT count(*) FROM \"%w\" WHERE rowid > ?4 AND (+\"%w\" IS NULL OR +\"%w\" < ?1 OR"
                        " (+\"%w\" = ?1 AND rowid <= ?3))",
                        r->o->table, r->by, r->by, r->by);
    compile_add_skip(behind, r);
    compile_add_where(behind, r);
    bool good = compile_prepare(s, top, &r->max_rowid, why);
    return compile_prepare(s, behind, &r->behind, why) && good;
}

static void compile_add_order(sqlite3_str *sql, const struct rule *r, const char *direction)
{
    sqlite3_str_appendf(sql, " ORDER BY \"%w\"%s", r->by, direction);
    if (r->then)
        sqlite3_str_appendf(sql, ", \"%w\"%s", r->then, direction);
}

/* The rows behind ?1 (and ?3), at most ?2. In a damaged file the search by an index may come out before ?1, and the rows
 * would be read for ever: + has each row compared as well. (A value of another type, such as an old cursor's, would lack
 * the column's affinity there.) */
static void compile_add_behind(sqlite3_str *sql, const struct rule *r, bool next)
{
    if (next && r->then)
        sqlite3_str_appendf(sql,
                            " AND (\"%w\", \"%w\") > (?1, ?3)"
                            " AND ((+\"%w\", +\"%w\") > (?1, ?3) OR typeof(\"%w\") <> typeof(?1))",
                            r->by, r->then, r->by, r->then, r->by);
    else if (next || r->o->last)
        sqlite3_str_appendf(sql, " AND \"%w\" > ?1 AND (+\"%w\" > ?1 OR typeof(\"%w\") <> typeof(?1))", r->by, r->by,
                            r->by);
    else
        sqlite3_str_appendf(sql, " AND \"%w\" IS NOT NULL", r->by);
    compile_add_order(sql, r, "");
    sqlite3_str_appendall(sql, " LIMIT ?2");
}

/* Of kind updated: rows by their place (?1), or by their time (?1 up to ?4) and what tells those of one time apart (?3). */
static bool compile_updated(struct sqlite_source *s, struct rule *r, char why[WHY_BYTES])
{
    const struct rule_options *o = r->o;
    const char *tie = r->has_rowid ? "rowid" : o->key, *c = o->cursor;
    for (int timed = 0; timed <= 1; timed++) {
        sqlite3_str *sql = sqlite3_str_new(s->db);
        sqlite3_str_appendf(sql, "SELECT \"%w\",\"%w\",\"%w\",", o->key, timed ? c : r->by, tie);
        compile_add_column(sql, o->time, "NULL");
        sqlite3_str_appendf(sql, "\"%w\" FROM ", c);
        compile_add_source(sql, r);
        if (timed)
            sqlite3_str_appendf(sql,
                                " WHERE (\"%w\", \"%w\") > (?1, ?3) AND \"%w\" < ?4"
                                " AND ((+\"%w\", +\"%w\") > (?1, ?3) OR typeof(\"%w\") <> typeof(?1))",
                                c, tie, c, c, tie, c);
        else
            sqlite3_str_appendf(sql, " WHERE \"%w\" > ?1", r->by);
        compile_add_where(sql, r);
        if (timed)
            sqlite3_str_appendf(sql, " ORDER BY \"%w\", \"%w\" LIMIT ?2", c, tie);
        else
            sqlite3_str_appendf(sql, " ORDER BY \"%w\" LIMIT ?2", r->by);
        if (!compile_prepare(s, sql, timed ? &r->next : &r->first, why))
            return false;
    }
    return true;
}

/* The statements that read rows: the first batch, the next one, one row, the newest. */
static bool compile_rows(struct sqlite_source *s, struct rule *r, char why[WHY_BYTES])
{
    if (r->o->kind == KIND_UPDATED && !compile_updated(s, r, why))
        return false;
    for (int next = 0; r->o->kind != KIND_UPDATED && next <= 1; next++) {
        sqlite3_str *sql = sqlite3_str_new(s->db);
        compile_add_select(sql, r, r->o->kind != KIND_DIFF, NULL);
        compile_add_where(sql, r);
        compile_add_behind(sql, r, next);
        if (!compile_prepare(s, sql, next ? &r->next : &r->first, why))
            return false;
    }
    sqlite3_str *get = sqlite3_str_new(s->db);
    compile_add_select(get, r, true, NULL);
    sqlite3_str_appendf(get, " AND \"%w\" = ?1", r->o->key);
    if (!compile_prepare(s, get, &r->get, why))
        return false;
    sqlite3_str *recent = sqlite3_str_new(s->db);
    compile_add_select(recent, r, false, NULL);
    compile_add_where(recent, r);
    sqlite3_str_appendf(recent, " AND \"%w\" IS NOT NULL", r->by);
    compile_add_order(recent, r, " DESC");
    sqlite3_str_appendf(recent, " LIMIT %d", RECENT_ROWS);
    return compile_prepare(s, recent, &r->recent, why);
}

/* ---- an outbox ---- */

/* Of the changes behind ?1 the next ?2; one as its row was before; the mark of one, and the largest number given out. */
static bool compile_outbox(struct sqlite_source *s, struct rule *r, char why[WHY_BYTES])
{
    sqlite3_str *sql = sqlite3_str_new(s->db);
    compile_add_select(sql, r, true, NULL);
    sqlite3_str_appendall(sql, " AND aqueduct_seq > ?1 ORDER BY aqueduct_seq LIMIT ?2");
    if (!compile_prepare(s, sql, &r->next, why))
        return false;
    char *now = r->source;
    sql = sqlite3_str_new(s->db);
    r->source = r->source_old;
    compile_add_select(sql, r, true, NULL);
    r->source = now;
    sqlite3_str_appendall(sql, " AND aqueduct_seq = ?1");
    if (!compile_prepare(s, sql, &r->get, why))
        return false;
    sqlite3_str *at = sqlite3_str_new(s->db), *max = sqlite3_str_new(s->db);
    sqlite3_str_appendf(at, "SELECT aqueduct_mark FROM %s WHERE aqueduct_seq = ?1", r->source);
    sqlite3_str_appendf(max, "SELECT max(aqueduct_seq) FROM %s", r->source);
    bool good = compile_prepare(s, max, &r->max, why);
    r->sequence = compile_sequence(s, r->outbox);
    return compile_prepare(s, at, &r->at_cursor, why) && good;
}

/* ---- a diff by the leaves of its table ---- */

static uint32_t compile_root(struct sqlite_source *s, const char *table)
{
    static const char sql[] = "SELECT rootpage FROM sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE";
    sqlite3_stmt *stmt = NULL;
    int64_t root = 0;
    if (sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL) == SQLITE_OK) {
        sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC);
        root = sqlite3_step(stmt) == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
    }
    sqlite3_finalize(stmt);
    return root > 1 && root < UINT32_MAX ? (uint32_t)root : 0;
}

/* The rows ?1..?3. Where something else than the table's own pages decides what they are, each look reads them all; where
 * the key is not the rowid, if any page has changed. */
static void compile_range(struct sqlite_source *s, struct rule *r)
{
    char why[WHY_BYTES];
    if (r->o->kind != KIND_DIFF || !r->has_rowid)
        return;
    sqlite3_str *sql = sqlite3_str_new(s->db);
    compile_add_select(sql, r, false, NULL);
    compile_add_where(sql, r);
    sqlite3_str_appendf(sql, " AND \"%w\" >= ?1 AND \"%w\" <= ?3", r->by, r->by);
    compile_add_order(sql, r, "");
    sqlite3_str_appendall(sql, " LIMIT ?2");
    s->alone = r->o->table;
    s->beyond = false;
    bool good = compile_prepare(s, sql, &r->range, why) && !s->beyond;
    s->alone = NULL;
    r->root = good ? compile_root(s, r->o->table) : 0;
    if (!r->root || !r->key_is_rowid) {
        sqlite3_finalize(r->range);
        r->range = NULL;
    }
}

static bool compile_table_is_missing(struct sqlite_source *s, const struct rule *r)
{
    static const char sql[] = "SELECT 1 FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE";
    sqlite3_stmt *stmt = NULL;
    bool missing = false;
    if (r->o->table && sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL) == SQLITE_OK) {
        sqlite3_bind_text(stmt, 1, r->o->table, -1, SQLITE_STATIC);
        missing = sqlite3_step(stmt) == SQLITE_DONE;
    }
    sqlite3_finalize(stmt);
    return missing;
}

static bool compile_statements(struct sqlite_source *s, struct rule *r, char why[WHY_BYTES])
{
    if (r->outbox)
        return compile_outbox(s, r, why);
    return compile_rows(s, r, why) && compile_guards(s, r, why) && compile_counts(s, r, why);
}

/* It was there when the options were checked, and is kept from then on. */
static bool compile_zone(const struct sqlite_source *s, struct rule *r, char why[WHY_BYTES])
{
    struct err e;
    const char *name = r->o->time_zone ? r->o->time_zone : s->time_zone;
    if (r->zone || !name)
        return true;
    r->zone = zone_new(name, &e);
    if (!r->zone)
        why_copy(why, e.text);
    return r->zone != NULL;
}

void compile_rule(struct sqlite_source *s, struct rule *r)
{
    char why[WHY_BYTES] = "";
    rule_drop(r);
    if (r->o->tables) { /* its instances are what is compiled */
        r->no_table = true;
        return;
    }
    r->no_table = compile_table_is_missing(s, r);
    if (r->o->kind == KIND_OUTBOX && !triggers_look(s, r, why)) {
        rule_warn(s, r, why);
        return;
    }
    compile_order(s, r);
    r->usable = compile_zone(s, r, why) && compile_columns(s, r, why) && compile_statements(s, r, why)
                && fit_check(s, r, why);
    if (r->usable) {
        compile_range(s, r);
        project_check(s, r);
    } else {
        rule_warn(s, r, why);
    }
    if (r->outbox)
        triggers_tell(s, r);
    if (!r->usable || r->triggers == TRIGGERS_NONE) /* what it would read is not there */
        rule_drop(r);
}

static sqlite3_stmt *compile_once(struct sqlite_source *s, sqlite3_str *sql)
{
    char why[WHY_BYTES];
    sqlite3_stmt *stmt = NULL;
    if (compile_prepare(s, sql, &stmt, why))
        return stmt;
    sqlite3_finalize(stmt);
    return NULL;
}

/* The column that tells the rows apart that are read. */
static const char *compile_identity(const struct rule *r)
{
    return r->outbox ? r->by : r->o->key;
}

sqlite3_stmt *compile_row(struct sqlite_source *s, struct rule *r, const bool large[LARGE_COLUMNS])
{
    sqlite3_str *sql = sqlite3_str_new(s->db);
    compile_add_select(sql, r, true, large);
    sqlite3_str_appendf(sql, " AND \"%w\" = ?1", compile_identity(r));
    compile_add_where(sql, r);
    return compile_once(s, sql);
}

sqlite3_stmt *compile_cell(struct sqlite_source *s, struct rule *r, int column, const struct field *f, bool where)
{
    const struct rule_options *o = r->o;
    const char *name = f                       ? f->name
                       : column == LARGE_TIME  ? o->time
                       : column >= LARGE_WATCH ? o->watch.at[column - LARGE_WATCH]
                                               : NULL;
    sqlite3_str *sql = sqlite3_str_new(s->db);
    if (where || !name)
        sqlite3_str_appendf(sql, "SELECT (%s\n) FROM ", where ? o->where : o->done);
    else
        sqlite3_str_appendf(sql, "SELECT \"%w\" FROM ", name);
    compile_add_source(sql, r);
    sqlite3_str_appendf(sql, " WHERE \"%w\" = ?1", compile_identity(r));
    return compile_once(s, sql);
}

static void compile_add_place_columns(sqlite3_str *sql, const struct rule *r, const struct place *p)
{
    if (p->of == PLACE_BLIND) {
        sqlite3_str_appendf(sql, "NULL, NULL, %s, 1 FROM ", r->has_rowid ? "rowid" : "NULL");
        return;
    }
    compile_add_column(sql, p->of == PLACE_KEYLESS ? NULL : r->o->key, "NULL");
    compile_add_column(sql, r->by, NULL);
    compile_add_column(sql, r->then, "NULL");
    const char *compared = p->from == PLACE_SAME ? r->then : r->by;
    if (p->from == PLACE_SAME || p->from == PLACE_BEHIND)
        sqlite3_str_appendf(sql, "(+\"%w\" > ?%d OR typeof(\"%w\") <> typeof(?%d)) FROM ", compared,
                            p->from == PLACE_SAME ? 3 : 1, compared, p->from == PLACE_SAME ? 3 : 1);
    else
        sqlite3_str_appendall(sql, "1 FROM ");
}

/* typeof() and an index look at no value. */
static void compile_add_place_condition(sqlite3_str *sql, const struct rule *r, const struct place *p)
{
    switch (p->from) {
    case PLACE_NEWEST:
    case PLACE_FIRST: sqlite3_str_appendf(sql, " AND typeof(\"%w\") <> 'null'", r->by); break;
    case PLACE_SAME: sqlite3_str_appendf(sql, " AND \"%w\" = ?1 AND \"%w\" > ?3", r->by, r->then); break;
    case PLACE_BEHIND: sqlite3_str_appendf(sql, " AND \"%w\" > ?1", r->by); break;
    case PLACE_OF_KEY: sqlite3_str_appendf(sql, " AND \"%w\" = ?1", r->o->key); break;
    case PLACE_OF_ROWID: sqlite3_str_appendf(sql, " AND \"%w\" = ?1", r->has_rowid ? "rowid" : r->by); break;
    }
}

sqlite3_stmt *compile_place(struct sqlite_source *s, struct rule *r, const struct place *p)
{
    sqlite3_str *sql = sqlite3_str_new(s->db);
    sqlite3_str_appendall(sql, "SELECT ");
    compile_add_place_columns(sql, r, p);
    compile_add_source(sql, r);
    sqlite3_str_appendall(sql, " WHERE 1");
    compile_add_skip(sql, r);
    compile_add_place_condition(sql, r, p);
    if (p->from != PLACE_OF_KEY && p->from != PLACE_OF_ROWID)
        compile_add_order(sql, r, p->from == PLACE_NEWEST ? " DESC" : "");
    sqlite3_str_appendf(sql, " LIMIT %lld OFFSET %lld", (long long)p->limit, (long long)p->offset);
    return compile_once(s, sql);
}
