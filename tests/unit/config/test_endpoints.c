/* SPDX-License-Identifier: MIT */
/* `endpoints:` of a sink: whose defaults they take, what is each one's own, and where a mistake is said. */
#include <stdlib.h>
#include <unistd.h>
#include "bridge/config/config.h"
#include "bridge/config/preset.h"
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

#define HEAD "topics: {t: {}}\nsinks:\n  w:\n    type: webhook\n    topics: [t]\n"

static struct config *load(const char *sink, struct problems *p)
{
    static const char *const files[] = { "a.yaml" };
    FILE *f = fopen(files[0], "we");
    assert_non_null(f);
    fprintf(f, "%s%s", HEAD, sink);
    fclose(f);
    return config_load(&connectors, files, 1, p);
}

static void expect(const char *sink, const char *want)
{
    struct problems p = { 0 };
    struct config *c = load(sink, &p);
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    problems_print(&p, out);
    fclose(out);
    assert_string_equal(text, want);
    assert_null(c);
    free(text);
    problems_free(&p);
}

static const struct option *row_of(const char *key)
{
    for (size_t i = 0; connectors.sinks[i]; i++)
        for (const struct option *r = connectors.sinks[i]->endpoints ? connectors.sinks[i]->endpoints->options : NULL;
             r && r->key; r++)
            if (strcmp(r->key, key) == 0)
                return r;
    fail_msg("no row %s", key);
    return NULL;
}

static int64_t number(const struct endpoint *ep, const char *key)
{
    int64_t n;
    memcpy(&n, (const char *)ep + row_of(key)->offset, sizeof n);
    return n;
}

static const char *text(const struct endpoint *ep, const char *key)
{
    const char *value;
    memcpy(&value, (const char *)ep + row_of(key)->offset, sizeof value);
    return value;
}

static void write_file(const char *name, const char *content)
{
    FILE *f = fopen(name, "we");
    assert_non_null(f);
    fputs(content, f);
    fclose(f);
}

/* What the endpoint says goes first, then what stands beside `endpoints:`, then what the receiver's file says. */
TEST(a_receivers_file_says_what_nobody_else_does)
{
    struct problems p = { 0 };
    write_file("mine.yaml",
               "about: mine\nunsigned: true\nbody: {mine: 1}\ntimeout: 1s\nrate: 7\nretry: [3s]\nheaders: {X-A: b}\n");
    struct config *c = load("    for: flowise\n    connect_timeout: 4s\n    endpoints:\n"
                            "      a: {url: http://a/}\n"
                            "      b: {url: http://b/, timeout: 9s, body: structured, concurrency: 2}\n"
                            "      c: {url: http://c/, for: ./mine.yaml, content_type: text/plain}\n",
                            &p);
    assert_int_equal(p.count, 0);
    assert_non_null(c);
    const struct endpoint_config *e = c->sinks[0].endpoints;
    assert_int_equal(number(e[0].endpoint, "timeout"), 120000);
    assert_int_equal(number(e[0].endpoint, "connect_timeout"), 4000);
    assert_int_equal(number(e[0].endpoint, "concurrency"), 4);
    assert_non_null(strstr(text(e[0].endpoint, "body"), "question"));
    assert_int_equal(number(e[1].endpoint, "timeout"), 9000);
    assert_int_equal(number(e[1].endpoint, "concurrency"), 2);
    assert_string_equal(text(e[1].endpoint, "body"), "\"structured\"");
    assert_int_equal(number(e[2].endpoint, "timeout"), 1000);
    assert_int_equal(number(e[2].endpoint, "concurrency"), 1024);
    assert_string_equal(text(e[2].endpoint, "body"), "{\"mine\":1}");
    assert_string_equal(text(e[2].endpoint, "content_type"), "text/plain");
    assert_int_equal(e[2].rate * 10, 70);
    assert_int_equal(e[2].retry.at[0].ms, 3000);
    config_free(c);
}

TEST(every_receiver_that_has_a_name_is_good)
{
    size_t count = 0;
    for (const struct preset_text *t = preset_texts; t->name; t++) {
        const char *name = preset_name(t, PRESET_RECEIVERS);
        struct problems p = { 0 };
        char yaml[128];
        if (!name)
            continue;
        snprintf(yaml, sizeof yaml, "    url: http://a/\n    for: %s\n", name);
        struct config *c = load(yaml, &p);
        if (!c)
            fail_msg("%s: %s", name, p.at[0].text);
        config_free(c);
        count++;
    }
    assert_int_equal(count, 7);
}

