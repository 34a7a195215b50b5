/* SPDX-License-Identifier: MIT */
/* Hands every call on to the broker that was opened; the metrics that all brokers share. */
#include "bridge/broker/broker.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

METRIC_COUNTER(aqueduct_broker_stored_total, "Records that the broker stored for good.", NULL);
METRIC_COUNTER(aqueduct_broker_refused_total, "Publications that the broker did not take.", "reason");
METRIC_HISTOGRAM(aqueduct_broker_commit_seconds,
                 "local: from taking a group to its commit; kafka: from publishing to the acknowledgement.", NULL);
METRIC_COUNTER(
    aqueduct_broker_positions_cut_total,
    "Positions stored without the farthest of what was finished beyond them, for lack of room: a crash repeats it.",
    NULL);
METRIC_COUNTER(aqueduct_records_lost_total,
               "Records that retention or compaction took before a consumer had read them.", NULL);

void broker_declare(struct broker *b, const struct topic_config *topic)
{
    if (b->ops->declare)
        b->ops->declare(b, topic);
}

bool broker_topic(struct broker *b, const struct topic_config *topic, struct err *e)
{
    return b->ops->topic(b, topic, e);
}

bool broker_topics(struct broker *b, const char *prefix, void (*each)(void *ctx, const char *topic), void *ctx,
                   struct err *e)
{
    return b->ops->topics(b, prefix, each, ctx, e);
}

bool broker_groups(struct broker *b, const char *prefix, const struct group_seen *seen, struct err *e)
{
    return !b->ops->groups || b->ops->groups(b, prefix, seen, e);
}

bool broker_forget(struct broker *b, const char *group, const char *topic, struct err *e)
{
    return b->ops->forget(b, group, topic, e);
}

void broker_gather(struct broker *b)
{
    if (b->ops->gather)
        b->ops->gather(b);
}

void broker_retain(struct broker *b)
{
    if (b->ops->retain)
        b->ops->retain(b);
}

#ifdef AQUEDUCT_HOOKS
static void broker_say_nothing(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    (void)ctx, (void)tag, (void)o, (void)why;
}

/* Mistakes that the ledger test must catch, named in AQUEDUCT_WRONG: ack-at-enqueue acknowledges before anything is
 * stored, forget-positions stores no position of a group, forget-waiting says of what is to wait that it is stored,
 * forget-state stores what a source read without how far it has read, forget-rows now and then the opposite. */
static bool broker_is_wrong(const char *mistake)
{
    const char *wrong = getenv("AQUEDUCT_WRONG");
    return wrong && strstr(wrong, mistake);
}

static bool broker_wrong_now_and_then(void)
{
    static atomic_uint times;
    return atomic_fetch_add(&times, 1) % 4 == 3;
}

static void broker_publish_wrongly(struct broker *b, const struct publication *p)
{
    struct publication less = *p;
    bool waits = p->record_count == 1 && memmem(p->records->topic.at, p->records->topic.n, ".waiting.", 9);
    if (waits && broker_is_wrong("forget-waiting"))
        less.record_count = 0;
    if (p->change_count && broker_is_wrong("forget-state"))
        less.change_count = 0;
    if (p->change_count && p->record_count && broker_is_wrong("forget-rows") && broker_wrong_now_and_then())
        less.record_count = 0;
    bool empty = !less.record_count && !less.change_count && (p->record_count || p->change_count);
    bool soon = empty || broker_is_wrong("ack-at-enqueue");
    if (soon)
        less.done = broker_say_nothing;
    if (!empty)
        b->ops->publish(b, &less);
    if (soon)
        p->done(p->ctx, p->tag, OUTCOME_STORED, "");
}
#endif

int32_t broker_partitions(struct broker *b, const char *topic)
{
    return b->ops->partitions(b, topic);
}

void broker_publish(struct broker *b, const struct publication *p)
{
#ifdef AQUEDUCT_HOOKS
    broker_publish_wrongly(b, p);
#else
    b->ops->publish(b, p);
#endif
}

bool broker_claim(struct broker *b, const char *source, struct err *e)
{
    return !b->ops->claim || b->ops->claim(b, source, e);
}

bool broker_claimed(struct broker *b, const char *source, struct err *why)
{
    return !b->ops->claim || b->ops->claimed(b, source, why);
}

