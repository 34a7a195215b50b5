/* SPDX-License-Identifier: MIT */
/* Looking things up in the vocabulary. */
#include <string.h>
#include "bridge/event/vocabulary.h"
#include "tests/support/test.h"

static const struct vocabulary_type *type(const char *name)
{
    const struct vocabulary_type *t = vocabulary_type(str_of(name));
    assert_non_null(t);
    return t;
}

TEST(paths_have_form_and_flags)
{
    const struct vocabulary_path *p = vocabulary_path(STR("output.text"));
    assert_non_null(p);
    assert_true(p->form == VOCABULARY_STRING && p->content && !p->personal && !p->made && !p->needed);
    assert_true(vocabulary_path(STR("user.email"))->personal);
    assert_true(vocabulary_path(STR("output.chars"))->made && vocabulary_path(STR("output.digest"))->made);
    assert_true(vocabulary_path(STR("message.id"))->needed && !vocabulary_path(STR("user.id"))->needed);
    assert_int_equal(vocabulary_path(STR("usage.input_tokens"))->form, VOCABULARY_INTEGER);
    assert_int_equal(vocabulary_path(STR("duration_ms"))->form, VOCABULARY_INTEGER);
    assert_int_equal(vocabulary_path(STR("document.pinned"))->form, VOCABULARY_BOOLEAN);
    assert_int_equal(vocabulary_path(STR("run.started_at"))->form, VOCABULARY_TIME);
    assert_int_equal(vocabulary_path(STR("sources"))->form, VOCABULARY_ARRAY);
    assert_int_equal(vocabulary_path(STR("sources[].score"))->form, VOCABULARY_NUMBER);
    assert_int_equal(vocabulary_path(STR("audit.detail"))->form, VOCABULARY_OBJECT);
}

TEST(what_is_no_path)
{
    static const char *const none[] = {
        "",           "output",      "output.",      "output.txt",    "Output.text",  "raw.row",
        "user.role ", "before.user", "sources.name", "duration_ms.x", "output.text.x"
    };
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_null(vocabulary_path(str_of(none[i])));
    assert_string_equal(vocabulary_nearest_path(STR("output.txt")), "output.text");
    assert_string_equal(vocabulary_nearest_path(STR("conversaton.id")), "conversation.id");
    assert_null(vocabulary_nearest_path(STR("shoe_size")));
    assert_string_equal(vocabulary_nearest_path(STR("output.test")), "output.text");
}

TEST(types_are_a_closed_list)
{
    size_t n = 0;
    for (const struct vocabulary_type *t = vocabulary_types; t->name; t++, n++)
        assert_true(t->major >= 1 && *t->doc && vocabulary_carries(t, STR("app.name")));
    assert_int_equal(n, 31);
    assert_null(vocabulary_type(STR("document.processed")));
    assert_null(vocabulary_type(STR("com.example.chat.started")));
    assert_string_equal(vocabulary_nearest_type(STR("chat.response.genrated")), "chat.response.generated");
    assert_null(vocabulary_nearest_type(STR("order_shipped")));
    assert_null(vocabulary_nearest_type(STR("document.ready")));
}

TEST(earlier_names_lead_to_the_types_of_now)
{
    assert_string_equal(vocabulary_formerly(STR("document.processed"), false)->name, "document.embedded");
    assert_string_equal(vocabulary_formerly(STR("document.unwatched"), false)->name, "document.updated");
    assert_string_equal(vocabulary_formerly(STR("audit.invite_created"), false)->name, "audit.logged");
    assert_string_equal(vocabulary_formerly(STR("workspace."), true)->name, "collection.created");
    assert_string_equal(vocabulary_formerly(STR("audit."), true)->name, "audit.logged");
    assert_null(vocabulary_formerly(STR("workspace."), false));
    assert_null(vocabulary_formerly(STR("document.embedded"), false));
    assert_null(vocabulary_formerly(STR("shoe."), true));
}

TEST(a_type_carries_what_is_its_own)
{
    assert_true(vocabulary_carries(type("chat.response.generated"), STR("usage.input_tokens")));
    assert_true(vocabulary_carries(type("chat.response.generated"), STR("sources")));
    assert_true(vocabulary_carries(type("chat.response.generated"), STR("sources[].name")));
    assert_false(vocabulary_carries(type("chat.response.generated"), STR("feedback.score")));
    assert_false(vocabulary_carries(type("document.embedded"), STR("usage.input_tokens")));
    assert_false(vocabulary_carries(type("document.embedded"), STR("doc")));
}

