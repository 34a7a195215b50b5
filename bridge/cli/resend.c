/* SPDX-License-Identifier: MIT */
/* `aqueduct resend`: a stored event once more to one place, while the daemon runs or not. */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include "bridge/broker/broker.h"
#include "bridge/cli/commands.h"
#include "bridge/cli/find_event.h"
#include "bridge/cli/usage.h"
#include "bridge/event/event.h"
#include "bridge/event/trail.h"
#include "bridge/lib/buf.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"

enum {
    RESEND_FOUND = 20,     /* events of the same id that are told apart */
    RESEND_SAY_MS = 2000,  /* between two lines about the search */
    RESEND_SAY_EACH = 256, /* records between two looks at the clock */
    RESEND_LOOKED = 4096,  /* bytes about where it was searched */
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

struct resend {
    const struct command_call *call;
    const struct resend_flags *flags;
    struct str id;
    int64_t since_ms;
    struct record *found[RESEND_FOUND]; /* of each topic and source the newest */
    size_t count;
    const char *topic; /* that is read now */
    int64_t read, said_ms;
    struct buf looked; /* where it was searched */
    struct err *e;
};

/* ---- the search ---- */

static void resend_say_progress(struct resend *s)
{
    int64_t now;
    if (++s->read % RESEND_SAY_EACH || (now = clock_mono_ms()) - s->said_ms < RESEND_SAY_MS)
        return;
    s->said_ms = now;
    fprintf(stderr, "%s: %" PRId64 " records read\n", s->topic, s->read);
}

static bool resend_is_source(const struct record *r, struct str source)
{
    const struct event *ev = event_from_record(r, NULL);
    bool is = ev && (!source.at || str_eq(ev->source, source));
    event_unref(ev);
    return is;
}

/* Of the same topic and source? */
static bool resend_is_repeat(const struct record *a, const struct record *b)
{
    const struct event *ev = event_from_record(a, NULL);
    bool is = ev && str_eq(a->topic, b->topic) && resend_is_source(b, ev->source);
    event_unref(ev);
    return is;
}

static void resend_keep(struct resend *s, const struct record *r)
{
    size_t i = 0;
    while (i < s->count && !resend_is_repeat(s->found[i], r))
        i++;
    if (i == RESEND_FOUND || (i < s->count && s->found[i]->timestamp_ms > r->timestamp_ms))
        return;
    if (i < s->count)
        record_free(s->found[i]);
    s->found[i] = record_ref((struct record *)(uintptr_t)r);
    s->count += i == s->count;
}

static bool resend_look_at(void *ctx, const struct record *r)
{
    struct resend *s = ctx;
    resend_say_progress(s);
    if (find_event_is(r, s->id) && resend_is_source(r, s->flags->source))
        resend_keep(s, r);
    return true;
}

static bool resend_topic(void *ctx, const char *topic)
{
    struct resend *s = ctx;
    const struct look_options o = {
        .topic = topic, .since_ms = s->since_ms, .most = FIND_EVENT_SCAN, .may_lack = !s->flags->topic.at
    };
    s->topic = topic;
    s->read = 0;
    bool ok = look_once(&s->call->config->broker, &o, resend_look_at, s, s->e);
    buf_printf(&s->looked, "%s%s (%" PRId64 "%s)", s->looked.n ? ", " : "", topic, s->read,
               s->read >= FIND_EVENT_SCAN ? " newest records"
               : s->read == 1             ? " record"
                                          : " records");
    return ok;
}

static bool resend_search(struct resend *s)
{
    const struct config *c = s->call->config;
    s->said_ms = clock_mono_ms();
    if (!s->flags->topic.at)
        return find_event_topics(c, resend_topic, s);
    char *topic = str_dup(s->flags->topic);
    const char *near = find_event_nearest(c, topic);
    bool ok = find_event_is_own(c, topic) ? err_set(s->e, "--topic %s: is the bridge's own", topic)
                                          : resend_topic(s, topic);
    struct err why = *s->e;
    if (!ok && near)
        err_set(s->e, "%s (did you mean %s?)", why.text, near);
    free(topic);
    return ok;
}

/* ---- the event ---- */

static void resend_say(const struct resend *s, const char *verb, const struct record *r, const char *to)
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

/* The event for the sink, and, on the dead-letter topic, that the sink got it once more. */
static bool resend_publish(const struct resend *s, const struct record *r, const struct command_place *to)
{
    char *redrive = topic_name(s->call->prefix, TOPIC_REDRIVE, to->sink),
         *dead = topic_name(s->call->prefix, TOPIC_DEAD_LETTER, NULL);
    struct moved event, note;
    trail_move(&event, r, redrive, (const char *const[]){ TRAIL_ENDPOINT, to->endpoint, TRAIL_STATE, "resent", NULL });
    trail_resent(&note, r, dead, to->sink, to->endpoint);
    const struct record records[] = { event.record, note.record };
    bool ok = s->call->publish(s->call, records, 2, s->e) == OUTCOME_STORED;
    trail_free(&note);
    trail_free(&event);
    free(dead);
    free(redrive);
    return ok;
}

static int resend_to(const struct resend *s, const struct command_place *to)
{
    char *place = str_dup(s->flags->to);
    int code = COMMAND_FAILED;
    if (s->count == 0)
        fprintf(stderr, "aqueduct resend: there is no event with this id%s; looked at %.*s%s%s\n",
                s->flags->source.at ? " and source" : "", STR_ARG(buf_str(&s->looked)), s->looked.failed ? ", ..." : "",
                s->since_ms ? ", as far back as --since says" : "");
    else if (s->count > 1) {
        for (size_t i = 0; i < s->count; i++)
            resend_say(s, "found", s->found[i], NULL);
        fputs("aqueduct resend: several events have this id; choose one by --topic or --source\n", stderr);
    } else if (!s->flags->dry_run && !resend_publish(s, s->found[0], to))
        code = usage_failed("resend", s->e);
    else {
        resend_say(s, s->flags->dry_run ? "would resend" : "resent", s->found[0], place);
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
    struct resend s = { .call = call, .flags = flags, .id = str_of(call->words[0]), .e = &e };
    if (!flags->to.at)
        return usage_wrong(&command_resend, "--to says who gets it: SINK or SINK/ENDPOINT");
    if (flags->since.at && !clock_since(flags->since, &s.since_ms))
        return usage_wrong(&command_resend, "--since is neither a moment nor a time ago");
    if (!call->place(call, flags->to, &to, &e)) {
        usage_failed("resend", &e);
        return COMMAND_USAGE;
    }
    s.looked = buf_new(RESEND_LOOKED);
    int code = resend_search(&s) ? resend_to(&s, &to) : usage_failed("resend", &e);
    for (size_t i = 0; i < s.count; i++)
        record_free(s.found[i]);
    buf_free(&s.looked);
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
         "  aqueduct resend 4f1c2d --to crm\n"
         "  aqueduct resend 4f1c2d --to partners/billing --topic ai.events --since 2d\n"
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
