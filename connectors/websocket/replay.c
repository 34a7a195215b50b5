/* SPDX-License-Identifier: MIT */
/* The way of a seat from a position in the log to the ring. */
#include "connectors/websocket/replay.h"
#include <stdlib.h>
#include "bridge/lib/mem.h"

enum { TURN_US = 4000, STARVED_TRIED = 64, KEPT_S = 1 };

struct behind {
    struct behind *next, **at; /* in one of the lists */
    struct behind_list *in;
    struct seat *seat;
    struct wish wish;    /* as long as spot is NULL */
    struct spot *spot;   /* where it goes on, if it is at no chunk */
    struct chunk *chunk; /* what it gets */
    size_t sent;         /* of that */
    struct buf rest;     /* goes before: the rest of a frame, and what it is told */
    uint32_t turn;       /* asking: the last one in which it was answered */
    bool fell;           /* from the ring */
};

/* ---- lists ---- */

static void replay_unlist(struct behind *b)
{
    if (!b->in)
        return;
    *b->at = b->next;
    if (b->next)
        b->next->at = b->at;
    else
        b->in->last = b->at;
    b->in = NULL;
}

static void replay_list(struct behind *b, struct behind_list *list)
{
    replay_unlist(b);
    b->next = NULL;
    b->at = list->last;
    *list->last = b;
    list->last = &b->next;
    b->in = list;
}

/* The first of the list, off it; NULL: it is empty. */
static struct behind *replay_take(struct behind_list *list)
{
    struct behind *b = list->first;
    if (!b)
        return NULL;
    list->first = b->next;
    if (b->next)
        b->next->at = &list->first;
    else
        list->last = &list->first;
    b->in = NULL;
    return b;
}

/* ---- memory ---- */

static void replay_set_held(struct replay *r, size_t held)
{
    size_t more = held - r->held; /* modulo 2^64, as is the sum */
    r->held = held;
    atomic_fetch_add(&r->sum->held, more);
    metric_add(r->bytes, (int64_t)more);
}

/* Counts one more seat, or one less. */
static void replay_count_seat(struct replay *r, int64_t more)
{
    r->seats += more;
    atomic_fetch_add(&r->sum->seats, more);
    metric_add(r->catching_up, more);
}

static void replay_count(struct replay *r, struct chunk *k)
{
    size_t n = chunk_size(k);
    replay_set_held(r, r->held - k->counted + n);
    k->counted = n;
}

/* Adds to what a seat gets before anything else. */
static void replay_tell(struct replay *r, struct behind *b, struct str bytes)
{
    size_t before = b->rest.cap;
    buf_add_str(&b->rest, bytes);
    replay_set_held(r, r->held + b->rest.cap - before);
}

static void replay_drop_rest(struct replay *r, struct behind *b)
{
    replay_set_held(r, r->held - b->rest.cap);
    buf_free(&b->rest);
    b->rest = buf_new(SIZE_MAX / 2);
}

static void replay_free_chunk(struct replay *r, struct chunk **at)
{
    struct chunk *k = *at;
    *at = k->next;
    replay_set_held(r, r->held - k->counted);
    chunk_free(&r->maker, k);
}

/* The one that was used least lately of those that nobody needs; NULL: there is none. */
static struct chunk **replay_oldest(struct replay *r)
{
    struct chunk **found = NULL;
    for (struct chunk **at = &r->chunks; *at; at = &(*at)->next)
        if ((*at)->refs == 0)
            found = at;
    return found;
}

static void replay_enter(struct behind *b, struct chunk *k)
{
    b->chunk = k;
    b->sent = 0;
    if (k->refs++ == 0)
        k->cohort->awaited++;
}

static void replay_leave_chunk(struct behind *b)
{
    struct chunk *k = b->chunk;
    b->chunk = NULL;
    if (--k->refs > 0)
        return;
    k->cohort->awaited--;
    k->used_s = (uint32_t)(clock_mono_ms() / 1000);
}

