/* SPDX-License-Identifier: MIT */
/* `aqueduct plan` and `aqueduct reload`: what a change of the configuration's files does to the running daemon. */
#include "bridge/cli/ask.h"
#include "bridge/cli/commands.h"
#include "bridge/config/plan.h"
#include "bridge/lib/json.h"

enum { RELOAD_WAIT_MS = 300000 }; /* what stops finishes what it has begun */

struct reload_flags {
    bool json;
    struct str from;
};

static const struct flag reload_flags_of[] = {
    FLAG(struct reload_flags, json, .name = "--json", .doc = "one JSON object, for programs"),
    { 0 },
};

static const struct flag plan_flags_of[] = {
    FLAG(struct reload_flags, from, .name = "--from", .value = "OLD.yaml",
         .doc = "compare with this file, and ask no daemon"),
    FLAG(struct reload_flags, json, .name = "--json", .doc = "one JSON object, for programs"),
    { 0 },
};

#define RELOAD_LINES                                                                                                       \
    "A line begins with + for what comes, - for what goes, ~ for what changes, and tells the keys that differ.\n"          \
    "A source or sink of which more than endpoints differ stops, when it has finished what it has begun, and begins\n"     \
    "anew where it stood, and its connections end, also if the reload is then refused (new ones wait); what has no line\n" \
    "goes on untouched.\n"

static const char reload_notes[] =
    "The daemon reads the files that it was started with, checks them as a whole, and either becomes what they say or\n"
    "stays as it is: then the exit code is 1 and the problems are said. SIGHUP does the same; the log says what\n"
    "became of it. A running process keeps its environment, so ${VAR} is what it was at the start; ${file:...} is read\n"
    "again.\n\n" RELOAD_LINES "\nExamples:\n  aqueduct plan -c bridge.yaml\n  aqueduct reload -c bridge.yaml\n";

static const char plan_notes[] =
    "The running daemon says what `aqueduct reload` would do, and changes nothing; with --from no daemon is asked. The\n"
    "exit code is 1 when it would be refused, and the problems are said. What a source or sink has to open (a port, a\n"
    "database, a file) only the reload tries: where that fails it is refused, and what had stopped goes on as it was.\n\n" RELOAD_LINES
    "\nExamples:\n  aqueduct plan -c bridge.yaml\n  aqueduct plan -c new.yaml --from bridge.yaml\n";

/* ---- what is said ---- */

static void reload_print_problems(const json_t *answer)
{
    size_t i;
    const json_t *p;
    json_array_foreach(json_object_get(answer, "problems"), i, p)
    {
        const char *file = json_text(p, "file");
        if (file[0])
            fprintf(stderr, "%s:%d:%d: ", file, (int)json_integer_value(json_object_get(p, "line")),
                    (int)json_integer_value(json_object_get(p, "column")));
        fprintf(stderr, "%s\n", json_text(p, "text"));
    }
}

/* Takes the answer over. */
static int reload_print(json_t *answer, const struct reload_flags *flags)
{
    bool ok = json_is_true(json_object_get(answer, "ok"));
    if (flags->json) {
        json_dumpf(answer, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
        fputc('\n', stdout);
    } else {
        reload_print_problems(answer);
        plan_print_json(json_object_get(answer, "changes"), stdout);
    }
    json_decref(answer);
    return ok ? COMMAND_DONE : COMMAND_FAILED;
}

/* ---- a daemon is asked ---- */

/* The files may say where it will be, and not where it is. */
static void reload_nobody(struct err *e)
{
    struct err why = *e;
    err_set(e,
            "%s. It is looked for where these files say: one that runs with another broker.path, admin.control or "
            "admin.listen is not found (plan --from OLD.yaml compares without it)",
            why.text);
}

/* What the daemon says, of one that is refused, too; NULL with *e. */
static json_t *reload_call(const struct config *c, bool apply, struct err *e)
{
    struct command_question q = { .method = "POST",
                                  .path = apply ? "/api/v1/reload" : "/api/v1/config/plan",
                                  .wait_ms = RELOAD_WAIT_MS };
    enum command_asked asked = ask_daemon(c, &q, e);
    if (asked == ASKED_DONE || json_object_get(q.answer, "ok"))
        return q.answer;
    json_decref(q.answer);
    if (asked == ASKED_NOBODY && q.status == 0)
        reload_nobody(e);
    return NULL;
}

static int reload_ask(struct command_call *call, bool apply)
{
    const struct reload_flags *flags = call->flags;
    struct problems problems = { 0 };
    struct err e = { "" };
    /* The daemon says what is wrong with the rest; here may be less of what it names. */
    struct config *c = config_load_part(call->connectors, (const char *const *)call->files.at, call->files.count, "",
                                        &problems);
    if (!c && flags->json)
        problems_print_json(&problems, NULL, stdout);
    else if (!c)
        problems_print(&problems, stderr);
    problems_free(&problems);
    if (!c)
        return COMMAND_FAILED;
    json_t *answer = c->broker_missing ? NULL : reload_call(c, apply, &e);
    if (!answer)
        fprintf(stderr, "aqueduct: %s\n", c->broker_missing ? c->broker_missing : e.text);
    config_free(c);
    return answer ? reload_print(answer, flags) : COMMAND_FAILED;
}

static int reload_command(struct command_call *call)
{
    return reload_ask(call, true);
}

/* ---- two files are compared ---- */

static struct config *reload_load(struct command_call *call, const char *const *files, size_t count)
{
    struct problems problems = { 0 };
    struct config *c = config_load(call->connectors, files, count, &problems);
    if (!c)
        problems_print(&problems, stderr);
    problems_free(&problems);
    return c;
}

static int plan_files(struct command_call *call, const struct reload_flags *flags)
{
    struct err e = { "" };
    const char *const from[] = { flags->from.at };
    struct config *before = reload_load(call, from, 1);
    struct config *after = reload_load(call, (const char *const *)call->files.at, call->files.count);
    int code = COMMAND_FAILED;
    if (before && after) {
        struct plan plan = plan_make(before, after, NULL, NULL);
        bool ok = plan_is_possible(&plan, &e);
        json_t *answer = json_pack("{s:b,s:o}", "ok", ok, "changes", plan_json(&plan));
        if (ok)
            json_object_set_new(answer, "applied", json_false());
        else
            json_object_set_new(answer, "problems",
                                json_pack("[{s:n,s:i,s:i,s:s,s:s}]", "file", "line", 0, "column", 0, "severity",
                                          "error", "text", e.text));
        code = reload_print(answer, flags);
        plan_free(&plan);
    }
    config_free(before);
    config_free(after);
    return code;
}

static int plan_command(struct command_call *call)
{
    const struct reload_flags *flags = call->flags;
    return flags->from.at ? plan_files(call, flags) : reload_ask(call, false);
}

const struct command command_plan = {
    .name = "plan",
    .doc = "Say what a reload would change, beforehand.",
    .synopsis = "[-c FILE]... [--from OLD.yaml] [--json]",
    .notes = plan_notes,
    .flags = plan_flags_of,
    .size = sizeof(struct reload_flags),
    .run = plan_command,
};

const struct command command_reload = {
    .name = "reload",
    .doc = "Have the running daemon read its configuration again.",
    .synopsis = "[-c FILE]... [--json]",
    .notes = reload_notes,
    .flags = reload_flags_of,
    .size = sizeof(struct reload_flags),
    .run = reload_command,
};
