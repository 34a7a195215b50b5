/* SPDX-License-Identifier: MIT */
/* What listeners publish: how it is read, what is refused, and that it is answered when it is stored. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include "bridge/lib/log.h"
#include "connectors/websocket/message.h"
#include "tests/support/connector.h"
#include "tests/support/live.h"

#define STATUS(status, rest) "{\"type\":\"status\",\"status\":\"" status "\"" rest "}"
#define REFUSED(code, why)   STATUS("refused", ",\"code\":" code ",\"why\":\"" why "\",\"temp\":false")

TEST(messages_become_events)
{
    static const struct {
        const char *text, *expected; /* id type subject authid scope; or a part of the error */
        bool good;
    } cases[] = {
        { "{\"event_id\":\"7\",\"type\":\"chat.message\",\"content\":\"hi\",\"sessionId\":\"s-1\"}",
          "7 chat.message s-1 anna live/anna", true },
        { "{\"event_id\":7,\"type\":\"chat message/x\",\"sessionId\":9}", "7 chat_message.x 9 anna live/anna", true },
        { " {\"specversion\":\"1.0\",\"id\":\"c\",\"source\":\"/mine\",\"type\":\"t\",\"authid\":\"bob\"} ",
          "c t - anna live/anna", true },
        { "{\"specversion\":\"1.0\",\"id\":\"c\",\"source\":\"/other\",\"type\":\"t\"}", "c t - anna live/anna/",
          true },
        { "{\"content\":\"x\"}", "type: is missing", false },
        { "{\"type\":{}}", "type: is neither text nor a number", false },
        { "{\"type\":\"t\",\"sessionId\":\"\\u0007\"}", "event attribute subject: a control character", false },
        { "{\"specversion\":\"1.0\",\"id\":\"c\",\"source\":\"/m\"}", "event attribute type is missing", false },
        { "{\"specversion\":\"1.0\",\"id\":\"c\",\"source\":\"a b\",\"type\":\"t\"}", "not a URI reference", false },
        { "[1]", "object", false },
        { "{\"type\":\"t\"", "byte", false },
    };
    const struct author by = { STR("/mine"), STR("anna"), STR("live/anna") };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct published_event pe;
        struct err e = { "" };
        bool good = message_read(str_of(cases[i].text), &by, &pe, &e);
        char seen[512];
        if (good)
            snprintf(seen, sizeof seen, "%.*s %.*s %.*s %.*s %s", STR_ARG(pe.event->id), STR_ARG(pe.event->type),
                     (int)(pe.event->subject.n ? pe.event->subject.n : 1),
                     pe.event->subject.n ? pe.event->subject.at : "-",
                     STR_ARG(event_attribute(pe.event, STR("authid"))), pe.scope);
        else
            snprintf(seen, sizeof seen, "%s", e.text);
        if (good != cases[i].good || !strstr(seen, cases[i].expected))
            fail_msg("%s: %s, not %s", cases[i].text, seen, cases[i].expected);
        if (!good)
            continue;
        assert_true(str_eq(pe.event->source, by.source) && pe.event->time.n && !pe.unique);
        event_unref(pe.event);
        free(pe.scope);
    }
}

TEST(an_answer_comes_when_it_is_stored)
{
    live_open("publish: {types: [chat.*, done], subjects: [\"s-*\"]}");
    struct client c = live_listener("/", UPGRADE, 101);
    live_say(&c, "{\"event_id\":\"a\",\"type\":\"chat.message\",\"sessionId\":\"s-1\",\"content\":\"hi\"}");
    live_silent(&c);
    live_settle(1, OUTCOME_STORED, NULL);
    assert_true(str_eq(live_emitted[0].event->id, STR("a")) && str_eq(live_emitted[0].scope, STR("live")));
    live_expect(&c, STATUS("stored", ",\"event\":\"a\""));
    live_say(&c, "{\"event_id\":\"a\",\"type\":\"done\",\"sessionId\":\"s-1\"}");
    live_settle(1, OUTCOME_STORED, "stored before");
    live_expect(&c, STATUS("stored", ",\"event\":\"a\",\"note\":\"stored before\""));
    static const struct {
        enum outcome outcome;
        const char *answer;
    } ends[] = {
        { OUTCOME_INVALID, ",\"code\":4422,\"why\":\"no\",\"temp\":false" },
        { OUTCOME_CONFLICT, ",\"code\":4409,\"why\":\"no\",\"temp\":false" },
        { OUTCOME_UNAVAILABLE, ",\"code\":4503,\"why\":\"no\",\"temp\":true" },
    };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        char expected[256];
        live_say(&c, "{\"event_id\":\"b\",\"type\":\"done\",\"sessionId\":\"s-1\"}");
        live_settle(1, ends[i].outcome, "no");
        snprintf(expected, sizeof expected, STATUS("refused", ",\"event\":\"b\"%s"), ends[i].answer);
        live_expect(&c, expected);
    }
    live_say(&c, "{\"type\":\"done\",\"sessionId\":\"x\"}");
    live_expect(&c, REFUSED("4403", "subject \\\"x\\\" may not be published here"));
    live_say(&c, "{\"type\":\"dones\",\"sessionId\":\"s-\"}");
    live_expect(&c, REFUSED("4403", "type \\\"dones\\\" may not be published here"));
    live_say(&c, "{\"type\":\"done\",\"sessionId\":\"s-1\"}");
    for (int i = 0; i < 20; i++)
        live_turn();
    client_close(&c); /* nobody hears this answer */
    for (int i = 0; i < 20; i++)
        live_turn();
    live_settle(1, OUTCOME_STORED, NULL);
    live_turn();
}

