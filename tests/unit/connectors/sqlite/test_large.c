/* SPDX-License-Identifier: MIT */
/* A row with a value that is too large to be read: it is an event without that value, it costs no memory, and it blocks
 * no other. */
#include <stdio.h>
#include "tests/support/sqlite_rig.h"

enum { BOUND = 64 << 20 }; /* of SQLite's memory, while values of several hundred MB are there */

static struct rig rig;

static void assert_truncated(const char *type, size_t i, const char *columns)
{
    const struct event *ev = rig_event(&rig, type, NULL, i);
    assert_true(str_eq(rig_attribute(ev, "truncated"), str_of(columns)));
}

/* A large BLOB, a large text, a view's column made of nothing: all rules go on, with what is left of the row. */
TEST(large_values)
{
    rig_begin(
        &rig, "DELETE",
        "CREATE TABLE log(id INTEGER PRIMARY KEY, a, b);"
        "CREATE VIEW v AS SELECT id, a, hex(zeroblob(CASE id WHEN 3 THEN 400000000 ELSE 2 END)) AS h FROM log",
        "capture:\n"
        "- {name: log, kind: append, table: log, types: {insert: line}, columns: {id: value, a: value, b: value}}\n"
        "- {name: v, kind: append, table: v, types: {insert: view}}\n"
        "- {name: d, kind: diff, table: log, watch: [a, b], types: {insert: made, update: changed, delete: gone}}\n"
        "- {name: o, kind: open_row, table: log, done: \"a = 'x' OR a > x'00'\", abort_after: 10m,\n"
        "   types: {started: started, done: done, aborted: aborted}}\n");
    app_exec(&rig, "INSERT INTO log VALUES (1, 'x', 1), (2, zeroblob(300000000), 2), (3, 'x', 3), (4, 'x', 4)");
    app_exec(&rig, "PRAGMA shrink_memory");
    sqlite3_memory_highwater(1);
    rig_settle(&rig);
    assert_true(sqlite3_memory_highwater(0) < BOUND);
    assert_int_equal(rig_count(&rig, "line", NULL), 4);
    assert_truncated("line", 1, "a");
    assert_true(rig_has(rig_event(&rig, "line", NULL, 1), "\"b\":2"));
    assert_truncated("line", 2, "");
    assert_int_equal(rig_count(&rig, "view", NULL), 4);
    assert_truncated("view", 1, "a");
    assert_truncated("view", 2, "h");
    assert_int_equal(rig_count(&rig, "made", NULL), 4);
    assert_truncated("made", 1, "a");
    assert_int_equal(rig_count(&rig, "done", NULL), 3);
    assert_int_equal(rig_count(&rig, "started", NULL), 1);
    rig_forget(&rig);
    app_exec(&rig, "UPDATE log SET b = 5 WHERE id = 2");
    assert_captured(&rig, "changed");
    app_exec(&rig, "UPDATE log SET a = 'x' WHERE id = 2");
    assert_captured(&rig, "changed done");
    app_exec(&rig, "INSERT INTO log VALUES (5, 'x', 5)");
    rig_settle(&rig);
    assert_int_equal(rig_count(&rig, NULL, NULL), 4);
    rig_forget(&rig);
    rig_restart(&rig);
    assert_captured(&rig, "");
    rig_end(&rig);
}

/* Where not even the key or the condition can be read, the row is refused and counted, and the next one's turn comes. */
TEST(rows_that_cannot_be_read)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE log(id INTEGER PRIMARY KEY, a)",
              "capture:\n"
              "- {name: log, kind: append, table: log, where: \"a <> 'no'\", types: {insert: line}}\n"
              "- {name: d, kind: diff, table: log, where: \"a <> 'no'\", types: {insert: made, delete: gone}}\n");
    int64_t before = metric_value(rig_inside(&rig)->refused);
    app_exec(&rig, "INSERT INTO log VALUES (1, 'x'), (2, CAST(zeroblob(100000000) AS TEXT)), (3, 'no'), (4, 'x')");
    rig_settle(&rig);
    assert_int_equal(rig.dead_count, 2);
    assert_types(&rig, "line line made made");
    assert_int_equal(metric_value(rig_inside(&rig)->refused), before + 2);
    app_exec(&rig, "INSERT INTO log VALUES (5, 'x')");
    assert_captured(&rig, "line made");
    rig_end(&rig);
}

