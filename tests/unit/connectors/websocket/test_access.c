/* SPDX-License-Identifier: MIT */
/* Who may listen to the sink `websocket`, and with which options it opens. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/log.h"
#include "connectors/websocket/access.h"
#include "tests/support/connector.h"
#include "tests/support/live.h"
#include "tests/support/metric.h"

TEST(bad_requests)
{
    live_open("path: /live");
    live_refused("/", UPGRADE, 404, "nothing at this path");
    live_refused("/live", "", 426, "text/event-stream");
    struct client plain = live_request("/live", "");
    char *head = live_head(&plain);
    assert_non_null(strstr(head, "Upgrade: websocket\r\nConnection: Upgrade\r\n"));
    free(head);
    client_close(&plain);
    live_refused("/live?topics=ai.chat", UPGRADE, 400, "\\\"ai.chat\\\" is not served here");
    live_refused("/live?topics=ai.chats,ai.chats", UPGRADE, 400, "twice");
    live_refused("/live?topics=ai.chats,", UPGRADE, 400, "empty name");
    live_refused("/live?topics=", UPGRADE, 400, "no value");
    live_refused("/live?typ=x", EVENTS, 400, "parameter \\\"typ\\\" is unknown, meant is perhaps type");
    live_refused("/live?type=a&type=b", UPGRADE, 400, "twice");
    live_refused("/live?type=%zz", UPGRADE, 400, "not percent-encoded");
    live_refused("/live?type=%c3%28", UPGRADE, 400, "not percent-encoded UTF-8");
    live_refused("/live?type=a%00b", UPGRADE, 400, "not percent-encoded");
    live_refused("/live?filter=%7B", UPGRADE, 400, "filter: not JSON at character");
    live_refused("/live?filter=%7B%22exakt%22:%7B%22type%22:%22x%22%7D%7D", UPGRADE, 400, "exakt");
    live_refused("/live?filter=%7B%22exact%22:1%7D", UPGRADE, 400, "filter");
    live_refused("/live?filter=%7B%22data%22:%7B%22a%22:1%7D%7D", UPGRADE, 400, "a JSON pointer begins with /");
    char deep[1024] = "/live?filter=%7B%22data%22:%7B%22";
    for (int i = 0; i < 100; i++)
        memcpy(deep + strlen(deep), "/0", 3);
    memcpy(deep + strlen(deep), "%22:1%7D%7D", sizeof "%22:1%7D%7D");
    live_refused(deep, UPGRADE, 400, "a JSON pointer of more than 64 steps");
    live_refused("/live?token=x", UPGRADE, 400, "unknown");
    live_refused(
        "/live",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 12\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        426, "");
    live_refused("/live", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n", 400, "");
    struct client c = live_client();
    client_write(&c, STR("POST /live HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"));
    char *text = live_head(&c);
    assert_non_null(strstr(text, "405"));
    assert_non_null(strstr(text, "Allow: GET, HEAD\r\n"));
    free(text);
    client_close(&c);
}

TEST(tokens)
{
    live_open("tokens: [one-of-enough-length, \"t/w?o-of-enough-length\"]");
    live_refused("/", UPGRADE, 401, "a valid token is needed");
    live_refused("/", UPGRADE "Authorization: Bearer one-of-enough-lengt\r\n", 401, "token");
    live_refused("/",
                 UPGRADE "Authorization: Bearer one-of-enough-length\r\nAuthorization: Bearer one-of-enough-length\r\n",
                 401, "token");
    live_refused("/", UPGRADE "Authorization: Basic b25lLW9mLWVub3VnaC1sZW5ndGg=\r\n", 401, "token");
    live_refused("/?token=one-of-enough-length", UPGRADE, 401, "token");
    live_refused("/",
                 UPGRADE
                 "Sec-WebSocket-Protocol: aqueduct.v1+json, base64url.bearer.aqueduct.b25lLW9mLWVub3VnaC1sZW5ndA\r\n",
                 401, "token");
    live_refused("/", EVENTS, 401, "token");
    struct client c = live_listener("/", UPGRADE "Authorization: bearer one-of-enough-length\r\n", 101);
    client_close(&c);
    c = live_listener("/", EVENTS "Authorization: Bearer t/w?o-of-enough-length\r\n", 200);
    client_close(&c);
    c = live_listener(
        "/",
        UPGRADE
        "Sec-WebSocket-Protocol: base64url.bearer.aqueduct.dC93P28tb2YtZW5vdWdoLWxlbmd0aA, aqueduct.v1+json\r\n",
        101);
    client_close(&c);
}

TEST(token_in_a_cookie)
{
    live_open("tokens: [\"t/w?o-of-enough-length\"]\ntoken_cookie: __Secure-live");
    live_refused("/", UPGRADE "Cookie: live=t/w?o-of-enough-length\r\n", 401, "token");
    live_refused("/", UPGRADE "Cookie: __Secure-live=wrong\r\n", 401, "token");
    live_refused("/", UPGRADE "Cookie: __Secure-live=t/w?o-of-enough-length\r\nOrigin: https://evil.example.com\r\n",
                 403, "origin");
    struct client c = live_listener("/",
                                    UPGRADE
                                    "Cookie: a=b; __Secure-live=t/w?o-of-enough-length ;c\r\nOrigin: http://here:1\r\n",
                                    101);
    client_close(&c);
    /* new EventSource(url, { withCredentials: true }) of a page that is not the listener's own */
    live_close(NULL);
    live_open(
        "tokens: [\"t/w?o-of-enough-length\"]\ntoken_cookie: __Secure-live\norigins: [\"https://app.example.com\"]");
    c = live_request("/", EVENTS "Cookie: __Secure-live=t/w?o-of-enough-length\r\nOrigin: https://app.example.com\r\n");
    char *head = live_head(&c);
    assert_true(str_starts(str_of(head), STR("HTTP/1.1 200")));
    assert_non_null(strstr(head, "Access-Control-Allow-Origin: https://app.example.com\r\n"));
    assert_non_null(strstr(head, "Access-Control-Allow-Credentials: true\r\n"));
    free(head);
    client_close(&c);
}

