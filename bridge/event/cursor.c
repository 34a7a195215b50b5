/* SPDX-License-Identifier: MIT */
/* Positions in a set of topics: as text, and placed in the log. */
#include "bridge/event/cursor.h"
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/mem.h"

enum {
    VERSION = 1,
    NAME_BYTES = 4,
    IDENTITY_BYTES = 6,
    MAC_BYTES = 8,
    VARINT_MOST = 10,
    TOPICS_MOST = 1024,
    PARTS_MOST = 16384
};

const char *cursor_verdict_text(enum cursor_verdict v)
{
    switch (v) {
    case CURSOR_EXACT: return "exact";
    case CURSOR_NEW: return "new";
    case CURSOR_GAP: return "gap";
    case CURSOR_RESET: return "reset";
    }
    return "";
}

struct cursor *cursor_new(const char *const *topics, size_t count)
{
    struct cursor *c = mem_alloc(sizeof *c);
    c->topics = mem_alloc((count + 1) * sizeof *c->topics);
    c->count = count;
    for (size_t i = 0; i < count; i++)
        c->topics[i].name = str_dup(str_of(topics[i]));
    return c;
}

static void cursor_clear(struct cursor_topic *t)
{
    free(t->parts);
    t->parts = NULL;
    t->count = 0;
    t->known = false;
}

void cursor_free(struct cursor *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->count; i++) {
        cursor_clear(&c->topics[i]);
        free(c->topics[i].name);
    }
    free(c->topics);
    free(c);
}

static void cursor_widen(struct cursor_topic *t, int32_t count)
{
    if (count <= t->count)
        return;
    t->parts = mem_grow(t->parts, (size_t)count, sizeof *t->parts);
    memset(t->parts + t->count, 0, (size_t)(count - t->count) * sizeof *t->parts);
    t->count = count;
}

static void cursor_passed(struct cursor *c, int64_t ms)
{
    c->newest_ms = ms > c->newest_ms ? ms : c->newest_ms;
}

void cursor_move(struct cursor *c, size_t topic, int32_t partition, int64_t next, int64_t ms)
{
    struct cursor_topic *t = &c->topics[topic];
    cursor_widen(t, partition + 1);
    t->parts[partition].next = next;
    cursor_passed(c, ms ? ms : clock_wall_ms());
}

/* ---- writing ---- */

static uint32_t cursor_name(const struct cursor_topic *t)
{
    return (uint32_t)str_hash(str_of(t->name));
}

static uint64_t cursor_identity(uint64_t identity)
{
    return identity & ((UINT64_C(1) << (8 * IDENTITY_BYTES)) - 1);
}

static void cursor_put(struct buf *b, uint64_t n)
{
    for (; n > 127; n >>= 7)
        buf_add_char(b, (char)(n | 128));
    buf_add_char(b, (char)n);
}

static void cursor_put_fixed(struct buf *b, uint64_t n, int bytes)
{
    for (int i = 0; i < bytes; i++)
        buf_add_char(b, (char)(n >> (8 * i)));
}

static void cursor_sign(struct hmac *key, struct str raw, unsigned char out[HASH_MOST])
{
    hmac_sign(key, (const struct str[]){ str_of("aqueduct cursor"), raw }, 2, out);
}

static void cursor_put_topic(struct buf *b, const struct cursor_topic *t)
{
    cursor_put_fixed(b, cursor_name(t), NAME_BYTES);
    cursor_put_fixed(b, cursor_identity(t->identity), IDENTITY_BYTES);
    cursor_put(b, (uint64_t)t->count);
    for (int32_t p = 0; p < t->count; p++)
        cursor_put(b, (uint64_t)t->parts[p].next);
}

void cursor_write(const struct cursor *c, struct hmac *key, struct buf *out)
{
    struct buf raw = { .max = CURSOR_TEXT_MAX };
    unsigned char mac[HASH_MOST];
    size_t topics = 0;
    for (size_t i = 0; i < c->count; i++)
        topics += c->topics[i].known;
    buf_add_char(&raw, VERSION);
    cursor_put(&raw, (uint64_t)c->newest_ms);
    cursor_put(&raw, topics);
    for (size_t i = 0; i < c->count; i++)
        if (c->topics[i].known)
            cursor_put_topic(&raw, &c->topics[i]);
    cursor_sign(key, buf_str(&raw), mac);
    buf_add(&raw, mac, MAC_BYTES);
    base64url_add(out, buf_str(&raw));
    out->failed = out->failed || raw.failed;
    buf_free(&raw);
}

bool cursor_adopt(struct cursor *c, bool (*identity)(void *ctx, const char *topic, uint64_t *out), void *ctx)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->topics[i].known && !identity(ctx, c->topics[i].name, &c->topics[i].identity))
            return false;
    return true;
}

/* ---- reading ---- */

