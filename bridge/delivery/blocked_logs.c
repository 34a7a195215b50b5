/* SPDX-License-Identifier: MIT */
/* Which partition of a topic has which log, and the mark up to which the log is read before anything of the partition is
 * sent (blocked.c). */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/delivery/private.h"
#include "bridge/event/trail.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

METRIC_GAUGE(aqueduct_sink_blocked, "order: key: events in the blocked log, which wait for their turn.", "sink");
METRIC_GAUGE(aqueduct_sink_blocked_keys, "order: key: keys in the blocked log.", "sink");

enum { MARK_AGAIN_MS = 1000 };

/* ---- the logs ---- */

static bool blocked_is_ordered(const struct sink_config *sink)
{
    bool ordered = sink->order == ORDER_KEY; /* of endpoints that are made later it is the default */
    for (size_t i = 0; i < sink->endpoint_count; i++)
        ordered = ordered || sink->endpoints[i].order == ORDER_KEY;
    return ordered;
}

/* The logs that the sink has, or had, by that name. */
static bool blocked_named(const struct sink_config *sink, const struct broker_config *names, const char *of,
                          bool (*each)(void *ctx, const char *topic, const char *like, const char *group,
                                       struct err *e),
                          void *ctx, struct err *e)
{
    bool ok = true;
    char *group = str_join(names->group_prefix, sink->sink->id, "");
    for (size_t i = 0; i < sink->topics.count && ok; i++) {
        char *id = str_join(of, ".", sink->topics.at[i]);
        char *name = topic_name(names->prefix, TOPIC_BLOCKED, id);
        if (topic_name_ok(str_of(name)))
            ok = each(ctx, name, sink->topics.at[i], group, e);
        free(name);
        free(id);
    }
    free(group);
    return ok;
}

bool delivery_takes_order(const struct sink_config *sink)
{
    return blocked_is_ordered(sink);
}

bool blocked_topics(const struct sink_config *sink, const struct broker_config *names,
                    bool (*each)(void *ctx, const char *topic, const char *like, const char *group, struct err *e),
                    void *ctx, struct err *e)
{
    return !blocked_is_ordered(sink) || !delivery_waits(sink)
           || blocked_named(sink, names, sink->sink->id, each, ctx, e);
}

bool blocked_old_topics(const struct sink_config *sink, const struct broker_config *names,
                        bool (*each)(void *ctx, const char *topic, const char *like, const char *group, struct err *e),
                        void *ctx, struct err *e)
{
    bool ok = true;
    for (size_t i = blocked_is_ordered(sink); i <= sink->formerly.count && ok && delivery_waits(sink); i++)
        ok = blocked_named(sink, names, moves_name(sink, i), each, ctx, e);
    return ok;
}

/* Remembers the log of a topic when it is there. */
static bool blocked_know(void *ctx, const char *topic, const char *like, const char *group, struct err *e)
{
    struct delivery *d = ctx;
    (void)group;
    (void)e;
    int32_t partitions = broker_partitions(d->broker, topic);
    if (partitions == 0) {
        LOG(WARN, "there is no blocked log: a key that waits long holds up others of its topic",
            LOG_C("sink", d->s->id), LOG_C("topic", like), LOG_C("log", topic));
        return true;
    }
    d->logs = mem_grow(d->logs, d->log_count + 1, sizeof *d->logs);
    d->logs[d->log_count++] = (struct blocked_log){ str_dup(str_of(topic)), like, partitions };
    return true;
}

void blocked_open(struct delivery *d, const struct broker_config *names)
{
    mailbox_open(&d->marks, d->wake_fd);
    blocked_topics(d->config, names, blocked_know, d, NULL);
    d->blocked_events = metric_get(&aqueduct_sink_blocked, LABELS(d->s->id));
    d->blocked_keys = metric_get(&aqueduct_sink_blocked_keys, LABELS(d->s->id));
}

struct blocked_search {
    struct delivery *d;
    const struct broker_config *names;
    const char *found; /* a topic that exists */
};

static bool blocked_meet(void *ctx, const char *topic, const char *like, const char *group, struct err *e)
{
    struct blocked_search *s = ctx;
    struct delivery *d = s->d;
    (void)group;
    (void)e;
    if (strcmp(topic, s->found) != 0)
        return true;
    LOG(INFO, "empties a blocked log of an earlier configuration", LOG_C("sink", d->s->id), LOG_C("log", topic));
    d->old = mem_grow(d->old, d->old_count + 1, sizeof *d->old);
    d->old[d->old_count++] = (struct blocked_log){ .topic = str_dup(str_of(topic)), .of = like };
    return false;
}

static void blocked_meet_topic(void *ctx, const char *topic)
{
    struct blocked_search *s = ctx;
    s->found = topic;
    blocked_old_topics(s->d->config, s->names, blocked_meet, s, NULL);
}

bool blocked_find_old(struct delivery *d, const struct broker_config *names, struct err *e)
{
    struct blocked_search s = { .d = d, .names = names };
    char *begin = topic_name(names->prefix, TOPIC_BLOCKED, NULL);
    bool ok = !delivery_waits(d->config) || broker_topics(d->broker, begin, blocked_meet_topic, &s, e);
    free(begin);
    return ok;
}

