/* SPDX-License-Identifier: MIT */
/* Bodies through a path's `map`: what they become, what is stored as it came, and which of them are repeats. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/log.h"
#include "connectors/http/path.h"
#include "connectors/http/path_check.h"
#include "tests/support/connector.h"
#include "tests/support/metric.h"
#include "tests/support/test.h"

extern const struct source_ops http_source;

enum { ROOM = 8 };

/* A path by itself, and what its last request became. */
static struct path path;
static struct path_options options;
static struct sandbox sandbox;
static const struct event *events[ROOM];
static int count, status;
static struct err failure;
static struct buf origins = { .max = (ROOM + 1) * PATH_ORIGIN };

static void forget(void)
{
    for (int i = 0; i < count; i++)
        event_unref(events[i]);
    count = 0;
}

static int end(void **state)
{
    (void)state;
    forget();
    path_close(&path);
    if (sandbox.db)
        sandbox_close(&sandbox);
    buf_free(&origins);
    path = (struct path){ 0 };
    options = (struct path_options){ 0 };
    return 0;
}

static const char *const reasons[] = { "other", "failed", "not_json", "" };
static int64_t missed_before[4];

static int64_t counted(const char *reason)
{
    return *reason ? metric_value(metric_named("aqueduct_http_unmapped_total", LABELS("hooks", "/in", reason)))
                   : metric_value(metric_named("aqueduct_http_left_out_total", LABELS("hooks", "/in")));
}

/* Since the path was opened; "": values that were left out. */
static int64_t missed(const char *reason)
{
    for (size_t i = 0; i < 4; i++)
        if (strcmp(reasons[i], reason) == 0)
            return counted(reason) - missed_before[i];
    return -1;
}

static bool has(struct str s, const char *text)
{
    return memmem(s.at, s.n, text, strlen(text)) != NULL;
}

static void begin_verified(const char *verify, const char *yaml)
{
    struct buf text = buf_new(1 << 16);
    buf_printf(&text, "path: /in\nverify: %s\n%s", verify, yaml);
    options_fill(path_rows, &options, buf_c(&text));
    buf_free(&text);
    failure = (struct err){ 0 };
    if (!path_check(&options, &failure))
        fail_msg("%s", failure.text);
    sandbox_open(&sandbox, 1 << 20);
    assert_true(path_open(&path, &options, &sandbox, "hooks", &failure));
    for (size_t i = 0; path.mapping && i < 4; i++)
        missed_before[i] = counted(reasons[i]);
}

static void begin(const char *yaml)
{
    begin_verified("{scheme: none}", yaml);
}

static void post_with(const struct header *headers, size_t header_count, const char *body)
{
    static struct buf form;
    const struct path_limits most = { .events = ROOM, .attributes = 64, .form = &form };
    struct http_request r = { .headers = headers, .header_count = header_count, .body = str_of(body) };
    forget();
    status = 0;
    count = path_events(&path, &r, &most, events, &origins, &status, &failure);
}

static void post(const char *body)
{
    const struct header json = { STR("Content-Type"), STR("application/json") };
    post_with(&json, 1, body);
}

static void is(struct str found, const char *expected)
{
    if (!str_eq(found, str_of(expected)))
        print_error("\"%.*s\" is not \"%s\"\n", STR_ARG(found), expected);
    assert_true(str_eq(found, str_of(expected)));
}

#define CHAT                                                                                                           \
    "app: shop\n"                                                                                                      \
    "id: :body->>'$.event_id'\n"                                                                                       \
    "time: :body->>'$.at'\n"                                                                                           \
    "data: {conversation.id: \":body->>'$.session'\", message.id: \":body->>'$.n'\"}\n"                                \
    "map:\n"                                                                                                           \
    "- type: chat.response.generated\n"                                                                                \
    "  when: :body->>'$.kind' = 'answer'\n"                                                                            \
    "  data: {output.text: \":body->>'$.text'\", usage.total_tokens: \":body->>'$.tokens'\"}\n"

