/* SPDX-License-Identifier: MIT */
/* Subscriptions with durable names: where they go on, and how much they get before it is acknowledged. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/log.h"
#include "tests/support/live_log.h"
#include "tests/support/live_names.h"

#define TALK UPGRADE "Sec-WebSocket-Protocol: aqueduct.v1+json\r\n"

static struct client talker(void)
{
    int opcode;
    struct client c = live_listener("/", TALK, 101);
    free(live_next(&c, &opcode));
    return c;
}

static void say_and_hear(struct client *c, const char *said, const char *answer)
{
    live_say(c, said);
    live_expect(c, answer);
}

static char pos[64][1024]; /* after the event of that offset */

/* The next frames are these events of partition 0. */
static void expect_events(struct client *c, int from, int to)
{
    for (int i = from; i < to; i++) {
        int opcode;
        char id[32], *text = live_next(c, &opcode);
        snprintf(id, sizeof id, "\"id\":\"0/%d\"", i);
        if (!str_starts(str_of(text), STR("{\"op\":\"ev\",\"sub\":\"a\",\"pos\":\"")) || !strstr(text, id))
            fail_msg("%s, not %s", text, id);
        snprintf(pos[i], sizeof pos[i], "%.*s", (int)strcspn(text + 28, "\""), text + 28);
        free(text);
    }
}

static void expect_live(struct client *c)
{
    int opcode;
    char *text = live_next(c, &opcode);
    assert_true(str_starts(str_of(text), STR("{\"op\":\"live\",\"sub\":\"a\",\"pos\":\"")));
    free(text);
}

static void acknowledge(struct client *c, int id, int offset)
{
    char said[2048];
    snprintf(said, sizeof said, "{\"op\":\"ack\",\"id\":%d,\"sub\":\"a\",\"pos\":\"%s\"}", id, pos[offset]);
    live_say(c, said);
}

/* What the window has room for now comes at once, the answer when it is durable. live: it has caught up with the log then. */
static void acknowledge_and_hear(struct client *c, int offset, int from, int to, bool live)
{
    acknowledge(c, offset, offset);
    for (bool ok = false; !ok || from < to || live;) {
        int opcode;
        char *text = live_next(c, &opcode), id[32];
        snprintf(id, sizeof id, "\"id\":\"0/%d\"", from);
        if (strstr(text, "{\"op\":\"ok\"") == text)
            ok = true;
        else if (live && from == to && strstr(text, "{\"op\":\"live\"") == text)
            live = false;
        else if (strstr(text, id) && from < to)
            snprintf(pos[from++], sizeof pos[0], "%.*s", (int)strcspn(text + 28, "\""), text + 28);
        else
            fail_msg("%s, not %s", text, id);
        free(text);
    }
}

#define SUB(more) "{\"op\":\"sub\",\"id\":1,\"sub\":\"a\",\"name\":\"etl\"" more "}"
#define OK        "{\"op\":\"ok\",\"id\":1,\"sub\":\"a\"}"
#define STATE(is) "{\"op\":\"state\",\"sub\":\"a\",\"resume\":\"" is "\"}"

TEST(a_name_goes_on_behind_what_was_acknowledged)
{
    names_open("");
    log_pass(0, 5);
    struct client c = talker();
    say_and_hear(&c, SUB(""), OK); /* a new name begins with all there is */
    live_expect(&c, STATE("new"));
    expect_events(&c, 0, 5);
    expect_live(&c);
    names_held = true;
    acknowledge(&c, 2, 1);
    live_silent(&c); /* not before it is durable */
    names_held = false;
    live_expect(&c, "{\"op\":\"ok\",\"id\":2,\"sub\":\"a\"}");
    acknowledge(&c, 3, 0); /* never back */
    live_expect(&c, "{\"op\":\"ok\",\"id\":3,\"sub\":\"a\"}");
    client_close(&c);
    log_pass(0, 1);
    c = talker();
    say_and_hear(&c, SUB(",\"from\":\"latest\""), OK); /* `from` is for new ones */
    live_expect(&c, STATE("exact"));
    expect_events(&c, 2, 6);
    expect_live(&c);
    log_pass(0, 1);
    expect_events(&c, 6, 7);
    client_close(&c);
}

