/* SPDX-License-Identifier: MIT */
/* Asks the broker for every topic of a configuration. */
#include "bridge/topics.h"
#include "bridge/admin/audit.h"
#include <stdlib.h>
#include <string.h>
#include "bridge/delivery/attempts.h"
#include "bridge/delivery/delivery.h"
#include "bridge/delivery/ladder.h"
#include "bridge/event/trail.h"
#include "bridge/intake/route.h"

struct topics {
    const struct config *config;
    struct broker *broker;
    bool declaring; /* they are only named, not waited for */
};

/* Of a topic whose records have one. */
static enum record_schema topics_schema(const struct config *c, const char *name)
{
    const struct route_config *routes = c->routes.at;
    for (size_t i = 0; i < c->routes.count; i++)
        if (strcmp(routes[i].topic, name) == 0 && route_schema(&routes[i]) != SCHEMA_NONE)
            return route_schema(&routes[i]);
    return SCHEMA_NONE;
}

static bool topics_ask_for(struct topics *t, const struct topic_config *topic, struct err *e)
{
    struct topic_config asked = *topic;
    asked.schema = topics_schema(t->config, topic->name);
    if (!t->declaring)
        return broker_topic(t->broker, &asked, e);
    broker_declare(t->broker, &asked);
    return true;
}

/* A topic that nobody listed; `group` NULL: no consumer group decides what may go. The bridge's own keep what they hold
 * for ever, or until their group has finished it. */
static bool topics_one(void *ctx, const char *name, const char *group, struct err *e)
{
    struct topics *t = ctx;
    bool own = str_starts(str_of(name), str_of(t->config->broker.prefix));
    return topics_ask_for(t,
                          &(struct topic_config){ .name = (char *)(uintptr_t)name,
                                                  .partitions = own ? 1 : 0,
                                                  .retention = { own ? 0 : RETENTION_UNSAID },
                                                  .consumed_by = group },
                          e);
}

static bool topics_lists(const struct config *c, const char *name)
{
    const struct topic_config *topics = c->topics.at;
    for (size_t i = 0; i < c->topics.count; i++)
        if (strcmp(topics[i].name, name) == 0)
            return true;
    return false;
}

/* A blocked log: with as many partitions as its topic has. */
static bool topics_blocked(void *ctx, const char *name, const char *like, const char *group, struct err *e)
{
    struct topics *t = ctx;
    int32_t partitions = broker_partitions(t->broker, like);
    return topics_ask_for(t,
                          &(struct topic_config){ .name = (char *)(uintptr_t)name,
                                                  .partitions = partitions ? partitions : 1,
                                                  .consumed_by = group,
                                                  .like = like },
                          e);
}

/* Asks for every topic: listed, named by a route, or the bridge's own. */
static bool topics_each(struct topics *t, struct err *e)
{
    const struct config *c = t->config;
    const struct topic_config *topics = c->topics.at;
    const struct route_config *routes = c->routes.at;
    for (size_t i = 0; i < c->topics.count; i++)
        if (!topics_ask_for(t, &topics[i], e))
            return false;
    for (size_t i = 0; i < c->routes.count; i++)
        if (!topics_lists(c, routes[i].topic) && !topics_one(t, routes[i].topic, NULL, e))
            return false;
    char *dead_letters = topic_name(c->broker.prefix, TOPIC_DEAD_LETTER, NULL);
    bool opened = topics_one(t, dead_letters, NULL, e);
    free(dead_letters);
    if (!opened)
        return false;
    bool waits = false;
    for (size_t i = 0; i < c->sink_count; i++) {
        waits = waits || delivery_waits(&c->sinks[i]);
        if (!delivery_topics(&c->sinks[i], &c->broker, topics_one, t, e))
            return false;
    }
    return !waits || ladder_topics(&c->broker, topics_one, t, e);
}

/* Asks for every blocked log, once the topics that they are like exist. */
static bool topics_each_blocked(struct topics *t, struct err *e)
{
    const struct config *c = t->config;
    for (size_t i = 0; i < c->sink_count; i++)
        if (!blocked_topics(&c->sinks[i], &c->broker, topics_blocked, t, e))
            return false;
    return true;
}

/* Declares all of them first, so that the broker can make them together. */
static bool topics_together(struct topics *t, bool (*each)(struct topics *, struct err *), struct err *e)
{
    t->declaring = true;
    bool declared = each(t, e);
    t->declaring = false;
    return declared && each(t, e);
}

bool topics_open(const struct config *c, struct broker *b, struct err *e)
{
    struct topics t = { .config = c, .broker = b };
    return topics_together(&t, topics_each, e) && attempts_topic(c, b, e) && audit_topic(c, b, e)
           && topics_together(&t, topics_each_blocked, e);
}
