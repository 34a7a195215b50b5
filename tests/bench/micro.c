/* SPDX-License-Identifier: MIT */
/* How long the hot functions of lib and event, and a path of the HTTP source, take, in nanoseconds an operation: the best of a few rounds of CPU time. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "bridge/event/avro.h"
#include "bridge/event/columns.h"
#include "bridge/event/event.h"
#include "bridge/event/filter.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/jscan.h"
#include "bridge/lib/mem.h"
#include "connectors/http/path.h"

static const char webhook[] =
    "{\"action\":\"opened\",\"number\":1347,\"issue\":{\"id\":1234567890,\"node_id\":\"MDU6SXNzdWUx\",\"url\":\"https://api.example.com/repos/octocat/Hello-World/issues/1347\","
    "\"title\":\"Found a bug in the quarterly report\",\"user\":{\"login\":\"octocat\",\"id\":1,\"avatar_url\":\"https://example.com/images/error/octocat_happy.gif\",\"type\":\"User\","
    "\"site_admin\":false},\"labels\":[{\"id\":208045946,\"name\":\"bug\",\"color\":\"f29513\",\"default\":true},{\"id\":208045947,\"name\":\"caf\xc3\xa9\",\"color\":\"a2eeef\","
    "\"default\":false}],\"state\":\"open\",\"locked\":true,\"assignee\":null,\"comments\":0,\"score\":-1.5e3,\"created_at\":\"2011-04-22T13:33:48Z\",\"updated_at\":\"2011-04-22T13:33:48Z\","
    "\"body\":\"I'm having a problem with this.\\nIt says \\\"no\\\" \\u2014 and then it stops; the steps are always the same and the log has nothing to say about it.\"},"
    "\"repository\":{\"id\":1296269,\"full_name\":\"octocat/Hello-World\",\"private\":false,\"html_url\":\"https://example.com/octocat/Hello-World\"},\"sender\":{\"login\":\"octocat\",\"id\":1}}";

static const struct header extensions[] = { { { "partitionkey", 12 }, { "k1", 2 } },
                                            { { "traceparent", 11 },
                                              { "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", 55 } } };
static const struct event fields = {
    .id = { "3e4c9b4a-7d8e-5f1a-9b2c-1234567890ab", 36 },
    .source = { "/http/hooks", 11 },
    .type = { "chat.response.generated", 23 },
    .subject = { "workspace_chats/17", 18 },
    .time = { "2026-11-20T10:00:00.123Z", 24 },
    .datacontenttype = { "application/json", 16 },
    .extensions = extensions,
    .extension_count = 2,
    .data = { webhook, sizeof webhook - 1 },
};
static const struct event *ev;
static struct buf out;
static const struct event *answer; /* of the vocabulary */
static struct filter *filter;
static struct filter_group *group;
static struct hmac *hmac;

static void check(void)
{
    struct jscan_value value;
    CHECK(jscan_check(fields.data, &value, NULL));
}

static void member(void)
{
    struct jscan_member members[8];
    CHECK(jscan_object(fields.data, members, 8, NULL) == 5);
}

static void new_event(void)
{
    event_unref(event_new(&fields, NULL));
}

static void there_and_back(void)
{
    struct header headers[EVENT_HEADERS];
    const struct event *born = event_new(&fields, NULL);
    struct record r = { .headers = headers, .header_count = event_to_headers(born, headers), .value = born->data };
    const struct event *back = event_from_record(&r, NULL);
    CHECK(back);
    event_unref(back);
    event_unref(born);
}

static void to_json(void)
{
    buf_reset(&out);
    event_to_json(ev, &out);
}

static void from_json(void)
{
    const struct event *back = event_from_json(buf_str(&out), NULL);
    CHECK(back);
    event_unref(back);
}

static void to_headers(void)
{
    struct header headers[EVENT_HEADERS];
    CHECK(event_to_headers(answer, headers) > 5);
}

static void answer_to_json(void)
{
    buf_reset(&out);
    event_to_json(answer, &out);
}

static void to_avro(void)
{
    buf_reset(&out);
    event_to_avro(answer, &out);
}

static void from_avro(void)
{
    event_unref(event_from_avro(buf_str(&out), NULL));
}

static void to_columns(void)
{
    buf_reset(&out);
    event_to_columns(answer, &out);
}

static void from_columns(void)
{
    event_unref(event_from_columns(buf_str(&out), NULL));
}

static void match(void)
{
    CHECK(filter_match(filter, ev));
}

