/* SPDX-License-Identifier: MIT */
/* What outbox rules need in the application's database: made, looked at, taken away. */
#include "connectors/sqlite/review.h"
#include "connectors/sqlite/setup.h"
#include "connectors/sqlite/triggers.h"
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"
#include "bridge/map/map.h"

enum {
    SETUP_WAIT_MS = 10000, /* for the application's lock */
    SETUP_AGAIN_US = 20000,
    SETUP_MAX_EVENT = 900 << 10,
};

#define SETUP_LOCKED "is locked, as its application is writing; try again"

extern const struct source_ops sqlite_source;

enum setup_verb { SETUP_SET_UP = 1, SETUP_VERIFY, SETUP_TEAR_DOWN };

struct setup {
    enum setup_verb verb;
    const struct setup_flags *flags;
    bool good;       /* nothing failed, and nothing is wrong */
    bool any;        /* there was a source with such rules */
    bool wanting;    /* `setup` would change something that `verify` found */
    json_t *reports; /* one for each database */
    /* the database at work */
    const char *name, *path; /* of the source; NULL: of all */
    sqlite3 *db;
    struct sqlite_source look; /* what it is open as, if */
    bool looks;                /* it is only looked at */
    struct {
        char *sql;
        const char *what; /* "create trigger" */
        char *name;
    } * steps;
    size_t step_count;
    struct strings known; /* names that belong to rules */
    json_t *rules, *kept; /* what is there; tables that stay as they hold changes */
};

static bool setup_fail(struct setup *t, const char *place, const char *why)
{
    struct err e;
    err_set(&e, "%s%s%s%s%s", t->name ? t->name : t->path, *place ? ": " : "", place, *why ? ": " : "", why);
    str_make_shown(e.text);
    fprintf(stderr, "aqueduct sqlite: %s\n", e.text);
    return t->good = false;
}

static bool setup_fail_rule(struct setup *t, const struct rule_options *o, const char *why)
{
    struct err e;
    err_set(&e, "rule %s", o->name);
    return setup_fail(t, e.text, why);
}

/* ---- steps ---- */

/* Takes sql, of sqlite3_mprintf(). */
static void setup_step(struct setup *t, char *sql, const char *what, const char *name)
{
    CHECK(sql);
    t->steps = mem_grow(t->steps, t->step_count + 1, sizeof *t->steps);
    t->steps[t->step_count].sql = sql;
    t->steps[t->step_count].what = what;
    t->steps[t->step_count++].name = str_dup(str_of(name));
}

static void setup_know(struct setup *t, const char *name)
{
    t->known.at = mem_grow(t->known.at, t->known.count + 1, sizeof *t->known.at);
    t->known.at[t->known.count++] = str_dup(str_of(name));
}

static bool setup_run_steps(struct setup *t)
{
    for (size_t i = 0; i < t->step_count; i++) {
        if (t->flags->dry_run) {
            if (!t->flags->json)
                printf("%s;\n", t->steps[i].sql);
            continue;
        }
        if (sqlite3_exec(t->db, t->steps[i].sql, NULL, NULL, NULL) == SQLITE_OK)
            continue;
        struct err e;
        err_set(&e, "%s %s", t->steps[i].what, t->steps[i].name);
        return setup_fail(t, e.text, sqlite3_errmsg(t->db));
    }
    return true;
}

/* ---- what a rule needs ---- */

static void setup_add_columns(struct setup *t, const struct trigger_plan *p)
{
    static const char *const prefixes[] = { "row_", "old_" };
    for (size_t i = 0; i < p->count; i++)
        for (int k = 0; k < 2; k++) {
            const struct trigger_column *c = &p->columns[i];
            if ((k ? c->old : !c->lost) && !triggers_has(t->db, p, prefixes[k], c->name))
                setup_step(t, sqlite3_mprintf("ALTER TABLE \"%w\" ADD COLUMN \"%s%w\"", p->table, prefixes[k], c->name),
                           "add a column to", p->table);
        }
}

static const char *setup_says(enum trigger_state state)
{
    switch (state) {
    case TRIGGER_GOOD: return "good";
    case TRIGGER_MISSING: return "missing";
    case TRIGGER_DIFFERS: break;
    }
    return "differs";
}

static void setup_change_trigger(struct setup *t, const struct trigger_plan *p, enum trigger_op op,
                                 enum trigger_state state)
{
    if (state == TRIGGER_DIFFERS)
        setup_step(t, sqlite3_mprintf("DROP TRIGGER \"%w\"", p->names[op]), "drop trigger", p->names[op]);
    if (state != TRIGGER_GOOD && p->sql[op])
        setup_step(t, sqlite3_mprintf("%s", p->sql[op]), "create trigger", p->names[op]);
}

