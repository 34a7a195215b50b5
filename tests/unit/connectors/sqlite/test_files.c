/* SPDX-License-Identifier: MIT */
/* Everything that can be wrong with the file, and schemas that are not what a rule expects: a message that helps,
 * and life goes on. */
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/support/sqlite_rig.h"

#define APPEND "capture:\n- {name: log, kind: append, table: log, types: {insert: log.line}}\npoll: 10ms\n"

static struct rig rig;

static void write_file(const char *name, const char *bytes, size_t n)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", rig.folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

static void fails_with(const char *piece)
{
    struct err e;
    rig_failure(&rig, &e);
    if (!strstr(e.text, piece) || !strstr(e.text, rig.path))
        fail_msg("wanted \"%s\" and the path in \"%s\"", piece, e.text);
}

/* Runs it in a process of its own, which ends by _exit(). Returns its exit status. */
static int in_child(void (*run)(void))
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        run();
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Ends the child: does the source fail with these words? */
static void exit_by_failure(const char *piece, const char *other)
{
    struct err e;
    rig_failure(&rig, &e);
    _exit(strstr(e.text, piece) && strstr(e.text, other) ? 0 : 1);
}

TEST(not_there_yet)
{
    rig_new(&rig, "DELETE");
    app_close(&rig);
    unlink(rig.path);
    rig_open(&rig, APPEND "start: snapshot\n");
    fails_with("not there (yet)");
    struct err e = { 0 };
    struct emission out[4];
    wake_up(rig.wake);
    assert_int_equal(sqlite_source.read(rig.s, rig.wake, out, 4, &e),
                     0); /* told once; then it waits, and can be woken */
    wake_clear(rig.wake);
    app_open(&rig, "WAL");
    app_exec(&rig, "CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, x); INSERT INTO log(x) VALUES (1)");
    assert_captured(&rig, "log.line");
    rig_end(&rig);
}

TEST(no_database)
{
    static const char
        noise[4096] = "This is no database. It only has the name of one, and enough bytes to be looked at.";
    rig_new(&rig, "DELETE");
    app_close(&rig);
    write_file("app.db", noise, sizeof noise);
    rig_open(&rig, APPEND);
    fails_with("no SQLite database, or it is encrypted");
    unlink(rig.path);
    app_open(&rig, "DELETE");
    app_exec(&rig, "CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, x)");
    assert_captured(&rig, "");
    app_exec(&rig, "INSERT INTO log(x) VALUES (1)");
    assert_captured(&rig, "log.line");
    rig_end(&rig);
}

TEST(a_folder)
{
    rig_new(&rig, "DELETE");
    app_close(&rig);
    unlink(rig.path);
    assert_int_equal(mkdir(rig.path, 0700), 0);
    rig_open(&rig, APPEND);
    fails_with("is a folder");
    rig_end(&rig);
}

static void read_without_permission(void)
{
    if (geteuid() == 0 ? setresuid(65534, 65534, 65534) != 0 : chmod(rig.path, 0) != 0)
        _exit(2);
    exit_by_failure("no permission to read it as uid", "");
}

/* As an ordinary user, in a process of its own. */
TEST(no_permission)
{
    rig_new(&rig, "DELETE");
    assert_int_equal(chmod(rig.folder, 0755), 0);
    assert_int_equal(chmod(rig.path, 0600), 0);
    rig_open(&rig, APPEND);
    assert_int_equal(in_child(read_without_permission), 0);
    rig_end(&rig);
}

TEST(damaged)
{
    static char junk[2048];
    rig_new(&rig, "DELETE");
    app_exec(&rig,
             "CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, x);"
             "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) INSERT INTO log SELECT i, "
             "hex(zeroblob(20)) FROM n");
    app_close(&rig);
    memset(junk, 0xA5, sizeof junk);
    FILE *f = fopen(rig.path, "r+b");
    assert_non_null(f);
    for (long at = 3 * 4096; at < 30 * 4096; at += 4096) {
        fseek(f, at, SEEK_SET);
        assert_int_equal(fwrite(junk, 1, sizeof junk, f), sizeof junk);
    }
    fclose(f);
    rig_open(&rig, APPEND "start: snapshot\n");
    fails_with("is damaged");
    rig_end(&rig);
}

/* No COMMIT, no ROLLBACK. */
static void die_while_writing(void)
{
    static const char sql[] = "PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN IMMEDIATE;"
                              "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
                              " INSERT INTO log(x) SELECT hex(zeroblob(100)) FROM n";
    sqlite3 *db;
    _exit(sqlite3_open(rig.path, &db) == SQLITE_OK && sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : 1);
}

