/* SPDX-License-Identifier: MIT */
/* `aqueduct help`, `aqueduct schema` and `aqueduct version`: what the program says about itself. */
#include "bridge/cli/commands.h"
#include "bridge/cli/help.h"
#include "bridge/cli/usage.h"
#include "bridge/config/config.h"

/* Says which names there is help about. */
static int about_unknown(const struct connectors *connectors, const char *name)
{
    enum { NAMES = 512 };
    const char *names[NAMES];
    size_t n = 0;
    for (const char *const *of_config = config_help_names(connectors); of_config[n] && n < NAMES / 2; n++)
        names[n] = of_config[n];
    commands_names(connectors, names, n, NAMES);
    return usage_unknown("there is no help about", name, names);
}

static int about_help(struct command_call *call)
{
    if (call->word_count == 0) {
        help_all(call->connectors, stdout);
        return COMMAND_DONE;
    }
    const char *name = call->words[0];
    const struct command *command = commands_find(call->connectors, name);
    if (config_help(call->connectors, name, stdout))
        return COMMAND_DONE;
    if (!command)
        return about_unknown(call->connectors, name);
    help_command(command, stdout);
    return COMMAND_DONE;
}

const struct command command_help = {
    .name = "help",
    .synopsis = "[NAME]",
    .doc = "Show the options of a source, a sink, a section or a command.",
    .max_words = 1,
    .run = about_help,
};

static int about_schema(struct command_call *call)
{
    config_schema(call->connectors, stdout);
    return COMMAND_DONE;
}

const struct command command_schema = {
    .name = "schema",
    .doc = "Print the JSON Schema of the configuration, for editors.",
    .run = about_schema,
};

static int about_version(struct command_call *call)
{
    (void)call;
    help_version(stdout);
    return COMMAND_DONE;
}

const struct command command_version = {
    .name = "version",
    .doc = "Print the version.",
    .run = about_version,
};
