/* SPDX-License-Identifier: MIT */
/* The subprotocol aqueduct.v1+json: what is said, and what is answered. */
#include <stdio.h>
#include <stdlib.h>
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

int main(void)
{
    log_setup(LOG_ERROR, LOG_LOGFMT);
    const struct CMUnitTest tests[] = {
        LIVE(every_message_is_answered),
        LIVE(several_subscriptions_on_one_connection),
        LIVE(the_url_asks_for_nothing),
        LIVE(leave_is_taken),
        LIVE(an_end_waits_for_the_end_of_a_frame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
