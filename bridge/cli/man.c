/* SPDX-License-Identifier: MIT */
/* `aqueduct man`: the manual page aqueduct(1), made of the tables of commands and flags. */
#include <stdio.h>
#include <string.h>
#include "bridge/cli/commands.h"
#include "bridge/cli/flags.h"

/* Text in roff: no character of it is an instruction. */
static void man_text(const char *text)
{
    bool begins = true;
    for (const char *c = text; *c; c++) {
        if (begins && (*c == '.' || *c == '\''))
            printf("\\&");
        if (*c == '\\')
            printf("\\e");
        else if (*c == '-')
            printf("\\-");
        else
            putchar(*c);
        begins = *c == '\n';
    }
}

/* Lines that stay as they are. */
static void man_lines(const char *text)
{
    printf(".PP\n.nf\n");
    man_text(text);
    if (*text && text[strlen(text) - 1] != '\n')
        putchar('\n');
    printf(".fi\n");
}

static void man_flags(const struct flag *rows)
{
    for (const struct flag *row = rows; row && row->name; row++) {
        printf(".TP\n\\fB");
        man_text(row->name);
        printf("\\fR");
        if (row->letter) {
            printf(", \\fB");
            man_text(row->letter);
            printf("\\fR");
        }
        if (row->value) {
            printf(" \\fI");
            man_text(row->value);
            printf("\\fR");
        }
        putchar('\n');
        man_text(row->doc ? row->doc : "");
        putchar('\n');
    }
}

static void man_command(const struct command *command)
{
    printf(".SS aqueduct ");
    man_text(command->name);
    printf("%s", command->synopsis ? " " : "");
    man_text(command->synopsis ? command->synopsis : "");
    putchar('\n');
    if (command->usage) {
        man_lines(command->usage);
    } else {
        man_text(command->doc);
        putchar('\n');
    }
    man_flags(command->flags);
    if (command->notes)
        man_lines(command->notes);
}

static void man_types(const struct connectors *connectors)
{
    printf(".SH SOURCES\n");
    for (const struct source_ops *const *type = connectors->sources; *type; type++) {
        printf(".TP\n\\fB%s\\fR\n", (*type)->type);
        man_text((*type)->doc);
        putchar('\n');
    }
    printf(".SH SINKS\n");
    for (const struct sink_ops *const *type = connectors->sinks; *type; type++) {
        printf(".TP\n\\fB%s\\fR\n", (*type)->type);
        man_text((*type)->doc);
        putchar('\n');
    }
}

static int man_run(struct command_call *call)
{
    const struct command *command;
    printf(
        ".TH AQUEDUCT 1 \"\" \"aqueduct %s\" \"User Commands\"\n"
        ".SH NAME\naqueduct \\- event bridge from AI applications to topics, webhooks and live streams\n"
        ".SH SYNOPSIS\n.B aqueduct\n\\fICOMMAND\\fR [\\fIWORD\\fR]... [\\fB\\-c\\fR \\fIFILE\\fR]...\n"
        ".SH DESCRIPTION\nSources bring events in, routes put them on topics of a broker (a local log or Kafka), and "
        "sinks deliver them. All of it is said in one YAML file, which\n.B aqueduct check\nreads and\n.B aqueduct "
        "run\nserves. What an option means:\n.B aqueduct help\n\\fINAME\\fR.\n",
        AQUEDUCT_VERSION);
    printf(".SH OPTIONS\nOf every command:\n");
    man_flags(flags_of_all);
    printf(".SH COMMANDS\n");
    for (size_t i = 0; (command = commands_at(call->connectors, i)); i++)
        man_command(command);
    man_types(call->connectors);
    printf(
        ".SH EXIT STATUS\n.TP\n0\ndone\n.TP\n1\nfailed, with the reason on standard error\n.TP\n2\nwrong usage\n"
        ".SH ENVIRONMENT\n.TP\n.B AQUEDUCT_CONFIG\nThe files of the configuration, with colons between, where no "
        "\\fB\\-c\\fR is given.\n.TP\n.B AQUEDUCT__SECTION__KEY\nA key of the configuration, over what files say; where "
        "there is none, a small set of names makes a whole one:\n.B aqueduct help environment\n"
        ".SH FILES\n.TP\n.I bridge.yaml\nThe configuration, in the working directory, where neither is given.\n");
    return COMMAND_DONE;
}

const struct command command_man = {
    .name = "man",
    .doc = "Print the manual page: aqueduct man | man -l -",
    .run = man_run,
};
