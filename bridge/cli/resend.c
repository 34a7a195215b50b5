/* SPDX-License-Identifier: MIT */
/* `aqueduct resend`: a stored event once more to one place: by the running daemon, or without one. */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include "bridge/admin/event_view.h"
#include "bridge/cli/commands.h"
#include "bridge/cli/usage.h"
#include "bridge/delivery/resend.h"
#include "bridge/lib/buf.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/query.h"

enum {
    RESEND_SAY_MS = 2000,  /* between two lines about the search */
    RESEND_SAY_EACH = 256, /* records between two looks at the clock */
    RESEND_PATH = 64 << 10,
    RESEND_WAIT_MS = 90000, /* for a search and for a broker that is slow */
    RESEND_TOO_LONG = 504,  /* the daemon's answer to a search that it gave up */
};

struct resend_flags {
    struct str to, topic, source, since;
    bool json, dry_run;
};

static const struct flag resend_flags[] = {
    FLAG(struct resend_flags, to, .name = "--to", .value = "PLACE", .doc = "the SINK or SINK/ENDPOINT that gets it"),
    FLAG(struct resend_flags, topic, .name = "--topic", .value = "NAME",
         .doc = "look for it in this topic alone (else in all that are configured)"),
    FLAG(struct resend_flags, source, .name = "--source", .value = "TEXT",
         .doc = "the event's source, where several events have the id"),
    FLAG(struct resend_flags, since, .name = "--since", .value = "TIME",
         .doc = "stored at or after: 2026-11-20T10:00:00Z, or a time ago: 90s 30m 2h 7d"),
    FLAG(struct resend_flags, dry_run, .name = "--dry-run", .doc = "only find it, and say where it would go"),
    FLAG(struct resend_flags, json, .name = "--json", .doc = "one JSON object"),
    { 0 },
};

struct resend_call {
    const struct command_call *call;
    const struct resend_flags *flags;
    struct resend search;
    int64_t said_ms;
    struct err *e;
};

/* ---- the search ---- */

static bool resend_say_progress(void *ctx, const char *topic, int64_t read)
{
    struct resend_call *s = ctx;
    int64_t now;
    if (read % RESEND_SAY_EACH || (now = clock_mono_ms()) - s->said_ms < RESEND_SAY_MS)
        return true;
    s->said_ms = now;
    fprintf(stderr, "%s: %" PRId64 " records read\n", topic, read);
    return true;
}

/* ---- the event ---- */

