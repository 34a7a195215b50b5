/* SPDX-License-Identifier: MIT */
/* `aqueduct check`: everything that is wrong with the configuration. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "bridge/cli/commands.h"
#include "bridge/cli/show_event.h"
#include "bridge/config/config.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"

struct check_flags {
    bool json, show;
    struct strings databases;
};

static const struct flag check_flags[] = {
    FLAG(struct check_flags, json, .name = "--json", .doc = "one JSON object, for programs"),
    FLAG(struct check_flags, show, .name = "--show",
         .doc = "also every option that is set, and which file or variable says it; secrets are hidden"),
    FLAG(struct check_flags, databases, .name = "--database", .value = "FILE",
         .doc = "tries the capture rules on this file; NAME=FILE: those of one source"),
    { 0 },
};

static const char check_notes[] =
    "With --database every rule is prepared against that file instead of the source's own: a table, a column or a\n"
    "{column} that is not there is a mistake (of a preset, which is written for several versions, a warning), as is\n"
    "SQL that is none. It warns of what costs: a look-up without an index, a diff of many rows, rows that a join doubles;\n"
    "and of columns that are published and called like a secret. Then it prints the events that the newest row of each rule\n"
    "would give, and one for each entry of a `map` that fits one of the last 100 rows; it names those that fit none\n"
    "(their ids are not those of a run). The file is only read, and nothing is left beside it.\n\n"
    "Examples:\n"
    "  aqueduct check -c bridge.yaml\n"
    "  aqueduct check --show            # what holds, and whether a file or a variable says it\n"
    "  aqueduct check --database /app/server/storage/anythingllm.db\n"
    "  aqueduct check --database shop=/srv/shop/shop.db --database chat=/srv/chat/webui.db\n";

struct check_samples {
    json_t *list, *missed; /* --json */
    bool json;
    size_t count;
};

static void check_sample(void *ctx, const char *source, const char *rule, bool newest, const struct event *ev)
{
    struct check_samples *samples = ctx;
    samples->count++;
    if (samples->json) {
        json_array_append_new(samples->list, json_pack("{s:s, s:s, s:o}", "source", source, "rule", rule, "event",
                                                       show_event_json(ev)));
        return;
    }
    printf("%s: rule %s: %s would give\n", source, rule, newest ? "its newest row" : "an older row");
    show_event(ev, stdout);
}

static void check_missed(void *ctx, const char *source, const char *rule, const char *what)
{
    struct check_samples *samples = ctx;
    if (samples->json)
        json_array_append_new(samples->missed,
                              json_pack("{s:s, s:s, s:s}", "source", source, "rule", rule, "what", what));
    else
        printf("%s: rule %s: %s\n", source, rule, what);
}

/* Which topics have what people wrote: a list of {"topic", "sources", "why"}. */
static void check_add_content(void *ctx, const char *topic, const char *source, const char *why)
{
    json_t *list = ctx, *one = NULL;
    for (size_t i = json_array_size(list); i > 0 && !one; i--) {
        json_t *before = json_array_get(list, i - 1);
        bool same = strcmp(json_text(before, "topic"), topic) == 0 && strcmp(json_text(before, "why"), why) == 0;
        one = same ? before : NULL;
    }
    if (!one) {
        one = json_pack("{s:s, s:[], s:s}", "topic", topic, "sources", "why", why);
        json_array_append_new(list, one);
    }
    json_array_append_new(json_object_get(one, "sources"), json_string(source));
}

static void check_print_content(const json_t *content)
{
    size_t i, k;
    const json_t *one, *source;
    json_array_foreach(content, i, one)
    {
        const json_t *sources = json_object_get(one, "sources");
        bool several = json_array_size(sources) > 1;
        printf("topic %s gets what people wrote unchanged (source%s", json_string_value(json_object_get(one, "topic")),
               several ? "s" : "");
        json_array_foreach(sources, k, source)
        {
            printf("%s %s", k ? "," : "", json_string_value(source));
        }
        printf(" %s %s)\n", several ? "have" : "has", json_text(one, "why"));
    }
}

/* Those below `sources:`. */
static size_t check_sources(const struct config *c)
{
    size_t n = 0;
    while (n < c->source_count && !c->sources[n].source->sink)
        n++;
    return n;
}

static void check_print(const struct config *c, const struct problems *problems, const struct check_flags *flags,
                        const struct check_samples *samples)
{
    problems_print(problems, stderr);
    if (c && flags->databases.count && !samples->count)
        printf("no event yet: the file has no row that a rule would tell\n");
    if (c)
        printf("ok: %zu source%s, %zu sink%s\n", check_sources(c), check_sources(c) == 1 ? "" : "s", c->sink_count,
               c->sink_count == 1 ? "" : "s");
}

static int check_by_path(const void *a, const void *b)
{
    return strcmp(((const struct config_value *)a)->path, ((const struct config_value *)b)->path);
}

/* What is said, and by whom; defaults are left out. */
static json_t *check_values(struct config *c)
{
    json_t *list = json_array();
    qsort(c->view.at, c->view.count, sizeof *c->view.at, check_by_path);
    for (size_t i = 0; i < c->view.count; i++) {
        const struct config_value *v = &c->view.at[i];
        if (v->file)
            json_array_append_new(list, json_pack("{s:s, s:o, s:s, s:i, s:i}", "path", v->path, "value",
                                                  json_of_text(str_of(v->value)), "file", v->file, "line", v->line,
                                                  "column", v->column));
    }
    return list;
}

static void check_print_values(const json_t *values)
{
    size_t i;
    const json_t *v;
    json_array_foreach(values, i, v)
    {
        json_int_t line = json_integer_value(json_object_get(v, "line"));
        printf("%s = %s  (%s", json_text(v, "path"), json_text(v, "value"), json_text(v, "file"));
        if (line)
            printf(":%" JSON_INTEGER_FORMAT, line);
        printf(")\n");
    }
}

static int check_run(struct command_call *call)
{
    const struct check_flags *flags = call->flags;
    struct problems problems = { 0 };
    struct check_samples samples = { .json = flags->json, .list = json_array(), .missed = json_array() };
    struct config_trial trial = { flags->databases, check_sample, check_missed, &samples };
    struct config *c = config_load_reviewed(call->connectors, (const char *const *)call->files.at, call->files.count,
                                            flags->databases.count ? &trial : NULL, &problems);
    json_t *content = json_array(), *more = json_object();
    if (c)
        content_each(c, check_add_content, content);
    if (c)
        json_object_set(more, "content", content);
    if (flags->databases.count) {
        json_object_set(more, "events", samples.list);
        json_object_set(more, "missed", samples.missed);
    }
    if (c && flags->show)
        json_object_set_new(more, "values", check_values(c));
    if (flags->json) {
        problems_print_json(&problems, more, stdout);
    } else {
        check_print_values(json_object_get(more, "values"));
        check_print(c, &problems, flags, &samples);
        check_print_content(content);
    }
    int code = c ? COMMAND_DONE : COMMAND_FAILED;
    json_decref(more);
    json_decref(content);
    json_decref(samples.list);
    json_decref(samples.missed);
    config_free(c);
    problems_free(&problems);
    return code;
}

const struct command command_check = {
    .name = "check",
    .synopsis = "[-c FILE]... [--database FILE]... [--show] [--json]",
    .doc = "Say everything that is wrong with the configuration; 0: nothing (perhaps warnings), 1: something.",
    .notes = check_notes,
    .flags = check_flags,
    .size = sizeof(struct check_flags),
    .run = check_run,
};
