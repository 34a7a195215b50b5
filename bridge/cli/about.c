/* SPDX-License-Identifier: MIT */
/* `aqueduct help`, `aqueduct schema` and `aqueduct version`: what the program says about itself. */
#include "bridge/cli/commands.h"
#include "bridge/cli/help.h"
#include "bridge/cli/usage.h"
#include "bridge/config/config.h"

enum { ABOUT_NAMES = 1024 };

/* Says which names there is help about. */
static int about_unknown(const struct connectors *connectors, const char *name)
{
    const char *names[ABOUT_NAMES];
    size_t n = 0;
    for (const char *const *of_config = config_help_names(connectors); of_config[n] && n < ABOUT_NAMES / 2; n++)
        names[n] = of_config[n];
    commands_names(connectors, names, n, ABOUT_NAMES);
    return usage_unknown("there is no help about", name, names);
}

/* `help dead list`, `help sqlite capture`: a part of what the first word names. */
static int about_part(const struct connectors *connectors, const char *name, const char *part)
{
    const struct command *command = commands_find(connectors, name);
    if (config_help_option(connectors, name, part, stdout))
        return COMMAND_DONE;
    if (!command || !command->verbs)
        return usage_wrong(NULL, "there is no help about \"%s\" of \"%s\"", part, name);
    if (!commands_has_verb(command, part))
        return usage_verb(command, part);
    help_command(command, stdout);
    return COMMAND_DONE;
}

static int about_help(struct command_call *call)
{
    if (call->word_count == 0) {
        help_all(call->connectors, stdout);
        return COMMAND_DONE;
    }
    const char *name = call->words[0];
    const struct command *command = commands_find(call->connectors, name);
    if (call->word_count > 1)
        return about_part(call->connectors, name, call->words[1]);
    if (command) {
        help_command(command, stdout);
        config_help_add_section(call->connectors, name, stdout);
        return COMMAND_DONE;
    }
    return config_help(call->connectors, name, stdout) ? COMMAND_DONE : about_unknown(call->connectors, name);
}

const struct command command_help = {
    .name = "help",
    .synopsis = "[NAME [OPTION]]",
    .doc = "Show the options of a source, a sink, a section or a command, or one of them.",
    .max_words = 2,
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
