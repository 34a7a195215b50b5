/* SPDX-License-Identifier: MIT */
/* Is a rule's cursor and key what it needs them to be? Looked at in the schema and in the newest rows; what is not
 * gets a warning that names the fix. And what a new row has in its watched columns, by the schema. */
#include <stdio.h>
#include <stdlib.h>
#include "connectors/sqlite/sqlite.h"

enum {
    FIT_ROWS = 1000,   /* so many of the newest are looked at */
    FIT_GAP_ROWS = 8,  /* fewer tell nothing of gaps */
    FIT_GAP = 1 << 20, /* between ids on average: no table has so many rows deleted among its newest */
};

#define FIT_LAST         "older rows than `last` reaches are not looked at: what changes in them is not told"
#define FIT_LAST_DELETES FIT_LAST ", nor their deletes; leave `last` out to see all"

/* Runs a query about the table (?1) and a column (?2) that gives one row of numbers. False: it cannot be asked. */
static bool fit_ask(struct sqlite_source *s, char *sql, const char *table, const char *column, int64_t *out, int count)
{
    sqlite3_stmt *stmt = NULL;
    bool good = sql && sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL) == SQLITE_OK;
    if (good && sqlite3_bind_parameter_count(stmt) > 0)
        sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC);
    if (good && sqlite3_bind_parameter_count(stmt) > 1)
        sqlite3_bind_text(stmt, 2, column, -1, SQLITE_STATIC);
    good = good && sqlite3_step(stmt) == SQLITE_ROW;
    for (int i = 0; good && i < count; i++)
        out[i] = sqlite3_column_int64(stmt, i);
    sqlite3_finalize(stmt);
    sqlite3_free(sql);
    return good;
}

static void fit_warn(struct sqlite_source *s, struct rule *r, const char *column, const char *what, const char *fix)
{
    char text[2 * WHY_BYTES];
    snprintf(text, sizeof text, "%.60s %s; %s", column, what, fix);
    rule_warn(s, r, text);
}

static void fit_warn_of_index(struct sqlite_source *s, struct rule *r, const char *column, const char *fix)
{
    char text[2 * WHY_BYTES];
    snprintf(text, sizeof text, "%.60s has no index, so each look reads the whole table; %s", column, fix);
    rule_warn_of_cost(s, r, text);
}

static const char *fit_fix(const struct rule *r)
{
    return r->has_rowid ? "use `cursor: rowid`, or `kind: diff`" : "use `kind: diff`";
}

/* Events of rows with one key have one id. */
static void fit_check_key(struct sqlite_source *s, struct rule *r)
{
    int64_t unique = 1;
    if (r->key_is_rowid || !r->o->table || r->o->select)
        return;
    char *sql = sqlite3_mprintf("SELECT count(*) FROM pragma_index_list(?1) l WHERE l.\"unique\" AND NOT l.partial"
                                " AND (SELECT count(*) FROM pragma_index_info(l.name)) = 1"
                                " AND (SELECT name FROM pragma_index_info(l.name)) = ?2 COLLATE NOCASE");
    if (fit_ask(s, sql, r->o->table, r->o->key, &unique, 1) && unique == 0)
        fit_warn(s, r, r->o->key,
                 r->has_rowid && r->o->kind == KIND_APPEND
                     ? "is the key, but no index makes it unique: rows of one key give events of one subject"
                     : "is the key, but no index makes it unique: rows of one key give events of one id",
                 "name another `key`");
}

/* Does the rule's next statement read the whole table, to sort it? */
static bool fit_sorts(struct sqlite_source *s, const struct rule *r)
{
    sqlite3_stmt *plan = NULL;
    char *sql = sqlite3_mprintf("EXPLAIN QUERY PLAN %s", sqlite3_sql(r->next));
    bool sorts = false;
    if (sql && sqlite3_prepare_v2(s->db, sql, -1, &plan, NULL) == SQLITE_OK)
        while (!sorts && sqlite3_step(plan) == SQLITE_ROW)
            sorts = str_eq(str_of((const char *)sqlite3_column_text(plan, 3)), STR("USE TEMP B-TREE FOR ORDER BY"));
    sqlite3_finalize(plan);
    sqlite3_free(sql);
    return sorts;
}

/* Every look must find the new rows without reading the whole table. */
static void fit_check_index(struct sqlite_source *s, struct rule *r)
{
    if (fit_sorts(s, r))
        fit_warn_of_index(s, r, r->by, r->has_rowid ? "use `cursor: rowid`, or give it one" : "give it one");
}

