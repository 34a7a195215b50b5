/* SPDX-License-Identifier: MIT */
/* The embedded broker's folder and files: whose they are, and who else gets at them. */
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/support/local.h"
#include "tests/support/stderr.h"

static unsigned mode_of(const char *name)
{
    struct stat st;
    assert_int_equal(lstat(local_path(name), &st), 0);
    return st.st_mode & 07777;
}

static void assert_private(void)
{
    static const char *const files[] = { "aqueduct.db", "aqueduct.db-wal", "aqueduct.db-shm", "lock" };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        assert_int_equal(mode_of(files[i]), 0600);
}

TEST(the_log_is_made_for_us_alone_whatever_the_umask)
{
    static const mode_t masks[] = { 0, 022, 0777 };
    char folder[FOLDER_BYTES], made[FOLDER_BYTES + 8];
    memcpy(folder, local_folder, sizeof folder);
    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
        snprintf(made, sizeof made, "%s/%zu", folder, i);
        memcpy(local_folder, made, sizeof local_folder);
        local_config.path = made;
        mode_t before = umask(masks[i]);
        local_open();
        local_topic("t", 1, FOREVER, UNBOUNDED);
        local_put_numbers("t", 0, 0, 3);
        umask(before);
        assert_int_equal(mode_of(""), 0700);
        assert_private();
        local_close();
    }
    memcpy(local_folder, folder, sizeof folder);
}

/* Earlier versions left the log as the umask made it: open to be read. */
TEST(what_an_earlier_version_left_open_is_closed)
{
    local_open();
    local_topic("t", 1, FOREVER, UNBOUNDED);
    local_put_numbers("t", 0, 0, 3);
    local_close();
    assert_int_equal(chmod(local_path("aqueduct.db"), 0644), 0);
    assert_int_equal(chmod(local_path("lock"), 0644), 0);
    local_open();
    struct consumer *c = local_reader("g", "t");
    local_expect(c, 0, 3);
    assert_private();
    consumer_close(c);
}

TEST(links_in_the_folder_are_refused)
{
    static const char *const names[] = { "lock", "aqueduct.db", "aqueduct.db-wal" };
    char target[FOLDER_BYTES + 16], want[64];
    local_open();
    local_close();
    snprintf(target, sizeof target, "%s/elsewhere", local_folder);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[FOLDER_BYTES + 32];
        snprintf(name, sizeof name, "%s", local_path(names[i]));
        assert_true(rename(name, target) == 0 || i == 2);
        assert_int_equal(symlink(target, name), 0);
        snprintf(want, sizeof want, "/%s: is a link", names[i]);
        assert_true(local_refused(want));
        unlink(name);
        assert_true(rename(target, name) == 0 || i == 2);
    }
    local_open();
}

TEST(a_link_that_points_to_nothing_makes_nothing)
{
    char target[FOLDER_BYTES + 16];
    snprintf(target, sizeof target, "%s/elsewhere", local_folder);
    assert_int_equal(symlink(target, local_path("lock")), 0);
    assert_true(local_refused("is a link"));
    assert_int_equal(access(target, F_OK), -1);
}

TEST(a_folder_that_all_may_write_is_warned_of)
{
    assert_int_equal(chmod(local_folder, 0777), 0);
    stderr_catch();
    local_open();
    assert_says(stderr_caught(), "chmod o-w its folder");
}

/* As a user who does not own the folder, where this test may become one. */
TEST(a_folder_of_another_user_is_refused)
{
    enum { NOBODY = 65534 };
    int status;
    struct stat st;
    if (geteuid() != 0) {
        assert_int_equal(stat("/", &st), 0);
        assert_int_equal(st.st_uid, 0); /* root's are used by everybody who may */
        return;
    }
    assert_int_equal(chown(local_folder, 1, 1), 0);
    assert_int_equal(chmod(local_folder, 0777), 0);
    pid_t child = fork();
    if (child == 0)
        _exit(seteuid(NOBODY) != 0 || !local_refused("belongs to another user (uid 1): chown it"));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOCAL_TEST(the_log_is_made_for_us_alone_whatever_the_umask),
        LOCAL_TEST(what_an_earlier_version_left_open_is_closed),
        LOCAL_TEST(links_in_the_folder_are_refused),
        LOCAL_TEST(a_link_that_points_to_nothing_makes_nothing),
        LOCAL_TEST(a_folder_that_all_may_write_is_warned_of),
        LOCAL_TEST(a_folder_of_another_user_is_refused),
    };
    return cmocka_run_group_tests_name("folder", tests, NULL, NULL);
}
