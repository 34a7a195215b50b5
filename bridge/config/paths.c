/* SPDX-License-Identifier: MIT */
/* Paths into the data, in templates and filters, against what the events that come there can have: one that none of them
 * has is misspelt, or of another type. Said only where every such type is one of the vocabulary: of others, and of topics that
 * somebody else fills too, nothing is known. */
#include <ctype.h>
#include <string.h>
#include "bridge/config/private.h"
#include "bridge/event/vocabulary.h"

enum { PATHS_TYPES = 128, PATHS_BYTES = 256 };

struct paths {
    const struct config *c;
    struct problems *out;
    /* Whose events are meant: those that go by the routes to the topics, or come to the route; and pass the filters. */
    const struct strings *topics;
    size_t route;
    const struct filter *filters[2];
    const struct vocabulary_type *types[PATHS_TYPES];
    size_t count;
    bool unknown;
};

/* ---- which types come ---- */

/* Can an event of that type come? */
static bool paths_comes(const struct paths *p, struct str type)
{
    const struct route_config *routes = p->c->routes.at;
    bool comes = false;
    for (size_t i = 0; i < p->c->routes.count; i++) {
        enum filter_answer taken = filter_match_type(routes[i].filter, type);
        if (taken != FILTER_NO && (p->topics ? strings_have(p->topics, str_of(routes[i].topic)) : i == p->route))
            comes = true;
        if (taken == FILTER_YES && !routes[i].also)
            break;
    }
    return comes && filter_match_type(p->filters[0], type) != FILTER_NO
           && filter_match_type(p->filters[1], type) != FILTER_NO;
}

static void paths_add_type(void *ctx, const char *name)
{
    struct paths *p = ctx;
    const struct vocabulary_type *type = vocabulary_type(str_of(name));
    bool any = strchr(name, '{') != NULL;
    if (!any && !paths_comes(p, str_of(name)))
        return;
    if (any || !type || p->count == PATHS_TYPES)
        p->unknown = true;
    else
        p->types[p->count++] = type;
}

/* Finds the types; false: not all are known. */
static bool paths_find_types(struct paths *p)
{
    p->count = 0;
    p->unknown = false;
    for (size_t i = 0; i < p->c->source_count && !p->unknown; i++)
        p->c->sources[i].source->ops->types(p->c->sources[i].source, paths_add_type, p);
    return !p->unknown && p->count > 0;
}

/* ---- what they have ---- */

/* Is there such a path, an object with one in it, or something in which anything may be? */
static bool paths_is_known(struct str path)
{
    for (const struct vocabulary_path *v = vocabulary_paths; v->path; v++) {
        struct str known = str_of(v->path), rest = str_from(path, known.n);
        if (str_eq(known, path) || (str_starts(known, path) && strchr(".[", known.at[path.n])))
            return true;
        if (v->form == VOCABULARY_OBJECT && str_starts(path, known) && rest.n && rest.at[0] == '.')
            return true;
    }
    return false;
}

static bool paths_has(const struct paths *p, struct str path)
{
    if (str_starts(path, STR("before.")) || str_starts(path, STR("raw.")) || str_eq(path, STR("before"))
        || str_eq(path, STR("raw")))
        return true;
    bool known = paths_is_known(path);
    for (size_t i = 0; i < p->count && known; i++)
        if (vocabulary_carries(p->types[i], path))
            return true;
    return false;
}

/* Appends a step; the number of an element becomes [], as the vocabulary writes it. */
static void paths_add_step(struct buf *out, struct str step)
{
    size_t digits = 0;
    while (digits < step.n && isdigit((unsigned char)step.at[digits]))
        digits++;
    if (out->n && digits == step.n && step.n)
        buf_add_c(out, "[]");
    else {
        buf_add_c(out, out->n ? "." : "");
        buf_add_str(out, step);
    }
}

static void paths_check(const struct paths *p, struct str written, bool pointer, const struct node *n,
                        const struct where *at)
{
    if (memchr(written.at, '~', written.n) || (pointer && memchr(written.at, '.', written.n)))
        return; /* no path of the vocabulary is written so */
    struct buf path = buf_new(PATHS_BYTES);
    struct str rest = str_from(written, pointer ? 1 : strlen("data.")), step;
    while (str_cut(&rest, pointer ? '/' : '.', &step))
        paths_add_step(&path, step);
    if (path.n && !path.failed && !paths_has(p, buf_str(&path))) {
        const char *near = vocabulary_nearest_path(buf_str(&path));
        bool meant = near && paths_has(p, str_of(near));
        problem_warn(p->out, n, at, "no event that comes here has \"%.*s\"%s%s%s", SHOWN(written),
                     meant ? " (did you mean data." : "", meant ? near : "", meant ? "?)" : "");
    }
    buf_free(&path);
}

/* ---- where they stand ---- */

