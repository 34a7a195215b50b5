/* SPDX-License-Identifier: MIT */
/* Kind outbox: every change that triggers wrote down is told, in order and once, or counted as lost; and what becomes of
 * the triggers is seen. */
#include <stdio.h>
#include <stdlib.h>
#include "connectors/sqlite/triggers.h"
#include "tests/support/sqlite_rig.h"
#include "tests/support/stderr.h"

static struct rig rig;
static int64_t lost_before; /* the metrics are those of all tests */

#define RULE(more)                                                                                                     \
    "capture:\n- {name: t, kind: outbox, table: t, watch: [v], types: {insert: t.made, update: t.changed, delete: "    \
    "t.gone}" more "}\n"
#define TABLE       "CREATE TABLE t(id INTEGER PRIMARY KEY, v, w)"
#define LOST        metric_value(rig_inside(&rig)->lost)
#define UNTRIGGERED metric_value(rig_inside(&rig)->untriggered_rules)
#define REFUSED     metric_value(rig_inside(&rig)->refused)

/* ---- what `aqueduct sqlite setup` does ---- */

static void set_up(void)
{
    const struct rule_options *o;
    for (size_t i = 0; (o = source_rule(rig_inside(&rig), i)); i++) {
        struct trigger_plan p;
        struct err e = { "" };
        if (!triggers_plan(rig.app, "app", o, false, &p, &e))
            fail_msg("%s", e.text);
        if (!triggers_has(rig.app, &p, "", NULL))
            app_exec(&rig, p.create);
        for (enum trigger_op op = TRIGGER_INSERT; op < TRIGGER_OPS; op++)
            if (triggers_state(rig.app, &p, op) == TRIGGER_MISSING)
                app_exec(&rig, p.sql[op]);
        triggers_free(&p);
    }
}

/* The tables are there, and the triggers, and nothing was told. */
static void begin(const char *schema, const char *rule)
{
    rig_begin(&rig, "WAL", schema, rule);
    set_up();
    assert_captured(&rig, "");
    lost_before = LOST;
}

static bool ready(struct err *why)
{
    return sqlite_source.ready(rig.s, why);
}

static struct str id_of(const char *type, size_t i)
{
    return rig_event(&rig, type, NULL, i)->id;
}

static void assert_ids_differ(void)
{
    for (size_t i = 0; i < rig.seen_count; i++)
        for (size_t k = 0; k < i; k++)
            assert_false(str_eq(rig.seen[i]->id, rig.seen[k]->id));
}

/* ---- changes ---- */

TEST(every_state_between_two_looks)
{
    begin(TABLE, RULE(""));
    app_exec(&rig, "INSERT INTO t VALUES (1, 'a', 0); UPDATE t SET v = 'b'; UPDATE t SET v = 'a'; UPDATE t SET w = 1;"
                   "UPDATE t SET v = 'a'; UPDATE t SET v = 'A', w = 2; DELETE FROM t");
    rig_settle(&rig);
    assert_true(rig_has(rig_event(&rig, "t.changed", "t/1", 0), "\"v\":\"b\""));
    assert_true(rig_has(rig_event(&rig, "t.changed", "t/1", 2), "{\"id\":1,\"v\":\"A\",\"w\":2}"));
    assert_true(rig_has(rig_event(&rig, "t.gone", "t/1", 0), "{\"id\":1,\"v\":\"A\",\"w\":2}"));
    assert_true(str_eq(rig_attribute(rig_event(&rig, "t.changed", NULL, 0), "changed"), STR("v")));
    assert_true(str_eq(rig_attribute(rig_event(&rig, "t.made", NULL, 0), "snapshot"), STR("")));
    assert_ids_differ();
    assert_types(&rig, "t.made t.changed t.changed t.changed t.gone");
    rig_restart(&rig);
    assert_captured(&rig, "");
    assert_int_equal(LOST, lost_before);
    rig_end(&rig);
}

