/* SPDX-License-Identifier: MIT */
/* `map` as written, checked against the vocabulary; as bindings. */
#include "bridge/map/map.h"
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/mem.h"

/* ---- checked ---- */

/* The data that all entries share and those of one, which come first. */
struct map_lookup {
    const struct map *own, *shared;
};

static const char *map_sql(const struct map_lookup *m, const char *path, bool *own)
{
    const struct map *of[] = { m->own, m->shared };
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < of[k]->count; i++)
            if (strcmp(of[k]->at[i].key, path) == 0) {
                *own = k == 0;
                return of[k]->at[i].value;
            }
    return NULL;
}

static bool map_has(void *ctx, const char *path)
{
    bool own;
    return strcmp(path, "app.name") == 0 || map_sql(ctx, path, &own) != NULL;
}

void map_hint_quotes(const char *sql, const char *why, char out[MAP_HINT_TEXT])
{
    static const char no_column[] = "no such column: ";
    bool is = strncmp(why, no_column, sizeof no_column - 1) == 0 && strcmp(why + sizeof no_column - 1, sql) == 0;
    out[0] = '\0';
    if (is && !strchr(sql, '.'))
        snprintf(out, MAP_HINT_TEXT, " (a text is quoted twice: \"'%.36s'\")", sql);
}

static bool map_check_path(const char *name, const char *sql, struct err *e)
{
    const struct vocabulary_path *path = vocabulary_path(str_of(name));
    const char *near = path ? NULL : vocabulary_nearest_path(str_of(name));
    if (near)
        return err_set(e, "data.%s: there is no path \"%s\" in the vocabulary (did you mean %s?)", name, name, near);
    if (!path || strchr(name, '['))
        return err_set(e, "data.%s: there is no path \"%s\" in the vocabulary", name, name);
    if (path->made)
        return err_set(e, "data.%s: is made of the text beside it, not mapped", name);
    return sql[strspn(sql, " \t\r\n")] || err_set(e, "data.%s: has no SQL", name);
}

static bool map_check_entry(const struct map *shared, const struct map_options *m, struct err *e)
{
    const struct vocabulary_type *type = vocabulary_type(str_of(m->type));
    const char *near = type ? NULL : vocabulary_nearest_type(str_of(m->type));
    if (!type)
        return err_set(e, "type: \"%s\" is no type of the vocabulary%s%s%s; one of your own does without `map`",
                       m->type, near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
    for (size_t i = 0; i < m->data.count; i++) {
        const char *path = m->data.at[i].key;
        if (!map_check_path(path, m->data.at[i].value, e))
            return false;
        if (!vocabulary_carries(type, str_of(path)))
            return err_set(e, "data.%s: has no place in the data of %s", path, m->type);
    }
    struct map_lookup lookup = { &m->data, shared };
    const char *lack = vocabulary_lack(type, map_has, &lookup);
    return !lack || err_set(e, "data: %s is missing, which events of %s must have", lack, m->type);
}

/* A shared path that no entry has a place for would never be told. */
static bool map_has_place(struct list map, const char *path)
{
    const struct map_options *m = map.at;
    bool used = false;
    for (size_t k = 0; k < map.count; k++) {
        const struct vocabulary_type *type = vocabulary_type(str_of(m[k].type));
        used = used || !type || vocabulary_carries(type, str_of(path));
    }
    return used;
}

static bool map_check_shared(const struct map *shared, struct list map, struct err *e)
{
    for (size_t i = 0; i < shared->count; i++) {
        if (!map_check_path(shared->at[i].key, shared->at[i].value, e))
            return false;
        if (!map_has_place(map, shared->at[i].key))
            return err_set(e, "data.%s: has no place in the data of any type of `map`", shared->at[i].key);
    }
    return true;
}

bool map_check(const struct map *data, struct list map, struct err *e)
{
    const struct map_options *m = map.at;
    if (!map_check_shared(data, map, e))
        return false;
    for (size_t i = 0; i < map.count; i++)
        if (!map_check_entry(data, &m[i], e))
            return err_prefix(e, "map[%zu]", i);
    return true;
}

bool map_tells_content(const struct map *data, const struct map_options *m)
{
    struct map_lookup lookup = { &m->data, data };
    const struct vocabulary_type *type = vocabulary_type(str_of(m->type));
    for (const struct vocabulary_path *p = vocabulary_paths; p->path; p++)
        if (p->content && vocabulary_carries(type, str_of(p->path)) && map_has(&lookup, p->path))
            return true;
    return false;
}

/* ---- at work ---- */

/* Does the vocabulary have that path beside the one of `p`, such as input.chars beside input.text? */
static bool map_has_beside(const struct vocabulary_path *p, const char *word)
{
    char path[128];
    const char *dot = strrchr(p->path, '.');
    if (!dot || strcmp(dot, ".text") != 0)
        return false;
    snprintf(path, sizeof path, "%.*s.%s", (int)(dot - p->path), p->path, word);
    return vocabulary_path(str_of(path)) != NULL;
}

/* Is it one text in quotes? */
static bool map_is_literal(const char *sql)
{
    struct str text = str_trim(str_of(sql));
    return text.n >= 2 && text.at[0] == '\'' && memchr(text.at + 1, '\'', text.n - 1) == text.at + text.n - 1;
}

void map_outline(const struct map *data, struct list map, size_t i, struct outline *out)
{
    const struct map_options *m = map.at;
    struct map_lookup lookup = { &m[i].data, data };
    size_t room = m[i].data.count + data->count + 1;
    *out = (struct outline){ .o = &m[i], .type = vocabulary_type(str_of(m[i].type)) };
    for (size_t k = 0; k < i; k++)
        out->twin += strcmp(m[k].type, m[i].type) == 0;
    out->bindings = mem_alloc(room * sizeof *out->bindings);
    for (const struct vocabulary_path *path = vocabulary_paths; path->path; path++) {
        bool own = false;
        const char *sql = map_sql(&lookup, path->path, &own), *dot = strrchr(path->path, '.');
        if ((!sql && strcmp(path->path, "app.name") != 0) || !vocabulary_carries(out->type, str_of(path->path)))
            continue;
        CHECK(out->count < room);
        out->bindings[out->count++] = (struct binding){
            .path = path,
            .name = dot ? dot + 1 : path->path,
            .sql = sql,
            .constant = sql && map_is_literal(sql) && !str_ends(str_of(path->path), STR(".id")),
            .own = own,
            .vital = vocabulary_is_vital(out->type, path),
            .counted = map_has_beside(path, "chars"),
            .digested = map_has_beside(path, "digest"),
            .marked = map_has_beside(path, "truncated"),
        };
    }
}

void map_end(struct outline *o)
{
    free(o->bindings);
    *o = (struct outline){ 0 };
}
