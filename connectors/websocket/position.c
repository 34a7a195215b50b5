/* SPDX-License-Identifier: MIT */
/* Between spots and cursors. */
#include "connectors/websocket/position.h"
#include <string.h>

void position_close(struct position *t)
{
    cursor_free(t->cursor);
    *t = (struct position){ 0 };
}

bool position_goes_out(const struct places *p, const struct subscription *s)
{
    return p->log && p->key && (s->sse || s->with_cursor);
}

bool position_on_each(const struct places *p, const struct subscription *s)
{
    uint32_t n = 0;
    if (!position_goes_out(p, s))
        return false;
    for (uint32_t i = 0; i < p->count && n <= POSITION_PLACES; i++)
        n += subscription_has_topic(s, str_of(p->at[i].topic));
    return s->with_cursor || n <= POSITION_PLACES;
}

struct cursor *position_new(const struct places *p, const struct subscription *s)
{
    const struct strings *topics = s->topics.count ? &s->topics : p->topics;
    return cursor_new((const char *const *)topics->at, topics->count);
}

/* The topic of that name in the cursor; count: it has none. */
static size_t position_topic(const struct cursor *c, const char *name)
{
    size_t i = 0;
    while (i < c->count && strcmp(c->topics[i].name, name) != 0)
        i++;
    return i;
}

bool position_ready(struct position *t, struct places *p, const struct subscription *s)
{
    if (!position_goes_out(p, s))
        return true;
    if (!t->cursor)
        t->cursor = position_new(p, s);
    if (!t->placed)
        t->placed = cursor_place(t->cursor, p->log, (struct cursor_start){ CURSOR_LATEST, 0 });
    return t->placed;
}

bool position_add(struct position *t, struct places *p, const struct subscription *s, const int64_t *next,
                  uint32_t count, int64_t ms, struct buf *out)
{
    if (!position_goes_out(p, s) || !position_ready(t, p, s))
        return false;
    for (uint32_t i = 0; i < p->count; i++) {
        size_t topic = position_topic(t->cursor, p->at[i].topic);
        int64_t now = p->at[i].known ? p->at[i].now : SPOT_LIVE, at = !next ? now : i < count ? next[i] : 0;
        if (topic < t->cursor->count && at != SPOT_LIVE)
            cursor_move(t->cursor, topic, p->at[i].partition, at, ms);
    }
    cursor_write(t->cursor, p->key, out);
    return true;
}

struct spot *position_spot(struct places *p, const struct cursor *c)
{
    for (size_t i = 0; i < c->count; i++)
        for (int32_t k = 0; k < c->topics[i].count; k++)
            places_find(p, str_of(c->topics[i].name), k);
    struct spot *t = spot_now(p);
    for (uint32_t i = 0; i < p->count; i++) {
        size_t topic = position_topic(c, p->at[i].topic);
        if (topic < c->count && p->at[i].partition < c->topics[topic].count)
            t->next[i] = c->topics[topic].parts[p->at[i].partition].next;
    }
    return t;
}
