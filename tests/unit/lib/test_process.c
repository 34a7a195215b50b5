/* SPDX-License-Identifier: MIT */
/* The process is closed to others, in a child, since that cannot be undone. */
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bridge/lib/process.h"
#include "tests/support/test.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { OPEN = 1 };
#else
enum { OPEN = 0 };
#endif

/* In a child: 0 when the umask and the memory are as they should be. */
static int protect(void)
{
    umask(0);
    process_protect();
    return (umask(0) != 0077) + 2 * (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != OPEN);
}

TEST(nobody_else_gets_at_it)
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(protect());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(nobody_else_gets_at_it) };
    return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
