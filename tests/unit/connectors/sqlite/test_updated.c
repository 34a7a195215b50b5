/* SPDX-License-Identifier: MIT */
/* Kind updated: what a table's own column of changes says, however it writes its times: nothing is lost, nothing told
 * twice, what is not new is an update. */
#include <stdio.h>
#include <stdlib.h>
#include "tests/support/sqlite_rig.h"

static struct rig rig;

#define RULE(more)                                                                                                     \
    "capture:\n- {name: t, kind: updated, table: t, cursor: updated_at, watch: [v], types: {insert: t.made, update: "  \
    "t.changed}" more "}\n"
#define TABLE "CREATE TABLE t(id TEXT PRIMARY KEY, v, updated_at);"
#define INDEX "CREATE INDEX i ON t(updated_at);"

static long long seconds(int64_t before)
{
    return clock_wall_ms() / 1000 - before;
}

static void assert_ids_differ(void)
{
    for (size_t i = 0; i < rig.seen_count; i++)
        for (size_t k = 0; k < i; k++)
            assert_false(str_eq(rig.seen[i]->id, rig.seen[k]->id));
}

static void inserted_and_updated(const char *schema, const char *rule)
{
    rig_new(&rig, "WAL");
    app_exec(&rig, schema);
    app_do(&rig, "INSERT INTO t VALUES ('old', 1, %lld), ('here', 1, %lld)", seconds(100000), seconds(0));
    rig_open(&rig, rule);
    assert_captured(&rig, "");
    app_do(&rig, "INSERT INTO t VALUES ('m', 1, %lld), ('a', 1, %lld)", seconds(0), seconds(0));
    assert_captured(&rig, "t.made t.made");
    app_do(&rig, "UPDATE t SET v = 2, updated_at = %lld WHERE id IN ('a', 'old', 'here')", seconds(0));
    rig_settle(&rig);
    assert_int_equal(rig_count(&rig, "t.changed", "t/old"), 1);
    assert_true(str_eq(rig_attribute(rig_event(&rig, "t.changed", "t/a", 0), "changed"), STR("v")));
    assert_types(&rig, "t.changed t.changed t.changed");
    app_do(&rig, "UPDATE t SET updated_at = %lld WHERE id = 'a'", seconds(0)); /* touched, nothing watched is new */
    assert_captured(&rig, "");
    rig_restart(&rig);
    assert_captured(&rig, "");
    rig_close(&rig);
    app_do(&rig, "UPDATE t SET v = 3, updated_at = %lld WHERE id = 'm'; INSERT INTO t VALUES ('b', 1, %lld)",
           seconds(0), seconds(0));
    char *yaml = strdup(rig.yaml);
    rig_open(&rig, yaml);
    free(yaml);
    assert_captured(&rig, "t.made t.changed");
    app_exec(&rig, "DELETE FROM t");
    assert_captured(&rig, "");
    rig_end(&rig);
}

TEST(inserts_and_updates)
{
    inserted_and_updated(TABLE, RULE(""));
    inserted_and_updated(TABLE INDEX, RULE(""));
    inserted_and_updated(TABLE INDEX, RULE("") "batch: 1\n");
    inserted_and_updated("CREATE TABLE t(id TEXT PRIMARY KEY, v, updated_at DATETIME);" INDEX, RULE(""));
    inserted_and_updated("CREATE TABLE t(id TEXT PRIMARY KEY, v, updated_at TEXT);" INDEX, RULE(""));
}

/* Ten updates of one row within one second, a look after each: ten events. */
TEST(within_a_second)
{
    rig_begin(&rig, "WAL", TABLE INDEX, RULE(""));
    long long now = seconds(0);
    app_do(&rig, "INSERT INTO t VALUES ('a', 0, %lld), ('b', 0, %lld)", now, now);
    assert_captured(&rig, "t.made t.made");
    for (int i = 1; i <= 10; i++) {
        app_do(&rig, "UPDATE t SET v = %d, updated_at = %lld WHERE id = 'a'", i % 2, now);
        if (i == 5)
            rig_restart(&rig);
        rig_settle(&rig);
    }
    assert_int_equal(rig_count(&rig, "t.changed", "t/a"), 10);
    assert_int_equal(rig.seen_count, 10);
    assert_ids_differ();
    rig_end(&rig);
}

