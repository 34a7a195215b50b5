/* SPDX-License-Identifier: MIT */
/* The table of changes and the triggers of an outbox rule: what should be there, and is it. */
#include "connectors/sqlite/triggers.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "bridge/map/map.h"

enum { TRIGGERS_PRUNE = 2 }; /* rows taken away by one change at most */

#define TRIGGERS_NOW "CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"

static const char *const triggers_words[TRIGGER_OPS] = { "insert", "update", "delete" };

const char *triggers_op(enum trigger_op op)
{
    return triggers_words[op];
}

/* ---- asked of the database ---- */

/* The first column of the first row, as text; NULL: there is none. */
static char *triggers_ask(sqlite3 *db, const char *sql, const char *a, const char *b)
{
    sqlite3_stmt *stmt = NULL;
    char *text = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK) {
        sqlite3_bind_text(stmt, 1, a, -1, SQLITE_STATIC);
        sqlite3_bind_text(stmt, 2, b, -1, SQLITE_STATIC);
        if (sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_text(stmt, 0))
            text = str_dup(str_of((const char *)sqlite3_column_text(stmt, 0)));
    }
    sqlite3_finalize(stmt);
    return text;
}

static bool triggers_asks(sqlite3 *db, const char *sql, const char *a, const char *b)
{
    char *text = triggers_ask(db, sql, a, b);
    free(text);
    return text != NULL;
}

bool triggers_has(sqlite3 *db, const struct trigger_plan *p, const char *prefix, const char *column)
{
    char *name = str_join(prefix, column ? column : "seq", "");
    bool has = triggers_asks(db, "SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2 COLLATE NOCASE", p->table, name);
    free(name);
    return has;
}

enum trigger_state triggers_state(sqlite3 *db, const struct trigger_plan *p, enum trigger_op op)
{
    static const char sql[] = "SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND name = ?1 COLLATE NOCASE";
    char *there = triggers_ask(db, sql, p->names[op], NULL);
    enum trigger_state state = !there                                     ? TRIGGER_MISSING
                               : p->sql[op] && !strcmp(there, p->sql[op]) ? TRIGGER_GOOD
                                                                          : TRIGGER_DIFFERS;
    free(there);
    return p->sql[op] || there ? state : TRIGGER_GOOD;
}

/* ---- which changes a rule tells ---- */

static void triggers_want(const char *op, bool wants[TRIGGER_OPS])
{
    bool known = false;
    for (int i = 0; i < TRIGGER_OPS; i++)
        if (strcmp(op, triggers_words[i]) == 0)
            known = wants[i] = true;
    if (!known) /* a watched column, which a new row may have told already */
        wants[TRIGGER_INSERT] = wants[TRIGGER_UPDATE] = true;
}

static void triggers_wanted(const struct rule_options *o, bool wants[TRIGGER_OPS])
{
    const struct map_options *m = o->map.at;
    for (size_t i = 0; i < o->types.count; i++)
        triggers_want(o->types.at[i].key, wants);
    for (size_t i = 0; i < o->map.count; i++)
        for (size_t k = 0; k < m[i].op.count; k++)
            triggers_want(m[i].op.at[k], wants);
}

/* ---- which columns ---- */

static bool triggers_names(const char *option, const char *name)
{
    return option && str_eq_nocase(str_of(option), str_of(name));
}

/* Does the rule read that column? */
static bool triggers_reads(const struct rule_options *o, const char *name)
{
    struct str column = str_of(name);
    if (triggers_names(o->key, name))
        return true;
    if (rule_lists(&o->never, column))
        return false;
    return !o->columns.count || rule_has_entry(&o->columns, name) || rule_lists(&o->watch, column)
           || rule_lists(&o->keep, column) || triggers_names(o->time, name);
}

