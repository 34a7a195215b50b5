/* SPDX-License-Identifier: MIT */
/* SIGTERM, SIGINT and SIGHUP by signalfd. */
#include "bridge/signals.h"
#include <signal.h>
#include <stdint.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "bridge/lib/log.h"

static sigset_t signals_set(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    return set;
}

int signals_open(void)
{
    sigset_t set = signals_set();
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

int signals_take(void)
{
    sigset_t set = signals_set();
    int n = sigtimedwait(&set, NULL, &(struct timespec){ 0 });
    return n > 0 ? n : 0;
}

static void *signals_thread(void *ctx)
{
    int signal_fd = (int)(intptr_t)ctx;
    struct signalfd_siginfo info;
    ssize_t n;
    do
        n = read(signal_fd, &info, sizeof info);
    while (n > 0 && info.ssi_signo == SIGHUP);
    if (n > 0) {
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL); /* not in the middle of the log, which has a lock */
        LOG(WARN, "second signal: leaving at once", LOG_INT("signal", info.ssi_signo));
        _exit(1);
    }
    return NULL;
}

bool signals_watch(int signal_fd, pthread_t *thread)
{
    return pthread_create(thread, NULL, signals_thread, (void *)(intptr_t)signal_fd) == 0;
}

void signals_unwatch(pthread_t thread)
{
    pthread_cancel(thread);
    pthread_join(thread, NULL);
}
