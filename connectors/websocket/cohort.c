/* SPDX-License-Identifier: MIT */
/* Cohorts: one ring of wire bytes, many positions in it. */
#include "connectors/websocket/cohort.h"
#include <stdlib.h>
#include "bridge/lib/mem.h"

struct cohort *cohort_new(struct subscription *s, size_t ring_size, size_t *held, struct tally *t, struct err *e)
{
    struct cohort *c = mem_alloc(sizeof *c);
    if (!ring_open(&c->ring, ring_size, held, e)) {
        free(c);
        return NULL;
    }
    c->subscription = *s;
    *s = (struct subscription){ 0 };
    c->tally = t;
    c->added_ms = clock_mono_ms();
    return c;
}

void cohort_free(struct cohort *c)
{
    CHECK(c->count == 0);
    ring_close(&c->ring);
    subscription_free(&c->subscription);
    free(c->seats);
    free(c);
}

/* When all are level the ring can start over. */
static void cohort_rewind_if_level(struct cohort *c)
{
    if (c->dirty || c->behind)
        return;
    ring_rewind(&c->ring);
    c->low = c->ring.head;
}

/* ---- writing ---- */

/* Records how far the seat has come. */
static void cohort_advance(struct seat *t, uint64_t position)
{
    struct cohort *c = t->cohort;
    if (t->position < c->flushed && position >= c->flushed)
        c->behind--;
    t->position = position;
    if (position < c->ring.head)
        return;
    c->tally->frames += (uint32_t)c->frames - t->frames;
    t->frames = (uint32_t)c->frames;
}

/* One write for all that is pending. The head is always the end of a frame. */
static void cohort_push(struct seat *t)
{
    struct cohort *c = t->cohort;
    struct listener *l = t->listener;
    size_t pending = (size_t)(c->ring.head - t->position);
    long taken = http_stream_write(l->stream, ring_bytes(&c->ring, t->position), pending, true);
    if (taken < 0) { /* gone: closed() follows */
        listener_leave(l);
        return;
    }
    l->blocked = (size_t)taken < pending;
    if (taken == 0)
        return;
    l->unfinished = l->blocked ? t : NULL;
    c->tally->bytes += taken;
    cohort_advance(t, t->position + (uint64_t)taken);
}

static bool cohort_is_behind(const struct seat *t)
{
    return t->cohort && t->position < t->cohort->ring.head;
}

/* Counts who is behind the head. */
static uint32_t cohort_count_behind(const struct cohort *c)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->count; i++)
        n += c->seats[i]->position < c->ring.head;
    return n;
}

void cohort_flush(struct cohort *c)
{
    uint32_t behind = 0, there = c->count;
    /* From the end: a seat that leaves is replaced by one that was served. */
    for (uint32_t i = there; i-- > 0;) {
        if (i >= c->count)
            continue; /* two seats of one listener have left */
        struct seat *t = c->seats[i];
        if (t->position < c->ring.head && !t->listener->blocked)
            cohort_push(t);
        behind += t->position < c->ring.head;
    }
    c->flushed = c->ring.head;
    c->behind = c->count == there ? behind : cohort_count_behind(c);
    c->dirty = false;
    cohort_rewind_if_level(c);
}

void listener_writable(struct listener *l)
{
    struct seat *begin = l->unfinished ? l->unfinished : l->seats, *t = begin;
    if (!l->blocked || !begin)
        return;
    l->blocked = false;
    do {
        struct cohort *c = t->cohort;
        if (cohort_is_behind(t))
            cohort_push(t);
        if (c)
            cohort_rewind_if_level(c);
        t = t->next ? t->next : l->seats;
    } while (t != begin && !l->blocked);
}

/* ---- coming and going ---- */

void seat_take(struct seat *t, struct listener *l)
{
    *t = (struct seat){ .listener = l, .next = l->seats };
    l->seats = t;
}

