/* SPDX-License-Identifier: MIT */
/* Events as they are stored: what a live tail shows. */
#include <stdlib.h>
#include "bridge/admin/private.h"
#include "bridge/admin/tails.h"
#include "bridge/config/config.h"
#include "bridge/delivery/find_event.h"
#include "bridge/lib/mem.h"

enum { TAIL_TOPICS = 100 };

static bool tail_add(void *ctx, const char *topic)
{
    struct tails_options *o = ctx;
    if (o->topic_count == TAIL_TOPICS)
        return false;
    o->topics = mem_grow(o->topics, o->topic_count + 1, sizeof *o->topics);
    o->topics[o->topic_count++] = str_dup(str_of(topic));
    return true;
}

static bool tail_is_configured(void *ctx, const char *topic)
{
    const char **wanted = ctx;
    if (*wanted && strcmp(*wanted, topic) == 0)
        *wanted = NULL;
    return true;
}

static void tail_forget(struct tails_options *o)
{
    for (size_t i = 0; i < o->topic_count; i++)
        free(o->topics[i]);
    free(o->topics);
    filter_free(o->filter);
}

/* The topics, which must be configured: the bridge's own are none of them. */
static bool tail_topics(const struct api_call *call, struct tails_options *o)
{
    const char *topic = api_query_text(call, "topic"), *missing = topic;
    if (!topic) {
        find_event_topics(call->home->config, tail_add, o);
        return true;
    }
    find_event_topics(call->home->config, tail_is_configured, &missing);
    if (missing) {
        const char *near = find_event_nearest(call->home->config, topic);
        api_problem(&call->ticket, 404, "the configuration has no topic \"%.200s\"%s%s%s", topic,
                    near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
        return false;
    }
    return tail_add(o, topic);
}

static bool tail_filter(const struct api_call *call, struct tails_options *o)
{
    struct err e = { "" };
    const char *text = api_query_text(call, "filter");
    json_t *json = text ? config_json(str_of(text), &e) : NULL;
    o->filter = json ? filter_new(json, &e) : NULL;
    json_decref(json);
    if (!text || o->filter)
        return true;
    api_problem(&call->ticket, 400, "filter: %s", e.text);
    return false;
}

static void tail_get(struct api_call *call)
{
    struct tails_options o = { 0 };
    const char *from = api_query_text(call, "from");
    struct str last = http_header(call->request, "Last-Event-ID", NULL);
    if (!(last.at && clock_parse(last, &o.since_ms)) && from)
        clock_since(str_of(from), &o.since_ms);
    if (str_eq(call->request->method, STR("HEAD")))
        api_answer_bytes(&call->ticket, 200, "text/event-stream", STR(""));
    else if (tail_topics(call, &o) && tail_filter(call, &o)) {
        tails_open(api_tails(call->ticket.api), call, &o);
        return;
    }
    tail_forget(&o);
}

static const struct shape tail_query[] = {
    { "topic", SHAPE_TEXT, .min = 1, .doc = "Of this topic alone, else of all that are configured." },
    { "filter", SHAPE_TEXT, .min = 1,
      .doc = "Only what it takes, as a filter of the configuration: {exact: {type: x}}." },
    { "from", SHAPE_SINCE, .doc = "Also what was stored since then." },
    { 0 },
};

extern const struct api_row api_tail_rows[];
const struct api_row api_tail_rows[] = {
    { "GET", "/api/v1/tail", "tail", ROLE_VIEWER,
      "Events as they are stored: an event stream of `event`, and of `missed` where the client was too slow.",
      .query = tail_query, .done = 200, .answers = "text/event-stream", .handle = tail_get },
    { 0 },
};
