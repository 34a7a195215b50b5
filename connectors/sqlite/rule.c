/* SPDX-License-Identifier: MIT */
/* A capture rule at work: its life, what is said of it, and what it tells of its options. */
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "connectors/sqlite/projection.h"
#include "connectors/sqlite/sqlite.h"
#include <stdio.h>
#include <stdlib.h>

bool rule_lists(const struct strings *list, struct str name)
{
    for (size_t i = 0; i < list->count; i++)
        if (str_eq_nocase(str_of(list->at[i]), name))
            return true;
    return false;
}

bool rule_has_entry(const struct map *map, const char *name)
{
    for (size_t i = 0; i < map->count; i++)
        if (str_eq_nocase(str_of(map->at[i].key), str_of(name)))
            return true;
    return false;
}

bool rule_form(const char *text, enum form *out)
{
    static const char *const names[] = { "value", "json", "bool", "time" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(text, names[i]) == 0) {
            *out = (enum form)i;
            return true;
        }
    return false;
}

struct rule *rule_of(struct sqlite_source *s, struct str name)
{
    for (size_t i = 0; i < s->rule_count; i++)
        if (str_eq(str_of(s->rules[i]->name), name))
            return s->rules[i];
    struct rule *r = mem_alloc(sizeof *r);
    r->name = str_dup(name);
    s->rules = mem_grow(s->rules, s->rule_count + 1, sizeof(struct rule *));
    return s->rules[s->rule_count++] = r;
}

const char *rule_type(const struct rule *r, struct str op)
{
    const struct map_options *m = r->o->map.at;
    for (size_t i = 0; i < r->o->map.count; i++)
        if (rule_lists(&m[i].op, op))
            return m[i].type;
    for (size_t i = 0; i < r->o->types.count; i++)
        if (str_eq(str_of(r->o->types.at[i].key), op))
            return r->o->types.at[i].value;
    return NULL;
}

const char *rule_nearest(sqlite3_stmt *probe, struct str name)
{
    int count = sqlite3_column_count(probe);
    const char **names = mem_alloc(((size_t)count + 1) * sizeof *names);
    for (int i = 0; i < count; i++)
        names[i] = sqlite3_column_name(probe, i);
    const char *nearest = str_nearest(name, names);
    free(names);
    return nearest;
}

void rule_find_cut(sqlite3 *db, const char *expression, struct err *why)
{
    sqlite3_stmt *stmt = NULL;
    if (!str_ends(str_of(why->text), STR(": syntax error")))
        return;
    char *sql = sqlite3_mprintf("SELECT (%s", expression); /* which fails: what it misses, or what is wrong in it */
    CHECK(sql);
    sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
    if (strcmp(sqlite3_errmsg(db), "incomplete input") == 0)
        err_set(why, "syntax error: the SQL is not complete, something is missing at its end");
    sqlite3_finalize(stmt);
    sqlite3_free(sql);
}

bool rule_keeps(const struct rule_options *o, struct str name)
{
    return rule_lists(&o->keep, name) || (o->kind == KIND_OUTBOX && rule_lists(&o->watch, name));
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

bool rule_is_new(uint64_t *ring, size_t size, size_t *count, uint64_t hash)
{
    for (size_t i = 0; i < *count && i < size; i++)
        if (ring[i] == hash)
            return false;
    ring[(*count)++ % size] = hash;
    return true;
}

static void rule_say(struct sqlite_source *s, struct rule *r, const char *what, const char *why)
{
    if (!rule_is_new(r->warned, RULE_WARNINGS, &r->warned_count, str_hash(str_of(why))))
        return;
    if (s->told) {
        s->told(s->told_ctx, r, why);
        return;
    }
    LOG(WARN, what, LOG_C("source", s->base.id), LOG_C("rule", r->name), LOG_C("why", why));
}

void rule_warn(struct sqlite_source *s, struct rule *r, const char *why)
{
    rule_say(s, r, "a capture rule does not fit this database; what fits goes on", why);
}

void rule_warn_of_cost(struct sqlite_source *s, struct rule *r, const char *why)
{
    if (!s->rehearsed)
        rule_say(s, r, "a capture rule costs more than it needs to; it goes on", why);
}

void rule_warn_of_unkeyed(struct sqlite_source *s, struct rule *r)
{
    rule_warn(s, r, "rows whose key is NULL are not captured (counted as unkeyed); name another `key`");
}

void rule_stand_still(struct sqlite_source *s, struct rule *r, bool still, const char *why)
{
    if (r->blocked != still)
        metric_add(s->unusable, still ? 1 : -1); /* it is set anew when the rules are compiled again */
    r->blocked = still;
    if (still)
        rule_warn(s, r, why);
}

void rule_rewind(struct rule *r)
{
    sqlite3_value_free(r->at);
    sqlite3_value_free(r->updated.tie);
    r->at = r->updated.tie = NULL;
}

void rule_drop(struct rule *r)
{
    sqlite3_stmt **all[] = { &r->first,    &r->next,   &r->get,       &r->recent,  &r->at_cursor, &r->max,
                             &r->sequence, &r->behind, &r->max_rowid, &r->unkeyed, &r->count,     &r->range };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        sqlite3_finalize(*all[i]);
        *all[i] = NULL;
    }
    for (int i = 0; i < r->field_count; i++)
        free(r->fields[i].name);
    free(r->fields);
    for (size_t i = 0; i < RULE_WATCH; i++) {
        free(r->usual[i]);
        r->usual[i] = NULL;
    }
    r->fields = NULL;
    r->field_count = 0;
    if (r->o)
        projection_drop(r->projections, r->o->map.count, false);
    r->usable = r->blocked = false;
    r->root = 0;
    rule_rewind(r);
    r->stage = STAGE_BEGIN;
}

void rule_forget_outbox(struct rule *r)
{
    free(r->outbox);
    sqlite3_free(r->source);
    sqlite3_free(r->source_old);
    r->outbox = r->source = r->source_old = NULL;
}

void rule_free(struct rule *r)
{
    rule_drop(r);
    if (r->o)
        projection_free(r->projections, r->o->map.count);
    instance_free(r->instance);
    zone_free(r->zone);
    rows_free(&r->rows);
    leaves_free(&r->by_range.leaves);
    rule_forget_outbox(r);
    free(r->by_range.spans);
    free(r->cursor);
    free(r->tie);
    free(r->cursor_key);
    passed_forget_all(&r->passed);
    free(r->name);
    free(r);
}