/* A flood of handshakes of one address takes no time of others. */
TEST(handshakes_of_one_address)
{
    clock_fake(100000, 1600000000000);
    live_open_tcp("handshake_rate: 1\npath: /live\nopen: true");
    struct client c = live_client();
    struct buf many = buf_new(1 << 20);
    for (int i = 0; i < 1000; i++)
        buf_add_c(&many, "GET / HTTP/1.1\r\nHost: here\r\n\r\n");
    for (size_t i = 0; i < many.n;) {
        size_t n = many.n - i < 4096 ? many.n - i : 4096;
        client_write(&c, (struct str){ many.at + i, n });
        i += n;
        live_turn();
        client_read(&c);
    }
    for (int i = 0; i < 200; i++) {
        live_turn();
        client_read(&c);
    }
    client_close(&c);
    buf_free(&many);
    live_refused("/live", UPGRADE, 429, "handshake_rate");
    clock_fake_advance(2000);
    c = live_listener("/live", UPGRADE, 101);
    client_close(&c);
}

TEST(token_in_query)
{
    live_open("tokens: [\"t/w?o-of-enough-length\"]\ntoken_in_query: true");
    live_refused("/?token=x", UPGRADE, 401, "token");
    struct client c = live_listener("/?token=t%2Fw%3Fo-of-enough-length&topics=ai.chats", UPGRADE, 101);
    client_close(&c);
}

TEST(keys_that_are_awaited)
{
    struct err why = { "" };
    live_open("verify: {scheme: jwt, jwt: {keys_url: 'http://127.0.0.1:1/', plain_http: true}}");
    assert_false(websocket_sink.ready(live_sink, &why));
    assert_says(why.text, "127.0.0.1");
    live_refused("/", UPGRADE "Authorization: Bearer eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbm5hIn0.c2ln\r\n", 503, "keys");
}