/* Which topic's log it was; NULL: it is no old log. */
static const char *blocked_old_of(const struct delivery *d, struct str topic)
{
    for (size_t i = 0; i < d->old_count; i++)
        if (str_eq(topic, str_of(d->old[i].topic)))
            return d->old[i].of;
    return NULL;
}

bool blocked_is_old(const struct delivery *d, struct str topic)
{
    return blocked_old_of(d, topic) != NULL;
}

bool blocked_is_log(const struct delivery *d, struct str topic)
{
    bool is = blocked_is_old(d, topic);
    for (size_t i = 0; i < d->log_count && !is; i++)
        is = str_eq(topic, str_of(d->logs[i].topic));
    return is;
}

int64_t blocked_pending(struct delivery *d, const struct standing *log)
{
    const struct partition *p = partition_find(d, str_of(log->topic), log->partition);
    const struct blocked *b = p ? p->blocked : NULL;
    bool own = b && b->read == p, whole = own ? b->state == BLOCKED_READ : p && p->newest + 1 >= log->end;
    if (!whole)
        return -1;
    int64_t count = (int64_t)p->done.open;
    for (size_t i = 0; own && b->keys && i <= b->key_mask; i++)
        for (const struct blocked_key *key = b->keys[i]; key; key = key->next)
            count += (int64_t)key->coming - (key->note >= 0); /* a note stays as long as what it is about */
    return count;
}

bool blocked_is_none(const struct delivery *d, const struct record *r)
{
    struct str sink = record_header(r, TRAIL_SINK);
    bool ours = !sink.at;
    for (size_t i = 0; i <= d->config->formerly.count && !ours; i++)
        ours = str_eq(sink, str_of(moves_name(d->config, i)));
    return record_header(r, TRAIL_STATE).at || !ours;
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
    return d->blocked = b;
}

/* Is it known that the log has no such partition? The topic got more since; then the log gets as many, if it may. */
static bool blocked_lacks(struct delivery *d, struct blocked_log *log, int32_t partition)
{
    if (partition < log->partitions)
        return false;
    int32_t wanted = broker_partitions(d->broker, log->of);
    broker_topic(d->broker,
                 &(struct topic_config){ .name = log->topic,
                                         .partitions = wanted > partition ? wanted : partition + 1,
                                         .consumed_by = d->group,
                                         .like = log->of },
                 NULL);
    int32_t known = broker_partitions(d->broker, log->topic);
    log->partitions = known > log->partitions ? known : log->partitions;
    return known > 0 && partition >= known;
}

/* The topic's partition is ours from now on, or its mark could not be stored: true when there is no log of it. That may have
 * come since it was ours before. */
static bool blocked_look(struct delivery *d, struct blocked *b, struct blocked_log *log)
{
    bool lacks = blocked_lacks(d, log, b->where.partition);
    if (lacks)
        LOG(WARN,
            "a partition has no blocked log while that has fewer than its topic: a key that waits long holds up others",
            LOG_C("sink", d->s->id), LOG_C("topic", log->of), LOG_INT("partition", b->where.partition));
    if (lacks || b->state == BLOCKED_ABSENT)
        b->state = lacks ? BLOCKED_ABSENT : BLOCKED_UNREAD;
    return lacks;
}

struct blocked *blocked_of(struct delivery *d, struct partition *p)
{
    for (size_t i = 0; i < d->log_count && !p->blocked && (!p->own || p->old); i++) {
        bool is_log = str_eq(p->topic, str_of(d->logs[i].topic));
        struct str of = p->old ? str_of(blocked_old_of(d, p->topic)) : p->topic;
        if (!is_log && !str_eq(of, str_of(d->logs[i].of)))
            continue;
        p->blocked = blocked_pair(d, &d->logs[i], p->where.partition);
        if (is_log)
            p->blocked->read = p;
        else
            blocked_look(d, p->blocked, &d->logs[i]);
    }
    return p->blocked;
}

/* ---- what goes there, or waits until it is known ---- */

static void blocked_queue(struct blocked *b, struct entry *en)
{
    en->next = NULL;
    *(b->held.last ? &b->held.last->next : &b->held.first) = en;
    b->held.last = en;
}

void blocked_hold(struct delivery *d, struct blocked *b, struct entry *en)
{
    if (b->state == BLOCKED_UNREAD)
        blocked_begin(d, b);
    struct partition *p = en->of->partition;
    if (!p->holds)
        consumer_hold(d->consumer, p->where, true);
    p->holds = true;
    en->state = ENTRY_HELD;
    d->held++;
    blocked_queue(b, en);
}

void blocked_put(struct delivery *d, struct blocked *b, struct entry *en, int64_t due_ms)
{
    struct blocked_key *key = keys_make(d, b, en->key_hash, en->to);
    if (keys_has(key, en->of)) {
        window_finish(d, en, en->to->count.moved);
        return;
    }
    key->coming++;
    moves_block(d, en, &b->where, -1, due_ms);
}

