/* SPDX-License-Identifier: MIT */
/* The command line: run, check, help, version, schema, and what connectors add. Exit codes: 0 done, 1 failed, 2
 * wrong usage. */
#include <stdlib.h>
#include <unistd.h>
#include "bridge/bridge.h"
#include "bridge/config/config.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

enum { DONE = 0, FAILED = 1, USAGE = 2, FILES = 64 };

struct cli {
    const char *files[FILES];
    size_t file_count;
    bool json, help, version;
    char *from_environment; /* owns what files points to when no -c was given */
};

struct verb {
    const char *name, *usage, *doc;
    int (*run)(struct cli *cli, int argc, char **argv); /* argv behind the verb's own flags */
};

static int run_bridge(struct cli *cli, int argc, char **argv);
static int run_check(struct cli *cli, int argc, char **argv);
static int run_help(struct cli *cli, int argc, char **argv);
static int run_schema(struct cli *cli, int argc, char **argv);
static int run_version(struct cli *cli, int argc, char **argv);

static const struct verb verbs[] = {
    { "run", "run [-c FILE]...", "Run the bridge until SIGTERM or Ctrl-C.", run_bridge },
    { "check", "check [-c FILE]... [--json]",
      "Say everything that is wrong with the configuration; 0: nothing, 1: something.", run_check },
    { "help", "help [NAME]", "Show the options of a source, a sink, a section or a command.", run_help },
    { "schema", "schema", "Print the JSON Schema of the configuration, for editors.", run_schema },
    { "version", "version", "Print the version.", run_version },
};
enum { VERBS = sizeof verbs / sizeof verbs[0] };

static int usage_error(const char *what, const char *word, const char *const *names)
{
    const char *near = names ? str_nearest(str_of(word), names) : NULL;
    fprintf(stderr, "aqueduct: %s \"%s\"", what, word);
    if (near)
        fprintf(stderr, " (did you mean %s?)", near);
    fprintf(stderr, "; see aqueduct --help\n");
    return USAGE;
}

/* ---- flags ---- */

/* Takes the flag at argv[0] if it is one; returns how many words it took, 0 when it is none, -1 after saying what is
 * wrong. */
static int take_flag(struct cli *cli, int argc, char **argv)
{
    static const char *const flags[] = { "-c", "--config", "--json", "--help", "-h", "--version", NULL };
    const char *word = argv[0];
    const char *file = NULL;
    int took = 1;
    if (word[0] != '-')
        return 0;
    if (strcmp(word, "--json") == 0) {
        cli->json = true;
    } else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        cli->help = true;
    } else if (strcmp(word, "--version") == 0) {
        cli->version = true;
    } else if (strcmp(word, "-c") == 0 || strcmp(word, "--config") == 0) {
        file = argc > 1 ? argv[1] : "";
        took = 2;
    } else if (strncmp(word, "--config=", 9) == 0) {
        file = word + 9;
    } else {
        usage_error("unknown flag", word, flags);
        return -1;
    }
    if (file && !*file) {
        usage_error("a file name must follow", word, NULL);
        return -1;
    }
    if (file && cli->file_count == FILES) {
        usage_error("too many files at", file, NULL);
        return -1;
    }
    if (file)
        cli->files[cli->file_count++] = file;
    return took;
}

/* Takes flags up to the first other word; returns its index, or -1. */
static int take_flags(struct cli *cli, int argc, char **argv)
{
    int i = 0;
    while (i < argc) {
        int took = take_flag(cli, argc - i, argv + i);
        if (took < 0)
            return -1;
        if (took == 0)
            break;
        i += took;
    }
    return i;
}

/* Without -c: AQUEDUCT_CONFIG (names with colons between), else ./bridge.yaml if it is there. */
static void default_files(struct cli *cli)
{
    const char *set = getenv("AQUEDUCT_CONFIG");
    if (cli->file_count)
        return;
    if (set && *set) {
        cli->from_environment = str_dup(str_of(set));
        for (char *one = cli->from_environment, *next; one && cli->file_count < FILES; one = next) {
            next = strchr(one, ':');
            if (next)
                *next++ = '\0';
            if (*one)
                cli->files[cli->file_count++] = one;
        }
    } else if (access("bridge.yaml", F_OK) == 0) {
        cli->files[cli->file_count++] = "bridge.yaml";
    }
}