#define ANSWER                                                                                                         \
    "{\"event_id\":\"e1\",\"kind\":\"answer\",\"at\":1750287018,\"session\":\"s\",\"n\":7,\"text\":\"Hi\",\"tokens\":\"3\"}"

/* ---- what comes of a body ---- */

TEST(an_event_of_the_vocabulary)
{
    begin(CHAT);
    post(ANSWER);
    assert_int_equal(count, 1);
    is(events[0]->id, "e1");
    is(events[0]->source, "/http/hooks/in");
    is(events[0]->type, "chat.response.generated");
    is(events[0]->subject, "conversations/s/messages/7");
    is(events[0]->time, "2025-06-18T22:50:18.000Z");
    is(events[0]->dataschema, "urn:aqueduct:event/chat.response.generated/1");
    is(events[0]->datacontenttype, "application/json");
    is(event_attribute(events[0], STR("partitionkey")), "s");
    is(events[0]->data, "{\"app\":{\"name\":\"shop\"},\"conversation\":{\"id\":\"s\"},\"message\":{\"id\":\"7\"},"
                        "\"output\":{\"text\":\"Hi\",\"chars\":2},\"usage\":{\"total_tokens\":3}}");
    assert_int_equal(origins.n, 0);
}

TEST(what_fits_no_entry_is_stored_as_it_came)
{
    begin(CHAT "type: shop.posted\n");
    post("{\"event_id\":\"e2\",\"kind\":\"order\",\"at\":1750287018}");
    assert_int_equal(count, 1);
    is(events[0]->id, "e2");
    is(events[0]->type, "shop.posted");
    is(events[0]->time, "2025-06-18T22:50:18.000Z");
    is(events[0]->data, "{\"event_id\":\"e2\",\"kind\":\"order\",\"at\":1750287018}");
    assert_int_equal(missed("other"), 1);
    assert_int_equal(missed("failed"), 0);
}

TEST(what_the_map_fails_on_is_stored_as_it_came)
{
    begin(CHAT "type: shop.posted\n");
    const char *lacking = "{\"event_id\":\"e3\",\"kind\":\"answer\",\"session\":\"s\",\"n\":7}";
    post(lacking);
    assert_int_equal(count, 1);
    is(events[0]->id, "e3");
    is(events[0]->type, "shop.posted");
    is(events[0]->data, lacking);
    assert_int_equal(missed("failed"), 1);
    const struct header text = { STR("Content-Type"), STR("text/plain") };
    post_with(&text, 1, "not JSON");
    assert_int_equal(count, 1);
    is(events[0]->data, "not JSON");
    assert_int_equal(missed("not_json"), 1);
    post_with(&text, 1, ANSWER); /* JSON, whatever it is called */
    is(events[0]->type, "chat.response.generated");
    post("{\"kind\":");
    assert_int_equal(count, -1);
    assert_int_equal(status, 400);
    assert_int_equal(missed("failed"), 1);
}

TEST(sql_that_fails_for_a_body)
{
    begin(
        "app: a\nid: :body->>'$.id'\nmap: [{type: run.finished, data: {run.id: \"json_extract(:body->>'$.inner', '$.id')\"}}]\n");
    post("{\"id\":\"i\",\"inner\":\"{\\\"id\\\":5}\"}");
    is(events[0]->data, "{\"app\":{\"name\":\"a\"},\"run\":{\"id\":\"5\"}}");
    post("{\"id\":\"i\",\"inner\":\"broken\"}");
    is(events[0]->type, "webhook.received");
    is(events[0]->id, "i");
    assert_int_equal(missed("failed"), 1);
}

TEST(a_value_without_its_form_is_left_out)
{
    begin(CHAT);
    post("{\"event_id\":\"e1\",\"kind\":\"answer\",\"session\":\"s\",\"n\":7,\"text\":\"Hi\",\"tokens\":\"many\"}");
    is(events[0]->data, "{\"app\":{\"name\":\"shop\"},\"conversation\":{\"id\":\"s\"},\"message\":{\"id\":\"7\"},"
                        "\"output\":{\"text\":\"Hi\",\"chars\":2}}");
    assert_int_equal(missed(""), 1);
    assert_int_equal(missed("failed"), 0);
}

