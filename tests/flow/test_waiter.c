/* SPDX-License-Identifier: MIT */
/* Waiting topics and their waiter, with schedules of days played on a fake clock, and two sinks that share them. */
#include "tests/support/event.h"
#include "tests/support/flow.h"
#include "tests/support/folder.h"
#include "tests/support/script.h"
#include <stdio.h>
#include <stdlib.h>
#include "bridge/delivery/delivery.h"
#include "bridge/delivery/ladder.h"
#include "bridge/delivery/orphans.h"
#include "bridge/delivery/waiter.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/thread.h"

enum { SINKS = 2, MINUTE = 60000, HOUR = 3600000, DAY = 86400000 };

struct player {
    struct script_sink sink;
    struct sink_config config;
    struct delivery *delivery;
    char id[64], topic[32];
    char *topics[1];
    struct duration waits[8];
};

static struct flow flow;
static struct player players[SINKS];
static struct player *const a = &players[0], *const b = &players[1];
static struct waiter *waiter;
static struct record *found[1024];
static int64_t began, times[1024];
static size_t time_count;

/* ---- the stage ---- */

static void start_with(size_t count)
{
    struct err e = { "" };
    assert_true(ladder_topics(&flow.names, flow_make_topic, &flow, &e));
    waiter = waiter_new(&flow.names, &flow.broker);
    for (size_t i = 0; i < count; i++) {
        struct player *p = &players[i];
        p->config.sink = &p->sink.base;
        assert_true(delivery_topics(&p->config, &flow.names, flow_make_topic, &flow, &e));
        p->delivery = delivery_new(&p->config, &flow.names, &flow.broker, &e);
        assert_non_null(p->delivery);
        waiter_serve(waiter, &p->config, p->delivery);
    }
    assert_int_equal(waiter_serves(waiter), count);
    if (!waiter_open(waiter, &e))
        fail_msg("%s", e.text);
}

static void start(void)
{
    start_with(SINKS);
}

/* As after a stop whose deadline passed, which differs from a kill only in that positions are stored. */
static void end(void)
{
    if (!waiter)
        return;
    waiter_close(waiter);
    for (size_t i = 0; i < SINKS; i++) {
        delivery_free(players[i].delivery);
        players[i].delivery = NULL;
    }
    waiter_free(waiter);
    waiter = NULL;
}

static void restart_with(size_t count)
{
    end();
    for (size_t i = 0; i < SINKS; i++) {
        enum verdict (*verdict)(const struct sent *, struct result *) = players[i].sink.verdict;
        script_sink_init(&players[i].sink, players[i].id);
        players[i].sink.verdict = verdict;
    }
    start_with(count);
}

static void turn(int count)
{
    for (int i = 0; i < count; i++) {
        assert_true(waiter_step(waiter, (struct duration){ 0 }));
        for (size_t k = 0; k < SINKS; k++)
            if (players[k].delivery)
                assert_true(delivery_step(players[k].delivery, (struct duration){ 0 }));
        broker_flush(flow.inner, (struct duration){ 10000 });
    }
}

/* Lets that much time pass in small steps. */
static void play(int64_t ms, int64_t step)
{
    for (int64_t gone = 0; gone < ms; gone += step) {
        clock_fake_advance(step);
        turn(3);
    }
}

static void schedule(struct player *p, size_t n, const int64_t *ms)
{
    for (size_t i = 0; i < n; i++)
        p->waits[i].ms = ms[i];
    p->config.retry = (struct durations){ p->waits, n };
}

static void events(const struct player *p, const char *name, int count)
{
    char id[32];
    for (int i = 0; i < count; i++) {
        snprintf(id, sizeof id, "%s%03d", name, i);
        flow_event(&flow, p->topic, id, NULL);
    }
}

static int64_t count(const struct player *p, const char *what)
{
    char name[64];
    snprintf(name, sizeof name, "aqueduct_sink_%s", what);
    return flow_count(name, p->id);
}

static void reconciles(const struct player *p)
{
    assert_int_equal(count(p, "consumed_total"), count(p, "delivered_total") + count(p, "dead_total")
                                                     + count(p, "filtered_total") + count(p, "moved_total")
                                                     + count(p, "released_total") + count(p, "pending"));
}

static enum verdict failing(const struct sent *sent, struct result *r)
{
    (void)sent;
    times[time_count++] = clock_wall_ms() - began;
    *r = (struct result){ .status = 503, .reason = REASON_UNAVAILABLE, .why = "503 Service Unavailable" };
    return VERDICT_RETRY;
}

static enum verdict failing_once(const struct sent *sent, struct result *r)
{
    enum verdict v = failing(sent, r);
    return sent->attempt > 1 ? VERDICT_DELIVERED : v;
}

