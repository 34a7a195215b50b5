/* SPDX-License-Identifier: MIT */
/* `aqueduct completion SHELL`: what a shell needs to complete the command line, made of the tables of commands and flags. */
#include <stdio.h>
#include <string.h>
#include "bridge/cli/commands.h"
#include "bridge/cli/flags.h"
#include "bridge/cli/usage.h"
#include "bridge/config/config.h"

/* Completes file names: those of the configuration, and flags whose value the help calls so. */
static bool completion_is_file(const struct flag *row)
{
    return row->value && (strcmp(row->value, "FILE") == 0 || strcmp(row->value, "FOLDER") == 0);
}

/* Which names of the configuration are its values; NULL: none. */
static const char *completion_names(const struct flag *row)
{
    static const char *const names[][3] = {
        { "--sink", "NAME", "sinks" },
        { "--topic", "NAME", "topics" },
        { "--to", "PLACE", "places" },
        { "--source", "NAME", "sources" },
    };
    for (size_t i = 0; row->value && i < sizeof names / sizeof *names; i++)
        if (strcmp(row->name, names[i][0]) == 0 && strcmp(row->value, names[i][1]) == 0)
            return names[i][2];
    return NULL;
}

static bool completion_takes_value(const struct flag *row)
{
    return row->type != FLAG_SWITCH;
}

/* Text in single quotes: what is none in the shell's words, and line ends, are left out. */
static void completion_quoted(const char *text)
{
    putchar('\'');
    for (const char *c = text ? text : ""; *c; c++)
        if (*c != '\'' && *c != '\n')
            putchar(*c);
    putchar('\'');
}

static void completion_words(const char *choices)
{
    for (const char *c = choices; *c; c++)
        putchar(*c == '|' ? ' ' : *c);
}

/* Calls each() for the rows of the command and those of every command. */
static void completion_rows(const struct command *command, void (*each)(const struct command *, const struct flag *))
{
    const struct flag *tables[] = { command->flags, flags_of_all };
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        for (const struct flag *row = tables[i]; row && row->name; row++)
            each(command, row);
}

/* ---- bash ---- */

static void completion_bash_value(const struct command *command, const struct flag *row)
{
    if (!completion_takes_value(row))
        return;
    printf("        \"%s %s\"%s%s%s%s%s) ", command->name, row->name, row->letter ? "|\"" : "",
           row->letter ? command->name : "", row->letter ? " " : "", row->letter ? row->letter : "",
           row->letter ? "\"" : "");
    if (row->choices) {
        printf("words=\"");
        completion_words(row->choices);
        printf("\" ;;\n");
    } else if (completion_names(row)) {
        printf("words=$(\"${COMP_WORDS[0]}\" completion names %s \"${config[@]}\" 2>/dev/null) ;;\n",
               completion_names(row));
    } else {
        printf("%s ;;\n", completion_is_file(row) ? "files=1" : "return");
    }
}

static void completion_bash_flag(const struct command *command, const struct flag *row)
{
    (void)command;
    printf(" %s", row->name);
}

static void completion_bash(const struct connectors *connectors)
{
    const struct command *command;
    printf("# source <(aqueduct completion bash), or as /etc/bash_completion.d/aqueduct\n"
           "_aqueduct() {\n"
           "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words= files= i\n"
           "    local -a config=()\n"
           "    for ((i = 2; i + 1 < COMP_CWORD; i++)); do\n"
           "        case \"${COMP_WORDS[i]}\" in -c|--config) config+=(-c \"${COMP_WORDS[i+1]}\") ;; esac\n"
           "    done\n"
           "    COMPREPLY=()\n"
           "    [ \"$COMP_CWORD\" -gt 1 ] || before=\n"
           "    case \"${COMP_WORDS[1]} $before\" in\n");
    for (size_t i = 0; (command = commands_at(connectors, i)); i++)
        completion_rows(command, completion_bash_value);
    printf("    *)\n        if [ \"$COMP_CWORD\" -eq 1 ]; then words=\"");
    for (size_t i = 0; (command = commands_at(connectors, i)); i++)
        printf("%s%s", i ? " " : "", command->name);
    printf("\"; else case \"${COMP_WORDS[1]}\" in\n");
    for (size_t i = 0; (command = commands_at(connectors, i)); i++) {
        printf("        %s) files=1 words=\"", command->name);
        for (const char *const *verb = command->verbs; verb && *verb; verb++)
            printf(" %s", *verb);
        completion_rows(command, completion_bash_flag);
        printf("\" ;;\n");
    }
    printf("        esac; fi ;;\n"
           "    esac\n"
           "    [ -z \"$words\" ] || mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
           "    [ -z \"$files\" ] || [ \"${#COMPREPLY[@]}\" -gt 0 ] || { compopt -o filenames 2>/dev/null; "
           "mapfile -t COMPREPLY < <(compgen -f -- \"$word\"); }\n"
           "}\n"
           "complete -F _aqueduct aqueduct\n");
}

/* ---- zsh ---- */

/* The doc of a flag, in brackets. */
static void completion_zsh_doc(const char *doc)
{
    putchar('[');
    for (const char *c = doc ? doc : ""; *c; c++)
        if (!strchr("[]'\n:", *c))
            putchar(*c);
    putchar(']');
}

