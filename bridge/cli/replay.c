/* SPDX-License-Identifier: MIT */
/* `aqueduct replay`: a topic's past once more for one place, while the daemon runs or not. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bridge/cli/commands.h"
#include "bridge/cli/conditions.h"
#include "bridge/cli/replay_work.h"
#include "bridge/cli/usage.h"
#include "bridge/delivery/find_event.h"
#include "bridge/event/trail.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"

struct replay_flags {
    struct str topic, from, until, to, type, subject, source, filter, name, resume;
    int64_t rate;
    bool dry_run, json, list;
};

static const struct flag replay_flags[] = {
    FLAG(struct replay_flags, topic, .name = "--topic", .value = "NAME",
         .group = "Which events:", .doc = "of this topic"),
    FLAG(struct replay_flags, from, .name = "--from", .value = "TIME",
         .doc = "stored at or after: 2026-11-20T10:00:00Z, a time ago (90s 30m 2h 7d), earliest"),
    FLAG(struct replay_flags, until, .name = "--until", .value = "TIME", .doc = "stored before (now)"),
    FLAG(struct replay_flags, type, .name = "--type", .value = "TYPE",
         .doc = "of this type; chat.* means all that begin so"),
    FLAG(struct replay_flags, subject, .name = "--subject", .value = "SUBJECT", .doc = "of this subject, or with *"),
    FLAG(struct replay_flags, source, .name = "--source", .value = "SOURCE", .doc = "of this source, or with *"),
    FLAG(struct replay_flags, filter, .name = "--filter", .value = "FILTER",
         .doc = "that pass this filter, in YAML or JSON (aqueduct help filter)"),
    FLAG(struct replay_flags, to, .name = "--to", .value = "PLACE",
         .group = "To whom, and how:", .doc = "the SINK or SINK/ENDPOINT that gets them"),
    FLAG(struct replay_flags, rate, .name = "--rate", .value = "N", .min = 1, .max = 1000000,
         .doc = "at most so many events a second"),
    FLAG(struct replay_flags, dry_run, .name = "--dry-run", .doc = "only count them, by type"),
    FLAG(struct replay_flags, name, .name = "--name", .value = "NAME",
         .doc = "how it is called (else by topic and time)"),
    FLAG(struct replay_flags, json, .name = "--json", .doc = "one JSON object; of --list a line each"),
    FLAG(struct replay_flags, resume, .name = "--resume", .value = "NAME",
         .group = "One that was begun:", .doc = "go on with it where it was"),
    FLAG(struct replay_flags, list, .name = "--list", .doc = "those that were begun, and how far they are"),
    { 0 },
};

/* ---- what is said ---- */

static json_t *replay_json(const struct replay *r, const char *result)
{
    return json_pack("{s:s,s:o,s:o,s:o,s:o,s:o,s:I,s:I,s:I,s:I,s:I}", "result", result, "name",
                     json_of_text(str_of(r->name)), "topic", json_of_text(str_of(r->topic)), "to",
                     json_of_text(str_of(r->to)), "from", json_of_moment(r->from_ms), "until",
                     json_of_moment(r->until_ms), "read", (json_int_t)r->read, "replayed", (json_int_t)r->replayed,
                     "refused", (json_int_t)r->refused, "no_events", (json_int_t)r->no_events, "gone",
                     (json_int_t)r->gone);
}