/* How many changes the table of changes holds. */
static int64_t setup_count(struct setup *t, const char *table)
{
    sqlite3_stmt *stmt = NULL;
    t->look.read_began_us = clock_mono_us();
    char *sql = sqlite3_mprintf("SELECT count(*) FROM \"%w\"", table);
    int64_t rows = 0;
    if (sql && sqlite3_prepare_v2(t->db, sql, -1, &stmt, NULL) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW)
        rows = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_free(sql);
    return rows;
}

static bool setup_rule(struct setup *t, const struct rule_options *o)
{
    struct trigger_plan p;
    struct err e = { "" };
    bool good = triggers_plan(t->db, t->name, o, false, &p, &e);
    if (!good) {
        triggers_free(&p);
        return setup_fail_rule(t, o, e.text);
    }
    bool there = triggers_has(t->db, &p, "", NULL);
    setup_know(t, p.table);
    if (t->verb == SETUP_SET_UP && there)
        setup_add_columns(t, &p);
    else if (t->verb == SETUP_SET_UP)
        setup_step(t, sqlite3_mprintf("%s", p.create), "create table", p.table);
    json_t *triggers = json_object();
    for (enum trigger_op op = TRIGGER_INSERT; op < TRIGGER_OPS; op++) {
        enum trigger_state state = triggers_state(t->db, &p, op);
        setup_know(t, p.names[op]);
        if (t->verb == SETUP_SET_UP)
            setup_change_trigger(t, &p, op, state);
        else
            t->wanting = t->wanting || state != TRIGGER_GOOD || !there;
        if (p.sql[op] || state != TRIGGER_GOOD)
            json_object_set_new(triggers, triggers_op(op), json_string(setup_says(state)));
    }
    json_array_append_new(t->rules, json_pack("{s:s, s:s, s:s, s:b, s:I, s:o}", "rule", o->name, "table", o->table,
                                              "outbox", p.table, "there", there, "changes",
                                              (json_int_t)(there ? setup_count(t, p.table) : 0), "triggers", triggers));
    triggers_free(&p);
    return true;
}

/* ---- what belongs to no rule, or is to go ---- */

static bool setup_is_known(const struct setup *t, const char *name)
{
    return t->verb != SETUP_TEAR_DOWN && rule_lists(&t->known, str_of(name));
}

static void setup_keep(struct setup *t, bool trigger, const char *name, int64_t rows)
{
    json_array_append_new(t->kept, json_pack("{s:s, s:s, s:I}", "kind", trigger ? "trigger" : "table", "name", name,
                                             "changes", (json_int_t)rows));
}

static void setup_drop(struct setup *t, bool trigger, const char *name)
{
    int64_t rows = trigger ? 0 : setup_count(t, name);
    if (t->verb == SETUP_VERIFY) {
        setup_keep(t, trigger, name, rows);
        t->wanting = t->wanting || trigger; /* it costs the application, for nothing */
    } else if (rows && !t->flags->drop) {
        setup_keep(t, trigger, name, rows);
    } else {
        setup_step(t, sqlite3_mprintf(trigger ? "DROP TRIGGER \"%w\"" : "DROP TABLE \"%w\"", name),
                   trigger ? "drop trigger" : "drop table", name);
    }
}

/* Triggers first: none may be there whose table is gone. */
static void setup_drop_others(struct setup *t)
{
    static const char sql[] = "SELECT type = 'trigger', name FROM sqlite_schema WHERE substr(name, 1, length(?1)) = ?1"
                              " AND type IN ('table', 'trigger') ORDER BY type DESC, name";
    char *prefix = str_join(TRIGGERS_PREFIX, t->name ? t->name : "", t->name ? "." : "");
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(t->db, sql, -1, &stmt, NULL) == SQLITE_OK) {
        sqlite3_bind_text(stmt, 1, prefix, -1, SQLITE_STATIC);
        while (sqlite3_step(stmt) == SQLITE_ROW) {
            const char *name = (const char *)sqlite3_column_text(stmt, 1);
            if (name && !setup_is_known(t, name))
                setup_drop(t, sqlite3_column_int(stmt, 0) != 0, name);
        }
    }
    sqlite3_finalize(stmt);
    free(prefix);
}

/* ---- said ---- */

static void setup_print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void setup_print(const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    str_make_shown(text);
    puts(text);
}

static void setup_print_rule(const struct setup *t, json_t *rule)
{
    const char *op;
    json_t *state;
    setup_print("%s: %s: table %s, %s (%" JSON_INTEGER_FORMAT " changes)", t->name, json_text(rule, "rule"),
                json_text(rule, "table"),
                json_is_true(json_object_get(rule, "there")) ? json_text(rule, "outbox") : "no table of changes yet",
                json_integer_value(json_object_get(rule, "changes")));
    json_object_foreach(json_object_get(rule, "triggers"), op, state)
        setup_print("%s: %s: trigger %s: %s", t->name, json_text(rule, "rule"), op, json_string_value(state));
}

