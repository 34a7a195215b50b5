/* SPDX-License-Identifier: MIT */
/* What the SQLite source remembers: nothing is lost, nothing comes again under another id, whatever the moment of a
 * crash. */
#include <stdio.h>
#include <stdlib.h>
#include "connectors/sqlite/sqlite.h"
#include "tests/support/sqlite_rig.h"
#include "tests/support/metric.h"
#include "tests/support/stderr.h"

#define DIFF                                                                                                                \
    "capture:\n- {name: t, kind: diff, table: t, watch: [a, b], keep: [id, a], columns: {id: value, a: value, b: value},\n" \
    "   types: {insert: t.made, delete: t.gone, a=1: t.on, a: t.a, update: t.changed}}\n"
#define APPEND "capture:\n- {name: log, kind: append, table: log, time: at, types: {insert: log.line}}\n"
#define OPEN                                                                                                           \
    "capture:\n- {name: job, kind: open_row, table: job, done: \"state = 'ok'\", abort_after: 10m,\n"                  \
    "   types: {started: job.started, done: job.done, aborted: job.aborted}}\n"

static struct rig rig;

static void copy_id(char out[64], const struct event *ev)
{
    snprintf(out, 64, "%.*s", STR_ARG(ev->id));
}

/* In an hour that comes twice a row is as old as it can be at least, whichever of the two it is of. */
TEST(an_unfinished_row_of_an_hour_that_comes_twice)
{
    static const char *const utc[] = { "2026-11-01T05:35:00Z", "2026-11-01T06:35:00Z" };
    setenv("TZDIR", TESTS_DIR "/data/zoneinfo", 1);
    for (size_t i = 0; i < 2; i++) {
        int64_t now;
        struct err e = { 0 };
        rig_begin(&rig, "WAL", "CREATE TABLE job(id INTEGER PRIMARY KEY, state, at)",
                  "poll: 10ms\ncapture:\n- {name: job, kind: open_row, table: job, done: \"state = 'ok'\", time: at,"
                  " time_zone: America/New_York, abort_after: 10m,\n"
                  "   types: {started: job.started, done: job.done, aborted: job.aborted}}\n");
        assert_true(clock_parse(str_of(utc[i]), &now));
        clock_fake(clock_mono_ms(), now);
        app_exec(&rig, "INSERT INTO job VALUES (1, 'new', '2026-11-01 01:30:00')");
        for (int k = 0; k < 1000 && rig.seen_count == 0; k++) {
            assert_true(rig_read(&rig, &e) >= 0);
            clock_fake_advance(20);
        }
        assert_types(&rig, "job.started");
        clock_fake_advance(6 * 60000);
        for (int k = 0; k < 1000 && rig.seen_count == 0; k++) {
            assert_true(rig_read(&rig, &e) >= 0);
            clock_fake_advance(20);
        }
        assert_types(&rig, "job.aborted");
        clock_real();
        rig_end(&rig);
    }
    unsetenv("TZDIR");
}

/* A -> B -> A: three states, three events, three ids; by the new value, by the column, or as a plain update. */
TEST(versions)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b)", DIFF);
    app_exec(&rig, "INSERT INTO t VALUES (1, 0, 'x')");
    rig_settle(&rig);
    for (int i = 0; i < 2; i++) {
        app_exec(&rig, "UPDATE t SET a = 1");
        rig_settle(&rig);
        app_exec(&rig, "UPDATE t SET a = 0");
        rig_settle(&rig);
    }
    app_exec(&rig, "UPDATE t SET b = 'y'");
    rig_settle(&rig);
    for (size_t i = 0; i < rig.seen_count; i++)
        for (size_t k = 0; k < i; k++)
            assert_false(str_eq(rig.seen[i]->id, rig.seen[k]->id));
    assert_types(&rig, "t.made t.on t.a t.on t.a t.changed");
    app_exec(&rig, "DELETE FROM t; INSERT INTO t VALUES (2, 'x', NULL)");
    assert_captured(&rig, "t.made t.gone");
    rig_end(&rig);
}

/* A deleted and re-used key is another row, with another id. */
TEST(key_used_again)
{
    char first[64], second[64];
    rig_begin(&rig, "DELETE", "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b)", DIFF);
    app_exec(&rig, "INSERT INTO t VALUES (1, 5, 5)");
    rig_settle(&rig);
    copy_id(first, rig_event(&rig, "t.made", "t/1", 0));
    app_exec(&rig, "DELETE FROM t");
    rig_settle(&rig);
    rig_restart(&rig);
    app_exec(&rig, "INSERT INTO t VALUES (1, 5, 5)");
    rig_settle(&rig);
    copy_id(second, rig_event(&rig, "t.made", "t/1", 1));
    assert_string_not_equal(first, second);
    assert_types(&rig, "t.made t.gone t.made");
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

TEST(same_id_after_crash)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b)", DIFF);
    const char *const steps[] = { "INSERT INTO t VALUES (1, 0, 'x')", "UPDATE t SET a = 7", "DELETE FROM t" };
    for (size_t i = 0; i < 3; i++) {
        app_exec(&rig, steps[i]);
        crash_after_publish();
        rig_settle(&rig);
        assert_int_equal(rig.seen_count, 2);
        assert_true(str_eq(rig.seen[0]->id, rig.seen[1]->id) && str_eq(rig.seen[0]->type, rig.seen[1]->type));
        assert_true(str_eq(rig.seen[0]->data, rig.seen[1]->data));
        rig_forget(&rig);
        rig_restart(&rig);
        assert_captured(&rig, "");
    }
    rig_end(&rig);
}

