/* SPDX-License-Identifier: MIT */
/* Rules with `map`: rows become events of the vocabulary, nested by path and in its forms, also where an expression does
 * not fit, a row is gone, or a join makes several of one. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/jscan.h"
#include "tests/support/connector.h"
#include "tests/support/sqlite_rig.h"
#include "tests/support/stderr.h"

#define TABLES                                                                                                         \
    "CREATE TABLE users(id INTEGER PRIMARY KEY, name, password);"                                                      \
    "CREATE TABLE chats(id INTEGER PRIMARY KEY AUTOINCREMENT, conv, prompt, response, user_id, score, at);"            \
    "INSERT INTO users VALUES (7, 'Ann', 'geheim');"

#define CHATS                                                                                                          \
    "app: testapp\n"                                                                                                   \
    "capture:\n"                                                                                                       \
    "- name: chats\n"                                                                                                  \
    "  kind: append\n"                                                                                                 \
    "  table: chats\n"                                                                                                 \
    "  join: LEFT JOIN users u ON u.id = r.user_id\n"

#define DATA                                                                                                           \
    "  data:\n"                                                                                                        \
    "    message.id: r.id\n"                                                                                           \
    "    conversation.id: r.conv\n"                                                                                    \
    "    user.id: r.user_id\n"                                                                                         \
    "    user.name: u.name\n"                                                                                          \
    "    input.text: r.prompt\n"                                                                                       \
    "    output.text: r.response->>'$.text'\n"                                                                         \
    "    usage.output_tokens: r.response->>'$.tokens'\n"                                                               \
    "    duration_ms: round(1000 * (r.response->>'$.seconds'))\n"                                                      \
    "    sources: r.response->'$.sources'\n"

#define GENERATED "  map:\n  - {type: chat.response.generated, op: [insert]}\n"

static struct rig rig;

static bool is(struct str text, const char *wanted)
{
    if (str_eq(text, str_of(wanted)))
        return true;
    fprintf(stderr, "is %.*s\nnot %s\n", STR_ARG(text), wanted);
    return false;
}

static const struct event *only(void)
{
    rig_settle(&rig);
    assert_int_equal(rig.seen_count, 1);
    struct jscan_value value;
    struct err e = { 0 };
    if (!jscan_check(rig.seen[0]->data, &value, &e))
        fail_msg("%s in %.*s", e.text, STR_ARG(rig.seen[0]->data));
    return rig.seen[0];
}

static void refuse(const char *yaml, const char *why)
{
    struct err e = { 0 };
    rig_new(&rig, "DELETE");
    app_exec(&rig, TABLES);
    assert_false(rig_try(&rig, yaml, &e));
    if (!strstr(e.text, why))
        fail_msg("%s\nnot %s", e.text, why);
    rig_end(&rig);
}

/* Nested by path, in the forms of the vocabulary, whatever SQLite's types are; NULL and "" are left out. */
TEST(nested_and_formed)
{
    rig_begin(&rig, "DELETE", TABLES, CHATS DATA GENERATED);
    app_exec(
        &rig,
        "INSERT INTO chats(conv, prompt, response, user_id) VALUES (12, 'h\xC3\xA4?', "
        "'{\"text\":\"yes\",\"tokens\":\"3\",\"seconds\":0.0052,\"sources\":[{\"document\":5,\"name\":\"\",\"score\":0.5,"
        "\"chunk\":\"x\"},{\"document\":\"d\",\"score\":null}]}', 7)");
    const struct event *ev = only();
    assert_true(is(ev->data,
                   "{\"app\":{\"name\":\"testapp\"},\"conversation\":{\"id\":\"12\"},\"message\":{\"id\":\"1\"},"
                   "\"user\":{\"id\":\"7\",\"name\":\"Ann\"},\"input\":{\"text\":\"h\xC3\xA4?\",\"chars\":3},"
                   "\"output\":{\"text\":\"yes\",\"chars\":3},\"usage\":{\"output_tokens\":3},\"duration_ms\":5,"
                   "\"sources\":[{\"document\":\"5\",\"score\":0.5},{\"document\":\"d\"}]}"));
    assert_true(is(ev->type, "chat.response.generated"));
    assert_true(is(ev->subject, "conversations/12/messages/1"));
    assert_true(is(ev->dataschema, "urn:aqueduct:event/chat.response.generated/1"));
    assert_true(is(rig_attribute(ev, "partitionkey"), "12"));
    rig_forget(&rig);
    app_exec(&rig, "INSERT INTO chats(conv, prompt, response) VALUES ('c', '', '{\"text\":\"\"}')");
    assert_true(is(only()->data,
                   "{\"app\":{\"name\":\"testapp\"},\"conversation\":{\"id\":\"c\"},\"message\":{\"id\":\"2\"},"
                   "\"input\":{\"chars\":0},\"output\":{\"chars\":0}}"));
    rig_end(&rig);
}

