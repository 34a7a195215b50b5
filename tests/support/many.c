/* SPDX-License-Identifier: MIT */
/* A sink with several endpoints, its waiter, and what the endpoints answer. */
#include "tests/support/many.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/delivery/ladder.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/thread.h"
#include "tests/support/event.h"
#include "tests/support/metric.h"

struct flow flow;
struct script_sink sink;
struct sink_config config;
struct endpoint_config endpoints[MANY];
struct endpoint receivers[MANY];
char endpoint_names[MANY][8];
struct delivery *d;
struct waiter *waiter;
struct duration second[1] = { { 1000 } }, long_wait[1] = { { 120000 } };
static char *topic_names[] = { "in" };
char id[32];
const char *hanging;
static struct consumer_options reader; /* of the sink */

struct filter *filter_of(const char *json)
{
    json_t *j = json_loads(json, 0, NULL);
    struct filter *f = filter_new(j, NULL);
    json_decref(j);
    assert_non_null(f);
    return f;
}

void endpoint(size_t i, const char *filter)
{
    snprintf(endpoint_names[i], sizeof endpoint_names[i], "e%zu", i);
    receivers[i] = (struct endpoint){ .name = endpoint_names[i] };
    endpoints[i] = (struct endpoint_config){ .endpoint = &receivers[i],
                                             .filter = filter ? filter_of(filter) : NULL,
                                             .retry = { second, 1 },
                                             .retry_memory = { 30000 },
                                             .window = 64 };
    config.endpoint_count = i + 1 > config.endpoint_count ? i + 1 : config.endpoint_count;
    config.many = true;
}

static bool make_log(void *ctx, const char *topic, const char *like, const char *group, struct err *e)
{
    assert_string_equal(like, "in");
    return flow_make_topic(ctx, topic, group, e);
}

struct delivery *try_start(struct err *e)
{
    assert_true(delivery_topics(&config, &flow.names, flow_make_topic, &flow, e));
    assert_true(ladder_topics(&flow.names, flow_make_topic, &flow, e));
    assert_true(blocked_topics(&config, &flow.names, make_log, &flow, e));
    return delivery_new(&config, &flow.names, &flow.broker, e);
}

void start(void)
{
    struct err e = { "" };
    d = try_start(&e);
    if (!d)
        fail_msg("%s", e.text);
    reader = flow.last;
    waiter = waiter_new(&flow.names, &flow.broker);
    waiter_serve(waiter, &config, d);
    if (!waiter_open(waiter, &e))
        fail_msg("%s", e.text);
}

void turn(int times)
{
    for (int i = 0; i < times; i++) {
        assert_true(waiter_step(waiter, (struct duration){ 0 }));
        assert_true(delivery_step(d, (struct duration){ 0 }));
        broker_flush(flow.inner, (struct duration){ 10000 });
    }
}

void end(void)
{
    if (!waiter)
        return;
    waiter_stop(waiter);
    while (waiter_step(waiter, (struct duration){ 0 }))
        broker_flush(flow.inner, (struct duration){ 10000 });
    waiter_close(waiter);
    delivery_free(d);
    waiter_free(waiter);
    waiter = NULL;
    d = NULL;
}

void crash(void)
{
    end();
    script_sink_init(&sink, id);
    start();
}

void stop(void)
{
    delivery_stop(d);
    for (int i = 0; delivery_step(d, (struct duration){ 0 }); i++) {
        broker_flush(flow.inner, (struct duration){ 10000 });
        assert_true(i < 1000);
    }
    end();
    script_sink_init(&sink, id);
}

void revoke(void)
{
    char log[64];
    snprintf(log, sizeof log, "aq.blocked.%s.in", id);
    sink.slow_ms = 1000;
    reader.revoked(reader.ctx, (struct topic_partition[]){ { "in", 0 }, { log, 0 } }, 2);
    sink.slow_ms = 0;
}

