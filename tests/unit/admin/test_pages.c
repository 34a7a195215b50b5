/* SPDX-License-Identifier: MIT */
/* The pages of the admin listener: who may see them. */
#include "bridge/admin/pages.h"
#include "tests/support/dialogue.h"
#include "tests/support/metric.h"

static char *names[] = { (char[]){ "bridge.internal" } };
static const struct strings none = { 0 }, named = { names, 1 };
static struct pages pages;

static bool pages_are_ready(void *ctx, struct err *why)
{
    (void)ctx;
    return err_set(why, "a secret of the inside");
}

static void pages_account(void *ctx, const struct account_question *q, struct buf *out)
{
    (void)ctx;
    buf_printf(out, "{\"events\":%zu,\"id\":\"%.*s\"}", q->events, STR_ARG(q->id));
}

static void pages_gather(void *ctx)
{
    (void)ctx;
}

static struct verify_options verify;

/* The pages ask for what `verify` says. */
static void pages_verify(void)
{
    struct err e = { "" };
    pages.verifier = verifier_new(&verify, &e);
    assert_string_equal(e.text, "");
    pages.verify = &verify;
}

static void pages_open(const struct strings *hosts, const char *token)
{
    struct err e = { "" };
    pages = (struct pages){
        .ready = pages_are_ready, .account = pages_account, .gather = pages_gather, .hosts = hosts
    };
    if (token) {
        static struct secret one;
        one.text = (char *)(uintptr_t)token;
        verify = (struct verify_options){ .scheme = VERIFY_BEARER, .secrets = { &one, 1 } };
        pages_verify();
        pages.by_tokens = true;
    }
    server = http_server_new(&(struct http_server_options){ .listen = (char[]){ "127.0.0.1:0" } },
                             &(struct http_events){ .request = pages_answer, .ctx = &pages }, &e);
    assert_non_null(server);
    pages.server = server;
}

#define AWAITED "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbm5hIn0.c2ln" /* RS256, by a key that is not there yet */

static int pages_end(void **state)
{
    verifier_free(pages.verifier);
    pages.verifier = NULL;
    return dialogue_end(state);
}

/* A GET of the page by that name, with more headers. */
static void answers(const char *page, const char *host, const char *more, const char *status)
{
    struct client c = client_new();
    struct buf b = buf_new(4096);
    buf_printf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", page, host, more);
    say(&c, buf_str(&b));
    UNTIL(&c, said(&c, "\r\n\r\n"));
    if (!said(&c, status))
        fail_msg("%s by %s: %s", page, host, buf_c(&c.in));
    assert_int_equal(said(&c, "of the inside"), strcmp(page, "/readyz") == 0 && strncmp(status, "503", 3) == 0);
    buf_free(&b);
    client_close(&c);
}

/* Somebody's site may make its own name point here; its scripts see nothing. */
TEST(names_of_others_are_refused)
{
    pages_open(&none, NULL);
    struct metric *refused = metric_named("aqueduct_admin_refused_total", LABELS("host"));
    int64_t before = metric_value(refused);
    answers("/metrics", "evil.example", "", "403 Forbidden");
    answers("/readyz", "evil.example:9464", "", "admin.hosts");
    answers("/readyz", "localhost.evil.example", "", "403 Forbidden");
    answers("/readyz", "127.0.0.1.evil.example", "", "403 Forbidden");
    assert_int_equal(metric_value(refused), before + 4);
    answers("/metrics", "127.0.0.1:9464", "", "200 OK");
    answers("/metrics", "[::1]:9464", "", "200 OK");
    answers("/readyz", "localhost", "", "503 Service Unavailable");
    answers("/healthz", "evil.example", "", "200 OK");
}

TEST(names_of_ours_are_known)
{
    pages_open(&named, NULL);
    answers("/metrics", "Bridge.internal:9464", "", "200 OK");
    answers("/metrics", "internal", "", "403 Forbidden");
}

TEST(tokens_are_asked_for)
{
    pages_open(&none, "a token of some length");
    answers("/metrics", "localhost", "", "401 Unauthorized");
    answers("/readyz", "localhost", "", "WWW-Authenticate: Bearer");
    answers("/readyz", "localhost", "Authorization: Bearer another\r\n", "401 Unauthorized");
    answers("/nothing", "localhost", "", "401 Unauthorized");
    answers("/metrics", "any.example", "Authorization: Bearer a token of some length\r\n", "200 OK");
    answers("/readyz", "localhost", "Authorization: Bearer a token of some length\r\n", "503 Service Unavailable");
    answers("/healthz", "localhost", "", "200 OK");
    answers("/status", "localhost", "", "401 Unauthorized");
}

