/* SPDX-License-Identifier: MIT */
/* The statements of a `map`: prepared, found fit or not, and run. */
#include "connectors/sqlite/project.h"
#include <stdio.h>
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

/* ---- SQL ---- */

/* The kept columns of a row as a table of one row. */
static void project_add_kept(sqlite3_str *sql, const struct rule_options *o)
{
    sqlite3_str_appendf(sql, "(SELECT ?1 AS \"%w\"", o->key);
    const struct strings *lists[] = { &o->keep, &o->watch };
    for (size_t k = 0; k < (o->kind == KIND_OUTBOX ? 2 : 1); k++)
        for (size_t i = 0; i < lists[k]->count; i++) {
            char path[256];
            const char *name = lists[k]->at[i];
            snprintf(path, sizeof path, "$.\"%.200s\"", name);
            if (!str_eq_nocase(str_of(name), str_of(o->key)) && !(k && rule_lists(&o->keep, str_of(name))))
                sqlite3_str_appendf(sql, ",:kept->>%Q AS \"%w\"", path, name);
        }
    sqlite3_str_appendall(sql, ")");
}

static void project_add_from(sqlite3_str *sql, const struct rule *r, enum view view, bool join)
{
    const struct rule_options *o = r->o;
    sqlite3_str_appendall(sql, " FROM ");
    if (view != VIEW_LIVE)
        project_add_kept(sql, o);
    else if (r->source)
        sqlite3_str_appendall(sql, r->source);
    else if (o->select)
        sqlite3_str_appendf(sql, "(%s\n)", o->select);
    else
        sqlite3_str_appendf(sql, "\"%w\"", o->table);
    sqlite3_str_appendf(sql, " r %s\n", join && o->join ? o->join : "");
}

/* The rowid, or else the key, names the row. */
static int project_place(const struct rule *r, const char **name)
{
    bool tie = r->has_rowid && r->then && strcmp(r->then, "rowid") == 0;
    *name = tie ? "rowid" : r->by_rowid ? r->by : r->o->key;
    return tie ? HEAD_TIE : r->by_rowid ? HEAD_CURSOR : HEAD_KEY;
}

static void project_add_where(sqlite3_str *sql, const struct rule *r, const struct projection *p, enum view view)
{
    const char *name;
    project_place(r, &name);
    if (view == VIEW_LIVE)
        sqlite3_str_appendf(sql, " WHERE r.\"%w\" = ?1", name);
    else
        sqlite3_str_appendall(sql, " WHERE 1");
    if (view != VIEW_BEFORE && p->of.o->when)
        sqlite3_str_appendf(sql, " AND (%s\n)", p->of.o->when);
}

static void project_add_column(sqlite3_str *sql, const char *expression, bool lacks)
{
    sqlite3_str_appendf(sql, "(%s\n),", expression && !lacks ? expression : "NULL");
}

/* Takes sql. NULL: *why has SQLite's message. `columns`: how many it must have. */
static sqlite3_stmt *project_prepare(struct sqlite_source *s, const struct rule *r, sqlite3_str *sql, size_t columns,
                                     struct err *why)
{
    char *text = sqlite3_str_finish(sql);
    CHECK(text);
    sqlite3_stmt *stmt = NULL;
    memset(s->reads, 0, sizeof s->reads);
    s->projecting = r;
    int rc = sqlite3_prepare_v3(s->db, text, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL);
    s->projecting = NULL;
    sqlite3_free(text);
    if (rc != SQLITE_OK) {
        err_set(why, "%s", sqlite3_errmsg(s->db));
    } else if ((size_t)sqlite3_column_count(stmt) != columns) {
        err_set(why, "one expression is wanted");
        sqlite3_finalize(stmt);
        stmt = NULL;
    }
    return stmt;
}

/* One expression alone; NULL for `p`: of any row. */
static sqlite3_stmt *project_alone(struct sqlite_source *s, const struct rule *r, const struct projection *p,
                                   enum view view, bool join, const char *expression, struct err *why)
{
    sqlite3_str *sql = sqlite3_str_new(s->db);
    sqlite3_str_appendf(sql, "SELECT (%s\n)", expression);
    project_add_from(sql, r, view, join);
    if (p)
        project_add_where(sql, r, p, view);
    return project_prepare(s, r, sql, 1, why);
}

