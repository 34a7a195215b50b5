/* SPDX-License-Identifier: MIT */
/* `endpoints:` of a sink: whose defaults they take, what is each one's own, and where a mistake is said. */
#include <stdlib.h>
#include <unistd.h>
#include "bridge/config/config.h"
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

TEST(mistakes_are_said_where_they_are)
{
    expect("    unsigned: true\n    endpoints: {}\n",
           "a.yaml:7:16: sinks.w.endpoints: is empty: name at least one, or leave it out\n");
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
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_stands_beside_them_is_their_default),
        cmocka_unit_test(one_of_them_may_be_without_their_circuit),
        cmocka_unit_test(a_sink_without_them_is_its_only_one),
        cmocka_unit_test(mistakes_are_said_where_they_are),
    };
    return cmocka_run_group_tests_name("endpoints", tests, make_folder, remove_folder);
}
