/* SPDX-License-Identifier: MIT */
/* An account as text for a person. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "bridge/cli/status_print.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"

enum {
    FEW = 4,
    TOPIC_COLUMN = 32,
    UNSERVED_LINES = 20,
    SECOND_MS = 1000,
    MINUTE_MS = 60000,
    HOUR_MS = 3600000,
    DAY_MS = 86400000
};

/* ---- values ---- */

int64_t status_print_number(const json_t *j, const char *key)
{
    const json_t *value = json_object_get(j, key);
    return json_is_integer(value) ? json_integer_value(value) : -1;
}

char *status_print_text(const json_t *j, const char *key)
{
    char *text = str_dup(str_of(json_text(j, key)));
    str_make_shown(text);
    return text;
}

/* "3m", "2d"; of two moments. */
static void status_print_span(int64_t ms, char out[24])
{
    ms = ms < 0 ? 0 : ms;
    if (ms < MINUTE_MS)
        snprintf(out, 24, "%" PRId64 "s", ms / SECOND_MS);
    else if (ms < HOUR_MS)
        snprintf(out, 24, "%" PRId64 "m", ms / MINUTE_MS);
    else if (ms < DAY_MS)
        snprintf(out, 24, "%" PRId64 "h", ms / HOUR_MS);
    else
        snprintf(out, 24, "%" PRId64 "d", ms / DAY_MS);
}

bool status_print_when(const json_t *j, const char *key, bool to_come, char out[24])
{
    const char *text = json_string_value(json_object_get(j, key));
    int64_t ms;
    if (!text || !clock_parse(str_of(text), &ms))
        return false;
    status_print_span(to_come ? ms - clock_wall_ms() : clock_wall_ms() - ms, out);
    return true;
}

/* ---- topics ---- */

static int64_t status_print_pending(const json_t *topics, bool *known)
{
    int64_t sum = 0;
    size_t i;
    const json_t *p;
    *known = true;
    json_array_foreach(topics, i, p)
    {
        int64_t pending = status_print_number(p, "pending");
        sum += pending > 0 ? pending : 0;
        *known = *known && pending >= 0;
    }
    return sum;
}

static size_t status_print_partitions(const json_t *topics, const char *topic)
{
    size_t count = 0, i;
    const json_t *p;
    json_array_foreach(topics, i, p)
    {
        const char *name = json_string_value(json_object_get(p, "topic"));
        count += name && strcmp(name, topic) == 0;
    }
    return count;
}

static void status_print_place(const json_t *p, const char *key, FILE *out)
{
    int64_t n = status_print_number(p, key);
    if (n < 0)
        fprintf(out, " %10s", "-");
    else
        fprintf(out, " %10" PRId64, n);
}

static int status_print_width(const json_t *topics)
{
    size_t i, width = TOPIC_COLUMN;
    const json_t *p;
    json_array_foreach(topics, i, p)
    {
        size_t n = strlen(json_text(p, "topic"));
        width = n > width ? n : width;
    }
    return (int)width;
}

/* What is not pending, since it is not there any more: it is counted and logged when the sink comes to it. */
static void status_print_gone(const json_t *topics, FILE *out)
{
    size_t i;
    const json_t *p;
    json_array_foreach(topics, i, p)
    {
        int64_t position = status_print_number(p, "position"), start = status_print_number(p, "start"),
                beyond = status_print_number(p, "finished_beyond"), end = status_print_number(p, "end");
        char *topic = status_print_text(p, "topic");
        if (position >= 0 && start > position && end >= start)
            fprintf(out,
                    "  %s%" PRId64 " records of %s/%" PRId64
                    " were removed before it had finished them (offsets %" PRId64 " to %" PRId64 ")\n",
                    beyond > 0 ? "up to " : "", start - position, topic, status_print_number(p, "partition"), position,
                    start - 1);
        free(topic);
    }
}

