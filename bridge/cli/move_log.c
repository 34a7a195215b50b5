/* SPDX-License-Identifier: MIT */
/* Topics and records: made, copied, compared. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "bridge/cli/move_private.h"
#include "bridge/delivery/find_event.h"
#include "bridge/event/trail.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/crash.h"
#include "bridge/lib/interrupt.h"
#include "bridge/lib/mem.h"

enum { MOVE_EXPIRY_MS = 60 * 60 * 1000 }; /* so long before its retention a record is as good as gone over there */

/* ---- topics ---- */

static const struct topic_config *move_listed(const struct config *c, const char *topic)
{
    const struct topic_config *topics = c->topics.at;
    for (size_t i = 0; i < c->topics.count; i++)
        if (strcmp(topics[i].name, topic) == 0)
            return &topics[i];
    return NULL;
}

/* Is it one between the bridge and itself, of which what is finished may go? */
static bool move_is_consumed(const struct config *c, const char *topic)
{
    static const enum topic_kind kinds[] = { TOPIC_WAITING, TOPIC_RETRY, TOPIC_REDRIVE, TOPIC_BLOCKED };
    bool is = false;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char *begin = topic_name(c->broker.prefix, kinds[i], NULL);
        is = is || str_starts(str_of(topic), str_of(begin));
        free(begin);
    }
    return is;
}

static bool move_make(struct move *m, const struct move_topic *t)
{
    const struct topic_config *listed = move_listed(m->to, t->name);
    struct topic_config made = { .retention = { find_event_is_own(m->to, t->name) ? 0 : RETENTION_UNSAID } };
    if (listed)
        made = *listed;
    made.name = t->name;
    made.consumed_by = move_is_consumed(m->to, t->name) ? "-" : NULL;
    if (listed && listed->partitions && listed->partitions != t->count)
        return err_set(m->e,
                       "topics.%s.partitions: the log has %d, %s says %" PRId64
                       ": each record stays in its partition; say %d there, and more when it is moved",
                       t->name, (int)t->count, broker_facts(&m->to->broker).type, listed->partitions, (int)t->count);
    made.partitions = t->count;
    if (!broker_topic(m->target, &made, m->e))
        return false;
    int32_t there = m->ops->partitions(m->copy, t->name, m->e);
    return there == t->count
           || (there >= 0
               && err_set(m->e, "topic %s: the log has %d partitions, the topic over there has %d", t->name,
                          (int)t->count, (int)there));
}

bool move_topics(struct move *m)
{
    for (size_t i = 0; i < m->topic_count; i++)
        if (!move_make(m, &m->topics[i]))
            return false;
    crash_point("command-move-after-topics");
    return true;
}

/* ---- what would be removed before it is delivered ---- */

struct move_oldest { /* that a group has not finished in a topic */
    struct move *m;
    int64_t before_ms; /* what is older than that goes */
    const char *group;
    bool fine;
};

static bool move_is_kept(void *ctx, const struct record *r)
{
    struct move_oldest *o = ctx;
    char when[CLOCK_TEXT];
    clock_text(r->timestamp_ms, when);
    o->fine =
        r->timestamp_ms == 0 || r->timestamp_ms >= o->before_ms
        || err_set(o->m->e,
                   "topic %.*s: group %s has not finished what was stored at %s, which the topic's retention over "
                   "there removes: let the sink finish first, or give the topic a longer retention there",
                   STR_ARG(r->topic), o->group, when);
    return false; /* the oldest of a partition is the first */
}

static void move_expires(void *ctx, const char *group, bool idle, const char *topic, int64_t unread)
{
    struct move_oldest *o = ctx;
    struct move *m = o->m;
    int64_t ms = -1;
    (void)idle;
    if (!o->fine || unread == 0)
        return;
    o->group = group;
    o->fine = m->ops->retention(m->copy, topic, &ms, m->e);
    o->before_ms = clock_wall_ms() - ms + MOVE_EXPIRY_MS;
    const struct look_options look = { .topic = topic, .group = group };
    if (o->fine && ms > 0)
        o->fine = look_once(&m->from->broker, &look, move_is_kept, o, m->e) && o->fine;
}

