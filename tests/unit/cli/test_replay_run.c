/* SPDX-License-Identifier: MIT */
/* Who runs a replay: as JSON and back, and whether it lives. */
#include "bridge/cli/replay_run.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bridge/lib/str.h"
#include "tests/support/test.h"

TEST(it_comes_back_as_it_went)
{
    struct replay_run run = replay_run_new();
    json_t *j = replay_run_json(&run);
    struct replay_run back = replay_run_of(j), none = replay_run_of(NULL);
    assert_string_equal(back.id, run.id);
    assert_string_equal(back.host, run.host);
    assert_string_equal(back.place, run.place);
    assert_int_equal(back.pid, getpid());
    assert_int_equal(back.began, run.began);
    assert_true(run.began > 0);
    assert_null(none.id);
    json_decref(j);
    replay_run_free(&back);
    replay_run_free(&run);
}

TEST(its_life_is_known_where_it_is_of_this_machine)
{
    struct replay_run run = replay_run_new();
    assert_int_equal(replay_run_lives(&run), REPLAY_RUNS);
    run.began++; /* the number came again */
    assert_int_equal(replay_run_lives(&run), REPLAY_IS_OVER);
    run.began--;
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    waitpid(child, NULL, 0);
    run.pid = child;
    assert_int_equal(replay_run_lives(&run), REPLAY_IS_OVER);
    free(run.place);
    run.place = str_dup(STR("another machine"));
    run.pid = getpid();
    assert_int_equal(replay_run_lives(&run), REPLAY_ELSEWHERE);
    replay_run_free(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_comes_back_as_it_went),
        cmocka_unit_test(its_life_is_known_where_it_is_of_this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
