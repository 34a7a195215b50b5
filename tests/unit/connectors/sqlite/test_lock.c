/* SPDX-License-Identifier: MIT */
/* The application never notices: a writer at full speed beside a source that reads all the time, in both journal
 * modes; and every row that it commits, deletes and rolls back comes out right. */
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "connectors/sqlite/wait.h"
#include "tests/support/sqlite_rig.h"

enum { COMMITS = 1500, ANYTHING_BUT_STUCK_MS = 1000 };

/* The writer, in a process of its own: inserts, updates, deletes, rollbacks, now and then VACUUM. Its pipe gets the
 * longest wait for a lock in microseconds, and how many commits met one. It waits for locks as an application does, trying
 * again for at most 5 s, as SQLite's own busy timeout. */
struct writer {
    int64_t longest, locked;
    bool locked_now;
};

static int count_lock(void *arg, int tries)
{
    struct writer *w = arg;
    w->locked += !w->locked_now;
    w->locked_now = true;
    usleep(1000);
    return tries < 5000;
}

static void write_all(const char *path, const char *journal, int result)
{
    sqlite3 *db;
    char sql[256];
    struct writer w = { 0 };
    if (sqlite3_open(path, &db) != SQLITE_OK)
        _exit(2);
    sqlite3_busy_handler(db, count_lock, &w);
    snprintf(sql, sizeof sql, "PRAGMA journal_mode = %s; PRAGMA synchronous = OFF", journal);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        _exit(3);
    w.locked = 0;
    for (int i = 1; i <= COMMITS; i++) {
        snprintf(
            sql, sizeof sql,
            "BEGIN IMMEDIATE; INSERT INTO log(x) VALUES (%d); INSERT INTO t VALUES (%d, 0); UPDATE t SET a = a + 1 "
            "WHERE id %% 50 = %d;%s",
            i, i, i % 50,
            i % 7 == 0     ? "DELETE FROM t WHERE id % 3 = 0 AND id < 1000; COMMIT"
            : i % 11 == 0  ? "ROLLBACK"
            : i % 500 == 1 ? "COMMIT; VACUUM"
                           : "COMMIT");
        int64_t began = clock_mono_us();
        w.locked_now = false;
        if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
            _exit(4);
        int64_t took = clock_mono_us() - began;
        w.longest = took > w.longest ? took : w.longest;
    }
    sqlite3_close(db);
    _exit(write(result, &w, sizeof w) == sizeof w ? 0 : 5);
}

/* What must be true of everything that was seen, read from the file afterwards. */
static void compare_with_table(struct rig *rig, const bool *logged, const bool *there)
{
    sqlite3_stmt *stmt;
    bool real[COMMITS + 1] = { 0 };
    assert_int_equal(sqlite3_prepare_v2(rig->app, "SELECT x FROM log", -1, &stmt, NULL), SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW)
        real[sqlite3_column_int(stmt, 0)] = true;
    sqlite3_finalize(stmt);
    assert_memory_equal(real, logged, sizeof real);
    memset(real, 0, sizeof real);
    assert_int_equal(sqlite3_prepare_v2(rig->app, "SELECT id FROM t", -1, &stmt, NULL), SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW)
        real[sqlite3_column_int(stmt, 0)] = true;
    sqlite3_finalize(stmt);
    assert_memory_equal(real, there, sizeof real);
}

static int number_behind(struct str text, const char *prefix)
{
    const char *at = memmem(text.at, text.n, prefix, strlen(prefix));
    assert_non_null(at);
    int number = 0;
    for (at += strlen(prefix); at < text.at + text.n && *at >= '0' && *at <= '9'; at++)
        number = number * 10 + (*at - '0');
    assert_in_range(number, 1, COMMITS);
    return number;
}

static void take_events(struct rig *rig, bool *logged, bool *there)
{
    for (size_t i = 0; i < rig->seen_count; i++) {
        const struct event *ev = rig->seen[i];
        if (str_eq(ev->type, STR("log.line"))) {
            int x = number_behind(ev->data, "\"x\":");
            assert_false(logged[x]); /* each commit once */
            logged[x] = true;
            continue;
        }
        int id = number_behind(ev->subject, "t/");
        bool gone = str_eq(ev->type, STR("t.gone"));
        assert_true(there[id] == !str_eq(ev->type, STR("t.made"))); /* made, changed, gone: never in a wrong order */
        there[id] = !gone;
    }
    rig_forget(rig);
}

