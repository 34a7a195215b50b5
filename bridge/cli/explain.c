/* SPDX-License-Identifier: MIT */
/* `aqueduct explain`: which routes, sinks and endpoints take an event, and because of which condition the others do not.
 *
 *   {"event", "type", "assumed": {what the file left out} or null, "stored": "topic/partition@offset" or null,
 *    "routes": [{"route", "topic", "takes", "why"}], "sinks": [{"sink", "endpoint", "topic", "takes", "why"}]}
 *
 * It asks the configuration, and a running daemon for the endpoints that were made at run time; where none runs, what a sink
 * without others takes is not known (takes null). What became of a stored event is `aqueduct status --event`. With --connection it asks the
 * running daemon for that listener (explain_listener.c). */
#include <inttypes.h>
#include <stdlib.h>
#include "bridge/broker/broker.h"
#include "bridge/cli/case.h"
#include "bridge/cli/commands.h"
#include "bridge/cli/explain_listener.h"
#include "bridge/cli/status_print.h"
#include "bridge/cli/usage.h"
#include "bridge/command/given.h"
#include "bridge/delivery/find_event.h"
#include "bridge/intake/route.h"
#include "bridge/lib/json.h"
#include "bridge/lib/progress.h"

enum { EXPLAIN_EVENT = 16 << 20, EXPLAIN_WHY = 4096, EXPLAIN_NAME = 28 };

struct explain_flags {
    struct str event;
    int64_t connection;
    bool json;
};

static const struct flag explain_flags[] = {
    FLAG(struct explain_flags, event, .name = "--event", .value = "ID",
         .doc = "the newest stored event of this whole id, in place of a file"),
    FLAG(struct explain_flags, connection, .name = "--connection", .value = "N", .min = 1, .max = UINT32_MAX,
         .doc = "with --event: why the live listener of this number got it, or not (aqueduct status --list listeners)"),
    FLAG(struct explain_flags, json, .name = "--json", .doc = "one JSON object"),
    { 0 },
};

struct explain {
    const struct config *config;
    const json_t *made; /* the daemon's list of endpoints; NULL: none tells */
    const struct event *event;
    struct str id;
    const char *reading;                  /* the topic in which it is looked for */
    json_t *assumed;                      /* members that the given event lacked: name to value; NULL: none */
    struct record *record;                /* where it is stored; NULL: it was given */
    struct target targets[ROUTE_TARGETS]; /* where the routes would put it */
    size_t target_count;
    struct err *e;
};

/* ---- the event ---- */

static bool explain_look_at(void *ctx, const struct record *r)
{
    struct explain *x = ctx;
    progress_count(x->reading, "records read");
    if (!find_event_is(r, x->id) || (x->record && x->record->timestamp_ms > r->timestamp_ms))
        return true;
    record_free(x->record);
    x->record = record_ref((struct record *)(uintptr_t)r);
    return true;
}

static bool explain_topic(void *ctx, const char *topic)
{
    struct explain *x = ctx;
    const struct look_options o = { .topic = topic, .most = FIND_EVENT_SCAN, .may_lack = true };
    x->reading = topic;
    return look_once(&x->config->broker, &o, explain_look_at, x, x->e);
}

static bool explain_find(struct explain *x)
{
    if (!find_event_topics(x->config, explain_topic, x))
        return false;
    if (!x->record)
        return err_set(x->e, "no topic of the configuration has an event with the id %.*s%s", STR_ARG(x->id),
                       find_event_hint(x->id));
    x->event = event_from_record(x->record, x->e);
    return x->event;
}

/* The event with what it lacks of specversion, id and source, as in a case of `aqueduct test`. */
static const struct event *explain_assume(struct explain *x, struct str given)
{
    json_t *part = json_loadb(given.at, given.n, 0, NULL), *whole = case_whole_event(part);
    char *text = json_dumps(whole, JSON_COMPACT);
    struct err ignored;
    const struct event *ev = json_is_object(part) ? event_from_json(str_of(text), &ignored) : NULL;
    const char *name;
    json_t *value;
    if (ev)
        x->assumed = json_object();
    json_object_foreach(whole, name, value) if (ev && !json_object_get(part, name))
        json_object_set(x->assumed, name, value);
    free(text);
    json_decref(whole);
    json_decref(part);
    return ev;
}

static bool explain_read(struct explain *x, const char *path)
{
    struct err why = { "" };
    struct buf text = buf_new(EXPLAIN_EVENT + 1);
    bool ok = given_read("explain", path, EXPLAIN_EVENT, &text);
    x->e->text[0] = '\0'; /* it was said */
    if (ok)
        x->event = event_from_json(buf_str(&text), &why);
    if (ok && !x->event)
        x->event = explain_assume(x, buf_str(&text));
    if (ok && !x->event)
        err_set(
            x->e,
            "this is no CloudEvent in JSON: %s. One has a type (specversion, id and source may be left out here); what becomes of something "
            "else that is posted, a case with `request:` says (aqueduct help test)",
            why.text);
    buf_free(&text);
    return x->event;
}

