/* SPDX-License-Identifier: MIT */
/* The mailbox between threads, and its wake-up call. */
#include <poll.h>
#include <string.h>
#include <unistd.h>
#include "bridge/lib/mailbox.h"
#include "tests/support/test.h"

static bool is_awake(int fd)
{
    return poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 0) == 1;
}

TEST(one_notice)
{
    struct mailbox m;
    struct notice notice;
    int fd = wake_new();
    mailbox_open(&m, fd);
    assert_int_equal(mailbox_take(&m, &notice, 1), 0);
    assert_false(is_awake(fd));
    mailbox_put(&m, 7, -3, "because");
    assert_true(is_awake(fd));
    wake_clear(fd);
    assert_false(is_awake(fd));
    mailbox_put(&m, 8, 0, NULL);
    assert_false(is_awake(fd)); /* only when it was empty */
    assert_int_equal(mailbox_take(&m, &notice, 1), 1);
    assert_true(notice.tag == 7 && notice.code == -3);
    assert_string_equal(notice.why, "because");
    assert_true(is_awake(fd)); /* something is left */
    assert_int_equal(mailbox_take(&m, &notice, 1), 1);
    assert_true(notice.tag == 8);
    assert_string_equal(notice.why, "");
    assert_int_equal(mailbox_take(&m, &notice, 1), 0);
    mailbox_close(&m);
    close(fd);
}

TEST(many_notices_at_once)
{
    struct mailbox m;
    struct notice notices[64];
    uint64_t tags[40];
    int fd = wake_new();
    for (uint64_t i = 0; i < 40; i++)
        tags[i] = i;
    mailbox_open(&m, fd);
    mailbox_put_many(&m, tags, 0, 5);
    assert_false(is_awake(fd));
    mailbox_put_many(&m, tags, 40, 5);
    assert_true(is_awake(fd));
    wake_clear(fd);
    mailbox_put_many(&m, tags, 2, 6);
    assert_false(is_awake(fd)); /* only when it was empty */
    assert_int_equal(mailbox_take(&m, notices, 64), 42);
    for (size_t i = 0; i < 42; i++)
        assert_true(notices[i].tag == i % 40 && notices[i].code == (i < 40 ? 5 : 6) && !*notices[i].why);
    mailbox_close(&m);
    close(fd);
}

TEST(a_long_reason_is_cut)
{
    struct mailbox m;
    struct notice notice;
    char why[500];
    int fd = wake_new();
    memset(why, 'x', sizeof why - 1);
    why[sizeof why - 1] = '\0';
    mailbox_open(&m, fd);
    mailbox_put(&m, 1, 1, why);
    assert_int_equal(mailbox_take(&m, &notice, 1), 1);
    assert_int_equal(strlen(notice.why), sizeof notice.why - 1);
    mailbox_put(&m, 2, 1, why); /* freed with the box */
    mailbox_close(&m);
    close(fd);
}

TEST(oldest_first_while_growing)
{
    struct mailbox m;
    struct notice notices[7];
    uint64_t put = 0, taken = 0;
    int fd = wake_new();
    mailbox_open(&m, fd);
    for (int round = 0; round < 500; round++) {
        for (int i = 0; i < round % 17; i++)
            mailbox_put(&m, put++, 0, NULL);
        size_t n = mailbox_take(&m, notices, 7);
        for (size_t i = 0; i < n; i++)
            assert_true(notices[i].tag == taken++);
    }
    for (size_t n; (n = mailbox_take(&m, notices, 7)) > 0;)
        for (size_t i = 0; i < n; i++)
            assert_true(notices[i].tag == taken++);
    assert_true(put == taken);
    mailbox_close(&m);
    close(fd);
}

enum { THREADS = 4, EACH = 5000 };

static void *put_many(void *arg)
{
    for (uint64_t i = 0; i < EACH; i++)
        mailbox_put(arg, i, 0, "x");
    return NULL;
}

TEST(many_threads)
{
    struct mailbox m;
    pthread_t threads[THREADS];
    struct notice notices[64];
    uint64_t sum = 0, count = 0;
    int fd = wake_new();
    mailbox_open(&m, fd);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, put_many, &m), 0);
    while (count < THREADS * EACH) {
        assert_int_equal(poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 30000),
                         1); /* else a wake-up was lost */
        wake_clear(fd);
        size_t n = mailbox_take(&m, notices, 64);
        for (size_t i = 0; i < n; i++)
            sum += notices[i].tag;
        count += n;
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_true(sum == (uint64_t)THREADS * EACH * (EACH - 1) / 2);
    mailbox_close(&m);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(one_notice), cmocka_unit_test(many_notices_at_once),
                                        cmocka_unit_test(a_long_reason_is_cut),
                                        cmocka_unit_test(oldest_first_while_growing), cmocka_unit_test(many_threads) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