/* ---- help ---- */

static void print_types(FILE *out)
{
    fprintf(out, "\nSources:\n");
    for (size_t i = 0; source_types[i]; i++)
        fprintf(out, "  %-30s %s\n", source_types[i]->type, source_types[i]->doc);
    fprintf(out, "\nSinks:\n");
    for (size_t i = 0; sink_types[i]; i++)
        fprintf(out, "  %-30s %s\n", sink_types[i]->type, sink_types[i]->doc);
}

static void print_help(FILE *out)
{
    fprintf(
        out,
        "Aqueduct brings what happens in AI applications to Kafka topics, signed webhooks and live streams.\n\nCommands:\n");
    for (size_t i = 0; i < VERBS; i++)
        fprintf(out, "  %-30s %s\n", verbs[i].usage, verbs[i].doc);
    for (size_t i = 0; connector_commands[i]; i++)
        fprintf(out, "  %-30s %s\n", connector_commands[i]->name, connector_commands[i]->doc);
    fprintf(out,
            "\nFlags:\n"
            "  %-30s The configuration; several files merge. Without it: the files in AQUEDUCT_CONFIG\n"
            "  %-30s (with colons between), else ./bridge.yaml.\n",
            "-c FILE, --config FILE", "");
    print_types(out);
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
                 "      secrets: [\"${file:/run/secrets/crm}\"]\n\n"
                 "  aqueduct check && aqueduct run\n\n"
                 "More: aqueduct help NAME, where NAME is a source, a sink, a command, or one of\n"
                 "  broker topics source sink routes filter admin log config\n");
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; connector_commands[i]; i++)
        if (strcmp(connector_commands[i]->name, name) == 0)
            return connector_commands[i];
    return NULL;
}

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < VERBS; i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

static int unknown_command(const char *word)
{
    const char *names[VERBS + 33] = { 0 };
    size_t count = 0;
    for (size_t i = 0; i < VERBS; i++)
        names[count++] = verbs[i].name;
    for (size_t i = 0; connector_commands[i] && i < 32; i++)
        names[count++] = connector_commands[i]->name;
    return usage_error("unknown command", word, names);
}

static int help_about(const char *name)
{
    const struct command *command = find_command(name);
    const struct verb *verb = find_verb(name);
    if (config_help(name, stdout))
        return DONE;
    if (command)
        printf("%s", command->usage);
    else if (verb)
        printf("aqueduct %s\n\n%s\n", verb->usage, verb->doc);
    else
        return usage_error("there is no help about", name, config_help_names());
    return DONE;
}

static int run_help(struct cli *cli, int argc, char **argv)
{
    (void)cli;
    if (argc > 1)
        return usage_error("one name is enough, not", argv[1], NULL);
    if (argc == 1)
        return help_about(argv[0]);
    print_help(stdout);
    return DONE;
}

/* ---- the verbs ---- */

static int run_version(struct cli *cli, int argc, char **argv)
{
    (void)cli;
    if (argc)
        return usage_error("unknown word", argv[0], NULL);
    printf("aqueduct %s\n", AQUEDUCT_VERSION);
    return DONE;
}

static int run_schema(struct cli *cli, int argc, char **argv)
{
    (void)cli;
    if (argc)
        return usage_error("unknown word", argv[0], NULL);
    config_schema(stdout);
    return DONE;
}

/* The configuration, or NULL after saying what is wrong with it. */
static struct config *load(struct cli *cli)
{
    struct problems problems = { 0 };
    default_files(cli);
    struct config *c = config_load(cli->files, cli->file_count, &problems);
    if (!c)
        problems_print(&problems, stderr);
    problems_free(&problems);
    return c;
}

