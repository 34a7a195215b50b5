/* SPDX-License-Identifier: MIT */
/* What the embedded broker removes: by age, by size, by what a group finished; what it keeps for whom, and what it makes of
 * a clock that jumps. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/metrics.h"
#include "tests/support/local.h"
#include "tests/support/metric.h"
#include "tests/support/stderr.h"

#define SECONDS(n) ((int64_t)(n)*1000)
#define DAYS(n)    (SECONDS(n) * 24 * 60 * 60)
#define THEN       INT64_C(1700000000000)

static int64_t lost(void)
{
    return metric_value(metric_named("aqueduct_records_lost_total", NULL));
}

TEST(age_removes_from_the_front)
{
    clock_fake(1000000, 1700000000000);
    local_open();
    local_topic("t", 1, (struct duration){ 60000 }, UNBOUNDED);
    broker_retain(local_broker);
    struct consumer *slow = local_reader(NULL, "t");
    int64_t before = lost();
    local_put_numbers("t", 0, 0, 3000);
    clock_fake_advance(40000);
    local_put_numbers("t", 0, 3000, 10);
    clock_fake_advance(30000);
    for (int i = 0; i < 4; i++) /* a step removes at most 1024 */
        local_put_numbers("t", 0, 3010 + i, 1);
    local_expect(slow, 3000, 14);
    assert_int_equal(lost() - before, 3000);
    consumer_close(slow);
    clock_fake_advance(90000);
    local_put_numbers("u", 0, 0, 1); /* wakes the writer */
    local_close();
    local_open(); /* the log is empty now, but offsets go on */
    local_put_numbers("t", 0, 5000, 1);
    struct consumer *c = local_reader("late", "t");
    struct record *out[4];
    struct err e;
    assert_int_equal(consumer_poll(c, out, 4, &e), 1);
    assert_int_equal(out[0]->offset, 3014);
    record_free(out[0]);
    consumer_close(c);
}

TEST(a_reader_of_the_log_is_told_how_much_age_took)
{
    clock_fake(1000000, THEN);
    local_open();
    local_topic("t", 1, (struct duration){ SECONDS(60) }, UNBOUNDED);
    broker_retain(local_broker);
    local_put_numbers("t", 0, 0, 900);
    struct err e = { "" };
    struct log *l = broker_log(local_broker, &(struct log_options){ .wake_fd = -1 }, &e);
    struct topic_partition p = { "t", 0 };
    struct log_bounds bounds;
    struct record *out[32];
    uint64_t identity;
    assert_true(l->ops->identity(l, "t", &identity));
    struct log_reader *before = l->ops->open(l, p, identity, 0), *later = l->ops->open(l, p, identity, 100);
    assert_int_equal(l->ops->read(l, before, 900, out, 10, SIZE_MAX, &e), 10);
    for (int i = 0; i < 10; i++)
        record_free(out[i]);
    clock_fake_advance(SECONDS(40));
    local_put_numbers("t", 0, 900, 10);
    clock_fake_advance(SECONDS(30));
    local_put_numbers("t", 0, 910, 1);
    local_put_numbers("t", 0, 911, 1);
    assert_true(l->ops->bounds(l, p, &bounds));
    assert_int_equal(bounds.start, 900);
    assert_int_equal(bounds.end, 912);
    assert_int_equal(l->ops->read(l, before, 912, out, 32, SIZE_MAX, &e), 12);
    assert_int_equal(out[0]->offset, 900);
    for (int i = 0; i < 12; i++)
        record_free(out[i]);
    assert_int_equal(before->lost, 890);
    assert_int_equal(l->ops->read(l, later, 905, out, 32, SIZE_MAX, &e), 5);
    for (int i = 0; i < 5; i++)
        record_free(out[i]);
    assert_int_equal(later->lost, 800);
    l->ops->close(l, before);
    l->ops->close(l, later);
    broker_log_close(local_broker, l);
}

