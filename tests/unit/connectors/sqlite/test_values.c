/* SPDX-License-Identifier: MIT */
/* Values of every kind on their way into an event, and rules that cannot be right. */
#include <stdio.h>
#include "bridge/lib/jscan.h"
#include "bridge/map/value.h"
#include "tests/support/sqlite_rig.h"

#define RULE "capture:\n- {name: t, kind: append, table: t, "

static struct rig rig;

static const struct event *only_event(const char *schema, const char *yaml, const char *insert)
{
    rig_begin(&rig, "DELETE", schema, yaml);
    app_exec(&rig, insert);
    rig_settle(&rig);
    assert_int_equal(rig.seen_count, 1);
    struct jscan_value value;
    struct err e = { 0 };
    if (!jscan_check(rig.seen[0]->data, &value, &e))
        fail_msg("%s in %.*s", e.text, STR_ARG(rig.seen[0]->data));
    return rig.seen[0];
}

TEST(every_type)
{
    const struct event *ev = only_event(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, big, small, half, third, inf, nan, blob, empty, bad, nul, ctl, "
        "flag, none)",
        RULE "columns: {id: value, big: value, small: value, half: value, third: value, inf: value, nan: value, blob: "
             "value, empty: value, bad: value, nul: value, ctl: value, flag: bool, none: bool},"
             " types: {insert: x}}\n",
        "INSERT INTO t VALUES (1, 9223372036854775807, -9223372036854775808, 0.5, 1.0/3, 9e999, 9e999 - 9e999, "
        "x'00ff10', x'', CAST(x'61ff62' AS TEXT), NULL, 'a\"\n' || char(1), 1, NULL)");
    assert_true(str_eq(
        ev->data,
        STR("{\"id\":1,\"big\":9223372036854775807,\"small\":-9223372036854775808,\"half\":0.5,\"third\":0.3333333333333333,\"inf\":null,\"nan\":null,"
            "\"blob\":\"AP8Q\",\"empty\":\"\",\"bad\":\"a\xEF\xBF\xBD"
            "b\",\"nul\":null,\"ctl\":\"a\\\"\\n\\u0001\",\"flag\":true,\"none\":null}")));
    assert_int_equal(metric_value(rig_inside(&rig)->repaired), 1);
    rig_end(&rig);
}

/* JSON has no infinity: null, and it is counted. */
TEST(infinity)
{
    const struct event *ev = only_event("CREATE TABLE t(id INTEGER PRIMARY KEY, a, b)", RULE "types: {insert: x}}\n",
                                        "INSERT INTO t VALUES (1, NULL, 0.1)");
    int64_t before = metric_value(rig_inside(&rig)->repaired);
    assert_true(str_eq(ev->data, STR("{\"id\":1,\"a\":null,\"b\":0.1}")));
    app_exec(&rig, "INSERT INTO t VALUES (2, -9e999, 0.2)");
    rig_settle(&rig);
    assert_true(str_eq(rig.seen[1]->data, STR("{\"id\":2,\"a\":null,\"b\":0.2}")));
    assert_int_equal(metric_value(rig_inside(&rig)->repaired), before + 1);
    rig_end(&rig);
}

/* An array deeper than any parser goes is told as the text that it is; one that is not so deep, as JSON. */
TEST(deep_json)
{
    char deep[2 * 2000 + 1], flat[2 * 20 + 1], sql[5000];
    for (size_t i = 0; i < 2000; i++)
        deep[i] = '[', deep[2 * 2000 - 1 - i] = ']';
    for (size_t i = 0; i < 20; i++)
        flat[i] = '[', flat[2 * 20 - 1 - i] = ']';
    deep[2 * 2000] = flat[2 * 20] = '\0';
    snprintf(sql, sizeof sql, "INSERT INTO t VALUES (1, '%s', '%s')", deep, flat);
    const struct event *ev = only_event("CREATE TABLE t(id INTEGER PRIMARY KEY, a, b)",
                                        RULE "columns: {a: json, b: json}, types: {insert: x}}\n", sql);
    snprintf(sql, sizeof sql, "{\"a\":\"%s\",\"b\":%s}", deep, flat);
    assert_true(str_eq(ev->data, str_of(sql)));
    rig_end(&rig);
}

