/* SPDX-License-Identifier: MIT */
/* A rule tried on a database that is there: what it costs, whether it tells a row twice, and what its newest row gives. */
#include "bridge/auth/secret.h"
#include "bridge/lib/mem.h"
#include "connectors/sqlite/sqlite.h"
#include <inttypes.h>
#include <stdio.h>

enum {
    TRIAL_COUNT_ROWS = 8192, /* counted by one read */
    TRIAL_COUNT_MS = 500,
    TRIAL_COSTLY_ROWS = 100000, /* of a diff */
    TRIAL_ROWS = 1000,          /* looked at for keys that come twice */
    TRIAL_STEPS = 64,
    TRIAL_ROOM = 64, /* events of the newest row */
};

static sqlite3_stmt *trial_prepare(struct sqlite_source *s, sqlite3_str *sql)
{
    char *text = sqlite3_str_finish(sql);
    sqlite3_stmt *stmt = NULL;
    CHECK(text);
    sqlite3_prepare_v2(s->db, text, -1, &stmt, NULL);
    sqlite3_free(text);
    s->read_began_us = clock_mono_us();
    return stmt;
}

static void trial_doubt(struct sqlite_source *s, const char *option, const char *what, const char *fix)
{
    char text[2 * WHY_BYTES];
    snprintf(text, sizeof text, "%s: %s; %s", option, what, fix);
    s->told(s->told_ctx, text);
}

/* ---- what it costs ---- */

int64_t trial_count(struct sqlite_source *s, const char *table, int64_t budget_ms, bool *exact)
{
    int64_t until = clock_mono_ms() + budget_ms, rows = 0, from = INT64_MIN, piece = TRIAL_COUNT_ROWS;
    sqlite3_str *sql = sqlite3_str_new(s->db);
    sqlite3_str_appendf(sql,
                        "SELECT count(*), max(i) FROM (SELECT rowid AS i FROM \"%w\" WHERE rowid >= ?1"
                        " ORDER BY rowid LIMIT %d)",
                        table, TRIAL_COUNT_ROWS);
    sqlite3_stmt *stmt = trial_prepare(s, sql);
    bool pieces = stmt != NULL;
    if (!stmt) { /* no rowid: only its first rows */
        sql = sqlite3_str_new(s->db);
        sqlite3_str_appendf(sql, "SELECT count(*), ?1 FROM (SELECT 1 FROM \"%w\" LIMIT %d)", table, TRIAL_COUNT_ROWS);
        stmt = trial_prepare(s, sql);
    }
    while (stmt && piece == TRIAL_COUNT_ROWS && clock_mono_ms() < until) {
        s->read_began_us = clock_mono_us();
        sqlite3_bind_int64(stmt, 1, from);
        piece = sqlite3_step(stmt) == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : -1;
        from = sqlite3_column_int64(stmt, 1) + (pieces ? 1 : 0);
        sqlite3_reset(stmt);
        rows += piece > 0 ? piece : 0;
        if (!pieces)
            break;
    }
    *exact = stmt && piece >= 0 && piece < TRIAL_COUNT_ROWS;
    sqlite3_finalize(stmt);
    return rows;
}

/* Does SQLite read a whole table (its name as the plan says it to `scanned`), or sort rows, for that statement? */
static void trial_plan(struct sqlite_source *s, sqlite3_stmt *of, char scanned[80], bool *sorts)
{
    sqlite3_str *sql = sqlite3_str_new(s->db);
    scanned[0] = '\0';
    *sorts = false;
    sqlite3_str_appendf(sql, "EXPLAIN QUERY PLAN %s", of ? sqlite3_sql(of) : "SELECT 1");
    sqlite3_stmt *plan = trial_prepare(s, sql);
    while (plan && sqlite3_step(plan) == SQLITE_ROW) {
        struct str step = str_of((const char *)sqlite3_column_text(plan, 3)), word;
        *sorts = *sorts || str_starts(step, STR("USE TEMP B-TREE FOR ORDER BY"));
        if (!str_starts(step, STR("SCAN ")) || strstr(step.at, "VIRTUAL TABLE") || strstr(step.at, "CONSTANT ROW"))
            continue;
        step = str_from(step, strlen("SCAN "));
        str_cut(&step, ' ', &word);
        if (!scanned[0])
            snprintf(scanned, 80, "%.*s", word.n > 79 ? 79 : (int)word.n, word.at);
    }
    sqlite3_finalize(plan);
}

static void trial_check_index(struct sqlite_source *s, struct rule *r)
{
    char scanned[80], what[WHY_BYTES];
    bool sorts;
    trial_plan(s, r->get, scanned, &sorts);
    if (scanned[0] && r->o->kind != KIND_APPEND) {
        snprintf(what, sizeof what, "finding the row of one key reads the whole of %s, as no index leads there",
                 scanned);
        trial_doubt(s, r->o->select ? "select" : "key", what, "give it an index, or name a key that has one");
    }
    trial_plan(s, r->next, scanned, &sorts);
    if (sorts && r->o->kind == KIND_DIFF)
        trial_doubt(s, "key", "no index orders the rows by it, so each look reads and sorts the whole table",
                    "give it an index, or name a key that has one");
}

static void trial_check_cost(struct sqlite_source *s, struct rule *r)
{
    bool exact;
    char what[WHY_BYTES];
    if (r->o->kind != KIND_DIFF || r->o->last || !r->o->table)
        return;
    int64_t rows = trial_count(s, r->o->table, TRIAL_COUNT_MS, &exact);
    if (rows < TRIAL_COSTLY_ROWS)
        return;
    snprintf(what, sizeof what,
             "diff reads all keys and watched columns of %.60s, %s%" PRId64 " rows, when anything changes", r->o->table,
             exact ? "" : "more than ", rows);
    trial_doubt(s, "kind", what, "kind append, or `last`, reads the newest alone");
}

