/* SPDX-License-Identifier: MIT */
/* The AnythingLLM preset on the real schema: what the application writes becomes the right events of the vocabulary, in
 * both journal modes. */
#include <stdio.h>
#include "tests/support/sqlite_rig.h"

#define CHAT "INSERT INTO workspace_chats(workspaceId, prompt, response, include, createdAt, lastUpdatedAt) VALUES "
#define ANSWER                                                                                                                           \
    "'{\"text\":\"hello\",\"type\":\"chat\",\"sources\":[{\"id\":\"m1\",\"title\":\"A\",\"score\":0.5,\"text\":\"x\"},{\"id\":\"m2\"}]," \
    "\"metrics\":{\"prompt_tokens\":10,\"completion_tokens\":3,\"total_tokens\":13,\"model\":\"m\",\"provider\":\"P\","                  \
    "\"duration\":0.0051}}'"
#define APP  "{\"app\":{\"name\":\"anythingllm\"},"
#define TEAM "\"collection\":{\"id\":\"1\",\"key\":\"team\",\"name\":\"Team\",\"kind\":\"workspace\"}"

static struct rig rig;

static void begin(const char *journal)
{
    rig_new(&rig, journal);
    app_schema(&rig);
    app_exec(&rig, "INSERT INTO workspaces(name, slug, createdAt) VALUES ('Team', 'team', 1787270400000)");
    rig_open(&rig, NULL);
    assert_captured(&rig, "");
}

static void assert_data(const struct event *ev, const char *data)
{
    if (!str_eq(ev->data, str_of(data)))
        fail_msg("is %.*s\nnot %s", STR_ARG(ev->data), data);
}

static void assert_attribute(const struct event *ev, const char *name, const char *value)
{
    struct str is = rig_attribute(ev, name);
    if (!str_eq(is, str_of(value)))
        fail_msg("%s is %.*s, not %s", name, STR_ARG(is), value);
}

