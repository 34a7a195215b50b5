/* SPDX-License-Identifier: MIT */
/* Cursors of append rules: no row is lost for the column that orders them, none comes twice under two ids, and what a
 * cursor cannot see is counted. */
#include <stdio.h>
#include <stdlib.h>
#include "tests/support/sqlite_rig.h"
#include "tests/support/stderr.h"

static struct rig rig;

#define RULE(more) "capture:\n- {name: log, kind: append, table: log, types: {insert: log.line}" more "}\n"

static int64_t behind(void)
{
    return metric_value(rig_inside(&rig)->behind);
}

static int64_t unkeyed(void)
{
    return metric_value(rig_inside(&rig)->unkeyed);
}

static size_t captured(void)
{
    rig_settle(&rig);
    size_t n = rig_count(&rig, "log.line", NULL);
    rig_forget(&rig);
    return n;
}

/* Was the rule warned of, in words that begin so? (The warnings are remembered as hashes.) */
static bool warned_of_anything(void)
{
    return rig_inside(&rig)->rules[0]->warned_count > 0;
}

/* 600 rows of one second, more than a batch: all of them, and the next second's. */
TEST(many_rows_of_one_value)
{
    rig_new(&rig, "DELETE");
    app_exec(&rig, "CREATE TABLE log(id TEXT PRIMARY KEY, created_at); CREATE INDEX i ON log(created_at);"
                   "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600)"
                   " INSERT INTO log SELECT hex(randomblob(8)), '2026-11-20 10:00:00' FROM n;"
                   "INSERT INTO log VALUES ('last', '2026-11-20 10:00:01')");
    rig_open(&rig, RULE(", cursor: created_at") "start: snapshot\n");
    assert_int_equal(captured(), 601);
    app_exec(&rig, "INSERT INTO log VALUES ('a', '2026-11-20 10:00:01'), ('z', '2026-11-20 10:00:01')");
    assert_int_equal(captured(), 2);
    rig_restart(&rig);
    assert_int_equal(captured(), 0);
    assert_int_equal(behind(), 0);
    assert_false(warned_of_anything());
    rig_end(&rig);
}

/* The same without a rowid: told apart by the key. */
TEST(many_rows_of_one_value_without_rowid)
{
    rig_new(&rig, "DELETE");
    app_exec(&rig, "CREATE TABLE log(id INTEGER PRIMARY KEY, at) WITHOUT ROWID; CREATE INDEX i ON log(at);"
                   "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600)"
                   " INSERT INTO log SELECT i, 5 FROM n");
    rig_open(&rig, RULE(", cursor: at") "start: snapshot\n");
    assert_int_equal(captured(), 600);
    app_exec(&rig, "INSERT INTO log VALUES (601, 5), (602, 6)");
    rig_restart(&rig);
    assert_int_equal(captured(), 2);
    rig_end(&rig);
}

/* So often the rule is warned of at the start, with this schema. */
static size_t warnings_at_start(const char *schema, const char *rule)
{
    rig_begin(&rig, "DELETE", schema, rule);
    assert_true(rig_inside(&rig)->rules[0]->usable);
    size_t warnings = rig_inside(&rig)->rules[0]->warned_count;
    rig_end(&rig);
    return warnings;
}

#define SELECT_RULE         "capture:\n- {name: log, kind: append, select: SELECT * FROM log, types: {insert: log.line}}\n"
#define WITHOUT_ROWID(type) "CREATE TABLE log(id " type " PRIMARY KEY, at) WITHOUT ROWID; CREATE INDEX i ON log(at);"
#define VIEW(type)          "CREATE TABLE l(id " type " PRIMARY KEY, at); CREATE VIEW log AS SELECT * FROM l"

/* A key that need not grow orders the rows, or those of one cursor: what comes behind it is lost, so it is said. */
TEST(keys_that_do_not_grow)
{
    assert_int_equal(warnings_at_start(WITHOUT_ROWID("TEXT"), RULE(", cursor: id")), 1);
    assert_int_equal(warnings_at_start(WITHOUT_ROWID("TEXT"), RULE(", cursor: at")), 1);
    assert_int_equal(warnings_at_start(WITHOUT_ROWID("NUMERIC"), RULE("")), 1);
    /* and: no index makes the key of a view unique */
    assert_int_equal(warnings_at_start(VIEW("TEXT"), RULE(", cursor: id")), 2);
    assert_int_equal(warnings_at_start(WITHOUT_ROWID("INTEGER"), RULE("")), 0);
    assert_int_equal(warnings_at_start(WITHOUT_ROWID("INTEGER"), RULE(", cursor: at")), 0);
    assert_int_equal(warnings_at_start(VIEW("INTEGER"), RULE("")), 1);
    assert_int_equal(warnings_at_start("CREATE TABLE log(id INTEGER PRIMARY KEY, at)", SELECT_RULE), 0);
    assert_int_equal(warnings_at_start("CREATE TABLE log(id TEXT PRIMARY KEY, at)", RULE("")), 0);
}