/* A row whose time was written before the rows that are known, as its transaction took longer. */
TEST(committed_late)
{
    rig_begin(&rig, "WAL", TABLE INDEX, RULE(", overlap: 30s"));
    app_do(&rig, "INSERT INTO t VALUES ('a', 0, %lld)", seconds(1000));
    assert_captured(&rig, "t.made");
    app_do(&rig, "INSERT INTO t VALUES ('b', 0, %lld)", seconds(0));
    assert_captured(&rig, "t.made");
    app_do(&rig, "UPDATE t SET v = 1, updated_at = %lld WHERE id = 'a'", seconds(25));
    assert_captured(&rig, "t.changed");
    app_do(&rig, "INSERT INTO t VALUES ('imported', 0, %lld), ('untimed', 0, NULL)", seconds(100000));
    assert_captured(&rig, "t.made t.made");
    rig_restart(&rig);
    assert_captured(&rig, "");
    rig_end(&rig);
}

/* The broker stands still in the middle of a pass. Meanwhile a row that the pass has behind it is written again, within the second
 * at which the pass stands, and others later than the overlap reaches back. */
TEST(a_pass_that_takes_longer_than_the_overlap)
{
    for (int again = 0; again < 2; again++) {
        rig_begin(&rig, "WAL", TABLE INDEX, RULE(""));
        app_do(&rig, "INSERT INTO t VALUES ('a', 0, %lld), ('b', 0, %lld)", seconds(120), seconds(120));
        assert_captured(&rig, "t.made t.made");
        app_do(&rig, "UPDATE t SET v = 1, updated_at = %lld", seconds(100));
        struct err e = { 0 };
        rig.room = 1;
        while (rig.seen_count == 0)
            assert_true(rig_read(&rig, &e) >= 0);
        rig.room = 256;
        assert_types(&rig, "t.changed");
        app_do(&rig, "UPDATE t SET v = 2, updated_at = %lld WHERE id = 'a'", seconds(100));
        app_do(&rig, "INSERT INTO t VALUES ('c', 0, %lld)", seconds(0));
        while (again && rig_inside(&rig)->pass.running) /* it ends, and so does the daemon */
            assert_true(rig_read(&rig, &e) >= 0);
        if (again)
            rig_restart(&rig);
        rig_settle(&rig);
        assert_int_equal(rig_count(&rig, "t.changed", "t/b"), 1);
        assert_int_equal(rig_count(&rig, "t.made", "t/c"), 1);
        assert_int_equal(rig_count(&rig, "t.changed", "t/a"), 1);
        assert_int_equal(rig.seen_count, 3);
        rig_end(&rig);
    }
}

/* The daemon ends in the middle of its first pass, and so long before it comes back that the overlap does not reach to that. */
TEST(a_first_pass_in_two_lives)
{
    struct err e = { 0 };
    rig_new(&rig, "WAL");
    app_exec(&rig, TABLE INDEX);
    app_do(&rig, "INSERT INTO t VALUES ('a', 0, %lld), ('b', 0, %lld)", seconds(120), seconds(120));
    rig_open(&rig, RULE("") "start: snapshot\n");
    rig.room = 1;
    while (rig.seen_count == 0)
        assert_true(rig_read(&rig, &e) >= 0);
    rig.room = 256;
    assert_types(&rig, "t.made");
    app_do(&rig, "UPDATE t SET v = 1, updated_at = %lld WHERE id = 'a'", seconds(100));
    app_do(&rig, "INSERT INTO t VALUES ('c', 0, %lld)", seconds(0));
    rig_restart(&rig);
    assert_captured(&rig, "t.made t.made t.changed");
    rig_end(&rig);
}

