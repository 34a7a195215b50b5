/* SPDX-License-Identifier: MIT */
/* A capture rule: its options, checked; its SQL, prepared against the tables that are there now. */
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "connectors/sqlite/value.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

static const struct option_value rule_kinds[] = {
    { KIND_APPEND, "append" }, { KIND_OPEN_ROW, "open_row" }, { KIND_DIFF, "diff" }, { 0 }
};

const struct option rule_rows[] = {
    OPTION(struct rule_options, name, .required = true,
           .doc = "Names the rule; its state is kept under this name, so do not change it later (a-z 0-9 _ -)."),
    OPTION(
        struct rule_options, kind, .required = true, .values = rule_kinds,
        .doc =
            "append: rows are only added; open_row: added unfinished and finished later; diff: inserts, updates and deletes by comparing."),
    OPTION(struct rule_options, table, .doc = "The table; with `select`, the table that the keys come from."),
    OPTION(struct rule_options, select,
           .doc = "A SELECT to read instead of the table, for joins; it must yield the key column."),
    OPTION(struct rule_options, where, .doc = "SQL condition: only these rows."),
    OPTION(struct rule_options, key, .fallback = "id", .doc = "Column that identifies a row; must have an index."),
    OPTION(struct rule_options, cursor, .doc = "append: column that grows with each row; default: the key."),
    OPTION(struct rule_options, time,
           .doc = "Column that says when the row was made; becomes the event's time (any usual format, also mixed)."),
    OPTION(struct rule_options, done, .doc = "open_row: SQL condition that is true once the row is finished."),
    OPTION(
        struct rule_options, abort_after, .fallback = "30m", .min = 1,
        .doc =
            "open_row: a row that is still unfinished then is reported as aborted (and watched 48 times as long, should it finish after all)."),
    OPTION(struct rule_options, type_column, .doc = "append: column whose value chooses the type in `types`."),
    OPTION(
        struct rule_options, types, .required = true,
        .doc =
            "Event types. append: by the value of type_column, else \"*\"; open_row: started, done, aborted; diff: insert, delete, "
            "a watched column (pinned), its new value (pinned=1), else update. What is not named gives no event. {column} is replaced."),
    OPTION(struct rule_options, subject, .doc = "The event's subject, for example chats/{id}; default: <table>/{key}."),
    OPTION(struct rule_options, columns,
           .doc = "The columns of the event's data and their form: value, json, bool or time; default: all."),
    OPTION(struct rule_options, never, .doc = "Columns that are never read (passwords, keys)."),
    OPTION(struct rule_options, mask, .doc = "Members of json columns, at any depth, whose values become \"***\"."),
    OPTION(struct rule_options, watch, .doc = "diff: columns whose change is an update."),
    OPTION(struct rule_options, keep,
           .doc = "diff: columns kept in the state, so that a delete can still tell them (at most 4 KiB a row)."),
    OPTION(struct rule_options, last,
           .doc = "diff: look only at the newest keys, so many below the largest (whole-number keys); 0: at all."),
    { 0 }
};

static bool has(const struct strings *list, struct str name)
{
    for (size_t i = 0; i < list->count; i++)
        if (str_eq_nocase(str_of(list->at[i]), name))
            return true;
    return false;
}

static bool has_entry(const struct map *map, const char *name)
{
    for (size_t i = 0; i < map->count; i++)
        if (str_eq_nocase(str_of(map->at[i].key), str_of(name)))
            return true;
    return false;
}

static bool good_name(const char *name)
{
    size_t n = strlen(name);
    return n >= 1 && n <= 40 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == n;
}

static bool form_of(const char *text, enum form *out)
{
    static const char *const names[] = { "value", "json", "bool", "time" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(text, names[i]) == 0) {
            *out = (enum form)i;
            return true;
        }
    return false;
}