/* A seat that the kernel takes nothing for keeps the rest of its frame alone. */
static void replay_shrink(struct replay *r, struct behind *b)
{
    struct str rest;
    if (!b->chunk || !b->chunk->ready)
        return;
    struct spot *spot = chunk_where(&r->maker, b->chunk, b->sent, &rest);
    replay_tell(r, b, rest);
    replay_leave_chunk(b);
    spot_unref(b->spot);
    b->spot = spot;
}

static bool replay_fits(const struct replay *r)
{
    return atomic_load(&r->sum->held) + CHUNK_BYTES + sizeof(struct chunk) <= r->most;
}

/* Room for one chunk more. */
static bool replay_make_room(struct replay *r)
{
    struct chunk **oldest;
    while (!replay_fits(r) && (oldest = replay_oldest(r)))
        replay_free_chunk(r, oldest);
    struct behind *firsts[] = { r->blocked.first, r->full.first };
    for (size_t i = 0; i < sizeof firsts / sizeof *firsts; i++)
        for (struct behind *b = firsts[i]; b && !replay_fits(r); b = b->next) {
            replay_shrink(r, b);
            while (!replay_fits(r) && (oldest = replay_oldest(r)))
                replay_free_chunk(r, oldest);
        }
    return replay_fits(r) || !r->chunks;
}

/* ---- coming and going ---- */

static struct behind *replay_new(struct replay *r, struct cohort *c, struct seat *t)
{
    struct behind *b = mem_alloc(sizeof *b);
    *b = (struct behind){ .seat = t, .rest = buf_new(SIZE_MAX / 2) };
    t->cohort = c;
    cohort_away(t, b);
    replay_count_seat(r, 1);
    return b;
}

/* What becomes of the seat is the caller's. */
static void replay_free(struct replay *r, struct behind *b)
{
    replay_unlist(b);
    if (b->chunk)
        replay_leave_chunk(b);
    replay_drop_rest(r, b);
    spot_unref(b->spot);
    wish_free(&b->wish);
    free(b);
    replay_count_seat(r, -1);
}

void replay_begin(struct replay *r, struct cohort *c, struct seat *t, struct spot *spot, struct str told)
{
    t->index = SEAT_BEHIND;
    struct behind *b = replay_new(r, c, t);
    b->spot = spot;
    replay_tell(r, b, told);
    replay_list(b, &r->ready);
}

void replay_ask(struct replay *r, struct cohort *c, struct seat *t, struct wish *w, struct str told)
{
    t->index = SEAT_BEHIND;
    struct behind *b = replay_new(r, c, t);
    b->wish = *w;
    *w = (struct wish){ 0 };
    replay_tell(r, b, told);
    replay_list(b, &r->asking);
}

bool replay_has_room(const struct replay *r)
{
    return atomic_load(&r->sum->seats) < r->most_seats;
}

static bool replay_fell(void *ctx, struct seat *t)
{
    struct replay *r = ctx;
    struct str rest;
    if (t->slow == SLOW_CLOSE || (!t->windowed && !replay_has_room(r)))
        return false;
    struct spot *spot = spot_now(r->maker.places);
    cohort_where(t, &rest, spot->next);
    if (atomic_load(&r->sum->held) + rest.n > r->most) {
        spot_unref(spot);
        return false;
    }
    struct behind *b = replay_new(r, t->cohort, t);
    b->spot = spot;
    b->fell = true;
    replay_tell(r, b, rest);
    replay_list(b, t->listener->blocked ? &r->blocked : &r->ready);
    return true;
}

static void replay_on_leave(void *ctx, struct seat *t)
{
    replay_free(ctx, t->behind);
}

/* Its chunks are of no use to others. */
static void replay_on_end(void *ctx, struct cohort *c)
{
    struct replay *r = ctx;
    for (struct chunk **at = &r->chunks; *at;)
        if ((*at)->cohort == c)
            replay_free_chunk(r, at);
        else
            at = &(*at)->next;
}

/* ---- a turn of one seat ---- */