static enum verdict patient(const struct sent *sent, struct result *r)
{
    if (strncmp(sent->id, "patient", 7) != 0 || sent->attempt > 1)
        return VERDICT_DELIVERED;
    *r = (struct result){ .status = 429, .retry_after = { DAY }, .reason = REASON_UNAVAILABLE, .why = "429" };
    return VERDICT_RETRY;
}

static enum verdict silent(const struct sent *sent, struct result *r)
{
    (void)sent;
    (void)r;
    return 0;
}

static void stage(void)
{
    static int number;
    clock_fake(1000000, began = 1700000000000);
    time_count = 0;
    flow_topic(&flow, "aq.dead-letter", 1);
    for (size_t i = 0; i < SINKS; i++) {
        struct player *p = &players[i];
        *p = (struct player){
            .config = { .retry_memory = { 1000 }, .window = 64, .order = ORDER_NONE, .start = START_EARLIEST }
        };
        snprintf(p->id, sizeof p->id, "w%d", number++);
        snprintf(p->topic, sizeof p->topic, "in-%zu", i);
        p->topics[0] = p->topic;
        p->config.topics = (struct strings){ p->topics, 1 };
        flow_topic(&flow, p->topic, 1);
        script_sink_init(&p->sink, p->id);
        schedule(p, 1, (const int64_t[]){ HOUR });
    }
}

static int setup(void **state)
{
    (void)state;
    flow_open(&flow);
    stage();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    end();
    flow_close(&flow);
    return 0;
}

static char folder[FOLDER_BYTES];

static int setup_in_a_file(void **state)
{
    (void)state;
    folder_make(folder);
    flow_open_in(&flow, folder);
    stage();
    return 0;
}

static int teardown_in_a_file(void **state)
{
    teardown(state);
    folder_remove(folder);
    return 0;
}

/* ---- the play ---- */

TEST(the_longest_delay_that_does_not_overshoot)
{
    assert_int_equal(ladder_step(0), 0);
    assert_int_equal(ladder_step(30000), 0);
    assert_int_equal(ladder_step(119999), 0);
    assert_int_equal(ladder_step(120000), 1);
    assert_int_equal(ladder_step(10 * MINUTE), 2);
    assert_int_equal(ladder_step(HOUR), 3);
    assert_int_equal(ladder_step(6 * (int64_t)HOUR), 4);
    assert_int_equal(ladder_step(30 * (int64_t)DAY), 5);
}

/* Whatever the wait, the attempt comes when it is over: not before, and at most a turn later. */
TEST(any_schedule_is_kept)
{
    const int64_t waits[] = { 2000, 31000, 45 * MINUTE, 7 * HOUR + 123, 3 * DAY + 5 * HOUR + 7 * MINUTE };
    const int64_t step = 10000;
    schedule(a, 5, waits);
    a->sink.verdict = failing;
    events(a, "e", 1);
    start();
    turn(3);
    play(4 * (int64_t)DAY, step);
    assert_int_equal(time_count, 6);
    int64_t due = 0;
    for (size_t i = 0; i < 5; i++) {
        due = times[i] + waits[i];
        assert_in_range(times[i + 1], due, due + 2 * step);
    }
    assert_int_equal(flow_read(&flow, "aq.dead-letter", found, 2), 1);
    flow_expect_header(found[0], TRAIL_ATTEMPTS, "6");
    flow_expect_header(found[0], TRAIL_FIRST, "2023-11-14T22:13:20.000Z");
    flow_expect_header(found[0], TRAIL_CLASS, "unavailable");
    flow_expect_header(found[0], TRAIL_TOPIC, a->topic);
    record_free(found[0]);
    assert_int_equal(count(a, "waiting"), 0);
    reconciles(a);
}

TEST(the_first_in_is_the_first_out)
{
    a->sink.verdict = failing_once;
    a->config.window = 1024;
    events(a, "e", 300);
    start();
    turn(10);
    assert_int_equal(a->sink.count, 300);
    assert_int_equal(count(a, "waiting"), 300);
    play(HOUR + MINUTE, 10000);
    assert_int_equal(a->sink.count, 600);
    for (size_t i = 300; i < 600; i++)
        assert_string_equal(a->sink.sent[i].id, a->sink.sent[i - 300].id);
    assert_int_equal(count(a, "delivered_total"), 300);
    assert_int_equal(count(a, "waiting"), 0);
    reconciles(a);
}

/* A receiver that asks for a day's patience takes no room from the other events of its sink. */
TEST(a_day_of_retry_after_holds_up_nobody)
{
    a->sink.verdict = patient;
    schedule(a, 1, (const int64_t[]){ 1000 });
    a->config.retry_memory.ms = 30000;
    events(a, "patient", 100);
    events(a, "other", 50);
    start();
    turn(12);
    assert_int_equal(count(a, "delivered_total"), 50);
    assert_int_equal(count(a, "moved_total"), 100);
    assert_int_equal(count(a, "pending"), 0);
    play(DAY - HOUR, HOUR);
    assert_int_equal(count(a, "delivered_total"), 50);
    play(2 * HOUR, MINUTE);
    assert_int_equal(count(a, "delivered_total"), 150);
    reconciles(a);
}

