/* SPDX-License-Identifier: MIT */
/* The API: who may, which row, what comes in, what goes out. */
#include "bridge/admin/api.h"
#include <stdio.h>
#include <sys/stat.h>
#include "bridge/admin/openapi.h"
#include "bridge/lib/metrics.h"
#include "tests/support/dialogue.h"

#define VIEWER   "a-viewers-token-0123456789"
#define OPERATOR "an-operators-token-987654321"

static struct config config;
static struct verify_options verify;
static struct access *access_of;
static struct api *api;
static bool control; /* the server stands for the control socket */

static bool asked_ready(void *ctx, struct err *why)
{
    (void)ctx, (void)why;
    return true;
}

static void asked_account(void *ctx, const struct account_question *q, struct buf *out)
{
    (void)ctx;
    buf_printf(out, "{\"events\":%zu,\"id\":\"%.*s\"}", q->events, STR_ARG(q->id));
}

static void asked_gather(void *ctx)
{
    (void)ctx;
}

static bool api_test_head(void *ctx, const struct http_request *r, int64_t *max_body)
{
    (void)ctx;
    return api_head(api, server, r, control, max_body);
}

static void api_test_request(void *ctx, const struct http_request *r)
{
    (void)ctx;
    api_request(api, server, r, control);
}

/* A listener with the API; `tokens`: with a token file. */
static void begin(bool tokens, enum role loopback)
{
    static char listen[] = "127.0.0.1:0", host[] = "bridge.internal", path[FOLDER_BYTES + 16];
    static char *hosts[] = { host };
    struct err e = { "" };
    config.admin = (struct admin_config){ .listen = listen,
                                          .api = true,
                                          .console = true,
                                          .loopback = loopback,
                                          .session = { 3600000 },
                                          .hosts = { hosts, 1 } };
    if (tokens) {
        snprintf(path, sizeof path, "%s/tokens", dialogue_folder);
        FILE *f = fopen(path, "we");
        fprintf(f, "# who may\nviewer board " VIEWER "\noperator anna\t" OPERATOR "\n");
        assert_int_equal(fchmod(fileno(f), 0600), 0);
        assert_int_equal(fclose(f), 0);
        config.admin.token_file = path;
    }
    access_of = access_new(&config.admin, NULL, &verify, &e);
    assert_string_equal(e.text, "");
    api = api_new(&(struct api_home){
        .config = &config, .ask = { asked_ready, asked_account, asked_gather, NULL, NULL }, .access = access_of });
    server = http_server_new(&(struct http_server_options){ .listen = listen, .max_body = { API_BODY } },
                             &(struct http_events){ .head = api_test_head, .request = api_test_request }, &e);
    assert_non_null(server);
    access_listens(access_of, http_server_port(server));
}

static int finish(void **state)
{
    if (api)
        api_stop(api);
    int code = dialogue_end(state);
    api_free(api);
    access_free(access_of);
    api = NULL;
    access_of = NULL;
    control = false;
    return code;
}

#define ADDRESS "Host: 127.0.0.1\r\n"
#define BEARER  "Authorization: Bearer "
#define JSON    "Content-Type: application/json\r\n"
#define ANNA    ADDRESS BEARER OPERATOR "\r\n"
#define BOARD   ADDRESS BEARER VIEWER "\r\n"

/* What the request is answered with, until the next call. */
static const char *ask(const char *line, const char *headers, const char *body)
{
    static struct buf answer;
    struct client c = client_new();
    struct buf b = buf_new(1 << 16);
    struct answer a;
    buf_printf(&b, "%s HTTP/1.1\r\n%s", line, headers);
    if (body)
        buf_printf(&b, "Content-Length: %zu\r\n", strlen(body));
    buf_printf(&b, "\r\n%s", body ? body : "");
    say(&c, buf_str(&b));
    UNTIL(&c, client_answer(&c, &a));
    buf_free(&answer);
    answer = buf_new(1 << 24);
    buf_add_str(&answer, buf_str(&c.in));
    buf_free(&b);
    client_close(&c);
    return buf_c(&answer);
}