static void run(const char *journal)
{
    struct rig rig;
    int pipe_fds[2], status;
    bool logged[COMMITS + 1] = { 0 }, there[COMMITS + 1] = { 0 };
    struct writer w;
    rig_new(&rig, journal);
    app_exec(&rig,
             "CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, x); CREATE TABLE t(id INTEGER PRIMARY KEY, a)");
    app_close(&rig);
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        write_all(rig.path, journal, pipe_fds[1]);
    close(pipe_fds[1]);
    rig_open(&rig, "capture:\n- {name: log, kind: append, table: log, types: {insert: log.line}}\n"
                   "- {name: t, kind: diff, table: t, watch: [a], types: {insert: t.made, update: t.changed, delete: "
                   "t.gone}}\nstart: snapshot\nhold: 2ms\n");
    while (waitpid(pid, &status, WNOHANG) == 0) {
        struct err e = { 0 };
        int n = rig_read(&rig, &e);
        if (n < 0)
            fail_msg("%s", e.text);
        take_events(&rig, logged, there);
    }
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(read(pipe_fds[0], &w, sizeof w), sizeof w);
    close(pipe_fds[0]);
    rig_settle(&rig);
    take_events(&rig, logged, there);
    app_open(&rig, journal);
    compare_with_table(&rig, logged, there);
    fprintf(stderr, "%s: %lld of the writer's commits met a lock, the longest took %lld us; %lld reads put off\n",
            journal, (long long)w.locked, (long long)w.longest, (long long)metric_value(rig_inside(&rig)->busy));
    assert_true(w.locked == 0 || strcmp(journal, "WAL") != 0);
    assert_true(w.longest
                < ANYTHING_BUT_STUCK_MS * 1000); /* far from the 5 s after which an application loses its write */
    rig_end(&rig);
}

TEST(rollback_journal)
{
    run("DELETE");
}
TEST(write_ahead_log)
{
    run("WAL");
}

/* One long look is made up for by the quiet that follows it; only looks that add up have the application's turn behind them. */
TEST(a_rest_follows_what_adds_up)
{
    struct rig rig;
    rig_begin(&rig, "DELETE", "CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, x)",
              "capture:\n- {name: log, kind: append, table: log, types: {insert: log.line}}\n");
    struct sqlite_source *s = rig_inside(&rig);
    s->wait.owed_us = s->wait.streak = 0;
    wait_rest(s, 9000);
    assert_true(s->wait.rest_until_ms <= s->wait.rested_us / 1000);
    wait_rest(s, 60000);
    assert_true(s->wait.rest_until_ms > s->wait.rested_us / 1000 + 500);
    s->wait.rested_us -= 3600 * INT64_C(1000000);
    wait_rest(s, 9000);
    assert_true(s->wait.rest_until_ms <= s->wait.rested_us / 1000);
    wait_rest(s, 3600 * INT64_C(1000000)); /* a first look: one rest behind it, and all is paid */
    assert_true(s->wait.rest_until_ms > s->wait.rested_us / 1000 + 500);
    s->wait.rested_us -= 1000000;
    wait_rest(s, 0);
    assert_true(s->wait.rest_until_ms <= s->wait.rested_us / 1000);
    rig_end(&rig);
}

/* Commits without a pause are not looked at one by one. */
TEST(passes_close_behind_each_other_are_kept_apart)
{
    struct rig rig;
    rig_begin(&rig, "WAL", "CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, x)",
              "capture:\n- {name: log, kind: append, table: log, types: {insert: log.line}}\n");
    struct wait *w = &rig_inside(&rig)->wait;
    for (int i = 0; i < 100000 && w->rest_until_ms <= w->rested_us / 1000; i++)
        wait_rest(rig_inside(&rig), 0);
    assert_true(w->rest_until_ms > w->rested_us / 1000);
    w->rested_us -= 3600 * INT64_C(1000000);
    wait_rest(rig_inside(&rig), 0);
    assert_true(w->rest_until_ms <= w->rested_us / 1000);
    rig_end(&rig);
}

/* Between two reads the source holds no lock at all, not even after a slice that was cut short. */
TEST(no_lock_is_kept)
{
    struct rig rig;
    rig_new(&rig, "DELETE");
    app_exec(
        &rig,
        "CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, x);"
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) INSERT INTO log(x) SELECT i "
        "FROM n");
    sqlite3_busy_timeout(rig.app, 0);
    rig.room = 7;
    rig_open(&rig, "capture:\n- {name: log, kind: append, table: log, types: {insert: log.line}}\nstart: snapshot\n");
    while (rig.seen_count < 400) {
        struct err e = { 0 };
        assert_true(rig_read(&rig, &e) >= 0);
        app_exec(&rig, "BEGIN EXCLUSIVE; UPDATE log SET x = x WHERE id = 1; COMMIT");
    }
    rig_settle(&rig);
    assert_int_equal(rig.seen_count, 500);
    rig_end(&rig);
}

