/* SPDX-License-Identifier: MIT */
/* A rule tried on a database that is there: what it costs, whether it tells a row twice, and what its newest rows give. */
#include "bridge/auth/secret.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/progress.h"
#include "bridge/map/map.h"
#include "connectors/sqlite/compile.h"
#include "connectors/sqlite/trial.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    TRIAL_COUNT_ROWS = 8192, /* counted by one read */
    TRIAL_COUNT_MS = 500,
    TRIAL_COSTLY_ROWS = 100000, /* of a diff */
    TRIAL_ROWS = 1000,          /* looked at for keys that come twice */
    TRIAL_STEPS = 64,
    TRIAL_ROOM = 64,     /* events of the newest row */
    TRIAL_SAMPLES = 100, /* rows in which each entry of a `map` looks for one that fits */
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
    s->told(s->told_ctx, NULL, text);
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

/* What a trial of a rule has shown. */
struct trial_shown {
    const struct event **of; /* for each entry of its `map` the last event of the older rows; NULL: none */
    bool *fits;              /* the newest row has one */
};

/* The keys of the newest rows as a list of SQL literals, but for the newest one, which goes to *newest; returns how many
 * rows there are. sqlite3_free both. */
static size_t trial_keys(struct sqlite_source *s, const struct rule *r, int most, char **newest, char **older)
{
    size_t n = 0;
    const struct rule_options *o = r->o;
    sqlite3_str *sql = sqlite3_str_new(s->db), *list = sqlite3_str_new(s->db);
    sqlite3_str_appendf(sql, "SELECT quote(\"%w\") FROM ", o->key);
    sqlite3_str_appendf(sql, o->select ? "(%s\n)" : "\"%w\"", o->select ? o->select : o->table);
    sqlite3_str_appendf(sql, " WHERE \"%w\" IS NOT NULL AND (%s\n) ORDER BY \"%w\" DESC LIMIT %d", o->key,
                        o->where ? o->where : "1", r->has_rowid ? "rowid" : r->by, most);
    sqlite3_stmt *stmt = trial_prepare(s, sql);
    *newest = NULL;
    for (; stmt && sqlite3_step(stmt) == SQLITE_ROW; n++)
        if (n == 0)
            *newest = sqlite3_mprintf("%s", (const char *)sqlite3_column_text(stmt, 0));
        else
            sqlite3_str_appendf(list, "%s%s", n > 1 ? ", " : "", (const char *)sqlite3_column_text(stmt, 0));
    sqlite3_finalize(stmt);
    *older = sqlite3_str_finish(list);
    return n;
}

/* Of the newest row all events are shown, of each entry the last one of those before is kept. */
static void trial_take(struct sqlite_source *s, const struct rule *r, const struct trial *t, bool newest,
                       struct trial_shown *shown)
{
    for (size_t i = 0; i < s->found.event_count; i++) {
        const struct found_event *f = &s->found.events[i];
        if (f->refused)
            continue;
        if (newest) {
            t->sample(t->ctx, r->name, true, f->event);
            shown->fits[f->entry] = true;
        } else {
            event_unref(shown->of[f->entry]);
            shown->of[f->entry] = event_ref(f->event);
        }
    }
    found_reset(s);
}

/* Reads it as a rule reads whose first rows they are. */
static void trial_read(struct sqlite_source *s, struct rule *r, const struct trial *t, bool newest,
                       struct trial_shown *shown)
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
        trial_take(s, r, t, newest, shown);
    }
}

/* Of some rows alone: what is said of that statement does not hold for the rule's own. */
static void trial_ignore(void *ctx, const struct rule *r, const char *why)
{
    (void)ctx, (void)r;
    (void)why;
}

