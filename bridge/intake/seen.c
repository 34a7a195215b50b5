/* SPDX-License-Identifier: MIT */
/* The memory of events: a chained hash table over one growing array, whose stored entries are also in a queue by age, one
 * for each sender. */
#include "bridge/intake/seen.h"
#include <stdlib.h>
#include "bridge/lib/crypto.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/siphash.h"

enum {
    SEEN_DROPPED = -3,   /* in no bucket any more, but in the queue until it is its turn */
    SEEN_SENDERS = 2048, /* more of them share one queue */
};

struct seen_event { /* [0] is nobody, so that 0 ends every list */
    uint64_t identity[2], content;
    int32_t slot;      /* or SEEN_STORED, SEEN_DROPPED */
    uint16_t places;   /* of a stored one */
    uint16_t sender;   /* index */
    uint32_t next;     /* in its bucket, or in the list of free ones */
    uint32_t younger;  /* in the queue of its sender's stored ones */
    uint32_t stored_s; /* wall clock: since when a stored one is */
};

struct seen_sender {
    uint64_t name; /* digest */
    uint32_t oldest, youngest;
    uint32_t oldest_s; /* stored_s of the oldest */
    size_t stored;
};

struct seen {
    struct siphash_key key;
    struct seen_event *at;
    size_t cap;
    uint32_t *buckets, free;
    size_t mask, stored, most;
    struct seen_sender *senders; /* [0]: of those that came too late */
    uint16_t *sender_buckets;    /* indices into them, open addressing; 0: free */
    size_t sender_count;
    uint32_t *pending; /* by slot */
    size_t slots;
    int64_t window_s; /* INT64_MAX: no limit */
    bool unsorted;    /* some queue may not be in the order of time */
    uint64_t crowded; /* how many had to go inside the window, since that was asked */
    int64_t needed;
};

struct seen *seen_new(size_t most, struct duration window)
{
    struct seen *s = mem_alloc(sizeof *s);
    size_t buckets = 1024;
    while (buckets < most)
        buckets *= 2;
    s->buckets = mem_alloc(buckets * sizeof *s->buckets);
    s->sender_buckets = mem_alloc(2 * (size_t)SEEN_SENDERS * sizeof *s->sender_buckets);
    s->senders = mem_grow(NULL, 1, sizeof *s->senders);
    s->senders[s->sender_count++] = (struct seen_sender){ 0 };
    s->mask = buckets - 1;
    s->most = most;
    s->window_s = window.ms ? (window.ms + 999) / 1000 : INT64_MAX;
    crypto_random(&s->key, sizeof s->key);
    return s;
}

void seen_free(struct seen *s)
{
    if (!s)
        return;
    free(s->at);
    free(s->buckets);
    free(s->senders);
    free(s->sender_buckets);
    free(s->pending);
    free(s);
}

/* ---- fingerprints ---- */

/* JSON without the blanks around it, which do not survive the JSON form of an event. */
static struct str seen_data(const struct event *ev)
{
    struct str data = ev->data;
    if (!event_type_is_json(event_content_type(ev)))
        return data;
    while (data.n > 0 && memchr(" \t\r\n", data.at[0], 4))
        data = str_from(data, 1);
    while (data.n > 0 && memchr(" \t\r\n", data.at[data.n - 1], 4))
        data.n--;
    return str_eq(data, STR("null")) ? STR_ABSENT : data; /* which the record of an event without data may have */
}

/* The media type alone: parameters are no other content. */
static struct str seen_media(const struct event *ev)
{
    struct str rest = event_content_type(ev), media = rest;
    str_cut(&rest, ';', &media);
    return str_trim(media);
}

/* Extensions in whatever order they come: some senders' order is random. */
static uint64_t seen_extensions(const struct seen *s, const struct event *ev)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < ev->extension_count; i++) {
        const struct header *x = &ev->extensions[i];
        if (!event_is_content(x->name))
            continue;
        struct siphash h = siphash_begin(&s->key);
        siphash_add(&h, x->name);
        siphash_add(&h, x->value);
        sum += siphash_end(&h).d[0];
    }
    return sum;
}

void seen_rescope(const struct seen *s, struct fingerprint *f, struct str scope, const struct event *ev)
{
    struct str rest = scope, sender = STR("");
    struct siphash h = siphash_begin(&s->key);
    siphash_add(&h, scope.n ? scope : STR(""));
    siphash_add(&h, ev->source);
    siphash_add(&h, ev->id);
    struct digest identity = siphash_end(&h);
    memcpy(f->identity, identity.d, sizeof f->identity);
    str_cut(&rest, '?', &sender);
    h = siphash_begin(&s->key);
    siphash_add(&h, sender);
    f->sender = siphash_end(&h).d[0];
}

