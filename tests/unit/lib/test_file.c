/* SPDX-License-Identifier: MIT */
/* Reading whole files: up to the limit, of any kind, and what errno says otherwise. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/lib/file.h"
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_long_as_the_limit),
        cmocka_unit_test(longer_than_the_limit),
        cmocka_unit_test(longer_than_the_buffer),
        cmocka_unit_test(what_cannot_be_read),
    };
    return cmocka_run_group_tests_name("file", tests, set_up, clean_up);
}