/* The row moved on between the crash and the restart: another state must not come under the id that may have been
 * sent. */
TEST(other_id_when_row_moved_on)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b)", DIFF);
    app_exec(&rig, "INSERT INTO t VALUES (1, 0, 'x')");
    assert_captured(&rig, "t.made");
    app_exec(&rig, "UPDATE t SET a = 7");
    crash_after_publish();
    app_exec(&rig, "UPDATE t SET a = 0"); /* back to what was confirmed: a receiver of 7 must hear of it */
    rig_settle(&rig);
    assert_false(str_eq(rig.seen[0]->id, rig.seen[1]->id));
    assert_true(rig_has(rig.seen[1], "\"a\":0"));
    assert_types(&rig, "t.a t.a");
    app_exec(&rig, "DELETE FROM t");
    crash_after_publish();
    app_exec(&rig, "INSERT INTO t VALUES (1, 0, 'x')");
    assert_captured(&rig, "t.gone t.made");
    app_exec(&rig, "INSERT INTO t VALUES (2, 1, 1)");
    crash_after_publish();
    app_exec(&rig, "DELETE FROM t WHERE id = 2");
    assert_captured(&rig, "t.made t.on t.gone");
    rig_restart(&rig);
    assert_captured(&rig, "");
    rig_end(&rig);
}

/* As crash_after_publish, but it dies before the events are sent. */
static void crash_before_publish(void)
{
    crash_after_publish();
    rig_forget(&rig);
}

/* Two crashes on end: what the first may have told is not forgotten for what the second was about to tell. */
TEST(a_crash_while_an_earlier_event_is_in_doubt)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b)", DIFF);
    app_exec(&rig, "INSERT INTO t VALUES (1, 0, 'x'), (2, 0, 'x'), (3, 0, 'x')");
    assert_captured(&rig, "t.made t.made t.made");

    app_exec(&rig, "UPDATE t SET a = 7 WHERE id = 1");
    crash_after_publish();
    assert_types(&rig, "t.a");
    app_exec(&rig, "DELETE FROM t WHERE id = 1");
    crash_before_publish();
    crash_before_publish();
    rig_settle(&rig);
    assert_true(rig_has(rig.seen[0], "\"a\":7"));
    assert_types(&rig, "t.gone");

    app_exec(&rig, "UPDATE t SET a = 7 WHERE id = 2");
    crash_after_publish();
    assert_types(&rig, "t.a");
    app_exec(&rig, "UPDATE t SET a = 0 WHERE id = 2");
    crash_before_publish();
    crash_before_publish();
    rig_settle(&rig);
    assert_true(rig_has(rig.seen[0], "\"a\":0"));
    assert_types(&rig, "t.a");

    app_exec(&rig, "DELETE FROM t WHERE id = 3");
    crash_after_publish();
    assert_types(&rig, "t.gone");
    app_exec(&rig, "INSERT INTO t VALUES (3, 0, 'x')");
    crash_before_publish();
    crash_before_publish();
    assert_captured(&rig, "t.made");

    app_exec(&rig, "INSERT INTO t VALUES (4, 0, 'x')");
    crash_after_publish();
    assert_types(&rig, "t.made");
    app_exec(&rig, "DELETE FROM t WHERE id = 4");
    crash_before_publish();
    crash_before_publish();
    assert_captured(&rig, "t.gone");

    rig_restart(&rig);
    assert_captured(&rig, "");
    rig_end(&rig);
}

TEST(append_after_crash)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, at, x)", APPEND);
    rig.room = 3;
    app_exec(&rig, "INSERT INTO log(x) VALUES (1), (2), (3), (4), (5), (6), (7)");
    crash_after_publish();
    rig_settle(&rig);
    assert_int_equal(rig.seen_count, 3 + 7);
    for (size_t i = 0; i < 3; i++)
        assert_true(str_eq(rig.seen[i]->id, rig.seen[i + 3]->id));
    assert_true(str_eq(rig.seen[9]->subject, STR("log/7")));
    rig_forget(&rig);
    rig_restart(&rig);
    assert_captured(&rig, "");
    rig_end(&rig);
}

/* A crash in the middle of the silent first pass repeats it: no events, none skipped, nothing stale left behind. */
TEST(crash_in_baseline)
{
    rig_new(&rig, "DELETE");
    app_exec(
        &rig,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b);"
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) INSERT INTO t SELECT i, i, "
        "i FROM n");
    rig_open(&rig, DIFF);
    struct err e = { 0 };
    while (!rig_state(&rig, "t/row/i100").at)
        assert_true(rig_read(&rig, &e) >= 0);
    assert_true(!rig_state(&rig, "t/ready").at);
    app_exec(&rig, "DELETE FROM t WHERE id <= 50; UPDATE t SET a = 0 WHERE id = 60");
    rig_restart(&rig);
    assert_captured(&rig, "");
    assert_true(rig_state(&rig, "t/ready").at != NULL);
    assert_true(!rig_state(&rig, "t/row/i50").at && rig_state(&rig, "t/row/i3000").at);
    rig_restart(&rig);
    app_exec(&rig, "DELETE FROM t WHERE id = 60");
    rig_settle(&rig);
    assert_true(str_eq(rig.seen[0]->data, STR("{\"id\":60,\"a\":0}")));
    assert_types(&rig, "t.gone");
    rig_end(&rig);
}

