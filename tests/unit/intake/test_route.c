/* SPDX-License-Identifier: MIT */
/* Routing: which topics, in which order, with which key. */
#include <stdlib.h>
#include "bridge/intake/route.h"
#include "tests/support/test.h"

static struct filter *type_prefix(const char *prefix)
{
    struct err e;
    json_t *json = json_pack("{s:{s:s}}", "prefix", "type", prefix);
    struct filter *f = filter_new(json, &e);
    json_decref(json);
    assert_non_null(f);
    return f;
}

#define ROUTE(name, ...)                                                                                               \
    {                                                                                                                  \
        .topic = (char[]){ name }, __VA_ARGS__                                                                         \
    }
#define BINARY .encoding = ENCODING_BINARY

static size_t targets(struct route_config *routes, size_t count, const struct event *ev, struct target *out)
{
    struct config c = { .routes = { routes, count } };
    struct router *r = router_new(&c);
    size_t n = router_targets(r, ev, out);
    router_free(r);
    return n;
}

static const struct event *event_of(const char *type, const char *subject, const char *partitionkey)
{
    struct header extension = { STR("partitionkey"), str_of(partitionkey) };
    struct event fields = { .id = STR("1"),
                            .source = STR("/s"),
                            .type = str_of(type),
                            .subject = str_of(subject),
                            .extensions = &extension,
                            .extension_count = partitionkey ? 1 : 0 };
    struct err e;
    const struct event *ev = event_new(&fields, &e);
    assert_non_null(ev);
    return ev;
}

TEST(test_a_route_looks_into_the_data)
{
    json_t *json = json_pack("{s:{s:s}}", "data", "/collection/key", "hr");
    struct filter *hr = filter_new(json, NULL);
    json_decref(json);
    assert_non_null(hr);
    struct route_config routes[] = { ROUTE("hr", BINARY, .filter = hr), ROUTE("rest", BINARY) };
    static const char *const data[][2] = { { "{\"collection\":{\"key\":\"hr\"}}", "hr" },
                                           { "{\"collection\":{\"key\":\"it\"}}", "rest" },
                                           { "no JSON", "rest" },
                                           { NULL, "rest" } };
    for (size_t i = 0; i < sizeof data / sizeof *data; i++) {
        struct event fields = { .id = STR("1"), .source = STR("/s"), .type = STR("t"), .data = str_of(data[i][0]) };
        struct target out[ROUTE_TARGETS];
        const struct event *ev = event_new(&fields, NULL);
        assert_int_equal(targets(routes, 2, ev, out), 1);
        assert_string_equal(out[0].topic, data[i][1]);
        event_unref(ev);
    }
    filter_free(hr);
}

TEST(test_first_match_wins)
{
    struct filter *chat = type_prefix("chat.");
    struct route_config routes[] = { ROUTE("chats", BINARY, .filter = chat), ROUTE("rest", BINARY) };
    struct target out[ROUTE_TARGETS];
    const struct event *a = event_of("chat.started", NULL, NULL), *b = event_of("user.created", NULL, NULL);
    assert_int_equal(targets(routes, 2, a, out), 1);
    assert_string_equal(out[0].topic, "chats");
    assert_int_equal(targets(routes, 2, b, out), 1);
    assert_string_equal(out[0].topic, "rest");
    assert_int_equal(targets(routes, 1, b, out), 0);
    event_unref(a);
    event_unref(b);
    filter_free(chat);
}

TEST(test_also_goes_on)
{
    struct route_config routes[] = { ROUTE("audit", BINARY, .also = true), ROUTE("audit", BINARY, .also = true),
                                     ROUTE("rest", .encoding = ENCODING_STRUCTURED), ROUTE("never", BINARY) };
    struct target out[ROUTE_TARGETS];
    const struct event *ev = event_of("x", NULL, NULL);
    assert_int_equal(targets(routes, 4, ev, out), 2); /* one topic gets an event once */
    assert_string_equal(out[0].topic, "audit");
    assert_int_equal(out[0].route->encoding, ENCODING_BINARY);
    assert_string_equal(out[1].topic, "rest");
    assert_int_equal(out[1].route->encoding, ENCODING_STRUCTURED);
    event_unref(ev);
}

/* Only of its types, and only with a key: without one there is nothing to forget. */
TEST(tombstones)
{
    char *types[] = { (char[]){ "user.deleted" }, (char[]){ "user.merged" } };
    struct route_config routes[] = { ROUTE("users", BINARY, .tombstones = { types, 2 }) };
    struct target out[ROUTE_TARGETS];
    const struct {
        const char *type, *subject;
        bool is;
    } cases[] = { { "user.merged", "u/1", true }, { "user.created", "u/1", false }, { "user.deleted", NULL, false } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct event *ev = event_of(cases[i].type, cases[i].subject, NULL);
        assert_int_equal(targets(routes, 1, ev, out), 1);
        assert_int_equal(out[0].tombstone, cases[i].is);
        event_unref(ev);
    }
}

TEST(test_key)
{
    struct target out[ROUTE_TARGETS];
    struct route_config plain[] = { ROUTE("t", BINARY) }, by_type[] = { ROUTE("t", BINARY, .key = (char[]){ "type" }) },
                        by_none[] = { ROUTE("t", BINARY, .key = (char[]){ "tenant" }) };
    const struct event *both = event_of("x", "subject", "partition"), *subject = event_of("x", "subject", NULL),
                       *none = event_of("x", NULL, NULL);
    targets(plain, 1, both, out);
    assert_true(str_eq(out[0].key, STR("partition")));
    targets(plain, 1, subject, out);
    assert_true(str_eq(out[0].key, STR("subject")));
    targets(plain, 1, none, out);
    assert_null(out[0].key.at);
    targets(by_type, 1, both, out);
    assert_true(str_eq(out[0].key, STR("x")));
    targets(by_none, 1, both, out);
    assert_null(out[0].key.at);
    event_unref(both);
    event_unref(subject);
    event_unref(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_route_looks_into_the_data),
        cmocka_unit_test(test_first_match_wins),
        cmocka_unit_test(test_also_goes_on),
        cmocka_unit_test(tombstones),
        cmocka_unit_test(test_key),
    };
    return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
