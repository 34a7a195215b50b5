/* SPDX-License-Identifier: MIT */
/* Cohorts: one ring of wire bytes, many positions in it. */
#include "connectors/websocket/cohort.h"
#include <stdlib.h>
#include "bridge/lib/mem.h"

enum { TOGETHER = 128 }; /* seats of one cohort that are written to in one go */

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
    if (c->fallback)
        c->fallback->end(c->fallback->ctx, c);
    CHECK(c->count == 0 && c->away == 0 && c->awaited == 0);
    ring_close(&c->ring);
    marks_free(&c->marks);
    position_close(&c->position);
    subscription_free(&c->subscription);
    free(c->seats);
    free(c);
}

/* When all are level the ring can start over. */
static void cohort_rewind_if_level(struct cohort *c)
{
    if (c->dirty || c->behind || c->awaited)
        return;
    ring_rewind(&c->ring);
    marks_drop(&c->marks, c->ring.head);
    c->low = c->ring.head;
}

/* ---- writing ---- */

/* Records how far the seat has come. */
static void cohort_advance(struct seat *t, uint64_t position)
{
    struct cohort *c = t->cohort;
    if (t->windowed)
        window_note(seat_window(t), &c->marks, t->position, position);
    if (t->position < c->flushed && position >= c->flushed)
        c->behind--;
    t->position = position;
    if (position < c->ring.head)
        return;
    c->tally->frames += (int64_t)((c->frames - t->frames) & SEAT_FRAMES);
    t->frames = c->frames & SEAT_FRAMES;
}

void listener_took(struct listener *l, struct seat *t, size_t taken, size_t pending)
{
    bool blocked = taken < pending;
    if (blocked && (taken || !l->blocked))
        l->moved_s = (uint32_t)(clock_mono_ms() / 1000);
    l->blocked = blocked;
    if (taken)
        l->unfinished = blocked ? t : NULL;
}

/* A seat lags too far: it falls behind, or its listener is closed. */
static void cohort_drop(struct seat *t)
{
    struct cohort *c = t->cohort;
    if (c->fallback && c->fallback->fell(c->fallback->ctx, t))
        return;
    c->tally->slow++;
    listener_close(t->listener, 1013, "too slow");
}

/* One write for all that is pending, up to the end of a frame, as the head always is. */
static struct http_write cohort_pending(const struct seat *t)
{
    const struct cohort *c = t->cohort;
    uint64_t end = t->listener->finishing ? marks_back(&c->marks, t->position, NULL) : c->ring.head;
    struct str bytes = { ring_bytes(&c->ring, t->position), (size_t)(end - t->position) };
    return (struct http_write){ t->listener->stream, bytes, 0 };
}

/* It has been written. */
static void cohort_wrote(struct seat *t, const struct http_write *w)
{
    struct cohort *c = t->cohort;
    if (w->taken < 0) { /* gone: closed() follows */
        listener_leave(t->listener);
        return;
    }
    listener_took(t->listener, t, (size_t)w->taken, w->bytes.n);
    if (w->taken == 0)
        return;
    c->tally->bytes += w->taken;
    cohort_advance(t, t->position + (uint64_t)w->taken);
}

/* Is more pending than its window has room for? */
static bool cohort_overflows(struct seat *t)
{
    return t->windowed && marks_after(&t->cohort->marks, t->position) > window_room(seat_window(t));
}

static void cohort_push(struct seat *t)
{
    if (cohort_overflows(t)) {
        cohort_drop(t);
        return;
    }
    struct http_write w = cohort_pending(t);
    http_stream_write_all(&w, 1);
    cohort_wrote(t, &w);
}

static bool cohort_is_behind(const struct seat *t)
{
    return t->cohort && t->index != SEAT_BEHIND && t->position < t->cohort->ring.head;
}

/* Counts who is behind the head. */
static uint32_t cohort_count_behind(const struct cohort *c)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->count; i++)
        n += c->seats[i]->position < c->ring.head;
    return n;
}

/* Seats that are written to together. */
struct cohort_batch {
    size_t count;
    struct seat *seats[TOGETHER];
    struct http_write writes[TOGETHER];
};

