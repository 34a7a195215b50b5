/* SPDX-License-Identifier: MIT */
/* Filters against the event types that the sources can emit: one for a type that nobody emits takes nothing, and is
 * probably misspelt, or of an earlier vocabulary. */
#include <stdio.h>
#include <string.h>
#include "bridge/config/private.h"
#include "bridge/event/vocabulary.h"

#define EMITTED_OWN "aqueduct." /* begins the types of the bridge's own events, which only sinks meet */

struct emitted {
    const struct config *c;
    const struct node *root;
    struct problems *out;
    bool own; /* may events of the bridge itself come? */
};

struct emitted_wanted { /* a text of a filter, and whether some source has a type that fits */
    const char *dialect;
    struct str text;
    bool met;
};

/* A type may hold {column}: from there on it can be anything. */
static void emitted_meet(void *ctx, const char *type)
{
    struct emitted_wanted *w = ctx;
    const char *open = strchr(type, '{');
    struct str start = { type, open ? (size_t)(open - type) : strlen(type) };
    if (strcmp(w->dialect, "suffix") == 0)
        w->met = w->met || open || str_ends(start, w->text);
    else if (strcmp(w->dialect, "prefix") == 0)
        w->met = w->met || str_starts(start, w->text) || (open && str_starts(w->text, start));
    else
        w->met = w->met || (open ? str_starts(w->text, start) : str_eq(w->text, start));
}

struct emitted_nearest {
    struct str word;
    const char *names[2];
    char text[HINT_TEXT];
};

static void emitted_near(void *ctx, const char *type)
{
    struct emitted_nearest *near = ctx;
    near->names[0] = type;
    if (!near->text[0])
        problem_hint(near->word, near->names, near->text);
}

static void emitted_each(const struct emitted *v, void (*each)(void *ctx, const char *type), void *ctx)
{
    for (size_t i = 0; i < v->c->source_count; i++)
        v->c->sources[i].source->ops->types(v->c->sources[i].source, each, ctx);
}

/* What was probably meant: a type under its present name, one that is emitted, or one of the vocabulary. */
static void emitted_hint(const struct emitted *v, const struct emitted_wanted *w, struct emitted_nearest *near)
{
    bool suffix = strcmp(w->dialect, "suffix") == 0;
    const struct vocabulary_type *now = suffix ? NULL : vocabulary_formerly(w->text, strcmp(w->dialect, "prefix") == 0);
    near->word = w->text;
    if (now) {
        /* of a prefix that ends a word, the word */
        int n = (int)(str_ends(w->text, STR(".")) ? strcspn(now->name, ".") + 1 : strlen(now->name));
        snprintf(near->text, sizeof near->text, "; in the vocabulary that is %.*s", n, now->name);
        return;
    }
    emitted_each(v, emitted_near, near);
    const char *name = near->text[0] || suffix ? NULL : vocabulary_nearest_type(w->text);
    if (name && !str_eq(w->text, str_of(name)))
        emitted_near(near, name);
}

static void emitted_check(const struct emitted *v, const char *dialect, const struct node *type, const struct where *at)
{
    struct emitted_wanted w = { .dialect = dialect, .text = type->text };
    struct emitted_nearest near = { 0 };
    if (type->text.n && type->text.at[type->text.n - 1] == '*') {
        problem_warn(v->out, type, at, "a filter takes * for itself; what begins so: prefix: {type: \"%.*s\"}",
                     (int)shown_length(type->text) - 1, type->text.at);
        return;
    }
    emitted_each(v, emitted_meet, &w);
    if (v->own)
        emitted_meet(&w, EMITTED_OWN "{type}");
    if (w.met)
        return;
    emitted_hint(v, &w, &near);
    problem_warn(v->out, type, at, "no source has an event whose type %s \"%.*s\"%s",
                 strcmp(dialect, "exact") == 0    ? "is"
                 : strcmp(dialect, "prefix") == 0 ? "begins with"
                                                  : "ends with",
                 SHOWN(type->text), near.text);
}

