/* SPDX-License-Identifier: MIT */
/* Watching changes nothing for the application: when nothing happens the source lets go of the database, and takes it up
 * again when something does. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/support/sqlite_rig.h"

#define SCHEMA "CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, x)"
#define APPEND "capture:\n- {name: log, kind: append, table: log, types: {insert: log.line}}\n"

static struct rig rig;

static bool let_go(void)
{
    return rig_inside(&rig)->idle.let_go;
}

static void read_on(void)
{
    struct err e = { 0 };
    if (rig_read(&rig, &e) < 0)
        fail_msg("%s", e.text);
}

/* Until the source has closed the database. */
static void wait_until_let_go(void)
{
    rig_settle(&rig);
    while (!let_go())
        read_on();
    assert_null(rig_inside(&rig)->db);
}

static bool there(const char *ending)
{
    char path[256];
    snprintf(path, sizeof path, "%s%s", rig.path, ending);
    return access(path, F_OK) == 0;
}

/* A backup of the one file, as people make it. */
static int64_t rows_of_a_copy(void)
{
    char command[512], path[256];
    snprintf(path, sizeof path, "%s/copy.db", rig.folder);
    snprintf(command, sizeof command, "cp '%s' '%s'", rig.path, path);
    assert_int_equal(system(command), 0);
    sqlite3 *db;
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT count(*) FROM log", -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t rows = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return rows;
}

/* The application's last close takes its WAL away, and its one file is whole. */
TEST(the_last_close_is_the_applications)
{
    rig_begin(&rig, "WAL", SCHEMA, APPEND);
    app_exec(&rig, "INSERT INTO log(x) VALUES (1), (2)");
    assert_captured(&rig, "log.line log.line");
    wait_until_let_go();
    assert_true(there("-wal"));
    app_close(&rig);
    assert_false(there("-wal"));
    assert_int_equal(rows_of_a_copy(), 2);
    assert_captured(&rig, "");
    app_open(&rig, "WAL");
    app_exec(&rig, "INSERT INTO log(x) VALUES (3)");
    assert_captured(&rig, "log.line");
    rig_end(&rig);
}

/* A commit to a WAL may be seen only after its file was last written: so there is one more look, and only one. */
TEST(a_second_look)
{
    rig_begin(&rig, "WAL", SCHEMA, APPEND);
    app_exec(&rig, "INSERT INTO log(x) VALUES (1)");
    assert_captured(&rig, "log.line");
    wait_until_let_go();
    assert_true(rig_inside(&rig)->idle.again_ms > 0);
    uint32_t passes = rig_inside(&rig)->pass.number;
    while (rig_inside(&rig)->idle.again_ms || !let_go())
        read_on();
    assert_int_equal(rig_inside(&rig)->pass.number, passes + 1);
    rig_end(&rig);
}

TEST(the_journal_mode_can_be_changed)
{
    rig_begin(&rig, "WAL", SCHEMA, APPEND);
    sqlite3_busy_timeout(rig.app, 0);
    wait_until_let_go();
    app_exec(&rig, "PRAGMA journal_mode = DELETE; INSERT INTO log(x) VALUES (1)");
    assert_false(there("-wal"));
    assert_captured(&rig, "log.line");
    wait_until_let_go();
    app_exec(&rig, "PRAGMA journal_mode = WAL; INSERT INTO log(x) VALUES (2)");
    assert_captured(&rig, "log.line");
    rig_end(&rig);
}

/* The database in a folder of its own, and where it was a link to it. */
static void move_behind_a_link(const char *journal)
{
    char folder[128], file[256];
    snprintf(folder, sizeof folder, "%s/volume", rig.folder);
    snprintf(file, sizeof file, "%s/real.db", folder);
    app_close(&rig);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(rename(rig.path, file), 0);
    assert_int_equal(symlink(file, rig.path), 0);
    app_open(&rig, journal);
}

static void hear_nothing(void)
{
    close(rig_inside(&rig)->wait.inotify);
    rig_inside(&rig)->wait.inotify = -1;
}

/* What is committed meanwhile is seen at once by the notices of the folder, and without them by looking at the files
 * every `poll`. */
static void take_up_again(const char *journal, bool notices, bool link)
{
    rig_new(&rig, journal);
    if (link)
        move_behind_a_link(journal);
    app_exec(&rig, SCHEMA);
    rig_open(&rig, notices ? APPEND "poll: 1h\n" : APPEND "poll: 10ms\n");
    assert_captured(&rig, "");
    for (int i = 0; i < 3; i++) {
        wait_until_let_go();
        if (!notices)
            hear_nothing();
        app_do(&rig, "INSERT INTO log(x) VALUES (%d)", i);
        while (rig.seen_count == 0)
            read_on();
        assert_types(&rig, "log.line");
        assert_int_equal(rig_inside(&rig)->wait.heard, notices);
    }
    rig_end(&rig);
}

TEST(taken_up_by_notices)
{
    take_up_again("DELETE", true, false);
    take_up_again("WAL", true, false);
}

/* SQLite has a WAL beside the file that the link leads to. */
TEST(taken_up_behind_a_link)
{
    take_up_again("DELETE", true, true);
    take_up_again("WAL", true, true);
    take_up_again("DELETE", false, true);
    take_up_again("WAL", false, true);
}

