/* SPDX-License-Identifier: MIT */
/* `aqueduct orphans`: what nobody serves any more is listed, made dead letters, or dropped. */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include "bridge/admin/control_client.h"
#include "bridge/cli/commands.h"
#include "bridge/cli/settle.h"
#include "bridge/cli/usage.h"
#include "bridge/lib/mem.h"

enum { ORPHANS_STATUS = 64 << 20, ORPHANS_COLUMN = 40 };

struct orphans_flags {
    struct str sink, topic;
    bool json, yes;
};

static const struct flag orphans_flags[] = {
    FLAG(struct orphans_flags, sink, .name = "--sink", .value = "NAME", .doc = "of this sink alone"),
    FLAG(struct orphans_flags, topic, .name = "--topic", .value = "NAME", .doc = "in this topic alone"),
    FLAG(struct orphans_flags, json, .name = "--json", .doc = "one JSON object, for programs"),
    FLAG(struct orphans_flags, yes, .name = "--yes", .doc = "dead, drop: do it; without, only say what would be done"),
    { 0 },
};

/* ---- does a daemon serve them all the same? ---- */

static bool orphans_reads(const json_t *sink, const char *topic)
{
    size_t i;
    const json_t *one;
    json_array_foreach(json_object_get(sink, "topics"), i, one)
    {
        const char *name = json_string_value(json_object_get(one, "topic"));
        if (name && strcmp(name, topic) == 0)
            return true;
    }
    return false;
}

/* The running daemon's account; NULL: none that can be asked. */
static json_t *orphans_account(const struct config *config)
{
    struct err e;
    bool nobody;
    struct buf text = buf_new(ORPHANS_STATUS);
    json_t *account = control_status(config, "", &text, &nobody, &e) ? json_loadb(text.at, text.n, 0, NULL) : NULL;
    buf_free(&text);
    return account;
}

/* True with *e: the daemon runs with another configuration, in which they are served. */
static bool orphans_served(const json_t *account, const struct unserved_events *of, struct err *e)
{
    size_t i;
    const json_t *sink;
    json_array_foreach(json_object_get(account, "sinks"), i, sink)
    {
        const char *name = json_string_value(json_object_get(sink, "sink"));
        if (name && strcmp(name, of->sink) == 0 && (!of->known || orphans_reads(sink, of->topic))) {
            err_set(e, "the running daemon still serves sink %s%s%s: start it again with this configuration first",
                    of->sink, of->known ? " with topic " : "", of->known ? of->topic : "");
            return true;
        }
    }
    return false;
}

/* ---- what is said ---- */

static json_t *orphans_json(const struct unserved_events *of, const struct settled *done)
{
    json_t *j = json_pack("{s:s,s:s,s:s,s:I,s:b,s:b}", "sink", of->sink, "kind", unserved_word(of->kind), "topic",
                          of->topic, "events", (json_int_t)of->events, "sink_configured", (int)of->known, "later",
                          (int)of->later);
    if (done) {
        json_object_set_new(j, "ended", json_integer(done->ended));
        json_object_set_new(j, "without_data", json_integer(done->bare));
    }
    return j;
}

static void orphans_row(const struct unserved_events *of)
{
    char *sink = str_dup(str_of(of->sink)), *topic = str_dup(str_of(of->topic));
    str_make_shown(sink);
    str_make_shown(topic);
    printf("%-20s %-8s %-*s %10" PRId64 "%s%s\n", sink, unserved_word(of->kind), ORPHANS_COLUMN, topic, of->events,
           of->known ? "  " : "",
           of->known   ? unserved_why(of)
           : of->later ? "  not met by a daemon yet"
                       : "");
    free(sink);
    free(topic);
}

static void orphans_table(const struct unserved_list *list)
{
    printf("%-20s %-8s %-*s %10s\n", "SINK", "WHAT", ORPHANS_COLUMN, "TOPIC", "EVENTS");
    for (size_t i = 0; i < list->count; i++)
        if (list->at[i].events)
            orphans_row(&list->at[i]);
}