static void assert_dead(size_t i, const char *subject, const char *data)
{
    assert_true(str_eq(rig.dead[i]->type, STR("aqueduct.row.refused")));
    assert_true(str_eq(rig.dead[i]->subject, str_of(subject)));
    if (!str_eq(rig.dead[i]->data, str_of(data)))
        fail_msg("%.*s", STR_ARG(rig.dead[i]->data));
}

/* Such a row is a dead letter that says which it is, why, and what can be told of it; the position does not pass it before
 * that is stored, and after a crash it is the same one. */
TEST(a_refused_row_is_a_dead_letter)
{
    static char ids[3][UUID_TEXT];
    rig_begin(&rig, "WAL", "CREATE TABLE log(id INTEGER PRIMARY KEY, a, b, pw)",
              "capture:\n"
              "- {name: log, kind: append, table: log, where: \"a <> 'no'\", types: {insert: line}}\n"
              "- {name: t, kind: append, table: log, types: {insert: '{b}'}, never: [pw], mask: [a]}\n");
    app_exec(&rig, "INSERT INTO log VALUES (1, 'x', 'l', 'p'), (2, CAST(zeroblob(100000000) AS TEXT), '', 'p'),"
                   " (3, 'y', '', 'p')");
    for (int life = 0; life < 2; life++) {
        rig.confirm = life > 0;
        rig_settle(&rig);
        assert_int_equal(rig.dead_count, 3);
        assert_dead(0, "log/rowid 2",
                    "{\"table\":\"log\",\"rule\":\"log\",\"row\":\"rowid 2\","
                    "\"why\":\"`where` reads a value of it that is too large\"}");
        assert_dead(2, "log/id 3",
                    "{\"table\":\"log\",\"rule\":\"t\",\"row\":\"id 3\",\"operation\":\"insert\",\"type\":\"{b}\","
                    "\"why\":\"event attribute type is empty\",\"data\":{\"id\":3,\"a\":\"***\",\"b\":\"\"}}");
        assert_string_equal(rig.dead_why, "event attribute type is empty");
        for (size_t i = 0; i < 3; i++) {
            assert_true(life == 0 || str_eq(rig.dead[i]->id, str_of(ids[i])));
            snprintf(ids[i], sizeof ids[i], "%.*s", STR_ARG(rig.dead[i]->id));
        }
        assert_string_not_equal(ids[0], ids[1]);
        rig_forget(&rig);
        rig_restart(&rig);
    }
    assert_captured(&rig, "");
    assert_int_equal(rig.dead_count, 0);
    rig_end(&rig);
}

/* A subject or a type that names a column which cannot stand in it: the subject is the default, the type goes without, a
 * row whose type is nothing then is refused, and all of it says why. */
TEST(templates_of_what_cannot_be_read)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE log(id INTEGER PRIMARY KEY, a)",
              "capture:\n"
              "- {name: s, kind: append, table: log, subject: 'l/{a}', types: {insert: line}}\n"
              "- {name: n, kind: append, table: log, subject: '{b}', types: {insert: other}}\n"
              "- {name: t, kind: append, table: log, types: {insert: '{a}.made'}}\n"
              "- {name: e, kind: append, table: log, types: {insert: '{a}'}}\n");
    int64_t before = metric_value(rig_inside(&rig)->refused);
    app_exec(&rig, "INSERT INTO log VALUES (1, 'x'), (2, zeroblob(100000000)), (3, hex(zeroblob(100000))), (4, 'x')");
    rig_settle(&rig);
    assert_int_equal(rig_count(&rig, "line", "l/x"), 2);
    assert_int_equal(rig_count(&rig, "line", "log/2"), 1);
    assert_int_equal(rig_count(&rig, "line", "log/3"), 1);
    assert_int_equal(rig_count(&rig, "other", "log/1"), 1);
    assert_int_equal(rig_count(&rig, "x.made", NULL), 2);
    assert_int_equal(rig_count(&rig, ".made", NULL), 2);
    assert_int_equal(rig_count(&rig, "x", NULL), 2);
    assert_int_equal(rig_count(&rig, NULL, NULL), 14);
    assert_int_equal(metric_value(rig_inside(&rig)->refused), before + 2);
    assert_int_equal(rig_inside(&rig)->rules[0]->warned_count, 2); /* too large, too long */
    assert_int_equal(rig_inside(&rig)->rules[1]->warned_count, 1);
    assert_int_equal(rig_inside(&rig)->rules[2]->warned_count, 2);
    rig_forget(&rig);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(large_values), cmocka_unit_test(rows_that_cannot_be_read),
                                        cmocka_unit_test(a_refused_row_is_a_dead_letter),
                                        cmocka_unit_test(templates_of_what_cannot_be_read) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
