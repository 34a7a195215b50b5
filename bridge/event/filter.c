/* SPDX-License-Identifier: MIT */
/* Compiles the JSON form of a filter to a tree (filter_match.c asks it), and back to a canonical text. */
#include "bridge/event/filter.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/event/private.h"
#include "bridge/lib/mem.h"

#define DIALECTS "exact, prefix, suffix, all, any, not, data"

static const char *const dialects[] = { [EXACT] = "exact",
                                        [PREFIX] = "prefix",
                                        [SUFFIX] = "suffix",
                                        [ALL] = "all",
                                        [ANY] = "any",
                                        [NOT] = "not",
                                        [NOT + 1] = "data", /* {data: x} is {exact: {data: x}} */
                                        NULL };

/* While compiling: how much was built, and where in the text we stand. */
struct filter_build {
    size_t nodes;
    struct jpointers *pointers;
};
struct filter_place {
    const struct filter_place *up;
    const char *key; /* NULL: the element `index` */
    size_t index;
    int depth; /* filters around this one */
    struct filter_build *build;
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
    return (struct filter_place){ .up = up, .key = key, .index = index, .depth = up->depth, .build = up->build };
}

void filter_free(struct filter *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < f->count; i++)
        filter_free(f->below[i]);
    jpointers_free(f->pointers);
    free(f->below);
    free(f->bytes);
    free(f);
}

