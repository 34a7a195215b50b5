/* SPDX-License-Identifier: MIT */
/* Log lines as they reach standard error. */
#include "bridge/lib/clock.h"
#include "bridge/lib/jscan.h"
#include "bridge/lib/log.h"
#include "tests/support/stderr.h"
#include "tests/support/test.h"

static void catch (void)
{
    clock_fake(0, 1795168800123);
    stderr_catch();
}

static const char *caught(void)
{
    clock_real();
    return stderr_caught();
}

TEST(logfmt)
{
    log_setup(LOG_INFO, LOG_LOGFMT);
    catch ();
    LOG(WARN, "delivery failed", LOG_C("sink", "crm"), LOG_STR("event", STR("a=b")), LOG_INT("attempt", 3),
        LOG_C("why", "say \"no\"\n\x1b[31m"), LOG_STR("absent", STR_ABSENT), LOG_INT("least", INT64_MIN),
        LOG_SOME("some", "x"), LOG_SOME("none", NULL), LOG_C("turned", "a\xe2\x80\xae"));
    assert_string_equal(
        caught(),
        "level=warn time=2026-11-20T10:00:00.123Z msg=\"delivery failed\" sink=crm event=\"a=b\" attempt=3 "
        "why=\"say \\\"no\\\"\\n\\u001b[31m\" absent=\"\" least=-9223372036854775808 some=x turned=\"a\\u202e\"\n");
}

TEST(json)
{
    struct jscan_value value;
    struct err e = { "" };
    log_setup(LOG_INFO, LOG_JSON);
    catch ();
    LOG(ERROR, "x", LOG_STR("bytes", STR("\xff\xc2\x9b\"")), LOG_INT("n", -1));
    const char *text = caught();
    assert_string_equal(
        text,
        "{\"level\":\"error\",\"time\":\"2026-11-20T10:00:00.123Z\",\"msg\":\"x\",\"bytes\":\"\xef\xbf\xbd\\u009b\\\"\",\"n\":-1}\n");
    assert_true(jscan_check(str_of(text), &value, &e));
}

TEST(levels)
{
    log_setup(LOG_WARN, LOG_LOGFMT);
    catch ();
    LOG(INFO, "x", LOG_INT("n", 1));
    LOG(DEBUG, "x", LOG_INT("n", 1));
    assert_string_equal(caught(), "");
}

TEST(long_values_are_cut_between_characters)
{
    char big[2000];
    memset(big, 'x', 511);
    memcpy(big + 511, "\xe2\x82\xac", 3);
    memset(big + 514, 'y', sizeof big - 514);
    log_setup(LOG_INFO, LOG_LOGFMT);
    catch ();
    LOG(INFO, "x", LOG_STR("big", ((struct str){ big, sizeof big })), LOG_INT("n", 1));
    const char *text = caught();
    assert_null(strstr(text, "\xe2"));
    assert_non_null(strstr(text, "xxx n=1\n"));
    memset(big, '\x01', sizeof big);
    struct log_field fields[41];
    for (size_t i = 0; i < 40; i++)
        fields[i] = LOG_STR("k", ((struct str){ big, sizeof big }));
    fields[40] = (struct log_field){ 0 };
    catch ();
    log_write(LOG_INFO, "the longest line", fields);
    text = caught();
    assert_non_null(strstr(text, "k=\"\\u0001\\u0001"));
    assert_int_equal(strlen(text), STDERR_CAUGHT); /* more than this test reads, and nothing broke */
}

TEST(a_flood_is_counted)
{
    struct log_limit limit = { 0 };
    int64_t left_out;
    clock_fake(5000, 1795168800123);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(log_limit_pass(&limit, &left_out), i < 20);
        assert_int_equal(left_out, 0);
    }
    clock_fake(6000, 1795168800123);
    assert_true(log_limit_pass(&limit, &left_out));
    assert_int_equal(left_out, 30);
    assert_true(log_limit_pass(&limit, &left_out));
    assert_int_equal(left_out, 0);
    clock_real();
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(logfmt), cmocka_unit_test(json), cmocka_unit_test(levels),
                                        cmocka_unit_test(long_values_are_cut_between_characters),
                                        cmocka_unit_test(a_flood_is_counted) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