/* A watched column that differs by its collation alone, and one that is computed of others. */
TEST(changes_that_are_hard_to_see)
{
    begin("CREATE TABLE t(id INTEGER PRIMARY KEY, c TEXT COLLATE NOCASE, w, v AS (w * 2))",
          "capture:\n- {name: t, kind: outbox, table: t, watch: [v, c], types: {v: t.v, c: t.c}}\n");
    app_exec(&rig, "INSERT INTO t(id, c, w) VALUES (1, 'a', 1)");
    assert_captured(&rig, "t.c");
    app_exec(&rig, "UPDATE t SET c = 'A'; UPDATE t SET w = 2; UPDATE t SET w = 2, c = 'A'");
    assert_captured(&rig, "t.c t.v");
    rig_end(&rig);
}

TEST(transactions)
{
    begin(TABLE "; CREATE TABLE child(id INTEGER PRIMARY KEY, t REFERENCES t ON DELETE CASCADE)",
          RULE("") "- {name: c, kind: outbox, table: child, types: {delete: c.gone}}\n");
    app_exec(&rig, "PRAGMA foreign_keys = 1; BEGIN; INSERT INTO t VALUES (1, 1, 1); ROLLBACK;"
                   "BEGIN; INSERT INTO t VALUES (2, 1, 1); SAVEPOINT s; UPDATE t SET v = 2; ROLLBACK TO s; COMMIT;"
                   "INSERT OR IGNORE INTO t VALUES (2, 3, 3);"
                   "INSERT INTO t VALUES (2, 4, 4) ON CONFLICT DO UPDATE SET v = excluded.v;"
                   "INSERT INTO child VALUES (7, 2), (8, 2); DELETE FROM t WHERE id = 2; VACUUM");
    rig_settle(&rig);
    assert_int_equal(rig_count(&rig, "c.gone", NULL), 2);
    assert_types(&rig, "t.made t.changed t.gone c.gone c.gone");
    assert_int_equal(LOST, lost_before);
    rig_end(&rig);
}

/* A row that is replaced is deleted silently, unless the application has recursive triggers; a row that gets another key
 * is another one. */
TEST(replaced_and_moved)
{
    begin(TABLE, RULE(""));
    app_exec(&rig, "INSERT INTO t VALUES (1, 'a', 0); REPLACE INTO t VALUES (1, 'b', 0)");
    rig_settle(&rig);
    assert_true(rig_has(rig_event(&rig, "t.made", "t/1", 1), "\"v\":\"b\""));
    assert_types(&rig, "t.made t.made");
    app_exec(&rig, "PRAGMA recursive_triggers = 1; REPLACE INTO t VALUES (1, 'c', 0)");
    rig_settle(&rig);
    assert_true(rig_has(rig_event(&rig, "t.gone", "t/1", 0), "\"v\":\"b\""));
    assert_types(&rig, "t.gone t.made");
    app_exec(&rig, "UPDATE t SET id = 5, v = 'd'");
    rig_settle(&rig);
    assert_true(rig_has(rig_event(&rig, "t.gone", "t/1", 0), "\"v\":\"c\""));
    assert_true(rig_has(rig_event(&rig, "t.made", "t/5", 0), "\"v\":\"d\""));
    assert_types(&rig, "t.gone t.made");
    rig_end(&rig);
}