TEST(times_and_flags)
{
    rig_begin(
        &rig, "DELETE", "CREATE TABLE t(id TEXT PRIMARY KEY, began, ended, pinned, name)",
        "app: a\ncapture:\n- {name: t, kind: append, table: t, map: [{type: run.finished, op: [insert], data: {run.id: "
        "r.id, run.started_at: r.began, run.ended_at: r.ended}}]}\n"
        "- {name: d, kind: append, table: t, map: [{type: document.updated, op: [insert], when: r.pinned IS NOT NULL, "
        "data: {document.id: r.id, document.pinned: r.pinned, document.words: r.name}}]}\n");
    app_exec(&rig, "INSERT INTO t VALUES ('x', 1787270400, '2026-08-21 00:00:01.5', 0, '12')");
    rig_settle(&rig);
    assert_true(is(rig_event(&rig, "run.finished", "runs/x", 0)->data,
                   "{\"app\":{\"name\":\"a\"},\"run\":{\"id\":\"x\",\"started_at\":\"2026-08-21T00:00:00.000Z\","
                   "\"ended_at\":\"2026-08-21T00:00:01.500Z\"}}"));
    assert_true(is(rig_event(&rig, "document.updated", "documents/x", 0)->data,
                   "{\"app\":{\"name\":\"a\"},\"document\":{\"id\":\"x\",\"words\":12,\"pinned\":false}}"));
    rig_forget(&rig);
    /* what has no such form is left out, and the rest told */
    app_exec(&rig, "INSERT INTO t VALUES ('y', 'soon', NULL, 'perhaps', 'many')");
    rig_settle(&rig);
    assert_true(
        is(rig_event(&rig, "run.finished", "runs/y", 0)->data, "{\"app\":{\"name\":\"a\"},\"run\":{\"id\":\"y\"}}"));
    assert_true(is(rig_event(&rig, "document.updated", "documents/y", 0)->data,
                   "{\"app\":{\"name\":\"a\"},\"document\":{\"id\":\"y\"}}"));
    rig_end(&rig);
}

/* Each entry that fits emits, under an id of its own, which is the same after a restart. */
TEST(entries_that_fit)
{
    rig_begin(&rig, "WAL", TABLES,
              CHATS DATA
              "  map:\n  - {type: chat.started, op: [insert], when: r.response IS NULL}\n"
              "  - {type: chat.response.generated, op: [insert], when: r.response IS NOT NULL}\n"
              "  - {type: chat.feedback, op: [insert], when: r.score IS NOT NULL, data: {feedback.score: r.score}}\n"
              "  - {type: chat.feedback, op: [insert], when: r.score > 5, data: {feedback.label: \"'top'\"}}\n");
    app_exec(&rig, "INSERT INTO chats(conv, prompt) VALUES (1, 'a')");
    assert_captured(&rig, "chat.started");
    app_exec(&rig, "INSERT INTO chats(conv, prompt, response, score) VALUES (1, 'a', '{\"text\":\"b\"}', 9)");
    rig.confirm = false;
    rig_settle(&rig);
    char ids[3][64];
    assert_int_equal(rig.seen_count, 3);
    for (size_t i = 0; i < 3; i++)
        snprintf(ids[i], sizeof ids[i], "%.*s", STR_ARG(rig.seen[i]->id));
    assert_true(strcmp(ids[0], ids[1]) != 0 && strcmp(ids[1], ids[2]) != 0);
    assert_types(&rig, "chat.response.generated chat.feedback chat.feedback");
    rig.confirm = true;
    rig_restart(&rig);
    rig_settle(&rig);
    for (size_t i = 0; i < 3; i++)
        assert_true(is(rig.seen[i]->id, ids[i]));
    rig_end(&rig);
}

