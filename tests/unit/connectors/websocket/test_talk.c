/* SPDX-License-Identifier: MIT */
/* The subprotocol aqueduct.v1+json: what is said, and what is answered. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/cbor.h"
#include "bridge/lib/log.h"
#include "tests/support/live.h"
#include "tests/support/metric.h"

#define TALK                    UPGRADE "Sec-WebSocket-Protocol: aqueduct.v1+json\r\n"
#define WELCOME                 "{\"op\":\"welcome\"%s,\"ping_ms\":30000,\"limits\":{\"message\":65536,\"subs\":%d}}"
#define EV(sub, id, type, rest) "{\"op\":\"ev\",\"sub\":\"" sub "\",\"d\":[" JSON(id, type, rest) "]}"

static struct client talker(const char *headers, int subs)
{
    char welcome[256];
    struct client c = live_listener("/", headers, 101);
    snprintf(welcome, sizeof welcome, WELCOME, "", subs);
    live_expect(&c, welcome);
    return c;
}

static void dialogue(struct client *c, const char *said, const char *answer)
{
    live_say(c, said);
    live_expect(c, answer);
}

static const struct line {
    const char *said, *answer; /* the answer's beginning */
} lines[] = {
    { "{\"op\":\"ping\",\"id\":5}", "{\"op\":\"ok\",\"id\":5}" },
    { "{\"op\":\"ping\"}", "{\"op\":\"ok\"}" },
    { "{\"op\":\"ping\",\"id\":\"a\\u0062\"}", "{\"op\":\"ok\",\"id\":\"a\\u0062\"}" },
    { "{\"op\":\"ping\",\"id\":[1]}", "{\"op\":\"err\",\"code\":4400,\"msg\":\"id: is neither" },
    { "{\"op\":\"hello\",\"id\":1}", "{\"op\":\"welcome\",\"id\":1,\"ping_ms\":30000," },
    { "{\"op\":\"dance\",\"id\":2}",
      "{\"op\":\"err\",\"id\":2,\"code\":4004,\"msg\":\"there is no op \\\"dance\\\"; there are hello, sub" },
    { "{\"id\":2}", "{\"op\":\"err\",\"id\":2,\"code\":4400,\"msg\":\"op: is missing\",\"temp\":false}" },
    { "{\"op\":7}", "{\"op\":\"err\",\"code\":4400,\"msg\":\"op: is no text\",\"temp\":false}" },
    { "{\"op\":\"\"}", "{\"op\":\"err\",\"code\":4400,\"msg\":\"op: is empty\",\"temp\":false}" },
    { "{\"op\":\"ping\",\"op\":\"sub\"}", "{\"op\":\"err\",\"code\":4400,\"msg\":\"\\\"op\\\" is there twice\"" },
    { "{\"op\":\"ping\",", "{\"op\":\"err\",\"code\":4400,\"msg\":\"" },
    { "[]", "{\"op\":\"err\",\"code\":4400,\"msg\":\"" },
    { "{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":1,\"i\":1,\"j\":1,\"k\":1,\"l\":1,\"m\":1,\"n\":1,\"o\":1,\"p\":1,\"q\":1}",
      "{\"op\":\"err\",\"code\":4400,\"msg\":\"more than 16 members\"" },
    { "{\"op\":\"sub\",\"id\":3}", "{\"op\":\"err\",\"id\":3,\"code\":4400,\"msg\":\"sub: is missing\"" },
    { "{\"op\":\"sub\",\"sub\":\"a\",\"filtre\":{}}",
      "{\"op\":\"err\",\"code\":4400,\"msg\":\"\\\"filtre\\\" is no part of op sub\"" },
    { "{\"op\":\"sub\",\"sub\":\"a\",\"topics\":\"ai.chats\"}",
      "{\"op\":\"err\",\"code\":4400,\"msg\":\"topics: is no list\"" },
    { "{\"op\":\"sub\",\"sub\":\"a\",\"topics\":[]}",
      "{\"op\":\"err\",\"code\":4400,\"msg\":\"topics: is an empty list" },
    { "{\"op\":\"sub\",\"sub\":\"a\",\"topics\":[1]}",
      "{\"op\":\"err\",\"code\":4400,\"msg\":\"topics: a name is no text\"" },
    { "{\"op\":\"sub\",\"sub\":\"a\",\"topics\":[\"x\"]}",
      "{\"op\":\"err\",\"code\":4404,\"msg\":\"topics: \\\"x\\\" is not served here\"" },
    { "{\"op\":\"sub\",\"sub\":\"a\",\"type\":\"a\\u0000b\"}",
      "{\"op\":\"err\",\"code\":4400,\"msg\":\"type: has a NUL in it\"" },
    { "{\"op\":\"sub\",\"sub\":\"a\",\"type\":\"\"}", "{\"op\":\"err\",\"code\":4400,\"msg\":\"type: is empty\"" },
    { "{\"op\":\"sub\",\"sub\":\"a\",\"filter\":{\"exakt\":{\"type\":\"x\"}}}",
      "{\"op\":\"err\",\"code\":4412,\"msg\":\"filter: " },
    { "{\"op\":\"sub\",\"sub\":\"a\",\"filter\":7}", "{\"op\":\"err\",\"code\":4412,\"msg\":\"filter" },
    { "{\"op\":\"unsub\",\"sub\":\"a\",\"id\":4}",
      "{\"op\":\"err\",\"id\":4,\"code\":4404,\"msg\":\"sub: there is none of this name\"" },
    { "{\"op\":\"pub\",\"id\":9}", "{\"op\":\"err\",\"id\":9,\"code\":4400,\"msg\":\"event: is missing\"" },
    { "{\"op\":\"pub\",\"id\":9,\"event\":{\"type\":\"t\"}}",
      "{\"op\":\"err\",\"id\":9,\"code\":4403,\"msg\":\"nothing is published here" },
    { "{\"op\":\"sub\",\"id\":6,\"sub\":\"a\",\"filter\":[{\"prefix\":{\"type\":\"x\"}}]}",
      "{\"op\":\"ok\",\"id\":6,\"sub\":\"a\"}" },
    { "{\"op\":\"sub\",\"id\":7,\"sub\":\"\\u0061\"}",
      "{\"op\":\"err\",\"id\":7,\"code\":4409,\"msg\":\"sub: there is one of this name already\"" },
    { "{\"op\":\"unsub\",\"id\":8,\"sub\":\"a\"}", "{\"op\":\"ok\",\"id\":8,\"sub\":\"a\"}" },
};