/* Writes; false: the kernel took less (the seat is listed as blocked), or the listener is gone. */
static bool replay_write(struct replay *r, struct behind *b, struct str bytes, size_t *taken)
{
    struct seat *t = b->seat;
    struct listener *l = t->listener;
    long n = http_stream_write(l->stream, bytes.at, bytes.n, true);
    if (n < 0) {
        listener_leave(l);
        return false;
    }
    *taken = (size_t)n;
    t->cohort->tally->bytes += n;
    listener_took(l, t, (size_t)n, bytes.n);
    if ((size_t)n < bytes.n)
        replay_list(b, &r->blocked);
    return true;
}

/* Sends what goes before; false: it cannot go on now. */
static bool replay_send_rest(struct replay *r, struct behind *b)
{
    size_t taken, whole = b->rest.n;
    if (whole == 0)
        return true;
    if (!replay_write(r, b, buf_str(&b->rest), &taken))
        return false;
    if (taken < whole) {
        buf_drop(&b->rest, taken);
        return false;
    }
    replay_drop_rest(r, b);
    return true;
}

/* As far as its window goes; when it is to get nothing more, to the end of the frame that it got in part. */
static bool replay_send_chunk(struct replay *r, struct behind *b)
{
    struct window *w = seat_window(b->seat);
    const struct chunk *k = b->chunk;
    bool finishing = b->seat->listener->finishing;
    size_t taken = 0, end = finishing ? (size_t)marks_back(&k->marks, b->sent, NULL)
                            : w       ? (size_t)marks_limit(&k->marks, b->sent, window_room(w))
                                      : k->bytes.n;
    size_t left = end - b->sent;
    struct str bytes = { k->bytes.at + b->sent, left };
    if (left > 0 && !replay_write(r, b, bytes, &taken))
        return false;
    if (w)
        window_note(w, &k->marks, b->sent, b->sent + taken);
    b->sent += taken;
    if (taken == left && end < k->bytes.n)
        replay_list(b, finishing ? &r->blocked : &r->full);
    return b->sent == k->bytes.n;
}

/* Does it lead nowhere any more: not on in the log, and not into the ring, which has started over since? */
static bool replay_is_stale(const struct chunk *k)
{
    return k->ready && spot_is(k->from, k->to) && !(k->joins && cohort_has(k->cohort, k->join_at));
}

/* Finds the chunk for its spot, or makes it. */
static struct chunk *replay_chunk(struct replay *r, struct behind *b)
{
    struct cohort *c = b->seat->cohort;
    bool conflates = b->seat->slow == SLOW_CONFLATE_KEY || b->seat->slow == SLOW_CONFLATE_SUBJECT;
    enum slow how = conflates ? b->seat->slow : SLOW_CATCHUP;
    for (struct chunk **at = &r->chunks, *k; (k = *at); at = &k->next)
        if (k->cohort == c && k->how == how && spot_is(k->from, b->spot) && !replay_is_stale(k)) {
            *at = k->next; /* to the front */
            k->next = r->chunks;
            return r->chunks = k;
        }
    if (!replay_make_room(r))
        return NULL;
    struct chunk *k = chunk_new(&r->maker, c, b->spot, how);
    k->next = r->chunks;
    r->chunks = k;
    return k;
}

/* A seat that wants the latest goes on with what comes now. */
static void replay_skip(struct replay *r, struct behind *b)
{
    const struct places *places = r->maker.places;
    struct spot *now = spot_now(places);
    int64_t *left_out = mem_alloc((places->count + 1) * sizeof *left_out), total = 0;
    for (uint32_t i = 0; i < now->count; i++)
        if (spot_next(b->spot, i) >= 0
            && subscription_has_topic(&b->seat->cohort->subscription, str_of(places->at[i].topic)))
            total += left_out[i] = now->next[i] - spot_next(b->spot, i);
    if (total > 0) {
        struct buf told = buf_new(TOLD_BYTES);
        told_add(&told, &b->seat->cohort->subscription,
                 &(struct told){ .resume = RESUME_SKIPPED, .places = places, .lost = left_out });
        if (!told.failed)
            replay_tell(r, b, buf_str(&told));
        buf_free(&told);
        metric_add(r->resumes[RESUME_SKIPPED], 1);
    }
    free(left_out);
    spot_unref(b->spot);
    b->spot = now;
}

