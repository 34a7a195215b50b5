/* SPDX-License-Identifier: MIT */
/* Reading whole files: up to the limit, of any kind, and what errno says otherwise; files of our own; files with
 * secrets. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bridge/lib/file.h"
#include "tests/support/folder.h"
#include "tests/support/test.h"

static char path[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/aqueduct-file-XXXXXX");
    int fd = mkstemp(path);
    for (int i = 0; fd >= 0 && i < 5000; i++)
        if (write(fd, "0123456789", 10) != 10)
            return -1;
    return close(fd);
}

static int clean_up(void **state)
{
    (void)state;
    return unlink(path);
}

TEST(as_long_as_the_limit)
{
    struct buf b = buf_new(50003);
    buf_add_c(&b, "ab");
    assert_true(file_read(path, 50000, &b));
    assert_int_equal(b.n, 50002);
    assert_memory_equal(b.at, "ab0123", 6);
    assert_memory_equal(b.at + 49992, "0123456789", 10);
    buf_free(&b);
}

TEST(longer_than_the_limit)
{
    struct buf b = buf_new(1 << 20);
    assert_false(file_read(path, 49999, &b));
    assert_int_equal(errno, EFBIG);
    buf_reset(&b);
    assert_false(file_read("/dev/zero", 64 << 10, &b));
    assert_int_equal(errno, EFBIG);
    assert_true(b.n <= (64 << 10) + 1);
    buf_free(&b);
}

TEST(longer_than_the_buffer)
{
    struct buf b = buf_new(1000);
    assert_false(file_read(path, 50000, &b));
    assert_int_equal(errno, EFBIG);
    buf_free(&b);
}

TEST(what_cannot_be_read)
{
    struct buf b = buf_new(1000);
    assert_false(file_read("/no/such/file", 999, &b));
    assert_int_equal(errno, ENOENT);
    assert_false(file_read("/", 999, &b));
    assert_int_equal(errno, EISDIR);
    assert_true(file_read("/dev/null", 999, &b));
    assert_int_equal(b.n, 0);
    buf_free(&b);
}

/* ---- files of our own ---- */

static char own_folder[FOLDER_BYTES], own[FOLDER_BYTES + 16];

static int own_set_up(void **state)
{
    (void)state;
    folder_make(own_folder);
    snprintf(own, sizeof own, "%s/own", own_folder);
    return 0;
}

static int own_tear_down(void **state)
{
    (void)state;
    folder_remove(own_folder);
    return 0;
}

#define OWN_TEST(f) cmocka_unit_test_setup_teardown(f, own_set_up, own_tear_down)

static unsigned mode_of(const char *file)
{
    struct stat st;
    assert_int_equal(lstat(file, &st), 0);
    return st.st_mode & 07777;
}

static void write_text(const char *file, const char *text, mode_t mode)
{
    FILE *f = fopen(file, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(file, mode), 0);
}

TEST(our_own_are_made_for_us_alone_whatever_the_umask)
{
    static const mode_t masks[] = { 0, 022, 0777 };
    struct err e = { "" };
    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
        mode_t before = umask(masks[i]);
        assert_true(file_make_own(own, &e));
        assert_int_equal(mode_of(own), 0600);
        unlink(own);
        int fd = file_open_own(own, &e);
        umask(before);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, "x", 1), 1);
        close(fd);
        assert_int_equal(mode_of(own), 0600);
        unlink(own);
    }
}

TEST(what_is_there_is_taken_over_as_it_is)
{
    static const struct {
        mode_t was, is;
    } modes[] = { { 0644, 0600 }, { 0666, 0600 }, { 0640, 0640 }, { 0600, 0600 } };
    struct err e = { "" };
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        struct stat st;
        write_text(own, "what stood there", modes[i].was);
        assert_true(file_make_own(own, &e));
        assert_int_equal(mode_of(own), modes[i].is);
        chmod(own, modes[i].was);
        assert_true(file_take_over(own, &e));
        assert_int_equal(mode_of(own), modes[i].is);
        chmod(own, modes[i].was);
        int fd = file_open_own(own, &e);
        assert_true(fd >= 0);
        close(fd);
        assert_int_equal(mode_of(own), modes[i].is);
        assert_int_equal(stat(own, &st), 0);
        assert_int_equal(st.st_size, 16);
    }
    unlink(own);
    assert_true(file_take_over(own, &e));
    assert_int_equal(access(own, F_OK), -1);
}

/* Is a file of that kind refused by each way, with these words? */
static void refused_as(const char *words)
{
    struct err e = { "" };
    assert_false(file_make_own(own, &e));
    assert_says(e.text, own);
    assert_says(e.text, words);
    assert_false(file_take_over(own, &e));
    assert_says(e.text, words);
    assert_int_equal(file_open_own(own, &e), -1);
    assert_says(e.text, own);
}

TEST(links_and_other_kinds_are_not_followed)
{
    char target[FOLDER_BYTES + 16];
    snprintf(target, sizeof target, "%s/target", own_folder);
    write_text(target, "of somebody", 0644);
    assert_int_equal(symlink(target, own), 0);
    refused_as("is a link");
    assert_int_equal(mode_of(target), 0644);
    unlink(target); /* nor made where a link points to */
    refused_as("is a link");
    assert_int_equal(access(target, F_OK), -1);
    unlink(own);
    assert_int_equal(mkfifo(own, 0600), 0);
    refused_as("is not a regular file");
    unlink(own);
    assert_int_equal(mkdir(own, 0700), 0);
    refused_as("is not a regular file");
}