/* A user, or a key, which is none of the page's own questions. */
TEST(users_and_keys)
{
    struct secret somebody = { .text = (char[]){ "a-password-of-ops" }, .name = (char[]){ "ops" } },
                  key = { .text = (char[]){ "the-key-of-a-board" } };
    struct verify_options parts[] = {
        { .scheme = VERIFY_BASIC, .secrets = { &somebody, 1 } },
        { .scheme = VERIFY_API_KEY, .query = (char[]){ "key" }, .secrets = { &key, 1 } },
    };
    pages_open(&none, NULL);
    verify = (struct verify_options){ .any = { parts, 2 } };
    pages_verify();
    struct metric *refused = metric_named("aqueduct_admin_refused_total", LABELS("mismatch"));
    int64_t before = metric_value(refused);
    answers("/metrics", "localhost", "", "401 Unauthorized");
    answers("/metrics", "localhost", "", "WWW-Authenticate: Basic realm=\"aqueduct\", charset=\"UTF-8\"");
    answers("/status", "any.example", "Authorization: Basic b3BzOmFub3RoZXItcGFzc3dvcmQ=\r\n", "could not be verified");
    assert_int_equal(metric_value(refused), before + 1);
    answers("/metrics", "any.example", "Authorization: Basic b3BzOmEtcGFzc3dvcmQtb2Ytb3Bz\r\n", "200 OK");
    answers("/status?events=12&key=the-key-of-a-board&id=a", "any.example", "", "{\"events\":12,\"id\":\"a\"}");
    answers("/status?key=the-key-of-a-boar", "localhost", "", "401 Unauthorized");
}

/* Nobody has shown a wrong token as long as it cannot be told. */
TEST(keys_that_are_awaited)
{
    pages_open(&none, NULL);
    verify = (struct verify_options){
        .scheme = VERIFY_JWT,
        .jwt = { .keys_url = (char[]){ "http://127.0.0.1:1/" }, .plain_http = true, .refresh = { 3600000 } }
    };
    pages_verify();
    verifier_start(pages.verifier);
    answers("/metrics", "localhost", "", "401 Unauthorized");
    answers("/metrics", "localhost", "Authorization: Bearer " AWAITED "\r\n", "503 Service Unavailable");
    answers("/metrics", "localhost", "Authorization: Bearer " AWAITED "\r\n", "Retry-After: 1");
}

/* A browser within the network is led here by whoever's site it is at. */
TEST(an_address_shows_not_who_it_is)
{
    char *near[] = { (char[]){ "127.0.0.0/8" } }, *far[] = { (char[]){ "10.0.0.0/8" } };
    pages_open(&none, NULL);
    verify = (struct verify_options){ .scheme = VERIFY_ADDRESS, .allow = { near, 1 } };
    pages_verify();
    answers("/metrics", "evil.example", "", "403 Forbidden");
    answers("/metrics", "localhost", "", "200 OK");
    verifier_free(pages.verifier);
    verify.allow.at = far;
    pages_verify();
    answers("/metrics", "localhost", "", "401 Unauthorized");
}

TEST(the_account)
{
    pages_open(&none, NULL);
    answers("/status", "evil.example", "", "403 Forbidden");
    answers("/status", "localhost", "", "{\"events\":0,\"id\":\"\"}");
    answers("/status?events=12&id=a%26b%2", "localhost", "", "{\"events\":12,\"id\":\"a&b%2\"}");
    answers("/status?events=1001", "localhost", "", "400 Bad Request");
    answers("/status?events", "localhost", "", "400 Bad Request");
    answers("/status?id=a&id=b", "localhost", "", "400 Bad Request");
    answers("/status?more=1", "localhost", "", "400 Bad Request");
}

TEST(only_get_and_head)
{
    pages_open(&none, NULL);
    struct client c = client_new();
    SAY(&c, "PUT /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    expect(&c, "405 Method Not Allowed");
    expect(&c, "Allow: GET, HEAD\r\n");
    client_close(&c);
}

#define PAGES(test) cmocka_unit_test_setup_teardown(test, dialogue_begin, pages_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAGES(names_of_others_are_refused),
        PAGES(names_of_ours_are_known),
        PAGES(tokens_are_asked_for),
        PAGES(users_and_keys),
        PAGES(keys_that_are_awaited),
        PAGES(an_address_shows_not_who_it_is),
        PAGES(the_account),
        PAGES(only_get_and_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
