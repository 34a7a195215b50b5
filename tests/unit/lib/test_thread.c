/* SPDX-License-Identifier: MIT */
/* Waits that end: for a condition, a thread, or work on a thread of its own. */
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "bridge/lib/mem.h"
#include "bridge/lib/thread.h"
#include "tests/support/test.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards told, released */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool told, released;

static void set(bool *what)
{
    pthread_mutex_lock(&lock);
    *what = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

/* What *what says at the latest after `limit`. */
static bool await(const bool *what, int64_t limit_ms)
{
    struct timespec until = thread_until((struct duration){ limit_ms });
    pthread_mutex_lock(&lock);
    while (!*what && thread_wait(&changed, &lock, until))
        continue;
    bool so = *what;
    pthread_mutex_unlock(&lock);
    return so;
}

static void *tell(void *arg)
{
    (void)arg;
    set(&told);
    return NULL;
}

/* Ends when it is released; then it frees its argument and tells. */
static void *linger(void *arg)
{
    await(&released, 60000);
    free(arg);
    set(&told);
    return NULL;
}

static void forget(void)
{
    told = released = false;
}

TEST(a_wait_ends_when_its_time_is_up)
{
    forget();
    int64_t began = clock_mono_ms();
    assert_false(await(&told, 20));
    assert_true(clock_mono_ms() - began >= 19);
    assert_false(await(&told, 0));
    assert_false(await(&told, -5));
}

TEST(a_wait_takes_real_time_while_the_clock_is_fake)
{
    forget();
    clock_fake(1000, 1000);
    bool so = await(&told, 5);
    clock_real();
    assert_false(so);
}

TEST(a_thread_is_joined_within_the_limit_or_later)
{
    pthread_t thread;
    forget();
    assert_int_equal(pthread_create(&thread, NULL, linger, NULL), 0);
    assert_false(thread_join(thread, (struct duration){ 10 }));
    set(&released);
    assert_true(thread_join(thread, (struct duration){ 60000 }));
    assert_true(told);
}

TEST(work_that_ends_is_done)
{
    forget();
    assert_true(thread_run(tell, NULL, (struct duration){ 60000 }));
    assert_true(await(&told, 0));
}

TEST(work_that_does_not_end_goes_on_alone)
{
    forget();
    assert_false(thread_run(linger, mem_alloc(1), (struct duration){ 10 }));
    assert_false(await(&told, 0));
    set(&released);
    assert_true(await(&told, 60000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wait_ends_when_its_time_is_up),
        cmocka_unit_test(a_wait_takes_real_time_while_the_clock_is_fake),
        cmocka_unit_test(a_thread_is_joined_within_the_limit_or_later),
        cmocka_unit_test(work_that_ends_is_done),
        cmocka_unit_test(work_that_does_not_end_goes_on_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