/* A snapshot that is interrupted goes on; it may repeat (same id), it does not miss. */
TEST(crash_in_snapshot)
{
    rig_new(&rig, "WAL");
    app_exec(
        &rig,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b);"
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 700) INSERT INTO t SELECT i, -i, i "
        "FROM n");
    rig_open(&rig, DIFF "start: snapshot\n");
    struct err e = { 0 };
    while (rig.seen_count < 256)
        assert_true(rig_read(&rig, &e) >= 0);
    crash_after_publish();
    rig_settle(&rig);
    size_t repeats = 0;
    for (size_t i = 0; i < rig.seen_count; i++)
        for (size_t k = 0; k < i; k++)
            repeats += str_eq(rig.seen[i]->id, rig.seen[k]->id);
    assert_int_equal(rig.seen_count, 700 + repeats);
    assert_true(repeats > 0);
    rig_end(&rig);
}

/* Without AUTOINCREMENT the top ids come again after a delete. */
TEST(ids_start_again)
{
    char first[64];
    rig_begin(&rig, "DELETE", "CREATE TABLE log(id INTEGER PRIMARY KEY, at, x)", APPEND);
    app_exec(&rig, "INSERT INTO log VALUES (1, 10, 'a'), (2, 20, 'b'), (3, 30, 'c')");
    rig_settle(&rig);
    copy_id(first, rig_event(&rig, "log.line", "log/3", 0));
    rig_forget(&rig);
    app_exec(&rig, "DELETE FROM log WHERE id >= 2");
    assert_captured(&rig, "");
    app_exec(&rig, "INSERT INTO log(at, x) VALUES (40, 'd'), (50, 'e')");
    rig_settle(&rig);
    assert_int_equal(rig_count(&rig, "log.line", "log/2"), 1);
    const struct event *again = rig_event(&rig, "log.line", "log/3", 0);
    assert_true(rig_has(again, "\"x\":\"e\"") && !str_eq(again->id, str_of(first)));
    assert_types(&rig, "log.line log.line");
    rig_restart(&rig);
    assert_captured(&rig, "");
    rig_end(&rig);
}

/* A cursor on rowid with another key: the key at the cursor is compared. */
TEST(rowid_with_key)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE log(id TEXT PRIMARY KEY, at, x)",
              "capture:\n- {name: log, kind: append, table: log, cursor: rowid, subject: 'l/{id}/{x}', types: {\"*\": "
              "log.line}}\n");
    app_exec(&rig, "INSERT INTO log VALUES ('u1', 1, 'a'), ('u2', 1, 'b')");
    rig_settle(&rig);
    assert_int_equal(rig_count(&rig, "log.line", "l/u2/b"), 1);
    rig_forget(&rig);
    app_exec(&rig, "DELETE FROM log WHERE id = 'u2'; INSERT INTO log VALUES ('u3', 1, 'c'), ('u4', 1, 'd')");
    rig_settle(&rig);
    assert_int_equal(rig_count(&rig, "log.line", "l/u3/c"), 1);
    assert_int_equal(rig_count(&rig, "log.line", "l/u4/d"), 1);
    assert_int_equal(rig.seen_count, 2);
    rig_end(&rig);
}

/* Rows come and go at the end for long, so that more of them were told than are remembered: what lies before is known still. */
static void newest_rows_change(const char *type, const char *key, size_t more)
{
    char schema[120], insert[120];
    snprintf(schema, sizeof schema, "CREATE TABLE log(id %s PRIMARY KEY, at)", type);
    snprintf(insert, sizeof insert, "INSERT INTO log VALUES (%s, abs(random()))", key);
    rig_begin(&rig, "DELETE", schema, APPEND);
    for (int i = 0; i < 10; i++)
        app_exec(&rig, insert);
    rig_settle(&rig);
    for (int i = 0; i < 2 * RULE_STORED; i++) {
        app_exec(&rig, "DELETE FROM log WHERE rowid = (SELECT max(rowid) FROM log)");
        app_exec(&rig, insert);
        rig_settle(&rig);
    }
    rig_close(&rig);
    app_exec(&rig, "DELETE FROM log WHERE rowid > 6");
    for (size_t i = 0; i < more; i++)
        app_exec(&rig, insert);
    rig_open(&rig, APPEND);
    rig_forget(&rig);
    rig_settle(&rig);
    assert_int_equal(rig.seen_count, more);
    rig_end(&rig);
}

TEST(newest_rows_come_and_go_for_long)
{
    newest_rows_change("TEXT", "hex(randomblob(8))", 5);
    newest_rows_change("INTEGER", "NULL", 3); /* a number that has come again is a row that was changed */
}

TEST(open_rows)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE job(id TEXT PRIMARY KEY, state)", OPEN);
    app_exec(&rig, "INSERT INTO job VALUES ('a', 'new'), ('b', 'ok'), ('c', NULL)");
    assert_captured(&rig, "job.started job.done job.started");
    rig_restart(&rig);
    app_exec(&rig, "UPDATE job SET state = 'running'");
    assert_captured(&rig, "");
    app_exec(&rig, "UPDATE job SET state = 'ok' WHERE id = 'c'");
    crash_after_publish();
    rig_settle(&rig);
    assert_true(str_eq(rig.seen[0]->id, rig.seen[1]->id));
    assert_types(&rig, "job.done job.done");
    app_exec(&rig, "DELETE FROM job");
    assert_captured(&rig, "job.aborted");
    assert_true(!rig_state(&rig, "job/open/ta").at);
    rig_end(&rig);
}