/* ---- who takes it ---- */

static json_t *explain_why(const struct filter *f, const struct event *ev)
{
    struct buf why = buf_new(EXPLAIN_WHY);
    filter_add_reason(f, ev, &why);
    json_t *text = json_of_text(buf_str(&why));
    buf_free(&why);
    return text;
}

static json_t *explain_routes(const struct explain *x)
{
    json_t *list = json_array();
    const struct route_config *routes = x->config->routes.at;
    size_t taken = 0; /* the number of the route behind which no other is asked */
    for (size_t i = 0; i < x->config->routes.count; i++) {
        bool takes = !taken && filter_match(routes[i].filter, x->event);
        json_t *why = takes   ? json_null()
                      : taken ? json_sprintf("route %zu took it before, and has no also: true", taken)
                              : explain_why(routes[i].filter, x->event);
        json_array_append_new(list, json_pack("{s:I,s:s,s:b,s:o}", "route", (json_int_t)i + 1, "topic", routes[i].topic,
                                              "takes", (int)takes, "why", why));
        if (takes && !routes[i].also)
            taken = i + 1;
    }
    return list;
}

/* The topic of the sink that the event is on, or would be; NULL: none. */
static const char *explain_sink_topic(const struct explain *x, const struct sink_config *s)
{
    for (size_t i = 0; i < s->topics.count; i++) {
        if (x->record && str_eq(x->record->topic, str_of(s->topics.at[i])))
            return s->topics.at[i];
        for (size_t k = 0; k < x->target_count; k++)
            if (strcmp(x->targets[k].topic, s->topics.at[i]) == 0)
                return s->topics.at[i];
    }
    return NULL;
}

static void explain_place(const struct explain *x, json_t *list, const struct sink_config *s, const char *endpoint,
                          const struct filter *f)
{
    const char *topic = explain_sink_topic(x, s);
    bool wanted = topic && filter_match(s->filter, x->event), takes = wanted && filter_match(f, x->event);
    json_t *why = takes    ? json_null()
                  : !topic ? json_string("none of its topics gets it")
                           : explain_why(wanted ? f : s->filter, x->event);
    json_array_append_new(list, json_pack("{s:s,s:s?,s:s?,s:b,s:o}", "sink", s->sink->id, "endpoint", endpoint, "topic",
                                          topic, "takes", (int)takes, "why", why));
}

/* Endpoints that were made at run time. */
static void explain_made(const struct explain *x, json_t *list, const struct sink_config *s)
{
    size_t i;
    const json_t *one;
    json_array_foreach(x->made, i, one)
    {
        const json_t *wants = json_object_get(one, "filter");
        struct err e;
        if (strcmp(json_text(one, "sink"), s->sink->id) != 0 || strcmp(json_text(one, "origin"), "api") != 0)
            continue;
        struct filter *f = json_is_object(wants) || json_is_array(wants) ? filter_new(wants, &e) : NULL;
        explain_place(x, list, s, json_text(one, "name"), f);
        filter_free(f);
    }
}

/* A sink of which no endpoint is known. */
static void explain_no_endpoint(const struct explain *x, json_t *list, const struct sink_config *s)
{
    const char *topic = explain_sink_topic(x, s);
    if (topic && filter_match(s->filter, x->event))
        json_array_append_new(list,
                              json_pack("{s:s,s:n,s:s,s:o,s:s}", "sink", s->sink->id, "endpoint", "topic", topic,
                                        "takes", x->made ? json_false() : json_null(), "why",
                                        x->made ? "it has no endpoint yet; see aqueduct endpoints add"
                                                : "its endpoints are made at run time; see aqueduct endpoints list"));
    else
        explain_place(x, list, s, NULL, NULL);
}

static json_t *explain_sinks(const struct explain *x)
{
    json_t *list = json_array();
    for (size_t i = 0; i < x->config->sink_count; i++) {
        const struct sink_config *s = &x->config->sinks[i];
        if (s->sink->ops->dead_letters)
            continue;
        for (size_t k = 0; k < s->endpoint_count; k++)
            explain_place(x, list, s, s->endpoints[k].endpoint->name, s->endpoints[k].filter);
        size_t before = json_array_size(list) - s->endpoint_count;
        explain_made(x, list, s);
        if (!s->many)
            explain_place(x, list, s, NULL, NULL);
        else if (json_array_size(list) == before)
            explain_no_endpoint(x, list, s);
    }
    return list;
}

