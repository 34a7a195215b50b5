/* SPDX-License-Identifier: MIT */
/* C11 threads on top of pthreads, for ThreadSanitizer only: Debian's librdkafka uses thrd_create and friends, which the
 * sanitizer does not know, so its threads would run without the sanitizer's state and crash. */
#ifdef __SANITIZE_THREAD__
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

/* Its reference counts are atomics that the sanitizer does not see; what it frees looks raced. Locks still count:
 * they are taken below, outside of the library. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:librdkafka.so.1\nrace:^mtx_\n";
}

struct start {
    thrd_start_t run;
    void *arg;
};

static void *begin(void *arg)
{
    struct start s = *(struct start *)arg;
    free(arg);
    return (void *)(intptr_t)s.run(s.arg);
}

static int result(int rc)
{
    return rc ? thrd_error : thrd_success;
}

int thrd_create(thrd_t *t, thrd_start_t run, void *arg)
{
    struct start *s = malloc(sizeof *s);
    if (!s)
        return thrd_nomem;
    *s = (struct start){ run, arg };
    return result(pthread_create(t, NULL, begin, s));
}

int thrd_join(thrd_t t, int *code)
{
    void *value = NULL;
    int rc = pthread_join(t, &value);
    if (code)
        *code = (int)(intptr_t)value;
    return result(rc);
}

int thrd_detach(thrd_t t)
{
    return result(pthread_detach(t));
}
void thrd_exit(int code)
{
    pthread_exit((void *)(intptr_t)code);
}

/* glibc's mtx_t and cnd_t are pthread objects of the same layout. */
int mtx_init(mtx_t *m, int type)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, type & mtx_recursive ? PTHREAD_MUTEX_RECURSIVE : PTHREAD_MUTEX_NORMAL);
    return result(pthread_mutex_init((pthread_mutex_t *)m, &attr));
}

int mtx_lock(mtx_t *m)
{
    return result(pthread_mutex_lock((pthread_mutex_t *)m));
}
int mtx_trylock(mtx_t *m)
{
    return pthread_mutex_trylock((pthread_mutex_t *)m) ? thrd_busy : thrd_success;
}
int mtx_unlock(mtx_t *m)
{
    return result(pthread_mutex_unlock((pthread_mutex_t *)m));
}
void mtx_destroy(mtx_t *m)
{
    pthread_mutex_destroy((pthread_mutex_t *)m);
}
int cnd_init(cnd_t *c)
{
    return result(pthread_cond_init((pthread_cond_t *)c, NULL));
}
int cnd_signal(cnd_t *c)
{
    return result(pthread_cond_signal((pthread_cond_t *)c));
}
int cnd_broadcast(cnd_t *c)
{
    return result(pthread_cond_broadcast((pthread_cond_t *)c));
}
int cnd_wait(cnd_t *c, mtx_t *m)
{
    return result(pthread_cond_wait((pthread_cond_t *)c, (pthread_mutex_t *)m));
}
void cnd_destroy(cnd_t *c)
{
    pthread_cond_destroy((pthread_cond_t *)c);
}

int cnd_timedwait(cnd_t *c, mtx_t *m, const struct timespec *until)
{
    return pthread_cond_timedwait((pthread_cond_t *)c, (pthread_mutex_t *)m, until) ? thrd_timedout : thrd_success;
}
#else
typedef int not_needed_here; /* a translation unit is not empty */
#endif
