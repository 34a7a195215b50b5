/* SPDX-License-Identifier: MIT */
/* Tokens of listeners of the sink `websocket` end: what they are told when, and which tokens come too late. */
#include <stdio.h>
#include <stdlib.h>
#include "tests/support/live.h"
#include "tests/support/metric.h"

#define TALK         UPGRADE "Sec-WebSocket-Protocol: aqueduct.v1+json\r\n"
#define ANNA         "{\"sub\":\"anna\"}"
#define ANNA_TILL(s) "{\"sub\":\"anna\",\"exp\":16000" s "}"
#define QUIET        "ping: 10m\nidle: 20m\n"

static char headers[8192];
static const char *with_token(const char *before, const char *claims)
{
    char *text = live_token(claims);
    snprintf(headers, sizeof headers, "%sAuthorization: Bearer %s\r\n", before, text);
    free(text);
    return headers;
}

static void say_token(struct client *c, const char *op, const char *claims)
{
    char *text = live_token(claims), said[4096];
    snprintf(said, sizeof said, "{\"op\":\"%s\",\"id\":1,\"token\":\"%s\"}", op, text);
    live_say(c, said);
    free(text);
}

/* The next frame begins so. */
static void expect_begin(struct client *c, const char *begin)
{
    int opcode;
    char *text = live_next(c, &opcode);
    if (strncmp(text, begin, strlen(begin)) != 0)
        fail_msg("%.200s, not %s", text, begin);
    free(text);
}

static void closed_with(struct client *c, int code)
{
    int opcode;
    char *text = live_next(c, &opcode);
    if (opcode != 0x88 || ((unsigned char)text[0] << 8 | (unsigned char)text[1]) != code)
        fail_msg("%x %.200s, not %d", (unsigned)opcode, text, code);
    free(text);
}

/* An event that no socket takes at once. */
static void send_long(const char *id)
{
    enum { LENGTH = 1 << 20 };
    char *data = malloc(LENGTH + 1);
    memset(data, 'x', LENGTH);
    data[0] = data[LENGTH - 1] = '"', data[LENGTH] = '\0';
    live_send("ai.chats", id, "t", NULL, data);
    live_turn();
    free(data);
}

/* In the middle of a frame nothing can be said: it is, once the frame is whole, and nothing else follows. */
TEST(who_stands_in_a_frame_hears_it_at_its_end)
{
    clock_fake(100000, 1600000000000);
    live_open(LIVE_VERIFY QUIET);
    struct client plain = live_listener("/", with_token(UPGRADE, ANNA_TILL("00100")), 101),
                  talks = live_listener("/", with_token(TALK, ANNA_TILL("00100")), 101);
    expect_begin(&talks, "{\"op\":\"welcome\"");
    live_say(&talks, "{\"op\":\"sub\",\"sub\":\"a\"}");
    expect_begin(&talks, "{\"op\":\"ok\"");
    send_long("1");
    live_send("ai.chats", "2", "t", NULL, "2");
    clock_fake_advance(101000);
    for (int i = 0; i < 20; i++)
        live_turn();
    expect_begin(&plain, "{\"specversion\":\"1.0\",\"id\":\"1\"");
    closed_with(&plain, 4410);
    expect_begin(&talks, "{\"op\":\"ev\",\"sub\":\"a\",\"d\":[{\"specversion\":\"1.0\",\"id\":\"1\"");
    expect_begin(&talks, "{\"op\":\"err\",\"code\":4410");
    live_silent(&talks);
    say_token(&talks, "refresh", ANNA_TILL("00500"));
    int opcode;
    bool ok = false, event = false;
    for (int i = 0; i < 2; i++) { /* what waited goes on where it was */
        char *text = live_next(&talks, &opcode);
        ok |= strstr(text, "\"op\":\"ok\"") != NULL;
        event |= strstr(text, "\"id\":\"2\"") != NULL;
        free(text);
    }
    assert_true(ok && event);
    client_close(&plain);
    client_close(&talks);
}

/* One that never takes the rest of its frame is gone after the time that it would have for another token. */
TEST(who_never_reads_is_closed)
{
    clock_fake(100000, 1600000000000);
    live_open(LIVE_VERIFY QUIET "buffer: 2MiB");
    struct client plain = live_listener("/", with_token(UPGRADE, ANNA_TILL("00100")), 101);
    send_long("1");
    clock_fake_advance(101000);
    for (int i = 0; i < 20; i++)
        live_turn();
    clock_fake_advance(29000);
    live_turn();
    assert_int_equal(metric_value(metric_named("aqueduct_listeners", LABELS("live", "websocket"))), 1);
    for (int i = 0; i < 20; i++) {
        clock_fake_advance(1000);
        live_turn();
    }
    assert_int_equal(metric_value(metric_named("aqueduct_listeners", LABELS("live", "websocket"))), 0);
    client_close(&plain);
}

/* A leeway lets requests in; what lasts does not begin, nor go on, with a token whose time has passed. */
TEST(a_token_within_the_leeway_begins_nothing)
{
    clock_fake(100000, 1600000000000);
    live_open(LIVE_VERIFY QUIET);
    live_refused("/", with_token(UPGRADE, "{\"sub\":\"anna\",\"exp\":1599999990}"), 401, "the token has expired");
    live_refused("/", with_token(EVENTS, "{\"sub\":\"anna\",\"exp\":1599999990}"), 401, "the token has expired");
    struct client late = live_listener("/", TALK, 101),
                  c = live_listener("/", with_token(TALK, ANNA_TILL("00100")), 101);
    say_token(&late, "hello", "{\"sub\":\"anna\",\"exp\":1599999990}");
    expect_begin(&late, "{\"op\":\"err\",\"id\":1,\"code\":4410,\"msg\":\"the token has expired\"");
    closed_with(&late, 4410);
    expect_begin(&c, "{\"op\":\"welcome\"");
    clock_fake_advance(101000);
    expect_begin(&c, "{\"op\":\"err\",\"code\":4410");
    say_token(&c, "refresh", ANNA_TILL("00099"));
    expect_begin(&c, "{\"op\":\"err\",\"id\":1,\"code\":4410,\"msg\":\"the token has expired\"");
    say_token(&c, "refresh", ANNA_TILL("00200"));
    expect_begin(&c, "{\"op\":\"ok\",\"id\":1");
    client_close(&late);
    client_close(&c);
}

/* The address of a later token is the whole one, not the /64 whose limits it has. */
TEST(a_later_token_comes_from_the_whole_address)
{
    live_open("trusted_proxies: [unix]\nverify: {all: [{scheme: address, allow: [\"2001:db8::7\"]}, {scheme: jwt, jwt: "
              "{secrets: [" LIVE_SECRET "], needs_exp: false}}]}");
    char request[9000];
    snprintf(request, sizeof request, "X-Forwarded-For: 2001:db8::7\r\n%s", with_token(TALK, ANNA));
    struct client c = live_listener("/", request, 101);
    expect_begin(&c, "{\"op\":\"welcome\"");
    say_token(&c, "refresh", ANNA);
    expect_begin(&c, "{\"op\":\"ok\",\"id\":1");
    client_close(&c);
    snprintf(request, sizeof request, "X-Forwarded-For: 2001:db8::8\r\n%s", with_token(TALK, ANNA));
    live_refused("/", request, 401, "could not be verified");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIVE(who_stands_in_a_frame_hears_it_at_its_end),
        LIVE(who_never_reads_is_closed),
        LIVE(a_token_within_the_leeway_begins_nothing),
        LIVE(a_later_token_comes_from_the_whole_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