int many_setup(void **state)
{
    static int number; /* counters live as long as the process, so each test has its own sink name */
    (void)state;
    clock_fake(1000000, 1700000000000);
    flow_open(&flow);
    flow_topic(&flow, "in", 1);
    flow_topic(&flow, "aq.dead-letter", 1);
    snprintf(id, sizeof id, "many%d", number++);
    sink.base.ops = &script_endpoints_ops;
    script_sink_init(&sink, id);
    script_refused = NULL;
    hanging = NULL;
    config = (struct sink_config){ .sink = &sink.base,
                                   .topics = { topic_names, 1 },
                                   .endpoints = endpoints,
                                   .retry = { second, 1 },
                                   .retry_memory = { 30000 },
                                   .window = 256,
                                   .start = START_EARLIEST };
    return 0;
}

int many_teardown(void **state)
{
    (void)state;
    end();
    for (size_t i = 0; i < config.endpoint_count; i++)
        filter_free(endpoints[i].filter);
    filter_free(config.filter);
    flow_close(&flow);
    return 0;
}

void store(const char *event_id, const char *type)
{
    flow_store(&flow, "in", "k",
               event_like((struct event){ .id = str_of(event_id), .type = str_of(type), .data = STR("{}") }));
}

void store_many(int from, int to)
{
    for (int i = from; i < to; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        store(name, "t.happened");
    }
}

int keys;

/* Events s<i> of so many keys in turns. */
void store_keys(int from, int to)
{
    for (int i = from; i < to; i++) {
        char name[16], key[16];
        snprintf(name, sizeof name, "s%d", i);
        snprintf(key, sizeof key, "k%d", i % keys);
        flow_store(&flow, "in", key,
                   event_like((struct event){ .id = str_of(name), .type = STR("t.happened"), .data = STR("{}") }));
    }
}

/* How often the endpoint got that event (NULL: any). */
size_t times_sent(const char *endpoint, const char *event_id)
{
    size_t n = 0;
    for (size_t i = 0; i < sink.count; i++)
        n += strcmp(sink.sent[i].endpoint, endpoint) == 0 && (!event_id || strcmp(sink.sent[i].id, event_id) == 0);
    return n;
}

int64_t count(const char *what, const char *endpoint)
{
    char name[64];
    snprintf(name, sizeof name, "aqueduct_sink_%s", what);
    return metric_value(metric_named(name, LABELS(id, endpoint)));
}

/* Each endpoint's counters come to the same sum, and so do those of what concerns none. */
void reconciles(void)
{
    for (size_t i = 0; i <= config.endpoint_count; i++) {
        const char *e = i < config.endpoint_count ? endpoint_names[i] : NULL;
        assert_int_equal(count("consumed_total", e), count("delivered_total", e) + count("dead_total", e)
                                                         + count("filtered_total", e) + count("moved_total", e)
                                                         + count("released_total", e) + count("pending", e));
    }
}

enum verdict one_hangs(const struct sent *sent, struct result *r)
{
    (void)r;
    return strcmp(sent->endpoint, hanging) == 0 ? 0 : VERDICT_DELIVERED;
}

enum verdict one_fails(const struct sent *sent, struct result *r)
{
    *r = (struct result){ .status = 503, .reason = REASON_REFUSED, .why = "503 Service Unavailable" };
    return strcmp(sent->endpoint, hanging) == 0 ? VERDICT_RETRY : VERDICT_DELIVERED;
}

enum verdict nobody_answers(const struct sent *sent, struct result *r)
{
    (void)sent, (void)r;
    return 0;
}

json_t *many_account(const struct account_question *q)
{
    account_ask(d, q);
    turn(1);
    char *text = account_take(d, thread_until((struct duration){ 0 }));
    assert_non_null(text);
    json_t *j = json_loads(text, 0, NULL);
    assert_non_null(j);
    free(text);
    return j;
}