TEST(every_message_is_answered)
{
    live_open("");
    struct client c = talker(TALK, 64);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        int opcode;
        live_say(&c, lines[i].said);
        char *text = live_next(&c, &opcode);
        if (opcode != 0x81 || strncmp(text, lines[i].answer, strlen(lines[i].answer)) != 0)
            fail_msg("%s: %s, not %s", lines[i].said, text, lines[i].answer);
        free(text);
    }
    client_write(&c, STR("\x82\x81\0\0\0\0x"));
    live_expect(&c,
                "{\"op\":\"err\",\"code\":4400,\"msg\":\"a message is text, and this one is binary\",\"temp\":false}");
    live_silent(&c);
    client_close(&c);
}

static void say_cbor(struct client *c, const char *json)
{
    struct buf b = buf_new(4096), frame = buf_new(4096);
    cbor_add_json(&b, str_of(json));
    assert_true(b.n < 126);
    buf_add_char(&frame, (char)0x82);
    buf_add_char(&frame, (char)(0x80 | b.n));
    buf_add(&frame, "\0\0\0\0", 4);
    buf_add_str(&frame, buf_str(&b));
    client_write(c, buf_str(&frame));
    buf_free(&b);
    buf_free(&frame);
}

/* The next frame is CBOR that says this, with definite lengths. */
static void expect_cbor(struct client *c, const char *json)
{
    struct buf out = buf_new(4096);
    struct str payload;
    struct err e = { "" };
    int opcode;
    size_t n = 0;
    for (int i = 0; i < 10000 && !n; i++) {
        live_turn();
        client_read(c);
        n = live_frame(buf_str(&c->in), &opcode, &payload);
    }
    assert_true(n > 0);
    assert_int_equal(opcode, 0x82);
    if (!cbor_to_json(payload, &out, &e))
        fail_msg("%s", e.text);
    if (strncmp(buf_c(&out), json, strlen(json)) != 0)
        fail_msg("%s, not %s", out.at, json);
    buf_drop(&c->in, n);
    buf_free(&out);
}