static void answers(const char *line, const char *headers, const char *body, const char *part)
{
    const char *got = ask(line, headers, body);
    if (!strstr(got, part))
        fail_msg("%s with %s: not \"%s\" but %s", line, headers, part, got);
}

TEST(names_of_others_are_refused)
{
    begin(true, ROLE_NONE);
    answers("GET /api/v1/status", "Host: evil.example\r\n" BEARER OPERATOR "\r\n", NULL, "403 Forbidden");
    answers("GET /", "Host: evil.example\r\n", NULL, "403 Forbidden");
    answers("GET /api/v1/status", "Host: localhost.evil.example\r\n" BEARER OPERATOR "\r\n", NULL, "admin.hosts");
    answers("GET /api/v1/status", "Host: Bridge.internal:9464\r\n" BEARER OPERATOR "\r\n", NULL, "200 OK");
    answers("GET /api/v1/status", "Host: localhost\r\n" BEARER OPERATOR "\r\n", NULL, "200 OK");
}

TEST(pages_of_others_are_refused)
{
    begin(false, ROLE_OPERATOR);
    answers("GET /api/v1/status", ADDRESS "Origin: http://evil.example\r\n", NULL, "403 Forbidden");
    answers("GET /api/v1/status", ADDRESS "Origin: null\r\n", NULL, "403 Forbidden");
    answers("GET /api/v1/status", ADDRESS "Origin: http://127.0.0.1.evil.example\r\n", NULL, "403 Forbidden");
    answers("GET /api/v1/status", ADDRESS "Origin: http://127.0.0.1\r\nOrigin: http://evil.example\r\n", NULL, "403");
    answers("GET /api/v1/status", ADDRESS "Sec-Fetch-Site: cross-site\r\n", NULL, "403 Forbidden");
    answers("GET /api/v1/status", ADDRESS "Sec-Fetch-Site: same-site\r\n", NULL, "403 Forbidden");
    answers("POST /api/v1/login-link", ADDRESS "Origin: https://evil.example\r\n", "", "403 Forbidden");
    answers("GET /api/v1/status", ADDRESS "Origin: http://127.0.0.1\r\nSec-Fetch-Site: same-origin\r\n", NULL,
            "200 OK");
    answers("GET /", ADDRESS "Sec-Fetch-Site: cross-site\r\n", NULL, "HTTP/1.1 ");
}

TEST(tokens_have_roles)
{
    begin(true, ROLE_OPERATOR);
    answers("GET /api/v1/session", ADDRESS, NULL, "401 Unauthorized"); /* loopback is no one once there are tokens */
    answers("GET /api/v1/session", ADDRESS, NULL, "WWW-Authenticate: Bearer");
    answers("GET /api/v1/session", ADDRESS BEARER "a-token-of-nobody-0123\r\n", NULL, "401 Unauthorized");
    answers("GET /api/v1/session", BOARD, NULL, "{\"role\":\"viewer\",\"name\":\"board\",\"via\":\"token\"}");
    answers("GET /api/v1/session", ANNA, NULL, "{\"role\":\"operator\",\"name\":\"anna\",\"via\":\"token\"}");
    answers("GET /api/v1/status", BOARD, NULL, "200 OK");
    answers("POST /api/v1/login-link", BOARD, "", "403 Forbidden");
    answers("POST /api/v1/login-link", BOARD, "", "it is for an operator");
    answers("POST /api/v1/login-link", ANNA, "", "201 Created");
}