static void assert_ids_differ(void)
{
    for (size_t i = 0; i < rig.seen_count; i++)
        for (size_t k = 0; k < i; k++)
            assert_false(str_eq(rig.seen[i]->id, rig.seen[k]->id));
    rig_forget(&rig);
}

/* A row that takes the place of one with the same key is another: its events have ids of their own. */
TEST(replaced_rows)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE log(id TEXT PRIMARY KEY, at)", APPEND);
    for (int i = 0; i < 3; i++) {
        app_do(&rig, "INSERT OR REPLACE INTO log VALUES ('m', %d)", i);
        rig_settle(&rig);
        app_do(&rig, "INSERT INTO log VALUES ('o%d', 0)", i);
        rig_settle(&rig);
    }
    app_exec(&rig, "INSERT INTO log VALUES ('m2', 1)");
    rig_settle(&rig);
    app_exec(&rig, "DELETE FROM log WHERE id = 'm2'");
    rig_settle(&rig);
    app_exec(&rig, "INSERT INTO log VALUES ('m2', 2)"); /* on the same rowid */
    rig_settle(&rig);
    assert_int_equal(rig.seen_count, 8);
    assert_ids_differ();
    app_exec(&rig, "INSERT OR REPLACE INTO log VALUES ('m', 9)");
    crash_after_publish();
    rig_settle(&rig);
    assert_int_equal(rig.seen_count, 2);
    assert_true(str_eq(rig.seen[0]->id, rig.seen[1]->id));
    rig_end(&rig);
}

/* The same of open rows, whatever the key; the end of a row has the id that its own beginning gives it. */
static void open_rows_again(const char *type, const char *key)
{
    char schema[120];
    snprintf(schema, sizeof schema, "CREATE TABLE job(id %s PRIMARY KEY, state)", type);
    rig_begin(&rig, "DELETE", schema, OPEN);
    for (int i = 0; i < 3; i++) {
        app_do(&rig, "INSERT INTO job VALUES (%s, 'new')", key);
        rig_settle(&rig);
        if (i == 1)
            rig_close(&rig);
        app_exec(&rig, "DELETE FROM job");
        if (i == 1)
            rig_open(&rig, OPEN);
        rig_settle(&rig);
    }
    assert_int_equal(rig_count(&rig, "job.started", NULL), 3);
    assert_int_equal(rig_count(&rig, "job.aborted", NULL), 3);
    assert_ids_differ();
    rig_end(&rig);
}

TEST(open_rows_come_again)
{
    open_rows_again("INTEGER", "1");
    open_rows_again("TEXT", "'a'");
}

/* An open row that an earlier version kept, without its epoch and rowid. */
TEST(open_rows_of_an_earlier_version)
{
    rig_new(&rig, "DELETE");
    app_exec(&rig, "CREATE TABLE job(id INTEGER PRIMARY KEY, state); INSERT INTO job VALUES (1, 'new')");
    rig.state.at = mem_grow(NULL, 3, sizeof *rig.state.at);
    rig.state.count = 3;
    rig.state.at[0] = (struct rig_pair){ str_dup(STR("job/ready")), str_dup(STR("1")), 1, false };
    rig.state.at[1] = (struct rig_pair){ str_dup(STR("job/cursor")), str_dup(STR("+2,0,0,0,0 i1i1")), 15, false };
    char open[32];
    snprintf(open, sizeof open, "%lld 0", (long long)clock_wall_ms());
    rig.state.at[2] = (struct rig_pair){ str_dup(STR("job/open/i1")), str_dup(str_of(open)), strlen(open), false };
    rig_open(&rig, OPEN);
    assert_captured(&rig, "");
    rig_restart(&rig);
    app_exec(&rig, "UPDATE job SET state = 'ok'");
    assert_captured(&rig, "job.done");
    assert_false(rig_state(&rig, "job/open/i1").at);
    rig_end(&rig);
}

/* An open row is overdue and its table is not there: no reason to look again and again. */
TEST(open_rows_without_a_table)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE job(id TEXT PRIMARY KEY, state)", OPEN);
    app_exec(&rig, "INSERT INTO job VALUES ('a', 'new')");
    assert_captured(&rig, "job.started");
    app_exec(&rig, "ALTER TABLE job RENAME TO away");
    assert_captured(&rig, "");
    struct sqlite_source *s = rig_inside(&rig);
    rows_find(&s->rules[0]->rows, STR("ta"))->version = 1;
    uint32_t passes = s->pass.number;
    struct err e = { 0 };
    for (int i = 0; i < 10; i++)
        assert_int_equal(rig_read(&rig, &e), 0);
    assert_int_equal(s->pass.number, passes);
    app_exec(&rig, "ALTER TABLE away RENAME TO job");
    assert_captured(&rig, "job.aborted");
    rig_end(&rig);
}

