/* SPDX-License-Identifier: MIT */
/* Whether somebody else runs a replay. */
#include "bridge/cli/replay_claim.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/interrupt.h"

enum { CLAIM_WATCH_MS = 30000, CLAIM_LOOK_MS = 1000 };

static bool claim_refuse(const char *name, const struct replay_run *run, struct err *e)
{
    return err_set(e,
                   "process %" PRId64
                   " on %.100s runs %s: one replay is not run twice at once; it can be gone on with when "
                   "that one has ended (Ctrl-C there)",
                   run->pid, run->host, name);
}

/* Does the run keep anything more? *done: it is known. */
static bool claim_moved(const struct config *c, const struct replay *r, bool *done, struct err *e)
{
    struct replays now;
    bool ok = replays_find(c, &now, e);
    const struct replay *found = ok ? replays_named(&now, str_of(r->name)) : NULL;
    *done = !ok || !found || !found->run.id || found->at_ms != r->at_ms || strcmp(found->run.id, r->run.id) != 0;
    if (found && found->run.id && *done)
        ok = claim_refuse(r->name, &found->run, e);
    replays_free(&now);
    return ok;
}

static bool claim_watch(const struct config *c, const struct replay *r, struct err *e)
{
    bool ok = true, done = false;
    fprintf(stderr,
            "aqueduct replay: process %" PRId64
            " on %s ran %s, and did not say that it ended; looking for %d s whether it "
            "still does\n",
            r->run.pid, r->run.host, r->name, CLAIM_WATCH_MS / 1000);
    interrupt_watch();
    for (int64_t until = clock_mono_ms() + CLAIM_WATCH_MS; ok && !done && clock_mono_ms() < until;)
        ok = interrupt_wait(CLAIM_LOOK_MS) ? claim_moved(c, r, &done, e)
                                           : err_set(e, "interrupted; nothing was replayed");
    return ok;
}

bool replay_claim_is_free(const struct config *c, const struct replay *r, struct err *e)
{
    if (!r->run.id)
        return true;
    switch (replay_run_lives(&r->run)) {
    case REPLAY_RUNS: return claim_refuse(r->name, &r->run, e);
    case REPLAY_IS_OVER: return true;
    case REPLAY_ELSEWHERE: return claim_watch(c, r, e);
    }
    return true;
}

bool replay_claim_is_ours(const struct config *c, const char *name, const struct replay_run *run, struct replay *out,
                          struct err *e)
{
    struct replays now;
    bool ok = replays_find(c, &now, e);
    struct replay *found = ok ? replays_named(&now, str_of(name)) : NULL;
    if (ok && (!found || !found->run.id))
        ok = err_set(e, "%s was ended by somebody else meanwhile", name);
    else if (ok && strcmp(found->run.id, run->id) != 0)
        ok = claim_refuse(name, &found->run, e);
    if (ok && found && out) {
        *out = *found;
        *found = (struct replay){ 0 };
    }
    replays_free(&now);
    return ok;
}