static const char *const formats[] = {
    "CAST(strftime('%%s', 'now') AS INTEGER)",
    "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
    "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
    "CAST((julianday('now') - 2440587.5) * 86400 AS INTEGER) * 1000000000",
    "(julianday('now') - 2440587.5) * 86400",
    "julianday('now')",
    "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now')",
    "strftime('%%Y-%%m-%%dT%%H:%%M:%%SZ', 'now')",
    "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', '+2 hours') || '+02:00'",
    "strftime('%%Y-%%m-%%dT%%H:%%M:%%S', 'now', '-5 hours') || '-05:00'",
    "CAST(strftime('%%s', 'now') AS TEXT)",
    "CAST(CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) AS TEXT)",
};
enum { FORMATS = sizeof formats / sizeof *formats };

/* Every format in one column: all are told, once each, by the index as by reading all. */
static void every_format(const char *schema)
{
    char now[256];
    rig_begin(&rig, "WAL", schema, RULE(""));
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < FORMATS; i++) {
            snprintf(now, sizeof now, formats[i], 0);
            app_do(&rig,
                   round ? "UPDATE t SET v = %d, updated_at = %s WHERE id = 'k%zu'"
                         : "INSERT INTO t(v, updated_at, id) VALUES (%d, %s, 'k%zu')",
                   round, now, i);
            rig_settle(&rig);
            if (rig.seen_count != 1)
                fail_msg("%zu events in round %d of %s", rig.seen_count, round, formats[i]);
            assert_types(&rig, round ? "t.changed" : "t.made");
        }
        rig_restart(&rig);
        assert_captured(&rig, "");
    }
    rig_end(&rig);
}

TEST(mixed_formats)
{
    every_format(TABLE);
    every_format(TABLE INDEX);
    every_format("CREATE TABLE t(id TEXT PRIMARY KEY, v, updated_at DATETIME);" INDEX);
}

/* Only old text and a newest number: old rows are not told again, whatever sorts above what. */
TEST(text_sorts_above_numbers)
{
    rig_new(&rig, "WAL");
    app_exec(&rig,
             TABLE INDEX "INSERT INTO t VALUES ('a', 0, '2023-08-17 00:45:03'), ('b', 0, '2023-08-17T00:45:03Z')");
    app_do(&rig, "INSERT INTO t VALUES ('c', 0, %lld)", seconds(0) * 1000);
    rig_open(&rig, RULE(""));
    assert_captured(&rig, "");
    int64_t before = metric_value(rig_inside(&rig)->rows_read);
    app_do(&rig, "UPDATE t SET v = 1, updated_at = %lld WHERE id = 'a'", seconds(0) * 1000);
    assert_captured(&rig, "t.changed");
    assert_int_equal(metric_value(rig_inside(&rig)->rows_read) - before, 2); /* a and c, not b */
    rig_end(&rig);
}

/* The clock was an hour ahead and is set back: what is written then is told, and what was told is not. */
static void clock_set_back(const char *schema)
{
    rig_begin(&rig, "WAL", schema, RULE(""));
    int64_t now = clock_wall_ms();
    clock_fake(clock_mono_ms(), now + 3600000);
    app_do(&rig, "INSERT INTO t VALUES ('a', 0, %lld), ('b', 0, %lld), ('c', 0, %lld)", (long long)now,
           (long long)(now + 1800000), (long long)(now + 3600000));
    struct err e = { 0 };
    for (int i = 0; i < 100 && rig.seen_count < 3; i++)
        assert_true(rig_read(&rig, &e) >= 0);
    clock_real();
    assert_captured(&rig, "t.made t.made t.made");
    app_do(&rig, "UPDATE t SET v = 1, updated_at = %lld WHERE id = 'b'", (long long)clock_wall_ms());
    assert_captured(&rig, "t.changed");
    app_do(&rig, "UPDATE t SET v = 1, updated_at = %lld WHERE id = 'c'", (long long)clock_wall_ms());
    assert_captured(&rig, "t.changed");
    rig_restart(&rig);
    app_do(&rig, "UPDATE t SET v = 1, updated_at = %lld WHERE id = 'a'", (long long)clock_wall_ms());
    assert_captured(&rig, "t.changed");
    rig_end(&rig);
}

