/* SPDX-License-Identifier: MIT */
/* The delivery log: attempts, the newest first. */
#include <stdlib.h>
#include "bridge/admin/api_work.h"
#include "bridge/delivery/attempts_filter.h"
#include "bridge/delivery/backwards.h"
#include "bridge/event/trail.h"

struct attempts_look {
    struct attempts_filter filter;
    const struct api_work *work;
};

static json_t *attempts_take(void *ctx, const struct record *r)
{
    const struct attempts_look *look = ctx;
    json_t *a = r->value.at ? json_loadb(r->value.at, r->value.n, 0, NULL) : NULL;
    if (attempts_match(&look->filter, a))
        return a;
    json_decref(a);
    return NULL;
}

static bool attempts_go_on(void *ctx)
{
    const struct attempts_look *look = ctx;
    return !api_work_is_over(look->work);
}

static void attempts_work(struct api_work *w)
{
    const struct config *config = w->home->config;
    const char *outcome = api_work_text(w, "outcome"), *since = api_work_text(w, "since"),
               *until = api_work_text(w, "until");
    struct attempts_look look = { .filter = { .sink = str_of(api_work_text(w, "sink")),
                                              .endpoint = str_of(api_work_text(w, "endpoint")),
                                              .event = str_of(api_work_text(w, "event")),
                                              .type = str_of(api_work_text(w, "type")) },
                                  .work = w };
    look.filter.failures = outcome && strcmp(outcome, "failed") == 0;
    look.filter.end = look.filter.failures ? STR_ABSENT : str_of(outcome);
    if (since)
        clock_since(str_of(since), &look.filter.since_ms);
    if (until)
        clock_since(str_of(until), &look.filter.until_ms);
    char *topic = topic_name(config->broker.prefix, TOPIC_ATTEMPTS, NULL);
    const struct backwards page = { .broker = &config->broker,
                                    .topic = topic,
                                    .after = api_work_text(w, "after"),
                                    .since_ms = look.filter.since_ms,
                                    .limit = api_work_limit(w),
                                    .take = attempts_take,
                                    .go_on = attempts_go_on,
                                    .ctx = &look };
    struct err e = { "" };
    w->answer = backwards_page(&page, &e);
    if (!w->answer)
        api_work_fail(w, strncmp(e.text, "after:", 6) == 0 ? 404 : 503, "%s", e.text);
    free(topic);
}

static void attempts_get(struct api_call *call)
{
    api_later(call, LANE_READ, attempts_work);
}

static const struct shape attempts_query[] = {
    { "sink", SHAPE_TEXT, .min = 1, .doc = "Attempts of this sink." },
    { "endpoint", SHAPE_TEXT, .min = 1, .doc = "At this endpoint of a sink." },
    { "event", SHAPE_TEXT, .min = 1, .doc = "To deliver the event with this id." },
    { "type", SHAPE_TEXT, .min = 1, .doc = "To deliver events of this type." },
    { "outcome", SHAPE_TEXT, .values = "failed|delivered|retry|spared|dead|released",
      .doc = "What came of it; failed: all but delivered." },
    { "since", SHAPE_SINCE, .doc = "Ended at or after." },
    { "until", SHAPE_SINCE, .doc = "Ended before." },
    API_LIST_QUERY,
    { 0 },
};

static const struct shape attempts_event[] = {
    { "id", SHAPE_TEXT, .required = true, .nullable = true, .doc = "Its id." },
    { "source", SHAPE_TEXT, .required = true, .nullable = true, .doc = "Its source." },
    { "type", SHAPE_TEXT, .required = true, .nullable = true, .doc = "Its type." },
    { "subject", SHAPE_TEXT, .nullable = true, .doc = "What it is about." },
    { 0 },
};
static const struct shape attempts_item[] = {
    { "time", SHAPE_MOMENT, .required = true, .doc = "When it ended." },
    { "sink", SHAPE_TEXT, .required = true, .doc = "The sink." },
    { "endpoint", SHAPE_TEXT, .required = true, .nullable = true, .doc = "Its endpoint, if it has several." },
    { "event", SHAPE_OBJECT, .required = true, .of = attempts_event, .doc = "What was to be delivered." },
    { "record", SHAPE_OBJECT, .required = true, .doc = "Where that stands: topic, partition, offset." },
    { "attempt", SHAPE_INTEGER, .required = true, .doc = "1 for the first." },
    { "verdict", SHAPE_TEXT, .required = true, .doc = "delivered, retry or reject." },
    { "class", SHAPE_TEXT, .required = true, .nullable = true, .doc = "The class of the reason." },
    { "reason", SHAPE_TEXT, .required = true, .nullable = true, .doc = "Why it failed." },
    { "status", SHAPE_INTEGER, .required = true, .nullable = true, .doc = "What the receiver answered." },
    { "batch", SHAPE_INTEGER, .doc = "How many events went with one request." },
    { "duration_ms", SHAPE_INTEGER, .required = true, .doc = "How long it took." },
    { "end", SHAPE_TEXT, .required = true, .doc = "What followed: delivered, retry, spared, dead or released." },
    { "next", SHAPE_MOMENT, .required = true, .nullable = true, .doc = "When it is tried again." },
    { "response", SHAPE_TEXT, .required = true, .nullable = true, .doc = "The beginning of what the receiver said." },
    { 0 },
};
static const struct shape attempts_answer[] = {
    { "items", SHAPE_OBJECT, .list = true, .required = true, .of = attempts_item, .doc = "The newest first." },
    API_LIST_NEXT,
    { 0 },
};

extern const struct api_row api_attempt_rows[];
const struct api_row api_attempt_rows[] = {
    { "GET", "/api/v1/attempts", "listAttempts", ROLE_VIEWER,
      "The delivery log, as far as the sinks' option `attempts` keeps it.", .query = attempts_query, .done = 200,
      .answer = attempts_answer, .handle = attempts_get },
    { 0 },
};
