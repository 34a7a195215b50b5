/* SPDX-License-Identifier: MIT */
/* The process is closed to others, in a child, since that cannot be undone; names on the machine. */
#include <stdio.h>
#include <string.h>
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

TEST(a_name_is_one_process_s_until_it_ends)
{
    char name[64];
    int status;
    snprintf(name, sizeof name, "aqueduct-test-%d", (int)getpid());
    int fd = process_claim(name);
    assert_true(fd >= 0);
    assert_int_equal(process_claim(name), -1);
    close(fd);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(process_claim(name) < 0); /* never closed: it ends */
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    fd = process_claim(name);
    assert_true(fd >= 0);
    close(fd);
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    fd = process_claim(name);
    assert_true(fd >= 0);
    close(fd);
}

TEST(the_name_of_a_container_or_a_pod_does_not_last)
{
    static const struct {
        const char *name;
        bool pods, lasts;
    } rows[] = {
        { "kafka-bridge", false, true }, { "web1.example.com", false, true }, { "4f1d0a9c3b2e", false, false },
        { "4f1d0a9c3b2", false, true },  { "localhost", false, false },       { "", false, false },
        { "bridge-0", true, true },      { "bridge-12", true, true },         { "bridge-7d9f8-x2k4p", true, false },
        { "bridge-", true, false },      { "bridge", true, false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(process_host_lasts(rows[i].name, rows[i].pods), rows[i].lasts);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(nobody_else_gets_at_it),
                                        cmocka_unit_test(a_name_is_one_process_s_until_it_ends),
                                        cmocka_unit_test(the_name_of_a_container_or_a_pod_does_not_last) };
    return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