TEST(what_its_group_finished_goes)
{
    struct err e = { "" };
    struct record *out[8];
    clock_fake(1000000, 1700000000000);
    local_open();
    assert_true(
        broker_topic(local_broker, &(struct topic_config){ .name = "t", .partitions = 1, .consumed_by = "g" }, &e));
    struct consumer *c = local_reader("g", "t");
    local_put_numbers("t", 0, 0, 10);
    local_expect(c, 0, 10);
    consumer_commit(c, (struct topic_partition){ "t", 0 }, 7, NULL);
    consumer_close(c);
    broker_retain(local_broker);
    clock_fake_advance(2000);
    local_put_numbers("u", 0, 0, 1); /* the writer's next group looks */
    int64_t before = lost();
    c = local_reader("other", "t");
    assert_int_equal(consumer_poll(c, out, 8, &e), 3);
    assert_int_equal(out[0]->offset, 7); /* what is not finished stays */
    for (int i = 0; i < 3; i++)
        record_free(out[i]);
    assert_int_equal(lost(), before);
    consumer_close(c);
}

TEST(size_bounds_the_file)
{
    enum { VALUE = 64 << 10 };
    char *value = mem_alloc(VALUE);
    clock_fake(1000000, 1700000000000);
    local_open();
    local_topic("t", 2, FOREVER, (struct bytes){ 1 << 20 });
    broker_retain(local_broker);
    for (int i = 0; i < 60; i++) { /* 30 MiB each partition in steps of half a MiB */
        for (int32_t p = 0; p < 2; p++)
            for (int k = 0; k < 8; k++)
                assert_true(local_put("t", p, (struct str){ value, VALUE }, NULL));
        clock_fake_advance(1100);
    }
    struct consumer *c = local_reader("g", "t");
    struct record *out[64];
    struct err e;
    size_t kept = 0;
    for (int n; (n = consumer_poll(c, out, 64, &e)) > 0;)
        for (int i = 0; i < n; i++) {
            kept += out[i]->value.n;
            record_free(out[i]);
        }
    assert_in_range(kept, 2 << 20, 5 << 20);
    consumer_close(c);
    local_close();
    assert_in_range(local_size("aqueduct.db"), 2 << 20, 8 << 20);
    free(value);
}

/* ---- what a group has not finished ---- */

/* Time passes, and the writer looks, often enough for all that may go (at most 1024 records each time). */
static void pass(int64_t ms)
{
    clock_fake_advance(ms);
    for (int i = 0; i < 4; i++) {
        clock_fake_advance(SECONDS(2));
        local_put_numbers("u", 0, i, 1);
    }
}

static int64_t held(const char *topic)
{
    return metric_value(metric_named("aqueduct_retention_held_records", LABELS(topic)));
}

/* How many of its records are still there. */
static int64_t kept(const char *topic)
{
    return broker_backlog(&local_config, "nobody", topic);
}

TEST(what_a_group_has_not_finished_stays)
{
    clock_fake(1000000, THEN);
    local_open();
    local_topic("t", 1, (struct duration){ SECONDS(60) }, UNBOUNDED);
    struct consumer *slow = local_reader("slow", "t"); /* it commits nothing, ever */
    broker_retain(local_broker);
    int64_t before = lost();
    local_put_numbers("t", 0, 0, 500);
    pass(DAYS(3));
    assert_int_equal(held("t"), 500);
    local_expect(slow, 0, 500);
    assert_int_equal(lost(), before);
    consumer_commit(slow, (struct topic_partition){ "t", 0 }, 400, NULL);
    pass(SECONDS(10));
    assert_int_equal(held("t"), 100);
    consumer_commit(slow, (struct topic_partition){ "t", 0 }, 500, NULL);
    pass(SECONDS(10));
    assert_int_equal(held("t"), 0);
    assert_int_equal(kept("t"), 0);
    consumer_close(slow);
}

/* A daemon that was killed before its sink finished anything, and comes back when all is too old. */
TEST(a_group_that_never_committed_is_waited_for_after_a_restart)
{
    clock_fake(1000000, THEN);
    local_open();
    local_topic("t", 1, (struct duration){ SECONDS(60) }, UNBOUNDED);
    consumer_close(local_reader("slow", "t"));
    local_put_numbers("t", 0, 0, 500);
    local_close();
    clock_fake_advance(DAYS(3));
    local_open();
    struct consumer *slow = local_reader("slow", "t");
    broker_retain(local_broker);
    pass(DAYS(3));
    local_expect(slow, 0, 500);
    consumer_close(slow);
    pass(DAYS(3)); /* its sink is gone for the rest of this run: it still counts */
    slow = local_reader("slow", "t");
    local_expect(slow, 0, 500);
    consumer_close(slow);
}

