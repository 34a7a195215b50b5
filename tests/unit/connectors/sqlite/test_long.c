/* SPDX-License-Identifier: MIT */
/* Keys and cursors longer than what is kept of them, or than what can be read: no row holds up those behind it. */
#include <stdio.h>
#include "bridge/lib/crypto.h"
#include "tests/support/sqlite_rig.h"

static struct rig rig;

#define RULE(more)    "capture:\n- {name: log, kind: append, table: log, types: {insert: log.line}" more "}\n"
#define LONG(c, n)    "'" c "' || hex(zeroblob(" #n "))" /* a text of 2 n and 1 bytes */
#define WITHOUT_ROWID "CREATE TABLE log(id TEXT PRIMARY KEY, at) WITHOUT ROWID; CREATE INDEX i ON log(at);"
#define WITH_ROWID    "CREATE TABLE log(id TEXT PRIMARY KEY, at); CREATE INDEX i ON log(at);"
#define UNREADABLE    "20000000"

static size_t captured(void)
{
    rig_inside(&rig)->wait.rest_until_ms = 0; /* as long reads want it */
    rig_settle(&rig);
    size_t n = rig_count(&rig, "log.line", NULL);
    rig_forget(&rig);
    return n;
}

static int64_t refused(void)
{
    return metric_value(rig_inside(&rig)->refused);
}

static int64_t unusable(void)
{
    return metric_value(rig_inside(&rig)->unusable);
}

/* Rows with long keys come one by one and all at once, before and behind a restart; none comes twice. */
static void capture_long(const char *schema, const char *rule)
{
    rig_begin(&rig, "DELETE", schema, rule);
    int64_t before = refused();
    app_exec(&rig, "INSERT INTO log VALUES (" LONG("a", 300) ", " LONG("a", 300) ")");
    assert_int_equal(captured(), 1);
    app_exec(&rig, "INSERT INTO log VALUES (" LONG("b", 300) ", " LONG("b", 300) "), ('c', 'c')");
    assert_int_equal(captured(), 2);
    app_exec(&rig, "INSERT INTO log VALUES (" LONG("d", 20000) ", " LONG("d", 20000) ")");
    assert_int_equal(captured(), 1);
    rig_restart(&rig);
    assert_int_equal(captured(), 0);
    app_exec(&rig, "INSERT INTO log VALUES (" LONG("d", 20001) ", " LONG("d", 20001) "), ('e', 'e')");
    assert_int_equal(captured(), 2);
    app_exec(&rig,
             "INSERT INTO log VALUES (CAST(x'6600' || zeroblob(20000) AS TEXT), 'f'), ('g', 'g' || zeroblob(9000))");
    assert_int_equal(captured(), 2);
    rig_restart(&rig);
    app_exec(&rig, "INSERT INTO log VALUES ('h', 'h'), ('i', CAST('i' || zeroblob(30000) AS BLOB))");
    assert_int_equal(captured(), 2);
    rig_restart(&rig);
    assert_int_equal(captured(), 0);
    assert_int_equal(refused(), before);
    assert_int_equal(unusable(), 0);
    rig_end(&rig);
}

TEST(long_keys)
{
    capture_long(WITHOUT_ROWID, RULE(", cursor: id"));
    capture_long(WITHOUT_ROWID, RULE(", cursor: at"));
    capture_long(WITH_ROWID, RULE(", cursor: at"));
    capture_long(WITH_ROWID, RULE(""));
    capture_long(WITH_ROWID, RULE(", cursor: id"));
    capture_long("CREATE TABLE log(id TEXT PRIMARY KEY COLLATE NOCASE, at) WITHOUT ROWID", RULE(", cursor: id"));
    capture_long("CREATE TABLE l(id TEXT PRIMARY KEY, at); CREATE VIEW log AS SELECT * FROM l;"
                 "CREATE TRIGGER t INSTEAD OF INSERT ON log BEGIN INSERT INTO l VALUES (new.id, new.at); END",
                 RULE(", cursor: id"));
    capture_long("PRAGMA encoding = 'UTF-16le';" WITHOUT_ROWID, RULE(", cursor: id"));
}

/* Rows of one cursor whose keys are long: the cut of a position lies between them. */
TEST(long_ties)
{
    rig_begin(&rig, "DELETE", WITHOUT_ROWID, RULE(", cursor: at"));
    app_exec(&rig,
             "INSERT INTO log VALUES (" LONG("a", 9000) ", 5), (" LONG("a", 9001) ", 5), (" LONG("a", 9002) ", 5)");
    assert_int_equal(captured(), 3);
    rig_restart(&rig);
    app_exec(&rig, "INSERT INTO log VALUES (" LONG("a", 9003) ", 5), ('b', 5), ('a', 6)");
    assert_int_equal(captured(), 3);
    rig_restart(&rig);
    assert_int_equal(captured(), 0);
    rig_end(&rig);
}