/* An expression that does not fit this version of the application is told with its place, and the rest goes on. */
TEST(expression_that_does_not_fit)
{
    rig_begin(&rig, "DELETE", TABLES, CHATS DATA "    model.name: r.model\n" GENERATED);
    app_exec(&rig, "INSERT INTO chats(conv, prompt, response) VALUES (1, 'a', '{\"text\":\"b\"}')");
    assert_true(is(only()->data,
                   "{\"app\":{\"name\":\"testapp\"},\"conversation\":{\"id\":\"1\"},\"message\":{\"id\":\"1\"},"
                   "\"input\":{\"text\":\"a\",\"chars\":1},\"output\":{\"text\":\"b\",\"chars\":1}}"));
    rig_forget(&rig);
    /* the column comes with a new version */
    app_exec(&rig, "ALTER TABLE chats ADD COLUMN model DEFAULT 'm'");
    app_exec(&rig, "INSERT INTO chats(conv, prompt, response) VALUES (1, 'a', '{\"text\":\"b\"}')");
    assert_true(rig_has(only(), "\"model\":{\"name\":\"m\"}"));
    rig_end(&rig);
}

static void note(void *ctx, const char *place, const char *why)
{
    buf_printf(ctx, "%s: %s\n", place, why);
}

/* check names rule, path and SQLite's message, and for a delete what is not kept. */
TEST(check_says_what_does_not_fit)
{
    struct buf doubtful = buf_new(4096), yaml = buf_new(4096);
    rig_new(&rig, "DELETE");
    app_exec(&rig, TABLES);
    buf_printf(
        &yaml,
        "path: %s\napp: a\ncapture:\n- {name: c, kind: append, table: chats, data: {message.id: r.id, input.text: "
        "r.promt}, map: [{type: chat.started, op: [insert], when: r.conv > 1}]}\n"
        "- {name: d, kind: diff, table: users, keep: [], data: {user.id: r.id}, map: [{type: user.deleted, op: [delete], "
        "data: {user.name: r.name}}]}\n"
        "- {name: e, kind: append, tables: x*, data: {message.id: r.id}, map: [{type: chat.started, op: [insert]}]}\n"
        "- {name: f, kind: append, table: chats, data: {message.id: r.id, input.text: bad}, map: [{type: chat.started, "
        "op: [insert]}]}\n",
        rig.path);
    struct source *s = source_filled(&sqlite_source, "app", buf_c(&yaml));
    sqlite_source.review(s, note, note, &doubtful);
    free(s);
    assert_true(is(
        buf_str(&doubtful),
        "capture[0]: data.input.text: no such column: r.promt (did you mean r.prompt?)\n"
        "capture[1]: keep: name is missing, which map[0].data.user.name of user.deleted reads of a row that is gone\n"
        "capture[2]: tables: there is no table like \"x*\"\n"
        "capture[3]: data.input.text: no such column: bad (a text is quoted twice: \"'bad'\")\n"));
    buf_free(&doubtful);
    buf_free(&yaml);
    app_close(&rig);
}

/* One that fails for a row, such as of broken JSON, is left out of that row alone. */
TEST(expression_that_fails)
{
    rig_begin(&rig, "DELETE", TABLES, CHATS DATA GENERATED);
    app_exec(&rig,
             "INSERT INTO chats(conv, prompt, response) VALUES (1, 'a', '{broken'), (1, 'b', '{\"text\":\"c\"}')");
    rig_settle(&rig);
    assert_int_equal(rig.seen_count, 2);
    assert_true(is(rig.seen[0]->data,
                   "{\"app\":{\"name\":\"testapp\"},\"conversation\":{\"id\":\"1\"},\"message\":{\"id\":\"1\"},"
                   "\"input\":{\"text\":\"a\",\"chars\":1}}"));
    assert_true(rig_has(rig.seen[1], "\"output\":{\"text\":\"c\",\"chars\":1}"));
    rig_end(&rig);
}

