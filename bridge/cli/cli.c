/* SPDX-License-Identifier: MIT */
/* From the words to one call of one command. */
#include "bridge/cli/cli.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "bridge/cli/ask.h"
#include "bridge/cli/commands.h"
#include "bridge/cli/flags.h"
#include "bridge/cli/help.h"
#include "bridge/cli/made_names.h"
#include "bridge/config/known.h"
#include "bridge/delivery/place.h"
#include "bridge/cli/publish.h"
#include "bridge/cli/usage.h"
#include "bridge/config/config.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/process.h"
#include "bridge/lib/progress.h"

enum { CLI_NAMES = 128 };

/* ---- files ---- */

static void cli_add_file(struct strings *files, char *file)
{
    files->at = mem_grow(files->at, files->count + 1, sizeof *files->at);
    files->at[files->count++] = file;
}

/* Without -c: AQUEDUCT_CONFIG (names with colons between), else ./bridge.yaml if it is there. Returns what owns the
 * names; free() it. */
static char *cli_default_files(struct strings *files)
{
    static char here[] = "bridge.yaml";
    const char *set = getenv("AQUEDUCT_CONFIG");
    char *text = set && *set ? str_dup(str_of(set)) : NULL;
    for (char *one = text, *next; one; one = next) {
        next = strchr(one, ':');
        if (next)
            *next++ = '\0';
        if (*one)
            cli_add_file(files, one);
    }
    if (!text && access(here, F_OK) == 0)
        cli_add_file(files, here);
    return text;
}

/* ---- the call ---- */

static enum outcome cli_publish(const struct command_call *call, const struct record *records, size_t count,
                                struct err *e)
{
    enum outcome o = publisher_put(call->publisher, records, count, e);
    publisher_rest(call->publisher);
    return o;
}

static enum command_asked cli_ask(const struct command_call *call, struct command_question *q, struct err *e)
{
    return ask_daemon(call->config, q, e);
}

/* Takes c. */
static void cli_use(struct config *c, command_use_fn *use, void *ctx)
{
    struct source **sources = mem_alloc((c->source_count + 1) * sizeof *sources);
    for (size_t i = 0; i < c->source_count; i++)
        sources[i] = c->sources[i].source;
    use(ctx, sources, c->source_count);
    free(sources);
    config_free(c);
}

static bool cli_load(const struct command_call *call, struct str yaml, command_use_fn *use, void *ctx, struct err *e)
{
    struct problems problems = { 0 };
    struct config *c = config_load_text(call->connectors, "the configuration", yaml, &problems);
    if (!c) {
        err_set(e, "%s", problems.count ? problems.at[0].text : "");
        problems_free(&problems);
        return false;
    }
    cli_use(c, use, ctx);
    problems_free(&problems);
    return true;
}

static bool cli_load_files(const struct command_call *call, command_use_fn *use, void *ctx)
{
    struct problems problems = { 0 };
    struct config *c = config_load(call->connectors, (const char *const *)call->files.at, call->files.count, &problems);
    if (c)
        cli_use(c, use, ctx);
    else
        problems_print(&problems, stderr);
    problems_free(&problems);
    return c != NULL;
}

/* Calls a command that needs the configuration, if that passes the check. */
static int cli_call_with_config(const struct command *command, struct command_call *call)
{
    struct problems problems = { 0 };
    const char *const *files = (const char *const *)call->files.at;
    struct config *c = command->sinks
                           ? config_load_part(call->connectors, files, call->files.count, command->sinks, &problems)
                           : config_load(call->connectors, files, call->files.count, &problems);
    if (!c || command == &command_run)
        problems_print(&problems, stderr);
    problems_free(&problems);
    if (!c)
        return COMMAND_FAILED;
    known_fill(call, c);
    json_t *made = command == &command_run ? NULL : made_names_ask(call);
    call->made = made;
    call->publish = cli_publish;
    call->ask = cli_ask;
    call->publisher = publisher_new(c);
    call->place = place_find;
    log_setup(c->log.level, c->log.format);
    int code = command->run(call);
    publisher_free(call->publisher);
    known_free(call);
    json_decref(made);
    config_free(c);
    return code;
}