TEST(this_machine_alone_may_without_tokens)
{
    begin(false, ROLE_VIEWER);
    answers("GET /api/v1/session", ADDRESS, NULL, "{\"role\":\"viewer\",\"name\":\"loopback\",\"via\":\"loopback\"}");
    answers("POST /api/v1/login-link", ADDRESS, "", "403 Forbidden");
    answers("GET /api/v1/session", ADDRESS "X-Forwarded-For: 127.0.0.1\r\n", NULL, "401 Unauthorized");
    answers("GET /api/v1/session", ADDRESS "Authorization: Bearer guessed-0123456789\r\n", NULL, "401 Unauthorized");
    control = true;
    answers("GET /api/v1/session", ADDRESS, NULL, "{\"role\":\"operator\",\"name\":\"socket\",\"via\":\"socket\"}");
}

TEST(nobody_may_when_it_says_so)
{
    begin(false, ROLE_NONE);
    answers("GET /api/v1/session", ADDRESS, NULL, "401 Unauthorized");
    answers("GET /api/v1/nothing", ADDRESS, NULL, "401 Unauthorized"); /* nor what there is */
}

/* The cookie of the answer to whoever logs in. */
static void log_in(const char *line, const char *headers, const char *body, char out[256])
{
    const char *got = ask(line, headers, body), *at = strstr(got, "Set-Cookie: ");
    if (!at)
        fail_msg("no cookie: %s", got);
    assert_non_null(strstr(at, "; HttpOnly; SameSite=Strict\r\n"));
    snprintf(out, 256, "Cookie: other=1; %.*s\r\n", (int)strcspn(at + 12, ";"), at + 12);
}

#define OURS "Origin: http://127.0.0.1\r\n"

static void answers_with(const char *line, const char *cookie, const char *more, const char *body, const char *part)
{
    char headers[512];
    snprintf(headers, sizeof headers, ADDRESS "%s%s", cookie, more);
    answers(line, headers, body, part);
}

TEST(a_session_begins_with_a_token)
{
    char cookie[256];
    begin(true, ROLE_NONE);
    answers("POST /api/v1/session", ADDRESS JSON, "{\"token\":\"nobodys-token-012345\"}", "401 Unauthorized");
    log_in("POST /api/v1/session", ADDRESS JSON OURS, "{\"token\":\"" OPERATOR "\"}", cookie);
    answers_with("GET /api/v1/session", cookie, "", NULL, "\"name\":\"anna\",\"via\":\"cookie\"");
    answers_with("POST /api/v1/login-link", cookie, "", "", "needs an Origin");
    answers_with("POST /api/v1/login-link", cookie, "Origin: http://localhost\r\n", "", "403 Forbidden");
    answers_with("POST /api/v1/login-link", cookie, OURS, "", "201 Created");
    answers_with("DELETE /api/v1/session", cookie, OURS, NULL, "204 No Content");
    answers_with("GET /api/v1/session", cookie, "", NULL, "401 Unauthorized");
}

TEST(a_session_ends)
{
    char cookie[256];
    begin(true, ROLE_NONE);
    log_in("POST /api/v1/session", ADDRESS JSON, "{\"token\":\"" VIEWER "\"}", cookie);
    clock_fake_advance(3599000);
    answers_with("GET /api/v1/session", cookie, "", NULL, "200 OK");
    clock_fake_advance(2000);
    answers_with("GET /api/v1/session", cookie, "", NULL, "401 Unauthorized");
}

/* Whoever is taken out of the file is out at once. */
TEST(a_session_ends_with_its_token)
{
    char cookie[256];
    begin(true, ROLE_NONE);
    log_in("POST /api/v1/session", ADDRESS JSON, "{\"token\":\"" VIEWER "\"}", cookie);
    FILE *f = fopen(config.admin.token_file, "we");
    fprintf(f, "operator anna " OPERATOR "\n");
    assert_int_equal(fclose(f), 0);
    for (int i = 0; i < 3; i++) {
        clock_fake_advance(1001);
        access_turn(access_of);
    }
    answers_with("GET /api/v1/session", cookie, "", NULL, "401 Unauthorized");
    answers("GET /api/v1/session", BOARD, NULL, "401 Unauthorized");
    answers("GET /api/v1/session", ANNA, NULL, "200 OK");
}

