/* SPDX-License-Identifier: MIT */
/* `aqueduct resend`: a stored event once more to one place, while the daemon runs or not. */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include "bridge/broker/broker.h"
#include "bridge/cli/commands.h"
#include "bridge/cli/usage.h"
#include "bridge/delivery/find_event.h"
#include "bridge/delivery/resend.h"
#include "bridge/event/event.h"
#include "bridge/lib/buf.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"

enum {
    RESEND_SAY_MS = 2000,  /* between two lines about the search */
    RESEND_SAY_EACH = 256, /* records between two looks at the clock */
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

static void resend_say(const struct resend_call *s, const char *verb, const struct record *r, const char *to)
{
    const struct event *ev = event_from_record(r, NULL);
    CHECK(ev);
    if (s->flags->json) {
        json_t *j = json_pack("{s:s,s:o,s:o,s:o,s:o,s:i,s:I,s:o,s:o}", "result", verb, "id", json_of_text(ev->id),
                              "type", json_of_text(ev->type), "source", json_of_text(ev->source), "topic",
                              json_of_text(r->topic), "partition", (int)r->partition, "offset", (json_int_t)r->offset,
                              "time", json_of_moment(r->timestamp_ms), "to", json_of_text(str_of(to)));
        json_dumpf(j, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
        json_decref(j);
    } else {
        char *type = str_dup(ev->type), *source = str_dup(ev->source);
        str_make_shown(type);
        str_make_shown(source);
        printf("%s %s from %s (%.*s/%" PRId32 "/%" PRId64 ")%s%s", verb, type, source, STR_ARG(r->topic), r->partition,
               r->offset, to ? " to " : "", to ? to : "");
        free(source);
        free(type);
    }
    putchar('\n');
    event_unref(ev);
}

static bool resend_publish(const struct resend_call *s, const struct record *r, const struct command_place *to)
{
    struct resent m;
    resent_make(&m, r, s->call->prefix, to);
    bool ok = s->call->publish(s->call, m.records, 2, s->e) == OUTCOME_STORED;
    resent_free(&m);
    return ok;
}

static int resend_to(const struct resend_call *c, const struct command_place *to)
{
    const struct resend *s = &c->search;
    char *place = str_dup(c->flags->to);
    int code = COMMAND_FAILED;
    if (s->count == 0)
        fprintf(stderr, "aqueduct resend: there is no event with this id%s%s; looked at %.*s%s%s\n",
                c->flags->source.at ? " and source" : "", find_event_hint(s->id), STR_ARG(buf_str(&s->looked)),
                s->looked.failed ? ", ..." : "", s->since_ms ? ", as far back as --since says" : "");
    else if (s->count > 1) {
        for (size_t i = 0; i < s->count; i++)
            resend_say(c, "found", s->found[i], NULL);
        fputs("aqueduct resend: several events have this id; choose one by --topic or --source\n", stderr);
    } else if (!c->flags->dry_run && !resend_publish(c, s->found[0], to))
        code = usage_failed("resend", c->e);
    else {
        resend_say(c, c->flags->dry_run ? "would resend" : "resent", s->found[0], place);
        code = COMMAND_DONE;
    }
    free(place);
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
    int code = resend_search(s, &e) ? resend_to(&c, &to) : usage_failed("resend", &e);
    resend_free(s);
    return code;
}

static const char resend_notes
    [] = "Finds the event by its id in the topics, the newest million records of each, and sends it to the\n"
         "sink, or the one of its endpoints, whether that had it before or not, whatever its topics and filter\n"
         "are: with the same id, key and headers; a webhook signs it afresh. Where the same event was stored\n"
         "more than once, the newest is sent. A long search says on stderr how far it is; --topic and --since\n"
         "make it short.\n"
         "\n"
         "The place must have run with this broker. The daemon may run or not: what is resent while none runs\n"
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