TEST(a_user_has_so_much_on_its_way)
{
    clock_fake(100000, 1600000000000);
    live_open(
        "publish: {types: [\"*\"], in_flight: 2, per_second: 2, burst: 4}\ntokens: [{name: anna, secret: the-token-of-anna-x}, "
        "{name: bob, secret: the-token-of-bob-xx}]");
    struct client a = live_listener("/", UPGRADE "Authorization: Bearer the-token-of-anna-x\r\n", 101),
                  again = live_listener("/", UPGRADE "Authorization: Bearer the-token-of-anna-x\r\n", 101),
                  b = live_listener("/", UPGRADE "Authorization: Bearer the-token-of-bob-xx\r\n", 101);
    live_say(&a, "{\"event_id\":\"1\",\"type\":\"t\"}");
    live_say(&again, "{\"event_id\":\"2\",\"type\":\"t\"}");
    live_silent(&a);
    live_say(&a, "{\"event_id\":\"3\",\"type\":\"t\"}");
    live_expect(
        &a,
        "{\"type\":\"status\",\"status\":\"refused\",\"code\":4429,\"why\":\"2 events of yours are not acknowledged yet; wait "
        "for one\",\"temp\":true}");
    live_say(&b, "{\"event_id\":\"1\",\"type\":\"t\"}");
    live_settle(3, OUTCOME_STORED, NULL);
    for (int i = 0; i < 3; i++)
        assert_true(str_starts(live_emitted[i].scope, STR("live/")));
    live_expect(&a, STATUS("stored", ",\"event\":\"1\""));
    live_expect(&again, STATUS("stored", ",\"event\":\"2\""));
    live_expect(&b, STATUS("stored", ",\"event\":\"1\""));
    live_say(&a, "{\"event_id\":\"4\",\"type\":\"t\"}");
    live_settle(1, OUTCOME_STORED, NULL);
    live_expect(&a, STATUS("stored", ",\"event\":\"4\""));
    client_close(&a);
    live_say(&again, "{\"event_id\":\"5\",\"type\":\"t\"}");
    live_expect(
        &again,
        "{\"type\":\"status\",\"status\":\"refused\",\"code\":4429,\"why\":\"too many messages a second; the next one is "
        "taken in 500 ms\",\"temp\":true}");
    clock_fake_advance(500);
    live_say(&again, "{\"event_id\":\"5\",\"type\":\"t\"}");
    live_settle(1, OUTCOME_STORED, NULL);
    live_expect(&again, STATUS("stored", ",\"event\":\"5\""));
    client_close(&again);
    client_close(&b);
}

TEST(what_the_core_takes_no_more_is_refused)
{
    struct err e;
    live_open("publish: {types: [\"*\"]}");
    struct client c = live_listener("/", UPGRADE, 101);
    live_say(&c, "{\"event_id\":\"1\",\"type\":\"t\"}");
    live_silent(&c);
    live_source->draining = true;
    assert_int_equal(live_source->ops->read(live_source, -1, NULL, 0, &e), 0);
    live_expect(
        &c,
        "{\"type\":\"status\",\"status\":\"refused\",\"event\":\"1\",\"code\":4503,\"why\":\"shutting down\",\"temp\":true}");
    live_say(&c, "{\"event_id\":\"2\",\"type\":\"t\"}");
    live_expect(
        &c,
        "{\"type\":\"status\",\"status\":\"refused\",\"event\":\"2\",\"code\":4503,\"why\":\"shutting down\",\"temp\":true}");
    client_close(&c);
}