TEST(unmapped)
{
    begin(CHAT "unmapped: drop\n");
    post("{\"kind\":\"order\"}");
    assert_int_equal(count, 0);
    post("{\"kind\":\"answer\"}"); /* it fails: nothing is dropped that was wanted */
    assert_int_equal(count, -1);
    assert_int_equal(status, 422);
    assert_says(failure.text,
                "map[0]: data: conversation.id has no value, which events of chat.response.generated must have");
    end(NULL);
    begin(CHAT "unmapped: refuse\n");
    post("{\"kind\":\"order\"}");
    assert_int_equal(status, 422);
    assert_says(failure.text, "no entry of `map` fits the body");
}

TEST(privacy)
{
    begin(CHAT "unmapped: refuse\ncontent: hash\ncontent_key: sixteen bytes or more\n");
    post(ANSWER);
    assert_int_equal(count, 1);
    assert_false(has(events[0]->data, "Hi"));
    assert_true(has(events[0]->data, "\"chars\":2,\"digest\":\"hmac-sha256:"));
    end(NULL);
    begin(CHAT "unmapped: drop\ncontent_max: 1\n");
    post(ANSWER);
    assert_true(has(events[0]->data, "{\"text\":\"H\",\"chars\":2,\"truncated\":true}"));
}

TEST(raw)
{
    begin("app: a\nraw: body\nmap: [{type: run.finished, data: {run.id: \":body->>'$.id'\"}}]\n");
    post(" {\"id\": 7, \"more\": [1]} ");
    is(events[0]->data,
       "{\"app\":{\"name\":\"a\"},\"run\":{\"id\":\"7\"},\"raw\":{\"body\": {\"id\": 7, \"more\": [1]} }}");
    end(NULL);
    begin(
        "app: a\nraw: body\neach: $\nmap: [{type: run.finished, data: {run.id: \"coalesce(r.value->>'$.id', r.key)\"}}]\n");
    post("[{\"id\": 7}, 5]");
    assert_int_equal(count, 2);
    is(events[0]->data, "{\"app\":{\"name\":\"a\"},\"run\":{\"id\":\"7\"},\"raw\":{\"body\":{\"id\":7}}}");
    is(events[1]->data, "{\"app\":{\"name\":\"a\"},\"run\":{\"id\":\"1\"}}");
}

/* As of a source sqlite: at any depth, and in texts that hold JSON. What SQL takes out by itself is told. */
TEST(mask)
{
#define AUDIT "app: a\nunmapped: drop\nraw: body\nmask: [token, Card]\n"
    begin(AUDIT
          "map: [{type: audit.logged, data: {audit.action: \":body->>'$.token'\", audit.detail: \":body->'$.d'\"}}]\n");
    post("{\"token\": \"t1\", \"d\": {\"a\":[{\"card\":{\"no\": 41}}],\"in\":\"x\"}}");
    is(events[0]->data, "{\"app\":{\"name\":\"a\"},"
                        "\"audit\":{\"action\":\"t1\",\"detail\":{\"a\":[{\"card\":\"***\"}],\"in\":\"x\"}},"
                        "\"raw\":{\"body\":{\"token\":\"***\", \"d\": {\"a\":[{\"card\":\"***\"}],\"in\":\"x\"}}}}");
    end(NULL);
    begin(AUDIT "each: $\nmap: [{type: audit.logged, data: {audit.action: r.value}}]\n");
    post("[{\"token\": 5}]");
    is(events[0]->data, "{\"app\":{\"name\":\"a\"},\"audit\":{\"action\":\"{\\\"token\\\":\\\"***\\\"}\"},"
                        "\"raw\":{\"body\":{\"token\":\"***\"}}}");
#undef AUDIT
}

/* ---- several of one body ---- */

