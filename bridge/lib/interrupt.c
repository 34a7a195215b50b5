/* SPDX-License-Identifier: MIT */
/* SIGINT, SIGTERM and SIGHUP, noted once. */
#include "bridge/lib/interrupt.h"
#include <signal.h>
#include <time.h>
#include "bridge/lib/clock.h"

enum { INTERRUPT_SLICE_MS = 100 }; /* a signal between the question and the sleep is seen so late */

static volatile sig_atomic_t interrupt_came;

static void interrupt_note(int number)
{
    (void)number;
    interrupt_came = 1;
}

void interrupt_watch(void)
{
    struct sigaction action = { .sa_handler = interrupt_note, .sa_flags = (int)SA_RESETHAND };
    sigemptyset(&action.sa_mask);
    interrupt_came = 0;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    struct sigaction hangup;
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN) /* nohup */
        sigaction(SIGHUP, &action, NULL);
}

bool interrupt_asked(void)
{
    return interrupt_came != 0;
}

bool interrupt_wait(int64_t ms)
{
    int64_t end = clock_mono_ms() + ms, left;
    while (!interrupt_asked() && (left = end - clock_mono_ms()) > 0) {
        int64_t slice = left < INTERRUPT_SLICE_MS ? left : INTERRUPT_SLICE_MS;
        nanosleep(&(struct timespec){ .tv_nsec = (long)slice * 1000000L }, NULL);
    }
    return !interrupt_asked();
}