/* It has all of its chunk: on to the next, or back to the ring. */
static void replay_go_on(struct replay *r, struct behind *b)
{
    struct chunk *k = b->chunk;
    struct seat *t = b->seat;
    t->cohort->tally->frames += (int64_t)marks_after(&k->marks, 0);
    if (k->joins && cohort_has(t->cohort, k->join_at)) {
        uint64_t at = k->join_at;
        replay_free(r, b);
        cohort_return(t, at);
        return;
    }
    spot_unref(b->spot);
    b->spot = spot_ref(k->to);
    replay_leave_chunk(b);
    replay_list(b, &r->ready);
}

/* Sends up to the end of a chunk, and lists the seat by what it waits for then. */
static void replay_step(struct replay *r, struct behind *b)
{
    if (!b->spot && !b->chunk)
        return; /* it asks */
    if (b->seat->listener->blocked) {
        replay_list(b, &r->blocked);
        return;
    }
    if (b->seat->listener->finishing) {
        if (replay_send_rest(r, b) && (!b->chunk || !b->chunk->ready || replay_send_chunk(r, b)))
            replay_list(b, &r->blocked);
        return;
    }
    if (!b->chunk && b->fell && b->seat->slow == SLOW_LATEST)
        replay_skip(r, b);
    if (!replay_send_rest(r, b))
        return;
    struct chunk *k = b->chunk;
    if (!k && b->seat->windowed && window_room(seat_window(b->seat)) == 0) {
        replay_list(b, &r->full);
        return;
    }
    if (!k && (k = replay_chunk(r, b)))
        replay_enter(b, k);
    if (!k || !k->ready)
        replay_list(b, &r->waiting);
    else if (replay_send_chunk(r, b))
        replay_go_on(r, b);
}

static void replay_on_writable(void *ctx, struct seat *t)
{
    replay_step(ctx, t->behind);
}

/* ---- a turn of all ---- */

void replay_note(struct replay *r, const struct granted *g)
{
    metric_add(r->resumes[g->resume], 1);
    metric_add(r->maker.lost, g->lost_total);
}

/* Its position is known now. */
static void replay_grant(struct replay *r, struct behind *b, struct granted *g)
{
    struct buf told = buf_new(TOLD_BYTES);
    told_add(&told, &b->seat->cohort->subscription,
             &(struct told){ .resume = g->resume, .places = r->maker.places, .lost = g->lost });
    replay_note(r, g);
    if (!told.failed)
        replay_tell(r, b, buf_str(&told));
    buf_free(&told);
    b->spot = spot_ref(g->spot);
    granted_free(g);
    wish_free(&b->wish);
    replay_list(b, &r->ready);
}

/* Asks again where those are to begin whose position was not known. */
static void replay_answer(struct replay *r)
{
    r->turn++;
    for (struct behind *b; (b = r->asking.first) && b->turn != r->turn;) {
        struct granted g;
        struct err e;
        b->turn = r->turn;
        replay_list(b, &r->asking); /* to the end */
        enum grant is = wish_grant(&b->wish, r->maker.places, &b->seat->cohort->subscription, &g, &e);
        if (is == GRANT_YES)
            replay_grant(r, b, &g);
        else if (is == GRANT_NO)
            listener_close(b->seat->listener, 4416, e.text);
    }
}

/* Reads on for those that wait. Returns whether there is more to read at once. */
static bool replay_fill(struct replay *r)
{
    bool more = false;
    for (struct chunk *k = r->chunks; k; k = k->next) {
        if (k->ready || k->refs == 0)
            continue;
        more |= chunk_fill(&r->maker, k);
        replay_count(r, k);
    }
    return more;
}

