/* SPDX-License-Identifier: MIT */
/* Files that are read once, and again when they change: certificates, secrets.
 *
 *   watch_add for each -> watch_begin, read them -> now and then watch_has_news, read them again, watch_tell -> watch_end
 *
 * A file counts as changed when its name leads to another file, or its size or times are others: an atomic rename, the
 * exchange of a link (Kubernetes), or a change in place. It must then stay as it is from one look to the next, so that
 * one that is being written is not read. What was read before stays in use when the new one is not good. One thread each;
 * watch_ask is for any. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "bridge/lib/err.h"

enum { WATCH_LOOK_MS = 1000 }; /* between two looks */

struct watch { /* zeroed: no files, which never have news */
    char **paths;
    size_t count;
    uint64_t taken, seen; /* what all of them were like when they were read, and at the last look */
    int64_t look_ms;      /* when the next look is due */
    unsigned asked;       /* how often watch_ask had been called by then */
};

void watch_add(struct watch *w, const char *path); /* copied; NULL: nothing */
void watch_begin(struct watch *w);                 /* they are read now */
/* Are they to be read again? Then they count as read. */
bool watch_has_news(struct watch *w);
/* Says in log and metric what became of it: they were good, or `why` they were not. `what` was read (certificate,
 * secrets), `of` whom. */
void watch_tell(const char *what, const char *of, const struct err *why);
void watch_end(struct watch *w);
void watch_ask(void); /* everything that is watched is read again at its next look, changed or not: SIGHUP */
