/* SPDX-License-Identifier: MIT */
/* Gives what a topic holds once more to one place: reads it beside the daemon, and has what passes the filter stored for the sink,
 * as `aqueduct resend` does with one event (delivery/resend.h), batch by batch. Behind each batch it keeps how far it is
 * (replay_kept.h), so that it can go on after any end: at most that batch is repeated. Ctrl-C ends it between two batches.
 *
 * What is stored after it began is not for it. Partitions are merged by when their records were stored, each keeps its order.
 * Main thread. */
#pragma once
#include "bridge/cli/progress.h"
#include "bridge/cli/replay_kept.h"
#include "bridge/command.h"
#include "bridge/event/filter.h"

enum { REPLAY_BATCH = 256, REPLAY_TYPES = 1000 };

struct replay_work {
    /* Set these: */
    const struct command_call *call;
    struct replay *of;
    struct command_place to;
    struct filter *filter; /* owned by the caller, NULL: everything passes */
    int64_t rate;          /* events a second, 0: as fast as it goes */
    bool dry_run;          /* only counts */
    /* What became of it: */
    json_t *types; /* of what was replayed: {"type": count}; the caller's reference */
    bool interrupted;
    /* Private: */
    struct record *batch[REPLAY_BATCH];
    size_t count, bytes;
    struct progress progress;
    int64_t batch_read, batch_no_events, batch_gone; /* records of the topic since the last batch */
    int64_t due_ms;                                  /* of the next batch, with a rate */
    int64_t kept_ms;                                 /* when something was kept */
    bool begun, full;
    struct err *e;
};

/* Of one that was begun: from here on it is ours, and w->of is what is known of it now. False with *e: somebody else runs it. */
bool replay_claim(struct replay_work *w, struct err *e);
bool replay_work(struct replay_work *w, struct err *e); /* false with *e; what was done until then is kept */
