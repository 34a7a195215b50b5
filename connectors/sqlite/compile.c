/* SPDX-License-Identifier: MIT */
/* A rule's SQL, prepared against the tables that are there now. */
#include "bridge/lib/mem.h"
#include "connectors/sqlite/columns.h"
#include "connectors/sqlite/compile.h"
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

/* Chooses the fields among the columns that the table (or the select) has today. */
static bool compile_columns(struct sqlite_source *s, struct rule *r, char why[WHY_BYTES])
{
    sqlite3_stmt *probe = NULL;
    sqlite3_str *sql = sqlite3_str_new(s->db);
    sqlite3_str_appendall(sql, "SELECT * FROM ");
    compile_add_source(sql, r);
    bool good = compile_prepare(s, sql, &probe, why) && columns_choose(s, r, probe, why);
    sqlite3_finalize(probe);
    return good;
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
    columns_order(s, r);
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
