/* SPDX-License-Identifier: MIT */
/* Events by plain requests: what an answer holds, where it goes on, and that a name moves by acknowledgement alone. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/mem.h"
#include "tests/support/live_log.h"
#include "tests/support/live_names.h"

/* ---- requests ---- */

static char cursor[1024]; /* of the last answer */
static char seen[1024];   /* the ids of its events */

static struct client ask(const char *method, const char *target, const char *headers, const char *body)
{
    struct client c = live_client();
    struct buf b = buf_new(1 << 16);
    buf_printf(&b, "%s %s HTTP/1.1\r\nHost: here:1\r\n%sContent-Length: %zu\r\n\r\n%s", method, target, headers,
               strlen(body), body);
    client_write(&c, buf_str(&b));
    buf_free(&b);
    return c;
}

static bool answered(struct client *c, struct answer *out)
{
    for (int i = 0; i < 20; i++) {
        live_turn();
        client_read(c);
    }
    return client_answer(c, out);
}

static int request(const char *method, const char *target, const char *body)
{
    struct client c = ask(method, target, "", body);
    struct answer a;
    assert_true(answered(&c, &a));
    int status = a.status;
    snprintf(seen, sizeof seen, "%.*s", STR_ARG(a.body));
    client_close(&c);
    return status;
}

/* The ids of the events of a 200, whose cursor is kept. */
static const char *take(struct client *c)
{
    struct answer a;
    assert_true(answered(c, &a));
    if (a.status != 200)
        fail_msg("%d %.*s", a.status, STR_ARG(a.body));
    json_t *json = json_loadb(a.body.at, a.body.n, 0, NULL), *ev;
    size_t i;
    *seen = '\0';
    json_array_foreach(json_object_get(json, "events"), i, ev)
    {
        size_t n = strlen(seen);
        snprintf(seen + n, sizeof seen - n, "%s%s", i ? " " : "", json_string_value(json_object_get(ev, "id")));
    }
    snprintf(cursor, sizeof cursor, "%s", json_string_value(json_object_get(json, "cursor")));
    assert_true(str_eq(answer_header(&a, "Aqueduct-Cursor"), str_of(cursor)));
    size_t n = strlen(seen);
    snprintf(seen + n, sizeof seen - n, "|%s %lld%s", json_string_value(json_object_get(json, "resume")),
             json_integer_value(json_object_get(json, "lost")),
             json_is_true(json_object_get(json, "more")) ? " more" : "");
    json_decref(json);
    client_close(c);
    return seen;
}

static const char *get(const char *fmt, const char *with)
{
    char target[2048];
    snprintf(target, sizeof target, fmt, with);
    struct client c = ask("GET", target, "", "");
    return take(&c);
}

TEST(each_answer_says_where_the_next_begins)
{
    names_open("");
    log_pass(0, 3);
    log_pass(3, 2);
    assert_string_equal(get("/events", ""), "|new 0");
    assert_string_equal(get("/events?from=earliest&max=2&topics=ai.chats", ""), "0/0 0/1|new 0 more");
    assert_string_equal(get("/events?after=%s&topics=ai.chats", cursor), "0/2|exact 0");
    assert_string_equal(get("/events?from=%s&topics=ai.chats", cursor), "|exact 0");
    log_pass(0, 1);
    assert_string_equal(get("/events?from=%s&topics=ai.chats", cursor), "0/3|exact 0");
    assert_string_equal(get("/events?from=earliest&subject=s/1", ""), "0/1 3/1|new 0");
    log_places[0].start = 2;
    assert_string_equal(get("/events?from=last:4&topics=ai.events", ""), "3/0 3/1|new 0");
}

TEST(what_retention_took_is_counted)
{
    names_open("");
    log_pass(0, 2);
    assert_string_equal(get("/events?from=earliest&topics=ai.chats", ""), "0/0 0/1|new 0");
    log_pass(0, 5);
    log_places[0].start = 5;
    log_patience = 2; /* nothing is known at once */
    assert_string_equal(get("/events?from=%s&topics=ai.chats", cursor), "0/5 0/6|gap 3");
}