TEST(what_is_wrong_with_a_receivers_file)
{
    expect("    url: http://a/\n    for: slak\n",
           "a.yaml:7:10: sinks.w.for: there is no receiver \"slak\" (did you mean slack?)\n");
    write_file("bad.yaml", "unsigned: true\nbdoy: data\n");
    expect("    url: http://a/\n    for: ./bad.yaml\n",
           "./bad.yaml:2:1: sinks.w: unknown key \"bdoy\" (did you mean body?)\n");
    write_file("worse.yaml", "unsigned: true\nfor: slack\ntimeout: soon\n");
    expect("    url: http://a/\n    for: ./worse.yaml\n",
           "./worse.yaml:2:1: sinks.w: has no use in such a file: \"for\"\n"
           "./worse.yaml:3:10: sinks.w.timeout: \"soon\" is not a duration (examples: 250ms 30s 5m 2h 7d)\n");
    expect("    url: http://a/\n    for: slack\n    secrets: [a secret of at least 24 characters]\n",
           "a.yaml:8:14: sinks.w.secrets: for: slack says unsigned: true; to sign, say unsigned: false beside it\n");
}

TEST(one_of_them_may_be_without_their_circuit)
{
    struct problems p = { 0 };
    struct config *c = load("    circuit: {failures: 4, share: 50}\n    unsigned: true\n    endpoints:\n"
                            "      a: {url: http://a/}\n"
                            "      b: {url: http://b/, circuit: {failures: 0}}\n",
                            &p);
    assert_non_null(c);
    assert_int_equal(c->sinks[0].endpoints[0].circuit.failures, 4);
    assert_int_equal(c->sinks[0].endpoints[1].circuit.failures, 0);
    assert_int_equal(c->sinks[0].endpoints[1].circuit.share, 0);
    config_free(c);
    problems_free(&p);
}

TEST(what_stands_beside_them_is_their_default)
{
    struct problems p = { 0 };
    struct config
        *c = load("    filter: {prefix: {type: chat.}}\n    retry: [1s, 2s]\n    timeout: 3s\n    window: 500\n"
                  "    rate: 9\n    circuit: {failures: 4, probe: 5s}\n    unsigned: true\n    endpoints:\n"
                  "      a: {url: http://a/}\n"
                  "      b: {url: http://b/, retry: [], timeout: 9s, order: key, window: 7,\n"
                  "          rate: 0.5, circuit: {share: 30},\n"
                  "          filter: {exact: {type: chat.created}}}\n",
                  &p);
    if (!c)
        problems_print(&p, stderr);
    assert_non_null(c);
    const struct sink_config *s = &c->sinks[0];
    assert_null(s->sink->endpoint);
    assert_int_equal(s->endpoint_count, 2);
    assert_non_null(s->filter);
    const struct endpoint_config *a = &s->endpoints[0], *b = &s->endpoints[1];
    assert_string_equal(a->endpoint->name, "a");
    assert_string_equal(b->endpoint->name, "b");
    assert_int_equal(a->retry.count, 2);
    assert_int_equal(b->retry.count, 0);
    assert_int_equal(number(a->endpoint, "timeout"), 3000);
    assert_int_equal(number(b->endpoint, "timeout"), 9000);
    assert_int_equal(a->order, ORDER_NONE);
    assert_int_equal(b->order, ORDER_KEY);
    assert_null(a->filter);
    assert_non_null(b->filter);
    assert_int_equal(s->window, 500);
    assert_int_equal(a->window, 64);
    assert_int_equal(b->window, 7);
    assert_int_equal(a->circuit.failures, 4);
    assert_int_equal(a->circuit.probe.ms, 5000);
    assert_int_equal(b->circuit.failures, 0);
    assert_int_equal(b->circuit.share, 30);
    assert_int_equal(b->circuit.probe.ms, 30000);
    assert_true(s->rate == 9);
    assert_true(a->rate == 0);
    assert_true(b->rate == 0.5);
    problems_free(&p);
    config_free(c);
}

TEST(a_sink_without_them_is_its_only_one)
{
    struct problems p = { 0 };
    struct config *c = load("    url: http://a/\n    unsigned: true\n    timeout: 3s\n", &p);
    assert_non_null(c);
    assert_int_equal(c->sinks[0].endpoint_count, 0);
    assert_non_null(c->sinks[0].sink->endpoint);
    assert_null(c->sinks[0].sink->endpoint->name);
    assert_int_equal(number(c->sinks[0].sink->endpoint, "timeout"), 3000);
    problems_free(&p);
    config_free(c);
}

TEST(an_empty_list_is_for_those_that_are_made_later)
{
    struct problems p = { 0 };
    struct config *c = load("    timeout: 3s\n    endpoints: {}\n", &p);
    assert_non_null(c);
    assert_true(c->sinks[0].many);
    assert_int_equal(c->sinks[0].endpoint_count, 0);
    assert_null(c->sinks[0].sink->endpoint);
    problems_free(&p);
    config_free(c);
}