static void cohort_write_batch(struct cohort_batch *b)
{
    http_stream_write_all(b->writes, b->count);
    for (size_t i = 0; i < b->count; i++)
        b->seats[i]->listener->in_batch = false;
    for (size_t i = 0; i < b->count; i++)
        cohort_wrote(b->seats[i], &b->writes[i]);
    b->count = 0;
}

/* Its listener is in a batch once: what another seat of it may write depends on what becomes of that. */
static void cohort_add_to_batch(struct cohort_batch *b, struct seat *t)
{
    if (b->count == TOGETHER || t->listener->in_batch)
        cohort_write_batch(b);
    if (!t->cohort || t->listener->blocked)
        return;
    t->listener->in_batch = true;
    b->seats[b->count] = t;
    b->writes[b->count++] = cohort_pending(t);
}

void cohort_flush(struct cohort *c)
{
    struct cohort_batch batch;
    batch.count = 0;
    /* From the end: a seat that leaves is replaced by one that had its turn. */
    for (uint32_t i = c->count; i-- > 0;) {
        if (i >= c->count)
            continue; /* two seats of one listener have left */
        struct seat *t = c->seats[i];
        if (t->position >= c->ring.head || t->listener->blocked)
            continue;
        if (!cohort_overflows(t)) {
            cohort_add_to_batch(&batch, t);
            continue;
        }
        cohort_write_batch(&batch); /* what may take it out */
        if (t->cohort == c)
            cohort_drop(t);
    }
    cohort_write_batch(&batch);
    c->flushed = c->ring.head;
    c->behind = cohort_count_behind(c);
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
        if (c && t->index == SEAT_BEHIND)
            c->fallback->writable(c->fallback->ctx, t);
        else if (cohort_is_behind(t))
            cohort_push(t);
        if (c)
            cohort_rewind_if_level(c);
        t = t->next ? t->next : l->seats;
    } while (t != begin && !l->blocked);
}

bool listener_finish(struct listener *l)
{
    struct seat *t = l->unfinished;
    l->finishing = true;
    l->blocked = false;
    if (t && t->cohort && t->index == SEAT_BEHIND)
        t->cohort->fallback->writable(t->cohort->fallback->ctx, t);
    else if (t && cohort_is_behind(t))
        cohort_push(t);
    l->finishing = false;
    l->blocked = true;
    return !l->unfinished;
}

/* ---- coming and going ---- */