TEST(a_link_logs_in_once)
{
    char cookie[256], line[256];
    begin(false, ROLE_NONE);
    control = true;
    const char *got = ask("POST /api/v1/login-link", ADDRESS, ""), *at = strstr(got, "/login?code=");
    assert_non_null(at);
    snprintf(line, sizeof line, "GET %.*s", (int)strcspn(at, "\""), at);
    control = false;
    log_in(line, ADDRESS, NULL, cookie);
    answers_with("GET /api/v1/session", cookie, "", NULL, "\"role\":\"operator\"");
    answers(line, ADDRESS, NULL, "401 Unauthorized");
    answers("GET /login?code=guessed", ADDRESS, NULL, "401 Unauthorized");
}

TEST(what_is_asked_is_checked)
{
    begin(true, ROLE_NONE);
    answers("GET /api/v1/status?events=12&id=a%26b", ANNA, NULL, "{\"events\":12,\"id\":\"a&b\"}");
    answers("GET /api/v1/status?events=1001", ANNA, NULL, "events: must be from 0 to 1000");
    answers("GET /api/v1/status?events=x", ANNA, NULL, "events: must be a whole number");
    answers("GET /api/v1/status?event=1", ANNA, NULL, "did you mean events?");
    answers("GET /api/v1/status?id=a&id=b", ANNA, NULL, "id: is there twice");
    answers("GET /api/v1/status?id=%ff", ANNA, NULL, "400 Bad Request");
    answers("POST /api/v1/session", ADDRESS, "{\"token\":\"" VIEWER "\"}", "415 Unsupported Media Type");
    answers("POST /api/v1/session", ADDRESS JSON, "{\"token\":", "400 Bad Request");
    answers("POST /api/v1/session", ADDRESS JSON, "{\"token\":\"a\",\"token\":\"b\"}", "400 Bad Request");
    answers("POST /api/v1/session", ADDRESS JSON, "{\"token\":7}", "token: must be a text");
    answers("POST /api/v1/session", ADDRESS JSON, "{}", "422 Unprocessable Content");
    answers("POST /api/v1/session", ADDRESS JSON, "{\"tokens\":\"a\"}", "did you mean token?");
    answers("DELETE /api/v1/session", ANNA JSON, "{}", "this takes no body");
}

TEST(what_is_not_there)
{
    begin(true, ROLE_NONE);
    answers("GET /api/v1/nothing", ANNA, NULL, "404 Not Found");
    answers("GET /api/v1/status/", ANNA, NULL, "404 Not Found");
    answers("GET /api/v1/nothing", ANNA, NULL, "\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404");
    answers("PUT /api/v1/status", ANNA, "", "405 Method Not Allowed");
    answers("PATCH /api/v1/session", ANNA, "", "Allow: GET, HEAD, POST, DELETE\r\n");
    answers("GET /console/../../etc/passwd", ADDRESS, NULL, "404 Not Found");
}

TEST(answers_are_guarded)
{
    begin(true, ROLE_NONE);
    static const char *const headers[] = { "Cache-Control: no-store\r\n", "X-Content-Type-Options: nosniff\r\n",
                                           "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n",
                                           "Referrer-Policy: no-referrer\r\n" };
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        answers("GET /api/v1/metrics", ANNA, NULL, headers[i]);
        answers("GET /api/v1/metrics", ADDRESS, NULL, headers[i]);
    }
    answers("POST /console/x", ADDRESS, "", "Content-Security-Policy: default-src 'none'; script-src 'self'; ");
}

/* The family's series in the answer. */
static const json_t *series_of(const json_t *page, const char *name)
{
    const json_t *metric;
    size_t i;
    json_array_foreach(json_object_get(page, "metrics"), i, metric)
    {
        if (strcmp(json_string_value(json_object_get(metric, "name")), name) == 0)
            return json_object_get(metric, "series");
    }
    return NULL;
}

