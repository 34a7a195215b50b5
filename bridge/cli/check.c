/* SPDX-License-Identifier: MIT */
/* `aqueduct check`: everything that is wrong with the configuration. */
#include "bridge/cli/commands.h"
#include "bridge/config/config.h"

struct check_flags {
    bool json;
};

static const struct flag check_flags[] = {
    FLAG(struct check_flags, json, .name = "--json", .doc = "one JSON object, for programs"),
    { 0 },
};

static int check_run(struct command_call *call)
{
    const struct check_flags *flags = call->flags;
    struct problems problems = { 0 };
    struct config *c = config_load_reviewed(call->connectors, (const char *const *)call->files.at, call->files.count,
                                            &problems);
    int code = c ? COMMAND_DONE : COMMAND_FAILED;
    if (flags->json)
        problems_print_json(&problems, stdout);
    else
        problems_print(&problems, stderr);
    if (c && !flags->json)
        printf("ok: %zu source%s, %zu sink%s\n", c->source_count, c->source_count == 1 ? "" : "s", c->sink_count,
               c->sink_count == 1 ? "" : "s");
    config_free(c);
    problems_free(&problems);
    return code;
}

const struct command command_check = {
    .name = "check",
    .synopsis = "[-c FILE]... [--json]",
    .doc = "Say everything that is wrong with the configuration; 0: nothing (perhaps warnings), 1: something.",
    .flags = check_flags,
    .size = sizeof(struct check_flags),
    .run = check_run,
};