TEST(mistakes_are_said_where_they_are)
{
    expect("    unsigned: true\n    url: http://x/\n    endpoints: {a: {url: http://a/}}\n",
           "a.yaml:7:10: sinks.w.url: has no use beside endpoints: each of them has its own\n");
    expect("    secrets: [a-secret-of-more-than-24-characters]\n    endpoints: {a: {url: http://a/, unsigned: true}}\n",
           "a.yaml:6:14: sinks.w.secrets: has no use beside endpoints: each of them has its own\n");
    expect(
        "    endpoints: {a: {unsigned: true}}\n",
        "a.yaml:6:20: sinks.w.endpoints.a.url: is missing: Where events are posted: http or https, without user name "
        "and password.\n");
    expect("    endpoints: {a: {url: http://a/, unsigned: true, urll: x}}\n",
           "a.yaml:6:53: sinks.w.endpoints.a: unknown key \"urll\" (did you mean url?)\n");
    expect("    endpoints: {a: {url: http://a/, unsigned: true, start: latest}}\n",
           "a.yaml:6:53: sinks.w.endpoints.a: unknown key \"start\"\n");
    expect(
        "    endpoints: {A: {url: http://a/, unsigned: true}}\n",
        "a.yaml:6:17: sinks.w.endpoints.A: is not a name: use a-z, 0-9, - and _, beginning with a letter or digit, at "
        "most 63 characters\n");
    expect("    endpoints: {a: {url: http://a/}}\n",
           "a.yaml:6:20: sinks.w.endpoints.a: secrets: at least one is needed (or `unsigned: true`)\n");
    expect("    endpoints: {a: {url: ftp://a/, unsigned: true}}\n",
           "a.yaml:6:26: sinks.w.endpoints.a.url: must begin with http:// or https://\n");
    expect("    endpoints: {a: {url: http://a/, unsigned: true, retry: [8d]}}\n",
           "a.yaml:6:61: sinks.w.endpoints.a.retry[0]: is longer than 7d\n");
    expect("    rate: 5\n    endpoints: {a: {url: http://a/, unsigned: true, rate: -1}}\n",
           "a.yaml:7:59: sinks.w.endpoints.a.rate: -1 is out of range: must be from 0 to 1000000\n");
    expect(
        "    rate: 0.00001\n    endpoints: {a: {url: http://a/, unsigned: true, rate: 1e-10}, b: {url: http://b/, unsigned: true, rate: 0.00002}}\n",
        "a.yaml:6:11: sinks.w.rate: is too low: at least 0.00002 (an attempt in 14 hours), or 0 for no limit; "
        "paused: true lets none go\n"
        "a.yaml:7:59: sinks.w.endpoints.a.rate: is too low: at least 0.00002 (an attempt in 14 hours), or 0 for no "
        "limit; paused: true lets none go\n");
    expect("    rate: fast\n    endpoints: {a: {url: http://a/, unsigned: true}}\n",
           "a.yaml:6:11: sinks.w.rate: \"fast\" is not a number\n");
    expect("    circuit: {probe: 5s}\n    url: http://a/\n    unsigned: true\n",
           "a.yaml:6:14: sinks.w.circuit: needs failures or share: with neither it never opens\n");
    expect("    endpoints: {a: {url: http://a/, unsigned: true, circuit: {}}}\n",
           "a.yaml:6:62: sinks.w.endpoints.a.circuit: needs failures or share: with neither it never opens\n");
    expect("    endpoints: {a: {url: http://a/, unsigned: true, circuit: {share: 101}}}\n",
           "a.yaml:6:70: sinks.w.endpoints.a.circuit.share: 101 is out of range: must be from 0 to 100\n");
    expect("    endpoints: [a]\n", "a.yaml:6:16: sinks.w.endpoints: must be a mapping (key: value), not a list\n");
    expect("    endpoints: {a: {url: http://a/, unsigned: true}}\n  d: {type: dead_letter, endpoints: {}}\n",
           "a.yaml:7:26: sinks.d: unknown key \"endpoints\"\n");
    expect("    endpoints: {a: {url: http://a/, unsigned: true}}\n  d: {type: dead_letter, paused: true, rate: 5}\n",
           "a.yaml:7:34: sinks.d.paused: has no use here: a dead_letter sink files them as they come\n"
           "a.yaml:7:46: sinks.d.rate: has no use here: a dead_letter sink files them as they come\n");
    expect("    url: http://a/\n    unsigned: true\nroutes: [{topic: t}]\nsources:\n"
           "  s: {type: sqlite, path: a.db, preset: anythingllm, threads: 2}\n",
           "a.yaml:10:63: sources.s.threads: has no use here: a sqlite source has one thread\n");
    expect("    url: http://a/\n    unsigned: true\n    threads: 2\n",
           "a.yaml:8:14: sinks.w.threads: has no use here: a webhook sink has one thread\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_stands_beside_them_is_their_default),
        cmocka_unit_test(a_receivers_file_says_what_nobody_else_does),
        cmocka_unit_test(every_receiver_that_has_a_name_is_good),
        cmocka_unit_test(what_is_wrong_with_a_receivers_file),
        cmocka_unit_test(one_of_them_may_be_without_their_circuit),
        cmocka_unit_test(an_empty_list_is_for_those_that_are_made_later),
        cmocka_unit_test(a_sink_without_them_is_its_only_one),
        cmocka_unit_test(mistakes_are_said_where_they_are),
    };
    return cmocka_run_group_tests_name("endpoints", tests, make_folder, remove_folder);
}