/* The whole, without what does not fit and what failed. */
static sqlite3_stmt *project_whole(struct sqlite_source *s, const struct rule *r, const struct projection *p,
                                   enum view view, struct err *why)
{
    sqlite3_str *sql = sqlite3_str_new(s->db);
    sqlite3_str_appendall(sql, "SELECT ");
    project_add_column(sql, r->o->part, false);
    project_add_column(sql, p->of.o->subject, p->no_subject[view]);
    project_add_column(sql, p->of.o->partitionkey, p->no_key[view]);
    for (size_t i = 0; i < p->of.count; i++)
        project_add_column(sql, p->of.bindings[i].sql, p->fits[i].lacks[view] || p->fits[i].failed);
    sqlite3_str_appendall(sql, "1");
    project_add_from(sql, r, view, !p->no_join[view]);
    project_add_where(sql, r, p, view);
    return project_prepare(s, r, sql, DATA_HEAD + p->of.count + 1, why);
}

/* Functions whose result changes while no row does. */
static bool project_is_of_now(const char *function)
{
    static const char *const names[] = { "date",         "time",          "datetime",
                                         "julianday",    "strftime",      "unixepoch",
                                         "current_date", "current_time",  "current_timestamp",
                                         "random",       "timediff",      "randomblob",
                                         "changes",      "total_changes", "last_insert_rowid" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (sqlite3_stricmp(function, names[i]) == 0)
            return true;
    return false;
}

/* Does it read more than rows of that table? */
static bool project_is_beyond(const char *alone, int code, const char *table, const char *function)
{
    return (code == SQLITE_READ && sqlite3_stricmp(table, alone) != 0)
           || (code == SQLITE_FUNCTION && project_is_of_now(function));
}

int project_authorize(void *source, int code, const char *table, const char *column, const char *database,
                      const char *inner)
{
    struct sqlite_source *s = source;
    const struct rule *r = s->projecting;
    (void)database;
    (void)inner;
    if (s->alone)
        s->beyond = s->beyond || project_is_beyond(s->alone, code, table, column);
    if (!r || code != SQLITE_READ || !table || !column || r->o->select
        || !str_eq_nocase(str_of(table), str_of(r->o->table)))
        return SQLITE_OK;
    for (size_t i = 0; i < r->o->watch.count; i++)
        s->reads[i] += str_eq_nocase(str_of(column), str_of(r->o->watch.at[i]));
    if (rule_lists(&r->o->never, str_of(column)))
        return SQLITE_DENY;
    return rule_lists(&r->o->mask, str_of(column)) ? SQLITE_IGNORE : SQLITE_OK;
}

/* ---- what does not fit ---- */

/* The column that the message misses, or absent. */
static struct str project_missed(const struct err *why)
{
    static const char no_column[] = "no such column: ";
    struct str name = str_of(why->text);
    if (!str_starts(name, str_of(no_column)))
        return STR_ABSENT;
    name = str_from(name, sizeof no_column - 1);
    return str_starts(name, STR("r.")) ? str_from(name, 2) : name;
}

/* " (did you mean r.text?)", of the columns of the rule's table; "" when none is near. */
static void project_hint(struct sqlite_source *s, const struct rule *r, struct str missed, char hint[128])
{
    sqlite3_str *sql = sqlite3_str_new(s->db);
    sqlite3_str_appendall(sql, "SELECT r.*");
    project_add_from(sql, r, VIEW_LIVE, false);
    char *text = sqlite3_str_finish(sql);
    sqlite3_stmt *probe = NULL;
    hint[0] = '\0';
    if (text && sqlite3_prepare_v2(s->db, text, -1, &probe, NULL) == SQLITE_OK) {
        const char *near = memchr(missed.at, '.', missed.n) ? NULL : rule_nearest(probe, missed);
        if (near)
            snprintf(hint, 128, " (did you mean r.%.80s?)", near);
    }
    sqlite3_finalize(probe);
    sqlite3_free(text);
}

void project_name(const struct rule *r, const struct projection *p, const char *path, char place[PLACE_TEXT])
{
    const struct map_options *first = r->o->map.at;
    const struct binding *b = NULL;
    for (size_t i = 0; i < p->of.count; i++)
        if (p->of.bindings[i].sql && strcmp(p->of.bindings[i].path->path, path) == 0)
            b = &p->of.bindings[i];
    int n = b && !b->own ? 0 : snprintf(place, PLACE_TEXT, "map[%td]", p->of.o - first);
    if (b)
        snprintf(place + n, PLACE_TEXT - (size_t)n, "%sdata.%s", n ? "." : "", path);
}

/* `place`: of the SQL, in the rule. What entries share is told once, as rule_warn tells the same text once. */
static void project_tell(struct sqlite_source *s, struct rule *r, const struct projection *p, enum view view,
                         const char *place, const char *sql, const struct err *why)
{
    char text[2 * WHY_BYTES], hint[MAP_HINT_TEXT] = "";
    struct str missed = project_missed(why);
    if (missed.n && view == VIEW_LIVE)
        project_hint(s, r, missed, hint);
    if (!hint[0])
        map_hint_quotes(sql, why->text, hint);
    if (missed.n && view != VIEW_LIVE)
        snprintf(text, sizeof text, "keep: %.*s is missing, which %.80s of %.60s reads of a row that is gone",
                 missed.n > 60 ? 60 : (int)missed.n, missed.at, place, p->of.o->type);
    else
        snprintf(text, sizeof text, "%.80s: %.80s%.68s%s", place, why->text, hint,
                 p->lost[view] ? "; no event of this rule is told until it fits" : "");
    rule_warn(s, r, text);
}

/* Does the expression (NULL: none) fit? */
static bool project_fits_schema(struct sqlite_source *s, struct rule *r, const struct projection *p, enum view view,
                                const char *expression, const char *place)
{
    struct err why = { 0 };
    if (!expression)
        return true;
    sqlite3_stmt *stmt = project_alone(s, r, NULL, view, !p->no_join[view], expression, &why);
    sqlite3_finalize(stmt);
    if (!stmt)
        rule_find_cut(s->db, expression, &why);
    if (!stmt && place)
        project_tell(s, r, p, view, place, expression, &why);
    return stmt != NULL;
}

/* Some expression does not fit: which? Of a row that is gone only the entry's own are told: a rule's `data` may be of more
 * than is kept. */
static void project_find_lacking(struct sqlite_source *s, struct rule *r, struct projection *p, enum view view)
{
    const struct map_options *o = p->of.o;
    bool tell = view != VIEW_BEFORE;
    struct err why = { 0 };
    sqlite3_stmt *joined = project_alone(s, r, NULL, view, true, "1", &why);
    sqlite3_finalize(joined);
    p->no_join[view] = !joined;
    p->lost[view] = !joined && view == VIEW_LIVE;
    if (p->lost[view]) {
        project_tell(s, r, p, view, r->o->join ? "join" : "table", "", &why);
        return;
    }
    char when[48], subject[48], key[48];
    ptrdiff_t at = o - (const struct map_options *)r->o->map.at;
    snprintf(when, sizeof when, "map[%td].when", at);
    snprintf(subject, sizeof subject, "map[%td].subject", at);
    snprintf(key, sizeof key, "map[%td].partitionkey", at);
    bool decided = view == VIEW_BEFORE || project_fits_schema(s, r, p, view, o->when, when);
    p->lost[view] = !project_fits_schema(s, r, p, view, r->o->part, tell ? "part" : NULL) || !decided;
    p->no_subject[view] = !project_fits_schema(s, r, p, view, o->subject, tell ? subject : NULL);
    p->no_key[view] = !project_fits_schema(s, r, p, view, o->partitionkey, tell ? key : NULL);
    for (size_t i = 0; i < p->of.count; i++) {
        const struct binding *b = &p->of.bindings[i];
        char place[PLACE_TEXT];
        project_name(r, p, b->path->path, place);
        p->fits[i].lacks[view] = !project_fits_schema(s, r, p, view, b->sql,
                                                      view == VIEW_LIVE || (tell && b->own) ? place : NULL);
    }
}

/* The statement of that view, prepared if need be; NULL: it is of no use with this schema. */
static sqlite3_stmt *project_stmt(struct sqlite_source *s, struct rule *r, struct projection *p, enum view view)
{
    struct err why = { 0 };
    if (p->stmt[view] || (p->probed[view] && p->lost[view]))
        return p->stmt[view];
    if (!p->probed[view]) {
        p->lost[view] = p->no_join[view] = p->no_subject[view] = p->no_key[view] = false;
        for (size_t i = 0; i < p->of.count; i++)
            p->fits[i].lacks[view] = false;
    }
    p->stmt[view] = project_whole(s, r, p, view, &why);
    if (!p->stmt[view] && !p->probed[view]) {
        project_find_lacking(s, r, p, view);
        p->stmt[view] = p->lost[view] ? NULL : project_whole(s, r, p, view, &why);
    }
    p->probed[view] = true;
    p->lost[view] = !p->stmt[view];
    return p->stmt[view];
}

static bool project_is_of_gone(const struct projection *p)
{
    for (size_t i = 0; i < p->of.o->op.count; i++)
        if (strcmp(p->of.o->op.at[i], "delete") == 0 || strcmp(p->of.o->op.at[i], "aborted") == 0)
            return true;
    return false;
}

void project_check(struct sqlite_source *s, struct rule *r)
{
    size_t count = r->o->map.count;
    uint64_t schema = sqlite_schema_of(s);
    if (!count)
        return;
    if (!r->projections)
        r->projections = projection_new(r->o);
    projection_drop(r->projections, count, r->projected != schema);
    r->projected = schema;
    for (size_t i = 0; i < count; i++) {
        struct projection *p = &r->projections[i];
        if (!p->probed[VIEW_LIVE])
            project_stmt(s, r, p, VIEW_LIVE);
        if (!p->probed[VIEW_GONE] && project_is_of_gone(p) && !r->outbox) /* whose deletes have the row */
            project_stmt(s, r, p, VIEW_GONE);
    }
}

void project_learn_reads(struct sqlite_source *s, struct rule *r, struct projection *p)
{
    unsigned base[RULE_WATCH];
    struct err why;
    if (p->reads_known)
        return;
    p->reads_known = true;
    char *source = r->source;
    r->source = NULL; /* of its table itself: what a SELECT in FROM reads is not told by column */
    sqlite3_finalize(project_alone(s, r, NULL, VIEW_LIVE, true, "1", &why));
    memcpy(base, s->reads, sizeof base);
    for (size_t i = 0; i < p->of.count; i++) {
        const struct binding *b = &p->of.bindings[i];
        struct fit *fit = &p->fits[i];
        fit->reads = 0;
        if (fit->lacks[VIEW_LIVE] || !b->sql)
            continue;
        sqlite3_finalize(project_alone(s, r, NULL, VIEW_LIVE, true, b->sql, &why));
        for (size_t k = 0; k < r->o->watch.count; k++)
            fit->reads |= s->reads[k] > base[k] ? (uint32_t)1 << k : 0;
    }
    r->source = source;
}

/* ---- which entry ---- */

/* Does watched column i as it changed fall under that op? */
static bool project_op_is_of(struct sqlite_source *s, const struct rule *r, const char *op, const struct happening *h,
                             size_t i)
{
    struct str value = str_of(op), column;
    if (strcmp(op, "update") == 0)
        return !h->first;
    str_cut(&value, '=', &column);
    if (!str_eq_nocase(column, str_of(r->o->watch.at[i])))
        return false;
    if (!value.at) /* in what `insert` tells of a new row, the value stands */
        return !h->first || (r->usual[i] && !rule_type(r, STR("insert")));
    buf_reset(&s->scratch);
    value_plain(&s->scratch, h->row, HEAD + (int)i);
    return str_eq(value, buf_str(&s->scratch));
}

bool project_fits(struct sqlite_source *s, const struct rule *r, const struct projection *p, const struct happening *h,
                  uint32_t *columns)
{
    *columns = 0;
    for (size_t k = 0; k < p->of.o->op.count; k++) {
        const char *op = p->of.o->op.at[k];
        if (!h->columns && strcmp(op, h->op) == 0)
            return true;
        for (size_t i = 0; h->columns && h->row && i < r->o->watch.count; i++)
            if (h->columns[i] && project_op_is_of(s, r, op, h, i))
                *columns |= (uint32_t)1 << i;
    }
    return *columns != 0;
}

/* ---- run ---- */

static void project_bind_text(sqlite3_stmt *stmt, const char *name, const char *text)
{
    int at = sqlite3_bind_parameter_index(stmt, name);
    if (at)
        sqlite3_bind_text(stmt, at, text, -1, SQLITE_STATIC);
}

/* What fails here shows in the step. */
static void project_bind(const struct projecting *at, sqlite3_stmt *stmt)
{
    const char *name;
    const struct happening *h = at->h;
    if (at->view == VIEW_LIVE)
        sqlite3_bind_value(stmt, 1, sqlite3_column_value(h->row, project_place(at->r, &name)));
    else if (sqlite3_bind_parameter_count(stmt))
        value_bind(stmt, 1, h->key);
    project_bind_text(stmt, ":kept", h->kept);
    project_bind_text(stmt, ":before", h->kept);
}

/* Does that expression of the row fail? *huge: by its length. */
static bool project_fails(struct sqlite_source *s, const struct projecting *at, const char *expression,
                          const char *place, bool *huge)
{
    struct err why = { 0 };
    int rc = SQLITE_ERROR;
    sqlite3_stmt *stmt = project_alone(s, at->r, at->p, at->view, !at->p->no_join[at->view], expression, &why);
    if (stmt) {
        project_bind(at, stmt);
        while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {}
        err_set(&why, "%s", sqlite3_errmsg(s->db));
    }
    *huge = rc == SQLITE_TOOBIG;
    if (rc != SQLITE_DONE && !*huge)
        project_tell(s, at->r, at->p, VIEW_LIVE, place, "", &why);
    sqlite3_finalize(stmt);
    return rc != SQLITE_DONE;
}

/* The statement failed with this row: from now on it is one without what fails. */
static bool project_take_apart(struct sqlite_source *s, struct projecting *at)
{
    struct projection *p = at->p;
    struct err why = { 0 };
    sqlite3_reset(at->row);
    s->read_began_us = clock_mono_us(); /* it may have been stopped for taking too long */
    for (size_t i = 0; i < p->of.count; i++) {
        const struct binding *b = &p->of.bindings[i];
        struct fit *fit = &p->fits[i];
        char place[PLACE_TEXT];
        project_name(at->r, p, b->path->path, place);
        fit->failed = b->sql && !fit->lacks[at->view] && project_fails(s, at, b->sql, place, &fit->huge);
    }
    at->apart = true;
    at->row = project_whole(s, at->r, p, at->view, &why);
    if (!at->row)
        return false;
    project_bind(at, at->row);
    for (size_t i = 0; i < at->rows; i++) /* those that were told */
        if (sqlite3_step(at->row) != SQLITE_ROW)
            return false;
    return true;
}

static void project_refuse(struct sqlite_source *s, const struct projecting *at, const char *why)
{
    struct err e;
    err_set(&e, "%s", why);
    render_refused(s, at->r, at->h, at->p->of.o->type, &e);
}

void project_begin(struct sqlite_source *s, struct projecting *at)
{
    at->view = at->h->row ? VIEW_LIVE : VIEW_GONE;
    at->row = project_stmt(s, at->r, at->p, at->view);
    if (at->row)
        project_bind(at, at->row);
    else
        project_refuse(s, at, "its `map` does not fit this database, as was said");
}

bool project_next(struct sqlite_source *s, struct projecting *at)
{
    int rc = at->row ? sqlite3_step(at->row) : SQLITE_DONE;
    if (rc != SQLITE_ROW && rc != SQLITE_DONE && !at->apart)
        rc = project_take_apart(s, at) ? sqlite3_step(at->row) : SQLITE_ERROR;
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        project_refuse(s, at, sqlite3_errmsg(s->db));
    if (rc != SQLITE_ROW)
        return false;
    at->rows++;
    return true;
}

void project_end(struct projecting *at)
{
    if (at->apart) {
        sqlite3_finalize(at->row);
        for (size_t i = 0; i < at->p->of.count; i++)
            at->p->fits[i].failed = at->p->fits[i].huge = false;
    } else if (at->row) {
        sqlite3_reset(at->row);
        sqlite3_clear_bindings(at->row);
    }
    at->row = NULL;
}

sqlite3_stmt *project_kept(struct sqlite_source *s, struct rule *r, struct projection *p, struct str key,
                           const char *kept)
{
    sqlite3_stmt *stmt = kept && !r->o->part ? project_stmt(s, r, p, VIEW_BEFORE) : NULL;
    if (!stmt)
        return NULL;
    value_bind(stmt, 1, key);
    project_bind_text(stmt, ":kept", kept);
    if (sqlite3_step(stmt) == SQLITE_ROW)
        return stmt;
    sqlite3_reset(stmt);
    return NULL;
}
