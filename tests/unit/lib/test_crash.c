/* SPDX-License-Identifier: MIT */
/* What ends the process: named crash points and broken assumptions. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bridge/lib/crash.h"
#include "bridge/lib/mem.h"
#include "tests/support/test.h"

/* Passes the points in a child; returns the signal that ended it, or 0. */
static int passes(const char *where, const char *const *points)
{
    pid_t child = fork();
    if (child == 0) {
        setenv("AQUEDUCT_CRASH_AT", where, 1);
        for (; *points; points++)
            crash_point(*points);
        _exit(0);
    }
    int status = 0;
    assert_true(waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

TEST(crash_points)
{
    static const char *const points[] = { "stored", "settled", "stored", NULL };
    assert_int_equal(passes("stored", points), SIGKILL);
    assert_int_equal(passes("stored:2", points), SIGKILL);
    assert_int_equal(passes("settled:1", points), SIGKILL);
    assert_int_equal(passes("stored:3", points), 0);
    assert_int_equal(passes("settled:2", points), 0);
    assert_int_equal(passes("store", points), 0);
    assert_int_equal(passes("", points), 0);
}

TEST(checks)
{
    CHECK(1 + 1 == 2);
    pid_t child = fork();
    if (child == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, STDERR_FILENO);
        CHECK(child != 0);
        _exit(0);
    }
    int status = 0;
    assert_true(waitpid(child, &status, 0) == child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

TEST(memory)
{
    char *p = mem_alloc(100);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(p[i], 0);
    p[99] = 'x';
    p = mem_grow(p, 1000, 10);
    assert_int_equal(p[99], 'x');
    free(p);
    p = mem_alloc(0);
    assert_non_null(p);
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(crash_points), cmocka_unit_test(checks),
                                        cmocka_unit_test(memory) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
