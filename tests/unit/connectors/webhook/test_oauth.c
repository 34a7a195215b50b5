/* SPDX-License-Identifier: MIT */
/* What an answer of a token service grants, and what of the options is refused; the rest is in tests/e2e/test_transport.py. */
#include "connectors/webhook/oauth.h"
#include <stdio.h>
#include "tests/support/connector.h"
#include "tests/support/test.h"

extern const struct sink_ops webhook_sink;

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
        char room[OAUTH_BYTES] = "";
        struct duration life = { 0 };
        struct err e = { "" };
        bool granted = oauth_read(str_of(cases[i].body), room, &life, &e);
        if (granted != (cases[i].token != NULL))
            fail_msg("%s: %s", cases[i].body, granted ? room : e.text);
        if (granted) {
            assert_string_equal(room, cases[i].token);
            assert_int_equal(life.ms, cases[i].life_s * 1000);
        }
    }
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
        { "{token_url: 'http://169.254.169.254/', client_id: a, client_secret: b}",
          "oauth.token_url: 169.254.169.254 is a blocked address" },
        { "{token_url: 'http://a.example/', client_id: a, client_secret: b}\nheaders: {authorization: c}",
          "headers: authorization is set by the bridge (see oauth)" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char yaml[256];
        snprintf(yaml, sizeof yaml, "url: http://b.example/\nunsigned: true\noauth: %s\n", cases[i].oauth);
        assert_says(sink_refused(&webhook_sink, yaml).text, cases[i].text);
    }
}

/* Services that are being set up like to say what they have received. */
static void check_echo(enum oauth_auth auth, const char *echo, const char *shown)
{
    char text[128];
    struct oauth_token *tokens = NULL;
    struct transfer_target receiver = { 0 };
    char url[] = "http://127.0.0.1/", id[] = "crm", secret[] = "open/sesame+1";
    struct oauth o = { .token_url = url, .client_id = id, .client_secret = { .text = secret }, .auth = auth };
    struct oauth_token *k = oauth_take(&tokens, &o, &receiver,
                                       &(struct address_rules){ GUARD_OFF, &(struct strings){ 0 } });
    snprintf(text, sizeof text, "%s", echo);
    hide_in(&k->target.hidden, text, strlen(text));
    assert_string_equal(text, shown);
    oauth_release(k);
    oauth_free(tokens);
}

TEST(an_answer_that_repeats_the_request_shows_no_secret)
{
    check_echo(OAUTH_BASIC, "Authorization: Basic Y3JtOm9wZW4lMkZzZXNhbWUlMkIx?",
               "Authorization: Basic ****************************?");
    check_echo(OAUTH_BASIC, "open/sesame+1?", "*************?");
    check_echo(OAUTH_BODY, "client_id=crm&client_secret=open%2Fsesame%2B1&scope=a",
               "client_id=crm&client_secret=*****************&scope=a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_of_a_token_service),
        cmocka_unit_test(settings_that_lack_something_are_refused),
        cmocka_unit_test(an_answer_that_repeats_the_request_shows_no_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
