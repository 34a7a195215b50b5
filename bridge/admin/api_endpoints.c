/* SPDX-License-Identifier: MIT */
/* Endpoints of sinks: seen, made, changed, paused, tested and removed while the bridge runs (delivery/roster.h). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bridge/admin/api.h"
#include "bridge/admin/errands.h"
#include "bridge/delivery/roster.h"
#include "bridge/lib/mem.h"

enum { ENDPOINTS_NAME = 256 };

/* ---- what changes something: on a thread of its own ---- */

struct endpoints_order {
    struct api_ticket ticket;
    struct roster *roster;
    struct roster_order order;
    struct roster_answer answer;
    char sink[ENDPOINTS_NAME], name[ENDPOINTS_NAME];
};

static void endpoints_work(void *ctx)
{
    struct endpoints_order *o = ctx;
    roster_do(o->roster, &o->order, &o->answer);
}

static void endpoints_done(void *ctx)
{
    struct endpoints_order *o = ctx;
    char tag[32];
    snprintf(tag, sizeof tag, "\"%" PRId64 "\"", o->answer.version);
    const struct header more = { STR("ETag"), str_of(tag) };
    if (o->answer.json)
        api_answer_with(&o->ticket, o->answer.status, &more, o->answer.version > 0, o->answer.json);
    else
        api_problem(&o->ticket, o->answer.status, "%s", o->answer.why);
    json_decref((json_t *)(uintptr_t)o->order.body);
    free(o);
}

/* Without a roster nothing can be made: the bridge only tries its configuration. */
static struct roster *endpoints_roster(const struct api_call *call)
{
    if (!call->home->roster)
        api_problem(&call->ticket, 503, "no sink runs yet");
    return call->home->roster;
}

/* The version that If-Match names; 0: any. False: it is answered. */
static bool endpoints_version(const struct api_call *call, int64_t *version)
{
    struct str text = http_header(call->request, "If-Match", NULL);
    *version = 0;
    if (!text.at || str_eq(text, STR("*")))
        return true;
    if (text.n > 2 && text.at[0] == '"' && str_ends(text, STR("\"")))
        text = (struct str){ text.at + 1, text.n - 2 };
    if (str_to_i64(text, version) && *version > 0)
        return true;
    api_problem(&call->ticket, 400, "If-Match must be the version that an answer said in ETag: \"3\"");
    return false;
}

static void endpoints_order(struct api_call *call, enum roster_what what, const char *name)
{
    struct roster *roster = endpoints_roster(call);
    int64_t version;
    if (!roster || !endpoints_version(call, &version))
        return;
    struct endpoints_order *o = mem_alloc(sizeof *o);
    *o = (struct endpoints_order){ .ticket = call->ticket, .roster = roster };
    snprintf(o->sink, sizeof o->sink, "%.*s", STR_ARG(call->parameters[0]));
    snprintf(o->name, sizeof o->name, "%s", name);
    o->order = (struct roster_order){ .what = what,
                                      .sink = o->sink,
                                      .name = o->name,
                                      .body = call->body ? json_deep_copy(call->body) : NULL,
                                      .version = version };
    if (errands_run(call->home->errands, endpoints_work, endpoints_done, o))
        return;
    json_decref((json_t *)(uintptr_t)o->order.body);
    free(o);
    api_busy(&call->ticket);
}

static void endpoints_order_of(struct api_call *call, enum roster_what what)
{
    char name[ENDPOINTS_NAME];
    snprintf(name, sizeof name, "%.*s", STR_ARG(call->parameters[1]));
    endpoints_order(call, what, name);
}

static void endpoints_add(struct api_call *call)
{
    json_t *body = json_copy((json_t *)(uintptr_t)call->body);
    char *name = str_dup(str_of(json_string_value(json_object_get(body, "name"))));
    json_object_del(body, "name");
    struct api_call inner = *call;
    inner.body = body;
    endpoints_order(&inner, ROSTER_ADD, name);
    json_decref(body);
    free(name);
}

static void endpoints_change(struct api_call *call)
{
    endpoints_order_of(call, ROSTER_CHANGE);
}

static void endpoints_remove(struct api_call *call)
{
    endpoints_order_of(call, ROSTER_REMOVE);
}

static void endpoints_pause(struct api_call *call)
{
    endpoints_order_of(call, ROSTER_PAUSE);
}

static void endpoints_resume(struct api_call *call)
{
    endpoints_order_of(call, ROSTER_RESUME);
}

static void endpoints_rotate(struct api_call *call)
{
    endpoints_order_of(call, ROSTER_ROTATE);
}

static void endpoints_test(struct api_call *call)
{
    endpoints_order_of(call, ROSTER_TEST);
}

static void endpoints_reseal(struct api_call *call)
{
    endpoints_order(call, ROSTER_RESEAL, "");
}

/* ---- what is there ---- */

