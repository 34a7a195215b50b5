/* SPDX-License-Identifier: MIT */
/* The account that a log without a daemon gives: how far each sink's group is in each of its topics. */
#include <stdlib.h>
#include <string.h>
#include "bridge/cli/status_log.h"
#include "bridge/cli/unserved.h"
#include "bridge/delivery/delivery.h"
#include "bridge/delivery/ladder.h"
#include "bridge/delivery/register.h"
#include "bridge/event/trail.h"
#include "bridge/intake/account.h"
#include "bridge/event/event.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"

enum { STATUS_LOG_SOURCE = 16 << 20 };

/* ---- whose position ---- */

static void status_log_stands(void *ctx, const struct standing *s)
{
    bool *anywhere = ctx;
    *anywhere = *anywhere || s->position >= 0;
}

char *status_group(const struct config *c, const struct sink_config *sink, const char *topic, struct err *e)
{
    char *own = str_join(c->broker.group_prefix, sink->sink->id, ""), *group = str_dup(str_of(own));
    bool stands = false,
         ok = sink->formerly.count == 0 || broker_standing(&c->broker, group, topic, status_log_stands, &stands, e);
    for (size_t i = 0; ok && !stands && i < sink->formerly.count; i++) {
        free(group);
        group = str_join(c->broker.group_prefix, sink->formerly.at[i], "");
        ok = broker_standing(&c->broker, group, topic, status_log_stands, &stands, e);
    }
    char *found = !ok ? NULL : str_dup(str_of(stands ? group : own));
    free(group);
    free(own);
    return found;
}

/* ---- topics ---- */

static json_t *status_log_known(int64_t n)
{
    return n < 0 ? json_null() : json_integer(n);
}

struct status_log_topics { /* of a sink */
    const struct config *config;
    const struct sink_config *sink;
    json_t *list;
    bool from_start; /* where its group begins that has no position yet */
};

static void status_log_partition(void *ctx, const struct standing *s)
{
    const struct status_log_topics *topics = ctx;
    int64_t beyond = 0;
    struct standing begun = *s;
    if (begun.position < 0 && topics->from_start)
        begun.position = s->start;
    for (size_t i = 0; i < s->beyond->count; i++)
        beyond += s->beyond->at[i].to - s->beyond->at[i].from;
    json_array_append_new(topics->list,
                          json_pack("{s:s,s:i,s:o,s:o,s:o,s:I,s:o}", "topic", s->topic, "partition", (int)s->partition,
                                    "position", status_log_known(s->position), "start", status_log_known(s->start),
                                    "end", status_log_known(s->end), "finished_beyond", (json_int_t)beyond, "pending",
                                    status_log_known(standing_pending(&begun))));
}

static bool status_log_topic(struct status_log_topics *topics, const char *topic, struct err *e)
{
    char *group = status_group(topics->config, topics->sink, topic, e);
    bool ok = group && broker_standing(&topics->config->broker, group, topic, status_log_partition, topics, e);
    free(group);
    return ok;
}

/* A topic of the sink's own. */
static bool status_log_own(void *ctx, const char *topic, const char *group, struct err *e)
{
    (void)group;
    return status_log_topic(ctx, topic, e);
}

/* Counts it at its partition, unless it is a note of the bridge's. */
static bool status_log_count(void *ctx, const struct record *r)
{
    const struct status_log_topics *topics = ctx;
    size_t i;
    json_t *row;
    if (record_header(r, TRAIL_STATE).at)
        return true;
    json_array_foreach(topics->list, i, row)
    {
        json_t *pending = json_object_get(row, "pending");
        if (json_is_integer(pending) && json_integer_value(json_object_get(row, "partition")) == r->partition
            && str_eq(r->topic, str_of(json_text(row, "topic"))))
            json_integer_set(pending, json_integer_value(pending) + 1);
    }
    return true;
}

/* One that has notes among its events. */
static bool status_log_noted(struct status_log_topics *topics, const char *topic, struct err *e)
{
    char *group = status_group(topics->config, topics->sink, topic, e);
    const struct look_options o = { .topic = topic, .group = group, .may_lack = true };
    size_t before = json_array_size(topics->list);
    bool any = false, ok = group && status_log_topic(topics, topic, e);
    for (size_t i = before; i < json_array_size(topics->list); i++) {
        json_t *pending = json_object_get(json_array_get(topics->list, i), "pending");
        any = any || json_integer_value(pending) > 0;
        if (json_is_integer(pending))
            json_integer_set(pending, 0);
    }
    ok = ok && (!any || look_once(&topics->config->broker, &o, status_log_count, topics, e));
    free(group);
    return ok;
}