/* Of the newest rows only: what falls out of the window is no delete, what comes back into it no insert. */
TEST(window)
{
    rig_begin(
        &rig, "DELETE", "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a)",
        "capture:\n- {name: t, kind: diff, table: t, watch: [a], last: 3, types: {insert: t.made, delete: t.gone, "
        "update: t.changed}}\n");
    app_exec(&rig, "INSERT INTO t(a) VALUES (1), (2), (3)");
    assert_captured(&rig, "t.made t.made t.made");
    app_exec(&rig, "INSERT INTO t(a) VALUES (4)");
    assert_captured(&rig, "t.made");
    assert_true(!rig_state(&rig, "t/row/i1").at && rig_state(&rig, "t/row/i2").at);
    app_exec(&rig, "UPDATE t SET a = 0 WHERE id IN (1, 3)");
    assert_captured(&rig, "t.changed");
    app_exec(&rig, "DELETE FROM t WHERE id IN (1, 4)");
    rig_settle(&rig);
    assert_int_equal(rig_count(&rig, "t.gone", "t/4"), 1);
    assert_types(&rig, "t.gone");
    rig_restart(&rig);
    assert_captured(&rig, "");
    rig_end(&rig);
}

static int64_t of_rule(const char *name, const char *rule)
{
    return metric_value(metric_named(name, LABELS("app", rule)));
}

/* A first look that takes long says now and then how far it is; what each rule read and told is counted. */
TEST(how_far_the_first_look_is)
{
    struct err e = { 0 };
    rig_new(&rig, "DELETE");
    app_exec(&rig, "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, state);"
                   "CREATE TABLE progress(id INTEGER PRIMARY KEY AUTOINCREMENT, a);"
                   "INSERT INTO progress(a) VALUES (1), (2), (3), (4), (5), (6), (7), (8);"
                   "INSERT INTO t(state) VALUES ('new'), ('ok'), ('new')");
    rig.room = 1;
    rig_open(&rig, "start: snapshot\ncapture:\n"
                   "- {name: progress, kind: append, table: progress, types: {insert: p.made}}\n"
                   "- {name: unfinished, kind: open_row, table: t, done: \"state = 'ok'\", abort_after: 1h,"
                   " types: {started: t.started, done: t.done}}\n");
    clock_fake(clock_mono_ms(), clock_wall_ms());
    stderr_catch();
    for (int i = 0; i < 40 && rig.seen_count < 8; i++) {
        assert_true(rig_read(&rig, &e) >= 0);
        clock_fake_advance(4000);
    }
    const char *said = stderr_caught();
    assert_says(said, "msg=\"reading what is there\" source=app rule=progress rows=");
    assert_null(strstr(said, "msg=watching"));
    clock_real();
    rig_settle(&rig);
    assert_int_equal(of_rule("aqueduct_sqlite_rule_rows_read_total", "progress"), 8);
    assert_int_equal(of_rule("aqueduct_sqlite_rule_events_total", "progress"), 8);
    assert_int_equal(of_rule("aqueduct_sqlite_rule_events_total", "unfinished"), 3);
    assert_int_equal(of_rule("aqueduct_sqlite_rule_open_rows", "unfinished"), 2);
    assert_true(of_rule("aqueduct_sqlite_rule_last_change_timestamp_seconds", "unfinished") > 0);
    app_exec(&rig, "UPDATE t SET state = 'ok' WHERE id = 1");
    rig_settle(&rig);
    assert_int_equal(of_rule("aqueduct_sqlite_rule_open_rows", "unfinished"), 1);
    rig_end(&rig);
}

/* How long it took until a rule's events were stored is observed once for each look that found some, of that rule alone. */
TEST(how_long_a_rule_takes_until_it_is_stored)
{
    struct buf page = buf_new(4 << 20);
    rig_begin(&rig, "WAL", "CREATE TABLE t(id INTEGER PRIMARY KEY, a); CREATE TABLE u(id INTEGER PRIMARY KEY, a);",
              "capture:\n"
              "- {name: busy, kind: append, table: t, types: {insert: t.made}}\n"
              "- {name: quiet, kind: append, table: u, types: {insert: u.made}}\n");
    for (int i = 0; i < 2; i++) {
        app_exec(&rig, "INSERT INTO t(a) VALUES (1), (2)");
        rig_settle(&rig);
    }
    metrics_write(&page);
    assert_says(buf_c(&page), "aqueduct_sqlite_rule_ack_seconds_count{source=\"app\",rule=\"busy\"} 2\n");
    assert_says(buf_c(&page), "aqueduct_sqlite_rule_ack_seconds_count{source=\"app\",rule=\"quiet\"} 0\n");
    buf_free(&page);
    rig_end(&rig);
}

/* Rows that the window does not reach are said to be there, as their deletes are not told. */
TEST(rows_below_the_window)
{
    static const char rule[] = "capture:\n- {name: t, kind: diff, table: t, watch: [a], last: 3,"
                               " types: {update: t.changed, delete: t.gone}}\n";
    for (int rows = 3; rows <= 4; rows++) {
        rig_new(&rig, "DELETE");
        app_do(&rig,
               "CREATE TABLE t(id INTEGER PRIMARY KEY, a);"
               "INSERT INTO t SELECT value, 1 FROM json_each('[1,2,3,4]') LIMIT %d",
               rows);
        stderr_catch();
        rig_open(&rig, rule);
        assert_captured(&rig, "");
        assert_int_equal(strstr(stderr_caught(),
                                "older rows than `last` reaches are not looked at: what changes in them is "
                                "not told, nor their deletes")
                             != NULL,
                         rows > 3);
        app_exec(&rig, "DELETE FROM t");
        assert_captured(&rig, "t.gone t.gone t.gone");
        rig_end(&rig);
    }
}