/* Short waits happen in memory, but in half of the window at most. */
TEST(what_waits_in_memory_leaves_room)
{
    a->sink.verdict = failing_once;
    a->config.window = 8;
    a->config.retry_memory.ms = 30000;
    schedule(a, 1, (const int64_t[]){ 20000 });
    events(a, "e", 100);
    start();
    turn(60);
    assert_int_equal(a->sink.count, 100);
    assert_int_equal(count(a, "pending"), 4);
    assert_int_equal(count(a, "moved_total"), 96);
    play(60000, 1000);
    assert_int_equal(count(a, "delivered_total"), 100);
    for (size_t i = 100; i < 200; i++)
        assert_true(times[i] >= 20000);
    reconciles(a);
}

TEST(every_event_that_waits_is_in_a_gauge)
{
    a->sink.verdict = failing;
    events(a, "e", 3);
    start();
    turn(5);
    assert_int_equal(count(a, "consumed_total"), 3);
    assert_int_equal(count(a, "moved_total"), 3);
    assert_int_equal(count(a, "pending"), 0);
    assert_int_equal(count(a, "waiting"), 3);
    clock_fake_advance(1000);
    restart_with(SINKS);
    turn(3);
    assert_int_equal(count(a, "waiting"), 3);
    assert_int_equal(a->sink.count, 0);
    reconciles(a);
}

/* Attempts and the first time stay with the event through restarts at any point. */
TEST(attempts_go_on_after_a_restart)
{
    schedule(a, 3, (const int64_t[]){ HOUR, HOUR, HOUR });
    a->sink.verdict = failing;
    events(a, "e", 2);
    start();
    turn(4);
    for (int i = 0; i < 10; i++) {
        play(20 * MINUTE, MINUTE);
        restart_with(SINKS);
        turn(2);
    }
    assert_int_equal(time_count, 8);
    assert_int_equal(flow_read(&flow, "aq.dead-letter", found, 4), 2);
    for (int i = 0; i < 2; i++) {
        flow_expect_header(found[i], TRAIL_ATTEMPTS, "4");
        flow_expect_header(found[i], TRAIL_FIRST, "2023-11-14T22:13:20.000Z");
        record_free(found[i]);
    }
    reconciles(a);
}

/* Two days ahead when it failed; then somebody sets it right, while the waiter runs or before it starts. */
TEST(a_clock_that_is_set_back_makes_no_wait_longer)
{
    schedule(a, 4, (const int64_t[]){ HOUR, HOUR, DAY + HOUR, HOUR });
    a->sink.verdict = failing;
    events(a, "e", 2);
    start();
    turn(4);
    for (size_t i = 0; i < 4; i++) {
        clock_fake(clock_mono_ms(), clock_wall_ms() - 2 * (int64_t)DAY);
        if (i % 2)
            restart_with(SINKS);
        turn(2);
        play(i == 2 ? DAY + HOUR : HOUR, MINUTE);
        play(2 * MINUTE, MINUTE);
        assert_int_equal(time_count, 2 * (i + 2));
    }
    assert_int_equal(flow_read(&flow, "aq.dead-letter", found, 4), 2);
    record_free(found[0]);
    record_free(found[1]);
    reconciles(a);
}

/* The waiter's position moves only when the sink is done. */
TEST(what_a_sink_had_not_finished_comes_again)
{
    a->sink.verdict = failing;
    events(a, "e", 2);
    start();
    turn(4);
    a->sink.verdict = silent;
    clock_fake_advance(HOUR);
    turn(4);
    assert_int_equal(a->sink.count, 4);
    script_answer(&a->sink, 2, VERDICT_DELIVERED);
    turn(2);
    restart_with(SINKS); /* the second is in flight */
    a->sink.verdict = NULL;
    turn(4);
    assert_int_equal(a->sink.count, 1);
    assert_string_equal(a->sink.sent[0].id, "e001");
    assert_int_equal(a->sink.sent[0].attempt, 2);
    restart_with(SINKS);
    turn(4);
    assert_int_equal(a->sink.count, 0);
    reconciles(a);
}

/* A waiting topic that was deleted and made anew is the only one that is forgotten. */
TEST(one_topic_that_is_gone_takes_no_other_with_it)
{
    schedule(a, 1, (const int64_t[]){ 2 * MINUTE });
    a->sink.verdict = b->sink.verdict = failing_once;
    events(a, "a", 2);
    events(b, "b", 2);
    start();
    turn(4);
    a->sink.verdict = silent;
    play(2 * MINUTE, MINUTE);
    assert_int_equal(a->sink.count, 4);
    flow.last.revoked(flow.last.ctx, &(struct topic_partition){ "aq.waiting.1h", 0 }, 1);
    script_answer(&a->sink, 2, VERDICT_DELIVERED);
    script_answer(&a->sink, 3, VERDICT_DELIVERED);
    turn(2);
    assert_int_equal(count(a, "delivered_total"), 2);
    assert_int_equal(count(b, "waiting"), 0);
    restart_with(SINKS);
    play(HOUR, MINUTE);
    assert_int_equal(a->sink.count, 0); /* their position moved */
    assert_int_equal(b->sink.count, 2);
    reconciles(a);
}