/* The row at which a cut position stands is gone: what shares the cut comes again, under the ids it had. */
TEST(row_of_a_cut_is_gone)
{
    rig_begin(&rig, "DELETE", WITHOUT_ROWID, RULE(", cursor: id"));
    app_exec(&rig, "INSERT INTO log VALUES (" LONG("a", 9000) ", 1), (" LONG("a", 9001) ", 2)");
    rig_settle(&rig);
    rig_close(&rig);
    app_exec(&rig, "DELETE FROM log WHERE at = 2; INSERT INTO log VALUES ('b', 3)");
    rig_open(&rig, RULE(", cursor: id"));
    rig_settle(&rig);
    assert_int_equal(rig.seen_count, 4);
    assert_true(str_eq(rig.seen[0]->id, rig.seen[2]->id));
    rig_forget(&rig);
    rig_end(&rig);
}

/* A row whose key, or cursor, cannot even be read is refused alone and counted once, wherever it stands. */
static void refuse_alone(const char *schema, const char *rule, bool told)
{
    rig_new(&rig, "DELETE");
    app_exec(&rig, "PRAGMA page_size = 65536; PRAGMA synchronous = OFF");
    app_exec(&rig, schema);
    app_exec(&rig, "INSERT INTO log VALUES ('A', CAST(zeroblob(" UNREADABLE ") AS TEXT))");
    rig_open(&rig, rule); /* start: now, and the newest row is one of those */
    assert_int_equal(captured(), 0);
    int64_t before = refused();
    app_exec(&rig, "DELETE FROM log; INSERT INTO log VALUES ('a', 'a')");
    assert_int_equal(captured(), 1);
    app_exec(&rig, "INSERT INTO log VALUES (CAST('b' || zeroblob(" UNREADABLE ") AS TEXT), 'b')");
    assert_int_equal(captured(), 0);
    app_exec(&rig, "INSERT INTO log VALUES ('c', CAST('c' || zeroblob(" UNREADABLE ") AS TEXT))");
    assert_int_equal(captured(), told);
    app_exec(&rig,
             "INSERT INTO log VALUES ('d', 'd'), (CAST('e' || zeroblob(" UNREADABLE ") AS BLOB), 'e'), ('f', 'f')");
    assert_int_equal(captured(), 2);
    assert_int_equal(refused(), before + 3 - told);
    app_exec(&rig, "INSERT INTO log VALUES ('fg', 'fg')");
    assert_int_equal(captured(), 1);
    assert_int_equal(refused(), before + 3 - told);
    rig_restart(&rig);
    app_exec(&rig, "INSERT INTO log VALUES ('g', 'g')");
    assert_int_equal(captured(), 1);
    assert_int_equal(unusable(), 0);
    rig_end(&rig);
}

TEST(unreadable_keys)
{
    refuse_alone("CREATE TABLE log(id TEXT PRIMARY KEY, at)", RULE(""), true);
    refuse_alone("CREATE TABLE log(id TEXT PRIMARY KEY, at) WITHOUT ROWID", RULE(", cursor: id"), true);
    refuse_alone(WITH_ROWID, RULE(", cursor: at"), false);
    refuse_alone(WITHOUT_ROWID, RULE(", cursor: at"), false);
    refuse_alone(WITH_ROWID, RULE(", time: at"), true);
    refuse_alone("CREATE TABLE log(id TEXT PRIMARY KEY, at) WITHOUT ROWID",
                 "capture:\n- {name: log, kind: diff, table: log, watch: [at], types: {insert: log.line}}\n", true);
    refuse_alone("CREATE TABLE log(id TEXT PRIMARY KEY, at)",
                 "capture:\n- {name: log, kind: diff, table: log, watch: [at], types: {insert: log.line}}\n", true);
}

/* Without an index all cursors are sorted, the unreadable one too. */
TEST(unreadable_cursor_without_an_index)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE log(id INTEGER PRIMARY KEY, at)", RULE(", cursor: at"));
    app_exec(&rig, "INSERT INTO log VALUES (1, 'a'), (2, CAST('b' || zeroblob(" UNREADABLE ") AS TEXT)), (3, 'c')");
    int64_t before = refused();
    assert_int_equal(captured(), 2);
    app_exec(&rig, "INSERT INTO log VALUES (4, 'd')");
    assert_int_equal(captured(), 1);
    assert_int_equal(refused(), before + 1);
    assert_int_equal(unusable(), 0);
    rig_end(&rig);
}