/* The partitions; of those that are finished, not each one of many. */
static void status_print_topics(const json_t *topics, FILE *out)
{
    size_t i, left_out = 0;
    const json_t *p;
    bool headed = false;
    int width = status_print_width(topics);
    json_array_foreach(topics, i, p)
    {
        char *topic = status_print_text(p, "topic");
        bool finished = status_print_number(p, "pending") == 0;
        bool empty = status_print_number(p, "end") == status_print_number(p, "start");
        if (finished && status_print_partitions(topics, topic) > FEW)
            left_out++;
        else if (!finished || !empty) {
            if (!headed)
                fprintf(out, "  %-*s %4s %10s %10s %10s\n", width, "TOPIC", "PART", "POSITION", "END", "PENDING");
            headed = true;
            fprintf(out, "  %-*s %4" PRId64, width, topic, status_print_number(p, "partition"));
            status_print_place(p, "position", out);
            status_print_place(p, "end", out);
            status_print_place(p, "pending", out);
            fputc('\n', out);
        }
        free(topic);
    }
    if (left_out && headed)
        fprintf(out, "  (%zu more partition%s with nothing pending)\n", left_out, left_out == 1 ? "" : "s");
    status_print_gone(topics, out);
}

/* ---- destinations ---- */

static void status_print_failing(const json_t *destination, const char *indent, FILE *out)
{
    const json_t *failing = json_object_get(destination, "failing");
    char ago[24] = "?";
    if (!json_is_object(failing))
        return;
    char *since = status_print_text(failing, "since"), *reason = status_print_text(failing, "reason");
    int64_t status = status_print_number(failing, "status");
    status_print_when(failing, "since", false, ago);
    fprintf(out, "%sfailing since %s (%s): ", indent, since, ago);
    if (status > 0 && !reason[0])
        fprintf(out, "%" PRId64, status);
    fprintf(out, "%s\n", reason);
    free(reason);
    free(since);
}

static bool status_print_is_paused(const json_t *destination)
{
    return json_is_true(json_object_get(destination, "paused"));
}

static bool status_print_is_open(const json_t *destination)
{
    const char *state = json_string_value(json_object_get(json_object_get(destination, "circuit"), "state"));
    return state && strcmp(state, "closed") != 0;
}

static void status_print_circuit(const json_t *destination, const char *indent, FILE *out)
{
    const json_t *circuit = json_object_get(destination, "circuit");
    char ago[24] = "?", probe[24];
    if (!status_print_is_open(destination))
        return;
    status_print_when(circuit, "since", false, ago);
    fprintf(out, "%scircuit open for %s: ", indent, ago);
    if (status_print_when(circuit, "next_probe", true, probe))
        fprintf(out, "next probe in %s\n", probe);
    else
        fputs("a probe is in flight\n", out);
}

static void status_print_held(const json_t *destination, const char *indent, FILE *out)
{
    const json_t *held = json_object_get(destination, "held");
    char ago[24] = "?", next[24];
    if (!json_is_object(held))
        return;
    char *reason = status_print_text(held, "reason");
    status_print_when(held, "since", false, ago);
    fprintf(out, "%sgets nothing for %s: %s", indent, ago, reason);
    if (status_print_when(held, "next", true, next))
        fprintf(out, "; it is asked again in %s", next);
    fputc('\n', out);
    free(reason);
}

static void status_print_memory(const json_t *d, const char *indent, FILE *out)
{
    char oldest[24], due[24];
    int64_t pending = status_print_number(d, "pending"), flying = status_print_number(d, "in_flight"),
            waiting = status_print_number(d, "waiting"), others = pending - flying - waiting;
    fprintf(out, "%s%" PRId64 " in memory", indent, pending);
    if (status_print_when(d, "oldest", false, oldest))
        fprintf(out, " (the oldest %s old)", oldest);
    fprintf(out, ": %" PRId64 " in flight, %" PRId64 " waiting", flying, waiting);
    if (status_print_when(d, "next_due", true, due))
        fprintf(out, ", the next attempt in %s", due);
    if (others > 0)
        fprintf(out, ", %" PRId64 " %s", others,
                status_print_is_paused(d)                    ? "held while it is paused"
                : json_is_object(json_object_get(d, "held")) ? "held until it gets them"
                : status_print_is_open(d)                    ? "held while its circuit is open"
                                                             : "ready or behind those");
    fputc('\n', out);
}