METRIC_GAUGE(aqueduct_test_gauge, "Of this test.", "a", "b");
METRIC_HISTOGRAM(aqueduct_test_seconds, "Of this test.", "a");

/* The metrics are JSON, with the values of labels as they are. */
TEST(metrics)
{
    json_error_t e;
    begin(true, ROLE_NONE);
    metric_set(metric_get(&aqueduct_test_gauge, LABELS("say \"a\\b\"\n", "x=\"y\",")), 7);
    metric_observe_us(metric_get(&aqueduct_test_seconds, LABELS("")), 1500);
    metric_observe_us(metric_get(&aqueduct_test_seconds, LABELS("")), 200000000);
    const char *got = strstr(ask("GET /api/v1/metrics", ANNA, NULL), "\r\n\r\n");
    json_t *j = json_loads(got + 4, JSON_REJECT_DUPLICATES, &e);
    if (!j)
        fail_msg("%s: %s", e.text, got);
    const json_t *gauge = json_array_get(series_of(j, "aqueduct_test_gauge"), 0);
    const json_t *labels = json_object_get(gauge, "labels");
    assert_string_equal(json_string_value(json_object_get(labels, "a")), "say \"a\\b\"\n");
    assert_string_equal(json_string_value(json_object_get(labels, "b")), "x=\"y\",");
    assert_int_equal(json_integer_value(json_object_get(gauge, "value")), 7);
    const json_t *histogram = json_array_get(series_of(j, "aqueduct_test_seconds"), 0);
    const json_t *buckets = json_object_get(histogram, "buckets");
    assert_int_equal(json_integer_value(json_object_get(histogram, "count")), 2);
    assert_true(json_number_value(json_object_get(histogram, "sum")) == 200.0015);
    assert_int_equal(json_integer_value(json_array_get(json_array_get(buckets, 3), 1)), 0); /* 1 ms */
    assert_int_equal(json_integer_value(json_array_get(json_array_get(buckets, 4), 1)), 1); /* 2.5 ms */
    assert_int_equal(json_integer_value(json_array_get(json_array_get(buckets, 18), 1)), 1);
    json_decref(j);
}

/* Each row says what a user must know of it, and the tables name no operation twice. */
TEST(the_rows)
{
    json_t *names = json_object(), *described = openapi_new();
    for (const struct api_row *const *table = api_tables; *table; table++)
        for (const struct api_row *row = *table; row->method; row++) {
            const json_t *path = json_object_get(json_object_get(described, "paths"), row->path);
            assert_true(row->name && row->doc && row->handle && row->done);
            assert_int_equal(row->doc[strlen(row->doc) - 1], '.');
            assert_null(json_object_get(names, row->name));
            json_object_set_new(names, row->name, json_true());
            assert_non_null(path);
            assert_true(row->role == ROLE_OPERATOR || row->role == ROLE_VIEWER || strcmp(row->name, "beginSession") == 0
                        || strcmp(row->name, "endSession") == 0 || strcmp(row->name, "login") == 0);
            if (strcmp(row->method, "GET") != 0 && row->role == ROLE_VIEWER)
                fail_msg("%s: a viewer could change something", row->name);
        }
    json_decref(names);
    json_decref(described);
}

#define API(test) cmocka_unit_test_setup_teardown(test, dialogue_begin, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        API(names_of_others_are_refused),
        API(pages_of_others_are_refused),
        API(tokens_have_roles),
        API(this_machine_alone_may_without_tokens),
        API(nobody_may_when_it_says_so),
        API(a_session_begins_with_a_token),
        API(a_session_ends),
        API(a_session_ends_with_its_token),
        API(a_link_logs_in_once),
        API(what_is_asked_is_checked),
        API(what_is_not_there),
        API(answers_are_guarded),
        API(metrics),
        cmocka_unit_test(the_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
