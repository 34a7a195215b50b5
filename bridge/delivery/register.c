/* SPDX-License-Identifier: MIT */
/* Compares the groups that the broker knows with the configuration. */
#include "bridge/delivery/register.h"
#include <stdlib.h>
#include "bridge/delivery/delivery.h"
#include "bridge/delivery/ladder.h"
#include "bridge/delivery/orphans.h"
#include "bridge/event/trail.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/json.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

METRIC_GAUGE(
    aqueduct_unserved_records,
    "Records that the group of a sink has not finished and nobody reads any more: the sink, or the topic of the "
    "sink, is no longer configured.",
    "sink", "topic");

enum {
    REGISTER_SOON_MS = 15000, /* after the first look; then four times as long each time, up to */
    REGISTER_MS = 600000,
    REGISTER_MOST = 1000, /* what exceeds them is not said */
};

struct unserved { /* said before */
    char *sink, *topic;
    struct metric *records;
    int64_t now; /* in this look */
};

struct register_of_groups {
    const struct config *config;
    size_t prefix; /* length of the groups' prefix */
    struct unserved *said;
    size_t count;
    int64_t due_ms, pause_ms;
    bool failed;
};

struct register_of_groups *register_new(const struct config *config)
{
    struct register_of_groups *r = mem_alloc(sizeof *r);
    r->config = config;
    r->prefix = strlen(config->broker.group_prefix);
    return r;
}

bool register_is(const struct sink_config *s, struct str name, bool *formerly)
{
    bool is = str_eq(str_of(s->sink->id), name);
    *formerly = !is;
    for (size_t i = 0; i < s->formerly.count && !is; i++)
        is = str_eq(str_of(s->formerly.at[i]), name);
    return is;
}

const struct sink_config *register_sink(const struct config *c, struct str name, bool *formerly)
{
    for (size_t i = 0; i < c->sink_count; i++)
        if (register_is(&c->sinks[i], name, formerly))
            return &c->sinks[i];
    return NULL;
}

static bool register_is_other(void *ctx, const char *topic, const char *like, const char *group, struct err *e)
{
    (void)like;
    (void)group;
    (void)e;
    return strcmp(topic, ctx) != 0;
}

/* Does the sink read the blocked log, its own or an old one? It does only while it has the log's topic. */
static bool register_reads_log(const struct config *c, const struct sink_config *s, const char *log)
{
    void *ctx = (void *)(uintptr_t)log;
    return !blocked_topics(s, &c->broker, register_is_other, ctx, NULL)
           || !blocked_old_topics(s, &c->broker, register_is_other, ctx, NULL);
}

/* Does the sink, which has or had that name, read the topic? Of the bridge's own topics it reads all but the blocked logs
 * of topics that it has no more. One that shows its listeners what comes, and keeps no position, finishes nothing. */
static bool register_reads(const struct config *c, const struct sink_config *s, bool formerly, const char *topic)
{
    if (s->sink->ops->broadcast)
        return false;
    if (str_starts(str_of(topic), str_of(c->broker.prefix))) {
        char *logs = topic_name(c->broker.prefix, TOPIC_BLOCKED, NULL);
        bool blocked = str_starts(str_of(topic), str_of(logs));
        free(logs);
        if (blocked)
            return register_reads_log(c, s, topic);
        if (c->broker.prefix[0])
            return true;
    }
    if (formerly)
        return true;
    for (size_t i = 0; i < s->topics.count; i++)
        if (strcmp(s->topics.at[i], topic) == 0)
            return true;
    return false;
}

bool register_serves(const struct config *c, const char *name, bool idle, const char *topic, bool *known)
{
    bool formerly;
    const struct sink_config *s = register_sink(c, str_of(name), &formerly);
    char *waiter = ladder_group(&c->broker);
    bool own = strcmp(waiter + strlen(c->broker.group_prefix), name) == 0;
    free(waiter);
    *known = s != NULL;
    return s ? register_reads(c, s, formerly, topic) : own || !idle;
}

struct str register_present(const struct config *c, struct str name)
{
    bool formerly;
    const struct sink_config *s = register_sink(c, name, &formerly);
    return s ? str_of(s->sink->id) : name;
}

/* What was said of the pair, NULL: it was not. */
static struct unserved *register_said(struct register_of_groups *r, const char *sink, const char *topic)
{
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->said[i].sink, sink) == 0 && strcmp(r->said[i].topic, topic) == 0)
            return &r->said[i];
    return NULL;
}

static void register_say(struct register_of_groups *r, const char *sink, bool known, const char *topic, int64_t unread)
{
    if (r->count == REGISTER_MOST)
        return;
    r->said = mem_grow(r->said, r->count + 1, sizeof *r->said);
    r->said[r->count++] = (struct unserved){ str_dup(str_of(sink)), str_dup(str_of(topic)),
                                             metric_get(&aqueduct_unserved_records, LABELS(sink, topic)), unread };
    LOG(WARN,
        known ? "records that nobody reads: the sink no longer reads the topic (aqueduct orphans ends them)"
              : "records that nobody reads: the sink is not configured (renamed? then `formerly` tells its new one; "
                "else aqueduct orphans ends them)",
        LOG_C("sink", sink), LOG_C("topic", topic), LOG_INT("records", unread));
}

static void register_seen(void *ctx, const char *group, bool idle, const char *topic, int64_t unread)
{
    struct register_of_groups *r = ctx;
    const char *name = group + r->prefix;
    bool known;
    if (register_serves(r->config, name, idle, topic, &known) || unread == 0)
        return;
    struct unserved *said = register_said(r, name, topic);
    if (said)
        said->now = unread;
    else
        register_say(r, name, known, topic, unread);
}

void register_look(struct register_of_groups *r, struct broker *broker)
{
    struct err e = { "" };
    for (size_t i = 0; i < r->count; i++)
        r->said[i].now = 0;
    bool ok = broker_groups(broker, r->config->broker.group_prefix,
                            &(struct group_seen){ .each = register_seen, .ctx = r }, &e);
    for (size_t i = 0; i < r->count && ok; i++)
        metric_set(r->said[i].records, r->said[i].now);
    if (!ok && !r->failed)
        LOG(WARN, "cannot see what nobody reads any more", LOG_C("reason", e.text));
    r->failed = !ok;
    r->pause_ms = r->pause_ms == 0 ? REGISTER_SOON_MS : r->pause_ms * 4 < REGISTER_MS ? r->pause_ms * 4 : REGISTER_MS;
    r->due_ms = clock_mono_ms() + r->pause_ms;
}

int64_t register_due(const struct register_of_groups *r)
{
    return r->due_ms;
}

void register_free(struct register_of_groups *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->count; i++) {
        metric_set(r->said[i].records, 0);
        free(r->said[i].sink);
        free(r->said[i].topic);
    }
    free(r->said);
    free(r);
}

static void register_add(void *ctx, const char *const *values, int64_t records)
{
    json_t *list = ctx;
    if (records > 0)
        json_array_append_new(list, json_pack("{s:o,s:o,s:I}", "sink", json_of_text(str_of(values[0])), "topic",
                                              values[1] ? json_of_text(str_of(values[1])) : json_null(), "records",
                                              (json_int_t)records));
}

void register_write(struct buf *out)
{
    json_t *list = json_array();
    metric_each(&aqueduct_unserved_records, register_add, list);
    metric_each(&aqueduct_waiting_orphans, register_add, list);
    char *text = json_dumps(list, JSON_COMPACT | JSON_ENSURE_ASCII);
    buf_add_c(out, text);
    free(text);
    json_decref(list);
}