/* A name that begins at the end stands there at once, not first when something is acknowledged. */
TEST(a_new_name_stands_where_it_begins)
{
    names_open("");
    log_pass(0, 5);
    struct client c = talker();
    names_held = true;
    live_say(&c, SUB(",\"from\":\"latest\""));
    live_silent(&c);
    names_held = false;
    live_expect(&c, OK);
    live_expect(&c, STATE("new"));
    expect_live(&c);
    client_close(&c);
    log_pass(0, 2);
    c = talker();
    say_and_hear(&c, SUB(""), OK);
    live_expect(&c, STATE("exact"));
    expect_events(&c, 5, 7);
    client_close(&c);
}

/* Out of the log as well as out of the ring, and others of the same subscription get everything meanwhile. */
TEST(no_more_comes_than_the_window_has_room_for)
{
    names_open("");
    log_pass(0, 10);
    struct client c = talker(), other = talker();
    say_and_hear(&c, SUB(",\"window\":3"), OK);
    live_expect(&c, STATE("new"));
    expect_events(&c, 0, 3);
    live_silent(&c);
    acknowledge_and_hear(&c, 1, 3, 5, false);
    acknowledge_and_hear(&c, 4, 5, 8, false);
    acknowledge_and_hear(&c, 7, 8, 10, true);
    live_say(&other, "{\"op\":\"sub\",\"sub\":\"a\"}");
    int opcode;
    free(live_next(&other, &opcode));
    acknowledge_and_hear(&c, 9, 10, 10, false);
    log_pass(0, 2);
    expect_events(&c, 10, 12);
    log_pass(0, 8);
    expect_events(&c, 12, 13);
    live_silent(&c);
    expect_events(&other, 10, 20);
    acknowledge_and_hear(&c, 12, 13, 16, false);
    live_silent(&c);
    client_close(&c);
    client_close(&other);
}

/* What is acknowledged while something is being stored is stored together. */
TEST(acknowledgements_are_gathered)
{
    names_open("");
    log_pass(0, 10);
    struct client c = talker();
    say_and_hear(&c, SUB(""), OK);
    live_expect(&c, STATE("new"));
    expect_events(&c, 0, 10);
    expect_live(&c);
    int before = names_stored;
    names_held = true;
    acknowledge(&c, 10, 0);
    for (int i = 0; i < 5; i++)
        live_turn();
    for (int i = 1; i < 9; i++)
        acknowledge(&c, 10 + i, i);
    live_silent(&c);
    names_held = false;
    for (int i = 0; i < 9; i++) {
        char ok[64];
        snprintf(ok, sizeof ok, "{\"op\":\"ok\",\"id\":%d,\"sub\":\"a\"}", 10 + i);
        live_expect(&c, ok);
    }
    assert_in_range(names_stored - before, 2, 3);
    client_close(&c);
}

TEST(what_cannot_be_kept_is_said)
{
    names_open("");
    log_pass(0, 3);
    struct client c = talker();
    names_outcome_now = BOOKMARK_REFUSED;
    say_and_hear(&c, SUB(""), "{\"op\":\"err\",\"id\":1,\"code\":4409,\"msg\":\"why\",\"temp\":false}");
    names_outcome_now = BOOKMARK_FAILED;
    say_and_hear(&c, SUB(""), "{\"op\":\"err\",\"id\":1,\"code\":4503,\"msg\":\"why\",\"temp\":true}");
    names_outcome_now = BOOKMARK_STORED;
    say_and_hear(&c, SUB(""), OK);
    live_expect(&c, STATE("new"));
    expect_events(&c, 0, 3);
    expect_live(&c);
    names_outcome_now = BOOKMARK_FAILED;
    acknowledge(&c, 2, 1);
    live_expect(&c, "{\"op\":\"err\",\"id\":2,\"code\":4503,\"msg\":\"why\",\"temp\":true}");
    names_outcome_now = BOOKMARK_STORED;
    acknowledge(&c, 3, 1);
    live_expect(&c, "{\"op\":\"ok\",\"id\":3,\"sub\":\"a\"}");
    names_held = true;
    acknowledge(&c, 4, 2);
    for (int i = 0; i < 5; i++)
        live_turn();
    client_close(&c); /* its outcome is nobody's */
    for (int i = 0; i < 20; i++)
        live_turn();
    names_held = false;
    for (int i = 0; i < 20; i++)
        live_turn();
    c = talker();
    say_and_hear(&c, SUB(""), OK);
    live_expect(&c, STATE("exact"));
    expect_live(&c);
    client_close(&c);
}