/* Is `op` something that a rule of this kind can report? */
static bool good_op(const struct rule_options *o, const char *op)
{
    struct str rest = str_of(op), column = { 0 };
    switch (o->kind) {
    case KIND_APPEND: return o->type_column || strcmp(op, "insert") == 0 || strcmp(op, "*") == 0;
    case KIND_OPEN_ROW: return strcmp(op, "started") == 0 || strcmp(op, "done") == 0 || strcmp(op, "aborted") == 0;
    case KIND_DIFF:
        return strcmp(op, "insert") == 0 || strcmp(op, "delete") == 0 || strcmp(op, "update") == 0
               || (str_cut(&rest, '=', &column) && has(&o->watch, column));
    }
    return false;
}

static bool check_types(const struct rule_options *o, struct err *e)
{
    for (size_t i = 0; i < o->types.count; i++) {
        const struct map_entry *t = &o->types.at[i];
        if (!good_op(o, t->key))
            return err_set(e, "types: \"%s\" is nothing that a rule of kind %s reports%s", t->key,
                           rule_kinds[o->kind].text,
                           o->kind == KIND_DIFF ? " (insert, delete, update, or a column named in watch)" : "");
        for (const char *c = t->value; *c; c++)
            if (!isalnum((unsigned char)*c) && !strchr("_.{}", *c))
                return err_set(e, "types: \"%s\" is no event type (letters, digits, _ and .)", t->value);
        if (!*t->value)
            return err_set(e, "types: %s has no event type", t->key);
    }
    return o->types.count || err_set(e, "types: at least one is needed");
}

static bool check_columns(const struct rule_options *o, struct err *e)
{
    for (size_t i = 0; i < o->columns.count; i++) {
        enum form form;
        if (!form_of(o->columns.at[i].value, &form))
            return err_set(e, "columns: %s: \"%s\" is no form (value, json, bool or time)", o->columns.at[i].key,
                           o->columns.at[i].value);
        if (has(&o->never, str_of(o->columns.at[i].key)))
            return err_set(e, "columns: %s is listed in never", o->columns.at[i].key);
    }
    for (size_t i = 0; i < o->watch.count; i++)
        if (has(&o->never, str_of(o->watch.at[i])))
            return err_set(e, "watch: %s is listed in never", o->watch.at[i]);
    for (size_t i = 0; i < o->keep.count; i++) {
        if (has(&o->never, str_of(o->keep.at[i])))
            return err_set(e, "keep: %s is listed in never", o->keep.at[i]);
        if (o->columns.count && !has_entry(&o->columns, o->keep.at[i]))
            return err_set(e, "keep: %s is not among the columns", o->keep.at[i]);
    }
    return o->watch.count <= RULE_WATCH || err_set(e, "watch: at most %d columns", RULE_WATCH);
}

static bool check(const struct rule_options *o, struct err *e)
{
    enum kind kind = o->kind;
    if (!o->table && !o->select)
        return err_set(e, "needs a table or a select");
    if (kind == KIND_OPEN_ROW && !o->done)
        return err_set(e, "done is missing: when is a row finished?");
    if (kind != KIND_OPEN_ROW && o->done)
        return err_set(e, "done belongs to kind open_row");
    if (kind != KIND_APPEND && o->cursor)
        return err_set(e, "cursor belongs to kind append");
    if (kind != KIND_APPEND && o->type_column)
        return err_set(e, "type_column belongs to kind append");
    if (kind != KIND_DIFF && (o->watch.count || o->keep.count || o->last))
        return err_set(e, "watch, keep and last belong to kind diff");
    if (kind == KIND_DIFF && o->subject && rule_type(&(struct rule){ .o = o }, STR("delete"))) {
        const char *brace = strchr(o->subject, '{');
        if (brace
            && (strncmp(brace + 1, o->key, strlen(o->key)) != 0 || brace[1 + strlen(o->key)] != '}'
                || strchr(brace + 1, '{')))
            return err_set(e, "subject: \"%s\" may only name the key {%s}, all that is known of a deleted row",
                           o->subject, o->key);
    }
    return check_types(o, e) && check_columns(o, e);
}