TEST(who_waits_is_answered_by_what_comes)
{
    struct answer a;
    names_open("");
    log_pass(0, 1);
    clock_fake(1000000, 1795000000000);
    struct client c = ask("GET", "/events?wait=25&subject=s/2", "", "");
    assert_false(answered(&c, &a));
    log_pass(0, 1);
    assert_false(answered(&c, &a)); /* it does not match */
    log_pass(0, 1);
    assert_string_equal(take(&c), "0/2|new 0");
    c = ask("GET", "/events?wait=25&subject=s/9", "", "");
    assert_false(answered(&c, &a));
    log_pass(0, 2);
    clock_fake_advance(24999);
    assert_false(answered(&c, &a));
    clock_fake_advance(1);
    assert_string_equal(take(&c), "|new 0"); /* and the cursor has passed what did not match */
    assert_string_equal(get("/events?from=%s", cursor), "|exact 0");
}

TEST(a_name_moves_by_acknowledgement_alone)
{
    char first[1024];
    names_open("");
    log_pass(0, 4);
    assert_string_equal(get("/events?position=nightly&max=2&topics=ai.chats", ""), "0/0 0/1|new 0 more");
    assert_int_equal(names_stored, 1); /* where it begins */
    snprintf(first, sizeof first, "%s", cursor);
    assert_string_equal(get("/events?position=nightly&max=2&topics=ai.chats", ""), "0/0 0/1|exact 0 more");
    assert_string_equal(get("/events?position=nightly&topics=ai.chats&ack=%s", first), "0/2 0/3|exact 0");
    assert_string_equal(get("/events?position=nightly&topics=ai.chats&ack=%s", cursor), "|exact 0");
    assert_string_equal(get("/events?position=nightly&topics=ai.chats&ack=%s", first), "|exact 0"); /* never back */
    assert_int_equal(request("PUT", "/events/positions/nightly", first), 204);                      /* but so */
    assert_string_equal(get("/events?position=nightly&topics=ai.chats", ""), "0/2 0/3|exact 0");
    assert_int_equal(request("GET", "/events/positions", ""), 200);
    assert_non_null(strstr(seen, "{\"positions\":[{\"name\":\"nightly\",\"cursor\":\""));
    assert_int_equal(request("DELETE", "/events/positions/nightly", ""), 204);
    assert_int_equal(request("DELETE", "/events/positions/nightly", ""), 404);
    assert_int_equal(request("GET", "/events/positions/nightly", ""), 404);
    assert_int_equal(request("GET", "/events/positions", ""), 200);
    assert_string_equal(seen, "{\"positions\":[]}\n");
}

/* Else its place in the other topics were forgotten, and what they have since then left out. */
TEST(a_name_is_not_acknowledged_for_a_part_of_its_topics)
{
    char target[2048];
    names_open("");
    log_pass(0, 1);
    log_pass(3, 1);
    get("/events?position=all&max=1", "");
    get("/events?from=earliest&topics=ai.chats", "");
    snprintf(target, sizeof target, "/events?position=all&topics=ai.chats&ack=%s", cursor);
    assert_int_equal(request("GET", target, ""), 400);
    assert_says(seen, "use another name for fewer topics");
}

TEST(nothing_is_answered_before_the_name_stands_there)
{
    struct answer a;
    char target[2048];
    names_open("");
    log_pass(0, 2);
    assert_string_equal(get("/events?position=n&topics=ai.chats", ""), "0/0 0/1|new 0");
    snprintf(target, sizeof target, "/events?position=n&topics=ai.chats&ack=%s", cursor);
    names_held = true;
    struct client c = ask("GET", target, "", "");
    assert_false(answered(&c, &a));
    names_held = false;
    assert_string_equal(take(&c), "|exact 0");
    names_outcome_now = BOOKMARK_FAILED;
    log_pass(0, 1);
    assert_string_equal(get("/events?position=n&topics=ai.chats", ""), "0/2|exact 0");
    assert_int_equal(request("PUT", "/events/positions/n", cursor), 503);
    names_outcome_now = BOOKMARK_REFUSED;
    assert_int_equal(request("PUT", "/events/positions/n", cursor), 409);
    assert_int_equal(request("GET", "/events?position=new", ""), 409);
    names_outcome_now = BOOKMARK_STORED;
    assert_string_equal(get("/events?position=n&topics=ai.chats", ""), "0/2|exact 0");
}

