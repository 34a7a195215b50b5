/* SPDX-License-Identifier: MIT */
/* Looking things up in the tables of the vocabulary (vocabulary_table.c). */
#include "bridge/event/vocabulary.h"

enum { VOCABULARY_NAMES = 256 };

const struct vocabulary_path *vocabulary_path(struct str path)
{
    for (const struct vocabulary_path *p = vocabulary_paths; p->path; p++)
        if (str_eq(str_of(p->path), path))
            return p;
    return NULL;
}

const struct vocabulary_type *vocabulary_type(struct str name)
{
    for (const struct vocabulary_type *t = vocabulary_types; t->name; t++)
        if (str_eq(str_of(t->name), name))
            return t;
    return NULL;
}

const char *vocabulary_nearest_path(struct str path)
{
    const char *names[VOCABULARY_NAMES] = { 0 };
    size_t n = 0;
    for (const struct vocabulary_path *p = vocabulary_paths; p->path && n < VOCABULARY_NAMES - 1; p++)
        if (!p->made && !strchr(p->path, '['))
            names[n++] = p->path;
    return str_nearest(path, names);
}

const char *vocabulary_nearest_type(struct str name)
{
    const char *names[VOCABULARY_NAMES] = { 0 };
    size_t n = 0;
    for (const struct vocabulary_type *t = vocabulary_types; t->name && n < VOCABULARY_NAMES - 1; t++)
        names[n++] = t->name;
    return str_nearest(name, names);
}

const struct vocabulary_type *vocabulary_formerly(struct str name, bool prefix)
{
    for (const struct vocabulary_type *t = vocabulary_types; t->name; t++)
        for (const char *const *old = t->formerly; *old; old++) {
            struct str was = str_of(*old);
            bool all = str_ends(was, STR("."));
            if (str_eq(was, name) || (all && str_starts(name, was)) || (prefix && str_starts(was, name)))
                return t;
        }
    return NULL;
}

/* The object that a path begins with; the whole path when it is one of the top. */
static struct str vocabulary_object(struct str path)
{
    size_t n = 0;
    while (n < path.n && path.at[n] != '.' && path.at[n] != '[')
        n++;
    return (struct str){ path.at, n };
}

bool vocabulary_carries(const struct vocabulary_type *type, struct str path)
{
    struct str object = vocabulary_object(path);
    for (const char *const *name = type->objects; *name; name++)
        if (str_eq(str_of(*name), object))
            return true;
    return false;
}

/* Is there any path of the object, or the path itself? */
static bool vocabulary_has_any(struct str wanted, vocabulary_has_fn *has, void *ctx)
{
    for (const struct vocabulary_path *p = vocabulary_paths; p->path; p++) {
        struct str path = str_of(p->path);
        if ((str_eq(path, wanted) || str_eq(vocabulary_object(path), wanted)) && has(ctx, p->path))
            return true;
    }
    return false;
}

/* Is one of the alternatives there? */
static bool vocabulary_is_met(const char *required, vocabulary_has_fn *has, void *ctx)
{
    struct str rest = str_of(required), one;
    while (str_cut(&rest, '|', &one))
        if (str_eq(one, STR("app.name")) || vocabulary_has_any(one, has, ctx))
            return true;
    return false;
}

const char *vocabulary_lack(const struct vocabulary_type *type, vocabulary_has_fn *has, void *ctx)
{
    for (const char *const *required = type->required; *required; required++)
        if (!vocabulary_is_met(*required, has, ctx))
            return *required;
    for (const struct vocabulary_path *p = vocabulary_paths; p->path; p++)
        if (p->needed && vocabulary_carries(type, str_of(p->path)) && !vocabulary_is_met(p->path, has, ctx)
            && vocabulary_has_any(vocabulary_object(str_of(p->path)), has, ctx))
            return p->path;
    return NULL;
}

bool vocabulary_is_vital(const struct vocabulary_type *type, const struct vocabulary_path *path)
{
    struct str own = str_of(path->path), object = vocabulary_object(own), rest, one;
    for (const char *const *required = type->required; *required; required++) {
        rest = str_of(*required);
        while (str_cut(&rest, '|', &one))
            if (str_eq(one, own) || str_eq(one, object))
                return true;
    }
    return path->needed;
}

void vocabulary_subject(const struct vocabulary_type *type, vocabulary_value_fn *value, void *ctx, struct buf *out)
{
    const char *between = "";
    for (const char *const *path = type->subject; *path; path++) {
        struct str id = value(ctx, *path), object = vocabulary_object(str_of(*path));
        if (!id.at)
            continue;
        buf_printf(out, "%s%.*ss/", between, STR_ARG(object));
        buf_add_str(out, id);
        between = "/";
    }
}

bool vocabulary_of_schema(struct str dataschema)
{
    struct str rest = dataschema, piece, name = STR_ABSENT, major = STR_ABSENT;
    uint64_t number;
    while (str_cut(&rest, '/', &piece)) {
        name = major;
        major = piece;
    }
    const struct vocabulary_type *type = name.at ? vocabulary_type(name) : NULL;
    return type && str_to_u64(major, &number) && number == type->major;
}

void vocabulary_schema(const struct vocabulary_type *type, const char *base, struct buf *out)
{
    buf_printf(out, "%s/%s/%u", base, type->name, type->major);
}