TEST(a_folder_that_is_missing_is_named)
{
    struct err e = { "" };
    assert_false(file_make_own("/no/such/file", &e));
    assert_string_equal(
        e.text, "/no/such/file: cannot be opened: No such file or directory; its folder must exist and be writable");
    assert_int_equal(file_open_own("/no/such/file", &e), -1);
    assert_says(e.text, "/no/such/file: cannot be opened");
}

TEST(the_owner_counts)
{
    assert_true(file_is_owner_trusted(geteuid()));
    assert_true(file_is_owner_trusted(0));
    assert_int_equal(file_is_owner_trusted(geteuid() + 1), geteuid() == 0);
}

/* ---- secrets ---- */

TEST(a_secret_that_all_users_may_read_or_write_is_refused)
{
    static const mode_t fine[] = { 0400, 0600, 0440, 0640, 0660 }, wrong[] = { 0644, 0604, 0444, 0602, 0777 };
    struct err e = { "" };
    write_text(own, "secret", 0600);
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        chmod(own, fine[i]);
        assert_true(file_check_secret_at(own, &e));
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char want[256];
        chmod(own, wrong[i]);
        assert_false(file_check_secret_at(own, &e));
        snprintf(want, sizeof want, "all users of this machine can %s %s (mode %04o): chmod o-rwx %s",
                 wrong[i] & 4 ? "read" : "write", own, (unsigned)wrong[i], own);
        assert_string_equal(e.text, want);
    }
}

TEST(what_is_no_regular_file_is_left_to_who_reads_it)
{
    struct err e = { "" };
    int fds[2];
    assert_true(file_check_secret_at("/dev/null", &e));
    assert_true(file_check_secret_at("/no/such/file", &e));
    assert_int_equal(pipe(fds), 0);
    assert_true(file_check_secret(fds[0], "a pipe", &e));
    close(fds[0]);
    close(fds[1]);
}

TEST(where_runtimes_mount_secrets)
{
    assert_true(file_is_secret_mount("/run/secrets/crm"));
    assert_true(file_is_secret_mount("/run/credentials/aqueduct.service/crm"));
    assert_true(file_is_secret_mount("/var/run/secrets/crm"));
    assert_false(file_is_secret_mount("/run/secrets"));
    assert_false(file_is_secret_mount("/run/secrets-of-all/crm"));
    assert_false(file_is_secret_mount("/home/run/secrets/crm"));
}

TEST(a_file_is_given_to_whom_another_one_belongs)
{
    struct err e = { "" };
    struct stat like, st;
    assert_int_equal(stat(own_folder, &like), 0);
    if (geteuid() == 0)
        like.st_uid = like.st_gid = 65534;
    assert_true(file_put_for(&like, own, STR("text"), 0640, false, &e));
    assert_int_equal(stat(own, &st), 0);
    assert_true(st.st_uid == like.st_uid && st.st_gid == like.st_gid && (st.st_mode & 07777) == 0640);
    unlink(own);
}

/* A whole file or none: what is there stays unless it is to be replaced, and nothing is left beside it. */
TEST(a_file_is_put_as_a_whole)
{
    struct err e = { "" };
    struct buf b = buf_new(100);
    assert_true(file_put(own, STR("first"), 0640, false, &e));
    assert_int_equal(mode_of(own), 0640);
    assert_false(file_put(own, STR("second"), 0600, false, &e));
    assert_non_null(strstr(e.text, "is there already"));
    assert_true(file_read(own, 99, &b));
    assert_true(str_eq(buf_str(&b), STR("first")));
    assert_true(file_put(own, STR("third"), 0600, true, &e));
    assert_int_equal(mode_of(own), 0600);
    buf_reset(&b);
    assert_true(file_read(own, 99, &b));
    assert_true(str_eq(buf_str(&b), STR("third")));
    buf_free(&b);
    unlink(own);
    assert_int_equal(rmdir(own_folder), 0); /* so it was empty */
    assert_false(file_put(own, STR("x"), 0600, true, &e));
    assert_non_null(strstr(e.text, own));
    assert_int_equal(mkdir(own_folder, 0700), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_long_as_the_limit),
        cmocka_unit_test(longer_than_the_limit),
        cmocka_unit_test(longer_than_the_buffer),
        cmocka_unit_test(what_cannot_be_read),
        OWN_TEST(our_own_are_made_for_us_alone_whatever_the_umask),
        OWN_TEST(what_is_there_is_taken_over_as_it_is),
        OWN_TEST(links_and_other_kinds_are_not_followed),
        OWN_TEST(a_file_is_given_to_whom_another_one_belongs),
        OWN_TEST(a_secret_that_all_users_may_read_or_write_is_refused),
        OWN_TEST(a_file_is_put_as_a_whole),
        cmocka_unit_test(a_folder_that_is_missing_is_named),
        cmocka_unit_test(the_owner_counts),
        cmocka_unit_test(what_is_no_regular_file_is_left_to_who_reads_it),
        cmocka_unit_test(where_runtimes_mount_secrets),
    };
    return cmocka_run_group_tests_name("file", tests, set_up, clean_up);
}
