/* SPDX-License-Identifier: MIT */
/* Rows of a case in a database of their own. */
#include "connectors/sqlite/review.h"
#include "connectors/sqlite/stage.h"
#include "connectors/sqlite/triggers.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/lib/file.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"

enum { STAGE_SCHEMA = 16 << 20, STAGE_PLACE = 256, STAGE_NAMES = 2000 };

struct staging {
    struct sqlite_source *s; /* NULL: not yet */
    const struct staged *of;
    fault_fn *wrong;
    void *ctx;
    bool good;
    sqlite3 *db;
    char *folder, *path; /* folder NULL: it was not made */
};

/* ---- what is wrong ---- */

static bool stage_fail(struct staging *st, const char *place, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static bool stage_fail(struct staging *st, const char *place, const char *fmt, ...)
{
    char text[2 * WHY_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    st->wrong(st->ctx, place, text);
    return st->good = false;
}

static bool stage_do(struct staging *st, const char *place, char *sql)
{
    CHECK(sql);
    bool done = sqlite3_exec(st->db, sql, NULL, NULL, NULL) == SQLITE_OK;
    sqlite3_free(sql);
    return done || stage_fail(st, place, "%s", sqlite3_errmsg(st->db));
}

static sqlite3_stmt *stage_prepare(struct staging *st, const char *place, char *sql)
{
    sqlite3_stmt *stmt = NULL;
    CHECK(sql);
    if (sqlite3_prepare_v2(st->db, sql, -1, &stmt, NULL) != SQLITE_OK)
        stage_fail(st, place, "%s", sqlite3_errmsg(st->db));
    sqlite3_free(sql);
    return stmt;
}

/* Is it among the names that the query gives for ?1? Else `hint` has the nearest one, or "". */
static bool stage_knows(struct staging *st, const char *query, const char *of, const char *name, char hint[128])
{
    const char *names[STAGE_NAMES + 1] = { NULL };
    size_t count = 0;
    bool known = false;
    sqlite3_stmt *stmt = stage_prepare(st, "", sqlite3_mprintf("%s", query));
    sqlite3_bind_text(stmt, 1, of, -1, SQLITE_STATIC);
    while (stmt && count < STAGE_NAMES && sqlite3_step(stmt) == SQLITE_ROW) {
        names[count] = str_dup(str_of((const char *)sqlite3_column_text(stmt, 0)));
        known = known || str_eq_nocase(str_of(names[count]), str_of(name));
        count++;
    }
    sqlite3_finalize(stmt);
    const char *near = str_nearest(str_of(name), names);
    hint[0] = '\0';
    if (near)
        snprintf(hint, 128, " (did you mean %.80s?)", near);
    for (size_t i = 0; i < count; i++)
        free((char *)(uintptr_t)names[i]);
    return known;
}

/* ---- the rules that read a table ---- */

static bool stage_reads(const struct rule_options *o, const char *table)
{
    return o->tables ? instance_fits(o, str_of(table)) : o->table && str_eq_nocase(str_of(o->table), str_of(table));
}

/* The column by which a row of the table is known. */
static const char *stage_key(const struct staging *st, const char *table)
{
    for (size_t i = 0; i < st->s->rule_count; i++)
        if (stage_reads(st->s->rules[i]->o, table))
            return st->s->rules[i]->o->key;
    return "id";
}

/* ---- tables by what is said of them ---- */

static void stage_add_column(json_t *columns, const char *name)
{
    const char *known;
    json_t *value;
    json_object_foreach(columns, known, value)
    {
        if (str_eq_nocase(str_of(known), str_of(name)))
            return;
    }
    json_object_set_new(columns, name, json_null());
}

static void stage_add_columns(json_t *columns, const struct strings *names)
{
    for (size_t i = 0; i < names->count; i++)
        stage_add_column(columns, names->at[i]);
}

/* Those that a rule's options name as columns: they are there, whatever a row says. */
static void stage_add_of_rule(json_t *columns, const struct rule_options *o)
{
    const char *const one[] = { o->key, o->cursor, o->time, o->type_column };
    for (size_t i = 0; i < sizeof one / sizeof *one; i++)
        if (one[i] && !str_eq_nocase(str_of(one[i]), STR("rowid")))
            stage_add_column(columns, one[i]);
    stage_add_columns(columns, &o->watch);
    stage_add_columns(columns, &o->keep);
    stage_add_columns(columns, &o->never);
    stage_add_columns(columns, &o->content_columns);
    for (size_t i = 0; i < o->columns.count; i++)
        stage_add_column(columns, o->columns.at[i].key);
}

static void stage_add_of_rows(json_t *columns, const json_t *rows)
{
    size_t i;
    const json_t *row;
    const char *name;
    json_t *value;
    json_array_foreach(rows, i, row)
    {
        json_object_foreach((json_t *)(uintptr_t)row, name, value) stage_add_column(columns, name);
    }
}

/* How the key is declared, so that it is what applications have: whole numbers are the rowid. */
static const char *stage_key_type(const json_t *const rows[2], const char *key)
{
    const char *type = " INTEGER";
    size_t i;
    const json_t *row;
    for (int k = 0; k < 2; k++)
        json_array_foreach(rows[k], i, row)
        {
            const json_t *value = json_object_get(row, key);
            if (json_is_string(value))
                type = " TEXT";
            else if (value && !json_is_integer(value) && !json_is_null(value))
                type = "";
        }
    return type;
}

static bool stage_make_table(struct staging *st, const char *table, const char *place)
{
    const json_t *const rows[2] = { json_object_get(st->of->before, table), json_object_get(st->of->after, table) };
    const char *key = stage_key(st, table), *name, *comma = "";
    json_t *columns = json_object(), *value;
    stage_add_of_rows(columns, rows[0]);
    stage_add_of_rows(columns, rows[1]);
    bool said = json_object_size(columns) > 0;
    for (size_t i = 0; i < st->s->rule_count; i++)
        if (stage_reads(st->s->rules[i]->o, table))
            stage_add_of_rule(columns, st->s->rules[i]->o);
    sqlite3_str *sql = sqlite3_str_new(st->db);
    sqlite3_str_appendf(sql, "CREATE TABLE \"%w\"(", table);
    json_object_foreach(columns, name, value)
    {
        sqlite3_str_appendf(sql, "%s\"%w\"", comma, name);
        if (str_eq_nocase(str_of(name), str_of(key)))
            sqlite3_str_appendf(sql, "%s PRIMARY KEY", stage_key_type(rows, name));
        comma = ",";
    }
    sqlite3_str_appendall(sql, ")");
    char *text = sqlite3_str_finish(sql);
    json_decref(columns);
    if (said)
        return stage_do(st, place, text);
    sqlite3_free(text);
    return stage_fail(st, place, "no row says which columns the table has: say a row, or name a schema");
}

/* It is there, or is made; each of its rows is one. */
static bool stage_check_table(struct staging *st, const char *when, const char *table, const json_t *rows)
{
    static const char all[] = "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND ?1 <> ''";
    char place[STAGE_PLACE], hint[128];
    size_t i;
    const json_t *row;
    snprintf(place, sizeof place, "%s.%.100s", when, table);
    if (!json_is_array(rows))
        return stage_fail(st, place, "a table has a list of its rows: [{id: 1}]; [] for none");
    json_array_foreach(rows, i, row)
    {
        snprintf(place, sizeof place, "%s.%.100s[%zu]", when, table, i);
        if (!json_is_object(row))
            return stage_fail(st, place, "a row is a mapping of its columns: {id: 1}");
    }
    snprintf(place, sizeof place, "%s.%.100s", when, table);
    if (stage_knows(st, all, table, table, hint))
        return true;
    if (st->of->schema)
        return stage_fail(st, place, "there is no table %.80s in %.100s%s", table, st->of->schema, hint);
    return stage_make_table(st, table, place);
}

static void stage_check_tables(struct staging *st, const char *when, const json_t *tables)
{
    const char *table;
    json_t *rows;
    if (tables && !json_is_object(tables))
        stage_fail(st, when, "is a mapping of tables: {people: [{id: 1}]}");
    json_object_foreach((json_t *)(uintptr_t)tables, table, rows) stage_check_table(st, when, table, rows);
}

/* ---- tables by a schema ---- */

/* SQLite's own tables, which `.schema` prints too, make themselves. */
static void stage_blank_own(char *text)
{
    static const char own[] = "CREATE TABLE sqlite_";
    for (char *at = text; (at = strstr(at, own));)
        while (*at && *at != ';')
            *at++ = ' ';
}

static bool stage_run_schema(struct staging *st, const struct buf *text)
{
    char *sql = str_dup(buf_str(text)), *said = NULL;
    stage_blank_own(sql);
    bool done = sqlite3_exec(st->db, sql, NULL, NULL, &said) == SQLITE_OK;
    if (!done)
        stage_fail(st, "schema", "%.200s: %s", st->of->schema, said ? said : sqlite3_errmsg(st->db));
    sqlite3_free(said);
    free(sql);
    return done;
}

/* What a database has beside rows, read as the source would. A table that another one brings along (of FTS5) is there by
 * then. */
static bool stage_copy_schema(struct staging *st)
{
    static const char sql[] = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%'"
                              " ESCAPE '\\' ORDER BY type <> 'table', sql NOT LIKE 'CREATE VIRTUAL%', rowid";
    struct err e = { "" };
    bool refused;
    sqlite3_stmt *stmt = NULL;
    char *path = st->s->path;
    st->s->path = (char *)(uintptr_t)st->of->schema;
    enum db state = review_open(st->s, &refused, &e);
    if (state == DB_OK && sqlite3_prepare_v2(st->s->db, sql, -1, &stmt, NULL) == SQLITE_OK)
        while (sqlite3_step(stmt) == SQLITE_ROW)
            sqlite3_exec(st->db, (const char *)sqlite3_column_text(stmt, 0), NULL, NULL, NULL);
    sqlite3_finalize(stmt);
    if (state == DB_OK)
        database_close(st->s);
    else
        stage_fail(st, "schema", "%.200s", state == DB_BUSY ? "is locked, as its application is writing" : e.text);
    st->s->path = path;
    return state == DB_OK;
}

static bool stage_load_schema(struct staging *st)
{
    struct buf text = buf_new(STAGE_SCHEMA + 1);
    bool read = file_read(st->of->schema, STAGE_SCHEMA, &text);
    int why = errno;
    bool database = str_starts(buf_str(&text), STR("SQLite format 3")), good = false;
    if (database)
        good = stage_copy_schema(st);
    else if (!read)
        stage_fail(st, "schema", "%.200s: %s", st->of->schema, strerror(why));
    else
        good = stage_run_schema(st, &text);
    buf_free(&text);
    return good;
}

/* ---- rows ---- */

static void stage_bind(sqlite3_stmt *stmt, int at, const json_t *value)
{
    if (json_is_integer(value))
        sqlite3_bind_int64(stmt, at, json_integer_value(value));
    else if (json_is_real(value))
        sqlite3_bind_double(stmt, at, json_real_value(value));
    else if (json_is_boolean(value))
        sqlite3_bind_int(stmt, at, json_is_true(value));
    else if (json_is_string(value))
        sqlite3_bind_text(stmt, at, json_string_value(value), (int)json_string_length(value), SQLITE_TRANSIENT);
    else if (!json_is_null(value))
        sqlite3_bind_text(stmt, at, json_short(value, JSON_COMPACT), -1, free);
}

static bool stage_step(struct staging *st, const char *place, sqlite3_stmt *stmt)
{
    int rc = stmt ? sqlite3_step(stmt) : SQLITE_ERROR;
    if (stmt && rc != SQLITE_DONE && rc != SQLITE_ROW)
        stage_fail(st, place, "%s", sqlite3_errmsg(st->db));
    sqlite3_finalize(stmt);
    return stmt && (rc == SQLITE_DONE || rc == SQLITE_ROW);
}

static bool stage_has_columns(struct staging *st, const char *table, json_t *row, const char *place)
{
    static const char all[] = "SELECT name FROM pragma_table_xinfo(?1)";
    char at[STAGE_PLACE], hint[128];
    const char *name;
    json_t *value;
    bool all_there = true;
    json_object_foreach(row, name, value)
    {
        bool own = str_eq_nocase(str_of(name), STR("rowid"));
        if (own || stage_knows(st, all, table, name, hint))
            continue;
        snprintf(at, sizeof at, "%.150s.%.100s", place, name);
        all_there = stage_fail(st, at, "table %.80s of %.100s has no column %.80s%s", table, st->of->schema, name,
                               hint);
    }
    return all_there;
}

static bool stage_insert(struct staging *st, const char *table, json_t *row, const char *place)
{
    const char *name, *comma = "";
    json_t *value;
    int at = 0;
    sqlite3_str *sql = sqlite3_str_new(st->db), *values = sqlite3_str_new(st->db);
    sqlite3_str_appendf(sql, "INSERT INTO \"%w\"", table);
    json_object_foreach(row, name, value)
    {
        sqlite3_str_appendf(sql, "%s\"%w\"", at ? "," : "(", name);
        sqlite3_str_appendf(values, "%s?%d", comma, ++at);
        comma = ",";
    }
    char *marks = sqlite3_str_finish(values);
    if (at)
        sqlite3_str_appendf(sql, ") VALUES(%s)", marks);
    else
        sqlite3_str_appendall(sql, " DEFAULT VALUES");
    sqlite3_free(marks);
    sqlite3_stmt *stmt = stage_prepare(st, place, sqlite3_str_finish(sql));
    at = 0;
    json_object_foreach(row, name, value) stage_bind(stmt, ++at, value);
    return stage_step(st, place, stmt);
}

/* Of the row of that key; *found: there is one. */
static bool stage_update(struct staging *st, const char *table, const char *key, json_t *row, const char *place,
                         bool *found)
{
    const char *name;
    json_t *value;
    int at = 1;
    sqlite3_str *sql = sqlite3_str_new(st->db);
    sqlite3_str_appendf(sql, "UPDATE \"%w\" SET ", table);
    json_object_foreach(row, name, value)
    {
        sqlite3_str_appendf(sql, "%s\"%w\" = ?%d", at > 1 ? "," : "", name, at + 1);
        at++;
    }
    sqlite3_str_appendf(sql, " WHERE \"%w\" IS ?1", key);
    sqlite3_stmt *stmt = stage_prepare(st, place, sqlite3_str_finish(sql));
    stage_bind(stmt, 1, json_object_get(row, key));
    at = 1;
    json_object_foreach(row, name, value) stage_bind(stmt, ++at, value);
    bool good = stage_step(st, place, stmt);
    *found = good && sqlite3_changes(st->db) > 0;
    return good;
}

/* The rows of before whose key no row of after has. */
static void stage_delete_gone(struct staging *st, const char *table, const char *key, const json_t *after)
{
    const json_t *before = json_object_get(st->of->before, table), *row, *other;
    size_t i, k;
    json_array_foreach(before, i, row)
    {
        char place[STAGE_PLACE];
        const json_t *value = json_object_get(row, key);
        bool stays = false;
        snprintf(place, sizeof place, "before.%.100s[%zu]", table, i);
        if (!value) {
            stage_fail(st, place, "has no %.80s, by which `after` knows the row", key);
            continue;
        }
        json_array_foreach(after, k, other) stays = stays || json_equal(json_object_get(other, key), value);
        if (stays)
            continue;
        sqlite3_stmt *stmt = stage_prepare(st, place,
                                           sqlite3_mprintf("DELETE FROM \"%w\" WHERE \"%w\" IS ?1", table, key));
        stage_bind(stmt, 1, value);
        stage_step(st, place, stmt);
    }
}

static void stage_put(struct staging *st, const char *when, const char *table, const json_t *rows, bool change)
{
    const char *key = stage_key(st, table);
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        char place[STAGE_PLACE];
        bool found = false;
        snprintf(place, sizeof place, "%s.%.100s[%zu]", when, table, i);
        if (!stage_has_columns(st, table, row, place))
            continue;
        if (change && json_object_get(row, key) && !stage_update(st, table, key, row, place, &found))
            continue;
        if (!found)
            stage_insert(st, table, row, place);
    }
}

/* ---- the whole ---- */

static void stage_make_outboxes(struct staging *st)
{
    for (size_t i = 0; i < st->s->rule_count; i++) {
        const struct rule_options *o = st->s->rules[i]->o;
        struct trigger_plan p = { 0 };
        struct err e;
        if (o->kind == KIND_OUTBOX && triggers_plan(st->db, st->s->base.id, o, false, &p, &e)) {
            if (!triggers_has(st->db, &p, "", NULL))
                stage_do(st, "", sqlite3_mprintf("%s", p.create));
            for (enum trigger_op op = TRIGGER_INSERT; op < TRIGGER_OPS; op++)
                if (p.sql[op] && triggers_state(st->db, &p, op) == TRIGGER_MISSING)
                    stage_do(st, "", sqlite3_mprintf("%s", p.sql[op]));
        }
        triggers_free(&p);
    }
}

static bool stage_open(struct staging *st)
{
    const char *tmp = getenv("TMPDIR");
    char *folder = str_join(tmp && *tmp ? tmp : "/tmp", "/aqueduct-rows-XXXXXX", "");
    if (!mkdtemp(folder)) {
        stage_fail(st, "", "%.200s: %s; TMPDIR says where a folder for the rows is made", folder, strerror(errno));
        free(folder);
        return false;
    }
    st->folder = folder;
    st->path = str_join(folder, "/rows.db", "");
    if (sqlite3_open_v2(st->path, &st->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK)
        return stage_fail(st, "", "%s: %s", st->path, sqlite3_errmsg(st->db));
    return stage_do(st, "", sqlite3_mprintf("PRAGMA synchronous = OFF"));
}

struct staging *stage_new(const struct staged *of, fault_fn *wrong, void *ctx)
{
    struct staging *st = mem_alloc(sizeof *st);
    *st = (struct staging){ .of = of, .wrong = wrong, .ctx = ctx, .good = true };
    if (stage_open(st))
        return st;
    stage_free(st);
    return NULL;
}

bool stage_fill(struct staging *st, struct sqlite_source *s)
{
    const char *table;
    json_t *rows;
    st->s = s;
    if (!st->of->schema || stage_load_schema(st)) {
        stage_check_tables(st, "before", st->of->before);
        stage_check_tables(st, "after", st->of->after);
    }
    if (st->good)
        json_object_foreach((json_t *)(uintptr_t)st->of->before, table, rows)
            stage_put(st, "before", table, rows, false);
    if (st->good)
        stage_make_outboxes(st);
    return st->good;
}

bool stage_change(struct staging *st)
{
    const char *table;
    json_t *rows;
    stage_do(st, "", sqlite3_mprintf("BEGIN IMMEDIATE"));
    json_object_foreach((json_t *)(uintptr_t)st->of->after, table, rows)
    {
        stage_delete_gone(st, table, stage_key(st, table), rows);
        stage_put(st, "after", table, rows, true);
    }
    if (st->good)
        stage_do(st, "", sqlite3_mprintf("COMMIT"));
    return st->good;
}

const char *stage_path(const struct staging *st)
{
    return st->path;
}

void stage_free(struct staging *st)
{
    if (!st)
        return;
    sqlite3_close(st->db);
    if (st->path)
        unlink(st->path);
    if (st->folder)
        rmdir(st->folder);
    free(st->path);
    free(st->folder);
    free(st);
}