TEST(values_as_they_are)
{
    begin(TABLE, RULE(""));
    app_exec(&rig,
             "INSERT INTO t VALUES (9223372036854775807, -9223372036854775808, x'00ff'); DELETE FROM t;"
             "INSERT INTO t VALUES (1, 0.1 + 0.2, 9e999); INSERT INTO t VALUES (2, CAST(x'61ff62' AS TEXT), NULL);"
             "INSERT INTO t VALUES (3, CAST(x'610062' AS TEXT), '{\"deep\":[1,{\"x\":\"' || char(10) || '\"}]}');");
    rig_settle(&rig);
    assert_true(rig_has(rig_event(&rig, "t.made", NULL, 0),
                        "{\"id\":9223372036854775807,\"v\":-9223372036854775808,\"w\":\"AP8=\"}"));
    assert_true(rig_has(rig_event(&rig, "t.gone", NULL, 0), "\"w\":\"AP8=\""));
    assert_true(rig_has(rig_event(&rig, "t.made", "t/1", 0), "\"v\":0.30000000000000004,\"w\":null"));
    assert_true(rig_has(rig_event(&rig, "t.made", "t/2", 0), "\"v\":\"a\xef\xbf\xbd"
                                                             "b\",\"w\":null"));
    assert_true(rig_has(rig_event(&rig, "t.made", "t/3", 0), "\"v\":\"a\\u0000b\""));
    assert_types(&rig, "t.made t.gone t.made t.made t.made");
    rig_end(&rig);
}

/* A value that cannot be read is left out, and SQL that fails for a row refuses that row alone. */
TEST(rows_that_are_hard_to_read)
{
    begin(TABLE, RULE(", where: \"json_extract(coalesce(w, '{}'), '$.x') IS NOT 1\""));
    int64_t refused = REFUSED;
    app_exec(
        &rig,
        "INSERT INTO t VALUES (1, zeroblob(20000000), NULL), (2, 1, 'no JSON'), (3, 1, '{\"x\":1}'), (4, 1, NULL)");
    rig_settle(&rig);
    assert_true(str_eq(rig_attribute(rig_event(&rig, "t.made", "t/1", 0), "truncated"), STR("v")));
    assert_int_equal(rig_count(&rig, "t.made", "t/4"), 1);
    assert_types(&rig, "t.made t.made");
    assert_int_equal(REFUSED, refused + 1);
    assert_int_equal(LOST, lost_before);
    app_exec(&rig, "UPDATE t SET v = 1 WHERE id = 1");
    assert_captured(&rig, "t.changed");
    rig_end(&rig);
}

static void assert_nowhere(const char *word)
{
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_prepare_v2(rig.app, "SELECT * FROM \"aqueduct_outbox.app.t\"", -1, &stmt, NULL),
                     SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW)
        for (int i = 0; i < sqlite3_column_count(stmt); i++)
            assert_null(strstr(sqlite3_column_text(stmt, i) ? (const char *)sqlite3_column_text(stmt, i) : "", word));
    sqlite3_finalize(stmt);
}

TEST(secrets)
{
    begin("CREATE TABLE t(id INTEGER PRIMARY KEY, v, password, token)", RULE(", never: [password], mask: [token, v]"));
    app_exec(&rig,
             "INSERT INTO t VALUES (1, 'secret', 'secret', 'secret'); UPDATE t SET v = 'secret2', password = 'secret3';"
             "UPDATE t SET token = 'secret4'; UPDATE t SET v = NULL");
    rig_settle(&rig);
    assert_true(rig_has(rig_event(&rig, "t.changed", NULL, 0), "{\"id\":1,\"v\":\"***\",\"token\":\"***\"}"));
    assert_true(rig_has(rig_event(&rig, "t.changed", NULL, 1), "{\"id\":1,\"v\":null,\"token\":\"***\"}"));
    assert_types(&rig, "t.made t.changed t.changed");
    assert_nowhere("secret");
    rig_end(&rig);
}

/* States that a row is in when it comes, as for a diff. */
TEST(states)
{
    begin(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, v DEFAULT 0, w)",
        "capture:\n- {name: t, kind: outbox, table: t, watch: [v], types: {insert: t.made, v=1: t.on, v: t.moved}}\n");
    app_exec(
        &rig,
        "INSERT INTO t VALUES (1, 1, 1), (2, 0, 0); UPDATE t SET v = 1 WHERE id = 2; UPDATE t SET v = 3; DELETE FROM t");
    rig_settle(&rig);
    assert_ids_differ();
    assert_types(&rig, "t.made t.on t.made t.on t.moved t.moved");
    rig_end(&rig);
}