/* `present`: only what the table of changes has of it. False: nothing. */
static bool triggers_add_column(sqlite3 *db, const struct rule_options *o, bool present, struct trigger_plan *p,
                                const char *name)
{
    struct str column = str_of(name);
    bool masked = rule_lists(&o->mask, column), lost = masked && o->map.count && !rule_lists(&o->watch, column);
    bool old = rule_lists(&o->watch, column) || rule_lists(&o->keep, column);
    if (present && !lost && !triggers_has(db, p, "row_", name))
        return false;
    p->columns = mem_grow(p->columns, p->count + 1, sizeof *p->columns);
    p->columns[p->count++] = (struct trigger_column){
        .name = str_dup(column),
        .masked = masked,
        .lost = lost,
        .old = old && (!present || triggers_has(db, p, "old_", name)),
    };
    return true;
}

/* The columns of the application's table that the rule reads. */
static bool triggers_columns(sqlite3 *db, const struct rule_options *o, bool present, struct trigger_plan *p,
                             struct err *e)
{
    static const char sql[] = "SELECT name FROM pragma_table_xinfo(?1) WHERE hidden <> 1";
    sqlite3_stmt *stmt = NULL;
    bool key = false, any = false;
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        return err_set(e, "table: %s: %s", o->table, sqlite3_errmsg(db));
    sqlite3_bind_text(stmt, 1, o->table, -1, SQLITE_STATIC);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(stmt, 0);
        any = true;
        if (name && triggers_reads(o, name) && triggers_add_column(db, o, present, p, name))
            key = key || triggers_names(o->key, name);
    }
    sqlite3_finalize(stmt);
    if (!any)
        return err_set(e, "table: there is no table \"%.80s\"", o->table);
    if (!key && triggers_names("rowid", o->key))
        key = triggers_add_column(db, o, present, p, "rowid");
    for (size_t i = 0; !o->columns.count && i < o->never.count; i++)
        if (!triggers_asks(db, "SELECT 1 FROM pragma_table_xinfo(?1) WHERE name = ?2 COLLATE NOCASE", o->table,
                           o->never.at[i]))
            return err_set(e, "never: there is no column %.60s in %.60s; nothing is captured until it is corrected",
                           o->never.at[i], o->table);
    return key || err_set(e, "key: there is no column \"%.80s\" in %.80s", o->key, o->table);
}

/* ---- SQL ---- */

static char *triggers_finish(sqlite3_str *sql)
{
    char *text = sqlite3_str_finish(sql), *copy;
    CHECK(text);
    copy = str_dup(str_of(text));
    sqlite3_free(text);
    return copy;
}

static char *triggers_table(sqlite3 *db, const struct trigger_plan *p)
{
    sqlite3_str *sql = sqlite3_str_new(db);
    sqlite3_str_appendf(sql, "CREATE TABLE \"%w\"(seq INTEGER PRIMARY KEY AUTOINCREMENT, op, at, mark", p->table);
    for (size_t i = 0; i < p->count; i++) {
        const struct trigger_column *c = &p->columns[i];
        if (!c->lost)
            sqlite3_str_appendf(sql, ", \"row_%w\"", c->name);
        if (c->old)
            sqlite3_str_appendf(sql, ", \"old_%w\"", c->name);
    }
    sqlite3_str_appendall(sql, ")");
    return triggers_finish(sql);
}

/* A masked value that was another is another mask, which nobody is told. */
static void triggers_add_value(sqlite3_str *sql, const struct trigger_column *c, const char *row, bool old)
{
    if (!c->masked)
        sqlite3_str_appendf(sql, ", %s.\"%w\"", row, c->name);
    else if (old)
        sqlite3_str_appendf(sql,
                            ", CASE WHEN OLD.\"%w\" IS NULL THEN NULL WHEN OLD.\"%w\" IS NEW.\"%w\" COLLATE BINARY"
                            " THEN '***' ELSE '****' END",
                            c->name, c->name, c->name);
    else
        sqlite3_str_appendf(sql, ", CASE WHEN %s.\"%w\" IS NOT NULL THEN '***' END", row, c->name);
}