static void replay_print_json(json_t *j)
{
    json_dumpf(j, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
    putchar('\n');
    json_decref(j);
}

static void replay_print_types(const json_t *types)
{
    const char *type;
    json_t *count;
    json_object_foreach((json_t *)(uintptr_t)types, type, count)
    {
        char *shown = str_dup(str_of(type));
        str_make_shown(shown);
        printf("%12" PRId64 "  %s\n", (int64_t)json_integer_value(count), shown);
        free(shown);
    }
}

static void replay_print(const struct replay_work *w)
{
    const struct replay *r = w->of;
    const char *result = w->dry_run ? "would replay" : r->finished ? "replayed" : "interrupted";
    if (w->call->flags && ((const struct replay_flags *)w->call->flags)->json) {
        json_t *j = replay_json(r, result);
        json_object_set(j, "types", w->types);
        json_object_set_new(j, "interrupted", json_boolean(w->interrupted));
        replay_print_json(j);
        return;
    }
    if (w->dry_run)
        replay_print_types(w->types);
    printf("%s %" PRId64 " of the %" PRId64 " records read of %s to %s", w->dry_run ? "would replay" : "replayed",
           r->replayed, r->read, r->topic, r->to);
    if (r->refused)
        printf(", left out %" PRId64 " that cannot be stored", r->refused);
    if (r->gone)
        printf(", and %" PRId64 " were removed by retention before", r->gone);
    if (r->no_events)
        printf("; %" PRId64 " are no events", r->no_events);
    putchar('\n');
}

static const char *replay_state(const struct replay *r)
{
    bool runs = r->run.id && replay_run_lives(&r->run) == REPLAY_RUNS;
    return runs ? "running" : r->finished ? "finished" : "begun";
}

static int replay_list(const struct replay_flags *flags, const struct replays *list)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct replay *r = &list->at[i];
        char at[CLOCK_TEXT];
        clock_text(r->at_ms, at);
        if (flags->json) {
            json_t *j = replay_json(r, replay_state(r));
            if (r->run.id)
                json_object_set_new(j, "run", replay_run_json(&r->run));
            json_object_set_new(j, "at", json_of_moment(r->at_ms));
            replay_print_json(j);
            continue;
        }
        char *shown = str_join(r->topic, " to ", r->to), *name = str_dup(str_of(r->name));
        str_make_shown(shown);
        str_make_shown(name);
        printf("%-32s %-9s %12" PRId64 " replayed  %s  %s\n", name, replay_state(r), r->replayed, at, shown);
        free(name);
        free(shown);
    }
    if (list->count == 0 && !flags->json)
        fputs("no replay was begun\n", stderr);
    return COMMAND_DONE;
}

/* ---- what is asked for ---- */

/* The conditions of all flags; NULL with *e. */
static json_t *replay_conditions(const struct replay_flags *f, struct err *e)
{
    json_t *all = json_array();
    if (!conditions_add_filter(all, f->filter, e)) {
        json_decref(all);
        return NULL;
    }
    conditions_add_attribute(all, "type", f->type);
    conditions_add_attribute(all, "subject", f->subject);
    conditions_add_attribute(all, "source", f->source);
    return all;
}

static char *replay_name(const struct replay_flags *f, int64_t now)
{
    char when[CLOCK_TEXT], tail[CLOCK_TEXT];
    size_t n = 0;
    clock_text(now, when);
    for (const char *c = when; *c && *c != '.'; c++)
        if (*c != '-' && *c != ':')
            tail[n++] = *c;
    tail[n] = '\0';
    char *topic = str_dup(f->topic), *name = str_join(topic, "-", tail);
    free(topic);
    return name;
}

