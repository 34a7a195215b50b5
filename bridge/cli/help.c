/* SPDX-License-Identifier: MIT */
/* The text of the help. */
#include "bridge/cli/help.h"
#include <string.h>
#include "bridge/cli/flags.h"

enum { NAME_WIDTH = 30, FLAG_WIDTH = 19 };

static void help_types(const struct connectors *connectors, FILE *out)
{
    fprintf(out, "\nSources:\n");
    for (const struct source_ops *const *type = connectors->sources; *type; type++)
        fprintf(out, "  %-*s %s\n", NAME_WIDTH, (*type)->type, (*type)->doc);
    fprintf(out, "\nSinks:\n");
    for (const struct sink_ops *const *type = connectors->sinks; *type; type++)
        fprintf(out, "  %-*s %s\n", NAME_WIDTH, (*type)->type, (*type)->doc);
}

static void help_commands(const struct connectors *connectors, FILE *out)
{
    const struct command *command;
    fprintf(out, "\nCommands:\n");
    for (size_t i = 0; (command = commands_at(connectors, i)); i++) {
        const char *synopsis = command->synopsis ? command->synopsis : "";
        int rest = NAME_WIDTH - (int)strlen(command->name) - (*synopsis != 0);
        fprintf(out, "  %s%s%-*s", command->name, *synopsis ? " " : "", rest, synopsis);
        if ((int)strlen(synopsis) > rest)
            fprintf(out, "\n  %-*s", NAME_WIDTH, "");
        fprintf(out, " %s\n", command->doc);
    }
}

void help_all(const struct connectors *connectors, FILE *out)
{
    fprintf(out,
            "Aqueduct brings what happens in AI applications to Kafka topics, signed webhooks and live streams.\n");
    help_commands(connectors, out);
    fprintf(out,
            "\nFlags:\n"
            "  %-*s The configuration; several files merge. Without it: the files in AQUEDUCT_CONFIG\n"
            "  %-*s (with colons between), else ./bridge.yaml.\n",
            NAME_WIDTH, "-c FILE, --config FILE", NAME_WIDTH, "");
    help_types(connectors, out);
    fprintf(out, "\nExample, bridge.yaml:\n\n"
                 "  sources:\n"
                 "    hooks:\n"
                 "      type: http\n"
                 "      listen: 127.0.0.1:8080\n"
                 "      paths: [{path: /v1/events, verify: {scheme: bearer, secrets: [\"${INGEST_TOKEN}\"]}}]\n"
                 "  routes:\n"
                 "    - topic: events\n"
                 "  sinks:\n"
                 "    crm:\n"
                 "      type: webhook\n"
                 "      topics: [events]\n"
                 "      url: https://crm.example.com/hooks\n"
                 "      secrets: [\"${file:/run/secrets/crm}\"]\n"
                 "    dead:\n"
                 "      type: dead_letter\n\n"
                 "  aqueduct check && aqueduct run\n\n"
                 "More: aqueduct help NAME, where NAME is a source, a sink, a command, an option (capture), or one of\n"
                 "  broker local kafka topics source sink routes filter template events admin log config metrics,\n"
                 "  or a preset: anythingllm anythingllm-0 flowise kotaemon langfuse langsmith n8n open-webui openai,\n"
                 "  or a receiver (for:): airflow discord flowise n8n slack teams zapier\n");
}

void help_command(const struct command *command, FILE *out)
{
    if (command->usage)
        fputs(command->usage, out);
    else
        fprintf(out, "aqueduct %s%s%s\n\n%s\n", command->name, command->synopsis ? " " : "",
                command->synopsis ? command->synopsis : "", command->doc);
    if (command->flags) {
        fputc('\n', out);
        flags_print(command->flags, FLAG_WIDTH, out);
    }
    if (command->notes)
        fprintf(out, "\n%s", command->notes);
}

void help_version(FILE *out)
{
    fprintf(out, "aqueduct %s\n", AQUEDUCT_VERSION);
}
