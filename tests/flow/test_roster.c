/* SPDX-License-Identifier: MIT */
/* Endpoints that are made at run time: they get what comes, are there after a restart, are refused with words, and lose nothing
 * when they cannot be opened. On a real webhook sink with its own thread, and the real clock. */
#include "bridge/delivery/roster.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bridge/delivery/delivery.h"
#include "bridge/delivery/ladder.h"
#include "bridge/lib/json.h"
#include "bridge/lib/thread.h"
#include "connectors/connectors.h"
#include "tests/support/flow.h"
#include "tests/support/metric.h"
#include "tests/support/receiver.h"

#define FIRST_KEY  "q0sVw2y7Tn8Jb4LxUe6Zr1Kc9Hd3Pf5MaGiStO0uYkE="
#define SECOND_KEY "Zr1Kc9Hd3Pf5MaGiStO0uYkEq0sVw2y7Tn8Jb4LxUe6="

static struct flow flow;
static struct config *config;
static struct delivery *d;
static struct roster *r;
static pthread_t thread;
static char folder[FOLDER_BYTES], key_file[FOLDER_BYTES + 8], url[64];
static struct roster_answer a;
static int stored, run;
static char sink_name[16]; /* a new one for each test, so that its metrics begin at 0 */

static void *deliver(void *arg)
{
    (void)arg;
    while (delivery_step(d, (struct duration){ 1000 }))
        continue;
    return NULL;
}

static void write_key(const char *text)
{
    FILE *f = fopen(key_file, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(key_file, 0600), 0);
}

static void load(const char *more)
{
    char yaml[2048];
    struct problems problems = { 0 };
    snprintf(
        yaml, sizeof yaml,
        "topics: {in: {}}\nadmin: {key_file: \"%s\"}\nsinks:\n  %s:\n    type: webhook\n    topics: [in]\n    retry: [50ms]\n    endpoints: {%s}\n",
        key_file, sink_name, more);
    config = config_load_text(&connectors, "bridge.yaml", str_of(yaml), &problems);
    problems_print(&problems, stderr);
    assert_non_null(config);
    problems_free(&problems);
}

static void start(const char *more)
{
    struct err e = { "" };
    load(more);
    assert_true(delivery_topics(&config->sinks[0], &flow.names, flow_make_topic, &flow, &e));
    assert_true(ladder_topics(&flow.names, flow_make_topic, &flow, &e));
    d = delivery_new(&config->sinks[0], &flow.names, &flow.broker, &e);
    assert_non_null(d);
    r = roster_new(config, &flow.broker);
    if (!roster_begin(r, &config->sinks[0], d, &e))
        fail_msg("%s", e.text);
    assert_int_equal(pthread_create(&thread, NULL, deliver, NULL), 0);
    roster_start(r);
}

static void end(void)
{
    roster_stop(r);
    delivery_stop(d);
    pthread_join(thread, NULL);
    delivery_free(d);
    roster_free(r);
    config_free(config);
}

static int setup(void **state)
{
    (void)state;
    folder_make(folder);
    snprintf(key_file, sizeof key_file, "%s/key", folder);
    snprintf(sink_name, sizeof sink_name, "s%d", ++run);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/status/204", receiver.port);
    write_key(FIRST_KEY);
    flow_open(&flow);
    flow_topic(&flow, "in", 1);
    flow_topic(&flow, "aq.dead-letter", 1);
    start("");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    end();
    json_decref(a.json);
    a.json = NULL;
    flow_close(&flow);
    folder_remove(folder);
    return 0;
}

/* What came of it is in `a`. */
static int ask(enum roster_what what, const char *name, int64_t version, const char *body)
{
    json_t *json = body ? json_loads(body, 0, NULL) : NULL;
    json_decref(a.json);
    roster_do(r,
              &(struct roster_order){ .what = what, .sink = sink_name, .name = name, .body = json, .version = version },
              &a);
    json_decref(json);
    return a.status;
}

static int add(const char *name, const char *more)
{
    char body[512];
    snprintf(body, sizeof body, "{\"url\":\"%s\"%s%s}", url, *more ? "," : "", more);
    return ask(ROSTER_ADD, name, 0, body);
}

static void refused(int status, const char *why)
{
    assert_says(a.why, why);
    assert_int_equal(a.status, status);
    assert_null(a.json);
}

static void store(int count)
{
    for (int i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", stored++);
        flow_event(&flow, "in", name, NULL);
    }
}

static int64_t count(const char *what, const char *endpoint)
{
    char name[64];
    snprintf(name, sizeof name, "aqueduct_sink_%s", what);
    return metric_value(metric_named(name, LABELS(sink_name, endpoint)));
}