/* Checks the number of words; `files`: those of -c, to which the default is added when there are none. */
static int cli_call(const struct command *command, struct command_call *call, struct strings *files)
{
    if (call->word_count < command->min_words && !command->verbs)
        return usage_wrong(command, "a word is missing: aqueduct %s %s", command->name, command->synopsis);
    if (call->word_count < command->min_words) {
        help_command(command, stderr);
        return COMMAND_USAGE;
    }
    if (call->word_count && !commands_has_verb(command, call->words[0]))
        return usage_verb(command, call->words[0]);
    if (call->word_count > command->max_words)
        return usage_wrong(command, "unknown word \"%s\"", call->words[command->max_words]);
    char *owned = files->count ? NULL : cli_default_files(files);
    call->files = *files;
    bool config = command->config && (!command->needs_config || command->needs_config(call->flags));
    int code = config ? cli_call_with_config(command, call) : command->run(call);
    free(owned);
    return code;
}

/* ---- flags of every command ---- */

struct cli_flags {
    struct flags_all all;
    bool version;
};

static const struct flag cli_front_flags[] = {
    FLAG(struct cli_flags, version, .name = "--version"),
    { 0 },
};

/* Parses what stands behind the command's name, and calls the command. */
static int cli_run(const struct connectors *connectors, const struct command *command, struct cli_flags *flags,
                   int argc, char **argv)
{
    struct err e = { "" };
    struct command_call call = {
        .connectors = connectors,
        .load = cli_load,
        .load_files = cli_load_files,
        .words = argv,
        .flags = mem_alloc(command->size + 1),
    };
    const struct flag_target targets[] = { { command->flags, call.flags }, { flags_of_all, &flags->all } };
    int code = COMMAND_DONE, words = flags_parse(targets, 2, false, argc, argv, &e);
    if (words < 0) {
        code = usage_wrong(command, "%s", e.text);
    } else if (flags->all.help) {
        help_command(command, stdout);
    } else {
        call.word_count = (size_t)words;
        if (command != &command_run)
            progress_watch();
        code = cli_call(command, &call, &flags->all.files);
    }
    flags_free(command->flags, call.flags);
    free(call.flags);
    return code;
}

static int cli_dispatch(const struct connectors *connectors, struct cli_flags *flags, int argc, char **argv)
{
    struct err e = { "" };
    const struct flag_target targets[] = { { cli_front_flags, flags }, { flags_of_all, &flags->all } };
    int words = flags_parse(targets, 2, true, argc, argv, &e);
    if (words < 0)
        return usage_wrong(NULL, "%s", e.text);
    if (flags->version) {
        help_version(stdout);
        return COMMAND_DONE;
    }
    if (words == 0) {
        help_all(connectors, flags->all.help ? stdout : stderr);
        return flags->all.help ? COMMAND_DONE : COMMAND_USAGE;
    }
    const struct command *command = commands_find(connectors, argv[0]);
    if (command)
        return cli_run(connectors, command, flags, words - 1, argv + 1);
    const char *names[CLI_NAMES];
    commands_names(connectors, names, 0, CLI_NAMES);
    return usage_unknown("unknown command", argv[0], names);
}

/* Was all that was printed written? Else says that it was not: half a list looks like a whole one. */
static bool cli_has_said(FILE *out)
{
    bool before = ferror(out), now = fflush(out) != 0;
    if (before || now)
        fprintf(stderr, "aqueduct: what it prints cannot be written%s%s\n", now ? ": " : "",
                now ? strerror(errno) : "");
    return !before && !now;
}

int cli_main(const struct connectors *connectors, int argc, char **argv)
{
    struct cli_flags flags = { 0 };
    process_protect();
    int code = cli_dispatch(connectors, &flags, argc - 1, argv + 1);
    flags_free(flags_of_all, &flags.all);
    return cli_has_said(stdout) || code != COMMAND_DONE ? code : COMMAND_FAILED;
}
