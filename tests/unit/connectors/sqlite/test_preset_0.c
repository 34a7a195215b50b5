/* SPDX-License-Identifier: MIT */
/* The preset anythingllm-0 on the real schema: what the application writes becomes the right events, in both journal
 * modes. */
#include "tests/support/sqlite_rig.h"

#define CHAT "INSERT INTO workspace_chats(workspaceId, prompt, response, include, createdAt, lastUpdatedAt) VALUES "

static struct rig rig;

static void begin(const char *journal)
{
    rig_new(&rig, journal);
    app_schema(&rig);
    app_exec(&rig, "INSERT INTO workspaces(name, slug, createdAt) VALUES ('Team', 'team', 1787270400000)");
    rig_open(&rig, "preset: anythingllm-0\n");
    assert_captured(&rig, "");
}

static void run_documents(const char *journal)
{
    begin(journal);
    app_exec(&rig, "INSERT INTO event_logs(event, metadata, userId, occurredAt) VALUES ('document_uploaded', "
                   "'{\"documentName\":\"a.pdf\"}', 1, 1787270401000)");
    rig_settle(&rig);
    const struct event *ev = rig_event(&rig, "document.uploaded", "event_logs/1", 0);
    assert_true(str_eq(ev->source, STR("/anythingllm/app")));
    assert_true(str_eq(ev->time, STR("2026-08-21T00:00:01.000Z")));
    assert_true(rig_has(ev, "\"metadata\":{\"documentName\":\"a.pdf\"}"));
    rig_forget(&rig);
    app_exec(&rig, "BEGIN; INSERT INTO document_vectors(docId, vectorId) VALUES ('d1', 'v1'), ('d1', 'v2'); COMMIT");
    assert_captured(&rig, "");
    app_exec(&rig, "INSERT INTO workspace_documents(docId, filename, docpath, workspaceId, metadata, createdAt) VALUES "
                   "('d1', 'a.json', 'custom-documents/a.json', 1, '{\"title\":\"A\"}', 1787270402000)");
    rig_settle(&rig);
    ev = rig_event(&rig, "document.embedded", "workspace_documents/1", 0);
    assert_true(rig_has(ev, "\"workspace\":\"team\"") && rig_has(ev, "\"pinned\":false")
                && rig_has(ev, "\"metadata\":{\"title\":\"A\"}"));
    assert_types(&rig, "document.embedded");
    app_exec(&rig, "UPDATE workspace_documents SET pinned = 1");
    assert_captured(&rig, "document.pinned");
    app_exec(&rig, "UPDATE workspace_documents SET pinned = 0, watched = 1");
    assert_captured(&rig, "document.unpinned document.watched");
    app_exec(&rig, "UPDATE workspace_documents SET lastUpdatedAt = 5");
    assert_captured(&rig, "");
    app_exec(&rig, "DELETE FROM workspace_documents");
    rig_settle(&rig);
    ev = rig_event(&rig, "document.removed", "workspace_documents/1", 0);
    assert_true(rig_has(ev, "\"docpath\":\"custom-documents/a.json\"") && rig_has(ev, "\"workspace\":\"team\""));
    rig_end(&rig);
}

TEST(documents_delete)
{
    run_documents("DELETE");
}
TEST(documents_wal)
{
    run_documents("WAL");
}

static void run_chats(const char *journal)
{
    begin(journal);
    int64_t now = clock_wall_ms();
    app_do(&rig, CHAT "(1, 'hi', '{\"text\":\"hello\"}', 1, %lld, %lld)", (long long)now, (long long)now);
    rig_settle(&rig);
    assert_true(rig_has(rig_event(&rig, "chat.response.generated", "workspace_chats/1", 0),
                        "\"response\":{\"text\":\"hello\"}"));
    assert_types(&rig, "chat.response.generated");
    /* an agent's chat, and a plain one that finishes before it with a higher id */
    app_do(&rig, CHAT "(1, '@agent', '{}', 0, %lld, %lld)", (long long)now, (long long)now);
    assert_captured(&rig, "chat.started");
    app_do(&rig, CHAT "(1, 'two', '{\"text\":\"2\"}', 1, %lld, %lld)", (long long)now, (long long)now);
    assert_captured(&rig, "chat.response.generated");
    app_exec(&rig, "UPDATE workspace_chats SET response = '{\"text\":\"done\"}', include = 1 WHERE id = 2");
    rig_settle(&rig);
    assert_true(rig_has(rig_event(&rig, "chat.response.generated", "workspace_chats/2", 0), "\"include\":true"));
    assert_types(&rig, "chat.response.generated");
    /* what becomes of finished chats */
    app_exec(&rig, "UPDATE workspace_chats SET feedbackScore = 1 WHERE id = 1");
    rig_settle(&rig);
    assert_true(rig_has(rig_event(&rig, "chat.feedback", "workspace_chats/1", 0), "\"feedbackScore\":true"));
    rig_forget(&rig);
    app_exec(&rig, "UPDATE workspace_chats SET prompt = 'x', response = '{\"text\":\"y\"}' WHERE id = 1");
    rig_settle(&rig);
    assert_true(str_eq(rig_attribute(rig_event(&rig, "chat.edited", NULL, 0), "changed"), STR("prompt,response")));
    assert_types(&rig, "chat.edited");
    app_exec(&rig, "UPDATE workspace_chats SET include = 0 WHERE id = 3");
    assert_captured(&rig, "chat.hidden");
    app_exec(&rig, "UPDATE workspace_chats SET memory_processed = 1");
    assert_captured(&rig, "");
    app_exec(&rig, "DELETE FROM workspace_chats WHERE id = 2");
    rig_settle(&rig);
    assert_true(rig_has(rig_event(&rig, "chat.deleted", "workspace_chats/2", 0), "\"workspaceId\":1"));
    rig_end(&rig);
}