static void triggers_add_change(sqlite3_str *sql, const struct trigger_plan *p, enum trigger_op op, const char *where)
{
    const char *row = op == TRIGGER_DELETE ? "OLD" : "NEW";
    bool old = op == TRIGGER_UPDATE;
    sqlite3_str_appendf(sql, "\n  INSERT INTO \"%w\"(op, at, mark", p->table);
    for (size_t i = 0; i < p->count; i++) {
        if (!p->columns[i].lost)
            sqlite3_str_appendf(sql, ", \"row_%w\"", p->columns[i].name);
        if (old && p->columns[i].old)
            sqlite3_str_appendf(sql, ", \"old_%w\"", p->columns[i].name);
    }
    sqlite3_str_appendf(sql, ")\n    SELECT '%s', " TRIGGERS_NOW ", random()", triggers_words[op]);
    for (size_t i = 0; i < p->count; i++) {
        if (!p->columns[i].lost)
            triggers_add_value(sql, &p->columns[i], row, false);
        if (old && p->columns[i].old)
            triggers_add_value(sql, &p->columns[i], "OLD", true);
    }
    sqlite3_str_appendf(sql, "%s;", where);
}

/* last_insert_rowid() is that of the change within its trigger. */
static void triggers_add_prune(sqlite3_str *sql, const struct trigger_plan *p, const struct rule_options *o)
{
    if (!o->retain.ms && !o->retain_rows)
        return;
    sqlite3_str_appendf(sql, "\n  DELETE FROM \"%w\" WHERE seq < (SELECT min(seq) FROM \"%w\") + %d AND (", p->table,
                        p->table, TRIGGERS_PRUNE);
    if (o->retain.ms)
        sqlite3_str_appendf(sql, "at < " TRIGGERS_NOW " - %lld", (long long)o->retain.ms);
    if (o->retain.ms && o->retain_rows)
        sqlite3_str_appendall(sql, " OR ");
    if (o->retain_rows)
        sqlite3_str_appendf(sql, "seq <= last_insert_rowid() - %lld", (long long)o->retain_rows);
    sqlite3_str_appendall(sql, ");");
}

static void triggers_add_differs(sqlite3_str *sql, const char *name)
{
    sqlite3_str_appendf(sql, "OLD.\"%w\" IS NOT NEW.\"%w\" COLLATE BINARY", name, name);
}

/* A row that gets another key is gone, and a new one is there. */
static void triggers_add_moves(sqlite3_str *sql, const struct trigger_plan *p, const struct rule_options *o,
                               const bool wants[TRIGGER_OPS])
{
    char *differs = sqlite3_mprintf("\n    WHERE OLD.\"%w\" IS NOT NEW.\"%w\" COLLATE BINARY", o->key, o->key);
    char *same = sqlite3_mprintf("\n    WHERE OLD.\"%w\" IS NEW.\"%w\" COLLATE BINARY", o->key, o->key);
    CHECK(differs && same);
    if (wants[TRIGGER_DELETE])
        triggers_add_change(sql, p, TRIGGER_DELETE, differs);
    if (wants[TRIGGER_INSERT])
        triggers_add_change(sql, p, TRIGGER_INSERT, differs);
    if (wants[TRIGGER_UPDATE])
        triggers_add_change(sql, p, TRIGGER_UPDATE, same);
    sqlite3_free(differs);
    sqlite3_free(same);
}