static void endpoints_list(struct api_call *call)
{
    struct roster *roster = endpoints_roster(call);
    if (!roster)
        return;
    int64_t from = 0;
    const char *after = api_query_text(call, "after");
    if (after && (!str_to_i64(str_of(after), &from) || from < 0)) {
        api_problem(&call->ticket, 404, "after: is not what `next` of an answer was");
        return;
    }
    bool veil = call->ticket.who.is.role < ROLE_OPERATOR;
    json_t *all = roster_list(roster, api_query_text(call, "sink"), veil), *items = json_array();
    size_t limit = api_query_limit(call), count = json_array_size(all), i = (size_t)from;
    for (; i < count && json_array_size(items) < limit; i++)
        json_array_append(items, json_array_get(all, i));
    json_decref(all);
    api_answer(&call->ticket, 200,
               json_pack("{s:o,s:o}", "items", items, "next", i < count ? json_sprintf("%zu", i) : json_null()));
}

static void endpoints_get(struct api_call *call)
{
    struct roster *roster = endpoints_roster(call);
    if (!roster)
        return;
    char sink[ENDPOINTS_NAME], name[ENDPOINTS_NAME], tag[32];
    int64_t version;
    snprintf(sink, sizeof sink, "%.*s", STR_ARG(call->parameters[0]));
    snprintf(name, sizeof name, "%.*s", STR_ARG(call->parameters[1]));
    json_t *found = roster_get(roster, sink, name, call->ticket.who.is.role < ROLE_OPERATOR, &version);
    if (!found) {
        api_problem(&call->ticket, 404, "sink %s has no endpoint %s", sink, name);
        return;
    }
    snprintf(tag, sizeof tag, "\"%" PRId64 "\"", version);
    api_answer_with(&call->ticket, 200, &(struct header){ STR("ETag"), str_of(tag) }, version > 0, found);
}

/* ---- rows ---- */

#define ENDPOINTS_MEMBERS                                                                                              \
    { "sink", SHAPE_TEXT, .required = true, .doc = "The sink." },                                                      \
        { "name", SHAPE_TEXT, .required = true, .doc = "Its name among those of the sink." },                          \
        { "url", SHAPE_TEXT, .required = true,                                                                         \
          .doc = "Where events are posted. For who is no operator, *** stands for what may be a token in it." },       \
        { "types", SHAPE_TEXT, .list = true,                                                                           \
          .doc = "Which events it gets, where that was said by types; a * at the end stands for any text." },          \
        { "filter", SHAPE_ANY, .doc = "Which events it gets, where a filter says it; without both: every one." },      \
        { "state", SHAPE_TEXT, .required = true, .values = "active|paused|open|disabled",                              \
          .doc = "open: its circuit is, and it gets a probe now and then. disabled: `problem` says why." },            \
        { "origin", SHAPE_TEXT, .required = true, .values = "yaml|api",                                                \
          .doc = "yaml: of the configuration. api: made at run time." },                                               \
        { "at", SHAPE_TEXT, .doc = "Where the configuration has it: bridge.yaml:12." },                                \
        { "read_only", SHAPE_BOOLEAN, .required = true, .doc = "Only the configuration can change it." },              \
        { "version", SHAPE_INTEGER, .required = true,                                                                  \
          .doc = "Rises by one with each change, for If-Match; 0: of the configuration." },                            \
        { "since", SHAPE_MOMENT, .nullable = true, .doc = "Of its last change." },                                     \
        { "made", SHAPE_MOMENT, .nullable = true, .doc = "When it was made." },                                        \
        { "paused", SHAPE_BOOLEAN, .doc = "Is it to be paused?" },                                                     \
        { "problem", SHAPE_TEXT, .nullable = true, .doc = "Why it is disabled, and what to do." },                     \
    {                                                                                                                  \
        "options", SHAPE_ANY, .doc = "All that was said of it; ******** stands for secrets."                           \
    }

static const struct shape endpoints_one[] = {
    ENDPOINTS_MEMBERS,
    { 0 },
};
static const struct shape endpoints_made[] = {
    ENDPOINTS_MEMBERS,
    { "secret", SHAPE_TEXT, .doc = "The secret that was made for it. It is shown here, and never again." },
    { 0 },
};
static const struct shape endpoints_query[] = {
    { "sink", SHAPE_TEXT, .min = 1, .max = 63, .doc = "Only those of this sink." },
    API_LIST_QUERY,
    { 0 },
};
static const struct shape endpoints_items[] = {
    { "items", SHAPE_OBJECT, .list = true, .required = true, .of = endpoints_one, .doc = "Sink by sink." },
    API_LIST_NEXT,
    { 0 },
};
#define ENDPOINTS_ANY                                                                                                  \
    {                                                                                                                  \
        SHAPE_OTHERS, SHAPE_ANY, .doc = "Any option of an endpoint, as in the configuration (aqueduct help webhook)."  \
    }
