/* SPDX-License-Identifier: MIT */
/* Compiles the JSON form of a filter to a tree, and matches events with it. */
#include "bridge/event/filter.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/jscan.h"
#include "bridge/lib/mem.h"

#define DIALECTS "exact, prefix, suffix, all, any, not"

enum dialect { EXACT, PREFIX, SUFFIX, ALL, ANY, NOT };
static const char *const dialects[] = {
    [EXACT] = "exact", [PREFIX] = "prefix", [SUFFIX] = "suffix", [ALL] = "all", [ANY] = "any", [NOT] = "not", NULL
};

/* A leaf (one attribute and one value) or a node with filters below it. */
struct filter {
    enum dialect dialect;
    struct str attribute, value; /* of a leaf; point into `bytes` */
    char *bytes;
    struct filter **below;
    size_t count;
};

/* While compiling: how much was built, and where in the text we stand. */
struct filter_place {
    const struct filter_place *up;
    const char *key; /* NULL: the element `index` */
    size_t index;
    int depth; /* filters around this one */
    size_t *nodes;
};

static void filter_add_path(struct buf *out, const struct filter_place *at)
{
    if (!at->up)
        return;
    filter_add_path(out, at->up);
    if (at->key)
        buf_printf(out, "%s%s", out->n > 0 ? "." : "", at->key);
    else
        buf_printf(out, "[%zu]", at->index);
}

/* Says where and why; returns NULL. */
__attribute__((format(printf, 3, 4))) static struct filter *filter_refuse(const struct filter_place *at, struct err *e,
                                                                          const char *fmt, ...)
{
    char why[WHY_BYTES];
    struct buf path = buf_new(1024);
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, sizeof why, fmt, args);
    va_end(args);
    filter_add_path(&path, at);
    err_set(e, "%.*s%s%s", STR_ARG(buf_str(&path)), path.n > 0 ? ": " : "", why);
    buf_free(&path);
    return NULL;
}

static struct filter_place filter_below(const struct filter_place *up, const char *key, size_t index)
{
    return (struct filter_place){ .up = up, .key = key, .index = index, .depth = up->depth, .nodes = up->nodes };
}

void filter_free(struct filter *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < f->count; i++)
        filter_free(f->below[i]);
    free(f->below);
    free(f->bytes);
    free(f);
}

static struct filter *filter_node(enum dialect dialect, const struct filter_place *at, struct err *e)
{
    if (++*at->nodes > FILTER_NODES)
        return filter_refuse(at, e, "the filter has more than %d parts", FILTER_NODES);
    struct filter *f = mem_alloc(sizeof *f);
    f->dialect = dialect;
    return f;
}

/* Takes `child`; without one (it could not be built) frees the parent, too. "All of all" is one "all", and so is
 * "any". */
static struct filter *filter_adopt(struct filter *parent, struct filter *child)
{
    bool same = child && parent->dialect != NOT && child->dialect == parent->dialect;
    if (!child) {
        filter_free(parent);
        return NULL;
    }
    size_t more = same ? child->count : 1;
    parent->below = mem_grow(parent->below, parent->count + more, sizeof(struct filter *));
    memcpy(parent->below + parent->count, same ? child->below : &child, more * sizeof(struct filter *));
    parent->count += more;
    if (same) {
        child->count = 0;
        filter_free(child);
    }
    return parent;
}