TEST(json_columns)
{
    const struct event *ev = only_event(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b, c, d, e)",
        RULE "columns: {a: json, b: json, c: json, d: json, e: json}, types: {insert: x}}\n",
        "INSERT INTO t VALUES (1, '{\"n\": 12345678901234567890, \"u\": \"\\u00e9\"}', '{broken', 'null', 7, '[1, "
        "[2, {\"x\": \"]\"}]]')");
    assert_true(
        str_eq(ev->data, STR("{\"a\":{\"n\": 12345678901234567890, \"u\": "
                             "\"\\u00e9\"},\"b\":\"{broken\",\"c\":null,\"d\":7,\"e\":[1, [2, {\"x\": \"]\"}]]}")));
    rig_end(&rig);
}

/* All columns but those that are never read; deep JSON is a string; masked members, also with escaped names. */
/* mask names a column of any form, or members of JSON wherever it stands: as text, as bytes, in a template. */
TEST(mask_of_any_column)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE t(id INTEGER PRIMARY KEY, token, note, bytes, whole)",
              "capture:\n- {name: t, kind: append, table: t, mask: [token], subject: 's/{token}',"
              " columns: {token: value, note: value, bytes: value, whole: json}, types: {insert: x}}\n"
              "- {name: d, kind: diff, table: t, mask: [Token], watch: [token], keep: [token, note], types: {delete: "
              "gone}}\n");
    app_exec(&rig, "INSERT INTO t VALUES (1, 'geheim', ' {\"a\":{\"token\":\"geheim\"}}', "
                   "CAST('{\"token\":\"geheim\"}' AS BLOB), 'geheim'), (2, NULL, '[1,2]', x'00ff', '[1]')");
    rig_settle(&rig);
    const struct event *first = rig_event(&rig, "x", NULL, 0), *second = rig_event(&rig, "x", NULL, 1);
    assert_true(str_eq(first->data, STR("{\"token\":\"***\",\"note\":\" {\\\"a\\\":{\\\"token\\\":\\\"***\\\"}}\","
                                        "\"bytes\":\"eyJ0b2tlbiI6IioqKiJ9\",\"whole\":\"***\"}")));
    assert_true(str_eq(first->subject, STR("s/***")));
    assert_true(str_eq(second->data, STR("{\"token\":null,\"note\":\"[1,2]\",\"bytes\":\"AP8=\",\"whole\":[1]}")));
    rig_forget(&rig);
    app_exec(&rig, "DELETE FROM t WHERE id = 1");
    rig_settle(&rig);
    assert_true(rig_has(rig_event(&rig, "gone", NULL, 0), "\"token\":\"***\""));
    assert_false(rig_has(rig_event(&rig, "gone", NULL, 0), "geheim"));
    rig_end(&rig);
}

TEST(never_and_mask)
{
    const struct event *ev = only_event("CREATE TABLE t(id INTEGER PRIMARY KEY, password TEXT, \"odd \"\" name\" TEXT)",
                                        RULE "never: [Password], types: {insert: x}}\n",
                                        "INSERT INTO t VALUES (1, 'hunter2', 'v')");
    assert_true(str_eq(ev->data, STR("{\"id\":1,\"odd \\\" name\":\"v\"}")));
    rig_end(&rig);
    ev = only_event(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, m)", RULE "columns: {m: json}, mask: [code], types: {insert: x}}\n",
        "INSERT INTO t VALUES (1, '{\"code\" : {\"a\": [1, \"}\"]}, \"CODE\":1.5e3,\"c\\u006fde\":true , \"x\": "
        "[\"code\", {\"code\":null}], \"codes\": 1}')");
    assert_true(
        str_eq(ev->data, STR("{\"m\":{\"code\":\"***\", \"CODE\":\"***\",\"c\\u006fde\":\"***\" , \"x\": [\"code\", "
                             "{\"code\":\"***\"}], \"codes\": 1}}")));
    rig_end(&rig);
}

