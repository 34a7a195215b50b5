/* SPDX-License-Identifier: MIT */
/* Checks the options of a map. */
#include "connectors/http/mapping_check.h"
#include <stdio.h>
#include "connectors/http/mapping_sql.h"

static bool mapping_check_sql(struct sandbox *b, const struct mapping_rules *r, const char *expression,
                              const char *what, struct err *e)
{
    if (!mapping_is_set(expression))
        return true;
    char hint[MAP_HINT_TEXT];
    struct err why = { "" };
    sqlite3_stmt *stmt = mapping_prepare_alone(b, r, expression, true, &why);
    sqlite3_finalize(stmt);
    map_hint_quotes(expression, why.text, hint);
    return stmt || err_set(e, "%s: %.300s%s", what, why.text, hint);
}

static bool mapping_check_data(struct sandbox *b, const struct mapping_rules *r, const struct map *data, struct err *e)
{
    for (size_t i = 0; i < data->count; i++) {
        char place[160];
        snprintf(place, sizeof place, "data.%s", data->at[i].key);
        if (!mapping_check_sql(b, r, data->at[i].value, place, e))
            return false;
    }
    return true;
}

static bool mapping_check_entries(struct sandbox *b, const struct mapping_rules *r, struct err *e)
{
    const struct map_options *m = r->map.at;
    for (size_t i = 0; i < r->map.count; i++)
        if (!mapping_check_sql(b, r, m[i].when, "when", e) || !mapping_check_data(b, r, &m[i].data, e)
            || !mapping_check_sql(b, r, m[i].subject, "subject", e)
            || !mapping_check_sql(b, r, m[i].partitionkey, "partitionkey", e))
            return err_prefix(e, "map[%zu]", i);
    return true;
}

/* Is it a JSON path? SQLite says so when it is used. */
static bool mapping_check_each(struct sandbox *b, const struct mapping_rules *r, struct err *e)
{
    if (!mapping_is_set(r->each))
        return true;
    sqlite3_str *sql = sqlite3_str_new(b->db);
    sqlite3_str_appendf(sql, "SELECT 1 FROM json_each('{}', %Q)", r->each);
    sqlite3_stmt *stmt = sandbox_prepare(b, sql, 1, e);
    bool good = stmt && (sqlite3_step(stmt) == SQLITE_DONE || err_set(e, "%s", sqlite3_errmsg(b->db)));
    sqlite3_finalize(stmt);
    return good || err_prefix(e, "each");
}

static bool mapping_check_prepared(const struct mapping_rules *r, struct err *e)
{
    struct sandbox b;
    sandbox_open(&b, 0);
    bool good = mapping_check_each(&b, r, e) && mapping_check_sql(&b, r, mapping_is_sql(r->id) ? r->id : NULL, "id", e)
                && mapping_check_sql(&b, r, mapping_is_sql(r->time) ? r->time : NULL, "time", e)
                && mapping_check_sql(&b, r, r->part, "part", e) && mapping_check_data(&b, r, &r->data, e)
                && mapping_check_entries(&b, r, e);
    sandbox_close(&b);
    return good;
}

struct mapping_said {
    const char *name; /* of an option */
    bool said;        /* it has another value than its default */
};

/* The name of the first that is said, or NULL. */
static const char *mapping_first(const struct mapping_said *options, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (options[i].said)
            return options[i].name;
    return NULL;
}

/* What belongs to a map that is not there. */
static bool mapping_check_without(const struct mapping_options *o, const struct mapping_rules *r, struct err *e)
{
    const struct mapping_said of_rules[] = { { "data", r->data.count },
                                             { "each", mapping_is_set(r->each) },
                                             { "part", mapping_is_set(r->part) } };
    const struct mapping_said of_telling[] = {
        { "app", mapping_is_set(o->telling.app) },
        { "content", o->telling.content != TELL_FULL },
        { "personal", o->telling.personal != TELL_FULL },
        { "raw", o->raw },
        { "mask", o->mask.count },
        { "unmapped", !tell_is_full(&o->telling) || o->unmapped != UNMAPPED_STORE },
    };
    const char *name = mapping_first(of_rules, sizeof of_rules / sizeof *of_rules);
    if (name)
        return err_set(e, "%s: belongs to a path with map", name);
    name = mapping_first(of_telling, sizeof of_telling / sizeof *of_telling);
    return !name || err_set(e, "%s: belongs to a path with map; other bodies are told as they come", name);
}

static bool mapping_check_with(const struct mapping_options *o, const struct mapping_rules *r, struct err *e)
{
    if (!mapping_app(o))
        return err_set(e, "app: is missing: what events call the application (app.name)");
    if (mapping_is_set(r->part) && !mapping_is_set(r->each))
        return err_set(e, "part: belongs to each");
    if (!tell_is_full(&o->telling) && o->unmapped == UNMAPPED_STORE)
        return err_set(e, "unmapped: is store, which tells bodies that no entry fits as they came; with content or "
                          "personal other than full it is drop or refuse");
    if (o->mask.count && o->unmapped == UNMAPPED_STORE)
        return err_set(e,
                       "unmapped: is store, which tells bodies that no entry fits as they came; with mask it is drop "
                       "or refuse");
    if (!tell_is_full(&o->telling) && o->raw)
        return err_set(e, "raw: body tells what was posted as it came; it does not go with content or personal other "
                          "than full");
    return map_check(&r->data, r->map, e);
}

bool mapping_check(const struct mapping_options *o, struct err *e)
{
    const struct mapping_rules *r = mapping_rules_of(o), *own = &o->rules;
    bool preset = o->preset.content != NULL;
    if (preset && (own->map.count || own->data.count || own->each || own->part || own->id || own->time))
        return err_set(e,
                       "preset: has its own map, data, each, part, id and time; write a file like it to change them");
    bool good = tell_check(&o->telling, e)
                && (r->map.count ? mapping_check_with(o, r, e) : mapping_check_without(o, r, e))
                && mapping_check_prepared(r, e);
    return good || (preset && err_prefix(e, "preset: %s", o->preset.name));
}
