/* SPDX-License-Identifier: MIT */
/* What flows: sources, topics and sinks with their rates now, and over the last hour; and the types that events can have. */
#include <stdlib.h>
#include <string.h>
#include "bridge/admin/api.h"
#include "bridge/admin/figures.h"
#include "bridge/admin/history.h"
#include "bridge/event/trail.h"
#include "bridge/event/vocabulary.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/json.h"

enum { FLOW_BYTES = 64 << 20 };

static json_t *flow_known(int64_t n)
{
    return n < 0 ? json_null() : json_integer(n);
}

static json_t *flow_rate(double rate)
{
    return rate < 0 ? json_null() : json_real((double)(int64_t)(rate * 1000 + 0.5) / 1000);
}

/* What rates are asked of. */
struct flow {
    const struct api_home *home;
    const json_t *account;
    int64_t now_ms, wall_ms;
};

static json_t *flow_rate_of(const struct flow *f, enum history_rate which, const char *of, int64_t count)
{
    return flow_rate(history_rate(f->home->history, which, of, count, f->now_ms));
}

/* ---- sources ---- */

static json_t *flow_source(const struct flow *f, const json_t *source)
{
    const char *name = json_text(source, "source");
    const json_t *stored = json_object_get(source, "stored"), *ready = json_object_get(source, "ready");
    int64_t count = json_is_integer(stored) ? json_integer_value(stored) : -1;
    return json_pack("{s:s,s:s,s:o,s:s,s:O}", "name", name, "type", json_text(source, "type"), "rate",
                     flow_rate_of(f, HISTORY_STORED, name, count), "state",
                     json_is_null(ready)   ? "starting"
                     : json_is_true(ready) ? "active"
                                           : "unready",
                     "detail", json_object_get(source, "not_ready"));
}

/* ---- sinks ---- */

/* What it was given to read, each topic once: without that of what is redriven to it, which is its own. */
static json_t *flow_topics_of(const struct flow *f, const json_t *sink)
{
    json_t *list = json_array(), *seen = json_object();
    char *redrive = topic_name(f->home->config->broker.prefix, TOPIC_REDRIVE, json_text(sink, "sink"));
    json_object_set_new(seen, redrive, json_true());
    free(redrive);
    size_t i;
    const json_t *p;
    json_array_foreach(json_object_get(sink, "topics"), i, p)
    {
        json_t *topic = json_object_get(p, "topic");
        if (json_is_string(topic) && !json_object_get(seen, json_string_value(topic))) {
            json_object_set_new(seen, json_string_value(topic), json_true());
            json_array_append(list, topic);
        }
    }
    json_decref(seen);
    return list;
}

/* Of a sink that has none: null. */
static json_t *flow_endpoints_of(const json_t *sink)
{
    json_int_t count = 0;
    size_t i;
    const json_t *d;
    json_array_foreach(json_object_get(sink, "destinations"), i, d)
    {
        count += json_is_string(json_object_get(d, "endpoint")) && !json_is_true(json_object_get(d, "removed"));
    }
    return count ? json_integer(count) : json_null();
}

static json_t *flow_sink(const struct flow *f, const json_t *sink)
{
    const char *name = json_text(sink, "sink");
    struct figures n = figures_of(sink);
    char *detail;
    enum sink_state state = figures_state(sink, &detail);
    int64_t age_ms = n.oldest_ms < 0 ? -1 : f->wall_ms > n.oldest_ms ? f->wall_ms - n.oldest_ms : 0;
    json_t *j = json_pack("{s:s,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:s,s:o}", "name", name, "type",
                          json_text(sink, "type"), "topics", flow_topics_of(f, sink), "endpoints",
                          flow_endpoints_of(sink), "rate", flow_rate_of(f, HISTORY_DELIVERED, name, n.delivered),
                          "pending", flow_known(n.pending), "waiting", flow_known(n.waiting), "dead",
                          flow_known(n.dead), "oldest_s", flow_known(age_ms < 0 ? -1 : age_ms / 1000), "lag",
                          flow_known(n.lag), "state", figures_state_text(state), "detail",
                          detail ? json_of_text(str_of(detail)) : json_null());
    free(detail);
    return j;
}

/* ---- topics and routes ---- */

/* How many partitions a topic has, from whichever sink reads most of it; 0: nobody does. */
static json_int_t flow_partitions(const json_t *account, const char *topic)
{
    json_int_t most = 0;
    size_t i, k;
    const json_t *sink, *p;
    json_array_foreach(json_object_get(account, "sinks"), i, sink)
    {
        json_int_t count = 0;
        json_array_foreach(json_object_get(sink, "topics"), k, p)
        {
            count += strcmp(json_text(p, "topic"), topic) == 0 && json_is_integer(json_object_get(p, "partition"));
        }
        most = count > most ? count : most;
    }
    return most;
}