#define MAPPED                                                                                                         \
    "app: desk\ncapture:\n- name: t\n  kind: outbox\n  table: t\n  watch: [role]\n  keep: [name]\n  mask: [token]\n"   \
    "  join: LEFT JOIN teams x ON x.id = r.team\n"                                                                     \
    "  data: {user.id: r.id, user.role: r.role, user.name: r.name}\n  map:\n"                                          \
    "  - {type: user.created, op: [insert], when: r.token IS NULL}\n  - {type: user.deleted, op: [delete]}\n"          \
    "  - {type: user.updated, op: [update], when: \":before->>'$.role' <> 'none'\", data: {user.email: x.mail}}\n"

TEST(mapped)
{
    begin("CREATE TABLE t(id INTEGER PRIMARY KEY, name, role, team, token);"
          "CREATE TABLE teams(id INTEGER PRIMARY KEY, mail); INSERT INTO teams VALUES (1, 'one@x')",
          MAPPED);
    app_exec(&rig, "INSERT INTO t VALUES (7, 'Ann', 'none', 1, 'secret'); UPDATE t SET role = 'user';"
                   "UPDATE t SET role = 'admin', name = 'Bea'; UPDATE t SET role = 'user'; DELETE FROM t");
    rig_settle(&rig);
    const struct event *ev = rig_event(&rig, "user.updated", "users/7", 0);
    assert_true(rig_has(ev, "\"user\":{\"id\":\"7\",\"name\":\"Bea\",\"email\":\"one@x\",\"role\":\"admin\"}"));
    assert_true(rig_has(ev, "\"before\":{\"user\":{\"name\":\"Ann\",\"role\":\"user\"}}"));
    assert_true(str_eq(rig_attribute(ev, "changed"), STR("user.name,user.role")));
    assert_true(rig_has(rig_event(&rig, "user.updated", NULL, 1), "\"before\":{\"user\":{\"role\":\"admin\"}}"));
    assert_true(rig_has(rig_event(&rig, "user.deleted", NULL, 0), "\"name\":\"Bea\",\"role\":\"user\""));
    assert_types(&rig, "user.created user.updated user.updated user.deleted");
    assert_nowhere("secret");
    rig_end(&rig);
}

/* ---- the position ---- */

/* Killed between the events and their state: they come again under the same ids. */
TEST(killed)
{
    struct err e;
    begin(TABLE, RULE(""));
    app_exec(&rig, "INSERT INTO t VALUES (1, 1, 1); UPDATE t SET v = 2");
    rig.confirm = false;
    while (rig.seen_count < 2)
        assert_true(rig_read(&rig, &e) >= 0);
    struct str made = id_of("t.made", 0), changed = id_of("t.changed", 0);
    rig.confirm = true;
    rig_restart(&rig);
    app_exec(&rig, "DELETE FROM t");
    rig_settle(&rig);
    assert_true(str_eq(id_of("t.made", 1), made) && str_eq(id_of("t.changed", 1), changed));
    assert_types(&rig, "t.made t.changed t.made t.changed t.gone");
    rig_end(&rig);
}

/* What was written down before the first look is told, also with start: now. */
TEST(from_the_set_up_on)
{
    rig_begin(&rig, "WAL", TABLE "; INSERT INTO t VALUES (1, 1, 1)", RULE(""));
    set_up();
    app_exec(&rig, "UPDATE t SET v = 2; INSERT INTO t VALUES (2, 1, 1)");
    assert_captured(&rig, "t.changed t.made");
    rig_close(&rig);
    app_exec(&rig, "DELETE FROM t WHERE id = 2");
    rig_open(&rig, RULE(""));
    assert_captured(&rig, "t.gone");
    rig_end(&rig);
}