/* Nobody said that a text key grows, and nothing else orders the rows: the rule is refused, and says what works. */
TEST(keys_that_cannot_work)
{
    static const char *const schemas[] = { WITHOUT_ROWID("TEXT"), WITHOUT_ROWID("VARCHAR(36)"), VIEW("TEXT"),
                                           "CREATE TABLE log(id CHAR(32) PRIMARY KEY, at)" };
    for (size_t i = 0; i < 4; i++) {
        stderr_catch();
        rig_begin(&rig, "DELETE", schemas[i], i == 3 ? SELECT_RULE : RULE(""));
        assert_non_null(strstr(stderr_caught(),
                               "does not grow, so rows that come with a smaller one would be lost: use "
                               "`kind: diff`, or a `cursor` that grows (id, if it does)"));
        assert_false(rig_inside(&rig)->rules[0]->usable);
        assert_int_equal(metric_value(rig_inside(&rig)->unusable), 1);
        rig_end(&rig);
    }
    /* a table of the same name that has a rowid is what it takes */
    rig_begin(&rig, "DELETE", WITHOUT_ROWID("TEXT"), RULE(""));
    app_exec(&rig, "DROP TABLE log; CREATE TABLE log(id TEXT PRIMARY KEY, at)");
    assert_int_equal(captured(), 0);
    app_exec(&rig, "INSERT INTO log VALUES ('a', 1)");
    assert_int_equal(captured(), 1);
    assert_int_equal(metric_value(rig_inside(&rig)->unusable), 0);
    rig_end(&rig);
}

/* A text with a NUL in it is a cursor as any other: its row comes once. */
TEST(nul_in_a_key)
{
    rig_begin(&rig, "DELETE", WITHOUT_ROWID("TEXT"), RULE(", cursor: id"));
    app_exec(&rig, "INSERT INTO log VALUES (CAST(x'610062' AS TEXT), 1)");
    assert_int_equal(captured(), 1);
    app_exec(&rig, "UPDATE log SET at = 2");
    assert_int_equal(captured(), 0);
    rig_restart(&rig);
    app_exec(&rig, "INSERT INTO log VALUES (CAST(x'610063' AS TEXT), 1)");
    assert_int_equal(captured(), 1);
    rig_end(&rig);
}

/* A row without a key, met by another cursor, is counted, and the rows behind it come. */
TEST(null_tells_no_rows_apart)
{
    rig_begin(
        &rig, "DELETE", "CREATE TABLE log(id, at)",
        "capture:\n- {name: log, kind: append, select: SELECT * FROM log, cursor: at, types: {insert: log.line}}\n");
    int64_t before = unkeyed();
    app_exec(&rig, "INSERT INTO log VALUES (NULL, 1)");
    assert_int_equal(captured(), 0);
    assert_int_equal(unkeyed(), before + 1);
    app_exec(&rig, "INSERT INTO log VALUES (1, 1), (2, 2)");
    assert_int_equal(captured(), 2);
    assert_int_equal(metric_value(rig_inside(&rig)->unusable), 0);
    rig_end(&rig);
}

/* A key of which only a hash is kept names its row, and the rows behind it go on. */
TEST(key_too_long)
{
    rig_begin(&rig, "DELETE", WITHOUT_ROWID("TEXT"), RULE(", cursor: id"));
    assert_int_equal(metric_value(rig_inside(&rig)->unusable), 0);
    app_exec(&rig, "INSERT INTO log VALUES ('a' || hex(zeroblob(300)), 1)");
    assert_int_equal(captured(), 1);
    app_exec(&rig, "INSERT INTO log VALUES ('b', 1)");
    assert_int_equal(captured(), 1);
    app_exec(&rig, "INSERT INTO log VALUES ('c', 1)");
    assert_int_equal(captured(), 1);
    assert_int_equal(metric_value(rig_inside(&rig)->unusable), 0);
    rig_end(&rig);
}