static void setup_print_report(const struct setup *t)
{
    size_t i;
    json_t *one;
    const char *name = t->name ? t->name : t->path;
    json_array_foreach(t->rules, i, one)
    {
        if (t->verb == SETUP_VERIFY)
            setup_print_rule(t, one);
    }
    for (i = 0; !t->flags->dry_run && i < t->step_count; i++)
        setup_print("%s: %s %s", name, t->steps[i].what, t->steps[i].name);
    if (t->verb == SETUP_TEAR_DOWN && !t->step_count && !t->flags->dry_run)
        setup_print("%s: nothing to take away", name);
    if (t->verb == SETUP_SET_UP && !t->step_count && !t->flags->dry_run && json_array_size(t->rules))
        setup_print("%s: all is as it should be", name);
    json_array_foreach(t->kept, i, one)
        setup_print("%s%s: %s %s: %s", t->flags->dry_run ? "-- " : "", name, json_text(one, "kind"),
                    json_text(one, "name"),
                    t->verb == SETUP_VERIFY
                        ? "belongs to no rule"
                        : "stays, as it holds changes that may not be read yet (teardown --drop takes it away)");
}

static void setup_report(struct setup *t)
{
    json_t *steps = json_array();
    for (size_t i = 0; i < t->step_count; i++)
        json_array_append_new(steps, json_string(t->steps[i].sql));
    if (!t->flags->json)
        setup_print_report(t);
    json_array_append_new(t->reports, json_pack("{s:s?, s:s, s:O, s:O, s:o}", "source", t->name, "database", t->path,
                                                "rules", t->rules, "others", t->kept, "statements", steps));
}

/* ---- a database ---- */

/* To look only, as a source does: nothing is left beside the file. */
static bool setup_open_to_look(struct setup *t)
{
    struct err e = { "" };
    enum db state;
    bool refused;
    int64_t until = clock_mono_ms() + SETUP_WAIT_MS;
    t->look = (struct sqlite_source){ .base = { .ops = &sqlite_source, .id = "setup" },
                                      .max_event.n = SETUP_MAX_EVENT };
    t->look.path = (char *)(uintptr_t)t->path;
    source_begin_look(&t->look);
    t->looks = true;
    while ((state = review_open(&t->look, &refused, &e)) == DB_BUSY && clock_mono_ms() < until)
        usleep(SETUP_AGAIN_US);
    t->db = state == DB_OK ? t->look.db : NULL;
    return state == DB_OK || setup_fail(t, t->path, state == DB_BUSY ? SETUP_LOCKED : e.text);
}