#define RUNS                                                                                                           \
    "app: t\neach: $.runs\ndata: {run.id: \"r.value->>'$.id'\"}\n"                                                     \
    "map: [{type: run.finished, when: \"r.value->>'$.ok'\"}, {type: run.failed, when: \"NOT (r.value->>'$.ok')\"}]\n"

TEST(each_element_is_an_event)
{
    begin(RUNS "id: :body->>'$.batch'\n");
    post("{\"batch\":\"b\",\"runs\":[{\"id\":\"x\",\"ok\":1},{\"id\":\"y\",\"ok\":0},{\"id\":\"z\"}]}");
    assert_int_equal(count, 2);
    is(events[0]->id, "b/0");
    is(events[0]->type, "run.finished");
    is(events[0]->subject, "runs/x");
    is(events[1]->id, "b/1");
    is(events[1]->type, "run.failed");
    end(NULL);
    begin(RUNS "id: r.value->>'$.id'\n");
    post("{\"runs\":[{\"id\":\"x\",\"ok\":1},{\"id\":\"y\",\"ok\":1}]}");
    is(events[0]->id, "x");
    is(events[1]->id, "y");
    end(NULL);
    begin(RUNS "id: :body->>'$.batch'\npart: r.value->>'$.id'\n");
    post("{\"batch\":\"b\",\"runs\":[{\"id\":\"x\",\"ok\":1}]}");
    is(events[0]->id, "b/x");
}

TEST(all_or_none)
{
    begin(RUNS "id: :body->>'$.batch'\n");
    post("{\"batch\":\"b\",\"runs\":[{\"id\":\"x\",\"ok\":1},{\"ok\":1}]}"); /* the second has no run.id */
    assert_int_equal(count, 1);
    is(events[0]->id, "b");
    is(events[0]->type, "webhook.received");
    post("{\"batch\":\"b\",\"runs\":[{\"id\":1,\"ok\":1},{\"id\":2,\"ok\":1},{\"id\":3,\"ok\":1},{\"id\":4,\"ok\":1},"
         "{\"id\":5,\"ok\":1},{\"id\":6,\"ok\":1},{\"id\":7,\"ok\":1},{\"id\":8,\"ok\":1},{\"id\":9,\"ok\":1}]}");
    assert_int_equal(count, 1); /* more than there is room for */
    is(events[0]->type, "webhook.received");
    assert_int_equal(missed("failed"), 2);
    post("{\"batch\":\"b\",\"runs\":[]}");
    is(events[0]->type, "webhook.received");
    assert_int_equal(missed("other"), 1);
}

TEST(two_entries_of_one_body)
{
    begin("app: a\nid: :body->>'$.id'\ndata: {run.id: \":body->>'$.id'\", audit.action: \"'x' || :body\"}\n"
          "map: [{type: run.finished}, {type: audit.logged}, {type: audit.logged}]\n");
    post("{\"id\":\"i\"}");
    assert_int_equal(count, 3);
    is(events[0]->id, "i");
    is(events[1]->id, "i/audit.logged");
    is(events[2]->id, "i/audit.logged-1");
}

/* ---- whose word the identity is ---- */

#define GITHUB "{scheme: github, secrets: [a secret of enough length]}"

