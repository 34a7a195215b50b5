/* SPDX-License-Identifier: MIT */
/* Reading the log for seats that are behind. */
#include "connectors/websocket/chunk.h"
#include <stdlib.h>
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "connectors/websocket/protocol.h"
#include "connectors/websocket/told.h"

enum {
    READ_ROOM = 16,      /* records of one partition at a time */
    READS = 64,          /* of one turn */
    SCANNED_MOST = 4096, /* records of one chunk, so that a filter that takes few still moves on */
    CONFLATED_MOST = 1 << 18,
    PLACED = CURSOR_TEXT_MAX + 1024, /* most of a position without an event */
    UNPLACED_MOST = 64,              /* events between two positions, where not each has one */
    AHEAD_MS = 5000,                 /* after this much waiting, a position beyond the log's end is of another log */
};

struct lane { /* one partition of a chunk that is being filled */
    struct log_reader *reader;
    int64_t aim;
    int64_t time_ms; /* of the last record */
    bool done, dry;  /* at its aim; nothing there now */
    int64_t lost;    /* of the reader's, already told */
};

struct filling {
    int64_t *next; /* of each place */
    struct lane *lanes;
    uint32_t count;
    int64_t since_ms;
    uint32_t scanned, unplaced;
    struct position position;
    int64_t newest_ms; /* of the records */
    uint64_t *keys;    /* of the frames, when they are conflated; 0: none */
    size_t key_count, key_cap;
};

size_t chunk_size(const struct chunk *k)
{
    size_t n = sizeof *k + k->bytes.cap + k->marks.cap * sizeof *k->marks.at;
    return k->ready || k->bytes.cap > CHUNK_BYTES ? n : n + CHUNK_BYTES;
}

static struct topic_partition chunk_partition(const struct place *p)
{
    return (struct topic_partition){ p->topic, p->partition };
}

/* ---- beginning and end ---- */

/* Aims one lane at where send() stands in its place. */
static void chunk_aim_lane(struct chunk_maker *m, struct chunk *k, uint32_t i)
{
    struct places *places = m->places;
    const struct place *p = &places->at[i];
    struct lane *lane = &k->filling->lanes[i];
    int64_t *next = &k->filling->next[i];
    bool wanted = subscription_has_topic(&k->cohort->subscription, str_of(p->topic));
    if (p->known && (!wanted || *next == SPOT_LIVE))
        *next = p->now;
    lane->aim = p->now;
    lane->done = !wanted || (p->known && p->identified && *next == p->now);
    if (!lane->done && p->known && p->identified && *next < p->now && !lane->reader)
        lane->reader = places->log->ops->open(places->log, chunk_partition(p), p->identity, *next);
}

/* Aims at where send() stands now, in all places at once. */
static void chunk_aim(struct chunk_maker *m, struct chunk *k)
{
    for (uint32_t i = 0; i < k->filling->count; i++)
        chunk_aim_lane(m, k, i);
    k->join_at = k->cohort->ring.head;
}

struct chunk *chunk_new(struct chunk_maker *m, struct cohort *c, struct spot *from, enum slow how)
{
    struct places *places = m->places;
    struct chunk *k = mem_alloc(sizeof *k);
    *k = (struct chunk){ .cohort = c,
                         .how = how,
                         .from = spot_ref(from),
                         .to = spot_copy(places, from),
                         .join_at = c->ring.head,
                         .bytes = buf_new(CHUNK_BYTES + m->longest + PLACED) };
    k->filling = mem_alloc(sizeof *k->filling);
    *k->filling = (struct filling){ .next = k->to->next,
                                    .lanes = mem_alloc((places->count + 1) * sizeof *k->filling->lanes),
                                    .count = places->count,
                                    .since_ms = clock_mono_ms() };
    chunk_aim(m, k);
    return k;
}

static void chunk_end_filling(struct chunk_maker *m, struct chunk *k)
{
    struct filling *f = k->filling;
    if (!f)
        return;
    for (uint32_t i = 0; i < f->count; i++)
        m->places->log->ops->close(m->places->log, f->lanes[i].reader);
    position_close(&f->position);
    free(f->lanes);
    free(f->keys);
    free(f);
    k->filling = NULL;
}

