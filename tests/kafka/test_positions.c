/* SPDX-License-Identifier: MIT */
/* Positions that could not be committed. Run through tests/kafka/rig. */
#include "bridge/lib/clock.h"
#include "tests/support/cluster.h"

/* A cluster that stands still for longer than a session puts its members out of their groups; what they finish then is known to
 * them alone. */
TEST(what_was_finished_while_the_cluster_stood_still_does_not_come_again_to_who_finished_it)
{
    enum { COUNT = 200 };
    cluster_config.session_timeout.ms = 2000;
    struct broker *b = cluster_open();
    const char *topic = cluster_topic(b, 3), *group = cluster_fresh(1);
    struct member *m = member_join(b, group, topic, false); /* commits only when it must */
    cluster_forget();
    for (int i = 0; i < COUNT; i++)
        cluster_publish(b, topic, i);
    cluster_await(COUNT);
    member_read_until(m, COUNT);
    cluster_rig("pause");
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (m->revocations == 0) {
        member_turn(m, 100);
        assert_true(clock_mono_ms() < until);
    }
    cluster_rig("resume");
    for (int i = COUNT; i < COUNT + 30; i++)
        cluster_publish(b, topic, i);
    member_read_until(m, COUNT + 30);
    assert_int_equal(m->total, COUNT + 30);
    member_leave(m);
    m = member_join(b, group, topic, true); /* and the group knows it by now */
    cluster_publish(b, topic, COUNT + 30);
    member_read_until(m, 1);
    assert_int_equal(m->total, 1);
    member_leave(m);
    broker_close(b);
}

int main(int argc, char **argv)
{
    cluster_self = argv[0];
    if (!cluster_ready(argc, argv))
        return 1;
    const struct CMUnitTest tests[] = {
        CLUSTER_TEST(what_was_finished_while_the_cluster_stood_still_does_not_come_again_to_who_finished_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
