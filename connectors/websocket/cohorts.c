/* SPDX-License-Identifier: MIT */
/* The list of cohorts. */
#include "connectors/websocket/cohorts.h"
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/mem.h"
#include "connectors/websocket/protocol.h"

enum {
    HEARTBEAT_MS = 20 * 1000, /* of silence */
    HEARTBEAT_CHECK_MS = 1000,
    UNPLACED_MOST = 64,
    PLACE_MS = 100, /* what a listener may get once more after it broke, where not each event has a position */
};

void cohorts_open(struct cohorts *all, const struct cohorts_bounds *b)
{
    *all = (struct cohorts){ .ring_bytes = b->ring_bytes,
                             .most_held = b->most_held,
                             .most = b->most,
                             .peers = b->peers,
                             .all_held = b->all_held,
                             .threads = b->threads };
    all->index = filter_index_new();
}

/* Returns how much all threads hold. */
static size_t cohorts_tell_held(struct cohorts *all)
{
    size_t more = all->held - all->told; /* modulo 2^64, as is the sum */
    all->told = all->held;
    return more ? atomic_fetch_add(all->all_held, more) + more : atomic_load(all->all_held);
}

void cohorts_close(struct cohorts *all)
{
    cohorts_free_empty(all);
    CHECK(all->count == 0);
    cohorts_tell_held(all);
    filter_index_free(all->index);
    free(all->numbered);
    all->index = NULL;
    all->numbered = NULL;
}

/* Puts the cohort where events find it. */
static void cohorts_index(struct cohorts *all, struct cohort *c)
{
    c->number = filter_index_add(all->index, c->subscription.filter);
    if (c->number == all->numbered_count)
        all->numbered = mem_grow(all->numbered, ++all->numbered_count, sizeof(struct cohort *));
    all->numbered[c->number] = c;
}

/* Its place among those of all threads. */
static struct want *cohorts_want(struct cohorts *all, const char *key, const struct listener *l, struct err *e)
{
    struct peer *address = l ? l->peer : NULL, *user = l && l->user != l->peer ? l->user : NULL;
    return peers_want(all->peers, key, &all->most, address, user, e);
}

struct cohort *cohorts_get(struct cohorts *all, struct subscription *wanted, const struct listener *l, struct err *e)
{
    struct err why;
    for (struct cohort *c = all->first; c; c = c->next)
        if (strcmp(c->subscription.key, wanted->key) == 0)
            return c;
    struct want *want = cohorts_want(all, wanted->key, l, &why);
    if (!want) {
        cohorts_free_empty(all);
        want = cohorts_want(all, wanted->key, l, e);
    }
    struct cohort *c = want ? cohort_new(wanted, all->ring_bytes, &all->held, &all->tally, e) : NULL;
    if (!c && want)
        peers_want_no_more(all->peers, want);
    if (!c)
        return NULL;
    c->want = want;
    c->dirty_cohorts = &all->dirty;
    c->fallback = all->fallback;
    c->next = all->first;
    all->first = c;
    all->count++;
    cohorts_index(all, c);
    return c;
}

/* Takes it out of the list of those with news. */
static void cohorts_unlist(struct cohorts *all, struct cohort *c)
{
    struct cohort **at = &all->dirty;
    while (c->is_listed && *at != c)
        at = &(*at)->next_dirty;
    if (c->is_listed)
        *at = c->next_dirty;
    c->is_listed = false;
}

void cohorts_free_empty(struct cohorts *all)
{
    for (struct cohort **at = &all->first; *at;) {
        struct cohort *c = *at;
        if (c->count || c->away) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        all->count--;
        cohorts_unlist(all, c);
        filter_index_remove(all->index, c->number);
        peers_want_no_more(all->peers, c->want);
        cohort_free(c);
    }
}

struct cohorts_search {
    struct cohorts *all;
    struct str topic;
    void (*each)(void *ctx, struct cohort *c);
    void *ctx;
};

/* The filter of the cohort with this number takes the event. */
static void cohorts_found(void *ctx, size_t number)
{
    struct cohorts_search *s = ctx;
    struct cohort *c = s->all->numbered[number];
    if (!subscription_has_topic(&c->subscription, s->topic))
        return;
    if (c->count || c->awaited)
        s->each(s->ctx, c);
    else
        cohort_skip(c);
}