/* What the daemon has not read yet of the blocked logs (of a paused sink it does not) is counted here, too. */
static bool status_log_unread(const struct config *c, const json_t *sink, struct err *e)
{
    struct status_log_topics unread = { .config = c, .list = json_array() };
    char *logs = topic_name(c->broker.prefix, TOPIC_BLOCKED, NULL);
    const char *group = json_text(sink, "group"), *last = "";
    bool ok = true;
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(sink, "topics"), i, row)
    {
        if (str_starts(str_of(json_text(row, "topic")), str_of(logs))
            && json_is_integer(json_object_get(row, "partition")) && json_is_null(json_object_get(row, "pending"))) {
            json_object_set_new(row, "pending", json_integer(0));
            json_array_append(unread.list, row);
        }
    }
    json_array_foreach(unread.list, i, row)
    {
        const char *topic = json_text(row, "topic");
        const struct look_options o = { .topic = topic, .group = group, .may_lack = true };
        ok = ok && (strcmp(topic, last) == 0 || look_once(&c->broker, &o, status_log_count, &unread, e));
        last = topic;
    }
    json_decref(unread.list);
    free(logs);
    return ok;
}

static bool status_log_blocked(void *ctx, const char *topic, const char *like, const char *group, struct err *e)
{
    (void)like, (void)group;
    return status_log_noted(ctx, topic, e);
}

static bool status_log_topics(const struct config *c, const struct sink_config *sink, json_t *list, struct err *e)
{
    struct status_log_topics topics = { c, sink, list, sink->start == START_EARLIEST }, own = { c, sink, list, true };
    bool dead_letters = sink->sink->ops->dead_letters, ok = true;
    char *dead = topic_name(c->broker.prefix, TOPIC_DEAD_LETTER, NULL);
    if (dead_letters)
        ok = status_log_noted(&own, dead, e);
    for (size_t i = 0; ok && !dead_letters && i < sink->topics.count; i++)
        ok = status_log_topic(&topics, sink->topics.at[i], e);
    free(dead);
    return ok && delivery_topics(sink, &c->broker, status_log_own, &own, e)
           && blocked_topics(sink, &c->broker, status_log_blocked, &own, e)
           && blocked_old_topics(sink, &c->broker, status_log_blocked, &own, e);
}

static json_t *status_log_sink(const struct config *c, const struct sink_config *sink, struct err *e)
{
    char *group = str_join(c->broker.group_prefix, sink->sink->id, "");
    json_t *topics = json_array();
    bool live = sink->sink->ops->broadcast, ok = live || status_log_topics(c, sink, topics, e);
    json_t *j = ok ? json_pack("{s:s,s:s,s:o,s:b,s:n,s:n,s:n,s:n,s:n,s:n,s:O,s:[],s:n}", "sink", sink->sink->id, "type",
                               sink->sink->ops->type, "group", live ? json_null() : json_string(group), "live",
                               (int)live, "no_account", "waiting", "waiting_oldest", "waiting_next_due", "blocked",
                               "blocked_keys", "topics", topics, "destinations", "events")
                   : NULL;
    json_decref(topics);
    free(group);
    return j;
}

/* What nobody serves, in the form of register_write. NULL with *e. */
static json_t *status_log_unserved(const struct config *c, struct err *e)
{
    struct unserved_list found = { 0 };
    bool ok = unserved_find(c, STR_ABSENT, STR_ABSENT, &found, e);
    json_t *list = ok ? json_array() : NULL;
    for (size_t i = 0; ok && i < found.count; i++)
        if (found.at[i].events)
            json_array_append_new(list,
                                  json_pack("{s:o,s:o,s:I}", "sink", json_of_text(str_of(found.at[i].sink)), "topic",
                                            found.at[i].kind == UNSERVED_WAITING
                                                ? json_null()
                                                : json_of_text(str_of(found.at[i].topic)),
                                            "records", (json_int_t)found.at[i].events));
    unserved_free(&found);
    return list;
}

/* Of the configuration: nobody counts. */
static json_t *status_log_sources(const struct config *c)
{
    json_t *list = json_array();
    struct buf text = buf_new(STATUS_LOG_SOURCE);
    for (size_t i = 0; i < c->source_count; i++) {
        buf_reset(&text);
        intake_account(c->sources[i].source, false, &text);
        json_array_append_new(list, json_loadb(buf_str(&text).at, text.n, 0, NULL));
    }
    buf_free(&text);
    return list;
}

json_t *status_of_log(const struct config *c, struct err *e)
{
    char at[CLOCK_TEXT];
    json_t *unserved = status_log_unserved(c, e);
    if (!unserved)
        return NULL;
    json_t *sinks = json_array();
    for (size_t i = 0; i < c->sink_count; i++) {
        json_t *sink = status_log_sink(c, &c->sinks[i], e);
        if (!sink) {
            json_decref(unserved);
            json_decref(sinks);
            return NULL;
        }
        json_array_append_new(sinks, sink);
    }
    struct err moved;
    bool stayed = broker_stayed(&c->broker, &moved);
    clock_text(clock_wall_ms(), at);
    return json_pack("{s:s,s:s,s:s,s:b,s:s,s:o,s:o,s:o}", "from", "log", "at", at, "broker",
                     broker_facts(&c->broker).type, "ready", 0, "not_ready", stayed ? "no daemon answers" : moved.text,
                     "sources", status_log_sources(c), "sinks", sinks, "unserved", unserved);
}