/* AUTOINCREMENT gives no rowid twice: another key at the cursor is the same row's. */
TEST(key_of_the_newest_row_is_changed)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE log(n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, x)", RULE(""));
    int64_t before = metric_value(rig_inside(&rig)->restarts);
    app_exec(&rig, "INSERT INTO log(id, x) VALUES ('a', 1), ('b', 2)");
    assert_int_equal(captured(), 2);
    app_exec(&rig, "UPDATE log SET id = 'z' WHERE id = 'b'");
    assert_int_equal(captured(), 0);
    rig_restart(&rig);
    app_exec(&rig, "UPDATE log SET id = 'y' WHERE id = 'z'");
    assert_int_equal(captured(), 0);
    app_exec(&rig, "UPDATE log SET id = hex(zeroblob(100000)) WHERE id = 'y'");
    assert_int_equal(captured(), 0);
    rig_restart(&rig);
    assert_int_equal(captured(), 0);
    app_exec(&rig, "INSERT INTO log(id, x) VALUES ('c', 3)");
    assert_int_equal(captured(), 1);
    assert_int_equal(metric_value(rig_inside(&rig)->restarts), before);
    rig_end(&rig);
}

/* Without AUTOINCREMENT it may be another row: it is told, but no ids have started again. */
TEST(key_at_the_cursor_is_another)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE log(id TEXT PRIMARY KEY, x)", RULE(""));
    int64_t before = metric_value(rig_inside(&rig)->restarts);
    app_exec(&rig, "INSERT INTO log VALUES ('a', 1), ('b', 2)");
    assert_int_equal(captured(), 2);
    app_exec(&rig, "UPDATE log SET id = 'z' WHERE id = 'b'");
    assert_int_equal(captured(), 1);
    rig_restart(&rig);
    app_exec(&rig, "UPDATE log SET id = 'y' WHERE id = 'z'");
    assert_int_equal(captured(), 1);
    assert_int_equal(metric_value(rig_inside(&rig)->restarts), before);
    assert_int_equal(rig_inside(&rig)->rules[0]->epoch, 0);
    rig_end(&rig);
}

#define IDS "CREATE TABLE log(id INTEGER PRIMARY KEY, x);"

/* Ids that the application chooses come in no order: those behind the largest are counted, also while it is stopped. */
TEST(ids_of_the_application)
{
    rig_begin(&rig, "DELETE", IDS, RULE(""));
    int64_t before = behind();
    static const char *const ids[] = { "4003199668773774391", "812", "9223372036854775807", "-3", "77" };
    size_t told = 0;
    for (size_t i = 0; i < 5; i++) {
        app_do(&rig, "INSERT INTO log VALUES (%s, 1)", ids[i]);
        told += captured();
        assert_int_equal((int64_t)told + behind() - before, i + 1);
    }
    assert_int_equal(told, 2);
    assert_true(warned_of_anything());
    rig_close(&rig);
    app_exec(&rig, "INSERT INTO log VALUES (5, 1), (6, 1); DELETE FROM log WHERE id = 77");
    rig_open(&rig, RULE(""));
    assert_int_equal(captured(), 0);
    assert_int_equal(behind(), before + 4); /* a deleted one hides one */
    rig_restart(&rig);
    assert_int_equal(captured(), 0);
    assert_int_equal(behind(), before + 4);
    rig_close(&rig);
    rig_open(&rig, RULE(", where: 'x = 2'")); /* another count */
    assert_int_equal(captured(), 0);
    app_exec(&rig, "INSERT INTO log VALUES (10, 1), (11, 2)");
    assert_int_equal(captured(), 0);
    assert_int_equal(behind(), before + 5);
    rig_end(&rig);
}

static void one_by_one(int rows)
{
    for (int i = 0; i < rows; i++) {
        app_exec(&rig, "INSERT INTO log(x) VALUES (1)");
        assert_int_equal(captured(), 1);
    }
}