/* What was done since the start; what did not happen is not said, unless nothing did. `came`: what "delivered" means there. */
static void status_print_totals(const json_t *d, const char *came, const char *indent, FILE *out)
{
    const char *const rows[][2] = { { "delivered", came },
                                    { "dead", "dead" },
                                    { "filtered", "filtered out" },
                                    { "moved", "moved to waiting topics" } };
    bool any = false;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t n = status_print_number(d, rows[i][0]);
        if (n > 0) {
            fprintf(out, "%s%s%" PRId64 " %s", any ? "" : indent, any ? ", " : "since the start: ", n, rows[i][1]);
            any = true;
        }
    }
    if (any)
        fputc('\n', out);
    else if (json_is_integer(json_object_get(d, "delivered")) && json_is_string(json_object_get(d, "endpoint")))
        fprintf(out, "%snothing since the start\n", indent); /* its name has a line of its own */
}

static void status_print_destination(const json_t *d, const char *came, FILE *out)
{
    char *endpoint = status_print_text(d, "endpoint");
    const char *indent = endpoint[0] ? "    " : "  ";
    if (endpoint[0])
        fprintf(out, "  endpoint %s:\n", endpoint);
    free(endpoint);
    if (status_print_is_paused(d))
        fprintf(out, "%spaused: what comes for it waits\n", indent);
    status_print_held(d, indent, out);
    status_print_failing(d, indent, out);
    status_print_circuit(d, indent, out);
    if (status_print_number(d, "pending") > 0)
        status_print_memory(d, indent, out);
    status_print_totals(d, came, indent, out);
}

/* ---- listeners ---- */

static void status_print_listeners(const json_t *listeners, FILE *out)
{
    const json_t *l;
    size_t i;
    fprintf(out, json_array_size(listeners) ? "  listeners:\n" : "  nobody listens\n");
    json_array_foreach(listeners, i, l)
    {
        char since[24] = "";
        char *user = status_print_text(l, "user"), *address = status_print_text(l, "address"),
             *sub = status_print_text(l, "sub"), *state = status_print_text(l, "state");
        json_t *topics = json_object_get(l, "topics"), *filter = json_object_get(l, "filter");
        char *names = json_is_array(topics) ? json_dumps(topics, JSON_COMPACT) : NULL,
             *conditions = json_is_null(filter) ? NULL : json_dumps(filter, JSON_COMPACT | JSON_ENSURE_ASCII);
        fprintf(out, "    %lld %s %s%s%s%s%s%s: %s%s%s%s%s, %s\n", (long long)status_print_number(l, "connection"),
                json_text(l, "kind"), address, *user ? " " : "", user,
                status_print_when(l, "since", false, since) ? " for " : "", since, "", *sub ? sub : "", *sub ? " " : "",
                names ? names : "all topics", conditions ? " " : "", conditions ? conditions : "", state);
        free(names);
        free(conditions);
        free(user);
        free(address);
        free(sub);
        free(state);
    }
}

/* ---- events ---- */

static void status_print_event(const json_t *ev, FILE *out)
{
    char *id = status_print_text(ev, "id"), *state = status_print_text(ev, "state"),
         *reason = status_print_text(ev, "reason"), *endpoint = status_print_text(ev, "endpoint");
    char age[24] = "-", due[24];
    int64_t status = status_print_number(ev, "status");
    status_print_when(ev, "time", false, age);
    for (char *c = state; *c; c++)
        *c = *c == '_' ? ' ' : *c;
    fprintf(out, "    %-40s %5s old  %s", id[0] ? id : "(no event)", age, state);
    if (endpoint[0])
        fprintf(out, " for %s", endpoint);
    if (status_print_when(ev, "due", true, due))
        fprintf(out, ", next attempt in %s", due);
    if (status_print_number(ev, "attempts") > 0)
        fprintf(out, ", attempts: %" PRId64, status_print_number(ev, "attempts"));
    if (status > 0)
        fprintf(out, ", last status %" PRId64, status);
    fprintf(out, "%s%s\n", reason[0] ? ": " : "", reason);
    free(endpoint);
    free(reason);
    free(state);
    free(id);
}

/* ---- sinks ---- */

static void status_print_waiting(const json_t *sink, int64_t waiting, FILE *out)
{
    char oldest[24], due[24];
    fprintf(out, ", %" PRId64 " of them in waiting topics", waiting);
    if (status_print_when(sink, "waiting_oldest", false, oldest))
        fprintf(out, " (the oldest %s old)", oldest);
    if (status_print_when(sink, "waiting_next_due", true, due))
        fprintf(out, ", the next attempt in %s", due);
}