void broker_release(struct broker *b, const char *source)
{
    if (b->ops->claim)
        b->ops->release(b, source);
}

bool broker_flush(struct broker *b, struct duration limit)
{
    return b->ops->flush(b, limit);
}
void broker_follow(struct broker *b, const struct broker_config *config)
{
    if (b->ops->follow)
        b->ops->follow(b, config);
}

bool broker_ready(struct broker *b, struct err *why)
{
    return b->ops->ready(b, why);
}
bool broker_failed(struct broker *b)
{
    return b->ops->failed(b);
}

bool broker_state(struct broker *b, const char *source,
                  bool (*each)(void *ctx, struct str key, struct str value, bool ahead, struct err *e), void *ctx,
                  struct err *e)
{
    return b->ops->state(b, source, each, ctx, e);
}

bool broker_is_settled(struct broker *b, struct err *e)
{
    return !b->ops->is_settled || b->ops->is_settled(b, e);
}

bool broker_scopes(struct broker *b, bool (*each)(void *ctx, const char *source, struct err *e), void *ctx,
                   struct err *e)
{
    return b->ops->scopes ? b->ops->scopes(b, each, ctx, e)
                          : err_set(e, "a log of broker.type %s keeps no list of whose state it has", b->ops->type);
}

bool broker_tail(struct broker *b, const char *topic, const struct tail_options *o,
                 void (*each)(void *ctx, const struct record *r), void *ctx, struct err *e)
{
    return b->ops->tail(b, topic, o, each, ctx, e);
}

void broker_close(struct broker *b)
{
    if (b)
        b->ops->close(b);
}

struct consumer *consumer_open(struct broker *b, const struct consumer_options *o, struct err *e)
{
    return b->ops->consume(b, o, e);
}
int consumer_poll(struct consumer *c, struct record **out, size_t room, struct err *e)
{
    return c->ops->poll(c, out, room, e);
}
void consumer_seek(struct consumer *c, struct topic_partition p, int64_t offset)
{
    c->ops->seek(c, p, offset);
}
void consumer_hold(struct consumer *c, struct topic_partition p, bool hold)
{
    c->ops->hold(c, p, hold);
}
bool consumer_next(struct consumer *c, struct topic_partition p, int64_t *out)
{
    return c->ops->next(c, p, out);
}
unsigned consumer_commit(struct consumer *c, struct topic_partition p, int64_t next, const struct ranges *beyond)
{
    static const struct ranges nothing;
#ifdef AQUEDUCT_HOOKS
    if (broker_is_wrong("forget-positions"))
        return 0;
#endif
    return c->ops->commit(c, p, next, beyond ? beyond : &nothing);
}

void consumer_standing(struct consumer *c, void (*each)(void *ctx, const struct standing *s), void *ctx)
{
    c->ops->stands(c, each, ctx);
}

int64_t standing_pending(const struct standing *s)
{
    int64_t from = s->position > s->start ? s->position : s->start;
    if (s->position < 0 || s->end < 0)
        return -1;
    return s->end > from ? s->end - from - ranges_within(s->beyond, from, s->end) : 0;
}

bool standing_finished(const struct standing *s, int64_t offset)
{
    return offset < s->position || ranges_within(s->beyond, offset, offset + 1) > 0;
}

void consumer_close(struct consumer *c)
{
    if (c)
        c->ops->leave(c);
}

struct log *broker_log(struct broker *b, const struct log_options *o, struct err *e)
{
    return b->ops->log(b, o, e);
}

bool broker_log_live(struct log *l, struct topic_partition p, int64_t *out)
{
    const struct log_options *o = &((struct broker_log *)l)->options;
    return o->live(o->ctx, p, out);
}

bool broker_log_wanted(struct log *l, const struct event *ev)
{
    const struct log_options *o = &((struct broker_log *)l)->options;
    return o->wanted(o->ctx, ev);
}

void broker_log_close(struct broker *b, struct log *l)
{
    if (l)
        b->ops->log_close(l);
}

bool look_on(struct look *l, bool (*each)(void *ctx, const struct record *r), void *ctx, struct err *e)
{
    return l->ops->look_on(l, each, ctx, e);
}

void look_close(struct look *l)
{
    if (l)
        l->ops->look_close(l);
}