bool rule_check(const struct rule_options *o, struct err *e)
{
    if (!good_name(o->name))
        return err_set(e, "capture: \"%s\" is no name for a rule (1 to 40 of a-z 0-9 _ -)", o->name);
    return check(o, e) || err_prefix(e, "capture: %s", o->name);
}

struct rule *rule_new(struct str name)
{
    struct rule *r = mem_alloc(sizeof *r);
    r->name = str_dup(name);
    return r;
}

void rule_attach(struct rule *r, const struct rule_options *o)
{
    r->o = o;
}

const char *rule_type(const struct rule *r, struct str op)
{
    for (size_t i = 0; i < r->o->types.count; i++)
        if (str_eq(str_of(r->o->types.at[i].key), op))
            return r->o->types.at[i].value;
    return NULL;
}

uint64_t rule_signature(const struct rule *r)
{
    struct buf names = buf_new(64 << 10);
    for (size_t i = 0; i < r->o->watch.count; i++) {
        buf_add_c(&names, r->o->watch.at[i]);
        buf_add_char(&names, '\n');
    }
    uint64_t signature = str_hash(buf_str(&names));
    buf_free(&names);
    return signature ? signature : 1;
}

void rule_trouble(struct sqlite_source *s, struct rule *r, const char *text)
{
    if (strncmp(r->trouble, text, sizeof r->trouble - 1) == 0)
        return;
    snprintf(r->trouble, sizeof r->trouble, "%s", text);
    LOG(WARN, "a capture rule does not fit this database; what fits goes on", LOG_C("source", s->base.id),
        LOG_C("rule", r->name), LOG_C("why", text));
}

/* ---- SQL ---- */

static void add_source(sqlite3_str *sql, const struct rule_options *o)
{
    if (o->select)
        sqlite3_str_appendf(sql, "(%s\n)", o->select);
    else
        sqlite3_str_appendf(sql, "\"%w\"", o->table);
}

static void add_column(sqlite3_str *sql, const char *name, const char *otherwise)
{
    if (name)
        sqlite3_str_appendf(sql, "\"%w\",", name);
    else
        sqlite3_str_appendf(sql, "%s,", otherwise);
}

/* SELECT <head, watch, data> FROM <source> WHERE 1 */
static void add_select(sqlite3_str *sql, const struct rule *r, bool data)
{
    const struct rule_options *o = r->o;
    sqlite3_str_appendall(sql, "SELECT ");
    add_column(sql, o->key, NULL);
    add_column(sql, o->cursor ? o->cursor : o->key, NULL);
    add_column(sql, o->time, "NULL");
    sqlite3_str_appendf(sql, "(%s\n)", o->done ? o->done : "1");
    for (size_t i = 0; i < o->watch.count; i++)
        sqlite3_str_appendf(sql, r->lacks[i] ? ",NULL" : ",\"%w\"", o->watch.at[i]);
    for (int i = 0; data && i < r->field_count; i++)
        sqlite3_str_appendf(sql, ",\"%w\"", r->fields[i].name);
    sqlite3_str_appendall(sql, " FROM ");
    add_source(sql, o);
    sqlite3_str_appendall(sql, " WHERE 1");
}

static void add_where(sqlite3_str *sql, const struct rule *r)
{
    if (r->o->where)
        sqlite3_str_appendf(sql, " AND (%s\n)", r->o->where);
}

