/* SPDX-License-Identifier: MIT */
/* Workers: one is added and one is removed while others run; each engine ends in order, and once. */
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include "bridge/delivery/delivery.h"
#include "bridge/worker.h"
#include "tests/support/flow.h"
#include "tests/support/script.h"

enum { PATIENCE_MS = 10000 };

/* ---- an engine that writes down what is asked of it ---- */

struct scripted {
    atomic_int steps, left;
    atomic_bool stopping, abandoned;
    atomic_int nice; /* of the thread that makes the steps */
    bool stubborn;   /* goes on after stop, until it is abandoned */
    char life[16];   /* by the main thread: s stop, a abandon, c close, f free */
};

static void write_down(struct scripted *s, char what)
{
    s->life[strlen(s->life)] = what;
}

static bool scripted_step(void *engine)
{
    struct scripted *s = engine;
    usleep(500);
    atomic_store(&s->nice, getpriority(PRIO_PROCESS, 0));
    atomic_fetch_add(&s->steps, 1);
    return !atomic_load(&s->abandoned) && (s->stubborn || !atomic_load(&s->stopping));
}

static void scripted_leave(void *engine, struct duration limit)
{
    struct scripted *s = engine;
    assert_in_range(limit.ms, 0, PATIENCE_MS);
    atomic_fetch_add(&s->left, 1);
}

static void scripted_stop(void *engine)
{
    struct scripted *s = engine;
    write_down(s, 's');
    atomic_store(&s->stopping, true);
}

static void scripted_abandon(void *engine)
{
    struct scripted *s = engine;
    write_down(s, 'a');
    atomic_store(&s->abandoned, true);
}

static void scripted_close(void *engine)
{
    write_down(engine, 'c');
}

static void scripted_free(void *engine)
{
    write_down(engine, 'f');
}

static const struct engine_ops scripted_ops = {
    "sink", 2, scripted_step, scripted_leave, NULL, scripted_stop, scripted_abandon, scripted_close, scripted_free, 0
};
static const struct engine_ops other_ops = {
    "source", 0, scripted_step, NULL, NULL, scripted_stop, scripted_abandon, scripted_close, scripted_free, 0
};

static struct scripted engines[4];
static struct workers workers;

static const char *run(const struct engine_ops *ops, struct scripted *s)
{
    static const char *const names[] = { "a", "b", "c", "d" };
    const char *id = names[s - engines];
    struct err e = { "" };
    worker_add(&workers, ops, s, id);
    if (!workers_start(&workers, ops, id, &e))
        fail_msg("%s", e.text);
    return id;
}

/* Ends all of one kind and name; what is abandoned is freed at the end. */
static void end(const struct engine_ops *ops, const char *id, int64_t limit_ms)
{
    workers_stop(&workers, ops, id, clock_mono_ms() + limit_ms);
    workers_close(&workers, ops, id);
    workers_drop(&workers, ops, id);
}

/* Waits until the engine makes a step from now on. */
static void expect_steps(struct scripted *s)
{
    int before = atomic_load(&s->steps);
    for (int ms = 0; atomic_load(&s->steps) == before; ms++) {
        assert_in_range(ms, 0, PATIENCE_MS);
        usleep(1000);
    }
}

static int begin(void **state)
{
    (void)state;
    memset(engines, 0, sizeof engines);
    workers = (struct workers){ 0 };
    return 0;
}

/* Each thread has a niceness of its own: sinks give way to sources, and nobody else does. */
TEST(sinks_give_way_to_sources)
{
    int own = getpriority(PRIO_PROCESS, 0);
    assert_int_equal(engine_intake.nice, 0);
    assert_in_range(engine_delivery.nice, 1, 10);
    run(&scripted_ops, &engines[0]);
    run(&other_ops, &engines[1]);
    expect_steps(&engines[0]);
    expect_steps(&engines[1]);
    assert_int_equal(atomic_load(&engines[0].nice), own + 2 < 19 ? own + 2 : 19);
    assert_int_equal(atomic_load(&engines[1].nice), own);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), own);
    workers_stop(&workers, &scripted_ops, NULL, clock_mono_ms() + PATIENCE_MS);
    workers_stop(&workers, &other_ops, NULL, clock_mono_ms() + PATIENCE_MS);
    workers_close(&workers, NULL, NULL);
    workers_free(&workers);
}

TEST(one_is_added_and_one_removed_while_others_run)
{
    const char *first = run(&scripted_ops, &engines[0]);
    run(&other_ops, &engines[1]);
    expect_steps(&engines[0]);
    expect_steps(&engines[1]);
    const char *third = run(&scripted_ops, &engines[2]);
    expect_steps(&engines[2]);
    expect_steps(&engines[1]);

    end(&scripted_ops, first, PATIENCE_MS);
    assert_string_equal(engines[0].life, "scf");
    assert_int_equal(atomic_load(&engines[0].left), 1);
    int steps = atomic_load(&engines[0].steps);
    expect_steps(&engines[1]);
    expect_steps(&engines[2]);
    assert_int_equal(atomic_load(&engines[0].steps), steps);

    run(&scripted_ops, &engines[3]);
    end(&scripted_ops, third, PATIENCE_MS);
    assert_string_equal(engines[2].life, "scf");
    expect_steps(&engines[1]);
    expect_steps(&engines[3]);
    assert_true(workers_run(&workers));

    workers_stop(&workers, &other_ops, NULL, clock_mono_ms() + PATIENCE_MS);
    assert_string_equal(engines[1].life, "s");
    expect_steps(&engines[3]);
    workers_stop(&workers, &scripted_ops, NULL, clock_mono_ms() + PATIENCE_MS);
    assert_false(workers_run(&workers));
    workers_close(&workers, NULL, NULL);
    assert_string_equal(engines[1].life, "sc");
    assert_string_equal(engines[3].life, "sc");
    workers_free(&workers);
    assert_string_equal(engines[1].life, "scf");
    assert_string_equal(engines[3].life, "scf");
    assert_string_equal(engines[0].life, "scf");
}