/* A commit of the application at work goes first: no read begins while its lock stands, and one at work ends. */
TEST(a_commit_at_work_goes_first)
{
    struct rig rig;
    struct err e = { 0 };
    rig_begin(&rig, "DELETE", "CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, x)",
              "capture:\n- {name: log, kind: append, table: log, types: {insert: log.line}}\nhold: 1s\n");
    struct sqlite_source *s = rig_inside(&rig);
    sqlite3_busy_timeout(rig.app, 0);
    app_exec(&rig, "INSERT INTO log(x) VALUES (1); BEGIN IMMEDIATE; INSERT INTO log(x) VALUES (2)");
    int64_t put_off = metric_value(s->busy), held = metric_value(s->held);
    while (metric_value(s->busy) == put_off)
        assert_int_equal(rig_read(&rig, &e), 0);
    assert_int_equal(metric_value(s->held), held);
    app_exec(&rig, "COMMIT");
    assert_captured(&rig, "log.line log.line");
    assert_true(metric_value(s->held) > held);

    assert_int_equal(database_begin(s, &e), DB_OK);
    slice_begin(s, 1);
    assert_false(slice_is_over(s));
    app_exec(&rig, "BEGIN IMMEDIATE");
    while (!slice_is_over(s)) {}
    database_end(s);
    app_exec(&rig, "COMMIT");
    rig_end(&rig);
}

/* An application that writes for long does not hide what was committed before. */
TEST(a_write_that_lasts_is_not_waited_for)
{
    struct rig rig;
    rig_begin(&rig, "DELETE", "CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, x)",
              "capture:\n- {name: log, kind: append, table: log, types: {insert: log.line}}\n");
    app_exec(&rig, "INSERT INTO log(x) VALUES (1), (2), (3); BEGIN IMMEDIATE; INSERT INTO log(x) VALUES (4)");
    while (rig.seen_count < 3) {
        struct err e = { 0 };
        assert_true(rig_read(&rig, &e) >= 0);
    }
    assert_types(&rig, "log.line log.line log.line");
    app_exec(&rig, "COMMIT");
    assert_captured(&rig, "log.line");
    rig_end(&rig);
}

/* Nor do reads in the middle of a pass keep a WAL from being reset. */
TEST(no_snapshot_is_kept)
{
    struct rig rig;
    rig_new(&rig, "WAL");
    app_exec(
        &rig,
        "CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, x);"
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) INSERT INTO log(x) SELECT i "
        "FROM n");
    sqlite3_busy_timeout(rig.app, 0);
    rig.room = 7;
    rig_open(&rig, "capture:\n- {name: log, kind: append, table: log, types: {insert: log.line}}\nstart: snapshot\n");
    while (rig.seen_count < 400) {
        struct err e = { 0 };
        sqlite3_stmt *stmt;
        assert_true(rig_read(&rig, &e) >= 0);
        app_exec(&rig, "UPDATE log SET x = x WHERE id = 1");
        assert_int_equal(sqlite3_prepare_v2(rig.app, "PRAGMA wal_checkpoint(TRUNCATE)", -1, &stmt, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
        assert_int_equal(sqlite3_column_int(stmt, 0), 0); /* not blocked */
        sqlite3_finalize(stmt);
    }
    rig_settle(&rig);
    assert_int_equal(rig.seen_count, 500);
    rig_end(&rig);
}

/* One commit for each byte that comes through the pipe. */
static void write_when_told(const char *path, int told)
{
    sqlite3 *db;
    char byte;
    if (sqlite3_open(path, &db) != SQLITE_OK
        || sqlite3_exec(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL", NULL, NULL, NULL) != SQLITE_OK)
        _exit(2);
    while (read(told, &byte, 1) == 1)
        if (sqlite3_exec(db, "INSERT INTO log(x) VALUES (1)", NULL, NULL, NULL) != SQLITE_OK)
            _exit(3);
    sqlite3_close(db);
    _exit(0);
}

/* A WAL file tells of a commit before the commit can be seen. It is seen all the same without waiting for the next
 * poll. */
TEST(seen_although_told_too_early)
{
    enum { TIMES = 300 };
    struct rig rig;
    int pipe_fds[2], status;
    rig_new(&rig, "WAL");
    app_exec(&rig, "CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, x)");
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(pipe_fds[1]);
        write_when_told(rig.path, pipe_fds[0]);
    }
    close(pipe_fds[0]);
    rig_open(
        &rig,
        "capture:\n- {name: log, kind: append, table: log, types: {insert: log.line}}\nstart: snapshot\npoll: 1h\n");
    for (size_t i = 1; i <= TIMES; i++) {
        struct err e = { 0 };
        assert_int_equal(write(pipe_fds[1], "x", 1), 1);
        while (rig.seen_count < i) /* an hour, if it waited for the poll */
            if (rig_read(&rig, &e) < 0)
                fail_msg("%s", e.text);
    }
    close(pipe_fds[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(rollback_journal),
                                        cmocka_unit_test(write_ahead_log),
                                        cmocka_unit_test(seen_although_told_too_early),
                                        cmocka_unit_test(a_rest_follows_what_adds_up),
                                        cmocka_unit_test(passes_close_behind_each_other_are_kept_apart),
                                        cmocka_unit_test(no_lock_is_kept),
                                        cmocka_unit_test(no_snapshot_is_kept),
                                        cmocka_unit_test(a_commit_at_work_goes_first),
                                        cmocka_unit_test(a_write_that_lasts_is_not_waited_for) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