static void flow_add_topic(const struct flow *f, json_t *topics, const char *name)
{
    size_t i;
    const json_t *one;
    json_array_foreach(topics, i, one)
    {
        if (strcmp(json_text(one, "name"), name) == 0)
            return;
    }
    int64_t end = history_topic_end(f->account, name), partitions = flow_partitions(f->account, name);
    json_array_append_new(topics, json_pack("{s:s,s:o,s:o}", "name", name, "partitions",
                                            flow_known(partitions ? partitions : -1), "rate",
                                            flow_rate_of(f, HISTORY_TOPIC, name, end)));
}

/* Those that routes fill, then those that only sinks name. */
static json_t *flow_topics(const struct flow *f, const json_t *sinks)
{
    const struct config *c = f->home->config;
    const struct route_config *routes = c->routes.at;
    json_t *topics = json_array();
    for (size_t i = 0; i < c->routes.count; i++)
        flow_add_topic(f, topics, routes[i].topic);
    size_t i, k;
    const json_t *sink, *topic;
    json_array_foreach(sinks, i, sink)
    {
        json_array_foreach(json_object_get(sink, "topics"), k, topic)
        {
            flow_add_topic(f, topics, json_string_value(topic));
        }
    }
    return topics;
}

static json_t *flow_routes(const struct config *c)
{
    const struct route_config *routes = c->routes.at;
    json_t *list = json_array();
    for (size_t i = 0; i < c->routes.count; i++)
        json_array_append_new(list, json_pack("{s:n,s:s}", "from", "topic", routes[i].topic));
    return list;
}

/* ---- rows ---- */

/* The account of now; NULL: it was too long. */
static json_t *flow_account(const struct api_home *home)
{
    struct buf out = buf_new(FLOW_BYTES);
    home->ask.account(home->ask.ctx, &(struct account_question){ 0 }, &out);
    json_t *account = out.failed ? NULL : json_loadb(out.at, out.n, 0, NULL);
    buf_free(&out);
    return account;
}

static void flow_get(struct api_call *call)
{
    json_t *account = flow_account(call->home), *sources = json_array(), *sinks = json_array();
    const struct flow f = { call->home, account, clock_mono_ms(), clock_wall_ms() };
    size_t i;
    const json_t *one;
    json_array_foreach(json_object_get(account, "sources"), i, one)
    {
        json_array_append_new(sources, flow_source(&f, one));
    }
    json_array_foreach(json_object_get(account, "sinks"), i, one)
    {
        json_array_append_new(sinks, flow_sink(&f, one));
    }
    json_t *topics = flow_topics(&f, sinks);
    api_answer(&call->ticket, 200,
               json_pack("{s:o,s:o,s:o,s:o}", "sources", sources, "topics", topics, "sinks", sinks, "routes",
                         flow_routes(call->home->config)));
    json_decref(account);
}

static void flow_history(struct api_call *call)
{
    struct buf out = buf_new(FLOW_BYTES);
    history_write(call->home->history, &out);
    api_answer_bytes(&call->ticket, 200, "application/json", buf_str(&out));
    buf_free(&out);
}

static void flow_types(struct api_call *call)
{
    json_t *list = json_array();
    for (const struct vocabulary_type *t = vocabulary_types; t->name; t++)
        json_array_append_new(list, json_pack("{s:s,s:s}", "type", t->name, "doc", t->doc));
    api_answer(&call->ticket, 200, json_pack("{s:o}", "items", list));
}

#define FLOW_RATE                                                                                                      \
    {                                                                                                                  \
        "rate", SHAPE_NUMBER, .required = true, .nullable = true,                                                      \
                              .doc = "Events a second over the last 5 to 15 seconds."                                  \
    }