TEST(chats_delete)
{
    run_chats("DELETE");
}
TEST(chats_wal)
{
    run_chats("WAL");
}

/* Rated, and pinned, while the daemon was down: told when the row is first seen. */
TEST(states_across_starts)
{
    begin("DELETE");
    rig_close(&rig);
    app_exec(&rig, CHAT "(1, 'p', '{\"text\":\"r\"}', 1, 1787270400000, 1)");
    app_exec(&rig, "UPDATE workspace_chats SET feedbackScore = 1");
    app_exec(&rig, "INSERT INTO workspaces(name, slug) VALUES ('w', 'w')");
    app_exec(&rig, "INSERT INTO workspace_documents(docId, filename, docpath, workspaceId, pinned)"
                   " VALUES ('d', 'f', 'p', 1, true)");
    rig_open(&rig, "preset: anythingllm-0\n");
    assert_captured(&rig, "document.embedded document.pinned chat.response.generated chat.feedback workspace.created");
    rig_end(&rig);
}

/* The placeholder stays: aborted by its own clock; deleted while open: aborted at once; an answer after that is not
 * lost. */
TEST(chats_aborted)
{
    begin("DELETE");
    int64_t now = clock_wall_ms(), long_ago = now - 29 * 60000;
    app_do(&rig, CHAT "(1, 'a', '{}', 0, %lld, 1), (1, 'b', '{}', 0, %lld, 1)", (long long)long_ago, (long long)now);
    assert_captured(&rig, "chat.started chat.started");
    clock_fake(clock_mono_ms(), now + 120000);
    app_exec(&rig, "DELETE FROM workspace_chats WHERE id = 2");
    struct err e = { 0 };
    for (int i = 0; i < 10; i++)
        assert_true(rig_read(&rig, &e) >= 0);
    clock_real();
    assert_int_equal(rig_count(&rig, "chat.aborted", "workspace_chats/1"), 1);
    assert_int_equal(rig_count(&rig, "chat.aborted", "workspace_chats/2"), 1);
    assert_true(rig_has(rig_event(&rig, "chat.aborted", "workspace_chats/1", 0), "\"prompt\":\"a\""));
    assert_true(str_eq(rig_event(&rig, "chat.aborted", "workspace_chats/2", 0)->data, STR("{\"id\":2}")));
    assert_types(&rig, "chat.aborted chat.aborted");
    rig_restart(&rig);
    assert_captured(&rig, "");
    app_exec(&rig, "UPDATE workspace_chats SET response = '{\"text\":\"late\"}', include = 1 WHERE id = 1");
    assert_captured(&rig, "chat.response.generated");
    rig_end(&rig);
}

/* A chat that was open before the first start, and one that finished while the daemon was away. */
TEST(chats_across_starts)
{
    rig_new(&rig, "DELETE");
    app_schema(&rig);
    int64_t now = clock_wall_ms();
    app_do(&rig, CHAT "(1, 'old', '{}', 0, %lld, 1), (1, 'young', '{}', 0, %lld, 1)", (long long)now - 86400000,
           (long long)now);
    rig_open(&rig, "preset: anythingllm-0\n");
    assert_captured(&rig, "");
    rig_close(&rig);
    app_exec(&rig, "UPDATE workspace_chats SET response = '{\"text\":\"done\"}', include = 1 WHERE id = 2");
    app_do(&rig, CHAT "(1, 'while away', '{\"text\":\"w\"}', 1, %lld, 1)", (long long)now);
    rig_open(&rig, "preset: anythingllm-0\n");
    rig_settle(&rig);
    assert_int_equal(rig_count(&rig, "chat.response.generated", "workspace_chats/2"), 1);
    assert_int_equal(rig_count(&rig, "chat.response.generated", "workspace_chats/3"), 1);
    assert_int_equal(rig.seen_count, 2);
    rig_end(&rig);
}