struct cursor_text {
    const unsigned char *at, *end;
    bool bad; /* it ended too early, or a number is none */
};

static uint64_t cursor_get(struct cursor_text *t, uint64_t most)
{
    uint64_t n = 0;
    for (int shift = 0; t->at < t->end && shift < 7 * VARINT_MOST; shift += 7) {
        unsigned char byte = *t->at++;
        n |= (uint64_t)(byte & 127) << shift;
        if (byte & 128)
            continue;
        t->bad = t->bad || n > most || (byte == 0 && shift > 0) || (shift == 63 && byte > 1);
        return t->bad ? 0 : n;
    }
    t->bad = true;
    return 0;
}

static uint64_t cursor_get_fixed(struct cursor_text *t, int bytes)
{
    uint64_t n = 0;
    if (t->end - t->at < bytes) {
        t->bad = true;
        return 0;
    }
    for (int i = 0; i < bytes; i++)
        n |= (uint64_t)t->at[i] << (8 * i);
    t->at += bytes;
    return n;
}

static struct cursor_topic *cursor_topic(struct cursor *c, uint64_t name)
{
    for (size_t i = 0; c && i < c->count; i++)
        if (cursor_name(&c->topics[i]) == name)
            return &c->topics[i];
    return NULL;
}

/* Reads all of it; into c, or, when that is NULL, to see whether it can be. */
static bool cursor_take(struct cursor *c, struct cursor_text t)
{
    int64_t newest = (int64_t)cursor_get(&t, INT64_MAX);
    uint64_t topics = cursor_get(&t, TOPICS_MOST), parts = 0;
    for (uint64_t i = 0; i < topics && !t.bad; i++) {
        struct cursor_topic *to = cursor_topic(c, cursor_get_fixed(&t, NAME_BYTES));
        uint64_t identity = cursor_get_fixed(&t, IDENTITY_BYTES);
        int32_t count = (int32_t)cursor_get(&t, PARTS_MOST);
        parts += (uint64_t)count;
        t.bad = t.bad || parts > PARTS_MOST || count > t.end - t.at;
        if (to && !t.bad) {
            to->known = true;
            to->identity = identity;
            cursor_widen(to, count);
        }
        for (int32_t p = 0; p < count && !t.bad; p++) {
            int64_t next = (int64_t)cursor_get(&t, INT64_MAX);
            if (to)
                to->parts[p].next = next;
        }
    }
    if (c)
        c->newest_ms = newest;
    return !t.bad && t.at == t.end;
}

static bool cursor_check(struct buf *raw, struct hmac *key, struct str text, struct cursor_text *out, struct err *e)
{
    unsigned char mac[HASH_MOST];
    if (text.n > CURSOR_TEXT_MAX)
        return err_set(e, "a cursor of %zu bytes is longer than any (%d)", text.n, CURSOR_TEXT_MAX);
    if (!base64url_decode_exact(raw, text))
        return err_set(e, "not a cursor: it is not base64url");
    if (raw->n < 1 + MAC_BYTES)
        return err_set(e, "not a cursor: it is too short");
    if (raw->at[0] != VERSION)
        return err_set(e, "a cursor of version %d, this Aqueduct knows version %d", (unsigned char)raw->at[0], VERSION);
    struct str signed_part = { raw->at, raw->n - MAC_BYTES };
    cursor_sign(key, signed_part, mac);
    if (!crypto_equal((struct str){ (const char *)mac, MAC_BYTES }, (struct str){ raw->at + signed_part.n, MAC_BYTES }))
        return err_set(e, "a cursor that was altered, or signed with another key");
    *out = (struct cursor_text){ (const unsigned char *)raw->at + 1, (const unsigned char *)raw->at + signed_part.n,
                                 false };
    return cursor_take(NULL, *out) || err_set(e, "a cursor with a content that cannot be");
}

bool cursor_read(struct cursor *c, struct hmac *key, struct str text, struct err *e)
{
    struct buf raw = { .max = CURSOR_TEXT_MAX };
    struct cursor_text t = { 0 };
    bool fine = cursor_check(&raw, key, text, &t, e);
    if (fine) {
        for (size_t i = 0; i < c->count; i++)
            cursor_clear(&c->topics[i]);
        cursor_take(c, t);
        c->read = true;
        cursor_displace(c);
    }
    buf_free(&raw);
    return fine;
}

/* ---- its place in the log ---- */

void cursor_displace(struct cursor *c)
{
    for (size_t i = 0; i < c->count; i++)
        for (int32_t p = 0; p < c->topics[i].count; p++)
            c->topics[i].parts[p] = (struct cursor_part){ .next = c->topics[i].parts[p].next };
    c->verdict = 0;
    c->lost = 0;
}

struct placing { /* a partition, as far as the log is known */
    const struct cursor *c;
    const struct cursor_topic *topic;
    struct cursor_part *part;
    struct log *log;
    struct topic_partition which;
    struct log_bounds bounds;
    int64_t live;
    bool anew; /* the topic is not the one that the position is of */
};

