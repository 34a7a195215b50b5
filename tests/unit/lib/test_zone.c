/* SPDX-License-Identifier: MIT */
/* Time zones: names, hours that come twice or never, rules beyond the last change. What every zone says of many years is
 * compared with Python's zoneinfo in e2e/test_time_zone.py. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/buf.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/file.h"
#include "bridge/lib/tzif.h"
#include "bridge/lib/zone.h"
#include "tests/support/test.h"

static int64_t ms_of(const char *text)
{
    int64_t ms;
    assert_true(clock_parse(str_of(text), &ms));
    return ms;
}

static struct zone *zone_of(const char *name)
{
    struct err e = { "" };
    struct zone *z = zone_new(name, &e);
    if (!z)
        fail_msg("%s: %s", name, e.text);
    return z;
}

/* What the wall clock shows is that time of UTC. */
static void assert_utc(const struct zone *z, const char *wall, const char *utc)
{
    char found[CLOCK_TEXT];
    clock_text(zone_utc(z, ms_of(wall)), found);
    assert_string_equal(found, utc);
}

static void assert_again(const struct zone *z, const char *wall, int64_t minutes, const char *begin)
{
    int64_t from;
    assert_int_equal(zone_again(z, ms_of(wall), &from), minutes * 60000);
    assert_int_equal(from, ms_of(begin));
}

TEST(an_hour_that_never_comes_and_one_that_comes_twice)
{
    struct zone *z = zone_of("Europe/Berlin");
    assert_utc(z, "2026-01-15T12:00:00Z", "2026-01-15T11:00:00.000Z");
    assert_utc(z, "2026-07-15T12:00:00.250Z", "2026-07-15T10:00:00.250Z");
    assert_utc(z, "2026-03-29T01:59:59.999Z", "2026-03-29T00:59:59.999Z");
    assert_utc(z, "2026-03-29T02:30:00Z", "2026-03-29T01:30:00.000Z"); /* 03:30 by the clock */
    assert_utc(z, "2026-03-29T03:00:00Z", "2026-03-29T01:00:00.000Z");
    assert_again(z, "2026-03-29T02:30:00Z", 0, "2026-03-29T02:30:00Z");
    assert_utc(z, "2026-10-25T02:30:00Z", "2026-10-25T00:30:00.000Z"); /* the first of the two */
    assert_utc(z, "2026-10-25T03:00:00Z", "2026-10-25T02:00:00.000Z");
    assert_again(z, "2026-10-25T01:59:59.999Z", 0, "2026-10-25T01:59:59.999Z");
    assert_again(z, "2026-10-25T02:00:00Z", 60, "2026-10-25T02:00:00Z");
    assert_again(z, "2026-10-25T02:59:59.999Z", 60, "2026-10-25T02:00:00Z");
    assert_again(z, "2026-10-25T03:00:00Z", 0, "2026-10-25T03:00:00Z");
    zone_free(z);
    z = zone_of("Australia/Lord_Howe"); /* half an hour, in the south */
    assert_utc(z, "2026-04-05T01:45:00Z", "2026-04-04T14:45:00.000Z");
    assert_again(z, "2026-04-05T01:45:00Z", 30, "2026-04-05T01:30:00Z");
    assert_utc(z, "2026-04-05T02:00:00Z", "2026-04-04T15:30:00.000Z");
    zone_free(z);
    z = zone_of("America/Nuuk"); /* changes by the time of another day */
    assert_again(z, "2026-10-24T23:30:00Z", 60, "2026-10-24T23:00:00Z");
    zone_free(z);
}

TEST(the_rule_beyond_the_last_change)
{
    struct zone *z = zone_of("America/New_York");
    assert_utc(z, "1883-11-18T11:00:00Z", "1883-11-18T15:56:02.000Z");
    assert_utc(z, "2150-03-08T01:59:59Z", "2150-03-08T06:59:59.000Z");
    assert_utc(z, "2150-03-08T03:00:00Z", "2150-03-08T07:00:00.000Z");
    assert_again(z, "2150-11-01T01:30:00Z", 60, "2150-11-01T01:00:00Z");
    assert_utc(z, "9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999Z"); /* beyond what can be written */
    zone_free(z);
}

TEST(offsets)
{
    struct zone *z = zone_of("+05:30");
    assert_utc(z, "2026-03-29T02:30:00Z", "2026-03-28T21:00:00.000Z");
    zone_free(z);
    z = zone_of("-03:00");
    assert_utc(z, "2026-03-29T02:30:00Z", "2026-03-29T05:30:00.000Z");
    assert_again(z, "2026-03-29T02:30:00Z", 0, "2026-03-29T02:30:00Z");
    zone_free(z);
    z = zone_of("UTC");
    assert_utc(z, "2026-03-29T02:30:00Z", "2026-03-29T02:30:00.000Z");
    zone_free(z);
    assert_utc(NULL, "2026-03-29T02:30:00Z", "2026-03-29T02:30:00.000Z");
    zone_free(NULL);
}

TEST(names)
{
    static const struct {
        const char *name, *why;
    } cases[] = {
        { "Europe/Berln", "there is no time zone \"Europe/Berln\" (did you mean Europe/Berlin?)" },
        { "berlin", "(did you mean Europe/Berlin?)" },
        { "MEZ", "(names are as Europe/Berlin; an offset is as +02:00)" },
        { "+2", "an offset is as +02:00" },
        { "+02:00:00", "an offset is as +02:00" },
        { "Broken", "/data/zoneinfo/Broken is no compiled time zone, or it is damaged" },
        { "Europe", "there is no time zone \"Europe\"" },
        { "../zoneinfo/Broken", "there is no time zone" },
        { "/etc/passwd", "there is no time zone" },
        { "", "there is no time zone" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = { "" };
        assert_null(zone_new(cases[i].name, &e));
        assert_says(e.text, cases[i].why);
    }
    struct err e = { "" };
    setenv("TZDIR", "/nonexistent", 1);
    assert_null(zone_new("Europe/Berlin", &e));
    assert_says(e.text, "no time zone database in /nonexistent: install tzdata, or write an offset as +02:00");
    setenv("TZDIR", TESTS_DIR "/data/zoneinfo", 1);
}

/* Every beginning of a file is refused, and so is one whose bytes are not what they must be. */
TEST(damaged_files)
{
    struct buf file = buf_new(TZIF_BYTES + 1);
    struct tzif t;
    assert_true(file_read(TESTS_DIR "/data/zoneinfo/Europe/Berlin", TZIF_BYTES, &file));
    assert_true(tzif_read(buf_str(&file), &t));
    assert_true(t.count > 400 && t.first == 3208);
    tzif_free(&t);
    for (size_t n = 0; n < file.n; n++) {
        assert_false(tzif_read((struct str){ file.at, n }, &t));
        assert_int_equal(t.count, 0);
    }
    file.at[file.n - 3] = '?'; /* of the footer */
    assert_false(tzif_read(buf_str(&file), &t));
    buf_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_hour_that_never_comes_and_one_that_comes_twice),
        cmocka_unit_test(the_rule_beyond_the_last_change),
        cmocka_unit_test(offsets),
        cmocka_unit_test(names),
        cmocka_unit_test(damaged_files),
    };
    setenv("TZDIR", TESTS_DIR "/data/zoneinfo", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