/* ctx: a NULL-terminated list of paths. */
static bool has(void *ctx, const char *path)
{
    for (const char *const *p = ctx; *p; p++)
        if (strcmp(*p, path) == 0)
            return true;
    return false;
}

#define LACK(name, ...) vocabulary_lack(type(name), has, (void *)(const char *const[]){ __VA_ARGS__, NULL })

TEST(what_data_lacks)
{
    assert_null(LACK("chat.response.generated", "conversation.id", "message.id", "output.text"));
    assert_string_equal(LACK("chat.response.generated", "message.id", "output.text"), "conversation.id");
    assert_string_equal(LACK("chat.response.generated", "conversation.id", "message.id", "input.text"), "output");
    assert_string_equal(LACK("chat.response.generated", "conversation.id", "message.kind", "output.text"),
                        "message.id");
    assert_null(LACK("chat.feedback", "feedback.score", "conversation.id"));
    assert_null(LACK("chat.feedback", "feedback.score", "message.id"));
    assert_string_equal(LACK("chat.feedback", "feedback.score", "user.id"), "message.id|conversation.id");
    assert_string_equal(LACK("document.embedded", "document.id"), "collection");
    assert_null(LACK("document.embedded", "document.id", "collection.key"));
    assert_string_equal(LACK("user.created", "user.name"), "user.id");
    assert_null(LACK("user.login_failed", "user.name"));
    assert_string_equal(LACK("audit.logged", "actor.id"), "audit.action");
    assert_string_equal(LACK("run.started", "run.status"), "run.id");
}

TEST(an_object_of_which_something_is_said_has_its_id)
{
    assert_string_equal(LACK("chat.deleted", "message.id", "conversation.title"), "conversation.id");
    assert_null(LACK("chat.deleted", "message.id"));
    assert_string_equal(LACK("run.finished", "run.id", "message.role"), "message.id");
    assert_null(LACK("run.finished", "run.id", "feedback.score"));
}

/* ctx: name, value, name, value, NULL. */
static struct str value(void *ctx, const char *path)
{
    for (const char *const *p = ctx; *p; p += 2)
        if (strcmp(*p, path) == 0)
            return str_of(p[1]);
    return STR_ABSENT;
}

static void assert_subject(const char *name, const char *const *values, const char *expected)
{
    struct buf b = buf_new(256);
    vocabulary_subject(type(name), value, (void *)values, &b);
    assert_string_equal(buf_c(&b), expected);
    buf_free(&b);
}

TEST(subjects_name_the_thing)
{
    static const char *const both[] = { "conversation.id", "ws/14", "message.id", "4225", NULL };
    static const char *const document[] = { "document.id", "d1", "conversation.id", "c1", NULL };
    assert_subject("chat.response.generated", both, "conversations/ws/14/messages/4225");
    assert_subject("chat.response.generated", both + 2, "messages/4225");
    assert_subject("conversation.updated", both, "conversations/ws/14");
    assert_subject("document.embedded", document, "documents/d1");
    assert_subject("audit.logged", document, "");
    assert_subject("user.login_failed", document, "");
}

TEST(a_dataschema_has_type_and_major)
{
    struct buf b = buf_new(256);
    vocabulary_schema(type("chat.feedback"), "urn:aqueduct:event", &b);
    assert_string_equal(buf_c(&b), "urn:aqueduct:event/chat.feedback/1");
    buf_free(&b);
}

TEST(dataschemas_of_the_vocabulary)
{
    assert_true(vocabulary_of_schema(STR("urn:aqueduct:event/chat.started/1")));
    assert_true(vocabulary_of_schema(STR("https://example.com/schemas/chat.started/1")));
    static const char *const none[] = { "",
                                        "chat.started",
                                        "urn:aqueduct:event/chat.started",
                                        "urn:aqueduct:event/chat.started/0",
                                        "urn:aqueduct:event/chat.start/1",
                                        "urn:aqueduct:event/chat.started/1/",
                                        "urn:aqueduct:event/chat.started/x" };
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_false(vocabulary_of_schema(str_of(none[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dataschemas_of_the_vocabulary),
        cmocka_unit_test(paths_have_form_and_flags),
        cmocka_unit_test(what_is_no_path),
        cmocka_unit_test(types_are_a_closed_list),
        cmocka_unit_test(earlier_names_lead_to_the_types_of_now),
        cmocka_unit_test(a_type_carries_what_is_its_own),
        cmocka_unit_test(what_data_lacks),
        cmocka_unit_test(an_object_of_which_something_is_said_has_its_id),
        cmocka_unit_test(subjects_name_the_thing),
        cmocka_unit_test(a_dataschema_has_type_and_major),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