/* Only what is signed takes part in the identity of an event, or else all that it is made of. */
TEST(what_is_not_signed_counts_with_the_id)
{
    const struct header first[] = { { STR("X-Kind"), STR("a") }, { STR("X-Id"), STR("1") } };
    const struct header other[] = { { STR("X-Kind"), STR("b") }, { STR("X-Id"), STR("1") } };
    const char *by_header =
        "app: a\nid: :body->>'$.id'\nmap: [{type: run.finished, data: {run.id: \":headers->>'$.x-kind'\"}}]\n";
    char before[PATH_ORIGIN];
    begin_verified(GITHUB,
                   "app: a\nid: :body->>'$.id'\nmap: [{type: run.finished, data: {run.id: \":body->>'$.id'\"}}]\n");
    post_with(first, 2, "{\"id\":\"i\"}");
    assert_int_equal(count, 1);
    assert_int_equal(origins.n, 0); /* all of it is of the body */
    end(NULL);
    begin_verified(GITHUB, by_header);
    post_with(first, 2, "{\"id\":\"i\"}");
    is(events[0]->subject, "runs/a");
    assert_int_equal(origins.n, PATH_ORIGIN);
    memcpy(before, origins.at, PATH_ORIGIN);
    post_with(other, 2, "{\"id\":\"i\"}");
    assert_memory_not_equal(before, origins.at, PATH_ORIGIN);
    post_with(first, 2, "{\"id\":\"i\"}");
    assert_memory_equal(before, origins.at, PATH_ORIGIN);
    end(NULL);
    begin_verified(
        GITHUB, "app: a\nid: :headers->>'$.x-id'\nmap: [{type: run.finished, data: {run.id: \":body->>'$.id'\"}}]\n");
    post_with(first, 2, "{\"id\":\"i\"}");
    is(events[0]->id, "1");
    assert_int_equal(origins.n, PATH_ORIGIN);
    end(NULL);
    begin_verified("{scheme: bearer, secrets: [a-token-of-enough-length]}", by_header);
    post_with(first, 2, "{\"id\":\"i\"}");
    assert_int_equal(origins.n, 0); /* the sender itself was recognised */
}

TEST(an_id_of_the_body_without_a_map)
{
    begin("id: coalesce(:body->>'$.event_id', :body->>'$.id')\n");
    post("{\"event_id\":\"e9\",\"type\":\"new_ticket\"}");
    is(events[0]->id, "e9");
    is(events[0]->type, "webhook.received");
    const struct header key = { STR("Idempotency-Key"), STR("k") };
    post_with(&key, 1, "{\"type\":\"new_ticket\"}");
    is(events[0]->id, "k");
    post("{\"event_id\":\"a\\u0000b\"}"); /* SQL would read an "a" */
    assert_int_equal(events[0]->id.n, 36);
    post("{\"event_id\":\"a\\nb\"}"); /* it cannot stand in an attribute */
    assert_int_equal(events[0]->id.n, 36);
}

TEST(headers_without_what_proves_the_sender)
{
    const struct header headers[] = { { STR("X-Trace"), STR("t\"1") }, { STR("AUTHORIZATION"), STR("Bearer secret") } };
    begin("app: a\nmap: [{type: audit.logged, data: {audit.action: \":headers\"}}]\n");
    post_with(headers, 2, "{}");
    is(events[0]->data, "{\"app\":{\"name\":\"a\"},\"audit\":{\"action\":\"{\\\"x-trace\\\":\\\"t\\\\\\\"1\\\"}\"}}");
    end(NULL);
    const struct header token[] = { { STR("X-Trace"), STR("t") }, { STR("x-token"), STR("secret") } };
    begin_verified("{scheme: bearer, header: X-Token, secrets: [a-token-of-enough-length]}",
                   "app: a\nmap: [{type: audit.logged, data: {audit.action: \":headers\"}}]\n");
    post_with(token, 2, "{}");
    is(events[0]->data, "{\"app\":{\"name\":\"a\"},\"audit\":{\"action\":\"{\\\"x-trace\\\":\\\"t\\\"}\"}}");
}

/* ---- bounds ---- */

TEST(work_is_bounded)
{
    begin(
        "app: a\nid: :body->>'$.id'\nmap: [{type: run.finished, data: {run.id: \"(SELECT count(*) FROM json_each(:body, '$.a') x, "
        "json_each(:body, '$.a') y, json_each(:body, '$.a') z)\"}}]\n");
    post("{\"id\":\"i\",\"a\":[1,2,3]}");
    is(events[0]->subject, "runs/27");
    struct buf body = buf_new(1 << 16);
    buf_add_c(&body, "{\"id\":\"i\",\"a\":[0");
    for (int i = 0; i < 2000; i++)
        buf_add_c(&body, ",1");
    buf_add_c(&body, "]}");
    post(buf_c(&body));
    assert_int_equal(count, 1);
    is(events[0]->type, "webhook.received");
    assert_int_equal(missed("failed"), 1);
    post("{\"id\":\"i\",\"a\":[1,2,3]}"); /* the next one has its own */
    is(events[0]->subject, "runs/27");
    buf_free(&body);
}