static void until(const char *what, const char *endpoint, int64_t n)
{
    while (count(what, endpoint) < n)
        usleep(1000);
}

static json_t *get(const char *name)
{
    int64_t version;
    return roster_get(r, sink_name, name, true, &version);
}

static void is(const char *name, const char *member, const char *want)
{
    json_t *json = get(name);
    assert_non_null(json);
    assert_string_equal(json_text(json, member), want);
    json_decref(json);
}

TEST(one_that_is_added_gets_signed_events_and_is_there_after_a_restart)
{
    assert_int_equal(add("a", ""), 201);
    assert_int_equal(a.version, 1);
    char *secret = strdup(json_text(a.json, "secret"));
    assert_true(str_starts(str_of(secret), STR("whsec_")));
    store(3);
    until("delivered_total", "a", 3);
    char *signature = receiver_header(&receiver, "webhook-signature");
    assert_non_null(signature);
    free(signature);
    is("a", "state", "active");
    end();
    start("");
    store(2);
    until("delivered_total", "a", 5);
    json_t *json = get("a");
    char *text = json_dumps(json, 0);
    assert_null(strstr(text, secret)); /* it was shown once */
    assert_non_null(strstr(text, "********"));
    free(text), free(secret);
    json_decref(json);
}

TEST(options_are_refused_as_those_of_the_configuration_are)
{
    assert_int_equal(ask(ROSTER_ADD, "a", 0, "{\"url\":\"ftp://x\",\"retri\":[1]}"), 400);
    refused(400, "endpoints.a: unknown key \"retri\" (did you mean retry?)");
    assert_int_equal(ask(ROSTER_ADD, "a", 0, "{\"unsigned\":true}"), 400);
    refused(400, "endpoints.a.url: is missing");
    add("A", "");
    refused(400, "is not a name");
    add("a", "\"timeout\":\"soon\"");
    refused(400, "endpoints.a.timeout: \"soon\" is not a duration");
    add("a", "\"headers\":{\"X-A\":\"${file:/etc/passwd}\"}");
    refused(400, "holds ${");
    add("a", "\"for\":\"./x.yaml\"");
    refused(400, "is a file, which only the configuration can name");
    add("a", "\"types\":[\"a*b\"]");
    refused(400, "types of events");
    add("a", "\"types\":[\"a\"],\"filter\":{}");
    refused(400, "types: and filter exclude each other");
    add("a", "\"secrets\":[\"********\"]");
    refused(400, "leave that option out to keep it");
    add("a", "\"order\":\"key\"");
    refused(409, "order: key");
    store(1);
    assert_null(get("a"));
}

TEST(only_the_types_that_are_ticked_come)
{
    assert_int_equal(add("a", "\"types\":[\"t.happened\",\"x.*\"]"), 201);
    assert_int_equal(add("b", "\"types\":[\"x.*\"]"), 201);
    assert_int_equal(add("c", "\"types\":[\"*\"]"), 201);
    store(2);
    until("delivered_total", "c", 2);
    until("delivered_total", "a", 2);
    assert_int_equal(count("consumed_total", "b"), 0);
}

TEST(a_change_is_compared_with_the_version_it_is_made_from)
{
    add("a", "");
    assert_int_equal(ask(ROSTER_CHANGE, "a", 1, "{\"timeout\":\"3s\"}"), 200);
    assert_int_equal(a.version, 2);
    ask(ROSTER_CHANGE, "a", 1, "{\"timeout\":\"4s\"}");
    refused(412, "it has version 2, not 1");
    ask(ROSTER_CHANGE, "a", 2, "{\"timeout\":\"never\"}");
    refused(400, "is not a duration");
    assert_int_equal(ask(ROSTER_CHANGE, "a", 2, "{\"timeout\":null,\"retry\":\"standard\"}"), 200);
    json_t *json = get("a"), *options = json_object_get(json, "options");
    assert_null(json_object_get(options, "timeout"));
    assert_string_equal(json_text(options, "retry"), "standard");
    json_decref(json);
    store(1);
    until("delivered_total", "a", 1);
    ask(ROSTER_CHANGE, "b", 0, "{}");
    refused(404, "has no endpoint b");
}

TEST(a_pause_outlasts_a_restart)
{
    add("a", "");
    assert_int_equal(ask(ROSTER_PAUSE, "a", 0, NULL), 200);
    is("a", "state", "paused");
    end();
    start("");
    is("a", "state", "paused");
    store(2);
    until("consumed_total", "a", 2);
    assert_int_equal(count("delivered_total", "a"), 0);
    assert_int_equal(ask(ROSTER_RESUME, "a", 0, NULL), 200);
    until("delivered_total", "a", 2);
}