static int run_check(struct cli *cli, int argc, char **argv)
{
    struct problems problems = { 0 };
    if (argc)
        return usage_error("unknown word", argv[0], NULL);
    default_files(cli);
    struct config *c = config_load(cli->files, cli->file_count, &problems);
    if (cli->json)
        problems_print_json(&problems, stdout);
    else if (c)
        printf("ok: %zu source%s, %zu sink%s\n", c->source_count, c->source_count == 1 ? "" : "s", c->sink_count,
               c->sink_count == 1 ? "" : "s");
    else
        problems_print(&problems, stderr);
    int code = c ? DONE : FAILED;
    config_free(c);
    problems_free(&problems);
    return code;
}

static int run_bridge(struct cli *cli, int argc, char **argv)
{
    if (argc)
        return usage_error("unknown word", argv[0], NULL);
    struct config *c = load(cli);
    if (!c)
        return FAILED;
    log_setup(c->log.level, c->log.format);
    int code = bridge_main(c);
    config_free(c);
    return code;
}

/* ---- commands of connectors ---- */

static bool publish(const struct command_env *env, const struct record *r, struct err *e)
{
    return bridge_publish_once(env->core, r, e);
}

/* Takes -c FILE out of the words wherever it stands; the other flags behind the command are its own. Returns how
 * many words are left, or -1. */
static int take_files(struct cli *cli, int argc, char **argv)
{
    int left = 0;
    for (int i = 0; i < argc;) {
        bool ours = strcmp(argv[i], "-c") == 0 || strncmp(argv[i], "--config", 8) == 0 || strcmp(argv[i], "--help") == 0
                    || strcmp(argv[i], "-h") == 0;
        int took = ours ? take_flag(cli, argc - i, argv + i) : 0;
        if (took < 0)
            return -1;
        if (took == 0)
            argv[left++] = argv[i++];
        i += took;
    }
    return left;
}

static int run_command(struct cli *cli, const struct command *command, int argc, char **argv)
{
    argc = take_files(cli, argc, argv);
    if (argc < 0)
        return USAGE;
    if (cli->help || argc == 0) {
        fprintf(cli->help ? stdout : stderr, "%s", command->usage);
        return cli->help ? DONE : USAGE;
    }
    struct config *c = load(cli);
    if (!c)
        return FAILED;
    struct sink **sinks = mem_alloc((c->sink_count + 1) * sizeof *sinks);
    struct command_env env = { .sinks = sinks, .publish = publish, .prefix = c->broker.prefix, .core = c };
    for (size_t i = 0; i < c->sink_count; i++)
        if (strcmp(c->sinks[i].sink->ops->type, command->sink_type) == 0)
            sinks[env.sink_count++] = c->sinks[i].sink;
    log_setup(c->log.level, c->log.format);
    int code = command->run(&env, argc, argv);
    free(sinks);
    config_free(c);
    return code;
}

static int dispatch(struct cli *cli, int argc, char **argv)
{
    int at = take_flags(cli, argc, argv);
    if (at < 0)
        return USAGE;
    if (cli->version)
        return run_version(cli, 0, NULL);
    if (at == argc) {
        print_help(cli->help ? stdout : stderr);
        return cli->help ? DONE : USAGE;
    }
    const char *word = argv[at];
    const struct verb *verb = find_verb(word);
    const struct command *command = find_command(word);
    if (!verb && !command)
        return unknown_command(word);
    argc -= at + 1;
    argv += at + 1;
    if (command)
        return run_command(cli, command, argc, argv);
    int behind = take_flags(cli, argc, argv);
    if (behind < 0)
        return USAGE;
    if (cli->help)
        return help_about(word);
    if (cli->json && verb->run != run_check)
        return usage_error("unknown flag", "--json", NULL);
    return verb->run(cli, argc - behind, argv + behind);
}

int main(int argc, char **argv)
{
    struct cli cli = { 0 };
    int code = dispatch(&cli, argc - 1, argv + 1);
    free(cli.from_environment);
    if (fflush(stdout) != 0 && code == DONE)
        code = FAILED;
    return code;
}