/* Does the column grow from row to row, and is it of one type? */
static void fit_check_values(struct sqlite_source *s, struct rule *r)
{
    int64_t found[4] = { 0 }; /* smaller than the row before, numbers as text, types, NULL */
    if (!r->o->table)
        return;
    char *sql = sqlite3_mprintf(
        "SELECT sum(v < p), sum(typeof(v) = 'text' AND v GLOB '[0-9]*' AND NOT v GLOB '*[^0-9]*'),"
        " count(DISTINCT CASE typeof(v) WHEN 'real' THEN 'integer' WHEN 'null' THEN NULL ELSE typeof(v) END),"
        " sum(v IS NULL) FROM (SELECT v, lag(v) OVER (ORDER BY i) AS p FROM"
        " (SELECT \"%w\" AS v, rowid AS i FROM \"%w\" ORDER BY rowid DESC LIMIT %d))",
        r->by, r->o->table, FIT_ROWS);
    if (!fit_ask(s, sql, NULL, NULL, found, 4))
        return;
    if (found[1])
        fit_warn(s, r, r->by, "is the cursor and holds numbers as text, of which 10 sorts before 9", fit_fix(r));
    else if (found[0])
        fit_warn(s, r, r->by, "is the cursor, but does not grow from row to row: rows behind it are not captured",
                 fit_fix(r));
    if (found[2] > 1)
        fit_warn(s, r, r->by, "is the cursor and holds values of several types, which do not sort together",
                 fit_fix(r));
    if (found[3])
        fit_warn(s, r, r->by, "is the cursor and is NULL in some rows, which are not captured", fit_fix(r));
}

/* Ids that SQLite hands out follow each other; those of an application may leave gaps, and need not grow. */
static void fit_check_gaps(struct sqlite_source *s, struct rule *r)
{
    int64_t found[2] = { 0 }; /* rows, gap between them on average */
    if (!r->has_rowid)
        return;
    char *sql = sqlite3_mprintf("SELECT count(*), (max(i) * 1.0 - min(i)) / count(*) FROM"
                                " (SELECT rowid AS i FROM \"%w\" ORDER BY rowid DESC LIMIT %d)",
                                r->o->table, FIT_ROWS);
    if (fit_ask(s, sql, NULL, NULL, found, 2) && found[0] >= FIT_GAP_ROWS && found[1] >= FIT_GAP)
        fit_warn(
            s, r, r->by,
            "is the cursor, and its values leave wide gaps: the application chooses them, and a row that comes with "
            "a smaller one than the largest is not captured (but counted as behind)",
            "use `kind: diff`, unless they do grow");
}

/* A declared type whose values are chosen, and do not come in order. */
static bool fit_is_text(const char *type)
{
    static const char *const like[] = { "%char%", "%text%", "%clob%", "%uuid%", "%guid%", "%blob%" };
    for (size_t i = 0; type && i < sizeof like / sizeof *like; i++)
        if (sqlite3_strlike(like[i], type, 0) == 0)
            return true;
    return false;
}

/* Without a rowid the key orders the rows, or those of one cursor: does it grow? A number is taken to. False: it cannot
 * work, *why says what would. */
static bool fit_check_order(struct sqlite_source *s, struct rule *r, char why[WHY_BYTES])
{
    bool by_key = r->then ? str_eq_nocase(str_of(r->then), str_of(r->o->key))
                          : str_eq_nocase(str_of(r->by), str_of(r->o->key));
    const char *type = sqlite3_column_decltype(r->at_cursor, 0);
    if (r->has_rowid || r->key_is_rowid || !by_key || (type && sqlite3_strlike("%int%", type, 0) == 0))
        return true;
    if (!r->o->cursor && fit_is_text(type)) {
        snprintf(
            why, WHY_BYTES,
            "%.30s (%.16s) does not grow, so rows that come with a smaller one would be lost: use `kind: diff`, or "
            "a `cursor` that grows (%.30s, if it does)%s",
            r->o->key, type, r->o->key, r->o->select ? ", or the table itself instead of a select" : "");
        return false;
    }
    fit_warn(s, r, r->o->key,
             r->then ? "is the key, and is not declared a whole number: rows of one value are told apart by the key, "
                       "which does not grow, and those that come behind it are not captured"
                     : "is the cursor and the key, and is not declared a whole number: rows that come with a smaller "
                       "one are not captured",
             "use `kind: diff`");
    return true;
}

/* The value of that SQL expression as text; NULL: it has none. */
static char *fit_value_of(struct sqlite_source *s, const char *expression)
{
    char *sql = sqlite3_mprintf("SELECT %s", expression), *value = NULL;
    sqlite3_stmt *stmt = NULL;
    struct buf text = buf_new(4096);
    if (sql && sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW) {
        value_plain(&text, stmt, 0);
        value = text.failed ? NULL : str_dup(buf_str(&text));
    }
    buf_free(&text);
    sqlite3_finalize(stmt);
    sqlite3_free(sql);
    return value;
}