/* A count of many rows takes several looks, while rows come and go. */
TEST(ids_of_the_application_among_many)
{
    rig_begin(&rig, "WAL",
              IDS "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)"
                  " INSERT INTO log SELECT i * 10, 0 FROM n",
              RULE(""));
    int64_t before = behind();
    for (int i = 1; i <= 9; i++) {
        app_do(&rig, "INSERT INTO log(x) VALUES (%d); DELETE FROM log WHERE id = %d", i, i * 10);
        assert_int_equal(captured(), 1);
    }
    one_by_one(6); /* what was deleted is not in the count any more */
    assert_int_equal(behind(), before);
    app_exec(&rig, "INSERT INTO log VALUES (100001, 0), (5, 0)");
    one_by_one(6);
    assert_int_equal(behind(), before + 2);
    assert_false(rig_inside(&rig)->rules[0]->epoch);
    rig_end(&rig);
}

/* The same for open rows. */
TEST(ids_of_open_rows)
{
    rig_begin(&rig, "DELETE", IDS,
              "capture:\n- {name: log, kind: open_row, table: log, done: x = 1, types: {started: s, done: d}}\n");
    int64_t before = behind();
    app_exec(&rig, "INSERT INTO log VALUES (100, 0)");
    assert_captured(&rig, "s");
    app_exec(&rig, "INSERT INTO log VALUES (50, 1)");
    assert_captured(&rig, "");
    assert_int_equal(behind(), before + 1);
    rig_end(&rig);
}

/* Wide gaps are warned of at the start; those of rows that were deleted are not. */
TEST(gaps_between_ids)
{
#define MANY(id)                                                                                                       \
    IDS "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50) INSERT INTO log SELECT " id      \
        ", 0 FROM n"
    assert_int_equal(warnings_at_start(MANY("random() >> 2"), RULE("")), 1);
    assert_int_equal(warnings_at_start(MANY("i * 5000"), RULE("")), 0);
    assert_int_equal(warnings_at_start(IDS "INSERT INTO log VALUES (1, 1), (1000000000000, 1)", RULE("")), 0);
}

static int64_t changed(void)
{
    return metric_value(rig_inside(&rig)->changed);
}

/* Rows that come again under the ids of the newest ones look like rows that were changed: both are counted. */
TEST(rows_are_replaced)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE log(id INTEGER PRIMARY KEY, x)", RULE(""));
    int64_t before = changed();
    app_exec(&rig, "INSERT INTO log VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')");
    assert_int_equal(captured(), 4);
    app_exec(&rig, "BEGIN; DELETE FROM log WHERE id > 2; INSERT INTO log(x) VALUES ('C'), ('D'); COMMIT");
    assert_int_equal(captured(), 0);
    assert_int_equal(changed(), before + 2);
    app_exec(&rig, "UPDATE log SET x = 'DD' WHERE id = 4");
    assert_int_equal(captured(), 0);
    assert_int_equal(changed(), before + 3);
    app_exec(&rig, "INSERT INTO log(x) VALUES ('e')");
    assert_int_equal(captured(), 1);
    rig_close(&rig);
    app_exec(&rig, "BEGIN; DELETE FROM log WHERE id = 5; INSERT INTO log(x) VALUES ('E'); COMMIT");
    rig_open(&rig, RULE(""));
    assert_int_equal(captured(), 0);
    assert_int_equal(changed(), before + 4);
    app_exec(&rig, "ALTER TABLE log ADD COLUMN y");
    assert_int_equal(captured(), 0);
    assert_int_equal(changed(), before + 4);
    rig_end(&rig);
    rig_begin(
        &rig, "DELETE", "CREATE TABLE log(id INTEGER PRIMARY KEY, x); CREATE TABLE n(x, name);",
        "capture:\n- {name: log, kind: append, table: log, select: 'SELECT log.*, name FROM log LEFT JOIN n USING (x)',"
        " types: {insert: log.line}}\n");
    app_exec(&rig, "INSERT INTO log VALUES (1, 'a')");
    assert_int_equal(captured(), 1);
    app_exec(&rig, "INSERT INTO n VALUES ('a', 'A')"); /* the row is the same */
    assert_int_equal(captured(), 0);
    assert_int_equal(changed(), before + 4);
    rig_end(&rig);
    rig_begin(&rig, "DELETE", "CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, x)", RULE(""));
    app_exec(&rig, "INSERT INTO log VALUES (1, 'a')");
    assert_int_equal(captured(), 1);
    app_exec(&rig, "UPDATE log SET x = 'A'");
    assert_int_equal(captured(), 0);
    assert_int_equal(changed(), before + 4);
    rig_end(&rig);
}