TEST(column_that_is_never_read)
{
    rig_begin(
        &rig, "DELETE", TABLES,
        "app: a\ncapture:\n- {name: u, kind: append, table: users, never: [password], map: [{type: user.created, op: "
        "[insert], data: {user.id: r.id, user.name: r.name, user.role: r.password}}]}\n");
    app_exec(&rig, "INSERT INTO users VALUES (8, 'Bob', 'geheim')");
    assert_true(is(only()->data, "{\"app\":{\"name\":\"a\"},\"user\":{\"id\":\"8\",\"name\":\"Bob\"}}"));
    rig_end(&rig);
}

#define USERS                                                                                                          \
    "app: a\ncapture:\n- name: u\n  kind: diff\n  table: users\n  watch: [name, role]\n  keep: [name, role]\n"         \
    "  never: [password]\n  data: {user.id: r.id, user.name: r.name, user.role: \"'r-' || r.role\"}\n  map:\n"         \
    "  - {type: user.created, op: [insert]}\n  - {type: user.updated, op: [update]}\n"                                 \
    "  - {type: user.deleted, op: [delete]}\n"
#define USER_TABLE "CREATE TABLE users(id INTEGER PRIMARY KEY, name, role, password, chat);"

/* An update names the paths that changed and what they were; a delete tells what was kept. */
TEST(update_and_delete)
{
    rig_begin(&rig, "DELETE", USER_TABLE "INSERT INTO users VALUES (7, 'Ann', 'default', 'x', 1)", USERS);
    app_exec(&rig, "UPDATE users SET role = 'admin'");
    const struct event *ev = only();
    assert_true(is(ev->data, "{\"app\":{\"name\":\"a\"},\"user\":{\"id\":\"7\",\"name\":\"Ann\",\"role\":\"r-admin\"},"
                             "\"before\":{\"user\":{\"role\":\"r-default\"}}}"));
    assert_true(is(rig_attribute(ev, "changed"), "user.role"));
    assert_true(is(ev->subject, "users/7") && is(ev->type, "user.updated"));
    rig_forget(&rig);
    app_exec(&rig, "UPDATE users SET password = 'y', chat = 2");
    assert_captured(&rig, "");
    rig_restart(&rig);
    app_exec(&rig, "DELETE FROM users");
    ev = only();
    assert_true(
        is(ev->data, "{\"app\":{\"name\":\"a\"},\"user\":{\"id\":\"7\",\"name\":\"Ann\",\"role\":\"r-admin\"}}"));
    assert_true(is(ev->subject, "users/7") && is(rig_attribute(ev, "partitionkey"), "7"));
    rig_end(&rig);
}

/* What is watched but not kept changes a path, of which nothing is known from before. */
TEST(update_of_what_is_not_kept)
{
    rig_begin(
        &rig, "DELETE",
        "CREATE TABLE chats(id INTEGER PRIMARY KEY AUTOINCREMENT, conv, prompt NOT NULL, response NOT NULL, score);"
        "INSERT INTO chats(conv, prompt, response, score) VALUES (1, 'a', '{\"text\":\"b\"}', 0);",
        "app: a\ncapture:\n- name: c\n  kind: diff\n  table: chats\n  watch: [prompt, response, score]\n  keep: [conv]\n"
        "  data: {conversation.id: r.conv, message.id: r.id, input.text: r.prompt, output.text: r.response->>'$.text'}\n"
        "  map:\n  - {type: chat.edited, op: [prompt, response]}\n"
        "  - {type: chat.hidden, op: [score=5]}\n"
        "  - {type: chat.feedback, op: [score], when: r.score < 5, data: {feedback.score: r.score}}\n"
        "  - {type: chat.deleted, op: [delete]}\n");
    app_exec(&rig, "UPDATE chats SET prompt = 'A'");
    const struct event *ev = only();
    assert_true(is(rig_attribute(ev, "changed"), "input.text"));
    assert_true(is(ev->type, "chat.edited") && !rig_has(ev, "before"));
    rig_forget(&rig);
    app_exec(&rig, "UPDATE chats SET score = 5");
    assert_captured(&rig, "chat.hidden");
    app_exec(&rig, "UPDATE chats SET score = 1, response = '{}'");
    rig_settle(&rig);
    assert_true(is(rig_attribute(rig_event(&rig, "chat.edited", NULL, 0), "changed"), "output.text"));
    assert_true(is(rig_attribute(rig_event(&rig, "chat.feedback", NULL, 0), "changed"), "feedback.score"));
    rig_forget(&rig);
    app_exec(&rig, "DELETE FROM chats");
    assert_true(
        is(only()->data, "{\"app\":{\"name\":\"a\"},\"conversation\":{\"id\":\"1\"},\"message\":{\"id\":\"1\"}}"));
    rig_forget(&rig);
    /* a state that is there when a row is first seen */
    app_exec(&rig, "INSERT INTO chats(conv, prompt, response, score) VALUES (1, 'a', '{}', 5), (1, 'b', '{}', 3)");
    rig_settle(&rig);
    assert_true(is(rig_event(&rig, "chat.hidden", NULL, 0)->subject, "conversations/1/messages/2"));
    assert_true(is(rig_event(&rig, "chat.feedback", NULL, 0)->subject, "conversations/1/messages/3"));
    assert_types(&rig, "chat.hidden chat.feedback");
    rig_end(&rig);
}