void chunk_free(struct chunk_maker *m, struct chunk *k)
{
    CHECK(k->refs == 0);
    chunk_end_filling(m, k);
    spot_unref(k->from);
    spot_unref(k->to);
    buf_free(&k->bytes);
    marks_free(&k->marks);
    free(k);
}

struct spot *chunk_where(const struct chunk_maker *m, const struct chunk *k, size_t at, struct str *rest)
{
    struct spot *t = spot_copy(m->places, k->to);
    size_t boundary = (size_t)marks_back(&k->marks, at, t->next);
    *rest = (struct str){ buf_str(&k->bytes).at + at, boundary - at };
    return t;
}

/* ---- frames ---- */

static void chunk_add(struct chunk *k, const struct wire *w, uint32_t place, int64_t offset)
{
    buf_add_str(&k->bytes, w->head);
    buf_add_str(&k->bytes, w->body);
    CHECK(!k->bytes.failed);
    marks_add(&k->marks, (struct mark){ (uint32_t)(w->head.n + w->body.n), place, offset });
}

/* Tells what became of one place; `lost`: so many records of it are gone. */
static void chunk_tell(struct chunk_maker *m, struct chunk *k, enum resume what, uint32_t i, int64_t lost)
{
    struct buf out = buf_new(TOLD_BYTES);
    int64_t *of_each = mem_alloc((m->places->count + 1) * sizeof *of_each);
    of_each[i] = lost;
    told_add(&out, &k->cohort->subscription, &(struct told){ .resume = what, .places = m->places, .lost = of_each });
    if (!out.failed && out.n)
        chunk_add(k, &(struct wire){ STR(""), buf_str(&out) }, PLACE_NONE, 0);
    free(of_each);
    buf_free(&out);
}

static bool chunk_add_position(struct chunk_maker *m, struct chunk *k, struct buf *out)
{
    struct filling *f = k->filling;
    return position_add(&f->position, m->places, &k->cohort->subscription, f->next, f->count, f->newest_ms, out);
}

/* The position without an event: in an event stream an id alone, in aqueduct.v1 that op. */
static void chunk_place(struct chunk_maker *m, struct chunk *k, const char *op)
{
    const struct subscription *s = &k->cohort->subscription;
    struct buf cursor = buf_new(CURSOR_TEXT_MAX), out = buf_new(PLACED), json = buf_new(PLACED);
    bool known = chunk_add_position(m, k, &cursor) && !cursor.failed;
    if (s->sse && known)
        buf_printf(&out, "id: %.*s\n\n", STR_ARG(buf_str(&cursor)));
    if (s->sub) {
        protocol_place(&json, op, s->sub, known ? buf_str(&cursor) : STR(""));
        frames_add_op(&out, s, buf_str(&json));
    }
    if (out.n && !out.failed)
        chunk_add(k, &(struct wire){ STR(""), buf_str(&out) }, PLACE_NONE, 0);
    k->filling->unplaced = 0;
    buf_free(&json);
    buf_free(&out);
    buf_free(&cursor);
}

/* ---- conflation ---- */

static uint64_t chunk_key_of(const struct chunk *k, const struct record *r, const struct event *ev)
{
    struct str key = k->how == SLOW_CONFLATE_KEY ? r->key : ev->subject;
    return key.at ? (uint64_t)str_hash(key) | (uint64_t)1 << 63 : 0;
}

/* Drops the frame of that key, if there is one: a newer one takes its place at the end. */
static void chunk_drop_older(struct chunk *k, uint64_t key)
{
    struct filling *f = k->filling;
    size_t at = 0;
    for (size_t i = 0; i < f->key_count; i++) {
        struct mark *one = &k->marks.at[i];
        if (f->keys[i] == key) {
            size_t n = one->bytes;
            memmove(k->bytes.at + at, k->bytes.at + at + n, k->bytes.n - at - n);
            k->bytes.n -= n;
            memmove(one, one + 1, (k->marks.count - i - 1) * sizeof *one);
            memmove(&f->keys[i], &f->keys[i + 1], (f->key_count - i - 1) * sizeof *f->keys);
            k->marks.count--;
            k->marks.end -= n;
            f->key_count--;
            return;
        }
        at += one->bytes;
    }
}

