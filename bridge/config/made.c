/* SPDX-License-Identifier: MIT */
/* JSON to the nodes that a file would have given, and these to an endpoint. */
#include "bridge/config/made.h"
#include <stdio.h>
#include <stdlib.h>
#include "bridge/config/private.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"

struct maker {
    struct arena *arena;
    struct problems *out;
    size_t visited;
};

static struct node *made_node(struct maker *m, const json_t *json, const struct where *at, int depth);

static struct node *made_scalar(struct maker *m, struct str text, bool plain)
{
    struct node *n = arena_alloc(m->arena, sizeof *n);
    struct str kept = { arena_text(m->arena, text), text.n };
    *n = (struct node){ .kind = NODE_SCALAR, .written = kept, .text = kept, .plain = plain };
    return n;
}

static struct node *made_text(struct maker *m, const json_t *json, const struct where *at)
{
    struct str text = { json_string_value(json), json_string_length(json) };
    struct node *n = made_scalar(m, text, false);
    if (memmem(text.at, text.n, "${", 2)) {
        n->broken = true;
        problem_at(m->out, n, at,
                   "holds ${, which is replaced in the files of the configuration alone: give the value itself");
    }
    return n;
}

static struct node *made_literal(struct maker *m, const json_t *json)
{
    char *text = json_is_null(json) ? NULL : json_short(json, JSON_ENCODE_ANY | JSON_COMPACT);
    struct node *n = made_scalar(m, str_of(text ? text : ""), true);
    free(text);
    return n;
}

static void made_append(struct maker *m, struct node *to, struct node *key, struct node *value)
{
    if (to->count == to->cap) {
        to->cap = to->cap ? to->cap * 2 : 8;
        struct entry *bigger = arena_alloc(m->arena, to->cap * sizeof *bigger);
        if (to->count)
            memcpy(bigger, to->at, to->count * sizeof *bigger);
        to->at = bigger;
    }
    to->at[to->count++] = (struct entry){ key, value };
}

static struct node *made_below(struct maker *m, const json_t *json, const struct where *at, int depth)
{
    struct node *n = arena_alloc(m->arena, sizeof *n);
    const char *key;
    json_t *value;
    size_t i;
    *n = (struct node){ .kind = json_is_array(json) ? NODE_LIST : NODE_MAPPING };
    json_array_foreach(json, i, value)
        made_append(m, n, NULL, made_node(m, value, &(struct where){ .up = at, .index = i }, depth + 1));
    json_object_foreach((json_t *)(uintptr_t)json, key, value)
    {
        struct node *name = made_scalar(m, str_of(key), false);
        made_append(m, n, name, made_node(m, value, &(struct where){ at, name->text, 0 }, depth + 1));
    }
    return n;
}

static struct node *made_node(struct maker *m, const json_t *json, const struct where *at, int depth)
{
    if (depth > CONFIG_DEPTH || ++m->visited > CONFIG_NODES) {
        struct node *n = made_scalar(m, STR(""), false);
        n->broken = true;
        problem_at(m->out, n, at, "is too deep, or holds too much");
        return n;
    }
    if (json_is_array(json) || json_is_object(json))
        return made_below(m, json, at, depth);
    return json_is_string(json) ? made_text(m, json, at) : made_literal(m, json);
}

/* ---- types ---- */

/* {"exact": {"type": ...}}, or {"prefix": ...} of what ends in a star; NULL with a problem. */
static json_t *made_type(struct maker *m, const json_t *type, const struct where *at)
{
    struct str text = { json_string_value(type), json_string_length(type) };
    bool open = json_is_string(type) && str_ends(text, STR("*"));
    text.n -= open;
    if (json_is_string(type) && (text.n || open) && !memchr(text.at, '*', text.n))
        return json_pack("{s:{s:s%}}", open ? "prefix" : "exact", "type", text.at, text.n);
    problem_at(m->out, made_scalar(m, STR(""), false), at,
               "must be a list of types of events, of which a * may stand at the end of each: [\"chat.*\"]");
    return NULL;
}

/* The object without `types`, and the filter that they say. The caller's reference; NULL with a problem. */
static json_t *made_filtered(struct maker *m, const json_t *options, const struct where *at)
{
    json_t *plain = json_copy((json_t *)(uintptr_t)options), *types = json_object_get(options, "types"), *any, *type;
    struct where here = { .up = at, .key = STR("types") };
    size_t i, before = m->out->count;
    if (!types)
        return plain;
    if (json_object_get(options, "filter"))
        problem_at(m->out, made_scalar(m, STR(""), false), &here, "and filter exclude each other: say one");
    any = json_array();
    json_array_foreach(types, i, type)
        json_array_append_new(any, made_type(m, type, &(struct where){ .up = &here, .index = i }));
    if (json_array_size(types) == 0)
        made_type(m, types, &here);
    json_object_del(plain, "types");
    if (json_has(types, "*"))
        json_decref(any);
    else
        json_object_set_new(plain, "filter", json_pack("{s:o}", "any", any));
    if (m->out->count == before)
        return plain;
    json_decref(plain);
    return NULL;
}

/* ---- an endpoint ---- */

