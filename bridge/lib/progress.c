/* SPDX-License-Identifier: MIT */
/* Says how far it is. */
#include "bridge/lib/progress.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/str.h"

enum {
    PROGRESS_FIRST_MS = 400, /* before the first line */
    PROGRESS_EACH_MS = 1000, /* between two */
    PROGRESS_LOOK = 256,     /* things between two looks at the clock */
    PROGRESS_WHAT = 256,
};

static _Thread_local struct progress {
    bool on;
    int64_t due_ms, count;
    char what[PROGRESS_WHAT];
} progress;

void progress_watch(void)
{
    progress = (struct progress){ .on = isatty(STDERR_FILENO), .due_ms = clock_mono_ms() + PROGRESS_FIRST_MS };
}

static bool progress_is_due(void)
{
    int64_t now = clock_mono_ms();
    if (now < progress.due_ms)
        return false;
    progress.due_ms = now + PROGRESS_EACH_MS;
    return true;
}

void progress_count(const char *what, const char *unit)
{
    if (!progress.on)
        return;
    if (strncmp(progress.what, what, sizeof progress.what - 1) != 0) {
        snprintf(progress.what, sizeof progress.what, "%s", what);
        str_make_shown(progress.what);
        progress.count = 0;
    }
    if (++progress.count % PROGRESS_LOOK == 0 && progress_is_due())
        fprintf(stderr, "%s: %" PRId64 " %s\n", progress.what, progress.count, unit);
}

void progress_step(const char *what, const char *which)
{
    char shown[PROGRESS_WHAT];
    if (!progress.on || !progress_is_due())
        return;
    snprintf(shown, sizeof shown, "%s", which);
    str_make_shown(shown);
    fprintf(stderr, "%s: %s\n", what, shown);
}