/* A row that goes before it is finished tells what was kept of it, also after a restart. */
TEST(unfinished_and_gone)
{
    rig_begin(
        &rig, "DELETE", TABLES,
        "app: a\ncapture:\n- name: c\n  kind: open_row\n  table: chats\n  done: response IS NOT NULL\n  keep: [conv, prompt]\n"
        "  data: {conversation.id: r.conv, message.id: r.id, input.text: r.prompt, message.kind: r.score}\n"
        "  map:\n  - {type: chat.started, op: [started]}\n  - {type: chat.response.aborted, op: [aborted]}\n");
    app_exec(&rig, "INSERT INTO chats(conv, prompt, score) VALUES ('c', 'a b', 'x')");
    assert_captured(&rig, "chat.started");
    rig_restart(&rig);
    app_exec(&rig, "DELETE FROM chats");
    const struct event *ev = only();
    assert_true(is(ev->data, "{\"app\":{\"name\":\"a\"},\"conversation\":{\"id\":\"c\"},\"message\":{\"id\":\"1\"},"
                             "\"input\":{\"text\":\"a b\",\"chars\":3}}"));
    assert_true(is(ev->subject, "conversations/c/messages/1") && is(rig_attribute(ev, "partitionkey"), "c"));
    rig_end(&rig);
}

/* A join that makes several rows of one: each has its part in the id; :before tells which are new. */
TEST(parts)
{
    static const char *const yaml =
        "app: a\ncapture:\n- name: c\n  kind: diff\n  table: talks\n"
        "  select: SELECT *, json_array_length(turns) AS n FROM talks\n"
        "  watch: [turns]\n  keep: [n]\n"
        "  join: JOIN json_each(r.turns) m\n  part: m.key\n"
        "  data:\n    conversation.id: r.id\n    message.id: r.id || '/' || m.key\n    input.text: m.value->>'$[0]'\n"
        "    output.text: m.value->>'$[1]'\n"
        "  map:\n  - type: chat.response.generated\n    op: [insert, update]\n"
        "    when: m.key >= coalesce(:before->>'$.n', 0)\n";
    rig_begin(&rig, "DELETE", "CREATE TABLE talks(id TEXT PRIMARY KEY, turns)", yaml);
    app_exec(&rig, "INSERT INTO talks VALUES ('t', '[[\"q1\",\"a1\"],[\"q2\",\"a2\"]]')");
    rig_settle(&rig);
    assert_int_equal(rig.seen_count, 2);
    assert_true(is(rig.seen[1]->subject, "conversations/t/messages/t/1"));
    assert_false(str_eq(rig.seen[0]->id, rig.seen[1]->id));
    rig_forget(&rig);
    app_exec(&rig, "UPDATE talks SET turns = '[[\"q1\",\"a1\"],[\"q2\",\"a2\"],[\"q3\",\"a3\"]]'");
    assert_true(rig_has(only(), "\"output\":{\"text\":\"a3\",\"chars\":2}"));
    rig_end(&rig);
}