/* A name in never that is no column: nothing is captured, rather than the column that was meant. */
TEST(never_names_no_column)
{
    static const char schema[] = "CREATE TABLE t(id INTEGER PRIMARY KEY, password, token)";
    rig_begin(&rig, "WAL", schema, RULE "never: [pasword], types: {insert: x}}\n");
    assert_int_equal(metric_value(rig_inside(&rig)->unusable), 1);
    app_exec(&rig, "INSERT INTO t VALUES (1, 'hunter2', 'k')");
    assert_captured(&rig, "");
    app_exec(&rig, "ALTER TABLE t ADD COLUMN pasword"); /* now it is one */
    assert_captured(&rig, "");
    app_exec(&rig, "INSERT INTO t VALUES (2, 'shown', 'k', 'kept back')");
    rig_settle(&rig);
    assert_int_equal(rig.seen_count, 1);
    assert_false(rig_has(rig.seen[0], "kept back"));
    rig_forget(&rig);
    rig_end(&rig);
    rig_begin(&rig, "WAL", schema, RULE "never: [pasword], columns: {id: value}, types: {insert: x}}\n");
    assert_int_equal(metric_value(rig_inside(&rig)->unusable), 0);
    rig_end(&rig);
    rig_begin(&rig, "WAL", schema, RULE "mask: [tokens, secret], types: {insert: x}}\n");
    assert_int_equal(metric_value(rig_inside(&rig)->unusable), 0);
    assert_int_equal(rig_inside(&rig)->rules[0]->warned_count, 1);
    rig_end(&rig);
}

/* The largest columns go first, are named, and nothing vanishes. */
TEST(too_large)
{
    const struct event
        *ev = only_event("CREATE TABLE t(id INTEGER PRIMARY KEY, a, b, c)",
                         RULE "types: {insert: x}}\nmax_event: 4KiB\n",
                         "INSERT INTO t VALUES (1, hex(zeroblob(1500)), zeroblob(100000), hex(zeroblob(900)))");
    assert_true(str_eq(rig_attribute(ev, "truncated"), STR("a,b")) && rig_has(ev, "\"c\":\"000")
                && rig_has(ev, "\"id\":1"));
    assert_true(ev->data.n <= 4096);
    app_exec(&rig, "INSERT INTO t(a) VALUES ('small')");
    rig_settle(&rig);
    assert_true(rig_attribute(rig.seen[1], "truncated").n == 0);
    rig_end(&rig);
}

TEST(keys_of_every_type)
{
    rig_new(&rig, "DELETE");
    app_exec(&rig, "CREATE TABLE t(id PRIMARY KEY, v) WITHOUT ROWID");
    rig_open(&rig,
             "capture:\n- {name: t, kind: diff, table: t, watch: [v], types: {insert: t.made, delete: t.gone, update: "
             "t.changed}}\nbatch: 2\n");
    rig_settle(&rig);
    app_exec(&rig, "INSERT INTO t VALUES (1, 0), (-1, 0), (1.5, 0), ('1', 0), ('', 0), (x'31', 0), (x'', 0), "
                   "(hex(zeroblob(600)), 0), ('a' || char(10), 0)");
    rig_settle(&rig);
    assert_int_equal(rig.seen_count, 9);
    assert_int_equal(rig_count(&rig, "t.made", "t/a_"), 1);
    rig_forget(&rig);
    rig_restart(&rig);
    app_exec(&rig, "UPDATE t SET v = 1");
    rig_settle(&rig);
    assert_int_equal(rig_count(&rig, "t.changed", NULL), 9);
    rig_forget(&rig);
    app_exec(&rig, "DELETE FROM t");
    rig_settle(&rig);
    assert_int_equal(rig_count(&rig, "t.gone", NULL), 9);
    for (size_t i = 0; i < 9; i++)
        for (size_t k = 0; k < i; k++)
            assert_false(str_eq(rig.seen[i]->id, rig.seen[k]->id));
    rig_end(&rig);
}

/* A deleted row's key is shown as in its insert. */
TEST(key_of_a_deleted_row)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE t(id PRIMARY KEY) WITHOUT ROWID",
              "capture:\n- {name: t, kind: diff, table: t, types: {insert: t.made, delete: t.gone}}\n");
    static const char *const keys[] = { "x'78'", "x''", "1e300", "1.5", "7", "'a'" };
    for (size_t i = 0; i < 6; i++) {
        app_do(&rig, "INSERT INTO t VALUES (%s)", keys[i]);
        rig_settle(&rig);
        app_exec(&rig, "DELETE FROM t");
        rig_settle(&rig);
        assert_int_equal(rig.seen_count, 2);
        assert_true(str_eq(rig.seen[0]->data, rig.seen[1]->data));
        rig_forget(&rig);
    }
    rig_end(&rig);
}