/* A value is found in a long body in one step; SQL over the body does so for each element. */
TEST(what_elements_read_of_the_body_is_bounded)
{
    enum { FEW = 100, MANY = 200, LONG = 900000 };
    static const struct event *all[MANY];
    const struct header json = { STR("Content-Type"), STR("application/json") };
    struct buf form = { 0 };
    const struct path_limits most = { .events = MANY, .attributes = 64, .form = &form };
    begin("app: a\neach: $.a\nunmapped: refuse\nmap: [{type: run.finished, data: {run.id: \":body->>'$.id'\"}}]\n");
    struct buf body = buf_new(2 << 20);
    for (int n = FEW; n <= MANY; n += MANY - FEW) {
        buf_reset(&body);
        buf_add_c(&body, "{\"id\":\"i\",\"x\":\"");
        for (int i = 0; i < LONG; i++)
            buf_add_char(&body, 'x');
        buf_add_c(&body, "\",\"a\":[0");
        for (int i = 1; i < n; i++)
            buf_add_c(&body, ",0");
        buf_add_c(&body, "]}");
        struct http_request r = { .headers = &json, .header_count = 1, .body = buf_str(&body) };
        int got = path_events(&path, &r, &most, all, &origins, &status, &failure);
        assert_int_equal(got, n == FEW ? FEW : -1);
        for (int i = 0; i < got; i++)
            event_unref(all[i]);
    }
    assert_says(failure.text, "map[0]: the SQL of too many elements reads all of such a long body");
    assert_int_equal(missed("failed"), 1);
    buf_free(&body);
}

TEST(memory_is_bounded)
{
    begin(
        "app: a\nid: :body->>'$.id'\neach: $.a\nmap: [{type: audit.logged, data: {audit.action: \"replace(:body, 'x', :body)\"}}]\n");
    struct buf body = buf_new(1 << 16);
    buf_add_c(&body, "{\"id\":\"i\",\"a\":[1,2,3,4],\"x\":\"");
    for (int i = 0; i < 700; i++)
        buf_add_char(&body, 'x');
    buf_add_c(&body, "\"}");
    post(buf_c(&body));
    assert_int_equal(count, 1);
    is(events[0]->type, "webhook.received");
    assert_int_equal(missed("failed"), 1);
    buf_free(&body);
}

/* ---- what check says ---- */

static void assert_refused(const char *yaml, const char *expected)
{
    struct path_options o = { 0 };
    struct buf text = buf_new(1 << 16);
    struct err e = { 0 };
    buf_printf(&text, "path: /in\nverify: {scheme: none}\n%s", yaml);
    options_fill(path_rows, &o, buf_c(&text));
    if (path_check(&o, &e))
        fail_msg("%s", yaml);
    assert_says(e.text, expected);
    buf_free(&text);
}