TEST(the_clock_is_set_back)
{
    clock_set_back(TABLE);
    clock_set_back(TABLE INDEX);
}

/* What the application does at that time makes events of these types, at least one. */
static void at(const char *utc, const char *sql, const char *types)
{
    int64_t ms;
    struct err e = { 0 };
    assert_true(clock_parse(str_of(utc), &ms));
    clock_fake(clock_mono_ms(), ms);
    app_exec(&rig, sql);
    for (int i = 0, more = 2; i < 1000 && more > 0; i++, more -= rig.seen_count > 0) {
        assert_true(rig_read(&rig, &e) >= 0);
        clock_fake_advance(20);
    }
    assert_types(&rig, types);
}

/* The hour from 1 to 2 that comes twice in New York: what is written in the second one is told, once, and with its change. */
static void an_hour_comes_twice(const char *schema, const char *zone)
{
    char rule[600];
    setenv("TZDIR", TESTS_DIR "/data/zoneinfo", 1);
    snprintf(rule, sizeof rule, RULE("%s") "poll: 10ms\n%s", *zone == ',' ? zone : "", *zone == ',' ? "" : zone);
    rig_begin(&rig, "WAL", schema, rule);
    at("2026-11-01T05:00:10Z", "INSERT INTO t VALUES ('x', 0, '2026-11-01 01:00:10')", "t.made");
    at("2026-11-01T05:30:00Z", "INSERT INTO t VALUES ('a', 0, '2026-11-01 01:30:00')", "t.made");
    at("2026-11-01T05:59:50Z", "UPDATE t SET v = 1, updated_at = '2026-11-01 01:59:50' WHERE id = 'a'", "t.changed");
    at("2026-11-01T06:00:05Z", "UPDATE t SET v = 2, updated_at = '2026-11-01 01:00:05' WHERE id = 'a'", "t.changed");
    at("2026-11-01T06:10:00Z", "UPDATE t SET v = 1, updated_at = '2026-11-01 01:10:00' WHERE id = 'x'", "t.changed");
    at("2026-11-01T06:30:00Z", "INSERT INTO t VALUES ('b', 0, '2026-11-01 01:30:00')", "t.made");
    rig_restart(&rig);
    at("2026-11-01T06:40:00Z", "UPDATE t SET v = 1, updated_at = '2026-11-01 01:40:00' WHERE id = 'b'", "t.changed");
    at("2026-11-01T07:05:00Z", "UPDATE t SET v = 3, updated_at = '2026-11-01 02:05:00' WHERE id = 'a'", "t.changed");
    at("2026-11-01T07:05:04Z", "UPDATE t SET v = 2, updated_at = '2026-11-01 02:04:58' WHERE id = 'b'", "t.changed");
    at("2026-11-01T09:00:00Z", "UPDATE t SET v = 4, updated_at = '2026-11-01 04:00:00' WHERE id = 'a'", "t.changed");
    clock_real();
    rig_end(&rig);
    unsetenv("TZDIR");
}

TEST(an_hour_that_comes_twice)
{
    an_hour_comes_twice(TABLE, ", time_zone: America/New_York");
    an_hour_comes_twice(TABLE INDEX, ", time_zone: America/New_York");
    an_hour_comes_twice(TABLE INDEX, "time_zone: America/New_York\n");
}

/* The source was down over it, and the zone is named only then: nothing of what is stored is read otherwise. */
TEST(an_hour_came_twice_meanwhile)
{
    setenv("TZDIR", TESTS_DIR "/data/zoneinfo", 1);
    rig_begin(&rig, "WAL", TABLE INDEX, RULE("") "poll: 10ms\n");
    at("2026-11-01T03:00:00Z", "INSERT INTO t VALUES ('a', 0, '2026-10-31 23:00:00')", "t.made");
    at("2026-11-01T05:50:00Z", "INSERT INTO t VALUES ('b', 0, '2026-11-01 01:50:00')", "t.made");
    rig_close(&rig);
    rig_open(&rig, RULE(", time_zone: America/New_York") "poll: 10ms\n");
    at("2026-11-01T06:20:00Z", "UPDATE t SET v = 1, updated_at = '2026-11-01 01:10:00' WHERE id = 'a'", "t.changed");
    clock_real();
    rig_end(&rig);
    unsetenv("TZDIR");
}