/* What lies below the window is counted, and so is what is deleted there: also what goes while the window moves past it. */
TEST(deletes_below_the_window_are_counted)
{
    rig_begin(&rig, "WAL",
              "CREATE TABLE t(id INTEGER PRIMARY KEY, a);"
              "INSERT INTO t(a) SELECT value FROM json_each('[1,2,3,4,5,6,7,8,9,10]');",
              "capture:\n- {name: window, kind: diff, table: t, watch: [a], last: 3,"
              " types: {update: t.changed, delete: t.gone}}\n");
    assert_int_equal(of_rule("aqueduct_sqlite_rule_rows_below_last", "window"), 7);
    app_exec(&rig, "DELETE FROM t WHERE id IN (1, 2, 10)");
    stderr_catch();
    assert_captured(&rig, "t.gone");
    assert_says(stderr_caught(), "counted as unseen_deletes");
    assert_int_equal(of_rule("aqueduct_sqlite_rule_rows_below_last", "window"), 5);
    assert_int_equal(of_rule("aqueduct_sqlite_rule_unseen_deletes_total", "window"), 2);
    app_exec(&rig, "INSERT INTO t(id, a) VALUES (11, 11), (12, 12)"); /* 8 and 9 are below it now */
    assert_captured(&rig, "");
    assert_int_equal(of_rule("aqueduct_sqlite_rule_rows_below_last", "window"), 7);
    app_exec(&rig, "DELETE FROM t WHERE id = 11; INSERT INTO t(id, a) VALUES (14, 14)");
    assert_captured(&rig, "");
    assert_int_equal(of_rule("aqueduct_sqlite_rule_rows_below_last", "window"), 7);
    assert_int_equal(of_rule("aqueduct_sqlite_rule_unseen_deletes_total", "window"), 3);
    rig_end(&rig);
}

/* More than one look can count. */
TEST(what_lies_below_the_window_is_counted_piece_by_piece)
{
    rig_begin(
        &rig, "WAL",
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a);"
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20001) INSERT INTO t SELECT i, i FROM n;",
        "capture:\n- {name: pieces, kind: diff, table: t, watch: [a], last: 1, types: {delete: t.gone}}\n");
    for (int looks = 1; looks < 6; looks++) {
        assert_int_equal(of_rule("aqueduct_sqlite_rule_rows_below_last", "pieces"), looks > 2 ? 20000 : looks * 8192);
        app_do(&rig, "UPDATE t SET a = -%d WHERE id = 20001", looks);
        assert_captured(&rig, "");
    }
    app_exec(&rig, "DELETE FROM t WHERE id <= 20000");
    assert_captured(&rig, "");
    assert_int_equal(of_rule("aqueduct_sqlite_rule_rows_below_last", "pieces"), 0);
    assert_int_equal(of_rule("aqueduct_sqlite_rule_unseen_deletes_total", "pieces"), 20000);
    rig_end(&rig);
}

/* Room for one emission at a time, and one row per statement: the same events in the same order. */
TEST(small_steps)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b)", DIFF "batch: 1\n");
    rig.room = 1;
    app_exec(&rig, "INSERT INTO t VALUES (1, 1, 1), (2, 2, 2), (3, 3, 3)");
    assert_captured(&rig, "t.made t.on t.made t.made");
    app_exec(&rig, "UPDATE t SET a = 1, b = 9 WHERE id = 2; DELETE FROM t WHERE id IN (1, 3)");
    assert_captured(&rig, "t.on t.changed t.gone t.gone");
    rig_restart(&rig);
    assert_captured(&rig, "");
    rig_end(&rig);
}

/* One more watched column: the rows are taken as they are, no storm of updates. */
TEST(watch_changed)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b)",
              "capture:\n- {name: t, kind: diff, table: t, watch: [a], types: {update: t.changed, delete: t.gone}}\n");
    app_exec(&rig, "INSERT INTO t VALUES (1, 1, 1), (2, 2, 2)");
    assert_captured(&rig, "");
    rig_close(&rig);
    app_exec(&rig, "DELETE FROM t WHERE id = 1");
    rig_open(
        &rig,
        "capture:\n- {name: t, kind: diff, table: t, watch: [a, b], types: {update: t.changed, delete: t.gone}}\n");
    assert_captured(&rig, "t.gone");
    app_exec(&rig, "UPDATE t SET b = 7");
    assert_captured(&rig, "t.changed");
    rig_end(&rig);
}

#define KEEP                                                                                                           \
    "capture:\n- {name: t, kind: diff, table: t, watch: [a], keep: [id, status],\n"                                    \
    "   types: {insert: t.made, delete: t.gone, update: t.changed}}\n"

/* What a delete still tells is as it was last, also where no watched column changed with it. */
TEST(kept_columns_follow)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE t(id INTEGER PRIMARY KEY, a, status)", KEEP);
    app_exec(&rig, "INSERT INTO t VALUES (1, 1, 'new'), (2, 1, 'new'), (3, 1, 'new')");
    assert_captured(&rig, "t.made t.made t.made");
    app_exec(&rig, "UPDATE t SET status = 'ended' WHERE id < 3");
    assert_captured(&rig, "");
    rig_restart(&rig);
    app_exec(&rig, "UPDATE t SET status = 'closed' WHERE id = 2");
    assert_captured(&rig, "");
    app_exec(&rig, "DELETE FROM t");
    rig_settle(&rig);
    static const char *const last[] = { "ended", "closed", "new" };
    for (int i = 0; i < 3; i++) {
        char subject[8];
        snprintf(subject, sizeof subject, "t/%d", i + 1);
        assert_true(rig_has(rig_event(&rig, "t.gone", subject, 0), last[i]));
    }
    rig_end(&rig);
}

