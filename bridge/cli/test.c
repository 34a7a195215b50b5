/* SPDX-License-Identifier: MIT */
/* `aqueduct test`: what the configuration makes of events, requests and rows, against what is expected of it. No network, no daemon, no
 * broker: the router, the filters, the mapping and the requests are those of a run. */
#include <glob.h>
#include <stdlib.h>
#include "bridge/cli/commands.h"
#include "bridge/cli/test_private.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

enum { TEST_FILES = 4096 };

struct test_flags {
    bool json;
};

static const struct flag test_flags[] = {
    FLAG(struct test_flags, json, .name = "--json", .doc = "one JSON object"),
    { 0 },
};

static const char test_notes[] =
    "A file has cases: an event, a request to a path of an HTTP source, or rows of a database that change, and what is\n"
    "expected of it. What is not said is not looked at.\n\n"
    "  cases:\n"
    "    - name: an answer goes to the CRM\n"
    "      event: {type: chat.response.generated, subject: c/1, data: {output: {text: Hi}}}\n"
    "      topics: [ai.events]\n"
    "      keys: {ai.events: c/1}\n"
    "      sinks: [crm, live]                  # all that take it; `not: [audit]` names some that do not\n"
    "      requests:\n"
    "        - {to: crm, signed_by: standard, headers: {webhook-id: \"*\"}, body: {data: {output: {text: Hi}}}}\n"
    "    - name: a push of GitHub\n"
    "      request: {path: /v1/github, headers: {X-GitHub-Event: push}, body: {ref: refs/heads/main}}\n"
    "      events: [{type: github.push}]\n"
    "    - name: without a signature it is refused\n"
    "      request: {path: /v1/github, signed: false, body: {}}\n"
    "      status: 401\n"
    "    - name: a person gets another role\n"
    "      rows:                               # a SQLite source: its own rules, on a database that is made for the case\n"
    "        source: desk\n"
    "        before: {people: [{id: 7, name: Ann, role: user}]}\n"
    "        after: {people: [{id: 7, role: admin}]}    # a row that is missing here was deleted\n"
    "      events: [{type: user.updated, data: {user: {id: \"7\", role: admin}, before: {user: {role: user}}}}]\n\n"
    "FILE may be a pattern in quotes. Each expectation that fails is said with its file, line and column; exit code 1. Its JSON\n"
    "Schema, for editors: aqueduct schema --test.\n";

/* What the source said of its rules may be why a case fails. */
static void test_tell_doubts(struct test *t)
{
    size_t i;
    const json_t *one;
    if (t->here > 0)
        json_array_foreach(t->doubts, i, one) test_fail(t, "rows", NULL, NULL, json_string_value(one));
    json_array_clear(t->doubts);
}

static void test_run_case(struct test *t)
{
    t->here = t->event_count = 0;
    bool event = t->at->event.json, request = t->at->request.path, rows = test_says(t, "rows");
    if (event + request + rows != 1)
        test_fail(t, "", NULL, NULL, "a case has an event, a request with its path, or rows");
    else if (request)
        test_take_request(t);
    else if (rows)
        test_take_rows(t);
    else
        test_take_event(t);
    if (t->here == 0)
        test_expect(t);
    test_tell_doubts(t);
    for (size_t i = 0; i < t->event_count; i++)
        event_unref(t->events[i]);
    t->cases++;
    t->failed += t->here > 0;
}

static bool test_run_file(struct test *t, const char *file, struct problems *problems)
{
    struct sheet *sheet = sheet_load(file, case_file_rows, sizeof(struct case_file), problems);
    const struct case_file *f = sheet ? sheet_object(sheet) : NULL;
    t->sheet = sheet;
    t->file = file;
    for (t->index = 0; f && t->index < f->cases.count; t->index++) {
        t->at = (const struct test_case *)f->cases.at + t->index;
        test_run_case(t);
    }
    sheet_free(sheet);
    return f != NULL;
}

/* Of a word that is a pattern, each file; a word that fits none is a file that is not there. */
static bool test_run_word(struct test *t, const char *word, struct problems *problems)
{
    glob_t files;
    bool good = true;
    if (glob(word, GLOB_NOCHECK, NULL, &files) != 0)
        return test_run_file(t, word, problems);
    for (size_t i = 0; i < files.gl_pathc; i++)
        good = test_run_file(t, files.gl_pathv[i], problems) && good;
    globfree(&files);
    return good;
}

static int test_run(struct command_call *call)
{
    const struct test_flags *f = call->flags;
    struct problems problems = { 0 };
    bool good = true;
    log_setup(LOG_ERROR, LOG_LOGFMT); /* what is wrong is told of its case */
    struct test *t = mem_alloc(sizeof *t);
    *t = (struct test){
        .config = call->config, .router = router_new(call->config), .failures = json_array(), .doubts = json_array()
    };
    for (size_t i = 0; i < call->word_count; i++)
        good = test_run_word(t, call->words[i], &problems) && good;
    good = good && t->failed == 0;
    test_say_all(t, &problems, good, f->json);
    problems_free(&problems);
    json_decref(t->failures);
    json_decref(t->doubts);
    router_free(t->router);
    free(t);
    return good ? COMMAND_DONE : COMMAND_FAILED;
}

const struct command command_test = {
    .name = "test",
    .synopsis = "[-c FILE]... FILE... [--json]",
    .doc = "Run cases: an event, a request or rows in, expected topics, sinks and requests out.",
    .notes = test_notes,
    .flags = test_flags,
    .size = sizeof(struct test_flags),
    .min_words = 1,
    .max_words = TEST_FILES,
    .config = true,
    .run = test_run,
};
