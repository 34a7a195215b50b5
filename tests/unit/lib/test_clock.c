/* SPDX-License-Identifier: MIT */
/* The clocks and RFC 3339. */
#include "bridge/lib/clock.h"
#include "tests/support/test.h"

TEST(text_of_a_time)
{
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {
        { 0, "1970-01-01T00:00:00.000Z" },
        { -1, "1969-12-31T23:59:59.999Z" },
        { 951782400000, "2000-02-29T00:00:00.000Z" },
        { 1795168800123, "2026-11-20T10:00:00.123Z" },
        { -62167219200000, "0000-01-01T00:00:00.000Z" },
        { 253402300799999, "9999-12-31T23:59:59.999Z" },
        { INT64_MAX, "9999-12-31T23:59:59.999Z" },
        { INT64_MIN, "0000-01-01T00:00:00.000Z" },
        { 4102444800000, "2100-01-01T00:00:00.000Z" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[CLOCK_TEXT];
        clock_text(cases[i].ms, text);
        assert_string_equal(text, cases[i].text);
    }
}

TEST(every_day_there_and_back)
{
    for (int64_t ms = -62167219200000; ms < 253402300800000; ms += 86400000 * 13 + 12345678) {
        char text[CLOCK_TEXT];
        int64_t back = 0;
        clock_text(ms, text);
        assert_true(clock_parse(str_of(text), &back));
        assert_true(back == ms);
    }
}

TEST(what_is_a_date_time)
{
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        { "1970-01-01T00:00:00Z", 0 },
        { "1970-01-01t00:00:00z", 0 },
        { "1970-01-01T00:00:00-00:00", 0 },
        { "1970-01-01T01:00:00+01:00", 0 },
        { "1969-12-31T22:30:00-01:30", 0 },
        { "1985-04-12T23:20:50.52Z", 482196050520 },
        { "1996-12-19T16:39:57-08:00", 851042397000 },
        { "1970-01-01T00:00:00.0019999999999999999999Z", 1 },
        { "1990-12-31T23:59:60Z", 662687999999 },
        { "1990-12-31T15:59:60.5-08:00", 662687999999 },
        { "2000-02-29T00:00:00Z", 951782400000 },
        { "0000-01-01T00:00:00Z", -62167219200000 },
        { "9999-12-31T23:59:59.999-23:59", 253402300799999 + 23 * 3600000 + 59 * 60000 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t ms = -7;
        assert_true(clock_parse(str_of(cases[i].text), &ms));
        assert_true(ms == cases[i].ms);
    }
}

TEST(what_is_not)
{
    static const char *const cases[] = {
        "",
        "now",
        "2026-11-20",
        "2026-11-20T10:00:00",
        "2026-11-20 10:00:00Z",
        "2026-11-20T10:00Z",
        "2026-11-20T10:00:00.Z",
        "2026-11-20T10:00:00,1Z",
        "2026-11-20T10:00:00Z ",
        " 2026-11-20T10:00:00Z",
        "2026-11-20T10:00:00+0100",
        "2026-11-20T10:00:00+24:00",
        "2026-11-20T10:00:00+01:60",
        "2026-11-20T10:00:00+01",
        "2026-13-20T10:00:00Z",
        "2026-00-20T10:00:00Z",
        "2026-11-00T10:00:00Z",
        "2026-11-31T10:00:00Z",
        "2026-02-29T10:00:00Z",
        "1900-02-29T10:00:00Z",
        "2026-11-20T24:00:00Z",
        "2026-11-20T10:60:00Z",
        "2026-11-20T10:00:61Z",
        "2026-11-20T10:00:60Z",
        "2026-1-20T10:00:00Z",
        "12026-11-20T10:00:00Z",
        "-026-11-20T10:00:00Z",
        "+026-11-20T10:00:00Z",
        "2026-11-20T10:00:00ZZ",
        "2026-11-20T-1:00:00Z",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t ms = -7;
        assert_false(clock_parse(str_of(cases[i]), &ms));
        assert_true(ms == -7);
    }
    assert_false(clock_parse((struct str){ "2026-11-20T10:00:00\0", 20 }, &(int64_t){ 0 }));
    assert_false(clock_parse(STR_ABSENT, &(int64_t){ 0 }));
}

TEST(a_moment_or_so_long_ago)
{
    int64_t ms = 0;
    clock_fake(0, 1700000000000);
    assert_true(clock_since(STR("90s"), &ms) && ms == 1700000000000 - 90000);
    assert_true(clock_since(STR("30m"), &ms) && ms == 1700000000000 - 1800000);
    assert_true(clock_since(STR("2h"), &ms) && ms == 1700000000000 - 7200000);
    assert_true(clock_since(STR("7d"), &ms) && ms == 1700000000000 - 604800000);
    assert_true(clock_since(STR("2023-11-14T22:13:20Z"), &ms) && ms == 1700000000000);
    static const char *const wrong[] = { "", "7", "d", "7w", "-7d", "9999999d", "yesterday" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(clock_since(str_of(wrong[i]), &ms));
    clock_real();
}

TEST(a_fake_clock_stands_still)
{
    clock_fake(5000, 1000);
    assert_true(clock_mono_ms() == 5000 && clock_mono_us() == 5000000 && clock_wall_ms() == 1000);
    clock_fake_advance(250);
    assert_true(clock_mono_ms() == 5250 && clock_wall_ms() == 1250);
    clock_real();
    int64_t before = clock_mono_us();
    assert_true(clock_wall_ms() > 1700000000000 && clock_mono_us() >= before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_of_a_time),          cmocka_unit_test(every_day_there_and_back),
        cmocka_unit_test(what_is_a_date_time),     cmocka_unit_test(what_is_not),
        cmocka_unit_test(a_moment_or_so_long_ago), cmocka_unit_test(a_fake_clock_stands_still),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