/* Where they came, it is looked at less often, until a change is found that none told of. */
TEST(taken_up_by_looking_where_notices_came)
{
    rig_begin(&rig, "DELETE", SCHEMA, APPEND "poll: 10ms\n");
    wait_until_let_go();
    rig_inside(&rig)->wait.heard = true;
    hear_nothing();
    app_exec(&rig, "INSERT INTO log(x) VALUES (1)");
    assert_captured(&rig, "log.line");
    assert_false(rig_inside(&rig)->wait.heard);
    rig_end(&rig);
}

TEST(taken_up_by_looking)
{
    take_up_again("DELETE", false, false);
    take_up_again("WAL", false, false);
}

/* Another file under its name, while the database was let go: a new look at everything, and it is said. */
TEST(replaced_meanwhile)
{
    rig_begin(&rig, "DELETE", SCHEMA "; CREATE TABLE t(id INTEGER PRIMARY KEY, a)",
              APPEND "- {name: t, kind: diff, table: t, watch: [a], types: {insert: t.made, delete: t.gone}}\n");
    app_exec(&rig, "INSERT INTO t VALUES (1, 1)");
    assert_captured(&rig, "t.made");
    app_do(&rig, "VACUUM INTO '%s/backup.db'", rig.folder);
    app_exec(&rig, "INSERT INTO t VALUES (2, 2); INSERT INTO log(x) VALUES (1), (2), (3)");
    assert_captured(&rig, "log.line log.line log.line t.made");
    int64_t before = metric_value(rig_inside(&rig)->reopened);
    int64_t restarts = metric_value(rig_inside(&rig)->restarts);
    wait_until_let_go();
    app_close(&rig);
    char from[256];
    snprintf(from, sizeof from, "%s/backup.db", rig.folder);
    assert_int_equal(rename(from, rig.path), 0);
    assert_captured(&rig, "t.gone");
    assert_int_equal(metric_value(rig_inside(&rig)->reopened), before + 1);
    assert_int_equal(metric_value(rig_inside(&rig)->restarts), restarts + 1);
    rig_end(&rig);
}

/* An open row is overdue while the database is closed. */
TEST(an_open_row_is_aborted_in_time)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE job(id INTEGER PRIMARY KEY, state)",
              "capture:\n- {name: job, kind: open_row, table: job, done: \"state = 'ok'\", abort_after: 400ms,\n"
              "   types: {started: started, aborted: aborted}}\npoll: 1h\n");
    app_exec(&rig, "INSERT INTO job VALUES (1, 'new')");
    while (rig.seen_count == 0)
        read_on();
    while (rig.seen_count == 1)
        read_on();
    assert_types(&rig, "started aborted");
    rig_end(&rig);
}

/* Blind: before the first look, and once the file is away; the numbers tell when it looked and when it found. */
TEST(blindness_is_told)
{
    struct err e = { 0 };
    rig_new(&rig, "DELETE");
    app_exec(&rig, SCHEMA);
    rig_open(&rig, APPEND);
    assert_false(sqlite_source.ready(rig.s, &e));
    assert_non_null(strstr(e.text, "has not been looked at yet"));
    assert_captured(&rig, "");
    assert_true(sqlite_source.ready(rig.s, &e));
    int64_t look = metric_value(rig_inside(&rig)->last_look);
    assert_true(look > 1500000000);
    app_exec(&rig, "INSERT INTO log(x) VALUES (1)");
    assert_captured(&rig, "log.line");
    assert_true(metric_value(rig_inside(&rig)->last_change) >= look);
    wait_until_let_go();
    assert_true(sqlite_source.ready(rig.s, &e));
    app_close(&rig);
    char away[256];
    snprintf(away, sizeof away, "%s/away.db", rig.folder);
    assert_int_equal(rename(rig.path, away), 0);
    rig_failure(&rig, &e);
    assert_non_null(strstr(e.text, "not there (yet)"));
    assert_false(sqlite_source.ready(rig.s, &e));
    assert_non_null(strstr(e.text, "cannot be read"));
    assert_int_equal(rename(away, rig.path), 0);
    assert_captured(&rig, "");
    assert_true(sqlite_source.ready(rig.s, &e));
    rig_end(&rig);
}

/* A pass over much takes longer than an alert waits: each of its reads is a look. */
TEST(a_long_pass_looks_all_the_time)
{
    rig_new(&rig, "DELETE");
    app_exec(&rig, SCHEMA);
    app_exec(&rig, "INSERT INTO log(x) VALUES (1), (2), (3)");
    rig.room = 1;
    rig_open(&rig, "start: snapshot\n" APPEND);
    while (rig.seen_count < 1)
        read_on();
    for (size_t n = 2; n <= 3; n++) {
        assert_true(rig_inside(&rig)->pass.running);
        metric_set(rig_inside(&rig)->last_look, 0);
        while (rig.seen_count < n)
            read_on();
        assert_true(metric_value(rig_inside(&rig)->last_look) > 0);
    }
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_close_is_the_applications),
        cmocka_unit_test(a_second_look),
        cmocka_unit_test(the_journal_mode_can_be_changed),
        cmocka_unit_test(taken_up_by_notices),
        cmocka_unit_test(a_long_pass_looks_all_the_time),
        cmocka_unit_test(taken_up_behind_a_link),
        cmocka_unit_test(taken_up_by_looking_where_notices_came),
        cmocka_unit_test(taken_up_by_looking),
        cmocka_unit_test(replaced_meanwhile),
        cmocka_unit_test(an_open_row_is_aborted_in_time),
        cmocka_unit_test(blindness_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
