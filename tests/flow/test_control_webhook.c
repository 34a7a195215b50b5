/* SPDX-License-Identifier: MIT */
/* Webhook endpoints that come, change and go on a sink that delivers on its own thread, with the real clock. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/delivery/control.h"
#include "bridge/delivery/delivery.h"
#include "bridge/delivery/ladder.h"
#include "bridge/lib/thread.h"
#include "connectors/webhook/endpoint.h"
#include "tests/support/connector.h"
#include "tests/support/flow.h"
#include "tests/support/metric.h"
#include "tests/support/receiver.h"

extern const struct sink_ops webhook_sink;

static struct flow flow;
static struct sink *sink;
static struct sink_config config;
static struct endpoint_config first;
static char *topics[] = { "in" };
static struct duration soon[] = { { 1 } };
static struct delivery *d;
static pthread_t thread;
static int stored;
static atomic_int released;

static struct timespec patience(void)
{
    return thread_until((struct duration){ 600000 });
}

static void *deliver(void *arg)
{
    (void)arg;
    while (delivery_step(d, (struct duration){ 1000 }))
        continue;
    return NULL;
}

/* An endpoint of that name at that path of the receiver. */
static struct endpoint_config to(const char *name, const char *path)
{
    char yaml[128];
    struct webhook_endpoint *ep = calloc(1, sizeof *ep);
    assert_non_null(ep);
    snprintf(yaml, sizeof yaml, "url: http://127.0.0.1:%d%s\nunsigned: true\n", receiver.port, path);
    options_fill(endpoint_rows, ep, yaml);
    ep->base.name = name;
    return (struct endpoint_config){ .endpoint = &ep->base, .retry = { soon, 1 }, .window = 64 };
}

static void on_release(void *ctx)
{
    free(((struct endpoint_config *)ctx)->endpoint);
    atomic_fetch_add(&released, 1);
}

static bool with(bool (*change)(struct delivery *, const struct endpoint_order *, struct timespec, struct err *),
                 struct endpoint_config *c)
{
    struct err e = { "" };
    bool ok = change(d, &(struct endpoint_order){ .config = c, .release = on_release, .ctx = c }, patience(), &e);
    if (!ok)
        fail_msg("%s", e.text);
    return ok;
}

static int setup(void **state)
{
    struct err e = { "" };
    (void)state;
    flow_open(&flow);
    flow_topic(&flow, "in", 1);
    flow_topic(&flow, "aq.dead-letter", 1);
    atomic_store(&released, 0);
    sink = sink_filled(&webhook_sink, "hooks", "url: http://x/\nunsigned: true\n");
    free(sink->endpoint);
    sink->endpoint = NULL;
    first = to("first", "/status/204");
    config = (struct sink_config){
        .sink = sink, .topics = { topics, 1 }, .endpoints = &first, .endpoint_count = 1, .many = true, .window = 64
    };
    assert_true(delivery_topics(&config, &flow.names, flow_make_topic, &flow, &e));
    assert_true(ladder_topics(&flow.names, flow_make_topic, &flow, &e));
    d = delivery_new(&config, &flow.names, &flow.broker, &e);
    if (!d)
        fail_msg("%s", e.text);
    assert_int_equal(pthread_create(&thread, NULL, deliver, NULL), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    delivery_abandon(d);
    pthread_join(thread, NULL);
    delivery_free(d);
    free(first.endpoint);
    sink_free(sink);
    flow_close(&flow);
    return 0;
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
    return metric_value(metric_named(name, LABELS("hooks", endpoint)));
}

static void until(const char *what, const char *endpoint, int64_t n)
{
    while (count(what, endpoint) < n)
        usleep(1000);
}

TEST(they_come_and_go_while_others_are_served)
{
    struct err e = { "" };
    static struct endpoint_config second, hangs, moved;
    second = to("second", "/status/204");
    moved = to("second", "/status/204");
    hangs = to("hangs", "/hang");
    int64_t before = count("delivered_total", "first");
    store(20);
    until("delivered_total", "first", before + 20);
    with(delivery_add_endpoint, &second);
    with(delivery_add_endpoint, &hangs);
    store(20);
    until("delivered_total", "first", before + 40);
    until("delivered_total", "second", 20);
    until("consumed_total", "hangs", 20);
    with(delivery_change_endpoint, &moved);
    assert_true(delivery_remove_endpoint(d, STR("hangs"), patience(), &e));
    store(20);
    until("delivered_total", "second", 40);
    assert_true(delivery_remove_endpoint(d, STR("second"), patience(), &e));
    store(20);
    until("delivered_total", "first", before + 80);
    assert_int_equal(count("delivered_total", "second"), 40);
    until("dead_total", "hangs", 4); /* what was not in flight; the rest hangs on until the end */
    while (atomic_load(&released) < 2)
        usleep(1000);
}

TEST(one_after_the_other_many_times)
{
    struct err e = { "" };
    static const char *const names[] = { "a", "b", "c" };
    static struct endpoint_config all[60];
    for (size_t i = 0; i < 60; i++) {
        all[i] = to(names[i % 3], i % 2 ? "/status/204" : "/once");
        with(delivery_add_endpoint, &all[i]);
        store(1);
        if (i >= 2)
            assert_true(delivery_remove_endpoint(d, str_of(names[(i - 2) % 3]), patience(), &e));
    }
    until("delivered_total", "first", 60);
    while (atomic_load(&released) < 58)
        usleep(1000);
    for (size_t i = 0; i < 3; i++) {
        while (count("pending", names[i]) > 0)
            usleep(1000);
        assert_int_equal(count("consumed_total", names[i]),
                         count("delivered_total", names[i]) + count("dead_total", names[i]));
    }
}

#define LIVE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIVE(they_come_and_go_while_others_are_served),
        LIVE(one_after_the_other_many_times),
    };
    return cmocka_run_group_tests_name("control_webhook", tests, receiver_begin, receiver_end);
}