TEST(one_that_misses_its_limit_is_abandoned_and_freed_at_the_end)
{
    engines[0].stubborn = true;
    const char *w = run(&scripted_ops, &engines[0]);
    run(&scripted_ops, &engines[1]);
    expect_steps(&engines[0]);
    end(&scripted_ops, w, 20);
    assert_string_equal(engines[0].life, "sac");
    expect_steps(&engines[1]);
    workers_stop(&workers, &scripted_ops, NULL, clock_mono_ms() + PATIENCE_MS);
    workers_close(&workers, NULL, NULL);
    assert_string_equal(engines[0].life, "sac");
    workers_free(&workers);
    assert_string_equal(engines[0].life, "sacf");
    assert_string_equal(engines[1].life, "scf");
}

/* What reports to others is freed before them, and closed after them, in whatever order they came. */
static char order[16];

static void ordered_close(void *engine)
{
    order[strlen(order)] = *(const char *)engine;
}

static void ordered_free(void *engine)
{
    order[strlen(order)] = (char)(*(const char *)engine - 'a' + 'A');
}

TEST(engines_end_by_their_rank)
{
    static const struct engine_ops low = { .kind = "sink", .close = ordered_close, .free = ordered_free },
                                   high = { .kind = "source", .close = ordered_close, .free = ordered_free, .rank = 2 };
    char names[] = "hl";
    memset(order, 0, sizeof order);
    worker_add(&workers, &high, &names[0], "one");
    worker_add(&workers, &low, &names[1], "one");
    workers_close(&workers, NULL, NULL);
    workers_free(&workers);
    assert_string_equal(order, "hlLH");
}

TEST(one_that_never_started_is_removed_as_well)
{
    worker_add(&workers, &scripted_ops, &engines[0], "a");
    assert_false(workers_run(&workers));
    end(&scripted_ops, "a", PATIENCE_MS);
    assert_string_equal(engines[0].life, "cf");
    workers_free(&workers);
}

/* ---- real sinks ---- */

static struct flow flow;
static char *topics[] = { "in" };

static struct sink_config sink_of(struct script_sink *s, const char *id)
{
    script_sink_init(s, id);
    return (struct sink_config){ .sink = &s->base, .topics = { topics, 1 }, .window = 16 };
}

static void deliver(const struct sink_config *config)
{
    struct err e = { "" };
    struct delivery *d = delivery_new(config, &flow.names, &flow.broker, &e);
    if (!d)
        fail_msg("%s", e.text);
    worker_add(&workers, &engine_delivery, d, config->sink->id);
    if (!workers_start(&workers, &engine_delivery, config->sink->id, &e))
        fail_msg("%s", e.text);
}

static void expect_delivered(const char *id, int64_t count)
{
    for (int ms = 0; flow_count("aqueduct_sink_delivered_total", id) < count; ms++) {
        assert_in_range(ms, 0, PATIENCE_MS);
        usleep(1000);
    }
}

TEST(a_sink_comes_and_goes_while_another_delivers)
{
    static struct script_sink stays, goes;
    flow_open(&flow);
    flow_topic(&flow, "in", 1);
    struct sink_config a = sink_of(&stays, "worker-stays"), b = sink_of(&goes, "worker-goes");
    deliver(&a);
    flow_event(&flow, "in", "1", NULL);
    expect_delivered("worker-stays", 1);

    deliver(&b);
    flow_event(&flow, "in", "2", NULL);
    expect_delivered("worker-goes", 2);
    end(&engine_delivery, "worker-goes", PATIENCE_MS);
    flow_event(&flow, "in", "3", NULL);
    expect_delivered("worker-stays", 3);
    assert_int_equal(flow_count("aqueduct_sink_delivered_total", "worker-goes"), 2);

    b = sink_of(&goes, "worker-goes"); /* comes again: goes on where it was */
    deliver(&b);
    expect_delivered("worker-goes", 3);
    end(&engine_delivery, "worker-goes", PATIENCE_MS);
    assert_int_equal(goes.count, 1);
    assert_string_equal(goes.sent[0].id, "3");
    workers_stop(&workers, &engine_delivery, NULL, clock_mono_ms() + PATIENCE_MS);
    workers_close(&workers, NULL, NULL);
    flow_close(&flow);
    workers_free(&workers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(sinks_give_way_to_sources, begin),
        cmocka_unit_test_setup(one_is_added_and_one_removed_while_others_run, begin),
        cmocka_unit_test_setup(one_that_misses_its_limit_is_abandoned_and_freed_at_the_end, begin),
        cmocka_unit_test_setup(engines_end_by_their_rank, begin),
        cmocka_unit_test_setup(one_that_never_started_is_removed_as_well, begin),
        cmocka_unit_test_setup(a_sink_comes_and_goes_while_another_delivers, begin),
    };
    return cmocka_run_group_tests_name("worker", tests, NULL, NULL);
}