/* Old changes make room for new ones; those that were not read are counted and named. */
TEST(pruned)
{
    begin(TABLE, RULE(", retain_rows: 5"));
    for (int i = 1; i <= 40; i += 4) {
        app_do(&rig, "INSERT INTO t VALUES (%d, 1, 1), (%d, 1, 1), (%d, 1, 1), (%d, 1, 1)", i, i + 1, i + 2, i + 3);
        assert_captured(&rig, "t.made t.made t.made t.made");
    }
    assert_int_equal(LOST, lost_before);
    rig_close(&rig);
    app_exec(&rig, "UPDATE t SET v = 2 WHERE id <= 8");
    stderr_catch();
    rig_open(&rig, RULE(", retain_rows: 5"));
    assert_captured(&rig, "t.changed t.changed t.changed t.changed t.changed");
    assert_says(stderr_caught(), "changes are lost");
    assert_int_equal(LOST, lost_before + 3);
    app_exec(&rig, "UPDATE t SET v = 3 WHERE id = 1; DELETE FROM \"aqueduct_outbox.app.t\"");
    assert_captured(&rig, "");
    assert_int_equal(LOST, lost_before + 4);
    app_exec(&rig, "UPDATE t SET v = 3 WHERE id = 2");
    assert_captured(&rig, "t.changed");
    assert_int_equal(LOST, lost_before + 4);
    rig_end(&rig);
}

TEST(pruned_by_age)
{
    begin(TABLE, RULE(", retain: 1h"));
    app_exec(&rig, "INSERT INTO t VALUES (1, 1, 1), (2, 1, 1), (3, 1, 1)");
    assert_captured(&rig, "t.made t.made t.made");
    app_exec(&rig,
             "UPDATE \"aqueduct_outbox.app.t\" SET at = at - 3600001 WHERE seq < 3; INSERT INTO t VALUES (4, 1, 1)");
    assert_captured(&rig, "t.made");
    sqlite3_stmt *stmt;
    sqlite3_prepare_v2(rig.app, "SELECT min(seq), count(*) FROM \"aqueduct_outbox.app.t\"", -1, &stmt, NULL);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(stmt, 0), 3);
    assert_int_equal(sqlite3_column_int(stmt, 1), 2);
    sqlite3_finalize(stmt);
    assert_int_equal(LOST, lost_before);
    rig_end(&rig);
}

/* A backup is put back, and new changes get the numbers of those that are gone: they are told, under other ids. */
static void restored(size_t more)
{
    begin(TABLE, RULE(""));
    app_exec(&rig, "INSERT INTO t VALUES (1, 1, 1), (2, 1, 1)");
    assert_captured(&rig, "t.made t.made");
    app_exec(&rig,
             "CREATE TEMP TABLE b AS SELECT * FROM \"aqueduct_outbox.app.t\"; UPDATE t SET v = 2; UPDATE t SET v = 3");
    rig_settle(&rig);
    struct str before = id_of("t.changed", 0);
    rig_close(&rig);
    app_exec(&rig,
             "BEGIN; DELETE FROM \"aqueduct_outbox.app.t\"; INSERT INTO \"aqueduct_outbox.app.t\" SELECT * FROM b;"
             "UPDATE sqlite_sequence SET seq = 2; COMMIT");
    for (size_t i = 0; i < more; i++)
        app_do(&rig, "UPDATE t SET v = 'again %zu' WHERE id = 1", i);
    stderr_catch();
    rig_open(&rig, RULE(""));
    rig_settle(&rig);
    assert_int_equal(rig.seen_count, 4 + more);
    assert_ids_differ();
    (void)before;
    assert_says(stderr_caught(), "going on behind the last change that is as it was told");
    assert_int_equal(LOST, lost_before);
    rig_forget(&rig);
    rig_restart(&rig);
    assert_captured(&rig, "");
    rig_end(&rig);
}

TEST(restored_file)
{
    restored(0);
    restored(1);
    restored(4);
    restored(6);
}

