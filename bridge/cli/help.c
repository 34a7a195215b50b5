/* SPDX-License-Identifier: MIT */
/* The text of the help. */
#include "bridge/cli/help.h"
#include <string.h>
#include "bridge/cli/flags.h"
#include "bridge/lib/wrap.h"

enum { HELP_COLUMN = 33, FLAG_WIDTH = 19 };

/* A name, what follows it, and what it is: in columns. */
static void help_line(const char *name, const char *synopsis, const char *doc, FILE *out)
{
    int used = fprintf(out, "  %s%s", name, *synopsis ? " " : "");
    if (used + (int)strlen(synopsis) > HELP_COLUMN - 1) {
        wrap_print_behind(synopsis, used, used, out);
        used = 0;
    } else
        used += fprintf(out, "%s", synopsis);
    fprintf(out, "%*s", HELP_COLUMN - used, "");
    wrap_print_behind(doc, HELP_COLUMN, HELP_COLUMN, out);
}

static void help_types(const struct connectors *connectors, FILE *out)
{
    fprintf(out, "\nSources:\n");
    for (const struct source_ops *const *type = connectors->sources; *type; type++)
        help_line((*type)->type, "", (*type)->doc, out);
    fprintf(out, "\nSinks:\n");
    for (const struct sink_ops *const *type = connectors->sinks; *type; type++)
        help_line((*type)->type, "", (*type)->doc, out);
}

static void help_commands(const struct connectors *connectors, FILE *out)
{
    const struct command *command;
    fprintf(out, "\nCommands:\n");
    for (size_t i = 0; (command = commands_at(connectors, i)); i++) {
        help_line(command->name, command->synopsis ? command->synopsis : "", command->doc, out);
    }
}

void help_all(const struct connectors *connectors, FILE *out)
{
    fprintf(out,
            "Aqueduct brings what happens in AI applications to Kafka topics, signed webhooks and live streams.\n");
    help_commands(connectors, out);
    fprintf(out, "\nFlags:\n");
    help_line("-c FILE, --config FILE", "",
              "The configuration; several files merge. Without it: the files in AQUEDUCT_CONFIG (with colons between), "
              "else ./bridge.yaml.",
              out);
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
                 "  broker local kafka topics source sink routes filter template events admin log config environment\n"
                 "  metrics,\n"
                 "  or a preset: anythingllm anythingllm-0 flowise kotaemon langfuse langsmith message n8n\n"
                 "  open-webui openai,\n"
                 "  or a receiver (for:): airflow discord flowise n8n slack teams zapier,\n"
                 "  or a scheme of verify: standard github stripe slack langfuse shopify outpost gitlab twilio\n"
                 "  hmac_hex hmac_base64 hmac bearer jwt basic api_key address certificate none\n");
}

void help_command(const struct command *command, FILE *out)
{
    const char *synopsis = command->synopsis ? command->synopsis : "";
    if (command->usage)
        wrap_print_page(command->usage, out);
    else {
        int used = fprintf(out, "aqueduct %s%s", command->name, *synopsis ? " " : "");
        wrap_print_behind(synopsis, used, used, out);
        putc('\n', out);
        wrap_print(command->doc, 0, out);
    }
    if (command->flags) {
        putc('\n', out);
        flags_print(command->flags, FLAG_WIDTH, out);
    }
    if (command->notes) {
        putc('\n', out);
        wrap_print_page(command->notes, out);
    }
}

void help_version(FILE *out)
{
    fprintf(out, "aqueduct %s\n", AQUEDUCT_VERSION);
}