/* A join that finds several rows makes several of one. */
static void trial_check_doubled(struct sqlite_source *s, struct rule *r)
{
    char what[WHY_BYTES];
    if (!r->o->select)
        return;
    sqlite3_str *sql = sqlite3_str_new(s->db);
    sqlite3_str_appendf(
        sql,
        "SELECT k, count(*) FROM (SELECT \"%w\" AS k FROM (%s\n) LIMIT %d) WHERE k IS NOT NULL GROUP BY k"
        " HAVING count(*) > 1 LIMIT 1",
        r->o->key, r->o->select, TRIAL_ROWS);
    sqlite3_stmt *stmt = trial_prepare(s, sql);
    if (stmt && sqlite3_step(stmt) == SQLITE_ROW) {
        snprintf(what, sizeof what, "the key %.60s comes %lld times: a join doubles the row",
                 (const char *)sqlite3_column_text(stmt, 0), (long long)sqlite3_column_int64(stmt, 1));
        trial_doubt(s, "select", what, "join on a column that is unique, or name a key that tells the rows apart");
    }
    sqlite3_finalize(stmt);
}

/* ---- what it gives away ---- */

static void trial_check_secrets(struct sqlite_source *s, struct rule *r)
{
    char what[WHY_BYTES];
    for (int i = 0; i < r->field_count; i++) {
        struct str name = str_of(r->fields[i].name);
        if (!secret_is_name(name) || rule_lists(&r->o->mask, name))
            continue;
        snprintf(what, sizeof what, "\"%.60s\" is published, and is called as a secret would be", r->fields[i].name);
        trial_doubt(s, "columns", what, "name it in `never` or `mask`");
    }
}

/* ---- what it gives ---- */

/* The newest row's key as an SQL literal, or NULL. Free with sqlite3_free. */
static char *trial_newest(struct sqlite_source *s, const struct rule *r)
{
    const struct rule_options *o = r->o;
    sqlite3_str *sql = sqlite3_str_new(s->db);
    sqlite3_str_appendf(sql, "SELECT quote(\"%w\") FROM ", o->key);
    sqlite3_str_appendf(sql, o->select ? "(%s\n)" : "\"%w\"", o->select ? o->select : o->table);
    sqlite3_str_appendf(sql, " WHERE \"%w\" IS NOT NULL AND (%s\n) ORDER BY \"%w\" DESC LIMIT 1", o->key,
                        o->where ? o->where : "1", r->has_rowid ? "rowid" : r->by);
    sqlite3_stmt *stmt = trial_prepare(s, sql);
    char *key = stmt && sqlite3_step(stmt) == SQLITE_ROW
                    ? sqlite3_mprintf("%s", (const char *)sqlite3_column_text(stmt, 0))
                    : NULL;
    sqlite3_finalize(stmt);
    return key;
}

/* Reads it as a rule reads whose first row it is. */
static void trial_read(struct sqlite_source *s, struct rule *r)
{
    struct err e;
    enum step step = STEP_FULL;
    s->start = START_SNAPSHOT;
    r->ready = true;
    s->slice.room = TRIAL_ROOM;
    for (int i = 0; i < TRIAL_STEPS && step == STEP_FULL && r->usable; i++) {
        s->read_began_us = clock_mono_us();
        s->slice.rows = 0;
        step = pass_step(s, r, &e);
    }
}

/* Of one row alone: what is said of that statement does not hold for the rule's own. */
static void trial_ignore(void *ctx, const char *why)
{
    (void)ctx;
    (void)why;
}

static void trial_hand_out(struct sqlite_source *s, const struct rule *r, const struct trial *t)
{
    for (size_t i = 0; i < s->found.event_count; i++)
        if (!s->found.events[i].refused)
            t->sample(t->ctx, r->name, s->found.events[i].event);
    found_reset(s);
}

static void trial_sample(struct sqlite_source *s, struct rule *r, const struct trial *t)
{
    char *key = trial_newest(s, r);
    if (!key)
        return;
    const struct rule_options *whole = r->o;
    struct rule_options one = *whole;
    char *where = sqlite3_mprintf("(%s\n) AND \"%w\" IS %s", one.where ? one.where : "1", one.key, key);
    CHECK(where);
    one.where = where;
    r->o = &one;
    void (*told)(void *ctx, const char *why) = s->told;
    s->told = trial_ignore;
    compile_rule(s, r);
    s->told = told;
    trial_read(s, r);
    trial_hand_out(s, r, t);
    rule_drop(r);
    r->o = whole;
    sqlite3_free(where);
    sqlite3_free(key);
}

/* What the last change that is written down gives. */
static void trial_change(struct sqlite_source *s, struct rule *r, const struct trial *t)
{
    bool any = sqlite3_step(r->max) == SQLITE_ROW && sqlite3_column_type(r->max, 0) != SQLITE_NULL;
    if (any)
        r->top = sqlite3_column_int64(r->max, 0) - 1;
    sqlite3_reset(r->max);
    r->top_known = true;
    if (any)
        trial_read(s, r);
    trial_hand_out(s, r, t);
    rule_drop(r);
}

void trial_rule(struct sqlite_source *s, struct rule *r, const struct trial *t)
{
    trial_check_index(s, r);
    trial_check_cost(s, r);
    trial_check_doubled(s, r);
    trial_check_secrets(s, r);
    if (r->outbox)
        trial_change(s, r, t);
    else
        trial_sample(s, r, t);
}