static int64_t status_print_in_memory(const json_t *sink)
{
    int64_t sum = 0;
    size_t i;
    const json_t *d;
    json_array_foreach(json_object_get(sink, "destinations"), i, d) sum += status_print_number(d, "pending");
    return sum;
}

/* Names, once each: "  topics: ai.chats, ai.events". */
static void status_print_names(const char *what, const json_t *list, const char *key, FILE *out)
{
    size_t i;
    const json_t *one;
    const char *between = what;
    json_array_foreach(list, i, one)
    {
        char *name = status_print_text(one, key);
        if (name[0])
            fprintf(out, "%s%s", between, name);
        between = name[0] ? ", " : between;
        free(name);
    }
    if (between != what)
        fputc('\n', out);
}

/* Of one that gives no account: what the configuration says, and why there is no more. */
static void status_print_unknown(const json_t *sink, FILE *out)
{
    char *name = status_print_text(sink, "sink"), *type = status_print_text(sink, "type"),
         *why = status_print_text(sink, "no_account");
    int64_t waiting = status_print_number(sink, "waiting");
    fprintf(out, "\n%s (%s): what is pending is not known now: %s\n", name, type, why);
    if (waiting > 0)
        fprintf(out, "  %" PRId64 " in waiting topics\n", waiting);
    status_print_names("  topics: ", json_object_get(sink, "topics"), "topic", out);
    status_print_names("  endpoints: ", json_object_get(sink, "destinations"), "endpoint", out);
    free(why);
    free(type);
    free(name);
}

/* A running daemon that knows of no topic has not heard of the broker; in a log, there is none. */
static void status_print_head(const json_t *sink, bool daemon, FILE *out)
{
    char *name = status_print_text(sink, "sink"), *type = status_print_text(sink, "type");
    bool known;
    int64_t pending = status_print_pending(json_object_get(sink, "topics"), &known),
            waiting = status_print_number(sink, "waiting");
    waiting = waiting > 0 ? waiting : 0;
    known = known && !(daemon && json_array_size(json_object_get(sink, "topics")) == 0);
    int64_t all = pending + waiting,
            in_memory = status_print_in_memory(sink); /* also what was handed over by the waiter */
    all = all > in_memory ? all : in_memory;
    int64_t blocked = status_print_number(sink, "blocked"), keys = status_print_number(sink, "blocked_keys");
    fprintf(out, "\n%s (%s): ", name, type);
    if (json_is_true(json_object_get(sink, "live")))
        fputs("shows what comes to who listens\n", out);
    else if (all == 0)
        fputs(known ? "nothing pending\n" : "what is pending is not known now\n", out);
    else {
        fprintf(out, "%s%" PRId64 " pending", known ? "" : "at least ", all);
        if (waiting)
            status_print_waiting(sink, waiting, out);
        if (blocked > 0)
            fprintf(out, ", %" PRId64 " behind %" PRId64 " blocked key%s", blocked, keys, keys == 1 ? "" : "s");
        fputc('\n', out);
    }
    free(type);
    free(name);
}

/* Has it something to say that is not among many others' totals? */
static bool status_print_matters(const json_t *d)
{
    return status_print_is_paused(d) || json_is_object(json_object_get(d, "held"))
           || json_is_object(json_object_get(d, "failing")) || status_print_number(d, "pending") > 0;
}

static void status_print_destinations(const json_t *all, const char *came, FILE *out)
{
    size_t i, left_out = 0;
    const json_t *d;
    json_array_foreach(all, i, d)
    {
        if (i > 0 && json_array_size(all) > FEW + 1 && !status_print_matters(d))
            left_out++;
        else
            status_print_destination(d, came, out);
    }
    if (left_out)
        fprintf(out, "  %zu more endpoint%s that ha%s nothing pending and do%s not fail\n", left_out,
                left_out == 1 ? "" : "s", left_out == 1 ? "s" : "ve", left_out == 1 ? "es" : "");
}

/* Nobody says that what was put on a stream arrived, and a letter in the file is not delivered. */
static const char *status_print_came(const json_t *sink)
{
    bool files = strcmp(json_text(sink, "type"), "dead_letter") == 0;
    return json_is_true(json_object_get(sink, "live")) ? "put on the stream" : files ? "filed" : "delivered";
}