/* An update may have been stored when the daemon died, and a kept column changes before it comes back: no other id. */
TEST(kept_columns_and_a_crash)
{
    char id[64];
    rig_begin(&rig, "DELETE", "CREATE TABLE t(id INTEGER PRIMARY KEY, a, status)", KEEP);
    app_exec(&rig, "INSERT INTO t VALUES (1, 1, 'new')");
    assert_captured(&rig, "t.made");
    app_exec(&rig, "UPDATE t SET a = 2");
    crash_after_publish();
    copy_id(id, rig.seen[0]);
    rig_forget(&rig);
    app_exec(&rig, "UPDATE t SET status = 'ended'");
    rig_settle(&rig);
    assert_true(str_eq(rig_event(&rig, "t.changed", "t/1", 0)->id, str_of(id)));
    assert_types(&rig, "t.changed");
    app_exec(&rig, "DELETE FROM t");
    rig_settle(&rig);
    assert_true(rig_has(rig_event(&rig, "t.gone", "t/1", 0), "ended"));
    rig_end(&rig);
}

/* Rows that an earlier version stored, without a hash of what is kept: a change meanwhile is an update all the same. */
TEST(kept_columns_of_an_earlier_version)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE t(id INTEGER PRIMARY KEY, a, status)", KEEP);
    app_exec(&rig, "INSERT INTO t VALUES (1, 1, 'new'), (2, 1, 'new')");
    assert_captured(&rig, "t.made t.made");
    for (size_t i = 0; i < rig.state.count; i++) {
        if (strncmp(rig.state.at[i].key, "t/row/", 6) != 0)
            continue;
        char *comma = strchr(rig.state.at[i].value, ','), *space = strchr(rig.state.at[i].value + 2, ' ');
        assert_true(comma && space && comma < space);
        memmove(comma, space, strlen(space) + 1);
        rig.state.at[i].value_n = strlen(rig.state.at[i].value);
    }
    rig_close(&rig);
    app_exec(&rig, "UPDATE t SET a = 2, status = 'ended' WHERE id = 1");
    rig_open(&rig, KEEP);
    assert_captured(&rig, "t.changed");
    app_exec(&rig, "UPDATE t SET status = 'closed' WHERE id = 2");
    assert_captured(&rig, "");
    app_exec(&rig, "DELETE FROM t");
    rig_settle(&rig);
    assert_true(rig_has(rig_event(&rig, "t.gone", "t/1", 0), "ended"));
    assert_true(rig_has(rig_event(&rig, "t.gone", "t/2", 0), "closed"));
    rig_end(&rig);
}

#define STATES                                                                                                           \
    "capture:\n- {name: t, kind: diff, table: t, watch: [pinned, role, state, rated, title],\n"                          \
    "   types: {insert: t.made, pinned=1: t.pinned, role=user: t.is_user, role=admin: t.is_admin, state=ended: t.ended," \
    " rated: t.rated, title: t.titled, update: t.changed}}\n"

/* What a row's watched columns say when it is first seen is told, once, but not what every new row has. */
TEST(states_at_first_sight)
{
    rig_begin(&rig, "DELETE",
              "CREATE TABLE t(id INTEGER PRIMARY KEY, pinned BOOLEAN DEFAULT false, role TEXT NOT NULL DEFAULT 'user',"
              " state TEXT NOT NULL, rated BOOLEAN, title TEXT NOT NULL)",
              STATES);
    app_exec(&rig, "INSERT INTO t(id, state, title) VALUES (1, 'new', 'a')");
    assert_captured(&rig, "t.made");
    app_exec(&rig, "INSERT INTO t VALUES (2, 1, 'admin', 'ended', 1, 'a')");
    rig_settle(&rig);
    assert_int_equal(rig_attribute(rig_event(&rig, "t.pinned", "t/2", 0), "changed").n, 0);
    assert_types(&rig, "t.made t.pinned t.is_admin t.ended"); /* rated is told by t.made */
    rig_restart(&rig);
    app_exec(&rig, "UPDATE t SET title = 'b' WHERE id = 2");
    assert_captured(&rig, "t.titled");
    app_exec(&rig, "INSERT INTO t VALUES (3, 0, 'user', 'new', 1, 'a')");
    crash_after_publish();
    assert_captured(&rig, "t.made t.made");
    rig_end(&rig);
}

/* Written and rated while the daemon was down; of a rule that tells no new rows. */
TEST(states_of_rows_found_at_a_start)
{
    rig_begin(
        &rig, "DELETE", "CREATE TABLE t(id INTEGER PRIMARY KEY, rated BOOLEAN, text TEXT NOT NULL)",
        "capture:\n- {name: t, kind: diff, table: t, watch: [rated, text], types: {rated: t.rated, text: t.edited}}\n");
    rig_close(&rig);
    app_exec(&rig, "INSERT INTO t VALUES (1, 1, 'a'), (2, NULL, 'b'), (3, 0, 'c')");
    char *yaml = strdup(rig.yaml);
    rig_open(&rig, yaml);
    free(yaml);
    assert_captured(&rig, "t.rated t.rated");
    app_exec(&rig, "UPDATE t SET rated = 1, text = 'd' WHERE id = 2");
    assert_captured(&rig, "t.rated t.edited");
    rig_end(&rig);
}