static void orphans_print_json(json_t *j)
{
    json_dumpf(j, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
    putchar('\n');
    json_decref(j);
}

static int orphans_list(const struct unserved_list *list, const struct orphans_flags *flags)
{
    json_t *entries = json_array();
    for (size_t i = 0; i < list->count; i++)
        if (list->at[i].events)
            json_array_append_new(entries, orphans_json(&list->at[i], NULL));
    if (flags->json)
        orphans_print_json(json_pack("{s:O}", "orphans", entries));
    else if (json_array_size(entries))
        orphans_table(list);
    else
        fputs("nothing is left behind\n", stderr);
    json_decref(entries);
    return COMMAND_DONE;
}

/* ---- dead, drop ---- */

static void orphans_say(const struct unserved_events *of, bool dead, const struct settled *done)
{
    char *sink = str_dup(str_of(of->sink)), *topic = str_dup(str_of(of->topic));
    str_make_shown(sink);
    str_make_shown(topic);
    printf("%s %" PRId64 " of %" PRId64 " %s: %s in %s", dead ? "dead" : "dropped", done->ended, of->events,
           unserved_word(of->kind), sink, topic);
    if (done->bare)
        printf(", %" PRId64 " without their data", done->bare);
    putchar('\n');
    free(sink);
    free(topic);
}

/* Ends what can be ended; *later: so many cannot yet. */
static bool orphans_end(const struct command_call *call, const struct unserved_list *list, bool dead, json_t *said,
                        int64_t *later, struct err *e)
{
    const struct orphans_flags *flags = call->flags;
    struct publisher *p = publisher_new(call->config);
    json_t *account = orphans_account(call->config);
    bool ok = true;
    for (size_t i = 0; ok && i < list->count; i++) {
        const struct unserved_events *of = &list->at[i];
        struct settled done = { 0 };
        *later += of->later ? of->events : 0;
        if (of->later)
            continue;
        ok = !orphans_served(account, of, e) && settle_events(call->config, p, of, dead, &done, e);
        if (of->events)
            json_array_append_new(said, orphans_json(of, &done));
        if (!flags->json && of->events)
            orphans_say(of, dead, &done);
    }
    json_decref(account);
    publisher_free(p);
    return ok;
}

static int orphans_end_all(const struct command_call *call, const struct unserved_list *list, bool dead)
{
    const struct orphans_flags *flags = call->flags;
    struct err e = { "" };
    int64_t later = 0;
    json_t *said = json_array();
    bool ok = orphans_end(call, list, dead, said, &later, &e);
    if (flags->json)
        orphans_print_json(json_pack("{s:O,s:I}", dead ? "dead" : "dropped", said, "later", (json_int_t)later));
    json_decref(said);
    if (later)
        fprintf(stderr,
                "aqueduct orphans: %" PRId64 " more wait behind others; they can be ended when a daemon has met them\n",
                later);
    return ok ? later ? COMMAND_FAILED : COMMAND_DONE : usage_failed("orphans", &e);
}

/* ---- the command ---- */

static int orphans_run(struct command_call *call)
{
    const struct orphans_flags *flags = call->flags;
    struct err e = { "" };
    struct unserved_list list = { 0 };
    bool dead = strcmp(call->words[0], "dead") == 0, end = dead || strcmp(call->words[0], "drop") == 0;
    int code = COMMAND_FAILED;
    if (call->config->broker_missing)
        err_set(&e, "the broker's configuration is not whole: %s", call->config->broker_missing);
    if (e.text[0] || !unserved_find(call->config, flags->sink, flags->topic, &list, &e))
        code = usage_failed("orphans", &e);
    else if (!end || list.count == 0)
        code = orphans_list(&list, flags);
    else if (flags->yes)
        code = orphans_end_all(call, &list, dead);
    else {
        orphans_list(&list, flags);
        fprintf(stderr, "nothing was done; --yes %s\n", dead ? "makes these dead letters" : "drops these");
    }
    unserved_free(&list);
    return code;
}

static const char *const orphans_verbs[] = { "list", "dead", "drop", NULL };

static const char orphans_usage[] =
    "usage: aqueduct orphans [-c FILE]... list [--sink NAME] [--topic NAME] [--json]\n"
    "       aqueduct orphans [-c FILE]... dead|drop [--sink NAME] [--topic NAME] [--json] [--yes]\n"
    "\n"
    "Ends what nobody serves any more: events of sinks that the configuration does not have, and of topics that a sink no\n"
    "longer has.\n";

static const char orphans_notes[] =
    "WHAT\n"
    "  waiting   for the next attempt of a sink that is gone, in the waiting topics. The daemon meets those "
    "behind others when their turn comes; only then can they be ended\n"
    "  blocked   of a key that stepped aside (order: key), in the blocked log of a sink that is gone\n"
    "  unread    in a topic, behind where the sink stood\n"
    "\n"
    "  aqueduct orphans list\n"
    "  aqueduct orphans dead --sink old --yes      # of class orphaned; redriven with --to, or to a sink\n"
    "                                              # that says formerly: [old]\n"
    "  aqueduct orphans drop --sink crm --topic ai.old --yes\n"
    "\n"
    "A sink that only has another name now wants neither: say `formerly: [old]` and nothing is lost.\n"
    "\n"
    "dead stores the letters, then ends the events; ended in between, it makes some of the letters again, with the same id.\n"
    "What comes into a topic after it was read is owed to nobody: the sink has no position there any more, and begins like a\n"
    "new one (start:) if it ever gets the topic back. With the local broker the running daemon does it, or, when none runs, the log is opened, and\n"
    "no daemon can start meanwhile; waiting events are then finished at its next start. With Kafka the cluster does it.\n"
    "\n"
    "Keys of --json: orphans[] (list), dead[] or dropped[]: sink, kind, topic, events, sink_configured, later; ended,\n"
    "without_data. Exit code 1: something failed, was left, or --yes is missing.\n";

const struct command command_orphans = {
    .name = "orphans",
    .doc = "List, make dead letters of, or drop what nobody serves any more.",
    .usage = orphans_usage,
    .notes = orphans_notes,
    .flags = orphans_flags,
    .size = sizeof(struct orphans_flags),
    .min_words = 1,
    .max_words = 1,
    .verbs = orphans_verbs,
    .config = true,
    .sinks = "",
    .run = orphans_run,
};