/* Where not even a rowid names it, the rule counts as unusable, and loses nothing. */
TEST(unreadable_cursor_of_a_select)
{
    rig_begin(
        &rig, "DELETE", "CREATE TABLE l(id INTEGER PRIMARY KEY, at)",
        "capture:\n- {name: log, kind: append, select: SELECT * FROM l, cursor: at, types: {insert: log.line}}\n");
    app_exec(&rig, "INSERT INTO l VALUES (1, 'a'), (2, CAST('b' || zeroblob(" UNREADABLE ") AS TEXT)), (3, 'c')");
    assert_int_equal(captured(), 0);
    assert_int_equal(unusable(), 1);
    app_exec(&rig, "DELETE FROM l WHERE id = 2");
    assert_int_equal(captured(), 2);
    assert_int_equal(unusable(), 0);
    rig_end(&rig);
}

#define OPEN_BY(cursor)                                                                                                \
    "capture:\n- {name: job, kind: open_row, table: job, done: state = 'ok', abort_after: 10m" cursor ",\n"            \
    "   types: {started: job.started, done: job.done, aborted: job.aborted}}\n"
#define OPEN OPEN_BY("")

/* An unfinished row with a long key is found again; one that cannot be is refused, and told when it is finished. */
TEST(open_rows_with_long_keys)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE job(id TEXT PRIMARY KEY, state, n)", OPEN);
    app_exec(&rig, "INSERT INTO job VALUES (" LONG("a", 300) ", 'new', 1), (" LONG("b", 300) ", 'new', 2)");
    assert_captured(&rig, "job.started job.started");
    app_exec(&rig, "UPDATE job SET state = 'ok' WHERE n = 1");
    assert_captured(&rig, "job.done");
    rig_restart(&rig);
    assert_captured(&rig, "");
    app_exec(&rig, "UPDATE job SET state = 'ok' WHERE n = 2");
    assert_captured(&rig, "job.done");
    int64_t before = refused();
    app_exec(&rig, "INSERT INTO job VALUES (" LONG("c", 20000) ", 'ok', 3), (" LONG("d", 20000) ", 'new', 4)");
    assert_captured(&rig, "job.done");
    assert_int_equal(refused(), before + 1);
    rig_end(&rig);
}

/* Without a rowid a refused row is named by its key; two keys that begin alike are two rows. */
TEST(refused_rows_without_rowid)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE job(id TEXT PRIMARY KEY, state) WITHOUT ROWID", OPEN_BY(", cursor: id"));
    int64_t before = refused();
    app_exec(&rig, "INSERT INTO job VALUES (" LONG("a", 20000) ", 'new'), (" LONG("a", 20001) ", 'new'), ('b', 'ok')");
    assert_captured(&rig, "job.done");
    assert_int_equal(refused(), before + 2);
    rig_end(&rig);
}

/* A position of before, which knew a long cursor by its hash alone: its row is looked for. */
TEST(hashed_position_is_taken_over)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE log(id INTEGER PRIMARY KEY, at)",
              "capture:\n- {name: x, kind: append, table: log, types: {insert: x}}\n");
    rig_close(&rig);
    app_exec(&rig, "CREATE TABLE long(id TEXT PRIMARY KEY, n) WITHOUT ROWID; INSERT INTO long VALUES ('a', 1), (" LONG(
                       "b", 300) ", 2), ('c', 3)");
    char key[602], hash[UUID_TEXT], cursor[100];
    snprintf(key, sizeof key, "b%0600d", 0);
    uuid_of((struct str[]){ STR("t"), str_of(key) }, 2, hash);
    snprintf(cursor, sizeof cursor, "+37,0,0 h%sh%s", hash, hash);
    rig.state.at = mem_grow(rig.state.at, rig.state.count + 2, sizeof *rig.state.at);
    rig.state.at[rig.state.count++] = (struct rig_pair){ str_dup(STR("log/ready")), str_dup(STR("1")), 1, false };
    rig.state.at[rig.state.count++] = (struct rig_pair){ str_dup(STR("log/cursor")), str_dup(str_of(cursor)),
                                                         strlen(cursor), false };
    rig_open(&rig, "capture:\n- {name: log, kind: append, table: long, cursor: id, types: {insert: log.line}}\n");
    assert_int_equal(captured(), 1);
    assert_int_equal(unusable(), 0);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_keys),
        cmocka_unit_test(long_ties),
        cmocka_unit_test(row_of_a_cut_is_gone),
        cmocka_unit_test(unreadable_keys),
        cmocka_unit_test(unreadable_cursor_without_an_index),
        cmocka_unit_test(unreadable_cursor_of_a_select),
        cmocka_unit_test(open_rows_with_long_keys),
        cmocka_unit_test(refused_rows_without_rowid),
        cmocka_unit_test(hashed_position_is_taken_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