TEST(users_and_keys)
{
    live_open(
        "verify: {any: [{scheme: basic, secrets: [{name: ops, secret: a-password-of-ops}]}, {scheme: api_key, query: "
        "key, secrets: [{name: board, secret: the-key-of-a-board}]}, {scheme: bearer, secrets: [a-token-of-enough-"
        "length]}]}");
    struct metric *refused = metric_named("aqueduct_listeners_refused_total", LABELS("live", "mismatch"));
    int64_t before = metric_value(refused);
    live_refused("/", UPGRADE, 401, "could not be verified");
    live_refused("/", UPGRADE "Authorization: Basic b3BzOmFub3RoZXItcGFzc3dvcmQ=\r\n", 401, "verified");
    live_refused("/?key=the-key-of-a-boat", UPGRADE, 401, "verified");
    assert_int_equal(metric_value(refused), before + 2);
    struct client c = live_request("/", UPGRADE);
    char *head = live_head(&c);
    assert_says(head, "WWW-Authenticate: Basic realm=\"aqueduct\", charset=\"UTF-8\", Bearer\r\n");
    free(head);
    client_close(&c);
    live_refused("/?key=the-key-of-a-board&typ=x", UPGRADE, 400, "parameter \\\"typ\\\" is unknown");
    live_refused("/?key=the-key-of-a-board&key=the-key-of-a-board", UPGRADE, 401, "verified");
    c = live_listener("/", UPGRADE "Authorization: Basic b3BzOmEtcGFzc3dvcmQtb2Ytb3Bz\r\n", 101);
    client_close(&c);
    c = live_listener("/", EVENTS "Authorization: Basic b3BzOmEtcGFzc3dvcmQtb2Ytb3Bz\r\n", 200);
    client_close(&c);
    c = live_listener("/?topics=ai.chats&key=the-key-of-a-board", UPGRADE, 101);
    client_close(&c);
    c = live_listener(/* through a proxy that asks for a user of its own */
                      "/",
                      UPGRADE "Authorization: Basic b3BzOmFub3RoZXItcGFzc3dvcmQ=\r\nSec-WebSocket-Protocol: "
                              "base64url.bearer.aqueduct.YS10b2tlbi1vZi1lbm91Z2gtbGVuZ3Ro\r\n",
                      101);
    client_close(&c);
}

#define JWT "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm5hIn0.JEPkyaVI58YLcmWv9fyVypeLD2zhRQinNtSZPYTLahY"

TEST(json_web_tokens)
{
    live_open(
        "verify: {scheme: jwt, jwt: {secrets: [a-secret-of-these-tokens-which-is-long-enough-01], needs_exp: false}}");
    live_refused("/", UPGRADE, 401, "could not be verified");
    live_refused("/", UPGRADE "Authorization: Bearer x" JWT "\r\n", 401, "could not be verified");
    struct client c = live_listener("/", UPGRADE "Authorization: Bearer " JWT "\r\n", 101);
    client_close(&c);
    c = live_listener(
        "/",
        UPGRADE
        "Sec-WebSocket-Protocol: base64url.bearer.aqueduct.ZXlKaGJHY2lPaUpJVXpJMU5pSjkuZXlKemRXSWlPaUpoYm01aEluMC5KRVBreWFWSTU4WUxjbVd2OWZ5VnlwZUxEMnpoUlFpbk50U1pQWVRMYWhZ\r\n",
        101);
    client_close(&c);
    live_close(NULL);
    live_open("verify: {scheme: jwt, jwt: {keys_url: 'http://127.0.0.1:1/', plain_http: true}}");
    live_refused("/", UPGRADE "Authorization: Bearer " JWT "\r\n", 503, "are not there yet");
}

/* An address says nothing of whose site a browser is at. */
TEST(addresses_do_not_show_who_it_is)
{
    live_open_tcp("verify: {scheme: address, allow: [127.0.0.0/8]}");
    live_refused("/", UPGRADE, 403, "this name is none of the listener's");
    live_close(NULL);
    live_open_tcp("verify: {scheme: address, allow: [127.0.0.0/8]}\norigins: [\"http://here\"]");
    struct client c = live_listener("/", UPGRADE, 101);
    client_close(&c);
    live_close(NULL);
    live_open_tcp("verify: {scheme: address, allow: [10.0.0.0/8]}");
    live_refused("/", UPGRADE, 401, "verified");
}

