/* SPDX-License-Identifier: MIT */
/* What the daemon says of itself: the account, the metrics, the description of the API. */
#include "bridge/admin/api.h"
#include "bridge/admin/openapi.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/descriptors.h"

enum { STATUS_BYTES = 64 << 20 };

static void status_send(const struct api_call *call, struct buf *out)
{
    if (out->failed)
        api_problem(&call->ticket, 500, "the answer is longer than %d MiB", STATUS_BYTES >> 20);
    else
        api_answer_bytes(&call->ticket, 200, "application/json", buf_str(out));
    buf_free(out);
}

static void status_get(struct api_call *call)
{
    const struct admin_questions *ask = &call->home->ask;
    const struct account_question q = {
        .events = (size_t)json_number_value(json_object_get(call->query, "events")),
        .id = str_of(api_query_text(call, "id")),
        .listeners = { .most = (size_t)json_number_value(json_object_get(call->query, "listeners")),
                       .connection = (uint64_t)json_number_value(json_object_get(call->query, "connection")) },
    };
    struct buf out = buf_new(STATUS_BYTES);
    ask->account(ask->ctx, &q, &out);
    status_send(call, &out);
}

static void status_metrics(struct api_call *call)
{
    char at[CLOCK_TEXT];
    struct buf out = buf_new(STATUS_BYTES);
    descriptors_measure();
    call->home->ask.gather(call->home->ask.ctx);
    clock_text(clock_wall_ms(), at);
    buf_printf(&out, "{\"at\":\"%s\",\"metrics\":", at);
    metrics_write_json(&out);
    buf_add_char(&out, '}');
    status_send(call, &out);
}

static void status_openapi(struct api_call *call)
{
    api_answer(&call->ticket, 200, openapi_new());
}

static const struct shape status_query[] = {
    { "events", SHAPE_INTEGER, .max = ACCOUNT_EVENTS,
      .doc = "How many of each sink's events in memory are listed, the oldest first; without it none." },
    { "id", SHAPE_TEXT, .min = 1, .max = 4096, .doc = "Only those with this event's id." },
    { "listeners", SHAPE_INTEGER, .max = ACCOUNT_LISTENERS,
      .doc = "How many subscriptions of live listeners are listed of each sink; without it none." },
    { "connection", SHAPE_INTEGER, .min = 1, .max = UINT32_MAX, .doc = "Only those of this connection." },
    { 0 },
};
static const struct shape status_answer[] = {
    { "from", SHAPE_TEXT, .required = true, .doc = "daemon." },
    { "at", SHAPE_MOMENT, .required = true, .doc = "When the account was made." },
    { "broker", SHAPE_TEXT, .required = true, .values = "local|kafka", .doc = "The broker's type." },
    { "ready", SHAPE_BOOLEAN, .required = true, .doc = "Does the daemon do its work?" },
    { "not_ready", SHAPE_TEXT, .required = true, .nullable = true, .doc = "Why it does not." },
    { "sources", SHAPE_OBJECT, .list = true, .required = true, .doc = "As aqueduct help status lists the keys." },
    { "sinks", SHAPE_OBJECT, .list = true, .required = true, .doc = "As aqueduct help status lists the keys." },
    { "unserved", SHAPE_ANY, .required = true, .doc = "What stands on the broker for sinks that are not configured." },
    { 0 },
};

static const struct shape status_series[] = {
    { "labels", SHAPE_TEXT, .map = true, .required = true, .doc = "Names of the labels and their values." },
    { "value", SHAPE_INTEGER, .doc = "Of a counter or gauge." },
    { "count", SHAPE_INTEGER, .doc = "Of a histogram: how many were observed." },
    { "sum", SHAPE_NUMBER, .doc = "Of a histogram: seconds, all together." },
    { "buckets", SHAPE_ANY, .doc = "Of a histogram: [[seconds, how many took at most that], ...]." },
    { 0 },
};
static const struct shape status_metric[] = {
    { "name", SHAPE_TEXT, .required = true, .doc = "Its name." },
    { "type", SHAPE_TEXT, .required = true, .values = "counter|gauge|histogram", .doc = "What it is." },
    { "help", SHAPE_TEXT, .required = true, .doc = "One sentence." },
    { "series", SHAPE_OBJECT, .list = true, .required = true, .of = status_series,
      .doc = "One for each combination of labels." },
    { 0 },
};
static const struct shape status_metrics_answer[] = {
    { "at", SHAPE_MOMENT, .required = true, .doc = "When they were read." },
    { "metrics", SHAPE_OBJECT, .list = true, .required = true, .of = status_metric, .doc = "By name." },
    { 0 },
};
static const struct shape status_openapi_answer[] = {
    { "openapi", SHAPE_TEXT, .required = true, .doc = "3.1.0." },
    { "info", SHAPE_OBJECT, .required = true, .doc = "Title and version." },
    { "paths", SHAPE_OBJECT, .required = true, .doc = "Every operation." },
    { 0 },
};

const struct api_row api_status_rows[] = {
    { "GET", "/api/v1/openapi.json", "getOpenapi", ROLE_VIEWER, "This description.", .done = 200,
      .answer = status_openapi_answer, .handle = status_openapi },
    { "GET", "/api/v1/status", "getStatus", ROLE_VIEWER, "The account of all sources and sinks.", .query = status_query,
      .done = 200, .answer = status_answer, .handle = status_get },
    { "GET", "/api/v1/metrics", "getMetrics", ROLE_VIEWER, "All metrics, as they stand.", .done = 200,
      .answer = status_metrics_answer, .handle = status_metrics },
    { 0 },
};
