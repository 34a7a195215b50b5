/* SPDX-License-Identifier: MIT */
/* Chooses the broker by its type and hands every call on to it; the rows of the `broker:` section. */
#include "bridge/broker/broker.h"
#include <stdlib.h>
#include <string.h>

METRIC_COUNTER(aqueduct_broker_stored_total, "Records that the broker stored for good.", NULL);
METRIC_COUNTER(aqueduct_broker_refused_total, "Publications that the broker did not take.", "reason");
METRIC_HISTOGRAM(aqueduct_broker_commit_seconds,
                 "local: from taking a group to its commit; kafka: from publishing to the acknowledgement.", NULL);
METRIC_COUNTER(aqueduct_records_lost_total, "Records that retention took before a consumer had read them.", NULL);

static const struct option_value broker_types[] = { { BROKER_LOCAL, "local" }, { BROKER_KAFKA, "kafka" }, { 0 } };

const struct option broker_options[] = {
    OPTION(struct broker_config, type, .fallback = "local", .values = broker_types,
           .doc = "Where topics live: `local`, an embedded durable log, or `kafka`, a cluster."),
    OPTION(struct broker_config, path, .fallback = "./data",
           .doc = "local: folder of the log; `:memory:` keeps everything in memory and forgets it at exit."),
    OPTION(struct broker_config, max_size, .fallback = "0B",
           .doc = "local: events are refused while the log is larger than this; 0 leaves it to the disk."),
    OPTION(struct broker_config, servers, .doc = "kafka: bootstrap servers, host:port separated by commas."),
    OPTION(struct broker_config, properties,
           .doc = "kafka: any librdkafka property, for the producer and the consumers."),
    OPTION(struct broker_config, create_topics, .fallback = "true",
           .doc = "kafka: create topics that are listed or used and do not exist."),
    OPTION(struct broker_config, replication, .fallback = "-1", .min = -1, .max = 32767,
           .doc = "kafka: replication factor of topics that are created; -1 is the cluster's default."),
    OPTION(struct broker_config, prefix, .fallback = "aqueduct.",
           .doc = "Begins the names of the bridge's own topics."),
    OPTION(struct broker_config, group_prefix, .fallback = "aqueduct.", .doc = "Begins the names of consumer groups."),
    OPTION(struct broker_config, instance,
           .doc = "kafka: name of this daemon for static group membership; empty for none."),
    OPTION(struct broker_config, session_timeout, .fallback = "6s", .min = 1000, .max = 300000,
           .doc = "kafka: after this long without a sign of life a daemon's partitions move to another."),
    { 0 },
};

static const struct broker_ops *const broker_tables[] = {
    [BROKER_LOCAL] = &broker_local, [BROKER_KAFKA] = &broker_kafka
};

struct broker_facts broker_facts(const struct broker_config *config)
{
    struct broker_facts facts = broker_tables[config->type]->facts(config);
    facts.type = broker_tables[config->type]->type;
    return facts;
}

bool broker_check(const struct broker_config *config, struct err *e)
{
    return broker_tables[config->type]->check(config, e);
}

int64_t broker_backlog(const struct broker_config *config, const char *group, const char *topic)
{
    const struct broker_ops *ops = broker_tables[config->type];
    return ops->backlog ? ops->backlog(config, group, topic) : 0;
}

struct broker *broker_open(const struct broker_config *config, struct err *e)
{
    return broker_tables[config->type]->open(config, e);
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

#ifdef AQUEDUCT_HOOKS
static void broker_say_nothing(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    (void)ctx, (void)tag, (void)o, (void)why;
}

/* The mistake that the ledger test must catch: AQUEDUCT_WRONG=ack-at-enqueue acknowledges before anything is stored. */
static bool broker_publish_wrongly(struct broker *b, const struct publication *p)
{
    const char *wrong = getenv("AQUEDUCT_WRONG");
    if (!wrong || strcmp(wrong, "ack-at-enqueue") != 0)
        return false;
    struct publication silent = *p;
    silent.done = broker_say_nothing;
    b->ops->publish(b, &silent);
    p->done(p->ctx, p->tag, OUTCOME_STORED, "");
    return true;
}
#endif

void broker_publish(struct broker *b, const struct publication *p)
{
#ifdef AQUEDUCT_HOOKS
    if (broker_publish_wrongly(b, p))
        return;
#endif
    b->ops->publish(b, p);
}

bool broker_flush(struct broker *b, struct duration limit)
{
    return b->ops->flush(b, limit);
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

bool broker_tail(struct broker *b, const char *topic, int64_t most, void (*each)(void *ctx, const struct record *r),
                 void *ctx, struct err *e)
{
    return b->ops->tail(b, topic, most, each, ctx, e);
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
void consumer_hold(struct consumer *c, struct topic_partition p, bool hold)
{
    c->ops->hold(c, p, hold);
}
void consumer_commit(struct consumer *c, struct topic_partition p, int64_t next)
{
    c->ops->commit(c, p, next);
}

void consumer_close(struct consumer *c)
{
    if (c)
        c->ops->leave(c);
}