/* A sink that hangs has its share of what is due; what exceeds that goes round, and the other sink never notices. */
TEST(a_sink_without_room_holds_up_no_other)
{
    a->config.window = 8;
    a->sink.verdict = b->sink.verdict = failing_once;
    events(a, "a", 100);
    events(b, "b", 50);
    start();
    turn(100);
    assert_int_equal(count(a, "waiting"), 100);
    assert_int_equal(count(b, "waiting"), 50);
    a->sink.verdict = silent;
    clock_fake_advance(HOUR);
    play(1000, 100);
    assert_int_equal(count(b, "delivered_total"), 50);
    assert_int_equal(a->sink.flying, 4);
    play(5 * MINUTE, 10000);
    assert_int_equal(a->sink.flying, 4);
    a->sink.verdict = NULL;
    for (size_t i = 100; i < 104; i++)
        script_answer(&a->sink, i, VERDICT_DELIVERED);
    play(HOUR, 10000);
    assert_int_equal(count(a, "delivered_total"), 100);
    assert_int_equal(a->sink.count, 200); /* each exactly once more */
    assert_int_equal(count(a, "waiting"), 0);
    reconciles(a);
    reconciles(b);
}

/* However long it took nothing: what waited for it goes as soon as it has room, at the pace of the sink. */
TEST(a_sink_that_has_room_again_gets_at_once_what_is_due)
{
    a->sink.verdict = failing_once;
    events(a, "a", 500);
    start();
    turn(40);
    assert_int_equal(count(a, "waiting"), 500);
    a->sink.verdict = silent;
    clock_fake_advance(HOUR);
    play(3 * MINUTE, 1000);
    assert_int_equal(a->sink.flying, 32);
    a->sink.verdict = NULL;
    for (size_t i = 500; i < 532; i++)
        script_answer(&a->sink, i, VERDICT_DELIVERED);
    play(2000, 100);
    assert_int_equal(count(a, "delivered_total"), 500);
    assert_int_equal(a->sink.count, 1000);
    assert_int_equal(count(a, "waiting"), 0);
    reconciles(a);
}

/* What is due and waits for its turn is not stored once more when the turn comes soon. */
TEST(what_is_due_for_a_sink_that_gets_on_is_not_moved)
{
    a->sink.verdict = failing_once;
    events(a, "a", 500);
    start();
    turn(40);
    assert_int_equal(count(a, "waiting"), 500);
    a->sink.verdict = NULL;
    clock_fake_advance(HOUR);
    int64_t before = flow_count("aqueduct_waiting_moves_total", NULL);
    play(2000, 10);
    assert_int_equal(count(a, "delivered_total"), 500);
    assert_int_equal(flow_count("aqueduct_waiting_moves_total", NULL), before);
    reconciles(a);
}

TEST(a_crash_repeats_a_few_hundred_of_what_was_due)
{
    a->sink.verdict = failing_once;
    events(a, "a", 500);
    start();
    turn(40);
    a->sink.verdict = NULL;
    clock_fake_advance(HOUR);
    for (int i = 0; count(a, "delivered_total") < 480; i++) {
        assert_in_range(i, 0, 200); /* in less time than usually is between two commits */
        clock_fake_advance(1);
        turn(1);
    }
    flow.crashed = true;
    end();
    flow.crashed = false;
    restart_with(SINKS);
    play(5000, 10);
    assert_in_range(a->sink.count, 500 - 480, 500 - 480 + 256 + 2 * 64);
    assert_int_equal(count(a, "waiting"), 0);
}

/* What waits for a sink that takes nothing is moved once in 30 s, not more often. */
TEST(a_sink_that_takes_nothing_costs_little)
{
    a->sink.verdict = failing_once;
    events(a, "a", 500);
    start();
    turn(40);
    a->sink.verdict = silent;
    clock_fake_advance(HOUR);
    play(MINUTE, 1000);
    int64_t before = flow_count("aqueduct_waiting_moves_total", NULL);
    play(10 * MINUTE, 1000);
    int64_t moves = flow_count("aqueduct_waiting_moves_total", NULL) - before;
    assert_in_range(moves, 1, 20 * 500);
    assert_int_equal(a->sink.flying, 32);
    assert_int_equal(count(a, "waiting"), 500 - 32);
    reconciles(a);
}