/* A new one, by the flags; false with *e: they are wrong. */
static bool replay_ask(const struct replay_flags *f, struct replay *r, struct err *e)
{
    char when[CLOCK_TEXT];
    int64_t now = clock_wall_ms(), until = now;
    if (!f->topic.at || !f->from.at || !f->to.at)
        return err_set(e, "%s is missing", !f->topic.at ? "--topic" : !f->from.at ? "--from" : "--to");
    if (!str_eq(f->from, STR("earliest")) && !clock_since(f->from, &r->from_ms))
        return err_set(
            e, "--from is neither a moment (2026-11-20T10:00:00Z, or with +01:00), a time ago (2h) nor earliest");
    if (f->until.at && !clock_since(f->until, &until))
        return err_set(e, "--until is neither a moment (2026-11-20T10:00:00Z, or with +01:00) nor a time ago (2h)");
    if (f->name.at && (!topic_name_ok(f->name) || f->name.n > REPLAY_NAME))
        return err_set(e, "--name takes 1 to %d of a-z A-Z 0-9 . _ -", REPLAY_NAME);
    if (r->from_ms >= now) {
        clock_text(now, when);
        return err_set(e, "--from is not in the past; now it is %s", when);
    }
    if (until <= r->from_ms)
        return err_set(e, "--until is not after --from");
    r->until_ms = until < now ? until : now;
    r->began_ms = now;
    r->filter = replay_conditions(f, e);
    if (!r->filter)
        return false;
    r->name = f->name.at ? str_dup(f->name) : replay_name(f, now);
    r->topic = str_dup(f->topic);
    r->to = str_dup(f->to);
    return true;
}

/* Which flags make no sense beside --resume and --list; NULL: none is there. */
static const char *replay_stray(const struct replay_flags *f)
{
    const struct {
        const char *given, *name;
    } all[] = {
        { f->topic.at, "--topic" },   { f->from.at, "--from" },     { f->until.at, "--until" },
        { f->to.at, "--to" },         { f->type.at, "--type" },     { f->subject.at, "--subject" },
        { f->source.at, "--source" }, { f->filter.at, "--filter" }, { f->name.at, "--name" },
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].given)
            return all[i].name;
    return NULL;
}

static bool replay_topic_ok(const struct config *c, const char *topic, struct err *e)
{
    const char *near = find_event_nearest(c, topic);
    if (find_event_is_own(c, topic))
        return err_set(e, "topic %s: is the bridge's own", topic);
    return !near || err_set(e, "the configuration has no topic %s (did you mean %s?)", topic, near);
}

/* ---- the command ---- */

static void replay_say_resume(const struct replay *r)
{
    fprintf(stderr, "aqueduct replay: it is not finished; aqueduct replay --resume %s goes on with it\n", r->name);
}

static int replay_do(struct replay_work *w)
{
    struct err e = { "" };
    if (json_array_size(w->of->filter) && !(w->filter = filter_new(w->of->filter, &e)))
        return usage_wrong(&command_replay, "--filter: %s", e.text);
    if (!w->call->place(w->call, str_of(w->of->to), &w->to, &e)) {
        usage_failed("replay", &e);
        return COMMAND_USAGE;
    }
    bool ok = replay_work(w, &e);
    int code = ok ? COMMAND_DONE : usage_failed("replay", &e);
    if (ok)
        replay_print(w);
    if (!w->of->finished && !w->dry_run && w->begun)
        replay_say_resume(w->of);
    json_decref(w->types);
    return w->interrupted || w->of->refused || w->of->gone ? COMMAND_FAILED : code;
}

static int replay_new(struct replay_work *w, const struct replays *list)
{
    const struct replay_flags *flags = w->call->flags;
    struct err e = { "" };
    struct replay r = { 0 };
    int code;
    w->of = &r;
    if (!replay_ask(flags, &r, &e)) {
        code = usage_wrong(&command_replay, "%s", e.text);
    } else if (!replay_topic_ok(w->call->config, r.topic, &e)) {
        code = usage_failed("replay", &e);
    } else {
        const struct replay *other = w->dry_run ? NULL : replays_named(list, str_of(r.name));
        if (other && !other->finished) {
            err_set(&e, "a replay %s %s: go on with it (--resume %s), or choose another --name", r.name,
                    strcmp(replay_state(other), "running") == 0 ? "is running" : "was begun and is not finished",
                    r.name);
            code = usage_failed("replay", &e);
        } else {
            code = replay_do(w);
        }
    }
    w->of = NULL;
    replay_free(&r);
    return code;
}