/* Of the JSON that the API shows of it (admin/event_view.h). */
static void resend_say(const struct resend_call *c, const char *verb, const json_t *ev, const char *to)
{
    json_t *place = to ? json_of_text(str_of(to)) : json_null();
    if (c->flags->json) {
        json_t *j = json_pack("{s:s,s:O,s:O,s:O,s:O,s:O,s:O,s:O,s:O}", "result", verb, "id", json_object_get(ev, "id"),
                              "type", json_object_get(ev, "type"), "source", json_object_get(ev, "source"), "topic",
                              json_object_get(ev, "topic"), "partition", json_object_get(ev, "partition"), "offset",
                              json_object_get(ev, "offset"), "time", json_object_get(ev, "stored"), "to", place);
        json_dumpf(j, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
        json_decref(j);
    } else {
        char *type = str_dup(str_of(json_text(ev, "type"))), *source = str_dup(str_of(json_text(ev, "source")));
        str_make_shown(type);
        str_make_shown(source);
        printf("%s %s from %s (%s/%" JSON_INTEGER_FORMAT "@%" JSON_INTEGER_FORMAT ")%s%s", verb, type, source,
               json_text(ev, "topic"), json_integer_value(json_object_get(ev, "partition")),
               json_integer_value(json_object_get(ev, "offset")), to ? " to " : "", to ? to : "");
        free(source);
        free(type);
    }
    json_decref(place);
    putchar('\n');
}

static int resend_say_several(const struct resend_call *c, const json_t *events)
{
    const json_t *ev;
    size_t i;
    json_array_foreach(events, i, ev)
    {
        resend_say(c, "found", ev, NULL);
    }
    fputs("aqueduct resend: several events have this id; choose one by --topic or --source\n", stderr);
    return COMMAND_FAILED;
}

static int resend_say_done(const struct resend_call *c, const json_t *ev)
{
    char *place = str_dup(c->flags->to);
    resend_say(c, c->flags->dry_run ? "would resend" : "resent", ev, place);
    free(place);
    return COMMAND_DONE;
}

/* ---- by the daemon ---- */

static char *resend_path(const struct resend_call *c, bool look)
{
    const struct resend *s = &c->search;
    struct buf path = buf_new(RESEND_PATH);
    char since[CLOCK_TEXT];
    buf_add_c(&path, "/api/v1/events/");
    query_add_escaped(&path, s->id);
    clock_text(s->since_ms, since);
    if (look) {
        query_add(&path, "source", s->source);
        query_add(&path, "topic", s->topic);
        query_add(&path, "since", s->since_ms ? str_of(since) : STR_ABSENT);
    } else
        buf_add_c(&path, "/resend");
    char *text = str_dup(buf_str(&path));
    buf_free(&path);
    return text;
}

static json_t *resend_body(const struct resend_call *c, const struct command_place *to)
{
    const struct resend *s = &c->search;
    json_t *body = json_pack("{s:s}", "sink", to->sink);
    if (to->endpoint)
        json_object_set_new(body, "endpoint", json_string(to->endpoint));
    if (s->source.at)
        json_object_set_new(body, "source", json_of_text(s->source));
    if (s->topic.at)
        json_object_set_new(body, "topic", json_of_text(s->topic));
    if (s->since_ms)
        json_object_set_new(body, "since", json_of_moment(s->since_ms));
    return body;
}

static enum command_asked resend_ask(const struct resend_call *c, const struct command_place *to, bool look,
                                     struct command_question *q)
{
    char *path = resend_path(c, look);
    json_t *body = look ? NULL : resend_body(c, to);
    *q = (struct command_question){
        .method = look ? "GET" : "POST", .path = path, .body = body, .wait_ms = RESEND_WAIT_MS
    };
    enum command_asked asked = c->call->ask(c->call, q, c->e);
    json_decref(body);
    free(path);
    return asked;
}

/* The exit code; -1: there is no daemon to ask, or its search took too long for an answer: it is done here. */
static int resend_by_daemon(const struct resend_call *c, const struct command_place *to)
{
    struct command_question q;
    bool look = c->flags->dry_run;
    int code = COMMAND_FAILED;
    enum command_asked asked = c->call->ask ? resend_ask(c, to, look, &q) : ASKED_NOBODY;
    if (asked == ASKED_REFUSED && q.status == 409 && !look) { /* several? */
        struct err why = *c->e;
        json_decref(q.answer);
        look = resend_ask(c, to, true, &q) == ASKED_DONE && json_array_size(json_object_get(q.answer, "items")) > 1;
        asked = look ? ASKED_DONE : ASKED_REFUSED;
        *c->e = why;
    }
    const json_t *events = look && asked == ASKED_DONE ? json_object_get(q.answer, "items") : NULL;
    if (asked == ASKED_NOBODY || (asked == ASKED_REFUSED && q.status == RESEND_TOO_LONG))
        code = -1;
    else if (asked != ASKED_DONE)
        usage_failed("resend", c->e);
    else if (json_array_size(events) > 1)
        code = resend_say_several(c, events);
    else
        code = resend_say_done(c, look ? json_array_get(events, 0) : q.answer);
    if (c->call->ask)
        json_decref(q.answer);
    return code;
}

/* ---- without it ---- */

static bool resend_publish(const struct resend_call *s, const struct record *r, const struct command_place *to)
{
    struct resent m;
    resent_make(&m, r, s->call->prefix, to);
    bool ok = s->call->publish(s->call, m.records, 2, s->e) == OUTCOME_STORED;
    resent_free(&m);
    return ok;
}

static int resend_found(const struct resend_call *c, const struct command_place *to)
{
    const struct resend *s = &c->search;
    json_t *events = json_array();
    int code;
    for (size_t i = 0; i < s->count; i++)
        json_array_append_new(events, event_view_json(s->found[i], 0));
    if (s->count == 0) {
        resend_none(s, c->e);
        code = usage_failed("resend", c->e);
    } else if (s->count > 1)
        code = resend_say_several(c, events);
    else if (!c->flags->dry_run && !resend_publish(c, s->found[0], to))
        code = usage_failed("resend", c->e);
    else
        code = resend_say_done(c, json_array_get(events, 0));
    json_decref(events);
    return code;
}

static int resend_directly(struct resend_call *c, const struct command_place *to)
{
    int code = resend_search(&c->search, c->e) ? resend_found(c, to) : usage_failed("resend", c->e);
    resend_free(&c->search);
    return code;
}

/* ---- the command ---- */

static int resend_run(struct command_call *call)
{
    const struct resend_flags *flags = call->flags;
    struct err e = { "" };
    struct command_place to;
    struct resend_call c = { .call = call, .flags = flags, .e = &e, .said_ms = clock_mono_ms() };
    struct resend *s = &c.search;
    *s = (struct resend){ .config = call->config,
                          .id = str_of(call->words[0]),
                          .source = flags->source,
                          .topic = flags->topic,
                          .go_on = resend_say_progress,
                          .ctx = &c };
    if (!flags->to.at)
        return usage_wrong(&command_resend, "--to says who gets it: SINK or SINK/ENDPOINT");
    if (flags->since.at && !clock_since(flags->since, &s->since_ms))
        return usage_wrong(&command_resend, "--since is neither a moment nor a time ago");
    if (!call->place(call, flags->to, &to, &e)) {
        usage_failed("resend", &e);
        return COMMAND_USAGE;
    }
    int code = resend_by_daemon(&c, &to);
    return code >= 0 ? code : resend_directly(&c, &to);
}

static const char resend_notes
    [] = "Finds the event by its id in the topics, the newest million records of each, and sends it to the\n"
         "sink, or the one of its endpoints, whether that had it before or not, whatever its topics and filter\n"
         "are: with the same id, key and headers; a webhook signs it afresh. Where the same event was stored\n"
         "more than once, the newest is sent. A long search says on stderr how far it is; --topic and --since\n"
         "make it short.\n"
         "\n"
         "The place must have run with this broker. The running daemon does it; what is resent while none runs\n"
         "is delivered when it starts. What fails again is tried again, and may become a dead letter, as any\n"
         "event. aqueduct status --event ID says what became of it. What is dead: aqueduct dead redrive.\n"
         "\n"
         "Examples:\n"
         "  aqueduct resend 5f1c6c1e-0f4b-4d0a-9c1d-2b7f3e8a6a11 --to crm\n"
         "  aqueduct resend \"$ID\" --to partners/billing --topic ai.events --since 2d\n"
         "\n"
         "Keys of --json: result (resent, would resend; found, one line each, when several have the id), id,\n"
         "type, source, topic, partition, offset, time, to.\n"
         "Exit codes: 0 done; 1 not found, several found, or not stored; 2 wrong usage, or no such place.\n";

const struct command command_resend = {
    .name = "resend",
    .synopsis = "[-c FILE]... ID --to SINK[/ENDPOINT] [--topic NAME] [--since TIME]",
    .doc = "Send a stored event once more to one sink or endpoint.",
    .notes = resend_notes,
    .flags = resend_flags,
    .size = sizeof(struct resend_flags),
    .min_words = 1,
    .max_words = 1,
    .config = true,
    .sinks = "",
    .run = resend_run,
};