static const struct shape flow_source_shape[] = {
    { "name", SHAPE_TEXT, .required = true, .doc = "Its name." },
    { "type", SHAPE_TEXT, .required = true, .doc = "http, sqlite ..." },
    FLOW_RATE,
    { "state", SHAPE_TEXT, .required = true, .values = "active|starting|unready",
      .doc = "Does it see what it is to watch?" },
    { "detail", SHAPE_TEXT, .required = true, .nullable = true, .doc = "Why it does not." },
    { 0 },
};
static const struct shape flow_topic_shape[] = {
    { "name", SHAPE_TEXT, .required = true, .doc = "Its name." },
    { "partitions", SHAPE_INTEGER, .required = true, .nullable = true,
      .doc = "How many it has; null: no sink of this daemon reads it." },
    FLOW_RATE,
    { 0 },
};
static const struct shape flow_sink_shape[] = {
    { "name", SHAPE_TEXT, .required = true, .doc = "Its name." },
    { "type", SHAPE_TEXT, .required = true, .doc = "webhook, websocket ..." },
    { "topics", SHAPE_TEXT, .list = true, .required = true, .doc = "What it reads." },
    { "endpoints", SHAPE_INTEGER, .required = true, .nullable = true,
      .doc = "How many it has; null: it is its own receiver." },
    FLOW_RATE,
    { "pending", SHAPE_INTEGER, .required = true, .nullable = true,
      .doc = "Events in the daemon's memory that are not finished." },
    { "waiting", SHAPE_INTEGER, .required = true, .nullable = true,
      .doc = "Events in memory and on the broker that wait for their next attempt, or for their turn behind one." },
    { "dead", SHAPE_INTEGER, .required = true, .nullable = true, .doc = "Dead letters since the daemon's start." },
    { "oldest_s", SHAPE_INTEGER, .required = true, .nullable = true,
      .doc =
          "Age in seconds of the oldest event in memory, or since when a destination fails whose events wait on the broker." },
    { "lag", SHAPE_INTEGER, .required = true, .nullable = true,
      .doc = "Records of its topics that it has not finished." },
    { "state", SHAPE_TEXT, .required = true, .values = "active|paused|held|failing|open|unknown",
      .doc = "The worst of its destinations'; open: its circuit is; unknown: it does not say now." },
    { "detail", SHAPE_TEXT, .required = true, .nullable = true, .doc = "Whose, and why." },
    { 0 },
};
static const struct shape flow_route_shape[] = {
    { "from", SHAPE_TEXT, .required = true, .nullable = true,
      .doc = "Of which source; null: of every one, as its filter says." },
    { "topic", SHAPE_TEXT, .required = true, .doc = "Where to." },
    { 0 },
};
static const struct shape flow_answer[] = {
    { "sources", SHAPE_OBJECT, .list = true, .required = true, .of = flow_source_shape, .doc = "As configured." },
    { "topics", SHAPE_OBJECT, .list = true, .required = true, .of = flow_topic_shape,
      .doc = "Those of routes and sinks." },
    { "sinks", SHAPE_OBJECT, .list = true, .required = true, .of = flow_sink_shape, .doc = "As configured." },
    { "routes", SHAPE_OBJECT, .list = true, .required = true, .of = flow_route_shape, .doc = "In their order." },
    { 0 },
};
static const struct shape flow_series_shape[] = {
    { "name", SHAPE_TEXT, .required = true,
      .values =
          "stored_rate|delivered_rate|retried_rate|dead_rate|topic_rate|pending|waiting|dead|lag|oldest_s|latency_p50_ms|"
          "latency_p99_ms",
      .doc = "What it is: rates are events a second." },
    { "labels", SHAPE_TEXT, .map = true, .required = true, .doc = "source, sink or topic." },
    { "points", SHAPE_ANY, .list = true, .required = true, .doc = "Numbers, the newest the last; null: not known." },
    { 0 },
};
static const struct shape flow_history_answer[] = {
    { "step_s", SHAPE_INTEGER, .required = true, .doc = "From one point to the next." },
    { "from", SHAPE_MOMENT, .required = true, .doc = "Of the first point." },
    { "until", SHAPE_MOMENT, .required = true, .doc = "Of the last." },
    { "left_out", SHAPE_INTEGER, .required = true, .doc = "Series for which there is no room: 512 are kept." },
    { "series", SHAPE_OBJECT, .list = true, .required = true, .of = flow_series_shape,
      .doc = "Since the daemon's start, at most an hour." },
    { 0 },
};
static const struct shape flow_type_shape[] = {
    { "type", SHAPE_TEXT, .required = true, .doc = "Its name." },
    { "doc", SHAPE_TEXT, .required = true, .doc = "One sentence." },
    { 0 },
};
static const struct shape flow_types_answer[] = {
    { "items", SHAPE_OBJECT, .list = true, .required = true, .of = flow_type_shape, .doc = "By name." },
    { 0 },
};

const struct api_row api_flow_rows[] = {
    { "GET", "/api/v1/flow", "getFlow", ROLE_VIEWER, "Sources, topics and sinks, and how much flows between them.",
      .done = 200, .answer = flow_answer, .handle = flow_get },
    { "GET", "/api/v1/history", "getHistory", ROLE_VIEWER, "The last hour in numbers, a point every ten seconds.",
      .done = 200, .answer = flow_history_answer, .handle = flow_history },
    { "GET", "/api/v1/types", "getTypes", ROLE_VIEWER, "The vocabulary: types that applications' events are given.",
      .done = 200, .answer = flow_types_answer, .handle = flow_types },
    { 0 },
};