TEST(what_the_configuration_names_wins)
{
    char yaml[128];
    add("a", "");
    end();
    snprintf(yaml, sizeof yaml, "a: {url: \"%s\", unsigned: true}", url);
    start(yaml);
    is("a", "origin", "yaml");
    is("a", "at", "bridge.yaml:8");
    add("a", "");
    refused(409, "has an endpoint a in the configuration (bridge.yaml:8)");
    ask(ROSTER_PAUSE, "a", 0, NULL);
    refused(409, "can only be changed there");
    store(2);
    until("delivered_total", "a", 2);
    json_t *list = roster_list(r, NULL, true);
    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(json_text(json_array_get(list, 1), "state"), "disabled");
    assert_says(json_text(json_array_get(list, 1), "problem"), "the configuration has an endpoint of that name");
    json_decref(list);
    end();
    start("");
    is("a", "origin", "api"); /* it was kept */
    store(1);
    until("delivered_total", "a", 3);
}

TEST(the_one_in_the_shadow_can_be_removed)
{
    char yaml[128];
    add("a", "");
    end();
    snprintf(yaml, sizeof yaml, "a: {url: \"%s\", unsigned: true}", url);
    start(yaml);
    assert_int_equal(ask(ROSTER_REMOVE, "a", 0, NULL), 200);
    store(1);
    until("delivered_total", "a", 1);
    json_t *list = roster_list(r, NULL, true);
    assert_int_equal(json_array_size(list), 1);
    json_decref(list);
}

TEST(without_the_key_it_is_held_and_what_is_for_it_waits)
{
    add("a", "\"types\":[\"t.happened\"]");
    end();
    write_key(SECOND_KEY);
    start("");
    is("a", "state", "disabled");
    json_t *json = get("a");
    assert_says(json_text(json, "problem"), key_file);
    assert_says(json_text(json, "problem"), "put that key into it again");
    json_decref(json);
    ask(ROSTER_RESUME, "a", 0, NULL);
    refused(409, "put that key into it again");
    store(2);
    until("consumed_total", "a", 2);
    assert_int_equal(count("dead_total", "a"), 0);
    end();
    write_key(SECOND_KEY "\n" FIRST_KEY);
    start("");
    is("a", "state", "active");
    until("delivered_total", "a", 2);
    assert_int_equal(ask(ROSTER_RESEAL, NULL, 0, NULL), 200);
    end();
    write_key(SECOND_KEY);
    start("");
    is("a", "state", "active");
    store(1);
    until("delivered_total", "a", 3);
}

TEST(a_secret_needs_a_key_file)
{
    end();
    char kept[sizeof key_file];
    memcpy(kept, key_file, sizeof kept);
    key_file[0] = '\0';
    start("");
    add("a", "");
    refused(409, "admin.key_file");
    assert_says(a.why, "openssl rand -base64 32");
    add("a", "\"unsigned\":true,\"headers\":{\"Authorization\":\"Bearer x\"}");
    refused(409, "admin.key_file");
    assert_int_equal(add("a", "\"unsigned\":true"), 201);
    assert_string_equal(json_text(a.json, "secret"), "");
    store(1);
    until("delivered_total", "a", 1);
    memcpy(key_file, kept, sizeof kept);
    end();
    start("");
}

TEST(a_secret_is_changed_with_overlap)
{
    add("a", "");
    assert_int_equal(ask(ROSTER_ROTATE, "a", 0, "{\"overlap\":\"1h\"}"), 200);
    assert_true(str_starts(str_of(json_text(a.json, "secret")), STR("whsec_")));
    store(1);
    until("delivered_total", "a", 1);
    char *two = receiver_header(&receiver, "webhook-signature");
    assert_non_null(strstr(two, " v1,")); /* both sign */
    free(two);
    assert_int_equal(ask(ROSTER_ROTATE, "a", 0,
                         "{\"overlap\":\"0s\",\"secret\":\"whsec_q0sVw2y7Tn8Jb4LxUe6Zr1Kc9Hd3Pf5M\"}"),
                     200);
    assert_string_equal(json_text(a.json, "secret"), "");
    store(1);
    until("delivered_total", "a", 2);
    char *one = receiver_header(&receiver, "webhook-signature");
    assert_null(strstr(one, " v1,"));
    free(one);
    ask(ROSTER_ROTATE, "a", 0, "{\"overlap\":\"long\"}");
    refused(400, "is not a duration");
    ask(ROSTER_ROTATE, "a", 0, "{\"secret\":\"short\"}");
    assert_int_equal(a.status, 400);
}