/* One who does not read its answers does not fill our memory. */
TEST(answers_that_nobody_reads_are_bounded)
{
    live_open("publish: {types: [\"*\"], per_second: 0}");
    struct client c = live_listener("/", UPGRADE, 101);
    struct buf many = buf_new(1 << 22);
    for (int i = 0; i < 4000; i++)
        buf_add(&many, "\x81\x82\0\0\0\0[]", 8);
    size_t sent = 0;
    for (int i = 0; i < 2000 && !c.ended && sent < many.n; i++) {
        ssize_t n = send(c.fd, many.at + sent, many.n - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EPIPE)
            break;
        sent += n > 0 ? (size_t)n : 0;
        live_turn();
    }
    int opcode = 0;
    for (int i = 0; i < 4000 && opcode != 0x88; i++) {
        char *text = live_next(&c, &opcode);
        assert_true(opcode == 0x81 || memcmp(text, "\x03\xf0", 2) == 0);
        free(text);
    }
    assert_int_equal(opcode, 0x88);
    buf_free(&many);
    client_close(&c);
}

/* Of what is stored before the end, everybody hears. */
TEST(all_answers_come_before_the_end)
{
    live_open("publish: {types: [\"*\"], per_second: 0, in_flight: 1000}");
    struct client c = live_listener("/", UPGRADE, 101);
    for (int i = 0; i < 160; i++)
        live_say(&c, "{\"type\":\"t\"}");
    live_silent(&c);
    struct err e;
    struct emission taken[160];
    assert_int_equal(live_source->ops->read(live_source, -1, taken, 160, &e), 160);
    for (int i = 0; i < 160; i++) {
        live_source->ops->settle(live_source, taken[i].tag, OUTCOME_STORED, NULL);
        event_unref(taken[i].event);
    }
    websocket_sink.drain(live_sink, (struct duration){ 1 });
    for (int i = 0; i < 160; i++) {
        int opcode;
        char *text = live_next(&c, &opcode);
        assert_int_equal(opcode, 0x81);
        free(text);
    }
    client_close(&c);
}

TEST(events_by_post)
{
    live_open("publish: {types: [t]}");
    struct client c = live_client();
    client_write(
        &c, STR("POST / HTTP/1.1\r\nHost: here:1\r\nContent-Length: 28\r\n\r\n{\"event_id\":\"p\",\"type\":\"t\"}\n"));
    live_settle(1, OUTCOME_STORED, NULL);
    struct answer a = { 0 };
    for (int i = 0; i < 10000 && !client_answer(&c, &a); i++) {
        live_turn();
        client_read(&c);
    }
    assert_int_equal(a.status, 202);
    assert_true(str_eq(a.body, STR(STATUS("stored", ",\"event\":\"p\""))));
    client_drop(&c, &a);
    client_write(&c, STR("POST / HTTP/1.1\r\nHost: here:1\r\nContent-Length: 10\r\n\r\n{\"type\":1}"));
    for (int i = 0; i < 10000 && !client_answer(&c, &a); i++) {
        live_turn();
        client_read(&c);
    }
    if (a.status != 403)
        fail_msg("%d %.*s", a.status, STR_ARG(a.body));
    client_close(&c);
}

TEST(bad_options)
{
    static const struct {
        const char *yaml, *expected;
    } cases[] = {
        { "publish: {subjects: [x]}", "publish.types: is missing" },
        { "publish: {source: /x}", "publish.types: is missing" },
        { "publish: {types: [\"\"]}", "publish.types[0]: is empty" },
        { "publish: {types: [t], source: a b}", "publish.source: \"a b\" is not a URI reference" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_says(sink_refused(&websocket_sink, cases[i].yaml).text, cases[i].expected);
}

int main(void)
{
    log_setup(LOG_ERROR, LOG_LOGFMT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_become_events),
        LIVE(an_answer_comes_when_it_is_stored),
        LIVE(a_user_has_so_much_on_its_way),
        LIVE(what_the_core_takes_no_more_is_refused),
        LIVE(answers_that_nobody_reads_are_bounded),
        LIVE(all_answers_come_before_the_end),
        LIVE(events_by_post),
        LIVE(bad_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