/* Those whose chunk is ready get their turn, and some of those that had no memory. */
static void replay_wake(struct replay *r, int starved)
{
    for (struct behind *b = r->waiting.first, *next; b; b = next) {
        next = b->next;
        if (b->chunk ? b->chunk->ready : starved-- > 0)
            replay_list(b, &r->ready);
    }
}

bool replay_turn(struct replay *r)
{
    int64_t end = clock_mono_us() + TURN_US;
    bool more = false;
    if (r->seats == 0)
        return false;
    places_look(r->maker.places);
    replay_answer(r);
    replay_wake(r, STARVED_TRIED);
    do {
        for (struct behind *b; clock_mono_us() <= end && (b = replay_take(&r->ready));)
            replay_step(r, b);
        more = replay_fill(r);
        replay_wake(r, 0);
    } while (r->ready.first && clock_mono_us() <= end);
    return more || r->ready.first;
}

/* ---- the whole ---- */

void replay_open(struct replay *r)
{
    struct behind_list *lists[] = { &r->asking, &r->ready, &r->waiting, &r->blocked, &r->full };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        *lists[i] = (struct behind_list){ .last = &lists[i]->first };
    r->fallback = (struct fallback){
        .fell = replay_fell, .leave = replay_on_leave, .writable = replay_on_writable, .end = replay_on_end, .ctx = r
    };
}

void replay_close(struct replay *r)
{
    CHECK(r->seats == 0);
    while (r->chunks)
        replay_free_chunk(r, &r->chunks);
}

struct spot *replay_where(const struct replay *r, const struct seat *t)
{
    struct str rest;
    if (t->index != SEAT_BEHIND) {
        struct spot *spot = spot_now(r->maker.places);
        cohort_where(t, &rest, spot->next);
        return spot;
    }
    const struct behind *b = t->behind;
    if (b->chunk)
        return chunk_where(&r->maker, b->chunk, b->sent, &rest);
    return b->spot ? spot_ref(b->spot) : NULL;
}

void replay_acknowledged(struct replay *r, struct seat *t)
{
    if (t->cohort && t->index == SEAT_BEHIND && t->behind->in == &r->full)
        replay_list(t->behind, &r->ready);
}

const char *replay_state(const struct replay *r, const struct seat *t)
{
    const struct behind_list *in = t->behind->in;
    return in == &r->asking    ? "its position is looked up"
           : in == &r->blocked ? "takes nothing"
           : in == &r->full    ? "has not acknowledged what it got"
                               : "catches up with the log";
}

void replay_each(struct replay *r, void (*each)(void *ctx, struct seat *t), void *ctx)
{
    const struct behind_list *lists[] = { &r->asking, &r->ready, &r->waiting, &r->blocked, &r->full };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (struct behind *b = lists[i]->first; b; b = b->next)
            each(ctx, b->seat);
}

struct seat *replay_any(const struct replay *r)
{
    const struct behind_list *lists[] = { &r->asking, &r->ready, &r->waiting, &r->blocked, &r->full };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (lists[i]->first)
            return lists[i]->first->seat;
    return NULL;
}

/* A seat that the kernel takes nothing for gives its chunk up after a second, and one that nobody is at goes. */
static void replay_tidy(struct replay *r, uint32_t now_s)
{
    for (struct behind *b = r->blocked.first; b; b = b->next)
        if (now_s - b->seat->listener->moved_s > KEPT_S)
            replay_shrink(r, b);
    for (struct behind *b = r->full.first; b; b = b->next)
        replay_shrink(r, b);
    for (struct chunk **at = &r->chunks; *at;)
        if ((*at)->refs == 0 && now_s - (*at)->used_s > KEPT_S)
            replay_free_chunk(r, at);
        else
            at = &(*at)->next;
}

void replay_every_second(struct replay *r, uint32_t now_s, uint32_t stall_s)
{
    replay_tidy(r, now_s);
    for (struct behind *b = r->blocked.first; b && stall_s;) {
        struct listener *l = b->seat->listener;
        if (now_s - l->moved_s < stall_s) {
            b = b->next;
            continue;
        }
        listener_close_stalled(l); /* which may take others off the list */
        b = r->blocked.first;
    }
}