static void emitted_filter(const struct emitted *v, const struct node *n, const struct where *at)
{
    static const char *const dialects[] = { "exact", "prefix", "suffix", NULL };
    for (size_t i = 0; n && n->kind == NODE_MAPPING && dialects[i]; i++) {
        const struct node *leaf = node_get(n, dialects[i]), *type = leaf ? node_get(leaf, "type") : NULL;
        if (type && type->kind == NODE_SCALAR)
            emitted_check(v, dialects[i], type, at);
    }
    for (size_t i = 0; n && i < n->count; i++)
        emitted_filter(v, n->at[i].value, at);
}

/* The option `filter` of what stands at a place. */
static void emitted_option(const struct emitted *v, const struct node *n, const struct where *at)
{
    emitted_filter(v, node_get(n, "filter"), &(struct where){ at, STR("filter"), 0 });
}

static void emitted_routes(const struct emitted *v, const struct node *routes)
{
    struct where of_routes = { .key = STR("routes") };
    for (size_t i = 0; routes && i < routes->count; i++)
        emitted_option(v, routes->at[i].value, &(struct where){ .up = &of_routes, .index = i });
}

static void emitted_sinks(const struct emitted *v, const struct node *sinks)
{
    struct where of_sinks = { .key = STR("sinks") };
    for (size_t i = 0; sinks && i < sinks->count; i++) {
        struct where at = { .up = &of_sinks, .key = sinks->at[i].key->text };
        emitted_option(v, sinks->at[i].value, &at);
        const struct node *endpoints = node_get(sinks->at[i].value, "endpoints");
        struct where of_endpoints = { .up = &at, .key = STR("endpoints") };
        for (size_t j = 0; endpoints && j < endpoints->count; j++)
            emitted_option(v, endpoints->at[j].value,
                           &(struct where){ .up = &of_endpoints, .key = endpoints->at[j].key->text });
    }
}

struct emitted_own { /* the type of a source's events about itself */
    const struct config *c;
    const char *type;
    bool lost; /* they come, and no route takes them */
};

static void emitted_lose(void *ctx, const char *type)
{
    struct emitted_own *own = ctx;
    const struct route_config *routes = own->c->routes.at;
    bool taken = false;
    if (strcmp(type, own->type) != 0)
        return;
    for (size_t i = 0; i < own->c->routes.count && !taken; i++)
        taken = filter_match_type(routes[i].filter, str_of(type)) != FILTER_NO;
    own->lost = !taken;
}

/* Who asks a source to tell of itself has not thought of a route perhaps. */
static void emitted_unrouted(const struct emitted *v, const struct source *s)
{
    struct emitted_own own = { v->c, s->ops->own_type, false };
    struct where top = { .key = STR("sources") };
    if (own.type && v->c->unrouted == UNROUTED_ERROR)
        s->ops->types(s, emitted_lose, &own);
    if (own.lost)
        problem_warn(v->out, node_get(node_get(v->root, "sources"), s->id), &(struct where){ &top, str_of(s->id), 0 },
                     "no route takes its events of type %s: they are lost", own.type);
}

void emitted_review(const struct config *c, const struct node *root, struct problems *out)
{
    for (size_t i = 0; i < c->source_count; i++)
        if (!c->sources[i].source->ops->types)
            return;
    if (c->source_count == 0)
        return;
    const struct emitted v = { c, root, out, false };
    emitted_routes(&v, node_get(root, "routes"));
    for (size_t i = 0; i < c->source_count; i++)
        emitted_unrouted(&v, c->sources[i].source);
    if (!broker_facts(&c->broker).is_shared) /* else others may fill the topics, too */
        emitted_sinks(&(struct emitted){ c, root, out, true }, node_get(root, "sinks"));
    paths_review(c, root, out);
}
