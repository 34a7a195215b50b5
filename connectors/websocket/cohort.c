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
    free(c->listeners);
    free(c);
}

void cohort_join(struct cohort *c, struct listener *l)
{
    if (c->count == c->cap) {
        c->cap = c->cap ? 2 * c->cap : 4;
        c->listeners = mem_grow(c->listeners, c->cap, sizeof *c->listeners);
    }
    l->cohort = c;
    l->index = c->count;
    l->position = c->ring.head;
    l->frames = c->frames;
    c->listeners[c->count++] = l;
}

/* When all are level the ring can start over. */
static void cohort_rewind_if_level(struct cohort *c)
{
    if (c->dirty || c->blocked)
        return;
    ring_rewind(&c->ring);
    c->low = c->ring.head;
}

void cohort_leave(struct listener *l)
{
    struct cohort *c = l->cohort;
    if (!c)
        return;
    c->listeners[l->index] = c->listeners[--c->count];
    c->listeners[l->index]->index = l->index;
    if (l->blocked)
        c->blocked--;
    l->cohort = NULL;
    cohort_rewind_if_level(c);
}

void listener_close(struct listener *l, int code, const char *text)
{
    l->sent_away = true;
    cohort_leave(l);
    http_stream_close(l->stream, code, text);
}

/* Records whether the kernel takes bytes for this listener. */
static void cohort_set_blocked(struct listener *l, bool blocked)
{
    if (l->blocked == blocked)
        return;
    l->blocked = blocked;
    if (blocked)
        l->cohort->blocked++;
    else
        l->cohort->blocked--;
}

/* One write for all that is pending. The head is always the end of a frame. */
static void cohort_push(struct listener *l)
{
    struct cohort *c = l->cohort;
    size_t pending = (size_t)(c->ring.head - l->position);
    long taken = http_stream_write(l->stream, ring_bytes(&c->ring, l->position), pending, true);
    if (taken < 0) { /* gone: closed() follows */
        cohort_leave(l);
        return;
    }
    l->position += (uint64_t)taken;
    c->tally->bytes += taken;
    cohort_set_blocked(l, (size_t)taken < pending);
    if (l->blocked)
        return;
    c->tally->frames += (int64_t)(c->frames - l->frames);
    l->frames = c->frames;
}

void cohort_flush(struct cohort *c)
{
    /* From the end: a listener that leaves is replaced by one that was served. */
    for (uint32_t i = c->count; i-- > 0;) {
        struct listener *l = c->listeners[i];
        if (!l->blocked && l->position < c->ring.head)
            cohort_push(l);
    }
    c->dirty = false;
    cohort_rewind_if_level(c);
}

/* Closes a listener that lags too far behind. */
static void cohort_close_slow(struct listener *l)
{
    l->cohort->tally->slow++;
    listener_close(l, 1013, "too slow");
}

size_t cohort_trim(struct cohort *c)
{
    cohort_flush(c);
    c->low = c->ring.head;
    for (uint32_t i = 0; i < c->count; i++)
        if (c->listeners[i]->position < c->low)
            c->low = c->listeners[i]->position;
    ring_trim(&c->ring, c->low);
    return (size_t)(c->ring.head - c->low);
}

void cohort_relieve(struct cohort *c)
{
    for (uint32_t i = c->count; i-- > 0;)
        if (c->listeners[i]->blocked)
            cohort_close_slow(c->listeners[i]);
    c->low = c->ring.head;
    ring_give_back(&c->ring);
}

void cohort_writable(struct listener *l)
{
    struct cohort *c = l->cohort;
    if (!c || !l->blocked)
        return;
    cohort_push(l);
    cohort_rewind_if_level(c);
}

/* Room for n more bytes: what can still be sent is sent, and who is a whole ring behind even then has to go. */
static void cohort_make_room(struct cohort *c, size_t n)
{
    cohort_flush(c);
    uint64_t low = c->ring.head;
    for (uint32_t i = c->count; i-- > 0;) {
        struct listener *l = c->listeners[i];
        if (c->ring.head + n - l->position > c->ring.size) {
            cohort_close_slow(l);
        } else if (l->position < low) {
            low = l->position;
        }
    }
    c->low = low;
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