TEST(refused)
{
#define RUN(sql) "app: a\nmap: [{type: run.finished, data: {run.id: \"" sql "\"}}]\n"
    assert_refused("app: a\nmap: [{type: run.finishd, data: {run.id: \"1\"}}]\n",
                   "map[0]: type: \"run.finishd\" is no type of the vocabulary (did you mean run.finished?)");
    assert_refused("app: a\nmap: [{type: run.finished, data: {run.idd: \"1\"}}]\n",
                   "map[0]: data.run.idd: there is no path \"run.idd\" in the vocabulary (did you mean run.id?)");
    assert_refused("app: a\nmap: [{type: run.finished}]\n", "map[0]: data: run.id is missing");
    assert_refused("map: [{type: run.finished, data: {run.id: \"1\"}}]\n", "app: is missing");
    assert_refused(RUN("bad"), "map[0]: data.run.id: no such column: bad (a text is quoted twice: \"'bad'\")");
    assert_refused(RUN("body->>'$.id'"), "map[0]: data.run.id: no such column: body");
    assert_refused(RUN(":bdy->>'$.id'"), "map[0]: data.run.id: there is no parameter :bdy (:body, :headers)");
    assert_refused(RUN("1, 2"), "map[0]: data.run.id: ");
    assert_refused(RUN("1); SELECT (2"), "map[0]: data.run.id: ");
    assert_refused(RUN("(SELECT name FROM sqlite_schema)"), "prohibited");
    assert_refused(RUN("(SELECT name FROM pragma_database_list)"), "not authorized");
    assert_refused(RUN("load_extension('x')"), "not authorized to use function: load_extension");
    assert_refused(RUN("random()"), "not authorized to use function: random");
    assert_refused(RUN("(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n)"),
                   "not authorized");
    assert_refused("app: a\neach: runs\nmap: [{type: run.finished, data: {run.id: \"1\"}}]\n", "each: ");
    assert_refused("app: a\npart: \"1\"\nmap: [{type: run.finished, data: {run.id: \"1\"}}]\n",
                   "part: belongs to each");
    assert_refused("app: a\nid: r.value\nmap: [{type: run.finished, data: {run.id: \"1\"}}]\n",
                   "id: no such column: r.value");
    assert_refused("app: a\n", "app: belongs to a path with map");
    assert_refused("each: $.a\n", "each: belongs to a path with map");
    assert_refused("raw: body\n", "raw: belongs to a path with map");
    assert_refused(RUN("1") "unmapped: drop\nraw: body\npersonal: none\n", "raw: body tells what was posted");
    assert_refused("content: none\n", "content: belongs to a path with map");
    assert_refused(RUN("1") "content: none\n", "unmapped: is store");
    assert_refused("mask: [token]\n", "mask: belongs to a path with map");
    assert_refused(RUN("1") "mask: [token]\n", "unmapped: is store, which tells bodies that no entry fits");
    assert_refused("preset: openai\nid: \"1\"\n", "preset: has its own map");
#undef RUN
}

static void say_fault(void *ctx, const char *place, const char *why)
{
    buf_printf(ctx, "%s|%.60s\n", place, why);
}

static void say_type(void *ctx, const char *type)
{
    buf_printf(ctx, "%s ", type);
}

static void say_content(void *ctx, const char *type, const char *why)
{
    buf_printf(ctx, "%s (%s) ", type, why);
}

/* Where what is wrong stands, and what a filter may ask for. */
TEST(places_and_types)
{
    struct buf said = buf_new(4096);
    struct source *s = source_filled(
        &http_source, "hooks",
        "paths: [{path: /a, verify: {scheme: none}, app: a, map: [{type: run.finished, data: {run.id: \"1\"}},"
        " {type: run.failed, data: {run.id: \"1\", error.mesage: \"1\"}}]}]");
    http_source.faults(s, say_fault, &said);
    is(buf_str(&said), "paths[0].map[1]|data.error.mesage: there is no path \"error.mesage\" in the vo\n");
    free(s);
    buf_reset(&said);
    s = source_filled(
        &http_source, "hooks",
        "paths: [{path: /a, verify: {scheme: none}, cloudevents: none, preset: openai, type_prefix: com.x., unmapped: drop},"
        " {path: /b, verify: {scheme: none}, cloudevents: none, preset: langfuse},"
        " {path: /c, verify: {scheme: none}, cloudevents: none, preset: langsmith, unmapped: drop, content: none}]");
    struct err e = { 0 };
    assert_true(http_source.check(s, &e));
    http_source.types(s, say_type, &said);
    is(buf_str(&said), "com.x.run.finished com.x.run.failed com.x.run.aborted "
                       "audit.logged webhook.received run.finished run.failed ");
    buf_reset(&said);
    http_source.content(s, say_content, &said);
    is(buf_str(&said), "");
    free(s);
    buf_free(&said);
}