/* Fewer rows come again than were deleted: they are told, under ids of their own. */
TEST(fewer_rows_come_again)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE log(id INTEGER PRIMARY KEY, x)", RULE(""));
    app_exec(&rig, "INSERT INTO log VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')");
    rig_settle(&rig);
    app_exec(&rig, "BEGIN; DELETE FROM log WHERE id > 1; INSERT INTO log(x) VALUES ('B'), ('C'); COMMIT");
    rig_settle(&rig);
    assert_int_equal(rig.seen_count, 6);
    assert_true(rig_has(rig.seen[4], "\"x\":\"B\"") && rig_has(rig.seen[5], "\"x\":\"C\""));
    assert_false(str_eq(rig.seen[1]->id, rig.seen[4]->id));
    rig_forget(&rig);
    rig_restart(&rig);
    assert_int_equal(captured(), 0);
    rig_end(&rig);
}

static int64_t restarts(void)
{
    return metric_value(rig_inside(&rig)->restarts);
}

/* All rows are deleted and fewer come in the same commit: they are told, each under an id of its own. */
static void all_are_replaced(const char *schema, const char *insert)
{
    rig_begin(&rig, "DELETE", schema, RULE(""));
    int64_t before = restarts();
    for (int round = 1; round <= 2; round++) {
        app_do(&rig, "DELETE FROM log; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10) %s",
               insert);
        rig_settle(&rig);
        rig_forget(&rig);
        app_do(&rig,
               "BEGIN; DELETE FROM log; WITH RECURSIVE n(i) AS (SELECT 101 UNION ALL SELECT i + 1 FROM n WHERE i < 103)"
               " %s; COMMIT",
               insert);
        assert_int_equal(captured(), 3);
    }
    assert_true(restarts() >= before + 2);
    rig_restart(&rig);
    assert_int_equal(captured(), 0);
    rig_end(&rig);
}

TEST(all_rows_are_replaced)
{
    all_are_replaced("CREATE TABLE log(id INTEGER PRIMARY KEY, x)", "INSERT INTO log(x) SELECT i FROM n");
    all_are_replaced("CREATE TABLE log(id TEXT PRIMARY KEY, x)", "INSERT INTO log SELECT 'k' || i, i FROM n");
}

/* More are deleted than come again, a part of the table: the new ones are told, and those that stay are not. */
TEST(many_rows_are_replaced)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE log(id INTEGER PRIMARY KEY, x)", RULE(""));
    app_exec(&rig, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)"
                   " INSERT INTO log SELECT i, i FROM n");
    assert_int_equal(captured(), 100);
    app_exec(&rig, "BEGIN; DELETE FROM log WHERE id > 30; INSERT INTO log(x) VALUES ('a'), ('b'); COMMIT");
    assert_int_equal(captured(), 2);
    rig_restart(&rig); /* it knows the newest row only, 32 */
    app_exec(&rig, "INSERT INTO log(x) VALUES ('c'), ('d'), ('e')");
    assert_int_equal(captured(), 3);
    app_exec(&rig, "BEGIN; DELETE FROM log WHERE id > 31; INSERT INTO log(x) VALUES ('C'), ('D'); COMMIT");
    assert_int_equal(captured(), 2);
    app_exec(&rig, "INSERT INTO log(x) VALUES ('f')");
    assert_int_equal(captured(), 1);
    rig_end(&rig);
}

/* The newest rows are deleted, and their rowids used again, while the daemon is down: the new rows are told, all of them. */
TEST(rows_are_replaced_while_down)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE log(id TEXT PRIMARY KEY, x)", RULE(""));
    app_exec(&rig, "INSERT INTO log VALUES ('f', 1), ('a', 2), ('e', 3), ('b', 4), ('d', 5), ('c', 6)");
    assert_int_equal(captured(), 6);
    for (int i = 0; i < 2; i++) {
        rig_close(&rig);
        app_exec(&rig, "DELETE FROM log WHERE rowid > 3");
        app_exec(&rig, "INSERT INTO log SELECT hex(randomblob(4)), 'new' || value FROM json_each('[1,2,3]')");
        if (i)
            app_exec(&rig, "UPDATE log SET x = x || 'again' WHERE rowid > 3");
        char *yaml = strdup(rig.yaml);
        rig_open(&rig, yaml);
        free(yaml);
        rig_settle(&rig);
        assert_int_equal(rig_count(&rig, "log.line", NULL), 3);
        for (size_t k = 0; k < 3; k++)
            assert_true(rig_has(rig_event(&rig, "log.line", NULL, k), i ? "again" : "new"));
        rig_forget(&rig);
    }
    rig_restart(&rig);
    assert_int_equal(captured(), 0);
    rig_end(&rig);
}