/* Its time is told in UTC, and so are columns of the form `time`; one that says its offset is what it says. */
TEST(times_of_a_zone)
{
    setenv("TZDIR", TESTS_DIR "/data/zoneinfo", 1);
    rig_begin(&rig, "WAL", TABLE INDEX, RULE(", columns: {id: value, updated_at: time}, time_zone: Europe/Berlin"));
    app_exec(&rig, "INSERT INTO t VALUES ('local', 0, '2026-07-01 12:00:00'), ('z', 0, '2026-07-01T12:00:00Z'),"
                   " ('offset', 0, '2026-07-01T12:00:00+05:00'), ('number', 0, 1782907200), ('day', 0, '2026-07-01')");
    rig_settle(&rig);
    static const char *const times[][2] = { { "t/local", "2026-07-01T10:00:00.000Z" },
                                            { "t/z", "2026-07-01T12:00:00.000Z" },
                                            { "t/offset", "2026-07-01T07:00:00.000Z" },
                                            { "t/number", "2026-07-01T12:00:00.000Z" },
                                            { "t/day", "2026-06-30T22:00:00.000Z" } };
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        const struct event *ev = rig_event(&rig, "t.made", times[i][0], 0);
        assert_true(str_eq(ev->time, str_of(times[i][1])));
        assert_true(rig_has(ev, times[i][1]));
    }
    rig_forget(&rig);
    rig_end(&rig);
    unsetenv("TZDIR");
}

/* One row says 2099: it is told, and the rows of today go on. */
TEST(a_row_from_the_future)
{
    rig_begin(&rig, "WAL", TABLE INDEX, RULE(""));
    app_exec(&rig, "INSERT INTO t VALUES ('f', 0, 4070908800)");
    assert_captured(&rig, "t.made");
    app_do(&rig, "INSERT INTO t VALUES ('a', 0, %lld)", seconds(0));
    assert_captured(&rig, "t.made");
    app_do(&rig, "UPDATE t SET v = 1, updated_at = %lld WHERE id = 'a'", seconds(0));
    assert_captured(&rig, "t.changed");
    app_exec(&rig, "UPDATE t SET v = 1 WHERE id = 'f'");
    assert_captured(&rig, "t.changed");
    rig_restart(&rig);
    assert_captured(&rig, "");
    rig_end(&rig);
}

/* More rows of one second than a batch, and all of them updated at once. */
TEST(many_rows_of_one_second)
{
    rig_begin(&rig, "WAL", TABLE INDEX, RULE("") "batch: 7\n");
    long long now = seconds(0);
    app_do(&rig,
           "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)"
           " INSERT INTO t SELECT 'k' || i, 0, %lld FROM n",
           now);
    rig_settle(&rig);
    assert_int_equal(rig_count(&rig, "t.made", NULL), 500);
    app_do(&rig, "UPDATE t SET v = 1, updated_at = %lld", now);
    rig_settle(&rig);
    assert_int_equal(rig_count(&rig, "t.changed", NULL), 500);
    assert_int_equal(rig.seen_count, 1000);
    assert_ids_differ();
    rig_forget(&rig);
    rig_restart(&rig);
    assert_captured(&rig, "");
    rig_end(&rig);
}

/* Reads one batch that the broker publishes, but whose state it does not confirm; then the daemon dies. */
static void crash_after_publish(void)
{
    struct err e = { 0 };
    size_t before = rig.seen_count;
    rig.confirm = false;
    for (int i = 0; i < 100 && rig.seen_count == before; i++)
        assert_true(rig_read(&rig, &e) >= 0);
    assert_true(rig.seen_count > before);
    rig.confirm = true;
    rig_restart(&rig);
}