struct fingerprint seen_fingerprint(const struct seen *s, struct str scope, const struct event *ev, bool with_data)
{
    struct fingerprint f;
    struct str data = with_data ? seen_data(ev) : STR_ABSENT;
    struct siphash h = siphash_begin(&s->key);
    siphash_add(&h, ev->type);
    siphash_add(&h, ev->subject);
    siphash_add(&h, with_data ? seen_media(ev) : STR(""));
    siphash_add(&h, ev->dataschema);
    siphash_add(&h, data.n ? data : STR("")); /* no data is like empty data */
    f.content = siphash_end(&h).d[0] + seen_extensions(s, ev);
    seen_rescope(s, &f, scope, ev);
    return f;
}

/* ---- the table ---- */

static uint32_t *seen_bucket(const struct seen *s, const uint64_t identity[2])
{
    return &s->buckets[identity[0] & s->mask];
}

static uint32_t seen_lookup(const struct seen *s, const struct fingerprint *f)
{
    uint32_t i = *seen_bucket(s, f->identity);
    while (i && memcmp(s->at[i].identity, f->identity, sizeof f->identity) != 0)
        i = s->at[i].next;
    return i;
}

/* Makes room for more entries; all of it is bounded by `most` and the slots. */
static void seen_grow(struct seen *s)
{
    size_t cap = s->cap ? s->cap * 2 : 1024;
    CHECK(cap <= UINT32_MAX);
    s->at = mem_grow(s->at, cap, sizeof *s->at);
    for (size_t i = cap - 1; i >= (s->cap ? s->cap : 1); i--) {
        s->at[i].next = s->free;
        s->free = (uint32_t)i;
    }
    s->cap = cap;
}

/* The index of a sender, a new one if need be. */
static uint16_t seen_sender(struct seen *s, uint64_t name)
{
    size_t at = name % (2 * (size_t)SEEN_SENDERS);
    while (s->sender_buckets[at] && s->senders[s->sender_buckets[at]].name != name)
        at = (at + 1) % (2 * (size_t)SEEN_SENDERS);
    if (s->sender_buckets[at] || s->sender_count == SEEN_SENDERS)
        return s->sender_buckets[at];
    s->senders = mem_grow(s->senders, s->sender_count + 1, sizeof *s->senders);
    s->senders[s->sender_count] = (struct seen_sender){ .name = name };
    return s->sender_buckets[at] = (uint16_t)s->sender_count++;
}

static uint32_t seen_insert(struct seen *s, const struct fingerprint *f, int32_t slot)
{
    if (!s->free)
        seen_grow(s);
    uint32_t i = s->free, *bucket = seen_bucket(s, f->identity);
    s->free = s->at[i].next;
    s->at[i] = (struct seen_event){ .identity = { f->identity[0], f->identity[1] },
                                    .content = f->content,
                                    .slot = slot,
                                    .sender = seen_sender(s, f->sender),
                                    .next = *bucket };
    *bucket = i;
    return i;
}

/* Takes it out of its bucket: nobody finds it any more. */
static void seen_unlink(struct seen *s, uint32_t gone)
{
    uint32_t *at = seen_bucket(s, s->at[gone].identity);
    while (*at != gone)
        at = &s->at[*at].next;
    *at = s->at[gone].next;
}

static void seen_forget(struct seen *s, uint32_t gone)
{
    if (s->at[gone].slot != SEEN_DROPPED)
        seen_unlink(s, gone);
    s->at[gone].next = s->free;
    s->free = gone;
}

/* ---- queues ---- */

static int64_t seen_now_s(void)
{
    return clock_wall_ms() / 1000;
}

static bool seen_is_old(const struct seen *s, uint32_t stored_s, int64_t now_s)
{
    return now_s - stored_s > s->window_s;
}

/* One of that sender's has to go inside the window: how many there would have to be. */
static void seen_crowd(struct seen *s, const struct seen_sender *of, int64_t now_s)
{
    int64_t age_s = now_s - of->oldest_s;
    double window = (double)of->stored / (double)(age_s > 0 ? age_s : 1) * (double)s->window_s;
    double needed = (double)(s->stored - of->stored) + window;
    s->needed = needed < 1e15 ? (int64_t)needed : (int64_t)1e15;
    s->crowded++;
}

/* Forgets the oldest one of the sender that has most, or one that is older than the window; of several senders it is that
 * which sent just now. */
static void seen_evict(struct seen *s, struct seen_sender *now)
{
    struct seen_sender *most = now;
    int64_t now_s = seen_now_s();
    bool old = false;
    for (size_t i = 0; i < s->sender_count && !old; i++) {
        struct seen_sender *one = &s->senders[i];
        old = one->stored > 0 && seen_is_old(s, one->oldest_s, now_s);
        if (old || one->stored > most->stored)
            most = one;
    }
    uint32_t gone = most->oldest;
    if (!old && s->at[gone].slot == SEEN_STORED && s->window_s != INT64_MAX)
        seen_crowd(s, most, now_s);
    most->oldest = s->at[gone].younger;
    most->oldest_s = s->at[most->oldest].stored_s;
    if (!most->oldest)
        most->youngest = 0;
    most->stored--;
    s->stored--;
    seen_forget(s, gone);
}