TEST(the_same_in_cbor)
{
    live_open("publish: {types: [chat.say]}");
    struct client c = live_listener("/", UPGRADE "Sec-WebSocket-Protocol: x, aqueduct.v1+cbor, aqueduct.v1+json\r\n",
                                    101);
    struct client j = talker(TALK, 64);
    expect_cbor(&c, "{\"op\":\"welcome\",\"ping_ms\":30000,\"limits\":{\"message\":65536,\"subs\":64}}");
    say_cbor(&c, "{\"op\":\"ping\",\"id\":5}");
    expect_cbor(&c, "{\"op\":\"ok\",\"id\":5}");
    say_cbor(&c, "{\"op\":\"ping\",\"id\":\"\u00fc\"}");
    expect_cbor(&c, "{\"op\":\"ok\",\"id\":\"\u00fc\"}");
    say_cbor(&c, "{\"op\":\"sub\",\"sub\":\"a\",\"topics\":[\"ai.chats\"]}");
    expect_cbor(&c, "{\"op\":\"ok\",\"sub\":\"a\"}");
    dialogue(&j, "{\"op\":\"sub\",\"sub\":\"a\",\"topics\":[\"ai.chats\"]}", "{\"op\":\"ok\",\"sub\":\"a\"}");
    live_send("ai.chats", "1", "t", "s/7", "{\"n\": 1.50}");
    expect_cbor(&c, "{\"op\":\"ev\",\"sub\":\"a\",\"d\":[" JSON("1", "t",
                                                                ",\"subject\":\"s/7\",\"data\":{\"n\": 1.50}") "]}");
    live_expect(&j, EV("a", "1", "t", ",\"subject\":\"s/7\",\"data\":{\"n\": 1.50}"));
    say_cbor(&c, "{\"op\":\"pub\",\"id\":4,\"event\":{\"event_id\":\"m\",\"type\":\"chat.say\",\"content\":\"x\"}}");
    live_settle(1, OUTCOME_STORED, NULL);
    assert_true(
        str_eq(live_emitted[0].event->data, STR("{\"event_id\":\"m\",\"type\":\"chat.say\",\"content\":\"x\"}")));
    expect_cbor(&c, "{\"op\":\"ok\",\"id\":4,\"event\":\"m\"}");
    client_write(&c, STR("\x82\x83\0\0\0\0\xa1\x62\x6f"));
    expect_cbor(&c, "{\"op\":\"err\",\"code\":4400,\"msg\":\"CBOR, byte 2: it is shorter");
    live_say(&c, "{\"op\":\"ping\"}");
    expect_cbor(&c, "{\"op\":\"err\",\"code\":4400,\"msg\":\"a message is CBOR");
    live_silent(&c);
    client_close(&c);
    client_close(&j);
}