/* Nor are they lost where that happens in the middle of a look, which is read in pieces. */
TEST(rows_are_replaced_during_a_look)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE log(id TEXT PRIMARY KEY, x)", RULE("") "batch: 1\n");
    rig.room = 1;
    app_exec(&rig, "INSERT INTO log VALUES ('f', 1), ('a', 2), ('e', 3), ('b', 4)");
    struct err e = { 0 };
    while (rig.seen_count < 3)
        assert_true(rig_read(&rig, &e) >= 0);
    app_exec(&rig, "DELETE FROM log WHERE x > 1; INSERT INTO log VALUES ('k', 'new'), ('c', 'new'), ('d', 'new')");
    rig_forget(&rig);
    rig_settle(&rig);
    size_t fresh = 0;
    for (size_t i = 0; i < rig.seen_count; i++)
        fresh += rig_has(rig.seen[i], "new");
    assert_int_equal(fresh, 3);
    rig_end(&rig);
}

/* So are they where none is left of those that were told, and as many came. */
TEST(told_rows_are_replaced_while_down)
{
    for (int i = 0; i < 3; i++) {
        rig_new(&rig, "DELETE");
        app_exec(&rig, "CREATE TABLE log(id TEXT PRIMARY KEY, x); INSERT INTO log VALUES ('p', 0), ('q', 0)");
        rig_open(&rig, RULE("")); /* from now on */
        assert_int_equal(captured(), 0);
        app_exec(&rig, "INSERT INTO log VALUES ('b', 1), ('a', 2)");
        assert_int_equal(captured(), 2);
        rig_close(&rig);
        app_exec(&rig, "DELETE FROM log WHERE x > 0");
        app_exec(&rig, i == 0   ? "INSERT INTO log VALUES ('c', 3)"
                       : i == 1 ? "INSERT INTO log VALUES ('d', 3), ('c', 4)"
                                : "INSERT INTO log VALUES ('d', 3), ('c', 4), ('e', 5)");
        rig_open(&rig, RULE(""));
        assert_int_equal(captured(), i + 1);
        rig_restart(&rig);
        assert_int_equal(captured(), 0);
        rig_end(&rig);
    }
}

/* Random keys grow in no order, the rowid does: the default. */
TEST(random_keys)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE log(id TEXT PRIMARY KEY, x)", RULE(""));
    static const char *const keys[] = { "m", "z", "a", "k", "b" };
    for (size_t i = 0; i < 5; i++) {
        app_do(&rig, "INSERT INTO log VALUES ('%s', %zu)", keys[i], i);
        assert_int_equal(captured(), 1);
    }
    assert_false(warned_of_anything());
    rig_restart(&rig);
    assert_int_equal(captured(), 0);
    rig_end(&rig);
}

/* Numbers kept as text: 10 sorts before 9. Not with the default; a cursor that says so is warned of, and what it loses
 * is counted. */
TEST(numbers_as_text)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE log(id TEXT PRIMARY KEY, x); INSERT INTO log VALUES ('8', 0)", RULE(""));
    app_exec(&rig, "INSERT INTO log VALUES ('9', 1), ('10', 2)");
    assert_int_equal(captured(), 2);
    rig_close(&rig);
    rig_open(&rig, "capture:\n- {name: other, kind: append, table: log, cursor: id, types: {insert: log.line}}\n");
    assert_int_equal(captured(), 0);
    assert_true(warned_of_anything());
    app_exec(&rig, "INSERT INTO log VALUES ('91', 3), ('11', 4)");
    assert_int_equal(captured(), 1);
    assert_int_equal(behind(), 1);
    rig_restart(&rig);
    assert_int_equal(captured(), 0);
    assert_int_equal(behind(), 1);
    app_exec(&rig, "INSERT INTO log VALUES ('12', 5), ('13', 6)");
    assert_int_equal(captured(), 0);
    assert_int_equal(behind(), 3);
    rig_end(&rig);
}