/* Takes sql. False: *why says what SQLite thinks of it. */
static bool prepare(struct sqlite_source *s, sqlite3_str *sql, sqlite3_stmt **out, char *why, size_t size)
{
    char *text = sqlite3_str_finish(sql);
    CHECK(text);
    const char *tail = "";
    int rc = sqlite3_prepare_v3(s->db, text, -1, SQLITE_PREPARE_PERSISTENT, out, &tail);
    if (rc != SQLITE_OK)
        snprintf(why, size, "%s", sqlite3_errmsg(s->db));
    else if (!*out || tail[strspn(tail, " \t\r\n;")])
        snprintf(why, size, "one SELECT is wanted, without a semicolon");
    bool good = rc == SQLITE_OK && *out && !tail[strspn(tail, " \t\r\n;")];
    sqlite3_free(text);
    return good;
}

static bool there(sqlite3_stmt *probe, const char *name)
{
    for (int i = 0; i < sqlite3_column_count(probe); i++)
        if (str_eq_nocase(str_of(sqlite3_column_name(probe, i)), str_of(name)))
            return true;
    return false;
}

static bool there_or_rowid(const struct rule_options *o, sqlite3_stmt *probe, const char *name)
{
    return there(probe, name) || (!o->select && str_eq_nocase(str_of(name), STR("rowid")));
}

static void add_field(struct rule *r, const char *name, enum form form)
{
    r->fields = mem_grow(r->fields, (size_t)r->field_count + 1, sizeof *r->fields);
    r->fields[r->field_count++] = (struct field){ .name = str_dup(str_of(name)),
                                                  .form = form,
                                                  .keep = has(&r->o->keep, str_of(name)) };
}

/* The data columns that are there; those that are not are named in `missing`. */
static void choose_fields(struct rule *r, sqlite3_stmt *probe, struct buf *missing)
{
    const struct rule_options *o = r->o;
    for (size_t i = 0; i < o->columns.count; i++) {
        enum form form = FORM_VALUE;
        form_of(o->columns.at[i].value, &form);
        if (there(probe, o->columns.at[i].key))
            add_field(r, o->columns.at[i].key, form);
        else
            buf_printf(missing, "%s%s", missing->n ? ", " : "", o->columns.at[i].key);
    }
    for (int i = 0; o->columns.count == 0 && i < sqlite3_column_count(probe); i++)
        if (!has(&o->never, str_of(sqlite3_column_name(probe, i))))
            add_field(r, sqlite3_column_name(probe, i), FORM_VALUE);
    for (size_t i = 0; i < o->watch.count; i++) {
        r->lacks[i] = !there(probe, o->watch.at[i]);
        if (r->lacks[i])
            buf_printf(missing, "%s%s", missing->n ? ", " : "", o->watch.at[i]);
    }
}

static bool probe_columns(struct sqlite_source *s, struct rule *r, char *why, size_t size)
{
    const struct rule_options *o = r->o;
    sqlite3_stmt *probe = NULL;
    sqlite3_str *sql = sqlite3_str_new(s->db);
    sqlite3_str_appendall(sql, "SELECT * FROM ");
    add_source(sql, o);
    if (!prepare(s, sql, &probe, why, size)) {
        sqlite3_finalize(probe);
        return false;
    }
    const char *needed[] = { o->key, o->cursor ? o->cursor : o->key, o->time ? o->time : o->key,
                             o->type_column ? o->type_column : o->key };
    const char *lacking = NULL;
    for (size_t i = 0; i < sizeof needed / sizeof *needed && !lacking; i++)
        if (!there_or_rowid(o, probe, needed[i]))
            lacking = needed[i];
    struct buf missing = buf_new(256);
    if (!lacking)
        choose_fields(r, probe, &missing);
    else
        snprintf(why, size, "there is no column %s in %s", lacking, o->table ? o->table : "the select");
    if (missing.n) {
        char text[320];
        snprintf(text, sizeof text, "left out, as this version of the database does not have them: %s",
                 buf_c(&missing) ? buf_c(&missing) : "many columns");
        rule_trouble(s, r, text);
    }
    buf_free(&missing);
    sqlite3_finalize(probe);
    return lacking == NULL;
}