TEST(what_is_wrong_is_named)
{
    static const char *const cases[][2] = {
        { "/events?max=0", "max: takes a whole number from 1 to 1000" },
        { "/events?wait=61", "wait: takes a whole number from 0 to 60" },
        { "/events?max=1&max=2", "parameter \\\"max\\\" is there twice" },
        { "/events?from=", "parameter \\\"from\\\" has no value" },
        { "/events?from=latest&after=latest", "after and from say the same" },
        { "/events?from=garbage", "from" },
        { "/events?ack=x", "ack: needs `position`" },
        { "/events?position=a/b", "position: a name has at most 64 letters" },
        { "/events?tpe=x", "parameter \\\"tpe\\\" is unknown" },
        { "/events?position=n&ack=garbage", "ack" },
    };
    names_open("");
    log_pass(0, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (request("GET", cases[i][0], "") != 400 || !strstr(seen, cases[i][1]))
            fail_msg("%s: %s", cases[i][0], seen);
    }
    assert_int_equal(request("POST", "/events", "x"), 405);
    assert_int_equal(request("POST", "/events/positions/n", "x"), 405);
    assert_int_equal(request("PUT", "/events/positions", "x"), 405);
    assert_int_equal(request("PUT", "/events/positions/n", "garbage"), 400);
    assert_int_equal(request("GET", "/eventsx", ""), 404);
    assert_int_equal(request("HEAD", "/events?position=new", ""), 200);
    assert_int_equal(names_stored, 0);
}

TEST(each_form_and_other_sites_scripts)
{
    static const char origin[] = "Origin: https://app.example.com\r\n";
    struct answer a;
    char headers[256];
    names_open("origins: [\"https://app.example.com\"]");
    log_data = "{\"a\":\n1}";
    log_pass(0, 2);
    struct client c = ask("GET", "/events?from=earliest&max=1", "Accept: application/x-ndjson\r\n", "");
    assert_true(answered(&c, &a));
    assert_true(str_eq(
        a.body,
        STR("{\"specversion\":\"1.0\",\"id\":\"0/0\",\"source\":\"/s\",\"type\":\"t\",\"subject\":\"s/0\",\"data\":{\"a\": 1}}\n")));
    assert_true(str_eq(answer_header(&a, "Aqueduct-More"), STR("true")));
    client_close(&c);
    snprintf(headers, sizeof headers, "Accept: application/cloudevents-batch+json\r\n%s", origin);
    c = ask("GET", "/events?from=earliest", headers, "");
    assert_true(answered(&c, &a));
    assert_true(str_starts(a.body, STR("[{")) && str_ends(a.body, STR("}]\n")));
    assert_true(str_eq(answer_header(&a, "Access-Control-Allow-Origin"), STR("https://app.example.com")));
    client_close(&c);
    c = ask("OPTIONS", "/events", origin, "");
    assert_true(answered(&c, &a));
    assert_int_equal(a.status, 204);
    assert_true(str_eq(answer_header(&a, "Access-Control-Allow-Methods"), STR("GET, HEAD, POST, PUT, DELETE")));
    client_close(&c);
    c = ask("OPTIONS", "/events", "Origin: https://elsewhere.example.com\r\n", "");
    assert_true(answered(&c, &a));
    assert_int_equal(a.status, 403);
    assert_null(answer_header(&a, "Access-Control-Allow-Origin").at);
    client_close(&c);
}

