/* SPDX-License-Identifier: MIT */
/* `order: key`: a key whose event has to wait long steps aside, so that the window and the position go on.
 *
 *   topic ---- its key is blocked, or it has to wait long ----> blocked log ---- its turn and its time ----> the window
 *
 * Each partition of a topic has a log of its own, the same partition of <prefix>blocked.<sink>.<topic>: who reads one
 * reads the other (range assignment), so one member of a group has all of a key. The log holds the events of blocked keys
 * in order. Here stand only their offsets, by key; an event is read again when it is the first of its key and due, with a
 * few behind it. When it has to wait long again, a note is put into the log: how often it was tried, when it is due.
 * The last of a key that is done unblocks the key.
 *
 * Before anything of a partition is sent, its log must have been read up to its present end, or a new event could pass
 * older ones of its key. The end is found by a mark that is put there and read back:
 *
 *   BLOCKED_UNREAD ---- the first record of either ----> BLOCKED_MARKING ---- the mark is read ----> BLOCKED_READ
 *
 * Until then the entries of the partition are held. Where there is no log (BLOCKED_ABSENT: the topic got more partitions
 * since the start), keys wait in memory. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/delivery/private.h"
#include "bridge/event/trail.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

METRIC_GAUGE(aqueduct_sink_blocked, "order: key: events in the blocked log, which wait for their turn.", "sink");
METRIC_GAUGE(aqueduct_sink_blocked_keys, "order: key: keys in the blocked log.", "sink");

enum {
    AHEAD = 8,  /* most events of one key in the window */
    NEAR = 256, /* reading so many records is less than going to another place */
    MARK_AGAIN_MS = 1000,
    TIME_BYTES = 24,
};

#define STATE_MARK STR("mark")
#define STATE_NOTE STR("note")

/* ---- the logs ---- */

static bool blocked_is_ordered(const struct sink_config *sink)
{
    bool ordered = sink->endpoint_count == 0 && sink->order == ORDER_KEY;
    for (size_t i = 0; i < sink->endpoint_count; i++)
        ordered = ordered || sink->endpoints[i].order == ORDER_KEY;
    return ordered;
}

bool blocked_topics(const struct sink_config *sink, const struct broker_config *names,
                    bool (*each)(void *ctx, const char *topic, const char *like, const char *group, struct err *e),
                    void *ctx, struct err *e)
{
    if (!blocked_is_ordered(sink) || !delivery_waits(sink))
        return true;
    bool ok = true;
    char *group = str_join(names->group_prefix, sink->sink->id, "");
    for (size_t i = 0; i < sink->topics.count && ok; i++) {
        char *id = str_join(sink->sink->id, ".", sink->topics.at[i]);
        char *name = topic_name(names->prefix, TOPIC_BLOCKED, id);
        if (topic_name_ok(str_of(name)))
            ok = each(ctx, name, sink->topics.at[i], group, e);
        free(name);
        free(id);
    }
    free(group);
    return ok;
}

/* Remembers the log of a topic when it is there. */
static bool blocked_know(void *ctx, const char *topic, const char *like, const char *group, struct err *e)
{
    struct delivery *d = ctx;
    (void)group;
    (void)e;
    if (broker_partitions(d->broker, topic) == 0) {
        LOG(WARN, "there is no blocked log: a key that waits long holds up others of its topic",
            LOG_C("sink", d->s->id), LOG_C("topic", like), LOG_C("log", topic));
        return true;
    }
    d->logs = mem_grow(d->logs, d->log_count + 1, sizeof *d->logs);
    d->logs[d->log_count++] = (struct blocked_log){ str_dup(str_of(topic)), like };
    return true;
}

void blocked_open(struct delivery *d, const struct broker_config *names)
{
    mailbox_open(&d->marks, d->wake_fd);
    blocked_topics(d->config, names, blocked_know, d, NULL);
    d->blocked_events = metric_get(&aqueduct_sink_blocked, LABELS(d->s->id));
    d->blocked_keys = metric_get(&aqueduct_sink_blocked_keys, LABELS(d->s->id));
}

