/* SPDX-License-Identifier: MIT */
/* What is different between two configurations, object by object; what is only written in another way is not. */
#include "bridge/config/plan.h"
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "connectors/connectors.h"
#include "tests/support/folder.h"
#include "tests/support/test.h"

static char folder[FOLDER_BYTES];

static int make_folder(void **state)
{
    (void)state;
    folder_make(folder);
    return chdir(folder);
}

static int remove_folder(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

#define HOOKS  "sources: {h: {type: http, listen: 127.0.0.1:8080, paths: [{path: /v1, verify: {scheme: none}}]}}\n"
#define ROUTES "routes: [{topic: t}]\n"
#define CRM    "sinks: {crm: {type: webhook, topics: [t], url: https://a.example/x, unsigned: true, retry: [1s, 2m]}}\n"
#define OTHER  "sinks: {other: {type: webhook, topics: [t], url: https://a.example/x, unsigned: true}}\n"
#define ALL    HOOKS ROUTES CRM

static struct config *load(const char *yaml)
{
    struct problems p = { 0 };
    struct config *c = config_load_text(&connectors, "a.yaml", str_of(yaml), &p);
    problems_print(&p, stderr);
    problems_free(&p);
    assert_non_null(c);
    return c;
}

/* The lines that a person reads. */
static void expect(const char *before, const char *after, const char *want)
{
    struct config *a = load(before), *b = load(after);
    struct plan plan = plan_make(a, b, NULL, NULL);
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    json_t *json = plan_json(&plan);
    assert_true(plan_print_json(json, out));
    fclose(out);
    *strrchr(text, '\n') = '\0'; /* and behind it how many stay */
    char *last = strrchr(text, '\n');
    if (last)
        last[1] = '\0';
    assert_string_equal(last ? text : "", want);
    json_decref(json);
    free(text);
    plan_free(&plan);
    config_free(a);
    config_free(b);
}

TEST(nothing_is_different)
{
    expect(ALL, ALL, "");
    expect(
        ALL,
        HOOKS ROUTES
        "x-own: 1\nsinks:\n  crm:\n    unsigned: true\n    retry: [1000ms, 120s]\n    topics: [\"t\"]\n    type: webhook\n"
        "    url: https://a.example/x\n    window: 1024\n",
        "");
}

TEST(sources_and_sinks_come_go_and_change)
{
    expect(ALL, HOOKS ROUTES OTHER, "- sink crm\n+ sink other\n");
    expect(ALL,
           "sources: {h: {type: http, listen: 127.0.0.1:8081, paths: [{path: /v1, verify: {scheme: none}}]}}\n" ROUTES
               CRM,
           "~ source h: listen\n");
    expect(ALL,
           "sources: {h: {type: http, listen: 127.0.0.1:8080, paths: [{path: /v2, verify: {scheme: none}}]}}\n" ROUTES
               CRM,
           "~ source h: paths[0].path\n");
    expect(ALL,
           HOOKS ROUTES
           "sinks: {crm: {type: webhook, topics: [t], url: https://b.example/x, unsigned: true, retry: [1s], "
           "circuit: {failures: 3}}}\n",
           "~ sink crm: retry, circuit.failures, url\n");
    expect(ALL, HOOKS ROUTES "sinks: {crm: {type: websocket, topics: [t], listen: 127.0.0.1:8090}}\n",
           "~ sink crm: type\n");
}

TEST(endpoints_are_told_one_by_one)
{
#define POOL(endpoints)                                                                                                \
    HOOKS ROUTES "sinks: {pool: {type: webhook, topics: [t], unsigned: true, endpoints: {" endpoints "}}}\n"
    expect(POOL("a: {url: https://a.example}, b: {url: https://b.example}"),
           POOL("c: {url: https://a.example}, b: {url: https://b.example, filter: {exact: {type: x}}}"),
           "- endpoint pool/a\n+ endpoint pool/c\n~ endpoint pool/b: filter\n");
    /* an order needs topics of the sink, which it takes when it begins */
    expect(POOL("a: {url: https://a.example}"), POOL("a: {url: https://a.example, order: key}"),
           "~ sink pool: endpoints.order\n~ endpoint pool/a: order\n");
    expect(ALL,
           HOOKS ROUTES "sinks: {crm: {type: webhook, topics: [t], unsigned: true, retry: [1s, 2m], endpoints: {a: "
                        "{url: https://a.example/x}}}}\n",
           "~ sink crm: endpoints\n");
}

TEST(filters_are_compared_by_what_they_mean)
{
    expect(HOOKS CRM "routes: [{topic: t, filter: {exact: {type: a, subject: b}}}, {topic: t}]\n",
           HOOKS CRM "routes: [{filter: {exact: {type: a, subject: b}}, topic: t}, {topic: t}]\n", "");
    expect(HOOKS CRM "routes: [{topic: t, filter: {exact: {type: a}}}, {topic: t}]\n",
           HOOKS CRM "routes: [{topic: t, filter: {exact: {type: b}}}, {topic: t}]\n", "~ routes: routes[0].filter\n");
    expect(ALL, HOOKS CRM "routes: [{topic: t}]\nunrouted: drop\n", "~ routes: unrouted\n");
}

TEST(sections_and_topics)
{
    expect(ALL, ALL "log: {level: debug}\ndrain: 5s\nadmin: {listen: \"\"}\ntopics: {t: {retention: 1d}}\n",
           "~ admin: listen\n~ log: level\n~ drain: drain\n+ topic t\n");
    expect(ALL "topics: {t: {retention: 1d}, u: {}}\n", ALL "topics: {t: {retention: 2d}}\n",
           "- topic u\n~ topic t: retention\n");
}

TEST(what_only_a_start_can_change)
{
    struct err e = { "" };
    struct config *a = load(ALL), *b = load(ALL "broker: {path: ./other}\nadmin: {control: /run/x, listen: \"\"}\n");
    struct plan plan = plan_make(a, b, NULL, NULL);
    assert_false(plan_is_possible(&plan, &e));
    assert_string_equal(e.text,
                        "broker.path, admin.control cannot change while the daemon runs: start it again for that");
    plan_free(&plan);
    config_free(a);
    config_free(b);
    expect(ALL, ALL "broker: {path: ./other}\n", "~ broker: path (needs a restart)\n");
}

TEST(a_login_of_the_broker_can_change)
{
    static const char kafka[] = ALL
        "broker: {type: kafka, servers: 'k:9092', sasl: {mechanism: PLAIN, username: a, password: %s}%s}\n";
    char before[4096], after[4096];
    snprintf(before, sizeof before, kafka, "one", "");
    snprintf(after, sizeof after, kafka, "two", ", tls: {enabled: true}");
    expect(before, after, "~ broker: tls.enabled, sasl.password\n");
    snprintf(after, sizeof after, kafka, "two", ", prefetch: 1MiB");
    expect(before, after, "~ broker: sasl.password, prefetch (needs a restart)\n");
    struct err e = { "" };
    struct config *a = load(before), *b = load(after);
    struct plan plan = plan_make(a, b, NULL, NULL);
    assert_false(plan_is_possible(&plan, &e));
    assert_string_equal(e.text, "broker.prefetch cannot change while the daemon runs: start it again for that");
    plan_free(&plan);
    config_free(a);
    config_free(b);
}

TEST(properties_can_change)
{
    static const char kafka[] = ALL "broker: {type: kafka, servers: 'k:9092', properties: {%s}}\n";
    char before[4096], after[4096];
    snprintf(before, sizeof before, kafka, "client.id: a, linger.ms: 1, client.rack: r");
    snprintf(after, sizeof after, kafka, "client.id: b, linger.ms: 1, ssl.key.password: p");
    expect(before, after, "~ broker: properties.client.id, properties.client.rack, properties.ssl.key.password\n");
    snprintf(after, sizeof after, kafka, "linger.ms: 1, client.id: a, client.rack: r");
    expect(before, after, "~ broker: properties\n"); /* their order */
}

TEST(login_and_subject_of_the_registry_can_change)
{
    static const char kafka[] = ALL "broker: {type: kafka, servers: 'k:9092', registry: {url: 'https://%s', %s}}\n";
    char before[4096], after[4096];
    snprintf(before, sizeof before, kafka, "r", "username: a, password: of-one");
    snprintf(after, sizeof after, kafka, "r", "token: of-one");
    expect(before, after, "~ broker: registry.username, registry.password, registry.token\n");
    snprintf(after, sizeof after, kafka, "r", "username: a, password: of-one, subject: record, registers: false");
    expect(before, after, "~ broker: registry.subject, registry.registers\n");
    snprintf(after, sizeof after, kafka, "other", "username: a, password: of-one");
    expect(before, after, "~ broker: registry.url (needs a restart)\n");
}

static void write_secret(const char *text)
{
    FILE *f = fopen("secret", "we");
    assert_non_null(f);
    assert_int_equal(chmod("secret", 0600), 0);
    fputs(text, f);
    fclose(f);
}

TEST(another_file_that_says_the_same_is_another_one_to_follow)
{
    static const char kafka[] = ALL "broker: {type: kafka, servers: 'k:9092', sasl: {mechanism: PLAIN, username: a, "
                                    "password: %s}, properties: {client.id: %s}}\n";
    char before[4096], after[4096];
    write_secret("a-name");
    snprintf(before, sizeof before, kafka, "'${file:secret}'", "'${file:secret}'");
    snprintf(after, sizeof after, kafka, "'${file:./secret}'", "'${file:./secret}'");
    expect(before, before, "");
    expect(before, after, "~ broker: sasl.password, properties.client.id\n");
}

/* Lists of secrets follow their files by themselves; a single one does not. */
TEST(a_file_that_says_something_else)
{
#define LISTED                                                                                                         \
    HOOKS ROUTES "sinks: {crm: {type: webhook, topics: [t], url: https://a.example, secrets: [\"${file:secret}\"]}}\n"
#define SINGLE                                                                                                         \
    HOOKS ROUTES                                                                                                       \
        "sinks: {crm: {type: webhook, topics: [t], url: https://a.example, unsigned: true, oauth: {token_url: "        \
        "https://b.example, client_id: x, client_secret: \"${file:secret}\"}}}\n"
    static const char *const texts[] = { LISTED, SINGLE };
    static const bool differs[] = { false, true };
    for (size_t i = 0; i < 2; i++) {
        write_secret("a-secret-of-more-than-24-bytes");
        struct config *a = load(texts[i]);
        write_secret("another-secret-of-more-than-24-bytes");
        struct config *b = load(texts[i]);
        struct plan plan = plan_make(a, b, NULL, NULL);
        assert_int_equal(plan_find(&plan, PLAN_SINK, "crm") != NULL, differs[i]);
        assert_int_equal(a->files.count, 1);
        assert_string_equal(a->files.at[0], "secret");
        plan_free(&plan);
        config_free(a);
        config_free(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_different),
        cmocka_unit_test(sources_and_sinks_come_go_and_change),
        cmocka_unit_test(endpoints_are_told_one_by_one),
        cmocka_unit_test(filters_are_compared_by_what_they_mean),
        cmocka_unit_test(sections_and_topics),
        cmocka_unit_test(what_only_a_start_can_change),
        cmocka_unit_test(a_login_of_the_broker_can_change),
        cmocka_unit_test(properties_can_change),
        cmocka_unit_test(login_and_subject_of_the_registry_can_change),
        cmocka_unit_test(another_file_that_says_the_same_is_another_one_to_follow),
        cmocka_unit_test(a_file_that_says_something_else),
    };
    return cmocka_run_group_tests_name("plan", tests, make_folder, remove_folder);
}
