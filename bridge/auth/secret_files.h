/* SPDX-License-Identifier: MIT */
/* Secrets that come from files (${file:...}) follow these: what a file says by now is taken without a restart.
 *
 *   secret_files_open -> secret_files_turn now and then, at most once a second that is more than a comparison -> secret_files_close
 *
 * One thread. */
#pragma once
#include "bridge/auth/secret.h"
#include "bridge/lib/watch.h"

struct secret_files {       /* zeroed: none */
    struct secrets written; /* as the configuration has them, borrowed */
    struct watch watch;
    struct secrets now; /* what was read since then; none: nothing was */
};

void secret_files_open(struct secret_files *f, const struct secrets *written);
/* When a file has changed, gives `take` all secrets as they are now. It takes them all, and they stay as they are until the
 * next ones are taken, or says what is wrong with them and goes on with those before. Log and metric (watch.h) say for whom:
 * `of`. */
void secret_files_turn(struct secret_files *f, bool (*take)(void *ctx, const struct secrets *now, struct err *e),
                       void *ctx, const char *of);
void secret_files_close(struct secret_files *f); /* wipes them */
/* Is there one that comes from a file? */
static inline bool secret_files_any(const struct secret_files *f)
{
    return f->watch.count > 0;
}
