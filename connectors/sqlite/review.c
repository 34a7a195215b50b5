/* SPDX-License-Identifier: MIT */
/* For `aqueduct check`: what of the rules does not fit the database that is there. It opens it read-only, as a source at
 * work does, and leaves no file and no lock. */
#include "bridge/lib/mem.h"
#include "connectors/sqlite/compile.h"
#include "connectors/sqlite/review.h"
#include "connectors/sqlite/trial.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct review {
    struct sqlite_source *s;
    const struct review_how *how;
    /* the rule at work */
    char place[32];
    const char *label;  /* of a preset's rule: its name; NULL: its place says which */
    const char **names; /* of the columns of its table or select; ends with NULL */
    size_t found;       /* what was said about it */
};

static void review_say(struct review *v, bool wrong, struct err *e)
{
    if (v->label)
        err_prefix(e, "rule %s", v->label);
    (wrong ? v->how->wrong : v->how->doubtful)(v->how->ctx, v->place, e->text);
    v->found++;
}

/* What is not there: in a person's own rule, tried on the very file that it is for, a mistake. */
static void review_say_missing(struct review *v, struct err *e)
{
    review_say(v, v->how->trial && !v->label, e);
}

static const char *review_hint(const char *word, const char *const *names, char out[128])
{
    const char *near = names ? str_nearest(str_of(word), names) : NULL;
    out[0] = '\0';
    if (near)
        snprintf(out, 128, " (did you mean %.80s?)", near);
    return out;
}

/* ---- the file ---- */

/* May it be opened? *alone: it is in WAL mode and nobody has it open, so that SQLite would make files beside it. This
 * process has no lock of it, which closing a descriptor would drop. */
static bool review_file(const struct sqlite_source *s, bool *alone, struct err *e)
{
    static const char magic[] = "SQLite format 3";
    const char *path = s->path;
    char head[20] = "";
    struct stat st;
    if (stat(path, &st) != 0)
        return err_set(e, "path: \"%s\": %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(e, "path: \"%s\" is %s; name the database file itself", path,
                       S_ISDIR(st.st_mode) ? "a folder" : "no ordinary file");
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_set(e, "path: no permission to read \"%s\" as uid %u; run as the user of the application", path,
                       (unsigned)geteuid());
    ssize_t n = pread(fd, head, sizeof head, 0);
    close(fd);
    if (n > 0 && (n < (ssize_t)sizeof head || memcmp(head, magic, sizeof magic) != 0))
        return err_set(e, "path: \"%s\" is no SQLite database, or it is encrypted", path);
    char *wal = beside_path(path, "-wal");
    *alone = head[18] == 2 && access(wal, F_OK) != 0;
    free(wal);
    return true;
}

enum db review_open(struct sqlite_source *s, bool *refused, struct err *e)
{
    bool alone = false;
    *refused = !review_file(s, &alone, e);
    return *refused ? DB_GONE : database_open_to_look(s, alone, e);
}

/* ---- the tables and columns that a rule names ---- */

static sqlite3_stmt *review_prepare(const struct review *v, char *sql)
{
    sqlite3_stmt *stmt = NULL;
    CHECK(sql);
    sqlite3_prepare_v2(v->s->db, sql, -1, &stmt, NULL);
    sqlite3_free(sql);
    return stmt;
}

/* False: a database without any table, which the application has still to fill. */
static bool review_has_tables(const struct review *v)
{
    sqlite3_stmt *stmt = review_prepare(v, sqlite3_mprintf("SELECT 1 FROM sqlite_schema LIMIT 1"));
    bool has = stmt && sqlite3_step(stmt) == SQLITE_ROW;
    sqlite3_finalize(stmt);
    return has;
}

static bool review_table(struct review *v, const char *table)
{
    enum { TABLES = 1000 };
    struct err e;
    char hint[128];
    const char *names[TABLES + 1] = { NULL };
    size_t count = 0;
    bool has = false;
    sqlite3_stmt *
        stmt = review_prepare(v,
                              sqlite3_mprintf("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') LIMIT %d",
                                              TABLES));
    while (stmt && !has && sqlite3_step(stmt) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(stmt, 0);
        has = name && str_eq_nocase(str_of(name), str_of(table));
        if (name)
            names[count++] = str_dup(str_of(name));
    }
    sqlite3_finalize(stmt);
    if (!has) {
        err_set(&e, "table: there is no table \"%.80s\"%s", table, review_hint(table, names, hint));
        review_say_missing(v, &e);
    }
    for (size_t i = 0; i < count; i++)
        free((char *)names[i]);
    return has;
}