/* Again after a crash: under the same id; another state under another. */
TEST(after_a_crash)
{
    rig_begin(&rig, "WAL", TABLE INDEX, RULE(""));
    app_do(&rig, "INSERT INTO t VALUES ('a', 0, %lld)", seconds(0));
    crash_after_publish();
    rig_settle(&rig);
    app_do(&rig, "UPDATE t SET v = 1, updated_at = %lld", seconds(0));
    crash_after_publish();
    rig_settle(&rig);
    assert_int_equal(rig.seen_count, 4);
    assert_true(str_eq(rig.seen[0]->id, rig.seen[1]->id) && str_eq(rig.seen[2]->id, rig.seen[3]->id));
    assert_types(&rig, "t.made t.made t.changed t.changed");
    app_do(&rig, "INSERT INTO t VALUES ('b', 0, %lld)", seconds(0));
    crash_after_publish();
    app_do(&rig, "UPDATE t SET v = 1, updated_at = %lld WHERE id = 'b'", seconds(0));
    rig_settle(&rig);
    assert_int_equal(rig.seen_count, 2);
    assert_ids_differ();
    assert_true(rig_has(rig.seen[1], "\"v\":1"));
    rig_forget(&rig);
    rig_restart(&rig);
    assert_captured(&rig, "");
    rig_end(&rig);
}

/* What is old is forgotten, and told when it is written again; also a row that no insert told. */
TEST(old_rows_are_forgotten)
{
    rig_begin(&rig, "WAL", TABLE INDEX, RULE(""));
    app_do(&rig, "INSERT INTO t VALUES ('a', 0, %lld)", seconds(10000));
    assert_captured(&rig, "t.made");
    assert_true(rig_state(&rig, "t/row/ta").at);
    app_do(&rig, "INSERT INTO t VALUES ('b', 0, %lld)", seconds(0));
    assert_captured(&rig, "t.made");
    app_do(&rig, "INSERT INTO t VALUES ('c', 0, %lld)", seconds(0));
    assert_captured(&rig, "t.made");
    assert_false(rig_state(&rig, "t/row/ta").at);
    assert_int_equal(rig_inside(&rig)->rules[0]->rows.count, 2);
    app_do(&rig, "UPDATE t SET updated_at = %lld WHERE id = 'a'", seconds(0));
    rig_settle(&rig);
    assert_int_equal(rig_attribute(rig_event(&rig, "t.changed", "t/a", 0), "changed").n, 0);
    rig_end(&rig);
}

/* The newest rows are deleted and their rowids used again: other rows, with ids of their own. */
TEST(rowids_come_again)
{
    rig_begin(&rig, "DELETE", TABLE, RULE(""));
    app_do(&rig, "INSERT INTO t VALUES ('a', 0, %lld), ('b', 0, %lld)", seconds(0), seconds(0));
    assert_captured(&rig, "t.made t.made");
    app_exec(&rig, "DELETE FROM t");
    assert_captured(&rig, "");
    app_do(&rig, "INSERT INTO t VALUES ('a', 0, %lld), ('c', 0, %lld)", seconds(0), seconds(0));
    rig_settle(&rig);
    assert_int_equal(rig_count(&rig, "t.made", "t/c"), 1);
    assert_int_equal(rig_count(&rig, "t.made", "t/a"), 1);
    rig_end(&rig);
}

/* A backup was put back: a row under a key of before is told as an update of it, and later ones as new. */
TEST(rows_of_a_backup)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, v, updated_at)", RULE(""));
    app_do(&rig, "INSERT INTO t VALUES (1, 0, %lld), (2, 0, %lld), (3, 0, %lld)", seconds(0), seconds(0), seconds(0));
    assert_captured(&rig, "t.made t.made t.made");
    app_exec(&rig, "DELETE FROM t WHERE id > 1");
    assert_captured(&rig, "");
    app_exec(&rig, "UPDATE sqlite_sequence SET seq = 1");
    app_do(&rig, "INSERT INTO t(v, updated_at) VALUES (7, %lld)", seconds(0));
    rig_settle(&rig);
    assert_true(rig_has(rig_event(&rig, "t.changed", "t/2", 0), "\"v\":7"));
    assert_types(&rig, "t.changed");
    app_do(&rig, "INSERT INTO t(v, updated_at) VALUES (8, %lld)", seconds(0));
    rig_settle(&rig);
    assert_true(rig_has(rig_event(&rig, "t.made", "t/3", 0), "\"v\":8"));
    assert_types(&rig, "t.made");
    rig_end(&rig);
}