TEST(users_and_audit)
{
    begin("DELETE");
    app_exec(&rig, "INSERT INTO users(username, password, createdAt) VALUES ('ann', '$2b$10$secret', 1787270400000)");
    rig_settle(&rig);
    assert_false(rig_has(rig_event(&rig, "user.created", "users/1", 0), "secret"));
    assert_types(&rig, "user.created");
    app_exec(&rig, "UPDATE users SET password = 'other', bio = 'x'");
    assert_captured(&rig, "");
    app_exec(&rig, "UPDATE users SET role = 'admin', suspended = 1");
    rig_settle(&rig);
    assert_true(str_eq(rig_attribute(rig_event(&rig, "user.updated", NULL, 0), "changed"), STR("role,suspended")));
    assert_types(&rig, "user.updated");
    app_exec(
        &rig,
        "INSERT INTO event_logs(event, metadata, occurredAt) VALUES ('login_event', "
        "'{\"ip\":\"::1\",\"username\":\"ann\"}', 1787270400000),"
        "('failed_login_invalid_password', NULL, 1787270400001),"
        "('invite_created', '{\"inviteCode\":\"TOP-SECRET\",\"deep\":[{\"token\":{\"a\":[1]},\"x\":1}],\"createdBy\":\"ann\"}', 1787270400002),"
        "('Strange name/1', 'no json', '2026-08-21 00:00:00')");
    rig_settle(&rig);
    const struct event *invite = rig_event(&rig, "audit.invite_created", NULL, 0);
    assert_true(
        rig_has(invite, "{\"inviteCode\":\"***\",\"deep\":[{\"token\":\"***\",\"x\":1}],\"createdBy\":\"ann\"}"));
    assert_true(str_eq(rig_event(&rig, "audit.Strange_name_1", NULL, 0)->time, STR("2026-08-21T00:00:00.000Z")));
    assert_types(&rig, "user.login user.login_failed audit.invite_created audit.Strange_name_1");
    app_exec(&rig, "DELETE FROM users");
    rig_settle(&rig);
    assert_true(rig_has(rig_event(&rig, "user.deleted", "users/1", 0), "\"username\":\"ann\",\"role\":\"admin\""));
    rig_end(&rig);
}

/* event_logs is cleared: ids go on (AUTOINCREMENT), nothing is lost and nothing repeated. */
TEST(audit_cleared)
{
    begin("WAL");
    app_exec(&rig, "INSERT INTO event_logs(event) VALUES ('sent_chat'), ('sent_chat'), ('sent_chat')");
    assert_captured(&rig, "audit.sent_chat audit.sent_chat audit.sent_chat");
    app_exec(&rig, "DELETE FROM event_logs");
    app_exec(&rig, "INSERT INTO event_logs(event) VALUES ('event_logs_cleared')");
    assert_captured(&rig, "audit.event_logs_cleared");
    rig_restart(&rig);
    assert_captured(&rig, "");
    rig_end(&rig);
}

TEST(workspaces_and_threads)
{
    begin("DELETE");
    app_exec(&rig, "INSERT INTO workspaces(name, slug) VALUES ('New', 'new')");
    app_exec(&rig, "INSERT INTO workspace_threads(name, slug, workspace_id) VALUES ('Thread', 't-1', 2)");
    rig_settle(&rig);
    assert_int_equal(rig_count(&rig, "workspace.created", "workspaces/2"), 1);
    assert_int_equal(rig_count(&rig, "thread.created", "workspace_threads/1"), 1);
    rig_forget(&rig);
    app_exec(
        &rig,
        "UPDATE workspace_threads SET name = 'Better'; UPDATE workspaces SET openAiPrompt = 'be kind' WHERE id = 2");
    rig_settle(&rig);
    assert_false(rig_has(rig_event(&rig, "workspace.updated", NULL, 0), "be kind"));
    assert_int_equal(rig_count(&rig, "thread.renamed", NULL), 1);
    rig_forget(&rig);
    app_exec(&rig, "PRAGMA foreign_keys = 1; DELETE FROM workspaces WHERE id = 2");
    assert_captured(&rig, "workspace.deleted thread.deleted");
    rig_end(&rig);
}

/* start: snapshot reports what is there, marked, once. */
TEST(snapshot)
{
    rig_new(&rig, "DELETE");
    app_schema(&rig);
    app_exec(&rig, "INSERT INTO users(username, password) VALUES ('ann', 'x')");
    app_exec(&rig, CHAT "(1, 'p', '{\"text\":\"r\"}', 1, 1787270400000, 1)");
    rig_open(&rig, "preset: anythingllm-0\nstart: snapshot\n");
    rig_settle(&rig);
    assert_true(str_eq(rig_attribute(rig_event(&rig, "user.created", NULL, 0), "snapshot"), STR("true")));
    assert_types(&rig, "chat.response.generated user.created");
    app_exec(&rig, "INSERT INTO users(username, password) VALUES ('bob', 'x')");
    rig_settle(&rig);
    assert_true(rig_attribute(rig_event(&rig, "user.created", "users/2", 0), "snapshot").n == 0);
    rig_restart(&rig);
    assert_captured(&rig, "user.created");
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_delete),       cmocka_unit_test(documents_wal),
        cmocka_unit_test(chats_delete),           cmocka_unit_test(chats_wal),
        cmocka_unit_test(chats_aborted),          cmocka_unit_test(chats_across_starts),
        cmocka_unit_test(users_and_audit),        cmocka_unit_test(audit_cleared),
        cmocka_unit_test(workspaces_and_threads), cmocka_unit_test(snapshot),
        cmocka_unit_test(states_across_starts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