/* A snapshot tells them, and a start from now does not. */
TEST(states_at_the_first_start)
{
    for (int i = 0; i < 2; i++) {
        rig_new(&rig, "DELETE");
        app_exec(&rig, "CREATE TABLE t(id INTEGER PRIMARY KEY, pinned DEFAULT 0); INSERT INTO t VALUES (1, 1), (2, 0)");
        char yaml[256];
        snprintf(yaml, sizeof yaml, "start: %s\n%s", i ? "snapshot" : "now",
                 "capture:\n- {name: t, kind: diff, table: t, watch: [pinned],"
                 " types: {insert: t.made, pinned=1: t.pinned}}\n");
        rig_open(&rig, yaml);
        assert_captured(&rig, i ? "t.made t.pinned t.made" : "");
        rig_restart(&rig);
        assert_captured(&rig, "");
        rig_end(&rig);
    }
}

/* The identity is stored before anything else, so a copy of the file elsewhere, with the same state, keeps its ids. */
TEST(identity_first)
{
    rig_new(&rig, "DELETE");
    app_exec(&rig, "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b)");
    rig_open(&rig, DIFF);
    struct emission out[4];
    struct err e = { 0 };
    assert_int_equal(sqlite_source.read(rig.s, rig.wake, out, 4, &e), 1);
    assert_null(out[0].event);
    assert_true(out[0].change_count == 1 && str_eq(out[0].changes[0].key, STR("identity")));
    wake_up(rig.wake);
    struct emission more[4];
    assert_int_equal(sqlite_source.read(rig.s, rig.wake, more, 4, &e), 0); /* not before it is stored */
    wake_clear(rig.wake);
    sqlite_source.settle(rig.s, out[0].tag, OUTCOME_STORED, "");
    assert_captured(&rig, "");
    rig_end(&rig);
}

TEST(broken_state_is_refused)
{
    rig_new(&rig, "DELETE");
    static const char *const bad[][2] = {
        { "identity", "x" },         { "versions", "-1" },
        { "nowhere", "1" },          { "t/what", "1" },
        { "t/row/i1", "1" },         { "t/row/i1", "x 1 " },
        { "t/row/i1", "1 zz " },     { "t/cursor", "nothex i1" },
        { "t/cursor", "12" },        { "t/cursor", "+2,0,0" },
        { "t/cursor", "+9,0,0 i1" }, { "t/cursor", "+2,-1,0 i1" },
        { "t/cursor", "+0,0,0 i1" }, { "t/epoch", "" },
        { "t/open/i1", "5" },        { "t/top", "x" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = { 0 };
        rig_open(&rig, NULL);
        bool good = sqlite_source.restore(rig.s, str_of(bad[i][0]), str_of(bad[i][1]), false, &e);
        rig_close(&rig);
        if (good)
            fail_msg("%s = %s was taken", bad[i][0], bad[i][1]);
        assert_non_null(strstr(e.text, bad[i][0]));
    }
    rig_end(&rig);
}

/* While a large state is restored the file is seen already. */
TEST(ready_before_the_state_is_restored)
{
    struct err why;
    rig_begin(&rig, "DELETE", "CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 'a');",
              "capture:\n- {name: t, kind: diff, table: t, watch: [v], types: {insert: t.made, update: t.changed}}\n");
    app_exec(&rig, "UPDATE t SET v = 'b'");
    rig_restart(&rig);
    assert_true(sqlite_source.ready(rig.s, &why));
    assert_true(rig_inside(&rig)->restoring);
    assert_captured(&rig, "t.changed");
    assert_false(rig_inside(&rig)->restoring);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unfinished_row_of_an_hour_that_comes_twice),
        cmocka_unit_test(versions),
        cmocka_unit_test(key_used_again),
        cmocka_unit_test(same_id_after_crash),
        cmocka_unit_test(a_crash_while_an_earlier_event_is_in_doubt),
        cmocka_unit_test(other_id_when_row_moved_on),
        cmocka_unit_test(append_after_crash),
        cmocka_unit_test(crash_in_baseline),
        cmocka_unit_test(crash_in_snapshot),
        cmocka_unit_test(ids_start_again),
        cmocka_unit_test(rowid_with_key),
        cmocka_unit_test(newest_rows_come_and_go_for_long),
        cmocka_unit_test(open_rows),
        cmocka_unit_test(replaced_rows),
        cmocka_unit_test(open_rows_come_again),
        cmocka_unit_test(open_rows_of_an_earlier_version),
        cmocka_unit_test(open_rows_without_a_table),
        cmocka_unit_test(window),
        cmocka_unit_test(how_far_the_first_look_is),
        cmocka_unit_test(how_long_a_rule_takes_until_it_is_stored),
        cmocka_unit_test(rows_below_the_window),
        cmocka_unit_test(deletes_below_the_window_are_counted),
        cmocka_unit_test(what_lies_below_the_window_is_counted_piece_by_piece),
        cmocka_unit_test(small_steps),
        cmocka_unit_test(watch_changed),
        cmocka_unit_test(kept_columns_follow),
        cmocka_unit_test(kept_columns_and_a_crash),
        cmocka_unit_test(kept_columns_of_an_earlier_version),
        cmocka_unit_test(states_at_first_sight),
        cmocka_unit_test(states_of_rows_found_at_a_start),
        cmocka_unit_test(states_at_the_first_start),
        cmocka_unit_test(identity_first),
        cmocka_unit_test(broken_state_is_refused),
        cmocka_unit_test(ready_before_the_state_is_restored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
