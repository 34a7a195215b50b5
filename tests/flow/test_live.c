/* SPDX-License-Identifier: MIT */
/* A broadcast sink beside its live stream: the log that it reads, and what it remembers by name. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/delivery/delivery.h"
#include "bridge/lib/clock.h"
#include "tests/support/event.h"
#include "tests/support/flow.h"
#include "tests/support/script.h"

static struct flow flow;
static struct script_sink sink;
static struct sink_config config;
static struct delivery *d;
static char *topic_names[] = { "in" };
static char id[32];

static void start(void)
{
    struct err e = { "" };
    config.sink = &sink.base;
    d = delivery_new(&config, &flow.names, &flow.broker, &e);
    if (!d)
        fail_msg("%s", e.text);
}

static void end(void)
{
    delivery_close(d);
    broker_flush(flow.inner, (struct duration){ 10000 });
    delivery_free(d);
    d = NULL;
}

static void restart(void)
{
    end();
    script_sink_init(&sink, id);
    start();
}

static void turn(int count)
{
    while (count-- > 0)
        assert_true(delivery_step(d, (struct duration){ 0 }));
}

static int set_up(void **state)
{
    static int number;
    (void)state;
    clock_fake(1000000, 1700000000000);
    flow_open(&flow);
    flow_topic(&flow, "in", 1);
    snprintf(id, sizeof id, "live%d", number++);
    sink.base.ops = &script_broadcast_ops;
    script_sink_init(&sink, id);
    config = (struct sink_config){ .window = 16, .topics = { topic_names, 1 } };
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (d)
        end();
    flow_close(&flow);
    return 0;
}

static int64_t live_offset(void)
{
    int64_t next = -1;
    assert_true(sink.base.log->ops->live(sink.base.log, (struct topic_partition){ "in", 0 }, &next));
    return next;
}

static void send_by_position(struct sink *base, const struct message *m)
{
    assert_ptr_equal(base, &sink);
    assert_int_equal(live_offset(), m->record->offset + 1);
    sink.count++;
}

/* One turn brings several records, and some that the filter leaves out: to each of them the sink knows what comes next. */
TEST(the_log_that_a_broadcast_sink_reads_ends_where_its_live_stream_begins)
{
    struct sink_ops ops = script_broadcast_ops;
    struct record *got[8];
    struct err e = { "" };
    uint64_t identity;
    ops.send = send_by_position;
    sink.base.ops = &ops;
    json_t *json = json_pack("{s:{s:{s:s}}}", "not", "exact", "id", "c");
    config.filter = filter_new(json, &e);
    json_decref(json);
    flow_event(&flow, "in", "a", NULL);
    flow_event(&flow, "in", "b", NULL);
    start();
    assert_int_equal(live_offset(), 2);
    struct log *l = sink.base.log;
    const struct event *b = event_like((struct event){ .id = STR("b") }),
                       *c = event_like((struct event){ .id = STR("c") });
    assert_true(l->ops->wanted(l, b));
    assert_false(l->ops->wanted(l, c));
    event_unref(b);
    event_unref(c);
    assert_true(l->ops->identity(l, "in", &identity));
    struct log_reader *r = l->ops->open(l, (struct topic_partition){ "in", 0 }, identity, 0);
    flow_event(&flow, "in", "c", NULL);
    flow_event(&flow, "in", "d", NULL);
    flow_event(&flow, "in", "c", NULL);
    assert_int_equal(l->ops->read(l, r, live_offset(), got, 8, 1 << 20, &e), 2);
    assert_int_equal(r->next, live_offset());
    turn(2);
    assert_int_equal(sink.count, 1);
    assert_int_equal(live_offset(), 5);
    assert_int_equal(l->ops->read(l, r, live_offset(), got + 2, 6, 1 << 20, &e), 3);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(got[i]->offset, i);
        record_free(got[i]);
    }
    l->ops->close(l, r);
    end();
    assert_null(sink.base.log);
    filter_free(config.filter);
    config.filter = NULL;
}

/* ---- what a broadcast sink remembers ---- */

static enum bookmark_outcome remember(const char *name, const char *before, const char *value)
{
    struct bookmarks *b = sink.base.bookmarks;
    struct bookmark_done done[2];
    size_t n;
    b->ops->remember(b, str_of(name), str_of(before), str_of(value), 7);
    while ((n = b->ops->done(b, done, 2)) == 0)
        broker_flush(flow.inner, (struct duration){ 1000 });
    assert_int_equal(n, 1);
    assert_int_equal(done[0].tag, 7);
    assert_int_equal(done[0].outcome == BOOKMARK_STORED, done[0].why[0] == '\0');
    return done[0].outcome;
}