static void completion_zsh_one(const struct flag *row, const char *name)
{
    printf(" \\\n            '%s%s", row->type == FLAG_TEXTS ? "*" : "", name);
    completion_zsh_doc(row->doc);
    if (row->choices) {
        printf(":%s:(", row->value ? row->value : "value");
        completion_words(row->choices);
        putchar(')');
    } else if (completion_names(row)) {
        printf(":%s:{compadd -- $(aqueduct completion names %s 2>/dev/null)}", row->value, completion_names(row));
    } else if (completion_takes_value(row)) {
        printf(":%s:%s", row->value ? row->value : "value", completion_is_file(row) ? "_files" : "");
    }
    putchar('\'');
}

static void completion_zsh_flag(const struct command *command, const struct flag *row)
{
    (void)command;
    completion_zsh_one(row, row->name);
    if (row->letter)
        completion_zsh_one(row, row->letter);
}

static void completion_zsh(const struct connectors *connectors)
{
    const struct command *command;
    printf("#compdef aqueduct\n"
           "# source <(aqueduct completion zsh), or as _aqueduct in a folder of $fpath\n"
           "_aqueduct() {\n"
           "    local -a commands=(");
    for (size_t i = 0; (command = commands_at(connectors, i)); i++) {
        printf("\n        '%s:", command->name);
        for (const char *c = command->doc; *c; c++)
            if (*c != '\'')
                putchar(*c);
        putchar('\'');
    }
    printf(")\n"
           "    if (( CURRENT == 2 )); then _describe command commands; return; fi\n"
           "    local name=$words[2]\n"
           "    shift words; (( CURRENT-- ))\n"
           "    case $name in\n");
    for (size_t i = 0; (command = commands_at(connectors, i)); i++) {
        printf("        %s) _arguments -s", command->name);
        completion_rows(command, completion_zsh_flag);
        if (command->verbs) {
            printf(" \\\n            '1:word:(");
            for (const char *const *verb = command->verbs; *verb; verb++)
                printf("%s%s", verb == command->verbs ? "" : " ", *verb);
            printf(")'");
        }
        printf(" \\\n            '*:file:_files' ;;\n");
    }
    printf("    esac\n"
           "}\n"
           "if [ \"$funcstack[1]\" = _aqueduct ]; then _aqueduct \"$@\"; else compdef _aqueduct aqueduct; fi\n");
}

/* ---- fish ---- */

static void completion_fish_flag(const struct command *command, const struct flag *row)
{
    printf("complete -c aqueduct -n '__fish_seen_subcommand_from %s' -l %s", command->name, row->name + 2);
    if (row->letter)
        printf(" -s %s", row->letter + 1);
    if (completion_takes_value(row))
        printf(completion_is_file(row) ? " -r -F" : " -x");
    if (row->choices) {
        printf(" -a '");
        completion_words(row->choices);
        putchar('\'');
    }
    if (completion_names(row))
        printf(" -a '(aqueduct completion names %s 2>/dev/null)'", completion_names(row));
    printf(" -d ");
    completion_quoted(row->doc);
    putchar('\n');
}

static void completion_fish(const struct connectors *connectors)
{
    const struct command *command;
    printf("# aqueduct completion fish > ~/.config/fish/completions/aqueduct.fish\n");
    for (size_t i = 0; (command = commands_at(connectors, i)); i++) {
        printf("complete -c aqueduct -f -n __fish_use_subcommand -a %s -d ", command->name);
        completion_quoted(command->doc);
        putchar('\n');
        for (const char *const *verb = command->verbs; verb && *verb; verb++)
            printf("complete -c aqueduct -f -n '__fish_seen_subcommand_from %s' -a %s\n", command->name, *verb);
        completion_rows(command, completion_fish_flag);
    }
}

/* ---- the command ---- */

static void completion_print(void *ctx, const char *name)
{
    (void)ctx;
    puts(name);
}

/* For the shells: nothing is said of what is wrong. */
static int completion_print_names(const struct command_call *call)
{
    static const char *const kinds[] = { "sources", "sinks", "topics", "places", NULL };
    const char *which = call->word_count > 1 ? call->words[1] : "";
    for (size_t i = 0; kinds[i]; i++)
        if (strcmp(kinds[i], which) == 0) {
            config_each_name((const char *const *)call->files.at, call->files.count, which, completion_print, NULL);
            return COMMAND_DONE;
        }
    return usage_unknown("names of what? unknown word", which, kinds);
}

static int completion_run(struct command_call *call)
{
    if (strcmp(call->words[0], "names") == 0)
        return completion_print_names(call);
    if (call->word_count > 1)
        return usage_wrong(&command_completion, "unknown word \"%s\"", call->words[1]);
    if (strcmp(call->words[0], "bash") == 0)
        completion_bash(call->connectors);
    else if (strcmp(call->words[0], "zsh") == 0)
        completion_zsh(call->connectors);
    else
        completion_fish(call->connectors);
    return COMMAND_DONE;
}

static const char *const completion_shells[] = { "bash", "zsh", "fish", "names", NULL };

const struct command command_completion = {
    .name = "completion",
    .synopsis = "bash|zsh|fish | names sinks|places|sources|topics",
    .doc = "Print what the shell needs to complete the command line: source <(aqueduct completion bash).",
    .notes =
        "cmake --install puts it where the shells look. Values of --sink, --to, --topic and --source are completed by the\n"
        "names in the configuration (`names` prints them; it takes -c as any command).\n",
    .verbs = completion_shells,
    .min_words = 1,
    .max_words = 2,
    .run = completion_run,
};
