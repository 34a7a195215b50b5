/* SPDX-License-Identifier: MIT */
/* Inside the waiter:
 *
 *   waiter_records.c   where a record goes when its time has come, and what becomes of it there
 *   waiter_survey.c    what waits is counted, also what was put there by others
 *   waiter_sinks.c     it begins, and the sinks that it serves come and go
 *   waiter_life.c      its life and its turn
 *
 * All of it in the waiter's thread, but for what waiter.h says of any. */
#pragma once
#include <stdatomic.h>
#include "bridge/delivery/ladder.h"
#include "bridge/delivery/orphans.h"
#include "bridge/delivery/register.h"
#include "bridge/delivery/replaced.h"
#include "bridge/delivery/shelf.h"
#include "bridge/delivery/waiter.h"
#include "bridge/lib/errand.h"

struct waiter_sink {
    const struct sink_config *config;
    struct delivery *delivery, *held; /* delivery NULL: it is held, and this was it */
    size_t room, out;                 /* most records handed over, and how many are */
    int64_t took_ms, in_vain_ms; /* wall clock: when it was last done with one; when one had waited here for nothing */
    struct metric *waiting;
};

struct waiter {
    struct broker *broker;
    struct register_of_groups *groups; /* NULL: nobody wants to know */
    struct consumer *consumer;
    struct ladder ladder;
    char *group;
    int wake_fd;
    struct mailbox stored, reports; /* of the broker about copies; of the deliveries about what was handed over */
    atomic_bool stopping, abandoned;
    struct shelf shelf;
    struct waiter_sink **sinks;
    size_t sink_count;
    struct orphans orphans;
    const struct broker_config *names;
    int64_t began_ms; /* wall clock: what was put there before, others counted, or survey does */
    enum { SURVEY_DUE, SURVEY_MADE, SURVEY_FAILED } survey;
    struct ranges settled; /* of the orphans, as notes said before they were read */
    struct replaced replaced;
    bool offers; /* some sink may have more room than when what is parked was looked at */
    bool closing, poll_failed, store_failed;
    bool recalling; /* what comes back is read again by whoever gets its partition */
    bool again;     /* a sink came: what waits is counted anew */
    struct errand *errand;
    struct metric *moves;
};

/* ---- waiter_records.c ---- */

void waiter_take(struct waiter *w, struct record *r); /* it comes from its topic */
/* Its time has come, or it may have room now: it is handed over, waits on, or goes to another topic. */
void waiter_look(struct waiter *w, struct shelved *en);
void waiter_offer(struct waiter *w);                    /* what waits for room goes to sinks that have some */
void waiter_back(struct waiter *w, struct shelved *en); /* a sink gives it back: it stands here again */
void waiter_lost(struct shelved *en);                   /* its partition is somebody else's */
void waiter_take_stored(struct waiter *w);              /* what the broker says of copies */
void waiter_take_reports(struct waiter *w);             /* what the deliveries say of what was handed over */

/* ---- waiter_survey.c ---- */

/* The sink of that name, or that formerly had it; NULL: none. */
struct waiter_sink *waiter_sink(const struct waiter *w, struct str name);
void waiter_survey(struct waiter *w);       /* counts what waits for each sink, from the notes of the topics */
void waiter_survey_again(struct waiter *w); /* it is to be made anew */
void waiter_count_again(struct waiter *w);  /* a sink came, for which something may wait */