/* Of an older backup nothing that is remembered is left: it goes on with the oldest change, told again under the id it had. */
TEST(restored_from_long_ago)
{
    begin(TABLE, RULE(""));
    app_exec(&rig, "INSERT INTO t VALUES (1, 1, 1), (2, 1, 1)");
    rig_settle(&rig);
    app_exec(&rig, "CREATE TEMP TABLE b AS SELECT * FROM \"aqueduct_outbox.app.t\"");
    for (int i = 0; i < 40; i++)
        app_do(&rig, "UPDATE t SET v = 'then %d' WHERE id = 1", i);
    rig_settle(&rig);
    rig_close(&rig);
    app_exec(&rig,
             "BEGIN; DELETE FROM \"aqueduct_outbox.app.t\"; INSERT INTO \"aqueduct_outbox.app.t\" SELECT * FROM b;"
             "UPDATE sqlite_sequence SET seq = 2; COMMIT; UPDATE t SET v = 'now'");
    rig_open(&rig, RULE(""));
    rig_settle(&rig);
    assert_int_equal(rig.seen_count, 2 + 40 + 4);
    assert_true(str_eq(id_of("t.made", 0), id_of("t.made", 2)) && str_eq(id_of("t.made", 1), id_of("t.made", 3)));
    assert_false(str_eq(id_of("t.changed", 0), id_of("t.changed", 40)));
    assert_int_equal(LOST, lost_before);
    rig_end(&rig);
}

/* Made anew: nothing of it is as it was, and all of it is told. */
TEST(made_anew)
{
    begin(TABLE, RULE(""));
    app_exec(&rig, "INSERT INTO t VALUES (1, 1, 1), (2, 1, 1)");
    assert_captured(&rig, "t.made t.made");
    rig_close(&rig);
    app_exec(&rig, "DROP TABLE \"aqueduct_outbox.app.t\"; DROP TRIGGER \"aqueduct_outbox.app.t.insert\";"
                   "DROP TRIGGER \"aqueduct_outbox.app.t.update\"; DROP TRIGGER \"aqueduct_outbox.app.t.delete\"");
    rig_open(&rig, RULE(""));
    assert_captured(&rig, "");
    set_up();
    app_exec(&rig, "UPDATE t SET v = 2; UPDATE t SET v = 3");
    assert_captured(&rig, "t.changed t.changed t.changed t.changed");
    rig_end(&rig);
}

/* ---- the triggers ---- */

static void lose_triggers(const char *how)
{
    struct err why = { "" };
    begin(TABLE "; INSERT INTO t VALUES (1, 1, 1)", RULE(""));
    assert_true(ready(&why));
    app_exec(&rig, "UPDATE t SET v = 2");
    assert_captured(&rig, "t.changed");
    app_exec(&rig, "UPDATE t SET v = 3");
    stderr_catch();
    app_exec(&rig, how);
    app_exec(&rig, "UPDATE t SET v = 4");
    assert_captured(&rig, "t.changed"); /* what was written down before is told */
    assert_says(stderr_caught(), "run `aqueduct sqlite setup`");
    assert_false(ready(&why));
    assert_says(why.text, "1 outbox rule(s) without the triggers they need");
    assert_int_equal(UNTRIGGERED, 1);
    set_up();
    app_exec(&rig, "UPDATE t SET v = 5");
    assert_captured(&rig, "t.changed");
    assert_true(ready(&why));
    assert_int_equal(UNTRIGGERED, 0);
    rig_end(&rig);
}

TEST(triggers_are_gone)
{
    lose_triggers("DROP TRIGGER \"aqueduct_outbox.app.t.update\"");
    lose_triggers("BEGIN; CREATE TABLE n(id INTEGER PRIMARY KEY, v, w); INSERT INTO n SELECT * FROM t; DROP TABLE t;"
                  "ALTER TABLE n RENAME TO t; COMMIT");
    lose_triggers("BEGIN; ALTER TABLE t RENAME TO o; CREATE TABLE t(id INTEGER PRIMARY KEY, v, w);"
                  "INSERT INTO t SELECT * FROM o; DROP TABLE o; COMMIT");
}