static struct filter *filter_node(enum dialect dialect, const struct filter_place *at, struct err *e)
{
    if (++at->build->nodes > FILTER_NODES)
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
    parent->data = parent->data || child->data;
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

/* An order of filters in which only equal ones are the same, and what needs no look at the data comes first. */
static int filter_compare(const struct filter *a, const struct filter *b)
{
    if (a->data != b->data)
        return a->data ? 1 : -1;
    if (a->dialect != b->dialect)
        return a->dialect < b->dialect ? -1 : 1;
    int order = filter_compare_str(a->name, b->name);
    if (order == 0)
        order = !b->value.at - !a->value.at;
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

/* A leaf with copies of both. */
static struct filter *filter_leaf(enum dialect dialect, const struct filter_place *at, struct str name,
                                  struct str value, struct err *e)
{
    struct filter *f = filter_node(dialect, at, e);
    if (!f)
        return NULL;
    f->bytes = mem_alloc(name.n + value.n + 1);
    memcpy(f->bytes, name.at, name.n);
    if (value.n)
        memcpy(f->bytes + name.n, value.at, value.n);
    f->name = (struct str){ f->bytes, name.n };
    f->value = (struct str){ value.at ? f->bytes + name.n : NULL, value.n };
    return f;
}

static struct filter *filter_attribute(enum dialect dialect, const struct filter_place *at, const json_t *json,
                                       struct err *e)
{
    struct str value = { json_string_value(json), json_string_length(json) };
    if (at->key[0] == '/')
        return filter_refuse(at, e, "not the name of an attribute; for what is in the data, write data: {%s: ...}",
                             at->key);
    if (!filter_is_attribute_name(at->key))
        return filter_refuse(at, e, "not the name of an attribute");
    if (!value.at)
        return filter_refuse(at, e, "not a string");
    if (value.n == 0 || value.n > EVENT_ATTRIBUTE_BYTES)
        return filter_refuse(at, e, value.n == 0 ? "an empty string" : "longer than any attribute");
    return filter_leaf(dialect, at, str_of(at->key), value, e);
}

/* The text that a value in the data must have, in `out`; absent for null. False, which was said, when it can be none. */
static bool filter_wanted(enum dialect dialect, const struct filter_place *at, const json_t *json, char *out,
                          size_t room, struct str *wanted, struct err *e)
{
    *wanted = STR_ABSENT;
    if (json_is_null(json) && dialect == EXACT)
        return true;
    if (json_is_boolean(json))
        *wanted = json_is_true(json) ? STR("true") : STR("false");
    else if (json_is_integer(json)) {
        snprintf(out, room, "%" JSON_INTEGER_FORMAT, json_integer_value(json));
        *wanted = str_of(out);
    } else if (json_is_string(json))
        *wanted = (struct str){ json_string_value(json), json_string_length(json) };
    if (json_is_real(json))
        filter_refuse(at, e, "a number with a fraction is compared as it is written: put it into quotes");
    else if (!wanted->at)
        filter_refuse(at, e, "not a string, a number or a boolean%s", dialect == EXACT ? ", nor null" : "");
    else if (wanted->n > EVENT_ATTRIBUTE_BYTES)
        filter_refuse(at, e, "longer than %d bytes", EVENT_ATTRIBUTE_BYTES);
    else if (wanted->n == 0 && dialect != EXACT)
        filter_refuse(at, e, "an empty string");
    else
        return true;
    return false;
}

/* One pointer into the data, and what stands there. */
static struct filter *filter_pointer(enum dialect dialect, const struct filter_place *at, const json_t *json,
                                     struct err *e)
{
    char text[32];
    struct str wanted;
    struct err why;
    if (!filter_wanted(dialect, at, json, text, sizeof text, &wanted, e))
        return NULL;
    int place = jpointers_add(at->build->pointers, str_of(at->key), &why);
    if (place < 0)
        return filter_refuse(at, e, "%s", why.text);
    if (jpointers_count(at->build->pointers) > FILTER_PLACES)
        return filter_refuse(at, e, "the filter looks at more than %d places of the data", FILTER_PLACES);
    struct filter *f = filter_leaf(dialect, at, str_of(at->key), wanted, e);
    if (f) {
        f->data = true;
        f->place = (size_t)place;
    }
    return f;
}

/* A member of a mapping, by its key. */
typedef struct filter *(*filter_member)(enum dialect dialect, const struct filter_place *at, const json_t *json,
                                        struct err *e);

/* All members of a mapping, which holds `what`. */
static struct filter *filter_members(enum dialect dialect, const struct filter_place *at, const json_t *json,
                                     const char *what, filter_member one, struct err *e)
{
    if (!json_is_object(json) || json_object_size(json) == 0)
        return filter_refuse(at, e, "not a mapping of %s", what);
    struct filter *all = filter_node(ALL, at, e);
    for (void *i = json_object_iter((json_t *)json); i && all; i = json_object_iter_next((json_t *)json, i)) {
        struct filter_place here = filter_below(at, json_object_iter_key(i), 0);
        all = filter_adopt(all, one(dialect, &here, json_object_iter_value(i), e));
    }
    return filter_simplify(all);
}

/* {/collection/key: hr} below data. */
static struct filter *filter_pointers(enum dialect dialect, const struct filter_place *at, const json_t *json,
                                      struct err *e)
{
    return filter_members(dialect, at, json, "JSON pointers to values", filter_pointer, e);
}

static struct filter *filter_leaf_or_data(enum dialect dialect, const struct filter_place *at, const json_t *json,
                                          struct err *e)
{
    bool data = strcmp(at->key, "data") == 0;
    return data ? filter_pointers(dialect, at, json, e) : filter_attribute(dialect, at, json, e);
}

/* {type: x, source: y} of exact, prefix or suffix. */
static struct filter *filter_leaves(enum dialect dialect, const struct filter_place *at, const json_t *json,
                                    struct err *e)
{
    return filter_members(dialect, at, json, "attribute names to strings", filter_leaf_or_data, e);
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
    if (i > NOT)
        return filter_pointers(EXACT, at, json, e);
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
    struct filter_build build = { .pointers = jpointers_new() };
    struct filter_place top = { .build = &build };
    struct filter *f = json_is_array(json) ? filter_several(ALL, &top, json, e) : filter_at(&top, json, e);
    if (f && f->data)
        f->pointers = build.pointers;
    else
        jpointers_free(build.pointers);
    return f;
}

static enum filter_answer filter_leaf_type(const struct filter *f, struct str type)
{
    if (!str_eq(f->name, STR("type")))
        return FILTER_PERHAPS;
    return filter_fits(f->dialect, type, f->value) ? FILTER_YES : FILTER_NO;
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

/* Somebody who looks for the conditions that a filter stands below. */
struct filter_covering {
    size_t (*cost)(void *ctx, const struct filter_condition *c);
    void (*each)(void *ctx, const struct filter_condition *c);
    void *ctx;
};

static struct filter_condition filter_condition_of(const struct filter *f)
{
    return (struct filter_condition){ .attribute = f->name, .value = f->value, .prefix = f->dialect == PREFIX };
}

/* What its conditions cost; SIZE_MAX: there are none. */
static size_t filter_cover_cost(const struct filter *f, const struct filter_covering *by)
{
    struct filter_condition c = filter_condition_of(f);
    size_t least = SIZE_MAX, sum = 0;
    if (f->dialect == NOT || f->dialect == SUFFIX || (f->bytes && f->data))
        return SIZE_MAX;
    if (f->bytes)
        return by->cost(by->ctx, &c);
    for (size_t i = 0; i < f->count; i++) {
        size_t cost = filter_cover_cost(f->below[i], by);
        least = cost < least ? cost : least;
        sum = cost < SIZE_MAX - sum ? sum + cost : SIZE_MAX;
    }
    return f->dialect == ALL ? least : sum;
}

/* Of a filter that has conditions. */
static void filter_cover_tell(const struct filter *f, const struct filter_covering *by)
{
    struct filter_condition c = filter_condition_of(f);
    if (f->bytes) {
        by->each(by->ctx, &c);
        return;
    }
    size_t best = 0, least = SIZE_MAX;
    for (size_t i = 0; i < f->count; i++) {
        size_t cost = f->dialect == ALL ? filter_cover_cost(f->below[i], by) : 0;
        if (f->dialect == ANY)
            filter_cover_tell(f->below[i], by);
        best = cost < least ? i : best;
        least = cost < least ? cost : least;
    }
    if (f->dialect == ALL)
        filter_cover_tell(f->below[best], by);
}

bool filter_cover(const struct filter *f, size_t (*cost)(void *ctx, const struct filter_condition *c),
                  void (*each)(void *ctx, const struct filter_condition *c), void *ctx)
{
    struct filter_covering by = { cost, each, ctx };
    if (!f || filter_cover_cost(f, &by) == SIZE_MAX)
        return false;
    filter_cover_tell(f, &by);
    return true;
}

static void filter_add_leaf(struct buf *out, const struct filter *f)
{
    buf_add_c(out, f->data ? "{\"data\":{" : "{");
    jscan_add_string(out, f->name);
    buf_add_char(out, ':');
    if (f->value.at)
        jscan_add_string(out, f->value);
    else
        buf_add_c(out, "null");
    buf_add_c(out, f->data ? "}}" : "}");
}

static void filter_add_text(struct buf *out, const struct filter *f)
{
    bool list = f->dialect == ALL || f->dialect == ANY;
    buf_printf(out, "{\"%s\":%s", dialects[f->dialect], list ? "[" : "");
    if (f->bytes)
        filter_add_leaf(out, f);
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