static void review_column(struct review *v, const struct rule_options *o, const char *option, struct str name)
{
    struct err e;
    char hint[128], word[100];
    snprintf(word, sizeof word, "%.*s", name.n > 80 ? 80 : (int)name.n, name.at ? name.at : "");
    bool has = !name.at || (o->table && !o->select && str_eq_nocase(name, STR("rowid")));
    for (size_t i = 0; !has && v->names[i]; i++)
        has = str_eq_nocase(str_of(v->names[i]), name);
    if (has)
        return;
    err_set(&e, "%s: there is no column \"%s\" in %.80s%s", option, word, o->select ? "the select" : o->table,
            review_hint(word, v->names, hint));
    review_say_missing(v, &e);
}

static void review_columns(struct review *v, const struct rule_options *o, const char *option,
                           const struct strings *list)
{
    for (size_t i = 0; i < list->count; i++)
        review_column(v, o, option, str_of(list->at[i]));
}

/* Every {column} of it. */
static void review_template(struct review *v, const struct rule_options *o, const char *option, const char *template)
{
    struct str rest = str_of(template), piece;
    while (template && str_cut(&rest, '{', &piece) && rest.at && str_cut(&rest, '}', &piece))
        review_column(v, o, option, piece);
}

static void review_names(struct review *v, const struct rule_options *o)
{
    review_column(v, o, "key", str_of(o->key));
    if (o->cursor)
        review_column(v, o, "cursor", str_of(o->cursor));
    if (o->time)
        review_column(v, o, "time", str_of(o->time));
    if (o->type_column)
        review_column(v, o, "type_column", str_of(o->type_column));
    review_columns(v, o, "watch", &o->watch);
    review_columns(v, o, "keep", &o->keep);
    review_columns(v, o, "never", &o->never);
    review_columns(v, o, "mask", &o->mask);
    for (size_t i = 0; i < o->columns.count; i++)
        review_column(v, o, "columns", str_of(o->columns.at[i].key));
    for (size_t i = 0; i < o->types.count; i++)
        review_template(v, o, "types", o->types.at[i].value);
    review_template(v, o, "subject", o->subject);
}

/* ---- its SQL ---- */

/* What SQLite said about an option's text (NULL: it is no expression). What is not there may come with another version of the application. */
static void review_sql(struct review *v, const char *option, const char *expression)
{
    struct err e, said;
    char hint[128] = "";
    static const char no_column[] = "no such column: ";
    err_set(&said, "%s", sqlite3_errmsg(v->s->db));
    if (expression)
        rule_find_cut(v->s->db, expression, &said);
    const char *why = said.text;
    if (strncmp(why, no_column, sizeof no_column - 1) == 0)
        review_hint(why + sizeof no_column - 1, v->names, hint);
    err_set(&e, "%s: %s%s", option, why, hint);
    if (str_starts(str_of(why), STR("no such column")) || str_starts(str_of(why), STR("no such table")))
        review_say_missing(v, &e);
    else
        review_say(v, true, &e);
}

static char *review_from(const struct rule_options *o)
{
    char *from = o->select ? sqlite3_mprintf("(%s\n)", o->select) : sqlite3_mprintf("\"%w\"", o->table);
    CHECK(from);
    return from;
}

static void review_expression(struct review *v, const struct rule_options *o, const char *option, const char *text)
{
    char *from = review_from(o);
    sqlite3_stmt *stmt = text ? review_prepare(v, sqlite3_mprintf("SELECT (%s\n) FROM %s", text, from)) : NULL;
    if (text && !stmt)
        review_sql(v, option, text);
    sqlite3_finalize(stmt);
    sqlite3_free(from);
}

/* The columns of its table or select in v->names, borrowed from the statement; NULL: it was told why there are none. */
static sqlite3_stmt *review_probe(struct review *v, const struct rule_options *o)
{
    if (!o->select && !review_table(v, o->table))
        return NULL;
    char *from = review_from(o);
    sqlite3_stmt *probe = review_prepare(v, sqlite3_mprintf("SELECT * FROM %s", from));
    sqlite3_free(from);
    if (!probe) {
        review_sql(v, o->select ? "select" : "table", NULL);
        return NULL;
    }
    int count = sqlite3_column_count(probe);
    v->names = mem_alloc(((size_t)count + 1) * sizeof *v->names);
    for (int i = 0; i < count; i++)
        v->names[i] = sqlite3_column_name(probe, i);
    return probe;
}