static bool move_expiry(struct move *m)
{
    struct move_oldest o = { .m = m, .fine = true };
    const struct group_seen seen = { move_expires, &o };
    return broker_groups_outside(&m->from->broker, "", &seen, m->e) && o.fine;
}

/* ---- records ---- */

static void move_say(struct move *m)
{
    progress_say(&m->progress, m->copied, m->records - m->copied, "%" PRId64 " records moved", m->copied);
}

/* Brings the end of the partition to where the log's first record belongs, with records that are removed again. */
static bool move_fill(struct move *m, struct topic_partition p, struct move_part *part, int64_t low)
{
    bool ok = true;
    for (; ok && part->there < part->start && !interrupt_asked(); part->there++) {
        ok = m->ops->pad(m->copy, p, part->there, m->e);
        progress_say(&m->progress, m->copied, m->records - m->copied, "making room before %s/%d@%" PRId64, p.topic,
                     (int)p.partition, part->start);
        crash_point("command-move-pad");
    }
    m->interrupted = m->interrupted || part->there < part->start;
    return ok && m->ops->settle(m->copy, m->e)
           && (m->interrupted || low >= part->start || m->ops->cut(m->copy, p, part->start, m->e));
}

/* How far it is copied. */
static bool move_find(struct move *m, struct move_topic *t, int32_t number)
{
    struct move_part *part = &t->parts[number];
    const struct topic_partition p = { t->name, number };
    int64_t low = 0;
    if (!m->ops->ends(m->copy, p, &low, &part->there, m->e))
        return false;
    if (part->there > part->end)
        return err_set(m->e,
                       "%s/%d: ends at offset %" PRId64 " over there, and the log at %" PRId64
                       ": somebody else wrote to it; delete the topic and move again",
                       t->name, (int)number, part->there, part->end);
    m->copied += part->there > part->start ? part->there - part->start : 0;
    return move_fill(m, p, part, low);
}

struct move_reading {
    struct move *m;
    struct move_topic *of;
    bool ok;
};

static int64_t move_begin(void *ctx, const struct topic_partition *p, int64_t start, int64_t end)
{
    const struct move_reading *r = ctx;
    (void)start, (void)end;
    return r->of->parts[p->partition].there;
}

static bool move_record(void *ctx, const struct record *r)
{
    struct move_reading *reading = ctx;
    struct move *m = reading->m;
    struct move_part *part = &reading->of->parts[r->partition];
    if (r->offset != part->there)
        reading->ok = err_set(m->e, "%s/%d@%" PRId64 ": the log is damaged, the record is missing", reading->of->name,
                              (int)r->partition, part->there);
    else
        reading->ok = m->ops->put(m->copy, r, m->e);
    part->there++;
    m->copied++;
    move_say(m);
    crash_point("command-move-record");
    m->interrupted = interrupt_asked();
    return reading->ok && !m->interrupted;
}

static bool move_topic(struct move *m, struct move_topic *t)
{
    struct move_reading reading = { m, t, true };
    for (int32_t i = 0; i < t->count && !m->interrupted; i++)
        if (!move_find(m, t, i))
            return false;
    if (m->interrupted)
        return true;
    const struct look_options o = { .topic = t->name, .begin = move_begin, .ctx = &reading };
    return look_once(&m->from->broker, &o, move_record, &reading, m->e) && reading.ok && m->ops->settle(m->copy, m->e);
}

bool move_records(struct move *m)
{
    progress_begin(&m->progress, 0);
    bool ok = move_expiry(m);
    for (size_t i = 0; ok && i < m->topic_count && !m->interrupted; i++)
        ok = move_topic(m, &m->topics[i]);
    progress_clear(&m->progress);
    crash_point("command-move-after-records");
    return ok;
}