/* A sink that is taken out of the configuration loses nothing: its events are kept, shown, and go on when it is back. */
TEST(events_of_a_sink_that_is_gone_are_kept)
{
    a->sink.verdict = b->sink.verdict = failing_once;
    events(a, "a", 3);
    events(b, "b", 3);
    start();
    turn(4);
    restart_with(1);
    turn(4);
    assert_int_equal(flow_count("aqueduct_waiting_orphans", b->id), 3);
    play(HOUR, MINUTE);
    assert_int_equal(count(a, "delivered_total"), 3);
    restart_with(1); /* twice: they are found where they are now */
    turn(4);
    assert_int_equal(flow_count("aqueduct_waiting_orphans", b->id), 3);
    restart_with(SINKS);
    turn(6);
    assert_int_equal(flow_count("aqueduct_waiting_orphans", b->id), 0);
    assert_int_equal(count(b, "delivered_total"), 3);
    restart_with(1);
    turn(4);
    assert_int_equal(flow_count("aqueduct_waiting_orphans", b->id), 0);
    reconciles(a);
}

/* ---- sinks come and go while it runs ---- */

struct asked {
    bool (*what)(struct player *p, struct err *e);
    struct player *player;
    struct err e;
    bool ok;
    atomic_bool done;
};

static void *asked_main(void *ctx)
{
    struct asked *q = ctx;
    q->ok = q->what(q->player, &q->e);
    atomic_store(&q->done, true);
    return NULL;
}

/* Asks as the main thread does, while the waiter makes its turns. */
static void ask(bool (*what)(struct player *, struct err *), struct player *p)
{
    struct asked q = { .what = what, .player = p };
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, asked_main, &q), 0);
    while (!atomic_load(&q.done))
        assert_true(waiter_step(waiter, (struct duration){ 0 }));
    pthread_join(thread, NULL);
    if (!q.ok)
        fail_msg("%s", q.e.text);
}

static struct timespec soon(void)
{
    return thread_until((struct duration){ 10000 });
}

static bool hold(struct player *p, struct err *e)
{
    return waiter_hold(waiter, p->id, soon(), e);
}

static bool serve(struct player *p, struct err *e)
{
    return waiter_serve_now(waiter, &p->config, p->delivery, soon(), e);
}

static bool dismiss(struct player *p, struct err *e)
{
    return waiter_dismiss(waiter, p->id, soon(), e);
}

static void leave(struct player *p)
{
    ask(hold, p);
    delivery_free(p->delivery);
    p->delivery = NULL;
}

static void come(struct player *p, enum verdict (*verdict)(const struct sent *, struct result *))
{
    struct err e = { "" };
    script_sink_init(&p->sink, p->id);
    p->sink.verdict = verdict;
    p->delivery = delivery_new(&p->config, &flow.names, &flow.broker, &e);
    assert_non_null(p->delivery);
    ask(serve, p);
}

TEST(a_sink_goes_and_comes_while_the_waiter_runs)
{
    a->sink.verdict = b->sink.verdict = failing_once;
    events(a, "a", 3);
    events(b, "b", 3);
    start();
    turn(4);
    leave(b);
    ask(dismiss, b);
    turn(4);
    assert_int_equal(flow_count("aqueduct_waiting_orphans", b->id), 3);
    assert_int_equal(count(b, "waiting"), 0);
    play(HOUR, MINUTE);
    assert_int_equal(count(a, "delivered_total"), 3);
    come(b, NULL);
    turn(6);
    assert_int_equal(flow_count("aqueduct_waiting_orphans", b->id), 0);
    assert_int_equal(count(b, "delivered_total"), 3);
    assert_int_equal(count(b, "waiting"), 0);
    leave(b); /* and once more, with nothing that waits */
    ask(dismiss, b);
    come(b, NULL);
    turn(6);
    assert_int_equal(b->sink.count, 0);
    reconciles(a);
    reconciles(b);
}

TEST(what_a_sink_had_of_the_waiter_comes_to_the_one_after_it)
{
    b->sink.verdict = failing;
    events(b, "b", 3);
    start();
    turn(4);
    b->sink.verdict = silent;
    play(HOUR, MINUTE);
    assert_int_equal(b->sink.flying, 3);
    leave(b);
    turn(2); /* it is held: what came back waits */
    assert_int_equal(count(b, "waiting"), 3);
    come(b, NULL);
    turn(6);
    assert_int_equal(b->sink.count, 3);
    assert_int_equal(count(b, "delivered_total"), 3);
    assert_int_equal(count(b, "waiting"), 0);
    reconciles(b);
    leave(b);
    ask(dismiss, b);
    restart_with(SINKS); /* it is finished for good */
    turn(6);
    assert_int_equal(b->sink.count, 0);
}