/* Without a rowid the time of making tells what is new; without that, a rule that is to tell new rows is refused. */
TEST(without_a_rowid)
{
    static const char schema[] = "CREATE TABLE t(id TEXT PRIMARY KEY, v, updated_at, made_at) WITHOUT ROWID";
    rig_begin(&rig, "WAL", schema, RULE(", time: made_at"));
    app_do(&rig, "INSERT INTO t VALUES ('b', 0, %lld, %lld), ('a', 0, %lld, %lld)", seconds(0), seconds(0), seconds(0),
           seconds(0));
    assert_captured(&rig, "t.made t.made");
    app_do(&rig, "UPDATE t SET v = 1, updated_at = %lld WHERE id = 'a'", seconds(0));
    assert_captured(&rig, "t.changed");
    rig_end(&rig);
    rig_begin(&rig, "WAL", schema, RULE(""));
    assert_false(rig_inside(&rig)->rules[0]->usable);
    rig_end(&rig);
}

/* A snapshot tells all there is, once, also when it is interrupted. */
TEST(snapshot)
{
    rig_new(&rig, "WAL");
    app_exec(&rig, TABLE INDEX);
    app_do(&rig,
           "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)"
           " INSERT INTO t SELECT 'k' || i, 0, %lld - i * 60 FROM n",
           seconds(0));
    rig.room = 16;
    rig_open(&rig, RULE("") "start: snapshot\n");
    struct err e = { 0 };
    while (rig.seen_count < 100)
        assert_true(rig_read(&rig, &e) >= 0);
    crash_after_publish();
    rig_settle(&rig);
    size_t distinct = 0;
    for (size_t i = 0; i < rig.seen_count; i++) {
        bool first = true;
        for (size_t k = 0; k < i; k++)
            first = first && !str_eq(rig.seen[i]->id, rig.seen[k]->id);
        distinct += first;
        assert_true(str_eq(rig.seen[i]->type, STR("t.made")));
    }
    assert_int_equal(distinct, 300);
    rig_forget(&rig);
    app_do(&rig, "UPDATE t SET v = 1, updated_at = %lld WHERE id = 'k300'", seconds(0));
    assert_captured(&rig, "t.changed");
    rig_end(&rig);
}

TEST(a_table_that_comes_later)
{
    rig_begin(&rig, "WAL", "CREATE TABLE other(x)", RULE(""));
    app_exec(&rig, TABLE);
    app_do(&rig, "INSERT INTO t VALUES ('a', 0, %lld), ('b', 0, %lld)", seconds(5000), seconds(0));
    assert_captured(&rig, "t.made t.made");
    app_do(&rig, "UPDATE t SET v = 1, updated_at = %lld WHERE id = 'a'", seconds(0));
    assert_captured(&rig, "t.changed");
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inserts_and_updates),
        cmocka_unit_test(within_a_second),
        cmocka_unit_test(committed_late),
        cmocka_unit_test(a_pass_that_takes_longer_than_the_overlap),
        cmocka_unit_test(a_first_pass_in_two_lives),
        cmocka_unit_test(mixed_formats),
        cmocka_unit_test(text_sorts_above_numbers),
        cmocka_unit_test(the_clock_is_set_back),
        cmocka_unit_test(an_hour_that_comes_twice),
        cmocka_unit_test(an_hour_came_twice_meanwhile),
        cmocka_unit_test(times_of_a_zone),
        cmocka_unit_test(a_row_from_the_future),
        cmocka_unit_test(many_rows_of_one_second),
        cmocka_unit_test(after_a_crash),
        cmocka_unit_test(old_rows_are_forgotten),
        cmocka_unit_test(rowids_come_again),
        cmocka_unit_test(rows_of_a_backup),
        cmocka_unit_test(without_a_rowid),
        cmocka_unit_test(snapshot),
        cmocka_unit_test(a_table_that_comes_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