/* A row with a time of before is not captured, but counted; also one without any. */
TEST(rows_behind_the_cursor)
{
    rig_begin(&rig, "WAL", "CREATE TABLE log(id INTEGER PRIMARY KEY, at); CREATE INDEX i ON log(at)",
              RULE(", cursor: at"));
    int64_t before = behind(), restarts = metric_value(rig_inside(&rig)->restarts);
    app_exec(&rig, "INSERT INTO log(at) VALUES (10), (20)");
    assert_int_equal(captured(), 2);
    assert_int_equal(behind(), before);
    app_exec(&rig, "INSERT INTO log(at) VALUES (15), (30), (NULL)");
    assert_int_equal(captured(), 1);
    assert_int_equal(behind(), before + 2);
    app_exec(&rig, "DELETE FROM log WHERE id > 2"); /* not: ids start again */
    assert_int_equal(captured(), 0);
    assert_int_equal(metric_value(rig_inside(&rig)->restarts), restarts);
    rig_end(&rig);
}

TEST(rows_without_a_key)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE log(id TEXT PRIMARY KEY, x)",
              RULE("") "- {name: t, kind: diff, table: log, types: {insert: t.made}}\n");
    int64_t before = unkeyed();
    app_exec(&rig, "INSERT INTO log VALUES ('a', 1), (NULL, 2), (NULL, 3), ('b', 4)");
    assert_captured(&rig, "log.line log.line t.made t.made");
    assert_int_equal(unkeyed(), before + 4); /* two rules, two rows */
    app_exec(&rig, "INSERT INTO log VALUES ('c', 1)");
    assert_captured(&rig, "log.line t.made");
    assert_int_equal(unkeyed(), before + 4);
    rig_end(&rig);
}

/* What an event is called rests on its key alone: the row changes, and nothing comes again. */
TEST(identity_is_the_key)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE log(id INTEGER PRIMARY KEY, at, x)", RULE(", time: at"));
    int64_t restarts = metric_value(rig_inside(&rig)->restarts);
    app_exec(&rig, "INSERT INTO log VALUES (1, 10, 'a'), (2, 20, 'b'), (3, 30, 'c'), (4, 40, 'd')");
    assert_int_equal(captured(), 4);
    app_exec(&rig, "UPDATE log SET at = at + 1, x = 'other'");
    assert_int_equal(captured(), 0);
    rig_restart(&rig);
    app_exec(&rig, "UPDATE log SET at = 99 WHERE id = 4");
    assert_int_equal(captured(), 0);
    assert_int_equal(metric_value(rig_inside(&rig)->restarts), restarts);
    assert_int_equal(rig_inside(&rig)->rules[0]->epoch, 0);
    rig_end(&rig);
}

/* VACUUM numbers the rows of a table without INTEGER PRIMARY KEY anew: the cursor follows its row. */
TEST(rowids_are_numbered_anew)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE log(id TEXT PRIMARY KEY, x)", RULE(""));
    app_exec(&rig, "INSERT INTO log VALUES ('a', 1), ('b', 2), ('c', 3), ('d', 4)");
    assert_int_equal(captured(), 4);
    app_exec(&rig, "DELETE FROM log WHERE id IN ('a', 'b'); VACUUM; INSERT INTO log VALUES ('e', 5)");
    assert_int_equal(captured(), 1);
    app_exec(&rig, "DELETE FROM log WHERE id = 'c'; VACUUM; INSERT INTO log VALUES ('f', 6), ('g', 7)");
    rig_restart(&rig);
    assert_int_equal(captured(), 2);
    assert_int_equal(rig_inside(&rig)->rules[0]->epoch, 0);
    rig_end(&rig);
}

/* The newest rows are deleted and their rowids come again: what is new is everything behind the last row that is left. */
TEST(rowids_come_again)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE log(id TEXT PRIMARY KEY, x)", RULE(""));
    app_exec(&rig, "INSERT INTO log VALUES ('a', 1), ('b', 2), ('c', 3), ('d', 4)");
    assert_int_equal(captured(), 4);
    app_exec(&rig, "DELETE FROM log WHERE id IN ('c', 'd'); INSERT INTO log VALUES ('e', 5)"); /* fewer */
    assert_int_equal(captured(), 1);
    app_exec(&rig, "DELETE FROM log WHERE id IN ('b', 'e'); INSERT INTO log VALUES ('f', 6), ('g', 7), ('h', 8)");
    assert_int_equal(captured(), 3);
    app_exec(&rig, "INSERT INTO log VALUES ('i', 9)");
    assert_int_equal(captured(), 1);
    rig_restart(&rig);
    assert_int_equal(captured(), 0);
    rig_end(&rig);
}