TEST(times)
{
    static const struct {
        const char *sql, *text;
    } good[] = {
        { "1787270400123", "2026-08-21T00:00:00.123Z" },
        { "1787270400", "2026-08-21T00:00:00.000Z" },
        { "1787270400.5", "2026-08-21T00:00:00.500Z" },
        { "1787270400123456", "2026-08-21T00:00:00.123Z" },
        { "1787270400123456789", "2026-08-21T00:00:00.123Z" },
        { "2461273.5", "2026-08-21T00:00:00.000Z" },
        { "'2026-08-21 00:00:00'", "2026-08-21T00:00:00.000Z" },
        { "'2026-08-21T02:00:00.25+02:00'", "2026-08-21T00:00:00.250Z" },
        { "'2026-08-21 00:00:00.123456'", "2026-08-21T00:00:00.123Z" },
        { "'2026-08-21'", "2026-08-21T00:00:00.000Z" },
        { "'1787270400123'", "2026-08-21T00:00:00.123Z" },
        { "' 2026-08-21T00:00:00Z '", "2026-08-21T00:00:00.000Z" },
        { "-1000", "1969-12-31T23:43:20.000Z" },
    };
    static const char *const bad[] = { "NULL",
                                       "'yesterday'",
                                       "''",
                                       "x'00'",
                                       "'2026-13-01 00:00:00'",
                                       "9e999",
                                       "'2026-08-21 00:00:00 and more than that, much more'" };
    sqlite3 *db;
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    for (size_t i = 0; i < sizeof good / sizeof *good + sizeof bad / sizeof *bad; i++) {
        bool fine = i < sizeof good / sizeof *good;
        char sql[128], text[CLOCK_TEXT];
        int64_t ms = 0;
        snprintf(sql, sizeof sql, "SELECT %s", fine ? good[i].sql : bad[i - sizeof good / sizeof *good]);
        assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
        if (value_time(stmt, 0, &ms) != fine)
            fail_msg("%s", sql);
        clock_text(ms, text);
        if (fine)
            assert_string_equal(text, good[i].text);
        sqlite3_finalize(stmt);
    }
    sqlite3_close(db);
}

/* A time column that mixes INTEGER and TEXT, as databases with a history do. */
TEST(mixed_times)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE t(id INTEGER PRIMARY KEY, at DATETIME)",
              RULE "time: at, columns: {at: time}, types: {insert: x}}\n");
    app_exec(&rig, "INSERT INTO t VALUES (1, '2023-08-17 00:45:03'), (2, 1787270400000)");
    rig_settle(&rig);
    assert_true(str_eq(rig.seen[0]->time, STR("2023-08-17T00:45:03.000Z"))
                && str_eq(rig.seen[1]->time, STR("2026-08-21T00:00:00.000Z")));
    assert_true(str_eq(rig.seen[0]->data, STR("{\"at\":\"2023-08-17T00:45:03.000Z\"}")));
    rig_end(&rig);
}

