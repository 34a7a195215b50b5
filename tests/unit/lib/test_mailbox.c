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

TEST(one_note)
{
    struct mailbox m;
    struct note note;
    int fd = wake_new();
    mailbox_open(&m, fd);
    assert_int_equal(mailbox_take(&m, &note, 1), 0);
    assert_false(is_awake(fd));
    mailbox_put(&m, 7, -3, "because");
    assert_true(is_awake(fd));
    wake_clear(fd);
    assert_false(is_awake(fd));
    mailbox_put(&m, 8, 0, NULL);
    assert_false(is_awake(fd)); /* only when it was empty */
    assert_int_equal(mailbox_take(&m, &note, 1), 1);
    assert_true(note.tag == 7 && note.code == -3);
    assert_string_equal(note.why, "because");
    assert_true(is_awake(fd)); /* something is left */
    assert_int_equal(mailbox_take(&m, &note, 1), 1);
    assert_true(note.tag == 8);
    assert_string_equal(note.why, "");
    assert_int_equal(mailbox_take(&m, &note, 1), 0);
    mailbox_close(&m);
    close(fd);
}

TEST(a_long_reason_is_cut)
{
    struct mailbox m;
    struct note note;
    char why[500];
    int fd = wake_new();
    memset(why, 'x', sizeof why - 1);
    why[sizeof why - 1] = '\0';
    mailbox_open(&m, fd);
    mailbox_put(&m, 1, 1, why);
    assert_int_equal(mailbox_take(&m, &note, 1), 1);
    assert_int_equal(strlen(note.why), sizeof note.why - 1);
    mailbox_close(&m);
    close(fd);
}

TEST(oldest_first_while_growing)
{
    struct mailbox m;
    struct note notes[7];
    uint64_t put = 0, taken = 0;
    int fd = wake_new();
    mailbox_open(&m, fd);
    for (int round = 0; round < 500; round++) {
        for (int i = 0; i < round % 17; i++)
            mailbox_put(&m, put++, 0, NULL);
        size_t n = mailbox_take(&m, notes, 7);
        for (size_t i = 0; i < n; i++)
            assert_true(notes[i].tag == taken++);
    }
    for (size_t n; (n = mailbox_take(&m, notes, 7)) > 0;)
        for (size_t i = 0; i < n; i++)
            assert_true(notes[i].tag == taken++);
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
    struct note notes[64];
    uint64_t sum = 0, count = 0;
    int fd = wake_new();
    mailbox_open(&m, fd);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, put_many, &m), 0);
    while (count < THREADS * EACH) {
        assert_int_equal(poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 30000),
                         1); /* else a wake-up was lost */
        wake_clear(fd);
        size_t n = mailbox_take(&m, notes, 64);
        for (size_t i = 0; i < n; i++)
            sum += notes[i].tag;
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
    const struct CMUnitTest tests[] = { cmocka_unit_test(one_note), cmocka_unit_test(a_long_reason_is_cut),
                                        cmocka_unit_test(oldest_first_while_growing), cmocka_unit_test(many_threads) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