/* ---- presets ---- */

static void assert_attribute(const struct event *ev, const json_t *expected, const char *name)
{
    struct str found = event_attribute(ev, str_of(name));
    const char *wanted = json_string_value(json_object_get(expected, name));
    if (wanted)
        is(found, wanted);
    else
        assert_null(found.at);
}

static void assert_event(const struct event *ev, const json_t *expected)
{
    static const char *const names[] = { "id", "type", "subject", "partitionkey", "time" };
    json_t *data = json_loadb(ev->data.at, ev->data.n, 0, NULL);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_attribute(ev, expected, names[i]);
    if (!json_equal(data, json_object_get(expected, "data")))
        fail_msg("%.*s", STR_ARG(ev->data));
    json_decref(data);
}

/* tests/data/inbound/<provider>.json: bodies as their senders' documentation shows them, and the events that they become;
 * tests/schema/vocabulary.py judges those. None: it is stored as it came. */
static void check_preset(const char *name)
{
    char file[256], yaml[100];
    snprintf(file, sizeof file, TESTS_DIR "/data/inbound/%s.json", name);
    snprintf(yaml, sizeof yaml, "preset: %s\ncloudevents: none\n", name);
    json_t *cases = json_load_file(file, 0, NULL), *one;
    size_t i;
    assert_true(json_array_size(cases) > 0);
    begin(yaml);
    json_array_foreach(cases, i, one)
    {
        json_t *expected = json_object_get(one, "events");
        char *body = json_dumps(json_object_get(one, "body"), JSON_COMPACT);
        post(body);
        if (json_array_size(expected) == 0) {
            assert_int_equal(count, 1);
            is(events[0]->data, body);
            is(events[0]->type, "webhook.received");
        } else if (count != (int)json_array_size(expected))
            fail_msg("%s: %d events", body, count);
        for (int k = 0; k < (int)json_array_size(expected); k++)
            assert_event(events[k], json_array_get(expected, (size_t)k));
        free(body);
    }
    json_decref(cases);
}

TEST(openai)
{
    check_preset("openai");
}

TEST(langsmith)
{
    check_preset("langsmith");
}

TEST(langfuse)
{
    check_preset("langfuse");
}

TEST(open_webui)
{
    check_preset("open-webui");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(an_event_of_the_vocabulary, end),
        cmocka_unit_test_teardown(what_fits_no_entry_is_stored_as_it_came, end),
        cmocka_unit_test_teardown(what_the_map_fails_on_is_stored_as_it_came, end),
        cmocka_unit_test_teardown(sql_that_fails_for_a_body, end),
        cmocka_unit_test_teardown(a_value_without_its_form_is_left_out, end),
        cmocka_unit_test_teardown(unmapped, end),
        cmocka_unit_test_teardown(privacy, end),
        cmocka_unit_test_teardown(raw, end),
        cmocka_unit_test_teardown(mask, end),
        cmocka_unit_test_teardown(each_element_is_an_event, end),
        cmocka_unit_test_teardown(all_or_none, end),
        cmocka_unit_test_teardown(two_entries_of_one_body, end),
        cmocka_unit_test_teardown(what_is_not_signed_counts_with_the_id, end),
        cmocka_unit_test_teardown(an_id_of_the_body_without_a_map, end),
        cmocka_unit_test_teardown(headers_without_what_proves_the_sender, end),
        cmocka_unit_test_teardown(work_is_bounded, end),
        cmocka_unit_test_teardown(what_elements_read_of_the_body_is_bounded, end),
        cmocka_unit_test_teardown(memory_is_bounded, end),
        cmocka_unit_test_teardown(refused, end),
        cmocka_unit_test_teardown(places_and_types, end),
        cmocka_unit_test_teardown(openai, end),
        cmocka_unit_test_teardown(langsmith, end),
        cmocka_unit_test_teardown(langfuse, end),
        cmocka_unit_test_teardown(open_webui, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