static void run_documents(const char *journal)
{
    begin(journal);
    app_exec(
        &rig,
        "INSERT INTO event_logs(event, metadata, userId, occurredAt) VALUES ('document_uploaded', "
        "'{\"documentName\":\"a.pdf\"}', 1, 1787270401000), ('api_link_uploaded', '{\"link\":\"https://x.example/\"}', "
        "NULL, 1787270401000), ('api_raw_document_uploaded', '{}', NULL, 1)");
    rig_settle(&rig);
    const struct event *ev = rig_event(&rig, "document.uploaded", "documents/log/1", 0);
    assert_true(str_eq(ev->source, STR("/anythingllm/app")));
    assert_true(str_eq(ev->time, STR("2026-08-21T00:00:01.000Z")));
    assert_data(ev,
                APP "\"actor\":{\"id\":\"1\"},\"document\":{\"id\":\"log/1\",\"name\":\"a.pdf\"},\"channel\":\"ui\"}");
    assert_data(rig_event(&rig, "document.uploaded", "documents/log/2", 0),
                APP "\"document\":{\"id\":\"log/2\",\"uri\":\"https://x.example/\"},\"channel\":\"api\"}");
    assert_types(&rig, "document.uploaded document.uploaded document.uploaded");
    app_exec(&rig, "BEGIN; INSERT INTO document_vectors(docId, vectorId) VALUES ('d1', 'v1'), ('d1', 'v2'); COMMIT");
    assert_captured(&rig, "");
    app_exec(
        &rig,
        "INSERT INTO workspace_documents(docId, filename, docpath, workspaceId, metadata, createdAt) VALUES "
        "('d1', 'a.json', 'custom-documents/a.json', 1, '{\"id\":\"m1\",\"title\":\"A\",\"url\":\"file://a\",\"wordCount\":161,"
        "\"token_count_estimate\":401}', 1787270402000)");
    rig_settle(&rig);
#define DOCUMENT                                                                                                              \
    TEAM                                                                                                                      \
        ",\"document\":{\"id\":\"m1\",\"key\":\"custom-documents/a.json\",\"name\":\"A\",\"uri\":\"file://a\",\"words\":161," \
        "\"tokens\":401,"
    assert_data(rig_event(&rig, "document.embedded", "documents/m1", 0),
                APP DOCUMENT "\"pinned\":false,\"watched\":false}}");
    assert_types(&rig, "document.embedded");
    app_exec(&rig, "UPDATE workspace_documents SET pinned = 1");
    rig_settle(&rig);
    ev = rig_event(&rig, "document.updated", "documents/m1", 0);
    assert_data(ev, APP DOCUMENT "\"pinned\":true,\"watched\":false},\"before\":{\"document\":{\"pinned\":false}}}");
    assert_attribute(ev, "changed", "document.pinned");
    assert_types(&rig, "document.updated");
    app_exec(&rig, "UPDATE workspace_documents SET pinned = 0, watched = 1");
    rig_settle(&rig);
    assert_attribute(rig_event(&rig, "document.updated", NULL, 0), "changed", "document.pinned,document.watched");
    assert_types(&rig, "document.updated");
    app_exec(&rig, "UPDATE workspace_documents SET lastUpdatedAt = 5");
    assert_captured(&rig, "");
    app_exec(&rig, "DELETE FROM workspace_documents");
    rig_settle(&rig);
    assert_data(rig_event(&rig, "document.removed", "documents/m1", 0),
                APP DOCUMENT "\"pinned\":false,\"watched\":true}}");
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

/* A watched document that was fetched again, or could not be. */
TEST(document_sync)
{
    begin("DELETE");
    app_exec(&rig, "INSERT INTO workspace_documents(docId, filename, docpath, workspaceId, metadata, watched) VALUES "
                   "('d1', 'a.json', 'a.json', 1, '{\"id\":\"m1\"}', 1);"
                   "INSERT INTO document_sync_queues(nextSyncAt, workspaceDocId) VALUES (1, 1)");
    assert_captured(&rig, "document.embedded");
    app_exec(
        &rig,
        "INSERT INTO document_sync_executions(queueId, status, result) VALUES (1, 'success', '{}'), (1, 'exited', NULL), "
        "(1, 'failed', '{\"reason\":\"404\"}')");
    rig_settle(&rig);
    assert_data(rig_event(&rig, "document.failed", "documents/m1", 0), APP TEAM
                ",\"document\":{\"id\":\"m1\",\"key\":\"a.json\",\"name\":\"a.json\"},\"channel\":\"schedule\","
                "\"error\":{\"type\":\"failed\",\"message\":\"404\"}}");
    assert_types(&rig, "document.updated document.failed");
    rig_end(&rig);
}

static void run_chats(const char *journal)
{
    begin(journal);
    long long now = clock_wall_ms();
    app_exec(&rig, "INSERT INTO users(username, password) VALUES ('ann', 'x')");
    app_do(&rig, CHAT "(1, 'hi', " ANSWER ", 1, %lld, %lld)", now, now);
    rig_settle(&rig);
    const struct event *ev = rig_event(&rig, "chat.response.generated", "conversations/ws/1/messages/1", 0);
    assert_data(
        ev,
        APP "\"conversation\":{\"id\":\"ws/1\",\"kind\":\"chat\"},\"message\":{\"id\":\"1\",\"kind\":\"chat\"}," TEAM
            ",\"input\":{\"text\":\"hi\",\"chars\":2},\"output\":{\"text\":\"hello\",\"chars\":5},"
            "\"model\":{\"name\":\"m\",\"provider\":\"P\"},"
            "\"usage\":{\"input_tokens\":10,\"output_tokens\":3,\"total_tokens\":13},\"duration_ms\":5,"
            "\"sources\":[{\"document\":\"m1\",\"name\":\"A\",\"score\":0.5},{\"document\":\"m2\"}]}");
    assert_attribute(ev, "partitionkey", "ws/1");
    assert_true(str_eq(ev->dataschema, STR("urn:aqueduct:event/chat.response.generated/1")));
    rig_forget(&rig);
    /* an agent's chat in a thread, and a plain one of an account that finishes before it with a higher id */
    app_do(
        &rig,
        "INSERT INTO workspace_chats(workspaceId, prompt, response, include, thread_id, createdAt) VALUES (1, '@agent', '{}', "
        "0, 9, %lld)",
        now);
    rig_settle(&rig);
    assert_data(rig_event(&rig, "chat.started", "conversations/ws/1/thread/9/messages/2", 0),
                APP "\"conversation\":{\"id\":\"ws/1/thread/9\",\"kind\":\"thread\"},\"message\":{\"id\":\"2\"}," TEAM
                    ",\"input\":{\"text\":\"@agent\",\"chars\":6}}");
    assert_types(&rig, "chat.started");
    app_do(&rig,
           "INSERT INTO workspace_chats(workspaceId, prompt, response, user_id, createdAt) VALUES (1, 'two', "
           "'{\"text\":\"2\"}', 1, %lld)",
           now);
    rig_settle(&rig);
    assert_true(rig_has(rig_event(&rig, "chat.response.generated", "conversations/ws/1/user/1/messages/3", 0),
                        "\"user\":{\"id\":\"1\",\"name\":\"ann\"}"));
    assert_types(&rig, "chat.response.generated");
    app_exec(&rig, "UPDATE workspace_chats SET response = '{\"text\":\"done\"}', include = 1 WHERE id = 2");
    rig_settle(&rig);
    assert_true(rig_has(rig_event(&rig, "chat.response.generated", "conversations/ws/1/thread/9/messages/2", 0),
                        "\"output\":{\"text\":\"done\",\"chars\":4}"));
    assert_types(&rig, "chat.response.generated");
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

/* What becomes of finished chats. */
TEST(chats_later)
{
    begin("DELETE");
    long long now = clock_wall_ms();
    app_do(&rig, CHAT "(1, 'hi', " ANSWER ", 1, %lld, 1), (1, 'ho', '{\"text\":\"2\"}', 1, %lld, 1)", now, now);
    assert_captured(&rig, "chat.response.generated chat.response.generated");
    app_exec(&rig, "UPDATE workspace_chats SET feedbackScore = 0 WHERE id = 1");
    rig_settle(&rig);
    const struct event *ev = rig_event(&rig, "chat.feedback", "conversations/ws/1/messages/1", 0);
    assert_data(ev, APP "\"conversation\":{\"id\":\"ws/1\"},\"message\":{\"id\":\"1\"}," TEAM
                        ",\"feedback\":{\"score\":-1,\"kind\":\"rating\"},\"before\":{\"feedback\":{\"score\":0}}}");
    assert_attribute(ev, "changed", "feedback.score");
    rig_forget(&rig);
    app_exec(&rig, "UPDATE workspace_chats SET feedbackScore = NULL WHERE id = 1");
    rig_settle(&rig);
    assert_true(rig_has(rig_event(&rig, "chat.feedback", NULL, 0), "\"feedback\":{\"score\":0,\"kind\":\"rating\"}"));
    rig_forget(&rig);
    app_exec(&rig, "UPDATE workspace_chats SET prompt = 'x', response = '{\"text\":\"y\"}' WHERE id = 1");
    rig_settle(&rig);
    ev = rig_event(&rig, "chat.edited", "conversations/ws/1/messages/1", 0);
    assert_attribute(ev, "changed", "input.text,output.text");
    assert_true(rig_has(ev, "\"input\":{\"text\":\"x\",\"chars\":1},\"output\":{\"text\":\"y\",\"chars\":1}"));
    assert_types(&rig, "chat.edited");
    app_exec(&rig, "UPDATE workspace_chats SET include = 0 WHERE id = 2");
    assert_captured(&rig, "chat.hidden");
    app_exec(&rig, "UPDATE workspace_chats SET memory_processed = 1");
    assert_captured(&rig, "");
    app_exec(&rig, "DELETE FROM workspace_chats WHERE id = 2");
    rig_settle(&rig);
    assert_data(rig_event(&rig, "chat.deleted", "conversations/ws/1/messages/2", 0),
                APP "\"conversation\":{\"id\":\"ws/1\"},\"message\":{\"id\":\"2\"}," TEAM "}");
    rig_end(&rig);
}

/* Rated, and pinned, while the daemon was down: told when the row is first seen. */
TEST(states_across_starts)
{
    begin("DELETE");
    rig_close(&rig);
    app_exec(&rig, CHAT "(1, 'p', '{\"text\":\"r\"}', 1, 1787270400000, 1)");
    app_exec(&rig, "UPDATE workspace_chats SET feedbackScore = 1");
    app_exec(&rig, "INSERT INTO workspace_documents(docId, filename, docpath, workspaceId, pinned)"
                   " VALUES ('d', 'f', 'p', 1, true)");
    rig_open(&rig, NULL);
    rig_settle(&rig);
    assert_true(rig_has(rig_event(&rig, "chat.feedback", NULL, 0), "\"feedback\":{\"score\":1,\"kind\":\"rating\"}}"));
    assert_true(rig_has(rig_event(&rig, "document.embedded", "documents/d", 0), "\"pinned\":true"));
    assert_types(&rig, "document.embedded chat.response.generated chat.feedback");
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
    assert_true(
        rig_has(rig_event(&rig, "chat.response.aborted", "conversations/ws/1/messages/1", 0), "\"text\":\"a\""));
    assert_data(rig_event(&rig, "chat.response.aborted", "conversations/ws/1/messages/2", 0),
                APP "\"conversation\":{\"id\":\"ws/1\",\"kind\":\"chat\"},\"message\":{\"id\":\"2\"}," TEAM "}");
    assert_types(&rig, "chat.response.aborted chat.response.aborted chat.deleted");
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
    rig_open(&rig, NULL);
    assert_captured(&rig, "");
    rig_close(&rig);
    app_exec(&rig, "UPDATE workspace_chats SET response = '{\"text\":\"done\"}', include = 1 WHERE id = 2");
    app_do(&rig, CHAT "(1, 'while away', '{\"text\":\"w\"}', 1, %lld, 1)", (long long)now);
    rig_open(&rig, NULL);
    rig_settle(&rig);
    assert_int_equal(rig_count(&rig, "chat.response.generated", "conversations/ws/1/messages/2"), 1);
    assert_int_equal(rig_count(&rig, "chat.response.generated", "conversations/ws/1/messages/3"), 1);
    assert_int_equal(rig.seen_count, 2);
    rig_end(&rig);
}

/* The widget on other sites, agents and scheduled jobs. */
TEST(widget_and_runs)
{
    begin("WAL");
    long long now = clock_wall_ms();
    app_exec(
        &rig,
        "INSERT INTO embed_configs(uuid, workspace_id) VALUES ('u', 1);"
        "INSERT INTO embed_chats(prompt, response, session_id, connection_information, embed_id) VALUES ('hi', " ANSWER
        ", 's1', '{\"ip\":\"1.2.3.4\"}', 1)");
    rig_settle(&rig);
    const struct event *ev = rig_event(&rig, "chat.response.generated", "conversations/embed/1/s1/messages/embed/1", 0);
    assert_true(rig_has(ev, TEAM ",\"channel\":\"embed\",\"input\"") && rig_has(ev, "\"total_tokens\":13"));
    assert_false(rig_has(ev, "1.2.3.4"));
    rig_forget(&rig);
    app_do(
        &rig,
        "INSERT INTO workspace_agent_invocations(uuid, prompt, workspace_id, createdAt) VALUES ('u', '@agent go', 1, %lld)",
        now);
    assert_captured(&rig, "run.started");
    app_exec(&rig, "UPDATE workspace_agent_invocations SET closed = 1");
    rig_settle(&rig);
    assert_true(rig_has(rig_event(&rig, "run.finished", "runs/agent/1", 0), "\"conversation\":{\"id\":\"ws/1\"}"));
    rig_forget(&rig);
    app_do(&rig,
           "INSERT INTO scheduled_jobs(name, prompt, schedule) VALUES ('Digest', 'sum up', '0 8 * * *');"
           "INSERT INTO scheduled_job_runs(jobId, startedAt) VALUES (1, %lld), (1, %lld), (1, %lld)",
           now, now, now);
    assert_captured(&rig, "run.started run.started run.started");
    app_do(
        &rig,
        "UPDATE scheduled_job_runs SET status = CASE id WHEN 1 THEN 'completed' WHEN 2 THEN 'failed' ELSE 'timed_out' END, "
        "error = CASE id WHEN 2 THEN 'no model' END, completedAt = startedAt + 1500");
    rig_settle(&rig);
    ev = rig_event(&rig, "run.finished", "runs/job/1", 0);
    assert_true(rig_has(ev, "\"agent\":{\"id\":\"1\",\"name\":\"Digest\",\"kind\":\"job\"}")
                && rig_has(ev, "\"duration_ms\":1500"));
    assert_true(rig_has(rig_event(&rig, "run.failed", "runs/job/2", 0), "\"message\":\"no model\""));
    assert_int_equal(rig_count(&rig, "run.aborted", "runs/job/3"), 1);
    assert_int_equal(rig.seen_count, 3);
    rig_end(&rig);
}

TEST(users_and_audit)
{
    begin("DELETE");
    app_exec(&rig, "INSERT INTO users(username, password, createdAt) VALUES ('ann', '$2b$10$secret', 1787270400000)");
    rig_settle(&rig);
    assert_data(rig_event(&rig, "user.created", "users/1", 0),
                APP "\"user\":{\"id\":\"1\",\"name\":\"ann\",\"role\":\"default\",\"active\":true}}");
    assert_types(&rig, "user.created");
    app_exec(&rig, "UPDATE users SET password = 'other', bio = 'x'");
    assert_captured(&rig, "");
    app_exec(&rig, "UPDATE users SET role = 'admin', suspended = 1");
    rig_settle(&rig);
    const struct event *ev = rig_event(&rig, "user.updated", "users/1", 0);
    assert_attribute(ev, "changed", "user.role,user.active");
    assert_data(ev, APP "\"user\":{\"id\":\"1\",\"name\":\"ann\",\"role\":\"admin\",\"active\":false},"
                        "\"before\":{\"user\":{\"role\":\"default\",\"active\":true}}}");
    assert_types(&rig, "user.updated");
    app_exec(
        &rig,
        "INSERT INTO event_logs(event, metadata, userId, occurredAt) VALUES ('login_event', "
        "'{\"ip\":\"::1\",\"username\":\"ann\"}', 1, 1787270400000),"
        "('failed_login_invalid_password', '{\"username\":\"eve\"}', NULL, 1787270400001),"
        "('invite_created', '{\"inviteCode\":\"TOP-SECRET\",\"deep\":[{\"token\":{\"a\":[1]},\"x\":1}]}', 1, 1787270400002),"
        "('user_updated', '{\"username\":\"ann\"}', 1, 1),"
        "('Strange name/1', 'no json', NULL, '2026-08-21 00:00:00')");
    rig_settle(&rig);
    assert_data(rig_event(&rig, "user.login", "users/1", 0), APP "\"user\":{\"id\":\"1\",\"name\":\"ann\"}}");
    assert_data(rig_event(&rig, "user.login_failed", "event_logs/2", 0),
                APP "\"user\":{\"name\":\"eve\"},\"error\":{\"type\":\"invalid_password\"}}");
    assert_data(rig_event(&rig, "audit.logged", "event_logs/3", 0),
                APP "\"actor\":{\"id\":\"1\",\"name\":\"ann\"},\"audit\":{\"action\":\"invite_created\","
                    "\"detail\":{\"inviteCode\":\"***\",\"deep\":[{\"token\":\"***\",\"x\":1}]}}}");
    assert_data(
        rig_event(&rig, "audit.logged", "event_logs/4", 0), APP
        "\"user\":{\"id\":\"1\",\"name\":\"ann\"},\"audit\":{\"action\":\"user_updated\",\"detail\":{\"username\":\"ann\"}}}");
    ev = rig_event(&rig, "audit.logged", "event_logs/5", 0);
    assert_data(ev, APP "\"audit\":{\"action\":\"Strange name/1\"}}");
    assert_true(str_eq(ev->time, STR("2026-08-21T00:00:00.000Z")));
    assert_types(&rig, "user.login user.login_failed audit.logged audit.logged audit.logged");
    app_exec(&rig, "DELETE FROM users");
    rig_settle(&rig);
    assert_data(rig_event(&rig, "user.deleted", "users/1", 0),
                APP "\"user\":{\"id\":\"1\",\"name\":\"ann\",\"role\":\"admin\",\"active\":false}}");
    rig_end(&rig);
}

TEST(workspaces_and_threads)
{
    begin("DELETE");
    app_exec(&rig, "INSERT INTO workspaces(name, slug) VALUES ('New', 'new')");
    app_exec(&rig, "INSERT INTO workspace_threads(name, slug, workspace_id) VALUES ('Thread', 't-1', 2)");
    rig_settle(&rig);
    assert_int_equal(rig_count(&rig, "collection.created", "collections/2"), 1);
    assert_data(rig_event(&rig, "conversation.created", "conversations/ws/2/thread/1", 0),
                APP "\"conversation\":{\"id\":\"ws/2/thread/1\",\"title\":\"Thread\",\"kind\":\"thread\"},"
                    "\"collection\":{\"id\":\"2\",\"key\":\"new\",\"name\":\"New\",\"kind\":\"workspace\"}}");
    rig_forget(&rig);
    app_exec(
        &rig,
        "UPDATE workspace_threads SET name = 'Better'; UPDATE workspaces SET openAiPrompt = 'be kind' WHERE id = 2");
    rig_settle(&rig);
    assert_false(rig_has(rig_event(&rig, "collection.updated", "collections/2", 0), "be kind"));
    const struct event *ev = rig_event(&rig, "conversation.updated", NULL, 0);
    assert_attribute(ev, "changed", "conversation.title");
    assert_true(rig_has(ev, "\"before\":{\"conversation\":{\"title\":\"Thread\"}}"));
    rig_forget(&rig);
    app_exec(&rig, "PRAGMA foreign_keys = 1; DELETE FROM workspaces WHERE id = 2");
    rig_settle(&rig);
    assert_true(rig_has(rig_event(&rig, "collection.deleted", "collections/2", 0), "\"key\":\"new\""));
    assert_int_equal(rig_count(&rig, "conversation.deleted", "conversations/ws/2/thread/1"), 1);
    assert_types(&rig, "collection.deleted conversation.deleted");
    rig_end(&rig);
}

/* With content: none no text of a person or a model is in any byte, whatever happens, raw rows or not. */
TEST(no_content)
{
    rig_new(&rig, "DELETE");
    app_schema(&rig);
    rig_open(&rig, "preset: anythingllm\ncontent: none\nraw: row\n");
    assert_captured(&rig, "");
    long long now = clock_wall_ms();
    app_exec(
        &rig,
        "INSERT INTO workspaces(name, slug, openAiPrompt) VALUES ('Team', 'team', 'geheim');"
        "INSERT INTO workspace_threads(name, slug, workspace_id) VALUES ('geheim', 't-1', 1);"
        "INSERT INTO embed_configs(uuid, workspace_id) VALUES ('u', 1);"
        "INSERT INTO embed_chats(prompt, response, session_id, embed_id) VALUES ('geheim', '{\"text\":\"geheim\"}', 's', 1);"
        "INSERT INTO workspace_agent_invocations(uuid, prompt, workspace_id) VALUES ('u', '@agent geheim', 1);"
        "INSERT INTO scheduled_jobs(name, prompt, schedule) VALUES ('Digest', 'geheim', '0 8 * * *');"
        "INSERT INTO scheduled_job_runs(jobId, result, error, status) VALUES (1, 'geheim', 'geheim', 'failed');"
        "INSERT INTO event_logs(event, metadata) VALUES ('workspace_prompt_changed', '{\"prompt\":\"geheim\"}')");
    app_do(&rig,
           CHAT "(1, 'geheim', '{\"text\":\"geheim\",\"sources\":[{\"id\":\"d\",\"text\":\"geheim\"}]}', 1, %lld, 1),"
                " (1, 'geheim', '{}', 0, %lld, 1)",
           now, now);
    rig_settle(&rig);
    app_exec(
        &rig,
        "UPDATE workspace_chats SET prompt = 'geheim 2', feedbackScore = 1; UPDATE workspace_threads SET name = 'geheim 3'");
    rig_settle(&rig);
    app_exec(&rig, "DELETE FROM workspace_chats; DELETE FROM workspace_threads");
    rig_settle(&rig);
    assert_true(rig.seen_count > 12);
    for (size_t i = 0; i < rig.seen_count; i++) {
        if (rig_has(rig.seen[i], "geheim"))
            fail_msg("%.*s: %.*s", STR_ARG(rig.seen[i]->type), STR_ARG(rig.seen[i]->data));
        assert_true(rig.seen[i]->data.n > 0 && rig_has(rig.seen[i], APP));
    }
    assert_true(rig_has(rig_event(&rig, "chat.response.generated", "conversations/ws/1/messages/1", 0),
                        "\"output\":{\"chars\":6}"));
    rig_end(&rig);
}

/* start: snapshot reports what is there, marked, once. */
TEST(snapshot)
{
    rig_new(&rig, "DELETE");
    app_schema(&rig);
    app_exec(&rig, "INSERT INTO users(username, password) VALUES ('ann', 'x')");
    app_exec(&rig, CHAT "(1, 'p', '{\"text\":\"r\"}', 1, 1787270400000, 1)");
    rig_open(&rig, "preset: anythingllm\nstart: snapshot\n");
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

/* What the preset of before the vocabulary stored is taken over: nothing is told twice, nothing lost. */
TEST(takes_over_from_the_preset_before)
{
    rig_new(&rig, "WAL");
    app_schema(&rig);
    app_exec(&rig,
             "INSERT INTO workspaces(name, slug) VALUES ('Team', 'team');"
             "INSERT INTO users(username, password) VALUES ('ann', 'x');" CHAT "(1, 'p', '{\"text\":\"r\"}', 1, 1, 1);"
             "INSERT INTO event_logs(event) VALUES ('sent_chat')");
    rig_open(&rig, "preset: anythingllm-0\n");
    assert_captured(&rig, "");
    rig_close(&rig);
    app_exec(&rig, CHAT "(1, 'p', '{\"text\":\"r\"}', 1, 1, 1); INSERT INTO event_logs(event) VALUES ('sent_chat');"
                        "UPDATE users SET role = 'admin'");
    rig_open(&rig, "preset: anythingllm\n");
    assert_captured(&rig, "audit.logged chat.response.generated user.updated");
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_delete),
        cmocka_unit_test(documents_wal),
        cmocka_unit_test(document_sync),
        cmocka_unit_test(chats_delete),
        cmocka_unit_test(chats_wal),
        cmocka_unit_test(chats_later),
        cmocka_unit_test(states_across_starts),
        cmocka_unit_test(chats_aborted),
        cmocka_unit_test(chats_across_starts),
        cmocka_unit_test(widget_and_runs),
        cmocka_unit_test(users_and_audit),
        cmocka_unit_test(workspaces_and_threads),
        cmocka_unit_test(no_content),
        cmocka_unit_test(snapshot),
        cmocka_unit_test(takes_over_from_the_preset_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
