/* SPDX-License-Identifier: MIT */
/* Matches events with compiled filters, one or a group of them. */
#include <stdlib.h>
#include "bridge/event/private.h"
#include "bridge/lib/mem.h"

bool filter_fits(enum dialect dialect, struct str text, struct str value)
{
    return dialect == EXACT ? str_eq(text, value) : dialect == PREFIX ? str_starts(text, value) : str_ends(text, value);
}

/* The same of a string as JSON writes it. */
static bool filter_fits_quoted(enum dialect dialect, struct str quoted, struct str value)
{
    struct str inside = { quoted.at + 1, quoted.n - 2 };
    if (!memchr(inside.at, '\\', inside.n))
        return filter_fits(dialect, inside, value);
    struct buf plain = buf_new(inside.n);
    jscan_unescape(&plain, quoted);
    bool fits = filter_fits(dialect, buf_str(&plain), value);
    buf_free(&plain);
    return fits;
}

/* `places`: where the values of this filter's pointers stand among all; NULL: there are no others. */
static bool filter_fits_data(const struct filter *f, struct filter_look *look, const size_t *places)
{
    if (!look->found) {
        look->found = true;
        bool json = look->event->data.at && event_type_is_json(look->event->datacontenttype);
        jpointers_find(look->pointers, json ? look->event->data : STR_ABSENT, look->values, NULL);
    }
    struct jscan_value v = look->values[places ? places[f->place] : f->place];
    switch (v.type) {
    case JSCAN_NONE:
    case JSCAN_NULL: return !f->value.at;
    case JSCAN_STRING: return f->value.at && filter_fits_quoted(f->dialect, v.raw, f->value);
    case JSCAN_FALSE:
    case JSCAN_TRUE:
    case JSCAN_NUMBER: return f->value.at && filter_fits(f->dialect, v.raw, f->value);
    case JSCAN_ARRAY:
    case JSCAN_OBJECT: break;
    }
    return false;
}

bool filter_holds(const struct filter *f, struct filter_look *look, const size_t *places)
{
    if (f->bytes && f->data)
        return filter_fits_data(f, look, places);
    if (f->bytes) {
        struct str text = event_attribute(look->event, f->name);
        return text.at && filter_fits(f->dialect, text, f->value);
    }
    if (f->dialect == NOT)
        return !filter_holds(f->below[0], look, places);
    for (size_t i = 0; i < f->count; i++)
        if (filter_holds(f->below[i], look, places) != (f->dialect == ALL))
            return f->dialect == ANY;
    return f->dialect == ALL;
}

bool filter_match(const struct filter *f, const struct event *ev)
{
    struct jscan_value values[FILTER_PLACES]; /* written when they are asked for */
    struct filter_look look = { .event = ev, .values = values };
    if (!f)
        return true;
    look.pointers = f->pointers;
    return filter_holds(f, &look, NULL);
}

/* ---- groups ---- */

struct filter_member {
    bool used;
    const struct filter *filter; /* NULL: it matches everything */
    size_t *places;              /* of its pointers, among those of the group; NULL: it has none */
};

struct filter_group {
    struct jpointers *pointers; /* of all of them */
    struct filter_member *members;
    size_t count, value_room;
    size_t free, gone; /* no member below this number is free; places that those who left had, counted for each */
    struct filter_look look;
};

struct filter_group *filter_group_new(void)
{
    struct filter_group *g = mem_alloc(sizeof *g);
    g->look.pointers = g->pointers = jpointers_new();
    return g;
}

void filter_group_free(struct filter_group *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < g->count; i++)
        free(g->members[i].places);
    jpointers_free(g->pointers);
    free(g->members);
    free(g->look.values);
    free(g);
}

/* Gives the pointers of f and below their places in the group. */
static void filter_group_place(struct filter_group *g, const struct filter *f, size_t *places)
{
    if (f->bytes && f->data)
        places[f->place] = (size_t)jpointers_add(g->pointers, f->name, NULL);
    for (size_t i = 0; i < f->count; i++)
        filter_group_place(g, f->below[i], places);
}

static void filter_group_place_all(struct filter_group *g, struct filter_member *m)
{
    m->places = mem_alloc(jpointers_count(m->filter->pointers) * sizeof *m->places);
    filter_group_place(g, m->filter, m->places);
}

size_t filter_group_add(struct filter_group *g, const struct filter *f)
{
    size_t i = g->free;
    while (i < g->count && g->members[i].used)
        i++;
    g->free = i + 1;
    if (i == g->count)
        g->members = mem_grow(g->members, ++g->count, sizeof *g->members);
    g->members[i] = (struct filter_member){ .used = true, .filter = f };
    if (f && f->data)
        filter_group_place_all(g, &g->members[i]);
    return i;
}

/* Gives the data's places new numbers: most of them nobody asks for any more. */
static void filter_group_tidy(struct filter_group *g)
{
    jpointers_free(g->pointers);
    g->look.pointers = g->pointers = jpointers_new();
    g->gone = 0;
    for (size_t i = 0; i < g->count; i++)
        if (g->members[i].places) {
            free(g->members[i].places);
            filter_group_place_all(g, &g->members[i]);
        }
}

void filter_group_remove(struct filter_group *g, size_t member)
{
    struct filter_member *m = &g->members[member];
    if (m->places)
        g->gone += jpointers_count(m->filter->pointers);
    free(m->places);
    *m = (struct filter_member){ 0 };
    g->free = member < g->free ? member : g->free;
    if (2 * g->gone > jpointers_count(g->pointers) && g->gone > g->count)
        filter_group_tidy(g);
}

void filter_group_see(struct filter_group *g, const struct event *ev)
{
    size_t room = jpointers_count(g->pointers);
    if (room > g->value_room)
        g->look.values = mem_grow(g->look.values, g->value_room = room, sizeof *g->look.values);
    g->look.event = ev;
    g->look.found = false;
}

bool filter_group_match(struct filter_group *g, size_t member)
{
    const struct filter_member *m = &g->members[member];
    return !m->filter || filter_holds(m->filter, &g->look, m->places);
}