/* A sink with a new name goes on with what waits for its old one, wherever that stands, and sends no history again. */
TEST(a_renamed_sink_takes_over_what_waits)
{
    static char old[32];
    char *names[] = { old };
    snprintf(old, sizeof old, "%.30s", a->id);
    a->sink.verdict = failing;
    schedule(a, 2, (const int64_t[]){ HOUR, HOUR });
    events(a, "e", 3);
    start();
    turn(4);
    play(HOUR, MINUTE); /* a second attempt */
    assert_int_equal(a->sink.count, 6);
    end();
    snprintf(a->id, sizeof a->id, "%s-new", old);
    restart_with(SINKS); /* without a word about its old name */
    turn(6);
    assert_int_equal(flow_count("aqueduct_waiting_orphans", old), 3);
    assert_int_equal(a->sink.count, 3); /* it is another sink, which gets everything */
    end();
    snprintf(a->id, sizeof a->id, "%s-newer", old);
    a->config.formerly = (struct strings){ names, 1 };
    restart_with(SINKS);
    a->sink.verdict = NULL;
    turn(6);
    assert_int_equal(flow_count("aqueduct_waiting_orphans", old), 0);
    assert_int_equal(a->sink.count, 0);
    play(HOUR, MINUTE);
    assert_int_equal(a->sink.count, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(a->sink.sent[i].attempt, 3);
    reconciles(a);
}

TEST(what_cannot_be_stored_further_on_is_kept_where_it_is)
{
    schedule(a, 1, (const int64_t[]){ 3 * HOUR });
    a->sink.verdict = failing_once;
    events(a, "a", 1);
    start();
    turn(4);
    flow.weather = REFUSE;
    play(HOUR + MINUTE, MINUTE);
    assert_int_equal(count(a, "waiting"), 1);
    restart_with(SINKS); /* its position has not moved */
    play(MINUTE, 1000);
    flow.weather = CLEAR;
    play(2 * HOUR, MINUTE);
    assert_int_equal(count(a, "delivered_total"), 1);
    assert_in_range(times[1], 3 * HOUR, 3 * HOUR + 2 * MINUTE);
    reconciles(a);
}

TEST(what_no_topic_takes_any_more_waits_where_it_is)
{
    schedule(a, 1, (const int64_t[]){ 3 * HOUR });
    a->sink.verdict = failing_once;
    events(a, "a", 1);
    start();
    turn(4);
    flow.largest = 10;
    play(3 * HOUR + MINUTE, MINUTE);
    assert_int_equal(count(a, "delivered_total"), 1);
    assert_in_range(times[1], 3 * HOUR, 3 * HOUR + 2 * MINUTE);
    reconciles(a);
}

TEST(a_foreign_record_is_kept_among_the_orphans)
{
    const struct header long_name = {
        STR(TRAIL_SINK), STR("a-name-longer-than-any-sink-has-................................................")
    };
    start();
    flow_raw(&flow, &(struct record){ .topic = STR("aq.waiting.1h"), .partition = -1, .value = STR("x") });
    flow_raw(&flow, &(struct record){ .topic = STR("aq.waiting.1h"),
                                      .partition = -1,
                                      .value = STR("y"),
                                      .headers = &long_name,
                                      .header_count = 1 });
    turn(6);
    assert_int_equal(flow_count("aqueduct_waiting_orphans", "(others)"), 2);
    assert_int_equal(flow_read(&flow, "aq.waiting.orphaned", found, 4), 2);
    assert_true(str_eq(found[0]->value, STR("x")));
    record_free(found[0]);
    record_free(found[1]);
}

static void settle(struct str sink, size_t count, const int64_t (*pairs)[2])
{
    struct ranges offsets = { 0 };
    struct orphans_note note;
    for (size_t i = 0; i < count; i++)
        ranges_add(&offsets, pairs[i][0], pairs[i][1]);
    orphans_note(&note, "aq.waiting.orphaned", sink, &offsets);
    flow_raw(&flow, &note.record);
    ranges_free(&offsets);
}

TEST(a_note_finishes_what_it_names)
{
    schedule(b, 1, (const int64_t[]){ HOUR });
    b->sink.verdict = failing_once;
    events(b, "b", 5);
    start();
    turn(4);
    restart_with(1);
    turn(6);
    assert_int_equal(flow_count("aqueduct_waiting_orphans", b->id), 5);
    settle(str_of(b->id), 2, (const int64_t[][2]){ { 1, 2 }, { 3, 5 } });
    turn(2);
    assert_int_equal(flow_count("aqueduct_waiting_orphans", b->id), 2);
    settle(str_of(b->id), 1, (const int64_t[][2]){ { 1, 5 } }); /* what was finished before is not finished twice */
    turn(2);
    assert_int_equal(flow_count("aqueduct_waiting_orphans", b->id), 1);
    settle(str_of(b->id), 1, (const int64_t[][2]){ { 100, INT64_MAX } }); /* there is nothing yet */
    turn(2);
    restart_with(1); /* none of it comes again */
    turn(4);
    assert_int_equal(flow_count("aqueduct_waiting_orphans", b->id), 1);
    restart_with(SINKS);
    turn(6);
    play(HOUR, MINUTE);
    assert_int_equal(count(b, "delivered_total"), 1);
}

TEST(a_damaged_note_names_nothing)
{
    const struct header headers[] = { { STR(TRAIL_SINK), str_of(b->id) },
                                      { STR(TRAIL_STATE), STR("settled") },
                                      { STR(TRAIL_NOTE), STR("0") } };
    schedule(b, 1, (const int64_t[]){ HOUR });
    b->sink.verdict = failing_once;
    events(b, "b", 2);
    start();
    turn(4);
    restart_with(1);
    turn(6);
    const struct str values[] = { STR("not what it should be"), STR(""), STR_ABSENT };
    for (size_t i = 0; i < 3; i++)
        flow_raw(&flow, &(struct record){ .topic = STR("aq.waiting.orphaned"),
                                          .partition = -1,
                                          .value = values[i],
                                          .headers = headers,
                                          .header_count = 3 });
    turn(4);
    assert_int_equal(flow_count("aqueduct_waiting_orphans", b->id), 2);
}

/* ---- kill -9 between a copy and the position of what it replaces ---- */

/* Waits for the first attempt to be over and its position to be stored; what is finished afterwards is not. */
static void begin_to_crash(void)
{
    start();
    turn(4);
    clock_fake_advance(1000);
    restart_with(SINKS);
    turn(4);
    assert_int_equal(count(a, "waiting"), 3);
    flow.crashed = true;
}

/* Once the position is stored again, nothing is left. */
static void end_without_a_crash(void)
{
    flow.crashed = false;
    restart_with(SINKS);
    a->sink.verdict = NULL;
    play(DAY, 10 * MINUTE);
    assert_int_equal(a->sink.count, 3);
    assert_int_equal(count(a, "delivered_total"), 3);
    assert_int_equal(count(a, "waiting"), 0);
    clock_fake_advance(1000);
    restart_with(SINKS);
    turn(4);
    play(DAY, 10 * MINUTE);
    assert_int_equal(a->sink.count, 0);
    assert_int_equal(count(a, "waiting"), 0);
}

TEST(a_crash_after_a_failed_attempt_doubles_nothing)
{
    schedule(a, 8, (const int64_t[]){ HOUR, HOUR, HOUR, 2 * HOUR, 30000, HOUR, HOUR, HOUR });
    a->sink.verdict = failing;
    events(a, "e", 3);
    begin_to_crash();
    for (int attempt = 2; attempt <= 6; attempt++) {
        for (int i = 0; i < 100 && a->sink.count < 3; i++)
            play(10 * MINUTE, 10 * MINUTE);
        for (size_t i = 0; i < a->sink.count; i++)
            assert_int_equal(a->sink.sent[i].attempt, attempt);
        assert_int_equal(a->sink.count, 3);
        clock_fake_advance(1000);
        restart_with(SINKS);
        turn(4);
        assert_int_equal(count(a, "waiting"), 3);
        assert_int_equal(a->sink.count, 0);
    }
    end_without_a_crash();
}

TEST(a_crash_after_a_move_doubles_nothing)
{
    schedule(a, 1, (const int64_t[]){ 5 * HOUR + 30 * MINUTE });
    a->sink.verdict = failing_once;
    events(a, "e", 3);
    begin_to_crash();
    for (int i = 0; i < 4; i++) {
        play(HOUR + MINUTE, MINUTE);
        restart_with(SINKS);
        turn(4);
        assert_int_equal(count(a, "waiting"), 3);
        assert_int_equal(a->sink.count, 0);
    }
    end_without_a_crash();
}

/* Among the orphans as well, there and back. */
TEST(a_crash_beside_orphans_doubles_nothing)
{
    events(b, "b", 3);
    b->sink.verdict = failing_once;
    start();
    turn(4);
    clock_fake_advance(1000);
    flow.crashed = true;
    for (int i = 0; i < 4; i++) {
        restart_with(1);
        turn(6);
        assert_int_equal(flow_count("aqueduct_waiting_orphans", b->id), 3);
    }
    flow.crashed = false;
    restart_with(SINKS);
    turn(6);
    assert_int_equal(flow_count("aqueduct_waiting_orphans", b->id), 0);
    assert_int_equal(count(b, "waiting"), 3);
    play(2 * HOUR, MINUTE);
    assert_int_equal(b->sink.count, 3);
}

static void ignore_outcome(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    (void)ctx;
    (void)tag;
    (void)o;
    (void)why;
}

static void stay_of(struct record *r, const char *endpoint, const char *replaces)
{
    struct moved m;
    trail_move(&m, r, "aq.waiting.1h",
               (const char *const[]){ TRAIL_SINK, a->id, TRAIL_ENDPOINT, endpoint, TRAIL_ATTEMPTS, "1", TRAIL_REPLACES,
                                      replaces, NULL });
    flow_raw(&flow, &m.record);
    trail_free(&m);
}

/* The same event twice, a place that holds another record by now, or none: each is an event of its own. */
TEST(only_a_copy_of_the_record_itself_replaces_it)
{
    const char *const replaces[] = { NULL,
                                     NULL,
                                     "aq.waiting.1h/0/1",
                                     "aq.waiting.1h/0/0",
                                     "aq.waiting.1h/0/-1",
                                     "aq.waiting.1h/0",
                                     "aq.waiting.1h/0/99999999999999999999",
                                     "aq.waiting.1h/4294967296/0",
                                     "elsewhere/0/0",
                                     "/" };
    size_t all = sizeof replaces / sizeof *replaces;
    for (size_t i = 0; i < all; i++)
        events(a, "e", 1);
    assert_int_equal(flow_read(&flow, a->topic, found, all), all);
    struct err e = { "" };
    assert_true(ladder_topics(&flow.names, flow_make_topic, &flow, &e));
    for (size_t i = 0; i < all; i++) {
        stay_of(found[i], NULL, replaces[i]);
        record_free(found[i]);
    }
    a->config.start = START_LATEST;
    start();
    turn(6);
    play(1000, 100);
    assert_int_equal(a->sink.count, all);
}

TEST(one_of_several_endpoints_replaces_no_record_for_all)
{
    struct ladder l;
    struct err e = { "" };
    events(a, "e", 1);
    assert_int_equal(flow_read(&flow, a->topic, found, 1), 1);
    assert_true(ladder_topics(&flow.names, flow_make_topic, &flow, &e));
    stay_of(found[0], NULL, NULL);
    stay_of(found[0], "one", NULL);
    record_free(found[0]);
    assert_int_equal(flow_read(&flow, "aq.waiting.1h", found, 2), 2);
    ladder_open(&l, flow.names.prefix);
    for (size_t i = 0; i < 2; i++) {
        ladder_publish_orphan(&l, &flow.broker,
                              &(struct ladder_stay){
                                  .record = found[i], .sink = str_of(a->id), .endpoint = STR("one") },
                              &(struct publication){ .done = ignore_outcome });
        record_free(found[i]);
    }
    ladder_close(&l);
    assert_true(broker_flush(flow.inner, (struct duration){ 10000 }));
    assert_int_equal(flow_read(&flow, "aq.waiting.orphaned", found, 2), 2);
    assert_null(record_header(found[0], TRAIL_REPLACES).at);
    flow_expect_header(found[1], TRAIL_REPLACES, "aq.waiting.1h/0/1");
    record_free(found[0]);
    record_free(found[1]);
}

#define file_test(f) cmocka_unit_test_setup_teardown(f, setup_in_a_file, teardown_in_a_file)
#define flow_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_longest_delay_that_does_not_overshoot),
        flow_test(any_schedule_is_kept),
        flow_test(the_first_in_is_the_first_out),
        flow_test(a_day_of_retry_after_holds_up_nobody),
        flow_test(what_waits_in_memory_leaves_room),
        flow_test(every_event_that_waits_is_in_a_gauge),
        flow_test(attempts_go_on_after_a_restart),
        flow_test(a_clock_that_is_set_back_makes_no_wait_longer),
        flow_test(what_a_sink_had_not_finished_comes_again),
        flow_test(one_topic_that_is_gone_takes_no_other_with_it),
        flow_test(a_sink_without_room_holds_up_no_other),
        flow_test(a_sink_that_has_room_again_gets_at_once_what_is_due),
        flow_test(what_is_due_for_a_sink_that_gets_on_is_not_moved),
        flow_test(a_crash_repeats_a_few_hundred_of_what_was_due),
        flow_test(a_sink_that_takes_nothing_costs_little),
        flow_test(events_of_a_sink_that_is_gone_are_kept),
        flow_test(a_sink_goes_and_comes_while_the_waiter_runs),
        flow_test(what_a_sink_had_of_the_waiter_comes_to_the_one_after_it),
        flow_test(a_renamed_sink_takes_over_what_waits),
        flow_test(what_cannot_be_stored_further_on_is_kept_where_it_is),
        flow_test(what_no_topic_takes_any_more_waits_where_it_is),
        flow_test(a_foreign_record_is_kept_among_the_orphans),
        flow_test(a_note_finishes_what_it_names),
        flow_test(a_damaged_note_names_nothing),
        file_test(a_crash_after_a_failed_attempt_doubles_nothing),
        file_test(a_crash_after_a_move_doubles_nothing),
        file_test(a_crash_beside_orphans_doubles_nothing),
        file_test(only_a_copy_of_the_record_itself_replaces_it),
        flow_test(one_of_several_endpoints_replaces_no_record_for_all),
    };
    return cmocka_run_group_tests_name("waiter", tests, NULL, NULL);
}
