/* SPDX-License-Identifier: MIT */
/* Partitions and positions. */
#include "connectors/websocket/places.h"
#include <stdlib.h>
#include "bridge/lib/mem.h"

void places_open(struct places *p, struct log *log, struct bookmarks *bookmarks, const struct strings *topics)
{
    *p = (struct places){ .log = log, .bookmarks = bookmarks, .topics = topics };
    p->partitions = mem_alloc((topics->count + 1) * sizeof *p->partitions);
}

void places_close(struct places *p)
{
    free(p->at);
    free(p->partitions);
    hmac_free(p->key);
    *p = (struct places){ 0 };
}

static uint32_t places_add(struct places *p, const char *topic, int32_t partition)
{
    if (p->count == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 16;
        p->at = mem_grow(p->at, p->cap, sizeof *p->at);
    }
    p->at[p->count] = (struct place){ .topic = topic, .partition = partition };
    return p->count++;
}

uint32_t places_find(struct places *p, struct str topic, int32_t partition)
{
    if (!p->log)
        return PLACE_NONE;
    for (uint32_t i = 0; i < p->count; i++)
        if (p->at[i].partition == partition && str_eq(str_of(p->at[i].topic), topic))
            return i;
    for (size_t i = 0; i < p->topics->count; i++)
        if (str_eq(str_of(p->topics->at[i]), topic))
            return places_add(p, p->topics->at[i], partition);
    return PLACE_NONE;
}

/* What cursors are signed with is what all daemons of this sink know. */
static void places_learn_key(struct places *p)
{
    unsigned char secret[BOOKMARKS_SECRET];
    if (p->key || !p->bookmarks || !p->bookmarks->ops->secret(p->bookmarks, secret))
        return;
    p->key = hmac_new((struct str){ (const char *)secret, sizeof secret });
    crypto_wipe(secret, sizeof secret);
}

/* send() goes on there. */
static void places_move(struct places *p, struct place *at, int64_t now)
{
    if (at->known && now < at->now) {
        p->anew = at->anew = true;
        at->identified = false;
    }
    at->now = now;
    at->known = true;
}

void places_look(struct places *p)
{
    if (!p->log)
        return;
    places_learn_key(p);
    p->settled = p->key != NULL;
    for (size_t i = 0; i < p->topics->count; i++) {
        int32_t n = p->log->ops->partitions(p->log, p->topics->at[i]);
        p->settled &= n > 0;
        for (int32_t *have = &p->partitions[i]; *have < n; ++*have)
            places_find(p, str_of(p->topics->at[i]), *have);
    }
    for (struct place *at = p->at; at < p->at + p->count; at++) {
        int64_t now;
        if (p->log->ops->live(p->log, (struct topic_partition){ at->topic, at->partition }, &now))
            places_move(p, at, now);
        at->identified |= p->log->ops->identity(p->log, at->topic, &at->identity);
        p->settled &= at->known && at->identified;
    }
}

void places_sends(struct places *p, uint32_t place, int64_t offset)
{
    int64_t live;
    if (place == PLACE_NONE || !p->at[place].known || offset >= p->at[place].now)
        return;
    places_move(p, &p->at[place], offset);
    p->log->ops->live(p->log, (struct topic_partition){ p->at[place].topic, p->at[place].partition },
                      &live); /* so that it knows */
}

void places_sent(struct places *p, uint32_t place, int64_t offset)
{
    if (place != PLACE_NONE)
        places_move(p, &p->at[place], offset + 1);
}

/* ---- positions ---- */

/* All 0. */
static struct spot *spot_new(uint32_t count)
{
    struct spot *t = mem_alloc(sizeof *t + count * sizeof *t->next);
    t->refs = 1;
    t->count = count;
    return t;
}

struct spot *spot_ref(struct spot *t)
{
    t->refs++;
    return t;
}

void spot_unref(struct spot *t)
{
    if (t && --t->refs == 0)
        free(t);
}

struct spot *spot_now(const struct places *p)
{
    struct spot *t = spot_new(p->count);
    for (uint32_t i = 0; i < p->count; i++)
        t->next[i] = p->at[i].known ? p->at[i].now : SPOT_LIVE;
    return t;
}

struct spot *spot_copy(const struct places *p, const struct spot *t)
{
    struct spot *copy = spot_new(p->count);
    for (uint32_t i = 0; i < p->count; i++)
        copy->next[i] = spot_next(t, i);
    return copy;
}

bool spot_is(const struct spot *a, const struct spot *b)
{
    uint32_t most = a->count > b->count ? a->count : b->count;
    for (uint32_t i = 0; i < most; i++)
        if (spot_next(a, i) != spot_next(b, i))
            return false;
    return true;
}