/* Every frame has a key or 0 beside it. */
static void chunk_note_key(struct chunk *k, uint64_t key)
{
    struct filling *f = k->filling;
    if (f->key_count == f->key_cap) {
        f->key_cap = f->key_cap ? 2 * f->key_cap : 64;
        f->keys = mem_grow(f->keys, f->key_cap, sizeof *f->keys);
    }
    f->keys[f->key_count++] = key;
}

/* ---- records ---- */

/* Puts the event's frame behind the others. */
static void chunk_take_event(struct chunk_maker *m, struct chunk *k, uint32_t i, const struct record *r,
                             const struct event *ev)
{
    struct buf cursor = buf_new(CURSOR_TEXT_MAX);
    const struct subscription *s = &k->cohort->subscription;
    struct wire w;
    if (position_on_each(m->places, s))
        chunk_add_position(m, k, &cursor);
    frames_begin(m->frames, ev);
    if (frames_wire(m->frames, s, buf_str(&cursor), &w) && w.head.n + w.body.n <= m->longest) {
        uint64_t key = k->how == SLOW_CATCHUP ? 0 : chunk_key_of(k, r, ev);
        if (key)
            chunk_drop_older(k, key);
        while (k->how != SLOW_CATCHUP && k->filling->key_count < k->marks.count)
            chunk_note_key(k, 0); /* of what is no event */
        chunk_add(k, &w, i, r->offset);
        if (k->how != SLOW_CATCHUP)
            chunk_note_key(k, key);
        k->filling->unplaced++;
    }
    buf_free(&cursor);
}

static void chunk_take(struct chunk_maker *m, struct chunk *k, uint32_t i, struct record *r)
{
    struct lane *lane = &k->filling->lanes[i];
    const struct event *ev = event_of_record(r, NULL);
    k->filling->next[i] = r->offset + 1;
    k->filling->scanned++;
    if (r->stored_ms > k->filling->newest_ms)
        k->filling->newest_ms = r->stored_ms;
    lane->time_ms = r->stored_ms;
    if (ev && m->places->log->ops->wanted(m->places->log, ev)
        && subscription_has_topic(&k->cohort->subscription, r->topic)
        && filter_match(k->cohort->subscription.filter, ev))
        chunk_take_event(m, k, i, r, ev);
    if (k->filling->unplaced >= UNPLACED_MOST && !position_on_each(m->places, &k->cohort->subscription))
        chunk_place(m, k, "hb");
    event_unref(ev);
    record_free(r);
}

/* ---- reading ---- */

/* The one that was read least far in time, of those that may have something; count: none. */
static uint32_t chunk_choose(const struct filling *f)
{
    uint32_t best = f->count;
    for (uint32_t i = 0; i < f->count; i++)
        if (!f->lanes[i].done && !f->lanes[i].dry && (best == f->count || f->lanes[i].time_ms < f->lanes[best].time_ms))
            best = i;
    return best;
}

/* The topic is another one now: what it has comes from its beginning on. */
static void chunk_begin_anew(struct chunk_maker *m, struct chunk *k, uint32_t i)
{
    struct lane *lane = &k->filling->lanes[i];
    struct place *p = &m->places->at[i];
    m->places->log->ops->close(m->places->log, lane->reader);
    *lane = (struct lane){ .dry = true };
    k->filling->next[i] = 0;
    k->filling->since_ms = clock_mono_ms();
    p->identified = p->known = false; /* to be asked for again */
    chunk_tell(m, k, RESUME_RESET, i, 0);
}

