/* SPDX-License-Identifier: MIT */
/* The rows of a file of cases. */
#include "bridge/cli/case.h"

static const struct option case_request_rows[] = {
    OPTION(struct case_request, path, .doc = "Of an HTTP source, with its query: /v1/github."),
    OPTION(struct case_request, headers, .doc = "Beside those that prove the sender."),
    OPTION(struct case_request, body, .doc = "JSON."),
    OPTION(struct case_request, text, .doc = "In the place of `body`: the bytes as they are."),
    { .key = "signed",
      .type = OPT_BOOL,
      .offset = offsetof(struct case_request, signed_),
      .fallback = "true",
      .doc = "It proves its sender by a secret of the path, as aqueduct send does." },
    { 0 },
};

static const struct option case_change_rows[] = {
    OPTION(struct case_change, source,
           .doc = "The source that reads them; may be left out when it is the only one that does."),
    OPTION(
        struct case_change, schema,
        .doc =
            "A file with the SQL of the application's tables (sqlite3 app.db .schema > app.sql), or its database, of which "
            "only the tables are taken. Without it a table has the columns that its rows, and the source's rules, name."),
    OPTION(
        struct case_change, before,
        .doc =
            "Each table's rows before the source looks first: {people: [{id: 7, role: user}]}; without it they are empty."),
    OPTION(
        struct case_change, after,
        .doc =
            "The same when they have changed, of the tables that it names: rows that are not there any more are deleted, "
            "others are found by the rule's `key` and get the columns that are said, or are inserted."),
    { 0 },
};

static const struct option case_delivery_rows[] = {
    OPTION(struct case_delivery, to, .required = true, .doc = "SINK or SINK/ENDPOINT."),
    OPTION(struct case_delivery, method, .doc = "POST, ..."),
    OPTION(struct case_delivery, url, .doc = "With the path and query that the sink adds."),
    OPTION(struct case_delivery, headers, .doc = "Those that are named; \"*\" stands for any value."),
    OPTION(struct case_delivery, body,
           .doc =
               "JSON. In mappings what is not named may be there; null: it is not there; \"*\" stands for any value."),
    OPTION(struct case_delivery, text, .doc = "In the place of `body`: the whole body."),
    OPTION(struct case_delivery, signed_by,
           .doc = "The scheme: standard, ...; none. (Any signature is verified, expected or not.)"),
    { 0 },
};

static const struct option case_rows[] = {
    OPTION(struct test_case, name, .required = true, .doc = "What is expected, in a few words."),
    OPTION(struct test_case, event, .doc = "A CloudEvent; id, source and specversion may be left out."),
    OPTION_GROUP(struct test_case, request, case_request_rows, .doc = "In the place of `event`: what somebody posts."),
    OPTION_GROUP(struct test_case, rows, case_change_rows,
                 .doc = "In the place of `event`: rows of an application's database, as they were and as they become."),
    OPTION(struct test_case, status, .max = 599, .doc = "The answer to the request; default: 2xx."),
    OPTION(struct test_case, events,
           .doc =
               "The events that the request or the rows become, all of them, each compared like `body` of requests."),
    OPTION(struct test_case, topics, .doc = "All topics that get it; [] for none."),
    OPTION(struct test_case, keys, .doc = "Topic to the key of the record there; \"\": none."),
    OPTION(struct test_case, sinks, .doc = "All of SINK or SINK/ENDPOINT that take it; [] for none."),
    OPTION(struct test_case, not, .doc = "Some that do not take it."),
    { .key = "requests",
      .type = OPT_LIST,
      .offset = offsetof(struct test_case, requests),
      .of = case_delivery_rows,
      .of_size = sizeof(struct case_delivery),
      .max = 100,
      .doc = "What receivers get, of the first event that each takes." },
    { 0 },
};

const struct option case_file_rows[] = {
    { .key = "cases",
      .type = OPT_LIST,
      .offset = offsetof(struct case_file, cases),
      .required = true,
      .of = case_rows,
      .of_size = sizeof(struct test_case),
      .min = 1,
      .max = 10000,
      .doc = "One after the other." },
    { 0 },
};

json_t *case_json(const struct tree *tree)
{
    return tree->json ? json_loads(tree->json, JSON_DECODE_ANY, NULL) : NULL;
}

json_t *case_whole_event(const json_t *given)
{
    json_t *whole = json_pack("{s:s, s:s, s:s}", "specversion", "1.0", "id", "test", "source", "/test");
    json_object_update(whole, (json_t *)(uintptr_t)given);
    return whole;
}