TEST(answers_wait_while_others_are_not_taken)
{
    static char data[300 * 1024];
    struct answer a;
    names_open("buffer: 4KiB\nmax_buffered: 4KiB");
    snprintf(data, sizeof data, "\"%0*d\"", (int)sizeof data - 3, 0);
    log_data = data;
    log_pass(0, 2);
    struct client slow = ask("GET", "/events?from=earliest", "", ""), other = ask("GET", "/events?from=last:1", "", "");
    for (int i = 0; i < 20; i++)
        live_turn();
    client_read(&other);
    assert_int_equal(other.in.n, 0);
    assert_true(answered(&slow, &a));
    client_close(&slow);
    assert_string_equal(take(&other), "0/1|new 0");
}

TEST(at_the_end_of_the_sink_who_waits_is_answered)
{
    struct answer a;
    names_open("");
    log_pass(0, 1);
    struct client c = ask("GET", "/events?wait=60", "", "");
    assert_false(answered(&c, &a));
    websocket_sink.drain(live_sink, (struct duration){ 1000 });
    client_read(&c);
    assert_true(client_answer(&c, &a));
    assert_int_equal(a.status, 200);
    client_close(&c);
}

/* ---- tokens ---- */

#define CLAIMED LIVE_VERIFY "claims: {topics: see}\n"

/* The status of a request with a token of these claims; `seen` has its body. */
static int request_of(const char *claims, const char *method, const char *target, const char *body)
{
    char headers[4096], *text = live_token(claims);
    snprintf(headers, sizeof headers, "Authorization: Bearer %s\r\n", text);
    free(text);
    struct client c = ask(method, target, headers, body);
    struct answer a;
    assert_true(answered(&c, &a));
    snprintf(seen, sizeof seen, "%.*s", STR_ARG(a.body));
    snprintf(cursor, sizeof cursor, "%.*s", STR_ARG(answer_header(&a, "Aqueduct-Cursor")));
    int status = a.status;
    client_close(&c);
    return status;
}

#define ANNA "{\"sub\":\"anna\",\"see\":[\"ai.chats\"]}"
#define BOB  "{\"sub\":\"bob\",\"see\":[\"*\"]}"

#define BOB_SAYS "{\"sub\":\"bob\",\"see\":[\"*\"],\"say\":[]}"

TEST(with_claims_a_name_is_its_makers)
{
    names_open(CLAIMED);
    log_pass(0, 2);
    assert_int_equal(request_of("{\"see\":[\"*\"]}", "GET", "/events?position=n", ""), 403);
    assert_non_null(strstr(seen, "say whose they are"));
    assert_int_equal(request_of(ANNA, "GET", "/events?position=n&max=1", ""), 200);
    char at_one[1024], target[2048];
    snprintf(at_one, sizeof at_one, "%s", cursor);
    static const char *const methods[] = { "GET", "PUT", "DELETE" };
    for (int i = 0; i < 3; i++) {
        assert_int_equal(request_of(BOB, methods[i], "/events/positions/n", i == 1 ? at_one : ""), 403);
        assert_non_null(strstr(seen, "another user's"));
    }
    assert_int_equal(request_of(BOB, "GET", "/events?position=n", ""), 403);
    snprintf(target, sizeof target, "/events?position=n&ack=%s", at_one);
    assert_int_equal(request_of(BOB, "GET", target, ""), 403);
    assert_int_equal(request_of(BOB, "GET", "/events/positions", ""), 200);
    assert_string_equal(seen, "{\"positions\":[]}\n");
    assert_int_equal(request_of(ANNA, "GET", target, ""), 200);
    assert_non_null(strstr(seen, "\"id\":\"0/1\""));
    assert_null(strstr(seen, "\"id\":\"0/0\""));
    assert_int_equal(request_of(ANNA, "GET", "/events/positions", ""), 200);
    assert_non_null(strstr(seen, at_one));
    assert_int_equal(request_of(ANNA, "PUT", "/events/positions/n", at_one), 204);
    assert_int_equal(request_of(ANNA, "DELETE", "/events/positions/n", ""), 204);
    assert_int_equal(request_of(BOB, "GET", "/events?position=n", ""), 200); /* now it is his */
    assert_int_equal(request_of(ANNA, "GET", "/events?position=n", ""), 403);
}