/* The expressions of a text that begin with data. or are pointers. */
static void paths_text(const struct paths *p, const struct node *n, const struct where *at)
{
    struct str rest = n->text;
    for (const char *open; rest.n > 1 && (open = memmem(rest.at, rest.n, "{{", 2));) {
        rest = str_from(rest, (size_t)(open - rest.at) + 2);
        while (rest.n && strchr(" \t\r\n", *rest.at))
            rest = str_from(rest, 1);
        size_t length = 0;
        while (length < rest.n && !strchr(" \t\r\n|}", rest.at[length]))
            length++;
        struct str word = { rest.at, length };
        if (word.n > 1 && (*word.at == '/' || str_starts(word, STR("data."))))
            paths_check(p, word, *word.at == '/', n, at);
        rest = str_from(rest, length);
    }
}

static void paths_template(const struct paths *p, const struct node *n, const struct where *at)
{
    if (n->kind == NODE_SCALAR)
        paths_text(p, n, at);
    for (size_t i = 0; i < n->count; i++) {
        const struct node *key = n->at[i].key;
        struct where inside = { .up = at, .key = key ? key->text : STR_ABSENT, .index = i };
        paths_template(p, n->at[i].value, &inside);
    }
}

/* The pointers below each `data`. */
static void paths_filter(const struct paths *p, const struct node *n, const struct where *at)
{
    for (size_t i = 0; n && i < n->count; i++) {
        const struct node *key = n->at[i].key, *value = n->at[i].value;
        struct where inside = { .up = at, .key = key ? key->text : STR_ABSENT, .index = i };
        bool pointers = key && str_eq(key->text, STR("data")) && value->kind == NODE_MAPPING;
        for (size_t j = 0; pointers && j < value->count; j++) {
            const struct node *pointer = value->at[j].key;
            if (pointer->text.n > 1)
                paths_check(p, pointer->text, true, pointer,
                            &(struct where){ .up = &inside, .key = pointer->text, .index = j });
        }
        if (!pointers)
            paths_filter(p, value, &inside);
    }
}

/* A sink's or endpoint's mapping. */
static void paths_mapping(const struct paths *p, const struct node *n, const struct where *at)
{
    for (size_t i = 0; n && i < n->count; i++) {
        struct str key = n->at[i].key->text;
        struct where inside = { .up = at, .key = key };
        if (str_eq(key, STR("filter")))
            paths_filter(p, n->at[i].value, &inside);
        else if (!str_eq(key, STR("endpoints")))
            paths_template(p, n->at[i].value, &inside);
    }
}

static void paths_sink(struct paths *p, const struct sink_config *s, const struct node *n, const struct where *at)
{
    const struct node *endpoints = node_get(n, "endpoints");
    struct where of_endpoints = { .up = at, .key = STR("endpoints") };
    p->topics = &s->topics;
    p->filters[0] = s->filter;
    p->filters[1] = NULL;
    if (paths_find_types(p))
        paths_mapping(p, n, at);
    for (size_t i = 0; endpoints && i < s->endpoint_count; i++) {
        p->filters[1] = s->endpoints[i].filter;
        if (paths_find_types(p))
            paths_mapping(p, endpoints->at[i].value,
                          &(struct where){ .up = &of_endpoints, .key = endpoints->at[i].key->text });
    }
}

/* Are all of its topics filled by routes alone? */
static bool paths_is_ours(const struct config *c, const struct sink_config *s)
{
    const struct route_config *routes = c->routes.at;
    for (size_t i = 0; i < s->topics.count; i++) {
        bool filled = false;
        for (size_t k = 0; k < c->routes.count; k++)
            filled = filled || strcmp(routes[k].topic, s->topics.at[i]) == 0;
        if (!filled)
            return false;
    }
    return s->topics.count > 0 && !broker_facts(&c->broker).is_shared;
}

void paths_review(const struct config *c, const struct node *root, struct problems *out)
{
    const struct node *routes = node_get(root, "routes"), *sinks = node_get(root, "sinks");
    struct where of_routes = { .key = STR("routes") }, of_sinks = { .key = STR("sinks") };
    struct paths p = { .c = c, .out = out };
    for (size_t i = 0; routes && i < c->routes.count; i++) {
        struct where at = { .up = &of_routes, .index = i };
        p.route = i;
        if (paths_find_types(&p))
            paths_filter(&p, node_get(routes->at[i].value, "filter"), &(struct where){ &at, STR("filter"), 0 });
    }
    for (size_t i = 0; sinks && i < c->sink_count; i++)
        if (paths_is_ours(c, &c->sinks[i]))
            paths_sink(&p, &c->sinks[i], node_get(sinks, c->sinks[i].sink->id),
                       &(struct where){ .up = &of_sinks, .key = str_of(c->sinks[i].sink->id) });
}