static char *triggers_trigger(sqlite3 *db, const struct trigger_plan *p, const struct rule_options *o,
                              enum trigger_op op, const bool wants[TRIGGER_OPS])
{
    static const char *const events[TRIGGER_OPS] = { "INSERT", "UPDATE", "DELETE" };
    sqlite3_str *sql = sqlite3_str_new(db);
    sqlite3_str_appendf(sql, "CREATE TRIGGER \"%w\" AFTER %s ON \"%w\"", p->names[op], events[op], o->table);
    if (op == TRIGGER_UPDATE) {
        sqlite3_str_appendall(sql, "\nWHEN ");
        triggers_add_differs(sql, o->key);
        for (size_t i = 0; wants[TRIGGER_UPDATE] && i < p->count; i++)
            if (rule_lists(&o->watch, str_of(p->columns[i].name))) {
                sqlite3_str_appendall(sql, " OR ");
                triggers_add_differs(sql, p->columns[i].name);
            }
    }
    sqlite3_str_appendall(sql, "\nBEGIN");
    if (op == TRIGGER_UPDATE)
        triggers_add_moves(sql, p, o, wants);
    else
        triggers_add_change(sql, p, op, "");
    triggers_add_prune(sql, p, o);
    sqlite3_str_appendall(sql, "\nEND");
    return triggers_finish(sql);
}

/* ---- a plan ---- */

bool triggers_plan(sqlite3 *db, const char *source, const struct rule_options *o, bool present,
                   struct trigger_plan *out, struct err *e)
{
    bool wants[TRIGGER_OPS] = { 0 };
    char *prefix = str_join(TRIGGERS_PREFIX, source, ".");
    *out = (struct trigger_plan){ .table = str_join(prefix, o->name, "") };
    free(prefix);
    for (int op = 0; op < TRIGGER_OPS; op++)
        out->names[op] = str_join(out->table, ".", triggers_words[op]);
    if (!triggers_columns(db, o, present, out, e))
        return false;
    triggers_wanted(o, wants);
    out->create = triggers_table(db, out);
    for (enum trigger_op op = TRIGGER_INSERT; op < TRIGGER_OPS; op++)
        if (wants[op] || op == TRIGGER_UPDATE) /* which also tells of another key */
            out->sql[op] = triggers_trigger(db, out, o, op, wants);
    return true;
}

void triggers_free(struct trigger_plan *p)
{
    for (int op = 0; op < TRIGGER_OPS; op++) {
        free(p->names[op]);
        free(p->sql[op]);
    }
    for (size_t i = 0; i < p->count; i++)
        free(p->columns[i].name);
    free(p->columns);
    free(p->create);
    free(p->table);
    *p = (struct trigger_plan){ 0 };
}

/* ---- as rows of the application's table ---- */

char *triggers_source(sqlite3 *db, const struct trigger_plan *p, const struct rule_options *o, bool old)
{
    sqlite3_str *sql = sqlite3_str_new(db);
    sqlite3_str_appendall(sql,
                          "(SELECT seq AS aqueduct_seq, op AS aqueduct_op, at AS aqueduct_at, mark AS aqueduct_mark");
    for (size_t i = 0; i < p->count; i++) {
        const struct trigger_column *c = &p->columns[i];
        bool known = !old || c->old || triggers_names(o->key, c->name);
        if (c->lost || !known)
            sqlite3_str_appendf(sql, ", NULL AS \"%w\"", c->name);
        else
            sqlite3_str_appendf(sql, ", \"%s_%w\" AS \"%w\"", old && c->old ? "old" : "row", c->name, c->name);
    }
    sqlite3_str_appendf(sql, " FROM \"%w\")", p->table);
    char *text = sqlite3_str_finish(sql);
    CHECK(text);
    return text;
}

char *triggers_stand_in(const struct trigger_plan *p, const struct rule_options *o)
{
    sqlite3_str *sql = sqlite3_str_new(NULL);
    sqlite3_str_appendall(sql,
                          "(SELECT 0 AS aqueduct_seq, 'insert' AS aqueduct_op, 0 AS aqueduct_at, 0 AS aqueduct_mark");
    for (size_t i = 0; i < p->count; i++)
        sqlite3_str_appendf(sql, ", \"%w\" AS \"%w\"", p->columns[i].name, p->columns[i].name);
    sqlite3_str_appendf(sql, " FROM \"%w\")", o->table);
    char *text = sqlite3_str_finish(sql);
    CHECK(text);
    return text;
}

/* ---- of a rule at work ---- */