/* For lanes that could not be opened yet: their place is not known, or they are ahead of what was sent. */
static void chunk_await(struct chunk_maker *m, struct chunk *k)
{
    struct filling *f = k->filling;
    bool any = false;
    for (uint32_t i = 0; i < f->count; i++) {
        bool waits = !f->lanes[i].done && !f->lanes[i].reader;
        if (waits && m->places->at[i].known && f->next[i] > m->places->at[i].now
            && clock_mono_ms() - f->since_ms >= AHEAD_MS)
            chunk_begin_anew(m, k, i);
        any |= waits;
    }
    if (!any)
        return;
    places_look(m->places);
    chunk_aim(m, k);
}

static void chunk_tell_lost(struct chunk_maker *m, struct chunk *k, uint32_t i)
{
    struct lane *lane = &k->filling->lanes[i];
    int64_t lost = lane->reader->lost - lane->lost;
    lane->lost = lane->reader->lost;
    metric_add(m->lost, lost);
    chunk_tell(m, k, RESUME_GAP, i, lost);
}

/* The next record cannot be read now; it is tried again. */
static void chunk_log_failure(struct chunk_maker *m, const struct err *e)
{
    int64_t left_out;
    if (log_limit_pass(&m->log_limit, &left_out))
        LOG(WARN, "the log cannot be read for listeners that are behind", LOG_C("sink", m->sink),
            LOG_C("error", e->text));
}

static void chunk_read(struct chunk_maker *m, struct chunk *k, uint32_t i)
{
    struct lane *lane = &k->filling->lanes[i];
    struct record *records[READ_ROOM];
    struct err e = { "" };
    if (!lane->reader) {
        lane->dry = true;
        return;
    }
    int n = m->places->log->ops->read(m->places->log, lane->reader, lane->aim, records, READ_ROOM, CHUNK_BYTES, &e);
    if (n < 0)
        chunk_log_failure(m, &e);
    if (lane->reader->lost > lane->lost)
        chunk_tell_lost(m, k, i);
    for (int at = 0; at < n; at++)
        chunk_take(m, k, i, records[at]);
    if (lane->reader->anew) {
        chunk_begin_anew(m, k, i);
        return;
    }
    if (n >= 0 && lane->reader->next > k->filling->next[i])
        k->filling->next[i] = lane->reader->next;
    lane->done = lane->reader->next >= lane->aim;
    lane->dry = n <= 0;
}

/* All places were read up to the aim? */
static bool chunk_is_done(const struct filling *f)
{
    for (uint32_t i = 0; i < f->count; i++)
        if (!f->lanes[i].done)
            return false;
    return true;
}

static bool chunk_is_full(const struct chunk *k)
{
    return k->bytes.n >= CHUNK_BYTES || k->filling->scanned >= (k->how == SLOW_CATCHUP ? SCANNED_MOST : CONFLATED_MOST);
}

static void chunk_finish(struct chunk_maker *m, struct chunk *k, bool joins)
{
    /* They learn where they are also when nothing was for them. */
    const struct subscription *s = &k->cohort->subscription;
    bool moves = k->marks.count == 0 || !position_on_each(m->places, s);
    if ((s->sse && moves) || (s->sub && (moves || joins)))
        chunk_place(m, k, joins ? "live" : "hb");
    k->joins = joins;
    k->ready = true;
    chunk_end_filling(m, k);
}

bool chunk_fill(struct chunk_maker *m, struct chunk *k)
{
    struct filling *f = k->filling;
    uint32_t i = 0;
    if (!position_ready(&f->position, m->places, &k->cohort->subscription))
        return false;
    chunk_await(m, k);
    for (i = 0; i < f->count; i++)
        f->lanes[i].dry = false;
    for (int reads = 0; reads < READS && !chunk_is_full(k); reads++) {
        i = chunk_choose(f);
        if (i == f->count)
            break;
        chunk_read(m, k, i);
    }
    bool done = chunk_is_done(f);
    if (done || chunk_is_full(k) || (k->bytes.n && i == f->count))
        chunk_finish(m, k, done);
    return !k->ready && i < f->count;
}