/* ---- the waiting topics ---- */

struct status_waiting {
    json_t *sinks; /* of the account */
    const struct config *config;
    size_t events; /* of each sink in a topic, most that are listed */
    json_t *here;  /* by the sinks' names: those of this topic */
};

static json_t *status_log_find(json_t *sinks, struct str id)
{
    size_t i;
    json_t *sink;
    json_array_foreach(sinks, i, sink)
    {
        const char *name = json_string_value(json_object_get(sink, "sink"));
        if (name && str_eq(str_of(name), id))
            return sink;
    }
    return NULL;
}

/* Sets a moment, unless an earlier one is there. */
static void status_log_earlier(json_t *sink, const char *key, int64_t ms)
{
    char text[CLOCK_TEXT];
    const char *now = json_string_value(json_object_get(sink, key));
    clock_text(ms, text);
    if (ms && (!now || strcmp(text, now) < 0))
        json_object_set_new(sink, key, json_string(text));
}

static json_t *status_log_number(struct str s)
{
    int64_t n;
    return str_to_i64(s, &n) ? json_integer(n) : json_null();
}

/* Lists it, in the form of delivery/account.h, unless there are enough of this topic. */
static void status_log_list(struct status_waiting *w, const char *sink, const struct record *r, const struct trail *t)
{
    json_t *list = json_object_get(w->here, sink);
    if (!list)
        json_object_set_new(w->here, sink, list = json_array());
    if (json_array_size(list) >= w->events)
        return;
    const struct event *ev = event_from_record(r, NULL);
    json_array_append_new(list,
                          json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:s,s:i,s:o,s:o,s:n,s:n}", "id",
                                    json_of_text(ev ? ev->id : STR_ABSENT), "topic",
                                    json_of_text(record_header(r, TRAIL_TOPIC)), "partition",
                                    status_log_number(record_header(r, TRAIL_PARTITION)), "offset",
                                    status_log_number(record_header(r, TRAIL_OFFSET)), "time",
                                    json_of_moment(r->timestamp_ms), "endpoint", json_of_text(t->endpoint), "state",
                                    "waiting", "attempts", (int)t->attempts, "first", json_of_moment(t->first_ms),
                                    "due", json_of_moment(t->due_ms), "status", "reason"));
    event_unref(ev);
}

/* A record of a waiting topic. It carries the name that its sink had then. */
static bool status_log_waits(void *ctx, const struct record *r)
{
    struct status_waiting *w = ctx;
    json_t *sink = status_log_find(w->sinks, register_present(w->config, record_header(r, TRAIL_SINK)));
    if (!sink || record_header(r, TRAIL_STATE).at) /* a note */
        return true;
    struct trail t = trail_read(r);
    t.due_ms -= trail_ahead_ms(&t, clock_wall_ms());
    json_object_set_new(sink, "waiting", json_integer(1 + json_integer_value(json_object_get(sink, "waiting"))));
    status_log_earlier(sink, "waiting_oldest", t.first_ms ? t.first_ms : r->timestamp_ms);
    status_log_earlier(sink, "waiting_next_due", t.due_ms);
    if (w->events)
        status_log_list(w, json_string_value(json_object_get(sink, "sink")), r, &t);
    return true;
}

static bool status_log_waiting_topic(void *ctx, const char *topic, const char *group, struct err *e)
{
    struct status_waiting *w = ctx;
    const struct look_options o = { .topic = topic, .group = group, .may_lack = true };
    const char *name;
    json_t *list;
    w->here = json_object();
    bool ok = look_once(&w->config->broker, &o, status_log_waits, w, e);
    json_object_foreach(w->here, name, list)
    {
        json_t *sink = status_log_find(w->sinks, str_of(name));
        if (!json_is_array(json_object_get(sink, "events")))
            json_object_set_new(sink, "events", json_array());
        json_array_extend(json_object_get(sink, "events"), list);
    }
    json_decref(w->here);
    return ok;
}

bool status_add_waiting(const struct config *c, json_t *account, size_t events, struct err *e)
{
    struct status_waiting w = { .sinks = json_object_get(account, "sinks"), .config = c, .events = events };
    size_t i;
    json_t *sink;
    json_array_foreach(w.sinks, i, sink)
    {
        bool live = json_is_true(json_object_get(sink, "live"));
        json_object_set_new(sink, "waiting", live ? json_null() : json_integer(0));
        json_object_set_new(sink, "waiting_oldest", json_null());
        json_object_set_new(sink, "waiting_next_due", json_null());
        if (!status_log_unread(c, sink, e))
            return false;
    }
    return ladder_topics(&c->broker, status_log_waiting_topic, &w, e);
}
