/* SPDX-License-Identifier: MIT */
/* `aqueduct tail`: shows events as they come, from any point. */
#include "bridge/cli/tail_private.h"
#include <stdlib.h>
#include "bridge/cli/commands.h"
#include "bridge/cli/conditions.h"
#include "bridge/cli/usage.h"
#include "bridge/lib/interrupt.h"

static const struct flag tail_flags[] = {
    FLAG(struct tail_flags, topics, .name = "--topic", .value = "NAME",
         .group = "Which events:", .doc = "of this topic; several: of each; none: of all"),
    FLAG(struct tail_flags, type, .name = "--type", .value = "TYPE",
         .doc = "of this type; chat.* means all that begin so"),
    FLAG(struct tail_flags, subject, .name = "--subject", .value = "SUBJECT", .doc = "of this subject, or with *"),
    FLAG(struct tail_flags, source, .name = "--source", .value = "SOURCE", .doc = "of this source, or with *"),
    FLAG(struct tail_flags, filter, .name = "--filter", .value = "FILTER",
         .doc = "that pass this filter, in YAML or JSON (aqueduct help filter)"),
    FLAG(struct tail_flags, from, .name = "--from", .value = "POINT", .doc = "where to begin, see below"),
    FLAG(struct tail_flags, count, .name = "--count", .letter = "-n", .value = "N", .min = 1, .max = 1000000000,
         .doc = "end after N events"),
    FLAG(struct tail_flags, no_follow, .name = "--no-follow", .doc = "end when all that is there was shown"),
    FLAG(struct tail_flags, ids, .name = "--ids",
         .doc = "in each line also where it is stored (topic/partition@offset) and its id"),
    FLAG(struct tail_flags, json, .name = "--json", .doc = "each event as a line of JSON, with its position"),
    FLAG(struct tail_flags, url, .name = "--url", .value = "URL",
         .group = "Out of a listener, without a configuration:",
         .doc = "of a sink of type websocket, here or elsewhere"),
    FLAG(struct tail_flags, token_file, .name = "--token-file", .value = "FILE", .doc = "a file with the token for it"),
    FLAG(struct tail_flags, token_env, .name = "--token-env", .value = "NAME",
         .doc = "a variable with the token (AQUEDUCT_TOKEN)"),
    FLAG(struct tail_flags, ca, .name = "--ca", .value = "FILE",
         .doc = "certificates to trust, in the place of the system's"),
    { 0 },
};

static const char tail_notes
    [] = "Begins at the end, with --no-follow at the beginning; or where --from says:\n"
         "  earliest, latest     the first event that is kept; what comes from now on\n"
         "  2026-11-20T10:00:00Z, 90s, 2h, 7d   what was stored since then, or since so long ago\n"
         "  last:20              with the newest 20 records of all topics, of which those that match are shown\n"
         "  ai.events/0@87       with the record that stands there, as --ids and aqueduct status say it; the position\n"
         "                       that --json says with each event goes on behind that event\n"
         "Within a partition, events come in their order. A secret in the data is shown as ***, but for --json.\n"
         "\n"
         "Examples:\n"
         "  aqueduct tail --type 'chat.*'\n"
         "  aqueduct tail --topic ai.events --from 1h --filter '{data: {/collection/key: hr}}'\n"
         "  aqueduct tail --from last:100 --no-follow --json | jq -r .id\n"
         "  aqueduct tail --url https://live.example.com/ --token-file ~/.live-token\n"
         "\n"
         "The daemon may run or not. With --url a connection that breaks comes back at its position.\n"
         "Exit codes: 0 done, or Ctrl-C; 1 no log, no topic, no connection, or refused; 2 wrong usage.\n";

/* The conditions of all flags, and a filter of them. Over a URL each of the short forms is a parameter of its own. */
static bool tail_make_filter(struct tail *t, struct err *e)
{
    const struct tail_flags *f = t->flags;
    t->conditions = json_array();
    if (!conditions_add_filter(t->conditions, f->filter, e))
        return false;
    if (!f->url.at) {
        conditions_add_attribute(t->conditions, "type", f->type);
        conditions_add_attribute(t->conditions, "subject", f->subject);
        conditions_add_attribute(t->conditions, "source", f->source);
    }
    if (json_array_size(t->conditions) == 0)
        return true;
    t->filter = filter_new(t->conditions, e);
    return t->filter || err_prefix(e, "--filter");
}

static bool tail_check(struct tail *t, struct err *e)
{
    const struct tail_flags *f = t->flags;
    if (!f->url.at && (f->token_file.at || f->token_env.at || f->ca.at))
        return err_set(e, "%s is of use with --url only",
                       f->token_file.at  ? "--token-file"
                       : f->token_env.at ? "--token-env"
                                         : "--ca");
    if (f->token_file.at && f->token_env.at)
        return err_set(e, "the token comes from --token-file or from --token-env");
    if (f->url.at && f->no_follow)
        return err_set(e, "--no-follow is of use without --url only: a stream has no end");
    if (f->ids && f->json)
        return err_set(e, "--json has the id of each event anyway");
    return tail_make_filter(t, e) && (f->url.at || tail_from_parse(&t->from, f->from, f->no_follow, e));
}

static int tail_run(struct command_call *call)
{
    const struct tail_flags *flags = call->flags;
    struct tail t = { .call = call, .flags = flags };
    struct err e = { "" };
    int code;
    if (!tail_check(&t, &e)) {
        code = usage_wrong(&command_tail, "%s", e.text);
    } else if (!flags->url.at && call->config->broker_missing) {
        err_set(&e, "the broker's configuration is not whole: %s", call->config->broker_missing);
        code = usage_failed("tail", &e);
    } else {
        interrupt_watch();
        code = flags->url.at ? tail_url(&t) : tail_broker(&t);
    }
    tail_from_free(&t.from);
    filter_free(t.filter);
    json_decref(t.conditions);
    return code;
}

static bool tail_needs_config(const void *flags)
{
    return !((const struct tail_flags *)flags)->url.at;
}

const struct command command_tail = {
    .name = "tail",
    .synopsis = "[-c FILE]... [--topic NAME]... [--type TYPE] [--from POINT] [--json]",
    .doc = "Show events as they are stored, or from any point on.",
    .notes = tail_notes,
    .flags = tail_flags,
    .size = sizeof(struct tail_flags),
    .config = true,
    .needs_config = tail_needs_config,
    .sinks = "",
    .run = tail_run,
};