/* Eight endpoints' filters, each of which looks into the data. */
static void match_group(void)
{
    filter_group_see(group, ev);
    for (size_t i = 0; i < 8; i++)
        CHECK(filter_group_match(group, i));
}

static void sign(void)
{
    unsigned char mac[SHA256_BYTES];
    const struct str parts[] = { fields.id, STR("."), STR("1614265330"), STR("."), fields.data };
    hmac_sign(hmac, parts, 5, mac);
}

static void uuid(void)
{
    char text[UUID_TEXT];
    uuid_of((const struct str[]){ fields.source, fields.subject }, 2, text);
}

static struct filter *compile(const char *text)
{
    json_t *json = json_loads(text, 0, NULL);
    struct filter *f = filter_new(json, NULL);
    CHECK(f);
    json_decref(json);
    return f;
}

/* The same body through a path of the HTTP source: as it comes, by its id, and by a map. */
static struct map_entry mapped[] = {
    { .key = "run.id", .value = ":body->>'$.issue.id'" },
    { .key = "run.kind", .value = ":body->>'$.issue.labels[0].name'" },
    { .key = "run.status", .value = ":body->>'$.issue.state'" },
    { .key = "run.started_at", .value = ":body->>'$.issue.created_at'" },
    { .key = "run.ended_at", .value = ":body->>'$.issue.updated_at'" },
    { .key = "user.id", .value = ":body->>'$.issue.user.id'" },
    { .key = "user.name", .value = ":body->>'$.issue.user.login'" },
    { .key = "agent.id", .value = ":body->>'$.repository.id'" },
    { .key = "agent.name", .value = ":body->>'$.repository.full_name'" },
    { .key = "output.text", .value = ":body->>'$.issue.body'" },
};
static struct map_options finished = { .type = "run.finished", .when = ":body->>'$.action' = 'opened'" };
static struct map_entry templated[] = { { .key = "repository", .value = "{{body.repository.id}}" } };
static struct path_options path_options[] = {
    { .path = "/plain", .verify = { .scheme = VERIFY_NONE }, .mapping = { .unmapped = UNMAPPED_STORE } },
    { .path = "/named",
      .verify = { .scheme = VERIFY_NONE },
      .mapping = { .rules = { .id = ":body->>'$.number'" }, .unmapped = UNMAPPED_STORE } },
    { .path = "/templates",
      .verify = { .scheme = VERIFY_NONE },
      .type = "github.{{body.action}}",
      .subject = "issues/{{body.number}}",
      .attributes = { templated, 1 },
      .mapping = { .rules = { .id = "{{body.issue.id}}", .time = "{{body.issue.created_at}}" },
                   .unmapped = UNMAPPED_STORE } },
    { .path = "/mapped",
      .verify = { .scheme = VERIFY_NONE },
      .mapping = { .rules = { .id = ":body->>'$.number'", .data = { mapped, 10 }, .map = { &finished, 1 } },
                   .telling = { .app = "github", .schema_base = "urn:aqueduct:event" },
                   .unmapped = UNMAPPED_STORE } },
};
enum { PATHS = sizeof path_options / sizeof *path_options };
static struct path paths[PATHS];
static struct sandbox sandbox;
static struct buf origins = { .max = 1 << 10 };

static void post(size_t i, const char *type)
{
    static const struct header json = { { "Content-Type", 12 }, { "application/json", 16 } };
    const struct http_request r = { .headers = &json, .header_count = 1, .body = fields.data };
    static struct buf form;
    const struct path_limits most = { .events = 8, .attributes = 8, .form = &form };
    const struct event *made[8];
    int status;
    CHECK(path_events(&paths[i], &r, &most, made, &origins, &status, NULL) == 1);
    CHECK(str_eq(made[0]->type, str_of(type)));
    event_unref(made[0]);
}

static void plain_path(void)
{
    post(0, "webhook.received");
}

static void named_path(void)
{
    post(1, "webhook.received");
}

static void templates_path(void)
{
    post(2, "github.opened");
}

static void mapped_path(void)
{
    post(3, "run.finished");
}

static int64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void measure(const char *name, void (*operation)(void))
{
    enum { ROUNDS = 9, EACH = 5000 };
    int64_t best = INT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t start = cpu_ns();
        for (int i = 0; i < EACH; i++)
            operation();
        int64_t took = cpu_ns() - start;
        best = took < best ? took : best;
    }
    printf("%-32s %8.0f ns\n", name, (double)best / EACH);
}