static void review_told(void *ctx, const struct rule *r, const char *why)
{
    (void)r;
    struct err e;
    err_set(&e, "%s", why);
    if (strstr(why, "no such column") || strstr(why, "no such table"))
        review_say_missing(ctx, &e);
    else
        review_say(ctx, strstr(why, "syntax error") != NULL, &e);
}

/* A rule with `tables` is reviewed by its instances, if it has any. */
static void review_pattern(struct review *v, const struct rule *r)
{
    struct err e;
    bool has = false;
    for (size_t i = 0; i < v->s->rule_count; i++)
        has = has || instance_is_of(r->o, str_of(v->s->rules[i]->name));
    err_set(&e, "tables: there is no table like \"%.80s\"", r->o->tables);
    if (!has)
        review_say(v, false, &e);
}

/* Is it the preset's? */
static bool review_is_ready(const struct review *v, const struct rule *r)
{
    const struct rule_options *first = v->s->capture.at;
    return !first || r->o < first || r->o >= first + v->s->capture.count;
}

/* Is its table, or all that its select reads, there? */
static bool review_finds(const struct review *v, const struct rule *r)
{
    if (r->o->tables)
        return false;
    char *from = review_from(r->o);
    sqlite3_stmt *probe = review_prepare(v, sqlite3_mprintf("SELECT * FROM %s", from));
    sqlite3_free(from);
    sqlite3_finalize(probe);
    return probe != NULL;
}

/* Says it once when nothing of what the preset reads is there: it is another application's. */
static bool review_is_foreign(struct review *v)
{
    struct err e;
    size_t ready = 0;
    for (size_t i = 0; i < v->s->rule_count; i++) {
        ready += review_is_ready(v, v->s->rules[i]);
        if (review_is_ready(v, v->s->rules[i]) && review_finds(v, v->s->rules[i]))
            return false;
    }
    if (ready < 2)
        return false;
    err_set(&e, "this is not the database of %.80s, or not yet: nothing is there of what the preset's %zu rules read",
            v->s->preset.name, ready);
    snprintf(v->place, sizeof v->place, "preset");
    review_say(v, false, &e);
    return true;
}

static void review_rule(struct review *v, struct rule *r)
{
    bool ready = review_is_ready(v, r);
    v->label = ready ? r->name : NULL;
    v->found = 0;
    v->names = NULL;
    snprintf(v->place, sizeof v->place, "preset");
    if (!ready)
        snprintf(v->place, sizeof v->place, "capture[%td]", r->o - (const struct rule_options *)v->s->capture.at);
    if (r->o->tables) {
        review_pattern(v, r);
        return;
    }
    sqlite3_stmt *probe = review_probe(v, r->o);
    if (probe && !ready) { /* a preset is written for several versions */
        review_names(v, r->o);
        review_expression(v, r->o, "where", r->o->where);
        review_expression(v, r->o, "done", r->o->done);
    }
    v->s->read_began_us = clock_mono_us();
    if (probe && !v->found)
        compile_rule(v->s, r);
    if (v->how->trial && r->usable)
        trial_rule(v->s, r, v->how->trial);
    free(v->names);
    sqlite3_finalize(probe);
}

void review_rules(struct sqlite_source *s, const struct review_how *how)
{
    struct err e = { "" };
    bool refused;
    struct review v = { .s = s, .how = how };
    switch (review_open(s, &refused, &e)) {
    case DB_OK: break;
    case DB_BUSY:
        if (how->trial)
            how->doubtful(how->ctx, "path", "is locked, as its application is writing; try again");
        return;
    case DB_GONE:
        if (!how->trial && access(s->path, F_OK) != 0)
            return; /* it was there a moment ago */
        (refused ? how->wrong : how->doubtful)(how->ctx, refused ? "" : "path", e.text);
        return;
    }
    s->told = review_told;
    s->told_ctx = &v;
    tables_find(s);
    bool filled = review_has_tables(&v), foreign = filled && review_is_foreign(&v);
    for (size_t i = 0; filled && i < s->rule_count; i++)
        if (!foreign || !review_is_ready(&v, s->rules[i]))
            review_rule(&v, s->rules[i]);
    database_close(s);
}