TEST(several_subscriptions_on_one_connection)
{
    live_open("max_subscriptions_per_listener: 2\npublish: {types: [chat.say]}");
    struct client a = talker(TALK, 2), b = talker(TALK, 2);
    dialogue(&a, "{\"op\":\"sub\",\"id\":1,\"sub\":\"all\"}", "{\"op\":\"ok\",\"id\":1,\"sub\":\"all\"}");
    dialogue(&a, "{\"op\":\"sub\",\"sub\":\"chats\",\"topics\":[\"ai.chats\"],\"subject\":\"s/*\"}",
             "{\"op\":\"ok\",\"sub\":\"chats\"}");
    dialogue(&b, "{\"op\":\"sub\",\"sub\":\"all\"}", "{\"op\":\"ok\",\"sub\":\"all\"}");
    dialogue(
        &a, "{\"op\":\"sub\",\"sub\":\"more\"}",
        "{\"op\":\"err\",\"code\":4413,\"msg\":\"there are 2 subscriptions already; see option max_subscriptions_per_listener\",\"temp\":"
        "false}");
    live_send("ai.events", "1", "t", NULL, "1");
    live_expect(&a, EV("all", "1", "t", ",\"data\":1"));
    live_expect(&b, EV("all", "1", "t", ",\"data\":1"));
    live_send("ai.chats", "2", "t", "s/7", "2");
    bool seen[2] = { false };
    for (int i = 0; i < 2; i++) {
        int opcode;
        char *text = live_next(&a, &opcode);
        seen[strcmp(text, EV("chats", "2", "t", ",\"subject\":\"s/7\",\"data\":2")) == 0] = true;
        free(text);
    }
    assert_true(seen[0] && seen[1]);
    dialogue(&a, "{\"op\":\"unsub\",\"sub\":\"all\"}", "{\"op\":\"ok\",\"sub\":\"all\"}");
    live_expect(&b, EV("all", "2", "t", ",\"subject\":\"s/7\",\"data\":2"));
    live_send("ai.events", "3", "t", NULL, "3");
    live_expect(&b, EV("all", "3", "t", ",\"data\":3"));
    live_silent(&a);
    live_say(&a, "{\"op\":\"pub\",\"id\":4,\"event\":{\"event_id\":\"m\",\"type\":\"chat.say\"}}");
    live_settle(1, OUTCOME_STORED, NULL);
    live_expect(&a, "{\"op\":\"ok\",\"id\":4,\"event\":\"m\"}");
    client_close(&a);
    client_close(&b);
}

TEST(the_url_asks_for_nothing)
{
    live_open("");
    live_refused("/?type=a", TALK, 400, "op sub");
    struct client c = live_listener("/?type=*", TALK, 101);
    client_close(&c);
}

TEST(leave_is_taken)
{
    int opcode;
    live_open("");
    struct client c = talker(TALK, 64);
    dialogue(&c, "{\"op\":\"sub\",\"sub\":\"a\"}", "{\"op\":\"ok\",\"sub\":\"a\"}");
    websocket_sink.drain(live_sink, (struct duration){ 200 });
    char *text = live_next(&c, &opcode);
    assert_non_null(strstr(text, "{\"op\":\"drain\",\"reconnect_ms\":"));
    free(text);
    text = live_next(&c, &opcode);
    assert_int_equal(opcode, 0x88);
    assert_memory_equal(text, "\x03\xf4", 2); /* 1012 */
    free(text);
    client_close(&c);
}

/* A subscription ends between frames, also when one of it went out in part. */
TEST(an_end_waits_for_the_end_of_a_frame)
{
    live_open("buffer: 4MiB");
    struct client c = talker(TALK, 64);
    dialogue(&c, "{\"op\":\"sub\",\"sub\":\"a\"}", "{\"op\":\"ok\",\"sub\":\"a\"}");
    size_t n = 1 << 20;
    char *big = malloc(n + 3);
    memset(big, 'x', n + 2);
    big[0] = big[n + 1] = '"', big[n + 2] = '\0';
    for (int i = 0; i < 3; i++) {
        live_send("ai.chats", "1", "t", NULL, big);
        live_turn();
    }
    live_say(&c, "{\"op\":\"unsub\",\"sub\":\"a\"}");
    int opcode, events = 0;
    for (bool ended = false; !ended; events++) {
        char *text = live_next(&c, &opcode);
        ended = strcmp(text, "{\"op\":\"ok\",\"sub\":\"a\"}") == 0;
        assert_true(ended || strncmp(text, "{\"op\":\"ev\",\"sub\":\"a\",\"d\":[", 26) == 0);
        free(text);
    }
    assert_true(events >= 2 && events <= 4);
    live_send("ai.chats", "2", "t", NULL, "2");
    live_silent(&c);
    free(big);
    client_close(&c);
}

