/* SPDX-License-Identifier: MIT */
/* One line about how far something is. */
#include "bridge/cli/progress.h"
#include <inttypes.h>
#include <stdarg.h>
#include <unistd.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/str.h"

enum { PROGRESS_SAY_MS = 2000, PROGRESS_SHOW_MS = 200, PROGRESS_LINE = 512 };

void progress_begin(struct progress *p, int64_t done)
{
    *p = (struct progress){
        .terminal = isatty(STDERR_FILENO), .began_ms = clock_mono_ms(), .said_ms = clock_mono_ms(), .at_first = done
    };
}

static void progress_time(int64_t seconds, char out[32])
{
    if (seconds < 60)
        snprintf(out, 32, "%" PRId64 "s", seconds);
    else if (seconds < 3600)
        snprintf(out, 32, "%" PRId64 "m%02" PRId64 "s", seconds / 60, seconds % 60);
    else
        snprintf(out, 32, "%" PRId64 "h%02" PRId64 "m", seconds / 3600, seconds / 60 % 60);
}

void progress_say(struct progress *p, int64_t done, int64_t left, const char *fmt, ...)
{
    char line[PROGRESS_LINE], time[32];
    int64_t now = clock_mono_ms(), so_far = done - p->at_first;
    if (now - p->said_ms < (p->terminal ? PROGRESS_SHOW_MS : PROGRESS_SAY_MS))
        return;
    p->said_ms = now;
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    str_make_shown(line);
    progress_time(so_far > 0 ? (int64_t)((double)(now - p->began_ms) * (double)left / (double)so_far / 1000) : 0, time);
    int n = fprintf(stderr, "%s%s, %" PRId64 " records left%s%s", p->terminal ? "\r" : "", line, left,
                    so_far > 0 ? ", about " : "", so_far > 0 ? time : "");
    if (p->terminal)
        fprintf(stderr, "%*s", n < p->width ? p->width - n : 0, "");
    else
        fputc('\n', stderr);
    p->shown = true;
    p->width = n;
}

void progress_clear(struct progress *p)
{
    if (p->terminal && p->shown)
        fprintf(stderr, "\r%*s\r", p->width, "");
    p->shown = false;
}
