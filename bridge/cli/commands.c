/* SPDX-License-Identifier: MIT */
/* The table of commands: one line each. */
#include "bridge/cli/commands.h"
#include <string.h>

static const struct command *const commands[] = {
    &command_init,       &command_run,       &command_check,   &command_doctor,  &command_plan,    &command_reload,
    &command_status,     &command_log,       &command_tail,    &command_resend,  &command_replay,  &command_move,
    &command_prove,      &command_endpoints, &command_console, &command_orphans, &command_explain, &command_test,
    &command_completion, &command_man,       &command_help,    &command_schema,  &command_version,
};
enum { COMMANDS = sizeof commands / sizeof *commands };

const struct command *commands_at(const struct connectors *connectors, size_t i)
{
    if (i < COMMANDS)
        return commands[i];
    const struct command *const *command = connectors->commands;
    for (i -= COMMANDS; *command && i > 0; i--)
        command++;
    return *command;
}

const struct command *commands_find(const struct connectors *connectors, const char *name)
{
    const struct command *command;
    for (size_t i = 0; (command = commands_at(connectors, i)); i++)
        if (strcmp(command->name, name) == 0)
            return command;
    return NULL;
}

void commands_names(const struct connectors *connectors, const char **out, size_t count, size_t room)
{
    const struct command *command;
    for (size_t i = 0; count < room - 1 && (command = commands_at(connectors, i)); i++)
        out[count++] = command->name;
    out[count] = NULL;
}

bool commands_has_verb(const struct command *command, const char *word)
{
    for (const char *const *verb = command->verbs; verb && *verb; verb++)
        if (strcmp(*verb, word) == 0)
            return true;
    return !command->verbs;
}