/* The row a cursor or a guard looks at, without the rule's condition. */
static bool prepare_guards(struct sqlite_source *s, struct rule *r, char *why, size_t size)
{
    const char *cursor = r->o->cursor ? r->o->cursor : r->o->key;
    sqlite3_str *max = sqlite3_str_new(s->db);
    sqlite3_str_appendf(max, "SELECT max(\"%w\") FROM ", cursor);
    add_source(max, r->o);
    if (!prepare(s, max, &r->max, why, size))
        return false;
    if (r->o->kind == KIND_DIFF)
        return true;
    sqlite3_str *at = sqlite3_str_new(s->db);
    add_select(at, r, false);
    sqlite3_str_appendf(at, " AND \"%w\" = ?1", cursor);
    if (!prepare(s, at, &r->at_cursor, why, size))
        return false;
    sqlite3_stmt
        *sequence = NULL; /* of AUTOINCREMENT; the table sqlite_sequence is only there when some table uses it */
    if (r->o->table
        && sqlite3_prepare_v2(s->db, "SELECT seq FROM sqlite_sequence WHERE name = ?1 COLLATE NOCASE", -1, &sequence,
                              NULL)
               == SQLITE_OK)
        sqlite3_bind_text(sequence, 1, r->o->table, -1, SQLITE_STATIC);
    r->sequence = sequence;
    return true;
}

static bool prepare_rows(struct sqlite_source *s, struct rule *r, char *why, size_t size)
{
    const char *cursor = r->o->cursor ? r->o->cursor : r->o->key;
    for (int next = 0; next <= 1; next++) {
        sqlite3_str *sql = sqlite3_str_new(s->db);
        add_select(sql, r, r->o->kind != KIND_DIFF);
        add_where(sql, r);
        sqlite3_str_appendf(sql, next || r->o->last ? " AND \"%w\" > ?1" : " AND \"%w\" IS NOT NULL", cursor);
        sqlite3_str_appendf(sql, " ORDER BY \"%w\" LIMIT ?2", cursor);
        if (!prepare(s, sql, next ? &r->next : &r->first, why, size))
            return false;
    }
    sqlite3_str *get = sqlite3_str_new(s->db);
    add_select(get, r, true);
    sqlite3_str_appendf(get, " AND \"%w\" = ?1", r->o->key);
    if (!prepare(s, get, &r->get, why, size))
        return false;
    sqlite3_str *recent = sqlite3_str_new(s->db);
    add_select(recent, r, false);
    add_where(recent, r);
    sqlite3_str_appendf(recent, " ORDER BY \"%w\" DESC LIMIT %d", cursor, RECENT_ROWS);
    return prepare(s, recent, &r->recent, why, size);
}

static bool table_missing(struct sqlite_source *s, const struct rule *r)
{
    sqlite3_stmt *stmt = NULL;
    bool missing = false;
    if (r->o->table
        && sqlite3_prepare_v2(s->db, "SELECT 1 FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE", -1, &stmt, NULL)
               == SQLITE_OK) {
        sqlite3_bind_text(stmt, 1, r->o->table, -1, SQLITE_STATIC);
        missing = sqlite3_step(stmt) == SQLITE_DONE;
    }
    sqlite3_finalize(stmt);
    return missing;
}

void rule_compile(struct sqlite_source *s, struct rule *r)
{
    char why[WHY_BYTES] = "";
    rule_finalize(r);
    r->no_table = table_missing(s, r);
    r->usable = probe_columns(s, r, why, sizeof why) && prepare_rows(s, r, why, sizeof why)
                && prepare_guards(s, r, why, sizeof why);
    if (r->usable)
        return;
    rule_finalize(r);
    rule_trouble(s, r, why);
}

void rule_finalize(struct rule *r)
{
    sqlite3_stmt **all[] = { &r->first, &r->next, &r->get, &r->recent, &r->at_cursor, &r->max, &r->sequence };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        sqlite3_finalize(*all[i]);
        *all[i] = NULL;
    }
    for (int i = 0; i < r->field_count; i++)
        free(r->fields[i].name);
    free(r->fields);
    r->fields = NULL;
    r->field_count = 0;
    r->usable = false;
    sqlite3_value_free(r->at);
    r->at = NULL;
    r->phase = PHASE_BEGIN;
}

