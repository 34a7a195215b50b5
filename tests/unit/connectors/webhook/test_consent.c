/* SPDX-License-Identifier: MIT */
/* Which answers are a consent to our events, and when a receiver is asked; the requests themselves: tests/e2e/test_webhook.py. */
#include "connectors/webhook/consent.h"
#include <stdio.h>
#include "tests/support/connector.h"
#include "tests/support/test.h"

extern const struct sink_ops webhook_sink;

TEST(a_consent_is_said_by_a_header)
{
    static const struct {
        const char *origin, *rate; /* NULL: there is no such header */
        const char *why;           /* NULL: it is one */
        double in_a_minute;
    } cases[] = {
        { "our.host", NULL, NULL, 0 },
        { "*", "*", NULL, 0 },
        { "OUR.host", "120", NULL, 120 },
        { "our.host", "1", NULL, 1 },
        { NULL, "120", "it answered without WebHook-Allowed-Origin", 0 },
        { "", NULL, "it allows the origin \"\" alone", 0 },
        { "other.host", NULL, "it allows the origin \"other.host\" alone", 0 },
        { "our.host.evil", NULL, "it allows the origin \"our.host.evil\" alone", 0 },
        { "our.host", "0", "its WebHook-Allowed-Rate \"0\" is neither * nor a number of requests in a minute", 0 },
        { "our.host", "-5", "its WebHook-Allowed-Rate \"-5\" is neither", 0 },
        { "our.host", "", "its WebHook-Allowed-Rate \"\" is neither", 0 },
        { "our.host", "99999999999999999999", "its WebHook-Allowed-Rate", 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = { "" };
        double rate = -1;
        struct str origin = cases[i].origin ? str_of(cases[i].origin) : STR_ABSENT,
                   allowed = cases[i].rate ? str_of(cases[i].rate) : STR_ABSENT;
        bool given = consent_read("our.host", origin, allowed, &(struct hidden){ 0 }, &rate, &e);
        assert_int_equal(given, cases[i].why == NULL);
        if (given)
            assert_int_equal((int)(rate * 60 + 0.5), (int)cases[i].in_a_minute);
        else
            assert_says(e.text, cases[i].why);
    }
}

/* How long until it is asked again, after an answer that is none. */
static int64_t heard(struct consent *c, int64_t now, const struct result *r)
{
    struct result out = { 0 };
    struct transfer t = { .result = *r };
    assert_int_equal(consent_ask(c, now), CONSENT_ASK);
    assert_int_equal(consent_ask(c, now), c->given ? CONSENT_GIVEN : CONSENT_COMING);
    consent_heard(c, &t, now);
    consent_fail(c, now, &out);
    assert_int_equal(out.verdict, VERDICT_UNTRIED);
    assert_true(out.away);
    return c->again_ms - now;
}

TEST(who_says_no_is_asked_more_and_more_seldom)
{
    struct consent c;
    struct transfer_target receiver = { 0 };
    struct result out = { 0 }, no = { .verdict = VERDICT_RETRY, .status = 404, .why = "404 Not Found" },
                  later = { .verdict = VERDICT_RETRY, .status = 503, .retry_after = { 3600000 }, .why = "503" };
    consent_open(&c, NULL, 0, &receiver);
    assert_int_equal(consent_ask(&c, 1), CONSENT_GIVEN); /* nobody wants to ask */
    consent_open(&c, "our.host", 0, &receiver);
    int64_t now = 1000,
            waits[] = { 1000, 2000, 4000, 8000, 16000, 32000, 64000, 128000, 256000, 512000, 600000, 600000 };
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
        assert_int_equal(heard(&c, now, &no), waits[i]);
        assert_int_equal(consent_ask(&c, now + waits[i] - 1), CONSENT_NONE);
        now += waits[i];
    }
    assert_int_equal(heard(&c, now, &later), 3600000);
    consent_fail(&c, now, &out);
    assert_int_equal(out.retry_after.ms, 3600000);
    assert_string_equal(out.why, "no consent to events of our.host: 503");
}

TEST(a_consent_is_lost_by_a_no_and_not_by_silence)
{
    struct consent c;
    struct transfer_target receiver = { 0 };
    struct result away = { .verdict = VERDICT_RETRY, .away = true, .why = "no connection" },
                  lack = { .verdict = VERDICT_UNTRIED, .why = "Too many open files" },
                  no = { .verdict = VERDICT_RETRY, .status = 403, .why = "403 Forbidden" };
    consent_open(&c, "our.host", 0, &receiver);
    c.given = true; /* a day ago */
    int64_t wait = heard(&c, 1000, &away);
    assert_int_equal(consent_ask(&c, 1000 + wait - 1), CONSENT_GIVEN);
    wait += heard(&c, 1000 + wait, &lack);
    assert_int_equal(consent_ask(&c, 1000 + wait - 1), CONSENT_GIVEN);
    wait += heard(&c, 1000 + wait, &no);
    assert_int_equal(consent_ask(&c, 1000 + wait - 1), CONSENT_NONE);
    assert_string_equal(c.why, "no consent to events of our.host: 403 Forbidden");
}

TEST(what_a_no_quotes_shows_no_secret_and_is_harmless)
{
    struct err e;
    double rate;
    struct hidden hidden = { 0 };
    hide_word(&hidden, "T00000000/B0000/secret");
    assert_false(consent_read("our.host", STR("/hooks/T00000000/B0000/secret"), STR_ABSENT, &hidden, &rate, &e));
    assert_string_equal(e.text, "it allows the origin \"/hooks/**********************\" alone");
    assert_false(consent_read("our.host", STR("\x1b[31mred\xff"), STR_ABSENT, &hidden, &rate, &e));
    assert_string_equal(e.text, "it allows the origin \" [31mred?\" alone");
    assert_false(consent_read("our.host", STR("*"), STR("\x1b[2J"), &hidden, &rate, &e));
    assert_string_equal(e.text, "its WebHook-Allowed-Rate \" [2J\" is neither * nor a number of requests in a minute");
    hide_close(&hidden);
}

TEST(an_origin_that_is_no_host_is_refused)
{
    static const char *const wrong[] = { "''", "'https://our.host'", "'our host'", "'our.host:8080'", "\"a\\r\\nb\"" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char yaml[128];
        snprintf(yaml, sizeof yaml, "url: http://b.example/\nunsigned: true\nvalidate_origin: %s\n", wrong[i]);
        assert_says(sink_refused(&webhook_sink, yaml).text, "validate_origin: \"");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_consent_is_said_by_a_header),
        cmocka_unit_test(who_says_no_is_asked_more_and_more_seldom),
        cmocka_unit_test(a_consent_is_lost_by_a_no_and_not_by_silence),
        cmocka_unit_test(what_a_no_quotes_shows_no_secret_and_is_harmless),
        cmocka_unit_test(an_origin_that_is_no_host_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