/* What its type must have is empty in a row: told, counted, and not said to be of the schema. An empty text is one. */
TEST(what_must_be_there_is_empty)
{
    rig_begin(&rig, "DELETE", TABLES, CHATS DATA GENERATED);
    int64_t before = metric_value(rig_inside(&rig)->incomplete);
    app_exec(&rig, "INSERT INTO chats(conv, prompt, response) VALUES (1, '', '{\"text\":\"\"}')");
    const struct event *ev = only();
    assert_true(rig_has(ev, "\"output\":{\"chars\":0}"));
    assert_true(is(ev->dataschema, "urn:aqueduct:event/chat.response.generated/1"));
    assert_int_equal(metric_value(rig_inside(&rig)->incomplete), before);
    rig_forget(&rig);
    stderr_catch();
    app_exec(&rig, "INSERT INTO chats(conv, prompt, response) VALUES (NULL, 'a', '{\"text\":\"b\"}'), (2, 'a', '{}'), "
                   "(NULL, 'a', '{\"text\":\"b\"}')");
    rig_settle(&rig);
    const char *said = stderr_caught();
    assert_int_equal(rig.seen_count, 3);
    for (size_t i = 0; i < rig.seen_count; i++)
        assert_null(rig.seen[i]->dataschema.at);
    assert_says(
        said,
        "data.conversation.id: conversation.id has no value in some rows, but chat.response.generated must have it");
    assert_says(said, "map[0]: output has no value in some rows");
    assert_int_equal(metric_value(rig_inside(&rig)->incomplete), before + 3);
    rig_end(&rig);
}

/* Values too large for an event, or for SQLite, are left out and named; the rest is told. */
TEST(too_large)
{
    rig_begin(&rig, "DELETE", TABLES, "max_event: 1024\n" CHATS DATA GENERATED);
    app_exec(&rig, "INSERT INTO chats(conv, prompt, response) VALUES (1, replace(hex(zeroblob(1000)), '0', 'x'), "
                   "'{\"text\":\"b\"}'), (1, 'a', json_object('text', hex(zeroblob(17000000))))");
    rig_settle(&rig);
    assert_int_equal(rig.seen_count, 2);
    assert_true(is(rig.seen[0]->data,
                   "{\"app\":{\"name\":\"testapp\"},\"conversation\":{\"id\":\"1\"},\"message\":{\"id\":\"1\"},"
                   "\"input\":{\"chars\":2000},\"output\":{\"text\":\"b\",\"chars\":1}}"));
    assert_true(is(rig_attribute(rig.seen[0], "truncated"), "input.text"));
    assert_true(rig_has(rig.seen[1], "\"input\":{\"text\":\"a\",\"chars\":1}"));
    assert_non_null(strstr(rig_attribute(rig.seen[1], "truncated").at, "output.text"));
    rig_forget(&rig);
    /* an id that cannot stand in an attribute */
    app_exec(&rig, "INSERT INTO chats(conv, prompt, response) VALUES (hex(zeroblob(50000)), 'a', '{\"text\":\"b\"}')");
    const struct event *ev = only();
    assert_true(is(ev->subject, "messages/3") && is(rig_attribute(ev, "partitionkey"), "3"));
    assert_true(is(rig_attribute(ev, "truncated"), "conversation.id"));
    rig_end(&rig);
}

#define OF(n)                                                                                                          \
    "CREATE TABLE index__" n "__source(id TEXT PRIMARY KEY, name);"                                                    \
    "CREATE TABLE index__" n "__index(source_id, relation_type);"