TEST(nothing_goes_before_all_groups_are_known)
{
    clock_fake(1000000, THEN);
    local_open();
    local_topic("t", 1, (struct duration){ SECONDS(60) }, UNBOUNDED);
    local_put_numbers("t", 0, 0, 10);
    pass(DAYS(3));
    assert_int_equal(kept("t"), 10);
}

TEST(a_group_that_nobody_serves_is_said_and_not_waited_for)
{
    clock_fake(1000000, THEN);
    local_open();
    local_topic("t", 1, (struct duration){ SECONDS(60) }, UNBOUNDED);
    consumer_close(local_reader("former", "t"));
    local_put_numbers("t", 0, 0, 10);
    local_close();
    local_open();
    stderr_catch();
    broker_retain(local_broker);
    pass(DAYS(3));
    const char *said = stderr_caught();
    assert_non_null(strstr(said, "no sink reads this topic for the group any more"));
    assert_non_null(strstr(said, "group=former"));
    assert_int_equal(kept("t"), 0);
}

/* Its old group keeps a position, which nobody has to hear of: another group goes on from there. */
TEST(a_group_that_was_renamed_is_not_said_and_not_waited_for)
{
    clock_fake(1000000, THEN);
    local_open();
    local_topic("t", 1, (struct duration){ SECONDS(60) }, UNBOUNDED);
    local_topic("dropped", 1, (struct duration){ SECONDS(60) }, UNBOUNDED);
    local_topic("finished", 1, (struct duration){ SECONDS(60) }, UNBOUNDED);
    consumer_close(local_reader("old", "t"));
    consumer_close(local_reader("old", "dropped"));
    consumer_close(local_reader("old", "finished"));
    local_put_numbers("t", 0, 0, 10);
    local_put_numbers("dropped", 0, 0, 1);
    for (int run = 0; run < 2; run++) { /* at the second start the group has a position of its own */
        local_close();
        local_open();
        struct consumer *c = local_renamed("new", "old", "t");
        local_expect(c, 0, 10);
        if (run == 1)
            consumer_commit(c, (struct topic_partition){ "t", 0 }, 10, NULL);
        stderr_catch();
        broker_retain(local_broker);
        pass(run == 1 ? DAYS(3) : 0);
        const char *said = stderr_caught();
        assert_null(strstr(said, "topic=t "));
        assert_null(strstr(said, "topic=finished"));
        assert_non_null(strstr(said, "no sink reads this topic for the group any more"));
        assert_non_null(strstr(said, "group=old topic=dropped")); /* the new name does not read it */
        consumer_close(c);
    }
    assert_int_equal(kept("t"), 0);
}

TEST(strict_retention_counts_and_names_what_it_takes)
{
    struct err e = { "" };
    clock_fake(1000000, THEN);
    local_open();
    assert_true(broker_topic(local_broker,
                             &(struct topic_config){
                                 .name = "t", .partitions = 1, .retention = { SECONDS(60) }, .retention_strict = true },
                             &e));
    struct consumer *slow = local_reader("slow", "t");
    broker_retain(local_broker);
    int64_t before = lost();
    local_put_numbers("t", 0, 0, 500);
    stderr_catch();
    pass(DAYS(3));
    local_put_numbers("t", 0, 500, 1);
    local_expect(slow, 500, 1);
    const char *said = stderr_caught();
    assert_int_equal(lost() - before, 500);
    assert_non_null(strstr(said, "retention is strict"));
    assert_non_null(strstr(said, "group=slow"));
    assert_non_null(strstr(said, "lost=500"));
    consumer_close(slow);
}

