/* SPDX-License-Identifier: MIT */
/* What an answer of a token service grants, and what of the options is refused; the rest is in tests/e2e/test_transport.py. */
#include "connectors/webhook/token.h"
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/mem.h"
#include "connectors/webhook/login.h"
#include "connectors/webhook/oauth.h"
#include "tests/support/connector.h"
#include "tests/support/event.h"
#include "tests/support/test.h"

extern const struct sink_ops webhook_sink;

#define NOW_MS 1800000000000

TEST(answers_of_a_token_service)
{
    static const struct {
        const char *body, *token; /* NULL: none */
        int64_t life_s;
    } cases[] = {
        { "{\"access_token\":\"abc\",\"token_type\":\"Bearer\",\"expires_in\":300}", "abc", 300 },
        { "{\"access_token\":\"abc\",\"token_type\":\"bearer\"}", "abc", 3600 },
        { "{\"access_token\":\"a.b-c_d~e+f/g==\"}", "a.b-c_d~e+f/g==", 3600 },
        { "{\"access_token\":\"abc\",\"expires_in\":\"300\"}", "abc", 300 },
        { "{\"access_token\":\"abc\",\"expires_in\":299.9}", "abc", 299 },
        { "{\"access_token\":\"abc\",\"expires_in\":0}", "abc", 3600 },
        { "{\"access_token\":\"abc\",\"expires_in\":-5}", "abc", 3600 },
        { "{\"access_token\":\"abc\",\"expires_in\":null}", "abc", 3600 },
        { "{\"access_token\":\"abc\",\"expires_in\":1e300}", "abc", 2592000 },
        { "{\"access_token\":\"abc\",\"expires_in\":\"99999999999\"}", "abc", 2592000 },
        { "{\"access_token\":\"abc\",\"token_type\":\"mac\"}", NULL, 0 },
        { "{\"access_token\":\"a b\"}", NULL, 0 },
        { "{\"access_token\":\"a\\r\\nX-Other: b\"}", NULL, 0 },
        { "{\"access_token\":\"\xc3\xa9\"}", NULL, 0 },
        { "{\"access_token\":\"\"}", NULL, 0 },
        { "{\"access_token\":17}", NULL, 0 },
        { "{\"error\":\"invalid_client\"}", NULL, 0 },
        { "[\"access_token\"]", NULL, 0 },
        { "access_token=abc", NULL, 0 },
        { "", NULL, 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char room[GRANT_BYTES] = "", member[] = "/access_token";
        struct grant g = { .member = member, .life_s = 3600 };
        struct duration life = { 0 };
        struct err e = { "" };
        bool granted = grant_read(&g, str_of(cases[i].body), NOW_MS, room, &life, &e);
        if (granted != (cases[i].token != NULL))
            fail_msg("%s: %s", cases[i].body, granted ? room : e.text);
        if (granted) {
            assert_string_equal(room, cases[i].token);
            assert_int_equal(life.ms, cases[i].life_s * 1000);
        }
    }
}

TEST(a_token_that_names_its_end_lasts_until_then)
{
    static const struct {
        const char *token;
        int64_t life_s;
    } cases[] = {
        { "eyJhbGciOiAiSFM1MTIifQ.eyJleHAiOiAxODAwMDAwNjAwfQ.c2ln", 600 }, /* by our clock */
        { "eyJhbGciOiAiSFM1MTIifQ.eyJpYXQiOiAxODAwMDAwMDAwLCAiZXhwIjogMTgwMDA4NjQwMH0.c2ln", 86400 },
        { "eyJhbGciOiAiSFM1MTIifQ.eyJpYXQiOiAxNzk5OTk2NDAwLCAiZXhwIjogMTgwMDAwMDYwMH0.c2ln",
          600 }, /* it was made before */
        { "eyJhbGciOiAiSFM1MTIifQ.eyJpYXQiOiAxODAwMDA1MDAwLCAiZXhwIjogMTgwMDAwNTYwMH0.c2ln",
          600 }, /* their clock is fast */
        { "eyJhbGciOiAiSFM1MTIifQ.eyJpYXQiOiAxNzk5OTkxMDAwLCAiZXhwIjogMTc5OTk5MTYwMH0.c2ln",
          600 }, /* their clock is slow */
        { "eyJhbGciOiAiSFM1MTIifQ.eyJleHAiOiAxNzk5OTk5OTk1fQ.c2ln",
          3600 }, /* over, and nothing to say by whose clock */
        { "eyJhbGciOiAiSFM1MTIifQ.eyJpYXQiOiAxODAwMDAwMDAwLCAiZXhwIjogMTgwMDAwMDAwMH0.c2ln", 3600 },
        { "eyJhbGciOiAiSFM1MTIifQ.eyJleHAiOiAxZSszMDB9.c2ln", 2592000 },
        { "eyJhbGciOiAiSFM1MTIifQ.eyJleHAiOiAidG9tb3Jyb3cifQ.c2ln", 3600 },
        { "a.b.c", 3600 }, /* no JWT */
        { "a..c", 3600 },
    };
    char member[] = "/data/token", room[GRANT_BYTES], body[512];
    struct grant g = { .member = member, .life_s = 3600 };
    struct duration life = { 0 };
    struct err e = { "" };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(body, sizeof body, "{\"data\":{\"token\":\"%s\"}}", cases[i].token);
        assert_true(grant_read(&g, str_of(body), NOW_MS, room, &life, &e));
        assert_string_equal(room, cases[i].token);
        if (life.ms != cases[i].life_s * 1000)
            fail_msg("%s: %lld ms", cases[i].token, (long long)life.ms);
    }
    snprintf(body, sizeof body, "{\"data\":{\"token\":\"%s\"},\"expires_in\":30}", cases[1].token);
    assert_true(grant_read(&g, str_of(body), NOW_MS, room, &life, &e)); /* the answer goes before the token */
    assert_int_equal(life.ms, 30000);
    assert_false(grant_read(&g, STR("{\"access_token\":\"abc\"}"), NOW_MS, room, &life, &e));
    assert_string_equal(e.text, "the answer has no data/token that can stand in a header");
}