static bool cursor_at_time(struct placing *at, int64_t ms, enum cursor_verdict verdict)
{
    int64_t next;
    if (!at->log->ops->offset_at(at->log, at->which, ms > 0 ? ms : 0, &next))
        return false;
    *at->part = (struct cursor_part){ .next = next < at->live ? next : at->live, .verdict = verdict };
    return true;
}

static bool cursor_at_offset(struct placing *at, int64_t next)
{
    *at->part = (struct cursor_part){ .next = next > at->bounds.start ? next : at->bounds.start,
                                      .verdict = CURSOR_NEW };
    return true;
}

/* Is the record before the position none that the cursor can have passed? False: not yet. */
static bool cursor_doubts(const struct placing *at, bool *out)
{
    int64_t before = at->part->next - 1, ms = -1;
    *out = false;
    if (!at->log->ops->time_of || before < at->bounds.start)
        return true;
    if (!at->log->ops->time_of(at->log, at->which, before, &ms))
        return false;
    *out = ms > at->c->newest_ms + CURSOR_SKEW_MS;
    return true;
}

static bool cursor_resume(struct placing *at, bool all)
{
    bool doubts = false;
    int64_t end = at->bounds.end > at->live ? at->bounds.end : at->live, next = at->part->next;
    if (!at->topic->known && !at->c->read)
        return cursor_at_offset(at, at->live);
    if (!at->topic->known && all)
        return cursor_at_offset(at, 0);
    if (at->topic->known && !at->anew && next <= end && !cursor_doubts(at, &doubts))
        return false;
    if (!at->topic->known || at->anew || next > end || doubts)
        return cursor_at_time(at, at->c->newest_ms - CURSOR_SKEW_MS, at->topic->known ? CURSOR_RESET : CURSOR_NEW);
    int64_t lost = next < at->bounds.start ? at->bounds.start - next : 0;
    *at->part = (struct cursor_part){ next + lost, lost, lost ? CURSOR_GAP : CURSOR_EXACT };
    return true;
}

static bool cursor_place_part(struct placing *at, struct cursor_start start)
{
    if (!at->log->ops->live(at->log, at->which, &at->live))
        return false;
    if (start.from == CURSOR_LATEST) /* whatever the log keeps: the first event that is sent already has a position */
        return cursor_at_offset(at, at->live);
    if (!at->log->ops->bounds(at->log, at->which, &at->bounds))
        return false;
    switch (start.from) {
    case CURSOR_LATEST: break;
    case CURSOR_RESUME: return cursor_resume(at, false);
    case CURSOR_RESUME_ALL: return cursor_resume(at, true);
    case CURSOR_EARLIEST: return cursor_at_offset(at, 0);
    case CURSOR_TIME: return cursor_at_time(at, start.value, CURSOR_NEW);
    case CURSOR_LAST: {
        int64_t parts = at->topic->count, share = start.value / parts + (start.value % parts != 0);
        return cursor_at_offset(at, share < at->live ? at->live - share : 0);
    }
    }
    return false;
}

/* All of its partitions at once, so that what is not known is asked for together. */
static bool cursor_place_topic(struct cursor *c, struct cursor_topic *t, struct log *log, struct cursor_start start)
{
    uint64_t identity;
    int32_t count = log->ops->partitions(log, t->name);
    bool known = log->ops->identity(log, t->name, &identity), all = true;
    if (count == 0 || !known)
        return false;
    cursor_widen(t, count);
    t->count = count;
    for (int32_t p = 0; p < count; p++) {
        struct placing at = { .c = c, .topic = t, .part = &t->parts[p], .log = log, .which = { t->name, p } };
        at.anew = t->known && cursor_identity(t->identity) != cursor_identity(identity);
        if (!at.part->verdict)
            all = cursor_place_part(&at, start) && all;
    }
    if (!all)
        return false;
    t->identity = identity;
    t->known = true;
    return true;
}

bool cursor_place(struct cursor *c, struct log *log, struct cursor_start start)
{
    bool all = true;
    for (size_t i = 0; i < c->count; i++)
        if (!cursor_place_topic(c, &c->topics[i], log, start))
            all = false;
    if (all && (!c->read || (start.from != CURSOR_RESUME && start.from != CURSOR_RESUME_ALL)))
        cursor_passed(c, clock_wall_ms());
    c->verdict = all ? CURSOR_EXACT : 0;
    c->lost = 0;
    for (size_t i = 0; all && i < c->count; i++)
        for (int32_t p = 0; p < c->topics[i].count; p++) {
            const struct cursor_part *part = &c->topics[i].parts[p];
            c->verdict = part->verdict > c->verdict ? part->verdict : c->verdict;
            c->lost += part->lost;
        }
    return all;
}