/* Two lists in the order of time become one; of the same second, those of the first come first. */
static uint32_t seen_merge(struct seen *s, uint32_t first, uint32_t second)
{
    uint32_t head = 0, last = 0;
    while (first || second) {
        bool from_first = first && (!second || s->at[first].stored_s <= s->at[second].stored_s);
        uint32_t next = from_first ? first : second;
        if (from_first)
            first = s->at[next].younger;
        else
            second = s->at[next].younger;
        if (last)
            s->at[last].younger = next;
        else
            head = next;
        last = next;
    }
    return head;
}

/* Puts a sender's queue into the order of time: lists of 1, 2, 4 and so on are merged as soon as there are two of a length. */
static void seen_sort(struct seen *s, struct seen_sender *sender)
{
    uint32_t lists[32] = { 0 }, rest = sender->oldest, all = 0;
    while (rest) {
        uint32_t list = rest;
        size_t i = 0;
        rest = s->at[list].younger;
        s->at[list].younger = 0;
        for (; lists[i]; i++) {
            list = seen_merge(s, lists[i], list);
            lists[i] = 0;
        }
        lists[i] = list;
    }
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        all = seen_merge(s, lists[i], all);
    sender->oldest = all;
    sender->oldest_s = s->at[all].stored_s;
    while (all && s->at[all].younger)
        all = s->at[all].younger;
    sender->youngest = all;
}

void seen_settle(struct seen *s)
{
    for (size_t i = 0; s->unsorted && i < s->sender_count; i++)
        seen_sort(s, &s->senders[i]);
    s->unsorted = false;
    while (s->stored > s->most)
        seen_evict(s, &s->senders[0]);
}

/* Puts it at the young end of its sender's queue; an old one goes if there are too many. */
static void seen_keep(struct seen *s, uint32_t i, uint16_t places, int64_t stored_s)
{
    struct seen_sender *sender = &s->senders[s->at[i].sender];
    s->at[i].slot = SEEN_STORED;
    s->at[i].places = places;
    s->at[i].younger = 0;
    s->at[i].stored_s = stored_s < 0 ? 0 : stored_s > UINT32_MAX ? UINT32_MAX : (uint32_t)stored_s;
    if (sender->youngest) {
        s->unsorted |= s->at[i].stored_s < s->at[sender->youngest].stored_s;
        s->at[sender->youngest].younger = i;
    } else {
        sender->oldest = i;
        sender->oldest_s = s->at[i].stored_s;
    }
    sender->youngest = i;
    sender->stored++;
    if (++s->stored <= s->most)
        return;
    if (!s->unsorted)
        seen_evict(s, sender);
    else if (s->stored > s->most + s->most / 4)
        seen_settle(s);
}

/* ---- the memory ---- */

int64_t seen_find(struct seen *s, const struct fingerprint *f, bool *same)
{
    uint32_t i = seen_lookup(s, f);
    if (i && s->at[i].slot == SEEN_STORED && seen_is_old(s, s->at[i].stored_s, seen_now_s())) {
        seen_drop(s, f);
        i = 0;
    }
    *same = i && s->at[i].content == f->content;
    return i ? s->at[i].slot : SEEN_UNKNOWN;
}

void seen_begin(struct seen *s, const struct fingerprint *f, uint32_t slot)
{
    if (slot >= s->slots) {
        size_t slots = (size_t)slot + 64;
        s->pending = mem_grow(s->pending, slots, sizeof *s->pending);
        memset(s->pending + s->slots, 0, (slots - s->slots) * sizeof *s->pending);
        s->slots = slots;
    }
    CHECK(!s->pending[slot]);
    CHECK(slot <= INT32_MAX);
    s->pending[slot] = seen_insert(s, f, (int32_t)slot);
}

void seen_end(struct seen *s, uint32_t slot, bool stored)
{
    CHECK(slot < s->slots && s->pending[slot]);
    uint32_t i = s->pending[slot];
    s->pending[slot] = 0;
    if (stored)
        seen_keep(s, i, SEEN_EVERYWHERE, seen_now_s());
    else
        seen_forget(s, i);
}

void seen_add(struct seen *s, const struct fingerprint *f, uint16_t places, int64_t stored_ms)
{
    uint32_t i = seen_lookup(s, f);
    if (!i)
        seen_keep(s, seen_insert(s, f, SEEN_STORED), places, stored_ms / 1000);
    else if (s->at[i].content == f->content)
        s->at[i].places |= places;
}

uint64_t seen_crowded(struct seen *s, int64_t *needed)
{
    uint64_t crowded = s->crowded;
    *needed = s->needed;
    s->crowded = 0;
    return crowded;
}

uint16_t seen_places(const struct seen *s, const struct fingerprint *f)
{
    uint32_t i = seen_lookup(s, f);
    return i && s->at[i].slot == SEEN_STORED ? s->at[i].places : 0;
}

void seen_drop(struct seen *s, const struct fingerprint *f)
{
    uint32_t i = seen_lookup(s, f);
    if (!i || s->at[i].slot != SEEN_STORED)
        return;
    seen_unlink(s, i);
    s->at[i].slot = SEEN_DROPPED;
}