/* The application died in the middle of a write: a hot journal that a reader must not undo. */
TEST(hot_journal)
{
    rig_new(&rig, "DELETE");
    app_exec(&rig, "CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, x); INSERT INTO log(x) VALUES (1)");
    assert_int_equal(in_child(die_while_writing), 0);
    rig_open(&rig, APPEND "start: snapshot\n");
    fails_with("must open the database once");
    app_exec(&rig, "INSERT INTO log(x) VALUES (2)"); /* the application is back */
    assert_captured(&rig, "log.line log.line");
    rig_end(&rig);
}

static void read_without_shm(void)
{
    if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0)
        _exit(2);
    exit_by_failure("WAL mode", "start the application first");
}

/* A WAL database whose -shm is gone, in a folder that cannot be written. */
TEST(wal_without_shm)
{
    rig_new(&rig, "WAL");
    app_exec(&rig, "CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, x)");
    app_close(&rig); /* takes -wal and -shm away */
    assert_int_equal(chmod(rig.path, 0644), 0);
    assert_int_equal(chmod(rig.folder, 0555), 0);
    rig_open(&rig, APPEND);
    assert_int_equal(in_child(read_without_shm), 0);
    assert_int_equal(chmod(rig.folder, 0755), 0);
    rig_end(&rig);
}

static void read_mounted_alone(void)
{
    char other[256];
    snprintf(other, sizeof other, "%s/other.db", rig.folder);
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0
        || mount(other, rig.path, NULL, MS_BIND, NULL) != 0)
        _exit(77);
    exit_by_failure("mount its folder", "");
}

/* Only the file is mounted, not its folder: refused, because its -wal and -journal are elsewhere. Skipped where
 * mounting is not allowed. */
TEST(only_the_file_mounted)
{
    rig_new(&rig, "WAL");
    write_file("other.db", "", 0);
    rig_open(&rig, APPEND);
    int status = in_child(read_mounted_alone);
    rig_end(&rig);
    if (status == 77)
        skip();
    assert_int_equal(status, 0);
}

static void restore_copy(const char *name)
{
    char from[256];
    snprintf(from, sizeof from, "%s/%s", rig.folder, name);
    assert_int_equal(rename(from, rig.path), 0);
}

/* A backup is put back by rename: noticed, opened anew; deletes and changes appear as a diff, ids of new rows are new. */
TEST(replaced)
{
    rig_new(&rig, "DELETE");
    app_exec(&rig,
             "CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, x); CREATE TABLE t(id INTEGER PRIMARY KEY, a)");
    rig_open(&rig, "capture:\n- {name: log, kind: append, table: log, types: {insert: log.line}}\n"
                   "- {name: t, kind: diff, table: t, watch: [a], types: {insert: t.made, delete: t.gone, update: "
                   "t.changed}}\npoll: 10ms\n");
    assert_captured(&rig, "");
    app_exec(&rig, "INSERT INTO t VALUES (1, 1); INSERT INTO log(x) VALUES (1)");
    assert_captured(&rig, "log.line t.made");
    app_do(&rig, "VACUUM INTO '%s/backup.db'", rig.folder);
    app_exec(&rig, "UPDATE t SET a = 2; INSERT INTO t VALUES (2, 2); INSERT INTO log(x) VALUES (2), (3)");
    rig_settle(&rig);
    char old_id[64];
    snprintf(old_id, sizeof old_id, "%.*s", STR_ARG(rig_event(&rig, "log.line", "log/2", 0)->id));
    rig_forget(&rig);
    app_close(&rig);
    restore_copy("backup.db");
    assert_captured(&rig, "t.changed t.gone");
    app_open(&rig, "DELETE");
    app_exec(&rig, "INSERT INTO log(x) VALUES ('new')");
    rig_settle(&rig);
    assert_false(str_eq(rig_event(&rig, "log.line", "log/2", 0)->id, str_of(old_id)));
    assert_types(&rig, "log.line");
    assert_true(metric_value(rig_inside(&rig)->reopened) >= 1);
    rig_end(&rig);
}

/* The file goes away while we look, and comes back. */
TEST(gone_and_back)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, x)", APPEND);
    char away[256];
    snprintf(away, sizeof away, "%s/away.db", rig.folder);
    assert_int_equal(rename(rig.path, away), 0);
    fails_with("not there (yet)");
    assert_int_equal(rename(away, rig.path), 0);
    app_exec(&rig, "INSERT INTO log(x) VALUES (1)");
    assert_captured(&rig, "log.line");
    rig_end(&rig);
}

/* Older and newer versions of an application: what is missing is reported once, the rest works; new columns are
 * taken up. */