/* What was made before there were claims is for those who see all. */
TEST(a_name_of_nobody_is_for_who_sees_all)
{
    char value[1100];
    for (int i = 0; i < 2; i++) {
        names_open(i ? CLAIMED : LIVE_VERIFY "claims: {publish: say}\n");
        log_pass(0, 1);
        assert_int_equal(request_of("{\"sub\":\"c\",\"see\":[\"*\"],\"say\":[]}", "GET", "/events?from=earliest", ""),
                         200);
        snprintf(value, sizeof value, "1600000000000 %s", cursor);
        names_set(STR("old"), str_of(value));
        assert_int_equal(request_of(BOB_SAYS, "GET", "/events?position=old", ""), i ? 403 : 200);
        assert_int_equal(request_of(BOB_SAYS, "GET", "/events/positions", ""), 200);
        assert_int_equal(strstr(seen, "\"old\"") == NULL, i);
        if (i == 0)
            names_close(NULL);
    }
}

TEST(a_topic_that_is_new_to_a_name_begins_at_its_start)
{
    clock_fake(100000, 1600000000000);
    names_open("");
    log_pass(3, 2);
    clock_fake_advance(3600000);
    log_pass(0, 1);
    assert_string_equal(get("/events?position=n&topics=ai.chats", ""), "0/0|new 0");
    assert_string_equal(get("/events?position=n&ack=%s&topics=ai.chats", cursor), "|exact 0");
    assert_string_equal(get("/events?position=n", ""), "3/0 3/1|new 0");
    assert_string_equal(get("/events?from=%s", cursor), "|exact 0");
}

TEST(who_waits_does_so_until_the_token_expires)
{
    struct answer a;
    char headers[4096], *text = live_token("{\"sub\":\"anna\",\"exp\":1600000010}");
    clock_fake(100000, 1600000000000);
    names_open(LIVE_VERIFY);
    log_pass(0, 1);
    snprintf(headers, sizeof headers, "Authorization: Bearer %s\r\n", text);
    struct client c = ask("GET", "/events?wait=25", headers, "");
    assert_false(answered(&c, &a));
    clock_fake_advance(9000);
    assert_false(answered(&c, &a));
    clock_fake_advance(1000);
    assert_true(answered(&c, &a));
    assert_int_equal(a.status, 401);
    assert_non_null(answer_header(&a, "WWW-Authenticate").at);
    client_close(&c);
    c = ask("GET", "/events?from=earliest&wait=25", headers, ""); /* within the leeway: with what there is */
    assert_string_equal(take(&c), "0/0|new 0");
    c = ask("GET", "/events?wait=25", headers, "");
    assert_string_equal(take(&c), "|new 0");
    free(text);
}

#define PULLED(test) cmocka_unit_test_teardown(test, names_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PULLED(each_answer_says_where_the_next_begins),
        PULLED(what_retention_took_is_counted),
        PULLED(who_waits_is_answered_by_what_comes),
        PULLED(a_name_moves_by_acknowledgement_alone),
        PULLED(a_name_is_not_acknowledged_for_a_part_of_its_topics),
        PULLED(nothing_is_answered_before_the_name_stands_there),
        PULLED(what_is_wrong_is_named),
        PULLED(each_form_and_other_sites_scripts),
        PULLED(answers_wait_while_others_are_not_taken),
        PULLED(at_the_end_of_the_sink_who_waits_is_answered),
        PULLED(with_claims_a_name_is_its_makers),
        PULLED(a_name_of_nobody_is_for_who_sees_all),
        PULLED(a_topic_that_is_new_to_a_name_begins_at_its_start),
        PULLED(who_waits_does_so_until_the_token_expires),
    };
    return cmocka_run_group_tests_name("pull", tests, NULL, NULL);
}
