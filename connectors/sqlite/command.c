/* SPDX-License-Identifier: MIT */
/* `aqueduct sqlite inspect`; the rest of `aqueduct sqlite` is setup.c. */
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/command.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"
#include "connectors/sqlite/inspect.h"
#include "bridge/map/map.h"
#include "connectors/sqlite/setup.h"

enum { COMMAND_YAML = 1 << 20, COMMAND_WIDTH = 28 };

static const struct flag command_flags[] = {
    FLAG(struct setup_flags, source, .name = "--source", .value = "NAME",
         .doc = "only that source of the configuration"),
    FLAG(struct setup_flags, dry_run, .name = "--dry-run", .doc = "setup, teardown: print the SQL, and do nothing"),
    FLAG(struct setup_flags, drop, .name = "--drop", .doc = "teardown: take away what may not be read yet, too"),
    FLAG(struct setup_flags, json, .name = "--json", .doc = "JSON, for programs"),
    { 0 },
};

static const char command_usage
    [] = "aqueduct sqlite inspect FILE [--json]                    what is in an application's database\n"
         "aqueduct sqlite setup [--source NAME] [--dry-run]        makes the triggers of rules of kind outbox\n"
         "aqueduct sqlite verify [--source NAME]                   are they there, and right? (1: no)\n"
         "aqueduct sqlite teardown [FILE | --source NAME] [--drop]  takes them away\n";

static const char command_notes[] =
    "inspect says which application's it is, its tables with their rows, and what would be captured, and proposes a configuration:\n"
    "the application's preset, or a rule for each table. What it prints is that configuration, the rest being comments:\n\n"
    "  aqueduct sqlite inspect /app/server/storage/anythingllm.db > bridge.yaml\n"
    "  aqueduct check --database /app/server/storage/anythingllm.db\n\n"
    "The file is only read, a few milliseconds at a time, and nothing is left beside it.\n\n"
    "setup, verify and teardown take the sources of the configuration (-c FILE). setup and teardown write to the database, in\n"
    "one transaction each, and are run as the application's user. setup makes what is missing, changes what a changed rule needs\n"
    "otherwise, takes away what no rule needs, and does nothing where nothing is to be done; a rule that does not fit the\n"
    "database is refused. teardown takes away the triggers, and the tables of changes that are empty; with --drop all\n"
    "of them. teardown FILE does so for every source that ever set up that database. The exit code of verify is 1 when\n"
    "something is missing, or not as it should be.\n";

/* ---- what would be captured ---- */

struct command_found {
    const struct inspection *in;
    json_t *rules, *notes;
};

static void command_note(void *ctx, const char *place, const char *why)
{
    const struct command_found *found = ctx;
    (void)place;
    json_array_append_new(found->notes, json_string(why));
}

static void command_ignore_sample(void *ctx, const char *rule, bool newest, const struct event *ev)
{
    (void)ctx, (void)rule, (void)newest, (void)ev;
}

/* As it is written. */
static const char *command_kind(enum kind kind)
{
    const struct option *row = rule_rows;
    while (strcmp(row->key, "kind") != 0)
        row++;
    const struct option_value *value = row->values;
    while (value->value != (int)kind)
        value++;
    return value->text;
}

static json_t *command_rule(const struct rule_options *o)
{
    json_t *types = json_array();
    const struct map_options *map = o->map.at;
    for (size_t i = 0; i < o->types.count; i++)
        json_add_once(types, o->types.at[i].value);
    for (size_t i = 0; i < o->map.count; i++)
        json_add_once(types, map[i].type);
    return json_pack("{s:s, s:s, s:s?, s:s?, s:o}", "name", o->name, "kind", command_kind(o->kind), "table", o->table,
                     "tables", o->tables, "types", types);
}

/* Takes the source of the proposed configuration: its rules, and how they fit the file. */
static void command_use(void *ctx, struct source *const *sources, size_t count)
{
    struct command_found *found = ctx;
    for (size_t i = 0; i < count; i++) {
        const struct sqlite_source *s = (const struct sqlite_source *)sources[i];
        const struct rule_options *o;
        for (size_t k = 0; (o = source_rule(s, k)); k++)
            json_array_append_new(found->rules, command_rule(o));
        sources[i]->ops->trial(sources[i], &(struct trial){ .path = found->in->s->path,
                                                            .wrong = command_note,
                                                            .doubtful = command_note,
                                                            .faults = found,
                                                            .sample = command_ignore_sample });
    }
}

/* The proposed configuration, read as it will be. */
static bool command_propose(const struct command_call *call, struct command_found *found, bool preset, struct buf *yaml,
                            struct err *e)
{
    buf_reset(yaml);
    json_array_clear(found->rules);
    json_array_clear(found->notes);
    return (propose(found->in, preset, yaml)
            || err_set(e, yaml->failed ? "the names in it are too long for a configuration"
                                       : "it has no table that could be captured"))
           && call->load(call, buf_str(yaml), command_use, found, e);
}

/* ---- printed ---- */

static bool command_reads(const json_t *rule, const char *table)
{
    const char *of = json_string_value(json_object_get(rule, "table"));
    const char *like = json_string_value(json_object_get(rule, "tables"));
    return of ? str_eq_nocase(str_of(of), str_of(table)) : like && sqlite3_strglob(like, table) == 0;
}

