/* SPDX-License-Identifier: MIT */
/* `aqueduct check`: everything that is wrong with the configuration. */
#include <jansson.h>
#include <string.h>
#include "bridge/cli/commands.h"
#include "bridge/config/config.h"

struct check_flags {
    bool json;
};

static const struct flag check_flags[] = {
    FLAG(struct check_flags, json, .name = "--json", .doc = "one JSON object, for programs"),
    { 0 },
};

/* Which topics have what people wrote: a list of {"topic", "sources"}. */
static void check_add_content(void *ctx, const char *topic, const char *source)
{
    json_t *list = ctx, *last = json_array_get(list, json_array_size(list) - 1);
    if (!last || strcmp(json_string_value(json_object_get(last, "topic")), topic) != 0) {
        last = json_pack("{s:s, s:[]}", "topic", topic, "sources");
        json_array_append_new(list, last);
    }
    json_array_append_new(json_object_get(last, "sources"), json_string(source));
}

static void check_print_content(const json_t *content)
{
    size_t i, k;
    const json_t *one, *source;
    json_array_foreach(content, i, one)
    {
        printf("topic %s has what people wrote, as it is, by content: full of",
               json_string_value(json_object_get(one, "topic")));
        json_array_foreach(json_object_get(one, "sources"), k, source)
            printf("%s %s", k ? "," : "", json_string_value(source));
        putchar('\n');
    }
}

static int check_run(struct command_call *call)
{
    const struct check_flags *flags = call->flags;
    struct problems problems = { 0 };
    struct config *c = config_load_reviewed(call->connectors, (const char *const *)call->files.at, call->files.count,
                                            &problems);
    int code = c ? COMMAND_DONE : COMMAND_FAILED;
    json_t *content = json_array();
    if (c)
        content_each(c, check_add_content, content);
    if (flags->json)
        problems_print_json(&problems, c ? content : NULL, stdout);
    else
        problems_print(&problems, stderr);
    if (c && !flags->json)
        printf("ok: %zu source%s, %zu sink%s\n", c->source_count, c->source_count == 1 ? "" : "s", c->sink_count,
               c->sink_count == 1 ? "" : "s");
    if (!flags->json)
        check_print_content(content);
    json_decref(content);
    config_free(c);
    problems_free(&problems);
    return code;
}

const struct command command_check = {
    .name = "check",
    .synopsis = "[-c FILE]... [--json]",
    .doc = "Say everything that is wrong with the configuration; 0: nothing (perhaps warnings), 1: something.",
    .flags = check_flags,
    .size = sizeof(struct check_flags),
    .run = check_run,
};
