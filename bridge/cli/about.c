/* SPDX-License-Identifier: MIT */
/* `aqueduct help`, `aqueduct schema` and `aqueduct version`: what the program says about itself. */
#include <stdio.h>
#include <string.h>
#include "bridge/cli/case.h"
#include "bridge/cli/commands.h"
#include "bridge/cli/help.h"
#include "bridge/cli/schemas.h"
#include "bridge/cli/usage.h"
#include "bridge/config/sheet.h"
#include "bridge/intake/route.h"

#define ABOUT_EVENTS "events"
enum { ABOUT_NAMES = 1024 };

/* Says which names there is help about. */
static int about_unknown(const struct connectors *connectors, const char *name)
{
    const char *names[ABOUT_NAMES];
    size_t n = 0;
    for (const char *const *of_config = config_help_names(connectors); of_config[n] && n < ABOUT_NAMES / 2; n++)
        names[n] = of_config[n];
    names[n++] = ABOUT_EVENTS;
    commands_names(connectors, names, n, ABOUT_NAMES);
    return usage_unknown("there is no help about", name, names);
}

/* The type of that name; NULL, when it has said that there is none. */
static const struct vocabulary_type *about_type(const char *name)
{
    const struct vocabulary_type *type = vocabulary_type(str_of(name));
    const struct vocabulary_type *now = type ? NULL : vocabulary_formerly(str_of(name), false);
    const char *near = type || now ? NULL : vocabulary_nearest_type(str_of(name));
    if (now)
        usage_wrong(NULL, "there is no type \"%s\"; in the vocabulary that is %s", name, now->name);
    else if (!type && near)
        usage_wrong(NULL, "there is no type \"%s\" in the vocabulary (did you mean %s?)", name, near);
    else if (!type)
        usage_wrong(NULL, "there is no type \"%s\" in the vocabulary (aqueduct help events lists them)", name);
    return type;
}

static int about_events(const char *name)
{
    if (!name) {
        schemas_list(stdout);
        return COMMAND_DONE;
    }
    const struct vocabulary_type *type = about_type(name);
    if (type)
        schemas_describe(type, stdout);
    return type ? COMMAND_DONE : COMMAND_USAGE;
}

/* A type of source may have a command of its name. */
static bool about_is_source(const struct connectors *connectors, const char *name)
{
    for (const struct source_ops *const *type = connectors->sources; *type; type++)
        if (strcmp((*type)->type, name) == 0)
            return true;
    return false;
}

/* `help dead list`, `help sqlite capture`: a part of what the first word names. */
static int about_part(const struct connectors *connectors, const char *name, const char *part)
{
    const struct command *command = commands_find(connectors, name);
    if (config_help_option(connectors, name, part, stdout))
        return COMMAND_DONE;
    if (!command || !command->verbs || (about_is_source(connectors, name) && !commands_has_verb(command, part)))
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
    if (strcmp(name, ABOUT_EVENTS) == 0)
        return about_events(call->word_count > 1 ? call->words[1] : NULL);
    const struct command *command = commands_find(call->connectors, name);
    if (call->word_count > 1)
        return about_part(call->connectors, name, call->words[1]);
    if (command) {
        bool also = about_is_source(call->connectors, name) || strcmp(name, "endpoints") == 0;
        if (also && config_help(call->connectors, name, stdout)) /* the word names both */
            putchar('\n');
        help_command(command, stdout);
        config_help_add_section(call->connectors, name, stdout);
        return COMMAND_DONE;
    }
    return config_help(call->connectors, name, stdout) ? COMMAND_DONE : about_unknown(call->connectors, name);
}

const struct command command_help = {
    .name = "help",
    .synopsis = "[NAME [OPTION]]",
    .doc = "Show the options of a source, a sink, a section or a command, or one of them; or the types of events.",
    .max_words = 2,
    .run = about_help,
};

struct schema_flags {
    bool closed, test;
};

static const struct flag schema_flags[] = {
    FLAG(struct schema_flags, closed, .name = "--closed",
         .doc = "of a type: without room for keys that it does not name, for registries that want it so"),
    FLAG(struct schema_flags, test, .name = "--test", .doc = "of the files of aqueduct test"),
    { 0 },
};

/* The encoding of a route by that name; NULL: there is none. */
static const struct option_value *about_encoding(const char *name)
{
    const struct option_value *found = route_encodings;
    while (name && found->text && strcmp(found->text, name) != 0)
        found++;
    return name && found->text ? found : NULL;
}

static int about_registered(const struct option_value *encoding)
{
    enum record_schema s = route_schema(&(struct route_config){ .encoding = (enum route_encoding)encoding->value });
    if (s == SCHEMA_NONE)
        return usage_wrong(&command_schema, "records of `encoding: %s` have no schema in a registry", encoding->text);
    schemas_print_registered(s, stdout);
    return COMMAND_DONE;
}

static int about_schema(struct command_call *call)
{
    const struct schema_flags *flags = call->flags;
    const char *name = call->word_count ? call->words[0] : NULL;
    bool asyncapi = name && strcmp(name, "asyncapi") == 0, openapi = name && strcmp(name, "openapi") == 0;
    const struct option_value *encoding = about_encoding(name);
    if (flags->closed && (!name || asyncapi || openapi || encoding))
        return usage_wrong(&command_schema, "--closed is for the schema of a type");
    if (flags->test && name)
        return usage_wrong(&command_schema, "--test goes without a name");
    if (flags->test) {
        sheet_schema("Aqueduct test cases", case_file_rows, stdout);
    } else if (!name) {
        config_schema(call->connectors, stdout);
    } else if (asyncapi) {
        schemas_print_asyncapi(stdout);
    } else if (openapi) {
        schemas_print_openapi(stdout);
    } else if (encoding) {
        return about_registered(encoding);
    } else {
        const struct vocabulary_type *type = about_type(name);
        if (!type)
            return COMMAND_USAGE;
        schemas_print(type, flags->closed, stdout);
    }
    return COMMAND_DONE;
}

const struct command command_schema = {
    .name = "schema",
    .synopsis = "[[--closed] TYPE | asyncapi | openapi | ENCODING | --test]",
    .doc =
        "Print the JSON Schema of the configuration, for editors; of a type's data; all types as AsyncAPI; the JSON API as OpenAPI; or what routes with that `encoding` have in the schema registry (aqueduct help routes encoding lists them).",
    .flags = schema_flags,
    .size = sizeof(struct schema_flags),
    .max_words = 1,
    .run = about_schema,
};

struct version_flags {
    bool json;
};

static const struct flag version_flags[] = {
    FLAG(struct version_flags, json, .name = "--json", .doc = "one JSON object"),
    { 0 },
};

static int about_version(struct command_call *call)
{
    const struct version_flags *flags = call->flags;
    if (flags->json)
        printf("{\"version\":\"%s\"}\n", AQUEDUCT_VERSION);
    else
        help_version(stdout);
    return COMMAND_DONE;
}

const struct command command_version = {
    .name = "version",
    .doc = "Print the version.",
    .flags = version_flags,
    .size = sizeof(struct version_flags),
    .run = about_version,
};