TEST(wrong_rules)
{
    static const struct {
        const char *yaml, *why;
    } bad[] = {
        { "start: now\n", "nothing to capture" },
        { "preset: anythinglm\n", "(did you mean anythingllm?)" },
        { "preset: ./no/such.yaml\n", "No such file" },
        { "capture:\n- {name: 'A b', kind: append, table: t, types: {insert: x}}\n", "no name" },
        { "capture:\n- {name: a, kind: append, types: {insert: x}}\n", "needs a table or a select" },
        { "capture:\n- {name: a, kind: append, table: t, types: {insrt: x}}\n", "write insert, for every" },
        { "capture:\n- {name: a, kind: append, table: t, types: {a.made: insert}}\n",
          "the other way round: {insert: a.made}" },
        { "capture:\n- {name: a, kind: open_row, table: t, done: '1', types: {insert: x}}\n",
          "started, done, aborted" },
        { "capture:\n- {name: a, kind: append, table: t, columns: {id: value}, subject: 'x/{b}', types: {insert: x}}\n",
          "{b}, which is not among the columns" },
        { "capture:\n- {name: a, kind: append, table: t, never: [b], types: {insert: 'x.{B}'}}\n",
          "{B}, which is listed in never" },
        { "capture:\n- {name: a, kind: append, table: t, type_column: c, columns: {id: value}, types: {y: x}}\n",
          "type_column: c is not among the columns" },
        { "capture:\n- {name: a, kind: append, table: t, types: {insert: 'a b'}}\n", "no event type" },
        { "capture:\n- {name: a, kind: open_row, table: t, types: {done: x}}\n", "done is missing" },
        { "capture:\n- {name: a, kind: diff, table: t, done: '1', types: {insert: x}}\n", "belongs to kind open_row" },
        { "capture:\n- {name: a, kind: diff, table: t, watch: [a], types: {b=1: x}}\n", "b=1" },
        { "capture:\n- {name: a, kind: diff, table: t, types: {update: x}}\n", "\"update\" needs watch" },
        { "capture:\n- {name: a, kind: append, table: t, watch: [a], types: {insert: x}}\n",
          "kinds diff, updated and outbox" },
        { "capture:\n- {name: a, kind: diff, table: t, cursor: c, types: {insert: x}}\n",
          "kinds append, open_row and updated" },
        { "capture:\n- {name: a, kind: updated, table: t, types: {insert: x}}\n", "cursor is missing" },
        { "capture:\n- {name: a, kind: updated, table: t, cursor: c, types: {update: x}}\n", "\"update\" needs watch" },
        { "capture:\n- {name: a, kind: updated, table: t, cursor: c, types: {delete: x}}\n",
          "(insert, update; `kind: diff` sees deletes" },
        { "capture:\n- {name: a, kind: updated, table: t, cursor: c, keep: [a], types: {insert: x}}\n",
          "keep: belongs to kinds diff, open_row and outbox" },
        { "capture:\n- {name: a, kind: append, table: t, mask: [ID], types: {insert: x}}\n", "mask: id is the key" },
        { "capture:\n- {name: a, kind: append, table: t, type_column: c, mask: [c], types: {'*': x}}\n",
          "mask: c is the type_column" },
        { "capture:\n- {name: a, kind: diff, table: t, type_column: c, types: {insert: x}}\n",
          "belongs to kind append" },
        { "capture:\n- {name: a, kind: diff, table: t, subject: 'x/{name}', types: {delete: x}}\n",
          "only name the key" },
        { "capture:\n- {name: a, kind: append, table: t, columns: {a: text}, types: {insert: x}}\n", "no form" },
        { "capture:\n- {name: a, kind: append, table: t, columns: {pw: value}, never: [PW], types: {insert: x}}\n",
          "listed in never" },
        { "capture:\n- {name: a, kind: diff, table: t, watch: [pw], never: [pw], types: {insert: x}}\n",
          "listed in never" },
        { "capture:\n- {name: a, kind: diff, table: t, columns: {b: value}, keep: [a], types: {insert: x}}\n",
          "not among the columns" },
        { "capture:\n- {name: a, kind: append, table: t, types: {insert: x}}\n- {name: a, kind: append, table: t, "
          "types: {insert: x}}\n",
          "two rules named a" },
        { "capture:\n- {name: a, kind: sideways, table: t, types: {insert: x}}\n", "sideways" },
        { "preset: anythingllm\nsource: my app\n", "source: is not a URI reference" },
        { "preset: anythingllm\nstart: later\n", "later" },
        { "preset: anythingllm\npoll: 1ms\n", "1ms" },
    };
    rig_new(&rig, "DELETE");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = { 0 };
        if (rig_try(&rig, bad[i].yaml, &e))
            fail_msg("taken: %s", bad[i].yaml);
        if (!strstr(e.text, bad[i].why))
            fail_msg("%s: %s", bad[i].yaml, e.text);
    }
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type),
        cmocka_unit_test(infinity),
        cmocka_unit_test(deep_json),
        cmocka_unit_test(json_columns),
        cmocka_unit_test(never_and_mask),
        cmocka_unit_test(never_names_no_column),
        cmocka_unit_test(mask_of_any_column),
        cmocka_unit_test(too_large),
        cmocka_unit_test(keys_of_every_type),
        cmocka_unit_test(key_of_a_deleted_row),
        cmocka_unit_test(times),
        cmocka_unit_test(mixed_times),
        cmocka_unit_test(wrong_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