/* A column that came later is left out until set up again; the rest goes on, and it is said. */
TEST(a_column_more)
{
    struct err why = { "" };
    begin(TABLE "; INSERT INTO t VALUES (1, 1, 1)", RULE(""));
    stderr_catch();
    app_exec(&rig, "ALTER TABLE t ADD COLUMN x DEFAULT 'new'; UPDATE t SET v = 2");
    rig_settle(&rig);
    assert_says(stderr_caught(), "the table has columns that its triggers do not write");
    assert_true(ready(&why) && UNTRIGGERED == 0);
    assert_false(rig_has(rig_event(&rig, "t.changed", NULL, 0), "\"x\""));
    rig_forget(&rig);
    rig_close(&rig);
    stderr_catch();
    rig_open(&rig, "capture:\n- {name: t, kind: outbox, table: t, watch: [v, w], types: {update: t.changed}}\n");
    rig_settle(&rig);
    assert_says(stderr_caught(), "its triggers are not those that the rule needs");
    assert_false(ready(&why));
    app_exec(&rig, "UPDATE t SET v = 3");
    assert_captured(&rig, "t.changed");
    rig_end(&rig);
}

/* Without triggers, and without the table, the other rules go on. */
TEST(not_set_up)
{
    struct err why = { "" };
    rig_begin(&rig, "WAL", "CREATE TABLE log(id INTEGER PRIMARY KEY)",
              RULE("") "- {name: log, kind: append, table: log, types: {insert: log.line}}\n");
    assert_true(ready(&why)); /* there is nothing to miss */
    app_exec(&rig, TABLE "; INSERT INTO t VALUES (1, 1, 1); INSERT INTO log VALUES (1)");
    assert_captured(&rig, "log.line");
    assert_false(ready(&why));
    rig_end(&rig);
}

TEST(options)
{
    static const struct {
        const char *more, *says;
    } wrong[] = {
        { ", select: SELECT 1", "select: does not go with kind outbox" },
        { ", cursor: id", "cursor: belongs to kinds" },
        { ", last: 5", "last: belongs to kind diff" },
        { ", done: v", "done: belongs to kind open_row" },
        { ", never: [v]", "watch: v is listed in never" },
    };
    rig_new(&rig, "WAL");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct err e = { "" };
        char rule[512];
        snprintf(rule, sizeof rule, RULE("%s"), wrong[i].more);
        assert_false(rig_try(&rig, rule, &e));
        assert_says(e.text, wrong[i].says);
    }
    struct err e = { "" };
    assert_false(rig_try(&rig, "capture:\n- {name: t, kind: outbox, tables: t*, types: {insert: t.made}}\n", &e));
    assert_says(e.text, "table is missing");
    rig_open(&rig, RULE(""));
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_state_between_two_looks),
        cmocka_unit_test(changes_that_are_hard_to_see),
        cmocka_unit_test(transactions),
        cmocka_unit_test(replaced_and_moved),
        cmocka_unit_test(values_as_they_are),
        cmocka_unit_test(rows_that_are_hard_to_read),
        cmocka_unit_test(secrets),
        cmocka_unit_test(states),
        cmocka_unit_test(mapped),
        cmocka_unit_test(killed),
        cmocka_unit_test(from_the_set_up_on),
        cmocka_unit_test(pruned),
        cmocka_unit_test(pruned_by_age),
        cmocka_unit_test(restored_file),
        cmocka_unit_test(restored_from_long_ago),
        cmocka_unit_test(made_anew),
        cmocka_unit_test(triggers_are_gone),
        cmocka_unit_test(a_column_more),
        cmocka_unit_test(not_set_up),
        cmocka_unit_test(options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