bool blocked_is_behind(const struct blocked *b, const struct entry *en)
{
    const struct entry *at = en->to->chains[en->key_hash & en->to->chain_mask];
    while (at != en
           && (at->key_hash != en->key_hash || at->of->partition == b->read || at->in_log || moves_has_no_log(at)))
        at = at->chain;
    return at != en;
}

bool blocked_take_over(struct delivery *d, struct entry *en)
{
    struct partition *p = en->of->partition;
    struct blocked *b = p && p->old && en->chained ? blocked_of(d, p) : NULL;
    if (!b || b->state != BLOCKED_READ || blocked_is_behind(b, en))
        return false;
    blocked_put(d, b, en, en->due_ms);
    return true;
}

bool blocked_waits_for_old(const struct blocked *b, const struct partition *p)
{
    return b->olds > 0 && !p->old;
}

/* Lets go on what is held, but for what waits for old logs. */
static void blocked_let_go(struct delivery *d, struct blocked *b)
{
    for (struct partition *p = d->partitions; p; p = p->next)
        if (p->holds && p->blocked == b && !blocked_waits_for_old(b, p)) {
            consumer_hold(d->consumer, p->where, false);
            p->holds = false;
        }
    wake_up(d->wake_fd); /* it may be read at once */
    struct entry *en = b->held.first;
    b->held = (struct window_queue){ 0 };
    for (struct entry *next; en; en = next) {
        next = en->next;
        if (blocked_waits_for_old(b, en->of->partition)) {
            blocked_queue(b, en);
            continue;
        }
        d->held--;
        en->state = ENTRY_BEHIND;
        bool first = en->chained || window_chain_enter(en);
        if (!blocked_take_over(d, en) && first)
            window_ready(d, en);
    }
}

/* ---- the mark ---- */

static void blocked_on_marked(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    struct delivery *d = ctx;
    mailbox_put(&d->marks, tag, (int32_t)o, why);
}

static void blocked_mark(struct delivery *d, const struct blocked *b, const char *log)
{
    const struct header headers[] = { { STR(TRAIL_STATE), STR("mark") }, { STR(TRAIL_REASON), str_of(b->mark) } };
    struct record r = { .topic = str_of(log), .partition = b->where.partition, .headers = headers, .header_count = 2 };
    d->storing++;
    broker_publish(d->broker,
                   &(struct publication){
                       .records = &r, .record_count = 1, .done = blocked_on_marked, .ctx = d, .tag = b->number });
}

/* Has it as many partitions as the topic? Else another member may read its partition of the same number. */
static bool blocked_is_beside(const struct delivery *d, const struct blocked_log *old, const struct blocked_log *log)
{
    return strcmp(old->of, log->of) == 0
           && broker_partitions(d->broker, old->topic) == broker_partitions(d->broker, log->topic);
}

static struct blocked_log *blocked_log_of(const struct delivery *d, const struct blocked *b)
{
    struct blocked_log *log = d->logs;
    while (log->topic != b->log)
        log++;
    return log;
}

void blocked_publish_mark(struct delivery *d, struct blocked *b)
{
    const struct blocked_log *log = blocked_log_of(d, b);
    b->mark_again_ms = INT64_MAX;
    b->olds = 0;
    blocked_mark(d, b, b->log);
    for (size_t i = 0; i < d->old_count; i++) {
        const struct partition *p = partition_find(d, str_of(d->old[i].topic), b->where.partition);
        if (!blocked_is_beside(d, &d->old[i], log) || (p && p->at_mark))
            continue;
        blocked_mark(d, b, d->old[i].topic);
        b->olds++;
    }
    if (b->state == BLOCKED_READ && b->olds == 0)
        blocked_let_go(d, b);
}

void blocked_begin(struct delivery *d, struct blocked *b)
{
    unsigned char bytes[8];
    crypto_random(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(b->mark + 2 * i, 3, "%02x", bytes[i]);
    b->state = BLOCKED_MARKING;
    b->mark_failed = false;
    for (struct partition *p = d->partitions; p; p = p->next)
        p->at_mark = p->at_mark && p->blocked != b;
    blocked_publish_mark(d, b);
}

void blocked_take_old_mark(struct delivery *d, struct partition *p, const struct record *r)
{
    struct blocked *b = blocked_of(d, p);
    if (!b || b->olds == 0 || p->at_mark || !str_eq(record_header(r, TRAIL_REASON), str_of(b->mark)))
        return;
    p->at_mark = true;
    if (--b->olds == 0 && b->state == BLOCKED_READ)
        blocked_let_go(d, b);
}

void blocked_ready(struct delivery *d, struct blocked *b)
{
    bool known = b->state == BLOCKED_READ;
    b->state = BLOCKED_READ;
    b->olds = d->stopped ? 0 : b->olds; /* nothing is sent any more: whatever they hold, this comes after it */
    blocked_let_go(d, b);
    if (known)
        return;
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
    if (b->state == BLOCKED_MARKING && blocked_look(d, b, blocked_log_of(d, b))) {
        b->olds = 0;
        blocked_let_go(d, b);
        return;
    }
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