/* The state that the version before wrote is taken over: a hash of mutable columns tells nothing, a cursor that was the
 * key goes on behind its row, one of a time goes on with its last value, under the same ids. */
static void take_over(const char *schema, const char *rule, const char *cursor, size_t wanted)
{
    rig_new(&rig, "DELETE");
    app_exec(&rig, schema);
    int64_t before;
    rig.state.at = mem_grow(NULL, 2, sizeof *rig.state.at);
    rig.state.count = 2;
    rig.state.at[0] = (struct rig_pair){ str_dup(STR("log/ready")), str_dup(STR("1")), 1, false };
    rig.state.at[1] = (struct rig_pair){ str_dup(STR("log/cursor")), str_dup(str_of(cursor)), strlen(cursor), false };
    rig_open(&rig, rule);
    before = behind();
    assert_int_equal(captured(), wanted);
    assert_int_equal(rig_inside(&rig)->rules[0]->epoch, 0);
    rig_restart(&rig);
    assert_int_equal(captured(), 0);
    assert_int_equal(behind(), before);
    rig_end(&rig);
}

TEST(earlier_state)
{
    take_over("CREATE TABLE log(id INTEGER PRIMARY KEY, at); INSERT INTO log VALUES (1, 1), (2, 2), (3, 3)",
              RULE(", time: at"), "00000000000000ab i2", 1);
    take_over("CREATE TABLE log(id INTEGER PRIMARY KEY, at); INSERT INTO log VALUES (1, 1), (2, 2), (3, 3)", RULE(""),
              "+2,0,0,ab,cd i2i2", 1);
    take_over(
        "CREATE TABLE log(id TEXT PRIMARY KEY, at); INSERT INTO log VALUES ('a', 1), ('m', 2), ('c', 3), ('x', 4)",
        RULE(""), "00000000000000ab tm", 2);
    take_over("CREATE TABLE log(id TEXT PRIMARY KEY, at); CREATE INDEX i ON log(at);"
              "INSERT INTO log VALUES ('a', 1), ('m', 2), ('c', 2), ('x', 4)",
              RULE(", cursor: at"), "00000000000000ab i2", 3);
}

/* A backup is put back in place, and has got new rows by the next look: they are told. */
TEST(rows_of_a_backup)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, x)", RULE(""));
    app_exec(&rig, "INSERT INTO log(x) VALUES ('a'), ('b'), ('c'), ('d'), ('e')");
    assert_int_equal(captured(), 5);
    app_exec(&rig, "BEGIN; DELETE FROM log WHERE id > 2; UPDATE sqlite_sequence SET seq = 2;"
                   "INSERT INTO log(x) VALUES ('C'), ('D'); COMMIT");
    assert_int_equal(captured(), 2);
    rig_restart(&rig);
    assert_int_equal(captured(), 0);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_rows_of_one_value),
        cmocka_unit_test(many_rows_of_one_value_without_rowid),
        cmocka_unit_test(keys_that_do_not_grow),
        cmocka_unit_test(keys_that_cannot_work),
        cmocka_unit_test(nul_in_a_key),
        cmocka_unit_test(null_tells_no_rows_apart),
        cmocka_unit_test(key_too_long),
        cmocka_unit_test(key_of_the_newest_row_is_changed),
        cmocka_unit_test(key_at_the_cursor_is_another),
        cmocka_unit_test(rows_are_replaced),
        cmocka_unit_test(fewer_rows_come_again),
        cmocka_unit_test(rows_of_a_backup),
        cmocka_unit_test(rows_are_replaced_while_down),
        cmocka_unit_test(rows_are_replaced_during_a_look),
        cmocka_unit_test(told_rows_are_replaced_while_down),
        cmocka_unit_test(random_keys),
        cmocka_unit_test(numbers_as_text),
        cmocka_unit_test(rows_behind_the_cursor),
        cmocka_unit_test(rows_without_a_key),
        cmocka_unit_test(identity_is_the_key),
        cmocka_unit_test(rowids_are_numbered_anew),
        cmocka_unit_test(rowids_come_again),
        cmocka_unit_test(earlier_state),
        cmocka_unit_test(all_rows_are_replaced),
        cmocka_unit_test(many_rows_are_replaced),
        cmocka_unit_test(ids_of_the_application),
        cmocka_unit_test(ids_of_the_application_among_many),
        cmocka_unit_test(ids_of_open_rows),
        cmocka_unit_test(gaps_between_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