/* The worst of what is said of them. */
static enum trigger_state triggers_worst(sqlite3 *db, const struct trigger_plan *p)
{
    enum trigger_state worst = TRIGGER_GOOD;
    for (enum trigger_op op = TRIGGER_INSERT; op < TRIGGER_OPS; op++) {
        enum trigger_state state = triggers_state(db, p, op);
        worst = state == TRIGGER_GOOD || worst == TRIGGER_MISSING ? worst : state;
    }
    return worst;
}

/* Do they write all but columns that the table got later? The plan of what there is stays in `present`. */
static enum triggers triggers_judge(struct sqlite_source *s, const struct rule *r, const struct trigger_plan *whole,
                                    struct trigger_plan *present)
{
    struct err e;
    if (!triggers_has(s->db, whole, "", NULL) || !triggers_plan(s->db, s->base.id, r->o, true, present, &e))
        return TRIGGERS_NONE;
    if (triggers_worst(s->db, whole) == TRIGGER_GOOD)
        return TRIGGERS_GOOD;
    switch (triggers_worst(s->db, present)) {
    case TRIGGER_GOOD: return TRIGGERS_OLDER;
    case TRIGGER_MISSING: return TRIGGERS_MISSING;
    case TRIGGER_DIFFERS: break;
    }
    return TRIGGERS_DIFFER;
}

bool triggers_look(struct sqlite_source *s, struct rule *r, char why[WHY_BYTES])
{
    struct trigger_plan whole, present = { 0 };
    struct err e = { "" };
    uint64_t schema = sqlite_schema_of(s);
    if (r->outbox && r->triggers_of == schema)
        return true;
    r->triggers_of = schema;
    rule_forget_outbox(r);
    bool good = triggers_plan(s->db, s->base.id, r->o, false, &whole, &e);
    if (good) {
        r->triggers = triggers_judge(s, r, &whole, &present);
        bool none = r->triggers == TRIGGERS_NONE;
        r->outbox = str_dup(str_of(whole.table));
        r->source = none ? triggers_stand_in(&whole, r->o) : triggers_source(s->db, &present, r->o, false);
        r->source_old = none ? triggers_stand_in(&whole, r->o) : triggers_source(s->db, &present, r->o, true);
    } else {
        r->triggers = r->no_table ? TRIGGERS_GOOD : TRIGGERS_NONE; /* without the table there is nothing to miss */
        snprintf(why, WHY_BYTES, "%.*s", WHY_BYTES - 1, e.text);
    }
    triggers_free(&whole);
    triggers_free(&present);
    return good;
}

static const char *triggers_says(enum triggers state)
{
    switch (state) {
    case TRIGGERS_GOOD: break;
    case TRIGGERS_OLDER:
        return "the table has columns that its triggers do not write, and events do not have; run `aqueduct sqlite setup`";
    case TRIGGERS_DIFFER:
        return "its triggers are not those that the rule needs, so changes may be missing; run `aqueduct sqlite setup`";
    case TRIGGERS_MISSING:
        return "triggers of it are gone (the table was made anew?), so changes are not written down and are not told; run "
               "`aqueduct sqlite setup`";
    case TRIGGERS_NONE:
        return "its triggers are not set up, so no change is written down or told; run `aqueduct sqlite setup`";
    }
    return NULL;
}

void triggers_tell(struct sqlite_source *s, struct rule *r)
{
    const char *says = triggers_says(r->triggers);
    if (s->told && says)
        s->told(s->told_ctx, r, says);
    if (s->told || r->triggers == r->triggers_told)
        return;
    if (says)
        LOG(WARN, "an outbox is not as its rule needs it", LOG_C("source", s->base.id), LOG_C("rule", r->name),
            LOG_C("table", r->o->table), LOG_C("why", says));
    else if (r->triggers_told)
        LOG(INFO, "an outbox is as its rule needs it now; what changed before was not written down",
            LOG_C("source", s->base.id), LOG_C("rule", r->name), LOG_C("table", r->o->table));
    r->triggers_told = r->triggers;
}