/* A site whose name was made to point here (DNS rebinding) is not the listener's own. */
TEST(host_names)
{
    char *sites[] = { (char[]){ "https://app.example.com:8443" } };
    struct strings origins = { .at = sites, .count = 1 }, none = { 0 };
    static const struct {
        const char *host;
        bool ok;
    } cases[] = {
        { "127.0.0.1:8081", true },
        { "127.0.0.1", true },
        { "[::1]:8081", true },
        { "LOCALHOST:8081", true },
        { "app.example.com", true },
        { "APP.example.com:1", true },
        { "evil.example.com:8081", false },
        { "127.0.0.1.evil.com", false },
        { "localhost.evil.com:8081", false },
        { "app.example.com.evil.com", false },
        { "127.0.0.1.a-name-that-is-longer-than-any-address.com", false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct header host = { STR("Host"), str_of(cases[i].host) };
        struct http_request r = { .headers = &host, .header_count = 1 };
        if (access_host_ok(&r, &origins) != cases[i].ok)
            fail_msg("%s", cases[i].host);
    }
    struct header host = { STR("Host"), STR("app.example.com") };
    assert_false(access_host_ok(&(struct http_request){ .headers = &host, .header_count = 1 }, &none));
}

TEST(origins)
{
    live_open("origins: [\"https://app.example.com\"]");
    live_refused("/", UPGRADE "Origin: https://evil.example.com\r\n", 403, "origin");
    live_refused("/", UPGRADE "Origin: https://app.example.com.evil.com\r\n", 403, "origin");
    live_refused("/", UPGRADE "Origin: null\r\n", 403, "origin");
    live_refused("/", EVENTS "Sec-Fetch-Site: cross-site\r\n", 403, "origin");
    live_refused("/", EVENTS "Sec-Fetch-Site: same-site\r\n", 403, "origin");
    live_refused("/", EVENTS "Origin: http://here:2\r\n", 403, "origin");
    static const char *const good[] = { "Origin: https://app.example.com\r\n", "Origin: http://here:1\r\n", "" };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        char headers[512];
        snprintf(headers, sizeof headers, "%s%s", UPGRADE, good[i]);
        struct client c = live_listener("/", headers, 101);
        client_close(&c);
    }
}

TEST(unix_sockets_have_no_limit_per_address)
{
    live_open("max_listeners_per_ip: 1\nmax_subscriptions_per_ip: 1");
    struct client a = live_listener("/", UPGRADE, 101), b = live_listener("/?type=b", UPGRADE, 101);
    client_close(&a);
    client_close(&b);
}

TEST(limits)
{
    live_open_tcp("max_listeners_per_ip: 2\nmax_subscriptions: 1\nopen: true");
    struct client a = live_listener("/", UPGRADE, 101);
    live_refused("/?type=x", UPGRADE, 503, "max_subscriptions");
    struct client b = live_listener("/?type=*", UPGRADE, 101); /* the same subscription */
    live_refused("/", UPGRADE, 429, "max_listeners_per_ip");
    client_close(&b);
    for (int i = 0; i < 20; i++)
        live_turn();
    b = live_listener("/", UPGRADE, 101);
    client_close(&a);
    client_close(&b);
    for (int i = 0; i < 20; i++)
        live_turn();
    a = live_listener("/?type=x", UPGRADE, 101); /* the old subscription is gone with its last listener */
    client_close(&a);
}

TEST(subscriptions_of_one_address)
{
    live_open_tcp("max_subscriptions_per_ip: 2\nopen: true");
    struct client a = live_listener("/?type=a", UPGRADE, 101), b = live_listener("/?type=b", UPGRADE, 101);
    live_refused("/?type=c", UPGRADE, 429, "max_subscriptions_per_ip");
    struct client again = live_listener("/?type=a", UPGRADE, 101); /* no new one */
    client_close(&b);
    for (int i = 0; i < 20; i++)
        live_turn();
    b = live_listener("/?type=c", UPGRADE, 101);
    live_refused("/?type=b", UPGRADE, 429, "max_subscriptions_per_ip");
    client_close(&a);
    client_close(&b);
    client_close(&again);
}