void seat_take(struct seat *t, struct listener *l)
{
    *t = (struct seat){ .listener = l, .next = l->seats };
    l->seats = t;
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

/* Puts the seat into the list. */
static void cohort_place(struct cohort *c, struct seat *t, uint64_t position)
{
    if (c->count == c->cap) {
        c->cap = c->cap ? c->cap + c->cap / 2 : 4;
        c->seats = mem_grow(c->seats, c->cap, sizeof *c->seats);
    }
    t->cohort = c;
    t->index = c->count;
    t->position = position;
    t->frames = c->frames & SEAT_FRAMES;
    c->seats[c->count++] = t;
}

void cohort_join(struct cohort *c, struct seat *t)
{
    cohort_place(c, t, c->ring.head);
}

void cohort_return(struct seat *t, uint64_t position)
{
    struct cohort *c = t->cohort;
    CHECK(cohort_has(c, position));
    c->away--;
    cohort_place(c, t, position);
    t->frames = (c->frames - marks_after(&c->marks, position)) & SEAT_FRAMES;
    c->behind += position < c->flushed;
    c->low = position < c->low ? position : c->low;
    if (position < c->ring.head)
        cohort_set_dirty(c);
}

/* Out of the list. */
static void cohort_remove(struct seat *t)
{
    struct cohort *c = t->cohort;
    c->seats[t->index] = c->seats[--c->count];
    c->seats[t->index]->index = t->index;
    c->behind -= t->position < c->flushed;
}

void cohort_away(struct seat *t, struct behind *b)
{
    if (t->index != SEAT_BEHIND)
        cohort_remove(t);
    t->index = SEAT_BEHIND;
    t->behind = b;
    t->cohort->away++;
}

void seat_leave(struct seat *t)
{
    struct cohort *c = t->cohort;
    if (!c)
        return;
    if (t->index == SEAT_BEHIND) {
        c->fallback->leave(c->fallback->ctx, t);
        c->away--;
    } else {
        cohort_remove(t);
    }
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

void listener_close_stalled(struct listener *l)
{
    for (struct seat *t = l->seats; t; t = t->next)
        if (t->cohort) {
            t->cohort->tally->stalled++;
            break;
        }
    listener_close(l, 1013, "nothing was read for too long");
}

void cohort_close_stalled(struct cohort *c, uint32_t now_s, uint32_t stall_s)
{
    for (uint32_t i = c->behind ? c->count : 0; i-- > 0;)
        if (i < c->count && c->seats[i]->listener->blocked && now_s - c->seats[i]->listener->moved_s >= stall_s)
            listener_close_stalled(c->seats[i]->listener);
}

/* ---- memory ---- */

/* The lowest position of all seats. */
static uint64_t cohort_lowest(const struct cohort *c)
{
    uint64_t low = c->ring.head;
    for (uint32_t i = 0; i < c->count; i++)
        if (c->seats[i]->position < low)
            low = c->seats[i]->position;
    return low;
}

/* Those whose position is below `low` have to go. */
static void cohort_drop_below(struct cohort *c, uint64_t low)
{
    for (uint32_t i = c->count; i-- > 0;)
        if (i < c->count && c->seats[i]->position < low)
            cohort_drop(c->seats[i]);
}

size_t cohort_trim(struct cohort *c)
{
    cohort_flush(c);
    c->low = cohort_lowest(c);
    ring_trim(&c->ring, c->low);
    marks_drop(&c->marks, c->low);
    return (size_t)(c->ring.head - c->low);
}

void cohort_relieve(struct cohort *c)
{
    cohort_drop_below(c, c->ring.head);
    c->low = c->ring.head;
    ring_give_back(&c->ring);
    marks_drop(&c->marks, c->low);
}

bool cohort_has(const struct cohort *c, uint64_t position)
{
    return position <= c->ring.head && position >= c->ring.origin && c->ring.head - position <= c->ring.size;
}

void cohort_where(const struct seat *t, struct str *rest, int64_t *next)
{
    const struct cohort *c = t->cohort;
    uint64_t boundary = marks_back(&c->marks, t->position, next);
    *rest = (struct str){ ring_bytes(&c->ring, t->position), (size_t)(boundary - t->position) };
}

/* Room for n more bytes: what can still be sent is sent, and who is a whole ring behind even then has to go. */
static void cohort_make_room(struct cohort *c, size_t n)
{
    cohort_flush(c);
    if (c->ring.head + n > c->ring.size)
        cohort_drop_below(c, c->ring.head + n - c->ring.size);
    c->low = cohort_lowest(c);
}

/* Puts a frame behind the head; makes room first if somebody still needs what it overwrites. */
static void cohort_append(struct cohort *c, const struct wire *frame, struct mark mark)
{
    uint64_t end = c->ring.head + mark.bytes;
    if (end - c->low > c->ring.size)
        cohort_make_room(c, mark.bytes);
    if (end > c->ring.size)
        marks_drop(&c->marks, end - c->ring.size);
    ring_add(&c->ring, frame->head);
    ring_add(&c->ring, frame->body);
    marks_add(&c->marks, mark);
    cohort_set_dirty(c);
    c->added_ms = clock_mono_ms();
}

bool cohort_add(struct cohort *c, const struct wire *frame, uint32_t place, int64_t offset)
{
    size_t n = frame->head.n + frame->body.n;
    if (n > c->ring.size)
        return false;
    cohort_append(c, frame, (struct mark){ (uint32_t)n, place, offset });
    c->frames++;
    return true;
}

void cohort_skip(struct cohort *c)
{
    CHECK(c->count == 0 && c->awaited == 0);
    c->ring.head++;
    ring_rewind(&c->ring);
    marks_free(&c->marks);
    c->marks.begin = c->marks.end = c->flushed = c->low = c->ring.head;
}

void cohort_comment(struct cohort *c, struct str bytes)
{
    cohort_append(c, &(struct wire){ STR(""), bytes }, (struct mark){ (uint32_t)bytes.n, UINT32_MAX, 0 });
}