/* The pair of a topic's partition and its log, made if need be. */
static struct blocked *blocked_pair(struct delivery *d, const struct blocked_log *log, int32_t partition)
{
    for (struct blocked *b = d->blocked; b; b = b->next)
        if (b->log == log->topic && b->where.partition == partition)
            return b;
    struct blocked *b = mem_alloc(sizeof *b);
    *b = (struct blocked){ .next = d->blocked,
                           .log = log->topic,
                           .where = { log->topic, partition },
                           .number = d->blocked ? d->blocked->number + 1 : 0,
                           .state = BLOCKED_UNREAD };
    if (partition >= broker_partitions(d->broker, log->topic)) {
        b->state = BLOCKED_ABSENT;
        LOG(WARN, "a partition has no blocked log before the next start: a key that waits long holds up others",
            LOG_C("sink", d->s->id), LOG_C("topic", log->of), LOG_INT("partition", partition));
    }
    return d->blocked = b;
}

/* What a partition belongs to; NULL: to none. */
static struct blocked *blocked_of(struct delivery *d, struct partition *p)
{
    for (size_t i = 0; i < d->log_count && !p->blocked && !p->own; i++) {
        bool is_log = str_eq(p->topic, str_of(d->logs[i].topic));
        if (!is_log && !str_eq(p->topic, str_of(d->logs[i].of)))
            continue;
        p->blocked = blocked_pair(d, &d->logs[i], p->where.partition);
        *(is_log ? &p->blocked->read : &p->blocked->topic) = p;
    }
    return p->blocked;
}

/* ---- the mark ---- */

static void blocked_on_marked(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    struct delivery *d = ctx;
    mailbox_put(&d->marks, tag, (int32_t)o, why);
}

static void blocked_publish_mark(struct delivery *d, struct blocked *b)
{
    const struct header headers[] = { { STR(TRAIL_STATE), STATE_MARK }, { STR(TRAIL_REASON), str_of(b->mark) } };
    struct record r = {
        .topic = str_of(b->log), .partition = b->where.partition, .headers = headers, .header_count = 2
    };
    b->mark_again_ms = INT64_MAX;
    d->storing++;
    broker_publish(d->broker,
                   &(struct publication){
                       .records = &r, .record_count = 1, .done = blocked_on_marked, .ctx = d, .tag = b->number });
}