static json_t *command_tables(const struct inspection *in, json_t *rules)
{
    json_t *tables = json_array();
    for (size_t i = 0; i < in->table_count; i++) {
        const struct table *t = &in->tables[i];
        json_t *captured = json_array(), *rule;
        size_t k;
        json_array_foreach(rules, k, rule)
        {
            if (command_reads(rule, t->name))
                json_array_append(captured, rule);
        }
        json_array_append_new(tables, json_pack("{s:s, s:I, s:b, s:o}", "name", t->name, "rows", (json_int_t)t->rows,
                                                "exact", t->exact, "rules", captured));
    }
    return tables;
}

static json_t *command_all(const struct command_found *found, bool preset, const char *yaml)
{
    const struct inspection *in = found->in;
    return json_pack("{s:s, s:s?, s:s?, s:s, s:I, s:I, s:I, s:o, s:O, s:s?, s:s}", "file", in->s->path, "application",
                     in->app ? in->app->title : NULL, "preset", preset && in->app ? in->app->preset : NULL,
                     "journal_mode", in->journal, "page_size", (json_int_t)in->page_size, "bytes",
                     (json_int_t)in->bytes, "wal_bytes", (json_int_t)in->wal_bytes, "tables",
                     command_tables(in, found->rules), "notes", found->notes, "advice", preset ? NULL : propose_advice,
                     "configuration", yaml);
}

/* One line of comment; names come from the file. */
static void command_print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void command_print(const char *fmt, ...)
{
    char text[2048];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    str_make_shown(text);
    printf("#%s%s\n", *text ? " " : "", text);
}

static void command_print_table(const json_t *table)
{
    size_t i, k;
    json_t *rule, *type, *rules = json_object_get(table, "rules");
    command_print("  %-*s %9" JSON_INTEGER_FORMAT "%s%s", COMMAND_WIDTH, json_text(table, "name"),
                  json_integer_value(json_object_get(table, "rows")),
                  json_is_true(json_object_get(table, "exact")) ? "" : " or more",
                  json_array_size(rules) ? "" : "  not captured");
    json_array_foreach(rules, i, rule)
    {
        struct buf types = buf_new(1024);
        json_array_foreach(json_object_get(rule, "types"), k, type)
            buf_printf(&types, "%s%s", k ? ", " : "", json_string_value(type));
        const char *list = buf_c(&types);
        command_print("      %s (%s): %s", json_text(rule, "name"), json_text(rule, "kind"),
                      list ? list : "many types");
        buf_free(&types);
    }
}

static void command_print_all(const struct inspection *in, const json_t *all)
{
    size_t i;
    json_t *one;
    command_print("%s: %s", in->s->path, in->app ? in->app->title : "no application that is known");
    command_print("journal mode %s, %" PRId64 " KiB in pages of %" PRId64 " bytes, %" PRId64 " KiB of -wal",
                  in->journal, in->bytes / 1024, in->page_size, in->wal_bytes / 1024);
    command_print("%s", "");
    command_print("  %-*s %9s", COMMAND_WIDTH, "TABLE", "ROWS");
    json_array_foreach(json_object_get(all, "tables"), i, one) command_print_table(one);
    if (in->more)
        command_print("  ... and more tables");
    json_array_foreach(json_object_get(all, "notes"), i, one)
        command_print("%s%s", i ? "" : "note: ", json_string_value(one));
    command_print("%s", "");
    fputs(json_text(all, "configuration"), stdout);
}

/* ---- the command ---- */

static int command_fail(struct err *e)
{
    str_make_shown(e->text);
    fprintf(stderr, "aqueduct sqlite: %s\n", e->text);
    return COMMAND_FAILED;
}

static int command_show(const struct command_call *call, const struct inspection *in)
{
    const struct setup_flags *flags = call->flags;
    struct err e = { "" };
    struct buf yaml = buf_new(COMMAND_YAML);
    struct command_found found = { in, json_array(), json_array() };
    bool preset = in->app && command_propose(call, &found, true, &yaml, &e);
    bool good = preset || command_propose(call, &found, false, &yaml, &e);
    json_t *all = good ? command_all(&found, preset, buf_c(&yaml)) : NULL;
    if (all && flags->json) {
        json_dumpf(all, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
        putchar('\n');
    } else if (all) {
        command_print_all(in, all);
    }
    json_decref(all);
    json_decref(found.rules);
    json_decref(found.notes);
    buf_free(&yaml);
    return all ? COMMAND_DONE : command_fail(&e);
}

static const char *const command_verbs[] = { "inspect", "setup", "verify", "teardown", NULL };

static int command_run(struct command_call *call)
{
    struct inspection in;
    struct err e = { "" };
    const struct setup_flags *flags = call->flags;
    bool known;
    int other = setup_run(call, flags, &known);
    if (known)
        return other;
    if (call->word_count != 2 || flags->source.at || flags->dry_run || flags->drop) {
        fputs("aqueduct sqlite: what of a database? see aqueduct help sqlite\n", stderr);
        return COMMAND_USAGE;
    }
    int code = inspect_open(&in, call->words[1], &e) ? command_show(call, &in) : command_fail(&e);
    inspect_free(&in);
    return code;
}

extern const struct command sqlite_command;
const struct command sqlite_command = {
    .name = "sqlite",
    .doc = "Say what is in an application's database, propose a configuration, and set up triggers.",
    .usage = command_usage,
    .notes = command_notes,
    .flags = command_flags,
    .size = sizeof(struct setup_flags),
    .min_words = 1,
    .max_words = 2,
    .verbs = command_verbs,
    .run = command_run,
};