/* For states that are there already when a row is first seen. */
static void fit_learn_usual(struct sqlite_source *s, struct rule *r)
{
    static const char
        sql[] = "SELECT dflt_value, \"notnull\" FROM pragma_table_info(?1) WHERE name = ?2 COLLATE NOCASE";
    sqlite3_stmt *stmt = NULL;
    if (!r->o->table || sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL) != SQLITE_OK)
        return;
    for (size_t i = 0; i < r->o->watch.count; i++) {
        sqlite3_bind_text(stmt, 1, r->o->table, -1, SQLITE_STATIC);
        sqlite3_bind_text(stmt, 2, r->o->watch.at[i], -1, SQLITE_STATIC);
        bool column = sqlite3_step(stmt) == SQLITE_ROW;
        const char *expression = column ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
        if (expression)
            r->usual[i] = fit_value_of(s, expression);
        else if (column && !sqlite3_column_int(stmt, 1))
            r->usual[i] = str_dup(STR("null"));
        sqlite3_reset(stmt);
    }
    sqlite3_finalize(stmt);
}

/* Rows that lie too far behind the largest key for `last`, of which the rule would tell something. */
static void fit_check_last(struct sqlite_source *s, struct rule *r)
{
    int64_t reach = 0;
    if (!r->o->last || !r->o->table || !r->key_is_rowid)
        return;
    char *sql = sqlite3_mprintf("SELECT (SELECT max(rowid) FROM \"%w\") - (SELECT min(rowid) FROM \"%w\")", r->o->table,
                                r->o->table);
    if (fit_ask(s, sql, NULL, NULL, &reach, 1) && reach >= r->o->last)
        rule_warn(s, r, rule_type(r, STR("delete")) ? FIT_LAST_DELETES : FIT_LAST);
}

/* What tells new rows from those written again, and does an index find both? */
static bool fit_check_updated(struct sqlite_source *s, struct rule *r, char why[WHY_BYTES])
{
    int64_t behind = 0;
    if (!r->has_rowid && !r->o->time && rule_type(r, STR("insert"))) {
        snprintf(
            why, WHY_BYTES,
            "without a rowid nothing tells new rows from those that are updated: name in `time` the column that says "
            "when a row was made, or leave `insert` out of types");
        return false;
    }
    r->updated.indexed = !fit_sorts(s, r);
    if (!r->updated.indexed)
        fit_warn_of_index(s, r, r->o->cursor, "give it one, or use `kind: diff`");
    char *sql = r->o->select ? NULL
                             : sqlite3_mprintf("SELECT 1 FROM (SELECT \"%w\" AS c FROM \"%w\" WHERE typeof(c) = 'text'"
                                               " ORDER BY c DESC LIMIT %d) WHERE substr(c, 12) LIKE '%%-%%'",
                                               r->o->cursor, r->o->table, FIT_ROWS);
    r->updated.zoned = r->o->select || fit_ask(s, sql, NULL, NULL, &behind, 1);
    return true;
}

bool fit_check(struct sqlite_source *s, struct rule *r, char why[WHY_BYTES])
{
    if (r->o->kind == KIND_OUTBOX) {
        fit_learn_usual(s, r);
        return true;
    }
    fit_check_key(s, r);
    if (r->o->kind == KIND_DIFF) {
        fit_learn_usual(s, r);
        fit_check_last(s, r);
        return true;
    }
    if (r->o->kind == KIND_UPDATED)
        return fit_check_updated(s, r, why);
    if (r->by_rowid) {
        fit_check_gaps(s, r);
        return true;
    }
    if (!fit_check_order(s, r, why))
        return false;
    fit_check_index(s, r);
    fit_check_values(s, r);
    return true;
}

int fit_count_unkeyed(struct sqlite_source *s, struct rule *r)
{
    if (!r->unkeyed)
        return SQLITE_OK;
    int64_t rows = sqlite3_step(r->unkeyed) == SQLITE_ROW ? sqlite3_column_int64(r->unkeyed, 0) : 0;
    int rc = sqlite3_reset(r->unkeyed);
    if (rc != SQLITE_OK)
        return rc == SQLITE_TOOBIG ? SQLITE_OK : rc;
    if (rows > r->unkeyed_rows) {
        metric_add(s->unkeyed, rows - r->unkeyed_rows);
        rule_warn_of_unkeyed(s, r);
    }
    r->unkeyed_rows = rows;
    return SQLITE_OK;
}
