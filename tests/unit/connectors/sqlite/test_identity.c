/* SPDX-License-Identifier: MIT */
/* An event's id is that of the database, the epoch, the table, the key and the version: a row whose other columns change
 * between two looks is told once. On n8n's executions as n8n writes them. */
#include <stdio.h>
#include "tests/support/sqlite_rig.h"

static struct rig rig;

#define N8N                                                                                                             \
    "CREATE TABLE execution_entity (id integer PRIMARY KEY AUTOINCREMENT NOT NULL, workflowId varchar(36) NOT NULL,"    \
    " finished boolean NOT NULL, mode varchar NOT NULL, retryOf varchar, retrySuccessId varchar, startedAt datetime,"   \
    " stoppedAt datetime, waitTill datetime, status varchar NOT NULL, deletedAt datetime(3), createdAt datetime(3) NOT" \
    " NULL DEFAULT (STRFTIME('%Y-%m-%d %H:%M:%f', 'NOW')), storedAt varchar(2), tracingContext text,"                   \
    " deduplicationKey varchar(255), jsonSizeBytes bigint, workflowVersionId varchar(36));"                             \
    "CREATE INDEX i ON execution_entity(stoppedAt);"
#define RUNS                                                                                                           \
    "capture:\n- {name: runs, kind: open_row, table: execution_entity, time: startedAt,\n"                             \
    "   done: \"status IN ('success', 'error', 'crashed', 'canceled') OR deletedAt IS NOT NULL\",\n"                   \
    "   types: {started: run.started, done: run.finished, aborted: run.aborted}}\n"
#define STARTS                                                                                                         \
    "capture:\n- {name: starts, kind: append, table: execution_entity, time: startedAt, types: {insert: run.new}}\n"

static void execution_begins(int id)
{
    app_do(&rig,
           "INSERT INTO execution_entity(id, workflowId, finished, mode, status) VALUES (%d, 'w', 0, 'webhook', 'new')",
           id);
}

static void execution_runs(int id)
{
    app_do(&rig,
           "UPDATE execution_entity SET status = 'running', startedAt = strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now')"
           " WHERE id = %d",
           id);
}

static void execution_ends(int id, const char *status)
{
    app_do(&rig,
           "UPDATE execution_entity SET status = '%s', finished = 1,"
           " stoppedAt = strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now') WHERE id = %d",
           status, id);
}

static void assert_ids_differ(void)
{
    for (size_t i = 0; i < rig.seen_count; i++)
        for (size_t k = 0; k < i; k++)
            assert_false(str_eq(rig.seen[i]->id, rig.seen[k]->id));
}

/* Eight executions, a look after each step, a restart after some; the slow ones end last. */
static void executions(const char *journal, const char *rule, const char *begun, const char *ended)
{
    rig_begin(&rig, journal, N8N, rule);
    for (int id = 1; id <= 8; id++) {
        execution_begins(id);
        if (id % 2)
            rig_settle(&rig);
        execution_runs(id);
        rig_settle(&rig);
        if (id % 3 == 0)
            rig_restart(&rig);
        if (id % 4)
            execution_ends(id, id == 5 ? "error" : "success");
        rig_settle(&rig);
    }
    app_exec(&rig, "UPDATE execution_entity SET deletedAt = '2026-01-01 00:00:00.000' WHERE id = 4"); /* not saved */
    rig_restart(&rig);
    execution_ends(8, "success");
    rig_settle(&rig);
    for (int id = 1; id <= 8; id++) {
        char subject[40];
        snprintf(subject, sizeof subject, "execution_entity/%d", id);
        assert_int_equal(rig_count(&rig, begun, subject), 1);
        assert_int_equal(rig_count(&rig, ended ? ended : begun, subject), 1);
    }
    assert_int_equal(rig.seen_count, ended ? 16 : 8);
    assert_ids_differ();
    app_exec(&rig, "DELETE FROM execution_entity WHERE id < 8");
    rig_forget(&rig);
    rig_restart(&rig);
    assert_captured(&rig, "");
    rig_end(&rig);
}

TEST(executions_are_told_once)
{
    executions("WAL", RUNS, "run.started", "run.finished");
    executions("DELETE", RUNS, "run.started", "run.finished");
    executions("WAL", STARTS, "run.new", NULL);
}

/* The same row, published before a crash and again after it, with its time set meanwhile: one id. */
TEST(a_time_that_comes_later)
{
    static const char *const rules[] = { STARTS, RUNS };
    for (size_t i = 0; i < 2; i++) {
        char id[64];
        struct err e = { 0 };
        rig_begin(&rig, "WAL", N8N, rules[i]);
        execution_begins(1);
        rig.confirm = false;
        while (rig.seen_count == 0)
            assert_true(rig_read(&rig, &e) >= 0);
        rig.confirm = true;
        snprintf(id, sizeof id, "%.*s", STR_ARG(rig.seen[0]->id));
        rig_forget(&rig);
        execution_runs(1);
        rig_restart(&rig);
        rig_settle(&rig);
        assert_int_equal(rig.seen_count, 1);
        assert_true(str_eq(rig.seen[0]->id, str_of(id)));
        rig_end(&rig);
    }
}

/* A time that moves with every touch is no part of what a row is. */
TEST(a_time_that_moves)
{
    rig_begin(&rig, "DELETE", "CREATE TABLE log(id TEXT PRIMARY KEY, x, updated_at)",
              "capture:\n- {name: log, kind: append, table: log, time: updated_at, types: {insert: log.line}}\n");
    app_exec(&rig, "INSERT INTO log VALUES ('a', 1, 1000)");
    assert_captured(&rig, "log.line");
    for (int i = 1; i <= 3; i++) {
        app_do(&rig, "UPDATE log SET updated_at = %d", 1000 + i);
        if (i == 2)
            rig_restart(&rig);
        assert_captured(&rig, "");
    }
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(executions_are_told_once),
                                        cmocka_unit_test(a_time_that_comes_later),
                                        cmocka_unit_test(a_time_that_moves) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
