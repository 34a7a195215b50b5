/* SPDX-License-Identifier: MIT */
/* Compares sources by their parts. */
#include "connectors/http/owner.h"
#include <stdlib.h>
#include "bridge/event/event.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/uri.h"

/* The character at *i, where %2e is a dot and %2f a slash; moves *i to the last byte of it. */
static char owner_character(struct str s, size_t *i)
{
    struct str three = { s.at + *i, 3 };
    if (s.n - *i < 3 || s.at[*i] != '%')
        return s.at[*i];
    char c = str_eq_nocase(three, STR("%2e")) ? '.' : str_eq_nocase(three, STR("%2f")) ? '/' : '%';
    if (c != '%')
        *i += 2;
    return c;
}

/* Is one of the segments "." or "..", plain or percent-encoded? */
static bool owner_has_dots(struct str s)
{
    size_t dots = 0, others = 0;
    for (size_t i = 0; i <= s.n; i++) {
        char c = i < s.n ? owner_character(s, &i) : '/';
        bool ends = c == '/' || c == '?' || c == '#';
        if (ends && others == 0 && (dots == 1 || dots == 2))
            return true;
        dots = ends ? 0 : dots + (c == '.');
        others = ends ? 0 : others + (c != '.');
    }
    return false;
}

/* Does a source stand below another one? "/a/../b" does not stand below "/a". */
static bool owner_is_below(struct str source, struct str above)
{
    if (!str_starts(source, above))
        return false;
    struct str rest = str_from(source, above.n);
    if (rest.n > 0 && rest.at[0] != '/' && !str_ends(above, STR("/")))
        return false;
    return !owner_has_dots(rest);
}

/* Is a source another one, with a query or a fragment or not, or one below it? */
static bool owner_is_within(struct str source, struct str other)
{
    return str_starts(source, other)
           && (source.n == other.n || str_ends(other, STR("/")) || strchr("/?#", source.at[other.n]));
}

void owner_open(struct owner *o, struct str source)
{
    *o = (struct owner){ .own = mem_alloc(source.n + 1) };
    uri_normal(source, o->own); /* the zeros behind end it */
}

void owner_close(struct owner *o)
{
    free(o->own);
    free(o->inner);
    *o = (struct owner){ 0 };
}

void owner_leave_to(struct owner *o, const struct owner *other)
{
    struct str own = str_of(o->own), theirs = str_of(other->own);
    if (theirs.n <= own.n || !owner_is_within(theirs, own))
        return;
    o->inner = mem_grow(o->inner, o->inner_count + 1, sizeof *o->inner);
    o->inner[o->inner_count++] = theirs;
}

bool owner_has(const struct owner *o, struct str source)
{
    char normal[EVENT_ATTRIBUTE_BYTES];
    if (source.n > sizeof normal)
        return false;
    source = uri_normal(source, normal);
    if (!owner_is_below(source, str_of(o->own)))
        return false;
    for (size_t i = 0; i < o->inner_count; i++)
        if (owner_is_within(source, o->inner[i]))
            return false;
    return true;
}