TEST(schemas_differ)
{
    rig_new(&rig, "DELETE");
    app_exec(&rig, "CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, x)");
    rig_open(
        &rig,
        "capture:\n- {name: log, kind: append, table: log, columns: {id: value, y: value}, types: {insert: log.line}}\n"
        "- {name: t, kind: diff, table: t, watch: [a, b], types: {insert: t.made, update: t.changed}}\n"
        "- {name: bad, kind: append, table: log, where: 'no such function(x)', types: {insert: bad.line}}\n"
        "- {name: nokey, kind: append, table: log, key: uuid, types: {insert: bad.line}}\n");
    assert_captured(&rig, "");
    struct metric *unusable = rig_inside(&rig)->unusable;
    assert_int_equal(metric_value(unusable), 3);
    app_exec(&rig, "INSERT INTO log(x) VALUES (1)");
    rig_settle(&rig);
    assert_true(str_eq(rig_event(&rig, "log.line", NULL, 0)->data, STR("{\"id\":1}")));
    rig_forget(&rig);
    app_exec(&rig, "ALTER TABLE log ADD COLUMN y DEFAULT 5; CREATE TABLE t(id INTEGER PRIMARY KEY, a)");
    assert_captured(&rig, "");
    assert_int_equal(metric_value(unusable), 2);
    app_exec(&rig, "INSERT INTO t VALUES (1, 1); INSERT INTO log(x) VALUES (2)");
    rig_settle(&rig);
    assert_true(str_eq(rig_event(&rig, "log.line", NULL, 0)->data, STR("{\"id\":2,\"y\":5}")));
    assert_types(&rig, "log.line t.made");
    app_exec(&rig, "ALTER TABLE t ADD COLUMN b DEFAULT 0"); /* watched from now on; no update of every row */
    assert_captured(&rig, "");
    app_exec(&rig, "UPDATE t SET b = 1");
    assert_captured(&rig, "t.changed");
    app_exec(&rig, "DROP TABLE t"); /* not: everything deleted */
    assert_captured(&rig, "");
    app_exec(&rig, "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b); INSERT INTO t VALUES (1, 1, 1), (2, 2, 2)");
    assert_captured(&rig, "t.made");
    rig_end(&rig);
}

/* The application makes its tables only after the source looked: every row in them is new. */
TEST(tables_come_later)
{
    rig_new(&rig, "WAL");
    rig_open(&rig, APPEND);
    assert_captured(&rig, "");
    app_exec(
        &rig,
        "BEGIN; CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, x); INSERT INTO log(x) VALUES (1), (2); COMMIT");
    assert_captured(&rig, "log.line log.line");
    rig_end(&rig);
}

/* A table rebuild as migrations do it, and VACUUM: nothing is reported. */
TEST(rebuilt)
{
    rig_begin(&rig, "WAL", "CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, x)", APPEND);
    app_exec(&rig, "INSERT INTO log(x) VALUES (1), (2), (3)");
    assert_captured(&rig, "log.line log.line log.line");
    app_exec(
        &rig,
        "BEGIN; CREATE TABLE new_log(id INTEGER PRIMARY KEY AUTOINCREMENT, x, y); INSERT INTO new_log(id, x) SELECT "
        "id, x FROM log;"
        "DROP TABLE log; ALTER TABLE new_log RENAME TO log; COMMIT; VACUUM; PRAGMA wal_checkpoint(TRUNCATE)");
    assert_captured(&rig, "");
    app_exec(&rig, "INSERT INTO log(x) VALUES (4)");
    rig_settle(&rig);
    assert_int_equal(rig_count(&rig, "log.line", "log/4"), 1);
    assert_int_equal(rig.seen_count, 1);
    rig_end(&rig);
}

/* Busy means later: nothing fails, nothing moves, and then everything is there. */
TEST(busy)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, x)", APPEND);
    struct metric *busy_total = rig_inside(&rig)->busy;
    int64_t before = metric_value(busy_total);
    app_exec(&rig, "BEGIN EXCLUSIVE; INSERT INTO log(x) VALUES (1)");
    struct err e = { 0 };
    for (int i = 0; i < 10; i++)
        assert_int_equal(rig_read(&rig, &e), 0);
    assert_true(metric_value(busy_total) > before);
    app_exec(&rig, "COMMIT");
    assert_captured(&rig, "log.line");
    app_exec(&rig, "BEGIN; INSERT INTO log(x) VALUES (2); ROLLBACK");
    assert_captured(&rig, "");
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(not_there_yet),   cmocka_unit_test(no_database),
        cmocka_unit_test(a_folder),        cmocka_unit_test(no_permission),
        cmocka_unit_test(damaged),         cmocka_unit_test(hot_journal),
        cmocka_unit_test(wal_without_shm), cmocka_unit_test(only_the_file_mounted),
        cmocka_unit_test(replaced),        cmocka_unit_test(gone_and_back),
        cmocka_unit_test(schemas_differ),  cmocka_unit_test(tables_come_later),
        cmocka_unit_test(rebuilt),         cmocka_unit_test(busy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