/* ---- tokens ---- */

#define VERIFY LIVE_VERIFY
#define ANNA   "\"sub\":\"anna\""

/* Says an op with a token of these claims. */
static void say_token(struct client *c, const char *op, const char *claims)
{
    char *text = live_token(claims), said[4096];
    snprintf(said, sizeof said, "{\"op\":\"%s\",\"id\":1,\"token\":\"%s\"}", op, text);
    live_say(c, said);
    free(text);
}

static void closed_with(struct client *c, int code)
{
    int opcode;
    char *text = live_next(c, &opcode);
    if (opcode != 0x88 || ((unsigned char)text[0] << 8 | (unsigned char)text[1]) != code)
        fail_msg("%x %s, not %d", (unsigned)opcode, text, code);
    free(text);
}

static char headers[8192];
static const char *with_token(const char *before, const char *claims)
{
    char *text = live_token(claims);
    snprintf(headers, sizeof headers, "%sAuthorization: Bearer %s\r\n", before, text);
    free(text);
    return headers;
}

TEST(a_token_may_come_in_the_first_message)
{
    clock_fake(100000, 1600000000000);
    live_open(VERIFY "publish: {types: [t]}");
    live_refused("/", UPGRADE, 401, "could not be verified");
    live_refused("/", TALK "Authorization: Bearer x\r\n", 401, "could not be verified");
    /* Only who will say hello may come so. */
    live_refused("/", TALK EVENTS, 401, "could not be verified");
    live_refused("/", EVENTS "Sec-WebSocket-Protocol: aqueduct.v1+json\r\n", 401, "could not be verified");
    live_refused("/events", TALK, 401, "could not be verified");
    struct client post = live_client();
    client_write(&post, STR("POST / HTTP/1.1\r\nHost: here:1\r\n" TALK "Content-Length: 12\r\n\r\n{\"type\":\"t\"}"));
    char *head = live_head(&post);
    assert_non_null(strstr(head, " 401 "));
    free(head);
    client_close(&post);
    struct client c = live_listener("/", TALK, 101), silent = live_listener("/", TALK, 101),
                  wrong = live_listener("/", TALK, 101);
    live_silent(&c);
    dialogue(&c, "{\"op\":\"sub\",\"id\":3,\"sub\":\"a\"}",
             "{\"op\":\"err\",\"id\":3,\"code\":4401,\"msg\":\"first comes a hello with a token\",\"temp\":false}");
    dialogue(&c, "{\"op\":\"hello\"}", "{\"op\":\"err\",\"code\":4400,\"msg\":\"token: is missing\",\"temp\":false}");
    say_token(&c, "hello", "{" ANNA "}");
    char welcome[256];
    snprintf(welcome, sizeof welcome, WELCOME, ",\"id\":1", 64);
    live_expect(&c, welcome);
    dialogue(&c, "{\"op\":\"sub\",\"sub\":\"a\"}", "{\"op\":\"ok\",\"sub\":\"a\"}");
    dialogue(&wrong, "{\"op\":\"hello\",\"token\":\"x\"}",
             "{\"op\":\"err\",\"code\":4401,\"msg\":\"a valid token is needed\",\"temp\":false}");
    closed_with(&wrong, 4401);
    clock_fake_advance(5000);
    closed_with(&silent, 4408);
    live_send("ai.chats", "1", "t", NULL, "1");
    live_expect(&c, EV("a", "1", "t", ",\"data\":1"));
    client_close(&c);
    client_close(&silent);
    client_close(&wrong);
}