TEST(settings_that_lack_something_are_refused)
{
    static const struct {
        const char *oauth, *text;
    } cases[] = {
        { "{client_id: a}", "oauth.token_url: is missing" },
        { "{token_url: 'http://a.example/', client_secret: b}", "oauth.client_id: is missing" },
        { "{token_url: 'http://a.example/', client_id: a}", "oauth.client_secret: is missing" },
        { "{token_url: 'ftp://a.example/', client_id: a, client_secret: b}",
          "oauth.token_url: must begin with http:// or https://" },
        { "{token_url: 'a.example/token', client_id: a, client_secret: b}",
          "oauth.token_url: must begin with http:// or https://" },
        { "{token_url: 'http://169.254.169.254/', client_id: a, client_secret: b}",
          "oauth.token_url: 169.254.169.254 is a blocked address" },
        { "{token_url: 'http://a.example/', client_id: a, client_secret: b}\nheaders: {authorization: c}",
          "headers: authorization is set by the bridge (see oauth)" },
        { "{token_url: 'http://a.example/', client_id: a, client_secret: b}\npassword: c",
          "password: is for login, and oauth gives a token already" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char yaml[256];
        snprintf(yaml, sizeof yaml, "url: http://b.example/\nunsigned: true\noauth: %s\n", cases[i].oauth);
        assert_says(sink_refused(&webhook_sink, yaml).text, cases[i].text);
    }
}

TEST(a_login_that_lacks_something_is_refused)
{
    static const struct {
        const char *yaml, *text;
    } cases[] = {
        { "username: a", "password: is missing (it goes with username)" },
        { "username: a\npassword: b", "login.url: is missing: where do username and password give a token?" },
        { "login: {url: /t}", "login.body: is missing" },
        { "login: {url: /t, body: [a]}", "login.body: is no mapping" },
        { "login: {url: /t, body: {a: '{{subject}}'}}", "login.body: \"{{subject}}\": a value is {{username}}, " },
        { "login: {url: /t, body: {a: {b: ['{{username}}']}}}\npassword: c", "username: is missing" },
        { "login: {url: /t, body: {a: b}, token: c}", "login.token: " },
        { "login: {url: /t, body: {a: b}, token: ''}", "login.token: is empty" },
        { "login: {url: /t, body: {a: b}, success: [ok]}", "login: success[0]: \"ok\" is neither a status" },
        { "login: {url: 'http://169.254.169.254/t', body: {a: b}}", "login.url: 169.254.169.254 is a blocked address" },
        { "login: {url: 'http://me:you@a.example/t', body: {a: b}}", "login.url: " },
        { "login: {url: /t, body: {a: b}}\npassword: c\nheaders: {Authorization: d}",
          "headers: Authorization is set by the bridge (see login)" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char yaml[256];
        snprintf(yaml, sizeof yaml, "url: http://b.example/\nunsigned: true\n%s\n", cases[i].yaml);
        assert_says(sink_refused(&webhook_sink, yaml).text, cases[i].text);
    }
}

TEST(a_user_name_and_a_password_that_cannot_stand_in_a_header_are_refused)
{
    static const struct {
        const char *yaml, *text;
    } cases[] = {
        { "basic: {username: a}", "basic.password: is missing" },
        { "basic: {password: b}", "basic.username: is missing" },
        { "basic: {username: 'a:b', password: c}", "basic.username: has a colon" },
        { "basic: {username: a, password: \"b\\nc\"}", "basic.password: has a control character" },
        { "basic: {username: a, password: b}\nheaders: {authorization: c}",
          "headers: authorization is set by the bridge (see basic)" },
        { "basic: {username: a, password: b}\noauth: {token_url: 'http://a.example/', client_id: a, client_secret: b}",
          "basic: oauth sets the header Authorization already" },
        { "basic: {username: a, password: b}\nlogin: {url: /t, body: {a: b}}\npassword: c",
          "basic: login sets the header Authorization already" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char yaml[256];
        snprintf(yaml, sizeof yaml, "url: http://b.example/\nunsigned: true\n%s\n", cases[i].yaml);
        assert_says(sink_refused(&webhook_sink, yaml).text, cases[i].text);
    }
}

static struct token *take(struct token **list, struct grant g)
{
    struct transfer_target receiver = { 0 };
    return token_take(list, &g, &receiver, &(struct address_rules){ GUARD_OFF, &(struct strings){ 0 } });
}

static struct grant client(enum oauth_auth auth)
{
    struct grant g;
    char url[] = "http://127.0.0.1/", id[] = "crm", secret[] = "open/sesame+1";
    struct oauth o = { .token_url = url, .client_id = id, .client_secret = { .text = secret }, .auth = auth };
    oauth_grant(&o, &g);
    return g;
}

static struct grant logged_in(const char *url, const char *password)
{
    struct err e;
    struct grant g;
    struct transfer_target receiver = { 0 };
    char where[] = "/auth/token", member[] = "/access_token", status[] = "201", *success[] = { status },
         body[] = "{\"user\":{\"name\":\"{{username}}\"},\"password\":\"{{password}}\",\"keep\":true}";
    struct login l = { .url = where, .body = { body }, .token = member, .success = { success, 1 } };
    struct login_user user = { &receiver, "me", password };
    assert_true(target_set_url(&receiver, "url", url, &e));
    assert_true(login_check(&l, &user, &(struct address_rules){ GUARD_OFF, &(struct strings){ 0 } }, &e));
    login_grant(&l, &user, &g);
    target_free_url(&receiver);
    return g;
}

TEST(a_login_is_posted_as_json_to_the_receivers_own_host)
{
    struct grant g = logged_in("https://a.example:8443/api/v2/runs?x=1", "pass\"word");
    assert_string_equal(g.url, "https://a.example:8443/auth/token");
    assert_str(g.request.body, "{\"user\":{\"name\":\"me\"},\"password\":\"pass\\\"word\",\"keep\":true}");
    assert_string_equal(g.request.lines[2].data, "Content-Type: application/json");
    assert_int_equal(statuses_verdict(&g.statuses, 201), VERDICT_DELIVERED);
    assert_int_equal(statuses_verdict(&g.statuses, 200), VERDICT_RETRY);
    grant_free(&g);
}

TEST(receivers_with_the_same_grant_share_its_token)
{
    struct token *tokens = NULL;
    struct token *one = take(&tokens, logged_in("http://a.example/x", "word"));
    struct token *all[] = { one, take(&tokens, logged_in("http://a.example/y", "word")),
                            take(&tokens, logged_in("http://a.example/x", "sword")),
                            take(&tokens, logged_in("http://b.example/x", "word")),
                            take(&tokens, client(OAUTH_BASIC)) };
    assert_ptr_equal(all[1], one);
    for (size_t i = 2; i < sizeof all / sizeof *all; i++)
        for (size_t j = 0; j < i; j++)
            assert_true(all[i] != all[j] || i == j);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        token_release(all[i]);
    token_free(tokens);
}

/* Services that are being set up like to say what they have received. */
static void check_echo(struct grant g, const char *echo, const char *shown)
{
    char text[128];
    snprintf(text, sizeof text, "%s", echo);
    hide_in(&g.hidden, text, strlen(text));
    assert_string_equal(text, shown);
    grant_free(&g);
}

TEST(an_answer_that_repeats_the_request_shows_no_secret)
{
    check_echo(client(OAUTH_BASIC), "Authorization: Basic Y3JtOm9wZW4lMkZzZXNhbWUlMkIx?",
               "Authorization: Basic ****************************?");
    check_echo(client(OAUTH_BASIC), "open/sesame+1?", "*************?");
    check_echo(client(OAUTH_BODY), "client_id=crm&client_secret=open%2Fsesame%2B1&scope=a",
               "client_id=crm&client_secret=*****************&scope=a");
    check_echo(logged_in("http://a.example/", "a\"b"), "{\"input\":\"a\\\"b\"} a\"b", "{\"input\":\"****\"} ***");
}

/* Of a service that refuses us. */
TEST(a_refused_login_is_tried_again_more_and_more_seldom)
{
    struct token *tokens = NULL, *k = take(&tokens, logged_in("http://a.example/", "word"));
    int64_t waits[] = { 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000 };
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
        k->transfer.result = (struct result){ .verdict = VERDICT_RETRY, .status = 401, .why = "401 Unauthorized" };
        token_took(k, 1000);
        assert_int_equal(token_ask(k, 1000 + waits[i] - 1), TOKEN_FAILED);
        assert_int_equal(k->failure.retry_after.ms, waits[i]);
        assert_int_equal(k->failure.reason, REASON_CONFIGURATION);
        assert_string_equal(k->failure.why, "no access token from a.example: 401 Unauthorized");
    }
    k->transfer.result = (struct result){ .verdict = VERDICT_RETRY, .status = 503, .why = "503" };
    token_took(k, 1000);
    assert_int_equal(k->failure.retry_after.ms, 1000); /* it may be back any moment */
    k->transfer.result = (struct result){ .verdict = VERDICT_DELIVERED, .status = 201 };
    buf_add_c(&k->answer, "{\"access_token\":\"abc\"}");
    token_took(k, 1000);
    assert_int_equal(token_ask(k, 1000 + 86400000), TOKEN_READY); /* nothing says when it ends: a 401 will */
    assert_string_equal(k->line, "Authorization: Bearer abc");
    token_release(k);
    token_free(tokens);
}

TEST(an_answer_that_may_have_a_token_is_not_quoted)
{
    struct token *tokens = NULL, *k = take(&tokens, logged_in("http://a.example/", "word"));
    k->transfer.result = (struct result){ .verdict = VERDICT_RETRY,
                                          .status = 200,
                                          .why = "200 OK: {\"access_token\":\"abc\"}" };
    token_took(k, 1000);
    assert_string_equal(k->failure.why, "no access token from a.example: 200, which login.success does not name");
    assert_int_equal(k->failure.reason, REASON_CONFIGURATION);
    token_release(k);
    token_free(tokens);
}

TEST(an_answer_without_an_end_is_too_large)
{
    struct token *tokens = NULL, *k = take(&tokens, logged_in("http://a.example/", "word"));
    k->transfer.result = (struct result){ .verdict = VERDICT_DELIVERED, .status = 201 };
    for (int i = 0; i <= GRANT_BYTES; i++)
        buf_add_char(&k->answer, ' ');
    token_took(k, 1000);
    assert_string_equal(k->failure.why, "no access token from a.example: the answer is larger than 16 KiB");
    token_release(k);
    token_free(tokens);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_of_a_token_service),
        cmocka_unit_test(a_token_that_names_its_end_lasts_until_then),
        cmocka_unit_test(settings_that_lack_something_are_refused),
        cmocka_unit_test(a_login_that_lacks_something_is_refused),
        cmocka_unit_test(a_user_name_and_a_password_that_cannot_stand_in_a_header_are_refused),
        cmocka_unit_test(a_login_is_posted_as_json_to_the_receivers_own_host),
        cmocka_unit_test(receivers_with_the_same_grant_share_its_token),
        cmocka_unit_test(an_answer_that_repeats_the_request_shows_no_secret),
        cmocka_unit_test(a_refused_login_is_tried_again_more_and_more_seldom),
        cmocka_unit_test(an_answer_that_may_have_a_token_is_not_quoted),
        cmocka_unit_test(an_answer_without_an_end_is_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