static const struct shape endpoints_body[] = {
    { "name", SHAPE_TEXT, .required = true, .min = 1, .max = 63, .doc = "a-z, 0-9, - and _." },
    { "types", SHAPE_TEXT, .list = true, .doc = "Which events: [\"chat.response.generated\", \"document.*\"]." },
    ENDPOINTS_ANY,
    { 0 },
};
static const struct shape endpoints_patch[] = {
    { "types", SHAPE_TEXT, .list = true, .nullable = true, .doc = "Which events, in the place of a filter." },
    ENDPOINTS_ANY,
    { 0 },
};
static const struct shape endpoints_rotation[] = {
    { "secret", SHAPE_TEXT, .min = 1, .max = 500, .doc = "The new one; without it one is made." },
    { "overlap", SHAPE_TEXT, .pattern = "^([0-9]{1,4}[sm]|[0-9]{1,3}h|[0-8]?[0-9]d)$", .min = 1, .max = 20,
      .doc = "How long the old ones sign on: 0s 2h 7d; without it 24h." },
    { 0 },
};
static const struct shape endpoints_sample[] = {
    { "type", SHAPE_TEXT, .min = 1, .max = 256, .doc = "Of the event; without it aqueduct.test." },
    { "data", SHAPE_ANY, .doc = "Its data." },
    { 0 },
};
static const struct shape endpoints_result[] = {
    { "event", SHAPE_TEXT, .required = true, .doc = "Its id." },
    { "verdict", SHAPE_TEXT, .required = true, .values = "delivered|retry|reject|untried",
      .doc = "What would become of an event that is answered so." },
    { "status", SHAPE_INTEGER, .required = true, .doc = "The answer's; 0: none came." },
    { "ms", SHAPE_INTEGER, .required = true, .doc = "How long it took." },
    { "reason", SHAPE_TEXT, .required = true, .doc = "What was wrong." },
    { "excerpt", SHAPE_TEXT, .required = true, .doc = "The beginning of the answer." },
    { "headers", SHAPE_TEXT, .list = true, .required = true, .doc = "Of the request; * stands for secrets." },
    { "body", SHAPE_TEXT, .required = true, .doc = "The beginning of the request's body." },
    { 0 },
};
static const struct shape endpoints_removed[] = {
    { "removed", SHAPE_BOOLEAN, .required = true, .doc = "true." },
    { "pending", SHAPE_INTEGER, .required = true,
      .doc =
          "Events that were on their way to it in memory: what is not delivered becomes a dead letter. What waits on "
          "the broker follows when it is due." },
    { 0 },
};
static const struct shape endpoints_sealed[] = {
    { "sealed", SHAPE_INTEGER, .required = true, .doc = "How many endpoints." },
    { "key", SHAPE_TEXT, .required = true, .doc = "The id of the key, which says nothing of it." },
    { 0 },
};

#define ENDPOINTS "/api/v1/sinks/{sink}/endpoints"
#define ENDPOINT  ENDPOINTS "/{endpoint}"

extern const struct api_row api_endpoints_rows[];
const struct api_row api_endpoints_rows[] = {
    { "GET", "/api/v1/endpoints", "listEndpoints", ROLE_VIEWER, "The endpoints of the sinks that can have several.",
      .query = endpoints_query, .done = 200, .answer = endpoints_items, .handle = endpoints_list },
    { "POST", "/api/v1/endpoints/reseal", "resealEndpoints", ROLE_OPERATOR,
      "Stores the secrets of all endpoints under the first key of admin.key_file.", .done = 200,
      .answer = endpoints_sealed, .handle = endpoints_reseal },
    { "POST", ENDPOINTS, "addEndpoint", ROLE_OPERATOR,
      "Makes an endpoint; where it needs a secret and brings none, one is made and shown once.", .body = endpoints_body,
      .done = 201, .answer = endpoints_made, .handle = endpoints_add },
    { "GET", ENDPOINT, "getEndpoint", ROLE_VIEWER, "One endpoint.", .done = 200, .answer = endpoints_one,
      .handle = endpoints_get },
    { "PATCH", ENDPOINT, "changeEndpoint", ROLE_OPERATOR,
      "Changes options (null takes one away), with If-Match only the version that it names.", .body = endpoints_patch,
      .done = 200, .answer = endpoints_one, .handle = endpoints_change },
    { "DELETE", ENDPOINT, "removeEndpoint", ROLE_OPERATOR, "Removes it: what waits for it becomes dead letters.",
      .done = 200, .answer = endpoints_removed, .handle = endpoints_remove },
    { "POST", ENDPOINT "/pause", "pauseEndpoint", ROLE_OPERATOR, "It gets nothing, and what is for it waits.",
      .done = 200, .answer = endpoints_one, .handle = endpoints_pause },
    { "POST", ENDPOINT "/resume", "resumeEndpoint", ROLE_OPERATOR, "It goes on.", .done = 200, .answer = endpoints_one,
      .handle = endpoints_resume },
    { "POST", ENDPOINT "/rotate", "rotateEndpoint", ROLE_OPERATOR,
      "Gives it another secret, which is shown once; the old one signs as well for a while.",
      .body = endpoints_rotation, .bodiless = true, .done = 200, .answer = endpoints_made, .handle = endpoints_rotate },
    { "POST", ENDPOINT "/test", "testEndpoint", ROLE_OPERATOR,
      "Sends one signed event to it now, which counts nowhere and is not tried again.", .body = endpoints_sample,
      .bodiless = true, .done = 200, .answer = endpoints_result, .handle = endpoints_test },
    { 0 },
};