/* A rule for each table that fits a pattern, also one that comes at run time; state is kept per table. */
TEST(tables_by_pattern)
{
    rig_begin(
        &rig, "WAL", OF("1") "CREATE TABLE \"index__x y__source\"(id)",
        "app: a\ncapture:\n- name: files\n  kind: diff\n  tables: index__*__source\n  watch: [name]\n  keep: [name]\n"
        "  data:\n    document.id: r.id\n    document.name: r.name\n    collection.id: \"'{table_n}'\"\n"
        "    document.chunks: (SELECT count(*) FROM index__{table_n}__index i WHERE i.source_id = r.id)\n"
        "  map:\n  - {type: document.embedded, op: [insert]}\n  - {type: document.removed, op: [delete]}\n");
    app_exec(
        &rig,
        "INSERT INTO index__1__index VALUES ('f1', 'vector'), ('f1', 'document'); INSERT INTO index__1__source VALUES "
        "('f1', 'A')");
    rig_settle(&rig);
    assert_true(is(
        rig_event(&rig, "document.embedded", "documents/f1", 0)->data,
        "{\"app\":{\"name\":\"a\"},\"collection\":{\"id\":\"1\"},\"document\":{\"id\":\"f1\",\"name\":\"A\",\"chunks\":2}}"));
    assert_types(&rig, "document.embedded");
    /* a table that comes at run time is all new; the other goes on */
    app_exec(&rig, OF("22") "INSERT INTO index__22__source VALUES ('f1', 'B')");
    assert_captured(&rig, "document.embedded");
    rig_restart(&rig);
    assert_captured(&rig, "");
    app_exec(&rig, "DELETE FROM index__22__source; INSERT INTO index__1__source VALUES ('f2', 'C')");
    rig_settle(&rig);
    assert_int_equal(rig_count(&rig, "document.removed", "documents/f1"), 1);
    assert_int_equal(rig_count(&rig, "document.embedded", "documents/f2"), 1);
    rig_forget(&rig);
    /* one that goes tells nothing, and comes again */
    app_exec(&rig, "DROP TABLE index__22__source; DROP TABLE index__22__index");
    assert_captured(&rig, "");
    app_exec(&rig, OF("22") "INSERT INTO index__22__source VALUES ('f3', 'B')");
    assert_captured(&rig, "document.embedded");
    rig_end(&rig);
}

/* ---- privacy ---- */

#define INSERT_SECRET                                                                                                  \
    "INSERT INTO chats(conv, prompt, response, user_id) VALUES (1, 'geheimnis', '{\"text\":\"geheimnis 2\"}', 7)"

TEST(content_as_digest)
{
    rig_begin(&rig, "DELETE", TABLES,
              "content: hash\npersonal: hash\ncontent_key: 0123456789abcdef\n" CHATS DATA GENERATED);
    app_exec(&rig, INSERT_SECRET);
    const struct event *ev = only();
    /* printf geheimnis | openssl dgst -sha256 -hmac 0123456789abcdef */
    assert_true(rig_has(ev, "\"input\":{\"chars\":9,\"digest\":\"hmac-sha256:"
                            "ced594bb76be05364db12871d174ec48d97851dc9bffe55630a19b48206dea87\"}"));
    assert_true(rig_has(ev, "\"user\":{\"id\":\"7\",\"name\":\"hmac-sha256:"
                            "993bf55a4da782513aed2f25784cb2b7d9191c100b6e24a3f61ad1619f0372d3\"}"));
    assert_false(rig_has(ev, "geheimnis") || rig_has(ev, "Ann"));
    rig_end(&rig);
}

TEST(content_not_told)
{
    rig_begin(&rig, "DELETE", TABLES,
              "content: none\nraw: row\n" CHATS "  content_columns: [prompt, response]\n" DATA GENERATED);
    app_exec(&rig, INSERT_SECRET);
    const struct event *ev = only();
    assert_true(
        is(ev->data,
           "{\"app\":{\"name\":\"testapp\"},\"conversation\":{\"id\":\"1\"},\"message\":{\"id\":\"1\"},"
           "\"user\":{\"id\":\"7\",\"name\":\"Ann\"},\"input\":{\"chars\":9},\"output\":{\"chars\":11},"
           "\"raw\":{\"table\":\"chats\",\"row\":{\"id\":1,\"conv\":1,\"user_id\":7,\"score\":null,\"at\":null}}}"));
    rig_end(&rig);
}

/* What people wrote is told, who they are is not; names of one's own for types and schemas. */
TEST(personal_not_told)
{
    rig_begin(&rig, "DELETE", TABLES,
              "personal: none\ntype_prefix: com.example.\nschema_base: https://example.com/s\n" CHATS DATA GENERATED);
    app_exec(&rig, INSERT_SECRET);
    const struct event *ev = only();
    assert_true(rig_has(ev, "\"user\":{\"id\":\"7\"},\"input\":{\"text\":\"geheimnis\",\"chars\":9}"));
    assert_false(rig_has(ev, "Ann"));
    assert_true(is(ev->type, "com.example.chat.response.generated"));
    assert_true(is(ev->dataschema, "https://example.com/s/chat.response.generated/1"));
    rig_end(&rig);
}