static const char *recall(const char *name)
{
    static char text[64];
    struct bookmarks *b = sink.base.bookmarks;
    struct str value;
    while (!b->ops->recall(b, str_of(name), &value))
        sched_yield();
    assert_true(value.n < sizeof text);
    memcpy(text, value.at ? value.at : "", value.n);
    text[value.n] = '\0';
    return value.at ? text : NULL;
}

TEST(a_broadcast_sink_remembers_by_name)
{
    sink.base.ops = &script_broadcast_ops;
    start();
    assert_null(recall("dash"));
    assert_int_equal(remember("dash", NULL, "one"), BOOKMARK_STORED);
    assert_int_equal(remember("dash", NULL, "two"), BOOKMARK_CHANGED);
    assert_int_equal(remember("dash", "one", "three"), BOOKMARK_STORED);
    assert_int_equal(remember("job", NULL, ""), BOOKMARK_STORED);
    restart();
    assert_int_equal(remember("dash", "one", "four"), BOOKMARK_CHANGED); /* before anything was read */
    assert_string_equal(recall("dash"), "three");
    assert_string_equal(recall("job"), "");
    assert_int_equal(remember("dash", "three", NULL), BOOKMARK_STORED);
    assert_int_equal(remember("job", "", "x"), BOOKMARK_STORED);
    restart();
    assert_null(recall("dash"));
    assert_string_equal(recall("job"), "x");
}

TEST(what_is_remembered_is_bounded_and_told_when_it_is_not_stored)
{
    char large[BOOKMARK_BYTES + 2];
    memset(large, 'x', sizeof large);
    large[sizeof large - 1] = '\0';
    sink.base.ops = &script_broadcast_ops;
    start();
    assert_int_equal(remember("large", NULL, large), BOOKMARK_REFUSED);
    assert_int_equal(remember("", NULL, "x"), BOOKMARK_REFUSED);
    large[BOOKMARK_NAME_MAX + 1] = '\0';
    assert_int_equal(remember(large, NULL, "x"), BOOKMARK_REFUSED);
    assert_null(recall(large));
    flow.weather = REFUSE;
    assert_int_equal(remember("a", NULL, "x"), BOOKMARK_FAILED);
    flow.weather = CLEAR;
    assert_null(recall("a")); /* it is looked up: it may have been stored */
    for (int i = 0; i < BOOKMARKS_MOST; i++) {
        char name[16];
        struct bookmarks *b = sink.base.bookmarks;
        snprintf(name, sizeof name, "%d", i);
        b->ops->remember(b, str_of(name), STR_ABSENT, str_of("v"), 1);
    }
    size_t stored = 0;
    for (struct bookmark_done done[64]; stored < BOOKMARKS_MOST; broker_flush(flow.inner, (struct duration){ 1000 })) {
        size_t n = sink.base.bookmarks->ops->done(sink.base.bookmarks, done, 64);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(done[i].outcome, BOOKMARK_STORED);
        stored += n;
    }
    assert_int_equal(remember("another", NULL, "x"), BOOKMARK_REFUSED);
    assert_int_equal(remember("0", "v", "w"), BOOKMARK_STORED);
}

static void secret(unsigned char out[BOOKMARKS_SECRET])
{
    struct bookmarks *b = sink.base.bookmarks;
    while (!b->ops->secret(b, out))
        sched_yield();
}

TEST(the_secret_of_a_sink_is_made_once)
{
    unsigned char first[BOOKMARKS_SECRET], again[BOOKMARKS_SECRET];
    sink.base.ops = &script_broadcast_ops;
    start();
    secret(first);
    restart();
    secret(again);
    assert_memory_equal(first, again, sizeof first);
    end();
    snprintf(id, sizeof id, "another");
    script_sink_init(&sink, id);
    start();
    secret(again);
    assert_memory_not_equal(first, again, sizeof first);
}

#define LIVE_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIVE_TEST(the_log_that_a_broadcast_sink_reads_ends_where_its_live_stream_begins),
        LIVE_TEST(a_broadcast_sink_remembers_by_name),
        LIVE_TEST(what_is_remembered_is_bounded_and_told_when_it_is_not_stored),
        LIVE_TEST(the_secret_of_a_sink_is_made_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