static int replay_resume(struct replay_work *w, const struct replays *list)
{
    const struct replay_flags *flags = w->call->flags;
    struct err e = { "" };
    w->of = replays_named(list, flags->resume);
    if (w->of && !w->of->finished)
        return w->dry_run || replay_claim(w, &e) ? replay_do(w) : usage_failed("replay", &e);
    err_set(&e, w->of ? "%.*s is finished" : "no replay %.*s was begun; --list shows them", STR_ARG(flags->resume));
    return usage_failed("replay", &e);
}

static int replay_run(struct command_call *call)
{
    const struct replay_flags *flags = call->flags;
    struct err e = { "" };
    struct replays list = { 0 };
    struct replay_work w = { .call = call, .rate = flags->rate, .dry_run = flags->dry_run };
    const char *stray = flags->resume.at || flags->list ? replay_stray(flags) : NULL;
    int code;
    if (stray || (flags->resume.at && flags->list))
        return usage_wrong(&command_replay, "%s is of no use with %s", stray ? stray : "--list",
                           flags->resume.at ? "--resume" : "--list");
    if (call->config->broker_missing)
        err_set(&e, "the broker's configuration is not whole: %s", call->config->broker_missing);
    if (e.text[0] || !replays_find(call->config, &list, &e))
        code = usage_failed("replay", &e);
    else if (flags->list)
        code = replay_list(flags, &list);
    else
        code = flags->resume.at ? replay_resume(&w, &list) : replay_new(&w, &list);
    filter_free(w.filter);
    replays_free(&list);
    return code;
}

static const char replay_notes[] =

    "Gives events of a topic's past once more to the sink, or the one of its endpoints, whether that\n"
    "had them before or not, whatever its topics and filter are: with the same ids, keys and headers,\n"
    "signed afresh, as aqueduct resend does with one. What fails again is tried again, and may become a\n"
    "dead letter. They go as they were stored, also those of several partitions; among the others of a\n"
    "sink with order: key they have no place. What is stored after the replay began is not for it, and\n"
    "what retention removes before it gets there is told: how many, and which.\n"
    "\n"
    "It goes on after any end: Ctrl-C ends it behind the events that are under way, --resume goes on\n"
    "there; after kill -9 at most 256 events are repeated. While one runs it, here or on another\n"
    "machine, a second --resume is refused. What was begun is known as long as the topic\n"
    "<prefix>replays keeps it (7 days; on Kafka as the cluster says).\n"
    "\n"
    "The place must have run with this broker. The daemon may run or not: what is replayed while none\n"
    "runs is delivered when it starts. --rate is how fast events are given to the sink, which has its\n"
    "own rate: too.\n"
    "\n"
    "Examples:\n"
    "  aqueduct replay --topic ai.chats --from 7d --to crm --dry-run\n"
    "  aqueduct replay --topic ai.chats --from 2026-11-20T10:00:00Z --until 2026-11-20T12:00:00Z \\\n"
    "                  --to partners/billing --type 'chat.*' --rate 50 --name billing-gap\n"
    "  aqueduct replay --resume billing-gap --rate 200\n"
    "\n"
    "Keys of --json: result (replayed, would replay, interrupted; of --list begun, running, finished),\n"
    "name, topic, to, from, until, read, replayed, refused, no_events, gone (of all its runs), types (of\n"
    "this run), interrupted; of --list at, run (process, host).\n"
    "Exit codes: 0 done; 1 interrupted, not stored, some left out or gone, somebody else runs it, or no\n"
    "such topic or name; 2 wrong usage, or no such place.\n";

const struct command command_replay = {
    .name = "replay",
    .synopsis = "[-c FILE]... --topic NAME --from TIME [--until TIME] --to SINK[/ENDPOINT] [--rate N]",
    .doc = "Deliver a topic's past once more to one sink or endpoint.",
    .notes = replay_notes,
    .flags = replay_flags,
    .size = sizeof(struct replay_flags),
    .config = true,
    .sinks = "",
    .run = replay_run,
};