TEST(a_scheme_of_one_signature_goes_on_with_the_old_key_until_it_ends)
{
    assert_int_equal(add("a", "\"signature\":{\"scheme\":\"github\"}"), 201);
    assert_int_equal(ask(ROSTER_ROTATE, "a", 0, "{\"overlap\":\"1h\"}"), 200);
    json_t *secrets = json_object_get(json_object_get(a.json, "options"), "secrets");
    assert_int_equal(json_array_size(secrets), 2);
    assert_true(json_is_object(json_array_get(secrets, 0)));
    assert_true(json_is_string(json_array_get(secrets, 1)));
}

TEST(what_is_removed_is_gone_and_may_come_again)
{
    add("a", "");
    store(1);
    until("delivered_total", "a", 1);
    assert_int_equal(ask(ROSTER_REMOVE, "a", 0, NULL), 200);
    assert_true(json_is_true(json_object_get(a.json, "removed")));
    assert_null(get("a"));
    end();
    start("");
    assert_null(get("a"));
    ask(ROSTER_REMOVE, "a", 0, NULL);
    refused(404, "has no endpoint a");
    assert_int_equal(add("a", ""), 201);
    assert_int_equal(a.version, 3); /* versions of a name never begin again */
    store(1);
    until("delivered_total", "a", 2);
}

TEST(a_test_is_sent_now_and_counts_nowhere)
{
    add("a", "\"paused\":true,\"headers\":{\"X-Key\":\"very-secret-value\"},\"types\":[\"other\"]");
    int before = atomic_load(&receiver.requests);
    assert_int_equal(ask(ROSTER_TEST, "a", 0, NULL), 200);
    assert_int_equal(atomic_load(&receiver.requests), before + 1);
    assert_int_equal(json_integer_value(json_object_get(a.json, "status")), 204);
    assert_string_equal(json_text(a.json, "verdict"), "delivered");
    char *text = json_dumps(a.json, 0);
    assert_says(text, "webhook-signature: v1,");
    assert_null(strstr(text, "very-secret-value"));
    assert_says(text, "aqueduct.test");
    free(text);
    assert_int_equal(count("consumed_total", "a") + count("delivered_total", "a") + count("attempts_total", "a"), 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/status/503", receiver.port);
    add("b", "");
    assert_int_equal(ask(ROSTER_TEST, "b", 0, "{\"type\":\"x.y\",\"data\":{\"n\":1}}"), 200);
    assert_string_equal(json_text(a.json, "verdict"), "retry");
    assert_int_equal(json_integer_value(json_object_get(a.json, "status")), 503);
    add("c", "\"url\":\"http://169.254.169.254/\"");
    assert_int_equal(a.status, 400); /* the guard */
    ask(ROSTER_TEST, "nobody", 0, NULL);
    refused(404, "has no endpoint nobody");
}

static bool keep_pair(void *ctx, struct str key, struct str value, bool ahead, struct err *e)
{
    (void)ahead, (void)e;
    buf_add_str(ctx, key);
    buf_add_str(ctx, value);
    return true;
}

TEST(the_state_holds_no_secret)
{
    struct err e;
    add("a", "\"headers\":{\"X-Key\":\"very-secret-value\"}");
    const char *secret = json_text(a.json, "secret");
    struct buf all = buf_new(1 << 20);
    assert_true(broker_state(&flow.broker, "aqueduct/endpoints", keep_pair, &all, &e));
    assert_true(all.n > 0);
    assert_null(memmem(all.at, all.n, secret, strlen(secret)));
    assert_null(memmem(all.at, all.n, "very-secret", 11));
    assert_null(memmem(all.at, all.n, "127.0.0.1", 9));
    buf_free(&all);
}

#define ROSTER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROSTER(one_that_is_added_gets_signed_events_and_is_there_after_a_restart),
        ROSTER(options_are_refused_as_those_of_the_configuration_are),
        ROSTER(only_the_types_that_are_ticked_come),
        ROSTER(a_change_is_compared_with_the_version_it_is_made_from),
        ROSTER(a_pause_outlasts_a_restart),
        ROSTER(what_the_configuration_names_wins),
        ROSTER(the_one_in_the_shadow_can_be_removed),
        ROSTER(without_the_key_it_is_held_and_what_is_for_it_waits),
        ROSTER(a_secret_needs_a_key_file),
        ROSTER(a_secret_is_changed_with_overlap),
        ROSTER(a_scheme_of_one_signature_goes_on_with_the_old_key_until_it_ends),
        ROSTER(what_is_removed_is_gone_and_may_come_again),
        ROSTER(a_test_is_sent_now_and_counts_nowhere),
        ROSTER(the_state_holds_no_secret),
    };
    return cmocka_run_group_tests_name("roster", tests, receiver_begin, receiver_end);
}
