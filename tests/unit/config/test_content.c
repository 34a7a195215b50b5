/* SPDX-License-Identifier: MIT */
/* Which topics get what people wrote. */
#include <stdio.h>
#include "bridge/config/config.h"
#include "bridge/lib/buf.h"
#include "tests/support/test.h"

static void tell_chats(const struct source *s, void (*each)(void *ctx, const char *type, const char *why), void *ctx)
{
    (void)s;
    each(ctx, "chat.response.generated", "full");
    each(ctx, "chat.edited", "full");
}

static void tell_titles(const struct source *s, void (*each)(void *ctx, const char *type, const char *why), void *ctx)
{
    (void)s;
    each(ctx, "conversation.updated", "full");
    each(ctx, "http.request.logged", "logged");
}

static const struct source_ops chats_type = { .type = "chats", .content = tell_chats },
                               titles_type = { .type = "titles", .content = tell_titles },
                               unknown_type = { .type = "unknown" };
static struct source chats = { .ops = &chats_type, .id = "chats" }, titles = { .ops = &titles_type, .id = "titles" },
                     unknown = { .ops = &unknown_type, .id = "unknown" };

/* What is there by another option says so. */
static void add(void *ctx, const char *topic, const char *source, const char *why)
{
    buf_printf(ctx, "%s:%s%s ", topic, source, strcmp(why, "full") == 0 ? "" : "(logged)");
}

struct way { /* a route; NULL ends a list */
    const char *topic, *filter;
    bool also;
};

/* The sources chats, titles and unknown, through these routes. */
static void assert_content(const struct way *ways, const char *expected)
{
    enum { ROUTES = 4 };
    struct route_config routes[ROUTES] = { 0 };
    struct source_config sources[] = { { .source = &chats }, { .source = &titles }, { .source = &unknown } };
    struct config c = { .sources = sources, .source_count = 3, .routes.at = routes };
    struct buf found = buf_new(1024);
    struct err e;
    for (; ways->topic; ways++) {
        json_t *json = ways->filter ? json_loads(ways->filter, 0, NULL) : NULL;
        routes[c.routes.count++] = (struct route_config){ .filter = json ? filter_new(json, &e) : NULL,
                                                          .topic = (char *)(uintptr_t)ways->topic,
                                                          .also = ways->also };
        json_decref(json);
    }
    content_each(&c, add, &found);
    assert_string_equal(buf_c(&found), expected);
    for (size_t i = 0; i < c.routes.count; i++)
        filter_free(routes[i].filter);
    buf_free(&found);
}

#define WAYS(...) ((const struct way[]){ __VA_ARGS__, { 0 } })

TEST(everything_goes_to_one_topic)
{
    assert_content(WAYS({ .topic = "all" }), "all:chats all:titles all:titles(logged) ");
}

TEST(what_an_earlier_route_takes_goes_no_further)
{
    assert_content(WAYS({ "ai.chats", "{\"prefix\":{\"type\":\"chat.\"}}", false }, { .topic = "rest" }),
                   "ai.chats:chats rest:titles rest:titles(logged) ");
    assert_content(WAYS({ "ai.chats", "{\"prefix\":{\"type\":\"chat.\"}}", true }, { .topic = "rest" }),
                   "ai.chats:chats rest:chats rest:titles rest:titles(logged) ");
}

TEST(a_route_that_takes_some_leaves_others)
{
    assert_content(WAYS({ "hr", "{\"exact\":{\"subject\":\"x\"}}", false },
                        { "users", "{\"prefix\":{\"type\":\"user.\"}}", false }, { .topic = "rest" }),
                   "hr:chats hr:titles hr:titles(logged) rest:chats rest:titles rest:titles(logged) ");
}

TEST(a_topic_is_named_once)
{
    assert_content(WAYS({ "a", "{\"exact\":{\"type\":\"chat.edited\"}}", false },
                        { "b", "{\"exact\":{\"type\":\"user.created\"}}", false }, { .topic = "a" }),
                   "a:chats a:titles a:titles(logged) ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_goes_to_one_topic),
        cmocka_unit_test(what_an_earlier_route_takes_goes_no_further),
        cmocka_unit_test(a_route_that_takes_some_leaves_others),
        cmocka_unit_test(a_topic_is_named_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