/* Those who have shown nothing cannot take the places of others. */
TEST(who_has_shown_nothing_has_few_places)
{
    live_open_tcp(VERIFY);
    struct client many[17];
    for (int i = 0; i < 16; i++)
        many[i] = live_listener("/", TALK, 101);
    live_refused("/", TALK, 401, "could not be verified");
    say_token(&many[0], "hello", "{" ANNA "}");
    int opcode;
    free(live_next(&many[0], &opcode));
    many[16] = live_listener("/", TALK, 101);
    for (int i = 0; i < 17; i++)
        client_close(&many[i]);
}

TEST(an_expired_token_pauses_until_it_is_refreshed)
{
    clock_fake(100000, 1600000000000);
    live_open(VERIFY "publish: {types: [\"*\"]}\nping: 10m\nidle: 20m");
    struct client c = live_listener("/", with_token(TALK, "{" ANNA ",\"exp\":1600000100}"), 101),
                  lost = live_listener("/", with_token(TALK, "{" ANNA ",\"exp\":1600000100}"), 101),
                  plain = live_listener("/", with_token(UPGRADE, "{" ANNA ",\"exp\":1600000100}"), 101);
    int opcode;
    free(live_next(&c, &opcode));
    free(live_next(&lost, &opcode));
    dialogue(&c, "{\"op\":\"sub\",\"sub\":\"a\"}", "{\"op\":\"ok\",\"sub\":\"a\"}");
    clock_fake_advance(99000);
    live_send("ai.chats", "1", "t", NULL, "1");
    live_expect(&c, EV("a", "1", "t", ",\"data\":1"));
    live_expect(&plain, JSON("1", "t", ",\"data\":1"));
    clock_fake_advance(2000);
    live_expect(&c,
                "{\"op\":\"err\",\"code\":4410,\"msg\":\"the token has expired; op refresh within 30 seconds goes on\","
                "\"temp\":false}");
    closed_with(&plain, 4410);
    live_send("ai.chats", "2", "t", NULL, "2");
    for (int i = 0; i < 25; i++) { /* it is not slow meanwhile */
        clock_fake_advance(1000);
        live_silent(&c);
    }
    dialogue(&c, "{\"op\":\"sub\",\"sub\":\"b\"}",
             "{\"op\":\"err\",\"code\":4410,\"msg\":\"the token has expired\",\"temp\":false}");
    dialogue(&c, "{\"op\":\"pub\",\"event\":{\"type\":\"t\"}}",
             "{\"op\":\"err\",\"code\":4410,\"msg\":\"the token has expired\",\"temp\":false}");
    say_token(&c, "refresh", "{\"sub\":\"bob\"}");
    live_expect(
        &c,
        "{\"op\":\"err\",\"id\":1,\"code\":4403,\"msg\":\"the token is of another user, or allows something else; connect "
        "anew with it\",\"temp\":false}");
    say_token(&c, "refresh", "{" ANNA ",\"exp\":1600000500}");
    bool ok = false, event = false;
    for (int i = 0; i < 2; i++) {
        char *text = live_next(&c, &opcode);
        ok |= strcmp(text, "{\"op\":\"ok\",\"id\":1}") == 0;
        event |= strcmp(text, EV("a", "2", "t", ",\"data\":2")) == 0;
        free(text);
    }
    assert_true(ok && event);
    free(live_next(&lost, &opcode)); /* 4410 */
    clock_fake_advance(5000);
    closed_with(&lost, 4410);
    live_send("ai.chats", "3", "t", NULL, "3");
    live_expect(&c, EV("a", "3", "t", ",\"data\":3"));
    client_close(&c);
    client_close(&lost);
    client_close(&plain);
}