static void status_print_sink(const json_t *sink, bool daemon, FILE *out)
{
    size_t i;
    const json_t *d, *events = json_object_get(sink, "events");
    if (json_is_string(json_object_get(sink, "no_account"))) {
        status_print_unknown(sink, out);
    } else {
        status_print_head(sink, daemon, out);
        status_print_destinations(json_object_get(sink, "destinations"), status_print_came(sink), out);
        if (!json_is_true(json_object_get(sink, "live")))
            status_print_topics(json_object_get(sink, "topics"), out);
    }
    if (json_is_array(json_object_get(sink, "listeners")))
        status_print_listeners(json_object_get(sink, "listeners"), out);
    if (json_is_array(events))
        fprintf(out, json_array_size(events) ? "  events, oldest first:\n" : "  no such events\n");
    json_array_foreach(events, i, d) status_print_event(d, out);
}

/* "202 17, 401 2" */
static void status_print_counts(const char *before, const json_t *counts, FILE *out)
{
    const char *name;
    json_t *value;
    const char *between = before;
    json_object_foreach((json_t *)(uintptr_t)counts, name, value)
    {
        fprintf(out, "%s%s %" JSON_INTEGER_FORMAT, between, name, json_integer_value(value));
        between = ", ";
    }
}

static void status_print_source(const json_t *source, FILE *out)
{
    char *name = status_print_text(source, "source"), *type = status_print_text(source, "type"),
         *listen = status_print_text(source, "listen");
    size_t i;
    const json_t *path;
    fprintf(out, "\nsource %s (%s%s%s)", name, type, listen[0] ? ", " : "", listen);
    if (json_is_integer(json_object_get(source, "stored")))
        fprintf(out, ": %" PRId64 " stored, %" PRId64 " repeats", status_print_number(source, "stored"),
                status_print_number(source, "repeats"));
    status_print_counts("; refused: ", json_object_get(source, "refused"), out);
    fputc('\n', out);
    json_array_foreach(json_object_get(source, "paths"), i, path)
    {
        char *at = status_print_text(path, "path"), *scheme = status_print_text(path, "scheme");
        fprintf(out, "  %s (%s)", at, scheme);
        status_print_counts(": answered ", json_object_get(path, "answers"), out);
        status_print_counts("; not verified: ", json_object_get(path, "unverified"), out);
        fputc('\n', out);
        free(at);
        free(scheme);
    }
    free(name);
    free(type);
    free(listen);
}

static void status_print_unserved(const json_t *unserved, FILE *out)
{
    size_t i;
    const json_t *one;
    if (json_array_size(unserved))
        fputs("\nNobody serves any more (aqueduct orphans list):\n", out);
    json_array_foreach(unserved, i, one)
    {
        char *sink = status_print_text(one, "sink"), *topic = status_print_text(one, "topic");
        int64_t records = status_print_number(one, "records");
        if (i < UNSERVED_LINES && topic[0])
            fprintf(out, "  %s: %" PRId64 " in topic %s\n", sink, records, topic);
        else if (i < UNSERVED_LINES)
            fprintf(out, "  %s: %" PRId64 " in waiting topics\n", sink, records);
        free(topic);
        free(sink);
    }
    if (i > UNSERVED_LINES)
        fprintf(out, "  and %zu more\n", i - UNSERVED_LINES);
}

void status_print(const json_t *account, FILE *out)
{
    const char *from = json_string_value(json_object_get(account, "from"));
    char *broker = status_print_text(account, "broker"), *why = status_print_text(account, "not_ready");
    size_t i;
    const json_t *sink;
    if (from && strcmp(from, "log") == 0)
        fprintf(out, "%s. What the %s itself says of each sink:\n",
                strcmp(why, "no daemon answers") == 0 ? "No daemon answers" : why,
                strcmp(broker, "kafka") == 0 ? "cluster" : "log");
    else if (json_is_true(json_object_get(account, "ready")))
        fprintf(out, "The daemon runs and is ready (broker: %s).\n", broker);
    else
        fprintf(out, "The daemon runs but is not ready (broker: %s): %s\n", broker, why);
    json_array_foreach(json_object_get(account, "sources"), i, sink) status_print_source(sink, out);
    json_array_foreach(json_object_get(account, "sinks"), i, sink)
        status_print_sink(sink, !from || strcmp(from, "log") != 0, out);
    status_print_unserved(json_object_get(account, "unserved"), out);
    free(why);
    free(broker);
}