TEST(a_full_log_names_the_group_that_fills_it)
{
    char why[WHY_BYTES];
    char value[65536] = "";
    local_config.max_size.n = 4 << 20;
    clock_fake(1000000, THEN);
    local_open();
    local_topic("t", 1, (struct duration){ SECONDS(1) }, UNBOUNDED);
    struct consumer *slow = local_reader("slow", "t");
    broker_retain(local_broker);
    do
        clock_fake_advance(SECONDS(2));
    while (local_put("t", 0, (struct str){ value, sizeof value }, why));
    assert_non_null(strstr(why, "no room"));
    assert_non_null(strstr(why, "retention waits for group slow"));
    assert_non_null(strstr(why, "t/0"));
    consumer_close(slow);
}

/* ---- the limits of a topic that says none ---- */

TEST(seven_days_are_kept_unless_something_else_is_said)
{
    clock_fake(1000000, THEN);
    local_open();
    local_topic("unsaid", 1, (struct duration){ RETENTION_UNSAID }, UNBOUNDED);
    local_topic("for-ever", 1, FOREVER, UNBOUNDED);
    broker_retain(local_broker);
    local_put_numbers("unsaid", 0, 0, 1);
    local_put_numbers("for-ever", 0, 0, 1);
    pass(DAYS(7) - SECONDS(60));
    assert_int_equal(kept("unsaid"), 1);
    pass(SECONDS(60));
    assert_int_equal(kept("unsaid"), 0);
    pass(DAYS(1000));
    assert_int_equal(kept("for-ever"), 1);
}

/* ---- a clock that jumps ---- */

TEST(a_jump_of_the_clock_removes_nothing)
{
    static const int64_t jumps[] = { DAYS(365), DAYS(2), -DAYS(2), -DAYS(365) };
    for (size_t i = 0; i < sizeof jumps / sizeof *jumps; i++) {
        char name[8];
        snprintf(name, sizeof name, "t%zu", i);
        clock_fake(1000000, THEN);
        local_open();
        local_topic(name, 1, (struct duration){ DAYS(1) }, UNBOUNDED);
        broker_retain(local_broker);
        local_put_numbers(name, 0, 0, 10);
        clock_fake(1000000 + SECONDS(5), THEN + jumps[i]);
        pass(SECONDS(60) * 60 * 12);
        assert_int_equal(kept(name), 10);
        pass(SECONDS(60) * 60 * 24); /* age goes on by what elapses, a tenth off at most */
        assert_int_equal(kept(name), 0);
        local_close();
        folder_remove(local_folder);
        folder_make(local_folder);
    }
}

/* Between two starts, a stop and a jump look alike. */
TEST(a_start_believes_a_month_and_not_a_year)
{
    clock_fake(1000000, THEN);
    local_open();
    local_topic("t", 1, (struct duration){ DAYS(7) }, UNBOUNDED);
    local_put_numbers("t", 0, 0, 10);
    for (int i = 0; i < 2; i++) { /* ahead, then behind */
        local_close();
        clock_fake(1000000, THEN + (i ? -DAYS(365) : DAYS(365)));
        local_open();
        broker_retain(local_broker);
        pass(SECONDS(60));
        assert_int_equal(kept("t"), 10);
    }
    local_close();
    clock_fake(1000000, THEN + DAYS(8));
    local_open();
    broker_retain(local_broker);
    pass(SECONDS(60));
    assert_int_equal(kept("t"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOCAL_TEST(age_removes_from_the_front),
        LOCAL_TEST(a_reader_of_the_log_is_told_how_much_age_took),
        LOCAL_TEST(what_its_group_finished_goes),
        LOCAL_TEST(size_bounds_the_file),
        LOCAL_TEST(what_a_group_has_not_finished_stays),
        LOCAL_TEST(a_group_that_never_committed_is_waited_for_after_a_restart),
        LOCAL_TEST(nothing_goes_before_all_groups_are_known),
        LOCAL_TEST(a_group_that_nobody_serves_is_said_and_not_waited_for),
        LOCAL_TEST(a_group_that_was_renamed_is_not_said_and_not_waited_for),
        LOCAL_TEST(strict_retention_counts_and_names_what_it_takes),
        LOCAL_TEST(a_full_log_names_the_group_that_fills_it),
        LOCAL_TEST(seven_days_are_kept_unless_something_else_is_said),
        LOCAL_TEST(a_jump_of_the_clock_removes_nothing),
        LOCAL_TEST(a_start_believes_a_month_and_not_a_year),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