static bool setup_open_to_write(struct setup *t)
{
    struct err e;
    int rc = sqlite3_open_v2(t->path, &t->db, SQLITE_OPEN_READWRITE, NULL);
    sqlite3_busy_timeout(t->db, SETUP_WAIT_MS);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(t->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    err_set(&e, "%s (as uid %u; the application's user is the one to run this as)", sqlite3_errmsg(t->db),
            (unsigned)geteuid());
    return rc == SQLITE_OK || setup_fail(t, t->path, rc == SQLITE_BUSY ? SETUP_LOCKED : e.text);
}

static bool setup_commit(struct setup *t)
{
    return t->looks || sqlite3_exec(t->db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK
           || setup_fail(t, t->path, sqlite3_errmsg(t->db));
}

static void setup_close(struct setup *t)
{
    if (t->looks && t->db)
        database_close(&t->look);
    else
        sqlite3_close(t->db);
    if (t->looks)
        source_end_look(&t->look);
    t->looks = false;
    t->db = NULL;
    for (size_t i = 0; i < t->step_count; i++) {
        sqlite3_free(t->steps[i].sql);
        free(t->steps[i].name);
    }
    for (size_t i = 0; i < t->known.count; i++)
        free(t->known.at[i]);
    free(t->steps);
    free(t->known.at);
    json_decref(t->rules);
    json_decref(t->kept);
    t->steps = NULL;
    t->known = (struct strings){ 0 };
    t->step_count = 0;
}

/* `s` NULL: whatever of any source is there, to take it away. */
static void setup_database(struct setup *t, const struct sqlite_source *s)
{
    const struct rule_options *o;
    t->rules = json_array();
    t->kept = json_array();
    bool look = t->verb == SETUP_VERIFY || t->flags->dry_run;
    bool good = look ? setup_open_to_look(t) : setup_open_to_write(t);
    for (size_t i = 0; good && s && t->verb != SETUP_TEAR_DOWN && (o = source_rule(s, i)); i++)
        good = o->kind != KIND_OUTBOX || setup_rule(t, o);
    if (good) {
        setup_drop_others(t);
        good = setup_run_steps(t);
    }
    if (good && setup_commit(t))
        setup_report(t);
    setup_close(t);
}

/* ---- does a rule fit? ---- */

struct setup_fit {
    struct setup *t;
    const struct rule_options *o;
    bool good;
};

static void setup_wrong(void *ctx, const char *place, const char *why)
{
    struct setup_fit *fit = ctx;
    (void)place;
    fit->good = setup_fail_rule(fit->t, fit->o, why);
}

static void setup_ignore(void *ctx, const char *place, const char *why)
{
    (void)ctx, (void)place, (void)why;
}

static void setup_ignore_sample(void *ctx, const char *rule, bool newest, const struct event *ev)
{
    (void)ctx, (void)rule, (void)newest, (void)ev;
}

/* What is tried is a source of that rule alone. */
static bool setup_fits(struct setup *t, const struct sqlite_source *s, const struct rule_options *o)
{
    struct setup_fit fit = { t, o, true };
    struct sqlite_source one = *s;
    one.preset = (struct preset){ 0 };
    one.telling.app = (char *)(uintptr_t)source_app(s);
    one.capture = (struct list){ (void *)(uintptr_t)o, 1 };
    s->base.ops->trial(&one.base, &(struct trial){ .path = s->path,
                                                   .wrong = setup_wrong,
                                                   .doubtful = setup_ignore,
                                                   .faults = &fit,
                                                   .sample = setup_ignore_sample });
    return fit.good;
}

/* ---- the command ---- */

static void setup_source(struct setup *t, const struct sqlite_source *s)
{
    const struct rule_options *o;
    bool has = false, good = true;
    t->name = s->base.id;
    t->path = s->path;
    for (size_t i = 0; (o = source_rule(s, i)); i++) {
        has = has || o->kind == KIND_OUTBOX;
        if (o->kind == KIND_OUTBOX && t->verb == SETUP_SET_UP)
            good = setup_fits(t, s, o) && good;
    }
    t->any = t->any || has;
    if (good)
        setup_database(t, s);
}

static void setup_use(void *ctx, struct source *const *sources, size_t count)
{
    struct setup *t = ctx;
    bool found = !t->flags->source.at;
    for (size_t i = 0; i < count; i++) {
        bool wanted = !t->flags->source.at || str_eq(t->flags->source, str_of(sources[i]->id));
        if (!wanted || strcmp(sources[i]->ops->type, "sqlite") != 0)
            continue;
        found = true;
        setup_source(t, (const struct sqlite_source *)sources[i]);
    }
    t->name = "--source";
    if (!found)
        setup_fail(t, "", "there is no sqlite source of that name in the configuration");
    else if (!t->any && t->verb != SETUP_TEAR_DOWN)
        fputs("aqueduct sqlite: no rule of kind outbox is configured\n", stderr);
}

/* `teardown FILE`: of a source that is configured no more. */
static void setup_file(struct setup *t, const char *path)
{
    t->name = NULL;
    t->path = path;
    setup_database(t, NULL);
}

static const char *const setup_words[] = { "setup", "verify", "teardown" };

static int setup_misuse(const char *why)
{
    fprintf(stderr, "aqueduct sqlite: %s; see aqueduct help sqlite\n", why);
    return COMMAND_USAGE;
}

int setup_run(const struct command_call *call, const struct setup_flags *flags, bool *known)
{
    struct setup t = { .flags = flags, .good = true };
    for (int i = 0; i < 3; i++)
        if (strcmp(call->words[0], setup_words[i]) == 0)
            t.verb = (enum setup_verb)(i + 1);
    *known = t.verb != 0;
    if (!*known)
        return COMMAND_USAGE;
    if (call->word_count > 1 && (t.verb != SETUP_TEAR_DOWN || flags->source.at))
        return setup_misuse("a FILE belongs to teardown alone, without --source");
    if ((flags->drop && t.verb != SETUP_TEAR_DOWN) || (flags->dry_run && t.verb == SETUP_VERIFY))
        return setup_misuse(flags->drop ? "--drop belongs to teardown" : "--dry-run belongs to setup and teardown");
    t.reports = json_array();
    if (call->word_count > 1)
        setup_file(&t, call->words[1]);
    else
        t.good = call->load_files(call, setup_use, &t) && t.good;
    if (t.verb == SETUP_VERIFY && t.wanting) {
        t.good = false;
        if (!flags->json)
            puts("run aqueduct sqlite setup");
    }
    if (flags->json && json_array_size(t.reports)) {
        json_dumpf(t.reports, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
        putchar('\n');
    }
    json_decref(t.reports);
    return t.good ? COMMAND_DONE : COMMAND_FAILED;
}