/* An answer as the presets make them, in each encoding of a route. */
static void measure_encodings(void)
{
    static const char data[] =
        "{\"app\":{\"name\":\"open-webui\"},\"conversation\":{\"id\":\"8070b616-0d1c-4a6e-9a53-6a1c0e0d9b11\"},\"message\":{\"id\":\"a15450ae-2f7d-4b0c-8a5e-1d3c5b7f9e01\","
        "\"parent\":\"e5b792d0-6c1a-4d8e-9b2f-0a4c6e8d1f22\",\"role\":\"assistant\"},\"user\":{\"id\":\"5f782b5e-7b0e-4c11-8a44-3f6f2c1f9a02\",\"name\":\"Admin\"},"
        "\"channel\":\"ui\",\"input\":{\"text\":\"How many days of leave do I have, and until when must I take them?\",\"chars\":67},"
        "\"output\":{\"text\":\"You have 30 days a year.\\nThey must be taken by the end of March of the year after \\u2014 see \\\"Leave\\\" in the handbook.\",\"chars\":118},"
        "\"model\":{\"name\":\"large-chat\",\"provider\":\"ollama\"},\"usage\":{\"input_tokens\":1204,\"output_tokens\":31,\"total_tokens\":1235},\"duration_ms\":1830,"
        "\"sources\":[{\"document\":\"d-1\",\"name\":\"handbook.pdf\",\"score\":0.83},{\"document\":\"d-2\",\"name\":\"rules.txt\",\"score\":0.61}]}";
    struct event f = fields;
    f.data = STR(data);
    f.dataschema = STR("urn:aqueduct:event/chat.response.generated/1");
    answer = event_new(&f, NULL);
    printf("an answer of %zu bytes\n", f.data.n);
    measure("binary", to_headers);
    measure("structured", answer_to_json);
    measure("avro", to_avro);
    printf("%-32s %8zu bytes\n", "", out.n);
    measure("event_from_avro", from_avro);
    measure("avro-columns", to_columns);
    printf("%-32s %8zu bytes\n", "", out.n);
    measure("event_from_columns", from_columns);
    event_unref(answer);
}

static void measure_filters(void)
{
    static const char attributes[] = "{\"prefix\":{\"type\":\"chat.\"},\"not\":{\"exact\":{\"partitionkey\":\"k2\"}}}";
    static const char one[] = "{\"prefix\":{\"type\":\"chat.\"},\"data\":{\"/issue/state\":\"open\"}}";
    static const char three[] =
        "{\"prefix\":{\"type\":\"chat.\"},\"data\":{\"/issue/state\":\"open\",\"/issue/labels/1/name\":\"caf\xc3\xa9\",\"/number\":1347}}";
    static const char *const texts[][2] = { { "filter_match (2 attributes)", attributes },
                                            { "filter_match (1 pointer)", one },
                                            { "filter_match (3 pointers)", three } };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        filter = compile(texts[i][1]);
        measure(texts[i][0], match);
        filter_free(filter);
    }
    filter = compile(three);
    group = filter_group_new();
    for (size_t i = 0; i < 8; i++)
        filter_group_add(group, filter);
    measure("filter_group_match (8 filters)", match_group);
    filter_group_free(group);
    filter_free(filter);
}

int main(void)
{
    ev = event_new(&fields, NULL);
    out = buf_new(1 << 20);
    hmac = hmac_new(STR("a key of twenty-four bytes"));
    printf("a webhook of %zu bytes\n", fields.data.n);
    measure("jscan_check", check);
    measure("jscan_object", member);
    measure("event_new", new_event);
    measure("new, to_headers, from_record", there_and_back);
    measure("event_to_json", to_json);
    measure("event_from_json", from_json);
    measure_encodings();
    measure_filters();
    measure("hmac_sign", sign);
    measure("uuid_of", uuid);
    sandbox_open(&sandbox, 1 << 20);
    for (size_t i = 0; i < PATHS; i++)
        CHECK(path_open(&paths[i], &path_options[i], &sandbox, "bench", NULL));
    measure("http path", plain_path);
    measure("http path, id of the body", named_path);
    measure("http path, five templates", templates_path);
    measure("http path, map of 10 paths", mapped_path);
    for (size_t i = 0; i < PATHS; i++)
        path_close(&paths[i]);
    sandbox_close(&sandbox);
    buf_free(&origins);
    hmac_free(hmac);
    buf_free(&out);
    event_unref(ev);
    return 0;
}