void cohorts_find(struct cohorts *all, const struct message *m, void (*each)(void *ctx, struct cohort *c), void *ctx)
{
    filter_index_find(all->index, m->event, cohorts_found,
                      &(struct cohorts_search){ all, m->record->topic, each, ctx });
}

/* How long ago the oldest of what was just written was stored; once per flush. */
static void cohorts_observe(struct cohorts *all, struct cohort *c)
{
    int64_t ms = clock_wall_ms() - c->oldest_ms;
    if (c->oldest_ms)
        metric_observe_us(all->delay, ms > 0 ? ms * 1000 : 0);
    c->oldest_ms = 0;
}

int64_t cohorts_flush(struct cohorts *all, bool now)
{
    if (!all->dirty)
        return -1;
    int64_t us = clock_mono_us(), left = pace_left_us(&all->pace, us);
    if (left > 0 && !now)
        return (left + 999) / 1000;
    pace_begin(&all->pace, us);
    while (all->dirty) {
        struct cohort *c = all->dirty;
        cohorts_unlist(all, c);
        cohort_flush(c);
        cohorts_observe(all, c);
    }
    pace_end(&all->pace, clock_mono_us());
    return -1;
}

/* Is more held than may be, and by these more than their part? (If all hold too much, some hold more than their part.) */
static bool cohorts_hold_too_much(struct cohorts *all)
{
    return cohorts_tell_held(all) > all->most_held && all->held > all->most_held / all->threads;
}

void cohorts_relieve(struct cohorts *all)
{
    while (cohorts_hold_too_much(all)) {
        struct cohort *last = all->first;
        size_t most = 0;
        for (struct cohort *c = all->first; c; c = c->next) {
            size_t lag = cohort_trim(c);
            last = lag > most ? c : last;
            most = lag > most ? lag : most;
        }
        if (cohorts_hold_too_much(all))
            cohort_relieve(last);
    }
}

/* Adds the position after all that the ring has: in an event stream as a block without data, which sets a client's last id
 * and no more, or a comment if it cannot be said; in aqueduct.v1 as an op `hb`. */
static void cohorts_place(struct cohort *c, struct places *p)
{
    const struct subscription *s = &c->subscription;
    struct buf cursor = buf_new(CURSOR_TEXT_MAX), out = buf_new(2 * CURSOR_TEXT_MAX),
               json = buf_new(2 * CURSOR_TEXT_MAX);
    bool known = position_add(&c->position, p, s, NULL, 0, 0, &cursor) && !cursor.failed;
    if (s->sse)
        buf_printf(&out, known ? "id: %.*s\n\n" : ":\n\n%.*s", STR_ARG(buf_str(&cursor)));
    else if (known) {
        protocol_place(&json, "hb", s->sub, buf_str(&cursor));
        frames_add_op(&out, s, buf_str(&json));
    }
    if (out.n && !out.failed)
        cohort_comment(c, buf_str(&out));
    c->unplaced = 0;
    c->placed_ms = c->added_ms;
    buf_free(&json);
    buf_free(&out);
    buf_free(&cursor);
}

/* Does it get positions apart from events? */
static bool cohorts_is_told(const struct places *p, const struct subscription *s)
{
    return s->sse || (s->sub && position_goes_out(p, s));
}

/* Did events go out without a position, since there are too many partitions or it was not known, and is one due? */
static bool cohorts_place_is_due(struct cohort *c, struct places *p, int64_t now)
{
    const struct subscription *s = &c->subscription;
    if (!c->unplaced || !cohorts_is_told(p, s) || !position_goes_out(p, s) || !position_ready(&c->position, p, s))
        return false;
    return position_on_each(p, s) || c->unplaced >= UNPLACED_MOST || now - c->placed_ms >= PLACE_MS;
}

void cohorts_heartbeat(struct cohorts *all, struct places *p)
{
    int64_t now = clock_mono_ms();
    bool look = now - all->heartbeat_ms >= HEARTBEAT_CHECK_MS, looked = false;
    if (look) {
        all->heartbeat_ms = now;
        cohorts_free_empty(all);
    }
    for (struct cohort *c = all->first; c; c = c->next) {
        bool quiet = look && cohorts_is_told(p, &c->subscription) && now - c->added_ms >= HEARTBEAT_MS;
        if (!quiet && !cohorts_place_is_due(c, p, now))
            continue;
        if (!looked)
            places_look(p);
        looked = true;
        cohorts_place(c, p);
    }
}