/* ---- do both hold the same? ---- */

struct move_summing {
    struct move *m;
    struct move_topic *of;
    bool there;
    int64_t *seen; /* of each partition */
};

static uint64_t move_mix(uint64_t sum, struct str s)
{
    return (sum ^ (s.at ? str_hash(s) + s.n + 1 : 0)) * UINT64_C(0x9e3779b97f4a7c15) + (sum >> 29);
}

/* Does a new record with that key go into another partition? Then the two have no order. */
static bool move_is_elsewhere(const struct move *m, const struct move_topic *t, const struct record *r)
{
    return t->count > 1 && r->key.at && m->ops->place(m->copy, r->key, t->count) != r->partition;
}

static bool move_add_up(void *ctx, const struct record *r)
{
    struct move_summing *s = ctx;
    struct move_part *part = &s->of->parts[r->partition];
    uint64_t *sum = s->there ? &part->found : &part->here, n = *sum;
    if (r->offset >= part->end)
        return true;
    const int64_t numbers[] = { r->offset, r->timestamp_ms };
    n = move_mix(n, (struct str){ (const char *)numbers, sizeof numbers });
    n = move_mix(move_mix(n, r->key), r->value);
    for (size_t i = 0; i < r->header_count; i++)
        n = move_mix(move_mix(n, r->headers[i].name), r->headers[i].value);
    *sum = n;
    s->seen[r->partition]++;
    if (s->there)
        part->count++;
    s->m->elsewhere += s->there && move_is_elsewhere(s->m, s->of, r);
    s->m->copied += s->there;
    progress_say(&s->m->progress, s->m->copied, s->m->records - s->m->copied, "comparing");
    s->m->interrupted = interrupt_asked();
    return !s->m->interrupted;
}

/* Over there it is known what retention has removed; here those are passed over. */
static int64_t move_sum_begin(void *ctx, const struct topic_partition *p, int64_t start, int64_t end)
{
    struct move_summing *s = ctx;
    struct move_part *part = &s->of->parts[p->partition];
    (void)end;
    if (s->there)
        part->lost = start > part->start ? start - part->start : 0;
    return part->start + part->lost;
}

static bool move_sum(struct move *m, struct move_topic *t, bool there, int64_t *seen)
{
    struct move_summing s = { m, t, there, seen };
    const struct look_options o = { .topic = t->name, .begin = move_sum_begin, .ctx = &s };
    return look_once(there ? &m->to->broker : &m->from->broker, &o, move_add_up, &s, m->e);
}

static bool move_compare(struct move *m, struct move_topic *t)
{
    int64_t *there = mem_alloc(((size_t)t->count + 1) * sizeof *there),
            *here = mem_alloc(((size_t)t->count + 1) * sizeof *here);
    bool ok = move_sum(m, t, true, there) && (m->interrupted || move_sum(m, t, false, here));
    for (int32_t i = 0; ok && i < t->count && !m->interrupted; i++) {
        const struct move_part *p = &t->parts[i];
        m->lost += p->lost;
        if (there[i] != here[i])
            ok = err_set(m->e, "%s/%d: has %" PRId64 " records over there and %" PRId64 " here", t->name, (int)i,
                         there[i], here[i]);
        else if (p->here != p->found)
            ok = err_set(m->e,
                         "%s/%d: its records over there are not those of the log (a topic with "
                         "message.timestamp.type=LogAppendTime keeps no times, a compacted one not all records)",
                         t->name, (int)i);
    }
    free(here);
    free(there);
    return ok;
}

bool move_verify(struct move *m)
{
    progress_begin(&m->progress, 0);
    int64_t copied = m->copied;
    m->copied = m->lost = m->elsewhere = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < m->topic_count && !m->interrupted; i++)
        ok = move_compare(m, &m->topics[i]);
    m->copied = copied;
    progress_clear(&m->progress);
    return ok;
}
