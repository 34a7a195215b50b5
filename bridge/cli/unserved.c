/* SPDX-License-Identifier: MIT */
/* Compares groups, blocked logs and waiting topics with the configuration. */
#include "bridge/cli/unserved.h"
#include <stdlib.h>
#include "bridge/broker/broker.h"
#include "bridge/delivery/ladder.h"
#include "bridge/delivery/orphans.h"
#include "bridge/delivery/register.h"
#include "bridge/lib/mem.h"

const char *unserved_word(enum unserved_kind kind)
{
    switch (kind) {
    case UNSERVED_WAITING: return "waiting";
    case UNSERVED_BLOCKED: return "blocked";
    case UNSERVED_UNREAD: return "unread";
    }
    return "";
}

const char *unserved_why(const struct unserved_events *of)
{
    if (!of->known)
        return "the sink is not configured";
    return of->kind == UNSERVED_BLOCKED ? "it stepped aside for a sink that no longer reads its topic"
                                        : "the sink no longer has the topic";
}

/* ---- the events of one entry ---- */

struct unserved_look {
    struct str sink;       /* waiting: whose */
    struct ranges settled; /* waiting: of partition 0, as notes say */
    bool (*each)(void *ctx, const struct record *r);
    void *ctx;
};

static bool unserved_note(void *ctx, const struct record *r)
{
    struct unserved_look *l = ctx;
    orphans_gather_note(r, &l->settled);
    return true;
}

static bool unserved_record(void *ctx, const struct record *r)
{
    struct unserved_look *l = ctx;
    bool own = record_header(r, TRAIL_STATE).at != NULL; /* a mark or a note, no event */
    bool settled = r->partition == 0 && ranges_skip(&l->settled, r->offset) != r->offset;
    bool other = l->sink.at && !str_eq(l->sink, record_header(r, TRAIL_SINK));
    return own || settled || other || l->each(l->ctx, r);
}

/* Looks at what the group has not finished of the topic; in a waiting topic at what no note has settled. */
static bool unserved_topic(const struct config *c, const char *group, const char *topic, bool notes,
                           struct unserved_look *l, struct err *e)
{
    const struct look_options o = { .topic = topic, .group = group, .may_lack = true };
    bool ok = (!notes || look_once(&c->broker, &o, unserved_note, l, e))
              && look_once(&c->broker, &o, unserved_record, l, e);
    ranges_free(&l->settled);
    return ok;
}

bool unserved_each(const struct config *config, const struct unserved_events *of,
                   bool (*each)(void *ctx, const struct record *r), void *ctx, struct err *e)
{
    bool waiting = of->kind == UNSERVED_WAITING;
    struct unserved_look l = { .sink = waiting ? str_of(of->sink) : STR_ABSENT, .each = each, .ctx = ctx };
    char *group = waiting ? ladder_group(&config->broker) : str_join(config->broker.group_prefix, of->sink, "");
    bool ok = unserved_topic(config, group, of->topic, waiting, &l, e);
    free(group);
    return ok;
}

/* ---- the entries ---- */

struct unserved_search {
    const struct config *config;
    struct str sink, topic; /* absent: all */
    const char *in;         /* the waiting topic that is looked at */
    bool later;
    struct unserved_list *out;
};

static struct unserved_events *unserved_entry(struct unserved_search *s, enum unserved_kind kind, struct str sink,
                                              const char *topic)
{
    struct unserved_list *list = s->out;
    if ((s->sink.at && !str_eq(s->sink, sink)) || (s->topic.at && !str_eq(s->topic, str_of(topic))))
        return NULL;
    for (size_t i = 0; i < list->count; i++)
        if (list->at[i].kind == kind && str_eq(str_of(list->at[i].sink), sink) && strcmp(list->at[i].topic, topic) == 0)
            return &list->at[i];
    if (list->count == UNSERVED_MOST)
        return NULL;
    list->at = mem_grow(list->at, list->count + 1, sizeof *list->at);
    list->at[list->count] = (struct unserved_events){
        .kind = kind, .sink = str_dup(sink), .topic = str_dup(str_of(topic)), .later = s->later
    };
    return &list->at[list->count++];
}

static void unserved_group(void *ctx, const char *group, bool idle, const char *topic, int64_t unread)
{
    struct unserved_search *s = ctx;
    const struct config *c = s->config;
    const char *name = group + strlen(c->broker.group_prefix);
    bool known;
    if (register_serves(c, name, idle, topic, &known))
        return;
    char *logs = topic_name(c->broker.prefix, TOPIC_BLOCKED, NULL);
    bool blocked = str_starts(str_of(topic), str_of(logs));
    struct unserved_events *entry = unserved_entry(s, blocked ? UNSERVED_BLOCKED : UNSERVED_UNREAD, str_of(name),
                                                   topic);
    if (entry) {
        entry->events = blocked ? 0 : unread;
        entry->known = known;
    }
    free(logs);
}

static bool unserved_waiting(void *ctx, const struct record *r)
{
    struct unserved_search *s = ctx;
    struct str sink = record_header(r, TRAIL_SINK), name = sink.at ? sink : STR("?");
    bool formerly;
    struct unserved_events *entry = register_sink(s->config, name, &formerly)
                                        ? NULL
                                        : unserved_entry(s, UNSERVED_WAITING, name, s->in);
    if (entry)
        entry->events++;
    return true;
}

static bool unserved_waiting_topic(void *ctx, const char *topic, const char *group, struct err *e)
{
    struct unserved_search *s = ctx;
    struct unserved_look l = { .each = unserved_waiting, .ctx = s };
    char *orphaned = topic_name(s->config->broker.prefix, TOPIC_WAITING, "orphaned");
    s->in = topic;
    s->later = strcmp(topic, orphaned) != 0;
    free(orphaned);
    return unserved_topic(s->config, group, topic, !s->later, &l, e);
}

static bool unserved_count(void *ctx, const struct record *r)
{
    struct unserved_events *of = ctx;
    (void)r;
    of->events++;
    return true;
}

static bool unserved_groups(struct unserved_search *s, struct err *e)
{
    const struct broker_config *broker = &s->config->broker;
    return broker_groups_outside(broker, broker->group_prefix, &(struct group_seen){ .each = unserved_group, .ctx = s },
                                 e);
}

bool unserved_left(const struct config *config, struct unserved_list *out, struct err *e)
{
    return unserved_groups(&(struct unserved_search){ .config = config, .out = out }, e);
}

bool unserved_find(const struct config *config, struct str sink, struct str topic, struct unserved_list *out,
                   struct err *e)
{
    struct unserved_search s = { .config = config, .sink = sink, .topic = topic, .out = out };
    bool ok = unserved_groups(&s, e);
    for (size_t i = 0; ok && i < out->count; i++)
        if (out->at[i].kind == UNSERVED_BLOCKED) /* its log has marks and notes as well */
            ok = unserved_each(config, &out->at[i], unserved_count, &out->at[i], e);
    return ok && ladder_topics(&config->broker, unserved_waiting_topic, &s, e);
}

void unserved_free(struct unserved_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->at[i].sink);
        free(list->at[i].topic);
    }
    free(list->at);
    *list = (struct unserved_list){ 0 };
}