/* Has the rule tell the rows of these keys alone. */
static void trial_rows(struct sqlite_source *s, struct rule *r, const struct trial *t, const char *keys, bool newest,
                       struct trial_shown *shown)
{
    const struct rule_options *whole = r->o;
    struct rule_options some = *whole;
    char *where = sqlite3_mprintf("(%s\n) AND \"%w\" IN (%s)", some.where ? some.where : "1", some.key, keys);
    CHECK(where);
    some.where = where;
    r->o = &some;
    void (*told)(void *ctx, const struct rule *r, const char *why) = s->told;
    s->told = trial_ignore;
    compile_rule(s, r);
    s->told = told;
    trial_read(s, r, t, newest, shown);
    rule_drop(r);
    r->o = whole;
    sqlite3_free(where);
}

/* Can a row that is there show it? One for changes and deletes alone needs what happens later. */
static bool trial_can_show(const struct map_options *o)
{
    static const char *const now[] = { "insert", "started", "done", "aborted" };
    bool can = false;
    for (size_t i = 0; i < o->op.count; i++)
        for (size_t k = 0; k < sizeof now / sizeof *now; k++)
            can = can || strcmp(o->op.at[i], now[k]) == 0;
    return can;
}

/* Entries that the newest row does not fit: an older one's event, or that there is none. */
static void trial_show_older(const struct rule *r, const struct trial *t, const struct trial_shown *shown, size_t rows)
{
    const struct map_options *map = r->o->map.at;
    for (size_t i = 0; i < r->o->map.count; i++) {
        char what[WHY_BYTES];
        if (shown->fits[i])
            continue;
        snprintf(what, sizeof what, "map[%zu] (%.80s): none of its last %zu rows fits", i, map[i].type, rows);
        if (shown->of[i])
            t->sample(t->ctx, r->name, false, shown->of[i]);
        else if (t->missed && trial_can_show(&map[i]))
            t->missed(t->ctx, r->name, what);
    }
}

static struct trial_shown trial_shown_new(const struct rule *r)
{
    size_t entries = r->o->map.count + 1; /* without a map as if there were one */
    return (struct trial_shown){ mem_alloc(entries * sizeof(const struct event *)), mem_alloc(entries) };
}

static void trial_shown_free(const struct rule *r, struct trial_shown *shown)
{
    for (size_t i = 0; i <= r->o->map.count; i++)
        event_unref(shown->of[i]);
    free(shown->of);
    free(shown->fits);
}

/* The older rows first: a rule goes forward. */
static void trial_sample(struct sqlite_source *s, struct rule *r, const struct trial *t)
{
    char *newest, *older;
    struct trial_shown shown = trial_shown_new(r);
    size_t rows = trial_keys(s, r, r->o->map.count ? TRIAL_SAMPLES : 1, &newest, &older);
    if (rows > 1)
        trial_rows(s, r, t, older, false, &shown);
    if (rows)
        trial_rows(s, r, t, newest, true, &shown);
    if (rows)
        trial_show_older(r, t, &shown, rows);
    sqlite3_free(newest);
    sqlite3_free(older);
    trial_shown_free(r, &shown);
}

/* What the last change that is written down gives. */
static void trial_change(struct sqlite_source *s, struct rule *r, const struct trial *t)
{
    bool any = sqlite3_step(r->max) == SQLITE_ROW && sqlite3_column_type(r->max, 0) != SQLITE_NULL;
    if (any)
        r->top = sqlite3_column_int64(r->max, 0) - 1;
    sqlite3_reset(r->max);
    r->top_known = true;
    struct trial_shown shown = trial_shown_new(r);
    if (any)
        trial_read(s, r, t, true, &shown);
    trial_shown_free(r, &shown);
    rule_drop(r);
}

void trial_rule(struct sqlite_source *s, struct rule *r, const struct trial *t)
{
    progress_step("a rule is tried", r->name);
    trial_check_index(s, r);
    trial_check_cost(s, r);
    trial_check_doubled(s, r);
    trial_check_secrets(s, r);
    if (r->outbox)
        trial_change(s, r, t);
    else
        trial_sample(s, r, t);
}