static json_t *explain_all(struct explain *x)
{
    struct router *router = router_new(x->config);
    x->target_count = router_targets(router, x->event, x->targets);
    router_free(router);
    json_t *stored = x->record ? json_sprintf("%.*s/%" PRId32 "@%" PRId64, STR_ARG(x->record->topic),
                                              x->record->partition, x->record->offset)
                               : json_null();
    return json_pack("{s:o,s:o,s:O?,s:o,s:o,s:o}", "event", json_of_text(x->event->id), "type",
                     json_of_text(x->event->type), "assumed", x->assumed, "stored", stored, "routes", explain_routes(x),
                     "sinks", explain_sinks(x));
}

/* ---- what is said ---- */

static void explain_say(const char *name, const json_t *row)
{
    char *why = status_print_text(row, "why");
    const json_t *takes = json_object_get(row, "takes");
    const char *answer = json_is_null(takes) ? "not known" : json_is_true(takes) ? "yes" : "no";
    printf("  %-*s %s%s%s\n", EXPLAIN_NAME, name, answer, *why ? ": " : "", why);
    free(why);
}

static void explain_say_assumed(const json_t *assumed)
{
    const char *name, *between = "assumed, for the event does not say it: ";
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)assumed, name, value)
    {
        printf("%s%s %s", between, name, json_string_value(value));
        between = ", ";
    }
    if (json_is_object(assumed))
        putchar('\n');
}

static void explain_print(const json_t *all)
{
    char name[512];
    const json_t *row;
    size_t i;
    char *id = status_print_text(all, "event"), *type = status_print_text(all, "type");
    printf("%s (%s)%s%s\n", id, type, json_is_string(json_object_get(all, "stored")) ? ", stored as " : "",
           json_text(all, "stored"));
    explain_say_assumed(json_object_get(all, "assumed"));
    printf("routes\n");
    json_array_foreach(json_object_get(all, "routes"), i, row)
    {
        snprintf(name, sizeof name, "%zu %s", i + 1, json_text(row, "topic"));
        explain_say(name, row);
    }
    printf("sinks\n");
    json_array_foreach(json_object_get(all, "sinks"), i, row)
    {
        const char *endpoint = json_text(row, "endpoint");
        snprintf(name, sizeof name, "%s%s%s", json_text(row, "sink"), *endpoint ? "/" : "", endpoint);
        explain_say(name, row);
    }
    free(type);
    free(id);
}

static bool explain_is_taken(const json_t *all)
{
    const json_t *row;
    size_t i;
    json_array_foreach(json_object_get(all, "sinks"), i,
                       row) if (json_is_true(json_object_get(row, "takes"))) return true;
    return false;
}

static int explain_run(struct command_call *call)
{
    const struct explain_flags *f = call->flags;
    struct err e = { "" };
    struct explain x = { .config = call->config, .made = call->made, .id = f->event, .e = &e };
    if (f->event.at && call->word_count)
        return usage_wrong(&command_explain, "the event is a file or --event, not both");
    if (f->connection && !f->event.at)
        return usage_wrong(&command_explain,
                           "--connection goes with --event: what is stored alone can have reached a listener");
    bool ok = f->event.at ? explain_find(&x) : explain_read(&x, call->word_count ? call->words[0] : NULL);
    int code = COMMAND_FAILED;
    if (!ok && *e.text)
        usage_failed("explain", &e);
    if (ok && f->connection) {
        code = explain_listener(&(struct explained){ x.config, x.event, x.record, f->connection }, f->json, &e);
        if (*e.text)
            usage_failed("explain", &e);
    } else if (ok) {
        json_t *all = explain_all(&x);
        if (f->json)
            json_dumpf(all, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
        else
            explain_print(all);
        if (f->json)
            putchar('\n');
        code = explain_is_taken(all) ? COMMAND_DONE : COMMAND_FAILED;
        json_decref(all);
    }
    event_unref(x.event);
    record_free(x.record);
    json_decref(x.assumed);
    return code;
}

const struct command command_explain = {
    .name = "explain",
    .synopsis = "[-c FILE]... [FILE | --event ID [--connection N]] [--json]",
    .doc = "Say which routes, sinks and endpoints take an event, and why the others do not.",
    .notes =
        "FILE, or standard input, is one CloudEvent as JSON (specversion, id and source may be left out). Exit code 0: some\n"
        "sink takes it; 1: none does. It reads the configuration, and asks a running daemon for the endpoints that were made\n"
        "at run time; what became of a stored event: aqueduct status --event ID.\n"
        "With --connection it asks the running daemon about one live listener: does it listen to the topic, do its filter\n"
        "and the claims of its token let the event be, does it stand behind it, and if not yet, what does it wait for. Exit\n"
        "code 0: it got it.\n\n"
        "Examples:\n"
        "  aqueduct explain event.json\n"
        "  aqueduct explain --event 5f1c6c1e-0f4b-4d0a-9c1d-2b7f3e8a6a11 --connection 17\n"
        "  aqueduct explain --event \"$ID\" --json | jq '.sinks[] | select(.takes | not)'\n",
    .flags = explain_flags,
    .size = sizeof(struct explain_flags),
    .max_words = 1,
    .config = true,
    .run = explain_run,
};