TEST(content_cut)
{
    rig_begin(&rig, "DELETE", TABLES, "content_max: 5\n" CHATS DATA GENERATED);
    app_exec(&rig, "INSERT INTO chats(conv, prompt, response) VALUES (1, 'abcd\xC3\xA4', '{\"text\":\"short\"}')");
    assert_true(is(only()->data,
                   "{\"app\":{\"name\":\"testapp\"},\"conversation\":{\"id\":\"1\"},\"message\":{\"id\":\"1\"},"
                   "\"input\":{\"text\":\"abcd\",\"chars\":5,\"truncated\":true},"
                   "\"output\":{\"text\":\"short\",\"chars\":5}}"));
    rig_end(&rig);
}

TEST(refusals)
{
    refuse(CHATS "  data: {mesage.id: r.id}\n" GENERATED,
           "data.mesage.id: there is no path \"mesage.id\" in the vocabulary (did you mean message.id?)");
    refuse(CHATS "  data: {message.id: r.id, conversation.id: r.conv}\n" GENERATED,
           "map[0]: data: output is missing, which events of chat.response.generated must have");
    refuse(
        CHATS DATA "  map:\n  - {type: chat.response.generatd, op: [insert]}\n",
        "map[0]: type: \"chat.response.generatd\" is no type of the vocabulary (did you mean chat.response.generated?)");
    refuse(CHATS DATA "  map:\n  - {type: chat.response.generated, op: [done]}\n",
           "map[0]: op: \"done\" is nothing that a rule of kind append reports");
    refuse(CHATS DATA "    document.name: r.conv\n" GENERATED,
           "data.document.name: has no place in the data of any type");
    refuse(CHATS DATA "    input.chars: 3\n" GENERATED, "data.input.chars: is made of the text beside it");
    refuse(CHATS DATA GENERATED "  types: {insert: x}\n", "types: does not go with map");
    refuse("capture:\n- {name: c, kind: append, table: chats, join: x, types: {insert: x}}\n",
           "join: belongs to a rule with map");
    refuse("app: a\ncapture:\n- {name: c, kind: append, tables: index, types: {insert: x}}\n",
           "is no pattern with one *");
    refuse("app: a\ncapture:\n- {name: c, kind: append, table: t, tables: t*, types: {insert: x}}\n",
           "does not go with table");
    refuse("content: hash\n" CHATS DATA GENERATED, "content_key: is needed for content: hash");
    refuse("content: none\ncapture:\n- {name: c, kind: append, table: chats, types: {insert: x}}\n",
           "a rule without map tells columns as they are");
    refuse("content: none\nraw: row\n" CHATS DATA GENERATED, "content_columns: is missing");
    refuse("personal: none\nraw: row\n" CHATS DATA GENERATED, "it does not go with personal: hash or none");
    refuse(
        "capture:\n- {name: c, kind: append, table: users, map: [{type: user.created, op: [insert], data: {user.id: r.id}}]}\n",
        "map: the source's `app` is missing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nested_and_formed),
        cmocka_unit_test(times_and_flags),
        cmocka_unit_test(entries_that_fit),
        cmocka_unit_test(expression_that_does_not_fit),
        cmocka_unit_test(check_says_what_does_not_fit),
        cmocka_unit_test(expression_that_fails),
        cmocka_unit_test(column_that_is_never_read),
        cmocka_unit_test(update_and_delete),
        cmocka_unit_test(update_of_what_is_not_kept),
        cmocka_unit_test(unfinished_and_gone),
        cmocka_unit_test(parts),
        cmocka_unit_test(what_must_be_there_is_empty),
        cmocka_unit_test(too_large),
        cmocka_unit_test(tables_by_pattern),
        cmocka_unit_test(content_as_digest),
        cmocka_unit_test(content_not_told),
        cmocka_unit_test(personal_not_told),
        cmocka_unit_test(content_cut),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