/* Nobody can take all subscriptions: those that are there because of one address, or user, are limited. */
TEST(different_subscriptions_of_one_address_or_user)
{
    live_open_tcp("max_subscriptions_per_ip: 2\nmax_subscriptions_per_user: 1\nmax_listeners_per_user: 3\n"
                  "tokens: [{name: anna, secret: the-token-of-anna-x}, {name: bob, secret: the-token-of-bob-xx}]");
#define ANNA UPGRADE "Authorization: Bearer the-token-of-anna-x\r\n"
#define BOB  UPGRADE "Authorization: Bearer the-token-of-bob-xx\r\n"
    struct client a = live_listener("/?type=a", ANNA, 101), b = live_listener("/?type=b", BOB, 101);
    live_refused("/?type=c", ANNA, 429, "max_subscriptions_per_ip");
    struct client shared = live_listener("/?type=b", ANNA, 101);
    client_close(&b); /* the subscription stays bob's: anna only joined it */
    for (int i = 0; i < 20; i++)
        live_turn();
    live_refused("/?type=c", BOB, 429, "max_subscriptions_per_ip");
    client_close(&a);
    for (int i = 0; i < 20; i++)
        live_turn();
    live_refused("/?type=d", BOB, 429, "max_subscriptions_per_user");
    a = live_listener("/?type=a", ANNA, 101);
    b = live_listener("/?type=a", ANNA, 101);
    live_refused("/?type=a", ANNA, 429, "max_listeners_per_user");
    client_close(&a);
    client_close(&b);
    client_close(&shared);
}

TEST(bad_options)
{
    static const struct {
        const char *yaml, *expected;
    } cases[] = {
        { "listen: 0.0.0.0:0", "can be reached by others" },
        { "listen: \"[::]:0\"", "can be reached by others" },
        { "listen: 127.0.0.1:0\npath: x", "path must begin with /" },
        { "listen: 127.0.0.1:0\ntokens: [a-token-of-enough-length]\nopen: true", "contradict" },
        { "listen: 127.0.0.1:0\ntokens: [a-token-of-enough-length, fifteen-letters]", "tokens[1]: has 15 characters" },
        { "listen: 0.0.0.0:0\nverify: {scheme: none}", "can be reached by others" },
        { "listen: 127.0.0.1:0\nverify: {scheme: bearer}", "verify.secrets: scheme bearer needs at least one secret" },
        { "listen: 127.0.0.1:0\ntokens: [a-token-of-enough-length]\nverify: {scheme: none}",
          "tokens: stand beside verify" },
        { "listen: 127.0.0.1:0\nopen: true\nverify: {scheme: address, allow: [10.0.0.0/8]}",
          "open: true and verify contradict" },
        { "listen: 127.0.0.1:0\ntokens: [Bearer a-token-of-enough-length]", "tokens[0]: begins with the word Bearer" },
        { "listen: nowhere\nopen: true", "nowhere" },
        { "listen: 127.0.0.1:0\nclaims: {topics: x}", "claims: nobody shows a token" },
        { "listen: 127.0.0.1:0\ntokens: [a-token-of-some-length]\nclaims: {topics: x}", "claims: tokens have none" },
        { "listen: 127.0.0.1:0\ntokens: [a-token-of-enough-length]\ntoken_cookie: a\norigins: [\"*\"]",
          "let the scripts of any site in" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_says(sink_refused(&websocket_sink, cases[i].yaml).text, cases[i].expected);
    }
}

int main(void)
{
    log_setup(LOG_ERROR, LOG_LOGFMT);
    const struct CMUnitTest tests[] = {
        LIVE(bad_requests),
        LIVE(tokens),
        LIVE(users_and_keys),
        LIVE(keys_that_are_awaited),
        LIVE(json_web_tokens),
        LIVE(addresses_do_not_show_who_it_is),
        LIVE(token_in_query),
        LIVE(token_in_a_cookie),
        LIVE(handshakes_of_one_address),
        LIVE(host_names),
        LIVE(origins),
        LIVE(limits),
        LIVE(subscriptions_of_one_address),
        LIVE(different_subscriptions_of_one_address_or_user),
        LIVE(unix_sockets_have_no_limit_per_address),
        LIVE(bad_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