TEST(what_is_wrong_is_named)
{
    static const char *const cases[][2] = {
        { "{\"op\":\"sub\",\"sub\":\"x\",\"window\":5}", "\"code\":4400,\"msg\":\"window: goes with name" },
        { "{\"op\":\"sub\",\"sub\":\"x\",\"name\":\"a\",\"window\":0}",
          "\"code\":4400,\"msg\":\"window: is no whole number from 1" },
        { "{\"op\":\"sub\",\"sub\":\"x\",\"name\":\"a\",\"window\":1001}", "to 1000" },
        { "{\"op\":\"sub\",\"sub\":\"x\",\"name\":\"a\",\"window\":\"5\"}", "\"code\":4400" },
        { "{\"op\":\"sub\",\"sub\":\"x\",\"name\":\"a/b\"}", "\"code\":4400,\"msg\":\"name: has letters" },
        { "{\"op\":\"sub\",\"sub\":\"x\",\"name\":\"a\",\"slow\":\"latest\"}", "\"code\":4400,\"msg\":\"slow: " },
        { "{\"op\":\"sub\",\"sub\":\"x\",\"name\":\"a\",\"from\":\"nowhere\"}", "\"code\":4416,\"msg\":\"from: " },
        { "{\"op\":\"ack\",\"sub\":\"a\"}", "\"code\":4404" },
        { "{\"op\":\"ack\",\"sub\":\"plain\",\"pos\":\"x\"}", "\"code\":4400,\"msg\":\"sub: it has no `name`" },
        { "{\"op\":\"ack\",\"sub\":\"etl\"}", "\"code\":4400,\"msg\":\"pos: is missing" },
        { "{\"op\":\"ack\",\"sub\":\"etl\",\"pos\":\"x\"}", "\"code\":4416,\"msg\":\"pos: " },
    };
    int opcode;
    names_open("");
    struct client c = talker();
    live_say(&c, "{\"op\":\"sub\",\"sub\":\"plain\"}");
    free(live_next(&c, &opcode));
    live_say(&c, "{\"op\":\"sub\",\"sub\":\"etl\",\"name\":\"etl\"}");
    for (int i = 0; i < 3; i++) /* ok, state, live */
        free(live_next(&c, &opcode));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        live_say(&c, cases[i][0]);
        char *text = live_next(&c, &opcode);
        if (!strstr(text, cases[i][1]))
            fail_msg("%s: %s", cases[i][0], text);
        free(text);
    }
    live_silent(&c);
    client_close(&c);
}

int main(void)
{
    log_setup(LOG_ERROR, LOG_LOGFMT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_name_goes_on_behind_what_was_acknowledged, names_close),
        cmocka_unit_test_teardown(a_new_name_stands_where_it_begins, names_close),
        cmocka_unit_test_teardown(no_more_comes_than_the_window_has_room_for, names_close),
        cmocka_unit_test_teardown(acknowledgements_are_gathered, names_close),
        cmocka_unit_test_teardown(what_cannot_be_kept_is_said, names_close),
        cmocka_unit_test_teardown(what_is_wrong_is_named, names_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