static int filter_compare_str(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n > 0 ? memcmp(a.at, b.at, n) : 0;
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

/* An order of filters in which only equal ones are the same. */
static int filter_compare(const struct filter *a, const struct filter *b)
{
    if (a->dialect != b->dialect)
        return a->dialect < b->dialect ? -1 : 1;
    int order = filter_compare_str(a->attribute, b->attribute);
    if (order == 0)
        order = filter_compare_str(a->value, b->value);
    if (order == 0 && a->count != b->count)
        order = a->count < b->count ? -1 : 1;
    for (size_t i = 0; order == 0 && i < a->count; i++)
        order = filter_compare(a->below[i], b->below[i]);
    return order;
}

static int filter_compare_pointers(const void *a, const void *b)
{
    return filter_compare(*(struct filter *const *)a, *(struct filter *const *)b);
}

/* Makes all and any canonical: what is below stands in order and once, and a single filter stands for itself. */
static struct filter *filter_simplify(struct filter *f)
{
    size_t kept = 1;
    if (!f)
        return NULL;
    qsort(f->below, f->count, sizeof *f->below, filter_compare_pointers);
    for (size_t i = 1; i < f->count; i++) {
        if (filter_compare(f->below[kept - 1], f->below[i]) == 0)
            filter_free(f->below[i]);
        else
            f->below[kept++] = f->below[i];
    }
    f->count = kept;
    if (kept > 1)
        return f;
    struct filter *only = f->below[0];
    f->count = 0;
    filter_free(f);
    return only;
}

static bool filter_is_attribute_name(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789");
    return n >= 1 && n <= 20 && name[n] == '\0' && strcmp(name, "data") != 0;
}

static struct filter *filter_leaf(enum dialect dialect, const struct filter_place *at, const json_t *json,
                                  struct err *e)
{
    struct str name = str_of(at->key), value = { json_string_value(json), json_string_length(json) };
    if (!filter_is_attribute_name(at->key))
        return filter_refuse(at, e, "not the name of an attribute");
    if (!value.at)
        return filter_refuse(at, e, "not a string");
    if (value.n == 0 || value.n > EVENT_ATTRIBUTE_BYTES)
        return filter_refuse(at, e, value.n == 0 ? "an empty string" : "longer than any attribute");
    struct filter *f = filter_node(dialect, at, e);
    if (!f)
        return NULL;
    f->bytes = mem_alloc(name.n + value.n);
    memcpy(f->bytes, name.at, name.n);
    memcpy(f->bytes + name.n, value.at, value.n);
    f->attribute = (struct str){ f->bytes, name.n };
    f->value = (struct str){ f->bytes + name.n, value.n };
    return f;
}

/* {type: x, source: y} of exact, prefix or suffix: all of them. */
static struct filter *filter_leaves(enum dialect dialect, const struct filter_place *at, const json_t *json,
                                    struct err *e)
{
    if (!json_is_object(json) || json_object_size(json) == 0)
        return filter_refuse(at, e, "not a mapping of attribute names to strings");
    struct filter *all = filter_node(ALL, at, e);
    for (void *i = json_object_iter((json_t *)json); i && all; i = json_object_iter_next((json_t *)json, i)) {
        struct filter_place here = filter_below(at, json_object_iter_key(i), 0);
        all = filter_adopt(all, filter_leaf(dialect, &here, json_object_iter_value(i), e));
    }
    return filter_simplify(all);
}

static struct filter *filter_at(const struct filter_place *at, const json_t *json, struct err *e);

/* [f, f] of all or any. */
static struct filter *filter_several(enum dialect dialect, const struct filter_place *at, const json_t *json,
                                     struct err *e)
{
    if (!json_is_array(json) || json_array_size(json) == 0)
        return filter_refuse(at, e, "not a list of at least one filter");
    struct filter *f = filter_node(dialect, at, e);
    for (size_t i = 0; f && i < json_array_size(json); i++) {
        struct filter_place here = filter_below(at, NULL, i);
        here.depth++;
        f = filter_adopt(f, filter_at(&here, json_array_get(json, i), e));
    }
    return filter_simplify(f);
}

static struct filter *filter_dialect_at(const struct filter_place *at, const json_t *json, struct err *e)
{
    size_t i = 0;
    while (dialects[i] && strcmp(dialects[i], at->key) != 0)
        i++;
    if (!dialects[i]) {
        const char *near = str_nearest(str_of(at->key), dialects);
        if (near)
            return filter_refuse(at, e, "no part of a filter, did you mean %s?", near);
        if (json_is_string(json) && filter_is_attribute_name(at->key))
            return filter_refuse(at, e, "no part of a filter; for events whose %s is this, write exact: {%s: ...}",
                                 at->key, at->key);
        return filter_refuse(at, e, "no part of a filter (" DIALECTS ")");
    }
    switch ((enum dialect)i) {
    case EXACT:
    case PREFIX:
    case SUFFIX: return filter_leaves((enum dialect)i, at, json, e);
    case ALL:
    case ANY: return filter_several((enum dialect)i, at, json, e);
    case NOT: break;
    }
    struct filter_place here = *at;
    here.depth++;
    struct filter *not = filter_node(NOT, at, e);
    return not ? filter_adopt(not, filter_at(&here, json, e)) : NULL;
}

/* A mapping of dialects, which must all match. */
static struct filter *filter_at(const struct filter_place *at, const json_t *json, struct err *e)
{
    if (at->depth >= FILTER_DEPTH)
        return filter_refuse(at, e, "nested deeper than %d filters", FILTER_DEPTH);
    if (!json_is_object(json) || json_object_size(json) == 0)
        return filter_refuse(at, e, "not a filter, which is a mapping of one or more of " DIALECTS);
    struct filter *all = filter_node(ALL, at, e);
    for (void *i = json_object_iter((json_t *)json); i && all; i = json_object_iter_next((json_t *)json, i)) {
        struct filter_place here = filter_below(at, json_object_iter_key(i), 0);
        all = filter_adopt(all, filter_dialect_at(&here, json_object_iter_value(i), e));
    }
    return filter_simplify(all);
}

struct filter *filter_new(const json_t *json, struct err *e)
{
    size_t nodes = 0;
    struct filter_place top = { .nodes = &nodes };
    return json_is_array(json) ? filter_several(ALL, &top, json, e) : filter_at(&top, json, e);
}

bool filter_match(const struct filter *f, const struct event *ev)
{
    if (!f)
        return true;
    struct str value = f->bytes ? event_attribute(ev, f->attribute) : STR_ABSENT;
    switch (f->dialect) {
    case EXACT: return value.at && str_eq(value, f->value);
    case PREFIX: return value.at && str_starts(value, f->value);
    case SUFFIX: return value.at && str_ends(value, f->value);
    case NOT: return !filter_match(f->below[0], ev);
    case ALL:
    case ANY: break;
    }
    for (size_t i = 0; i < f->count; i++)
        if (filter_match(f->below[i], ev) != (f->dialect == ALL))
            return f->dialect == ANY;
    return f->dialect == ALL;
}

static enum filter_answer filter_leaf_type(const struct filter *f, struct str type)
{
    if (!str_eq(f->attribute, STR("type")))
        return FILTER_PERHAPS;
    bool fits = f->dialect == EXACT    ? str_eq(type, f->value)
                : f->dialect == PREFIX ? str_starts(type, f->value)
                                       : str_ends(type, f->value);
    return fits ? FILTER_YES : FILTER_NO;
}

enum filter_answer filter_match_type(const struct filter *f, struct str type)
{
    if (!f)
        return FILTER_YES;
    if (f->bytes)
        return filter_leaf_type(f, type);
    if (f->dialect == NOT)
        return (enum filter_answer)(FILTER_NO + FILTER_YES - filter_match_type(f->below[0], type));
    enum filter_answer all = FILTER_YES, any = FILTER_NO;
    for (size_t i = 0; i < f->count; i++) {
        enum filter_answer one = filter_match_type(f->below[i], type);
        all = one < all ? one : all;
        any = one > any ? one : any;
    }
    return f->dialect == ALL ? all : any;
}

/* Does it match nothing but certain types? */
static bool filter_is_of_types(const struct filter *f)
{
    bool some = false, all = f->count > 0;
    for (size_t i = 0; i < f->count; i++) {
        bool one = filter_is_of_types(f->below[i]);
        some = some || one;
        all = all && one;
    }
    switch (f->dialect) {
    case EXACT:
    case PREFIX: return str_eq(f->attribute, STR("type"));
    case ALL: return some;
    case ANY: return all;
    case SUFFIX:
    case NOT: break;
    }
    return false;
}

bool filter_types(const struct filter *f, void (*each)(void *ctx, bool prefix, struct str type), void *ctx)
{
    if (!f || !filter_is_of_types(f))
        return false;
    if (f->bytes)
        each(ctx, f->dialect == PREFIX, f->value);
    for (size_t i = 0; i < f->count; i++)
        if (filter_types(f->below[i], each, ctx) && f->dialect == ALL)
            break; /* one condition is enough where all must hold */
    return true;
}

static void filter_add_text(struct buf *out, const struct filter *f)
{
    bool list = f->dialect == ALL || f->dialect == ANY;
    buf_printf(out, "{\"%s\":%s", dialects[f->dialect], list ? "[" : "");
    if (f->bytes) {
        buf_printf(out, "{\"%.*s\":", STR_ARG(f->attribute));
        jscan_add_string(out, f->value);
        buf_add_char(out, '}');
    }
    for (size_t i = 0; i < f->count; i++) {
        if (i > 0)
            buf_add_char(out, ',');
        filter_add_text(out, f->below[i]);
    }
    buf_add_c(out, list ? "]}" : "}");
}

char *filter_text(const struct filter *f)
{
    struct buf out = buf_new(FILTER_NODES * (size_t)(6 * EVENT_ATTRIBUTE_BYTES + 64)); /* every byte escaped */
    if (f)
        filter_add_text(&out, f);
    else
        buf_add_c(&out, "{}");
    CHECK(buf_c(&out));
    return out.at;
}