void cohort_join(struct cohort *c, struct seat *t)
{
    if (c->count == c->cap) {
        c->cap = c->cap ? c->cap + c->cap / 2 : 4;
        c->seats = mem_grow(c->seats, c->cap, sizeof *c->seats);
    }
    t->cohort = c;
    t->index = c->count;
    t->position = c->ring.head;
    t->frames = (uint32_t)c->frames;
    c->seats[c->count++] = t;
}

void seat_leave(struct seat *t)
{
    struct cohort *c = t->cohort;
    if (!c)
        return;
    c->seats[t->index] = c->seats[--c->count];
    c->seats[t->index]->index = t->index;
    c->behind -= t->position < c->flushed;
    t->cohort = NULL;
    cohort_rewind_if_level(c);
}

void seat_give_up(struct seat *t)
{
    struct listener *l = t->listener;
    CHECK(l->unfinished != t);
    seat_leave(t);
    for (struct seat **at = &l->seats; *at; at = &(*at)->next)
        if (*at == t) {
            *at = t->next;
            return;
        }
}

void listener_leave(struct listener *l)
{
    l->unfinished = NULL;
    for (struct seat *t = l->seats; t; t = t->next)
        seat_leave(t);
}

void listener_close(struct listener *l, int code, const char *text)
{
    l->sent_away = true;
    listener_leave(l);
    http_stream_close(l->stream, code, text);
}

/* ---- memory ---- */

/* Closes a listener one of whose seats lags too far behind. */
static void cohort_close_slow(struct seat *t)
{
    t->cohort->tally->slow++;
    listener_close(t->listener, 1013, "too slow");
}

/* The lowest position of all seats. */
static uint64_t cohort_lowest(const struct cohort *c)
{
    uint64_t low = c->ring.head;
    for (uint32_t i = 0; i < c->count; i++)
        if (c->seats[i]->position < low)
            low = c->seats[i]->position;
    return low;
}

/* Closes those whose position is below `low`. */
static void cohort_close_below(struct cohort *c, uint64_t low)
{
    for (uint32_t i = c->count; i-- > 0;)
        if (i < c->count && c->seats[i]->position < low)
            cohort_close_slow(c->seats[i]);
}

size_t cohort_trim(struct cohort *c)
{
    cohort_flush(c);
    c->low = cohort_lowest(c);
    ring_trim(&c->ring, c->low);
    return (size_t)(c->ring.head - c->low);
}

void cohort_relieve(struct cohort *c)
{
    cohort_close_below(c, c->ring.head);
    c->low = c->ring.head;
    ring_give_back(&c->ring);
}

/* Room for n more bytes: what can still be sent is sent, and who is a whole ring behind even then has to go. */
static void cohort_make_room(struct cohort *c, size_t n)
{
    cohort_flush(c);
    if (c->ring.head + n > c->ring.size)
        cohort_close_below(c, c->ring.head + n - c->ring.size);
    c->low = cohort_lowest(c);
}

/* There is something to be sent. */
static void cohort_set_dirty(struct cohort *c)
{
    c->dirty = true;
    if (c->is_listed)
        return;
    c->is_listed = true;
    c->next_dirty = *c->dirty_cohorts;
    *c->dirty_cohorts = c;
}

/* Puts bytes behind the head; makes room first if somebody still needs what they overwrite. */
static void cohort_append(struct cohort *c, struct str bytes)
{
    if (c->ring.head + bytes.n - c->low > c->ring.size)
        cohort_make_room(c, bytes.n);
    ring_add(&c->ring, bytes);
    cohort_set_dirty(c);
    c->added_ms = clock_mono_ms();
}

bool cohort_add(struct cohort *c, struct str frame)
{
    if (frame.n > c->ring.size)
        return false;
    cohort_append(c, frame);
    c->frames++;
    return true;
}

void cohort_comment(struct cohort *c, struct str bytes)
{
    cohort_append(c, bytes);
}
