/* SPDX-License-Identifier: MIT */
/* A list of what is not acknowledged. */
#include "connectors/websocket/window.h"
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/mem.h"

void window_free(struct window *w)
{
    free(w->at);
    *w = (struct window){ 0 };
}

uint32_t window_room(const struct window *w)
{
    return w->most > w->count ? w->most - w->count : 0;
}

static void window_add(struct window *w, const struct mark *one)
{
    if ((w->count & (w->count + 1)) == 0)
        w->at = mem_grow(w->at, 2 * (size_t)w->count + 1, sizeof *w->at);
    w->at[w->count++] = (struct sent){ one->place, one->offset };
}

void window_note(struct window *w, const struct marks *m, uint64_t from, uint64_t to)
{
    uint64_t at = m->begin;
    for (size_t i = 0; i < m->count && at < to; i++) {
        const struct mark *one = &m->at[(m->first + i) & (m->cap - 1)];
        if (at >= from && one->place != PLACE_NONE)
            window_add(w, one);
        at += one->bytes;
    }
}

static bool window_is_before(const struct sent *one, const struct places *p, const struct cursor *c)
{
    const struct place *place = &p->at[one->place];
    for (size_t i = 0; i < c->count; i++) {
        const struct cursor_topic *t = &c->topics[i];
        if (t->known && place->partition < t->count && strcmp(t->name, place->topic) == 0)
            return one->offset < t->parts[place->partition].next;
    }
    return false;
}

void window_acknowledge(struct window *w, const struct places *p, const struct cursor *c)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < w->count; i++)
        if (!window_is_before(&w->at[i], p, c))
            w->at[left++] = w->at[i];
    w->count = left;
    if (left == 0) {
        free(w->at);
        w->at = NULL;
    }
}