/* Begins to read the log up to its end; the topic's partition waits so long. */
static void blocked_begin(struct delivery *d, struct blocked *b)
{
    unsigned char bytes[8];
    crypto_random(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(b->mark + 2 * i, 3, "%02x", bytes[i]);
    b->state = BLOCKED_MARKING;
    b->mark_failed = false;
    if (b->topic)
        consumer_hold(d->consumer, b->topic->where, true);
    blocked_publish_mark(d, b);
}

/* The log has been read: which keys are blocked is known. */
static void blocked_ready(struct delivery *d, struct blocked *b)
{
    b->state = BLOCKED_READ;
    if (b->topic)
        consumer_hold(d->consumer, b->topic->where, false);
    wake_up(d->wake_fd); /* it may be read at once */
    for (struct entry *en; (en = b->held.first);) {
        b->held.first = en->next;
        d->held--;
        en->state = ENTRY_BEHIND;
        if (en->chained || window_chain_enter(en))
            window_ready(d, en);
    }
    b->held.last = NULL;
    for (size_t i = 0; b->keys && i <= b->key_mask; i++)
        for (struct blocked_key *key = b->keys[i]; key; key = key->next)
            keys_rest(b, key);
}

/* A mark that could not be stored is tried again: nothing may pass. */
static void blocked_not_marked(struct delivery *d, uint64_t number, const char *why)
{
    struct blocked *b = d->blocked;
    while (b->number != number)
        b = b->next;
    if (!b->mark_failed)
        LOG(ERROR, "cannot mark the end of a blocked log; its topic waits", LOG_C("sink", d->s->id),
            LOG_C("log", b->log), LOG_INT("partition", b->where.partition), LOG_C("reason", why));
    b->mark_failed = true;
    b->mark_again_ms = clock_mono_ms() + MARK_AGAIN_MS;
}

void blocked_take_marked(struct delivery *d)
{
    struct notice notices[16];
    for (size_t n; (n = mailbox_take(&d->marks, notices, sizeof notices / sizeof *notices)) > 0;)
        for (size_t i = 0; i < n; i++) {
            d->storing--;
            if (notices[i].code != OUTCOME_STORED)
                blocked_not_marked(d, notices[i].tag, notices[i].why);
        }
}

/* ---- aside ---- */

static void blocked_put(struct delivery *d, struct blocked *b, struct entry *en, int64_t due_ms)
{
    struct blocked_key *key = keys_make(d, b, en->key_hash, en->to);
    if (keys_has(key, en->of->record)) {
        window_finish(d, en, en->to->count.moved);
        return;
    }
    key->coming++;
    moves_block(d, en, &b->where, -1, due_ms);
}

/* Until it is known which keys are blocked. */
static void blocked_hold(struct delivery *d, struct blocked *b, struct entry *en)
{
    if (b->state == BLOCKED_UNREAD)
        blocked_begin(d, b);
    en->state = ENTRY_HELD;
    d->held++;
    en->next = NULL;
    *(b->held.last ? &b->held.last->next : &b->held.first) = en;
    b->held.last = en;
}

bool blocked_holds(struct delivery *d, struct entry *en)
{
    struct partition *p = en->of->partition;
    struct blocked *b = p && en->to->chains && en->of->record->key.at ? blocked_of(d, p) : NULL;
    if (!b || b->read == p || b->state == BLOCKED_READ || b->state == BLOCKED_ABSENT)
        return false;
    blocked_hold(d, b, en);
    return true;
}

bool blocked_passes(struct delivery *d, struct entry *en)
{
    struct partition *p = en->of->partition;
    struct blocked *b = p && en->chained ? blocked_of(d, p) : NULL;
    if (!b || b->read == p || b->state == BLOCKED_ABSENT)
        return true;
    if (b->state == BLOCKED_READ && !keys_find(b, en->key_hash, en->to))
        return true;
    if (b->state == BLOCKED_READ)
        blocked_put(d, b, en, 0);
    else
        blocked_hold(d, b, en);
    return false;
}

bool blocked_wait(struct delivery *d, struct entry *en, int64_t wait_ms)
{
    struct partition *p = en->of->partition;
    struct blocked *b = p && en->chained ? blocked_of(d, p) : NULL;
    if (!b || b->state != BLOCKED_READ)
        return false;
    if (b->read == p)
        moves_block(d, en, &b->where, en->of->record->offset, clock_wall_ms() + wait_ms);
    else
        blocked_put(d, b, en, clock_wall_ms() + wait_ms);
    return true;
}

/* Does an earlier event of its key, which stands in the topic too, come before it? */
static bool blocked_is_behind(const struct blocked *b, const struct entry *en)
{
    const struct entry *at = en->to->chains[en->key_hash & en->to->chain_mask];
    while (at != en && (at->key_hash != en->key_hash || at->of->partition == b->read))
        at = at->chain;
    return at != en;
}

/* May it go into the log now, in the order of its key? One of a key at a time, so that none overtakes another there. */
static struct blocked *blocked_that_takes(struct delivery *d, const struct entry *en)
{
    struct partition *p = en->of->partition;
    bool idle = en->state == ENTRY_READY || en->state == ENTRY_BEHIND || en->state == ENTRY_WAITING;
    struct blocked *b = p && idle ? blocked_of(d, p) : NULL;
    if (!b || b->state != BLOCKED_READ || b->read == p || blocked_is_behind(b, en))
        return NULL;
    return en->state != ENTRY_BEHIND || keys_find(b, en->key_hash, en->to) ? b : NULL;
}

/* Puts it into the log if it may go there; `later`: where its key waits for a while. */
static void blocked_aside(struct delivery *d, struct entry *en, bool later)
{
    struct blocked *b = blocked_that_takes(d, en);
    if (!b)
        return;
    bool first = !keys_find(b, en->key_hash, en->to);
    int64_t left = en->state == ENTRY_WAITING ? en->wake_ms - clock_mono_ms() : 0,
            least = later && first ? gates_aside_ms(en->to) : 0;
    if (en->state == ENTRY_READY)
        window_unready(en);
    en->to->waiting -= en->state == ENTRY_WAITING;
    en->state = ENTRY_BEHIND; /* neither any more, also if the log has it already */
    window_renew(en);
    blocked_put(d, b, en, clock_wall_ms() + (left > least ? left : least));
}

void blocked_make_room(struct delivery *d, size_t part)
{
    int64_t now = clock_mono_ms();
    for (size_t i = 0; i < d->entry_cap; i++) {
        struct entry *en = d->entries[i];
        if (en->state != ENTRY_FREE && en->chained && moves_has_too_much(en->to, part) && gates_due(en->to) > now)
            blocked_aside(d, en, true);
    }
}

void blocked_tidy(struct delivery *d)
{
    for (size_t i = 0; i < d->entry_cap; i++) {
        struct entry *en = d->entries[i];
        if (en->state != ENTRY_FREE && en->chained && en->to->paused && gates_stay_closed(en->to))
            blocked_aside(d, en, true);
    }
}

/* Is one of its key, itself or behind it, finished at another endpoint? */
static bool blocked_is_shared(const struct entry *en)
{
    const struct entry *at = en->to->chains[en->key_hash & en->to->chain_mask];
    while (at && (at->key_hash != en->key_hash || !at->of->partly))
        at = at->chain;
    return at != NULL;
}

void blocked_leave(struct delivery *d)
{
    for (struct blocked *b = d->blocked; d->many && b; b = b->next)
        if (b->held.first)
            blocked_ready(d, b); /* nothing is sent any more: whatever the log holds, this comes after it */
    for (size_t i = 0; d->many && i < d->entry_cap; i++) {
        struct entry *en = d->entries[i];
        if (en->state != ENTRY_FREE && en->chained && blocked_is_shared(en))
            blocked_aside(d, en, false);
    }
}

/* Gives back to the log what the window has of a key. */
static void blocked_unload(struct delivery *d, struct blocked *b, struct blocked_key *key, struct entry *first)
{
    for (size_t i = 0; i < d->entry_cap; i++) {
        struct entry *en = d->entries[i];
        if (en == first || en->state != ENTRY_BEHIND || en->of->partition != b->read || en->key_hash != key->hash
            || en->to != key->to)
            continue;
        en->of->stays = true;
        window_finish(d, en, en->to->count.moved);
    }
    first->of->stays = true;
    window_finish(d, first, first->to->count.moved);
    d->blocked_loaded -= key->loaded;
    key->loaded = 0;
}

/* The note of its first event is stored: the key rests. */
static void blocked_noted(struct delivery *d, struct blocked *b, struct entry *en)
{
    struct blocked_key *key = keys_find(b, en->key_hash, en->to);
    CHECK(key && key->active && key->loaded);
    key->attempts = en->attempts;
    key->first_ms = en->first_ms;
    key->last_ms = en->last_ms;
    key->due_ms = en->to->gone ? 0 : en->due_ms;
    blocked_unload(d, b, key, en);
    struct blocked_key **at = &b->active;
    while (*at != key)
        at = &(*at)->next_active;
    *at = key->next_active;
    key->active = false;
    keys_rest(b, key);
}

void blocked_stored(struct delivery *d, struct entry *en)
{
    struct partition *p = en->of->partition;
    struct blocked *b = p ? blocked_of(d, p) : NULL;
    d->storing--;
    en->to->storing--;
    if (b && en->note_of >= 0)
        blocked_noted(d, b, en);
    else
        window_finish(d, en, en->to->count.moved);
}

void blocked_refused(struct delivery *d, struct entry *en)
{
    struct partition *p = en->of->partition;
    struct blocked *b = p ? blocked_of(d, p) : NULL;
    struct blocked_key *key = b ? keys_find(b, en->key_hash, en->to) : NULL;
    en->log = NULL;
    if (!key || en->note_of >= 0 || key->coming == 0)
        return;
    if (--key->coming == 0 && key->count == 0 && !key->active)
        keys_free(d, b, key);
}

void blocked_orphan_all(struct delivery *d, const struct destination *to)
{
    for (struct blocked *b = d->blocked; b; b = b->next)
        keys_wake_all(b, to);
}

/* ---- the log is read ---- */

static void blocked_finish(struct delivery *d, struct blocked *b, int64_t offset)
{
    watermark_finish(&b->read->done, offset);
    b->read->changed = d->changed = true;
}

/* A note says how often the first event of its key was tried. It stays as long as that event does. */
static void blocked_read_note(struct delivery *d, struct blocked *b, struct destination *to, const struct record *r)
{
    int64_t of = -1;
    struct blocked_key *key = r->key.at ? keys_find(b, str_hash(r->key), to) : NULL;
    if (!str_to_i64(record_header(r, TRAIL_NOTE), &of) || !key || !key->count || keys_offset(key, 0) != of) {
        blocked_finish(d, b, r->offset);
        return;
    }
    if (key->note >= 0)
        blocked_finish(d, b, key->note);
    key->note = r->offset;
    if (b->state == BLOCKED_READ) /* we wrote it */
        return;
    struct trail trail = trail_read(r);
    key->attempts = trail.attempts;
    key->first_ms = trail.first_ms;
    key->last_ms = trail.last_ms;
    key->due_ms = trail.due_ms;
}

/* Takes an event into the window. */
static void blocked_load(struct delivery *d, struct blocked *b, struct blocked_key *key, struct record *r)
{
    struct err e = { "" };
    struct taken *t = window_take(d, r, event_of_record(r, &e), b->read);
    struct entry *en = window_add(d, t, key->to);
    if (key->loaded++ == 0) {
        en->attempts = key->attempts;
        en->first_ms = key->first_ms;
        en->last_ms = key->last_ms;
    }
    d->blocked_loaded++;
    en->state = ENTRY_BEHIND;
    bool first = window_chain_enter(en);
    if (!t->event) {
        why_copy(en->last.why, e.text);
        moves_dead_letter(d, en, moves_class(REASON_POISON));
    } else if (first)
        window_ready(d, en);
    window_release(d, t);
}

static bool blocked_has_room(const struct delivery *d)
{
    return d->blocked_loaded < ((size_t)d->config->window + 1) / 2;
}

/* Has an endpoint that may get nothing just now enough in memory? A paused one needs nothing. Nobody waits for it. */
static bool blocked_has_enough(const struct destination *to)
{
    return to->name && (to->paused || (to->open >= AHEAD && gates_due(to) > clock_mono_ms()));
}

/* Is this offset the next of its key that the window should have? */
static bool blocked_wants(const struct delivery *d, const struct blocked_key *key, int64_t offset)
{
    return key->active && key->loaded < key->count && key->loaded < AHEAD && blocked_has_room(d)
           && !blocked_has_enough(key->to) && keys_offset(key, key->loaded) == offset;
}

static void blocked_read_event(struct delivery *d, struct blocked *b, struct destination *to, struct record *r,
                               bool again)
{
    uint64_t hash = str_hash(r->key);
    struct blocked_key *key = again ? keys_find(b, hash, to) : keys_make(d, b, hash, to);
    if (!again) {
        struct blocked_place place = { .offset = r->offset };
        str_to_i64(record_header(r, TRAIL_OFFSET), &place.origin_offset);
        str_to_i64(record_header(r, TRAIL_TIMESTAMP), &place.origin_ms);
        keys_push(d, key, place);
        if (key->coming && b->state == BLOCKED_READ)
            key->coming--;
        if (key->count == 1) {
            struct trail trail = trail_read(r);
            key->attempts = trail.attempts;
            key->first_ms = trail.first_ms;
            key->last_ms = trail.last_ms;
            key->due_ms = trail.due_ms;
            if (b->state == BLOCKED_READ && !key->active)
                keys_rest(b, key);
        }
    }
    if (key && blocked_wants(d, key, r->offset))
        blocked_load(d, b, key, r);
    else
        record_free(r);
}

/* An event of an endpoint that is not configured any more. */
static void blocked_orphan(struct delivery *d, struct blocked *b, struct record *r, struct str endpoint)
{
    struct taken *t = window_take(d, r, event_of_record(r, NULL), b->read);
    struct entry *en = window_add(d, t, &d->self);
    struct trail trail = trail_read(r);
    en->attempts = trail.attempts;
    en->first_ms = trail.first_ms;
    en->last_ms = trail.last_ms;
    if (endpoint.at)
        moves_orphan(d, en, endpoint);
    else {
        why_copy(en->last.why, "it waited for the sink as a whole, which has endpoints now");
        moves_dead_letter(d, en, "orphaned");
    }
    window_release(d, t);
}

/* The destination that has this record among its blocked ones, or put it there, if that is gone; else the one of the
 * name. */
static struct destination *blocked_whose(struct delivery *d, const struct blocked *b, struct str endpoint,
                                         const struct record *r, bool again)
{
    for (struct destination *to = r->key.at ? d->gone : NULL; to; to = to->after) {
        const struct blocked_key *key = str_eq(endpoint, str_of(to->name)) ? keys_find(b, str_hash(r->key), to) : NULL;
        if (key && (again ? blocked_wants(d, key, r->offset) : key->coming > 0))
            return to;
    }
    return destinations_find(d, endpoint);
}

/* A record of the log; `again`: it was read before. */
static void blocked_read(struct delivery *d, struct blocked *b, struct record *r, bool again)
{
    struct str state = record_header(r, TRAIL_STATE);
    struct str endpoint = record_header(r, TRAIL_ENDPOINT);
    struct destination *to = blocked_whose(d, b, endpoint, r, again);
    b->cursor = r->offset + 1;
    if (!state.at && r->key.at && (to || !again)) {
        if (to)
            blocked_read_event(d, b, to, r, again);
        else
            blocked_orphan(d, b, r, endpoint);
        return;
    }
    if (!again && str_eq(state, STATE_NOTE))
        blocked_read_note(d, b, to, r);
    else if (!again) {
        bool ours = b->state == BLOCKED_MARKING && str_eq(record_header(r, TRAIL_REASON), str_of(b->mark));
        blocked_finish(d, b, r->offset);
        if (ours)
            blocked_ready(d, b);
    }
    record_free(r);
}

bool blocked_take(struct delivery *d, struct partition *p, struct record *r)
{
    struct blocked *b = blocked_of(d, p);
    if (!b || b->read != p)
        return false;
    bool again = r->offset <= p->newest;
    if (!again) {
        p->newest = r->offset;
        watermark_begin(&p->done, r->offset);
    }
    if (b->state == BLOCKED_UNREAD)
        blocked_begin(d, b);
    blocked_read(d, b, r, again);
    return true;
}

bool blocked_is_anew(struct delivery *d, struct partition *p, int64_t offset)
{
    struct blocked *b = blocked_of(d, p);
    return b && b->read == p ? offset < b->cursor : offset <= p->newest;
}

/* ---- each turn ---- */

/* Drops from the front of a key what is done. */
static void blocked_pass(struct delivery *d, struct blocked *b, struct blocked_key *key)
{
    while (key->count && key->loaded && !watermark_is_open(&b->read->done, keys_offset(key, 0))) {
        key->head++;
        key->count--;
        key->loaded--;
        d->blocked_loaded--;
        metric_add(d->blocked_events, -1);
        if (key->note >= 0)
            blocked_finish(d, b, key->note);
        key->note = -1;
        key->attempts = 0;
        key->first_ms = key->last_ms = key->due_ms = 0;
    }
}

/* The place in the log where something is that the window should have; INT64_MAX: nowhere. *more: there will be one, as
 * soon as the window has done something. */
static int64_t blocked_sought(struct delivery *d, struct blocked *b, bool *more)
{
    int64_t sought = INT64_MAX;
    bool room = blocked_has_room(d);
    *more = false;
    for (struct blocked_key **at = &b->active, *key; (key = *at);) {
        blocked_pass(d, b, key);
        if (key->count == 0) { /* the key is free, unless more of it is on its way into the log */
            *at = key->next_active;
            key->active = false;
            if (key->coming == 0)
                keys_free(d, b, key);
            continue;
        }
        at = &key->next_active;
        if (key->loaded == key->count || blocked_has_enough(key->to))
            continue;
        if (!room || key->loaded == AHEAD)
            *more = true;
        else if (keys_offset(key, key->loaded) < sought)
            sought = keys_offset(key, key->loaded);
    }
    return sought;
}

/* Decides where the log is read on. */
static void blocked_steer(struct delivery *d, struct blocked *b)
{
    bool more;
    int64_t sought = blocked_sought(d, b, &more), end = b->read->newest + 1;
    bool waits = more && sought == INT64_MAX && b->cursor < end;
    if (waits != b->waits)
        consumer_hold(d->consumer, b->where, waits);
    b->waits = waits;
    if (waits)
        return;
    if (sought > end)
        sought = end;
    if (sought < b->cursor || sought > b->cursor + NEAR || (sought == end && b->cursor < end)) {
        consumer_seek(d->consumer, b->where, sought);
        b->cursor = sought;
    }
}

void blocked_turn(struct delivery *d)
{
    int64_t now = clock_mono_ms();
    for (struct blocked *b = d->blocked; b; b = b->next) {
        if (b->state == BLOCKED_UNREAD && b->held.first)
            blocked_begin(d, b);
        if (b->state == BLOCKED_MARKING && b->mark_again_ms <= now)
            blocked_publish_mark(d, b);
        for (uint64_t tag; timers_pop(&b->due, now, &tag);)
            keys_wake(b, (struct blocked_key *)(uintptr_t)tag);
        if (b->state == BLOCKED_READ && (b->active || b->waits || b->cursor <= b->read->newest))
            blocked_steer(d, b);
    }
}

int64_t blocked_next(const struct delivery *d)
{
    int64_t next = INT64_MAX;
    for (const struct blocked *b = d->blocked; b; b = b->next) {
        int64_t due = timers_next(&b->due);
        if (b->state == BLOCKED_MARKING && b->mark_again_ms < due)
            due = b->mark_again_ms;
        next = due < next ? due : next;
    }
    return next;
}

/* ---- the end ---- */

static void blocked_forget_keys(struct delivery *d, struct blocked *b)
{
    for (size_t i = 0; b->keys && i <= b->key_mask; i++)
        while (b->keys[i])
            keys_free(d, b, b->keys[i]);
    free(b->keys);
    timers_free(&b->due);
    b->keys = NULL;
    b->active = NULL;
    b->cursor = 0;
    b->waits = false;
    b->state = BLOCKED_UNREAD;
}

void blocked_forget(struct delivery *d, struct partition *p)
{
    struct blocked *b = p->blocked;
    if (!b)
        return;
    if (p == b->read) {
        blocked_forget_keys(d, b);
        b->read = NULL;
    } else {
        b->held = (struct window_queue){ NULL, NULL };
        b->topic = NULL;
        if (!b->read) /* its mark may have gone to another member */
            b->state = BLOCKED_UNREAD;
    }
}

void blocked_close(struct delivery *d)
{
    for (struct blocked *b = d->blocked, *next; b; b = next) {
        next = b->next;
        blocked_forget_keys(d, b);
        free(b);
    }
    for (size_t i = 0; i < d->log_count; i++)
        free(d->logs[i].topic);
    free(d->logs);
    mailbox_close(&d->marks);
}