TEST(claims_limit_what_is_seen_and_published)
{
    live_open(VERIFY "claims: {topics: may_see, filter: /app/filter, publish: may_say}\npublish: {types: [\"a*\", b]}");
#define CLAIMS                                                                                                         \
    "{" ANNA ",\"may_see\":[\"ai.ch*\"],\"app\":{\"filter\":{\"prefix\":{\"subject\":\"s/1\"}}},\"may_say\":\"a1 b\"}"
    live_refused("/", with_token(UPGRADE, "{" ANNA "}"), 403, "no claim may_see");
    live_refused("/", with_token(UPGRADE, "{\"may_see\":[],\"app\":{\"filter\":{\"x\":1}},\"may_say\":[]}"), 403,
                 "/app/filter");
    live_refused("/?topics=ai.events", with_token(UPGRADE, CLAIMS), 403, "may not be seen with this token");
    live_refused("/",
                 with_token(EVENTS,
                            "{\"may_see\":[\"x\"],\"app\":{\"filter\":{\"prefix\":{\"type\":\"t\"}}},\"may_say\":[]}"),
                 403, "none may be seen");
    live_refused("/events", with_token("", CLAIMS), 503, "cannot be read from a position");
    struct client plain = live_listener("/?type=t*", with_token(UPGRADE, CLAIMS), 101),
                  stream = live_listener("/?topics=ai.chats", with_token(EVENTS, CLAIMS), 200),
                  c = live_listener("/", with_token(TALK, CLAIMS), 101);
    int opcode;
    free(live_next(&c, &opcode));
    dialogue(
        &c, "{\"op\":\"sub\",\"sub\":\"e\",\"topics\":[\"ai.events\"]}",
        "{\"op\":\"err\",\"code\":4403,\"msg\":\"topics: \\\"ai.events\\\" may not be seen with this token\",\"temp\":false}");
    dialogue(&c, "{\"op\":\"sub\",\"sub\":\"a\"}", "{\"op\":\"ok\",\"sub\":\"a\"}");
    live_send("ai.events", "1", "t", "s/1", "1");
    live_send("ai.chats", "2", "t", "s/2", "2");
    live_send("ai.chats", "3", "u", "s/1", "3");
    live_send("ai.chats", "4", "t", "s/17", "4");
    live_expect(&c, EV("a", "3", "u", ",\"subject\":\"s/1\",\"data\":3"));
    live_expect(&c, EV("a", "4", "t", ",\"subject\":\"s/17\",\"data\":4"));
    live_expect(&plain, JSON("4", "t", ",\"subject\":\"s/17\",\"data\":4"));
    client_read(&stream);
    assert_null(strstr(buf_c(&stream.in), "\"id\":\"2\""));
    assert_non_null(strstr(buf_c(&stream.in), "\"id\":\"4\""));
    dialogue(&c, "{\"op\":\"pub\",\"event\":{\"type\":\"a2\"}}",
             "{\"op\":\"err\",\"code\":4403,\"msg\":\"type \\\"a2\\\" may not be published here\",\"temp\":false}");
    live_say(&c, "{\"op\":\"pub\",\"event\":{\"type\":\"a1\",\"event_id\":\"7\"}}");
    live_settle(1, OUTCOME_STORED, NULL);
    live_expect(&c, "{\"op\":\"ok\",\"event\":\"7\"}");
    assert_true(str_eq(event_attribute(live_emitted[0].event, STR("authid")), STR("anna")));
    client_close(&c);
    client_close(&plain);
    client_close(&stream);
}

int main(void)
{
    log_setup(LOG_ERROR, LOG_LOGFMT);
    const struct CMUnitTest tests[] = {
        LIVE(every_message_is_answered),
        LIVE(the_same_in_cbor),
        LIVE(several_subscriptions_on_one_connection),
        LIVE(the_url_asks_for_nothing),
        LIVE(leave_is_taken),
        LIVE(an_end_waits_for_the_end_of_a_frame),
        LIVE(a_token_may_come_in_the_first_message),
        LIVE(who_has_shown_nothing_has_few_places),
        LIVE(an_expired_token_pauses_until_it_is_refreshed),
        LIVE(claims_limit_what_is_seen_and_published),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