void rule_free(struct rule *r)
{
    rule_finalize(r);
    rows_free(&r->rows);
    free(r->cursor);
    free(r->name);
    free(r);
}

/* ---- state ---- */

static bool take_hex(struct str text, uint64_t *out)
{
    if (text.n == 0 || text.n > 16)
        return false;
    *out = 0;
    for (size_t i = 0; i < text.n; i++) {
        const char *digits = "0123456789abcdef", *d = strchr(digits, text.at[i]);
        if (!d || !*d)
            return false;
        *out = *out << 4 | (uint64_t)(d - digits);
    }
    return true;
}

/* "<version> <hash,hash,...> <kept>" */
static struct row *row_of(struct str key, struct str value)
{
    struct str version, list, hash;
    uint64_t number, hashes[RULE_WATCH];
    size_t count = 0;
    if (!str_cut(&value, ' ', &version) || !str_to_u64(version, &number) || !str_cut(&value, ' ', &list))
        return NULL;
    while (list.n && str_cut(&list, ',', &hash)) {
        if (count == RULE_WATCH || !take_hex(hash, &hashes[count++]))
            return NULL;
    }
    return row_new(key, number, hashes, count, value);
}

static bool restore_row(struct rule *r, struct str key, struct str value, bool ahead)
{
    struct row *known = rows_find(&r->rows, key);
    if (!value.at) {
        if (known && ahead)
            known->maybe_gone = true;
        else
            rows_remove(&r->rows, key);
        return true;
    }
    struct row *row = row_of(key, value);
    if (!row)
        return false;
    if (!ahead) {
        rows_put(&r->rows, row);
        return true;
    }
    if (!known) {
        known = row_new(key, 0, NULL, 0, STR_ABSENT);
        known->fresh = true;
        rows_put(&r->rows, known);
    }
    row_free(known->noted);
    known->noted = row;
    return true;
}

/* "<since> <0|1>" */
static bool restore_open(struct rule *r, struct str key, struct str value)
{
    struct str since;
    uint64_t ms;
    if (!value.at) {
        rows_remove(&r->rows, key);
        return true;
    }
    if (!str_cut(&value, ' ', &since) || !str_to_u64(since, &ms)
        || (!str_eq(value, STR("0")) && !str_eq(value, STR("1"))))
        return false;
    struct row *row = row_new(key, ms, NULL, 0, STR_ABSENT);
    row->aborted = str_eq(value, STR("1"));
    rows_put(&r->rows, row);
    return true;
}

static bool restore_cursor(struct rule *r, struct str value)
{
    struct str guard;
    if (!str_cut(&value, ' ', &guard) || !take_hex(guard, &r->guard) || value.n < 1)
        return false;
    free(r->cursor);
    r->cursor = str_dup(value);
    return true;
}

bool rule_restore(struct rule *r, struct str what, struct str value, bool ahead)
{
    if (str_starts(what, STR("row/")) && what.n > 4)
        return restore_row(r, (struct str){ what.at + 4, what.n - 4 }, value, ahead);
    if (ahead)
        return true; /* only rows are noted ahead */
    if (str_starts(what, STR("open/")) && what.n > 5)
        return restore_open(r, (struct str){ what.at + 5, what.n - 5 }, value);
    if (!value.at)
        return true;
    if (str_eq(what, STR("ready"))) {
        r->ready = true;
        return take_hex(value, &r->signature);
    }
    if (str_eq(what, STR("cursor")))
        return restore_cursor(r, value);
    if (str_eq(what, STR("epoch")))
        return str_to_i64(value, &r->epoch);
    return str_eq(what, STR("top")) && str_to_i64(value, &r->top);
}