/* Such a row's file would be read, and what is wrong with it be shown. */
static void made_check_files(struct maker *m, const struct option *rows, const struct node *n, const struct where *at)
{
    for (const struct option *row = rows; row->key; row++) {
        struct node *value = row->type == OPT_DEFAULTS || row->type == OPT_PRESET ? node_get(n, row->key) : NULL;
        if (!value || value->kind != NODE_SCALAR
            || !(memchr(value->text.at, '/', value->text.n) || str_ends(value->text, STR(".yaml"))))
            continue;
        value->broken = true;
        problem_at(m->out, value, &(struct where){ at, str_of(row->key), 0 },
                   "is a file, which only the configuration can name");
    }
}

static struct made *made_begin(void)
{
    struct made *made = mem_alloc(sizeof *made);
    made->arena = mem_alloc(sizeof(struct arena));
    return made;
}

struct made *made_new(const struct sink_config *s, const char *name, const json_t *options, struct problems *out)
{
    struct made *made = made_begin();
    struct maker m = { .arena = made->arena, .out = out };
    struct where sinks = { .key = STR("sinks") }, sink = { &sinks, str_of(s->sink->id), 0 },
                 list = { &sink, STR("endpoints"), 0 }, at = { &list, str_of(name), 0 };
    size_t before = problems_errors(out);
    json_t *plain = json_is_object(options) ? made_filtered(&m, options, &at) : NULL;
    struct entry entry = { made_scalar(&m, str_of(name), false), NULL };
    if (plain)
        entry.value = made_node(&m, plain, &at, 0);
    else if (problems_errors(out) == before)
        problem_at(out, entry.key, &at, "must be an object");
    json_decref(plain);
    struct fill f = { made->arena, out, NULL };
    if (entry.value) {
        made_check_files(&m, s->sink->ops->endpoints->options, entry.value, &at);
        endpoints_fill_one(&f, s->sink->ops->endpoints, &made->config, &entry, s->written, &list);
    }
    if (problems_errors(out) == before)
        check_receiver(s, &made->config, entry.value, &at, out);
    if (problems_errors(out) == before)
        return made;
    made_free(made);
    return NULL;
}

struct made *made_held(const struct sink_config *s, const char *name, const json_t *core)
{
    struct made *made = made_begin();
    struct problems none = { 0 };
    struct maker m = { .arena = made->arena, .out = &none };
    struct fill f = { made->arena, &none, NULL };
    json_t *plain = made_filtered(&m, core, NULL);
    struct endpoint_config *c = &made->config;
    fill_mapping(&f, plain ? made_node(&m, plain, NULL, 0) : made_scalar(&m, STR(""), true),
                 &(struct fill_target){ endpoint_options, c, s->written }, 1, NULL, NULL);
    json_decref(plain);
    problems_free(&none);
    c->endpoint = arena_alloc(made->arena, s->sink->ops->endpoints->size);
    c->endpoint->name = arena_text(made->arena, str_of(name));
    c->endpoint->rate = c->rate;
    c->paused = true;
    return made;
}

void made_refuse(const struct sink_config *s, const char *name, const char *why, struct problems *out)
{
    static const struct node nowhere = { 0 };
    struct where sinks = { .key = STR("sinks") }, sink = { &sinks, str_of(s->sink->id), 0 },
                 list = { &sink, STR("endpoints"), 0 }, at = { &list, str_of(name), 0 };
    problem_at(out, &nowhere, &at, "%s", why);
}

/* Where the configuration has it; NULL: nowhere. */
static const struct entry *made_find(const struct sink_config *s, const char *name)
{
    const struct node *list = s->sink->ops->endpoints ? node_get(s->written, "endpoints") : NULL;
    for (size_t i = 0; list && i < list->count; i++)
        if (str_eq(list->at[i].key->text, str_of(name)))
            return &list->at[i];
    return NULL;
}

const char *made_where(const struct sink_config *s, const char *name, char out[MADE_WHERE])
{
    const struct entry *found = made_find(s, name);
    out[0] = '\0';
    if (found)
        snprintf(out, MADE_WHERE, "%s:%d", found->key->file, found->key->line);
    return out;
}

json_t *made_said(const struct sink_config *s, const char *name)
{
    const struct entry *found = made_find(s, name);
    return found ? fill_json(found->value) : NULL;
}

struct made *made_again(const struct sink_config *s, const char *name)
{
    const struct entry *found = made_find(s, name);
    if (!found)
        return NULL;
    struct made *made = made_begin();
    struct problems none = { 0 };
    struct fill f = { made->arena, &none, NULL };
    endpoints_fill_one(&f, s->sink->ops->endpoints, &made->config, found, s->written, NULL);
    CHECK(none.count == 0);
    return made;
}

void made_free(struct made *m)
{
    if (!m)
        return;
    arena_free(m->arena);
    free(m->arena);
    free(m);
}

struct sink *made_sink(struct made *m, const struct sink_config *s)
{
    const struct sink_ops *ops = s->sink->ops;
    struct problems none = { 0 }; /* keys that are not the connector's own are of no interest */
    struct fill f = { m->arena, &none, NULL };
    struct sink *sink = arena_alloc(m->arena, ops->size);
    fill_mapping(&f, s->written, &(struct fill_target){ ops->options, sink, NULL }, 1, NULL, NULL);
    problems_free(&none);
    sink->ops = ops;
    sink->id = s->sink->id;
    sink->topics = &s->topics;
    return sink;
}

bool made_duration(const char *text, struct duration *out)
{
    return value_duration(str_of(text), &out->ms);
}
